//! `rollcall check` on chains that `openssl` makes as the tutorials do.

use crate::openssl::{KeyKind, Openssl};
use crate::world::{Finished, Mock, World};
use serde_json::Value;

const DEVICE: &str = "\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
";

/// `root`, `int` and `dev-1` with their keys; `dev-1.chain.pem` is what the tutorials have a device send.
fn tutorial(world: &World, openssl: &Openssl<'_>) {
    openssl.root("root", KeyKind::P256, "/O=Tutorial/CN=Azure IoT Root CA");
    openssl.intermediate("int", KeyKind::P256, "/O=Tutorial/CN=Azure IoT Intermediate CA", "root");
    openssl.key(KeyKind::P256, "dev-1.key");
    openssl.request("dev-1", "/CN=dev-1");
    world.write("device.ext", DEVICE);
    openssl.sign("dev-1", "int", "-days 30 -extfile device.ext");
    world.write("dev-1.chain.pem", format!("{}{}", world.read("dev-1.pem"), world.read("int.pem")));
}

/// The verdict, alone on the first line.
#[track_caller]
fn verdict(finished: &Finished) -> &str {
    finished.stdout.lines().next().unwrap_or_default()
}

#[test]
fn a_tutorials_chain_is_accepted_and_the_group_that_takes_it_is_named() {
    let world = World::new();
    let Some(openssl) =
        Openssl::find(&world, "a_tutorials_chain_is_accepted_and_the_group_that_takes_it_is_named")
    else {
        return;
    };
    tutorial(&world, &openssl);
    let said = world.rollcall("check dev-1.chain.pem --verified root.pem --group line=int.pem").exits(0);
    assert_eq!(verdict(&said), "accept");
    assert!(said.stdout.contains("group `line`") && said.stdout.contains("[group line]"), "{said}");
    let json = world
        .rollcall("check dev-1.chain.pem --verified root.pem --group line=int.pem --json")
        .exits(0)
        .json();
    assert_eq!((&json["schema"], &json["verdict"]), (&"rollcall.check/1".into(), &"accept".into()));
    assert_eq!((&json["entry"]["kind"], &json["entry"]["name"]), (&"group".into(), &"line".into()));
    assert_eq!(json["path"].as_array().map(Vec::len), Some(3), "leaf, intermediate, root: {json}");
    // Further files are sent after the first.
    world.rollcall("check dev-1.pem int.pem --verified root.pem --group line=int.pem").exits(0);
}

#[test]
fn the_openssl_command_that_is_printed_agrees() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "the_openssl_command_that_is_printed_agrees") else { return };
    tutorial(&world, &openssl);
    for (chain, agrees) in [("dev-1.chain.pem", 0), ("dev-1.pem", 2)] {
        let json = world.rollcall(&format!("check {chain} --verified root.pem --json")).json();
        let command = json["openssl"].as_str().expect("a command").strip_prefix("openssl ").expect("openssl");
        openssl.attempt(command, &[]).exits(agrees);
    }
}

#[test]
fn without_its_intermediate_the_device_is_refused_and_the_repaired_chain_is_accepted() {
    let world = World::new();
    let Some(openssl) = Openssl::find(
        &world,
        "without_its_intermediate_the_device_is_refused_and_the_repaired_chain_is_accepted",
    ) else {
        return;
    };
    tutorial(&world, &openssl);
    let instance = "--verified root.pem --group line=int.pem";
    let said = world.rollcall(&format!("check dev-1.pem {instance}")).exits(3);
    assert_eq!(verdict(&said), "reject");
    let text = openssl.run("x509 -in int.pem -noout -ext subjectKeyIdentifier", &[]);
    let key_id: String = text.lines().nth(1).unwrap_or_default().to_lowercase().replace([':', ' '], "");
    // Lines are wrapped.
    let words = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "error[chain-incomplete]",
        "Azure IoT Intermediate CA",
        &key_id,
        "401002 \"CA certificate not found.\"",
        "no-verified-ca",
    ] {
        assert!(words.contains(part), "no {part} in {said}");
    }
    // The group's certificate is the one that is missing.
    world.rollcall(&format!("check dev-1.pem {instance} --fix-to repaired.pem")).exits(3);
    assert_eq!(verdict(&world.rollcall(&format!("check repaired.pem {instance}")).exits(0)), "accept");
    assert!(!world.read("repaired.pem").contains("PRIVATE KEY"));
}

