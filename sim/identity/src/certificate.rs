//! One certificate, read once: the facts that trust decisions need, owned.
//!
//! The parser is lenient on purpose (X.509 v1 must pass where the service lets it pass); what is malformed in a
//! way that matters is kept as a fact and judged in [`crate::verdict`], not here.

use crate::der::split;
use crate::signature::{self, Algorithms, SignatureFault};
use aws_lc_rs::digest;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;
use time::OffsetDateTime;
use x509_parser::extensions::{GeneralName, GeneralSubtree, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

/// Why bytes are not a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Not X.509 at all.
    #[error("not an X.509 certificate: {0}")]
    Unreadable(String),
    /// A certificate, and then something.
    #[error("{0} bytes follow the certificate")]
    TrailingBytes(usize),
}

/// basicConstraints (RFC 5280 section 4.2.1.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether the subject is a CA.
    pub ca: bool,
    /// How many CAs that are not self-issued may follow below.
    pub path_length: Option<u32>,
}

/// extKeyUsage, as far as device authentication asks (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedKeyUsage {
    /// clientAuth is listed.
    pub client_auth: bool,
    /// anyExtendedKeyUsage is listed.
    pub any: bool,
    /// Nothing is listed, which the syntax does not allow.
    pub empty: bool,
}

/// keyUsage, as far as trust asks (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// digitalSignature
    pub digital_signature: bool,
    /// keyCertSign
    pub key_cert_sign: bool,
}

/// What a certificate gets wrong in its encoding. Parsers differ in what they forgive; here it is kept as a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Irregularity {
    /// The serial number has a superfluous leading octet (X.690 section 8.3.2).
    SerialNotMinimal,
    /// A time has fractional seconds (RFC 5280 section 4.1.2.5.2 forbids them).
    TimeFraction,
    /// A time has no seconds or no `Z` (RFC 5280 section 4.1.2.5).
    TimeIncomplete,
    /// GeneralizedTime before 2050, where UTCTime is required (RFC 5280 section 4.1.2.5).
    TimeForm,
    /// An extension of a kind that is known, whose content is not what its syntax asks for: the OID.
    ExtensionMalformed(String),
    /// An extension occurs twice (RFC 5280 section 4.2): the OID.
    ExtensionTwice(String),
}

/// One extension, by what it is and whether a verifier must understand it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionId {
    /// Dotted OID.
    pub oid: String,
    /// Whether a verifier that does not process it must refuse.
    pub critical: bool,
    /// Whether the judge processes it or may pass over it.
    pub known: bool,
}

/// The names of a subjectAltName that constraints can speak of (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlternativeNames {
    /// dNSName
    pub dns: Vec<String>,
    /// rfc822Name
    pub email: Vec<String>,
    /// iPAddress: 4 or 16 bytes where well-formed.
    pub ip: Vec<Vec<u8>>,
    /// directoryName, DER.
    pub directory: Vec<Vec<u8>>,
    /// Forms that are present and not read further.
    pub other: Vec<NameForm>,
}

/// Forms of names that are told apart and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameForm {
    /// uniformResourceIdentifier
    Uri,
    /// Anything else: otherName, registeredID, x400Address, ediPartyName, or one that cannot be read.
    Other,
}

/// One subtree of a nameConstraints extension (RFC 5280 section 4.2.1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subtree {
    /// A DNS domain with everything below it.
    Dns(String),
    /// A mailbox, a host, or with a leading dot the hosts of a domain.
    Email(String),
    /// Address and mask, 4 or 16 bytes each; others never match.
    Ip(Vec<u8>, Vec<u8>),
    /// A prefix of RDNs, DER.
    Directory(Vec<u8>),
    /// A form that is not evaluated: where it occurs below, the path is refused.
    Unread(NameForm),
}

/// nameConstraints (RFC 5280 section 4.2.1.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Names of a listed form must lie in one of these.
    pub permitted: Vec<Subtree>,
    /// No name may lie in one of these.
    pub excluded: Vec<Subtree>,
}

