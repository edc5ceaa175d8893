//! The whole distribution of both clocks, the rarest times as wide as the common ones.

use super::PLOT;
use super::canvas::{Canvas, Style, Swatch, short};
use super::scale::{Scale, Tick, duration};
use crate::PhaseStats;
use crate::drawing::Drawing;
use crate::record::Record;
use crate::view::{Table, grouped, milliseconds, wanted};
use hdrhistogram::Histogram;

/// Steps from side to side.
const STEPS: u32 = 240;
/// Percentiles that are written on the axis and in the table, as nines of each and as text.
const PERCENTILES: [(f64, &str); 14] = [
    (0.0, "0"),
    (0.5, "50"),
    (0.75, "75"),
    (0.9, "90"),
    (0.95, "95"),
    (0.99, "99"),
    (0.995, "99.5"),
    (0.999, "99.9"),
    (0.9995, "99.95"),
    (0.9999, "99.99"),
    (0.999_99, "99.999"),
    (0.999_999, "99.9999"),
    (0.999_999_9, "99.99999"),
    (0.999_999_99, "99.999999"),
];

/// One clock: its times, and how it is drawn.
struct Clock {
    name: &'static str,
    style: Style,
    times: Histogram<u64>,
}

/// The percentiles of both clocks. Each nine takes the same room, so the tail is not squeezed.
pub(crate) fn curve(record: &Record) -> Option<Drawing> {
    let clocks = [
        // Wide and pale, and the other over it: both are often the same.
        Clock::of("service time", Style::new(6, 6), &record.clocks.service_time),
        Clock::of("response time", Style::new(1, 1), &record.clocks.response_time),
    ];
    let clocks: Vec<Clock> = clocks.into_iter().flatten().collect();
    let nines = clocks.iter().map(Clock::nines).reduce(f64::max)?;
    let lowest = clocks.iter().map(|clock| clock.at(0.0)).min()?;
    let highest = clocks.iter().map(Clock::longest).max()?;
    let scale = Scale::log(lowest, highest);
    let legend: Vec<_> = clocks.iter().map(|clock| (Swatch::Line(clock.style), clock.in_words())).collect();
    let peak = format!("max {} ms", milliseconds(highest));
    let mut canvas = Canvas::new("time, logarithmic", &peak, &legend, PLOT);
    canvas.upright_axis(&scale.ticks(duration));
    canvas.level_axis(&percentile_ticks(nines), "percentile; each nine takes the same room");
    for clock in &clocks {
        let path = clock.steps(&canvas, &scale, nines);
        canvas.path(&clock.style.line(), &path);
        let end = (canvas.x(clock.nines() / nines), canvas.y(scale.share(clock.longest() as f64)));
        canvas.path(&clock.style.dots(), &clock.style.marker(end.0, end.1));
    }
    let samples: Vec<_> = clocks.iter().map(Clock::in_words).collect();
    let label = format!("Percentiles of {}; {peak}.", samples.join(" and of "));
    Some(Drawing {
        id: "curve",
        title: "Percentile curve".to_owned(),
        note: format!(
            "All times of those {}: {}. Both axes are logarithmic and the upright one does not begin at 0; a curve ends \
             at its longest time, where one sample remains. Response time from when due, service time from the start.",
            wanted(record),
            samples.join("; "),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: table(&clocks),
    })
}

impl Clock {
    fn of(name: &'static str, style: Style, stats: &PhaseStats) -> Option<Self> {
        let times = stats.histogram().ok().filter(|times| !times.is_empty())?;
        Some(Self { name, style, times })
    }

    fn in_words(&self) -> String {
        format!("{}, {} samples", self.name, grouped(self.times.len()))
    }

    /// How many nines the last sample is worth: 3 for one of a thousand.
    fn nines(&self) -> f64 {
        // One sample alone has none, and is drawn over the whole width.
        (self.times.len() as f64).log10().max(0.1)
    }

    /// The time at a quantile, in microseconds, rounded as [`PhaseStats`] does.
    fn at(&self, quantile: f64) -> u64 {
        let longest = self.times.max();
        self.times.value_at_quantile(quantile).min(longest).saturating_add(500) / 1_000
    }

    fn longest(&self) -> u64 {
        self.at(1.0)
    }

    /// Whether there are as many samples as to have one above the quantile.
    fn reaches(&self, quantile: f64) -> bool {
        // A billionth for what decimals lack in binary.
        (1.0 - quantile) * self.times.len() as f64 >= 1.0 - 1e-9
    }

    /// The curve in steps: what was not measured is not drawn as if it had been.
    fn steps(&self, canvas: &Canvas, scale: &Scale, nines: f64) -> String {
        let place = |step: u32| {
            let here = self.nines() * f64::from(step) / f64::from(STEPS);
            let time = if step == STEPS { self.longest() } else { self.at(1.0 - 10_f64.powf(-here)) };
            (canvas.x(here / nines), canvas.y(scale.share(time as f64)))
        };
        let (x, mut level) = place(0);
        let mut path = format!("M{} {}", short(x), short(level));
        for (x, y) in (1..=STEPS).map(place) {
            if short(y) != short(level) || x >= canvas.x(self.nines() / nines) {
                path.push_str(&format!("H{}V{}", short(x), short(y)));
                level = y;
            }
        }
        path
    }
}

/// Whole nines and the median.
fn percentile_ticks(nines: f64) -> Vec<Tick> {
    let place = |(quantile, text): (f64, &str)| {
        let here = if quantile == 0.0 { 0.0 } else { -(1.0 - quantile).log10() };
        Tick { share: here / nines, text: text.to_owned() }
    };
    let written = |(_, text): &(f64, &str)| !text.ends_with('5');
    PERCENTILES.into_iter().filter(written).map(place).filter(|tick| tick.share <= 1.0 + 1e-9).collect()
}

fn table(clocks: &[Clock]) -> Table {
    let row = |(quantile, text): (f64, &str)| {
        let cell = |clock: &Clock| match clock.reaches(quantile) {
            true => milliseconds(clock.at(quantile)),
            false => "-".to_owned(),
        };
        std::iter::once(text.to_owned()).chain(clocks.iter().map(cell)).collect::<Vec<_>>()
    };
    let reached = |(quantile, _): &(f64, &str)| clocks.iter().any(|clock| clock.reaches(*quantile));
    let longest = clocks.iter().map(|clock| milliseconds(clock.longest()));
    let longest = std::iter::once("100".to_owned()).chain(longest).collect();
    Table {
        title: "Percentile curve",
        note: "in milliseconds, as far as a sample remains above the percentile".to_owned(),
        head: std::iter::once("percentile").chain(clocks.iter().map(|clock| clock.name)).collect(),
        words: 1,
        rows: PERCENTILES.into_iter().filter(reached).map(row).chain([longest]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::canvas::{LEFT, RIGHT};
    use crate::chart::tests::{bottom, paths};
    use crate::record::Clocks;
    use crate::view::tests::times_of;

    fn of(count: u64) -> Record {
        let (service_time, response_time) =
            (times_of("service", count, 1_000), times_of("response", count, 2_000));
        Record { clocks: Clocks { service_time, response_time, ..Clocks::default() }, ..Record::default() }
    }

    /// The corners of a curve's steps.
    fn corners(svg: &str, class: &str) -> Vec<(f64, f64)> {
        let numbers: Vec<f64> = paths(svg, class)[1]
            .split(['M', ' ', 'H', 'V'])
            .filter_map(|number| number.parse().ok())
            .collect();
        numbers.chunks(2).map(|corner| (corner[0], corner[1])).collect()
    }

    #[test]
    fn each_nine_takes_the_same_room_and_a_decade_of_time_the_same_height() {
        // 1 to 1,000 ms: the median is 500 ms, and 1 of 10 takes longer than 900 ms.
        let drawing = curve(&of(1_000)).expect("a drawing");
        let corners = corners(&drawing.svg, "line s6 d6");
        let bottom = bottom(&drawing.svg);
        // 1 ms to 10 s, for the response time goes to 2 s.
        let height = |ms: f64| bottom - PLOT * ms.log10() / 4.0;
        for (nines, ms) in [(0.301, 500.0), (1.0, 900.0), (2.0, 990.0), (3.0, 1_000.0)] {
            let x = LEFT + (RIGHT - LEFT) * nines / 3.0;
            let (_, y) = corners.iter().take_while(|(at, _)| *at <= x + 1.0).last().expect("a corner");
            assert!((y - height(ms)).abs() < 2.0, "{nines}: {y}, not {}", height(ms));
        }
        assert!((corners.last().expect("an end").0 - RIGHT).abs() < 0.1);
    }

    #[test]
    fn a_curve_ends_where_one_sample_remains() {
        let mut record = of(10_000);
        record.clocks.service_time = times_of("service", 100, 1_000);
        let drawing = curve(&record).expect("a drawing");
        let end = |class| corners(&drawing.svg, class).last().expect("an end").0;
        assert!((end("line s1 d1") - RIGHT).abs() < 0.1);
        assert!((end("line s6 d6") - (LEFT + RIGHT) / 2.0).abs() < 0.1);
        let last = |text: &str| drawing.table.rows.iter().find(|row| row[0] == text).expect("a row").clone();
        assert_eq!(last("99")[1], milliseconds(record.clocks.service_time.p99_us));
        assert_eq!(last("99.9")[1], "-");
        assert!(drawing.table.rows.iter().all(|row| row[0] != "99.999"));
    }

    #[test]
    fn the_table_has_the_numbers_of_the_record() {
        let record = of(10_000);
        let rows = curve(&record).expect("a drawing").table.rows;
        let response = &record.clocks.response_time;
        for (percentile, time) in [
            ("50", response.p50_us),
            ("99", response.p99_us),
            ("99.9", response.p999_us),
            ("100", response.max_us),
        ] {
            let row = rows.iter().find(|row| row[0] == percentile).expect("a row");
            assert_eq!(row[2], milliseconds(time), "{percentile}");
        }
    }

    #[test]
    fn few_samples_make_steps_and_none_no_curve() {
        let drawing = curve(&of(1)).expect("a drawing");
        assert_eq!(corners(&drawing.svg, "line s1 d1").len(), 2);
        assert!(curve(&of(3)).is_some());
        assert!(curve(&Record::default()).is_none());
    }
}
