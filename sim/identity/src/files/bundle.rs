//! PKCS#7 (RFC 5652) with certificates: `.p7b`, `.p7c`. Only the certificates are taken out, as they stand: whether
//! each can be read is found out one by one, and no signature is looked at.
//!
//! BER with indefinite lengths is taken too; several toolkits write it.

/// How deep indefinite lengths may be nested.
const DEEPEST: u8 = 16;
/// signedData 1.2.840.113549.1.7.2
pub(super) const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;

/// One element of BER.
struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    content: &'a [u8],
    rest: &'a [u8],
}

/// The certificates of a ContentInfo that holds SignedData.
pub(super) fn certificates(bytes: &[u8]) -> Result<Vec<&[u8]>, String> {
    let broken = || "its structure is broken".to_owned();
    let content = inside(bytes, SEQUENCE).ok_or_else(broken)?;
    let kind = split(content, 0).ok_or_else(broken)?;
    if kind.content != SIGNED_DATA {
        return Err("it holds no certificates in the open".to_owned());
    }
    let signed =
        inside(kind.rest, CONTEXT_0).and_then(|explicit| inside(explicit, SEQUENCE)).ok_or_else(broken)?;
    // version, digestAlgorithms and encapContentInfo come before the certificates.
    let found = Elements(signed).nth(3).filter(|element| element.tag == CONTEXT_0);
    let found = found.map(|element| element.content).unwrap_or_default();
    // Certificates of other kinds than X.509 have other tags.
    Ok(Elements(found).filter(|element| element.tag == SEQUENCE).map(|element| element.whole).collect())
}

/// The content of the first element, if it has this tag.
fn inside(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    split(bytes, 0).filter(|element| element.tag == tag).map(|element| element.content)
}

/// Elements one after the other, as far as they can be split.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let element = split(self.0, 0)?;
        self.0 = element.rest;
        Some(element)
    }
}

/// Splits the first element off, definite or indefinite.
fn split(bytes: &[u8], depth: u8) -> Option<Element<'_>> {
    let [tag, length, ..] = *bytes else { return None };
    if length == 0x80 {
        return indefinite(bytes, tag, depth);
    }
    let element = crate::der::split(bytes)?;
    Some(Element { tag, whole: element.whole, content: element.content, rest: element.rest })
}

/// An element that ends where two zeros stand in the place of another.
fn indefinite(bytes: &[u8], tag: u8, depth: u8) -> Option<Element<'_>> {
    if depth >= DEEPEST || tag & 0x20 == 0 {
        return None;
    }
    let mut rest = bytes.get(2..)?;
    loop {
        if let Some(after) = rest.strip_prefix(&[0, 0]) {
            let end = bytes.len() - rest.len();
            return Some(Element { tag, whole: &bytes[..end + 2], content: &bytes[2..end], rest: after });
        }
        rest = split(rest, depth + 1)?.rest;
    }
}

/// Whether bytes begin as PKCS#7 does, whatever its content type.
pub(super) fn is_content_info(bytes: &[u8]) -> bool {
    /// pkcs-7 1.2.840.113549.1.7
    const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];
    let header = match bytes {
        [SEQUENCE, length, ..] if *length <= 0x80 => 2,
        [SEQUENCE, length, ..] => 2 + usize::from(length & 0x7f),
        _ => return false,
    };
    matches!(bytes.get(header..), Some([0x06, 0x09, oid @ ..]) if oid.starts_with(PKCS7))
}
