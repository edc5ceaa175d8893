//! What operators read and write: CAs, enrollments and registrations.

use super::{Registrar, locked};
use crate::control::{Control, Snapshot};
use crate::enrollments::{EnrollmentFault, Individual, IndividualStore};
use crate::ids::Ids;
use crate::memory::Touched;
use crate::quota::MINUTE;
use crate::registrations::Registration;
use crate::trace::Trace;
use sim_protocol::attestation::{AttestationMechanism, EnrollmentGroup, IndividualEnrollment};
use sim_protocol::errors::{self, Refusal};
use sim_protocol::registration::RegistrationState;
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use time::OffsetDateTime;

impl Registrar {
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

    pub(super) fn individuals(&self) -> RwLockReadGuard<'_, IndividualStore> {
        self.individuals.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn individuals_mut(&self) -> RwLockWriteGuard<'_, IndividualStore> {
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

    pub(super) fn shown(&self, individual: &Individual, now: OffsetDateTime) -> IndividualEnrollment {
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

    pub(super) fn public_state(&self, registration: &Registration, now: OffsetDateTime) -> RegistrationState {
        registration.public_state(&self.config.hubs, &self.config.knobs, now)
    }

    /// Takes a hub off the instance until everything is forgotten; false if none of this host name is linked. No
    /// device is assigned to it from now on. Those that are already learn it when they register again, and then go
    /// where their enrollment's reprovision policy lets them.
    pub fn unlink_hub(&self, host: &str) -> bool {
        let hubs = self.config.hubs.iter().zip(&self.unlinked);
        let named = hubs.filter(|(hub, _)| hub.host.eq_ignore_ascii_case(host));
        named.fold(false, |found, (_, unlinked)| !unlinked.swap(true, Ordering::Relaxed) || found)
    }

    /// Links every hub again that the instance was configured with.
    pub(super) fn link_hubs(&self) {
        self.unlinked.iter().for_each(|unlinked| unlinked.store(false, Ordering::Relaxed));
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
}
