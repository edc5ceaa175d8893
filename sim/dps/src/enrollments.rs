//! Enrollments: who is let in, and by what. Groups admit the devices of a CA or of a derived key; an individual
//! enrollment admits, or denies, one device.

use crate::certificates::{CaStore, etag_matches, read_uploaded, sha1_hex};
use crate::ids::Ids;
use crate::memory::{CredentialMemory, EnrollmentMemory, Forgotten, pem_of, unreadable};
use crate::quota::Limits;
use sim_identity::Certificate;
use sim_identity::verdict::{Entry, IndividualCredential, IndividualEntry, Trust};
use sim_protocol::attestation::{
    AllocationPolicy, AttestationKind, AttestationMechanism, CertificateInfo, CertificatePair,
    CertificateSlot, EnrollmentGroup, IndividualEnrollment, SymmetricKeys, Terms, X509Attestation,
};
use sim_protocol::attestation::{CustomAllocation, ProvisioningStatus};
use sim_protocol::errors::{self, Refusal};
use sim_protocol::sas::SharedKey;
use sim_protocol::{CaName, EnrollmentGroupId, RegistrationId, timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use time::OffsetDateTime;

/// Why a call on an enrollment was refused: what the wire says, and the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollmentFault {
    /// What the wire says.
    pub refusal: Refusal,
    /// What was wrong, for the message.
    pub reason: String,
}

fn fault(refusal: Refusal, reason: impl Into<String>) -> EnrollmentFault {
    EnrollmentFault { refusal, reason: reason.into() }
}

/// Primary and secondary of one kind.
type Pair<T> = [Option<T>; 2];

/// What an enrollment admits by, read once.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// CAs, by the names under which they were uploaded.
    References(Pair<CaName>),
    /// CAs, by value.
    Signers(Pair<Arc<Certificate>>),
    /// The leaf itself.
    Leaves(Pair<Arc<Certificate>>),
    /// Shared keys.
    Keys([SharedKey; 2]),
}

impl Credential {
    pub(crate) fn is_key(&self) -> bool {
        matches!(self, Credential::Keys(_))
    }

    /// The CAs it stands for, as far as they are there.
    fn signers(&self, authorities: &CaStore) -> Vec<Arc<Certificate>> {
        match self {
            Credential::References(names) => {
                let records = names.iter().flatten().filter_map(|n| authorities.record(n).ok());
                records.map(|r| r.certificate.clone()).collect()
            }
            Credential::Signers(slots) => slots.iter().flatten().cloned().collect(),
            Credential::Leaves(_) | Credential::Keys(_) => Vec::new(),
        }
    }

    fn leaves(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        let slots = if let Credential::Leaves(slots) = self { slots.as_slice() } else { &[] };
        slots.iter().flatten()
    }
}

/// An enrollment's document: a group's or an individual one's.
pub(crate) trait Document: Clone {
    /// What it is called in messages.
    const KIND: &'static str;
    fn name(&self) -> &str;
    fn terms(&self) -> &Terms;
    fn terms_mut(&mut self) -> &mut Terms;
}

impl Document for EnrollmentGroup {
    const KIND: &'static str = "enrollment group";
    fn name(&self) -> &str {
        &self.enrollment_group_id
    }
    fn terms(&self) -> &Terms {
        &self.terms
    }
    fn terms_mut(&mut self) -> &mut Terms {
        &mut self.terms
    }
}

impl Document for IndividualEnrollment {
    const KIND: &'static str = "individual enrollment";
    fn name(&self) -> &str {
        &self.registration_id
    }
    fn terms(&self) -> &Terms {
        &self.terms
    }
    fn terms_mut(&mut self) -> &mut Terms {
        &mut self.terms
    }
}

/// One enrollment as it is kept: its document without secrets, and what it admits by.
#[derive(Clone, Debug)]
pub(crate) struct Record<D> {
    pub(crate) document: D,
    pub(crate) credential: Credential,
}

impl<D: Document> Record<D> {
    pub(crate) fn terms(&self) -> &Terms {
        self.document.terms()
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.terms().provisioning_status == ProvisioningStatus::Enabled
    }

    fn matches(&self, if_match: &str) -> bool {
        etag_matches(if_match, self.terms().etag.as_deref().unwrap_or_default())
    }

