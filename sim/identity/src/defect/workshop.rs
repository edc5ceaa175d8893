//! Where defects are made: a root, the CA that issues a line's leaves, and CAs that are wrong on purpose.
//!
//! A workshop stands on authorities that a fleet has already, or on its own.

use super::draft::{Ca, Draft};
use super::scene::{Additions, Scene, SerialRule, leaf_first};
use crate::authority::{Hierarchy, HierarchyPlan};
use crate::certificate::Certificate;
use crate::der;
use crate::issuer::{IssueError, Issuer};
use crate::key::{KeyAlgorithm, PrivateKey, Signer};
use crate::seed::Seed;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// Authorities to go wrong under.
#[derive(Clone, Debug)]
pub struct Workshop {
    root: Arc<Ca>,
    factory: Arc<Ca>,
    /// Whether the root is known to be the one that is verified.
    rooted: bool,
    /// What a device of the factory sends after its leaf, nearest first.
    above: Vec<Arc<Certificate>>,
    seed: Seed,
    now: OffsetDateTime,
}

impl Workshop {
    /// A workshop under authorities that exist: `root` is the one that is verified, `factory` issues the leaves;
    /// they may be the same.
    pub fn under(root: &Issuer, factory: &Issuer, seed: &Seed, now: OffsetDateTime) -> Self {
        let ca = |issuer: &Issuer| {
            Arc::new(Ca { certificate: issuer.certificate().clone(), signer: issuer.signer().clone() })
        };
        let above = std::iter::once(factory.certificate()).chain(factory.above()).cloned().collect();
        Workshop { root: ca(root), factory: ca(factory), rooted: true, above, seed: seed.clone(), now }
    }

    /// A workshop under one CA, of which nobody says whether it is verified itself or something above it.
    pub fn below(ca: &Issuer, seed: &Seed, now: OffsetDateTime) -> Self {
        Workshop { rooted: ca.certificate().is_self_issued(), ..Self::under(ca, ca, seed, now) }
    }

    /// A workshop with a root and a factory CA of its own, P-256.
    ///
    /// # Errors
    /// When they cannot be minted.
    pub fn own(seed: &Seed, now: OffsetDateTime) -> Result<(Self, Hierarchy), IssueError> {
        // Two intermediates would forbid CAs below the second; the factory is the first of them.
        let plan = HierarchyPlan { name: "matrix".into(), intermediates: 1, key: KeyAlgorithm::P256 };
        let hierarchy = Hierarchy::mint(&plan, &seed.child("authorities"), now)?;
        Ok((Self::under(hierarchy.root(), hierarchy.issuing(), seed, now), hierarchy))
    }

    /// The verified root.
    pub(crate) fn root(&self) -> &Arc<Ca> {
        &self.root
    }

    /// The CA that issues the leaves; an enabled group is on it.
    pub(crate) fn factory(&self) -> &Arc<Ca> {
        &self.factory
    }

    /// The moment of minting.
    pub(crate) fn now(&self) -> OffsetDateTime {
        self.now
    }

    /// The randomness.
    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    /// A P-256 key that belongs to this label.
    pub(crate) fn key(&self, label: &str) -> Result<Arc<dyn Signer>, IssueError> {
        Ok(Arc::new(PrivateKey::derive(&self.seed, label, 0, KeyAlgorithm::P256)?))
    }

    /// `O=rollcall, CN=label` with the mark of this workshop, so that no two CAs share a name by accident.
    pub(crate) fn ca_name(&self, label: &str) -> Vec<u8> {
        let mark: String = self.seed.draw("mark", 0, 0)[..4].iter().map(|b| format!("{b:02x}")).collect();
        der::name(&[
            (der::oid::ORGANIZATION, der::UTF8_STRING, b"rollcall"),
            (der::oid::COMMON_NAME, der::UTF8_STRING, format!("{label} {mark}").as_bytes()),
        ])
    }

    /// A CA's draft, backdated by a day and valid for ten years.
    pub(crate) fn ca_draft(&self, label: &str) -> Draft {
        let life = (self.now - Duration::DAY, self.now + Duration::days(3650));
        Draft::ca(self.ca_name(label), self.seed.serial(label, 0).to_vec(), life)
    }

    /// A leaf's draft, backdated by a day and valid for thirty; subject and serial number come with the device.
    pub(crate) fn leaf_draft(&self) -> Draft {
        let life = (self.now - Duration::DAY, self.now + Duration::days(30));
        Draft::leaf(Vec::new(), Vec::new(), life)
    }

