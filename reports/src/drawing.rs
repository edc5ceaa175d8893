//! A chart of a report: the drawing, and the numbers behind it as a table.

use crate::view::Table;

/// One chart.
pub(crate) struct Drawing {
    /// What it is called in links and file names: `rates`.
    pub(crate) id: &'static str,
    /// Its heading.
    pub(crate) title: String,
    /// How to read it: what is drawn, in which unit, on which scale.
    pub(crate) note: String,
    /// The same for who does not see the drawing, as the drawing carries it.
    #[cfg(test)]
    pub(crate) label: String,
    /// One `svg` element. Colours are classes of [`crate::chart::STYLE`]; every text in it is escaped.
    pub(crate) svg: String,
    /// The numbers behind it, sixty rows at most.
    pub(crate) table: Table,
}
