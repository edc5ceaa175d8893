//! One attempt: TCP, TLS, the transport's opening, register, polls; each timed, and one outcome at the end. What is
//! tried again within it is part of it.

use crate::clock::{after, now};
use crate::connection::Connection;
use crate::flavour::{Flavour, Manners, may_pass};
use crate::habits::{Goal, Habits};
use crate::heard::Heard;
use crate::https::HttpsChannel;
use crate::mqtt::MqttChannel;
use crate::outcome::{Assignment, ConnectFault, Outcome, Refused};
use crate::phases::{Phase, Phases};
use crate::retry::{Cause, Draws, Retries, Retry, Tally};
use crate::tls::{Session, TlsFacts, TlsStream, device_config};
use crate::wire::{StreamFault, WireFault, classify};
use bytes::Bytes;
use rumqttc::mqttbytes::v4::ConnectReturnCode;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sim_identity::DeviceIdentity;
use sim_protocol::registration::{OperationStatus, RegistrationStatus};
use sim_protocol::{IdScope, RegistrationId, ServiceError};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};

/// How a device speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// MQTT 3.1.1 over TLS.
    #[default]
    Mqtt,
    /// MQTT 3.1.1 over WebSocket over TLS.
    MqttWs,
    /// HTTPS.
    Https,
}

/// Where devices go, how they get there and what they do there; shared by a run.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Port of the transport.
    pub port: u16,
    /// The address, where it is known; looked up for every connection otherwise.
    pub address: Option<SocketAddr>,
    /// What the server's certificate must name, and what SNI says.
    pub server_name: ServerName<'static>,
    /// Which DPS instance.
    pub id_scope: IdScope,
    /// How devices speak.
    pub transport: Transport,
    /// From [`crate::base_config`].
    pub tls: Arc<ClientConfig>,
    /// The longest an attempt may take.
    pub timeout: Duration,
    /// What its devices do.
    pub habits: Habits,
}

/// Who makes the attempt.
#[derive(Clone, Debug)]
pub struct Device {
    /// What it presents; `registration_id` in it is what it registers as.
    pub identity: DeviceIdentity,
    /// What it remembers of its last TLS session; it resumes nothing without.
    pub session: Option<Arc<Session>>,
    /// The seed of what it draws: waits, and names of requests where its flavour has random ones.
    pub draws: u64,
    /// Where retries are counted as they are made, besides in the [`Attempt`].
    pub tally: Option<Arc<Tally>>,
}

/// One attempt, ended.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// How.
    pub outcome: Outcome,
    /// What each phase took.
    pub phases: Phases,
    /// When it started.
    pub started: Instant,
    /// When the outcome was known; saying goodbye comes after.
    pub finished: Instant,
    /// What was tried again, by cause.
    pub retries: Retries,
    /// What the service said besides.
    pub heard: Heard,
    /// What the last handshake came to; absent where none was completed.
    pub tls: Option<TlsFacts>,
}

/// Makes one attempt and says goodbye. Never fails: whatever happens is its outcome.
pub async fn attempt(target: &Target, device: &Device) -> Attempt {
    let (attempt, connection) = arrive(target, device).await;
    if let Some(connection) = connection {
        Box::pin(connection.close()).await;
    }
    attempt
}

/// Makes one attempt. The connection stays open where the device got what it came for over MQTT; otherwise the
/// attempt says goodbye itself.
pub async fn arrive(target: &Target, device: &Device) -> (Attempt, Option<Connection>) {
    let started = now();
    let mut run = Run::new(target, device, after(started, target.timeout));
    let deadline = tokio::time::Instant::from_std(run.deadline);
    // Boxed, for it is large, and what is held afterwards should not have its size.
    let ended = tokio::time::timeout_at(deadline, Box::pin(run.provision())).await;
    run.heard.unheard += u32::from(ended.is_err());
    let (outcome, channel) = ended.unwrap_or_else(|_| (run.out_of_time(), None));
    let finished = now();
    let well = matches!(outcome, Outcome::Assigned(_) | Outcome::Connected);
    let Run { phases, retries, heard, tls, .. } = run;
    let attempt = Attempt { outcome, phases, started, finished, retries, heard, tls };
    match channel {
        Some(Channel::Mqtt(channel)) if well => (attempt, Some(Connection::new(channel))),
        Some(channel) => {
            Box::pin(channel.close(well)).await;
            (attempt, None)
        }
        None => (attempt, None),
    }
}

