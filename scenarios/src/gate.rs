//! What a run must have shown: one metric each, and the bounds it must be within.
//!
//! Names and bounds only: what a metric comes to is for who has the run's record.

use crate::diagnostic::Place;
use crate::kind::quoted;
use sim_protocol::duration::written;
use sim_protocol::{EnrollmentGroupId, InvalidName};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A condition on one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// What is looked at.
    pub metric: Metric,
    /// The least it may be, in the metric's unit; at least one of the two bounds is there.
    pub at_least: Option<f64>,
    /// The most it may be, in the metric's unit.
    pub at_most: Option<f64>,
    /// After how long a run is ended that does not meet it; not before its end where absent.
    pub abort_after: Option<Duration>,
    /// Where its metric is written.
    pub place: Place,
}

impl Gate {
    /// Whether a value, in the metric's unit, is within the bounds. What is no number is not.
    pub fn holds(&self, value: f64) -> bool {
        let (least, most) =
            (self.at_least.unwrap_or(f64::NEG_INFINITY), self.at_most.unwrap_or(f64::INFINITY));
        (least..=most).contains(&value)
    }
}

/// As in `response_time.p99 <= 500ms`.
impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metric, unit) = (&self.metric, self.metric.unit());
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) if least == most => write!(f, "{metric} = {}", unit.shown(most)),
            (Some(least), Some(most)) => {
                write!(f, "{} <= {metric} <= {}", unit.shown(least), unit.shown(most))
            }
            (Some(least), None) => write!(f, "{metric} >= {}", unit.shown(least)),
            (None, Some(most)) => write!(f, "{metric} <= {}", unit.shown(most)),
            (None, None) => metric.fmt(f),
        }
    }
}

/// What a metric is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Seconds; bounds are written as durations.
    Seconds,
    /// So many a second.
    PerSecond,
    /// A whole number.
    Count,
    /// A part of the whole, 0 to 1; retries per arrival can be more.
    Share,
}

impl Unit {
    /// A bound of this unit as a scenario may write it, but for the `/s` of a rate.
    fn shown(self, value: f64) -> String {
        match self {
            Self::Seconds => Duration::try_from_secs_f64(value).map_or_else(|_| format!("{value}s"), written),
            Self::PerSecond => format!("{value}/s"),
            Self::Count | Self::Share => value.to_string(),
        }
    }
}

/// A number that a run has. Written as in `response_time.p99`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// `service_time.p99`, `response_time.p99`, `service_time_unsuccessful.p99`, `lateness.p99`, `phase.tls.p99`.
    Time(Clock, Statistic),
    /// `rate.offered`, `rate.started`, `rate.finished`, `rate.assigned`: per second.
    Rate(Rate),
    /// `outcome.assigned.count`, `outcome.throttled.share`: arrivals that ended so, by the name in the record.
    Outcome(String, Amount),
    /// `unexpected.count`, `unexpected.share`: arrivals that ended otherwise than the scenario means.
    Unexpected(Amount),
    /// `roll_up.line-a.count`, `roll_up.line-a.share`: devices assigned by an enrollment group.
    RollUp(String, Amount),
    /// `retries.count`; `retries.share` is retries per planned arrival.
    Retries(Amount),
    /// `held.dropped.count`, `held.dropped.share`: devices that lost the connection they held.
    Dropped(Amount),
}

/// Times of what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// From start to end; those that got what they were after.
    Service,
    /// From when they were due to their end; those that got what they were after.
    Response,
    /// From start to end; all others.
    Unsuccessful,
    /// From when an arrival could have been started to when it was.
    Lateness,
    /// One phase, by its name in the record.
    Phase(String),
}

/// Which number of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistic {
    /// A quantile, in thousandths: 990 is `p99`, 999 is `p999`.
    Quantile(u16),
    /// The mean.
    Mean,
    /// The longest.
    Max,
}

/// What is counted a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Arrivals that came due.
    Offered,
    /// Attempts started.
    Started,
    /// Attempts ended.
    Finished,
    /// Devices assigned.
    Assigned,
}

/// A number of arrivals, or their share of the planned ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Amount {
    /// How many.
    Count,
    /// How many of those planned, 0 to 1.
    Share,
}

/// The words of statistics. Names by thousandths where a percentage does not do.
const STATISTICS: [(&str, Statistic); 8] = [
    ("p50", Statistic::Quantile(500)),
    ("p75", Statistic::Quantile(750)),
    ("p90", Statistic::Quantile(900)),
    ("p95", Statistic::Quantile(950)),
    ("p99", Statistic::Quantile(990)),
    ("p999", Statistic::Quantile(999)),
    ("mean", Statistic::Mean),
    ("max", Statistic::Max),
];

