//! How arrivals ended and why, what was tried again, and what was throttled.

use super::{Table, allowed, decimal, grouped, milliseconds, percent};
use crate::record::{OutcomeKind, Reason, Record, Sample};
use std::cmp::Reverse;

/// How the planned arrivals ended; ways in which nobody did are left out.
pub(crate) fn outcomes(record: &Record) -> Table {
    let row = |kind: &OutcomeKind| {
        let count = record.outcomes.count(*kind);
        let share =
            if record.planned > 0 { percent(count as f64 / record.planned as f64) } else { "-".into() };
        (count > 0).then(|| vec![kind.as_str().to_owned(), grouped(count), share])
    };
    Table {
        title: "Outcomes",
        note: "every planned arrival once".to_owned(),
        head: vec!["outcome", "arrivals", "of the plan"],
        words: 1,
        rows: OutcomeKind::ALL.iter().filter_map(row).collect(),
    }
}

/// Why arrivals did not get what they wanted: what nobody expected first, then what befell most.
pub(crate) fn sorted_reasons(record: &Record) -> Vec<&Reason> {
    let mut reasons: Vec<&Reason> = record.reasons.iter().collect();
    reasons.sort_by_key(|reason| (reason.expected, Reverse(reason.count)));
    reasons
}

/// Whether a reason was expected, in words.
pub(crate) fn judged(record: &Record, reason: &Reason) -> &'static str {
    match (reason.expected, allowed(record)) {
        (true, _) => "expected",
        (false, true) => "as the gates allow",
        (false, false) => "NOT expected",
    }
}

/// What befell how many, and what repairs it, in a sentence each.
pub(crate) fn what_and_repair(reason: &Reason) -> [String; 2] {
    let code = reason.code.map(|code| format!("{code} ")).unwrap_or_default();
    let end = if reason.message.ends_with(['.', '!', '?']) { "" } else { "." };
    let said = format!("{code}{}{end}", reason.message);
    let what = format!("{} {}: {said}", grouped(reason.count), reason.outcome.as_str());
    [what, reason.repair.clone()]
}

/// One arrival, step by step: due, started, each phase, ended.
pub(crate) fn steps(sample: &Sample) -> Vec<String> {
    let after = sample.started_seconds - sample.due_seconds;
    let due = format!("due at {}", seconds(sample.due_seconds));
    let started = format!("started at {}, {} later", seconds(sample.started_seconds), seconds(after));
    let phases = sample.phases.iter().map(|time| format!("{}: {} ms", time.phase, milliseconds(time.us)));
    let again = (sample.retries > 0).then(|| match sample.retries {
        1 => "tried again once".to_owned(),
        times => format!("tried again {} times", grouped(times)),
    });
    let end = format!("{} at {}", sample.outcome.as_str(), seconds(sample.finished_seconds));
    let end = if sample.ending.is_empty() { end } else { format!("{end}: {}", sample.ending) };
    [due, started].into_iter().chain(phases).chain(again).chain([end]).collect()
}

fn seconds(seconds: f64) -> String {
    format!("{:.3} s", seconds.max(0.0))
}

/// What was tried again, by cause; causes that did not come up are left out.
pub(crate) fn retries_by_cause(record: &Record) -> Table {
    let retries = &record.retries;
    let causes = [
        ("asked to come back later", retries.throttled),
        ("a server error", retries.server_error),
        ("a connection that failed or broke", retries.connection),
        ("no answer in time", retries.timeout),
    ];
    let total = retries.total();
    let row = |(cause, count): &(&str, u64)| {
        vec![(*cause).to_owned(), grouped(*count), percent(*count as f64 / total as f64)]
    };
    let per_arrival = match record.started {
        0 => String::new(),
        started => format!(", {:.2} per arrival that started", total as f64 / started as f64),
    };
    Table {
        title: "Retries",
        note: format!("{} requests and connections were made again{per_arrival}", grouped(total)),
        head: vec!["after", "retries", "share"],
        words: 1,
        rows: causes.iter().filter(|(_, count)| *count > 0).map(row).collect(),
    }
}

