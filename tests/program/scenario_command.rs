//! `rollcall scenario`, `completions` and `man`: what is shipped is listed and shown, what is begun can be run, and the
//! shell's files are made from the command line as it is.

use crate::world::{Record, World};
use serde_json::Value;
use std::fs;

/// What is listed, as JSON.
fn listed(world: &World) -> Vec<Value> {
    let document = world.rollcall("scenario list --json").exits(0).json();
    assert_eq!(document["schema"], "rollcall.scenarios/1");
    document["scenarios"].as_array().expect("scenarios").clone()
}

fn name(entry: &Value) -> &str {
    entry["name"].as_str().expect("a name")
}

#[test]
fn every_shipped_scenario_is_listed_valid_and_shown_as_it_is() {
    let world = World::new();
    let listed = listed(&world);
    assert!(listed.len() >= 15, "{listed:?}");
    let names: Vec<_> = listed.iter().map(name).collect();
    let said = world.rollcall(&format!("scenario validate {}", names.join(" "))).exits(0);
    assert_eq!(said.stdout.lines().count(), names.len(), "{said}");
    for entry in &listed {
        let shown = world.rollcall(&format!("scenario show {}", name(entry))).exits(0).stdout;
        let file = format!("{}/scenarios/{}.toml", env!("CARGO_MANIFEST_DIR"), name(entry));
        assert_eq!(shown, fs::read_to_string(file).expect("a file"));
        assert!(["small", "large"].contains(&entry["size"].as_str().unwrap_or_default()), "{entry}");
        assert!(entry["devices"].as_u64() > Some(0), "{entry}");
        let about = entry["about"].as_str().unwrap_or_default();
        assert!(!about.is_empty() && !about.contains("Size:") && !about.contains('#'), "{entry}");
    }
}

#[test]
fn the_list_fits_a_terminal() {
    let world = World::new();
    let said = world.rollcall("scenario list").exits(0);
    let long: Vec<_> = said.stdout.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(long.is_empty(), "{long:#?}");
    for entry in listed(&world) {
        assert!(said.stdout.lines().any(|line| line.starts_with(name(&entry))), "{entry}");
    }
}

#[test]
fn what_is_begun_is_valid_plans_and_runs_under_the_name_of_its_file() {
    let world = World::new();
    for (file, more) in [
        ("mine.toml", ""),
        ("small.toml", "--minimal"),
        ("line.toml", "--from smoke"),
        ("steady.toml", "--from steady"),
    ] {
        world.rollcall(&format!("scenario new {file} {more}")).exits(0);
        world.rollcall(&format!("scenario validate {file}")).exits(0);
        let plan = world.rollcall(&format!("plan {file} --json")).exits(0).json();
        assert!(plan["forecast"]["arrivals"].as_u64() > Some(0), "{plan}");
    }
    for file in ["mine.toml", "small.toml"] {
        let line = format!("run {file} --set limits.generator=report --out out-{file}");
        world.rollcall(&line).exits(0);
        let record = Record::read(&world, &format!("out-{file}"));
        assert_eq!(record.at("/scenario/name"), file.trim_end_matches(".toml"));
        assert_eq!(record.assigned(), record.planned());
    }
}

#[test]
fn a_scenario_that_is_begun_names_the_schema_that_is_written_beside_it() {
    let world = World::new();
    fs::create_dir(world.path("load")).expect("a directory");
    world.rollcall("scenario new load/mine.toml").exits(0);
    assert!(world.read("load/mine.toml").starts_with("#:schema ./rollcall.schema.json\n"));
    let printed = world.rollcall("scenario schema").exits(0);
    assert_eq!(world.read("load/rollcall.schema.json"), printed.stdout);
    let validator = jsonschema::validator_for(&printed.json()).expect("a schema");
    assert!(!validator.is_valid(&serde_json::json!({ "name": 5 })));
    // A path of the user's: nothing is written beside the scenario.
    fs::create_dir(world.path("other")).expect("a directory");
    world.rollcall("scenario new other/mine.toml --schema ../load/rollcall.schema.json").exits(0);
    assert_eq!(world.files("other"), ["mine.toml"]);
    assert!(world.read("other/mine.toml").starts_with("#:schema ../load/rollcall.schema.json\n"));
}

