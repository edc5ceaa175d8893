//! `rollcall calibrate`: shows that reports can be believed, by reading back latencies that are known.
//!
//! Runs of the engine, as any scenario would play it, against embedded mocks that hold each answer for a known time. The
//! mock times by a clock of its own how long an answer took (from the request being read to the answer being written) and
//! a whole conversation (from the connection being accepted to the last answer being written): no system holds anything
//! on the dot, and judging takes its time. What lies between the two sides, the ways there and back through the kernel, is
//! measured in the same command with answers that are held for a moment: the floor. The known time is what the mock
//! measured, and the floor; what the record says has to be that within 1 %.
//!
//! All of it is played many times, and of the rounds of a percentile the one counts that is in the middle, by how far known
//! and read are apart: many short rounds, since what else a machine does comes in bursts. Processors are kept awake
//! meanwhile, and the program goes before others where it may. A run in which arrivals started late was disturbed by
//! something else that the machine did, and is played again.

mod calm;

use self::calm::Awake;
use super::cores;
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
use std::sync::atomic::{AtomicUsize, Ordering};

/// The schema of `--json`.
const SCHEMA: &str = "rollcall.calibration/1";
/// Arrivals per second.
const RATE: u64 = 100;
/// Devices of a case in a round: two seconds, of which the machine leaves some alone even where it is shared.
const DEVICES: u64 = 200;
/// How often the cases of known latency are played.
const ROUNDS: Rounds = Rounds { held: 15, stalled: 5 };
/// As above, for those in a hurry.
const QUICK: Rounds = Rounds { held: 5, stalled: 1 };
/// How long the mock stalls, in seconds.
const STALL: f64 = 2.0;
/// Devices of the stall, and of the run beside it: the queue is worked off before the end, and is less than half of them.
/// The fewer, the less depends on how fast the queue is worked off.
const STALLED: u64 = 560;
/// For how long answers are held to measure the floor: a processor that has nothing to do meanwhile takes time to wake.
const MOMENT: &str = "1ms";
/// The part of a known time that what is read back may be off by.
const TOLERANCE: f64 = 0.01;
/// A latency as short as this, in seconds, is looked for in its phase alone: at the 99th percentile the other phases differ
/// from run to run by more than 1 % of it.
const SHORT: f64 = 0.1;
/// Where one arrival in a hundred started later than this, in seconds, the machine was busy with something else.
const LATE: f64 = 0.001;
/// How many disturbed runs are played again, of all of them.
const AGAIN: usize = 100;
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
compares what the records say with what the mock measured by a clock of its own:
the time of the phase `register`, of 500 ms also the service time, and both clocks
of the stall. Runs that something else disturbs are played again.
Fifteen rounds, and five of the stall; of each percentile the one in the middle
counts. Meanwhile processors are kept awake, and everything else waits for the
program where it may ask for that (real-time priority: root, or the limit rtprio).
Keep the machine idle. Ends with 0 if all is read back within 1 %, else with 98.")]
pub struct CalibrateArgs {
    /// A third of the rounds, and the stall once: a minute and a half instead of five
    #[arg(long)]
    pub quick: bool,
    /// Keep the record of each case in a directory of its own here
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prepares the calling thread: to be called before any other is started, since they inherit what it does.
pub fn prepare() {
    calm::go_first();
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
    let out = args.out.as_deref().unwrap_or(temporary.path());
    let player = Player { out, output, disturbed: AtomicUsize::new(0) };
    let rounds = if args.quick { QUICK } else { ROUNDS };
    let awake = Awake::keep(cores());
    let (mut held, mut stalled) = (Vec::new(), Vec::new());
    for round in 1..=rounds.held {
        held.push(Held::play(round, &player).await?);
        if round <= rounds.stalled {
            stalled.push(Stalled::play(round, &player).await?);
        }
    }
    drop(awake);
    let calibration = Calibration {
        real_time: calm::goes_first(),
        ..Calibration::of(&held, &stalled, player.disturbed.load(Ordering::Relaxed))?
    };
    for line in calibration.lines() {
        output.line(line);
    }
    output.json(&calibration);
    Ok(if calibration.passed { Exit::Good } else { Exit::Invalid })
}

/// A case of known latency.
struct Case {
    name: &'static str,
    /// As a delay is written in rules.
    delay: &'static str,
    /// The shortest of it, in seconds.
    least: f64,
}

/// Of two latencies, shares are such that the percentiles fall well inside one of them.
const CASES: [Case; 4] = [
    Case { name: "5 ms", delay: "5ms", least: 0.005 },
    Case { name: "50 ms", delay: "50ms", least: 0.05 },
    Case { name: "500 ms", delay: "500ms", least: 0.5 },
    Case { name: "5 or 50 ms", delay: "bimodal 5ms, 50ms, 20%", least: 0.005 },
];

/// How often what is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Rounds {
    /// The cases of known latency.
    held: usize,
    /// The stall, which a disturbance is small beside. No more than of the others.
    stalled: usize,
}

