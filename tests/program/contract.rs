//! The spellings that scripts depend on.

use crate::world::World;

/// Commands and the words that their help must list.
const CONTRACT: &[(&str, &str)] = &[
    (
        "",
        "demo mint check explain mock ca group enrollment registration register plan run merge report calibrate scenario \
         config completions man --quiet --version",
    ),
    ("demo", "--devices --out --quiet"),
    (
        "mock",
        "--listen --mqtts-port --https-port --management-port --management-token-file --id-scope --profile azure unlimited \
         chaos --registrations-per-minute --faults --state --trust-root --name --tickets --server-cert --server-key \
         --service-key --policy --no-auth --retry-after --assign-delay --hub --allocation-policy hashed geo-latency static \
         --webhook-timeout --live --knob --seed --json ROLLCALL_MANAGEMENT_TOKEN ROLLCALL_SERVICE_KEY",
    ),
    ("ca", "upload code verify prove list show delete"),
    ("ca upload", "--cert --verified"),
    ("ca code", ""),
    ("ca verify", "--key --cert --verification-cert"),
    ("ca prove", "--code --cert --ca --key --out --force --check --at"),
    ("ca list", ""),
    ("ca show", ""),
    ("ca delete", "--yes"),
    ("group", "create list query show update delete keys derive-key import"),
    (
        "group create",
        "--ca-reference --secondary-ca-reference --signing-cert --secondary-signing-cert --symmetric-key \
         --primary-key-file --secondary-key-file --disabled --reprovision migrate reset never --allocation hashed \
         geo-latency static custom --iot-hub --webhook --webhook-api-version --initial-twin",
    ),
    ("group list", ""),
    ("group query", ""),
    ("group show", ""),
    (
        "group update",
        "--disable --enable --reprovision --allocation --iot-hub --webhook --webhook-api-version --initial-twin",
    ),
    ("group delete", "--yes"),
    ("group keys", ""),
    ("group derive-key", "--registration-id --primary-key-file"),
    ("group import", "--mode create update update-if-match-etag delete --yes"),
    ("enrollment", "create list query show update delete keys import"),
    (
        "enrollment create",
        "--client-cert --secondary-client-cert --ca-reference --secondary-ca-reference --signing-cert \
         --secondary-signing-cert --symmetric-key --primary-key-file --secondary-key-file --device-id --disabled \
         --reprovision --allocation --iot-hub --webhook --webhook-api-version --initial-twin",
    ),
    ("enrollment list", ""),
    ("enrollment query", ""),
    ("enrollment show", ""),
    (
        "enrollment update",
        "--disable --enable --device-id --reprovision --allocation --iot-hub --webhook --webhook-api-version \
         --initial-twin",
    ),
    ("enrollment delete", "--yes"),
    ("enrollment keys", ""),
    ("enrollment import", "--mode create update update-if-match-etag delete --yes"),
    ("registration", "list show delete"),
    ("registration list", "--group"),
    ("registration show", ""),
    ("registration delete", "--yes"),
    ("mint", "ca fleet defect"),
    (
        "mint ca",
        "--out --depth --key p256 p384 p521 ed25519 rsa2048 rsa3072 rsa4096 --name --seed --force --json",
    ),
    (
        "mint fleet",
        "--ca-cert --ca-key --ca-chain --count --registration-id --first --seed --out --key --key-pool --days \
         p256 p384 p521 ed25519 rsa2048 rsa3072 rsa4096 --defect --stdout --force --json pkcs11",
    ),
    ("mint defect", "--out --registration-id --count --seed --force --json"),
    (
        "register",
        "--host --port --id-scope --cert --key --trust-root --registration-id --transport mqtt mqtt-ws https --tls \
         --timeout --live --json",
    ),
    (
        "check",
        "--each --key --password-file --registration-id --verified --ca --group --instance --from-service --at --from --to \
         --margin --purpose client any --profile standard constrained --knob --fix-to --force --strict --format text json sarif \
         junit --json --list --host --port --id-scope --transport --tls --timeout --live --endpoint --trust-root",
    ),
    ("explain", "--json codes diagnostics defects verdicts knobs faults exits"),
    ("plan", "--set --no-config --shard --live --over-quota --json"),
    (
        "run",
        "--set --no-config --format --baseline --fail-on-regression --shard --start-at --out --force --no-journal --find-capacity --from --up-to --trial --source-address --live \
         --over-quota --progress auto view lines json none --metrics-port --management-token-file --json \
         ROLLCALL_MANAGEMENT_TOKEN",
    ),
    ("merge", "--out --force --json"),
    (
        "report",
        "compare --format text md junit csv summary-csv svg html json --chart --out --devices jsonl --force --json",
    ),
    (
        "report compare",
        "--baseline-repeat --candidate-repeat --fail-on-regression --other-scenario --threshold --format text md json html \
         --out --json",
    ),
    ("scenario", "validate list show new schema"),
    ("scenario validate", "--set --no-config --json"),
    ("scenario list", "--json"),
    ("scenario show", "--resolved"),
    ("scenario new", "--from --minimal --schema --force"),
    ("config show", "--set --no-config --origin --json"),
    ("completions", "bash zsh fish elvish powershell"),
    ("man", "--out"),
    ("calibrate", "--quick --out --json"),
];

/// What every verb of the operator's lists besides, and so does each noun.
const OPERATOR: &str = "--endpoint --service-endpoint --trust-root --subscription --resource-group --service-name \
     --live --service-key-file --connection-string-file --policy --token-file --credential env azure-cli \
     managed-identity auto --tenant-id --client-id --client-secret-file --federated-token-file --dry-run --json \
     --quiet ROLLCALL_ENDPOINT ROLLCALL_TRUST_ROOT ROLLCALL_SERVICE_KEY ROLLCALL_CONNECTION_STRING ROLLCALL_TOKEN \
     AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET AZURE_FEDERATED_TOKEN_FILE";

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
    let noun = command.split(' ').next().unwrap_or_default();
    let shared = if ["ca", "group", "enrollment", "registration"].contains(&noun) { OPERATOR } else { "" };
    words
        .split_whitespace()
        .chain(shared.split_whitespace())
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
