//! Proof of possession: what can be wrong with the file that is uploaded as a verification certificate, and with
//! the file of the CA itself. Section 9 of the fault matrix.
//!
//! [`crate::possession::check`] is the judge of what is made here. Rows that are about calls rather than files, such
//! as a stale etag, have nothing to make.

use super::draft::{Ca, Draft};
use super::odd::{RsaForm, rsa_that_signs};
use super::workshop::Workshop;
use super::{Expected, Family, Make, Others, Row};
use crate::der;
use crate::issuer::{IssueError, Issuer};
use crate::key::{KeyAlgorithm, KeyFault, PrivateKey, Signer};
use crate::pem;
use crate::seed::Seed;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// Which file is uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofKind {
    /// CN = code, signed by the CA's key, X.509 v3, PEM.
    Good,
    /// The same as X.509 v1, as `openssl x509 -req` writes it.
    VersionOne,
    /// The same in DER.
    Der,
    /// The PEM text in base64 once more.
    Base64Pem,
    /// CN = another code.
    WrongCode,
    /// CN = the code in lower case.
    LowerCase,
    /// A blank after the code.
    TrailingBlank,
    /// The code in an OU, and no CN.
    NoCommonName,
    /// Signed by another CA, of another name.
    OtherCa,
    /// Signed by another key under the CA's name.
    OtherKey,
    /// Signed by the CA's key, and self-issued: the issuer is the code.
    SelfIssued,
    /// The CA certificate.
    CaItself,
    /// The certificate request.
    Request,
    /// The private key of the verification certificate.
    KeyFile,
    /// Random bytes.
    Garbage,
    /// Nothing.
    Empty,
    /// The first half of the DER.
    Truncated,
    /// The good certificate, and the CA's after it.
    Bundle,
    /// Past its last second.
    Expired,
    /// Before its first second, by more than clocks may differ.
    NotYetValid,
    /// The signature is said to be one over a SHA-1 digest.
    WeakSignature,
    /// Signed by an intermediate of the CA.
    BelowIntermediate,
    /// To be uploaded as a CA: a certificate of a device.
    UploadNotCa,
    /// To be uploaded as a CA: an intermediate and its root in one file.
    UploadChain,
    /// To be uploaded as a CA: an expired one.
    UploadExpired,
    /// To be uploaded as a CA: PKCS#12 with certificate and key.
    UploadPfx,
    /// To be uploaded as a CA: certificate and key in one PEM file.
    UploadWithKey,
}

/// A file to upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// A name for it that fits its form.
    pub name: &'static str,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Whether there is a private key in it. Whoever writes it to disk owes it mode 0600.
    pub secret: bool,
}

impl Proof {
    fn new(name: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Proof { name, body: body.into(), secret: false }
    }

    fn secret(self) -> Self {
        Proof { secret: true, ..self }
    }
}

impl ProofKind {
    /// Whether it is to be uploaded as a CA certificate, rather than to prove possession of one. For these
    /// [`Expected::Proven`] stands for: the service takes the file.
    pub const fn is_upload(self) -> bool {
        use ProofKind::{UploadChain, UploadExpired, UploadNotCa, UploadPfx, UploadWithKey};
        matches!(self, UploadNotCa | UploadChain | UploadExpired | UploadPfx | UploadWithKey)
    }

    /// Makes the file for the CA and the code that was generated for it.
    ///
    /// # Errors
    /// When a certificate cannot be written, or a token holds the key that the file is to contain.
    pub fn make(
        self,
        ca: &Issuer,
        code: &str,
        seed: &Seed,
        now: OffsetDateTime,
    ) -> Result<Proof, IssueError> {
        let desk = Desk { ca, code, workshop: Workshop::under(ca, ca, seed, now), seed };
        if self.is_upload() { desk.upload(self) } else { desk.proof(self) }
    }
}

const PEM: &str = "proof.pem";
const UPLOAD_PEM: &str = "upload.pem";

