//! A certificate as it is to be written, right or wrong: every field can be set to what no proper tool would write.

use crate::certificate::Certificate;
use crate::der::{self, oid};
use crate::issuer::IssueError;
pub(crate) use crate::issuer::key_identifier as key_id;
use crate::key::Signer;
use std::sync::Arc;
use time::OffsetDateTime;

/// One extension of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ext {
    /// Written as it stands.
    Raw {
        /// Encoded OID, without its header.
        oid: Vec<u8>,
        critical: bool,
        /// What is wrapped in the OCTET STRING.
        value: Vec<u8>,
    },
    /// The key id of the certificate's own key.
    SubjectKeyId,
    /// The key id of whoever signs.
    AuthorityKeyId,
}

impl Ext {
    /// An extension of any kind.
    pub(crate) fn raw(oid: &[u8], critical: bool, value: Vec<u8>) -> Self {
        Ext::Raw { oid: oid.to_vec(), critical, value }
    }

    /// basicConstraints (RFC 5280 section 4.2.1.9).
    pub(crate) fn basic_constraints(critical: bool, ca: bool, path_length: Option<u8>) -> Self {
        let flag: &[u8] = if ca { &[0x01, 0x01, 0xff] } else { &[] };
        let limit = path_length.map(|n| der::unsigned(&[n])).unwrap_or_default();
        Self::raw(oid::BASIC_CONSTRAINTS, critical, der::tlv(der::SEQUENCE, &[flag, &limit]))
    }

    /// keyUsage from its bits, the most significant of the first octet being digitalSignature.
    pub(crate) fn key_usage(bits: u8) -> Self {
        let unused = bits.trailing_zeros().min(7) as u8;
        Self::raw(oid::KEY_USAGE, true, vec![0x03, 0x02, unused, bits])
    }

    /// extKeyUsage with these purposes.
    pub(crate) fn purposes(critical: bool, purposes: &[&[u8]]) -> Self {
        let listed: Vec<Vec<u8>> = purposes.iter().map(|p| der::tlv(der::OID, &[p])).collect();
        let parts: Vec<&[u8]> = listed.iter().map(Vec::as_slice).collect();
        Self::raw(oid::EXT_KEY_USAGE, critical, der::tlv(der::SEQUENCE, &parts))
    }

    fn is(&self, wanted: &[u8]) -> bool {
        match self {
            Ext::Raw { oid, .. } => oid == wanted,
            Ext::SubjectKeyId => wanted == oid::SUBJECT_KEY_ID,
            Ext::AuthorityKeyId => wanted == oid::AUTHORITY_KEY_ID,
        }
    }

    fn encode(&self, own_key: &[u8], authority_key_id: &[u8]) -> Vec<u8> {
        match self {
            Ext::Raw { oid, critical, value } => der::extension(oid, *critical, value),
            Ext::SubjectKeyId => {
                let id = der::tlv(der::OCTET_STRING, &[&key_id(own_key)]);
                der::extension(oid::SUBJECT_KEY_ID, false, &id)
            }
            Ext::AuthorityKeyId => {
                let id = der::tlv(der::SEQUENCE, &[&der::tlv(0x80, &[authority_key_id])]);
                der::extension(oid::AUTHORITY_KEY_ID, false, &id)
            }
        }
    }
}

/// digitalSignature of keyUsage.
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
/// keyEncipherment of keyUsage.
pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;
/// keyCertSign of keyUsage.
pub(crate) const KEY_CERT_SIGN: u8 = 0x04;
/// cRLSign of keyUsage.
pub(crate) const CRL_SIGN: u8 = 0x02;

/// What is done to a finished signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Nothing.
    #[default]
    Not,
    /// One bit of its last octet is flipped.
    FlipBit,
    /// Other bytes stand in its place.
    Garbage,
}

/// A certificate that is still to be signed.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// 1 or 3; a version 1 certificate has no extensions whatever is listed.
    pub(crate) version: u8,
    /// Content octets of the serial number, written as they are.
    pub(crate) serial: Vec<u8>,
    /// Subject, DER.
    pub(crate) subject: Vec<u8>,
    /// Issuer name, DER; none for the signer's own subject.
    pub(crate) issuer: Option<Vec<u8>>,
    /// Times, DER with their headers, so that any form can be written.
    pub(crate) not_before: Vec<u8>,
    /// See `not_before`.
    pub(crate) not_after: Vec<u8>,
    /// In the order in which they are written.
    pub(crate) extensions: Vec<Ext>,
    /// AlgorithmIdentifier inside the signed part, whole; none for the one outside.
    pub(crate) inner_algorithm: Option<Vec<u8>>,
    /// What is done to the signature.
    pub(crate) spoil: Spoil,
}

