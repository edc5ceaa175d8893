//! What the official clients do differently, in bytes, against what was observed of them on loopback.

use crate::peer::{
    DISCONNECT, FILTER, ID, Line, OPERATION, Peer, REGISTER, STATUS, assigned, assigning, device, error, soon,
};
use sim_device::{Attempt, Flavour, Habits, Outcome, Phase, Transport, attempt};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

/// What a client is known by.
struct Row {
    flavour: Flavour,
    /// Flags and keep alive of CONNECT (section 3.1.2).
    connect: [u8; 3],
    user: &'static str,
    /// The first byte of both publishes.
    publish: u8,
    register: &'static str,
    status: &'static str,
    /// `$rid` of both requests, where it is not random.
    rids: Option<[&'static str; 2]>,
    /// Least and most seconds before the first poll, the service having asked for 0.
    waits: (u64, u64),
}

const PYTHON: &str = "azure-iot-device-provisioning-py%2F2.14.0%283.11.7%3BLinux%20";

const ROWS: [Row; 5] = [
    Row {
        flavour: Flavour::Rollcall,
        connect: [0x82, 0, 0],
        user: "api-version=2019-03-31&ClientVersion=rollcall%2F",
        publish: 0x32,
        register: r#"{"registrationId":"dev-001"}"#,
        status: " ",
        rids: Some(["1", "2"]),
        waits: (0, 0),
    },
    Row {
        flavour: Flavour::Python,
        connect: [0x80, 0, 60],
        user: PYTHON,
        publish: 0x32,
        register: r#"{"payload": null, "registrationId": "dev-001"}"#,
        status: " ",
        rids: None,
        waits: (2, 2),
    },
    Row {
        flavour: Flavour::C,
        connect: [0x82, 0, 0],
        user: "api-version=2021-06-01&ClientVersion=1.15.0",
        publish: 0x30,
        register: r#"{"registrationId":"dev-001"}"#,
        status: r#"{"registrationId":"dev-001"}"#,
        rids: Some(["1", "2"]),
        waits: (1, 1),
    },
    Row {
        flavour: Flavour::CSharp,
        connect: [0x82, 0, 0],
        user: "api-version=2019-03-31&ClientVersion=",
        publish: 0x32,
        register: "",
        status: "",
        rids: Some(["2", "3"]),
        waits: (2, 2),
    },
    Row {
        flavour: Flavour::Node,
        connect: [0x82, 0, 180],
        user: "api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.1",
        publish: 0x32,
        register: r#"{"registrationId":"dev-001"}"#,
        status: " ",
        rids: None,
        waits: (0, 0),
    },
];

impl Row {
    fn habits(&self) -> Habits {
        Habits { flavour: self.flavour, ..Habits::default() }
    }

    fn check_connect(&self, connect: &[u8]) {
        let flavour = self.flavour;
        assert_eq!(&connect[..7], b"\0\x04MQTT\x04", "{flavour:?}");
        assert_eq!(connect[7..10], self.connect, "{flavour:?}");
        let (id, user) = connect[12..].split_at(ID.len());
        assert_eq!(id, ID.as_bytes());
        let user = std::str::from_utf8(&user[2..])
            .expect("text: the user name is the last field, there is no password");
        let start = format!("0ne00000001/registrations/{ID}/api-version=20");
        assert!(user.starts_with(&start) && user.contains(self.user), "{flavour:?}: {user}");
    }

    fn check_rids(&self, rids: [&str; 2]) {
        match self.rids {
            Some(expected) => assert_eq!(rids, expected, "{:?}", self.flavour),
            None => {
                assert_ne!(rids[0], rids[1], "a new one each time");
                assert!(rids.iter().all(|rid| rid.len() == 36 && rid.as_bytes()[14] == b'4'), "{rids:?}");
            }
        }
    }

