//! Faults on demand: each does to a device what its name says, and the same seed does the same again.

use crate::roll_up::service_scenario;
use crate::semantics::{admitting, mint, mint_for_runs};
use crate::world::{Mock, Record, World};
use serde_json::{Value, json};

const MQTT: &str = "mqtt";
const WS: &str = "mqtt-ws";
const HTTPS: &str = "https";
const ALL: &[&str] = &[MQTT, WS, HTTPS];
const PACKETS: &[&str] = &[MQTT, WS];
const HUB: &str = "hub-1.azure-devices.net";

/// One device, one attempt, over one transport: its exit status and what it told.
fn attempt(world: &World, mock: &Mock<'_>, transport: &str, more: &str) -> (Option<i32>, Value) {
    let port = if transport == MQTT { mock.mqtts_port() } else { mock.https_port() };
    let told = world.rollcall(&format!(
        "register --host localhost --port {port} --id-scope {} --trust-root {} --cert fleet/dev-00000.chain.pem \
         --key fleet/dev-00000.key.pem --transport {transport} --json {more}",
        mock.id_scope, mock.trust_root
    ));
    assert!(!told.stderr.contains("panicked at"), "{told}");
    (told.code, told.json())
}

/// Puts one rule in force, in place of those before.
#[track_caller]
fn play(mock: &Mock<'_>, rule: &Value) {
    let put = mock.manage("PUT /faults", &json!([rule]).to_string());
    assert!((200..300).contains(&put.status), "{rule}: {put:?}");
}

/// How often the one rule in force has struck.
#[track_caller]
fn applied(mock: &Mock<'_>) -> u64 {
    let rules = mock.manage("GET /faults", "").json();
    let list = rules.as_array().or(rules["faults"].as_array()).unwrap_or_else(|| panic!("no rules: {rules}"));
    assert_eq!(list.len(), 1, "{rules}");
    list[0]["applied"].as_u64().unwrap_or_else(|| panic!("no `applied`: {rules}"))
}

/// A rule, the transports it means something to, flags, and how an attempt then ends: its exit status, the kind of
/// its outcome and the phase, where the outcome has one.
type Case = (Value, &'static [&'static str], &'static str, (i32, &'static str, Option<&'static str>));

/// Plays every case over each of its transports; afterwards, without the rule, the device is assigned again.
fn play_all(cases: &[Case]) {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, "--retry-after 0s", "");
    for (rule, transports, more, (code, kind, phase)) in cases {
        for transport in *transports {
            play(&mock, rule);
            let (ended, told) = attempt(&world, &mock, transport, more);
            let what = format!("{rule} over {transport}: {told}");
            assert_eq!(told["outcome"]["kind"], *kind, "{what}");
            assert_eq!(told["outcome"]["phase"].as_str(), *phase, "{what}");
            assert_eq!(ended, Some(*code), "{what}");
            assert!(applied(&mock) >= 1, "{what}");
        }
        let lifted = mock.manage("DELETE /faults", "");
        assert!((200..300).contains(&lifted.status), "{lifted:?}");
        let (ended, told) = attempt(&world, &mock, MQTT, "");
        assert_eq!(ended, Some(0), "after {rule}: {told}");
    }
}

#[test]
fn throttles_and_server_errors_that_outlast_an_attempt_are_told_apart() {
    play_all(&[
        (
            json!({ "id": "throttle", "at": ["register"], "retry_after": "300s" }),
            ALL,
            "",
            (3, "throttled", None),
        ),
        (json!({ "id": "throttle", "at": ["poll"], "retry_after": "300s" }), ALL, "", (3, "throttled", None)),
        (
            json!({ "id": "server-error", "at": ["register"], "retry_after": "300s" }),
            ALL,
            "",
            (3, "failed", None),
        ),
    ]);
}

