//! Certificate signatures, through the crypto provider's list of algorithms.
//!
//! Accepted by default: RSA of 2048 to 8192 bits with SHA-256/384/512 (PKCS#1 v1.5 or PSS), ECDSA on P-256, P-384
//! and P-521, Ed25519. Whether the service takes SHA-1 or RSA-1024 is unknown: [`Algorithms`] can say that it does.
//! MD5 is never accepted.

use crate::certificate::KeyKind;
use crate::der::{self, oid};
use aws_lc_rs::signature::{self as provider, UnparsedPublicKey};
use rustls_pki_types::SignatureVerificationAlgorithm;
use std::fmt;

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureFault {
    /// The bytes are not this key's signature.
    Wrong,
    /// The algorithm named inside the signed part is another one (RFC 5280 section 4.1.1.2).
    Mismatch,
    /// SHA-1 or MD5.
    WeakAlgorithm,
    /// An RSA key below 2048 bits.
    WeakKey,
    /// A kind of key, or of signature with it, that nothing here can check.
    Unsupported,
}

/// Which algorithms are accepted, where that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Algorithms {
    /// Signatures with SHA-1 by RSA keys. ECDSA with SHA-1 has no verifier here.
    pub sha1: bool,
    /// RSA keys of 1024 to 2047 bits.
    pub rsa1024: bool,
    /// ECDSA on P-521.
    pub p521: bool,
    /// Ed25519.
    pub ed25519: bool,
}

impl Algorithms {
    /// What is taken for the behaviour of the service. `ours:` no report settles it.
    pub const DEFAULT: Algorithms = Algorithms { sha1: false, rsa1024: false, p521: true, ed25519: true };
}

impl Default for Algorithms {
    fn default() -> Self {
        Algorithms::DEFAULT
    }
}

impl Algorithms {
    /// Whether a key of this kind may take part at all, as a device's or a CA's.
    pub fn key(&self, kind: KeyKind) -> Result<(), SignatureFault> {
        match kind {
            KeyKind::P256 | KeyKind::P384 => Ok(()),
            KeyKind::P521 if self.p521 => Ok(()),
            KeyKind::Ed25519 if self.ed25519 => Ok(()),
            KeyKind::Rsa(bits, _) | KeyKind::RsaPss(bits) => match bits {
                2048..=8192 => Ok(()),
                1024..2048 if self.rsa1024 => Ok(()),
                0..2048 => Err(SignatureFault::WeakKey),
                _ => Err(SignatureFault::Unsupported),
            },
            KeyKind::P521 | KeyKind::Ed25519 | KeyKind::P224 | KeyKind::K256 | KeyKind::Other => {
                Err(SignatureFault::Unsupported)
            }
        }
    }
}

/// The digest of a signature algorithm, as far as it tells weak ones from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// MD5 or older.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// None of its own (EdDSA), or one that is named in parameters or not known here.
    Other,
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Digest::Md5 => "MD5",
            Digest::Sha1 => "SHA-1",
            Digest::Sha256 => "SHA-256",
            Digest::Sha384 => "SHA-384",
            Digest::Sha512 => "SHA-512",
            Digest::Other => "another digest",
        })
    }
}

impl Digest {
    /// Whether it no longer protects anything.
    pub const fn is_weak(self) -> bool {
        matches!(self, Digest::Md5 | Digest::Sha1)
    }
}

/// The digest of a signature's AlgorithmIdentifier, DER contents without the SEQUENCE header (RFC 8017 appendix
/// A.2.4, RFC 5758 section 3.2). That of RSASSA-PSS is read from its parameters; the default is SHA-1 (RFC 4055).
pub fn digest(signature_algorithm: &[u8]) -> Digest {
    let Some(id) = der::split(signature_algorithm) else { return Digest::Other };
    match id.content {
        oid::MD2_WITH_RSA | oid::MD4_WITH_RSA | oid::MD5_WITH_RSA => Digest::Md5,
        oid::SHA1_WITH_RSA | oid::ECDSA_WITH_SHA1 | oid::SHA1_WITH_RSA_OIW => Digest::Sha1,
        oid::SHA256_WITH_RSA | oid::ECDSA_WITH_SHA256 => Digest::Sha256,
        oid::SHA384_WITH_RSA | oid::ECDSA_WITH_SHA384 => Digest::Sha384,
        oid::SHA512_WITH_RSA | oid::ECDSA_WITH_SHA512 => Digest::Sha512,
        oid::RSASSA_PSS => pss_digest(id.rest),
        _ => Digest::Other,
    }
}

/// hashAlgorithm [0] of RSASSA-PSS-params.
fn pss_digest(parameters: &[u8]) -> Digest {
    let hash = der::split(parameters)
        .and_then(|sequence| der::split(sequence.content))
        .filter(|first| first.whole.first() == Some(&0xa0))
        .and_then(|tagged| der::split(tagged.content))
        .and_then(|algorithm| der::split(algorithm.content));
    match hash.map(|id| id.content) {
        None | Some(oid::SHA1) => Digest::Sha1,
        Some(oid::SHA256) => Digest::Sha256,
        Some(oid::SHA384) => Digest::Sha384,
        Some(oid::SHA512) => Digest::Sha512,
        Some(_) => Digest::Other,
    }
}

