//! Certificates and keys as users keep them: PEM or DER, told apart by looking.
//!
//! The caller reads the bytes; errors name the file by the name given here and never quote what is in a key.

use crate::certificate::{Certificate, CertificateFault};
use crate::key::{KeyFault, PrivateKey};
use crate::pem::{self, Block, PemFault};

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
    /// Neither PEM nor DER of what was asked for.
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

/// All certificates of a PEM file in order, or the one of a DER file; never an empty list.
pub fn read_certificates(file: &str, bytes: &[u8]) -> Result<Vec<Certificate>, FileFault> {
    let Some(blocks) = pem_blocks(file, bytes)? else {
        let one = Certificate::from_der(bytes);
        return one.map(|c| vec![c]).map_err(|_| missing(file, "certificate", &[]));
    };
    let found: Result<Vec<_>, _> =
        blocks.iter().filter(|b| is_certificate(b)).map(|b| certificate(file, b)).collect();
    let found = found?;
    if found.is_empty() { Err(missing(file, "certificate", &blocks)) } else { Ok(found) }
}

/// The private key of a file: PKCS#8, SEC1 or PKCS#1, PEM or DER.
pub fn read_private_key(file: &str, bytes: &[u8]) -> Result<PrivateKey, FileFault> {
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
    let key = match block.label.as_str() {
        "EC PRIVATE KEY" => PrivateKey::from_sec1(&block.der),
        "RSA PRIVATE KEY" => PrivateKey::from_pkcs1(&block.der),
        _ => PrivateKey::from_pkcs8(&block.der),
    };
    key.map_err(|fault| FileFault::Key { file: file.to_owned(), line: block.line, fault })
}

/// Whether the bytes hold a private key in PEM form, so that an upload of it can be refused.
pub fn holds_private_key(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes)
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

fn is_certificate(block: &Block) -> bool {
    matches!(block.label.as_str(), "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE")
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
