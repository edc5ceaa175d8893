//! Preflight on every row of the fault matrix: what is found, when the verdict changes, what hangs on the unknown,
//! and what repairs it.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]

use sim_identity::certificate::sha256;
use sim_identity::defect::{Expected, HeldCertificate, TakenFor, Workshop};
use sim_identity::preflight::{
    Batch, CaState, Code, DEFAULT_MARGIN, Examination, Finding, Group, Individual, Instance,
    InstanceCredential, Presented, Purpose, Question, Severity, Slot, UploadedCa, examine,
};
use sim_identity::verdict::{Asked, Goal, Knob, Rules, SignatureMemo, Verdict, admit};
use sim_identity::{Certificate, Defect, Hierarchy, KeyAlgorithm, PrivateKey, Seed};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
const DAY: i64 = 86_400;

/// One row: what is sent, to which instance, and what is asked.
struct Case {
    defect: Defect,
    presented: Presented,
    instance: Instance,
    question: Question,
}

/// Long keys take seconds to make: all tests share what is made once.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let seed = Seed::from_number(42);
    let (workshop, hierarchy) = Workshop::own(&seed, NOW).expect("authorities");
    Defect::all().filter_map(|defect| Case::make(defect, &workshop, &hierarchy, &seed)).collect()
});

fn group_id(name: &str) -> EnrollmentGroupId {
    EnrollmentGroupId::new(name).expect("a good name")
}

fn slot(certificate: &Arc<Certificate>) -> Slot {
    Slot::Certificate { sha256: *certificate.sha256(), certificate: Some(certificate.clone()) }
}

fn group(name: &str, on: &Arc<Certificate>, enabled: bool) -> Group {
    Group { id: group_id(name), enabled, primary: Some(slot(on)), secondary: None }
}

fn uploaded(name: &str, certificate: &Arc<Certificate>, state: CaState) -> UploadedCa {
    UploadedCa { name: Some(name.to_owned()), certificate: certificate.clone(), state }
}

fn question(id: Option<&RegistrationId>, at: i64) -> Question {
    Question {
        registration_id: id.cloned(),
        at,
        window: None,
        margin: DEFAULT_MARGIN,
        purpose: Purpose::Client,
        constrained: false,
        rules: Rules::DEFAULT,
    }
}

fn sent(certificates: &[Arc<Certificate>]) -> Presented {
    Presented { certificates: certificates.to_vec(), ..Presented::default() }
}

impl Case {
    /// None for what is no chain, or holds something that is no certificate.
    fn make(defect: Defect, workshop: &Workshop, hierarchy: &Hierarchy, seed: &Seed) -> Option<Self> {
        let scene = defect.scene(workshop).unwrap_or_else(|e| panic!("{defect}: {e}"))?;
        let id = RegistrationId::new("dev-1").expect("a good id");
        let key = Arc::new(PrivateKey::derive(seed, "device", 1, KeyAlgorithm::P256).expect("a key"));
        let world = scene.device(1, &id, seed, key).unwrap_or_else(|e| panic!("{defect}: {e}"));
        let read = world.device.chain.iter().map(|der| Certificate::from_der(der.to_vec()).map(Arc::new));
        let chain: Vec<Arc<Certificate>> = read.collect::<Result<_, _>>().ok()?;
        let mut instance = Instance::default();
        instance.cas.push(uploaded("root", hierarchy.root().certificate(), CaState::Verified));
        instance.groups.push(group("line", hierarchy.issuing().certificate(), true));
        for (i, ca) in scene.additions.cas.iter().enumerate() {
            let state = if ca.verified { CaState::Verified } else { CaState::Unverified };
            instance.cas.push(uploaded(&format!("added-{i}"), &ca.certificate, state));
        }
        match scene.additions.own_leaf {
            Some(TakenFor::VerifiedCa) => {
                instance.cas.push(uploaded("own-leaf", &chain[0], CaState::Verified));
            }
            Some(TakenFor::Group) => instance.groups.push(group("own-leaf", &chain[0], true)),
            None => {}
        }
        for (i, added) in scene.additions.groups.iter().enumerate() {
            let secondary = added.secondary.as_ref().map(slot);
            let made = group(&format!("{defect}-{i}"), &added.primary, added.enabled);
            instance.groups.push(Group { secondary, ..made });
        }
        let registration_id = world.device.registration_id;
        if let Some(individual) = scene.additions.individual {
            let (presented, older) = (*chain[0].sha256(), sha256(&world.older));
            let leaves = match individual.holds {
                HeldCertificate::Presented => vec![presented],
                HeldCertificate::Older => vec![older],
                HeldCertificate::PresentedAsSecondary => vec![older, presented],
            };
            let entry = Individual {
                registration_id: registration_id.clone(),
                enabled: individual.enabled,
                credential: InstanceCredential::Leaves(leaves),
            };
            instance.individuals.insert(registration_id.key(), entry);
        }
        let question = question(Some(&registration_id), scene.at.unwrap_or(NOW).unix_timestamp());
        Some(Case { defect, presented: sent(&chain), instance, question })
    }

