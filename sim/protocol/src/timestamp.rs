//! Moments as the service writes them. The moment itself is always an argument.

use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

const TICKS: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");
const RFC1123: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// RFC 3339 in UTC with seven fraction digits, as in every registration state.
pub fn ticks(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC);
    moment.format(TICKS).unwrap_or_else(|_| "0001-01-01T00:00:00.0000000Z".to_owned())
}

/// RFC 1123, as in every answer of the resource manager.
pub fn rfc1123(moment: OffsetDateTime) -> String {
    let moment = moment.to_offset(time::UtcOffset::UTC);
    moment.format(RFC1123).unwrap_or_else(|_| NEVER.to_owned())
}

/// What the resource manager writes for `created`, always.
pub const NEVER: &str = "Mon, 01 Jan 0001 00:00:00 GMT";

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn moments_are_written_as_in_captures() {
        assert_eq!(ticks(datetime!(2020-04-10 03:11:13.0276997 UTC)), "2020-04-10T03:11:13.0276997Z");
        assert_eq!(ticks(datetime!(2020-04-10 05:11:13 +2)), "2020-04-10T03:11:13.0000000Z");
        assert_eq!(rfc1123(datetime!(2022-05-06 17:50:01 UTC)), "Fri, 06 May 2022 17:50:01 GMT");
    }
}
