//! What is wrong with a scenario, where, and what repairs it.
//!
//! Rendered the way a compiler would: the message, the place, the line itself and a mark under it.

use std::cmp::Reverse;
use std::fmt;

/// Where a mistake was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a line of the scenario file.
    Line {
        /// The file as the caller named it.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// How many characters of the line are meant, at least 1.
        width: usize,
        /// The line itself, without its end.
        source_line: String,
    },
    /// In a value given elsewhere: by what, and the `key=value` as given, as in `--set fleet.devices=0`.
    Set(String),
}

impl Place {
    /// The place of `start..end` (bytes) in `text`.
    pub(crate) fn in_text(file: &str, text: &str, start: usize, end: usize) -> Self {
        let line = text.get(..start).unwrap_or(text).matches('\n').count() + 1;
        Self::on_line(file, text, line, start, end)
    }

    /// Likewise, where it is known that `start` is on this line.
    pub(crate) fn on_line(file: &str, text: &str, line: usize, start: usize, end: usize) -> Self {
        let before = text.get(..start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let source_line = rest.lines().next().unwrap_or_default().to_owned();
        let on_line = end.min(line_start + source_line.len());
        let width = text.get(start..on_line).map_or(1, |meant| meant.chars().count().max(1));
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Self::Line { file: file.to_owned(), line, column, width, source_line }
    }

    /// What diagnostics are sorted by: the file top down, then what overrides it.
    pub(crate) fn order(&self) -> (usize, usize) {
        match self {
            Self::Line { line, column, .. } => (*line, *column),
            Self::Set(_) => (usize::MAX, usize::MAX),
        }
    }
}

/// One mistake in a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it was made.
    pub place: Place,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let margin = match &self.place {
            Place::Set(given) => {
                write!(f, "\n  --> {given}")?;
                1
            }
            Place::Line { file, line, column, width, source_line } => {
                let margin = line.to_string().len();
                let (source, marks) = (untabbed(source_line), "^".repeat(*width));
                write!(f, "\n{:margin$}--> {file}:{line}:{column}", "")?;
                write!(f, "\n{:margin$} |\n{line} | {source}", "")?;
                write!(f, "\n{:margin$} | {:indent$}{marks}", "", "", indent = column.saturating_sub(1))?;
                margin
            }
        };
        match &self.help {
            Some(help) => write!(f, "\n{:margin$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}

/// A tab takes one column here, so that the mark stays under what it means.
fn untabbed(line: &str) -> String {
    line.replace('\t', " ")
}

/// Everything that is wrong with a scenario, in the order of the file; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n"))]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Sorted in the order of the file.
    pub(crate) fn sorted(mut found: Vec<Diagnostic>) -> Self {
        found.sort_by_key(|diagnostic| diagnostic.place.order());
        Self(found)
    }
}

/// The known word nearest to `word`, if one is near enough to have been meant: a third of its characters may be wrong,
/// but for one of them not all. Capitals, dashes and underscores do not count. Where none is, the one that shares most
/// words with it.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    nearest_by_characters(word, known).or_else(|| nearest_by_words(word, known))
}

fn nearest_by_characters<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = folded(word);
    let limit = (word.len() / 3).max(1).min(word.len().saturating_sub(1));
    let near = known.iter().map(|&candidate| (distance(&word, &folded(candidate)), candidate)).min()?;
    (near.0 <= limit).then_some(near.1)
}

/// Of those made of words with dashes between them, the one that has all words of `given` or most, and the fewest
/// others. One word is enough only where no other has it.
fn nearest_by_words<'k>(given: &str, known: &[&'k str]) -> Option<&'k str> {
    let given: Vec<_> = given.split('-').collect();
    let shared = |candidate: &str| {
        let words: Vec<_> = candidate.split('-').collect();
        let shared = given.iter().filter(|word| words.contains(word)).count();
        let is_near = shared == given.len() || 2 * shared > given.len().max(words.len());
        is_near.then_some((Reverse(shared), words.len()))
    };
    let mut near: Vec<_> =
        known.iter().filter_map(|candidate| Some((shared(candidate)?, *candidate))).collect();
    near.sort_unstable();
    match near.as_slice() {
        [_, _, ..] if given.len() == 1 => None,
        near => near.first().map(|(_, candidate)| *candidate),
    }
}

