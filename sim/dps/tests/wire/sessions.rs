//! What a connection has beside its conversation: tickets and groups of TLS, keep alive, holds, and how its answers
//! are put on the wire.

use crate::client::{
    CLEAN, Client, DISCONNECT, FILTER, PINGREQ, PINGRESP, REGISTER, STATUS, connect, packet, publish,
    subscribe, text, user,
};
use crate::world::{VERSIONS, soon, world, world_of};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::version::TLS13;
use rustls::{HandshakeKind, NamedGroup};
use serde_json::json;
use sim_dps::{Instance, ServerConfig};
use sim_identity::Seed;
use sim_protocol::CaName;
use sim_protocol::delay::Delay;
use sim_protocol::faults::{Fault, FaultPoint, FaultRule};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Registers and says goodbye; the topic and body of the answer.
async fn register(mut client: Client, id: &str) -> (HandshakeKind, String, serde_json::Value) {
    let kind = client.stream.get_ref().1.handshake_kind().expect("hands were shaken");
    client.greet(id, CLEAN).await;
    assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
    client.publish(&format!("{REGISTER}1"), 1, "").await;
    let answer = client.delivery().await;
    client.send(&DISCONNECT).await;
    (kind, answer.topic, answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_session_still_has_its_chain_and_is_judged_anew() {
    for version in VERSIONS {
        let w = world_of(|config| config.tickets = true).await;
        let config = w.config(default_provider(), version, "dev-1");
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let (found, topic, body) = register(w.dial(&config).await, "dev-1").await;
            assert_eq!((found, &body["status"]), (kind, &json!("assigning")), "{topic} {body}");
        }
        // Its certificate is of another name than this device's.
        let (kind, topic, _) = register(w.dial(&config).await, "dev-2").await;
        assert_eq!(kind, HandshakeKind::Resumed);
        assert!(topic.contains("/res/401/"), "{topic}");
        let root = CaName::new("root").expect("a good name");
        let deleted = w.server.instance().registrar().write(|c, _| c.authorities.delete(&root, Some("*")));
        deleted.expect("deletes");
        let (kind, topic, _) = register(w.dial(&config).await, "dev-1").await;
        assert_eq!(kind, HandshakeKind::Resumed);
        assert!(topic.contains("/res/401/"), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tickets_every_handshake_is_a_full_one() {
    let w = world().await;
    for version in VERSIONS {
        let config = w.config(default_provider(), version, "dev-1");
        for _ in 0..2 {
            assert_eq!(register(w.dial(&config).await, "dev-1").await.0, HandshakeKind::Full);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_group_that_a_client_offers_is_agreed_on_be_it_the_hybrid() {
    let w = world().await;
    let hybrid = kx_group::X25519MLKEM768;
    for (offered, agreed) in [
        (vec![kx_group::X25519], NamedGroup::X25519),
        (vec![kx_group::SECP256R1], NamedGroup::secp256r1),
        (vec![kx_group::SECP384R1], NamedGroup::secp384r1),
        (vec![hybrid], NamedGroup::X25519MLKEM768),
        (vec![hybrid, kx_group::X25519], NamedGroup::X25519MLKEM768),
        (default_provider().kx_groups, NamedGroup::X25519),
    ] {
        let provider = CryptoProvider { kx_groups: offered, ..default_provider() };
        let client = w.dial(&w.config(provider, &TLS13, "dev-1")).await;
        let found = client.stream.get_ref().1.negotiated_key_exchange_group().expect("a group").name();
        assert_eq!(found, agreed);
        let (_, topic, _) = register(client, "dev-1").await;
        assert!(topic.contains("/res/202/"), "{topic}");
    }
}

/// CONNECT with a keep alive, and its acceptance.
async fn greet(client: &mut Client, id: &str, seconds: u8) {
    let connect = packet(0x10, &[&text("MQTT"), &[4, CLEAN, 0, seconds], &text(id), &text(&user(id))]);
    client.send(&connect).await;
    assert_eq!(client.next().await, (0x20, vec![0, 0]), "CONNACK");
}

/// MQTT 3.1.1 section 3.1.2.10.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_for_one_and_a_half_times_the_keep_alive_is_closed() {
    let w = world().await;
    let mut alive = w.device(&TLS13, "dev-1").await;
    greet(&mut alive, "dev-1", 1).await;
    let mut patient = w.device(&TLS13, "dev-2").await;
    greet(&mut patient, "dev-2", 0).await;
    let mut silent = w.device(&TLS13, "dev-3").await;
    let since = now();
    greet(&mut silent, "dev-3", 1).await;
    let pings = async {
        let mut turn = tokio::time::interval(Duration::from_millis(500));
        loop {
            turn.tick().await;
            alive.send(&PINGREQ).await;
            assert_eq!(alive.next().await, PINGRESP);
        }
    };
    tokio::select! {
        _ = pings => unreachable!("it goes on for ever"),
        () = silent.assert_closed("silence") => {}
    }
    let closed = since.elapsed();
    assert!((1500..2500).contains(&closed.as_millis()), "{closed:?}");
    alive.assert_quiet().await;
    patient.assert_quiet().await;
    assert_eq!(w.server.ledger().timeouts, 1);
}

#[expect(clippy::disallowed_methods, reason = "what is measured is how long the mock takes")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_held_for_its_latency_and_never_less() {
    use FaultPoint::{Connect, Poll, PollAnswer, Register, RegisterAnswer, Subscribe, Tcp, Tls};
    let w = world().await;
    let time = Duration::from_millis(5);
    for (point, step) in [
        (Tcp, 0),
        (Tls, 0),
        (Connect, 1),
        (Subscribe, 2),
        (Register, 3),
        (RegisterAnswer, 3),
        (Poll, 4),
        (PollAnswer, 4),
    ] {
        let rule =
            FaultRule { at: vec![point], ..FaultRule::new(Fault::Latency { delay: Delay::Fixed(time) }) };
        w.server.instance().registrar().faults.set(vec![rule], OffsetDateTime::UNIX_EPOCH);
        let mut took = Vec::new();
        let mut since = now();
        let mut lap = |since: &mut Instant| {
            took.push(since.elapsed());
            *since = now();
        };
        let mut client = w.device(&TLS13, "dev-1").await;
        lap(&mut since);
        client.greet("dev-1", CLEAN).await;
        lap(&mut since);
        client.subscribe(&[(FILTER, 1)]).await;
        lap(&mut since);
        client.publish(&format!("{REGISTER}1"), 1, "").await;
        let begun = client.delivery().await;
        lap(&mut since);
        client.publish(&format!("{STATUS}2&operationId={}", begun.operation()), 2, "").await;
        assert_eq!(client.delivery().await.body["status"], "assigned");
        lap(&mut since);
        assert!(took[step] >= time, "{point}: {took:?}");
    }
}

/// Takes what is written, one entry to each write.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl Writes {
    fn taken(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.0.lock().expect("whole"))
    }
}

impl AsyncWrite for Writes {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().expect("whole").push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What is written to a device that sends all of this at once and goes away.
async fn written(instance: &Instance, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (sent, writes) = (packets.concat(), Writes::default());
    soon(instance.converse(tokio::io::join(&*sent, writes.clone()), Vec::new())).await;
    writes.taken()
}

#[tokio::test]
async fn answers_to_what_comes_together_leave_together_and_before_a_hold_or_the_end() {
    let instance = Instance::new(&ServerConfig::new(Seed::from_number(1)).expect("a configuration"));
    let instance = instance.expect("an instance");
    let opening = [connect("MQTT", 4, CLEAN, "d", &user("d")), subscribe(1, &[(FILTER, 1)])];
    let asking = [opening.concat(), publish(1, 2, &format!("{REGISTER}1"), "")];
    let firsts = |writes: &[Vec<u8>]| writes.iter().map(|bytes| bytes[0]).collect::<Vec<_>>();
    // CONNACK, SUBACK, PUBACK and the answer.
    let together = written(&instance, &asking).await;
    assert_eq!(together.len(), 1, "{together:02x?}");
    assert_eq!(together[0][..13], [0x20, 2, 0, 0, 0x90, 3, 0, 1, 1, 0x40, 2, 0, 2]);
    assert_eq!(together[0][13], 0x32, "the answer at quality 1");
    for (end, name) in [(DISCONNECT.to_vec(), "goodbye"), (vec![0xf0, 0], "no packet")] {
        let ended = written(&instance, &[asking.concat(), end]).await;
        assert_eq!(ended.len(), 1, "{name}: {ended:02x?}");
        assert_eq!(ended[0][..14], together[0][..14], "{name}");
    }
    let lost = FaultRule { at: vec![FaultPoint::Register], ..FaultRule::new(Fault::Drop) };
    instance.registrar().faults.set(vec![lost], OffsetDateTime::UNIX_EPOCH);
    assert_eq!(firsts(&written(&instance, &asking).await), [0x20, 0x90]);
    let late = FaultRule { share: 0.0, ..FaultRule::new(Fault::Drop) };
    instance.registrar().faults.set(vec![late], OffsetDateTime::UNIX_EPOCH);
    assert_eq!(firsts(&written(&instance, &asking).await), [0x20, 0x90, 0x40]);
}

#[tokio::test(flavor = "multi_thread")]
async fn management_takes_a_hub_off() {
    let w = world().await;
    let token = w.server.instance().management_token();
    let ask = async |token: &str, body: &str| {
        let mut stream = TcpStream::connect(w.server.management()).await.expect("dials");
        let request = format!(
            "POST /hubs/unlink HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.expect("an answer");
        answer.split(' ').nth(1).expect("a status line").to_owned()
    };
    assert_eq!(ask("x", r#"{"hub":"hub.example"}"#).await, "401");
    assert_eq!(ask(token, r#"{"hub":"other.example"}"#).await, "404");
    assert_eq!(ask(token, r#"{"host":"hub.example"}"#).await, "400");
    assert_eq!(ask(token, r#"{"hub":"hub.example"}"#).await, "204");
    let (_, topic, body) = register(w.device(&TLS13, "dev-1").await, "dev-1").await;
    assert!(topic.contains("/res/202/"), "{topic}");
    let mut client = w.connected("dev-1", CLEAN).await;
    assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
    let operation = body["operationId"].as_str().expect("an operation");
    client.publish(&format!("{STATUS}1&operationId={operation}"), 1, "").await;
    assert_eq!(client.delivery().await.body["status"], "failed", "there is no other hub");
}
