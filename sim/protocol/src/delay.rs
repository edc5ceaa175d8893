//! How long something takes, as a distribution that is drawn from.
//!
//! Pure: the caller brings the draw, so that the same draw is the same time.

use crate::duration::{InvalidDuration, parse_duration, written};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest time that may be written in a delay. `ours:` nobody waits longer for one answer.
pub const LONGEST: Duration = Duration::from_secs(86_400);

const FORMS: &str = "write `200ms`, `uniform 100ms..300ms`, `normal 200ms +- 50ms`, `exponential 200ms` or \
                     `bimodal 10ms, 2s, 5%`";

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Delay {
    /// Always the same: `200ms`.
    Fixed(Duration),
    /// Anything between two times, all equally often: `uniform 100ms..300ms`.
    Uniform {
        /// The shortest.
        from: Duration,
        /// The longest, not below `from`.
        to: Duration,
    },
    /// Around a mean, never below zero: `normal 200ms +- 50ms`.
    Normal {
        /// The mean before what would be below zero becomes zero.
        mean: Duration,
        /// The standard deviation.
        deviation: Duration,
    },
    /// Mostly short and sometimes long: `exponential 200ms`.
    Exponential {
        /// The mean.
        mean: Duration,
    },
    /// One of two times: `bimodal 10ms, 2s, 5%`.
    Bimodal {
        /// The usual one.
        low: Duration,
        /// The other one.
        high: Duration,
        /// How often it is the other one, 0 to 1.
        share_high: f64,
    },
}

/// Why a text is not a delay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDelay {
    /// It begins with a word that names no distribution.
    #[error("`{word}` is no distribution of delays; {FORMS}")]
    Distribution {
        /// The word.
        word: String,
    },
    /// What follows the name of a distribution is not what it needs.
    #[error("delay `{text}` is incomplete; {FORMS}")]
    Incomplete {
        /// The text as given.
        text: String,
    },
    /// One of its times is none.
    #[error("{cause}; {FORMS}")]
    Duration {
        /// What is wrong with the time.
        cause: InvalidDuration,
    },
    /// One of its times is above [`LONGEST`].
    #[error("delay `{text}` is above {}; {FORMS}", written(LONGEST))]
    TooLong {
        /// The text as given.
        text: String,
    },
    /// A range that ends before it begins.
    #[error("delay `{text}` ends before it begins; {FORMS}")]
    Order {
        /// The text as given.
        text: String,
    },
    /// A share that is none.
    #[error("`{share}` is not between 0% and 100%; {FORMS}")]
    Share {
        /// What stands in place of a share.
        share: String,
    },
}

impl Delay {
    /// No time at all.
    pub const ZERO: Delay = Delay::Fixed(Duration::ZERO);

    /// The time that a number drawn evenly out of all of `u64` stands for, by the inverse of the
    /// distribution.
    pub fn sample(&self, draw: u64) -> Duration {
        let u = open_unit(draw);
        let seconds = match *self {
            Delay::Fixed(time) => return time,
            Delay::Bimodal { low, high, share_high } => return if u < share_high { high } else { low },
            Delay::Uniform { from, to } => from.as_secs_f64() + (to.as_secs_f64() - from.as_secs_f64()) * u,
            Delay::Normal { mean, deviation } => mean.as_secs_f64() + deviation.as_secs_f64() * probit(u),
            Delay::Exponential { mean } => -mean.as_secs_f64() * (1.0 - u).ln(),
        };
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }
}

