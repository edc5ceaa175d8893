//! What a report says, in the order in which it says it, before it is text or a page.
//!
//! Both renderings are made from these sections, so they cannot say different things.

use crate::PhaseStats;
use crate::record::{Check, OutcomeKind, Record, VerdictKind};

/// A table under a heading.
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) note: String,
    pub(crate) head: Vec<&'static str>,
    /// How many columns, from the left, hold text; the others hold numbers.
    pub(crate) words: usize,
    pub(crate) rows: Vec<Vec<String>>,
}

/// A number with thousands separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with thousands separators and one decimal.
pub(crate) fn decimal(number: f64) -> String {
    let tenths = (number.max(0.0) * 10.0).round() as u64;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// Microseconds as milliseconds.
fn milliseconds(microseconds: u64) -> String {
    format!("{}.{:03}", grouped(microseconds / 1_000), microseconds % 1_000)
}

/// One or many of a thing.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// The verdict in words.
pub(crate) fn verdict(record: &Record) -> &'static str {
    match record.verdict.kind {
        VerdictKind::Good => "GOOD",
        VerdictKind::GateFailed => "GATE FAILED",
        VerdictKind::Invalid => "INVALID",
        VerdictKind::Interrupted => "INTERRUPTED",
    }
}

/// How the plan splits up: `10,000 assigned + 6 refused = 10,006 planned`.
pub(crate) fn totals(record: &Record) -> String {
    let always = [OutcomeKind::Assigned, OutcomeKind::Refused];
    let named =
        OutcomeKind::ALL.iter().filter(|kind| always.contains(kind) || record.outcomes.count(**kind) > 0);
    let parts: Vec<_> =
        named.map(|kind| format!("{} {}", grouped(record.outcomes.count(*kind)), kind.as_str())).collect();
    let (sum, planned) = (record.outcomes.total(), grouped(record.planned));
    match sum == record.planned {
        true => format!("{} = {planned} planned", parts.join(" + ")),
        false => format!("{} = {}, NOT the {planned} planned", parts.join(" + "), grouped(sum)),
    }
}

/// What the scenario should lead to, beside what it led to.
pub(crate) fn expected(record: &Record) -> String {
    let others = record.outcomes.total() - record.outcomes.assigned;
    let (assigned, refused) = (grouped(record.expectations.assigned), grouped(record.expectations.refused));
    let as_expected = record.expectations.assigned == record.outcomes.assigned
        && record.expectations.refused == others
        && record.reasons.iter().all(|reason| reason.expected);
    let end = if as_expected { "as expected" } else { "NOT as expected" };
    format!("expected {assigned} assigned, {refused} not: {end}")
}

/// How fast it went.
pub(crate) fn throughput(record: &Record) -> String {
    format!(
        "{} devices/s, {} devices/min assigned over {} s (minting took {} s before)",
        decimal(record.throughput.per_second),
        decimal(record.throughput.devices_per_minute),
        decimal(record.wall_seconds),
        decimal(record.minting_seconds),
    )
}

/// Which devices rolled up to which group, and were assigned to which hub.
pub(crate) fn roll_up(record: &Record) -> Table {
    let row = |way: &crate::RollUp| {
        let path = [std::slice::from_ref(&way.root), &way.path].concat().join(" > ");
        let differs = way.expected.is_some_and(|expected| expected != way.actual);
        let mark = if differs { "differs" } else { "" };
        vec![
            format!("{path} > {} > {}", way.group, way.hub),
            way.expected.map_or_else(|| "-".to_owned(), grouped),
            grouped(way.actual),
            mark.to_owned(),
        ]
    };
    Table {
        title: "Roll-up",
        note: "root > intermediates > enrollment group > hub".to_owned(),
        head: vec!["way", "expected", "actual", ""],
        words: 1,
        rows: record.roll_up.iter().map(row).collect(),
    }
}

/// How long phases took, and attempts as a whole.
pub(crate) fn times(record: &Record) -> Table {
    let row = |phase: &PhaseStats| {
        let mut row = vec![phase.phase.clone(), grouped(phase.count)];
        let times = [phase.p50_us, phase.p90_us, phase.p99_us, phase.p999_us, phase.max_us];
        row.extend(times.map(milliseconds));
        row
    };
    let clocks = [
        ("service time", &record.clocks.service_time),
        ("response time", &record.clocks.response_time),
        ("service time, not assigned", &record.clocks.service_time_unsuccessful),
    ];
    let named =
        |(name, clock): (&str, &PhaseStats)| row(&PhaseStats { phase: name.to_owned(), ..clock.clone() });
    Table {
        title: "Times in milliseconds",
        note: "service time counts from the start of an attempt, response time from when it was due"
            .to_owned(),
        head: vec!["phase", "count", "p50", "p90", "p99", "p99.9", "max"],
        words: 1,
        rows: record.phases.iter().map(row).chain(clocks.into_iter().map(named)).collect(),
    }
}

