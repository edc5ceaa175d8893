//! The chain as it should be sent.
//!
//! Only what is at hand is used: what was presented, and what the instance holds. A CA certificate that nobody holds
//! cannot be made up.

use super::case::{Case, related};
use super::words::{issuer_key_id, key_id};
use super::{Repair, Slot};
use crate::certificate::Certificate;
use crate::verdict::{Check, Judgement};
use std::collections::HashSet;
use std::sync::Arc;

/// The corrected chain, where it differs from what was presented and is let in.
pub(super) fn repair(case: &Case<'_>) -> Option<Repair> {
    let chain = match case.judgement.verdict.is_admitted() {
        true => shortened(case, &case.judgement),
        false => shortened(case, &completed(case)),
    }?;
    if same(&chain, case.presented) {
        return None;
    }
    let verdict = case.judge(&chain, case.question.at, &case.rules).verdict;
    verdict.is_admitted().then(|| Repair { steps: steps(case, &chain), chain, verdict })
}

fn same(a: &[Arc<Certificate>], b: &[Arc<Certificate>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.sha256() == b.sha256())
}

/// The leaf and the CAs of a path up to the one that is needed; none where no path was good.
fn shortened(case: &Case<'_>, judgement: &Judgement) -> Option<Vec<Arc<Certificate>>> {
    if !judgement.verdict.is_admitted() {
        return None;
    }
    let path = &judgement.path;
    if case.is_individual() && path.len() == 1 {
        // The leaf alone decides: what comes after it is nobody's business.
        return Some(case.presented.to_vec());
    }
    let needed = case.needed_of(path)?;
    Some(path[..=needed].to_vec())
}

/// The judgement where everything is sent that is at hand.
fn completed(case: &Case<'_>) -> Judgement {
    let held = held(case);
    let at_hand: Vec<Arc<Certificate>> = case.presented.iter().cloned().chain(held).collect();
    let chain = related(case.leaf, &at_hand, &case.trust.verified);
    case.judge(&chain, case.question.at, &case.rules)
}

/// The certificate that would complete the chain, where neither the device nor the instance holds it: name and key
/// id, in a phrase.
pub(super) fn missing(case: &Case<'_>) -> Option<String> {
    let judgement = completed(case);
    let end = judgement.trail.iter().find(|d| d.check == Check::MissingIssuer)?;
    Some(format!("{} ({})", case.issuer_name(&end.element), issuer_key_id(&end.element)))
}

/// The CA certificates of the instance, verified or not, and those of its groups.
fn held(case: &Case<'_>) -> Vec<Arc<Certificate>> {
    let slots = case.instance.groups.iter().flat_map(|g| [&g.primary, &g.secondary]).flatten();
    let by_value = slots.filter_map(|slot| match slot {
        Slot::Certificate { certificate, .. } => certificate.clone(),
        Slot::Reference(_) => None,
    });
    case.instance.cas.iter().map(|ca| ca.certificate.clone()).chain(by_value).collect()
}

/// What was done, in phrases.
fn steps(case: &Case<'_>, chain: &[Arc<Certificate>]) -> Vec<String> {
    let mut steps = Vec::new();
    let within = |list: &[Arc<Certificate>], c: &Certificate| list.iter().any(|l| l.sha256() == c.sha256());
    if case.leaf_index > 0 {
        steps.push(format!("put the device's certificate {} first", case.name(case.leaf)));
    }
    let mut seen = HashSet::new();
    let (once, again): (Vec<_>, Vec<_>) = case.presented.iter().partition(|c| seen.insert(c.sha256()));
    if !again.is_empty() {
        steps.push(format!("dropped repetitions of {}", case.list(again)));
    }
    let (kept, dropped): (Vec<_>, Vec<_>) = once.into_iter().partition(|c| within(chain, c));
    if !dropped.is_empty() {
        steps.push(format!("dropped what no device needs to send: {}", case.list(dropped)));
    }
    let wanted = chain.iter().filter(|c| within(case.presented, c));
    let behind_leaf = |c: &&&Arc<Certificate>| c.sha256() != case.leaf.sha256();
    let reordered =
        !kept.iter().filter(behind_leaf).copied().eq(wanted.filter(|c| c.sha256() != case.leaf.sha256()));
    if reordered {
        steps.push("put each CA right after what it issued".to_owned());
    }
    for certificate in chain.iter().filter(|c| !within(case.presented, c)) {
        let from = match case.instance.uploaded(certificate) {
            Some(ca) => format!("uploaded{}", ca.label()),
            None => "held by an enrollment group".to_owned(),
        };
        steps.push(format!("added {} with {}, {from}", case.name(certificate), key_id(certificate)));
    }
    steps
}
