//! Bad input: each gets its exit status, a message that names the thing, and leaves nothing half-written.

use crate::openssl::{KeyKind, Openssl};
use crate::world::{Finished, World};
use std::fs;
use std::net::TcpListener;

/// Two authorities and a device, to be put together wrongly.
fn world() -> World {
    let world = World::new();
    for ca in ["ca", "other"] {
        world.rollcall(&format!("mint ca --out {ca} --depth 1 --key p256")).exits(0);
    }
    world.rollcall(&mint("ca/intermediate-1.pem", "ca/intermediate-1.key.pem", "good")).exits(0);
    world
}

fn mint(certificate: &str, key: &str, out: &str) -> String {
    format!(
        "mint fleet --ca-cert {certificate} --ca-key {key} --count 3 --registration-id dev-{{index:05}} --seed 7 --out {out}"
    )
}

/// Asserts the exit status, that the message names `thing`, and that `out` holds nothing.
#[track_caller]
pub(crate) fn fails(world: &World, finished: Finished, code: i32, thing: &str) {
    let failed = finished.exits(code);
    assert!(failed.stderr.contains(thing), "`{thing}` is not named: {failed}");
    assert!(failed.stdout.is_empty(), "{failed}");
    assert_eq!(world.files("out"), Vec::<String>::new(), "left behind by {failed}");
}

#[test]
fn a_fleet_is_not_minted_from_files_that_do_not_fit() {
    let world = world();
    world.write("truncated.pem", world.read("ca/intermediate-1.pem").get(..200).expect("200 bytes"));
    world.write("truncated.key.pem", world.read("ca/intermediate-1.key.pem").get(..80).expect("80 bytes"));
    world.write("empty.pem", "");
    world.write("noise.pem", [0xff, 0xfe, 0x00, 0x9f]);
    let (certificate, key) = ("ca/intermediate-1.pem", "ca/intermediate-1.key.pem");
    for (certificate, key, thing) in [
        (certificate, "other/intermediate-1.key.pem", "other/intermediate-1.key.pem"),
        ("good/dev-00000.chain.pem", "good/dev-00000.key.pem", "good/dev-00000.chain.pem"),
        ("truncated.pem", key, "truncated.pem"),
        (certificate, "truncated.key.pem", "truncated.key.pem"),
        ("empty.pem", key, "empty.pem"),
        ("noise.pem", key, "noise.pem"),
        ("ca/nowhere.pem", key, "ca/nowhere.pem"),
        (certificate, "ca/nowhere.key.pem", "ca/nowhere.key.pem"),
        (key, certificate, key),
    ] {
        fails(&world, world.rollcall(&mint(certificate, key, "out")), 2, thing);
    }
}

#[test]
fn a_key_under_a_passphrase_is_named_and_not_guessed_at() {
    let world = world();
    let Some(openssl) = Openssl::find(&world, "a_key_under_a_passphrase_is_named_and_not_guessed_at") else {
        return;
    };
    openssl.key(KeyKind::P256, "plain.key");
    openssl.run("ec -in plain.key -aes256 -passout pass:secret -out traditional.key", &[]);
    openssl.run("pkcs8 -topk8 -in plain.key -v2 aes256 -passout pass:secret -out pkcs8.key", &[]);
    for key in ["traditional.key", "pkcs8.key"] {
        let refused = world.rollcall(&mint("ca/intermediate-1.pem", key, "out"));
        assert!(refused.stderr.contains("encrypted"), "{refused}");
        fails(&world, refused, 2, key);
    }
}

#[test]
fn no_message_shows_a_private_key() {
    let world = world();
    let key = world.read("other/intermediate-1.key.pem");
    let secret = key.lines().nth(1).expect("a line of base64");
    let refused =
        world.rollcall(&mint("ca/intermediate-1.pem", "other/intermediate-1.key.pem", "out")).exits(2);
    assert!(!refused.stderr.contains(secret), "{refused}");
    let refused =
        world.rollcall(&mint("other/intermediate-1.key.pem", "other/intermediate-1.pem", "out")).exits(2);
    assert!(!refused.stderr.contains(secret), "{refused}");
}

#[test]
fn a_registration_id_that_the_service_would_refuse_is_not_minted() {
    let world = world();
    for (template, thing) in [
        ("dev_{index}!", "dev_"),
        ("dev-{index}.", "dev-"),
        ("the-same-for-all", "the-same-for-all"),
        ("dev-{number}", "{number}"),
    ] {
        let line = format!(
            "mint fleet --ca-cert ca/intermediate-1.pem --ca-key ca/intermediate-1.key.pem --count 3 --seed 7 --out out \
             --registration-id {template}"
        );
        fails(&world, world.rollcall(&line), 2, thing);
    }
}

