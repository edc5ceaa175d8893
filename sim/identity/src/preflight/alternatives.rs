//! What hangs on the parts of the service that nobody outside knows.

use super::Alternative;
use super::case::Case;
use crate::certificate::{Certificate, CommonName, KeyKind};
use crate::signature;
use crate::verdict::{Check, Knob, Verdict};
use std::sync::Arc;

/// Characters of a CN, CAs on a path and seconds of clock skew up to which no knob's other value makes a difference.
const SHORT_CN: usize = 64;
const SHORT_PATH: usize = 6;
const SKEW: i64 = 300;

/// The other verdicts that the chain could have.
pub(super) fn alternatives(case: &Case<'_>) -> Vec<Alternative> {
    let now = outcome(&case.judgement.verdict);
    // One hostile chain is not judged fifteen times.
    if case.judgement.trail.iter().any(|d| d.check == Check::Budget) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for knob in Knob::ALL.into_iter().filter(|knob| may_matter(case, *knob)) {
        for (value, rules) in knob.alternatives(&case.rules) {
            let verdict = case.judge(case.presented, case.question.at, &rules).verdict;
            if outcome(&verdict) != now {
                found.push(Alternative { knob, value, verdict });
            }
        }
    }
    found
}

/// Let in, told that it is disabled, or refused.
fn outcome(verdict: &Verdict) -> (bool, bool) {
    (verdict.is_admitted(), verdict.is_disabled())
}

/// Whether a knob could change anything for this chain. Judging costs a signature check; this costs nothing, and is
/// true where in doubt.
fn may_matter(case: &Case<'_>, knob: Knob) -> bool {
    let all = || case.related.iter().chain(case.presented.first());
    let any = |test: &dyn Fn(&Arc<Certificate>) -> bool| all().any(test);
    let keys = |test: &dyn Fn(KeyKind) -> bool| all().any(|c| test(c.key_kind()));
    let leaves = || std::iter::once(case.leaf).chain(case.presented.first());
    match knob {
        Knob::LeafCa => leaves().any(|leaf| leaf.is_ca()),
        Knob::LeafV1 => leaves().any(|leaf| leaf.version() != 3),
        // Extended key usage is left aside where the question says so, whatever the service does.
        Knob::ExtendedKeyUsage => {
            let asked = case.rules.extended_key_usage == case.question.rules.extended_key_usage;
            asked && any(&|c| c.extended_key_usage().is_some_and(|u| !u.client_auth && !u.any))
        }
        Knob::AnchorChecks => case.related.iter().any(|c| case.is_verified(c) && !is_plain_ca(case, c)),
        Knob::VerifiedCaMustBePresented => {
            case.related.iter().any(|c| case.is_verified(c) && !case.is_presented(c))
        }
        Knob::IndividualChain | Knob::IndividualFallThrough => !case.instance.individuals.is_empty(),
        Knob::Sha1 => any(&|c| signature::digest(c.signature_algorithm()).is_weak()),
        Knob::Rsa1024 => keys(&|kind| matches!(kind, KeyKind::Rsa(..2048, _) | KeyKind::RsaPss(..2048))),
        Knob::P521 => keys(&|kind| kind == KeyKind::P521),
        Knob::Ed25519 => keys(&|kind| kind == KeyKind::Ed25519),
        Knob::SeveralCns => leaves().any(|leaf| matches!(leaf.common_name(), CommonName::Several(_))),
        Knob::LongestCn => leaves().any(|leaf| match leaf.common_name() {
            CommonName::One(name) => name.chars().count() > SHORT_CN.min(case.rules.longest_cn),
            CommonName::Several(_) => true,
            CommonName::Missing | CommonName::Undecodable => false,
        }),
        Knob::LongestPath => case.related.len() > SHORT_PATH.min(case.rules.longest_path),
        Knob::ClockSkew => {
            let skew = i64::try_from(case.rules.clock_skew.as_secs()).unwrap_or(i64::MAX).max(SKEW);
            let near = |moment: i64| case.question.at.abs_diff(moment) <= skew.unsigned_abs();
            any(&|c| near(c.not_before()) || near(c.not_after()))
        }
    }
}

/// Whether a CA passes every check that is made of an anchor, whatever stands below it.
fn is_plain_ca(case: &Case<'_>, ca: &Certificate) -> bool {
    let free = ca.basic_constraints().is_some_and(|b| b.ca && b.path_length.is_none());
    let usage = ca.key_usage().is_none_or(|u| u.key_cert_sign) && ca.extended_key_usage().is_none();
    free && usage
        && ca.version() == 3
        && ca.is_valid_at(case.question.at)
        && ca.unknown_critical().is_none()
        && ca.irregularities().is_empty()
}
