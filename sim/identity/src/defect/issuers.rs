//! Which issuer it was, and whether it signed: section 7.6 of the fault matrix.

use super::draft::{Ca, Draft, Ext, Spoil};
use super::scene::{AddedGroup, Scene};
use super::workshop::Workshop;
use super::{Expected, FAILS, Family, Others, PASSES, Recipe, Row, UNTRUSTED};
use crate::der::{self, oid};
use crate::issuer::IssueError;
use std::sync::Arc;
use time::Duration;

/// openssl tries one certificate of a name, and takes a key identifier at its word.
const PASSES_WEBPKI: Others = Others::are(false, true);
/// Only openssl compares names as RFC 5280 section 7.1 asks.
const PASSES_OPENSSL: Others = Others::are(true, false);

const SEND_ONE: &str =
    "Send the one whose key signed: verifiers that try only the first of a name would refuse.";
const KEEP_BYTES: &str =
    "Have the CA copy its subject byte for byte into what it issues: many verifiers compare names so.";
const NAME_RIGHT: &str =
    "Reissue the device's certificate with the CA's subject as its issuer, byte for byte.";
const SIGN_AGAIN: &str =
    "Reissue the certificate: it was damaged after it was signed, or not signed with its CA's key.";

pub(super) const ROWS: &[Row] = &[
    row("iss-same-name-other-key", UNTRUSTED, FAILS, |w| {
        Ok(Scene { issuer: generation(w, "iss-same-name-other-key")?, ..w.good() })
    })
    .says(
        "another generation of its CA signed its certificate: the one that it sends has that name and \
         another key",
        "Send the generation of the CA whose key identifier the device's certificate names.",
    )
    .diagnosed("wrong-issuer-key"),
    row("iss-same-name-both", Expected::Accept, PASSES, |w| both_generations(w, "iss-same-name-both"))
        .says("it sends two CAs of one name, and a key identifier tells which one signed", SEND_ONE)
        .diagnosed("ambiguous-issuer"),
    row("iss-same-name-both-no-aki", Expected::Accept, PASSES_WEBPKI, |w| {
        let scene = both_generations(w, "iss-same-name-both-no-aki")?;
        Ok(scene.with_leaf(|d| d.without(oid::AUTHORITY_KEY_ID)))
    })
    .says("it sends two CAs of one name, and no key identifier tells which one signed", SEND_ONE)
    .diagnosed("ambiguous-issuer"),
    row("iss-rekeyed-anchor-old", UNTRUSTED, FAILS, |w| {
        let [old, new] = rekeyed(w, "iss-rekeyed-anchor-old")?;
        Ok(w.scene(&new, &[&new]).with_verified(&old).with_group(&old))
    })
    .says(
        "the new generation of a root signed its certificate, and only the old one is verified",
        "Upload and verify the new generation of the root too, and add it to the group as its secondary \
         certificate.",
    )
    .diagnosed("wrong-issuer-key"),
    row("iss-rekeyed-anchor-both", Expected::Accept, PASSES, |w| {
        let [old, new] = rekeyed(w, "iss-rekeyed-anchor-both")?;
        let mut scene = w.scene(&new, &[&new]).with_verified(&old).with_verified(&new);
        scene.additions.groups.push(AddedGroup {
            primary: old.certificate.clone(),
            secondary: Some(new.certificate.clone()),
            enabled: true,
        });
        Ok(scene)
    })
    .says(
        "the new generation of a root signed its certificate, and both generations are verified",
        "Nothing to repair: this is how a root is replaced.",
    ),
    row("iss-aki-lies", Expected::Accept, PASSES_WEBPKI, |w| {
        let id = der::tlv(der::SEQUENCE, &[&der::tlv(0x80, &[&w.seed().draw("iss-aki-lies", 0, 0)[..20]])]);
        Ok(w.good().with_leaf(|d| d.instead(Ext::raw(oid::AUTHORITY_KEY_ID, false, id))))
    })
    .says(
        "its authority key identifier is not that of the CA that signed it",
        "Reissue the device's certificate with the CA's own key identifier: some verifiers refuse it as it \
         is.",
    )
    .diagnosed("aki-mismatch"),
    row("iss-cross-signed-a", Expected::Accept, PASSES_WEBPKI, |w| {
        let c = Crossed::mint(w, "iss-cross-signed-a", |d| d)?;
        Ok(w.scene(&c.by_a, &[&c.by_b, &c.by_a, &c.a]).with_verified(&c.a).with_group(&c.by_a))
    })
    .says("its CA is certified by two roots, and it sends the version of the unverified root first", SEND_ONE)
    .diagnosed("ambiguous-issuer"),
    row("iss-cross-signed-b", Expected::Accept, PASSES_WEBPKI, |w| {
        let c = Crossed::mint(w, "iss-cross-signed-b", |d| d)?;
        Ok(w.scene(&c.by_b, &[&c.by_a, &c.by_b, &c.b]).with_verified(&c.b).with_group(&c.by_b))
    })
    .says("its CA is certified by two roots, and it sends the version of the unverified root first", SEND_ONE)
    .diagnosed("ambiguous-issuer"),
    row("iss-cross-signed-missing", UNTRUSTED, FAILS, |w| {
        let c = Crossed::mint(w, "iss-cross-signed-missing", |d| d)?;
        Ok(w.scene(&c.by_b, &[&c.by_b, &c.b]).with_verified(&c.a).with_group(&c.by_a))
    })
    .says(
        "its CA is certified by two roots, and it sends only the version of the unverified one",
        "Send the version of the CA's certificate that the verified root signed, or verify the other root.",
    )
    .diagnosed("no-verified-ca"),
    row("iss-cross-signed-expired-branch", Expected::Accept, PASSES, |w| {
        let past = (w.now() - Duration::days(3650), w.now() - Duration::HOUR);
        let c = Crossed::mint(w, "iss-cross-signed-expired-branch", |d| d.between(past.0, past.1))?;
        let scene = w.scene(&c.by_a, &[&c.by_b, &c.b, &c.by_a, &c.a]);
        Ok(scene.with_verified(&c.a).with_verified(&c.b).with_group(&c.by_a))
    })
    .says(
        "its CA is certified by two roots, and the version that it sends first has expired",
        "Remove the expired version from the device's chain file.",
    )
    .diagnosed("expired-branch"),
    row("iss-loop", UNTRUSTED, FAILS, |w| {
        let id = "iss-loop";
        let (one, other) = (w.own_root(id, |d| d)?, w.own_root("iss-loop other", |d| d)?);
        let by_other = w.ca_of(&other, &w.ca_draft(id), one.signer.clone())?;
        let by_one = w.ca_of(&one, &w.ca_draft("iss-loop other"), other.signer.clone())?;
        Ok(w.scene(&by_other, &[&by_other, &by_one]))
    })
    .says(
        "the CAs that it sends certify each other in a circle, and none of them is verified",
        "Send a chain that ends at a verified CA.",
    )
    .diagnosed("chain-loop"),
    row("iss-name-mismatch", UNTRUSTED, FAILS, |w| {
        let name = w.ca_name("iss-name-mismatch");
        Ok(w.good().with_leaf(|d| Draft { issuer: Some(name), ..d }))
    })
    .says("its certificate names another issuer than the CA that signed it", NAME_RIGHT)
    .diagnosed("name-chain"),
    row("iss-name-string-type", Expected::Accept, PASSES_OPENSSL, |w| {
        renamed(w, "iss-name-string-type", |cn| {
            vec![
                (oid::ORGANIZATION, PRINTABLE_STRING, ORGANIZATION),
                (oid::COMMON_NAME, PRINTABLE_STRING, cn),
            ]
        })
    })
    .says("its issuer name has another string type than its CA's subject", KEEP_BYTES)
    .diagnosed("name-compare"),
    row("iss-name-case", Expected::Accept, PASSES_OPENSSL, |w| {
        renamed(w, "iss-name-case", |cn| {
            vec![(oid::ORGANIZATION, der::UTF8_STRING, b"RollCall"), (oid::COMMON_NAME, der::UTF8_STRING, cn)]
        })
    })
    .says("its issuer name differs from its CA's subject in letter case", KEEP_BYTES)
    .diagnosed("name-compare"),
    row("iss-name-space", Expected::Accept, PASSES_OPENSSL, |w| {
        renamed(w, "iss-name-space", |cn| {
            vec![
                (oid::ORGANIZATION, der::UTF8_STRING, b" rollcall  "),
                (oid::COMMON_NAME, der::UTF8_STRING, cn),
            ]
        })
    })
    .says("its issuer name differs from its CA's subject in spaces", KEEP_BYTES)
    .diagnosed("name-compare"),
    row("iss-name-rdn-order", UNTRUSTED, FAILS, |w| {
        renamed(w, "iss-name-rdn-order", |cn| {
            vec![
                (oid::COMMON_NAME, der::UTF8_STRING, cn),
                (oid::ORGANIZATION, der::UTF8_STRING, ORGANIZATION),
            ]
        })
    })
    .says(
        "its issuer name has the parts of its CA's subject in another order, which makes it another name",
        NAME_RIGHT,
    )
    .diagnosed("name-chain"),
    row("sig-corrupt-leaf", UNTRUSTED, FAILS, |w| spoilt(w, Spoil::FlipBit))
        .says("one bit of the signature of its certificate is wrong", SIGN_AGAIN)
        .diagnosed("sig-invalid"),
    row("sig-corrupt-int", UNTRUSTED, FAILS, |w| {
        let line = w.line("sig-corrupt-int", |d| Draft { spoil: Spoil::FlipBit, ..d })?;
        Ok(w.below_root(&line))
    })
    .says("one bit of the signature of its CA's certificate is wrong", SIGN_AGAIN)
    .diagnosed("sig-invalid"),
    row("sig-corrupt-above-anchor", Expected::Accept, PASSES, |w| {
        let root = w.own_root("sig-corrupt-above-anchor root", |d| Draft { spoil: Spoil::FlipBit, ..d })?;
        let line = w.ca(&root, "sig-corrupt-above-anchor", |d| d)?;
        Ok(w.scene(&line, &[&line, &root]).with_verified(&line).with_group(&line))
    })
    .says(
        "the signature of the root above its verified intermediate is wrong, which does not matter",
        "Nothing to repair: what lies above a verified CA is not looked at; leave the root out of the \
         chain file.",
    ),
    row("sig-alg-mismatch", Expected::Refused("invalid-certificate"), FAILS, |w| {
        let inner = der::tlv(der::SEQUENCE, &[&der::tlv(der::OID, &[oid::ECDSA_WITH_SHA512])]);
        Ok(w.good().with_leaf(|d| Draft { inner_algorithm: Some(inner), ..d }))
    })
    .says(
        "its certificate names one signature algorithm inside the signed part and another outside",
        SIGN_AGAIN,
    )
    .diagnosed("sig-alg-mismatch"),
    row("sig-wrong-alg-for-key", UNTRUSTED, FAILS, |w| spoilt(w, Spoil::Garbage))
        .says("what stands in place of its certificate's signature is no signature", SIGN_AGAIN)
        .diagnosed("sig-invalid"),
];

