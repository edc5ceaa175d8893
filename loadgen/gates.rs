//! What a run must have shown, held against what was measured: while it goes on, when it has ended, and again when
//! records of shards were merged.
//!
//! Pure: a gate sees numbers, and never why they are so.

use crate::recorder::Recorder;
use hdrhistogram::Histogram;
use reports::{GateResult, OutcomeKind, Outcomes, Record};
use scenarios::{Amount, Clock, Gate, Metric, Place, Rate, Scenario, Statistic, Target, Unit};
use sim_device::Phase;
use std::borrow::Cow;
use std::time::Duration;

/// What metrics are worked out from.
pub trait Measured {
    /// Arrivals that were planned: what shares are shares of.
    fn planned(&self) -> u64;
    /// What rates are over, in seconds: from the start to the end of the last attempt.
    fn wall_seconds(&self) -> f64;
    /// Arrivals that came due, attempts that were started and that ended, devices that were assigned.
    fn counted(&self, rate: Rate) -> u64;
    /// How arrivals ended.
    fn outcomes(&self) -> &Outcomes;
    /// Arrivals that ended otherwise than the scenario means.
    fn unexpected(&self) -> u64;
    /// Devices that an enrollment group assigned; none where nobody knows of the group.
    fn rolled_up(&self, group: &str) -> Option<u64>;
    /// Requests and connections made again.
    fn retries(&self) -> u64;
    /// Devices that lost the connection they held.
    fn dropped(&self) -> u64;
    /// Times in nanoseconds; nothing where they were not taken, or cannot be read.
    fn times(&self, clock: &Clock) -> Option<Cow<'_, Histogram<u64>>>;
}

/// A recorder, with what it does not know of its run.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// What was measured so far.
    pub recorder: &'a Recorder,
    /// Arrivals that were planned.
    pub planned: u64,
    /// How long that took: while the run goes on the time since its start, so that a rate falls when nothing ends any
    /// more; afterwards [`Recorder::wall`].
    pub wall: Duration,
    /// What is played: which group a factory's devices come in by.
    pub scenario: &'a Scenario,
}

impl Running<'_> {
    /// The enrollment group of the factory of this number, where it is known.
    fn group(&self, factory: usize) -> Option<&str> {
        match (self.scenario.fleet.factories.get(factory), &self.scenario.target) {
            (Some(factory), _) => Some(factory.name.as_str()),
            (None, Target::Mock(mock)) => Some(mock.group.as_str()),
            (None, Target::Service(_)) => None,
        }
    }
}

impl Measured for Running<'_> {
    fn planned(&self) -> u64 {
        self.planned
    }

    fn wall_seconds(&self) -> f64 {
        self.wall.as_secs_f64()
    }

    fn counted(&self, rate: Rate) -> u64 {
        match rate {
            Rate::Offered => self.recorder.offered,
            Rate::Started => self.recorder.started,
            Rate::Finished => self.recorder.finished,
            Rate::Assigned => self.recorder.outcomes.assigned,
        }
    }

    fn outcomes(&self) -> &Outcomes {
        &self.recorder.outcomes
    }

    fn unexpected(&self) -> u64 {
        self.recorder.unexpected
    }

    fn rolled_up(&self, group: &str) -> Option<u64> {
        let is_ours = |factory: usize| self.group(factory).is_some_and(|name| is_group(name, group));
        let counts = self.recorder.factories.iter().filter(|(factory, _)| is_ours(**factory));
        Some(counts.map(|(_, count)| count).sum())
    }

    fn retries(&self) -> u64 {
        self.recorder.retries.total()
    }

    fn dropped(&self) -> u64 {
        self.recorder.held.dropped
    }

    fn times(&self, clock: &Clock) -> Option<Cow<'_, Histogram<u64>>> {
        let clocks = &self.recorder.clocks;
        let times = match clock {
            Clock::Service => Some(&clocks.service),
            Clock::Response => Some(&clocks.response),
            Clock::Unsuccessful => Some(&clocks.unsuccessful),
            Clock::Lateness => Some(&clocks.lateness),
            Clock::Phase(name) => {
                let phase = Phase::ALL.into_iter().find(|phase| phase.as_str() == name);
                phase.and_then(|phase| clocks.phases.get(phase as usize))
            }
        };
        times.map(Cow::Borrowed)
    }
}

