//! How numbers, texts and kinds are spelled in a journal.
//!
//! Numbers are LEB128, signed ones in zigzag. The numbers of phases, outcomes and causes are the file's own and stay
//! as they are, whatever becomes of the enumerations.

use sim_device::{ConnectFault, Phase};
use std::sync::Mutex;

/// What every journal starts with.
pub(super) const MAGIC: [u8; 16] = *b"rollcall journal";
/// The version of the layout.
pub(super) const VERSION: u32 = 1;
/// Length and checksum, in front of the header and of every block.
pub(super) const FRAME: usize = 8;
/// The longest payload a reader believes in; a writer stops long before.
pub(super) const MOST_PAYLOAD: usize = 16 << 20;

/// A block of entries which goes on with the names of its worker's last one.
pub(super) const ENTRIES: u8 = 0;
/// A block of entries which knows no names yet.
pub(super) const ENTRIES_AFRESH: u8 = 1;
/// Nothing comes after this; written when a run has come to its end.
pub(super) const THE_END: u8 = 2;

/// How an arrival ended.
pub(super) const ENDING: u8 = 1;
/// An attempt that was given up: when it was due and started.
pub(super) const GIVEN_UP: u8 = 2;
/// A device stays connected.
pub(super) const HOLD: u8 = 3;
/// A device no longer does.
pub(super) const HELD: u8 = 4;

/// What an ending has, one bit each.
pub(super) mod has {
    pub(in super::super) const ATTEMPT: u8 = 1;
    pub(in super::super) const LATENESS: u8 = 2;
    pub(in super::super) const EXPECTED: u8 = 4;
    pub(in super::super) const DEFECT: u8 = 8;
    pub(in super::super) const TLS: u8 = 16;
    pub(in super::super) const RETRIES: u8 = 32;
}

/// How a name is given: spelled out and forgotten, spelled out and numbered, or by `number - 2`.
pub(super) const PLAIN: u64 = 0;
/// See [`PLAIN`].
pub(super) const DEFINED: u64 = 1;
/// See [`PLAIN`].
pub(super) const FIRST_NAME: u64 = 2;
/// Names a worker numbers; further ones are spelled out.
pub(super) const MOST_NAMES: usize = 4_096;

pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)) as u64);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Why a payload cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It ends in the middle of an entry.
    Short,
    /// A number has too many digits, or is out of its range.
    Number,
    /// A text is not UTF-8.
    Text,
    /// A kind or a name nobody knows.
    Unknown,
}

impl Unreadable {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "it ends in the middle of an entry",
            Self::Number => "a number is out of range",
            Self::Text => "a text is not UTF-8",
            Self::Unknown => "it refers to something that is not known",
        }
    }
}

/// A payload, read from its front.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Unreadable> {
        let (&first, rest) = self.0.split_first().ok_or(Unreadable::Short)?;
        self.0 = rest;
        Ok(first)
    }

    pub(super) fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(Unreadable::Number);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Unreadable::Number)
    }

    pub(super) fn small(&mut self) -> Result<u32, Unreadable> {
        u32::try_from(self.number()?).map_err(|_| Unreadable::Number)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Unreadable> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Unreadable> {
        let length = usize::try_from(self.number()?).map_err(|_| Unreadable::Number)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Unreadable::Short)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Unreadable::Text)
    }
}

/// Declares the numbers of an enumeration's values, both ways.
macro_rules! numbered {
    ($kind:ident: $number:ident, $named:ident, $($value:ident = $given:literal),+ $(,)?) => {
        pub(super) const fn $number(value: $kind) -> u8 {
            match value {
                $($kind::$value => $given,)+
            }
        }

        pub(super) const fn $named(number: u8) -> Result<$kind, Unreadable> {
            match number {
                $($given => Ok($kind::$value),)+
                _ => Err(Unreadable::Unknown),
            }
        }
    };
}

