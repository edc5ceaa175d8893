//! The main job with authorities made by `openssl` alone, as the tutorials make them.

use crate::openssl::{KeyKind, Openssl};
use crate::world::{Mock, Record, World, find, named};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

/// Subjects as directory services and people write them: several DCs and OUs, letters beyond ASCII, two
/// attributes in one RDN.
const ROOT: &str = "/DC=com/DC=contoso/O=Contoso/OU=Factory/OU=Line 1/CN=Contoso Root";
const INTERMEDIATE: &str = "/DC=com/DC=contoso/O=Contoso/OU=Factory/OU=Line 1/CN=Contoso Line CA";
const ROOT_BEYOND_ASCII: &str = "/C=DE/O=Müller \\& Söhne/CN=Werk Köln Wurzel Ω";
const INTERMEDIATE_BEYOND_ASCII: &str = "/C=DE/O=Müller \\& Söhne/OU=Straße 1+CN=Fertigung Ä";

#[test]
fn devices_roll_up_to_an_rsa_root_made_by_openssl() {
    roll_up("devices_roll_up_to_an_rsa_root_made_by_openssl", KeyKind::Rsa2048, ROOT, INTERMEDIATE);
}

#[test]
fn devices_roll_up_to_a_p256_root_made_by_openssl() {
    roll_up("devices_roll_up_to_a_p256_root_made_by_openssl", KeyKind::P256, ROOT, INTERMEDIATE);
}

#[test]
fn devices_roll_up_to_a_root_whose_name_is_not_ascii() {
    roll_up(
        "devices_roll_up_to_a_root_whose_name_is_not_ascii",
        KeyKind::P256,
        ROOT_BEYOND_ASCII,
        INTERMEDIATE_BEYOND_ASCII,
    );
}

fn roll_up(test: &str, kind: KeyKind, root: &str, intermediate: &str) {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, test) else { return };
    openssl.root("root", kind, root);
    openssl.intermediate("int", kind, intermediate, "root");
    let mock = Mock::start(&world);

    prove_possession(&mock);
    mock.operate("group create line-1 --signing-cert int.pem").exits(0);
    mint_ten(&world, &openssl);
    register_the_first(&mock);
    run_two_hundred(&world, &mock);
}

fn prove_possession(mock: &Mock<'_>) {
    mock.operate("ca upload root --cert root.pem").exits(0);
    let listed = mock.operate("ca list --json").exits(0).json();
    let record = named(&listed, "root").unwrap_or_else(|| panic!("no `root` in {listed}"));
    assert_eq!(find(record, "isVerified"), Some(&Value::Bool(false)), "{listed}");
    assert!(!mock.says_verified("root"));
    mock.operate("ca verify root --key root.key").exits(0);
    assert!(mock.says_verified("root"));
}

fn mint_ten(world: &World, openssl: &Openssl<'_>) {
    world
        .rollcall(
            "mint fleet --ca-cert int.pem --ca-key int.key --count 10 --registration-id dev-{index:05} --seed 7 --out fleet",
        )
        .exits(0);
    let ids: Vec<String> =
        world.files("fleet").iter().filter_map(|f| f.strip_suffix(".chain.pem")).map(str::to_owned).collect();
    assert_eq!(ids.len(), 10, "{:?}", world.files("fleet"));
    for id in ids {
        let (chain, key) = (format!("fleet/{id}.chain.pem"), format!("fleet/{id}.key.pem"));
        openssl.accepts("root.pem", "int.pem", &chain);
        openssl.pairs(&chain, &key);
        let subject = openssl.run(&format!("x509 -in {chain} -noout -subject -nameopt multiline"), &[]);
        assert!(subject.contains(&format!("= {id}")), "{subject}");
        let mode = world.path(&key).metadata().expect("the key's file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

fn register_the_first(mock: &Mock<'_>) {
    let registered =
        mock.register("fleet/dev-00000.chain.pem", "fleet/dev-00000.key.pem", "").exits(0).json();
    assert!(find(&registered, "assigned_hub").or(find(&registered, "assignedHub")).is_some(), "{registered}");
}

fn run_two_hundred(world: &World, mock: &Mock<'_>) {
    world.write("two-hundred.toml", scenario(mock, 200));
    let run = world.rollcall("run two-hundred.toml --out out --json").exits(0);
    let record = Record::read(world, "out");
    assert_eq!((record.planned(), record.assigned(), record.turned_away()), (200, 200, 0), "{run}");
    record.adds_up();
}

#[test]
fn a_fleet_below_a_root_that_was_left_unverified_is_refused_to_the_last_device() {
    let world = World::new();
    let Some(openssl) =
        Openssl::find(&world, "a_fleet_below_a_root_that_was_left_unverified_is_refused_to_the_last_device")
    else {
        return;
    };
    openssl.root("root", KeyKind::Rsa2048, ROOT);
    openssl.intermediate("int", KeyKind::Rsa2048, INTERMEDIATE, "root");
    let mock = Mock::start(&world);
    mock.operate("ca upload root --cert root.pem").exits(0);
    mock.operate("group create line-1 --signing-cert int.pem").exits(0);

    world.write("refused.toml", scenario(&mock, 200));
    let run = world.rollcall("run refused.toml --out out --json");
    let record = Record::read(&world, "out");
    assert_eq!((record.planned(), record.assigned(), record.turned_away()), (200, 0, 200), "{run}");
    assert_eq!(record.refused_with(401_002), 200, "{:?}", record.reasons());
    record.adds_up();
    assert!(!mock.says_verified("root"));
}

/// A fleet under the user's own intermediate, against a mock that runs already, fifty devices at a time.
fn scenario(mock: &Mock<'_>, devices: u32) -> String {
    service_scenario(mock, devices, "[load.closed]\nin_flight = 50\n")
}

/// A fleet under `int.pem`, against a mock that runs already.
pub(crate) fn service_scenario(mock: &Mock<'_>, devices: u32, load: &str) -> String {
    format!(
        r#"name = "under an authority of the user's own"

[fleet]
devices = {devices}
registration_id = "unit-{{index:05}}"

[fleet.authority.files]
certificate = "int.pem"
key = "int.key"

[target.service]
host = "localhost"
port = {port}
id_scope = "{id_scope}"
trust_root = "{trust_root}"
management = "{management}"

{load}"#,
        port = mock.mqtts_port(),
        id_scope = mock.id_scope,
        trust_root = mock.trust_root,
        management = mock.management,
    )
}
