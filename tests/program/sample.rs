//! The report in `reports/sample`, which is that of a shipped scenario: it is what the program writes today.
//!
//! `ROLLCALL_BLESS=1 cargo test --test program -- sample` makes it anew. Times are kept as they were measured as
//! long as the story is the same, so that what differs afterwards is what has changed.

use crate::world::{World, processors};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Two roots, one of them revoked between two turns of every device.
const SCENARIO: &str = "factory-revoked";

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reports/sample");

/// What is committed, by the name of its file.
const FILES: [&str; 3] = ["run.json", "run.html", "run.md"];

/// What is not the same in two runs of one scenario, by its key, wherever it stands.
const VARIES: [&str; 24] = [
    // moments and durations
    "started_utc",
    "not_after_utc",
    "leaf_not_after_utc",
    "wall_seconds",
    "minting_seconds",
    "at_seconds",
    "due_seconds",
    "started_seconds",
    "finished_seconds",
    "us",
    // their distributions
    "p50_us",
    "p90_us",
    "p99_us",
    "p999_us",
    "max_us",
    "mean_us",
    "histogram",
    // rates
    "devices_per_minute",
    // the machine, and what the run needed of it
    "host",
    "generator",
    // whoever came first
    "sample_registration_id",
    // signatures are some bytes longer or shorter
    "chain_bytes",
    // the operator's, who takes a new one where the last has been idle for too long
    "connections",
    "tls_handshakes",
];

/// The record without what varies. Arrays and objects keep their form; of the seconds, whose number varies, the
/// keys are left.
fn masked(record: &Value) -> Value {
    without("", record)
}

fn without(key: &str, value: &Value) -> Value {
    match value {
        _ if VARIES.contains(&key) => json!("varies"),
        Value::Array(seconds) if key == "per_second" => keys_of(seconds),
        _ if key == "per_second" => json!("varies"),
        // A busy machine is late, which is nothing that the story tells of.
        Value::Object(verdict) if verdict.get("kind") == Some(&json!("generator-limited")) => {
            json!({ "kind": "good", "reasons": [] })
        }
        Value::Object(gate) if matches!(gate.get("unit").and_then(Value::as_str), Some("s" | "/s")) => {
            fields(&Map::from_iter(gate.clone().into_iter().filter(|(key, _)| key != "measured")))
        }
        Value::Object(map) => fields(map),
        Value::Array(list) => list.iter().map(|item| without("", item)).collect(),
        Value::String(text) => json!(whenever(text)),
        plain => plain.clone(),
    }
}

