//! Certificates and keys as users keep them: PEM, DER, PKCS#7 or PKCS#12, told apart by looking.
//!
//! The caller reads the bytes; errors name the file by the name given here and never quote what is in a key. Any
//! bytes at all: lengths are checked before they are believed, and one broken part does not hide the others.

mod archive;
mod bundle;
mod form;
mod pool;

use crate::certificate::{Certificate, CertificateFault};
use crate::key::{KeyFault, PrivateKey};
use crate::pem::{self, Block, PemFault};
use crate::preflight::{Code, Finding, Severity};
use form::Form;
pub use pool::CertificatePool;
use std::borrow::Cow;
use std::sync::Arc;

/// No file of certificates that anybody sends is larger; whoever reads one from a disk asks for its size first.
pub const LARGEST_FILE: u64 = 64 << 20;

/// Why a file is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// Broken PEM.
    #[error("cannot read {file}: {fault}")]
    Pem {
        /// The file's name as given.
        file: String,
        /// What is wrong in it.
        fault: PemFault,
    },
    /// Nothing of what was asked for.
    #[error("cannot read {file}: it holds no {wanted}{found}")]
    Missing {
        /// The file's name as given.
        file: String,
        /// What was looked for.
        wanted: &'static str,
        /// What was there instead, if anything could be told.
        found: String,
    },
    /// A block that says it is a certificate and is not.
    #[error("cannot read {file}, line {line}: {fault}")]
    Certificate {
        /// The file's name as given.
        file: String,
        /// Line of the block, 1 for DER.
        line: usize,
        /// What is wrong.
        fault: CertificateFault,
    },
    /// DER that ends before its own length says.
    #[error("cannot read {file}: it is truncated; {missing} bytes are missing at its end")]
    Truncated {
        /// The file's name as given.
        file: String,
        /// How much at least.
        missing: usize,
    },
    /// A private key where a certificate belongs; its content is not looked at.
    #[error("will not use {file} as a certificate: it holds a private key and no certificate")]
    PrivateKey {
        /// The file's name as given.
        file: String,
    },
    /// A certificate signing request where a certificate belongs.
    #[error("cannot read {file}: it holds a certificate signing request, which no CA has answered yet")]
    Request {
        /// The file's name as given.
        file: String,
    },
    /// PKCS#12 under another password.
    #[error("cannot read {file}: {}", if *.given { "the password does not open it" } else { "it is protected by a password" })]
    Password {
        /// The file's name as given.
        file: String,
        /// Whether a password was given.
        given: bool,
    },
    /// PKCS#7 or PKCS#12 that cannot be read.
    #[error("cannot read {file}: it is {form} of a kind that cannot be read: {reason}")]
    Container {
        /// The file's name as given.
        file: String,
        /// `PKCS#7` or `PKCS#12`.
        form: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An encrypted key.
    #[error(
        "cannot read {file}, line {line}: the private key is encrypted; decrypt it first, for instance with `openssl pkey -in {file} -out plain.key`"
    )]
    Encrypted {
        /// The file's name as given.
        file: String,
        /// Line of the block.
        line: usize,
    },
    /// A key of a kind that cannot be used.
    #[error("cannot read {file}, line {line}: {fault}")]
    Key {
        /// The file's name as given.
        file: String,
        /// Line of the block, 1 for DER.
        line: usize,
        /// What is wrong.
        fault: KeyFault,
    },
}

impl FileFault {
    /// What to do about it, a whole sentence.
    pub fn advice(&self) -> &'static str {
        match self {
            FileFault::Pem { .. } | FileFault::Certificate { .. } | FileFault::Truncated { .. } => {
                "Get the file again, whole, in PEM or DER form."
            }
            FileFault::Missing { .. } => "Give the file that holds it, in PEM or DER form.",
            FileFault::PrivateKey { .. } => {
                "Give the certificate that belongs to the key. A key that was uploaded, sent or shown to anybody is \
                 no secret any more: make a new one."
            }
            FileFault::Request { .. } => {
                "Have the request signed by a CA, and give the certificate that comes back."
            }
            FileFault::Password { .. } => {
                "Write the password that the file was exported with into a file, and name that with --password-file."
            }
            FileFault::Container { .. } => {
                "Convert it to PEM, for instance with `openssl pkcs7 -print_certs` or `openssl pkcs12 -nokeys`."
            }
            FileFault::Encrypted { .. } => "Decrypt the key first, or give one that is not encrypted.",
            FileFault::Key { .. } => "Give an unencrypted key as PKCS#8, SEC1 or PKCS#1.",
        }
    }
}

