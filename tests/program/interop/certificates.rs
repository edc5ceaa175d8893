//! The official Python management SDK: proof of possession, and the errors on the way there.

use super::python::{MANAGEMENT_1, MANAGEMENT_2, Python};
use super::{Site, raised, returned, text};
use crate::openssl::{KeyKind, Openssl};
use crate::world::{Finished, World};
use serde_json::{Value, json};

/// The service's CA certificates as the SDK knows them.
struct Certificates<'s> {
    python: &'static Python,
    at: &'s Site<'s>,
}

impl Certificates<'_> {
    /// Makes the call that `line` tells, with the etag that `entry` has.
    fn call(&self, line: &str, entry: Option<&Value>) -> Finished {
        let endpoint = format!("https://localhost:{}", self.at.mock.https_port());
        let mut arguments: Vec<&str> = line.split_whitespace().collect();
        arguments.extend(["--endpoint", &endpoint, "--trust-root", self.at.mock.trust_root]);
        if let Some(entry) = entry {
            arguments.extend(["--etag", text(entry, "/etag")]);
        }
        self.python.run(self.at.world, "certificates.py", &arguments)
    }

    #[track_caller]
    fn returns(&self, line: &str, entry: Option<&Value>) -> Value {
        returned(self.call(line, entry))
    }

    /// Asserts that the SDK raises an error of this class, with this status and code.
    #[track_caller]
    fn raises(&self, line: &str, entry: Option<&Value>, error: (&str, u16, &str)) {
        let (class, status, code) = error;
        let raised = raised(self.call(line, entry));
        let told = (text(&raised, "/type"), &raised["status"], text(&raised, "/code"));
        assert_eq!(told, (class, &json!(status), code), "{raised}");
    }
}

/// `NAME.csr`: a request for a verification certificate.
fn request(openssl: &Openssl<'_>, name: &str, code: &str) {
    openssl.key(KeyKind::P256, &format!("{name}.key"));
    openssl.request(name, &format!("/CN={code}"));
}

/// `NAME.pem`: a verification certificate as the documentation makes it, without a file of extensions.
fn verification(openssl: &Openssl<'_>, name: &str, code: &str, issuer: &str) {
    request(openssl, name, code);
    openssl.sign(name, issuer, "-days 1");
}

fn proves_possession(python: &'static Python, openssl: &Openssl<'_>, world: &World) {
    let at = Site::start(world);
    let certificates = Certificates { python, at: &at };
    openssl.root("root", KeyKind::P256, "/O=Contoso/CN=Contoso Root");

    let created = certificates.returns("create root --certificate root.pem", None);
    assert_eq!((text(&created, "/subject"), &created["isVerified"]), ("Contoso Root", &json!(false)));
    let coded = certificates.returns("code root", Some(&created));
    verification(openssl, "proof", text(&coded, "/verificationCode"), "root");
    let verified = certificates.returns("verify root --certificate proof.pem", Some(&coded));
    assert_eq!(verified["isVerified"], true, "{verified}");
    assert_eq!(certificates.returns("show root", None), verified);
    assert_eq!(certificates.returns("list", None), json!([verified]));
    assert!(at.mock.says_verified("root"));

    certificates.returns("delete root", Some(&verified));
    assert_eq!(certificates.returns("list", None), json!([]));
    certificates.raises("show root", None, ("ResourceNotFoundError", 404, "IH404001"));
}

#[test]
fn the_official_python_management_sdk_proves_possession() {
    const TEST: &str = "the_official_python_management_sdk_proves_possession";
    let world = World::new();
    let (Some(python), Some(openssl)) = (MANAGEMENT_2.find(TEST), Openssl::find(&world, TEST)) else {
        return;
    };
    proves_possession(python, &openssl, &world);
}

#[test]
fn the_python_management_sdk_of_the_azure_cli_proves_possession() {
    const TEST: &str = "the_python_management_sdk_of_the_azure_cli_proves_possession";
    let world = World::new();
    let (Some(python), Some(openssl)) = (MANAGEMENT_1.find(TEST), Openssl::find(&world, TEST)) else {
        return;
    };
    proves_possession(python, &openssl, &world);
}

/// Every wrong step gets its error and changes nothing: the right one still passes after all of them.
fn gets_each_error(python: &'static Python, openssl: &Openssl<'_>, world: &World, mismatch: &str) {
    let at = Site::start(world);
    let certificates = Certificates { python, at: &at };
    openssl.root("root", KeyKind::P256, "/O=Contoso/CN=Root");
    openssl.root("other", KeyKind::P256, "/O=Contoso/CN=Root");
    let created = certificates.returns("create root --certificate root.pem", None);
    let coded = certificates.returns("code root", Some(&created));
    let code = text(&coded, "/verificationCode");
    verification(openssl, "proof", code, "root");
    verification(openssl, "misnamed", "another code", "root");
    verification(openssl, "forged", code, "other");
    request(openssl, "late", code);
    openssl.sign_expired("late", "root", "basicConstraints = CA:FALSE\n");

    let stale = (mismatch, 412, "IH412001");
    certificates.raises("verify root --certificate proof.pem", Some(&created), stale);
    certificates.raises("code root", Some(&created), stale);
    certificates.raises("delete root", Some(&created), stale);
    for (file, code) in [("misnamed", "IH400054"), ("forged", "IH400053"), ("late", "IH400055")] {
        let line = format!("verify root --certificate {file}.pem");
        certificates.raises(&line, Some(&coded), ("HttpResponseError", 400, code));
        assert!(!at.mock.says_verified("root"), "{file}");
    }
    certificates.returns("verify root --certificate proof.pem", Some(&coded));
    assert!(at.mock.says_verified("root"));
}

#[test]
fn the_official_python_management_sdk_gets_each_of_the_errors_on_the_way() {
    const TEST: &str = "the_official_python_management_sdk_gets_each_of_the_errors_on_the_way";
    let world = World::new();
    let (Some(python), Some(openssl)) = (MANAGEMENT_2.find(TEST), Openssl::find(&world, TEST)) else {
        return;
    };
    gets_each_error(python, &openssl, &world, "ResourceModifiedError");
}

#[test]
fn the_python_management_sdk_of_the_azure_cli_gets_each_of_the_errors_on_the_way() {
    const TEST: &str = "the_python_management_sdk_of_the_azure_cli_gets_each_of_the_errors_on_the_way";
    let world = World::new();
    let (Some(python), Some(openssl)) = (MANAGEMENT_1.find(TEST), Openssl::find(&world, TEST)) else {
        return;
    };
    gets_each_error(python, &openssl, &world, "HttpResponseError");
}
