//! What an instance holds, as far as trust goes: CA certificates with their state, groups, individual enrollments.

use super::case::may_have_signed;
use super::{Code, Finding, words};
use crate::certificate::{Certificate, NameMatch};
use crate::verdict::{Entry, IndividualCredential, IndividualEntry, Trust};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::collections::HashMap;
use std::sync::Arc;

/// The state of an uploaded CA certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaState {
    /// Its owner proved possession of the key, or vouched for it on upload.
    Verified,
    /// Uploaded, and no more.
    Unverified,
    /// A verification code was generated and not answered yet.
    CodePending,
}

/// An uploaded CA certificate.
#[derive(Clone, Debug)]
pub struct UploadedCa {
    /// Its name in the instance, where known.
    pub name: Option<String>,
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// Its state.
    pub state: CaState,
}

/// Where a group's or an individual enrollment's CA certificate is.
#[derive(Clone, Debug)]
pub enum Slot {
    /// By value: SHA-256, and the certificate itself where the export has it.
    Certificate {
        /// SHA-256 of the certificate.
        sha256: [u8; 32],
        /// The certificate.
        certificate: Option<Arc<Certificate>>,
    },
    /// By the name of an uploaded CA.
    Reference(String),
}

/// An enrollment group for X.509.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name.
    pub id: EnrollmentGroupId,
    /// Whether it lets devices in.
    pub enabled: bool,
    /// Its primary certificate.
    pub primary: Option<Slot>,
    /// Its secondary certificate.
    pub secondary: Option<Slot>,
}

/// What an individual enrollment asks for.
#[derive(Clone, Debug)]
pub enum InstanceCredential {
    /// One of these device certificates, by SHA-256.
    Leaves(Vec<[u8; 32]>),
    /// A chain through one of these CA certificates.
    Authorities(Vec<Slot>),
    /// A symmetric key or a TPM.
    Keys,
}

/// An individual enrollment.
#[derive(Clone, Debug)]
pub struct Individual {
    /// The device.
    pub registration_id: RegistrationId,
    /// Whether it lets the device in.
    pub enabled: bool,
    /// What it asks for.
    pub credential: InstanceCredential,
}

/// One DPS instance's certificates and enrollments.
#[derive(Clone, Debug, Default)]
pub struct Instance {
    /// Uploaded CA certificates.
    pub cas: Vec<UploadedCa>,
    /// Enrollment groups for X.509.
    pub groups: Vec<Group>,
    /// Individual enrollments by folded registration id (`RegistrationId::key`).
    pub individuals: HashMap<String, Individual>,
    /// How many registrations there are, where known.
    pub registrations: Option<u64>,
    /// Whether all enrollment groups are known, so that a chain without one is refused even if there are none.
    pub enrollments_known: bool,
}

impl Instance {
    /// Whether there is any enrollment to ask for, or known to be none; else the question can only be whether a chain
    /// rolls up.
    pub fn has_enrollments(&self) -> bool {
        self.enrollments_known || !self.groups.is_empty() || !self.individuals.is_empty()
    }

    /// The SHA-256 of what a slot holds; none for a reference to nothing.
    pub fn held(&self, slot: &Slot) -> Option<[u8; 32]> {
        match slot {
            Slot::Certificate { sha256, .. } => Some(*sha256),
            Slot::Reference(name) => self.referred(name).map(|ca| *ca.certificate.sha256()),
        }
    }

    /// The CA that a reference names. CA names are compared as they are spelled.
    pub fn referred(&self, name: &str) -> Option<&UploadedCa> {
        self.cas.iter().find(|ca| ca.name.as_deref() == Some(name))
    }

    /// What the judge has to know.
    pub fn trust(&self) -> Trust {
        let verified = self.cas.iter().filter(|ca| ca.state == CaState::Verified);
        let entries = self.groups.iter().flat_map(|group| {
            let slots = [&group.primary, &group.secondary];
            let held: Vec<[u8; 32]> = slots.into_iter().flatten().filter_map(|s| self.held(s)).collect();
            let entry = |sha256| Entry { group: group.id.clone(), enabled: group.enabled, sha256 };
            held.into_iter().map(entry).collect::<Vec<_>>()
        });
        Trust { verified: verified.map(|ca| ca.certificate.clone()).collect(), entries: entries.collect() }
    }

    /// The individual enrollment of a device, as the judge wants it.
    pub fn individual(&self, id: &RegistrationId) -> Option<IndividualEntry> {
        let found = self.individuals.get(&id.key())?;
        let credential = match &found.credential {
            InstanceCredential::Leaves(leaves) => IndividualCredential::Leaves(leaves.clone()),
            InstanceCredential::Authorities(slots) => {
                IndividualCredential::Authorities(slots.iter().filter_map(|s| self.held(s)).collect())
            }
            InstanceCredential::Keys => IndividualCredential::Keys,
        };
        Some(IndividualEntry { enabled: found.enabled, credential })
    }

