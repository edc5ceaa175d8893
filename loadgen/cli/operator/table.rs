//! What the service said, as a terminal may show it.

use crate::cli::output::Output;

/// A list with its heading, printed page by page: a column is as wide as its widest cell so far.
pub(super) struct Table {
    heading: Option<Vec<String>>,
    widths: Vec<usize>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        let heading = heading.iter().map(|&word| word.to_owned()).collect();
        Table { heading: Some(heading), widths: Vec::new() }
    }

    /// Prints further rows, the heading before the first.
    pub(super) fn rows(&mut self, rows: Vec<Vec<String>>, output: Output) {
        if rows.is_empty() {
            return;
        }
        let rows: Vec<Vec<String>> = self.heading.take().into_iter().chain(rows).collect();
        for line in aligned(&rows, &mut self.widths) {
            output.line(line);
        }
    }

    /// Whether nothing was printed, not even the heading.
    pub(super) fn is_empty(&self) -> bool {
        self.heading.is_some()
    }
}

/// Names and values, one a line.
pub(super) fn fields(fields: Vec<(&str, String)>) -> Vec<Vec<String>> {
    fields.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

pub(super) fn lines(rows: &[Vec<String>], output: Output) {
    for line in aligned(rows, &mut Vec::new()) {
        output.line(line);
    }
}

/// Columns two blanks apart, each as wide as its widest cell, and as it was before.
fn aligned(rows: &[Vec<String>], widths: &mut Vec<usize>) -> Vec<String> {
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(widths.iter()).map(|(cell, &width)| format!("{:width$}", shown(cell)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Text of the service as a terminal may see it: no control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 2]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect()
    }

    #[test]
    fn columns_line_up_and_control_characters_are_shown_as_such() {
        let rows = rows(&[["NAME", "STATE"], ["a-long-name", "x"], ["b\u{1b}", ""]]);
        assert_eq!(aligned(&rows, &mut Vec::new()), ["NAME         STATE", "a-long-name  x", "b\u{fffd}"]);
    }

    #[test]
    fn a_later_page_keeps_the_columns_of_the_one_before() {
        let mut widths = Vec::new();
        aligned(&rows(&[["a-long-name", "x"]]), &mut widths);
        assert_eq!(aligned(&rows(&[["b", "y"]]), &mut widths), ["b            y"]);
    }
}
