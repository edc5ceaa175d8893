//! Sets the scene of a run on this machine: a mock, and an operator who uploads the CAs, proves possession, or tries to
//! without the key, and creates the groups, over the same REST calls as for Azure.

use crate::exit::{Exit, Failure};
use crate::plan::{self, Ca, Devices, FactoryCa};
use reports::SetupStep;
use scenarios::{GroupOn, MockProfile, MockTarget, Scenario, Verification};
use sim_dps::shell::JournalFault;
use sim_dps::{Hub, Limits, Server, ServerConfig, SpawnError};
use sim_identity::defect::{AddedGroup, AddedIndividual, TakenFor, World};
use sim_identity::{Certificate, Defect, Issuer, KeyAlgorithm, PrivateKey, Seed, pem};
use sim_operator::{Endpoint, Operator, OperatorError};
use sim_protocol::attestation::{
    AttestationMechanism, CertificatePair, CertificateSlot, EnrollmentGroup, IndividualEnrollment,
    ProvisioningStatus, X509Attestation,
};
use sim_protocol::resource::{CertificateResponse, codes};
use sim_protocol::{CaName, InvalidName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use time::OffsetDateTime;

/// CA certificates and groups of a fleet, or of its defects, that are told one by one; more are summed up.
const TOLD_ONE_BY_ONE: usize = 12;

/// The CA of a fleet without factories, in the instance.
const CA_NAME: &str = "factory-root";

/// The same in the instance of somebody who saw the CA on the wire.
const SNIFFED_CA_NAME: &str = "sniffed-ca";

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        match &error {
            SpawnError::Bind { .. } => Failure::new(Exit::Unreachable, error)
                .advise("Listen on an address of this machine; stop what uses the port, or take another: 0 takes any free one."),
            SpawnError::State(JournalFault::Locked { .. }) => Failure::usage(error)
                .advise("Stop that mock, or give this one a state file of its own."),
            SpawnError::State(_) => Failure::usage(error)
                .advise("Name a file that a mock wrote and none has open, or one that does not exist yet."),
            SpawnError::Policies(_) | SpawnError::Hubs { .. } => Failure::usage(error),
            SpawnError::OpenToAll(_) => {
                Failure::usage(error).advise("Leave --no-auth out, or listen on 127.0.0.1 alone.")
            }
            SpawnError::Identity(_) | SpawnError::Tls(_) => Failure::unexpected(error),
        }
    }
}

fn named(fault: InvalidName) -> Failure {
    Failure::unexpected(fault)
}

/// A running mock with its operator.
#[derive(Debug)]
pub struct Stage {
    /// The mock.
    pub mock: Server,
    operator: Operator,
    /// What the scenario calls its roots, and what the instance does.
    roots: BTreeMap<String, CaName>,
    /// How it was set up.
    pub setup: Vec<SetupStep>,
}

/// What the instance calls the CA of a fleet without factories.
pub fn only_ca(verification: Verification) -> &'static str {
    match verification {
        Verification::ForgedProof => SNIFFED_CA_NAME,
        _ => CA_NAME,
    }
}

impl Stage {
    /// Lets what is to go wrong begin to: windows of faults are counted from the start of the run.
    pub fn begin_faults(&self, mock: &MockTarget, now: OffsetDateTime) {
        self.mock.instance().registrar().faults.set(mock.faults.clone(), now);
    }

    /// Who may change the mock.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// The uploaded CA certificate of a root, by the scenario's name for it; none where it has no such root.
    pub fn root(&self, name: &str) -> Option<&CaName> {
        self.roots.get(name)
    }
}

