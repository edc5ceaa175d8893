//! Private keys: derived from a seed or read from a user's file, and what they sign.
//!
//! The signatures are aws-lc-rs's; the derivation is ours. RSA pairs are derived by the `rsa` crate's key
//! generation from a seeded stream, because only that makes them repeatable, and are used through aws-lc-rs.

use crate::der::{self, oid};
use crate::seed::Seed;
use crate::signature::RSA_ENCRYPTION;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The key types an authority or device can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyAlgorithm {
    /// ECDSA on P-256, the default of minted fleets.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// RSA, 4096 bits.
    Rsa4096,
    /// A type of key that nothing here signs with: it can be certified and written to a file. Not to be chosen.
    Other,
}

impl KeyAlgorithm {
    /// All that can be chosen, in the order in which help texts list them.
    pub const ALL: [KeyAlgorithm; 7] =
        [Self::P256, Self::P384, Self::P521, Self::Ed25519, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// The spelling in flags, scenarios and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p256",
            Self::P384 => "p384",
            Self::P521 => "p521",
            Self::Ed25519 => "ed25519",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
            Self::Other => "other",
        }
    }

    /// Size of the modulus in bits, for RSA.
    pub const fn rsa_bits(self) -> Option<usize> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            _ => None,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no key type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown key type `{0}`; use p256, p384, p521, ed25519, rsa2048, rsa3072 or rsa4096")]
pub struct UnknownKeyAlgorithm(String);

impl FromStr for KeyAlgorithm {
    type Err = UnknownKeyAlgorithm;
    fn from_str(text: &str) -> Result<Self, UnknownKeyAlgorithm> {
        let found = Self::ALL.into_iter().find(|a| a.as_str() == text);
        found.ok_or_else(|| UnknownKeyAlgorithm(text.to_owned()))
    }
}

/// Why a key cannot be read or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Not a key of a form and type that can be used here.
    #[error(
        "not a usable {0} private key: P-256, P-384, P-521, Ed25519 and RSA of 2048, 3072 or 4096 bits are \
         supported"
    )]
    Unusable(&'static str),
    /// The provider could not sign or encode.
    #[error("the cryptographic provider refused to {0}")]
    Provider(&'static str),
    /// The token that holds the key did not sign.
    #[error("the token that holds the key did not sign: {0}")]
    Token(String),
}

enum Half {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    /// No key that the provider signs with.
    Foreign(Foreign),
}

/// A key that is certified and written to a file, and that nothing here signs with.
struct Foreign {
    public: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    info: Vec<u8>,
    /// PKCS#8, DER.
    private: Vec<u8>,
}

/// Whatever signs for an authority: a key in memory, or one that a token holds and never gives away.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The content of the subjectPublicKey BIT STRING (RFC 5280 section 4.1.2.7).
    fn public_key(&self) -> Vec<u8>;

    /// SubjectPublicKeyInfo, DER.
    fn public_key_info(&self) -> Vec<u8>;

    /// AlgorithmIdentifier of the signatures it makes in certificates, DER.
    fn signature_algorithm(&self) -> Vec<u8>;

    /// Signs for a certificate, in the form that certificates carry.
    ///
    /// # Errors
    /// When whatever holds the key refuses.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault>;
}

impl Signer for PrivateKey {
    fn public_key(&self) -> Vec<u8> {
        self.public.clone()
    }

    fn public_key_info(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    fn signature_algorithm(&self) -> Vec<u8> {
        PrivateKey::signature_algorithm(self).to_vec()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        PrivateKey::sign(self, message)
    }
}

/// A private key with its public half at hand. Prints as its type only.
pub struct PrivateKey {
    algorithm: KeyAlgorithm,
    public: Vec<u8>,
    signer: Half,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm)
    }
}

/// The curves of the key types that can be chosen: the provider's name, the curve's OID and its size in bits.
const CURVES: [(KeyAlgorithm, &EcdsaSigningAlgorithm, &[u8], usize); 3] = [
    (KeyAlgorithm::P256, &ECDSA_P256_SHA256_ASN1_SIGNING, oid::P256, 256),
    (KeyAlgorithm::P384, &ECDSA_P384_SHA384_ASN1_SIGNING, oid::P384, 384),
    (KeyAlgorithm::P521, &ECDSA_P521_SHA512_ASN1_SIGNING, oid::P521, 521),
];

