//! The mock as a device meets it: MQTT 3.1.1 spelt byte by byte over TLS.
//!
//! No MQTT library on this side: a test that reads with the codec of the mock, or of our devices, proves
//! only that we agree with ourselves. Section numbers are those of the OASIS standard MQTT 3.1.1.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use sim_dps::{Mock, MockConfig, Profile, RegistrarConfig};
use sim_identity::fleet::FleetPlan;
use sim_identity::{Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, PrivateKey, Seed, pem};
use sim_protocol::sas::{OWNER_POLICY, SharedKey};
use sim_protocol::{IdScope, RegistrationId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";
const FILTER: &str = "$dps/registrations/res/#";

/// Connect flags of section 3.1.2.3: a user name, no password, clean session 1.
const CLEAN: u8 = 0b1000_0010;
/// The same with clean session 0.
const KEEPS_SESSION: u8 = 0b1000_0000;

const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: (u8, Vec<u8>) = (0xd0, Vec::new());
const DISCONNECT: [u8; 2] = [0xe0, 0];

static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What a client presents, and the key it proves it with.
type Identity<'a> = (Vec<CertificateDer<'static>>, &'a PrivateKey);

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), event).await.expect("nothing happened for 5 seconds")
}

#[expect(clippy::disallowed_methods, reason = "the mock judges our certificates by the clock")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn client_config(
    trust_root: &[u8],
    version: &'static SupportedProtocolVersion,
    identity: Option<Identity<'_>>,
) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(trust_root.to_vec())).expect("a trust root");
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .expect("a version that the provider has")
        .with_root_certificates(roots);
    let Some((chain, key)) = identity else { return builder.with_no_client_auth() };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_pkcs8().expect("encodes")));
    let key = provider.key_provider.load_private_key(key).expect("a usable key");
    // A resolver, because `with_client_auth_cert` refuses X.509 v1 and keys of other certificates before dialling.
    let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    builder.with_client_cert_resolver(Arc::new(resolver))
}