/// One attribute of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAttribute {
    /// Which RDN it stands in, from 0.
    pub rdn: usize,
    /// Dotted OID; `2.5.4.3` is the CN.
    pub oid: String,
    /// ASN.1 tag of its string type, for instance 12 for UTF8String.
    pub tag: u32,
    /// The value, where its string type and bytes can be decoded.
    pub text: Option<String>,
}

/// What kind of key a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// ECDSA on P-224.
    P224,
    /// ECDSA on secp256k1.
    K256,
    /// Ed25519.
    Ed25519,
    /// RSA with rsaEncryption: bits of the modulus, and whether the exponent is 65537.
    Rsa(usize, bool),
    /// RSA with id-RSASSA-PSS: bits of the modulus.
    RsaPss(usize),
    /// Anything else.
    Other,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::P256 => f.write_str("P-256"),
            KeyKind::P384 => f.write_str("P-384"),
            KeyKind::P521 => f.write_str("P-521"),
            KeyKind::P224 => f.write_str("P-224"),
            KeyKind::K256 => f.write_str("secp256k1"),
            KeyKind::Ed25519 => f.write_str("Ed25519"),
            KeyKind::Rsa(bits, _) => write!(f, "RSA-{bits}"),
            KeyKind::RsaPss(bits) => write!(f, "RSA-{bits} (PSS key)"),
            KeyKind::Other => f.write_str("another kind of key"),
        }
    }
}

/// The subject's common name, as the service would read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommonName {
    /// No CN, or an empty one.
    Missing,
    /// One CN, or several that are equal.
    One(String),
    /// Several that differ.
    Several(Vec<String>),
    /// A CN whose string type or bytes cannot be decoded.
    Undecodable,
}

/// A parsed certificate. Cheap to share behind an `Arc`, compared by its bytes.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    sha256: [u8; 32],
    tbs: Range<usize>,
    subject: Range<usize>,
    issuer: Range<usize>,
    key_algorithm: Vec<u8>,
    public_key: Range<usize>,
    signature_algorithm: Vec<u8>,
    signature: Range<usize>,
    algorithms_agree: bool,
    version: u32,
    serial: Range<usize>,
    not_before: i64,
    not_after: i64,
    extensions: Facts,
    common_name: CommonName,
    folded_subject: OnceLock<Option<[u8; 32]>>,
    folded_issuer: OnceLock<Option<[u8; 32]>>,
}

impl Certificate {
    /// Reads one DER certificate and nothing after it.
    pub fn from_der(der: impl Into<Vec<u8>>) -> Result<Self, CertificateFault> {
        let der = der.into();
        let (rest, parsed) =
            X509Certificate::from_der(&der).map_err(|e| CertificateFault::Unreadable(e.to_string()))?;
        if !rest.is_empty() {
            return Err(CertificateFault::TrailingBytes(rest.len()));
        }
        let tbs = &parsed.tbs_certificate;
        let at = |part: &[u8]| offset(&der, part);
        let signature_algorithm = algorithm(&parsed.signature_algorithm);
        Ok(Certificate {
            sha256: sha256(&der),
            tbs: at(tbs.as_ref()),
            subject: at(tbs.subject.as_raw()),
            issuer: at(tbs.issuer.as_raw()),
            key_algorithm: algorithm(&tbs.subject_pki.algorithm),
            public_key: at(&tbs.subject_pki.subject_public_key.data),
            algorithms_agree: algorithm(&tbs.signature) == signature_algorithm,
            signature_algorithm,
            signature: at(&parsed.signature_value.data),
            version: tbs.version.0 + 1,
            serial: at(tbs.raw_serial()),
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            extensions: Facts::of(&parsed),
            common_name: common_name(&tbs.subject),
            folded_subject: OnceLock::new(),
            folded_issuer: OnceLock::new(),
            der,
        })
    }

    /// The whole certificate.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the whole certificate.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The subject name, DER.
    pub fn subject_der(&self) -> &[u8] {
        &self.der[self.subject.clone()]
    }

    /// The issuer name, DER.
    pub fn issuer_der(&self) -> &[u8] {
        &self.der[self.issuer.clone()]
    }

    /// The subject in text form, most significant part first as written.
    pub fn subject(&self) -> String {
        name_text(self.subject_der())
    }

