//! The mock's TLS, seen by a client that is not ours.

use crate::openssl::Openssl;
use crate::refusals::{leaf_of, minted_under_a_verified_root, tail_of};
use crate::world::{Mock, World};

#[test]
fn openssl_s_client_completes_a_tls_1_2_handshake_with_a_minted_chain() {
    handshake("openssl_s_client_completes_a_tls_1_2_handshake_with_a_minted_chain", "-tls1_2", "TLSv1.2");
}

#[test]
fn openssl_s_client_completes_a_tls_1_3_handshake_with_a_minted_chain() {
    handshake("openssl_s_client_completes_a_tls_1_3_handshake_with_a_minted_chain", "-tls1_3", "TLSv1.3");
}

fn handshake(test: &str, flag: &str, version: &str) {
    let world = World::new();
    let Some(openssl) = Openssl::find(&world, test) else { return };
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    world.write("leaf.pem", leaf_of(&world.read("fleet/dev-00000.chain.pem")));
    world.write("tail.pem", tail_of(&world.read("fleet/dev-00000.chain.pem")));

    let client = format!(
        "s_client -connect 127.0.0.1:{} -servername localhost -verify_hostname localhost -verify_return_error \
         -CAfile {} -cert leaf.pem -key fleet/dev-00000.key.pem -cert_chain tail.pem {flag}",
        mock.mqtts_port(),
        mock.trust_root
    );
    let said = openssl.attempt(&client, &[]).exits(0);
    assert!(said.stdout.contains("Verify return code: 0 (ok)"), "{said}");
    assert!(said.stdout.contains(&format!("New, {version}, Cipher is ")), "{said}");
    assert!(!said.stdout.contains("Cipher is (NONE)"), "{said}");
    assert!(
        said.stdout.contains("Requested Signature Algorithms"),
        "the mock asks for a certificate: {said}"
    );
    assert!(!said.stderr.contains("alert"), "{said}");
}
