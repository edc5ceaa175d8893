//! Sets the scene of a run on this machine: a mock, and an operator who uploads the CA, proves possession and
//! creates the group, over the same REST calls as for Azure.

use crate::exit::{Exit, Failure};
use crate::plan::Ca;
use scenarios::{GroupOn, MockProfile, MockTarget, Scenario, Verification};
use sim_dps::shell::JournalFault;
use sim_dps::{Hub, Limits, Server, ServerConfig, SpawnError};
use sim_identity::{Certificate, Issuer, Seed, pem};
use sim_operator::{Endpoint, Operator};
use sim_protocol::attestation::{
    CertificatePair, CertificateSlot, EnrollmentGroup, ProvisioningStatus, X509Attestation,
};
use sim_protocol::resource::CertificateResponse;
use sim_protocol::{CaName, InvalidName};
use std::sync::Arc;
use time::OffsetDateTime;

const CA_NAME: &str = "factory-root";

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
    /// A line of devices whose group is disabled, if the scenario asked for one.
    pub disabled_line: Option<Arc<Issuer>>,
}

/// Starts a mock on free ports and sets it up as the scenario says. `tell` narrates each step.
pub async fn set(
    scenario: &Scenario,
    mock: &MockTarget,
    ca: &Ca,
    now: OffsetDateTime,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Stage, Failure> {
    let seed = crate::cli::random_seed();
    let mut config = ServerConfig::new(seed.child("mock")).map_err(named)?;
    config.registrar.retry_after = mock.retry_after;
    config.registrar.assign_delay = mock.assign_delay;
    config.registrar.hubs = mock.hubs.iter().map(Hub::new).collect();
    if mock.profile == MockProfile::Azure {
        config.registrar.limits = Limits::documented();
    }
    config.faults.clone_from(&mock.faults);
    // The same scenario meets the same faults.
    config.fault_seed = Some(Seed::from_number(scenario.seed).child("faults"));
    let running = Server::spawn(config).await?;
    tell(format!("mock      listens on {} (MQTT) and {} (HTTPS)", running.mqtts(), running.https()));
    let endpoint = Endpoint {
        trust_root: Some(pem::encode("CERTIFICATE", running.trust_root()).into_bytes()),
        service_key: running.instance().policies().next().map(|owner| owner.primary.clone()),
        ..Endpoint::at(format!("https://{}", running.https()))
    };
    let scene = Scene { operator: Operator::new(endpoint)?, seed, now, tell };
    let disabled_line = scene.prepare(scenario, mock, ca).await?;
    Ok(Stage { mock: running, disabled_line })
}

struct Scene<'a> {
    operator: Operator,
    seed: Seed,
    now: OffsetDateTime,
    tell: &'a (dyn Fn(String) + Sync),
}

impl Scene<'_> {
    async fn prepare(
        &self,
        scenario: &Scenario,
        mock: &MockTarget,
        ca: &Ca,
    ) -> Result<Option<Arc<Issuer>>, Failure> {
        let (top, issuing) = match ca {
            Ca::Minted(hierarchy) => (hierarchy.root().clone(), hierarchy.issuing().clone()),
            Ca::Given(_) if mock.group_on == GroupOn::Root => {
                let fault = "`group_on = \"root\"` needs the root's key to prove possession, and a given CA has only its own";
                return Err(Failure::usage(fault)
                    .advise("Leave group_on out: the group then refers to the given CA."));
            }
            Ca::Given(issuer) => (issuer.clone(), issuer.clone()),
            Ca::None(_) => {
                let fault =
                    "an embedded mock cannot admit a fleet from a directory: its CA's key is not at hand";
                return Err(Failure::usage(fault)
                    .advise("Give the CA under [fleet.authority.files], or start `rollcall mock` and set it up with `rollcall ca` and `rollcall group`."));
            }
        };
        self.verify(mock.verification, &top).await?;
        let member = if mock.group_on == GroupOn::Root { &top } else { &issuing };
        self.create_group(mock.group.as_str(), member.certificate(), ProvisioningStatus::Enabled).await?;
        let wants_disabled =
            scenario.fleet.defects.iter().any(|d| d.kind == sim_identity::Defect::GroupDisabled);
        if !wants_disabled {
            return Ok(None);
        }
        let Ca::Minted(hierarchy) = ca else {
            let fault = "`svc-group-disabled` needs a second line under the root, whose key only a minted authority has";
            return Err(
                Failure::usage(fault).advise("Use [fleet.authority.minted], or leave that defect out.")
            );
        };
        let line = hierarchy.sibling("closed line", &self.seed.child("closed line"), self.now);
        let line = line.map_err(|e| Failure::unexpected(format!("cannot mint the closed line: {e}")))?;
        self.create_group("closed-line", line.certificate(), ProvisioningStatus::Disabled).await?;
        Ok(Some(Arc::new(line)))
    }

    async fn verify(&self, how: Verification, top: &Issuer) -> Result<(), Failure> {
        let name = CaName::new(CA_NAME).map_err(named)?;
        let file = pem::encode("CERTIFICATE", top.certificate().der());
        let vouched = how == Verification::SelfAttested;
        let uploaded = self.operator.upload(&name, file.as_bytes(), vouched).await?;
        self.show(&uploaded, "uploaded");
        if how == Verification::ProofOfPossession {
            let coded = self.operator.generate_code(&name).await?;
            let code = coded.properties.verification_code.clone().unwrap_or_default();
            (self.tell)(format!("code      {code}"));
            let proven = self.operator.answer_code(&name, &coded, top, &self.seed, self.now).await?;
            self.show(&proven, "possession proven: a certificate with that CN, signed with the CA's key");
        }
        Ok(())
    }

    fn show(&self, record: &CertificateResponse, what: &str) {
        let state = if record.properties.is_verified { "Verified" } else { "Unverified" };
        (self.tell)(format!(
            "ca        `{}` ({}) is {state}: {what}",
            record.name, record.properties.subject
        ));
    }

    async fn create_group(
        &self,
        name: &str,
        member: &Certificate,
        status: ProvisioningStatus,
    ) -> Result<(), Failure> {
        let slot =
            CertificateSlot { certificate: Some(pem::encode("CERTIFICATE", member.der())), info: None };
        let pair = CertificatePair { primary: Some(slot), secondary: None };
        let x509 = X509Attestation { signing_certificates: Some(pair), ..Default::default() };
        let mut group = EnrollmentGroup::x509(name, x509);
        group.terms.provisioning_status = status;
        self.operator.create_group(&group, self.now).await?;
        let state = if status == ProvisioningStatus::Enabled { "enabled" } else { "disabled" };
        (self.tell)(format!("group     `{name}` on `{}`, {state}", member.display_name()));
        Ok(())
    }
}
