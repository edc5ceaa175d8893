//! `run --find-capacity`: the limit of a service whose limit is known is found, and told who was at it.

use crate::world::{Record, World, processors};
use serde_json::Value;

/// A service that works requests off one after another at a rate.
fn paced(rate: f64, more: &str) -> String {
    format!(
        r#"name = "paced"

[fleet]
devices = 100
registration_id = "unit-{{index:06}}"

[fleet.authority.minted]
intermediates = 1

[device.retry.none]

[target.mock]

[[target.mock.fault]]
id = "pace"
rate = {rate:?}
{more}

[load.open]
rate = 50.0
max_in_flight = 2000
"#
    )
}

/// Trials of one search are what it is said to have found.
#[track_caller]
fn search(world: &World, line: &str) -> (f64, Record) {
    let told = world.rollcall(&format!("run paced.toml --find-capacity --out out {line}")).exits(0);
    assert_eq!(world.files("out"), ["run.html", "run.json"], "{told}");
    let record = Record::read(world, "out");
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("no number: {value}\n{told}"));
    let rate = number(record.at("/capacity/rate"));
    let [low, high] = [0, 1].map(|end| number(record.at(&format!("/capacity/interval/{end}"))));
    assert!(low <= rate && rate <= high, "{low} {rate} {high}: {told}");
    let trials = record.list("/capacity/trials");
    let passed = |wanted: bool| trials.iter().filter(move |trial| trial["passed"] == wanted);
    // A rate counts as what was done of it, never as more.
    assert!(passed(true).any(|trial| number(&trial["rate"]) >= high), "{told}");
    let has_reason = |trial: &Value| {
        trial["generator_limited"] == true || !trial["failed"].as_array().is_some_and(Vec::is_empty)
    };
    assert!(passed(false).all(has_reason), "{told}");
    // Searched more than once: an interval of one search says nothing.
    assert!(trials.iter().any(|trial| trial["search"].as_u64() >= Some(3)), "{told}");
    assert!(!record.list("/capacity/evidence").is_empty(), "{told}");
    (rate, record)
}

#[test]
fn the_rate_that_a_service_works_at_is_found() {
    let _processors = processors();
    let world = World::new();
    world.write("paced.toml", paced(150.0, ""));
    let (rate, record) = search(&world, "--trial 3s --from 130 --up-to 170");
    assert!((141.0..=159.0).contains(&rate), "{rate}/s: {}", record.at("/capacity"));
    assert_eq!(record.at("/capacity/limited_by"), "service", "{}", record.at("/capacity/evidence"));
}

#[test]
fn a_service_that_sends_devices_away_is_limited_by_its_quota() {
    let _processors = processors();
    let world = World::new();
    world.write("paced.toml", paced(60.0, "queue = 2"));
    let (rate, record) = search(&world, "--trial 2s --from 40 --up-to 120");
    assert!(rate <= 75.0, "{rate}/s: {}", record.at("/capacity"));
    assert_eq!(record.at("/capacity/limited_by"), "quota", "{}", record.at("/capacity/evidence"));
    assert!(record.list("/capacity/trials").iter().any(|trial| trial["throttled"].as_u64() > Some(0)));
}

#[test]
fn a_search_that_meets_no_limit_says_so() {
    let _processors = processors();
    let world = World::new();
    // Of so few arrivals one that starts late, because the machine did something else, is one in a hundred.
    let patient = "--set limits.lateness=2s";
    let told = world
        .rollcall(&format!("run steady --find-capacity --trial 2s --from 20 --up-to 40 --out out {patient}"))
        .exits(0);
    let record = Record::read(&world, "out");
    assert_eq!(record.at("/capacity/limited_by"), "none", "{told}");
    assert_eq!(record.at("/capacity/rate"), 40.0, "{told}");
}

#[test]
fn a_search_does_not_take_a_scenario_with_events() {
    let world = World::new();
    world.rollcall("plan group-disabled").exits(0);
    world.rollcall("run group-disabled --find-capacity --out out").exits(2);
    assert!(!world.path("out").exists());
}

#[test]
fn a_search_is_not_for_shards_and_its_flags_not_for_a_run() {
    let world = World::new();
    for line in [
        "--find-capacity --shard 1/2",
        "--find-capacity --start-at 2030-01-01T12:00:00Z",
        "--find-capacity --from 0",
        "--find-capacity --up-to nan",
        "--find-capacity --trial 10",
        "--find-capacity --trial 1999ms",
        "--find-capacity --from 50 --up-to 20",
        "--trial 5s",
        "--from 5",
        "--up-to 5",
    ] {
        let refused = world.rollcall(&format!("run steady --out out {line}")).exits(2);
        assert!(!world.path("out").exists(), "{refused}");
    }
}
