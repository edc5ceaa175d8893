//! From values to places: where on an axis a value stands, and which round values it is marked with.

use crate::view::grouped;

/// A mark on an axis.
pub(super) struct Tick {
    /// Where, as a share of the axis.
    pub(super) share: f64,
    /// What is written there.
    pub(super) text: String,
}

/// An axis. One that is not logarithmic begins at 0.
pub(super) enum Scale {
    /// From 0 to the highest value.
    Linear {
        /// The highest value.
        top: f64,
    },
    /// From one power of ten to another.
    Log {
        /// The exponent at the bottom.
        low: i32,
        /// The exponent at the top; higher.
        high: i32,
    },
}

impl Scale {
    /// From 0 to the highest value, which is at the very top.
    pub(super) fn linear(highest: f64) -> Self {
        Self::Linear { top: if highest > 0.0 { highest } else { 1.0 } }
    }

    /// From the power of ten below the lowest value to the one above the highest. What is below 1 counts as 1.
    pub(super) fn log(lowest: u64, highest: u64) -> Self {
        let exponent = |value: u64| (value.max(1) as f64).log10();
        let low = exponent(lowest).floor() as i32;
        Self::Log { low, high: (exponent(highest).ceil() as i32).max(low + 1) }
    }

    /// Where a value stands: 0 at the bottom, 1 at the top.
    pub(super) fn share(&self, value: f64) -> f64 {
        let share = match self {
            Self::Linear { top } => value / top,
            Self::Log { low, high } => (value.max(1.0).log10() - f64::from(*low)) / f64::from(high - low),
        };
        share.clamp(0.0, 1.0)
    }

    /// Round values along it.
    pub(super) fn ticks(&self, text: impl Fn(f64) -> String) -> Vec<Tick> {
        let values = match self {
            Self::Linear { top } => round_values(*top),
            Self::Log { low, high } => powers(*low, *high),
        };
        values.into_iter().map(|value| Tick { share: self.share(value), text: text(value) }).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten: 6 at most, 0 included.
fn round_values(top: f64) -> Vec<f64> {
    let power = 10_f64.powf((top / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step * 5.0 >= top);
    // Nothing that is counted is counted in parts.
    let step = step.unwrap_or(top).max(1.0);
    (0..=5).map(|n| f64::from(n) * step).take_while(|value| *value <= top).collect()
}

/// Powers of ten; where there are few, twice and five times each as well.
fn powers(low: i32, high: i32) -> Vec<f64> {
    let factors: &[f64] = if high - low > 2 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    // No more names than there is room for.
    let every = (high - low) / 8 + 1;
    let powers = (low..high)
        .step_by(every as usize)
        .flat_map(|exponent| factors.iter().map(move |f| f * 10_f64.powi(exponent)));
    powers.chain(((high - low) % every == 0).then(|| 10_f64.powi(high))).collect()
}

/// A number of things.
pub(super) fn number(value: f64) -> String {
    grouped(value.round() as u64)
}

/// A time in the unit that leaves the fewest digits; from microseconds.
pub(super) fn duration(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        0.0 => return "0".to_owned(),
        short if short < 1_000.0 => (short, "µs"),
        middle if middle < 1_000_000.0 => (middle / 1_000.0, "ms"),
        long => (long / 1_000_000.0, "s"),
    };
    let tenths = (value * 10.0).round() as u64;
    match tenths % 10 {
        0 => format!("{} {unit}", grouped(tenths / 10)),
        tenth => format!("{}.{tenth} {unit}", grouped(tenths / 10)),
    }
}

/// Steps between marks of time, in seconds; longer ones are whole days.
const CLOCK_STEPS: [u64; 17] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200];
const DAY: u64 = 86_400;

/// Moments of a run of so many seconds, at most 7 of them: the second, and what is written there.
pub(super) fn moments(seconds: u64) -> Vec<(u64, String)> {
    let least = seconds.div_ceil(6);
    let days = least.div_ceil(DAY).saturating_mul(DAY);
    let step = CLOCK_STEPS.into_iter().find(|step| *step >= least).unwrap_or(days);
    let (unit, name) = match step {
        ..60 => (1, "s"),
        60..3_600 => (60, "min"),
        3_600..DAY => (3_600, "h"),
        _ => (DAY, "d"),
    };
    let text = |at: u64| if at == 0 { "0".to_owned() } else { format!("{} {name}", grouped(at / unit)) };
    (0..=seconds / step).map(|n| (n * step, text(n * step))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|tick| tick.text.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_has_0_at_the_bottom_and_the_peak_at_the_top() {
        let scale = Scale::linear(470.0);
        assert_eq!([0.0, 235.0, 470.0].map(|value| scale.share(value)), [0.0, 0.5, 1.0]);
        assert_eq!(texts(&scale.ticks(number)), ["0", "100", "200", "300", "400"]);
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart_on_a_logarithmic_axis() {
        let scale = Scale::log(1_500, 7_000_000);
        let shares: Vec<_> = [1e3, 1e4, 1e5, 1e6, 1e7].map(|value| scale.share(value)).to_vec();
        for (share, expected) in shares.iter().zip([0.0, 0.25, 0.5, 0.75, 1.0]) {
            assert!((share - expected).abs() < 1e-9, "{shares:?}");
        }
        assert_eq!(texts(&scale.ticks(duration)), ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
    }

    #[test]
    fn marks_are_round_few_and_on_the_axis() {
        for highest in [1, 2, 3, 7, 10, 11, 49, 51, 999, 1_001, 123_456, 86_400_000, u64::MAX] {
            for scale in [Scale::linear(highest as f64), Scale::log(1, highest), Scale::log(highest, highest)]
            {
                let ticks = scale.ticks(number);
                assert!((2..=10).contains(&ticks.len()), "{highest}: {:?}", texts(&ticks));
                assert!(ticks.is_sorted_by(|one, next| one.share < next.share), "{highest}");
                assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.share)));
            }
        }
    }

    #[test]
    fn times_are_written_in_their_unit() {
        for (microseconds, written) in [
            (0.0, "0"),
            (20.0, "20 µs"),
            (1_500.0, "1.5 ms"),
            (500_000.0, "500 ms"),
            (2e6, "2 s"),
            (1e9, "1,000 s"),
        ] {
            assert_eq!(duration(microseconds), written);
        }
    }

    #[test]
    fn moments_of_a_run_are_few_and_round() {
        let text = |seconds| moments(seconds).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" ");
        assert_eq!(text(1), "0 1 s");
        assert_eq!(text(3), "0 1 s 2 s 3 s");
        assert_eq!(text(91), "0 30 s 60 s 90 s");
        assert_eq!(text(600), "0 2 min 4 min 6 min 8 min 10 min");
        assert_eq!(text(86_400), "0 6 h 12 h 18 h 24 h");
        assert!(moments(u64::MAX).len() <= 8);
    }
}