/// What a file meant for a device holds.
#[derive(Debug, Default)]
pub struct FileContents {
    /// The certificates in the order of the file; of forms that know no order, PKCS#7 and PKCS#12, the device's own
    /// first where it can be told. Never empty.
    pub certificates: Vec<Arc<Certificate>>,
    /// The private key, where the form carries one on purpose or a PEM file has one beside its certificates.
    pub key: Option<PrivateKey>,
    /// Whether there is a private key at all, readable or not.
    pub holds_key: bool,
    /// Oddities of the form, and parts that cannot be read.
    pub findings: Vec<Finding>,
}

impl FileContents {
    /// What is wrong with the file if it is one to be uploaded, a CA's: it should be one certificate, and no key.
    pub fn upload_findings(&self, file: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.holds_key {
            found.push(finding(
                Code::KeyExposed,
                Code::KeyExposed.severity(),
                format!("{file} holds a private key beside the certificate"),
                "Give the certificate alone; if the file has left this machine, replace the key and everything it signed.",
            ));
        }
        if self.certificates.len() > 1 {
            let count = self.certificates.len();
            found.push(finding(
                Code::PemBundle,
                Code::PemBundle.severity(),
                format!("{file} holds {count} certificates; the service takes the first and no other"),
                "Upload each certificate from a file of its own.",
            ));
        }
        found
    }
}

/// Reads what a device sends, or a CA's certificates: PEM, DER (one certificate after the other), PKCS#7 or PKCS#12,
/// whatever the file is called. A broken part after the first certificate is a finding, not the end.
///
/// # Errors
/// Where there is no certificate, or the first one cannot be read: that would be the device's own.
pub fn read_presented(file: &str, bytes: &[u8], password: Option<&str>) -> Result<FileContents, FileFault> {
    read_presented_with(file, bytes, password, &CertificatePool::none())
}

/// [`read_presented`], with a memory for the CA certificates that every device's file repeats.
pub fn read_presented_with(
    file: &str,
    bytes: &[u8],
    password: Option<&str>,
    pool: &CertificatePool,
) -> Result<FileContents, FileFault> {
    let source = Source { file, password, pool };
    let mut contents = FileContents::default();
    let given = bytes;
    let bytes: &[u8] = &as_utf8(given);
    contents.findings.extend((bytes != given).then(|| wide(file)));
    if pem::is_pem(bytes) {
        source.text(&mut contents, bytes)?;
    } else {
        source.binary(&mut contents, bytes)?;
    }
    contents.findings.extend(misnamed(file, bytes));
    Ok(contents)
}

/// Text in UTF-16 that says so by its byte-order mark, as `>` of PowerShell writes it, in UTF-8; anything else as it
/// is.
pub fn as_utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let (is_little, rest) = match bytes {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        _ => return Cow::Borrowed(bytes),
    };
    let unit = |pair: &[u8; 2]| if is_little { u16::from_le_bytes(*pair) } else { u16::from_be_bytes(*pair) };
    let units = rest.as_chunks::<2>().0.iter().map(unit);
    let text: String =
        char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.into_bytes())
}

/// A file that is being read.
struct Source<'a> {
    file: &'a str,
    password: Option<&'a str>,
    pool: &'a CertificatePool,
}

