//! Keys that no fleet has, and signatures that no CA should make: kinds and sizes that are refused, or that few
//! accept.

use crate::der::{self, oid};
use crate::key::{
    KeyAlgorithm, KeyFault, PrivateKey, Signer, ec_algorithm, from_scalar, public_key_info, sec1,
};
use crate::seed::Seed;
use crate::signature::RSA_ENCRYPTION;
use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256K1_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RsaEncoding,
};
use p256::ecdsa::signature::SignatureEncoding;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::traits::PrivateKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use rustls_pki_types::alg_id;
use std::fmt;
use std::sync::Arc;

/// A kind of key of a defect's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OddKey {
    /// One that fleets have too, whatever the fleet at hand has.
    Usual(KeyAlgorithm),
    /// ECDSA on secp256k1.
    K256,
    /// ECDSA on P-224.
    P224,
    /// RSA, 1024 bits.
    Rsa1024,
    /// RSA, 2048 bits, with the exponent 3.
    Exponent3,
}

impl OddKey {
    /// The key of a device. It repeats with the seed, but for RSA of 2048 bits and more, where that takes 0.5 s to
    /// 15 s for each device.
    pub(crate) fn device_key(self, seed: &Seed, index: u64) -> Result<PrivateKey, KeyFault> {
        let label = "odd device";
        match self {
            OddKey::Usual(algorithm) if algorithm.rsa_bits().is_some() => PrivateKey::fresh_rsa(algorithm),
            OddKey::Usual(algorithm) => PrivateKey::derive(seed, label, index, algorithm),
            OddKey::K256 => k256(seed, label, index).map(OddPair::into_device_key),
            OddKey::P224 => p224(seed, label, index).map(OddPair::into_device_key),
            OddKey::Rsa1024 => rsa1024(seed, label, index).map(OddPair::into_device_key),
            OddKey::Exponent3 => exponent_3(),
        }
    }
}

/// What makes a signature over a message.
type Sign = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, KeyFault> + Send + Sync>;

/// A CA's key that signs as no CA should, or as few do.
pub(crate) struct OddSigner {
    public: Vec<u8>,
    /// AlgorithmIdentifier of the key, DER contents.
    key_algorithm: Vec<u8>,
    /// AlgorithmIdentifier of its signatures, DER contents.
    signature_algorithm: Vec<u8>,
    sign: Sign,
}

impl fmt::Debug for OddSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OddSigner(..)")
    }
}

impl Signer for OddSigner {
    fn public_key(&self) -> Vec<u8> {
        self.public.clone()
    }

    fn public_key_info(&self) -> Vec<u8> {
        public_key_info(&self.key_algorithm, &self.public)
    }

    fn signature_algorithm(&self) -> Vec<u8> {
        der::tlv(der::SEQUENCE, &[&self.signature_algorithm])
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        (self.sign)(message)
    }
}

/// A signer and its private key as PKCS#8.
pub(crate) struct OddPair {
    pub(crate) signer: OddSigner,
    private: Vec<u8>,
}

impl OddPair {
    fn into_device_key(self) -> PrivateKey {
        let info = self.signer.public_key_info();
        PrivateKey::foreign(self.signer.public, info, self.private)
    }
}

/// How an RSA key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RsaForm {
    /// PKCS#1 v1.5 with MD5.
    Md5,
    /// PKCS#1 v1.5 with SHA-1.
    Sha1,
    /// PKCS#1 v1.5 with SHA-512.
    Sha512,
    /// PSS with SHA-256, by a key that may sign otherwise too.
    Pss,
    /// PSS with SHA-256, by a key that says that it does nothing else (RFC 4055 section 1.2).
    PssOnly,
}

const SIGN: KeyFault = KeyFault::Provider("sign");
const MAKE_RSA: KeyFault = KeyFault::Provider("make an RSA key");

/// A usual RSA key that signs in another form.
pub(crate) fn rsa_that_signs(key: Arc<PrivateKey>, form: RsaForm) -> Result<OddSigner, KeyFault> {
    let parameters = |id: &[u8]| [&der::tlv(der::OID, &[id])[..], &[5, 0]].concat();
    let by_provider = |padding: &'static dyn RsaEncoding, key: Arc<PrivateKey>| -> Sign {
        Box::new(move |message| key.sign_rsa(padding, message))
    };
    let public = key.public_key().to_vec();
    let (signature_algorithm, sign) = match form {
        RsaForm::Md5 => (parameters(oid::MD5_WITH_RSA), pkcs1::<md5::Md5>(in_memory(&key)?)),
        RsaForm::Sha1 => (parameters(oid::SHA1_WITH_RSA), pkcs1::<sha1::Sha1>(in_memory(&key)?)),
        RsaForm::Sha512 => (parameters(oid::SHA512_WITH_RSA), by_provider(&RSA_PKCS1_SHA512, key)),
        RsaForm::Pss | RsaForm::PssOnly => {
            (alg_id::RSA_PSS_SHA256.as_ref().to_vec(), by_provider(&RSA_PSS_SHA256, key))
        }
    };
    let key_algorithm = match form {
        RsaForm::PssOnly => der::tlv(der::OID, &[oid::RSASSA_PSS]),
        _ => RSA_ENCRYPTION.to_vec(),
    };
    Ok(OddSigner { public, key_algorithm, signature_algorithm, sign })
}

