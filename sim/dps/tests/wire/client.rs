//! MQTT 3.1.1 in bytes: packets put together and taken apart by hand, directly over TLS or in WebSocket frames.

use crate::websocket;
use crate::world::soon;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(crate) const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
pub(crate) const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";
pub(crate) const FILTER: &str = "$dps/registrations/res/#";

/// Connect flags of section 3.1.2.3: a user name, no password, clean session 1.
pub(crate) const CLEAN: u8 = 0b1000_0010;
/// The same with clean session 0.
pub(crate) const KEEPS_SESSION: u8 = 0b1000_0000;

pub(crate) const PINGREQ: [u8; 2] = [0xc0, 0];
pub(crate) const PINGRESP: (u8, Vec<u8>) = (0xd0, Vec::new());
pub(crate) const DISCONNECT: [u8; 2] = [0xe0, 0];

pub(crate) type Tls = TlsStream<TcpStream>;

/// What MQTT travels in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Tls,
    WebSocket,
}

/// A connection, spoken to in bytes.
pub(crate) struct Client {
    pub(crate) stream: Tls,
    carrier: Carrier,
    /// What came and was not looked at yet.
    incoming: Vec<u8>,
}

impl Client {
    pub(crate) fn over_tls(stream: Tls) -> Self {
        Client { stream, carrier: Carrier::Tls, incoming: Vec::new() }
    }

    /// After the upgrade.
    pub(crate) fn over_websocket(stream: Tls) -> Self {
        Client { stream, carrier: Carrier::WebSocket, incoming: Vec::new() }
    }

    /// Sends MQTT, where it travels in frames as one frame.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        match self.carrier {
            Carrier::Tls => self.send_raw(bytes).await,
            Carrier::WebSocket => self.send_raw(&websocket::frame(websocket::BINARY, bytes)).await,
        }
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        soon(async {
            self.stream.write_all(bytes).await.expect("takes the bytes");
            self.stream.flush().await.expect("takes the bytes");
        })
        .await;
    }

    /// The next packet: its first byte, and what follows the remaining length.
    pub(crate) async fn next(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some(packet) = cut(&mut self.incoming) {
                return packet;
            }
            match self.carrier {
                Carrier::Tls => {
                    let read = soon(self.stream.read_buf(&mut self.incoming)).await.expect("a packet");
                    assert_ne!(read, 0, "closed in place of a packet");
                }
                Carrier::WebSocket => {
                    let payload = websocket::read_binary(&mut self.stream).await;
                    self.incoming.extend(payload);
                }
            }
        }
    }

    /// CONNECT, and its acceptance.
    pub(crate) async fn greet(&mut self, id: &str, flags: u8) {
        self.send(&connect("MQTT", 4, flags, id, &user(id))).await;
        assert_eq!(self.next().await, (0x20, vec![0, 0]), "CONNACK");
    }

    /// SUBSCRIBE; the return codes of its SUBACK.
    pub(crate) async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        self.send(&subscribe(0x1234, filters)).await;
        let (first, rest) = self.next().await;
        assert_eq!((first, &rest[..2]), (0x90, &[0x12, 0x34][..]), "SUBACK");
        rest[2..].to_vec()
    }

    /// PUBLISH at quality 1, and its PUBACK, which has to come before anything else.
    pub(crate) async fn publish(&mut self, topic: &str, packet_id: u16, body: &str) {
        self.send(&publish(1, packet_id, topic, body)).await;
        assert_eq!(self.next().await, (0x40, packet_id.to_be_bytes().to_vec()), "PUBACK of {topic}");
    }

    pub(crate) async fn delivery(&mut self) -> Delivery {
        Delivery::read(self.next().await)
    }

    /// PUBACK.
    pub(crate) async fn acknowledge(&mut self, delivery: &Delivery) {
        self.send(&packet(0x40, &[&delivery.packet_id.to_be_bytes()])).await;
    }

    /// That nothing else was sent before the answer to a PINGREQ, and that the connection lives.
    pub(crate) async fn assert_quiet(&mut self) {
        self.send(&PINGREQ).await;
        assert_eq!(self.next().await, PINGRESP, "PINGRESP, and nothing before it");
    }

    /// That the server ends the connection without another byte; with or without a goodbye of TLS.
    pub(crate) async fn assert_closed(&mut self, why: &str) {
        assert!(self.incoming.is_empty(), "{why}: sent {:02x?} in place of closing", self.incoming);
        let mut byte = [0];
        let read = soon(self.stream.read(&mut byte)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{why}: sent {byte:?} in place of closing");
    }
}

/// Takes the first packet off, if it is whole: its first byte, and what follows the remaining length.
fn cut(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, after) = bytes.split_first()?;
    let ends = after.iter().position(|byte| byte & 0x80 == 0)?;
    let length = after[..=ends].iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    let start = 2 + ends;
    let content = bytes.get(start..start + length)?.to_vec();
    bytes.drain(..start + length);
    Some((first, content))
}

/// A PUBLISH from the server.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) qos: u8,
    /// 0 at quality 0, where there is none.
    pub(crate) packet_id: u16,
    pub(crate) topic: String,
    pub(crate) body: Value,
}

impl Delivery {
    fn read((first, rest): (u8, Vec<u8>)) -> Self {
        assert_eq!(first & 0b1111_1001, 0x30, "a PUBLISH, neither repeated nor retained: {rest:02x?}");
        let qos = (first >> 1) & 3;
        let (length, rest) = rest.split_first_chunk::<2>().expect("a topic's length");
        let (topic, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        let (packet_id, body) = match rest.split_first_chunk::<2>() {
            Some((packet_id, body)) if qos > 0 => (u16::from_be_bytes(*packet_id), body),
            _ => (0, rest),
        };
        assert_eq!(packet_id == 0, qos == 0, "a packet id from quality 1 on, and never 0 (section 2.3.1)");
        Delivery {
            qos,
            packet_id,
            topic: String::from_utf8(topic.to_vec()).expect("a topic in UTF-8"),
            body: serde_json::from_slice(body).expect("a body in JSON"),
        }
    }

    /// The operation that a 202 names.
    pub(crate) fn operation(&self) -> &str {
        self.body["operationId"].as_str().expect("an operation id")
    }
}

/// A packet: type and flags, the remaining length in groups of seven bits (section 2.2.3), the rest.
pub(crate) fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut bytes = vec![first];
    let mut length = content.len();
    while length >= 128 {
        bytes.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

/// A string behind its length (section 1.5.3).
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

pub(crate) fn user(id: &str) -> String {
    format!("0ne00000001/registrations/{id}/api-version=2019-03-31")
}

/// CONNECT with keep alive 0 and without password.
pub(crate) fn connect(protocol: &str, level: u8, flags: u8, id: &str, user: &str) -> Vec<u8> {
    // MQTT 5 puts properties before the client id; here none, which is one byte.
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    packet(0x10, &[&text(protocol), &[level, flags, 0, 0], properties, &text(id), &text(user)])
}

pub(crate) fn subscribe(packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let filters = filters.iter().flat_map(|(filter, qos)| [text(filter), vec![*qos]].concat());
    packet(0x82, &[&packet_id.to_be_bytes(), &filters.collect::<Vec<_>>()])
}

pub(crate) fn publish(qos: u8, packet_id: u16, topic: &str, body: &str) -> Vec<u8> {
    let packet_id = packet_id.to_be_bytes();
    let packet_id: &[u8] = if qos == 0 { &[] } else { &packet_id };
    packet(0x30 | (qos << 1), &[&text(topic), packet_id, body.as_bytes()])
}
