//! The mock's sockets: binds them, owns every task, and stops them all.
//!
//! Three ports. MQTT over TLS for devices; HTTPS for the device, service and resource-manager APIs, told apart
//! by path; and a management port of plain HTTP on loopback, away from the protocols.
//!
//! Every connection is a task of one [`TaskTracker`]; all end when the mock is shut down or dropped.

mod clock;
mod holds;
mod https;
mod journal;
mod management;
mod mqtts;
mod prometheus;
mod service;
mod tls;
mod webhook;

pub use journal::{JournalFault, Kept, read_state};

use crate::faults::{Cut, Effects};
use crate::ledger::LedgerSnapshot;
use crate::policy::{DuplicatePolicy, Policies, Policy, PolicyTerms};
use crate::registrar::{Registrar, RegistrarConfig};
use holds::Holds;
use journal::{Journal, StateFile};
use service::Service;
use sim_identity::authority::ServerIdentity;
use sim_identity::{IssueError, Seed};
use sim_protocol::faults::{FaultPoint, FaultRule};
use sim_protocol::sas::SharedKey;
use sim_protocol::{IdScope, InvalidName};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tls::Acceptors;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use webhook::Webhooks;

/// The id scope of an instance that nobody named.
pub const ID_SCOPE: &str = "0ne00000001";

/// What a mock is started with. Port 0 means any free port.
#[derive(Debug)]
pub struct ServerConfig {
    /// Address of the protocol ports.
    pub listen: IpAddr,
    /// MQTT over TLS.
    pub mqtts_port: u16,
    /// HTTPS.
    pub https_port: u16,
    /// Management, always on 127.0.0.1.
    pub management_port: u16,
    /// What management asks for as a bearer token; made up when absent.
    pub management_token: Option<String>,
    /// Names and addresses in the server certificate.
    pub names: Vec<String>,
    /// Each TLS connection is given a ticket, with which the next one need not prove anything again.
    pub tickets: bool,
    /// A server certificate of the caller's own; minted when absent.
    pub server: Option<ServerIdentity>,
    /// Key of the service API's policy `provisioningserviceowner`; made up when absent.
    pub service_key: Option<SharedKey>,
    /// More policies of the service API; their keys are made up.
    pub policies: Vec<PolicyTerms>,
    /// Operators need no credential; refused unless `listen` is a loopback address.
    pub no_auth: bool,
    /// How the instance answers.
    pub registrar: RegistrarConfig,
    /// What goes wrong on purpose, from the start.
    pub faults: Vec<FaultRule>,
    /// What faults are drawn from, if not from `seed`.
    pub fault_seed: Option<Seed>,
    /// How long a custom allocation webhook may take.
    pub webhook_timeout: Duration,
    /// Whether webhooks that are not on this machine may be asked.
    pub webhooks_anywhere: bool,
    /// Where CAs, enrollments and registrations are kept; in memory alone when absent.
    pub state: Option<PathBuf>,
    /// Everything the mock makes up follows from it; or from the seed that its state file was begun with.
    pub seed: Seed,
}

impl ServerConfig {
    /// A mock on loopback, on free ports, in memory, without limits on rates: for tests and for measuring.
    pub fn new(seed: Seed) -> Result<Self, InvalidName> {
        Ok(ServerConfig {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            mqtts_port: 0,
            https_port: 0,
            management_port: 0,
            management_token: None,
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            tickets: false,
            server: None,
            service_key: None,
            policies: Vec::new(),
            no_auth: false,
            registrar: RegistrarConfig::new(IdScope::new(ID_SCOPE)?),
            faults: Vec::new(),
            fault_seed: None,
            // `ours:` the service's own is unknown.
            webhook_timeout: Duration::from_secs(5),
            webhooks_anywhere: false,
            state: None,
            seed,
        })
    }
}

