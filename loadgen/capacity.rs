//! The search for the highest rate that meets the gates: which rate to try next, and what the trials come to.
//!
//! Pure: who runs the trials notes them here. A trial is an open run of one constant rate, with devices of its own, and
//! long enough that what happens in its first half does not decide.

use crate::gates;
use reports::{Capacity, Ended, Record, Second, Trial, VerdictKind};
use scenarios::{Amount, Clock, Gate, Metric, Place, Statistic, Unit};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

/// `ours:` a search ends when its interval is this part of its middle.
const PRECISION: f64 = 0.02;
/// How often it is searched again once there is a first result.
const REPEATS: usize = 3;
/// How far from the result before, to both sides, a repeated search looks at first; more to one side than to the other,
/// by chance, so that no two searches try the same rates.
const AROUND: f64 = 0.1;
/// The first search looks for a rate that passes down to this part of where it starts.
const LEAST: f64 = 1.0 / 64.0;

/// `ours:` arrivals that a trial has at least, where [`LONGEST`] allows: a share of fewer says little.
const ENOUGH: f64 = 100.0;
/// `ours:` how long a trial is made for that, in seconds.
const LONGEST: f64 = 60.0;
/// How many trials a search takes, as a rule, that meets a limit some doublings above where it starts.
pub const TRIALS: RangeInclusive<u32> = 20..=35;

/// `ours:` what is kept up with at least, of the planned rate. A service that is asked for 1.5 % more than it can do
/// falls behind by as much, so a limit is found at most that much too high.
const KEPT_UP: f64 = 0.985;
/// Attempts that may end just outside the half of a trial that counts, whatever the rate.
const AT_THE_EDGES: f64 = 3.0;
/// `ours:` a 99th percentile of the response time, in seconds, that is never too long.
const SLOW: f64 = 1.0;
/// `ours:` how many times as long as at the lowest rate it may be.
const SLOWER: f64 = 10.0;

/// The gates of a trial. Those of the scenario, but for what a trial cannot meet or miss by itself: rates, which are
/// what is searched for, and counts, which are meant for the whole fleet, unless nothing is to be counted at all.
///
/// Where none is left: at most one arrival in a hundred ends otherwise than meant, at most one request in a hundred is
/// made again, and the 99th percentile of the response time stays within a second, or within ten times that of the
/// lowest rate, which [`Search::first_p99`] knows.
///
/// That the service keeps up is no gate but part of every trial; see [`Search::note`].
pub fn gates_of(gates: &[Gate], first_p99: Option<Duration>) -> Vec<Gate> {
    let own: Vec<Gate> = gates.iter().filter(|gate| is_of_a_trial(gate)).cloned().collect();
    if own.is_empty() { default_gates(first_p99) } else { own }
}

fn is_of_a_trial(gate: &Gate) -> bool {
    match gate.metric.unit() {
        Unit::Seconds | Unit::Share => true,
        Unit::PerSecond => false,
        Unit::Count => gate.at_most == Some(0.0),
    }
}

fn default_gates(first: Option<Duration>) -> Vec<Gate> {
    let slowest = first.map_or(SLOW, |p99| (p99.as_secs_f64() * SLOWER).max(SLOW));
    let at_most = |metric: Metric, most| {
        let place = Place::Set(metric.to_string());
        Gate { metric, at_least: None, at_most: Some(most), abort_after: None, place }
    };
    vec![
        at_most(Metric::Unexpected(Amount::Share), 0.01),
        at_most(Metric::Retries(Amount::Share), 0.01),
        at_most(Metric::Time(Clock::Response, Statistic::Quantile(990)), slowest),
    ]
}

/// How long a rate is tried, if `trial` is how long one is tried at least: a low one longer, up to a minute.
pub fn lasts(rate: f64, trial: Duration) -> Duration {
    trial.max(Duration::from_secs_f64((ENOUGH / rate).ceil().min(LONGEST)))
}

