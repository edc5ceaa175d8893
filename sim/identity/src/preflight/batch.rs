//! What many devices have in common and should not: a serial number of one issuer, a key, a name.

use super::{Code, Finding, Severity};
use crate::certificate::{Certificate, CommonName, sha256};
use std::collections::HashSet;

/// Remembers the leaves of a batch, 32 bytes for each and at most 64 while its lists grow: 64 bits of SHA-256 over
/// the certificate and over each thing that must be a device's own.
///
/// Two devices that share nothing are taken for twins with a chance of about n²/2⁶⁵ for each of the four kinds
/// among n devices: 3 in 100 million for a million of them. Who wants such a pair on purpose computes 2³² hashes for
/// it, and gains no more than a wrong finding about his own devices.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    certificates: Vec<u64>,
    serials: Vec<u64>,
    keys: Vec<u64>,
    names: Vec<u64>,
}

/// Devices that share what only one may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twin {
    /// `serial-duplicate`, `key-duplicate` or `cn-collision`.
    pub code: Code,
    /// They are one certificate, so one device that is listed twice: `serial-duplicate`, and merely worth knowing.
    pub same_certificate: bool,
    /// The places of two of them in the batch, from 0, in the order in which they were added.
    pub pair: (u64, u64),
    /// How many devices share theirs with another one.
    pub devices: u64,
}

/// What stands for something that is not compared: the name of a device that has none, all of a CA.
const NOTHING: u64 = 0;

impl Batch {
    /// Adds the next device's leaf. A CA's certificate takes a place and is compared with nothing: it may well come
    /// first in many files.
    pub fn add(&mut self, leaf: &Certificate) {
        if leaf.is_ca() {
            for list in [&mut self.certificates, &mut self.serials, &mut self.keys, &mut self.names] {
                list.push(NOTHING);
            }
            return;
        }
        self.certificates.push(short_hash(&[leaf.der()]));
        self.serials.push(short_hash(&[leaf.issuer_der(), leaf.serial()]));
        self.keys.push(short_hash(&[leaf.key_algorithm(), leaf.public_key()]));
        self.names.push(match leaf.common_name() {
            CommonName::One(name) => short_hash(&[name.to_ascii_lowercase().as_bytes()]),
            CommonName::Missing | CommonName::Several(_) | CommonName::Undecodable => NOTHING,
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

    /// What some of them share, at most one of each kind, and one for certificates that are there twice; these are
    /// otherwise one device. Takes 24 more bytes for each device while it runs.
    pub fn twins(&self) -> Vec<Twin> {
        let kinds = [
            (Code::SerialDuplicate, &self.serials),
            (Code::KeyDuplicate, &self.keys),
            (Code::CnCollision, &self.names),
        ];
        let listed_twice = self.repeated();
        listed_twice
            .into_iter()
            .chain(kinds.into_iter().filter_map(|(code, hashes)| self.twins_among(code, hashes)))
            .collect()
    }

    /// The same as findings, in the same order. `label` names the device in a place of the batch.
    pub fn findings(&self, label: impl Fn(u64) -> String) -> Vec<Finding> {
        self.twins().iter().map(|twin| self.finding(twin, &label)).collect()
    }

    fn finding(&self, twin: &Twin, label: &impl Fn(u64) -> String) -> Finding {
        let (a, b) = (label(twin.pair.0), label(twin.pair.1));
        if twin.same_certificate {
            let message = format!("the same certificate appears twice, as `{a}` and as `{b}`");
            let fix = "nothing to repair if one device is listed twice; else give each its own certificate";
            let shared = format!("{} of {} chains repeat a certificate", twin.devices, self.len());
            return Finding::new(twin.code, message, fix).at(Severity::Info).seen_by([shared]);
        }
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
                "have CNs that are one registration id to the service",
                "give each device a name of its own; letter case does not tell names apart",
            ),
        };
        let shared = format!("{} of {} devices share theirs with another one", twin.devices, self.len());
        Finding::new(twin.code, format!("`{a}` and `{b}` {what}"), fix).seen_by([shared])
    }

    /// Certificates that were added more than once.
    fn repeated(&self) -> Option<Twin> {
        let sorted = self.sorted(&self.certificates);
        let groups = || shared(&sorted);
        let pair = groups().filter_map(|group| Some((group.first()?.1, group.get(1)?.1))).min()?;
        let devices = groups().map(|group| group.len() as u64).sum();
        Some(Twin { code: Code::SerialDuplicate, same_certificate: true, pair, devices })
    }

    /// Different certificates that have one of these hashes in common.
    fn twins_among(&self, code: Code, hashes: &[u64]) -> Option<Twin> {
        let sorted = self.sorted(hashes);
        let other = |group: &[Place]| {
            let first = group.first()?;
            let second = group.iter().find(|place| place.2 != first.2)?;
            Some((first.1, second.1))
        };
        let pair = shared(&sorted).filter_map(other).min()?;
        let different = |group: &[Place]| group.iter().map(|place| place.2).collect::<HashSet<_>>().len();
        let devices =
            shared(&sorted).map(different).filter(|&count| count > 1).map(|count| count as u64).sum();
        Some(Twin { code, same_certificate: false, pair, devices })
    }

    fn sorted(&self, hashes: &[u64]) -> Vec<Place> {
        let places = hashes.iter().zip(0..).zip(&self.certificates);
        let compared = places.filter(|((hash, _), _)| **hash != NOTHING);
        let mut sorted: Vec<Place> =
            compared.map(|((hash, at), certificate)| (*hash, at, *certificate)).collect();
        sorted.sort_unstable();
        sorted
    }
}

/// What is compared, where in the batch, and the hash of the certificate there.
type Place = (u64, u64, u64);

/// The places that have what is compared in common with another one.
fn shared(sorted: &[Place]) -> impl Iterator<Item = &[Place]> {
    sorted.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1)
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
