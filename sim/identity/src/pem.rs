//! PEM text (RFC 7468): found in a file with the line each block starts on, and written.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::fmt;
use std::iter::Peekable;

/// One block of a PEM file.
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// What stands between `BEGIN` and the dashes.
    pub label: String,
    /// Decoded content.
    pub der: Vec<u8>,
    /// Line of the `BEGIN`, counted from 1.
    pub line: usize,
    /// Whether header lines say that the content is encrypted (RFC 1421 `Proc-Type: 4,ENCRYPTED`).
    pub encrypted: bool,
}

/// The content may be a private key: it is never printed.
impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({}, line {}, {} bytes)", self.label, self.line, self.der.len())
    }
}

/// Why a PEM text cannot be read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemFault {
    /// `BEGIN` without its `END`: the file was cut off.
    #[error("line {line}: `-----BEGIN {label}-----` has no matching END line; the file is truncated")]
    Truncated {
        /// Where the block begins.
        line: usize,
        /// Its label.
        label: String,
    },
    /// Content that is not base64.
    #[error("line {line}: the content of `{label}` is not base64")]
    NotBase64 {
        /// Where the block begins.
        line: usize,
        /// Its label.
        label: String,
    },
}

/// Whether bytes look like PEM rather than DER.
pub fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|w| w == b"-----BEGIN ")
}

/// What a text holds, the broken parts of it too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Its blocks in order; one that is broken ends where the next begins.
    pub blocks: Vec<Result<Block, PemFault>>,
    /// The first line outside the blocks that is not empty, counted from 1.
    pub junk: Option<usize>,
    /// Whether lines end as on Windows, CR LF.
    pub crlf: bool,
}

/// Every block of a text and what stands around them; nothing in it ends the search.
pub fn scan(text: &str) -> Scan {
    let mut found = Scan::default();
    // Some editors begin a file with a byte-order mark.
    let text = text.trim_start_matches('\u{feff}');
    found.crlf = text.contains("\r\n");
    let mut lines = text.lines().enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        match boundary(line, "-----BEGIN ") {
            Some(label) => found.blocks.push(block(label, i + 1, &mut lines)),
            None if found.junk.is_none() && !line.trim().is_empty() => found.junk = Some(i + 1),
            None => {}
        }
    }
    found
}

/// All blocks of a text in order; text between blocks is ignored, as RFC 7468 section 2 allows.
pub fn blocks(text: &str) -> Result<Vec<Block>, PemFault> {
    scan(text).blocks.into_iter().collect()
}

fn boundary<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.trim().strip_prefix(prefix)?.strip_suffix("-----")
}

fn block<'a>(
    label: &str,
    line: usize,
    lines: &mut Peekable<impl Iterator<Item = (usize, &'a str)>>,
) -> Result<Block, PemFault> {
    let mut content = String::new();
    let mut encrypted = label == "ENCRYPTED PRIVATE KEY";
    // What begins before this block has ended is a block of its own.
    while let Some((_, text)) = lines.next_if(|(_, text)| boundary(text, "-----BEGIN ").is_none()) {
        if let Some(end) = boundary(text, "-----END ") {
            let der = (end == label).then(|| STANDARD.decode(&content));
            let der = der.ok_or_else(|| PemFault::Truncated { line, label: label.to_owned() })?;
            return match der {
                Ok(der) => Ok(Block { label: label.to_owned(), der, line, encrypted }),
                // An encrypted block's content is of no use and may carry what no decoder here expects.
                Err(_) if encrypted => {
                    Ok(Block { label: label.to_owned(), der: Vec::new(), line, encrypted })
                }
                Err(_) => Err(PemFault::NotBase64 { line, label: label.to_owned() }),
            };
        }
        if text.contains(':') {
            encrypted |= text.starts_with("Proc-Type:") && text.contains("ENCRYPTED");
        } else {
            content.push_str(text.trim());
        }
    }
    Err(PemFault::Truncated { line, label: label.to_owned() })
}

/// Writes one block with lines of 64 characters.
pub fn encode(label: &str, der: &[u8]) -> String {
    let content = STANDARD.encode(der);
    let mut out = String::with_capacity(content.len() + content.len() / 64 + 2 * label.len() + 40);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    for start in (0..content.len()).step_by(64) {
        out.push_str(&content[start..(start + 64).min(content.len())]);
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_found_again_among_junk_and_crlf() {
        let text = format!(
            "Bag Attributes\r\n{}junk\n{}",
            encode("A", &[1; 100]).replace('\n', "\r\n"),
            encode("B", &[])
        );
        let found = blocks(&text).expect("two blocks");
        assert_eq!(found.iter().map(|b| b.label.as_str()).collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!((found[0].der.as_slice(), found[0].line), ([1; 100].as_slice(), 2));
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_first_line() {
        let text = format!("\u{feff}{}", encode("A", &[1]));
        assert_eq!(blocks(&text).expect("one block").len(), 1);
    }

    #[test]
    fn a_truncated_or_garbled_block_is_named_with_its_line() {
        let whole = encode("CERTIFICATE", &[7; 200]);
        let cut = format!("\n{}", &whole[..whole.len() - 30]);
        let label = || "CERTIFICATE".to_owned();
        assert_eq!(blocks(&cut).err(), Some(PemFault::Truncated { line: 2, label: label() }));
        let garbled = "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        assert_eq!(blocks(garbled).err(), Some(PemFault::NotBase64 { line: 1, label: label() }));
    }

    #[test]
    fn one_broken_block_does_not_hide_the_others() {
        let (a, b) = (encode("A", &[1; 90]), encode("B", &[2]));
        let cut = &a[..a.len() - 20];
        for (text, faults) in [
            (format!("{cut}\n{b}"), [true, false]),
            (format!("{b}{cut}"), [false, true]),
            (format!("-----BEGIN A-----\n***\n-----END A-----\n{b}"), [true, false]),
            (format!("-----BEGIN A-----\n-----END C-----\n{b}"), [true, false]),
        ] {
            let found: Vec<bool> = scan(&text).blocks.iter().map(Result::is_err).collect();
            assert_eq!(found, faults, "{text}");
        }
    }

    #[test]
    fn junk_and_line_ends_are_noticed() {
        let a = encode("A", &[1; 90]);
        for (text, junk, crlf) in [
            (a.clone(), None, false),
            (format!("\n \n{a}\n"), None, false),
            (format!("{a}\nsubject=CN = x\n"), Some(6), false),
            (format!("Bag Attributes\n{a}"), Some(1), false),
            (a.replace('\n', "\r\n"), None, true),
        ] {
            let found = scan(&text);
            assert_eq!((found.junk, found.crlf), (junk, crlf), "{text:?}");
        }
    }

    #[test]
    fn both_kinds_of_encrypted_keys_are_recognised() {
        let modern = encode("ENCRYPTED PRIVATE KEY", &[1]);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAQ==\n-----END RSA PRIVATE KEY-----\n";
        for text in [modern.as_str(), old] {
            assert!(blocks(text).expect("one block")[0].encrypted);
        }
    }
}
