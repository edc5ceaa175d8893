//! One attempt: TCP, TLS, CONNECT, SUBSCRIBE, register, polls; each timed, and one outcome at the end.

use crate::clock::now;
use crate::outcome::{Assignment, ConnectFault, Outcome, Phase, Phases, Refused};
use crate::tls::device_config;
use crate::wire::{StreamFault, Wire, WireFault, classify};
use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, Subscribe, SubscribeReasonCode,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sim_identity::DeviceIdentity;
use sim_protocol::mqtt::{RESPONSE_FILTER, Request, ResponseTopic, UserName};
use sim_protocol::registration::{OperationStatus, RegistrationStatus};
use sim_protocol::{IdScope, RegistrationId, ServiceError};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What a device waits where the service does not say, as most official SDKs do.
const DEFAULT_WAIT: Duration = Duration::from_secs(2);
/// Seconds; 0 switches keep alive off, as the C SDK does: an attempt is short.
const KEEP_ALIVE: u16 = 0;

/// Where devices go and how they get there; shared by a run.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Port of MQTT over TLS.
    pub port: u16,
    /// The address, where it is known; looked up for every attempt otherwise.
    pub address: Option<SocketAddr>,
    /// What the server's certificate must name, and what SNI says.
    pub server_name: ServerName<'static>,
    /// Which DPS instance.
    pub id_scope: IdScope,
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
    let outcome = match tokio::time::timeout_at(deadline, run.provision(&device.identity)).await {
        Ok(ended) => ended,
        Err(_) => (Outcome::TimedOut { phase: run.phase }, None),
    };
    let finished = now();
    let (outcome, goodbye) = outcome;
    if let Some(wire) = goodbye {
        wire.close().await;
    }
    Attempt { outcome, phases: run.phases, started, finished }
}

struct Run<'a> {
    target: &'a Target,
    phase: Phase,
    phases: Phases,
    deadline: Instant,
}

type Stream = TlsStream<TcpStream>;

impl Run<'_> {
    /// The whole attempt, and the wire to say goodbye on where there still is one.
    async fn provision(&mut self, identity: &DeviceIdentity) -> (Outcome, Option<Wire<Stream>>) {
        let stream = match self.connect(identity).await {
            Ok(stream) => stream,
            Err(outcome) => return (outcome, None),
        };
        let mut wire = Wire::new(stream);
        let mut talk = Talk {
            run: self,
            wire: &mut wire,
            id: &identity.registration_id,
            requests: 0,
            unacknowledged: 0,
        };
        let outcome = match talk.converse().await {
            Ok(outcome) | Err(outcome) => outcome,
        };
        let connected = !matches!(outcome, Outcome::Unreachable { .. } | Outcome::ProtocolError { .. });
        if connected {
            let _ = talk.goodbye();
        }
        (outcome, connected.then_some(wire))
    }

    async fn connect(&mut self, identity: &DeviceIdentity) -> Result<Stream, Outcome> {
        let addresses = self.resolve().await?;
        self.phase = Phase::Tcp;
        let begun = now();
        let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(|e| self.failed(&e))?;
        self.phases.note(Phase::Tcp, now() - begun);
        // Without this, Nagle and delayed acknowledgements make an attempt take 40 ms.
        tcp.set_nodelay(true).map_err(|e| self.failed(&e))?;
        self.phase = Phase::Tls;
        let begun = now();
        let connector = TlsConnector::from(device_config(&self.target.tls, identity));
        let stream = connector.connect(self.target.server_name.clone(), tcp).await;
        let stream = stream.map_err(|e| self.failed(&e))?;
        self.phases.note(Phase::Tls, now() - begun);
        Ok(stream)
    }

    async fn resolve(&mut self) -> Result<Vec<SocketAddr>, Outcome> {
        if let Some(address) = self.target.address {
            return Ok(vec![address]);
        }
        self.phase = Phase::Dns;
        let begun = now();
        let found = tokio::net::lookup_host((self.target.host.as_str(), self.target.port)).await;
        let addresses: Vec<_> = found.map(Iterator::collect).unwrap_or_default();
        self.phases.note(Phase::Dns, now() - begun);
        if addresses.is_empty() {
            return Err(Outcome::Unreachable { phase: Phase::Dns, cause: ConnectFault::UnknownHost });
        }
        Ok(addresses)
    }

    /// What an I/O failure in the current phase means.
    fn failed(&self, error: &std::io::Error) -> Outcome {
        let phase = self.phase;
        match classify(error) {
            StreamFault::Alert(alert) => {
                Outcome::Refused(Refused { phase, code: None, message: format!("TLS alert {alert:?}") })
            }
            StreamFault::Fault(cause) => Outcome::Unreachable { phase, cause },
        }
    }

    fn broken(&self, fault: WireFault) -> Outcome {
        match fault {
            WireFault::Io(error) => self.failed(&error),
            WireFault::Closed => Outcome::Unreachable { phase: self.phase, cause: ConnectFault::Closed },
            WireFault::Malformed => self.nonsense("a packet that is not MQTT 3.1.1"),
        }
    }

    fn nonsense(&self, what: &'static str) -> Outcome {
        Outcome::ProtocolError { phase: self.phase, what }
    }
}

