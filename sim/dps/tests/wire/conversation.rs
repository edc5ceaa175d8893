//! The rules of the conversation: return codes, qualities, filters, what closes a connection, the handshake.

use crate::client::{
    CLEAN, DISCONNECT, FILTER, KEEPS_SESSION, PINGREQ, PINGRESP, REGISTER, STATUS, connect, packet, publish,
    text, user,
};
use crate::world::{VERSIONS, now, soon, world};
use rustls::ProtocolVersion;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use serde_json::json;
use sim_identity::{KeyAlgorithm, PrivateKey, Seed};
use sim_protocol::RegistrationId;
use tokio::io::AsyncReadExt as _;

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
        client.acknowledge(&begun).await;

        let operation = begun.operation();
        client.publish(&format!("{STATUS}8&operationId={operation}"), 2, " ").await;
        let done = client.delivery().await;
        assert_eq!((done.qos, done.topic.as_str()), (1, "$dps/registrations/res/200/?$rid=8"));
        assert_eq!(
            (&done.body["status"], &done.body["operationId"]),
            (&json!("assigned"), &json!(operation))
        );
        let state = &done.body["registrationState"];
        assert_eq!((&state["assignedHub"], &state["deviceId"]), (&json!("hub.example"), &json!(id)));
        client.acknowledge(&done).await;

        // The goodbye is the device's.
        client.assert_quiet().await;
        client.send(&DISCONNECT).await;
        client.assert_closed("after DISCONNECT").await;
    }
    assert_eq!(w.server.ledger().assigned, 2);
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
    assert_eq!(w.server.ledger().registers, 2);
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
    assert_eq!(w.server.ledger().registers, 0);
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
                soon(client.stream.read_u8()).await.expect_err("a byte after a failed handshake")
            }
        };
        let fault = fault.get_ref().and_then(|f| f.downcast_ref::<rustls::Error>());
        assert!(matches!(fault, Some(rustls::Error::AlertReceived(_))), "{:?}: {fault:?}", version.version);
    }
    assert_eq!(w.server.ledger().connects, 0);
}
