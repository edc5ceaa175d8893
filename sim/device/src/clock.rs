//! The one place where a device reads the clock.

use std::time::{Duration, Instant};

/// This moment on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the edge where a device's phases are timed")]
pub fn now() -> Instant {
    Instant::now()
}

/// A moment that is as far away as nobody waits for.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// This long after that moment; a year after where the clock does not reach further.
pub(crate) fn after(moment: Instant, wait: Duration) -> Instant {
    moment.checked_add(wait).unwrap_or(moment + FAR)
}
