//! A run in parts: the records of all shards of one seed, merged, are that of the run which was not split.

use crate::bad_input::fails;
use crate::world::{Record, Running, World};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// Two factories, devices that are bad in two ways, and arrivals at random.
const PARTS: &str = r#"name = "parts"
seed = 11

[fleet]
devices = 400
registration_id = "unit-{index:05}"

[fleet.authority.minted]
intermediates = 1

[[fleet.factory]]
name = "line-a"
share = 0.7

[[fleet.factory]]
name = "line-b"
share = 0.3

[[fleet.defect]]
id = "time-leaf-expired"
devices = 20

[[fleet.defect]]
id = "cn-mismatch"
devices = 9

[target.mock]

[load.open]
rate = 250.0
spacing = "poisson"
max_in_flight = 400

[limits]
generator = "report"
"#;

#[test]
fn shards_of_one_seed_merged_are_the_run_that_was_not_split() {
    let world = World::new();
    world.write("parts.toml", PARTS);
    world.rollcall("run parts.toml --out whole").exits(0);
    let whole = Record::read(&world, "whole");
    assert!(whole.assigned() > 0 && whole.turned_away() > 0, "{}", whole.at("/outcomes"));
    assert_eq!(whole.list("/roll_up").len(), 2, "{}", whole.at("/roll_up"));
    for count in [2, 8] {
        let names: Vec<String> = (1..=count).map(|index| format!("part-{index}-of-{count}")).collect();
        play(&world, &names);
        world.rollcall(&format!("merge {} --out merged-{count}", names.join(" "))).exits(0);
        let merged = Record::read(&world, &format!("merged-{count}"));
        same_run(&merged, &whole, count);
        let parts: Vec<Record> = names.iter().map(|name| Record::read(&world, name)).collect();
        times_add_up(&merged, &parts);
    }
}

#[test]
fn the_only_shard_is_the_run_that_was_not_split() {
    let world = World::new();
    world.write("parts.toml", PARTS);
    let runs = ["", "--shard 1/1"].map(|shard| {
        let out = if shard.is_empty() { "whole" } else { "only" };
        Running::start(world.program(&format!("run parts.toml {shard} --out {out}")))
    });
    runs.into_iter().for_each(|run| drop(run.finish().exits(0)));
    same_run(&Record::read(&world, "only"), &Record::read(&world, "whole"), 1);
}

/// Plays the shards that are called so, `part-INDEX-of-COUNT`, two at a time.
fn play(world: &World, names: &[String]) {
    let line = |name: &String| {
        let shard = name.trim_start_matches("part-").replace("-of-", "/");
        format!("run parts.toml --shard {shard} --out {name}")
    };
    for pair in names.chunks(2) {
        let running: Vec<_> = pair.iter().map(|name| Running::start(world.program(&line(name)))).collect();
        running.into_iter().for_each(|run| drop(run.finish().exits(0)));
    }
}

/// Everything of a run that does not depend on how long things took.
#[track_caller]
fn same_run(merged: &Record, whole: &Record, count: u64) {
    for place in [
        "/device_set",
        "/planned",
        "/started",
        "/finished",
        "/model",
        "/seed",
        "/ended",
        "/shard",
        "/outcomes",
        "/expectations",
        "/retries",
        "/tls",
        "/roll_up",
        "/ledger",
        "/reconciliation",
        "/certificates/issuers",
        "/certificates/key_types",
        "/verdict",
    ] {
        assert_eq!(merged.at(place), whole.at(place), "{place}, {count} shards");
    }
    assert_ne!(whole.at("/device_set"), "", "a set of devices");
    assert_eq!(why(merged), why(whole), "{count} shards");
    assert_eq!(offered(merged), offered(whole), "{count} shards");
    assert_eq!(samples(merged), samples(whole), "{count} shards");
}

/// Reasons by code, and how many devices each: what the sample device was is not compared.
fn why(record: &Record) -> BTreeMap<String, u64> {
    let key = |reason: &Value| {
        ["outcome", "phase", "code", "message", "defect", "expected"]
            .map(|key| reason[key].to_string())
            .join(" ")
    };
    record.reasons().iter().map(|reason| (key(reason), reason["count"].as_u64().expect("a count"))).collect()
}

/// Arrivals that were due in each second.
fn offered(record: &Record) -> Vec<(u64, u64)> {
    let of = |second: &Value, key: &str| second[key].as_u64().expect("a number");
    record.list("/per_second").iter().map(|second| (of(second, "t"), of(second, "offered"))).collect()
}

/// Every distribution of a record, phases and clocks, by its name.
fn distributions(record: &Record) -> BTreeMap<String, &Value> {
    let phases = record.list("/phases").iter().map(|phase| (phase["phase"].to_string(), phase));
    let clocks = record.at("/clocks").as_object().expect("clocks");
    phases.chain(clocks.iter().map(|(name, clock)| (name.clone(), clock))).collect()
}

fn samples(record: &Record) -> BTreeMap<String, u64> {
    distributions(record)
        .into_iter()
        .map(|(name, all)| (name, all["count"].as_u64().expect("a count")))
        .collect()
}