/// Why a mock did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// A port could not be had.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Bind {
        /// What the port was for.
        purpose: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The server certificate could not be minted.
    #[error("cannot mint the server certificate: {0}")]
    Identity(#[from] IssueError),
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] JournalFault),
    /// The server certificate cannot be used.
    #[error("cannot use the server certificate: {0}")]
    Tls(#[from] rustls::Error),
    /// Two policies of one name.
    #[error(transparent)]
    Policies(#[from] DuplicatePolicy),
    /// Everybody on the network could manage the instance.
    #[error("will not serve operators without credentials on {0}: it is not a loopback address")]
    OpenToAll(IpAddr),
    /// More hubs than an instance may link.
    #[error("{found} hubs are linked; at most {limit} can be")]
    Hubs {
        /// How many were given.
        found: usize,
        /// The documented limit.
        limit: usize,
    },
}

/// An instance without sockets: what a [`Server`] serves, for streams of the caller's own.
#[derive(Debug)]
pub struct Instance {
    service: Arc<Service>,
}

impl Instance {
    /// An instance as configured; ports, names and the server certificate mean nothing to it.
    pub fn new(config: &ServerConfig) -> Result<Self, SpawnError> {
        Self::with_seed(config).map(|(instance, _)| instance)
    }

    /// The instance, and the seed that everything it makes up follows from.
    fn with_seed(config: &ServerConfig) -> Result<(Self, Seed), SpawnError> {
        if config.no_auth && !config.listen.is_loopback() {
            return Err(SpawnError::OpenToAll(config.listen));
        }
        let (found, limit) = (config.registrar.hubs.len(), config.registrar.limits.hubs);
        if found > limit {
            return Err(SpawnError::Hubs { found, limit });
        }
        let file = config.state.as_deref().map(StateFile::open).transpose()?;
        let seed = file.as_ref().map(|file| file.seed(&config.seed)).transpose()?;
        let seed = seed.unwrap_or_else(|| config.seed.clone());
        let fault_seed = config.fault_seed.clone().unwrap_or_else(|| config.seed.child("faults"));
        let registrar = Arc::new(Registrar::new(config.registrar.clone(), &seed, &fault_seed));
        let journal = file.map(|file| Journal::start(file, &registrar)).transpose()?;
        registrar.faults.set(config.faults.clone(), clock::now());
        let token = || seed.draw("management token", 0, 0).iter().map(|b| format!("{b:02x}")).collect();
        let service = Service {
            registrar,
            journal,
            webhooks: Webhooks::new(config.webhook_timeout, config.webhooks_anywhere)?,
            holds: Holds::default(),
            policies: Policies::new(policies(config, &seed))?,
            no_auth: config.no_auth,
            management_token: config.management_token.clone().unwrap_or_else(token),
            started: clock::now(),
            owner: Owner { stop: CancellationToken::new(), tasks: TaskTracker::new() },
        };
        Ok((Instance { service: Arc::new(service) }, seed))
    }

    /// Speaks MQTT with one device over any stream, until either side ends it. `presented` is the chain the device
    /// would have presented in TLS, leaf first, DER.
    pub async fn converse<S>(&self, stream: S, presented: Vec<Vec<u8>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let presented = Arc::new(presented.into_iter().map(Into::into).collect());
        mqtts::converse(mqtts::Inner { stream, presented }, clock::instant(), &self.service).await;
    }

    /// The core that answers.
    pub fn registrar(&self) -> &Registrar {
        &self.service.registrar
    }

    /// What the service saw so far.
    pub fn ledger(&self) -> LedgerSnapshot {
        self.service.registrar.ledger.snapshot()
    }

    /// How long the first 65,536 answers took that a fault had it hold, by its own clock: from the request being read to
    /// the answer being written.
    pub fn held_answers(&self) -> Vec<Duration> {
        self.service.holds.answers()
    }

    /// How long the first 65,536 conversations over MQTT took of whose answers one was held, by its own clock: from the
    /// connection being accepted to the last answer being written.
    pub fn held_conversations(&self) -> Vec<Duration> {
        self.service.holds.conversations()
    }

    /// The policies of the service API, the owner's first.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.service.policies.iter()
    }

    /// What management asks for as a bearer token.
    pub fn management_token(&self) -> &str {
        &self.service.management_token
    }
}

/// The owner's policy, and those that were asked for with keys of their own.
fn policies(config: &ServerConfig, seed: &Seed) -> Vec<Policy> {
    let key = |name: &str, slot| SharedKey::of_halves(seed.draw(name, slot, 0), seed.draw(name, slot, 1));
    let primary = config.service_key.clone().unwrap_or_else(|| key("service key", 0));
    let owner = Policy::owner(primary, key("service key", 1));
    let more = config.policies.iter().map(|terms| Policy {
        primary: key(&format!("policy {}", terms.name), 0),
        secondary: key(&format!("policy {}", terms.name), 1),
        name: terms.name.clone(),
        rights: terms.rights.clone(),
    });
    std::iter::once(owner).chain(more).collect()
}

/// A running mock. Dropping it stops every task it owns.
#[derive(Debug)]
pub struct Server {
    mqtts: SocketAddr,
    https: SocketAddr,
    management: SocketAddr,
    trust_root: Vec<u8>,
    instance: Instance,
}

impl Server {
    /// Binds all ports, then serves on the current tokio runtime.
    pub async fn spawn(config: ServerConfig) -> Result<Self, SpawnError> {
        let (instance, seed) = Instance::with_seed(&config)?;
        let service = instance.service.clone();
        let mqtts = bind("MQTT", config.listen, config.mqtts_port).await?;
        let https = bind("HTTPS", config.listen, config.https_port).await?;
        let management = bind("management", IpAddr::V4(Ipv4Addr::LOCALHOST), config.management_port).await?;
        let seed = seed.child("server");
        let server = match config.server {
            Some(given) => given,
            None => ServerIdentity::mint(&config.names, &seed, clock::now())?,
        };
        let acceptors = Acceptors::new(&server, &config.names, config.tickets, &seed, clock::now())?;
        let running = Server {
            mqtts: local(&mqtts, config.listen, config.mqtts_port),
            https: local(&https, config.listen, config.https_port),
            management: local(&management, IpAddr::V4(Ipv4Addr::LOCALHOST), config.management_port),
            trust_root: server.trust_root,
            instance,
        };
        let owner = &service.owner;
        owner.spawn(mqtts::accept(mqtts, acceptors.clone(), service.clone()));
        owner.spawn(https::accept(https, acceptors, service.clone()));
        owner.spawn(management::accept(management, service.clone()));
        Ok(running)
    }

