//! The report as JUnit XML, for those who collect test results: what a run had to show, as test cases.

use crate::Sum;
use crate::compare::{Compared, Comparison, Judgement, told as compared};
use crate::record::{Check, GateResult, Reason, Record, RollUp, VerdictKind};
use crate::view::{allowed, counted, decimal, grouped, quantity, verdict};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::time::Duration;

/// Why the XML could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the JUnit XML cannot be written: {0}")]
pub struct JunitError(#[from] quick_junit::SerializeError);

/// The report as JUnit XML. Gates, ways of the roll-up, reasons, sums and the service's counts are a test case each; what
/// leaves the result without worth is an error. Beside a baseline, each judged metric is one, too, and fails where it is
/// worse.
///
/// # Errors
/// When it cannot be written.
pub fn junit(record: &Record, baseline: Option<&Comparison>) -> Result<String, JunitError> {
    let mut report = Report::new(text(&format!("rollcall {}", record.scenario.name)));
    report.set_time(Duration::try_from_secs_f64(record.wall_seconds).unwrap_or_default());
    let suites = [
        suite("verdict", vec![the_verdict(record)]),
        suite("gates", record.gates.iter().map(gate_case).collect()),
        suite("roll-up", record.roll_up.iter().map(|way| way_case(way, allowed(record))).collect()),
        suite("outcomes", record.reasons.iter().map(|reason| reason_case(reason, allowed(record))).collect()),
        suite("sums", record.sums().iter().map(sum_case).collect()),
        suite("reconciliation", record.reconciliation.iter().map(check_case).collect()),
        suite("comparison", baseline.map(comparison_cases).unwrap_or_default()),
    ];
    report.add_test_suites(suites.into_iter().filter(|suite| !suite.test_cases.is_empty()));
    Ok(report.to_string()?)
}

fn suite(name: &str, cases: Vec<TestCase>) -> TestSuite {
    let mut suite = TestSuite::new(name);
    for mut case in cases {
        case.set_classname(format!("rollcall.{name}"));
        suite.add_test_case(case);
    }
    suite
}

/// What the run is worth: an error where it is worth nothing, so that it is told from a run that failed.
fn the_verdict(record: &Record) -> TestCase {
    let reasons = record.verdict.reasons.join("\n");
    let status = match record.verdict.kind {
        VerdictKind::Good => TestCaseStatus::success(),
        VerdictKind::GateFailed => unlike(NonSuccessKind::Failure, verdict(record), &reasons),
        VerdictKind::Invalid | VerdictKind::GeneratorLimited | VerdictKind::Interrupted => {
            unlike(NonSuccessKind::Error, verdict(record), &reasons)
        }
    };
    TestCase::new("the result stands", status)
}

fn unlike(kind: NonSuccessKind, message: &str, description: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(text(message)).set_description(text(description));
    status
}

/// A gate that was met at the end and had ended the run fails, too.
fn gate_case(gate: &GateResult) -> TestCase {
    let shown = |value: f64| quantity(value, &gate.metric, &gate.unit);
    let measured = gate.measured.map_or_else(|| "nothing".to_owned(), shown);
    let bounds = [gate.at_least.map(|least| ("at least", least)), gate.at_most.map(|most| ("at most", most))];
    let bounds: Vec<String> =
        bounds.into_iter().flatten().map(|(word, bound)| format!("{word} {}", shown(bound))).collect();
    let said = format!("{}: measured {measured}, to be {}", gate.metric, bounds.join(" and "));
    let ended = gate.aborted_at.map(|at| format!("it ended the run at {} s", decimal(at)));
    let status = match (&ended, gate.passed) {
        (None, true) => TestCaseStatus::success(),
        _ => unlike(NonSuccessKind::Failure, &said, &ended.unwrap_or_default()),
    };
    told(&gate.gate, status, &said)
}

/// What came otherwise than the scenario means by itself, and its own gates allow.
const ALLOWED: &str = "not as the scenario means by itself; its gates allow it";

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(text(message));
    status
}

/// A way that nothing certain is expected of is skipped, and so is one that the gates allow to differ.
fn way_case(way: &RollUp, allowed: bool) -> TestCase {
    let path = [std::slice::from_ref(&way.root), &way.path].concat().join(" > ");
    let expected = way.expected.map_or_else(|| "an unknown number".to_owned(), grouped);
    let said = format!("expected {expected}, actual {}", grouped(way.actual));
    let status = match way.expected {
        None => skipped(&said),
        Some(expected) if expected == way.actual => TestCaseStatus::success(),
        Some(_) if allowed => skipped(&format!("{ALLOWED}: {said}")),
        Some(_) => unlike(NonSuccessKind::Failure, &said, ""),
    };
    told(&format!("{path} > {} > {}", way.group, way.hub), status, &said)
}

