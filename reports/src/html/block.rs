//! What a section of the page is made of, cut to a size that a page can bear.

use crate::drawing::Drawing;
use crate::view::{Table, grouped};

/// The most rows of a table on the page, unless a section says otherwise.
pub(super) const MOST_ROWS: usize = 60;
/// The longest text in a cell or a list, in bytes of HTML. ours: five lines of the page.
pub(super) const LONGEST_TEXT: usize = 600;
/// The most that the rows of a table, or the items of a list, come to, in bytes of HTML.
const MOST_BYTES: usize = 10_000;
/// The most that the numbers behind a chart come to: all sixty rows of ten columns.
const NUMBERS_BYTES: usize = 20_000;
/// What the marks around a cell come to, in bytes of HTML.
const CELL_BYTES: usize = 20;
/// The longest value of a fact: a command line is shown as it was.
pub(super) const LONGEST_FACT: usize = 4_000;

/// A section of the page.
pub(super) struct Section {
    /// What links to it name.
    pub(super) id: &'static str,
    /// Its heading.
    pub(super) title: &'static str,
    /// What it says, in order.
    pub(super) blocks: Vec<Block>,
    /// Whether all that it says is that there is nothing to say: it takes a line, and none among the links.
    pub(super) empty: bool,
}

impl Section {
    /// A section that says something.
    pub(super) fn new(id: &'static str, title: &'static str, blocks: Vec<Block>) -> Self {
        Self { id, title, blocks, empty: false }
    }

    /// A section that says something, or, where there is nothing to say, why.
    pub(super) fn or_why(id: &'static str, title: &'static str, blocks: Vec<Block>, why: &str) -> Self {
        let empty = blocks.is_empty();
        let blocks = if empty { vec![Block::text(why)] } else { blocks };
        Self { id, title, blocks, empty }
    }
}

