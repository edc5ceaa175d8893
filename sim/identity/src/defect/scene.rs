//! What a defect consists of: who signs the leaf, what is sent after it, what the instance holds besides, and the
//! devices that come out of that.

use super::draft::{Ca, Draft, key_id};
use super::odd::OddKey;
use crate::certificate::Certificate;
use crate::fleet::DeviceIdentity;
use crate::issuer::IssueError;
use crate::key::{PrivateKey, Signer as _};
use crate::seed::Seed;
use rustls_pki_types::CertificateDer;
use sim_protocol::RegistrationId;
use std::sync::Arc;
use time::OffsetDateTime;

/// A CA certificate that the instance holds because of a defect.
#[derive(Clone, Debug)]
pub struct AddedCa {
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// Whether it is verified.
    pub verified: bool,
}

/// An enrollment group that the instance has because of a defect.
#[derive(Clone, Debug)]
pub struct AddedGroup {
    /// Its primary certificate.
    pub primary: Arc<Certificate>,
    /// Its secondary certificate.
    pub secondary: Option<Arc<Certificate>>,
    /// Whether it lets devices in.
    pub enabled: bool,
}

/// Which certificate a device's individual enrollment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldCertificate {
    /// The one that the device presents, as primary.
    Presented,
    /// An older one of the device.
    Older,
    /// The older one as primary, the one that the device presents as secondary.
    PresentedAsSecondary,
}

/// An individual enrollment that each device of a defect has.
#[derive(Clone, Copy, Debug)]
pub struct AddedIndividual {
    /// Which certificate it holds.
    pub holds: HeldCertificate,
    /// Whether it lets the device in.
    pub enabled: bool,
}

/// What a device's own certificate is taken for, that should be a CA's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenFor {
    /// It is uploaded as a CA certificate, and verified.
    VerifiedCa,
    /// It is the certificate of an enabled enrollment group.
    Group,
}

/// What the instance must hold for a defect, beside a verified root and an enabled group on the CA that issues
/// leaves.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// CA certificates.
    pub cas: Vec<AddedCa>,
    /// Enrollment groups.
    pub groups: Vec<AddedGroup>,
    /// An individual enrollment for each device.
    pub individual: Option<AddedIndividual>,
    /// What each device's own certificate is taken for.
    pub own_leaf: Option<TakenFor>,
}

impl Additions {
    /// Whether the instance needs nothing.
    pub fn is_empty(&self) -> bool {
        self.cas.is_empty() && self.groups.is_empty() && self.individual.is_none() && self.own_leaf.is_none()
    }
}

/// Where a device's serial number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SerialRule {
    /// Each device has its own.
    Own,
    /// The draft's, for all devices.
    Fixed,
    /// The draft's, with an ending of each device's own.
    Ending,
}

/// How a device's subject follows from its name.
pub(crate) type Subject = fn(&str) -> Vec<u8>;

/// The order of what is sent: from the leaf and what belongs after it.
pub(crate) type Arrange = fn(Vec<u8>, &[Vec<u8>]) -> Vec<Vec<u8>>;

/// Everything of a defect but its devices.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Signs the leaf.
    pub(crate) issuer: Arc<Ca>,
    /// The leaf is signed with its own key instead.
    pub(crate) self_signed: bool,
    /// The leaf; its subject and serial number are filled in for each device, unless they are part of the defect.
    pub(crate) leaf: Draft,
    /// What becomes of the draft's serial number.
    pub(crate) serial: SerialRule,
    /// Sent after the leaf, DER.
    pub(crate) above: Vec<Vec<u8>>,
    /// The order of what is sent.
    pub(crate) arrange: Arrange,
    /// The subject.
    pub(crate) subject: Subject,
    /// What the device registers as, where the defect decides that.
    pub(crate) rename: Option<fn(&str) -> String>,
    /// A kind of key that fleets do not have.
    pub(crate) leaf_key: Option<OddKey>,
    /// What the instance must hold besides.
    pub additions: Additions,
    /// As of when the chain is judged; none for the present.
    pub at: Option<OffsetDateTime>,
}