/// What a device asks.
pub(crate) enum Ask<'a> {
    /// Register me.
    Register,
    /// How does my operation stand?
    Status(&'a str),
}

impl Ask<'_> {
    const fn phase(&self) -> Phase {
        match self {
            Ask::Register => Phase::Register,
            Ask::Status(_) => Phase::Poll,
        }
    }
}

/// An answer of the service, whatever carried it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

/// Why a connection got nowhere.
pub(crate) struct Failure {
    outcome: Outcome,
    /// What a device that retries calls it; absent where trying again would change nothing.
    cause: Option<Cause>,
}

impl Failure {
    /// Counted under this cause if it is tried again.
    pub(crate) fn because(self, cause: Cause) -> Self {
        Failure { cause: Some(cause), ..self }
    }

    /// Whether it is tried again is for this status to say.
    pub(crate) fn after(self, status: u16) -> Self {
        Failure { cause: cause_of(status), ..self }
    }

    /// Whether there still is somebody to say goodbye to.
    fn leaves_connection(&self) -> bool {
        match self.outcome {
            Outcome::Unreachable { .. } | Outcome::ProtocolError { .. } => false,
            Outcome::TimedOut { phase } => phase == Phase::Wait,
            _ => true,
        }
    }
}

impl From<Outcome> for Failure {
    fn from(outcome: Outcome) -> Self {
        Failure { outcome, cause: None }
    }
}

const fn cause_of(status: u16) -> Option<Cause> {
    match status {
        429 => Some(Cause::Throttled),
        _ if may_pass(status) => Some(Cause::ServerError),
        _ => None,
    }
}

/// An open transport.
enum Channel {
    Mqtt(Box<MqttChannel>),
    Https(Box<HttpsChannel>),
}

impl Channel {
    async fn exchange(&mut self, run: &Run<'_>, ask: &Ask<'_>) -> Result<Answer, Failure> {
        match self {
            Channel::Mqtt(channel) => channel.exchange(run, ask).await,
            Channel::Https(channel) => Box::pin(channel.exchange(run, ask)).await,
        }
    }

    /// Says goodbye, `well` where the device got what it came for. Over HTTPS there is none to say.
    async fn close(self, well: bool) {
        if let Channel::Mqtt(channel) = self {
            channel.close(well).await;
        }
    }
}

pub(crate) struct Run<'a> {
    pub(crate) target: &'a Target,
    device: &'a Device,
    flavour: Flavour,
    phase: Phase,
    phases: Phases,
    retries: Retries,
    heard: Heard,
    tls: Option<TlsFacts>,
    pub(crate) draws: Draws,
    deadline: Instant,
    /// What was tried again last, with nothing better since: the outcome, should the time be up.
    last: Option<Outcome>,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, device: &'a Device, deadline: Instant) -> Self {
        Run {
            target,
            device,
            flavour: target.habits.flavour.over(target.transport),
            phase: Phase::Tcp,
            phases: Phases::default(),
            retries: Retries::default(),
            heard: Heard::default(),
            tls: None,
            draws: Draws::new(device.draws),
            deadline,
            last: None,
        }
    }
}

