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

/// Everything about dates but what has passed already. `failure` is [`fails_in_window`].
pub(super) fn find(case: &Case<'_>, failure: Option<&Change>, out: &mut Findings) {
    let refused = failure.is_some() || !case.judgement.verdict.is_admitted();
    let counting: Vec<(usize, &Arc<Certificate>)> = counting(case).collect();
    for (index, certificate) in &counting {
        ends_soon(case, *index, certificate, refused, out);
    }
    // The nearest to the leaf of those that began last: one clock is told once.
    if let Some((_, last)) = counting.iter().rev().max_by_key(|(_, c)| c.not_before()) {
        began_late(case, last, out);
    }
    outlives(case, out);
}

/// The certificates of the path that are valid and have to be, with their places on it.
fn counting<'c>(case: &'c Case<'_>) -> impl Iterator<Item = (usize, &'c Arc<Certificate>)> {
    let at = case.question.at;
    case.used().iter().enumerate().filter(move |(index, certificate)| {
        // Dates of an anchor count where the rules say so.
        let anchor = case.needed == Some(*index) && !case.rules.anchor_checks;
        let counts = *index == 0 || (certificate.is_ca() && !anchor);
        certificate.is_valid_at(at) && counts
    })
}

/// The first second in which the chain has to work: what is past at the moment asked for does not count.
fn first_use(case: &Case<'_>) -> i64 {
    case.question.window.map_or(case.question.at, |(start, _)| start.max(case.question.at))
}

/// The last second in which the chain has to work, and up to when an expiry is still worth a warning.
fn horizon(case: &Case<'_>) -> (i64, i64) {
    let end = case.question.window.map_or(case.question.at, |(_, end)| end).max(case.question.at);
    (end, end.saturating_add(case.question.margin.max(0)))
}

fn ends_soon(
    case: &Case<'_>,
    index: usize,
    certificate: &Arc<Certificate>,
    refused: bool,
    out: &mut Findings,
) {
    let (end, margin) = horizon(case);
    let (start, last) = (first_use(case), certificate.not_after());
    if last > margin {
        return;
    }
    let name = case.name(certificate);
    let inside = case.question.window.is_some() && last < end;
    // Where another path takes over, it is no more than worth a warning.
    let severity = if inside && refused { Severity::Error } else { Severity::Warning };
    let message = if inside && last < start {
        format!("{name} will have expired {} before the rollout begins", span(start - last))
    } else if inside {
        format!("{name} expires during the rollout, {} before its end", span(end - last))
    } else if last == end {
        format!("{name} is valid up to {} and no longer", date(end))
    } else {
        format!("{name} expires {} after {}", span(last - end), date(end))
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
    let begin = certificate.not_before();
    let earlier = first_use(case).saturating_sub(begin);
    if earlier >= BACKDATED {
        return;
    }
    let name = case.name(certificate);
    let when = match earlier {
        ..=0 => "becomes valid in the very second of its first use".to_owned(),
        _ => format!("became valid {} before its first use", span(earlier)),
    };
    let message = format!(
        "{name} {when}; if the clock of the machine that issues runs ahead of the service's, new certificates are refused at first"
    );
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

/// The earliest moment at which the verdict is another one, if dates alone ever change it. That a refusal gets another
/// reason is no change to who waits for the device to be let in.
pub(super) fn next_change(case: &Case<'_>) -> Option<Change> {
    let now = &case.judgement.verdict;
    moments(case, &case.related).into_iter().take(most_moments(case)).find_map(|(at, because)| {
        let becomes = case.judge(case.presented, at, &case.rules).verdict;
        let stays_refused = now.refusal().is_some() && becomes.refusal().is_some();
        (becomes != *now && !stays_refused).then_some(Change { at, becomes, because })
    })
}

/// The first moment of the rollout at which the chain is not let in, where it is now and a rollout is planned.
pub(super) fn fails_in_window(case: &Case<'_>) -> Option<Change> {
    let (start, (_, end)) = (first_use(case), case.question.window?);
    if !case.judgement.verdict.is_admitted() || end < start {
        return None;
    }
    let refused = |at: i64| {
        let verdict = case.judge(case.presented, at, &case.rules).verdict;
        (!verdict.is_admitted()).then_some(verdict)
    };
    // What is on the line is looked at however much else there is.
    let mut all: BTreeMap<i64, String> =
        moments(case, &case.related).into_iter().take(most_moments(case)).collect();
    all.extend(moments(case, &[]));
    if start > case.question.at
        && let Some(becomes) = refused(start)
    {
        return Some(Change { at: start, becomes, because: before(case, &all, start) });
    }
    all.into_iter().filter(|(at, _)| (start + 1..=end).contains(at)).find_map(|(at, because)| {
        refused(at).map(|becomes| Change { at, becomes, because: format!("{because} during the rollout") })
    })
}

/// Why a chain that was good is not when the rollout begins.
fn before(case: &Case<'_>, moments: &BTreeMap<i64, String>, start: i64) -> String {
    let expired = case.used().iter().filter(|c| c.not_after() < start).min_by_key(|c| c.not_after());
    let why = match (expired, moments.range(..=start).next_back()) {
        (Some(certificate), _) => format!("{} expires", case.name(certificate)),
        (None, Some((_, because))) => because.clone(),
        (None, None) => "the verdict changes".to_owned(),
    };
    format!("{why} before the rollout begins")
}

/// How often the judge may be asked again.
fn most_moments(case: &Case<'_>) -> usize {
    let spent = case.judgement.trail.iter().any(|d| d.check == Check::Budget);
    if spent { FEW_MOMENTS } else { MOST_MOMENTS }
}

/// The moments at which something on the line, or something of `others`, begins or ends, with what does.
fn moments(case: &Case<'_>, others: &[Arc<Certificate>]) -> BTreeMap<i64, String> {
    let skew = i64::try_from(case.rules.clock_skew.as_secs()).unwrap_or(i64::MAX);
    let mut found = BTreeMap::new();
    // What is on the line comes first, so that it is what is named.
    let first = case.presented.first();
    for certificate in case.line.iter().chain(others).chain(first) {
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