    fn named(id: &str) -> &'static Case {
        CASES.iter().find(|case| case.defect.id() == id).unwrap_or_else(|| panic!("no row {id}"))
    }

    fn examine(&self) -> Examination {
        examine_in(&self.presented, &self.question, &self.instance)
    }

    /// The judge's verdict on what is sent, at another moment or by other rules.
    fn verdict(&self, at: i64, rules: &Rules) -> Verdict {
        let id = self.question.registration_id.as_ref().expect("every row registers as something");
        let asked = Asked { registration_id: Some(id), now: at, rules, goal: Goal::Entry };
        let individual = self.instance.individual(id);
        let memo = SignatureMemo::default();
        let trust = self.instance.trust();
        admit(&self.presented.certificates, &asked, individual.as_ref(), &trust, &memo).verdict
    }
}

fn examine_in(presented: &Presented, question: &Question, instance: &Instance) -> Examination {
    examine(presented, question, instance, &instance.trust(), &SignatureMemo::default())
}

/// Fails with one table of everything that is not as it should be.
#[track_caller]
fn none_of(misses: &[(Defect, String)], what: &str) {
    let mut table = String::new();
    for (defect, miss) in misses {
        let _ = write!(table, "\n  {:32} {miss}", defect.id());
    }
    assert!(misses.is_empty(), "{} rows in which {what}:{table}", misses.len());
}

fn codes(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|f| format!("{}:{}", f.code, f.severity)).collect()
}

fn misses(of: impl Fn(&Case) -> Option<String>) -> Vec<(Defect, String)> {
    CASES.iter().filter_map(|case| Some((case.defect, of(case)?))).collect()
}

#[test]
fn every_row_is_named_by_its_diagnostic_and_as_an_error_where_it_is_refused() {
    let found = misses(|case| {
        let wanted = case.defect.diagnostic()?;
        let findings = case.examine().findings;
        let found = findings.iter().filter(|f| f.code.as_str() == wanted).map(|f| f.severity).max();
        let refused = !matches!(case.defect.expected(), Expected::Accept);
        let named = found.is_some_and(|severity| !refused || severity == Severity::Error);
        (!named).then(|| format!("wanted {wanted}, found {:?}", codes(&findings)))
    });
    none_of(&found, "the diagnostic is missing or too mild");
}

#[test]
fn no_error_is_found_where_the_device_is_let_in_but_those_that_break_a_documented_rule() {
    let allowed = [
        ("pres-other-leaf", Code::ChainExtra),
        ("size-leaf-60k", Code::ChainSize),
        ("serial-negative", Code::SerialNonpositive),
        ("cn-len-65", Code::CnLength),
        ("cn-len-128", Code::CnLength),
    ];
    let found = misses(|case| {
        let examination = case.examine();
        let errors = examination.findings.iter().filter(|f| f.severity == Severity::Error);
        let wrong: Vec<Finding> =
            errors.filter(|f| !allowed.contains(&(case.defect.id(), f.code))).cloned().collect();
        (examination.is_accepted() && !wrong.is_empty()).then(|| format!("{:?}", codes(&wrong)))
    });
    none_of(&found, "a device that is let in has errors");
}

#[test]
fn what_depends_on_the_case_is_as_bad_as_the_matrix_says() {
    let rows = [
        ("pres-full", Code::RootSent, Severity::Info),
        ("pres-unrelated", Code::ChainExtra, Severity::Warning),
        ("pres-other-leaf", Code::ChainExtra, Severity::Error),
        ("pres-shuffled", Code::ChainOrder, Severity::Warning),
        ("time-root-renewed-same-key", Code::StaleRootSent, Severity::Info),
        ("time-leaf-gentime-2036", Code::TimeEncoding, Severity::Warning),
        ("time-leaf-fraction", Code::TimeEncoding, Severity::Error),
        ("iss-same-name-both", Code::AmbiguousIssuer, Severity::Info),
        ("iss-same-name-both-no-aki", Code::AmbiguousIssuer, Severity::Warning),
        ("iss-cross-signed-a", Code::AmbiguousIssuer, Severity::Warning),
        ("iss-cross-signed-b", Code::AmbiguousIssuer, Severity::Warning),
        ("iss-cross-signed-expired-branch", Code::ExpiredBranch, Severity::Warning),
        ("alg-rsa4096", Code::ChainSize, Severity::Info),
        ("alg-sha1-anchor-self-sig", Code::SigAlgWeak, Severity::Info),
        ("serial-zero", Code::SerialNonpositive, Severity::Warning),
        ("serial-negative", Code::SerialNonpositive, Severity::Error),
        ("serial-one", Code::SerialPredictable, Severity::Info),
        ("depth-3", Code::ChainDepth, Severity::Info),
        ("depth-6", Code::ChainDepth, Severity::Warning),
        ("depth-10", Code::ChainDepth, Severity::Warning),
        ("depth-11", Code::ChainDepth, Severity::Error),
        ("size-leaf-8k", Code::ChainSize, Severity::Warning),
        ("size-leaf-60k", Code::ChainSize, Severity::Error),
        ("size-60-junk", Code::ChainExtra, Severity::Warning),
        ("size-30-same-name", Code::AmbiguousIssuer, Severity::Warning),
        ("size-120-same-name", Code::ChainExtra, Severity::Error),
        ("cn-two-same", Code::CnMultiple, Severity::Warning),
        ("cn-two-diff-last", Code::CnMultiple, Severity::Error),
        // A group on a root and nothing nearer is how many are meant: what was deleted cannot be seen.
        ("svc-group-deleted-parent", Code::GroupShadowed, Severity::Info),
    ];
    let mut table = String::new();
    for (id, code, expected) in rows {
        let findings = Case::named(id).examine().findings;
        let found = findings.iter().filter(|f| f.code == code).map(|f| f.severity).max();
        if found != Some(expected) {
            let _ = write!(table, "\n  {id:32} {code} expected {expected}, found {:?}", codes(&findings));
        }
    }
    assert!(table.is_empty(), "severities differ:{table}");
}

