//! The meter, against a service whose latency is known: the record reads it back.

use crate::world::{Record, World, processors};
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

/// A service that answers at once but for this fault, and devices that come fifty a second.
fn faulty(devices: u32, slots: u32, fault: &str) -> String {
    format!(
        r#"name = "faulty"

[fleet]
devices = {devices}
registration_id = "unit-{{index:03}}"

[fleet.authority.minted]
intermediates = 1

[target.mock]

[[target.mock.fault]]
{fault}

[load.open]
rate = 50.0
max_in_flight = {slots}

[limits]
generator = "report"
"#
    )
}

#[test]
fn a_latency_that_is_known_is_read_back_where_it_is() {
    let _processors = processors();
    let world = World::new();
    let held = "id = \"latency\"\nat = [\"register\"]\ndelay = \"50ms\"";
    world.write("faulty.toml", faulty(100, 100, held));
    world.rollcall("run faulty.toml --out out").exits(0);
    let record: Value = serde_json::from_str(&world.read("out/run.json")).expect("JSON");
    let register = median(&record, "register");
    assert!((50_000..60_000).contains(&register), "{register} µs to register");
    for other in ["tcp", "tls", "connect", "subscribe", "poll"] {
        assert!(median(&record, other) < 40_000, "{} µs for {other}", median(&record, other));
    }
    let whole = record["clocks"]["service_time"]["p50_us"].as_u64().expect("a median");
    assert!(whole >= register, "{whole} µs in all");
}

#[test]
fn a_stall_shows_in_the_response_time_of_those_that_wait_and_not_in_the_service_time_of_others() {
    let _processors = processors();
    let world = World::new();
    // One slot: who is due during the stall cannot even begin.
    let stall = "id = \"stall\"\nfrom = \"1s\"\nlasting = \"1s\"";
    world.write("faulty.toml", faulty(150, 1, stall));
    let told = world.rollcall("run faulty.toml --out out").exits(0);
    let record = Record::read(&world, "out");
    let of = |clock: &str, key: &str| record.number(&format!("/clocks/{clock}/{key}"));
    assert!((900_000..1_500_000).contains(&of("response_time", "p99_us")), "{told}");
    assert!(of("response_time", "p90_us") > 500_000, "a third came during the stall: {told}");
    assert!(of("service_time", "p50_us") < 200_000, "{told}");
    assert!(of("service_time", "max_us") >= 900_000, "one was in the slot: {told}");
    // Nobody to blame the generator for: those who wait for a slot are not late.
    assert!(of("lateness", "p50_us") < 200_000, "{told}");
}
