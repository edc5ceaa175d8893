//! `rollcall plan`: what a scenario comes to is told before, the same as what the run then reports, and what is
//! impossible is refused by both.

use crate::world::{Record, World};
use serde_json::Value;
use std::fs;

/// Every scenario that is shipped, by name.
fn shipped() -> Vec<String> {
    let entries = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).expect("scenarios");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .filter(|name| name != "Cargo")
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    names
}

#[test]
fn the_plan_of_every_shipped_scenario_fits_a_screen() {
    let world = World::new();
    let mut long = Vec::new();
    for name in shipped() {
        // One of them is for a service elsewhere; nothing is sent to it.
        let told = world.rollcall(&format!("plan {name} --live")).exits(0);
        assert!(told.stdout.lines().count() <= 40, "{told}");
        long.extend(
            told.stdout
                .lines()
                .filter(|line| line.chars().count() > 100)
                .map(|line| format!("{name}: {line}")),
        );
    }
    assert!(long.is_empty(), "more than 100 columns:\n{}", long.join("\n"));
}

#[test]
fn a_plan_writes_and_listens_to_nothing() {
    let world = World::new();
    let told = world.rollcall("plan steady --json").exits(0);
    assert!(told.stderr.is_empty(), "{told}");
    assert_eq!(world.files("."), Vec::<String>::new(), "{told}");
}

#[test]
fn a_run_comes_to_what_its_plan_says() {
    let world = World::new();
    for (at, line) in [
        "steady --set fleet.devices=300 --set load.open.rate=200",
        "steady --set fleet.devices=200 --set load.open.spacing=poisson --set seed=5",
        "steady --set fleet.devices=300 --shard 2/3",
        "smoke --set fleet.devices=60 --set load.closed.in_flight=7",
        "smoke --set fleet.devices=20 --set fleet.turns=3",
    ]
    .iter()
    .enumerate()
    {
        let plan = world.rollcall(&format!("plan {line} --json")).exits(0).json();
        assert_eq!(plan["schema"], "rollcall.plan/1");
        assert!(plan["refused"].is_null(), "{plan}");
        let out = format!("run-{at}");
        world.rollcall(&format!("run {line} --set limits.generator=report --out {out}")).exits(0);
        agrees(&plan["forecast"], &Record::read(&world, &out), line);
    }
}

#[track_caller]
fn agrees(forecast: &Value, record: &Record, line: &str) {
    assert_eq!(forecast["arrivals"].as_u64(), Some(record.planned()), "{line}");
    assert_eq!(&forecast["model"], record.at("/model"), "{line}");
    assert_eq!(&forecast["descriptors_needed"], record.at("/generator/descriptors_needed"), "{line}");
    let seconds = record.list("/per_second");
    let offered: Vec<u64> = seconds.iter().filter_map(|second| second["offered"].as_u64()).collect();
    assert_eq!(offered.iter().sum::<u64>(), record.planned(), "{line}");
    let most = forecast["in_flight"].as_u64().expect("a bound");
    assert!(seconds.iter().all(|second| second["in_flight"].as_u64() <= Some(most)), "{line}");
    let Some(last) = forecast["last_due_seconds"].as_f64() else {
        assert_eq!(forecast["model"], "closed", "{line}");
        return;
    };
    let wall = record.at("/wall_seconds").as_f64().expect("a number");
    // Of a shard the last arrival is one of its own, which may come a little before the last of all.
    let earliest = if line.contains("--shard") { last - 0.1 } else { last };
    assert!((earliest..last + 5.0).contains(&wall), "{line}: {wall} s, the last is due after {last} s");
    if !line.contains("--shard") {
        assert_eq!(forecast["rates"]["column_seconds"], 1.0, "{line}");
        let curve = forecast["rates"]["curve"].as_array().expect("a curve");
        let curve: Vec<u64> =
            curve.iter().filter_map(Value::as_f64).map(|rate| rate.round() as u64).collect();
        assert_eq!(curve, offered[..curve.len()], "{line}");
    }
}

/// A scenario of ten devices; the load begins at line 10.
fn small(fleet: &str, load: &str) -> String {
    format!(
        "name = \"small\"\n\n[fleet]\ndevices = 10\nregistration_id = \"dev-{{index:05}}\"\n{fleet}\n\
         [fleet.authority.minted]\n[target.mock]\n\n{load}\n"
    )
}

