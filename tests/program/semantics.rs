//! What decides about a device: which entry is nearest, where it is sent, what a second registration does.

use crate::refusals::leaf_of;
use crate::roll_up::service_scenario;
use crate::world::{Finished, Mock, World, find};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};

/// Devices do not wait before they poll.
const AT_ONCE: &str = "--retry-after 0s";
const TWO_HUBS: &str = "--retry-after 0s --hub hub-a.azure-devices.net --hub hub-b.azure-devices.net";
const HUB_A: &str = "hub-a.azure-devices.net";
const HUB_B: &str = "hub-b.azure-devices.net";

/// A root, an intermediate below it, and a fleet `dev-00000` and so on below that.
pub(crate) fn mint(world: &World, devices: u32) {
    world.rollcall("mint ca --out ca --depth 1 --key p256").exits(0);
    mint_fleet(world, devices, 7, "fleet");
}

fn mint_fleet(world: &World, devices: u32, seed: u32, out: &str) {
    world
        .rollcall(&format!(
            "mint fleet --ca-cert ca/intermediate-1.pem --ca-key ca/intermediate-1.key.pem --count {devices} \
             --registration-id dev-{{index:05}} --seed {seed} --out {out}"
        ))
        .exits(0);
}

/// The same authority, and its issuing CA under the names that scenarios of the tests have for it.
pub(crate) fn mint_for_runs(world: &World) {
    mint(world, 1);
    for (name, file) in [("int.pem", "ca/intermediate-1.pem"), ("int.key", "ca/intermediate-1.key.pem")] {
        fs::copy(world.path(file), world.path(name)).expect("a copy");
    }
}

/// A mock that trusts the minted root and has the group `line-1`, made with these flags, on the intermediate.
pub(crate) fn admitting<'w>(world: &'w World, flags: &str, group: &str) -> Mock<'w> {
    let mock = Mock::start_with(world, flags);
    mock.prove("root", "ca/root.pem", "ca/root.key.pem");
    mock.operate(&format!("group create line-1 --signing-cert ca/intermediate-1.pem {group}")).exits(0);
    mock
}

/// Registers device `index` of the fleet in `folder`.
fn register_from(mock: &Mock<'_>, folder: &str, index: u32) -> Finished {
    let file = format!("{folder}/dev-{index:05}");
    mock.register(&format!("{file}.chain.pem"), &format!("{file}.key.pem"), "")
}

pub(crate) fn register(mock: &Mock<'_>, index: u32) -> Finished {
    register_from(mock, "fleet", index)
}

/// The hub that device `index` is assigned to.
#[track_caller]
fn hub_of(mock: &Mock<'_>, index: u32) -> String {
    let told = register(mock, index).exits(0).json();
    told["outcome"]["assigned_hub"].as_str().unwrap_or_else(|| panic!("no hub: {told}")).to_owned()
}

/// A value of the service's record of `dev-00000`.
#[track_caller]
fn recorded(mock: &Mock<'_>, key: &str) -> Value {
    let shown = mock.operate("registration show dev-00000 --json").exits(0).json();
    find(&shown, key).unwrap_or_else(|| panic!("no `{key}` in {shown}")).clone()
}

/// An individual enrollment for `dev-00000`, on its leaf in `folder`.
fn enroll(world: &World, mock: &Mock<'_>, folder: &str, more: &str) {
    world.write("leaf.pem", leaf_of(&world.read(format!("{folder}/dev-00000.chain.pem"))));
    mock.operate(&format!("enrollment create dev-00000 --client-cert leaf.pem {more}")).exits(0);
}

#[test]
fn a_disabled_individual_enrollment_blocks_one_device_of_an_enabled_group() {
    let world = World::new();
    mint(&world, 2);
    let mock = admitting(&world, AT_ONCE, "");
    register(&mock, 0).exits(0);
    enroll(&world, &mock, "fleet", "--disabled");
    register(&mock, 0).exits(3);
    register(&mock, 1).exits(0);
    mock.operate("enrollment update dev-00000 --enable").exits(0);
    register(&mock, 0).exits(0);
    mock.operate("enrollment update dev-00000 --disable").exits(0);
    register(&mock, 0).exits(3);
    mock.operate("enrollment delete dev-00000 --yes").exits(0);
    register(&mock, 0).exits(0);
}

