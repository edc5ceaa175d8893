//! The operator's verbs: CA certificates, enrollment groups and registrations of the mock or of Azure.

use crate::cli::output::Output;
use crate::cli::{now, random_seed, read_file, write_file};
use crate::exit::{Exit, Failure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use sim_identity::{Certificate, Issuer, PrivateKey, files, pem};
use sim_operator::{Endpoint, Operator, OperatorError, Replacement, is_loopback};
use sim_protocol::attestation::{
    CaReferences, CertificatePair, CertificateSlot, EnrollmentGroup, ProvisioningStatus, X509Attestation,
};
use sim_protocol::registration::{RegistrationState, RegistrationStatus};
use sim_protocol::resource::{CertificateResponse, InstancePath};
use sim_protocol::sas::SharedKey;
use sim_protocol::{CaName, EnrollmentGroupId, RegistrationId, timestamp};
use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

/// A key or token given as a flag or in the environment; never shown.
#[derive(Clone)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Which instance to talk to, and with which credentials.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// Address of the resource manager: `https://management.azure.com`, or the https address of the mock
    #[arg(long, value_name = "URL", env = "ROLLCALL_ENDPOINT", global = true, help_heading = "Connection")]
    pub endpoint: Option<String>,
    /// Address of the service API, `https://NAME.azure-devices-provisioning.net` [default: that of --endpoint]
    #[arg(long, value_name = "URL", global = true, help_heading = "Connection")]
    pub service_endpoint: Option<String>,
    /// Root that signed the server's certificate; no other is trusted then
    #[arg(
        long,
        value_name = "FILE",
        env = "ROLLCALL_TRUST_ROOT",
        global = true,
        help_heading = "Connection"
    )]
    pub trust_root: Option<PathBuf>,
    /// Key of the policy `provisioningserviceowner`, base64
    #[arg(
        long,
        value_name = "BASE64",
        env = "ROLLCALL_SERVICE_KEY",
        hide_env_values = true,
        global = true,
        help_heading = "Connection"
    )]
    pub service_key: Option<Secret>,
    /// Bearer token for the resource manager; the mock takes any
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ROLLCALL_TOKEN",
        hide_env_values = true,
        global = true,
        help_heading = "Connection"
    )]
    pub token: Option<Secret>,
    /// Subscription of the instance [default: that of the mock]
    #[arg(long, value_name = "GUID", global = true, help_heading = "Connection")]
    pub subscription: Option<String>,
    /// Resource group of the instance [default: that of the mock]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Connection")]
    pub resource_group: Option<String>,
    /// Name of the provisioning service [default: that of the mock]
    #[arg(long, value_name = "NAME", global = true, help_heading = "Connection")]
    pub service_name: Option<String>,
    /// Allow an address that is not on this machine
    #[arg(long, global = true, help_heading = "Connection")]
    pub live: bool,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connection {
    fn output(&self, output: Output) -> Output {
        Output { json: output.json || self.json, ..output }
    }
}

/// `rollcall ca`.
#[derive(Args, Clone, Debug)]
pub struct CaArgs {
    /// Which instance.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub verb: CaVerb,
}

/// What to do with CA certificates.
#[derive(Subcommand, Clone, Debug)]
pub enum CaVerb {
    /// Upload a CA certificate, or replace the one of this name
    Upload {
        /// Name to store it under
        name: CaName,
        /// The certificate, PEM or DER
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Have it taken as verified without proof of possession
        #[arg(long)]
        verified: bool,
    },
    /// Generate a verification code; one from before is dead
    Code {
        /// Name of the uploaded CA certificate
        name: CaName,
    },
    /// Prove possession of the key of an uploaded CA certificate
    #[command(group = ArgGroup::new("possession").required(true).args(["key", "verification_cert"]))]
    Verify {
        /// Name of the uploaded CA certificate
        name: CaName,
        /// Its private key: makes the verification certificate for the pending code, or for a new one
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// The CA certificate [default: what the service says was uploaded]
        #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "verification_cert")]
        cert: Option<PathBuf>,
        /// A verification certificate made elsewhere
        #[arg(long, value_name = "FILE")]
        verification_cert: Option<PathBuf>,
    },
    /// Make the verification certificate for a code, offline
    Prove {
        /// The code, exactly as generated
        #[arg(long)]
        code: String,
        /// The CA certificate
        #[arg(long, value_name = "FILE")]
        cert: PathBuf,
        /// Its private key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where to write it [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List the uploaded CA certificates
    List,
    /// Show one uploaded CA certificate
    Show {
        /// Its name
        name: CaName,
    },
    /// Delete an uploaded CA certificate
    Delete {
        /// Its name
        name: CaName,
    },
}

/// `rollcall group`.
#[derive(Args, Clone, Debug)]
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
    /// Create an enrollment group on an uploaded CA certificate or on a signing certificate
    #[command(group = ArgGroup::new("signer").required(true).args(["ca_reference", "signing_cert"]))]
    Create {
        /// Its name
        name: EnrollmentGroupId,
        /// Name of an uploaded CA certificate
        #[arg(long, value_name = "CA", conflicts_with = "secondary_signing_cert")]
        ca_reference: Option<CaName>,
        /// Name of another, for a roll-over
        #[arg(
            long,
            value_name = "CA",
            requires = "ca_reference",
            conflicts_with_all = ["signing_cert", "secondary_signing_cert"]
        )]
        secondary_ca_reference: Option<CaName>,
        /// The CA certificate that signs the devices' certificates
        #[arg(long, value_name = "FILE")]
        signing_cert: Option<PathBuf>,
        /// Another, for a roll-over
        #[arg(long, value_name = "FILE", requires = "signing_cert")]
        secondary_signing_cert: Option<PathBuf>,
    },
    /// List the enrollment groups
    List,
    /// Show one enrollment group
    Show {
        /// Its name
        name: EnrollmentGroupId,
    },
    /// Enable or disable an enrollment group
    Update {
        /// Its name
        name: EnrollmentGroupId,
        /// Which of the two.
        #[command(flatten)]
        switch: Switch,
    },
    /// Delete an enrollment group
    Delete {
        /// Its name
        name: EnrollmentGroupId,
    },
}

