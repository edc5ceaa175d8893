//! The device API over HTTPS as the official Node.js client speaks it, and the answers to misuse.
//!
//! HTTP/1.1 by hand: a request is its lines, an answer is read by its Content-Length.

use crate::client::Tls;
use crate::world::{soon, world};
use rustls::version::TLS13;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const REGISTER: &str = "/0ne00000001/registrations/dev-1/register?api-version=2019-03-31";
const LOOK_UP: &str = "/0ne00000001/registrations/dev-1?api-version=2021-06-01";
const JSON: (&str, &str) = ("Content-Type", "application/json; charset=utf-8");

/// Header names and values.
pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

/// An answer, its header names in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON: {e}: {self:?}"))
    }

    /// That it is an object of JSON and says so.
    pub(crate) fn assert_error_in_json(&self) {
        let kind = self.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{self:?}");
        assert!(self.json().is_object(), "{self:?}");
    }
}

pub(crate) async fn send_request(
    stream: &mut Tls,
    method: &str,
    path: &str,
    headers: Headers<'_>,
    body: &str,
) {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}");
    soon(async {
        stream.write_all(request.as_bytes()).await.expect("takes the request");
        stream.flush().await.expect("takes the request");
    })
    .await;
}

pub(crate) async fn read_answer(stream: &mut Tls) -> Answer {
    soon(async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("an answer"));
        }
        let head = String::from_utf8(head).expect("headers in ASCII");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers: Vec<_> = headers.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().expect("a number"))];
        stream.read_exact(&mut body).await.expect("a whole body");
        Answer {
            status: status.parse().expect("a status"),
            headers,
            body: String::from_utf8(body).expect("a body in UTF-8"),
        }
    })
    .await
}

/// A request and its answer.
pub(crate) async fn exchange(
    stream: &mut Tls,
    method: &str,
    path: &str,
    headers: Headers<'_>,
    body: &str,
) -> Answer {
    send_request(stream, method, path, headers, body).await;
    read_answer(stream).await
}

