//! Names the service makes up: etags, tracking ids, operation ids, verification codes.
//!
//! All follow from a seed and a counter, so that none repeats and a run can be repeated.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sim_identity::Seed;
use sim_protocol::sas::SharedKey;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use time::OffsetDateTime;

/// A source of names.
#[derive(Debug)]
pub struct Ids {
    seed: Seed,
    mix: u64,
    instance: u64,
    counter: AtomicU64,
}

impl Ids {
    /// Names that follow from this seed.
    pub fn new(seed: Seed) -> Self {
        let word = |label| u64::from_be_bytes(first_8(&seed.draw(label, 0, 0)));
        Ids { mix: word("guid"), instance: word("instance"), counter: AtomicU64::new(1), seed }
    }

    /// How far the counter has come.
    pub(crate) fn position(&self) -> u64 {
        self.counter.load(Ordering::Relaxed)
    }

    /// Goes on well behind a remembered position, so that nothing handed out since then can be repeated.
    pub(crate) fn resume(&self, position: u64) {
        self.counter.fetch_max(position.saturating_add(1 << 32), Ordering::Relaxed);
    }

    fn next(&self) -> u64 {
        self.counter.fetch_add(1, Ordering::Relaxed)
    }

    /// A number for what is left to chance, the same whenever it is drawn for the same thing and time.
    pub fn draw(&self, what: u64, time: u16) -> u64 {
        mix(mix(what ^ self.instance) ^ u64::from(time))
    }

    /// Base64 of an 8-byte counter that grows with every write and never repeats.
    pub fn etag(&self) -> String {
        STANDARD.encode((0x1_4f00_0000 + self.next()).to_be_bytes())
    }

    /// A GUID for `trackingId` and `x-ms-request-id`.
    pub fn guid(&self) -> String {
        let mut out = String::with_capacity(36);
        self.push_guid(&mut out);
        out
    }

    fn push_guid(&self, out: &mut String) {
        let n = self.next();
        let (a, b) = (mix(n ^ self.mix), mix(n.wrapping_add(self.mix)));
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            0x8000 | b >> 48 & 0x3fff,
            b & 0xffff_ffff_ffff
        );
    }

    /// `{digit}.{16 hex}.{GUID}`, the shape seen on the wire; the middle part belongs to the instance.
    pub fn operation_id(&self) -> String {
        let mut out = format!("5.{:016x}.", self.instance);
        self.push_guid(&mut out);
        out
    }

    /// 24 bytes, 48 upper-case hexadecimal digits.
    pub fn verification_code(&self) -> String {
        let n = self.next();
        self.seed.draw("code", n, 0)[..24].iter().fold(String::with_capacity(48), |mut code, byte| {
            let _ = write!(code, "{byte:02X}");
            code
        })
    }

    /// A key of 64 bytes, the length that the service makes.
    pub fn shared_key(&self) -> SharedKey {
        let n = self.next();
        SharedKey::of_halves(self.seed.draw("key", n, 0), self.seed.draw("key", n, 1))
    }

    /// Registration etag: base64 of a quoted GUID-like text that ends in the moment of the last write.
    pub fn registration_etag(&self, now: OffsetDateTime) -> String {
        let n = mix(self.next() ^ self.mix);
        let text = format!(
            "\"{:08x}-0000-0100-0000-{:08x}0000\"",
            n >> 32,
            now.unix_timestamp().unsigned_abs() & 0xffff_ffff
        );
        STANDARD.encode(text)
    }
}

fn first_8(bytes: &[u8; 32]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[..8]);
    out
}

/// SplitMix64's finaliser: neighbours in, strangers out.
pub(crate) fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_shapes_seen_on_the_wire_and_do_not_repeat() {
        let ids = Ids::new(Seed::from_number(1));
        let code = ids.verification_code();
        assert_eq!(code.len(), 48);
        assert!(code.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
        let operation = ids.operation_id();
        let parts: Vec<&str> = operation.split('.').collect();
        assert_eq!(parts.iter().map(|p| p.len()).collect::<Vec<_>>(), [1, 16, 36]);
        let mut seen: Vec<String> = (0..1000).map(|_| ids.guid()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 1000);
        assert!(seen.iter().all(|g| g.len() == 36));
        assert!(ids.etag() < ids.etag());
    }
}