/// Whether a group lets devices in.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Switch {
    /// Let devices in
    #[arg(long)]
    pub enable: bool,
    /// Keep devices out
    #[arg(long)]
    pub disable: bool,
}

/// `rollcall registration`.
#[derive(Args, Clone, Debug)]
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
    },
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        let exit = match &error {
            OperatorError::Unreachable { .. } | OperatorError::Untrusted { .. } => Exit::Unreachable,
            OperatorError::Refused { .. } => Exit::Refused,
            OperatorError::Address { .. }
            | OperatorError::TrustRoot { .. }
            | OperatorError::BearerToken
            | OperatorError::NoServiceKey { .. }
            | OperatorError::Name(_)
            | OperatorError::Signing { .. } => Exit::Usage,
            OperatorError::Client { .. } | OperatorError::Malformed { .. } => Exit::Unexpected,
        };
        let mut message = error.to_string();
        let mut below = error.source();
        while let Some(cause) = below {
            message.push_str(&format!(": {cause}"));
            below = cause.source();
        }
        Failure::new(exit, message).advise(error.advice())
    }
}

/// Prepares calls to the instance that the flags name; nothing is sent yet.
pub fn connect(connection: &Connection) -> Result<Operator, Failure> {
    Ok(Operator::new(endpoint(connection)?)?)
}

/// What the flags name, if talking to it is allowed.
fn endpoint(connection: &Connection) -> Result<Endpoint, Failure> {
    let given = |text: &Option<String>| text.as_deref().filter(|text| !text.trim().is_empty()).map(whole_url);
    let Some(resource_manager) = given(&connection.endpoint).or_else(|| given(&connection.service_endpoint))
    else {
        return Err(Failure::usage("no endpoint was given")
            .advise("Give --endpoint https://127.0.0.1:8443, with the https port the mock prints, or set ROLLCALL_ENDPOINT."));
    };
    let service = given(&connection.service_endpoint).unwrap_or_else(|| resource_manager.clone());
    let mock = InstancePath::default();
    let instance = InstancePath {
        subscription: connection.subscription.clone().unwrap_or(mock.subscription),
        resource_group: connection.resource_group.clone().unwrap_or(mock.resource_group),
        service: connection.service_name.clone().unwrap_or(mock.service),
    };
    let trust_root = connection.trust_root.as_deref().map(trust_root).transpose()?;
    let service_key = match &connection.service_key {
        Some(Secret(text)) if !text.trim().is_empty() => {
            Some(SharedKey::from_base64(text).map_err(|fault| {
                Failure::usage(format!("cannot use the service key: {fault}")).advise(
                    "Give the key as it was printed, base64, in --service-key or ROLLCALL_SERVICE_KEY.",
                )
            })?)
        }
        _ => None,
    };
    let bearer =
        connection.token.as_ref().map(|Secret(text)| text.trim().to_owned()).filter(|text| !text.is_empty());
    let endpoint = Endpoint { resource_manager, service, instance, trust_root, service_key, bearer };
    let away = [&endpoint.resource_manager, &endpoint.service].into_iter().find(|url| !is_loopback(url));
    match away {
        Some(url) if !connection.live => {
            Err(Failure::usage(format!("will not talk to {url}: it is not on this machine"))
                .advise("Add --live to allow it."))
        }
        _ => Ok(endpoint),
    }
}

