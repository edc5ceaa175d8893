//! The scenario as meant: every value checked, every default filled in.
//!
//! Made by [`Scenario::parse`] alone, from the text of a file; what is parsed is relied on.

use crate::diagnostic::Place;
use crate::{Gate, InvalidTemplate, Load, Template};
use sim_identity::KeyAlgorithm;
use sim_protocol::delay::Delay;
use sim_protocol::faults::FaultRule;
use sim_protocol::{EnrollmentGroupId, IdScope};
use std::time::Duration;

/// What a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What the run is called in reports.
    pub name: String,
    /// Where every random choice comes from; the same seed is the same fleet.
    pub seed: u64,
    /// Who registers.
    pub fleet: Fleet,
    /// How a device talks.
    pub device: Device,
    /// Whom it talks to.
    pub target: Target,
    /// How devices arrive.
    pub load: Load,
    /// What is given up on, and when.
    pub limits: Limits,
    /// What the run must have shown, in the order of the file.
    pub gates: Vec<Gate>,
    /// What the operator does while devices arrive, in the order of their moments.
    pub events: Vec<Event>,
}

impl Scenario {
    /// Arrivals there are devices for: each device comes [`Fleet::turns`] times.
    pub fn most_arrivals(&self) -> u64 {
        self.fleet.devices.saturating_mul(self.fleet.turns)
    }

    /// The same scenario with another number of devices, each once: shares of the fleet stay what they are.
    ///
    /// # Errors
    /// When the fleet cannot be named, or its defects do not fit into it any more.
    pub fn resized(&self, devices: u64) -> Result<Self, InvalidTemplate> {
        let mut made = self.clone();
        made.fleet.registration_id.fits(devices)?;
        let before = u128::from(self.fleet.devices.max(1));
        let scaled = |count: u64| (u128::from(count) * u128::from(devices) / before) as u64;
        made.fleet.devices = devices;
        made.fleet.turns = 1;
        for factory in &mut made.fleet.factories {
            factory.members = scaled(factory.members.start)..scaled(factory.members.end);
        }
        for kind in &mut made.device.mix {
            kind.members = scaled(kind.members.start)..scaled(kind.members.end);
        }
        for defect in &mut made.fleet.defects {
            defect.devices = scaled(defect.devices);
        }
        made.fleet.defects.retain(|defect| defect.devices > 0);
        Ok(made)
    }

    /// Which kind of the mix device `index` is of; `None` where it talks as `[device]` says.
    pub fn kind(&self, index: u64) -> Option<usize> {
        // In another order than factories are ranges of, or each factory would have its own kinds.
        let place = self.fleet.shuffled(self.fleet.shuffled(index));
        self.device.mix.iter().position(|kind| kind.members.contains(&place))
    }

    /// How device `index` talks: a kind of the mix, or as `[device]` says.
    pub fn talk(&self, index: u64) -> &Talk {
        self.kind(index).map_or(&self.device.talk, |kind| &self.device.mix[kind].talk)
    }
}

/// Who registers.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Devices, the defective ones included; at least 1.
    pub devices: u64,
    /// How often each device registers, at least 1: arrival *n* is device *n* modulo `devices`.
    pub turns: u64,
    /// How devices are named; checked for the first and the last of them.
    pub registration_id: Template,
    /// The kind of key a device has. Says nothing of a fleet read from a directory.
    pub key: KeyAlgorithm,
    /// How many keys the fleet shares, at least 1. Meant for RSA alone, whose keys are slow to make.
    pub key_pool: u64,
    /// The lifetime of a leaf certificate, at least 1 second.
    pub validity: Duration,
    /// Where its certificates come from.
    pub authority: Authority,
    /// Factories with an issuing CA and an enrollment group each; empty where the authority is the only one.
    /// Together they make all devices.
    pub factories: Vec<Factory>,
    /// Devices that are bad on purpose, in the order of the file.
    pub defects: Vec<Defect>,
}