/// The key for the crate that makes the signatures that the provider does not make.
fn in_memory(key: &PrivateKey) -> Result<RsaPrivateKey, KeyFault> {
    RsaPrivateKey::from_pkcs8_der(&key.to_pkcs8()?).map_err(|_| MAKE_RSA)
}

/// Signs with PKCS#1 v1.5 and any digest.
fn pkcs1<D>(key: RsaPrivateKey) -> Sign
where
    D: sha1::Digest + rsa::pkcs8::AssociatedOid,
{
    Box::new(move |message| key.sign(Pkcs1v15Sign::new::<D>(), &D::digest(message)).map_err(|_| SIGN))
}

/// An RSA-1024 key; it repeats with the seed.
pub(crate) fn rsa1024(seed: &Seed, label: &str, index: u64) -> Result<OddPair, KeyFault> {
    let mut stream = ChaCha20Rng::from_seed(seed.draw(label, index, 0));
    let key = RsaPrivateKey::new(&mut stream, 1024).map_err(|_| MAKE_RSA)?;
    let public = key.to_public_key().to_pkcs1_der().map_err(|_| MAKE_RSA)?.into_vec();
    let private = key.to_pkcs8_der().map_err(|_| MAKE_RSA)?.as_bytes().to_vec();
    let signer = OddSigner {
        public,
        key_algorithm: RSA_ENCRYPTION.to_vec(),
        signature_algorithm: alg_id::RSA_PKCS1_SHA256.as_ref().to_vec(),
        sign: pkcs1::<sha2::Sha256>(key),
    };
    Ok(OddPair { signer, private })
}

/// An RSA-2048 key with the exponent 3, fresh from the provider: the primes are kept, the exponent is not.
pub(crate) fn exponent_3() -> Result<PrivateKey, KeyFault> {
    // Three pairs of primes in four have one that does not go with the exponent.
    for _ in 0..256 {
        let fresh = PrivateKey::fresh_rsa(KeyAlgorithm::Rsa2048)?;
        let made = in_memory(&fresh)?;
        let [p, q] = made.primes() else { continue };
        if let Ok(key) = RsaPrivateKey::from_p_q(p.clone(), q.clone(), BigUint::from(3_u8)) {
            let written = key.to_pkcs1_der().map_err(|_| MAKE_RSA)?;
            return PrivateKey::from_pkcs1(written.as_bytes());
        }
    }
    Err(MAKE_RSA)
}

/// A key on secp256k1; it repeats with the seed.
pub(crate) fn k256(seed: &Seed, label: &str, index: u64) -> Result<OddPair, KeyFault> {
    from_scalar(seed, label, index, 256, |scalar| {
        let written = sec1(scalar, oid::K256);
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256K1_SHA256_ASN1_SIGNING, &written).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        let sign: Sign = Box::new(move |message| {
            let made = pair.sign(&SystemRandom::new(), message);
            made.map(|signature| signature.as_ref().to_vec()).map_err(|_| SIGN)
        });
        Some(ec_pair(scalar, public, oid::K256, oid::ECDSA_WITH_SHA256, sign))
    })
}

/// A key on P-224, which signs with SHA-224; it repeats with the seed.
pub(crate) fn p224(seed: &Seed, label: &str, index: u64) -> Result<OddPair, KeyFault> {
    from_scalar(seed, label, index, 224, |scalar| {
        let key = p224::ecdsa::SigningKey::from_slice(scalar).ok()?;
        let public = key.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        let sign = ecdsa::<p224::ecdsa::Signature, _>(key, &digest::SHA224);
        Some(ec_pair(scalar, public, oid::P224, oid::ECDSA_WITH_SHA224, sign))
    })
}

/// A P-256 key that signs with SHA-512.
pub(crate) fn p256_sha512(seed: &Seed, label: &str) -> Result<OddSigner, KeyFault> {
    p256_with(seed, label, oid::ECDSA_WITH_SHA512, &digest::SHA512)
}

