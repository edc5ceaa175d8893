//! What groups and individual enrollments have in common on the command line: lists, one entry, changes.

use super::policy::Policy;
use super::session::Session;
use super::table::{Table, fields};
use crate::cli::now;
use crate::exit::Failure;
use clap::{ArgGroup, Args};
use serde_json::Value;
use sim_operator::{Changes, Collection, Entry, Page};
use sim_protocol::attestation::{
    AllocationPolicy, AttestationKind, AttestationMechanism, ProvisioningStatus, Terms,
};

/// What to change of an entry.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct ChangeArgs {
    /// Whether it lets devices in.
    #[command(flatten)]
    pub switch: Switch,
    /// What becomes of its devices.
    #[command(flatten)]
    pub policy: Policy,
}

/// At least one of them.
pub(super) fn some_change() -> ArgGroup {
    let flags = ["enable", "disable", "reprovision", "allocation", "iot_hub", "webhook", "initial_twin"];
    ArgGroup::new("change").required(true).multiple(true).args(flags)
}

/// Whether an entry lets devices in.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Switch {
    /// Let devices in
    #[arg(long, conflicts_with = "disable")]
    pub enable: bool,
    /// Keep devices out
    #[arg(long)]
    pub disable: bool,
}

impl ChangeArgs {
    pub(super) fn changes(self) -> Result<Changes, Failure> {
        let status = match (self.switch.enable, self.switch.disable) {
            (true, _) => Some(ProvisioningStatus::Enabled),
            (_, true) => Some(ProvisioningStatus::Disabled),
            (false, false) => None,
        };
        Ok(Changes { provisioning_status: status, ..self.policy.changes()? })
    }
}

/// The names of the forms in which a collection is printed.
struct Forms {
    list: &'static str,
    one: &'static str,
    /// In the document of a deletion.
    kind: &'static str,
}

fn forms(collection: Collection) -> Forms {
    match collection {
        Collection::Groups => Forms { list: "rollcall.group-list/1", one: "rollcall.group/1", kind: "group" },
        Collection::Enrollments => {
            Forms { list: "rollcall.enrollment-list/1", one: "rollcall.enrollment/1", kind: "enrollment" }
        }
    }
}

/// Prints the entries that a query selects, to the last page.
pub(super) async fn list(session: &Session, collection: Collection, query: &str) -> Result<(), Failure> {
    let first = match collection {
        Collection::Groups => "NAME",
        Collection::Enrollments => "REGISTRATION",
    };
    let mut table = Table::new(&[first, "STATUS", "ATTESTATION"]);
    let mut all: Vec<Value> = Vec::new();
    let mut place: Option<String> = None;
    loop {
        let Page { items, continuation } =
            session.operator.entries_page(collection, query, place.as_deref(), now()).await?;
        match session.results() {
            // One document: it is printed when it is whole.
            Some(output) if output.json => all.extend(items),
            Some(output) => table.rows(items.iter().map(|item| row(collection, item)).collect(), output),
            None => {}
        }
        match continuation {
            Some(next) => place = Some(next),
            None => break,
        }
    }
    if all.is_empty() && table.is_empty() {
        session.talk(format!("no {}s", collection.noun()));
    }
    session.list(forms(collection).list, &all);
    Ok(())
}

/// Prints one entry in many lines.
pub(super) async fn show(session: &Session, entry: &Entry) -> Result<(), Failure> {
    let document = session.operator.entry(entry, now()).await?;
    if session.is_rehearsal() {
        return Ok(());
    }
    session.document(forms(entry.collection()).one, &document);
    let terms: Terms = serde_json::from_value(document.clone()).map_err(|error| {
        Failure::unexpected(format!("cannot show {} `{}`: {error}", entry.collection().noun(), entry.name()))
    })?;
    let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
    let hubs = terms.iot_hubs.map(|hubs| hubs.join(", ")).or(terms.iot_hub_host_name);
    let mut shown = vec![
        ("name", entry.name().to_owned()),
        ("status", status(terms.provisioning_status).to_owned()),
        ("attestation", attestation(&terms.attestation)),
    ];
    for (name, value) in [
        ("device", text("deviceId")),
        ("allocation", terms.allocation_policy.map(|policy| allocation(policy).to_owned())),
        ("webhook", terms.custom_allocation_definition.map(|custom| address(&custom.webhook_url))),
        ("hubs", hubs),
        (
            "reprovision",
            terms.reprovision_policy.map(|policy| {
                match (policy.update_hub_assignment, policy.migrate_device_data) {
                    (true, true) => "migrate",
                    (true, false) => "reset",
                    (false, _) => "never",
                }
                .to_owned()
            }),
        ),
        ("created", terms.created_date_time_utc),
        ("updated", terms.last_updated_date_time_utc),
        ("etag", terms.etag),
    ] {
        shown.extend(value.map(|value| (name, value)));
    }
    session.rows(&fields(shown));
    Ok(())
}

