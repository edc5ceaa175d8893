//! What an instance must not forget, as text: records of CAs, groups and registrations.
//!
//! Pure: who keeps the text, and how durably, is the shell's business.

use crate::certificates::{CaRecord, CaStore, read_uploaded};
use crate::groups::GroupStore;
use crate::ledger::Route;
use crate::registrar::Instance;
use serde::{Deserialize, Serialize};
use sim_identity::Certificate;
use sim_protocol::attestation::EnrollmentGroup;
use sim_protocol::{CaName, RegistrationId};
use std::sync::Arc;
use time::OffsetDateTime;

/// Why remembered text makes no sense any more.
#[derive(Debug, thiserror::Error)]
pub enum Forgotten {
    /// Not what this version writes.
    #[error("the remembered {what} cannot be read: {reason}")]
    Unreadable {
        /// What was to be read.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

pub(crate) fn unreadable(what: &'static str, reason: impl ToString) -> Forgotten {
    Forgotten::Unreadable { what, reason: reason.to_string() }
}

/// One write to be kept: a registration by key, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The registration id, folded.
    pub key: String,
    /// Its record as JSON; `None` forgets it.
    pub record: Option<String>,
}

/// CAs and groups, and how far the counter of etags has come.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ControlMemory {
    pub(crate) counter: u64,
    authorities: Vec<CaMemory>,
    groups: Vec<GroupMemory>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CaMemory {
    name: CaName,
    uploaded: String,
    verified: bool,
    code: Option<String>,
    etag: String,
    updated: Moment,
}

/// A group with its certificates by value, primary and secondary; by reference they are in the document.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupMemory {
    pub(crate) document: EnrollmentGroup,
    pub(crate) values: Option<[Option<String>; 2]>,
}

/// A moment as text: Unix time in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Moment(String);

impl Moment {
    pub(crate) fn of(moment: OffsetDateTime) -> Self {
        Moment(moment.unix_timestamp_nanos().to_string())
    }

    pub(crate) fn moment(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp_nanos(self.0.parse().ok()?).ok()
    }
}

impl ControlMemory {
    pub(crate) fn of(instance: &Instance, counter: u64) -> Self {
        let authorities = instance.authorities.records().map(|r| CaMemory {
            name: r.name.clone(),
            uploaded: r.uploaded.clone(),
            verified: r.verified,
            code: r.code.clone(),
            etag: r.etag.clone(),
            updated: Moment::of(r.updated),
        });
        ControlMemory { counter, authorities: authorities.collect(), groups: instance.groups.memory() }
    }

    pub(crate) fn instance(self) -> Result<Instance, Forgotten> {
        let mut authorities = CaStore::default();
        for ca in self.authorities {
            let certificate = read_uploaded(&ca.uploaded).map_err(|e| unreadable("CA certificate", e))?;
            authorities.insert(CaRecord {
                name: ca.name,
                certificate: Arc::new(certificate),
                verified: ca.verified,
                code: ca.code,
                etag: ca.etag,
                uploaded: ca.uploaded,
                updated: ca.updated.moment().ok_or_else(|| unreadable("CA certificate", "its date"))?,
            });
        }
        let groups = GroupStore::from_memory(self.groups)?;
        Ok(Instance { authorities, groups, generation: 0 })
    }
}

/// A registration.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RegistrationMemory {
    pub(crate) id: RegistrationId,
    pub(crate) operation_id: String,
    pub(crate) ready_at: Moment,
    pub(crate) outcome: OutcomeMemory,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    pub(crate) etag: String,
}

/// How a registration came out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum OutcomeMemory {
    Assigned { hub: String, route: Route },
    Disabled,
    NoHub,
}

/// A certificate as PEM, for groups.
pub(crate) fn pem_of(certificate: &Certificate) -> String {
    sim_identity::pem::encode("CERTIFICATE", certificate.der())
}
