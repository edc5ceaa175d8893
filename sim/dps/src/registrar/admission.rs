//! Who is admitted, by which enrollment, and why others are not.

use super::{Caller, Registrar, Way, locked};
use crate::allocation::{self, AllocationEntry};
use crate::control::Snapshot;
use crate::enrollments::{Credential, Group, Individual};
use crate::faults::Effects;
use crate::ledger::Route;
use crate::trace::Asked;
use sim_identity::Certificate;
use sim_identity::certificate::{CommonName, sha256};
use sim_identity::verdict::{self, Goal, Judgement, Verdict, admit};
use sim_protocol::RegistrationId;
use sim_protocol::attestation::Terms;
use sim_protocol::errors::{self, Refusal};
use sim_protocol::sas::{SharedKey, Token, TokenFault};
use std::sync::{Arc, PoisonError};
use time::OffsetDateTime;

/// Which enrollment admits a device, and how.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) source: Source,
    pub(super) route: Arc<Route>,
    pub(super) credential: u64,
    pub(super) trail: Vec<String>,
    /// How the certificate spells the device.
    pub(super) name: Option<RegistrationId>,
}

#[derive(Debug)]
pub(super) enum Source {
    Group(Arc<Group>),
    Individual(Arc<Individual>),
}

impl Source {
    pub(super) fn terms(&self) -> &Terms {
        match self {
            Source::Group(group) => group.terms(),
            Source::Individual(individual) => individual.terms(),
        }
    }

    pub(super) fn is_enabled(&self) -> bool {
        match self {
            Source::Group(group) => group.is_enabled(),
            Source::Individual(individual) => individual.is_enabled(),
        }
    }

    pub(super) fn device_id(&self) -> Option<&str> {
        match self {
            Source::Group(_) => None,
            Source::Individual(individual) => individual.document.device_id.as_deref(),
        }
    }

    pub(super) fn entry(&self) -> AllocationEntry {
        match self {
            Source::Group(group) => AllocationEntry::EnrollmentGroup(Box::new(group.document.clone())),
            Source::Individual(one) => AllocationEntry::IndividualEnrollment(Box::new(one.document.clone())),
        }
    }
}

/// Why a device is not admitted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Denial {
    pub(super) refusal: Refusal,
    pub(super) verdict: &'static str,
    pub(super) check: Option<&'static str>,
    pub(super) trail: Vec<String>,
}

pub(super) fn denied(refusal: Refusal, verdict: &'static str) -> Denial {
    Denial { refusal, verdict, check: None, trail: Vec::new() }
}

/// CA certificates kept parsed between registrations.
const MAX_INTERNED: usize = 4096;

/// Dead ends kept of one judgement. The management port shows them all: a judgement's budget bounds them.
const TRAIL: usize = 64;

fn judged(judgement: &Judgement) -> Denial {
    Denial {
        // Whoever is admitted or disabled is not refused with an error body.
        refusal: judgement.verdict.refusal().unwrap_or(errors::UNAUTHORIZED),
        verdict: judgement.verdict.name(),
        check: judgement.trail.first().map(|d| d.check.code()),
        trail: judgement.trail.iter().take(TRAIL).map(ToString::to_string).collect(),
    }
}

