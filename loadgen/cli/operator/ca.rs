//! `rollcall ca`: CA certificates at the resource manager.

use super::certificate_file::{ca_certificate, one_certificate};
use super::connection::Connection;
use super::consent::Consent;
use super::proof::{offline, prove};
use super::proof_check;
use super::session::Session;
use super::table::{Table, fields};
use crate::cli::output::Output;
use crate::cli::{moment, now};
use crate::exit::{Exit, Failure};
use clap::{ArgGroup, Args, Subcommand};
use sim_operator::Replacement;
use sim_protocol::CaName;
use sim_protocol::resource::CertificateResponse;
use std::path::{Path, PathBuf};
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{OffsetDateTime, UtcOffset};

/// The form of one CA certificate.
const SCHEMA: &str = "rollcall.ca/1";

const PROVE_EXAMPLES: &str = "\
Examples:
  rollcall ca prove --code CODE --cert ca.pem --key ca.key --out proof.pem
  rollcall ca prove --code CODE --cert ca.pem --key 'pkcs11:token=ca;object=line-a?pin-source=file:pin'
      the key stays in its token; ROLLCALL_PKCS11_MODULE names the library
  rollcall ca prove --code CODE --cert ca.pem --check proof.pem
      before the upload";

/// `rollcall ca`.
#[derive(Args, Clone, Debug)]
#[command(before_long_help = "\
Examples:
  rollcall ca upload root --cert root.pem
  rollcall ca verify root --key root.key.pem
      the whole proof of possession
  rollcall ca list
  rollcall ca delete root --yes")]
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
        /// Its private key, or a pkcs11: URI: makes the verification certificate for the pending code, or a new one
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// The CA certificate [default: what the service says was uploaded]
        #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "verification_cert")]
        cert: Option<PathBuf>,
        /// A verification certificate made elsewhere
        #[arg(long, value_name = "FILE")]
        verification_cert: Option<PathBuf>,
    },
    /// Make the verification certificate for a code, or check one, offline
    #[command(before_long_help = PROVE_EXAMPLES, group = ArgGroup::new("proof").required(true).args(["key", "check"]))]
    Prove {
        /// The code, exactly as generated
        #[arg(long)]
        code: String,
        /// The CA certificate
        #[arg(long, visible_alias = "ca", value_name = "FILE")]
        cert: PathBuf,
        /// Its private key, or a pkcs11: URI
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Where to write it [default: standard output]
        #[arg(long, value_name = "FILE", conflicts_with = "check")]
        out: Option<PathBuf>,
        /// Let --out replace a file that exists
        #[arg(long, requires = "out")]
        force: bool,
        /// A verification certificate made elsewhere: say whether it would be taken, and all that is wrong with it
        #[arg(long, value_name = "FILE")]
        check: Option<PathBuf>,
        /// The moment at which it would be uploaded, 2026-06-01 or 2026-06-01T08:00:00Z [default: now]
        #[arg(long, value_name = "TIME", conflicts_with = "key", value_parser = moment)]
        at: Option<OffsetDateTime>,
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
        /// Whether to ask.
        #[command(flatten)]
        consent: Consent,
    },
}

/// Runs `rollcall ca`.
pub async fn run(args: CaArgs, output: Output) -> Result<Exit, Failure> {
    let CaArgs { connection, verb } = args;
    if let CaVerb::Prove { code, cert, key, out, force, check, at } = &verb {
        let output = connection.output(output);
        return match (key, check) {
            (Some(key), _) => offline(code, cert, key, out.as_deref().map(|path| (path, *force)), output)
                .map(|()| Exit::Good),
            (None, Some(file)) => proof_check::check(code, file, cert, at.unwrap_or_else(now), output),
            (None, None) => Err(Failure::usage("cannot prove possession: nothing to prove it with")
                .advise("Give --key, or --check.")),
        };
    }
    with_service(connection, verb, output).await.map(|()| Exit::Good)
}