/// Starts a mock on free ports and sets it up as the scenario says. `tell` narrates each step.
pub async fn set(
    scenario: &Scenario,
    mock: &MockTarget,
    ca: &Ca,
    devices: &Devices,
    now: OffsetDateTime,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Stage, Failure> {
    let seed = crate::cli::random_seed();
    let mut config = ServerConfig::new(seed.child("mock")).map_err(named)?;
    let needed = Needed::of(scenario, devices);
    config.registrar.retry_after = mock.retry_after;
    config.registrar.assign_delay = mock.assign_delay;
    config.registrar.hubs = mock.hubs.iter().map(Hub::new).collect();
    config.tickets = mock.tickets;
    if mock.profile == MockProfile::Azure {
        config.registrar.limits = Limits::documented();
    } else if needed.make_room(&mut config.registrar.limits) {
        tell(
            "mock      holds more CA certificates and groups than an instance may: so many factories and defects need them"
                .into(),
        );
    }
    // The same scenario meets the same faults; they begin with the run, see `Stage::begin_faults`.
    config.fault_seed = Some(Seed::from_number(scenario.seed).child("faults"));
    let running = Server::spawn(config).await?;
    tell(format!("mock      listens on {} (MQTT) and {} (HTTPS)", running.mqtts(), running.https()));
    let endpoint = Endpoint {
        trust_root: Some(pem::encode("CERTIFICATE", running.trust_root()).into_bytes()),
        service_key: running.instance().policies().next().map(|owner| owner.primary.clone()),
        ..Endpoint::at(format!("https://{}", running.https()))
    };
    let story = Story { tell, steps: Vec::new(), summed_up: false };
    let mut scene = Scene { operator: Operator::new(endpoint)?, seed, now, story };
    let holdings = Holdings::of(mock, ca)?;
    scene.prepare(mock, &holdings).await?;
    scene.add(scenario, mock, devices, &needed).await?;
    let roots = holdings.roots.into_iter().map(|root| (root.called, root.name)).collect();
    Ok(Stage { mock: running, operator: scene.operator, roots, setup: scene.story.steps })
}

/// How many CA certificates and groups the scenario's factories and defects need.
struct Needed {
    /// CA certificates and groups of the fleet's good devices.
    own: (usize, usize),
    /// The same for its defects.
    added: (usize, usize),
    /// How many defects that is for.
    defects: usize,
}

impl Needed {
    fn of(scenario: &Scenario, devices: &Devices) -> Self {
        let mut kinds: Vec<Defect> = scenario.fleet.defects.iter().map(|listed| listed.kind).collect();
        kinds.sort();
        kinds.dedup();
        let factories = &scenario.fleet.factories;
        let roots: BTreeSet<&str> = factories.iter().map(|factory| &*factory.root).collect();
        // Without factories there is one root and one group.
        let mut needed =
            Needed { own: (roots.len().max(1), factories.len().max(1)), added: (0, 0), defects: 0 };
        for defect in kinds {
            let Some(additions) = devices.scene(defect).map(|scene| &scene.additions) else { continue };
            let leaves = |taken_for: TakenFor| {
                let known = || devices.known().filter(|&(known, _)| known == defect).count();
                if additions.own_leaf == Some(taken_for) { known() } else { 0 }
            };
            let cas = additions.cas.len() + leaves(TakenFor::VerifiedCa);
            let groups = additions.groups.len() + leaves(TakenFor::Group);
            needed.added = (needed.added.0 + cas, needed.added.1 + groups);
            needed.defects += usize::from(cas + groups > 0);
        }
        needed
    }

    /// Raises the limits on them to that; whether it is more than is documented.
    fn make_room(&self, limits: &mut Limits) -> bool {
        let documented = (limits.certificates, limits.groups_x509);
        limits.certificates = limits.certificates.max(self.own.0 + self.added.0);
        limits.groups_x509 = limits.groups_x509.max(self.own.1 + self.added.1);
        documented != (limits.certificates, limits.groups_x509)
    }
}

/// What is told of setting up, and kept for the record.
struct Story<'a> {
    tell: &'a (dyn Fn(String) + Sync),
    steps: Vec<SetupStep>,
    /// Whether the steps to come were told as a sum. The first one that is refused is told all the same.
    summed_up: bool,
}

impl Story<'_> {
    /// A step that was taken. `line` is how it is told meanwhile, with its topic.
    fn step(&mut self, line: String, what: String) {
        if !self.summed_up {
            (self.tell)(line);
            self.steps.push(SetupStep { what, refused: None });
        }
    }

    /// A step that the service refused, as it was to.
    fn refused(&mut self, line: String, what: String, how: String) {
        if !self.summed_up || self.steps.iter().all(|step| step.refused.is_none()) {
            (self.tell)(line);
            self.steps.push(SetupStep { what, refused: Some(how) });
        }
    }

    /// Begins a part with so many CA certificates and groups for so many of what needs them, and sums it up if they
    /// are too many to be told one by one.
    fn begin(&mut self, (cas, groups): (usize, usize), owners: &str) {
        self.summed_up = false;
        let summed_up = cas + groups > TOLD_ONE_BY_ONE;
        if summed_up {
            let sum = format!("{cas} CAs and {groups} groups for {owners}");
            self.step(format!("instance  {sum}"), sum);
        }
        self.summed_up = summed_up;
    }
}

