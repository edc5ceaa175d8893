//! Strangers who break every protocol, or say nothing at all: afterwards, and meanwhile, good devices are served.

use crate::openssl::Openssl;
use crate::refusals::minted_under_a_verified_root;
use crate::world::{Mock, World, find};
use serde_json::Value;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Longer than the mock puts up with a connection that says nothing.
const PATIENCE: Duration = Duration::from_secs(90);

/// The start of a TLS record that announces 512 bytes of ClientHello, of which eleven came.
const UNFINISHED_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

/// CONNECT of `dev-00000` with clean session 1 and keep alive 0, but for its id scope.
fn connect(id_scope: &str) -> Vec<u8> {
    let text = |text: &str| [&[0, u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    let user = text(&format!("{id_scope}/registrations/dev-00000/api-version=2019-03-31"));
    let content = [&text("MQTT")[..], &[4, 0x82, 0, 0], &text("dev-00000"), &user].concat();
    [&[0x10, u8::try_from(content.len()).expect("a short packet")][..], &content].concat()
}

fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the mock listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// Sends what it can, and gives back what was answered before the mock closed the connection.
#[track_caller]
fn until_closed(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = dial(address);
    // The mock may have had enough before the last byte.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            panic!("{address} kept a broken connection open after {:?}", &bytes[..bytes.len().min(16)])
        }
        _ => answer,
    }
}

/// Connections to `address` that begin with `bytes` and never go on.
fn stalled(address: &str, bytes: &[u8], count: usize) -> Vec<TcpStream> {
    let stall = |_| {
        let mut stream = dial(address);
        stream.write_all(bytes).expect("takes the bytes");
        stream
    };
    (0..count).map(stall).collect()
}

/// Whether the mock has neither said anything on this connection nor ended it.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a mode");
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("a mode");
    matches!(seen, Err(e) if e.kind() == ErrorKind::WouldBlock)
}

#[track_caller]
fn count(ledger: &Value, key: &str) -> u64 {
    ledger[key].as_u64().unwrap_or_else(|| panic!("no `{key}` in {ledger}"))
}

fn ledger(mock: &Mock<'_>) -> Value {
    mock.manage("GET /ledger", "").json()
}

/// That a counter has grown by just so much since `before`. What is counted at the end of a connection may still
/// be on its way when the end itself has arrived, so it is asked for more than once.
#[track_caller]
fn assert_grown(mock: &Mock<'_>, key: &str, before: &Value, by: usize) {
    let expected = count(before, key) + by as u64;
    let mut seen = 0;
    for _ in 0..100 {
        seen = count(&ledger(mock), key);
        if seen >= expected {
            break;
        }
    }
    assert_eq!(seen, expected, "`{key}` after {by} more");
}

/// That a good device is assigned, and that the mock calls itself healthy.
#[track_caller]
fn assert_serves(mock: &Mock<'_>) {
    let told = mock.register("fleet/dev-00000.chain.pem", "fleet/dev-00000.key.pem", "").exits(0).json();
    assert_eq!(find(&told, "kind").and_then(Value::as_str), Some("assigned"), "{told}");
    assert_eq!(mock.manage("GET /health", "").json()["status"], "ok");
}

#[test]
fn garbage_on_any_port_ends_its_own_connection_and_no_other() {
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    let bystanders = [&mock.mqtts, &mock.https].map(|address| stalled(address, b"", 1));
    let before = ledger(&mock);
    let all_bytes: Vec<u8> = (0..=255).rev().collect();
    let garbage: [(&str, &[u8]); 6] = [
        ("every byte", &all_bytes),
        ("zeros", &[0; 65536]),
        ("MQTT without TLS", &connect(&mock.id_scope)),
        ("a record too long", b"\x16\x03\x01\xff\xff\x01\x00\x00\x00"),
        ("an alert", b"\x15\x03\x03\x00\x02\x02\x28\r\n\r\n"),
        ("HTTP without TLS", b"\x01ET / HTTP/1.1\r\n\r\n"),
    ];
    for address in [&mock.mqtts, &mock.https, &mock.management] {
        for (name, bytes) in garbage {
            let answer = until_closed(address, bytes);
            assert!(!String::from_utf8_lossy(&answer).contains(" 200 "), "{name} at {address}");
        }
    }
    assert_grown(&mock, "tls_failures", &before, 2 * garbage.len());
    assert!(bystanders.iter().flatten().all(is_open), "a bystander was cut off");
    assert_serves(&mock);
}

