//! Keys that a token holds and never gives away: from what tokens speak of to what certificates carry.
//!
//! PKCS#11 wraps an EC point in an OCTET STRING, signs digests, and gives r and s side by side; X.509 wants the bare
//! point, the whole message signed, and a DER sequence. The talking itself is the caller's.

use crate::certificate::{Certificate, KeyKind};
use crate::der::{self, oid};
use crate::key::KeyFault;
use crate::signature::{self, Algorithms};
use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};

/// Why a token's key cannot sign for an authority.
const UNSUPPORTED: KeyFault = KeyFault::Unusable("token's");

/// The public half of a key in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    kind: KeyKind,
    /// Contents of the AlgorithmIdentifier.
    algorithm: Vec<u8>,
    public_key: Vec<u8>,
}

impl HeldKey {
    /// An ECDSA key on a named curve, from CKA_EC_PARAMS and CKA_EC_POINT (PKCS#11 2.40, section 2.3.3).
    ///
    /// # Errors
    /// For a curve other than P-256, P-384 and P-521, or a point that is none of that curve.
    pub fn ecdsa(parameters: &[u8], point: &[u8]) -> Result<Self, KeyFault> {
        let algorithm = [der::tlv(der::OID, &[oid::EC_PUBLIC_KEY]).as_slice(), parameters].concat();
        let kind = signature::key_kind(&algorithm, &[]);
        let size = 1 + 2 * scalar_size(kind).ok_or(UNSUPPORTED)?;
        // Wrapped as the standard says, or bare as some tokens give it.
        let wrapped = der::split(point).filter(|e| e.rest.is_empty() && point[0] == der::OCTET_STRING);
        let bare = wrapped.map(|e| e.content).filter(|p| p.len() == size).unwrap_or(point);
        // 4 says that the point is not compressed (SEC 1, section 2.3.3).
        if bare.len() != size || bare[0] != 4 {
            return Err(UNSUPPORTED);
        }
        Ok(HeldKey { kind, algorithm, public_key: bare.to_vec() })
    }

    /// An RSA key, from CKA_MODULUS and CKA_PUBLIC_EXPONENT, big-endian.
    ///
    /// # Errors
    /// For fewer than 2048 or more than 8192 bits.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let public_key = der::tlv(der::SEQUENCE, &[&der::unsigned(modulus), &der::unsigned(exponent)]);
        let algorithm = [der::tlv(der::OID, &[oid::RSA_ENCRYPTION]).as_slice(), NULL].concat();
        let kind = signature::key_kind(&algorithm, &public_key);
        Algorithms::DEFAULT.key(kind).map_err(|_| UNSUPPORTED)?;
        Ok(HeldKey { kind, algorithm, public_key })
    }

    /// The key that a certificate in the token is for.
    ///
    /// # Errors
    /// For any other kind of key.
    pub fn certified(certificate: &Certificate) -> Result<Self, KeyFault> {
        let kind = certificate.key_kind();
        Algorithms::DEFAULT.key(kind).map_err(|_| UNSUPPORTED)?;
        if scalar_size(kind).is_none() && !matches!(kind, KeyKind::Rsa(..)) {
            return Err(UNSUPPORTED);
        }
        let algorithm = certificate.key_algorithm().to_vec();
        Ok(HeldKey { kind, algorithm, public_key: certificate.public_key().to_vec() })
    }

    /// What kind of key it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The content of the subjectPublicKey BIT STRING.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn public_key_info(&self) -> Vec<u8> {
        let algorithm = der::tlv(der::SEQUENCE, &[&self.algorithm]);
        der::tlv(der::SEQUENCE, &[&algorithm, &der::bit_string(&self.public_key)])
    }

    /// AlgorithmIdentifier of its signatures in certificates, DER.
    pub fn signature_algorithm(&self) -> Vec<u8> {
        let (id, parameters) = match self.kind {
            KeyKind::P384 => (oid::ECDSA_WITH_SHA384, &[][..]),
            KeyKind::P521 => (oid::ECDSA_WITH_SHA512, &[][..]),
            KeyKind::P256 => (oid::ECDSA_WITH_SHA256, &[][..]),
            _ => (oid::SHA256_WITH_RSA, NULL),
        };
        der::tlv(der::SEQUENCE, &[&der::tlv(der::OID, &[id]), parameters])
    }

    /// What the token is to sign with CKM_ECDSA: the digest of the message, of the size of the curve. None for RSA,
    /// where CKM_SHA256_RSA_PKCS takes the message itself.
    pub fn digest(&self, message: &[u8]) -> Option<Vec<u8>> {
        let algorithm = match self.kind {
            KeyKind::P256 => &SHA256,
            KeyKind::P384 => &SHA384,
            KeyKind::P521 => &SHA512,
            _ => return None,
        };
        Some(digest::digest(algorithm, message).as_ref().to_vec())
    }

    /// What the token made of it, in the form that certificates carry.
    ///
    /// # Errors
    /// When it is not of the length of such a signature.
    pub fn signature(&self, raw: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let Some(size) = scalar_size(self.kind) else { return Ok(raw.to_vec()) };
        if raw.len() != 2 * size {
            return Err(KeyFault::Token(format!("its signature has {} bytes, not {}", raw.len(), 2 * size)));
        }
        let (r, s) = raw.split_at(size);
        Ok(der::tlv(der::SEQUENCE, &[&der::unsigned(r), &der::unsigned(s)]))
    }

    /// Whether a signature in the form of certificates is this key's.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm = self.signature_algorithm();
        let contents = der::split(&algorithm).map(|whole| whole.content).unwrap_or_default();
        signature::verify(contents, &self.algorithm, &self.public_key, message, signature).is_ok()
    }
}

