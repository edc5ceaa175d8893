//! `ca prove --check`: every way in which a verification certificate goes wrong, found before it is uploaded, and the
//! mock of the same mind.

use crate::openssl::{KeyKind, Openssl};
use crate::world::{Finished, Mock, World, find};
use serde_json::Value;

/// A code as the service generates them.
const CODE: &str = "7D07A6A51F8AF1469499A1D92074D629894BE9FA8A013E49";

/// What `--check` says of a file: how it ended, the ids of the faults and those of the notes.
#[track_caller]
fn said(
    world: &World,
    code: &str,
    ca: &str,
    file: &str,
    more: &str,
) -> (Option<i32>, Vec<String>, Vec<String>) {
    let line = format!("ca prove --code {code} --cert {ca} --check {file} {more}");
    let told = world.rollcall(&line);
    let verdict = if told.code == Some(0) { "accept" } else { "reject" };
    assert_eq!(told.stdout.lines().next(), Some(verdict), "{told}");
    let json = world.rollcall(&format!("{line} --json")).json();
    assert_eq!(json["schema"], "rollcall.proof-check/1");
    assert_eq!(json["verdict"], verdict, "{json}");
    let ids = |key: &str| -> Vec<String> {
        let rows = json[key].as_array().unwrap_or_else(|| panic!("no `{key}` in {json}"));
        rows.iter().map(|row| row["id"].as_str().unwrap_or_default().to_owned()).collect()
    };
    for fault in json["faults"].as_array().into_iter().flatten() {
        assert!(fault["repair"].as_str().is_some_and(|repair| repair.ends_with(['.', '`'])), "{fault}");
    }
    (told.code, ids("faults"), ids("notes"))
}

/// A request for a certificate with this subject, and a key of its own.
fn request(openssl: &Openssl<'_>, name: &str, subject: &str) {
    openssl.key(KeyKind::P256, &format!("{name}.key"));
    openssl.request(name, subject);
}

/// A verification certificate with this subject.
fn signed(openssl: &Openssl<'_>, name: &str, subject: &str, issuer: &str) {
    request(openssl, name, subject);
    openssl.sign(name, issuer, "-days 1");
}

#[test]
fn each_fault_of_a_verification_certificate_is_found_and_the_mock_refuses_it_too() {
    let test = "each_fault_of_a_verification_certificate_is_found_and_the_mock_refuses_it_too";
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, test) else { return };
    openssl.root("root", KeyKind::P256, "/O=Contoso/CN=Root");
    let mock = Mock::start(&world);
    mock.operate("ca upload root --cert root.pem").exits(0);
    let answer = mock.operate("ca code root --json").exits(0).json();
    let code = find(&answer, "verificationCode").and_then(Value::as_str).expect("a code").to_owned();

    let cn = format!("/CN={code}");
    signed(&openssl, "stale", &format!("/CN={CODE}"), "root");
    signed(&openssl, "small", &cn.replace(&code, &code.to_lowercase()), "root");
    signed(&openssl, "blank", &format!("{cn} "), "root");
    signed(&openssl, "line-end", &format!("{cn}\n"), "root");
    signed(&openssl, "unit", &format!("/OU={code}"), "root");
    signed(&openssl, "twice", &format!("{cn}{cn}"), "root");
    openssl.root("other", KeyKind::P256, "/O=Contoso/CN=Another root");
    signed(&openssl, "stranger", &cn, "other");
    openssl.root("namesake", KeyKind::P256, "/O=Contoso/CN=Root");
    signed(&openssl, "generation", &cn, "namesake");
    openssl.intermediate("line", KeyKind::P256, "/O=Contoso/CN=Line", "root");
    signed(&openssl, "below", &cn, "line");
    openssl.run("req -x509 -new -config root.cnf -key root.key -days 1 -out self-issued.pem -subj", &[&cn]);
    openssl.key(KeyKind::P256, "own.key");
    openssl.run("req -x509 -new -config root.cnf -key own.key -days 1 -out self-signed.pem -subj", &[&cn]);
    request(&openssl, "expired", &cn);
    openssl.sign_expired("expired", "root", "basicConstraints = CA:FALSE\n");
    request(&openssl, "several", &format!("/CN={CODE}"));
    openssl.sign_expired("several", "other", "basicConstraints = CA:FALSE\n");

    for (name, expected) in [
        ("stale", &["pop-wrong-cn"][..]),
        ("small", &["pop-cn-case"]),
        ("blank", &["pop-cn-space"]),
        ("line-end", &["pop-cn-space"]),
        ("unit", &["pop-no-cn"]),
        ("twice", &["pop-wrong-cn"]),
        ("stranger", &["pop-wrong-key"]),
        ("below", &["pop-wrong-key"]),
        ("generation", &["pop-same-name-other-key"]),
        ("self-issued", &["pop-issuer-name"]),
        ("self-signed", &["pop-wrong-key"]),
        ("expired", &["pop-expired"]),
        ("root", &["pop-ca-itself"]),
        ("several", &["pop-wrong-cn", "pop-wrong-key", "pop-expired"]),
    ] {
        let (exit, faults, _) = said(&world, &code, "root.pem", &format!("{name}.pem"), "");
        assert_eq!(exit, Some(3), "{name}");
        assert_eq!(faults, expected, "{name}");
        mock.operate(&format!("ca verify root --verification-cert {name}.pem")).exits(3);
    }
    signed(&openssl, "good", &cn, "root");
    let (exit, faults, _) = said(&world, &code, "root.pem", "good.pem", "--at 2020-01-01");
    assert_eq!((exit, faults), (Some(3), vec!["pop-not-yet-valid".to_owned()]));
    let (exit, faults, _) = said(&world, &code, "root.pem", "good.pem", "");
    assert_eq!((exit, faults), (Some(0), vec![]));
    mock.operate("ca verify root --verification-cert good.pem").exits(0);
}

