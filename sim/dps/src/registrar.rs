//! Answers registrations and polls: the device API's core, the same behind every transport.
//!
//! Every method takes the moment; nothing here waits. Trust is judged at each register against the instance's
//! current state, outside every lock: a snapshot of what is trusted is shared by reference and replaced by each
//! write on CAs or groups.

use crate::certificates::CaStore;
use crate::groups::GroupStore;
use crate::ids::{Ids, mix};
use crate::ledger::{Ledger, RefusalKind, Route};
use crate::memory::{
    Change, ControlMemory, Forgotten, Moment, OutcomeMemory, RegistrationMemory, unreadable,
};
use sim_identity::verdict::{Judgement, SignatureMemo, Trust, Verdict, judge};
use sim_identity::{Certificate, Seed};
use sim_protocol::errors::{self, Refusal};
use sim_protocol::registration::{
    DeviceRegistration, OperationStatus, RegistrationState, RegistrationStatus, Substatus,
    X509RegistrationResult,
};
use sim_protocol::{EnrollmentGroupId, IdScope, RegistrationId, ServiceError, timestamp};
use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use time::OffsetDateTime;

/// Which quotas the instance keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The documented limits: 1,000 registrations a minute, 5 polls in 10 s for each device.
    Azure,
    /// None, for measuring.
    #[default]
    Unlimited,
    /// No quotas, but small shares of many faults at once, drawn from the seed: see [`Fault`].
    Chaos,
}

/// What goes wrong with a request under [`Profile::Chaos`]. `ours:` the shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 5 %: throttled, come back in a second.
    Throttle,
    /// 2 %: an internal error.
    ServerError,
    /// 1 %: the connection ends without an answer.
    HangUp,
}

impl Fault {
    /// The fault that a uniformly drawn number stands for, if any.
    pub const fn of(drawn: u64) -> Option<Fault> {
        match drawn % 100 {
            0..5 => Some(Fault::Throttle),
            5..7 => Some(Fault::ServerError),
            7 => Some(Fault::HangUp),
            _ => None,
        }
    }
}

/// How an instance answers.
#[derive(Clone, Debug)]
pub struct RegistrarConfig {
    /// Which instance this is.
    pub id_scope: IdScope,
    /// What a 202 asks devices to wait; whole seconds go on the wire.
    pub retry_after: Duration,
    /// How long an assignment takes.
    pub assign_delay: Duration,
    /// Linked hubs, host names.
    pub hubs: Vec<String>,
    /// Quotas kept.
    pub profile: Profile,
    /// Whether replies carry the change that must be kept before they are sent.
    pub remembers: bool,
}

/// An answer on the device API, before a transport dresses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP-like status.
    pub status: u16,
    /// What the device is asked to wait.
    pub retry_after: Option<Duration>,
    /// JSON.
    pub body: String,
    /// Close the connection in place of sending this.
    pub hang_up: bool,
    /// What must be kept before this is sent.
    pub change: Option<Change>,
}

impl Reply {
    fn new(status: u16, retry_after: Option<Duration>, body: &impl serde::Serialize) -> Self {
        Reply { status, retry_after, body: json(body), hang_up: false, change: None }
    }
}

/// CAs and groups: what operators write.
#[derive(Debug, Default)]
pub struct Instance {
    /// CA certificates.
    pub authorities: CaStore,
    /// Enrollment groups.
    pub groups: GroupStore,
    /// Grows with every write.
    pub(crate) generation: u64,
}

#[derive(Clone, Debug)]
struct Registration {
    id: RegistrationId,
    operation_id: String,
    ready_at: OffsetDateTime,
    outcome: Outcome,
    told: bool,
    created: OffsetDateTime,
    updated: OffsetDateTime,
    etag: String,
    polls: Window,
}

#[derive(Clone, Debug)]
enum Outcome {
    Assigned { hub: usize, route: Arc<Route> },
    Disabled,
    NoHub,
}

/// A fixed window. `ours:` the service's window shape is unknown.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: OffsetDateTime,
    used: u32,
}

impl Window {
    fn new(now: OffsetDateTime) -> Self {
        Window { start: now, used: 0 }
    }