    /// The issuer in text form.
    pub fn issuer(&self) -> String {
        name_text(self.issuer_der())
    }

    /// The subject's CN.
    pub fn common_name(&self) -> &CommonName {
        &self.common_name
    }

    /// The one CN, or the whole subject where there is none: a name to show people.
    pub fn display_name(&self) -> String {
        match &self.common_name {
            CommonName::One(name) => name.clone(),
            _ => self.subject(),
        }
    }

    /// The content of the subjectPublicKey BIT STRING.
    pub fn public_key(&self) -> &[u8] {
        &self.der[self.public_key.clone()]
    }

    /// The public key's AlgorithmIdentifier, DER contents without the SEQUENCE header.
    pub fn key_algorithm(&self) -> &[u8] {
        &self.key_algorithm
    }

    /// 1, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The serial number's content octets.
    pub fn serial(&self) -> &[u8] {
        &self.der[self.serial.clone()]
    }

    /// First second of validity, Unix time.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Last second of validity, Unix time.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Last second of validity as a date; the year 9999 where the date cannot be represented.
    pub fn expiry(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(self.not_after)
            .unwrap_or(time::macros::datetime!(9999-12-31 23:59:59 UTC))
    }

    /// basicConstraints, if present.
    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.extensions.basic_constraints
    }

    /// Whether it is marked as a CA.
    pub fn is_ca(&self) -> bool {
        self.extensions.basic_constraints.is_some_and(|b| b.ca)
    }

    /// keyUsage, if present.
    pub fn key_usage(&self) -> Option<KeyUsage> {
        self.extensions.key_usage
    }

    /// extKeyUsage, if present.
    pub fn extended_key_usage(&self) -> Option<ExtendedKeyUsage> {
        self.extensions.extended_key_usage
    }

    /// subjectKeyIdentifier, if present.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.extensions.subject_key_id.as_deref()
    }

    /// authorityKeyIdentifier's key id, if present.
    pub fn authority_key_id(&self) -> Option<&[u8]> {
        self.extensions.authority_key_id.as_deref()
    }

    /// A critical extension that nobody here processes: its OID in dotted form.
    pub fn unknown_critical(&self) -> Option<&str> {
        self.extensions.unknown_critical.as_deref()
    }

    /// All extensions in order.
    pub fn extensions(&self) -> &[ExtensionId] {
        &self.extensions.all
    }

    /// What is wrong in the encoding, in the order in which it is met.
    pub fn irregularities(&self) -> Vec<Irregularity> {
        let mut found = encoding_faults(self.serial(), &self.der[self.tbs.clone()]);
        found.extend(self.extensions.irregular.iter().cloned());
        found
    }

    /// The names of its subjectAltName, none where there is no such extension.
    pub fn alternative_names(&self) -> &AlternativeNames {
        &self.extensions.alternative_names
    }

    /// What it demands of the names below it, if anything.
    pub fn name_constraints(&self) -> Option<&NameConstraints> {
        self.extensions.name_constraints.as_ref()
    }

    /// The attributes of the subject in order.
    pub fn subject_attributes(&self) -> Vec<NameAttribute> {
        attributes(self.subject_der())
    }

    /// What kind of key it holds.
    pub fn key_kind(&self) -> KeyKind {
        signature::key_kind(&self.key_algorithm, self.public_key())
    }

    /// The signature's AlgorithmIdentifier, DER contents without the SEQUENCE header.
    pub fn signature_algorithm(&self) -> &[u8] {
        &self.signature_algorithm
    }

    /// How the subject of `issuer` compares with the name this certificate gives its issuer.
    pub fn names_as_issuer(&self, issuer: &Certificate) -> NameMatch {
        if self.issuer_der() == issuer.subject_der() {
            return NameMatch::Exact;
        }
        let theirs = issuer.folded_subject.get_or_init(|| folded(issuer.subject_der()));
        let ours = self.folded_issuer.get_or_init(|| folded(self.issuer_der()));
        match (theirs, ours) {
            (Some(a), Some(b)) if a == b => NameMatch::Normalised,
            _ => NameMatch::Different,
        }
    }

    /// Whether the algorithm inside the signed part is the one outside (RFC 5280 section 4.1.1.2).
    pub fn algorithms_agree(&self) -> bool {
        self.algorithms_agree
    }

    /// Whether issuer and subject are the same name (RFC 5280 section 3.2, "self-issued").
    pub fn is_self_issued(&self) -> bool {
        self.subject_der() == self.issuer_der()
    }

    /// Whether `moment` (Unix seconds) lies within the validity, both ends included.
    pub fn is_valid_at(&self, moment: i64) -> bool {
        (self.not_before..=self.not_after).contains(&moment)
    }

    /// Checks this certificate's signature with the key of `issuer`, by the algorithms that are accepted anyway.
    pub fn verify_signed_by(&self, issuer: &Certificate) -> Result<(), SignatureFault> {
        self.verify_signed_with(issuer, Algorithms::DEFAULT)
    }

    /// The same with a say in which algorithms are accepted.
    pub fn verify_signed_with(
        &self,
        issuer: &Certificate,
        accepted: Algorithms,
    ) -> Result<(), SignatureFault> {
        self.admits_signer(issuer, accepted)?;
        self.verify_bytes(issuer)
    }

    /// Whether the algorithms of this certificate's signature and of `issuer`'s key are accepted. Cheap.
    pub(crate) fn admits_signer(
        &self,
        issuer: &Certificate,
        accepted: Algorithms,
    ) -> Result<(), SignatureFault> {
        if !self.algorithms_agree {
            return Err(SignatureFault::Mismatch);
        }
        signature::admits(&self.signature_algorithm, &issuer.key_algorithm, issuer.public_key(), accepted)
    }

    /// Whether the key of `issuer` made this certificate's signature, whatever the algorithm.
    pub(crate) fn verify_bytes(&self, issuer: &Certificate) -> Result<(), SignatureFault> {
        signature::verify(
            &self.signature_algorithm,
            &issuer.key_algorithm,
            issuer.public_key(),
            &self.der[self.tbs.clone()],
            &self.der[self.signature.clone()],
        )
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.subject())
    }
}