impl Fleet {
    /// How many of the planned devices are bad on purpose.
    pub fn defective(&self) -> u64 {
        self.defects.iter().map(|defect| defect.devices).sum()
    }

    /// Where device `index` stands in a fixed order that mixes the fleet evenly: a permutation of the indices, so
    /// that shares of the fleet are ranges of it, and their devices come spread over the whole run.
    pub fn shuffled(&self, index: u64) -> u64 {
        let devices = u128::from(self.devices.max(1));
        (u128::from(index) * u128::from(stride(self.devices)) % devices) as u64
    }

    /// Which of [`Fleet::factories`] makes device `index`; `None` where there are none.
    pub fn factory(&self, index: u64) -> Option<usize> {
        let place = self.shuffled(index);
        self.factories.iter().position(|factory| factory.members.contains(&place))
    }
}

/// A step that visits every index once and lands far from where it was: the golden ratio of the size, made coprime.
fn stride(size: u64) -> u64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let mut step = ((size as f64 * GOLDEN) as u64).max(1);
    while gcd(step, size) != 1 {
        step += 1;
    }
    step
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A factory: devices under an intermediate of its own, which an enrollment group of its own admits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Factory {
    /// What it is called; also its enrollment group, so it is one's name.
    pub name: EnrollmentGroupId,
    /// Its devices, as a range of [`Fleet::shuffled`].
    pub members: std::ops::Range<u64>,
    /// The root its intermediate is under: factories that name the same one share it. Its own name where absent.
    pub root: String,
    /// Where its name is written.
    pub place: Place,
}

/// Where the fleet's certificates come from. Paths are as written: relative to the scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// A root and its intermediates made for the run.
    Minted {
        /// How many intermediates stand between the root and a leaf, 0 to 8.
        intermediates: u8,
        /// The kind of key they have.
        key: KeyAlgorithm,
        /// How long the issuing intermediate is valid, from when it is made just before the run: minting and setting up
        /// count. Some years where absent.
        issuing_validity: Option<Duration>,
    },
    /// The user's own issuing CA.
    Files {
        /// The certificate of the issuing CA, PEM.
        certificate: String,
        /// Its private key, PEM.
        key: String,
        /// What lies above it, PEM, presented after it.
        chain: Option<String>,
    },
    /// A fleet made before: `<registration id>.chain.pem` and `<registration id>.key.pem` in a folder.
    Directory {
        /// The folder.
        path: String,
    },
}

/// Devices that are bad on purpose, all in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Which.
    pub kind: sim_identity::Defect,
    /// How many devices have it, at least 1; written as a number, or as a share of the fleet.
    pub devices: u64,
    /// Where the id is written.
    pub place: Place,
}

/// What a device does.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// How it talks, unless a kind of the mix says otherwise.
    pub talk: Talk,
    /// Kinds of devices that talk otherwise.
    pub mix: Vec<Kind>,
    /// How often the service's certificate chain is verified.
    pub verify_server: VerifyServer,
    /// Whether a device that comes again resumes its TLS session.
    pub resumption: Resumption,
    /// What an attempt is after.
    pub goal: Goal,
    /// How long it stays connected once it is there; it leaves at once where absent.
    pub hold: Option<Hold>,
    /// What it does when an attempt gets nowhere.
    pub retry: Retry,
    /// Whether it waits as long as the service asks it to.
    pub honour_retry_after: bool,
}

/// A part of the fleet that talks alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// Its devices, as a range of the fleet's order shuffled twice.
    pub members: std::ops::Range<u64>,
    /// How they talk.
    pub talk: Talk,
}

/// How a device talks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Talk {
    /// The TLS versions it offers.
    pub tls: Tls,
    /// The groups it offers for key agreement, the preferred one first; at least one.
    pub groups: Vec<KeyExchange>,
    /// What it speaks inside TLS.
    pub transport: Transport,
    /// Whose conversation it has.
    pub flavour: Flavour,
}

