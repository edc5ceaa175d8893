//! Certificates in files that the user names.

use crate::cli::output::Output;
use crate::cli::{now, read_file};
use crate::exit::Failure;
use sim_identity::{Certificate, files, pem};
use sim_protocol::attestation::CertificateSlot;
use sim_protocol::timestamp;
use std::path::Path;
use time::OffsetDateTime;

/// A file that holds one certificate, and nothing secret.
pub(super) struct CertificateFile {
    pub(super) bytes: Vec<u8>,
    pub(super) certificate: Certificate,
}

/// The bytes of a file that is going to be sent, and so may hold no private key.
fn public_file(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path, what)?;
    if !files::holds_private_key(&bytes) {
        return Ok(bytes);
    }
    let shown = path.display();
    Err(Failure::usage(format!("will not use {shown} as {what}: it holds a private key"))
        .advise("Give a file with the certificate alone; a private key must never be uploaded."))
}

pub(super) fn one_certificate(path: &Path, what: &str) -> Result<CertificateFile, Failure> {
    let bytes = public_file(path, what)?;
    let certificate = only_certificate(&path.display().to_string(), &bytes, what)?;
    Ok(CertificateFile { bytes, certificate })
}

/// A certificate that devices are to roll up to: a CA's, with a warning where its dates keep them out.
pub(super) fn ca_certificate(path: &Path, what: &str, output: Output) -> Result<CertificateFile, Failure> {
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
    warn_of_dates(certificate, what, path, output);
    Ok(file)
}

fn warn_of_dates(certificate: &Certificate, what: &str, path: &Path, output: Output) {
    if let Some(fault) = out_of_date(certificate, now()) {
        output.warn(format!("the {what} in {} {fault}", path.display()));
    }
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

pub(super) fn only_certificate(name: &str, bytes: &[u8], what: &str) -> Result<Certificate, Failure> {
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

/// A slot of an attestation with the certificate of a CA that signs devices' certificates.
pub(super) fn signing_slot(path: &Path, output: Output) -> Result<CertificateSlot, Failure> {
    ca_certificate(path, "signing certificate", output).map(|file| slot(&file.certificate))
}

/// A slot of an attestation with a device's own certificate: the first of a file, as in the chain that it sends.
pub(super) fn client_slot(path: &Path, output: Output) -> Result<CertificateSlot, Failure> {
    const WHAT: &str = "client certificate";
    let bytes = public_file(path, WHAT)?;
    let chain = files::read_certificates(&path.display().to_string(), &bytes).map_err(Failure::usage)?;
    let Some(leaf) = chain.first() else {
        let fault = format!("cannot use {} as {WHAT}: it holds no certificate", path.display());
        return Err(
            Failure::usage(fault).advise("Give the device's certificate, or the chain that it sends.")
        );
    };
    warn_of_dates(leaf, WHAT, path, output);
    Ok(slot(leaf))
}

fn slot(certificate: &Certificate) -> CertificateSlot {
    CertificateSlot { certificate: Some(pem::encode("CERTIFICATE", certificate.der())), info: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::operator::proof::tests::{NOW, root};
    use crate::exit::Exit;
    use sim_identity::Seed;

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
}