/// Why devices did not get what they wanted: a failure unless the scenario asked for it or its gates allow it.
fn reason_case(reason: &Reason, allowed: bool) -> TestCase {
    let code = reason.code.map(|code| format!(" {code}")).unwrap_or_default();
    let phase = reason.phase.as_ref().map(|phase| format!(" at {phase}")).unwrap_or_default();
    let name = format!("{}{code}{phase}: {}", reason.outcome.as_str(), reason.message);
    let said = format!("{}: {}", counted(reason.count, "device"), reason.explanation);
    let repair = format!("repair: {}\nfor instance {}", reason.repair, reason.sample_registration_id);
    let status = match (reason.expected, allowed) {
        (true, _) => TestCaseStatus::success(),
        (false, true) => skipped(&format!("{ALLOWED}: {said}")),
        (false, false) => unlike(NonSuccessKind::Failure, &said, &repair),
    };
    told(&name, status, &said)
}

/// A case for each judged metric. Where a run does not stand, nothing else is told by them: that is an error.
fn comparison_cases(comparison: &Comparison) -> Vec<TestCase> {
    let warnings = comparison.warnings.join("\n");
    let status = match comparison.doubtful {
        true => unlike(NonSuccessKind::Error, "a run of the comparison does not stand", &warnings),
        false => TestCaseStatus::success(),
    };
    let stands = told("both runs stand", status, &warnings);
    let judged = comparison.rows.iter().filter(|row| row.judgement != Judgement::Shown);
    std::iter::once(stands).chain(judged.map(metric_case)).collect()
}

fn metric_case(row: &Compared) -> TestCase {
    let [before, after] = [row.baseline, row.candidate].map(|value| compared::number(row, value));
    let said = format!(
        "{}: baseline {before}, candidate {after}, band {}",
        compared::judged(row),
        compared::band(row)
    );
    let status = match row.judgement {
        Judgement::Worse => unlike(NonSuccessKind::Failure, &said, ""),
        _ => TestCaseStatus::success(),
    };
    told(&row.metric, status, &said)
}

fn sum_case(sum: &Sum) -> TestCase {
    let said = format!("expected {}, actual {}", grouped(sum.expected), grouped(sum.actual));
    equal_case(&sum.name, sum.agrees, &said)
}

fn check_case(check: &Check) -> TestCase {
    let said = format!("client {}, service {}", grouped(check.client), grouped(check.service));
    equal_case(&check.name, check.client == check.service, &said)
}

/// Two counts that are to be equal.
fn equal_case(name: &str, agrees: bool, said: &str) -> TestCase {
    let status = match agrees {
        true => TestCaseStatus::success(),
        false => unlike(NonSuccessKind::Failure, said, ""),
    };
    told(name, status, said)
}

fn told(name: &str, status: TestCaseStatus, said: &str) -> TestCase {
    let mut case = TestCase::new(text(name), status);
    case.set_system_out(text(said));
    case
}

