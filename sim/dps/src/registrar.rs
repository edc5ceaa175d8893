//! Answers registrations and polls: the device API's core, the same behind every transport.
//!
//! Every method takes the moment; nothing here waits. Trust is judged at each register against the instance's
//! current state, outside every lock: a snapshot of what is trusted is shared by reference and replaced by each
//! write on CAs or groups.

use crate::allocation::{
    self, AllocationAnswer, AllocationEntry, AllocationFault, AllocationRequest, Hub, Proof, RuntimeContext,
};
use crate::control::{Control, Snapshot};
use crate::enrollments::{Credential, EnrollmentFault, Group, Individual, IndividualStore, trust_of};
use crate::faults::{Effects, Faults};
use crate::ids::Ids;
use crate::knobs::{Concurrent, DisabledAnswer, Knobs};
use crate::ledger::{Ledger, RefusalKind, Route};
use crate::memory::{
    ControlMemory, Forgotten, IndividualMemory, RegistrationMemory, SNAPSHOT, SnapshotLine, Touched,
    unreadable,
};
use crate::quota::{Limits, MINUTE, Meter, POLL_WINDOW};
use crate::registrations::{Extra, Failure, Outcome, Registration, Registrations};
use crate::trace::{Asked, Event, Trace};
use serde_json::Value;
use sim_identity::certificate::sha256;
use sim_identity::verdict::{Judgement, SignatureMemo, Trust, Verdict, identity, judge};
use sim_identity::{Certificate, Seed};
use sim_protocol::attestation::{
    AllocationPolicy, AttestationMechanism, EnrollmentGroup, IndividualEnrollment, Terms, X509Attestation,
};
use sim_protocol::delay::Delay;
use sim_protocol::errors::{self, Refusal};
use sim_protocol::registration::{
    DeviceRegistration, OperationStatus, RegistrationState, RegistrationStatus, Substatus,
};
use sim_protocol::sas::{SharedKey, Token, TokenFault};
use sim_protocol::{EnrollmentGroupId, IdScope, RegistrationId, ServiceError, timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use time::OffsetDateTime;

/// How an instance answers.
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// Which instance this is.
    pub id_scope: IdScope,
    /// What a 202 asks devices to wait; whole seconds go on the wire.
    pub retry_after: Duration,
    /// How long an assignment takes.
    pub assign_delay: Delay,
    /// Linked hubs.
    pub hubs: Vec<Hub>,
    /// How devices are spread over them, unless their enrollment says otherwise; never `custom`.
    pub allocation_policy: AllocationPolicy,
    /// Limits kept.
    pub limits: Limits,
    /// What is not known of the service.
    pub knobs: Knobs,
}

impl RegistrarConfig {
    /// An instance of this scope with one hub, no delay, no limit on rates, and a retry-after of 3 s, which is what
    /// captures of the service show.
    pub fn new(id_scope: IdScope) -> Self {
        RegistrarConfig {
            id_scope,
            retry_after: Duration::from_secs(3),
            assign_delay: Delay::Fixed(Duration::ZERO),
            hubs: vec![Hub::new("hub-1.azure-devices.net")],
            allocation_policy: AllocationPolicy::Hashed,
            limits: Limits::unlimited(),
            knobs: Knobs::default(),
        }
    }
}

/// Who asks, as the transport knows it.
#[derive(Clone, Debug, Default)]
pub struct Caller<'a> {
    /// The id scope it names.
    pub id_scope: &'a str,
    /// The registration id it names.
    pub registration_id: &'a str,
    /// What the TLS peer sent, leaf first; empty when it sent nothing.
    pub presented: Vec<&'a [u8]>,
    /// A shared access signature, where it brought one.
    pub token: Option<&'a str>,
}

/// An answer on the device API, before a transport dresses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// HTTP-like status.
    pub status: u16,
    /// What the device is asked to wait.
    pub retry_after: Option<Duration>,
    /// JSON.
    pub body: String,
    /// What must be kept before this is sent.
    pub touched: Option<Touched>,
    /// A webhook to ask, beside sending this.
    pub ask: Option<Box<Ask>>,
}

impl Reply {
    fn new(status: u16, retry_after: Option<Duration>, body: &impl serde::Serialize) -> Self {
        Reply { status, retry_after, body: json(body), touched: None, ask: None }
    }
}

/// A webhook to ask where a device goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The registration, folded.
    pub key: String,
    /// The operation that waits.
    pub operation_id: String,
    /// Where to ask.
    pub url: String,
    /// What to ask.
    pub request: AllocationRequest,
    candidates: Vec<usize>,
    migrate: bool,
}

/// Which enrollment admits a device, and how.
#[derive(Debug)]
struct Admission {
    source: Source,
    route: Arc<Route>,
    credential: u64,
    trail: Vec<String>,
}

#[derive(Debug)]
enum Source {
    Group(Arc<Group>),
    Individual(Arc<Individual>),
}

impl Source {
    fn terms(&self) -> &Terms {
        match self {
            Source::Group(group) => group.terms(),
            Source::Individual(individual) => individual.terms(),
        }
    }

    fn is_enabled(&self) -> bool {
        match self {
            Source::Group(group) => group.is_enabled(),
            Source::Individual(individual) => individual.is_enabled(),
        }
    }

    fn device_id(&self) -> Option<&str> {
        match self {
            Source::Group(_) => None,
            Source::Individual(individual) => individual.document.device_id.as_deref(),
        }
    }

