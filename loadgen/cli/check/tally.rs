//! A batch for people to read: counts, the commonest findings, what changes next. Never a line for each device.

use super::document::{Refused, commonest, rate, refused};
use super::text;
use super::view::{Ending, date, shown};
use crate::check::Summary;
use crate::cli::prose::{Paint, Tone, hanging, wrapped};
use sim_identity::preflight::Finding;
use std::collections::BTreeMap;

/// The longest bar, in columns.
const LONGEST_BAR: u64 = 40;
/// Rows of one count; the rest is one row.
const MOST_ROWS: usize = 12;
/// Findings that are told.
const MOST_FINDINGS: usize = 10;
/// Characters of a row's name.
const LONGEST_NAME: usize = 48;

/// What there is to tell beside the summary.
pub(super) struct Beside<'a> {
    /// Findings about the instance, whatever the chains.
    pub(super) instance: &'a [Finding],
    /// Refused devices, if they were asked for.
    pub(super) listed: Option<&'a [Refused]>,
    /// How the check ends.
    pub(super) ending: &'a Ending,
}

/// The whole text; its first line is the verdict.
pub(super) fn batch(summary: &Summary, beside: &Beside<'_>, paint: Paint) -> String {
    let unreadable = match summary.unreadable {
        0 => String::new(),
        count => format!(", {} unreadable", number(count)),
    };
    let overruled = beside.ending.overruled.as_ref().map(|(_, why)| format!("{}\n", wrapped("", why)));
    let mut parts = vec![format!(
        "{}\n{}{} devices: {} let in ({} with warnings, {} with errors), {} refused{unreadable}; {} devices/s",
        text::first_line(beside.ending, paint),
        overruled.unwrap_or_default(),
        number(summary.devices),
        number(summary.accepted),
        number(summary.with_warnings),
        number(summary.with_errors),
        number(refused(summary)),
        number(rounded(rate(summary))),
    )];
    let verdicts: Vec<(String, u64)> = summary.verdicts.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
    parts.push(counts("verdict", most_first(verdicts), summary.devices, paint));
    for (heading, counted) in
        [("let in by", &summary.entries), ("issuer of the leaf", &summary.issuers), ("key", &summary.keys)]
    {
        parts.push(counts(heading, most_first(rows(counted)), summary.devices, paint));
    }
    parts.push(counts("leaves expire in", rows(&summary.expiry), summary.devices, paint));
    parts.push(findings(summary, paint));
    parts.push(text::findings(beside.instance, paint));
    if let Some((at, devices)) = summary.next_change {
        let subject = if devices == 1 { "1 device" } else { &format!("{} devices", number(devices)) };
        parts.push(format!("next change: {}, when the verdict on {subject} becomes another", date(at)));
    }
    parts.push(beside.listed.map(|listed| list(listed, summary, paint)).unwrap_or_default());
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn rows(counted: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    counted.iter().map(|(name, count)| (name.clone(), *count)).collect()
}

fn most_first(mut rows: Vec<(String, u64)>) -> Vec<(String, u64)> {
    rows.sort_by_key(|row| std::cmp::Reverse(row.1));
    rows
}

/// A heading and a bar for each row. Rows beyond a few are added up in one.
fn counts(heading: &str, mut rows: Vec<(String, u64)>, total: u64, paint: Paint) -> String {
    if rows.is_empty() {
        return String::new();
    }
    if rows.len() > MOST_ROWS {
        let rest = rows.split_off(MOST_ROWS - 1);
        let devices = rest.iter().map(|row| row.1).sum();
        rows.push((format!("({} more)", rest.len()), devices));
    }
    let rows: Vec<(String, u64)> =
        rows.into_iter().map(|(name, count)| (cut(&shown(&name)), count)).collect();
    let wide = rows.iter().map(|row| row.0.chars().count()).max().unwrap_or_default();
    let digits = rows.iter().map(|row| number(row.1).len()).max().unwrap_or_default();
    let lines = rows.iter().map(|(name, count)| {
        let bar = paint.say(Tone::Faint, bar(*count, total));
        format!("  {name:<wide$}  {:>digits$}  {bar}", number(*count))
    });
    let lines: Vec<String> = lines.collect();
    format!("{}\n{}", paint.say(Tone::Strong, format_args!("{heading}:")), lines.join("\n"))
}

fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}…", &name[..end]),
    }
}

