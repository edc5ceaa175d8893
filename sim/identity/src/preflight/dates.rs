//! What time does to a chain: what ends during or after the rollout, and when the verdict changes next.

use super::case::Case;
use super::findings::Findings;
use super::words::{date, span};
use super::{Change, Code, Finding, Severity};
use crate::certificate::Certificate;
use crate::verdict::Check;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Moments at which the judge is asked again.
const MOST_MOMENTS: usize = 40;
/// The same where one judgement used up all the work it is given.
const FEW_MOMENTS: usize = 3;
/// How long before its first use a certificate should be valid: clocks differ.
const BACKDATED: i64 = 86_400;
/// 99991231235959Z, "no expiry" (RFC 5280 section 4.1.2.5).
const NO_EXPIRY: i64 = 253_402_300_799;

/// Everything about dates but what has passed already.
pub(super) fn find(case: &Case<'_>, out: &mut Findings) {
    let at = case.question.at;
    for (index, certificate) in case.used().iter().enumerate() {
        // Dates of an anchor count where the rules say so.
        let anchor = case.needed == Some(index) && !case.rules.anchor_checks;
        let counts = index == 0 || (certificate.is_ca() && !anchor);
        if certificate.is_valid_at(at) && counts {
            ends_soon(case, index, certificate, out);
            began_late(case, certificate, out);
        }
    }
    outlives(case, out);
}

/// The last second for which the chain has to work, and up to when an expiry is still worth a warning.
fn horizon(case: &Case<'_>) -> (i64, i64) {
    let end = case.question.window.map_or(case.question.at, |(_, end)| end).max(case.question.at);
    (end, end.saturating_add(case.question.margin.max(0)))
}

fn ends_soon(case: &Case<'_>, index: usize, certificate: &Arc<Certificate>, out: &mut Findings) {
    let (end, margin) = horizon(case);
    let last = certificate.not_after();
    if last > margin {
        return;
    }
    let name = case.name(certificate);
    let inside = case.question.window.is_some() && last < end;
    let severity = if inside { Severity::Error } else { Severity::Warning };
    let message = if inside {
        format!("{name} expires during the rollout, {} before its end", span(end - last))
    } else {
        format!("{name} expires {} after the moment that counts", span(last - end))
    };
    let fix = match index {
        0 => format!("renew {name} before {}, under the same CN", date(last)),
        _ => format!(
            "verify a new generation of {name} before {}, add it to its group as secondary, and renew the devices below it",
            date(last)
        ),
    };
    let finding =
        Finding::new(Code::ExpiresInWindow, message, fix).at(severity).about(case.about(certificate));
    out.add(finding.seen_by([format!("not after {}", date(last))]));
}

fn began_late(case: &Case<'_>, certificate: &Arc<Certificate>, out: &mut Findings) {
    let first = case.question.window.map_or(case.question.at, |(start, _)| start);
    let begin = certificate.not_before();
    let earlier = first.saturating_sub(begin);
    if earlier >= BACKDATED {
        return;
    }
    let name = case.name(certificate);
    let message = match earlier {
        ..0 => format!("{name} becomes valid {} after the rollout begins", span(-earlier)),
        _ => format!(
            "{name} became valid {} before its first use; a device whose clock is behind is refused",
            span(earlier)
        ),
    };
    let fix =
        format!("reissue {name} backdated by a day, or wait until {}", date(begin.saturating_add(BACKDATED)));
    let finding = Finding::new(Code::ClockMargin, message, fix).about(case.about(certificate));
    out.add(finding.seen_by([format!("not before {}", date(begin))]));
}

/// A leaf that is valid for longer than a CA that it needs.
fn outlives(case: &Case<'_>, out: &mut Findings) {
    let authorities = case.used().get(1..).unwrap_or_default();
    let Some(first) = authorities.iter().min_by_key(|c| c.not_after()) else { return };
    let (ends, leaf) = (first.not_after(), case.leaf);
    if leaf.not_after() <= ends || !leaf.is_valid_at(case.question.at) || ends < case.question.at {
        return;
    }
    // Who never expires outlives every CA, as is meant.
    let severity = if leaf.not_after() >= NO_EXPIRY { Severity::Info } else { Severity::Warning };
    let (name, above) = (case.name(leaf), case.name(first));
    let message = format!(
        "{name} is valid until {} and stops working with {above} on {}",
        date(leaf.not_after()),
        date(ends)
    );
    let fix =
        format!("renew {above} before {}, with the same key and name if the leaves are to stay", date(ends));
    let finding = Finding::new(Code::OutlivesIssuer, message, fix).at(severity).about(case.about(leaf));
    out.add(finding.seen_by([format!("{above} not after {}", date(ends))]));
}

/// The earliest moment at which the verdict is another one, if dates alone ever change it.
pub(super) fn next_change(case: &Case<'_>) -> Option<Change> {
    let spent = case.judgement.trail.iter().any(|d| d.check == Check::Budget);
    let limit = if spent { FEW_MOMENTS } else { MOST_MOMENTS };
    moments(case).into_iter().take(limit).find_map(|(at, because)| {
        let becomes = case.judge(case.presented, at, &case.rules).verdict;
        (becomes != case.judgement.verdict).then_some(Change { at, becomes, because })
    })
}

/// The moments at which something that a path could use begins or ends, with what does.
fn moments(case: &Case<'_>) -> BTreeMap<i64, String> {
    let skew = i64::try_from(case.rules.clock_skew.as_secs()).unwrap_or(i64::MAX);
    let mut found = BTreeMap::new();
    // What is on the line comes first, so that it is what is named.
    let first = case.presented.first();
    for certificate in case.line.iter().chain(&case.related).chain(first) {
        let begins = certificate.not_before().saturating_sub(skew);
        let ends = certificate.not_after().saturating_add(skew).saturating_add(1);
        let mut note = |at: i64, what: &str| {
            if at > case.question.at && at < i64::MAX {
                found.entry(at).or_insert_with(|| format!("{} {what}", case.name(certificate)));
            }
        };
        note(begins, "becomes valid");
        note(ends, "expires");
    }
    found
}
