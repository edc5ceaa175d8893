//! `rollcall report`: renders a record again, makes one from a journal, and tells how each device fared.

pub(crate) mod compare;
mod devices;
mod formats;

pub(crate) use formats::{Format, write_formats};

use super::run::{JOURNAL, exit_of, rebuild, write, write_page};
use crate::cli::output::Output;
use crate::cli::{create_dir, read_file};
use crate::exit::{Exit, Failure};
use crate::gates;
use crate::journal;
use clap::{Args, Subcommand};
use formats::Rendering;
use reports::{Comparison, GateResult, Inconsistency, InvalidRecord, Record};
use scenarios::Metric;
use std::path::{Path, PathBuf};

/// `rollcall report`.
#[derive(Args, Debug, Default)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  rollcall report results
      the summary and the page of a run, made again from its run.json
  rollcall report results --format md
      Markdown for a comment on a pull request, on standard output
  rollcall report results --format junit,csv,svg --out ci
      ci/run.junit.xml, ci/run.csv and a file for each chart
  rollcall report results/run.journal
      the record of a run that was killed, as far as it got
  rollcall report results --devices devices.csv
      how every device fared, from the journal

A directory without a run.json is that of a run that was killed: its journal is read.
The comparison that `run --baseline` wrote beside a record is shown with it.
It ends as the run did: 0, 4, 98, 99 or 130, by the verdict of the record alone; with 98 if the record contradicts
itself."
)]
pub struct ReportArgs {
    /// What else is done with records.
    #[command(subcommand)]
    pub command: Option<ReportCommand>,
    /// Directory of a run, its run.json, or its journal
    #[arg(value_name = "PATH", required = true)]
    pub path: Option<PathBuf>,
    /// What to render it as; several, with commas between them, go to files in --out
    #[arg(long, value_name = "FORMAT", value_enum, value_delimiter = ',', conflicts_with = "json")]
    pub format: Vec<Format>,
    /// With --format svg: which chart
    #[arg(long, value_name = "NAME", requires = "format")]
    pub chart: Option<String>,
    /// Where what is written goes [default: beside what is read; with --format standard output]
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

/// What else is done with records.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Compare a run with its baseline
    Compare(compare::CompareArgs),
}

/// Reads what the path is of, and writes and prints what was asked for.
pub fn run(args: &ReportArgs, output: Output) -> Result<Exit, Failure> {
    if let Some(ReportCommand::Compare(args)) = &args.command {
        return compare::run(args, output);
    }
    let output = Output { json: args.json, ..output };
    if args.chart.is_some() && !args.format.contains(&Format::Svg) {
        return Err(Failure::usage("--chart goes with --format svg")
            .advise("Add svg to --format, or leave --chart out."));
    }
    let path = args.path.as_deref().ok_or_else(|| Failure::usage("there is no run to report on"))?;
    let source = Source::of(path)?;
    if let Some(to) = &args.devices {
        let (rows, truncated) = devices::write(&source.journal()?, to)?;
        if let Some(why) = truncated {
            output.warn(format_args!("the journal is damaged: {why}"));
        }
        output.talk(format_args!("Devices: {}, {rows} arrivals", to.display()));
    }
    let out = args.out.clone().unwrap_or_else(|| source.dir());
    if args.replaces(&source) {
        refuse_existing(&out, args.force)?;
    }
    let record = source.record(args.devices.is_none(), output)?;
    let found = contradictions(&record);
    found.iter().for_each(|what| output.warn(format_args!("the record was edited or damaged: {what}")));
    let labelled = reports::labelled(&record, &found);
    // What was compared was the record as it was written.
    let comparison = found.is_empty().then(|| compare::beside(&record, &source.dir(), output)).flatten();
    let shown = Shown { record: &record, labelled: &labelled, comparison: comparison.as_ref() };
    match args.format.is_empty() {
        true => again(args, &source, &shown, &out, output)?,
        false => rendered(args, &shown, output)?,
    }
    Ok(exit_of(&labelled))
}

/// What is rendered.
struct Shown<'a> {
    /// As it was read.
    record: &'a Record,
    /// As it is shown: where it contradicts itself, it says so.
    labelled: &'a Record,
    /// With its baseline, if there is one.
    comparison: Option<&'a Comparison>,
}

