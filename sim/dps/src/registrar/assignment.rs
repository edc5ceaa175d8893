//! From an admission to an assignment: the operation, the hub, and the webhook that may be asked for it.

use super::admission::{Admission, Denial, denied};
use super::{Caller, Registrar, Reply};
use crate::allocation::{self, AllocationAnswer, AllocationFault, AllocationRequest, Proof, RuntimeContext};
use crate::faults::Effects;
use crate::knobs::Concurrent;
use crate::memory::Touched;
use crate::registrations::{Extra, Failure, Outcome, Registration};
use serde_json::Value;
use sim_protocol::RegistrationId;
use sim_protocol::attestation::{AllocationPolicy, Terms, X509Attestation};
use sim_protocol::errors;
use sim_protocol::registration::{OperationStatus, RegistrationStatus, Substatus};
use std::sync::atomic::Ordering;
use time::OffsetDateTime;

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

impl Registrar {
    /// Starts an operation and answers 202.
    pub(super) fn begin(
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

    pub(super) fn registration_of(
        &self,
        id: RegistrationId,
        admission: &Admission,
        before: Option<&Registration>,
        now: OffsetDateTime,
    ) -> Registration {
        let device_id = admission.source.device_id().filter(|own| *own != id.as_str());
        let extra =
            device_id.map(|own| Box::new(Extra { device_id: Some(own.to_owned()), ..Extra::default() }));
        // The device id is the certificate's CN, or the id it first came with, however it is spelled now.
        let first = before.map(|b| b.id.clone());
        let id = admission.name.clone().or(first).unwrap_or(id);
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
    pub(super) fn allocate(
        &self,
        id: &RegistrationId,
        admission: &Admission,
        before: Option<u16>,
    ) -> Outcome {
        if !admission.source.is_enabled() {
            return Outcome::Disabled;
        }
        let terms = admission.source.terms();
        let reprovision = terms.reprovision_policy.unwrap_or_default();
        // `ours:` also where that hub is not linked any more: the policy is never to move a device.
        if let Some(hub) = before.filter(|_| !reprovision.update_hub_assignment) {
            return Outcome::Assigned { hub, substatus: Substatus::InitialAssignment, repeated: true };
        }
        let policy = terms.allocation_policy.unwrap_or(self.config.allocation_policy);
        if policy == AllocationPolicy::Custom {
            return Outcome::Allocating { before };
        }
        let candidates = self.candidates(terms);
        match allocation::choose(policy, &self.config.hubs, &candidates, id) {
            Some(hub) => assigned(hub, before, reprovision.migrate_device_data),
            None => Outcome::no_hub(),
        }
    }

    /// The places of the hubs that may take devices of an entry with these terms.
    fn candidates(&self, terms: &Terms) -> Vec<usize> {
        let mut candidates = allocation::candidates(&self.config.hubs, terms);
        candidates.retain(|&hub| !self.unlinked.get(hub).is_some_and(|gone| gone.load(Ordering::Relaxed)));
        candidates
    }

    /// The webhook to ask, where one decides.
    pub(super) fn ask(
        &self,
        registration: &mut Registration,
        admission: &Admission,
        payload: Option<Value>,
    ) -> Option<Box<Ask>> {
        let Outcome::Allocating { before } = registration.outcome else { return None };
        let terms = admission.source.terms();
        let url = terms.custom_allocation_definition.as_ref()?.webhook_url.clone();
        let candidates = self.candidates(terms);
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
                    let failure =
                        Failure { code: errors::CUSTOM_ALLOCATION.code, message: fault.to_string() };
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

    pub(super) fn ask_again(&self, key: &str, caller: &Caller<'_>, now: OffsetDateTime) -> Option<Box<Ask>> {
        let id = RegistrationId::new(caller.registration_id).ok()?;
        let admission = self.authenticate(&id, caller, now).ok()?;
        self.registrations.with(key, |registration| {
            let registration = registration?;
            let payload = registration.extra().payload.clone();
            self.ask(registration, &admission, payload)
        })
    }
}
