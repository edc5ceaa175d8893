//! Whether a record says the same everywhere. One that does not was edited, or damaged on its way: the program never
//! writes it.
//!
//! Numbers are made anew from what they were made of: percentiles from their histogram, flags from the numbers they
//! are about, a verdict from the gates. Sums that do not add up are something else where the verdict says so: then the
//! run itself went wrong.

use crate::PhaseStats;
use crate::record::{Check, Ended, GateResult, Record, Throughput, Verdict, VerdictKind};
use crate::sums::Sum;

/// Something in a record that contradicts the rest of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistency {
    /// A sum does not add up, and the verdict does not say so.
    #[error("{}: expected {}, found {}", .0.name, .0.expected, .0.actual)]
    Sum(Sum),
    /// The numbers of a phase or clock are not those of its histogram.
    #[error("the {name} of `{times}` is {stated}, and {made_anew} by its histogram")]
    Times {
        /// The phase or clock.
        times: String,
        /// Which number: `count`, `p99_us`.
        name: &'static str,
        /// The number in the record.
        stated: String,
        /// The number by the histogram.
        made_anew: String,
    },
    /// Arrivals got through, and no phase of any of them is there.
    #[error("{ended} arrivals got through, and the record has no phase of any of them")]
    NoPhases {
        /// How many.
        ended: u64,
    },
    /// A histogram cannot be read, so nothing stands for its numbers.
    #[error("the histogram of `{times}` cannot be read: {why}")]
    Histogram {
        /// The phase or clock.
        times: String,
        /// Why.
        why: String,
    },
    /// The throughput is not that of the devices and the time.
    #[error("the throughput is {stated} devices/s, and {made_anew} by devices and time")]
    Throughput {
        /// As in the record.
        stated: String,
        /// From outcomes and window.
        made_anew: String,
    },
    /// A count of the client's is said to agree with the service's and does not, or the other way round.
    #[error("client ({client}) and service ({service}) are said to {} on `{name}`", agreeing(*.agrees))]
    Agreement {
        /// What was counted.
        name: String,
        /// The client's count.
        client: u64,
        /// The service's count.
        service: u64,
        /// What the record says.
        agrees: bool,
    },
    /// A gate is said to be met and was not, or the other way round.
    #[error("the gate `{gate}` is said to be {}, which what was measured contradicts", met(*.passed))]
    Gate {
        /// The gate.
        gate: String,
        /// What the record says.
        passed: bool,
    },
    /// What a gate is said to have measured is not what the record says of it.
    #[error("the gate `{gate}` is said to have measured {stated}, and the record has {made_anew}")]
    Measured {
        /// The gate.
        gate: String,
        /// The number in the gate.
        stated: String,
        /// The number by the record.
        made_anew: String,
    },
    /// The verdict is good, and something that it depends on is not.
    #[error("the verdict is good, and {contradiction}")]
    Verdict {
        /// What speaks against it.
        contradiction: String,
    },
}

impl Inconsistency {
    /// Whether it is what a gate says that is contradicted.
    fn is_about(&self, result: &GateResult) -> bool {
        match self {
            Self::Gate { gate, .. } | Self::Measured { gate, .. } => *gate == result.gate,
            _ => false,
        }
    }
}

fn agreeing(agrees: bool) -> &'static str {
    if agrees { "agree" } else { "differ" }
}

fn met(passed: bool) -> &'static str {
    if passed { "met" } else { "missed" }
}

/// Everything in a record that contradicts the rest of it; nothing in a record as the program wrote it.
///
/// What a gate measured is left to who knows what its metric means: [`Inconsistency::Measured`].
pub fn inconsistencies(record: &Record) -> Vec<Inconsistency> {
    let mut found = unsaid_sums(record);
    found.extend(times(record));
    found.extend(no_phases(record));
    found.extend(throughput(record));
    found.extend(record.reconciliation.iter().filter_map(agreement));
    found.extend(record.gates.iter().filter_map(gate));
    found.extend(verdict(record));
    found
}

/// The record as it is to be shown: as it is, or, where it contradicts itself, as one that nothing stands for.
#[must_use]
pub fn labelled(record: &Record, found: &[Inconsistency]) -> Record {
    let mut record = record.clone();
    if !found.is_empty() {
        let reasons = found.iter().map(|what| format!("edited or damaged: {what}"));
        let reasons = reasons.chain(std::mem::take(&mut record.verdict.reasons)).collect();
        record.verdict = Verdict { kind: VerdictKind::Invalid, reasons };
        for gate in record.gates.iter_mut().filter(|gate| found.iter().any(|what| what.is_about(gate))) {
            gate.metric.push_str(" (contradicted)");
        }
    }
    record
}

/// Sums that do not add up in a record whose verdict was reached by adding them up.
fn unsaid_sums(record: &Record) -> Vec<Inconsistency> {
    let ended = matches!(record.ended, Ended::Completed | Ended::EndedByGate);
    let said = matches!(record.verdict.kind, VerdictKind::Invalid | VerdictKind::Interrupted);
    if !ended || said {
        return Vec::new();
    }
    record.check().into_iter().map(Inconsistency::Sum).collect()
}