    /// A whole registration with one poll, from the service's side.
    async fn converse(&self, peer: &Peer) {
        let flavour = self.flavour;
        let mut line = peer.accept().await;
        self.check_connect(&line.take_connect(0).await);
        line.take_subscribe().await;
        let register = line.request().await;
        assert_eq!(register.first, self.publish, "{flavour:?}");
        assert!(register.topic.starts_with(REGISTER) && register.payload == self.register, "{register:?}");
        let answered = line.answer(&register, 202, Some(0), &assigning()).await;
        line.acknowledged(answered).await;
        let poll = line.request().await;
        assert_eq!(poll.first, self.publish, "{flavour:?}");
        let topic = format!("{STATUS}{}&operationId={OPERATION}", poll.rid());
        assert_eq!((&poll.topic, poll.payload.as_str()), (&topic, self.status));
        self.check_rids([register.rid(), poll.rid()]);
        if flavour == Flavour::CSharp {
            assert_eq!(poll.rid(), poll.packet_id.to_string(), "its packet id");
        }
        let answered = line.answer(&poll, 200, None, &assigned()).await;
        line.acknowledged(answered).await;
        if flavour == Flavour::Node {
            let (first, rest) = line.next().await.expect("UNSUBSCRIBE");
            assert_eq!((first, &rest[4..]), (0xa2, FILTER.as_bytes()));
            line.send(&[0xb0, 2, rest[0], rest[1]]).await;
        }
        assert_eq!(line.next().await, Some(DISCONNECT), "{flavour:?}");
        assert_eq!(line.next().await, None, "closed");
    }

    async fn registers(self) -> Attempt {
        let peer = Peer::listen().await;
        let target = peer.target(self.habits());
        let device = device();
        let (made, ()) = tokio::join!(attempt(&target, &device), self.converse(&peer));
        assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}: {:?}", self.flavour, made.outcome);
        let waited = made.phases.of(Phase::Wait).unwrap_or_default();
        let (least, most) = self.waits;
        let most = Duration::from_secs(most) + Duration::from_millis(900);
        assert!((Duration::from_secs(least)..most).contains(&waited), "{:?} waited {waited:?}", self.flavour);
        made
    }
}

#[tokio::test]
async fn each_client_speaks_as_it_was_observed_to() {
    let mut all = tokio::task::JoinSet::new();
    for row in ROWS {
        all.spawn(row.registers());
    }
    while let Some(made) = all.join_next().await {
        let made = made.expect("a conversation as observed");
        assert_eq!(made.phases.polls().count(), 1);
        assert_eq!(made.retries.total(), 0);
    }
}

#[tokio::test]
async fn the_client_for_python_says_nothing_after_a_failure_and_the_others_say_goodbye() {
    for row in ROWS {
        let flavour = row.flavour;
        let peer = Peer::listen().await;
        let target = peer.target(row.habits());
        let service = async {
            let mut line = peer.greet().await;
            let (_, answered) = line.answer_next(401, None, &error(401_002)).await;
            line.acknowledged(answered).await;
            let (first, rest) = match line.next().await {
                Some(packet) => packet,
                None => return assert_eq!(flavour, Flavour::Python),
            };
            assert_ne!(flavour, Flavour::Python);
            if flavour == Flavour::Node {
                assert_eq!(first, 0xa2, "UNSUBSCRIBE");
                line.send(&[0xb0, 2, rest[0], rest[1]]).await;
                assert_eq!(line.next().await, Some(DISCONNECT));
            } else {
                assert_eq!((first, rest), DISCONNECT, "{flavour:?}");
            }
        };
        let device = device();
        let (made, ()) = tokio::join!(attempt(&target, &device), service);
        assert!(matches!(made.outcome, Outcome::Refused(refused) if refused.code == Some(401_002)));
    }
}

