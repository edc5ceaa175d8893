//! CA certificate records and how they become verified.
//!
//! `Absent` → `Unverified` → code pending → `Verified`, with an etag that changes on every write. Verification
//! belongs to the record, not to the key: one certificate under two names is two records.

use crate::ids::Ids;
use crate::quota::Limits;
use sha1::{Digest as _, Sha1};
use sim_identity::Certificate;
use sim_identity::certificate::CommonName;
use sim_identity::possession::{self, PossessionFault, ProofFileFault};
use sim_protocol::resource::{CertificateBody, CertificateProperties, CertificateResponse, codes};
use sim_protocol::{CaName, InvalidName, timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// One uploaded CA certificate.
#[derive(Clone, Debug)]
pub struct CaRecord {
    /// Its friendly name.
    pub name: CaName,
    /// What was uploaded.
    pub certificate: Arc<Certificate>,
    /// Whether possession was proven or vouched for.
    pub verified: bool,
    /// The code that waits for its verification certificate.
    pub code: Option<String>,
    /// Changes on every write.
    pub etag: String,
    pub(crate) uploaded: String,
    pub(crate) updated: OffsetDateTime,
}

/// Why a call on a CA certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaFault {
    /// No record of that name.
    #[error("no CA certificate is named `{0}`")]
    NotFound(String),
    /// A write without If-Match.
    #[error("this call needs an If-Match header with the current etag of `{0}`")]
    EtagMissing(String),
    /// If-Match names another generation of the record.
    #[error("Invalid ETag supplied.")]
    EtagMismatch,
    /// The body is not one certificate.
    #[error("the body holds no certificate that can be read: {0}")]
    Unreadable(String),
    /// A private key where a certificate belongs; its content is not looked at.
    #[error("the body holds a private key")]
    PrivateKey,
    /// Verify without a code.
    #[error("no verification code was generated for `{0}`")]
    NoCode(String),
    /// Verify with a code that is too old.
    #[error("the verification code for `{0}` has expired")]
    CodeExpired(String),
    /// The verification certificate proves nothing.
    #[error("Proof-Of-Possession failed. {0}")]
    Possession(PossessionFault),
    /// One more than may be kept.
    #[error("the limit of {0} CA certificates is reached")]
    Limit(usize),
    /// A name the service does not take.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A body that is not the JSON asked for.
    #[error("the body is not the JSON asked for: {0}")]
    Body(String),
    /// What was done could not be kept.
    #[error("the change could not be kept: {0}")]
    NotKept(String),
}

impl CaFault {
    /// HTTP status and resource manager code.
    pub fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            CaFault::NotFound(_) => (404, codes::NOT_FOUND),
            CaFault::EtagMissing(_) => (400, codes::ETAG_MISSING),
            CaFault::EtagMismatch => (412, codes::ETAG_MISMATCH),
            CaFault::Unreadable(_) | CaFault::PrivateKey => (400, codes::CERTIFICATE_INVALID),
            CaFault::NoCode(_) | CaFault::CodeExpired(_) => (400, codes::POP_NO_CODE),
            CaFault::Possession(PossessionFault::OutsideValidity(_)) => (400, codes::POP_EXPIRED),
            CaFault::Possession(PossessionFault::WrongSigner { .. }) => (400, codes::POP_FAILED),
            CaFault::Possession(_) => (400, codes::POP_CODE_MISMATCH),
            CaFault::Limit(_) => (409, codes::LIMIT),
            CaFault::Name(_) => (400, codes::NAME_INVALID),
            CaFault::Body(_) => (400, codes::CERTIFICATE_INVALID),
            CaFault::NotKept(_) => (500, codes::INTERNAL),
        }
    }

    /// What the operator does next.
    pub fn advice(&self) -> &'static str {
        match self {
            CaFault::NotFound(_) => "List the certificates; upload this one first.",
            CaFault::EtagMissing(_) => "Read the certificate and send its etag, or `*`.",
            CaFault::EtagMismatch => {
                "The certificate was changed since that etag was read; generating a code changes it too. Read it again and repeat the call with its current etag."
            }
            CaFault::Unreadable(_) => "Send base64 of one certificate, PEM or DER.",
            CaFault::PrivateKey => "Upload the certificate alone, and consider that key exposed.",
            CaFault::NoCode(_) => "Generate a verification code first.",
            CaFault::CodeExpired(_) => "Generate a new verification code and sign it.",
            CaFault::Possession(PossessionFault::OutsideValidity(_)) => {
                "Make a new verification certificate for the same code, valid now, and check the clock of the machine that signs."
            }
            CaFault::Possession(PossessionFault::WrongSigner { .. }) => {
                "Sign the verification certificate with the private key of the uploaded CA itself, neither of one above nor of one below it."
            }
            CaFault::Possession(_) => {
                "Make a certificate whose only common name is the code of the latest generate call, letter for letter."
            }
            CaFault::Limit(_) => "Delete a certificate that no group needs any more.",
            CaFault::Name(_) => "Take a name of letters, digits, `-`, `.` and `_`.",
            CaFault::Body(_) => "See the resource-manager specification for the body of this call.",
            CaFault::NotKept(_) => "Repeat the call; look at the mock's state file if that does not help.",
        }
    }
}

