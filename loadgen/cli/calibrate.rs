//! `rollcall calibrate`: shows that reports can be believed, by reading back latencies that are known.
//!
//! Runs of the engine, as any scenario would play it, against embedded mocks that hold each answer for a known time. What a
//! device needs besides (TCP, TLS, MQTT, this machine) is measured in the same command: the floor. It is measured with
//! answers that are held for a moment, because a processor that has nothing to do takes time to wake, whatever for. The
//! known time is what the mock held by its own clock, and the floor; what the record says has to be that within 1 %.
//!
//! All of it is played several times, and the medians of what is known and of what is read are compared, each percentile for
//! itself: what else a machine does for a moment would else be taken for an error of the meter.

use super::live::Live;
use super::output::Output;
use super::run::{Access, Script, Show, conduct, nobody};
use crate::exit::{Exit, Failure};
use crate::plan::ShardOf;
use clap::Args;
use hdrhistogram::Histogram;
use reports::{Ended, OutcomeKind, PhaseStats, Record, VerdictKind};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The schema of `--json`.
const SCHEMA: &str = "rollcall.calibration/1";
/// Arrivals per second.
const RATE: u64 = 100;
/// Devices of a case.
const DEVICES: u64 = 500;
/// How often everything is played.
const ROUNDS: usize = 5;
/// How long the mock stalls, in seconds.
const STALL: f64 = 2.0;
/// Devices of the stall: its queue is worked off before the end, and is less than half of them. The fewer, the less depends
/// on how fast the queue is worked off.
const STALLED: u64 = 560;
/// For how long answers are held to measure the floor.
const MOMENT: &str = "1ms";
/// The part of a known time that what is read back may be off by.
const TOLERANCE: f64 = 0.01;
/// `ours:` where 1 % is less than a thread's way to a processor and back, a time may be off by the floor's own spread, and
/// by this at most; in seconds.
const MOST_SPREAD: f64 = 150e-6;
/// What is held for less is compared by the phase alone in which it is held, in seconds: the other phases differ from run
/// to run by most of a millisecond at the 99th percentile, which is more than 1 % of 50 ms.
const SHORT: f64 = 0.1;
/// The percentiles that are compared.
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// `rollcall calibrate`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall calibrate
  rollcall calibrate --quick --json

Plays the engine against embedded mocks that hold the answer to a registration
for a known time (5, 50 and 500 ms, and 5 or 50 ms mixed), or stall for 2 s, and
compares what the records say with what is known: the time of the phase
`register`, of 500 ms also the service time, and both clocks of the stall.
All of it five times; the medians of each percentile are compared.
Keep the machine idle meanwhile. Ends with 0 if all is read back within 1 %
(5 ms: or within 150 µs, if devices differ by as much without it), else with 98.")]
pub struct CalibrateArgs {
    /// Once instead of five times: half a minute instead of three
    #[arg(long)]
    pub quick: bool,
    /// Keep the record of each case in a directory of its own here
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Calibrates.
///
/// # Errors
/// When a case cannot be run.
pub async fn run(args: CalibrateArgs, output: Output) -> Result<Exit, Failure> {
    let output = Output { json: args.json, ..output };
    let temporary = tempfile::Builder::new().prefix("rollcall-calibrate-").tempdir();
    let temporary = temporary
        .map_err(|error| Failure::unexpected(format!("cannot make a directory for records: {error}")))?;
    let player = Player { out: args.out.as_deref().unwrap_or(temporary.path()), output };
    let mut rounds = Vec::new();
    for round in 1..=if args.quick { 1 } else { ROUNDS } {
        rounds.push(Runs::play(round, &player).await?.compare()?);
    }
    let calibration = Calibration::of(rounds);
    for line in calibration.lines() {
        output.line(line);
    }
    output.json(&calibration);
    Ok(if calibration.passed { Exit::Good } else { Exit::Invalid })
}

/// The latencies of a case: shares of the answers, and how long they are held, in seconds; the shorter first.
type Modes = &'static [(f64, f64)];

/// A case of known latency.
struct Case {
    name: &'static str,
    /// As a delay is written in rules.
    delay: &'static str,
    modes: Modes,
}

/// Shares are such that the percentiles fall well inside one of the two.
const CASES: [Case; 4] = [
    Case { name: "5 ms", delay: "5ms", modes: &[(1.0, 0.005)] },
    Case { name: "50 ms", delay: "50ms", modes: &[(1.0, 0.05)] },
    Case { name: "500 ms", delay: "500ms", modes: &[(1.0, 0.5)] },
    Case { name: "5 or 50 ms", delay: "bimodal 5ms, 50ms, 20%", modes: &[(0.8, 0.005), (0.2, 0.05)] },
];

/// The records of one round.
struct Runs {
    /// With answers held for a moment.
    floor: Record,
    /// With nothing held.
    plain: Record,
    /// With nothing held, one device after the other.
    back_to_back: Record,
    /// In the order of [`CASES`].
    cases: Vec<Record>,
    stall: Record,
}

impl Runs {
    async fn play(round: usize, player: &Player<'_>) -> Result<Self, Failure> {
        let (spaced, one_by_one) = (open(DEVICES), "[load.closed]\nin_flight = 1\n");
        let record = async |name: &str, devices, fault: String, load: &str| {
            player.record(&format!("{name}, round {round}"), devices, &fault, load).await
        };
        let plain = record("plain", DEVICES, String::new(), &spaced).await?;
        let back_to_back = record("back to back", DEVICES, String::new(), one_by_one).await?;
        let floor = record("floor", DEVICES, latency(MOMENT), &spaced).await?;
        let mut cases = Vec::new();
        for Case { name, delay, .. } in &CASES {
            cases.push(record(name, DEVICES, latency(delay), &spaced).await?);
        }
        let stall = record("stall", STALLED, stall(), &open(1)).await?;
        Ok(Runs { floor, plain, back_to_back, cases, stall })
    }

