//! `rollcall report compare`: one run beside another of the same scenario.

use super::read_record;
use crate::cli::output::Output;
use crate::cli::run::{Script, write_page_with};
use crate::cli::{create_dir, write_file};
use crate::exit::{Exit, Failure};
use clap::{Args, ValueEnum};
use reports::{CompareFault, CompareOptions, Comparison, Record, SCHEMA, compare, comparison_text};
use std::path::{Path, PathBuf};

/// `rollcall report compare`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall report compare last-week today
      what changed, and whether that is more than noise
  rollcall report compare last-week today --fail-on-regression
      the same as a step of CI: 97 if anything is worse
  rollcall report compare a-1 b-1 --baseline-repeat a-2 --baseline-repeat a-3 --candidate-repeat b-2
      with repeats, which say how much runs of the same differ
  rollcall report compare last-week today --out compared
      the page of today's run, with the comparison in it

Two runs of one scenario differ by themselves; what is within the band is noise. Runs of different scenarios are refused;
the target may differ, for that is what comparisons are for.
It ends with 0; with --fail-on-regression with 97 if something is worse, and with 98 if a run does not stand.")]
pub struct CompareArgs {
    /// The run to compare with: its directory, or its run.json
    #[arg(value_name = "BASELINE")]
    pub baseline: PathBuf,
    /// The run that is judged
    #[arg(value_name = "CANDIDATE")]
    pub candidate: PathBuf,
    /// Another run of the baseline; repeatable
    #[arg(long, value_name = "PATH")]
    pub baseline_repeat: Vec<PathBuf>,
    /// Another run of the candidate; repeatable
    #[arg(long, value_name = "PATH")]
    pub candidate_repeat: Vec<PathBuf>,
    /// End with 97 if anything is worse, and with 98 if a run does not stand
    #[arg(long)]
    pub fail_on_regression: bool,
    /// Compare runs of different scenarios, too
    #[arg(long)]
    pub other_scenario: bool,
    /// The least change of medians and rates that counts; of p99 it is twice that, of p99.9 three times
    /// [default: 10, or 5 where both sides have repeats]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub threshold: Option<f64>,
    /// How to print it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    pub format: Format,
    /// Where the candidate's page goes, with the comparison in it, and comparison.json
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the comparison as JSON: --format json
    #[arg(long)]
    pub json: bool,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal
    Text,
    /// The candidate's report as Markdown, with the comparison in it
    Md,
    /// rollcall.comparison/1
    Json,
    /// The candidate's page, with the comparison in it
    Html,
}

/// Above 0 and at most 1,000 percent, as a part.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim().parse().ok();
    let percent = number.filter(|percent: &f64| *percent > 0.0 && *percent <= 1_000.0);
    percent
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is no percentage above 0 up to 1,000"))
}

/// Reads the runs, compares them, and prints and writes what was asked for.
pub(crate) fn run(args: &CompareArgs, output: Output) -> Result<Exit, Failure> {
    let format = if args.json { Format::Json } else { args.format };
    let output = Output { json: format == Format::Json, ..output };
    let baseline = read(&args.baseline, &args.baseline_repeat)?;
    let candidate = read(&args.candidate, &args.candidate_repeat)?;
    let options = CompareOptions { other_scenario: args.other_scenario, threshold: args.threshold };
    let comparison = compare(&baseline, &candidate, options).map_err(|fault| refused(&fault))?;
    let judged = candidate.first().map(|(_, record)| record);
    let judged = judged.ok_or_else(|| refused(&CompareFault::Nothing))?;
    if let Some(out) = &args.out {
        write(args, judged, &comparison, out)?;
        output.talk(format_args!("Page: {}", out.join("run.html").display()));
    }
    print(format, judged, &comparison, output)?;
    Ok(if args.fail_on_regression { exit_of(&comparison) } else { Exit::Good })
}

/// A run that another is to be compared with, and what it is called.
pub(crate) struct Baseline([(String, Record); 1]);