/// A CA that is uploaded and verified for the fleet.
struct Root {
    /// What the scenario calls it.
    called: String,
    /// What the instance calls it.
    name: CaName,
    ca: Arc<Issuer>,
}

/// What the instance holds for the fleet's good devices.
struct Holdings {
    roots: Vec<Root>,
    /// Enrollment groups, and the CA that each is on.
    groups: Vec<(String, Arc<Certificate>)>,
}

impl Holdings {
    fn of(mock: &MockTarget, ca: &Ca) -> Result<Self, Failure> {
        if let Ca::Factories(factories) = ca {
            return Ok(Self::of_factories(factories));
        }
        if matches!(ca, Ca::Given(_)) && mock.group_on == GroupOn::Root {
            let fault = "`group_on = \"root\"` needs the root's key to prove possession, and a given CA has only its own";
            return Err(
                Failure::usage(fault).advise("Leave group_on out: the group then refers to the given CA.")
            );
        }
        let Some(roles) = ca.roles() else {
            let fault = "an embedded mock cannot admit a fleet from a directory: its CA's key is not at hand";
            return Err(Failure::usage(fault)
                .advise("Give the CA under [fleet.authority.files], or start `rollcall mock` and set it up with `rollcall ca` and `rollcall group`."));
        };
        let member = roles.member(mock.group_on);
        let ca = match mock.verification {
            // Devices present the CA that the group is on; what is above it need not be seen by anybody.
            Verification::ForgedProof => member,
            _ => roles.top,
        };
        let name = CaName::new(only_ca(mock.verification)).map_err(named)?;
        let root = Root { called: plan::ONLY_ROOT.to_owned(), name, ca: ca.clone() };
        let group = (mock.group.to_string(), member.certificate().clone());
        Ok(Holdings { roots: vec![root], groups: vec![group] })
    }

    /// Each root once, and a group for each factory on the CA that issues its leaves.
    fn of_factories(factories: &[FactoryCa]) -> Self {
        let mut roots: Vec<Root> = Vec::new();
        for FactoryCa { root, hierarchy, .. } in factories {
            if !roots.iter().any(|known| known.name == *root) {
                let ca = hierarchy.root().clone();
                roots.push(Root { called: root.to_string(), name: root.clone(), ca });
            }
        }
        let group = |factory: &FactoryCa| {
            (factory.name.to_string(), factory.hierarchy.issuing().certificate().clone())
        };
        Holdings { roots, groups: factories.iter().map(group).collect() }
    }
}

struct Scene<'a> {
    operator: Operator,
    seed: Seed,
    now: OffsetDateTime,
    story: Story<'a>,
}

