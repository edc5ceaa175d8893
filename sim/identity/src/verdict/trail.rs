//! Ways that led nowhere: what was looked for, what was found, and why it would not do.

use crate::certificate::{Certificate, Irregularity};
use crate::shown::{cut, digits};
use std::fmt;
use std::sync::Arc;

/// Why an edge or an element was not taken, in the order in which a tie is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The names agree, the key ids do not, and the key does not verify the signature.
    WrongKey,
    /// Names and key ids agree, and the key does not verify the signature.
    Signature,
    /// Past its last second.
    Expired,
    /// Before its first second.
    NotYetValid,
    /// It ends before it begins.
    ValidityInverted,
    /// An issuer that is not a CA.
    IssuerNotCa,
    /// An issuer of X.509 version 1 or 2, which cannot say that it is a CA.
    IssuerVersion,
    /// A leaf that is a CA.
    LeafIsCa,
    /// A leaf of X.509 version 1, where a knob refuses it.
    LeafVersion,
    /// More CAs below than allowed.
    PathLength,
    /// keyCertSign missing from an issuer.
    IssuerKeyUsage,
    /// digitalSignature missing from the leaf.
    LeafKeyUsage,
    /// clientAuth not allowed by the leaf.
    LeafPurpose,
    /// clientAuth not allowed by a CA.
    CaPurpose,
    /// An extended key usage that lists nothing.
    EmptyPurpose,
    /// A name below is outside what a CA permits.
    NameConstraints,
    /// A signature with SHA-1 or MD5.
    WeakSignature,
    /// An RSA key that is too short.
    WeakKey,
    /// A kind of key that is not accepted.
    UnsupportedKey,
    /// The algorithm inside the signed part is not the one outside.
    AlgorithmMismatch,
    /// A critical extension nobody processes.
    CriticalExtension,
    /// Constraints on policies, which are not processed.
    PolicyConstraints,
    /// An extension that occurs twice.
    DuplicateExtension,
    /// An extension whose content is not what its syntax asks for.
    MalformedExtension,
    /// A time in a form that is not DER.
    TimeEncoding,
    /// A serial number that is not DER.
    SerialEncoding,
    /// A certificate that no TLS message can carry.
    Size,
    /// More intermediates than allowed.
    Depth,
    /// The work allowed for one judgement was used up.
    Budget,
    /// The verified CA was not sent, where a knob asks for it.
    NotPresented,
    /// Certificates certify each other in a circle.
    Loop,
    /// Nothing of that name was sent or is verified.
    MissingIssuer,
    /// The path is complete, and nothing on it is verified.
    NotVerified,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 33] = [
        Check::WrongKey,
        Check::Signature,
        Check::Expired,
        Check::NotYetValid,
        Check::ValidityInverted,
        Check::IssuerNotCa,
        Check::IssuerVersion,
        Check::LeafIsCa,
        Check::LeafVersion,
        Check::PathLength,
        Check::IssuerKeyUsage,
        Check::LeafKeyUsage,
        Check::LeafPurpose,
        Check::CaPurpose,
        Check::EmptyPurpose,
        Check::NameConstraints,
        Check::WeakSignature,
        Check::WeakKey,
        Check::UnsupportedKey,
        Check::AlgorithmMismatch,
        Check::CriticalExtension,
        Check::PolicyConstraints,
        Check::DuplicateExtension,
        Check::MalformedExtension,
        Check::TimeEncoding,
        Check::SerialEncoding,
        Check::Size,
        Check::Depth,
        Check::Budget,
        Check::NotPresented,
        Check::Loop,
        Check::MissingIssuer,
        Check::NotVerified,
    ];

    /// The stable diagnostic code.
    pub const fn code(self) -> &'static str {
        match self {
            Check::WrongKey => "wrong-issuer-key",
            Check::Signature => "sig-invalid",
            Check::Expired => "expired",
            Check::NotYetValid => "not-yet-valid",
            Check::ValidityInverted => "validity-inverted",
            Check::IssuerNotCa => "issuer-not-ca",
            Check::IssuerVersion => "issuer-v1",
            Check::LeafIsCa => "leaf-is-ca",
            Check::LeafVersion => "leaf-v1",
            Check::PathLength => "pathlen-exceeded",
            Check::IssuerKeyUsage => "issuer-no-keycertsign",
            Check::LeafKeyUsage => "leaf-ku",
            Check::LeafPurpose => "eku-no-clientauth",
            Check::CaPurpose => "ca-eku",
            Check::EmptyPurpose => "eku-empty",
            Check::NameConstraints => "nc-violation",
            Check::WeakSignature => "sig-alg-weak",
            Check::WeakKey => "key-weak",
            Check::UnsupportedKey => "key-unsupported",
            Check::AlgorithmMismatch => "sig-alg-mismatch",
            Check::CriticalExtension => "ext-critical-unknown",
            Check::PolicyConstraints => "policy-constraints",
            Check::DuplicateExtension => "ext-duplicate",
            Check::MalformedExtension => "ext-malformed",
            Check::TimeEncoding => "time-encoding",
            Check::SerialEncoding => "serial-der",
            Check::Size => "chain-size",
            Check::Depth => "chain-depth",
            Check::Budget => "budget-exceeded",
            Check::NotPresented => "verified-ca-not-sent",
            Check::Loop => "chain-loop",
            Check::MissingIssuer => "chain-incomplete",
            Check::NotVerified => "no-verified-ca",
        }
    }

    /// Whether the path is there and breaks at a certificate that may not stand in it.
    pub(super) const fn is_profile_fault(self) -> bool {
        !matches!(
            self,
            Check::WrongKey
                | Check::Signature
                | Check::Depth
                | Check::Budget
                | Check::NotPresented
                | Check::Loop
                | Check::MissingIssuer
                | Check::NotVerified
        )
    }

    /// The check that refuses what is irregular.
    pub(super) const fn of_irregularity(irregularity: &Irregularity) -> Option<Check> {
        match irregularity {
            Irregularity::SerialNotMinimal => Some(Check::SerialEncoding),
            Irregularity::TimeFraction | Irregularity::TimeIncomplete => Some(Check::TimeEncoding),
            // A form that every verifier reads.
            Irregularity::TimeForm => None,
            Irregularity::ExtensionMalformed(_) => Some(Check::MalformedExtension),
            Irregularity::ExtensionTwice(_) => Some(Check::DuplicateExtension),
        }
    }

    /// Why it would not do, after "it" or a name.
    const fn because(self) -> &'static str {
        match self {
            Check::WrongKey => "its key did not make that signature",
            Check::Signature => "the signature is not valid with its key",
            Check::Expired => "it has expired",
            Check::NotYetValid => "it is not valid yet",
            Check::ValidityInverted => "it ends before it begins",
            Check::IssuerNotCa => "it is not a CA",
            Check::IssuerVersion => "it is of X.509 version 1, which cannot be a CA",
            Check::LeafIsCa => "it is marked as a CA",
            Check::LeafVersion => "it is of X.509 version 1",
            Check::PathLength => "its path length does not allow another CA below it",
            Check::IssuerKeyUsage => "its key usage does not allow it to sign certificates",
            Check::LeafKeyUsage => "its key usage does not allow digital signatures",
            Check::LeafPurpose | Check::CaPurpose => {
                "its extended key usage does not allow client authentication"
            }
            Check::EmptyPurpose => "its extended key usage lists nothing",
            Check::NameConstraints => "a name below it is outside what it permits",
            Check::WeakSignature => "the signature uses SHA-1 or MD5",
            Check::WeakKey => "an RSA key is shorter than 2048 bits",
            Check::UnsupportedKey => "the kind of key or signature is not accepted",
            Check::AlgorithmMismatch => "the signature's algorithm is not the one named inside",
            Check::CriticalExtension => "it has a critical extension that nobody processes",
            Check::PolicyConstraints => "it constrains policies, which is not processed",
            Check::DuplicateExtension => "an extension occurs twice",
            Check::MalformedExtension => "an extension cannot be read",
            Check::TimeEncoding => "its dates are not written as DER asks",
            Check::SerialEncoding => "its serial number is not written as DER asks",
            Check::Size => "it is larger than a TLS message can carry",
            Check::Depth => "the path is too long",
            Check::Budget => "too much work was asked for",
            Check::NotPresented => "it is verified and the device did not send it",
            Check::Loop => "the path would go round in a circle",
            Check::MissingIssuer => "it was not sent and is not verified",
            Check::NotVerified => "nothing on the path is verified",
        }
    }
}