const RATES: [(&str, Rate); 4] = [
    (Rate::Offered.as_str(), Rate::Offered),
    (Rate::Started.as_str(), Rate::Started),
    (Rate::Finished.as_str(), Rate::Finished),
    (Rate::Assigned.as_str(), Rate::Assigned),
];

const AMOUNTS: [(&str, Amount); 2] =
    [(Amount::Count.as_str(), Amount::Count), (Amount::Share.as_str(), Amount::Share)];

impl Metric {
    /// The phases that can be asked for, by their names in the record.
    pub const PHASES: [&'static str; 9] =
        ["dns", "tcp", "tls", "upgrade", "connect", "subscribe", "register", "wait", "poll"];

    /// The outcomes that can be asked for, by their names in the record.
    pub const OUTCOMES: [&'static str; 11] = [
        "assigned",
        "connected",
        "refused",
        "disabled",
        "failed",
        "throttled",
        "unreachable",
        "timed_out",
        "shed",
        "interrupted",
        "protocol_error",
    ];

    /// Every metric by its name, but for those of groups, which have names of their own.
    pub(crate) fn named() -> Vec<String> {
        let clocks = ["service_time", "response_time", "service_time_unsuccessful", "lateness"];
        let phases = Self::PHASES.map(|phase| format!("phase.{phase}"));
        let clocks = clocks.map(str::to_owned).into_iter().chain(phases);
        let times = clocks.flat_map(|clock| STATISTICS.map(|(word, _)| format!("{clock}.{word}")));
        let rates = RATES.map(|(word, _)| format!("rate.{word}"));
        let outcomes = Self::OUTCOMES.map(|outcome| format!("outcome.{outcome}"));
        let others = ["unexpected", "retries", "held.dropped"].map(str::to_owned);
        let counted = outcomes.into_iter().chain(others);
        let amounts = counted.flat_map(|what| AMOUNTS.map(|(word, _)| format!("{what}.{word}")));
        times.chain(rates).chain(amounts).collect()
    }

    /// What it is measured in.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Time(..) => Unit::Seconds,
            Self::Rate(_) => Unit::PerSecond,
            Self::Outcome(_, amount)
            | Self::Unexpected(amount)
            | Self::RollUp(_, amount)
            | Self::Retries(amount)
            | Self::Dropped(amount) => amount.unit(),
        }
    }

    /// Whether it is about how arrivals ended: a gate on it says what was meant to happen.
    pub const fn is_about_outcomes(&self) -> bool {
        matches!(self, Self::Outcome(..) | Self::Unexpected(_) | Self::RollUp(..))
    }
}

impl Rate {
    /// The rate as a metric spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Assigned => "assigned",
        }
    }
}

impl Amount {
    /// The amount as a metric spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Share => "share",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Self::Count => Unit::Count,
            Self::Share => Unit::Share,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(clock, statistic) => write!(f, "{clock}.{statistic}"),
            Self::Rate(rate) => write!(f, "rate.{}", rate.as_str()),
            Self::Outcome(outcome, amount) => write!(f, "outcome.{outcome}.{}", amount.as_str()),
            Self::Unexpected(amount) => write!(f, "unexpected.{}", amount.as_str()),
            Self::RollUp(group, amount) => write!(f, "roll_up.{group}.{}", amount.as_str()),
            Self::Retries(amount) => write!(f, "retries.{}", amount.as_str()),
            Self::Dropped(amount) => write!(f, "held.dropped.{}", amount.as_str()),
        }
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("service_time"),
            Self::Response => f.write_str("response_time"),
            Self::Unsuccessful => f.write_str("service_time_unsuccessful"),
            Self::Lateness => f.write_str("lateness"),
            Self::Phase(phase) => write!(f, "phase.{phase}"),
        }
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantile(thousandths) if thousandths % 10 == 0 => write!(f, "p{:02}", thousandths / 10),
            Self::Quantile(thousandths) => write!(f, "p{thousandths:03}"),
            Self::Mean => f.write_str("mean"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// Why a text names no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetric {
    /// A word that is none of those that may stand there.
    #[error("`{text}` is no metric: `{found}` is none of {}", quoted(.known))]
    Word {
        /// The text as given.
        text: String,
        /// The word, with whatever stands after it if nothing may.
        found: String,
        /// What may stand there.
        known: Vec<&'static str>,
    },
    /// It ends too early.
    #[error("`{text}` is no metric yet: it goes on with one of {}", quoted(.known))]
    Unfinished {
        /// The text as given.
        text: String,
        /// What may come next.
        known: Vec<&'static str>,
    },
    /// It is about a group that cannot be one.
    #[error("`{text}` is no metric: {cause}")]
    Group {
        /// The text as given.
        text: String,
        /// What is wrong with the group's name.
        cause: InvalidName,
    },
}

