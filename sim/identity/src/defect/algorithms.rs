//! Algorithms and keys.

use super::draft::Ca;
use super::odd::{self, OddKey, OddSigner, RsaForm};
use super::scene::Scene;
use super::workshop::Workshop;
use super::{Expected, Family, INVALID, Others, Recipe, Row};
use crate::issuer::IssueError;
use crate::key::{KeyAlgorithm, KeyFault, PrivateKey, Signer};
use std::sync::Arc;

const NOTHING: &str = "Nothing to repair: this is as it should be.";
const USUAL_KEY: &str = "Give the device a P-256 or RSA-2048 key and reissue its certificate.";
const USUAL_KEYS: &str =
    "Nothing to repair; P-256 or RSA-2048 are the keys that every service and stack takes.";
const REISSUE_ALL: &str = "Move the whole hierarchy to P-256 or RSA-2048 keys with SHA-256.";
const STRONGER_DIGEST: &str = "Reissue what was signed with it, with SHA-256.";

pub(super) const ROWS: &[Row] = &[
    accepted("alg-p256", |w| usual(w, "alg-p256", KeyAlgorithm::P256))
        .says("keys are on P-256 and signatures are made with SHA-256", NOTHING),
    accepted("alg-p384", |w| usual(w, "alg-p384", KeyAlgorithm::P384))
        .says("keys are on P-384 and signatures are made with SHA-384", NOTHING),
    accepted("alg-p521", |w| usual(w, "alg-p521", KeyAlgorithm::P521))
        .says("all keys are on P-521, which not every TLS stack has", USUAL_KEYS)
        .diagnosed("key-unusual")
        .guessed(),
    accepted("alg-p521-leaf-only", |w| Ok(with_key(w, OddKey::Usual(KeyAlgorithm::P521))))
        .says("the device's key is on P-521, which not every TLS stack has", USUAL_KEYS)
        .diagnosed("key-unusual")
        .guessed(),
    refused("alg-k256", Others::are(true, false), |w| {
        throughout(w, "alg-k256", |part| odd::k256(w.seed(), part, 0).map(|pair| pair.signer), OddKey::K256)
    })
    .says("all keys are on secp256k1, for which TLS has no signatures", REISSUE_ALL)
    .diagnosed("key-unsupported")
    .offline(),
    refused("alg-k256-leaf-only", Others::are(true, true), |w| Ok(with_key(w, OddKey::K256)))
        .says("the device's key is on secp256k1, for which TLS has no signatures", USUAL_KEY)
        .diagnosed("key-unsupported")
        .offline(),
    refused("alg-p224", Others::are(true, false), |w| {
        throughout(w, "alg-p224", |part| odd::p224(w.seed(), part, 0).map(|pair| pair.signer), OddKey::P224)
    })
    .says("all keys are on P-224, which TLS 1.3 does not have", REISSUE_ALL)
    .diagnosed("key-unsupported")
    .offline(),
    accepted("alg-ed25519", |w| usual(w, "alg-ed25519", KeyAlgorithm::Ed25519))
        .says("all keys are Ed25519, which not every TLS stack has", USUAL_KEYS)
        .diagnosed("key-unusual")
        .guessed(),
    accepted("alg-ed25519-leaf-only", |w| Ok(with_key(w, OddKey::Usual(KeyAlgorithm::Ed25519))))
        .says("the device's key is Ed25519, which not every TLS stack has", USUAL_KEYS)
        .diagnosed("key-unusual")
        .guessed(),
    refused("alg-rsa1024", Others::are(true, false).at_level_2(false), |w| {
        throughout(
            w,
            "alg-rsa1024",
            |part| odd::rsa1024(w.seed(), part, 0).map(|pair| pair.signer),
            OddKey::Rsa1024,
        )
    })
    .says("all keys are RSA with 1024 bits, which protect nothing any more", REISSUE_ALL)
    .diagnosed("key-weak")
    .guessed()
    .offline(),
    refused("alg-rsa1024-leaf-only", Others::are(true, true).at_level_2(false), |w| {
        let scene = line(w, "alg-rsa1024-leaf-only", PrivateKey::fresh_rsa(KeyAlgorithm::Rsa2048)?)?;
        Ok(Scene { leaf_key: Some(OddKey::Rsa1024), ..scene })
    })
    .says("the device's key is RSA with 1024 bits, which protects nothing any more", USUAL_KEY)
    .diagnosed("key-weak")
    .guessed()
    .offline(),
    accepted("alg-rsa2048", |w| usual(w, "alg-rsa2048", KeyAlgorithm::Rsa2048))
        .says("all keys are RSA with 2048 bits", NOTHING),
    accepted("alg-rsa3072", |w| usual(w, "alg-rsa3072", KeyAlgorithm::Rsa3072))
        .says("all keys are RSA with 3072 bits", NOTHING),
    accepted("alg-rsa4096", |w| usual(w, "alg-rsa4096", KeyAlgorithm::Rsa4096))
        .says(
            "all keys are RSA with 4096 bits, and the chain is some kilobytes long",
            "Nothing to repair; with P-256 keys the chain has a fifth of the size.",
        )
        .diagnosed("chain-size"),
    accepted("alg-rsa2048-e3", |w| {
        let scene = line(w, "alg-rsa2048-e3", odd::exponent_3()?)?;
        Ok(Scene { leaf_key: Some(OddKey::Exponent3), ..scene })
    })
    .says(
        "the exponent of its RSA keys is 3",
        "Nothing to repair; 65537 is the exponent that no stack objects to.",
    )
    .diagnosed("key-unusual"),
    accepted("alg-rsapss-sig", |w| rsa_throughout(w, "alg-rsapss-sig", RsaForm::Pss))
        .says("the CAs sign with RSASSA-PSS", NOTHING),
    Row {
        others: Others::are(true, false),
        ..accepted("alg-rsapss-key", |w| rsa_throughout(w, "alg-rsapss-key", RsaForm::PssOnly))
    }
    .says(
        "the CAs' keys are typed as RSASSA-PSS keys, which several verifiers do not take",
        "Nothing to repair; CA keys typed rsaEncryption are taken by every verifier.",
    )
    .diagnosed("key-unusual")
    .guessed(),
    refused("alg-sha1-rsa", Others::are(true, false).at_level_2(false), |w| {
        rsa_throughout(w, "alg-sha1-rsa", RsaForm::Sha1)
    })
    .says("the CAs sign with SHA-1, which can be forged", REISSUE_ALL)
    .diagnosed("sig-alg-weak")
    .guessed(),
    refused("alg-sha1-leaf", Others::are(true, false).at_level_2(false), |w| {
        line(w, "alg-sha1-leaf", fresh_rsa_that_signs(RsaForm::Sha1)?)
    })
    .says("the device's certificate is signed with SHA-1, which can be forged", STRONGER_DIGEST)
    .diagnosed("sig-alg-weak")
    .guessed(),
    refused("alg-sha1-ecdsa", Others::are(true, false).at_level_2(false), |w| {
        throughout(w, "alg-sha1-ecdsa", |part| odd::p256_sha1(w.seed(), part), P256)
    })
    .says("the CAs sign with ECDSA and SHA-1, which can be forged", STRONGER_DIGEST)
    .diagnosed("sig-alg-weak"),
    refused("alg-md5-leaf", Others::are(true, false).at_level_2(false), |w| {
        line(w, "alg-md5-leaf", fresh_rsa_that_signs(RsaForm::Md5)?)
    })
    .says("the device's certificate is signed with MD5, which can be forged", STRONGER_DIGEST)
    .diagnosed("sig-alg-weak"),
    accepted("alg-rsa-sha512", |w| rsa_throughout(w, "alg-rsa-sha512", RsaForm::Sha512))
        .says("the CAs sign with RSA and SHA-512", NOTHING),
    accepted("alg-p256-sha512", |w| {
        Ok(admitted(throughout(w, "alg-p256-sha512", |part| odd::p256_sha512(w.seed(), part), P256)?))
    })
    .says(
        "the CAs sign with P-256 and SHA-512, which not every verifier takes together",
        "Nothing to repair; P-256 with SHA-256 is what every verifier takes.",
    )
    .diagnosed("key-unusual"),
    accepted("alg-p384-sha256", |w| {
        Ok(admitted(throughout(w, "alg-p384-sha256", |part| odd::p384_sha256(w.seed(), part), P256)?))
    })
    .says("the CAs sign with P-384 and SHA-256", NOTHING),
    accepted("alg-sha1-anchor-self-sig", anchor_signed_with_sha1)
        .says(
            "the verified root signed itself with SHA-1",
            "Nothing to repair: nobody relies on the signature that a root makes over itself.",
        )
        .diagnosed("sig-alg-weak"),
    accepted("alg-mixed", |w| {
        Ok(admitted(throughout(w, "alg-mixed", |_| PrivateKey::fresh_rsa(KeyAlgorithm::Rsa4096), P256)?))
    })
    .says("the CAs' keys are RSA with 4096 bits and the device's is on P-256", NOTHING),
];