impl Default for Delay {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<Duration> for Delay {
    fn from(time: Duration) -> Self {
        Delay::Fixed(time)
    }
}

/// 52 bits of the draw as the middle of their part of 0 to 1: neither end is ever met.
fn open_unit(draw: u64) -> f64 {
    ((draw >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// The inverse of the standard normal distribution for 0 < p < 1: P. J. Acklam's rational approximation,
/// whose relative error is below 1.15e-9.
fn probit(p: f64) -> f64 {
    const MIDDLE_ABOVE: [f64; 6] = [
        -39.69683028665376,
        220.9460984245205,
        -275.9285104469687,
        138.357751867269,
        -30.66479806614716,
        2.506628277459239,
    ];
    const MIDDLE_BELOW: [f64; 6] = [
        -54.47609879822406,
        161.5858368580409,
        -155.6989798598866,
        66.80131188771972,
        -13.28068155288572,
        1.0,
    ];
    const TAIL_ABOVE: [f64; 6] = [
        -0.007784894002430293,
        -0.3223964580411365,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const TAIL_BELOW: [f64; 5] =
        [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1.0];
    const TAIL: f64 = 0.02425;
    if p > 1.0 - TAIL {
        return -probit(1.0 - p);
    }
    if p < TAIL {
        let q = (-2.0 * p.ln()).sqrt();
        return polynomial(&TAIL_ABOVE, q) / polynomial(&TAIL_BELOW, q);
    }
    let q = p - 0.5;
    q * polynomial(&MIDDLE_ABOVE, q * q) / polynomial(&MIDDLE_BELOW, q * q)
}

/// By Horner's rule, the highest power first.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

impl FromStr for Delay {
    type Err = InvalidDelay;

    fn from_str(text: &str) -> Result<Self, InvalidDelay> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match word {
            "uniform" => uniform(text, rest),
            "normal" => normal(text, rest),
            "exponential" => Ok(Delay::Exponential { mean: time(text, rest)? }),
            "bimodal" => bimodal(text, rest),
            word if word.starts_with(|c: char| c.is_alphabetic()) => {
                Err(InvalidDelay::Distribution { word: word.to_owned() })
            }
            _ => Ok(Delay::Fixed(time(text, text)?)),
        }
    }
}

fn uniform(text: &str, rest: &str) -> Result<Delay, InvalidDelay> {
    let (from, to) = parts(text, rest.split_once(".."))?;
    let (from, to) = (time(text, from)?, time(text, to)?);
    if from > to {
        return Err(InvalidDelay::Order { text: text.to_owned() });
    }
    Ok(Delay::Uniform { from, to })
}

fn normal(text: &str, rest: &str) -> Result<Delay, InvalidDelay> {
    let (mean, deviation) = parts(text, rest.split_once("+-").or_else(|| rest.split_once('±')))?;
    Ok(Delay::Normal { mean: time(text, mean)?, deviation: time(text, deviation)? })
}

fn bimodal(text: &str, rest: &str) -> Result<Delay, InvalidDelay> {
    let (low, rest) = parts(text, rest.split_once(','))?;
    let (high, share) = parts(text, rest.split_once(','))?;
    Ok(Delay::Bimodal { low: time(text, low)?, high: time(text, high)?, share_high: part(share.trim())? })
}

fn parts<'t>(text: &str, split: Option<(&'t str, &'t str)>) -> Result<(&'t str, &'t str), InvalidDelay> {
    split.ok_or_else(|| InvalidDelay::Incomplete { text: text.to_owned() })
}

fn time(text: &str, written: &str) -> Result<Duration, InvalidDelay> {
    let written = written.trim();
    if written.is_empty() && !text.is_empty() {
        return Err(InvalidDelay::Incomplete { text: text.to_owned() });
    }
    let time = parse_duration(written).map_err(|cause| InvalidDelay::Duration { cause })?;
    (time <= LONGEST).then_some(time).ok_or_else(|| InvalidDelay::TooLong { text: text.to_owned() })
}

/// A percentage as a part of 1, kept to the millionth of a percent so that it is written as it was read.
fn part(share: &str) -> Result<f64, InvalidDelay> {
    let percent = share.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    let percent = percent.ok_or_else(|| InvalidDelay::Share { share: share.to_owned() })?;
    Ok((percent * 1e6).round() / 1e8)
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Delay::Fixed(time) => f.write_str(&written(time)),
            Delay::Uniform { from, to } => write!(f, "uniform {}..{}", written(from), written(to)),
            Delay::Normal { mean, deviation } => {
                write!(f, "normal {} +- {}", written(mean), written(deviation))
            }
            Delay::Exponential { mean } => write!(f, "exponential {}", written(mean)),
            Delay::Bimodal { low, high, share_high } => {
                let percent = (share_high * 1e8).round() / 1e6;
                write!(f, "bimodal {}, {}, {percent}%", written(low), written(high))
            }
        }
    }
}

impl TryFrom<String> for Delay {
    type Error = InvalidDelay;
    fn try_from(text: String) -> Result<Self, InvalidDelay> {
        text.parse()
    }
}

impl From<Delay> for String {
    fn from(delay: Delay) -> String {
        delay.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u64 = 10_000;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn samples(delay: Delay) -> impl Iterator<Item = Duration> {
        (0..DRAWS).map(move |n| delay.sample(u64::MAX / DRAWS * n + u64::MAX / DRAWS / 2))
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        let (low, high) = (ms(10), ms(2000));
        for (text, delay) in [
            ("200ms", Delay::Fixed(ms(200))),
            ("uniform 100ms..300ms", Delay::Uniform { from: ms(100), to: ms(300) }),
            ("normal 200ms +- 50ms", Delay::Normal { mean: ms(200), deviation: ms(50) }),
            ("exponential 2m", Delay::Exponential { mean: ms(120_000) }),
            ("bimodal 10ms, 2s, 5%", Delay::Bimodal { low, high, share_high: 0.05 }),
            ("bimodal 10ms, 2s, 7%", Delay::Bimodal { low, high, share_high: 0.07 }),
            ("bimodal 10ms, 2s, 0.123456%", Delay::Bimodal { low, high, share_high: 0.001_234_56 }),
        ] {
            assert_eq!(text.parse(), Ok(delay), "{text}");
            assert_eq!(delay.to_string(), text);
            let json = serde_json::to_value(delay).expect("serializes");
            assert_eq!(json, serde_json::json!(text));
            assert_eq!(serde_json::from_value::<Delay>(json).expect("a delay"), delay);
        }
        for (loose, delay) in [
            (" uniform  1s .. 2 s ", Delay::Uniform { from: ms(1000), to: ms(2000) }),
            ("normal 1s±5ms", Delay::Normal { mean: ms(1000), deviation: ms(5) }),
            ("bimodal 10ms,2s,100 %", Delay::Bimodal { low, high, share_high: 1.0 }),
        ] {
            assert_eq!(loose.parse(), Ok(delay), "{loose}");
        }
    }

    #[test]
    fn anything_else_is_refused_for_its_own_reason() {
        let text = |t: &str| t.to_owned();
        let no_time = |cause| InvalidDelay::Duration { cause };
        for (bad, why) in [
            ("", no_time(InvalidDuration::Number { text: text("") })),
            ("20", no_time(InvalidDuration::NoUnit { text: text("20") })),
            ("poisson 2s", InvalidDelay::Distribution { word: text("poisson") }),
            ("exponential", InvalidDelay::Incomplete { text: text("exponential") }),
            ("uniform 2s", InvalidDelay::Incomplete { text: text("uniform 2s") }),
            ("uniform 2s..", InvalidDelay::Incomplete { text: text("uniform 2s..") }),
            ("uniform 2s..1s", InvalidDelay::Order { text: text("uniform 2s..1s") }),
            ("normal 2s +- 5", no_time(InvalidDuration::NoUnit { text: text("5") })),
            ("exponential 2d", InvalidDelay::TooLong { text: text("exponential 2d") }),
            ("bimodal 1s, 2s", InvalidDelay::Incomplete { text: text("bimodal 1s, 2s") }),
            ("bimodal 1s, 2s, 0.5", InvalidDelay::Share { share: text("0.5") }),
            ("bimodal 1s, 2s, 101%", InvalidDelay::Share { share: text("101%") }),
            ("bimodal 1s, 2s, nan%", InvalidDelay::Share { share: text("nan%") }),
        ] {
            assert_eq!(bad.parse::<Delay>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn evenly_spread_draws_have_the_mean_of_the_distribution() {
        for (text, mean) in [
            ("200ms", 0.2),
            ("uniform 100ms..300ms", 0.2),
            ("normal 200ms +- 50ms", 0.2),
            ("exponential 200ms", 0.2),
            ("bimodal 10ms, 2s, 5%", 0.1095),
        ] {
            let delay: Delay = text.parse().expect("a delay");
            let found = samples(delay).map(|time| time.as_secs_f64()).sum::<f64>() / DRAWS as f64;
            assert!((found / mean - 1.0).abs() < 0.02, "{text}: {found}");
        }
    }

    #[test]
    fn samples_stay_within_the_distribution() {
        let uniform = Delay::Uniform { from: ms(100), to: ms(300) };
        assert!(samples(uniform).all(|time| (ms(100)..=ms(300)).contains(&time)));
        let share = samples(uniform).filter(|time| *time < ms(150)).count();
        assert_eq!(share, 2500);
        let cut = Delay::Normal { mean: ms(10), deviation: ms(10) };
        let zeros = samples(cut).filter(Duration::is_zero).count();
        assert!((1580..=1590).contains(&zeros), "{zeros} of 15.87 %");
        for delay in [uniform, cut, Delay::Exponential { mean: LONGEST }] {
            assert!(delay.sample(0) < delay.sample(u64::MAX), "{delay}");
            assert!(delay.sample(u64::MAX) < 40 * LONGEST, "{delay}");
        }
    }

    #[test]
    fn the_inverse_normal_has_the_quantiles_of_the_tables() {
        for (p, z) in [
            (0.5, 0.0),
            (0.841_344_746, 1.0),
            (0.975, 1.959_963_985),
            (0.99, 2.326_347_874),
            (0.001, -3.090_232_306),
            (1e-6, -4.753_424_309),
        ] {
            assert!((probit(p) - z).abs() < 1e-7, "{p}: {}", probit(p));
        }
    }
}