/// The records of one round of known latencies.
struct Held {
    /// With answers held for a moment.
    floor: Record,
    /// In the order of [`CASES`].
    cases: Vec<Record>,
}

impl Held {
    async fn play(round: usize, player: &Player<'_>) -> Result<Self, Failure> {
        let record = async |name: &str, delay: &str| {
            player.record(&format!("{name}, round {round}"), DEVICES, &latency(delay), &open(DEVICES)).await
        };
        let floor = record("floor", MOMENT).await?;
        let mut cases = Vec::new();
        for Case { name, delay, .. } in &CASES {
            cases.push(record(name, delay).await?);
        }
        Ok(Held { floor, cases })
    }

    /// What is wrong with the runs themselves.
    fn problems(&self) -> impl Iterator<Item = String> {
        let cases = CASES.iter().map(|case| case.name).zip(&self.cases);
        [("floor", &self.floor)].into_iter().chain(cases).filter_map(problem)
    }
}

/// The records of one stall.
struct Stalled {
    /// With nothing held.
    plain: Record,
    stall: Record,
}

impl Stalled {
    async fn play(round: usize, player: &Player<'_>) -> Result<Self, Failure> {
        let record = async |name: &str, fault: &str, slots| {
            player.record(&format!("{name}, round {round}"), STALLED, fault, &open(slots)).await
        };
        let plain = record("plain", "", STALLED).await?;
        Ok(Stalled { plain, stall: record("stall", &stall(), 1).await? })
    }

    /// What is wrong with the runs themselves.
    fn problems(&self) -> impl Iterator<Item = String> {
        [("plain", &self.plain), ("stall", &self.stall)].into_iter().filter_map(problem)
    }
}

/// Puts what was read back in one round beside what is known.
fn held_rows(held: &Held, floor: Floor) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (case, record) in CASES.iter().zip(&held.cases) {
        let (register, service) = both_sides(record)?;
        rows.extend(rows_of(case, "register", floor.register, &register));
        if case.least >= SHORT {
            rows.extend(rows_of(case, "service", floor.service, &service));
        }
    }
    Ok(rows)
}

/// With one slot, devices that come during the stall wait for it: all but the one that holds it feel the stall in their
/// response time alone.
fn stall_rows(stalled: &Stalled) -> Result<Vec<Row>, Failure> {
    let both = |record: &Record| -> Result<_, Failure> {
        Ok((histogram(&record.clocks.service_time)?, histogram(&record.clocks.response_time)?))
    };
    let ((plain_service, plain_response), (service, response)) =
        (both(&stalled.plain)?, both(&stalled.stall)?);
    let held = at(&histogram(mocks(stalled.stall.held_answers.as_ref())?)?, 1.0);
    // Where nobody waited the stall does not show, and no speed of a queue makes up for that.
    let cycle = drained(&response, held).unwrap_or_default();
    let expected = queued(stalled.stall.planned, &plain_response, held, cycle);
    let row = |(percentile, quantile): (&'static str, f64)| {
        let (own, waited) = (at(&plain_service, quantile), rank(&expected, quantile));
        let in_service = Times { floor: own, known: own, read: at(&service, quantile) };
        let floor = at(&plain_response, quantile);
        let in_response = Times { floor, known: waited, read: at(&response, quantile) };
        // Devices that met no queue took what the floor takes, whose spread is no matter of the stall.
        let rule = if waited < STALL * 0.1 { Rule::OfStall } else { Rule::OfKnown };
        [
            Row::of("2 s stall", "service", percentile, in_service, Rule::OfStall),
            Row::of("2 s stall", "response", percentile, in_response, rule),
        ]
    };
    Ok(PERCENTILES.into_iter().flat_map(row).collect())
}