impl Draft {
    /// A CA of the profile that passes everywhere.
    pub(crate) fn ca(subject: Vec<u8>, serial: Vec<u8>, life: (OffsetDateTime, OffsetDateTime)) -> Self {
        Draft {
            version: 3,
            serial,
            subject,
            issuer: None,
            not_before: der::time(life.0),
            not_after: der::time(life.1),
            extensions: vec![
                Ext::basic_constraints(true, true, None),
                Ext::key_usage(KEY_CERT_SIGN | CRL_SIGN),
                Ext::SubjectKeyId,
                Ext::AuthorityKeyId,
            ],
            inner_algorithm: None,
            spoil: Spoil::Not,
        }
    }

    /// A device certificate of the profile that passes everywhere.
    pub(crate) fn leaf(subject: Vec<u8>, serial: Vec<u8>, life: (OffsetDateTime, OffsetDateTime)) -> Self {
        Draft {
            extensions: vec![
                Ext::basic_constraints(true, false, None),
                Ext::key_usage(DIGITAL_SIGNATURE),
                Ext::purposes(false, &[oid::CLIENT_AUTH]),
                Ext::SubjectKeyId,
                Ext::AuthorityKeyId,
            ],
            ..Self::ca(subject, serial, life)
        }
    }

    /// The same without one kind of extension.
    #[must_use]
    pub(crate) fn without(mut self, oid: &[u8]) -> Self {
        self.extensions.retain(|e| !e.is(oid));
        self
    }

    /// The same with one more extension, after the others.
    #[must_use]
    pub(crate) fn with(mut self, extension: Ext) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The same with this extension in place of the one of its kind, or after the others.
    #[must_use]
    pub(crate) fn instead(mut self, extension: Ext) -> Self {
        let wanted = match &extension {
            Ext::Raw { oid, .. } => oid.clone(),
            Ext::SubjectKeyId => oid::SUBJECT_KEY_ID.to_vec(),
            Ext::AuthorityKeyId => oid::AUTHORITY_KEY_ID.to_vec(),
        };
        match self.extensions.iter_mut().find(|e| e.is(&wanted)) {
            Some(place) => *place = extension,
            None => self.extensions.push(extension),
        }
        self
    }

    /// The same with these dates.
    #[must_use]
    pub(crate) fn between(mut self, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Self {
        (self.not_before, self.not_after) = (der::time(not_before), der::time(not_after));
        self
    }

    /// Writes and signs it. `public_key_info` is the SubjectPublicKeyInfo, DER; `public_key` its key alone.
    pub(crate) fn sign(
        &self,
        public_key_info: &[u8],
        public_key: &[u8],
        signer: &dyn Signer,
        issuer_name: &[u8],
        authority_key_id: &[u8],
    ) -> Result<Vec<u8>, IssueError> {
        let algorithm = signer.signature_algorithm();
        let inner = self.inner_algorithm.as_deref().unwrap_or(&algorithm);
        let issuer = self.issuer.as_deref().unwrap_or(issuer_name);
        let validity = der::tlv(der::SEQUENCE, &[&self.not_before, &self.not_after]);
        let serial = der::tlv(der::INTEGER, &[&self.serial]);
        let encoded: Vec<Vec<u8>> =
            self.extensions.iter().map(|e| e.encode(public_key, authority_key_id)).collect();
        let parts: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
        let (version, extensions): (&[u8], _) = match self.version {
            3 => (&[0xa0, 3, 2, 1, 2], der::tlv(0xa3, &[&der::tlv(der::SEQUENCE, &parts)])),
            _ => (&[], Vec::new()),
        };
        let fields =
            [version, &serial, inner, issuer, &validity, &self.subject, public_key_info, &extensions];
        let tbs = der::tlv(der::SEQUENCE, &fields);
        let mut signature = signer.sign(&tbs)?;
        match self.spoil {
            Spoil::Not => {}
            // The last octet of an ECDSA signature belongs to `s`: the encoding stays sound.
            Spoil::FlipBit => signature.iter_mut().last().into_iter().for_each(|octet| *octet ^= 1),
            Spoil::Garbage => signature.fill(0x5a),
        }
        Ok(der::tlv(der::SEQUENCE, &[&tbs, &algorithm, &der::bit_string(&signature)]))
    }
}

/// A CA that can sign: its certificate, which may be as wrong as a draft can be, and its key.
#[derive(Clone, Debug)]
pub(crate) struct Ca {
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) signer: Arc<dyn Signer>,
}

impl Ca {
    /// What a certificate that it signs names as its authority's key id.
    pub(crate) fn key_id(&self) -> Vec<u8> {
        match self.certificate.subject_key_id() {
            Some(id) => id.to_vec(),
            None => key_id(&self.signer.public_key()).to_vec(),
        }
    }

    /// Signs a draft for a key.
    pub(crate) fn issue(&self, draft: &Draft, key: &dyn Signer) -> Result<Vec<u8>, IssueError> {
        draft.sign(
            &key.public_key_info(),
            &key.public_key(),
            &*self.signer,
            self.certificate.subject_der(),
            &self.key_id(),
        )
    }
}
