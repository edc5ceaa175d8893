//! What there is to count and to measure of a running load, by name: counters since the start, gauges of this moment, and
//! times of the last whole second.

use crate::collector::Glance;
use hdrhistogram::Histogram;
use reports::OutcomeKind;
use sim_device::Phase;

/// The quantiles of times.
pub(super) const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 0.999];

/// What kind of number something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Comes and goes.
    Gauge,
    /// Times, in seconds: quantiles of the last whole second, sum and number since the start.
    Summary,
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole one.
    Count(u64),
    /// Any other.
    Level(f64),
    /// Times, in seconds.
    Times {
        /// The times at the quantiles 0.5, 0.9, 0.99 and 0.999 in the last whole second; nothing where there were none.
        quantiles: Option<[f64; 4]>,
        /// Their sum since the start.
        sum: f64,
        /// How many there were since the start.
        count: u64,
    },
}

/// One number of a family.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What tells it from the others of its family.
    pub labels: Vec<(&'static str, String)>,
    /// The number.
    pub value: Value,
}

/// Numbers of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Lower case and underscores; says nothing of kind and unit.
    pub name: &'static str,
    /// What it means, a sentence.
    pub help: &'static str,
    /// `seconds`, or empty for what is counted.
    pub unit: &'static str,
    /// What kind of numbers.
    pub kind: Kind,
    /// The numbers.
    pub samples: Vec<Sample>,
}

/// Everything there is, in a fixed order; the same families at every moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// By name.
    pub families: Vec<Family>,
}

impl Numbers {
    /// The numbers of a moment.
    pub fn of(glance: &Glance<'_>) -> Self {
        let families = [counters(glance), gauges(glance), times(glance)];
        Numbers { families: families.into_iter().flatten().collect() }
    }
}

fn one(value: Value) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value }]
}

fn labelled(label: &'static str, value: impl Into<String>, number: Value) -> Sample {
    Sample { labels: vec![(label, value.into())], value: number }
}

fn counters(glance: &Glance<'_>) -> Vec<Family> {
    let total = glance.total;
    let family = |name, help, samples| Family { name, help, unit: "", kind: Kind::Counter, samples };
    let count = |number| one(Value::Count(number));
    vec![
        family("arrivals_offered", "Arrivals that came due.", count(total.offered)),
        family("attempts_started", "Attempts that were started.", count(total.started)),
        family("attempts_finished", "Attempts that came to an end by themselves.", count(total.finished)),
        family("arrivals_ended", "Arrivals that ended, each once, by outcome.", outcomes(glance)),
        family(
            "arrivals_unexpected",
            "Arrivals that ended otherwise than the scenario means.",
            count(total.unexpected),
        ),
        family("retries", "What was tried again, by cause.", retries(glance)),
        family("held_dropped", "Devices that lost the connection they held.", count(total.held.dropped)),
    ]
}

/// Every outcome, those that did not happen too: a series that appears late looks like a jump.
fn outcomes(glance: &Glance<'_>) -> Vec<Sample> {
    let sample = |kind: &OutcomeKind| {
        let name = kind.as_str().replace(' ', "_");
        labelled("outcome", name, Value::Count(glance.total.outcomes.count(*kind)))
    };
    OutcomeKind::ALL.iter().map(sample).collect()
}

fn retries(glance: &Glance<'_>) -> Vec<Sample> {
    let retries = &glance.total.retries;
    let causes = [
        ("throttled", retries.throttled),
        ("server_error", retries.server_error),
        ("connection", retries.connection),
        ("timeout", retries.timeout),
    ];
    causes.into_iter().map(|(cause, count)| labelled("cause", cause, Value::Count(count))).collect()
}

fn gauges(glance: &Glance<'_>) -> Vec<Family> {
    let family = |name, help, unit, samples| Family { name, help, unit, kind: Kind::Gauge, samples };
    let level = |number| one(Value::Level(number));
    let count = |number| one(Value::Count(number));
    let gates = glance
        .gates
        .iter()
        .map(|gate| labelled("gate", gate.gate.clone(), Value::Count(u64::from(gate.passed))));
    vec![
        family("elapsed", "Time since the start.", "seconds", level(glance.elapsed.as_secs_f64())),
        family("arrivals_planned", "Arrivals of this process.", "", count(glance.planned)),
        family(
            "planned_rate",
            "Arrivals a second that are planned at this moment; 0 in a closed load, and once all have come.",
            "",
            level(glance.rate_to_come()),
        ),
        family(
            "arrivals_waiting",
            "Arrivals that came due and wait for a slot.",
            "",
            count(glance.waiting()),
        ),
        family("in_flight", "Attempts in flight.", "", count(glance.in_flight)),
        family("held", "Devices that stay connected.", "", count(glance.held)),
        family(
            "generator_busy_ratio",
            "Share of the last second that the generator was busy, 0 to 1.",
            "",
            level(glance.cpu_share),
        ),
        family(
            "generator_starved_ratio",
            "Share of the last second that the generator could have run and was not let to, 0 to 1.",
            "",
            level(glance.starved_share),
        ),
        family("gate_met", "Whether a gate is met as it stands, 1 or 0.", "", gates.collect()),
    ]
}

fn times(glance: &Glance<'_>) -> Vec<Family> {
    let (total, last) = (&glance.total.clocks, &glance.last.clocks);
    let family = |name, help, samples| Family { name, help, unit: "seconds", kind: Kind::Summary, samples };
    let phases = Phase::ALL.iter().zip(total.phases.iter().zip(&last.phases));
    let phases = phases.map(|(phase, (all, last))| labelled("phase", phase.as_str(), summary(all, last)));
    let clock = |all, last| one(summary(all, last));
    vec![
        family("phase", "Times of each phase of an attempt.", phases.collect()),
        family(
            "service_time",
            "From start to end; devices that got what they were after.",
            clock(&total.service, &last.service),
        ),
        family(
            "response_time",
            "From when they were due to their end; devices that got what they were after.",
            clock(&total.response, &last.response),
        ),
        family(
            "service_time_unsuccessful",
            "From start to end; all other devices.",
            clock(&total.unsuccessful, &last.unsuccessful),
        ),
        family(
            "lateness",
            "From when an arrival could have been started to when it was; open loads alone.",
            clock(&total.lateness, &last.lateness),
        ),
    ]
}

fn summary(all: &Histogram<u64>, last: &Histogram<u64>) -> Value {
    let at = |quantile| last.value_at_quantile(quantile).min(last.max()) as f64 / 1e9;
    Value::Times {
        quantiles: (!last.is_empty()).then(|| QUANTILES.map(at)),
        sum: all.mean() * all.len() as f64 / 1e9,
        count: all.len(),
    }
}
