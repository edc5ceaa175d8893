//! The scripted service: accepts one connection at a time and says what the test has it say.

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use sim_device::{Device, Habits, Handshake, Target, Transport, Trust, base_config};
use sim_identity::authority::ServerIdentity;
use sim_identity::fleet::FleetPlan;
use sim_identity::{Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, Seed};
use sim_protocol::{IdScope, RegistrationId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) const ID: &str = "dev-001";
pub(crate) const FILTER: &str = "$dps/registrations/res/#";
pub(crate) const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
pub(crate) const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";
pub(crate) const OPERATION: &str = "4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d";
pub(crate) const DISCONNECT: (u8, Vec<u8>) = (0xe0, Vec::new());

/// Awaits what has to come, and says so where it does not.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("in time")
}

pub(crate) fn assigning() -> String {
    format!(r#"{{"operationId":"{OPERATION}","status":"assigning"}}"#)
}

pub(crate) fn assigned() -> String {
    let state = format!(
        r#"{{"registrationId":"{ID}","assignedHub":"hub.example","deviceId":"{ID}","status":"assigned"}}"#
    );
    format!(r#"{{"operationId":"{OPERATION}","status":"assigned","registrationState":{state}}}"#)
}

pub(crate) fn error(code: u32) -> String {
    format!(
        r#"{{"errorCode":{code},"trackingId":"","message":"no","timestampUtc":"2026-11-01T00:00:00.0000000Z"}}"#
    )
}

#[expect(clippy::disallowed_methods, reason = "certificates are checked against the clock of this machine")]
fn today() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

/// A fleet whose devices the service takes.
fn fleet(seed: u64) -> (Fleet, Vec<u8>) {
    let (seed, now) = (Seed::from_number(seed), today().into());
    let plan = HierarchyPlan { name: "test".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let hierarchy = Hierarchy::mint(&plan, &seed, now).expect("authorities");
    let root = hierarchy.root().certificate().der().to_vec();
    let fleet = Fleet::new(&FleetPlan::default(), hierarchy.issuing().clone(), seed, now).expect("a fleet");
    (fleet, root)
}

/// The device.
pub(crate) fn device() -> Device {
    device_of(1)
}

/// A device of another fleet, which the service does not take.
pub(crate) fn stranger() -> Device {
    device_of(2)
}

fn device_of(seed: u64) -> Device {
    let id = RegistrationId::new(ID).expect("an id");
    let identity = fleet(seed).0.device(0, id, None).expect("a device");
    Device { identity, session: None, draws: 7, tally: None }
}

pub(crate) struct Peer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    trust_root: Vec<u8>,
}

impl Peer {
    pub(crate) async fn listen() -> Self {
        Self::listen_with(|_| {}).await
    }

    /// With a TLS configuration that the test changes.
    pub(crate) async fn listen_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let identity = ServerIdentity::mint(&["127.0.0.1".into()], &Seed::from_number(9), today().into())
            .expect("a server");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(fleet(1).1)).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let chain = identity.chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(identity.key.to_pkcs8().expect("a key"));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(chain, PrivateKeyDer::from(key))
            .expect("a configuration");
        change(&mut config);
        Peer {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            trust_root: identity.trust_root,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address")
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::Roots(vec![self.trust_root.clone()])
    }

    /// Devices that go here, over MQTT and with these habits.
    pub(crate) fn target(&self, habits: Habits) -> Target {
        let address = self.address();
        Target {
            host: address.ip().to_string(),
            port: address.port(),
            address: Some(address),
            server_name: ServerName::from(address.ip()),
            id_scope: IdScope::new("0ne00000001").expect("a scope"),
            transport: Transport::Mqtt,
            tls: base_config(&self.trust(), &Handshake::default()).expect("a configuration"),
            timeout: Duration::from_secs(15),
            habits,
        }
    }

    /// The next connection, of which nothing has been read.
    pub(crate) async fn accept_tcp(&self) -> TcpStream {
        let tcp = soon(self.listener.accept()).await.expect("a connection").0;
        tcp.set_nodelay(true).expect("a socket");
        tcp
    }

    /// The next connection, after its handshake.
    pub(crate) async fn accept(&self) -> Line {
        Line::new(self.shake_hands(self.accept_tcp().await).await.expect("a handshake"))
    }

    pub(crate) async fn shake_hands(&self, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        soon(self.acceptor.accept(tcp)).await
    }

    /// The next connection, after CONNECT and SUBSCRIBE.
    pub(crate) async fn greet(&self) -> Line {
        let mut line = self.accept().await;
        line.take_connect(0).await;
        line.take_subscribe().await;
        line
    }
}

/// A publish of the device.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) first: u8,
    pub(crate) topic: String,
    pub(crate) packet_id: u16,
    pub(crate) payload: String,
}

impl Published {
    /// The part of the topic behind `$rid=`, up to the next parameter.
    pub(crate) fn rid(&self) -> &str {
        let rid = self.topic.split_once("$rid=").expect("a rid").1;
        rid.split('&').next().expect("a rid")
    }
}

