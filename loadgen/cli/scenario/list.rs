//! `rollcall scenario list`: the shipped scenarios.

use crate::cli::figures::{cut, grouped};
use crate::cli::output::Output;
use crate::cli::plan::whole_load;
use crate::cli::prose::{Paint, Tone};
use crate::cli::run::Script;
use crate::exit::Failure;
use clap::Args;
use scenarios::SHIPPED;
use serde::Serialize;
use std::path::PathBuf;

/// `rollcall scenario list`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall scenario list
  rollcall scenario list --json | jq -r '.scenarios[] | select(.size == \"small\") | .name'

Small ones take seconds on any machine. `rollcall scenario show NAME` prints one, and `rollcall run NAME` plays it.")]
pub struct ListArgs {
    /// Print the result as JSON (schema rollcall.scenarios/1)
    #[arg(long)]
    pub json: bool,
}

/// `rollcall.scenarios/1`.
#[derive(Debug, Serialize)]
struct Document {
    /// `rollcall.scenarios/1`.
    schema: &'static str,
    /// The shipped scenarios.
    scenarios: Vec<Entry>,
}

/// One shipped scenario.
#[derive(Debug, Serialize)]
struct Entry {
    /// What it goes by.
    name: String,
    /// `small` or `large`.
    size: &'static str,
    /// How many devices it has.
    devices: u64,
    /// Its load in words.
    load: String,
    /// Why one would run it.
    about: String,
}

/// The longest line, in columns: that of a terminal as it opens.
const WIDTH: usize = 80;
/// How far what a scenario is for is indented.
const INDENT: usize = 4;

/// Lists them.
///
/// # Errors
/// When one of them is no scenario.
pub(super) fn run(args: &ListArgs, output: Output) -> Result<(), Failure> {
    let output = Output { json: args.json, ..output };
    let entries = SHIPPED.iter().map(|(file, text)| entry(file, text)).collect::<Result<Vec<_>, _>>()?;
    for line in lines(&entries, Paint::for_stdout()) {
        output.line(line);
    }
    output.json(&Document { schema: "rollcall.scenarios/1", scenarios: entries });
    Ok(())
}

fn entry(file: &str, text: &str) -> Result<Entry, Failure> {
    let scenario = Script::from_text(file, text.to_owned(), &[], PathBuf::new())?.scenario;
    Ok(Entry {
        name: file.trim_end_matches(".toml").to_owned(),
        size: if scenarios::is_small(text) { "small" } else { "large" },
        devices: scenario.fleet.devices,
        load: whole_load(&scenario.load),
        about: scenarios::about(text),
    })
}

/// A line of facts for each, and below it what it is for.
fn lines(entries: &[Entry], paint: Paint) -> Vec<String> {
    let widest = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for Entry { name, size, devices, load, about } in entries {
        let facts = format!("  {size}  {:>7} devices  ", grouped(*devices));
        let load = cut(load, WIDTH.saturating_sub(widest + facts.len()));
        lines.push(format!("{}{facts}{load}", paint.say(Tone::Strong, format_args!("{name:<widest$}"))));
        lines.extend(paragraph(about, WIDTH - INDENT).iter().map(|line| format!("{:INDENT$}{line}", "")));
    }
    lines
}

/// Text in lines of at most so many characters.
fn paragraph(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_scenario_is_listed_within_eighty_columns() {
        let entries: Vec<_> =
            SHIPPED.iter().map(|(file, text)| entry(file, text).expect("a scenario")).collect();
        let lines = lines(&entries, Paint::PLAIN);
        for entry in &entries {
            assert!(!entry.about.is_empty() && entry.devices > 0, "{entry:?}");
            assert!(lines.iter().any(|line| line.starts_with(&entry.name)), "{}", entry.name);
        }
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{}", lines.join("\n"));
    }
}
