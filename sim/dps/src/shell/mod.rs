//! The mock's sockets: binds them, owns every task, and stops them all.
//!
//! Three ports. MQTT over TLS for devices; HTTPS for the device, service and resource-manager APIs, told apart
//! by path; and a management port of plain HTTP on loopback that serves the ledger, away from the protocols.
//!
//! Every connection is a task of one [`TaskTracker`]; all end when the mock is shut down or dropped.

mod clock;
mod https;
mod journal;
mod management;
mod mqtts;
mod service;
mod tls;

pub use journal::JournalFault;

use crate::ledger::LedgerSnapshot;
use crate::registrar::{Registrar, RegistrarConfig};
use journal::Journal;
use rustls::ServerConfig;
use service::Service;
use sim_identity::authority::ServerIdentity;
use sim_identity::{IssueError, Seed};
use sim_protocol::sas::SharedKey;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a mock is started with. Port 0 means any free port.
#[derive(Debug)]
pub struct MockConfig {
    /// Address of the protocol ports.
    pub listen: IpAddr,
    /// MQTT over TLS.
    pub mqtts_port: u16,
    /// HTTPS.
    pub https_port: u16,
    /// Management, always on 127.0.0.1.
    pub management_port: u16,
    /// Names and addresses in the server certificate.
    pub names: Vec<String>,
    /// A server certificate of the caller's own; minted when absent.
    pub server: Option<ServerIdentity>,
    /// Key of the service API's policy.
    pub service_key: SharedKey,
    /// How the instance answers.
    pub registrar: RegistrarConfig,
    /// Where CAs, groups and registrations are kept; in memory alone when absent.
    pub state: Option<PathBuf>,
    /// Everything the mock makes up follows from it.
    pub seed: Seed,
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
}

/// A running mock. Dropping it stops every task it owns.
#[derive(Debug)]
pub struct Mock {
    mqtts: SocketAddr,
    https: SocketAddr,
    management: SocketAddr,
    trust_root: Vec<u8>,
    service: Arc<Service>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Mock {
    /// Binds all ports, then serves on the current tokio runtime.
    pub async fn spawn(config: MockConfig) -> Result<Self, SpawnError> {
        let mqtts = bind("MQTT", config.listen, config.mqtts_port).await?;
        let https = bind("HTTPS", config.listen, config.https_port).await?;
        let management = bind("management", IpAddr::V4(Ipv4Addr::LOCALHOST), config.management_port).await?;
        let server = match config.server {
            Some(given) => given,
            None => ServerIdentity::mint(&config.names, &config.seed.child("server"), clock::now())?,
        };
        let trust_root = server.trust_root.clone();
        let tls = Arc::new(tls::server_config(&server)?);
        let answers = RegistrarConfig { remembers: config.state.is_some(), ..config.registrar };
        let registrar = Registrar::new(answers, &config.seed);
        let journal = config.state.as_deref().map(|path| Journal::open(path, &registrar)).transpose()?;
        let service = Arc::new(Service { registrar, journal });
        let mock = Mock {
            mqtts: local(&mqtts, config.listen, config.mqtts_port),
            https: local(&https, config.listen, config.https_port),
            management: local(&management, IpAddr::V4(Ipv4Addr::LOCALHOST), config.management_port),
            trust_root,
            service: service.clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let owner = Owner { stop: mock.stop.clone(), tasks: mock.tasks.clone() };
        mock.tasks.spawn(owner.clone().run(mqtts::accept(
            mqtts,
            tls.clone(),
            service.clone(),
            owner.clone(),
        )));
        let app = https::App { service: service.clone(), service_key: Arc::new(config.service_key) };
        mock.tasks.spawn(owner.clone().run(https::accept(https, tls, app, owner.clone())));
        mock.tasks.spawn(owner.clone().run(management::accept(management, service, owner)));
        Ok(mock)
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

    /// What the service saw so far.
    pub fn ledger(&self) -> LedgerSnapshot {
        self.service.registrar.ledger.snapshot()
    }

    /// Stops accepting, ends every connection and waits for their tasks.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.stop.cancel();
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
async fn accept_tls<F, Fut>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    service: Arc<Service>,
    owner: Owner,
    serve: F,
) where
    F: Fn(tokio_rustls::server::TlsStream<TcpStream>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: wait for some to come free instead of spinning.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        service.registrar.ledger.connections.add();
        let (acceptor, service, serve) = (acceptor.clone(), service.clone(), serve.clone());
        owner.spawn(async move {
            // Answers are small and someone waits for each of them.
            let _ = stream.set_nodelay(true);
            // Boxed: the handshake's state is large, and gone once the connection serves.
            match Box::pin(tokio::time::timeout(OPENING, acceptor.accept(stream))).await {
                Ok(Ok(stream)) => {
                    service.registrar.ledger.tls_handshakes.add();
                    Box::pin(serve(stream)).await;
                }
                Ok(Err(_)) | Err(_) => service.registrar.ledger.tls_failures.add(),
            }
        });
    }
}
