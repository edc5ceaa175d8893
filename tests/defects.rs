//! Every defect that a device can present, presented: over real TLS, to the embedded mock, set up by its REST calls.
//!
//! What the service answers is compared with the documented code and text, and its trace with what preflight finds
//! in the same chain offline. The parts are used as a library here, because one process a defect would take minutes.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

use rollcall::plan::{self, Ca, ShardOf};
use rollcall::{cli, stage};
use scenarios::{Scenario, Target};
use sim_device::{Attempt, Device, Outcome};
use sim_dps::trace::Asked;
use sim_identity::defect::{Expected, HeldCertificate, TakenFor, World};
use sim_identity::preflight::{
    CaState, DEFAULT_MARGIN, Group, Individual, Instance, InstanceCredential, Presented, Purpose, Question,
    Slot, UploadedCa, examine,
};
use sim_identity::verdict::{Rules, SignatureMemo};
use sim_identity::{Certificate, Defect, DeviceIdentity};
use sim_protocol::errors::{self, Refusal};
use sim_protocol::{EnrollmentGroupId, IdScope};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Dead ends that a mock keeps of one judgement.
const TRACED: usize = 64;

fn presentable() -> Vec<Defect> {
    Defect::all().filter(|defect| defect.is_presentable()).collect()
}

