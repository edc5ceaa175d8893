//! The device conversation over MQTT 3.1.1, directly over TLS or over WebSocket.

use crate::attempt::{Answer, Ask, Run};
use crate::outcome::{Outcome, Phase};
use crate::websocket::{self, WebSocket};
use crate::wire::Wire;
use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, Subscribe, SubscribeReasonCode,
};
use sim_protocol::RegistrationId;
use sim_protocol::mqtt::{RESPONSE_FILTER, Request, ResponseTopic, UserName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// Seconds; 0 switches keep alive off, as the C SDK does: an attempt is short.
const KEEP_ALIVE: u16 = 0;

type Stream = Either<TlsStream<TcpStream>, WebSocket>;

/// An open MQTT connection that listens for answers.
pub(crate) struct MqttChannel {
    wire: Wire<Stream>,
    id: RegistrationId,
    requests: u16,
    /// Packet id of an answer not acknowledged yet; the acknowledgement travels with what is sent next.
    unacknowledged: u16,
}

impl MqttChannel {
    /// CONNECT and SUBSCRIBE over TLS.
    pub(crate) async fn open(
        run: &mut Run<'_>,
        stream: TlsStream<TcpStream>,
        id: &RegistrationId,
    ) -> Result<Self, Outcome> {
        Self::greet(run, Either::Left(stream), id).await
    }

    /// The WebSocket upgrade, then CONNECT and SUBSCRIBE.
    pub(crate) async fn open_ws(
        run: &mut Run<'_>,
        stream: TlsStream<TcpStream>,
        id: &RegistrationId,
    ) -> Result<Self, Outcome> {
        let begun = run.enter(Phase::Upgrade);
        let socket = websocket::upgrade(run, stream).await?;
        run.leave(begun);
        Self::greet(run, Either::Right(socket), id).await
    }

    async fn greet(run: &mut Run<'_>, stream: Stream, id: &RegistrationId) -> Result<Self, Outcome> {
        let mut channel =
            MqttChannel { wire: Wire::new(stream), id: id.clone(), requests: 0, unacknowledged: 0 };
        let begun = run.enter(Phase::Connect);
        channel.connect(run).await?;
        run.leave(begun);
        let begun = run.enter(Phase::Subscribe);
        channel.subscribe(run).await?;
        run.leave(begun);
        Ok(channel)
    }

    async fn connect(&mut self, run: &Run<'_>) -> Result<(), Outcome> {
        let mut connect = Connect::new(self.id.as_str());
        connect.keep_alive = KEEP_ALIVE;
        let version = concat!("rollcall%2F", env!("CARGO_PKG_VERSION"));
        connect.login = Some(Login::new(UserName::text(&run.target.id_scope, &self.id, version), ""));
        self.send(run, Packet::Connect(connect)).await?;
        match self.receive(run).await? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => Ok(()),
            Packet::ConnAck(ack) => Err(run.refused(None, format!("CONNACK {}", ack.code as u8))),
            _ => Err(run.nonsense("something other than CONNACK")),
        }
    }

    async fn subscribe(&mut self, run: &Run<'_>) -> Result<(), Outcome> {
        let mut subscribe = Subscribe::new(RESPONSE_FILTER, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.send(run, Packet::Subscribe(subscribe)).await?;
        match self.receive(run).await? {
            Packet::SubAck(ack) if ack.return_codes.iter().all(|c| *c != SubscribeReasonCode::Failure) => {
                Ok(())
            }
            Packet::SubAck(_) => Err(run.refused(None, "SUBACK 128".to_owned())),
            _ => Err(run.nonsense("something other than SUBACK")),
        }
    }

    /// Publishes a request and awaits its answer.
    pub(crate) async fn exchange(&mut self, run: &Run<'_>, ask: &Ask<'_>) -> Result<Answer, Outcome> {
        self.requests += 1;
        let rid = self.requests.to_string();
        let (request, body) = match ask {
            Ask::Register => {
                let body = format!("{{\"registrationId\":\"{}\"}}", self.id);
                (Request::Register { rid: rid.clone() }, Bytes::from(body))
            }
            // One space, as two of the official SDKs send.
            Ask::Status(operation_id) => {
                let operation_id = (*operation_id).to_owned();
                (Request::Status { rid: rid.clone(), operation_id }, Bytes::from_static(b" "))
            }
        };
        let mut publish = Publish::from_bytes(request.topic(), QoS::AtLeastOnce, body);
        publish.pkid = 1 + self.requests;
        self.acknowledge(run)?;
        self.send(run, Packet::Publish(publish)).await?;
        self.answer(run, &rid).await
    }

    /// Awaits the answer to the request of this `$rid`.
    async fn answer(&mut self, run: &Run<'_>, rid: &str) -> Result<Answer, Outcome> {
        loop {
            let publish = match self.receive(run).await? {
                Packet::Publish(publish) => publish,
                Packet::PubAck(_) => continue,
                _ => return Err(run.nonsense("a packet that nobody asked for")),
            };
            self.acknowledge(run)?;
            self.unacknowledged = publish.pkid;
            let topic = ResponseTopic::parse(&publish.topic);
            let topic = topic.ok_or_else(|| run.nonsense("a publish that is not an answer"))?;
            if topic.rid == rid {
                return Ok(Answer {
                    status: topic.status,
                    retry_after: topic.retry_after,
                    body: publish.payload,
                });
            }
        }
    }

    async fn send(&mut self, run: &Run<'_>, packet: Packet) -> Result<(), Outcome> {
        self.wire.put(packet).map_err(|f| run.broken(f))?;
        self.wire.flush().await.map_err(|f| run.broken(f))
    }

    async fn receive(&mut self, run: &Run<'_>) -> Result<Packet, Outcome> {
        self.wire.next().await.map_err(|f| run.broken(f))
    }

    /// Queues the acknowledgement of the last answer, if it wants one.
    fn acknowledge(&mut self, run: &Run<'_>) -> Result<(), Outcome> {
        match std::mem::take(&mut self.unacknowledged) {
            0 => Ok(()),
            id => self.wire.put(Packet::PubAck(PubAck::new(id))).map_err(|f| run.broken(f)),
        }
    }

    /// Acknowledges what is left, disconnects and closes, in one write.
    pub(crate) async fn close(mut self) {
        let last = (self.unacknowledged != 0).then(|| Packet::PubAck(PubAck::new(self.unacknowledged)));
        for packet in last.into_iter().chain([Packet::Disconnect]) {
            // The outcome is known: a goodbye that cannot be said changes nothing.
            let _ = self.wire.put(packet);
        }
        self.wire.close().await;
    }
}