#[test]
fn an_enabled_individual_enrollment_admits_one_device_of_a_disabled_group() {
    let world = World::new();
    mint(&world, 2);
    let mock = admitting(&world, AT_ONCE, "");
    mock.operate("group update line-1 --disable").exits(0);
    enroll(&world, &mock, "fleet", "--device-id pump-7");
    let told = register(&mock, 0).exits(0).json();
    assert_eq!(told["outcome"]["device_id"], "pump-7", "{told}");
    register(&mock, 1).exits(3);
}

#[test]
fn an_individual_enrollment_on_another_certificate_refuses_the_device_of_its_name() {
    let world = World::new();
    mint(&world, 1);
    mint_fleet(&world, 1, 8, "other");
    let mock = admitting(&world, AT_ONCE, "");
    enroll(&world, &mock, "other", "");
    let refused = register(&mock, 0).exits(3).json();
    assert_eq!(refused["outcome"]["code"], 401_002, "{refused}");
    register_from(&mock, "other", 0).exits(0);
}

#[test]
fn a_disabled_group_hides_the_group_above_it_and_a_deleted_one_does_not() {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, AT_ONCE, "");
    mock.operate("group create plant --ca-reference root").exits(0);
    mock.operate("group update line-1 --disable").exits(0);
    register(&mock, 0).exits(3);
    mock.operate("group delete line-1 --yes").exits(0);
    register(&mock, 0).exits(0);
    let listed = mock.operate("registration list --group plant --json").exits(0).stdout;
    assert!(listed.contains("dev-00000"), "{listed}");
}

#[test]
fn a_registration_that_was_deleted_starts_afresh() {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, TWO_HUBS, &format!("--iot-hub {HUB_A}"));
    register(&mock, 0).exits(0);
    mock.operate(&format!("group update line-1 --iot-hub {HUB_B}")).exits(0);
    let created = recorded(&mock, "createdDateTimeUtc");
    register(&mock, 0).exits(0);
    assert_eq!(recorded(&mock, "substatus"), "deviceDataMigrated");
    assert_eq!(recorded(&mock, "createdDateTimeUtc"), created);

    mock.operate("registration delete dev-00000 --yes").exits(0);
    register(&mock, 0).exits(0);
    assert_eq!(recorded(&mock, "substatus"), "initialAssignment");
    assert_ne!(recorded(&mock, "createdDateTimeUtc"), created);
}

#[test]
fn the_reprovision_policy_decides_what_another_hub_means() {
    for (policy, hub, substatus) in [
        ("", HUB_B, Some("deviceDataMigrated")),
        ("--reprovision migrate", HUB_B, Some("deviceDataMigrated")),
        ("--reprovision reset", HUB_B, Some("deviceDataReset")),
        ("--reprovision never", HUB_A, None),
    ] {
        let world = World::new();
        mint(&world, 1);
        let mock = admitting(&world, TWO_HUBS, &format!("--iot-hub {HUB_A} {policy}"));
        assert_eq!(hub_of(&mock, 0), HUB_A, "{policy}");
        assert_eq!(recorded(&mock, "substatus"), "initialAssignment", "{policy}");
        mock.operate(&format!("group update line-1 --iot-hub {HUB_B}")).exits(0);
        assert_eq!(hub_of(&mock, 0), hub, "{policy}");
        assert_eq!(recorded(&mock, "assignedHub"), hub, "{policy}");
        if let Some(substatus) = substatus {
            assert_eq!(recorded(&mock, "substatus"), substatus, "{policy}");
        }
    }
}

/// Runs a fleet of 200 and says how many devices each hub got.
fn spread(flags: &str, group: &str) -> Value {
    let world = World::new();
    mint_for_runs(&world);
    let mock = admitting(&world, &format!("{AT_ONCE} {flags}"), group);
    world.write("spread.toml", service_scenario(&mock, 200, "[load.closed]\nin_flight = 20\n"));
    let run = world.rollcall("run spread.toml --out out").exits(0);
    let record: Value = serde_json::from_str(&world.read("out/run.json")).expect("a record");
    let ways = record["roll_up"].as_array().unwrap_or_else(|| panic!("no `roll_up`: {run}"));
    ways.iter()
        .map(|way| (way["hub"].as_str().unwrap_or_default().to_owned(), way["actual"].clone()))
        .collect()
}

