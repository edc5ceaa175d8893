//! From a checked scenario to who makes an attempt: devices by index, good ones and bad ones in their places.
//!
//! Pure but for reading what the scenario names: a CA's files, or a directory of identities. The moment and the
//! seed are arguments.

use crate::exit::Failure;
use scenarios::{Authority, Scenario, Template};
use sim_identity::fleet::FleetPlan;
use sim_identity::{Defect, DeviceIdentity, Fleet, Hierarchy, HierarchyPlan, Issuer, Seed};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// Which part of a run this process does: part `index` (from 0) of `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardOf {
    /// From 0.
    pub index: u64,
    /// At least 1.
    pub count: u64,
}

impl std::str::FromStr for ShardOf {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(i, n)| Some((i.parse::<u64>().ok()?, n.parse::<u64>().ok()?)));
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(ShardOf { index: index - 1, count }),
            _ => Err(format!("`{text}` is not a shard; write i/n with 1 <= i <= n, for instance 1/4")),
        }
    }
}

impl ShardOf {
    /// The whole run.
    pub const WHOLE: ShardOf = ShardOf { index: 0, count: 1 };

    /// How many of `devices` this part has.
    pub fn share(self, devices: u64) -> u64 {
        (devices + self.count - 1 - self.index) / self.count
    }

    /// The fleet index of this part's n-th device.
    pub fn device(self, position: u64) -> u64 {
        position * self.count + self.index
    }
}

/// Where bad devices stand among the good: spread evenly, the same in every run and shard.
#[derive(Clone, Debug, Default)]
pub struct Defects {
    places: HashMap<u64, Defect>,
}

impl Defects {
    /// Places the listed defects, each with how many devices have it, in a fleet of `devices`.
    pub fn spread(listed: &[(Defect, u64)], devices: u64) -> Self {
        let total: u64 = listed.iter().map(|(_, n)| n).sum();
        let each = listed.iter().flat_map(|&(defect, n)| (0..n).map(move |_| defect));
        // The middle of `total` equal stretches: strictly rising as long as there are no more defects than devices.
        let place = |k: u64| (u128::from(2 * k + 1) * u128::from(devices) / u128::from(2 * total)) as u64;
        Defects { places: each.zip(0..).map(|(defect, k)| (place(k), defect)).collect() }
    }

    /// The defect of a device, if it has one.
    pub fn of(&self, index: u64) -> Option<Defect> {
        self.places.get(&index).copied()
    }

    /// All bad devices, in no order.
    pub fn all(&self) -> impl Iterator<Item = (u64, Defect)> + '_ {
        self.places.iter().map(|(&index, &defect)| (index, defect))
    }
}

/// Where identities come from.
#[derive(Clone, Debug)]
enum Source {
    Minted(Box<Fleet>),
    Directory(PathBuf),
}

/// The devices of a run, by index.
#[derive(Clone, Debug)]
pub struct Devices {
    source: Source,
    template: Template,
    /// Bad devices.
    pub defects: Defects,
}

impl Devices {
    /// The device of an index, minted or read.
    pub fn device(&self, index: u64) -> Result<DeviceIdentity, Failure> {
        let id = self.template.registration_id(index).map_err(Failure::usage)?;
        match &self.source {
            Source::Minted(fleet) => fleet
                .device(index, id, self.defects.of(index))
                .map_err(|e| Failure::unexpected(format!("cannot mint device {index}: {e}"))),
            Source::Directory(directory) => read_device(directory, id),
        }
    }

    /// What a device registers as.
    pub fn registration_id(&self, index: u64) -> String {
        self.template.render(index)
    }

    /// Subjects of the CAs that good devices present, from the top down; empty for identities read from files.
    pub fn path(&self) -> Vec<String> {
        match &self.source {
            Source::Minted(fleet) => {
                let issuer = fleet.issuer();
                issuer.above().iter().rev().chain([issuer.certificate()]).map(|c| c.display_name()).collect()
            }
            Source::Directory(_) => Vec::new(),
        }
    }
}

fn read_device(directory: &Path, id: sim_protocol::RegistrationId) -> Result<DeviceIdentity, Failure> {
    let chain = directory.join(format!("{id}.chain.pem"));
    let key = directory.join(format!("{id}.key.pem"));
    crate::cli::read_identity(&chain, &key, Some(id))
}

