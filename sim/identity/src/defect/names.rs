//! The device's name. The chain is good in every row: what counts is whether the leaf may register under its id.

use super::draft::Ext;
use super::scene::{Scene, Subject};
use super::workshop::Workshop;
use super::{Expected, Family, Others, Recipe, Row};
use crate::der::{self, oid};
use crate::issuer::IssueError;

const CHARSET: &str =
    "Reissue the certificate with a CN of letters, digits and - . _ : that ends in a letter, digit or dash.";
const ONE_CN: &str = "Reissue the certificate with the registration id as its only CN.";
const RIGHT_CN: &str = "Reissue the certificate with the registration id as its CN.";
const AS_UTF8: &str = "Nothing to repair; write the CN as UTF8String when the certificate is renewed.";
const NOTHING: &str = "Nothing to repair: this is as it should be.";
const SHORT_CN: &str =
    "Choose registration ids of at most 64 characters, which is as long as X.520 lets a CN be.";

pub(super) const ROWS: &[Row] = &[
    accepted("cn-ok", |w| named(w, der::common_name)).says("its CN is its registration id", NOTHING),
    refused("cn-missing", "cn-missing", |w| {
        named(w, |_| der::name(&[(oid::ORGANIZATION, der::UTF8_STRING, b"rollcall")]))
    })
    .says("its subject has no CN", RIGHT_CN)
    .diagnosed("cn-missing"),
    refused("cn-empty-subject", "cn-missing", |w| {
        let alternative = der::tlv(der::SEQUENCE, &[&der::tlv(DNS_NAME, &[b"device.example"])]);
        let scene = named(w, |_| der::name(&[]))?;
        // RFC 5280 section 4.1.2.6: critical where the subject is empty.
        Ok(scene.with_leaf(|d| d.with(Ext::raw(oid::SUBJECT_ALT_NAME, true, alternative))))
    })
    .says("its subject is empty, and a name in subjectAltName does not count", RIGHT_CN)
    .diagnosed("cn-missing"),
    refused("cn-empty-value", "cn-missing", |w| named(w, |_| der::common_name("")))
        .says("its CN is empty", RIGHT_CN)
        .diagnosed("cn-missing"),
    mismatch("cn-mismatch", |w| named(w, |id| der::common_name(&format!("{id}-other"))))
        .says(
            "its CN is another device's name",
            "Reissue the certificate with the registration id as its CN, or register under the CN.",
        )
        .diagnosed("cn-mismatch"),
    accepted("cn-case", |w| named(w, |id| der::common_name(&other_case(id))))
        .says(
            "its CN is its registration id in another letter case",
            "Nothing to repair; write the CN as the registration id when the certificate is renewed.",
        )
        .diagnosed("cn-case")
        .guessed(),
    accepted("cn-two-same", |w| named(w, |id| common_names(&[id, id])))
        .says(
            "its subject has the same CN twice",
            "Nothing to repair; write one CN when the certificate is renewed.",
        )
        .diagnosed("cn-multiple")
        .guessed(),
    mismatch("cn-two-diff-last", |w| named(w, |id| common_names(&["factory", id])))
        .says("its subject has another CN before that of the device", ONE_CN)
        .diagnosed("cn-multiple")
        .guessed(),
    mismatch("cn-two-diff-first", |w| named(w, |id| common_names(&[id, "factory"])))
        .says("its subject has another CN after that of the device", ONE_CN)
        .diagnosed("cn-multiple")
        .guessed(),
    accepted("cn-multivalue-rdn", |w| named(w, multivalued))
        .says(
            "its CN shares an RDN with a serialNumber",
            "Nothing to repair; tools that write certificates may fail to copy such a name.",
        )
        .diagnosed("cn-multivalue"),
    accepted("cn-utf8", |w| named(w, der::common_name)).says("its CN is a UTF8String", NOTHING),
    accepted("cn-printable", |w| named(w, printable)).says("its CN is a PrintableString", NOTHING),
    accepted("cn-teletex", |w| named(w, |id| common_name_as(TELETEX_STRING, id.as_bytes())))
        .says("its CN is a TeletexString, which not every parser reads", AS_UTF8)
        .diagnosed("cn-encoding")
        .guessed(),
    accepted("cn-ia5", |w| named(w, |id| common_name_as(IA5_STRING, id.as_bytes())))
        .says("its CN is an IA5String, which X.520 does not allow", AS_UTF8)
        .diagnosed("cn-encoding")
        .guessed(),
    accepted("cn-bmp", |w| {
        named(w, |id| {
            let octets: Vec<u8> = id.encode_utf16().flat_map(u16::to_be_bytes).collect();
            common_name_as(BMP_STRING, &octets)
        })
    })
    .says("its CN is a BMPString, which not every parser reads", AS_UTF8)
    .diagnosed("cn-encoding")
    .guessed(),
    accepted("cn-universal", |w| {
        named(w, |id| {
            let octets: Vec<u8> = id.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
            common_name_as(UNIVERSAL_STRING, &octets)
        })
    })
    .says("its CN is a UniversalString, which not every parser reads", AS_UTF8)
    .diagnosed("cn-encoding")
    .guessed(),
    accepted("cn-len-64", |w| renamed(w, |id| of_length(id, 64)))
        .says("its CN has 64 characters, as many as X.520 allows", NOTHING),
    accepted("cn-len-65", |w| renamed(w, |id| of_length(id, 65)))
        .says("its CN has 65 characters, one more than X.520 allows", SHORT_CN)
        .diagnosed("cn-length")
        .guessed(),
    accepted("cn-len-128", |w| renamed(w, |id| of_length(id, 128)))
        .says("its CN has 128 characters, twice what X.520 allows", SHORT_CN)
        .diagnosed("cn-length")
        .guessed(),
    mismatch("cn-len-129", |w| named(w, |id| der::common_name(&of_length(id, 129))))
        .says("its CN has 129 characters, more than a registration id can have", SHORT_CN)
        .diagnosed("cn-length"),
    mismatch("cn-nonascii", |w| named(w, |id| der::common_name(&format!("ger\u{e4}t-{id}"))))
        .says("its CN has a letter outside ASCII", CHARSET)
        .diagnosed("cn-charset"),
    mismatch("cn-wildcard", |w| named(w, |_| der::common_name("*")))
        .says("its CN is an asterisk", CHARSET)
        .diagnosed("cn-charset"),
    mismatch("cn-space", |w| named(w, |id| der::common_name(&format!("device {id}"))))
        .says("its CN has a space inside", CHARSET)
        .diagnosed("cn-charset"),
    mismatch("cn-space-padded", |w| named(w, |id| der::common_name(&format!(" {id} "))))
        .says("its CN has spaces around it, which count", CHARSET)
        .diagnosed("cn-charset"),
    mismatch("cn-trailing-dot", |w| named(w, |id| der::common_name(&format!("{id}."))))
        .says("its CN ends in a dot", CHARSET)
        .diagnosed("cn-charset"),
    mismatch("cn-nul", |w| named(w, |id| der::common_name(&format!("{id}\0.example"))))
        .says("its CN goes on after a NUL character", CHARSET)
        .diagnosed("cn-charset"),
    accepted("cn-all-specials", |w| renamed(w, |id| format!("{}-b.c_d:e-", tail(id, 119))))
        .says("its CN has every special character that is allowed", NOTHING),
    mismatch("cn-slash", |w| named(w, |id| der::common_name(&format!("{id}/b"))))
        .says("its CN has a slash", CHARSET)
        .diagnosed("cn-charset"),
];