const fn row(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Issuer, expected, others, make)
}

const PRINTABLE_STRING: u8 = 0x13;
/// What a workshop's CAs have as their organisation.
const ORGANIZATION: &[u8] = b"rollcall";

/// Another generation of the factory: its name and another key.
fn generation(w: &Workshop, id: &str) -> Result<Arc<Ca>, IssueError> {
    let subject = w.factory().certificate.subject_der().to_vec();
    w.ca_of(w.root(), &Draft { subject, ..w.ca_draft(id) }, w.key(id)?)
}

/// A good device that sends another generation of the factory before the right one.
fn both_generations(w: &Workshop, id: &str) -> Result<Scene, IssueError> {
    let mut scene = w.good();
    scene.above.insert(0, generation(w, id)?.certificate.der().to_vec());
    Ok(scene)
}

/// Two generations of a root, the old one first.
fn rekeyed(w: &Workshop, id: &str) -> Result<[Arc<Ca>; 2], IssueError> {
    let old = w.own_root(id, |d| d)?;
    let next = format!("{id} next");
    let serial = w.seed().serial(&next, 0).to_vec();
    let new = w.self_signed(&Draft { serial, ..w.ca_draft(id) }, w.key(&next)?)?;
    Ok([old, new])
}

/// Two roots, and a CA that both certified.
struct Crossed {
    a: Arc<Ca>,
    b: Arc<Ca>,
    by_a: Arc<Ca>,
    by_b: Arc<Ca>,
}

