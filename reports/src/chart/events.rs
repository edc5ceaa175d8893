//! Where the operator did something during a run: a mark in every chart over time, and the names in its note.

use super::canvas::{Canvas, LEFT, RIGHT, WIDTH, cut, text_width};
use super::columns::Columns;
use crate::EventDone;
use crate::record::Record;
use crate::view::{decimal, grouped};

/// More marks cannot be told apart.
const MOST: usize = 20;
/// Up to so many are named in the drawing, by so much of their names; more have their numbers.
const NAMED: usize = 3;
const LETTERS: usize = 24;
/// The most of a name that a note has.
const LETTERS_OF_A_NOTE: usize = 60;
/// The most names that a note has: it stands below every chart over time.
const MOST_IN_A_NOTE: usize = 8;
/// Rows of names in the plot; a name that finds no room is only in the note.
const ROWS: usize = 4;

/// Marks the moment of each event.
pub(super) fn mark(canvas: &mut Canvas, columns: &Columns<'_>, record: &Record) {
    let mut free = [f64::MIN; ROWS];
    for (at, event) in record.events.iter().take(MOST).enumerate() {
        let share = columns.moment(event.at_seconds);
        let name = name(at, event, record.events.len());
        let (from, to) = extent(LEFT + share * (RIGHT - LEFT), text_width(&name));
        let row = free.iter().position(|free| *free <= from);
        if let Some(free) = row.and_then(|row| free.get_mut(row)) {
            *free = to;
        }
        canvas.event(share, if row.is_some() { &name } else { "" }, row.unwrap_or_default());
    }
}

fn name(at: usize, event: &EventDone, events: usize) -> String {
    match events <= NAMED {
        true => format!("{}: {}", at + 1, clipped(&event.what, LETTERS)),
        false => (at + 1).to_string(),
    }
}

/// From where to where a name stands: right of its line, or left of it where there is no room.
fn extent(x: f64, width: f64) -> (f64, f64) {
    if x + 5.0 + width > WIDTH { (x - 5.0 - width, x + 5.0) } else { (x - 5.0, x + 5.0 + width) }
}

fn clipped(text: &str, letters: usize) -> String {
    cut(text, text_width(&"x".repeat(letters)))
}

/// What the marks are, as the end of a note; nothing where there are none.
pub(super) fn in_words(record: &Record) -> String {
    let one = |(at, event): (usize, &EventDone)| {
        let failed = if event.failed.is_some() { " (FAILED)" } else { "" };
        format!(
            "{}: {}{failed} at {} s",
            at + 1,
            clipped(&event.what, LETTERS_OF_A_NOTE),
            decimal(event.at_seconds)
        )
    };
    let named: Vec<_> = record.events.iter().take(MOST_IN_A_NOTE).enumerate().map(one).collect();
    let more = match record.events.len().saturating_sub(MOST_IN_A_NOTE) {
        0 => String::new(),
        more => format!(" and {} more", grouped(more as u64)),
    };
    if named.is_empty() { String::new() } else { format!(" Dashed lines: {}{more}.", named.join(", ")) }
}

#[cfg(test)]
mod tests {
    use crate::EventDone;
    use crate::chart::canvas::{LEFT, RIGHT};
    use crate::chart::tests::{paths, run};
    use crate::chart::{all, in_flight};
    use crate::drawing::Drawing;
    use crate::record::Record;

    /// A run of ten seconds in which so much happened when.
    fn eventful(events: &[(f64, &str)]) -> Record {
        let event = |(at_seconds, what): &(f64, &str)| EventDone {
            at_seconds: *at_seconds,
            what: (*what).to_owned(),
            ..EventDone::default()
        };
        Record { events: events.iter().map(event).collect(), ..run(10) }
    }

    /// Where the marks of a drawing are, as shares of its width.
    fn marks(drawing: &Drawing) -> Vec<f64> {
        let x =
            |path: &str| path.trim_start_matches('M').split(' ').next().and_then(|x| x.parse::<f64>().ok());
        let marks = paths(&drawing.svg, "event").into_iter().filter_map(x);
        marks.map(|x| (x - LEFT) / (RIGHT - LEFT)).collect()
    }

    #[test]
    fn a_mark_stands_at_its_moment_in_every_chart_over_time() {
        let record = eventful(&[(5.0, "CA deleted"), (2.5, "group disabled")]);
        let over_time = ["rates", "in-flight", "held", "percentiles", "outcomes", "throttling", "retries"];
        for drawing in all(&record) {
            let found = marks(&drawing);
            if !over_time.contains(&drawing.id) {
                assert!(found.is_empty(), "{}", drawing.id);
                continue;
            }
            assert_eq!(found.len(), 2, "{}", drawing.id);
            for (found, share) in found.iter().zip([0.5, 0.25]) {
                assert!((found - share).abs() < 0.001, "{}: {found}", drawing.id);
            }
            assert!(drawing.svg.contains(">1: CA deleted<"), "{}", drawing.id);
            assert!(
                drawing.note.contains("1: CA deleted at 5.0 s, 2: group disabled at 2.5 s"),
                "{}",
                drawing.note
            );
        }
        assert!(all(&run(10)).iter().all(|drawing| marks(drawing).is_empty()));
    }

    #[test]
    fn names_do_not_run_into_each_other_and_none_stands_beside_the_sheet() {
        let close = eventful(&[(9.0, "the first of all of them by name"), (9.0, "one"), (9.9, "<two>")]);
        let drawing = in_flight(&close).expect("a drawing");
        let texts =
            drawing.svg.split("<text ").filter(|text| ["1: ", "2: ", "3: "].iter().any(|n| text.contains(n)));
        let heights: std::collections::BTreeSet<_> =
            texts.filter_map(|text| text.split(" y=\"").nth(1)?.split('"').next()).collect();
        assert_eq!(heights.len(), 3, "{}", drawing.svg);
        assert!(drawing.svg.contains("3: &lt;two&gt;") && !drawing.svg.contains("by name"));
        let late = in_flight(&eventful(&[(1e9, "after the end"), (-1.0, "before")])).expect("a drawing");
        assert_eq!(marks(&late), [1.0, 0.0]);
    }

    #[test]
    fn of_many_events_the_first_are_marked_by_their_numbers() {
        let events: Vec<_> = (0..50).map(|at| (f64::from(at) / 5.0, "again")).collect();
        let drawing = in_flight(&eventful(&events)).expect("a drawing");
        assert_eq!(marks(&drawing).len(), 20);
        assert!(drawing.svg.contains(">20<") && drawing.note.contains("and 42 more"), "{}", drawing.note);
    }
}
