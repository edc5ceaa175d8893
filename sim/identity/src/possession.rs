//! Proof of possession: does this verification certificate prove that its maker holds the CA's key?
//!
//! The rule follows the DPS documentation, "How to do proof-of-possession": the CN is the code exactly, the
//! signature is the uploaded CA's, and the certificate is within its dates. Version, extensions and the
//! certificate's own key are not looked at; a plain `openssl x509 -req` makes X.509 v1, and that passes. Nor does
//! it matter whether the CA is within its own dates.
//!
//! - [`check`]: the first fault, as the service answers; [`faults`]: all of them, for whoever is to repair them
//! - [`read_proof`]: the file that the certificate comes in, and what may be in it instead

mod file;

pub use file::{ProofFile, ProofFileFault, ProofForm, read_proof};

use crate::certificate::{Certificate, KeyKind, NameMatch, compare_names};
use crate::der::{self, oid};
use crate::signature::{self, Algorithms, Digest, SignatureFault};
use aws_lc_rs::digest;
use std::fmt;
use time::OffsetDateTime;

/// How far the signer's clock may be off, in seconds. `ours:` the service's tolerance is unknown.
pub const CLOCK_TOLERANCE: i64 = 300;

/// Why a verification certificate proves nothing. Its text is what the service says; [`PossessionFault::detail`] is
/// precise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PossessionFault {
    /// The CN is not the code, compared byte for byte.
    #[error("the verification code does not match: expected CN `{expected}`, found {found}")]
    CodeMismatch {
        /// The code that was generated.
        expected: String,
        /// What stands in its place.
        found: CodeFault,
    },
    /// The issuer name is not the CA's subject, or the signature is not its key's.
    #[error("the verification certificate was not signed by `{ca}`")]
    WrongSigner {
        /// Subject of the uploaded CA.
        ca: String,
        /// What tells.
        fault: SignerFault,
    },
    /// Outside its validity.
    #[error("the verification certificate is outside its validity")]
    OutsideValidity(ValidityFault),
    /// The CA's own certificate was sent.
    #[error("the CA certificate itself was sent in place of a verification certificate")]
    CaItself,
}

/// What stands where the code should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeFault {
    /// Another text: an older code, or a typo.
    Other(String),
    /// The code in other letters, capital for small.
    Case(String),
    /// The code with blanks, line ends or characters that cannot be seen.
    Blank {
        /// The CN.
        found: String,
        /// The first character that does not belong.
        character: char,
        /// Which character of the CN that is, from 1.
        position: usize,
    },
    /// No CN, or an empty one.
    Missing {
        /// Where the code stands instead, if anywhere.
        elsewhere: Option<&'static str>,
    },
    /// More CNs than one, equal or not.
    Several(Vec<String>),
    /// A CN whose string type or bytes cannot be decoded.
    Undecodable,
}

impl fmt::Display for CodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodeFault::Other(name) | CodeFault::Case(name) | CodeFault::Blank { found: name, .. } => {
                write!(f, "`{}`", name.escape_debug())
            }
            CodeFault::Missing { .. } => f.write_str("no CN"),
            CodeFault::Several(names) => write!(f, "{} CNs", names.len()),
            CodeFault::Undecodable => f.write_str("a CN that cannot be decoded"),
        }
    }
}

/// How it can be told that the CA did not sign. Key ids are hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerFault {
    /// Another CA signed: neither name nor signature is this one's.
    OtherCa {
        /// The issuer it names.
        named: String,
    },
    /// It is signed with its own key.
    SelfSigned,
    /// The CA's key signed, under another issuer name.
    IssuerName {
        /// The issuer it names.
        named: String,
        /// Whether that is its own subject, as `openssl req -x509` writes it.
        self_issued: bool,
    },
    /// The issuer name is right and another key signed, one of another generation of the CA for instance.
    OtherKey {
        /// The key id that the certificate names as its signer's, where it names one.
        named: Option<String>,
        /// The key id of the uploaded CA.
        held: String,
    },
    /// The issuer name and the key id are right and the signature is not: the bytes were changed.
    BadSignature {
        /// The key id of the uploaded CA.
        held: String,
    },
    /// The signature cannot be relied on, or not be checked, whoever made it.
    Algorithm {
        /// What is wrong with it.
        fault: SignatureFault,
        /// The digest that was signed.
        digest: Digest,
        /// The CA's kind of key.
        key: KeyKind,
    },
}