#[test]
fn connections_that_end_are_told_with_their_phase() {
    let lost = |phase| (4, "unreachable", Some(phase));
    play_all(&[
        (json!({ "id": "drop", "at": ["register"] }), ALL, "", lost("register")),
        (json!({ "id": "drop", "at": ["poll"] }), ALL, "", lost("poll")),
        (json!({ "id": "drop", "at": ["poll-answer"] }), ALL, "", lost("poll")),
        (json!({ "id": "drop", "at": ["connect"] }), PACKETS, "", lost("connect")),
        (json!({ "id": "drop", "at": ["subscribe"] }), PACKETS, "", lost("subscribe")),
        (json!({ "id": "drop", "at": ["tls"] }), ALL, "", lost("tls")),
        (
            json!({ "id": "half-open", "at": ["register"] }),
            ALL,
            "--timeout 5s",
            (4, "timed-out", Some("register")),
        ),
        (json!({ "id": "refuse-connect", "return_code": 3 }), PACKETS, "", (3, "refused", Some("connect"))),
    ]);
}

#[test]
fn answers_that_make_no_sense_break_the_protocol_and_odd_ones_do_not() {
    let assigned = (0, "assigned", None);
    play_all(&[
        (
            json!({ "id": "malformed-body", "at": ["register"] }),
            ALL,
            "",
            (1, "protocol-error", Some("register")),
        ),
        (json!({ "id": "duplicate-answer", "at": ["register"] }), PACKETS, "", assigned),
        (json!({ "id": "reordered-answer", "at": ["register"] }), PACKETS, "", assigned),
        (json!({ "id": "lost-puback", "at": ["register"] }), PACKETS, "", assigned),
    ]);
}

#[test]
fn a_server_certificate_that_is_wrong_ends_the_handshake() {
    let untrusted = (4, "unreachable", Some("tls"));
    play_all(&[
        (json!({ "id": "server-certificate-expired" }), ALL, "", untrusted),
        (json!({ "id": "server-certificate-wrong-name" }), ALL, "", untrusted),
    ]);
}

#[test]
fn a_wrong_hub_is_one_that_is_not_linked() {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, &format!("--retry-after 0s --hub {HUB}"), "");
    for transport in ALL {
        play(&mock, &json!({ "id": "wrong-hub" }));
        let (ended, told) = attempt(&world, &mock, transport, "");
        let hub = told["outcome"]["assigned_hub"].as_str();
        assert_eq!(ended, Some(0), "{told}");
        assert!(hub.is_some_and(|hub| !hub.is_empty() && hub != HUB), "{transport}: {told}");
    }
    let recorded = mock.operate("registration show dev-00000 --json").exits(0).stdout;
    assert!(recorded.contains(HUB), "the service's own record is right: {recorded}");
}

#[test]
fn delays_show_in_the_phase_they_are_for() {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, "--retry-after 0s", "");
    for (rule, phase) in [
        (json!({ "id": "latency", "at": ["register"], "delay": "400ms" }), "register"),
        (json!({ "id": "latency", "at": ["poll"], "delay": "uniform 400ms..500ms" }), "poll"),
        (json!({ "id": "slow-tls", "delay": "400ms" }), "tls"),
        (json!({ "id": "stall", "at": ["register"], "lasting": "3s" }), "register"),
    ] {
        for transport in ALL {
            play(&mock, &rule);
            let (ended, told) = attempt(&world, &mock, transport, "");
            assert_eq!(ended, Some(0), "{rule} over {transport}: {told}");
            let phases = told["phases"].as_array().expect("phases");
            let took = phases.iter().find(|p| p["phase"] == phase).and_then(|p| p["us"].as_u64());
            assert!(took >= Some(400_000), "{rule} over {transport}: {told}");
            assert!(applied(&mock) >= 1, "{rule} over {transport}");
        }
    }
}

#[test]
fn a_rule_strikes_the_devices_it_names_and_a_rule_that_makes_no_sense_is_refused() {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, "--retry-after 0s", "");
    let mut rule = json!({ "id": "drop", "at": ["register"], "devices": "pump-*" });
    play(&mock, &rule);
    assert_eq!(attempt(&world, &mock, MQTT, "").0, Some(0));
    assert_eq!(applied(&mock), 0);
    rule["devices"] = json!("dev-*");
    play(&mock, &rule);
    assert_eq!(attempt(&world, &mock, MQTT, "").0, Some(4));
    for nonsense in [
        json!([{ "id": "no-such-fault" }]),
        json!([{ "id": "drop", "share": 1.5 }]),
        json!([{ "id": "drop", "at": ["no-such-phase"] }]),
        json!([{ "id": "drop", "from": "2s", "until": "1s" }]),
        json!([{ "share": 0.5 }]),
        json!([{ "id": "drop", "at": ["tls"], "devices": "dev-*" }]),
        json!([{ "id": "refuse-connect" }]),
        json!("drop"),
    ] {
        let refused = mock.manage("PUT /faults", &nonsense.to_string());
        assert_eq!(refused.status, 400, "{nonsense}: {refused:?}");
    }
    assert_eq!(attempt(&world, &mock, MQTT, "").0, Some(4), "the rule from before is still in force");
}