fn certificate_pem(der: &[u8]) -> String {
    pem::encode("CERTIFICATE", der)
}

/// Where files to upload are made: one CA, one code.
struct Desk<'a> {
    ca: &'a Issuer,
    code: &'a str,
    workshop: Workshop,
    seed: &'a Seed,
}

impl Desk<'_> {
    fn proof(&self, kind: ProofKind) -> Result<Proof, IssueError> {
        let root: &Ca = self.workshop.root();
        let good = || self.draft(der::common_name(self.code));
        let of_name = |name: &str| self.pem(root, &self.draft(der::common_name(name)));
        match kind {
            ProofKind::VersionOne => self.pem(root, &good()),
            ProofKind::Der => Ok(Proof::new("proof.der", self.signed(root, &good())?)),
            ProofKind::Base64Pem => {
                let text = certificate_pem(&self.signed(root, &good())?);
                Ok(Proof::new("proof.b64", STANDARD.encode(text)))
            }
            ProofKind::WrongCode => of_name(&self.older_code()),
            ProofKind::LowerCase => of_name(&self.code.to_lowercase()),
            ProofKind::TrailingBlank => of_name(&format!("{} ", self.code)),
            ProofKind::NoCommonName => {
                let unit = der::name(&[(ORGANIZATIONAL_UNIT, der::UTF8_STRING, self.code.as_bytes())]);
                self.pem(root, &self.draft(unit))
            }
            ProofKind::OtherCa => self.pem(&*self.workshop.own_root("another CA", |d| d)?, &good()),
            ProofKind::OtherKey => {
                let signer = self.workshop.key("another generation")?;
                self.pem(&Ca { signer, ..root.clone() }, &good())
            }
            ProofKind::SelfIssued => {
                let draft = Draft { issuer: Some(der::common_name(self.code)), ..good() };
                Ok(Proof::new(PEM, certificate_pem(&root.issue(&draft, &*root.signer)?)))
            }
            ProofKind::CaItself => Ok(Proof::new(PEM, certificate_pem(self.ca.certificate().der()))),
            ProofKind::Request => Ok(Proof::new("proof.csr.pem", self.request()?)),
            ProofKind::KeyFile => Ok(Proof::new("proof.key.pem", key_pem(&self.key()?)?).secret()),
            ProofKind::Garbage => {
                let noise = (0..8).flat_map(|n| self.seed.draw("garbage", n, 0)).collect::<Vec<_>>();
                Ok(Proof::new("proof.bin", noise))
            }
            ProofKind::Empty => Ok(Proof::new(PEM, Vec::new())),
            ProofKind::Truncated => {
                let mut whole = self.signed(root, &good())?;
                whole.truncate(whole.len() / 2);
                Ok(Proof::new("proof.der", whole))
            }
            ProofKind::Bundle => {
                let text = certificate_pem(&self.signed(root, &good())?);
                Ok(Proof::new(PEM, text + &certificate_pem(self.ca.certificate().der())))
            }
            ProofKind::Expired => {
                let now = self.workshop.now();
                self.pem(root, &good().between(now - Duration::days(3), now - Duration::days(2)))
            }
            ProofKind::NotYetValid => {
                let now = self.workshop.now();
                self.pem(root, &good().between(now + Duration::HOUR, now + Duration::DAY))
            }
            ProofKind::WeakSignature => {
                self.pem(&Ca { signer: self.weak_signer()?, ..root.clone() }, &good())
            }
            ProofKind::BelowIntermediate => self.pem(&*self.workshop.ca(root, "below", |d| d)?, &good()),
            _ => self.pem(root, &self.version_three(good())),
        }
    }

    fn upload(&self, kind: ProofKind) -> Result<Proof, IssueError> {
        let ca = self.ca.certificate().der();
        match kind {
            ProofKind::UploadNotCa => {
                let device = Draft { subject: der::common_name("device"), ..self.workshop.leaf_draft() };
                let device = Draft { serial: self.seed.serial("device", 0).to_vec(), ..device };
                let written = self.signed(self.workshop.root(), &device)?;
                Ok(Proof::new(UPLOAD_PEM, certificate_pem(&written)))
            }
            ProofKind::UploadChain => {
                let below = self.workshop.ca(self.workshop.root(), "below", |d| d)?;
                let text = certificate_pem(below.certificate.der());
                Ok(Proof::new(UPLOAD_PEM, text + &certificate_pem(ca)))
            }
            ProofKind::UploadExpired => {
                let now = self.workshop.now();
                let life = (now - Duration::days(400), now - Duration::DAY);
                let expired = self.workshop.own_root("expired CA", |d| d.between(life.0, life.1))?;
                Ok(Proof::new(UPLOAD_PEM, certificate_pem(expired.certificate.der())))
            }
            ProofKind::UploadPfx => {
                Ok(Proof::new("upload.pfx", pkcs12(ca, &self.ca_key()?.to_pkcs8()?)).secret())
            }
            _ => Ok(Proof::new(UPLOAD_PEM, certificate_pem(ca) + &key_pem(self.ca_key()?)?).secret()),
        }
    }

    /// The plainest verification certificate: version 1, one day, backdated by an hour.
    fn draft(&self, subject: Vec<u8>) -> Draft {
        let now = self.workshop.now();
        let life = (now - Duration::HOUR, now + Duration::DAY);
        Draft { version: 1, ..Draft::leaf(subject, self.seed.serial("verification", 0).to_vec(), life) }
    }

    fn version_three(&self, draft: Draft) -> Draft {
        Draft { version: 3, ..draft }
    }

    /// Signed by `ca` for a throw-away key, DER.
    fn signed(&self, ca: &Ca, draft: &Draft) -> Result<Vec<u8>, IssueError> {
        ca.issue(draft, &self.key()?)
    }

    fn pem(&self, ca: &Ca, draft: &Draft) -> Result<Proof, IssueError> {
        Ok(Proof::new(PEM, certificate_pem(&self.signed(ca, draft)?)))
    }

    /// The verification certificate's own key, which nobody needs afterwards.
    fn key(&self) -> Result<PrivateKey, KeyFault> {
        PrivateKey::derive(self.seed, "verification", 0, KeyAlgorithm::P256)
    }

    /// The CA's key over SHA-1: an RSA key that is at hand does sign so, any other only says it does.
    fn weak_signer(&self) -> Result<Arc<dyn Signer>, KeyFault> {
        match self.ca.private_key() {
            Some(key) if key.algorithm().rsa_bits().is_some() => {
                Ok(Arc::new(rsa_that_signs(key.clone(), RsaForm::Sha1)?))
            }
            _ => Ok(Arc::new(SaysSha1(self.ca.signer().clone()))),
        }
    }

    /// The CA's key, where it can be had.
    fn ca_key(&self) -> Result<&PrivateKey, IssueError> {
        let held = || IssueError::KeyHeld { issuer: self.ca.certificate().subject() };
        self.ca.private_key().map(|key| &**key).ok_or_else(held)
    }

    /// 48 hexadecimal digits, as a code that was generated before this one.
    fn older_code(&self) -> String {
        self.seed.draw("older code", 0, 0)[..24].iter().map(|b| format!("{b:02X}")).collect()
    }

    /// A certificate request with CN = code (RFC 2986), PEM.
    fn request(&self) -> Result<String, IssueError> {
        let key = self.key()?;
        let no_attributes = der::tlv(0xa0, &[]);
        let subject = der::common_name(self.code);
        let parts = [&der::unsigned(&[0])[..], &subject, &key.public_key_info(), &no_attributes];
        let info = der::tlv(der::SEQUENCE, &parts);
        let signature = der::bit_string(&key.sign(&info)?);
        let algorithm = Signer::signature_algorithm(&key);
        let request = der::tlv(der::SEQUENCE, &[&info, &algorithm, &signature]);
        Ok(pem::encode("CERTIFICATE REQUEST", &request))
    }
}

