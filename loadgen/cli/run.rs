//! `rollcall run`: plays a scenario and writes its record.

mod conduct;
mod place;
mod scene;
mod script;

pub use conduct::{JOURNAL, Kept, conduct, rebuild};
pub(crate) use conduct::{raise_descriptors, write, write_page, write_page_with};
pub use script::Script;
pub(crate) use script::{Written, shipped, unusable};

use super::figures;
use super::layers::ValueArgs;
use super::live::{Form, Live};
use super::output::Output;
use super::plan;
use super::report::compare::{self, Baseline};
use super::report::{Format, write_formats};
use super::secret::{Secret, SecretParser};
use crate::capacity::{self, Search};
use crate::collector::Glance;
use crate::exit::{Exit, Failure};
use crate::forecast;
use crate::plan::ShardOf;
use crate::telemetry::Metrics;
use clap::Args;
use reports::{Ended, OutcomeKind, Record, VerdictKind};
use scenarios::{Load, Scenario, Spacing, Stage, WhenFull};
use sim_device::Sources;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// `rollcall run`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall run smoke
  rollcall run scenario.toml --set fleet.devices=500 --out results
  rollcall run scenario.toml --out today --baseline last-week --fail-on-regression
  rollcall run steady --find-capacity
  rollcall run scenario.toml --shard 1/2 --start-at \"$(date -ud '+1 minute' +%FT%TZ)\" --out part-1

`rollcall plan` tells what a scenario comes to before it is run; a shipped scenario goes by its name.")]
pub struct RunArgs {
    /// Scenario file, or the name of a shipped scenario
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// What is set besides the scenario.
    #[command(flatten)]
    pub values: ValueArgs,
    /// Play part i of n; the parts of one seed partition the fleet and its arrivals
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub shard: ShardOf,
    /// The moment at which every shard starts, RFC 3339, at most a day ahead; each makes its devices before
    #[arg(long, value_name = "TIME", value_parser = super::moment)]
    pub start_at: Option<OffsetDateTime>,
    /// Where run.json, run.html and run.journal go [default: rollcall-results/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Put the record of another scenario or shard aside that is there
    #[arg(long)]
    pub force: bool,
    /// Do not write each outcome to run.journal as it comes: nothing is left of a run that is killed
    #[arg(long)]
    pub no_journal: bool,
    /// Search for the highest rate that meets the gates: 20 to 35 runs of a constant rate, without a journal. Of the scenario
    /// the load, turns and holds are left out
    #[arg(long, conflicts_with_all = ["shard", "start_at"])]
    pub find_capacity: bool,
    /// With --find-capacity: the first rate to try, in arrivals per second [default: 50, or --up-to if that is less]
    #[arg(long, value_name = "RATE", value_parser = rate, requires = "find_capacity")]
    pub from: Option<f64>,
    /// With --find-capacity: the highest rate to try, in arrivals per second
    #[arg(long, value_name = "RATE", default_value_t = 20_000.0, value_parser = rate, requires = "find_capacity")]
    pub up_to: f64,
    /// With --find-capacity: how long each rate is tried, at least 2s; low ones longer, for 100 arrivals or a minute
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = trial, requires = "find_capacity")]
    pub trial: Duration,
    /// Connect from this address, or from each of FIRST-LAST in turn; repeatable
    #[arg(long, value_name = "ADDRESS", value_parser = addresses)]
    pub source_address: Vec<Vec<IpAddr>>,
    /// Allow a target that is not on this machine
    #[arg(long)]
    pub live: bool,
    /// Allow more than 80 % of the quota of a target that is not on this machine
    #[arg(long)]
    pub over_quota: bool,
    /// How to show progress on standard error
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    pub progress: Form,
    /// Serve metrics of the running load for Prometheus on this port of 127.0.0.1; 0 is any free one
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Send metrics of the running load to an OpenTelemetry collector on this machine, for instance http://127.0.0.1:4318
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// File with the token of target.service.management; ROLLCALL_MANAGEMENT_TOKEN holds the token itself
    #[arg(long, value_name = "FILE", env = "ROLLCALL_MANAGEMENT_TOKEN", hide_env_values = true, value_parser = SecretParser)]
    pub management_token_file: Option<Secret>,
    /// Write these forms beside run.html: md, junit, csv, summary-csv, svg, text
    #[arg(long, value_name = "FORMAT", value_enum, value_delimiter = ',')]
    pub format: Vec<Format>,
    /// Compare with an earlier run of the same scenario: its directory, or its run.json
    #[arg(long, value_name = "RUN", conflicts_with_all = ["shard", "find_capacity"])]
    pub baseline: Option<PathBuf>,
    /// With --baseline: end with 97 if anything is worse by more than noise
    #[arg(long, requires = "baseline")]
    pub fail_on_regression: bool,
    /// Print the record as JSON
    #[arg(long)]
    pub json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| format!("`{text}` is no rate above 0"))
}

