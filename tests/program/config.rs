//! Values of a scenario from elsewhere than its file: which one counts, where it is said to be from, and that a record
//! can be rebuilt without them.

use crate::world::{CONFIG_HOME, Finished, Record, World};
use serde_json::Value;
use std::fs;

/// Layers in the order in which they count, each with a number of devices of its own.
const LAYERS: [(&str, u64); 4] = [("user", 11), ("project", 12), ("environment", 13), ("set", 14)];

/// What the scenario itself says, in line 5.
const OWN: u64 = 10;

fn world() -> World {
    let world = World::new();
    let scenario = format!(
        "name = \"mine\"\nseed = 3\n\n[fleet]\ndevices = {OWN}\nregistration_id = \"dev-{{index}}\"\n\n\
         [fleet.authority.minted]\n[target.mock]\n[load.closed]\nin_flight = 5\n"
    );
    world.write("mine.toml", scenario);
    fs::create_dir_all(world.path(CONFIG_HOME).join("rollcall")).expect("a directory");
    world
}

fn user_file(world: &World, text: &str) {
    world.write(&format!("{CONFIG_HOME}/rollcall/config.toml"), text);
}

/// Runs the program with only these layers setting `fleet.devices`.
fn run_with(world: &World, layers: &[(&str, u64)], line: &str) -> Finished {
    let file = |name: &str| {
        let value = layers.iter().find(|(layer, _)| *layer == name);
        value
            .map(|(_, devices)| format!("# settings\n[set]\nfleet.devices = {devices}\n"))
            .unwrap_or_default()
    };
    user_file(world, &file("user"));
    world.write("rollcall.toml", file("project"));
    let set = layers.iter().find(|(layer, _)| *layer == "set");
    let set = set.map(|(_, devices)| format!(" --set fleet.devices={devices}")).unwrap_or_default();
    let mut command = world.program(&format!("{line}{set}"));
    if let Some((_, devices)) = layers.iter().find(|(layer, _)| *layer == "environment") {
        command.env("ROLLCALL_SET__FLEET__DEVICES", devices.to_string());
    }
    world.finish(command)
}

/// The setting of this key.
#[track_caller]
fn setting<'v>(document: &'v Value, key: &str) -> &'v Value {
    let settings = document["settings"].as_array().expect("settings");
    settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("no {key}: {document}"))
}

#[test]
fn of_any_layers_the_highest_one_counts_and_is_named() {
    let world = world();
    for chosen in 0..1 << LAYERS.len() {
        let layers: Vec<_> = LAYERS
            .into_iter()
            .enumerate()
            .filter(|(at, _)| chosen >> at & 1 == 1)
            .map(|(_, layer)| layer)
            .collect();
        let (layer, devices) = layers.last().copied().unwrap_or(("file", OWN));
        let origin = match layer {
            "file" => "mine.toml:5",
            "user" => "config-home/rollcall/config.toml:3",
            "project" => "rollcall.toml:3",
            "environment" => "ROLLCALL_SET__FLEET__DEVICES",
            _ => "--set",
        };
        let shown = run_with(&world, &layers, "config show mine.toml --json").exits(0).json();
        let found = setting(&shown, "fleet.devices");
        assert_eq!(found["value"], devices.to_string(), "{layers:?}");
        let said = found["origin"].as_str().unwrap_or_default();
        assert!(said.ends_with(origin), "{layers:?}: {said}");
        let planned = run_with(&world, &layers, "plan mine.toml --json").exits(0).json();
        assert_eq!(planned["forecast"]["arrivals"], devices, "{layers:?}");
    }
}

#[test]
fn settings_apply_to_what_they_say_and_no_config_does_without_them() {
    let world = world();
    let below_set = &LAYERS[..3];
    for line in ["scenario show mine.toml --resolved", "config show mine.toml"] {
        let with = run_with(&world, below_set, line).exits(0);
        assert!(with.stdout.lines().any(|line| line == "fleet.devices = 13"), "{with}");
        let without = run_with(&world, below_set, &format!("{line} --no-config")).exits(0);
        assert!(without.stdout.lines().any(|line| line == "fleet.devices = 10"), "{without}");
    }
    let planned = run_with(&world, below_set, "plan mine.toml --no-config --json").exits(0);
    assert_eq!(planned.json()["forecast"]["arrivals"], OWN);
    assert!(planned.stderr.is_empty(), "{planned}");
    let wrong = [("environment", 0)];
    run_with(&world, &wrong, "scenario validate mine.toml").exits(2);
    run_with(&world, &wrong, "scenario validate mine.toml --no-config").exits(0);
    // Told, for nobody sees it in the scenario; and not part of the result.
    let told = run_with(&world, below_set, "plan mine.toml").exits(0);
    assert!(told.stderr.contains("fleet.devices (ROLLCALL_SET__FLEET__DEVICES)"), "{told}");
}

