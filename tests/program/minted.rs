//! What `rollcall mint` writes, judged by a verifier that is not ours.

use crate::openssl::Openssl;
use crate::world::World;

/// Key kinds, each with the words by which `openssl` knows it.
const KINDS: &[(&str, &str)] = &[
    ("p256", "prime256v1"),
    ("p384", "secp384r1"),
    ("p521", "secp521r1"),
    ("ed25519", "ED25519"),
    ("rsa2048", "2048 bit"),
];

#[test]
fn openssl_accepts_ten_minted_leaves_of_each_key_type() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "openssl_accepts_ten_minted_leaves_of_each_key_type") else {
        return;
    };
    for (kind, openssl_name) in KINDS {
        let (ca, fleet) = (format!("ca-{kind}"), format!("fleet-{kind}"));
        world.rollcall(&format!("mint ca --out {ca} --depth 1 --key {kind}")).exits(0);
        world.rollcall(&mint(&ca, kind, 7, &fleet)).exits(0);
        for index in 0..10 {
            let chain = format!("{fleet}/dev-{index:05}.chain.pem");
            openssl.accepts(&format!("{ca}/root.pem"), &format!("{ca}/intermediate-1.pem"), &chain);
            openssl.accepts(&format!("{ca}/root.pem"), &chain, &chain);
            openssl.pairs(&chain, &format!("{fleet}/dev-{index:05}.key.pem"));
            let text = openssl.run(&format!("x509 -in {chain} -noout -text"), &[]);
            assert!(text.contains(openssl_name), "no {openssl_name} in {text}");
        }
    }
}

fn mint(ca: &str, kind: &str, seed: u32, out: &str) -> String {
    format!(
        "mint fleet --ca-cert {ca}/intermediate-1.pem --ca-key {ca}/intermediate-1.key.pem --count 10 --key {kind} \
         --registration-id dev-{{index:05}} --seed {seed} --out {out}"
    )
}

#[test]
fn the_same_seed_gives_the_same_keys_and_serials_and_another_seed_gives_others() {
    let world = World::new();
    let Some(openssl) =
        Openssl::find(&world, "the_same_seed_gives_the_same_keys_and_serials_and_another_seed_gives_others")
    else {
        return;
    };
    world.rollcall("mint ca --out ca --depth 1 --key p256").exits(0);
    for (kind, _) in KINDS {
        let [once, again, other] = [(7, "once"), (7, "again"), (8, "other")].map(|(seed, name)| {
            let out = format!("{name}-{kind}");
            world.rollcall(&mint("ca", kind, seed, &out)).exits(0);
            fingerprint(&world, &openssl, &out)
        });
        assert_eq!(once, again, "{kind}");
        assert!(once.iter().zip(&other).all(|(a, b)| a.1 != b.1), "serials of another seed: {kind}");
        if *kind != "rsa2048" {
            assert!(once.iter().zip(&other).all(|(a, b)| a.0 != b.0), "keys of another seed: {kind}");
        }
    }
}

/// Key file and serial of each device.
fn fingerprint(world: &World, openssl: &Openssl<'_>, fleet: &str) -> Vec<(String, String)> {
    let of = |index: u32| {
        let serial = openssl.run(&format!("x509 -in {fleet}/dev-{index:05}.chain.pem -noout -serial"), &[]);
        (world.read(format!("{fleet}/dev-{index:05}.key.pem")), serial)
    };
    (0..10).map(of).collect()
}

#[test]
fn private_keys_are_readable_by_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new();
    world.rollcall("mint ca --out ca --depth 1 --key p256").exits(0);
    world.rollcall(&mint("ca", "p256", 7, "fleet")).exits(0);
    let keys: Vec<String> = ["ca", "fleet"]
        .iter()
        .flat_map(|dir| world.files(dir).into_iter().map(move |file| format!("{dir}/{file}")))
        .filter(|file| world.read(file).contains("PRIVATE KEY"))
        .collect();
    assert_eq!(keys.len(), 12, "two authorities and ten devices: {keys:?}");
    for key in keys {
        let mode = world.path(&key).metadata().expect("the key's file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}
