//! What many devices have in common and should not: a serial number of one issuer, a key, a name.

use super::{Code, Finding};
use crate::certificate::{Certificate, CommonName, sha256};

/// Remembers the leaves of a batch, 24 bytes for each and at most 48 while its lists grow: 64 bits of SHA-256 over
/// each thing that must be a device's own.
///
/// Two devices that share nothing are taken for twins with a chance of about n²/2⁶⁵ for each of the three kinds
/// among n devices: 3 in 100 million for a million of them. Who wants such a pair on purpose computes 2³² hashes for
/// it, and gains no more than a wrong finding about his own devices.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    serials: Vec<u64>,
    keys: Vec<u64>,
    names: Vec<u64>,
}

/// Devices that share what only one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// `serial-duplicate`, `key-duplicate` or `cn-collision`.
    pub code: Code,
    /// The places of two of them in the batch, from 0, in the order in which they were added.
    pub pair: (u64, u64),
    /// How many devices share theirs with another one.
    pub devices: u64,
}

/// What stands for a device without a name.
const NAMELESS: u64 = 0;

impl Batch {
    /// Adds the next device's leaf.
    pub fn add(&mut self, leaf: &Certificate) {
        self.serials.push(short_hash(&[leaf.issuer_der(), leaf.serial()]));
        self.keys.push(short_hash(&[leaf.key_algorithm(), leaf.public_key()]));
        self.names.push(match leaf.common_name() {
            CommonName::One(name) => short_hash(&[name.to_ascii_lowercase().as_bytes()]),
            CommonName::Missing | CommonName::Several(_) | CommonName::Undecodable => NAMELESS,
        });
    }

    /// How many were added.
    pub fn len(&self) -> usize {
        self.serials.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.serials.is_empty()
    }

    /// What some of them share, at most one of each kind. Takes 16 more bytes for each device while it runs.
    pub fn twins(&self) -> Vec<Twin> {
        let kinds = [
            (Code::SerialDuplicate, &self.serials),
            (Code::KeyDuplicate, &self.keys),
            (Code::CnCollision, &self.names),
        ];
        kinds.into_iter().filter_map(|(code, hashes)| twins_among(code, hashes)).collect()
    }

    /// The same as findings. `label` names the device in a place of the batch.
    pub fn findings(&self, label: impl Fn(u64) -> String) -> Vec<Finding> {
        let told = self.twins().into_iter().map(|twin| {
            let (a, b) = (label(twin.pair.0), label(twin.pair.1));
            let (what, fix) = match twin.code {
                Code::SerialDuplicate => (
                    "have the same issuer and serial number",
                    "reissue one of them; use 16 random bytes with the top bit clear as serial numbers",
                ),
                Code::KeyDuplicate => (
                    "have the same key: whoever holds one can be the other",
                    "give each device a key of its own and reissue its certificate",
                ),
                _ => (
                    "have the same CN but for letter case, and so are one registration to the service",
                    "give each device a name of its own; letter case does not tell names apart",
                ),
            };
            let shared = format!("{} of {} devices share theirs with another one", twin.devices, self.len());
            Finding::new(twin.code, format!("`{a}` and `{b}` {what}"), fix).seen_by([shared])
        });
        told.collect()
    }
}

fn twins_among(code: Code, hashes: &[u64]) -> Option<Twin> {
    let mut sorted: Vec<(u64, u64)> =
        hashes.iter().copied().zip(0..).filter(|(h, _)| *h != NAMELESS).collect();
    sorted.sort_unstable();
    let shared = || sorted.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1);
    let pair = shared().filter_map(|group| Some((group.first()?.1, group.get(1)?.1))).min()?;
    Some(Twin { code, pair, devices: shared().map(|group| group.len() as u64).sum() })
}

/// The first 64 bits of SHA-256 over the parts, each with its length.
fn short_hash(parts: &[&[u8]]) -> u64 {
    let mut bytes = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&sha256(&bytes)[..8]);
    u64::from_be_bytes(first)
}