#[test]
fn origins_stand_beside_the_values_and_the_whole_is_toml_to_a_reader() {
    let world = world();
    let shown = run_with(&world, &LAYERS[..2], "config show mine.toml --origin --set seed=9").exits(0).stdout;
    for (line, origin) in [
        ("fleet.devices = 12", "rollcall.toml:3"),
        ("name = \"mine\"", "mine.toml:1"),
        ("seed = 9", "--set"),
        ("fleet.turns = 1", "default"),
    ] {
        let found = shown.lines().find(|shown| shown.starts_with(&format!("{line} ")));
        let found = found.unwrap_or_else(|| panic!("no `{line}` in\n{shown}"));
        assert!(found.ends_with(&format!("  # {origin}")), "{found}");
    }
    assert!(shown.lines().all(|line| line.starts_with('#') || line.contains(" = ")), "{shown}");
}

#[test]
fn without_a_scenario_every_place_that_is_looked_at_is_told() {
    let world = world();
    let shown = world.rollcall("config show --json").exits(0).json();
    let layers = shown["layers"].as_array().expect("layers");
    let names: Vec<_> = layers.iter().filter_map(|layer| layer["layer"].as_str()).collect();
    assert_eq!(names, LAYERS.map(|(name, _)| name));
    assert!(layers.iter().all(|layer| layer["found"] == false), "{shown}");
    assert_eq!(shown["schema"], "rollcall.config/1");
    let shown = run_with(&world, &LAYERS, "config show --json").exits(0).json();
    let found: Vec<_> = shown["layers"]
        .as_array()
        .expect("layers")
        .iter()
        .map(|layer| layer["values"][0]["value"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(found, LAYERS.map(|(_, devices)| devices.to_string()));
    assert_eq!(setting(&shown, "fleet.devices")["origin"], "--set");
}

#[test]
fn a_value_for_a_variant_that_a_scenario_does_not_have_is_left_out_and_told() {
    let world = world();
    user_file(
        &world,
        "[set.target.service]\nhost = \"dps.invalid\"\nid_scope = \"0ne00000001\"\n[set]\nload.open.rate = 5.0\n",
    );
    let shown = world.rollcall("config show mine.toml --json").exits(0).json();
    let left_out: Vec<_> = shown["left_out"].as_array().expect("a list").iter().collect();
    let told: Vec<_> = left_out.iter().map(|left| (left["key"].as_str(), left["chosen"].as_str())).collect();
    assert_eq!(
        told,
        [
            (Some("target.service.host"), Some("target.mock")),
            (Some("target.service.id_scope"), Some("target.mock")),
            (Some("load.open.rate"), Some("load.closed")),
        ]
    );
    let planned = world.rollcall("plan mine.toml").exits(0);
    assert!(planned.stderr.contains("target.service.host"), "{planned}");
    // It is the scenario alone that is chosen by; --set is meant for it, and refused.
    world.rollcall("plan mine.toml --set target.service.host=dps.invalid").exits(2);
}

#[test]
fn a_record_is_rebuilt_without_the_settings_it_was_made_with() {
    let world = world();
    world.write("rollcall.toml", "[set]\nfleet.devices = 20\n");
    for part in 1..=2 {
        let line = format!("run mine.toml --shard {part}/2 --set limits.generator=report --out part-{part}");
        let mut command = world.program(&line);
        command.env("ROLLCALL_SET__SEED", "5");
        world.finish(command).exits(0);
    }
    fs::remove_file(world.path("rollcall.toml")).expect("removed");
    let record = Record::read(&world, "part-1");
    assert_eq!(record.number("/seed"), 5);
    let given: Vec<_> = record.list("/scenario/overrides").iter().filter_map(Value::as_str).collect();
    assert_eq!(given, ["fleet.devices=20", "seed=5", "limits.generator=report"]);
    let origins: Vec<_> = ["fleet.devices", "seed", "limits.generator", "name", "fleet.turns"]
        .map(|key| {
            let setting = record.list("/settings").iter().find(|setting| setting["key"] == key);
            setting.map(|setting| setting["origin"].clone()).unwrap_or_default()
        })
        .to_vec();
    assert_eq!(origins, ["rollcall.toml:2", "ROLLCALL_SET__SEED", "--set", "mine.toml:1", "default"]);
    world.rollcall("report part-1/run.journal --out rebuilt").exits(0);
    assert_eq!(Record::read(&world, "rebuilt").at("/settings"), record.at("/settings"));
    world.rollcall("merge part-1 part-2 --out whole").exits(0);
    let whole = Record::read(&world, "whole");
    assert_eq!((whole.planned(), whole.number("/seed"), whole.assigned()), (20, 5, 20));
    // The settings of whoever renders mean nothing.
    world.write("rollcall.toml", "[set]\nfleet.devices = 0\n");
    world.rollcall("report whole").exits(0);
}

#[test]
fn variables_that_name_no_key_are_refused() {
    let world = world();
    for name in ["ROLLCALL_SET_FLEET", "ROLLCALL_SET__", "ROLLCALL_SET__FLEET__"] {
        let mut command = world.program("plan mine.toml");
        command.env(name, "5");
        let refused = world.finish(command).exits(2);
        assert!(refused.stderr.contains(name), "{refused}");
    }
}
