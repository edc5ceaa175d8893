//! The file that a certificate is uploaded in, and what may be in it instead.
//!
//! The published CLI sends base64 of the file's bytes, whatever they are, and the service takes PEM and DER alike.
//! Nothing here quotes content: what is no certificate may be a key.

use crate::certificate::{Certificate, CertificateFault};
use crate::der::{self, INTEGER, OCTET_STRING, OID, SEQUENCE};
use crate::files::is_certificate;
use crate::pem::{self, PemFault};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A certificate as it is uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// The first certificate of the file, the one that counts.
    pub certificate: Certificate,
    /// How it is written.
    pub form: ProofForm,
    /// How many more certificates follow it.
    pub further: usize,
}

/// How a certificate is written. All of them are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofForm {
    /// PEM text.
    Pem,
    /// DER.
    Der,
    /// Base64 of PEM text.
    Base64Pem,
    /// Base64 of DER.
    Base64Der,
}

impl ProofForm {
    /// Its name in sentences and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            ProofForm::Pem => "PEM",
            ProofForm::Der => "DER",
            ProofForm::Base64Pem => "base64 of PEM",
            ProofForm::Base64Der => "base64 of DER",
        }
    }
}

/// Why a file holds no certificate that could be uploaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileFault {
    /// Nothing, or nothing but white space.
    #[error("it is empty")]
    Empty,
    /// A private key, alone or beside a certificate.
    #[error("it holds a private key")]
    PrivateKey,
    /// A certificate request (PKCS#10).
    #[error("it holds a certificate request (CSR), not a certificate")]
    Request,
    /// PKCS#12, which holds a private key as a rule.
    #[error("it is PKCS#12 (.pfx, .p12)")]
    Pkcs12,
    /// The beginning of something.
    #[error("it is cut off before its end")]
    Truncated,
    /// Text in UTF-16, as some shells write it.
    #[error("it is text in UTF-16")]
    Utf16,
    /// PEM of something else: its first label.
    #[error("it holds no certificate, only {0}")]
    Other(String),
    /// PEM with content that is not base64.
    #[error("{0}")]
    Pem(PemFault),
    /// A block or structure that begins as a certificate does and is none.
    #[error("{0}")]
    Certificate(CertificateFault),
    /// Neither PEM nor DER nor base64 of either.
    #[error("it is neither PEM nor DER")]
    Garbage,
}

impl ProofFileFault {
    /// The id of the fault, as in `explain`.
    pub fn id(&self) -> &'static str {
        match self {
            ProofFileFault::Empty => "pop-empty",
            ProofFileFault::PrivateKey => "pop-key-file",
            ProofFileFault::Request => "pop-csr",
            ProofFileFault::Pkcs12 => "upload-pfx",
            ProofFileFault::Truncated => "pop-truncated",
            ProofFileFault::Utf16
            | ProofFileFault::Other(_)
            | ProofFileFault::Pem(_)
            | ProofFileFault::Certificate(_)
            | ProofFileFault::Garbage => "pop-garbage",
        }
    }

    /// What repairs it.
    pub fn advice(&self) -> &'static str {
        match self {
            ProofFileFault::PrivateKey => {
                "Never upload a private key. Give the certificate alone; if this file has left the machine, take the key for exposed and replace it."
            }
            ProofFileFault::Request => {
                "Sign the request with the CA's key and give what comes of it: `openssl x509 -req -in REQUEST -CA CA.pem -CAkey CA.key -days 1`."
            }
            ProofFileFault::Pkcs12 => {
                "Take the certificate out: `openssl pkcs12 -in FILE -clcerts -nokeys`; the file itself holds a private key as a rule."
            }
            ProofFileFault::Utf16 => "Write the file as ASCII or UTF-8; a shell's `>` may write UTF-16.",
            ProofFileFault::Empty | ProofFileFault::Truncated | ProofFileFault::Pem(_) => {
                "Get the file again, whole."
            }
            ProofFileFault::Other(_) | ProofFileFault::Certificate(_) | ProofFileFault::Garbage => {
                "Give one certificate, PEM or DER."
            }
        }
    }
}

