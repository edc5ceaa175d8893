//! Proof of possession: what proves it, and what does not.

use crate::openssl::{KeyKind, Openssl};
use crate::world::{Mock, World, find};
use serde_json::Value;

/// A mock with one uploaded CA that is not verified.
fn uploaded<'w>(world: &'w World, openssl: &Openssl<'_>) -> Mock<'w> {
    openssl.root("root", KeyKind::P256, "/O=Contoso/CN=Root");
    let mock = Mock::start(world);
    mock.operate("ca upload root --cert root.pem").exits(0);
    mock
}

fn code(mock: &Mock<'_>) -> String {
    let answer = mock.operate("ca code root --json").exits(0).json();
    let code = find(&answer, "verificationCode").and_then(Value::as_str);
    code.unwrap_or_else(|| panic!("no `verificationCode` in {answer}")).to_owned()
}

/// Asserts that the certificate in `NAME.pem` proves nothing.
#[track_caller]
fn proves_nothing(mock: &Mock<'_>, name: &str) {
    let refused = mock.operate(&format!("ca verify root --verification-cert {name}.pem")).exits(3);
    assert!(!refused.stderr.is_empty(), "{refused}");
    assert!(!mock.says_verified("root"), "{refused}");
}

fn request_with_code(openssl: &Openssl<'_>, name: &str, code: &str) {
    openssl.key(KeyKind::P256, &format!("{name}.key"));
    openssl.request(name, &format!("/CN={code}"));
}

#[test]
fn a_certificate_made_by_openssl_proves_possession() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "a_certificate_made_by_openssl_proves_possession") else {
        return;
    };
    let mock = uploaded(&world, &openssl);
    request_with_code(&openssl, "proof", &code(&mock));
    openssl.sign("proof", "root", "-days 1");
    mock.operate("ca verify root --verification-cert proof.pem").exits(0);
    assert!(mock.says_verified("root"));
}

#[test]
fn another_key_proves_nothing() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "another_key_proves_nothing") else { return };
    let mock = uploaded(&world, &openssl);
    openssl.root("other", KeyKind::P256, "/O=Contoso/CN=Root");
    request_with_code(&openssl, "proof", &code(&mock));
    openssl.sign("proof", "other", "-days 1");
    proves_nothing(&mock, "proof");
}

#[test]
fn a_code_that_was_replaced_proves_nothing() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "a_code_that_was_replaced_proves_nothing") else { return };
    let mock = uploaded(&world, &openssl);
    let (stale, fresh) = (code(&mock), code(&mock));
    assert_ne!(stale, fresh);
    request_with_code(&openssl, "proof", &stale);
    openssl.sign("proof", "root", "-days 1");
    proves_nothing(&mock, "proof");
}

#[test]
fn a_certificate_that_has_expired_proves_nothing() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "a_certificate_that_has_expired_proves_nothing") else {
        return;
    };
    let mock = uploaded(&world, &openssl);
    request_with_code(&openssl, "proof", &code(&mock));
    openssl.sign_expired("proof", "root", "basicConstraints = CA:FALSE\n");
    proves_nothing(&mock, "proof");
}

#[test]
fn the_key_of_another_authority_does_not_verify_this_one() {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, "the_key_of_another_authority_does_not_verify_this_one") else {
        return;
    };
    let mock = uploaded(&world, &openssl);
    openssl.root("other", KeyKind::P256, "/O=Contoso/CN=Root");
    let refused = mock.operate("ca verify root --key other.key");
    assert!(matches!(refused.code, Some(2 | 3)), "{refused}");
    assert!(!refused.stderr.is_empty(), "{refused}");
    assert!(!mock.says_verified("root"));
}
