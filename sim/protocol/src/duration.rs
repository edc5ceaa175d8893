//! Durations as people write them: a whole number and its unit.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// There is no number in front.
    #[error("duration `{text}` does not start with a whole number")]
    Number {
        /// The text as given.
        text: String,
    },
    /// A number alone: seconds and milliseconds look alike.
    #[error("duration `{text}` has no unit")]
    NoUnit {
        /// The text as given.
        text: String,
    },
    /// A unit nobody knows.
    #[error("duration `{text}` has the unknown unit `{unit}`")]
    Unit {
        /// The text as given.
        text: String,
        /// What stands after the number.
        unit: String,
    },
    /// More than the clock can hold.
    #[error("duration `{text}` is too long")]
    TooLong {
        /// The text as given.
        text: String,
    },
}

/// Parses `250ms`, `20s`, `5m`, `2h` or `30d`.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let given = || text.to_owned();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(InvalidDuration::Number { text: given() });
    }
    let milliseconds: u64 = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(InvalidDuration::NoUnit { text: given() }),
        unit => return Err(InvalidDuration::Unit { text: given(), unit: unit.to_owned() }),
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds));
    total.map(Duration::from_millis).ok_or_else(|| InvalidDuration::TooLong { text: given() })
}

/// A duration in the largest unit that holds it whole; what is below a millisecond is left out.
pub fn written(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.iter().find(|(size, _)| milliseconds >= *size && milliseconds.is_multiple_of(*size));
    whole.map_or_else(|| format!("{milliseconds}ms"), |(size, unit)| format!("{}{unit}", milliseconds / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("20s", 20_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for (text, written_as) in [("90s", "90s"), ("120s", "2m"), ("1500ms", "1500ms"), ("48h", "2d")] {
            assert_eq!(parse_duration(text).map(written).as_deref(), Ok(written_as));
        }
    }

    #[test]
    fn anything_else_is_refused_for_its_own_reason() {
        let text = |t: &str| t.to_owned();
        for (bad, why) in [
            ("", InvalidDuration::Number { text: text("") }),
            ("s", InvalidDuration::Number { text: text("s") }),
            ("-5s", InvalidDuration::Number { text: text("-5s") }),
            ("20", InvalidDuration::NoUnit { text: text("20") }),
            ("1.5s", InvalidDuration::Unit { text: text("1.5s"), unit: text(".5s") }),
            ("3 weeks", InvalidDuration::Unit { text: text("3 weeks"), unit: text("weeks") }),
            ("99999999999999999999s", InvalidDuration::TooLong { text: text("99999999999999999999s") }),
            ("18446744073709551615d", InvalidDuration::TooLong { text: text("18446744073709551615d") }),
        ] {
            assert_eq!(parse_duration(bad), Err(why));
        }
    }
}