impl ReportArgs {
    /// Whether a record is written where there may be another one.
    fn replaces(&self, source: &Source) -> bool {
        match self.format.as_slice() {
            // Beside a record, only the page is new.
            [] => self.out.is_some() || matches!(source, Source::Journal(_)),
            formats => self.out.is_some() && formats.contains(&Format::Json),
        }
    }
}

/// The page and the summary, and the record where there was only a journal. The record is written as it is; what is shown
/// says what is wrong with it.
fn again(
    args: &ReportArgs,
    source: &Source,
    Shown { record, labelled, comparison }: &Shown<'_>,
    out: &Path,
    output: Output,
) -> Result<(), Failure> {
    create_dir(out)?;
    if args.replaces(source) {
        write(record, out)?;
    }
    match comparison {
        Some(comparison) => compare::keep(labelled, comparison, out)?,
        None => write_page(labelled, out)?,
    }
    output.line(reports::summary(labelled).trim_end());
    if let Some(comparison) = comparison {
        output.line(reports::comparison_text(comparison).trim_end());
    }
    output.json(record);
    output.talk(format_args!("Page:   {}", out.join("run.html").display()));
    if matches!(source, Source::Journal(_)) {
        output.talk(format_args!("Record: {}", out.join("run.json").display()));
    }
    Ok(())
}

/// What was asked for by name: to files, or one of them to standard output.
fn rendered(args: &ReportArgs, shown: &Shown<'_>, output: Output) -> Result<(), Failure> {
    let Shown { record, labelled, comparison } = *shown;
    let mut all: Vec<Rendering> = Vec::new();
    for format in &args.format {
        match format {
            Format::Svg if args.chart.is_some() || args.out.is_none() => {
                all.push(formats::chart(labelled, args.chart.as_deref())?);
            }
            format => all.extend(formats::renderings(record, labelled, comparison, *format)?),
        }
    }
    match (&args.out, all.as_slice()) {
        (Some(out), all) => {
            let written = formats::write(all, out)?;
            written.iter().for_each(|path| output.talk(path.display()));
        }
        (None, [one]) => output.line(one.text.trim_end_matches('\n')),
        (None, _) => {
            return Err(Failure::usage("standard output takes one format")
                .advise("Name a directory for several of them with --out."));
        }
    }
    Ok(())
}

/// What in a record contradicts the rest of it.
fn contradictions(record: &Record) -> Vec<Inconsistency> {
    let mut found = reports::inconsistencies(record);
    found.extend(record.gates.iter().filter_map(|gate| misstated(gate, record)));
    found
}