    /// Puts what was read back beside what is known.
    fn compare(&self) -> Result<Round, Failure> {
        let floor = Floor::of(self)?;
        let mut rows = Vec::new();
        for (case, record) in CASES.iter().zip(&self.cases) {
            let held = histogram(held(record)?)?;
            rows.extend(rows_of(case, "register", (&floor.register, &held), &histogram(register(record)?)?));
            // What devices need besides varies by more than 1 % of a short time.
            if case.modes.iter().all(|(_, held)| *held >= SHORT) {
                let read = histogram(&record.clocks.service_time)?;
                rows.extend(rows_of(case, "service", (&floor.service, &held), &read));
            }
        }
        rows.extend(self.stall_rows(&floor)?);
        let named = [("floor", &self.floor), ("plain", &self.plain), ("back to back", &self.back_to_back)];
        let cases = CASES.iter().map(|case| case.name).zip(&self.cases);
        let problems = named.into_iter().chain(cases).chain([("stall", &self.stall)]).filter_map(problem);
        Ok(Round {
            rows,
            problems: problems.collect(),
            floor_spread: floor.spread,
            back_to_back: floor.cycle,
        })
    }

    /// With one slot, devices that come during the stall wait for it: all but the one that holds it feel the stall in their
    /// response time alone.
    fn stall_rows(&self, floor: &Floor) -> Result<Vec<Row>, Failure> {
        let (service, response) =
            (histogram(&self.stall.clocks.service_time)?, histogram(&self.stall.clocks.response_time)?);
        let expected = queued(self.stall.planned, floor, drained(&response).unwrap_or(floor.cycle));
        let row = |(percentile, quantile): (&'static str, f64)| {
            let (own, waited) = (at(&floor.plain_service, quantile), rank(&expected, quantile));
            let in_service = Times { floor: own, known: own, read: at(&service, quantile) };
            let floor = at(&floor.plain_response, quantile);
            let in_response = Times { floor, known: waited, read: at(&response, quantile) };
            // Devices that met no queue took what the floor takes, whose spread is no matter of the stall.
            let measure = if waited < STALL * 0.1 { Measure::OfStall } else { Measure::Known(0.0) };
            [
                Row::of("2 s stall", "service", percentile, in_service, Measure::OfStall),
                Row::of("2 s stall", "response", percentile, in_response, measure),
            ]
        };
        Ok(PERCENTILES.into_iter().flat_map(row).collect())
    }
}

/// What was read of a case by one clock, beside what is known of it.
fn rows_of(
    case: &Case,
    clock: &'static str,
    (floor, held): (&Histogram<u64>, &Histogram<u64>),
    read: &Histogram<u64>,
) -> Vec<Row> {
    let expected = with_held(floor, held);
    let spread = at(floor, 0.99) - at(floor, 0.5);
    let row = |(percentile, quantile): (&'static str, f64)| {
        let known = rank(&expected, quantile);
        let times = Times { floor: at(floor, quantile), known, read: at(read, quantile) };
        Row::of(case.name, clock, percentile, times, Measure::Known(spread))
    };
    PERCENTILES.into_iter().map(row).collect()
}

/// How long the mock held answers, by its own clock.
fn held(record: &Record) -> Result<&PhaseStats, Failure> {
    record.holds.as_ref().ok_or_else(|| Failure::unexpected("nothing was held"))
}

/// The phase in which the mock holds an answer.
fn register(record: &Record) -> Result<&PhaseStats, Failure> {
    let found = record.phases.iter().find(|stats| stats.phase == "register");
    found.ok_or_else(|| Failure::unexpected("no device registered"))
}

/// Plays cases, one after the other.
struct Player<'a> {
    /// Where each has a directory of its own.
    out: &'a Path,
    output: Output,
}