/// The authority of a run: the tool's own hierarchy, or the user's CA.
#[derive(Clone, Debug)]
pub enum Ca {
    /// Made for this run.
    Minted(Hierarchy),
    /// The user's, with its key.
    Given(Arc<Issuer>),
    /// Nothing: identities come finished from a directory.
    None(PathBuf),
}

impl Ca {
    /// Makes or reads the authority; paths are taken relative to `base`, the scenario's directory.
    pub fn prepare(scenario: &Scenario, base: &Path, now: OffsetDateTime) -> Result<Self, Failure> {
        match &scenario.fleet.authority {
            Authority::Minted { intermediates, key } => {
                let plan =
                    HierarchyPlan { name: scenario.name.clone(), intermediates: *intermediates, key: *key };
                let made = Hierarchy::mint(&plan, &seed(scenario).child("authority"), now);
                made.map(Ca::Minted)
                    .map_err(|e| Failure::unexpected(format!("cannot mint the authorities: {e}")))
            }
            Authority::Files { certificate, key, chain } => {
                let chain = chain.as_ref().map(|c| base.join(c));
                let issuer =
                    crate::cli::read_issuer(&base.join(certificate), &base.join(key), chain.as_deref())?;
                Ok(Ca::Given(Arc::new(issuer)))
            }
            Authority::Directory { path } => Ok(Ca::None(base.join(path))),
        }
    }
}

/// The seed a scenario names.
pub fn seed(scenario: &Scenario) -> Seed {
    Seed::from_number(scenario.seed)
}

/// The devices of a scenario under its authority, with a line whose group is disabled where one was set up.
pub fn devices(
    scenario: &Scenario,
    ca: &Ca,
    disabled_line: Option<Arc<Issuer>>,
    now: OffsetDateTime,
) -> Result<Devices, Failure> {
    let fleet = &scenario.fleet;
    let issuer = match ca {
        Ca::Minted(hierarchy) => hierarchy.issuing().clone(),
        Ca::Given(issuer) => issuer.clone(),
        Ca::None(directory) => {
            let source = Source::Directory(directory.clone());
            return Ok(Devices {
                source,
                template: fleet.registration_id.clone(),
                defects: Defects::default(),
            });
        }
    };
    let plan = FleetPlan {
        key: fleet.key,
        key_pool: usize::try_from(fleet.key_pool).unwrap_or(usize::MAX),
        validity: Duration::try_from(fleet.validity).unwrap_or(Duration::days(30)),
    };
    let mut made = Fleet::new(&plan, issuer, seed(scenario).child("fleet"), now)
        .map_err(|e| Failure::usage(format!("cannot prepare the fleet: {e}")))?;
    if let Some(line) = disabled_line {
        made = made.with_disabled_line(line);
    }
    let listed: Vec<(Defect, u64)> = fleet.defects.iter().map(|d| (d.kind, d.devices)).collect();
    Ok(Devices {
        source: Source::Minted(Box::new(made)),
        template: fleet.registration_id.clone(),
        defects: Defects::spread(&listed, fleet.devices),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_partition_a_fleet() {
        for devices in [0, 1, 7, 100] {
            for count in [1, 2, 3, 8] {
                let mut all: Vec<u64> = (0..count)
                    .flat_map(|index| {
                        let shard = ShardOf { index, count };
                        (0..shard.share(devices)).map(move |p| shard.device(p))
                    })
                    .collect();
                all.sort_unstable();
                assert_eq!(all, (0..devices).collect::<Vec<_>>(), "{devices} over {count}");
            }
        }
    }

    #[test]
    fn shards_are_written_i_of_n() {
        assert_eq!("2/4".parse(), Ok(ShardOf { index: 1, count: 4 }));
        for bad in ["0/4", "5/4", "1", "a/b", "1/0", ""] {
            assert!(bad.parse::<ShardOf>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_listed_defect_gets_a_device_of_its_own() {
        for (devices, counts) in [(10_006, [1, 1, 4]), (6, [1, 2, 3]), (7, [1, 2, 3])] {
            let listed = [
                (Defect::LeafExpired, counts[0]),
                (Defect::CnMismatch, counts[1]),
                (Defect::LeafOnly, counts[2]),
            ];
            let placed = Defects::spread(&listed, devices);
            for (defect, count) in listed {
                let found = (0..devices).filter(|&i| placed.of(i) == Some(defect)).count() as u64;
                assert_eq!(found, count, "{defect} among {devices}");
            }
        }
        assert_eq!(Defects::spread(&[], 5).all().count(), 0);
    }
}
