//! The roll-up rule: does the presented chain lead to an enrollment group this instance trusts?
//!
//! A group's certificate must be verified, or roll up to a verified certificate in the chain the device
//! presents (DPS documentation, "X.509 attestation" and "Verify certificates"). The nearest entry above the
//! leaf decides, enabled or disabled. Bounded work on any input, no clock, and every dead end is kept, because a
//! refusal that does not say which link is wrong helps nobody.

use crate::certificate::{Certificate, CommonName, NameMatch, compare_names};
use crate::signature::SignatureFault;
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Certificates looked at in one presented chain; the rest is ignored.
pub const MAX_PRESENTED: usize = 150;
/// CAs between leaf and anchor. `ours:` the service's limit is unknown.
pub const MAX_INTERMEDIATES: usize = 10;
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

/// A certificate of an enrollment group.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The group.
    pub group: EnrollmentGroupId,
    /// Whether the group lets devices in.
    pub enabled: bool,
    /// The certificate, which is matched as a whole.
    pub certificate: Arc<Certificate>,
}

/// What the service decides about one registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Admitted by this group.
    Accept(EnrollmentGroupId),
    /// The nearest entry is a group that is disabled.
    Disabled(EnrollmentGroupId),
    /// The leaf cannot be used, or every path breaks at a certificate that may not stand there.
    InvalidCertificate,
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
            Verdict::Accept(_) => "accept",
            Verdict::Disabled(_) => "disabled",
            Verdict::InvalidCertificate => "invalid-certificate",
            Verdict::NoVerifiedCa => "no-verified-ca",
            Verdict::NoEntry => "no-entry",
            Verdict::LeafIsEntryCertificate => "leaf-is-entry-certificate",
            Verdict::GroupAboveVerified => "group-above-verified",
            Verdict::CnMismatch => "cn-mismatch",
            Verdict::CnMissing => "cn-missing",
        }
    }
}

/// Why an edge or an element was not taken, in the order in which a tie is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The names agree, the key does not verify the signature.
    WrongKey,
    /// Past its last second.
    Expired,
    /// Before its first second.
    NotYetValid,
    /// An issuer that is not a CA, or a leaf that is one.
    CaFlag,
    /// More CAs below than allowed.
    PathLength,
    /// keyCertSign or digitalSignature missing.
    KeyUsage,
    /// clientAuth not allowed.
    ExtendedKeyUsage,
    /// Constraints on names, which are not evaluated yet: refused rather than guessed.
    NameConstraints,
    /// The signature's or key's algorithm is not accepted.
    Algorithm,
    /// A critical extension nobody processes, or one that occurs twice.
    Extension,
    /// More intermediates than allowed.
    Depth,
    /// The work allowed for one judgement was used up.
    Budget,
    /// Nothing of that name was sent or is verified.
    MissingIssuer,
    /// The path is complete, and nothing on it is verified.
    NotVerified,
}

impl Check {
    /// The stable diagnostic code.
    pub const fn code(self) -> &'static str {
        match self {
            Check::WrongKey => "wrong-issuer-key",
            Check::Expired => "expired",
            Check::NotYetValid => "not-yet-valid",
            Check::CaFlag => "issuer-not-ca",
            Check::PathLength => "pathlen-exceeded",
            Check::KeyUsage => "issuer-no-keycertsign",
            Check::ExtendedKeyUsage => "eku-no-clientauth",
            Check::NameConstraints => "nc-violation",
            Check::Algorithm => "sig-alg-weak",
            Check::Extension => "ext-critical-unknown",
            Check::Depth => "chain-depth",
            Check::Budget => "budget-exceeded",
            Check::MissingIssuer => "chain-incomplete",
            Check::NotVerified => "no-verified-ca",
        }
    }

    /// Whether the path is there and breaks at a certificate that may not stand in it.
    const fn is_profile_fault(self) -> bool {
        !matches!(
            self,
            Check::WrongKey | Check::MissingIssuer | Check::NotVerified | Check::Depth | Check::Budget
        )
    }
}

/// One way that led nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadEnd {
    /// How many certificates were on the path; the leaf alone is 1.
    pub depth: usize,
    /// What failed.
    pub check: Check,
    /// The last certificate on the path, by name.
    pub element: String,
    /// The candidate it failed on, by name; where none was found, the name looked for.
    pub candidate: String,
    /// Key id looked for, hexadecimal, where the element says one.
    pub key_id: Option<String>,
}