fn key_pem(key: &PrivateKey) -> Result<String, KeyFault> {
    Ok(pem::encode("PRIVATE KEY", &key.to_pkcs8()?))
}

/// 2.5.4.11
const ORGANIZATIONAL_UNIT: &[u8] = &[0x55, 0x04, 0x0b];
/// ecdsa-with-SHA1, 1.2.840.10045.4.1
const ECDSA_WITH_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];

/// Names ECDSA with SHA-1 in what it signs. The digest is still the key's own: whoever refuses SHA-1 looks no
/// further than the name.
#[derive(Debug)]
struct SaysSha1(Arc<dyn Signer>);

impl Signer for SaysSha1 {
    fn public_key(&self) -> Vec<u8> {
        self.0.public_key()
    }

    fn public_key_info(&self) -> Vec<u8> {
        self.0.public_key_info()
    }

    fn signature_algorithm(&self) -> Vec<u8> {
        der::tlv(der::SEQUENCE, &[&der::tlv(der::OID, &[ECDSA_WITH_SHA1])])
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        self.0.sign(message)
    }
}

/// PKCS#12 (RFC 7292) in its plainest form: one certificate and one key, neither encrypted nor authenticated.
fn pkcs12(certificate: &[u8], key: &[u8]) -> Vec<u8> {
    const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    const KEY_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x01];
    const CERT_BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01, 0x03];
    const X509_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
    // Bags, certificates and contents are all the same: what it is, and the thing itself under an explicit tag 0.
    let typed = |oid: &[u8], value: &[u8]| {
        der::tlv(der::SEQUENCE, &[&der::tlv(der::OID, &[oid]), &der::tlv(0xa0, &[value])])
    };
    let octets = |value: &[u8]| der::tlv(der::OCTET_STRING, &[value]);
    let certificate = typed(CERT_BAG, &typed(X509_CERTIFICATE, &octets(certificate)));
    let bags = der::tlv(der::SEQUENCE, &[&certificate, &typed(KEY_BAG, key)]);
    let safe = der::tlv(der::SEQUENCE, &[&typed(DATA, &octets(&bags))]);
    der::tlv(der::SEQUENCE, &[&der::unsigned(&[3]), &typed(DATA, &octets(&safe))])
}