/// How long a rate is tried: its second half is to have a whole second.
fn trial(text: &str) -> Result<Duration, String> {
    let lasts = scenarios::parse_duration(text).map_err(|error| error.to_string())?;
    if lasts < Duration::from_secs(2) {
        return Err(format!("`{text}` is too short to see whether a service keeps up: give it 2s at least"));
    }
    Ok(lasts)
}

/// One address, or every one from the first to the last; at most 65,536.
fn addresses(text: &str) -> Result<Vec<IpAddr>, String> {
    let one = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| format!("`{text}` is no IP address"));
    let Some((first, last)) = text.split_once('-') else { return one(text).map(|one| vec![one]) };
    let all: Vec<IpAddr> = match (one(first)?, one(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (u32::from(first)..=u32::from(last))
            .take(65_537)
            .map(|number| IpAddr::V4(number.into()))
            .collect(),
        (IpAddr::V6(first), IpAddr::V6(last)) => (u128::from(first)..=u128::from(last))
            .take(65_537)
            .map(|number| IpAddr::V6(number.into()))
            .collect(),
        _ => return Err(format!("`{text}` mixes IPv4 and IPv6")),
    };
    match all.len() {
        0 => Err(format!("`{text}` ends before it begins")),
        65_537.. => Err(format!("`{text}` is more than 65,536 addresses")),
        _ => Ok(all),
    }
}

/// Plays the scenario.
pub async fn run(args: RunArgs, output: Output) -> Result<Exit, Failure> {
    // Machines that read progress want nothing else on that stream.
    let quiet = output.quiet || args.progress == Form::Json;
    let output = Output { json: args.json, quiet };
    let script = Script::with_settings(&args.scenario, &args.values, output)?;
    let out =
        args.out.clone().unwrap_or_else(|| Path::new("rollcall-results").join(slug(&script.scenario.name)));
    let access = access(&args)?;
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let schedule = script.schedule()?;
    if let Some(baseline) = &baseline {
        baseline.fits(&script, schedule.planned())?;
    }
    if !args.force {
        place::refuse_another(&script, args.shard, args.baseline.as_deref(), &out)?;
    }
    if !args.find_capacity {
        plan::quota_check(&script.scenario, &schedule, args.live, args.over_quota)?;
    }
    if forecast::polls_without_pause(&script.scenario) && args.progress != Form::Json {
        output.warn(format_args!("a device waits for its assignment: {}", plan::WITHOUT_PAUSE));
    }
    let metrics = match args.metrics_port {
        Some(port) => Some(Metrics::serve(port).await?),
        None => None,
    };
    if let Some(metrics) = &metrics {
        // A port that nobody named has to be told; objects for machines have it in them.
        let wanted = args.metrics_port == Some(0) && args.progress != Form::Json;
        Output { quiet: output.quiet && !wanted, ..output }.talk(format_args!("Metrics: {}", metrics.url()));
    }
    #[cfg(feature = "otlp")]
    let otlp = args.otlp_endpoint.as_deref().map(crate::telemetry::Otlp::start).transpose()?;
    let watchers = |glance: &Glance<'_>| {
        if let Some(metrics) = &metrics {
            metrics.update(glance);
        }
        #[cfg(feature = "otlp")]
        if let Some(otlp) = &otlp {
            otlp.update(glance);
        }
    };
    let show = Show {
        output,
        narrate: &|line| output.talk(line),
        live: Mutex::new(Live::new(
            args.progress,
            output,
            &script.scenario,
            metrics.as_ref().map(Metrics::url),
        )),
        watchers: &watchers,
    };
    let (record, kept) = if args.find_capacity {
        find_capacity(&script, &args, &access, &out, &show).await?
    } else {
        conduct(&script, args.shard, &access, &out, &show).await?
    };
    #[cfg(feature = "otlp")]
    if let Some(otlp) = otlp {
        let lost = otlp.shutdown().await;
        if lost > 0 {
            output.warn(format_args!("{lost} exports did not reach the OpenTelemetry collector"));
        }
    }
    output.line(reports::summary(&record));
    output.json(&record);
    kept?;
    let comparison = baseline.map(|baseline| baseline.against(&record)).transpose()?;
    if let Some(comparison) = &comparison {
        output.line(reports::comparison_text(comparison).trim_end());
        compare::keep(&record, comparison, &out)?;
    }
    write_formats(&record, comparison.as_ref(), &args.format, &out)?;
    output.talk(format_args!("Record: {}", out.join("run.json").display()));
    output.talk(format_args!("Page:   {}", out.join("run.html").display()));
    Ok(match (exit_of(&record), comparison.filter(|_| args.fail_on_regression)) {
        (Exit::Good, Some(comparison)) => compare::exit_of(&comparison),
        (exit, _) => exit,
    })
}

