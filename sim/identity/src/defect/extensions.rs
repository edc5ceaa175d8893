//! Extensions, name constraints among them.

use super::draft::{Draft, Ext};
use super::names::{DNS_NAME, tail};
use super::scene::Scene;
use super::workshop::Workshop;
use super::{Expected, Family, INVALID, Others, Recipe, Row};
use crate::der::{self, oid};
use crate::issuer::IssueError;

const NOT_CRITICAL: &str = "Reissue it with that extension not marked as critical.";
const ONCE: &str = "Reissue the device certificate with each extension once.";
const NOTHING: &str = "Nothing to repair: this is as it should be.";

pub(super) const ROWS: &[Row] = &[
    accepted("ext-unknown-noncritical", |w| with(w, unknown(false)))
        .says("the device certificate has an extension that nobody knows, not critical", NOTHING),
    refused("ext-unknown-critical-leaf", |w| with(w, unknown(true)))
        .says("the device certificate has a critical extension that nobody knows", NOT_CRITICAL)
        .diagnosed("ext-critical-unknown"),
    refused("ext-unknown-critical-int", |w| below(w, "ext-unknown-critical-int", unknown(true)))
        .says("its intermediate has a critical extension that nobody knows", NOT_CRITICAL)
        .diagnosed("ext-critical-unknown"),
    accepted("ext-unknown-critical-unused", |w| {
        let mut scene = w.good();
        let unused = w.own_root("ext-unknown-critical-unused", |d| d.with(unknown(true)))?;
        scene.above.push(unused.certificate.der().to_vec());
        Ok(scene)
    })
    .says(
        "a certificate that is sent and not needed has a critical extension that nobody knows",
        "Nothing to repair; do not send what is not needed.",
    ),
    row("ext-unknown-critical-anchor", INVALID, Others::are(false, true), |w| {
        below_own_root(w, "ext-unknown-critical-anchor", |d| d.with(unknown(true)))
    })
    .says("its verified CA has a critical extension that nobody knows", NOT_CRITICAL)
    .diagnosed("ext-critical-unknown"),
    refused("ext-duplicate", |w| with(w, Ext::purposes(false, &[oid::CLIENT_AUTH])))
        .says("the device certificate has extended key usage twice", ONCE)
        .diagnosed("ext-duplicate"),
    row("ext-duplicate-unknown", INVALID, Others::are(true, true), |w| {
        Ok(w.good().with_leaf(|d| d.with(unknown(false)).with(unknown(false))))
    })
    .says("the device certificate has one extension twice", ONCE)
    .diagnosed("ext-duplicate"),
    accepted("ext-dice-tcbinfo", |w| with(w, dice(false)))
        .says("the device certificate describes the firmware it was made for (DICE TcbInfo)", NOTHING),
    refused("ext-dice-tcbinfo-critical", |w| with(w, dice(true)))
        .says("the device certificate has DICE TcbInfo as a critical extension", NOT_CRITICAL)
        .diagnosed("ext-critical-unknown"),
    accepted("ext-policy", |w| with(w, policies(false)))
        .says("the device certificate names a certificate policy", NOTHING),
    row("ext-policy-critical", Expected::Accept, Others::are(true, false), |w| with(w, policies(true)))
        .says(
            "the device certificate names a certificate policy, critical, which not every verifier takes",
            "Nothing to repair; mark certificatePolicies as not critical when the certificate is renewed.",
        )
        .diagnosed("policy-critical"),
    row("ext-policy-constraints", INVALID, Others::are(true, false), |w| {
        // PolicyConstraints with requireExplicitPolicy 0 (RFC 5280 section 4.2.1.11).
        let explicit = der::tlv(der::SEQUENCE, &[&der::tlv(0x80, &[&[0]])]);
        below(w, "ext-policy-constraints", Ext::raw(oid::POLICY_CONSTRAINTS, true, explicit))
    })
    .says(
        "its intermediate demands a certificate policy, and the chain names none",
        "Reissue the intermediate without policyConstraints.",
    )
    .diagnosed("policy-constraints"),
];

