//! What a device does when an attempt gets nowhere, and the random numbers it draws.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a device does when it is throttled, told of a server error, cut off or not answered in time.
///
/// Refusals, TLS alerts and servers that cannot be trusted are final under every policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// As its flavour does: it waits and asks again when throttled or told of a server error, and gives up when the
    /// connection breaks.
    #[default]
    Flavour,
    /// It gives up.
    None,
    /// It tries again after the same wait each time.
    Fixed {
        /// The wait.
        wait: Duration,
        /// How often at most, whatever the cause.
        retries: u32,
    },
    /// It waits twice as long each time.
    Exponential {
        /// The first wait.
        first: Duration,
        /// The longest wait.
        most: Duration,
        /// Whether the wait is drawn between zero and that ("full jitter").
        jitter: bool,
        /// How often at most, whatever the cause.
        retries: u32,
    },
    /// It tries again at once until its time is up, whatever the service asks for: what a retry storm is made of.
    Naive,
}

impl Retry {
    /// The wait before the next try, `made` retries having been made; `None` where the device gives up. `told` is
    /// what the service asks for, where that is honoured. What a flavour does is the flavour's to say.
    pub(crate) fn wait(self, made: u32, told: Option<Duration>, draws: &mut Draws) -> Option<Duration> {
        let own = match self {
            Self::Flavour | Self::None => return None,
            Self::Naive => return Some(Duration::ZERO),
            Self::Fixed { wait, retries } => (made < retries).then_some(wait)?,
            Self::Exponential { first, most, jitter, retries } => {
                let factor = 1_u32.checked_shl(made).unwrap_or(u32::MAX);
                let wait = (made < retries).then(|| first.saturating_mul(factor).min(most))?;
                if jitter { draws.below(wait) } else { wait }
            }
        };
        Some(own.max(told.unwrap_or_default()))
    }
}

/// Why something was tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Throttled,
    ServerError,
    Connection,
    Timeout,
}

/// How often an attempt tried again, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// The service throttled.
    pub throttled: u32,
    /// The service failed, or was not available.
    pub server_error: u32,
    /// The connection broke or could not be made.
    pub connection: u32,
    /// A phase took longer than it may.
    pub timeout: u32,
}

impl Retries {
    /// All together.
    pub const fn total(&self) -> u32 {
        self.throttled + self.server_error + self.connection + self.timeout
    }

    pub(crate) fn count(&mut self, cause: Cause) {
        *match cause {
            Cause::Throttled => &mut self.throttled,
            Cause::ServerError => &mut self.server_error,
            Cause::Connection => &mut self.connection,
            Cause::Timeout => &mut self.timeout,
        } += 1;
    }
}

/// Retries of many devices, counted as they are made: an attempt tells its own when it ends.
#[derive(Debug, Default)]
pub struct Tally {
    throttled: AtomicU32,
    server_error: AtomicU32,
    connection: AtomicU32,
    timeout: AtomicU32,
}

impl Tally {
    fn of(&self, cause: Cause) -> &AtomicU32 {
        match cause {
            Cause::Throttled => &self.throttled,
            Cause::ServerError => &self.server_error,
            Cause::Connection => &self.connection,
            Cause::Timeout => &self.timeout,
        }
    }

    pub(crate) fn count(&self, cause: Cause) {
        self.of(cause).fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Retries {
        let taken = |cause| self.of(cause).swap(0, Ordering::Relaxed);
        Retries {
            throttled: taken(Cause::Throttled),
            server_error: taken(Cause::ServerError),
            connection: taken(Cause::Connection),
            timeout: taken(Cause::Timeout),
        }
    }
}

/// A device's random numbers: splitmix64, so that a device draws the same in every run of a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) const fn new(seed: u64) -> Self {
        Draws(seed)
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A time between zero and `most`, every nanosecond as likely as any other.
    pub(crate) fn below(&mut self, most: Duration) -> Duration {
        let most = u128::from(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX));
        // The product has at most 128 bits, so its upper half is at most `most`.
        Duration::from_nanos(((u128::from(self.next()) * (most + 1).min(u128::from(u64::MAX))) >> 64) as u64)
    }

    /// A random UUID (version 4) in the usual spelling.
    pub(crate) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let version = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let variant = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            version >> 32,
            (version >> 16) & 0xffff,
            version & 0xffff,
            variant >> 48,
            variant & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn each_policy_waits_and_gives_up_its_own_way() {
        let fixed = Retry::Fixed { wait: ms(50), retries: 2 };
        let doubling = Retry::Exponential { first: ms(100), most: ms(1_000), jitter: false, retries: 40 };
        let rows = [
            (Retry::Flavour, 0, None, None),
            (Retry::None, 0, Some(ms(1)), None),
            (fixed, 0, None, Some(ms(50))),
            (fixed, 1, Some(ms(20)), Some(ms(50))),
            (fixed, 1, Some(ms(3_000)), Some(ms(3_000))),
            (fixed, 2, Some(ms(3_000)), None),
            (doubling, 0, None, Some(ms(100))),
            (doubling, 2, None, Some(ms(400))),
            (doubling, 4, None, Some(ms(1_000))),
            (doubling, 39, None, Some(ms(1_000))),
            (doubling, 40, None, None),
            (Retry::Naive, 1_000_000, Some(ms(5_000)), Some(Duration::ZERO)),
        ];
        for (retry, made, told, expected) in rows {
            let wait = retry.wait(made, told, &mut Draws::new(1));
            assert_eq!(wait, expected, "{retry:?} after {made}, told {told:?}");
        }
    }

    #[test]
    fn full_jitter_spreads_over_the_whole_wait_and_repeats_with_its_seed() {
        let retry = Retry::Exponential { first: ms(800), most: ms(800), jitter: true, retries: u32::MAX };
        let draw = |seed| -> Vec<_> {
            let mut draws = Draws::new(seed);
            (0..1000).filter_map(|made| retry.wait(made, None, &mut draws)).collect()
        };
        let waits = draw(3);
        assert_eq!(waits.len(), 1000);
        assert!(waits.iter().all(|wait| *wait <= ms(800)));
        let mean = waits.iter().sum::<Duration>() / 1000;
        assert!((ms(360)..ms(440)).contains(&mean), "{mean:?}");
        assert_eq!(draw(3), waits);
        assert_ne!(draw(4), waits);
    }

    #[test]
    fn random_numbers_are_those_of_the_published_generator_and_uuids_are_of_version_four() {
        // The first outputs of the reference implementation of splitmix64 for the seed 1234567.
        let mut draws = Draws::new(1_234_567);
        assert_eq!(draws.next(), 6_457_827_717_110_365_317);
        assert_eq!(draws.next(), 3_203_168_211_198_807_973);
        let (one, other) = (draws.uuid(), draws.uuid());
        assert_ne!(one, other);
        for uuid in [one, other] {
            assert_eq!(uuid.len(), 36);
            assert_eq!(uuid.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&uuid.as_bytes()[19]), "{uuid}");
        }
    }

    #[test]
    fn the_longest_time_can_be_drawn_from() {
        assert!(Draws::new(9).below(Duration::MAX) <= Duration::from_nanos(u64::MAX));
        assert_eq!(Draws::new(9).below(Duration::ZERO), Duration::ZERO);
    }
}