/// A P-256 key that signs with SHA-1.
pub(crate) fn p256_sha1(seed: &Seed, label: &str) -> Result<OddSigner, KeyFault> {
    p256_with(seed, label, oid::ECDSA_WITH_SHA1, &digest::SHA1_FOR_LEGACY_USE_ONLY)
}

fn p256_with(
    seed: &Seed,
    label: &str,
    signs_as: &[u8],
    hash: &'static digest::Algorithm,
) -> Result<OddSigner, KeyFault> {
    from_scalar(seed, label, 0, 256, |scalar| {
        let key = p256::ecdsa::SigningKey::from_slice(scalar).ok()?;
        let public = key.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        let sign = ecdsa::<p256::ecdsa::Signature, _>(key, hash);
        Some(ec_pair(scalar, public, oid::P256, signs_as, sign).signer)
    })
}

/// A P-384 key that signs with SHA-256.
pub(crate) fn p384_sha256(seed: &Seed, label: &str) -> Result<OddSigner, KeyFault> {
    from_scalar(seed, label, 0, 384, |scalar| {
        let key = p384::ecdsa::SigningKey::from_slice(scalar).ok()?;
        let public = key.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        let sign = ecdsa::<p384::ecdsa::Signature, _>(key, &digest::SHA256);
        Some(ec_pair(scalar, public, oid::P384, oid::ECDSA_WITH_SHA256, sign).signer)
    })
}

/// Signs with ECDSA and any digest.
fn ecdsa<S, K>(key: K, hash: &'static digest::Algorithm) -> Sign
where
    S: SignatureEncoding,
    K: PrehashSigner<S> + Send + Sync + 'static,
{
    Box::new(move |message| {
        let made = key.sign_prehash(digest::digest(hash, message).as_ref()).map_err(|_| SIGN)?;
        // r and s, each as wide as the curve; certificates carry a SEQUENCE of two INTEGERs (RFC 5480 appendix A).
        let fixed = made.to_bytes();
        let (r, s) = fixed.as_ref().split_at(fixed.as_ref().len() / 2);
        Ok(der::tlv(der::SEQUENCE, &[&der::unsigned(r), &der::unsigned(s)]))
    })
}

/// A key on a curve; `signs_as` is the OID of its signatures.
fn ec_pair(scalar: &[u8], public: Vec<u8>, curve: &[u8], signs_as: &[u8], sign: Sign) -> OddPair {
    let key_algorithm = ec_algorithm(curve);
    // PrivateKeyInfo (RFC 5208 section 5).
    let algorithm = der::tlv(der::SEQUENCE, &[&key_algorithm]);
    let inner = der::tlv(der::OCTET_STRING, &[&sec1(scalar, curve)]);
    let private = der::tlv(der::SEQUENCE, &[&der::unsigned(&[0]), &algorithm, &inner]);
    let signature_algorithm = der::tlv(der::OID, &[signs_as]);
    OddPair { signer: OddSigner { public, key_algorithm, signature_algorithm, sign }, private }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsa::traits::PublicKeyParts as _;

    fn made(key: OddKey) -> PrivateKey {
        key.device_key(&Seed::from_number(1), 7).expect("a key")
    }

    #[test]
    fn keys_that_nothing_signs_with_repeat_with_the_seed_and_are_certified_and_written_all_the_same() {
        for key in [OddKey::K256, OddKey::P224, OddKey::Rsa1024] {
            let (first, again) = (made(key), made(key));
            assert_eq!(first.subject_public_key_info(), again.subject_public_key_info(), "{key:?}");
            assert_eq!(first.to_pkcs8(), again.to_pkcs8(), "{key:?}");
            assert_eq!(first.algorithm(), KeyAlgorithm::Other, "{key:?}");
            assert!(matches!(first.sign(b"message"), Err(KeyFault::Provider(_))), "{key:?}");
        }
    }

    #[test]
    fn what_is_written_of_such_a_key_is_the_key_that_is_certified() {
        let (k256, rsa1024) = (made(OddKey::K256), made(OddKey::Rsa1024));
        let file = k256.to_pkcs8().expect("encodes");
        let read = EcdsaKeyPair::from_pkcs8(&ECDSA_P256K1_SHA256_ASN1_SIGNING, &file).expect("reads back");
        assert_eq!(read.public_key().as_ref(), k256.public_key());
        let read = in_memory(&rsa1024).expect("reads back").to_public_key().to_pkcs1_der().expect("encodes");
        assert_eq!(read.as_bytes(), rsa1024.public_key());
    }

    #[test]
    fn a_key_with_the_exponent_3_has_it_and_signs() {
        let key = made(OddKey::Exponent3);
        assert_eq!(in_memory(&key).expect("reads back").e(), &BigUint::from(3_u8));
        assert!(key.sign(b"message").is_ok());
    }
}
