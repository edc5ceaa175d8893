//! Paths from the leaf upwards, depth first, with a budget that a hostile chain cannot exceed.

use super::constraints::{self, MAX_COMPARISONS};
use super::element;
use super::trail::{Check, DeadEnd};
use super::{
    Asked, Goal, Judgement, MAX_EDGES, MAX_PRESENTED, MAX_SIGNATURE_CHECKS, SignatureMemo, Trust, Verdict,
};
use crate::certificate::{Certificate, NameMatch};
use crate::signature::SignatureFault;
use sim_protocol::EnrollmentGroupId;
use std::sync::Arc;

/// Judges a leaf that can be used by itself.
pub(super) fn run(
    leaf: &Arc<Certificate>,
    pool: &[Arc<Certificate>],
    asked: &Asked<'_>,
    trust: &Trust,
    memo: &SignatureMemo,
) -> Judgement {
    let mut search = Search::new(pool, asked, trust, memo);
    search.grow(&mut vec![leaf.clone()]);
    search.conclude(leaf)
}

/// A certificate that may be somebody's issuer.
struct Candidate<'a> {
    certificate: &'a Arc<Certificate>,
    verified: bool,
    presented: bool,
}

/// One judgement's search.
struct Search<'a> {
    asked: &'a Asked<'a>,
    trust: &'a Trust,
    memo: &'a SignatureMemo<'a>,
    candidates: Vec<Candidate<'a>>,
    signature_checks: u32,
    edges: u32,
    comparisons: u32,
    trail: Vec<DeadEnd>,
    /// Some path had a verified element: the path up to the highest, for the nearest such.
    anchored: Option<Vec<Arc<Certificate>>>,
    /// The nearest entry so far.
    nearest: Option<Hit>,
    group_above: bool,
}

/// An entry's certificate on a good path.
struct Hit {
    index: usize,
    enabled: bool,
    group: EnrollmentGroupId,
    path: Vec<Arc<Certificate>>,
}

/// Who might have issued a certificate.
struct Issuers {
    found: Vec<Arc<Certificate>>,
    /// One that is on the path already.
    circle: Option<Arc<Certificate>>,
}

impl<'a> Search<'a> {
    fn new(
        pool: &'a [Arc<Certificate>],
        asked: &'a Asked<'a>,
        trust: &'a Trust,
        memo: &'a SignatureMemo<'a>,
    ) -> Self {
        let verified = |certificate| Candidate { certificate, verified: true, presented: false };
        let mut candidates: Vec<Candidate<'_>> = trust.verified.iter().map(verified).collect();
        for certificate in pool.iter().take(MAX_PRESENTED) {
            match candidates.iter_mut().find(|c| c.certificate.sha256() == certificate.sha256()) {
                Some(known) => known.presented = true,
                None => candidates.push(Candidate { certificate, verified: false, presented: true }),
            }
        }
        Search {
            asked,
            trust,
            memo,
            candidates,
            signature_checks: 0,
            edges: 0,
            comparisons: MAX_COMPARISONS,
            trail: Vec::new(),
            anchored: None,
            nearest: None,
            group_above: false,
        }
    }

    /// Takes every good edge upwards from the end of `path`; a path that cannot grow is weighed.
    fn grow(&mut self, path: &mut Vec<Arc<Certificate>>) {
        let Some(last) = path.last().cloned() else { return };
        let issuers = self.issuers_of(&last, path);
        let mut grew = false;
        for issuer in &issuers.found {
            if self.edges >= MAX_EDGES {
                self.note(path, Check::Budget, Some(issuer));
                break;
            }
            self.edges += 1;
            match self.check_edge(&last, issuer, path) {
                Ok(()) => {
                    grew = true;
                    path.push(issuer.clone());
                    self.grow(path);
                    path.pop();
                }
                Err(check) => {
                    self.note(path, check, Some(issuer));
                    // What is used up is used up for the others, too.
                    if check == Check::Budget {
                        break;
                    }
                }
            }
        }
        if !grew {
            self.weigh(path, &issuers);
        }
    }

