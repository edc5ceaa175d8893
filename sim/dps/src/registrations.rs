//! Registration records: one a device, kept small, found by id and listed by group.

use crate::allocation::Hub;
use crate::knobs::{Knobs, SameHub};
use crate::ledger::Route;
use crate::memory::{Forgotten, Moment, OutcomeMemory, RegistrationMemory};
use crate::quota::Window;
use crate::trace::{Event, Trace, TraceBook};
use sim_protocol::errors;
use sim_protocol::registration::{
    RegistrationState, RegistrationStatus, Substatus, SymmetricKeyRegistrationResult, X509RegistrationResult,
};
use sim_protocol::{RegistrationId, timestamp};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// One device's registration.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) id: RegistrationId,
    pub(crate) operation_id: Box<str>,
    pub(crate) ready_at: OffsetDateTime,
    pub(crate) outcome: Outcome,
    /// How the device got in, or would have.
    pub(crate) route: Arc<Route>,
    /// Which credential it came with.
    pub(crate) credential: u64,
    /// Its final answer was sent, and counted.
    pub(crate) told: bool,
    pub(crate) created: OffsetDateTime,
    pub(crate) updated: OffsetDateTime,
    pub(crate) etag: Box<str>,
    pub(crate) polls: Window,
    /// How often the device registered before.
    pub(crate) times: u16,
    /// What hardly any registration has.
    pub(crate) extra: Option<Box<Extra>>,
}

/// What hardly any registration has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    /// At the hub, where it is not the registration id.
    pub(crate) device_id: Option<String>,
    /// What the device sent, while its allocation is asked for; then what the webhook has for the device.
    pub(crate) payload: Option<serde_json::Value>,
    /// A hub that is none, in place of the assigned one: a fault.
    pub(crate) wrong_hub: Option<String>,
    /// A webhook is being asked.
    pub(crate) asking: bool,
}

/// How a registration came out.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Assigned {
        /// Its place among the linked hubs.
        hub: u16,
        substatus: Substatus,
        /// It came back to the hub it had.
        repeated: bool,
    },
    /// A webhook decides; the hub before, where there was one.
    Allocating {
        before: Option<u16>,
    },
    Disabled,
    Failed(Box<Failure>),
}

/// Why a registration failed after it was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) code: u32,
    pub(crate) message: String,
}

impl Outcome {
    pub(crate) fn no_hub() -> Self {
        Outcome::Failed(Box::new(Failure {
            code: errors::NO_HUB.code,
            message: errors::NO_HUB.message.to_owned(),
        }))
    }

    pub(crate) fn hub(&self) -> Option<u16> {
        match self {
            Outcome::Assigned { hub, .. } => Some(*hub),
            Outcome::Allocating { before } => *before,
            Outcome::Disabled | Outcome::Failed(_) => None,
        }
    }
}

impl Registration {
    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    fn is_done(&self, now: OffsetDateTime) -> bool {
        now >= self.ready_at && !matches!(self.outcome, Outcome::Allocating { .. })
    }

    /// What the device is told: nothing but the status while it is not done.
    pub(crate) fn state(&self, hubs: &[Hub], knobs: &Knobs, now: OffsetDateTime) -> RegistrationState {
        if !self.is_done(now) {
            return RegistrationState::assigning(self.id.as_str());
        }
        let status = match self.outcome {
            Outcome::Assigned { .. } => RegistrationStatus::Assigned,
            Outcome::Disabled => RegistrationStatus::Disabled,
            Outcome::Failed(_) => RegistrationStatus::Failed,
            Outcome::Allocating { .. } => RegistrationStatus::Assigning,
        };
        let mut state = RegistrationState::bare(self.id.as_str(), status);
        state.created_date_time_utc = Some(timestamp::ticks(self.created));
        state.last_updated_date_time_utc = Some(timestamp::ticks(self.updated));
        state.etag = Some(self.etag.to_string());
        match &self.outcome {
            Outcome::Assigned { hub, substatus, repeated } => {
                let reprovisioned = *repeated && knobs.same_hub == SameHub::Reprovisioned;
                state.substatus = Some(if reprovisioned {
                    Substatus::ReprovisionedToInitialAssignment
                } else {
                    *substatus
                });
                let wrong = self.extra.as_ref().and_then(|e| e.wrong_hub.clone());
                state.assigned_hub = Some(wrong.unwrap_or_else(|| host(hubs, *hub)));
                let own = self.extra.as_ref().and_then(|e| e.device_id.clone());
                state.device_id = Some(own.unwrap_or_else(|| self.id.to_string()));
                state.payload = self.extra.as_ref().and_then(|e| e.payload.clone());
                if self.route.by_key {
                    state.symmetric_key = Some(SymmetricKeyRegistrationResult {
                        enrollment_group_id: (!self.route.individual).then(|| self.route.group.clone()),
                    });
                } else {
                    state.x509 = Some(X509RegistrationResult::default());
                }
            }
            Outcome::Failed(failure) => {
                state.error_code = Some(failure.code);
                state.error_message = Some(failure.message.clone());
            }
            Outcome::Disabled | Outcome::Allocating { .. } => {}
        }
        state
    }

