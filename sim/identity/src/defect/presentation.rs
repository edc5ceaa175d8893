//! What is sent, and in which order: section 7.1 of the fault matrix.

use super::draft::Ca;
use super::scene::{Scene, TakenFor, leaf_first};
use super::workshop::Workshop;
use super::{Expected, FAILS, Family, Make, Others, PASSES, Recipe, Row, UNTRUSTED};
use crate::issuer::IssueError;
use std::sync::Arc;

pub(super) const ROWS: &[Row] = &[
    row("pres-full", Expected::Accept, PASSES, |w| Ok(w.good()))
        .says(
            "it sends its certificate, every intermediate and the root",
            "Nothing to repair: this is the reference case; leaving the root out would save bytes only \
             where the verified CA lies below it.",
        )
        .diagnosed("root-sent"),
    // `ours:` whether the verified CA has to be sent is unknown: it and the rows below that leave it out are guesses.
    row("pres-root-omitted", Expected::Accept, PASSES, |w| {
        let mut scene = w.good();
        scene.above.retain(|der| der != w.root().certificate.der());
        Ok(scene)
    })
    .says(
        "it sends every intermediate but not the verified root",
        "Append the verified CA's certificate to the device's chain file, as the documentation asks.",
    )
    .diagnosed("verified-ca-not-sent")
    .guessed(),
    row("pres-leaf-only-issuer-verified", Expected::Accept, PASSES, |w| {
        let line = w.line("pres-leaf-only-issuer-verified", |d| d)?;
        Ok(w.scene(&line, &[]).with_verified(&line).with_group(&line))
    })
    .says(
        "it sends its certificate alone; the CA that issued it is verified",
        "Append the verified CA's certificate to the device's chain file, as the documentation asks.",
    )
    .diagnosed("verified-ca-not-sent")
    .guessed(),
    row("pres-leaf-only-issuer-not-verified", UNTRUSTED, FAILS, |w| {
        w.leaf_alone("pres-leaf-only-issuer-not-verified")
    })
    .says(
        "it sends its certificate alone, and the CA that issued it is not verified",
        "Append the certificates from the issuing CA up to the verified one to the device's chain file, or \
         verify the issuing CA.",
    )
    .diagnosed("chain-incomplete"),
    row("pres-gap", UNTRUSTED, FAILS, |w| {
        let tiers = Tiers::mint(w, "pres-gap")?;
        Ok(w.scene(&tiers.line, &[&tiers.line, w.root()]).with_group(&tiers.line))
    })
    .says(
        "an intermediate is missing from the middle of what it sends",
        "Append the missing intermediate's certificate to the device's chain file.",
    )
    .diagnosed("chain-incomplete"),
    row("pres-leaf-from-root", Expected::Accept, PASSES, |w| {
        let root = w.own_root("pres-leaf-from-root", |d| d)?;
        Ok(w.scene(&root, &[]).with_verified(&root).with_group(&root))
    })
    .says(
        "its certificate comes straight from the verified root",
        "Issue devices from an intermediate for each line, so that one line can be disabled without the \
         others.",
    )
    .diagnosed("flat-hierarchy")
    .guessed(),
    row("pres-intermediate-verified", Expected::Accept, PASSES, |w| {
        let own = Own::mint(w, "pres-intermediate-verified")?;
        Ok(w.scene(&own.line, &[&own.line]).with_verified(&own.line).with_group(&own.line))
    })
    .says(
        "its chain ends at a verified intermediate; the root is not known to the instance",
        "Nothing to repair: a verified CA need not be a root.",
    ),
    row("pres-intermediate-verified-full", Expected::Accept, PASSES, |w| {
        let own = Own::mint(w, "pres-intermediate-verified-full")?;
        Ok(w.scene(&own.line, &[&own.line, &own.root]).with_verified(&own.line).with_group(&own.line))
    })
    .says(
        "it sends an unverified root above a verified intermediate",
        "Nothing to repair: leave the root out of the device's chain file to save bytes on every handshake.",
    )
    .diagnosed("root-sent"),
    row("pres-reversed-tail", Expected::Accept, PASSES, |w| {
        Ok(Scene { arrange: tail_reversed, ..Tiers::mint(w, "pres-reversed-tail")?.scene(w) })
    })
    .says(
        "the CA certificates that it sends stand in reverse order",
        "Put them in order in the device's chain file: each one right after the one that it issued.",
    )
    .diagnosed("chain-order"),
    row("pres-shuffled", Expected::Accept, PASSES, |w| {
        Ok(Scene { arrange: tail_shuffled, ..Tiers::mint(w, "pres-shuffled")?.scene(w) })
    })
    .says(
        "the CA certificates that it sends stand in no order",
        "Put them in order in the device's chain file: each one right after the one that it issued.",
    )
    .diagnosed("chain-order"),
    row("pres-unrelated", Expected::Accept, PASSES, |w| {
        let stranger = Own::mint(w, "pres-unrelated")?;
        let mut scene = w.good();
        scene.above.insert(0, stranger.line.certificate.der().to_vec());
        scene.above.push(stranger.root.certificate.der().to_vec());
        Ok(scene)
    })
    .says(
        "it sends CA certificates of another hierarchy besides its own",
        "Remove the certificates that no path uses from the device's chain file.",
    )
    .diagnosed("chain-extra"),
    row("pres-duplicates", Expected::Accept, PASSES, |w| Ok(Scene { arrange: tail_twice, ..w.good() }))
        .says(
            "it sends every CA certificate twice",
            "Keep one copy of each certificate in the device's chain file.",
        )
        .diagnosed("chain-duplicate"),
    row("pres-leaf-repeated", Expected::Accept, PASSES, |w| Ok(Scene { arrange: leaf_again, ..w.good() }))
        .says(
            "it sends its own certificate a second time, after the CAs",
            "Give the device a file of CA certificates alone as what follows its certificate.",
        )
        .diagnosed("chain-duplicate"),
    row("pres-other-leaf", Expected::Accept, PASSES, |w| {
        let other = w.other_device("pres-other-leaf")?;
        let mut scene = w.good();
        scene.above.insert(0, other.certificate.der().to_vec());
        Ok(scene)
    })
    .says(
        "it sends another device's certificate among its CAs",
        "Find out which device owns which file, then remove the other device's certificate.",
    )
    .diagnosed("chain-extra"),
    // The first certificate counts as the device's: it is judged by name before any path is looked for.
    row("pres-ca-first", Expected::Refused("cn-mismatch"), FAILS, |w| {
        Ok(Scene { arrange: leaf_last, ..w.good() })
    })
    .says(
        "it sends the CA certificates first and its own last",
        "Put the device's certificate first in its chain file.",
    )
    .diagnosed("leaf-not-first")
    .offline(),
    row("pres-other-tenant", UNTRUSTED, FAILS, |w| {
        let stranger = Own::mint(w, "pres-other-tenant")?;
        Ok(w.scene(&stranger.line, &[&stranger.line, &stranger.root]))
    })
    .says(
        "its chain is good and belongs to a hierarchy of which nothing is verified here",
        "Send the device to the instance of its owner, or upload and verify one of its CAs here.",
    )
    .diagnosed("no-verified-ca"),
    row("pres-self-signed-leaf", UNTRUSTED, FAILS, |w| {
        Ok(Scene { self_signed: true, above: Vec::new(), ..w.good() })
    })
    .says(
        "its certificate is self-signed, and no group can match it",
        "Issue the device's certificate under the CA of its group, or give the device an individual \
         enrollment.",
    )
    .diagnosed("leaf-self-signed"),
    row("pres-leaf-is-verified", UNTRUSTED, Others::are(true, false), |w| {
        let stranger = Own::mint(w, "pres-leaf-is-verified")?;
        let mut scene = w.scene(&stranger.line, &[&stranger.line, &stranger.root]);
        scene.additions.own_leaf = Some(TakenFor::VerifiedCa);
        Ok(scene)
    })
    .says(
        "its own certificate was uploaded as a CA, and a device cannot vouch for itself",
        "Delete the device's certificate from the instance's CAs; upload and verify the CA that issued it.",
    )
    .diagnosed("leaf-uploaded-as-ca"),
    unminted("pres-empty", Expected::Refused("no-credential")).says(
        "it presents no certificate, and no token either",
        "Configure the device's certificate, chain and key in its TLS client.",
    ),
    row("pres-unparseable-extra", Expected::Accept, Others::NONE, |w| {
        let mut scene = w.good();
        scene.above.insert(0, b"no certificate".to_vec());
        Ok(scene)
    })
    .says(
        "something that is no certificate stands among what it sends",
        "Write the device's chain file anew from certificates alone.",
    )
    .diagnosed("chain-extra"),
    row("pres-unparseable-leaf", Expected::Refused("invalid-certificate"), FAILS, |w| {
        Ok(Scene { arrange: leaf_truncated, ..w.good() })
    })
    .says(
        "what it sends first is no certificate: the handshake fails with a decoding error",
        "Copy the device's certificate to it again, whole.",
    )
    .offline(),
    unminted("pres-key-mismatch", Expected::Refused("handshake-failed"))
        .says(
            "its private key does not belong to its certificate: the handshake fails",
            "Pair the device's certificate with the key that was certified.",
        )
        .diagnosed("key-mismatch"),
    row("pres-pfx-without-chain", UNTRUSTED, FAILS, |w| {
        w.leaf_alone("pres-pfx-without-chain")
    })
    .says(
        "it sends its certificate alone, because its TLS stack sends only the CAs that the system's store \
         holds",
        "Install the intermediates of the PFX file in the system's store, or export the file with the \
         whole chain.",
    )
    .diagnosed("chain-incomplete"),
];