    /// The attestation with its keys, which no other answer shows.
    pub(crate) fn attestation(&self) -> AttestationMechanism {
        match &self.credential {
            Credential::Keys([primary, secondary]) => {
                AttestationMechanism::symmetric_key(Some(primary), Some(secondary))
            }
            _ => self.terms().attestation.clone(),
        }
    }

    pub(crate) fn memory(&self) -> EnrollmentMemory<D> {
        let pem = |slots: &Pair<Arc<Certificate>>| slots.each_ref().map(|s| s.as_deref().map(pem_of));
        let credential = match &self.credential {
            Credential::References(names) => CredentialMemory::References(names.clone()),
            Credential::Signers(slots) => CredentialMemory::Signers(pem(slots)),
            Credential::Leaves(slots) => CredentialMemory::Leaves(pem(slots)),
            Credential::Keys(keys) => CredentialMemory::Keys(keys.each_ref().map(SharedKey::to_base64)),
        };
        EnrollmentMemory { document: self.document.clone(), credential }
    }

    pub(crate) fn remember(memory: EnrollmentMemory<D>) -> Result<Self, Forgotten> {
        let wrong = |e: &dyn std::fmt::Display| unreadable(D::KIND, e);
        let read = |pem: Option<String>| {
            pem.map(|p| read_uploaded(&p).map(Arc::new)).transpose().map_err(|e| wrong(&e))
        };
        let key = |text: &String| SharedKey::from_base64(text).map_err(|e| wrong(&e));
        let credential = match memory.credential {
            CredentialMemory::References(names) => Credential::References(names),
            CredentialMemory::Signers([a, b]) => Credential::Signers([read(a)?, read(b)?]),
            CredentialMemory::Leaves([a, b]) => Credential::Leaves([read(a)?, read(b)?]),
            CredentialMemory::Keys([a, b]) => Credential::Keys([key(&a)?, key(&b)?]),
        };
        Ok(Record { document: memory.document, credential })
    }
}

/// The part of the store that both kinds of enrollment are read and written with.
struct Writing<'a> {
    authorities: &'a CaStore,
    ids: &'a Ids,
    now: OffsetDateTime,
}