/// On which side of its validity the moment lies. Times are Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityFault {
    /// It begins later.
    NotYetValid {
        /// Its first second.
        not_before: i64,
        /// Seconds until then.
        early: i64,
    },
    /// It has ended.
    Expired {
        /// Its last second.
        not_after: i64,
        /// Seconds since then.
        late: i64,
    },
}

impl PossessionFault {
    /// The id of the fault, as in scenarios and in `explain`.
    pub fn id(&self) -> &'static str {
        match self {
            PossessionFault::CodeMismatch { found, .. } => match found {
                CodeFault::Case(_) => "pop-cn-case",
                CodeFault::Blank { .. } => "pop-cn-space",
                CodeFault::Missing { .. } => "pop-no-cn",
                CodeFault::Other(_) | CodeFault::Several(_) | CodeFault::Undecodable => "pop-wrong-cn",
            },
            PossessionFault::WrongSigner { fault, .. } => match fault {
                SignerFault::OtherCa { .. } | SignerFault::SelfSigned | SignerFault::BadSignature { .. } => {
                    "pop-wrong-key"
                }
                SignerFault::IssuerName { .. } => "pop-issuer-name",
                SignerFault::OtherKey { .. } => "pop-same-name-other-key",
                SignerFault::Algorithm { .. } => "pop-weak-sig",
            },
            PossessionFault::OutsideValidity(ValidityFault::NotYetValid { .. }) => "pop-not-yet-valid",
            PossessionFault::OutsideValidity(ValidityFault::Expired { .. }) => "pop-expired",
            PossessionFault::CaItself => "pop-ca-itself",
        }
    }

    /// What was looked for and what was found, precisely.
    pub fn detail(&self) -> String {
        match self {
            PossessionFault::CodeMismatch { expected, found } => code_detail(expected, found),
            PossessionFault::WrongSigner { ca, fault } => signer_detail(ca, fault),
            PossessionFault::OutsideValidity(ValidityFault::NotYetValid { not_before, early }) => {
                format!("it is valid only from {}, {} later", date(*not_before), span(*early))
            }
            PossessionFault::OutsideValidity(ValidityFault::Expired { not_after, late }) => {
                format!("it expired on {}, {} earlier", date(*not_after), span(*late))
            }
            PossessionFault::CaItself => "it is the CA certificate itself".to_owned(),
        }
    }

    /// What repairs it.
    pub fn advice(&self) -> &'static str {
        match self {
            PossessionFault::CodeMismatch { found, .. } => match found {
                CodeFault::Other(_) => {
                    "Make a certificate whose CN is the code of the latest generate call; an earlier code is dead."
                }
                CodeFault::Case(_) => "Keep the letters of the code as they are: capitals are compared.",
                CodeFault::Blank { .. } => {
                    "Copy the code without the blanks and line ends around it, and make the certificate again."
                }
                CodeFault::Missing { .. } => {
                    "Put the code into the CN (`-subj /CN=CODE`); nothing else is looked at."
                }
                CodeFault::Several(_) => "Make a certificate whose subject is the one CN, the code.",
                CodeFault::Undecodable => "Write the CN as UTF8String or PrintableString.",
            },
            PossessionFault::WrongSigner { fault, .. } => signer_advice(fault),
            PossessionFault::OutsideValidity(ValidityFault::NotYetValid { .. }) => {
                "Set the clock of the machine that signs, and make the certificate again."
            }
            PossessionFault::OutsideValidity(ValidityFault::Expired { .. }) => {
                "Make a new one for the same code, `-days 1` is enough."
            }
            PossessionFault::CaItself => {
                "Make a certificate for the code and sign it with the CA's key: `rollcall ca prove`."
            }
        }
    }
}

