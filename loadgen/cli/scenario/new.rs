//! `rollcall scenario new`: the beginning of a scenario file, which can be run as it is.

use crate::cli::output::Output;
use crate::cli::run::shipped;
use crate::cli::write_file;
use crate::exit::Failure;
use clap::Args;
use clap::builder::PossibleValuesParser;
use scenarios::SHIPPED;
use std::fs;
use std::path::{Path, PathBuf};

/// `rollcall scenario new`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall scenario new mine.toml
      with every choice that most people make, explained
  rollcall scenario new mine.toml --minimal
      what has to be there, and nothing else
  rollcall scenario new mine.toml --from factory-line
      a shipped one to change

Editors that know TOML (with Taplo, Even Better TOML or Tombi) complete and check it by the schema that its first \
line names, which is written beside it.")]
pub struct NewArgs {
    /// The file to write; the scenario is called as it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Begin with a shipped scenario
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(names()), hide_possible_values = true)]
    pub from: Option<String>,
    /// Begin with what has to be there, and nothing else
    #[arg(long, conflicts_with = "from")]
    pub minimal: bool,
    /// The schema that the first line names, taken from the directory of FILE; none is written then
    #[arg(long, value_name = "PATH")]
    pub schema: Option<String>,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
}

fn names() -> Vec<&'static str> {
    SHIPPED.iter().map(|(file, _)| file.trim_end_matches(".toml")).collect()
}

/// The schema beside the file.
const SCHEMA: &str = "rollcall.schema.json";

/// What a new scenario begins with.
const COMMENTED: &str = include_str!("commented.toml");
const MINIMAL: &str = include_str!("minimal.toml");

/// Writes the file, and the schema beside it.
///
/// # Errors
/// Usage, when the file is there, or cannot be written.
pub(super) fn run(args: &NewArgs, output: Output) -> Result<(), Failure> {
    if args.file.exists() && !args.force {
        return Err(Failure::usage(format!("will not write over {}", args.file.display()))
            .advise("Name another file, or replace it with --force."));
    }
    let text = match &args.from {
        Some(name) => shipped(name).map(|(_, text)| text).unwrap_or_default(),
        None if args.minimal => MINIMAL,
        None => COMMENTED,
    };
    let schema = args.schema.clone().unwrap_or_else(|| format!("./{SCHEMA}"));
    write_file(&args.file, begun(text, &schema, &name_of(&args.file)).as_bytes(), false)?;
    if args.schema.is_none() {
        write_schema(&args.file.with_file_name(SCHEMA), args.force, output)?;
    }
    let file = args.file.display();
    output.talk(format_args!("Wrote {file}. Next: rollcall plan {file}"));
    Ok(())
}

/// The text under a name of its own, with the line that editors find the schema by.
fn begun(text: &str, schema: &str, name: &str) -> String {
    // The scenario's own name is above the first table; below, names are those of factories.
    let mut named = false;
    let line = |line: &str| {
        let first = !named && line.starts_with("name = ");
        named |= first || line.starts_with('[');
        if first { format!("name = \"{name}\"\n") } else { format!("{line}\n") }
    };
    std::iter::once(format!("#:schema {schema}\n")).chain(text.lines().map(line)).collect()
}

/// A file's name as that of a scenario.
fn name_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    stem.chars().map(plain).collect()
}

/// Somebody else's schema is left alone: the scenario is complete without.
fn write_schema(path: &Path, force: bool, output: Output) -> Result<(), Failure> {
    let schema = format!("{}\n", super::schema()?);
    match fs::read_to_string(path) {
        Ok(there) if there == schema => Ok(()),
        Ok(_) if !force => {
            output.warn(format_args!(
                "{} is there and is another one; `rollcall scenario schema` prints that of this version",
                path.display()
            ));
            Ok(())
        }
        _ => write_file(path, schema.as_bytes(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::{Scenario, Schedule};

    #[test]
    fn whatever_it_begins_with_is_a_scenario_of_its_own_name_that_makes_arrivals() {
        for text in [COMMENTED, MINIMAL].into_iter().chain(SHIPPED.iter().map(|(_, text)| *text)) {
            let begun = begun(text, "./x.json", "my own");
            assert!(begun.starts_with("#:schema ./x.json\n"), "{begun}");
            let scenario = Scenario::parse("x.toml", &begun, &[]).unwrap_or_else(|told| panic!("{told}"));
            assert_eq!(scenario.name, "my own");
            let made = Schedule::new(&scenario.load, scenario.most_arrivals(), scenario.seed, &[]);
            assert!(made.is_ok_and(|schedule| schedule.planned() > 0), "{begun}");
        }
    }

    #[test]
    fn what_is_commented_out_can_be_switched_on() {
        // A line such as `# key = "p384"    # why`: without its mark it is TOML that the scenario takes.
        let choices: Vec<_> = COMMENTED
            .lines()
            .enumerate()
            .filter_map(|(at, line)| line.strip_prefix("#? ").map(|choice| (at, choice)))
            .collect();
        assert!(choices.len() >= 5, "{choices:?}");
        for (at, choice) in choices {
            let text: Vec<_> = COMMENTED
                .lines()
                .enumerate()
                .map(|(other, line)| if at == other { choice } else { line })
                .collect();
            let told = Scenario::parse("x.toml", &text.join("\n"), &[]);
            assert!(told.is_ok(), "{choice}: {}", told.err().unwrap_or_default());
        }
    }

    #[test]
    fn a_scenario_is_called_as_its_file() {
        for (file, name) in
            [("mine.toml", "mine"), ("a/b c.toml", "b-c"), ("x\"y.toml", "x-y"), ("mine", "mine")]
        {
            assert_eq!(name_of(Path::new(file)), name);
        }
    }
}
