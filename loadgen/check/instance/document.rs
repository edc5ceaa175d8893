//! One thing of an export: a CA certificate, a group or an individual enrollment, as the service's APIs and the tools
//! on top of them show it. Letter case and underscores in keys do not matter: `isVerified` is `is_verified`.

use serde_json::{Map, Value};
use sim_dps::certificates::{read_uploaded, sha1_hex};
use sim_identity::Certificate;
use sim_identity::preflight::CaState;
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::sync::Arc;

/// One thing of an export.
#[derive(Debug)]
pub(super) enum Document {
    Ca(Ca),
    Group(Group),
    Individual(Individual),
    /// Nothing that a certificate could be judged by.
    Ignored {
        what: String,
        why: &'static str,
    },
}

/// An uploaded CA certificate.
#[derive(Debug)]
pub(super) struct Ca {
    pub(super) name: String,
    pub(super) state: CaState,
    pub(super) certificate: Option<Arc<Certificate>>,
    /// SHA-1, hexadecimal.
    pub(super) thumbprint: String,
    pub(super) subject: String,
    /// Whether it says that it is verified, or that it is not.
    pub(super) is_told: bool,
}

/// An enrollment group for X.509.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: EnrollmentGroupId,
    pub(super) enabled: bool,
    pub(super) primary: Option<Slot>,
    pub(super) secondary: Option<Slot>,
}

/// An individual enrollment.
#[derive(Debug)]
pub(super) struct Individual {
    pub(super) id: RegistrationId,
    pub(super) enabled: bool,
    pub(super) credential: Credential,
}

/// What an individual enrollment asks for.
#[derive(Debug)]
pub(super) enum Credential {
    Leaves(Vec<[u8; 32]>),
    Authorities(Vec<Slot>),
    Keys,
}

/// A certificate, by whatever is known of it.
#[derive(Debug)]
pub(super) enum Slot {
    Certificate(Arc<Certificate>),
    Sha256([u8; 32]),
    /// Upper-case hexadecimal.
    Sha1(String),
    /// Name of an uploaded CA.
    Reference(String),
}