fn code_detail(expected: &str, found: &CodeFault) -> String {
    match found {
        CodeFault::Case(_) => {
            format!("its CN is {found}, the code `{expected}`: only the case of letters differs")
        }
        CodeFault::Blank { character, position, .. } => format!(
            "its CN is {found}, the code `{expected}`: character {position} is {}",
            character_name(*character)
        ),
        CodeFault::Missing { elsewhere: Some(place) } => {
            format!("it has no CN; the code `{expected}` stands in its {place}")
        }
        CodeFault::Missing { elsewhere: None } => format!("it has no CN; the code is `{expected}`"),
        CodeFault::Several(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
            format!("it has {found}, {}; one is expected, `{expected}`", names.join(" and "))
        }
        CodeFault::Other(_) | CodeFault::Undecodable => format!("its CN is {found}, the code `{expected}`"),
    }
}

fn character_name(character: char) -> String {
    match character {
        ' ' => "a blank".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' => "a line end (LF)".to_owned(),
        '\r' => "a line end (CR)".to_owned(),
        other => format!("U+{:04X}, which cannot be seen", u32::from(other)),
    }
}

fn signer_detail(ca: &str, fault: &SignerFault) -> String {
    match fault {
        SignerFault::OtherCa { named } => {
            format!("it names `{named}` as its issuer, not `{ca}`, and is not signed with the key of `{ca}`")
        }
        SignerFault::SelfSigned => format!("it is signed with its own key, not with that of `{ca}`"),
        SignerFault::IssuerName { named, .. } => {
            format!("it is signed with the key of `{ca}` and names `{named}` as its issuer")
        }
        SignerFault::OtherKey { named: Some(named), held } => {
            format!(
                "it names `{ca}` as its issuer and key {named} as that of its signer; the CA given has key {held}"
            )
        }
        SignerFault::OtherKey { named: None, held } => {
            format!("it names `{ca}` as its issuer and is not signed with key {held}, that of the CA given")
        }
        SignerFault::BadSignature { held } => {
            format!(
                "it names `{ca}` and its key {held} as its signer, and the signature is not over its content"
            )
        }
        SignerFault::Algorithm { fault, digest, key } => match fault {
            SignatureFault::WeakAlgorithm => {
                format!("it is signed with {digest}, which proves nothing any more")
            }
            SignatureFault::WeakKey => format!("the key of `{ca}` is {key}; RSA keys need 2048 bits"),
            SignatureFault::Mismatch => {
                "the signature algorithms inside and outside its signed part differ".to_owned()
            }
            SignatureFault::Wrong | SignatureFault::Unsupported => {
                format!("the key of `{ca}`, {key}, or the kind of signature is one that is not supported")
            }
        },
    }
}

fn signer_advice(fault: &SignerFault) -> &'static str {
    match fault {
        SignerFault::OtherCa { .. } => {
            "Sign with the private key of the uploaded CA itself, neither of one above nor of one below it; the vendor's sample script always signs with the root."
        }
        SignerFault::SelfSigned => {
            "Make a request (CSR) for the code and sign that with the CA: `openssl x509 -req -CA CA.pem -CAkey CA.key`."
        }
        SignerFault::IssuerName { self_issued: true, .. } => {
            "Make a request (CSR) with a key of its own and sign that with the CA; `openssl req -x509` makes a certificate its own issuer."
        }
        SignerFault::IssuerName { self_issued: false, .. } => {
            "Sign with the CA certificate that was uploaded, so that its subject becomes the issuer."
        }
        SignerFault::OtherKey { .. } => {
            "Two CAs have this name. Compare the key ids, and sign with the key of the one that was uploaded, or upload the other."
        }
        SignerFault::BadSignature { .. } => {
            "Take the certificate again from where it was signed: it was changed since."
        }
        SignerFault::Algorithm { fault, .. } => match fault {
            SignatureFault::WeakAlgorithm => "Sign it with SHA-256: `-sha256`.",
            SignatureFault::WeakKey => "Take a CA with an RSA key of 2048 bits or more, or one on P-256.",
            SignatureFault::Mismatch => "Sign it again; the two are written by whoever signs.",
            SignatureFault::Wrong | SignatureFault::Unsupported => {
                "Sign with RSA or ECDSA on P-256 or P-384, and SHA-256 or SHA-384."
            }
        },
    }
}

