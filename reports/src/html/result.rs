//! What the run is worth, and who rolled up where.

use super::block::{Block, Line, MOST_ROWS, Section, Sheet, cell, clipped, more, sentence};
use super::endings::foremost;
use crate::chart;
use crate::compare::{Comparison, Judgement};
use crate::record::{Record, RollUp, VerdictKind};
use crate::view::{
    self, Place, Table, Tree, allowed, allowed_mark, capacity_in_short, counted, exit, expected, figures,
    findings, gates, generator, grouped, matrix_table, percent, purpose, throughput, totals, tree, worth,
};

/// The most ways of the roll-up on the page.
const MOST_WAYS: usize = 80;
/// The longest name in the roll-up, in bytes of HTML.
const LONGEST_NAME: usize = 160;
/// The most lines of one level of the roll-up that are not folded away at first.
const MOST_AT_A_GLANCE: usize = 12;
/// The most gates that are not folded away.
const MOST_GATES: usize = 6;
/// The most metrics that the verdict names.
const MOST_NAMED: usize = 4;
/// The most steps of the set-up.
const MOST_STEPS: usize = 24;
/// More groups than these do not stand side by side on a page.
const MOST_GROUPS: usize = 8;

/// The class of the verdict: whether the figures stand, and are what was asked for, and no worse than the baseline.
pub(super) fn tone(record: &Record, comparison: Option<&Comparison>) -> &'static str {
    match record.verdict.kind {
        VerdictKind::Good if comparison.is_some_and(|comparison| comparison.regressed) => "warn",
        VerdictKind::Good => "good",
        VerdictKind::Interrupted | VerdictKind::GeneratorLimited => "warn",
        VerdictKind::GateFailed | VerdictKind::Invalid => "bad",
    }
}

/// What the run is worth and why, with its gates.
pub(super) fn verdict(record: &Record, comparison: Option<&Comparison>) -> Section {
    let (status, meaning) = exit(record);
    let mut blocks: Vec<Block> =
        purpose(record).map(|text| Block::Purpose(cell(&text))).into_iter().collect();
    blocks.extend(capacity_in_short(record).map(|answer| Block::Lead(cell(&answer))));
    blocks.push(Block::text(worth(record)));
    blocks.extend(Block::list(&record.verdict.reasons));
    blocks.extend(comparison.and_then(worse).map(Block::Warning));
    blocks.push(Block::Figures(figures(record)));
    blocks.push(Block::Lead(totals(record)));
    blocks.extend(foremost(record));
    blocks.push(Block::Text(format!(
        "{} {}. {}",
        sentence(&expected(record)),
        throughput(record),
        sentence(&format!("exit status {status}: {meaning}"))
    )));
    blocks.extend(gate_sheets(record));
    let mut facts = findings(record);
    facts.push(("generator", generator(record)));
    blocks.extend(Block::folded_facts("What else was found", facts));
    Section::new("verdict", "Verdict", blocks)
}

/// That the run is worse than its baseline, and by what, if it is.
fn worse(comparison: &Comparison) -> Option<String> {
    let metrics: Vec<&str> = comparison
        .rows
        .iter()
        .filter(|row| row.judgement == Judgement::Worse)
        .map(|row| row.metric.as_str())
        .collect();
    let named: Vec<String> =
        metrics.iter().take(MOST_NAMED).map(|name| clipped(name, LONGEST_NAME)).collect();
    let others = match metrics.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        others => format!(" and {} more", grouped(others as u64)),
    };
    let end = if named.is_empty() { ".".to_owned() } else { format!(": {}{others}.", named.join(", ")) };
    comparison.regressed.then(|| format!("Worse than the baseline{end}"))
}

/// The gates: those that were not met first, and what does not fit folded away.
fn gate_sheets(record: &Record) -> Vec<Block> {
    let mut table = gates(record);
    if table.rows.is_empty() {
        return vec![Block::text("The scenario has no gates.")];
    }
    let rest = table.rows.split_off(table.rows.len().min(MOST_GATES));
    let others = Table { title: "More gates", note: String::new(), rows: rest, ..table.clone() };
    let others = (!others.rows.is_empty()).then(|| Block::Folded(Sheet::of(others)));
    [Block::Sheet(Sheet::of(table))].into_iter().chain(others).collect()
}

