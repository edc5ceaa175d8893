//! Recorded arrivals: one time a line.
//!
//! Times count from the start of the stage that replays them, in any order.

use sim_protocol::duration::parse_duration;
use std::time::Duration;

/// The most arrivals a recording may have. `ours:` as many as a fleet may have devices.
const MOST_TIMES: usize = 100_000_000;
/// The latest time. `ours:` beyond this it is the time of day or of an epoch, not one from the start.
const LATEST: Duration = Duration::from_secs(365 * 86_400);

/// Why a text is no recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecording {
    /// A line is no time.
    #[error("line {line} is no time: `{text}`; write seconds as in `1.25`, or a duration as in `1250ms`")]
    NoTime {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A time is too late to count from the start.
    #[error(
        "line {line} is more than 365 days after the start: `{text}`; times count from the start of the stage"
    )]
    TooLate {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// More arrivals than any run plans.
    #[error("line {line} is one arrival more than the {MOST_TIMES} a recording may have")]
    TooMany {
        /// The line of the first that is too many, from 1.
        line: usize,
    },
    /// There is no time at all.
    #[error("there is no arrival in it")]
    Empty,
}

/// Parses recorded arrivals: one time a line, as seconds (`1.25`) or with a unit (`1250ms`), in any order.
/// What follows a `#` and blank lines are skipped.
///
/// # Errors
/// At the first line that is no time or a time beyond 365 days; when there are more than 100 million, or
/// none.
pub fn recorded(text: &str) -> Result<Vec<Duration>, InvalidRecording> {
    let mut times = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let given = text.split('#').next().unwrap_or_default().trim();
        if given.is_empty() {
            continue;
        }
        let Some(time) = time(given) else {
            return Err(InvalidRecording::NoTime { line, text: given.to_owned() });
        };
        if time > LATEST {
            return Err(InvalidRecording::TooLate { line, text: given.to_owned() });
        }
        if times.len() == MOST_TIMES {
            return Err(InvalidRecording::TooMany { line });
        }
        times.push(time);
    }
    if times.is_empty() { Err(InvalidRecording::Empty) } else { Ok(times) }
}

fn time(given: &str) -> Option<Duration> {
    match given.parse::<f64>() {
        Ok(seconds) if seconds > LATEST.as_secs_f64() => Some(Duration::MAX),
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => parse_duration(given).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_one_time_a_line() {
        let text = "# from the gateway's log\n0\n1.25\n\n  900ms # the second line of it\n2s\n0.000001\r\n";
        let microseconds = [0, 1_250_000, 900_000, 2_000_000, 1].map(Duration::from_micros);
        assert_eq!(recorded(text).as_deref(), Ok(&microseconds[..]));
    }

    #[test]
    fn a_line_that_is_no_time_is_named() {
        let no_time = |line, text: &str| InvalidRecording::NoTime { line, text: text.to_owned() };
        let too_late = |line, text: &str| InvalidRecording::TooLate { line, text: text.to_owned() };
        for (text, why) in [
            ("0\n\n# x\nsoon\n", no_time(4, "soon")),
            ("-0.5", no_time(1, "-0.5")),
            ("1.5s", no_time(1, "1.5s")),
            ("1 2", no_time(1, "1 2")),
            ("NaN", no_time(1, "NaN")),
            ("-inf", no_time(1, "-inf")),
            ("7 weeks", no_time(1, "7 weeks")),
            ("inf", too_late(1, "inf")),
            ("1\n1790000000.5", too_late(2, "1790000000.5")),
            ("366d", too_late(1, "366d")),
            ("", InvalidRecording::Empty),
            ("# nothing\n \n", InvalidRecording::Empty),
        ] {
            assert_eq!(recorded(text), Err(why), "{text:?}");
        }
        assert_eq!(recorded("365d"), Ok(vec![LATEST]));
    }
}