/// What kind of key an AlgorithmIdentifier (DER contents) and a subjectPublicKey make.
pub(crate) fn key_kind(algorithm: &[u8], public_key: &[u8]) -> KeyKind {
    let Some(id) = der::split(algorithm) else { return KeyKind::Other };
    let curve = der::split(id.rest).map(|c| c.content);
    match (id.content, curve) {
        (oid::EC_PUBLIC_KEY, Some(oid::P256)) => KeyKind::P256,
        (oid::EC_PUBLIC_KEY, Some(oid::P384)) => KeyKind::P384,
        (oid::EC_PUBLIC_KEY, Some(oid::P521)) => KeyKind::P521,
        (oid::EC_PUBLIC_KEY, Some(oid::P224)) => KeyKind::P224,
        (oid::EC_PUBLIC_KEY, Some(oid::K256)) => KeyKind::K256,
        (oid::ED25519, _) => KeyKind::Ed25519,
        (oid::RSA_ENCRYPTION, _) => {
            rsa_key(public_key).map_or(KeyKind::Other, |(bits, usual)| KeyKind::Rsa(bits, usual))
        }
        (oid::RSASSA_PSS, _) => rsa_key(public_key).map_or(KeyKind::Other, |(bits, _)| KeyKind::RsaPss(bits)),
        _ => KeyKind::Other,
    }
}

/// Bits of the modulus of an RSAPublicKey, and whether the exponent is 65537 (RFC 8017 appendix A.1.1).
fn rsa_key(public_key: &[u8]) -> Option<(usize, bool)> {
    let modulus = der::split(der::split(public_key)?.content)?;
    let exponent = der::split(modulus.rest)?;
    let digits = modulus.content;
    let start = digits.iter().position(|&b| b != 0)?;
    let bits = (digits.len() - start) * 8 - digits[start].leading_zeros() as usize;
    Some((bits, exponent.content == [1, 0, 1]))
}

/// Whether a key may make signatures of this algorithm, by the algorithms that are accepted. Cheap: nothing is
/// computed. Algorithm identifiers are DER contents without their SEQUENCE header.
pub fn admits(
    signature_algorithm: &[u8],
    key_algorithm: &[u8],
    public_key: &[u8],
    accepted: Algorithms,
) -> Result<(), SignatureFault> {
    let digest = digest(signature_algorithm);
    if digest == Digest::Md5 || (digest == Digest::Sha1 && !accepted.sha1) {
        return Err(SignatureFault::WeakAlgorithm);
    }
    accepted.key(key_kind(key_algorithm, public_key))
}

/// Checks `signature` over `message`, of whatever algorithm that [`admits`] could let through; identifiers as there.
pub fn verify(
    signature_algorithm: &[u8],
    key_algorithm: &[u8],
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let kind = key_kind(key_algorithm, public_key);
    if digest(signature_algorithm) == Digest::Sha1 || matches!(kind, KeyKind::Rsa(..2048, _)) {
        return verify_weak(signature_algorithm, public_key, message, signature);
    }
    // A key that is for PSS alone is written under another identifier and is the same key (RFC 4055 section 1.2).
    let key_id = if matches!(kind, KeyKind::RsaPss(_)) { RSA_ENCRYPTION } else { key_algorithm };
    let fits = |a: &&&'static dyn SignatureVerificationAlgorithm| {
        a.signature_alg_id().as_ref() == signature_algorithm && a.public_key_alg_id().as_ref() == key_id
    };
    let Some(algorithm) = webpki::ALL_VERIFICATION_ALGS.iter().find(fits) else {
        // A key of another kind did not make the signature; of its own kind, it may have.
        let same = makes(kind, signature_algorithm);
        return Err(if same { SignatureFault::Unsupported } else { SignatureFault::Wrong });
    };
    algorithm.verify_signature(public_key, message, signature).map_err(|_| SignatureFault::Wrong)
}

/// Whether a key of this kind makes signatures of this algorithm, whatever digest goes with it.
fn makes(kind: KeyKind, signature_algorithm: &[u8]) -> bool {
    let Some(id) = der::split(signature_algorithm) else { return true };
    let ecdsa = id.content.starts_with(oid::ECDSA_SIGNATURES);
    let rsa = id.content.starts_with(oid::PKCS1) || id.content == oid::SHA1_WITH_RSA_OIW;
    match kind {
        KeyKind::P256 | KeyKind::P384 | KeyKind::P521 | KeyKind::P224 | KeyKind::K256 => ecdsa,
        KeyKind::Rsa(..) | KeyKind::RsaPss(_) => rsa,
        KeyKind::Ed25519 => id.content == oid::ED25519,
        KeyKind::Other => true,
    }
}

/// The algorithms that only a knob admits, through the provider's own list of such.
fn verify_weak(
    signature_algorithm: &[u8],
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let id = der::split(signature_algorithm).ok_or(SignatureFault::Unsupported)?;
    let algorithm = match id.content {
        oid::SHA1_WITH_RSA => &provider::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        oid::SHA256_WITH_RSA => &provider::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        oid::SHA512_WITH_RSA => &provider::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        _ => return Err(SignatureFault::Unsupported),
    };
    UnparsedPublicKey::new(algorithm, public_key)
        .verify(message, signature)
        .map_err(|_| SignatureFault::Wrong)
}

/// rsaEncryption with its NULL, DER contents (RFC 8017 appendix A.1).
pub(crate) const RSA_ENCRYPTION: &[u8] =
    &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
