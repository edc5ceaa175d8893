//! From a checked scenario to who makes an attempt: devices by index, good ones and bad ones in their places, each
//! under the CA of its factory.
//!
//! Pure but for reading what the scenario names: a CA's files, a directory of identities, recorded arrivals. The
//! moment and the seed are arguments.

#[cfg(test)]
pub(crate) mod fixture;

use crate::exit::Failure;
use scenarios::{Action, Authority, Goal, GroupOn, Scenario, Schedule, Target, Template};
use sim_identity::authority::LinePlan;
use sim_identity::defect::{self, Scene, Workshop, World};
use sim_identity::fleet::FleetPlan;
use sim_identity::{
    Defect, DeviceIdentity, Fleet, Hierarchy, HierarchyPlan, IssueError, Issuer, KeyAlgorithm, Seed,
};
use sim_protocol::{CaName, EnrollmentGroupId};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration as StdDuration;
use time::{Duration, OffsetDateTime};

/// How long before an event an arrival has to be due for the event to come too late for it. `ours:` ten times what an
/// attempt takes.
const CLEARLY_BEFORE: StdDuration = StdDuration::from_secs(2);

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

    /// Part `inner` of this part: worker *w* of *W* inside shard *s* of *n*, as a part of the whole fleet.
    pub fn part(self, inner: ShardOf) -> ShardOf {
        ShardOf { index: inner.index * self.count + self.index, count: self.count * inner.count }
    }

    /// How many of `devices` this part has.
    pub fn share(self, devices: u64) -> u64 {
        if devices > self.index { (devices - self.index - 1) / self.count + 1 } else { 0 }
    }

    /// The fleet index of this part's n-th device.
    pub fn device(self, position: u64) -> u64 {
        position * self.count + self.index
    }

    /// Whether a device of this index is this part's.
    pub fn has(self, index: u64) -> bool {
        index % self.count == self.index
    }

    /// How many of `arrivals` this part has; arrival *k* is device *k* modulo `devices`, and this part's in every
    /// turn of its devices.
    pub fn arrivals(self, arrivals: u64, devices: u64) -> u64 {
        let devices = devices.max(1);
        arrivals / devices * self.share(devices) + self.share(arrivals % devices)
    }

    /// The number of this part's n-th arrival; rises with n. It means something below [`ShardOf::arrivals`] alone.
    pub fn arrival(self, position: u64, devices: u64) -> u64 {
        let each_turn = self.share(devices).max(1);
        position / each_turn * devices + self.device(position % each_turn)
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

    /// Every defect that a device has, once, in the order of the matrix.
    pub fn kinds(&self) -> impl Iterator<Item = Defect> + use<> {
        self.places.values().copied().collect::<BTreeSet<_>>().into_iter()
    }

    /// All bad devices, in no order.
    pub fn all(&self) -> impl Iterator<Item = (u64, Defect)> + '_ {
        self.places.iter().map(|(&index, &defect)| (index, defect))
    }
}

/// The devices of a run by who issues their certificates.
#[derive(Clone, Debug)]
struct Lines {
    /// Those of the first factory, or all of them; it makes the bad ones, too.
    first: Fleet,
    /// Those of the other factories, in their order.
    others: Vec<Fleet>,
}

impl Lines {
    fn of(&self, factory: usize) -> &Fleet {
        let other = factory.checked_sub(1).and_then(|place| self.others.get(place));
        other.unwrap_or(&self.first)
    }

    fn all(&self) -> impl Iterator<Item = &Fleet> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// Where identities come from.
#[derive(Clone, Debug)]
enum Source {
    Minted(Box<Lines>),
    Directory(PathBuf),
}

/// What is meant to become of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is let in.
    Assigned,
    /// It is told that it is disabled.
    Disabled,
    /// It is refused.
    Refused,
    /// It gets its connection, which is all it is after; nothing judges its chain.
    Connected,
    /// Assigned, disabled or refused, each is as meant: it depends on when it comes, because an event of the scenario
    /// concerns it, or the CA that issued its certificate expires.
    Open,
}

/// The way by which good devices of a factory are meant to come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactoryPath {
    /// The enrollment group that is meant to admit them, where the scenario says.
    pub group: Option<String>,
    /// Subjects of the CAs that they present, from the root down to the one that issues them.
    pub path: Vec<String>,
}

/// What is meant to become of the arrivals of a factory. A device counts once for each of its turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Which factory, as a place in the scenario's list; 0 where there are none.
    pub factory: usize,
    /// Arrivals that are meant to be assigned.
    pub assigned: u64,
    /// Arrivals that are meant to be refused, or told that they are disabled.
    pub refused: u64,
    /// Arrivals that are meant to get a connection, and want no more.
    pub connected: u64,
    /// Arrivals of which nobody can tell beforehand; see [`Fate::Open`].
    pub open: u64,
}

impl Expected {
    fn of(factory: usize) -> Self {
        Expected { factory, ..Expected::default() }
    }

