//! The spellings that scripts depend on.

use crate::world::World;

/// Commands and the words that their help must list.
const CONTRACT: &[(&str, &str)] = &[
    ("", "demo mint mock ca group registration register run"),
    ("demo", "--devices --out"),
    (
        "mock",
        "--listen --mqtts-port --https-port --management-port --id-scope --profile azure unlimited chaos --state \
         --trust-root --service-key --name --json",
    ),
    ("ca", "upload code verify prove list show delete"),
    (
        "ca upload",
        "--cert --verified --endpoint --trust-root --json ROLLCALL_ENDPOINT ROLLCALL_TRUST_ROOT ROLLCALL_SERVICE_KEY",
    ),
    ("ca code", "--endpoint --trust-root --json"),
    ("ca verify", "--key --endpoint --trust-root --json"),
    ("ca prove", "--code --cert --key"),
    ("ca list", "--endpoint --trust-root --json"),
    ("ca show", "--endpoint --trust-root --json"),
    ("ca delete", "--endpoint --trust-root --json"),
    ("group", "create list show update delete"),
    (
        "group create",
        "--ca-reference --secondary-ca-reference --signing-cert --secondary-signing-cert --endpoint --trust-root --json",
    ),
    ("group list", "--endpoint --trust-root --json"),
    ("group show", "--endpoint --trust-root --json"),
    ("group update", "--disable --enable --endpoint --trust-root --json"),
    ("group delete", "--endpoint --trust-root --json"),
    ("registration", "list show delete"),
    ("registration list", "--group --endpoint --trust-root --json"),
    ("registration show", "--endpoint --trust-root --json"),
    ("registration delete", "--endpoint --trust-root --json"),
    ("mint", "ca fleet"),
    ("mint ca", "--out --depth --key p256 p384 ed25519 rsa2048"),
    ("mint fleet", "--ca-cert --ca-key --ca-chain --count --registration-id --seed --out --key"),
    ("register", "--host --port --id-scope --cert --key --trust-root --transport --json"),
    ("run", "--set --shard --out --json"),
];

#[test]
fn every_command_lists_the_flags_of_the_contract() {
    let world = World::new();
    let missing: Vec<String> =
        CONTRACT.iter().flat_map(|(command, words)| missing(&world, command, words)).collect();
    assert!(missing.is_empty(), "not in the help:\n{}", missing.join("\n"));
}

fn missing(world: &World, command: &str, words: &str) -> Vec<String> {
    let help = world.rollcall(&format!("{command} --help")).exits(0).stdout;
    let listed: Vec<&str> =
        help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).collect();
    words
        .split_whitespace()
        .filter(|word| !listed.contains(word))
        .map(|word| format!("rollcall {command}: {word}"))
        .collect()
}

#[test]
fn a_flag_that_does_not_exist_is_a_usage_error() {
    let world = World::new();
    for line in ["--no-such-flag", "run", "mint ca --no-such-flag", "no-such-command"] {
        let said = world.rollcall(line).exits(2);
        assert!(!said.stderr.is_empty() && said.stdout.is_empty(), "{said}");
    }
}

#[test]
fn a_mock_that_is_ready_says_so_in_one_line_of_json() {
    use crate::world::Mock;

    let world = World::new();
    let mock =
        Mock::start_with(&world, "--id-scope 0ne00ABCDEF --service-key c2VydmljZSBrZXkgb2YgdGhlIHRlc3Rz");
    assert_eq!(mock.id_scope, "0ne00ABCDEF");
    assert_eq!(mock.service_key, "c2VydmljZSBrZXkgb2YgdGhlIHRlc3Rz");
    assert_ne!(mock.mqtts_port(), mock.https_port());
    assert!(world.read(mock.trust_root).starts_with("-----BEGIN CERTIFICATE-----"));
}