#[test]
fn a_refusal_has_one_error_for_its_one_cause() {
    // Rows with more than one thing wrong by what they are.
    let several = ["alg-rsa1024", "alg-k256", "alg-p224", "alg-sha1-rsa", "alg-sha1-ecdsa"];
    let found = misses(|case| {
        let examination = case.examine();
        let errors: Vec<Finding> =
            examination.findings.iter().filter(|f| f.severity == Severity::Error).cloned().collect();
        let many = !examination.is_accepted() && errors.len() != 1;
        (many && !several.contains(&case.defect.id())).then(|| format!("{:?}", codes(&errors)))
    });
    none_of(&found, "the cause is named otherwise than once");
}

#[test]
fn each_finding_is_there_once_the_worst_first_and_none_is_long() {
    let found = misses(|case| {
        let findings = case.examine().findings;
        let mut seen = HashSet::new();
        let twice =
            findings.iter().any(|f| !seen.insert((f.code, f.about.as_ref().map(|a| a.sha256.clone()))));
        let sorted = findings.is_sorted_by(|a, b| a.severity >= b.severity);
        let texts = findings.iter().flat_map(|f| [&f.message, &f.fix].into_iter().chain(&f.evidence));
        let long = texts.map(|text| text.chars().count()).max().unwrap_or(0);
        (twice || !sorted || long > 1_500).then(|| format!("twice {twice}, sorted {sorted}, longest {long}"))
    });
    none_of(&found, "findings are not in order");
}

#[test]
fn the_verdict_changes_when_it_is_said_to_and_not_before() {
    let found = misses(|case| {
        let now = case.verdict(case.question.at, &Rules::DEFAULT);
        let known = case.examine();
        assert_eq!(known.judgement.verdict, now, "{}", case.defect);
        let dates =
            case.presented.certificates.iter().chain(case.instance.cas.iter().map(|c| &c.certificate));
        let mut moments: Vec<i64> = dates.flat_map(|c| [c.not_before(), c.not_after() + 1]).collect();
        moments.sort_unstable();
        let later = moments.into_iter().filter(|&at| at > case.question.at);
        // A refusal for another reason is still a refusal.
        let matters =
            |verdict: &Verdict| *verdict != now && !(verdict.refusal().is_some() && now.refusal().is_some());
        let expected =
            later.map(|at| (at, case.verdict(at, &Rules::DEFAULT))).find(|(_, verdict)| matters(verdict));
        let found = known.next_change.map(|change| (change.at, change.becomes));
        (found != expected).then(|| format!("expected {expected:?}, found {found:?}"))
    });
    none_of(&found, "the next change is another one");
}

#[test]
fn the_unknown_is_named_wherever_it_decides() {
    let found = misses(|case| {
        let kind = |v: &Verdict| (v.is_admitted(), v.is_disabled());
        let now = kind(&case.verdict(case.question.at, &Rules::DEFAULT));
        let mut expected = Vec::new();
        for knob in Knob::ALL {
            for (value, rules) in knob.alternatives(&Rules::DEFAULT) {
                let verdict = case.verdict(case.question.at, &rules);
                if kind(&verdict) != now {
                    expected.push((knob, value, verdict));
                }
            }
        }
        let found: Vec<_> =
            case.examine().alternatives.into_iter().map(|a| (a.knob, a.value, a.verdict)).collect();
        (found != expected).then(|| format!("expected {expected:?}, found {found:?}"))
    });
    none_of(&found, "alternatives are missing");
}

#[test]
fn some_verdicts_hang_on_what_is_unknown() {
    for (id, knob) in [
        ("leaf-ca-true", Knob::LeafCa),
        ("leaf-v1", Knob::LeafV1),
        ("eku-server-only", Knob::ExtendedKeyUsage),
        ("time-anchor-expired", Knob::AnchorChecks),
        ("pres-root-omitted", Knob::VerifiedCaMustBePresented),
        ("svc-individual-other-cert", Knob::IndividualFallThrough),
        ("alg-rsa1024-leaf-only", Knob::Rsa1024),
        ("alg-p521", Knob::P521),
        ("alg-ed25519", Knob::Ed25519),
        ("alg-sha1-rsa", Knob::Sha1),
        ("cn-two-diff-first", Knob::SeveralCns),
        ("cn-len-65", Knob::LongestCn),
        ("depth-7", Knob::LongestPath),
    ] {
        let found: Vec<Knob> = Case::named(id).examine().alternatives.iter().map(|a| a.knob).collect();
        assert!(found.contains(&knob), "{id}: {found:?}");
    }
}

#[test]
fn a_date_that_is_missed_by_a_minute_hangs_on_how_exact_clocks_have_to_be() {
    let case = Case::named("eku-client");
    let begin = case.presented.certificates[0].not_before();
    for (early, expected) in [(60, true), (301, false)] {
        let question = Question { at: begin - early, ..case.question.clone() };
        let found = examine_in(&case.presented, &question, &case.instance).alternatives;
        assert_eq!(found.iter().any(|a| a.knob == Knob::ClockSkew), expected, "{early} s early");
    }
}

/// The places in what was sent of what is to be sent; none for what was added.
fn places(case: &Case, chain: &[Arc<Certificate>]) -> Vec<Option<usize>> {
    let place = |c: &Arc<Certificate>| case.presented.certificates.iter().position(|p| p == c);
    chain.iter().map(place).collect()
}

