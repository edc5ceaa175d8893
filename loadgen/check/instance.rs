//! What an instance holds: from certificates on the disk, from what the operator's tools print, from the state file of
//! a mock, or asked of the service.
//!
//! Exports are told apart by looking at them. These commands print what is read here:
//!
//! ```text
//! az iot dps certificate list      --dps-name NAME --resource-group GROUP -o json > cas.json
//! az iot dps enrollment-group list --dps-name NAME --resource-group GROUP -o json > groups.json
//! az iot dps enrollment list       --dps-name NAME --resource-group GROUP -o json > devices.json
//!
//! rollcall ca list         --json > cas.json
//! rollcall group list      --json > groups.json
//! rollcall enrollment list --json > devices.json
//! ```
//!
//! and `show` in the place of `list` for one of them. The service lists CA certificates without their content
//! (recorded traffic of the official CLI): what it lists is found by its SHA-1 thumbprint among the certificates that
//! are at hand, those of the flags and those that the devices send.
//!
//! Where everything is known, one file says it all:
//!
//! ```json
//! {"schema": "rollcall.instance/1",
//!  "certificates": [{"name": "root", "certificate": "-----BEGIN CERTIFICATE-----…", "verified": true}],
//!  "groups": [{"name": "line-1", "enabled": true, "primary": "-----BEGIN CERTIFICATE-----…", "secondary": null}],
//!  "individuals": [{"registration_id": "dev-1", "enabled": false, "thumbprints": ["<sha-256, hexadecimal>"]}]}
//! ```

mod document;
mod export;
mod flags;

use crate::exit::Failure;
use document::Document;
pub use flags::GroupFile;
use sim_dps::certificates::sha1_hex;
use sim_identity::Certificate;
use sim_identity::preflight::{
    CaState, Finding, Group, Individual, Instance, InstanceCredential, Slot, UploadedCa,
};
use sim_operator::{Collection, Entry, Operator};
use sim_protocol::RegistrationId;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use time::OffsetDateTime;

/// What the user says about an instance.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Files whose certificates are verified in the instance; a CA is called by the name of its file.
    pub verified: Vec<PathBuf>,
    /// Files with CA certificates of which nothing is said: they put content to what an export lists by thumbprint.
    pub authorities: Vec<PathBuf>,
    /// Enrollment groups, each with a certificate.
    pub groups: Vec<GroupFile>,
    /// What tools print, and state files.
    pub exports: Vec<PathBuf>,
}

/// An instance, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// What it holds.
    pub instance: Instance,
    /// What was left out of it and why, and what contradicts what.
    pub notes: Vec<String>,
    /// What the given files themselves have wrong.
    pub findings: Vec<Finding>,
    /// CA certificates that are listed and not at hand.
    pub missing: Vec<MissingCa>,
    /// CA certificates that are at hand and of which nothing is said: a chain can be completed with them.
    pub spare: Vec<Arc<Certificate>>,
}

/// A CA certificate that is known by its thumbprint alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingCa {
    /// Its name in the instance.
    pub name: String,
    /// SHA-1, upper-case hexadecimal.
    pub thumbprint: String,
    /// Its subject, as the service shows it.
    pub subject: String,
    /// Whether it is verified.
    pub verified: bool,
}

/// Reads what the user says about an instance. `sent` are certificates that are at hand besides, those that the
/// devices send: what an export lists by thumbprint may be among them.
///
/// # Errors
/// With [`crate::exit::Exit::Usage`] for a file that cannot be used, and where none of the verified CA certificates
/// is at hand: every chain would be refused for want of it.
pub fn from_files(given: &Given, sent: &[Arc<Certificate>]) -> Result<Known, Failure> {
    let mut builder = Builder::default();
    builder.at_hand.extend(sent.iter().cloned());
    flags::read(given, &mut builder)?;
    for path in &given.exports {
        export::read(path, &mut builder)?;
    }
    builder.finish()
}

/// What an empty list comes to: which list it is cannot be seen.
const EMPTY_LIST: &str = "an empty list does not say of what; beside CA certificates it is taken for that of the \
                          groups, so that there are none";