    /// What operators see.
    pub(crate) fn public_state(&self, hubs: &[Hub], knobs: &Knobs, now: OffsetDateTime) -> RegistrationState {
        let mut state = self.state(hubs, knobs, now);
        (state.x509, state.symmetric_key) = (None, None);
        // Only the device is told of a wrong hub.
        if let (Outcome::Assigned { hub, .. }, Some(told)) = (&self.outcome, &mut state.assigned_hub) {
            told.clone_from(&host(hubs, *hub));
        }
        if matches!(self.outcome, Outcome::Assigned { repeated: true, .. }) && state.substatus.is_some() {
            state.substatus = Some(Substatus::ReprovisionedToInitialAssignment);
        }
        state
    }

    pub(crate) fn memory(&self, hubs: &[Hub]) -> RegistrationMemory {
        let outcome = match &self.outcome {
            Outcome::Assigned { hub, substatus, repeated } => {
                OutcomeMemory::Assigned { hub: host(hubs, *hub), substatus: *substatus, repeated: *repeated }
            }
            Outcome::Allocating { before } => {
                OutcomeMemory::Allocating { before: before.map(|hub| host(hubs, hub)) }
            }
            Outcome::Disabled => OutcomeMemory::Disabled,
            Outcome::Failed(f) => OutcomeMemory::Failed { code: f.code, message: f.message.clone() },
        };
        RegistrationMemory {
            id: self.id.clone(),
            operation_id: self.operation_id.to_string(),
            ready_at: Moment::of(self.ready_at),
            outcome,
            route: Route::clone(&self.route),
            credential: self.credential,
            created: Moment::of(self.created),
            updated: Moment::of(self.updated),
            etag: self.etag.to_string(),
            device_id: self.extra.as_ref().and_then(|e| e.device_id.clone()),
            payload: self.extra.as_ref().and_then(|e| e.payload.clone()),
        }
    }

    /// A record taken up again. Its final answer counts as told: the ledger begins anew with the mock. A hub that
    /// is no longer linked leaves it without one.
    pub(crate) fn remember(
        memory: RegistrationMemory,
        hubs: &[Hub],
        route: impl FnOnce(Route) -> Arc<Route>,
    ) -> Result<Self, Forgotten> {
        const WHAT: &str = "registration";
        let place = |host: &str| hubs.iter().position(|h| h.host == host).and_then(|i| u16::try_from(i).ok());
        let outcome = match memory.outcome {
            OutcomeMemory::Assigned { hub, substatus, repeated } => {
                place(&hub).map_or_else(Outcome::no_hub, |hub| Outcome::Assigned { hub, substatus, repeated })
            }
            OutcomeMemory::Allocating { before } => {
                Outcome::Allocating { before: before.as_deref().and_then(place) }
            }
            OutcomeMemory::Disabled => Outcome::Disabled,
            OutcomeMemory::Failed { code, message } => Outcome::Failed(Box::new(Failure { code, message })),
        };
        let extra = (memory.device_id.is_some() || memory.payload.is_some()).then(|| {
            Box::new(Extra { device_id: memory.device_id, payload: memory.payload, ..Extra::default() })
        });
        Ok(Registration {
            ready_at: memory.ready_at.moment(WHAT)?,
            created: memory.created.moment(WHAT)?,
            updated: memory.updated.moment(WHAT)?,
            told: !matches!(outcome, Outcome::Allocating { .. }),
            outcome,
            route: route(memory.route),
            credential: memory.credential,
            id: memory.id,
            operation_id: memory.operation_id.into(),
            etag: memory.etag.into(),
            polls: Window::default(),
            times: 0,
            extra,
        })
    }
}