impl Writing<'_> {
    /// From the document as it came to the record as it is kept, if it may be written.
    fn record<D: Document>(
        &self,
        document: D,
        before: Option<&Record<D>>,
        if_match: Option<&str>,
        individual: bool,
    ) -> Result<Record<D>, EnrollmentFault> {
        let (kind, name) = (D::KIND, document.name());
        match (before, if_match) {
            (Some(_), None) => {
                return Err(fault(
                    errors::CONFLICT,
                    format!("{kind} `{name}` exists; send If-Match to replace it"),
                ));
            }
            (Some(old), Some(etag)) if !old.matches(etag) => return Err(changed::<D>(name)),
            // `ours:` an etag of something that is gone; `*` creates.
            (None, Some(etag)) if etag.trim().trim_matches('"') != "*" => return Err(changed::<D>(name)),
            _ => {}
        }
        check_allocation(document.terms())?;
        let stored = before.map(|b| &b.credential);
        let credential = self.credential(&document.terms().attestation, stored, individual)?;
        let document = self.finish(document, before, &credential);
        Ok(Record { document, credential })
    }

    fn credential(
        &self,
        mechanism: &AttestationMechanism,
        stored: Option<&Credential>,
        individual: bool,
    ) -> Result<Credential, EnrollmentFault> {
        match mechanism.kind {
            AttestationKind::X509 => {
                let none = X509Attestation::default();
                let read = self.x509(mechanism.x509.as_ref().unwrap_or(&none), stored, individual)?;
                let named = match &read {
                    Credential::References(names) => names.iter().flatten().count(),
                    Credential::Signers(slots) | Credential::Leaves(slots) => slots.iter().flatten().count(),
                    Credential::Keys(_) => 1,
                };
                if named == 0 {
                    Err(fault(errors::BAD_ARGUMENT, "the attestation names no certificate"))
                } else {
                    Ok(read)
                }
            }
            AttestationKind::SymmetricKey => {
                self.keys(&mechanism.symmetric_key.clone().unwrap_or_default(), stored)
            }
            // `ours:` the service offers TPM attestation on transports that are not played here.
            AttestationKind::Tpm | AttestationKind::None => {
                Err(fault(errors::BAD_ARGUMENT, "attest by x509 or by symmetricKey"))
            }
        }
    }

    fn x509(
        &self,
        x509: &X509Attestation,
        stored: Option<&Credential>,
        individual: bool,
    ) -> Result<Credential, EnrollmentFault> {
        match (&x509.ca_references, &x509.signing_certificates, &x509.client_certificates) {
            (Some(names), None, None) => {
                let primary = self.reference(names.primary.as_deref())?;
                Ok(Credential::References([primary, self.reference(names.secondary.as_deref())?]))
            }
            (None, Some(pair), None) => {
                let kept =
                    if let Some(Credential::Signers(slots)) = stored { slots.clone() } else { [None, None] };
                values(pair, kept).map(Credential::Signers)
            }
            (None, None, Some(pair)) if individual => {
                let kept =
                    if let Some(Credential::Leaves(slots)) = stored { slots.clone() } else { [None, None] };
                values(pair, kept).map(Credential::Leaves)
            }
            _ => {
                let one_of = if individual { ", or by x509.clientCertificates" } else { "" };
                let text = format!(
                    "attest by x509.caReferences or by x509.signingCertificates{one_of}, one of them"
                );
                Err(fault(errors::BAD_ARGUMENT, text))
            }
        }
    }

    fn reference(&self, name: Option<&str>) -> Result<Option<CaName>, EnrollmentFault> {
        let Some(name) = name.filter(|n| !n.is_empty()) else { return Ok(None) };
        let name = CaName::new(name).map_err(|e| fault(errors::BAD_ARGUMENT, e.to_string()))?;
        // `ours:` the service's answer to a reference that leads nowhere is unknown.
        self.authorities.record(&name).map_err(|e| fault(errors::BAD_ARGUMENT, e.to_string()))?;
        Ok(Some(name))
    }

    /// Keys given, or those kept (plain answers do not show them, so clients send documents back without), or new.
    fn keys(
        &self,
        given: &SymmetricKeys,
        stored: Option<&Credential>,
    ) -> Result<Credential, EnrollmentFault> {
        let kept = if let Some(Credential::Keys(keys)) = stored { Some(keys) } else { None };
        let read = |text: Option<&str>, slot: usize| match text.filter(|t| !t.is_empty()) {
            Some(text) => {
                SharedKey::from_base64(text).map_err(|e| fault(errors::BAD_ARGUMENT, e.to_string()))
            }
            None => Ok(kept.map_or_else(|| self.ids.shared_key(), |keys| keys[slot].clone())),
        };
        Ok(Credential::Keys([
            read(given.primary_key.as_deref(), 0)?,
            read(given.secondary_key.as_deref(), 1)?,
        ]))
    }

    /// The document as it is kept: what was read in certificates in place of their text, no keys, new etag and
    /// dates.
    fn finish<D: Document>(&self, mut document: D, before: Option<&Record<D>>, credential: &Credential) -> D {
        let stamp = timestamp::ticks(self.now);
        let created = before.and_then(|b| b.terms().created_date_time_utc.clone());
        let terms = document.terms_mut();
        terms.created_date_time_utc = Some(created.unwrap_or_else(|| stamp.clone()));
        terms.last_updated_date_time_utc = Some(stamp);
        terms.etag = Some(self.ids.etag());
        terms.reprovision_policy.get_or_insert_default();
        let shown = |slots: &Pair<Arc<Certificate>>| {
            let slot = |c: &Arc<Certificate>| CertificateSlot { certificate: None, info: Some(info(c)) };
            Some(CertificatePair {
                primary: slots[0].as_ref().map(slot),
                secondary: slots[1].as_ref().map(slot),
            })
        };
        let attestation = &mut terms.attestation;
        let x509 = attestation.x509.take().unwrap_or_default();
        (attestation.symmetric_key, attestation.tpm) = (None, None);
        match credential {
            Credential::References(_) => {
                attestation.x509 =
                    Some(X509Attestation { ca_references: x509.ca_references, ..Default::default() });
            }
            Credential::Signers(slots) => {
                attestation.x509 =
                    Some(X509Attestation { signing_certificates: shown(slots), ..Default::default() });
            }
            Credential::Leaves(slots) => {
                attestation.x509 =
                    Some(X509Attestation { client_certificates: shown(slots), ..Default::default() });
            }
            Credential::Keys(_) => attestation.symmetric_key = Some(SymmetricKeys::default()),
        }
        document
    }
}