/// All CA certificates of one instance.
#[derive(Debug, Default)]
pub struct CaStore {
    records: BTreeMap<CaName, CaRecord>,
}

impl CaStore {
    pub(crate) fn insert(&mut self, record: CaRecord) {
        self.records.insert(record.name.clone(), record);
    }

    /// The record of a name.
    pub fn record(&self, name: &CaName) -> Result<&CaRecord, CaFault> {
        self.records.get(name).ok_or_else(|| CaFault::NotFound(name.to_string()))
    }

    /// All records by name.
    pub fn records(&self) -> impl Iterator<Item = &CaRecord> {
        self.records.values()
    }

    /// Uploads or replaces. A new body is unverified unless `isVerified` vouches for it.
    pub fn put(
        &mut self,
        name: CaName,
        body: CertificateBody,
        if_match: Option<&str>,
        limits: &Limits,
        ids: &Ids,
        now: OffsetDateTime,
    ) -> Result<&CaRecord, CaFault> {
        if self.records.contains_key(&name) {
            self.writable(&name, if_match)?;
        } else if self.records.len() >= limits.certificates {
            return Err(CaFault::Limit(limits.certificates));
        }
        let uploaded = body.certificate.unwrap_or_default();
        let record = CaRecord {
            certificate: Arc::new(read_uploaded(&uploaded)?),
            // `ours:` a PUT without isVerified clears the flag of a verified certificate.
            verified: body.is_verified.unwrap_or(false),
            code: None,
            etag: ids.etag(),
            name: name.clone(),
            uploaded,
            updated: now,
        };
        self.records.insert(name.clone(), record);
        self.record(&name)
    }

    /// Generates a new code; an earlier one is dead.
    pub fn generate_code(
        &mut self,
        name: &CaName,
        if_match: Option<&str>,
        ids: &Ids,
        now: OffsetDateTime,
    ) -> Result<&CaRecord, CaFault> {
        let record = self.writable(name, if_match)?;
        record.code = Some(ids.verification_code());
        (record.etag, record.updated) = (ids.etag(), now);
        Ok(record)
    }

    /// Checks a verification certificate; on success the record is verified, on failure it is unchanged and the
    /// same code can be tried again. Codes older than `lifetime`, if there is one, are dead.
    pub fn verify(
        &mut self,
        name: &CaName,
        proof: &str,
        if_match: Option<&str>,
        lifetime: Option<Duration>,
        ids: &Ids,
        now: OffsetDateTime,
    ) -> Result<&CaRecord, CaFault> {
        let record = self.writable(name, if_match)?;
        // Nothing else writes a record on which a code is pending without taking the code away.
        if record.code.is_some() && lifetime.is_some_and(|limit| now > record.updated + limit) {
            return Err(CaFault::CodeExpired(name.to_string()));
        }
        let code = record.code.as_deref().ok_or_else(|| CaFault::NoCode(name.to_string()))?;
        let proof = read_uploaded(proof)?;
        possession::check(code, &proof, &record.certificate, now.unix_timestamp())
            .map_err(CaFault::Possession)?;
        (record.verified, record.code) = (true, None);
        (record.etag, record.updated) = (ids.etag(), now);
        Ok(record)
    }