impl fmt::Display for DeadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeadEnd { element, candidate, .. } = self;
        let why = match self.check {
            Check::WrongKey => "its key did not make that signature",
            Check::Expired => "it has expired",
            Check::NotYetValid => "it is not valid yet",
            Check::CaFlag if element == candidate => {
                return write!(f, "`{element}` is a device certificate marked as a CA");
            }
            Check::CaFlag => "it is not a CA",
            Check::PathLength => "its path length does not allow another CA below it",
            Check::KeyUsage => "its key usage does not allow it",
            Check::ExtendedKeyUsage => "its extended key usage does not allow client authentication",
            Check::NameConstraints => "it constrains names, which is not evaluated yet",
            Check::Algorithm => "the signature's algorithm or key size is not accepted",
            Check::Extension => "it has a critical extension that nobody processes, or one twice",
            Check::Depth => "the path is too long",
            Check::Budget => "too much work was asked for",
            Check::MissingIssuer => {
                let key = self.key_id.as_ref().map(|k| format!(" with key id {k}")).unwrap_or_default();
                return write!(
                    f,
                    "looked for the issuer of `{element}`, named `{candidate}`{key}: not sent and not verified"
                );
            }
            Check::NotVerified => {
                return write!(f, "the path ends at `{candidate}`, and nothing on it is verified");
            }
        };
        if element == candidate {
            write!(f, "`{element}` cannot be used: {why}")
        } else {
            write!(f, "looked for the issuer of `{element}`; found `{candidate}`, but {why}")
        }
    }
}

/// A verdict and how it came about.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The decision.
    pub verdict: Verdict,
    /// The path that decided, leaf first; empty where there was none.
    pub path: Vec<Arc<Certificate>>,
    /// Every dead end, the one that got farthest first.
    pub trail: Vec<DeadEnd>,
}

/// Remembers which CA certificate was really signed by which: facts, never verdicts.
///
/// Bounded; when full, what comes later is simply computed again.
#[derive(Debug, Default)]
pub struct SignatureMemo(Mutex<HashMap<Link, Result<(), SignatureFault>>>);

/// SHA-256 of a certificate and of the one above it.
type Link = ([u8; 32], [u8; 32]);

impl SignatureMemo {
    const CAPACITY: usize = 4096;

    fn known(&self, child: &Certificate, issuer: &Certificate) -> Option<Result<(), SignatureFault>> {
        let facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        facts.get(&(*child.sha256(), *issuer.sha256())).copied()
    }

    fn note(&self, child: &Certificate, issuer: &Certificate, fact: Result<(), SignatureFault>) {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.len() < Self::CAPACITY {
            facts.insert((*child.sha256(), *issuer.sha256()), fact);
        }
    }
}

/// Judges the presented chain, leaf first, as of `now` in Unix seconds.
///
/// The order of what follows the leaf means nothing: it is a pool.
pub fn judge(
    presented: &[Arc<Certificate>],
    registration_id: &RegistrationId,
    now: i64,
    trust: &Trust,
    memo: &SignatureMemo,
) -> Judgement {
    let Some((leaf, pool)) = presented.split_first() else {
        return refused(Verdict::InvalidCertificate, Vec::new());
    };
    if let Err(verdict) = identity(leaf, registration_id) {
        return refused(verdict, Vec::new());
    }
    if let Err(check) = check_leaf(leaf, now) {
        return refused(Verdict::InvalidCertificate, vec![dead_end(std::slice::from_ref(leaf), check, None)]);
    }
    let mut search = Search::new(pool, now, trust, memo);
    search.grow(&mut vec![leaf.clone()]);
    search.conclude(leaf)
}

/// Whether the leaf's CN is the registration id, which it has to be for groups and individual enrollments alike.
pub fn identity(leaf: &Certificate, registration_id: &RegistrationId) -> Result<(), Verdict> {
    match leaf.common_name() {
        CommonName::One(name) if registration_id.matches(name) => Ok(()),
        CommonName::One(_) | CommonName::Several(_) => Err(Verdict::CnMismatch),
        CommonName::Missing | CommonName::Undecodable => Err(Verdict::CnMissing),
    }
}

impl Judgement {
    /// A decision that needed no path.
    pub fn refused(verdict: Verdict) -> Self {
        refused(verdict, Vec::new())
    }
}

fn refused(verdict: Verdict, trail: Vec<DeadEnd>) -> Judgement {
    Judgement { verdict, path: Vec::new(), trail }
}

