//! The device API over MQTT 3.1.1: one task per connection, one buffer each way.
//!
//! Not a broker: only the documented topics exist. Where the service's answer to misuse is unknown, the
//! connection is closed, which is the only refusal that MQTT 3.1.1 leaves. `ours:` all of these choices.

use super::service::{Answer, Over, Question, Service};
use super::tls::{self, Acceptors};
use super::{OPENING, accept_tls, clock, end};
use crate::faults::Cut;
use crate::knobs::RefuseAt;
use crate::registrar::Caller;
use crate::trace::Asked;
use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    Codec, ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe,
    SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{Error as CodecError, Protocol, QoS};
use rustls::pki_types::CertificateDer;
use sim_protocol::faults::FaultPoint;
use sim_protocol::mqtt::{MAX_MESSAGE, RESPONSE_FILTER, Request, ResponseTopic, UserName};
use std::future::poll_fn;
use std::iter::repeat_n;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpListener;
use tokio_util::codec::{Decoder as _, Encoder as _};

/// Bytes read at once: any packet of a device but a register with a large payload.
const PORTION: usize = 4096;

/// Room for topic and header beside the largest documented message.
const MAX_PACKET: usize = MAX_MESSAGE + 1024;

/// Serves the MQTT port until cancelled.
pub(crate) async fn accept(listener: TcpListener, acceptors: Acceptors, service: Arc<Service>) {
    let serving = service.clone();
    let serve = move |stream: tls::Stream, accepted| {
        let service = serving.clone();
        async move { converse(stream, accepted, &service).await }
    };
    accept_tls(listener, acceptors, service, serve).await;
}

/// Why a conversation ends. Only for reading the code: nobody is told.
enum End {
    /// The peer said goodbye or went away.
    Gone,
    /// The peer broke the protocol.
    Misused,
    /// A CONNECT of another version of MQTT.
    WrongVersion,
    /// CONNECT was refused, and the peer is to read why.
    Refused,
    /// The peer began something and did not go on with it.
    Stalled,
    /// A fault ends it.
    Cut(Cut),
}

impl From<Cut> for End {
    fn from(cut: Cut) -> Self {
        End::Cut(cut)
    }
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        End::Gone
    }
}

impl From<CodecError> for End {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::InvalidProtocol | CodecError::InvalidProtocolLevel(_) => End::WrongVersion,
            _ => End::Misused,
        }
    }
}

/// Speaks with one device over any stream, whose connection was accepted then, until either side ends it.
pub(crate) async fn converse<S: Peer>(stream: S, accepted: Instant, service: &Arc<Service>) {
    let mut wire = Wire::new(stream, accepted);
    let ended = match Box::pin(wire.open(service)).await {
        Ok(session) => session.serve(&mut wire, service).await,
        Err(end) => Err(end),
    };
    let ledger = &service.registrar.ledger;
    if !matches!(ended, Err(End::Gone)) {
        // Answers to what came before the end.
        let _ = wire.flush().await;
    }
    match ended {
        // After a DISCONNECT, or when the peer is gone, nobody reads a goodbye any more.
        Ok(()) | Err(End::Gone) => {}
        Err(End::Refused) => drop(wire.stream.shutdown().await),
        Err(End::Misused | End::WrongVersion) => ledger.malformed.add(),
        Err(End::Stalled) => ledger.timeouts.add(),
        Err(End::Cut(cut)) => end(wire.stream, cut).await,
    }
}

