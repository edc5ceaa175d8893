//! The one place where a device reads the clock.

use std::time::Instant;

/// This moment on the monotonic clock.
#[expect(clippy::disallowed_methods, reason = "the edge where a device's phases are timed")]
pub fn now() -> Instant {
    Instant::now()
}
