//! MQTT over WebSocket as official clients do it: the upgrade, their framing, and their ways to leave.
//!
//! Frames are put together and taken apart by hand; section numbers are those of RFC 6455.

use crate::client::{
    CLEAN, Client, DISCONNECT, FILTER, REGISTER, STATUS, Tls, packet, subscribe, text, user,
};
use crate::https::{Answer, Headers, read_answer, send_request};
use crate::world::{World, soon, world};
use tokio::io::AsyncReadExt as _;

pub(crate) const BINARY: u8 = 0x2;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;

/// The key of the RFC's own example, and the answer that proves that it was read (section 1.3).
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A last frame from a client, masked as it has to be (section 5.3).
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | short as u8),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(long).expect("a payload of at most 64 KiB").to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The next frame from the server: its opcode and payload. It is whole and not masked (section 5.1).
async fn read_frame(stream: &mut Tls) -> (u8, Vec<u8>) {
    soon(async {
        let first = stream.read_u8().await.expect("a frame");
        assert_eq!(first & 0xf0, 0x80, "a last frame without extensions");
        let length = match stream.read_u8().await.expect("a length") {
            126 => usize::from(stream.read_u16().await.expect("a length")),
            short @ 0..126 => usize::from(short),
            other => panic!("a masked or huge frame: {other:#x}"),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("a whole frame");
        (first & 0x0f, payload)
    })
    .await
}

/// The payload of the next frame, which has to be a binary one (MQTT 3.1.1 section 6).
pub(crate) async fn read_binary(stream: &mut Tls) -> Vec<u8> {
    let (opcode, payload) = read_frame(stream).await;
    assert_eq!(opcode, BINARY);
    payload
}

async fn upgrade(stream: &mut Tls, path: &str, more: Headers<'_>) -> Answer {
    let mut headers =
        vec![("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13")];
    headers.push(("Sec-WebSocket-Key", KEY));
    headers.extend(more);
    send_request(stream, "GET", path, &headers, "").await;
    read_answer(stream).await
}

/// A device after the upgrade.
async fn upgraded(world: &World, id: &str) -> Client {
    let mut stream = world.https(id).await;
    let answer = upgrade(&mut stream, "/$iothub/websocket", &[("Sec-WebSocket-Protocol", "mqtt")]).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    Client::over_websocket(stream)
}

/// From CONNECT to assigned, in one frame a packet.
async fn provision(client: &mut Client, id: &str) {
    client.greet(id, CLEAN).await;
    assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
    client.publish(&format!("{REGISTER}1"), 1, "").await;
    let begun = client.delivery().await;
    client.publish(&format!("{STATUS}2&operationId={}", begun.operation()), 2, " ").await;
    assert_eq!(client.delivery().await.body["status"], "assigned");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_is_upgraded_under_its_own_spelling_and_without_extensions() {
    let w = world().await;
    let node = [
        ("Sec-WebSocket-Protocol", "mqtt"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ];
    let python = [("Sec-Websocket-Protocol", "mqtt"), ("Origin", "https://localhost:443")];
    let rows: [(&str, &str, Headers<'_>, &str); 5] = [
        ("Python", "/$iothub/websocket", &python, "mqtt"),
        ("Node.js", "/$iothub/websocket", &node, "mqtt"),
        ("C", "/$iothub/websocket", &[("Sec-WebSocket-Protocol", "MQTT")], "MQTT"),
        ("C#", "/", &[("Sec-WebSocket-Protocol", "mqtt")], "mqtt"),
        ("Java", "/mqtt", &[("Sec-WebSocket-Protocol", "mqtt")], "mqtt"),
    ];
    for (name, path, headers, spelling) in rows {
        let mut stream = w.https("dev-1").await;
        let answer = upgrade(&mut stream, path, headers).await;
        assert_eq!(answer.status, 101, "{name}: {answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT), "{name}");
        assert_eq!(answer.header("sec-websocket-protocol"), Some(spelling), "{name}");
        assert_eq!(answer.header("sec-websocket-extensions"), None, "{name}");
        provision(&mut Client::over_websocket(stream), "dev-1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_to_anything_but_mqtt_is_refused() {
    let w = world().await;
    for headers in
        [&[][..], &[("Sec-WebSocket-Protocol", "AMQPWSB10")], &[("Sec-WebSocket-Protocol", "mqttx")]]
    {
        let answer = upgrade(&mut w.https("dev-1").await, "/$iothub/websocket", headers).await;
        assert_eq!(answer.status, 400, "{headers:?}: {answer:?}");
        answer.assert_error_in_json();
    }
}

// Node.js was seen to send its CONNECT like this: each part as it is put together.
#[tokio::test(flavor = "multi_thread")]
async fn one_packet_may_come_in_eleven_frames() {
    let w = world().await;
    let name = format!("{}&ClientVersion=azure-iot-provisioning-device%2F1.9.1", user("dev-001"));
    let length = |text: &str| u16::try_from(text.len()).expect("a short text").to_be_bytes();
    let (id_length, name_length) = (length("dev-001"), length(&name));
    let remaining = [u8::try_from(10 + 2 + 7 + 2 + name.len()).expect("a length of one byte or two")];
    let remaining: &[u8] = if remaining[0] < 0x80 { &remaining } else { &[remaining[0], 1] };
    let parts: [&[u8]; 11] = [
        &[0x10],
        remaining,
        &[0, 4],
        b"MQTT",
        &[4],
        &[0x82],
        &[0, 180],
        &id_length,
        b"dev-001",
        &name_length,
        name.as_bytes(),
    ];
    // The frames as they are, or all in one segment.
    for together in [false, true] {
        let mut client = upgraded(&w, "dev-001").await;
        let frames: Vec<_> = parts.iter().map(|part| frame(BINARY, part)).collect();
        if together {
            client.send_raw(&frames.concat()).await;
        } else {
            for frame in &frames {
                client.send_raw(frame).await;
            }
        }
        assert_eq!(client.next().await, (0x20, vec![0, 0]));
        assert_eq!(client.subscribe(&[(FILTER, 1)]).await, [1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_packets_may_come_in_one_frame_and_one_message_in_fragments() {
    let w = world().await;
    let connect = packet(0x10, &[&text("MQTT"), &[4, 0x82, 0, 0], &text("dev-1"), &text(&user("dev-1"))]);
    let both = [connect, subscribe(1, &[(FILTER, 1)])].concat();
    let mut client = upgraded(&w, "dev-1").await;
    client.send(&both).await;
    assert_eq!(client.next().await, (0x20, vec![0, 0]));
    assert_eq!(client.next().await, (0x90, vec![0, 1, 1]));

    let mut client = upgraded(&w, "dev-1").await;
    let (start, end) = both.split_at(20);
    // A first fragment, a ping in between, and the continuation (section 5.4).
    let (mut first, mut last) = (frame(BINARY, start), frame(0x0, end));
    first[0] &= 0x7f;
    last[0] |= 0x80;
    client.send_raw(&[first, frame(PING, b"there?"), last].concat()).await;
    let (opcode, payload) = read_frame(&mut client.stream).await;
    assert_eq!((opcode, payload.as_slice()), (0xa, &b"there?"[..]), "a pong");
    assert_eq!(client.next().await, (0x20, vec![0, 0]));
    assert_eq!(client.next().await, (0x90, vec![0, 1, 1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_may_leave_with_an_empty_close_frame_or_with_none() {
    let w = world().await;
    for goodbye in [Some(frame(CLOSE, &[])), None] {
        let mut client = upgraded(&w, "dev-1").await;
        provision(&mut client, "dev-1").await;
        client.send(&DISCONNECT).await;
        if let Some(goodbye) = goodbye {
            client.send_raw(&goodbye).await;
        }
        drop(client);
    }
    provision(&mut upgraded(&w, "dev-1").await, "dev-1").await;
    assert_eq!(w.server.ledger().assigned, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_none_of_mqtt_s_ends_the_connection() {
    let w = world().await;
    let connect = packet(0x10, &[&text("MQTT"), &[4, 0x82, 0, 0], &text("dev-1"), &text(&user("dev-1"))]);
    let unmasked = [&[0x80 | BINARY, connect.len() as u8][..], &connect].concat();
    let mut reserved = frame(BINARY, &connect);
    reserved[0] |= 0x40;
    for (name, bytes) in [
        ("text", frame(TEXT, &connect)),
        ("no mask", unmasked),
        ("a reserved bit", reserved),
        ("an unknown opcode", frame(0x3, &connect)),
        ("a length of 2^63", vec![0x80 | BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    ] {
        let mut client = upgraded(&w, "dev-1").await;
        client.send_raw(&bytes).await;
        // A close frame may come first (section 7.1.7).
        let mut rest = Vec::new();
        let _ = soon(client.stream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty() || rest[0] == 0x80 | CLOSE, "{name}: {rest:02x?}");
    }
    assert_eq!(w.server.ledger().connects, 0);
}