impl Source<'_> {
    fn text(&self, contents: &mut FileContents, bytes: &[u8]) -> Result<(), FileFault> {
        let scan = pem::scan(&String::from_utf8_lossy(bytes));
        for block in &scan.blocks {
            self.block(contents, block)?;
        }
        if contents.certificates.is_empty() {
            let blocks: Vec<Block> = scan.blocks.into_iter().flatten().collect();
            return Err(nothing(self.file, &blocks));
        }
        contents.findings.extend(oddities(self.file, scan.junk, scan.crlf));
        Ok(())
    }

    /// Takes in one block. What cannot be read is an error while the device's own certificate is still to come.
    fn block(&self, contents: &mut FileContents, block: &Result<Block, PemFault>) -> Result<(), FileFault> {
        let block = match block {
            Ok(block) => block,
            Err(fault) if contents.certificates.is_empty() => {
                return Err(FileFault::Pem { file: self.file.to_owned(), fault: fault.clone() });
            }
            Err(fault) => {
                contents.findings.push(unreadable(self.file, fault));
                return Ok(());
            }
        };
        if block.label.ends_with("PRIVATE KEY") {
            contents.holds_key = true;
            if contents.key.is_none() && !block.encrypted {
                contents.key = private_key(block).ok();
            }
        } else if is_certificate(block) {
            self.certificate(contents, &block.der, block.line)?;
        } else if is_bundle(block) {
            self.bundle(contents, &block.der)?;
        }
        Ok(())
    }

    /// Takes in one certificate. Like a broken block, one that cannot be read is an error only where it comes first.
    fn certificate(&self, contents: &mut FileContents, der: &[u8], line: usize) -> Result<(), FileFault> {
        match self.pool.read(der) {
            Ok(certificate) => contents.certificates.push(certificate),
            Err(fault) if contents.certificates.is_empty() => {
                return Err(match Form::of(der) {
                    Form::Request => FileFault::Request { file: self.file.to_owned() },
                    Form::PrivateKey => FileFault::PrivateKey { file: self.file.to_owned() },
                    _ => FileFault::Certificate { file: self.file.to_owned(), line, fault },
                });
            }
            Err(fault) => {
                let place = format_args!("line {line}: {fault}").to_string();
                contents.findings.push(unreadable(self.file, place));
            }
        }
        Ok(())
    }

    fn bundle(&self, contents: &mut FileContents, der: &[u8]) -> Result<(), FileFault> {
        let found = bundle::certificates(der).map_err(|reason| self.container("PKCS#7", reason))?;
        self.unordered(contents, found.into_iter())
    }

    /// Takes in certificates whose order says nothing.
    fn unordered<'c>(
        &self,
        contents: &mut FileContents,
        found: impl Iterator<Item = &'c [u8]>,
    ) -> Result<(), FileFault> {
        let first = contents.certificates.len();
        let mut fault = None;
        for der in found {
            match self.pool.read(der) {
                Ok(certificate) => contents.certificates.push(certificate),
                Err(found) => {
                    contents.findings.push(unreadable(self.file, &found));
                    fault.get_or_insert(found);
                }
            }
        }
        if let Some(fault) = fault.filter(|_| contents.certificates.is_empty()) {
            return Err(FileFault::Certificate { file: self.file.to_owned(), line: 1, fault });
        }
        leaf_first(&mut contents.certificates[first..], contents.key.as_ref());
        Ok(())
    }

    fn binary(&self, contents: &mut FileContents, bytes: &[u8]) -> Result<(), FileFault> {
        match Form::of(bytes) {
            Form::Bundle => self.bundle(contents, bytes)?,
            Form::Archive => self.archive(contents, bytes)?,
            Form::Certificate => self.certificates(contents, bytes)?,
            Form::Truncated(missing) => {
                return Err(FileFault::Truncated { file: self.file.to_owned(), missing });
            }
            Form::PrivateKey => return Err(FileFault::PrivateKey { file: self.file.to_owned() }),
            Form::Request => return Err(FileFault::Request { file: self.file.to_owned() }),
            other => return Err(self.nothing(other.hint())),
        }
        if contents.certificates.is_empty() { Err(self.nothing("")) } else { Ok(()) }
    }

    /// DER, one certificate after the other.
    fn certificates(&self, contents: &mut FileContents, bytes: &[u8]) -> Result<(), FileFault> {
        let mut rest = bytes;
        while let Some(element) = crate::der::split(rest) {
            self.certificate(contents, element.whole, 1)?;
            rest = element.rest;
            if rest.iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
                return Ok(());
            }
        }
        let fault = format_args!("{} bytes after the last certificate are none", rest.len()).to_string();
        contents.findings.push(unreadable(self.file, fault));
        Ok(())
    }

    fn archive(&self, contents: &mut FileContents, bytes: &[u8]) -> Result<(), FileFault> {
        let archive =
            archive::open(bytes, self.password.unwrap_or_default()).map_err(|fault| match fault {
                archive::Fault::Password => {
                    FileFault::Password { file: self.file.to_owned(), given: self.password.is_some() }
                }
                archive::Fault::Unreadable(reason) => self.container("PKCS#12", reason),
            })?;
        contents.holds_key = archive.holds_key;
        contents.key = archive.key;
        self.unordered(contents, archive.certificates.iter().map(Vec::as_slice))?;
        match contents.certificates.is_empty() && contents.holds_key {
            true => Err(FileFault::PrivateKey { file: self.file.to_owned() }),
            false => Ok(()),
        }
    }

    fn container(&self, form: &'static str, reason: String) -> FileFault {
        FileFault::Container { file: self.file.to_owned(), form, reason }
    }

    fn nothing(&self, found: &str) -> FileFault {
        FileFault::Missing { file: self.file.to_owned(), wanted: "certificate", found: found.to_owned() }
    }
}

