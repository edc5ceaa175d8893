//! What official clients were recorded to send, replayed byte for byte over TLS, with the documented answers.

use crate::client::{
    CLEAN, Client, DISCONNECT, Delivery, FILTER, KEEPS_SESSION, PINGREQ, PINGRESP, REGISTER, STATUS, connect,
    packet, publish, subscribe, text, user,
};
use crate::world::{World, soon, world};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

/// One official client, as it was recorded with X.509 and the registration id `dev-001`.
struct Recorded {
    name: &'static str,
    /// The only version it offers, or the newest.
    tls: &'static SupportedProtocolVersion,
    connect_flags: u8,
    /// Seconds.
    keep_alive: u16,
    /// Verbatim, but for the kernel's version in Python's.
    user: &'static str,
    /// `$rid` of the register and of the poll.
    rids: [&'static str; 2],
    register: (u8, &'static str),
    poll: (u8, &'static str),
    unsubscribes: bool,
}

const BODY: &str = r#"{"registrationId":"dev-001"}"#;

const PYTHON: Recorded = Recorded {
    name: "azure-iot-device 2.14.0 (Python)",
    tls: &TLS12,
    connect_flags: 0x80,
    keep_alive: 60,
    user: "0ne00000001/registrations/dev-001/api-version=2019-03-31&ClientVersion=azure-iot-device-provisioning-py%2F2.14.0%283.11.7%3BLinux%20%231%20SMP%3Bx86_64%29",
    rids: ["7c9e6679-7425-40de-944b-e07fc1f90ae7", "16fd2706-8baf-433b-82eb-8c7fada847da"],
    register: (1, r#"{"payload": null, "registrationId": "dev-001"}"#),
    poll: (1, " "),
    unsubscribes: false,
};

const NODE: Recorded = Recorded {
    name: "azure-iot-provisioning-device 1.9.1 (Node.js)",
    tls: &TLS13,
    connect_flags: 0x82,
    keep_alive: 180,
    user: "0ne00000001/registrations/dev-001/api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.1",
    rids: ["9b2e1e0c-6d0a-4a9e-8f0e-3f1f1c1c2a51", "c56a4180-65aa-42ec-a945-5fd21dec0538"],
    register: (1, BODY),
    poll: (1, " "),
    unsubscribes: true,
};

const C: Recorded = Recorded {
    name: "Azure IoT C SDK 1.15.0",
    tls: &TLS13,
    connect_flags: 0x82,
    keep_alive: 0,
    user: "0ne00000001/registrations/dev-001/api-version=2021-06-01&ClientVersion=1.15.0",
    rids: ["1", "2"],
    register: (0, BODY),
    poll: (0, BODY),
    unsubscribes: false,
};

const EMBEDDED_C: Recorded = Recorded {
    name: "Azure SDK for Embedded C, provisioning sample",
    tls: &TLS13,
    connect_flags: 0x80,
    keep_alive: 240,
    user: "0ne00000001/registrations/dev-001/api-version=2019-03-31",
    rids: ["1", "1"],
    register: (1, ""),
    poll: (0, ""),
    unsubscribes: false,
};

static CLIENTS: [&Recorded; 4] = [&PYTHON, &NODE, &C, &EMBEDDED_C];

impl Recorded {
    fn connect(&self, flags: u8) -> Vec<u8> {
        let keep_alive = self.keep_alive.to_be_bytes();
        packet(0x10, &[&text("MQTT"), &[4, flags], &keep_alive, &text("dev-001"), &text(self.user)])
    }

    async fn dial(&self, world: &World) -> Client {
        let mut client = world.device(self.tls, "dev-001").await;
        client.send(&self.connect(self.connect_flags)).await;
        // No session is ever present, also where the client asked to keep one.
        assert_eq!(client.next().await, (0x20, vec![0, 0]), "CONNACK to {}", self.name);
        client
    }

    async fn subscribe(&self, client: &mut Client) {
        client.send(&subscribe(1, &[(FILTER, 1)])).await;
        assert_eq!(client.next().await, (0x90, vec![0, 1, 1]), "SUBACK to {}", self.name);
    }

    async fn register(&self, client: &mut Client) -> Delivery {
        let topic = format!("{REGISTER}{}", self.rids[0]);
        self.request(client, &topic, 2, self.register).await
    }

    async fn poll(&self, client: &mut Client, operation: &str) -> Delivery {
        let topic = format!("{STATUS}{}&operationId={operation}", self.rids[1]);
        self.request(client, &topic, 3, self.poll).await
    }

    /// A request, its PUBACK where there has to be one, and its answer.
    async fn request(&self, client: &mut Client, topic: &str, id: u16, (qos, body): (u8, &str)) -> Delivery {
        client.send(&publish(qos, id, topic, body)).await;
        if qos == 1 {
            assert_eq!(client.next().await, (0x40, id.to_be_bytes().to_vec()), "PUBACK to {}", self.name);
        }
        let answer = client.delivery().await;
        assert_eq!(answer.qos, 1, "{}", self.name);
        client.acknowledge(&answer).await;
        answer
    }

    fn assert_begun(&self, answer: &Delivery) {
        let topic = format!("$dps/registrations/res/202/?$rid={}&retry-after=3", self.rids[0]);
        assert_eq!(answer.topic, topic, "{}", self.name);
        let whole = json!({ "operationId": answer.operation(), "status": "assigning" });
        assert_eq!(answer.body, whole, "{}", self.name);
    }

    fn assert_assigned(&self, answer: &Delivery, operation: &str) {
        assert_eq!(
            answer.topic,
            format!("$dps/registrations/res/200/?$rid={}", self.rids[1]),
            "{}",
            self.name
        );
        assert_eq!(answer.operation(), operation, "{}", self.name);
        assert_eq!(answer.body["status"], "assigned", "{}", self.name);
        let state = &answer.body["registrationState"];
        for (field, value) in [
            ("registrationId", "dev-001"),
            ("assignedHub", "hub.example"),
            ("deviceId", "dev-001"),
            ("status", "assigned"),
            ("substatus", "initialAssignment"),
        ] {
            assert_eq!(state[field], value, "`{field}` to {}", self.name);
        }
        for field in ["createdDateTimeUtc", "lastUpdatedDateTimeUtc", "etag"] {
            assert!(state[field].as_str().is_some_and(|text| !text.is_empty()), "`{field}`: {state}");
        }
        assert_eq!(state["x509"], json!({}), "{}", self.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_official_client_gets_the_documented_answers() {
    for recorded in CLIENTS {
        let w = world().await;
        let mut client = recorded.dial(&w).await;
        recorded.subscribe(&mut client).await;
        let begun = recorded.register(&mut client).await;
        recorded.assert_begun(&begun);
        let done = recorded.poll(&mut client, begun.operation()).await;
        recorded.assert_assigned(&done, begun.operation());
        if recorded.unsubscribes {
            client.send(&packet(0xa2, &[&[0, 4], &text(FILTER)])).await;
            assert_eq!(client.next().await, (0xb0, vec![0, 4]), "UNSUBACK to {}", recorded.name);
        }
        client.assert_quiet().await;
        client.send(&DISCONNECT).await;
        client.assert_closed(recorded.name).await;
        let ledger = w.server.ledger();
        assert_eq!((ledger.connects, ledger.registers, ledger.polls, ledger.assigned), (1, 1, 1, 1));
    }
}

// An SDK that took a warm answer for granted would break here first.
#[tokio::test(flavor = "multi_thread")]
async fn registering_again_is_a_new_operation_with_the_same_answer() {
    let w = world().await;
    let mut operations = Vec::new();
    for recorded in CLIENTS {
        let mut client = recorded.dial(&w).await;
        recorded.subscribe(&mut client).await;
        let begun = recorded.register(&mut client).await;
        let done = recorded.poll(&mut client, begun.operation()).await;
        recorded.assert_assigned(&done, begun.operation());
        operations.push(begun.operation().to_owned());
    }
    operations.sort();
    operations.dedup();
    assert_eq!(operations.len(), CLIENTS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn python_polls_on_after_a_lost_connection_without_subscribing_again() {
    let w = world().await;
    let mut first = PYTHON.dial(&w).await;
    PYTHON.subscribe(&mut first).await;
    let begun = PYTHON.register(&mut first).await;
    // No DISCONNECT, no goodbye of TLS.
    drop(first);
    let mut second = PYTHON.dial(&w).await;
    let done = PYTHON.poll(&mut second, begun.operation()).await;
    PYTHON.assert_assigned(&done, begun.operation());
    assert_eq!(w.server.ledger().connects, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_session_does_not_hear_what_it_did_not_subscribe_to() {
    let w = world().await;
    for (flags, hears) in [(KEEPS_SESSION, true), (CLEAN, false)] {
        let mut client = w.device(&TLS13, "dev-001").await;
        client.send(&EMBEDDED_C.connect(flags)).await;
        assert_eq!(client.next().await, (0x20, vec![0, 0]));
        client.publish(&format!("{REGISTER}1"), 1, "").await;
        if hears {
            assert_eq!(client.delivery().await.body["status"], "assigning");
        }
        client.assert_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_password_is_as_good_as_none() {
    let w = world().await;
    for flags in [CLEAN | 0x40, KEEPS_SESSION | 0x40] {
        let mut client = w.device(&TLS13, "dev-001").await;
        let head = [&text("MQTT")[..], &[4, flags, 0, 0]].concat();
        client.send(&packet(0x10, &[&head, &text("dev-001"), &text(C.user), &text("")])).await;
        assert_eq!(client.next().await, (0x20, vec![0, 0]), "flags {flags:#x}");
        C.subscribe(&mut client).await;
        C.assert_begun(&C.register(&mut client).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_user_name_may_be_anything_after_the_api_version() {
    let w = world().await;
    for query in [
        "api-version=2019-03-31",
        "api-version=2021-06-01&ClientVersion=1.15.0",
        "api-version=2019-03-31&ClientVersion=2019-03-31",
        "api-version=2025-07-01-preview&ClientVersion=a%2Fb",
        "ClientVersion=x&api-version=2019-03-31&unknown=1&flag",
    ] {
        let mut client = w.device(&TLS13, "dev-001").await;
        let user = format!("0ne00000001/registrations/dev-001/{query}");
        client.send(&connect("MQTT", 4, CLEAN, "dev-001", &user)).await;
        assert_eq!(client.next().await, (0x20, vec![0, 0]), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn register_bodies_of_every_kind_are_taken_or_refused_without_closing() {
    let w = world().await;
    let rows: [(&str, u16, Value); 9] = [
        (r#"{"payload": {"a": 1}, "registrationId": "dev-1"}"#, 202, Value::Null),
        (r#"{"registrationId":"dev-1","payload":{"a":1}}"#, 202, Value::Null),
        (r#"{"registrationId" : "dev-1"}"#, 202, Value::Null),
        (r#"{"payload":{"a":1}}"#, 202, Value::Null),
        (r#"{"registrationId":"DEV-1"}"#, 202, Value::Null),
        ("", 202, Value::Null),
        (r#"{"registrationId":"#, 400, json!(400_012)),
        ("registrationId=dev-1", 400, json!(400_012)),
        (r#"{"registrationId":"dev-2"}"#, 400, json!(400_004)),
    ];
    let mut client = w.connected("dev-1", CLEAN).await;
    client.subscribe(&[(FILTER, 1)]).await;
    for (packet_id, (body, status, code)) in (1..).zip(rows) {
        // The same request id every time, as one client does.
        client.publish(&format!("{REGISTER}1"), packet_id, body).await;
        let answer = client.delivery().await;
        let topic = format!("$dps/registrations/res/{status}/?$rid=1");
        assert!(answer.topic.starts_with(&topic), "{body}: {answer:?}");
        assert_eq!(answer.body["errorCode"], code, "{body}: {answer:?}");
    }
    client.assert_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_found_under_its_name_however_that_is_written_and_by_its_device_alone() {
    let w = world().await;
    let mut client = w.connected("dev-1", KEEPS_SESSION).await;
    client.publish(&format!("{REGISTER}1"), 1, "").await;
    let begun = client.delivery().await;
    let escaped: String = begun.operation().bytes().map(|byte| format!("%{byte:02X}")).collect();
    for (packet_id, (operation, status)) in
        (2..).zip([(escaped.as_str(), 200), (begun.operation(), 200), ("4.0.none", 404), ("", 404)])
    {
        client.publish(&format!("{STATUS}x&operationId={operation}"), packet_id, " ").await;
        let answer = client.delivery().await;
        assert_eq!(answer.topic, format!("$dps/registrations/res/{status}/?$rid=x"), "{operation}");
    }
    let mut stranger = w.connected("dev-2", KEEPS_SESSION).await;
    stranger.publish(&format!("{STATUS}y&operationId={}", begun.operation()), 1, " ").await;
    assert_eq!(stranger.delivery().await.topic, "$dps/registrations/res/404/?$rid=y");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_may_come_in_portions_of_any_size() {
    let w = world().await;
    let register = publish(1, 2, &format!("{REGISTER}1"), BODY);
    let whole = [NODE.connect(0x82), subscribe(1, &[(FILTER, 1)]), register, PINGREQ.to_vec()].concat();
    for size in [1, 2, 3, 7, 64, whole.len()] {
        let mut client = w.device(&TLS13, "dev-001").await;
        for portion in whole.chunks(size) {
            client.send(portion).await;
        }
        assert_eq!(client.next().await, (0x20, vec![0, 0]), "portions of {size}");
        assert_eq!(client.next().await, (0x90, vec![0, 1, 1]), "portions of {size}");
        assert_eq!(client.next().await, (0x40, vec![0, 2]), "portions of {size}");
        assert_eq!(client.delivery().await.body["status"], "assigning", "portions of {size}");
        assert_eq!(client.next().await, PINGRESP, "portions of {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_have_96_kib_and_no_more() {
    let w = world().await;
    let register = r#"{"registrationId":"dev-1"}"#;
    let body = |length: usize| format!("{register}{}", " ".repeat(length - register.len()));
    let mut client = w.connected("dev-1", KEEPS_SESSION).await;
    client.publish(&format!("{REGISTER}1"), 1, &body(96 * 1024)).await;
    assert_eq!(client.delivery().await.body["status"], "assigning");
    client.send(&publish(1, 2, &format!("{REGISTER}2"), &body(96 * 1024 + 1))).await;
    client.assert_closed("one byte more").await;
    assert_eq!(w.server.ledger().registers, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_that_is_none_closes_the_connection_and_is_counted() {
    let w = world().await;
    let again = connect("MQTT", 4, CLEAN, "dev-1", &user("dev-1"));
    let rows: [(&str, &[u8]); 9] = [
        ("a second CONNECT", &again),
        ("packet type 0", &[0x00, 0]),
        ("packet type 15", &[0xf0, 0]),
        ("a CONNACK", &[0x20, 2, 0, 0]),
        ("a PINGRESP", &[0xd0, 0]),
        ("a length of five bytes", &[0x30, 0xff, 0xff, 0xff, 0xff, 1]),
        ("the largest length there is", &[0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("quality 3", &[0x36, 5, 0, 1, b'a', 0, 1]),
        ("a topic longer than its packet", &[0x30, 3, 0xff, 0xff, b'$']),
    ];
    let malformed = rows.len() as u64;
    for (name, bytes) in rows {
        let mut client = w.connected("dev-1", CLEAN).await;
        client.send(bytes).await;
        client.assert_closed(name).await;
    }
    for (name, bytes) in [("SUBSCRIBE", &subscribe(1, &[(FILTER, 1)])[..]), ("PINGREQ", &PINGREQ)] {
        let mut client = w.device(&TLS13, "dev-1").await;
        client.send(bytes).await;
        client.assert_closed(&format!("{name} in place of CONNECT")).await;
    }
    // The end of a connection may be seen here before it is counted there.
    soon(async {
        while w.server.ledger().malformed < malformed + 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    w.connected("dev-1", CLEAN).await.assert_quiet().await;
}