/// One HTTP request: its head, and its body.
async fn read_request(reader: &mut (impl AsyncBufRead + Unpin)) -> (String, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(soon(reader.read_line(&mut head)).await.expect("a line"), 0, "closed within a head");
    }
    let length = header(&head, "content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    soon(reader.read_exact(&mut body)).await.expect("a body");
    (head, String::from_utf8(body).expect("text"))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn over_https_the_client_for_node_asks_with_a_body_and_names_its_requests() {
    let peer = Peer::listen().await;
    let mut target = peer.target(Habits { flavour: Flavour::Python, ..Habits::default() });
    target.transport = Transport::Https;
    let service = async {
        let mut tls = BufReader::new(peer.accept().await.tls);
        let (head, body) = read_request(&mut tls).await;
        assert!(head.starts_with(
            "PUT /0ne00000001/registrations/dev-001/register?api-version=2019-03-31 HTTP/1.1\r\n"
        ));
        assert_eq!(body, r#"{"registrationId":"dev-001"}"#);
        assert_eq!(header(&head, "content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(header(&head, "user-agent"), Some("azure-iot-provisioning-device/1.9.1"));
        assert_eq!(header(&head, "authorization"), None);
        let first = header(&head, "request-id").expect("a request id").to_owned();
        Line::send_to(tls.get_mut(), &answer("202 Accepted", "Retry-After: 0\r\n", &assigning())).await;
        let (head, body) = read_request(&mut tls).await;
        let path =
            format!("GET /0ne00000001/registrations/dev-001/operations/{OPERATION}?api-version=2019-03-31 ");
        assert!(head.starts_with(&path), "{head}");
        assert_eq!(body, "{}");
        assert_ne!(header(&head, "request-id"), Some(first.as_str()));
        Line::send_to(tls.get_mut(), &answer("200 OK", "", &assigned())).await;
    };
    let device = device();
    let (made, ()) = tokio::join!(attempt(&target, &device), service);
    assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}", made.outcome);
}

#[tokio::test]
async fn over_https_a_throttle_ends_the_registration_of_an_official_client() {
    let peer = Peer::listen().await;
    let mut target = peer.target(Habits { flavour: Flavour::C, ..Habits::default() });
    target.transport = Transport::Https;
    let service = async {
        let mut tls = BufReader::new(peer.accept().await.tls);
        read_request(&mut tls).await;
        let throttled = answer("429 Too Many Requests", "Retry-After: 0\r\n", &error(429_001));
        Line::send_to(tls.get_mut(), &throttled).await;
    };
    let device = device();
    let (made, ()) = tokio::join!(attempt(&target, &device), service);
    assert_eq!((made.outcome, made.retries.total()), (Outcome::Throttled, 0));
}

#[tokio::test]
async fn each_client_upgrades_to_its_own_websocket() {
    for (flavour, path, subprotocol, origin) in [
        (Flavour::Rollcall, "/$iothub/websocket", "mqtt", false),
        (Flavour::Python, "/$iothub/websocket", "mqtt", true),
        (Flavour::C, "/$iothub/websocket", "MQTT", false),
        (Flavour::CSharp, "/", "mqtt", false),
        (Flavour::Node, "/$iothub/websocket", "mqtt", false),
    ] {
        let peer = Peer::listen().await;
        let mut target = peer.target(Habits { flavour, ..Habits::default() });
        target.transport = Transport::MqttWs;
        let service = async {
            let mut tls = BufReader::new(peer.accept().await.tls);
            let (head, _) = read_request(&mut tls).await;
            assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{flavour:?}: {head}");
            assert_eq!(header(&head, "sec-websocket-protocol"), Some(subprotocol));
            let from = format!("https://{}", peer.address());
            assert_eq!(header(&head, "origin"), origin.then_some(from.as_str()));
            Line::send_to(tls.get_mut(), &answer("403 Forbidden", "", "")).await;
        };
        let device = device();
        let (made, ()) = tokio::join!(attempt(&target, &device), service);
        assert!(matches!(made.outcome, Outcome::Refused(refused) if refused.phase == Phase::Upgrade));
    }
}
