//! Where the devices of a run go: an embedded mock that is set up for it, or a service that is there.

use super::Access;
use super::script::Script;
use crate::cli::{is_this_machine, now, read_trust_roots, server_name};
use crate::exit::{Exit, Failure};
use crate::plan::{Ca, Devices};
use crate::stage::{self, Stage};
use scenarios::{
    Flavour, Goal, KeyExchange, Resumption, Retry, Scenario, ServiceTarget, Talk, Target as ScenarioTarget,
    Tls, Transport, VerifyServer,
};
use sim_device::{Group, Habits, Handshake, ServerChecks, Sources, Target, TlsVersions, Trust, base_config};
use sim_dps::LedgerSnapshot;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where the devices of a run go, and who can tell what the service saw.
pub(super) struct Scene {
    /// How devices talk and where to: as `[device]` says, then each kind of the mix.
    pub(super) targets: Vec<Target>,
    pub(super) witness: Witness,
    /// Whether good devices are meant to be let in.
    pub(super) admits: bool,
    /// The group they are meant to come in by, where it is known.
    pub(super) group: Option<String>,
}

/// Who can tell what the service saw.
pub(super) enum Witness {
    Embedded(Box<Stage>),
    Management(SocketAddr, Option<String>),
    Nobody,
}

impl Scene {
    pub(super) async fn open(
        script: &Script,
        ca: &Ca,
        devices: &Devices,
        access: &Access,
        tell: &(dyn Fn(String) + Sync),
    ) -> Result<Self, Failure> {
        match &script.scenario.target {
            ScenarioTarget::Mock(mock) => {
                let stage = stage::set(&script.scenario, mock, ca, devices, now(), tell).await?;
                let trust = Trust::Roots(vec![stage.mock.trust_root().to_vec()]);
                let address = |transport| match transport {
                    Transport::Mqtt => stage.mock.mqtts(),
                    Transport::MqttWs | Transport::Https => stage.mock.https(),
                };
                let host = stage.mock.mqtts().ip().to_string();
                let id_scope =
                    sim_protocol::IdScope::new(sim_dps::shell::ID_SCOPE).map_err(Failure::unexpected)?;
                let place = Place { host: &host, name: &host, address: &address, id_scope };
                Ok(Scene {
                    targets: targets(&script.scenario, &place, &trust, &access.sources)?,
                    admits: mock.verification.succeeds(),
                    group: Some(mock.group.to_string()),
                    witness: Witness::Embedded(Box::new(stage)),
                })
            }
            ScenarioTarget::Service(service) => Scene::at_service(script, service, access).await,
        }
    }

    async fn at_service(script: &Script, service: &ServiceTarget, access: &Access) -> Result<Self, Failure> {
        if !access.live && !is_this_machine(&service.host) {
            let fault = format!("will not send load to {}: it is not on this machine", service.host);
            return Err(
                Failure::usage(fault).advise("Add --live to allow it; mind the quota of the service.")
            );
        }
        let trust = match &service.trust_root {
            Some(path) => Trust::Roots(read_trust_roots(&script.base.join(path))?),
            None => Trust::Public,
        };
        let witness = match &service.management {
            Some(text) => Witness::Management(management(text).await?, access.management_token.clone()),
            None => Witness::Nobody,
        };
        let address = reachable(&service.host, service.port).await?;
        let name = service.server_name.as_deref().unwrap_or(&service.host);
        let address = |_| address;
        let place =
            Place { host: &service.host, name, address: &address, id_scope: service.id_scope.clone() };
        Ok(Scene {
            targets: targets(&script.scenario, &place, &trust, &access.sources)?,
            witness,
            admits: true,
            group: None,
        })
    }

    pub(super) async fn ledger(&self) -> Result<Option<LedgerSnapshot>, Failure> {
        Self::ledger_of(&self.witness).await
    }

    pub(super) async fn ledger_of(witness: &Witness) -> Result<Option<LedgerSnapshot>, Failure> {
        match witness {
            Witness::Embedded(stage) => Ok(Some(stage.mock.ledger())),
            Witness::Management(address, token) => {
                let value = sim_operator::management::ledger(*address, token.as_deref()).await?;
                let read = serde_json::from_value(value);
                read.map(Some)
                    .map_err(|e| Failure::unexpected(format!("cannot read the ledger at {address}: {e}")))
            }
            Witness::Nobody => Ok(None),
        }
    }
}

/// Where an instance is.
struct Place<'a> {
    host: &'a str,
    /// What its certificate names.
    name: &'a str,
    address: &'a dyn Fn(Transport) -> SocketAddr,
    id_scope: sim_protocol::IdScope,
}