/// Asks the service: its CA certificates, its groups, and the individual enrollment of one device or of all. Only
/// reads. `given` and `sent` say what [`from_files`] takes them to say: the service shows no CA certificate's content.
///
/// # Errors
/// As the service refuses, and as [`from_files`].
pub async fn live(
    operator: &Operator,
    device: Option<&RegistrationId>,
    given: &Given,
    sent: &[Arc<Certificate>],
    now: OffsetDateTime,
) -> Result<Known, Failure> {
    let mut builder = Builder::default();
    builder.known.instance.enrollments_known = true;
    builder.at_hand.extend(sent.iter().cloned());
    flags::read(given, &mut builder)?;
    const PLACE: &str = "the answer of the service";
    let taken = |builder: &mut Builder, item: serde_json::Value| {
        let document =
            Document::of(&item).map_err(|fault| Failure::unexpected(format!("{PLACE}: {fault}")))?;
        builder.take(document, PLACE)
    };
    for ca in operator.certificates().await? {
        taken(&mut builder, serde_json::to_value(ca).map_err(Failure::unexpected)?)?;
    }
    let mut wanted = vec![Collection::Groups];
    match device {
        None => wanted.push(Collection::Enrollments),
        Some(id) => match operator.entry(&Entry::Individual(id.clone()), now).await {
            Ok(item) => taken(&mut builder, item)?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        },
    }
    for collection in wanted {
        let mut place: Option<String> = None;
        loop {
            let page = operator.entries_page(collection, &collection.all(), place.as_deref(), now).await?;
            for item in page.items {
                taken(&mut builder, item)?;
            }
            place = page.continuation;
            if place.is_none() {
                break;
            }
        }
    }
    for path in &given.exports {
        export::read(path, &mut builder)?;
    }
    builder.finish()
}

/// An instance that is being put together.
#[derive(Default)]
struct Builder {
    known: Known,
    /// Certificates that may be what something is the thumbprint of.
    at_hand: Vec<Arc<Certificate>>,
    /// CAs that are listed without their content.
    listed: Vec<Listed>,
    /// CAs of the flags that no export has named yet, by SHA-256.
    flagged: HashSet<[u8; 32]>,
    groups: Vec<document::Group>,
    individuals: Vec<document::Individual>,
    /// Whether one of the exports is a list with nothing in it.
    empty_list: bool,
}

/// A CA that is listed without its content.
struct Listed {
    ca: MissingCa,
    state: CaState,
}

impl Builder {
    fn note(&mut self, text: String) {
        if !self.known.notes.contains(&text) {
            self.known.notes.push(text);
        }
    }

    /// Takes in one thing of an export; `place` is where it stands.
    fn take(&mut self, document: Document, place: &str) -> Result<(), Failure> {
        match document {
            Document::Ca(ca) => self.ca(ca),
            Document::Group(group) => {
                self.known.instance.enrollments_known = true;
                self.groups.push(group);
            }
            Document::Individual(individual) => self.individuals.push(individual),
            Document::Ignored { what, why } => {
                self.known.instance.enrollments_known = true;
                self.note(format!("{what} in {place} is left out: {why}"));
            }
        }
        Ok(())
    }

    fn ca(&mut self, ca: document::Ca) {
        let document::Ca { name, state, certificate, thumbprint, subject, is_told } = ca;
        if !is_told {
            self.note(format!(
                "CA certificate `{name}` does not say whether it is verified (isVerified); it is taken as not verified"
            ));
        }
        match certificate {
            Some(certificate) => {
                self.at_hand.push(certificate.clone());
                self.upload(name, certificate, state);
            }
            None => {
                let verified = state == CaState::Verified;
                let ca = MissingCa { name, thumbprint, subject, verified };
                self.listed.push(Listed { ca, state });
            }
        }
    }

    /// Adds a CA. What the flags say comes first and counts for more than an export, which gives it its name.
    fn upload(&mut self, name: String, certificate: Arc<Certificate>, state: CaState) {
        if !self.flagged.remove(certificate.sha256()) {
            self.known.instance.cas.push(UploadedCa { name: Some(name), certificate, state });
            return;
        }
        if state != CaState::Verified {
            self.note(format!(
                "CA certificate `{name}` is not verified in the export; it is taken as verified, as --verified says"
            ));
        }
        let known = self.known.instance.cas.iter_mut().find(|ca| ca.certificate == certificate);
        known.into_iter().for_each(|known| known.name = Some(name.clone()));
    }

