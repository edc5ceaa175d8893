//! `rollcall merge`: one record from the records of a run's shards.

use super::report::{read_record, refuse_existing};
use super::run::{Script, exit_of, write};
use crate::account;
use crate::cli::create_dir;
use crate::cli::output::Output;
use crate::exit::{Exit, Failure};
use clap::Args;
use reports::{MergeFault, Record};
use std::path::PathBuf;

/// `rollcall merge`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall merge part-1 part-2 --out whole
  rollcall merge part-*/run.json --out whole --json

All shards of one run are needed, each once, in any order. Gates are judged again, over the whole.")]
pub struct MergeArgs {
    /// Directories of the shards' runs, or their run.json
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// Where run.json and run.html go
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Replace a record that is there
    #[arg(long)]
    pub force: bool,
    /// Print the record as JSON
    #[arg(long)]
    pub json: bool,
}

/// Merges the records, judges the whole, and writes it.
pub fn run(args: &MergeArgs, output: Output) -> Result<Exit, Failure> {
    let output = Output { json: args.json, ..output };
    let records = args.runs.iter().map(|run| read_record(run)).collect::<Result<Vec<_>, _>>()?;
    refuse_existing(&args.out, args.force)?;
    let mut record = reports::merge(&records).map_err(|fault| unmerged(&fault, &args.runs))?;
    record.command = std::env::args().collect();
    let scenario = Script::again(&record.scenario, PathBuf::new())?.scenario;
    account::judge(&mut record, &scenario);
    create_dir(&args.out)?;
    write(&record, &args.out)?;
    show(&record, output);
    output.talk(format_args!("Record: {}", args.out.join("run.json").display()));
    output.talk(format_args!("Page:   {}", args.out.join("run.html").display()));
    Ok(exit_of(&record))
}

fn show(record: &Record, output: Output) {
    output.line(reports::summary(record).trim_end());
    output.json(record);
}

fn unmerged(fault: &MergeFault, runs: &[PathBuf]) -> Failure {
    let run = fault.place().and_then(|place| runs.get(place.checked_sub(1)?));
    let named = run.map(|run| format!(" ({})", run.display())).unwrap_or_default();
    Failure::usage(format!("cannot merge: {fault}{named}")).advise(match fault {
        MergeFault::Nothing | MergeFault::Missing { .. } => "Name the run of every shard.",
        MergeFault::Twice { .. } => "Name each shard once.",
        MergeFault::Unsharded { .. } => "Only runs with --shard can be merged.",
        MergeFault::OtherRun { .. } => "Merge shards of one scenario, with one seed and the same --set.",
        MergeFault::Schema { .. } => "Merge records with the version of the program that wrote them.",
        MergeFault::NoSuchShard { .. }
        | MergeFault::Times { .. }
        | MergeFault::Moment { .. }
        | MergeFault::DeviceSet { .. } => {
            "The record was changed since it was written; run that shard again."
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::{Ended, Outcomes, SCHEMA, Shard};
    use std::fs;
    use std::path::Path;

    const SCENARIO: &str = scenarios::SHIPPED[0].1;

    fn shard(dir: &Path, index: u64, seed: u64) -> PathBuf {
        let record = Record {
            schema: SCHEMA.to_owned(),
            started_utc: "2026-07-01T10:00:00.0000000Z".to_owned(),
            scenario: reports::ScenarioText {
                file: "a.toml".into(),
                text: SCENARIO.into(),
                ..reports::ScenarioText::default()
            },
            seed,
            shard: Some(Shard { index, count: 2 }),
            planned: 5,
            ended: Ended::Completed,
            outcomes: Outcomes { shed: 5, ..Outcomes::default() },
            ..Record::default()
        };
        let run = dir.join(format!("part-{index}"));
        fs::create_dir_all(&run).expect("a directory");
        fs::write(run.join("run.json"), record.to_json().expect("JSON")).expect("written");
        run
    }

    fn merged(runs: Vec<PathBuf>, out: &Path, force: bool) -> Result<Exit, Failure> {
        let args = MergeArgs { runs, out: out.to_owned(), force, json: true };
        run(&args, Output { json: true, quiet: true })
    }

    #[test]
    fn shards_become_one_record_that_is_judged_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let runs = vec![shard(dir.path(), 1, 7), shard(dir.path(), 2, 7).join("run.json")];
        let out = dir.path().join("whole");
        // Nobody was assigned, who should have been: the sums do not add up.
        assert_eq!(merged(runs.clone(), &out, false).expect("merged"), Exit::Invalid);
        let record = read_record(&out).expect("a record");
        assert_eq!((record.planned, record.shard, record.verdict.reasons.is_empty()), (10, None, false));
        assert!(out.join("run.html").is_file());
        assert_eq!(merged(runs.clone(), &out, false).expect_err("it is there").exit, Exit::Usage);
        assert!(merged(runs, &out, true).is_ok());
    }

    #[test]
    fn what_does_not_belong_together_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (shard(dir.path(), 1, 7), shard(dir.path(), 2, 8));
        let out = dir.path().join("whole");
        let failure = merged(vec![one.clone(), other], &out, false).expect_err("two seeds");
        assert!(failure.exit == Exit::Usage && failure.message.contains("part-2"), "{failure}");
        assert!(merged(vec![one], &out, false).is_err());
        assert!(!out.exists());
    }
}