/// A text without the characters that XML has no way to write, and without those that move a cursor.
fn text(text: &str) -> String {
    let fits = |c: char| c == '\n' || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
    text.chars().map(|c| if fits(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Verdict;
    use crate::view::tests::{demo, gate};

    fn read(record: &Record) -> Report {
        read_beside(record, None)
    }

    fn read_beside(record: &Record, baseline: Option<&Comparison>) -> Report {
        let xml = junit(record, baseline).expect("XML");
        Report::deserialize_from_str(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"))
    }

    /// Cases of a suite, failures, errors and skipped ones; none where there is no such suite.
    fn counts(report: &Report, suite: &str) -> Option<[usize; 4]> {
        let suite = report.test_suites.iter().find(|found| found.name.as_str() == suite)?;
        let skipped =
            suite.test_cases.iter().filter(|case| matches!(case.status, TestCaseStatus::Skipped { .. }));
        Some([suite.test_cases.len(), suite.failures, suite.errors, skipped.count()])
    }

    #[test]
    fn a_good_run_passes_every_case() {
        let mut record = demo();
        record.gates = vec![gate("response_time.p99", "s", Some(0.0125), 0.5)];
        let report = read(&record);
        let cases = [
            ("verdict", 1),
            ("gates", 1),
            ("roll-up", 1),
            ("outcomes", 6),
            ("sums", 15),
            ("reconciliation", 2),
        ];
        for (suite, count) in cases {
            assert_eq!(counts(&report, suite), Some([count, 0, 0, 0]), "{suite}");
        }
    }

    #[test]
    fn what_did_not_go_as_it_should_fails_in_its_suite_and_nowhere_else() {
        type Case = (&'static str, fn(&mut Record), [usize; 3]);
        let table: [Case; 9] = [
            ("gates", |r| r.gates = vec![gate("m", "s", Some(2.0), 1.0)], [1, 0, 0]),
            ("gates", |r| r.gates = vec![gate("m", "s", None, 1.0)], [1, 0, 0]),
            (
                "gates",
                |r| r.gates = vec![GateResult { aborted_at: Some(2.0), ..gate("m", "s", Some(0.5), 1.0) }],
                [1, 0, 0],
            ),
            ("roll-up", |r| r.roll_up[0].expected = Some(1), [1, 0, 0]),
            ("roll-up", |r| r.roll_up[0].expected = None, [0, 0, 1]),
            ("outcomes", |r| r.reasons[3].expected = false, [1, 0, 0]),
            ("sums", |r| r.expectations.refused += 1, [1, 0, 0]),
            ("verdict", |r| r.verdict.kind = VerdictKind::GeneratorLimited, [0, 1, 0]),
            ("verdict", |r| r.verdict = Verdict::default(), [0, 1, 0]),
        ];
        for (at, (suite, change, [failures, errors, skipped])) in table.into_iter().enumerate() {
            let mut record = demo();
            change(&mut record);
            let report = read(&record);
            let counts = counts(&report, suite).expect("the suite");
            assert_eq!(counts[1..], [failures, errors, skipped], "{at}: {suite}");
            assert_eq!((report.failures, report.errors), (failures, errors), "{at}: {suite}");
        }
    }

    #[test]
    fn what_the_gates_of_a_good_run_allow_is_skipped() {
        let mut record = demo();
        record.roll_up[0].expected = Some(1);
        record.reasons[3].expected = false;
        for (implied, kind, [failures, skipped]) in [
            (false, VerdictKind::Good, [0, 1]),
            (true, VerdictKind::Good, [1, 0]),
            (false, VerdictKind::GateFailed, [1, 0]),
        ] {
            record.verdict.kind = kind;
            record.gates =
                vec![GateResult { implied, ..gate("outcome.refused.share", "share", Some(0.1), 0.5) }];
            let report = read(&record);
            for suite in ["roll-up", "outcomes"] {
                let found = counts(&report, suite).expect("the suite");
                assert_eq!([found[1], found[3]], [failures, skipped], "{suite} {kind:?} {implied}");
            }
        }
    }

    #[test]
    fn a_metric_that_is_worse_than_the_baseline_fails_and_a_run_that_does_not_stand_is_an_error() {
        let row = |metric: &str, judgement| Compared {
            metric: metric.to_owned(),
            unit: "s".to_owned(),
            baseline: 0.1,
            candidate: 0.2,
            bounds: [0.09, 0.11],
            judgement,
            ..Compared::default()
        };
        let rows = vec![
            row("response_time.p50", Judgement::Worse),
            row("phase.tls.p99", Judgement::Slower),
            row("service_time.p50", Judgement::Same),
            row("service_time.max", Judgement::Shown),
        ];
        let mut comparison = Comparison { rows, regressed: true, ..Comparison::default() };
        let report = read_beside(&demo(), Some(&comparison));
        assert_eq!(counts(&report, "comparison"), Some([4, 1, 0, 0]));
        comparison.doubtful = true;
        let report = read_beside(&demo(), Some(&comparison));
        assert_eq!(counts(&report, "comparison"), Some([4, 1, 1, 0]));
        assert_eq!(counts(&read(&demo()), "comparison"), None);
    }

    #[test]
    fn a_failure_tells_what_was_measured_and_a_refusal_its_repair() {
        let mut record = demo();
        record.gates = vec![gate("response_time.p99", "s", Some(2.0), 0.5)];
        record.reasons[0].expected = false;
        record.verdict.kind = VerdictKind::GateFailed;
        let report = read(&record);
        let told = |suite: &str| {
            let suite =
                report.test_suites.iter().find(|found| found.name.as_str() == suite).expect("the suite");
            let TestCaseStatus::NonSuccess { message, description, .. } = &suite.test_cases[0].status else {
                panic!("{suite:?}")
            };
            let text =
                |text: &Option<quick_junit::XmlString>| text.as_ref().map(|text| text.as_str().to_owned());
            (text(message).unwrap_or_default(), text(description).unwrap_or_default())
        };
        let (message, _) = told("gates");
        assert!(message.contains("2,000.0 ms") && message.contains("500.0 ms"), "{message}");
        assert!(told("outcomes").1.contains("repair expired"));
    }

    #[test]
    fn nothing_in_a_record_breaks_the_xml() {
        let all: String =
            ('\0'..='\u{a0}').chain(['\u{fffe}', '\u{ffff}', '\u{1fffe}', '\u{202e}']).collect();
        let text = format!("{all}]]> </testcase> \u{1b}[31m &#0; --> é😀");
        let mut record = demo();
        record.scenario.name = text.clone();
        record.verdict = Verdict { kind: VerdictKind::GateFailed, reasons: vec![text.clone()] };
        record.gates = vec![GateResult { gate: text.clone(), ..gate(&text, &text, Some(f64::NAN), 1.0) }];
        record.reasons[0] = Reason {
            message: text.clone(),
            repair: text.clone(),
            expected: false,
            ..record.reasons[0].clone()
        };
        (record.roll_up[0].hub, record.reconciliation[0].name) = (text.clone(), text);
        let report = read(&record);
        let names =
            report.test_suites.iter().flat_map(|suite| &suite.test_cases).map(|case| case.name.as_str());
        let odd = names.filter(|name| name.contains("</testcase>") && name.contains("é😀"));
        assert_eq!(odd.count(), 5);
    }
}