fn changed<D: Document>(name: &str) -> EnrollmentFault {
    let kind = D::KIND;
    let text = format!("Invalid ETag supplied: {kind} `{name}` has changed or is gone; read it again");
    fault(errors::ETAG_MISMATCH, text)
}

/// Whether the terms say enough for their allocation policy.
fn check_allocation(terms: &Terms) -> Result<(), EnrollmentFault> {
    let bad = |text: &str| Err(fault(errors::BAD_ARGUMENT, text));
    match terms.allocation_policy {
        Some(AllocationPolicy::Static) => {
            let named = terms.iot_hubs.as_ref().map_or(0, Vec::len);
            if named != 1 && !(named == 0 && terms.iot_hub_host_name.is_some()) {
                return bad("static allocation needs exactly one hub in iotHubs");
            }
        }
        Some(AllocationPolicy::Custom) => {
            let Some(CustomAllocation { webhook_url, api_version }) = &terms.custom_allocation_definition
            else {
                return bad("custom allocation needs a customAllocationDefinition");
            };
            if !(webhook_url.starts_with("https://") || webhook_url.starts_with("http://")) {
                return bad("customAllocationDefinition.webhookUrl is not an http or https address");
            }
            // Versions are dates, so that their order is that of their text.
            if api_version.as_str() < "2018-09-01" {
                return bad("customAllocationDefinition.apiVersion must be 2018-09-01-preview or later");
            }
        }
        _ => {}
    }
    Ok(())
}

fn values(
    pair: &CertificatePair,
    kept: Pair<Arc<Certificate>>,
) -> Result<Pair<Arc<Certificate>>, EnrollmentFault> {
    let [primary, secondary] = kept;
    Ok([value(pair.primary.as_ref(), primary)?, value(pair.secondary.as_ref(), secondary)?])
}

fn value(
    slot: Option<&CertificateSlot>,
    kept: Option<Arc<Certificate>>,
) -> Result<Option<Arc<Certificate>>, EnrollmentFault> {
    let Some(slot) = slot else { return Ok(None) };
    match &slot.certificate {
        Some(text) => {
            let read = read_uploaded(text).map_err(|e| fault(errors::BAD_ARGUMENT, e.to_string()))?;
            Ok(Some(Arc::new(read)))
        }
        // Clients send the whole document back, which shows what was read in the certificate and not the text.
        None => Ok(kept),
    }
}

fn info(certificate: &Certificate) -> CertificateInfo {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
    let moment = |seconds| {
        timestamp::ticks(OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH))
    };
    CertificateInfo {
        subject_name: certificate.subject(),
        sha1_thumbprint: sha1_hex(certificate.der()),
        sha256_thumbprint: hex(certificate.sha256()),
        issuer_name: certificate.issuer(),
        not_before_utc: moment(certificate.not_before()),
        not_after_utc: moment(certificate.not_after()),
        serial_number: hex(certificate.serial()),
        version: certificate.version(),
    }
}

/// A group as it is kept.
pub(crate) type Group = Record<EnrollmentGroup>;
/// An individual enrollment as it is kept.
pub(crate) type Individual = Record<IndividualEnrollment>;

impl Individual {
    /// What the judge has to know of it.
    pub(crate) fn entry(&self, authorities: &CaStore) -> IndividualEntry {
        let hashes = |held: &mut dyn Iterator<Item = &Arc<Certificate>>| held.map(|c| *c.sha256()).collect();
        let credential = match &self.credential {
            Credential::Keys(_) => IndividualCredential::Keys,
            Credential::Leaves(_) => IndividualCredential::Leaves(hashes(&mut self.credential.leaves())),
            Credential::References(_) | Credential::Signers(_) => {
                let signers = self.credential.signers(authorities);
                IndividualCredential::Authorities(hashes(&mut signers.iter()))
            }
        };
        IndividualEntry { enabled: self.is_enabled(), credential }
    }
}

/// All groups of one instance.
#[derive(Debug, Default)]
pub struct GroupStore {
    groups: BTreeMap<EnrollmentGroupId, Arc<Group>>,
}

impl GroupStore {
    pub(crate) fn memory(&self) -> Vec<EnrollmentMemory<EnrollmentGroup>> {
        self.groups.values().map(|g| g.memory()).collect()
    }