/// A group for key agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyExchange {
    /// `x25519`.
    X25519,
    /// `p256`.
    P256,
    /// `p384`.
    P384,
    /// `x25519mlkem768`, the post-quantum hybrid.
    X25519MlKem768,
}

impl KeyExchange {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::X25519, Self::P256, Self::P384, Self::X25519MlKem768];

    /// The group as a scenario spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::X25519MlKem768 => "x25519mlkem768",
        }
    }
}

/// Whose conversation a device has: quality of service, keep-alive, bodies, waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// This program's own, as short as the protocol allows.
    #[default]
    Rollcall,
    /// That of the official client for Python.
    Python,
    /// That of the official client for C.
    C,
    /// That of the official client for C#.
    CSharp,
    /// That of the official client for Node.js.
    Node,
}

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rollcall, Self::Python, Self::C, Self::CSharp, Self::Node];

    /// The flavour as a scenario spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rollcall => "rollcall",
            Self::Python => "python",
            Self::C => "c",
            Self::CSharp => "csharp",
            Self::Node => "node",
        }
    }
}

/// Whether a device that comes again resumes its TLS session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resumption {
    /// Never: every handshake is a full one.
    #[default]
    Off,
    /// With the ticket of its last session, if it was given one.
    Tickets,
}

/// What an attempt is after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// An assignment to a hub.
    #[default]
    Assigned,
    /// A connection: TCP, TLS and CONNECT, and no registration.
    Connected,
}

/// How long a device stays connected once it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How long.
    pub lasts: Duration,
    /// How often it says that it is alive; never where zero.
    pub keep_alive: Duration,
}

/// What a device does when an attempt gets nowhere: throttled, a server error, a broken connection, no answer in time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retry {
    /// As its flavour does: it waits and asks again when throttled or told of a server error, and gives up when the
    /// connection breaks.
    Flavour,
    /// It gives up.
    None,
    /// It tries again after the same wait each time.
    Fixed {
        /// The wait.
        wait: Duration,
        /// How often at most.
        retries: u32,
    },
    /// It waits twice as long each time.
    Exponential {
        /// The first wait.
        first: Duration,
        /// The longest wait.
        most: Duration,
        /// Whether the wait is drawn between zero and that ("full jitter").
        jitter: bool,
        /// How often at most.
        retries: u32,
    },
    /// It tries again at once until its time is up: what a retry storm is made of.
    Naive,
}

/// What the operator does at a moment of the run. Only the embedded mock is the run's to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, from the start.
    pub at: Duration,
    /// What.
    pub action: Action,
    /// Where it is written.
    pub place: Place,
}

/// What an operator can do while devices arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Disables an enrollment group.
    DisableGroup(EnrollmentGroupId),
    /// Enables an enrollment group.
    EnableGroup(EnrollmentGroupId),
    /// Deletes the CA certificate of a root from the instance; by the root's name, `fleet` where there are no factories.
    DeleteCa(String),
    /// Takes a hub away: devices are assigned to the others.
    UnlinkHub(String),
}

/// How often the service's certificate chain is verified; its proof of possession is, in every handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyServer {
    /// Once a minute for one and the same chain: a generator that repeats it for every device measures itself.
    Once,
    /// In every handshake.
    Always,
}

/// The TLS versions a device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// 1.2 and 1.3, the service picks.
    Any,
    /// 1.2 alone.
    V12,
    /// 1.3 alone.
    V13,
}

/// What a device speaks inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// MQTT.
    Mqtt,
    /// MQTT in a WebSocket.
    MqttWs,
    /// HTTPS.
    Https,
}

impl Transport {
    /// The transport as a scenario spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::MqttWs => "mqtt-ws",
            Self::Https => "https",
        }
    }
}

