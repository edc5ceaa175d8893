//! How a run goes, as JSON, an object a second: schema `rollcall.live/1`. Fields are only ever added within a version.

use super::{Header, quantile};
use crate::collector::Glance;
use hdrhistogram::Histogram;
use reports::{GateResult, Outcomes};
use serde::Serialize;
use sim_device::Phase;
use std::collections::BTreeMap;

/// The version of the document.
const SCHEMA: &str = "rollcall.live/1";

/// A moment of a run.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    /// Always `rollcall.live/1`.
    schema: &'static str,
    /// What the run is called.
    name: &'a str,
    /// Where its metrics are served for Prometheus; absent where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<&'a str>,
    /// Since the start.
    elapsed_seconds: f64,
    /// When the last arrival is due; absent where that is not known.
    last_due_seconds: Option<f64>,
    /// Arrivals of this process.
    planned: u64,
    /// Arrivals so far that came due, were started, and came to an end by themselves.
    offered: u64,
    started: u64,
    finished: u64,
    /// Arrivals that came due and wait for a slot.
    waiting: u64,
    /// Attempts in flight.
    in_flight: u64,
    /// Devices that stay connected.
    held: u64,
    /// How arrivals ended so far.
    outcomes: Outcomes,
    /// Arrivals that ended otherwise than the scenario means.
    unexpected: u64,
    /// What was tried again so far.
    retries: u64,
    /// The last whole second.
    last_second: LastSecond,
    /// Gates as they stand.
    gates: &'a [GateResult],
}

/// What happened in a second.
#[derive(Serialize)]
struct LastSecond {
    /// Arrivals a second that were planned; 0 in a closed load, and once all have come.
    planned: f64,
    /// Arrivals that came due.
    offered: u64,
    /// Attempts that were started.
    started: u64,
    /// Attempts that came to an end.
    finished: u64,
    /// What was tried again.
    retries: u64,
    /// Times by clock: `service_time`, `response_time`, `service_time_unsuccessful`, `lateness`. Those that nobody
    /// took are absent.
    clocks: BTreeMap<&'static str, Times>,
    /// Times by phase; those that nobody went through are absent.
    phases: BTreeMap<&'static str, Times>,
    /// Share of the time that the generator was busy, 0 to 1.
    generator_busy: f64,
    /// Share of the time that it could have run and was not let to, 0 to 1.
    generator_starved: f64,
}

/// Times, in microseconds.
#[derive(Serialize)]
struct Times {
    count: u64,
    p50_us: u128,
    p90_us: u128,
    p99_us: u128,
    max_us: u64,
}

/// The document of a moment.
pub(super) fn of<'a>(header: &'a Header, glance: &Glance<'a>) -> Document<'a> {
    let total = glance.total;
    Document {
        schema: SCHEMA,
        name: &header.name,
        metrics: header.metrics.as_deref(),
        elapsed_seconds: glance.elapsed.as_secs_f64(),
        last_due_seconds: header.last_due.map(|due| due.as_secs_f64()),
        planned: glance.planned,
        offered: total.offered,
        started: total.started,
        finished: total.finished,
        waiting: glance.waiting(),
        in_flight: glance.in_flight,
        held: glance.held,
        outcomes: total.outcomes,
        unexpected: total.unexpected,
        retries: total.retries.total(),
        last_second: last_second(glance),
        gates: glance.gates,
    }
}

fn last_second(glance: &Glance<'_>) -> LastSecond {
    let (last, clocks) = (glance.last, &glance.last.clocks);
    let by_clock = [
        ("service_time", &clocks.service),
        ("response_time", &clocks.response),
        ("service_time_unsuccessful", &clocks.unsuccessful),
        ("lateness", &clocks.lateness),
    ];
    let by_phase = Phase::ALL.iter().map(|phase| phase.as_str()).zip(&clocks.phases);
    LastSecond {
        planned: glance.rate_to_come(),
        offered: last.offered,
        started: last.started,
        finished: last.finished,
        retries: last.retries.total(),
        clocks: by_clock.into_iter().filter_map(|(name, all)| Some((name, times(all)?))).collect(),
        phases: by_phase.filter_map(|(name, all)| Some((name, times(all)?))).collect(),
        generator_busy: glance.cpu_share,
        generator_starved: glance.starved_share,
    }
}

fn times(all: &Histogram<u64>) -> Option<Times> {
    let at = |part| quantile(all, part).map(|time| time.as_micros());
    Some(Times {
        count: all.len(),
        p50_us: at(0.5)?,
        p90_us: at(0.9)?,
        p99_us: at(0.99)?,
        max_us: all.max() / 1_000,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{extreme, header, sight};
    use super::*;

    #[test]
    fn a_moment_is_one_object_on_one_line() {
        let sight = sight(1);
        let header = header();
        let text = serde_json::to_string(&of(&header, &sight.glance())).expect("JSON");
        assert!(!text.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for (pointer, expected) in [
            ("/schema", "\"rollcall.live/1\""),
            ("/planned", "72000"),
            ("/waiting", "120"),
            ("/outcomes/assigned", "14300"),
            ("/last_second/offered", "1200"),
            ("/last_second/phases/tls/count", "1"),
            ("/gates/1/passed", "false"),
        ] {
            assert_eq!(
                read.pointer(pointer).map(ToString::to_string).as_deref(),
                Some(expected),
                "{pointer}"
            );
        }
        let tls = read.pointer("/last_second/phases/tls/p99_us").and_then(serde_json::Value::as_u64);
        assert!(tls.is_some_and(|us| us.abs_diff(3_000) <= 3), "{tls:?}");
        assert!(read.pointer("/last_second/phases/dns").is_none());
        assert!(serde_json::to_string(&of(&header, &extreme().glance())).is_ok());
    }
}