#[test]
fn nothing_is_written_over_without_leave() {
    let world = World::new();
    world.write("mine.toml", "mine");
    world.write("rollcall.schema.json", "{}");
    let refused = world.rollcall("scenario new mine.toml").exits(2);
    assert!(refused.stderr.contains("mine.toml") && refused.stderr.contains("--force"), "{refused}");
    assert_eq!(world.read("mine.toml"), "mine");
    let said = world.rollcall("scenario new other.toml").exits(0);
    assert!(said.stderr.contains("rollcall.schema.json"), "{said}");
    assert_eq!(world.read("rollcall.schema.json"), "{}");
    world.rollcall("scenario new mine.toml --force").exits(0);
    assert!(world.read("mine.toml").contains("[fleet]"));
    assert!(world.read("rollcall.schema.json").len() > 100);
    world.rollcall("scenario new nowhere/mine.toml").exits(2);
}

#[test]
fn recorded_arrivals_that_a_load_names_are_validated_too() {
    let world = World::new();
    let text = "name = \"r\"\n[fleet]\ndevices = 3\nregistration_id = \"d-{index}\"\n[fleet.authority.minted]\n\
                [target.mock]\n[load.open]\nmax_in_flight = 5\nstage = [{ replay = { file = \"arrivals.txt\" } }]\n";
    fs::create_dir(world.path("load")).expect("a directory");
    world.write("load/r.toml", text);
    for (arrivals, code) in
        [(None, 2), (Some("1\n2\nlater\n"), 2), (Some("1\n2\n3\n"), 0), (Some("1\n2\n3\n4\n"), 2)]
    {
        if let Some(arrivals) = arrivals {
            world.write("load/arrivals.txt", arrivals);
        }
        world.rollcall("scenario validate load/r.toml").exits(code);
    }
}

#[test]
fn completions_are_scripts_that_their_shell_reads() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = world.rollcall(&format!("completions {shell}")).exits(0).stdout;
        for word in ["scenario", "validate", "find-capacity"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
        world.write(&format!("completions.{shell}"), script);
    }
    let mut bash = world.command("bash");
    bash.args(["-n", "completions.bash"]);
    let read = world.finish(bash).exits(0);
    assert!(read.stderr.is_empty(), "{read}");
    // What a user gets for `rollcall sc<Tab>`.
    let mut bash = world.command("bash");
    bash.args([
        "-c",
        "source completions.bash; COMP_WORDS=(rollcall sc); COMP_CWORD=1; _rollcall rollcall sc rollcall; \
         echo \"${COMPREPLY[@]}\"",
    ]);
    assert_eq!(world.finish(bash).exits(0).stdout.trim(), "scenario");
}

#[test]
fn every_command_has_a_man_page() {
    let world = World::new();
    world.rollcall("man --out pages").exits(0);
    let pages = world.files("pages");
    let help = world.rollcall("--help").exits(0).stdout;
    let commands = help.split("Commands:").nth(1).expect("commands").lines().skip(1);
    let commands: Vec<_> = commands
        .map_while(|line| line.strip_prefix("  "))
        // What is said of a command may take more lines, which are further in.
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 15, "{commands:?}");
    for command in commands {
        let page = format!("rollcall-{command}.1");
        assert!(pages.contains(&page), "no {page} in {pages:?}");
    }
    for page in ["rollcall-scenario-validate.1", "rollcall-config-show.1", "rollcall-mint-fleet.1"] {
        let text = world.read(format!("pages/{page}"));
        assert!(text.contains(".SH SYNOPSIS") && text.contains(".SH EXAMPLES"), "{page}:\n{text}");
    }
    let printed = world.rollcall("man").exits(0);
    assert_eq!(printed.stdout.trim_end(), world.read("pages/rollcall.1").trim_end());
}