/// A stream to a peer that has presented a chain.
pub(crate) trait Peer: AsyncRead + AsyncWrite + Unpin {
    /// What it presented, leaf first; read where it is kept, for there is one to each connection.
    fn presented(&self) -> &[CertificateDer<'static>];
}

impl Peer for tls::Stream {
    fn presented(&self) -> &[CertificateDer<'static>] {
        self.get_ref().1.peer_certificates().unwrap_or_default()
    }
}

/// A stream inside another, whose peer presented this.
pub(crate) struct Inner<S> {
    pub(crate) stream: S,
    pub(crate) presented: Arc<Vec<CertificateDer<'static>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer for Inner<S> {
    fn presented(&self) -> &[CertificateDer<'static>] {
        &self.presented
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Inner<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Inner<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// First byte of a CONNECT (MQTT 3.1.1 section 3.1.1).
const CONNECT: u8 = 0x10;

/// Whether a CONNECT, as far as it has arrived, names protocol `MQTT` with a level other than 4 (section 3.1.2.2).
fn names_another_version(packet: &[u8]) -> bool {
    let length_bytes = packet.iter().skip(1).take(4).take_while(|&&b| b & 0x80 != 0).count() + 1;
    let header = packet.get(1 + length_bytes..).unwrap_or_default();
    matches!(header, [0, 4, b'M', b'Q', b'T', b'T', level, ..] if *level != 4)
}

struct Wire<S> {
    stream: S,
    accepted: Instant,
    codec: Codec,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl<S: Peer> Wire<S> {
    fn new(stream: S, accepted: Instant) -> Self {
        Wire {
            stream,
            accepted,
            codec: Codec { max_incoming_size: MAX_PACKET, max_outgoing_size: MAX_PACKET },
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
        }
    }

    /// The next packet. Nobody has to send one; one that has begun has to be complete before long, so that a peer
    /// that sends a byte now and then does not hold a connection for ever.
    async fn next(&mut self) -> Result<Packet, End> {
        if self.incoming.is_empty() {
            // An idle connection keeps no buffer.
            self.incoming = BytesMut::new();
            self.fill().await?;
        }
        match self.whole()? {
            Some(packet) => Ok(packet),
            None => tokio::time::timeout(OPENING, self.rest()).await.map_err(|_| End::Stalled)?,
        }
    }

    /// The first packet, unless what comes cannot be a CONNECT: then there is nothing to wait for.
    async fn first(&mut self) -> Result<Packet, End> {
        self.fill().await?;
        if self.incoming.first() != Some(&CONNECT) {
            return Err(End::Misused);
        }
        self.next().await
    }

    async fn rest(&mut self) -> Result<Packet, End> {
        loop {
            self.fill().await?;
            if let Some(packet) = self.whole()? {
                return Ok(packet);
            }
        }
    }

    async fn fill(&mut self) -> Result<(), End> {
        let Wire { stream, incoming, .. } = self;
        let read = poll_fn(|context| {
            // On the stack of this poll: a connection that waits has no buffer at all.
            let mut space = [const { MaybeUninit::uninit() }; PORTION];
            let mut portion = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut portion))?;
            incoming.extend_from_slice(portion.filled());
            Poll::Ready(Ok::<_, std::io::Error>(portion.filled().len()))
        });
        if read.await? == 0 { Err(End::Gone) } else { Ok(()) }
    }

    /// The first packet of what has arrived, once all of it has.
    fn whole(&mut self) -> Result<Option<Packet>, End> {
        // The codec reads a later version's CONNECT as if it were 3.1.1 and stumbles over what it does not know.
        if self.incoming.first() == Some(&CONNECT) && names_another_version(&self.incoming) {
            return Err(End::WrongVersion);
        }
        Ok(self.codec.decode(&mut self.incoming)?)
    }

    fn put(&mut self, packet: Packet) -> Result<(), End> {
        Ok(self.codec.encode(packet, &mut self.outgoing)?)
    }

    async fn flush(&mut self) -> Result<(), End> {
        if !self.outgoing.is_empty() {
            self.stream.write_all(&self.outgoing).await?;
            self.stream.flush().await?;
            // An idle connection keeps no buffer.
            self.outgoing = BytesMut::new();
        }
        Ok(())
    }

    /// Reads CONNECT and answers it.
    async fn open(&mut self, service: &Arc<Service>) -> Result<Session, End> {
        let ledger = &service.registrar.ledger;
        let first = tokio::time::timeout(OPENING, self.first()).await.map_err(|_| End::Stalled)?;
        let mut verdict = match first {
            Ok(Packet::Connect(connect)) => Session::accept(connect),
            // MQTT 3.1.1 section 3.1.2.2 answers other versions with 1; anything else malformed is just closed.
            Err(End::WrongVersion) => Err(ConnectReturnCode::RefusedProtocolVersion),
            Ok(_) => return Err(End::Misused),
            Err(end) => return Err(end),
        };
        if let Ok(session) = &verdict {
            let id = &session.user.registration_id;
            let effects = service.undergo(FaultPoint::Connect, id, Asked::Connect, Over::Mqtt).await?;
            let refused = service.registrar.config().knobs.refuse_at == RefuseAt::Connect
                && service.registrar.refuses_connect(&session.caller(self.stream.presented()), clock::now());
            if refused {
                verdict = Err(ConnectReturnCode::NotAuthorized);
            } else if let Some(code) = effects.return_code {
                verdict = Err(return_code(code));
                ledger.refused.add();
            }
        } else {
            ledger.refused.add();
        }
        let code = verdict.as_ref().err().copied().unwrap_or(ConnectReturnCode::Success);
        self.put(Packet::ConnAck(ConnAck::new(code, false)))?;
        if verdict.is_ok() {
            ledger.connects.add();
        }
        verdict.map_err(|_| End::Refused)
    }
}

/// MQTT 3.1.1 section 3.2.2.3.
fn return_code(code: u8) -> ConnectReturnCode {
    match code {
        1 => ConnectReturnCode::RefusedProtocolVersion,
        2 => ConnectReturnCode::BadClientId,
        3 => ConnectReturnCode::ServiceUnavailable,
        4 => ConnectReturnCode::BadUserNamePassword,
        _ => ConnectReturnCode::NotAuthorized,
    }
}

struct Session {
    user: UserName,
    /// A shared access signature, sent as the password.
    token: Option<String>,
    /// Clean session 0: answers come even without a SUBSCRIBE, or a client that reconnects would hear nothing.
    keeps_subscription: bool,
    /// Granted QoS.
    subscribed: Option<QoS>,
    patience: Option<Duration>,
    next_packet_id: u16,
    /// An answer was held.
    held: bool,
}

impl Session {
    /// Credentials are not judged here: the service answers CONNECT with success and refuses the register.
    fn accept(connect: Connect) -> Result<Session, ConnectReturnCode> {
        if connect.protocol != Protocol::V4 {
            return Err(ConnectReturnCode::RefusedProtocolVersion);
        }
        if connect.client_id.is_empty() {
            return Err(ConnectReturnCode::BadClientId);
        }
        let (text, password) = connect.login.map(|l| (l.username, l.password)).unwrap_or_default();
        let user = UserName::parse(&text).ok_or(ConnectReturnCode::BadUserNamePassword)?;
        if !connect.client_id.eq_ignore_ascii_case(&user.registration_id) {
            return Err(ConnectReturnCode::NotAuthorized);
        }
        // MQTT 3.1.1 section 3.1.2.10: one and a half times the keep alive; 0 switches it off.
        let keep_alive = Duration::from_secs(u64::from(connect.keep_alive));
        Ok(Session {
            user,
            // X.509 clients leave the password out, or send an empty one.
            token: Some(password).filter(|p| !p.is_empty()),
            keeps_subscription: !connect.clean_session,
            subscribed: None,
            patience: (!keep_alive.is_zero()).then_some(keep_alive * 3 / 2),
            next_packet_id: 1,
            held: false,
        })
    }

