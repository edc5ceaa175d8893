//! Randomness as an argument: 32 bytes from which keys and serials follow.

use aws_lc_rs::{digest, hmac};

/// The origin of everything a fleet or authority draws. Same seed, same keys and serials, on any machine.
///
/// A seed made from a small number is for simulated devices only: whoever knows the number knows the keys.
#[derive(Clone)]
pub struct Seed(hmac::Key);

impl Seed {
    /// A seed from 32 bytes, for instance of the operating system's entropy.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Seed(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// The seed that `--seed N` and a scenario's `seed = N` stand for.
    pub fn from_number(number: u64) -> Self {
        let mut text = b"rollcall seed v1 ".to_vec();
        text.extend(number.to_be_bytes());
        Self::from_bytes(first_32(digest::digest(&digest::SHA256, &text).as_ref()))
    }

    /// 32 bytes that belong to this label, index and attempt, and to no other.
    pub fn draw(&self, label: &str, index: u64, attempt: u32) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&(label.len() as u64).to_be_bytes());
        context.update(label.as_bytes());
        context.update(&index.to_be_bytes());
        context.update(&attempt.to_be_bytes());
        first_32(context.sign().as_ref())
    }

    /// A seed of its own for one purpose.
    pub fn child(&self, label: &str) -> Seed {
        Seed::from_bytes(self.draw(label, 0, 0))
    }

    /// A certificate serial number: 16 bytes, positive, never zero (RFC 5280 section 4.1.2.2).
    pub fn serial(&self, label: &str, index: u64) -> [u8; 16] {
        let mut serial = [0; 16];
        serial.copy_from_slice(&self.draw(label, index, 0)[..16]);
        // The top bit clear keeps it positive, the next one set keeps it 16 bytes and not zero.
        serial[0] = (serial[0] & 0x7f) | 0x40;
        serial
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

fn first_32(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(&bytes[..32]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_for_the_same_label_and_differ_otherwise() {
        let seed = Seed::from_number(7);
        assert_eq!(seed.draw("key", 1, 0), Seed::from_number(7).draw("key", 1, 0));
        let all = [
            seed.draw("key", 1, 0),
            seed.draw("key", 2, 0),
            seed.draw("key", 1, 1),
            seed.draw("serial", 1, 0),
            Seed::from_number(8).draw("key", 1, 0),
            seed.child("key").draw("key", 1, 0),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn serials_are_positive_and_sixteen_bytes_long() {
        let seed = Seed::from_number(1);
        assert!((0..1000).all(|i| (0x40..0x80).contains(&seed.serial("leaf", i)[0])));
    }
}
