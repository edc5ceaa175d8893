//! The scenario as meant: every value checked, every default filled in.
//!
//! Made by [`Scenario::parse`] alone, from the text of a file; what is parsed is relied on.

use crate::diagnostic::Place;
use crate::{Load, Template};
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
}

/// Who registers.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Planned devices, the defective ones included; at least 1.
    pub devices: u64,
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
    /// Devices that are bad on purpose, in the order of the file.
    pub defects: Vec<Defect>,
}

impl Fleet {
    /// How many of the planned devices are bad on purpose.
    pub fn defective(&self) -> u64 {
        self.defects.iter().map(|defect| defect.devices).sum()
    }
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

/// How a device talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The TLS versions it offers.
    pub tls: Tls,
    /// What it speaks inside TLS.
    pub transport: Transport,
    /// How often the service's certificate chain is verified.
    pub verify_server: VerifyServer,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// 1.2 and 1.3, the service picks.
    Any,
    /// 1.2 alone.
    V12,
    /// 1.3 alone.
    V13,
}

/// What a device speaks inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Not at all: everybody is refused.
    None,
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
}

/// What is given up on, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long devices in flight may still take after the run was asked to stop.
    pub grace: Duration,
    /// How long one attempt may take; above 0.
    pub attempt_timeout: Duration,
}