impl Player<'_> {
    async fn record(&self, name: &str, devices: u64, fault: &str, load: &str) -> Result<Record, Failure> {
        self.output.talk(format_args!("{name}: {devices} devices"));
        let script = Script::from_text(
            &format!("{}.toml", slug(name)),
            scenario(name, devices, fault, load),
            &[],
            PathBuf::new(),
        )?;
        let show = Show {
            output: Output { json: false, quiet: true },
            narrate: &|_| {},
            live: Mutex::new(Live::Silent),
            watchers: &nobody,
        };
        let out = self.out.join(slug(name));
        let (record, kept) = conduct(&script, ShardOf::WHOLE, &Access::default(), &out, &show).await?;
        kept?;
        match record.ended {
            Ended::Completed => Ok(record),
            _ => Err(Failure::new(Exit::Interrupted, "interrupted: nothing can be said of any record")),
        }
    }
}

/// What a case is called in paths and as a scenario.
fn slug(name: &str) -> String {
    name.replace(", ", "-").replace(' ', "-")
}

fn scenario(name: &str, devices: u64, fault: &str, load: &str) -> String {
    format!(
        "name = \"calibrate-{}\"\n\
         [fleet]\ndevices = {devices}\nregistration_id = \"calibrate-{{index:04}}\"\n\
         [fleet.authority.minted]\nintermediates = 1\n\
         [target.mock]\ngroup = \"calibrate\"\n\
         {fault}{load}",
        slug(name)
    )
}

fn open(slots: u64) -> String {
    format!("[load.open]\nrate = {RATE}.0\nmax_in_flight = {slots}\nwhen_full = \"wait\"\n")
}

fn latency(delay: &str) -> String {
    format!("[[target.mock.fault]]\nid = \"latency\"\nat = [\"register\"]\ndelay = \"{delay}\"\n")
}

/// Begins when the mock is set up; how much later the devices come does not matter, as long as the queue is worked off.
fn stall() -> String {
    format!("[[target.mock.fault]]\nid = \"stall\"\nlasting = \"{STALL:.0}s\"\nfrom = \"2s\"\n")
}

/// Why a record cannot be compared with anything.
fn problem((name, record): (&str, &Record)) -> Option<String> {
    let assigned = record.outcomes.count(OutcomeKind::Assigned);
    if assigned != record.planned {
        return Some(format!("{name}: {assigned} of {} devices were assigned.", record.planned));
    }
    match record.verdict.kind {
        VerdictKind::Good => None,
        _ => Some(format!("{name}: the run is not good: {}", record.verdict.reasons.join("; "))),
    }
}

fn histogram(stats: &PhaseStats) -> Result<Histogram<u64>, Failure> {
    stats.histogram().map_err(Failure::unexpected)
}

/// A quantile in seconds.
fn at(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile).min(times.max()) as f64 / 1e9
}

/// What devices need besides what is held for them; in seconds.
struct Floor {
    /// With the moment that answers were held taken off again.
    register: Histogram<u64>,
    /// As above.
    service: Histogram<u64>,
    /// With nothing held.
    plain_service: Histogram<u64>,
    /// With nothing held.
    plain_response: Histogram<u64>,
    /// From the median to the 99th percentile of the register phase: by so much devices differ for no known reason.
    spread: f64,
    /// From one device's start to the next one's, when each starts as soon as the one before has ended.
    cycle: f64,
}

