//! The charts of a report, each as one SVG with the numbers behind it.
//!
//! Drawn here: of the well-kept libraries for charts none writes SVG that needs no script, takes its colours from the
//! page it stands in and has a table behind it (`plotters` writes fixed colours and no classes).
//!
//! What holds for all of them: an axis begins at 0, or is logarithmic and says so; nothing is smoothed; where several
//! seconds share a point the highest is drawn; a line ends where nothing is known; colour is never the only carrier.

mod bars;
mod canvas;
mod columns;
mod curve;
mod events;
mod heat_map;
mod over_time;
mod scale;
mod spans;

pub(crate) use bars::{outcomes, retries};
pub(crate) use curve::curve;
pub(crate) use heat_map::heat_map;
pub(crate) use over_time::{held, in_flight, percentiles, rates, throttling};
pub(crate) use spans::{hubs, waterfall};

use crate::drawing::Drawing;
use crate::record::Record;

/// More points of a line cannot be told apart.
const MOST_POINTS: u64 = 240;
/// More bars, or columns of cells, cannot be told apart.
const MOST_BARS: u64 = 120;
/// More rows of a table are not read.
const MOST_ROWS: u64 = 60;
/// The height of a plot.
const PLOT: f64 = 190.0;

/// Every chart that a record has something for, in the order of a report.
pub(crate) fn all(record: &Record) -> Vec<Drawing> {
    let draw: [fn(&Record) -> Option<Drawing>; 11] = [
        rates,
        in_flight,
        held,
        percentiles,
        heat_map,
        curve,
        waterfall,
        outcomes,
        throttling,
        retries,
        hubs,
    ];
    draw.into_iter().filter_map(|draw| draw(record)).collect()
}

/// The classes that drawings use. Colours are the page's: `--ink` and `--paper` for texts and what is behind them,
/// `--line` for the grid, `--soft` for axes, `--s1` to `--s8` for what is drawn. Where the page is narrow, texts are
/// drawn larger, so that they are read at the same size.
pub(crate) const STYLE: &str = "\
svg.chart { display: block; width: 100%; min-width: 0; max-width: 56rem; height: auto; }
.chart text { font: 13px system-ui, sans-serif; fill: var(--ink); stroke: var(--paper); stroke-width: 3px;
  stroke-linejoin: round; paint-order: stroke; font-variant-numeric: tabular-nums; }