/// Moves the device's own certificate to the front: the one that belongs to the key, or else the first that is no CA.
fn leaf_first(certificates: &mut [Arc<Certificate>], key: Option<&PrivateKey>) {
    let owned = |c: &Arc<Certificate>| key.is_some_and(|key| key.public_key() == c.public_key());
    let leaf = certificates.iter().position(owned).or_else(|| certificates.iter().position(|c| !c.is_ca()));
    if let Some(leaf) = leaf {
        certificates[..=leaf].rotate_right(1);
    }
}

/// Why a text without certificates is of no use.
fn nothing(file: &str, blocks: &[Block]) -> FileFault {
    let has = |wanted: fn(&Block) -> bool| blocks.iter().any(wanted);
    if has(|b| b.label.ends_with("PRIVATE KEY")) {
        return FileFault::PrivateKey { file: file.to_owned() };
    }
    if has(|b| b.label.ends_with("CERTIFICATE REQUEST")) {
        return FileFault::Request { file: file.to_owned() };
    }
    missing(file, "certificate", blocks)
}

fn finding(code: Code, severity: Severity, message: String, fix: &str) -> Finding {
    Finding { code, severity, about: None, message, fix: fix.to_owned(), evidence: Vec::new() }
}

/// A part that no device needs and that no verifier can use: the service passes over it.
fn unreadable(file: &str, fault: impl std::fmt::Display) -> Finding {
    let message = format!("a part of {file} cannot be read: {fault}");
    finding(Code::FileUnreadable, Severity::Warning, message, "Remove it, or get the file again, whole.")
}

/// Oddities of a PEM text: strict readers, those of small devices, stumble over them.
fn oddities(file: &str, junk: Option<usize>, crlf: bool) -> impl Iterator<Item = Finding> {
    let junk = junk.map(|line| {
        let message = format!("{file} has text outside its blocks, from line {line} on");
        let fix = "Keep the BEGIN and END lines and what is between them, for instance with `openssl x509` or \
                   `--fix-to`.";
        finding(Code::PemJunk, Code::PemJunk.severity(), message, fix)
    });
    let crlf = crlf.then(|| {
        let message = format!("the lines of {file} end as on Windows, CR LF");
        finding(
            Code::PemCrlf,
            Code::PemCrlf.severity(),
            message,
            "Save it with LF alone, for instance with `dos2unix`.",
        )
    });
    junk.into_iter().chain(crlf)
}

/// A text that no device's reader of PEM takes.
fn wide(file: &str) -> Finding {
    let message = format!("{file} is UTF-16 text, as `>` of PowerShell writes it");
    finding(
        Code::PemJunk,
        Code::PemJunk.severity(),
        message,
        "Save it as UTF-8, or write it with `--fix-to`.",
    )
}

/// A name that says PEM where the file is DER, or the reverse.
fn misnamed(file: &str, bytes: &[u8]) -> Option<Finding> {
    let (_, extension) = file.rsplit_once('.')?;
    let (is, says) = match (pem::is_pem(bytes), extension.to_ascii_lowercase().as_str()) {
        (false, "pem") => ("DER", "PEM"),
        (true, "der") => ("PEM", "DER"),
        _ => return None,
    };
    let message = format!("{file} says {says} by its name and is {is}");
    let fix = "Rename it, or convert it: many tools go by the name.";
    Some(finding(Code::DerAsPem, Code::DerAsPem.severity(), message, fix))
}