/// The SubjectPublicKeyInfo of a DER certificate, found without parsing the rest: enough to check that a TLS peer
/// holds the key, whatever else is wrong with its certificate.
pub fn subject_public_key_info(der: &[u8]) -> Option<&[u8]> {
    let certificate = split(der)?.content;
    let mut rest = split(certificate)?.content;
    if rest.first() == Some(&0xa0) {
        rest = split(rest)?.rest;
    }
    // serialNumber, signature, issuer, validity and subject come first (RFC 5280 section 4.1).
    for _ in 0..5 {
        rest = split(rest)?.rest;
    }
    split(rest).map(|element| element.whole)
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// Where `part`, a slice of `whole`, lies in it.
fn offset(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len());
    start..(start + part.len()).min(whole.len())
}

/// The contents of an AlgorithmIdentifier, written again from what was parsed.
fn algorithm(id: &x509_parser::x509::AlgorithmIdentifier<'_>) -> Vec<u8> {
    let mut out = crate::der::tlv(crate::der::OID, &[id.algorithm.as_bytes()]);
    if let Some(parameters) = &id.parameters {
        let tag = parameters.header.tag().0 as u8 | if parameters.header.is_constructed() { 0x20 } else { 0 };
        out.extend(crate::der::tlv(tag, &[parameters.data]));
    }
    out
}

/// The part of a certificate that is signed, field by field (RFC 5280 section 4.1).
fn fields(tbs: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = split(tbs).map(|whole| whole.content);
    std::iter::from_fn(move || {
        let element = split(rest?)?;
        rest = Some(element.rest);
        Some(element.whole)
    })
}

