//! One attempt: TCP, TLS, the transport's opening, register, polls; each timed, and one outcome at the end.

use crate::clock::now;
use crate::https::HttpsChannel;
use crate::mqtt::MqttChannel;
use crate::outcome::{Assignment, ConnectFault, Outcome, Phase, Phases, Refused};
use crate::tls::device_config;
use crate::wire::{StreamFault, WireFault, classify};
use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sim_identity::DeviceIdentity;
use sim_protocol::registration::{OperationStatus, RegistrationStatus};
use sim_protocol::{IdScope, ServiceError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a device waits where the service does not say, as most official SDKs do.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);

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

/// Where devices go and how they get there; shared by a run.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Port of the transport.
    pub port: u16,
    /// The address, where it is known; looked up for every attempt otherwise.
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
}

/// Who makes the attempt.
#[derive(Clone, Debug)]
pub struct Device {
    /// What it presents; `registration_id` in it is what it registers as.
    pub identity: DeviceIdentity,
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
}

/// Makes one attempt. Never fails: whatever happens is its outcome.
pub async fn attempt(target: &Target, device: &Device) -> Attempt {
    let started = now();
    let mut run =
        Run { target, phase: Phase::Tcp, phases: Phases::default(), deadline: started + target.timeout };
    let deadline = tokio::time::Instant::from_std(run.deadline);
    let (outcome, channel) = match tokio::time::timeout_at(deadline, run.provision(&device.identity)).await {
        Ok(ended) => ended,
        Err(_) => (Outcome::TimedOut { phase: run.phase }, None),
    };
    let finished = now();
    if let Some(channel) = channel {
        Box::pin(channel.close()).await;
    }
    Attempt { outcome, phases: run.phases, started, finished }
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

/// An open transport.
enum Channel {
    Mqtt(Box<MqttChannel>),
    Https(HttpsChannel),
}

impl Channel {
    async fn exchange(&mut self, run: &Run<'_>, ask: &Ask<'_>) -> Result<Answer, Outcome> {
        match self {
            Channel::Mqtt(channel) => channel.exchange(run, ask).await,
            Channel::Https(channel) => Box::pin(channel.exchange(run, ask)).await,
        }
    }

    /// Says goodbye; nobody waits for the other side.
    async fn close(self) {
        match self {
            Channel::Mqtt(channel) => channel.close().await,
            Channel::Https(channel) => channel.close(),
        }
    }
}

pub(crate) struct Run<'a> {
    pub(crate) target: &'a Target,
    pub(crate) phase: Phase,
    pub(crate) phases: Phases,
    deadline: Instant,
}

