//! The one place where the mock reads the clock.

use std::time::Instant;
use time::OffsetDateTime;

/// This moment, UTC.
#[expect(clippy::disallowed_methods, reason = "the shell's edge, where time enters")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// This moment on the clock that is never set.
#[expect(clippy::disallowed_methods, reason = "the shell's edge, where time enters")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