/// Checks a verification certificate against the code and the uploaded CA, as of `now` in Unix seconds.
///
/// # Errors
/// The first fault, in the order in which the service looks.
pub fn check(code: &str, proof: &Certificate, ca: &Certificate, now: i64) -> Result<(), PossessionFault> {
    faults(code, proof, ca, now).into_iter().next().map_or(Ok(()), Err)
}

/// Everything that is wrong with a verification certificate, in the order in which the service looks; nothing where
/// it proves possession.
pub fn faults(code: &str, proof: &Certificate, ca: &Certificate, now: i64) -> Vec<PossessionFault> {
    // Whatever else could be said about the CA's own certificate leads away from the mistake.
    if proof == ca {
        return vec![PossessionFault::CaItself];
    }
    let codes = code_faults(code, proof).into_iter();
    let codes = codes.map(|found| PossessionFault::CodeMismatch { expected: code.to_owned(), found });
    let signers = signer_faults(proof, ca).into_iter();
    let signers = signers.map(|fault| PossessionFault::WrongSigner { ca: ca.subject(), fault });
    let dates = validity_faults(proof, now).into_iter().map(PossessionFault::OutsideValidity);
    codes.chain(signers).chain(dates).collect()
}

/// Dotted OID of the CN.
const COMMON_NAME: &str = "2.5.4.3";

fn code_faults(code: &str, proof: &Certificate) -> Vec<CodeFault> {
    let attributes = proof.subject_attributes();
    let names: Vec<Option<&str>> =
        attributes.iter().filter(|a| a.oid == COMMON_NAME).map(|a| a.text.as_deref()).collect();
    match names.as_slice() {
        [] | [Some("")] => vec![CodeFault::Missing { elsewhere: elsewhere(code, proof) }],
        [Some(name)] => one_code_faults(code, name),
        [None] => vec![CodeFault::Undecodable],
        several => {
            vec![CodeFault::Several(several.iter().map(|name| name.unwrap_or("?").to_owned()).collect())]
        }
    }
}

fn one_code_faults(code: &str, name: &str) -> Vec<CodeFault> {
    let seen: String = name.chars().filter(|c| !is_blank(*c)).collect();
    if name == code {
        return Vec::new();
    }
    if !seen.eq_ignore_ascii_case(code) {
        return vec![CodeFault::Other(name.to_owned())];
    }
    let blank = name.chars().zip(1..).find(|(c, _)| is_blank(*c));
    let blank =
        blank.map(|(character, position)| CodeFault::Blank { found: name.to_owned(), character, position });
    let case = (seen != code).then(|| CodeFault::Case(name.to_owned()));
    blank.into_iter().chain(case).collect()
}

/// Whether a character takes part in a text unseen: white space, controls, and marks of editors and of the web.
fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn elsewhere(code: &str, proof: &Certificate) -> Option<&'static str> {
    let in_subject = proof.subject_attributes().into_iter().find(|a| a.text.as_deref() == Some(code));
    let place = in_subject.map(|a| match a.oid.as_str() {
        "2.5.4.5" => "serialNumber",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        _ => "subject",
    });
    let names = proof.alternative_names();
    let in_names = names.dns.iter().chain(&names.email).any(|name| name.eq_ignore_ascii_case(code));
    place.or(in_names.then_some("subjectAltName"))
}

