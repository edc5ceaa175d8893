//! Devices under an authority: a fleet is a seed, an authority and an index.
//!
//! Device *n* of the same seed has the same key and serial wherever and whenever it is minted, so shards and
//! repeated runs need no shared store. ECDSA signatures are randomised: the certificates' bytes differ.

use crate::defect::{Defect, Scene, World};
use crate::issuer::{IssueError, Issuer, Leaf};
use crate::key::{KeyAlgorithm, PrivateKey};
use crate::seed::Seed;
use rustls_pki_types::CertificateDer;
use sim_protocol::RegistrationId;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// One device as it goes to provisioning.
#[derive(Clone, Debug)]
pub struct DeviceIdentity {
    /// What it registers as.
    pub registration_id: RegistrationId,
    /// What it presents, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: Arc<PrivateKey>,
}

/// A source of devices.
#[derive(Clone, Debug)]
pub struct Fleet {
    seed: Seed,
    issuer: Arc<Issuer>,
    scenes: HashMap<Defect, Arc<Scene>>,
    above: Vec<CertificateDer<'static>>,
    keys: Keys,
    /// From when to when leaves are meant to be valid, whoever issues them.
    meant: Range<OffsetDateTime>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

#[derive(Clone, Debug)]
enum Keys {
    /// Every device its own.
    Unique(KeyAlgorithm),
    /// A declared number of keys, shared: RSA keys take 50 to 100 ms each to make, and more when repeatable.
    Pool(Arc<[Arc<PrivateKey>]>),
}

/// What a fleet's devices are like.
#[derive(Clone, Copy, Debug)]
pub struct FleetPlan {
    /// Key type of the leaves.
    pub key: KeyAlgorithm,
    /// How many keys an RSA fleet shares.
    pub key_pool: usize,
    /// Lifetime of the leaves; never beyond their issuer's.
    pub validity: Duration,
}

impl Default for FleetPlan {
    fn default() -> Self {
        FleetPlan { key: KeyAlgorithm::P256, key_pool: 8, validity: Duration::days(30) }
    }
}

impl Fleet {
    /// A fleet under `issuer` as of `now`. Leaves start a day back and end with their issuer at the latest.
    ///
    /// # Errors
    /// When a key cannot be derived, or the issuer's validity leaves no time.
    pub fn new(
        plan: &FleetPlan,
        issuer: Arc<Issuer>,
        seed: Seed,
        now: OffsetDateTime,
    ) -> Result<Self, IssueError> {
        let meant = now - Duration::DAY..now + plan.validity;
        let (not_before, not_after) = clamp(&issuer, &meant)?;
        let keys = match plan.key.rsa_bits() {
            None => Keys::Unique(plan.key),
            Some(_) => Keys::Pool(pool(&seed, plan.key, plan.key_pool.max(1))?),
        };
        let (above, scenes) = (presented(&issuer), HashMap::new());
        Ok(Fleet { above, scenes, seed, issuer, keys, meant, not_before, not_after })
    }

    /// The same devices with the same keys under another issuer, none of them defective: what was prepared for
    /// defects belongs to the issuer here.
    ///
    /// # Errors
    /// When that issuer's validity leaves no time.
    pub fn under(&self, issuer: Arc<Issuer>) -> Result<Self, IssueError> {
        let (not_before, not_after) = clamp(&issuer, &self.meant)?;
        let (above, scenes) = (presented(&issuer), HashMap::new());
        Ok(Fleet { above, scenes, issuer, not_before, not_after, ..self.clone() })
    }

    /// The same fleet, able to make devices with this defect: see [`Defect::scene`].
    #[must_use]
    pub fn with_scene(mut self, defect: Defect, scene: Arc<Scene>) -> Self {
        self.scenes.insert(defect, scene);
        self
    }

    /// What was prepared for a defect.
    pub fn scene(&self, defect: Defect) -> Option<&Arc<Scene>> {
        self.scenes.get(&defect)
    }

    /// What the device registers as that is to have this name: a defect may decide that.
    pub fn name(&self, wanted: String, defect: Option<Defect>) -> String {
        let scene = defect.and_then(|defect| self.scenes.get(&defect));
        let decided = scene.and_then(|scene| scene.rename).map(|rename| rename(&wanted));
        decided.filter(|name| RegistrationId::new(name.as_str()).is_ok()).unwrap_or(wanted)
    }

    /// The authority that issues the leaves.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Device `index`, good or with one defect.
    ///
    /// # Errors
    /// When its key or certificate cannot be made, or the defect was not prepared with [`Fleet::with_scene`].
    pub fn device(
        &self,
        index: u64,
        registration_id: RegistrationId,
        defect: Option<Defect>,
    ) -> Result<DeviceIdentity, IssueError> {
        match defect {
            None => self.good(index, registration_id),
            Some(defect) => Ok(self.defective(index, &registration_id, defect)?.device),
        }
    }