async fn with_service(connection: Connection, verb: CaVerb, output: Output) -> Result<(), Failure> {
    let output = connection.output(output);
    let session = Session::open(&connection, output)?;
    match verb {
        CaVerb::Upload { name, cert, verified } => upload(&session, &name, &cert, verified, output).await?,
        CaVerb::Code { name } => code(&session, &name).await?,
        CaVerb::Verify { name, key: Some(key), cert, .. } => {
            show_changed(&prove(&session.operator, &name, &key, cert.as_deref()).await?, &session);
        }
        CaVerb::Verify { name, verification_cert: Some(path), .. } => {
            let file = one_certificate(&path, "verification certificate")?.bytes;
            show_changed(&session.operator.verify(&name, &file, None).await?, &session);
        }
        CaVerb::Verify { name, .. } => {
            return Err(Failure::usage(format!("cannot verify `{name}`: nothing to prove possession with"))
                .advise("Give --key, or --verification-cert."));
        }
        // Made above, without a service.
        CaVerb::Prove { .. } => {}
        CaVerb::List => list(&session).await?,
        CaVerb::Show { name } => show(&session, &name).await?,
        CaVerb::Delete { name, consent } => {
            consent.obtain(&format!("CA certificate `{name}`"), &session).await?;
            session.operator.delete_certificate(&name).await?;
            session.deleted("ca", "CA certificate", name.as_str());
        }
    }
    session.close();
    Ok(())
}

async fn upload(
    session: &Session,
    name: &CaName,
    cert: &Path,
    verified: bool,
    output: Output,
) -> Result<(), Failure> {
    let file = ca_certificate(cert, "CA certificate", output)?.bytes;
    let Replacement { before, after } = session.operator.replace(name, &file, verified).await?;
    show_changed(&after, session);
    if !after.properties.is_verified {
        if before.is_some_and(|before| before.properties.is_verified) {
            session.warn(format!(
                "CA certificate `{name}` was verified; the one uploaded now is not until possession of its key is proven"
            ));
        }
        session.talk(format!("next: rollcall ca verify {name} --key FILE"));
    }
    Ok(())
}

async fn code(session: &Session, name: &CaName) -> Result<(), Failure> {
    let record = session.operator.generate_code(name).await?;
    let Some(code) = &record.properties.verification_code else {
        return Err(Failure::unexpected(format!("the service gave no verification code for `{name}`")));
    };
    session.document(SCHEMA, &record);
    session.line(code);
    session.talk(format!("next: rollcall ca verify {name} --key FILE"));
    Ok(())
}

async fn list(session: &Session) -> Result<(), Failure> {
    let records = session.operator.certificates().await?;
    session.list("rollcall.ca-list/1", &records);
    let Some(output) = session.results() else { return Ok(()) };
    let mut table = Table::new(&["NAME", "STATE", "SUBJECT", "EXPIRY"]);
    table.rows(records.iter().map(row).collect(), output);
    if table.is_empty() {
        session.talk("no CA certificates");
    }
    Ok(())
}

async fn show(session: &Session, name: &CaName) -> Result<(), Failure> {
    let record = session.operator.certificate(name).await?;
    session.document(SCHEMA, &record);
    let properties = &record.properties;
    let mut shown = vec![
        ("name", record.name.clone()),
        ("state", state(&record)),
        ("subject", properties.subject.clone()),
        ("thumbprint", properties.thumbprint.clone()),
        ("expiry", date(&properties.expiry)),
        ("updated", date(&properties.updated)),
        ("etag", record.etag.clone()),
    ];
    shown.extend(properties.verification_code.clone().map(|code| ("code", code)));
    session.rows(&fields(shown));
    Ok(())
}

fn state(record: &CertificateResponse) -> String {
    let state = if record.properties.is_verified { "Verified" } else { "Unverified" };
    let pending = if record.properties.verification_code.is_some() { ", code pending" } else { "" };
    format!("{state}{pending}")
}

/// A moment as the service writes it, RFC 3339 with an offset or RFC 2822, in RFC 3339 and UTC; other text as it is.
fn date(text: &str) -> String {
    let read = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, &Rfc2822)).ok();
    let shown = read.and_then(|moment| moment.to_offset(UtcOffset::UTC).format(&Rfc3339).ok());
    shown.unwrap_or_else(|| text.to_owned())
}

fn row(record: &CertificateResponse) -> Vec<String> {
    let properties = &record.properties;
    vec![record.name.clone(), state(record), properties.subject.clone(), date(&properties.expiry)]
}

fn show_changed(record: &CertificateResponse, session: &Session) {
    session.document(SCHEMA, record);
    session.rows(&[row(record)]);
}