fn access(args: &RunArgs) -> Result<Access, Failure> {
    let token =
        args.management_token_file.as_ref().map(|secret| secret.read("management token")).transpose()?;
    let sources: Vec<IpAddr> = args.source_address.iter().flatten().copied().collect();
    let sources = (!sources.is_empty()).then(|| Arc::new(Sources::new(sources)));
    if let Some(missing) = sources.as_ref().and_then(|sources| sources.check()) {
        let fault = format!("cannot connect from {missing}: this machine does not have that address");
        return Err(Failure::usage(fault)
            .advise("Name addresses that this machine has; on Linux every one of 127.0.0.0/8 is."));
    }
    Ok(Access {
        live: args.live,
        management_token: token.flatten(),
        sources,
        journal: !args.no_journal,
        start_at: args.start_at.map(|at| within_a_day(at, super::now())).transpose()?,
    })
}

/// A start that is waited for; one further ahead is a mistake in the date.
fn within_a_day(at: OffsetDateTime, now: OffsetDateTime) -> Result<OffsetDateTime, Failure> {
    let ahead = still_ahead(at, now)?;
    if ahead <= MOST_AHEAD {
        return Ok(at);
    }
    let fault = format!("will not wait {} for the common start, --start-at {at}", figures::span(ahead));
    Err(Failure::usage(fault).advise("Name a moment within a day, for instance a minute from now."))
}

/// How far ahead a common start is. It is asked before anything is made, and once everything is.
fn still_ahead(at: OffsetDateTime, now: OffsetDateTime) -> Result<Duration, Failure> {
    Duration::try_from(at - now).map_err(|_| {
        let ago = figures::span((now - at).unsigned_abs());
        Failure::usage(format!("the common start, --start-at {at}, was {ago} ago")).advise(
            "Name a moment by which every shard has made its devices, for instance a minute from now.",
        )
    })
}

/// `ours:` how long a common start is waited for.
const MOST_AHEAD: Duration = Duration::from_secs(86_400);

/// A scenario's name as that of a directory: nothing that means something in a path.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let slug: String = name.chars().map(plain).take(64).collect();
    if slug.trim_matches('-').is_empty() { "unnamed".to_owned() } else { slug }
}

/// The exit status that a record's verdict stands for.
pub fn exit_of(record: &Record) -> Exit {
    let nobody_answered =
        record.planned > 0 && record.outcomes.count(OutcomeKind::Unreachable) == record.planned;
    match record.verdict.kind {
        VerdictKind::GateFailed if nobody_answered => Exit::Unreachable,
        VerdictKind::Good => Exit::Good,
        VerdictKind::GateFailed => Exit::GateFailed,
        VerdictKind::Invalid | VerdictKind::GeneratorLimited => Exit::Invalid,
        VerdictKind::Interrupted => Exit::Interrupted,
    }
}