/// What the service throttled, and what became of it, where it did at all.
pub(crate) fn throttling(record: &Record) -> Table {
    let by_ledger = record.ledger.map(|ledger| ledger.throttled);
    let (again, gave_up) = (record.retries.throttled, record.outcomes.throttled);
    let nobody = by_ledger.unwrap_or_default() + again + gave_up == 0;
    let in_a_second = record.per_second.iter().map(|second| second.throttled).max().unwrap_or_default();
    let known = [
        ("requests throttled, as the service counts", by_ledger.map(grouped)),
        ("asked again after being throttled", Some(grouped(again))),
        ("arrivals that gave up throttled", Some(grouped(gave_up))),
        ("most asked again in one second", (in_a_second > 0).then(|| grouped(in_a_second))),
        ("registrations the service allows a minute", record.quota_per_minute.map(grouped)),
        ("the same a second", record.quota_per_minute.map(|quota| decimal(quota as f64 / 60.0))),
        ("most arrivals started in sixty seconds on end", busiest_minute(record).map(grouped)),
    ];
    let rows = known.into_iter().filter_map(|(name, value)| Some(vec![name.to_owned(), value?]));
    Table {
        title: "Throttling",
        note: match nobody {
            true => "the service throttled nobody".to_owned(),
            false => format!("{} asked again, {} gave up", grouped(again), grouped(gave_up)),
        },
        head: vec!["what", "count"],
        words: 1,
        rows: if nobody && record.quota_per_minute.is_none() { Vec::new() } else { rows.collect() },
    }
}

/// The most arrivals that were started within sixty seconds, where the run knows its seconds.
fn busiest_minute(record: &Record) -> Option<u64> {
    let seconds = &record.per_second;
    let (mut first, mut sum, mut most) = (0, 0, None);
    for second in seconds {
        sum += second.started;
        while seconds.get(first).is_some_and(|early| early.t + 60 <= second.t) {
            sum -= seconds[first].started;
            first += 1;
        }
        most = most.max(Some(sum));
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Outcomes, PhaseTime, Retries, Second};
    use crate::view::tests::demo;

    #[test]
    fn outcomes_are_told_with_their_share_and_only_where_there_were_any() {
        let mut record = demo();
        record.planned = 20_012;
        assert_eq!(outcomes(&record).rows, [["assigned", "10,000", "50.0 %"], ["refused", "6", "0.03 %"]]);
        assert!(outcomes(&Record::default()).rows.is_empty());
    }

    #[test]
    fn what_nobody_expected_comes_first_and_then_what_befell_most() {
        let mut record = demo();
        record.reasons[3].expected = false;
        record.reasons[5].count = 9;
        let defects: Vec<_> = sorted_reasons(&record).iter().filter_map(|r| r.defect.clone()).collect();
        assert_eq!(defects[..3], ["cn", "disabled", "expired"]);
    }

    #[test]
    fn an_arrival_is_told_from_when_it_was_due_to_its_end() {
        let phase = |phase: &str, us| PhaseTime { phase: phase.to_owned(), us };
        let sample = Sample {
            outcome: OutcomeKind::Assigned,
            due_seconds: 0.25,
            started_seconds: 0.26,
            finished_seconds: 0.5,
            phases: vec![phase("tcp", 150), phase("tls", 12_000)],
            retries: 2,
            ending: "hub-1".to_owned(),
            ..Sample::default()
        };
        assert_eq!(
            steps(&sample),
            [
                "due at 0.250 s",
                "started at 0.260 s, 0.010 s later",
                "tcp: 0.150 ms",
                "tls: 12.000 ms",
                "tried again 2 times",
                "assigned at 0.500 s: hub-1"
            ]
        );
    }

    #[test]
    fn retries_are_told_by_cause() {
        let mut record = demo();
        record.retries = Retries { throttled: 3, timeout: 1, ..Retries::default() };
        let table = retries_by_cause(&record);
        assert_eq!(
            table.rows,
            [["asked to come back later", "3", "75.0 %"], ["no answer in time", "1", "25.0 %"]]
        );
    }

    #[test]
    fn the_busiest_minute_is_found_between_two_minutes_and_over_gaps() {
        let second = |t, started| Second { t, started, ..Second::default() };
        let busiest = |seconds: &[(u64, u64)]| {
            let per_second = seconds.iter().map(|(t, started)| second(*t, *started)).collect();
            busiest_minute(&Record { per_second, ..Record::default() })
        };
        assert_eq!(busiest(&[]), None);
        assert_eq!(busiest(&[(0, 5), (59, 5), (60, 7), (119, 1)]), Some(12));
        assert_eq!(busiest(&[(0, 9), (100, 5), (159, 5), (160, 5)]), Some(10));
    }

    #[test]
    fn throttling_is_told_where_there_was_any_or_a_quota() {
        let mut record = demo();
        assert!(throttling(&record).rows.is_empty());
        record.quota_per_minute = Some(1_000);
        assert!(throttling(&record).rows.iter().any(|row| row[1] == "1,000"));
        record.outcomes = Outcomes { throttled: 7, ..record.outcomes };
        assert!(throttling(&record).rows.iter().any(|row| row[0].contains("gave up") && row[1] == "7"));
    }
}