/// An address as the mock prints it, `127.0.0.1:8443`, is taken as well as a whole URL.
fn whole_url(text: &str) -> String {
    let text = text.trim();
    if text.contains("://") { text.to_owned() } else { format!("https://{text}") }
}

/// PEM of every certificate in a file, whatever form the file has.
fn trust_root(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path, "trust root")?;
    let roots = files::read_certificates(&path.display().to_string(), &bytes).map_err(Failure::usage)?;
    Ok(roots.iter().map(|root| pem::encode("CERTIFICATE", root.der())).collect::<String>().into_bytes())
}

/// Runs `rollcall ca`.
pub async fn ca(args: CaArgs, output: Output) -> Result<(), Failure> {
    let CaArgs { connection, verb } = args;
    let output = connection.output(output);
    match verb {
        CaVerb::Upload { name, cert, verified } => {
            let file = ca_certificate(&cert, "CA certificate", output)?.bytes;
            let Replacement { before, after } = connect(&connection)?.replace(&name, &file, verified).await?;
            show_changed(&after, output);
            if !after.properties.is_verified {
                if before.is_some_and(|before| before.properties.is_verified) {
                    output.warn(format!(
                        "CA certificate `{name}` was verified; the one uploaded now is not until possession of its key is proven"
                    ));
                }
                output.talk(format!("next: rollcall ca verify {name} --key FILE"));
            }
        }
        CaVerb::Code { name } => {
            let record = connect(&connection)?.generate_code(&name).await?;
            let Some(code) = &record.properties.verification_code else {
                return Err(Failure::unexpected(format!(
                    "the service gave no verification code for `{name}`"
                )));
            };
            output.json(&record);
            output.line(shown(code));
            output.talk(format!("next: rollcall ca verify {name} --key FILE"));
        }
        CaVerb::Verify { name, key: Some(key), cert, .. } => {
            let operator = connect(&connection)?;
            let record = prove(&operator, &name, &key, cert.as_deref()).await?;
            show_changed(&record, output);
        }
        CaVerb::Verify { name, verification_cert: Some(path), .. } => {
            let file = one_certificate(&path, "verification certificate")?.bytes;
            let record = connect(&connection)?.verify(&name, &file, None).await?;
            show_changed(&record, output);
        }
        CaVerb::Verify { name, .. } => {
            return Err(Failure::usage(format!("cannot verify `{name}`: nothing to prove possession with"))
                .advise("Give --key, or --verification-cert."));
        }
        CaVerb::Prove { code, cert, key, out } => offline(&code, &cert, &key, out.as_deref(), output)?,
        CaVerb::List => {
            let records = connect(&connection)?.certificates().await?;
            output.json(&List { schema: "rollcall.ca-list/1", value: &records });
            let rows = records.iter().map(certificate_row).collect();
            list(&["NAME", "STATE", "SUBJECT", "EXPIRY"], rows, "no CA certificates", output);
        }
        CaVerb::Show { name } => {
            let record = connect(&connection)?.certificate(&name).await?;
            output.json(&record);
            let properties = &record.properties;
            let mut fields = vec![
                ("name", record.name.clone()),
                ("state", state(&record)),
                ("subject", properties.subject.clone()),
                ("thumbprint", properties.thumbprint.clone()),
                ("expiry", properties.expiry.clone()),
                ("updated", properties.updated.clone()),
                ("etag", record.etag.clone()),
            ];
            fields.extend(properties.verification_code.clone().map(|code| ("code", code)));
            show(fields, output);
        }
        CaVerb::Delete { name } => {
            connect(&connection)?.delete_certificate(&name).await?;
            deleted("ca", "CA certificate", name.as_str(), output);
        }
    }
    Ok(())
}

