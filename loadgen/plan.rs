//! From a checked scenario to who makes an attempt: devices by index, good ones and bad ones in their places.
//!
//! Pure but for reading what the scenario names: a CA's files, or a directory of identities. The moment and the
//! seed are arguments.

use crate::exit::Failure;
use scenarios::{Authority, GroupOn, Scenario, Target, Template};
use sim_identity::defect::{Expected, Scene, Workshop, World};
use sim_identity::fleet::FleetPlan;
use sim_identity::{Defect, DeviceIdentity, Fleet, Hierarchy, HierarchyPlan, IssueError, Issuer, Seed};
use std::collections::{BTreeMap, HashMap};
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

/// What is meant to become of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is let in.
    Assigned,
    /// It is told that it is disabled.
    Disabled,
    /// It is refused.
    Refused,
}

/// The devices of a run, by index.
#[derive(Clone, Debug)]
pub struct Devices {
    source: Source,
    template: Template,
    /// Bad devices.
    pub defects: Defects,
    /// Devices of this part whose own certificates the instance holds: those are kept, because a certificate that is
    /// signed again is another one.
    known: BTreeMap<u64, World>,
}

impl Devices {
    /// The device of an index, minted or read.
    pub fn device(&self, index: u64) -> Result<DeviceIdentity, Failure> {
        if let Some(world) = self.known.get(&index) {
            return Ok(world.device.clone());
        }
        let id = self.template.registration_id(index).map_err(Failure::usage)?;
        match &self.source {
            Source::Minted(fleet) => {
                fleet.device(index, id, self.defects.of(index)).map_err(|fault| unminted(index, &fault))
            }
            Source::Directory(directory) => read_device(directory, id),
        }
    }

    /// What a device registers as.
    pub fn registration_id(&self, index: u64) -> String {
        let name = self.template.render(index);
        match &self.source {
            Source::Minted(fleet) => fleet.name(name, self.defects.of(index)),
            Source::Directory(_) => name,
        }
    }

    /// Whether they are made for the run, rather than read.
    pub fn is_minted(&self) -> bool {
        matches!(self.source, Source::Minted(_))
    }

    /// What was prepared for a defect.
    pub fn scene(&self, defect: Defect) -> Option<&Scene> {
        match &self.source {
            Source::Minted(fleet) => fleet.scene(defect).map(|scene| &**scene),
            Source::Directory(_) => None,
        }
    }

    /// The devices of this part whose own certificates the instance is to hold, in the order of their indices.
    pub fn known(&self) -> impl Iterator<Item = (Defect, &World)> {
        self.known.iter().filter_map(|(&index, world)| Some((self.defects.of(index)?, world)))
    }

    /// What is meant to become of a device that is good, or has this defect. `admits` says whether good devices
    /// are let in; if not, nothing is verified, and only an individual enrollment still counts.
    pub fn fate(&self, defect: Option<Defect>, admits: bool) -> Fate {
        let Some(defect) = defect else {
            return if admits { Fate::Assigned } else { Fate::Refused };
        };
        let individual = self.scene(defect).is_some_and(|scene| scene.additions.individual.is_some());
        if !admits && !individual {
            return Fate::Refused;
        }
        fate_of(defect)
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

fn fate_of(defect: Defect) -> Fate {
    match defect.expected() {
        Expected::Accept => Fate::Assigned,
        Expected::Disabled => Fate::Disabled,
        Expected::Refused(_) | Expected::Proven | Expected::NotProven => Fate::Refused,
    }
}

fn unminted(index: u64, fault: &IssueError) -> Failure {
    Failure::unexpected(format!("cannot mint device {index}: {fault}"))
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
                let key = crate::cli::ca_key::of_scenario(base, key)?;
                let issuer = crate::cli::read_issuer(&base.join(certificate), &key, chain.as_deref())?;
                Ok(Ca::Given(Arc::new(issuer)))
            }
            Authority::Directory { path } => Ok(Ca::None(base.join(path))),
        }
    }
}

/// Who of an authority does what in an instance.
#[derive(Clone, Copy, Debug)]
pub struct Roles<'a> {
    /// The CA that is uploaded and verified.
    pub top: &'a Arc<Issuer>,
    /// The CA that issues the leaves.
    pub issuing: &'a Arc<Issuer>,
}

impl<'a> Roles<'a> {
    /// The CA that the fleet's group is on.
    pub fn member(self, on: GroupOn) -> &'a Arc<Issuer> {
        if on == GroupOn::Root { self.top } else { self.issuing }
    }
}

impl Ca {
    /// Who does what; none where there is no CA at hand.
    pub fn roles(&self) -> Option<Roles<'_>> {
        match self {
            Ca::Minted(hierarchy) => Some(Roles { top: hierarchy.root(), issuing: hierarchy.issuing() }),
            Ca::Given(issuer) => Some(Roles { top: issuer, issuing: issuer }),
            Ca::None(_) => None,
        }
    }
}

/// The seed a scenario names.
pub fn seed(scenario: &Scenario) -> Seed {
    Seed::from_number(scenario.seed)
}

