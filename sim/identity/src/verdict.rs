//! The roll-up rule: does the presented chain lead to an entry of an instance that trusts it?
//!
//! A group's certificate must be verified, or roll up to a verified certificate in the chain the device
//! presents (DPS documentation, "X.509 attestation" and "Verify certificates"). The nearest entry above the
//! leaf decides, enabled or disabled. Bounded work on any input, no clock, and every dead end is kept, because a
//! refusal that does not say which link is wrong helps nobody.
//!
//! - [`rules`]: what is unknown of the service, as knobs
//! - `element`: what each certificate on a path must be; `constraints`: what a CA demands of the names below it
//! - `search`: paths, upwards from the leaf, with a budget
//! - [`trail`]: the dead ends

mod constraints;
mod element;
pub mod rules;
mod search;
pub mod trail;

use crate::certificate::{Certificate, CommonName};
use crate::signature::{Algorithms, SignatureFault};
pub use rules::{CnRule, Knob, Rules};
use sim_protocol::errors::{self, Refusal};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
pub use trail::{Check, DeadEnd};

/// Certificates looked at in one presented chain; the rest is ignored.
pub const MAX_PRESENTED: usize = 150;
/// Signature checks in one judgement, cached results free.
pub const MAX_SIGNATURE_CHECKS: u32 = 64;
/// Edges tried in one judgement.
pub const MAX_EDGES: u32 = 512;

/// What one DPS instance trusts, at one moment. Never shared between id scopes.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Uploaded CA certificates that are verified.
    pub verified: Vec<Arc<Certificate>>,
    /// Certificates of enrollment groups, primary and secondary alike.
    pub entries: Vec<Entry>,
}

/// A certificate of an enrollment group. The service matches it as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The group.
    pub group: EnrollmentGroupId,
    /// Whether the group lets devices in.
    pub enabled: bool,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
}

/// The individual enrollment of one registration id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndividualEntry {
    /// Whether it lets the device in.
    pub enabled: bool,
    /// What the device has to show.
    pub credential: IndividualCredential,
}

/// What an individual enrollment asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndividualCredential {
    /// One of these device certificates, by SHA-256.
    Leaves(Vec<[u8; 32]>),
    /// A chain through one of these CA certificates, by SHA-256.
    Authorities(Vec<[u8; 32]>),
    /// A key, which no certificate can stand for.
    Keys,
}

/// What is to be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Which enrollment decides, as at a registration.
    Entry,
    /// Whether the chain rolls up to a verified certificate, whatever the enrollments.
    RollUp,
}

/// A question to the judge.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Under which id the device registers; none where its name does not matter.
    pub registration_id: Option<&'a RegistrationId>,
    /// As of when, Unix seconds.
    pub now: i64,
    /// How the unknown parts of the service behave.
    pub rules: &'a Rules,
    /// What is to be decided.
    pub goal: Goal,
}

/// What the service decides about one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Admitted by this group.
    Accept(EnrollmentGroupId),
    /// Admitted by the device's individual enrollment.
    AcceptIndividual,
    /// The chain rolls up to a verified certificate, where nothing else was asked.
    RollsUp,
    /// The nearest entry is a group that is disabled.
    Disabled(EnrollmentGroupId),
    /// The device's individual enrollment is disabled.
    DisabledIndividual,
    /// The leaf cannot be used, or every path breaks at a certificate that may not stand there.
    InvalidCertificate,
    /// The device's individual enrollment holds another certificate.
    IndividualStale,
    /// The device's individual enrollment asks for a key.
    IndividualByKey,
    /// No verified CA on any path.
    NoVerifiedCa,
    /// A good path, and no group on it.
    NoEntry,
    /// The leaf is itself a group's certificate.
    LeafIsEntryCertificate,
    /// A group's certificate lies above the highest verified one.
    GroupAboveVerified,
    /// The leaf's CN is not the registration id.
    CnMismatch,
    /// The leaf has no CN that can be read as one.
    CnMissing,
}