/// Runs `rollcall group`.
pub async fn group(args: GroupArgs, output: Output) -> Result<(), Failure> {
    let GroupArgs { connection, verb } = args;
    let output = connection.output(output);
    match verb {
        GroupVerb::Create {
            name,
            ca_reference,
            secondary_ca_reference,
            signing_cert,
            secondary_signing_cert,
        } => {
            let references: Vec<CaName> =
                ca_reference.iter().chain(&secondary_ca_reference).cloned().collect();
            let x509 = match (ca_reference, signing_cert) {
                (Some(primary), _) => X509Attestation {
                    ca_references: Some(CaReferences {
                        primary: Some(primary.into()),
                        secondary: secondary_ca_reference.map(String::from),
                    }),
                    signing_certificates: None,
                },
                (None, Some(primary)) => X509Attestation {
                    ca_references: None,
                    signing_certificates: Some(CertificatePair {
                        primary: Some(slot(&primary, output)?),
                        secondary: secondary_signing_cert
                            .map(|secondary| slot(&secondary, output))
                            .transpose()?,
                    }),
                },
                (None, None) => {
                    return Err(Failure::usage(format!(
                        "cannot create group `{name}`: it has no certificate"
                    ))
                    .advise("Give --ca-reference or --signing-cert."));
                }
            };
            let wanted = EnrollmentGroup::x509(name.as_str(), x509);
            let operator = connect(&connection)?;
            let group = operator.create_group(&wanted, now()).await?;
            output.json(&group);
            lines(&[group_row(&group)], output);
            for reference in &references {
                warn_unless_verified(&operator, reference, output).await;
            }
        }
        GroupVerb::List => {
            let groups = connect(&connection)?.groups(now()).await?;
            output.json(&List { schema: "rollcall.group-list/1", value: &groups });
            let rows = groups.iter().map(group_row).collect();
            list(&["NAME", "STATUS", "ATTESTATION"], rows, "no enrollment groups", output);
        }
        GroupVerb::Show { name } => {
            let document = connect(&connection)?.group_document(&name, now()).await?;
            output.json(&document);
            let group: EnrollmentGroup = serde_json::from_value(document)
                .map_err(|error| Failure::unexpected(format!("cannot show group `{name}`: {error}")))?;
            let mut fields = vec![
                ("name", group.enrollment_group_id.clone()),
                ("status", provisioning_status(group.provisioning_status).to_owned()),
                ("attestation", attestation(&group)),
            ];
            for (name, value) in [
                ("hubs", group.iot_hubs.map(|hubs| hubs.join(", "))),
                ("created", group.created_date_time_utc),
                ("updated", group.last_updated_date_time_utc),
                ("etag", group.etag),
            ] {
                fields.extend(value.map(|value| (name, value)));
            }
            show(fields, output);
        }
        GroupVerb::Update { name, switch } => {
            let status =
                if switch.enable { ProvisioningStatus::Enabled } else { ProvisioningStatus::Disabled };
            let group = connect(&connection)?.set_group_status(&name, status, now()).await?;
            output.json(&group);
            lines(&[group_row(&group)], output);
        }
        GroupVerb::Delete { name } => {
            connect(&connection)?.delete_group(&name, now()).await?;
            deleted("group", "enrollment group", name.as_str(), output);
        }
    }
    Ok(())
}

/// Runs `rollcall registration`.
pub async fn registration(args: RegistrationArgs, output: Output) -> Result<(), Failure> {
    let RegistrationArgs { connection, verb } = args;
    let output = connection.output(output);
    match verb {
        RegistrationVerb::List { group } => {
            let states = connect(&connection)?.registrations(&group, now()).await?;
            output.json(&List { schema: "rollcall.registration-list/1", value: &states });
            let rows = states.iter().map(registration_row).collect();
            list(&["REGISTRATION", "STATUS", "DEVICE", "HUB", "UPDATED"], rows, "no registrations", output);
        }
        RegistrationVerb::Show { id } => {
            let state = connect(&connection)?.registration(&id, now()).await?;
            output.json(&state);
            let mut fields = vec![
                ("registration", state.registration_id.unwrap_or_else(|| id.to_string())),
                ("status", registration_status(state.status).to_owned()),
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
                fields.extend(value.map(|value| (name, value)));
            }
            show(fields, output);
        }
        RegistrationVerb::Delete { id } => {
            connect(&connection)?.delete_registration(&id, now()).await?;
            deleted("registration", "registration", id.as_str(), output);
        }
    }
    Ok(())
}

/// A file that holds one certificate, and nothing secret.
struct CertificateFile {
    bytes: Vec<u8>,
    certificate: Certificate,
}

fn one_certificate(path: &Path, what: &str) -> Result<CertificateFile, Failure> {
    let bytes = read_file(path, what)?;
    let shown = path.display();
    if files::holds_private_key(&bytes) {
        return Err(Failure::usage(format!("will not use {shown} as {what}: it holds a private key"))
            .advise("Give a file with the certificate alone; a private key must never be uploaded."));
    }
    let certificate = only_certificate(&shown.to_string(), &bytes, what)?;
    Ok(CertificateFile { bytes, certificate })
}

/// A certificate that devices are to roll up to: a CA's, with a warning where its dates keep them out.
fn ca_certificate(path: &Path, what: &str, output: Output) -> Result<CertificateFile, Failure> {
    let file = one_certificate(path, what)?;
    let certificate = &file.certificate;
    if !certificate.is_ca() {
        let found = if certificate.basic_constraints().is_some() { "says CA:FALSE" } else { "is absent" };
        return Err(Failure::usage(format!(
            "cannot use {} as {what}: `{}` is not a CA: its basicConstraints {found}",
            path.display(),
            certificate.subject()
        ))
        .advise("Give the certificate of a CA, whose basicConstraints says CA:TRUE, not that of a device."));
    }
    if let Some(fault) = out_of_date(certificate, now()) {
        output.warn(format!("the {what} in {} {fault}", path.display()));
    }
    Ok(file)
}

