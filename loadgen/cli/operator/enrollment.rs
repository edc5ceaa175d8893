//! `rollcall enrollment`: individual enrollments at the service API.

use super::attest::DeviceAttestation;
use super::connection::Connection;
use super::consent::Consent;
use super::entry::{self, ChangeArgs, some_change};
use super::group::warn_unless_verified;
use super::import::{self, ImportArgs};
use super::keys;
use super::policy::Policy;
use super::session::Session;
use crate::cli::now;
use crate::cli::output::Output;
use crate::exit::Failure;
use clap::{Args, Subcommand};
use sim_operator::{Changes, Collection, Entry};
use sim_protocol::RegistrationId;
use sim_protocol::attestation::{IndividualEnrollment, ProvisioningStatus};

/// `rollcall enrollment`.
#[derive(Args, Clone, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall enrollment create dev-00001 --client-cert dev-00001.pem
  rollcall enrollment create dev-00002 --symmetric-key --device-id pump-7
  rollcall enrollment keys dev-00002
  rollcall enrollment update dev-00001 --disable
      keeps one device of a group out
  rollcall enrollment import devices.json --mode create
  rollcall enrollment delete dev-00001 --dry-run")]
pub struct EnrollmentArgs {
    /// Which instance.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub verb: EnrollmentVerb,
}

/// What to do with individual enrollments.
#[derive(Subcommand, Clone, Debug)]
pub enum EnrollmentVerb {
    /// Create the enrollment of one device
    Create {
        /// Its registration id
        id: RegistrationId,
        /// How the device attests.
        #[command(flatten)]
        attestation: Box<DeviceAttestation>,
        /// Device id at the hub [default: the registration id]
        #[arg(long, value_name = "ID")]
        device_id: Option<String>,
        /// Keep the device out until it is enabled
        #[arg(long)]
        disabled: bool,
        /// What becomes of the device.
        #[command(flatten)]
        policy: Policy,
    },
    /// List the individual enrollments
    List,
    /// List the individual enrollments that a query selects
    Query {
        /// The query, such as 'SELECT * FROM enrollments'
        query: String,
    },
    /// Show one individual enrollment
    Show {
        /// Its registration id
        id: RegistrationId,
    },
    /// Change an individual enrollment and leave the rest of it as it is
    #[command(group = some_change().arg("device_id"))]
    Update {
        /// Its registration id
        id: RegistrationId,
        /// Device id at the hub
        #[arg(long, value_name = "ID")]
        device_id: Option<String>,
        /// What else to change.
        #[command(flatten)]
        changes: ChangeArgs,
    },
    /// Delete an individual enrollment; a group may let the device in then
    Delete {
        /// Its registration id
        id: RegistrationId,
        /// Whether to ask.
        #[command(flatten)]
        consent: Consent,
    },
    /// Print the shared keys of an individual enrollment
    Keys {
        /// Its registration id
        id: RegistrationId,
    },
    /// Create, update or delete many individual enrollments from a file
    Import(ImportArgs),
}

/// Runs `rollcall enrollment`.
pub async fn run(args: EnrollmentArgs, output: Output) -> Result<(), Failure> {
    let EnrollmentArgs { connection, verb } = args;
    let output = connection.output(output);
    let session = Session::open(&connection, output)?;
    let all = Collection::Enrollments;
    let done = match verb {
        EnrollmentVerb::Create { id, attestation, device_id, disabled, policy } => {
            let status = disabled.then_some(ProvisioningStatus::Disabled);
            let changes = Changes { provisioning_status: status, device_id, ..policy.whole()? };
            create(&session, &id, *attestation, changes, output).await
        }
        EnrollmentVerb::List => entry::list(&session, all, &all.all()).await,
        EnrollmentVerb::Query { query } => entry::list(&session, all, &query).await,
        EnrollmentVerb::Show { id } => entry::show(&session, &Entry::Individual(id)).await,
        EnrollmentVerb::Update { id, device_id, changes } => {
            let changes = Changes { device_id, ..changes.changes()? };
            entry::change(&session, &Entry::Individual(id), &changes).await
        }
        EnrollmentVerb::Delete { id, consent } => {
            consent.obtain(&format!("enrollment `{id}`"), &session).await?;
            entry::delete(&session, &Entry::Individual(id)).await
        }
        EnrollmentVerb::Keys { id } => keys::keys(&session, &Entry::Individual(id)).await,
        EnrollmentVerb::Import(args) => import::run(&session, all, args).await,
    };
    done?;
    session.close();
    Ok(())
}

async fn create(
    session: &Session,
    id: &RegistrationId,
    attestation: DeviceAttestation,
    changes: Changes,
    output: Output,
) -> Result<(), Failure> {
    let references = attestation.authority.references();
    let mechanism = attestation.mechanism(output)?;
    let mut wanted = IndividualEnrollment::new(id.as_str(), mechanism.clone());
    wanted.device_id.clone_from(&changes.device_id);
    wanted.terms = changes.terms(mechanism);
    let enrollment = session.operator.create_enrollment(&wanted, now()).await?;
    let document = serde_json::to_value(&enrollment).map_err(Failure::unexpected)?;
    entry::show_changed(session, Collection::Enrollments, &document);
    warn_unless_verified(session, &references).await;
    Ok(())
}
