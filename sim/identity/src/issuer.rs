//! Issuing under any authority: one made here, or a user's own.
//!
//! The issuer name of what is issued is the authority's subject, byte for byte. That matters: a rebuilt name
//! drops repeated attributes and changes string types, and the leaf then chains nowhere.

use crate::certificate::{Certificate, CertificateFault, sha256};
use crate::der::{self, oid};
use crate::key::{KeyAlgorithm, KeyFault, PrivateKey, Signer};
use crate::seed::Seed;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// Why a certificate and a key do not make an authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerFault {
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate `{subject}`")]
    KeyMismatch {
        /// Subject of the certificate.
        subject: String,
    },
    /// basicConstraints does not say CA.
    #[error("the certificate `{subject}` is not a CA: its basicConstraints {found}")]
    NotCa {
        /// Subject of the certificate.
        subject: String,
        /// What was found instead.
        found: &'static str,
    },
    /// keyUsage forbids signing certificates.
    #[error("the certificate `{subject}` may not sign certificates: its keyUsage lacks keyCertSign")]
    NoKeyCertSign {
        /// Subject of the certificate.
        subject: String,
    },
}

/// Why a certificate could not be issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A key could not be derived or used.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// What was written cannot be read back.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// The parts do not make an authority.
    #[error(transparent)]
    Issuer(#[from] IssuerFault),
    /// The certificate writer refused.
    #[error("cannot write the certificate: {0}")]
    Writer(String),
    /// The written issuer name is not the authority's subject.
    #[error("the certificate written does not name `{issuer}` as its issuer, byte for byte")]
    IssuerName {
        /// Subject of the authority.
        issuer: String,
    },
    /// The subject cannot be a CN of a device.
    #[error("the CN `{0}` has more than 64 characters, which X.520 does not allow")]
    CommonNameTooLong(String),
    /// Nothing was prepared for a defect: see `Defect::scene`.
    #[error("the defect `{0}` was not prepared")]
    Unprepared(&'static str),
    /// The authority's path length allows no CA below it.
    #[error("`{issuer}` allows no CA below it, which this defect needs")]
    NoRoom {
        /// Subject of the authority.
        issuer: String,
    },
    /// The authority's key is in a token, where only one in memory will do.
    #[error("the key of `{issuer}` is held by a token; this needs one in a file")]
    KeyHeld {
        /// Subject of the authority.
        issuer: String,
    },
    /// The authority's validity leaves no time for what is to be issued.
    #[error(
        "`{issuer}` is valid from {} to {}, which leaves no time for a certificate now",
        date(*not_before),
        date(*not_after)
    )]
    OutsideIssuer {
        /// Subject of the authority.
        issuer: String,
        /// Unix seconds.
        not_before: i64,
        /// Unix seconds.
        not_after: i64,
    },
}

/// A moment as RFC 1123 text.
fn date(seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds);
    moment.map_or_else(|_| seconds.to_string(), sim_protocol::timestamp::rfc1123)
}

/// A CA certificate with its key, and the certificates above it.
#[derive(Clone, Debug)]
pub struct Issuer {
    certificate: Arc<Certificate>,
    signer: Arc<dyn Signer>,
    /// The key where it is in memory; a token does not give its own away.
    key: Option<Arc<PrivateKey>>,
    above: Vec<Arc<Certificate>>,
}

impl Issuer {
    /// Joins certificate and key.
    ///
    /// # Errors
    /// When the key is another's, or the certificate is not one that may sign certificates.
    pub fn new(certificate: Certificate, key: PrivateKey) -> Result<Self, IssuerFault> {
        let key = Arc::new(key);
        Ok(Issuer { key: Some(key.clone()), ..Self::with_signer(certificate, key)? })
    }

    /// Joins a certificate with whatever signs for it.
    ///
    /// # Errors
    /// As [`Issuer::new`].
    pub fn with_signer(certificate: Certificate, signer: Arc<dyn Signer>) -> Result<Self, IssuerFault> {
        let subject = || certificate.subject();
        if certificate.public_key() != signer.public_key() {
            return Err(IssuerFault::KeyMismatch { subject: subject() });
        }
        if !certificate.is_ca() {
            let found = if certificate.basic_constraints().is_some() { "says CA:FALSE" } else { "is absent" };
            return Err(IssuerFault::NotCa { subject: subject(), found });
        }
        if certificate.key_usage().is_some_and(|u| !u.key_cert_sign) {
            return Err(IssuerFault::NoKeyCertSign { subject: subject() });
        }
        Ok(Issuer { certificate: Arc::new(certificate), signer, key: None, above: Vec::new() })
    }

    /// The same authority, with `parent` and everything above it as what its devices present above it.
    #[must_use]
    pub fn below(self, parent: &Issuer) -> Self {
        let mut above = vec![parent.certificate.clone()];
        above.extend(parent.above.iter().cloned());
        Issuer { above, ..self }
    }

    /// The same authority, with these certificates (nearest first) presented above it.
    #[must_use]
    pub fn with_chain(self, above: Vec<Certificate>) -> Self {
        let own = self.certificate.clone();
        // A chain file often repeats the CA itself; presenting it twice would cost bytes on every handshake.
        let above = above.into_iter().filter(|c| *c != *own).map(Arc::new).collect();
        Issuer { above, ..self }
    }

    /// An authority that claims this one's name and certificate but signs with another key.
    #[must_use]
    pub fn impostor(&self, key: PrivateKey) -> Self {
        let key = Arc::new(key);
        Issuer { signer: key.clone(), key: Some(key), ..self.clone() }
    }