impl Scene<'_> {
    async fn prepare(&mut self, mock: &MockTarget, holdings: &Holdings) -> Result<(), Failure> {
        let Holdings { roots, groups } = holdings;
        self.story.begin((roots.len(), groups.len()), &format!("{} factories", groups.len()));
        for Root { name, ca, .. } in &holdings.roots {
            self.verify(mock.verification, name, ca).await?;
        }
        for (name, member) in &holdings.groups {
            let group = AddedGroup { primary: member.clone(), secondary: None, enabled: true };
            self.create_group(name, &group).await?;
        }
        Ok(())
    }

    /// Brings the instance into the states that the scenario's defects take.
    async fn add(
        &mut self,
        scenario: &Scenario,
        mock: &MockTarget,
        devices: &Devices,
        needed: &Needed,
    ) -> Result<(), Failure> {
        self.story.begin(needed.added, &format!("{} defects", needed.defects));
        let mut added: Vec<Defect> = Vec::new();
        for defect in scenario.fleet.defects.iter().map(|listed| listed.kind) {
            let Some(scene) = devices.scene(defect).filter(|_| !added.contains(&defect)) else { continue };
            added.push(defect);
            for (number, ca) in (1..).zip(&scene.additions.cas) {
                let name = plan::numbered(defect, number);
                self.upload(mock, &name, ca.certificate.der(), ca.verified).await?;
            }
            for (number, group) in (1..).zip(&scene.additions.groups) {
                self.create_group(&plan::numbered(defect, number), group).await?;
            }
        }
        self.introduce(mock, devices).await
    }

    async fn upload(
        &mut self,
        mock: &MockTarget,
        name: &str,
        der: &[u8],
        verified: bool,
    ) -> Result<(), Failure> {
        let name = CaName::new(name).map_err(named)?;
        let file = pem::encode("CERTIFICATE", der);
        // Where the scenario wants no verification nothing is verified, so that everybody is refused.
        let vouched = verified && mock.verification.succeeds();
        let uploaded = self.operator.upload(&name, file.as_bytes(), vouched).await?;
        self.show(&uploaded, "uploaded");
        Ok(())
    }

    /// Puts the certificates of single devices into the instance, where their defect has them there.
    async fn introduce(&mut self, mock: &MockTarget, devices: &Devices) -> Result<(), Failure> {
        let mut counts: BTreeMap<Defect, u32> = BTreeMap::new();
        for (defect, world) in devices.known() {
            let Some(additions) = devices.scene(defect).map(|scene| &scene.additions) else { continue };
            let count = counts.entry(defect).or_default();
            *count += 1;
            match additions.own_leaf {
                Some(TakenFor::VerifiedCa) => {
                    let name = plan::numbered(defect, additions.cas.len() as u32 + *count);
                    self.upload(mock, &name, &world.presented(), true).await?;
                }
                Some(TakenFor::Group) => {
                    let leaf = Certificate::from_der(world.presented()).map_err(Failure::unexpected)?;
                    let group = AddedGroup { primary: Arc::new(leaf), secondary: None, enabled: true };
                    let name = plan::numbered(defect, additions.groups.len() as u32 + *count);
                    self.create_group(&name, &group).await?;
                }
                None => {}
            }
            if let Some(individual) = additions.individual {
                self.operator.create_enrollment(&enrollment(individual, world), self.now).await?;
            }
        }
        for (defect, count) in counts {
            let known = format!("known to the instance one by one, for `{defect}`");
            self.story.step(format!("devices   {count} are {known}"), format!("{count} devices {known}"));
        }
        Ok(())
    }

    async fn verify(&mut self, how: Verification, name: &CaName, top: &Issuer) -> Result<(), Failure> {
        let file = pem::encode("CERTIFICATE", top.certificate().der());
        let vouched = how == Verification::SelfAttested;
        let uploaded = self.operator.upload(name, file.as_bytes(), vouched).await?;
        self.show(&uploaded, "uploaded");
        match how {
            Verification::ProofOfPossession => self.prove(name, top).await,
            Verification::ForgedProof => self.forge(name, top).await,
            Verification::SelfAttested | Verification::None => Ok(()),
        }
    }

    async fn code(&mut self, name: &CaName) -> Result<CertificateResponse, Failure> {
        let coded = self.operator.generate_code(name).await?;
        let code = coded.properties.verification_code.as_deref().unwrap_or_default();
        self.story.step(format!("code      {code}"), format!("verification code asked for `{name}`"));
        Ok(coded)
    }

    async fn prove(&mut self, name: &CaName, top: &Issuer) -> Result<(), Failure> {
        let coded = self.code(name).await?;
        let proven = self.operator.answer_code(name, &coded, top, &self.seed, self.now).await?;
        self.show(&proven, "possession proven: a certificate with that CN, signed with the CA's key");
        Ok(())
    }

    /// Answers the code as somebody has to who does not hold the CA's key: with a certificate that another key signed.
    async fn forge(&mut self, name: &CaName, ca: &Issuer) -> Result<(), Failure> {
        let coded = self.code(name).await?;
        let own = PrivateKey::derive(&self.seed, "stranger", 0, KeyAlgorithm::P256);
        let forger = ca.impostor(own.map_err(Failure::unexpected)?);
        let answered = self.operator.answer_code(name, &coded, &forger, &self.seed, self.now).await;
        let how = refused_forgery(answered)?;
        self.story.refused(
            format!("forgery   signed with another key, refused with {how}"),
            format!("proof of possession of `{name}`, signed with another key"),
            how,
        );
        let left = self.operator.certificate(name).await?;
        if left.properties.is_verified {
            let fault = format!("the service refused a forged proof for `{name}`, and holds it for verified");
            return Err(Failure::unexpected(fault));
        }
        self.show(&left, "nobody has shown to hold its key");
        Ok(())
    }

    fn show(&mut self, record: &CertificateResponse, what: &str) {
        let state = if record.properties.is_verified { "Verified" } else { "Unverified" };
        let told = format!("`{}` ({}) is {state}: {what}", record.name, record.properties.subject);
        self.story.step(format!("ca        {told}"), format!("CA {told}"));
    }

    async fn create_group(&mut self, name: &str, added: &AddedGroup) -> Result<(), Failure> {
        let pair = CertificatePair {
            primary: Some(slot(added.primary.der())),
            secondary: added.secondary.as_ref().map(|certificate| slot(certificate.der())),
        };
        let x509 = X509Attestation { signing_certificates: Some(pair), ..Default::default() };
        let mut group = EnrollmentGroup::x509(name, x509);
        group.terms.provisioning_status = status(added.enabled);
        self.operator.create_group(&group, self.now).await?;
        let state = if added.enabled { "enabled" } else { "disabled" };
        let told = format!("`{name}` on {}, {state}", members(added));
        self.story.step(format!("group     {told}"), format!("group {told}"));
        Ok(())
    }
}

