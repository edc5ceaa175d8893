//! Enrollment groups: which CA admits devices, by reference to an uploaded CA or by value.

use crate::certificates::{CaStore, etag_matches, read_uploaded, sha1_hex};
use crate::ids::Ids;
use crate::memory::{Forgotten, GroupMemory, pem_of, unreadable};
use sim_identity::Certificate;
use sim_identity::verdict::{Entry, Trust};
use sim_protocol::attestation::{
    CertificateInfo, CertificatePair, CertificateSlot, EnrollmentGroup, ProvisioningStatus, X509Attestation,
};
use sim_protocol::errors::{self, Refusal};
use sim_protocol::{CaName, EnrollmentGroupId, timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;

/// Documented limit of X.509 enrollment groups in one instance.
pub const MAX_GROUPS: usize = 100;

/// Why a call on a group was refused: what the wire says, and the reason in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFault {
    /// What the wire says.
    pub refusal: Refusal,
    /// What was wrong, for the message.
    pub reason: String,
}

fn fault(refusal: Refusal, reason: impl Into<String>) -> GroupFault {
    GroupFault { refusal, reason: reason.into() }
}

/// Primary and secondary of one kind.
#[derive(Clone, Debug)]
enum Certificates {
    Reference([Option<CaName>; 2]),
    Value([Option<Arc<Certificate>>; 2]),
}

#[derive(Clone, Debug)]
struct GroupRecord {
    id: EnrollmentGroupId,
    document: EnrollmentGroup,
    certificates: Certificates,
}

/// All groups of one instance.
#[derive(Debug, Default)]
pub struct GroupStore {
    groups: BTreeMap<EnrollmentGroupId, GroupRecord>,
}

impl GroupStore {
    pub(crate) fn memory(&self) -> Vec<GroupMemory> {
        let one = |g: &GroupRecord| GroupMemory {
            document: g.document.clone(),
            values: match &g.certificates {
                Certificates::Value(slots) => Some(slots.each_ref().map(|s| s.as_deref().map(pem_of))),
                Certificates::Reference(_) => None,
            },
        };
        self.groups.values().map(one).collect()
    }

    pub(crate) fn from_memory(remembered: Vec<GroupMemory>) -> Result<Self, Forgotten> {
        let groups = remembered.into_iter().map(remember).collect::<Result<_, _>>()?;
        Ok(GroupStore { groups })
    }

    /// One group as the service API shows it.
    pub fn group(&self, id: &EnrollmentGroupId) -> Result<&EnrollmentGroup, GroupFault> {
        let found = self.groups.get(id).map(|g| &g.document);
        found.ok_or_else(|| fault(errors::NOT_FOUND, format!("no enrollment group is named `{id}`")))
    }

    /// All groups by name.
    pub fn groups(&self) -> impl Iterator<Item = &EnrollmentGroup> {
        self.groups.values().map(|g| &g.document)
    }

    /// The hubs a group may assign to, if it names any.
    pub fn hubs_of(&self, id: &EnrollmentGroupId) -> Option<&[String]> {
        self.groups.get(id)?.document.iot_hubs.as_deref()
    }

    /// Creates, or replaces where If-Match allows it.
    pub fn put(
        &mut self,
        id: EnrollmentGroupId,
        document: EnrollmentGroup,
        if_match: Option<&str>,
        authorities: &CaStore,
        ids: &Ids,
        now: OffsetDateTime,
    ) -> Result<&EnrollmentGroup, GroupFault> {
        if !document.enrollment_group_id.eq_ignore_ascii_case(id.as_str()) {
            return Err(fault(errors::BAD_ARGUMENT, "enrollmentGroupId differs from the path"));
        }
        let before = self.groups.get(&id).cloned();
        match (&before, if_match) {
            (Some(_), None) => {
                return Err(fault(errors::CONFLICT, format!("group `{id}` exists; send If-Match")));
            }
            (Some(old), Some(etag)) if !matches_document(etag, &old.document) => {
                return Err(fault(errors::ETAG_MISMATCH, format!("group `{id}` has changed since")));
            }
            (None, None) if self.groups.len() >= MAX_GROUPS => {
                return Err(fault(errors::CONFLICT, format!("the limit of {MAX_GROUPS} groups is reached")));
            }
            _ => {}
        }
        let certificates = self.read(&id, &document, before.as_ref(), authorities)?;
        let document = finish(document, before.as_ref(), &certificates, ids, now);
        self.groups.insert(id.clone(), GroupRecord { id: id.clone(), document, certificates });
        self.group(&id)
    }

    /// Deletes; devices may then get in through a group higher up.
    pub fn delete(&mut self, id: &EnrollmentGroupId, if_match: Option<&str>) -> Result<(), GroupFault> {
        let group = self.group(id)?;
        if if_match.is_some_and(|etag| !matches_document(etag, group)) {
            return Err(fault(errors::ETAG_MISMATCH, format!("group `{id}` has changed since")));
        }
        self.groups.remove(id);
        Ok(())
    }

    /// What the instance trusts with these authorities.
    pub fn trust(&self, authorities: &CaStore) -> Trust {
        let verified = authorities.records().filter(|r| r.verified).map(|r| r.certificate.clone());
        let entries = self.groups.values().flat_map(|g| {
            let enabled = g.document.provisioning_status == ProvisioningStatus::Enabled;
            let group = g.id.clone();
            let entry = move |certificate| Entry { group: group.clone(), enabled, certificate };
            resolved(&g.certificates, authorities).into_iter().map(entry)
        });
        Trust { verified: verified.collect(), entries: entries.collect() }
    }