/// What a run may do, and with which credential.
#[derive(Debug, Default)]
pub struct Access {
    /// Send to a target that is not on this machine.
    pub live: bool,
    /// Of the mock's management port.
    pub management_token: Option<String>,
    /// Addresses to connect from.
    pub sources: Option<Arc<Sources>>,
    /// Whether each outcome is written as it comes.
    pub journal: bool,
    /// When to start.
    pub start_at: Option<OffsetDateTime>,
}

/// How a run shows itself.
pub struct Show<'a> {
    /// Where words go.
    pub output: Output,
    /// Tells a step of the story.
    pub narrate: &'a (dyn Fn(String) + Sync),
    /// How it goes.
    pub live: Mutex<Live>,
    /// Are told as well.
    pub watchers: &'a (dyn Fn(&Glance<'_>) + Sync),
}

/// Tells nobody.
pub const fn nobody(_: &Glance<'_>) {}

/// The first rate of a search, unless it is told.
const FIRST_RATE: f64 = 50.0;

/// Plays one rate after the other, and writes the record of the last one that met the gates.
async fn find_capacity(
    script: &Script,
    args: &RunArgs,
    access: &Access,
    out: &Path,
    show: &Show<'_>,
) -> Result<(Record, Kept), Failure> {
    let from = searchable(script, args)?;
    let mut search = Search::new(from, args.up_to, script.scenario.seed);
    show.output.talk(announced(script, args, from));
    let stopped = Stopped::listen();
    let (mut best, mut last): (Option<(f64, Record)>, Option<Record>) = (None, None);
    let quiet = Show {
        output: show.output,
        narrate: &|_| {},
        live: Mutex::new(Live::Silent),
        watchers: show.watchers,
    };
    while let Some(rate) = search.next() {
        if stopped.is_asked() {
            search.interrupt();
            break;
        }
        let lasts = capacity::lasts(rate, args.trial);
        let trial = script.trial(rate, lasts, search.first_p99())?;
        let schedule = trial.schedule()?;
        plan::quota_check(&trial.scenario, &schedule, args.live, args.over_quota)?;
        let descriptors = conduct::descriptors(&trial.scenario, &schedule, ShardOf::WHOLE)?;
        let planned = schedule.planned();
        let record =
            conduct::play(&trial, schedule, ShardOf::WHOLE, access, None, &quiet, descriptors).await?;
        if matches!(record.ended, Ended::Interrupted | Ended::Aborted) {
            search.interrupt();
            last = Some(record);
            break;
        }
        let noted = search.note(rate, lasts, &record);
        show.output.talk(told(&noted, planned));
        if noted.passed && best.as_ref().is_none_or(|(most, _)| *most <= rate) {
            best = Some((rate, record));
        } else {
            last = Some(record);
        }
    }
    let interrupted = search.is_interrupted();
    let Some(mut record) = best.map(|(_, record)| record).or(last) else {
        return Err(Failure::unexpected("no rate was tried"));
    };
    let capacity = search.finish();
    if capacity.limited_by == "none" || interrupted {
        show.output.talk(format_args!("Capacity: {}", capacity.method));
    }
    record.capacity = Some(capacity);
    record.notes.push(
        "Its numbers are those of the highest rate that met the gates, not of the scenario's own load."
            .to_owned(),
    );
    if interrupted {
        record.ended = Ended::Interrupted;
        record.verdict.kind = VerdictKind::Interrupted;
        record.verdict.reasons.insert(0, "the search was interrupted".to_owned());
    }
    let kept = super::create_dir(out)
        .and_then(|()| conduct::put_aside(out, show))
        .and_then(|()| conduct::write(&record, out));
    Ok((record, kept.map_err(conduct::unwritten)))
}

/// Where a search starts, if the scenario and the flags make one.
fn searchable(script: &Script, args: &RunArgs) -> Result<f64, Failure> {
    if !script.scenario.events.is_empty() {
        let fault = "cannot search with [[event]]: every trial is a run of its own, in which their moments mean nothing";
        return Err(Failure::usage(fault).advise("Search with a scenario that leaves the service as it is."));
    }
    match args.from {
        Some(from) if from > args.up_to => Err(Failure::usage(format!(
            "cannot search from {from}/s up to {}/s: the first rate is above the highest",
            args.up_to
        ))
        .advise("Raise --up-to, or lower --from.")),
        Some(from) => Ok(from),
        None => Ok(FIRST_RATE.min(args.up_to)),
    }
}

/// What a search is going to do, and what it leaves out of the scenario.
fn announced(script: &Script, args: &RunArgs, from: f64) -> String {
    let seconds = args.trial.as_secs_f64();
    let (fewest, most) = capacity::TRIALS.into_inner();
    let [from_time, to_time] = [fewest, most].map(|trials| seconds * f64::from(trials));
    let about = if to_time < 90.0 {
        format!("{from_time:.0} to {to_time:.0} s")
    } else {
        format!("{:.0} to {:.0} minutes", (from_time / 60.0).ceil(), (to_time / 60.0).ceil())
    };
    let Scenario { fleet, device, .. } = &script.scenario;
    let mut left_out = vec!["load"];
    left_out.extend((fleet.turns > 1).then_some("turns"));
    left_out.extend(device.hold.is_some().then_some("hold"));
    format!(
        "Searching from {from}/s to {}/s in trials of {seconds} s with devices of their own, {fewest} to {most} trials, {about}; the \
         scenario's own {} left out.",
        args.up_to,
        match left_out.as_slice() {
            [one] => format!("{one} is"),
            [first @ .., last] => format!("{} and {last} are", first.join(", ")),
            [] => String::new(),
        }
    )
}

/// Below so many arrivals one of them is more than 5 %.
const FEW: u64 = 20;

fn told(trial: &reports::Trial, planned: u64) -> String {
    let met = if trial.passed { "met".to_owned() } else { format!("not met: {}", capacity::why(trial)) };
    let few = if planned < FEW { format!("; only {planned} arrivals") } else { String::new() };
    let p99 = trial.response_p99_us as f64 / 1000.0;
    format!(
        "{:>8.1}/s  {:>8.1}/s achieved  response p99 {p99:>9.3} ms  {met}{few}",
        trial.rate, trial.achieved
    )
}

/// Whether the user asked to stop, also between two trials, when nothing else listens.
struct Stopped {
    asked: Arc<AtomicBool>,
    /// Ends with this.
    _listening: JoinSet<()>,
}

impl Stopped {
    fn listen() -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let told = asked.clone();
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            // Where signals cannot be waited for, the trials say so.
            told.store(super::stop_signal().await.is_ok(), Ordering::Relaxed);
        });
        Stopped { asked, _listening: listening }
    }

    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Script {
    /// The scenario at one constant rate for a while, with as many devices as that takes.
    fn trial(&self, rate: f64, lasts: Duration, first_p99: Option<Duration>) -> Result<Self, Failure> {
        let devices = ((rate * lasts.as_secs_f64()).ceil() as u64).max(1);
        let mut scenario = self.scenario.resized(devices).map_err(Failure::usage)?;
        let slots = match &scenario.load {
            Load::Open { max_in_flight, .. } => *max_in_flight,
            Load::Closed { .. } => 10_000,
        };
        scenario.load = Load::Open {
            stages: vec![Stage::Constant { rate, lasts: Some(lasts) }],
            spacing: Spacing::Even,
            max_in_flight: slots,
            when_full: WhenFull::Wait,
        };
        // Who holds its connection would make every trial as long, and take the slots of others.
        scenario.device.hold = None;
        scenario.gates = capacity::gates_of(&scenario.gates, first_p99);
        Ok(Script {
            scenario,
            text: self.text.clone(),
            settings: self.settings.clone(),
            base: self.base.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_ahead_and_waited_for_a_day_at_most() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for (ahead, waits) in
            [(-1, false), (0, true), (60, true), (86_400, true), (86_401, false), (100_000_000, false)]
        {
            let started = within_a_day(now + time::Duration::seconds(ahead), now);
            assert_eq!(started.err().map(|failure| failure.exit), (!waits).then_some(Exit::Usage), "{ahead}");
        }
    }

    #[test]
    fn a_trial_that_was_not_met_says_why() {
        let trial = reports::Trial { generator_limited: true, ..reports::Trial::default() };
        assert!(!told(&trial, 100).trim_end().ends_with(':'), "{}", told(&trial, 100));
    }
}