/// How the service refused a proof that was signed with another key than the CA's.
///
/// # Errors
/// When it did not, or for another reason: then nothing was shown.
fn refused_forgery(answered: Result<CertificateResponse, OperatorError>) -> Result<String, Failure> {
    match answered {
        Err(OperatorError::Refused { status, code: Some(code), message, .. })
            if code == codes::POP_FAILED =>
        {
            Ok(format!("status {status} ({code}): {message}"))
        }
        Err(other) => Err(other.into()),
        Ok(taken) => Err(Failure::unexpected(format!(
            "the service took a proof of possession of `{}` that was signed with another key",
            taken.name
        ))),
    }
}

fn members(group: &AddedGroup) -> String {
    let named = |certificate: &Certificate| format!("`{}`", certificate.display_name());
    match &group.secondary {
        None => named(&group.primary),
        Some(secondary) => format!("{} and {}", named(&group.primary), named(secondary)),
    }
}

fn slot(der: &[u8]) -> CertificateSlot {
    CertificateSlot { certificate: Some(pem::encode("CERTIFICATE", der)), info: None }
}

fn status(enabled: bool) -> ProvisioningStatus {
    if enabled { ProvisioningStatus::Enabled } else { ProvisioningStatus::Disabled }
}

fn enrollment(individual: AddedIndividual, world: &World) -> IndividualEnrollment {
    let (primary, secondary) = world.held(individual.holds);
    let pair = CertificatePair { primary: Some(slot(&primary)), secondary: secondary.map(|der| slot(&der)) };
    let x509 = X509Attestation { client_certificates: Some(pair), ..Default::default() };
    let id = world.device.registration_id.as_str();
    let mut enrollment = IndividualEnrollment::new(id, AttestationMechanism::x509(x509));
    enrollment.terms.provisioning_status = status(individual.enabled);
    enrollment
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::ShardOf;
    use crate::plan::fixture::{MINTED, one_of, scenario, with_factories};
    use scenarios::Target;
    use sim_dps::faults::Effects;
    use sim_dps::registrar::Caller;
    use sim_dps::trace::TraceEvent;
    use sim_identity::DeviceIdentity;
    use std::path::Path;
    use std::sync::Mutex;

    /// A scenario's devices, and the stage that is set for them.
    pub(crate) async fn staged(scenario: &Scenario) -> Result<(Devices, Stage), Failure> {
        staged_aloud(scenario, &|_| {}).await
    }

    async fn staged_aloud(
        scenario: &Scenario,
        tell: &(dyn Fn(String) + Sync),
    ) -> Result<(Devices, Stage), Failure> {
        let Target::Mock(mock) = &scenario.target else { panic!("a mock") };
        let now = crate::cli::now();
        let ca = Ca::prepare(scenario, Path::new(""), now)?;
        let devices = plan::devices(scenario, &ca, ShardOf::WHOLE, now)?;
        let stage = set(scenario, mock, &ca, &devices, now, tell).await?;
        Ok((devices, stage))
    }

    /// What the mock makes of a device that registers.
    pub(crate) fn register(stage: &Stage, device: &DeviceIdentity) -> TraceEvent {
        let registrar = stage.mock.instance().registrar();
        let id = device.registration_id.as_str();
        let caller = Caller {
            id_scope: sim_dps::shell::ID_SCOPE,
            registration_id: id,
            presented: device.chain.iter().map(AsRef::as_ref).collect(),
            token: None,
        };
        registrar.register(&caller, b"", &Effects::default(), crate::cli::now());
        registrar.trace(id).and_then(|trace| trace.events.into_iter().last()).expect("a trace")
    }

    #[tokio::test]
    async fn each_factory_comes_in_by_its_own_group_under_a_root_that_is_verified_once() {
        for verification in ["proof-of-possession", "self-attested"] {
            let target = format!("[target.mock]\nverification = \"{verification}\"");
            let (devices, stage) =
                staged(&with_factories(scenario(MINTED, &target, &[]))).await.expect("a stage");
            let held = stage.operator().certificates().await.expect("a list");
            let mut held: Vec<_> = held.iter().map(|ca| (&*ca.name, ca.properties.is_verified)).collect();
            held.sort();
            assert_eq!(held, [("east", true), ("line-c", true)], "{verification}");
            for (group, way) in devices.paths().into_iter().enumerate() {
                let device = devices.device(one_of(&devices, group)).expect("a device");
                let seen = register(&stage, &device);
                assert_eq!((seen.verdict, seen.entry, seen.path), ("accept", way.group, way.path));
            }
        }
    }

    #[tokio::test]
    async fn a_fleet_without_factories_has_one_ca_and_the_group_of_the_scenario() {
        let target = "[target.mock]\ngroup = \"line-x\"";
        let (devices, stage) = staged(&scenario(MINTED, target, &[])).await.expect("a stage");
        let held = stage.operator().certificates().await.expect("a list");
        assert_eq!(held.iter().map(|ca| &*ca.name).collect::<Vec<_>>(), [CA_NAME]);
        assert_eq!(stage.root(plan::ONLY_ROOT).map(CaName::as_str), Some(CA_NAME));
        let seen = register(&stage, &devices.device(one_of(&devices, 0)).expect("a device"));
        assert_eq!((seen.verdict, seen.entry.as_deref()), ("accept", Some("line-x")));
        let ways = devices.paths();
        assert_eq!((ways.len(), ways[0].group.as_deref(), &ways[0].path), (1, Some("line-x"), &seen.path));
    }

    #[tokio::test]
    async fn whoever_has_a_ca_and_not_its_key_uploads_it_in_vain() {
        let target = "[target.mock]\nverification = \"forged-proof\"";
        let plain = scenario(MINTED, target, &["svc-secondary-rollover"]);
        for (scenario, uploaded) in [
            (plain.clone(), vec![SNIFFED_CA_NAME, "svc-secondary-rollover"]),
            (with_factories(plain), vec!["east", "line-c", "svc-secondary-rollover"]),
        ] {
            let told = Mutex::new(Vec::new());
            let tell = |line: String| told.lock().expect("lines").push(line);
            let (devices, stage) = staged_aloud(&scenario, &tell).await.expect("a stage");
            let held = stage.operator().certificates().await.expect("a list");
            assert!(held.iter().all(|ca| !ca.properties.is_verified), "{held:?}");
            let mut names: Vec<_> = held.iter().map(|ca| &*ca.name).collect();
            names.sort();
            assert_eq!(names, uploaded);
            let told = told.into_inner().expect("lines");
            assert!(told.iter().any(|line| line.contains(codes::POP_FAILED)), "{told:?}");
            let refused: Vec<_> = stage.setup.iter().filter_map(|step| step.refused.as_deref()).collect();
            assert!(!refused.is_empty(), "{:?}", stage.setup);
            assert!(refused.iter().all(|how| how.contains(codes::POP_FAILED)), "{refused:?}");
            for index in 0..scenario.fleet.factories.len().max(1) {
                let seen = register(&stage, &devices.device(one_of(&devices, index)).expect("a device"));
                assert_eq!(seen.verdict, "no-verified-ca");
            }
        }
    }

    #[tokio::test]
    async fn what_is_sniffed_is_the_ca_that_the_group_is_on() {
        for on in ["intermediate", "root"] {
            let target = format!("[target.mock]\nverification = \"forged-proof\"\ngroup_on = \"{on}\"");
            let (devices, stage) = staged(&scenario(MINTED, &target, &[])).await.expect("a stage");
            let name = stage.root(plan::ONLY_ROOT).expect("a root");
            let uploaded = stage.operator().certificate(name).await.expect("uploaded").properties.subject;
            let path = devices.paths().remove(0).path;
            let [root, issuing] = &*path else { panic!("one intermediate: {path:?}") };
            let meant = if on == "root" { root } else { issuing };
            assert!(uploaded.contains(meant.as_str()), "{uploaded} on the {on}");
        }
    }

    #[test]
    fn a_forged_proof_that_is_taken_or_fails_otherwise_sets_no_stage() {
        let taken = serde_json::json!({"name": "x", "etag": "e", "properties": {
            "subject": "CN=X", "expiry": "", "thumbprint": "", "isVerified": true, "created": "", "updated": "",
        }});
        let taken: CertificateResponse = serde_json::from_value(taken).expect("an answer");
        let refused = |code: &str| {
            Err(OperatorError::Refused {
                attempted: "verify".into(),
                status: 400,
                code: Some(code.into()),
                message: String::new(),
                retry_after: None,
            })
        };
        for (answered, exit) in [
            (refused(codes::POP_FAILED), None),
            (refused(codes::POP_CODE_MISMATCH), Some(Exit::Refused)),
            (refused(codes::THROTTLED), Some(Exit::Refused)),
            (Ok(taken), Some(Exit::Unexpected)),
        ] {
            assert_eq!(refused_forgery(answered).err().map(|failure| failure.exit), exit);
        }
    }

    #[tokio::test]
    async fn more_factories_than_an_instance_may_have_groups_find_room() {
        let mut scenario =
            with_factories(scenario(MINTED, "[target.mock]\nverification = \"self-attested\"", &[]));
        let factory = scenario.fleet.factories[0].clone();
        let documented = Limits::documented();
        let count = documented.groups_x509.max(documented.certificates) + 1;
        let named = |n: usize| scenarios::Factory {
            name: format!("line-{n}").parse().expect("a name"),
            root: format!("root-{n}"),
            members: n as u64..n as u64 + 1,
            ..factory.clone()
        };
        scenario.fleet.factories = (0..count).map(named).collect();
        let (_, stage) = staged(&scenario).await.expect("a stage");
        assert_eq!(stage.operator().certificates().await.map(|held| held.len()).ok(), Some(count));
        assert_eq!(stage.setup.len(), 1, "so many are summed up: {:?}", stage.setup);
    }

    #[test]
    fn a_few_steps_are_told_one_by_one_and_many_as_one_of_which_a_refusal_still_is_told() {
        for (steps, told) in [(TOLD_ONE_BY_ONE, TOLD_ONE_BY_ONE + 2), (TOLD_ONE_BY_ONE + 1, 2)] {
            let mut story = Story { tell: &|_| {}, steps: Vec::new(), summed_up: false };
            story.begin((steps, 0), "nobody");
            (0..steps).for_each(|_| story.step(String::new(), String::new()));
            (0..2).for_each(|_| story.refused(String::new(), String::new(), "no".into()));
            assert_eq!(story.steps.len(), told, "{steps}");
            assert_eq!(story.steps.last().and_then(|step| step.refused.as_deref()), Some("no"));
            story.begin((1, 0), "nobody");
            story.step(String::new(), String::new());
            assert_eq!(story.steps.len(), told + 1, "what comes later is told again");
        }
    }
}