/// Faults of the encoding that a lenient parser passes over.
fn encoding_faults(serial: &[u8], tbs: &[u8]) -> Vec<Irregularity> {
    let mut found = Vec::new();
    if matches!(serial, [0, second, ..] if second & 0x80 == 0)
        || matches!(serial, [0xff, second, ..] if second & 0x80 != 0)
    {
        found.push(Irregularity::SerialNotMinimal);
    }
    // serialNumber, signature and issuer come before validity; the version only where it is not 1.
    let versioned = fields(tbs).next().is_some_and(|first| first.first() == Some(&0xa0));
    let validity = fields(tbs).nth(if versioned { 4 } else { 3 }).and_then(split);
    let mut rest = validity.map(|v| v.content).unwrap_or_default();
    while let Some(time) = split(rest) {
        found.extend(time_fault(time.whole.first().copied(), time.content));
        rest = time.rest;
    }
    found.dedup();
    found
}

/// What RFC 5280 section 4.1.2.5 has against a time, `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time_fault(tag: Option<u8>, text: &[u8]) -> Option<Irregularity> {
    let general = tag == Some(0x18);
    let length = if general { 15 } else { 13 };
    if text.contains(&b'.') || text.contains(&b',') {
        return Some(Irregularity::TimeFraction);
    }
    if text.len() != length || text.last() != Some(&b'Z') {
        return Some(Irregularity::TimeIncomplete);
    }
    (general && text < b"2050".as_slice()).then_some(Irregularity::TimeForm)
}

/// What the extensions say.
#[derive(Clone, Default)]
struct Facts {
    basic_constraints: Option<BasicConstraints>,
    key_usage: Option<KeyUsage>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    subject_key_id: Option<Vec<u8>>,
    authority_key_id: Option<Vec<u8>>,
    unknown_critical: Option<String>,
    alternative_names: AlternativeNames,
    name_constraints: Option<NameConstraints>,
    all: Vec<ExtensionId>,
    irregular: Vec<Irregularity>,
}

impl Facts {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut facts = Facts::default();
        let extensions = certificate.extensions();
        for (i, extension) in extensions.iter().enumerate() {
            let oid = extension.oid.to_id_string();
            if extensions[..i].iter().any(|earlier| earlier.oid == extension.oid) {
                facts.irregular.push(Irregularity::ExtensionTwice(oid.clone()));
            }
            let parsed = extension.parsed_extension();
            if matches!(parsed, ParsedExtension::ParseError { .. }) {
                facts.irregular.push(Irregularity::ExtensionMalformed(oid.clone()));
            }
            let known = facts.note(parsed) || oid == FRESHEST_CRL;
            if extension.critical && !known && facts.unknown_critical.is_none() {
                facts.unknown_critical = Some(oid.clone());
            }
            facts.all.push(ExtensionId { oid, critical: extension.critical, known });
        }
        facts
    }

    /// Notes one extension; false if it is none of those that are treated as known.
    fn note(&mut self, extension: &ParsedExtension<'_>) -> bool {
        match extension {
            ParsedExtension::BasicConstraints(b) => {
                self.basic_constraints =
                    Some(BasicConstraints { ca: b.ca, path_length: b.path_len_constraint });
            }
            ParsedExtension::KeyUsage(k) => {
                self.key_usage = Some(KeyUsage {
                    digital_signature: k.digital_signature(),
                    key_cert_sign: k.key_cert_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(e) => {
                let listed = [e.any, e.server_auth, e.client_auth, e.code_signing, e.email_protection];
                let empty = ![&listed[..], &[e.time_stamping, e.ocsp_signing]].concat().contains(&true)
                    && e.other.is_empty();
                self.extended_key_usage =
                    Some(ExtendedKeyUsage { client_auth: e.client_auth, any: e.any, empty });
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|k| k.0.to_vec());
            }
            ParsedExtension::NameConstraints(c) => {
                let read = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| {
                    subtrees.iter().flatten().map(|s| subtree(&s.base)).collect()
                };
                self.name_constraints = Some(NameConstraints {
                    permitted: read(&c.permitted_subtrees),
                    excluded: read(&c.excluded_subtrees),
                });
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().for_each(|name| self.alternative_names.note(name));
            }
            ParsedExtension::IssuerAlternativeName(_)
            | ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::AuthorityInfoAccess(_)
            | ParsedExtension::SubjectInfoAccess(_) => {}
            _ => return false,
        }
        true
    }
}

/// cRLDistributionPoints has a sibling that the parser does not know (RFC 5280 section 4.2.1.15).
const FRESHEST_CRL: &str = "2.5.29.46";

impl AlternativeNames {
    fn note(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(text) => self.dns.push((*text).to_owned()),
            GeneralName::RFC822Name(text) => self.email.push((*text).to_owned()),
            GeneralName::IPAddress(bytes) => self.ip.push(bytes.to_vec()),
            GeneralName::DirectoryName(name) => self.directory.push(name.as_raw().to_vec()),
            GeneralName::URI(_) => self.other.push(NameForm::Uri),
            _ => self.other.push(NameForm::Other),
        }
    }
}