    fn entry(&self) -> AllocationEntry {
        match self {
            Source::Group(group) => AllocationEntry::EnrollmentGroup(Box::new(group.document.clone())),
            Source::Individual(one) => AllocationEntry::IndividualEnrollment(Box::new(one.document.clone())),
        }
    }
}

/// Why a device is not admitted.
#[derive(Debug)]
struct Denial {
    refusal: Refusal,
    verdict: &'static str,
    check: Option<&'static str>,
    trail: Vec<String>,
}

fn denied(refusal: Refusal, verdict: &'static str) -> Denial {
    Denial { refusal, verdict, check: None, trail: Vec::new() }
}

/// CA certificates kept parsed between registrations.
const MAX_INTERNED: usize = 4096;

/// SHA-256 of the certificate that issued a leaf, and the enrollment that admits it.
type Way = ([u8; 32], String);

/// One DPS instance.
#[derive(Debug)]
pub struct Registrar {
    config: RegistrarConfig,
    /// Names for everything the instance makes up.
    pub ids: Ids,
    /// What it saw.
    pub ledger: Ledger,
    /// What goes wrong on purpose.
    pub faults: Faults,
    control: Mutex<Control>,
    /// Locked after `control`, by those who need both.
    individuals: RwLock<IndividualStore>,
    snapshot: RwLock<Arc<Snapshot>>,
    memo: SignatureMemo,
    interned: RwLock<HashMap<[u8; 32], Arc<Certificate>>>,
    registrations: Registrations,
    registering: Meter,
    operating: Meter,
    routes: Mutex<HashMap<Way, Arc<Route>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registrar {
    /// An instance with no CA, no enrollment and no faults; those to come are drawn from `fault_seed`.
    pub fn new(config: RegistrarConfig, seed: &Seed, fault_seed: &Seed) -> Self {
        Registrar {
            ids: Ids::new(seed.child("service")),
            ledger: Ledger::default(),
            faults: Faults::new(fault_seed),
            control: Mutex::default(),
            individuals: RwLock::default(),
            snapshot: RwLock::default(),
            memo: SignatureMemo::default(),
            interned: RwLock::default(),
            registrations: Registrations::default(),
            registering: Meter::default(),
            operating: Meter::default(),
            routes: Mutex::default(),
            config,
        }
    }

    /// How the instance answers.
    pub fn config(&self) -> &RegistrarConfig {
        &self.config
    }

    // ---- what operators read and write ----

    /// Reads CAs and groups.
    pub fn read<T>(&self, look: impl FnOnce(&Control) -> T) -> T {
        look(&locked(&self.control))
    }

    /// Writes CAs or groups; what is trusted follows before the call returns.
    pub fn write<T>(&self, change: impl FnOnce(&mut Control, &Ids) -> T) -> T {
        let mut control = locked(&self.control);
        let result = change(&mut control, &self.ids);
        let snapshot = Arc::new(Snapshot::of(&control));
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        result
    }

    fn individuals(&self) -> RwLockReadGuard<'_, IndividualStore> {
        self.individuals.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn individuals_mut(&self) -> RwLockWriteGuard<'_, IndividualStore> {
        self.individuals.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one operator's call; where the rate allows no more, how long to wait.
    pub fn operation(&self, now: OffsetDateTime) -> Result<(), Duration> {
        self.ledger.operations.add();
        let taken = self.operating.take(self.config.limits.operations_per_minute, MINUTE, now);
        taken.inspect_err(|_| self.ledger.throttled_operations.add())
    }

    /// Creates a group, or replaces it where If-Match allows it.
    pub fn put_group(
        &self,
        id: EnrollmentGroupId,
        document: EnrollmentGroup,
        if_match: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<EnrollmentGroup, EnrollmentFault> {
        self.write(|control, ids| {
            let Control { authorities, groups } = control;
            let limits = &self.config.limits;
            groups.put(id, document, if_match, authorities, &self.individuals(), limits, ids, now).cloned()
        })
    }

    /// Creates an individual enrollment, or replaces it where If-Match allows it.
    pub fn put_individual(
        &self,
        id: &RegistrationId,
        document: IndividualEnrollment,
        if_match: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<IndividualEnrollment, EnrollmentFault> {
        let control = locked(&self.control);
        let mut individuals = self.individuals_mut();
        let Control { authorities, groups } = &*control;
        let limits = &self.config.limits;
        let put =
            individuals.put(id, document, if_match, authorities, groups, limits, &self.ids, now)?.clone();
        drop((individuals, control));
        Ok(self.shown(&put, now))
    }

    /// Deletes an individual enrollment; its device may then get in through a group.
    pub fn delete_individual(
        &self,
        id: &RegistrationId,
        if_match: Option<&str>,
    ) -> Result<(), EnrollmentFault> {
        self.individuals_mut().delete(id, if_match)
    }

    /// One individual enrollment as the service API shows it.
    pub fn individual(
        &self,
        id: &RegistrationId,
        now: OffsetDateTime,
    ) -> Result<IndividualEnrollment, EnrollmentFault> {
        let found = self.individuals().found(id)?.clone();
        Ok(self.shown(&found, now))
    }

    /// How the device of an individual enrollment attests, keys included.
    pub fn individual_attestation(
        &self,
        id: &RegistrationId,
    ) -> Result<AttestationMechanism, EnrollmentFault> {
        Ok(self.individuals().found(id)?.attestation())
    }

    /// Individual enrollments whose ids come after `after`, at most `limit`, by id.
    pub fn individuals_after(
        &self,
        after: Option<&str>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Vec<IndividualEnrollment> {
        let found: Vec<_> = self.individuals().after(after).take(limit).map(|(_, one)| one.clone()).collect();
        found.iter().map(|one| self.shown(one, now)).collect()
    }

    fn shown(&self, individual: &Individual, now: OffsetDateTime) -> IndividualEnrollment {
        let registration_state = self.registration(&individual.document.registration_id, now);
        IndividualEnrollment { registration_state, ..individual.document.clone() }
    }

    /// The record of a registration as operators see it.
    pub fn registration(&self, registration_id: &str, now: OffsetDateTime) -> Option<RegistrationState> {
        let key = registration_id.to_ascii_lowercase();
        self.registrations.with(&key, |r| r.map(|r| self.public_state(r, now)))
    }

    /// The records of a group, at most `limit` whose ids come after `after`, by id.
    pub fn registrations(
        &self,
        group: &str,
        after: Option<&str>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Vec<RegistrationState> {
        self.registrations.of_group(group, after, limit, |r| self.public_state(r, now))
    }

    fn public_state(&self, registration: &Registration, now: OffsetDateTime) -> RegistrationState {
        registration.public_state(&self.config.hubs, &self.config.knobs, now)
    }

    /// Forgets a registration, where it has the etag asked for; the device's next one starts afresh.
    pub fn delete_registration(
        &self,
        registration_id: &str,
        if_match: Option<&str>,
    ) -> Result<Touched, Refusal> {
        let key = registration_id.to_ascii_lowercase();
        let found = self.registrations.with(&key, |r| r.map(|r| r.etag.to_string()));
        let etag = found.ok_or(errors::NOT_FOUND)?;
        if if_match.is_some_and(|given| !crate::certificates::etag_matches(given, &etag)) {
            return Err(errors::ETAG_MISMATCH);
        }
        self.registrations.remove(&key);
        Ok(Touched::Registration(key))
    }

    /// How many registrations are kept.
    pub fn registration_count(&self) -> usize {
        self.registrations.len()
    }

    /// What happened to a registration lately.
    pub fn trace(&self, registration_id: &str) -> Option<Trace> {
        self.registrations.trace(&registration_id.to_ascii_lowercase())
    }

    // ---- what devices ask ----

    /// Answers a register. `effects` are the faults that were drawn for it.
    pub fn register(
        &self,
        caller: &Caller<'_>,
        body: &[u8],
        effects: &Effects,
        now: OffsetDateTime,
    ) -> Reply {
        self.ledger.registers.add();
        let mut event = self.event(Asked::Register, effects, now);
        let reply = match self.spoiled(effects, now) {
            Some(reply) => reply,
            None => {
                let tried = self.try_register(caller, body, effects, &mut event, now);
                tried.unwrap_or_else(|denial| {
                    event.verdict = denial.verdict;
                    event.code = denial.refusal.code;
                    event.trail.clone_from(&denial.trail);
                    self.refuse(&denial, caller.registration_id, now)
                })
            }
        };
        self.trace_answer(caller.registration_id, event, &reply);
        reply
    }

    fn try_register(
        &self,
        caller: &Caller<'_>,
        body: &[u8],
        effects: &Effects,
        event: &mut Event,
        now: OffsetDateTime,
    ) -> Result<Reply, Denial> {
        let id = RegistrationId::new(caller.registration_id)
            .map_err(|_| denied(errors::INVALID_REGISTRATION_ID, "invalid-registration-id"))?;
        let limit = self.config.limits.registrations_per_minute;
        if let Err(wait) = self.registering.take(limit, MINUTE, now) {
            event.verdict = "throttled";
            return Ok(self.throttle(wait, now));
        }
        let payload = read_body(&id, body).map_err(|refusal| denied(refusal, "invalid-body"))?;
        let admission = self.authenticate(&id, caller, now)?;
        event.verdict = if admission.source.is_enabled() { "accept" } else { "disabled" };
        event.route = Some(admission.route.clone());
        event.trail.clone_from(&admission.trail);
        if !admission.source.is_enabled() {
            if self.config.knobs.disabled == DisabledAnswer::Register {
                return Err(denied(errors::UNAUTHORIZED, "disabled"));
            }
            let kind = RefusalKind { code: 0, message: "disabled", verdict: "disabled", check: None };
            let entry = &admission.route.group;
            let what = if admission.route.individual { "individual enrollment" } else { "enrollment group" };
            let trail = || vec![format!("the nearest enrollment is {what} `{entry}`, which is disabled")];
            self.ledger.note_refusal(kind, caller.registration_id, trail);
        }
        self.begin(id, admission, payload, effects, now)
    }

    /// Whether the credential would be refused; asked at CONNECT, where a knob says so.
    pub fn would_refuse(&self, caller: &Caller<'_>, now: OffsetDateTime) -> bool {
        let id = RegistrationId::new(caller.registration_id);
        id.map_or(true, |id| self.authenticate(&id, caller, now).is_err())
    }

    fn authenticate(
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
    fn by_key(&self, id: &RegistrationId, token: &str, now: OffsetDateTime) -> Result<Admission, Denial> {
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
    fn is_resource_of(&self, resource: &str, id: &RegistrationId) -> bool {
        let whole = [self.config.id_scope.as_str(), "registrations", id.as_str()];
        let named: Vec<&str> = resource.trim_matches('/').split('/').collect();
        named.len() <= whole.len() && named.iter().zip(whole).all(|(a, b)| a.eq_ignore_ascii_case(b))
    }

    fn admission_by_key(&self, source: Source, id: &RegistrationId) -> Admission {
        let (group, individual) = match &source {
            Source::Group(group) => (group.document.enrollment_group_id.clone(), false),
            Source::Individual(_) => (Route::INDIVIDUAL.to_owned(), true),
        };
        let credential = allocation::hash(group.bytes().chain([0]).chain(id.as_str().bytes()));
        let route = Route { issuer: [0; 32], path: Vec::new(), group, individual, by_key: true };
        Admission { source, route: self.route(route), credential, trail: Vec::new() }
    }

    fn by_certificate(
        &self,
        id: &RegistrationId,
        presented: &[&[u8]],
        now: OffsetDateTime,
    ) -> Result<Admission, Denial> {
        let chain =
            self.parse(presented).ok_or_else(|| denied(errors::INVALID_CERTIFICATE, "unreadable-leaf"))?;
        let snapshot = self.current();
        let individual = self.individuals().get(&id.key()).cloned();
        if let Some(individual) = individual {
            match self.by_individual(&individual, id, &chain, &snapshot, now) {
                Err(denial)
                    if denial.verdict == OTHER_CERTIFICATE && self.config.knobs.individual_fall_through => {}
                decided => return decided,
            }
        }
        let judgement = judge(&chain, id, now.unix_timestamp(), &snapshot.trust, &self.memo);
        match &judgement.verdict {
            Verdict::Accept(group) | Verdict::Disabled(group) => {
                let source = snapshot.group(group).cloned().map(Source::Group);
                let source = source.ok_or_else(|| denied(errors::UNAUTHORIZED, "no-entry"))?;
                self.intern(&judgement.path[1..]);
                Ok(self.admission(source, &chain[0], &judgement, group.to_string()))
            }
            _ => Err(judged(&judgement)),
        }
    }

    fn by_individual(
        &self,
        individual: &Arc<Individual>,
        id: &RegistrationId,
        chain: &[Arc<Certificate>],
        snapshot: &Snapshot,
        now: OffsetDateTime,
    ) -> Result<Admission, Denial> {
        let leaf = &chain[0];
        let seconds = now.unix_timestamp();
        let admitted = |judgement: &Judgement| {
            self.admission(
                Source::Individual(individual.clone()),
                leaf,
                judgement,
                Route::INDIVIDUAL.to_owned(),
            )
        };
        match &individual.credential {
            Credential::Leaves(slots) => {
                identity(leaf, id).map_err(|verdict| judged(&Judgement::refused(verdict)))?;
                if !slots.iter().flatten().any(|known| known == leaf) {
                    return Err(denied(errors::INVALID_CERTIFICATE, OTHER_CERTIFICATE));
                }
                if !leaf.is_valid_at(seconds) {
                    return Err(denied(errors::INVALID_CERTIFICATE, "leaf-outside-validity"));
                }
                if self.config.knobs.individual_chain && !leaf.is_self_issued() {
                    // Without entries a path that reaches a verified CA ends in `NoEntry`.
                    let verified = Trust { verified: snapshot.trust.verified.clone(), entries: Vec::new() };
                    let judgement = judge(chain, id, seconds, &verified, &self.memo);
                    if judgement.verdict != Verdict::NoEntry {
                        return Err(judged(&judgement));
                    }
                }
                Ok(admitted(&Judgement { path: vec![leaf.clone()], ..Judgement::refused(Verdict::NoEntry) }))
            }
            Credential::Keys(_) => Err(denied(errors::UNAUTHORIZED, "enrollment-by-key")),
            Credential::References(_) | Credential::Signers(_) => {
                let trust = self.read(|control| trust_of(individual, &control.authorities, &snapshot.trust));
                let judgement = judge(chain, id, seconds, &trust.unwrap_or_default(), &self.memo);
                match &judgement.verdict {
                    Verdict::Accept(_) | Verdict::Disabled(_) => Ok(admitted(&judgement)),
                    _ => Err(judged(&judgement)),
                }
            }
        }
    }

    fn admission(
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
        Admission { source, route, credential: fingerprint(leaf.sha256()), trail }
    }

    /// Parses what was presented; `None` when the leaf cannot be read. Unreadable extras are skipped.
    fn parse(&self, presented: &[&[u8]]) -> Option<Vec<Arc<Certificate>>> {
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
    fn intern(&self, path: &[Arc<Certificate>]) {
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

    fn current(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known_route(&self, way: &Way) -> Option<Arc<Route>> {
        locked(&self.routes).get(way).cloned()
    }

    /// One route for all devices that come the same way.
    fn route(&self, route: Route) -> Arc<Route> {
        let way = (route.issuer, route.group.clone());
        locked(&self.routes).entry(way).or_insert_with(|| Arc::new(route)).clone()
    }

    /// Starts an operation and answers 202.
    fn begin(
        &self,
        id: RegistrationId,
        admission: Admission,
        payload: Option<Value>,
        effects: &Effects,
        now: OffsetDateTime,
    ) -> Result<Reply, Denial> {
        let key = id.key();
        let limit = self.config.limits.registrations.unwrap_or(usize::MAX);
        let full = self.registrations.len() >= limit;
        let (body, ask) = self.registrations.replace(key.clone(), |before| {
            if before.is_none() && full {
                return Err(denied(errors::QUOTA, "too-many-registrations"));
            }
            let pending = before.is_some_and(|b| !b.told && now < b.ready_at);
            if pending && self.config.knobs.concurrent == Concurrent::Conflict {
                return Err(denied(errors::CONFLICT, "operation-pending"));
            }
            let mut begun = self.registration_of(id, &admission, before, now);
            if let Some(hub) = &effects.wrong_hub {
                begun.extra().wrong_hub = Some(hub.clone());
            }
            let ask = self.ask(&mut begun, &admission, payload);
            let status = RegistrationStatus::Assigning;
            let operation_id = begun.operation_id.to_string();
            Ok((begun, (OperationStatus { operation_id, status, registration_state: None }, ask)))
        })?;
        let reply = Reply::new(202, Some(self.config.retry_after), &body);
        Ok(Reply { touched: Some(Touched::Registration(key)), ask, ..reply })
    }

    fn registration_of(
        &self,
        id: RegistrationId,
        admission: &Admission,
        before: Option<&Registration>,
        now: OffsetDateTime,
    ) -> Registration {
        let device_id = admission.source.device_id().filter(|own| *own != id.as_str());
        let extra =
            device_id.map(|own| Box::new(Extra { device_id: Some(own.to_owned()), ..Extra::default() }));
        let times = before.map_or(0, |b| b.times.wrapping_add(1));
        // By the device and not by who came first, so that a repeated run meets the same delays.
        let draw = self.ids.draw(allocation::hash(id.as_str().bytes()), times);
        Registration {
            operation_id: self.ids.operation_id().into(),
            ready_at: now + self.config.assign_delay.sample(draw),
            times,
            outcome: self.allocate(&id, admission, before.and_then(|b| b.outcome.hub())),
            route: admission.route.clone(),
            credential: admission.credential,
            told: false,
            created: before.map_or(now, |b| b.created),
            updated: now,
            etag: self.ids.registration_etag(now).into(),
            polls: before.map(|b| b.polls).unwrap_or_default(),
            extra,
            id,
        }
    }

    /// Where the device goes, by its enrollment's policies (DPS documentation, allocation and reprovisioning).
    fn allocate(&self, id: &RegistrationId, admission: &Admission, before: Option<u16>) -> Outcome {
        if !admission.source.is_enabled() {
            return Outcome::Disabled;
        }
        let terms = admission.source.terms();
        let reprovision = terms.reprovision_policy.unwrap_or_default();
        if let Some(hub) = before.filter(|_| !reprovision.update_hub_assignment) {
            return Outcome::Assigned { hub, substatus: Substatus::InitialAssignment, repeated: true };
        }
        let policy = terms.allocation_policy.unwrap_or(self.config.allocation_policy);
        if policy == AllocationPolicy::Custom {
            return Outcome::Allocating { before };
        }
        let candidates = allocation::candidates(&self.config.hubs, terms);
        match allocation::choose(policy, &self.config.hubs, &candidates, id) {
            Some(hub) => assigned(hub, before, reprovision.migrate_device_data),
            None => Outcome::no_hub(),
        }
    }

    /// The webhook to ask, where one decides.
    fn ask(
        &self,
        registration: &mut Registration,
        admission: &Admission,
        payload: Option<Value>,
    ) -> Option<Box<Ask>> {
        let Outcome::Allocating { before } = registration.outcome else { return None };
        let terms = admission.source.terms();
        let url = terms.custom_allocation_definition.as_ref()?.webhook_url.clone();
        let candidates = allocation::candidates(&self.config.hubs, terms);
        let hub = |hub: u16| self.config.hubs.get(usize::from(hub)).map(|h| h.host.clone());
        let proof = if admission.route.by_key {
            Proof::SymmetricKey {}
        } else {
            Proof::X509(Box::<X509Attestation>::default())
        };
        let extra = registration.extra();
        (extra.payload, extra.asking) = (payload.clone(), true);
        let own = extra.device_id.clone();
        let context = RuntimeContext {
            registration_id: registration.id.clone(),
            current_iot_hub_host_name: before.and_then(hub),
            current_device_id: before.map(|_| own.unwrap_or_else(|| registration.id.to_string())),
            proof,
            payload,
        };
        let request =
            AllocationRequest::new(admission.source.entry(), context, &self.config.hubs, &candidates);
        Some(Box::new(Ask {
            key: registration.id.key(),
            operation_id: registration.operation_id.to_string(),
            url,
            request,
            candidates,
            migrate: terms.reprovision_policy.unwrap_or_default().migrate_device_data,
        }))
    }

    /// What a webhook answered becomes the outcome of the operation that waits for it, if it still does.
    pub fn allocated(
        &self,
        ask: &Ask,
        answer: Result<AllocationAnswer, AllocationFault>,
        now: OffsetDateTime,
    ) -> Option<Touched> {
        let twin = answer.as_ref().is_ok_and(|a| a.initial_twin.is_some());
        let chosen = answer.and_then(|answer| allocation::accept(answer, &self.config.hubs, &ask.candidates));
        self.registrations.with(&ask.key, |found| {
            let registration = found.filter(|r| *r.operation_id == *ask.operation_id)?;
            let Outcome::Allocating { before } = registration.outcome else { return None };
            let (outcome, payload) = match chosen {
                // A twin that the webhook gives takes the place of the one that would have moved along.
                Ok((hub, payload)) => (assigned(hub, before, ask.migrate && !twin), payload),
                Err(fault) => {
                    let failure = Failure { code: errors::CUSTOM_ALLOCATION.code, message: fault.message() };
                    (Outcome::Failed(Box::new(failure)), None)
                }
            };
            let extra = registration.extra();
            (extra.payload, extra.asking) = (payload, false);
            registration.outcome = outcome;
            registration.updated = now;
            Some(Touched::Registration(ask.key.clone()))
        })
    }

    /// Answers a poll of the operation by its device.
    pub fn status(
        &self,
        caller: &Caller<'_>,
        operation_id: &str,
        effects: &Effects,
        now: OffsetDateTime,
    ) -> Reply {
        self.ledger.polls.add();
        let mut event = self.event(Asked::Poll, effects, now);
        let reply = match self.spoiled(effects, now) {
            Some(reply) => reply,
            None => self.try_status(caller, operation_id, &mut event, now).unwrap_or_else(|reply| reply),
        };
        if reply.status != 202 || !event.faults.is_empty() {
            self.trace_answer(caller.registration_id, event, &reply);
        }
        reply
    }

    fn try_status(
        &self,
        caller: &Caller<'_>,
        operation_id: &str,
        event: &mut Event,
        now: OffsetDateTime,
    ) -> Result<Reply, Reply> {
        let key = caller.registration_id.to_ascii_lowercase();
        let found = self.registrations.with(&key, |r| r.map(|r| (r.operation_id.clone(), r.credential)));
        let Some((_, credential)) = found.filter(|(known, _)| **known == *operation_id) else {
            event.verdict = "unknown-operation";
            return Err(self.error(errors::NOT_FOUND, now));
        };
        if !self.is_same_credential(caller, credential, now) {
            event.verdict = "other-credential";
            return Err(self.error(errors::NO_CREDENTIAL, now));
        }
        let polled = self.registrations.with(&key, |registration| {
            let registration = registration.filter(|r| *r.operation_id == *operation_id);
            let registration = registration.ok_or_else(|| self.error(errors::NOT_FOUND, now))?;
            let limit = self.config.limits.polls_per_10s;
            if let Err(wait) = registration.polls.take(limit, POLL_WINDOW, now) {
                event.verdict = "throttled";
                return Err(self.throttle(wait, now));
            }
            let state = registration.state(&self.config.hubs, &self.config.knobs, now);
            let orphan = matches!(registration.outcome, Outcome::Allocating { .. })
                && !registration.extra.as_ref().is_some_and(|e| e.asking);
            if state.status != RegistrationStatus::Assigning {
                event.verdict = if self.tell(registration) { "told" } else { "told-again" };
                event.route = Some(registration.route.clone());
            }
            Ok((state, registration.operation_id.to_string(), orphan))
        });
        let (state, operation_id, orphan) = polled?;
        let status = state.status;
        let body = OperationStatus { operation_id, status, registration_state: Some(state) };
        if status != RegistrationStatus::Assigning {
            return Ok(Reply::new(200, None, &body));
        }
        // A mock that was restarted while a webhook was being asked asks it again.
        let ask = if orphan { self.ask_again(&key, caller, now) } else { None };
        Ok(Reply { ask, ..Reply::new(202, Some(self.config.retry_after), &body) })
    }

    fn ask_again(&self, key: &str, caller: &Caller<'_>, now: OffsetDateTime) -> Option<Box<Ask>> {
        let id = RegistrationId::new(caller.registration_id).ok()?;
        let admission = self.authenticate(&id, caller, now).ok()?;
        self.registrations.with(key, |registration| {
            let registration = registration?;
            let payload = registration.extra().payload.clone();
            self.ask(registration, &admission, payload)
        })
    }

    /// Whether a poll comes with the credential that the registration was made with. `ours:` the service's rule for
    /// polls by others is unknown.
    fn is_same_credential(&self, caller: &Caller<'_>, credential: u64, now: OffsetDateTime) -> bool {
        match (caller.token, caller.presented.first()) {
            (Some(token), _) => RegistrationId::new(caller.registration_id)
                .is_ok_and(|id| self.by_key(&id, token, now).is_ok_and(|a| a.credential == credential)),
            (None, Some(leaf)) => fingerprint(&sha256(leaf)) == credential,
            (None, None) => false,
        }
    }

    /// Answers the look-up of a registration by its device: the bare state.
    pub fn look_up(&self, caller: &Caller<'_>, now: OffsetDateTime) -> Reply {
        let id = RegistrationId::new(caller.registration_id)
            .map_err(|_| denied(errors::INVALID_REGISTRATION_ID, "invalid-registration-id"));
        let admission = id.and_then(|id| self.authenticate(&id, caller, now).map(|_| id));
        match admission {
            Ok(id) => {
                let state = self
                    .registrations
                    .with(&id.key(), |r| r.map(|r| r.state(&self.config.hubs, &self.config.knobs, now)));
                state
                    .map_or_else(|| self.error(errors::NOT_FOUND, now), |state| Reply::new(200, None, &state))
            }
            Err(denial) => self.error(denial.refusal, now),
        }
    }

    /// Counts a final answer; true if it was the first.
    fn tell(&self, registration: &mut Registration) -> bool {
        if std::mem::replace(&mut registration.told, true) {
            return false;
        }
        match &registration.outcome {
            Outcome::Assigned { hub, .. } => {
                let host =
                    self.config.hubs.get(usize::from(*hub)).map(|h| h.host.as_str()).unwrap_or_default();
                self.ledger.note_roll_up(&registration.route, usize::from(*hub), host);
            }
            Outcome::Disabled => self.ledger.disabled.add(),
            Outcome::Failed(failure) => {
                self.ledger.refused.add();
                let kind = RefusalKind {
                    code: failure.code,
                    message: &failure.message,
                    verdict: "allocation-failed",
                    check: None,
                };
                self.ledger.note_refusal(kind, registration.id.as_str(), Vec::new);
            }
            Outcome::Allocating { .. } => {}
        }
        true
    }

    // ---- faults, quotas and errors ----

    /// The answer that a fault gives in place of the service's.
    fn spoiled(&self, effects: &Effects, now: OffsetDateTime) -> Option<Reply> {
        if let Some(wait) = effects.throttle {
            return Some(self.throttle(wait, now));
        }
        let (status, retry_after) = effects.server_error?;
        let refusal = Refusal { code: u32::from(status) * 1000 + 1, ..errors::INTERNAL };
        Some(Reply { retry_after, ..self.error(refusal, now) })
    }

    fn event(&self, asked: Asked, effects: &Effects, now: OffsetDateTime) -> Event {
        Event {
            at: now,
            asked,
            status: 0,
            code: 0,
            verdict: "fault",
            route: None,
            trail: Vec::new(),
            faults: effects.applied.clone(),
        }
    }

    fn trace_answer(&self, registration_id: &str, event: Event, reply: &Reply) {
        // Junk that names no registration would push out what somebody may look for.
        if RegistrationId::new(registration_id).is_ok() {
            let event = Event { status: reply.status, ..event };
            self.registrations.note(&registration_id.to_ascii_lowercase(), event);
        }
    }

    /// Notes what a fault did to a request that was not answered.
    pub fn trace_fault(&self, registration_id: &str, asked: Asked, effects: &Effects, now: OffsetDateTime) {
        if effects.applied.is_empty() || RegistrationId::new(registration_id).is_err() {
            return;
        }
        self.registrations.note(&registration_id.to_ascii_lowercase(), self.event(asked, effects, now));
    }

    fn throttle(&self, wait: Duration, now: OffsetDateTime) -> Reply {
        self.ledger.throttled.add();
        Reply { retry_after: Some(wait), ..self.error(errors::THROTTLED, now) }
    }

    /// An error body with a tracking id of its own.
    pub fn error(&self, refusal: Refusal, now: OffsetDateTime) -> Reply {
        let body = self.error_body(refusal, refusal.message, now);
        Reply::new(refusal.status(), None, &body)
    }

    /// The body of an error, with words of the caller's own.
    pub fn error_body(&self, refusal: Refusal, message: &str, now: OffsetDateTime) -> ServiceError {
        ServiceError {
            error_code: refusal.code,
            tracking_id: self.ids.guid(),
            message: message.to_owned(),
            timestamp_utc: timestamp::ticks(now),
        }
    }

    fn refuse(&self, denial: &Denial, id: &str, now: OffsetDateTime) -> Reply {
        let Denial { refusal, verdict, check, trail } = denial;
        self.ledger.refused.add();
        let kind = RefusalKind { code: refusal.code, message: refusal.message, verdict, check: *check };
        self.ledger.note_refusal(kind, id, || trail.clone());
        self.error(*refusal, now)
    }

    // ---- what is remembered ----

    /// What must be kept of something that was touched, as text; `None` where it is gone.
    pub fn memory(&self, touched: &Touched) -> Option<String> {
        match touched {
            Touched::Control => {
                Some(self.read(|control| json(&ControlMemory::of(control, self.ids.position()))))
            }
            Touched::Individual(key) => self.individuals().get(key).map(|one| json(&one.memory())),
            Touched::Registration(key) => {
                self.registrations.with(key, |r| r.map(|r| json(&r.memory(&self.config.hubs))))
            }
        }
    }

    /// Takes up what was kept.
    pub fn restore(&self, touched: &Touched, text: &str) -> Result<(), Forgotten> {
        match touched {
            Touched::Control => self.take_control(read_memory("CAs and groups", text)?),
            Touched::Individual(_) => self.take_individual(read_memory("individual enrollment", text)?),
            Touched::Registration(_) => self.take_registration(read_memory("registration", text)?),
        }
    }

    fn take_control(&self, memory: ControlMemory) -> Result<(), Forgotten> {
        self.ids.resume(memory.counter);
        let control = memory.control()?;
        self.write(|current, _| *current = control);
        Ok(())
    }

    fn take_individual(&self, memory: IndividualMemory) -> Result<(), Forgotten> {
        let individual = Individual::remember(memory)?;
        let key = individual.document.registration_id.to_ascii_lowercase();
        self.individuals_mut().insert(key, individual);
        Ok(())
    }

    fn take_registration(&self, memory: RegistrationMemory) -> Result<(), Forgotten> {
        let registration = Registration::remember(memory, &self.config.hubs, |route| self.route(route))?;
        let key = registration.id.key();
        let Ok(()) =
            self.registrations.replace(key, |_| Ok::<_, std::convert::Infallible>((registration, ())));
        Ok(())
    }

    /// Everything that is remembered, in parts of some lines of JSON each. Each part is of one moment; parts may be
    /// of different ones where devices go on registering meanwhile.
    pub fn snapshot(&self) -> impl Iterator<Item = String> {
        let line = |line: &SnapshotLine| json(line) + "\n";
        let control = self.read(|control| ControlMemory::of(control, self.ids.position()));
        let head = line(&SnapshotLine::Schema(SNAPSHOT.to_owned())) + &line(&SnapshotLine::Control(control));
        let individuals: Vec<_> = self.individuals().after(None).map(|(_, one)| one.clone()).collect();
        let individuals = individuals.into_iter();
        let individuals = individuals.map(move |one| line(&SnapshotLine::Individual(Box::new(one.memory()))));
        let registrations = self
            .registrations
            .parts(move |r| line(&SnapshotLine::Registration(Box::new(r.memory(&self.config.hubs)))));
        std::iter::once(head).chain(individuals).chain(registrations.map(|lines| lines.concat()))
    }

    /// Forgets everything but the ledger, and takes up a snapshot. Nothing changes where a line of it cannot be
    /// read; which one is in the error.
    pub fn restore_snapshot(&self, text: &str) -> Result<(), Forgotten> {
        let read = |(at, line): (usize, &str)| {
            serde_json::from_str(line).map_err(|e| unreadable("snapshot", format!("line {}: {e}", at + 1)))
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let lines: Vec<SnapshotLine> = lines.map(read).collect::<Result<_, _>>()?;
        if !matches!(lines.first(), Some(SnapshotLine::Schema(schema)) if schema == SNAPSHOT) {
            return Err(unreadable("snapshot", format!("its first line is not that of a {SNAPSHOT}")));
        }
        // A trial on an instance of its own: what it refuses leaves this one as it is.
        let nothing = Seed::from_number(0);
        Registrar::new(self.config.clone(), &nothing, &nothing).take_lines(lines)?;
        let read_again = text.lines().filter(|line| !line.trim().is_empty()).enumerate().map(read);
        let lines: Vec<SnapshotLine> = read_again.collect::<Result<_, _>>()?;
        self.forget();
        self.take_lines(lines)
    }

    fn take_lines(&self, lines: Vec<SnapshotLine>) -> Result<(), Forgotten> {
        lines.into_iter().try_for_each(|line| match line {
            SnapshotLine::Schema(_) => Ok(()),
            SnapshotLine::Control(memory) => self.take_control(memory),
            SnapshotLine::Individual(memory) => self.take_individual(*memory),
            SnapshotLine::Registration(memory) => self.take_registration(*memory),
        })
    }

    /// Forgets CAs, enrollments and registrations.
    pub fn forget(&self) {
        self.write(|control, _| *control = Control::default());
        *self.individuals_mut() = IndividualStore::default();
        self.registrations.clear();
    }

    /// Everything there is to keep, for a file that is written anew.
    pub fn everything(&self) -> Vec<(Touched, String)> {
        let mut all = Vec::new();
        all.extend(self.memory(&Touched::Control).map(|text| (Touched::Control, text)));
        let individuals = self.individuals();
        all.extend(
            individuals.after(None).map(|(key, one)| (Touched::Individual(key.clone()), json(&one.memory()))),
        );
        drop(individuals);
        let kept = |r: &Registration| (Touched::Registration(r.id.key()), json(&r.memory(&self.config.hubs)));
        all.extend(self.registrations.parts(kept).flatten());
        all
    }
}

/// The individual enrollment of the device holds another certificate.
const OTHER_CERTIFICATE: &str = "individual-other-certificate";

/// Dead ends kept of one judgement. The management port shows them all: a judgement's budget bounds them.
const TRAIL: usize = 64;

fn judged(judgement: &Judgement) -> Denial {
    Denial {
        refusal: refusal_of(&judgement.verdict),
        verdict: judgement.verdict.name(),
        check: judgement.trail.first().map(|d| d.check.code()),
        trail: judgement.trail.iter().take(TRAIL).map(ToString::to_string).collect(),
    }
}

fn assigned(hub: usize, before: Option<u16>, migrate: bool) -> Outcome {
    // There are at most as many hubs as one instance may link.
    let hub = u16::try_from(hub).unwrap_or(u16::MAX);
    let repeated = before == Some(hub);
    let substatus = match before {
        Some(_) if !repeated && migrate => Substatus::DeviceDataMigrated,
        Some(_) if !repeated => Substatus::DeviceDataReset,
        _ => Substatus::InitialAssignment,
    };
    Outcome::Assigned { hub, substatus, repeated }
}

/// Tells credentials apart that a device might come with.
fn fingerprint(sha256: &[u8; 32]) -> u64 {
    sha256.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// What devices are told. Which text goes with which cause follows reports from the field; see the reference of
/// error codes in `sim-protocol`.
fn refusal_of(verdict: &Verdict) -> Refusal {
    match verdict {
        Verdict::NoVerifiedCa => errors::CA_NOT_FOUND,
        Verdict::LeafIsEntryCertificate => errors::SIGNING_CERTIFICATE_MISMATCH,
        Verdict::InvalidCertificate => errors::INVALID_CERTIFICATE,
        Verdict::NoEntry | Verdict::GroupAboveVerified | Verdict::CnMismatch | Verdict::CnMissing => {
            errors::UNAUTHORIZED
        }
        // Neither is refused with an error body.
        Verdict::Accept(_) | Verdict::Disabled(_) => errors::UNAUTHORIZED,
    }
}

/// A register body may be empty, may lack the id, may carry a null payload; an id in it must be the device's.
fn read_body(id: &RegistrationId, body: &[u8]) -> Result<Option<Value>, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let body: DeviceRegistration = serde_json::from_slice(body).map_err(|_| errors::DESERIALIZATION)?;
    match body.registration_id {
        Some(other) if !id.matches(&other) => Err(errors::BAD_ARGUMENT),
        _ => Ok(body
            .payload
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .filter(|v: &Value| !v.is_null())),
    }
}

fn read_memory<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Forgotten> {
    serde_json::from_str(text).map_err(|e| unreadable(what, e))
}

fn json(value: &impl serde::Serialize) -> String {
    // These types hold strings and numbers only, which always serialise.
    serde_json::to_string(value).unwrap_or_default()
}