    fn add(&mut self, fate: Fate, arrivals: u64) {
        let count = match fate {
            Fate::Assigned => &mut self.assigned,
            Fate::Refused | Fate::Disabled => &mut self.refused,
            Fate::Connected => &mut self.connected,
            Fate::Open => &mut self.open,
        };
        *count += arrivals;
    }
}

/// The devices of a run, by index.
#[derive(Clone, Debug)]
pub struct Devices {
    source: Source,
    /// The fleet as the scenario has it.
    fleet: scenarios::Fleet,
    /// By which enrollment groups they come in: as many as there are factories, or one.
    ways: Vec<Way>,
    /// What an attempt is after.
    goal: Goal,
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
        let id = self.fleet.registration_id.registration_id(index).map_err(Failure::usage)?;
        match &self.source {
            Source::Minted(lines) => {
                let made = lines.of(self.factory(index)).device(index, id, self.defects.of(index));
                made.map_err(|fault| unminted(index, &fault))
            }
            Source::Directory(directory) => read_device(directory, id),
        }
    }

    /// What a device registers as.
    pub fn registration_id(&self, index: u64) -> String {
        let name = self.fleet.registration_id.render(index);
        match &self.source {
            Source::Minted(lines) => lines.first.name(name, self.defects.of(index)),
            Source::Directory(_) => name,
        }
    }

    /// Whether they are made for the run, rather than read.
    pub fn is_minted(&self) -> bool {
        matches!(self.source, Source::Minted(_))
    }

    /// Which factory a device comes from, as a place in the scenario's list; 0 where there are none. Whoever is bad on
    /// purpose comes from the first.
    pub fn factory(&self, index: u64) -> usize {
        if self.defects.of(index).is_some() { 0 } else { self.maker(index) }
    }

    /// Which factory a device comes from if it is good.
    fn maker(&self, index: u64) -> usize {
        if self.fleet.factories.is_empty() { 0 } else { self.fleet.factory(index).unwrap_or(0) }
    }

    /// What was prepared for a defect.
    pub fn scene(&self, defect: Defect) -> Option<&Scene> {
        match &self.source {
            Source::Minted(lines) => lines.first.scene(defect).map(|scene| &**scene),
            Source::Directory(_) => None,
        }
    }

    /// The devices of this part whose own certificates the instance is to hold, in the order of their indices.
    pub fn known(&self) -> impl Iterator<Item = (Defect, &World)> {
        self.known.iter().filter_map(|(&index, world)| Some((self.defects.of(index)?, world)))
    }

    /// What is meant to become of a device, which is good or has this defect, and whose attempt ended at this moment since
    /// the start: what happens later does not concern it. `admits` says whether good devices are let in; if not, nothing
    /// is verified, and only an individual enrollment still counts.
    pub fn fate_at(&self, index: u64, defect: Option<Defect>, admits: bool, ended: StdDuration) -> Fate {
        let factory = if defect.is_some() { 0 } else { self.maker(index) };
        let settled = self.ways.get(factory).is_none_or(|way| way.is_settled(ended));
        self.meant(defect, admits, settled)
    }

    /// The same, later than any event.
    #[cfg(test)]
    fn fate(&self, index: u64, defect: Option<Defect>, admits: bool) -> Fate {
        self.fate_at(index, defect, admits, StdDuration::MAX)
    }

    /// What is meant to become of devices with this defect.
    pub fn fate_of_defect(&self, defect: Defect, admits: bool) -> Fate {
        let settled = self.ways.first().is_none_or(|way| way.is_settled(StdDuration::MAX));
        self.meant(Some(defect), admits, settled)
    }

    /// `settled` says that neither an event nor an expiry decides.
    fn meant(&self, defect: Option<Defect>, admits: bool, settled: bool) -> Fate {
        if self.goal == Goal::Connected {
            // A chain is judged when a device registers, and this one never does.
            return Fate::Connected;
        }
        let meant = defect.map_or(Fate::Assigned, documented);
        let scene = defect.and_then(|defect| self.scene(defect));
        if scene.is_some_and(|scene| scene.additions.individual.is_some()) {
            // An individual enrollment goes by the leaf: no group and no CA has a say.
            return meant;
        }
        if !admits || meant == Fate::Refused {
            return Fate::Refused;
        }
        if settled { meant } else { Fate::Open }
    }

    /// The ways by which good devices are meant to come in: one for each factory, or one where there are none; none
    /// at all for identities read from files.
    pub fn paths(&self) -> Vec<FactoryPath> {
        let Source::Minted(fleets) = &self.source else { return Vec::new() };
        let ways = self.ways.iter().zip(fleets.all()).map(|(way, fleet)| {
            let issuer = fleet.issuer();
            let chain = issuer.above().iter().rev().chain([issuer.certificate()]);
            let group = way.group.as_ref().map(ToString::to_string);
            FactoryPath { group, path: chain.map(|c| c.display_name()).collect() }
        });
        ways.collect()
    }

    /// What is meant to become of the arrivals of a part, of `planned` arrivals of the whole run: an entry for each
    /// factory, or one where there are none. Bad devices count for the first factory. Arrivals that are due clearly
    /// before the first event that concerns them are not open.
    pub fn expected(&self, scenario: &Scenario, part: ShardOf, admits: bool, planned: u64) -> Vec<Expected> {
        let devices = scenario.fleet.devices.max(1);
        let early = self.early(scenario, planned);
        let all = vec![planned; early.len()];
        let (mut made, mut settled) = (self.made(part, &all, devices), self.made(part, &early, devices));
        let mut expected: Vec<Expected> = (0..made.len()).map(Expected::of).collect();
        let mut add = |factory: usize, defect, all: u64, settled: u64| {
            expected[factory].add(self.meant(defect, admits, true), settled);
            expected[factory].add(self.meant(defect, admits, false), all - settled);
        };
        for (index, defect) in self.defects.all().filter(|&(index, _)| part.has(index)) {
            let (all, maker) = (turns(index, planned, devices), self.maker(index));
            made[maker] -= all;
            settled[maker] -= turns(index, early[maker], devices);
            add(0, Some(defect), all, turns(index, early[0], devices));
        }
        for (factory, (good, settled)) in made.into_iter().zip(settled).enumerate() {
            add(factory, None, good, settled);
        }
        expected
    }

    /// How many of the planned arrivals are due clearly before anything may concern them, by the way they come in.
    fn early(&self, scenario: &Scenario, planned: u64) -> Vec<u64> {
        if self.ways.iter().all(|way| way.unsettled_from.is_none()) {
            return vec![planned; self.ways.len()];
        }
        // Of replayed arrivals nobody says here when they come, and in a closed load nobody knows.
        let schedule = Schedule::new(&scenario.load, scenario.most_arrivals(), scenario.seed, &[]);
        let schedule = schedule.ok().filter(Schedule::is_open);
        let before = |from: StdDuration| {
            let latest = from.checked_sub(CLEARLY_BEFORE)?;
            schedule.as_ref().map(|schedule| schedule.due_before(latest).min(planned))
        };
        let early = |way: &Way| way.unsettled_from.map_or(planned, |from| before(from).unwrap_or(0));
        self.ways.iter().map(early).collect()
    }

    /// How many of the first so many arrivals, by factory, are of a part and of devices of that factory, as if there
    /// were no defects.
    fn made(&self, part: ShardOf, first: &[u64], devices: u64) -> Vec<u64> {
        if let [first] = first {
            return vec![part.arrivals(*first, devices)];
        }
        let mut made = vec![0; first.len()];
        for index in (0..part.share(devices)).map(|position| part.device(position)) {
            let maker = self.maker(index);
            made[maker] += turns(index, first[maker], devices);
        }
        made
    }
}