/// A part of a section.
pub(super) enum Block {
    /// A sentence that stands out.
    Lead(String),
    /// What the scenario is meant to show.
    Purpose(String),
    /// A sentence that says what is not as it should be.
    Warning(String),
    /// A sentence.
    Text(String),
    /// A heading within the section.
    Heading(&'static str),
    /// Sentences.
    List(Vec<String>),
    /// What was done, in order.
    Steps(Vec<String>),
    /// What befell most of those that did not get what they wanted, and what repairs it.
    Foremost(Foremost),
    /// The figures that a reader looks for first, side by side: names and values.
    Figures(Vec<(&'static str, String)>),
    /// Names and values.
    Facts(Vec<(&'static str, String)>),
    /// Names and values under a title, folded away.
    FoldedFacts(&'static str, Vec<(&'static str, String)>),
    /// A table.
    Sheet(Sheet),
    /// A table that is folded away.
    Folded(Sheet),
    /// A chart and the numbers behind it.
    Chart(Chart),
    /// The roll-up.
    Tree(Vec<Line>),
    /// Arrivals, step by step.
    Samples(Vec<Trail>),
    /// Why arrivals did not get what they wanted.
    Reasons(Causes),
    /// A text as it was written, folded away.
    Source(&'static str, String),
}

impl Block {
    /// A sentence, cut if it is too long.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(sentence(text))
    }

    /// Sentences, as many as fit; none at all where there are none.
    pub(super) fn list(items: &[String]) -> Option<Self> {
        let mut shown: Vec<String> = items.iter().take(MOST_ROWS).map(|item| cell(item)).collect();
        shown.truncate(fitting(&shown, MOST_BYTES, |item| html_bytes(item)));
        shown.extend(more(items.len(), shown.len()));
        (!items.is_empty()).then_some(Self::List(shown))
    }

    /// Names and values, cut; none at all where there are none.
    pub(super) fn facts(facts: Vec<(&'static str, String)>) -> Option<Self> {
        (!facts.is_empty()).then(|| Self::Facts(within(facts, LONGEST_FACT)))
    }

    /// Names and values that are folded away; none at all where there are none.
    pub(super) fn folded_facts(title: &'static str, facts: Vec<(&'static str, String)>) -> Option<Self> {
        (!facts.is_empty()).then(|| Self::FoldedFacts(title, within(facts, LONGEST_TEXT)))
    }

    /// A table, as far as it fits; none at all where it has no rows.
    pub(super) fn sheet(table: Table) -> Option<Self> {
        (!table.rows.is_empty()).then(|| Self::Sheet(Sheet::of(table)))
    }

    /// A chart, where there is something to draw.
    pub(super) fn chart(drawing: Option<Drawing>) -> Option<Self> {
        drawing.map(|drawing| Self::Chart(Chart::of(drawing)))
    }
}

/// Names and values, each value of at most so many bytes of HTML.
fn within(facts: Vec<(&'static str, String)>, most: usize) -> Vec<(&'static str, String)> {
    facts.into_iter().map(|(name, value)| (name, clipped(&value, most))).collect()
}

/// A table as it is shown.
pub(super) struct Sheet {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) head: Vec<String>,
    /// How many columns, from the left, hold text.
    pub(super) words: usize,
    pub(super) rows: Vec<Vec<String>>,
    /// How many rows there are in all.
    pub(super) all: usize,
}

impl Sheet {
    /// A table, as far as it fits.
    pub(super) fn of(table: Table) -> Self {
        Self::within(table, MOST_ROWS, MOST_BYTES)
    }

    /// A table of at most so many rows, which come to no more bytes of HTML than that.
    pub(super) fn within(table: Table, most: usize, bytes: usize) -> Self {
        let all = table.rows.len();
        let cut = |row: Vec<String>| row.iter().map(|text| cell(text)).collect();
        let mut rows: Vec<Vec<String>> = table.rows.into_iter().take(most).map(cut).collect();
        rows.truncate(fitting(&rows, bytes, |row| {
            row.iter().map(|text| CELL_BYTES + html_bytes(text)).sum()
        }));
        Self {
            title: table.title.to_owned(),
            note: sentence(&table.note),
            head: table.head.into_iter().map(str::to_owned).collect(),
            words: table.words,
            rows,
            all,
        }
    }

    /// How many rows are left out, in words.
    pub(super) fn more(&self) -> Option<String> {
        more(self.all, self.rows.len())
    }
}

/// A chart as it is shown.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) note: String,
    /// Safe, and with its label: see [`Drawing::svg`].
    pub(super) svg: String,
    pub(super) numbers: Sheet,
}

impl Chart {
    fn of(drawing: Drawing) -> Self {
        let title = drawing.title;
        let numbers = Sheet {
            title: format!("{title}: the numbers"),
            ..Sheet::within(drawing.table, MOST_ROWS, NUMBERS_BYTES)
        };
        Self { title, note: drawing.note, svg: drawing.svg, numbers }
    }
}

/// A place in the roll-up, as an item of nested lists.
pub(super) struct Line {
    /// Which kind of place.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) counts: String,
    /// What the counts come to, in a word.
    pub(super) mark: &'static str,
    pub(super) differs: bool,
    /// How much of the plan it is, in percent.
    pub(super) share: String,
    /// Where more about it is said.
    pub(super) link: Option<&'static str>,
    /// Whether a list of places below it begins after it.
    pub(super) opens: bool,
    /// Whether that list is folded away at first.
    pub(super) folded: bool,
    /// How many lists end after it.
    pub(super) closes: usize,
}

impl Line {
    /// A line without numbers.
    pub(super) const fn note(name: String) -> Self {
        Self {
            kind: "",
            name,
            counts: String::new(),
            mark: "",
            differs: false,
            share: String::new(),
            link: None,
            opens: false,
            folded: false,
            closes: 0,
        }
    }
}

/// One arrival, step by step.
pub(super) struct Trail {
    pub(super) outcome: &'static str,
    pub(super) registration_id: String,
    pub(super) steps: Vec<String>,
}

/// Reasons, the first of which are not folded away.
pub(super) struct Causes {
    pub(super) shown: Vec<Cause>,
    pub(super) folded: Vec<Cause>,
    /// How many there were before the page was made smaller.
    pub(super) all: usize,
}

impl Causes {
    /// How many were left out to make the page smaller, in words.
    pub(super) fn more(&self) -> Option<String> {
        more(self.all, self.shown.len() + self.folded.len())
    }
}

/// The largest reasons, in short.
pub(super) struct Foremost {
    /// What befell how many, and what repairs it.
    pub(super) reasons: Vec<[String; 2]>,
    /// How many reasons there are besides.
    pub(super) others: usize,
}

/// Why arrivals did not get what they wanted.
pub(super) struct Cause {
    pub(super) count: String,
    /// The outcome and the phase.
    pub(super) what: String,
    /// The code and the message.
    pub(super) said: String,
    /// Whether it was expected, in words.
    pub(super) judged: &'static str,
    pub(super) differs: bool,
    pub(super) defect: Option<String>,
    pub(super) sample: String,
    pub(super) explanation: String,
    pub(super) repair: String,
    pub(super) trail: Vec<String>,
}

impl Cause {
    /// What its texts come to, in bytes of HTML.
    pub(super) fn bytes(&self) -> usize {
        let texts = [&self.what, &self.said, &self.sample, &self.explanation, &self.repair];
        texts.into_iter().chain(&self.trail).map(|text| html_bytes(text)).sum()
    }
}

/// How many items are left out where so many are shown, in words.
pub(super) fn more(all: usize, shown: usize) -> Option<String> {
    let left = all.saturating_sub(shown);
    (left > 0).then(|| format!("and {} more in run.json", grouped(left as u64)))
}

/// How many of the items come to no more bytes than that; the first is always shown.
pub(super) fn fitting<T>(items: &[T], most: usize, bytes: impl Fn(&T) -> usize) -> usize {
    let mut sum = 0;
    let fits = |item: &&T| {
        sum += bytes(item);
        sum <= most
    };
    items.iter().take_while(fits).count().max(1)
}

/// How a cell looks: apart from the others if its words say that something is not as it should be.
pub(super) fn class_of(cell: &str, number: bool) -> Option<&'static str> {
    let differing = ["FAILED", "DIFFERS", "differs", "DOES NOT", "WORSE", "NOT "];
    match (differing.iter().any(|word| cell.contains(word)), number) {
        (true, true) => Some("n differing"),
        (true, false) => Some("differing"),
        (false, true) => Some("n"),
        (false, false) => None,
    }
}

/// A text in a cell or a list, cut if it is too long.
pub(super) fn cell(text: &str) -> String {
    clipped(text, LONGEST_TEXT)
}

/// A text of at most so many bytes of HTML, and a mark where it was cut.
pub(super) fn clipped(text: &str, most: usize) -> String {
    let mut bytes = 0;
    let mut fits = |c: char| {
        bytes += escaped_bytes(c);
        bytes <= most
    };
    match text.char_indices().find(|(_, c)| !fits(*c)) {
        Some((end, _)) => format!("{} [cut; all of it is in run.json]", &text[..end]),
        None => text.to_owned(),
    }
}

/// What a text comes to, in bytes of HTML.
fn html_bytes(text: &str) -> usize {
    text.chars().map(escaped_bytes).sum()
}

const fn escaped_bytes(c: char) -> usize {
    match c {
        '<' | '>' | '&' | '"' | '\'' => "&#60;".len(),
        c => c.len_utf8(),
    }
}

/// A text as a sentence: with a capital and a full stop.
pub(super) fn sentence(text: &str) -> String {
    let text = clipped(text.trim(), LONGEST_TEXT);
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return text };
    // A name stays as it is written.
    let word = letters.as_str().split(' ').next().unwrap_or_default();
    let first = match word.chars().any(|c| c.is_uppercase() || c == '.' || c == '_') {
        true => first.to_string(),
        false => first.to_uppercase().to_string(),
    };
    let end = if text.ends_with(['.', ':', '!', '?']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_what_they_come_to_on_the_page() {
        assert_eq!(clipped("plain", 5), "plain");
        assert!(clipped("plains", 5).starts_with("plain ["));
        assert!(clipped("<<<", 10).starts_with("<< ["));
        assert!(clipped("ééé", 5).starts_with("éé ["));
    }

    #[test]
    fn notes_become_sentences_and_names_stay_names() {
        for (note, written) in [
            ("all passed", "All passed."),
            ("The end.", "The end."),
            ("geoLatency: the nearest", "geoLatency: the nearest."),
            ("2 of 3 failed", "2 of 3 failed."),
            ("", ""),
        ] {
            assert_eq!(sentence(note), written);
        }
    }

    #[test]
    fn rows_left_out_are_counted() {
        let rows = |count: usize| Table {
            title: "T",
            note: String::new(),
            head: vec!["n"],
            words: 0,
            rows: (0..count).map(|n| vec![n.to_string()]).collect(),
        };
        let sheet = Sheet::of(rows(1_062));
        assert_eq!((sheet.rows.len(), sheet.more().as_deref()), (60, Some("and 1,002 more in run.json")));
        assert_eq!(Sheet::of(rows(60)).more(), None);
        assert!(Block::sheet(rows(0)).is_none());
        let sheet = Sheet::within(rows(9), 9, 2 * (CELL_BYTES + 1));
        assert_eq!((sheet.rows.len(), sheet.more().as_deref()), (2, Some("and 7 more in run.json")));
        assert_eq!(Sheet::within(rows(9), 9, 0).rows.len(), 1);
    }
}