/// The devices of a scenario under its authority. Those of this part that the instance is to know are minted.
///
/// # Errors
/// Usage, when a defect is not possible under the authority, or takes a state of the service that is not the run's
/// to set up.
pub fn devices(
    scenario: &Scenario,
    ca: &Ca,
    shard: ShardOf,
    now: OffsetDateTime,
) -> Result<Devices, Failure> {
    let fleet = &scenario.fleet;
    let template = fleet.registration_id.clone();
    let roles = match (ca, ca.roles()) {
        (_, Some(roles)) => roles,
        (Ca::None(directory), None) => {
            let source = Source::Directory(directory.clone());
            let (defects, known) = (Defects::default(), BTreeMap::new());
            return Ok(Devices { source, template, defects, known });
        }
        (_, None) => return Err(Failure::unexpected("an authority without a CA")),
    };
    let plan = FleetPlan {
        key: fleet.key,
        key_pool: usize::try_from(fleet.key_pool).unwrap_or(usize::MAX),
        validity: Duration::try_from(fleet.validity).unwrap_or(Duration::days(30)),
    };
    let mut made = Fleet::new(&plan, roles.issuing.clone(), seed(scenario).child("fleet"), now)
        .map_err(|e| Failure::usage(format!("cannot prepare the fleet: {e}")))?;
    let workshop = Workshop::under(roles.top, roles.issuing, &seed(scenario).child("defects"), now);
    let listed: Vec<(Defect, u64)> = fleet.defects.iter().map(|d| (d.kind, d.devices)).collect();
    for &(defect, _) in &listed {
        let scene = scene(defect, &workshop)?;
        made = made.with_scene(defect, Arc::new(scene));
        if matches!(scenario.target, Target::Service(_)) {
            refuse_additions(defect, &made)?;
        }
    }
    let defects = Defects::spread(&listed, fleet.devices);
    let known = known(&made, &template, &defects, shard)?;
    Ok(Devices { source: Source::Minted(Box::new(made)), template, defects, known })
}

/// Prepares a defect under a fleet's authorities.
fn scene(defect: Defect, workshop: &Workshop) -> Result<Scene, Failure> {
    match defect.scene(workshop) {
        Ok(Some(scene)) => Ok(scene),
        Ok(None) => Err(Failure::usage(format!("no device can have `{defect}`"))),
        Err(fault) => Err(unprepared(defect, &fault)),
    }
}

/// Why a defect cannot be prepared under an authority, and what to do about it.
pub(crate) fn unprepared(defect: Defect, fault: &IssueError) -> Failure {
    let message = format!("cannot prepare `{defect}`: {fault}");
    match fault {
        IssueError::NoRoom { .. } => Failure::usage(message)
            .advise("Give a CA whose path length allows CAs below it, let the authority be minted, or leave that defect out."),
        IssueError::KeyHeld { .. } => {
            Failure::usage(message).advise("Give a CA whose key is in a file, or leave that defect out.")
        }
        _ => Failure::unexpected(message),
    }
}

/// A service that is there already is not the run's to change.
fn refuse_additions(defect: Defect, fleet: &Fleet) -> Result<(), Failure> {
    match fleet.scene(defect) {
        Some(scene) if !scene.additions.is_empty() => {
            let fault = format!(
                "cannot show `{defect}` to [target.service]: it takes certificates or enrollments of its own there"
            );
            Err(Failure::usage(fault).advise(format!(
                "Leave it out, or use [target.mock]; `rollcall mint defect {defect}` writes what it takes."
            )))
        }
        _ => Ok(()),
    }
}

/// Mints the devices of this part whose own certificates the instance is to hold.
fn known(
    fleet: &Fleet,
    template: &Template,
    defects: &Defects,
    shard: ShardOf,
) -> Result<BTreeMap<u64, World>, Failure> {
    let needs = |defect: Defect| {
        let additions = fleet.scene(defect).map(|scene| &scene.additions);
        additions.is_some_and(|added| added.individual.is_some() || added.own_leaf.is_some())
    };
    let ours = |index: u64| index % shard.count == shard.index;
    let of_this_part = defects.all().filter(|&(index, defect)| ours(index) && needs(defect));
    let minted = of_this_part.map(|(index, defect)| {
        let id = template.registration_id(index).map_err(Failure::usage)?;
        let world = fleet.defective(index, &id, defect).map_err(|fault| unminted(index, &fault))?;
        Ok((index, world))
    });
    minted.collect()
}