/// The roll-up, from the roots to the hubs.
pub(super) fn roll_up(record: &Record) -> Section {
    let tree = tree(record, MOST_WAYS);
    let sum = match tree.below.is_empty() {
        true => "Nobody was assigned by way of a group, so nothing rolled up.".to_owned(),
        false => format!(
            "Root, intermediates, enrollment group, hub: {} rolled up, {}. A bar is the share of the plan.",
            counted(tree.actual, "device"),
            known(tree.expected, &record.roll_up)
        ),
    };
    let mut lines = lines(record, &tree);
    fold(&mut lines);
    let mut blocks = set_up(record);
    blocks.push(Block::Text(sum));
    blocks.extend((!lines.is_empty()).then_some(Block::Tree(lines)));
    Section::new("roll-up", "Roll-up", blocks)
}

/// How the service was set up, where the record knows, and then the heading of what follows.
fn set_up(record: &Record) -> Vec<Block> {
    let steps = view::set_up(record);
    let all = steps.len();
    let mut shown: Vec<String> = steps.iter().take(MOST_STEPS).map(|step| cell(step)).collect();
    shown.extend(more(all, shown.len()));
    match all {
        0 => Vec::new(),
        _ => vec![
            Block::Heading("How the instance was set up"),
            Block::Steps(shown),
            Block::Heading("Who rolled up where"),
        ],
    }
}

/// What is known of how many should roll up, in all and by each way.
fn known(expected: Option<u64>, ways: &[RollUp]) -> String {
    let open = ways.iter().filter(|way| way.expected.is_none()).count() as u64;
    match (expected, open) {
        (None, _) => "how many should is open".to_owned(),
        (Some(expected), 0) => format!("{} expected", grouped(expected)),
        (Some(expected), open) => format!(
            "{} expected in all; by {} of {} the expectation is open",
            grouped(expected),
            grouped(open),
            counted(ways.len() as u64, "way")
        ),
    }
}

/// The roots and all below them, and then those that were not assigned, as items of nested lists.
fn lines(record: &Record, tree: &Tree) -> Vec<Line> {
    let mut lines = Vec::new();
    tree.below.iter().for_each(|root| add(record, &mut lines, root));
    lines.extend((tree.more > 0).then(|| left_out(tree.more)));
    let (expected, actual) = tree.not_assigned;
    if actual > 0 || expected.is_some_and(|expected| expected > 0) {
        let name = "not assigned".to_owned();
        lines.push(Line { link: Some("outcomes"), ..line(record, "", name, expected, actual) });
    }
    lines
}

fn add(record: &Record, lines: &mut Vec<Line>, place: &Place) {
    let name = clipped(&place.name, LONGEST_NAME);
    let opens = !place.below.is_empty() || place.more > 0;
    lines.push(Line { opens, ..line(record, place.kind, name, place.expected, place.actual) });
    place.below.iter().for_each(|below| add(record, lines, below));
    lines.extend((place.more > 0).then(|| left_out(place.more)));
    if let Some(last) = lines.last_mut().filter(|_| opens) {
        last.closes += 1;
    }
}

fn line(record: &Record, kind: &'static str, name: String, expected: Option<u64>, actual: u64) -> Line {
    let mark = allowed_mark(record, expected, actual);
    let share = actual as f64 / record.planned.max(actual).max(1) as f64;
    Line {
        kind,
        counts: match expected {
            Some(0) if actual > 0 => format!("{}, none expected", grouped(actual)),
            Some(expected) => format!("{} of {} expected", grouped(actual), grouped(expected)),
            None => format!("{}, expectation open", grouped(actual)),
        },
        mark: if expected.is_some() { mark } else { "" },
        differs: mark == "differs",
        share: percent(share).replace(' ', ""),
        ..Line::note(name)
    }
}

fn left_out(count: u64) -> Line {
    Line::note(format!("and {} more in run.json", grouped(count)))
}