    fn note(&mut self, path: &[Arc<Certificate>], check: Check, candidate: Option<&Arc<Certificate>>) {
        let Some(element) = path.last().cloned() else { return };
        self.trail.push(DeadEnd { depth: path.len(), check, element, candidate: candidate.cloned() });
    }

    /// Candidates by name, likeliest first.
    fn issuers_of(&self, child: &Certificate, path: &[Arc<Certificate>]) -> Issuers {
        // A key already on the path under the same name would go round in a circle.
        let on_path = |c: &Certificate| {
            path.iter().any(|p| p.subject_der() == c.subject_der() && p.public_key() == c.public_key())
        };
        let named = |c: &&Candidate<'_>| c.certificate.subject_der() == child.issuer_der();
        let mut named: Vec<&Candidate<'_>> = self.candidates.iter().filter(named).collect();
        // Normalising names is slow and hardly ever needed.
        if named.is_empty() {
            let alike = |c: &&Candidate<'_>| child.names_as_issuer(c.certificate) == NameMatch::Normalised;
            named = self.candidates.iter().filter(alike).collect();
        }
        named.sort_by_key(|c| {
            let key_id = match (child.authority_key_id(), c.certificate.subject_key_id()) {
                (Some(a), Some(b)) if a == b => 0,
                (Some(_), Some(_)) => 2,
                _ => 1,
            };
            (key_id, !c.verified, !c.certificate.is_valid_at(self.asked.now))
        });
        let (circling, found): (Vec<_>, Vec<_>) = named.into_iter().partition(|c| on_path(c.certificate));
        Issuers {
            found: found.into_iter().map(|c| c.certificate.clone()).collect(),
            circle: circling.first().map(|c| c.certificate.clone()),
        }
    }

    fn check_edge(
        &mut self,
        child: &Certificate,
        issuer: &Certificate,
        path: &[Arc<Certificate>],
    ) -> Result<(), Check> {
        // path holds the leaf and the CAs so far: as many CAs lie below `issuer`.
        if path.len() > self.asked.rules.longest_path.saturating_add(1) {
            return Err(Check::Depth);
        }
        self.check_signature(child, issuer, path.len() == 1)?;
        let below = path[1..].iter().filter(|c| !c.is_self_issued()).count();
        element::check_ca(issuer, below, self.is_verified(issuer), self.asked)?;
        self.check_names(issuer, path)
    }

    fn check_signature(
        &mut self,
        child: &Certificate,
        issuer: &Certificate,
        of_leaf: bool,
    ) -> Result<(), Check> {
        let accepted = self.asked.rules.algorithms;
        let spent = &mut self.signature_checks;
        let mut spend = || {
            *spent += 1;
            *spent <= MAX_SIGNATURE_CHECKS
        };
        match self.memo.verify(child, issuer, of_leaf, accepted, &mut spend) {
            None => Err(Check::Budget),
            Some(Ok(())) => Ok(()),
            Some(Err(SignatureFault::Wrong)) => {
                let ids = (child.authority_key_id(), issuer.subject_key_id());
                let same = matches!(ids, (Some(a), Some(b)) if a == b);
                Err(if same { Check::Signature } else { Check::WrongKey })
            }
            Some(Err(fault)) => Err(element::of_signature(fault)),
        }
    }

    /// Self-issued CAs below are not constrained, the leaf always is (RFC 5280 section 6.1.3 b).
    fn check_names(&mut self, issuer: &Certificate, path: &[Arc<Certificate>]) -> Result<(), Check> {
        let Some(demands) = issuer.name_constraints() else { return Ok(()) };
        for (index, below) in path.iter().enumerate() {
            if index == 0 || !below.is_self_issued() {
                constraints::check(demands, below, &mut self.comparisons)?;
            }
        }
        Ok(())
    }