/// What a defect's CAs and groups are called in an instance.
pub(crate) fn numbered(defect: Defect, number: u32) -> String {
    if number == 1 { defect.to_string() } else { format!("{defect}-{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use sim_identity::{KeyAlgorithm, pem};

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
                (Defect::LEAF_EXPIRED, counts[0]),
                (Defect::CN_MISMATCH, counts[1]),
                (Defect::LEAF_ONLY, counts[2]),
            ];
            let placed = Defects::spread(&listed, devices);
            for (defect, count) in listed {
                let found = (0..devices).filter(|&i| placed.of(i) == Some(defect)).count() as u64;
                assert_eq!(found, count, "{defect} among {devices}");
            }
        }
        assert_eq!(Defects::spread(&[], 5).all().count(), 0);
    }

    const NOW: OffsetDateTime = time::macros::datetime!(2026-06-01 00:00 UTC);
    const MINTED: &str = "[fleet.authority.minted]\nintermediates = 1";

    /// The devices of a scenario with this authority, target and one device of each of these defects.
    fn planned(authority: &str, target: &str, defects: &[&str]) -> Result<Devices, Failure> {
        let listed: String =
            defects.iter().map(|id| format!("[[fleet.defect]]\nid = \"{id}\"\ndevices = 1\n")).collect();
        let text = format!(
            "name = \"x\"\n[fleet]\ndevices = 400\nregistration_id = \"dev-{{index}}\"\n{listed}{authority}\n{target}\n\
             [load.closed]\nin_flight = 1\n"
        );
        let scenario = Scenario::parse("x.toml", &text, &[]).map_err(Failure::usage)?;
        let ca = Ca::prepare(&scenario, Path::new(""), NOW)?;
        devices(&scenario, &ca, ShardOf::WHOLE, NOW)
    }

    /// A `[fleet.authority.files]` of the last CA of a hierarchy this deep, kept in `directory`.
    fn given(directory: &Path, intermediates: u8) -> String {
        let plan = HierarchyPlan { name: "given".into(), intermediates, key: KeyAlgorithm::P256 };
        let made = Hierarchy::mint(&plan, &Seed::from_number(3), NOW).expect("a hierarchy");
        let key = made.issuing().private_key().expect("its key").to_pkcs8().expect("encodes");
        let files =
            [("ca.pem", "CERTIFICATE", made.issuing().certificate().der()), ("ca.key", "PRIVATE KEY", &key)];
        let [certificate, key] = files.map(|(name, label, der)| {
            let path = directory.join(name);
            std::fs::write(&path, pem::encode(label, der)).expect("written");
            path.display().to_string()
        });
        format!("[fleet.authority.files]\ncertificate = {certificate:?}\nkey = {key:?}")
    }

    #[test]
    fn whatever_can_be_presented_can_be_prepared() {
        let all: Vec<&str> = Defect::all().filter(|d| d.is_presentable()).map(Defect::id).collect();
        let devices = planned(MINTED, "[target.mock]", &all).expect("devices");
        assert!(all.iter().all(|id| devices.scene(id.parse().expect("a defect")).is_some()));
    }

    #[test]
    fn a_defect_that_is_not_possible_is_refused_before_the_run() {
        let (flat, deep) =
            (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (roomy, full) = (given(flat.path(), 0), given(deep.path(), 1));
        let service = "[target.service]\nhost = \"localhost\"\nid_scope = \"0ne1\"";
        for (authority, target, defect, fits) in [
            (MINTED, "[target.mock]", "svc-group-disabled", true),
            (&*roomy, "[target.mock]", "svc-group-disabled", true),
            (&*full, "[target.mock]", "svc-group-disabled", false),
            (&*full, "[target.mock]", "time-leaf-expired", true),
            (MINTED, service, "time-leaf-expired", true),
            (MINTED, service, "svc-group-disabled", false),
            (MINTED, service, "svc-individual-disabled", false),
        ] {
            let exit = planned(authority, target, &[defect]).map(drop).map_err(|failure| failure.exit);
            assert_eq!(
                exit,
                if fits { Ok(()) } else { Err(Exit::Usage) },
                "{defect} with {authority} {target}"
            );
        }
    }

    #[test]
    fn where_nothing_is_verified_only_individual_enrollments_count() {
        use Fate::{Assigned, Disabled, Refused};
        let defects = [
            ("time-leaf-expired", Refused, Refused),
            ("svc-two-groups", Assigned, Refused),
            ("svc-group-disabled", Disabled, Refused),
            ("svc-individual-disabled", Disabled, Disabled),
            ("svc-individual-secondary", Assigned, Assigned),
        ];
        let devices = planned(MINTED, "[target.mock]", &defects.map(|(id, ..)| id)).expect("devices");
        for (id, admitting, not_admitting) in defects {
            let defect = Some(id.parse().expect("a defect"));
            assert_eq!((devices.fate(defect, true), devices.fate(defect, false)), (admitting, not_admitting));
        }
        assert_eq!((devices.fate(None, true), devices.fate(None, false)), (Assigned, Refused));
    }

    #[test]
    fn a_device_that_the_instance_knows_comes_with_the_certificate_it_knows() {
        let devices =
            planned(MINTED, "[target.mock]", &["svc-individual-disabled", "cn-mismatch"]).expect("devices");
        let known: Vec<Vec<u8>> = devices.known().map(|(_, world)| world.presented()).collect();
        assert_eq!(known.len(), 1);
        let index = devices.defects.all().find(|(_, d)| d.id() == "svc-individual-disabled").expect("one").0;
        for _ in 0..2 {
            assert_eq!(devices.device(index).expect("a device").chain[0].to_vec(), known[0]);
        }
    }
}