    fn read(
        &self,
        id: &EnrollmentGroupId,
        document: &EnrollmentGroup,
        before: Option<&GroupRecord>,
        authorities: &CaStore,
    ) -> Result<Certificates, GroupFault> {
        let none = X509Attestation::default();
        let x509 = document.attestation.x509.as_ref().unwrap_or(&none);
        let certificates = match (&x509.ca_references, &x509.signing_certificates) {
            (Some(names), None) => {
                let primary = reference(names.primary.as_deref(), authorities)?;
                Certificates::Reference([primary, reference(names.secondary.as_deref(), authorities)?])
            }
            (None, Some(pair)) => {
                let stored = |i: usize| match before.map(|b| &b.certificates) {
                    Some(Certificates::Value(slots)) => slots[i].clone(),
                    _ => None,
                };
                let primary = value(pair.primary.as_ref(), stored(0))?;
                Certificates::Value([primary, value(pair.secondary.as_ref(), stored(1))?])
            }
            _ => {
                return Err(fault(
                    errors::BAD_ARGUMENT,
                    "a group attests by x509.caReferences or by x509.signingCertificates",
                ));
            }
        };
        let found = resolved(&certificates, authorities);
        if found.is_empty() {
            return Err(fault(errors::BAD_ARGUMENT, "the group names no certificate"));
        }
        // A certificate may be used by only one enrollment entry of an instance.
        let taken = self
            .groups
            .values()
            .filter(|g| g.id != *id)
            .find(|g| resolved(&g.certificates, authorities).iter().any(|theirs| found.contains(theirs)));
        match taken {
            Some(other) => {
                Err(fault(errors::CONFLICT, format!("the certificate is in group `{}` already", other.id)))
            }
            None => Ok(certificates),
        }
    }
}

fn remember(memory: GroupMemory) -> Result<(EnrollmentGroupId, GroupRecord), Forgotten> {
    let GroupMemory { document, values } = memory;
    let group = |e: &dyn std::fmt::Display| unreadable("enrollment group", e);
    let id = EnrollmentGroupId::new(document.enrollment_group_id.as_str()).map_err(|e| group(&e))?;
    let read =
        |pem: Option<String>| pem.map(|p| read_uploaded(&p).map(Arc::new)).transpose().map_err(|e| group(&e));
    let certificates = match values {
        Some([primary, secondary]) => Certificates::Value([read(primary)?, read(secondary)?]),
        None => {
            let names =
                document.attestation.x509.as_ref().and_then(|x| x.ca_references.clone()).unwrap_or_default();
            let name = |n: Option<String>| n.map(CaName::new).transpose().map_err(|e| group(&e));
            Certificates::Reference([name(names.primary)?, name(names.secondary)?])
        }
    };
    Ok((id.clone(), GroupRecord { id, document, certificates }))
}

fn matches_document(if_match: &str, document: &EnrollmentGroup) -> bool {
    etag_matches(if_match, document.etag.as_deref().unwrap_or_default())
}

fn reference(name: Option<&str>, authorities: &CaStore) -> Result<Option<CaName>, GroupFault> {
    let Some(name) = name.filter(|n| !n.is_empty()) else { return Ok(None) };
    let name = CaName::new(name).map_err(|e| fault(errors::BAD_ARGUMENT, e.to_string()))?;
    // `ours:` the service's answer to a reference that leads nowhere is unknown.
    authorities.record(&name).map_err(|e| fault(errors::BAD_ARGUMENT, e.to_string()))?;
    Ok(Some(name))
}

fn value(
    slot: Option<&CertificateSlot>,
    stored: Option<Arc<Certificate>>,
) -> Result<Option<Arc<Certificate>>, GroupFault> {
    let Some(slot) = slot else { return Ok(None) };
    match &slot.certificate {
        Some(text) => {
            let read = read_uploaded(text).map_err(|e| fault(errors::BAD_ARGUMENT, e.to_string()))?;
            Ok(Some(Arc::new(read)))
        }
        // Clients send the whole document back, which shows what was read in the certificate and not the text.
        None => Ok(stored),
    }
}

fn resolved(certificates: &Certificates, authorities: &CaStore) -> Vec<Arc<Certificate>> {
    match certificates {
        Certificates::Reference(names) => {
            let records = names.iter().flatten().filter_map(|n| authorities.record(n).ok());
            records.map(|r| r.certificate.clone()).collect()
        }
        Certificates::Value(slots) => slots.iter().flatten().cloned().collect(),
    }
}

/// The document as it is kept: what was read in the certificates in place of their text, new etag and dates.
fn finish(
    mut document: EnrollmentGroup,
    before: Option<&GroupRecord>,
    certificates: &Certificates,
    ids: &Ids,
    now: OffsetDateTime,
) -> EnrollmentGroup {
    let stamp = timestamp::ticks(now);
    let created = before.and_then(|b| b.document.created_date_time_utc.clone());
    document.created_date_time_utc = Some(created.unwrap_or_else(|| stamp.clone()));
    document.last_updated_date_time_utc = Some(stamp);
    document.etag = Some(ids.etag());
    document.attestation.kind = "x509".to_owned();
    if let (Certificates::Value([primary, secondary]), Some(x509)) =
        (certificates, &mut document.attestation.x509)
    {
        let slot = |c: &Arc<Certificate>| CertificateSlot { certificate: None, info: Some(info(c)) };
        let (primary, secondary) = (primary.as_ref().map(slot), secondary.as_ref().map(slot));
        x509.signing_certificates = Some(CertificatePair { primary, secondary });
    }
    document
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