/// What the record of a run of this length at this rate says as a trial, and what that rate is worth if it passed: at
/// most what ended per second in the second half.
fn trial(record: &Record, rate: f64, lasts: Duration) -> (Trial, f64) {
    let mut failed: Vec<String> = record.gates.iter().filter(|gate| !gate.passed).map(gates::told).collect();
    let half = second_half(lasts);
    let (ended, least) = (count(record, &half, |second| second.finished), least_ended(rate, &half));
    if ended < least {
        // A generator at its own limit cannot tell what the service would have done.
        let whose = if record.generator.limited { GENERATOR } else { "the service fell behind" };
        failed.push(format!(
            "{whose}: {ended} attempts ended in the last {} s, at least {least} are asked for",
            length(&half)
        ));
    }
    match (record.verdict.kind, record.ended) {
        (VerdictKind::Invalid, _) => failed.push("the sums of the run do not add up".to_owned()),
        (_, Ended::Completed) => {}
        _ if failed.is_empty() => failed.push("the run was ended early".to_owned()),
        _ => {}
    }
    // Where the scenario says that such a result stands, it does.
    let invalid = record.verdict.kind == VerdictKind::GeneratorLimited;
    let trial = Trial {
        search: 0,
        rate,
        // A backlog that is worked off meanwhile is no rate that the service would keep up.
        achieved: (count(record, &half, |second| second.assigned) as f64 / length(&half)).min(rate),
        passed: failed.is_empty() && !invalid,
        generator_limited: record.generator.limited,
        response_p99_us: record.clocks.response_time.p99_us,
        throttled: record.outcomes.throttled + record.retries.throttled,
        failed,
    };
    (trial, worth(rate, ended, &half))
}

/// The reason of a trial that did not pass where the generator could not tell.
const GENERATOR: &str = "the generator was the limit";

/// Whether a trial did not pass where the generator could not tell.
const fn is_the_generators(trial: &Trial) -> bool {
    !trial.passed && trial.generator_limited
}

/// Why a trial did not pass, in words: never empty.
pub fn why(trial: &Trial) -> String {
    let generator = trial.generator_limited && !trial.failed.iter().any(|why| why.starts_with(GENERATOR));
    let first = (generator || trial.failed.is_empty()).then_some(GENERATOR);
    first.into_iter().chain(trial.failed.iter().map(String::as_str)).collect::<Vec<_>>().join("; ")
}

/// What was counted in those seconds. In the second half of a schedule as many attempts should end as arrive, however
/// long one takes; what ends after the last arrival does not count, so a backlog is not worked off unseen.
fn count(record: &Record, half: &Range<u64>, count: impl Fn(&Second) -> u64) -> u64 {
    record.per_second.iter().filter(|second| half.contains(&second.t)).map(count).sum()
}

fn least_ended(rate: f64, half: &Range<u64>) -> u64 {
    (rate * KEPT_UP * length(half) - AT_THE_EDGES).max(0.0).ceil() as u64
}

/// A rate that was met, but not more of it than was done: a service that keeps up with 98.5 % of a rate does not do that
/// rate. One attempt that ended just outside is none that was not done.
fn worth(rate: f64, ended: u64, half: &Range<u64>) -> f64 {
    let arrived = rate * length(half);
    if ended as f64 + 1.0 >= arrived { rate } else { ended as f64 / length(half) }
}

/// The whole seconds of the second half of a schedule; the only one if there is only one.
fn second_half(lasts: Duration) -> Range<u64> {
    let lasts = lasts.as_secs().max(1);
    lasts / 2..lasts
}

fn length(half: &Range<u64>) -> f64 {
    (half.end - half.start) as f64
}

/// A search, between its trials.
#[derive(Clone, Debug)]
pub struct Search {
    start: f64,
    max: f64,
    seed: u64,
    trials: Vec<Trial>,
    results: Vec<Found>,
    bracket: Bracket,
    interrupted: bool,
}

/// What one search found: the highest rate that passed, 0 if none did, and what that is worth.
#[derive(Clone, Copy, Debug)]
struct Found {
    rate: f64,
    worth: f64,
}

impl Search {
    /// A search that tries `start` first and never more than `max`, both in arrivals per second and above 0. `seed` is
    /// what the repeats draw their own rates from.
    pub fn new(start: f64, max: f64, seed: u64) -> Self {
        let start = start.min(max);
        let bracket = Bracket::first(start, max);
        let (trials, results) = (Vec::new(), Vec::new());
        Search { start, max, seed, trials, results, bracket, interrupted: false }
    }