fn signer_faults(proof: &Certificate, ca: &Certificate) -> Vec<SignerFault> {
    let named = compare_names(proof.issuer_der(), ca.subject_der()) != NameMatch::Different;
    let other_ca = || SignerFault::OtherCa { named: proof.issuer() };
    match (named, signature_fault(proof, ca)) {
        (true, None) => Vec::new(),
        (true, Some(SignatureFault::Wrong)) => vec![other_key(proof, ca)],
        (false, None) => {
            vec![SignerFault::IssuerName { named: proof.issuer(), self_issued: proof.is_self_issued() }]
        }
        (false, Some(SignatureFault::Wrong)) => {
            let own = proof.is_self_issued() && proof.verify_signed_by(proof).is_ok();
            vec![if own { SignerFault::SelfSigned } else { other_ca() }]
        }
        (named, Some(fault)) => {
            let digest = signature::digest(proof.signature_algorithm());
            let algorithm = SignerFault::Algorithm { fault, digest, key: ca.key_kind() };
            (!named).then(other_ca).into_iter().chain([algorithm]).collect()
        }
    }
}

fn signature_fault(proof: &Certificate, ca: &Certificate) -> Option<SignatureFault> {
    let fault = proof.verify_signed_by(ca).err()?;
    // What another kind of key has signed is not this one's, even if there is nothing to check it with.
    let foreign = fault == SignatureFault::Unsupported
        && Algorithms::DEFAULT.key(ca.key_kind()).is_ok()
        && !may_sign(ca.key_kind(), proof.signature_algorithm());
    Some(if foreign { SignatureFault::Wrong } else { fault })
}

/// Whether a key of this kind can make signatures of this algorithm (AlgorithmIdentifier, DER contents).
fn may_sign(key: KeyKind, signature_algorithm: &[u8]) -> bool {
    /// pkcs-1 (RFC 8017 appendix C)
    const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    /// id-ecSigType (RFC 5758)
    const EC_SIGNATURES: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    let id = der::split(signature_algorithm).map(|id| id.content).unwrap_or_default();
    match key {
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::P224 | KeyKind::K256 => {
            id.starts_with(EC_SIGNATURES)
        }
        KeyKind::Rsa(..) | KeyKind::RsaPss(_) => id.starts_with(PKCS1),
        KeyKind::Ed25519 => id == oid::ED25519,
        KeyKind::Other => true,
    }
}

fn other_key(proof: &Certificate, ca: &Certificate) -> SignerFault {
    let held = key_id(ca);
    match proof.authority_key_id() {
        Some(named) if named == held.as_slice() => SignerFault::BadSignature { held: hex(&held) },
        named => SignerFault::OtherKey { named: named.map(hex), held: hex(&held) },
    }
}

/// The key id of a certificate: the one it names, or else that of RFC 5280 section 4.2.1.2, method 1.
fn key_id(certificate: &Certificate) -> Vec<u8> {
    certificate.subject_key_id().map_or_else(
        || digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.public_key()).as_ref().to_vec(),
        <[u8]>::to_vec,
    )
}

/// As OpenSSL prints key ids.
fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|b| format!("{b:02X}")).collect();
    digits.join(":")
}

fn validity_faults(proof: &Certificate, now: i64) -> Vec<ValidityFault> {
    let (not_before, not_after) = (proof.not_before(), proof.not_after());
    let (early, late) = (not_before.saturating_sub(now), now.saturating_sub(not_after));
    let not_yet = (early > CLOCK_TOLERANCE).then_some(ValidityFault::NotYetValid { not_before, early });
    let expired = (late > CLOCK_TOLERANCE).then_some(ValidityFault::Expired { not_after, late });
    not_yet.into_iter().chain(expired).collect()
}

fn date(seconds: i64) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(seconds);
    moment.map_or_else(|_| "a date out of range".to_owned(), sim_protocol::timestamp::rfc1123)
}

