//! A page that is too large, made smaller: every list and every text of it, by the same measure.
//!
//! The parts of a page have limits of their own, which serve what a record can reasonably hold. What a record holds of
//! everything at once, or of what nobody thought of, is cut here, half as much each time, until the page fits.

use super::block::{
    Block, Cause, LONGEST_FACT, LONGEST_TEXT, Line, MOST_ROWS, Section, Sheet, Trail, clipped, more,
};

/// The largest drawing that is kept when a page is made smaller for the first time, in bytes.
const LARGEST_DRAWING: usize = 200_000;
/// The longest source text at first, in bytes of HTML.
const LONGEST_SOURCE: usize = 80_000;

/// The first measure that is tried: each halves the limits of the one before.
pub(super) const FIRST: u32 = 1;
/// The last: a row of each table, and some words of each text.
pub(super) const LAST: u32 = 6;

/// Cuts a section to so many halvings of what its parts may hold.
pub(super) fn tighten(section: &mut Section, halvings: u32) {
    section.blocks.truncate(half(MOST_ROWS, halvings).max(8));
    section.blocks.iter_mut().for_each(|block| cut(block, halvings));
}

/// A limit, halved so often, and never nothing.
fn half(most: usize, halvings: u32) -> usize {
    (most >> halvings).max(1)
}

fn cut(block: &mut Block, halvings: u32) {
    let too_large = match block {
        Block::Chart(chart) => chart.svg.len() > half(LARGEST_DRAWING, halvings),
        _ => false,
    };
    if too_large {
        *block = Block::text("This drawing is left out, because the page would be too large with it.");
    }
    match block {
        Block::Heading(_) => {}
        Block::Lead(text) | Block::Purpose(text) | Block::Warning(text) | Block::Text(text) => {
            shorten(text, halvings);
        }
        Block::Foremost(foremost) => {
            foremost.reasons.iter_mut().flatten().for_each(|text| shorten(text, halvings));
        }
        Block::List(items) | Block::Steps(items) => {
            let all = items.len();
            items.truncate(half(MOST_ROWS, halvings));
            items.iter_mut().for_each(|item| shorten(item, halvings));
            items.extend(more(all, items.len()));
        }
        Block::Facts(facts) | Block::Figures(facts) | Block::FoldedFacts(_, facts) => {
            facts.iter_mut().for_each(|(_, value)| clip(value, half(LONGEST_FACT, halvings)));
        }
        Block::Sheet(sheet) | Block::Folded(sheet) => rows(sheet, halvings),
        Block::Chart(chart) => {
            shorten(&mut chart.note, halvings);
            rows(&mut chart.numbers, halvings);
        }
        Block::Tree(lines) => branches(lines, halvings),
        Block::Samples(trails) => samples(trails, halvings),
        Block::Reasons(reasons) => {
            reasons.shown.truncate(half(MOST_ROWS, halvings));
            reasons.folded.truncate(half(MOST_ROWS, halvings) - 1);
            let causes = reasons.shown.iter_mut().chain(&mut reasons.folded);
            causes.for_each(|reason| cause(reason, halvings));
        }
        Block::Source(_, text) => clip(text, half(LONGEST_SOURCE, halvings)),
    }
}

fn shorten(text: &mut String, halvings: u32) {
    clip(text, half(LONGEST_TEXT, halvings));
}

fn clip(text: &mut String, most: usize) {
    *text = clipped(text, most);
}

fn rows(sheet: &mut Sheet, halvings: u32) {
    sheet.rows.truncate(half(MOST_ROWS, halvings));
    shorten(&mut sheet.title, halvings);
    shorten(&mut sheet.note, halvings);
    let cells = sheet.head.iter_mut().chain(sheet.rows.iter_mut().flatten());
    cells.for_each(|cell| shorten(cell, halvings));
}

fn samples(trails: &mut Vec<Trail>, halvings: u32) {
    trails.truncate(half(MOST_ROWS, halvings));
    for trail in trails {
        shorten(&mut trail.registration_id, halvings);
        steps(&mut trail.steps, halvings);
    }
}

fn steps(steps: &mut Vec<String>, halvings: u32) {
    let all = steps.len();
    steps.truncate(half(MOST_ROWS, halvings));
    steps.iter_mut().for_each(|step| shorten(step, halvings));
    steps.extend(more(all, steps.len()));
}

fn cause(cause: &mut Cause, halvings: u32) {
    let Cause { what, said, sample, explanation, repair, defect, trail, .. } = cause;
    for text in [what, said, sample, explanation, repair].into_iter().chain(defect) {
        shorten(text, halvings);
    }
    steps(trail, halvings);
}

/// The first lines of the roll-up, with the lists that they open closed.
fn branches(lines: &mut Vec<Line>, halvings: u32) {
    let all = lines.len();
    lines.truncate(half(4 * MOST_ROWS, halvings));
    lines.iter_mut().for_each(|line| shorten(&mut line.name, halvings));
    let Some(left) = more(all, lines.len()) else { return };
    let opened = lines.iter().filter(|line| line.opens).count();
    let closed: usize = lines.iter().map(|line| line.closes).sum();
    lines.push(Line { closes: opened - closed, ..Line::note(format!("{left} lines or more")) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roll_up_that_is_cut_closes_what_it_opens() {
        let line = |n: usize| Line {
            opens: n < 250,
            closes: if n == 299 { 250 } else { 0 },
            ..Line::note(n.to_string())
        };
        for halvings in FIRST..=LAST {
            let mut lines: Vec<Line> = (0..300).map(line).collect();
            branches(&mut lines, halvings);
            assert_eq!(lines.len(), (240 >> halvings) + 1);
            let opened = lines.iter().filter(|line| line.opens).count();
            assert_eq!(opened, lines.iter().map(|line| line.closes).sum::<usize>());
        }
    }
}