/// What a gate measured is measured again, unless this version does not know its metric.
fn misstated(gate: &GateResult, record: &Record) -> Option<Inconsistency> {
    let metric: Metric = gate.metric.parse().ok()?;
    let anew = gates::value(&metric, record);
    let told = |value: Option<f64>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
    (anew != gate.measured).then(|| Inconsistency::Measured {
        gate: gate.gate.clone(),
        stated: told(gate.measured),
        made_anew: told(anew),
    })
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

    /// The record, made from the journal where that is all there is; `warns` of damage to the journal.
    fn record(&self, warns: bool, output: Output) -> Result<Record, Failure> {
        let path = match self {
            Self::Record(path) => return parse(path),
            Self::Journal(path) => path,
        };
        let replayed = journal::read(path)?;
        if let Some(why) = replayed.truncated.as_ref().filter(|_| warns) {
            output.warn(format_args!("the journal is damaged: {why}"));
        }
        rebuild(replayed)
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
    // A file that was cut short may end in the middle of a letter.
    let end = match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    let text = std::str::from_utf8(&bytes[..end]).ok().filter(|text| text.trim_start().starts_with('{'));
    Record::from_json(text.ok_or_else(neither)?).map_err(|fault| match fault {
        InvalidRecord::Schema { found } if found.is_empty() => neither(),
        fault => Failure::usage(format!("cannot read {}: {fault}", path.display())).advise(match fault {
            InvalidRecord::CutShort { .. } => {
                "Copy it again, or make it anew from the journal beside it, by naming that."
            }
            InvalidRecord::Newer { .. } => {
                "Read it with the version of the program that wrote it, or a later one."
            }
            _ => advice,
        }),
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
    use reports::{Ended, Expectations, Outcomes, SCHEMA, Verdict, VerdictKind};
    use std::fs;

    fn args(path: &Path) -> ReportArgs {
        ReportArgs { path: Some(path.to_owned()), json: true, ..ReportArgs::default() }
    }

    fn quiet() -> Output {
        Output { json: true, quiet: true }
    }

    /// A record that says the same everywhere.
    fn three(kind: VerdictKind) -> Record {
        let (outcomes, expectations) =
            (Outcomes::default(), Expectations { assigned: 3, ..Expectations::default() });
        Record {
            schema: SCHEMA.to_owned(),
            planned: 3,
            ended: Ended::Completed,
            outcomes: Outcomes { connected: 3, ..outcomes },
            expectations,
            verdict: Verdict { kind, ..Verdict::default() },
            ..Record::default()
        }
    }

    fn record() -> String {
        three(VerdictKind::Good).to_json().expect("JSON")
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
            write(&three(kind), dir.path()).expect("written");
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
    #[test]
    fn a_record_that_contradicts_itself_is_invalid_and_written_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let edits: [fn(&mut Record); 4] = [
            |record| record.outcomes.connected = 2,
            |record| record.clocks.response_time.p99_us = 1,
            |record| record.throughput.per_second = 9.0,
            |record| {
                let metric = "outcome.connected.count".to_owned();
                record.gates =
                    vec![GateResult { metric, measured: Some(5.0), passed: true, ..GateResult::default() }];
            },
        ];
        for (at, edit) in edits.into_iter().enumerate() {
            let mut record = three(VerdictKind::Good);
            edit(&mut record);
            write(&record, dir.path()).expect("written");
            let elsewhere = dir.path().join(at.to_string());
            let args = ReportArgs { out: Some(elsewhere.clone()), ..args(dir.path()) };
            assert_eq!(run(&args, quiet()).expect("rendered"), Exit::Invalid, "{at}");
            assert_eq!(read_record(&elsewhere).expect("a record"), record, "{at}");
        }
    }

    /// The files of a report in these formats, and how it ended.
    fn formatted(formats: &[Format], chart: Option<&str>) -> (Result<Exit, Failure>, Vec<String>) {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, out) = (dir.path().join("run.json"), dir.path().join("out"));
        fs::write(&path, record()).expect("written");
        let args = ReportArgs {
            format: formats.to_vec(),
            chart: chart.map(str::to_owned),
            out: Some(out.clone()),
            json: false,
            ..args(&path)
        };
        let ended = run(&args, quiet());
        let entries = fs::read_dir(&out).map(|entries| entries.filter_map(Result::ok).collect::<Vec<_>>());
        let mut names: Vec<String> = entries
            .unwrap_or_default()
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        (ended, names)
    }

    #[test]
    fn each_format_has_its_file_and_nothing_else_is_written() {
        for (format, file) in [
            (Format::Text, "run.txt"),
            (Format::Md, "run.md"),
            (Format::Junit, "run.junit.xml"),
            (Format::Csv, "run.csv"),
            (Format::SummaryCsv, "run.summary.csv"),
            (Format::Html, "run.html"),
            (Format::Json, "run.json"),
        ] {
            let (ended, files) = formatted(&[format], None);
            assert_eq!((ended.expect("written"), files), (Exit::Good, vec![file.to_owned()]), "{format:?}");
        }
        let (_, files) = formatted(&[Format::Md, Format::Csv], None);
        assert_eq!(files, ["run.csv", "run.md"]);
        let (ended, files) = formatted(&[Format::Md], Some("rates"));
        assert_eq!((ended.expect_err("no chart is asked for").exit, files), (Exit::Usage, Vec::new()));
        let (ended, files) = formatted(&[Format::Svg], Some("no such chart"));
        assert_eq!((ended.expect_err("no such chart").exit, files), (Exit::Usage, Vec::new()));
    }

    #[test]
    fn standard_output_takes_one_format_and_nothing_is_written_beside_the_record() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run.json");
        fs::write(&path, record()).expect("written");
        let of = |format: &[Format]| {
            run(&ReportArgs { format: format.to_vec(), json: false, ..args(&path) }, quiet())
        };
        assert_eq!(of(&[Format::Csv]).expect("printed"), Exit::Good);
        assert_eq!(of(&[Format::Csv, Format::Md]).expect_err("two").exit, Exit::Usage);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }
}
