//! The profile of the device's certificate, extended key usage among it: sections 7.3 and 7.4 of the fault
//! matrix.

use super::draft::{DIGITAL_SIGNATURE, Draft, Ext, KEY_CERT_SIGN, KEY_ENCIPHERMENT};
use super::scene::Scene;
use super::workshop::Workshop;
use super::{Expected, FAILS, Family, INVALID, Others, PASSES, Recipe, Row};
use crate::der::oid;
use crate::issuer::IssueError;

pub(super) const ROWS: &[Row] = &[
    leaf("leaf-ca-true", INVALID, Others::are(true, false), |w| {
        changed(w, |d| d.instead(Ext::basic_constraints(true, true, None)))
    })
    .says("its certificate says that it is a CA", "Reissue the device's certificate with CA:FALSE.")
    .diagnosed("leaf-is-ca"),
    leaf("leaf-bc-absent", Expected::Accept, PASSES, |w| changed(w, |d| d.without(oid::BASIC_CONSTRAINTS)))
        .says(
            "its certificate has no basicConstraints",
            "Nothing to repair: without the extension a certificate is no CA's.",
        ),
    leaf("leaf-ku-absent", Expected::Accept, PASSES, |w| changed(w, |d| d.without(oid::KEY_USAGE))).says(
        "its certificate has no keyUsage",
        "Nothing to repair: without the extension a key may be used for everything.",
    ),
    leaf("leaf-ku-no-digsig", INVALID, Others::are(false, true), |w| {
        changed(w, |d| d.instead(Ext::key_usage(KEY_ENCIPHERMENT)))
    })
    .says(
        "the keyUsage of its certificate lacks digitalSignature, which TLS needs of a client",
        "Reissue the device's certificate with digitalSignature in its keyUsage.",
    )
    .diagnosed("leaf-ku"),
    leaf("leaf-ku-certsign-not-ca", Expected::Accept, PASSES, |w| {
        changed(w, |d| d.instead(Ext::key_usage(DIGITAL_SIGNATURE | KEY_CERT_SIGN)))
    })
    .says(
        "its keyUsage lists keyCertSign although it is no CA",
        "Leave keyCertSign out when the device's certificate is renewed.",
    )
    .diagnosed("leaf-ku-certsign"),
    leaf("leaf-v1", Expected::Accept, Others::are(true, false), |w| {
        changed(w, |d| Draft { version: 1, ..d })
    })
    .says(
        "its certificate is of version 1, without extensions",
        "Sign requests with an extension file, so that the next certificate is of version 3: many \
             libraries refuse version 1.",
    )
    .diagnosed("leaf-v1"),
    leaf("leaf-signs-leaf", INVALID, FAILS, |w| {
        let thief = w.other_device("leaf-signs-leaf")?;
        let mut scene = w.scene(&thief, &[&thief]);
        scene.above.extend(w.good().above);
        Ok(scene)
    })
    .says(
        "another device signed its certificate, and a device is no CA",
        "Find out who holds the other device's key and disable that device; have the CA issue this one's \
         certificate.",
    )
    .diagnosed("issuer-not-ca"),
];

pub(super) const PURPOSE_ROWS: &[Row] = &[
    purpose("eku-absent", Expected::Accept, PASSES, |w| changed(w, |d| d.without(oid::EXT_KEY_USAGE))).says(
        "its certificate has no extended key usage",
        "Nothing to repair: without the extension every purpose is allowed.",
    ),
    purpose("eku-client", Expected::Accept, PASSES, |w| Ok(w.good()))
        .says("its extended key usage is clientAuth", "Nothing to repair: this is the usual profile."),
    purpose("eku-both", Expected::Accept, PASSES, |w| listed(w, &[oid::SERVER_AUTH, oid::CLIENT_AUTH])).says(
        "its extended key usage lists serverAuth and clientAuth",
        "Nothing to repair: clientAuth is listed.",
    ),
    // `ours:` whether the service looks at purposes is unknown: every row without clientAuth is a guess.
    purpose("eku-server-only", INVALID, FAILS, |w| listed(w, &[oid::SERVER_AUTH]))
        .says("its extended key usage is serverAuth alone", ADD_CLIENT_AUTH)
        .diagnosed("eku-no-clientauth")
        .guessed(),
    purpose("eku-any", Expected::Accept, FAILS, |w| listed(w, &[oid::ANY_EXTENDED_KEY_USAGE]))
        .says("its extended key usage is anyExtendedKeyUsage alone", ADD_CLIENT_AUTH)
        .diagnosed("eku-any-only")
        .guessed(),
    purpose("eku-code", INVALID, FAILS, |w| listed(w, &[oid::CODE_SIGNING]))
        .says("its extended key usage is codeSigning alone", ADD_CLIENT_AUTH)
        .diagnosed("eku-no-clientauth")
        .guessed(),
    purpose("eku-empty", INVALID, FAILS, |w| listed(w, &[]))
        .says("its extended key usage lists nothing, which the syntax forbids", ADD_CLIENT_AUTH)
        .diagnosed("eku-empty")
        .guessed(),
    purpose("eku-client-critical", Expected::Accept, PASSES, |w| {
        changed(w, |d| d.instead(Ext::purposes(true, &[oid::CLIENT_AUTH])))
    })
    .says(
        "its extended key usage is clientAuth and critical",
        "Nothing to repair: every verifier knows the extension.",
    ),
    purpose("eku-ca-server-only", INVALID, FAILS, |w| {
        let line = w.line("eku-ca-server-only", |d| d.with(Ext::purposes(false, &[oid::SERVER_AUTH])))?;
        Ok(w.below_root(&line))
    })
    .says(
        "the extended key usage of its CA is serverAuth alone, and what a CA lacks its devices lack",
        "Issue devices from a CA that has clientAuth in its extended key usage, or none at all; public CAs \
         often have serverAuth alone.",
    )
    .diagnosed("ca-eku")
    .guessed(),
    purpose("eku-ca-client", Expected::Accept, PASSES, |w| {
        let line = w.line("eku-ca-client", |d| d.with(Ext::purposes(false, &[oid::CLIENT_AUTH])))?;
        Ok(w.below_root(&line))
    })
    .says(
        "the extended key usage of its CA is clientAuth",
        "Nothing to repair: what the CA allows is what its devices need.",
    ),
];

const ADD_CLIENT_AUTH: &str = "Reissue the device's certificate with clientAuth in its extended key usage.";

const fn leaf(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Leaf, expected, others, make)
}

const fn purpose(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Purpose, expected, others, make)
}

/// A good device but for its leaf.
fn changed(w: &Workshop, change: fn(Draft) -> Draft) -> Result<Scene, IssueError> {
    Ok(w.good().with_leaf(change))
}

/// A good device but for its leaf's extended key usage.
fn listed(w: &Workshop, purposes: &[&[u8]]) -> Result<Scene, IssueError> {
    Ok(w.good().with_leaf(|d| d.instead(Ext::purposes(false, purposes))))
}