/// An object whose keys are compared without regard to case and underscores.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn of(value: &Value) -> Option<Self> {
        let folded = |(key, value): (&String, &Value)| (fold(key), value.clone());
        value.as_object().map(|object| Fields(object.iter().map(folded).collect()))
    }

    /// A value that is there and not null.
    fn value(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn object(&self, key: &str) -> Option<Fields> {
        self.value(key).and_then(Fields::of)
    }

    /// A text that is there and not empty.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.value(key).and_then(Value::as_bool)
    }

    pub(super) fn list(&self, key: &str) -> &[Value] {
        self.value(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

fn fold(key: &str) -> String {
    key.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

impl Document {
    /// Reads one thing.
    ///
    /// # Errors
    /// In words, what it is not or what it lacks.
    pub(super) fn of(value: &Value) -> Result<Document, String> {
        let fields = Fields::of(value).ok_or("it is no object")?;
        if fields.has("enrollmentgroupid") && fields.has("attestation") {
            return group(&fields);
        }
        if fields.has("registrationid") && fields.has("attestation") {
            return individual(&fields);
        }
        if let Some(properties) =
            fields.object("properties").filter(|p| p.has("isverified") || p.has("thumbprint"))
        {
            return ca(&fields, &properties).map(Document::Ca);
        }
        if fields.has("isverified") && fields.has("thumbprint") {
            return ca(&fields, &fields).map(Document::Ca);
        }
        if fields.has("registrationid") {
            return Err("it is a registration, not an enrollment".to_owned());
        }
        Err("it is neither a CA certificate nor an enrollment group nor an individual enrollment".to_owned())
    }
}

fn ca(fields: &Fields, properties: &Fields) -> Result<Ca, String> {
    let name = fields.text("name").ok_or("a CA certificate has no name")?.to_owned();
    let code = properties.text("verificationcode").is_some();
    let state = match (properties.flag("isverified"), code) {
        (Some(true), _) => CaState::Verified,
        (_, true) => CaState::CodePending,
        (_, false) => CaState::Unverified,
    };
    let certificate = properties.text("certificate").map(|text| certificate(text, &name)).transpose()?;
    let thumbprint = properties.text("thumbprint").unwrap_or_default().to_ascii_uppercase();
    if certificate.is_none() && thumbprint.is_empty() {
        return Err(format!("CA certificate `{name}` has neither content nor thumbprint"));
    }
    let own = certificate.as_ref().map(|certificate| sha1_hex(certificate.der()).to_ascii_uppercase());
    if let Some(own) = own.filter(|own| !thumbprint.is_empty() && *own != thumbprint) {
        return Err(format!(
            "CA certificate `{name}` contradicts itself: its thumbprint is {thumbprint}, that of its content {own}"
        ));
    }
    let subject = properties.text("subject").unwrap_or("no subject").to_owned();
    let is_told = properties.flag("isverified").is_some() || code;
    Ok(Ca { name, state, certificate, thumbprint, subject, is_told })
}

fn certificate(text: &str, name: &str) -> Result<Arc<Certificate>, String> {
    let read =
        read_uploaded(text).map_err(|fault| format!("the certificate of `{name}` cannot be read: {fault}"));
    read.map(Arc::new)
}

fn enabled(fields: &Fields) -> Result<bool, String> {
    match fields.text("provisioningstatus") {
        None => Ok(true),
        Some(status) if status.eq_ignore_ascii_case("enabled") => Ok(true),
        Some(status) if status.eq_ignore_ascii_case("disabled") => Ok(false),
        Some(status) => Err(format!("its provisioning status is `{status}`, neither enabled nor disabled")),
    }
}

/// What something attests by: the kind of attestation, and what X.509 asks for.
fn attestation(fields: &Fields) -> Result<(String, Option<Fields>), String> {
    let attestation = fields.object("attestation").ok_or("it has no attestation")?;
    let x509 = attestation.object("x509");
    let said = attestation.text("type").map(fold);
    let kind = said.unwrap_or_else(|| if x509.is_some() { "x509".to_owned() } else { "none".to_owned() });
    Ok((kind, x509))
}

fn group(fields: &Fields) -> Result<Document, String> {
    let id = fields.text("enrollmentgroupid").ok_or("an enrollment group has no name")?;
    let id = EnrollmentGroupId::new(id).map_err(|fault| fault.to_string())?;
    let enabled = enabled(fields)?;
    let (kind, x509) = attestation(fields)?;
    let Some(x509) = x509.filter(|_| kind == "x509") else {
        let what = format!("group `{id}`");
        return Ok(Document::Ignored { what, why: "its devices do not show certificates" });
    };
    let [primary, secondary] = authorities(&x509, id.as_str())?;
    if primary.is_none() && secondary.is_none() {
        return Err(format!("group `{id}` names no certificate"));
    }
    Ok(Document::Group(Group { id, enabled, primary, secondary }))
}

/// The CA certificates that an attestation names, by value or by reference.
fn authorities(x509: &Fields, entry: &str) -> Result<[Option<Slot>; 2], String> {
    if let Some(references) = x509.object("careferences") {
        let reference = |key| references.text(key).map(|name| Slot::Reference(name.to_owned()));
        let found = [reference("primary"), reference("secondary")];
        if found.iter().any(Option::is_some) {
            return Ok(found);
        }
    }
    pair(x509, "signingcertificates", entry)
}

fn pair(x509: &Fields, key: &str, entry: &str) -> Result<[Option<Slot>; 2], String> {
    let pair = x509.object(key);
    let held =
        |key| pair.as_ref().and_then(|pair| pair.object(key)).map(|slot| by_value(&slot, entry)).transpose();
    Ok([held("primary")?.flatten(), held("secondary")?.flatten()])
}

/// A certificate by value: its content, or what the service read in it.
fn by_value(slot: &Fields, entry: &str) -> Result<Option<Slot>, String> {
    if let Some(text) = slot.text("certificate") {
        return certificate(text, entry).map(|certificate| Some(Slot::Certificate(certificate)));
    }
    let Some(info) = slot.object("info") else { return Ok(None) };
    if let Some(text) = info.text("sha256thumbprint") {
        let sha256 = sha256(text).ok_or_else(|| format!("`{text}` is no SHA-256 thumbprint"))?;
        return Ok(Some(Slot::Sha256(sha256)));
    }
    Ok(info.text("sha1thumbprint").map(|text| Slot::Sha1(text.to_ascii_uppercase())))
}

fn individual(fields: &Fields) -> Result<Document, String> {
    let id = fields.text("registrationid").ok_or("an individual enrollment has no registration id")?;
    let id = RegistrationId::new(id).map_err(|fault| fault.to_string())?;
    let enabled = enabled(fields)?;
    let (kind, x509) = attestation(fields)?;
    let Some(x509) = x509.filter(|_| kind == "x509") else {
        return Ok(Document::Individual(Individual { id, enabled, credential: Credential::Keys }));
    };
    let leaves: Vec<Slot> = pair(&x509, "clientcertificates", id.as_str())?.into_iter().flatten().collect();
    let credential = if leaves.is_empty() {
        let authorities: Vec<Slot> = authorities(&x509, id.as_str())?.into_iter().flatten().collect();
        if authorities.is_empty() {
            return Err(format!("individual enrollment `{id}` names no certificate"));
        }
        Credential::Authorities(authorities)
    } else {
        Credential::Leaves(leaves.into_iter().map(|leaf| leaf_hash(leaf, &id)).collect::<Result<_, _>>()?)
    };
    Ok(Document::Individual(Individual { id, enabled, credential }))
}

fn leaf_hash(slot: Slot, id: &RegistrationId) -> Result<[u8; 32], String> {
    match slot {
        Slot::Certificate(certificate) => Ok(*certificate.sha256()),
        Slot::Sha256(sha256) => Ok(sha256),
        Slot::Sha1(_) | Slot::Reference(_) => {
            Err(format!("the certificate of individual enrollment `{id}` has no SHA-256 thumbprint"))
        }
    }
}

/// 32 bytes in hexadecimal, with or without colons.
pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let bytes: Vec<u8> = digits?.chunks(2).map(|pair| pair.iter().fold(0, |n, d| n << 4 | d)).collect();
    bytes.try_into().ok()
}

/// One CA of a `rollcall.instance/1`.
pub(super) fn own_ca(value: &Value) -> Result<Document, String> {
    let fields = Fields::of(value).ok_or("a certificate is no object")?;
    let name = fields.text("name").ok_or("a certificate has no name")?.to_owned();
    let text = fields.text("certificate").ok_or_else(|| format!("certificate `{name}` has no content"))?;
    let state = match fields.flag("verified") {
        Some(true) => CaState::Verified,
        Some(false) => CaState::Unverified,
        None => {
            return Err(format!("certificate `{name}` says neither that it is verified nor that it is not"));
        }
    };
    let certificate = Some(certificate(text, &name)?);
    Ok(Document::Ca(Ca {
        name,
        state,
        certificate,
        thumbprint: String::new(),
        subject: String::new(),
        is_told: true,
    }))
}

/// One group of a `rollcall.instance/1`.
pub(super) fn own_group(value: &Value) -> Result<Document, String> {
    let fields = Fields::of(value).ok_or("a group is no object")?;
    let name = fields.text("name").ok_or("a group has no name")?;
    let id = EnrollmentGroupId::new(name).map_err(|fault| fault.to_string())?;
    let slot = |key| fields.text(key).map(|text| certificate(text, name).map(Slot::Certificate)).transpose();
    let (primary, secondary) = (slot("primary")?, slot("secondary")?);
    if primary.is_none() && secondary.is_none() {
        return Err(format!("group `{id}` has no certificate"));
    }
    Ok(Document::Group(Group { id, enabled: fields.flag("enabled").unwrap_or(true), primary, secondary }))
}

/// One individual enrollment of a `rollcall.instance/1`.
pub(super) fn own_individual(value: &Value) -> Result<Document, String> {
    let fields = Fields::of(value).ok_or("an individual enrollment is no object")?;
    let id = fields.text("registrationid").ok_or("an individual enrollment has no registration_id")?;
    let id = RegistrationId::new(id).map_err(|fault| fault.to_string())?;
    let leaf = |value: &Value| value.as_str().and_then(sha256);
    let leaves: Option<Vec<[u8; 32]>> = fields.list("thumbprints").iter().map(leaf).collect();
    let leaves = leaves.filter(|leaves| !leaves.is_empty());
    let leaves = leaves.ok_or_else(|| format!("individual enrollment `{id}` has no SHA-256 thumbprints"))?;
    let enabled = fields.flag("enabled").unwrap_or(true);
    Ok(Document::Individual(Individual { id, enabled, credential: Credential::Leaves(leaves) }))
}
