//! Stacked bars over the time of a run: how arrivals ended, and what was tried again.

use super::canvas::{Canvas, LEFT, RIGHT, Style, Swatch, short};
use super::columns::Columns;
use super::events;
use super::over_time::time_axis;
use super::scale::{Scale, number};
use super::{MOST_BARS, MOST_ROWS, PLOT};
use crate::drawing::Drawing;
use crate::record::{OutcomeKind, Record, Second};
use crate::view::{Table, counted, grouped, wanted};

/// The share of a column that its bar takes.
const THICKNESS: f64 = 0.84;

/// What is stacked: a name, how it is drawn, how many there are in a second.
struct Layer<'l> {
    name: &'static str,
    style: Style,
    count: Box<dyn Fn(&Second) -> u64 + 'l>,
}

/// How arrivals ended, by outcome.
pub(crate) fn outcomes(record: &Record) -> Option<Drawing> {
    let by_kind = record.per_second.iter().any(|second| !second.outcomes.is_empty());
    let layers = if by_kind { kinds() } else { coarse(record) };
    let layers = present(record, layers);
    let stack = Stack { axis: "arrivals", layers: &layers };
    let (columns, canvas, highest) = stack.draw(record)?;
    let marked = events::in_words(record);
    let drawn: u64 = layers.iter().map(|layer| total(record, layer)).sum();
    let elsewhere = match record.outcomes.total().saturating_sub(drawn) {
        0 => String::new(),
        others => {
            format!(" {} in no second of the run, and not drawn.", counted(others, "arrival") + " ended")
        }
    };
    let label = format!("Stacked bars of how arrivals ended over time: {}.", stack.sums(record).join(", "));
    Some(Drawing {
        id: "outcomes",
        title: "Outcomes over time".to_owned(),
        note: format!(
            "Arrivals by how they ended, stacked from 0; a bar is {}{}. Those shed stand where they were due. The \
             legend has the sums.{elsewhere} Highest bar: {}.{marked}",
            columns.one_in_words(),
            columns.rest_in_words(),
            grouped(highest),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: stack.table(record, "Outcomes over time", "arrivals")?,
    })
}

/// One layer for every way to end.
fn kinds() -> Vec<Layer<'static>> {
    let layer = |kind: OutcomeKind| Layer {
        name: kind.as_str(),
        style: style(kind),
        count: Box::new(move |second| second.outcomes.get(&kind).copied().unwrap_or_default()),
    };
    OutcomeKind::ALL.into_iter().map(layer).collect()
}

const fn style(kind: OutcomeKind) -> Style {
    let (colour, pattern) = match kind {
        OutcomeKind::Assigned => (1, 1),
        OutcomeKind::Connected => (6, 2),
        OutcomeKind::Refused => (5, 3),
        OutcomeKind::Disabled => (4, 4),
        OutcomeKind::Failed => (8, 5),
        OutcomeKind::Throttled => (2, 6),
        OutcomeKind::Unreachable => (7, 7),
        OutcomeKind::TimedOut => (3, 8),
        OutcomeKind::Shed => (2, 9),
        OutcomeKind::Interrupted => (7, 10),
        OutcomeKind::ProtocolError => (5, 11),
    };
    Style::new(colour, pattern)
}

/// What a record without outcomes by second tells.
fn coarse(record: &Record) -> Vec<Layer<'static>> {
    let success = if wanted(record) == OutcomeKind::Connected.as_str() {
        OutcomeKind::Connected
    } else {
        OutcomeKind::Assigned
    };
    vec![
        Layer { name: success.as_str(), style: style(success), count: Box::new(|second| second.assigned) },
        Layer {
            name: "ended otherwise",
            style: style(OutcomeKind::Refused),
            count: Box::new(|second| second.refused),
        },
        Layer { name: "shed", style: style(OutcomeKind::Shed), count: Box::new(|second| second.shed) },
    ]
}

/// Requests and connections made again.
pub(crate) fn retries(record: &Record) -> Option<Drawing> {
    let layers = if causes_are_known(record) { causes() } else { causeless() };
    let layers = present(record, layers);
    let stack = Stack { axis: "requests made again", layers: &layers };
    let (columns, canvas, highest) = stack.draw(record)?;
    let marked = events::in_words(record);
    let label = format!("Stacked bars of retries over time: {}.", stack.sums(record).join(", "));
    Some(Drawing {
        id: "retries",
        title: "Retries".to_owned(),
        note: format!(
            "Requests and connections made again, stacked from 0; a bar is {}{}. The legend has the sums. Highest \
             bar: {}.{marked}",
            columns.one_in_words(),
            columns.rest_in_words(),
            grouped(highest),
        ),
        svg: canvas.finish(&label),
        #[cfg(test)]
        label,
        table: stack.table(record, "Retries over time", "requests and connections made again")?,
    })
}

/// Whether the seconds add up to the causes that the record has for the whole run. Those of older programs, and what is
/// merged from them, have retries by second and not by cause.
fn causes_are_known(record: &Record) -> bool {
    let sum = |count: fn(&Second) -> u64| record.per_second.iter().map(count).sum::<u64>();
    let sums = (sum(|second| second.retries), sum(|second| second.throttled));
    sums == (record.retries.total(), record.retries.throttled)
}

