//! Mistakes that people make in scenarios: each is told with its line, the value underlined, and what repairs it.
//!
//! What is said is kept in `snapshots/`, one file a mistake. Where a message is changed on purpose, run the tests once
//! with `INSTA_UPDATE=always` and look at the difference.

use crate::world::{CONFIG_HOME, Finished, World};
use std::fs;

/// A scenario without a mistake.
const GOOD: &str = r#"# How many devices the line can send us.
name = "mine"

[fleet]
devices = 1000
registration_id = "dev-{index:05}"
key = "p256"

[fleet.authority.minted]
intermediates = 1

[target.mock]
group = "line-a"
hubs = ["hub-1.azure-devices.net"]

[load.open]
rate = 50.0
max_in_flight = 100

[limits]
grace = "20s"
"#;

/// What the scenario is after one replacement.
fn with(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    GOOD.replace(from, to)
}

/// The scenario with more at its end.
fn and(more: &str) -> String {
    format!("{GOOD}\n{more}")
}

#[track_caller]
fn assert_told(name: &str, finished: Finished) {
    let finished = finished.exits(2);
    assert!(finished.stdout.is_empty(), "{finished}");
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, finished.stderr);
    });
}

#[test]
fn a_scenario_without_a_mistake_is_ok() {
    let world = World::new();
    world.write("mine.toml", GOOD);
    let said = world.rollcall("scenario validate mine.toml").exits(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("mine.toml: ok\n", ""));
}

#[test]
fn each_typical_mistake_is_told_with_its_line_and_its_repair() {
    let world = World::new();
    let factories = "[[fleet.factory]]\nname = \"line-b\"\nshare = 0.5\n\n[[fleet.factory]]\nname = \"line-c\"\nshare = 0.4\n";
    for (name, text) in [
        ("a-misspelt-key", with("max_in_flight", "max_in_fligth")),
        ("a-key-in-the-wrong-table", with("grace =", "rate =")),
        ("a-time-without-its-unit", with("\"20s\"", "\"20\"")),
        ("a-time-without-quotes", with("\"20s\"", "20")),
        ("a-number-in-quotes", with("devices = 1000", "devices = \"1000\"")),
        ("a-negative-number-of-devices", with("devices = 1000", "devices = -1000")),
        ("no-devices", with("devices = 1000", "devices = 0")),
        ("a-template-without-its-index", with("dev-{index:05}", "dev")),
        ("a-value-that-is-none-of-the-choices", with("\"p256\"", "\"P-256\"")),
        ("a-share-above-one", and("[[fleet.defect]]\nid = \"cn-mismatch\"\nshare = 1.5\n")),
        ("an-unknown-defect", and("[[fleet.defect]]\nid = \"time-leaf-expird\"\nshare = 0.1\n")),
        ("two-targets", and("[target.service]\nhost = \"localhost\"\nid_scope = \"0ne00000001\"\n")),
        ("two-loads", and("[load.closed]\nin_flight = 10\n")),
        ("no-load", with("[load.open]\nrate = 50.0\nmax_in_flight = 100\n", "")),
        ("factories-that-do-not-make-all", and(factories).replace("group = \"line-a\"\n", "")),
        ("an-event-for-an-unknown-group", and("[[event]]\nat = \"5s\"\ndisable_group = \"line-b\"\n")),
        ("a-gate-on-an-unknown-metric", and("[[gate]]\nmetric = \"response_tim.p99\"\nat_most = \"1s\"\n")),
        ("no-toml", with("rate = 50.0", "rate = 50.0 a second")),
        ("a-quote-that-is-not-closed", with("\"line-a\"", "\"line-a")),
        (
            "more-arrivals-than-devices",
            with("rate = 50.0\n", "stage = [{ constant = { rate = 50.0, lasts = \"1m\" } }]\n"),
        ),
        ("several-at-once", with("devices = 1000", "devices = 0").replace("\"20s\"", "\"20\"")),
    ] {
        world.write("mine.toml", text);
        assert_told(name, world.rollcall("scenario validate mine.toml"));
    }
}

#[test]
fn a_mistake_from_elsewhere_than_the_scenario_names_where_it_is_from() {
    let world = World::new();
    world.write("mine.toml", GOOD);
    let validate = "scenario validate mine.toml";
    assert_told("a-mistake-in-set", world.rollcall(&format!("{validate} --set fleet.devices=0")));

    let mut command = world.program(validate);
    command.env("ROLLCALL_SET__FLEET__DEVICES", "many");
    assert_told("a-mistake-in-a-variable", world.finish(command));

    world.write("rollcall.toml", "[set]\nlimits.grace = \"20s\"\nfleet.devises = 500\n");
    assert_told("a-mistake-in-the-projects-file", world.rollcall(validate));
    world.write("rollcall.toml", "[fleet]\ndevices = 500\n");
    assert_told("a-projects-file-without-set", world.rollcall(validate));
    fs::remove_file(world.path("rollcall.toml")).expect("removed");

    // The message has the path of the file, which is another in every run.
    let user = format!("{CONFIG_HOME}/rollcall/config.toml");
    fs::create_dir_all(world.path(&user).parent().expect("a parent")).expect("a directory");
    world.write(&user, "[set]\nlimits.grace = 20 s\n");
    let said = world.rollcall(validate).exits(2);
    assert!(said.stderr.contains("rollcall/config.toml:2:16"), "{said}");
}

#[test]
fn plan_and_run_tell_a_mistake_as_validate_does() {
    let world = World::new();
    world.write("mine.toml", with("max_in_flight", "max_in_fligth"));
    let validated = world.rollcall("scenario validate mine.toml").exits(2);
    for verb in ["plan", "run"] {
        assert_eq!(world.rollcall(&format!("{verb} mine.toml")).exits(2).stderr, validated.stderr, "{verb}");
    }
}

#[test]
fn mistakes_are_told_to_machines_with_their_places() {
    let world = World::new();
    world.write("good.toml", GOOD);
    world.write("bad.toml", with("devices = 1000", "devices = 0").replace("\"20s\"", "\"20\""));
    let said = world.rollcall("scenario validate good.toml bad.toml nowhere.toml smoke --json").exits(2);
    assert!(said.stderr.is_empty(), "{said}");
    let document = said.json();
    assert_eq!(document["schema"], "rollcall.validation/1");
    assert_eq!(document["valid"], false);
    let files = document["files"].as_array().expect("files");
    let valid: Vec<_> = files.iter().map(|file| (file["file"].as_str(), file["valid"].as_bool())).collect();
    assert_eq!(
        valid,
        [("good.toml", true), ("bad.toml", false), ("nowhere.toml", false), ("smoke", true)]
            .map(|(file, valid)| (Some(file), Some(valid)))
    );
    let places: Vec<_> = files[1]["mistakes"]
        .as_array()
        .expect("mistakes")
        .iter()
        .map(|told| [&told["line"], &told["column"], &told["width"]].map(serde_json::Value::as_u64))
        .collect();
    assert_eq!(places, [[Some(5), Some(11), Some(1)], [Some(21), Some(9), Some(4)]]);
    let unread = &files[2]["mistakes"][0];
    assert!(
        unread["line"].is_null() && unread["message"].as_str().is_some_and(|m| m.contains("nowhere.toml"))
    );
}