#[test]
fn a_packet_of_256_mib_is_not_waited_for() {
    let world = World::new();
    let Some(client) = TlsClient::find(&world, "a_packet_of_256_mib_is_not_waited_for") else { return };
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    let before = ledger(&mock);
    // PUBLISH with the largest remaining length there is (MQTT 3.1.1 section 2.2.3), of which five bytes come.
    let announced = [&connect(&mock.id_scope)[..], b"\x30\xff\xff\xff\x7f\x00\x03$dp"].concat();
    let answer = client.until_closed(mock.mqtts_port(), &announced);
    assert_eq!(answer, "\x20\x02\0\0", "a CONNACK and no more");
    // The same in place of a CONNECT: there is nobody to answer.
    let answer = client.until_closed(mock.mqtts_port(), b"\x10\xff\xff\xff\x7f\x00\x04MQTT");
    assert_eq!(answer, "");
    assert_grown(&mock, "malformed", &before, 2);
    assert_serves(&mock);
}

#[test]
fn a_flood_of_headers_is_cut_off() {
    let world = World::new();
    let Some(client) = TlsClient::find(&world, "a_flood_of_headers_is_cut_off") else { return };
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    let many: String = (0..20_000).map(|number| format!("X-{number}: {}\r\n", "a".repeat(60))).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(2 << 20));
    for headers in [many, long] {
        let flood = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        let managed = until_closed(&mock.management, flood.as_bytes());
        let managed = String::from_utf8_lossy(&managed);
        assert!(managed.is_empty() || managed.starts_with("HTTP/1.1 4"), "{managed}");
        let served = client.until_closed(mock.https_port(), flood.as_bytes());
        assert!(served.is_empty() || served.starts_with("HTTP/1.1 4"), "{served}");
    }
    assert_serves(&mock);
}

#[test]
fn three_hundred_connections_that_never_finish_are_put_up_with_and_then_closed() {
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    let before = ledger(&mock);
    let mut held = stalled(&mock.mqtts, b"", 50);
    held.extend(stalled(&mock.mqtts, UNFINISHED_HELLO, 50));
    held.extend(stalled(&mock.https, b"", 50));
    held.extend(stalled(&mock.https, UNFINISHED_HELLO, 50));
    let managed = stalled(&mock.management, b"GET /health HTTP/1.1\r\nHost: loc", 100);
    assert_serves(&mock);
    assert!(held.iter().chain(&managed).all(is_open), "closed before its time");
    // Not a wait for a time, but for the end of each connection.
    for stream in &mut held {
        let ended = stream.read_to_end(&mut Vec::new());
        let kept = |e: &std::io::Error| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!ended.as_ref().is_err_and(kept), "never closed");
    }
    assert_grown(&mock, "timeouts", &before, held.len());
    assert_serves(&mock);
}

#[test]
fn a_device_is_assigned_beside_two_thousand_stalled_connections() {
    const STALLED: usize = 2000;
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    // After the start of the mock, which has to see to its own limit.
    rlimit::increase_nofile_limit(8192).expect("more file descriptors");
    let mut held = stalled(&mock.mqtts, UNFINISHED_HELLO, STALLED / 2);
    held.extend(stalled(&mock.mqtts, b"", STALLED / 2));
    assert_serves(&mock);
    let open = held.iter().filter(|stream| is_open(stream)).count();
    assert_eq!(open, STALLED, "still open after the device was served");
    let after = ledger(&mock);
    let held_by_the_mock = count(&after, "connections") - count(&after, "connections_closed");
    assert!(held_by_the_mock >= STALLED as u64, "{after}");
}

/// TLS for bytes that no proper client would send.
struct TlsClient<'w> {
    world: &'w World,
}

impl<'w> TlsClient<'w> {
    fn find(world: &'w World, test: &str) -> Option<Self> {
        Openssl::find(world, test).map(|_| TlsClient { world })
    }

    /// Sends `bytes` in a TLS connection without a client certificate; what was answered before the mock closed it.
    fn until_closed(&self, port: u16, bytes: &[u8]) -> String {
        self.world.write("bytes", bytes);
        let mut command = self.world.command("openssl");
        // Quiet is also deaf to the end of its input: it stays until the other side ends the connection.
        let line = format!("s_client -quiet -connect 127.0.0.1:{port} -servername localhost");
        command.args(line.split_whitespace());
        command.stdin(File::open(self.world.path("bytes")).expect("what was just written"));
        self.world.finish(command).stdout
    }
}