#[test]
fn weak_signatures_are_found() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "weak_signatures_are_found") else { return };
    openssl.root("root", KeyKind::Rsa2048, "/CN=Root");
    request(&openssl, "sha1", &format!("/CN={CODE}"));
    let sign = "x509 -req -CAcreateserial -days 1";
    openssl.run(&format!("{sign} -sha1 -in sha1.csr -CA root.pem -CAkey root.key -out sha1.pem"), &[]);
    openssl.run("genrsa -out small.key 1024", &[]);
    openssl.run(
        "req -x509 -new -config root.cnf -extensions v3_ca -key small.key -out small.pem -subj /CN=Small",
        &[],
    );
    openssl.run(
        &format!("{sign} -sha256 -in sha1.csr -CA small.pem -CAkey small.key -out below-small.pem"),
        &[],
    );
    for (ca, file) in [("root.pem", "sha1.pem"), ("small.pem", "below-small.pem")] {
        let (exit, faults, _) = said(&world, CODE, ca, file, "");
        assert_eq!((exit, faults), (Some(3), vec!["pop-weak-sig".to_owned()]), "{file}");
    }
}

#[test]
fn each_file_that_holds_no_certificate_is_told_apart_and_a_key_is_never_shown() {
    let test = "each_file_that_holds_no_certificate_is_told_apart_and_a_key_is_never_shown";
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, test) else { return };
    openssl.root("root", KeyKind::P256, "/CN=Root");
    signed(&openssl, "good", &format!("/CN={CODE}"), "root");
    openssl.run("x509 -in good.pem -outform DER -out good.der", &[]);
    openssl.run("req -in good.csr -outform DER -out good.csr.der", &[]);
    openssl.run("pkcs8 -topk8 -nocrypt -in root.key -outform DER -out root.key.der", &[]);
    openssl.run("ec -in root.key -outform DER -out root.sec1.der", &[]);
    openssl.run("pkcs8 -topk8 -in root.key -v2 aes256 -passout pass:x -out root.enc.key", &[]);
    openssl.run("pkcs12 -export -in root.pem -inkey root.key -passout pass:x -out root.pfx", &[]);
    openssl.run("base64 -in root.key.der -out root.key.b64", &[]);
    openssl.run("pkey -in root.key -pubout -out root.pub", &[]);
    openssl.run("x509 -in good.pem -pubkey -out with-public.pem", &[]);
    world.write("with-key.pem", format!("{}{}", world.read("good.pem"), world.read("root.key")));
    world.write("half.pem", &world.read("good.pem")[..300]);
    let der = std::fs::read(world.path("good.der")).expect("read");
    world.write("half.der", &der[..der.len() / 2]);
    world.write("empty", "");
    world.write("blank", " \r\n");
    world.write("noise", [0x99; 300]);
    world.write("words", "this is not a certificate\n");
    let key = world.read("root.key");
    let secret = key.lines().rev().nth(2).expect("a line of base64");
    for (file, expected) in [
        ("good.csr", "pop-csr"),
        ("good.csr.der", "pop-csr"),
        ("root.key", "pop-key-file"),
        ("root.key.der", "pop-key-file"),
        ("root.sec1.der", "pop-key-file"),
        ("root.enc.key", "pop-key-file"),
        ("root.key.b64", "pop-key-file"),
        ("with-key.pem", "pop-key-file"),
        ("root.pfx", "upload-pfx"),
        ("half.pem", "pop-truncated"),
        ("half.der", "pop-truncated"),
        ("empty", "pop-empty"),
        ("blank", "pop-empty"),
        ("noise", "pop-garbage"),
        ("words", "pop-garbage"),
        ("root.pub", "pop-garbage"),
    ] {
        let (exit, faults, _) = said(&world, CODE, "root.pem", file, "");
        assert_eq!((exit, faults), (Some(3), vec![expected.to_owned()]), "{file}");
        let told = world.rollcall(&format!("ca prove --code {CODE} --cert root.pem --check {file}"));
        let loud = told.stderr.contains("PRIVATE KEY");
        assert_eq!(loud, expected == "pop-key-file", "{told}");
        assert!(!told.stdout.contains(secret) && !told.stderr.contains(secret), "{told}");
    }
}

