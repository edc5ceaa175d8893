//! `rollcall scenario`: checks scenario files, lists and shows the shipped ones, begins new ones, and prints the schema
//! that editors complete them by.

mod list;
mod new;
mod validate;

use super::config::setting_lines;
use super::layers::ValueArgs;
use super::output::Output;
use super::run::{Script, Written};
use crate::exit::{Exit, Failure};
use clap::{Args, Subcommand};

/// `rollcall scenario`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall scenario list
      what is shipped
  rollcall scenario new mine.toml
      a scenario of your own, with every choice explained
  rollcall scenario validate mine.toml
      whether it can be used, and what repairs it
  rollcall scenario show steady > mine.toml
  rollcall scenario show mine.toml --resolved
  rollcall scenario schema > rollcall.schema.json")]
pub struct ScenarioArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ScenarioVerb,
}

/// What to do with scenarios.
#[derive(Subcommand, Debug)]
pub enum ScenarioVerb {
    /// Say whether scenarios can be used, and of each mistake where it stands and what repairs it
    Validate(validate::ValidateArgs),
    /// List the shipped scenarios
    List(list::ListArgs),
    /// Print the text of a scenario, or every value it comes to
    Show(ShowArgs),
    /// Begin a scenario file that can be run as it is
    New(new::NewArgs),
    /// Print the JSON Schema of scenario files
    #[command(before_long_help = "\
Examples:
  rollcall scenario schema > rollcall.schema.json
      and `#:schema ./rollcall.schema.json` as the first line of a scenario beside it")]
    Schema,
}

/// `rollcall scenario show`.
#[derive(Args, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall scenario show steady > mine.toml
      a shipped scenario to change
  rollcall scenario show mine.toml --resolved
      what it comes to: every value, the defaults included
  rollcall scenario show steady --resolved --set fleet.devices=500")]
pub struct ShowArgs {
    /// The name of a shipped scenario, or a scenario file
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Print every value that it comes to, in place of the text; `config show --origin` says where each is from
    #[arg(long)]
    pub resolved: bool,
    /// What is set besides the scenario.
    #[command(flatten)]
    pub values: ValueArgs,
}

/// Runs `rollcall scenario`.
///
/// # Errors
/// Usage, when a file cannot be read or written, or a scenario that is to be resolved has mistakes.
pub fn run(args: &ScenarioArgs, output: Output) -> Result<Exit, Failure> {
    match &args.verb {
        ScenarioVerb::Validate(args) => return validate::run(args, output),
        ScenarioVerb::List(args) => list::run(args, output)?,
        ScenarioVerb::Show(args) => show(args, output)?,
        ScenarioVerb::New(args) => new::run(args, output)?,
        ScenarioVerb::Schema => output.line(schema()?),
    }
    Ok(Exit::Good)
}

fn show(args: &ShowArgs, output: Output) -> Result<(), Failure> {
    if args.resolved {
        let script = Script::with_settings(&args.scenario, &args.values, output)?;
        for line in setting_lines(&script.settings, false) {
            output.line(line);
        }
        return Ok(());
    }
    if !args.values.set.is_empty() {
        return Err(Failure::usage("cannot set values in the text of a scenario")
            .advise("Add --resolved to see what it comes to with them."));
    }
    let text = Written::find(&args.scenario)?.text;
    output.line(text.strip_suffix('\n').unwrap_or(&text));
    Ok(())
}

/// The schema of scenario files, as it is written to a file.
fn schema() -> Result<String, Failure> {
    serde_json::to_string_pretty(&scenarios::schema())
        .map_err(|error| Failure::unexpected(format!("cannot write the schema: {error}")))
}