impl Measured for Record {
    fn planned(&self) -> u64 {
        self.planned
    }

    fn wall_seconds(&self) -> f64 {
        self.wall_seconds
    }

    fn counted(&self, rate: Rate) -> u64 {
        match rate {
            Rate::Offered => self.per_second.iter().map(|second| second.offered).sum(),
            Rate::Started => self.started,
            Rate::Finished => self.finished,
            Rate::Assigned => self.outcomes.assigned,
        }
    }

    fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    fn unexpected(&self) -> u64 {
        // Whatever ended otherwise than it was meant to has a reason, success of a bad device included.
        self.reasons.iter().filter(|reason| !reason.expected).map(|reason| reason.count).sum()
    }

    fn rolled_up(&self, group: &str) -> Option<u64> {
        let ways = || self.roll_up.iter().filter(|way| is_group(&way.group, group));
        // Devices are told their hub and never their group: without a ledger, and more than one group, nobody knows.
        (self.ledger.is_some() || ways().next().is_some()).then(|| ways().map(|way| way.actual).sum())
    }

    fn retries(&self) -> u64 {
        self.retries.total()
    }

    fn dropped(&self) -> u64 {
        self.held.map_or(0, |held| held.dropped)
    }

    fn times(&self, clock: &Clock) -> Option<Cow<'_, Histogram<u64>>> {
        let stats = match clock {
            Clock::Service => Some(&self.clocks.service_time),
            Clock::Response => Some(&self.clocks.response_time),
            Clock::Unsuccessful => Some(&self.clocks.service_time_unsuccessful),
            Clock::Lateness => Some(&self.clocks.lateness),
            Clock::Phase(name) => self.phases.iter().find(|stats| stats.phase == *name),
        };
        stats.and_then(|stats| stats.histogram().ok()).map(Cow::Owned)
    }
}

/// Enrollment group ids are compared without regard to case, as the service does.
fn is_group(name: &str, wanted: &str) -> bool {
    name.eq_ignore_ascii_case(wanted)
}

/// What a metric comes to, in its unit. A time that nobody took and a rate over no time have no value; what is counted
/// is 0 when it did not happen, and so is its share.
pub fn value(metric: &Metric, measured: &impl Measured) -> Option<f64> {
    let part = |count, amount| Some(amount_of(count, amount, measured.planned()));
    match metric {
        Metric::Time(clock, statistic) => {
            let times = measured.times(clock).filter(|times| !times.is_empty())?;
            Some(statistic_of(&times, *statistic))
        }
        Metric::Rate(rate) => {
            let seconds = measured.wall_seconds();
            (seconds > 0.0).then(|| measured.counted(*rate) as f64 / seconds)
        }
        Metric::Outcome(name, amount) => part(measured.outcomes().count(outcome(name)?), *amount),
        Metric::Unexpected(amount) => part(measured.unexpected(), *amount),
        Metric::RollUp(group, amount) => part(measured.rolled_up(group)?, *amount),
        Metric::Retries(amount) => part(measured.retries(), *amount),
        Metric::Dropped(amount) => part(measured.dropped(), *amount),
    }
}

/// The outcome of a name: metrics list them in the order of the record.
fn outcome(name: &str) -> Option<OutcomeKind> {
    let at = Metric::OUTCOMES.iter().position(|known| *known == name)?;
    OutcomeKind::ALL.get(at).copied()
}

fn amount_of(count: u64, amount: Amount, planned: u64) -> f64 {
    match amount {
        Amount::Count => count as f64,
        Amount::Share if planned == 0 => 0.0,
        Amount::Share => count as f64 / planned as f64,
    }
}

/// In seconds.
fn statistic_of(times: &Histogram<u64>, statistic: Statistic) -> f64 {
    let nanoseconds = match statistic {
        Statistic::Quantile(thousandths) => {
            times.value_at_quantile(f64::from(thousandths) / 1_000.0).min(times.max()) as f64
        }
        Statistic::Mean => times.mean(),
        Statistic::Max => times.max() as f64,
    };
    nanoseconds / 1e9
}

/// The word of a unit in records.
const fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "s",
        Unit::PerSecond => "/s",
        Unit::Count => "count",
        Unit::Share => "share",
    }
}