const RENAME: &str = "Reissue the device certificate with names that its CAs' constraints allow.";

pub(super) const CONSTRAINT_ROWS: &[Row] = &[
    constrained("nc-dns-ok", Expected::Accept, Others::are(true, true), |w| {
        let line = below(w, "nc-dns-ok", permits(dns("contoso.example")))?;
        Ok(line.with_leaf(|d| d.with(alternative("device.contoso.example"))))
    })
    .says("its DNS name lies within the constraint of its CA", NOTHING),
    constrained("nc-dns-violated", INVALID, Others::are(false, false), |w| {
        let line = below(w, "nc-dns-violated", permits(dns("contoso.example")))?;
        Ok(line.with_leaf(|d| d.with(alternative("device.evil.example"))))
    })
    .says("its DNS name lies outside the one that its CA permits", RENAME)
    .diagnosed("nc-violation"),
    constrained("nc-dns-no-san", Expected::Accept, Others::are(true, true), |w| {
        let line = below(w, "nc-dns-no-san", permits(dns("contoso.example")))?;
        Ok(Scene { rename: Some(|id| id.replace('.', "-")), ..line })
    })
    .says("its CA constrains DNS names, of which it has none", NOTHING),
    constrained("nc-dns-cn-looks-like-dns", Expected::Accept, Others::are(false, true), |w| {
        let line = below(w, "nc-dns-cn-looks-like-dns", permits(dns("contoso.example")))?;
        Ok(Scene { rename: Some(|id| format!("{}.evil.example", tail(id, 115))), ..line })
    })
    .says(
        "its CN looks like a DNS name that its CA does not permit",
        "Nothing to repair; choose registration ids without dots, because some verifiers read a CN as a DNS name.",
    )
    .diagnosed("nc-cn-dns")
    .guessed(),
    constrained("nc-dns-excluded", INVALID, Others::are(false, false), |w| {
        let line = below(w, "nc-dns-excluded", constraint(EXCLUDED, dns("evil.example")))?;
        Ok(line.with_leaf(|d| d.with(alternative("device.evil.example"))))
    })
    .says("its DNS name is one that its CA excludes", RENAME)
    .diagnosed("nc-violation"),
    constrained("nc-dn-ok", Expected::Accept, Others::are(true, false), |w| {
        let line = below(w, "nc-dn-ok", permits(organization(b"rollcall")))?;
        Ok(Scene { subject: |id| device_of(b"rollcall", id), ..line })
    })
    .says(
        "its CA constrains subjects, which several verifiers refuse whatever the subject is",
        "Nothing to repair; a CA without constraints on subjects is taken by every verifier.",
    )
    .diagnosed("nc-dn")
    .guessed(),
    constrained("nc-dn-violated", INVALID, Others::are(false, false), |w| {
        let line = below(w, "nc-dn-violated", permits(organization(b"rollcall")))?;
        Ok(Scene { subject: |id| device_of(b"another", id), ..line })
    })
    .says("its subject lies outside the one that its CA permits", RENAME)
    .diagnosed("nc-violation"),
    constrained("nc-dn-cn-only", INVALID, Others::are(false, false), |w| {
        below(w, "nc-dn-cn-only", permits(organization(b"rollcall")))
    })
    .says("its subject is a CN alone, and its CA permits only subjects of one organisation", RENAME)
    .diagnosed("nc-violation"),
    constrained("nc-dn-on-anchor", INVALID, Others::are(false, false), |w| {
        // The CAs' own subjects are of this organisation; the device's is a CN alone.
        below_own_root(w, "nc-dn-on-anchor", |d| d.with(permits(organization(b"rollcall"))))
    })
    .says("its subject lies outside the one that its verified CA permits", RENAME)
    .diagnosed("nc-violation"),
];

const fn row(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Extension, expected, others, make)
}