/// One connection, spoken to in bytes.
pub(crate) struct Line {
    pub(crate) tls: TlsStream<TcpStream>,
    answers: u16,
}

impl Line {
    pub(crate) fn new(tls: TlsStream<TcpStream>) -> Self {
        Line { tls, answers: 0 }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        Self::send_to(&mut self.tls, bytes).await;
    }

    pub(crate) async fn send_to(tls: &mut TlsStream<TcpStream>, bytes: &[u8]) {
        soon(tls.write_all(bytes)).await.expect("takes bytes");
        soon(tls.flush()).await.expect("takes bytes");
    }

    /// The next packet: its first byte, and what follows the remaining length. `None` where the device has closed.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        soon(async {
            let first = self.tls.read_u8().await.ok()?;
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.tls.read_u8().await.expect("a length");
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut rest = vec![0; length];
            self.tls.read_exact(&mut rest).await.expect("a whole packet");
            Some((first, rest))
        })
        .await
    }

    /// CONNECT, answered with this code; what follows its remaining length.
    pub(crate) async fn take_connect(&mut self, code: u8) -> Vec<u8> {
        let (first, rest) = self.next().await.expect("CONNECT");
        assert_eq!(first, 0x10, "CONNECT");
        self.send(&[0x20, 2, 0, code]).await;
        rest
    }

    pub(crate) async fn take_subscribe(&mut self) {
        let (first, rest) = self.next().await.expect("SUBSCRIBE");
        assert_eq!(first, 0x82, "SUBSCRIBE");
        let filter = [&[0, FILTER.len() as u8], FILTER.as_bytes(), &[1]].concat();
        assert_eq!(rest[2..], filter, "the one filter at quality 1");
        self.send(&[0x90, 3, rest[0], rest[1], 1]).await;
    }

    /// The next publish, acknowledged where it wants that. Acknowledgements before it are passed over.
    pub(crate) async fn request(&mut self) -> Published {
        let (first, rest) = loop {
            match self.next().await.expect("PUBLISH") {
                (0x40, _) => {}
                packet => break packet,
            }
        };
        assert_eq!(first & 0xf0, 0x30, "PUBLISH");
        let (length, rest) = rest.split_at(2);
        let (topic, mut rest) = rest.split_at(usize::from(u16::from_be_bytes([length[0], length[1]])));
        let mut packet_id = 0;
        if first & 0b110 != 0 {
            packet_id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
            self.send(&[0x40, 2, packet_id.to_be_bytes()[0], packet_id.to_be_bytes()[1]]).await;
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        Published { first, topic: text(topic), packet_id, payload: text(rest) }
    }

    /// Answers a request at quality 1; the packet id of the answer.
    pub(crate) async fn answer(
        &mut self,
        asked: &Published,
        status: u16,
        after: Option<u64>,
        body: &str,
    ) -> u16 {
        let after = after.map(|seconds| format!("&retry-after={seconds}")).unwrap_or_default();
        let topic = format!("$dps/registrations/res/{status}/?$rid={}{after}", asked.rid());
        self.answers += 1;
        let packet_id = 0x0100 + self.answers;
        self.send(&publish(&topic, packet_id, body)).await;
        packet_id
    }

    /// The acknowledgement of an answer.
    pub(crate) async fn acknowledged(&mut self, packet_id: u16) {
        let acknowledgement = (0x40, packet_id.to_be_bytes().to_vec());
        assert_eq!(self.next().await, Some(acknowledgement), "PUBACK");
    }

    /// Answers what is asked: a register, or a poll of [`OPERATION`].
    pub(crate) async fn answer_next(
        &mut self,
        status: u16,
        after: Option<u64>,
        body: &str,
    ) -> (Published, u16) {
        let asked = self.request().await;
        let packet_id = self.answer(&asked, status, after, body).await;
        (asked, packet_id)
    }

    /// That the device disconnects, its acknowledgements passed over, and closes.
    pub(crate) async fn goodbye(&mut self) {
        loop {
            match self.next().await {
                Some((0x40, _)) => {}
                other => break assert_eq!(other, Some(DISCONNECT)),
            }
        }
        assert_eq!(self.next().await, None, "closed");
    }
}

/// A PUBLISH at quality 1.
pub(crate) fn publish(topic: &str, packet_id: u16, body: &str) -> Vec<u8> {
    let length = u16::try_from(topic.len()).expect("a short topic").to_be_bytes();
    let rest = [&length[..], topic.as_bytes(), &packet_id.to_be_bytes(), body.as_bytes()].concat();
    let mut packet = vec![0x32];
    let mut remaining = rest.len();
    loop {
        let byte = (remaining & 0x7f) as u8;
        remaining >>= 7;
        packet.push(if remaining > 0 { byte | 0x80 } else { byte });
        if remaining == 0 {
            break;
        }
    }
    packet.extend(rest);
    packet
}