#[tokio::test(flavor = "multi_thread")]
async fn node_provisions_over_one_connection_and_sends_a_body_with_get() {
    let w = world().await;
    let mut stream = w.https("dev-1").await;
    let headers = [
        ("Accept", "application/json"),
        JSON,
        ("Request-Id", "6f8a1f4e-0c55-4b58-9a3e-1d5d0b6f6c11"),
        ("User-Agent", "azure-iot-provisioning-device/1.9.1"),
    ];
    let begun = exchange(&mut stream, "PUT", REGISTER, &headers, r#"{"registrationId":"dev-1"}"#).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    assert_eq!(begun.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(begun.header("retry-after"), Some("3"));
    // Captured: the register's own address, not the operation's.
    assert!(begun.header("location").is_some_and(|at| at.ends_with(REGISTER)), "{begun:?}");
    let operation = begun.json()["operationId"].as_str().expect("an operation id").to_owned();
    assert_eq!(begun.json(), json!({ "operationId": operation, "status": "assigning" }));

    let poll = format!("/0ne00000001/registrations/dev-1/operations/{operation}?api-version=2019-03-31");
    let done = exchange(&mut stream, "GET", &poll, &headers, "{}").await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!((done.header("retry-after"), done.header("location")), (None, None));
    let body = done.json();
    assert_eq!((&body["status"], &body["operationId"]), (&json!("assigned"), &json!(operation)));
    assert_eq!(body["registrationState"]["assignedHub"], "hub.example");
    assert_eq!(w.server.ledger().tls_handshakes, 3, "two by the operator, one by the device");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_add_to_a_register_is_tolerated() {
    let w = world().await;
    let forced = format!("{REGISTER}&forceRegistration=true");
    let body = r#"{"registrationId":"dev-1"}"#;
    let rows: [(&str, &str, Headers<'_>, &str); 5] = [
        ("the documentation's curl", REGISTER, &[JSON, ("Content-Encoding", "utf-8")], body),
        ("a bare content type", REGISTER, &[("Content-Type", "application/json")], body),
        ("forceRegistration", &forced, &[JSON], body),
        ("no body", REGISTER, &[("Content-Length", "0")], ""),
        ("a payload alone", REGISTER, &[JSON], r#"{"payload":{"a":1}}"#),
    ];
    for (name, path, headers, body) in rows {
        let answer = w.ask("dev-1", "PUT", path, headers, body).await;
        assert_eq!(answer.status, 202, "{name}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_look_up_tells_the_bare_registration_to_its_device_alone() {
    let w = world().await;
    let body = r#"{"registrationId":"dev-1"}"#;
    let before = w.ask("dev-1", "POST", LOOK_UP, &[JSON], body).await;
    assert_eq!(before.status, 404, "{before:?}");
    before.assert_error_in_json();

    let begun = w.ask("dev-1", "PUT", REGISTER, &[JSON], body).await.json();
    let operation = begun["operationId"].as_str().expect("an operation id");
    let poll = format!("/0ne00000001/registrations/dev-1/operations/{operation}?api-version=2019-03-31");
    assert_eq!(w.ask("dev-1", "GET", &poll, &[], "").await.status, 200);
    let found = w.ask("dev-1", "POST", LOOK_UP, &[JSON], body).await;
    assert_eq!(found.status, 200, "{found:?}");
    let state = found.json();
    assert_eq!((&state["registrationId"], &state["status"]), (&json!("dev-1"), &json!("assigned")));
    assert_eq!((&state["assignedHub"], &state["registrationState"]), (&json!("hub.example"), &Value::Null));

    let stranger = w.ask("dev-2", "POST", LOOK_UP, &[JSON], body).await;
    assert_eq!(stranger.status, 401, "{stranger:?}");
    let mut nobody = w.reach(w.server.https(), &TLS13, None).await.expect("a handshake");
    assert_eq!(exchange(&mut nobody, "POST", LOOK_UP, &[JSON], body).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_is_answered_by_its_status_and_in_json() {
    let w = world().await;
    let at = |rest: &str| format!("/0ne00000001/registrations/dev-1/{rest}");
    let body = r#"{"registrationId":"dev-1"}"#;
    let large = format!("{body}{}", " ".repeat(96 * 1024));
    let plain = ("Content-Type", "text/plain");
    let group = "/enrollmentGroups/g?api-version=2021-10-01";
    let rows: [(&str, &str, String, Headers<'_>, &str, u16); 14] = [
        ("no api-version", "PUT", at("register"), &[JSON], body, 400),
        ("an empty api-version", "PUT", at("register?api-version="), &[JSON], body, 400),
        ("an api-version that is no date", "PUT", at("register?api-version=latest"), &[JSON], body, 400),
        ("no api-version of a poll", "GET", at("operations/4.0.0"), &[], "", 400),
        ("text in place of JSON", "PUT", REGISTER.into(), &[plain], body, 415),
        ("broken JSON", "PUT", REGISTER.into(), &[JSON], r#"{"registrationId":"#, 400),
        (
            "another device's id in the body",
            "PUT",
            REGISTER.into(),
            &[JSON],
            r#"{"registrationId":"dev-2"}"#,
            400,
        ),
        ("more than 96 KiB", "PUT", REGISTER.into(), &[JSON], &large, 413),
        ("GET where PUT belongs", "GET", REGISTER.into(), &[], "", 405),
        ("DELETE where PUT belongs", "DELETE", REGISTER.into(), &[], "", 405),
        ("an operation nobody began", "GET", at("operations/4.0.0?api-version=2019-03-31"), &[], "", 404),
        ("no such resource", "GET", "/nowhere?api-version=2019-03-31".into(), &[], "", 404),
        ("a service call without a token", "GET", group.into(), &[], "", 401),
        ("another device's name", "PUT", REGISTER.replace("dev-1", "dev-2"), &[JSON], "", 401),
    ];
    for (name, method, path, headers, body, status) in rows {
        let answer = w.ask("dev-1", method, &path, headers, body).await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        answer.assert_error_in_json();
    }
    // Nothing of it took root.
    assert_eq!(w.ask("dev-1", "POST", LOOK_UP, &[JSON], body).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_devices_error_body_has_the_status_in_its_code() {
    let w = world().await;
    for (path, body, status) in [
        (REGISTER.to_owned(), r#"{"registrationId":"#, 400),
        (REGISTER.replace("0ne00000001", "0ne00000002"), "", 401),
    ] {
        let answer = w.ask("dev-1", "PUT", &path, &[JSON], body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let error = answer.json();
        assert_eq!(error["errorCode"].as_u64().map(|code| code / 1000), Some(u64::from(status)), "{error}");
        for field in ["trackingId", "message", "timestampUtc"] {
            assert!(error[field].is_string(), "`{field}`: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused_or_closed() {
    let w = world().await;
    for (name, bytes) in [
        ("noise", &b"\x00\x01\x02\x03\r\n\r\n"[..]),
        ("MQTT", b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00\r\n\r\n"),
        ("two lengths", b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        ("a length that is no number", b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n"),
        ("HTTP/9", b"GET / HTTP/9.9\r\n\r\n"),
    ] {
        let mut stream = w.https("dev-1").await;
        let mut answer = Vec::new();
        soon(async {
            stream.write_all(bytes).await.expect("takes the bytes");
            stream.flush().await.expect("takes the bytes");
            let _ = stream.read_to_end(&mut answer).await;
        })
        .await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{name}: {answer}");
    }
    assert_eq!(w.ask("dev-1", "PUT", REGISTER, &[JSON], "").await.status, 202);
}
