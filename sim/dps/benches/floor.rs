//! The floor of one provisioning, for the ratios that performance is judged by: what the cryptography alone costs,
//! and what the same conversation costs without TLS, both measured on this machine in the same minute.
//!
//! `cargo bench -p sim-dps --bench floor`. Microseconds of one core; medians of several rounds.
//!
//! A provisioning is a TLS 1.3 handshake with P-256 certificates on both sides, each chain a leaf and one
//! intermediate below a root, X25519, no resumption; then CONNECT, SUBSCRIBE, register, 202, poll, 200, DISCONNECT.
//!
//! - *client, full*: it signs once, checks the server's CertificateVerify and the two certificates of its chain
//!   (3 checks), and makes and agrees one X25519 key.
//! - *client, chain known*: an identical chain of the server was checked before; CertificateVerify is left (1 check).
//! - *server, full*: it signs once, checks the device's CertificateVerify, leaf and intermediate (3 checks), X25519.
//! - *server, path known*: the intermediate was checked before; CertificateVerify and leaf are left (2 checks).
//! - *conversation*: both sides of the MQTT part over TCP on loopback, in one process on one thread: the mock's own
//!   service on one side, bytes from a bare codec on the other, a device of its own each time. The mock checks the
//!   leaf's signature in it, which is counted with the server already and therefore taken off again.
//! - *floor* = client + server + conversation.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints its table, and panics where it cannot go on"
)]

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Codec, Connect, ConnectReturnCode, Login, Packet, PubAck, Publish, Subscribe};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sim_dps::{Instance, Limits, ServerConfig};
use sim_identity::fleet::{DeviceIdentity, FleetPlan};
use sim_identity::{Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, PrivateKey, Seed, pem};
use sim_protocol::attestation::{CaReferences, EnrollmentGroup, X509Attestation};
use sim_protocol::mqtt::RESPONSE_FILTER;
use sim_protocol::registration::OperationStatus;
use sim_protocol::resource::CertificateBody;
use sim_protocol::{CaName, EnrollmentGroupId, RegistrationId};
use std::hint::black_box;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Decoder as _, Encoder as _};

/// Of each of them the median counts.
const ROUNDS: usize = 9;
/// Operations of the crypto provider in one round.
const OPERATIONS: u32 = 2_000;
/// Conversations in one round, each of a device of its own.
const DEVICES: usize = 400;
/// Conversations at once.
const IN_FLIGHT: usize = 16;
/// The length of what a CertificateVerify signs in TLS 1.3 with SHA-256 (RFC 8446 section 4.4.3).
const SIGNED: usize = 64 + 33 + 1 + 32;

fn main() {
    let provider = Provider::new();
    let rates = provider.rates();
    let talk = conversation();
    // Once more, for the machine may have changed its pace meanwhile.
    let rates = rates.mean(provider.rates());
    let Rates { sign, verify, agree } = rates;
    println!("{:<44}{:>8.1} µs", "P-256 sign", sign);
    println!("{:<44}{:>8.1} µs", "P-256 verify", verify);
    println!("{:<44}{:>8.1} µs", "X25519 key generation and agreement", agree);
    println!("{:<44}{:>8.1} µs", "conversation without TLS, as measured", talk);
    let talk = talk - verify;
    println!("{:<44}{:>8.1} µs", "conversation without the leaf's signature", talk);
    println!();
    println!("{:<24}{:>10}{:>10}{:>14}{:>10}", "", "client", "server", "conversation", "floor");
    for (name, client, server) in [("full verification", 3.0, 3.0), ("chain and path known", 1.0, 2.0)] {
        let side = |checks: f64| sign + checks * verify + agree;
        let (client, server) = (side(client), side(server));
        let floor = client + server + talk;
        println!("{name:<24}{client:>10.1}{server:>10.1}{talk:>14.1}{floor:>10.1}");
    }
}

/// Microseconds each takes.
#[derive(Clone, Copy)]
struct Rates {
    sign: f64,
    verify: f64,
    agree: f64,
}

impl Rates {
    fn mean(self, other: Rates) -> Rates {
        let mean = |a: f64, b: f64| f64::midpoint(a, b);
        Rates {
            sign: mean(self.sign, other.sign),
            verify: mean(self.verify, other.verify),
            agree: mean(self.agree, other.agree),
        }
    }
}