/// The MQTT conversation of one attempt.
struct Talk<'a, 'r, S> {
    run: &'a mut Run<'r>,
    wire: &'a mut Wire<S>,
    id: &'a RegistrationId,
    requests: u16,
    /// Packet id of an answer not acknowledged yet; the acknowledgement travels with what is sent next.
    unacknowledged: u16,
}

/// An answer of the service.
struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<'_, '_, S> {
    async fn converse(&mut self) -> Result<Outcome, Outcome> {
        self.connect().await?;
        self.subscribe().await?;
        let mut answer = self.register().await?;
        loop {
            let status: OperationStatus = match serde_json::from_slice(&answer.body) {
                Ok(status) => status,
                Err(_) => return Err(self.run.nonsense("an answer that is not an operation status")),
            };
            match status.status {
                RegistrationStatus::Assigning | RegistrationStatus::Unassigned => {
                    self.wait(answer.retry_after.unwrap_or(DEFAULT_WAIT)).await?;
                    answer = self.poll(&status.operation_id).await?;
                }
                _ => return Ok(self.final_outcome(status)),
            }
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
                _ => self.run.nonsense("assigned without a hub and a device id"),
            },
        }
    }

    async fn connect(&mut self) -> Result<(), Outcome> {
        self.run.phase = Phase::Connect;
        let begun = now();
        let mut connect = Connect::new(self.id.as_str());
        connect.keep_alive = KEEP_ALIVE;
        let version = concat!("rollcall%2F", env!("CARGO_PKG_VERSION"));
        connect.login = Some(Login::new(UserName::text(&self.run.target.id_scope, self.id, version), ""));
        self.send(Packet::Connect(connect)).await?;
        match self.receive().await? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {}
            Packet::ConnAck(ack) => return Err(self.refused(None, format!("CONNACK {}", ack.code as u8))),
            _ => return Err(self.run.nonsense("something other than CONNACK")),
        }
        self.run.phases.note(Phase::Connect, now() - begun);
        Ok(())
    }

    async fn subscribe(&mut self) -> Result<(), Outcome> {
        self.run.phase = Phase::Subscribe;
        let begun = now();
        let mut subscribe = Subscribe::new(RESPONSE_FILTER, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.send(Packet::Subscribe(subscribe)).await?;
        match self.receive().await? {
            Packet::SubAck(ack) if ack.return_codes.iter().all(|c| *c != SubscribeReasonCode::Failure) => {}
            Packet::SubAck(_) => return Err(self.refused(None, "SUBACK 128".to_owned())),
            _ => return Err(self.run.nonsense("something other than SUBACK")),
        }
        self.run.phases.note(Phase::Subscribe, now() - begun);
        Ok(())
    }

    async fn register(&mut self) -> Result<Answer, Outcome> {
        self.run.phase = Phase::Register;
        let body = format!("{{\"registrationId\":\"{}\"}}", self.id);
        self.ask(|rid| Request::Register { rid }, body.into()).await
    }

    async fn poll(&mut self, operation_id: &str) -> Result<Answer, Outcome> {
        self.run.phase = Phase::Poll;
        let request = |rid| Request::Status { rid, operation_id: operation_id.to_owned() };
        // One space, as two of the official SDKs send.
        self.ask(request, Bytes::from_static(b" ")).await
    }

    /// Sends a request and awaits its answer; a throttled or failing service is asked again when it says so.
    async fn ask(&mut self, request: impl Fn(String) -> Request, body: Bytes) -> Result<Answer, Outcome> {
        loop {
            let begun = now();
            self.requests += 1;
            let rid = self.requests.to_string();
            let mut publish =
                Publish::from_bytes(request(rid.clone()).topic(), QoS::AtLeastOnce, body.clone());
            publish.pkid = 1 + self.requests;
            self.acknowledge()?;
            self.send(Packet::Publish(publish)).await?;
            let answer = self.answer(&rid).await?;
            self.run.phases.note(self.run.phase, now() - begun);
            match answer.status {
                200..300 => return Ok(answer),
                429 | 500..600 => {
                    self.run.phases.retries += 1;
                    self.wait(answer.retry_after.unwrap_or(DEFAULT_WAIT)).await?;
                }
                _ => return Err(self.refusal(&answer)),
            }
        }
    }

    /// Awaits the answer to the request of this `$rid`.
    async fn answer(&mut self, rid: &str) -> Result<Answer, Outcome> {
        loop {
            let publish = match self.receive().await? {
                Packet::Publish(publish) => publish,
                Packet::PubAck(_) => continue,
                _ => return Err(self.run.nonsense("a packet that nobody asked for")),
            };
            self.acknowledge()?;
            self.unacknowledged = publish.pkid;
            let topic = ResponseTopic::parse(&publish.topic);
            let topic = topic.ok_or_else(|| self.run.nonsense("a publish that is not an answer"))?;
            if topic.rid == rid {
                return Ok(Answer {
                    status: topic.status,
                    retry_after: topic.retry_after,
                    body: publish.payload,
                });
            }
        }
    }

    fn refusal(&self, answer: &Answer) -> Outcome {
        match serde_json::from_slice::<ServiceError>(&answer.body) {
            Ok(error) => self.refused(Some(error.error_code), error.message),
            Err(_) => self.refused(None, format!("status {}", answer.status)),
        }
    }

    fn refused(&self, code: Option<u32>, message: String) -> Outcome {
        Outcome::Refused(Refused { phase: self.run.phase, code, message })
    }

    /// Waits as the service asked, unless the attempt's time would be up by then.
    async fn wait(&mut self, wait: Duration) -> Result<(), Outcome> {
        if self.run.phases.retries > 0 && now() + wait >= self.run.deadline {
            return Err(Outcome::Throttled);
        }
        if !wait.is_zero() {
            self.run.phases.waited += wait;
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    async fn send(&mut self, packet: Packet) -> Result<(), Outcome> {
        self.wire.put(packet).map_err(|f| self.run.broken(f))?;
        self.wire.flush().await.map_err(|f| self.run.broken(f))
    }

    async fn receive(&mut self) -> Result<Packet, Outcome> {
        self.wire.next().await.map_err(|f| self.run.broken(f))
    }

    /// Queues the acknowledgement of the last answer, if it wants one.
    fn acknowledge(&mut self) -> Result<(), Outcome> {
        match std::mem::take(&mut self.unacknowledged) {
            0 => Ok(()),
            id => self.wire.put(Packet::PubAck(PubAck::new(id))).map_err(|f| self.run.broken(f)),
        }
    }

    fn goodbye(&mut self) -> Result<(), Outcome> {
        self.acknowledge()?;
        self.wire.put(Packet::Disconnect).map_err(|f| self.run.broken(f))
    }
}