    /// Where MQTT over TLS is served.
    pub fn mqtts(&self) -> SocketAddr {
        self.mqtts
    }

    /// Where HTTPS is served.
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// Where management is served.
    pub fn management(&self) -> SocketAddr {
        self.management
    }

    /// The root that signed the server certificate, DER.
    pub fn trust_root(&self) -> &[u8] {
        &self.trust_root
    }

    /// The instance behind the sockets.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// What the service saw so far.
    pub fn ledger(&self) -> LedgerSnapshot {
        self.instance.ledger()
    }

    /// Stops accepting, ends every connection and waits for their tasks.
    pub async fn shutdown(self) {
        let owner = &self.instance.service.owner;
        owner.stop.cancel();
        owner.tasks.close();
        owner.tasks.wait().await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.service.owner.stop.cancel();
    }
}

async fn bind(purpose: &'static str, ip: IpAddr, port: u16) -> Result<TcpListener, SpawnError> {
    let address = SocketAddr::new(ip, port);
    let bound = async {
        let socket =
            if ip.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
        // A restarted mock gets its port back although old connections linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        // A burst of devices is the normal case here; the system caps this at its own limit.
        socket.listen(4096)
    };
    bound.await.map_err(|source| SpawnError::Bind { purpose, address, source })
}

fn local(listener: &TcpListener, ip: IpAddr, port: u16) -> SocketAddr {
    listener.local_addr().unwrap_or(SocketAddr::new(ip, port))
}

/// Who owns the tasks of one mock.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Owner {
    async fn run(self, task: impl Future<Output = ()>) {
        self.stop.run_until_cancelled(task).await;
    }

    /// Starts a connection's task, which ends with the mock at the latest.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // Boxed once here: each layer of futures around it would otherwise hold it a second time.
        self.tasks.spawn(self.clone().run(Box::pin(task)));
    }
}

/// How long an unfinished TLS handshake or a missing CONNECT is put up with.
const OPENING: std::time::Duration = std::time::Duration::from_secs(30);

/// Accepts TCP, shakes hands in a task per connection, and hands the stream on.
async fn accept_tls<F, Fut>(listener: TcpListener, acceptors: Acceptors, service: Arc<Service>, serve: F)
where
    F: Fn(tls::Stream, Instant) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: wait for some to come free instead of spinning.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        service.registrar.ledger.connections.add();
        let accepted = clock::instant();
        let (acceptors, served, serve) = (acceptors.clone(), service.clone(), serve.clone());
        service.owner.spawn(async move {
            // Answers are small and someone waits for each of them.
            let _ = stream.set_nodelay(true);
            // Boxed: the handshake's state is large, and gone once the connection serves.
            if let Some(stream) = Box::pin(shake_hands(stream, &acceptors, &served)).await {
                Box::pin(serve(stream, accepted)).await;
            }
            served.registrar.ledger.connections_closed.add();
        });
    }
}

/// The stream of a peer that has shaken hands, unless it or a fault had it otherwise.
async fn shake_hands(stream: TcpStream, acceptors: &Acceptors, service: &Service) -> Option<tls::Stream> {
    let ledger = &service.registrar.ledger;
    let effects = match undergo_both(service).await {
        Ok(effects) => effects,
        Err((FaultPoint::Tcp, cut)) => {
            end(stream, cut).await;
            return None;
        }
        Err((_, cut)) => {
            // The peer has said hello by now, and hears nothing back.
            if let Ok(Ok(hello)) = tokio::time::timeout(OPENING, tls::hello(stream)).await {
                ledger.tls_failures.add();
                end(hello, cut).await;
            }
            return None;
        }
    };
    match tokio::time::timeout(OPENING, acceptors.accept(stream, effects.certificate)).await {
        Ok(Ok(stream)) => {
            ledger.tls_handshakes.add();
            return Some(stream);
        }
        Ok(Err(_)) => {}
        Err(_) => ledger.timeouts.add(),
    }
    ledger.tls_failures.add();
    None
}

/// The faults of a connection as it comes up.
async fn undergo_both(service: &Service) -> Result<Effects, (FaultPoint, Cut)> {
    service.undergo_accepted(FaultPoint::Tcp).await.map_err(|cut| (FaultPoint::Tcp, cut))?;
    service.undergo_accepted(FaultPoint::Tls).await.map_err(|cut| (FaultPoint::Tls, cut))
}

/// Ends a connection as a fault has it: closes it, or listens and says nothing until the peer gives up.
async fn end(mut stream: impl AsyncRead + Unpin, cut: Cut) {
    if cut == Cut::HalfOpen {
        let mut ignored = [0; 512];
        while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
    }
}