/// What is wrong with the dates of a certificate at a moment, if anything is.
fn out_of_date(certificate: &Certificate, moment: OffsetDateTime) -> Option<String> {
    let seconds = moment.unix_timestamp();
    if certificate.not_after() < seconds {
        return Some(format!("expired on {}", timestamp::rfc1123(certificate.expiry())));
    }
    let first = certificate.not_before();
    (first > seconds).then(|| {
        let first = OffsetDateTime::from_unix_timestamp(first);
        format!(
            "is not valid before {}",
            first.map_or_else(|_| "a date out of range".to_owned(), timestamp::rfc1123)
        )
    })
}

/// Warns where a new group refers to a CA certificate that admits nobody yet. The group is made by then, so that
/// what cannot be told is no failure.
async fn warn_unless_verified(operator: &Operator, name: &CaName, output: Output) {
    match operator.certificate_for(name, "check").await {
        Ok(record) if record.properties.is_verified => {}
        Ok(_) => output.warn(format!(
            "CA certificate `{name}` is not verified: devices will be refused until `rollcall ca verify {name}`"
        )),
        Err(error) if error.is_not_found() => output.warn(format!(
            "there is no CA certificate `{name}`: devices will be refused until `rollcall ca upload {name}` and `rollcall ca verify {name}`"
        )),
        Err(error) => output.talk(format!("cannot tell whether CA certificate `{name}` is verified: {error}")),
    }
}

fn only_certificate(name: &str, bytes: &[u8], what: &str) -> Result<Certificate, Failure> {
    let mut certificates = files::read_certificates(name, bytes).map_err(Failure::usage)?;
    match (certificates.pop(), certificates.len()) {
        (Some(certificate), 0) => Ok(certificate),
        (last, others) => {
            let found = others + usize::from(last.is_some());
            Err(Failure::usage(format!("cannot use {name} as {what}: it holds {found} certificates"))
                .advise("Give a file with exactly one."))
        }
    }
}

fn private_key(path: &Path) -> Result<PrivateKey, Failure> {
    let bytes = read_file(path, "private key")?;
    files::read_private_key(&path.display().to_string(), &bytes).map_err(Failure::usage)
}

/// Joins a CA certificate and its private key, which was read from the file `key`.
fn issuer(certificate: Certificate, private: PrivateKey, key: &Path) -> Result<Issuer, Failure> {
    let subject = certificate.subject();
    Issuer::new(certificate, private).map_err(|fault| {
        Failure::usage(format!("cannot sign as `{subject}` with {}: {fault}", key.display()))
            .advise("Give the CA certificate and the private key that belongs to it.")
    })
}

/// Who signs a proof, as far as that is known.
enum Signer {
    /// The CA certificate and its key.
    Whole(Issuer),
    /// The key, as long as nobody has shown the certificate.
    KeyAlone(PrivateKey),
}

impl Signer {
    fn read(key: &Path, cert: Option<&Path>) -> Result<Self, Failure> {
        let given = cert.map(|path| one_certificate(path, "CA certificate")).transpose()?;
        let private = private_key(key)?;
        match given {
            Some(given) => issuer(given.certificate, private, key).map(Signer::Whole),
            None => Ok(Signer::KeyAlone(private)),
        }
    }

    /// Holds the certificate that was uploaded, if the record shows it, against what was given.
    fn compare(self, name: &CaName, record: &CertificateResponse, key: &Path) -> Result<Self, Failure> {
        let Some(text) = record.properties.certificate.as_deref() else { return Ok(self) };
        let uploaded = uploaded(name, text)?;
        match self {
            Signer::Whole(given) if **given.certificate() != uploaded => Err(Failure::usage(format!(
                "cannot verify `{name}`: the certificate given, `{}`, is not the one uploaded, `{}`",
                given.certificate().subject(),
                uploaded.subject()
            ))
            .advise("Leave --cert out, or upload the certificate given.")),
            Signer::Whole(given) => Ok(Signer::Whole(given)),
            Signer::KeyAlone(private) => issuer(uploaded, private, key).map(Signer::Whole),
        }
    }
}

/// The whole proof: the pending code or a new one, the certificate that was uploaded, its key.
async fn prove(
    operator: &Operator,
    name: &CaName,
    key: &Path,
    cert: Option<&Path>,
) -> Result<CertificateResponse, Failure> {
    // A generated code kills the one before: whatever can be found wanting is looked at first.
    let signer = Signer::read(key, cert)?;
    let mut record = operator.certificate_for(name, "verify").await?;
    let mut signer = signer.compare(name, &record, key)?;
    // Only the answer to a generated code is sure to carry the uploaded certificate.
    if record.properties.verification_code.is_none() || matches!(signer, Signer::KeyAlone(_)) {
        record = operator.generate_code(name).await?;
        signer = signer.compare(name, &record, key)?;
    }
    let Signer::Whole(issuer) = signer else {
        return Err(Failure::usage(format!(
            "cannot verify `{name}`: the service does not show its certificate"
        ))
        .advise("Give the uploaded CA certificate with --cert."));
    };
    Ok(operator.answer_code(name, &record, &issuer, &random_seed(), now()).await?)
}