#[test]
fn a_chain_in_the_wrong_order_is_written_in_the_right_one() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "a_chain_in_the_wrong_order_is_written_in_the_right_one")
    else {
        return;
    };
    tutorial(&world, &openssl);
    let [leaf, int, root] = ["dev-1.pem", "int.pem", "root.pem"].map(|name| world.read(name));
    world.write("shuffled.pem", format!("{leaf}{root}{int}{int}"));
    let instance = "--verified root.pem --group line=int.pem";
    let json =
        world.rollcall(&format!("check shuffled.pem {instance} --fix-to fixed.pem --json")).exits(0).json();
    let codes: Vec<&str> = findings(&json).iter().filter_map(|f| f["code"].as_str()).collect();
    assert!(codes.contains(&"chain-order") && codes.contains(&"chain-duplicate"), "{codes:?}");
    assert_eq!(json["repair"]["written_to"], "fixed.pem");
    assert_eq!(json["repair"]["pem"].as_str(), Some(world.read("fixed.pem").as_str()));
    let again = world.rollcall(&format!("check fixed.pem {instance} --json")).exits(0).json();
    assert!(findings(&again).iter().all(|f| f["code"] != "chain-order"), "{again}");
    // With --strict a warning is enough, in every form.
    let strict =
        |form: &str| world.rollcall(&format!("check shuffled.pem {instance} --strict {form}")).exits(3);
    assert_eq!(verdict(&strict("")), "reject");
    let json = strict("--json").json();
    assert_eq!((&json["verdict"], &json["reason"]), (&"reject".into(), &"strict".into()));
    assert_eq!(strict("--format sarif").json()["runs"][0]["properties"]["verdict"], "reject");
    let junit = strict("--format junit").stdout;
    assert!(junit.contains("failures=\"1\"") && junit.contains("type=\"strict\""), "{junit}");
    for code in ["chain-order", "chain-duplicate"] {
        assert!(junit.contains(code), "{code} in {junit}");
    }
    let batch = strict("--each --json").json();
    assert_eq!((&batch["verdict"], &batch["reason"]), (&"reject".into(), &"strict".into()));
    // Nothing is written over unless that is asked for.
    let before = world.read("dev-1.pem");
    let over = format!("check shuffled.pem {instance} --fix-to dev-1.pem");
    assert!(world.rollcall(&over).exits(2).stdout.is_empty());
    assert_eq!(world.read("dev-1.pem"), before);
    world.rollcall(&format!("{over} --force")).exits(0);
    assert_eq!(world.read("dev-1.pem"), world.read("fixed.pem"));
}