fn median(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Microseconds that one of `count` takes.
fn each(spent: Duration, count: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / count as f64
}

/// The operations as TLS asks for them, of the provider that client and mock use.
struct Provider {
    signer: Box<dyn rustls::sign::Signer>,
    public: Vec<u8>,
    message: Vec<u8>,
}

impl Provider {
    fn new() -> Self {
        let key = PrivateKey::derive(&Seed::from_number(1), "floor", 0, KeyAlgorithm::P256).expect("a key");
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_pkcs8().expect("encodes")));
        let loaded = default_provider().key_provider.load_private_key(der).expect("loads");
        let signer = loaded.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).expect("signs");
        Provider { signer, public: key.public_key().to_vec(), message: vec![0x20; SIGNED] }
    }

    fn rates(&self) -> Rates {
        let verification = default_provider().signature_verification_algorithms;
        let ecdsa = |(scheme, _): &&(SignatureScheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256;
        let (_, algorithms) = verification.mapping.iter().find(ecdsa).expect("ECDSA");
        let signature = self.signer.sign(&self.message).expect("signs");
        // In TLS 1.2 the scheme stands for any curve: the first is P-256.
        let fits = |a: &&&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            a.verify_signature(&self.public, &self.message, &signature).is_ok()
        };
        let algorithm = algorithms.iter().find(fits).expect("a P-256 algorithm");
        let peer = kx_group::X25519.start().expect("a key").pub_key().to_vec();
        let timed = |operation: &dyn Fn()| {
            let round = |_| {
                let start = Instant::now();
                (0..OPERATIONS).for_each(|_| operation());
                each(start.elapsed(), OPERATIONS as usize)
            };
            median((0..ROUNDS).map(round).collect())
        };
        Rates {
            sign: timed(&|| drop(black_box(self.signer.sign(&self.message)))),
            verify: timed(&|| {
                let checked = algorithm.verify_signature(&self.public, &self.message, &signature);
                checked.expect("a good signature");
            }),
            agree: timed(&|| {
                let own = kx_group::X25519.start().expect("a key");
                drop(black_box(own.complete(&peer).expect("agrees")));
            }),
        }
    }
}

/// Microseconds of one conversation, both sides together.
fn conversation() -> f64 {
    let now = OffsetDateTime::now_utc();
    let plan = HierarchyPlan { name: "floor".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let made = Hierarchy::mint(&plan, &Seed::from_number(2), now).expect("a hierarchy");
    let fleet = Fleet::new(&FleetPlan::default(), made.issuing().clone(), Seed::from_number(3), now);
    let fleet = fleet.expect("a fleet");
    let mint = |index: u64| {
        let id = RegistrationId::new(format!("floor-{index:06}")).expect("a good id");
        fleet.device(index, id, None).expect("mints")
    };
    let instance = instance(made.root().certificate().der(), now);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // A round before those that count: the intermediate is known from then on.
    let rounds = (0..=ROUNDS).map(|round| {
        let devices: Vec<_> = (0..DEVICES).map(|n| mint((round * DEVICES + n) as u64)).collect();
        let start = processor_time();
        runtime.block_on(talk(&instance, &devices));
        each(processor_time() - start, DEVICES)
    });
    let rounds: Vec<f64> = rounds.collect();
    let ledger = instance.ledger();
    assert_eq!(ledger.assigned as usize, DEVICES * (ROUNDS + 1), "a conversation that ended otherwise");
    median(rounds[1..].to_vec())
}

/// An instance with a verified root and a group on it that asks nobody to wait.
fn instance(root: &[u8], now: OffsetDateTime) -> Instance {
    let mut config = ServerConfig::new(Seed::from_number(4)).expect("a configuration");
    config.registrar.retry_after = Duration::ZERO;
    let instance = Instance::new(&config).expect("an instance");
    let certificate = Some(pem::encode("CERTIFICATE", root));
    let body = CertificateBody { certificate, is_verified: Some(true) };
    let name = CaName::new("root").expect("a good name");
    let registrar = instance.registrar();
    registrar
        .write(|c, ids| c.authorities.put(name, body, None, &Limits::documented(), ids, now).map(drop))
        .expect("uploads");
    let references = CaReferences { primary: Some("root".into()), secondary: None };
    let x509 = X509Attestation { ca_references: Some(references), ..Default::default() };
    let id = EnrollmentGroupId::new("g").expect("a good name");
    registrar.put_group(id, EnrollmentGroup::x509("g", x509), None, now).expect("creates");
    instance
}

/// What this thread has spent; the clock where the system does not tell.
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let spent = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    spent.map_or_else(clock, Duration::from_nanos)
}