    pub(crate) fn from_memory(remembered: Vec<EnrollmentMemory<EnrollmentGroup>>) -> Result<Self, Forgotten> {
        let one = |memory| {
            let group = Group::remember(memory)?;
            let id = EnrollmentGroupId::new(group.document.name());
            Ok((id.map_err(|e| unreadable(EnrollmentGroup::KIND, e))?, Arc::new(group)))
        };
        Ok(GroupStore { groups: remembered.into_iter().map(one).collect::<Result<_, _>>()? })
    }

    fn record(&self, id: &EnrollmentGroupId) -> Result<&Arc<Group>, EnrollmentFault> {
        let missing = || fault(errors::NOT_FOUND, format!("no enrollment group is named `{id}`"));
        self.groups.get(id).ok_or_else(missing)
    }

    /// One group as the service API shows it.
    pub fn group(&self, id: &EnrollmentGroupId) -> Result<&EnrollmentGroup, EnrollmentFault> {
        self.record(id).map(|g| &g.document)
    }

    /// How devices of one group attest, keys included.
    pub fn attestation(&self, id: &EnrollmentGroupId) -> Result<AttestationMechanism, EnrollmentFault> {
        self.record(id).map(|g| g.attestation())
    }

    /// All groups by name.
    pub fn groups(&self) -> impl Iterator<Item = &EnrollmentGroup> {
        self.groups.values().map(|g| &g.document)
    }

    pub(crate) fn records(&self) -> &BTreeMap<EnrollmentGroupId, Arc<Group>> {
        &self.groups
    }

    /// Creates, or replaces where If-Match allows it. `individuals` tells who uses a certificate already.
    #[expect(clippy::too_many_arguments, reason = "a write needs the whole control plane")]
    pub(crate) fn put(
        &mut self,
        id: EnrollmentGroupId,
        document: EnrollmentGroup,
        if_match: Option<&str>,
        authorities: &CaStore,
        individuals: &IndividualStore,
        limits: &Limits,
        ids: &Ids,
        now: OffsetDateTime,
    ) -> Result<&EnrollmentGroup, EnrollmentFault> {
        if !document.enrollment_group_id.eq_ignore_ascii_case(id.as_str()) {
            return Err(fault(errors::BAD_ARGUMENT, "enrollmentGroupId differs from the path"));
        }
        let before = self.groups.get(&id);
        let writing = Writing { authorities, ids, now };
        let record = writing.record(document, before.map(Arc::as_ref), if_match, false)?;
        if before.is_none() {
            self.check_limit(&record, limits)?;
        }
        self.check_untaken(&id, &record, authorities, individuals)?;
        self.groups.insert(id.clone(), Arc::new(record));
        self.group(&id)
    }

    fn check_limit(&self, record: &Group, limits: &Limits) -> Result<(), EnrollmentFault> {
        let by_key = record.credential.is_key();
        let (limit, kind) =
            if by_key { (limits.groups_symmetric, "symmetric-key") } else { (limits.groups_x509, "X.509") };
        if self.groups.values().filter(|g| g.credential.is_key() == by_key).count() < limit {
            return Ok(());
        }
        Err(fault(errors::CONFLICT, format!("the limit of {limit} {kind} groups is reached; delete one")))
    }

    /// A certificate may be used by only one enrollment of an instance.
    fn check_untaken(
        &self,
        id: &EnrollmentGroupId,
        record: &Group,
        authorities: &CaStore,
        individuals: &IndividualStore,
    ) -> Result<(), EnrollmentFault> {
        let found = record.credential.signers(authorities);
        let others = self.groups.iter().filter(|(other, _)| *other != id);
        for (other, group) in others {
            if group.credential.signers(authorities).iter().any(|theirs| found.contains(theirs)) {
                return Err(fault(
                    errors::CONFLICT,
                    format!("the certificate is in group `{other}` already"),
                ));
            }
        }
        match found.iter().find_map(|c| individuals.by_leaf.get(c.sha256())) {
            Some(device) => {
                let text = format!("the certificate is that of the individual enrollment `{device}`");
                Err(fault(errors::CONFLICT, text))
            }
            None => Ok(()),
        }
    }

    /// Deletes; devices may then get in through a group higher up.
    pub fn delete(&mut self, id: &EnrollmentGroupId, if_match: Option<&str>) -> Result<(), EnrollmentFault> {
        let group = self.record(id)?;
        if if_match.is_some_and(|etag| !group.matches(etag)) {
            return Err(changed::<EnrollmentGroup>(id.as_str()));
        }
        self.groups.remove(id);
        Ok(())
    }