/// Changes one entry and prints it.
pub(super) async fn change(session: &Session, entry: &Entry, changes: &Changes) -> Result<(), Failure> {
    let document = session.operator.change(entry, changes, now()).await?;
    show_changed(session, entry.collection(), &document);
    Ok(())
}

/// Deletes one entry.
pub(super) async fn delete(session: &Session, entry: &Entry) -> Result<(), Failure> {
    session.operator.delete_entry(entry, now()).await?;
    let collection = entry.collection();
    session.deleted(forms(collection).kind, collection.noun(), entry.name());
    Ok(())
}

/// Prints an entry that was made or changed, in one line.
pub(super) fn show_changed(session: &Session, collection: Collection, document: &Value) {
    session.document(forms(collection).one, document);
    session.rows(&[row(collection, document)]);
}

/// The address of a webhook without its query, which carries the function's key.
fn address(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

fn row(collection: Collection, document: &Value) -> Vec<String> {
    let name = document.get(collection.id_field()).and_then(Value::as_str).unwrap_or("-");
    match serde_json::from_value::<Terms>(document.clone()) {
        Ok(terms) => vec![
            name.to_owned(),
            status(terms.provisioning_status).to_owned(),
            attestation(&terms.attestation),
        ],
        // A query may select less than the whole, and another version of the service may say more.
        Err(_) => vec![name.to_owned(), "-".to_owned(), "-".to_owned()],
    }
}

fn status(status: ProvisioningStatus) -> &'static str {
    match status {
        ProvisioningStatus::Enabled => "enabled",
        ProvisioningStatus::Disabled => "disabled",
    }
}

fn allocation(policy: AllocationPolicy) -> &'static str {
    match policy {
        AllocationPolicy::Hashed => "hashed",
        AllocationPolicy::GeoLatency => "geo-latency",
        AllocationPolicy::Static => "static",
        AllocationPolicy::Custom => "custom",
    }
}

/// How devices must attest, in a few words.
fn attestation(mechanism: &AttestationMechanism) -> String {
    let Some(x509) = &mechanism.x509 else { return kind(mechanism.kind).to_owned() };
    if let Some(references) = &x509.ca_references {
        let names: Vec<&str> =
            [&references.primary, &references.secondary].into_iter().flatten().map(String::as_str).collect();
        if !names.is_empty() {
            return format!("CA {}", names.join(", "));
        }
    }
    let (what, pair) = match (&x509.signing_certificates, &x509.client_certificates) {
        (Some(pair), _) => ("signing certificate", pair),
        (None, Some(pair)) => ("client certificate", pair),
        (None, None) => return kind(mechanism.kind).to_owned(),
    };
    let subjects: Vec<&str> = [&pair.primary, &pair.secondary]
        .into_iter()
        .flatten()
        .map(|slot| slot.info.as_ref().map_or("unknown", |info| info.subject_name.as_str()))
        .collect();
    format!("{what} {}", subjects.join(", "))
}

fn kind(kind: AttestationKind) -> &'static str {
    match kind {
        AttestationKind::None => "none",
        AttestationKind::Tpm => "TPM",
        AttestationKind::X509 => "X.509",
        AttestationKind::SymmetricKey => "symmetric key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_is_told_in_a_line_however_it_attests() {
        for (attestation, words) in [
            (
                json!({"type": "x509", "x509": {"caReferences": {"primary": "a", "secondary": "b"}}}),
                "CA a, b",
            ),
            (
                json!({"type": "x509", "x509": {"clientCertificates": {"primary": {}}}}),
                "client certificate unknown",
            ),
            (json!({"type": "x509", "x509": {}}), "X.509"),
            (json!({"type": "symmetricKey"}), "symmetric key"),
            (json!({"type": "somethingNew"}), "-"),
        ] {
            let document = json!({"registrationId": "dev", "attestation": attestation});
            let cells = row(Collection::Enrollments, &document);
            assert_eq!((cells[0].as_str(), cells[2].as_str()), ("dev", words));
        }
    }

    #[test]
    fn the_key_of_a_webhook_is_not_shown() {
        assert_eq!(address("https://f.example/api/x?code=hush"), "https://f.example/api/x");
    }
}
