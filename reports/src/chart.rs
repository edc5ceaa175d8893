//! What happened over time, as the points of two lines.

use crate::record::Second;
use crate::view::{counted, grouped, milliseconds};

/// The size of the drawing, in its own units.
pub(crate) const WIDTH: f64 = 720.0;
/// See [`WIDTH`].
pub(crate) const HEIGHT: f64 = 160.0;
/// More points than units across cannot be told apart.
const MOST_POINTS: u64 = 720;

/// Two lines on one scale.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// Which line is which, and how high they go.
    pub(crate) note: String,
    /// The same for who does not see the drawing.
    pub(crate) label: String,
    pub(crate) solid: String,
    pub(crate) dashed: String,
}

impl Chart {
    /// Devices a second, if there are at least two seconds to draw a line between.
    pub(crate) fn of_devices(seconds: &[Second], wanted: &str) -> Option<Self> {
        let scale = Scale::of(seconds)?;
        let started = scale.points(seconds, |second| Some(second.started));
        let success = scale.points(seconds, |second| Some(second.assigned));
        let peak = started.iter().chain(&success).map(|(_, value)| *value).max()?.max(1);
        let most = format!("{} a second", grouped(peak));
        Some(Self {
            title: "Devices a second",
            note: format!("Started: solid line. {wanted}: dashed line. Peak {most}, {}.", scale.words()),
            label: format!("Devices started and {wanted} in each second of the run, at most {most}"),
            solid: scale.line(&started, peak),
            dashed: scale.line(&success, peak),
        })
    }

    /// Devices that stay connected and those in flight, if any stay.
    pub(crate) fn of_held(seconds: &[Second]) -> Option<Self> {
        let scale = Scale::of(seconds)?;
        let held = scale.points(seconds, |second| Some(second.held));
        held.iter().find(|(_, held)| *held > 0)?;
        let in_flight = scale.points(seconds, |second| Some(second.in_flight));
        let peak = held.iter().chain(&in_flight).map(|(_, value)| *value).max()?;
        let most = grouped(peak);
        Some(Self {
            title: "Devices connected",
            note: format!(
                "Stayed connected: solid line. In flight: dashed line. Peak {most}, {}.",
                scale.words()
            ),
            label: format!(
                "Devices that stayed connected and devices in flight in each second of the run, at most {most}"
            ),
            solid: scale.line(&held, peak),
            dashed: scale.line(&in_flight, peak),
        })
    }

    /// Response times, if at least two seconds have any. Seconds in which nobody ended are passed over.
    pub(crate) fn of_response_times(seconds: &[Second]) -> Option<Self> {
        let scale = Scale::of(seconds)?;
        let median = scale.points(seconds, |second| second.response_us.map(|[p50, ..]| p50));
        let tail = scale.points(seconds, |second| second.response_us.map(|[_, _, p99, _]| p99));
        let peak = median.iter().chain(&tail).map(|(_, value)| *value).max()?.max(1);
        let most = format!("{} ms", milliseconds(peak));
        (median.len() > 1).then(|| Self {
            title: "Response time",
            note: format!("p99: solid line. Median: dashed line. Peak {most}, {}.", scale.words()),
            label: format!("Response time in each second of the run, median and p99, at most {most}"),
            solid: scale.line(&tail, peak),
            dashed: scale.line(&median, peak),
        })
    }
}

/// The seconds across the drawing.
struct Scale {
    /// The last second.
    last: u64,
    /// Seconds to a point.
    step: u64,
}

impl Scale {
    fn of(seconds: &[Second]) -> Option<Self> {
        let last = seconds.last().map(|second| second.t).filter(|last| *last > 0)?;
        Some(Scale { last, step: (last + 1).div_ceil(MOST_POINTS) })
    }

    fn words(&self) -> String {
        let seconds = counted(self.last + 1, "second");
        match self.step {
            1 => seconds,
            step => format!("{seconds}, of which a point shows the highest of {}", grouped(step)),
        }
    }

    /// The second at which each point stands, and the highest of the values it stands for.
    fn points(&self, seconds: &[Second], value: impl Fn(&Second) -> Option<u64>) -> Vec<(u64, u64)> {
        let mut points: Vec<(u64, u64)> = Vec::new();
        for (t, value) in seconds.iter().filter_map(|second| Some((second.t, value(second)?))) {
            match points.last_mut().filter(|(at, _)| *at / self.step == t / self.step) {
                Some((_, highest)) => *highest = value.max(*highest),
                None => points.push((t, value)),
            }
        }
        points
    }

    fn line(&self, points: &[(u64, u64)], peak: u64) -> String {
        let point = |(t, value): &(u64, u64)| {
            let x = *t as f64 / self.last as f64 * WIDTH;
            let y = HEIGHT - *value as f64 / peak as f64 * HEIGHT;
            format!("{x:.1},{y:.1}")
        };
        points.iter().map(point).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_touches_the_top_and_nothing_the_bottom() {
        let second = |t, started, assigned| Second { t, started, assigned, ..Second::default() };
        let seconds = [second(0, 40, 0), second(1, 20, 30), second(2, 0, 40)];
        let chart = Chart::of_devices(&seconds, "assigned").expect("three seconds");
        assert_eq!(chart.solid, "0.0,0.0 360.0,80.0 720.0,160.0");
        assert_eq!(chart.dashed, "0.0,160.0 360.0,40.0 720.0,0.0");
        assert!(chart.note.ends_with("Peak 40 a second, 3 seconds."), "{}", chart.note);
        assert!(Chart::of_devices(&[second(0, 1, 1)], "assigned").is_none());
    }

    #[test]
    fn a_second_in_which_nobody_ended_has_no_response_time() {
        let second = |t, response_us| Second { t, response_us, ..Second::default() };
        let seconds = [second(0, Some([1, 2, 2, 9])), second(1, None), second(2, Some([2, 3, 4, 9]))];
        let chart = Chart::of_response_times(&seconds).expect("two seconds");
        assert_eq!(chart.solid, "0.0,80.0 720.0,0.0");
        assert_eq!(chart.dashed, "0.0,120.0 720.0,80.0");
        assert!(Chart::of_response_times(&seconds[..2]).is_none());
    }

    #[test]
    fn devices_that_stay_connected_are_drawn_where_there_are_any() {
        let second = |t, held, in_flight| Second { t, held, in_flight, ..Second::default() };
        let chart = Chart::of_held(&[second(0, 0, 5), second(1, 10, 0)]).expect("a chart");
        assert_eq!(
            (chart.solid.as_str(), chart.dashed.as_str()),
            ("0.0,160.0 720.0,0.0", "0.0,80.0 720.0,160.0")
        );
        assert!(Chart::of_held(&[second(0, 0, 5), second(1, 0, 5)]).is_none());
    }

    #[test]
    fn a_point_of_many_seconds_is_the_highest_of_them() {
        let seconds: Vec<_> = (0..1_440).map(|t| Second { t, started: t % 2, ..Second::default() }).collect();
        let chart = Chart::of_devices(&seconds, "assigned").expect("a line");
        let points: Vec<&str> = chart.solid.split(' ').collect();
        assert_eq!(points.len(), 720);
        assert!(points.iter().all(|point| point.ends_with(",0.0")), "{points:?}");
    }
}