fn uploaded(name: &CaName, text: &str) -> Result<Certificate, Failure> {
    let bytes = STANDARD.decode(text.trim()).map_err(|error| {
        Failure::unexpected(format!("cannot read the certificate the service shows for `{name}`: {error}"))
            .advise("Give the uploaded CA certificate with --cert.")
    })?;
    only_certificate(&format!("the uploaded file of `{name}`"), &bytes, "CA certificate")
}

fn offline(code: &str, cert: &Path, key: &Path, out: Option<&Path>, output: Output) -> Result<(), Failure> {
    if code.is_empty() || code.trim() != code {
        let fault = if code.is_empty() { "is empty" } else { "begins or ends with white space" };
        return Err(Failure::usage(format!("cannot make a verification certificate: the code {fault}"))
            .advise("Give the code exactly as `rollcall ca code` prints it."));
    }
    let certificate = one_certificate(cert, "CA certificate")?.certificate;
    let issuer = issuer(certificate, private_key(key)?, key)?;
    let der = issuer.verification_certificate(code, &random_seed(), now()).map_err(|fault| {
        Failure::usage(format!("cannot make a verification certificate for code `{code}`: {fault}"))
    })?;
    let text = pem::encode("CERTIFICATE", &der);
    if let Some(path) = out {
        write_file(path, text.as_bytes(), false)?;
        output.talk(format!("wrote {}", path.display()));
    } else {
        output.line(text.trim_end());
    }
    output.json(&Proof { schema: "rollcall.verification-certificate/1", code, certificate: &text });
    Ok(())
}

fn slot(path: &Path, output: Output) -> Result<CertificateSlot, Failure> {
    let file = ca_certificate(path, "signing certificate", output)?;
    Ok(CertificateSlot { certificate: Some(pem::encode("CERTIFICATE", file.certificate.der())), info: None })
}

#[derive(Serialize)]
struct List<'a, T> {
    schema: &'static str,
    value: &'a [T],
}

#[derive(Serialize)]
struct Deleted<'a> {
    schema: &'static str,
    kind: &'static str,
    name: &'a str,
}

#[derive(Serialize)]
struct Proof<'a> {
    schema: &'static str,
    code: &'a str,
    certificate: &'a str,
}

fn state(record: &CertificateResponse) -> String {
    let state = if record.properties.is_verified { "Verified" } else { "Unverified" };
    let pending = if record.properties.verification_code.is_some() { ", code pending" } else { "" };
    format!("{state}{pending}")
}

fn certificate_row(record: &CertificateResponse) -> Vec<String> {
    let properties = &record.properties;
    vec![record.name.clone(), state(record), properties.subject.clone(), properties.expiry.clone()]
}

fn show_changed(record: &CertificateResponse, output: Output) {
    output.json(record);
    lines(&[certificate_row(record)], output);
}

fn provisioning_status(status: ProvisioningStatus) -> &'static str {
    match status {
        ProvisioningStatus::Enabled => "enabled",
        ProvisioningStatus::Disabled => "disabled",
    }
}

/// What a group's devices must roll up to, in a few words.
fn attestation(group: &EnrollmentGroup) -> String {
    let Some(x509) = &group.attestation.x509 else { return group.attestation.kind.clone() };
    if let Some(references) = &x509.ca_references {
        let names: Vec<&str> =
            [&references.primary, &references.secondary].into_iter().flatten().map(String::as_str).collect();
        if !names.is_empty() {
            return format!("CA {}", names.join(", "));
        }
    }
    let Some(pair) = &x509.signing_certificates else { return group.attestation.kind.clone() };
    let subjects: Vec<&str> = [&pair.primary, &pair.secondary]
        .into_iter()
        .flatten()
        .map(|slot| slot.info.as_ref().map_or("unknown", |info| info.subject_name.as_str()))
        .collect();
    format!("signing certificate {}", subjects.join(", "))
}

fn group_row(group: &EnrollmentGroup) -> Vec<String> {
    let status = provisioning_status(group.provisioning_status).to_owned();
    vec![group.enrollment_group_id.clone(), status, attestation(group)]
}

fn registration_status(status: RegistrationStatus) -> &'static str {
    match status {
        RegistrationStatus::Unassigned => "unassigned",
        RegistrationStatus::Assigning => "assigning",
        RegistrationStatus::Assigned => "assigned",
        RegistrationStatus::Failed => "failed",
        RegistrationStatus::Disabled => "disabled",
    }
}

