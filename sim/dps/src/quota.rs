//! How much an instance takes: requests in a stretch of time, and things kept.
//!
//! Pure: the moment is an argument. What is refused, and how, is the caller's business.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;

/// The stretch over which registrations and operations are counted.
pub const MINUTE: Duration = Duration::from_secs(60);
/// The stretch over which a device's polls are counted.
pub const POLL_WINDOW: Duration = Duration::from_secs(10);

/// The limits an instance keeps; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Register requests in [`MINUTE`], all devices together.
    pub registrations_per_minute: Option<u32>,
    /// Calls of operators in [`MINUTE`].
    pub operations_per_minute: Option<u32>,
    /// Polls in [`POLL_WINDOW`], for each device.
    pub polls_per_10s: Option<u32>,
    /// Registration records kept.
    pub registrations: Option<usize>,
    /// Individual enrollments kept.
    pub individual_enrollments: Option<usize>,
    /// Enrollment groups with X.509 attestation.
    pub groups_x509: usize,
    /// Enrollment groups with symmetric-key attestation.
    pub groups_symmetric: usize,
    /// CA certificates.
    pub certificates: usize,
    /// Linked hubs.
    pub hubs: usize,
}

impl Limits {
    /// As documented (DPS documentation, "Quotas and limits", March 2024).
    pub const fn documented() -> Self {
        Limits {
            registrations_per_minute: Some(1000),
            operations_per_minute: Some(1000),
            polls_per_10s: Some(5),
            registrations: Some(1_000_000),
            individual_enrollments: Some(1_000_000),
            groups_x509: 100,
            groups_symmetric: 100,
            certificates: 25,
            hubs: 50,
        }
    }

    /// For measuring: no limit on rates, registrations and individual enrollments. Groups, CAs and hubs stay
    /// limited as documented, so that what is set up here can be set up there.
    pub const fn unlimited() -> Self {
        Limits {
            registrations_per_minute: None,
            operations_per_minute: None,
            polls_per_10s: None,
            registrations: None,
            individual_enrollments: None,
            ..Self::documented()
        }
    }
}

/// What was used of a fixed window. It opens with the first use after the one before has passed. `ours:` the
/// shape of the service's windows is unknown.
///
/// Kept small, for there is one to each device: whole seconds, so a window ends up to a second early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// Unix seconds modulo 2^32.
    start: u32,
    used: u32,
}

impl Window {
    /// Takes one of `limit` in a window of `length`, whole seconds. Where none is left, `Err` holds how long
    /// it is until the next window, whole seconds and at least one.
    pub fn take(
        &mut self,
        limit: Option<u32>,
        length: Duration,
        now: OffsetDateTime,
    ) -> Result<(), Duration> {
        let Some(limit) = limit else { return Ok(()) };
        // Truncation on purpose: only differences count, and they are right modulo 2^32. A clock that was set
        // back makes a huge one, which opens a new window in place of refusing until the old moment returns.
        let now = now.unix_timestamp() as u32;
        let since = |start| Duration::from_secs(u64::from(now.wrapping_sub(start)));
        if since(self.start) >= length {
            *self = Window { start: now, used: 0 };
        }
        if self.used >= limit {
            return Err(length.saturating_sub(since(self.start)));
        }
        self.used += 1;
        Ok(())
    }
}

/// One window for the whole instance.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Window>);

impl Meter {
    /// Begins anew.
    pub fn reset(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Window::default();
    }

    /// See [`Window::take`].
    pub fn take(&self, limit: Option<u32>, length: Duration, now: OffsetDateTime) -> Result<(), Duration> {
        // Without a limit no request has to wait for another.
        if limit.is_none() {
            return Ok(());
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(limit, length, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds_f64(1_800_000_000.0 + seconds)
    }

    fn wait(seconds: u64) -> Result<(), Duration> {
        Err(Duration::from_secs(seconds))
    }

    #[test]
    fn a_window_gives_its_limit_and_says_when_the_next_one_opens() {
        let mut window = Window::default();
        for (moment, expected) in [
            (0.2, Ok(())),
            (0.2, Ok(())),
            (4.9, Ok(())),
            (4.9, wait(6)),
            (9.1, wait(1)),
            (9.999, wait(1)),
            // The next window opens with its first use, not ten seconds after the one before.
            (17.0, Ok(())),
            (26.0, Ok(())),
            (26.0, Ok(())),
            (26.5, wait(1)),
            (27.0, Ok(())),
        ] {
            assert_eq!(window.take(Some(3), POLL_WINDOW, at(moment)), expected, "at {moment}");
        }
    }

    #[test]
    fn a_limit_of_none_is_no_limit_and_a_limit_of_zero_lets_nothing_through() {
        let (mut window, meter) = (Window::default(), Meter::default());
        for _ in 0..10_000 {
            assert_eq!(window.take(None, MINUTE, at(0.0)), Ok(()));
            assert_eq!(meter.take(None, MINUTE, at(0.0)), Ok(()));
        }
        assert_eq!(window.take(Some(0), MINUTE, at(0.0)), wait(60));
        assert_eq!(meter.take(Some(1), MINUTE, at(0.0)), Ok(()));
        assert_eq!(meter.take(Some(1), MINUTE, at(59.0)), wait(1));
        assert_eq!(meter.take(Some(1), MINUTE, at(60.0)), Ok(()));
    }

    #[test]
    fn a_clock_set_back_or_past_the_end_of_the_counter_opens_a_new_window() {
        let wraps = f64::from(u32::MAX) - 1_800_000_000.0;
        for (first, then, expected) in [
            (0.0, -1.0, Ok(())),
            (0.0, -86_400.0, Ok(())),
            (wraps, wraps + 9.0, wait(1)),
            (wraps, wraps + 10.0, Ok(())),
        ] {
            let mut window = Window::default();
            assert_eq!(window.take(Some(1), POLL_WINDOW, at(first)), Ok(()));
            assert_eq!(window.take(Some(1), POLL_WINDOW, at(then)), expected, "{first} {then}");
        }
    }

    #[test]
    fn a_window_costs_a_device_no_more_than_12_bytes() {
        assert!(size_of::<Window>() <= 12);
    }

    #[test]
    fn without_rates_and_totals_the_rest_stays_as_documented() {
        let (azure, free) = (Limits::documented(), Limits::unlimited());
        let kept = |l: Limits| (l.groups_x509, l.groups_symmetric, l.certificates, l.hubs);
        assert_eq!(kept(azure), (100, 100, 25, 50));
        assert_eq!(kept(free), kept(azure));
        assert_eq!((free.registrations_per_minute, free.operations_per_minute), (None, None));
        assert_eq!((free.polls_per_10s, free.registrations, free.individual_enrollments), (None, None, None));
    }
}