    /// Puts content to thumbprints and hands the whole over.
    fn finish(mut self) -> Result<Known, Failure> {
        let by_sha1: HashMap<String, Arc<Certificate>> = match self.needs_sha1() {
            true => self.at_hand.iter().map(|c| (sha1_hex(c.der()), c.clone())).collect(),
            false => HashMap::new(),
        };
        for Listed { ca, state } in std::mem::take(&mut self.listed) {
            match by_sha1.get(&ca.thumbprint.to_ascii_uppercase()) {
                Some(certificate) => self.upload(ca.name, certificate.clone(), state),
                None => self.known.missing.push(ca),
            }
        }
        for group in std::mem::take(&mut self.groups) {
            self.group(group, &by_sha1)?;
        }
        for individual in std::mem::take(&mut self.individuals) {
            let document::Individual { id, enabled, credential } = individual;
            let credential = match credential {
                document::Credential::Leaves(leaves) => InstanceCredential::Leaves(leaves),
                document::Credential::Authorities(slots) => {
                    let slots = slots.into_iter().map(|slot| self.slot(slot, &by_sha1, &id.to_string()));
                    InstanceCredential::Authorities(slots.collect::<Result<_, _>>()?)
                }
                document::Credential::Keys => InstanceCredential::Keys,
            };
            let key = id.key();
            let individual = Individual { registration_id: id, enabled, credential };
            self.known.instance.individuals.insert(key, individual);
        }
        self.names_missing()?;
        if self.empty_list && !self.known.instance.enrollments_known {
            self.known.instance.enrollments_known = !self.known.instance.cas.is_empty();
            self.note(EMPTY_LIST.to_owned());
        }
        Ok(self.known)
    }

    fn needs_sha1(&self) -> bool {
        let by_sha1 = |slot: &document::Slot| matches!(slot, document::Slot::Sha1(_));
        !self.listed.is_empty()
            || self.groups.iter().any(|g| [&g.primary, &g.secondary].into_iter().flatten().any(by_sha1))
            || self.individuals.iter().any(|i| match &i.credential {
                document::Credential::Authorities(slots) => slots.iter().any(by_sha1),
                _ => false,
            })
    }

    fn group(
        &mut self,
        group: document::Group,
        by_sha1: &HashMap<String, Arc<Certificate>>,
    ) -> Result<(), Failure> {
        let document::Group { id, enabled, primary, secondary } = group;
        if self.known.instance.groups.iter().any(|known| known.id == id) {
            self.note(format!(
                "group `{id}` is told of twice; what was told first counts, flags before exports"
            ));
            return Ok(());
        }
        let named = id.to_string();
        let slot = |slot: Option<document::Slot>| slot.map(|s| self.slot(s, by_sha1, &named)).transpose();
        let (primary, secondary) = (slot(primary)?, slot(secondary)?);
        self.known.instance.groups.push(Group { id, enabled, primary, secondary });
        Ok(())
    }

    /// What a slot holds, with the certificate where it is at hand.
    fn slot(
        &self,
        slot: document::Slot,
        by_sha1: &HashMap<String, Arc<Certificate>>,
        entry: &str,
    ) -> Result<Slot, Failure> {
        Ok(match slot {
            document::Slot::Reference(name) => Slot::Reference(name),
            document::Slot::Certificate(certificate) => {
                Slot::Certificate { sha256: *certificate.sha256(), certificate: Some(certificate) }
            }
            document::Slot::Sha256(sha256) => {
                let certificate = self.at_hand.iter().find(|c| *c.sha256() == sha256).cloned();
                Slot::Certificate { sha256, certificate }
            }
            document::Slot::Sha1(thumbprint) => {
                let found = by_sha1.get(&thumbprint).cloned().ok_or_else(|| {
                    let fault = format!("cannot tell which certificate `{entry}` has: it is listed by its SHA-1 thumbprint {thumbprint} alone");
                    Failure::usage(fault).advise("Give its file with --ca FILE; it is found by its thumbprint.")
                })?;
                Slot::Certificate { sha256: *found.sha256(), certificate: Some(found) }
            }
        })
    }