/// What became of a fleet of 300, without what depends on the moment.
fn outcomes(more: &str) -> (Option<i32>, Value, Vec<String>) {
    let world = World::new();
    let scenario = format!(
        r#"name = "faults"
seed = 11

[fleet]
devices = 300
registration_id = "dev-{{index:03}}"

[fleet.authority.minted]
intermediates = 1

{more}

[load.closed]
in_flight = 30
"#
    );
    world.write("faults.toml", scenario);
    let run = world.rollcall("run faults.toml --out out");
    let record: Value =
        serde_json::from_str(&world.read("out/run.json")).unwrap_or_else(|e| panic!("{e}: {run}"));
    // The sample of a reason is whoever came first, which is a matter of scheduling.
    let told = |r: &Value| {
        [&r["outcome"], &r["phase"], &r["code"], &r["message"], &r["count"]].map(Value::to_string)
    };
    let mut reasons: Vec<String> =
        record["reasons"].as_array().into_iter().flatten().map(|r| told(r).join(" ")).collect();
    reasons.sort();
    (run.code, record["outcomes"].clone(), reasons)
}

#[test]
fn the_same_scenario_and_seed_give_the_same_faults_twice() {
    let rules = r#"[target.mock]
retry_after = "0s"

[[target.mock.fault]]
id = "throttle"
at = ["register"]
share = 0.1
retry_after = "0s"

[[target.mock.fault]]
id = "drop"
at = ["poll"]
share = 0.2

[[target.mock.fault]]
id = "malformed-body"
at = ["register"]
share = 0.1
devices = "dev-1*"
"#;
    for target in [rules, "[target.mock]\nretry_after = \"0s\"\nprofile = \"chaos\"\n"] {
        let once = outcomes(target);
        assert_eq!(outcomes(target), once, "{target}");
        let assigned = once.1["assigned"].as_u64().unwrap_or(0);
        assert!((1..300).contains(&assigned), "some devices are struck and some are not: {once:?}");
    }
}

const RULES: &str = r#"[
    {"id": "throttle", "at": ["register"], "share": 0.3, "retry_after": "0s"},
    {"id": "server-error", "at": ["poll"], "share": 0.2, "retry_after": "0s"},
    {"id": "drop", "at": ["connect"], "share": 0.1},
    {"id": "malformed-body", "at": ["register"], "share": 0.2},
    {"id": "wrong-hub", "share": 0.2}
]"#;

/// What the mock did to each of forty devices, request by request.
fn done_to_forty(seed: u32) -> Vec<Value> {
    let world = World::new();
    mint_for_runs(&world);
    world.write("rules.json", RULES);
    let mock = admitting(&world, &format!("--seed {seed} --faults rules.json --retry-after 0s"), "");
    world.write("forty.toml", service_scenario(&mock, 40, "[load.closed]\nin_flight = 10\n"));
    let run = world.rollcall("run forty.toml --out out");
    assert_eq!(Record::read(&world, "out").planned(), 40, "{run}");
    (0..40).map(|index| done_to(&mock, &format!("unit-{index:05}"))).collect()
}

fn done_to(mock: &Mock<'_>, id: &str) -> Value {
    let trace = mock.manage(&format!("GET /trace/{id}"), "").json();
    let events = trace["events"].as_array().unwrap_or_else(|| panic!("no events: {trace}"));
    assert!(!events.is_empty(), "{trace}");
    events.iter().map(|event| json!([event["request"], event["status"], event["faults"]])).collect()
}

#[test]
fn the_same_seed_does_the_same_to_every_device_and_another_seed_does_not() {
    let once = done_to_forty(5);
    assert_eq!(done_to_forty(5), once);
    assert_ne!(done_to_forty(6), once);
    let struck = once.iter().filter(|events| events.to_string().contains("throttle")).count();
    assert!((1..40).contains(&struck), "{struck} of 40 were throttled");
}