impl Baseline {
    /// Reads it, before a run that would be for nothing without it.
    ///
    /// # Errors
    /// Usage, when it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        Ok(Self([(path.display().to_string(), read_record(path)?)]))
    }

    /// What is known before the run is compared, so that nothing is sent for a comparison that is refused.
    ///
    /// # Errors
    /// Usage, when it is the run of another scenario, or not a whole one.
    pub(crate) fn fits(&self, script: &Script, planned: u64) -> Result<(), Failure> {
        let to_come = Record {
            schema: SCHEMA.to_owned(),
            scenario: script.text.clone(),
            settings: script.settings.clone(),
            seed: script.scenario.seed,
            planned,
            ..Record::default()
        };
        self.against(&to_come).map(drop)
    }

    /// What `run --baseline` shows beside its own report: the run that has just ended, compared with it.
    ///
    /// # Errors
    /// Usage, when it is no baseline of that run.
    pub(crate) fn against(&self, record: &Record) -> Result<Comparison, Failure> {
        let candidate = [("this run".to_owned(), record.clone())];
        compare(&self.0, &candidate, CompareOptions::default()).map_err(|fault| refused(&fault))
    }
}

/// How a comparison ends where it is to fail: worse by more than noise, or not to be believed.
pub(crate) const fn exit_of(comparison: &Comparison) -> Exit {
    match (comparison.doubtful, comparison.regressed) {
        (true, _) => Exit::Invalid,
        (false, true) => Exit::Regression,
        (false, false) => Exit::Good,
    }
}

fn read(first: &Path, repeats: &[PathBuf]) -> Result<Vec<(String, Record)>, Failure> {
    let paths = std::iter::once(first).chain(repeats.iter().map(PathBuf::as_path));
    paths.map(|path| Ok((path.display().to_string(), read_record(path)?))).collect()
}

fn refused(fault: &CompareFault) -> Failure {
    Failure::usage(format!("cannot compare: {fault}")).advise(match fault {
        CompareFault::Nothing => "Name a run of the baseline and one of the candidate.",
        CompareFault::Schema { .. } => "Compare records with the version of the program that wrote them.",
        CompareFault::Twice { .. } => "Name each run once: a repeat is another run of the same scenario.",
        CompareFault::Shard { .. } => {
            "Merge the shards first with `rollcall merge`, then compare the whole runs."
        }
        CompareFault::OtherScenario { .. } => {
            "Run the same scenario for both; --other-scenario compares them all the same, with a warning."
        }
        CompareFault::NoRepeat { .. } => "A repeat is a run of the same scenario, its target included.",
        CompareFault::Planned { .. } => {
            "Merge all shards of the run, or run it again: what was lost is no better result."
        }
    })
}

fn print(format: Format, record: &Record, comparison: &Comparison, output: Output) -> Result<(), Failure> {
    match format {
        Format::Text => output.line(comparison_text(comparison).trim_end()),
        Format::Md => output.line(reports::markdown(record, Some(comparison)).trim_end()),
        Format::Json => output.json(comparison),
        Format::Html => output.line(page(record, comparison)?.trim_end()),
    }
    Ok(())
}

fn page(record: &Record, comparison: &Comparison) -> Result<String, Failure> {
    reports::page_with(record, Some(comparison)).map_err(Failure::unexpected)
}

/// Writes the candidate's page and the comparison, unless that would replace the page of another run.
fn write(args: &CompareArgs, record: &Record, comparison: &Comparison, out: &Path) -> Result<(), Failure> {
    let kept = out.join("run.json");
    let own = if args.candidate.is_dir() { args.candidate.join("run.json") } else { args.candidate.clone() };
    if kept.is_file() && kept.canonicalize().ok() != own.canonicalize().ok() {
        return Err(Failure::usage(format!("will not write over the page of the run in {}", out.display()))
            .advise("Name another directory with --out, or that of the candidate."));
    }
    create_dir(out)?;
    keep(record, comparison, out)
}

/// The name of a comparison's file, beside the record of its candidate.
const FILE: &str = "comparison.json";

