//! The renderings of a record by the names that the command line has for them, printed or written.

use crate::cli::{create_dir, write_file};
use crate::exit::Failure;
use clap::ValueEnum;
use reports::{Comparison, Record};
use std::path::{Path, PathBuf};

/// What a record can be rendered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The summary for a terminal
    Text,
    /// Markdown for a comment on a pull request, below 60,000 bytes
    Md,
    /// JUnit XML: gates, roll-up, outcomes and sums as test cases
    Junit,
    /// Every second of the run, a row each
    Csv,
    /// The headline figures: name, value, unit
    SummaryCsv,
    /// A chart
    Svg,
    /// The page
    Html,
    /// The record
    Json,
}

/// Something rendered: the name of its file, and its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rendering {
    pub(super) file: String,
    pub(super) text: String,
}

/// Writes the renderings of a record to a directory, which is made if there is none: `run.md`, `run.junit.xml`,
/// `run.csv`, `run.summary.csv`, `run.CHART.svg` for each chart, `run.html`, `run.json` and `run.txt`. Files that are
/// there are replaced.
///
/// # Errors
/// When something cannot be rendered or written.
pub(crate) fn write_formats(
    record: &Record,
    comparison: Option<&Comparison>,
    formats: &[Format],
    out: &Path,
) -> Result<(), Failure> {
    let mut all = Vec::new();
    for format in formats {
        all.extend(renderings(record, record, comparison, *format)?);
    }
    write(&all, out).map(drop)
}

/// Writes what was rendered, and tells where to.
pub(super) fn write(renderings: &[Rendering], out: &Path) -> Result<Vec<PathBuf>, Failure> {
    create_dir(out)?;
    let one = |rendering: &Rendering| {
        let path = out.join(&rendering.file);
        write_file(&path, rendering.text.as_bytes(), false).map(|()| path)
    };
    renderings.iter().map(one).collect()
}

/// A record in one format: one text, but for charts. `shown` is what is rendered; as JSON it is the record itself.
pub(super) fn renderings(
    record: &Record,
    shown: &Record,
    comparison: Option<&Comparison>,
    format: Format,
) -> Result<Vec<Rendering>, Failure> {
    let one = |file: &str, text: String| vec![Rendering { file: file.to_owned(), text }];
    Ok(match format {
        Format::Text => one("run.txt", reports::summary(shown)),
        Format::Md => one("run.md", reports::markdown(shown, comparison)),
        Format::Junit => {
            one("run.junit.xml", reports::junit(shown, comparison).map_err(Failure::unexpected)?)
        }
        Format::Csv => one("run.csv", reports::series(shown).map_err(Failure::unexpected)?),
        Format::SummaryCsv => {
            one("run.summary.csv", reports::summary_csv(shown).map_err(Failure::unexpected)?)
        }
        Format::Html => one("run.html", reports::page_with(shown, comparison).map_err(Failure::unexpected)?),
        Format::Json => one("run.json", record.to_json().map_err(Failure::unexpected)?),
        Format::Svg => {
            charts(shown).into_iter().map(|(name, text)| Rendering { file: file_of(&name), text }).collect()
        }
    })
}

/// The charts of a record by their names.
fn charts(record: &Record) -> Vec<(String, String)> {
    reports::svg_charts(record)
}

fn file_of(chart: &str) -> String {
    format!("run.{chart}.svg")
}

/// The only chart of a record, or the one of that name.
///
/// # Errors
/// Usage, when there is none of that name, or more than one and no name.
pub(super) fn chart(record: &Record, name: Option<&str>) -> Result<Rendering, Failure> {
    let mut all = charts(record);
    let names = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let at = match name {
        Some(wanted) => all.iter().position(|(name, _)| name == wanted),
        None => (all.len() == 1).then_some(0),
    };
    let Some(at) = at else {
        let fault = match name {
            _ if all.is_empty() => "the record has nothing to draw".to_owned(),
            Some(name) => format!("the record has no chart `{name}`"),
            None => format!("the record has {} charts", all.len()),
        };
        let advice = format!("Name one of {names} with --chart, or write all with --out DIR.");
        let failure = Failure::usage(fault);
        return Err(if all.is_empty() { failure } else { failure.advise(advice) });
    };
    let (name, text) = all.swap_remove(at);
    Ok(Rendering { file: file_of(&name), text })
}
