//! Shared access signatures, the tokens of the service API and of symmetric-key devices.
//!
//! `SharedAccessSignature sr={uri}&sig={signature}&se={unix seconds}&skn={policy}`, where the signature is
//! base64(HMAC-SHA256(base64-decode(key), sr as transmitted + "\n" + se)). Field order differs between clients.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;

/// The policy every DPS instance is created with.
pub const OWNER_POLICY: &str = "provisioningserviceowner";

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A shared access key as it is handed out: base64 text of 16 to 64 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey(Vec<u8>);

/// Why a text is not a shared access key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not base64.
    #[error("the shared access key is not base64")]
    NotBase64,
    /// Own keys may be 16 to 64 bytes (DPS documentation, symmetric key attestation).
    #[error("the shared access key has {0} bytes; 16 to 64 are allowed")]
    Length(usize),
}

impl SharedKey {
    /// Reads a key from its base64 text.
    pub fn from_base64(text: &str) -> Result<Self, InvalidKey> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| InvalidKey::NotBase64)?;
        Self::from_bytes(bytes)
    }

    /// Takes raw key bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, InvalidKey> {
        if !(16..=64).contains(&bytes.len()) {
            return Err(InvalidKey::Length(bytes.len()));
        }
        Ok(SharedKey(bytes))
    }

    /// A key of 64 bytes, the length that the service makes, from its two halves.
    pub fn of_halves(first: [u8; 32], second: [u8; 32]) -> Self {
        SharedKey([first, second].concat())
    }

    /// The base64 text of the key.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// The key of one device of a symmetric-key group: HMAC-SHA256 of its registration id, under the group's key
    /// (DPS documentation, symmetric key attestation).
    pub fn derive(&self, registration_id: &str) -> SharedKey {
        SharedKey(self.mac(registration_id.as_bytes()).finalize().into_bytes().to_vec())
    }

    fn mac(&self, message: &[u8]) -> Hmac<Sha256> {
        // HMAC takes a key of any length (RFC 2104 section 2), so this cannot fail.
        #[expect(clippy::expect_used, reason = "HMAC accepts keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("any key length");
        mac.update(message);
        mac
    }

    /// Signs a token for `resource` (unencoded), valid until `expiry` in Unix seconds.
    pub fn token(&self, resource: &str, policy: &str, expiry: u64) -> String {
        let sr = utf8_percent_encode(resource, UNRESERVED);
        let message = format!("{sr}\n{expiry}");
        let signature = STANDARD.encode(self.mac(message.as_bytes()).finalize().into_bytes());
        let sig = utf8_percent_encode(&signature, UNRESERVED);
        format!("SharedAccessSignature sr={sr}&sig={sig}&se={expiry}&skn={policy}")
    }
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not `SharedAccessSignature …` with `sr`, `sig` and `se`.
    #[error("the token is malformed")]
    Malformed,
    /// `se` has passed.
    #[error("the token has expired")]
    Expired,
    /// `skn` names a policy that is not known.
    #[error("the token names an unknown policy")]
    UnknownPolicy,
    /// The signature is not that of the key.
    #[error("the token's signature does not match")]
    BadSignature,
}

/// A token as transmitted.
#[derive(Debug)]
pub struct Token<'a> {
    sr: &'a str,
    signature: Vec<u8>,
    expiry: &'a str,
    policy: Option<&'a str>,
}

impl<'a> Token<'a> {
    /// Reads an `Authorization` header or MQTT password.
    pub fn parse(text: &'a str) -> Result<Self, TokenFault> {
        let fields = text.strip_prefix("SharedAccessSignature ").ok_or(TokenFault::Malformed)?;
        let field = |key: &str| fields.split('&').filter_map(|f| f.split_once('=')).find(|(k, _)| *k == key);
        let value = |key: &str| field(key).map(|(_, v)| v).ok_or(TokenFault::Malformed);
        let sig = percent_decode_str(value("sig")?).decode_utf8().map_err(|_| TokenFault::Malformed)?;
        Ok(Token {
            sr: value("sr")?,
            signature: STANDARD.decode(sig.as_bytes()).map_err(|_| TokenFault::Malformed)?,
            expiry: value("se")?,
            policy: field("skn").map(|(_, v)| v),
        })
    }

    /// The policy it names, if it names one.
    pub fn policy(&self) -> Option<&'a str> {
        self.policy
    }

    /// The resource it was signed for, percent-decoded.
    pub fn resource(&self) -> String {
        percent_decode_str(self.sr).decode_utf8_lossy().into_owned()
    }

    /// Checks policy, expiry and signature.
    pub fn verify(&self, key: &SharedKey, policy: &str, now: u64) -> Result<(), TokenFault> {
        if self.policy.is_some_and(|named| named != policy) {
            return Err(TokenFault::UnknownPolicy);
        }
        self.signed_by(key, now)
    }

    /// Checks signature and expiry, the former over `sr` exactly as it stands in the token.
    pub fn signed_by(&self, key: &SharedKey, now: u64) -> Result<(), TokenFault> {
        let expiry: u64 = self.expiry.parse().map_err(|_| TokenFault::Malformed)?;
        let message = format!("{}\n{}", self.sr, self.expiry);
        key.mac(message.as_bytes()).verify_slice(&self.signature).map_err(|_| TokenFault::BadSignature)?;
        if expiry <= now { Err(TokenFault::Expired) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The documented derivation vector checks the very MAC that tokens use.
    #[test]
    fn the_documented_group_key_derivation_vector_holds() {
        let group =
            "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
        let key = SharedKey::from_base64(group).expect("64 bytes");
        let derived = key.derive("sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6").to_base64();
        assert_eq!(derived, "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
    }

    #[test]
    fn a_token_verifies_until_it_expires_and_only_with_its_key() {
        let key = SharedKey::from_bytes(vec![7; 32]).expect("32 bytes");
        let other = SharedKey::from_bytes(vec![8; 32]).expect("32 bytes");
        let text = key.token("127.0.0.1:8443", OWNER_POLICY, 1000);
        let token = Token::parse(&text).expect("our own token");
        assert_eq!(token.verify(&key, OWNER_POLICY, 999), Ok(()));
        assert_eq!(token.verify(&key, OWNER_POLICY, 1000), Err(TokenFault::Expired));
        assert_eq!(token.verify(&other, OWNER_POLICY, 1), Err(TokenFault::BadSignature));
        assert_eq!(token.verify(&key, "reader", 1), Err(TokenFault::UnknownPolicy));
        let moved = text.replace("127.0.0.1", "127.0.0.2");
        let moved = Token::parse(&moved).expect("well formed");
        assert_eq!(moved.verify(&key, OWNER_POLICY, 1), Err(TokenFault::BadSignature));
        for bad in ["", "Bearer x", "SharedAccessSignature sr=x", "SharedAccessSignature sr=x&sig=%%&se=1"] {
            assert_eq!(Token::parse(bad).err(), Some(TokenFault::Malformed), "{bad}");
        }
    }
}