/// dNSName of a GeneralName (RFC 5280 section 4.2.1.6).
pub(super) const DNS_NAME: u8 = 0x82;

const PRINTABLE_STRING: u8 = 0x13;
const TELETEX_STRING: u8 = 0x14;
const IA5_STRING: u8 = 0x16;
const UNIVERSAL_STRING: u8 = 0x1c;
const BMP_STRING: u8 = 0x1e;

const fn row(id: &'static str, expected: Expected, make: Recipe) -> Row {
    Row::chain(id, Family::Name, expected, Others::are(true, true), make)
}

const fn accepted(id: &'static str, make: Recipe) -> Row {
    row(id, Expected::Accept, make)
}

const fn refused(id: &'static str, verdict: &'static str, make: Recipe) -> Row {
    row(id, Expected::Refused(verdict), make)
}

const fn mismatch(id: &'static str, make: Recipe) -> Row {
    refused(id, "cn-mismatch", make)
}

/// A good device under another subject.
fn named(w: &Workshop, subject: Subject) -> Result<Scene, IssueError> {
    Ok(Scene { subject, ..w.good() })
}

/// A good device under another name.
fn renamed(w: &Workshop, rename: fn(&str) -> String) -> Result<Scene, IssueError> {
    Ok(Scene { rename: Some(rename), ..w.good() })
}

fn common_name_as(tag: u8, octets: &[u8]) -> Vec<u8> {
    der::name(&[(oid::COMMON_NAME, tag, octets)])
}

fn common_names(texts: &[&str]) -> Vec<u8> {
    let cns: Vec<_> =
        texts.iter().map(|text| (oid::COMMON_NAME, der::UTF8_STRING, text.as_bytes())).collect();
    der::name(&cns)
}

/// PrintableString, or UTF8String for a name that has an underscore, which PrintableString has not.
fn printable(id: &str) -> Vec<u8> {
    let tag = if id.contains('_') { der::UTF8_STRING } else { PRINTABLE_STRING };
    common_name_as(tag, id.as_bytes())
}

/// CN and serialNumber in one RDN, in the order that DER has (X.690 section 11.6).
fn multivalued(id: &str) -> Vec<u8> {
    let attribute = |kind: &[u8], tag, text: &[u8]| {
        der::tlv(der::SEQUENCE, &[&der::tlv(der::OID, &[kind]), &der::tlv(tag, &[text])])
    };
    let mut both = [
        attribute(oid::COMMON_NAME, der::UTF8_STRING, id.as_bytes()),
        attribute(oid::SERIAL_NUMBER, PRINTABLE_STRING, b"0001"),
    ];
    both.sort();
    der::tlv(der::SEQUENCE, &[&der::tlv(der::SET, &[&both[0], &both[1]])])
}

fn other_case(id: &str) -> String {
    let other =
        |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    id.chars().map(other).collect()
}

/// The name made longer or cut at its front, where names of a fleet differ least, to be this long.
fn of_length(id: &str, length: usize) -> String {
    let kept = tail(id, length);
    let missing = length - kept.len();
    let dash = if missing > 1 { "-" } else { "" };
    format!("{kept}{dash}{}", "x".repeat(missing - dash.len()))
}

/// The last characters of a registration id, which is ASCII.
pub(super) fn tail(id: &str, length: usize) -> &str {
    id.get(id.len().saturating_sub(length)..).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_length_have_it_and_stay_apart() {
        let long = "u".repeat(100);
        let ids = ["a", "unit-00001", "unit-00002", &format!("{long}-1"), &format!("{long}-2")];
        for length in [64, 65, 128, 129] {
            let made: Vec<String> = ids.iter().map(|id| of_length(id, length)).collect();
            assert!(made.iter().all(|name| name.len() == length), "{made:?}");
            let apart: std::collections::HashSet<&String> = made.iter().collect();
            assert_eq!(apart.len(), ids.len(), "{made:?}");
        }
    }
}