/// Reads what an operator uploads: PEM, DER, or base64 of either; of several certificates the first.
///
/// # Errors
/// What is in the file instead, as far as that can be told.
pub fn read_proof(bytes: &[u8]) -> Result<ProofFile, ProofFileFault> {
    if let Some(content) = base64_of(bytes)? {
        let form = |form| match form {
            ProofForm::Pem => ProofForm::Base64Pem,
            _ => ProofForm::Base64Der,
        };
        return read_plain(&content).map(|file| ProofFile { form: form(file.form), ..file });
    }
    read_plain(bytes)
}

/// What the bytes are base64 of; nothing where they are something else.
fn base64_of(bytes: &[u8]) -> Result<Option<Vec<u8>>, ProofFileFault> {
    let text: Vec<u8> = bytes.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    if text.is_empty() {
        return Err(ProofFileFault::Empty);
    }
    if !text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')) {
        return Ok(None);
    }
    STANDARD.decode(&text).map(Some).map_err(|_| {
        // What can be decoded tells what it was to be.
        let start = STANDARD.decode(&text[..text.len() / 4 * 4]).unwrap_or_default();
        read_plain(&start).err().filter(|_| !start.is_empty()).unwrap_or(ProofFileFault::Garbage)
    })
}

fn read_plain(bytes: &[u8]) -> Result<ProofFile, ProofFileFault> {
    if pem::is_pem(bytes) {
        return read_pem(&String::from_utf8_lossy(bytes));
    }
    match bytes {
        [] => return Err(ProofFileFault::Empty),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(ProofFileFault::Utf16),
        _ => {}
    }
    let certificate = read_der(bytes)?;
    Ok(ProofFile { certificate, form: ProofForm::Der, further: 0 })
}

fn read_pem(text: &str) -> Result<ProofFile, ProofFileFault> {
    // Looked for before anything is decoded: a key in a file that is otherwise broken is a key.
    if text.lines().any(|l| l.contains("-----BEGIN ") && l.contains("PRIVATE KEY-----")) {
        return Err(ProofFileFault::PrivateKey);
    }
    let blocks = pem::blocks(text).map_err(|fault| match fault {
        PemFault::Truncated { .. } => ProofFileFault::Truncated,
        fault => ProofFileFault::Pem(fault),
    })?;
    let mut certificates = blocks.iter().filter(|b| is_certificate(b));
    let Some(first) = certificates.next() else {
        return Err(match blocks.first().map(|b| b.label.as_str()) {
            Some("CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => ProofFileFault::Request,
            Some(label) => ProofFileFault::Other(label.chars().take(64).collect()),
            None => ProofFileFault::Garbage,
        });
    };
    let certificate = read_der(&first.der)?;
    Ok(ProofFile { certificate, form: ProofForm::Pem, further: certificates.count() })
}

/// Reads one certificate, or tells by its shape what stands in its place.
fn read_der(bytes: &[u8]) -> Result<Certificate, ProofFileFault> {
    let fault = match Certificate::from_der(bytes) {
        Ok(certificate) => return Ok(certificate),
        Err(fault) => fault,
    };
    if let Some(shape) = shape_fault(bytes) {
        return Err(shape);
    }
    if bytes.is_empty() {
        return Err(ProofFileFault::Empty);
    }
    if is_cut_off(bytes) {
        return Err(ProofFileFault::Truncated);
    }
    let sequence = bytes.first() == Some(&SEQUENCE) && der::split(bytes).is_some();
    Err(if sequence { ProofFileFault::Certificate(fault) } else { ProofFileFault::Garbage })
}

/// What the first elements of a structure say that it is.
fn shape_fault(bytes: &[u8]) -> Option<ProofFileFault> {
    // A key that was cut off is a key: no length of what encloses others is relied on.
    let content = header(bytes).map(|(start, _)| &bytes[start..])?;
    let outer = tags(content);
    let first = der::split(content)?.content;
    match (outer.as_slice(), first) {
        // PFX (RFC 7292 section 4): version 3 and authSafe.
        ([INTEGER, SEQUENCE, ..], [3]) => Some(ProofFileFault::Pkcs12),
        // PrivateKeyInfo (RFC 5958), ECPrivateKey (RFC 5915), RSAPrivateKey (RFC 8017 appendix A.1.2).
        ([INTEGER, SEQUENCE | OCTET_STRING | INTEGER, ..], [0 | 1]) => Some(ProofFileFault::PrivateKey),
        ([SEQUENCE, second, ..], inside) => match tags(inside).as_slice() {
            // CertificationRequestInfo (RFC 2986 section 4.1): its fourth element has context tag 0.
            [INTEGER, SEQUENCE, SEQUENCE, 0xa0] => Some(ProofFileFault::Request),
            // EncryptedPrivateKeyInfo (RFC 5958 section 3): an algorithm, then octets.
            [OID, ..] if *second == OCTET_STRING => Some(ProofFileFault::PrivateKey),
            _ => None,
        },
        _ => None,
    }
}

/// The tags of the first four elements, the last of which may be cut off.
fn tags(bytes: &[u8]) -> Vec<u8> {
    let mut rest = bytes;
    let next = || {
        let tag = rest.first().copied();
        rest = der::split(rest).map(|element| element.rest).unwrap_or_default();
        tag
    };
    std::iter::from_fn(next).take(4).collect()
}

/// Where the content of an outer SEQUENCE starts, and how long it says that it is.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&SEQUENCE, &first) = (bytes.first()?, bytes.get(1)?) else { return None };
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let digits = bytes.get(2..2 + usize::from(first & 0x7f)).filter(|d| (1..=4).contains(&d.len()))?;
    Some((2 + digits.len(), digits.iter().fold(0, |n, &d| n << 8 | usize::from(d))))
}