/// Every gate with what was measured, in their order. A metric without a value meets no gate.
pub fn results(gates: &[Gate], measured: &impl Measured) -> Vec<GateResult> {
    let result = |gate: &Gate| {
        let measured = value(&gate.metric, measured);
        GateResult {
            gate: gate.to_string(),
            metric: gate.metric.to_string(),
            unit: unit_word(gate.metric.unit()).to_owned(),
            measured,
            at_least: gate.at_least,
            at_most: gate.at_most,
            passed: measured.is_some_and(|value| gate.holds(value)),
            aborted_at: None,
            implied: false,
        }
    };
    gates.iter().map(result).collect()
}

/// Which gate ends a run that goes on for so long: the first of those that are due and not met. `results` are those of
/// `gates`, in the same order.
///
/// A metric that has no value yet ends nothing. Neither does a count or a share that is still too small: they only grow,
/// so the end alone can tell.
pub fn to_abort(gates: &[Gate], results: &[GateResult], elapsed: Duration) -> Option<usize> {
    let ends = |(gate, result): (&Gate, &GateResult)| {
        let due = gate.abort_after.is_some_and(|after| after <= elapsed);
        due && result.measured.is_some_and(|value| is_settled(gate, value))
    };
    gates.iter().zip(results).position(ends)
}

/// Whether a value that is out of bounds may not come back by the mere passing of time.
fn is_settled(gate: &Gate, value: f64) -> bool {
    match gate.metric.unit() {
        Unit::Count | Unit::Share => gate.at_most.is_some_and(|most| value > most),
        Unit::Seconds | Unit::PerSecond => !gate.holds(value),
    }
}

/// The gate that holds where the scenario's own say nothing about how arrivals should end: each ends as the scenario
/// means it.
pub fn implied(gates: &[Gate]) -> Option<Gate> {
    let said = gates.iter().any(|gate| gate.metric.is_about_outcomes());
    let metric = Metric::Unexpected(Amount::Count);
    let place = Place::Set(metric.to_string());
    (!said).then_some(Gate { metric, at_least: None, at_most: Some(0.0), abort_after: None, place })
}

/// A gate and what was measured, in a phrase: `response_time.p99 <= 500ms: measured 731.2 ms`.
pub fn told(result: &GateResult) -> String {
    let GateResult { gate, implied, .. } = result;
    let implied = if *implied { " (implied: the scenario has no gate on outcomes)" } else { "" };
    match result.measured {
        Some(value) => format!("{gate}{implied}: measured {}", shown(value, result)),
        None => format!("{gate}{implied}: nothing was measured"),
    }
}

/// Which gate ended the run, and when.
pub fn told_end(result: &GateResult) -> Option<String> {
    let at = result.aborted_at?;
    let end = if result.passed { ", which met the gate" } else { "" };
    Some(format!("ended after {at:.1} s by a gate; at the end {}{end}", told(result)))
}

