//! How response times were spread in each second.

use super::canvas::{Canvas, Key, Swatch};
use super::columns::Columns;
use super::over_time::time_axis;
use super::scale::{Scale, duration};
use super::{MOST_BARS, MOST_ROWS, PLOT};
use crate::drawing::Drawing;
use crate::record::{BUCKETS_PER_DECADE, Record, Second, bucket_start_us};
use crate::view::{Table, grouped, milliseconds, wanted};
use std::collections::BTreeMap;

/// How many strengths of colour can be told apart.
const STRENGTHS: u32 = 6;
/// No time of a record is in a bucket above it: 10^20 microseconds are more than it can hold.
const LAST_BUCKET: u16 = 20 * BUCKETS_PER_DECADE - 1;
/// More rows are drawn several to one.
const MOST_CELLS_UP: u16 = 64;

/// How many response times are in each bucket.
type Counts = BTreeMap<u16, u64>;

/// Response times by second and size; the stronger the colour, the more of them.
pub(crate) fn heat_map(record: &Record) -> Option<Drawing> {
    let columns = Columns::of(record, MOST_BARS)?;
    let buckets: Vec<Counts> = columns.iter().map(counts).collect();
    let known = || buckets.iter().flat_map(Counts::keys).copied();
    let rows = Rows::between(known().min()?, known().max()?);
    let cells: Vec<Counts> = buckets.iter().map(|counts| rows.join(counts)).collect();
    let most = cells.iter().flat_map(Counts::values).copied().max()?;
    let strengths = Strengths::up_to(most);
    let peak = format!("most in a cell {}", grouped(most));
    let mut canvas = Canvas::new("response time, logarithmic", &peak, &strengths.legend(), PLOT);
    canvas.upright_axis(&rows.scale().ticks(duration));
    let paths: Vec<_> =
        strengths.classes().map(|(at, class)| (class, path(&cells, &strengths, at))).collect();
    canvas.grid_of_cells((columns.count() as f64, f64::from(rows.count())), &paths);
    time_axis(&mut canvas, &columns);
    let steps = rows.steps_in_words();
    let label = format!("Heat map of response times by size over the time of the run; {peak}.");
    Some(Drawing {
        id: "heat-map",
        title: "Heat map of response times".to_owned(),
        note: format!(
            "Response times of those {}: a column is {}{}, a cell {steps}, on a logarithmic axis that does not begin \
             at 0. The more there are in a cell the stronger its colour, by the steps of the legend; empty cells are \
             left blank. Most in a cell: {}.",
            wanted(record),
            columns.one_in_words(),
            columns.rest_in_words(),
            grouped(most),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: table(record)?,
    })
}

/// The response times of several seconds by bucket.
fn counts(seconds: &[&Second]) -> Counts {
    let mut counts = Counts::new();
    let known = seconds.iter().flat_map(|second| &second.response_buckets).filter(|(_, count)| *count > 0);
    for (bucket, count) in known {
        *counts.entry((*bucket).min(LAST_BUCKET)).or_default() += count;
    }
    counts
}

/// The rows of cells: whole decades, several buckets to a row where there are many.
#[derive(Debug, PartialEq, Eq)]
struct Rows {
    first_decade: u16,
    decades: u16,
    buckets: u16,
}

impl Rows {
    fn between(lowest: u16, highest: u16) -> Self {
        let first_decade = lowest / BUCKETS_PER_DECADE;
        let decades = highest / BUCKETS_PER_DECADE + 1 - first_decade;
        let few = |buckets: &u16| decades * BUCKETS_PER_DECADE / buckets <= MOST_CELLS_UP;
        let buckets = [1, 2, 4].into_iter().find(few).unwrap_or(BUCKETS_PER_DECADE);
        Self { first_decade, decades, buckets }
    }

    fn count(&self) -> u16 {
        self.decades * BUCKETS_PER_DECADE / self.buckets
    }

    fn scale(&self) -> Scale {
        let low = i32::from(self.first_decade);
        Scale::Log { low, high: low + i32::from(self.decades) }
    }

    /// Counts by row.
    fn join(&self, counts: &Counts) -> Counts {
        let mut rows = Counts::new();
        for (bucket, count) in counts {
            let row = (bucket - self.first_decade * BUCKETS_PER_DECADE) / self.buckets;
            *rows.entry(row).or_default() += count;
        }
        rows
    }

    fn steps_in_words(&self) -> String {
        match BUCKETS_PER_DECADE / self.buckets {
            1 => "a power of ten".to_owned(),
            parts => format!("one of {parts} equal steps of a power of ten"),
        }
    }
}

/// From how many on a cell has each strength; the least of each, rising.
struct Strengths(Vec<u64>);

impl Strengths {
    /// Equal factors from 1 to the most, or one number each where there are no more numbers than strengths.
    fn up_to(most: u64) -> Self {
        if most <= u64::from(STRENGTHS) {
            return Self((1..=most).collect());
        }
        let from = |step: u32| (most as f64).powf(f64::from(step) / f64::from(STRENGTHS)).ceil() as u64;
        let mut least: Vec<u64> = (0..STRENGTHS).map(from).collect();
        least.dedup();
        Self(least)
    }

    /// The strength of so many, from 0; nothing for none.
    fn of(&self, count: u64) -> Option<usize> {
        self.0.partition_point(|least| *least <= count).checked_sub(1)
    }

    /// Each with its class; the last is always the strongest.
    fn classes(&self) -> impl Iterator<Item = (usize, String)> {
        (0..self.0.len()).map(|at| (at, format!("cell h{}", self.class(at))))
    }

    fn class(&self, at: usize) -> usize {
        STRENGTHS as usize - self.0.len() + at + 1
    }

    fn legend(&self) -> Vec<Key> {
        let range = |(at, least): (usize, &u64)| {
            let name = match self.0.get(at + 1) {
                Some(next) if *next == least + 1 => grouped(*least),
                Some(next) => format!("{}–{}", grouped(*least), grouped(next - 1)),
                None => format!("{} or more", grouped(*least)),
            };
            (Swatch::Cell(self.class(at)), name)
        };
        self.0.iter().enumerate().map(range).collect()
    }
}

/// The cells of one strength, those above each other in one stroke. A unit is a cell.
fn path(cells: &[Counts], strengths: &Strengths, strength: usize) -> String {
    let mut path = String::new();
    for (column, rows) in cells.iter().enumerate() {
        let rows = rows.iter().filter(|(_, count)| strengths.of(**count) == Some(strength));
        for (from, to) in runs(rows.map(|(row, _)| *row)) {
            path.push_str(&format!("M{column}.5 {from}V{to}"));
        }
    }
    path
}

/// Rows that follow each other: the first, and the one after the last.
fn runs(rows: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for row in rows {
        match runs.last_mut().filter(|(_, end)| *end == row) {
            Some((_, end)) => *end += 1,
            None => runs.push((row, row + 1)),
        }
    }
    runs
}

fn table(record: &Record) -> Option<Table> {
    let columns = Columns::of(record, MOST_ROWS)?;
    let row = |(column, seconds): (usize, &[&Second])| {
        let counts = counts(seconds);
        let (fullest, most) = counts.iter().max_by_key(|(bucket, count)| (**count, u16::MAX - **bucket))?;
        let [first, last] = [counts.keys().next()?, counts.keys().next_back()?];
        let sum: u64 = counts.values().sum();
        let [from, to] = [bucket_start_us(*first), bucket_start_us(last + 1)].map(written);
        let within = [*fullest, fullest + 1].map(|bucket| written(bucket_start_us(bucket)));
        Some(vec![columns.name(column), grouped(sum), from, to, within.join(" to "), grouped(*most)])
    };
    Some(Table {
        title: "Heat map of response times",
        note: "in milliseconds, to the steps of the record; no row where nobody ended so".to_owned(),
        head: vec!["second", "arrivals", "all from", "up to", "most within", "so many"],
        words: 1,
        rows: columns.iter().enumerate().filter_map(row).collect(),
    })
}

fn written(microseconds: f64) -> String {
    milliseconds(microseconds.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::{busy, paths};
    use crate::record::bucket_of;

    fn of(seconds: Vec<Second>) -> Record {
        Record { per_second: seconds, ..Record::default() }
    }

    #[test]
    fn a_cell_stands_at_its_second_and_its_time() {
        let mut seconds = vec![Second::default(), Second { t: 2, ..Second::default() }];
        (0..3).for_each(|_| seconds[0].responded(1_000));
        seconds[1].responded(10_000);
        let drawing = heat_map(&of(seconds)).expect("a drawing");
        // The decades of 1 ms and of 10 ms, of eight rows each; three columns, the one in the middle empty.
        let cells = |class| paths(&drawing.svg, class).last().copied().unwrap_or_default();
        assert_eq!((cells("cell h6"), cells("cell h4")), ("M0.5 0V1", "M2.5 8V9"));
        let transform = format!(
            "translate(88 {}) scale(204.0000 {:.4})",
            crate::chart::tests::bottom(&drawing.svg),
            -PLOT / 16.0
        );
        assert!(drawing.svg.contains(&transform), "{transform}");
        assert_eq!(drawing.table.rows[0], ["0 s", "3", "1.000", "1.334", "1.000 to 1.334", "3"]);
        assert_eq!(drawing.table.rows.len(), 2);
        assert!(heat_map(&of(vec![Second::default()])).is_none());
    }

    #[test]
    fn every_number_has_one_strength_and_the_most_the_strongest() {
        for most in [1, 2, 6, 7, 100, 12_345, u64::MAX / 2] {
            let strengths = Strengths::up_to(most);
            assert!(strengths.0.is_sorted_by(|one, next| one < next) && strengths.0.len() <= 6, "{most}");
            assert_eq!((strengths.of(0), strengths.of(1)), (None, Some(0)));
            assert_eq!(strengths.of(most), Some(strengths.0.len() - 1), "{most}");
            assert_eq!(strengths.class(strengths.0.len() - 1), 6);
        }
        let names: Vec<_> = Strengths::up_to(1_000).legend().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["1–3", "4–9", "10–31", "32–99", "100–316", "317 or more"]);
    }

    #[test]
    fn no_arrival_is_lost_when_seconds_and_rows_are_joined() {
        let record = of((0..1_000).map(|t| busy(t, 5)).collect());
        let columns = Columns::of(&record, MOST_BARS).expect("seconds");
        for (lowest, highest) in [(0, 7), (24, 47), (0, 159)] {
            let rows = Rows::between(lowest, highest);
            assert!(rows.count() <= MOST_CELLS_UP && rows.count() * rows.buckets == rows.decades * 8);
        }
        let rows = Rows::between(0, 159);
        let sum: u64 = columns.iter().map(|column| rows.join(&counts(column)).values().sum::<u64>()).sum();
        assert_eq!((sum, rows.buckets), (4_000, 4));
        let row = rows.join(&Counts::from([(bucket_of(1_000_000), 1)]));
        assert_eq!(row, Counts::from([(12, 1)]));
    }

    #[test]
    fn cells_above_each_other_are_one_stroke() {
        assert_eq!(runs([1, 2, 3, 7, 9, 10].into_iter()), [(1, 4), (7, 8), (9, 11)]);
    }
}