#[test]
fn an_instance_that_is_known_to_have_no_group_lets_nobody_in() {
    let world = World::new();
    fleet(&world);
    let pem = world.read("ca/root.pem");
    let ca = serde_json::json!({ "value": [{
        "name": "root", "properties": { "isVerified": true, "certificate": pem, "subject": "root", "thumbprint": "" },
    }] });
    let own = serde_json::json!({
        "schema": "rollcall.instance/1", "groups": [], "individuals": [],
        "certificates": [{ "name": "root", "certificate": pem, "verified": true }],
    });
    for (file, text) in [
        ("cas.json", ca.to_string()),
        ("own.json", own.to_string()),
        ("none.json", "[]".to_owned()),
        ("groups.json", r#"{"schema": "rollcall.group-list/1", "value": []}"#.to_owned()),
    ] {
        world.write(file, text);
    }
    for (instance, reason) in [
        ("--instance cas.json", "rolls-up"),
        ("--instance own.json", "no-entry"),
        ("--instance cas.json --instance none.json", "no-entry"),
        ("--instance none.json --verified ca/root.pem", "no-entry"),
        ("--instance cas.json --instance groups.json", "no-entry"),
    ] {
        let exit = if reason == "rolls-up" { 0 } else { 3 };
        let json =
            world.rollcall(&format!("check fleet/dev-00.chain.pem {instance} --json")).exits(exit).json();
        assert_eq!(json["reason"], reason, "{instance}");
        let missing = findings(&json).iter().any(|f| f["code"] == "group-missing");
        assert_eq!(missing, exit == 3, "{instance}");
    }
}

#[test]
fn a_key_of_another_certificate_is_a_refusal_in_every_form() {
    let world = World::new();
    fleet(&world);
    let key = world.read("fleet/dev-01.key.pem");
    let line = format!("check fleet/dev-00.chain.pem --key fleet/dev-01.key.pem {LINE}");
    let asked = |form: &str| world.rollcall(&format!("{line} {form}")).exits(3);
    assert_eq!(verdict(&asked("")), "reject");
    let json = asked("--json").json();
    assert_eq!((&json["verdict"], &json["reason"]), (&"reject".into(), &"key-mismatch".into()));
    assert_eq!(asked("--format sarif").json()["runs"][0]["properties"]["verdict"], "reject");
    let junit = asked("--format junit").stdout;
    assert!(junit.contains("failures=\"1\"") && junit.contains("type=\"key-mismatch\""), "{junit}");
    world.write("fleet/dev-00.key.pem", key);
    let batch = world.rollcall(&format!("check fleet {LINE} --list --json")).exits(3).json();
    assert_eq!((&batch["accepted"], &batch["verdicts"]["key-mismatch"]), (&7.into(), &1.into()));
    assert_eq!(batch["listed"][0]["reason"], "key-mismatch");
}

#[test]
fn the_name_of_a_minted_file_says_under_which_id_its_device_registers() {
    let world = World::new();
    fleet(&world);
    world.write("fleet/other.chain.pem", world.read("fleet/dev-00.chain.pem"));
    let json = world.rollcall(&format!("check fleet {LINE} --json")).exits(3).json();
    assert_eq!(json["verdicts"]["cn-mismatch"], 1, "{json}");
    world.rollcall(&format!("check fleet/other.chain.pem {LINE}")).exits(0);
}

#[test]
fn ca_certificates_in_a_directory_of_all_sorts_are_no_devices() {
    let world = World::new();
    fleet(&world);
    for (name, from) in [("mixed/root.pem", "ca/root.pem"), ("mixed/dev.pem", "fleet/dev-00.chain.pem")] {
        let text = world.read(from);
        std::fs::create_dir_all(world.path("mixed")).expect("a directory");
        world.write(name, text);
    }
    let json = world.rollcall(&format!("check mixed {LINE} --json")).exits(0).json();
    assert_eq!((&json["devices"], &json["left_out"]), (&1.into(), &1.into()));
    world.rollcall(&format!("check ca {LINE}")).exits(2);
}

#[test]
fn an_intermediate_that_nobody_holds_is_asked_for_and_completes_the_chain_once_it_is_given() {
    let world = World::new();
    fleet(&world);
    let chain = world.read("fleet/dev-00.chain.pem");
    let (leaf, _) = chain.split_once("-----END CERTIFICATE-----\n").expect("a leaf");
    world.write("leaf.pem", format!("{leaf}-----END CERTIFICATE-----\n"));
    let asked = "check leaf.pem --verified ca/root.pem --fix-to whole.pem";
    let said = world.rollcall(asked).exits(3);
    assert!(
        said.stdout.contains("--ca FILE") && !world.files(".").contains(&"whole.pem".to_owned()),
        "{said}"
    );
    world.rollcall(&format!("{asked} --ca ca/intermediate-1.pem")).exits(3);
    assert_eq!(verdict(&world.rollcall("check whole.pem --verified ca/root.pem").exits(0)), "accept");
}

#[test]
fn text_in_utf_16_is_read_and_json_in_the_place_of_a_chain_is_told() {
    let world = World::new();
    fleet(&world);
    let wide = |text: String| -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    world.write("wide.pem", wide(world.read("fleet/dev-00.chain.pem")));
    world.rollcall(&format!("check wide.pem {LINE}")).exits(0);
    world.write("wide.json", wide("[]".to_owned()));
    let said = world.rollcall(&format!("check wide.json {LINE}")).exits(2);
    assert!(said.stderr.contains("--instance"), "{said}");
    world.rollcall("check wide.pem --verified ca/root.pem --instance wide.json").exits(3);
}

fn findings(json: &Value) -> &[Value] {
    json["findings"].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_state_of_an_instance_is_read_from_the_json_of_the_azure_cli() {
    let world = World::new();
    let Some(openssl) =
        Openssl::find(&world, "the_state_of_an_instance_is_read_from_the_json_of_the_azure_cli")
    else {
        return;
    };
    tutorial(&world, &openssl);
    let thumbprint = openssl.run("x509 -in root.pem -noout -fingerprint -sha1", &[]);
    let thumbprint: String = thumbprint.trim().rsplit('=').next().unwrap_or_default().replace(':', "");
    let ca = |verified: bool| {
        serde_json::json!({ "value": [{
            "etag": "AAAAAAGPb2Y=", "name": "root", "type": "Microsoft.Devices/provisioningServices/certificates",
            "id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/d/certificates/root",
            "properties": {
                "certificate": null, "created": "2026-01-01T00:00:00+00:00", "updated": "2026-01-01T00:00:00+00:00",
                "expiry": "2036-01-01T00:00:00+00:00", "isVerified": verified, "subject": "Azure IoT Root CA",
                "thumbprint": thumbprint,
            },
        }] })
    };
    world.write("cas.json", ca(true).to_string());
    world.write("unverified.json", ca(false).to_string());
    let group = serde_json::json!([{
        "enrollmentGroupId": "line-a", "provisioningStatus": "enabled", "etag": "\"x\"",
        "attestation": { "type": "x509", "x509": { "caReferences": { "primary": "root", "secondary": null } } },
    }]);
    world.write("groups.json", group.to_string());
    let exports = "--ca root.pem --instance groups.json";
    let said = world.rollcall(&format!("check dev-1.chain.pem {exports} --instance cas.json")).exits(0);
    assert!(verdict(&said) == "accept" && said.stdout.contains("`line-a`"), "{said}");
    let said =
        world.rollcall(&format!("check dev-1.chain.pem {exports} --instance unverified.json")).exits(3);
    assert!(verdict(&said) == "reject" && said.stdout.contains("[ca-unverified]"), "{said}");
}

#[test]
fn what_is_no_chain_is_bad_input_and_a_private_key_is_never_shown() {
    let world = World::new();
    world.rollcall("mint ca --out ca --depth 1").exits(0);
    let key = world.read("ca/root.key.pem");
    world.write("garbage.pem", [0x30, 0x82, 0xff, 0xff, 0x00, 0x01, 0x02]);
    world.write("empty.pem", "");
    for line in [
        "check ca/root.key.pem",
        "check garbage.pem",
        "check empty.pem",
        "check nowhere.pem",
        "check ca/root.pem --verified ca/root.key.pem",
        "check ca/root.pem --instance garbage.pem",
        "check ca/root.pem --live",
        "check ca/root.pem --knob leaf-ca=maybe",
        "check",
    ] {
        let said = world.rollcall(line).exits(2);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{said}");
        for part in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!said.stderr.contains(part), "a part of the key in {said}");
        }
    }
    let said = world.rollcall("check ca/root.key.pem").exits(2);
    assert!(said.stderr.contains("private key"), "{said}");
}