/// No sample is lost or moved: the merged ones are as many, the longest is the longest of any shard, and their sum is
/// the sum of the shards' sums.
#[track_caller]
fn times_add_up(merged: &Record, parts: &[Record]) {
    for (name, all) in distributions(merged) {
        let of: Vec<&Value> =
            parts.iter().filter_map(|part| distributions(part).get(&name).copied()).collect();
        let whole = |value: &Value, key: &str| value[key].as_u64().expect("a number");
        let sum_of =
            |value: &Value| value["mean_us"].as_f64().expect("a mean") * whole(value, "count") as f64;
        let (count, sum) =
            (of.iter().map(|v| whole(v, "count")).sum::<u64>(), of.iter().map(|v| sum_of(v)).sum::<f64>());
        assert_eq!(whole(all, "count"), count, "{name}");
        assert_eq!(Some(whole(all, "max_us")), of.iter().map(|v| whole(v, "max_us")).max(), "{name}");
        assert!((sum_of(all) - sum).abs() <= sum * 1e-6, "{name}: {} for {sum}", sum_of(all));
    }
}

/// Two parts of a small run, and others that are none of it.
fn parts() -> World {
    let world = World::new();
    let seed = |text: &str| world.read("parts.toml").replace("seed = 11", text);
    world.write("parts.toml", PARTS.replace("= 400", "= 40").replace("rate = 250.0", "rate = 400.0"));
    world.write("other.toml", seed("seed = 12"));
    for (line, out) in [
        ("parts.toml --shard 1/2", "one"),
        ("parts.toml --shard 2/2", "two"),
        ("other.toml --shard 2/2", "of-another-seed"),
        ("parts.toml --shard 2/3", "of-three"),
        ("parts.toml --shard 2/2 --set fleet.turns=2", "of-more-turns"),
        ("parts.toml", "whole"),
    ] {
        world.rollcall(&format!("run {line} --no-journal --out {out}")).exits(0);
    }
    world
}

#[test]
fn what_is_not_all_of_one_run_is_not_merged() {
    let world = parts();
    let record = world.read("two/run.json");
    for (name, text) in [
        ("cut", record.get(..record.len() / 2).expect("half").to_owned()),
        ("noise", "\u{fffd}\u{0}{".to_owned()),
        ("none", "{}".to_owned()),
        ("newer", record.replace("rollcall.run/1", "rollcall.run/2")),
    ] {
        fs::create_dir(world.path(name)).expect("a directory");
        world.write(&format!("{name}/run.json"), text);
    }
    for (runs, thing) in [
        ("one", "shard 2 of 2"),
        ("two", "shard 1 of 2"),
        ("one one", "shard 1"),
        ("one two two/run.json", "shard 2"),
        ("one of-another-seed", "of-another-seed"),
        ("one of-three", "of-three"),
        ("one of-more-turns", "of-more-turns"),
        ("whole", "whole"),
        ("one whole", "whole"),
        ("one cut", "cut"),
        ("one noise", "noise"),
        ("one none", "none"),
        ("one newer", "rollcall.run/2"),
        ("one nowhere", "nowhere"),
    ] {
        fails(&world, world.rollcall(&format!("merge {runs} --out out")), 2, thing);
        assert!(!world.path("out").exists(), "{runs}");
    }
    world.rollcall("merge two one/run.json --out out").exits(0);
    let merged = world.read("out/run.json");
    let again = world.rollcall("merge one two --out out").exits(2);
    assert!(again.stderr.contains("run.json"), "{again}");
    assert_eq!(world.read("out/run.json"), merged, "a record is not written over");
    world.rollcall("merge one two --out out --force").exits(0);
}

#[test]
fn shards_start_together_at_the_moment_that_was_named() {
    let world = World::new();
    world.write("parts.toml", PARTS.replace("= 400", "= 40").replace("rate = 250.0", "rate = 400.0"));
    #[expect(clippy::disallowed_methods, reason = "a moment that has not come yet")]
    let now = OffsetDateTime::now_utc();
    let moment = |seconds: i64| {
        let whole = now.replace_nanosecond(0).expect("a whole second");
        (whole + Duration::seconds(seconds)).format(&Rfc3339).expect("a moment")
    };
    let line =
        |part: u64, at: &str| format!("run parts.toml --shard {part}/2 --start-at {at} --out at-{part}");
    let soon = moment(5);
    let runs = [1, 2].map(|part| Running::start(world.program(&line(part, &soon))));
    runs.into_iter().for_each(|run| drop(run.finish().exits(0)));
    let started = [1, 2].map(|part| Record::read(&world, &format!("at-{part}")).at("/started_utc").clone());
    let second = soon.trim_end_matches('Z');
    assert!(
        started.iter().all(|at| at.as_str().is_some_and(|at| at.starts_with(second))),
        "{started:?}, at {soon}"
    );

    let late = world.rollcall(&line(1, &moment(-60)).replace("--out at-1", "--out out")).exits(2);
    assert_eq!(world.files("out"), Vec::<String>::new(), "{late}");
}
