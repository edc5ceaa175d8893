//! Files as users keep them: every form, made by a tool we did not write, whole and broken.
#![expect(clippy::expect_used, reason = "a test that cannot go on says so by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

use sim_identity::files::{CertificatePool, FileContents, FileFault, read_presented, read_presented_with};
use sim_identity::fleet::FleetPlan;
use sim_identity::preflight::{Code, Severity};
use sim_identity::{Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, PrivateKey, Seed, pem};
use sim_protocol::RegistrationId;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

/// A device's chain, leaf first, and its key.
fn device() -> (Vec<Vec<u8>>, PrivateKey) {
    let plan = HierarchyPlan { name: "test".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let hierarchy = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a hierarchy");
    let fleet = Fleet::new(&FleetPlan::default(), hierarchy.issuing().clone(), Seed::from_number(2), NOW);
    let id = RegistrationId::new("dev-1").expect("a good id");
    let device = fleet.expect("a fleet").device(1, id, None).expect("mints");
    let key = PrivateKey::from_pkcs8(&device.key.to_pkcs8().expect("encodes")).expect("reads back");
    (device.chain.iter().map(|c| c.as_ref().to_vec()).collect(), key)
}

fn block(der: &[u8]) -> String {
    pem::encode("CERTIFICATE", der)
}

fn text(chain: &[Vec<u8>]) -> String {
    chain.iter().map(|der| block(der)).collect()
}

fn key_text(key: &PrivateKey) -> String {
    pem::encode("PRIVATE KEY", &key.to_pkcs8().expect("encodes"))
}

fn read(file: &str, bytes: &[u8]) -> Result<FileContents, FileFault> {
    read_presented(file, bytes, None)
}

fn ders(contents: &FileContents) -> Vec<Vec<u8>> {
    contents.certificates.iter().map(|c| c.der().to_vec()).collect()
}

fn codes(contents: &FileContents) -> Vec<Code> {
    contents.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn pem_and_der_are_told_apart_by_looking_and_odd_ones_are_pointed_out() {
    let (chain, key) = device();
    let (pem, der) = (text(&chain), chain.concat());
    let with_mark = format!("\u{feff}{pem}");
    let rows: Vec<(&str, Vec<u8>, Vec<Code>)> = vec![
        ("a.pem", pem.clone().into(), vec![]),
        ("a.crt", pem.clone().into(), vec![]),
        ("a.crt", der.clone(), vec![]),
        ("a", with_mark.into(), vec![]),
        ("a.pem", der.clone(), vec![Code::DerAsPem]),
        ("a.der", pem.clone().into(), vec![Code::DerAsPem]),
        ("a.pem", pem.replace('\n', "\r\n").into(), vec![Code::PemCrlf]),
        ("a.pem", format!("subject=CN = dev-1\n{pem}").into(), vec![Code::PemJunk]),
        ("a.pem", format!("{}{pem}", key_text(&key)).into(), vec![]),
        ("a.der", [der.as_slice(), b"\n"].concat(), vec![]),
        ("a.der", [der.as_slice(), b"junk"].concat(), vec![Code::FileUnreadable]),
        ("a.der", der[..der.len() - 1].to_vec(), vec![Code::FileUnreadable]),
    ];
    for (file, bytes, expected) in rows {
        let contents = read(file, &bytes).expect("certificates");
        let whole = bytes.len() >= der.len();
        assert_eq!(ders(&contents), if whole { &chain[..] } else { &chain[..chain.len() - 1] }, "{file}");
        assert_eq!(codes(&contents), expected, "{file}");
    }
}

#[test]
fn a_key_beside_the_certificates_is_read_and_must_not_be_uploaded() {
    let (chain, key) = device();
    let both = format!("{}{}", text(&chain), key_text(&key));
    let contents = read("device.pem", both.as_bytes()).expect("certificates");
    assert_eq!(contents.key.as_ref().map(PrivateKey::public_key), Some(key.public_key()));
    let found: Vec<Code> = contents.upload_findings("device.pem").iter().map(|f| f.code).collect();
    assert_eq!(found, [Code::KeyExposed, Code::PemBundle]);
    let alone = read("ca.pem", block(&chain[1]).as_bytes()).expect("a certificate");
    assert!(alone.upload_findings("ca.pem").is_empty() && !alone.holds_key);
}

#[test]
fn what_is_no_certificate_is_told_by_its_name_and_never_printed() {
    let (chain, key) = device();
    let pkcs8 = key.to_pkcs8().expect("encodes");
    let file = || "f".to_owned();
    let is_key = FileFault::PrivateKey { file: file() };
    let request = || FileFault::Request { file: file() };
    let rows: Vec<(Vec<u8>, FileFault)> = vec![
        (pkcs8.clone(), is_key.clone()),
        (key_text(&key).into(), is_key.clone()),
        (pem::encode("ENCRYPTED PRIVATE KEY", b"x").into(), is_key.clone()),
        (block(&pkcs8).into(), is_key),
        (pem::encode("CERTIFICATE REQUEST", b"x").into(), request()),
        (chain[0][..100].to_vec(), FileFault::Truncated { file: file(), missing: chain[0].len() - 100 }),
    ];
    for (bytes, expected) in rows {
        assert_eq!(read("f", &bytes).err(), Some(expected));
    }
    for bytes in [&b""[..], b"\n", b"no certificate", &[0; 32], &[0xff, 0xfe, b'-', 0]] {
        assert!(
            matches!(read("f", bytes), Err(FileFault::Missing { wanted: "certificate", .. })),
            "{bytes:?}"
        );
    }
    let shown = format!("{:?}", read("f", format!("{}{}", text(&chain), key_text(&key)).as_bytes()));
    let secret: String = pkcs8.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    assert!(!shown.contains(&secret));
}

#[test]
fn a_broken_leaf_is_an_error_and_a_broken_extra_a_finding() {
    let (chain, _) = device();
    let garbled = block(&chain[1][..300]);
    let not_base64 = "-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n".to_owned();
    let cut = block(&chain[1])[..200].to_owned() + "\n";
    for broken in [&garbled, &not_base64, &cut] {
        let (leaf, root) = (block(&chain[0]), block(&chain[2]));
        let contents = read("f", format!("{leaf}{broken}{root}").as_bytes()).expect("the rest");
        assert_eq!(ders(&contents), [chain[0].clone(), chain[2].clone()], "{broken}");
        assert_eq!(codes(&contents), [Code::FileUnreadable]);
        assert_eq!(contents.findings[0].severity, Severity::Warning);
        let first = read("f", format!("{broken}{leaf}").as_bytes());
        assert!(matches!(first, Err(FileFault::Certificate { .. } | FileFault::Pem { .. })), "{first:?}");
    }
}

#[test]
fn the_ca_certificates_of_many_files_are_parsed_once_and_leaves_are_not_kept() {
    let (chain, _) = device();
    let (pool, bytes) = (CertificatePool::new(), text(&chain));
    let read = || read_presented_with("f", bytes.as_bytes(), None, &pool).expect("certificates").certificates;
    let (one, two) = (read(), read());
    assert!(std::sync::Arc::ptr_eq(&one[1], &two[1]) && std::sync::Arc::ptr_eq(&one[2], &two[2]));
    assert!(!std::sync::Arc::ptr_eq(&one[0], &two[0]));
    assert_eq!(pool.len(), 2);
}

/// A directory with `leaf.pem`, `above.pem`, `chain.pem` and `leaf.key`, and `openssl` at work in it; none where the
/// command is not installed.
struct Openssl {
    dir: PathBuf,
    chain: Vec<Vec<u8>>,
    key: PrivateKey,
}

impl Openssl {
    fn begin(test: &str) -> Option<Self> {
        let asked =
            Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !asked.is_ok_and(|status| status.success()) {
            eprintln!("{test}: skipped, openssl is not installed");
            return None;
        }
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&dir).expect("a directory");
        let (chain, key) = device();
        let write = |name: &str, text: String| fs::write(dir.join(name), text).expect("written");
        write("leaf.pem", block(&chain[0]));
        write("above.pem", text(&chain[1..]));
        write("chain.pem", text(&chain));
        write("leaf.key", key_text(&key));
        Some(Openssl { dir, chain, key })
    }

    /// Runs the words of a line that writes `out`; none where this `openssl` does not do it.
    fn makes(&self, line: &str) -> Option<Vec<u8>> {
        let _ = fs::remove_file(self.dir.join("out"));
        let ran =
            Command::new("openssl").args(line.split(' ')).current_dir(&self.dir).output().expect("runs");
        ran.status.success().then(|| fs::read(self.dir.join("out")).expect("written"))
    }
}

const LEGACY: &str =
    "pkcs12 -export -legacy -in leaf.pem -inkey leaf.key -certfile above.pem -passout pass: -out out";

#[test]
fn bundles_and_archives_of_openssl_are_read_with_the_device_first() {
    let Some(openssl) = Openssl::begin("forms") else { return };
    let (mut all, key) = (openssl.chain.clone(), &openssl.key);
    all.sort();
    let p12 = "pkcs12 -export -in leaf.pem -inkey leaf.key -certfile above.pem -out out";
    for (line, password, has_key) in [
        ("crl2pkcs7 -nocrl -certfile chain.pem -out out".to_owned(), None, false),
        ("crl2pkcs7 -nocrl -certfile chain.pem -outform DER -out out".into(), None, false),
        ("crl2pkcs7 -nocrl -certfile above.pem -certfile leaf.pem -outform DER -out out".into(), None, false),
        (format!("{p12} -passout pass:"), None, true),
        (format!("{p12} -passout pass:"), Some(""), true),
        (format!("{p12} -passout pass:öffne"), Some("öffne"), true),
        (format!("{p12} -passout pass: -certpbe AES-128-CBC -keypbe AES-128-CBC"), None, true),
        (
            format!("{p12} -passout pass: -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1"),
            None,
            true,
        ),
        (format!("{p12} -passout pass: -nomac"), None, true),
        ("pkcs12 -export -nokeys -in chain.pem -passout pass: -out out".into(), None, false),
        (LEGACY.into(), None, true),
    ] {
        let Some(bytes) = openssl.makes(&line) else {
            // The old ciphers are in a provider that is not everywhere.
            assert_eq!(line, LEGACY);
            continue;
        };
        let contents = read_presented("f", &bytes, password).expect(&line);
        let mut found = ders(&contents);
        assert_eq!(found.first(), openssl.chain.first(), "{line}");
        found.sort();
        assert_eq!(found, all, "{line}");
        assert_eq!(contents.key.is_some_and(|k| k.public_key() == key.public_key()), has_key, "{line}");
        assert_eq!(contents.findings, []);
    }
}

#[test]
fn another_password_is_asked_for() {
    let Some(openssl) = Openssl::begin("password") else { return };
    for more in ["", " -nomac"] {
        let line = format!("pkcs12 -export -in leaf.pem -inkey leaf.key -passout pass:secret -out out{more}");
        let bytes = openssl.makes(&line).expect("an archive");
        for password in [None, Some("guess")] {
            let expected = FileFault::Password { file: "f".into(), given: password.is_some() };
            assert_eq!(read_presented("f", &bytes, password).err(), Some(expected), "{more}");
        }
    }
}

#[test]
fn other_things_that_openssl_writes_are_told_apart() {
    let Some(openssl) = Openssl::begin("others") else { return };
    let request = "req -new -key leaf.key -subj /CN=dev-1 -out out";
    for (line, expected) in [
        (format!("{request} -outform DER"), "request"),
        (request.to_owned(), "request"),
        ("pkcs8 -topk8 -in leaf.key -passout pass:x -outform DER -out out".into(), "key"),
        ("pkey -in leaf.key -outform DER -out out".into(), "key"),
        ("ec -in leaf.key -outform DER -out out".into(), "key"),
        ("pkcs12 -export -nocerts -inkey leaf.key -passout pass: -out out".into(), "key"),
        ("genrsa -out out 1024".into(), "key"),
        ("pkey -in leaf.key -pubout -outform DER -out out".into(), "missing"),
        ("pkey -in leaf.key -pubout -out out".into(), "missing"),
    ] {
        let bytes = openssl.makes(&line).expect(&line);
        let found = match read("f", &bytes) {
            Err(FileFault::Request { .. }) => "request",
            Err(FileFault::PrivateKey { .. }) => "key",
            Err(FileFault::Missing { .. }) => "missing",
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(found, expected, "{line}");
    }
}

/// Every beginning of a file, and every file with one byte changed, is read to an end.
fn survives(name: &str, bytes: &[u8], step: usize) {
    for end in 0..bytes.len() {
        if let Ok(contents) = read(name, &bytes[..end]) {
            assert!(!contents.certificates.is_empty(), "{name} cut at {end}");
        }
    }
    for at in (0..bytes.len()).step_by(step) {
        let mut changed = bytes.to_vec();
        for value in [0x00, 0x30, 0x7f, 0x80, 0x84, 0xff] {
            changed[at] = value;
            let _ = read(name, &changed);
        }
    }
}

#[test]
fn no_cut_or_changed_byte_makes_a_reader_panic() {
    let (chain, key) = device();
    let both = format!("{}{}", text(&chain[..2]), key_text(&key));
    survives("f.pem", both.as_bytes(), 1);
    survives("f.der", &chain[..2].concat(), 1);
    let Some(openssl) = Openssl::begin("hostile") else { return };
    let bundle =
        openssl.makes("crl2pkcs7 -nocrl -certfile above.pem -outform DER -out out").expect("a bundle");
    survives("f.p7b", &bundle, 1);
    let line = "pkcs12 -export -in leaf.pem -inkey leaf.key -iter 1 -passout pass: -out out";
    survives("f.p12", &openssl.makes(line).expect("an archive"), 1);
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let rows: [&[u8]; 6] = [
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 1],
        &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x80, 0x30, 0x80, 0x30, 0x80],
        &[0x30, 0xff],
        &[0x30, 0x84],
        &[0x30, 0x80],
    ];
    for bytes in rows {
        assert!(read("f", bytes).is_err(), "{bytes:02x?}");
    }
    // Indefinite lengths, one within the other, as far as the file goes.
    let nested: Vec<u8> = [0x30, 0x80].into_iter().cycle().take(1 << 20).collect();
    assert!(read("f", &nested).is_err());
    let oid = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    let bundle = [&[0x30, 0x80], &oid[..], &nested].concat();
    assert!(matches!(read("f", &bundle), Err(FileFault::Container { .. })));
}

#[test]
fn a_bundle_with_indefinite_lengths_is_read() {
    let (chain, _) = device();
    let oid = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07];
    let open = |tag: u8, content: &[u8]| [&[tag, 0x80], content, &[0, 0]].concat();
    let data = open(0x30, &[&oid[..], &[1]].concat());
    let certificates = open(0xa0, &chain.iter().rev().flatten().copied().collect::<Vec<_>>());
    let signed = [&[0x02, 0x01, 0x01, 0x31, 0x00], data.as_slice(), &certificates, &[0x31, 0x00]].concat();
    let content = open(0xa0, &open(0x30, &signed));
    let bundle = open(0x30, &[&oid[..], &[2], &content].concat());
    let contents = read("f.p7b", &bundle).expect("certificates");
    assert_eq!(contents.certificates.first().map(|c| c.der()), Some(chain[0].as_slice()));
    assert_eq!(contents.certificates.len(), chain.len());
}