numbered!(Phase: phase_number, phase, Dns = 0, Tcp = 1, Tls = 2, Upgrade = 3, Connect = 4, Subscribe = 5,
    Register = 6, Wait = 7, Poll = 8);

numbered!(ConnectFault: cause_number, cause, UnknownHost = 0, ConnectionRefused = 1, Closed = 2, Network = 3,
    NoSourcePort = 4, NoDescriptor = 5, ServerNotTrusted = 6, ServerOutOfDate = 7, ServerMisnamed = 8,
    TlsBroken = 9, Silent = 10, Garbled = 11);

/// The numbers of outcomes.
pub(super) mod outcome {
    pub(in super::super) const ASSIGNED: u8 = 0;
    pub(in super::super) const CONNECTED: u8 = 1;
    pub(in super::super) const REFUSED: u8 = 2;
    pub(in super::super) const DISABLED: u8 = 3;
    pub(in super::super) const FAILED: u8 = 4;
    pub(in super::super) const THROTTLED: u8 = 5;
    pub(in super::super) const UNREACHABLE: u8 = 6;
    pub(in super::super) const TIMED_OUT: u8 = 7;
    pub(in super::super) const PROTOCOL_ERROR: u8 = 8;
    pub(in super::super) const SHED: u8 = 9;
    pub(in super::super) const INTERRUPTED: u8 = 10;
}

/// Texts that are part of a program for as long as it runs, as they were in the program that wrote them: names of
/// cipher suites, and what is wrong with a protocol. There are few, and a file may not bring any number of them.
pub(super) fn fixed(text: &str) -> Result<&'static str, Unreadable> {
    static KNOWN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    const MOST: usize = 256;
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(same) = known.iter().find(|name| **name == text) {
        return Ok(same);
    }
    if known.len() == MOST || text.len() > MOST {
        return Err(Unreadable::Unknown);
    }
    let name: &'static str = Box::leak(text.into());
    known.push(name);
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, -64, 64, i64::MIN, i64::MAX];
        numbers.into_iter().for_each(|number| put(&mut out, number));
        signed.into_iter().for_each(|number| put_signed(&mut out, number));
        let mut bytes = Bytes(&out);
        assert_eq!(numbers.map(|_| bytes.number()), numbers.map(Ok));
        assert_eq!(signed.map(|_| bytes.signed()), signed.map(Ok));
        assert_eq!((bytes.is_empty(), bytes.byte()), (true, Err(Unreadable::Short)));
    }

    #[test]
    fn what_is_no_number_or_text_is_refused() {
        assert_eq!(Bytes(&[0x80; 10]).number(), Err(Unreadable::Number));
        assert_eq!(Bytes(&[0x80]).number(), Err(Unreadable::Short));
        assert_eq!(
            Bytes(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(),
            Err(Unreadable::Number)
        );
        assert_eq!(Bytes(&[0xff, 0xff, 0xff, 0xff, 0x1f]).small(), Err(Unreadable::Number));
        assert_eq!(Bytes(&[3, b'a']).text(), Err(Unreadable::Short));
        assert_eq!(Bytes(&[1, 0xff]).text(), Err(Unreadable::Text));
    }

    #[test]
    fn every_phase_and_cause_has_a_number_of_its_own() {
        for phase_of in Phase::ALL {
            assert_eq!(phase(phase_number(phase_of)), Ok(phase_of));
        }
        let causes: Vec<_> = (0..=u8::MAX).map_while(|number| cause(number).ok()).collect();
        assert!((0_u8..).zip(&causes).all(|(number, cause)| cause_number(*cause) == number));
        assert_eq!(causes.len(), 12);
    }

    #[test]
    fn a_fixed_text_is_kept_once() {
        let one = fixed("TLS_AES_128_GCM_SHA256").expect("a name");
        let other = fixed(&String::from("TLS_AES_128_GCM_SHA256")).expect("a name");
        assert!(std::ptr::eq(one, other));
        assert_eq!(fixed(&"x".repeat(257)), Err(Unreadable::Unknown));
    }
}