async fn dial(address: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = soon(TcpStream::connect(address)).await.expect("the mock listens");
    let name = ServerName::try_from("localhost").expect("a host name");
    soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

/// A mock with one verified CA and one group on it, and devices below that CA.
struct World {
    mock: Mock,
    fleet: Fleet,
}

async fn world() -> World {
    let plan = HierarchyPlan { name: "wire".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let hierarchy = Hierarchy::mint(&plan, &Seed::from_number(1), now()).expect("a hierarchy");
    let issuing = hierarchy.issuing().clone();
    let fleet = Fleet::new(&FleetPlan::default(), issuing, Seed::from_number(2), now()).expect("a fleet");
    let service_key = SharedKey::from_bytes(vec![7; 32]).expect("32 bytes");
    let config = MockConfig {
        listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
        mqtts_port: 0,
        https_port: 0,
        management_port: 0,
        names: vec!["localhost".into()],
        server: None,
        service_key: service_key.clone(),
        registrar: RegistrarConfig {
            id_scope: IdScope::new("0ne00000001").expect("a good scope"),
            retry_after: Duration::from_secs(3),
            assign_delay: Duration::ZERO,
            hubs: vec!["hub.example".into()],
            profile: Profile::Unlimited,
            remembers: false,
        },
        state: None,
        seed: Seed::from_number(3),
    };
    let world = World { mock: Mock::spawn(config).await.expect("a mock"), fleet };
    let ca = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Devices/provisioningServices/p/certificates/root?api-version=2022-12-12";
    let root = pem::encode("CERTIFICATE", hierarchy.root().certificate().der());
    let body = json!({ "properties": { "certificate": root, "isVerified": true } });
    world.put(ca, "Bearer x", &body).await;
    let body = json!({
        "enrollmentGroupId": "g",
        "attestation": { "type": "x509", "x509": { "caReferences": { "primary": "root" } } },
    });
    // The first second of the year 2100.
    let token = service_key.token("localhost", OWNER_POLICY, 4_102_444_800);
    world.put("/enrollmentGroups/g?api-version=2021-10-01", &token, &body).await;
    world
}

impl World {
    /// What an operator writes, as one HTTP/1.1 request.
    async fn put(&self, path: &str, authorization: &str, body: &Value) {
        let body = body.to_string();
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let config = client_config(self.mock.trust_root(), &TLS13, None);
        let mut stream = dial(self.mock.https(), config).await.expect("a handshake");
        let mut answer = Vec::new();
        soon(async {
            stream.write_all(request.as_bytes()).await.expect("takes the request");
            stream.flush().await.expect("takes the request");
            // Whether TLS is ended with a goodbye does not matter here.
            let _ = stream.read_to_end(&mut answer).await;
        })
        .await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "PUT {path}: {answer}");
    }

    async fn shake_hands(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<Identity<'_>>,
    ) -> std::io::Result<Client> {
        let config = client_config(self.mock.trust_root(), version, identity);
        dial(self.mock.mqtts(), config).await.map(Client)
    }

    /// A good device after its handshake.
    async fn device(&self, version: &'static SupportedProtocolVersion, id: &str) -> Client {
        let name = RegistrationId::new(id).expect("a good id");
        let device = self.fleet.device(1, name, None).expect("mints");
        self.shake_hands(version, Some((device.chain, &*device.key))).await.expect("a handshake")
    }

    /// A good device after its CONNECT.
    async fn connected(&self, id: &str, flags: u8) -> Client {
        let mut client = self.device(&TLS13, id).await;
        client.greet(id, flags).await;
        client
    }
}

/// A connection, spoken to in bytes.
struct Client(TlsStream<TcpStream>);

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        soon(async {
            self.0.write_all(bytes).await.expect("takes the bytes");
            self.0.flush().await.expect("takes the bytes");
        })
        .await;
    }

    /// The next packet: its first byte, and what follows the remaining length.
    async fn next(&mut self) -> (u8, Vec<u8>) {
        soon(async {
            let first = self.0.read_u8().await.expect("a packet");
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = self.0.read_u8().await.expect("a remaining length");
                length |= usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
                shift += 7;
            }
            let mut rest = vec![0; length];
            self.0.read_exact(&mut rest).await.expect("a whole packet");
            (first, rest)
        })
        .await
    }

    /// CONNECT, and its acceptance.
    async fn greet(&mut self, id: &str, flags: u8) {
        self.send(&connect("MQTT", 4, flags, id, &user(id))).await;
        assert_eq!(self.next().await, (0x20, vec![0, 0]), "CONNACK");
    }

    /// SUBSCRIBE; the return codes of its SUBACK.
    async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        let filters = filters.iter().flat_map(|(filter, qos)| [text(filter), vec![*qos]].concat());
        self.send(&packet(0x82, &[&[0x12, 0x34], &filters.collect::<Vec<_>>()])).await;
        let (first, rest) = self.next().await;
        assert_eq!((first, &rest[..2]), (0x90, &[0x12, 0x34][..]), "SUBACK");
        rest[2..].to_vec()
    }

    /// PUBLISH at quality 1, and its PUBACK, which has to come before anything else.
    async fn publish(&mut self, topic: &str, packet_id: u16, body: &str) {
        self.send(&publish(1, packet_id, topic, body)).await;
        assert_eq!(self.next().await, (0x40, packet_id.to_be_bytes().to_vec()), "PUBACK of {topic}");
    }

    async fn delivery(&mut self) -> Delivery {
        Delivery::read(self.next().await)
    }

    /// That nothing else was sent before the answer to a PINGREQ, and that the connection lives.
    async fn assert_quiet(&mut self) {
        self.send(&PINGREQ).await;
        assert_eq!(self.next().await, PINGRESP, "PINGRESP, and nothing before it");
    }

    /// That the server ends the connection without another byte; with or without a goodbye of TLS.
    async fn assert_closed(&mut self, why: &str) {
        let mut byte = [0];
        let read = soon(self.0.read(&mut byte)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{why}: sent {byte:?} in place of closing");
    }
}

/// A PUBLISH from the server.
struct Delivery {
    qos: u8,
    /// 0 at quality 0, where there is none.
    packet_id: u16,
    topic: String,
    body: Value,
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
}

/// A packet: type and flags, the remaining length in groups of seven bits (section 2.2.3), the rest.
fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
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
fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn user(id: &str) -> String {
    format!("0ne00000001/registrations/{id}/api-version=2019-03-31")
}

/// CONNECT with keep alive 0 and without password.
fn connect(protocol: &str, level: u8, flags: u8, id: &str, user: &str) -> Vec<u8> {
    // MQTT 5 puts properties before the client id; here none, which is one byte.
    let properties: &[u8] = if level == 5 { &[0] } else { &[] };
    packet(0x10, &[&text(protocol), &[level, flags, 0, 0], properties, &text(id), &text(user)])
}