fn causes() -> Vec<Layer<'static>> {
    vec![
        Layer {
            name: "asked to come back later",
            style: style(OutcomeKind::Throttled),
            count: Box::new(|second| second.throttled),
        },
        Layer {
            name: "after errors and timeouts",
            style: style(OutcomeKind::Refused),
            count: Box::new(|second| second.retries.saturating_sub(second.throttled)),
        },
    ]
}

fn causeless() -> Vec<Layer<'static>> {
    let style = style(OutcomeKind::Assigned);
    vec![Layer { name: "retries", style, count: Box::new(|second| second.retries) }]
}

/// The layers that there is any of.
fn present<'l>(record: &Record, mut layers: Vec<Layer<'l>>) -> Vec<Layer<'l>> {
    layers.retain(|layer| total(record, layer) > 0);
    layers
}

fn total(record: &Record, layer: &Layer<'_>) -> u64 {
    record.per_second.iter().map(|second| (layer.count)(second)).sum()
}

/// Layers on one scale.
struct Stack<'l> {
    /// What is counted.
    axis: &'static str,
    layers: &'l [Layer<'l>],
}

impl Stack<'_> {
    /// The columns, the drawing, and the highest bar; nothing where nothing is counted.
    fn draw<'r>(&self, record: &'r Record) -> Option<(Columns<'r>, Canvas, u64)> {
        let columns = Columns::of(record, MOST_BARS)?;
        let counts: Vec<Vec<u64>> = self.layers.iter().map(|layer| columns.sums(&layer.count)).collect();
        let heights =
            (0..columns.count()).map(|column| counts.iter().map(|counts| counts[column]).sum::<u64>());
        let highest = heights.max().filter(|highest| *highest > 0)?;
        let scale = Scale::linear(highest as f64);
        let names = self.layers.iter().zip(self.sums(record));
        let legend: Vec<_> = names.map(|(layer, name)| (Swatch::Bar(layer.style), name)).collect();
        let axis = format!("{} per {}", self.axis, columns.length_in_words());
        let mut canvas = Canvas::new(&axis, &format!("peak {}", grouped(highest)), &legend, PLOT);
        canvas.upright_axis(&scale.ticks(number));
        self.bars(&mut canvas, &columns, &scale, &counts);
        time_axis(&mut canvas, &columns);
        events::mark(&mut canvas, &columns, record);
        Some((columns, canvas, highest))
    }

    /// Each layer upon those before it.
    fn bars(&self, canvas: &mut Canvas, columns: &Columns<'_>, scale: &Scale, counts: &[Vec<u64>]) {
        let width = (RIGHT - LEFT) / columns.count() as f64 * THICKNESS;
        let mut below = vec![0_u64; columns.count()];
        for (layer, counts) in self.layers.iter().zip(counts) {
            let mut path = String::new();
            for (column, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                let [from, to] =
                    [below[column], below[column] + count].map(|count| scale.share(count as f64));
                let x = canvas.x(columns.middle(column));
                path.push_str(&format!("M{} {}V{}", short(x), short(canvas.y(from)), short(canvas.y(to))));
                below[column] += count;
            }
            canvas.bars(layer.style, width, &path);
        }
    }

    /// The name and the sum of each layer.
    fn sums(&self, record: &Record) -> Vec<String> {
        self.layers.iter().map(|layer| format!("{} {}", layer.name, grouped(total(record, layer)))).collect()
    }

    fn table(&self, record: &Record, title: &'static str, unit: &str) -> Option<Table> {
        let columns = Columns::of(record, MOST_ROWS)?;
        let counts: Vec<Vec<u64>> = self.layers.iter().map(|layer| columns.sums(&layer.count)).collect();
        let row = |column| {
            let cells = counts.iter().map(|counts: &Vec<u64>| grouped(counts[column]));
            std::iter::once(columns.name(column)).chain(cells).collect()
        };
        Some(Table {
            title,
            note: format!("{unit} in the seconds of a row"),
            head: std::iter::once("second").chain(self.layers.iter().map(|layer| layer.name)).collect(),
            words: 1,
            rows: (0..columns.count()).map(row).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::tests::{bottom, paths};
    use crate::record::Retries;

    /// The bars of a layer: from where to where, as shares of the plot.
    fn spans(svg: &str, class: &str) -> Vec<(f64, f64)> {
        let share = |y: &str| (bottom(svg) - y.parse::<f64>().expect("a place")) / PLOT;
        let bar = |bar: &str| {
            let (from, to) = bar.split_once(' ')?.1.split_once('V')?;
            Some((share(from), share(to)))
        };
        // The first path of a class is the swatch of the legend.
        paths(svg, class).iter().skip(1).flat_map(|path| path.split('M').filter_map(bar)).collect()
    }

    fn close(found: &[(f64, f64)], expected: &[(f64, f64)]) {
        let near =
            |((a, b), (c, d)): (&(f64, f64), &(f64, f64))| (a - c).abs() < 1e-3 && (b - d).abs() < 1e-3;
        assert!(
            found.len() == expected.len() && found.iter().zip(expected).all(near),
            "{found:?}, not {expected:?}"
        );
    }

    fn second(t: u64, kinds: &[(OutcomeKind, u64)]) -> Second {
        Second { t, outcomes: kinds.iter().copied().collect(), ..Second::default() }
    }

    #[test]
    fn outcomes_stand_upon_each_other_from_0() {
        use OutcomeKind::{Assigned, Refused, Shed};
        let seconds = vec![second(0, &[(Assigned, 6), (Refused, 2), (Shed, 2)]), second(2, &[(Shed, 5)])];
        let drawing = outcomes(&Record { per_second: seconds, ..Record::default() }).expect("a drawing");
        close(&spans(&drawing.svg, "stack s1 p1"), &[(0.0, 0.6)]);
        close(&spans(&drawing.svg, "stack s5 p3"), &[(0.6, 0.8)]);
        close(&spans(&drawing.svg, "stack s2 p9"), &[(0.8, 1.0), (0.0, 0.5)]);
        assert_eq!(drawing.table.head, ["second", "assigned", "refused", "shed"]);
        assert_eq!(
            drawing.table.rows,
            [["0 s", "6", "2", "2"], ["1 s", "0", "0", "0"], ["2 s", "0", "0", "5"]]
        );
    }

    #[test]
    fn a_bar_of_many_seconds_is_their_sum() {
        let seconds = (0..240).map(|t| second(t, &[(OutcomeKind::Assigned, 1 + t / 120)])).collect();
        let drawing = outcomes(&Record { per_second: seconds, ..Record::default() }).expect("a drawing");
        let bars = spans(&drawing.svg, "stack s1 p1");
        close(&[bars[0], bars[119]], &[(0.0, 0.5), (0.0, 1.0)]);
        assert!(drawing.svg.contains(">peak 4<") && bars.len() == 120);
        let sum: u64 = drawing.table.rows.iter().map(|row| row[1].parse::<u64>().expect("a number")).sum();
        assert_eq!(sum, 360);
    }

    #[test]
    fn ways_to_end_are_told_apart_without_colour() {
        let patterns: std::collections::BTreeSet<_> = OutcomeKind::ALL
            .iter()
            .map(|kind| style(*kind).bar().split_once(" p").map(|(_, p)| p.to_owned()))
            .collect();
        assert_eq!(patterns.len(), OutcomeKind::ALL.len());
    }

    #[test]
    fn a_record_without_outcomes_by_second_has_those_it_knows() {
        let second = Second { assigned: 3, refused: 1, shed: 4, ..Second::default() };
        let drawing = outcomes(&Record { per_second: vec![second], ..Record::default() }).expect("a drawing");
        assert_eq!(drawing.table.rows, [["0 s", "3", "1", "4"]]);
        assert!(outcomes(&Record { per_second: vec![Second::default()], ..Record::default() }).is_none());
    }

    #[test]
    fn what_ended_in_no_second_is_said() {
        let mut record =
            Record { per_second: vec![second(0, &[(OutcomeKind::Assigned, 6)])], ..Record::default() };
        record.outcomes.assigned = 6;
        let silent = outcomes(&record).expect("a drawing").note;
        record.outcomes.interrupted = 4;
        assert_ne!(outcomes(&record).expect("a drawing").note, silent);
    }

    #[test]
    fn retries_are_split_by_who_asked_for_them() {
        let seconds = vec![
            Second { retries: 8, throttled: 6, ..Second::default() },
            Second { t: 1, ..Second::default() },
        ];
        let causes = Retries { throttled: 6, timeout: 2, ..Retries::default() };
        let record = Record { per_second: seconds, retries: causes, ..Record::default() };
        let drawing = retries(&record).expect("a drawing");
        close(&spans(&drawing.svg, "stack s2 p6"), &[(0.0, 0.75)]);
        close(&spans(&drawing.svg, "stack s5 p3"), &[(0.75, 1.0)]);
        assert!(retries(&Record { per_second: vec![Second::default()], ..Record::default() }).is_none());
    }

    #[test]
    fn retries_whose_seconds_do_not_know_their_causes_are_not_split() {
        for (throttled, totals) in [(0, [6, 2]), (3, [6, 2]), (6, [6, 9])] {
            let [asked, timeout] = totals;
            let record = Record {
                per_second: vec![Second { retries: 8, throttled, ..Second::default() }],
                retries: Retries { throttled: asked, timeout, ..Retries::default() },
                ..Record::default()
            };
            let drawing = retries(&record).expect("a drawing");
            assert_eq!(
                (drawing.table.head, drawing.table.rows),
                (vec!["second", "retries"], vec![vec!["0 s".to_owned(), "8".to_owned()]])
            );
            close(&spans(&drawing.svg, "stack s1 p1"), &[(0.0, 1.0)]);
        }
    }
}