    /// Deletes; groups that name the record dangle from then on.
    pub fn delete(&mut self, name: &CaName, if_match: Option<&str>) -> Result<(), CaFault> {
        self.writable(name, if_match)?;
        self.records.remove(name);
        Ok(())
    }

    fn writable(&mut self, name: &CaName, if_match: Option<&str>) -> Result<&mut CaRecord, CaFault> {
        let record = self.records.get_mut(name).ok_or_else(|| CaFault::NotFound(name.to_string()))?;
        match if_match {
            None => Err(CaFault::EtagMissing(name.to_string())),
            Some(etag) if etag_matches(etag, &record.etag) => Ok(record),
            Some(_) => Err(CaFault::EtagMismatch),
        }
    }
}

impl CaRecord {
    /// The record as the resource manager shows it, under the collection's path.
    pub fn response(&self, collection: &str) -> CertificateResponse {
        CertificateResponse {
            properties: CertificateProperties {
                subject: match self.certificate.common_name() {
                    CommonName::One(name) => name.clone(),
                    _ => self.certificate.subject(),
                },
                expiry: timestamp::rfc1123(self.certificate.expiry()),
                thumbprint: sha1_hex(self.certificate.der()),
                is_verified: self.verified,
                // Recorded: null everywhere but beside a code, where it is the text that was uploaded.
                certificate: self.code.as_ref().map(|_| self.uploaded.clone()),
                created: timestamp::NEVER.to_owned(),
                updated: timestamp::rfc1123(self.updated),
                verification_code: self.code.clone(),
            },
            id: format!("{collection}/{}", self.name),
            name: self.name.to_string(),
            kind: "Microsoft.Devices/provisioningServices/Certificates".to_owned(),
            etag: self.etag.clone(),
        }
    }
}

/// `If-Match` arrives bare, quoted or as `*`.
pub fn etag_matches(if_match: &str, etag: &str) -> bool {
    let given = if_match.trim().trim_start_matches("W/").trim_matches('"');
    given == "*" || given == etag
}

/// SHA-1 thumbprint, upper-case hexadecimal.
pub fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|b| format!("{b:02X}")).collect()
}