@media (max-width: 640px) { .chart text { font-size: 20px; } }
.chart path { fill: none; }
.chart .grid { stroke: var(--line); } .chart .axis, .chart .whisker { stroke: var(--soft); }
.chart .halo { stroke: var(--paper); stroke-width: 7; } .chart .tick { stroke: var(--ink); stroke-width: 3; }
.chart .event { stroke: var(--soft); stroke-dasharray: 3 4; }
.chart .ring { stroke: var(--ink); stroke-width: 1.5; }
.chart .line { stroke: currentColor; stroke-width: 2; stroke-linejoin: round; } .chart .dots { fill: currentColor; }
.chart .stack { stroke: currentColor; } .chart .ground { stroke: currentColor; stroke-opacity: .3; }
.chart .d2 { stroke-dasharray: 9 4; } .chart .d3 { stroke-dasharray: 2 3; } .chart .d4 { stroke-dasharray: 10 3 2 3; }
.chart .d6 { stroke-width: 6; stroke-opacity: .45; } .chart .d8 { stroke-width: 1; }
.chart .p2 { stroke-dasharray: 8 2; } .chart .p3 { stroke-dasharray: 4 3; } .chart .p4 { stroke-dasharray: 2 4; }
.chart .p5 { stroke-dasharray: 7 2 2 2; } .chart .p7 { stroke-dasharray: 4 3; } .chart .p8 { stroke-dasharray: 1 3; }
.chart .p9 { stroke-dasharray: 1 3; } .chart .p10 { stroke-dasharray: 7 2 2 2; } .chart .p11 { stroke-dasharray: 2 9; }
.chart .s1 { color: var(--s1); } .chart .s2 { color: var(--s2); } .chart .s3 { color: var(--s3); } .chart .s4 { color: var(--s4); }
.chart .s5 { color: var(--s5); } .chart .s6 { color: var(--s6); } .chart .s7 { color: var(--s7); } .chart .s8 { color: var(--s8); }
.chart .cell { stroke: var(--s1); shape-rendering: crispEdges; }
.chart .h1 { stroke-opacity: .16; } .chart .h2 { stroke-opacity: .3; } .chart .h3 { stroke-opacity: .46; }
.chart .h4 { stroke-opacity: .64; } .chart .h5 { stroke-opacity: .82; }
";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{OutcomeKind, RollUp, Second, bucket_of};
    use crate::view::tests::demo;

    /// A second in which so many ended, most of them assigned, each of them later than the one before.
    pub(super) fn busy(t: u64, arrivals: u64) -> Second {
        let mut second = Second {
            t,
            planned: Some(arrivals),
            offered: arrivals,
            started: arrivals,
            finished: arrivals,
            assigned: arrivals - 1,
            refused: 1,
            in_flight: arrivals / 2,
            held: arrivals,
            retries: 3,
            throttled: 2,
            response_us: Some([1_000, 2_000, 4_000, 9_000].map(|us| us * arrivals)),
            service_us: Some([1_000, 2_000, 3_000, 8_000]),
            ..Second::default()
        };
        (1..arrivals).for_each(|n| second.responded(n * 1_000));
        second.outcomes.extend([(OutcomeKind::Assigned, arrivals - 1), (OutcomeKind::Refused, 1)]);
        second
    }

    /// A run of so many seconds that has something for every chart.
    pub(crate) fn run(seconds: u64) -> Record {
        Record {
            per_second: (0..seconds).map(|t| busy(t, 4 + t % 7)).collect(),
            quota_per_minute: Some(600),
            allocation_policy: Some("hashed".to_owned()),
            ..demo()
        }
    }

    /// The paths of these classes, in the order in which they were drawn.
    pub(super) fn paths<'s>(svg: &'s str, class: &str) -> Vec<&'s str> {
        let path = |element: &'s str| element.split_once(" d=\"")?.1.split_once('"').map(|(path, _)| path);
        let of_class = |element: &&str| element.starts_with(&format!("{class}\""));
        svg.split("<path class=\"").filter(of_class).filter_map(path).collect()
    }

    /// The places that a path names, without those of relative commands.
    pub(super) fn places(path: &str) -> Vec<(f64, f64)> {
        let place = |text: &str| {
            let (x, y) = text.split_once(' ')?;
            Some((x.parse().ok()?, y.parse().ok()?))
        };
        path.split(['M', 'L']).filter_map(place).collect()
    }

    /// Where the plot of a drawing begins and ends: the top is the highest place of its marks across, if one is there.
    pub(super) fn bottom(svg: &str) -> f64 {
        let axis = paths(svg, "axis")[0];
        axis.split(['M', ' ', 'H']).nth(2).and_then(|y| y.parse().ok()).expect("an axis")
    }

    #[test]
    fn a_run_of_any_length_draws_everything_it_has() {
        for seconds in [1, 3, 239, 86_400] {
            let ids: Vec<_> = all(&run(seconds)).iter().map(|drawing| drawing.id).collect();
            let every = [
                "rates",
                "in-flight",
                "held",
                "percentiles",
                "heat-map",
                "curve",
                "waterfall",
                "outcomes",
                "throttling",
                "retries",
                "hubs",
            ];
            assert_eq!(ids, every, "{seconds}");
        }
        assert!(all(&Record::default()).is_empty());
    }

    #[test]
    fn nothing_is_drawn_beside_the_sheet() {
        for drawing in all(&run(86_400)).iter().chain(&all(&run(3))) {
            let height = drawing.svg.split(['"', ' ']).skip_while(|word| *word != "720").nth(1);
            let height: f64 = height.and_then(|height| height.parse().ok()).expect("a height");
            for class in ["grid", "axis", "ring"] {
                for (x, y) in paths(&drawing.svg, class).into_iter().flat_map(places) {
                    assert!(
                        (0.0..=720.0).contains(&x) && (0.0..=height).contains(&y),
                        "{} {x} {y}",
                        drawing.id
                    );
                }
            }
        }
    }

    #[test]
    fn tables_are_whole_and_short_and_every_drawing_is_described() {
        for drawing in all(&run(86_400)) {
            let table = &drawing.table;
            assert!((1..=60).contains(&table.rows.len()), "{}: {}", drawing.id, table.rows.len());
            assert!(table.rows.iter().all(|row| row.len() == table.head.len()), "{}", drawing.id);
            assert!(drawing.svg.starts_with("<svg class=\"chart\" viewBox=\"0 0 720 "), "{}", drawing.id);
            let label = format!(" role=\"img\" aria-label=\"{}\">", canvas::escaped(&drawing.label));
            assert!(drawing.svg.contains(&label), "{label}");
        }
    }

    #[test]
    fn a_day_with_times_of_every_size_is_drawn_in_a_quarter_of_a_megabyte() {
        let mut record = run(86_400);
        for second in &mut record.per_second {
            let t = second.t;
            second.response_buckets =
                (0..160).map(|bucket| (bucket, 1 + (u64::from(bucket) * 7 + t * t) % 9_999)).collect();
            second.outcomes = OutcomeKind::ALL.into_iter().map(|kind| (kind, 1 + t % 5)).collect();
            second.response_us = (t / 360 % 2 == 0).then_some([t % 977 + 1, t % 9_977 + 1, t + 1, t * t + 1]);
        }
        let hub =
            |n: usize| RollUp { hub: format!("hub-{n}.azure-devices.net"), actual: 1, ..RollUp::default() };
        record.roll_up = (0..1_000).map(hub).collect();
        let cells = |table: &crate::view::Table| table.rows.iter().flatten().map(String::len).sum::<usize>();
        let size = |drawing: &Drawing| drawing.svg.len() + drawing.note.len() + cells(&drawing.table);
        let sizes: Vec<_> = all(&record).iter().map(|drawing| (drawing.id, size(drawing))).collect();
        assert!(sizes.iter().map(|(_, size)| size).sum::<usize>() < 250_000, "{sizes:?}");
    }

    #[test]
    fn times_beyond_every_size_are_drawn_too() {
        let mut record = run(3);
        record.per_second[1].response_buckets = vec![(bucket_of(0), 1), (u16::MAX, 2)];
        record.per_second[1].response_us = Some([0, 1, 2, u64::MAX]);
        assert_eq!(all(&record).len(), 11);
    }

    #[test]
    fn every_class_that_is_drawn_has_a_rule() {
        let drawn = all(&run(86_400)).into_iter().map(|drawing| drawing.svg).collect::<String>();
        let classes = drawn.split("class=\"").skip(1).filter_map(|rest| rest.split('"').next());
        for class in
            classes.flat_map(str::split_whitespace).filter(|class| !["d1", "p1", "p6", "h6"].contains(class))
        {
            let ruled = [" ", ","].iter().any(|end| STYLE.contains(&format!(".{class}{end}")));
            assert!(ruled, "{class}");
        }
    }
}
