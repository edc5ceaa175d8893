//! A CA whose key is in a token: it proves possession and issues a fleet, and the key never leaves SoftHSM.

use crate::openssl::{KeyKind, Openssl};
use crate::world::{Finished, Mock, Record, World, find, skip};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where distributions put SoftHSM's module.
const MODULES: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// No other number in these tests has these digits in a row.
const PIN: &str = "84617093";

/// A token of SoftHSM in a test's directory, labelled `factory`.
struct Token<'w> {
    world: &'w World,
    module: &'static str,
}

impl<'w> Token<'w> {
    /// None, said aloud, where SoftHSM isn't installed.
    fn find(world: &'w World, test: &str) -> Option<Self> {
        let found = Command::new("softhsm2-util").arg("--version").stdout(Stdio::null()).status();
        let module = MODULES.iter().find(|module| Path::new(module).exists());
        let (true, Some(module)) = (found.as_ref().is_ok_and(std::process::ExitStatus::success), module)
        else {
            skip(test, "softhsm2-util", &format!("{found:?}, module {module:?}"));
            return None;
        };
        fs::create_dir(world.path("tokens")).expect("a directory for tokens");
        let tokens = world.path("tokens").display().to_string();
        world.write(
            "softhsm2.conf",
            format!("directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"),
        );
        world.write("pin", format!("{PIN}\n"));
        let token = Token { world, module };
        token.util(&format!("--init-token --free --label factory --so-pin 11112222 --pin {PIN}"));
        Some(token)
    }

    fn util(&self, line: &str) {
        let mut command = self.world.command("softhsm2-util");
        command.args(line.split_whitespace()).env("SOFTHSM2_CONF", self.world.path("softhsm2.conf"));
        self.world.finish(command).exits(0);
    }

    /// Moves the key in `FILE` into the token, under a label; the file is no more.
    fn take(&self, openssl: &Openssl<'_>, file: &str, label: &str, id: u8) {
        openssl.run(&format!("pkcs8 -topk8 -nocrypt -in {file} -out import.p8"), &[]);
        self.util(&format!("--import import.p8 --token factory --label {label} --id {id:02} --pin {PIN}"));
        for file in ["import.p8", file] {
            fs::remove_file(self.world.path(file)).expect("removed");
        }
    }

    /// The program with what it needs to find the token, after `line` with `KEY` replaced by the key's URI.
    fn command(&self, line: &str, uri: &str) -> Command {
        let mut command = self.world.program(&line.replace("KEY", uri));
        command
            .env("SOFTHSM2_CONF", self.world.path("softhsm2.conf"))
            .env("ROLLCALL_PKCS11_MODULE", self.module)
            .env_remove("ROLLCALL_PKCS11_PIN");
        command
    }

    fn run(&self, line: &str, uri: &str) -> Finished {
        self.world.finish(self.command(line, uri))
    }
}

/// A root in files, and a CA below it whose key is in the token as `line`.
fn with_a_line<'w>(world: &'w World, openssl: &Openssl<'_>, token: &Token<'w>, kind: KeyKind) {
    openssl.root("root", kind, "/O=Contoso/CN=Root");
    openssl.intermediate("line", kind, "/O=Contoso/CN=Line", "root");
    token.take(openssl, "line.key", "line", 1);
    assert!(!world.path("line.key").exists());
}

const LINE: &str = "pkcs11:token=factory;object=line?pin-source=file:pin";

#[test]
fn a_ca_in_a_token_proves_possession_and_its_thousand_devices_are_admitted() {
    let test = "a_ca_in_a_token_proves_possession_and_its_thousand_devices_are_admitted";
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, test) else { return };
    let Some(token) = Token::find(&world, test) else { return };
    with_a_line(&world, &openssl, &token, KeyKind::P256);
    let mock = Mock::start(&world);

    mock.operate("ca upload line --cert line.pem").exits(0);
    let answer = mock.operate("ca code line --json").exits(0).json();
    let code = find(&answer, "verificationCode").and_then(Value::as_str).expect("a code");
    token.run(&format!("ca prove --code {code} --ca line.pem --key KEY --out proof.pem"), LINE).exits(0);
    let checked =
        world.rollcall(&format!("ca prove --code {code} --cert line.pem --check proof.pem")).exits(0);
    assert_eq!(checked.stdout.lines().next(), Some("accept"), "{checked}");
    mock.operate("ca verify line --verification-cert proof.pem").exits(0);
    assert!(mock.says_verified("line"));
    mock.operate("group create devices --ca-reference line").exits(0);

    let mint = "mint fleet --ca-cert line.pem --ca-key KEY --count 1000 --registration-id dev-{index:04} --seed 7 --out fleet";
    token.run(mint, LINE).exits(0);
    assert_eq!(world.files("fleet").len(), 2000);
    for index in [0, 499, 999] {
        let (chain, key) =
            (format!("fleet/dev-{index:04}.chain.pem"), format!("fleet/dev-{index:04}.key.pem"));
        openssl.accepts("root.pem", "line.pem", &chain);
        mock.register(&chain, &key, "").exits(0);
    }
}