/// As many of 40 columns as `count` is of `total`; at least one where there is any.
fn bar(count: u64, total: u64) -> String {
    let columns = (u128::from(count) * u128::from(LONGEST_BAR)).div_ceil(u128::from(total.max(1)));
    "█".repeat(usize::try_from(columns.min(u128::from(LONGEST_BAR))).unwrap_or(0))
}

fn findings(summary: &Summary, paint: Paint) -> String {
    let tallies = commonest(summary);
    let mut lines = Vec::new();
    for tally in tallies.iter().take(MOST_FINDINGS) {
        let head = format!("{}[{}] ×{}: ", tally.severity, tally.finding.code, number(tally.devices));
        let text = hanging(&head, 4, &shown(&tally.finding.message));
        lines.push(text.replacen(&head, &paint.say(text::tone(tally.severity), &head), 1));
        lines.push(wrapped("  for example: ", &shown(&tally.example)));
        if !tally.finding.fix.is_empty() {
            lines.push(wrapped("  fix: ", &shown(&tally.finding.fix)));
        }
    }
    if tallies.len() > MOST_FINDINGS {
        lines.push(format!("and {} kinds of findings more", tallies.len() - MOST_FINDINGS));
    }
    lines.join("\n")
}

fn list(listed: &[Refused], summary: &Summary, paint: Paint) -> String {
    let mut lines: Vec<String> = listed
        .iter()
        .map(|device| {
            wrapped(&format!("  {}  {}: ", shown(&device.source), device.reason), &shown(&device.message))
        })
        .collect();
    let all = refused(summary) + summary.unreadable;
    let more = all.saturating_sub(listed.len() as u64);
    if more > 0 {
        lines.push(format!("  and {} more; --list=N shows N", number(more)));
    }
    if lines.is_empty() {
        return String::new();
    }
    format!("{}\n{}", paint.say(Tone::Strong, "refused:"), lines.join("\n"))
}

/// Digits in threes.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people to read")]
fn rounded(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Tally;
    use sim_identity::preflight::{Code, Severity};

    #[test]
    fn bars_are_in_proportion_and_never_longer_than_40_columns() {
        for (count, total, columns) in [(0, 10, 0), (1, 1_000_000, 1), (5, 10, 20), (10, 10, 40), (3, 0, 40)]
        {
            assert_eq!(bar(count, total).chars().count(), columns, "{count} of {total}");
        }
        assert!(bar(u64::MAX, u64::MAX).chars().count() == 40);
    }

    #[test]
    fn a_batch_has_as_many_lines_whether_it_has_ten_devices_or_a_million() {
        let text = |devices: u64| {
            let finding = Finding::new(Code::Expired, "it has expired", "Renew it.");
            let tally = Tally { devices, severity: Severity::Error, example: "a".into(), finding };
            let summary = Summary {
                devices,
                verdicts: [("invalid-certificate", devices)].into(),
                issuers: (0..100).map(|i| (format!("CN=ca {i}"), devices / 10)).collect(),
                findings: [(Code::Expired, tally)].into(),
                next_change: Some((0, 1)),
                ..Summary::default()
            };
            let listed = [Refused { source: "a".into(), reason: "invalid-certificate", message: "m".into() }];
            let ending = Ending { exit: crate::exit::Exit::Refused, overruled: None };
            let beside = Beside { instance: &[], listed: Some(&listed), ending: &ending };
            batch(&summary, &beside, Paint::PLAIN)
        };
        assert_eq!(text(10).lines().count(), text(1_000_000).lines().count());
        assert_eq!(text(10).lines().next(), Some("reject"));
        assert!(text(10).lines().count() < 40 && text(10).contains("89 more"));
    }

    #[test]
    fn large_numbers_are_written_in_threes() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
