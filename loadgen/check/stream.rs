//! Many devices in one text, as `rollcall mint fleet --stdout` writes them: each one's chain, then its key.
//!
//! A device ends with its key, or where the next certificate that is no CA's begins. No more than one device is kept.

use super::inputs::{Asking, Content, Input, Unreadable, unread};
use crate::exit::Failure;
use sim_identity::files::CertificatePool;
use sim_identity::{Certificate, pem};
use std::io::{self, BufRead, Read as _};

/// The longest text of one device; a TLS message holds 64 KiB of certificates.
const LARGEST_DEVICE: usize = 1 << 20;
/// Lines are read in pieces of this size; those of PEM have 64 characters.
const LONGEST_PIECE: u64 = 8 << 10;

/// The devices of a stream.
pub struct Devices<R> {
    name: String,
    reader: R,
    line: usize,
    /// The device that is being read.
    chain: Vec<u8>,
    begun: usize,
    certificates: usize,
    /// A block that has turned out to be the next device's.
    held: Option<(usize, Vec<u8>)>,
    found: bool,
    ended: bool,
    pool: CertificatePool,
}

/// What a block holds.
enum Kind {
    Certificate,
    Key,
    Other,
}

/// A whole block, or what stands in its place.
struct Piece {
    kind: Kind,
    line: usize,
    text: Vec<u8>,
}

impl<R: BufRead> Devices<R> {
    /// Devices of a stream that is shown under this name.
    pub fn new(name: &str, reader: R) -> Self {
        Devices {
            name: name.to_owned(),
            reader,
            line: 0,
            chain: Vec::new(),
            begun: 0,
            certificates: 0,
            held: None,
            found: false,
            ended: false,
            pool: CertificatePool::new(),
        }
    }

    /// Reads up to the end of the next block; what stands between blocks is passed over.
    fn piece(&mut self) -> io::Result<Option<Piece>> {
        let mut piece: Option<Piece> = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = self.reader.by_ref().take(LONGEST_PIECE).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(piece);
            }
            self.line += usize::from(line.ends_with(b"\n"));
            let text = line.trim_ascii();
            if piece.is_none() && text.starts_with(b"-----BEGIN ") {
                piece = Some(Piece { kind: kind(text), line: self.line, text: Vec::new() });
            }
            let Some(open) = &mut piece else { continue };
            if open.text.len() < LARGEST_DEVICE {
                open.text.extend_from_slice(&line);
            }
            if text.starts_with(b"-----END ") {
                return Ok(piece);
            }
        }
    }

    fn begin(&mut self, line: usize, text: &[u8]) {
        (self.begun, self.certificates) = (line, 1);
        self.chain.extend_from_slice(text);
        self.found = true;
    }

    /// The device that has been read, if there is one.
    fn finish(&mut self, key: Vec<u8>) -> Option<Input> {
        if self.certificates == 0 {
            return None;
        }
        self.certificates = 0;
        let chain = std::mem::take(&mut self.chain);
        Some(Input {
            label: format!("{}, line {}", self.name, self.begun),
            asking: Asking::default(),
            mixed: false,
            content: Content::Text { chain, key },
        })
    }

    /// Takes in a block; hands over the device that it ends.
    fn take(&mut self, piece: Piece) -> Option<Result<Input, Unreadable>> {
        match piece.kind {
            Kind::Certificate if self.certificates == 0 => self.begin(piece.line, &piece.text),
            Kind::Certificate if is_leaf(&piece.text, &self.pool) => {
                self.held = Some((piece.line, piece.text));
                return self.finish(Vec::new()).map(Ok);
            }
            Kind::Certificate if self.chain.len() + piece.text.len() <= LARGEST_DEVICE => {
                self.certificates += 1;
                self.chain.extend_from_slice(&piece.text);
            }
            // More than any device can send: what is kept of it is enough to tell so.
            Kind::Certificate => {}
            Kind::Key => return self.finish(piece.text).map(Ok),
            Kind::Other => {}
        }
        None
    }

    /// What is left at the end.
    fn last(&mut self) -> Option<Result<Input, Unreadable>> {
        self.ended = true;
        let last = self.finish(Vec::new()).map(Ok);
        let nothing = || {
            let fault = format!("cannot read {}: it holds no certificate in PEM form", self.name);
            let failure = Failure::usage(fault).advise("Give PEM, each device's chain and then its key.");
            Err(Unreadable::new(self.name.as_str(), failure))
        };
        if last.is_none() && !self.found { Some(nothing()) } else { last }
    }
}

impl<R: BufRead> Iterator for Devices<R> {
    type Item = Result<Input, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Some((line, text)) = self.held.take() {
            self.begin(line, &text);
        }
        loop {
            match self.piece() {
                Ok(Some(piece)) => {
                    if let Some(device) = self.take(piece) {
                        return Some(device);
                    }
                }
                Ok(None) => return self.last(),
                Err(error) => {
                    self.ended = true;
                    let failure = unread(&self.name, &error);
                    return Some(Err(Unreadable::new(self.name.as_str(), failure)));
                }
            }
        }
    }
}

fn kind(begin: &[u8]) -> Kind {
    if begin.ends_with(b"PRIVATE KEY-----") {
        Kind::Key
    } else if begin.ends_with(b"CERTIFICATE-----") {
        Kind::Certificate
    } else {
        Kind::Other
    }
}

/// Whether a block is a certificate that is no CA's. One that cannot be read may as well be a part of the chain.
fn is_leaf(text: &[u8], pool: &CertificatePool) -> bool {
    let blocks = pem::blocks(&String::from_utf8_lossy(text)).unwrap_or_default();
    let certificate = blocks.first().and_then(|block| pool.read(&block.der).ok());
    certificate.is_some_and(|certificate: std::sync::Arc<Certificate>| !certificate.is_ca())
}
