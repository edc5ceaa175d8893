//! What a held device costs the mock: connected over TLS 1.3 with a chain of its own, greeted, subscribed and silent.
//!
//! `cargo bench -p sim-dps --bench held`. The devices are in a process of their own, this program a second time, so
//! that what grows in the first one is the mock's. Resident memory, per connection; Linux alone tells it.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints its result, and panics where it cannot go on"
)]

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Codec, Connect, Login, Packet, Subscribe};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sim_dps::{Server, ServerConfig};
use sim_identity::fleet::FleetPlan;
use sim_identity::{Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, Seed, pem};
use sim_protocol::RegistrationId;
use sim_protocol::mqtt::RESPONSE_FILTER;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::codec::{Decoder as _, Encoder as _};

/// Connected and ended again before anything is measured: what is allocated once is there by then.
const BEFORE: usize = 200;
const HELD: usize = 4_000;
/// Says that this process is the devices', and where the mock is.
const DEVICES: &str = "HELD_DEVICES_OF";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match std::env::var(DEVICES) {
        Ok(address) => runtime.block_on(devices(address.parse().expect("an address"))),
        Err(_) => runtime.block_on(mock()),
    }
}

/// Resident memory of this process, KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

async fn mock() {
    let server = Server::spawn(ServerConfig::new(Seed::from_number(1)).expect("a configuration"));
    let server = server.await.expect("a mock");
    let own = std::env::current_exe().expect("this program");
    let mut devices = Command::new(own)
        .env(DEVICES, server.mqtts().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let (mut to, mut from) = (devices.stdin.take().expect("piped"), devices.stdout.take().expect("piped"));
    to.write_all(pem::encode("CERTIFICATE", server.trust_root()).as_bytes()).expect("writes");
    drop(to);
    // The devices say a byte when they are ready for each step.
    let mut measured = Vec::new();
    for open in [0, HELD] {
        let said = tokio::task::spawn_blocking(move || {
            let mut byte = [0];
            from.read_exact(&mut byte).expect("a byte");
            from
        });
        from = said.await.expect("no panic");
        let ledger = server.ledger();
        let still = || ledger.connects - server.ledger().connections_closed;
        assert!(open == 0 || still() as usize == open, "{ledger:?}");
        measured.push(resident());
    }
    devices.kill().and_then(|()| devices.wait()).expect("ends");
    let each = (measured[1] - measured[0]) as f64 / HELD as f64;
    println!("{HELD} held connections: {each:.1} KiB each in the mock");
}

async fn devices(address: SocketAddr) {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).expect("the trust root");
    let root = pem::blocks(&text).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root[0].der.clone())).expect("a root");
    let roots = Arc::new(roots);
    let now = OffsetDateTime::now_utc();
    // Leaf and two intermediates: three certificates are presented.
    let plan = HierarchyPlan { name: "held".into(), intermediates: 2, key: KeyAlgorithm::P256 };
    let made = Hierarchy::mint(&plan, &Seed::from_number(2), now).expect("a hierarchy");
    let fleet = Fleet::new(&FleetPlan::default(), made.issuing().clone(), Seed::from_number(3), now);
    let fleet = fleet.expect("a fleet");
    let mut held = Vec::new();
    for index in 0..BEFORE + HELD {
        if index == BEFORE {
            held.clear();
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            say();
        }
        let name = format!("held-{index:05}");
        let id = RegistrationId::new(name.as_str()).expect("a good id");
        let device = fleet.device(index as u64, id, None).expect("mints");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(device.key.to_pkcs8().expect("encodes")));
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(device.chain.clone(), key)
            .expect("a key of this chain");
        let stream = TcpStream::connect(address).await.expect("dials");
        stream.set_nodelay(true).expect("sets");
        let host = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(host, stream).await.expect("shakes");
        let mut codec = Codec { max_incoming_size: 1 << 16, max_outgoing_size: 1 << 16 };
        let mut connect = Connect::new(name.as_str());
        let user = format!("{}/registrations/{name}/api-version=2019-03-31", sim_dps::shell::ID_SCOPE);
        connect.login = Some(Login::new(user, ""));
        connect.keep_alive = 240;
        let subscribe = Subscribe { pkid: 1, ..Subscribe::new(RESPONSE_FILTER, QoS::AtLeastOnce) };
        for packet in [Packet::Connect(connect), Packet::Subscribe(subscribe)] {
            let mut bytes = BytesMut::new();
            codec.encode(packet, &mut bytes).expect("a packet");
            stream.write_all(&bytes).await.expect("writes");
            bytes.clear();
            while codec.decode(&mut bytes).expect("a packet").is_none() {
                assert_ne!(stream.read_buf(&mut bytes).await.expect("reads"), 0, "closed");
            }
        }
        held.push(stream);
    }
    say();
    std::future::pending().await
}

fn say() {
    std::io::stdout().write_all(b".").and_then(|()| std::io::stdout().flush()).expect("says");
}