impl Floor {
    fn of(runs: &Runs) -> Result<Self, Failure> {
        let moment = histogram(held(&runs.floor)?)?.value_at_quantile(0.5);
        let register = without(&histogram(register(&runs.floor)?)?, moment)?;
        let service = without(&histogram(&runs.floor.clocks.service_time)?, moment)?;
        let spread = at(&register, 0.99) - at(&register, 0.5);
        let cycle = runs.back_to_back.wall_seconds / runs.back_to_back.planned.max(1) as f64;
        let plain = &runs.plain.clocks;
        let (plain_service, plain_response) =
            (histogram(&plain.service_time)?, histogram(&plain.response_time)?);
        Ok(Floor { register, service, plain_service, plain_response, spread, cycle })
    }
}

/// Times without a part that each of them has, in nanoseconds.
fn without(times: &Histogram<u64>, part: u64) -> Result<Histogram<u64>, Failure> {
    let mut rest = crate::recorder::histogram();
    for step in times.iter_recorded() {
        let time = step.value_iterated_to().saturating_sub(part);
        rest.record_n(time, step.count_at_value()).map_err(Failure::unexpected)?;
    }
    Ok(rest)
}

/// The times that devices need where answers are held: every time that the mock held one, by its own clock, with every
/// time of the floor, since the two have nothing to do with each other. In seconds, in order.
fn with_held(floor: &Histogram<u64>, held: &Histogram<u64>) -> Vec<f64> {
    let each = |times: &Histogram<u64>| {
        let steps = (0..STEPS).map(|step| at(times, (step as f64 + 0.5) / STEPS as f64));
        steps.collect::<Vec<_>>()
    };
    let (own, held) = (each(floor), each(held));
    let mut sums: Vec<f64> = held.iter().flat_map(|held| own.iter().map(move |own| held + own)).collect();
    sums.sort_by(f64::total_cmp);
    sums
}

/// Into so many equal parts a distribution is cut.
const STEPS: usize = 1_000;

/// How fast the queue of a stall was worked off: from one start to the next, in seconds. Devices that came within the stall
/// waited a spacing less, and a cycle more, than the one before, so that it follows from how many waited long; none, where
/// nobody did.
fn drained(response: &Histogram<u64>) -> Option<f64> {
    let (spacing, long) = (1.0 / RATE as f64, STALL * 0.1);
    let waited = response.len() - response.count_between(0, (long * 1e9) as u64);
    let held = STALL - spacing / 2.0;
    (waited > 0).then(|| (spacing - (held - long) / waited as f64).max(0.0))
}

/// The response times of a run with one slot and one stall, in order: what a queue of one server comes to. Devices are due
/// at fixed times, the one that is held ends with the stall, and those behind it start one after the other, a cycle apart;
/// whoever finds the slot free needs what the floor's devices need.
fn queued(devices: u64, floor: &Floor, cycle: f64) -> Vec<f64> {
    let spacing = 1.0 / RATE as f64;
    // It stalls somewhere between two arrivals: half a spacing is lost on average, 0.25 % of it.
    let held = STALL - spacing / 2.0;
    let first = devices / 3;
    let due = |device: u64| device as f64 * spacing;
    let (mut waited, mut at_once) = (vec![held], devices.min(first));
    let mut free = due(first) + held;
    for device in first + 1..devices {
        if free <= due(device) {
            at_once += 1;
            free = due(device) + cycle;
        } else {
            free += cycle;
            waited.push(free - due(device));
        }
    }
    let own = (0..at_once).map(|n| at(&floor.plain_response, (n as f64 + 0.5) / at_once as f64));
    let mut all: Vec<f64> = waited.into_iter().chain(own).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// A quantile of sorted times, counted as histograms do.
fn rank(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// What is compared, in seconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    floor: f64,
    known: f64,
    read: f64,
}

/// What a difference is measured by.
#[derive(Clone, Copy, Debug)]
enum Measure {
    /// By the known time, and by the floor's spread, in seconds, where that time is small.
    Known(f64),
    /// By the stall, which is not to show.
    OfStall,
}

/// Why a difference is allowed, or by what it is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Rule {
    /// Within 1 % of what is known.
    OfKnown,
    /// Within the floor's own spread, and 150 µs.
    FloorSpread,
    /// Within 1 % of the stall.
    OfStall,
}