/// One device of each defect, and as many good ones, against a mock whose authorities leave room for CAs below.
fn scenario() -> Scenario {
    let all = presentable();
    let mut text = format!(
        "name = \"every defect\"\nseed = 11\n\n[fleet]\ndevices = {}\nregistration_id = \"dev-{{index:03}}\"\n\n\
         [fleet.authority.minted]\nintermediates = 1\n\n[target.mock]\ngroup = \"line\"\n\n\
         [load.closed]\nin_flight = 1\n",
        2 * all.len()
    );
    for defect in all {
        text.push_str(&format!("\n[[fleet.defect]]\nid = \"{defect}\"\ndevices = 1\n"));
    }
    Scenario::parse("defects.toml", &text, &[]).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// What a refused device is told, by the verdict's name.
fn documented(verdict: &str) -> Refusal {
    match verdict {
        "no-verified-ca" => errors::CA_NOT_FOUND,
        "invalid-certificate" | "individual-stale" => errors::INVALID_CERTIFICATE,
        "leaf-is-entry-certificate" => errors::SIGNING_CERTIFICATE_MISMATCH,
        "no-entry" | "group-above-verified" | "cn-mismatch" | "cn-missing" => errors::UNAUTHORIZED,
        other => panic!("no such verdict: {other}"),
    }
}

/// What became of a device, in words that can be compared.
fn told(made: &Attempt) -> String {
    match &made.outcome {
        Outcome::Assigned(_) => "assigned".to_owned(),
        Outcome::Disabled => "disabled".to_owned(),
        Outcome::Refused(r) => format!("{} {}", r.code.unwrap_or_default(), r.message),
        other => format!("{other:?}"),
    }
}

fn expected(defect: Defect) -> String {
    match defect.expected() {
        Expected::Accept => "assigned".to_owned(),
        Expected::Disabled => "disabled".to_owned(),
        Expected::Refused(verdict) => {
            let refusal = documented(verdict);
            format!("{} {}", refusal.code, refusal.message)
        }
        other => panic!("no device's: {other:?}"),
    }
}

/// What preflight is told of the instance: the same that the stage puts into the mock.
#[derive(Default)]
struct Told {
    instance: Instance,
}

impl Told {
    fn ca(&mut self, certificate: &Arc<Certificate>, verified: bool) {
        let state = if verified { CaState::Verified } else { CaState::Unverified };
        self.instance.cas.push(UploadedCa { name: None, certificate: certificate.clone(), state });
    }

    fn group(&mut self, primary: &Arc<Certificate>, secondary: Option<&Arc<Certificate>>, enabled: bool) {
        let slot = |certificate: &Arc<Certificate>| Slot::Certificate {
            sha256: *certificate.sha256(),
            certificate: Some(certificate.clone()),
        };
        let id = EnrollmentGroupId::new(format!("group-{}", self.instance.groups.len())).expect("a name");
        let (primary, secondary) = (Some(slot(primary)), secondary.map(slot));
        self.instance.groups.push(Group { id, enabled, primary, secondary });
    }

    fn individual(&mut self, holds: HeldCertificate, enabled: bool, world: &World) {
        let (primary, secondary) = world.held(holds);
        let leaves = std::iter::once(primary).chain(secondary);
        let leaves = leaves.map(|der| sim_identity::certificate::sha256(&der)).collect();
        let registration_id = world.device.registration_id.clone();
        let credential = InstanceCredential::Leaves(leaves);
        let key = registration_id.key();
        self.instance.individuals.insert(key, Individual { registration_id, enabled, credential });
    }
}

fn instance(ca: &Ca, devices: &plan::Devices) -> Instance {
    let roles = ca.roles().expect("minted");
    let mut told = Told::default();
    told.ca(roles.top.certificate(), true);
    told.group(roles.issuing.certificate(), None, true);
    for scene in presentable().into_iter().filter_map(|defect| devices.scene(defect)) {
        scene.additions.cas.iter().for_each(|added| told.ca(&added.certificate, added.verified));
        for group in &scene.additions.groups {
            told.group(&group.primary, group.secondary.as_ref(), group.enabled);
        }
    }
    for (defect, world) in devices.known() {
        let Some(additions) = devices.scene(defect).map(|scene| &scene.additions) else { continue };
        if let Some(added) = additions.individual {
            told.individual(added.holds, added.enabled, world);
        }
        let leaf = || Arc::new(Certificate::from_der(world.presented()).expect("a leaf"));
        match additions.own_leaf {
            Some(TakenFor::VerifiedCa) => told.ca(&leaf(), true),
            Some(TakenFor::Group) => told.group(&leaf(), None, true),
            None => {}
        }
    }
    told.instance
}

/// What preflight finds: the verdict's name and the dead ends in words.
fn foreseen(identity: &DeviceIdentity, instance: &Instance, now: OffsetDateTime) -> (String, Vec<String>) {
    let certificates = identity.chain.iter().filter_map(|der| Certificate::from_der(der.as_ref()).ok());
    let presented = Presented { certificates: certificates.map(Arc::new).collect(), ..Presented::default() };
    let question = Question {
        registration_id: Some(identity.registration_id.clone()),
        at: now.unix_timestamp(),
        window: None,
        margin: DEFAULT_MARGIN,
        purpose: Purpose::Client,
        constrained: false,
        rules: Rules::default(),
    };
    let found = examine(&presented, &question, instance, &instance.trust(), &SignatureMemo::default());
    let trail = found.judgement.trail.iter().map(ToString::to_string).collect();
    (found.judgement.verdict.name().to_owned(), trail)
}

fn target(mock: &sim_dps::Server) -> sim_device::Target {
    let address = mock.mqtts();
    let trust = sim_device::Trust::Roots(vec![mock.trust_root().to_vec()]);
    sim_device::Target {
        transport: sim_device::Transport::Mqtt,
        host: address.ip().to_string(),
        port: address.port(),
        address: Some(address),
        server_name: cli::server_name(&address.ip().to_string()).expect("an address"),
        id_scope: IdScope::new(sim_dps::shell::ID_SCOPE).expect("a good scope"),
        tls: sim_device::base_config(&trust, &sim_device::Handshake::default()).expect("a configuration"),
        timeout: Duration::from_secs(30),
        habits: sim_device::Habits::default(),
    }
}

#[test]
fn every_defect_gets_its_documented_answer_and_the_mock_traces_what_preflight_foresaw() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (scenario, now) = (scenario(), cli::now());
        let Target::Mock(mock) = &scenario.target else { panic!("a mock") };
        let ca = Ca::prepare(&scenario, Path::new("."), now).expect("authorities");
        let devices = plan::devices(&scenario, &ca, ShardOf::WHOLE, now).expect("devices");
        let scene = stage::set(&scenario, mock, &ca, &devices, now, &|_| {}).await.expect("a stage");
        let instance = instance(&ca, &devices);
        let target = target(&scene.mock);
        let (mut wrong, mut presented) = (Vec::new(), 0);
        let mut places: Vec<(u64, Defect)> = devices.defects.all().collect();
        places.sort();
        for (index, defect) in places {
            let identity = devices.device(index).expect("a device");
            presented += 1;
            let device = Device { identity: identity.clone(), session: None, draws: index, tally: None };
            let made = sim_device::attempt(&target, &device).await;
            let (answer, wanted) = (told(&made), expected(defect));
            if answer != wanted {
                wrong.push(format!("{defect}: told `{answer}`, documented is `{wanted}`"));
                continue;
            }
            let trace = scene.mock.instance().registrar().trace(identity.registration_id.as_str());
            let events = trace.map(|trace| trace.events).unwrap_or_default();
            let Some(registered) = events.iter().find(|event| event.request == Asked::Register) else {
                wrong.push(format!("{defect}: no trace of it"));
                continue;
            };
            let traced = (registered.verdict.to_owned(), registered.trail.clone());
            let mut foreseen = foreseen(&identity, &instance, now);
            foreseen.1.truncate(TRACED);
            if traced != foreseen {
                wrong.push(format!("{defect}: traced {traced:?}, foreseen {foreseen:?}"));
            }
        }
        assert!(presented > 150, "only {presented} defects are presentable");
        assert_eq!(wrong, Vec::<String>::new(), "of {presented}");
    });
}