    /// The CA certificate.
    pub fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    /// Whatever signs for the CA.
    pub fn signer(&self) -> &Arc<dyn Signer> {
        &self.signer
    }

    /// The CA's key; none where a token holds it.
    pub fn private_key(&self) -> Option<&Arc<PrivateKey>> {
        self.key.as_ref()
    }

    /// What lies above, nearest first.
    pub fn above(&self) -> &[Arc<Certificate>] {
        &self.above
    }

    /// Signs a proof of possession: CN = code exactly, valid one day, X.509 v1 without extensions, a throw-away
    /// key. Returns DER.
    pub fn verification_certificate(
        &self,
        code: &str,
        seed: &Seed,
        now: OffsetDateTime,
    ) -> Result<Vec<u8>, IssueError> {
        let throw_away = PrivateKey::derive(seed, "verification", 0, KeyAlgorithm::P256)?;
        let tbs = Tbs {
            serial: &seed.serial("verification", 0),
            subject: &der::common_name(code),
            // Starts an hour ago, so that a service whose clock is behind ours takes it.
            not_before: now - Duration::HOUR,
            not_after: now + Duration::DAY,
            public_key_info: &throw_away.subject_public_key_info(),
            extensions: None,
        };
        self.sign(&tbs)
    }

    /// Signs a leaf with the profile that passes everywhere. Returns DER.
    pub(crate) fn leaf(&self, leaf: &Leaf<'_>) -> Result<Vec<u8>, IssueError> {
        let length = leaf.common_name.chars().count();
        // X.520 upper bound ub-common-name.
        if length > 64 {
            return Err(IssueError::CommonNameTooLong(leaf.common_name.to_owned()));
        }
        self.sign(&Tbs {
            serial: leaf.serial,
            subject: &der::common_name(leaf.common_name),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            public_key_info: &leaf.key.subject_public_key_info(),
            extensions: Some(&self.leaf_extensions(leaf)),
        })
    }

    fn leaf_extensions(&self, leaf: &Leaf<'_>) -> Vec<u8> {
        let client_auth = der::tlv(der::SEQUENCE, &[&der::tlv(der::OID, &[oid::CLIENT_AUTH])]);
        let subject_key_id = der::tlv(der::OCTET_STRING, &[&key_identifier(leaf.key.public_key())]);
        let authority_key_id = der::tlv(der::SEQUENCE, &[&der::tlv(0x80, &[&self.key_identifier()])]);
        der::tlv(
            der::SEQUENCE,
            &[
                // CA:FALSE is the default and not encoded.
                &der::extension(oid::BASIC_CONSTRAINTS, true, &[0x30, 0x00]),
                // digitalSignature alone: bit 0, seven unused bits.
                &der::extension(oid::KEY_USAGE, true, &[0x03, 0x02, 0x07, 0x80]),
                &der::extension(oid::EXT_KEY_USAGE, false, &client_auth),
                &der::extension(oid::SUBJECT_KEY_ID, false, &subject_key_id),
                &der::extension(oid::AUTHORITY_KEY_ID, false, &authority_key_id),
            ],
        )
    }

    /// What leaves name as their authority key id: the certificate's own identifier while the key is its own.
    fn key_identifier(&self) -> Vec<u8> {
        let public_key = self.signer.public_key();
        let own = self.certificate.public_key() == public_key;
        match self.certificate.subject_key_id() {
            Some(id) if own => id.to_vec(),
            _ => key_identifier(&public_key).to_vec(),
        }
    }

    fn sign(&self, tbs: &Tbs<'_>) -> Result<Vec<u8>, IssueError> {
        let algorithm = self.signer.signature_algorithm();
        let signed = tbs.encode(self.certificate.subject_der(), &algorithm);
        let signature = self.signer.sign(&signed)?;
        Ok(der::tlv(der::SEQUENCE, &[&signed, &algorithm, &der::bit_string(&signature)]))
    }
}

/// RFC 7093 section 2, method 1: the leftmost 160 bits of SHA-256 over the public key.
pub(crate) fn key_identifier(public_key: &[u8]) -> [u8; 20] {
    let mut id = [0; 20];
    id.copy_from_slice(&sha256(public_key)[..20]);
    id
}

/// What varies between leaves.
pub(crate) struct Leaf<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) serial: &'a [u8],
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
    pub(crate) key: &'a PrivateKey,
}

/// The part of a certificate that is signed (RFC 5280 section 4.1.2), without what the issuer gives.
struct Tbs<'a> {
    serial: &'a [u8],
    subject: &'a [u8],
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
    public_key_info: &'a [u8],
    extensions: Option<&'a [u8]>,
}

impl Tbs<'_> {
    fn encode(&self, issuer: &[u8], algorithm: &[u8]) -> Vec<u8> {
        let validity = der::tlv(der::SEQUENCE, &[&der::time(self.not_before), &der::time(self.not_after)]);
        let serial = der::unsigned(self.serial);
        // Version 3 exactly when there are extensions, else version 1, which is the default and not encoded.
        let version: &[u8] = if self.extensions.is_some() { &[0xa0, 3, 2, 1, 2] } else { &[] };
        let extensions = self.extensions.map(|e| der::tlv(0xa3, &[e])).unwrap_or_default();
        let parts =
            [version, &serial, algorithm, issuer, &validity, self.subject, self.public_key_info, &extensions];
        der::tlv(der::SEQUENCE, &parts)
    }
}