#[test]
fn what_is_disordered_superfluous_or_at_hand_is_put_right() {
    let kept = |places: &[usize]| Some(places.iter().map(|&i| Some(i)).collect::<Vec<_>>());
    let rows = [
        ("pres-full", None),
        ("pres-root-omitted", Some(vec![Some(0), Some(1), None])),
        ("pres-leaf-only-issuer-verified", Some(vec![Some(0), None])),
        ("pres-leaf-only-issuer-not-verified", Some(vec![Some(0), None, None])),
        ("pres-intermediate-verified-full", kept(&[0, 1])),
        ("pres-duplicates", kept(&[0, 1, 2])),
        ("pres-other-tenant", None),
        ("pres-self-signed-leaf", None),
        ("time-leaf-expired", None),
        ("cn-mismatch", None),
        ("svc-individual-secondary", None),
        ("svc-group-disabled", None),
    ];
    for (id, expected) in rows {
        let case = Case::named(id);
        let found = case.examine().repair.map(|repair| places(case, &repair.chain));
        assert_eq!(found, expected, "{id}");
    }
    for id in [
        "pres-reversed-tail",
        "pres-shuffled",
        "pres-unrelated",
        "pres-leaf-repeated",
        "pres-other-leaf",
        "pres-ca-first",
        "size-60-junk",
        "iss-cross-signed-a",
    ] {
        assert!(Case::named(id).examine().repair.is_some(), "{id}");
    }
}

#[test]
fn a_repaired_chain_is_let_in_and_leaves_nothing_to_repair() {
    let found = misses(|case| {
        let repair = case.examine().repair?;
        let chain = sent(&repair.chain);
        let again = examine_in(&chain, &case.question, &case.instance);
        let untidy = [
            Code::ChainOrder,
            Code::ChainDuplicate,
            Code::ChainExtra,
            Code::LeafNotFirst,
            Code::ChainIncomplete,
            Code::VerifiedCaNotSent,
            Code::StaleRootSent,
            Code::ExpiredBranch,
            Code::AmbiguousIssuer,
        ];
        let left: Vec<Finding> =
            again.findings.iter().filter(|f| untidy.contains(&f.code)).cloned().collect();
        let good = repair.verdict.is_admitted() && again.judgement.verdict == repair.verdict;
        let done = good && again.repair.is_none() && left.is_empty() && !repair.steps.is_empty();
        (!done).then(|| format!("{:?}, {:?}, left {:?}", repair.verdict, repair.steps, codes(&left)))
    });
    none_of(&found, "the repair does not repair");
}

#[test]
fn an_intermediate_that_nobody_holds_is_named_and_not_made_up() {
    let case = Case::named("pres-leaf-only-issuer-not-verified");
    let issuer = case.presented.certificates[0].issuer();
    let mut instance = case.instance.clone();
    instance.groups[0].primary = instance.groups[0].primary.take().map(|slot| match slot {
        Slot::Certificate { sha256, .. } => Slot::Certificate { sha256, certificate: None },
        reference => reference,
    });
    let examination = examine_in(&case.presented, &case.question, &instance);
    assert!(!examination.is_accepted());
    assert!(examination.repair.is_none());
    assert!(examination.missing.is_some_and(|missing| missing.contains(&issuer)));
    let missing = examination.findings.iter().find(|f| f.code == Code::ChainIncomplete);
    let missing = missing.expect("the issuer is missing");
    assert_eq!(
        missing.about.as_ref().map(|a| (a.index, a.issuer.as_str())),
        Some((Some(0), issuer.as_str()))
    );
}

#[test]
fn nothing_is_said_to_be_missing_where_that_is_not_what_is_wrong() {
    for id in ["pres-full", "pres-leaf-only-issuer-not-verified", "pres-other-tenant", "cn-mismatch"] {
        assert_eq!(Case::named(id).examine().missing, None, "{id}");
    }
}

#[test]
fn a_missing_issuer_that_is_uploaded_and_unverified_is_said_to_be() {
    let case = Case::named("pres-leaf-only-issuer-not-verified");
    let Some(Slot::Certificate { certificate: Some(factory), .. }) = case.instance.groups[0].primary.clone()
    else {
        panic!("the group holds its CA by value");
    };
    for (state, code) in
        [(CaState::Unverified, Code::CaUnverified), (CaState::CodePending, Code::CaCodePending)]
    {
        let mut instance = case.instance.clone();
        instance.cas = vec![uploaded("factory", &factory, state)];
        let found = examine_in(&case.presented, &case.question, &instance).findings;
        assert!(found.iter().any(|f| f.code == code && f.severity == Severity::Error), "{:?}", codes(&found));
        // With the root verified above it, it only has to be sent.
        instance.cas.push(case.instance.cas[0].clone());
        let found = examine_in(&case.presented, &case.question, &instance).findings;
        assert!(!found.iter().any(|f| f.code == code), "{:?}", codes(&found));
    }
}