impl Crossed {
    /// `change` tells the version of root B from that of root A.
    fn mint(w: &Workshop, id: &str, change: impl FnOnce(Draft) -> Draft) -> Result<Self, IssueError> {
        let a = w.own_root(&format!("{id} root a"), |d| d)?;
        let b = w.own_root(&format!("{id} root b"), |d| d)?;
        let by_a = w.ca(&a, id, |d| d)?;
        let serial = w.seed().serial(&format!("{id} by b"), 0).to_vec();
        let draft = change(Draft { serial, ..w.ca_draft(id) });
        let by_b = w.ca_of(&b, &draft, by_a.signer.clone())?;
        Ok(Crossed { a, b, by_a, by_b })
    }
}

/// OID, string type and bytes of a name's attributes.
type Attributes<'a> = Vec<(&'a [u8], u8, &'a [u8])>;

/// Leaves of a CA with a group, which write its name their own way; `write` is given its CN.
fn renamed(w: &Workshop, id: &str, write: fn(&[u8]) -> Attributes<'_>) -> Result<Scene, IssueError> {
    let line = w.line(id, |d| d)?;
    let name = der::name(&write(line.certificate.display_name().as_bytes()));
    Ok(w.below_root(&line).with_leaf(|d| Draft { issuer: Some(name), ..d }))
}

/// A good device but for its leaf's signature.
fn spoilt(w: &Workshop, spoil: Spoil) -> Result<Scene, IssueError> {
    Ok(w.good().with_leaf(|d| Draft { spoil, ..d }))
}