impl Run<'_> {
    /// The whole attempt, and the channel to say goodbye on where there still is one.
    async fn provision(&mut self, identity: &DeviceIdentity) -> (Outcome, Option<Channel>) {
        // Boxed, because what opening needs is large and gone once the channel is open, while a device that waits
        // is what a fleet consists of.
        let mut channel = match Box::pin(self.open(identity)).await {
            Ok(channel) => channel,
            Err(outcome) => return (outcome, None),
        };
        let outcome = match self.converse(&mut channel).await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        let broken = matches!(outcome, Outcome::Unreachable { .. } | Outcome::ProtocolError { .. });
        (outcome, (!broken).then_some(channel))
    }

    async fn open(&mut self, identity: &DeviceIdentity) -> Result<Channel, Outcome> {
        let stream = self.connect(identity).await?;
        let id = &identity.registration_id;
        Ok(match self.target.transport {
            Transport::Mqtt => Channel::Mqtt(Box::new(MqttChannel::open(self, stream, id).await?)),
            Transport::MqttWs => Channel::Mqtt(Box::new(MqttChannel::open_ws(self, stream, id).await?)),
            Transport::Https => Channel::Https(HttpsChannel::open(self, stream, id).await?),
        })
    }

    async fn connect(&mut self, identity: &DeviceIdentity) -> Result<TlsStream<TcpStream>, Outcome> {
        let addresses = self.resolve().await?;
        let begun = self.enter(Phase::Tcp);
        let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(|e| self.failed(&e))?;
        // Without this, Nagle and delayed acknowledgements make an attempt take 40 ms.
        tcp.set_nodelay(true).map_err(|e| self.failed(&e))?;
        self.leave(begun);
        let begun = self.enter(Phase::Tls);
        let connector = TlsConnector::from(device_config(&self.target.tls, identity));
        let stream = connector.connect(self.target.server_name.clone(), tcp).await;
        let stream = stream.map_err(|e| self.failed(&e))?;
        self.leave(begun);
        Ok(stream)
    }

    async fn resolve(&mut self) -> Result<Vec<SocketAddr>, Outcome> {
        if let Some(address) = self.target.address {
            return Ok(vec![address]);
        }
        let begun = self.enter(Phase::Dns);
        let found = tokio::net::lookup_host((self.target.host.as_str(), self.target.port)).await;
        let addresses: Vec<_> = found.map(Iterator::collect).unwrap_or_default();
        self.leave(begun);
        if addresses.is_empty() {
            return Err(Outcome::Unreachable { phase: Phase::Dns, cause: ConnectFault::UnknownHost });
        }
        Ok(addresses)
    }

    /// Registers, then polls until the answer is final.
    async fn converse(&mut self, channel: &mut Channel) -> Result<Outcome, Outcome> {
        let mut answer = self.ask(channel, Ask::Register).await?;
        loop {
            let status: OperationStatus = serde_json::from_slice(&answer.body)
                .map_err(|_| self.nonsense("an answer that is not an operation status"))?;
            match status.status {
                RegistrationStatus::Assigning | RegistrationStatus::Unassigned => {
                    self.wait(answer.retry_after.unwrap_or(DEFAULT_WAIT)).await?;
                    answer = self.ask(channel, Ask::Status(&status.operation_id)).await?;
                }
                _ => return Ok(self.final_outcome(status)),
            }
        }
    }

    /// Asks until the answer is neither a throttle nor a failure of the service; in between it waits as told.
    async fn ask(&mut self, channel: &mut Channel, ask: Ask<'_>) -> Result<Answer, Outcome> {
        loop {
            let begun = self.enter(ask.phase());
            let answer = channel.exchange(self, &ask).await?;
            self.leave(begun);
            match answer.status {
                200..300 => return Ok(answer),
                429 | 500..600 => {
                    self.phases.retries += 1;
                    let wait = answer.retry_after.unwrap_or(DEFAULT_WAIT);
                    self.wait(wait).await.map_err(|given_up| match given_up {
                        // Only one of the two has to do with how much was asked.
                        Outcome::Throttled if answer.status != 429 => self.server_error(&answer),
                        other => other,
                    })?;
                }
                _ => return Err(self.refusal(&answer)),
            }
        }
    }

    /// Waits as the service asked; gives up at once where the attempt's time would be up by then.
    async fn wait(&mut self, wait: Duration) -> Result<(), Outcome> {
        if wait.is_zero() {
            return Ok(());
        }
        let begun = self.enter(Phase::Wait);
        if begun + wait >= self.deadline {
            let throttled = self.phases.retries > 0;
            return Err(if throttled {
                Outcome::Throttled
            } else {
                Outcome::TimedOut { phase: Phase::Wait }
            });
        }
        tokio::time::sleep(wait).await;
        self.leave(begun);
        Ok(())
    }

    /// The service could not do its work, and no time is left to ask again.
    fn server_error(&self, answer: &Answer) -> Outcome {
        match self.refusal(answer) {
            Outcome::Refused(Refused { code, message, .. }) => Outcome::Failed { code, message },
            other => other,
        }
    }

    fn final_outcome(&self, status: OperationStatus) -> Outcome {
        let state = status.registration_state;
        match status.status {
            RegistrationStatus::Disabled => Outcome::Disabled,
            RegistrationStatus::Failed => Outcome::Failed {
                code: state.as_ref().and_then(|s| s.error_code),
                message: state.and_then(|s| s.error_message).unwrap_or_default(),
            },
            _ => match state.map(|s| (s.assigned_hub, s.device_id)) {
                Some((Some(hub), Some(device_id))) => Outcome::Assigned(Assignment { hub, device_id }),
                _ => self.nonsense("assigned without a hub and a device id"),
            },
        }
    }

    fn refusal(&self, answer: &Answer) -> Outcome {
        match serde_json::from_slice::<ServiceError>(&answer.body) {
            Ok(error) => self.refused(Some(error.error_code), error.message),
            Err(_) => self.refused(None, format!("status {}", answer.status)),
        }
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

    pub(crate) fn refused(&self, code: Option<u32>, message: String) -> Outcome {
        Outcome::Refused(Refused { phase: self.phase, code, message })
    }

    /// What an I/O failure in the current phase means.
    pub(crate) fn failed(&self, error: &std::io::Error) -> Outcome {
        match classify(error) {
            StreamFault::Alert(alert) => self.refused(None, format!("TLS alert {alert:?}")),
            StreamFault::Fault(cause) => Outcome::Unreachable { phase: self.phase, cause },
        }
    }

    pub(crate) fn broken(&self, fault: WireFault) -> Outcome {
        match fault {
            WireFault::Io(error) => self.failed(&error),
            WireFault::Closed => self.closed(),
            WireFault::Malformed => self.nonsense("a packet that is not MQTT 3.1.1"),
        }
    }

    pub(crate) fn closed(&self) -> Outcome {
        Outcome::Unreachable { phase: self.phase, cause: ConnectFault::Closed }
    }

    pub(crate) fn nonsense(&self, what: &'static str) -> Outcome {
        Outcome::ProtocolError { phase: self.phase, what }
    }
}