const fn row(id: &'static str, expected: Expected, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Presentation, expected, others, make)
}

/// What never gets as far as a chain.
const fn unminted(id: &'static str, expected: Expected) -> Row {
    Row { make: Make::Nothing, ..row(id, expected, Others::NONE, |w| Ok(w.good())) }
}

/// Two CAs below the verified root, one below the other.
struct Tiers {
    factory: Arc<Ca>,
    line: Arc<Ca>,
}

impl Tiers {
    fn mint(w: &Workshop, id: &str) -> Result<Self, IssueError> {
        w.require_room(2)?;
        let factory = w.ca(w.root(), &format!("{id} factory"), |d| d)?;
        let line = w.ca(&factory, id, |d| d)?;
        Ok(Tiers { factory, line })
    }

    fn scene(&self, w: &Workshop) -> Scene {
        w.scene(&self.line, &[&self.line, &self.factory, w.root()]).with_group(&self.line)
    }
}

/// A hierarchy of its own.
struct Own {
    root: Arc<Ca>,
    line: Arc<Ca>,
}

impl Own {
    fn mint(w: &Workshop, id: &str) -> Result<Self, IssueError> {
        let root = w.own_root(&format!("{id} root"), |d| d)?;
        let line = w.ca(&root, id, |d| d)?;
        Ok(Own { root, line })
    }
}

fn tail_reversed(leaf: Vec<u8>, above: &[Vec<u8>]) -> Vec<Vec<u8>> {
    std::iter::once(leaf).chain(above.iter().rev().cloned()).collect()
}

fn tail_shuffled(leaf: Vec<u8>, above: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chain = leaf_first(leaf, above);
    chain[1..].rotate_left(1);
    chain
}

fn tail_twice(leaf: Vec<u8>, above: &[Vec<u8>]) -> Vec<Vec<u8>> {
    leaf_first(leaf, &[above, above].concat())
}

fn leaf_again(leaf: Vec<u8>, above: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut chain = leaf_first(leaf, above);
    chain.push(chain[0].clone());
    chain
}

fn leaf_last(leaf: Vec<u8>, above: &[Vec<u8>]) -> Vec<Vec<u8>> {
    above.iter().cloned().chain([leaf]).collect()
}

fn leaf_truncated(mut leaf: Vec<u8>, above: &[Vec<u8>]) -> Vec<Vec<u8>> {
    leaf.truncate(leaf.len() / 2);
    leaf_first(leaf, above)
}
