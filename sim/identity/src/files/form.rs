//! What binary bytes seem to be, by the first few elements of their structure.

use super::bundle;
use crate::der::{self, split};

/// What bytes that are not PEM seem to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// X.509, or what at least begins like it.
    Certificate,
    /// PKCS#7.
    Bundle,
    /// PKCS#12.
    Archive,
    /// PKCS#8, SEC1 or PKCS#1, encrypted or not.
    PrivateKey,
    /// PKCS#10.
    Request,
    /// Any of them with this many bytes missing at the end.
    Truncated(usize),
    /// SubjectPublicKeyInfo.
    PublicKey,
    /// A certificate revocation list.
    RevocationList,
    /// Base64 of DER or PEM.
    Base64,
    /// No bytes at all.
    Empty,
    /// Anything else.
    Unknown,
}

impl Form {
    /// What the bytes seem to be.
    pub(super) fn of(bytes: &[u8]) -> Form {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Form::Empty;
        }
        if bytes.first() != Some(&der::SEQUENCE) {
            // What a long SEQUENCE, and what a BEGIN line, look like in base64.
            let base64 = [&b"MI"[..], b"LS0tLS1"].iter().any(|start| bytes.trim_ascii().starts_with(start));
            return if base64 { Form::Base64 } else { Form::Unknown };
        }
        if bundle::is_content_info(bytes) {
            return bytes_missing(bytes).map_or(Form::Bundle, Form::Truncated);
        }
        match bytes_missing(bytes) {
            Some(missing) => Form::Truncated(missing),
            None => split(bytes).map_or(Form::Unknown, |element| by_structure(element.content)),
        }
    }

    /// What there is instead of what was looked for, to go on from "holds no certificate".
    pub(super) const fn hint(self) -> &'static str {
        match self {
            Form::Certificate | Form::Unknown => "",
            Form::Bundle => ", but PKCS#7",
            Form::Archive => ", but PKCS#12",
            Form::PrivateKey => ", but a private key",
            Form::Request => ", but a certificate signing request",
            Form::Truncated(_) => "; it is truncated",
            Form::PublicKey => ", only a public key",
            Form::RevocationList => ", but a certificate revocation list",
            Form::Base64 => "; it is base64 without BEGIN and END lines",
            Form::Empty => "; it is empty",
        }
    }
}

/// How many bytes the first element lacks, if it has a length and fewer bytes than that.
fn bytes_missing(bytes: &[u8]) -> Option<usize> {
    let (length, header) = match *bytes {
        [_, short, ..] if short < 0x80 => (usize::from(short), 2),
        // Indefinite: there is no telling.
        [_, 0x80, ..] => return None,
        [_, long, ref rest @ ..] => {
            let count = usize::from(long & 0x7f);
            if count > 4 {
                return None;
            }
            let digits = rest.get(..count);
            // Not even the length is whole.
            let Some(digits) = digits else { return Some(1) };
            (digits.iter().fold(0, |n, &d| n << 8 | usize::from(d)), 2 + count)
        }
        _ => return Some(1),
    };
    (header + length).checked_sub(bytes.len()).filter(|missing| *missing > 0)
}

const INTEGER: u8 = der::INTEGER;
const SEQUENCE: u8 = der::SEQUENCE;

/// Tells the content of an outer SEQUENCE by the tags in it.
fn by_structure(content: &[u8]) -> Form {
    let tags = tags(content);
    match tags.as_slice() {
        // PrivateKeyInfo, and OneAsymmetricKey with more behind; ECPrivateKey; RSAPrivateKey.
        [INTEGER, SEQUENCE, der::OCTET_STRING, ..] | [INTEGER, der::OCTET_STRING, ..] => Form::PrivateKey,
        [INTEGER, INTEGER, INTEGER, INTEGER, ..] => Form::PrivateKey,
        // EncryptedPrivateKeyInfo.
        [SEQUENCE, der::OCTET_STRING] => Form::PrivateKey,
        // PFX: version, authSafe, macData.
        [INTEGER, SEQUENCE] | [INTEGER, SEQUENCE, SEQUENCE] => Form::Archive,
        [SEQUENCE, der::BIT_STRING] => Form::PublicKey,
        [SEQUENCE, SEQUENCE, der::BIT_STRING] => {
            signed(split(content).map(|s| s.content).unwrap_or_default())
        }
        // Whatever it is, the parser of certificates says best what is wrong with it.
        [SEQUENCE, ..] => Form::Certificate,
        _ => Form::Unknown,
    }
}

/// Tells what is signed: certificates, requests and revocation lists have the same outside.
fn signed(inner: &[u8]) -> Form {
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    match tags(inner).as_slice() {
        [INTEGER, SEQUENCE, SEQUENCE] | [INTEGER, SEQUENCE, SEQUENCE, 0xa0] => Form::Request,
        [INTEGER, SEQUENCE, SEQUENCE, UTC_TIME | GENERALIZED_TIME, ..]
        | [SEQUENCE, SEQUENCE, UTC_TIME | GENERALIZED_TIME, ..] => Form::RevocationList,
        _ => Form::Certificate,
    }
}

/// The tags of the first few elements.
fn tags(content: &[u8]) -> Vec<u8> {
    let mut rest = content;
    let next = || {
        let element = split(rest)?;
        rest = element.rest;
        element.whole.first().copied()
    };
    std::iter::from_fn(next).take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der::{BIT_STRING, OCTET_STRING, OID, tlv};

    fn sequence(parts: &[&[u8]]) -> Vec<u8> {
        tlv(SEQUENCE, parts)
    }

    #[test]
    fn what_bytes_are_is_told_by_their_structure() {
        let (number, list) = (tlv(INTEGER, &[&[1]]), sequence(&[]));
        let (bits, octets) = (tlv(BIT_STRING, &[&[0]]), tlv(OCTET_STRING, &[&[0]]));
        let date = tlv(0x17, &[b"260101000000Z"]);
        let signed = |inner: &[&[u8]]| sequence(&[&sequence(inner), &list, &bits]);
        for (bytes, expected) in [
            (Vec::new(), Form::Empty),
            (b" \r\n".to_vec(), Form::Empty),
            (b"MIIBIjANBgkqhkiG9w0B\nAQEFAAOCAQ8=\n".to_vec(), Form::Base64),
            (b"no certificate".to_vec(), Form::Unknown),
            (sequence(&[&number, &list, &octets]), Form::PrivateKey),
            (sequence(&[&number, &octets]), Form::PrivateKey),
            (sequence(&[&number, &number, &number, &number]), Form::PrivateKey),
            (sequence(&[&list, &octets]), Form::PrivateKey),
            (sequence(&[&list, &bits]), Form::PublicKey),
            (sequence(&[&number, &list]), Form::Archive),
            (sequence(&[&tlv(OID, &[bundle::SIGNED_DATA])]), Form::Bundle),
            (signed(&[&number, &list, &list, &tlv(0xa0, &[])]), Form::Request),
            (signed(&[&number, &list, &list, &date]), Form::RevocationList),
            (
                signed(&[&tlv(0xa0, &[&number]), &number, &list, &list, &list, &list, &list]),
                Form::Certificate,
            ),
            (vec![SEQUENCE], Form::Truncated(1)),
            (vec![SEQUENCE, 5, 1], Form::Truncated(4)),
            (vec![SEQUENCE, 0x82, 1], Form::Truncated(1)),
            (vec![SEQUENCE, 0x85, 1, 1, 1, 1, 1], Form::Unknown),
        ] {
            assert_eq!(Form::of(&bytes), expected, "{bytes:02x?}");
        }
    }
}