    fn is_verified(&self, certificate: &Certificate) -> bool {
        self.trust.verified.iter().any(|v| v.sha256() == certificate.sha256())
    }

    /// Whether a verified certificate may anchor a path.
    fn may_anchor(&self, certificate: &Certificate) -> bool {
        let found = |c: &Candidate<'_>| c.verified && c.certificate.sha256() == certificate.sha256();
        let presented = !self.asked.rules.verified_ca_must_be_presented;
        self.candidates.iter().any(|c| found(c) && (presented || c.presented))
    }

    /// A path that goes no farther: what is its highest verified element, and which entry is nearest?
    fn weigh(&mut self, path: &[Arc<Certificate>], issuers: &Issuers) {
        let Some(top) = (1..path.len()).rev().find(|&i| self.may_anchor(&path[i])) else {
            self.note_end(path, issuers);
            return;
        };
        if self.anchored.as_ref().is_none_or(|known| top + 1 < known.len()) {
            self.anchored = Some(path[..=top].to_vec());
        }
        for (index, certificate) in path.iter().enumerate().skip(1) {
            let here = self.trust.entries.iter().filter(|e| e.sha256 == *certificate.sha256());
            // A certificate in a disabled entry is refused even where another entry would admit it.
            let Some(entry) = here.min_by_key(|e| e.enabled) else { continue };
            if index > top {
                self.group_above = true;
                return;
            }
            let (enabled, group) = (entry.enabled, entry.group.clone());
            self.offer(Hit { index, enabled, group, path: path.to_vec() });
            return;
        }
    }

    /// Why a path without a verified element ends.
    fn note_end(&mut self, path: &[Arc<Certificate>], issuers: &Issuers) {
        if let Some(unsent) = path[1..].iter().rev().find(|c| self.is_verified(c)) {
            self.note(path, Check::NotPresented, Some(&unsent.clone()));
            return;
        }
        let Some(last) = path.last() else { return };
        match &issuers.circle {
            _ if path.len() > 1 && last.is_self_issued() => self.note(path, Check::NotVerified, None),
            Some(known) if !last.is_self_issued() => self.note(path, Check::Loop, Some(known)),
            _ if issuers.found.is_empty() => self.note(path, Check::MissingIssuer, None),
            // Whatever was found has left its own dead end.
            _ => {}
        }
    }

    fn offer(&mut self, hit: Hit) {
        let better = self.nearest.as_ref().is_none_or(|n| (hit.index, hit.enabled) < (n.index, n.enabled));
        if better {
            self.nearest = Some(hit);
        }
    }

    fn conclude(mut self, leaf: &Arc<Certificate>) -> Judgement {
        self.trail.sort_by(|a, b| b.depth.cmp(&a.depth).then(a.check.cmp(&b.check)));
        let is_entry = self.trust.entries.iter().any(|e| e.sha256 == *leaf.sha256());
        let broken = self.trail.first().is_some_and(|d| d.check.is_profile_fault());
        let (verdict, path) = match (self.asked.goal, self.nearest, self.anchored) {
            (Goal::RollUp, _, Some(path)) => (Verdict::RollsUp, path),
            (Goal::Entry, Some(hit), _) if hit.enabled => (Verdict::Accept(hit.group), hit.path),
            (Goal::Entry, Some(hit), _) => (Verdict::Disabled(hit.group), hit.path),
            (Goal::Entry, None, _) if is_entry => (Verdict::LeafIsEntryCertificate, Vec::new()),
            (Goal::Entry, None, Some(path)) if self.group_above => (Verdict::GroupAboveVerified, path),
            (Goal::Entry, None, Some(path)) => (Verdict::NoEntry, path),
            (_, _, None) if broken => (Verdict::InvalidCertificate, Vec::new()),
            (_, _, None) => (Verdict::NoVerifiedCa, Vec::new()),
        };
        Judgement { verdict, path, trail: self.trail }
    }
}