    /// Says which certificates are not at hand; fails where nothing could be let in for want of them.
    fn names_missing(&mut self) -> Result<(), Failure> {
        let verified = self.known.instance.cas.iter().any(|ca| ca.state == CaState::Verified);
        let wanted: Vec<String> =
            self.known.missing.iter().filter(|ca| ca.verified).map(MissingCa::to_string).collect();
        if !verified && !wanted.is_empty() {
            let fault = format!(
                "cannot judge against this instance: its verified CA certificates are listed without their content: {}",
                wanted.join(", ")
            );
            return Err(Failure::usage(fault).advise(
                "Give the files that were uploaded with --ca FILE; each is found by its thumbprint. The service does not \
                 show their content.",
            ));
        }
        for ca in self.known.missing.clone() {
            let advice =
                if ca.verified { "; give its file with --ca FILE if devices rely on it" } else { "" };
            self.note(format!("CA certificate {ca} is listed without its content, and is left out{advice}"));
        }
        Ok(())
    }
}

impl std::fmt::Display for MissingCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MissingCa { name, thumbprint, subject, .. } = self;
        write!(f, "`{name}` ({subject}, thumbprint {thumbprint})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::{World, pem};
    use crate::cli::now;
    use crate::exit::Exit;
    use serde_json::{Value, json};
    use sim_dps::{Server, ServerConfig};
    use sim_identity::Seed;
    use sim_identity::verdict::Trust;
    use sim_protocol::EnrollmentGroupId;

    /// A CA as the resource manager lists it: without its content.
    fn arm_ca(name: &str, certificate: &Certificate, verified: bool) -> Value {
        json!({
            "etag": "AAAAAAFPTRp=", "id": format!("/subscriptions/x/certificates/{name}"), "name": name,
            "properties": {
                "certificate": null, "created": "0001-01-01T00:00:00+00:00", "expiry": "2027-06-01T00:00:00+00:00",
                "isVerified": verified, "subject": "test root", "thumbprint": sha1_hex(certificate.der()),
                "updated": "2026-06-01T00:00:00+00:00",
            },
            "resourceGroup": "g", "type": "Microsoft.Devices/provisioningServices/Certificates",
        })
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02X}")).collect()
    }

    /// A slot as the service shows it: what was read in the certificate.
    fn info(certificate: &Certificate) -> Value {
        json!({"certificate": null, "info": {
            "issuerName": "CN=x", "notAfterUtc": "2027-06-01T00:00:00Z", "notBeforeUtc": "2026-06-01T00:00:00Z",
            "serialNumber": "01", "sha1Thumbprint": sha1_hex(certificate.der()),
            "sha256Thumbprint": hex(certificate.sha256()), "subjectName": "CN=x", "version": 3,
        }})
    }

    /// A group as `az iot dps enrollment-group list` prints it.
    fn az_group(name: &str, x509: Value, status: &str) -> Value {
        json!({
            "allocationPolicy": null, "attestation": {"symmetricKey": null, "tpm": null, "type": "x509", "x509": x509},
            "capabilities": {"iotEdge": false}, "createdDateTimeUtc": "2026-06-01T00:00:00Z",
            "customAllocationDefinition": null, "enrollmentGroupId": name, "etag": "e", "initialTwin": null,
            "iotHubs": null, "provisioningStatus": status, "reprovisionPolicy": null,
        })
    }

    fn by_value(primary: Value) -> Value {
        json!({"caReferences": null, "clientCertificates": null,
               "signingCertificates": {"primary": primary, "secondary": null}})
    }

    fn by_name(name: &str) -> Value {
        json!({"caReferences": {"primary": name, "secondary": ""}, "clientCertificates": null,
               "signingCertificates": null})
    }

    fn snake(value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let fold = |key: &String| {
                    key.chars().fold(String::new(), |text, c| match c.is_ascii_uppercase() {
                        true => text + "_" + &c.to_ascii_lowercase().to_string(),
                        false => text + &c.to_string(),
                    })
                };
                Value::Object(object.iter().map(|(key, value)| (fold(key), snake(value))).collect())
            }
            Value::Array(items) => items.iter().map(snake).collect(),
            other => other.clone(),
        }
    }

    fn read(world: &World, texts: &[String], sent: &[Arc<Certificate>]) -> Result<Known, Failure> {
        let exports =
            texts.iter().enumerate().map(|(i, text)| world.write(&format!("export-{i}.json"), text));
        from_files(&Given { exports: exports.collect(), ..Given::default() }, sent)
    }

    type ShownEntry = (String, bool, [u8; 32]);

    /// What is verified and which groups there are, in a form that can be compared.
    fn shown(trust: &Trust) -> (Vec<[u8; 32]>, Vec<ShownEntry>) {
        let entry = |e: &sim_identity::verdict::Entry| (e.group.to_string(), e.enabled, e.sha256);
        (trust.verified.iter().map(|c| *c.sha256()).collect(), trust.entries.iter().map(entry).collect())
    }

    #[test]
    fn what_az_and_rollcall_print_comes_to_the_same_instance() {
        let world = World::new();
        let (root, line) = (world.root(), world.line());
        let cas = json!([arm_ca("root1", &root, true), arm_ca("spare", &line, false)]);
        let groups = json!([
            az_group("by-value", by_value(info(&line)), "disabled"),
            az_group("by-name", by_name("root1"), "enabled"),
            {"enrollmentGroupId": "keys", "attestation": {"type": "symmetricKey", "symmetricKey": {}}},
        ]);
        let expected = (
            vec![*root.sha256()],
            vec![
                ("by-value".to_owned(), false, *line.sha256()),
                ("by-name".to_owned(), true, *root.sha256()),
            ],
        );
        let wrapped = |schema: &str, value: &Value| json!({"schema": schema, "value": value});
        let with_content = |value: &Value| {
            let mut value = value.clone();
            value[0]["properties"]["certificate"] = json!(pem(&root));
            value
        };
        let rows: Vec<[Value; 2]> = vec![
            [json!({"value": cas}), groups.clone()],
            [cas.clone(), groups.clone()],
            [wrapped("rollcall.ca-list/1", &cas), wrapped("rollcall.group-list/1", &groups)],
            [snake(&json!({"value": cas})), snake(&groups)],
            [with_content(&cas), groups.clone()],
        ];
        for row in &rows {
            for indented in [false, true] {
                let text = |value: &Value| if indented { format!("{value:#}") } else { value.to_string() };
                let known = read(&world, &row.each_ref().map(text), &world.chain()).expect("an instance");
                assert_eq!(shown(&known.instance.trust()), expected, "{row:?}");
                assert_eq!(known.notes.len(), 1, "the group with keys: {:?}", known.notes);
                assert_eq!(known.missing, []);
            }
        }
    }

    #[test]
    fn one_thing_alone_is_read_as_show_prints_it() {
        let world = World::new();
        let texts = [
            arm_ca("root1", &world.root(), true).to_string(),
            az_group("g", by_name("root1"), "enabled").to_string(),
            json!({"registrationId": "dev-1", "attestation": {"type": "x509", "x509":
                {"clientCertificates": {"primary": info(&world.leaf())}}}, "provisioningStatus": "disabled"})
            .to_string(),
        ];
        let known = read(&world, &texts, &world.chain()).expect("an instance");
        assert_eq!(shown(&known.instance.trust()).1, [("g".to_owned(), true, *world.root().sha256())]);
        let individual = &known.instance.individuals["dev-1"];
        let InstanceCredential::Leaves(leaves) = &individual.credential else { panic!("{individual:?}") };
        assert_eq!((individual.enabled, leaves.as_slice()), (false, &[*world.leaf().sha256()][..]));
    }

    #[test]
    fn individual_enrollments_ask_for_leaves_authorities_or_keys() {
        let world = World::new();
        let entry = |id: &str, attestation: Value| json!({"registrationId": id, "attestation": attestation});
        let x509 = |x509: Value| json!({"type": "x509", "x509": x509});
        let entries = json!([
            entry("A", x509(json!({"clientCertificates": {"primary": {"certificate": pem(&world.leaf())}}}))),
            entry("b", x509(by_value(info(&world.line())))),
            entry("c", x509(by_name("root1"))),
            entry("d", json!({"type": "symmetricKey"})),
            entry("e", json!({"type": "tpm", "tpm": {"endorsementKey": "x"}})),
        ]);
        let individuals =
            read(&world, &[entries.to_string()], &[]).expect("an instance").instance.individuals;
        let kind = |id: &str| match &individuals[id].credential {
            InstanceCredential::Leaves(leaves) => format!("{} leaf", leaves.len()),
            InstanceCredential::Authorities(slots) => format!("{} authority", slots.len()),
            InstanceCredential::Keys => "keys".to_owned(),
        };
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(kind),
            ["1 leaf", "1 authority", "1 authority", "keys", "keys"]
        );
    }

    #[test]
    fn our_own_form_says_it_all() {
        let world = World::new();
        let own = json!({
            "schema": "rollcall.instance/1",
            "certificates": [{"name": "root1", "certificate": pem(&world.root()), "verified": true}],
            "groups": [{"name": "g", "enabled": true, "primary": pem(&world.line()), "secondary": null}],
            "individuals": [{"registration_id": "dev-1", "enabled": false,
                             "thumbprints": [hex(world.leaf().sha256()).to_lowercase()]}],
        });
        let known = read(&world, &[own.to_string()], &[]).expect("an instance");
        let expected = (vec![*world.root().sha256()], vec![("g".to_owned(), true, *world.line().sha256())]);
        assert_eq!(shown(&known.instance.trust()), expected);
        assert!(!known.instance.individuals["dev-1"].enabled);
    }

    #[test]
    fn flags_name_cas_by_their_files_and_count_for_more_than_exports() {
        let world = World::new();
        let (root, line) =
            (world.write("root1.pem", &pem(&world.root())), world.write("l.pem", &pem(&world.line())));
        let name = |text: &str| EnrollmentGroupId::new(text).expect("a good name");
        let group =
            |text: &str, file: &PathBuf, enabled| GroupFile { name: name(text), file: file.clone(), enabled };
        let export = json!([
            arm_ca("uploaded", &world.root(), false),
            az_group("g", by_name("nobody"), "disabled"),
            az_group("h", by_name("uploaded"), "enabled"),
        ]);
        let given = Given {
            verified: vec![root.clone()],
            groups: vec![group("g", &line, true), group("g", &root, true)],
            exports: vec![world.write("export.json", &export.to_string())],
            ..Given::default()
        };
        let known = from_files(&given, &[]).expect("an instance");
        let (verified, mut entries) = shown(&known.instance.trust());
        assert_eq!(verified, [*world.root().sha256()]);
        entries.sort();
        let mut expected = vec![
            ("g".to_owned(), true, *world.line().sha256()),
            ("g".to_owned(), true, *world.root().sha256()),
            ("h".to_owned(), true, *world.root().sha256()),
        ];
        expected.sort();
        assert_eq!(entries, expected);
        assert_eq!(known.notes.len(), 2, "both contradictions: {:?}", known.notes);

        let thrice = Given { groups: vec![group("g", &root, true); 3], ..Given::default() };
        assert_eq!(from_files(&thrice, &[]).err().map(|f| f.exit), Some(Exit::Usage));
        let key = world.write("key.pem", &(pem(&world.root()) + &world.key_pem()));
        let exposed = Given { verified: vec![key], ..Given::default() };
        let failure = from_files(&exposed, &[]).expect_err("a key");
        assert!(failure.exit == Exit::Usage && failure.message.contains("private key"), "{failure}");
    }

    #[test]
    fn a_verified_ca_that_is_not_at_hand_is_asked_for_where_nothing_goes_without_it() {
        let world = World::new();
        let cas = |list: &[Value]| [json!({"value": list}).to_string()];
        let (root, line) = (arm_ca("root1", &world.root(), true), arm_ca("line", &world.line(), true));
        let failure = read(&world, &cas(std::slice::from_ref(&root)), &[]).expect_err("nothing at hand");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("`root1`") && failure.advice.is_some(), "{failure}");
        let known = read(&world, &cas(&[root, line]), &[world.root()]).expect("one is at hand");
        assert_eq!(known.missing.iter().map(|ca| ca.name.as_str()).collect::<Vec<_>>(), ["line"]);
        let unverified = arm_ca("spare", &world.root(), false);
        assert!(read(&world, &cas(&[unverified]), &[]).is_ok());
        let given = Given {
            authorities: vec![world.write("known.pem", &pem(&world.root()))],
            exports: vec![world.write("cas.json", &cas(&[arm_ca("r", &world.root(), true)])[0])],
            ..Given::default()
        };
        let known = from_files(&given, &[]).expect("at hand");
        assert_eq!(shown(&known.instance.trust()).0, [*world.root().sha256()]);
    }

    #[test]
    fn what_cannot_be_used_is_placed() {
        let world = World::new();
        for (text, place) in [
            ("", "line 1, column 0"),
            ("[1]", "line 1, column 2"),
            ("\n {\"a\": }", "line 2, column 8"),
            ("{\"value\": [\n {\"name\": \"x\"}]}", "line 2, column 2"),
            ("{\"registrationId\": \"dev-1\", \"status\": \"assigned\"}", "line 1, column 1"),
            ("\"text\"", "line 1, column 1"),
            ("hostname,key\n", "line 1, column"),
            (
                "[{\"enrollmentGroupId\": \"g\", \"attestation\": {\"type\": \"x509\"}},\n 7]",
                "line 2, column 2",
            ),
        ] {
            let failure = read(&world, &[text.to_owned()], &[]).expect_err(text);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(
                failure.message.contains(place) && failure.message.contains("export-0.json"),
                "{text}: {failure}"
            );
        }
        for text in ["[]", "{\"value\": []}", "{\"schema\": \"rollcall.instance/1\"}"] {
            assert!(read(&world, &[text.to_owned()], &[]).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_state_file_of_a_mock_says_what_its_operators_wrote() {
        use sim_operator::Endpoint;
        use sim_protocol::CaName;
        use sim_protocol::attestation::{
            AttestationMechanism, CertificatePair, CertificateSlot, EnrollmentGroup, IndividualEnrollment,
            X509Attestation,
        };
        use sim_protocol::sas::SharedKey;
        let world = World::new();
        let slot = |c: &Certificate| {
            Some(CertificatePair {
                primary: Some(CertificateSlot { certificate: Some(pem(c)), info: None }),
                secondary: None,
            })
        };
        let (state, copy) = (world.path("state.redb"), world.path("copy.redb"));
        let given = |path: &PathBuf| Given { exports: vec![path.clone()], ..Given::default() };
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let config = ServerConfig::new(Seed::from_number(1)).expect("a configuration");
            let key = SharedKey::from_base64(&"AAAA".repeat(16)).expect("a key");
            let config =
                ServerConfig { state: Some(state.clone()), service_key: Some(key.clone()), ..config };
            let server = Server::spawn(config).await.expect("a mock");
            let root = Certificate::from_der(server.trust_root()).expect("a root");
            let operator = Operator::new(Endpoint {
                trust_root: Some(pem(&root).into_bytes()),
                service_key: Some(key),
                ..Endpoint::at(format!("https://{}", server.https()))
            });
            let operator = operator.expect("an operator");
            let name = CaName::new("root1").expect("a good name");
            operator.upload(&name, pem(&world.root()).as_bytes(), true).await.expect("uploads");
            let x509 = X509Attestation { signing_certificates: slot(&world.line()), ..Default::default() };
            operator.create_group(&EnrollmentGroup::x509("g", x509), now()).await.expect("creates");
            let x509 = X509Attestation { client_certificates: slot(&world.leaf()), ..Default::default() };
            let one = IndividualEnrollment::new("dev-1", AttestationMechanism::x509(x509));
            operator.create_enrollment(&one, now()).await.expect("creates");

            let device = RegistrationId::new("dev-1").expect("a good id");
            for device in [None, Some(&device)] {
                let sent = world.chain();
                let asked =
                    live(&operator, device, &Given::default(), &sent, now()).await.expect("an instance");
                assert_eq!(asked.instance.trust().entries.len(), 1);
                assert_eq!((asked.instance.cas.len(), asked.instance.individuals.len()), (1, 1));
            }
            let busy = from_files(&given(&state), &[]).expect_err("a mock has it open");
            assert_eq!(busy.exit, Exit::Usage);
            // As it is when a mock is killed.
            std::fs::copy(&state, &copy).expect("copied");
            server.shutdown().await;
        });
        let expected = (vec![*world.root().sha256()], vec![("g".to_owned(), true, *world.line().sha256())]);
        for path in [&state, &copy] {
            let before = std::fs::read(path).expect("read");
            let known = from_files(&given(path), &[]).expect("an instance");
            assert_eq!(shown(&known.instance.trust()), expected);
            let InstanceCredential::Leaves(leaves) = &known.instance.individuals["dev-1"].credential else {
                panic!("not by its leaf")
            };
            assert_eq!(leaves.as_slice(), [*world.leaf().sha256()]);
            assert_eq!(known.instance.registrations, Some(0));
            assert_eq!(std::fs::read(path).expect("read"), before, "nothing is written to it");
            for end in [4, 100, 320, 512, 4096, before.len() / 2, before.len() - 1] {
                std::fs::write(world.path("cut.redb"), &before[..end]).expect("written");
                let failure =
                    from_files(&given(&world.path("cut.redb")), &[]).map(drop).expect_err("cut off");
                assert_eq!(failure.exit, Exit::Usage, "cut at {end}");
            }
        }
    }
}
