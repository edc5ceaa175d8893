//! `rollcall report`: renders a record again, makes one from a journal, and tells how each device fared.

mod devices;

use super::run::{JOURNAL, exit_of, rebuild, write, write_page};
use crate::cli::output::Output;
use crate::cli::{create_dir, read_file};
use crate::exit::{Exit, Failure};
use crate::journal;
use clap::Args;
use reports::{InvalidRecord, Record};
use std::path::{Path, PathBuf};

/// `rollcall report`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall report results
      the summary and the page of a run, made again from its run.json
  rollcall report results/run.journal
      the record of a run that was killed, as far as it got
  rollcall report results --devices devices.csv
      how every device fared, from the journal

A directory without a run.json is that of a run that was killed: its journal is read.
It ends as the run did: 0, 4, 98, 99 or 130, by the verdict of the record.")]
pub struct ReportArgs {
    /// Directory of a run, its run.json, or its journal
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Where what is written goes [default: beside what is read]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write how each arrival ended, from the journal, to a file: .csv, or .jsonl for one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,
    /// Replace a record that is there
    #[arg(long)]
    pub force: bool,
    /// Print the record as JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads what the path is of, and writes and prints what was asked for.
pub fn run(args: &ReportArgs, output: Output) -> Result<Exit, Failure> {
    let output = Output { json: args.json, ..output };
    let source = Source::of(&args.path)?;
    if let Some(to) = &args.devices {
        let (rows, truncated) = devices::write(&source.journal()?, to)?;
        if let Some(why) = truncated {
            output.warn(format_args!("the journal is damaged: {why}"));
        }
        output.talk(format_args!("Devices: {}, {rows} arrivals", to.display()));
    }
    let out = args.out.clone().unwrap_or_else(|| source.dir());
    let record = match &source {
        Source::Record(path) => {
            let record = parse(path)?;
            create_dir(&out)?;
            // Beside the record, only the page is new.
            if args.out.is_some() {
                refuse_existing(&out, args.force)?;
                write(&record, &out)?;
            } else {
                write_page(&record, &out)?;
            }
            shown(&record, &out, output);
            record
        }
        Source::Journal(path) => {
            refuse_existing(&out, args.force)?;
            let replayed = journal::read(path)?;
            // It was said when the rows were written, if they were.
            if let Some(why) = replayed.truncated.as_ref().filter(|_| args.devices.is_none()) {
                output.warn(format_args!("the journal is damaged: {why}"));
            }
            let record = rebuild(replayed)?;
            create_dir(&out)?;
            write(&record, &out)?;
            shown(&record, &out, output);
            output.talk(format_args!("Record: {}", out.join("run.json").display()));
            record
        }
    };
    Ok(exit_of(&record))
}

fn shown(record: &Record, out: &Path, output: Output) {
    output.line(reports::summary(record).trim_end());
    output.json(record);
    output.talk(format_args!("Page:   {}", out.join("run.html").display()));
}

/// What a path is of.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Record(PathBuf),
    Journal(PathBuf),
}

impl Source {
    fn of(path: &Path) -> Result<Self, Failure> {
        if !path.is_dir() {
            let kind = if journal::is_journal(path) { Self::Journal } else { Self::Record };
            return Ok(kind(path.to_owned()));
        }
        let (record, journal) = (path.join("run.json"), path.join(JOURNAL));
        match (record.is_file(), journal.is_file()) {
            (true, _) => Ok(Self::Record(record)),
            (false, true) => Ok(Self::Journal(journal)),
            (false, false) => Err(no_run(path)),
        }
    }

    /// Where it lies.
    fn dir(&self) -> PathBuf {
        let (Self::Record(path) | Self::Journal(path)) = self;
        path.parent().map(Path::to_owned).unwrap_or_default()
    }

    fn journal(&self) -> Result<PathBuf, Failure> {
        match self {
            Self::Journal(path) => Ok(path.clone()),
            Self::Record(_) => {
                Some(self.dir().join(JOURNAL)).filter(|path| path.is_file()).ok_or_else(|| {
                    Failure::usage(format!(
                        "cannot tell how each device fared: there is no {JOURNAL} beside the record"
                    ))
                    .advise("Name the journal itself; a run with --no-journal writes none.")
                })
            }
        }
    }
}

fn no_run(path: &Path) -> Failure {
    Failure::usage(format!("{} holds neither run.json nor {JOURNAL}", path.display()))
        .advise("Name the directory that a run was written to, or the file itself.")
}

/// Reads the record of a run from its file, or from its directory.
///
/// # Errors
/// Usage, when there is none, or one that cannot be read.
pub(super) fn read_record(path: &Path) -> Result<Record, Failure> {
    if !path.is_dir() {
        return parse(path);
    }
    let record = path.join("run.json");
    if !record.is_file() && path.join(JOURNAL).is_file() {
        return Err(Failure::usage(format!("{} holds a journal and no record", path.display()))
            .advise(format!("Make the record first: rollcall report {}", path.display())));
    }
    parse(&record)
}

