//! The device conversation over MQTT 3.1.1, directly over TLS or over WebSocket.

use crate::attempt::{Answer, Ask, Failure, Run};
use crate::flavour::{Goodbye, Manners, Rid};
use crate::phases::Phase;
use crate::retry::Draws;
use crate::tls::TlsStream;
use crate::websocket::WebSocket;
use crate::wire::{Carrier, Wire, WireFault};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, Subscribe, SubscribeReasonCode, Unsubscribe,
};
use sim_protocol::mqtt::{RESPONSE_FILTER, Request, ResponseTopic};
use std::pin::pin;
use std::time::Duration;

/// ours: how long a device that is done waits for its UNSUBACK before it closes anyway.
const GOODBYE: Duration = Duration::from_secs(5);

/// The packet id of SUBSCRIBE; requests have the next ones.
const FIRST_ID: u16 = 1;

/// What a held connection hears.
pub(crate) enum Heard {
    /// The answer to a ping.
    Pong,
    /// A publish, whose acknowledgement is left to [`MqttChannel::settle`].
    Publish,
}

/// An open MQTT connection.
pub(crate) struct MqttChannel {
    wire: Wire,
    manners: &'static Manners,
    draws: Draws,
    requests: u16,
    /// Packet id of an answer not acknowledged yet; 0 where there is none.
    unacknowledged: u16,
    subscribed: bool,
    /// Seconds, as CONNECT said.
    pub(crate) keep_alive: u16,
}

impl MqttChannel {
    /// CONNECT over TLS.
    pub(crate) async fn open(run: &mut Run<'_>, stream: Box<TlsStream>) -> Result<Self, Failure> {
        Self::greet(run, Carrier::Tls(stream)).await
    }

    /// The WebSocket upgrade, then CONNECT.
    pub(crate) async fn open_ws(run: &mut Run<'_>, stream: Box<TlsStream>) -> Result<Self, Failure> {
        let begun = run.enter(Phase::Upgrade);
        let socket = run.within(pin!(WebSocket::upgrade(run, stream))).await?;
        run.leave(begun);
        Self::greet(run, Carrier::WebSocket(Box::new(socket))).await
    }

    async fn greet(run: &mut Run<'_>, carrier: Carrier) -> Result<Self, Failure> {
        let mut channel = MqttChannel {
            wire: Wire::new(carrier),
            manners: run.manners(),
            draws: Draws::new(run.draws.next()),
            requests: 0,
            unacknowledged: 0,
            subscribed: false,
            keep_alive: run.keep_alive(),
        };
        let begun = run.enter(Phase::Connect);
        let code = run.within(pin!(channel.connect(run))).await?;
        if code != ConnectReturnCode::Success {
            return Err(run.turned_away(code));
        }
        run.leave(begun);
        Ok(channel)
    }

    /// CONNECT to CONNACK.
    async fn connect(&mut self, run: &Run<'_>) -> Result<ConnectReturnCode, Failure> {
        let id = run.id();
        let mut connect = Connect::new(id.as_str());
        connect.keep_alive = self.keep_alive;
        connect.clean_session = self.manners.clean_session;
        // No password: with X.509 no client sends any.
        connect.login = Some(Login::new(self.manners.user_name(&run.target.id_scope, id), ""));
        self.send(run, &Packet::Connect(connect)).await?;
        match self.receive(run).await? {
            Packet::ConnAck(ack) => Ok(ack.code),
            _ => Err(run.nonsense("something other than CONNACK")),
        }
    }

    /// SUBSCRIBE to SUBACK.
    pub(crate) async fn subscribe(&mut self, run: &Run<'_>) -> Result<(), Failure> {
        let mut subscribe = Subscribe::new(RESPONSE_FILTER, QoS::AtLeastOnce);
        subscribe.pkid = FIRST_ID;
        self.send(run, &Packet::Subscribe(subscribe)).await?;
        match self.receive(run).await? {
            Packet::SubAck(ack) if ack.return_codes.iter().all(|c| *c != SubscribeReasonCode::Failure) => {
                self.subscribed = true;
                Ok(())
            }
            Packet::SubAck(_) => Err(run.refused(None, "SUBACK 128".to_owned())),
            _ => Err(run.nonsense("something other than SUBACK")),
        }
    }

