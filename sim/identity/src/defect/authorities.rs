//! A CA's own certificate: section 7.2 of the fault matrix.

use super::draft::{CRL_SIGN, Draft, Ext};
use super::scene::Scene;
use super::workshop::Workshop;
use super::{Expected, FAILS, Family, INVALID, Others, PASSES, Recipe, Row};
use crate::der::oid;
use crate::issuer::IssueError;

/// webpki takes a verified CA as it is, but for its name and key. `ours:` that the service checks it like any other CA;
/// rows that depend on it are marked as guesses.
const PASSES_WEBPKI: Others = Others::are(false, true);

const REISSUE: &str =
    "Reissue the CA's certificate with the same name and key, as a CA: its devices stay as they are.";

pub(super) const ROWS: &[Row] = &[
    row("ca-issuer-is-leaf", INVALID, FAILS, |w| {
        changed(w, "ca-issuer-is-leaf", |d| d.instead(Ext::basic_constraints(true, false, None)))
    })
    .says("the CA that issued it says CA:FALSE", REISSUE)
    .diagnosed("issuer-not-ca"),
    row("ca-no-basic-constraints", INVALID, FAILS, |w| {
        changed(w, "ca-no-basic-constraints", |d| d.without(oid::BASIC_CONSTRAINTS))
    })
    .says("the CA that issued it has no basicConstraints, so it is no CA", REISSUE)
    .diagnosed("issuer-not-ca"),
    row("ca-bc-noncritical", Expected::Accept, PASSES, |w| {
        changed(w, "ca-bc-noncritical", |d| d.instead(Ext::basic_constraints(false, true, None)))
    })
    .says(
        "the basicConstraints of its CA are not marked critical",
        "Mark them critical when the CA's certificate is renewed; strict verifiers refuse it as it is.",
    )
    .diagnosed("bc-noncritical"),
    row("ca-pathlen-exceeded", INVALID, FAILS, |w| {
        w.require_room(2)?;
        let upper = w.ca(w.root(), "ca-pathlen-exceeded factory", |d| limited(d, 0))?;
        let line = w.ca(&upper, "ca-pathlen-exceeded", |d| d)?;
        Ok(w.scene(&line, &[&line, &upper, w.root()]).with_group(&line))
    })
    .says(
        "a CA on its path has pathLen 0 and all the same a CA below it",
        "Issue devices from the CA with pathLen 0 itself, or reissue its certificate with a path length \
         that fits.",
    )
    .diagnosed("pathlen-exceeded"),
    row("ca-pathlen-exact", Expected::Accept, PASSES, |w| {
        w.require_room(2)?;
        let upper = w.ca(w.root(), "ca-pathlen-exact factory", |d| limited(d, 1))?;
        let line = w.ca(&upper, "ca-pathlen-exact", |d| limited(d, 0))?;
        Ok(w.scene(&line, &[&line, &upper, w.root()]).with_group(&line))
    })
    .says(
        "a CA on its path has pathLen 1 and exactly one CA below it",
        "Nothing to repair: a path length counts the CAs below, and one is allowed.",
    ),
    row("ca-pathlen-self-issued", Expected::Accept, Others::are(true, false), |w| {
        let old = w.line("ca-pathlen-self-issued", |d| limited(d, 0))?;
        let serial = w.seed().serial("ca-pathlen-self-issued renewed", 0).to_vec();
        let renewed = Draft { serial, ..limited(w.ca_draft("ca-pathlen-self-issued"), 0) };
        let line = w.ca_of(&old, &renewed, w.key("ca-pathlen-self-issued renewed")?)?;
        Ok(w.scene(&line, &[&line, &old, w.root()]).with_group(&line))
    })
    .says(
        "a CA with pathLen 0 certified its own next key, which does not count as a CA below it",
        "Have the CA above certify the new key: common libraries count every CA and refuse this path.",
    )
    .diagnosed("pathlen-self-issued"),
    row("ca-pathlen-on-anchor", INVALID, PASSES_WEBPKI, |w| {
        under_own_root(w, "ca-pathlen-on-anchor", |d| limited(d, 0))
    })
    .says(
        "the verified root has pathLen 0 and all the same a CA below it",
        "Issue devices from the root, reissue it without the limit, or verify the CA below it.",
    )
    .diagnosed("pathlen-exceeded")
    .guessed(),
    row("ca-ku-no-certsign", INVALID, PASSES_WEBPKI, |w| {
        changed(w, "ca-ku-no-certsign", |d| d.instead(Ext::key_usage(CRL_SIGN)))
    })
    .says("the keyUsage of the CA that issued it lacks keyCertSign", REISSUE)
    .diagnosed("issuer-no-keycertsign"),
    row("ca-ku-absent", Expected::Accept, PASSES, |w| {
        changed(w, "ca-ku-absent", |d| d.without(oid::KEY_USAGE))
    })
    .says(
        "its CA has no keyUsage",
        "Add keyCertSign when the CA's certificate is renewed; strict verifiers refuse it as it is.",
    )
    .diagnosed("ca-ku-absent"),
    row("ca-anchor-ku-no-certsign", INVALID, PASSES_WEBPKI, |w| {
        under_own_root(w, "ca-anchor-ku-no-certsign", |d| d.instead(Ext::key_usage(CRL_SIGN)))
    })
    .says("the keyUsage of the verified root lacks keyCertSign", REISSUE)
    .diagnosed("issuer-no-keycertsign")
    .guessed(),
    row("ca-v1-intermediate", INVALID, FAILS, |w| {
        changed(w, "ca-v1-intermediate", |d| Draft { version: 1, ..d })
    })
    .says("the CA that issued it has a version 1 certificate, which cannot say that it is a CA", REISSUE)
    .diagnosed("issuer-v1"),
    row("ca-v1-anchor", INVALID, PASSES, |w| {
        under_own_root(w, "ca-v1-anchor", |d| Draft { version: 1, ..d })
    })
    .says("the verified root has a version 1 certificate, which cannot say that it is a CA", REISSUE)
    .diagnosed("issuer-v1")
    .guessed(),
    row("ca-anchor-no-bc", INVALID, PASSES, |w| {
        under_own_root(w, "ca-anchor-no-bc", |d| d.without(oid::BASIC_CONSTRAINTS))
    })
    .says("the verified root has no basicConstraints, so it is no CA", REISSUE)
    .diagnosed("issuer-not-ca")
    .guessed(),
    row("ca-no-ski", Expected::Accept, PASSES, |w| {
        let scene = changed(w, "ca-no-ski", |d| d.without(oid::SUBJECT_KEY_ID))?;
        Ok(scene.with_leaf(|d| d.without(oid::AUTHORITY_KEY_ID)))
    })
    .says(
        "neither its CA nor its own certificate carries a key identifier",
        "Add key identifiers at the next renewal: without them two CAs of one name cannot be told apart.",
    )
    .diagnosed("no-key-identifiers"),
];

const fn row(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Authority, expected, others, make)
}

/// Leaves of a CA with a group, below the verified root, that is not as it should be.
fn changed(w: &Workshop, id: &str, change: fn(Draft) -> Draft) -> Result<Scene, IssueError> {
    Ok(w.below_root(&w.line(id, change)?))
}

/// Leaves of a good CA with a group, below a verified root that is not as it should be.
fn under_own_root(w: &Workshop, id: &str, change: fn(Draft) -> Draft) -> Result<Scene, IssueError> {
    let root = w.own_root(&format!("{id} root"), change)?;
    let line = w.ca(&root, id, |d| d)?;
    Ok(w.scene(&line, &[&line, &root]).with_verified(&root).with_group(&line))
}

fn limited(draft: Draft, path_length: u8) -> Draft {
    draft.instead(Ext::basic_constraints(true, true, Some(path_length)))
}