    /// A self-signed root of its own, as its draft says, with its own key.
    pub(crate) fn own_root(
        &self,
        label: &str,
        change: impl FnOnce(Draft) -> Draft,
    ) -> Result<Arc<Ca>, IssueError> {
        self.self_signed(&change(self.ca_draft(label)), self.key(label)?)
    }

    /// A root from a draft and a key.
    pub(crate) fn self_signed(&self, draft: &Draft, key: Arc<dyn Signer>) -> Result<Arc<Ca>, IssueError> {
        let public_key = key.public_key();
        let id = super::draft::key_id(&public_key);
        let written = draft.sign(&key.public_key_info(), &public_key, &*key, &draft.subject, &id)?;
        Ok(Arc::new(Ca { certificate: Arc::new(Certificate::from_der(written)?), signer: key }))
    }

    /// A CA below another, as its draft says, with its own key.
    pub(crate) fn ca(
        &self,
        parent: &Ca,
        label: &str,
        change: impl FnOnce(Draft) -> Draft,
    ) -> Result<Arc<Ca>, IssueError> {
        self.ca_of(parent, &change(self.ca_draft(label)), self.key(label)?)
    }

    /// A CA below another from a draft and a key.
    pub(crate) fn ca_of(
        &self,
        parent: &Ca,
        draft: &Draft,
        key: Arc<dyn Signer>,
    ) -> Result<Arc<Ca>, IssueError> {
        let written = parent.issue(draft, &*key)?;
        Ok(Arc::new(Ca { certificate: Arc::new(Certificate::from_der(written)?), signer: key }))
    }

    /// A good scene: leaves of the factory, sent with everything above them.
    pub(crate) fn good(&self) -> Scene {
        let above = self.above.iter().map(|c| c.der().to_vec()).collect();
        Scene { above, ..self.scene(self.factory(), &[]) }
    }

    /// Leaves of `issuer`, sent with these CAs after them, nearest first.
    pub(crate) fn scene(&self, issuer: &Arc<Ca>, above: &[&Ca]) -> Scene {
        Scene {
            issuer: issuer.clone(),
            self_signed: false,
            leaf: self.leaf_draft(),
            serial: SerialRule::Own,
            above: above.iter().map(|ca| ca.certificate.der().to_vec()).collect(),
            arrange: leaf_first,
            subject: der::common_name,
            rename: None,
            leaf_key: None,
            additions: Additions::default(),
            at: None,
        }
    }

    /// Whether a CA may stand below the verified root: its path length may forbid that.
    pub(crate) fn has_room(&self, below: u32) -> bool {
        let limit = self.root.certificate.basic_constraints().and_then(|b| b.path_length);
        limit.is_none_or(|limit| below <= limit)
    }

    /// Refuses to go on where the verified root does not allow this many CAs one below the other.
    pub(crate) fn require_room(&self, below: u32) -> Result<(), IssueError> {
        if self.has_room(below) {
            return Ok(());
        }
        Err(IssueError::NoRoom { issuer: self.root.certificate.subject() })
    }

    /// A CA right below the verified root, which allows one, as its draft says.
    pub(crate) fn line(
        &self,
        label: &str,
        change: impl FnOnce(Draft) -> Draft,
    ) -> Result<Arc<Ca>, IssueError> {
        self.require_room(1)?;
        self.ca(&self.root, label, change)
    }

    /// Leaves of a CA right below the verified root, which has a group, sent with it and the root.
    pub(crate) fn below_root(&self, line: &Arc<Ca>) -> Scene {
        self.scene(line, &[line, self.root()]).with_group(line)
    }

    /// Leaves of a CA that is not verified, sent alone.
    pub(crate) fn leaf_alone(&self, label: &str) -> Result<Scene, IssueError> {
        if self.factory.certificate != self.root.certificate || !self.rooted {
            return Ok(self.scene(&self.factory, &[]));
        }
        let line = self.line(label, |d| d)?;
        Ok(self.scene(&line, &[]).with_group(&line))
    }

    /// Another device of the factory, whose key may be abused as a CA's.
    pub(crate) fn other_device(&self, label: &str) -> Result<Arc<Ca>, IssueError> {
        let serial = self.seed.serial(label, 0).to_vec();
        let draft = Draft { subject: der::common_name(label), serial, ..self.leaf_draft() };
        self.ca_of(&self.factory, &draft, self.key(label)?)
    }
}