/// One target for `[device]` and for each kind of the mix.
fn targets(
    scenario: &Scenario,
    place: &Place<'_>,
    trust: &Trust,
    sources: &Option<Arc<Sources>>,
) -> Result<Vec<Target>, Failure> {
    let device = &scenario.device;
    let talks = std::iter::once(&device.talk).chain(device.mix.iter().map(|kind| &kind.talk));
    talks.map(|talk| target(scenario, talk, place, trust, sources)).collect()
}

fn target(
    scenario: &Scenario,
    talk: &Talk,
    place: &Place<'_>,
    trust: &Trust,
    sources: &Option<Arc<Sources>>,
) -> Result<Target, Failure> {
    let device = &scenario.device;
    let transport = match talk.transport {
        Transport::Mqtt => sim_device::Transport::Mqtt,
        Transport::MqttWs => sim_device::Transport::MqttWs,
        Transport::Https => sim_device::Transport::Https,
    };
    let address = (place.address)(talk.transport);
    Ok(Target {
        transport,
        host: place.host.to_owned(),
        port: address.port(),
        address: Some(address),
        server_name: server_name(place.name)?,
        id_scope: place.id_scope.clone(),
        tls: base_config(trust, &handshake(device, talk)).map_err(Failure::usage)?,
        timeout: scenario.limits.attempt_timeout,
        habits: habits(scenario, talk, sources),
    })
}

fn handshake(device: &scenarios::Device, talk: &Talk) -> Handshake {
    let group = |group: &KeyExchange| match group {
        KeyExchange::X25519 => Group::X25519,
        KeyExchange::P256 => Group::P256,
        KeyExchange::P384 => Group::P384,
        KeyExchange::X25519MlKem768 => Group::X25519MlKem768,
    };
    Handshake {
        versions: match talk.tls {
            Tls::Any => TlsVersions::Any,
            Tls::V12 => TlsVersions::V12,
            Tls::V13 => TlsVersions::V13,
        },
        groups: talk.groups.iter().map(group).collect(),
        checks: match device.verify_server {
            VerifyServer::Once => ServerChecks::Once,
            VerifyServer::Always => ServerChecks::Always,
        },
        resumption: device.resumption == Resumption::Tickets,
    }
}

fn habits(scenario: &Scenario, talk: &Talk, sources: &Option<Arc<Sources>>) -> Habits {
    let device = &scenario.device;
    let timeouts = scenario.limits.phase_timeouts;
    Habits {
        flavour: match talk.flavour {
            Flavour::Rollcall => sim_device::Flavour::Rollcall,
            Flavour::Python => sim_device::Flavour::Python,
            Flavour::C => sim_device::Flavour::C,
            Flavour::CSharp => sim_device::Flavour::CSharp,
            Flavour::Node => sim_device::Flavour::Node,
        },
        retry: match device.retry {
            Retry::Flavour => sim_device::Retry::Flavour,
            Retry::None => sim_device::Retry::None,
            Retry::Fixed { wait, retries } => sim_device::Retry::Fixed { wait, retries },
            Retry::Exponential { first, most, jitter, retries } => {
                sim_device::Retry::Exponential { first, most, jitter, retries }
            }
            Retry::Naive => sim_device::Retry::Naive,
        },
        ignore_retry_after: !device.honour_retry_after,
        phase_timeouts: sim_device::PhaseTimeouts {
            tcp: timeouts.tcp,
            tls: timeouts.tls,
            connect: timeouts.connect,
            subscribe: timeouts.subscribe,
            register: timeouts.register,
            poll: timeouts.poll,
        },
        goal: match device.goal {
            Goal::Assigned => sim_device::Goal::Assigned,
            Goal::Connected => sim_device::Goal::Connected,
        },
        keep_alive: device.hold.map_or(Duration::ZERO, |hold| hold.keep_alive),
        sources: sources.clone(),
    }
}

/// Where a mock's ledger is. Only this machine's: a mock serves it nowhere else.
async fn management(text: &str) -> Result<SocketAddr, Failure> {
    let found = tokio::net::lookup_host(text).await;
    let local =
        found.ok().and_then(|mut all| all.find(|address| address.ip().is_loopback() && address.is_ipv4()));
    local.ok_or_else(|| {
        Failure::usage(format!("target.service.management `{text}` is not an address of this machine"))
            .advise("Give what `rollcall mock` prints as its management address, or leave it out.")
    })
}

/// The first address of the host that accepts a connection. Looked up once: a fleet does not share one resolver,
/// and this machine's is not what is to be measured.
async fn reachable(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let unreachable = |why: String| {
        Failure::new(Exit::Unreachable, format!("cannot reach {host}:{port}: {why}"))
            .advise("Check host and port, and that the service is running.")
    };
    let found = tokio::net::lookup_host((host, port)).await.map_err(|e| unreachable(e.to_string()))?;
    let mut last = "the name has no address".to_owned();
    for address in found {
        match tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer within 5 s".to_owned(),
        }
    }
    Err(unreachable(last))
}