/// A number of seconds in its largest unit, rounded down.
fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hierarchy, HierarchyPlan, Issuer, KeyAlgorithm, PrivateKey, Seed};
    use time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
    const CODE: &str = "7D07A6A51F8AF1469499A1D92074D629894BE9FA8A013E49";

    fn authority_with(seed: u64, key: KeyAlgorithm) -> Issuer {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 0, key };
        let made = Hierarchy::mint(&plan, &Seed::from_number(seed), NOW).expect("a root");
        Issuer::clone(made.root())
    }

    fn authority(seed: u64) -> Issuer {
        authority_with(seed, KeyAlgorithm::P256)
    }

    fn proof(ca: &Issuer, code: &str, at: OffsetDateTime) -> Certificate {
        let der = ca.verification_certificate(code, &Seed::from_number(5), at).expect("signs");
        Certificate::from_der(der).expect("reads back")
    }

    fn impostor(ca: &Issuer) -> Issuer {
        ca.impostor(PrivateKey::derive(&Seed::from_number(2), "k", 0, KeyAlgorithm::P256).expect("derives"))
    }

    /// A certificate of these parts, signed with the CA's key.
    fn built(ca: &Issuer, issuer: &[u8], subject: &[u8]) -> Certificate {
        let signer = ca.signer();
        let algorithm = signer.signature_algorithm();
        let validity =
            der::tlv(der::SEQUENCE, &[&der::time(NOW - Duration::HOUR), &der::time(NOW + Duration::DAY)]);
        let parts = [&der::unsigned(&[7]), &algorithm, issuer, &validity, subject, &signer.public_key_info()];
        let tbs = der::tlv(der::SEQUENCE, &parts);
        let signature = der::bit_string(&signer.sign(&tbs).expect("signs"));
        Certificate::from_der(der::tlv(der::SEQUENCE, &[&tbs, &algorithm, &signature])).expect("reads back")
    }

    fn ids(ca: &Issuer, proof: &Certificate) -> Vec<&'static str> {
        let found = faults(CODE, proof, ca.certificate(), NOW.unix_timestamp());
        assert_eq!(check(CODE, proof, ca.certificate(), NOW.unix_timestamp()).err().as_ref(), found.first());
        found.iter().map(PossessionFault::id).collect()
    }

    #[test]
    fn possession_is_proven_by_the_code_the_key_and_the_dates_together() {
        let ca = authority(1);
        let days = Duration::days(3);
        for (made, expected) in [
            (proof(&ca, CODE, NOW), &[][..]),
            (proof(&authority(3), CODE, NOW), &["pop-wrong-key"]),
            (proof(&authority_with(3, KeyAlgorithm::P384), CODE, NOW), &["pop-wrong-key"]),
            (proof(&impostor(&ca), CODE, NOW), &["pop-same-name-other-key"]),
            (proof(&ca, CODE, NOW - days), &["pop-expired"]),
            (proof(&ca, CODE, NOW + days), &["pop-not-yet-valid"]),
            (Certificate::clone(ca.certificate()), &["pop-ca-itself"]),
            (proof(&authority(3), "0", NOW - days), &["pop-wrong-cn", "pop-wrong-key", "pop-expired"]),
        ] {
            assert_eq!(ids(&ca, &made), expected, "{made:?}");
        }
    }

    #[test]
    fn what_stands_where_the_code_should_is_told_apart() {
        let (ca, small) = (authority(1), CODE.to_lowercase());
        let name = |text: &str| text.to_owned();
        let blank = |found: String, character, position| CodeFault::Blank { found, character, position };
        for (cn, expected) in [
            (name(""), vec![CodeFault::Missing { elsewhere: None }]),
            ("0".repeat(48), vec![CodeFault::Other("0".repeat(48))]),
            (small.clone(), vec![CodeFault::Case(small.clone())]),
            (format!("{CODE} "), vec![blank(format!("{CODE} "), ' ', 49)]),
            (format!("{CODE}\n"), vec![blank(format!("{CODE}\n"), '\n', 49)]),
            (format!("\u{feff}{CODE}"), vec![blank(format!("\u{feff}{CODE}"), '\u{feff}', 1)]),
            (format!("7D {}", &CODE[2..]), vec![blank(format!("7D {}", &CODE[2..]), ' ', 3)]),
            (
                format!("{small}\r"),
                vec![blank(format!("{small}\r"), '\r', 49), CodeFault::Case(format!("{small}\r"))],
            ),
        ] {
            assert_eq!(code_faults(CODE, &proof(&ca, &cn, NOW)), expected, "{cn:?}");
        }
    }

    #[test]
    fn a_subject_without_the_one_cn_is_told_apart() {
        let ca = authority(1);
        let issuer = ca.certificate().subject_der();
        let code = CODE.as_bytes();
        /// organizationalUnitName
        const UNIT: &[u8] = &[0x55, 0x04, 0x0b];
        let utf8 = der::UTF8_STRING;
        let several = |second: &str| CodeFault::Several(vec![CODE.to_owned(), second.to_owned()]);
        let cn = oid::COMMON_NAME;
        for (subject, expected) in [
            (der::name(&[(UNIT, utf8, code)]), CodeFault::Missing { elsewhere: Some("OU") }),
            (der::name(&[(UNIT, utf8, b"x")]), CodeFault::Missing { elsewhere: None }),
            (der::name(&[(cn, utf8, code), (cn, utf8, b"x")]), several("x")),
            (der::name(&[(cn, utf8, code), (cn, utf8, code)]), several(CODE)),
            // BMPString with an odd number of bytes.
            (der::name(&[(cn, 0x1e, b"abc")]), CodeFault::Undecodable),
        ] {
            assert_eq!(code_faults(CODE, &built(&ca, issuer, &subject)), [expected]);
        }
    }

    #[test]
    fn who_signed_instead_is_told_apart() {
        let ca = authority(1);
        let subject = der::common_name(CODE);
        let fault = |proof: &Certificate| signer_faults(proof, ca.certificate());
        let other = authority(3);
        let named = other.certificate().subject();
        assert_eq!(fault(&proof(&other, CODE, NOW)), [SignerFault::OtherCa { named: named.clone() }]);
        let own = built(&ca, &subject, &subject);
        let named_itself = SignerFault::IssuerName { named: own.subject(), self_issued: true };
        assert_eq!(fault(&own), [named_itself]);
        let elsewhere = built(&ca, other.certificate().subject_der(), &subject);
        assert_eq!(fault(&elsewhere), [SignerFault::IssuerName { named, self_issued: false }]);
        assert_eq!(fault(&built(&other, &subject, &subject)), [SignerFault::SelfSigned]);
        let held = hex(&key_id(ca.certificate()));
        assert_eq!(fault(&proof(&impostor(&ca), CODE, NOW)), [SignerFault::OtherKey { named: None, held }]);
    }

    #[test]
    fn key_ids_tell_another_generation_from_a_signature_that_was_damaged() {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 1, key: KeyAlgorithm::P256 };
        let made = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("authorities");
        let (root, below) = (made.root().certificate(), made.issuing().certificate());
        assert_eq!(signer_faults(below, root), []);
        let mut damaged = below.der().to_vec();
        *damaged.last_mut().expect("bytes") ^= 1;
        let damaged = Certificate::from_der(damaged).expect("reads");
        let held = hex(&key_id(root));
        assert_eq!(signer_faults(&damaged, root), [SignerFault::BadSignature { held: held.clone() }]);
        // The next generation of the root: its name, and a key and key id of its own.
        let next = authority(2);
        let next = built(&next, next.certificate().subject_der(), root.subject_der());
        let named = Some(held);
        let fault = SignerFault::OtherKey { named, held: hex(&key_id(&next)) };
        assert_eq!(signer_faults(below, &next), [fault]);
    }

    #[test]
    fn one_second_beyond_the_tolerance_is_outside() {
        let made = proof(&authority(1), CODE, NOW);
        let (first, last) = (made.not_before(), made.not_after());
        let at = |now: i64| validity_faults(&made, now);
        assert_eq!((at(first - CLOCK_TOLERANCE), at(last + CLOCK_TOLERANCE)), (vec![], vec![]));
        let beyond = CLOCK_TOLERANCE + 1;
        assert_eq!(at(first - beyond), [ValidityFault::NotYetValid { not_before: first, early: beyond }]);
        assert_eq!(at(last + beyond), [ValidityFault::Expired { not_after: last, late: beyond }]);
        assert_eq!(at(i64::MAX).len() + at(i64::MIN).len(), 2);
    }

    #[test]
    fn the_verification_certificate_is_plain_version_one() {
        let made = proof(&authority(1), CODE, NOW);
        assert_eq!((made.version(), made.basic_constraints()), (1, None));
    }
}
