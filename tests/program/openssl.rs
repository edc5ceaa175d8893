//! The `openssl` command: certificates made by others, and a second opinion on ours.

use crate::world::{Finished, World, skip};
use std::process::{Command, Stdio};

/// `openssl` at work in a test's directory.
pub(crate) struct Openssl<'w> {
    world: &'w World,
}

impl<'w> Openssl<'w> {
    /// None, said aloud, where the command isn't installed.
    pub(crate) fn find(world: &'w World, test: &str) -> Option<Self> {
        let found =
            Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        match found {
            Ok(status) if status.success() => Some(Openssl { world }),
            Ok(status) => {
                skip(test, "openssl", &status.to_string());
                None
            }
            Err(error) => {
                skip(test, "openssl", &error.to_string());
                None
            }
        }
    }

    /// Runs the words of `line`, then `more` as they are, whatever comes of it.
    pub(crate) fn attempt(&self, line: &str, more: &[&str]) -> Finished {
        let mut command = self.world.command("openssl");
        command.args(line.split_whitespace()).args(more);
        self.world.finish(command)
    }

    /// Runs the words of `line`, then `more` as they are, and says what was printed.
    #[track_caller]
    pub(crate) fn run(&self, line: &str, more: &[&str]) -> String {
        self.attempt(line, more).exits(0).stdout
    }

    /// Asserts that the first certificate of `chain` is one that `root` vouches for, through `untrusted`.
    #[track_caller]
    pub(crate) fn accepts(&self, root: &str, untrusted: &str, chain: &str) {
        self.run(&format!("verify -purpose sslclient -CAfile {root} -untrusted {untrusted} {chain}"), &[]);
    }

    /// Asserts that `key` is the private half of the first certificate of `chain`.
    #[track_caller]
    pub(crate) fn pairs(&self, chain: &str, key: &str) {
        let certified = self.run(&format!("x509 -in {chain} -noout -pubkey"), &[]);
        let held = self.run(&format!("pkey -in {key} -pubout"), &[]);
        assert_eq!(certified, held, "{key} is not the key of {chain}");
    }

    /// A key as the tutorials make it: PKCS#8 for RSA, SEC1 after its parameters for ECDSA.
    pub(crate) fn key(&self, kind: KeyKind, file: &str) {
        match kind {
            KeyKind::Rsa2048 => self.run(&format!("genrsa -out {file} 2048"), &[]),
            KeyKind::P256 => self.run(&format!("ecparam -name prime256v1 -genkey -out {file}"), &[]),
        };
    }

    /// `NAME.pem` and `NAME.key`: a self-signed CA.
    pub(crate) fn root(&self, name: &str, kind: KeyKind, subject: &str) {
        self.key(kind, &format!("{name}.key"));
        self.world.write("root.cnf", ROOT_CONFIG);
        self.run(
            &format!(
                "req -x509 -new -config root.cnf -extensions v3_ca -key {name}.key -sha256 -days 3650 -out {name}.pem \
                 -utf8 -subj"
            ),
            &[subject],
        );
    }

    /// `NAME.pem` and `NAME.key`: a CA below `issuer` that may sign leaves and nothing else.
    pub(crate) fn intermediate(&self, name: &str, kind: KeyKind, subject: &str, issuer: &str) {
        self.key(kind, &format!("{name}.key"));
        self.request(name, subject);
        self.world.write("intermediate.ext", INTERMEDIATE_EXTENSIONS);
        self.sign(name, issuer, "-days 1825 -extfile intermediate.ext");
    }

    /// `NAME.csr`, of the key in `NAME.key`.
    pub(crate) fn request(&self, name: &str, subject: &str) {
        self.world.write("root.cnf", ROOT_CONFIG);
        self.run(
            &format!("req -new -config root.cnf -key {name}.key -out {name}.csr -utf8 -subj"),
            &[subject],
        );
    }

    /// `NAME.pem`, from `NAME.csr`.
    pub(crate) fn sign(&self, name: &str, issuer: &str, how: &str) {
        self.run(
            &format!(
                "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -sha256 {how} -out {name}.pem"
            ),
            &[],
        );
    }

    /// `NAME.pem`, from `NAME.csr`, valid for one day that is long gone.
    pub(crate) fn sign_expired(&self, name: &str, issuer: &str, extensions: &str) {
        self.world.write("index.txt", "");
        self.world.write("serial", "7001\n");
        self.world.write("past.cnf", format!("{PAST_CONFIG}{extensions}"));
        self.run(
            &format!(
                "ca -batch -config past.cnf -notext -md sha256 -cert {issuer}.pem -keyfile {issuer}.key -in {name}.csr \
                 -startdate 20200101000000Z -enddate 20200102000000Z -extensions leaf -out {name}.pem"
            ),
            &[],
        );
    }

    /// `NAME.pem` and `NAME.key`: a device leaf without its chain, long expired.
    pub(crate) fn expired_device(&self, name: &str, issuer: &str) {
        self.key(KeyKind::P256, &format!("{name}.key"));
        self.request(name, &format!("/CN={name}"));
        self.sign_expired(name, issuer, LEAF_EXTENSIONS);
    }
}

/// The two kinds of key that tutorials use for authorities.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyKind {
    Rsa2048,
    P256,
}

const ROOT_CONFIG: &str = "\
[req]
distinguished_name = name
string_mask = utf8only
prompt = no
[name]
CN = unused
[v3_ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
";

const INTERMEDIATE_EXTENSIONS: &str = "\
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
";

const PAST_CONFIG: &str = "\
[ca]
default_ca = past
[past]
database = index.txt
serial = serial
new_certs_dir = .
policy = any
unique_subject = no
[any]
commonName = supplied
[leaf]
";

const LEAF_EXTENSIONS: &str = "\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
authorityKeyIdentifier = keyid:always
";
