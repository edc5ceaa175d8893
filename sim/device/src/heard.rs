//! What a device hears of the service besides how it ends.

/// Answers that a device heard, apart from those that assigned it or found it disabled: each of those is its outcome. The
/// service counts the same by itself, so that the two can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Refused connections (CONNACK), and answers of 400 to 499 but for 429.
    pub refused: u32,
    /// That the registration failed.
    pub failed: u32,
    /// Answers of 429.
    pub throttled: u32,
    /// Answers of 500 to 599.
    pub server_errors: u32,
    /// Answers of 200 to 299 that cannot be read.
    pub malformed: u32,
    /// How often it stopped waiting, for an answer or anything else: what came afterwards it did not hear.
    pub unheard: u32,
}

impl Heard {
    /// Notes an answer by its status.
    pub(crate) const fn note(&mut self, status: u16) {
        match status {
            200..300 => {}
            429 => self.throttled += 1,
            500.. => self.server_errors += 1,
            _ => self.refused += 1,
        }
    }
}