    /// What the instance trusts with these authorities.
    pub fn trust(&self, authorities: &CaStore) -> Trust {
        let verified = authorities.records().filter(|r| r.verified).map(|r| r.certificate.clone());
        let entries = self.groups.iter().flat_map(|(id, group)| {
            let entry = |signer: Arc<Certificate>| Entry {
                group: id.clone(),
                enabled: group.is_enabled(),
                sha256: *signer.sha256(),
            };
            group.credential.signers(authorities).into_iter().map(entry).collect::<Vec<_>>()
        });
        Trust { verified: verified.collect(), entries: entries.collect() }
    }
}

/// All individual enrollments of one instance, by folded registration id.
#[derive(Debug, Default)]
pub struct IndividualStore {
    records: BTreeMap<String, Arc<Individual>>,
    /// Which enrollment a leaf belongs to, by SHA-256.
    by_leaf: HashMap<[u8; 32], String>,
}

impl IndividualStore {
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Individual>> {
        self.records.get(key)
    }

    pub(crate) fn found(&self, id: &RegistrationId) -> Result<&Arc<Individual>, EnrollmentFault> {
        let missing = || fault(errors::NOT_FOUND, format!("no individual enrollment is named `{id}`"));
        self.records.get(&id.key()).ok_or_else(missing)
    }

    /// Those whose folded ids come after `after`, in order.
    pub(crate) fn after(&self, after: Option<&str>) -> impl Iterator<Item = (&String, &Arc<Individual>)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, |a| Bound::Excluded(a.to_owned()));
        self.records.range::<String, _>((from, Bound::Unbounded))
    }

    #[expect(clippy::too_many_arguments, reason = "a write needs the whole control plane")]
    pub(crate) fn put(
        &mut self,
        id: &RegistrationId,
        document: IndividualEnrollment,
        if_match: Option<&str>,
        authorities: &CaStore,
        groups: &GroupStore,
        limits: &Limits,
        ids: &Ids,
        now: OffsetDateTime,
    ) -> Result<&Arc<Individual>, EnrollmentFault> {
        if !id.matches(&document.registration_id) {
            return Err(fault(errors::BAD_ARGUMENT, "registrationId differs from the path"));
        }
        if let Some(device) = &document.device_id
            && let Err(wrong) = RegistrationId::new(device.as_str())
        {
            return Err(fault(errors::BAD_ARGUMENT, format!("deviceId: {wrong}")));
        }
        let document = IndividualEnrollment { registration_state: None, ..document };
        let key = id.key();
        let before = self.records.get(&key);
        let record =
            Writing { authorities, ids, now }.record(document, before.map(Arc::as_ref), if_match, true)?;
        let limit = limits.individual_enrollments.unwrap_or(usize::MAX);
        if before.is_none() && self.records.len() >= limit {
            let text = format!("the limit of {limit} individual enrollments is reached; delete one");
            return Err(fault(errors::CONFLICT, text));
        }
        for leaf in record.credential.leaves() {
            if let Some(other) = self.by_leaf.get(leaf.sha256()).filter(|other| **other != key) {
                return Err(fault(
                    errors::CONFLICT,
                    format!("the certificate is in enrollment `{other}` already"),
                ));
            }
            let of_group =
                groups.groups.iter().find(|(_, g)| g.credential.signers(authorities).contains(leaf));
            if let Some((group, _)) = of_group {
                return Err(fault(
                    errors::CONFLICT,
                    format!("the certificate is in group `{group}` already"),
                ));
            }
        }
        self.insert(key.clone(), record);
        self.found(id)
    }

    pub(crate) fn insert(&mut self, key: String, record: Individual) {
        self.remove(&key);
        for leaf in record.credential.leaves() {
            self.by_leaf.insert(*leaf.sha256(), key.clone());
        }
        self.records.insert(key, Arc::new(record));
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.records.remove(key) {
            old.credential.leaves().for_each(|leaf| drop(self.by_leaf.remove(leaf.sha256())));
        }
    }

    pub(crate) fn delete(
        &mut self,
        id: &RegistrationId,
        if_match: Option<&str>,
    ) -> Result<(), EnrollmentFault> {
        if if_match.is_some_and(|etag| self.found(id).is_ok_and(|r| !r.matches(etag))) {
            return Err(changed::<IndividualEnrollment>(id.as_str()));
        }
        self.found(id)?;
        self.remove(&id.key());
        Ok(())
    }
}