    /// Publishes a request and awaits its answer.
    pub(crate) async fn exchange(&mut self, run: &Run<'_>, ask: &Ask<'_>) -> Result<Answer, Failure> {
        self.requests = self.requests.wrapping_add(1);
        // 0 is no packet id.
        let packet_id = FIRST_ID.wrapping_add(self.requests).max(1);
        let rid = match self.manners.rid {
            Rid::Counter => self.requests.to_string(),
            Rid::PacketId => packet_id.to_string(),
            Rid::Uuid => self.draws.uuid(),
        };
        let (request, body) = match ask {
            Ask::Register => (Request::Register { rid }, self.manners.register),
            Ask::Status(operation_id) => {
                (Request::Status { rid, operation_id: (*operation_id).to_owned() }, self.manners.status)
            }
        };
        let mut publish = Publish::from_bytes(request.topic(), self.manners.qos, body.bytes(run.id()));
        if self.manners.qos != QoS::AtMostOnce {
            publish.pkid = packet_id;
        }
        self.acknowledge().map_err(|f| run.broken(f))?;
        self.send(run, &Packet::Publish(publish)).await?;
        let (Request::Register { rid } | Request::Status { rid, .. }) = request;
        self.answer(run, &rid).await
    }

    /// Awaits the answer to the request of this `$rid`.
    async fn answer(&mut self, run: &Run<'_>, rid: &str) -> Result<Answer, Failure> {
        loop {
            let publish = match self.receive(run).await? {
                Packet::Publish(publish) => publish,
                Packet::PubAck(_) => continue,
                _ => return Err(run.nonsense("a packet that nobody asked for")),
            };
            self.received(publish.pkid).await.map_err(|f| run.broken(f))?;
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

    /// Notes that a publish is to be acknowledged, or acknowledges it.
    async fn received(&mut self, packet_id: u16) -> Result<(), WireFault> {
        self.acknowledge()?;
        self.unacknowledged = packet_id;
        if self.manners.acknowledges_at_once {
            self.acknowledge()?;
            self.wire.flush().await?;
        }
        Ok(())
    }

    /// Queues the acknowledgement of the last answer, if it wants one.
    fn acknowledge(&mut self) -> Result<(), WireFault> {
        match std::mem::take(&mut self.unacknowledged) {
            0 => Ok(()),
            id => self.wire.put(&Packet::PubAck(PubAck::new(id))),
        }
    }

    async fn send(&mut self, run: &Run<'_>, packet: &Packet) -> Result<(), Failure> {
        self.wire.put(packet).map_err(|f| run.broken(f))?;
        self.wire.flush().await.map_err(|f| run.broken(f))
    }

    async fn receive(&mut self, run: &Run<'_>) -> Result<Packet, Failure> {
        self.wire.next().await.map_err(|f| run.broken(f))
    }

    /// Acknowledges what is left to acknowledge.
    pub(crate) async fn settle(&mut self) -> Result<(), WireFault> {
        self.acknowledge()?;
        self.wire.flush().await
    }

    /// Asks whether the service is still there.
    pub(crate) async fn ping(&mut self) -> Result<(), WireFault> {
        self.wire.put(&Packet::PingReq)?;
        self.wire.flush().await
    }

    /// What comes while nothing is asked, each publish to be settled. Loses nothing when dropped.
    pub(crate) async fn heard(&mut self) -> Result<Heard, WireFault> {
        loop {
            match self.wire.next().await? {
                Packet::PingResp => return Ok(Heard::Pong),
                Packet::Publish(publish) => {
                    self.unacknowledged = publish.pkid;
                    return Ok(Heard::Publish);
                }
                Packet::PubAck(_) => {}
                _ => return Err(WireFault::Malformed),
            }
        }
    }

    /// Says goodbye as this client does, `well` where the device got what it came for, and closes.
    pub(crate) async fn close(mut self, well: bool) {
        match self.manners.goodbye {
            Goodbye::DisconnectUnlessFailed if !well => {}
            Goodbye::Disconnect | Goodbye::DisconnectUnlessFailed => self.disconnect().await,
            Goodbye::Unsubscribe => {
                if self.subscribed {
                    // The outcome is known: a goodbye that cannot be said changes nothing.
                    let _ = tokio::time::timeout(GOODBYE, self.unsubscribe()).await;
                }
                self.disconnect().await;
            }
            Goodbye::Linger(time) => {
                self.disconnect().await;
                tokio::time::sleep(time).await;
            }
        }
    }

    /// Acknowledges what is left and disconnects, in one write. DISCONNECT inside TLS already says that nothing was
    /// cut off, so no close_notify follows it: that would be one more packet for every device.
    async fn disconnect(&mut self) {
        let _ = self.acknowledge();
        let _ = self.wire.put(&Packet::Disconnect);
        let _ = self.wire.flush().await;
    }

    async fn unsubscribe(&mut self) -> Result<(), WireFault> {
        let mut unsubscribe = Unsubscribe::new(RESPONSE_FILTER);
        unsubscribe.pkid = FIRST_ID.wrapping_add(self.requests).wrapping_add(1).max(1);
        self.acknowledge()?;
        self.wire.put(&Packet::Unsubscribe(unsubscribe))?;
        self.wire.flush().await?;
        loop {
            if let Packet::UnsubAck(_) = self.wire.next().await? {
                return Ok(());
            }
        }
    }
}
