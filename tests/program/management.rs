//! The management port: whom it answers, and what it says and does.

use crate::semantics::{admitting, mint, register};
use crate::world::{Mock, World};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const AT_ONCE: &str = "--retry-after 0s";

#[test]
fn nothing_but_health_is_told_without_the_token() {
    let world = World::new();
    let mock = Mock::start(&world);
    for headers in ["", "Authorization: Bearer no-such-token\r\n", "Authorization: Basic bm86bm8=\r\n"] {
        assert_eq!(mock.manage_with(headers, "GET /health", "").status, 200);
        for line in [
            "GET /ledger",
            "GET /metrics",
            "GET /trace/dev-00000",
            "GET /faults",
            "PUT /faults",
            "DELETE /faults",
            "GET /snapshot",
            "PUT /snapshot",
            "POST /reset",
        ] {
            let told = mock.manage_with(headers, line, "[]");
            assert_eq!(told.status, 401, "{line} with `{}`: {told:?}", headers.trim_end());
        }
    }
    assert_eq!(mock.manage("GET /ledger", "").status, 200);
}

#[test]
fn two_mocks_have_two_tokens() {
    let (one, other) = (World::new(), World::new());
    let [a, b] = [Mock::start(&one), Mock::start(&other)];
    let token = |mock: &Mock<'_>| mock.ready["management_token"].as_str().map(str::to_owned);
    assert!(token(&a).is_some_and(|t| t.len() >= 16), "{}", a.ready);
    assert_ne!(token(&a), token(&b));
}

/// Every series of the metrics, by its name with its labels.
///
/// Source: Prometheus exposition formats, text format 0.0.4.
#[track_caller]
fn metrics(mock: &Mock<'_>) -> BTreeMap<String, f64> {
    let told = mock.manage("GET /metrics", "");
    assert_eq!(told.status, 200, "{told:?}");
    let mut types = BTreeSet::new();
    let mut series = BTreeMap::new();
    for line in told.body.lines().filter(|line| !line.is_empty()) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned()), "declared twice: {line}");
        } else if !line.starts_with('#') {
            let (id, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let name = id.split('{').next().unwrap_or_default();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            assert!(types.contains(name) || family.is_some_and(|f| types.contains(f)), "no type: {line}");
            assert!(!id.contains('{') || id.ends_with('}'), "{line}");
            let value = value.parse().unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(series.insert(id.to_owned(), value).is_none(), "told twice: {line}");
        }
    }
    series
}

#[test]
fn the_metrics_are_prometheus_text_and_count_registrations() {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, AT_ONCE, "");
    let before = metrics(&mock);
    for _ in 0..3 {
        register(&mock, 0).exits(0);
    }
    let after = metrics(&mock);
    for name in ["rollcall_mock_registers_total", "rollcall_mock_assigned_total"] {
        assert_eq!(after[name] - before[name], 3.0, "{name}, of {after:#?}");
    }
}

/// The events that the mock remembers of a device.
#[track_caller]
fn trace(mock: &Mock<'_>, id: &str) -> Vec<Value> {
    let trace = mock.manage(&format!("GET /trace/{id}"), "").json();
    assert_eq!(trace["registration_id"], id, "{trace}");
    trace["events"].as_array().unwrap_or_else(|| panic!("no events: {trace}")).clone()
}

#[test]
fn a_trace_tells_the_way_of_an_assigned_device_and_every_dead_end_of_a_refused_one() {
    let world = World::new();
    mint(&world, 1);
    let mock = admitting(&world, AT_ONCE, "");
    register(&mock, 0).exits(0);
    let events = trace(&mock, "dev-00000");
    let registered = events.iter().find(|event| event["request"] == "register").expect("a register");
    assert_eq!(registered["status"], 202, "{registered}");
    let path = registered["path"].as_array().expect("a path");
    assert_eq!(path.len(), 2, "root and intermediate: {registered}");
    assert!(events.iter().any(|event| event["status"] == 200), "{events:?}");
    assert!(events.iter().all(|event| event["faults"] == json!([])), "{events:?}");

    mock.operate("ca delete root --yes").exits(0);
    register(&mock, 0).exits(3);
    let events = trace(&mock, "dev-00000");
    let refused = events.last().expect("an event");
    assert_eq!((&refused["status"], &refused["code"]), (&json!(401), &json!(401_002)), "{refused}");
    assert!(refused["trail"].as_array().is_some_and(|trail| !trail.is_empty()), "{refused}");
    assert_ne!(refused["verdict"], registered["verdict"], "{refused}");
    assert_eq!(mock.manage("GET /trace/nobody", "").status, 404);
}

/// What an operator sees of everything that was set up.
fn shown(mock: &Mock<'_>) -> Vec<Value> {
    ["ca show root", "group show line-1", "enrollment show dev-00001", "registration show dev-00000"]
        .map(|what| mock.operate(&format!("{what} --json")).exits(0).json())
        .into()
}

/// A mock with a CA, a group, an individual enrollment and a registration.
fn furnished<'w>(world: &'w World, flags: &str) -> Mock<'w> {
    mint(world, 2);
    world.write("leaf.pem", crate::refusals::leaf_of(&world.read("fleet/dev-00001.chain.pem")));
    let mock = admitting(world, flags, "");
    mock.operate("enrollment create dev-00001 --client-cert leaf.pem --disabled").exits(0);
    register(&mock, 0).exits(0);
    mock
}

#[test]
fn a_snapshot_restored_in_another_mock_serves_the_same_records_with_the_same_etags() {
    let world = World::new();
    let first = furnished(&world, AT_ONCE);
    let (before, snapshot) = (shown(&first), first.manage("GET /snapshot", ""));
    assert_eq!(snapshot.status, 200, "{snapshot:?}");
    for line in snapshot.body.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    }
    drop(first);

    let other = Mock::start_with(&world, &format!("{AT_ONCE} --state other.db"));
    let nonsense = other.manage("PUT /snapshot", "{\"no\":\"snapshot\"}\n");
    assert_eq!(nonsense.status, 400, "{nonsense:?}");
    let restored = other.manage("PUT /snapshot", &snapshot.body);
    assert!((200..300).contains(&restored.status), "{restored:?}");
    assert_eq!(shown(&other), before);
    register(&other, 1).exits(3);
    register(&other, 0).exits(0);
    let last = shown(&other);
    drop(other);
    // What was restored was a write like any other: it is in the state file.
    let again = Mock::start_with(&world, &format!("{AT_ONCE} --state other.db"));
    assert_eq!(shown(&again), last);
}

#[test]
fn a_reset_leaves_nothing_behind() {
    let world = World::new();
    let flags = format!("{AT_ONCE} --state instance.db");
    let mock = furnished(&world, &flags);
    let reset = mock.manage("POST /reset", "");
    assert!((200..300).contains(&reset.status), "{reset:?}");
    is_empty(&mock);
    register(&mock, 0).exits(3);
    drop(mock);
    is_empty(&Mock::start_with(&world, &flags));
}

#[track_caller]
fn is_empty(mock: &Mock<'_>) {
    for what in
        ["ca show root", "group show line-1", "enrollment show dev-00001", "registration show dev-00000"]
    {
        mock.operate(what).exits(3);
    }
}