#[test]
fn nothing_is_asked_of_a_service_unless_a_flag_says_so() {
    let world = World::new();
    world.rollcall("mint ca --out ca --depth 1").exits(0);
    let mut command = world.program("check ca/intermediate-1.pem --verified ca/root.pem");
    // Nobody listens there: asking would end with another status.
    command.env("ROLLCALL_ENDPOINT", "https://127.0.0.1:1").env("ROLLCALL_SERVICE_KEY", "c2VjcmV0");
    world.finish(command).exits(3);
}

/// A minted fleet of ten, two of them bad, and the CA's files.
fn fleet(world: &World) {
    world.rollcall("mint ca --out ca --depth 1").exits(0);
    let mint = |more: &str| {
        format!(
            "mint fleet --ca-cert ca/intermediate-1.pem --ca-key ca/intermediate-1.key.pem --seed 7 --out fleet \
             --registration-id dev-{{index:02}} {more}"
        )
    };
    world.rollcall(&mint("--count 8")).exits(0);
    world.rollcall(&mint("--count 1 --first 8 --defect time-leaf-expired")).exits(0);
    world.rollcall(&mint("--count 1 --first 9 --defect leaf-ca-true")).exits(0);
    assert_eq!(world.files("fleet").len(), 20, "ten chains and ten keys");
}

