//! A comparison as a table, which every rendering shares, and as text for a terminal.

use super::{Compared, Comparison, Judgement, Side};
use crate::summary::{paragraph, printable, table as lines_of};
use crate::view::{Table, counted, quantity};

/// The longest name of a metric that leaves the numbers their room in 80 columns.
const NAME: usize = 26;

/// The metrics of both runs, what is worse first, then what is better.
pub(crate) fn table(comparison: &Comparison) -> Table {
    let mut rows: Vec<&Compared> = comparison.rows.iter().collect();
    rows.sort_by_key(|row| match row.judgement {
        Judgement::Worse => 0,
        Judgement::Better => 1,
        Judgement::Slower => 2,
        Judgement::Faster => 3,
        Judgement::Same => 4,
        Judgement::Shown if row.too_noisy => 5,
        Judgement::Shown => 6,
    });
    Table {
        title: "Comparison",
        note: format!("{}; {NOTE}", verdict(comparison)),
        head: vec!["metric", "judged", "baseline", "candidate", "change", "band"],
        words: 2,
        rows: rows.into_iter().map(cells).collect(),
    }
}

/// What a band is.
const NOTE: &str = "a change within its band is noise; what is only slower or faster fails nothing, nor does what has too few arrivals";

/// What a comparison comes to, in words.
pub(crate) fn verdict(comparison: &Comparison) -> String {
    let count = |judgement| comparison.rows.iter().filter(|row| row.judgement == judgement).count();
    let judged = comparison.rows.len() - count(Judgement::Shown);
    let [worse, better] = [Judgement::Worse, Judgement::Better].map(count);
    let of = counted(judged as u64, "judged metric");
    let doubt = if comparison.doubtful { "; times and rates NOT JUDGED" } else { "" };
    format!("of {of} {worse} worse, {better} better{doubt}")
}

/// A judgement in a word.
pub(crate) const fn judged(row: &Compared) -> &'static str {
    match row.judgement {
        Judgement::Worse => "WORSE",
        Judgement::Better => "better",
        Judgement::Slower => "slower",
        Judgement::Faster => "faster",
        Judgement::Same => "same",
        Judgement::Shown if row.too_noisy => "noisy",
        Judgement::Shown if row.too_few => "few",
        Judgement::Shown => "-",
    }
}

fn cells(row: &Compared) -> Vec<String> {
    let change = row.change.map_or_else(|| "-".to_owned(), |change| format!("{:+.1} %", change * 100.0));
    vec![
        row.metric.clone(),
        judged(row).to_owned(),
        number(row, row.baseline),
        number(row, row.candidate),
        change,
        band(row),
    ]
}

/// A number of a row. What is tried again is per arrival, which its name says here.
pub(crate) fn number(row: &Compared, value: f64) -> String {
    match row.metric.as_str() {
        "retries.share" => format!("{value:.2}"),
        metric => quantity(value, metric, &row.unit),
    }
}

/// The band of what was judged, down and up; of the number itself where there is nothing for it to be a part of. What
/// has a logarithm may fall by less than it may rise.
pub(crate) fn band(row: &Compared) -> String {
    let [least, most] = row.bounds.map(|bound| (bound / row.baseline - 1.0) * 100.0);
    match row.judgement {
        Judgement::Shown if row.too_noisy => "over 100 %".to_owned(),
        Judgement::Shown => "-".to_owned(),
        _ if row.bounds == [0.0; 2] => "none".to_owned(),
        _ if row.baseline == 0.0 => number(row, row.band),
        _ if is_amount(row) => format!("± {}", number(row, row.bounds[1] - row.baseline)),
        _ => format!("{least:.0}/+{most:.0} %"),
    }
}

/// Whether the band of a time is the least that it may differ by, up and down, rather than a part of it.
fn is_amount(row: &Compared) -> bool {
    let [least, most] = row.bounds;
    row.unit == "s" && ((2.0 * row.baseline - most).max(0.0) - least).abs() < 1e-9
}

/// A comparison for a terminal, lines of at most 80 columns, each ending in a line feed.
pub fn text(comparison: &Comparison) -> String {
    let verdict = match (comparison.doubtful, comparison.regressed) {
        (true, _) => "NOT TO BE RELIED ON",
        (false, true) => "REGRESSION",
        (false, false) => "NO REGRESSION",
    };
    let mut lines = paragraph("", 2, &format!("{verdict}: {}", self::verdict(comparison)));
    let sides = [("baseline ", &comparison.baseline), ("candidate", &comparison.candidate)];
    let runs = sides.iter().flat_map(|(word, runs)| runs.iter().map(move |run| (word, run)));
    lines.extend(runs.flat_map(|(word, run)| paragraph(&format!("{word} "), 10, &named(run))));
    lines.extend(comparison.warnings.iter().flat_map(|warning| paragraph("warning: ", 9, warning)));
    let all = table(comparison);
    let (short, long): (Vec<_>, Vec<_>) =
        all.rows.into_iter().partition(|row| row.first().is_some_and(|name| name.chars().count() <= NAME));
    let most = short.len().max(long.len());
    lines.extend(lines_of(&Table { rows: short, note: NOTE.to_owned(), ..all }, most));
    if !long.is_empty() {
        // Their names need lines of their own.
        let head = vec!["metric", "judged", "baseline", "candidate", "change", "band"];
        let note = "roll-up, gates and long names".to_owned();
        lines.extend(lines_of(&Table { title: "More metrics", note, head, words: 2, rows: long }, most));
    }
    lines.iter().map(|line| format!("{}\n", printable(line))).collect()
}

fn named(run: &Side) -> String {
    let Side { name, scenario, started_utc, program_version, verdict } = run;
    let started = started_utc.get(..19).unwrap_or(started_utc);
    format!("{name}: {scenario}, {verdict}, {started}, version {program_version}")
}