/// Writes a comparison and the page of its candidate with it.
///
/// # Errors
/// When one of them cannot be written.
pub(crate) fn keep(record: &Record, comparison: &Comparison, out: &Path) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(comparison).map_err(Failure::unexpected)?;
    write_file(&out.join(FILE), json.as_bytes(), false)?;
    write_page_with(record, Some(comparison), out)
}

/// The comparison that lies in the directory of a record, if it is one of that run.
pub(super) fn beside(record: &Record, dir: &Path, output: Output) -> Option<Comparison> {
    let path = dir.join(FILE);
    let text = std::fs::read_to_string(&path).ok()?;
    match serde_json::from_str::<Comparison>(&text) {
        Ok(found) => Some(found).filter(|found| is_of(found, record)),
        Err(error) => {
            output.warn(format_args!("{} is left out, it cannot be read: {error}", path.display()));
            None
        }
    }
}

fn is_of(comparison: &Comparison, record: &Record) -> bool {
    let judged = comparison.candidate.first();
    judged.is_some_and(|run| run.started_utc == record.started_utc && run.scenario == record.scenario.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::{
        Compared, Ended, Expectations, Judgement, OutcomeKind, Outcomes, Reason, RollUp, ScenarioText,
        Throughput, Verdict, VerdictKind,
    };
    use std::fs;

    fn record(assigned: u64, text: &str) -> Record {
        let refused = 1_000 - assigned;
        Record {
            schema: SCHEMA.to_owned(),
            scenario: ScenarioText { text: text.to_owned(), ..ScenarioText::default() },
            planned: 1_000,
            ended: Ended::Completed,
            wall_seconds: 10.0,
            throughput: Throughput::of(assigned, 10.0),
            outcomes: Outcomes { assigned, refused, ..Outcomes::default() },
            reasons: vec![Reason { outcome: OutcomeKind::Refused, count: refused, ..Reason::default() }],
            expectations: Expectations { assigned: 1_000, ..Expectations::default() },
            roll_up: vec![RollUp { actual: assigned, ..RollUp::default() }],
            verdict: Verdict { kind: VerdictKind::GateFailed, ..Verdict::default() },
            ..Record::default()
        }
    }

    fn kept(dir: &Path, name: &str, record: &Record) -> PathBuf {
        let run = dir.join(name);
        fs::create_dir_all(&run).expect("a directory");
        fs::write(run.join("run.json"), record.to_json().expect("JSON")).expect("written");
        run
    }

    fn args(baseline: &Path, candidate: &Path) -> CompareArgs {
        CompareArgs {
            baseline: baseline.to_owned(),
            candidate: candidate.to_owned(),
            baseline_repeat: Vec::new(),
            candidate_repeat: Vec::new(),
            fail_on_regression: true,
            other_scenario: false,
            threshold: None,
            format: Format::Text,
            out: None,
            json: true,
        }
    }

    const QUIET: Output = Output { json: true, quiet: true };

    #[test]
    fn a_regression_is_an_exit_status_of_its_own_where_it_is_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let (good, bad) = (kept(dir.path(), "a", &record(990, "")), kept(dir.path(), "b", &record(700, "")));
        let mut args = args(&good, &bad);
        assert_eq!(run(&args, QUIET).expect("compared"), Exit::Regression);
        args.fail_on_regression = false;
        assert_eq!(run(&args, QUIET).expect("compared"), Exit::Good);
        let same = CompareArgs { candidate: good.join("run.json"), fail_on_regression: true, ..args };
        assert_eq!(run(&same, QUIET).expect("compared"), Exit::Good);
    }

    #[test]
    fn a_comparison_that_cannot_be_believed_never_ends_well() {
        let cases = [
            (false, false, Exit::Good),
            (false, true, Exit::Regression),
            (true, false, Exit::Invalid),
            (true, true, Exit::Invalid),
        ];
        for (doubtful, regressed, exit) in cases {
            assert_eq!(exit_of(&Comparison { doubtful, regressed, ..Comparison::default() }), exit);
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let run_a = kept(dir.path(), "a", &record(990, ""));
        let other = kept(dir.path(), "b", &record(990, "another"));
        fs::create_dir(dir.path().join("cut")).expect("a directory");
        fs::write(dir.path().join("cut/run.json"), "{\"schema\":\"rollcall.run/1\",").expect("written");
        for candidate in [&other, &dir.path().join("cut"), &dir.path().join("nowhere")] {
            assert_eq!(run(&args(&run_a, candidate), QUIET).expect_err("refused").exit, Exit::Usage);
        }
        let allowed = CompareArgs { other_scenario: true, ..args(&run_a, &other) };
        assert!(run(&allowed, QUIET).is_ok());
        let against = |kept: &Path| Baseline::read(kept).and_then(|kept| kept.against(&record(990, "")));
        assert_eq!(against(&other).expect_err("refused").exit, Exit::Usage);
        assert!(!against(&run_a).expect("compared").regressed);
    }

    #[test]
    fn the_page_of_another_run_is_not_written_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, other) = (kept(dir.path(), "a", &record(990, "")), kept(dir.path(), "b", &record(700, "")));
        let into = |out: &Path| CompareArgs { out: Some(out.to_owned()), ..args(&one, &other) };
        assert_eq!(run(&into(&one), QUIET).expect_err("it is the baseline's").exit, Exit::Usage);
        for out in [&other, &dir.path().join("new")] {
            run(&into(out), QUIET).expect("compared");
            assert!(out.join("run.html").is_file());
            let json = fs::read_to_string(out.join("comparison.json")).expect("read");
            let read: Comparison = serde_json::from_str(&json).expect("a comparison");
            let worse = |row: &&Compared| row.judgement == Judgement::Worse;
            assert_eq!(read.rows.iter().find(worse).expect("a row").metric, "rate.assigned");
        }
    }

    #[test]
    fn a_baseline_of_another_scenario_is_refused_before_the_run() {
        let script = Script::load("smoke", &[]).expect("a scenario");
        let planned = script.schedule().expect("arrivals").planned();
        let before = |scenario: &ScenarioText, settings: &[reports::Setting], planned, shard| {
            let record = Record {
                schema: SCHEMA.to_owned(),
                scenario: scenario.clone(),
                settings: settings.to_vec(),
                planned,
                shard,
                ..Record::default()
            };
            Baseline([("before".to_owned(), record)])
                .fits(&script, script.schedule().expect("arrivals").planned())
        };
        assert!(before(&script.text, &script.settings, planned, None).is_ok());
        let other = Script::load("steady", &[]).expect("a scenario");
        assert!(before(&other.text, &other.settings, planned, None).is_err());
        assert!(before(&script.text, &script.settings, planned + 1, None).is_err());
        let part = Some(reports::Shard { index: 1, count: 2 });
        assert!(before(&script.text, &script.settings, planned, part).is_err());
    }

    #[test]
    fn a_comparison_is_shown_again_with_its_own_run_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let run = Record { started_utc: "2026-07-01T10:00:00Z".to_owned(), ..record(990, "") };
        let comparison = Baseline([("before".to_owned(), record(990, ""))]).against(&run).expect("compared");
        keep(&run, &comparison, dir.path()).expect("written");
        assert!(dir.path().join("run.html").is_file());
        assert_eq!(beside(&run, dir.path(), QUIET).map(|found| found.schema), Some(comparison.schema));
        let later = Record { started_utc: "2026-07-01T11:00:00Z".to_owned(), ..run.clone() };
        assert_eq!(beside(&later, dir.path(), QUIET), None);
        fs::write(dir.path().join(FILE), "{").expect("written");
        assert_eq!(beside(&run, dir.path(), QUIET), None);
    }

    #[test]
    fn a_threshold_is_in_percent() {
        for (text, part) in [("5", 0.05), ("2.5%", 0.025), ("100", 1.0)] {
            assert_eq!(percent(text), Ok(part));
        }
        for text in ["0", "-1", "x", "", "1001", "NaN", "inf"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
