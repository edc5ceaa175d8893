//! `rollcall explain`.

use crate::world::World;
use serde_json::Value;

fn entries(json: &Value) -> &[Value] {
    json["entries"].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_kind_is_explained_by_id() {
    let world = World::new();
    for (id, kind) in [
        ("401002", "code"),
        ("IH400053", "code"),
        ("chain-incomplete", "diagnostic"),
        ("pres-leaf-only-issuer-not-verified", "defect"),
        ("rolls-up", "verdict"),
        ("leaf-ca", "knob"),
        ("half-open", "fault"),
        ("3", "exit"),
        ("exit 3", "exit"),
    ] {
        let json = world.rollcall(&format!("explain {id} --json")).exits(0).json();
        assert_eq!(json["schema"], "rollcall.explain/1");
        assert!(entries(&json).iter().any(|entry| entry["kind"] == kind), "{id}: {json}");
        for entry in entries(&json) {
            assert!(entry["meaning"].as_str().is_some_and(|text| !text.is_empty()), "{entry}");
        }
        let text = world.rollcall(&format!("explain {id}")).exits(0).stdout;
        assert!(text.contains(kind), "{text}");
    }
}

#[test]
fn a_code_tells_its_messages_apart() {
    let world = World::new();
    let json = world.rollcall("explain 401002 --json").exits(0).json();
    let variants = entries(&json)[0]["variants"].as_array().expect("variants");
    let messages: Vec<&str> = variants.iter().filter_map(|v| v["message"].as_str()).collect();
    assert!(messages.contains(&"CA certificate not found.") && messages.contains(&"Invalid certificate."));
}

#[test]
fn each_kind_is_listed() {
    let world = World::new();
    let all = entries(&world.rollcall("explain --json").exits(0).json()).len();
    let mut listed = 0;
    let kinds =
        ["codes", "diagnostics", "defects", "verdicts", "knobs", "faults", "exits", "outcomes", "judgements"];
    for kind in kinds.into_iter().chain(["metrics"]) {
        let json = world.rollcall(&format!("explain {kind} --json")).exits(0).json();
        assert!(entries(&json).len() >= 5, "{kind}");
        assert!(entries(&json).iter().all(|entry| kind.starts_with(entry["kind"].as_str().unwrap_or("?"))));
        listed += entries(&json).len();
    }
    assert_eq!(listed, all);
}

#[test]
fn a_typo_is_answered_with_the_nearest_ids() {
    let world = World::new();
    let said = world.rollcall("explain chain-incomplet").exits(2);
    assert!(said.stdout.is_empty() && said.stderr.contains("`chain-incomplete`"), "{said}");
}