const LINE: &str = "--verified ca/root.pem --group line=ca/intermediate-1.pem";

#[test]
fn a_fleet_is_counted_and_its_bad_devices_are_listed_only_if_asked_for() {
    let world = World::new();
    fleet(&world);
    let said = world.rollcall(&format!("check fleet {LINE}")).exits(3);
    assert_eq!(verdict(&said), "reject");
    assert!(said.stdout.contains("10 devices: 8 let in"), "{said}");
    assert!(!said.stdout.contains("dev-03.chain.pem"), "no line for each device: {said}");
    let json = world.rollcall(&format!("check fleet {LINE} --list --json")).exits(3).json();
    assert_eq!((&json["schema"], &json["verdict"]), (&"rollcall.check-batch/1".into(), &"reject".into()));
    assert_eq!((&json["devices"], &json["accepted"], &json["refused"]), (&10.into(), &8.into(), &2.into()));
    assert_eq!(json["entries"]["line"], 8);
    assert_eq!(json["verdicts"]["invalid-certificate"], 2);
    let listed: Vec<&str> =
        json["listed"].as_array().expect("a list").iter().filter_map(|d| d["source"].as_str()).collect();
    assert_eq!(listed, ["fleet/dev-08.chain.pem", "fleet/dev-09.chain.pem"]);
    let one = world.rollcall(&format!("check fleet {LINE} --list=1 --json")).exits(3).json();
    assert_eq!(one["listed"].as_array().map(Vec::len), Some(1));
    let good = world
        .rollcall(&format!("check --each fleet/dev-00.chain.pem fleet/dev-01.chain.pem {LINE}"))
        .exits(0);
    assert_eq!(verdict(&good), "accept");
}

#[test]
fn a_manifest_says_who_is_who_and_a_missing_file_is_a_finding() {
    let world = World::new();
    fleet(&world);
    let manifest = "chain,registration_id\nfleet/dev-00.chain.pem,dev-00\nfleet/dev-01.chain.pem,other\nnowhere.pem,x\n\
         fleet/dev-02.key.pem,dev-02\n";
    world.write("devices.csv", manifest);
    let json = world.rollcall(&format!("check devices.csv {LINE} --json")).exits(3).json();
    assert_eq!((&json["devices"], &json["accepted"], &json["unreadable"]), (&4.into(), &1.into(), &2.into()));
    assert_eq!(json["verdicts"]["cn-mismatch"], 1);
    let codes: Vec<&str> = findings(&json).iter().filter_map(|f| f["code"].as_str()).collect();
    for code in ["file-unreadable", "key-exposed", "cn-mismatch"] {
        assert!(codes.contains(&code), "{code} in {codes:?}");
    }
}