fn host(hubs: &[Hub], hub: u16) -> String {
    hubs.get(usize::from(hub)).map(|h| h.host.clone()).unwrap_or_default()
}

const SHARDS: usize = 64;
/// Registrations of which a trace is kept. `ours:` the number.
const TRACES: usize = 4096;

/// One part of the records, with the traces of the same devices.
#[derive(Debug)]
pub(crate) struct Shard {
    /// By folded registration id.
    records: BTreeMap<String, Registration>,
    traces: TraceBook,
}

/// All records of one instance.
#[derive(Debug)]
pub(crate) struct Registrations {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    count: AtomicUsize,
}

impl Default for Registrations {
    fn default() -> Self {
        let shard =
            |_| Mutex::new(Shard { records: BTreeMap::new(), traces: TraceBook::new(TRACES / SHARDS) });
        Registrations {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registrations {
    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        locked(&self.shards[hasher.finish() as usize % SHARDS])
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Looks at one record, or changes it.
    pub(crate) fn with<T>(&self, key: &str, look: impl FnOnce(Option<&mut Registration>) -> T) -> T {
        look(self.shard(key).records.get_mut(key))
    }

    /// Puts a record in the place of the one before, which `make` sees; what it refuses changes nothing.
    pub(crate) fn replace<T, E>(
        &self,
        key: String,
        make: impl FnOnce(Option<&Registration>) -> Result<(Registration, T), E>,
    ) -> Result<T, E> {
        let mut shard = self.shard(&key);
        let (registration, result) = make(shard.records.get(&key))?;
        if shard.records.insert(key, registration).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(result)
    }

    /// Forgets a record; false if there was none.
    pub(crate) fn remove(&self, key: &str) -> bool {
        let removed = self.shard(key).records.remove(key).is_some();
        if removed {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        removed
    }

    pub(crate) fn clear(&self) {
        for shard in &self.shards {
            let mut shard = locked(shard);
            self.count.fetch_sub(shard.records.len(), Ordering::Relaxed);
            shard.records.clear();
            shard.traces.clear();
        }
    }

    pub(crate) fn note(&self, key: &str, event: Event) {
        self.shard(key).traces.note(key, event);
    }

    pub(crate) fn trace(&self, key: &str) -> Option<Trace> {
        self.shard(key).traces.trace(key)
    }

    /// The records of a group whose ids come after `after`, at most `limit`, by id. Each part of the records is in
    /// order, so a page costs what is on it and not what there is.
    pub(crate) fn of_group<T>(
        &self,
        group: &str,
        after: Option<&str>,
        limit: usize,
        show: impl Fn(&Registration) -> T,
    ) -> Vec<T> {
        let mut found = BTreeMap::new();
        for shard in &self.shards {
            let shard = locked(shard);
            let from = after.map_or(Bound::Unbounded, |a| Bound::Excluded(a.to_owned()));
            for (key, registration) in shard.records.range::<String, _>((from, Bound::Unbounded)) {
                // What comes after the last of a full page is not on it, nor is anything behind.
                if found.len() >= limit && found.last_key_value().is_some_and(|(last, _)| key > last) {
                    break;
                }
                let route = &registration.route;
                if route.individual || !route.group.eq_ignore_ascii_case(group) {
                    continue;
                }
                found.insert(key.clone(), show(registration));
                if found.len() > limit {
                    found.pop_last();
                }
            }
        }
        found.into_values().collect()
    }

    /// Shows every record, one part at a time, each under its own lock.
    pub(crate) fn parts<T>(&self, show: impl Fn(&Registration) -> T) -> impl Iterator<Item = Vec<T>> {
        self.shards.iter().map(move |shard| locked(shard).records.values().map(&show).collect())
    }
}
