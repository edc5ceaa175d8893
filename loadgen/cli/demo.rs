//! `rollcall demo`: the whole story on this machine, without account, network or special rights.

use super::live::Live;
use super::output::Output;
use super::run::{Access, Script, Show, conduct, exit_of, nobody};
use crate::exit::{Exit, Failure};
use crate::plan::ShardOf;
use clap::Args;
use scenarios::Override;
use std::path::PathBuf;
use std::sync::Mutex;

/// `rollcall demo`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall demo
  rollcall demo --devices 500 --out told")]
pub struct DemoArgs {
    /// How many good devices come; six bad ones come with them
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub devices: u64,
    /// Where the record goes [default: a new directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Tells the story.
pub async fn run(args: DemoArgs, output: Output) -> Result<Exit, Failure> {
    let bad = Script::load("demo", &[])?.scenario.fleet.defective();
    let devices = format!("fleet.devices={}", args.devices + bad);
    let devices: Override = devices.parse().map_err(Failure::usage)?;
    let script = Script::load("demo", &[devices])?;
    let out = match args.out {
        Some(out) => out,
        None => {
            tempfile::Builder::new().prefix("rollcall-demo-").tempdir().map(tempfile::TempDir::keep).map_err(
                |error| Failure::unexpected(format!("cannot make a directory for the record: {error}")),
            )?
        }
    };
    let story = |line: String| {
        if !output.quiet {
            output.line(line);
        }
    };
    story(
        "A factory is about to ship devices. Will the Device Provisioning Service let them in?\n".to_owned(),
    );
    let show = Show { output, narrate: &story, live: Mutex::new(Live::Silent), watchers: &nobody };
    let (record, kept) = conduct(&script, ShardOf::WHOLE, &Access::default(), &out, &show).await?;
    story(String::new());
    output.line(reports::summary(&record));
    kept?;
    output.line(format_args!("record    {}", out.join("run.json").display()));
    output.line(format_args!("page      {}", out.join("run.html").display()));
    story("next      rollcall mock, rollcall ca, rollcall mint and rollcall run do the same step by step: see --help".to_owned());
    Ok(exit_of(&record))
}