/// A text without how long into the run something happened.
fn whenever(text: &str) -> String {
    let Some((before, after)) = text.split_once(" s into the run") else { return text.to_owned() };
    format!("{}some s into the run{after}", before.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

fn fields(map: &Map<String, Value>) -> Value {
    Value::Object(map.iter().map(|(key, value)| (key.clone(), without(key, value))).collect())
}

/// Every key that one of the objects has.
fn keys_of(objects: &[Value]) -> Value {
    let all = objects.iter().filter_map(Value::as_object).flat_map(Map::keys);
    all.map(|key| (key.clone(), json!("varies"))).collect::<Map<_, _>>().into()
}

/// The record without what it says of the machine that it was made on.
fn neutral(mut record: Value) -> Value {
    let unknown = [
        ("/command/0", json!("rollcall")),
        ("/host/cpu_model", json!("")),
        ("/host/kernel", json!("")),
        ("/host/memory_bytes", Value::Null),
        ("/generator/descriptors_limit", json!(65_536)),
    ];
    for (pointer, value) in unknown {
        *record.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")) = value;
    }
    record
}

/// Where two values differ, and in what.
fn differences(at: &str, committed: &Value, fresh: &Value, found: &mut Vec<String>) {
    match (committed, fresh) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for key in keys {
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(json!("(not there)"));
                differences(&format!("{at}/{key}"), &of(one), &of(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (n, (one, other)) in one.iter().zip(other).enumerate() {
                differences(&format!("{at}/{n}"), one, other, found);
            }
        }
        _ if committed == fresh => {}
        _ => found.push(format!("{at}: {committed} is now {fresh}")),
    }
}

fn told(committed: &Value, fresh: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differences("", &masked(committed), &masked(fresh), &mut found);
    found
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("no JSON: {e}"))
}

fn committed(file: &str) -> Option<String> {
    fs::read_to_string(Path::new(SAMPLE).join(file)).ok()
}

/// The record of a run of the scenario, without what it says of this machine.
fn fresh(world: &World) -> Value {
    // The operator's deletion is to fall between the two turns.
    let _alone = processors();
    let told = world.rollcall(&format!("run {SCENARIO} --out sample --progress none"));
    assert!(world.path("sample/run.json").is_file(), "{told}");
    neutral(parsed(&world.read("sample/run.json")))
}

/// The record as the program writes it, and its renderings, in the order of [`FILES`].
fn rendered(world: &World, record: &str) -> [String; 3] {
    fs::create_dir_all(world.path("given")).expect("a directory");
    world.write("given/run.json", record);
    world.rollcall("report given --format json,html,md --out rendered");
    FILES.map(|file| world.read(format!("rendered/{file}")))
}

fn blessed() -> bool {
    #[expect(clippy::disallowed_methods, reason = "the caller says here that what differs is meant")]
    std::env::var_os("ROLLCALL_BLESS").is_some()
}

#[test]
fn the_sample_report_is_what_the_program_writes_today() {
    let world = World::new();
    let fresh = fresh(&world);
    let known = committed(FILES[0]);
    let changed =
        known.as_deref().map_or(vec!["there is no sample".to_owned()], |known| told(&parsed(known), &fresh));
    if blessed() {
        let kept = known.filter(|known| changed.is_empty() && neutral(parsed(known)) == parsed(known));
        let files = rendered(&world, &kept.unwrap_or_else(|| fresh.to_string()));
        fs::create_dir_all(SAMPLE).expect("a directory");
        for (name, content) in FILES.iter().zip(files) {
            fs::write(Path::new(SAMPLE).join(name), content).expect("written");
        }
        return;
    }
    assert_eq!(changed, [] as [String; 0], "ROLLCALL_BLESS=1 makes the sample anew");
    let known = known.unwrap_or_default();
    for (name, content) in FILES.iter().zip(rendered(&world, &known)) {
        assert!(
            committed(name).as_deref() == Some(&content),
            "{name} is another now: ROLLCALL_BLESS=1 makes it anew"
        );
    }
}

#[test]
fn the_sample_says_nothing_of_the_machine_it_was_made_on() {
    let known = parsed(&committed(FILES[0]).expect("a sample"));
    assert_eq!(neutral(known.clone()), known);
    for file in FILES {
        let text = committed(file).unwrap_or_else(|| panic!("no {file}"));
        for path in ["/home/", "/root/", "/tmp/", "/work/", "/target/"] {
            assert!(!text.contains(path), "{file} has {path}");
        }
    }
}

#[test]
fn times_are_masked_and_what_a_run_tells_is_not() {
    let known = parsed(&committed(FILES[0]).expect("a sample"));
    let edited = |pointer: &str, value: Value| {
        let mut record = known.clone();
        *record.pointer_mut(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")) = value;
        told(&known, &record)
    };
    for (pointer, value) in [
        ("/started_utc", json!("2020-01-01T00:00:00Z")),
        ("/clocks/response_time/p99_us", json!(1)),
        ("/phases/0/histogram", json!("")),
        ("/per_second/0/assigned", json!(1)),
        ("/throughput/per_second", json!(1.0)),
        ("/host/cpus", json!(64)),
        ("/verdict", json!({ "kind": "generator-limited", "reasons": ["late"] })),
    ] {
        assert_eq!(edited(pointer, value), [] as [String; 0], "{pointer}");
    }
    for (pointer, value) in [
        ("/outcomes/assigned", json!(1)),
        ("/reasons/0/count", json!(1)),
        ("/reasons/0/repair", json!("")),
        ("/roll_up/0/actual", json!(1)),
        ("/gates/0/passed", json!(false)),
        ("/phases/0/count", json!(1)),
        ("/verdict/kind", json!("gate-failed")),
        ("/settings", json!([])),
        ("/certificates/issuers/0/count", json!(1)),
        ("/per_second", json!([])),
    ] {
        assert_ne!(edited(pointer, value), [] as [String; 0], "{pointer}");
    }
}