fn subtree(base: &GeneralName<'_>) -> Subtree {
    match base {
        GeneralName::DNSName(text) => Subtree::Dns((*text).to_owned()),
        GeneralName::RFC822Name(text) => Subtree::Email((*text).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let (address, mask) = bytes.split_at(bytes.len() / 2);
            Subtree::Ip(address.to_vec(), mask.to_vec())
        }
        GeneralName::DirectoryName(name) => Subtree::Directory(name.as_raw().to_vec()),
        GeneralName::URI(_) => Subtree::Unread(NameForm::Uri),
        _ => Subtree::Unread(NameForm::Other),
    }
}

/// The attributes of a DER name in order; none where it cannot be read.
fn attributes(name: &[u8]) -> Vec<NameAttribute> {
    let Ok((_, name)) = X509Name::from_der(name) else { return Vec::new() };
    let rdns = name.iter_rdn().enumerate();
    let read = rdns.flat_map(|(rdn, parts)| {
        parts.iter().map(move |a| {
            let value = a.attr_value();
            let tag = value.header.tag().0;
            NameAttribute {
                rdn,
                oid: a.attr_type().to_id_string(),
                tag,
                text: decode_string(tag, value.data),
            }
        })
    });
    read.collect()
}

fn common_name(subject: &X509Name<'_>) -> CommonName {
    let mut names = Vec::new();
    for attribute in subject.iter_common_name() {
        let value = attribute.attr_value();
        match decode_string(value.header.tag().0, value.data) {
            Some(text) => names.push(text),
            None => return CommonName::Undecodable,
        }
    }
    names.dedup();
    match names.len() {
        0 => CommonName::Missing,
        1 if names[0].is_empty() => CommonName::Missing,
        1 => CommonName::One(names.remove(0)),
        _ => CommonName::Several(names),
    }
}

/// Decodes a DirectoryString or IA5String by its tag (X.680; TeletexString is read as Latin-1).
fn decode_string(tag: u32, bytes: &[u8]) -> Option<String> {
    match tag {
        12 | 19 | 22 => String::from_utf8(bytes.to_vec()).ok(),
        20 => Some(bytes.iter().map(|&b| char::from(b)).collect()),
        28 => bytes
            .chunks(4)
            .map(|c| <[u8; 4]>::try_from(c).ok().and_then(|c| char::from_u32(u32::from_be_bytes(c))))
            .collect(),
        30 => {
            let units: Option<Vec<u16>> =
                bytes.chunks(2).map(|c| <[u8; 2]>::try_from(c).ok().map(u16::from_be_bytes)).collect();
            String::from_utf16(&units?).ok()
        }
        _ => None,
    }
}

fn name_text(der: &[u8]) -> String {
    match X509Name::from_der(der) {
        Ok((_, name)) => {
            let parts: Vec<String> = name.iter_rdn().map(rdn_text).collect();
            parts.join(", ")
        }
        Err(_) => "(unreadable name)".to_owned(),
    }
}

fn rdn_text(rdn: &x509_parser::x509::RelativeDistinguishedName<'_>) -> String {
    let parts: Vec<String> = rdn
        .iter()
        .map(|a| {
            let value = a.attr_value();
            let text = decode_string(value.header.tag().0, value.data).unwrap_or_else(|| "?".into());
            format!("{}={text}", attribute_label(a))
        })
        .collect();
    parts.join("+")
}

fn attribute_label(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type();
    x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry())
        .map_or_else(|_| oid.to_id_string(), str::to_owned)
}