impl FromStr for Metric {
    type Err = InvalidMetric;
    fn from_str(text: &str) -> Result<Self, InvalidMetric> {
        let (head, rest) = split(text);
        let statistic = |clock| Ok(Self::Time(clock, pick(text, rest, &STATISTICS)?));
        let amount = || pick(text, rest, &AMOUNTS);
        match head {
            "service_time" => statistic(Clock::Service),
            "response_time" => statistic(Clock::Response),
            "service_time_unsuccessful" => statistic(Clock::Unsuccessful),
            "lateness" => statistic(Clock::Lateness),
            "phase" => {
                let (phase, rest) = split(rest);
                let clock = Clock::Phase(known(text, phase, &Self::PHASES)?.to_owned());
                Ok(Self::Time(clock, pick(text, rest, &STATISTICS)?))
            }
            "rate" => pick(text, rest, &RATES).map(Self::Rate),
            "outcome" => {
                let (outcome, rest) = split(rest);
                let outcome = known(text, outcome, &Self::OUTCOMES)?.to_owned();
                Ok(Self::Outcome(outcome, pick(text, rest, &AMOUNTS)?))
            }
            "unexpected" => amount().map(Self::Unexpected),
            "roll_up" => roll_up(text, rest),
            "retries" => amount().map(Self::Retries),
            "held" => {
                let (what, rest) = split(rest);
                known(text, what, &["dropped"])?;
                pick(text, rest, &AMOUNTS).map(Self::Dropped)
            }
            _ => Err(unknown(text, head, HEADS.to_vec())),
        }
    }
}

const HEADS: [&str; 11] = [
    "service_time",
    "response_time",
    "service_time_unsuccessful",
    "lateness",
    "phase",
    "rate",
    "outcome",
    "unexpected",
    "roll_up",
    "retries",
    "held",
];

/// The name of a group may have dots in it, so what it is asked for is told by the last one.
fn roll_up(text: &str, rest: &str) -> Result<Metric, InvalidMetric> {
    let (group, amount) = rest.rsplit_once('.').unwrap_or((rest, ""));
    let named = EnrollmentGroupId::new(group);
    named.map_err(|cause| InvalidMetric::Group { text: text.to_owned(), cause })?;
    Ok(Metric::RollUp(group.to_owned(), pick(text, amount, &AMOUNTS)?))
}

fn split(text: &str) -> (&str, &str) {
    text.split_once('.').unwrap_or((text, ""))
}

