//! One run beside another: the same again is no regression, a service that is slower by 30 % is, and what cannot be
//! compared is refused.

use crate::bad_input::fails;
use crate::world::{World, processors};
use serde_json::Value;
use std::fs;

/// The service holds every registration for so long that what this machine adds hardly counts.
const HELD: &str = r#"name = "held"

[fleet]
devices = 300
registration_id = "unit-{index:05}"

[fleet.authority.minted]
intermediates = 1

[target.mock]

[[target.mock.fault]]
id = "latency"
at = ["register"]
delay = "100ms"

[load.open]
rate = 75.0
max_in_flight = 300

[limits]
generator = "report"
"#;

/// Plays the scenario, with more on the command line.
#[track_caller]
fn play(world: &World, out: &str, more: &str) {
    world.rollcall(&format!("run held.toml --no-journal --out {out} {more}")).exits(0);
}

/// The row of a metric, in a comparison as JSON.
#[track_caller]
fn row<'a>(comparison: &'a Value, metric: &str) -> &'a Value {
    let rows = comparison["rows"].as_array().expect("rows");
    rows.iter().find(|row| row["metric"] == metric).unwrap_or_else(|| panic!("no {metric} in {comparison}"))
}

#[test]
fn the_same_again_is_no_regression_and_a_service_that_is_slower_by_30_percent_is() {
    let _alone = processors();
    let world = World::new();
    world.write("held.toml", HELD);
    play(&world, "before", "");
    play(&world, "again", "");
    play(&world, "slower", "--set target.mock.fault.0.delay=130ms");

    let same = world.rollcall("report compare before again --fail-on-regression --json").exits(0).json();
    assert_eq!((&same["schema"], &same["regressed"]), (&"rollcall.comparison/1".into(), &false.into()));
    assert_eq!(row(&same, "phase.register.p50")["judgement"], "same");

    let slower = world.rollcall("report compare before slower --fail-on-regression --json").exits(97).json();
    for metric in ["response_time.p50", "response_time.p90", "service_time.p50"] {
        assert_eq!(row(&slower, metric)["judgement"], "worse", "{slower}");
    }
    // A phase says where it is.
    assert_eq!(row(&slower, "phase.register.p50")["judgement"], "slower", "{slower}");
    let warned = slower["warnings"].to_string();
    assert!(warned.contains("target.mock.fault.0.delay"), "{warned}");

    // Without being asked to fail it only tells; the other way round it is an improvement.
    world.rollcall("report compare before slower").exits(0);
    let better = world.rollcall("report compare slower before --fail-on-regression --json").exits(0).json();
    assert_eq!(row(&better, "response_time.p50")["judgement"], "better");

    // Of repeats the medians are compared.
    let line = "report compare before slower --baseline-repeat again --fail-on-regression";
    let text = world.rollcall(line).exits(97).stdout;
    assert!(text.starts_with("REGRESSION") && text.lines().all(|line| line.len() <= 80), "{text}");

    rendered(&world);
}

/// Every rendering has the comparison, and the page of the baseline is not written over.
fn rendered(world: &World) {
    let page = |line: &str| world.rollcall(&format!("report compare before slower {line}")).exits(0).stdout;
    for format in ["md", "html", "text", "json"] {
        assert!(page(&format!("--format {format}")).contains("phase.register.p50"), "{format}");
    }
    page("--out compared");
    assert_eq!(world.files("compared"), ["comparison.json", "run.html"]);
    assert!(world.read("compared/run.html").contains("phase.register.p50"));
    world.rollcall("report compare before slower --out before").exits(2);
}

/// A small run, and others that are none of it.
fn runs() -> World {
    let world = World::new();
    world.write("held.toml", HELD.replace("= 300", "= 40").replace("75.0", "400.0").replace("100ms", "1ms"));
    play(&world, "whole", "");
    play(&world, "of-more", "--set fleet.devices=50");
    play(&world, "of-another-seed", "--set seed=9");
    for part in [1, 2] {
        play(&world, &format!("part-{part}"), &format!("--shard {part}/2"));
    }
    world
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let world = runs();
    let record = world.read("whole/run.json");
    for (name, text) in [
        ("cut", record.get(..record.len() / 2).expect("half").to_owned()),
        ("none", "{}".to_owned()),
        ("newer", record.replace("rollcall.run/1", "rollcall.run/2")),
    ] {
        fs::create_dir(world.path(name)).expect("a directory");
        world.write(&format!("{name}/run.json"), text);
    }
    for (line, thing) in [
        ("whole of-more", "fleet.devices"),
        ("whole part-1", "part-1"),
        ("part-1 whole", "shard 1 of 2"),
        ("part-1 part-2", "shard 2 of 2"),
        ("whole cut", "cut"),
        ("cut whole", "cut"),
        ("whole none", "none"),
        ("whole newer", "rollcall.run/2"),
        ("whole nowhere", "nowhere"),
        ("whole of-another-seed --baseline-repeat whole/run.json", "whole/run.json"),
        ("whole of-another-seed --candidate-repeat of-more", "of-more"),
        ("whole", "CANDIDATE"),
        ("whole of-another-seed --threshold 0", "threshold"),
    ] {
        let compared = world.rollcall(&format!("report compare {line} --fail-on-regression --out out"));
        fails(&world, compared, 2, thing);
        assert!(!world.path("out").exists(), "{line}");
    }
}

#[test]
fn what_can_be_compared_only_with_care_is_labelled() {
    let world = runs();
    world.rollcall("merge part-1 part-2 --out merged").exits(0);
    let warnings = |line: &str| {
        let compared = world.rollcall(&format!("report compare {line} --json")).exits(0).json();
        compared["warnings"].to_string()
    };
    for (line, thing) in [
        ("whole of-another-seed", "seed"),
        ("whole of-more --other-scenario", "fleet.devices"),
        ("whole merged", "2 shards"),
    ] {
        assert!(warnings(line).contains(thing), "{line}: {}", warnings(line));
    }
}

#[test]
fn a_record_that_was_changed_by_hand_is_not_believed() {
    let world = runs();
    let mut record: Value = serde_json::from_str(&world.read("whole/run.json")).expect("JSON");
    record["clocks"]["response_time"]["p50_us"] = 1.into();
    fs::create_dir(world.path("edited")).expect("a directory");
    world.write("edited/run.json", record.to_string());
    let line = "report compare whole edited --fail-on-regression --json";
    let compared = world.rollcall(line).exits(98).json();
    assert_eq!(row(&compared, "response_time.p50")["judgement"], "shown");
    assert_eq!(compared["doubtful"], true);
}
