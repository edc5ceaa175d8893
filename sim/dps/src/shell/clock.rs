//! The one place where the mock reads the clock.

use time::OffsetDateTime;

/// This moment, UTC.
#[expect(clippy::disallowed_methods, reason = "the shell's edge, where time enters")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