/// The client's counts beside the service's, those that differ first.
pub(crate) fn reconciliation(record: &Record) -> Table {
    let mut checks: Vec<&Check> = record.reconciliation.iter().collect();
    let agrees = |check: &Check| check.client == check.service;
    checks.sort_by_key(|check| agrees(check));
    let row = |check: &&Check| {
        let mark = if agrees(check) { "agrees" } else { "DIFFERS" };
        vec![check.name.clone(), grouped(check.client), grouped(check.service), mark.to_owned()]
    };
    Table {
        title: "Client and service",
        note: match record.ledger {
            Some(_) => "counted independently on both sides".to_owned(),
            None => "the service has no ledger to compare with".to_owned(),
        },
        head: vec!["count of", "client", "service", ""],
        words: 1,
        rows: checks.iter().map(row).collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::*;

    /// Times of `count` devices, `step` microseconds apart.
    pub(crate) fn times_of(phase: &str, count: u64, step: u64) -> PhaseStats {
        let mut times = hdrhistogram::Histogram::<u64>::new(3).expect("a histogram");
        (1..=count).for_each(|n| times.record(n * step * 1_000).expect("in range"));
        PhaseStats::from_histogram(phase, &times).expect("stats")
    }

    fn refusal(defect: &str) -> Reason {
        Reason {
            outcome: OutcomeKind::Refused,
            phase: Some("register".to_owned()),
            code: Some(401_002),
            message: format!("unauthorized {defect}"),
            count: 1,
            expected: true,
            defect: Some(defect.to_owned()),
            sample_registration_id: "line-a-10000".to_owned(),
            explanation: format!("{defect} explained"),
            repair: format!("repair {defect}"),
            trail: vec!["leaf > issuer".to_owned()],
        }
    }

    fn second(t: u64, started: u64, assigned: u64) -> Second {
        Second { t, offered: started, started, finished: assigned, assigned, refused: 0, in_flight: 0 }
    }

    /// The record of a good demo, made by hand: 10,000 assigned and 6 refused.
    pub(crate) fn demo() -> Record {
        let mint = |subject: &str| Issuer { subject: subject.to_owned(), count: 10_006 };
        Record {
            schema: SCHEMA.to_owned(),
            scenario: ScenarioText {
                name: "demo".to_owned(),
                file: "demo.toml".to_owned(),
                ..Default::default()
            },
            planned: 10_006,
            started: 10_006,
            finished: 10_006,
            ended: Ended::Completed,
            wall_seconds: 4.0,
            minting_seconds: 1.5,
            outcomes: Outcomes { assigned: 10_000, refused: 6, ..Outcomes::default() },
            reasons: ["expired", "leaf-only", "other-key", "cn", "ca", "disabled"].map(refusal).to_vec(),
            phases: ["tcp", "tls", "connect", "subscribe", "register", "poll"]
                .map(|phase| times_of(phase, 10, 100))
                .to_vec(),
            clocks: Clocks {
                service_time: times_of("service", 1_000, 1_000),
                response_time: times_of("response", 1_000, 2_000),
                service_time_unsuccessful: times_of("unsuccessful", 6, 1_000),
            },
            throughput: Throughput { per_second: 2_500.0, devices_per_minute: 150_000.0 },
            per_second: vec![second(0, 6_006, 5_000), second(1, 4_000, 5_000)],
            roll_up: vec![RollUp {
                root: "Root".to_owned(),
                path: vec!["Line A".to_owned()],
                group: "line-a".to_owned(),
                hub: "hub-1".to_owned(),
                expected: Some(10_000),
                actual: 10_000,
            }],
            expectations: Expectations { assigned: 10_000, refused: 6 },
            ledger: Some(Ledger { assigned: 10_000, refused: 6, registers: 10_006, ..Ledger::default() }),
            reconciliation: vec![
                Check::new("assigned", 10_000, 10_000),
                Check::new("registers", 10_006, 10_006),
            ],
            verdict: Verdict { kind: VerdictKind::Good, reasons: vec![] },
            certificates: Certificates { issuers: vec![mint("Line A")], key_types: vec![], chain_bytes: 900 },
            ..Record::default()
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, written) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), written);
        }
        assert_eq!([decimal(0.04), decimal(1_234.56), decimal(f64::NAN)], ["0.0", "1,234.6", "0.0"]);
        assert_eq!(milliseconds(1_234_567), "1,234.567");
    }

    #[test]
    fn totals_say_whether_they_add_up() {
        let mut record = demo();
        assert_eq!(totals(&record), "10,000 assigned + 6 refused = 10,006 planned");
        record.outcomes.shed = 2;
        assert_eq!(totals(&record), "10,000 assigned + 6 refused + 2 shed = 10,008, NOT the 10,006 planned");
    }

    #[test]
    fn a_refusal_nobody_expected_is_not_as_expected() {
        let mut record = demo();
        assert_eq!(expected(&record), "expected 10,000 assigned, 6 not: as expected");
        record.reasons[2].expected = false;
        assert_eq!(expected(&record), "expected 10,000 assigned, 6 not: NOT as expected");
    }

    #[test]
    fn counts_that_differ_come_first() {
        let mut record = demo();
        record.reconciliation[1].service = 9;
        assert_eq!(reconciliation(&record).rows[0], ["registers", "10,006", "9", "DIFFERS"]);
    }
}
