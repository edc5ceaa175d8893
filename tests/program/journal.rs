//! The journal: what a run leaves behind that was killed, or whose disk was full.

use crate::world::{Record, Running, World, awaited};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// Eight seconds of arrivals.
const LONG: &str = r#"name = "long"

[fleet]
devices = 400
registration_id = "unit-{index:05}"

[fleet.authority.minted]
intermediates = 1

[target.mock]

[load.open]
rate = 50.0
max_in_flight = 400

[limits]
generator = "report"
"#;

/// The size of a file, 0 where there is none.
fn size(world: &World, name: &str) -> u64 {
    world.path(name).metadata().map_or(0, |file| file.len())
}

/// Plays the scenario into `out`, and kills it when the journal has some outcomes.
fn kill_a_run(world: &World) {
    world.write("long.toml", LONG);
    let run = Running::start(world.program("run long.toml --out out"));
    let began = awaited("a journal", || Some(size(world, "out/run.journal")).filter(|bytes| *bytes > 0));
    awaited("outcomes in the journal", || (size(world, "out/run.journal") > began + 2_000).then_some(()));
    let killed = run.kill();
    assert_eq!(killed.code, None, "{killed}");
    assert_eq!(world.files("out"), ["run.journal"], "{killed}");
}

/// A run that came to its end, of a second and more.
fn play(world: &World) {
    world.write("short.toml", LONG.replace("devices = 400", "devices = 75"));
    world.rollcall("run short.toml --out out").exits(0);
}

fn outcomes(record: &Record) -> u64 {
    let all = record.at("/outcomes").as_object().expect("outcomes");
    all.values().filter_map(Value::as_u64).sum()
}

/// The rows of a table with commas: none of these has one inside.
fn csv(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

#[test]
fn a_run_that_is_killed_leaves_a_record_of_all_that_had_ended() {
    let world = World::new();
    kill_a_run(&world);
    let told = world.rollcall("report out").exits(130);
    assert_eq!(world.files("out"), ["run.html", "run.journal", "run.json"]);
    let record = Record::read(&world, "out");
    let (assigned, interrupted) = (record.assigned(), record.number("/outcomes/interrupted"));
    assert_eq!((record.planned(), outcomes(&record)), (400, 400), "{told}");
    assert!(assigned > 0 && interrupted > 0, "{told}");
    assert_eq!(assigned + interrupted, 400, "{told}");
    assert_eq!(record.at("/verdict/kind"), "interrupted");
    let clocks = record.at("/clocks");
    for clock in ["service_time", "response_time"] {
        assert_eq!(clocks[clock]["count"].as_u64(), Some(assigned), "{clock}");
    }
    every_ended_arrival_has_a_row(&world, assigned);
}

fn every_ended_arrival_has_a_row(world: &World, ended: u64) {
    for form in ["csv", "jsonl"] {
        // The record is there by now, and says that the run was killed.
        world.rollcall(&format!("report out --devices devices.{form}")).exits(130);
    }
    let lines = world.read("devices.jsonl");
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len() as u64, ended);
    let arrivals: BTreeSet<u64> = rows.iter().filter_map(|row| row["arrival"].as_u64()).collect();
    assert_eq!(arrivals.len() as u64, ended, "each once");
    for row in &rows {
        let id = format!("unit-{:05}", row["arrival"].as_u64().expect("a number"));
        assert_eq!((&row["registration_id"], &row["outcome"]), (&Value::from(id), &Value::from("assigned")));
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("no `{key}`: {row}"));
        assert!(
            number("due_ms") <= number("started_ms") && number("started_ms") < number("finished_ms"),
            "{row}"
        );
        assert!(number("service_us") <= number("response_us"), "{row}");
    }
    let table = world.read("devices.csv");
    let table = csv(&table);
    let (head, rows_of_table) = table.split_first().expect("a head");
    assert_eq!(rows_of_table.len(), rows.len());
    for (cells, row) in rows_of_table.iter().zip(&rows) {
        assert_eq!(cells.len(), head.len(), "{cells:?}");
        for (key, cell) in head.iter().zip(cells) {
            let told = match &row[*key] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            assert_eq!(*cell, told, "{key}");
        }
    }
}