#[test]
fn the_whole_proof_is_made_with_a_key_in_a_token_of_each_kind() {
    let test = "the_whole_proof_is_made_with_a_key_in_a_token_of_each_kind";
    for (kind, curve) in [(KeyKind::Rsa2048, None), (KeyKind::P256, None), (KeyKind::P256, Some("secp384r1"))]
    {
        let world = World::new();
        let Some(openssl) = Openssl::find(&world, test) else { return };
        let Some(token) = Token::find(&world, test) else { return };
        openssl.root("root", KeyKind::P256, "/O=Contoso/CN=Root");
        match curve {
            Some(curve) => drop(openssl.run(&format!("ecparam -name {curve} -genkey -out line.key"), &[])),
            None => openssl.key(kind, "line.key"),
        }
        openssl.request("line", "/O=Contoso/CN=Line");
        world.write("ca.ext", "basicConstraints = critical, CA:TRUE\nsubjectKeyIdentifier = hash\n");
        openssl.sign("line", "root", "-days 30 -extfile ca.ext");
        token.take(&openssl, "line.key", "line", 1);
        let mock = Mock::start(&world);
        mock.operate("ca upload line --cert line.pem").exits(0);
        let mut verify = mock.operation(&format!("ca verify line --key {LINE}"));
        verify.env("SOFTHSM2_CONF", world.path("softhsm2.conf")).env("ROLLCALL_PKCS11_MODULE", token.module);
        world.finish(verify).exits(0);
        assert!(mock.says_verified("line"), "{kind:?} {curve:?}");
        token
            .run(
                "mint fleet --ca-cert line.pem --ca-key KEY --count 20 --registration-id dev-{index:02} --seed 7 --out fleet",
                "pkcs11:id=%01?pin-source=pin",
            )
            .exits(0);
        openssl.accepts("root.pem", "line.pem", "fleet/dev-07.chain.pem");
    }
}

#[test]
fn a_scenario_takes_its_ca_from_a_token() {
    let test = "a_scenario_takes_its_ca_from_a_token";
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, test) else { return };
    let Some(token) = Token::find(&world, test) else { return };
    with_a_line(&world, &openssl, &token, KeyKind::P256);
    let scenario = |key: &str| {
        format!(
            "name = \"token\"\n\
             [fleet]\ndevices = 30\nregistration_id = \"dev-{{index:02}}\"\n\
             [fleet.authority.files]\ncertificate = \"line.pem\"\nkey = \"{key}\"\n\
             [target.mock]\n[load.closed]\nin_flight = 4\n"
        )
    };
    world.write("token.toml", scenario("pkcs11:token=factory;object=line"));
    let mut run = token.command("run token.toml --out out", "");
    run.env("ROLLCALL_PKCS11_PIN", PIN);
    world.finish(run).exits(0);
    assert_eq!(Record::read(&world, "out").assigned(), 30);
    assert!(!world.read("out/run.json").contains(PIN));

    // The text of a scenario is kept in its record, and so has no place for a PIN.
    world.write("pin.toml", scenario(&format!("pkcs11:token=factory?pin-value={PIN}")));
    let refused = token.run("run pin.toml --out pinned", "").exits(2);
    assert!(!refused.stderr.contains(PIN) && world.files("pinned").is_empty(), "{refused}");
}

#[test]
fn a_token_that_cannot_be_used_is_said_why_and_the_pin_is_never_shown() {
    let test = "a_token_that_cannot_be_used_is_said_why_and_the_pin_is_never_shown";
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, test) else { return };
    let Some(token) = Token::find(&world, test) else { return };
    with_a_line(&world, &openssl, &token, KeyKind::P256);
    openssl.key(KeyKind::P256, "other.key");
    token.take(&openssl, "other.key", "other", 2);
    world.write("wrong", "00000000");
    for (uri, thing) in [
        ("pkcs11:object=line?module-path=/nonexistent/m.so&pin-source=pin", "/nonexistent/m.so"),
        ("pkcs11:object=line?module-path=softhsm2.conf&pin-source=pin", "softhsm2.conf"),
        ("pkcs11:token=elsewhere;object=line?pin-source=pin", "`factory`"),
        ("pkcs11:token=factory;object=line?pin-source=wrong", "PIN"),
        ("pkcs11:token=factory;object=line?pin-source=nowhere", "nowhere"),
        ("pkcs11:token=factory;object=line", "PIN"),
        ("pkcs11:token=factory;object=none?pin-source=pin", "`line`"),
        ("pkcs11:token=factory?pin-source=pin", "2 private keys"),
        ("pkcs11:token=factory;object=other?pin-source=pin", "does not belong"),
        ("pkcs11:token=factory;colour=red?pin-source=pin", "colour"),
        ("pkcs11:token=factory;object=none?pin-value=84617093", "`line`"),
    ] {
        for line in [
            "ca prove --code C --cert line.pem --key KEY",
            "mint fleet --ca-cert line.pem --ca-key KEY --count 3 --registration-id dev-{index} --seed 7 --out out",
        ] {
            let refused = token.run(line, uri).exits(2);
            assert!(
                refused.stderr.contains(thing) && refused.stderr.contains("help:"),
                "`{thing}`: {refused}"
            );
            assert!(refused.stdout.is_empty() && world.files("out").is_empty(), "{refused}");
            assert!(!refused.stderr.contains(PIN) && !refused.stderr.contains("00000000"), "{refused}");
        }
    }
    // A wrong PIN was tried, and did no harm.
    token.run("ca prove --code C --cert line.pem --key KEY --out proof.pem", LINE).exits(0);
}
