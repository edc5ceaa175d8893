//! How precisely the mock holds an answer: what a `latency` asks for beside what a device waits, over TCP on
//! loopback without TLS, one request at a time and many at once.
//!
//! `cargo bench -p sim-dps --bench holds`. The first row has no hold: it is what everything else costs, and what the
//! others are late by includes it.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints its table, and panics where it cannot go on"
)]

use bytes::BytesMut;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Codec, Connect, Login, Packet, Publish, Subscribe};
use sim_dps::{Instance, ServerConfig};
use sim_identity::Seed;
use sim_protocol::delay::Delay;
use sim_protocol::faults::{Fault, FaultPoint, FaultRule};
use sim_protocol::mqtt::RESPONSE_FILTER;
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Decoder as _, Encoder as _};

/// Time of a hold, requests one after another, connections at once.
const ROWS: [(Duration, usize, usize); 7] = [
    (Duration::ZERO, 500, 1),
    (Duration::from_micros(500), 500, 1),
    (Duration::from_millis(5), 200, 1),
    (Duration::from_millis(50), 40, 1),
    (Duration::from_millis(500), 6, 1),
    (Duration::from_millis(1500), 2, 1),
    (Duration::from_millis(5), 100, 8),
];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("{:>10}{:>8}{:>12}{:>12}{:>12}  µs late", "hold", "at once", "p50", "p90", "p99");
    for (hold, requests, at_once) in ROWS {
        let mut late = runtime.block_on(row(hold, requests, at_once));
        late.sort();
        let at = |share: usize| late[(late.len() - 1) * share / 100].as_secs_f64() * 1e6;
        println!("{hold:>10?}{at_once:>8}{:>12.1}{:>12.1}{:>12.1}", at(50), at(90), at(99));
    }
}

/// How late each answer is.
async fn row(hold: Duration, requests: usize, at_once: usize) -> Vec<Duration> {
    let instance = Instance::new(&ServerConfig::new(Seed::from_number(1)).expect("a configuration"));
    let instance = instance.expect("an instance");
    let latency = Fault::Latency { delay: Delay::Fixed(hold) };
    let rule = FaultRule { at: vec![FaultPoint::Register], ..FaultRule::new(latency) };
    instance.registrar().faults.set(vec![rule], OffsetDateTime::UNIX_EPOCH);
    let connections = (0..at_once).map(|_| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, (served, _)) = (dialled.expect("dials"), accepted.expect("accepts"));
        stream.set_nodelay(true).and_then(|()| served.set_nodelay(true)).expect("sets");
        let asking = ask(stream, hold, requests);
        tokio::join!(instance.converse(served, Vec::new()), asking).1
    });
    futures_util::future::join_all(connections).await.concat()
}

async fn ask(mut stream: TcpStream, hold: Duration, requests: usize) -> Vec<Duration> {
    let mut codec = Codec { max_incoming_size: 1 << 16, max_outgoing_size: 1 << 16 };
    let mut connect = Connect::new("d");
    connect.login = Some(Login::new("0ne00000001/registrations/d/api-version=2019-03-31", ""));
    let subscribe = Subscribe { pkid: 1, ..Subscribe::new(RESPONSE_FILTER, QoS::AtMostOnce) };
    let register = Publish::new("$dps/registrations/PUT/iotdps-register/?$rid=1", QoS::AtMostOnce, "");
    let mut exchange = async |packet: Packet| {
        let mut bytes = BytesMut::new();
        codec.encode(packet, &mut bytes).expect("a packet");
        stream.write_all(&bytes).await.expect("writes");
        bytes.clear();
        while codec.decode(&mut bytes).expect("a packet").is_none() {
            assert_ne!(stream.read_buf(&mut bytes).await.expect("reads"), 0, "closed");
        }
    };
    exchange(Packet::Connect(connect)).await;
    exchange(Packet::Subscribe(subscribe)).await;
    let mut late = Vec::with_capacity(requests);
    for _ in 0..requests {
        let since = Instant::now();
        exchange(Packet::Publish(register.clone())).await;
        late.push(since.elapsed().checked_sub(hold).expect("held long enough"));
    }
    late
}