const P256: OddKey = OddKey::Usual(KeyAlgorithm::P256);

/// A row that is let in, and that every verifier takes.
const fn accepted(id: &'static str, make: Recipe) -> Row {
    Row::chain(id, Family::Algorithm, Expected::Accept, Others::are(true, true), make)
}

const fn refused(id: &'static str, others: Others, make: Recipe) -> Row {
    Row::chain(id, Family::Algorithm, INVALID, others, make)
}

/// A good device with another type of key.
fn with_key(w: &Workshop, key: OddKey) -> Scene {
    Scene { leaf_key: Some(key), ..w.good() }
}

/// A verified root and a CA below it, whose keys `key` makes from their labels, and a device with its own.
fn throughout<S: Signer + 'static>(
    w: &Workshop,
    id: &str,
    key: impl Fn(&str) -> Result<S, KeyFault>,
    device_key: OddKey,
) -> Result<Scene, IssueError> {
    let (root_label, ca_label) = (format!("{id} root"), format!("{id} ca"));
    let root = w.self_signed(&w.ca_draft(&root_label), Arc::new(key(&root_label)?))?;
    let ca = w.ca_of(&root, &w.ca_draft(&ca_label), Arc::new(key(&ca_label)?))?;
    Ok(Scene { leaf_key: Some(device_key), ..w.scene(&ca, &[&ca, &root]) }.with_verified(&root))
}