#[test]
fn sarif_and_junit_say_the_same_as_the_text() {
    let world = World::new();
    fleet(&world);
    let sarif = world.rollcall(&format!("check fleet {LINE} --format sarif")).exits(3).json();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules: Vec<&Value> =
        run["tool"]["driver"]["rules"].as_array().expect("rules").iter().map(|r| &r["id"]).collect();
    let results = run["results"].as_array().expect("results");
    assert!(results.iter().all(|r| rules.contains(&&r["ruleId"])), "{sarif}");
    let expired = results.iter().find(|r| r["ruleId"] == "expired").expect("an expired leaf");
    assert_eq!(expired["level"], "error");
    let place = &expired["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "fleet/dev-08.chain.pem");

    let junit = world.rollcall(&format!("check fleet {LINE} --format junit")).exits(3).stdout;
    assert!(
        junit.starts_with("<?xml") && junit.contains("tests=\"10\"") && junit.contains("failures=\"2\""),
        "{junit}"
    );
    assert!(junit.contains("error[expired]") && junit.contains("name=\"fleet/dev-00.chain.pem\""), "{junit}");
    if let Some(mut python) = python(&world, "sarif_and_junit_say_the_same_as_the_text") {
        world.write("junit.xml", &junit);
        python.args(["-c", "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])", "junit.xml"]);
        world.finish(python).exits(0);
    }
}

/// Python as a reader of XML; none, said aloud, where there is none.
fn python(world: &World, test: &str) -> Option<std::process::Command> {
    world.script(test, "").map(|_| world.command("python3"))
}

#[test]
fn an_instance_is_read_from_a_running_service_and_a_canary_agrees() {
    let world = World::new();
    fleet(&world);
    let mock = Mock::start(&world);
    mock.prove("root", "ca/root.pem", "ca/root.key.pem");
    mock.operate("group create line --signing-cert ca/intermediate-1.pem").exits(0);
    let said = mock.operate("check fleet/dev-00.chain.pem --from-service --ca ca/root.pem").exits(0);
    assert!(verdict(&said) == "accept" && said.stdout.contains("group `line`"), "{said}");

    let canary = |chain: &str, key: &str, instance: &str| {
        world.rollcall(&format!(
            "check {chain} --key {key} {instance} --live --host localhost --port {} --id-scope {} --trust-root {} --json",
            mock.mqtts_port(),
            mock.id_scope,
            mock.trust_root
        ))
    };
    let good = canary("fleet/dev-00.chain.pem", "fleet/dev-00.key.pem", LINE).exits(0).json();
    assert_eq!(
        (&good["live"]["agrees"], &good["live"]["outcome"]["kind"]),
        (&true.into(), &"assigned".into())
    );
    let bad = canary("fleet/dev-08.chain.pem", "fleet/dev-08.key.pem", LINE).exits(3).json();
    assert_eq!((&bad["verdict"], &bad["live"]["agrees"]), (&"reject".into(), &true.into()), "{bad}");
    // An unknown id scope is refused as an unknown chain is.
    let elsewhere = format!(
        "check fleet/dev-02.chain.pem --key fleet/dev-02.key.pem {LINE} --live --host localhost --port {} \
         --id-scope 0ne00FFFFFF --trust-root {}",
        mock.mqtts_port(),
        mock.trust_root
    );
    assert_eq!(verdict(&world.rollcall(&elsewhere).exits(3)), "reject");
    let said = world.rollcall(&format!("{elsewhere} --json")).exits(3).json();
    assert_eq!((&said["verdict"], &said["reason"]), (&"reject".into(), &"live".into()));
    assert!(said["findings"][0]["fix"].as_str().is_some_and(|fix| fix.contains("id scope")), "{said}");
    world.rollcall(&format!("{elsewhere} --at 2027-01-01")).exits(2);
    // The instance has another group than we are told: a finding about the prediction.
    let told = "--verified ca/root.pem --group line=ca/intermediate-1.pem:disabled";
    let differs = canary("fleet/dev-01.chain.pem", "fleet/dev-01.key.pem", told).exits(3).json();
    assert_eq!(differs["live"]["agrees"], false);
    assert_eq!(differs["findings"][0]["code"], "live-difference");
    // Without --live nobody registers, this machine or not.
    let refused = format!(
        "check fleet/dev-00.chain.pem --key fleet/dev-00.key.pem {LINE} --host localhost --id-scope {}",
        mock.id_scope
    );
    world.rollcall(&refused).exits(2);
}