#[test]
fn hashed_allocation_spreads_devices_by_weight() {
    let hubs = spread(&format!("--hub {HUB_A},weight=9 --hub {HUB_B},weight=1"), "");
    let [a, b] = [HUB_A, HUB_B].map(|hub| hubs[hub].as_u64().unwrap_or(0));
    assert_eq!(a + b, 200, "{hubs}");
    // A tenth is 20, give or take 4.
    assert!((4..=50).contains(&b), "{hubs}");
}

#[test]
fn a_hub_that_takes_no_part_in_allocation_gets_no_device() {
    assert_eq!(spread(&format!("--hub {HUB_A},apply=false --hub {HUB_B}"), ""), json!({ HUB_B: 200 }));
}

#[test]
fn latency_and_the_static_policy_choose_one_hub_for_all() {
    let latencies = format!("--hub {HUB_A},latency=80ms --hub {HUB_B},latency=5ms");
    let all_on = |hub: &str| json!({ hub: 200 });
    assert_eq!(spread(&format!("{latencies} --allocation-policy geo-latency"), ""), all_on(HUB_B));
    assert_eq!(spread(&latencies, "--allocation geo-latency"), all_on(HUB_B));
    let to_a = format!("--allocation static --iot-hub {HUB_A}");
    assert_eq!(spread(&format!("{latencies} --allocation-policy geo-latency"), &to_a), all_on(HUB_A));
}

/// How a webhook of a test answers.
enum Hook {
    /// With this status and document.
    Says(u16, Value),
    /// Never.
    Hangs,
}

/// A webhook on loopback, answering every call alike.
struct Webhook {
    flags: String,
    seen: Receiver<Value>,
}

impl Webhook {
    fn start(hook: Hook) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (note, seen) = mpsc::channel();
        std::thread::spawn(move || {
            // What hangs is kept open for as long as the test runs.
            let mut kept = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                let (request, stream) = request_of(stream);
                if note.send(request).is_err() {
                    return;
                }
                kept.extend(answered(stream, &hook));
            }
        });
        Webhook { flags: format!("--allocation custom --webhook {url}"), seen }
    }
}

/// The JSON body of the one request on a connection.
fn request_of(stream: TcpStream) -> (Value, TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (serde_json::from_slice(&body).expect("JSON"), reader.into_inner())
}