/// What was read of a case by one clock, beside what is known of it.
fn rows_of(case: &Case, clock: &'static str, floor: f64, sides: &Sides) -> Vec<Row> {
    let row = |(percentile, quantile): (&'static str, f64)| {
        let known = at(&sides.mock, quantile) + floor;
        let times = Times { floor, known, read: at(&sides.client, quantile) };
        Row::of(case.name, clock, percentile, times, Rule::OfKnown)
    };
    PERCENTILES.into_iter().map(row).collect()
}

/// The same times by two clocks.
struct Sides {
    /// What the record says.
    client: Histogram<u64>,
    /// What the mock measured.
    mock: Histogram<u64>,
}

impl Sides {
    /// By how much the client's median is longer, in seconds: whatever takes longer at the mock takes as much longer here.
    fn apart(&self) -> f64 {
        at(&self.client, 0.5) - at(&self.mock, 0.5)
    }
}

/// The phase in which answers were held, and the service time.
fn both_sides(record: &Record) -> Result<(Sides, Sides), Failure> {
    let register = record.phases.iter().find(|stats| stats.phase == "register");
    let register = register.ok_or_else(|| Failure::unexpected("no device registered"))?;
    let sides = |client: &PhaseStats, mock: &Option<PhaseStats>| -> Result<Sides, Failure> {
        Ok(Sides { client: histogram(client)?, mock: histogram(mocks(mock.as_ref())?)? })
    };
    Ok((
        sides(register, &record.held_answers)?,
        sides(&record.clocks.service_time, &record.held_conversations)?,
    ))
}

/// What the mock measured.
fn mocks(stats: Option<&PhaseStats>) -> Result<&PhaseStats, Failure> {
    stats.ok_or_else(|| Failure::unexpected("nothing was held"))
}

/// Plays cases, one after the other.
struct Player<'a> {
    /// Where each has a directory of its own.
    out: &'a Path,
    output: Output,
    /// How many runs something else disturbed.
    disturbed: AtomicUsize,
}

