//! Shared keys of an entry, and those that devices of a group derive from them. Printing them is what these verbs
//! are for; nothing else here shows a key.

use super::attest::shared_key;
use super::session::Session;
use super::table::fields;
use crate::cli::now;
use crate::cli::output::Output;
use crate::exit::Failure;
use serde::Serialize;
use sim_operator::Entry;
use sim_protocol::RegistrationId;
use sim_protocol::attestation::SymmetricKeys;
use sim_protocol::sas::SharedKey;
use std::path::Path;

/// The keys of an entry.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Keys<'a> {
    name: &'a str,
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

/// The key of one device of a group.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DerivedKey<'a> {
    schema: &'static str,
    registration_id: &'a str,
    key: String,
}

/// Prints the keys of an entry.
pub(super) async fn keys(session: &Session, entry: &Entry) -> Result<(), Failure> {
    let SymmetricKeys { primary_key, secondary_key } = of(session, entry).await?;
    let rows = [("primary", primary_key.clone()), ("secondary", secondary_key.clone())];
    let rows = rows.into_iter().filter_map(|(name, key)| Some((name, key?)));
    session.document("rollcall.keys/1", &Keys { name: entry.name(), primary_key, secondary_key });
    session.rows(&fields(rows.collect()));
    Ok(())
}

async fn of(session: &Session, entry: &Entry) -> Result<SymmetricKeys, Failure> {
    let mechanism = session.operator.mechanism(entry, now()).await?;
    match mechanism.symmetric_key {
        Some(keys) => Ok(keys),
        // Nobody was asked.
        None if session.is_rehearsal() => Ok(SymmetricKeys::default()),
        None => Err(Failure::usage(format!(
            "{} `{}` has no keys: its devices attest otherwise",
            entry.collection().noun(),
            entry.name()
        ))),
    }
}

/// Prints the key of a device, derived from a group's key in a file.
pub(super) fn derive_offline(id: &RegistrationId, key: &Path, output: Output) -> Result<(), Failure> {
    print(id, &shared_key(key)?, output);
    Ok(())
}

/// Prints the key of a device, derived from the key that the service has for its group.
pub(super) async fn derive_online(
    session: &Session,
    group: &Entry,
    id: &RegistrationId,
) -> Result<(), Failure> {
    let primary = of(session, group).await?.primary_key;
    let Some(output) = session.results() else { return Ok(()) };
    let unusable = |reason: &dyn std::fmt::Display| {
        Failure::unexpected(format!("cannot use the key of group `{}`: {reason}", group.name()))
    };
    let Some(primary) = primary else { return Err(unusable(&"the service does not show it")) };
    print(id, &SharedKey::from_base64(&primary).map_err(|fault| unusable(&fault))?, output);
    Ok(())
}

fn print(id: &RegistrationId, group: &SharedKey, output: Output) {
    let key = group.derive(id.as_str()).to_base64();
    output.line(&key);
    output.json(&DerivedKey { schema: "rollcall.derived-key/1", registration_id: id.as_str(), key });
}