fn publish(qos: u8, packet_id: u16, topic: &str, body: &str) -> Vec<u8> {
    let packet_id = packet_id.to_be_bytes();
    let packet_id: &[u8] = if qos == 0 { &[] } else { &packet_id };
    packet(0x30 | (qos << 1), &[&text(topic), packet_id, body.as_bytes()])
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_faults_have_the_return_codes_of_the_standard() {
    let w = world().await;
    let good = user("dev-1");
    let rows = [
        ("MQTT 3.1", connect("MQIsdp", 3, CLEAN, "dev-1", &good), 1),
        ("protocol level 3", connect("MQTT", 3, CLEAN, "dev-1", &good), 1),
        ("MQTT 5", connect("MQTT", 5, CLEAN, "dev-1", &good), 1),
        ("an empty client id", connect("MQTT", 4, CLEAN, "", &good), 2),
        ("a user name of another form", connect("MQTT", 4, CLEAN, "dev-1", "dev-1"), 4),
        ("a client id that is not the registration id", connect("MQTT", 4, CLEAN, "dev-2", &good), 5),
        ("a good one", connect("MQTT", 4, CLEAN, "dev-1", &good), 0),
        ("another case of the registration id", connect("MQTT", 4, CLEAN, "DEV-1", &good), 0),
    ];
    for (name, bytes, code) in rows {
        let mut client = w.device(&TLS13, "dev-1").await;
        client.send(&bytes).await;
        // Section 3.2.2: two bytes, of which the first says whether a session is present.
        assert_eq!(client.next().await, (0x20, vec![0, code]), "{name}");
        match code {
            0 => client.assert_quiet().await,
            _ => client.assert_closed(name).await,
        }
    }
    // A level of 5 is refused for itself too, where the rest could be read as 3.1.1.
    let mut client = w.device(&TLS13, "dev-1").await;
    let mut bytes = connect("MQTT", 4, CLEAN, "dev-1", &good);
    bytes[8] = 5;
    client.send(&bytes).await;
    assert_eq!(client.next().await, (0x20, vec![0, 1]), "protocol level 5");
    client.assert_closed("protocol level 5").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_registration_goes_over_raw_bytes() {
    let w = world().await;
    for (version, id) in VERSIONS.into_iter().zip(["dev-12", "dev-13"]) {
        let mut client = w.device(version, id).await;
        client.greet(id, CLEAN).await;
        assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
        client.publish(&format!("{REGISTER}7"), 1, "").await;
        let begun = client.delivery().await;
        assert_eq!(
            (begun.qos, begun.topic.as_str()),
            (1, "$dps/registrations/res/202/?$rid=7&retry-after=3")
        );
        assert_eq!(begun.body["status"], "assigning");
        client.send(&packet(0x40, &[&begun.packet_id.to_be_bytes()])).await;

        let operation = begun.body["operationId"].as_str().expect("an operation id");
        client.publish(&format!("{STATUS}8&operationId={operation}"), 2, " ").await;
        let done = client.delivery().await;
        assert_eq!((done.qos, done.topic.as_str()), (1, "$dps/registrations/res/200/?$rid=8"));
        assert_eq!(
            (&done.body["status"], &done.body["operationId"]),
            (&json!("assigned"), &json!(operation))
        );
        let state = &done.body["registrationState"];
        assert_eq!((&state["assignedHub"], &state["deviceId"]), (&json!("hub.example"), &json!(id)));
        client.send(&packet(0x40, &[&done.packet_id.to_be_bytes()])).await;

        // The goodbye is the device's.
        client.assert_quiet().await;
        client.send(&DISCONNECT).await;
        client.assert_closed("after DISCONNECT").await;
    }
    assert_eq!(w.mock.ledger().assigned, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_the_quality_it_was_granted() {
    let w = world().await;
    for (asked, granted) in [(0, 0), (1, 1), (2, 1)] {
        let mut client = w.connected("dev-1", CLEAN).await;
        assert_eq!(client.subscribe(&[(FILTER, asked)]).await, [granted], "asked for {asked}");
        client.publish(&format!("{REGISTER}a"), 1, "").await;
        assert_eq!(client.delivery().await.qos, granted, "asked for {asked}");
        // At quality 0 nothing is acknowledged, and the answer comes all the same.
        client.send(&publish(0, 0, &format!("{REGISTER}b"), "")).await;
        let delivery = client.delivery().await;
        assert_eq!((delivery.qos, delivery.body["status"].as_str()), (granted, Some("assigning")));
        client.assert_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_not_documented_is_refused_without_harm_to_the_others() {
    let w = world().await;
    let mut client = w.connected("dev-1", CLEAN).await;
    assert_eq!(client.subscribe(&[("#", 1)]).await, [0x80]);
    client.publish(&format!("{REGISTER}1"), 1, "").await;
    client.assert_quiet().await;
    let filters = [("devices/dev-1/messages/devicebound/#", 0), (FILTER, 1), ("$dps/#", 2)];
    assert_eq!(client.subscribe(&filters).await, [0x80, 1, 0x80]);
    client.publish(&format!("{REGISTER}2"), 2, "").await;
    assert!(client.delivery().await.topic.ends_with("/?$rid=2&retry-after=3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_its_session_hears_answers_without_subscribing() {
    let w = world().await;
    let mut keeps = w.connected("dev-1", KEEPS_SESSION).await;
    keeps.publish(&format!("{REGISTER}1"), 1, "").await;
    let begun = keeps.delivery().await;
    assert_eq!((begun.qos, begun.body["status"].as_str()), (1, Some("assigning")));

    let mut clean = w.connected("dev-2", CLEAN).await;
    clean.publish(&format!("{REGISTER}1"), 1, "").await;
    clean.assert_quiet().await;
    assert_eq!(w.mock.ledger().registers, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribe_and_ping_are_answered() {
    let w = world().await;
    let mut client = w.connected("dev-1", CLEAN).await;
    client.send(&PINGREQ).await;
    assert_eq!(client.next().await, PINGRESP);
    assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
    client.send(&packet(0xa2, &[&[0x43, 0x21], &text(FILTER)])).await;
    assert_eq!(client.next().await, (0xb0, vec![0x43, 0x21]), "UNSUBACK");
    client.publish(&format!("{REGISTER}1"), 1, "").await;
    client.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undocumented_topic_or_quality_2_closes_the_connection() {
    let w = world().await;
    let register = format!("{REGISTER}1");
    let rows = [
        ("telemetry", publish(1, 1, "devices/dev-1/messages/events/", "{}")),
        ("another verb", publish(1, 1, "$dps/registrations/PUT/iotdps-other/?$rid=1", "")),
        ("no request id", publish(0, 0, "$dps/registrations/PUT/iotdps-register/", "")),
        ("quality 2", publish(2, 1, &register, "")),
    ];
    for (name, bytes) in rows {
        let mut client = w.connected("dev-1", CLEAN).await;
        assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
        client.send(&bytes).await;
        client.assert_closed(name).await;
    }
    assert_eq!(w.mock.ledger().registers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_without_a_certificate_is_refused_at_register_and_not_before() {
    let w = world().await;
    for version in VERSIONS {
        let mut client = w.shake_hands(version, None).await.expect("a handshake");
        client.greet("dev-1", CLEAN).await;
        assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
        client.publish(&format!("{REGISTER}x"), 1, "").await;
        let refused = client.delivery().await;
        assert_eq!(refused.topic, "$dps/registrations/res/401/?$rid=x");
        assert_eq!(refused.body["errorCode"], 401_000);
        client.assert_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x509_v1_leaf_completes_the_handshake() {
    let w = world().await;
    let seed = Seed::from_number(4);
    let leaf = w.fleet.issuer().verification_certificate("dev-v1", &seed, now()).expect("signs");
    let key = PrivateKey::derive(&seed, "verification", 0, KeyAlgorithm::P256).expect("derives");
    let read = sim_identity::Certificate::from_der(leaf.clone()).expect("reads back");
    assert_eq!(read.public_key(), key.public_key(), "the key that the certificate was made for");
    for version in VERSIONS {
        let chain = vec![CertificateDer::from(leaf.clone())];
        let mut client = w.shake_hands(version, Some((chain, &key))).await.expect("a handshake");
        // In TLS 1.3 the client is done before the server has looked; an answer says that it liked what it saw.
        client.greet("dev-v1", CLEAN).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_its_key_is_refused_in_the_handshake() {
    let w = world().await;
    let id = RegistrationId::new("dev-1").expect("a good id");
    let device = w.fleet.device(1, id.clone(), None).expect("mints");
    let other = w.fleet.device(2, id, None).expect("mints");
    for version in VERSIONS {
        let shaken = w.shake_hands(version, Some((device.chain.clone(), &*other.key))).await;
        // In TLS 1.3 the client is done before the server has looked; it learns of the refusal when it reads.
        let fault = match shaken {
            Err(fault) => fault,
            Ok(mut client) => {
                assert_eq!(version.version, ProtocolVersion::TLSv1_3, "handshake completed");
                soon(client.0.read_u8()).await.expect_err("a byte after a failed handshake")
            }
        };
        let fault = fault.get_ref().and_then(|f| f.downcast_ref::<rustls::Error>());
        assert!(matches!(fault, Some(rustls::Error::AlertReceived(_))), "{:?}: {fault:?}", version.version);
    }
    assert_eq!(w.mock.ledger().connects, 0);
}