const fn row(id: &'static str, expected: Expected, make: Make) -> Row {
    Row {
        id,
        family: Family::Possession,
        explanation: "",
        repair: "",
        expected,
        diagnostic: None,
        others: Others::NONE,
        make,
        known: true,
        presentable: false,
    }
}

/// A file that is taken.
const fn taken(id: &'static str, kind: ProofKind) -> Row {
    row(id, Expected::Proven, Make::Proof(kind))
}

/// A file that is refused.
const fn refused(id: &'static str, kind: ProofKind) -> Row {
    row(id, Expected::NotProven, Make::Proof(kind))
}

/// Calls in an order that is refused, whatever the file.
const fn course(id: &'static str) -> Row {
    row(id, Expected::NotProven, Make::Nothing)
}

const NEW_ONE: &str =
    "Make a new verification certificate: `rollcall ca prove`, or `openssl x509 -req -days 1`.";

pub(super) const ROWS: &[Row] = &[
    taken("pop-ok", ProofKind::Good)
        .says("its CN is the code and the CA's key signed it", "Nothing to repair: this is how it is done."),
    taken("pop-ok-v1", ProofKind::VersionOne).says(
        "it is X.509 v1, as a plain `openssl x509 -req` writes it",
        "Nothing to repair: a verification certificate needs no extensions.",
    ),
    taken("pop-ok-der", ProofKind::Der)
        .says("it is a DER file", "Nothing to repair: clients send base64 of the file whatever its form."),
    taken("pop-ok-pem", ProofKind::VersionOne)
        .says("it is a PEM file", "Nothing to repair: clients send base64 of the file whatever its form."),
    taken("pop-ok-base64-pem", ProofKind::Base64Pem)
        .says("it is base64 of a PEM text", "Nothing to repair: this is what clients make of a PEM file."),
    refused("pop-wrong-cn", ProofKind::WrongCode).says(
        "its CN is not the code that is pending",
        "Fetch the code with `rollcall ca code` and sign exactly that one; a new code ends the one before.",
    ),
    refused("pop-cn-case", ProofKind::LowerCase)
        .says("its CN is the code in lower case", "Copy the code as it is: the comparison minds the case."),
    refused("pop-cn-space", ProofKind::TrailingBlank)
        .says("there is a blank after the code in its CN", "Copy the code without what surrounds it."),
    refused("pop-no-cn", ProofKind::NoCommonName)
        .says("the code is in its OU and it has no CN", "Put the code into the subject's CN."),
    refused("pop-wrong-key", ProofKind::OtherCa).says(
        "another CA signed it",
        "Sign with the key of the uploaded CA itself; sample scripts sign with the root whatever was uploaded.",
    ),
    refused("pop-same-name-other-key", ProofKind::OtherKey).says(
        "a key of another generation of the CA signed it",
        "Compare the key ids, and sign with the key of the certificate that was uploaded.",
    ),
    refused("pop-issuer-name", ProofKind::SelfIssued).says(
        "the CA's key signed it, but it names itself as its issuer",
        "Make a certificate request and sign that with the CA, instead of `openssl req -x509`.",
    ),
    refused("pop-ca-itself", ProofKind::CaItself).says(
        "it is the CA certificate",
        "Sign a new certificate whose CN is the code, and send that one.",
    ),
    refused("pop-csr", ProofKind::Request)
        .says("it is a certificate request", "Sign the request with the CA's key and send the certificate."),
    refused("pop-key-file", ProofKind::KeyFile)
        .says("it is a private key", "Send the certificate; take the key for known to others and throw it away.")
        .diagnosed("key-exposed"),
    refused("pop-garbage", ProofKind::Garbage).guessed().says("it is no certificate", NEW_ONE),
    refused("pop-empty", ProofKind::Empty).guessed().says("it is empty", NEW_ONE),
    refused("pop-truncated", ProofKind::Truncated)
        .guessed()
        .says("it is the first half of a certificate", NEW_ONE),
    taken("pop-bundle", ProofKind::Bundle).guessed().says(
        "there are several certificates in it, the verification certificate first",
        "Send the verification certificate alone.",
    ),
    refused("pop-expired", ProofKind::Expired).says("it has expired", NEW_ONE),
    refused("pop-not-yet-valid", ProofKind::NotYetValid).guessed().says(
        "it is not valid yet",
        "Set the clock of the machine that signs, or backdate the certificate by an hour.",
    ),
    refused("pop-weak-sig", ProofKind::WeakSignature).guessed().says(
        "its signature is over a SHA-1 digest",
        "Sign with SHA-256 or better, under a CA of 2048 bits or more.",
    ),
    refused("pop-below-intermediate", ProofKind::BelowIntermediate).says(
        "an intermediate of the CA signed it",
        "Sign it with the key of the uploaded CA itself.",
    ),
    course("pop-stale-etag").says(
        "the etag is from before the code was generated",
        "Take the etag from the answer to the generated code.",
    ),
    course("pop-no-etag").says("there is no If-Match header", "Send the record's current etag as If-Match."),
    course("pop-code-regenerated").says(
        "a second code was generated, which ended the one that it holds",
        "Sign the code that was generated last.",
    ),
    course("pop-code-race").says(
        "two operators generated a code at once, and the slower one's etag is stale",
        "Fetch the record again, and let one operator do it.",
    ),
    course("pop-no-code")
        .guessed()
        .says("no code was generated", "Generate a code first, then sign exactly that code."),
    course("pop-twice")
        .guessed()
        .says("no code is pending: the CA is verified already", "Nothing to repair: the CA stays verified."),
    course("pop-ca-replaced").says(
        "another CA was uploaded under the name meanwhile, and the code was the old one's",
        "Generate a new code and sign it with the key of the CA that is uploaded now.",
    ),
    course("pop-deleted")
        .says("the CA's record was deleted meanwhile", "Upload the CA again and begin with a new code."),
    course("pop-wrong-record").says(
        "it was sent to the record of another CA",
        "Send it to the record whose code it holds.",
    ),
    taken("upload-not-ca", ProofKind::UploadNotCa)
        .guessed()
        .says(
            "it is a device's certificate; the upload is taken, and it never is an anchor",
            "Remove it, and upload the CA that issued it.",
        )
        .diagnosed("leaf-uploaded-as-ca"),
    taken("upload-chain-file", ProofKind::UploadChain)
        .says("there are several certificates in it, and the first one counts", "Upload each CA alone.")
        .diagnosed("pem-bundle"),
    taken("upload-expired-ca", ProofKind::UploadExpired)
        .guessed()
        .says(
            "the CA has expired; the upload is taken, and no device is let in by it",
            "Upload the CA's renewed certificate.",
        )
        .diagnosed("expired"),
    refused("upload-pfx", ProofKind::UploadPfx)
        .guessed()
        .says("it is PKCS#12, with the CA's key in it", "Upload the certificate alone, and protect the key.")
        .diagnosed("key-exposed"),
    refused("upload-with-key", ProofKind::UploadWithKey)
        .guessed()
        .says("the CA's private key is in it", "Upload the certificate alone, and protect the key.")
        .diagnosed("key-exposed"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defect::Defect;
    use crate::{Certificate, Hierarchy, HierarchyPlan, files, possession};
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
    const CODE: &str = "7D07A6A51F8AF1469499A1D92074D629894BE9FA8A013E49";

    fn authority(key: KeyAlgorithm) -> Issuer {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 0, key };
        let made = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a root");
        Issuer::clone(made.root())
    }

    /// Reads a file as a service does that got base64 of it, of a bundle the first.
    fn read(proof: &Proof) -> Option<Certificate> {
        let text = String::from_utf8_lossy(&proof.body);
        let inner = if pem::is_pem(&proof.body) { None } else { STANDARD.decode(text.trim()).ok() };
        let bytes = inner.as_ref().filter(|b| !b.is_empty()).unwrap_or(&proof.body);
        if files::holds_private_key(bytes) {
            return None;
        }
        files::read_certificates(proof.name, bytes).ok()?.into_iter().next()
    }

    #[test]
    fn every_file_is_taken_or_refused_as_its_row_says() {
        let unreadable =
            ["pop-csr", "pop-key-file", "pop-garbage", "pop-empty", "pop-truncated", "upload-pfx"];
        for key in [KeyAlgorithm::P256, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa2048] {
            let ca = authority(key);
            for defect in Defect::all() {
                let Some(kind) = defect.proof() else { continue };
                let proof = kind.make(&ca, CODE, &Seed::from_number(2), NOW).expect("makes");
                let found = read(&proof);
                let is_readable = !unreadable.contains(&defect.id()) && defect.id() != "upload-with-key";
                assert_eq!(found.is_some(), is_readable, "{defect} under {key}");
                let taken = found.is_some_and(|found| {
                    let judged = possession::check(CODE, &found, ca.certificate(), NOW.unix_timestamp());
                    kind.is_upload() || judged.is_ok()
                });
                assert_eq!(taken, defect.expected() == Expected::Proven, "{defect} under {key}");
            }
        }
    }

    #[test]
    fn only_files_with_a_key_in_them_are_secret() {
        let ca = authority(KeyAlgorithm::P256);
        let secret: Vec<&str> = Defect::all()
            .filter_map(|d| Some((d, d.proof()?.make(&ca, CODE, &Seed::from_number(2), NOW).ok()?)))
            .filter_map(|(d, proof)| proof.secret.then_some(d.id()))
            .collect();
        assert_eq!(secret, ["pop-key-file", "upload-pfx", "upload-with-key"]);
    }
}
