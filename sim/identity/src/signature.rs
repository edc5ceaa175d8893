//! Certificate signatures, through the crypto provider's list of algorithms.
//!
//! Allowed: RSA of 2048 to 8192 bits with SHA-256/384/512 (PKCS#1 v1.5 or PSS), ECDSA on P-256, P-384 and P-521,
//! Ed25519. SHA-1, MD5 and shorter RSA keys are never accepted.

use rustls_pki_types::SignatureVerificationAlgorithm;

/// How a signature check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureFault {
    /// The bytes are not this key's signature.
    Wrong,
    /// The algorithm, or the key for it, is not accepted.
    Algorithm,
}

/// Checks `signature` over `message`; algorithm identifiers are DER contents without their SEQUENCE header.
pub fn verify(
    signature_algorithm: &[u8],
    key_algorithm: &[u8],
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureFault> {
    let fits = |a: &&&'static dyn SignatureVerificationAlgorithm| {
        a.signature_alg_id().as_ref() == signature_algorithm
            && a.public_key_alg_id().as_ref() == key_algorithm
    };
    let algorithm = webpki::ALL_VERIFICATION_ALGS.iter().find(fits).ok_or(SignatureFault::Algorithm)?;
    if key_algorithm == RSA_ENCRYPTION && rsa_modulus_bits(public_key).is_none_or(|bits| bits < 2048) {
        return Err(SignatureFault::Algorithm);
    }
    algorithm.verify_signature(public_key, message, signature).map_err(|_| SignatureFault::Wrong)
}

const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Bits of the modulus of an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_modulus_bits(public_key: &[u8]) -> Option<usize> {
    use x509_parser::der_parser::asn1_rs::{FromDer as _, Integer, Sequence};
    let (_, sequence) = Sequence::from_der(public_key).ok()?;
    let (_, modulus) = Integer::from_der(&sequence.content).ok()?;
    let digits = modulus.as_ref();
    let start = digits.iter().position(|&b| b != 0)?;
    Some((digits.len() - start) * 8 - digits[start].leading_zeros() as usize)
}