#[test]
fn a_journal_cut_short_still_gives_a_record_that_says_so() {
    let world = World::new();
    play(&world);
    let whole = fs::read(world.path("out/run.journal")).expect("a journal");
    let first = world.read("out/run.json");
    assert!(first.contains("rollcall.run/1"), "{first}");
    // What is missing: the end's mark alone, a block or two, almost all.
    let mut assigned = Vec::new();
    for cut in [3, whole.len() / 4, whole.len() / 2] {
        let name = format!("cut-{cut}");
        fs::create_dir(world.path(&name)).expect("a directory");
        world.write(&format!("{name}/run.journal"), &whole[..whole.len() - cut]);
        let told = world.rollcall(&format!("report {name}")).exits(130);
        assert!(told.stderr.contains("warning"), "{told}");
        let record = Record::read(&world, &name);
        assert_eq!((record.planned(), outcomes(&record)), (75, 75), "{told}");
        let notes = record.at("/notes").to_string();
        assert!(notes.contains("journal"), "{notes}");
        assigned.push(record.assigned());
    }
    assert_eq!(assigned[0], 75, "every outcome is before the mark");
    assert!(assigned.is_sorted_by(|more, less| more >= less) && assigned[2] < 75, "{assigned:?}");
}

#[test]
fn a_journal_whose_head_is_damaged_is_refused_and_the_place_named() {
    let world = World::new();
    play(&world);
    let whole = fs::read(world.path("out/run.journal")).expect("a journal");
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    for (name, bytes, thing) in [
        ("head.journal", flipped(20), "at byte "),
        ("noise.journal", (0..5_000_u32).map(|n| (n * n % 251) as u8).collect(), "noise.journal"),
        ("empty.journal", Vec::new(), "empty.journal"),
    ] {
        world.write(name, bytes);
        let record = world.rollcall(&format!("report {name} --out rebuilt")).exits(2);
        assert!(record.stderr.contains(thing) && record.stderr.contains(name), "{record}");
        let table = world.rollcall(&format!("report {name} --devices devices.csv --out rebuilt")).exits(2);
        for left in ["rebuilt", "devices.csv"] {
            assert!(!world.path(left).exists(), "{left} after {record}{table}");
        }
    }
}

#[test]
fn of_a_damaged_journal_what_comes_before_the_damage_is_kept() {
    let world = World::new();
    play(&world);
    let mut bytes = fs::read(world.path("out/run.journal")).expect("a journal");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(0xff);
    world.write("middle.journal", bytes);
    let told = world.rollcall("report middle.journal --out rebuilt").exits(130);
    assert!(told.stderr.contains("warning"), "{told}");
    let record = Record::read(&world, "rebuilt");
    assert_eq!((record.planned(), outcomes(&record)), (75, 75), "{told}");
    assert!((1..75).contains(&record.assigned()), "{told}");
    let reasons = record.at("/reasons").to_string();
    assert!(reasons.contains("not in the journal"), "{reasons}");
}

#[test]
fn a_record_that_finds_no_room_was_printed_before() {
    let world = World::new();
    let limited = "trap '' XFSZ; ulimit -f 4";
    let summary = world.rollcall_under(limited, "run smoke --no-journal --out one").exits(1);
    assert!(summary.stdout.contains("GOOD") && summary.stderr.contains("run.json"), "{summary}");
    let record = world.rollcall_under(limited, "run smoke --no-journal --out other --json").exits(1);
    let record: Value = serde_json::from_str(&record.stdout).expect("the record");
    assert_eq!(record["verdict"]["kind"], "good");
    assert!(!world.path("one/run.json").exists());
}