fn registration_row(state: &RegistrationState) -> Vec<String> {
    let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".into());
    let mut status = registration_status(state.status).to_owned();
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

fn deleted(kind: &'static str, what: &str, name: &str, output: Output) {
    output.json(&Deleted { schema: "rollcall.deleted/1", kind, name });
    output.talk(format!("deleted {what} `{name}`"));
}

/// A list with its heading; an empty one is only talked about.
fn list(heading: &[&str], rows: Vec<Vec<String>>, nothing: &str, output: Output) {
    if rows.is_empty() {
        output.talk(nothing);
        return;
    }
    let heading = heading.iter().map(|&word| word.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
    lines(&rows, output);
}

fn show(fields: Vec<(&str, String)>, output: Output) {
    let rows: Vec<Vec<String>> =
        fields.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    lines(&rows, output);
}

fn lines(rows: &[Vec<String>], output: Output) {
    for line in aligned(rows) {
        output.line(line);
    }
}

/// Columns two blanks apart, each as wide as its widest cell.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{:width$}", shown(cell)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Text of the service as a terminal may see it: no control characters.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};
    use sim_identity::{Hierarchy, HierarchyPlan, KeyAlgorithm, Seed};
    use sim_protocol::resource::CertificateProperties;
    use std::sync::Arc;
    use time::macros::datetime;

    #[derive(Debug, Parser)]
    enum Program {
        Ca(CaArgs),
        Group(GroupArgs),
        Registration(RegistrationArgs),
    }

    fn parses(line: &str) -> bool {
        Program::try_parse_from(line.split(' ')).is_ok()
    }

    #[test]
    fn the_spellings_of_the_contract_are_taken() {
        Program::command().debug_assert();
        for line in [
            "rollcall ca upload root --cert f --verified --endpoint https://127.0.0.1:1 --trust-root t --json",
            "rollcall ca code root",
            "rollcall ca verify root --key k",
            "rollcall ca verify root --key k --cert c",
            "rollcall ca verify root --verification-cert v",
            "rollcall ca prove --code C --cert c --key k --out o",
            "rollcall ca list --endpoint u --json",
            "rollcall ca --endpoint u show root",
            "rollcall ca delete root --service-key k --token t --live",
            "rollcall group create g --ca-reference a --secondary-ca-reference b",
            "rollcall group create g --signing-cert a --secondary-signing-cert b",
            "rollcall group list",
            "rollcall group show g",
            "rollcall group update g --disable",
            "rollcall group update g --enable",
            "rollcall group delete g",
            "rollcall registration list --group g",
            "rollcall registration show dev-1",
            "rollcall registration delete dev-1 --json",
        ] {
            assert!(parses(line), "{line}");
        }
    }

    #[test]
    fn combinations_without_meaning_are_refused() {
        for line in [
            "rollcall ca upload root",
            "rollcall ca upload a/b --cert f",
            "rollcall ca verify root",
            "rollcall ca verify root --key k --verification-cert v",
            "rollcall ca verify root --cert c --verification-cert v",
            "rollcall group create g",
            "rollcall group create g --ca-reference a --signing-cert b",
            "rollcall group create g --secondary-ca-reference a",
            "rollcall group create g --signing-cert a --secondary-ca-reference b",
            "rollcall group create g --secondary-signing-cert a",
            "rollcall group update g",
            "rollcall group update g --enable --disable",
            "rollcall registration list",
        ] {
            assert!(!parses(line), "{line}");
        }
    }

    #[test]
    fn usage_names_both_of_what_one_is_needed() {
        for (line, both) in [
            ("rollcall group create g", "<--ca-reference <CA>|--signing-cert <FILE>>"),
            ("rollcall ca verify root", "<--key <FILE>|--verification-cert <FILE>>"),
        ] {
            let refusal = Program::try_parse_from(line.split(' ')).expect_err(line).to_string();
            assert!(refusal.contains(both), "{refusal}");
        }
    }

    fn connection(line: &str) -> Connection {
        match Program::try_parse_from(format!("rollcall ca list {line}").split(' ')).expect(line) {
            Program::Ca(args) => args.connection,
            other => panic!("{other:?} is not `ca`"),
        }
    }

    #[test]
    fn an_address_off_this_machine_needs_live() {
        let refusal = |line: &str| endpoint(&connection(line)).map(drop).map_err(|failure| failure.exit);
        assert_eq!(refusal("--endpoint https://127.0.0.1:8443"), Ok(()));
        assert_eq!(refusal("--endpoint localhost:8443"), Ok(()));
        assert_eq!(refusal("--endpoint https://192.0.2.1"), Err(Exit::Usage));
        assert_eq!(
            refusal("--endpoint https://127.0.0.1:1 --service-endpoint https://192.0.2.1"),
            Err(Exit::Usage)
        );
        assert_eq!(refusal("--endpoint https://192.0.2.1 --live"), Ok(()));
        assert_eq!(refusal("--endpoint https://127.0.0.1:1 --service-key %%"), Err(Exit::Usage));
    }

    #[test]
    fn flags_are_taken_before_and_after_the_verb_and_secrets_stay_hidden() {
        let connection = connection("--endpoint u --token hush --service-key hush --json");
        assert_eq!(connection.endpoint.as_deref(), Some("u"));
        assert!(connection.json && !format!("{connection:?}").contains("hush"));
    }

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

    fn root(number: u64) -> Arc<Issuer> {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 0, key: KeyAlgorithm::P256 };
        Hierarchy::mint(&plan, &Seed::from_number(number), NOW).expect("a root").root().clone()
    }

    #[test]
    fn only_a_certificate_of_a_ca_is_uploaded() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("one.pem");
        let taken = |der: &[u8]| {
            std::fs::write(&path, pem::encode("CERTIFICATE", der)).expect("writes");
            ca_certificate(&path, "CA certificate", Output::default()).map(drop)
        };
        let root = root(1);
        taken(root.certificate().der()).expect("a CA");
        let other = root.verification_certificate("code", &Seed::from_number(2), NOW).expect("signs");
        let failure = taken(&other).expect_err("not a CA");
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.contains("one.pem") && failure.advice.is_some(), "{failure}");
    }

    #[test]
    fn dates_of_a_certificate_are_told_only_where_they_are_off() {
        let root = root(1);
        let moment = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).expect("a date");
        let (first, last) = (root.certificate().not_before(), root.certificate().not_after());
        let told = |seconds: i64| out_of_date(root.certificate(), moment(seconds));
        assert_eq!((told(first), told(last)), (None, None));
        assert!(told(first - 1).is_some_and(|text| text.starts_with("is not valid before ")));
        assert!(told(last + 1).is_some_and(|text| text.starts_with("expired on ")));
    }

    #[test]
    fn a_code_that_was_not_copied_whole_is_refused_before_any_file_is_read() {
        let missing = Path::new("/nonexistent");
        for code in ["", " ", "ABC ", "\nABC"] {
            let failure = offline(code, missing, missing, None, Output::default()).expect_err(code);
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains("the code "), "{failure}");
        }
    }

    #[test]
    fn a_signer_is_the_uploaded_ca_or_refused() {
        let name = CaName::new("root").expect("a good name");
        let record = |certificate: Option<String>| CertificateResponse {
            properties: CertificateProperties {
                subject: "test".into(),
                expiry: String::new(),
                thumbprint: String::new(),
                is_verified: false,
                certificate,
                created: String::new(),
                updated: String::new(),
                verification_code: None,
            },
            id: String::new(),
            name: "root".into(),
            kind: String::new(),
            etag: "e".into(),
        };
        let (ours, other) = (root(1), root(2));
        let uploaded = record(Some(STANDARD.encode(ours.certificate().der())));
        let compare = |signer: Signer, record: &CertificateResponse| {
            let seen = signer.compare(&name, record, Path::new("key.pem"));
            seen.map(|signer| matches!(signer, Signer::Whole(_))).map_err(|failure| failure.exit)
        };
        let whole = |issuer: &Issuer| Signer::Whole(issuer.clone());
        let alone = |issuer: &Issuer| {
            let der = issuer.key().to_pkcs8().expect("a key to write");
            Signer::KeyAlone(PrivateKey::from_pkcs8(&der).expect("a key to read"))
        };
        assert_eq!(compare(whole(&ours), &uploaded), Ok(true));
        assert_eq!(compare(whole(&other), &uploaded), Err(Exit::Usage));
        assert_eq!(compare(whole(&other), &record(None)), Ok(true));
        assert_eq!(compare(alone(&ours), &uploaded), Ok(true));
        assert_eq!(compare(alone(&other), &uploaded), Err(Exit::Usage));
        assert_eq!(compare(alone(&other), &record(None)), Ok(false));
    }

    #[test]
    fn columns_line_up_and_control_characters_are_shown_as_such() {
        let rows = [["NAME", "STATE"], ["a-long-name", "x"], ["b\u{1b}", ""]]
            .map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), ["NAME         STATE", "a-long-name  x", "b\u{fffd}"]);
    }

    #[test]
    fn each_kind_of_operator_error_ends_with_its_own_status() {
        let refused =
            OperatorError::Refused { attempted: "x".into(), status: 412, code: None, message: "m".into() };
        let failure = Failure::from(refused);
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.advice.is_some_and(|advice| advice.contains("fetch it again")));
        assert_eq!(Failure::from(OperatorError::BearerToken).exit, Exit::Usage);
    }
}