#[test]
fn a_scenario_that_cannot_be_meant_names_the_file_and_the_key() {
    let world = world();
    world.write("typo.toml", "name = \"typo\"\n\n[fleet]\ndevises = 10\n");
    world.write("broken.toml", "name = \"broken\n");
    fails(&world, world.rollcall("run typo.toml --out out"), 2, "devises");
    fails(&world, world.rollcall("run typo.toml --out out"), 2, "typo.toml");
    fails(&world, world.rollcall("run typo.toml --out out"), 2, "typo.toml:4");
    fails(&world, world.rollcall("run broken.toml --out out"), 2, "broken.toml");
    fails(&world, world.rollcall("run nowhere.toml --out out"), 2, "nowhere.toml");
}

#[test]
fn a_port_in_use_is_named() {
    let world = World::new();
    fs::create_dir(world.path("out")).expect("a directory");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its number").port();
    for which in ["--mqtts-port", "--https-port", "--management-port"] {
        let others: String = ["--mqtts-port", "--https-port", "--management-port"]
            .iter()
            .filter(|flag| **flag != which)
            .map(|flag| format!("{flag} 0 "))
            .collect();
        let line =
            format!("mock --listen 127.0.0.1 {others} {which} {port} --trust-root out/trust-root.pem --json");
        fails(&world, world.rollcall(&line), 4, &port.to_string());
    }
}

/// A port that nobody listens on: it was ours a moment ago.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

#[test]
fn a_target_that_does_not_answer_is_named() {
    let world = world();
    let port = closed_port();
    let finished = world
        .rollcall(&format!(
            "register --host 127.0.0.1 --port {port} --id-scope 0ne00000001 --cert good/dev-00000.chain.pem \
             --key good/dev-00000.key.pem --trust-root ca/root.pem"
        ))
        .exits(4);
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(said.contains(&port.to_string()), "{finished}");
}

#[test]
fn an_operator_whose_service_does_not_answer_is_told_so() {
    let world = world();
    let port = closed_port();
    let mut command = world.program("ca list --trust-root ca/root.pem");
    command.args(["--endpoint", &format!("https://127.0.0.1:{port}")]);
    command.env("ROLLCALL_SERVICE_KEY", "c2VydmljZSBrZXkgb2YgdGhlIHRlc3Rz");
    fails(&world, world.finish(command), 4, &port.to_string());
}

#[test]
fn a_device_whose_key_is_not_its_own_does_not_dial() {
    let world = world();
    let line = format!(
        "register --host 127.0.0.1 --port {} --id-scope 0ne00000001 --cert good/dev-00000.chain.pem \
         --key good/dev-00001.key.pem --trust-root ca/root.pem",
        closed_port()
    );
    fails(&world, world.rollcall(&line), 2, "good/dev-00001.key.pem");
}

#[test]
fn a_disk_that_is_full_leaves_nothing_half_written() {
    let world = world();
    for line in ["mint ca --out out", &mint("ca/intermediate-1.pem", "ca/intermediate-1.key.pem", "out")] {
        // A file may not grow past nothing, and the writer is told instead of being killed: as on a full disk.
        let failed = world.rollcall_under("trap '' XFSZ; ulimit -f 0", line);
        assert!(failed.code.is_some_and(|code| code != 0), "{failed}");
        assert!(failed.stderr.contains("out"), "{failed}");
        assert!(!failed.stderr.contains("panicked at"), "{failed}");
        assert_eq!(world.files("out"), Vec::<String>::new(), "left behind by {failed}");
    }
}

#[test]
fn too_few_file_descriptors_for_the_fleet_are_counted_before_the_run() {
    let world = World::new();
    world.write("wide.toml", WIDE);
    let failed = world.rollcall_under("ulimit -n 128", "run wide.toml --out out").exits(2);
    assert!(failed.stderr.contains("ulimit -n"), "says what to set: {failed}");
    assert!(failed.stderr.contains("128"), "says what there is: {failed}");
    assert_eq!(world.files("out"), Vec::<String>::new(), "{failed}");
}

const WIDE: &str = r#"name = "wide"

[fleet]
devices = 2000
registration_id = "dev-{index:05}"

[fleet.authority.minted]
intermediates = 1

[target.mock]

[load.closed]
in_flight = 2000
"#;