    /// Device `index` with a defect, and an older certificate of it. Its registration id is the defect's to decide.
    ///
    /// # Errors
    /// See [`Fleet::device`].
    pub fn defective(
        &self,
        index: u64,
        registration_id: &RegistrationId,
        defect: Defect,
    ) -> Result<World, IssueError> {
        let scene = self.scenes.get(&defect).ok_or(IssueError::Unprepared(defect.id()))?;
        scene.device(index, registration_id, &self.seed, self.key(index)?)
    }

    fn good(&self, index: u64, registration_id: RegistrationId) -> Result<DeviceIdentity, IssueError> {
        let key = self.key(index)?;
        let leaf = self.issuer.leaf(&Leaf {
            common_name: registration_id.as_str(),
            serial: &self.seed.serial("leaf", index),
            not_before: self.not_before,
            not_after: self.not_after,
            key: &key,
        })?;
        let mut chain = Vec::with_capacity(1 + self.above.len());
        chain.push(CertificateDer::from(leaf));
        chain.extend(self.above.iter().cloned());
        Ok(DeviceIdentity { registration_id, chain, key })
    }

    fn key(&self, index: u64) -> Result<Arc<PrivateKey>, IssueError> {
        match &self.keys {
            Keys::Unique(algorithm) => {
                Ok(Arc::new(PrivateKey::derive(&self.seed, "device", index, *algorithm)?))
            }
            Keys::Pool(pool) => {
                let slot = usize::try_from(index % pool.len() as u64).unwrap_or(0);
                Ok(pool[slot].clone())
            }
        }
    }
}

/// What devices of an issuer present after their leaf: the issuer and what lies above it.
fn presented(issuer: &Issuer) -> Vec<CertificateDer<'static>> {
    let above = std::iter::once(issuer.certificate()).chain(issuer.above());
    above.map(|c| CertificateDer::from(c.der().to_vec())).collect()
}

fn clamp(
    issuer: &Issuer,
    meant: &Range<OffsetDateTime>,
) -> Result<(OffsetDateTime, OffsetDateTime), IssueError> {
    let certificate = issuer.certificate();
    let first = OffsetDateTime::from_unix_timestamp(certificate.not_before()).unwrap_or(meant.start);
    let (start, end) = (meant.start.max(first), meant.end.min(certificate.expiry()));
    if start >= end {
        return Err(IssueError::OutsideIssuer {
            issuer: certificate.subject(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        });
    }
    Ok((start, end))
}

/// Keys in parallel: each takes a good part of a second.
fn pool(seed: &Seed, algorithm: KeyAlgorithm, size: usize) -> Result<Arc<[Arc<PrivateKey>]>, IssueError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(size);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let mine = || {
        let mut made = Vec::new();
        loop {
            let slot = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if slot >= size {
                return Ok(made);
            }
            made.push((slot, Arc::new(PrivateKey::derive(seed, "pool", slot as u64, algorithm)?)));
        }
    };
    let made = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(mine)).collect();
        let joined = handles
            .into_iter()
            .map(|h| h.join().unwrap_or(Err(crate::key::KeyFault::Provider("derive an RSA key"))));
        joined.collect::<Result<Vec<_>, _>>()
    })?;
    let mut keys: Vec<_> = made.into_iter().flatten().collect();
    keys.sort_by_key(|(slot, _)| *slot);
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Hierarchy, HierarchyPlan};
    use crate::certificate::Certificate;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

    fn issuer(seed: u64, intermediates: u8, now: OffsetDateTime) -> Arc<Issuer> {
        let plan = HierarchyPlan { name: "test".into(), intermediates, key: KeyAlgorithm::P256 };
        Hierarchy::mint(&plan, &Seed::from_number(seed), now).expect("a hierarchy").issuing().clone()
    }

    #[test]
    fn a_device_moves_to_another_issuer_with_its_key_and_serial_number() {
        for key in [KeyAlgorithm::P256, KeyAlgorithm::Rsa2048] {
            let plan = FleetPlan { key, key_pool: 1, ..FleetPlan::default() };
            let here = Fleet::new(&plan, issuer(1, 1, NOW), Seed::from_number(7), NOW).expect("a fleet");
            let there = here.under(issuer(2, 2, NOW)).expect("a fleet");
            let [one, other] = [&here, &there].map(|fleet| {
                let id = RegistrationId::new("dev-3").expect("a good id");
                let device = fleet.device(3, id, None).expect("a device");
                assert_eq!(device.chain.len(), 2 + fleet.issuer().above().len());
                let leaf = Certificate::from_der(device.chain[0].to_vec()).expect("a leaf");
                leaf.verify_signed_by(fleet.issuer().certificate()).expect("signed by its issuer");
                leaf
            });
            assert_eq!((one.public_key(), one.serial()), (other.public_key(), other.serial()));
            assert_eq!((one.not_before(), one.not_after()), (other.not_before(), other.not_after()));
        }
    }

    #[test]
    fn an_issuer_that_leaves_its_devices_no_time_is_refused() {
        let plan = FleetPlan::default();
        let here = Fleet::new(&plan, issuer(1, 1, NOW), Seed::from_number(7), NOW).expect("a fleet");
        let later = issuer(2, 1, NOW + plan.validity + Duration::days(2));
        assert!(matches!(here.under(later), Err(IssueError::OutsideIssuer { .. })));
    }
}
