//! `rollcall ca prove --check`: whether a verification certificate would be taken, before it is uploaded.
//!
//! The service names one fault at a time, and each try costs a call; here all of them are named at once.

use super::proof::{unusual_code, whole_code};
use crate::cli::output::Output;
use crate::cli::read_file;
use crate::exit::{Exit, Failure};
use serde::Serialize;
use sim_dps::certificates::CaFault;
use sim_identity::Certificate;
use sim_identity::certificate::{NameMatch, compare_names};
use sim_identity::possession::{self, ProofFile, ProofFileFault, ProofForm, read_proof};
use std::path::Path;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What there is to say about a verification certificate.
#[derive(Serialize)]
struct ProofCheck<'a> {
    schema: &'static str,
    /// `accept` or `reject`.
    verdict: &'static str,
    file: String,
    code: &'a str,
    /// Subject of the CA.
    ca: String,
    at: String,
    /// None where the file holds none.
    certificate: Option<Shown>,
    faults: Vec<Fault>,
    notes: Vec<Note>,
}

/// The certificate that was read.
#[derive(Serialize)]
struct Shown {
    form: &'static str,
    version: u32,
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
}

/// Why it would not be taken.
#[derive(Serialize)]
struct Fault {
    id: &'static str,
    detail: String,
    repair: &'static str,
    /// What the mock answers, were this the only fault.
    status: u16,
    service_code: &'static str,
}

/// What is not usual, and taken.
#[derive(Serialize)]
struct Note {
    id: &'static str,
    detail: String,
}

/// Says whether the certificate in `file` proves possession of the key of the CA in `ca`, were it uploaded at `at`.
///
/// # Errors
/// When a file cannot be read, or that of the CA holds none; what is in `file` is a matter of the verdict.
pub(super) fn check(
    code: &str,
    file: &Path,
    ca: &Path,
    at: OffsetDateTime,
    output: Output,
) -> Result<Exit, Failure> {
    whole_code(code, "check a verification certificate")?;
    let ca = uploaded_ca(ca)?;
    let bytes = read_file(file, "verification certificate")?;
    let read = read_proof(&bytes);
    if read == Err(ProofFileFault::PrivateKey) {
        output.warn(format!("{} HOLDS A PRIVATE KEY: never upload it", file.display()));
    }
    let now = at.unix_timestamp();
    let (certificate, faults, mut notes) = match &read {
        Ok(proof) => (
            Some(shown(proof)),
            possession_faults(code, &proof.certificate, &ca.certificate, now),
            proof_notes(proof, &ca.certificate),
        ),
        Err(fault) => (None, vec![file_fault(fault)], Vec::new()),
    };
    notes.extend(ca_notes(&ca, now));
    notes.extend(unusual_code(code).map(|detail| Note { id: "code-form", detail }));
    let accepted = faults.is_empty();
    let result = ProofCheck {
        schema: "rollcall.proof-check/1",
        verdict: if accepted { "accept" } else { "reject" },
        file: file.display().to_string(),
        code,
        ca: ca.certificate.subject(),
        at: date(now),
        certificate,
        faults,
        notes,
    };
    print(&result, output);
    Ok(if accepted { Exit::Good } else { Exit::Refused })
}

/// The CA's file, read as the service reads it when it is uploaded.
fn uploaded_ca(path: &Path) -> Result<ProofFile, Failure> {
    read_proof(&read_file(path, "CA certificate")?).map_err(|fault| {
        Failure::usage(format!("cannot use {} as CA certificate: {fault}", path.display()))
            .advise(fault.advice())
    })
}

fn shown(proof: &ProofFile) -> Shown {
    let certificate = &proof.certificate;
    Shown {
        form: proof.form.as_str(),
        version: certificate.version(),
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        not_before: date(certificate.not_before()),
        not_after: date(certificate.not_after()),
    }
}

fn date(seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| seconds.to_string())
}

fn possession_faults(code: &str, proof: &Certificate, ca: &Certificate, now: i64) -> Vec<Fault> {
    let faults = possession::faults(code, proof, ca, now).into_iter();
    let named = faults.map(|fault| {
        let (id, detail, repair) = (fault.id(), fault.detail(), fault.advice());
        let (status, service_code) = CaFault::Possession(fault).status_and_code();
        Fault { id, detail, repair, status, service_code }
    });
    named.collect()
}

fn file_fault(fault: &ProofFileFault) -> Fault {
    let (status, service_code) = CaFault::Unreadable(String::new()).status_and_code();
    Fault { id: fault.id(), detail: fault.to_string(), repair: fault.advice(), status, service_code }
}

fn proof_notes(proof: &ProofFile, ca: &Certificate) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |id, detail: String| notes.push(Note { id, detail });
    if proof.certificate.version() == 1 {
        note(
            "pop-ok-v1",
            "X.509 version 1 is taken, as plain `openssl x509 -req` makes it; no extension is looked at"
                .into(),
        );
    }
    match proof.form {
        ProofForm::Pem => {}
        ProofForm::Der => note("pop-ok-der", "DER is taken as well as PEM".into()),
        ProofForm::Base64Pem | ProofForm::Base64Der => {
            note(
                "pop-ok-base64-pem",
                format!(
                    "it is {}, which is taken as it is by the REST call; `rollcall` and the published CLI encode the file once more, so give them the decoded file",
                    proof.form.as_str()
                ),
            );
        }
    }
    if proof.further > 0 {
        let count = proof.further;
        note(
            "pop-bundle",
            format!("{count} more in the file: the first certificate counts, and is the one checked"),
        );
    }
    if compare_names(proof.certificate.issuer_der(), ca.subject_der()) == NameMatch::Normalised {
        note("name-compare", "its issuer and the CA's subject are one name in different bytes".into());
    }
    notes
}

/// What the service takes of a CA and a fleet will not profit from.
fn ca_notes(ca: &ProofFile, now: i64) -> Vec<Note> {
    let certificate = &ca.certificate;
    let rows = [
        (
            !certificate.is_ca(),
            "upload-not-ca",
            "the CA given is no CA by its basicConstraints: it can be verified, and no device rolls up to it",
        ),
        (
            certificate.not_after() < now,
            "upload-expired-ca",
            "the CA given has expired: it can be verified, and its devices are refused",
        ),
        (
            ca.further > 0,
            "upload-chain-file",
            "the file of the CA holds more certificates: the first one counts",
        ),
    ];
    let apply = rows.into_iter().filter(|(applies, ..)| *applies);
    apply.map(|(_, id, detail)| Note { id, detail: detail.to_owned() }).collect()
}

fn print(result: &ProofCheck<'_>, output: Output) {
    output.json(result);
    output.line(result.verdict);
    for fault in &result.faults {
        output.line(format!("fault: {} ({})", fault.detail, fault.id));
        output.line(format!("  repair: {}", fault.repair));
    }
    if let Some(first) = result.faults.first() {
        output.line(format!("the mock would answer {} {}", first.status, first.service_code));
    }
    for note in &result.notes {
        output.line(format!("note: {} ({})", note.detail, note.id));
    }
}
