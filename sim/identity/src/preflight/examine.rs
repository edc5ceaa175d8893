//! Puts everything that can be said about a chain together.

use super::case::Case;
use super::findings::Findings;
use super::{Change, Code, Examination, Finding, Instance, Presented, Question, Severity};
use super::{alternatives, chain, dates, dead_ends, entries, identity, profile, repair};
use crate::verdict::{Check, Judgement, SignatureMemo, Trust, Verdict};

/// What can be said about `presented` before it is tried. `trust` is [`Instance::trust`], computed once for many
/// chains; `memo` likewise.
///
/// Where the instance has enrollments, the question is whether one of them lets the device in; else only whether the
/// chain rolls up to a verified CA. Work is bounded for whatever is presented: 151 certificates are looked at, names
/// are cut in messages, and the judge is asked again only where a date or a knob could change its mind.
pub fn examine(
    presented: &Presented,
    question: &Question,
    instance: &Instance,
    trust: &Trust,
    memo: &SignatureMemo,
) -> Examination {
    // The judge is asked about the same leaf again and again.
    let memo = &memo.for_one_device();
    let mut findings = Findings::starting_with(presented.file_findings.clone());
    let Some(case) = Case::new(presented, question, instance, trust, memo) else {
        return unexplained(question, findings, Judgement::plain(Verdict::InvalidCertificate));
    };
    if case.is_without_device() {
        findings.add(dead_ends::no_device(&case));
        return unexplained(question, findings, case.judgement);
    }
    let moment = inside_leaf_validity(&case).map(|at| Question { at, window: None, ..question.clone() });
    let dated = moment.as_ref().and_then(|asked| Case::new(presented, asked, instance, trust, memo));
    // First, because what is above a gap is not superfluous.
    dated.iter().flat_map(other_errors).for_each(|finding| findings.add(finding));
    let window_ends_badly = dates::fails_in_window(&case);
    collect(&case, window_ends_badly.as_ref(), &mut findings);
    let findings = findings.sorted();
    let repair = repair::repair(&case);
    let incomplete = |f: &Finding| f.code == Code::ChainIncomplete && f.severity == Severity::Error;
    let missing = match repair.is_none() && findings.iter().any(incomplete) {
        true => repair::missing(dated.as_ref().unwrap_or(&case)),
        false => None,
    };
    Examination {
        registration_id: case.registration_id(case.leaf, &case.rules).ok(),
        findings,
        next_change: dates::next_change(&case),
        window_ends_badly,
        alternatives: alternatives::alternatives(&case),
        repair,
        missing,
        judgement: case.judgement,
    }
}

/// What there is to say where no device's certificate was presented.
fn unexplained(question: &Question, findings: Findings, judgement: Judgement) -> Examination {
    Examination {
        judgement,
        registration_id: question.registration_id.clone(),
        findings: findings.sorted(),
        next_change: None,
        window_ends_badly: None,
        alternatives: Vec::new(),
        repair: None,
        missing: None,
    }
}

fn collect(case: &Case<'_>, failure: Option<&Change>, findings: &mut Findings) {
    identity::find(case, findings);
    dead_ends::find(case, findings);
    profile::find(case, findings);
    chain::find(case, findings);
    dates::find(case, failure, findings);
    entries::find(case, findings);
}

/// The moment nearest to the one asked for at which a leaf is valid that is refused for its dates. The judge goes no
/// farther then, and who renews the leaf should not meet the next fault only afterwards.
fn inside_leaf_validity(case: &Case<'_>) -> Option<i64> {
    let [only] = &case.chain.trail[..] else { return None };
    let moment = match only.check {
        Check::Expired => case.leaf.not_after(),
        Check::NotYetValid => case.leaf.not_before(),
        _ => return None,
    };
    (only.culprit().sha256() == case.leaf.sha256()).then_some(moment)
}

/// The errors as of another moment, but for those that are about that moment.
fn other_errors(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    collect(case, None, &mut findings);
    let about_dates = [Code::Expired, Code::NotYetValid, Code::ExpiresInWindow];
    let mut errors = findings.sorted();
    errors.retain(|f| f.severity == Severity::Error && !about_dates.contains(&f.code));
    errors
}