/// How many of the planned arrivals are of one device.
fn turns(index: u64, planned: u64, devices: u64) -> u64 {
    planned / devices + u64::from(index < planned % devices)
}

/// Devices that come in by one enrollment group.
#[derive(Clone, Debug)]
struct Way {
    /// The group, where the scenario names it.
    group: Option<EnrollmentGroupId>,
    /// From when on, since the start, an event or an expiry may decide what becomes of them.
    unsettled_from: Option<StdDuration>,
}

impl Way {
    /// Whether nothing had happened yet that decides about an attempt which ended at this moment.
    fn is_settled(&self, ended: StdDuration) -> bool {
        self.unsettled_from.is_none_or(|from| ended < from)
    }
}

/// What scenarios call the one root of a fleet without factories.
pub(crate) const ONLY_ROOT: &str = "fleet";

/// The ways of a scenario: by its factories' groups, or by the one group it has without them.
fn ways(scenario: &Scenario) -> Vec<Way> {
    let way = |group: Option<&EnrollmentGroupId>, root: &str| Way {
        group: group.cloned(),
        unsettled_from: unsettled_from(scenario, group, root),
    };
    if scenario.fleet.factories.is_empty() {
        let group = match &scenario.target {
            Target::Mock(mock) => Some(&mock.group),
            Target::Service(_) => None,
        };
        return vec![way(group, ONLY_ROOT)];
    }
    scenario.fleet.factories.iter().map(|factory| way(Some(&factory.name), &factory.root)).collect()
}

/// From when on it depends on the moment what becomes of devices that come in by this group, under this root.
fn unsettled_from(scenario: &Scenario, group: Option<&EnrollmentGroupId>, root: &str) -> Option<StdDuration> {
    if matches!(scenario.fleet.authority, Authority::Minted { issuing_validity: Some(_), .. }) {
        // It counts from before the start, by how much is not known.
        return Some(StdDuration::ZERO);
    }
    let concerns = |action: &Action| match action {
        Action::DisableGroup(name) | Action::EnableGroup(name) => Some(name) == group,
        Action::DeleteCa(name) => name == root,
        // Devices go to the hubs that are left.
        Action::UnlinkHub(_) => false,
    };
    let events = scenario.events.iter().filter(|event| concerns(&event.action)).map(|event| event.at);
    events.chain(no_hub_from(scenario)).min()
}

