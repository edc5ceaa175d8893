//! `rollcall registration`: registration records at the service API.

use super::connection::Connection;
use super::consent::Consent;
use super::session::Session;
use super::table::{Table, fields};
use crate::cli::now;
use crate::cli::output::Output;
use crate::exit::Failure;
use clap::{Args, Subcommand};
use sim_operator::Page;
use sim_protocol::registration::{RegistrationState, RegistrationStatus};
use sim_protocol::{EnrollmentGroupId, RegistrationId};

/// `rollcall registration`.
#[derive(Args, Clone, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall registration list --group line-1
  rollcall registration show dev-00001 --json
  rollcall registration delete dev-00001 --yes")]
pub struct RegistrationArgs {
    /// Which instance.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub verb: RegistrationVerb,
}

/// What to do with registrations.
#[derive(Subcommand, Clone, Debug)]
pub enum RegistrationVerb {
    /// List the registrations of an enrollment group
    List {
        /// The group
        #[arg(long, value_name = "NAME")]
        group: EnrollmentGroupId,
    },
    /// Show one registration
    Show {
        /// Its registration id
        id: RegistrationId,
    },
    /// Delete a registration; the device's next one starts afresh
    Delete {
        /// Its registration id
        id: RegistrationId,
        /// Whether to ask.
        #[command(flatten)]
        consent: Consent,
    },
}

/// Runs `rollcall registration`.
pub async fn run(args: RegistrationArgs, output: Output) -> Result<(), Failure> {
    let RegistrationArgs { connection, verb } = args;
    let session = Session::open(&connection, output)?;
    match verb {
        RegistrationVerb::List { group } => list(&session, &group).await?,
        RegistrationVerb::Show { id } => show(&session, &id).await?,
        RegistrationVerb::Delete { id, consent } => {
            consent.obtain(&format!("registration `{id}`"), &session).await?;
            session.operator.delete_registration(&id, now()).await?;
            session.deleted("registration", "registration", id.as_str());
        }
    }
    session.close();
    Ok(())
}

async fn list(session: &Session, group: &EnrollmentGroupId) -> Result<(), Failure> {
    let mut table = Table::new(&["REGISTRATION", "STATUS", "DEVICE", "HUB", "UPDATED"]);
    let mut all: Vec<RegistrationState> = Vec::new();
    let mut place: Option<String> = None;
    loop {
        let Page { items, continuation } =
            session.operator.registrations_page(group, place.as_deref(), now()).await?;
        match session.results() {
            // One document: it is printed when it is whole.
            Some(output) if output.json => all.extend(items),
            Some(output) => table.rows(items.iter().map(row).collect(), output),
            None => {}
        }
        match continuation {
            Some(next) => place = Some(next),
            None => break,
        }
    }
    if all.is_empty() && table.is_empty() {
        session.talk("no registrations");
    }
    session.list("rollcall.registration-list/1", &all);
    Ok(())
}

async fn show(session: &Session, id: &RegistrationId) -> Result<(), Failure> {
    let state = session.operator.registration(id, now()).await?;
    session.document("rollcall.registration/1", &state);
    let mut shown = vec![
        ("registration", state.registration_id.unwrap_or_else(|| id.to_string())),
        ("status", status(state.status).to_owned()),
    ];
    for (name, value) in [
        ("device", state.device_id),
        ("hub", state.assigned_hub),
        ("error", state.error_code.map(|code| code.to_string())),
        ("message", state.error_message),
        ("created", state.created_date_time_utc),
        ("updated", state.last_updated_date_time_utc),
        ("etag", state.etag),
    ] {
        shown.extend(value.map(|value| (name, value)));
    }
    session.rows(&fields(shown));
    Ok(())
}

fn status(status: RegistrationStatus) -> &'static str {
    match status {
        RegistrationStatus::Unassigned => "unassigned",
        RegistrationStatus::Assigning => "assigning",
        RegistrationStatus::Assigned => "assigned",
        RegistrationStatus::Failed => "failed",
        RegistrationStatus::Disabled => "disabled",
    }
}

fn row(state: &RegistrationState) -> Vec<String> {
    let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".into());
    let mut status = status(state.status).to_owned();
    if let Some(code) = state.error_code {
        status.push_str(&format!(" {code}"));
    }
    vec![
        text(&state.registration_id),
        status,
        text(&state.device_id),
        text(&state.assigned_hub),
        text(&state.last_updated_date_time_utc),
    ]
}