/// Answers, and hands the connection back where that means not to answer.
fn answered(mut stream: TcpStream, hook: &Hook) -> Option<TcpStream> {
    let Hook::Says(status, document) = hook else { return Some(stream) };
    let body = document.to_string();
    let head = format!("HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    None
}

/// Every answer that the mock gave to one device over HTTPS.
fn provision(test: &str, world: &World, mock: &Mock<'_>, id: &str, more: &[&str]) -> Option<Vec<Value>> {
    let mut command = world.script(test, "provision_https.py")?;
    command.args(["--port", &mock.https_port().to_string(), "--id-scope", &mock.id_scope]);
    command.args(["--trust-root", mock.trust_root, "--registration-id", id]).args(more);
    match world.finish(command).exits(0).json() {
        Value::Array(answers) => Some(answers),
        other => panic!("no list of answers: {other}"),
    }
}

const CERTIFIED: [&str; 4] = ["--cert", "fleet/dev-00000.chain.pem", "--key", "fleet/dev-00000.key.pem"];

#[test]
fn a_webhook_decides_the_hub_and_its_payload_reaches_the_device() {
    const TEST: &str = "a_webhook_decides_the_hub_and_its_payload_reaches_the_device";
    for hub in [HUB_A, HUB_B] {
        let world = World::new();
        mint(&world, 1);
        let answer = json!({ "iotHubHostName": hub, "payload": { "line": 7 } });
        let webhook = Webhook::start(Hook::Says(200, answer));
        let mock = admitting(&world, TWO_HUBS, &webhook.flags);
        let more = [CERTIFIED.as_slice(), &["--payload", r#"{"model":"pump"}"#]].concat();
        let Some(answers) = provision(TEST, &world, &mock, "dev-00000", &more) else { return };
        let state = &answers.last().expect("an answer")["body"]["registrationState"];
        assert_eq!(state["assignedHub"], hub, "{answers:?}");
        assert_eq!(state["payload"], json!({ "line": 7 }), "{answers:?}");

        let asked = webhook.seen.recv().expect("a call");
        assert_eq!(asked["enrollmentGroup"]["enrollmentGroupId"], "line-1", "{asked}");
        let context = &asked["deviceRuntimeContext"];
        assert_eq!(context["registrationId"], "dev-00000", "{asked}");
        assert_eq!(context["payload"], json!({ "model": "pump" }), "{asked}");
        let mut offered: Vec<&str> =
            asked["linkedHubs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        offered.sort_unstable();
        assert_eq!(offered, [HUB_A, HUB_B], "{asked}");
    }
}

#[test]
fn a_webhook_that_does_not_decide_fails_the_registration() {
    let unlinked = json!({ "iotHubHostName": "hub-z.azure-devices.net" });
    for (what, hook) in [
        ("an error", Hook::Says(500, json!({ "iotHubHostName": HUB_A }))),
        ("no hub", Hook::Says(200, json!({}))),
        ("a hub that is not linked", Hook::Says(200, unlinked)),
        ("nothing", Hook::Hangs),
    ] {
        let world = World::new();
        mint(&world, 1);
        let webhook = Webhook::start(hook);
        let flags = format!("--retry-after 1s --webhook-timeout 1s --hub {HUB_A} --hub {HUB_B}");
        let mock = admitting(&world, &flags, &webhook.flags);
        let told = register(&mock, 0).exits(3).json();
        assert_eq!(told["outcome"]["kind"], "failed", "{what}: {told}");
        assert_eq!(told["outcome"]["code"], 400_207, "{what}: {told}");
        assert!(webhook.seen.try_recv().is_ok(), "{what}: the webhook was not asked");
        let shown = mock.operate("registration show dev-00000 --json").exits(0).json();
        assert_eq!(find(&shown, "status"), Some(&json!("failed")), "{what}: {shown}");
    }
}

#[test]
fn a_device_of_a_symmetric_key_group_attests_with_its_derived_key_alone() {
    const TEST: &str = "a_device_of_a_symmetric_key_group_attests_with_its_derived_key_alone";
    let world = World::new();
    let mock = Mock::start_with(&world, AT_ONCE);
    mock.operate("group create sensors --symmetric-key").exits(0);
    let keys = mock.operate("group keys sensors --json").exits(0).json();
    let key = |which: &str| find(&keys, which).and_then(Value::as_str).expect("a key").to_owned();
    let (primary, secondary) = (key("primaryKey"), key("secondaryKey"));
    assert_ne!(primary, secondary);
    let last = |more: &[&str]| -> Option<Value> {
        let mut answers = provision(TEST, &world, &mock, "sensor-1", more)?;
        answers.pop()
    };
    for (more, status) in [
        (vec!["--symmetric-key", &primary, "--derive"], 200),
        (vec!["--symmetric-key", &secondary, "--derive"], 200),
        (vec!["--symmetric-key", &primary], 401),
        (vec!["--symmetric-key", "bm90IHRoZSBrZXkgb2YgdGhlIGdyb3Vw", "--derive"], 401),
        (vec![], 401),
    ] {
        let Some(answer) = last(&more) else { return };
        assert_eq!(answer["status"], status, "{more:?}: {answer}");
        if status == 200 {
            assert_eq!(answer["body"]["registrationState"]["deviceId"], "sensor-1", "{answer}");
        } else {
            assert_eq!(answer["body"]["errorCode"].as_u64().map(|c| c / 1000), Some(401), "{answer}");
        }
    }
    let shown = mock.operate("group show sensors --json").exits(0).stdout;
    assert!(!shown.contains(&primary) && !shown.contains(&secondary), "a group shows no key: {shown}");
}

#[test]
fn the_sixth_poll_in_ten_seconds_is_throttled_as_the_service_does() {
    const TEST: &str = "the_sixth_poll_in_ten_seconds_is_throttled_as_the_service_does";
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, "--profile azure", "");
    let more = [CERTIFIED.as_slice(), &["--polls", "6"]].concat();
    let Some(answers) = provision(TEST, &world, &mock, "dev-00000", &more) else { return };
    let statuses: Vec<_> = answers.iter().map(|answer| answer["status"].as_u64().unwrap_or(0)).collect();
    assert_eq!(statuses, [202, 200, 200, 200, 200, 200, 429], "{answers:?}");
    let throttled = &answers[6];
    assert_eq!(throttled["body"]["errorCode"], 429_001, "{throttled}");
    let wait: u64 = throttled["retry_after"].as_str().and_then(|s| s.parse().ok()).expect("whole seconds");
    assert!((1..=10).contains(&wait), "{throttled}");
}