fn pick<T: Copy>(text: &str, found: &str, choices: &[(&'static str, T)]) -> Result<T, InvalidMetric> {
    let choice = choices.iter().find(|(word, _)| *word == found);
    let words = || choices.iter().map(|(word, _)| *word).collect();
    choice.map(|(_, value)| *value).ok_or_else(|| unknown(text, found, words()))
}

fn known(text: &str, found: &str, words: &[&'static str]) -> Result<&'static str, InvalidMetric> {
    let word = words.iter().find(|word| **word == found);
    word.copied().ok_or_else(|| unknown(text, found, words.to_vec()))
}

fn unknown(text: &str, found: &str, known: Vec<&'static str>) -> InvalidMetric {
    let text = text.to_owned();
    if found.is_empty() {
        return InvalidMetric::Unfinished { text, known };
    }
    InvalidMetric::Word { text, found: found.to_owned(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Metric {
        text.parse().unwrap_or_else(|cause| panic!("{cause}"))
    }

    #[test]
    fn every_metric_reads_back_from_what_it_is_written_as() {
        let groups =
            ["line-a", "a.b"].map(|group| AMOUNTS.map(|(word, _)| format!("roll_up.{group}.{word}")));
        let all = [Metric::named(), groups.concat()].concat();
        assert_eq!(all.len(), 13 * 8 + 4 + 16 * 2);
        for text in all {
            assert_eq!(parsed(&text).to_string(), text);
        }
    }

    #[test]
    fn a_metric_is_what_its_words_say_in_its_unit() {
        for (text, metric, unit) in [
            ("response_time.p99", Metric::Time(Clock::Response, Statistic::Quantile(990)), Unit::Seconds),
            ("lateness.p999", Metric::Time(Clock::Lateness, Statistic::Quantile(999)), Unit::Seconds),
            ("phase.tls.max", Metric::Time(Clock::Phase("tls".to_owned()), Statistic::Max), Unit::Seconds),
            ("rate.assigned", Metric::Rate(Rate::Assigned), Unit::PerSecond),
            ("outcome.timed_out.count", Metric::Outcome("timed_out".to_owned(), Amount::Count), Unit::Count),
            ("unexpected.share", Metric::Unexpected(Amount::Share), Unit::Share),
            ("roll_up.a.b.share", Metric::RollUp("a.b".to_owned(), Amount::Share), Unit::Share),
            ("roll_up.count.count", Metric::RollUp("count".to_owned(), Amount::Count), Unit::Count),
            ("retries.share", Metric::Retries(Amount::Share), Unit::Share),
            ("held.dropped.count", Metric::Dropped(Amount::Count), Unit::Count),
        ] {
            let about_outcomes = matches!(text.split('.').next(), Some("outcome" | "unexpected" | "roll_up"));
            assert_eq!(metric.is_about_outcomes(), about_outcomes, "{text}");
            assert_eq!((parsed(text), metric.unit()), (metric, unit), "{text}");
        }
    }

    #[test]
    fn what_is_no_metric_is_told_at_the_word_that_is_wrong() {
        for (text, wrong, may_be) in [
            ("responce_time.p99", "responce_time", "response_time"),
            ("response_time.p98", "p98", "p99"),
            ("response_time.p99.p99", "p99.p99", "p99"),
            ("phase.tsl.p99", "tsl", "tls"),
            ("phase.tls.p9", "p9", "p90"),
            ("rate.asigned", "asigned", "assigned"),
            ("outcome.timed out.count", "timed out", "timed_out"),
            ("outcome.assigned.cuont", "cuont", "count"),
            ("roll_up.line-a.cont", "cont", "count"),
            ("held.droped.count", "droped", "dropped"),
        ] {
            let Err(InvalidMetric::Word { text: given, found, known }) = Metric::from_str(text) else {
                panic!("{text}")
            };
            assert_eq!((given.as_str(), found.as_str()), (text, wrong));
            assert!(known.contains(&may_be), "{text}: {known:?}");
        }
        for text in
            ["", "response_time", "response_time.", "phase", "phase.tls", "outcome.failed", "roll_up.a"]
        {
            assert!(matches!(text.parse::<Metric>(), Err(InvalidMetric::Unfinished { .. })), "{text}");
        }
        for text in ["roll_up", "roll_up.", "roll_up.a b.count", "roll_up..count"] {
            assert!(matches!(text.parse::<Metric>(), Err(InvalidMetric::Group { .. })), "{text}");
        }
    }

    fn gate(metric: &str, at_least: Option<f64>, at_most: Option<f64>) -> Gate {
        let place = Place::Set("gate".to_owned());
        Gate { metric: parsed(metric), at_least, at_most, abort_after: None, place }
    }

    #[test]
    fn a_gate_holds_within_its_bounds_and_at_them() {
        let (p99, share) = ("response_time.p99", "unexpected.share");
        for (gate, value, holds) in [
            (gate(p99, None, Some(0.5)), 0.5, true),
            (gate(p99, None, Some(0.5)), 0.500_001, false),
            (gate(p99, None, Some(0.5)), f64::NAN, false),
            (gate(p99, Some(0.5), None), f64::NAN, false),
            (gate(share, Some(0.1), None), 0.1, true),
            (gate(share, Some(0.1), None), 0.09, false),
            (gate(share, Some(0.1), Some(0.2)), 0.15, true),
            (gate(share, Some(0.1), Some(0.2)), 0.21, false),
            (gate(share, Some(0.1), Some(0.2)), 0.01, false),
        ] {
            assert_eq!(gate.holds(value), holds, "{gate} of {value}");
        }
    }

    #[test]
    fn a_gate_is_shown_in_the_words_of_a_scenario() {
        for (gate, shown) in [
            (gate("response_time.p99", None, Some(0.5)), "response_time.p99 <= 500ms"),
            (gate("phase.tls.max", None, Some(90.0)), "phase.tls.max <= 90s"),
            (gate("lateness.p99", Some(0.017), None), "lateness.p99 >= 17ms"),
            (gate("rate.assigned", Some(200.0), None), "rate.assigned >= 200/s"),
            (gate("rate.assigned", Some(0.5), Some(1.5)), "0.5/s <= rate.assigned <= 1.5/s"),
            (gate("roll_up.a.count", Some(700.0), Some(700.0)), "roll_up.a.count = 700"),
            (gate("outcome.refused.share", None, Some(0.01)), "outcome.refused.share <= 0.01"),
        ] {
            assert_eq!(gate.to_string(), shown);
        }
    }
}