    /// What is wrong with the instance itself as of a moment (Unix seconds), whatever chain is presented: limits,
    /// dangling references, one certificate in two entries, device certificates among the CAs, CAs that are not
    /// verified although groups hang on them, and those that have expired.
    pub fn findings(&self, at: i64) -> Vec<Finding> {
        super::state::find(self, at)
    }

    /// The record of an uploaded certificate; the verified one where there are several.
    pub(super) fn uploaded(&self, certificate: &Certificate) -> Option<&UploadedCa> {
        let same = |ca: &&UploadedCa| ca.certificate.sha256() == certificate.sha256();
        self.cas.iter().filter(same).min_by_key(|ca| ca.state != CaState::Verified)
    }

    /// An uploaded CA whose key signed a certificate.
    pub(super) fn issuer_among_cas(&self, child: &Certificate) -> Option<&UploadedCa> {
        let other = |ca: &&UploadedCa| ca.certificate.sha256() != child.sha256();
        self.cas.iter().filter(other).find(|ca| issued(child, &ca.certificate))
    }

    /// A group on a CA whose key signed a certificate, where the group holds it by value.
    pub(super) fn issuer_among_groups(&self, child: &Certificate) -> Option<&EnrollmentGroupId> {
        let slots = |g: &&Group| {
            [&g.primary, &g.secondary].into_iter().flatten().any(|slot| match slot {
                Slot::Certificate { certificate: Some(held), .. } => issued(child, held),
                Slot::Certificate { certificate: None, .. } | Slot::Reference(_) => false,
            })
        };
        self.groups.iter().find(slots).map(|g| &g.id)
    }

    /// Whether a certificate is verified, or one of the uploaded CAs above it is.
    pub(super) fn rolls_up(&self, certificate: &Arc<Certificate>) -> bool {
        self.above(certificate)
            .iter()
            .any(|c| self.uploaded(c).is_some_and(|ca| ca.state == CaState::Verified))
    }

    /// A certificate and the uploaded CAs above it, nearest first.
    pub(super) fn above(&self, certificate: &Arc<Certificate>) -> Vec<Arc<Certificate>> {
        let mut line = vec![certificate.clone()];
        while line.len() <= HIGHEST
            && let Some(last) = line.last()
            && let Some(issuer) = self.issuer_among_cas(last)
            && !line.iter().any(|c| c.sha256() == issuer.certificate.sha256())
        {
            line.push(issuer.certificate.clone());
        }
        line
    }

    /// The names of the groups on any of these certificates.
    pub(super) fn groups_on(&self, certificates: &[Arc<Certificate>]) -> Vec<String> {
        let on = |slot: &Slot| {
            self.held(slot).is_some_and(|sha256| certificates.iter().any(|c| *c.sha256() == sha256))
        };
        let named = self.groups.iter().filter(|g| [&g.primary, &g.secondary].into_iter().flatten().any(on));
        named.map(|g| format!("`{}`", g.id)).collect()
    }

    /// References to CAs that are not there.
    pub(super) fn dangling(&self) -> Vec<Finding> {
        super::state::dangling(self)
    }
}

/// Uploaded CAs that are followed upwards from one.
const HIGHEST: usize = 12;

/// Whether a key signed a certificate that names it as its issuer.
fn issued(child: &Certificate, issuer: &Certificate) -> bool {
    child.names_as_issuer(issuer) != NameMatch::Different && may_have_signed(child, issuer)
}

impl UploadedCa {
    /// Its name in the instance after "as", or nothing.
    pub(super) fn label(&self) -> String {
        self.name.as_ref().map(|name| format!(" as `{}`", words::cut(name.clone()))).unwrap_or_default()
    }

    /// What is to be said of it where it is not verified. `subject` is its subject in a sentence.
    pub(super) fn unverified_finding(&self, subject: &str, groups: &[String]) -> Finding {
        let label = self.label();
        let hanging = match groups {
            [] => "no group is on it or below it".to_owned(),
            groups => format!("on it hangs {}", words::listed(groups)),
        };
        let evidence = [words::key_id(&self.certificate), hanging.clone()];
        let finding = if self.state == CaState::CodePending {
            let message = format!(
                "{subject} is uploaded{label}, its verification code was never answered, and {hanging}"
            );
            let fix = format!(
                "answer the code with a certificate signed by the key of {subject}, or mark it verified on upload"
            );
            Finding::new(Code::CaCodePending, message, fix)
        } else {
            let message = format!("{subject} is uploaded{label} and not verified, and {hanging}");
            let fix = format!(
                "verify {subject}: prove possession of its key, or upload it again marked as verified"
            );
            Finding::new(Code::CaUnverified, message, fix)
        };
        finding.seen_by(evidence)
    }
}
