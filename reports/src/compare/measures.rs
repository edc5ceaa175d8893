//! The metrics of one run, by the names that gates have for them, and what is wanted of each.

use crate::PhaseStats;
use crate::record::{Capacity, OutcomeKind, Record};

/// One metric of one run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measure {
    pub(super) metric: String,
    /// `s`, `/s` or `share`.
    pub(super) unit: &'static str,
    pub(super) value: f64,
    pub(super) wanted: Wanted,
    pub(super) noise: Noise,
}

/// What a better value would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Less,
    More,
    /// Less is worse, and more is nothing to praise.
    NotLess,
    /// It is called slower or faster, and fails nothing.
    Evidence,
    /// It is shown.
    Nothing,
    /// It is shown: there are too few arrivals for it.
    MoreArrivals,
}

/// What a metric's noise is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Noise {
    /// A time or a rate: how often its floor counts, the seconds that tell its spread, and the least difference that
    /// matters.
    Time { tail: f64, series: Option<Series>, least: f64 },
    /// What happens once an arrival at most, of so many arrivals.
    Share { of: f64 },
    /// What can happen more than once an arrival, of so many arrivals.
    PerArrival { of: f64 },
    /// What was searched for, and by what part of it searches differed.
    Interval { part: f64 },
}

impl Noise {
    pub(super) const fn least(self) -> Option<f64> {
        if let Self::Time { least, .. } = self { Some(least) } else { None }
    }

    pub(super) const fn interval(self) -> Option<f64> {
        if let Self::Interval { part } = self { Some(part) } else { None }
    }

    /// The arrivals that it is a share of.
    pub(super) const fn of(self) -> Option<f64> {
        match self {
            Self::Share { of } | Self::PerArrival { of } => Some(of),
            Self::Time { .. } | Self::Interval { .. } => None,
        }
    }
}

/// A percentile of each second, by its place in [`crate::Second::service_us`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Series {
    Service(usize),
    Response(usize),
}

/// ours: times differ by so much, in seconds, from one run to the next for what else a machine does: it wakes a thread
/// up some milliseconds late. More of a tail, which is made of just those.
const LEAST_TIME: f64 = 0.002;
const LEAST_TAIL: f64 = 0.005;
/// ours: the part of a whole attempt that a phase has to change by. One that is short in any case, the TCP handshake
/// say, may well double without anybody noticing.
const PART_OF_ATTEMPT: f64 = 0.05;

/// A percentile: its name, the samples without which it is only shown, how often its floor counts, and its place in
/// the seconds.
struct Percentile {
    name: &'static str,
    value: fn(&PhaseStats) -> u64,
    samples: u64,
    tail: f64,
    place: usize,
    least: f64,
    /// What is wanted of a clock's.
    wanted: Wanted,
}

/// ours: ten samples are to lie beyond a tail, and more in a half.
const PERCENTILES: [Percentile; 4] = [
    Percentile {
        name: "p50",
        value: |stats| stats.p50_us,
        samples: 30,
        tail: 1.0,
        place: 0,
        least: LEAST_TIME,
        wanted: Wanted::Less,
    },
    Percentile {
        name: "p90",
        value: |stats| stats.p90_us,
        samples: 100,
        tail: 1.0,
        place: 1,
        least: LEAST_TAIL,
        wanted: Wanted::Less,
    },
    Percentile {
        name: "p99",
        value: |stats| stats.p99_us,
        samples: 1_000,
        tail: 2.0,
        place: 2,
        least: LEAST_TAIL,
        wanted: Wanted::Less,
    },
    Percentile {
        name: "p999",
        value: |stats| stats.p999_us,
        samples: 10_000,
        tail: 3.0,
        place: 2,
        least: LEAST_TAIL,
        wanted: Wanted::Evidence,
    },
];

/// The metrics of a run, in the order of reports.
pub(super) fn of(record: &Record) -> Vec<Measure> {
    let clocks = &record.clocks;
    let mut all: Vec<Measure> = capacity(record).into_iter().collect();
    all.extend(clock("response_time", &clocks.response_time, Series::Response));
    all.extend(clock("service_time", &clocks.service_time, Series::Service));
    all.extend(record.phases.iter().flat_map(|stats| phase(stats, &clocks.service_time)));
    all.extend(rate(record));
    all.extend(shares(record));
    // A search tries rates of its own: what its best trial measured is that of another load.
    if record.capacity.is_some() {
        all.iter_mut().skip(1).for_each(|measure| measure.wanted = Wanted::Nothing);
    }
    all
}

fn capacity(record: &Record) -> Option<Measure> {
    let Capacity { rate, interval: [low, high], limited_by, .. } = record.capacity.as_ref()?;
    let part = if *rate > 0.0 { (high - low).max(0.0) / rate } else { 0.0 };
    Some(Measure {
        metric: "capacity.rate".to_owned(),
        unit: "/s",
        value: *rate,
        // Where the generator was the limit, it is the generator's.
        wanted: if limited_by == "generator" { Wanted::Nothing } else { Wanted::More },
        noise: Noise::Interval { part },
    })
}