/// A device of a scene, and an older certificate of it.
#[derive(Clone, Debug)]
pub struct World {
    /// The device.
    pub device: DeviceIdentity,
    /// An earlier certificate of the same device, DER.
    pub older: Vec<u8>,
}

impl World {
    /// What the device presents first, DER: its leaf, unless the defect puts something else there.
    pub fn presented(&self) -> Vec<u8> {
        self.device.chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default()
    }

    /// The certificates that the device's individual enrollment holds, primary and secondary, DER.
    pub fn held(&self, holds: HeldCertificate) -> (Vec<u8>, Option<Vec<u8>>) {
        match holds {
            HeldCertificate::Presented => (self.presented(), None),
            HeldCertificate::Older => (self.older.clone(), None),
            HeldCertificate::PresentedAsSecondary => (self.older.clone(), Some(self.presented())),
        }
    }
}

/// The leaf, then what belongs after it.
pub(crate) fn leaf_first(leaf: Vec<u8>, above: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chain = vec![leaf];
    chain.extend_from_slice(above);
    chain
}

impl Scene {
    /// A device of this name and index. `key` is the one that a fleet gave it.
    ///
    /// # Errors
    /// When a key or certificate cannot be made, or the name does not fit the defect.
    pub fn device(
        &self,
        index: u64,
        registration_id: &RegistrationId,
        seed: &Seed,
        key: Arc<PrivateKey>,
    ) -> Result<World, IssueError> {
        let name = match self.rename {
            None => registration_id.as_str().to_owned(),
            Some(rename) => rename(registration_id.as_str()),
        };
        let key = match self.leaf_key {
            None => key,
            Some(odd) => Arc::new(odd.device_key(seed, index)?),
        };
        let mut draft = self.leaf.clone();
        draft.subject = (self.subject)(&name);
        let own = seed.serial("leaf", index);
        match self.serial {
            SerialRule::Own => draft.serial = own.to_vec(),
            SerialRule::Fixed => {}
            SerialRule::Ending => {
                draft.serial.iter_mut().rev().zip(own).take(8).for_each(|(octet, own)| *octet = own);
            }
        }
        let leaf = self.certify(&draft, &key)?;
        draft.serial = seed.serial("older leaf", index).to_vec();
        let older = self.certify(&draft, &key)?;
        let chain = (self.arrange)(leaf, &self.above).into_iter().map(CertificateDer::from).collect();
        let registration_id = RegistrationId::new(name.as_str()).unwrap_or_else(|_| registration_id.clone());
        Ok(World { device: DeviceIdentity { registration_id, chain, key }, older })
    }

    fn certify(&self, draft: &Draft, key: &PrivateKey) -> Result<Vec<u8>, IssueError> {
        if !self.self_signed {
            return self.issuer.issue(draft, key);
        }
        let public_key = key.public_key();
        draft.sign(&key.public_key_info(), public_key, key, &draft.subject, &key_id(public_key))
    }

    /// The same with another leaf.
    #[must_use]
    pub(crate) fn with_leaf(self, change: impl FnOnce(Draft) -> Draft) -> Self {
        Scene { leaf: change(self.leaf), ..self }
    }

    /// The same with an enabled group on this CA.
    #[must_use]
    pub(crate) fn with_group(mut self, on: &Ca) -> Self {
        let primary = on.certificate.clone();
        self.additions.groups.push(AddedGroup { primary, secondary: None, enabled: true });
        self
    }

    /// The same with this CA uploaded and verified.
    #[must_use]
    pub(crate) fn with_verified(mut self, ca: &Ca) -> Self {
        self.additions.cas.push(AddedCa { certificate: ca.certificate.clone(), verified: true });
        self
    }
}