fn folded(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// How many characters have to be added, dropped or changed, or swapped with the next, to make one word of the other.
fn distance(a: &[char], b: &[char]) -> usize {
    // The rows of the word without its last two characters, and without its last one.
    let (mut before, mut row): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, (to, above)) in b.iter().zip(row.windows(2)).enumerate() {
            let &[diagonal, up] = above else { continue };
            let left = next.get(j).copied().unwrap_or(usize::MAX - 1);
            let edited = (diagonal + usize::from(from != to)).min(up + 1).min(left + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            let swap = before.get(j.wrapping_sub(1)).filter(|_| swapped).map(|cost| cost + 1);
            next.push(swap.map_or(edited, |swap| swap.min(edited)));
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits_and_swaps_of_neighbours() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("devcies", "devices", 1),
            ("rat", "rate", 1),
            ("ab", "ba", 1),
            ("abcd", "badc", 2),
            ("abc", "cba", 2),
        ] {
            let [one, other] = [a, b].map(|word| word.chars().collect::<Vec<_>>());
            assert_eq!(distance(&one, &other), expected, "{a} to {b}");
            assert_eq!(distance(&other, &one), expected, "{b} to {a}");
        }
    }

    #[test]
    fn a_word_is_suggested_where_little_is_wrong_with_the_one_found() {
        let keys =
            ["seed", "devices", "grace", "max_in_flight", "tls", "p256", "self-attested", "from", "to", "c"];
        for (word, expected) in [
            ("devcies", Some("devices")),
            ("devises", Some("devices")),
            ("device", Some("devices")),
            ("sede", Some("seed")),
            ("tsl", Some("tls")),
            ("form", Some("from")),
            ("max-in-flight", Some("max_in_flight")),
            ("maxInFligth", Some("max_in_flight")),
            ("P-256", Some("p256")),
            ("selfattested", Some("self-attested")),
            ("rate", None),
            ("tcp", None),
            ("at", None),
            ("x", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &keys), expected, "{word}");
        }
    }

    #[test]
    fn an_id_is_suggested_that_has_the_words_found() {
        let ids = [
            "time-leaf-expired",
            "time-leaf-not-yet",
            "time-intermediate-expired",
            "cn-mismatch",
            "proof-of-possession",
        ];
        for (word, expected) in [
            ("leaf-expired", Some("time-leaf-expired")),
            ("expired-leaf", Some("time-leaf-expired")),
            ("time-expired", Some("time-intermediate-expired")),
            ("leaf-cert-expired", Some("time-leaf-expired")),
            ("leaf-not-yet-valid", Some("time-leaf-not-yet")),
            ("possession", Some("proof-of-possession")),
            ("expired", None),
            ("leaf-key", None),
            ("cn-collision", None),
            ("-", None),
        ] {
            assert_eq!(nearest(word, &ids), expected, "{word}");
        }
    }

    #[test]
    fn the_mark_stands_under_the_characters_meant() {
        let text = "a = 1\nname = \"grün\" # x\n";
        let start = text.find("\"grün").expect("in the text");
        let diagnostic = Diagnostic {
            place: Place::in_text("x.toml", text, start, start + "\"grün\"".len()),
            message: "no".to_owned(),
            help: Some("yes".to_owned()),
        };
        assert_eq!(
            diagnostic.to_string(),
            "error: no\n --> x.toml:2:8\n  |\n2 | name = \"grün\" # x\n  |        ^^^^^^\n  = help: yes"
        );
    }
}