/// The times of attempts as a whole.
fn clock(name: &str, stats: &PhaseStats, series: fn(usize) -> Series) -> Vec<Measure> {
    if stats.count == 0 {
        return Vec::new();
    }
    let judged = PERCENTILES.iter().map(|p| percentile(name, p, stats, series(p.place), p.least, p.wanted));
    let shown = [("mean", stats.mean_us), ("max", stats.max_us as f64)].map(|(statistic, us)| Measure {
        metric: format!("{name}.{statistic}"),
        unit: "s",
        value: us / 1e6,
        wanted: Wanted::Nothing,
        noise: Noise::Time { tail: 1.0, series: None, least: LEAST_TIME },
    });
    judged.chain(shown).collect()
}

/// The times of a phase. Seconds have none of theirs, so they are as noisy as the whole attempt.
fn phase(stats: &PhaseStats, attempt: &PhaseStats) -> Vec<Measure> {
    let told = PERCENTILES.iter().filter(|p| stats.count > 0 && matches!(p.name, "p50" | "p99"));
    let measure = |p: &Percentile| {
        let least = p.least.max((p.value)(attempt) as f64 / 1e6 * PART_OF_ATTEMPT);
        let name = format!("phase.{}", stats.phase);
        percentile(&name, p, stats, Series::Service(p.place), least, Wanted::Evidence)
    };
    told.map(measure).collect()
}

fn percentile(
    name: &str,
    p: &Percentile,
    stats: &PhaseStats,
    series: Series,
    least: f64,
    wanted: Wanted,
) -> Measure {
    Measure {
        metric: format!("{name}.{}", p.name),
        unit: "s",
        value: (p.value)(stats) as f64 / 1e6,
        wanted: if stats.count < p.samples { Wanted::MoreArrivals } else { wanted },
        noise: Noise::Time { tail: p.tail, series: Some(series), least },
    }
}

/// Arrivals that got what they were after, a second. Of a closed load it is what the service reaches; of an open one the
/// schedule's, which a service can only fall behind.
fn rate(record: &Record) -> Option<Measure> {
    let wanted = match record.model.as_str() {
        // Over the time in which any of the shards ran it is no rate of the whole.
        _ if record.throughput.shards_apart => Wanted::Nothing,
        "closed" => Wanted::More,
        _ => Wanted::NotLess,
    };
    // In flight, the rate of a closed load is the inverse of the service time: it is as noisy.
    let value = record.throughput.per_second;
    let least = least_rate(value, record);
    let noise = Noise::Time { tail: 1.0, series: Some(Series::Service(0)), least };
    (record.wall_seconds > 0.0).then(|| Measure {
        metric: "rate.assigned".to_owned(),
        unit: "/s",
        value,
        wanted,
        noise,
    })
}

/// By how much a rate differs because attempts, or the last one of an open load, end [`LEAST_TIME`] later.
fn least_rate(rate: f64, record: &Record) -> f64 {
    let seconds = match record.model.as_str() {
        "closed" => record.clocks.service_time.mean_us / 1e6,
        _ => record.wall_seconds,
    };
    rate * LEAST_TIME / (seconds + LEAST_TIME)
}

/// What became of the arrivals that were planned.
fn shares(record: &Record) -> Vec<Measure> {
    let of = record.planned as f64;
    if record.planned == 0 {
        return Vec::new();
    }
    let share = |metric: String, count: u64, wanted| Measure {
        metric,
        unit: "share",
        value: count as f64 / of,
        wanted,
        noise: Noise::Share { of },
    };
    let outcome = |kind: &OutcomeKind| {
        let metric = format!("outcome.{}.share", kind.as_str().replace(' ', "_"));
        // More may be devices that were to be kept out: `unexpected.share` judges that.
        let wanted = match kind {
            OutcomeKind::Assigned | OutcomeKind::Connected => Wanted::NotLess,
            _ => Wanted::Nothing,
        };
        share(metric, record.outcomes.count(*kind), wanted)
    };
    let unexpected = record.reasons.iter().filter(|reason| !reason.expected).map(|reason| reason.count).sum();
    let dropped = record.held.map(|held| held.dropped);
    let retries = record.retries.total();
    let mut all: Vec<Measure> = OutcomeKind::ALL.iter().map(outcome).collect();
    all.push(share("unexpected.share".to_owned(), unexpected, Wanted::Less));
    all.push(Measure {
        noise: Noise::PerArrival { of },
        ..share("retries.share".to_owned(), retries, Wanted::Less)
    });
    all.extend(dropped.map(|dropped| share("held.dropped.share".to_owned(), dropped, Wanted::Less)));
    all
}