    fn caller<'a>(&'a self, presented: &'a [CertificateDer<'static>]) -> Caller<'a> {
        Caller {
            id_scope: &self.user.id_scope,
            registration_id: &self.user.registration_id,
            presented: presented.iter().map(AsRef::as_ref).collect(),
            token: self.token.as_deref(),
        }
    }

    async fn serve<S: Peer>(mut self, wire: &mut Wire<S>, service: &Arc<Service>) -> Result<(), End> {
        loop {
            match self.next(wire, service).await? {
                Packet::Publish(publish) => Box::pin(self.answer(wire, publish, service)).await?,
                Packet::Subscribe(subscribe) => {
                    let id = &self.user.registration_id;
                    service.undergo(FaultPoint::Subscribe, id, Asked::Subscribe, Over::Mqtt).await?;
                    self.subscribe(wire, &subscribe)?;
                }
                Packet::Unsubscribe(unsubscribe) => {
                    if unsubscribe.topics.iter().any(|topic| topic == RESPONSE_FILTER) {
                        (self.subscribed, self.keeps_subscription) = (None, false);
                    }
                    wire.put(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))?;
                }
                Packet::PingReq => wire.put(Packet::PingResp)?,
                Packet::PubAck(_) => {}
                Packet::Disconnect => return Ok(()),
                _ => return Err(End::Misused),
            }
        }
    }

    /// The next packet. Answers to packets that came together leave together, unless the next one may be held.
    async fn next<S: Peer>(&self, wire: &mut Wire<S>, service: &Service) -> Result<Packet, End> {
        let here = wire.whole()?;
        if here.is_none() || service.may_wait() {
            wire.flush().await?;
        }
        match (here, self.patience) {
            (Some(packet), _) => Ok(packet),
            (None, Some(patience)) => {
                tokio::time::timeout(patience, wire.next()).await.map_err(|_| End::Stalled)?
            }
            (None, None) => wire.next().await,
        }
    }

    fn subscribe<S: Peer>(&mut self, wire: &mut Wire<S>, subscribe: &Subscribe) -> Result<(), End> {
        let grant = |path: &str, wanted: QoS| {
            if path != RESPONSE_FILTER {
                return None;
            }
            // QoS 2 is granted as 1.
            Some(if wanted == QoS::AtMostOnce { QoS::AtMostOnce } else { QoS::AtLeastOnce })
        };
        let granted: Vec<_> = subscribe.filters.iter().map(|f| grant(&f.path, f.qos)).collect();
        self.subscribed = granted.iter().copied().flatten().last().or(self.subscribed);
        let codes =
            granted.into_iter().map(|g| g.map_or(SubscribeReasonCode::Failure, SubscribeReasonCode::Success));
        wire.put(Packet::SubAck(SubAck::new(subscribe.pkid, codes.collect())))
    }

    async fn answer<S: Peer>(
        &mut self,
        wire: &mut Wire<S>,
        publish: Publish,
        service: &Arc<Service>,
    ) -> Result<(), End> {
        if publish.qos == QoS::ExactlyOnce || publish.payload.len() > MAX_MESSAGE {
            return Err(End::Misused);
        }
        let request = Request::parse(&publish.topic).ok_or(End::Misused)?;
        let (rid, operation_id) = match request {
            Request::Register { rid } => (rid, None),
            Request::Status { rid, operation_id } => (rid, Some(operation_id)),
        };
        let question = operation_id.as_deref().map_or(Question::Register(&publish.payload), Question::Status);
        let answer = service.answer(&self.caller(wire.stream.presented()), question, Over::Mqtt).await?;
        let Answer { mut reply, malformed, held_since, lost_puback, duplicate, reordered } = answer;
        let puback = (publish.qos == QoS::AtLeastOnce && !lost_puback).then(|| PubAck::new(publish.pkid));
        let answers = if self.granted().is_none() { 0 } else { 1 + usize::from(duplicate) };
        // PUBACK comes before the answer: one official client fails on any other order.
        let (before, after) = if reordered { (None, puback) } else { (puback, None) };
        before.map_or(Ok(()), |ack| wire.put(Packet::PubAck(ack)))?;
        let topic = ResponseTopic { status: reply.status, rid, retry_after: reply.retry_after }.topic();
        let body = Bytes::from(std::mem::take(&mut reply.body));
        for (topic, body) in repeat_n((topic, body), answers) {
            self.send(wire, topic, body)?;
        }
        // Before it is flushed: whoever has read it finds it counted.
        if answers > 0 {
            service.registrar.sent(&self.caller(wire.stream.presented()), &reply, !malformed);
        }
        after.map_or(Ok(()), |ack| wire.put(Packet::PubAck(ack)))?;
        self.held |= held_since.is_some();
        if self.held {
            wire.flush().await?;
            held_since.inspect(|&since| service.holds.answered(since));
            if reply.status == 200 {
                service.holds.conversed(wire.accepted);
            }
        }
        Ok(())
    }

    /// At which QoS answers are sent, if they are.
    fn granted(&self) -> Option<QoS> {
        self.subscribed.or(self.keeps_subscription.then_some(QoS::AtLeastOnce))
    }

    fn send<S: Peer>(&mut self, wire: &mut Wire<S>, topic: String, body: Bytes) -> Result<(), End> {
        let Some(qos) = self.granted() else { return Ok(()) };
        let mut publish = Publish::from_bytes(topic, qos, body);
        if qos != QoS::AtMostOnce {
            publish.pkid = self.next_packet_id;
            self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
        }
        wire.put(Packet::Publish(publish))
    }
}