/// The parameters of RSA algorithms.
const NULL: &[u8] = &[0x05, 0x00];

/// Bytes of a scalar of the curve.
fn scalar_size(kind: KeyKind) -> Option<usize> {
    match kind {
        KeyKind::P256 => Some(32),
        KeyKind::P384 => Some(48),
        KeyKind::P521 => Some(66),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{PrivateKey, Signer as _};
    use crate::{KeyAlgorithm, Seed};

    fn key(algorithm: KeyAlgorithm) -> PrivateKey {
        PrivateKey::derive(&Seed::from_number(1), "held", 0, algorithm).expect("derives")
    }

    fn parameters(curve: &[u8]) -> Vec<u8> {
        der::tlv(der::OID, &[curve])
    }

    #[test]
    fn a_held_key_is_written_as_the_same_key_in_memory_is() {
        let rsa = key(KeyAlgorithm::Rsa2048);
        let modulus =
            der::split(der::split(rsa.public_key()).expect("a sequence").content).expect("a number");
        let exponent = der::split(modulus.rest).expect("a number");
        let held = HeldKey::rsa(modulus.content, exponent.content).expect("usable");
        assert_eq!(held.public_key_info(), rsa.public_key_info());
        assert_eq!(held.signature_algorithm(), rsa.signature_algorithm());
        for (algorithm, curve) in [(KeyAlgorithm::P256, oid::P256), (KeyAlgorithm::P384, oid::P384)] {
            let key = key(algorithm);
            let wrapped = der::tlv(der::OCTET_STRING, &[key.public_key()]);
            for point in [wrapped.as_slice(), key.public_key()] {
                let held = HeldKey::ecdsa(&parameters(curve), point).expect("usable");
                assert_eq!(held.public_key_info(), key.public_key_info(), "{algorithm}");
                assert_eq!(held.signature_algorithm(), key.signature_algorithm(), "{algorithm}");
            }
        }
    }

    #[test]
    fn signatures_are_put_in_the_form_of_certificates() {
        let key = key(KeyAlgorithm::P256);
        let held = HeldKey::ecdsa(&parameters(oid::P256), key.public_key()).expect("usable");
        let message = b"to be signed";
        let made = key.sign(message).expect("signs");
        // Taken apart as a token would have given it, then put together again.
        let r = der::split(der::split(&made).expect("a sequence").content).expect("r");
        let s = der::split(r.rest).expect("s");
        let padded = |number: &[u8]| {
            let digits: Vec<u8> = number.iter().copied().skip_while(|b| *b == 0).collect();
            [vec![0; 32 - digits.len()], digits].concat()
        };
        let raw = [padded(r.content), padded(s.content)].concat();
        assert!(held.verifies(message, &made) && !held.verifies(b"another", &made));
        assert_eq!(held.signature(&raw), Ok(made));
        assert_eq!(held.digest(message).map(|d| d.len()), Some(32));
        assert!(held.signature(&raw[1..]).is_err());
    }

    #[test]
    fn what_cannot_sign_for_an_authority_is_refused() {
        let point = key(KeyAlgorithm::P256).public_key().to_vec();
        let mut compressed = point[..33].to_vec();
        compressed[0] = 2;
        for (curve, point) in [
            (parameters(oid::K256), point.as_slice()),
            (parameters(oid::P384), &point),
            (parameters(oid::P256), &compressed),
            (parameters(oid::P256), &[]),
            (Vec::new(), &point),
        ] {
            assert_eq!(HeldKey::ecdsa(&curve, point), Err(UNSUPPORTED));
        }
        assert_eq!(HeldKey::rsa(&[0xff; 128], &[1, 0, 1]), Err(UNSUPPORTED));
        assert_eq!(HeldKey::rsa(&[], &[]), Err(UNSUPPORTED));
    }
}
