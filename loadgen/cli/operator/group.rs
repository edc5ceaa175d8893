//! `rollcall group`: enrollment groups at the service API.

use super::attest::GroupAttestation;
use super::connection::Connection;
use super::consent::Consent;
use super::entry::{self, ChangeArgs, some_change};
use super::import::{self, ImportArgs};
use super::keys;
use super::policy::Policy;
use super::session::Session;
use crate::cli::now;
use crate::cli::output::Output;
use crate::exit::Failure;
use clap::{Args, Subcommand};
use sim_operator::{Changes, Collection, Entry};
use sim_protocol::attestation::{EnrollmentGroup, ProvisioningStatus};
use sim_protocol::{CaName, EnrollmentGroupId, RegistrationId};
use std::path::PathBuf;

/// `rollcall group`.
#[derive(Args, Clone, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall group create line-1 --ca-reference root
  rollcall group create line-2 --symmetric-key --reprovision never
  rollcall group derive-key line-2 --registration-id dev-00001
  rollcall group update line-1 --disable
  rollcall group list --json
  rollcall group delete line-1 --yes")]
pub struct GroupArgs {
    /// Which instance.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub verb: GroupVerb,
}

/// What to do with enrollment groups.
#[derive(Subcommand, Clone, Debug)]
pub enum GroupVerb {
    /// Create an enrollment group on an uploaded CA certificate, a signing certificate or a shared key
    Create {
        /// Its name
        name: EnrollmentGroupId,
        /// How its devices attest.
        #[command(flatten)]
        attestation: GroupAttestation,
        /// Keep devices out until it is enabled
        #[arg(long)]
        disabled: bool,
        /// What becomes of its devices.
        #[command(flatten)]
        policy: Policy,
    },
    /// List the enrollment groups
    List,
    /// List the enrollment groups that a query selects
    Query {
        /// The query, such as 'SELECT * FROM enrollmentGroups'
        query: String,
    },
    /// Show one enrollment group
    Show {
        /// Its name
        name: EnrollmentGroupId,
    },
    /// Change an enrollment group and leave the rest of it as it is
    #[command(group = some_change())]
    Update {
        /// Its name
        name: EnrollmentGroupId,
        /// What to change.
        #[command(flatten)]
        changes: ChangeArgs,
    },
    /// Delete an enrollment group
    Delete {
        /// Its name
        name: EnrollmentGroupId,
        /// Whether to ask.
        #[command(flatten)]
        consent: Consent,
    },
    /// Print the shared keys of an enrollment group
    Keys {
        /// Its name
        name: EnrollmentGroupId,
    },
    /// Print the key of one device of a group with shared keys
    DeriveKey {
        /// The group's name
        name: EnrollmentGroupId,
        /// The device
        #[arg(long, value_name = "ID")]
        registration_id: RegistrationId,
        /// The group's key, base64: nothing is asked of the service then
        #[arg(long, value_name = "FILE")]
        primary_key_file: Option<PathBuf>,
    },
    /// Create, update or delete many enrollment groups from a file
    Import(ImportArgs),
}

/// Runs `rollcall group`.
pub async fn run(args: GroupArgs, output: Output) -> Result<(), Failure> {
    let GroupArgs { connection, verb } = args;
    let output = connection.output(output);
    if let GroupVerb::DeriveKey { registration_id, primary_key_file: Some(key), .. } = &verb {
        return keys::derive_offline(registration_id, key, output);
    }
    let session = Session::open(&connection, output)?;
    let done = match verb {
        GroupVerb::Create { name, attestation, disabled, policy } => {
            create(&session, &name, attestation, disabled, policy, output).await
        }
        GroupVerb::List => entry::list(&session, Collection::Groups, &Collection::Groups.all()).await,
        GroupVerb::Query { query } => entry::list(&session, Collection::Groups, &query).await,
        GroupVerb::Show { name } => entry::show(&session, &Entry::Group(name)).await,
        GroupVerb::Update { name, changes } => {
            entry::change(&session, &Entry::Group(name), &changes.changes()?).await
        }
        GroupVerb::Delete { name, consent } => {
            consent.obtain(&format!("enrollment group `{name}`"), &session).await?;
            entry::delete(&session, &Entry::Group(name)).await
        }
        GroupVerb::Keys { name } => keys::keys(&session, &Entry::Group(name)).await,
        GroupVerb::DeriveKey { name, registration_id, .. } => {
            keys::derive_online(&session, &Entry::Group(name), &registration_id).await
        }
        GroupVerb::Import(args) => import::run(&session, Collection::Groups, args).await,
    };
    done?;
    session.close();
    Ok(())
}

async fn create(
    session: &Session,
    name: &EnrollmentGroupId,
    attestation: GroupAttestation,
    disabled: bool,
    policy: Policy,
    output: Output,
) -> Result<(), Failure> {
    let references = attestation.authority.references();
    let status = disabled.then_some(ProvisioningStatus::Disabled);
    let changes = Changes { provisioning_status: status, ..policy.whole()? };
    let wanted = EnrollmentGroup {
        enrollment_group_id: name.to_string(),
        terms: changes.terms(attestation.authority.mechanism(output)?),
    };
    let group = session.operator.create_group(&wanted, now()).await?;
    let document = serde_json::to_value(&group).map_err(Failure::unexpected)?;
    entry::show_changed(session, Collection::Groups, &document);
    warn_unless_verified(session, &references).await;
    Ok(())
}

/// Warns where a new entry refers to a CA certificate that admits nobody yet. The entry is made by then, so that
/// what cannot be told is no failure.
pub(super) async fn warn_unless_verified(session: &Session, references: &[CaName]) {
    for name in references {
        match session.operator.certificate_for(name, "check").await {
            Ok(record) if record.properties.is_verified => {}
            Ok(_) => session.warn(format!(
                "CA certificate `{name}` is not verified: devices will be refused until `rollcall ca verify {name}`"
            )),
            Err(error) if error.is_not_found() => session.warn(format!(
                "there is no CA certificate `{name}`: devices will be refused until `rollcall ca upload {name}` and `rollcall ca verify {name}`"
            )),
            Err(error) => session.talk(format!("cannot tell whether CA certificate `{name}` is verified: {error}")),
        }
    }
}
