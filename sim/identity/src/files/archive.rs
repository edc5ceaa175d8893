//! PKCS#12 (RFC 7292): certificates with the key that belongs to one of them, under a password.

use crate::key::PrivateKey;
use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error;

/// A key and a long chain take some kilobytes; what is larger could make its reader derive keys for hours.
const LARGEST: usize = 1 << 20;

/// Why an archive cannot be read.
pub(super) enum Fault {
    /// Another password is needed.
    Password,
    /// Anything else.
    Unreadable(String),
}

/// What an archive holds.
pub(super) struct Archive {
    /// DER, in no order that means anything.
    pub(super) certificates: Vec<Vec<u8>>,
    /// The first key of a kind that is supported.
    pub(super) key: Option<PrivateKey>,
    /// Whether there is a key of any kind.
    pub(super) holds_key: bool,
}

/// Opens an archive, of the older kind (RC2 and triple DES) or of today's (PBES2).
pub(super) fn open(bytes: &[u8], password: &str) -> Result<Archive, Fault> {
    if bytes.len() > LARGEST {
        return Err(Fault::Unreadable(format!("it is larger than {LARGEST} bytes")));
    }
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        // Without a MAC, a wrong password shows as padding that makes no sense.
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => Fault::Password,
        other => Fault::Unreadable(other.to_string()),
    })?;
    Ok(Archive {
        certificates: archive.certs.iter().map(|bag| bag.cert.as_der().to_vec()).collect(),
        key: archive.keys.iter().find_map(|bag| PrivateKey::from_pkcs8(bag.key.as_der()).ok()),
        holds_key: !archive.keys.is_empty(),
    })
}