/// Whom the fleet registers with.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The embedded mock, on loopback, set up for the run.
    Mock(MockTarget),
    /// A service that is already there: a mock in another process, or Azure.
    Service(ServiceTarget),
}

/// How the embedded mock is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct MockTarget {
    /// How the uploaded CA comes to be verified.
    pub verification: Verification,
    /// The enrollment group the fleet belongs to.
    pub group: EnrollmentGroupId,
    /// Which CA of the chain the group refers to.
    pub group_on: GroupOn,
    /// What the service asks a device to wait before it polls; whole seconds, 0 for not asking.
    pub retry_after: Duration,
    /// How long an assignment takes.
    pub assign_delay: Delay,
    /// Host names of the hubs devices are assigned to; at least one, no two alike.
    pub hubs: Vec<String>,
    /// Which quotas it keeps.
    pub profile: MockProfile,
    /// What goes wrong: the faults of the profile, then those of the file in its order.
    pub faults: Vec<FaultRule>,
    /// Whether it hands out tickets by which a device can resume its TLS session.
    pub tickets: bool,
}

/// Which quotas the embedded mock keeps, and whether it is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockProfile {
    /// No quotas, for measuring.
    Unlimited,
    /// The documented quotas.
    Azure,
    /// No quotas, but small shares of many faults at once; they are among [`MockTarget::faults`].
    Chaos,
}

/// How an uploaded CA comes to be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// By a certificate over the service's code, signed with the CA's key.
    ProofOfPossession,
    /// By the operator's word at upload.
    SelfAttested,
    /// Not at all, because the proof is signed with another key: what somebody can do who has the CA's certificate and
    /// not its key. Everybody is refused.
    ForgedProof,
    /// Not at all: everybody is refused.
    None,
}

impl Verification {
    /// Whether the CA comes to be verified, so that good devices are let in.
    pub const fn succeeds(self) -> bool {
        matches!(self, Self::ProofOfPossession | Self::SelfAttested)
    }
}

/// Which CA of the chain an enrollment group refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupOn {
    /// The CA that issues the leaves; the root itself where there are no intermediates.
    Intermediate,
    /// The root.
    Root,
}

/// A service that is already there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTarget {
    /// Its host name or address.
    pub host: String,
    /// Its port, at least 1.
    pub port: u16,
    /// Picks the instance inside the endpoint.
    pub id_scope: IdScope,
    /// The root its own certificate chains to, PEM, relative to the scenario file; needed unless it is Azure.
    pub trust_root: Option<String>,
    /// The name its certificate is checked against and SNI asks for; the host where absent.
    pub server_name: Option<String>,
    /// Where a mock serves its ledger, `host:port`.
    pub management: Option<String>,
    /// Registrations a minute that it allows, at least 1; what is documented where absent.
    pub quota_per_minute: Option<u32>,
}

/// What is given up on, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How long devices in flight may still take after the run was asked to stop.
    pub grace: Duration,
    /// How long one attempt may take, retries included; above 0.
    pub attempt_timeout: Duration,
    /// How long single phases may take.
    pub phase_timeouts: PhaseTimeouts,
    /// How late the generator may start arrivals (99th percentile) before the run is called limited by it.
    pub lateness: Duration,
    /// What becomes of a run that the generator limited.
    pub generator: GeneratorLimit,
}

/// How long single phases may take; as long as the attempt where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimeouts {
    /// TCP connect.
    pub tcp: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// CONNECT to CONNACK, the WebSocket upgrade included.
    pub connect: Option<Duration>,
    /// SUBSCRIBE to SUBACK.
    pub subscribe: Option<Duration>,
    /// Register to its answer.
    pub register: Option<Duration>,
    /// A poll to its answer.
    pub poll: Option<Duration>,
}

/// What becomes of a run that the generator limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GeneratorLimit {
    /// Its result is invalid.
    #[default]
    Judge,
    /// It says so, and its result stands.
    Report,
}
