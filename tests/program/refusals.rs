//! Whom the mock turns away, and that it turns away nobody else.

use crate::openssl::{KeyKind, Openssl};
use crate::world::{Mock, World, mentions};

const CHAIN: &str = "fleet/dev-00000.chain.pem";
const KEY: &str = "fleet/dev-00000.key.pem";

/// A verified root, a group on the intermediate below it, and a fleet of two.
pub(crate) fn minted_under_a_verified_root(world: &World, mock: &Mock<'_>) {
    world.rollcall("mint ca --out ca --depth 1 --key p256").exits(0);
    mock.prove("root", "ca/root.pem", "ca/root.key.pem");
    mock.operate("group create line-1 --signing-cert ca/intermediate-1.pem").exits(0);
    world.rollcall(&mint("ca/intermediate-1.pem", "ca/intermediate-1.key.pem", "fleet")).exits(0);
}

fn mint(certificate: &str, key: &str, out: &str) -> String {
    format!(
        "mint fleet --ca-cert {certificate} --ca-key {key} --count 2 --registration-id dev-{{index:05}} --seed 7 --out {out}"
    )
}

/// The first certificate of a chain.
pub(crate) fn leaf_of(chain: &str) -> &str {
    chain.split_at(end_of_leaf(chain)).0
}

/// What follows the first certificate of a chain.
pub(crate) fn tail_of(chain: &str) -> &str {
    chain.split_at(end_of_leaf(chain)).1
}

fn end_of_leaf(chain: &str) -> usize {
    const END: &str = "-----END CERTIFICATE-----\n";
    chain.find(END).map(|at| at + END.len()).expect("a certificate")
}

/// Asserts that the service refuses, and that it says so with the code it has for untrusted chains.
#[track_caller]
fn is_refused(mock: &Mock<'_>, chain: &str, key: &str, more: &str) {
    let refused = mock.register(chain, key, more).exits(3);
    assert!(mentions(&refused.json(), 401_002), "{refused}");
}

#[test]
fn a_leaf_alone_is_refused_while_its_issuer_is_not_verified_itself() {
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    world.write("alone.pem", leaf_of(&world.read(CHAIN)));
    is_refused(&mock, "alone.pem", KEY, "");
    mock.register(CHAIN, KEY, "").exits(0);
    mock.prove("line-ca", "ca/intermediate-1.pem", "ca/intermediate-1.key.pem");
    mock.register("alone.pem", KEY, "").exits(0);
}

#[test]
fn a_leaf_is_refused_under_a_registration_id_that_is_not_its_common_name() {
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    is_refused(&mock, CHAIN, KEY, "--registration-id dev-00001");
    mock.register(CHAIN, KEY, "--registration-id dev-00000").exits(0);
}

#[test]
fn a_disabled_group_takes_nobody_until_it_is_enabled_again() {
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    mock.operate("group update line-1 --disable").exits(0);
    let turned_away = mock.register(CHAIN, KEY, "").exits(3);
    assert!(turned_away.stdout.to_lowercase().contains("disabled"), "{turned_away}");
    mock.operate("group update line-1 --enable").exits(0);
    mock.register(CHAIN, KEY, "").exits(0);
}

#[test]
fn an_expired_leaf_is_refused() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "an_expired_leaf_is_refused") else { return };
    openssl.root("root", KeyKind::P256, "/O=Contoso/CN=Root");
    openssl.intermediate("int", KeyKind::P256, "/O=Contoso/CN=Line CA", "root");
    openssl.expired_device("dev-late", "int");
    world.write("dev-late.chain.pem", world.read("dev-late.pem") + &world.read("int.pem"));
    let mock = Mock::start(&world);
    mock.prove("root", "root.pem", "root.key");
    mock.operate("group create line-1 --signing-cert int.pem").exits(0);

    is_refused(&mock, "dev-late.chain.pem", "dev-late.key", "");
    world.rollcall(&mint("int.pem", "int.key", "fleet")).exits(0);
    mock.register(CHAIN, KEY, "").exits(0);
}

#[test]
fn a_leaf_of_another_authority_with_the_same_names_is_refused() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "a_leaf_of_another_authority_with_the_same_names_is_refused")
    else {
        return;
    };
    for prefix in ["", "forged-"] {
        openssl.root(&format!("{prefix}root"), KeyKind::P256, "/O=Contoso/CN=Root");
        let issuer = format!("{prefix}root");
        openssl.intermediate(&format!("{prefix}int"), KeyKind::P256, "/O=Contoso/CN=Line CA", &issuer);
        world
            .rollcall(&mint(
                &format!("{prefix}int.pem"),
                &format!("{prefix}int.key"),
                &format!("{prefix}fleet"),
            ))
            .exits(0);
    }
    let mock = Mock::start(&world);
    mock.prove("root", "root.pem", "root.key");
    mock.operate("group create line-1 --signing-cert int.pem").exits(0);

    let (forged, key) = ("forged-fleet/dev-00000.chain.pem", "forged-fleet/dev-00000.key.pem");
    is_refused(&mock, forged, key, "");
    world.write("grafted.pem", leaf_of(&world.read(forged)).to_owned() + &world.read("int.pem"));
    is_refused(&mock, "grafted.pem", key, "");
    mock.register(CHAIN, KEY, "").exits(0);
}

#[test]
fn a_device_without_a_group_is_refused() {
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    mock.operate("group delete line-1").exits(0);
    is_refused(&mock, CHAIN, KEY, "");
}