#[test]
fn each_form_of_a_good_certificate_is_taken_with_a_note() {
    let world = World::new();
    let test = "each_form_of_a_good_certificate_is_taken_with_a_note";
    let Some(openssl) = Openssl::find(&world, test) else { return };
    openssl.root("root", KeyKind::P256, "/CN=Root");
    signed(&openssl, "v1", &format!("/CN={CODE}"), "root");
    request(&openssl, "v3", &format!("/O=Contoso/CN={CODE}"));
    world.write(
        "leaf.ext",
        "basicConstraints = CA:TRUE\nkeyUsage = cRLSign\nextendedKeyUsage = codeSigning\n",
    );
    openssl.sign("v3", "root", "-days 1 -extfile leaf.ext");
    openssl.run("x509 -in v3.pem -outform DER -out v3.der", &[]);
    openssl.run("base64 -in v3.pem -out v3.pem.b64", &[]);
    openssl.run("base64 -in v3.der -out v3.der.b64", &[]);
    world.write("bundle.pem", format!("{}{}", world.read("v3.pem"), world.read("root.pem")));
    for (file, expected) in [
        ("v3.pem", &[][..]),
        ("v3.der", &["pop-ok-der"]),
        ("v3.pem.b64", &["pop-ok-base64-pem"]),
        ("v3.der.b64", &["pop-ok-base64-pem"]),
        ("bundle.pem", &["pop-bundle"]),
    ] {
        let (exit, faults, notes) = said(&world, CODE, "root.pem", file, "");
        assert_eq!((exit, faults), (Some(0), vec![]), "{file}");
        assert_eq!(notes, expected, "{file}");
    }
    let version = openssl.run("x509 -in v1.pem -noout -text", &[]);
    let (exit, _, notes) = said(&world, CODE, "root.pem", "v1.pem", "");
    // OpenSSL before 3.2 writes version 1 where no extension is asked for.
    assert_eq!((exit, notes.contains(&"pop-ok-v1".to_owned())), (Some(0), version.contains("Version: 1")));
    let made = world.rollcall(&format!("ca prove --code {CODE} --ca root.pem --key root.key --out ours.pem"));
    made.exits(0);
    assert_eq!(
        said(&world, CODE, "root.pem", "ours.pem", ""),
        (Some(0), vec![], vec!["pop-ok-v1".to_owned()])
    );
}

#[test]
fn what_cannot_be_read_is_bad_input_and_no_verdict() {
    let world = World::new();
    let test = "what_cannot_be_read_is_bad_input_and_no_verdict";
    let Some(openssl) = Openssl::find(&world, test) else { return };
    openssl.root("root", KeyKind::P256, "/CN=Root");
    signed(&openssl, "good", &format!("/CN={CODE}"), "root");
    let check = |code: &str, ca: &str, file: &str| -> Finished {
        let mut command = world.program("ca prove");
        command.args(["--code", code, "--cert", ca, "--check", file]);
        world.finish(command)
    };
    for (code, ca, file, thing) in [
        (CODE, "root.pem", "nowhere.pem", "nowhere.pem"),
        (CODE, "root.pem", ".", "."),
        (CODE, "nowhere.pem", "good.pem", "nowhere.pem"),
        (CODE, "root.key", "good.pem", "private key"),
        (CODE, "good.csr", "good.pem", "good.csr"),
        ("", "root.pem", "good.pem", "code"),
        ("ABC\n", "root.pem", "good.pem", "code"),
    ] {
        let refused = check(code, ca, file).exits(2);
        assert!(refused.stdout.is_empty() && refused.stderr.contains(thing), "{refused}");
    }
}
