//! Individual enrollments and groups with shared keys, by the operator's verbs.

use crate::world::{Finished, Mock, World};
use serde_json::{Value, json};

/// The documented derivation vector.
const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const DEVICE: &str = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6";
const DEVICE_KEY: &str = "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=";

/// The names in a list, in its order.
#[track_caller]
fn names(listed: &Finished, field: &str) -> Vec<String> {
    let document = listed.json();
    let items = document["value"].as_array().unwrap_or_else(|| panic!("no `value` in {listed}"));
    items.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn an_enrollment_is_created_shown_changed_and_deleted() {
    let world = World::new();
    let mock = Mock::start(&world);
    mock.operate("enrollment create dev-1 --symmetric-key --device-id pump-7 --reprovision never").exits(0);
    let listed = mock.operate("enrollment list --json").exits(0);
    assert_eq!(listed.json()["schema"], "rollcall.enrollment-list/1");
    assert_eq!(names(&listed, "registrationId"), ["dev-1"]);
    let selected = world.finish({
        let mut command = mock.operation("enrollment query");
        command.args(["SELECT * FROM enrollments", "--json"]);
        command
    });
    assert_eq!(names(&selected.exits(0), "registrationId"), ["dev-1"]);

    let shown = mock.operate("enrollment show dev-1 --json").exits(0).json();
    assert_eq!(shown["schema"], "rollcall.enrollment/1");
    assert_eq!(shown["deviceId"], "pump-7");
    assert_eq!(shown["provisioningStatus"], "enabled");
    let policy = json!({"updateHubAssignment": false, "migrateDeviceData": false});
    assert_eq!(shown["reprovisionPolicy"], policy);

    mock.operate("enrollment update dev-1 --disable").exits(0);
    let changed = mock.operate("enrollment show dev-1 --json").exits(0).json();
    assert_eq!(changed["provisioningStatus"], "disabled");
    assert_eq!((&changed["deviceId"], &changed["reprovisionPolicy"]), (&shown["deviceId"], &policy));
    assert_ne!(changed["etag"], shown["etag"]);

    mock.operate("enrollment delete dev-1").exits(0);
    mock.operate("enrollment show dev-1").exits(3);
    assert!(names(&mock.operate("enrollment list --json").exits(0), "registrationId").is_empty());
}

#[test]
fn an_enrollment_that_exists_is_not_created_again() {
    let world = World::new();
    let mock = Mock::start(&world);
    mock.operate("enrollment create dev-1 --symmetric-key").exits(0);
    let refused = mock.operate("enrollment create dev-1 --symmetric-key --disabled").exits(3);
    assert!(refused.stderr.contains("409"), "{refused}");
    let shown = mock.operate("enrollment show dev-1 --json").exits(0).json();
    assert_eq!(shown["provisioningStatus"], "enabled");
}

#[test]
fn a_device_certificate_makes_an_enrollment() {
    let world = World::new();
    let mock = Mock::start(&world);
    world.rollcall("mint ca --out ca --depth 0 --key p256").exits(0);
    world
        .rollcall(
            "mint fleet --ca-cert ca/root.pem --ca-key ca/root.key.pem --count 1 --registration-id dev-{index:05} \
             --seed 7 --out fleet",
        )
        .exits(0);
    let chain = world.read("fleet/dev-00000.chain.pem");
    world.write("leaf.pem", crate::refusals::leaf_of(&chain));
    mock.operate("enrollment create dev-00000 --client-cert leaf.pem").exits(0);
    let shown = mock.operate("enrollment show dev-00000 --json").exits(0).json();
    assert_eq!(shown["attestation"]["type"], "x509");
    assert!(shown.pointer("/attestation/x509/clientCertificates/primary/info").is_some(), "{shown}");
    let key = mock.operate("enrollment create dev-00001 --client-cert fleet/dev-00000.key.pem").exits(2);
    assert!(!key.stderr.contains("BEGIN"), "{key}");
}

#[test]
fn the_keys_of_an_enrollment_are_those_that_were_given_and_outlive_a_change() {
    let world = World::new();
    let mock = Mock::start(&world);
    world.write("primary.key", GROUP_KEY);
    mock.operate("enrollment create dev-1 --symmetric-key --primary-key-file primary.key").exits(0);
    let keys = mock.operate("enrollment keys dev-1 --json").exits(0).json();
    assert_eq!(keys["primaryKey"], GROUP_KEY);
    let made_up = keys["secondaryKey"].as_str().unwrap_or_default();
    assert!(!made_up.is_empty(), "{keys}");

    let shown = mock.operate("enrollment show dev-1 --json").exits(0);
    assert!(!shown.stdout.contains(GROUP_KEY) && !shown.stdout.contains(made_up), "{shown}");

    mock.operate("enrollment update dev-1 --disable").exits(0);
    assert_eq!(mock.operate("enrollment keys dev-1 --json").exits(0).json(), keys);
}

#[test]
fn a_devices_key_is_derived_from_its_groups_key_with_the_service_and_without() {
    let world = World::new();
    world.write("group.key", GROUP_KEY);
    let line = format!("group derive-key line-1 --registration-id {DEVICE}");
    let offline = world.rollcall(&format!("{line} --primary-key-file group.key")).exits(0);
    assert_eq!(offline.stdout.trim(), DEVICE_KEY);

    let mock = Mock::start(&world);
    mock.operate("group create line-1 --symmetric-key --primary-key-file group.key").exits(0);
    let online = mock.operate(&format!("{line} --json")).exits(0).json();
    assert_eq!(online["key"], DEVICE_KEY);
    mock.operate("group keys no-such-group").exits(3);
}

/// `count` enrollments, one a line.
fn lines(count: usize) -> String {
    let line =
        |n: usize| json!({"registrationId": format!("dev-{n:02}"), "attestation": {"type": "symmetricKey"}});
    (0..count).map(|n| format!("{}\n", line(n))).collect()
}

#[test]
fn a_file_of_enrollments_is_imported_and_deleted_ten_at_a_time() {
    let world = World::new();
    let mock = Mock::start(&world);
    world.write("devices.jsonl", lines(25));
    let done = mock.operate("enrollment import devices.jsonl --mode create --json").exits(0).json();
    assert_eq!(done, json!({"schema": "rollcall.import/1", "done": 25, "refused": []}));
    assert_eq!(names(&mock.operate("enrollment list --json").exits(0), "registrationId").len(), 25);

    world.write("more.jsonl", lines(27));
    let partly = mock.operate("enrollment import more.jsonl --mode create --json").exits(3);
    let document = partly.json();
    assert_eq!(document["done"], 2, "{partly}");
    assert_eq!(document["refused"].as_array().map(Vec::len), Some(25), "{partly}");

    mock.operate("enrollment import more.jsonl --mode delete").exits(0);
    assert!(names(&mock.operate("enrollment list --json").exits(0), "registrationId").is_empty());
}

#[test]
fn groups_are_imported_from_what_was_listed() {
    let world = World::new();
    let mock = Mock::start(&world);
    mock.operate("group create line-1 --symmetric-key").exits(0);
    let listed = mock.operate("group list --json").exits(0).json();
    let before = listed["value"].clone();
    world.write("groups.json", before.to_string());
    mock.operate("group import groups.json --mode update-if-match-etag").exits(0);
    // The write has changed the etag: the file is out of date.
    mock.operate("group import groups.json --mode update-if-match-etag").exits(3);
    mock.operate("group import groups.json --mode update").exits(0);
}

#[test]
fn a_file_with_one_bad_entry_is_not_imported_at_all() {
    let world = World::new();
    let mock = Mock::start(&world);
    world.write("devices.jsonl", format!("{}{{\"registrationId\":\"a/b\"}}\n", lines(12)));
    mock.operate("enrollment import devices.jsonl --mode create").exits(2);
    assert!(names(&mock.operate("enrollment list --json").exits(0), "registrationId").is_empty());
}

/// The calls of a dry run as method and the path's last segment.
#[track_caller]
fn calls(planned: &Finished) -> Vec<(String, String)> {
    let document = planned.json();
    assert_eq!(document["schema"], "rollcall.dry-run/1");
    let calls = document["calls"].as_array().unwrap_or_else(|| panic!("no `calls` in {planned}"));
    let word = |call: &Value, key: &str| call[key].as_str().unwrap_or_default().to_owned();
    let last =
        |url: String| url.split('?').next().and_then(|u| u.rsplit('/').next()).unwrap_or("").to_owned();
    calls.iter().map(|call| (word(call, "method"), last(word(call, "url")))).collect()
}

#[test]
fn a_dry_run_prints_the_calls_and_makes_none() {
    let world = World::new();
    world.rollcall("mint ca --out ca --depth 0 --key p256").exits(0);
    world.write("group.key", GROUP_KEY);
    world.write("devices.jsonl", lines(11));
    // Port 1 answers nobody: whatever is sent fails.
    for (line, expected) in [
        ("enrollment create dev-1 --symmetric-key --primary-key-file group.key", "PUT dev-1"),
        ("enrollment list", "POST query"),
        ("enrollment update dev-1 --disable", "GET dev-1, PUT dev-1"),
        ("enrollment keys dev-1", "POST attestationmechanism"),
        ("enrollment delete dev-1", "DELETE dev-1"),
        ("enrollment import devices.jsonl --mode create", "POST enrollments, POST enrollments"),
        ("group create line-1 --ca-reference root", "PUT line-1, GET root"),
        ("group derive-key line-1 --registration-id d", "POST attestationmechanism"),
        ("registration list --group line-1", "POST query"),
        ("registration delete dev-1", "DELETE dev-1"),
        ("ca upload root --cert ca/root.pem", "GET root, PUT root"),
        (
            "ca verify root --key ca/root.key.pem",
            "GET root, GET root, POST generateVerificationCode, POST verify",
        ),
        ("ca delete root", "GET root, DELETE root"),
    ] {
        let planned =
            world.rollcall(&format!("{line} --endpoint https://127.0.0.1:1 --dry-run --json")).exits(0);
        let told: Vec<String> = calls(&planned).iter().map(|(m, last)| format!("{m} {last}")).collect();
        assert_eq!(told.join(", "), expected, "{planned}");
        for secret in [GROUP_KEY, "authorization", "PRIVATE KEY"] {
            assert!(!planned.stdout.contains(secret), "{planned}");
        }
    }
}

#[test]
fn a_dry_run_says_what_an_earlier_answer_would_have_told() {
    let world = World::new();
    let line = "ca delete root --endpoint https://127.0.0.1:1 --dry-run";
    let told = world.rollcall(&format!("{line} --json")).exits(0).json();
    assert_eq!(told["calls"][1]["headers"]["if-match"], "{etag of \"root\"}");
    let text = world.rollcall(line).exits(0).stdout;
    assert!(
        text.contains("DELETE https://127.0.0.1:1/") && text.contains("if-match: {etag of \"root\"}"),
        "{text}"
    );
}

#[test]
fn nothing_elsewhere_is_deleted_unless_somebody_says_so() {
    let world = World::new();
    // An address that nobody has (RFC 5737): a call would fail otherwise than by usage.
    let refused = world.rollcall("enrollment delete dev-1 --endpoint https://192.0.2.1 --live").exits(2);
    assert!(refused.stderr.contains("--yes"), "{refused}");
}

#[test]
fn secrets_come_from_files_and_the_environment_alone() {
    let world = World::new();
    let mock = Mock::start(&world);
    world.write("service.key", &mock.service_key);
    let host = format!("localhost:{}", mock.https_port());
    let string = format!(
        "HostName={host};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={}",
        mock.service_key
    );
    world.write("connection.txt", &string);
    let trust = mock.trust_root;
    for flags in [
        format!("--endpoint https://{host} --service-key-file service.key"),
        "--connection-string-file connection.txt".to_owned(),
    ] {
        world.rollcall(&format!("enrollment list --trust-root {trust} {flags}")).exits(0);
    }
    let mut command = world.program(&format!("enrollment list --trust-root {trust}"));
    command.env("ROLLCALL_CONNECTION_STRING", &string);
    world.finish(command).exits(0);
    let refused = mock.operate(&format!("enrollment list --service-key {}", mock.service_key)).exits(2);
    assert!(!refused.stderr.contains(&mock.service_key), "{refused}");
}

#[test]
fn a_key_under_another_policys_name_is_refused() {
    let world = World::new();
    let mock = Mock::start(&world);
    mock.operate("enrollment list --policy no-such-policy").exits(3);
}

#[test]
fn the_help_of_each_noun_shows_examples() {
    let world = World::new();
    for noun in ["ca", "group", "enrollment", "registration"] {
        let help = world.rollcall(&format!("{noun} --help")).exits(0).stdout;
        assert!(help.starts_with("Examples:"), "{help}");
    }
}