impl PrivateKey {
    /// The key that belongs to this seed, label and index.
    ///
    /// # Errors
    /// When the provider refuses, or the type is [`KeyAlgorithm::Other`].
    pub fn derive(seed: &Seed, label: &str, index: u64, algorithm: KeyAlgorithm) -> Result<Self, KeyFault> {
        match algorithm {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => {
                Self::derive_ec(seed, label, index, algorithm)
            }
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::from_seed_unchecked(&seed.draw(label, index, 0))
                .map(|pair| Self::new(KeyAlgorithm::Ed25519, Half::Ed25519(pair)))
                .map_err(|_| KeyFault::Provider("derive an Ed25519 key")),
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                Self::derive_rsa(seed.draw(label, index, 0), algorithm)
            }
            KeyAlgorithm::Other => Err(KeyFault::Provider("derive a key of no particular type")),
        }
    }

    /// A key that nothing here signs with, from its public half, its SubjectPublicKeyInfo and its PKCS#8 form.
    pub(crate) fn foreign(public: Vec<u8>, info: Vec<u8>, private: Vec<u8>) -> Self {
        Self::new(KeyAlgorithm::Other, Half::Foreign(Foreign { public, info, private }))
    }

    /// The key of an authority: derived from the seed, but for RSA, where deriving takes 0.5 s (2048 bits) to 15 s
    /// (4096 bits) and nothing needs an authority's key to repeat; those are fresh from the provider.
    pub fn authority(seed: &Seed, label: &str, algorithm: KeyAlgorithm) -> Result<Self, KeyFault> {
        match algorithm.rsa_bits() {
            Some(_) => Self::fresh_rsa(algorithm),
            None => Self::derive(seed, label, 0, algorithm),
        }
    }

    /// An RSA key from the provider's own randomness.
    pub(crate) fn fresh_rsa(algorithm: KeyAlgorithm) -> Result<Self, KeyFault> {
        let size = match algorithm {
            KeyAlgorithm::Rsa2048 => KeySize::Rsa2048,
            KeyAlgorithm::Rsa3072 => KeySize::Rsa3072,
            KeyAlgorithm::Rsa4096 => KeySize::Rsa4096,
            _ => return Err(KeyFault::Provider("generate an RSA key of another type")),
        };
        RsaKeyPair::generate(size)
            .map(|pair| Self::new(algorithm, Half::Rsa(pair)))
            .map_err(|_| KeyFault::Provider("generate an RSA key"))
    }

    fn derive_ec(seed: &Seed, label: &str, index: u64, algorithm: KeyAlgorithm) -> Result<Self, KeyFault> {
        let known = CURVES.into_iter().find(|(name, ..)| *name == algorithm);
        let (_, provider, curve, bits) = known.ok_or(KeyFault::Provider("derive an ECDSA key"))?;
        from_scalar(seed, label, index, bits, |scalar| {
            let pair = EcdsaKeyPair::from_private_key_der(provider, &sec1(scalar, curve)).ok()?;
            Some(Self::new(algorithm, Half::Ecdsa(pair)))
        })
    }

    fn derive_rsa(seed: [u8; 32], algorithm: KeyAlgorithm) -> Result<Self, KeyFault> {
        let bits = algorithm.rsa_bits().ok_or(KeyFault::Provider("derive an RSA key"))?;
        let mut stream = ChaCha20Rng::from_seed(seed);
        let made = rsa::RsaPrivateKey::new(&mut stream, bits).ok().and_then(|k| k.to_pkcs1_der().ok());
        let made = made.ok_or(KeyFault::Provider("derive an RSA key"))?;
        RsaKeyPair::from_der(made.as_bytes())
            .map(|pair| Self::new(algorithm, Half::Rsa(pair)))
            .map_err(|_| KeyFault::Provider("use a derived RSA key"))
    }

    fn new(algorithm: KeyAlgorithm, signer: Half) -> Self {
        let public = match &signer {
            Half::Ecdsa(pair) => pair.public_key().as_ref().to_vec(),
            Half::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Half::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Half::Foreign(key) => key.public.clone(),
        };
        PrivateKey { algorithm, public, signer }
    }

    /// Reads PKCS#8 (RFC 5958), unencrypted.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyFault> {
        if let Some(key) = Self::from_curve(|curve| EcdsaKeyPair::from_pkcs8(curve, der).ok()) {
            return Ok(key);
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::new(KeyAlgorithm::Ed25519, Half::Ed25519(pair)));
        }
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyFault::Unusable("PKCS#8"))?;
        Self::from_rsa(pair, "PKCS#8")
    }

    /// Reads SEC1 (RFC 5915).
    pub fn from_sec1(der: &[u8]) -> Result<Self, KeyFault> {
        Self::from_curve(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok())
            .ok_or(KeyFault::Unusable("SEC1"))
    }

    /// The key of the first curve that `read` makes one of.
    fn from_curve(read: impl Fn(&'static EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>) -> Option<Self> {
        CURVES
            .into_iter()
            .find_map(|(name, provider, ..)| read(provider).map(|pair| Self::new(name, Half::Ecdsa(pair))))
    }

    /// Reads PKCS#1 (RFC 8017).
    pub fn from_pkcs1(der: &[u8]) -> Result<Self, KeyFault> {
        Self::from_rsa(RsaKeyPair::from_der(der).map_err(|_| KeyFault::Unusable("PKCS#1"))?, "PKCS#1")
    }

    fn from_rsa(pair: RsaKeyPair, form: &'static str) -> Result<Self, KeyFault> {
        let bits = pair.public_modulus_len() * 8;
        let found = KeyAlgorithm::ALL.into_iter().find(|a| a.rsa_bits() == Some(bits));
        Ok(Self::new(found.ok_or(KeyFault::Unusable(form))?, Half::Rsa(pair)))
    }

    /// The key's type.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The content of the subjectPublicKey BIT STRING (RFC 5280 section 4.1.2.7).
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn subject_public_key_info(&self) -> Vec<u8> {
        let algorithm = match (&self.signer, self.algorithm) {
            (Half::Foreign(key), _) => return key.info.clone(),
            (_, KeyAlgorithm::P256) => ec_algorithm(oid::P256),
            (_, KeyAlgorithm::P384) => ec_algorithm(oid::P384),
            (_, KeyAlgorithm::P521) => ec_algorithm(oid::P521),
            (Half::Ed25519(_), _) => der::tlv(der::OID, &[oid::ED25519]),
            (Half::Rsa(_) | Half::Ecdsa(_), _) => RSA_ENCRYPTION.to_vec(),
        };
        public_key_info(&algorithm, &self.public)
    }

    /// AlgorithmIdentifier of the signatures this key makes in certificates, DER; empty where it makes none.
    pub(crate) fn signature_algorithm(&self) -> &'static [u8] {
        match self.algorithm {
            KeyAlgorithm::P256 => &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
            KeyAlgorithm::P384 => &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
            KeyAlgorithm::P521 => &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
            KeyAlgorithm::Ed25519 => &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70],
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00]
            }
            KeyAlgorithm::Other => &[],
        }
    }

    /// Signs for a certificate: ECDSA with the curve's digest, Ed25519, or RSA PKCS#1 v1.5 with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        match &self.signer {
            Half::Rsa(_) => self.sign_rsa(&RSA_PKCS1_SHA256, message),
            Half::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Half::Ecdsa(pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|s| s.as_ref().to_vec())
                .map_err(|_| KeyFault::Provider("sign")),
            Half::Foreign(_) => Err(KeyFault::Provider("sign with a key of this type")),
        }
    }

    /// Signs with an RSA padding of the caller's choice, as TLS 1.3 needs.
    pub fn sign_rsa(&self, padding: &'static dyn RsaEncoding, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let Half::Rsa(pair) = &self.signer else {
            return Err(KeyFault::Provider("make an RSA signature with another type of key"));
        };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| KeyFault::Provider("sign"))?;
        Ok(signature)
    }

    /// PKCS#8 version 1, DER. Whoever writes it to disk owes it mode 0600.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, KeyFault> {
        let fault = |_| KeyFault::Provider("encode a key");
        match &self.signer {
            Half::Ecdsa(pair) => pair.to_pkcs8v1().map(|d| d.as_ref().to_vec()).map_err(fault),
            Half::Ed25519(pair) => pair.to_pkcs8v1().map(|d| d.as_ref().to_vec()).map_err(fault),
            Half::Rsa(pair) => {
                let encoded: Pkcs8V1Der<'_> = pair.as_der().map_err(fault)?;
                Ok(encoded.as_ref().to_vec())
            }
            Half::Foreign(key) => Ok(key.private.clone()),
        }
    }
}