/// All certificates of a PEM file in order, or the one of a DER file; never an empty list.
pub fn read_certificates(file: &str, bytes: &[u8]) -> Result<Vec<Certificate>, FileFault> {
    let bytes: &[u8] = &as_utf8(bytes);
    let Some(blocks) = pem_blocks(file, bytes)? else {
        let one = Certificate::from_der(bytes);
        return one.map(|c| vec![c]).map_err(|_| no_certificate(file, bytes));
    };
    let found: Result<Vec<_>, _> =
        blocks.iter().filter(|b| is_certificate(b)).map(|b| certificate(file, b)).collect();
    let found = found?;
    if found.is_empty() { Err(missing(file, "certificate", &blocks)) } else { Ok(found) }
}

/// Why DER is not a certificate.
fn no_certificate(file: &str, bytes: &[u8]) -> FileFault {
    let form = Form::of(bytes);
    match form {
        Form::Truncated(missing) => FileFault::Truncated { file: file.to_owned(), missing },
        _ => {
            let found = form.hint().to_owned();
            FileFault::Missing { file: file.to_owned(), wanted: "certificate", found }
        }
    }
}

/// The private key of a file: PKCS#8, SEC1 or PKCS#1, PEM or DER.
pub fn read_private_key(file: &str, bytes: &[u8]) -> Result<PrivateKey, FileFault> {
    let bytes: &[u8] = &as_utf8(bytes);
    let Some(blocks) = pem_blocks(file, bytes)? else {
        let key = PrivateKey::from_pkcs8(bytes)
            .or_else(|_| PrivateKey::from_sec1(bytes))
            .or_else(|_| PrivateKey::from_pkcs1(bytes));
        return key.map_err(|_| missing(file, "unencrypted private key", &[]));
    };
    let block = blocks.iter().find(|b| b.label.ends_with("PRIVATE KEY"));
    let block = block.ok_or_else(|| missing(file, "private key", &blocks))?;
    if block.encrypted {
        return Err(FileFault::Encrypted { file: file.to_owned(), line: block.line });
    }
    private_key(block).map_err(|fault| FileFault::Key { file: file.to_owned(), line: block.line, fault })
}

fn private_key(block: &Block) -> Result<PrivateKey, KeyFault> {
    match block.label.as_str() {
        "EC PRIVATE KEY" => PrivateKey::from_sec1(&block.der),
        "RSA PRIVATE KEY" => PrivateKey::from_pkcs1(&block.der),
        _ => PrivateKey::from_pkcs8(&block.der),
    }
}

/// Whether the bytes hold a private key in PEM form, so that an upload of it can be refused.
pub fn holds_private_key(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(&as_utf8(bytes))
        .lines()
        .any(|l| l.starts_with("-----BEGIN ") && l.contains("PRIVATE KEY-----"))
}

fn pem_blocks(file: &str, bytes: &[u8]) -> Result<Option<Vec<Block>>, FileFault> {
    if !pem::is_pem(bytes) {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(bytes);
    pem::blocks(&text).map(Some).map_err(|fault| FileFault::Pem { file: file.to_owned(), fault })
}

pub(crate) fn is_certificate(block: &Block) -> bool {
    matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
}

fn is_bundle(block: &Block) -> bool {
    matches!(block.label.as_str(), "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA")
}

fn certificate(file: &str, block: &Block) -> Result<Certificate, FileFault> {
    Certificate::from_der(block.der.as_slice()).map_err(|fault| FileFault::Certificate {
        file: file.to_owned(),
        line: block.line,
        fault,
    })
}

fn missing(file: &str, wanted: &'static str, blocks: &[Block]) -> FileFault {
    let labels: Vec<&str> = blocks.iter().map(|b| b.label.as_str()).collect();
    let found = if labels.is_empty() { String::new() } else { format!(", only {}", labels.join(", ")) };
    FileFault::Missing { file: file.to_owned(), wanted, found }
}