fn parse(path: &Path) -> Result<Record, Failure> {
    let bytes = read_file(path, "record")?;
    let advice = "Name the run.json or the journal that a run has written.";
    let neither =
        || Failure::usage(format!("{} is neither a record nor a journal", path.display())).advise(advice);
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.trim_start().starts_with('{'));
    Record::from_json(text.ok_or_else(neither)?).map_err(|fault| match fault {
        InvalidRecord::Schema { found } if found.is_empty() => neither(),
        fault => Failure::usage(format!("cannot read {}: {fault}", path.display())).advise(advice),
    })
}

/// Refuses to write over a record that can be read, unless that is wanted.
///
/// # Errors
/// Usage, when there is one.
pub(super) fn refuse_existing(out: &Path, force: bool) -> Result<(), Failure> {
    let existing = out.join("run.json");
    if force || !existing.is_file() || parse(&existing).is_err() {
        return Ok(());
    }
    Err(Failure::usage(format!("will not write over the record {}", existing.display()))
        .advise("Name another directory with --out, or replace it with --force."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::{SCHEMA, Verdict, VerdictKind};
    use std::fs;

    fn args(path: &Path) -> ReportArgs {
        ReportArgs { path: path.to_owned(), out: None, devices: None, force: false, json: true }
    }

    fn quiet() -> Output {
        Output { json: true, quiet: true }
    }

    fn record() -> String {
        Record { schema: SCHEMA.to_owned(), planned: 3, ..Record::default() }.to_json().expect("JSON")
    }

    #[test]
    fn a_directory_is_that_of_its_record_and_without_one_of_its_journal() {
        let dir = tempfile::tempdir().expect("a directory");
        let (record_file, journal) = (dir.path().join("run.json"), dir.path().join(JOURNAL));
        assert_eq!(Source::of(dir.path()).expect_err("empty").exit, Exit::Usage);
        fs::write(&journal, "rollcall journal").expect("written");
        for path in [dir.path(), &journal] {
            assert_eq!(Source::of(path).expect("a source"), Source::Journal(journal.clone()));
        }
        fs::write(&record_file, record()).expect("written");
        for path in [dir.path(), &record_file] {
            assert_eq!(Source::of(path).expect("a source"), Source::Record(record_file.clone()));
        }
    }

    #[test]
    fn a_record_is_rendered_beside_itself_and_left_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("run.json"), record()).expect("written");
        let as_the_run = exit_of(&read_record(dir.path()).expect("a record"));
        assert_eq!(run(&args(dir.path()), quiet()).expect("rendered"), as_the_run);
        assert!(dir.path().join("run.html").is_file());
        assert_eq!(fs::read_to_string(dir.path().join("run.json")).expect("read"), record());
        let elsewhere = ReportArgs { out: Some(dir.path().join("other")), ..args(dir.path()) };
        run(&elsewhere, quiet()).expect("rendered");
        assert_eq!(read_record(&dir.path().join("other")).expect("a record").planned, 3);
    }

    #[test]
    fn a_record_that_can_be_read_is_not_written_over() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(refuse_existing(dir.path(), false).is_ok());
        fs::write(dir.path().join("run.json"), "{\"schema\":").expect("written");
        assert!(refuse_existing(dir.path(), false).is_ok());
        fs::write(dir.path().join("run.json"), record()).expect("written");
        assert_eq!(refuse_existing(dir.path(), false).expect_err("it is there").exit, Exit::Usage);
        assert!(refuse_existing(dir.path(), true).is_ok());
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("run.json");
        for text in ["", "rollcall j", "name = \"a\"\n", "{}", "{\"schema\":", "[]", "\u{feff}x"] {
            fs::write(&file, text).expect("written");
            assert_eq!(run(&args(&file), quiet()).expect_err("no record").exit, Exit::Usage, "{text}");
        }
        let devices = ReportArgs { devices: Some(dir.path().join("d.csv")), ..args(&file) };
        fs::write(&file, record()).expect("written");
        assert_eq!(run(&devices, quiet()).expect_err("no journal").exit, Exit::Usage);
    }

    #[test]
    fn a_report_ends_as_the_run_did() {
        let dir = tempfile::tempdir().expect("a directory");
        let kinds = [
            (VerdictKind::Good, Exit::Good),
            (VerdictKind::GateFailed, Exit::GateFailed),
            (VerdictKind::Invalid, Exit::Invalid),
            (VerdictKind::Interrupted, Exit::Interrupted),
        ];
        for (kind, exit) in kinds {
            let verdict = Verdict { kind, ..Verdict::default() };
            let record = Record { schema: SCHEMA.to_owned(), planned: 3, verdict, ..Record::default() };
            write(&record, dir.path()).expect("written");
            assert_eq!(run(&args(dir.path()), quiet()).expect("rendered"), exit);
        }
    }

    #[test]
    fn who_needs_a_record_is_told_how_a_journal_becomes_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let without = read_record(dir.path()).expect_err("empty");
        fs::write(dir.path().join(JOURNAL), "").expect("written");
        let beside = read_record(dir.path()).expect_err("no record");
        assert_eq!((without.exit, beside.exit), (Exit::Usage, Exit::Usage));
        let advised =
            |failure: &Failure| failure.advice.as_ref().is_some_and(|a| a.contains("rollcall report"));
        assert!(advised(&beside) && !advised(&without), "{without}; {beside}");
    }
}