    /// Takes one; where there is none left, how long until the next window.
    fn take(&mut self, limit: u32, length: Duration, now: OffsetDateTime) -> Result<(), Duration> {
        let end = self.start + length;
        if now >= end {
            *self = Window::new(now);
        }
        if self.used >= limit {
            let left = Duration::try_from(self.start + length - now).unwrap_or(length);
            return Err(Duration::from_secs(left.as_secs() + 1));
        }
        self.used += 1;
        Ok(())
    }
}

const REGISTRATIONS_PER_MINUTE: u32 = 1000;
const POLLS_PER_WINDOW: u32 = 5;
const POLL_WINDOW: Duration = Duration::from_secs(10);
const SHARDS: usize = 64;
/// CA certificates kept parsed between registrations.
const MAX_INTERNED: usize = 4096;

/// SHA-256 of the certificate that issued a leaf, and the group that admits it.
type Way = ([u8; 32], String);

/// One DPS instance.
#[derive(Debug)]
pub struct Registrar {
    config: RegistrarConfig,
    /// Names for everything the instance makes up.
    pub ids: Ids,
    /// What it saw.
    pub ledger: Ledger,
    instance: Mutex<Instance>,
    trust: RwLock<Arc<Trust>>,
    memo: SignatureMemo,
    interned: RwLock<HashMap<[u8; 32], Arc<Certificate>>>,
    registrations: Vec<Mutex<HashMap<String, Registration>>>,
    hasher: RandomState,
    register_window: Mutex<Option<Window>>,
    routes: Mutex<HashMap<Way, Arc<Route>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registrar {
    /// An instance with no CA and no group.
    pub fn new(config: RegistrarConfig, seed: &Seed) -> Self {
        Registrar {
            ids: Ids::new(seed.child("service")),
            ledger: Ledger::default(),
            instance: Mutex::default(),
            trust: RwLock::default(),
            memo: SignatureMemo::default(),
            interned: RwLock::default(),
            registrations: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            register_window: Mutex::default(),
            routes: Mutex::default(),
            config,
        }
    }

    /// How the instance answers.
    pub fn config(&self) -> &RegistrarConfig {
        &self.config
    }

    /// Reads CAs and groups.
    pub fn read<T>(&self, look: impl FnOnce(&Instance) -> T) -> T {
        look(&locked(&self.instance))
    }

    /// Writes CAs or groups; what is trusted follows before the call returns.
    pub fn write<T>(&self, change: impl FnOnce(&mut Instance, &Ids) -> T) -> T {
        let mut instance = locked(&self.instance);
        let result = change(&mut instance, &self.ids);
        instance.generation += 1;
        let trust = Arc::new(instance.groups.trust(&instance.authorities));
        *self.trust.write().unwrap_or_else(PoisonError::into_inner) = trust;
        result
    }

    /// Answers a register. `presented` is what the TLS peer sent, leaf first; empty when it sent nothing.
    pub fn register(
        &self,
        id_scope: &str,
        registration_id: &str,
        presented: &[impl AsRef<[u8]>],
        body: &[u8],
        now: OffsetDateTime,
    ) -> Reply {
        self.ledger.registers.add();
        if let Some(reply) = self.fault(now) {
            return reply;
        }
        match self.try_register(id_scope, registration_id, presented, body, now) {
            Ok(reply) | Err(reply) => reply,
        }
    }

    fn try_register(
        &self,
        id_scope: &str,
        registration_id: &str,
        presented: &[impl AsRef<[u8]>],
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Reply, Reply> {
        let refuse = |refusal, verdict| self.refuse(refusal, verdict, registration_id, now);
        let id = RegistrationId::new(registration_id)
            .map_err(|_| refuse(errors::INVALID_REGISTRATION_ID, "invalid-registration-id"))?;
        self.within_register_quota(now)?;
        check_body(&id, body).map_err(|refusal| refuse(refusal, "invalid-body"))?;
        if presented.is_empty() {
            return Err(refuse(errors::NO_CREDENTIAL, "no-credential"));
        }
        // `ours:` an unknown id scope answers like an instance in which nothing is verified.
        if id_scope != self.config.id_scope.as_str() {
            return Err(refuse(errors::CA_NOT_FOUND, "unknown-id-scope"));
        }
        let chain =
            self.parse(presented).ok_or_else(|| refuse(errors::INVALID_CERTIFICATE, "unreadable-leaf"))?;
        let trust = self.trust.read().unwrap_or_else(PoisonError::into_inner).clone();
        let judgement = judge(&chain, &id, now.unix_timestamp(), &trust, &self.memo);
        match &judgement.verdict {
            Verdict::Accept(group) => {
                self.intern(&judgement.path[1..]);
                let outcome = self.assign(&id, group, &judgement);
                Ok(self.begin(id, outcome, now))
            }
            Verdict::Disabled(group) => {
                let kind = RefusalKind { code: 0, message: "disabled", verdict: "disabled", check: None };
                let trail = || vec![format!("the nearest enrollment is group `{group}`, which is disabled")];
                self.ledger.note_refusal(kind, registration_id, trail);
                Ok(self.begin(id, Outcome::Disabled, now))
            }
            _ => Err(self.refuse_judged(&judgement, registration_id, now)),
        }
    }

    /// Parses what was presented; `None` when the leaf cannot be read. Unreadable extras are skipped.
    fn parse(&self, presented: &[impl AsRef<[u8]>]) -> Option<Vec<Arc<Certificate>>> {
        let (leaf, rest) = presented.split_first()?;
        let mut chain = vec![Arc::new(Certificate::from_der(leaf.as_ref()).ok()?)];
        let interned = self.interned.read().unwrap_or_else(PoisonError::into_inner);
        chain.extend(rest.iter().filter_map(|der| {
            let der = der.as_ref();
            let known = interned.get(&sim_identity::certificate::sha256(der)).cloned();
            known.or_else(|| Certificate::from_der(der).ok().map(Arc::new))
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

    fn assign(&self, id: &RegistrationId, group: &EnrollmentGroupId, judgement: &Judgement) -> Outcome {
        let own = self.read(|instance| instance.groups.hubs_of(group).map(<[String]>::to_vec));
        let hubs = &self.config.hubs;
        let candidates = (0..hubs.len()).filter(|&i| own.as_ref().is_none_or(|own| own.contains(&hubs[i])));
        // `ours:` the service's hash is not published; rendezvous hashing is deterministic and spreads evenly.
        let weight = |hub: usize| mix(fnv(id.key().as_bytes()) ^ fnv(hubs[hub].as_bytes()));
        match candidates.max_by_key(|&hub| weight(hub)) {
            Some(hub) => Outcome::Assigned { hub, route: self.route(group, &judgement.path[1..]) },
            None => Outcome::NoHub,
        }
    }

    /// The way that these CAs, nearest first, and this group make; one for all devices that come by it.
    fn route(&self, group: &EnrollmentGroupId, path: &[Arc<Certificate>]) -> Arc<Route> {
        let issuer = path.first().map(|c| *c.sha256()).unwrap_or_default();
        let mut routes = locked(&self.routes);
        let names = || path.iter().rev().map(|c| c.display_name()).collect();
        let way = routes.entry((issuer, group.to_string()));
        way.or_insert_with(|| Arc::new(Route { issuer, path: names(), group: group.to_string() })).clone()
    }

    /// Starts an operation and answers 202.
    fn begin(&self, id: RegistrationId, outcome: Outcome, now: OffsetDateTime) -> Reply {
        let operation_id = self.ids.operation_id();
        let status = RegistrationStatus::Assigning;
        let body = OperationStatus { operation_id: operation_id.clone(), status, registration_state: None };
        let mut shard = locked(self.shard(&id.key()));
        let entry = shard.entry(id.key());
        let (created, polls) = match &entry {
            MapEntry::Occupied(known) => (known.get().created, known.get().polls),
            MapEntry::Vacant(_) => (now, Window::new(now)),
        };
        let begun = Registration {
            id,
            operation_id,
            ready_at: now + self.config.assign_delay,
            outcome,
            told: false,
            created,
            updated: now,
            etag: self.ids.registration_etag(now),
            polls,
        };
        let change = self.config.remembers.then(|| self.change(&begun));
        entry.insert_entry(begun);
        Reply { change, ..Reply::new(202, Some(self.config.retry_after), &body) }
    }

    fn change(&self, registration: &Registration) -> Change {
        let memory = RegistrationMemory {
            id: registration.id.clone(),
            operation_id: registration.operation_id.clone(),
            ready_at: Moment::of(registration.ready_at),
            outcome: match &registration.outcome {
                Outcome::Assigned { hub, route } => OutcomeMemory::Assigned {
                    hub: self.config.hubs[*hub].clone(),
                    route: Route::clone(route),
                },
                Outcome::Disabled => OutcomeMemory::Disabled,
                Outcome::NoHub => OutcomeMemory::NoHub,
            },
            created: Moment::of(registration.created),
            updated: Moment::of(registration.updated),
            etag: registration.etag.clone(),
        };
        Change { key: registration.id.key(), record: Some(json(&memory)) }
    }

    /// CAs and groups as text, to be kept, and the generation they are of.
    pub fn control_memory(&self) -> (u64, String) {
        self.read(|instance| (instance.generation, json(&ControlMemory::of(instance, self.ids.position()))))
    }

    /// Takes up CAs and groups again.
    pub fn restore_control(&self, text: &str) -> Result<(), Forgotten> {
        let memory: ControlMemory =
            serde_json::from_str(text).map_err(|e| unreadable("CAs and groups", e))?;
        self.ids.resume(memory.counter);
        let instance = memory.instance()?;
        self.write(|current, _| *current = instance);
        Ok(())
    }

    /// Takes up one registration again. Its final answer counts as told: the ledger begins anew with the mock.
    ///
    /// A hub that is no longer linked leaves the registration without one.
    pub fn restore_registration(&self, text: &str) -> Result<(), Forgotten> {
        let memory: RegistrationMemory =
            serde_json::from_str(text).map_err(|e| unreadable("registration", e))?;
        let moment = |m: &Moment| m.moment().ok_or_else(|| unreadable("registration", "its date"));
        let outcome = match memory.outcome {
            OutcomeMemory::Assigned { hub, route } => match self.config.hubs.iter().position(|h| *h == hub) {
                Some(hub) => Outcome::Assigned { hub, route: Arc::new(route) },
                None => Outcome::NoHub,
            },
            OutcomeMemory::Disabled => Outcome::Disabled,
            OutcomeMemory::NoHub => Outcome::NoHub,
        };
        let updated = moment(&memory.updated)?;
        let registration = Registration {
            ready_at: moment(&memory.ready_at)?,
            created: moment(&memory.created)?,
            polls: Window::new(updated),
            updated,
            outcome,
            told: true,
            id: memory.id,
            operation_id: memory.operation_id,
            etag: memory.etag,
        };
        let key = registration.id.key();
        locked(self.shard(&key)).insert(key, registration);
        Ok(())
    }

    /// Answers a poll of the operation by its device.
    pub fn status(&self, registration_id: &str, operation_id: &str, now: OffsetDateTime) -> Reply {
        self.ledger.polls.add();
        if let Some(reply) = self.fault(now) {
            return reply;
        }
        let key = registration_id.to_ascii_lowercase();
        let mut shard = locked(self.shard(&key));
        let Some(registration) = shard.get_mut(&key).filter(|r| r.operation_id == operation_id) else {
            return self.error(errors::NOT_FOUND, now);
        };
        if self.config.profile == Profile::Azure
            && let Err(wait) = registration.polls.take(POLLS_PER_WINDOW, POLL_WINDOW, now)
        {
            return self.throttle(wait, now);
        }
        let operation_id = registration.operation_id.clone();
        if now < registration.ready_at {
            let state = RegistrationState::assigning(registration.id.as_str());
            let status = RegistrationStatus::Assigning;
            let body = OperationStatus { operation_id, status, registration_state: Some(state) };
            return Reply::new(202, Some(self.config.retry_after), &body);
        }
        self.tell(registration);
        let state = self.state(registration);
        let body = OperationStatus { operation_id, status: state.status, registration_state: Some(state) };
        Reply::new(200, None, &body)
    }

    /// Counts a final answer, once.
    fn tell(&self, registration: &mut Registration) {
        if std::mem::replace(&mut registration.told, true) {
            return;
        }
        match &registration.outcome {
            Outcome::Assigned { hub, route } => {
                self.ledger.note_roll_up(route, *hub, &self.config.hubs[*hub])
            }
            Outcome::Disabled => self.ledger.disabled.add(),
            Outcome::NoHub => self.ledger.refused.add(),
        }
    }

    fn state(&self, registration: &Registration) -> RegistrationState {
        let status = match registration.outcome {
            Outcome::Assigned { .. } => RegistrationStatus::Assigned,
            Outcome::Disabled => RegistrationStatus::Disabled,
            Outcome::NoHub => RegistrationStatus::Failed,
        };
        let mut state = RegistrationState::bare(registration.id.as_str(), status);
        state.created_date_time_utc = Some(timestamp::ticks(registration.created));
        state.last_updated_date_time_utc = Some(timestamp::ticks(registration.updated));
        state.etag = Some(registration.etag.clone());
        match &registration.outcome {
            Outcome::Assigned { hub, .. } => {
                state.x509 = Some(X509RegistrationResult::default());
                state.assigned_hub = Some(self.config.hubs[*hub].clone());
                state.device_id = Some(registration.id.to_string());
                // `ours:` live tests keep seeing this on repeated registrations too.
                state.substatus = Some(Substatus::InitialAssignment);
            }
            Outcome::Disabled => {}
            Outcome::NoHub => {
                state.error_code = Some(errors::NO_HUB.code);
                state.error_message = Some(errors::NO_HUB.message.to_owned());
            }
        }
        state
    }

    /// The record of a registration as operators see it.
    pub fn registration(&self, registration_id: &str, now: OffsetDateTime) -> Option<RegistrationState> {
        let key = registration_id.to_ascii_lowercase();
        let shard = locked(self.shard(&key));
        shard.get(&key).map(|r| self.public_state(r, now))
    }

    /// The records of a group, at most `limit` whose ids come after `after`, by id.
    pub fn registrations(
        &self,
        group: &str,
        after: Option<&str>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Vec<RegistrationState> {
        let mut found = std::collections::BTreeMap::new();
        for shard in &self.registrations {
            let shard = locked(shard);
            let of_group = shard.iter().filter(|(id, r)| {
                let ours = matches!(&r.outcome, Outcome::Assigned { route, .. } if route.group == group);
                ours && after.is_none_or(|after| id.as_str() > after)
            });
            for (id, registration) in of_group {
                found.insert(id.clone(), self.public_state(registration, now));
                if found.len() > limit {
                    found.pop_last();
                }
            }
        }
        found.into_values().collect()
    }

    /// Forgets a registration; `None` if there was none.
    pub fn delete_registration(&self, registration_id: &str) -> Option<Change> {
        let key = registration_id.to_ascii_lowercase();
        let removed = locked(self.shard(&key)).remove(&key);
        removed.map(|_| Change { key, record: None })
    }

    fn public_state(&self, registration: &Registration, now: OffsetDateTime) -> RegistrationState {
        let assigning = now < registration.ready_at;
        let state = if assigning {
            RegistrationState::assigning(registration.id.as_str())
        } else {
            self.state(registration)
        };
        RegistrationState { x509: None, ..state }
    }

    fn shard(&self, key: &str) -> &Mutex<HashMap<String, Registration>> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        &self.registrations[hasher.finish() as usize % SHARDS]
    }

    fn within_register_quota(&self, now: OffsetDateTime) -> Result<(), Reply> {
        if self.config.profile != Profile::Azure {
            return Ok(());
        }
        let mut window = locked(&self.register_window);
        let window = window.get_or_insert_with(|| Window::new(now));
        let taken = window.take(REGISTRATIONS_PER_MINUTE, Duration::from_secs(60), now);
        taken.map_err(|wait| self.throttle(wait, now))
    }

    fn fault(&self, now: OffsetDateTime) -> Option<Reply> {
        if self.config.profile != Profile::Chaos {
            return None;
        }
        Some(match Fault::of(self.ids.draw())? {
            Fault::Throttle => self.throttle(Duration::from_secs(1), now),
            Fault::ServerError => {
                Reply { retry_after: Some(Duration::from_secs(1)), ..self.error(errors::INTERNAL, now) }
            }
            Fault::HangUp => Reply { hang_up: true, ..self.error(errors::INTERNAL, now) },
        })
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

    fn refuse(&self, refusal: Refusal, verdict: &str, id: &str, now: OffsetDateTime) -> Reply {
        self.ledger.refused.add();
        let kind = RefusalKind { code: refusal.code, message: refusal.message, verdict, check: None };
        self.ledger.note_refusal(kind, id, Vec::new);
        self.error(refusal, now)
    }

    fn refuse_judged(&self, judgement: &Judgement, id: &str, now: OffsetDateTime) -> Reply {
        let refusal = refusal_of(&judgement.verdict);
        self.ledger.refused.add();
        let kind = RefusalKind {
            code: refusal.code,
            message: refusal.message,
            verdict: judgement.verdict.name(),
            check: judgement.trail.first().map(|d| d.check.code()),
        };
        let trail = || judgement.trail.iter().take(8).map(ToString::to_string).collect();
        self.ledger.note_refusal(kind, id, trail);
        self.error(refusal, now)
    }
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
fn check_body(id: &RegistrationId, body: &[u8]) -> Result<(), Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let body: DeviceRegistration = serde_json::from_slice(body).map_err(|_| errors::DESERIALIZATION)?;
    match body.registration_id {
        Some(other) if !id.matches(&other) => Err(errors::BAD_ARGUMENT),
        _ => Ok(()),
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

fn json(value: &impl serde::Serialize) -> String {
    // These types hold strings and numbers only, which always serialise.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_identity::fleet::FleetPlan;
    use sim_identity::{Defect, Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm};
    use sim_protocol::CaName;
    use sim_protocol::attestation::{CaReferences, EnrollmentGroup, X509Attestation};
    use sim_protocol::resource::CertificateBody;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

    struct World {
        registrar: Registrar,
        fleet: Fleet,
    }

    fn world(verified: bool, change: impl FnOnce(&mut RegistrarConfig)) -> World {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 1, key: KeyAlgorithm::P256 };
        let made = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a hierarchy");
        let fleet = Fleet::new(&FleetPlan::default(), made.issuing().clone(), Seed::from_number(2), NOW);
        let mut config = RegistrarConfig {
            id_scope: IdScope::new("0ne00000001").expect("a good scope"),
            retry_after: Duration::from_secs(3),
            assign_delay: Duration::from_secs(5),
            hubs: vec!["a.example".into(), "b.example".into()],
            profile: Profile::Unlimited,
            remembers: false,
        };
        change(&mut config);
        let registrar = Registrar::new(config, &Seed::from_number(3));
        let pem = sim_identity::pem::encode("CERTIFICATE", made.root().certificate().der());
        let body = CertificateBody { certificate: Some(pem), is_verified: Some(verified) };
        let group = EnrollmentGroupId::new("g").expect("a good name");
        let names = CaReferences { primary: Some("root".into()), secondary: None };
        let document = EnrollmentGroup::x509(
            "g",
            X509Attestation { ca_references: Some(names), signing_certificates: None },
        );
        registrar.write(|instance, ids| {
            let name = CaName::new("root").expect("a good name");
            instance.authorities.put(name, body, None, ids, NOW).expect("uploads");
            instance.groups.put(group, document, None, &instance.authorities, ids, NOW).expect("creates");
        });
        World { registrar, fleet: fleet.expect("a fleet") }
    }

    impl World {
        fn register(&self, id: &str, defect: Option<Defect>, body: &str, now: OffsetDateTime) -> Reply {
            let name = RegistrationId::new(id).expect("a good id");
            let device = self.fleet.device(1, name, defect).expect("mints");
            self.registrar.register("0ne00000001", id, &device.chain, body.as_bytes(), now)
        }
    }

    fn operation(reply: &Reply) -> OperationStatus {
        serde_json::from_str(&reply.body).expect("an operation status")
    }

    fn code(reply: &Reply) -> u32 {
        let body: ServiceError = serde_json::from_str(&reply.body).expect("an error body");
        assert_eq!(body.status(), reply.status);
        body.error_code
    }

    #[test]
    fn a_registration_is_assigning_until_its_time_has_come() {
        let w = world(true, |_| {});
        let first = w.register("dev-1", None, "", NOW);
        assert_eq!((first.status, first.retry_after), (202, Some(Duration::from_secs(3))));
        let begun = operation(&first);
        assert_eq!((begun.status, &begun.registration_state), (RegistrationStatus::Assigning, &None));
        let early = w.registrar.status("dev-1", &begun.operation_id, NOW + Duration::from_secs(4));
        assert_eq!(early.status, 202);
        let state = operation(&early).registration_state.expect("a stub");
        assert_eq!((state.registration_id.as_deref(), state.assigned_hub), (Some("dev-1"), None));
        let done = w.registrar.status("DEV-1", &begun.operation_id, NOW + Duration::from_secs(5));
        let state = operation(&done).registration_state.expect("a state");
        assert_eq!((done.status, state.status), (200, RegistrationStatus::Assigned));
        assert_eq!(state.device_id.as_deref(), Some("dev-1"));
        let foreign = w.registrar.status("dev-1", "5.0.0", NOW);
        assert_eq!(code(&foreign), errors::NOT_FOUND.code);
    }

    #[test]
    fn the_ledger_counts_each_final_answer_once() {
        let w = world(true, |_| {});
        let begun = operation(&w.register("dev-1", None, "", NOW));
        for _ in 0..3 {
            w.registrar.status("dev-1", &begun.operation_id, NOW + Duration::from_secs(9));
        }
        let ledger = w.registrar.ledger.snapshot();
        assert_eq!((ledger.registers, ledger.polls, ledger.assigned), (1, 3, 1));
        assert_eq!((ledger.roll_up[0].count, ledger.roll_up[0].path.len()), (1, 2));
    }

    #[test]
    fn an_unverified_ca_admits_nobody_and_the_ledger_says_why() {
        let w = world(false, |_| {});
        let reply = w.register("dev-1", None, "", NOW);
        assert_eq!((reply.status, code(&reply)), (401, errors::CA_NOT_FOUND.code));
        let ledger = w.registrar.ledger.snapshot();
        assert_eq!((ledger.refused, ledger.refusals[0].verdict.as_str()), (1, "no-verified-ca"));
        assert_eq!(ledger.refusals[0].check.as_deref(), Some("no-verified-ca"));
    }

    #[test]
    fn trust_is_judged_at_each_register_against_the_current_state() {
        let w = world(true, |_| {});
        assert_eq!(w.register("dev-1", None, "", NOW).status, 202);
        let name = CaName::new("root").expect("a good name");
        w.registrar.write(|instance, _| instance.authorities.delete(&name, Some("*"))).expect("deletes");
        assert_eq!(w.register("dev-1", None, "", NOW).status, 401);
    }

    #[test]
    fn register_bodies_are_checked_as_the_clients_need_it() {
        let w = world(true, |_| {});
        for (body, expected) in [
            ("", Ok(202)),
            (" ", Ok(202)),
            (r#"{"registrationId":"DEV-1"}"#, Ok(202)),
            (r#"{"payload": null, "registrationId": "dev-1"}"#, Ok(202)),
            (r#"{"registrationId":"dev-2"}"#, Err(errors::BAD_ARGUMENT.code)),
            ("{", Err(errors::DESERIALIZATION.code)),
        ] {
            let reply = w.register("dev-1", None, body, NOW);
            let found = if reply.status == 202 { Ok(reply.status) } else { Err(code(&reply)) };
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn strangers_without_certificate_or_with_another_scope_are_refused() {
        let w = world(true, |_| {});
        let none: [Vec<u8>; 0] = [];
        let reply = w.registrar.register("0ne00000001", "dev-1", &none, b"", NOW);
        assert_eq!(code(&reply), errors::NO_CREDENTIAL.code);
        let junk = w.registrar.register("0ne00000001", "dev-1", &[vec![1, 2, 3]], b"", NOW);
        assert_eq!(code(&junk), errors::INVALID_CERTIFICATE.code);
        let bad = w.registrar.register("0ne00000001", "gerät", &none, b"", NOW);
        assert_eq!(code(&bad), errors::INVALID_REGISTRATION_ID.code);
    }

    #[test]
    fn the_documented_quotas_are_kept_and_say_how_long_to_wait() {
        let w = world(true, |c| c.profile = Profile::Azure);
        let begun = operation(&w.register("dev-1", None, "", NOW));
        for _ in 1..REGISTRATIONS_PER_MINUTE {
            w.registrar.register("0ne00000001", "x", &[vec![1]], b"", NOW);
        }
        let throttled = w.register("dev-2", None, "", NOW + Duration::from_secs(20));
        assert_eq!(code(&throttled), errors::THROTTLED.code);
        assert_eq!(throttled.retry_after, Some(Duration::from_secs(41)));
        assert_eq!(w.register("dev-2", None, "", NOW + Duration::from_secs(61)).status, 202);
        for i in 0..=POLLS_PER_WINDOW {
            let status =
                w.registrar.status("dev-1", &begun.operation_id, NOW + Duration::from_secs(6)).status;
            assert_eq!(status, if i < POLLS_PER_WINDOW { 200 } else { 429 });
        }
    }

    #[test]
    fn an_instance_that_is_remembered_serves_the_same_records_again() {
        let w = world(true, |c| c.remembers = true);
        let begun = w.register("dev-1", None, "", NOW);
        let operation = operation(&begun);
        let later = NOW + Duration::from_secs(9);
        let before = w.registrar.status("dev-1", &operation.operation_id, later).body;
        let again = Registrar::new(w.registrar.config().clone(), &Seed::from_number(99));
        again.restore_control(&w.registrar.control_memory().1).expect("CAs and groups");
        let kept = begun.change.and_then(|c| c.record).expect("a change to keep");
        again.restore_registration(&kept).expect("a registration");
        assert_eq!(again.status("dev-1", &operation.operation_id, later).body, before);
        // All but the counter, which has moved on.
        let rest = |(_, text): (u64, String)| text.split_once(',').map(|(_, rest)| rest.to_owned());
        assert_eq!(rest(again.control_memory()), rest(w.registrar.control_memory()));
        let w = World { registrar: again, fleet: w.fleet };
        assert_eq!(w.register("dev-2", None, "", NOW).status, 202, "the CA is still verified");
        assert!(w.registrar.restore_registration("{}").is_err());
    }

    #[test]
    fn chaos_draws_its_shares_and_repeats_for_a_seed() {
        let answers = || {
            let w = world(true, |c| c.profile = Profile::Chaos);
            let one = |i: u32| w.register(&format!("dev-{i}"), None, "", NOW);
            (0..400).map(one).map(|r| if r.hang_up { 0 } else { r.status }).collect::<Vec<_>>()
        };
        let drawn = answers();
        // Certificates are signed anew each time; what is drawn is not.
        let faults = |all: &[u16]| all.iter().map(|&s| if s == 401 { 202 } else { s }).collect::<Vec<_>>();
        assert_eq!(faults(&drawn), faults(&answers()));
        let share = |status: u16| drawn.iter().filter(|&&s| s == status).count();
        assert!(
            (8..40).contains(&share(429)) && (1..24).contains(&share(500)) && (1..16).contains(&share(0))
        );
    }

    #[test]
    fn devices_spread_over_the_hubs_and_stay_where_they_are() {
        let w = world(true, |c| c.assign_delay = Duration::ZERO);
        let hub = |id: &str| {
            let begun = operation(&w.register(id, None, "", NOW));
            let done = operation(&w.registrar.status(id, &begun.operation_id, NOW));
            done.registration_state.and_then(|s| s.assigned_hub).expect("a hub")
        };
        let first: Vec<String> = (0..40).map(|i| hub(&format!("dev-{i}"))).collect();
        let again: Vec<String> = (0..40).map(|i| hub(&format!("dev-{i}"))).collect();
        assert_eq!(first, again);
        assert!(["a.example", "b.example"].iter().all(|h| first.iter().filter(|f| f == h).count() > 5));
    }
}