/// One type of key everywhere.
fn usual(w: &Workshop, id: &str, algorithm: KeyAlgorithm) -> Result<Scene, IssueError> {
    let key = OddKey::Usual(algorithm);
    Ok(admitted(throughout(w, id, |label| PrivateKey::authority(w.seed(), label, algorithm), key)?))
}

/// CAs with RSA-2048 keys that sign in one form.
fn rsa_throughout(w: &Workshop, id: &str, form: RsaForm) -> Result<Scene, IssueError> {
    Ok(admitted(throughout(w, id, |_| fresh_rsa_that_signs(form), P256)?))
}

fn fresh_rsa_that_signs(form: RsaForm) -> Result<OddSigner, KeyFault> {
    odd::rsa_that_signs(Arc::new(PrivateKey::fresh_rsa(KeyAlgorithm::Rsa2048)?), form)
}

/// A CA with this key below the verified root, and its devices.
fn line(w: &Workshop, id: &str, key: impl Signer + 'static) -> Result<Scene, IssueError> {
    w.require_room(1)?;
    let ca = w.ca_of(w.root(), &w.ca_draft(id), Arc::new(key))?;
    Ok(w.below_root(&ca))
}

/// The same with an enabled group on the CA that issues the devices' certificates.
fn admitted(scene: Scene) -> Scene {
    let issuer = scene.issuer.clone();
    scene.with_group(&issuer)
}

fn anchor_signed_with_sha1(w: &Workshop) -> Result<Scene, IssueError> {
    let id = "alg-sha1-anchor-self-sig";
    let key = Arc::new(PrivateKey::fresh_rsa(KeyAlgorithm::Rsa2048)?);
    let by_sha1 = odd::rsa_that_signs(key.clone(), RsaForm::Sha1)?;
    let signed = w.self_signed(&w.ca_draft(&format!("{id} root")), Arc::new(by_sha1))?;
    let root = Ca { certificate: signed.certificate.clone(), signer: key };
    let ca = w.ca(&root, &format!("{id} ca"), |d| d)?;
    Ok(admitted(w.scene(&ca, &[&ca, &root])).with_verified(&root))
}