/// How two names compare (RFC 5280 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameMatch {
    /// The same bytes.
    Exact,
    /// Equal after normalisation: string types, letter case and spaces folded. Some verifiers refuse it.
    Normalised,
    /// Different names.
    Different,
}

/// Compares two DER names, bytes first.
pub fn compare_names(a: &[u8], b: &[u8]) -> NameMatch {
    if a == b {
        return NameMatch::Exact;
    }
    match (normalised(a), normalised(b)) {
        (Some(a), Some(b)) if a == b => NameMatch::Normalised,
        _ => NameMatch::Different,
    }
}

/// Longer names are compared by their bytes alone: folding them would be a way to make work.
const LONGEST_FOLDED: usize = 4096;

/// A hash of the normalised name; none where it cannot be normalised.
fn folded(name: &[u8]) -> Option<[u8; 32]> {
    if name.len() > LONGEST_FOLDED {
        return None;
    }
    let rdns = normalised(name)?;
    let mut text = String::new();
    for (rdn, attributes) in rdns.iter().enumerate() {
        for (oid, value) in attributes {
            // Lengths keep values from running into each other.
            text.push_str(&format!("{rdn} {oid} {}:{value};", value.len()));
        }
    }
    Some(sha256(text.as_bytes()))
}

/// RDNs in order, normalised; within an RDN the attributes sorted, because a set has no order. None where the name
/// cannot be read.
pub(crate) fn normalised(der: &[u8]) -> Option<Vec<Vec<(String, String)>>> {
    let (_, name) = X509Name::from_der(der).ok()?;
    name.iter_rdn()
        .map(|rdn| {
            let mut attributes = rdn
                .iter()
                .map(|a| {
                    let value = a.attr_value();
                    let text = decode_string(value.header.tag().0, value.data)?;
                    let folded: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
                    Some((a.attr_type().to_id_string(), folded.join(" ")))
                })
                .collect::<Option<Vec<_>>>()?;
            attributes.sort();
            Some(attributes)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::{OID, SEQUENCE, SET, tlv};

    fn name(parts: &[(u8, &str)]) -> Vec<u8> {
        let rdns: Vec<Vec<u8>> = parts
            .iter()
            .map(|(tag, text)| {
                let attribute = tlv(SEQUENCE, &[&tlv(OID, &[&[0x55, 4, 3]]), &tlv(*tag, &[text.as_bytes()])]);
                tlv(SET, &[&attribute])
            })
            .collect();
        let parts: Vec<&[u8]> = rdns.iter().map(Vec::as_slice).collect();
        tlv(SEQUENCE, &parts)
    }

    #[test]
    fn names_compare_by_bytes_first_and_then_normalised() {
        let base = name(&[(12, "Contoso Root")]);
        for (other, expected) in [
            (name(&[(12, "Contoso Root")]), NameMatch::Exact),
            (name(&[(19, "Contoso Root")]), NameMatch::Normalised),
            (name(&[(12, "contoso ROOT")]), NameMatch::Normalised),
            (name(&[(12, " Contoso  Root ")]), NameMatch::Normalised),
            (name(&[(12, "Contoso Root 2")]), NameMatch::Different),
            (name(&[(12, "Contoso Root"), (12, "x")]), NameMatch::Different),
        ] {
            assert_eq!(compare_names(&base, &other), expected);
        }
        let forwards = name(&[(12, "a"), (12, "b")]);
        let backwards = name(&[(12, "b"), (12, "a")]);
        assert_eq!(compare_names(&forwards, &backwards), NameMatch::Different);
    }

    #[test]
    fn every_string_type_of_a_common_name_is_decoded() {
        let rows: [(u32, &[u8], Option<&str>); 7] = [
            (12, "ä".as_bytes(), Some("ä")),
            (19, b"a", Some("a")),
            (20, &[0xe4], Some("ä")),
            (30, &[0, b'a', 0, b'b'], Some("ab")),
            (30, &[0], None),
            (28, &[0, 0, 0, b'a'], Some("a")),
            (4, b"a", None),
        ];
        for (tag, bytes, expected) in rows {
            assert_eq!(decode_string(tag, bytes).as_deref(), expected, "tag {tag}");
        }
    }
}