    /// The rate to try next, until there is nothing left to find out; the same one until its trial is noted.
    #[expect(
        clippy::should_implement_trait,
        reason = "it does not go on by itself: what comes next depends on trials"
    )]
    pub fn next(&mut self) -> Option<f64> {
        while !self.is_over() {
            if let Some(rate) = self.bracket.next_rate() {
                return Some(rate);
            }
            let found = self.bracket.result();
            self.results.push(found);
            let shift = drawn(self.seed, self.results.len() as u64);
            self.bracket = Bracket::around(found.rate, shift, self.start * LEAST, self.max);
        }
        None
    }

    /// The 99th percentile of the response time at the lowest rate that passed, once there is one.
    pub fn first_p99(&self) -> Option<Duration> {
        let lowest = self.trials.iter().filter(|trial| trial.passed).min_by(|a, b| a.rate.total_cmp(&b.rate));
        lowest.map(|trial| Duration::from_micros(trial.response_p99_us))
    }

    /// Whether every search has its result. One that met no limit, or found no rate that passes, is not repeated.
    fn is_over(&self) -> bool {
        let pointless = self.results.first().is_some_and(|first| first.rate <= 0.0 || first.rate >= self.max);
        self.interrupted || pointless || self.results.len() > REPEATS
    }

    /// Takes the record of a run at the rate that was asked for: an open one of that constant rate, whose arrivals come
    /// for as long as `lasts`. Says what it comes to. A trial passes if its gates were met, the generator was not the
    /// limit, and the service kept up: in the second half of the schedule at least 98.5 % as many attempts ended as
    /// arrived. One that does not pass while the generator is at its limit is played once more before it counts.
    pub fn note(&mut self, rate: f64, lasts: Duration, record: &Record) -> Trial {
        let (trial, worth) = trial(record, rate, lasts);
        self.take(trial, worth)
    }

    fn take(&mut self, mut trial: Trial, worth: f64) -> Trial {
        trial.search = self.results.len() as u64 + 1;
        // Something else that the machine did may have been in the way, and says nothing of the service. A generator at
        // its limit is there the second time, too.
        let is_second = self.trials.last().is_some_and(|last| {
            (last.search, last.rate) == (trial.search, trial.rate) && is_the_generators(last)
        });
        if is_second || !is_the_generators(&trial) {
            self.bracket.note(Found { rate: trial.rate, worth }, trial.passed);
        }
        self.trials.push(trial.clone());
        trial
    }

    /// Ends the search before it is over: what it comes to says so.
    pub const fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Whether it was ended before it was over.
    pub const fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// What the trials come to; also before the end.
    pub fn finish(self) -> Capacity {
        let mut results: Vec<f64> = self.results.iter().map(|found| found.worth).collect();
        if results.is_empty() {
            // Stopped in the first search: what passed so far is all there is to say.
            results.push(self.bracket.result().worth);
        }
        results.sort_by(f64::total_cmp);
        let (lowest, highest) = (results[0], results[results.len() - 1]);
        let limits = self.lowest_failing();
        let limit = Limit::of(&limits, &self.trials);
        let method = match limit {
            Limit::Nothing if !self.interrupted => no_limit(highest),
            _ if self.results.is_empty() => "the highest rate that passed so far".to_owned(),
            _ => method(results.len()),
        };
        let incomplete = if self.interrupted { "incomplete, the search was interrupted: " } else { "" };
        Capacity {
            rate: median(&results),
            interval: [lowest, highest],
            method: format!("{incomplete}{method}"),
            limited_by: limit.as_str().to_owned(),
            evidence: self.evidence(&results, &limits, limit),
            trials: self.trials,
        }
    }

    /// Of each search, the lowest rate that did not pass above its result.
    fn lowest_failing(&self) -> Vec<Trial> {
        let searches = self.trials.last().map_or(0, |trial| trial.search);
        let lowest = |search| {
            let of_search = || self.trials.iter().filter(move |trial| trial.search == search);
            let passed = |trial: &&Trial| trial.passed;
            let highest = of_search().filter(passed).map(|trial| trial.rate).fold(0.0, f64::max);
            let failing = of_search().filter(|trial| !passed(trial) && trial.rate > highest);
            failing.min_by(|a, b| a.rate.total_cmp(&b.rate)).cloned()
        };
        (1..=searches).filter_map(lowest).collect()
    }

    fn evidence(&self, results: &[f64], limits: &[Trial], limit: Limit) -> Vec<String> {
        let (count, all) = (limits.len(), self.trials.len());
        let count_of = |shows: fn(&Trial) -> bool| limits.iter().filter(|trial| shows(trial)).count();
        let (throttled, weak) =
            (count_of(|trial| trial.throttled > 0), count_of(|trial| trial.generator_limited));
        let at = "at the lowest rate that did not pass";
        let mut evidence = vec![match limit {
            Limit::Nothing if all == 0 => "Nothing was tried.".to_owned(),
            Limit::Nothing => {
                let most = results.last().copied().unwrap_or_default();
                let up_to = if self.interrupted { "that rate" } else { "--up-to" };
                format!("The service does at least {most:.1}/s: no limit was met up to {up_to}.")
            }
            Limit::Generator => format!(
                "In {weak} of {count} searches the generator was the limit {at}: the service may do more. Use more \
                 processors, or split the run with --shard over more machines."
            ),
            Limit::Quota => {
                let times: u64 = limits.iter().map(|trial| trial.throttled).sum();
                format!(
                    "In {throttled} of {count} searches the service asked devices to come back later {at}, {times} times \
                     together."
                )
            }
            Limit::Service => format!(
                "The service was the limit: {at}, {throttled} of {count} searches saw throttling, and in {weak} the \
                 generator was at its own limit."
            ),
        }];
        if results.last().is_none_or(|&most| most <= 0.0) && all > 0 {
            evidence.push(format!("No rate passed, down to {:.2}/s.", self.lowest_tried()));
        }
        let told = |trial: &Trial| format!("Search {}, {:.1}/s: {}.", trial.search, trial.rate, why(trial));
        evidence.extend(limits.iter().map(told));
        if self.interrupted {
            evidence.push(format!("The search was interrupted; trials until then: {all}."));
        }
        evidence
    }

    fn lowest_tried(&self) -> f64 {
        self.trials.iter().map(|trial| trial.rate).fold(f64::INFINITY, f64::min)
    }
}