impl Rule {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OfKnown => "1 % of known",
            Self::FloorSpread => "floor spread",
            Self::OfStall => "1 % of stall",
        }
    }
}

/// One percentile of one case.
#[derive(Clone, Debug, Serialize)]
struct Row {
    case: &'static str,
    clock: &'static str,
    percentile: &'static str,
    floor_us: f64,
    known_us: f64,
    read_us: f64,
    /// Of what the rule measures by.
    difference_percent: f64,
    /// The same of every round, the smallest first.
    rounds_percent: Vec<f64>,
    #[serde(skip)]
    times: Times,
    #[serde(skip)]
    measure: Measure,
    rule: Rule,
    passed: bool,
}

impl Row {
    fn of(
        case: &'static str,
        clock: &'static str,
        percentile: &'static str,
        times: Times,
        measure: Measure,
    ) -> Self {
        let Times { floor, known, read } = times;
        let difference = read - known;
        let is_small =
            |spread: f64| known * TOLERANCE < MOST_SPREAD && difference.abs() <= spread.min(MOST_SPREAD);
        let share = |whole: f64| if whole > 0.0 { difference / whole } else { f64::INFINITY };
        let (share, rule) = match measure {
            Measure::OfStall => (share(STALL), Rule::OfStall),
            Measure::Known(spread) if share(known).abs() > TOLERANCE && is_small(spread) => {
                (share(known), Rule::FloorSpread)
            }
            Measure::Known(_) => (share(known), Rule::OfKnown),
        };
        let passed = rule == Rule::FloorSpread || share.abs() <= TOLERANCE;
        let (floor_us, known_us, read_us) = (floor * 1e6, known * 1e6, read * 1e6);
        Row {
            case,
            clock,
            percentile,
            floor_us,
            known_us,
            read_us,
            difference_percent: share * 100.0,
            rounds_percent: vec![share * 100.0],
            times,
            measure,
            rule,
            passed,
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let Row { case, clock, percentile, difference_percent: off, rule, .. } = self;
        let [floor, known, read] = [self.floor_us, self.known_us, self.read_us].map(|us| us / 1_000.0);
        let (rule, failed) = (rule.as_str(), if self.passed { "" } else { " FAILED" });
        format!(
            "{case:<10} {clock:<8} {percentile:<3} {floor:>7.3} {known:>8.3} {read:>8.3} {off:>+7.2} %  {rule}{failed}"
        )
    }
}

/// What one round came to.
struct Round {
    /// Of the same percentiles in every round.
    rows: Vec<Row>,
    problems: Vec<String>,
    /// In seconds.
    floor_spread: f64,
    /// In seconds.
    back_to_back: f64,
}

/// The result.
#[derive(Debug, Serialize)]
struct Calibration {
    schema: &'static str,
    /// Whether everything was read back, from runs that are good themselves.
    passed: bool,
    /// Medians of all rounds.
    rows: Vec<Row>,
    rounds: usize,
    /// What is wrong with the runs themselves.
    problems: Vec<String>,
    floor_spread_us: f64,
    back_to_back_us: f64,
}

impl Calibration {
    fn of(rounds: Vec<Round>) -> Self {
        let problems: Vec<String> = rounds.iter().flat_map(|round| round.problems.clone()).collect();
        let count = rounds.first().map_or(0, |round| round.rows.len());
        let rows: Vec<Row> = (0..count).filter_map(|at| middle(&rounds, at)).collect();
        let passed = problems.is_empty() && !rows.is_empty() && rows.iter().all(|row| row.passed);
        let microseconds = |of: fn(&Round) -> f64| median(rounds.iter().map(of)) * 1e6;
        let (floor_spread_us, back_to_back_us) =
            (microseconds(|round| round.floor_spread), microseconds(|round| round.back_to_back));
        Calibration {
            schema: SCHEMA,
            passed,
            rows,
            rounds: rounds.len(),
            problems,
            floor_spread_us,
            back_to_back_us,
        }
    }
}

/// A percentile by the medians of all rounds.
fn middle(rounds: &[Round], at: usize) -> Option<Row> {
    let rows: Vec<&Row> = rounds.iter().filter_map(|round| round.rows.get(at)).collect();
    let of = |time: fn(&Times) -> f64| median(rows.iter().map(|row| time(&row.times)));
    let times = Times { floor: of(|t| t.floor), known: of(|t| t.known), read: of(|t| t.read) };
    let spreads = rows.iter().filter_map(|row| match row.measure {
        Measure::Known(spread) => Some(spread),
        Measure::OfStall => None,
    });
    let mut all: Vec<f64> = rows.iter().map(|row| row.difference_percent).collect();
    all.sort_by(f64::total_cmp);
    let &&Row { case, clock, percentile, measure, .. } = rows.first()?;
    let measure = match measure {
        Measure::Known(_) => Measure::Known(median(spreads)),
        Measure::OfStall => Measure::OfStall,
    };
    Some(Row { rounds_percent: all, ..Row::of(case, clock, percentile, times, measure) })
}

/// The one in the middle, of an even number the higher; 0 of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

impl Calibration {
    /// As text, of at most 80 columns.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "{:<10} {:<8} {:<3} {:>7} {:>8} {:>8} {:>9}  RULE",
            "CASE (ms)", "CLOCK", "", "FLOOR", "KNOWN", "READ", "OFF BY"
        )];
        lines.extend(self.rows.iter().map(Row::line));
        lines.push(String::new());
        lines.push("Floor: what a device needs besides what is held for it.".to_owned());
        lines.push("Known: that, and what the mock held by its own clock.".to_owned());
        if self.rounds > 1 {
            lines.push(format!("Each the median of {} rounds.", self.rounds));
        }
        if self.rows.iter().any(|row| row.rule == Rule::FloorSpread) {
            lines.push(format!(
                "Floor spread: where 150 µs are more than 1 %, what is read may be off by as much\n\
                 as the floor's own p50 and p99 are apart (register: {:.3} ms), 150 µs at most.",
                self.floor_spread_us / 1_000.0
            ));
        }
        lines.push("1 % of stall: what must not show is off by so many per cent of its 2 s.".to_owned());
        lines.extend(self.problems.iter().cloned());
        lines.push(self.verdict());
        lines
    }

    fn verdict(&self) -> String {
        let failed = self.rows.iter().filter(|row| !row.passed).count();
        match (failed, self.problems.is_empty()) {
            (0, true) => "verdict   read back: what reports say is what happened, within 1 %".to_owned(),
            (0, false) => "verdict   not calibrated: a run was not good itself".to_owned(),
            (failed, _) => format!(
                "verdict   not calibrated: {failed} of {} percentiles are off\n          try again on an idle machine",
                self.rows.len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Devices that need 1.00 to 1.99 ms, and start 0.1 ms after they are due.
    fn floor() -> Floor {
        let times = |from: u64| {
            let mut times = Histogram::<u64>::new(3).expect("a histogram");
            (0..100).for_each(|n| times.record(from + n * 10_000).expect("in range"));
            times
        };
        let (service, plain_response) = (times(1_000_000), times(1_100_000));
        let spread = at(&service, 0.99) - at(&service, 0.5);
        let (register, plain_service) = (times(1_000_000), times(1_000_000));
        Floor { register, service, plain_service, plain_response, spread, cycle: 0.001 }
    }

    fn round(rows: Vec<Row>, problem: Option<&str>) -> Round {
        let problems = problem.map(str::to_owned).into_iter().collect();
        Round { rows, problems, floor_spread: 0.000_1, back_to_back: 0.001 }
    }

    #[test]
    fn the_medians_of_all_rounds_are_compared() {
        let read = |(known, read): (f64, f64)| {
            let times = Times { floor: 0.001, known, read };
            round(vec![Row::of("50 ms", "service", "p50", times, Measure::Known(0.0))], None)
        };
        for (rounds, passed) in [
            ([(0.05, 0.05), (0.05, 0.07), (0.05, 0.050_1)], true),
            // Disturbed in one round each, and not in the same.
            ([(0.07, 0.05), (0.05, 0.07), (0.05, 0.05)], true),
            ([(0.05, 0.05), (0.05, 0.07), (0.05, 0.07)], false),
            ([(0.05, 0.02), (0.05, 0.03), (0.05, 0.05)], false),
        ] {
            let calibration = Calibration::of(rounds.map(read).into());
            assert_eq!((calibration.passed, calibration.rows.len()), (passed, 1), "{rounds:?}");
            assert_eq!(calibration.rows[0].rounds_percent.len(), 3);
        }
    }

    #[test]
    fn what_was_held_for_a_moment_is_taken_off_the_floor_again() {
        let mut times = Histogram::<u64>::new(3).expect("a histogram");
        (1..=100).for_each(|n| times.record(1_000_000 + n * 10_000).expect("in range"));
        let rest = without(&times, 1_000_000).expect("a histogram");
        assert_eq!(rest.len(), 100);
        for quantile in [0.1, 0.5, 0.9] {
            let difference = at(&times, quantile) - at(&rest, quantile);
            assert!((difference - 0.001).abs() < 0.000_01, "{quantile}: {difference}");
        }
    }

    fn is_near(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= wanted * 0.002
    }

    #[test]
    fn what_is_held_is_added_to_the_floor_mode_by_mode() {
        let held = |case: &Case| {
            let mut times = Histogram::<u64>::new(3).expect("a histogram");
            for (share, seconds) in case.modes {
                times.record_n((seconds * 1e9) as u64, (share * 100.0) as u64).expect("in range");
            }
            times
        };
        for (case, quantile, wanted) in [
            (&CASES[0], 0.5, 0.005 + 0.001_49),
            (&CASES[0], 0.99, 0.005 + 0.001_98),
            (&CASES[2], 0.9, 0.5 + 0.001_89),
            // 62.5 % of the short ones, 50 % and 95 % of the long ones.
            (&CASES[3], 0.5, 0.005 + 0.001_62),
            (&CASES[3], 0.9, 0.05 + 0.001_49),
            (&CASES[3], 0.99, 0.05 + 0.001_94),
        ] {
            let found = rank(&with_held(&floor().register, &held(case)), quantile);
            assert!(is_near(found, wanted), "{} at {quantile}: {found} for {wanted}", case.name);
        }
    }

    #[test]
    fn shares_of_a_case_are_a_whole_and_percentiles_are_inside_one_mode() {
        for case in &CASES {
            let total: f64 = case.modes.iter().map(|(share, _)| share).sum();
            assert!((total - 1.0).abs() < 1e-9, "{}", case.name);
            let mut below = 0.0;
            for (share, _) in &case.modes[..case.modes.len() - 1] {
                below += share;
                assert!(
                    PERCENTILES.iter().all(|(_, quantile)| (quantile - below).abs() > 0.05),
                    "{}",
                    case.name
                );
            }
            let delay: sim_protocol::delay::Delay = case.delay.parse().expect("a delay");
            assert!(is_near(delay.sample(u64::MAX / 2).as_secs_f64(), case.modes[0].1), "{}", case.name);
        }
    }

    #[test]
    fn a_stall_is_charged_to_those_that_came_meanwhile_and_until_the_queue_is_gone() {
        // 2 s hold up 200 devices; at 1 ms each, and with one more every 10 ms, the queue takes 2 s / 9 more.
        let all = queued(1_000, &floor(), 0.001);
        assert_eq!(all.len(), 1_000);
        let waited = all.iter().filter(|time| **time > 0.003).count();
        assert!((215..=225).contains(&waited), "{waited}");
        // The k-th longest came k spacings into the stall, and k cycles were worked off before it.
        for (quantile, wanted) in [(0.5, 0.001_7), (0.9, 1.995 - 0.009 * 100.0), (0.99, 1.995 - 0.009 * 10.0)]
        {
            let found = rank(&all, quantile);
            assert!((found - wanted).abs() <= wanted * 0.01 + 0.000_2, "{quantile}: {found} for {wanted}");
        }
        assert!(is_near(rank(&all, 1.0), 1.995));
    }

    #[test]
    fn how_fast_a_queue_was_worked_off_follows_from_how_many_waited() {
        for cycle in [0.000_5, 0.001_2, 0.003] {
            let mut times = Histogram::<u64>::new(3).expect("a histogram");
            queued(1_000, &floor(), cycle)
                .iter()
                .for_each(|time| times.record((time * 1e9) as u64).expect("in range"));
            let found = drained(&times).expect("some waited");
            assert!((found - cycle).abs() < 0.000_1, "{found} for {cycle}");
        }
        assert_eq!(drained(&floor().plain_response), None);
    }

    #[test]
    fn a_stall_does_not_reach_the_median_and_reaches_the_other_percentiles() {
        for cycle in [0.000_5, 0.001, 0.002_5] {
            let all = queued(STALLED, &floor(), cycle);
            assert!(rank(&all, 0.5) < 0.003 && rank(&all, 0.9) > 1.0, "{cycle} s");
        }
    }

    #[test]
    fn differences_are_allowed_by_the_rule_that_fits() {
        const SPREAD: f64 = 0.000_1;
        for (known, read, measure, rule, passed) in [
            (0.5, 0.504, Measure::Known(SPREAD), Rule::OfKnown, true),
            (0.5, 0.506, Measure::Known(SPREAD), Rule::OfKnown, false),
            (0.5, 0.494, Measure::Known(SPREAD), Rule::OfKnown, false),
            (0.006, 0.006_05, Measure::Known(SPREAD), Rule::OfKnown, true),
            (0.006, 0.006_09, Measure::Known(SPREAD), Rule::FloorSpread, true),
            (0.006, 0.006_11, Measure::Known(SPREAD), Rule::OfKnown, false),
            (0.006, 0.006_14, Measure::Known(1.0), Rule::FloorSpread, true),
            (0.006, 0.006_16, Measure::Known(1.0), Rule::OfKnown, false),
            // Too long for 150 µs to be more than 1 %.
            (0.02, 0.020_21, Measure::Known(1.0), Rule::OfKnown, false),
            (0.001, 0.015, Measure::OfStall, Rule::OfStall, true),
            (0.001, 0.025, Measure::OfStall, Rule::OfStall, false),
            (0.0, 0.001, Measure::Known(0.0), Rule::OfKnown, false),
        ] {
            let row = Row::of("case", "service", "p50", Times { floor: 0.001, known, read }, measure);
            assert_eq!((row.rule, row.passed), (rule, passed), "{known} read as {read}");
        }
    }

    #[test]
    fn what_is_printed_fits_a_terminal_of_80_columns() {
        let row = |times, measure| Row::of("5 or 50 ms", "response", "p99", times, measure);
        let rows = vec![
            row(Times { floor: 0.123_456, known: 1.995, read: 2.995 }, Measure::Known(0.0)),
            row(Times { floor: 0.001, known: 0.002, read: 0.002_09 }, Measure::Known(1.0)),
            row(Times { floor: 0.001, known: 0.002, read: 2.5 }, Measure::OfStall),
        ];
        assert_eq!(rows.iter().map(|row| row.passed).collect::<Vec<_>>(), [false, true, false]);
        let printed = Calibration::of(vec![round(rows, None), round(Vec::new(), None)]).lines().join("\n");
        let longest = printed.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(80), "{printed}");
    }

    #[test]
    fn a_run_that_is_not_good_itself_calibrates_nothing() {
        let times = Times { floor: 0.001, known: 0.05, read: 0.05 };
        let rows = || vec![Row::of("50 ms", "service", "p50", times, Measure::Known(0.0))];
        assert!(Calibration::of(vec![round(rows(), None)]).passed);
        assert!(!Calibration::of(vec![round(rows(), None), round(rows(), Some("wrong"))]).passed);
        assert!(!Calibration::of(Vec::new()).passed);
        let good = || Record {
            planned: 3,
            outcomes: reports::Outcomes { assigned: 3, ..reports::Outcomes::default() },
            verdict: reports::Verdict { kind: VerdictKind::Good, reasons: Vec::new() },
            ..Record::default()
        };
        let limited = reports::Verdict { kind: VerdictKind::GeneratorLimited, reasons: Vec::new() };
        for (record, is_problem) in [
            (good(), false),
            (Record { planned: 4, ..good() }, true),
            (Record { verdict: limited, ..good() }, true),
        ] {
            assert_eq!(problem(("case", &record)).is_some(), is_problem, "{record:?}");
        }
    }

    #[test]
    fn every_case_is_a_scenario() {
        let spaced = open(300);
        let floor = scenario("floor, round 1", 300, &latency(MOMENT), &spaced);
        let mut texts = vec![scenario("stall", STALLED, &stall(), &open(1)), floor];
        texts.extend(CASES.iter().map(|case| scenario(case.name, 300, &latency(case.delay), &spaced)));
        texts.push(scenario("back to back", 300, "", "[load.closed]\nin_flight = 1\n"));
        for text in texts {
            let parsed = scenarios::Scenario::parse("case.toml", &text, &[]);
            assert!(parsed.is_ok(), "{text}\n{parsed:?}");
        }
    }
}
