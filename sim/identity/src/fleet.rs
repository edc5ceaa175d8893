//! Devices under an authority: a fleet is a seed, an authority and an index.
//!
//! Device *n* of the same seed has the same key and serial wherever and whenever it is minted, so shards and
//! repeated runs need no shared store. ECDSA signatures are randomised: the certificates' bytes differ.

use crate::defect::Defect;
use crate::issuer::{IssueError, Issuer, Leaf};
use crate::key::{KeyAlgorithm, PrivateKey};
use crate::seed::Seed;
use rustls_pki_types::CertificateDer;
use sim_protocol::RegistrationId;
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
    disabled_line: Option<Arc<Issuer>>,
    above: Vec<CertificateDer<'static>>,
    keys: Keys,
    impostor: Arc<Issuer>,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    now: OffsetDateTime,
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
        let (not_before, not_after) = clamp(&issuer, now - Duration::DAY, now + plan.validity)?;
        let keys = match plan.key.rsa_bits() {
            None => Keys::Unique(plan.key),
            Some(_) => Keys::Pool(pool(&seed, plan.key, plan.key_pool.max(1))?),
        };
        let other = PrivateKey::derive(&seed, "impostor", 0, KeyAlgorithm::P256)?;
        let above = std::iter::once(issuer.certificate()).chain(issuer.above());
        Ok(Fleet {
            above: above.map(|c| CertificateDer::from(c.der().to_vec())).collect(),
            impostor: Arc::new(issuer.impostor(other)),
            disabled_line: None,
            seed,
            issuer,
            keys,
            not_before,
            not_after,
            now,
        })
    }

    /// The same fleet, with a line whose group is disabled, for [`Defect::GroupDisabled`].
    #[must_use]
    pub fn with_disabled_line(self, line: Arc<Issuer>) -> Self {
        Fleet { disabled_line: Some(line), ..self }
    }

    /// The authority that issues the leaves.
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Device `index`, good or with one defect.
    pub fn device(
        &self,
        index: u64,
        registration_id: RegistrationId,
        defect: Option<Defect>,
    ) -> Result<DeviceIdentity, IssueError> {
        let key = self.key(index)?;
        let line = match (defect, &self.disabled_line) {
            (Some(Defect::GroupDisabled), Some(line)) => line,
            (Some(Defect::SameNameOtherKey), _) => &self.impostor,
            _ => &self.issuer,
        };
        let other_name = format!("other-{index}");
        let (not_before, not_after) = match defect {
            Some(Defect::LeafExpired) => (self.now - Duration::DAY, self.now - Duration::HOUR),
            Some(Defect::LeafNotYetValid) => (self.now + Duration::DAY, self.now + Duration::DAY * 2),
            _ => (self.not_before, self.not_after),
        };
        let leaf = line.leaf(&Leaf {
            common_name: if defect == Some(Defect::CnMismatch) {
                &other_name
            } else {
                registration_id.as_str()
            },
            serial: &self.seed.serial("leaf", index),
            not_before,
            not_after,
            key: &key,
            ca: defect == Some(Defect::LeafCaTrue),
        })?;
        let chain = self.chain(CertificateDer::from(leaf), defect);
        Ok(DeviceIdentity { registration_id, chain, key })
    }

    fn chain(&self, leaf: CertificateDer<'static>, defect: Option<Defect>) -> Vec<CertificateDer<'static>> {
        let mut chain = Vec::with_capacity(1 + self.above.len());
        chain.push(leaf);
        match (defect, &self.disabled_line) {
            (Some(Defect::LeafOnly), _) => {}
            (Some(Defect::GroupDisabled), Some(line)) => {
                let above = std::iter::once(line.certificate()).chain(line.above());
                chain.extend(above.map(|c| CertificateDer::from(c.der().to_vec())));
            }
            _ => chain.extend(self.above.iter().cloned()),
        }
        chain
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

fn clamp(
    issuer: &Issuer,
    start: OffsetDateTime,
    end: OffsetDateTime,
) -> Result<(OffsetDateTime, OffsetDateTime), IssueError> {
    let certificate = issuer.certificate();
    let first = OffsetDateTime::from_unix_timestamp(certificate.not_before()).unwrap_or(start);
    let (start, end) = (start.max(first), end.min(certificate.expiry()));
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