/// What is said of a rate above which nothing was tried.
fn no_limit(rate: f64) -> String {
    format!("at least {rate:.1}/s: no limit was met up to --up-to, the highest rate to be tried")
}

/// How many searches make the interval, and what it is worth: the true median lies outside the range of n independent
/// results with a chance of 2 in 2^n, whatever their distribution.
fn method(searches: usize) -> String {
    let each = format!(
        "each ends with a rate that passed, counted as what the service did of it, and one at most {:.0} % higher that \
         did not",
        PRECISION * 100.0
    );
    if searches < 2 {
        return format!("one search; {each}");
    }
    let confidence = 100.0 * (1.0 - 2.0_f64.powi(1 - i32::try_from(searches).unwrap_or(i32::MAX)));
    format!(
        "median of {searches} searches at rates of their own, and the lowest and highest of their results, which enclose the median of all \
         possible ones with {confidence:.1} % confidence; {each}"
    )
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

/// Who was at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Service,
    Quota,
    Generator,
    Nothing,
}

impl Limit {
    /// By what at least half of the lowest failing trials show: a generator at its limit first, because nothing else can
    /// be said then; then throttling that passing trials did not show as often.
    fn of(limits: &[Trial], trials: &[Trial]) -> Self {
        let half = |shows: &dyn Fn(&Trial) -> bool| {
            limits.iter().filter(|trial| shows(trial)).count() * 2 >= limits.len()
        };
        // Faults on purpose throttle now and then at any rate.
        let usual =
            trials.iter().filter(|trial| trial.passed).map(|trial| trial.throttled).max().unwrap_or(0);
        match limits.len() {
            0 => Self::Nothing,
            _ if half(&|trial| trial.generator_limited) => Self::Generator,
            _ if half(&|trial| trial.throttled > usual) => Self::Quota,
            _ => Self::Service,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Quota => "quota",
            Self::Generator => "generator",
            Self::Nothing => "none",
        }
    }
}

/// Where a limit is thought to be: between a rate that passes and one that does not.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    floor: f64,
    ceiling: f64,
    /// What the floor is worth, once it passed.
    worth: f64,
    /// Whether the floor was seen to pass, and the ceiling not to.
    passed: bool,
    failed: bool,
    /// Whether the ends are tried before what is between them.
    ends_first: bool,
    /// By how much an end is moved that turns out to be none; grows as it is moved again.
    step: f64,
    least: f64,
    max: f64,
}

impl Bracket {
    /// Doubles, or halves, from where it starts.
    fn first(start: f64, max: f64) -> Self {
        let least = start * LEAST;
        Bracket { ends_first: true, ..Bracket::between(start, start, 2.0, least, max) }
    }

    /// Bisects around a result. An end is only tried if the search runs into it: a search that repeats another one
    /// must be able to contradict it. `shift`, from 0 to 1, moves the ends by up to half of how far they are off.
    fn around(result: f64, shift: f64, least: f64, max: f64) -> Self {
        let floor = result * (1.0 - AROUND * (0.5 + shift));
        let ceiling = (floor + 2.0 * AROUND * result).min(max);
        Bracket::between(floor, ceiling, 1.0 + AROUND, least, max)
    }