/// Whether a DER structure says that it is longer than what is there.
fn is_cut_off(bytes: &[u8]) -> bool {
    header(bytes).is_some_and(|(start, length)| start + length > bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hierarchy, HierarchyPlan, KeyAlgorithm, PrivateKey, Seed};
    use time::macros::datetime;

    fn certificate() -> Vec<u8> {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 0, key: KeyAlgorithm::P256 };
        let now = datetime!(2026-06-01 00:00 UTC);
        let made = Hierarchy::mint(&plan, &Seed::from_number(1), now).expect("a root");
        made.root().certificate().der().to_vec()
    }

    fn pem(der: &[u8]) -> Vec<u8> {
        pem::encode("CERTIFICATE", der).into_bytes()
    }

    /// Base64 in lines, as `base64` writes it.
    fn base64(bytes: &[u8]) -> Vec<u8> {
        let text = STANDARD.encode(bytes).into_bytes();
        text.chunks(76).flat_map(|line| [line, b"\n"]).flatten().copied().collect()
    }

    #[test]
    fn each_form_of_an_upload_is_read() {
        let der = certificate();
        let bundle = [pem(&der), pem(&der), pem(&der)].concat();
        let with_mark = ["\u{feff}".as_bytes(), &pem(&der)].concat();
        for (bytes, form, further) in [
            (der.clone(), ProofForm::Der, 0),
            (pem(&der), ProofForm::Pem, 0),
            (with_mark, ProofForm::Pem, 0),
            (base64(&der), ProofForm::Base64Der, 0),
            (base64(&pem(&der)), ProofForm::Base64Pem, 0),
            (bundle.clone(), ProofForm::Pem, 2),
            (base64(&bundle), ProofForm::Base64Pem, 2),
        ] {
            let read = read_proof(&bytes).expect("a certificate");
            assert_eq!((read.form, read.further, read.certificate.der()), (form, further, der.as_slice()));
        }
    }

    #[test]
    fn what_is_no_certificate_is_told_apart() {
        let der = certificate();
        let key = PrivateKey::derive(&Seed::from_number(1), "k", 0, KeyAlgorithm::P256).expect("derives");
        let pkcs8 = key.to_pkcs8().expect("encodes");
        let request = der::tlv(SEQUENCE, &[&[2, 1, 0], &[SEQUENCE, 0], &[SEQUENCE, 0], &[0xa0, 0]]);
        let request = der::tlv(SEQUENCE, &[&request, &[SEQUENCE, 0], &[3, 1, 0]]);
        let sec1 = der::tlv(SEQUENCE, &[&[2, 1, 1], &[4, 1, 9]]);
        let encrypted = der::tlv(SEQUENCE, &[&der::tlv(SEQUENCE, &[&[OID, 1, 42]]), &[4, 1, 9]]);
        let pkcs12 = der::tlv(SEQUENCE, &[&[2, 1, 3], &[SEQUENCE, 0]]);
        let block = |label: &str, der: &[u8]| pem::encode(label, der).into_bytes();
        let both = [pem(&der), block("EC PRIVATE KEY", &sec1)].concat();
        let half = pem(&der)[..300].to_vec();
        let rows: Vec<(Vec<u8>, ProofFileFault)> = vec![
            (Vec::new(), ProofFileFault::Empty),
            (b" \r\n".to_vec(), ProofFileFault::Empty),
            (pkcs8.clone(), ProofFileFault::PrivateKey),
            (pkcs8[..60].to_vec(), ProofFileFault::PrivateKey),
            (base64(&pkcs8)[..50].to_vec(), ProofFileFault::PrivateKey),
            (base64(&pkcs8), ProofFileFault::PrivateKey),
            (block("PRIVATE KEY", &pkcs8), ProofFileFault::PrivateKey),
            (block("PRIVATE KEY", &pkcs8)[..60].to_vec(), ProofFileFault::PrivateKey),
            (block("CERTIFICATE", &pkcs8), ProofFileFault::PrivateKey),
            (sec1, ProofFileFault::PrivateKey),
            (encrypted, ProofFileFault::PrivateKey),
            (both.clone(), ProofFileFault::PrivateKey),
            (base64(&both), ProofFileFault::PrivateKey),
            (request.clone(), ProofFileFault::Request),
            (block("CERTIFICATE REQUEST", &request), ProofFileFault::Request),
            (block("CERTIFICATE", &request), ProofFileFault::Request),
            (pkcs12, ProofFileFault::Pkcs12),
            (der[..200].to_vec(), ProofFileFault::Truncated),
            (block("CERTIFICATE", &der[..200]), ProofFileFault::Truncated),
            (base64(&der)[..201].to_vec(), ProofFileFault::Truncated),
            (base64(&der)[..200].to_vec(), ProofFileFault::Truncated),
            (half, ProofFileFault::Truncated),
            (block("PUBLIC KEY", &[1]), ProofFileFault::Other("PUBLIC KEY".into())),
            (vec![0xff, 0xfe, b'-', 0], ProofFileFault::Utf16),
            (vec![0x99; 64], ProofFileFault::Garbage),
            (b"not a certificate!".to_vec(), ProofFileFault::Garbage),
            (b"QUJD".to_vec(), ProofFileFault::Garbage),
        ];
        for (bytes, expected) in rows {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            assert_eq!(read_proof(&bytes).err(), Some(expected), "{shown}");
        }
        let trailing = [der.as_slice(), &[0]].concat();
        let fault = ProofFileFault::Certificate(CertificateFault::TrailingBytes(1));
        assert_eq!(read_proof(&trailing).err(), Some(fault));
    }

    #[test]
    fn no_cut_of_a_certificate_or_key_is_taken_for_a_certificate() {
        let der = certificate();
        let key = PrivateKey::derive(&Seed::from_number(1), "k", 0, KeyAlgorithm::P384).expect("derives");
        for whole in [der, key.to_pkcs8().expect("encodes")] {
            for end in 0..whole.len() {
                assert!(read_proof(&whole[..end]).is_err(), "{end}");
                assert!(read_proof(&base64(&whole[..end])).is_err(), "{end}");
            }
        }
    }
}
