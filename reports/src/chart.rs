//! Devices a second over time, as the points of two lines.

use crate::record::Second;

/// The size of the drawing, in its own units.
pub(crate) const WIDTH: f64 = 720.0;
/// See [`WIDTH`].
pub(crate) const HEIGHT: f64 = 160.0;

/// Two lines on one scale.
pub(crate) struct Chart {
    pub(crate) started: String,
    pub(crate) assigned: String,
    pub(crate) peak: u64,
    pub(crate) seconds: u64,
}

impl Chart {
    /// The chart of a run, if it has at least two seconds to draw a line between.
    pub(crate) fn of(seconds: &[Second]) -> Option<Self> {
        let last = seconds.last().map(|second| second.t).filter(|last| *last > 0)?;
        let peak = seconds.iter().map(|second| second.started.max(second.assigned)).max()?.max(1);
        let points = |count: fn(&Second) -> u64| {
            let point = |second: &Second| {
                let x = second.t as f64 / last as f64 * WIDTH;
                let y = HEIGHT - count(second) as f64 / peak as f64 * HEIGHT;
                format!("{x:.1},{y:.1}")
            };
            seconds.iter().map(point).collect::<Vec<_>>().join(" ")
        };
        let (started, assigned) = (points(|second| second.started), points(|second| second.assigned));
        Some(Self { started, assigned, peak, seconds: last + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_touches_the_top_and_nothing_the_bottom() {
        let second = |t, started, assigned| Second { t, started, assigned, ..Second::default() };
        let chart =
            Chart::of(&[second(0, 40, 0), second(1, 20, 30), second(2, 0, 40)]).expect("three seconds");
        assert_eq!(chart.started, "0.0,0.0 360.0,80.0 720.0,160.0");
        assert_eq!(chart.assigned, "0.0,160.0 360.0,40.0 720.0,0.0");
        assert_eq!((chart.peak, chart.seconds), (40, 3));
        assert!(Chart::of(&[second(0, 1, 1)]).is_none());
    }
}