impl Verdict {
    /// The stable name in records and traces.
    pub const fn name(&self) -> &'static str {
        match self {
            Verdict::Accept(_) | Verdict::AcceptIndividual => "accept",
            Verdict::RollsUp => "rolls-up",
            Verdict::Disabled(_) | Verdict::DisabledIndividual => "disabled",
            Verdict::InvalidCertificate => "invalid-certificate",
            Verdict::IndividualStale => "individual-stale",
            Verdict::IndividualByKey => "individual-by-key",
            Verdict::NoVerifiedCa => "no-verified-ca",
            Verdict::NoEntry => "no-entry",
            Verdict::LeafIsEntryCertificate => "leaf-is-entry-certificate",
            Verdict::GroupAboveVerified => "group-above-verified",
            Verdict::CnMismatch => "cn-mismatch",
            Verdict::CnMissing => "cn-missing",
        }
    }

    /// Every name a verdict can have.
    pub const NAMES: [&'static str; 12] = [
        "accept",
        "rolls-up",
        "disabled",
        "invalid-certificate",
        "individual-stale",
        "individual-by-key",
        "no-verified-ca",
        "no-entry",
        "leaf-is-entry-certificate",
        "group-above-verified",
        "cn-mismatch",
        "cn-missing",
    ];

    /// Whether the device is let in.
    pub const fn is_admitted(&self) -> bool {
        matches!(self, Verdict::Accept(_) | Verdict::AcceptIndividual | Verdict::RollsUp)
    }

    /// Whether the device is told that it is disabled, which is no error on the wire.
    pub const fn is_disabled(&self) -> bool {
        matches!(self, Verdict::Disabled(_) | Verdict::DisabledIndividual)
    }

    /// What a refused device is told; none where it is let in or disabled. Which text goes with which cause follows
    /// reports from the field; see the reference of error codes in `sim-protocol`.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self {
            Verdict::NoVerifiedCa => Some(errors::CA_NOT_FOUND),
            Verdict::LeafIsEntryCertificate => Some(errors::SIGNING_CERTIFICATE_MISMATCH),
            Verdict::InvalidCertificate | Verdict::IndividualStale => Some(errors::INVALID_CERTIFICATE),
            Verdict::NoEntry
            | Verdict::GroupAboveVerified
            | Verdict::IndividualByKey
            | Verdict::CnMismatch
            | Verdict::CnMissing => Some(errors::UNAUTHORIZED),
            Verdict::Accept(_)
            | Verdict::AcceptIndividual
            | Verdict::RollsUp
            | Verdict::Disabled(_)
            | Verdict::DisabledIndividual => None,
        }
    }
}

/// A verdict and how it came about.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The decision.
    pub verdict: Verdict,
    /// The path that decided, leaf first, up to what was trusted or beyond; empty where there was none.
    pub path: Vec<Arc<Certificate>>,
    /// Every dead end, the one that got farthest first.
    pub trail: Vec<DeadEnd>,
}

impl Judgement {
    /// A decision that needed no path.
    pub fn plain(verdict: Verdict) -> Self {
        Judgement { verdict, path: Vec::new(), trail: Vec::new() }
    }
}

/// Remembers which certificate was really signed by which: facts, never verdicts.
///
/// Bounded; when full, what comes later is simply computed again. Leaves come once and are not remembered, unless the
/// memo is [for one device](Self::for_one_device).
#[derive(Debug, Default)]
pub struct SignatureMemo<'a> {
    facts: Mutex<HashMap<Link, Result<(), SignatureFault>>>,
    shared: Option<&'a SignatureMemo<'a>>,
}

/// SHA-256 of a certificate and of the one above it.
type Link = ([u8; 32], [u8; 32]);

impl SignatureMemo<'_> {
    const CAPACITY: usize = 4096;

    /// A memo for many questions about one device: it remembers the leaf, too, and shares what is known of CAs.
    pub fn for_one_device(&self) -> SignatureMemo<'_> {
        SignatureMemo { facts: Mutex::default(), shared: Some(self) }
    }

    /// Whether `issuer` signed `child`, from memory where it is known. `spend` says whether it may be computed; none
    /// where it may not.
    fn verify(
        &self,
        child: &Certificate,
        issuer: &Certificate,
        of_leaf: bool,
        accepted: Algorithms,
        spend: &mut impl FnMut() -> bool,
    ) -> Option<Result<(), SignatureFault>> {
        if let Err(fault) = child.admits_signer(issuer, accepted) {
            return Some(Err(fault));
        }
        match self.shared {
            Some(shared) if !of_leaf => return shared.verify(child, issuer, false, accepted, spend),
            None if of_leaf => return spend().then(|| child.verify_bytes(issuer)),
            _ => {}
        }
        let link = (*child.sha256(), *issuer.sha256());
        let known = self.facts.lock().unwrap_or_else(PoisonError::into_inner).get(&link).copied();
        if known.is_some() {
            return known;
        }
        let fact = spend().then(|| child.verify_bytes(issuer))?;
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.len() < Self::CAPACITY {
            facts.insert(link, fact);
        }
        Some(fact)
    }
}

/// Judges the presented chain, leaf first, by enrollment groups alone.
///
/// The order of what follows the leaf means nothing: it is a pool.
pub fn judge(
    presented: &[Arc<Certificate>],
    asked: &Asked<'_>,
    trust: &Trust,
    memo: &SignatureMemo,
) -> Judgement {
    let Some((leaf, pool)) = presented.split_first() else {
        return Judgement::plain(Verdict::InvalidCertificate);
    };
    if let Some(id) = asked.registration_id
        && let Err(verdict) = identity(leaf, id, asked.rules)
    {
        return Judgement::plain(verdict);
    }
    if let Err(check) = element::check_leaf(leaf, asked) {
        let trail = vec![DeadEnd::unusable(leaf, check)];
        return Judgement { trail, ..Judgement::plain(Verdict::InvalidCertificate) };
    }
    search::run(leaf, pool, asked, trust, memo)
}