/// Folds away what is below the places of a level, from the first level on that has more lines than a reader takes in
/// at a glance. A place below which something differs stays open.
fn fold(lines: &mut [Line]) {
    let levels = levels(lines);
    let many = |level: &usize| levels.iter().filter(|of| *of == level).count() > MOST_AT_A_GLANCE;
    let Some(first) = (1..=levels.iter().copied().max().unwrap_or_default()).find(many) else { return };
    for at in 0..lines.len() {
        let below = levels[at + 1..].iter().take_while(|level| **level > levels[at]).count();
        let differs = lines[at + 1..=at + below].iter().any(|line| line.differs);
        lines[at].folded = lines[at].opens && levels[at] + 1 >= first && !differs;
    }
}

/// How deep each line stands.
fn levels(lines: &[Line]) -> Vec<usize> {
    let mut level = 0;
    let next = |line: &Line| {
        let here = level;
        level = (level + usize::from(line.opens)).saturating_sub(line.closes);
        here
    };
    lines.iter().map(next).collect()
}

/// Enrollment groups beside intermediates: side by side while they fit, and else below each other.
pub(super) fn matrix(record: &Record) -> Section {
    let matrix = view::matrix(record);
    let table = matrix_table(record);
    let sheet = match matrix.groups.len() {
        0 => None,
        1..=MOST_GROUPS => Some(Block::Sheet(side_by_side(record, &matrix, &table.note))),
        _ => Block::sheet(table),
    };
    let why = "Nobody was assigned by way of a group, so there is nothing to put side by side.";
    Section::or_why("matrix", "Groups and intermediates", sheet.into_iter().collect(), why)
}

fn side_by_side(record: &Record, matrix: &view::Matrix, note: &str) -> Sheet {
    let allowed = allowed(record);
    let shown = |cell: &Option<view::Cell>| match *cell {
        None => "-".to_owned(),
        Some((None, actual)) => grouped(actual),
        Some((Some(expected), actual)) if expected == actual => grouped(actual),
        Some((Some(expected), actual)) if allowed => {
            format!("{} of {} expected", grouped(actual), grouped(expected))
        }
        Some((Some(expected), actual)) => format!("{} DIFFERS from {}", grouped(actual), grouped(expected)),
    };
    let row = |(issuer, cells): &(String, Vec<Option<view::Cell>>)| {
        std::iter::once(clipped(issuer, LONGEST_NAME)).chain(cells.iter().map(shown)).collect()
    };
    let groups = matrix.groups.iter().map(|group| clipped(group, LONGEST_NAME));
    Sheet {
        title: "Devices of a group by CA".to_owned(),
        note: sentence(note),
        head: std::iter::once("root > intermediates".to_owned()).chain(groups).collect(),
        words: 1,
        rows: matrix.rows.iter().take(MOST_ROWS).map(row).collect(),
        all: matrix.rows.len(),
    }
}

/// What each hub got, beside what the allocation policy leads one to expect.
pub(super) fn hubs(record: &Record) -> Section {
    let table = view::hubs(record);
    let why = format!("{}.", table.note);
    let mut blocks: Vec<Block> = Block::chart(chart::hubs(record)).into_iter().collect();
    blocks.extend(Block::sheet(table));
    Section::or_why("hubs", "Hubs and the allocation policy", blocks, &why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::demo;

    #[test]
    fn every_list_of_the_roll_up_that_opens_closes() {
        let mut record = demo();
        let way = record.roll_up[0].clone();
        record.roll_up = (0..150)
            .map(|n| crate::RollUp {
                hub: format!("hub-{n}"),
                group: format!("g-{}", n / 50),
                root: format!("R-{}", n / 75),
                ..way.clone()
            })
            .collect();
        let Section { blocks, .. } = roll_up(&record);
        let lines = blocks.iter().find_map(|block| match block {
            Block::Tree(lines) => Some(lines),
            _ => None,
        });
        let lines = lines.expect("a tree");
        let mut depth = 0;
        for line in lines {
            depth += usize::from(line.opens);
            depth -= line.closes;
        }
        assert_eq!(depth, 0);
        let hubs = lines.iter().filter(|line| line.kind == "hub").count();
        let not_assigned = lines.last().map(|line| (line.counts.as_str(), line.link));
        assert_eq!((hubs, not_assigned), (MOST_WAYS, Some(("6 of 6 expected", Some("outcomes")))));
    }
}