/// When the events have taken every hub away, if they do.
fn no_hub_from(scenario: &Scenario) -> Option<StdDuration> {
    let Target::Mock(mock) = &scenario.target else { return None };
    let taken = |hub: &String| {
        let events = scenario.events.iter().filter(
            |event| matches!(&event.action, Action::UnlinkHub(name) if name.eq_ignore_ascii_case(hub)),
        );
        events.map(|event| event.at).min()
    };
    let taken: Option<Vec<StdDuration>> = mock.hubs.iter().map(taken).collect();
    // A scenario without hubs has none from the start.
    taken.map(|moments| moments.into_iter().max().unwrap_or_default())
}

/// What becomes of a device with this defect, as documented.
fn documented(defect: Defect) -> Fate {
    match defect.expected() {
        defect::Expected::Accept => Fate::Assigned,
        defect::Expected::Disabled => Fate::Disabled,
        defect::Expected::Refused(_) | defect::Expected::Proven | defect::Expected::NotProven => {
            Fate::Refused
        }
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

/// The authorities of a factory.
#[derive(Clone, Debug)]
pub struct FactoryCa {
    /// What the factory and its enrollment group are called.
    pub name: EnrollmentGroupId,
    /// What its root is called in an instance. Factories of one root have the same certificate there.
    pub root: CaName,
    /// The root, and the intermediates of this factory.
    pub hierarchy: Hierarchy,
}

/// The authority of a run: the tool's own hierarchy, or the user's CA.
#[derive(Clone, Debug)]
pub enum Ca {
    /// Made for this run.
    Minted(Hierarchy),
    /// Made for this run, one for each factory of the scenario, in its order; at least one.
    Factories(Vec<FactoryCa>),
    /// The user's, with its key.
    Given(Arc<Issuer>),
    /// Nothing: identities come finished from a directory.
    None(PathBuf),
}

impl Ca {
    /// Makes or reads the authority; paths are taken relative to `base`, the scenario's directory. An issuing CA that
    /// is to expire during the run does so counted from `now`, the moment of this call.
    ///
    /// # Errors
    /// Usage, when a CA cannot be read.
    pub fn prepare(scenario: &Scenario, base: &Path, now: OffsetDateTime) -> Result<Self, Failure> {
        match &scenario.fleet.authority {
            Authority::Minted { intermediates, key, issuing_validity } => {
                let issuing_validity =
                    issuing_validity.map(|v| Duration::try_from(v).unwrap_or(Duration::MAX));
                let mint = Mint { intermediates: *intermediates, key: *key, issuing_validity, now };
                mint.authority(scenario)
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

/// How authorities are minted.
struct Mint {
    intermediates: u8,
    key: KeyAlgorithm,
    issuing_validity: Option<Duration>,
    now: OffsetDateTime,
}

impl Mint {
    fn authority(&self, scenario: &Scenario) -> Result<Ca, Failure> {
        let factories = &scenario.fleet.factories;
        let seed = seed(scenario).child("authority");
        if factories.is_empty() {
            let root = self.root(scenario.name.clone(), &seed)?;
            return self.line(&root, scenario.name.clone(), &seed).map(Ca::Minted);
        }
        let mut roots: BTreeMap<&str, Arc<Issuer>> = BTreeMap::new();
        for factory in factories {
            if let Entry::Vacant(missing) = roots.entry(&factory.root) {
                let name = format!("{} {}", scenario.name, factory.root);
                missing.insert(self.root(name, &seed.child(&format!("root {}", factory.root)))?);
            }
        }
        let made = factories.iter().map(|factory| {
            let name = factory.name.clone();
            let seed = seed.child(&format!("factory {name}"));
            let hierarchy = self.line(&roots[&*factory.root], name.to_string(), &seed)?;
            let root = CaName::new(&*factory.root).map_err(Failure::usage)?;
            Ok(FactoryCa { name, root, hierarchy })
        });
        made.collect::<Result<_, Failure>>().map(Ca::Factories)
    }

    fn root(&self, name: String, seed: &Seed) -> Result<Arc<Issuer>, Failure> {
        let plan = HierarchyPlan { name, intermediates: 0, key: self.key };
        Hierarchy::mint(&plan, seed, self.now).map(|made| made.root().clone()).map_err(|e| no_authority(&e))
    }

    fn line(&self, root: &Arc<Issuer>, name: String, seed: &Seed) -> Result<Hierarchy, Failure> {
        let Mint { intermediates, key, issuing_validity, now } = *self;
        let plan = LinePlan { name, intermediates, key, issuing_validity };
        Hierarchy::mint_line(root, &plan, seed, now).map_err(|e| no_authority(&e))
    }
}

fn no_authority(fault: &IssueError) -> Failure {
    Failure::unexpected(format!("cannot mint the authorities: {fault}"))
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
    fn of(hierarchy: &'a Hierarchy) -> Self {
        Roles { top: hierarchy.root(), issuing: hierarchy.issuing() }
    }

    /// The CA that the fleet's group is on.
    pub fn member(self, on: GroupOn) -> &'a Arc<Issuer> {
        if on == GroupOn::Root { self.top } else { self.issuing }
    }
}

impl Ca {
    /// Who does what, in the first factory where there are several; none where there is no CA at hand.
    pub fn roles(&self) -> Option<Roles<'_>> {
        match self {
            Ca::Minted(hierarchy) => Some(Roles::of(hierarchy)),
            Ca::Factories(all) => all.first().map(|factory| Roles::of(&factory.hierarchy)),
            Ca::Given(issuer) => Some(Roles { top: issuer, issuing: issuer }),
            Ca::None(_) => None,
        }
    }
}

/// The seed a scenario names.
pub fn seed(scenario: &Scenario) -> Seed {
    Seed::from_number(scenario.seed)
}

/// Recorded arrivals: the times of each list that the load replays, in the order of the stages. Paths are taken
/// relative to `base`, the scenario's directory.
///
/// # Errors
/// Usage, when a file cannot be read, or is no list of times.
pub fn replays(scenario: &Scenario, base: &Path) -> Result<Vec<Vec<std::time::Duration>>, Failure> {
    scenario.load.replays().map(|file| replay(&base.join(file))).collect()
}

fn replay(file: &Path) -> Result<Vec<std::time::Duration>, Failure> {
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot read recorded arrivals {}: {why}", file.display()))
    };
    let text = crate::cli::read_file(file, "recorded arrivals").map_err(|failure| {
        failure.advise("Name a file that can be read; the path of a replay stage is taken from the directory of the scenario.")
    })?;
    let text = String::from_utf8(text).map_err(|_| cannot(&"it is not UTF-8 text"))?;
    scenarios::recorded(&text).map_err(|fault| cannot(&fault))
}

/// The devices of a scenario under its authority. Those of this part that the instance is to know are minted.
/// Whatever is bad on purpose is made under the authorities of the first factory, wherever the device would come
/// from if it were good.
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
    let devices = |source, defects, known| Devices {
        source,
        fleet: fleet.clone(),
        ways: ways(scenario),
        goal: scenario.device.goal,
        defects,
        known,
    };
    let roles = match (ca, ca.roles()) {
        (_, Some(roles)) => roles,
        (Ca::None(directory), None) => {
            let source = Source::Directory(directory.clone());
            return Ok(devices(source, Defects::default(), BTreeMap::new()));
        }
        (_, None) => return Err(Failure::unexpected("an authority without a CA")),
    };
    let plan = FleetPlan {
        key: fleet.key,
        key_pool: usize::try_from(fleet.key_pool).unwrap_or(usize::MAX),
        validity: Duration::try_from(fleet.validity).unwrap_or(Duration::days(30)),
    };
    let mut first = Fleet::new(&plan, roles.issuing.clone(), seed(scenario).child("fleet"), now)
        .map_err(|fault| unprepared_fleet(&fault))?;
    let others = others(ca, &first)?;
    let workshop = Workshop::under(roles.top, roles.issuing, &seed(scenario).child("defects"), now);
    let listed: Vec<(Defect, u64)> = fleet.defects.iter().map(|d| (d.kind, d.devices)).collect();
    for &(defect, _) in &listed {
        let scene = scene(defect, &workshop)?;
        first = first.with_scene(defect, Arc::new(scene));
        if matches!(scenario.target, Target::Service(_)) {
            refuse_additions(defect, &first)?;
        }
    }
    let defects = Defects::spread(&listed, fleet.devices);
    let known = known(&first, &fleet.registration_id, &defects, shard)?;
    Ok(devices(Source::Minted(Box::new(Lines { first, others })), defects, known))
}

/// The devices of all factories but the first.
fn others(ca: &Ca, first: &Fleet) -> Result<Vec<Fleet>, Failure> {
    let Ca::Factories(all) = ca else { return Ok(Vec::new()) };
    let others = all.iter().skip(1).map(|factory| first.under(factory.hierarchy.issuing().clone()));
    others.collect::<Result<_, _>>().map_err(|fault| unprepared_fleet(&fault))
}

fn unprepared_fleet(fault: &IssueError) -> Failure {
    Failure::usage(format!("cannot prepare the fleet: {fault}"))
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
    let of_this_part = defects.all().filter(|&(index, defect)| shard.has(index) && needs(defect));
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
    use super::fixture::{MINTED, NOW, one_of, scenario, with_events, with_factories};
    use super::*;
    use crate::exit::Exit;
    use scenarios::{Load, Spacing, Stage, WhenFull};
    use sim_identity::{Certificate, KeyAlgorithm, pem};

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
    fn parts_partition_the_arrivals_of_every_turn() {
        for (devices, count) in (1..=9).flat_map(|devices| (1..=6).map(move |count| (devices, count))) {
            for arrivals in 0..=3 * devices {
                let mut all = Vec::new();
                for part in (0..count).map(|index| ShardOf { index, count }) {
                    let own: Vec<u64> =
                        (0..part.arrivals(arrivals, devices)).map(|n| part.arrival(n, devices)).collect();
                    assert!(own.is_sorted_by(|a, b| a < b), "{own:?} of {devices} over {count}");
                    assert!(own.iter().all(|arrival| part.has(arrival % devices)), "{own:?} of {part:?}");
                    all.extend(own);
                }
                all.sort_unstable();
                let planned: Vec<u64> = (0..arrivals).collect();
                assert_eq!(all, planned, "{arrivals} arrivals of {devices} devices over {count}");
            }
        }
    }

    #[test]
    fn a_part_of_a_part_is_a_part_of_the_whole() {
        let parts = |count| (0..count).map(move |index| ShardOf { index, count });
        for (outer, inner) in (1..=4).flat_map(|n| (1..=4).map(move |w| (n, w))) {
            for (shard, worker) in parts(outer).flat_map(|s| parts(inner).map(move |w| (s, w))) {
                let part = shard.part(worker);
                for devices in 0..20 {
                    // A worker counts the devices of its shard.
                    let own = worker.share(shard.share(devices));
                    let flat: Vec<u64> = (0..own).map(|n| shard.device(worker.device(n))).collect();
                    let found: Vec<u64> = (0..part.share(devices)).map(|n| part.device(n)).collect();
                    assert_eq!(found, flat, "{worker:?} in {shard:?} of {devices}");
                }
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

    fn planned_of(scenario: &Scenario) -> Result<Devices, Failure> {
        let ca = Ca::prepare(scenario, Path::new(""), NOW)?;
        devices(scenario, &ca, ShardOf::WHOLE, NOW)
    }

    fn planned(authority: &str, target: &str, defects: &[&str]) -> Result<Devices, Failure> {
        planned_of(&scenario(authority, target, defects))
    }

    fn certificates(device: &DeviceIdentity) -> Vec<Certificate> {
        device.chain.iter().map(|der| Certificate::from_der(der.to_vec()).expect("a certificate")).collect()
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
            let fate = |admits| devices.fate_of_defect(id.parse().expect("a defect"), admits);
            assert_eq!((fate(true), fate(false)), (admitting, not_admitting), "{id}");
        }
        let good = |admits| devices.fate(0, None, admits);
        assert_eq!((good(true), good(false)), (Assigned, Refused));
    }

    #[test]
    fn each_device_comes_under_the_ca_of_its_factory() {
        let scenario = with_factories(scenario(MINTED, "[target.mock]", &[]));
        let devices = planned_of(&scenario).expect("devices");
        let paths = devices.paths();
        let groups: Vec<_> = paths.iter().filter_map(|way| way.group.as_deref()).collect();
        assert_eq!(groups, ["line-a", "line-b", "line-c"]);
        for (group, way) in paths.iter().enumerate() {
            let chain = certificates(&devices.device(one_of(&devices, group)).expect("a device"));
            let names: Vec<_> = chain.iter().skip(1).rev().map(Certificate::display_name).collect();
            assert_eq!(names, way.path);
            for pair in chain.windows(2) {
                pair[0].verify_signed_by(&pair[1]).expect("signed by the next");
            }
        }
        assert_eq!(paths[0].path[0], paths[1].path[0], "one root for both");
        assert_ne!(paths[0].path[1], paths[1].path[1], "an intermediate for each");
        assert_ne!(paths[1].path[0], paths[2].path[0], "a root of its own");
    }

    #[test]
    fn a_device_and_its_authorities_have_the_same_keys_in_every_run_and_its_own_in_every_factory() {
        let one = scenario(MINTED, "[target.mock]", &[]);
        let several = with_factories(one.clone());
        let keys = |scenario: &Scenario, index| {
            let device = planned_of(scenario).expect("devices").device(index).expect("a device");
            certificates(&device).iter().map(|c| c.public_key().to_vec()).collect::<Vec<_>>()
        };
        let devices = planned_of(&several).expect("devices");
        for index in (0..3).map(|group| one_of(&devices, group)) {
            assert_eq!(keys(&several, index), keys(&several, index));
            assert_eq!(keys(&several, index)[0], keys(&one, index)[0], "the leaf's");
            assert_ne!(keys(&several, index)[1], keys(&one, index)[1], "the intermediate's");
        }
    }

    #[test]
    fn whoever_is_bad_on_purpose_comes_from_the_first_factory() {
        let defects = ["time-leaf-expired", "svc-individual-disabled", "eku-absent", "cn-mismatch"];
        let scenario = with_factories(scenario(MINTED, "[target.mock]", &defects));
        let devices = planned_of(&scenario).expect("devices");
        let places: Vec<u64> = devices.defects.all().map(|(index, _)| index).collect();
        assert!(places.iter().any(|&index| scenario.fleet.factory(index) != Some(0)), "or nothing is shown");
        let first = &devices.paths()[0].path;
        for index in places {
            assert_eq!(devices.factory(index), 0);
            let chain = certificates(&devices.device(index).expect("a device"));
            assert_eq!(chain.last().map(Certificate::display_name).as_ref(), first.first());
        }
    }

    #[test]
    fn an_issuing_ca_expires_when_it_is_told_to_and_its_leaves_with_it() {
        const MINUTE: StdDuration = StdDuration::from_secs(60);
        let minted = |intermediates, issuing_validity| Authority::Minted {
            intermediates,
            key: KeyAlgorithm::P256,
            issuing_validity: Some(issuing_validity),
        };
        for (intermediates, validity) in
            [(1, StdDuration::from_secs(2)), (1, MINUTE), (3, MINUTE), (1, 2 * 1440 * MINUTE)]
        {
            let mut one = scenario(MINTED, "[target.mock]", &[]);
            one.fleet.authority = minted(intermediates, validity);
            for scenario in [with_factories(one.clone()), one] {
                let device = planned_of(&scenario).expect("devices").device(7).expect("a device");
                let ends: Vec<_> = certificates(&device).iter().map(Certificate::expiry).collect();
                assert_eq!(ends[..2], [NOW + validity; 2], "leaf and issuing CA");
                assert!(ends[2..].iter().all(|&end| end > NOW + Duration::days(1000)), "CAs above: {ends:?}");
            }
        }
    }

    /// What is meant to become of good devices of each factory, and then of those with these defects.
    fn fates(scenario: &Scenario, admits: bool) -> Vec<Fate> {
        let devices = planned_of(scenario).expect("devices");
        let good = (0..scenario.fleet.factories.len())
            .map(|group| devices.fate(one_of(&devices, group), None, admits));
        let good: Vec<Fate> = good.collect();
        let mut bad: Vec<(Defect, u64)> = devices.defects.all().map(|(i, defect)| (defect, i)).collect();
        bad.sort();
        good.into_iter()
            .chain(bad.into_iter().map(|(defect, index)| devices.fate(index, Some(defect), admits)))
            .collect()
    }

    #[test]
    fn what_an_event_or_an_expiry_decides_is_open() {
        use Fate::{Assigned, Connected, Disabled, Open, Refused};
        let group = |name: &str| name.parse::<EnrollmentGroupId>().expect("a name");
        let hub = || Action::UnlinkHub("hub-1.azure-devices.net".into());
        // In the order of the matrix: refused, disabled, disabled by itself, let in by its group.
        let defects =
            ["time-leaf-expired", "svc-group-disabled", "svc-individual-disabled", "svc-two-groups"];
        let plain = with_factories(scenario(MINTED, "[target.mock]", &defects));
        let own = [Assigned, Assigned, Assigned, Refused, Disabled, Assigned, Disabled];
        assert_eq!(sorted(&fates(&plain, true)), sorted(&own));
        for (actions, open) in [
            (vec![Action::DisableGroup(group("line-b"))], [false, true, false]),
            (vec![Action::EnableGroup(group("line-c"))], [false, false, true]),
            (vec![Action::DeleteCa("east".into())], [true, true, false]),
            (
                vec![Action::DeleteCa("line-c".into()), Action::DisableGroup(group("line-a"))],
                [true, false, true],
            ),
            (vec![Action::DisableGroup(group("fleet")), Action::DeleteCa(ONLY_ROOT.into())], [false; 3]),
            (vec![Action::UnlinkHub("other.azure-devices.net".into())], [false; 3]),
            (vec![hub()], [true; 3]),
        ] {
            let found = fates(&with_events(plain.clone(), &actions), true);
            let good = open.map(|open| if open { Open } else { Assigned });
            assert_eq!(found[..3], good, "{actions:?}");
            // Only what its group and its root decide about a bad device is open.
            let group_decides = if open[0] { [Open, Open] } else { [Disabled, Assigned] };
            let bad = [Refused, Disabled].into_iter().chain(group_decides);
            assert_eq!(sorted(&found[3..]), sorted(&bad.collect::<Vec<_>>()), "{actions:?}");
        }
        let mut expiring = plain.clone();
        let issuing_validity = Some(StdDuration::from_secs(60));
        expiring.fleet.authority =
            Authority::Minted { intermediates: 1, key: KeyAlgorithm::P256, issuing_validity };
        assert_eq!(fates(&expiring, true)[..3], [Open; 3]);
        let unverified = with_events(plain.clone(), &[Action::DeleteCa("east".into())]);
        assert_eq!(fates(&unverified, false)[..3], [Refused; 3], "nobody was let in before either");
        let mut connecting = plain;
        connecting.device.goal = Goal::Connected;
        assert!(fates(&connecting, true).iter().all(|&fate| fate == Connected));
    }

    #[test]
    fn an_event_concerns_nobody_whose_attempt_ended_before_it() {
        let at = StdDuration::from_secs(5);
        let group = Action::DisableGroup("line-b".parse().expect("a name"));
        let mut scenario =
            with_events(with_factories(scenario(MINTED, "[target.mock]", &["svc-group-disabled"])), &[group]);
        scenario.events[0].at = at;
        let devices = planned_of(&scenario).expect("devices");
        let before = at - StdDuration::from_nanos(1);
        for (factory, ended, fate) in [
            (0, StdDuration::MAX, Fate::Assigned),
            (1, StdDuration::ZERO, Fate::Assigned),
            (1, before, Fate::Assigned),
            (1, at, Fate::Open),
        ] {
            let found = devices.fate_at(one_of(&devices, factory), None, true, ended);
            assert_eq!(found, fate, "{factory} {ended:?}");
        }
    }

    #[test]
    fn arrivals_that_are_due_clearly_before_an_event_are_not_open() {
        // 100 a second, so that the 400 arrivals are due within 4 seconds.
        let load = |when_full| Load::Open {
            stages: vec![Stage::Constant { rate: 100.0, lasts: None }],
            spacing: Spacing::Even,
            max_in_flight: 10,
            when_full,
        };
        let replay = || Load::Open {
            stages: vec![Stage::Replay { file: "a.txt".to_owned() }],
            spacing: Spacing::Even,
            max_in_flight: 10,
            when_full: WhenFull::Wait,
        };
        let plain = scenario(MINTED, "[target.mock]", &["time-leaf-expired"]);
        let closed = plain.load.clone();
        assert!(matches!(closed, Load::Closed { .. }), "or another one is to be named here");
        let group = Action::DisableGroup("fleet".parse().expect("a name"));
        for (load, at, open) in [
            (load(WhenFull::Wait), 0, 399),
            (load(WhenFull::Wait), 2, 399),
            (load(WhenFull::Shed), 5, 100),
            (load(WhenFull::Wait), 7, 0),
            (load(WhenFull::Wait), 200, 0),
            (closed, 200, 399),
            (replay(), 200, 399),
        ] {
            let mut scenario = with_events(plain.clone(), std::slice::from_ref(&group));
            (scenario.events[0].at, scenario.load) = (StdDuration::from_secs(at), load);
            let devices = planned_of(&scenario).expect("devices");
            let expected = &devices.expected(&scenario, ShardOf::WHOLE, true, 400)[0];
            assert_eq!(
                (expected.assigned, expected.refused, expected.open),
                (399 - open, 1, open),
                "at {at} s with {:?}",
                scenario.load
            );
        }
    }

    fn sorted(fates: &[Fate]) -> Vec<String> {
        let mut names: Vec<_> = fates.iter().map(|fate| format!("{fate:?}")).collect();
        names.sort();
        names
    }

    #[test]
    fn without_factories_events_name_the_group_and_the_root_that_there_are() {
        use Fate::{Assigned, Open};
        let plain = scenario(MINTED, "[target.mock]", &[]);
        for (action, fate) in [
            (Action::DisableGroup("fleet".parse().expect("a name")), Open),
            (Action::DisableGroup("other".parse().expect("a name")), Assigned),
            (Action::DeleteCa("fleet".into()), Open),
            (Action::DeleteCa("other".into()), Assigned),
        ] {
            let devices = planned_of(&with_events(plain.clone(), std::slice::from_ref(&action)));
            assert_eq!(devices.expect("devices").fate(3, None, true), fate, "{action:?}");
        }
    }

    #[test]
    fn what_is_expected_is_the_sum_over_the_arrivals() {
        let defects =
            ["time-leaf-expired", "svc-group-disabled", "svc-individual-disabled", "svc-two-groups"];
        let one = scenario(MINTED, "[target.mock]", &defects);
        let several = with_factories(one.clone());
        let event = [Action::DisableGroup("line-b".parse().expect("a name"))];
        let mut connecting = several.clone();
        connecting.device.goal = Goal::Connected;
        for scenario in [one, several.clone(), with_events(several, &event), connecting] {
            let devices = planned_of(&scenario).expect("devices");
            let parts =
                [(1, 400), (1, 399), (3, 1000), (2, 250), (8, 0)].into_iter().flat_map(|(count, planned)| {
                    (0..count).map(move |index| (ShardOf { index, count }, planned))
                });
            for ((part, planned), admits) in parts.flat_map(|part| [(part, true), (part, false)]) {
                let mut counted: Vec<_> =
                    (0..scenario.fleet.factories.len().max(1)).map(Expected::of).collect();
                for index in (0..planned).map(|arrival| arrival % 400).filter(|&index| part.has(index)) {
                    let fate = devices.fate(index, devices.defects.of(index), admits);
                    counted[devices.factory(index)].add(fate, 1);
                }
                let expected = devices.expected(&scenario, part, admits, planned);
                assert_eq!(expected, counted, "{planned} arrivals, {part:?}, {admits}");
            }
        }
    }

    #[test]
    fn recorded_arrivals_are_read_beside_the_scenario() {
        let directory = tempfile::tempdir().expect("a directory");
        for (file, text) in [("a.txt", "0\n1.5\n"), ("b.txt", "0.25\n"), ("bad.txt", "soon\n")] {
            std::fs::write(directory.path().join(file), text).expect("written");
        }
        let read = |files: &[&str]| {
            let mut scenario = scenario(MINTED, "[target.mock]", &[]);
            let stages = files.iter().map(|file| Stage::Replay { file: (*file).to_owned() });
            scenario.load = Load::Open {
                stages: stages.collect(),
                spacing: Spacing::Even,
                max_in_flight: 1,
                when_full: WhenFull::Wait,
            };
            replays(&scenario, directory.path()).map_err(|failure| failure.exit)
        };
        let seconds = StdDuration::from_secs_f64;
        assert_eq!(
            read(&["b.txt", "a.txt"]),
            Ok(vec![vec![seconds(0.25)], vec![seconds(0.0), seconds(1.5)]])
        );
        assert_eq!(read(&[]), Ok(vec![]));
        for bad in ["bad.txt", "missing.txt"] {
            assert_eq!(read(&["a.txt", bad]), Err(Exit::Usage), "{bad}");
        }
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