    const fn between(floor: f64, ceiling: f64, step: f64, least: f64, max: f64) -> Self {
        Bracket {
            floor,
            ceiling,
            worth: 0.0,
            passed: false,
            failed: false,
            ends_first: false,
            step,
            least,
            max,
        }
    }

    fn next_rate(&self) -> Option<f64> {
        if self.floor < self.least || (self.passed && self.floor >= self.max) {
            return None;
        }
        let middle = f64::midpoint(self.floor, self.ceiling);
        let narrow = self.ceiling - self.floor <= PRECISION * middle;
        match (self.passed, self.failed) {
            (false, _) if narrow || self.ends_first => Some(self.floor),
            (_, false) if narrow || self.ends_first => Some(self.ceiling),
            _ if narrow => None,
            _ => Some(middle),
        }
    }

    fn note(&mut self, Found { rate, worth }: Found, passed: bool) {
        if passed {
            (self.floor, self.worth, self.passed) = (rate, worth, true);
            if rate >= self.ceiling {
                (self.ceiling, self.failed) = ((rate * self.step).min(self.max), false);
                self.widen();
            }
        } else {
            (self.ceiling, self.failed) = (rate, true);
            if rate <= self.floor {
                (self.floor, self.passed) = (rate / self.step, false);
                self.widen();
            }
        }
    }

    /// A search that finds itself elsewhere gets there in longer and longer steps.
    fn widen(&mut self) {
        self.ends_first = true;
        self.step = (1.0 + (self.step - 1.0) * 2.0).min(2.0);
    }

    /// The highest rate that passed; 0 if none did.
    const fn result(&self) -> Found {
        if self.passed {
            Found { rate: self.floor, worth: self.worth }
        } else {
            Found { rate: 0.0, worth: 0.0 }
        }
    }
}