/// Base64 of DER, base64 of PEM, or PEM itself; of a bundle the first.
pub fn read_uploaded(text: &str) -> Result<Certificate, CaFault> {
    possession::read_proof(text.as_bytes()).map(|file| file.certificate).map_err(|fault| match fault {
        ProofFileFault::PrivateKey => CaFault::PrivateKey,
        fault => CaFault::Unreadable(fault.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sim_identity::{Hierarchy, HierarchyPlan, Issuer, KeyAlgorithm, PrivateKey, Seed, pem};
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

    struct World {
        store: CaStore,
        ids: Ids,
        ca: Issuer,
        name: CaName,
    }

    fn world() -> World {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 0, key: KeyAlgorithm::P256 };
        let made = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a root");
        let name = CaName::new("root").expect("a good name");
        World {
            store: CaStore::default(),
            ids: Ids::new(Seed::from_number(2)),
            ca: Issuer::clone(made.root()),
            name,
        }
    }

    fn body(ca: &Issuer, verified: Option<bool>) -> CertificateBody {
        let text = pem::encode("CERTIFICATE", ca.certificate().der());
        CertificateBody { certificate: Some(STANDARD.encode(text)), is_verified: verified }
    }

    impl World {
        fn upload(&mut self, verified: Option<bool>) -> CaRecord {
            let body = body(&self.ca, verified);
            self.store
                .put(self.name.clone(), body, Some("*"), &Limits::documented(), &self.ids, NOW)
                .expect("uploads")
                .clone()
        }

        fn code(&mut self) -> CaRecord {
            self.store.generate_code(&self.name, Some("*"), &self.ids, NOW).expect("generates").clone()
        }

        fn proof(&self, code: &str) -> String {
            let der = self.ca.verification_certificate(code, &Seed::from_number(3), NOW).expect("signs");
            STANDARD.encode(der)
        }

        fn verify(&mut self, proof: &str, etag: &str) -> Result<CaRecord, CaFault> {
            self.store.verify(&self.name, proof, Some(etag), None, &self.ids, NOW).cloned()
        }
    }

    #[test]
    fn possession_takes_a_record_from_unverified_to_verified_and_every_write_changes_its_etag() {
        let mut w = world();
        let uploaded = w.upload(None);
        let coded = w.code();
        let code = coded.code.clone().expect("a code is pending");
        let verified = w.verify(&w.proof(&code), &coded.etag).expect("proves possession");
        assert_eq!((uploaded.verified, coded.verified, verified.verified), (false, false, true));
        assert_eq!(verified.code, None);
        assert!(uploaded.etag != coded.etag && coded.etag != verified.etag);
    }

    #[test]
    fn a_self_attested_upload_is_verified_at_once_and_a_new_body_is_not() {
        let mut w = world();
        assert!(w.upload(Some(true)).verified);
        assert!(!w.upload(None).verified);
    }

    #[test]
    fn each_way_to_fail_has_its_own_status_and_code_and_leaves_the_record_alone() {
        let mut w = world();
        w.upload(None);
        let no_code = w.verify("QQ==", "*").expect_err("no code yet");
        let before = w.code();
        let code = before.code.clone().expect("a code is pending");
        let stranger = Seed::from_number(8);
        let key = PrivateKey::derive(&stranger, "k", 0, KeyAlgorithm::P256).expect("derives");
        let forged = w.ca.impostor(key).verification_certificate(&code, &stranger, NOW).expect("signs");
        let long_ago = NOW - time::Duration::days(9);
        let old = w.ca.verification_certificate(&code, &stranger, long_ago).expect("signs");
        let rows = [
            (no_code, (400, codes::POP_NO_CODE)),
            (w.verify(&w.proof(&code), "AAAA").expect_err("stale"), (412, codes::ETAG_MISMATCH)),
            (
                w.verify(&w.proof(&code.to_lowercase()), "*").expect_err("case"),
                (400, codes::POP_CODE_MISMATCH),
            ),
            (w.verify(&STANDARD.encode(forged), "*").expect_err("key"), (400, codes::POP_FAILED)),
            (w.verify(&STANDARD.encode(old), "*").expect_err("dates"), (400, codes::POP_EXPIRED)),
            (w.verify("not base64!", "*").expect_err("garbage"), (400, codes::CERTIFICATE_INVALID)),
            (w.verify("", "*").expect_err("empty"), (400, codes::CERTIFICATE_INVALID)),
        ];
        for (fault, expected) in rows {
            assert_eq!(fault.status_and_code(), expected, "{fault}");
        }
        let after = w.store.record(&w.name).expect("still there");
        assert_eq!((after.verified, &after.code, &after.etag), (false, &before.code, &before.etag));
        assert!(w.verify(&w.proof(&code), &before.etag).expect("a second try").verified);
    }

    #[test]
    fn a_second_code_kills_the_first_and_a_quoted_etag_is_the_same_etag() {
        let mut w = world();
        w.upload(None);
        let first = w.code().code.expect("a code");
        let second = w.code();
        let late = w.verify(&w.proof(&first), &format!("\"{}\"", second.etag));
        assert!(matches!(late, Err(CaFault::Possession(PossessionFault::CodeMismatch { .. }))));
    }

    #[test]
    fn private_keys_and_the_twenty_sixth_certificate_are_refused() {
        let mut w = world();
        let key = pem::encode("PRIVATE KEY", &[1, 2, 3]);
        let body_with_key = CertificateBody { certificate: Some(STANDARD.encode(key)), is_verified: None };
        let name = w.name.clone();
        assert_eq!(
            w.store.put(name, body_with_key, None, &Limits::documented(), &w.ids, NOW).err(),
            Some(CaFault::PrivateKey)
        );
        let limits = Limits::documented();
        for i in 0..=limits.certificates {
            let name = CaName::new(format!("ca-{i}")).expect("a good name");
            let put = w.store.put(name, body(&w.ca, None), None, &limits, &w.ids, NOW).map(|_| ());
            assert_eq!(
                put,
                if i < limits.certificates { Ok(()) } else { Err(CaFault::Limit(limits.certificates)) }
            );
        }
    }
}