fn dead_end(path: &[Arc<Certificate>], check: Check, candidate: Option<&Certificate>) -> DeadEnd {
    let last = path.last();
    let element = last.map(|c| c.subject()).unwrap_or_default();
    let looked_for = || last.map(|c| c.issuer()).unwrap_or_default();
    DeadEnd {
        depth: path.len(),
        check,
        candidate: match (candidate, check) {
            (Some(found), _) => found.subject(),
            (None, Check::MissingIssuer) => looked_for(),
            (None, _) => element.clone(),
        },
        key_id: last.and_then(|c| c.authority_key_id()).map(hex),
        element,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn check_validity(certificate: &Certificate, now: i64) -> Result<(), Check> {
    if now > certificate.not_after() {
        return Err(Check::Expired);
    }
    if now < certificate.not_before() { Err(Check::NotYetValid) } else { Ok(()) }
}

fn check_extensions(certificate: &Certificate) -> Result<(), Check> {
    let bad = certificate.unknown_critical().is_some() || certificate.has_duplicate_extension();
    if bad { Err(Check::Extension) } else { Ok(()) }
}

fn check_purpose(certificate: &Certificate) -> Result<(), Check> {
    match certificate.extended_key_usage() {
        Some(usage) if !usage.client_auth && !usage.any => Err(Check::ExtendedKeyUsage),
        _ => Ok(()),
    }
}

/// Checks of the leaf (RFC 5280 section 6.1, RFC 8446 section 4.4.2.2 for digitalSignature).
fn check_leaf(leaf: &Certificate, now: i64) -> Result<(), Check> {
    check_validity(leaf, now)?;
    // The service refused edge "device CA" certificates used as identities in three reports.
    if leaf.is_ca() {
        return Err(Check::CaFlag);
    }
    if leaf.key_usage().is_some_and(|u| !u.digital_signature) {
        return Err(Check::KeyUsage);
    }
    check_purpose(leaf)?;
    check_extensions(leaf)
}

/// Checks of a CA with `below` CAs under it that are not self-issued. Anchors are checked like any CA: RFC 5280
/// leaves that open, and we hold the whole certificate.
fn check_ca(ca: &Certificate, below: usize, now: i64) -> Result<(), Check> {
    check_validity(ca, now)?;
    if ca.version() != 3 {
        return Err(Check::CaFlag);
    }
    let Some(basic) = ca.basic_constraints().filter(|b| b.ca) else {
        return Err(Check::CaFlag);
    };
    if basic.path_length.is_some_and(|limit| below > limit as usize) {
        return Err(Check::PathLength);
    }
    if ca.key_usage().is_some_and(|u| !u.key_cert_sign) {
        return Err(Check::KeyUsage);
    }
    check_purpose(ca)?;
    if ca.has_name_constraints() {
        return Err(Check::NameConstraints);
    }
    check_extensions(ca)
}

/// One judgement's search: depth first from the leaf upwards, with a budget.
struct Search<'a> {
    now: i64,
    trust: &'a Trust,
    memo: &'a SignatureMemo,
    candidates: Vec<(&'a Arc<Certificate>, bool)>,
    signature_checks: u32,
    edges: u32,
    trail: Vec<DeadEnd>,
    /// Some path had a verified element.
    anchored: bool,
    /// The nearest entry so far: index on its path, enabled, group, path.
    nearest: Option<Hit>,
    group_above: bool,
}

struct Hit {
    index: usize,
    enabled: bool,
    group: EnrollmentGroupId,
    path: Vec<Arc<Certificate>>,
}

impl<'a> Search<'a> {
    fn new(pool: &'a [Arc<Certificate>], now: i64, trust: &'a Trust, memo: &'a SignatureMemo) -> Self {
        let verified = trust.verified.iter().map(|c| (c, true));
        let mut candidates: Vec<_> = verified.collect();
        for certificate in pool.iter().take(MAX_PRESENTED) {
            if !candidates.iter().any(|(c, _)| *c == certificate) {
                candidates.push((certificate, false));
            }
        }
        Search {
            now,
            trust,
            memo,
            candidates,
            signature_checks: 0,
            edges: 0,
            trail: Vec::new(),
            anchored: false,
            nearest: None,
            group_above: false,
        }
    }

    /// Takes every good edge upwards from the end of `path`; a path that cannot grow is weighed.
    fn grow(&mut self, path: &mut Vec<Arc<Certificate>>) {
        let Some(last) = path.last().cloned() else { return };
        let mut grew = false;
        let found = self.issuers_of(&last, path);
        let nothing_found = found.is_empty();
        for issuer in found {
            if self.edges >= MAX_EDGES {
                self.trail.push(dead_end(path, Check::Budget, Some(&issuer)));
                break;
            }
            self.edges += 1;
            match self.check_edge(&last, &issuer, path) {
                Ok(()) => {
                    grew = true;
                    path.push(issuer);
                    self.grow(path);
                    path.pop();
                }
                Err(check) => self.trail.push(dead_end(path, check, Some(&issuer))),
            }
        }
        if !grew {
            self.weigh(path, nothing_found);
        }
    }

    /// Candidates by name that are not on the path yet, likeliest first.
    fn issuers_of(&self, child: &Certificate, path: &[Arc<Certificate>]) -> Vec<Arc<Certificate>> {
        // A key already on the path under the same name would go round in a circle.
        let on_path = |c: &Certificate| {
            path.iter().any(|p| p.subject_der() == c.subject_der() && p.public_key() == c.public_key())
        };
        let named = |wanted: NameMatch| {
            let fits = move |c: &Certificate| compare_names(c.subject_der(), child.issuer_der()) == wanted;
            self.candidates.iter().filter(move |(c, _)| fits(c) && !on_path(c)).copied().collect::<Vec<_>>()
        };
        let exact = |c: &Certificate| c.subject_der() == child.issuer_der() && !on_path(c);
        let mut found: Vec<_> = self.candidates.iter().filter(|(c, _)| exact(c)).copied().collect();
        // Normalising names is slow and hardly ever needed.
        if found.is_empty() {
            found = named(NameMatch::Normalised);
        }
        found.sort_by_key(|(c, verified)| {
            let ids = (child.authority_key_id(), c.subject_key_id());
            let key_ids_differ = matches!(ids, (Some(a), Some(b)) if a != b);
            (key_ids_differ, !verified, !c.is_valid_at(self.now))
        });
        found.into_iter().map(|(c, _)| c.clone()).collect()
    }

    fn check_edge(
        &mut self,
        child: &Certificate,
        issuer: &Certificate,
        path: &[Arc<Certificate>],
    ) -> Result<(), Check> {
        // path holds the leaf and the CAs so far: as many CAs lie below `issuer`.
        if path.len() > MAX_INTERMEDIATES + 1 {
            return Err(Check::Depth);
        }
        self.check_signature(child, issuer, path.len() == 1)?;
        let below = path[1..].iter().filter(|c| !c.is_self_issued()).count();
        check_ca(issuer, below, self.now)
    }

    fn check_signature(
        &mut self,
        child: &Certificate,
        issuer: &Certificate,
        of_leaf: bool,
    ) -> Result<(), Check> {
        let known = if of_leaf { None } else { self.memo.known(child, issuer) };
        let fact = match known {
            Some(fact) => fact,
            None if self.signature_checks >= MAX_SIGNATURE_CHECKS => return Err(Check::Budget),
            None => {
                self.signature_checks += 1;
                let fact = child.verify_signed_by(issuer);
                if !of_leaf {
                    self.memo.note(child, issuer, fact);
                }
                fact
            }
        };
        fact.map_err(|fault| match fault {
            SignatureFault::Wrong => Check::WrongKey,
            SignatureFault::Algorithm => Check::Algorithm,
        })
    }

    /// A path that goes no farther: what is its highest verified element, and which entry is nearest?
    fn weigh(&mut self, path: &[Arc<Certificate>], nothing_found: bool) {
        let verified = |c: &Arc<Certificate>| self.trust.verified.contains(c);
        let Some(top) = (1..path.len()).rev().find(|&i| verified(&path[i])) else {
            let ends_at_root = path.len() > 1 && path.last().is_some_and(|c| c.is_self_issued());
            if ends_at_root {
                self.trail.push(dead_end(path, Check::NotVerified, None));
            } else if nothing_found {
                self.trail.push(dead_end(path, Check::MissingIssuer, None));
            }
            return;
        };
        self.anchored = true;
        for (index, certificate) in path.iter().enumerate().skip(1) {
            let mut entries = self.trust.entries.iter().filter(|e| e.certificate == *certificate).peekable();
            if entries.peek().is_none() {
                continue;
            }
            if index > top {
                self.group_above = true;
                return;
            }
            // A certificate in a disabled entry is refused even where another entry would admit it.
            if let Some(entry) = entries.min_by_key(|e| e.enabled) {
                self.offer(Hit {
                    index,
                    enabled: entry.enabled,
                    group: entry.group.clone(),
                    path: path.to_vec(),
                });
            }
            return;
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
        if let Some(hit) = self.nearest {
            let verdict = if hit.enabled { Verdict::Accept(hit.group) } else { Verdict::Disabled(hit.group) };
            return Judgement { verdict, path: hit.path, trail: self.trail };
        }
        let verdict = if self.trust.entries.iter().any(|e| e.certificate == *leaf) {
            Verdict::LeafIsEntryCertificate
        } else if self.anchored && self.group_above {
            Verdict::GroupAboveVerified
        } else if self.anchored {
            Verdict::NoEntry
        } else if self.trail.first().is_some_and(|d| d.check.is_profile_fault()) {
            Verdict::InvalidCertificate
        } else {
            Verdict::NoVerifiedCa
        };
        refused(verdict, self.trail)
    }
}