/// A number from 0 to 1 that the seed gives the repeat of this number: SplitMix64 (Steele, Lea, Flood 2014).
fn drawn(seed: u64, repeat: u64) -> f64 {
    let mut bits = seed.wrapping_add(repeat.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::{GateResult, Generator, Outcomes, Verdict};

    /// A trial as one of a service that does `limit` a second would be.
    fn passes_up_to(limit: f64, rate: f64) -> Trial {
        let passed = rate <= limit;
        let failed = if passed { Vec::new() } else { vec!["response_time.p99 <= 1s".to_owned()] };
        Trial { rate, achieved: rate.min(limit), passed, failed, ..Trial::default() }
    }

    fn search(start: f64, max: f64, mut service: impl FnMut(usize, f64) -> Trial) -> Capacity {
        let mut search = Search::new(start, max, 7);
        while let Some(rate) = search.next() {
            let trial = service(search.trials.len(), rate);
            // As trials are made of records.
            let passed = trial.passed && !trial.generator_limited;
            let worth = rate.min(trial.achieved);
            search.take(Trial { passed, ..trial }, worth);
            assert!(search.trials.len() < 100, "{:?}", search.trials);
        }
        search.finish()
    }

    fn is_within(found: f64, wanted: f64, share: f64) -> bool {
        (found - wanted).abs() <= wanted * share
    }

    #[test]
    fn a_service_that_does_500_a_second_is_found_within_3_percent_wherever_the_search_starts() {
        for start in [1.0, 20.0, 100.0, 499.0, 500.0, 501.0, 1_999.0, 10_000.0] {
            let found = search(start, 20_000.0, |_, rate| passes_up_to(500.0, rate));
            assert!(
                is_within(found.rate, 500.0, 0.03) && found.rate <= 500.0,
                "from {start}: {}",
                found.rate
            );
            assert!(
                found.interval[0] <= found.rate && found.rate <= found.interval[1],
                "{:?}",
                found.interval
            );
            assert_eq!(found.limited_by, "service");
            assert_eq!(found.trials.last().map(|trial| trial.search), Some(1 + REPEATS as u64));
            assert!(found.trials.len() <= 45, "{} trials", found.trials.len());
        }
    }

    /// A limit that moves by up to `share` from trial to trial, as a small generator of pseudo-random numbers says.
    fn wobbling(share: f64, mut state: u64) -> impl FnMut() -> f64 {
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = (state >> 11) as f64 / (1_u64 << 53) as f64;
            500.0 * (1.0 + share * (2.0 * unit - 1.0))
        }
    }

    #[test]
    fn trials_that_vary_by_2_percent_still_find_it_within_3() {
        for seed in 0..200 {
            let mut limit = wobbling(0.02, seed);
            let found = search(50.0, 20_000.0, |_, rate| passes_up_to(limit(), rate));
            assert!(
                is_within(found.rate, 500.0, 0.03),
                "seed {seed}: {} of {:?}",
                found.rate,
                found.interval
            );
        }
    }

    #[test]
    fn a_rate_is_never_above_what_the_service_did_of_it() {
        // As records show it: 98.5 % is enough to pass, and what ended is known.
        for seed in 0..200 {
            let mut limit = wobbling(0.005, seed);
            let mut most = 0.0_f64;
            let found = search(50.0, 20_000.0, |_, rate| {
                let limit = limit();
                most = most.max(limit);
                Trial {
                    passed: rate * KEPT_UP <= limit,
                    achieved: rate.min(limit),
                    ..passes_up_to(limit, rate)
                }
            });
            assert!(
                found.interval[1] <= most && is_within(found.rate, 500.0, 0.03),
                "{seed}: {:?}",
                found.interval
            );
            assert!(found.trials.len() <= *TRIALS.end() as usize, "{} trials", found.trials.len());
        }
    }

    #[test]
    fn repeats_try_rates_of_their_own_that_follow_the_seed() {
        let rates = |seed| {
            let mut search = Search::new(100.0, 20_000.0, seed);
            while let Some(rate) = search.next() {
                search.take(passes_up_to(500.0, rate), rate.min(500.0));
            }
            let rates =
                |at| search.trials.iter().filter(move |trial| trial.search == at).map(|trial| trial.rate);
            for (one, other) in [(2, 3), (2, 4), (3, 4)] {
                assert!(rates(one).all(|rate| rates(other).all(|other| rate.to_bits() != other.to_bits())));
            }
            let trials = search.trials.len();
            let [low, high] = search.clone().finish().interval;
            assert!(low < high && high <= 500.0 && low >= 485.0, "{low} to {high} of {trials} trials");
            search.trials.iter().map(|trial| trial.rate.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(rates(1), rates(1));
        assert_ne!(rates(1), rates(2));
    }

    #[test]
    fn low_rates_are_tried_for_longer() {
        let seconds = Duration::from_secs;
        for (rate, trial, lasting) in
            [(50.0, 10, 10), (10.0, 10, 10), (5.0, 10, 20), (3.0, 10, 34), (0.1, 10, 60), (0.1, 90, 90)]
        {
            assert_eq!(lasts(rate, seconds(trial)), seconds(lasting), "{rate}");
        }
        assert_eq!(lasts(100.0, Duration::from_millis(2_500)), Duration::from_millis(2_500));
        // What is left of a second at the end does not count: nobody arrives in most of it.
        assert_eq!(second_half(Duration::from_millis(10_900)), 5..10);
    }

    #[test]
    fn what_a_rate_is_worth_is_what_was_done_of_it() {
        for (rate, ended, wanted) in
            [(500.0, 2_500, 500.0), (500.0, 2_499, 500.0), (500.0, 2_600, 500.0), (506.0, 2_500, 500.0)]
        {
            let found = worth(rate, ended, &(5..10));
            assert!((found - wanted).abs() < 1e-9, "{ended} of {rate}/s: {found}");
        }
    }

    #[test]
    fn one_trial_that_fails_for_nothing_is_outvoted() {
        for unlucky in 0..12 {
            let found = search(50.0, 20_000.0, |at, rate| {
                passes_up_to(if at == unlucky { 0.0 } else { 500.0 }, rate)
            });
            assert!(is_within(found.rate, 500.0, 0.03), "{unlucky}: {} of {:?}", found.rate, found.interval);
        }
    }

    #[test]
    fn a_trial_that_the_generator_spoilt_is_played_once_more_before_it_counts() {
        for spoilt in 0..12 {
            let found = search(50.0, 20_000.0, |at, rate| Trial {
                generator_limited: at == spoilt,
                ..passes_up_to(500.0, rate)
            });
            assert!(found.interval[0] >= 485.0, "{spoilt}: {:?}", found.interval);
            let [first, second] = [spoilt, spoilt + 1].map(|at| &found.trials[at]);
            assert_eq!(first.rate, second.rate, "{spoilt}");
            let rates: Vec<_> =
                found.trials.iter().map(|trial| (trial.search, trial.rate.to_bits())).collect();
            assert_eq!(rates.windows(2).filter(|pair| pair[0] == pair[1]).count(), 1, "{spoilt}: {rates:?}");
        }
        // Where it is the limit, it is twice, and counts.
        let weak = search(50.0, 20_000.0, |_, rate| Trial {
            generator_limited: rate > 300.0,
            ..passes_up_to(500.0, rate)
        });
        assert!(is_within(weak.rate, 300.0, 0.03) && weak.limited_by == "generator", "{weak:?}");
    }

    #[test]
    fn a_limit_has_a_name() {
        let throttled = |_, rate| {
            let trial = passes_up_to(500.0, rate);
            Trial { throttled: if trial.passed { 2 } else { 300 }, ..trial }
        };
        // The gates are met up to 800, but from 600 on nobody would know.
        let own = |_, rate| Trial { generator_limited: rate > 600.0, ..passes_up_to(800.0, rate) };
        // A generator that is weak far above the service's limit is not what limits.
        let far = |_, rate| Trial { generator_limited: rate > 700.0, ..passes_up_to(500.0, rate) };
        let faulty = |_, rate| Trial { throttled: 3, ..passes_up_to(500.0, rate) };
        type Case = (&'static str, f64, fn(usize, f64) -> Trial);
        let cases: [Case; 4] = [
            ("quota", 500.0, throttled),
            ("generator", 600.0, own),
            ("service", 500.0, far),
            ("service", 500.0, faulty),
        ];
        for (name, limit, service) in cases {
            let found = search(100.0, 20_000.0, service);
            assert_eq!(found.limited_by, name);
            assert!(is_within(found.rate, limit, 0.03), "{name}: {}", found.rate);
            assert!(!found.evidence.is_empty());
        }
    }

    #[test]
    fn a_service_that_never_fails_ends_the_search_at_the_highest_rate() {
        let found = search(100.0, 1_500.0, |_, rate| passes_up_to(f64::INFINITY, rate));
        assert_eq!((found.rate, found.interval, found.limited_by.as_str()), (1_500.0, [1_500.0; 2], "none"));
        let rates: Vec<f64> = found.trials.iter().map(|trial| trial.rate).collect();
        assert_eq!(rates, [100.0, 200.0, 400.0, 800.0, 1_500.0]);
    }

    #[test]
    fn a_service_that_always_fails_has_no_rate() {
        let found = search(100.0, 1_500.0, |_, rate| passes_up_to(0.0, rate));
        assert_eq!((found.rate, found.limited_by.as_str()), (0.0, "service"));
        assert!(found.trials.len() < 10, "{}", found.trials.len());
    }

    #[test]
    fn a_search_that_was_stopped_says_what_passed() {
        let mut search = Search::new(100.0, 20_000.0, 7);
        assert_eq!(search.clone().finish().rate, 0.0);
        for _ in 0..3 {
            let rate = search.next().expect("not over");
            search.take(passes_up_to(500.0, rate), rate.min(500.0));
        }
        let complete = search.clone().finish();
        search.interrupt();
        assert_eq!(search.next(), None);
        let found = search.finish();
        assert_eq!((found.rate, found.interval), (400.0, [400.0; 2]));
        assert_ne!(found.method, complete.method);
        assert_eq!(found.evidence.len(), complete.evidence.len() + 1);
    }

    /// A run of ten seconds in which so many ended well each second.
    fn record(each_second: [u64; 12]) -> Record {
        let second = |(t, finished)| Second { t, finished, assigned: finished, ..Second::default() };
        Record {
            ended: Ended::Completed,
            verdict: Verdict { kind: VerdictKind::Good, reasons: Vec::new() },
            per_second: (0..).zip(each_second).map(second).collect(),
            ..Record::default()
        }
    }

    #[test]
    fn a_trial_passes_when_its_gates_are_met_and_the_rate_is_kept_up_with() {
        let good = || record([500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 0, 0]);
        let gate = |passed| vec![GateResult { passed, ..GateResult::default() }];
        let limited = || Generator { limited: true, ..Generator::default() };
        let no_result = Verdict { kind: VerdictKind::GeneratorLimited, reasons: Vec::new() };
        let invalid = Verdict { kind: VerdictKind::Invalid, reasons: Vec::new() };
        for (case, rate, record, passed) in [
            ("as planned", 500.0, good(), true),
            (
                "answers take two seconds",
                500.0,
                record([0, 0, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500]),
                true,
            ),
            ("behind by 1 %", 505.0, good(), true),
            ("behind by 2 %", 510.0, good(), false),
            (
                "a backlog is worked off afterwards",
                600.0,
                record([500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500, 500]),
                false,
            ),
            ("few devices, one of them late", 2.0, record([2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 0]), true),
            ("gates met", 500.0, Record { gates: gate(true), ..good() }, true),
            ("a gate not met", 500.0, Record { gates: gate(false), ..good() }, false),
            (
                "the generator was the limit",
                500.0,
                Record { generator: limited(), verdict: no_result, ..good() },
                false,
            ),
            (
                "it was, and the scenario does not mind",
                500.0,
                Record { generator: limited(), ..good() },
                true,
            ),
            ("ended early", 500.0, Record { ended: Ended::EndedByGate, ..good() }, false),
            ("sums that do not add up", 500.0, Record { verdict: invalid, ..good() }, false),
        ] {
            let (trial, _) = trial(&record, rate, Duration::from_secs(10));
            assert_eq!(trial.passed, passed, "{case}: {trial:?}");
            assert!(!trial.passed || trial.failed.is_empty(), "{case}");
        }
    }

    #[test]
    fn a_trial_that_the_generator_limited_says_so_first() {
        let limited = Generator { limited: true, ..Generator::default() };
        let told = |rate, generator| {
            let (trial, _) = trial(&Record { generator, ..record([500; 12]) }, rate, Duration::from_secs(10));
            (trial.failed.len(), why(&trial).starts_with(GENERATOR))
        };
        assert_eq!(told(600.0, limited.clone()), (1, true));
        assert_eq!(told(600.0, Generator::default()), (1, false));
        let gate = vec!["a gate".to_owned()];
        for (failed, generator_limited, parts) in
            [(Vec::new(), true, 1), (gate.clone(), true, 2), (gate, false, 1)]
        {
            let why = why(&Trial { failed, generator_limited, ..Trial::default() });
            assert_eq!(
                (why.split("; ").count(), why.starts_with(GENERATOR)),
                (parts, generator_limited),
                "{why}"
            );
        }
    }

    #[test]
    fn what_was_achieved_is_never_more_than_what_was_offered() {
        let drained = record([0, 0, 0, 0, 0, 900, 900, 500, 500, 500, 0, 0]);
        let (trial, _) = trial(&drained, 398.6, Duration::from_secs(10));
        assert!((trial.achieved - 398.6).abs() < 1e-9, "{}", trial.achieved);
    }

    #[test]
    fn a_trial_counts_whoever_was_throttled_for_good_or_for_a_while() {
        let mut record = record([0; 12]);
        record.outcomes = Outcomes { throttled: 3, ..Outcomes::default() };
        record.retries.throttled = 40;
        assert_eq!(trial(&record, 1.0, Duration::from_secs(10)).0.throttled, 43);
    }

    #[test]
    fn the_default_gates_allow_ten_times_the_lowest_rates_time_and_a_second_anyway() {
        for (first, most) in [(None, 1.0), (Some(20), 1.0), (Some(300), 3.0)] {
            let gates = gates_of(&[], first.map(Duration::from_millis));
            let time =
                gates.iter().find(|gate| matches!(gate.metric, Metric::Time(..))).expect("a gate on time");
            assert!(is_within(time.at_most.expect("a bound"), most, 1e-9), "{first:?}");
            assert!(gates.iter().any(|gate| gate.metric.is_about_outcomes()));
        }
        let mut search = Search::new(100.0, 20_000.0, 7);
        for (rate, passed, p99, first) in
            [(100.0, false, 9_000, None), (50.0, true, 70, Some(70)), (75.0, true, 80, Some(70))]
        {
            search.take(Trial { rate, passed, response_p99_us: p99, ..Trial::default() }, rate);
            assert_eq!(search.first_p99(), first.map(Duration::from_micros), "{rate}");
        }
    }

    #[test]
    fn a_scenarios_own_gates_are_kept_as_far_as_one_trial_can_meet_them() {
        let gate = |metric: &str, at_least, at_most| {
            let metric: Metric = metric.parse().expect("a metric");
            Gate { place: Place::Set(metric.to_string()), metric, at_least, at_most, abort_after: None }
        };
        for (gate, kept) in [
            (gate("response_time.p99", None, Some(0.5)), true),
            (gate("outcome.assigned.share", Some(0.99), None), true),
            (gate("unexpected.count", None, Some(0.0)), true),
            (gate("unexpected.count", None, Some(10.0)), false),
            (gate("roll_up.line-a.count", Some(2_000.0), None), false),
            (gate("rate.assigned", Some(200.0), None), false),
        ] {
            let found = gates_of(std::slice::from_ref(&gate), None);
            assert_eq!(found.contains(&gate), kept, "{gate}");
            assert_eq!(found.len() > 1, !kept, "{gate}: the default ones instead");
        }
    }
}
