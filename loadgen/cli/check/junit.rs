//! JUnit XML: a test case for each chain. A refused one fails, with what was found.

use super::document::Refused;
use super::view::Ending;
use crate::check::{Examined, reason};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use sim_identity::preflight::Finding;

/// Test cases of chains that are let in; refused ones are kept as long as there is room for twice as many.
const MOST_CASES: usize = 20_000;

/// Test cases as they come.
pub(super) struct Collector {
    suite: TestSuite,
    left_out: u64,
    /// Whether a warning fails a test case.
    strict: bool,
    /// Whether all test cases pass.
    passes: bool,
}

impl Collector {
    pub(super) fn new(strict: bool) -> Self {
        Collector { suite: TestSuite::new("rollcall check"), left_out: 0, strict, passes: true }
    }

    /// Takes in one chain; `overruled` is what refuses it although the verdict lets it in: a name, and why.
    pub(super) fn take(&mut self, examined: &Examined, overruled: Option<&(&'static str, String)>) {
        let examination = &examined.examination;
        let findings = &examination.findings;
        let warned = warned(findings).filter(|_| self.strict).map(|codes| ("strict", codes));
        let overruled = overruled.cloned().or(warned);
        let refused = match overruled {
            _ if !examination.is_accepted() => Some((reason(examination), reason(examination).to_owned())),
            overruled => overruled,
        };
        let passed = refused.is_none();
        let status = match refused {
            None => TestCaseStatus::success(),
            Some((kind, message)) => failed(kind, &message, &described(findings)),
        };
        let mut case = TestCase::new(examined.label.as_str(), status);
        if passed && !findings.is_empty() {
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
        self.passes &= passed;
        let room = if passed { MOST_CASES } else { 2 * MOST_CASES };
        if self.suite.test_cases.len() >= room {
            self.left_out += 1;
            return;
        }
        case.set_classname("rollcall.check");
        self.suite.add_test_case(case);
    }

    /// The document, with what is wrong with the instance; `ending` is that of the program, and where no test case
    /// accounts for it, what devices have in common does.
    pub(super) fn xml(
        mut self,
        instance: &[Finding],
        ending: &Ending,
    ) -> Result<String, quick_junit::SerializeError> {
        if self.left_out > 0 {
            let left_out =
                format!("{} further chains are left out; `--format json` counts all", self.left_out);
            self.suite.set_system_err(left_out);
        }
        if let Some(codes) = warned(instance).filter(|_| self.strict) {
            self.add(TestCase::new("the instance", failed("strict", &codes, &described(instance))));
        } else if !instance.is_empty() {
            self.suite.set_system_out(described(instance));
        }
        if let Some((kind, why)) = ending.overruled.as_ref().filter(|_| self.passes) {
            self.add(TestCase::new("the batch", failed(kind, why, why)));
        }
        let mut report = Report::new("rollcall check");
        report.add_test_suite(self.suite);
        report.to_string()
    }
}

/// The codes of what a strict check refuses; none where there is no warning.
fn warned(findings: &[Finding]) -> Option<String> {
    let codes = super::warnings(findings);
    let codes: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    (!codes.is_empty()).then(|| format!("warnings: {}", codes.join(", ")))
}

fn failed(kind: &'static str, message: &str, description: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(message).set_type(kind).set_description(description);
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
            window_ends_badly: None,
            alternatives: Vec::new(),
            repair: None,
            missing: None,
        };
        Examined { label: label.to_owned(), presented: Presented::default(), examination }
    }

    #[test]
    fn a_refused_chain_fails_with_its_findings_and_a_warning_fails_only_where_it_is_strict() {
        let finding = |code| Finding::new(code, "found <it>.", "Fix.");
        for (strict, failures) in [(false, "failures=\"1\""), (true, "failures=\"2\"")] {
            let mut collector = Collector::new(strict);
            collector.take(&examined("good.pem", Verdict::AcceptIndividual, Vec::new()), None);
            collector.take(
                &examined("warned.pem", Verdict::AcceptIndividual, vec![finding(Code::ChainOrder)]),
                None,
            );
            collector.take(
                &examined("bad.pem", Verdict::NoVerifiedCa, vec![finding(Code::ChainIncomplete)]),
                None,
            );
            let device = Refused { source: "x.pem".into(), reason: "unreadable", message: "m".into() };
            collector.unreadable(&device);
            let xml = collector
                .xml(&[], &Ending { exit: crate::exit::Exit::Refused, overruled: None })
                .expect("XML");
            for part in
                ["tests=\"4\"", failures, "errors=\"1\"", "error[chain-incomplete]", "found &lt;it&gt;."]
            {
                assert!(xml.contains(part), "{part} in {xml}");
            }
            assert_eq!(xml.contains("message=\"warnings: chain-order\""), strict, "{xml}");
        }
    }
}