fn clock() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// All devices, some at once, each over a connection of its own.
async fn talk(instance: &Instance, devices: &[DeviceIdentity]) {
    let lanes = (0..IN_FLIGHT).map(|lane| async move {
        // One to each lane, so that who is accepted is who has dialled.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        for device in devices.iter().skip(lane).step_by(IN_FLIGHT) {
            let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let (stream, (served, _)) = (dialled.expect("dials"), accepted.expect("accepts"));
            stream.set_nodelay(true).and_then(|()| served.set_nodelay(true)).expect("sets");
            let presented = device.chain.iter().map(|der| der.to_vec()).collect();
            let mut client = Client::new(stream, device);
            tokio::join!(instance.converse(served, presented), client.provision());
        }
    });
    futures_util::future::join_all(lanes).await;
}

/// A device: a bare codec and nothing around it.
struct Client<'d> {
    stream: TcpStream,
    device: &'d DeviceIdentity,
    codec: Codec,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl<'d> Client<'d> {
    fn new(stream: TcpStream, device: &'d DeviceIdentity) -> Self {
        let codec = Codec { max_incoming_size: 1 << 16, max_outgoing_size: 1 << 16 };
        let buffer = || BytesMut::with_capacity(1024);
        Client { stream, device, codec, incoming: buffer(), outgoing: buffer() }
    }

    async fn provision(&mut self) {
        let id = self.device.registration_id.as_str();
        let mut connect = Connect::new(id);
        let user = format!("{}/registrations/{id}/api-version=2019-03-31", sim_dps::shell::ID_SCOPE);
        connect.login = Some(Login::new(user, ""));
        self.put(Packet::Connect(connect));
        let answer = self.ask().await;
        assert!(matches!(answer, Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success));
        self.put(Packet::Subscribe(Subscribe {
            pkid: 1,
            ..Subscribe::new(RESPONSE_FILTER, QoS::AtLeastOnce)
        }));
        assert!(matches!(self.ask().await, Packet::SubAck(_)));
        let begun = self.request("$dps/registrations/PUT/iotdps-register/?$rid=1".to_owned(), 2).await;
        let operation: OperationStatus = serde_json::from_slice(&begun).expect("an operation");
        let poll = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=";
        let done = self.request(format!("{poll}{}", operation.operation_id), 3).await;
        let done: OperationStatus = serde_json::from_slice(&done).expect("a result");
        assert!(done.registration_state.is_some_and(|state| state.assigned_hub.is_some()));
        self.put(Packet::Disconnect);
        self.flush().await;
    }

    /// A request and the body of its answer, which is acknowledged with what is sent next.
    async fn request(&mut self, topic: String, pkid: u16) -> Bytes {
        let publish = Publish { pkid, ..Publish::new(topic, QoS::AtLeastOnce, Vec::new()) };
        self.put(Packet::Publish(publish));
        assert!(matches!(self.ask().await, Packet::PubAck(_)));
        let Packet::Publish(answer) = self.next().await else { unreachable!("the answer comes next") };
        self.put(Packet::PubAck(PubAck::new(answer.pkid)));
        answer.payload
    }

    fn put(&mut self, packet: Packet) {
        self.codec.encode(packet, &mut self.outgoing).expect("a packet");
    }

    async fn flush(&mut self) {
        self.stream.write_all(&self.outgoing).await.expect("writes");
        self.outgoing.clear();
    }

    async fn ask(&mut self) -> Packet {
        self.flush().await;
        self.next().await
    }

    async fn next(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.incoming).expect("a packet") {
                return packet;
            }
            assert_ne!(self.stream.read_buf(&mut self.incoming).await.expect("reads"), 0, "closed");
        }
    }
}
