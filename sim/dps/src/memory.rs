//! What an instance must not forget, as text: records of CAs, enrollments and registrations.
//!
//! Pure: who keeps the text, and how durably, is the shell's business.

use crate::certificates::{CaRecord, CaStore, read_uploaded};
use crate::control::Control;
use crate::enrollments::GroupStore;
use crate::ledger::Route;
use serde::{Deserialize, Serialize};
use sim_identity::Certificate;
use sim_protocol::attestation::{EnrollmentGroup, IndividualEnrollment};
use sim_protocol::registration::Substatus;
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

/// What a write has touched, and what must be kept before it is answered. Who keeps it asks for its state then, so
/// that of two writes at once the later state is what is kept, in whichever order they arrive.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Touched {
    /// CAs and groups.
    Control,
    /// An individual enrollment, by folded registration id.
    Individual(String),
    /// A registration, by folded registration id.
    Registration(String),
}

/// CAs and groups, and how far the counter of etags has come.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ControlMemory {
    pub(crate) counter: u64,
    authorities: Vec<CaMemory>,
    groups: Vec<EnrollmentMemory<EnrollmentGroup>>,
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

/// An enrollment: its document, and what the document does not show.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EnrollmentMemory<D> {
    pub(crate) document: D,
    pub(crate) credential: CredentialMemory,
}

/// An individual enrollment.
pub(crate) type IndividualMemory = EnrollmentMemory<IndividualEnrollment>;

/// What an enrollment admits by, primary and secondary: certificates as PEM, keys as base64.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum CredentialMemory {
    References([Option<CaName>; 2]),
    Signers([Option<String>; 2]),
    Leaves([Option<String>; 2]),
    Keys([String; 2]),
}

/// A moment as text: Unix time in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Moment(String);

impl Moment {
    pub(crate) fn of(moment: OffsetDateTime) -> Self {
        Moment(moment.unix_timestamp_nanos().to_string())
    }

    pub(crate) fn moment(&self, what: &'static str) -> Result<OffsetDateTime, Forgotten> {
        let nanoseconds = self.0.parse().map_err(|e| unreadable(what, e))?;
        OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).map_err(|e| unreadable(what, e))
    }
}

impl ControlMemory {
    pub(crate) fn of(control: &Control, counter: u64) -> Self {
        let authorities = control.authorities.records().map(|r| CaMemory {
            name: r.name.clone(),
            uploaded: r.uploaded.clone(),
            verified: r.verified,
            code: r.code.clone(),
            etag: r.etag.clone(),
            updated: Moment::of(r.updated),
        });
        ControlMemory { counter, authorities: authorities.collect(), groups: control.groups.memory() }
    }

    pub(crate) fn control(self) -> Result<Control, Forgotten> {
        const WHAT: &str = "CA certificate";
        let mut authorities = CaStore::default();
        for ca in self.authorities {
            let certificate = read_uploaded(&ca.uploaded).map_err(|e| unreadable(WHAT, e))?;
            authorities.insert(CaRecord {
                name: ca.name,
                certificate: Arc::new(certificate),
                verified: ca.verified,
                code: ca.code,
                etag: ca.etag,
                uploaded: ca.uploaded,
                updated: ca.updated.moment(WHAT)?,
            });
        }
        Ok(Control { authorities, groups: GroupStore::from_memory(self.groups)? })
    }
}

/// A registration.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RegistrationMemory {
    pub(crate) id: RegistrationId,
    pub(crate) operation_id: String,
    pub(crate) ready_at: Moment,
    pub(crate) outcome: OutcomeMemory,
    pub(crate) route: Route,
    pub(crate) credential: u64,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    pub(crate) etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<serde_json::Value>,
}

/// How a registration came out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum OutcomeMemory {
    Assigned { hub: String, substatus: Substatus, repeated: bool },
    Allocating { before: Option<String> },
    Disabled,
    Failed { code: u32, message: String },
}

/// One line of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SnapshotLine {
    /// What wrote it: the first line.
    Schema(String),
    /// CAs and groups.
    Control(ControlMemory),
    /// One individual enrollment.
    Individual(Box<IndividualMemory>),
    /// One registration.
    Registration(Box<RegistrationMemory>),
}

/// The schema of snapshots.
pub(crate) const SNAPSHOT: &str = "rollcall.snapshot/1";

/// A certificate as PEM.
pub(crate) fn pem_of(certificate: &Certificate) -> String {
    sim_identity::pem::encode("CERTIFICATE", certificate.der())
}
