//! The meter, against a service whose latency is known: the record reads it back.

use crate::world::World;
use serde_json::Value;

/// Half of the devices took no longer than this, in microseconds.
fn median(record: &Value, phase: &str) -> u64 {
    let phases = record["phases"].as_array().expect("phases");
    let found = phases.iter().find(|p| p["phase"] == phase).and_then(|p| p["p50_us"].as_u64());
    found.unwrap_or_else(|| panic!("no phase {phase}: {phases:?}"))
}

#[test]
fn a_service_that_asks_to_wait_a_second_is_measured_at_a_second() {
    let world = World::new();
    // Ready before the wait is over, so that every device polls once.
    let slow = "--set target.mock.retry_after=1s --set target.mock.assign_delay=500ms";
    world.rollcall(&format!("run smoke {slow} --set fleet.devices=40 --out out")).exits(0);
    let record: Value = serde_json::from_str(&world.read("out/run.json")).expect("JSON");
    let waited = median(&record, "wait");
    assert!((1_000_000..1_050_000).contains(&waited), "{waited} µs waited");
    let clocks = &record["clocks"];
    let whole = clocks["service_time"]["p50_us"].as_u64().expect("a median");
    let spoken = median(&record, "register") + median(&record, "poll");
    assert!(whole >= waited + spoken / 2, "{whole} µs in all, {waited} of them waiting");
    let phases = record["phases"].as_array().expect("phases");
    let polls = phases.iter().find(|p| p["phase"] == "poll").and_then(|p| p["count"].as_u64());
    assert_eq!(polls, Some(40), "one poll each");
}

#[test]
fn an_open_load_at_a_rate_takes_as_long_as_the_rate_says_and_counts_from_when_devices_were_due() {
    let world = World::new();
    let load = "--set fleet.devices=200 --set load.open.rate=200";
    world.rollcall(&format!("run steady {load} --out out")).exits(0);
    let record: Value = serde_json::from_str(&world.read("out/run.json")).expect("JSON");
    let wall = record["wall_seconds"].as_f64().expect("a number");
    // The last of 200 devices is due 199 intervals of 5 ms after the first.
    assert!((0.995..3.0).contains(&wall), "{wall} s");
    let (service, response) = (&record["clocks"]["service_time"], &record["clocks"]["response_time"]);
    let of = |clock: &Value| clock["p50_us"].as_u64().expect("a median");
    assert!(of(response) >= of(service), "a device cannot start before it is due");
}