impl Run<'_> {
    /// The whole attempt, and the channel to say goodbye on where there still is one.
    async fn provision(&mut self) -> (Outcome, Option<Channel>) {
        loop {
            let (ended, channel) = self.connection().await;
            let failure = match ended {
                Ok(outcome) => return (outcome, channel),
                Err(failure) => failure,
            };
            self.heard.unheard += u32::from(failure.cause == Some(Cause::Timeout));
            let channel = channel.filter(|_| failure.leaves_connection());
            let Some((cause, wait)) = failure.cause.and_then(|cause| Some((cause, self.wait_again(None)?)))
            else {
                return (failure.outcome, channel);
            };
            drop(channel);
            if !self.pause(wait).await {
                return (failure.outcome, None);
            }
            self.again(cause, failure.outcome).await;
        }
    }

    /// One connection: as far as it goes.
    async fn connection(&mut self) -> (Result<Outcome, Failure>, Option<Channel>) {
        // Boxed, because what opening needs is large and gone once the channel is open, while a device that waits
        // is what a fleet consists of.
        let mut channel = match Box::pin(self.open()).await {
            Ok(channel) => channel,
            Err(failure) => return (Err(failure), None),
        };
        let ended = match self.target.habits.goal {
            Goal::Connected => Ok(Outcome::Connected),
            Goal::Assigned => self.converse(&mut channel).await,
        };
        (ended, Some(channel))
    }

    async fn open(&mut self) -> Result<Channel, Failure> {
        let stream = self.secure().await?;
        let mut channel = match self.target.transport {
            Transport::Https => return Ok(Channel::Https(Box::new(HttpsChannel::open(self, stream).await?))),
            Transport::Mqtt => Box::new(MqttChannel::open(self, stream).await?),
            Transport::MqttWs => Box::new(MqttChannel::open_ws(self, stream).await?),
        };
        if self.target.habits.goal == Goal::Assigned {
            let begun = self.enter(Phase::Subscribe);
            self.within(pin!(channel.subscribe(self))).await?;
            self.leave(begun);
        }
        Ok(Channel::Mqtt(channel))
    }

    async fn secure(&mut self) -> Result<Box<TlsStream>, Failure> {
        let tcp = self.connect().await?;
        let begun = self.enter(Phase::Tls);
        let config = device_config(&self.target.tls, self.device);
        // A connection over which nothing is said afterwards has nothing that a last flight could travel with.
        let speaks = self.target.habits.goal == Goal::Assigned || self.target.transport != Transport::Https;
        let coalesces = self.manners().coalesces && speaks;
        let shaken = TlsStream::shake_hands(config, self.target.server_name.clone(), tcp, coalesces);
        let stream = self.within(pin!(self.io(shaken))).await?;
        self.leave(begun);
        self.tls = Some(TlsFacts::of(stream.connection()));
        Ok(stream)
    }

    async fn connect(&mut self) -> Result<TcpStream, Failure> {
        if let Some(address) = self.target.address {
            return self.dial(&[address]).await;
        }
        let begun = self.enter(Phase::Dns);
        let found = tokio::net::lookup_host((self.target.host.as_str(), self.target.port));
        let found = self.within(pin!(async { Ok(found.await) })).await?;
        let addresses: Vec<_> = found.map(Iterator::collect).unwrap_or_default();
        self.leave(begun);
        if addresses.is_empty() {
            return Err(self.unreachable(ConnectFault::UnknownHost));
        }
        self.dial(&addresses).await
    }

    /// Connects to the first of these addresses that takes the connection.
    async fn dial(&mut self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        let begun = self.enter(Phase::Tcp);
        let connected = async {
            let mut last = None;
            for &address in addresses {
                match self.io(self.dial_one(address)).await {
                    Ok(tcp) => return Ok(tcp),
                    Err(failure) => last = Some(failure),
                }
            }
            Err(last.unwrap_or_else(|| self.unreachable(ConnectFault::UnknownHost)))
        };
        let tcp = self.within(pin!(connected)).await?;
        // Without this, Nagle and delayed acknowledgements make an attempt take 40 ms.
        tcp.set_nodelay(true).map_err(|e| self.failed(&e))?;
        self.leave(begun);
        Ok(tcp)
    }

    async fn dial_one(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(sources) = &self.target.habits.sources else {
            return TcpStream::connect(address).await;
        };
        let source = sources.next(address).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.bind(source)?;
        socket.connect(address).await
    }

    /// Registers, then polls until the answer is final.
    async fn converse(&mut self, channel: &mut Channel) -> Result<Outcome, Failure> {
        let mut answer = self.ask(channel, Ask::Register).await?;
        let mut first = true;
        loop {
            let Ok(status) = serde_json::from_slice::<OperationStatus>(&answer.body) else {
                self.heard.malformed += 1;
                return Err(self.nonsense("an answer that is not an operation status"));
            };
            match status.status {
                RegistrationStatus::Assigning | RegistrationStatus::Unassigned => {
                    let told = self.told(&answer);
                    drop(answer);
                    let wait = self.flavour.poll_wait(first, told, &mut self.draws);
                    if !self.pause(wait).await {
                        return Err(self.no_time_to_wait());
                    }
                    answer = self.ask(channel, Ask::Status(&status.operation_id)).await?;
                    first = false;
                }
                _ => return self.final_outcome(status),
            }
        }
    }

    /// Asks until the answer is neither a throttle nor a failure of the service, or the device gives up.
    async fn ask(&mut self, channel: &mut Channel, ask: Ask<'_>) -> Result<Answer, Failure> {
        loop {
            let begun = self.enter(ask.phase());
            let answer = self.within(pin!(channel.exchange(self, &ask))).await?;
            self.leave(begun);
            self.heard.note(answer.status);
            if matches!(answer.status, 200..300) {
                self.last = None;
                return Ok(answer);
            }
            let given_up = self.given_up(&answer);
            match self.wait_again(Some(&answer)) {
                Some(wait) if self.pause(wait).await => {
                    let cause = cause_of(answer.status).unwrap_or(Cause::ServerError);
                    self.again(cause, given_up).await;
                }
                _ => return Err(given_up.into()),
            }
        }
    }

    /// The wait before this request, or the whole conversation where there is no answer, is tried again; `None`
    /// where the device gives up.
    fn wait_again(&mut self, answer: Option<&Answer>) -> Option<Duration> {
        let told = answer.and_then(|answer| self.told(answer));
        match (self.target.habits.retry, answer) {
            (Retry::Flavour, None) => None,
            (Retry::Flavour, Some(answer)) => {
                self.flavour.wait_again(self.target.transport, answer.status, told)
            }
            (_, Some(answer)) if !may_pass(answer.status) => None,
            (retry, _) => retry.wait(self.retries.total(), told, &mut self.draws),
        }
    }

    /// Counts a retry. What is tried again at once lets others have their turn first.
    async fn again(&mut self, cause: Cause, instead_of: Outcome) {
        self.retries.count(cause);
        if let Some(tally) = &self.device.tally {
            tally.count(cause);
        }
        self.last = Some(instead_of);
        if self.target.habits.retry == Retry::Naive {
            tokio::task::yield_now().await;
        }
    }

    /// What the service asks for, where that is honoured.
    fn told(&self, answer: &Answer) -> Option<Duration> {
        answer.retry_after.filter(|_| !self.target.habits.ignore_retry_after)
    }

    /// Waits; not at all, and `false`, where the attempt's time would be up by then.
    async fn pause(&mut self, wait: Duration) -> bool {
        if wait.is_zero() {
            return true;
        }
        let before = self.phase;
        let begun = self.enter(Phase::Wait);
        if self.deadline.saturating_duration_since(begun) <= wait {
            self.phase = before;
            return false;
        }
        tokio::time::sleep(wait).await;
        self.leave(begun);
        true
    }

    /// Awaits no longer than the current phase may take.
    pub(crate) async fn within<T, F>(&self, work: Pin<&mut F>) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let limits = &self.target.habits.phase_timeouts;
        let limit = match self.phase {
            Phase::Register | Phase::Poll => limits.of(self.phase).or(self.manners().patience),
            phase => limits.of(phase),
        };
        let Some(limit) = limit else { return work.await };
        // Boxed, so that who has no limit does not carry one.
        match Box::pin(tokio::time::timeout(limit, work)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::from(Outcome::TimedOut { phase: self.phase }).because(Cause::Timeout)),
        }
    }

    async fn io<T>(&self, work: impl Future<Output = io::Result<T>>) -> Result<T, Failure> {
        work.await.map_err(|e| self.failed(&e))
    }

    /// The outcome where the attempt's time is up: what went wrong last, where something did.
    fn out_of_time(&mut self) -> Outcome {
        self.last.take().unwrap_or(Outcome::TimedOut { phase: self.phase })
    }

    /// The device was told to wait longer than it has time.
    fn no_time_to_wait(&self) -> Failure {
        // It would have had the time, had it not been throttled before.
        let throttled = self.retries.throttled > 0;
        Failure::from(if throttled { Outcome::Throttled } else { Outcome::TimedOut { phase: Phase::Wait } })
    }

    fn given_up(&self, answer: &Answer) -> Outcome {
        match answer.status {
            429 => Outcome::Throttled,
            500..600 => match self.refusal(answer).outcome {
                Outcome::Refused(Refused { code, message, .. }) => Outcome::Failed { code, message },
                other => other,
            },
            _ => self.refusal(answer).outcome,
        }
    }

    fn final_outcome(&mut self, status: OperationStatus) -> Result<Outcome, Failure> {
        let state = status.registration_state;
        match status.status {
            RegistrationStatus::Disabled => Err(Outcome::Disabled.into()),
            RegistrationStatus::Failed => {
                self.heard.failed += 1;
                Err(Failure::from(Outcome::Failed {
                    code: state.as_ref().and_then(|s| s.error_code),
                    message: state.and_then(|s| s.error_message).unwrap_or_default(),
                }))
            }
            _ => match state.map(|s| (s.assigned_hub, s.device_id)) {
                Some((Some(hub), Some(device_id))) => Ok(Outcome::Assigned(Assignment { hub, device_id })),
                _ => Err(self.nonsense("assigned without a hub and a device id")),
            },
        }
    }

    fn refusal(&self, answer: &Answer) -> Failure {
        match serde_json::from_slice::<ServiceError>(&answer.body) {
            Ok(error) => self.refused(Some(error.error_code), error.message),
            Err(_) => self.refused(None, format!("status {}", answer.status)),
        }
    }

    pub(crate) fn id(&self) -> &RegistrationId {
        &self.device.identity.registration_id
    }

    pub(crate) fn flavour(&self) -> Flavour {
        self.flavour
    }

    pub(crate) fn manners(&self) -> &'static Manners {
        self.flavour.manners()
    }

    /// What CONNECT says, in seconds.
    pub(crate) fn keep_alive(&self) -> u16 {
        let wanted = self.target.habits.keep_alive;
        if wanted.is_zero() {
            return self.manners().keep_alive;
        }
        // Rounded up: 0 would switch it off.
        let seconds = wanted.as_secs().saturating_add(u64::from(wanted.subsec_nanos() > 0));
        u16::try_from(seconds).unwrap_or(u16::MAX)
    }

    /// Enters a phase, and tells when.
    pub(crate) fn enter(&mut self, phase: Phase) -> Instant {
        self.phase = phase;
        now()
    }

    /// Notes what the current phase took.
    pub(crate) fn leave(&mut self, begun: Instant) {
        self.phases.note(self.phase, now() - begun);
    }

    /// CONNECT was answered with a code that refuses.
    pub(crate) fn turned_away(&mut self, code: ConnectReturnCode) -> Failure {
        self.heard.refused += 1;
        let refused = self.refused(None, format!("CONNACK {}", code as u8));
        // The only code that says that the service, and not the device, is at fault.
        let busy = code == ConnectReturnCode::ServiceUnavailable;
        if busy { refused.because(Cause::ServerError) } else { refused }
    }

    pub(crate) fn refused(&self, code: Option<u32>, message: String) -> Failure {
        Outcome::Refused(Refused { phase: self.phase, code, message }).into()
    }

    /// What an I/O failure in the current phase means.
    pub(crate) fn failed(&self, error: &io::Error) -> Failure {
        match classify(error) {
            StreamFault::Alert(alert) => self.refused(None, format!("TLS alert {alert:?}")),
            StreamFault::Fault(cause) => self.unreachable(cause),
        }
    }

    pub(crate) fn broken(&self, fault: WireFault) -> Failure {
        match fault {
            WireFault::Io(error) => self.failed(&error),
            WireFault::Closed => self.closed(),
            WireFault::Malformed => self.nonsense("a packet that is not MQTT 3.1.1"),
        }
    }

    pub(crate) fn closed(&self) -> Failure {
        self.unreachable(ConnectFault::Closed)
    }

    fn unreachable(&self, cause: ConnectFault) -> Failure {
        let failure = Failure::from(Outcome::Unreachable { phase: self.phase, cause });
        if cause.may_pass() { failure.because(Cause::Connection) } else { failure }
    }

    pub(crate) fn nonsense(&self, what: &'static str) -> Failure {
        Outcome::ProtocolError { phase: self.phase, what }.into()
    }
}