#[test]
fn the_window_and_the_margin_decide_how_bad_an_expiry_is() {
    let case = Case::named("eku-client");
    let end = case.presented.certificates[0].not_after();
    let at = case.question.at;
    let rows = [
        ("far from any end", None, 0, None),
        ("inside the margin", None, end - at, Some(Severity::Warning)),
        ("inside the rollout", Some((at, end + 1)), 0, Some(Severity::Error)),
        ("on the last second of the rollout", Some((at, end)), 0, Some(Severity::Warning)),
        ("in the margin after the rollout", Some((at, end - DAY)), DAY, Some(Severity::Warning)),
        ("after the margin", Some((at, end - DAY)), DAY - 1, None),
    ];
    for (what, window, margin, expected) in rows {
        let question = Question { window, margin, ..case.question.clone() };
        let found = examine_in(&case.presented, &question, &case.instance).findings;
        let leaf = found.iter().filter(|f| f.about.as_ref().is_some_and(|a| a.index == Some(0)));
        let found = leaf.filter(|f| f.code == Code::ExpiresInWindow).map(|f| f.severity).max();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn a_chain_has_to_hold_from_the_first_to_the_last_second_of_the_rollout() {
    let case = Case::named("eku-client");
    let (at, end) = (case.question.at, case.presented.certificates[0].not_after());
    let rows = [
        ("no rollout", None, None),
        ("it ends with the leaf", Some((at, end)), None),
        ("the leaf ends inside", Some((at, end + 1)), Some(end + 1)),
        ("begun already", Some((at - DAY, end + 1)), Some(end + 1)),
        ("the leaf ends just before", Some((end + 1, end + DAY)), Some(end + 1)),
        ("the leaf ends long before", Some((end + DAY, end + 2 * DAY)), Some(end + DAY)),
        ("one second, the leaf's last", Some((end, end)), None),
        ("over already", Some((at - 2 * DAY, at - DAY)), None),
    ];
    for (what, window, expected) in rows {
        let question = Question { window, margin: 0, ..case.question.clone() };
        let found = examine_in(&case.presented, &question, &case.instance);
        assert_eq!(found.fails_in_window().map(|change| change.at), expected, "{what}");
        assert_eq!(found.is_accepted(), expected.is_none(), "{what}");
        assert!(found.judgement.verdict.is_admitted(), "{what}");
        let error = |f: &Finding| f.code == Code::ExpiresInWindow && f.severity == Severity::Error;
        assert_eq!(found.findings.iter().any(error), expected.is_some(), "{what}");
    }
}

#[test]
fn a_rollout_of_many_years_fails_at_the_first_moment_at_which_the_device_is_refused() {
    let found = misses(|case| {
        let at = case.question.at;
        let dates =
            case.presented.certificates.iter().chain(case.instance.cas.iter().map(|c| &c.certificate));
        let mut moments: Vec<i64> = dates.flat_map(|c| [c.not_before(), c.not_after() + 1]).collect();
        moments.sort_unstable();
        let admitted = |at: i64| case.verdict(at, &Rules::DEFAULT).is_admitted();
        for window in [(at, at + 18_000 * DAY), (at + 400 * DAY, at + 800 * DAY)] {
            let (start, end) = window;
            let inside = moments.iter().copied().filter(|m| (start..=end).contains(m));
            let expected = std::iter::once(start).chain(inside).find(|&m| admitted(at) && !admitted(m));
            let question = Question { window: Some(window), ..case.question.clone() };
            let examination = examine_in(&case.presented, &question, &case.instance);
            let found = examination.fails_in_window().map(|change| change.at);
            let harsh = |f: &Finding| f.code == Code::ExpiresInWindow && f.severity == Severity::Error;
            let agrees = !examination.is_accepted() || !examination.findings.iter().any(harsh);
            if found != expected || !agrees {
                return Some(format!("{window:?}: expected {expected:?}, found {found:?}, agrees {agrees}"));
            }
        }
        None
    });
    none_of(&found, "the rollout fails at another moment");
}

#[test]
fn one_clock_that_is_ahead_is_told_once() {
    let found = misses(|case| {
        let at = case.presented.certificates.iter().map(|c| c.not_before()).max()?;
        let question = Question { at, ..case.question.clone() };
        let findings = examine_in(&case.presented, &question, &case.instance).findings;
        let told = findings.iter().filter(|f| f.code == Code::ClockMargin).count();
        (told > 1).then(|| format!("told {told} times"))
    });
    none_of(&found, "one clock is told more than once");
}

#[test]
fn who_renews_a_leaf_is_told_of_the_next_fault_too() {
    let gap = Code::ChainIncomplete;
    let rows: [(&str, &[Code]); 5] = [
        ("eku-client", &[]),
        ("pres-gap", &[gap]),
        ("pres-other-tenant", &[Code::NoVerifiedCa]),
        ("svc-group-missing", &[Code::GroupMissing]),
        ("svc-ca-unverified", &[Code::CaUnverified]),
    ];
    for (id, others) in rows {
        let case = Case::named(id);
        let leaf = &case.presented.certificates[0];
        for (at, code) in [(leaf.not_after() + 1, Code::Expired), (leaf.not_before() - 1, Code::NotYetValid)]
        {
            let question = Question { at, ..case.question.clone() };
            let found = examine_in(&case.presented, &question, &case.instance).findings;
            let mut errors: Vec<Code> =
                found.iter().filter(|f| f.severity == Severity::Error).map(|f| f.code).collect();
            errors.sort_unstable();
            errors.dedup();
            assert!(!found.iter().any(|f| f.code == Code::ChainExtra), "{id}: {:?}", codes(&found));
            let mut expected = [others, &[code]].concat();
            expected.sort_unstable();
            assert_eq!(errors, expected, "{id}");
        }
    }
}

#[test]
fn a_start_of_validity_within_a_day_of_the_first_use_is_a_narrow_margin() {
    let case = Case::named("eku-client");
    let begin = case.presented.certificates[0].not_before();
    for (at, expected) in [(begin, true), (begin + DAY - 1, true), (begin + DAY, false)] {
        let question = Question { at, ..case.question.clone() };
        let found = examine_in(&case.presented, &question, &case.instance).findings;
        let leaf = found.iter().filter(|f| f.about.as_ref().is_some_and(|a| a.index == Some(0)));
        assert_eq!(
            leaf.filter(|f| f.code == Code::ClockMargin).count(),
            usize::from(expected),
            "{}",
            at - begin
        );
    }
}

#[test]
fn without_enrollments_the_question_is_only_whether_the_chain_rolls_up() {
    let bare = |case: &Case| Instance { cas: case.instance.cas.clone(), ..Instance::default() };
    for (id, purpose, expected) in [
        ("pres-full", Purpose::Client, Verdict::RollsUp),
        ("cn-mismatch", Purpose::Client, Verdict::RollsUp),
        ("cn-missing", Purpose::Client, Verdict::RollsUp),
        ("eku-server-only", Purpose::Client, Verdict::InvalidCertificate),
        ("eku-server-only", Purpose::Any, Verdict::RollsUp),
        ("pres-gap", Purpose::Any, Verdict::NoVerifiedCa),
    ] {
        let case = Case::named(id);
        let question = Question { purpose, ..case.question.clone() };
        let found = examine_in(&case.presented, &question, &bare(case));
        assert_eq!(found.judgement.verdict, expected, "{id} {purpose:?}");
        let error = found.findings.iter().any(|f| f.severity == Severity::Error);
        assert_eq!(error, !found.is_accepted(), "{id}: {:?}", codes(&found.findings));
        assert!(!id.starts_with("cn-") || found.findings.iter().any(|f| f.code.as_str() == id), "{id}");
    }
}

#[test]
fn with_no_id_given_the_cn_is_the_registration_id_and_has_to_be_one() {
    for (id, expected, known) in [
        ("pres-full", "accept", Some("dev-1")),
        ("cn-missing", "cn-missing", None),
        ("cn-slash", "cn-mismatch", None),
        ("cn-two-diff-first", "cn-mismatch", None),
    ] {
        let case = Case::named(id);
        let question = Question { registration_id: None, ..case.question.clone() };
        let found = examine_in(&case.presented, &question, &case.instance);
        assert_eq!(found.judgement.verdict.name(), expected, "{id}");
        assert_eq!(found.registration_id.as_ref().map(RegistrationId::as_str), known, "{id}");
    }
}

#[test]
fn a_key_that_is_another_devices_is_an_error_and_an_empty_file_is_no_chain() {
    let case = Case::named("pres-full");
    for (key_matches, expected) in [(None, 0), (Some(true), 0), (Some(false), 1)] {
        let presented = Presented { key_matches, ..case.presented.clone() };
        let found = examine_in(&presented, &case.question, &case.instance).findings;
        let keys = found.iter().filter(|f| f.code == Code::KeyMismatch && f.severity == Severity::Error);
        assert_eq!(keys.count(), expected, "{key_matches:?}");
    }
    let empty = examine_in(&Presented::default(), &case.question, &case.instance);
    assert_eq!(empty.judgement.verdict, Verdict::InvalidCertificate);
}

#[test]
fn what_the_files_have_wrong_is_taken_over() {
    let case = Case::named("pres-full");
    let oddity = Finding::new(Code::PemCrlf, "the file has line ends of another system", "convert it");
    let presented = Presented { file_findings: vec![oddity.clone()], ..case.presented.clone() };
    assert!(examine_in(&presented, &case.question, &case.instance).findings.contains(&oddity));
}

#[test]
fn a_constrained_device_has_no_room_for_a_long_chain() {
    let case = Case::named("size-leaf-8k");
    for (constrained, expected) in [(false, Severity::Warning), (true, Severity::Error)] {
        let question = Question { constrained, ..case.question.clone() };
        let found = examine_in(&case.presented, &question, &case.instance).findings;
        let size = found.iter().find(|f| f.code == Code::ChainSize).map(|f| f.severity);
        assert_eq!(size, Some(expected));
    }
}

/// A CA certificate with this name and a key of its own.
fn named_alike(name: &str) -> (rcgen::Issuer<'static, rcgen::KeyPair>, Arc<Certificate>) {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let written = params.self_signed(&key).expect("a certificate");
    let read = Certificate::from_der(written.der().to_vec()).expect("reads back");
    (rcgen::Issuer::new(params, key), Arc::new(read))
}

#[test]
fn a_cas_certificate_in_place_of_a_devices_is_one_finding_and_a_device_that_says_it_is_a_ca_another() {
    let case = Case::named("pres-full");
    let [_, factory, root] = &case.presented.certificates[..] else { panic!("leaf, factory, root") };
    let device = named_alike("dev-1").1;
    let stranger = named_alike("Some Root").1;
    let id = RegistrationId::new("dev-1").expect("a good id");
    let ca: &[Code] = &[Code::LeafIsCa];
    let self_signed: &[Code] = &[Code::LeafSelfSigned, Code::LeafIsCa];
    type Row<'a> = (&'a str, Vec<Arc<Certificate>>, Option<&'a RegistrationId>, Option<bool>, &'a [Code]);
    let rows: [Row<'_>; 7] = [
        ("an uploaded root", vec![root.clone()], None, None, ca),
        ("a factory with its root", vec![factory.clone(), root.clone()], None, None, ca),
        ("a root of nobody's", vec![stranger.clone()], None, None, ca),
        ("a root whose key was given", vec![root.clone()], None, Some(true), ca),
        ("a device asked for by its name", vec![device.clone()], Some(&id), None, self_signed),
        ("a device by its looks", vec![device.clone()], None, None, self_signed),
        ("a device by its key", vec![stranger.clone()], None, Some(true), self_signed),
    ];
    for (what, certificates, id, key_matches, expected) in rows {
        let presented = Presented { key_matches, ..sent(&certificates) };
        let examination = examine_in(&presented, &question(id, case.question.at), &case.instance);
        let all = codes(&examination.findings);
        let errors = |code: &Code| {
            examination.findings.iter().any(|f| f.code == *code && f.severity == Severity::Error)
        };
        assert!(expected.iter().all(errors), "{what}: {all:?}");
        assert_eq!(examination.findings.len() == 1, expected == ca, "{what}: {all:?}");
        assert!(!examination.is_accepted(), "{what}");
    }
}

#[test]
fn only_several_groups_on_one_path_are_worth_a_warning() {
    let case = Case::named("pres-full");
    let [_, factory, root] = &case.presented.certificates[..] else { panic!("leaf, factory, root") };
    let (near, far) = (|| group("near", factory, true), || group("far", root, true));
    let rows = [
        ("near alone", vec![near()], None),
        ("far alone", vec![far()], Some(Severity::Info)),
        ("both", vec![near(), far()], Some(Severity::Warning)),
    ];
    for (what, groups, expected) in rows {
        let instance = Instance { groups, ..case.instance.clone() };
        let found = examine_in(&case.presented, &case.question, &instance).findings;
        let shadowed = found.iter().find(|f| f.code == Code::GroupShadowed).map(|f| f.severity);
        assert_eq!(shadowed, expected, "{what}");
    }
}

#[test]
fn what_a_chain_has_told_of_its_instance_is_not_told_again() {
    let dangling =
        Group { primary: Some(Slot::Reference("gone".into())), ..group("d", &leaf_of("pres-full"), true) };
    for (id, code) in [
        ("svc-ca-unverified", Code::CaUnverified),
        ("svc-cert-two-entries", Code::EntryDuplicate),
        ("svc-group-missing", Code::CaReferenceDangling),
    ] {
        let case = Case::named(id);
        let mut instance = case.instance.clone();
        if code == Code::CaReferenceDangling {
            instance.groups.push(dangling.clone());
        }
        instance.registrations = Some(1_000_000);
        let findings = instance.findings(case.question.at);
        let examination = examine_in(&case.presented, &case.question, &instance);
        let holds = |list: &[&Finding], code| list.iter().any(|f| f.code == code);
        assert!(holds(&findings.iter().collect::<Vec<_>>(), code), "{id}: {:?}", codes(&findings));
        assert!(examination.findings.iter().any(|f| f.code == code), "{id}");
        let beside = examination.beside(&findings);
        assert!(!holds(&beside, code), "{id}");
        assert!(holds(&beside, Code::LimitRegistrations), "{id}");
    }
}

#[test]
fn a_chain_of_many_cas_with_one_endless_name_is_explained_in_few_words() {
    let name = "n".repeat(60_000);
    let (signer, _) = named_alike(&name);
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "dev-1");
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, &signer).expect("a certificate");
    let mut chain = vec![Arc::new(Certificate::from_der(leaf.der().to_vec()).expect("reads back"))];
    chain.extend((0..200).map(|_| named_alike(&name).1));
    let case = Case::named("pres-full");
    let found = examine_in(&sent(&chain), &case.question, &case.instance);
    assert!(!found.is_accepted());
    assert!(found.findings.iter().any(|f| f.code == Code::ChainExtra && f.severity == Severity::Error));
    let words =
        |f: &Finding| f.message.len() + f.fix.len() + f.evidence.iter().map(String::len).sum::<usize>();
    assert!(found.findings.iter().map(words).sum::<usize>() < 20_000, "{:?}", codes(&found.findings));
}

