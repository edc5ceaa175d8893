//! `rollcall scenario validate`: whether scenarios can be used; the same mistakes, told the same way, as `plan` and
//! `run` tell them.

use crate::cli::layers::{Layer, ValueArgs, applied, layers};
use crate::cli::output::{self, Output};
use crate::cli::plan::misfit;
use crate::cli::run::{Script, Written, unusable};
use crate::exit::{Exit, Failure};
use clap::Args;
use scenarios::{Diagnostic, Diagnostics, Place, Schedule};
use serde::Serialize;
use std::collections::BTreeSet;

/// `rollcall scenario validate`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall scenario validate mine.toml
  rollcall scenario validate scenarios/*.toml
  rollcall scenario validate mine.toml --set fleet.devices=500
  rollcall scenario validate mine.toml --json | jq '.files[].mistakes'

Recorded arrivals that the load names are read as well; other files are not looked at, and nothing is sent. \
`rollcall plan` tells what a scenario comes to.")]
pub struct ValidateArgs {
    /// Scenario files, or names of shipped scenarios
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// What is set besides the scenarios.
    #[command(flatten)]
    pub values: ValueArgs,
    /// Print the result as JSON (schema rollcall.validation/1)
    #[arg(long)]
    pub json: bool,
}

/// `rollcall.validation/1`.
#[derive(Debug, Serialize)]
struct Document {
    /// `rollcall.validation/1`.
    schema: &'static str,
    /// Whether all of them can be used.
    valid: bool,
    /// Each file in the order in which it was named.
    files: Vec<Entry>,
}

/// One scenario.
#[derive(Debug, Serialize)]
struct Entry {
    /// The file as it was named.
    file: String,
    /// Whether it can be used.
    valid: bool,
    /// What is wrong with it, in the order of the file.
    mistakes: Vec<MistakeEntry>,
}

/// One mistake. What is not in the scenario file itself has no line there.
#[derive(Debug, Serialize)]
struct MistakeEntry {
    /// The file that it stands in, or what else gave the value: `--set fleet.devices=0`.
    file: String,
    /// From 1.
    line: Option<usize>,
    /// In characters, from 1.
    column: Option<usize>,
    /// How many characters are meant.
    width: Option<usize>,
    /// What is wrong.
    message: String,
    /// What repairs it, where that is known.
    help: Option<String>,
}

/// Why a scenario cannot be used.
enum Fault {
    /// It has mistakes, each with its place.
    Mistakes(Diagnostics),
    /// It, or what it names, cannot be read.
    Unreadable(Failure),
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Fault::Unreadable(failure)
    }
}

/// Checks each, and says of each.
///
/// # Errors
/// Usage, when the settings besides the scenarios cannot be used.
pub(super) fn run(args: &ValidateArgs, output: Output) -> Result<Exit, Failure> {
    let output = Output { json: args.json, ..output };
    let layers = layers(&args.values)?;
    let (mut files, mut said) = (Vec::new(), BTreeSet::new());
    for file in &args.files {
        let fault = check(file, &layers, &args.values, |line| {
            // Once for all of them.
            if said.insert(line.clone()) {
                output.talk(line);
            }
        });
        let fault = fault.err();
        tell(file, fault.as_ref(), output);
        let mistakes = fault.map(|fault| mistakes(file, fault)).unwrap_or_default();
        files.push(Entry { file: file.clone(), valid: mistakes.is_empty(), mistakes });
    }
    let valid = files.iter().all(|file| file.valid);
    output.json(&Document { schema: "rollcall.validation/1", valid, files });
    Ok(if valid { Exit::Good } else { Exit::Usage })
}

fn check(file: &str, layers: &[Layer], values: &ValueArgs, talk: impl FnMut(String)) -> Result<(), Fault> {
    let written = Written::find(file)?;
    let applied = applied(layers, &values.set, &written.text)?;
    applied.told().into_iter().for_each(talk);
    let script = written.checked(&applied.overrides).map_err(Fault::Mistakes)?;
    fits(&script)
}

/// Whether the load makes arrivals, and as many as there are devices for.
fn fits(script: &Script) -> Result<(), Fault> {
    let (scenario, replays) = (&script.scenario, script.replays()?);
    let made = Schedule::new(&scenario.load, scenario.most_arrivals(), scenario.seed, &replays);
    made.map(drop).map_err(|fault| Fault::Mistakes(Diagnostics(vec![misfit(script, &fault)])))
}

fn tell(file: &str, fault: Option<&Fault>, output: Output) {
    match fault {
        None => output.line(format_args!("{file}: ok")),
        Some(_) if output.json => {}
        Some(Fault::Mistakes(told)) => output::failure(&unusable(file, told)),
        Some(Fault::Unreadable(failure)) => output::failure(failure),
    }
}

fn mistakes(file: &str, fault: Fault) -> Vec<MistakeEntry> {
    match fault {
        Fault::Mistakes(Diagnostics(told)) => told.into_iter().map(mistake).collect(),
        Fault::Unreadable(Failure { message, advice, .. }) => vec![MistakeEntry {
            file: file.to_owned(),
            line: None,
            column: None,
            width: None,
            message,
            help: advice,
        }],
    }
}

fn mistake(told: Diagnostic) -> MistakeEntry {
    let Diagnostic { place, message, help } = told;
    match place {
        Place::Line { file, line, column, width, .. } => {
            let (line, column, width) = (Some(line), Some(column), Some(width));
            MistakeEntry { file, line, column, width, message, help }
        }
        Place::Set(given) => {
            MistakeEntry { file: given, line: None, column: None, width: None, message, help }
        }
    }
}