/// What the scalar that belongs to a seed, label and index makes on a curve of `bits` bits.
///
/// # Errors
/// When none of 64 candidates makes anything; each is out of the curve's range with a chance of at most 2^-32.
pub(crate) fn from_scalar<T>(
    seed: &Seed,
    label: &str,
    index: u64,
    bits: usize,
    make: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, KeyFault> {
    const CANDIDATES: u32 = 64;
    let size = bits.div_ceil(8);
    let candidate = |attempt| {
        let mut scalar = [0; 96];
        scalar[..32].copy_from_slice(&seed.draw(label, index, 2 * attempt));
        scalar[32..64].copy_from_slice(&seed.draw(label, index, 2 * attempt + 1));
        if size > 64 {
            scalar[64..].copy_from_slice(&seed.draw(label, index, 2 * CANDIDATES + attempt));
        }
        scalar[0] &= 0xff >> (8 * size - bits);
        make(&scalar[..size])
    };
    (0..CANDIDATES).find_map(candidate).ok_or(KeyFault::Provider("derive an ECDSA key"))
}

/// ECPrivateKey with parameters and without public key (RFC 5915 section 3).
pub(crate) fn sec1(scalar: &[u8], curve: &[u8]) -> Vec<u8> {
    let parameters = der::tlv(0xa0, &[&der::tlv(der::OID, &[curve])]);
    der::tlv(der::SEQUENCE, &[&[2, 1, 1], &der::tlv(der::OCTET_STRING, &[scalar]), &parameters])
}

/// AlgorithmIdentifier of a key on a curve, DER contents (RFC 5480 section 2.1.1).
pub(crate) fn ec_algorithm(curve: &[u8]) -> Vec<u8> {
    [der::tlv(der::OID, &[oid::EC_PUBLIC_KEY]), der::tlv(der::OID, &[curve])].concat()
}

/// SubjectPublicKeyInfo from the contents of its AlgorithmIdentifier and the key itself (RFC 5280 section 4.1.2.7).
pub(crate) fn public_key_info(algorithm: &[u8], public_key: &[u8]) -> Vec<u8> {
    der::tlv(der::SEQUENCE, &[&der::tlv(der::SEQUENCE, &[algorithm]), &der::bit_string(public_key)])
}

/// Lets rcgen write certificates that this key signs.
impl rcgen::PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.algorithm {
            // rcgen writes authorities, whose keys sign; `Other` does not, and has no algorithm there.
            KeyAlgorithm::P256 | KeyAlgorithm::Other => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        PrivateKey::sign(self, message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_key_is_the_same_key_every_time_and_survives_its_file() {
        let seed = Seed::from_number(1);
        for algorithm in KeyAlgorithm::ALL.into_iter().filter(|a| *a != KeyAlgorithm::Rsa4096) {
            let key = PrivateKey::derive(&seed, "test", 3, algorithm).expect("derives");
            let again = PrivateKey::derive(&Seed::from_number(1), "test", 3, algorithm).expect("derives");
            assert_eq!(key.public_key(), again.public_key(), "{algorithm}");
            let read = PrivateKey::from_pkcs8(&key.to_pkcs8().expect("encodes")).expect("reads back");
            assert_eq!((read.algorithm(), read.public_key()), (algorithm, key.public_key()));
        }
    }

    #[test]
    fn neighbours_in_a_fleet_have_different_keys() {
        let seed = Seed::from_number(1);
        let key = |i| PrivateKey::derive(&seed, "test", i, KeyAlgorithm::P256).expect("derives");
        assert_ne!(key(1).public_key(), key(2).public_key());
    }

    #[test]
    fn key_types_are_spelled_one_way() {
        for algorithm in KeyAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        assert_eq!("P-256".parse::<KeyAlgorithm>(), Err(UnknownKeyAlgorithm("P-256".into())));
    }

    #[test]
    fn a_key_never_prints_itself() {
        let key = PrivateKey::derive(&Seed::from_number(1), "test", 0, KeyAlgorithm::P256).expect("derives");
        assert_eq!(format!("{key:?}"), "PrivateKey(p256)");
    }
}
