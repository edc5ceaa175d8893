//! Puts everything that can be said about a chain together.

use super::case::Case;
use super::findings::Findings;
use super::{Examination, Instance, Presented, Question};
use super::{alternatives, chain, dates, dead_ends, entries, identity, profile, repair};
use crate::verdict::{Judgement, SignatureMemo, Trust, Verdict};

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
    let mut findings = Findings::starting_with(presented.file_findings.clone());
    let Some(case) = Case::new(presented, question, instance, trust, memo) else {
        return Examination {
            judgement: Judgement::plain(Verdict::InvalidCertificate),
            registration_id: question.registration_id.clone(),
            findings: findings.sorted(),
            next_change: None,
            alternatives: Vec::new(),
            repair: None,
        };
    };
    identity::find(&case, &mut findings);
    dead_ends::find(&case, &mut findings);
    profile::find(&case, &mut findings);
    chain::find(&case, &mut findings);
    dates::find(&case, &mut findings);
    entries::find(&case, &mut findings);
    Examination {
        registration_id: case.registration_id(case.leaf, &case.rules).ok(),
        findings: findings.sorted(),
        next_change: dates::next_change(&case),
        alternatives: alternatives::alternatives(&case),
        repair: repair::repair(&case),
        judgement: case.judgement,
    }
}
