//! JUnit XML: a test case for each chain. A refused one fails, with what was found.

use super::document::Refused;
use crate::check::Examined;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use sim_identity::preflight::{Finding, Severity};

/// Test cases of chains that are let in; refused ones are kept as long as there is room for twice as many.
const MOST_CASES: usize = 20_000;

/// Test cases as they come.
pub(super) struct Collector {
    suite: TestSuite,
    left_out: u64,
    /// Whether a warning fails a test case.
    strict: bool,
}

impl Collector {
    pub(super) fn new(strict: bool) -> Self {
        Collector { suite: TestSuite::new("rollcall check"), left_out: 0, strict }
    }

    /// Takes in one chain.
    pub(super) fn take(&mut self, examined: &Examined) {
        let examination = &examined.examination;
        let findings = &examination.findings;
        let warned = self.strict && examination.worst().is_some_and(|worst| worst >= Severity::Warning);
        let status = match examination.is_accepted() && !warned {
            true => TestCaseStatus::success(),
            false => failed(examination.judgement.verdict.name(), &described(findings)),
        };
        let mut case = TestCase::new(examined.label.as_str(), status);
        if examination.is_accepted() && !warned && !findings.is_empty() {
            case.set_system_out(described(findings));
        }
        self.add(case);
    }

    /// Takes in a chain that cannot be read.
    pub(super) fn unreadable(&mut self, device: &Refused) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(device.message.as_str()).set_type(device.reason);
        self.add(TestCase::new(device.source.as_str(), status));
    }

    fn add(&mut self, mut case: TestCase) {
        let passed = matches!(case.status, TestCaseStatus::Success { .. });
        let room = if passed { MOST_CASES } else { 2 * MOST_CASES };
        if self.suite.test_cases.len() >= room {
            self.left_out += 1;
            return;
        }
        case.set_classname("rollcall.check");
        self.suite.add_test_case(case);
    }

    /// The document; `failure` says what fails beyond the chains.
    pub(super) fn xml(mut self, instance: &[Finding]) -> Result<String, quick_junit::SerializeError> {
        if self.left_out > 0 {
            let left_out =
                format!("{} further chains are left out; `--format json` counts all", self.left_out);
            self.suite.set_system_err(left_out);
        }
        if !instance.is_empty() {
            self.suite.set_system_out(described(instance));
        }
        let mut report = Report::new("rollcall check");
        report.add_test_suite(self.suite);
        report.to_string()
    }
}

fn failed(verdict: &'static str, description: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(verdict).set_type(verdict).set_description(description);
    status
}

fn described(findings: &[Finding]) -> String {
    let line = |f: &Finding| format!("{}[{}]: {}\n  fix: {}", f.severity, f.code, f.message, f.fix);
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_identity::preflight::{Code, Examination, Presented};
    use sim_identity::verdict::{Judgement, Verdict};

    fn examined(label: &str, verdict: Verdict, findings: Vec<Finding>) -> Examined {
        let examination = Examination {
            judgement: Judgement::plain(verdict),
            registration_id: None,
            findings,
            next_change: None,
            alternatives: Vec::new(),
            repair: None,
        };
        Examined { label: label.to_owned(), presented: Presented::default(), examination }
    }

    #[test]
    fn a_refused_chain_fails_with_its_findings_and_a_warning_fails_only_where_it_is_strict() {
        let finding = |code| Finding::new(code, "found <it>.", "Fix.");
        for (strict, failures) in [(false, "failures=\"1\""), (true, "failures=\"2\"")] {
            let mut collector = Collector::new(strict);
            collector.take(&examined("good.pem", Verdict::AcceptIndividual, Vec::new()));
            collector.take(&examined(
                "warned.pem",
                Verdict::AcceptIndividual,
                vec![finding(Code::ChainOrder)],
            ));
            collector.take(&examined("bad.pem", Verdict::NoVerifiedCa, vec![finding(Code::ChainIncomplete)]));
            let device = Refused { source: "x.pem".into(), reason: "unreadable", message: "m".into() };
            collector.unreadable(&device);
            let xml = collector.xml(&[]).expect("XML");
            for part in
                ["tests=\"4\"", failures, "errors=\"1\"", "error[chain-incomplete]", "found &lt;it&gt;."]
            {
                assert!(xml.contains(part), "{part} in {xml}");
            }
        }
    }
}