/// One way that led nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadEnd {
    /// How many certificates were on the path; the leaf alone is 1.
    pub depth: usize,
    /// What failed.
    pub check: Check,
    /// The last certificate on the path.
    pub element: Arc<Certificate>,
    /// The candidate it failed on; none where none was found, or the element itself is at fault.
    pub candidate: Option<Arc<Certificate>>,
}

impl DeadEnd {
    /// A certificate that cannot be used at all.
    pub(super) fn unusable(element: &Arc<Certificate>, check: Check) -> Self {
        DeadEnd { depth: 1, check, element: element.clone(), candidate: None }
    }

    /// The certificate at fault: the candidate where there was one, else the element.
    pub fn culprit(&self) -> &Arc<Certificate> {
        self.candidate.as_ref().unwrap_or(&self.element)
    }

    /// The key id that was looked for, hexadecimal, where the element names one.
    pub fn key_id(&self) -> Option<String> {
        self.element.authority_key_id().map(digits)
    }
}

/// A name as sentences quote it.
fn quoted(name: String) -> String {
    format!("`{}`", cut(name))
}

impl fmt::Display for DeadEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = quoted(self.element.subject());
        let why = self.check.because();
        match (&self.candidate, self.check) {
            (None, Check::MissingIssuer) => {
                let issuer = quoted(self.element.issuer());
                let key = self.key_id().map(|k| format!(" with key id {k}")).unwrap_or_default();
                write!(
                    f,
                    "looked for the issuer of {element}, named {issuer}{key}: not sent and not verified"
                )
            }
            (None, Check::NotVerified) => {
                write!(f, "the path ends at {element}, and nothing on it is verified")
            }
            (None, _) => write!(f, "{element} cannot be used: {why}"),
            (Some(candidate), Check::WrongKey) => {
                let found = quoted(candidate.subject());
                write!(f, "looked for the issuer of {element}{}; found {found}", key_text(self.key_id()))?;
                write!(f, "{}, but {why}", key_text(candidate.subject_key_id().map(digits)))
            }
            (Some(candidate), _) => {
                let found = quoted(candidate.subject());
                write!(f, "looked for the issuer of {element}; found {found}, but {why}")
            }
        }
    }
}

fn key_text(id: Option<String>) -> String {
    id.map(|id| format!(" with key id {id}")).unwrap_or_default()
}