/// A row that every verifier takes.
const fn accepted(id: &'static str, make: Recipe) -> Row {
    row(id, Expected::Accept, Others::are(true, true), make)
}

/// A row that no verifier takes.
const fn refused(id: &'static str, make: Recipe) -> Row {
    row(id, INVALID, Others::are(false, false), make)
}

const fn constrained(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::NameConstraints, expected, others, make)
}

/// A good device whose certificate has one more extension.
fn with(w: &Workshop, extension: Ext) -> Result<Scene, IssueError> {
    Ok(w.good().with_leaf(|d| d.with(extension)))
}

/// Devices of a CA below the verified root that has one more extension.
fn below(w: &Workshop, label: &str, extension: Ext) -> Result<Scene, IssueError> {
    Ok(w.below_root(&w.line(label, |d| d.with(extension))?))
}

/// Devices of a CA with a group, below a verified root that is wrong.
fn below_own_root(
    w: &Workshop,
    label: &str,
    change: impl FnOnce(Draft) -> Draft,
) -> Result<Scene, IssueError> {
    let root = w.own_root(&format!("{label} root"), change)?;
    let ca = w.ca(&root, label, |d| d)?;
    Ok(w.scene(&ca, &[&ca, &root]).with_verified(&root).with_group(&ca))
}

/// 2.999.1, below the arc that is set aside for examples.
pub(super) const EXAMPLE: &[u8] = &[0x88, 0x37, 0x01];

fn unknown(critical: bool) -> Ext {
    Ext::raw(EXAMPLE, critical, der::tlv(der::UTF8_STRING, &[b"rollcall"]))
}

/// DiceTcbInfo with nothing but a vendor (TCG DICE Attestation Architecture, section 6.1.1).
fn dice(critical: bool) -> Ext {
    Ext::raw(oid::DICE_TCB_INFO, critical, der::tlv(der::SEQUENCE, &[&der::tlv(0x80, &[b"rollcall"])]))
}

/// certificatePolicies with one policy of the arc for examples (RFC 5280 section 4.2.1.4).
fn policies(critical: bool) -> Ext {
    let policy = der::tlv(der::SEQUENCE, &[&der::tlv(der::OID, &[EXAMPLE])]);
    Ext::raw(oid::CERTIFICATE_POLICIES, critical, der::tlv(der::SEQUENCE, &[&policy]))
}

/// permittedSubtrees and excludedSubtrees (RFC 5280 section 4.2.1.10).
const PERMITTED: u8 = 0xa0;
const EXCLUDED: u8 = 0xa1;

/// Critical nameConstraints with one subtree.
fn constraint(list: u8, base: Vec<u8>) -> Ext {
    let subtree = der::tlv(der::SEQUENCE, &[&base]);
    Ext::raw(oid::NAME_CONSTRAINTS, true, der::tlv(der::SEQUENCE, &[&der::tlv(list, &[&subtree])]))
}

fn permits(base: Vec<u8>) -> Ext {
    constraint(PERMITTED, base)
}

fn dns(domain: &str) -> Vec<u8> {
    der::tlv(DNS_NAME, &[domain.as_bytes()])
}

/// directoryName of a GeneralName: one organisation.
fn organization(name: &[u8]) -> Vec<u8> {
    der::tlv(0xa4, &[&der::name(&[(oid::ORGANIZATION, der::UTF8_STRING, name)])])
}

/// subjectAltName with one DNS name.
fn alternative(name: &str) -> Ext {
    Ext::raw(oid::SUBJECT_ALT_NAME, false, der::tlv(der::SEQUENCE, &[&dns(name)]))
}

/// The subject of an organisation's device.
fn device_of(organization: &[u8], id: &str) -> Vec<u8> {
    der::name(&[
        (oid::ORGANIZATION, der::UTF8_STRING, organization),
        (oid::COMMON_NAME, der::UTF8_STRING, id.as_bytes()),
    ])
}