fn times(record: &Record) -> Vec<Inconsistency> {
    let clocks = &record.clocks;
    let clocks = [
        ("service time", &clocks.service_time),
        ("response time", &clocks.response_time),
        ("service time, unsuccessful", &clocks.service_time_unsuccessful),
        ("lateness", &clocks.lateness),
    ];
    let phases = record.phases.iter().map(|stats| (stats.phase.as_str(), stats));
    let answers = record.held_answers.iter().map(|stats| ("held answers", stats));
    let conversations = record.held_conversations.iter().map(|stats| ("held conversations", stats));
    clocks
        .into_iter()
        .chain(phases)
        .chain(answers)
        .chain(conversations)
        .flat_map(|(name, stats)| of_times(name, stats))
        .collect()
}

/// Whoever got through went through a phase. Others may have ended before the first.
fn no_phases(record: &Record) -> Option<Inconsistency> {
    let ended = record.outcomes.assigned + record.outcomes.connected;
    let missing = record.finished > 0 && ended > 0 && record.phases.is_empty();
    missing.then_some(Inconsistency::NoPhases { ended })
}

/// Which numbers are not those of the histogram.
fn of_times(times: &str, stats: &PhaseStats) -> Vec<Inconsistency> {
    let anew = stats.histogram().and_then(|values| PhaseStats::from_histogram("", &values));
    let anew = match anew {
        Ok(anew) => anew,
        Err(why) => {
            return vec![Inconsistency::Histogram { times: times.to_owned(), why: why.to_string() }];
        }
    };
    let counts = |s: &PhaseStats| [s.count, s.p50_us, s.p90_us, s.p99_us, s.p999_us, s.max_us];
    let names = ["count", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"];
    let differs = |name, stated: String, made_anew: String| Inconsistency::Times {
        times: times.to_owned(),
        name,
        stated,
        made_anew,
    };
    let pairs = names.into_iter().zip(counts(stats).into_iter().zip(counts(&anew)));
    let counts = pairs.filter(|(_, (stated, anew))| stated != anew);
    let counts = counts.map(|(name, (stated, anew))| differs(name, stated.to_string(), anew.to_string()));
    let mean = (!close(stats.mean_us, anew.mean_us))
        .then(|| differs("mean_us", stats.mean_us.to_string(), anew.mean_us.to_string()));
    counts.chain(mean).collect()
}

/// Whether two numbers are the same but for the last digits, which depend on the order of additions.
fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

fn throughput(record: &Record) -> Option<Inconsistency> {
    let anew = Throughput::of(record.outcomes.assigned + record.outcomes.connected, record.wall_seconds);
    let stated = record.throughput;
    let same = close(stated.per_second, anew.per_second)
        && close(stated.devices_per_minute, anew.devices_per_minute);
    (!same).then(|| Inconsistency::Throughput {
        stated: stated.per_second.to_string(),
        made_anew: anew.per_second.to_string(),
    })
}

fn agreement(check: &Check) -> Option<Inconsistency> {
    let Check { ref name, client, service, agrees, .. } = *check;
    (agrees != check.counts_agree()).then(|| Inconsistency::Agreement {
        name: name.clone(),
        client,
        service,
        agrees,
    })
}

fn gate(gate: &GateResult) -> Option<Inconsistency> {
    let met = gate.measured.is_some_and(|measured| {
        gate.at_least.is_none_or(|least| measured >= least)
            && gate.at_most.is_none_or(|most| measured <= most)
    });
    (gate.passed != met).then(|| Inconsistency::Gate { gate: gate.gate.clone(), passed: gate.passed })
}

fn verdict(record: &Record) -> Option<Inconsistency> {
    if record.verdict.kind != VerdictKind::Good {
        return None;
    }
    let failed = record.gates.iter().find(|gate| !gate.passed || gate.aborted_at.is_some());
    let stopped = matches!(record.ended, Ended::Interrupted | Ended::Aborted);
    let contradiction = match (failed, stopped) {
        (Some(gate), _) => format!("the gate `{}` failed", gate.gate),
        (None, true) => "the run was stopped early".to_owned(),
        (None, false) => return None,
    };
    Some(Inconsistency::Verdict { contradiction })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Shard;
    use crate::view::tests::{demo, gate, times_of};

    #[test]
    fn a_record_as_it_was_written_contradicts_nothing() {
        let shard = |index| Record {
            shard: Some(Shard { index, count: 2 }),
            started_utc: "2026-07-01T10:00:00Z".to_owned(),
            held_answers: Some(times_of("held answers", 3, 7)),
            held_conversations: Some(times_of("held conversations", 3, 9)),
            ..demo()
        };
        let merged = crate::merge(&[shard(1), shard(2)]).expect("one run");
        for record in [demo(), shard(1), merged, Record::default()] {
            assert_eq!(inconsistencies(&record), []);
            let read = Record::from_json(
                &Record { schema: crate::SCHEMA.to_owned(), ..record }.to_json().expect("JSON"),
            );
            assert_eq!(inconsistencies(&read.expect("a record")), []);
        }
    }

    /// An edit, and whether it is what was found.
    type Edit = (&'static str, fn(&mut Record), fn(&Inconsistency) -> bool);

    const EDITS: [Edit; 17] = [
        ("all phases", |r| r.phases.clear(), |i| matches!(i, Inconsistency::NoPhases { ended: 10_000 })),
        ("an outcome", |r| r.outcomes.throttled += 1, |i| matches!(i, Inconsistency::Sum(_))),
        ("a second", |r| r.per_second[0].started += 1, |i| matches!(i, Inconsistency::Sum(_))),
        (
            "p99",
            |r| r.clocks.response_time.p99_us /= 2,
            |i| matches!(i, Inconsistency::Times { name: "p99_us", .. }),
        ),
        (
            "a phase",
            |r| r.phases[1].max_us -= 1,
            |i| matches!(i, Inconsistency::Times { name: "max_us", .. }),
        ),
        (
            "a mean",
            |r| r.phases[1].mean_us *= 0.99,
            |i| matches!(i, Inconsistency::Times { name: "mean_us", .. }),
        ),
        ("a count", |r| r.phases[1].count += 1, |i| matches!(i, Inconsistency::Times { name: "count", .. })),
        (
            "a number of nothing",
            |r| r.clocks.lateness.p50_us = 1,
            |i| matches!(i, Inconsistency::Times { .. }),
        ),
        (
            "a histogram",
            |r| r.phases[0].histogram = "AAAA".to_owned(),
            |i| matches!(i, Inconsistency::Histogram { .. }),
        ),
        ("a unit", |r| r.phases[0].unit = "us".to_owned(), |i| matches!(i, Inconsistency::Histogram { .. })),
        ("throughput", |r| r.throughput.per_second *= 2.0, |i| matches!(i, Inconsistency::Throughput { .. })),
        ("the window", |r| r.wall_seconds = 2.0, |i| matches!(i, Inconsistency::Throughput { .. })),
        (
            "an agreement",
            |r| r.reconciliation[0].agrees = false,
            |i| matches!(i, Inconsistency::Agreement { .. }),
        ),
        (
            "a missed gate",
            |r| r.gates = vec![GateResult { passed: true, ..gate("m", "s", Some(2.0), 1.0) }],
            |i| matches!(i, Inconsistency::Gate { passed: true, .. }),
        ),
        (
            "a gate of nothing",
            |r| r.gates = vec![GateResult { passed: true, ..gate("m", "s", None, 1.0) }],
            |i| matches!(i, Inconsistency::Gate { .. }),
        ),
        (
            "a verdict",
            |r| r.gates = vec![gate("m", "s", Some(2.0), 1.0)],
            |i| matches!(i, Inconsistency::Verdict { .. }),
        ),
        ("an end", |r| r.ended = Ended::Interrupted, |i| matches!(i, Inconsistency::Verdict { .. })),
    ];

    #[test]
    fn each_edit_is_found_and_nothing_else() {
        for (what, edit, is) in EDITS {
            let mut record = demo();
            edit(&mut record);
            let found = inconsistencies(&record);
            assert!(found.len() == 1 && is(&found[0]), "{what}: {found:?}");
        }
    }

    #[test]
    fn sums_that_a_verdict_tells_of_are_the_runs_and_not_an_edit() {
        let mut record = demo();
        record.outcomes.throttled += 1;
        for (kind, found) in [
            (VerdictKind::Invalid, 0),
            (VerdictKind::Good, 1),
            (VerdictKind::GateFailed, 1),
            (VerdictKind::GeneratorLimited, 1),
        ] {
            record.verdict.kind = kind;
            assert_eq!(inconsistencies(&record).len(), found, "{kind:?}");
        }
    }

    #[test]
    fn a_record_that_contradicts_itself_is_shown_as_invalid_and_why() {
        let mut record = demo();
        assert_eq!(labelled(&record, &inconsistencies(&record)), record);
        record.clocks.response_time.p99_us = 1;
        record.verdict = Verdict { kind: VerdictKind::GateFailed, reasons: vec!["a gate".to_owned()] };
        let shown = labelled(&record, &inconsistencies(&record));
        assert_eq!((shown.verdict.kind, shown.verdict.reasons.len()), (VerdictKind::Invalid, 2));
        assert_eq!(shown.verdict.reasons[1], "a gate");
    }

    #[test]
    fn a_gate_that_is_contradicted_is_marked_and_no_other() {
        let mut record = demo();
        record.gates = vec![gate("m", "s", Some(2.0), 1.0), gate("n", "s", Some(0.5), 1.0)];
        (record.gates[0].gate, record.gates[0].passed) = ("m <= 1s".to_owned(), true);
        let shown = labelled(&record, &inconsistencies(&record));
        let marked: Vec<bool> =
            shown.gates.iter().zip(&record.gates).map(|(shown, gate)| shown.metric != gate.metric).collect();
        assert_eq!(marked, [true, false]);
    }
}
