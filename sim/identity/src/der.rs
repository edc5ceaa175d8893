//! A small DER writer: just enough of X.690 to put a certificate together from parts.

use time::OffsetDateTime;

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;

/// Tag, length and the parts one after the other.
pub(crate) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    push_length(&mut out, length);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    if length < 0x80 {
        out.push(length as u8);
        return;
    }
    let bytes = length.to_be_bytes();
    let significant = &bytes[length.leading_zeros() as usize / 8..];
    out.push(0x80 | significant.len() as u8);
    out.extend_from_slice(significant);
}

/// A non-negative INTEGER from its big-endian bytes: minimal, with a leading zero where the top bit is set.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|&b| b != 0).unwrap_or(bytes.len().saturating_sub(1));
    let digits = &bytes[start..];
    let pad: &[u8] = if digits.first().is_none_or(|b| b & 0x80 != 0) { &[0] } else { &[] };
    tlv(INTEGER, &[pad, digits])
}

/// A BIT STRING without unused bits.
pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(BIT_STRING, &[&[0], bytes])
}

/// UTCTime through 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5).
pub(crate) fn time(moment: OffsetDateTime) -> Vec<u8> {
    let t = moment.to_offset(time::UtcOffset::UTC);
    let rest =
        format!("{:02}{:02}{:02}{:02}{:02}Z", u8::from(t.month()), t.day(), t.hour(), t.minute(), t.second());
    if (1950..2050).contains(&t.year()) {
        tlv(0x17, &[format!("{:02}", t.year() % 100).as_bytes(), rest.as_bytes()])
    } else {
        tlv(0x18, &[format!("{:04}", t.year()).as_bytes(), rest.as_bytes()])
    }
}

/// One extension.
pub(crate) fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let flag: &[u8] = if critical { &[0x01, 0x01, 0xff] } else { &[] };
    tlv(SEQUENCE, &[&tlv(OID, &[oid]), flag, &tlv(OCTET_STRING, &[value])])
}

/// A name of one RDN: `CN=text` as UTF8String.
pub(crate) fn common_name(text: &str) -> Vec<u8> {
    let attribute = tlv(SEQUENCE, &[&tlv(OID, &[oid::COMMON_NAME]), &tlv(UTF8_STRING, &[text.as_bytes()])]);
    tlv(SEQUENCE, &[&tlv(SET, &[&attribute])])
}

/// A name of RDNs with one attribute each: OID, string type and bytes.
pub(crate) fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
    let rdn = |&(oid, tag, text): &(&[u8], u8, &[u8])| {
        tlv(SET, &[&tlv(SEQUENCE, &[&tlv(OID, &[oid]), &tlv(tag, &[text])])])
    };
    let rdns: Vec<Vec<u8>> = attributes.iter().map(rdn).collect();
    let parts: Vec<&[u8]> = rdns.iter().map(Vec::as_slice).collect();
    tlv(SEQUENCE, &parts)
}

/// The first element of some bytes, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Header and content.
    pub(crate) whole: &'a [u8],
    /// Content alone.
    pub(crate) content: &'a [u8],
    /// What follows.
    pub(crate) rest: &'a [u8],
}

/// Splits the first element off. Definite lengths of up to four bytes only, as DER has them.
pub(crate) fn split(bytes: &[u8]) -> Option<Element<'_>> {
    let (_tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let digits = rest.get(..usize::from(first & 0x7f)).filter(|d| (1..=4).contains(&d.len()))?;
        (digits.iter().fold(0, |n, &d| n << 8 | usize::from(d)), &rest[digits.len()..])
    };
    let content = rest.get(..length)?;
    let header = bytes.len() - rest.len();
    Some(Element { whole: &bytes[..header + length], content, rest: &rest[length..] })
}

/// Object identifiers, encoded.
pub(crate) mod oid {
    pub(crate) const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    pub(crate) const SERIAL_NUMBER: &[u8] = &[0x55, 0x04, 0x05];
    pub(crate) const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
    pub(crate) const SUBJECT_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
    pub(crate) const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
    pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
    pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    pub(crate) const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
    pub(crate) const CERTIFICATE_POLICIES: &[u8] = &[0x55, 0x1d, 0x20];
    pub(crate) const AUTHORITY_KEY_ID: &[u8] = &[0x55, 0x1d, 0x23];
    pub(crate) const POLICY_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x24];
    pub(crate) const EXT_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
    /// anyExtendedKeyUsage 2.5.29.37.0
    pub(crate) const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
    /// id-kp-serverAuth 1.3.6.1.5.5.7.3.1
    pub(crate) const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    /// id-kp-clientAuth 1.3.6.1.5.5.7.3.2
    pub(crate) const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
    /// id-kp-codeSigning 1.3.6.1.5.5.7.3.3
    pub(crate) const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
    /// TCG DICE TcbInfo 2.23.133.5.4.1
    pub(crate) const DICE_TCB_INFO: &[u8] = &[0x67, 0x81, 0x05, 0x05, 0x04, 0x01];
    pub(crate) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    pub(crate) const P224: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x21];
    pub(crate) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    pub(crate) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    pub(crate) const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    pub(crate) const K256: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x0a];
    pub(crate) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    /// The arc of ECDSA signature algorithms, ansi-X9-62 signatures.
    pub(crate) const ECDSA_SIGNATURES: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    /// The arc of PKCS #1.
    pub(crate) const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    pub(crate) const ECDSA_WITH_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
    pub(crate) const ECDSA_WITH_SHA224: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x01];
    pub(crate) const ECDSA_WITH_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    pub(crate) const ECDSA_WITH_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
    pub(crate) const ECDSA_WITH_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
    pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    pub(crate) const MD2_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x02];
    pub(crate) const MD4_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x03];
    pub(crate) const MD5_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
    pub(crate) const SHA1_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
    /// An older identifier of the same, from the OSI Implementers' Workshop.
    pub(crate) const SHA1_WITH_RSA_OIW: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1d];
    pub(crate) const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
    pub(crate) const SHA256_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    pub(crate) const SHA384_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
    pub(crate) const SHA512_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
    pub(crate) const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
    pub(crate) const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
    pub(crate) const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
    pub(crate) const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn lengths_are_minimal() {
        assert_eq!(tlv(4, &[&[0; 127]])[..2], [4, 127]);
        assert_eq!(tlv(4, &[&[0; 128]])[..3], [4, 0x81, 128]);
        assert_eq!(tlv(4, &[&[0; 65536]])[..5], [4, 0x83, 1, 0, 0]);
    }

    #[test]
    fn elements_split_where_they_were_joined() {
        for size in [0, 127, 128, 70_000] {
            let content = vec![7; size];
            let mut whole = tlv(4, &[&content]);
            let length = whole.len();
            whole.push(9);
            assert_eq!(
                split(&whole),
                Some(Element { whole: &whole[..length], content: &content, rest: &[9] })
            );
            assert_eq!(split(&whole[..length - 1]), None);
        }
        assert_eq!(split(&[0x30, 0x80, 0, 0]), None);
    }

    #[test]
    fn integers_are_minimal_and_positive() {
        assert_eq!(unsigned(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
    }

    #[test]
    fn times_change_form_in_2050() {
        assert_eq!(&time(datetime!(2049-12-31 23:59:59 UTC))[2..], b"491231235959Z");
        assert_eq!(&time(datetime!(2050-01-01 00:00:00 UTC))[2..], b"20500101000000Z");
    }
}