#[test]
fn the_page_of_a_record_is_rendered_again_the_same() {
    let world = World::new();
    play(&world);
    let (page, record) = (world.read("out/run.html"), world.read("out/run.json"));
    world.write("out/run.html", "");
    let told = world.rollcall("report out").exits(0);
    assert!(world.read("out/run.html") == page, "another page: {told}");
    world.rollcall("report out/run.json --out elsewhere").exits(0);
    assert!(world.read("elsewhere/run.html") == page, "another page elsewhere");
    assert_eq!(world.read("out/run.json"), record);
    let summary = world.rollcall("report out --json").exits(0).json();
    assert_eq!(summary, serde_json::from_str::<Value>(&record).expect("JSON"));
}

#[test]
fn a_later_run_keeps_the_journal_of_one_that_was_killed() {
    let world = World::new();
    kill_a_run(&world);
    let killed = fs::read(world.path("out/run.journal")).expect("a journal");
    play(&world);
    assert_eq!(world.files("out"), ["killed-1.journal", "run.html", "run.journal", "run.json"]);
    assert!(fs::read(world.path("out/killed-1.journal")).expect("a journal") == killed);
    world.rollcall("report out/killed-1.journal --out of-the-killed").exits(130);
    assert_eq!(Record::read(&world, "of-the-killed").planned(), 400);
    // Beside a record there is nothing to rescue.
    play(&world);
    assert!(!world.files("out").contains(&"killed-2.journal".to_owned()), "{:?}", world.files("out"));
}

#[test]
fn a_run_without_a_journal_writes_none() {
    let world = World::new();
    world.rollcall("run smoke --set fleet.devices=20 --no-journal --out out").exits(0);
    assert_eq!(world.files("out"), ["run.html", "run.json"]);
    world.rollcall("report out --devices devices.csv").exits(2);
    assert!(!world.path("devices.csv").exists());
}

/// So many arrivals that their journal does not fit where their record does; few of them start.
const CROWD: &str = r#"name = "crowd"

[fleet]
devices = 400
turns = 100
registration_id = "unit-{index:05}"

[fleet.authority.minted]
intermediates = 1

[target.mock]

[load.open]
rate = 20000.0
max_in_flight = 20
when_full = "shed"
"#;

#[test]
fn a_disk_that_is_full_under_the_journal_ends_the_journal_and_not_the_run() {
    let world = World::new();
    world.write("crowd.toml", CROWD);
    // 150 KiB, or 300 where the shell counts otherwise: the record needs a tenth of that, the journal half a MiB.
    let told = world.rollcall_under("trap '' XFSZ; ulimit -f 300", "run crowd.toml --out out").exits(99);
    assert_eq!(world.files("out"), ["run.html", "run.journal", "run.json"], "{told}");
    let record = Record::read(&world, "out");
    assert_eq!((record.planned(), outcomes(&record)), (40_000, 40_000), "{told}");
    assert!(record.assigned() > 0, "{told}");
    record.adds_up();
    let lost = record.number("/generator/journal_lost");
    assert!((1..40_000).contains(&lost), "{lost} lost: {told}");
    // The crowd was turned away, which is what the run is judged by; that the journal is not full is told.
    assert_eq!(record.at("/verdict/kind"), "gate-failed", "{told}");
    let findings = record.at("/generator/findings").to_string();
    assert!(findings.contains(&lost.to_string()), "{findings}");

    // The run came to its end; of its outcomes, some are not in the journal.
    world.rollcall("report out/run.journal --out rebuilt").exits(98);
    let rebuilt = Record::read(&world, "rebuilt");
    assert_eq!((rebuilt.planned(), outcomes(&rebuilt)), (40_000, 40_000));
    assert_eq!(rebuilt.at("/ended"), "completed");
    let missing = rebuilt.number("/outcomes/interrupted");
    assert!(missing >= lost, "{missing} are not known");
    let reasons = rebuilt.at("/verdict/reasons").to_string();
    assert!(reasons.contains(&missing.to_string()), "{reasons}");
}