impl Player<'_> {
    /// Plays a run until nothing disturbs it, or often enough.
    async fn record(&self, name: &str, devices: u64, fault: &str, load: &str) -> Result<Record, Failure> {
        loop {
            let record = self.play(name, devices, fault, load).await?;
            if self.disturbed.load(Ordering::Relaxed) >= AGAIN || !is_disturbed(&record)? {
                return Ok(record);
            }
            self.disturbed.fetch_add(1, Ordering::Relaxed);
            self.output.talk("again: arrivals started late, as the machine did something else");
        }
    }

    async fn play(&self, name: &str, devices: u64, fault: &str, load: &str) -> Result<Record, Failure> {
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

/// Whether arrivals started late. Those that had to wait for a slot are none of them.
fn is_disturbed(record: &Record) -> Result<bool, Failure> {
    Ok(at(&histogram(&record.clocks.lateness)?, 0.99) > LATE)
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

/// What lies between the two sides' clocks, in seconds.
#[derive(Clone, Copy, Debug)]
struct Floor {
    register: f64,
    service: f64,
}

impl Floor {
    /// The one in the middle of all rounds, each by itself.
    fn of(rounds: &[Held]) -> Result<Self, Failure> {
        let sides = rounds.iter().map(|held| both_sides(&held.floor)).collect::<Result<Vec<_>, _>>()?;
        Ok(Floor {
            register: median(sides.iter().map(|(register, _)| register.apart())),
            service: median(sides.iter().map(|(_, service)| service.apart())),
        })
    }
}

/// The one in the middle, of an even number the higher; 0 of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// How fast the queue of a stall was worked off: from one start to the next, in seconds. Devices that came within the stall
/// waited a spacing less, and a cycle more, than the one before, so that it follows from how many waited for half of it or
/// longer; none, where nobody did.
fn drained(response: &Histogram<u64>, held: f64) -> Option<f64> {
    let (spacing, long) = (1.0 / RATE as f64, STALL * 0.5);
    let waited = response.len() - response.count_between(0, (long * 1e9) as u64);
    (waited > 0).then(|| (spacing - (held - long) / waited as f64).max(0.0))
}

/// The response times of a run with one slot and one stall, in order: what a queue of one server comes to. Devices are due
/// at fixed times, the one that is held for so long ends with the stall, and those behind it start one after the other, a
/// cycle apart; whoever finds the slot free needs what devices need where nothing is held.
fn queued(devices: u64, plain: &Histogram<u64>, held: f64, cycle: f64) -> Vec<f64> {
    let spacing = 1.0 / RATE as f64;
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
    let own = (0..at_once).map(|n| at(plain, (n as f64 + 0.5) / at_once as f64));
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

/// By what a difference is allowed, or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Rule {
    /// Within 1 % of what is known.
    OfKnown,
    /// Within 1 % of the stall, which is not to show.
    OfStall,
}

impl Rule {
    const fn as_str(self) -> &'static str {
        match self {
            Self::OfKnown => "1 % of known",
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
    rule: Rule,
    passed: bool,
}

impl Row {
    fn of(
        case: &'static str,
        clock: &'static str,
        percentile: &'static str,
        times: Times,
        rule: Rule,
    ) -> Self {
        let Times { floor, known, read } = times;
        let whole = match rule {
            Rule::OfKnown => known,
            Rule::OfStall => STALL,
        };
        let share = if whole > 0.0 { (read - known) / whole } else { f64::INFINITY };
        let passed = share.abs() <= TOLERANCE;
        let (floor_us, known_us, read_us) = (floor * 1e6, known * 1e6, read * 1e6);
        Row {
            case,
            clock,
            percentile,
            floor_us,
            known_us,
            read_us,
            difference_percent: share * 100.0,
            rounds_percent: Vec::new(),
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

/// The result.
#[derive(Debug, Serialize)]
struct Calibration {
    schema: &'static str,
    /// Whether everything was read back, from runs that are good themselves.
    passed: bool,
    /// Of each percentile the round in the middle.
    rows: Vec<Row>,
    rounds: Rounds,
    /// How many runs were played again because the machine was busy with something else.
    disturbed: usize,
    /// Whether everything else had to wait for it.
    real_time: bool,
    /// What is wrong with the runs themselves.
    problems: Vec<String>,
}

impl Calibration {
    fn of(held: &[Held], stalled: &[Stalled], disturbed: usize) -> Result<Self, Failure> {
        let floor = Floor::of(held)?;
        let of_held = held.iter().map(|held| held_rows(held, floor)).collect::<Result<Vec<_>, _>>()?;
        let of_stall = stalled.iter().map(stall_rows).collect::<Result<Vec<_>, _>>()?;
        let problems = held.iter().flat_map(Held::problems).chain(stalled.iter().flat_map(Stalled::problems));
        Ok(Self::judge(&of_held, &of_stall, disturbed, problems.collect()))
    }

    fn judge(held: &[Vec<Row>], stalled: &[Vec<Row>], disturbed: usize, problems: Vec<String>) -> Self {
        let rows: Vec<Row> = middles(held).chain(middles(stalled)).collect();
        let passed = problems.is_empty() && !rows.is_empty() && rows.iter().all(|row| row.passed);
        let rounds = Rounds { held: held.len(), stalled: stalled.len() };
        Calibration { schema: SCHEMA, passed, rows, rounds, disturbed, real_time: false, problems }
    }
}

/// Every percentile, each as it is in the round in the middle.
fn middles(rounds: &[Vec<Row>]) -> impl Iterator<Item = Row> {
    let count = rounds.first().map_or(0, Vec::len);
    (0..count).filter_map(|index| middle(rounds, index))
}

/// A percentile, as it is in the round in the middle.
fn middle(rounds: &[Vec<Row>], index: usize) -> Option<Row> {
    let mut rows: Vec<&Row> = rounds.iter().filter_map(|rows| rows.get(index)).collect();
    rows.sort_by(|a, b| a.difference_percent.total_cmp(&b.difference_percent));
    let all = rows.iter().map(|row| row.difference_percent).collect();
    rows.get(rows.len() / 2).map(|&row| Row { rounds_percent: all, ..row.clone() })
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
        lines.push(
            "Floor: what lies between device and mock, measured with answers held for 1 ms.".to_owned(),
        );
        lines.push("Known: that, and what the mock measured by a clock of its own.".to_owned());
        let Rounds { held, stalled } = self.rounds;
        lines.push(format!("Each the one in the middle of {held} rounds, of the stall of {stalled}."));
        lines.push("1 % of stall: what must not show is off by so many per cent of its 2 s.".to_owned());
        if self.disturbed > 0 {
            let runs = if self.disturbed == 1 { "run was" } else { "runs were" };
            lines.push(format!("{} {runs} played again: the machine did something else.", self.disturbed));
        }
        if !self.real_time {
            lines.push(
                "At normal priority: it may not ask for a higher one, so that more disturbs.".to_owned(),
            );
        }
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

    /// So many times from here on, 10 µs apart.
    fn times(from: u64) -> Histogram<u64> {
        let mut times = Histogram::<u64>::new(3).expect("a histogram");
        (0..100).for_each(|n| times.record(from + n * 10_000).expect("in range"));
        times
    }

    /// Response times of devices that need 1.00 to 1.99 ms, and start 0.1 ms after they are due.
    fn plain() -> Histogram<u64> {
        times(1_100_000)
    }

    #[test]
    fn of_a_percentile_the_round_in_the_middle_counts() {
        let read = |(known, read): (f64, f64)| {
            vec![Row::of("50 ms", "service", "p50", Times { floor: 0.001, known, read }, Rule::OfKnown)]
        };
        for (rounds, passed, counts) in [
            ([(0.05, 0.05), (0.05, 0.07), (0.05, 0.050_1)], true, 0.050_1),
            // Disturbed in one round each, and not in the same.
            ([(0.07, 0.05), (0.05, 0.07), (0.05, 0.05)], true, 0.05),
            ([(0.05, 0.05), (0.05, 0.07), (0.05, 0.08)], false, 0.07),
            ([(0.05, 0.02), (0.05, 0.03), (0.05, 0.05)], false, 0.03),
            // What meets both sides is no difference.
            ([(0.09, 0.09), (0.05, 0.05), (0.07, 0.071)], true, 0.05),
        ] {
            let calibration = Calibration::judge(&rounds.map(read), &[], 0, Vec::new());
            assert_eq!((calibration.passed, calibration.rows.len()), (passed, 1), "{rounds:?}");
            let row = &calibration.rows[0];
            assert!(is_near(row.read_us / 1e6, counts), "{rounds:?}: {row:?}");
            assert!(row.rounds_percent.is_sorted() && row.rounds_percent.len() == 3);
        }
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
    }

    #[test]
    fn both_sides_of_a_run_are_read_and_one_without_the_mocks_is_refused() {
        let stats = |times: &Histogram<u64>| PhaseStats::from_histogram("register", times).expect("stats");
        let record = Record {
            phases: vec![stats(&times(5_200_000))],
            clocks: reports::Clocks { service_time: stats(&times(9_200_000)), ..Default::default() },
            held_answers: Some(stats(&times(5_000_000))),
            held_conversations: Some(stats(&times(9_000_000))),
            ..Record::default()
        };
        let (register, service) = both_sides(&record).expect("both sides");
        assert!(is_near(at(&register.client, 0.5), 0.005_69) && is_near(at(&service.mock, 0.5), 0.009_49));
        for sides in [register, service] {
            assert!((sides.apart() - 0.000_2).abs() < 0.000_02, "{}", sides.apart());
        }
        assert!(both_sides(&Record { held_answers: None, ..record }).is_err(), "a mock that held nothing");
    }

    #[test]
    fn a_run_whose_arrivals_started_late_was_disturbed() {
        for (microseconds, disturbed) in [(300, false), (900, false), (1_100, true)] {
            let mut late = Histogram::<u64>::new(3).expect("a histogram");
            late.record_n(microseconds * 1_000, 100).expect("in range");
            let lateness = PhaseStats::from_histogram("lateness", &late).expect("stats");
            let record =
                Record { clocks: reports::Clocks { lateness, ..Default::default() }, ..Record::default() };
            assert_eq!(is_disturbed(&record).expect("a histogram"), disturbed, "{microseconds} us");
        }
    }

    fn is_near(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= wanted * 0.002
    }

    #[test]
    fn what_the_mock_measured_and_the_floor_are_what_is_known() {
        let floor = Sides { client: times(1_200_000), mock: times(1_000_000) }.apart();
        assert!((floor - 0.000_2).abs() < 0.000_005, "{floor}");
        let late = Sides { client: times(5_300_000), mock: times(5_000_000) };
        let rows = rows_of(&CASES[0], "register", floor, &late);
        for (row, (percentile, known)) in
            rows.iter().zip([("p50", 0.005_69), ("p90", 0.006_09), ("p99", 0.006_18)])
        {
            assert_eq!((row.percentile, row.rule), (percentile, Rule::OfKnown));
            assert!(is_near(row.known_us / 1e6, known), "{row:?}");
            assert!(is_near(row.read_us / 1e6, known + 0.000_1), "{row:?}");
            assert!(!row.passed, "0.1 ms is more than 1 %: {row:?}");
        }
        let exact = Sides { client: times(5_200_000), mock: times(5_000_000) };
        assert!(rows_of(&CASES[0], "register", floor, &exact).iter().all(|row| row.passed));
    }

    #[test]
    fn percentiles_are_inside_one_of_two_latencies() {
        for (case, shares) in CASES.iter().zip([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.8, 0.2]]) {
            let delay: sim_protocol::delay::Delay = case.delay.parse().expect("a delay");
            let drawn = |share: f64| delay.sample((share * u64::MAX as f64) as u64);
            let all: Vec<_> = (0..1_000).map(|n| drawn((f64::from(n) + 0.5) / 1_000.0)).collect();
            let shortest = all.iter().min().expect("a thousand");
            let short = all.iter().filter(|time| *time == shortest).count() as f64 / 1_000.0;
            assert!((short - shares[0]).abs() < 0.001, "{}: {short}", case.name);
            assert!(
                PERCENTILES.iter().all(|(_, quantile)| (quantile - short).abs() > 0.005),
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn a_stall_is_charged_to_those_that_came_meanwhile_and_until_the_queue_is_gone() {
        // 2 s hold up 200 devices; at 1 ms each, and with one more every 10 ms, the queue takes 2 s / 9 more.
        let all = queued(1_000, &plain(), 1.995, 0.001);
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
            queued(1_000, &plain(), 1.995, cycle)
                .iter()
                .for_each(|time| times.record((time * 1e9) as u64).expect("in range"));
            let found = drained(&times, 1.995).expect("some waited");
            assert!((found - cycle).abs() < 0.000_1, "{found} for {cycle}");
        }
        assert_eq!(drained(&plain(), 1.995), None);
    }

    #[test]
    fn a_stall_does_not_reach_the_median_and_reaches_the_other_percentiles() {
        for cycle in [0.000_5, 0.001, 0.002_5] {
            let all = queued(STALLED, &plain(), 1.995, cycle);
            assert!(rank(&all, 0.5) < 0.003 && rank(&all, 0.9) > 1.0, "{cycle} s");
        }
    }

    #[test]
    fn differences_are_allowed_by_the_rule_that_fits() {
        for (known, read, rule, passed) in [
            (0.5, 0.504, Rule::OfKnown, true),
            (0.5, 0.506, Rule::OfKnown, false),
            (0.5, 0.494, Rule::OfKnown, false),
            (0.005, 0.005_04, Rule::OfKnown, true),
            (0.005, 0.005_06, Rule::OfKnown, false),
            (0.001, 0.015, Rule::OfStall, true),
            (0.001, 0.025, Rule::OfStall, false),
            (0.0, 0.001, Rule::OfKnown, false),
        ] {
            let row = Row::of("case", "service", "p50", Times { floor: 0.001, known, read }, rule);
            assert_eq!(row.passed, passed, "{known} read as {read}");
        }
    }

    #[test]
    fn what_is_printed_fits_a_terminal_of_80_columns() {
        let row = |times, rule| Row::of("5 or 50 ms", "response", "p99", times, rule);
        let rows = vec![
            row(Times { floor: 0.123_456, known: 1.995, read: 2.995 }, Rule::OfKnown),
            row(Times { floor: 0.001, known: 0.002, read: 2.5 }, Rule::OfStall),
        ];
        assert_eq!(rows.iter().map(|row| row.passed).collect::<Vec<_>>(), [false, false]);
        let printed = Calibration::judge(&[rows], &[], 1, Vec::new()).lines().join("\n");
        let longest = printed.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(80), "{printed}");
    }

    #[test]
    fn a_run_that_is_not_good_itself_calibrates_nothing() {
        let times = Times { floor: 0.001, known: 0.05, read: 0.05 };
        let rows = || vec![Row::of("50 ms", "service", "p50", times, Rule::OfKnown)];
        assert!(Calibration::judge(&[rows()], &[], 0, Vec::new()).passed);
        assert!(!Calibration::judge(&[rows()], &[], 0, vec!["wrong".to_owned()]).passed);
        assert!(!Calibration::judge(&[], &[], 0, Vec::new()).passed);
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
        texts.push(scenario("plain", 300, "", &spaced));
        for text in texts {
            let parsed = scenarios::Scenario::parse("case.toml", &text, &[]);
            assert!(parsed.is_ok(), "{text}\n{parsed:?}");
        }
    }
}