/// An open load of one stage, which stands in line 13.
fn stage(text: &str) -> String {
    format!("[load.open]\nmax_in_flight = 5\n[[load.open.stage]]\n{text}")
}

#[test]
fn an_impossible_profile_is_refused_by_plan_and_run_at_its_line() {
    let world = World::new();
    for (case, text, line) in [
        ("a negative rate", small("", "[load.open]\nrate = -5.0\nmax_in_flight = 5"), 11),
        ("no rate", small("", "[load.open]\nrate = 0\nmax_in_flight = 5"), 11),
        ("a rate that is no number", small("", "[load.open]\nrate = nan\nmax_in_flight = 5"), 11),
        ("a negative rate of a stage", small("", &stage("constant = { rate = -1.0, lasts = \"5s\" }")), 13),
        (
            "a share above 1",
            small("defect = [{ id = \"cn-mismatch\", share = 1.5 }]", "[load.closed]\nin_flight = 5"),
            6,
        ),
        (
            "a negative share",
            small("defect = [{ id = \"cn-mismatch\", share = -0.5 }]", "[load.closed]\nin_flight = 5"),
            6,
        ),
        (
            "more bad devices than devices",
            small("defect = [{ id = \"cn-mismatch\", devices = 11 }]", "[load.closed]\nin_flight = 5"),
            4,
        ),
        ("fewer devices than arrivals", small("", &stage("constant = { rate = 10.0, lasts = \"2s\" }")), 10),
        ("a ramp without an end", small("", &stage("ramp = { from = 1.0, to = 5.0 }")), 13),
        ("a stage nobody knows", small("", &stage("rampp = { from = 1.0, to = 5.0, lasts = \"2s\" }")), 13),
        (
            "a stage after one without an end",
            small("", &stage("constant = { rate = 5.0 }\n[[load.open.stage]]\nall_at_once = {}")),
            12,
        ),
        ("nobody in flight", small("", "[load.closed]\nin_flight = 0"), 11),
    ] {
        world.write("bad.toml", text);
        for verb in [
            "plan bad.toml",
            "plan bad.toml --json",
            "run bad.toml --out out",
            "run bad.toml --find-capacity --out out",
        ] {
            let refused = world.rollcall(verb).exits(2);
            assert!(
                refused.stderr.contains(&format!("bad.toml:{line}:")),
                "{case} is not pointed at: {refused}"
            );
            assert!(refused.stdout.is_empty(), "{refused}");
            assert!(!world.path("out").exists(), "{refused}");
        }
    }
}

/// Ten devices a second, at a name that nobody has (RFC 2606).
const ELSEWHERE: &str = r#"name = "elsewhere"

[fleet]
devices = 3000
registration_id = "dev-{index:05}"

[fleet.authority.minted]

[target.service]
host = "dps.invalid"
id_scope = "0ne00000001"

[load.open]
rate = 10.0
max_in_flight = 100
"#;

#[test]
fn a_target_elsewhere_needs_leave_and_is_asked_for_four_fifths_of_its_quota() {
    let world = World::new();
    world.write("slow.toml", ELSEWHERE);
    world.write("fast.toml", ELSEWHERE.replace("10.0", "14.0"));
    world.write(
        "given.toml",
        ELSEWHERE.replace("10.0", "14.0").replace("[load", "quota_per_minute = 2000\n\n[load"),
    );
    for (line, allowed) in [
        ("slow.toml", false),
        ("slow.toml --over-quota", false),
        ("slow.toml --live", true),
        ("fast.toml --live", false),
        ("fast.toml --live --over-quota", true),
        ("given.toml --live", true),
    ] {
        let told = world.rollcall(&format!("plan {line} --json")).exits(if allowed { 0 } else { 2 });
        // The plan is told all the same: it says by how much.
        let plan = told.json();
        assert_eq!(plan["refused"].is_null(), allowed, "{line}: {told}");
        assert_eq!(plan["forecast"]["arrivals"], 3000, "{line}");
        assert_eq!(told.stderr.is_empty(), allowed, "{line}: {told}");
        if !allowed {
            assert!(told.stderr.contains("dps.invalid"), "{line}: {told}");
            // What is refused is refused before anybody asks who that is.
            let refused = world.rollcall(&format!("run {line} --out out")).exits(2);
            assert!(!world.path("out").exists(), "{refused}");
        }
    }
}