/// Tells credentials apart that a device might come with.
fn fingerprint(sha256: &[u8; 32]) -> u64 {
    sha256.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

impl Registrar {
    /// Whether the credential is refused; asked at CONNECT, where a knob says so. A refusal is noted.
    pub fn refuses_connect(&self, caller: &Caller<'_>, now: OffsetDateTime) -> bool {
        let id = RegistrationId::new(caller.registration_id)
            .map_err(|_| denied(errors::INVALID_REGISTRATION_ID, "invalid-registration-id"));
        let Err(denial) = id.and_then(|id| self.authenticate(&id, caller, now)) else { return false };
        let mut event = self.event(Asked::Connect, &Effects::default(), now);
        (event.verdict, event.code) = (denial.verdict, denial.refusal.code);
        event.trail.clone_from(&denial.trail);
        let reply = self.refuse(denial, now);
        self.trace_answer(caller.registration_id, event, &reply);
        self.sent(caller, &reply, true);
        true
    }

    pub(super) fn authenticate(
        &self,
        id: &RegistrationId,
        caller: &Caller<'_>,
        now: OffsetDateTime,
    ) -> Result<Admission, Denial> {
        let here = caller.id_scope == self.config.id_scope.as_str();
        match (caller.token, caller.presented.is_empty()) {
            (None, true) => Err(denied(errors::NO_CREDENTIAL, "no-credential")),
            (Some(_), _) if !here => Err(denied(errors::NO_CREDENTIAL, "unknown-id-scope")),
            (Some(token), _) => self.by_key(id, token, now),
            // `ours:` an unknown id scope answers like an instance in which nothing is verified.
            (None, false) if !here => Err(denied(errors::CA_NOT_FOUND, "unknown-id-scope")),
            (None, false) => self.by_certificate(id, &caller.presented, now),
        }
    }

    /// Admits by a shared access signature: with a key of the device's own enrollment, or with one that derives
    /// from a group's (DPS documentation, symmetric key attestation).
    pub(super) fn by_key(
        &self,
        id: &RegistrationId,
        token: &str,
        now: OffsetDateTime,
    ) -> Result<Admission, Denial> {
        let refused = |verdict| denied(errors::NO_CREDENTIAL, verdict);
        let token = Token::parse(token).map_err(|_| refused("malformed-token"))?;
        if !self.is_resource_of(&token.resource(), id) {
            return Err(refused("token-for-another-resource"));
        }
        let seconds = now.unix_timestamp().unsigned_abs();
        let mut expired = false;
        let mut signed = |key: &SharedKey| match token.signed_by(key, seconds) {
            Ok(()) => true,
            Err(fault) => {
                expired |= fault == TokenFault::Expired;
                false
            }
        };
        if let Some(individual) = self.individuals().get(&id.key()).cloned() {
            let Credential::Keys(keys) = &individual.credential else {
                return Err(refused("enrollment-without-key"));
            };
            if keys.iter().any(&mut signed) {
                return Ok(self.admission_by_key(Source::Individual(individual), id));
            }
        } else {
            // `ours:` which spelling of the id the service hashes is unknown: the one sent, and lower case.
            let folded = id.key();
            let spellings =
                if folded == id.as_str() { vec![id.as_str()] } else { vec![id.as_str(), &folded] };
            for group in &self.current().keyed {
                let Credential::Keys(keys) = &group.credential else { continue };
                let mut derived = keys.iter().flat_map(|key| spellings.iter().map(|s| key.derive(s)));
                if derived.any(|key| signed(&key)) {
                    return Ok(self.admission_by_key(Source::Group(group.clone()), id));
                }
            }
        }
        Err(refused(if expired { "token-expired" } else { "wrong-key" }))
    }

    /// Whether a token's resource is this registration or a level above it, segment by segment.
    pub(super) fn is_resource_of(&self, resource: &str, id: &RegistrationId) -> bool {
        let whole = [self.config.id_scope.as_str(), "registrations", id.as_str()];
        let named: Vec<&str> = resource.trim_matches('/').split('/').collect();
        named.len() <= whole.len() && named.iter().zip(whole).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    pub(super) fn admission_by_key(&self, source: Source, id: &RegistrationId) -> Admission {
        let (group, individual) = match &source {
            Source::Group(group) => (group.document.enrollment_group_id.clone(), false),
            Source::Individual(_) => (Route::INDIVIDUAL.to_owned(), true),
        };
        let credential = allocation::hash(group.bytes().chain([0]).chain(id.as_str().bytes()));
        let route = Route { issuer: [0; 32], path: Vec::new(), group, individual, by_key: true };
        Admission { source, route: self.route(route), credential, trail: Vec::new(), name: None }
    }

    pub(super) fn by_certificate(
        &self,
        id: &RegistrationId,
        presented: &[&[u8]],
        now: OffsetDateTime,
    ) -> Result<Admission, Denial> {
        let chain =
            self.parse(presented).ok_or_else(|| denied(errors::INVALID_CERTIFICATE, "unreadable-leaf"))?;
        let snapshot = self.current();
        let individual = self.individuals().get(&id.key()).cloned();
        let entry = individual.as_ref().map(|one| self.read(|control| one.entry(&control.authorities)));
        let asked = verdict::Asked {
            registration_id: Some(id),
            now: now.unix_timestamp(),
            rules: &self.config.knobs.rules,
            goal: Goal::Entry,
        };
        let judgement = admit(&chain, &asked, entry.as_ref(), &snapshot.trust, &self.memo);
        let (source, name) = match (&judgement.verdict, individual) {
            (Verdict::AcceptIndividual | Verdict::DisabledIndividual, Some(individual)) => {
                (Source::Individual(individual), Route::INDIVIDUAL.to_owned())
            }
            (Verdict::Accept(group) | Verdict::Disabled(group), _) => {
                let source = snapshot.group(group).cloned().map(Source::Group);
                let source = source.ok_or_else(|| denied(errors::UNAUTHORIZED, "no-entry"))?;
                self.intern(&judgement.path[1..]);
                (source, group.to_string())
            }
            _ => return Err(judged(&judgement)),
        };
        Ok(self.admission(source, &chain[0], &judgement, name))
    }

    pub(super) fn admission(
        &self,
        source: Source,
        leaf: &Certificate,
        judgement: &Judgement,
        group: String,
    ) -> Admission {
        let individual = matches!(source, Source::Individual(_));
        let above = judgement.path.get(1..).unwrap_or_default();
        let issuer = above.first().map(|c| *c.sha256()).unwrap_or_default();
        let route = self.known_route(&(issuer, group.clone())).unwrap_or_else(|| {
            let path = above.iter().rev().map(|c| c.display_name()).collect();
            self.route(Route { issuer, path, group, individual, by_key: false })
        });
        let trail = judgement.trail.iter().take(TRAIL).map(ToString::to_string).collect();
        let name = match leaf.common_name() {
            CommonName::One(name) => RegistrationId::new(name.as_str()).ok(),
            _ => None,
        };
        Admission { source, route, credential: fingerprint(leaf.sha256()), trail, name }
    }

    /// Parses what was presented; `None` when the leaf cannot be read. Unreadable extras are skipped.
    pub(super) fn parse(&self, presented: &[&[u8]]) -> Option<Vec<Arc<Certificate>>> {
        let (leaf, rest) = presented.split_first()?;
        let mut chain = vec![Arc::new(Certificate::from_der(*leaf).ok()?)];
        let interned = self.interned.read().unwrap_or_else(PoisonError::into_inner);
        chain.extend(rest.iter().filter_map(|der| {
            let known = interned.get(&sha256(der)).cloned();
            known.or_else(|| Certificate::from_der(*der).ok().map(Arc::new))
        }));
        Some(chain)
    }

    /// Keeps CA certificates of a good path parsed, so that strangers cannot fill the memory with junk.
    pub(super) fn intern(&self, path: &[Arc<Certificate>]) {
        let known = |c: &Arc<Certificate>| {
            self.interned.read().unwrap_or_else(PoisonError::into_inner).contains_key(c.sha256())
        };
        for certificate in path.iter().filter(|c| !known(c)) {
            let mut interned = self.interned.write().unwrap_or_else(PoisonError::into_inner);
            if interned.len() < MAX_INTERNED {
                interned.insert(*certificate.sha256(), certificate.clone());
            }
        }
    }

    pub(super) fn current(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn known_route(&self, way: &Way) -> Option<Arc<Route>> {
        locked(&self.routes).get(way).cloned()
    }

    /// One route for all devices that come the same way.
    pub(super) fn route(&self, route: Route) -> Arc<Route> {
        let way = (route.issuer, route.group.clone());
        locked(&self.routes).entry(way).or_insert_with(|| Arc::new(route)).clone()
    }

    /// What tells the caller's credential from another, where it brings one. `ours:` a poll must come with the
    /// credential of its register; the service's rule for polls by others is unknown.
    pub(super) fn credential_of(&self, caller: &Caller<'_>, now: OffsetDateTime) -> Option<u64> {
        match (caller.token, caller.presented.first()) {
            (Some(token), _) => {
                let id = RegistrationId::new(caller.registration_id).ok()?;
                self.by_key(&id, token, now).ok().map(|admission| admission.credential)
            }
            (None, leaf) => leaf.map(|leaf| fingerprint(&sha256(leaf))),
        }
    }
}