/// A measured value for people.
fn shown(value: f64, result: &GateResult) -> String {
    match result.unit.as_str() {
        "s" if value < 1.0 => format!("{:.1} ms", value * 1_000.0),
        "s" => format!("{value:.2} s"),
        "/s" => format!("{value:.1}/s"),
        "share" if result.metric == Metric::Retries(Amount::Share).to_string() => {
            format!("{value:.2} per arrival")
        }
        "share" => format!("{value:.4}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::{histogram, record};
    use reports::{Held, PhaseStats, Reason, Retries, RollUp, Second};

    const SECOND: Duration = Duration::from_secs(1);

    fn gate(metric: &str, at_least: Option<f64>, at_most: Option<f64>) -> Gate {
        let metric: Metric = metric.parse().expect("a metric");
        let place = Place::Set(metric.to_string());
        Gate { metric, at_least, at_most, abort_after: None, place }
    }

    /// 1 ms to 100 ms, evenly.
    fn times() -> Histogram<u64> {
        let mut times = histogram();
        (1..=100).for_each(|ms| record(&mut times, Duration::from_millis(ms)));
        times
    }

    fn scenario() -> Scenario {
        let factories =
            ["line-a", "line-b"].map(|name| format!("[[fleet.factory]]\nname = \"{name}\"\nshare = 0.5\n"));
        let text = format!(
            "name = \"gates\"\n[fleet]\ndevices = 200\nregistration_id = \"gates-{{index}}\"\n\
             [fleet.authority.minted]\nintermediates = 1\n{}[target.mock]\n[load.closed]\nin_flight = 1\n",
            factories.concat()
        );
        Scenario::parse("gates.toml", &text, &[]).expect("a scenario")
    }

    /// The same run as a recorder and as a record: 200 planned, 100 assigned, 4 s.
    fn recorder() -> Recorder {
        let mut recorder = Recorder::new(sim_device::now());
        (recorder.offered, recorder.started, recorder.finished) = (160, 140, 120);
        recorder.outcomes = outcomes();
        recorder.unexpected = 5;
        recorder.factories = [(0, 60), (1, 40)].into();
        recorder.retries = RETRIES;
        recorder.held.dropped = 8;
        recorder.clocks.response = times();
        recorder.clocks.phases[Phase::Tls as usize] = times();
        recorder
    }

    const RETRIES: Retries = Retries { throttled: 30, server_error: 10, connection: 0, timeout: 0 };

    fn outcomes() -> Outcomes {
        Outcomes { assigned: 100, timed_out: 20, ..Outcomes::default() }
    }

    fn the_record() -> Record {
        let stats = |name| PhaseStats::from_histogram(name, &times()).expect("stats");
        let way = |group: &str, actual| RollUp { group: group.to_owned(), actual, ..RollUp::default() };
        let reason = |count, expected| Reason { count, expected, ..Reason::default() };
        let second = |t, offered| Second { t, offered, ..Second::default() };
        Record {
            planned: 200,
            started: 140,
            finished: 120,
            wall_seconds: 4.0,
            outcomes: outcomes(),
            reasons: vec![reason(5, false), reason(15, true)],
            retries: RETRIES,
            held: Some(Held { dropped: 8, ..Held::default() }),
            phases: vec![stats("tls")],
            clocks: reports::Clocks { response_time: stats("response time"), ..reports::Clocks::default() },
            per_second: vec![second(0, 100), second(1, 60)],
            roll_up: vec![way("line-a", 50), way("line-a", 10), way("line-b", 40)],
            ledger: Some(reports::Ledger::default()),
            ..Record::default()
        }
    }

    #[test]
    fn a_recorder_and_its_record_have_the_same_metrics() {
        let (recorder, scenario) = (recorder(), scenario());
        let recorded = Running { recorder: &recorder, planned: 200, wall: 4 * SECOND, scenario: &scenario };
        let record = the_record();
        for (metric, wanted) in [
            ("response_time.p50", Some(0.05)),
            ("response_time.p99", Some(0.099)),
            ("response_time.mean", Some(0.0505)),
            ("response_time.max", Some(0.1)),
            ("phase.tls.p90", Some(0.09)),
            ("phase.poll.p90", None),
            ("service_time.p50", None),
            ("lateness.p99", None),
            ("rate.offered", Some(40.0)),
            ("rate.started", Some(35.0)),
            ("rate.finished", Some(30.0)),
            ("rate.assigned", Some(25.0)),
            ("outcome.assigned.count", Some(100.0)),
            ("outcome.timed_out.share", Some(0.1)),
            ("outcome.throttled.count", Some(0.0)),
            ("unexpected.count", Some(5.0)),
            ("unexpected.share", Some(0.025)),
            ("roll_up.line-a.count", Some(60.0)),
            ("roll_up.LINE-B.share", Some(0.2)),
            ("roll_up.line-c.count", Some(0.0)),
            ("retries.count", Some(40.0)),
            ("retries.share", Some(0.2)),
            ("held.dropped.count", Some(8.0)),
        ] {
            let metric: Metric = metric.parse().expect("a metric");
            for found in [value(&metric, &recorded), value(&metric, &record)] {
                let close = match (found, wanted) {
                    (Some(found), Some(wanted)) => (found - wanted).abs() <= wanted * 0.002,
                    (found, wanted) => found.is_none() && wanted.is_none(),
                };
                assert!(close, "{metric}: {found:?} for {wanted:?}");
            }
        }
    }

    #[test]
    fn names_of_metrics_are_those_of_the_record() {
        for (name, kind) in Metric::OUTCOMES.into_iter().zip(OutcomeKind::ALL) {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), name);
            assert_eq!(outcome(name), Some(kind));
        }
        assert_eq!(Metric::OUTCOMES.len(), OutcomeKind::ALL.len());
        assert_eq!(Metric::PHASES, Phase::ALL.map(Phase::as_str));
    }

    #[test]
    fn a_run_without_arrivals_or_length_has_no_rates_and_empty_counts() {
        let record = Record::default();
        for (metric, wanted) in [
            ("rate.assigned", None),
            ("response_time.p99", None),
            ("unexpected.share", Some(0.0)),
            ("outcome.assigned.count", Some(0.0)),
        ] {
            assert_eq!(value(&metric.parse().expect("a metric"), &record), wanted, "{metric}");
        }
    }

    #[test]
    fn a_gate_is_met_within_its_bounds_and_never_without_a_value() {
        let record = the_record();
        for (metric, least, most, passed) in [
            ("response_time.p99", None, Some(0.1), true),
            ("response_time.p99", None, Some(0.09), false),
            ("rate.assigned", Some(25.0), None, true),
            ("rate.assigned", Some(25.1), None, false),
            ("outcome.assigned.share", Some(0.5), Some(0.5), true),
            ("outcome.throttled.count", None, Some(0.0), true),
            ("service_time.p99", None, Some(1e9), false),
            ("phase.dns.max", Some(0.0), None, false),
        ] {
            let result = results(&[gate(metric, least, most)], &record).remove(0);
            assert_eq!(result.passed, passed, "{metric}");
            assert_eq!((result.at_least, result.at_most), (least, most), "{metric}");
        }
        let units = ["lateness.p50", "rate.offered", "retries.count", "retries.share"]
            .map(|metric| results(&[gate(metric, None, Some(1.0))], &record).remove(0).unit);
        assert_eq!(units, ["s", "/s", "count", "share"]);
    }

    #[test]
    fn a_run_is_ended_by_the_first_gate_that_is_due_and_cannot_be_met_any_more() {
        let record = the_record();
        let after =
            |seconds: u64, gate: Gate| Gate { abort_after: Some(Duration::from_secs(seconds)), ..gate };
        let slow = || gate("response_time.p99", None, Some(0.01));
        let unmeasured = || gate("service_time.p99", None, Some(0.01));
        let too_many = || gate("unexpected.count", None, Some(4.0));
        let too_few = || gate("outcome.assigned.share", Some(0.9), None);
        let idle = || gate("rate.assigned", Some(1_000.0), None);
        for (gates, seconds, wanted) in [
            (vec![slow()], 100, None),
            (vec![after(10, slow())], 9, None),
            (vec![after(10, slow())], 10, Some(0)),
            (vec![after(20, slow()), after(5, too_many())], 10, Some(1)),
            (vec![after(5, slow()), after(5, too_many())], 10, Some(0)),
            (vec![after(1, unmeasured())], 10, None),
            (vec![after(1, too_few())], 10, None),
            (vec![after(1, gate("roll_up.line-a.count", Some(100.0), None))], 10, None),
            (vec![after(1, gate("roll_up.line-a.count", Some(1.0), Some(59.0)))], 10, Some(0)),
            (vec![after(1, idle())], 10, Some(0)),
            (vec![after(1, gate("rate.assigned", Some(1.0), None))], 10, None),
        ] {
            let results = results(&gates, &record);
            assert_eq!(to_abort(&gates, &results, Duration::from_secs(seconds)), wanted, "{gates:?}");
        }
    }

    #[test]
    fn who_says_nothing_of_outcomes_means_that_all_are_as_the_scenario_says() {
        for (metric, silent) in [
            ("response_time.p99", true),
            ("rate.assigned", true),
            ("retries.share", true),
            ("outcome.refused.share", false),
            ("unexpected.share", false),
            ("roll_up.line-a.count", false),
        ] {
            assert_eq!(implied(&[gate(metric, None, Some(1.0))]).is_some(), silent, "{metric}");
        }
        let implied = implied(&[]).expect("a gate");
        assert!(!results(std::slice::from_ref(&implied), &the_record())[0].passed);
        assert!(results(&[implied], &Record::default())[0].passed);
    }
}
