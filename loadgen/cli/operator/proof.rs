//! Proof of possession: who can sign for an uploaded CA certificate, and what is signed.

use super::certificate_file::{one_certificate, only_certificate};
use crate::cli::ca_key::{CaKey, shown};
use crate::cli::check::refuse_existing;
use crate::cli::output::Output;
use crate::cli::{now, random_seed, write_file};
use crate::exit::Failure;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use sim_identity::{Certificate, Issuer, pem};
use sim_operator::Operator;
use sim_protocol::CaName;
use sim_protocol::resource::CertificateResponse;
use std::path::Path;

#[derive(Serialize)]
struct Proof<'a> {
    schema: &'static str,
    code: &'a str,
    certificate: &'a str,
}

/// Joins a CA certificate and its private key, which is at `place`.
fn issuer(certificate: Certificate, key: CaKey, place: &Path) -> Result<Issuer, Failure> {
    let subject = certificate.subject();
    key.issuer(certificate).map_err(|fault| {
        Failure::usage(format!("cannot sign as `{subject}` with {}: {fault}", shown(place)))
            .advise("Give the CA certificate and the private key that belongs to it.")
    })
}

/// Who signs a proof, as far as that is known.
enum Signer {
    /// The CA certificate and its key.
    Whole(Issuer),
    /// The key, as long as nobody has shown the certificate.
    KeyAlone(CaKey),
}

impl Signer {
    fn read(key: &Path, cert: Option<&Path>) -> Result<Self, Failure> {
        let given = cert.map(|path| one_certificate(path, "CA certificate")).transpose()?;
        let private = CaKey::read(key)?;
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
pub(super) async fn prove(
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
    if operator.is_rehearsal() {
        return Ok(operator.rehearse_answer(name, &record).await?);
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

/// Refuses a code that was not copied exactly; `what` says what it was for.
pub(super) fn whole_code(code: &str, what: &str) -> Result<(), Failure> {
    let fault = match code {
        "" => "is empty",
        code if code.trim() != code => "begins or ends with white space",
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("cannot {what}: the code {fault}"))
        .advise("Give the code exactly as `rollcall ca code` prints it."))
}

/// What is odd about a code, where it is not of the service's form: 48 hexadecimal digits
/// (DPS documentation, "How to do proof-of-possession for X.509 CA certificates").
pub(super) fn unusual_code(code: &str) -> Option<String> {
    let usual = code.len() == 48 && code.bytes().all(|b| b.is_ascii_hexdigit());
    (!usual)
        .then(|| format!("the codes of the service have 48 hexadecimal digits; `{code}` is of another form"))
}

/// Makes the verification certificate for a code without asking the service; `out` is where it is written, and
/// whether it may replace what is there.
pub(super) fn offline(
    code: &str,
    cert: &Path,
    key: &Path,
    out: Option<(&Path, bool)>,
    output: Output,
) -> Result<(), Failure> {
    whole_code(code, "make a verification certificate")?;
    if let Some((path, force)) = out {
        refuse_existing(path, force)?;
    }
    if let Some(note) = unusual_code(code) {
        output.talk(format!("note: {note}"));
    }
    let certificate = one_certificate(cert, "CA certificate")?.certificate;
    let issuer = issuer(certificate, CaKey::read(key)?, key)?;
    let der = issuer.verification_certificate(code, &random_seed(), now()).map_err(|fault| {
        Failure::usage(format!("cannot make a verification certificate for code `{code}`: {fault}"))
    })?;
    let text = pem::encode("CERTIFICATE", &der);
    if let Some((path, _)) = out {
        write_file(path, text.as_bytes(), false)?;
        output.talk(format!("wrote {}", path.display()));
    } else {
        output.line(text.trim_end());
    }
    output.json(&Proof { schema: "rollcall.verification-certificate/1", code, certificate: &text });
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::exit::Exit;
    use sim_identity::{Hierarchy, HierarchyPlan, KeyAlgorithm, PrivateKey, Seed};
    use sim_protocol::resource::CertificateProperties;
    use std::sync::Arc;
    use time::OffsetDateTime;
    use time::macros::datetime;

    pub(in crate::cli::operator) const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

    pub(in crate::cli::operator) fn root(number: u64) -> Arc<Issuer> {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 0, key: KeyAlgorithm::P256 };
        Hierarchy::mint(&plan, &Seed::from_number(number), NOW).expect("a root").root().clone()
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
            let key = issuer.private_key().expect("a key in memory");
            let der = key.to_pkcs8().expect("a key to write");
            Signer::KeyAlone(CaKey::File(PrivateKey::from_pkcs8(&der).expect("a key to read")))
        };
        assert_eq!(compare(whole(&ours), &uploaded), Ok(true));
        assert_eq!(compare(whole(&other), &uploaded), Err(Exit::Usage));
        assert_eq!(compare(whole(&other), &record(None)), Ok(true));
        assert_eq!(compare(alone(&ours), &uploaded), Ok(true));
        assert_eq!(compare(alone(&other), &uploaded), Err(Exit::Usage));
        assert_eq!(compare(alone(&other), &record(None)), Ok(false));
    }
}