/// Judges the presented chain as a registration is judged: by the individual enrollment of the registration id where
/// there is one, else by enrollment groups (DPS documentation, "Roll devices" and "How to disenroll": the entry
/// that is nearest to the leaf decides).
pub fn admit(
    presented: &[Arc<Certificate>],
    asked: &Asked<'_>,
    individual: Option<&IndividualEntry>,
    trust: &Trust,
    memo: &SignatureMemo,
) -> Judgement {
    let Some(entry) = individual else { return judge(presented, asked, trust, memo) };
    let judgement = judge_individual(presented, asked, entry, trust, memo);
    if judgement.verdict == Verdict::IndividualStale && asked.rules.individual_fall_through {
        return judge(presented, asked, trust, memo);
    }
    judgement
}

fn judge_individual(
    presented: &[Arc<Certificate>],
    asked: &Asked<'_>,
    entry: &IndividualEntry,
    trust: &Trust,
    memo: &SignatureMemo,
) -> Judgement {
    let Some(leaf) = presented.first() else { return Judgement::plain(Verdict::InvalidCertificate) };
    let admitted = if entry.enabled { Verdict::AcceptIndividual } else { Verdict::DisabledIndividual };
    match &entry.credential {
        IndividualCredential::Keys => Judgement::plain(Verdict::IndividualByKey),
        IndividualCredential::Leaves(leaves) => {
            if let Some(id) = asked.registration_id
                && let Err(verdict) = identity(leaf, id, asked.rules)
            {
                return Judgement::plain(verdict);
            }
            if !leaves.contains(leaf.sha256()) {
                return Judgement::plain(Verdict::IndividualStale);
            }
            if !entry.enabled {
                return Judgement { path: vec![leaf.clone()], ..Judgement::plain(admitted) };
            }
            if let Err(check) = element::check_validity(leaf, asked) {
                let trail = vec![DeadEnd::unusable(leaf, check)];
                return Judgement { trail, ..Judgement::plain(Verdict::InvalidCertificate) };
            }
            if asked.rules.individual_chain && !leaf.is_self_issued() {
                let rolled = judge(presented, &Asked { goal: Goal::RollUp, ..*asked }, trust, memo);
                let verdict = if rolled.verdict.is_admitted() { admitted } else { rolled.verdict.clone() };
                return Judgement { verdict, ..rolled };
            }
            Judgement { path: vec![leaf.clone()], ..Judgement::plain(admitted) }
        }
        IndividualCredential::Authorities(authorities) => {
            by_authorities(presented, asked, authorities, admitted, trust, memo)
        }
    }
}

/// An individual enrollment on CA certificates follows the rule of a group on them.
fn by_authorities(
    presented: &[Arc<Certificate>],
    asked: &Asked<'_>,
    authorities: &[[u8; 32]],
    admitted: Verdict,
    trust: &Trust,
    memo: &SignatureMemo,
) -> Judgement {
    // The name is never shown: the verdict becomes that of an individual enrollment.
    let Ok(group) = EnrollmentGroupId::new("individual") else {
        return Judgement::plain(Verdict::NoEntry);
    };
    let entry = |&sha256: &[u8; 32]| Entry { group: group.clone(), enabled: true, sha256 };
    let own = Trust { verified: trust.verified.clone(), entries: authorities.iter().map(entry).collect() };
    let judgement = judge(presented, asked, &own, memo);
    let verdict = match judgement.verdict {
        Verdict::Accept(_) => admitted,
        other => other,
    };
    Judgement { verdict, ..judgement }
}

/// Whether the leaf's CN is the registration id, which it has to be for groups and individual enrollments alike.
pub fn identity(leaf: &Certificate, registration_id: &RegistrationId, rules: &Rules) -> Result<(), Verdict> {
    let name = match (leaf.common_name(), rules.several_cns) {
        (CommonName::One(name), _) => name,
        (CommonName::Several(names), CnRule::First) => names.first().ok_or(Verdict::CnMissing)?,
        (CommonName::Several(names), CnRule::Last) => names.last().ok_or(Verdict::CnMissing)?,
        (CommonName::Several(_), CnRule::Refuse) => return Err(Verdict::CnMismatch),
        (CommonName::Missing | CommonName::Undecodable, _) => return Err(Verdict::CnMissing),
    };
    let fits = name.chars().count() <= rules.longest_cn && registration_id.matches(name);
    if fits { Ok(()) } else { Err(Verdict::CnMismatch) }
}