fn leaf_of(id: &str) -> Arc<Certificate> {
    Case::named(id).presented.certificates[0].clone()
}

#[test]
fn devices_that_share_what_is_their_own_are_found_in_a_batch() {
    let full = leaf_of("pres-full");
    let root = Case::named("pres-full").presented.certificates[2].clone();
    type Row = (&'static str, Vec<Arc<Certificate>>, Vec<(Code, bool, (u64, u64))>);
    let rows: [Row; 6] = [
        ("one device", vec![full.clone()], vec![]),
        (
            "one device listed twice",
            vec![full.clone(), full.clone()],
            vec![(Code::SerialDuplicate, true, (0, 1))],
        ),
        (
            "the same twice, after another with its key and name",
            vec![leaf_of("serial-one"), full.clone(), full.clone()],
            vec![
                (Code::SerialDuplicate, true, (1, 2)),
                (Code::KeyDuplicate, false, (0, 1)),
                (Code::CnCollision, false, (0, 1)),
            ],
        ),
        (
            "names that differ in case, one key in all rows, serials of other issuers",
            vec![leaf_of("cn-case"), leaf_of("pres-leaf-from-root")],
            vec![(Code::KeyDuplicate, false, (0, 1)), (Code::CnCollision, false, (0, 1))],
        ),
        (
            "devices without a name are no twins for that",
            vec![leaf_of("cn-missing"), leaf_of("alg-p521-leaf-only"), leaf_of("cn-empty-subject")],
            vec![(Code::SerialDuplicate, false, (0, 1)), (Code::KeyDuplicate, false, (0, 2))],
        ),
        (
            "a CA that several files begin with, between two devices",
            vec![root.clone(), leaf_of("cn-case"), root, leaf_of("pres-leaf-from-root")],
            vec![(Code::KeyDuplicate, false, (1, 3)), (Code::CnCollision, false, (1, 3))],
        ),
    ];
    for (what, leaves, expected) in rows {
        let mut batch = Batch::default();
        leaves.iter().for_each(|leaf| batch.add(leaf));
        let found: Vec<_> = batch.twins().into_iter().map(|t| (t.code, t.same_certificate, t.pair)).collect();
        assert_eq!(found, expected, "{what}");
        let severities: Vec<Severity> =
            batch.findings(|i| format!("device {i}")).iter().map(|f| f.severity).collect();
        let severity = |same: bool| if same { Severity::Info } else { Severity::Error };
        let expected: Vec<Severity> = expected.iter().map(|(_, same, _)| severity(*same)).collect();
        assert_eq!(severities, expected, "{what}");
    }
}

#[test]
fn a_refusal_that_only_gets_another_reason_is_no_change() {
    for (id, changes) in [("pres-full", true), ("cn-mismatch", false), ("pres-gap", false)] {
        assert_eq!(Case::named(id).examine().next_change.is_some(), changes, "{id}");
    }
}

#[test]
fn the_limits_of_an_instance_are_near_at_four_fifths() {
    let case = Case::named("pres-full");
    let with = |cas: usize, groups: usize, registrations: u64| Instance {
        cas: vec![case.instance.cas[0].clone(); cas],
        groups: (0..groups)
            .map(|i| Group { primary: None, ..group(&format!("g-{i}"), &leaf_of("pres-full"), true) })
            .collect(),
        registrations: Some(registrations),
        ..Instance::default()
    };
    let rows = [
        (with(19, 79, 799_999), [None, None, None]),
        (with(20, 80, 800_000), [Some(Severity::Warning); 3]),
        (with(24, 99, 999_999), [Some(Severity::Warning); 3]),
        (with(25, 100, 1_000_000), [Some(Severity::Error); 3]),
    ];
    for (instance, expected) in rows {
        let found = instance.findings(case.question.at);
        let severity = |code| found.iter().find(|f| f.code == code).map(|f| f.severity);
        let limits = [Code::LimitCa, Code::LimitGroup, Code::LimitRegistrations];
        assert_eq!(limits.map(severity), expected, "{} CAs", instance.cas.len());
    }
}

#[test]
fn an_instance_is_told_what_is_wrong_with_itself() {
    let case = Case::named("pres-full");
    let [leaf, factory, root] = &case.presented.certificates[..] else { panic!("leaf, factory, root") };
    let instance = |cas: Vec<UploadedCa>, groups: Vec<Group>| Instance { cas, groups, ..Instance::default() };
    let on_factory = || vec![group("g", factory, true)];
    let by_name =
        |name: &str| Group { primary: Some(Slot::Reference(name.into())), ..group("g", factory, true) };
    let at = case.question.at;
    let late = root.not_after() + 1;
    use CaState::{CodePending, Unverified, Verified};
    use Severity::{Error, Warning};
    let rows = [
        ("nothing", instance(vec![uploaded("r", root, Verified)], on_factory()), at, vec![]),
        (
            "root unverified",
            instance(vec![uploaded("r", root, Unverified)], on_factory()),
            at,
            vec![(Code::CaUnverified, Error)],
        ),
        (
            "root pending",
            instance(vec![uploaded("r", root, CodePending)], on_factory()),
            at,
            vec![(Code::CaCodePending, Error)],
        ),
        ("nothing hangs on it", instance(vec![uploaded("r", root, Unverified)], vec![]), at, vec![]),
        (
            "root verified above it",
            instance(vec![uploaded("r", root, Verified), uploaded("f", factory, Unverified)], on_factory()),
            at,
            vec![],
        ),
        (
            "its root may come from devices",
            instance(vec![uploaded("f", factory, Unverified)], vec![by_name("f")]),
            at,
            vec![(Code::CaUnverified, Warning)],
        ),
        (
            "dangling",
            instance(vec![uploaded("r", root, Verified)], vec![by_name("gone")]),
            at,
            vec![(Code::CaReferenceDangling, Error)],
        ),
        (
            "twice",
            instance(
                vec![uploaded("r", root, Verified)],
                vec![group("a", factory, true), group("b", factory, false)],
            ),
            at,
            vec![(Code::EntryDuplicate, Error)],
        ),
        (
            "a leaf",
            instance(vec![uploaded("l", leaf, Verified)], vec![]),
            at,
            vec![(Code::LeafUploadedAsCa, Error)],
        ),
        (
            "expired, used",
            instance(vec![uploaded("r", root, Verified)], vec![by_name("r")]),
            late,
            vec![(Code::Expired, Error)],
        ),
        (
            "expired, unused",
            instance(vec![uploaded("r", root, Verified)], vec![]),
            late,
            vec![(Code::Expired, Warning)],
        ),
    ];
    for (what, instance, at, expected) in rows {
        let found: Vec<_> = instance.findings(at).into_iter().map(|f| (f.code, f.severity)).collect();
        assert_eq!(found, expected, "{what}");
    }
}
