//! The report as Markdown, for a comment on a pull request.
//!
//! Text of the record is text: none of it can begin a table cell, a tag, a link or a mention. Whatever the record, the
//! comment stays below the limit of the place it is for; what does not fit is counted.

use crate::compare::Comparison;
use crate::record::{Reason, Record, VerdictKind};
use crate::view::{
    Table, comparison, expected, findings, gates, generator, grouped, headline, judged, reconciliation,
    roll_up, sorted_reasons, throughput, times, totals, verdict, wanted,
};

/// The most bytes of a table's rows, and of a list's lines. There are twelve of them, and GitHub takes 65,536
/// characters.
const MOST_ROWS: usize = 4_000;
/// The most characters of one text; a character takes eight bytes at most.
const MOST_TEXT: usize = 400;
/// The most ways of a roll-up that are shown unfolded.
const FEW_WAYS: usize = 12;

/// The report as Markdown, in fewer than 60,000 bytes: short enough for a comment on a pull request.
pub fn markdown(record: &Record, baseline: Option<&Comparison>) -> String {
    let all = times(record);
    let clocks =
        Table { rows: all.rows.iter().filter(|row| is_clock(row)).cloned().collect(), ..times(record) };
    let ways = roll_up(record);
    let mut blocks = vec![
        format!("### {}\n", plain(&title(record, baseline))),
        list(&record.verdict.reasons),
        lines(&[
            ("totals", totals(record)),
            ("outcome", expected(record)),
            ("throughput", throughput(record)),
        ]),
        baseline.map(compared).unwrap_or_default(),
        table(&gates(record)),
        reasons(record),
        table(&clocks),
    ];
    if ways.rows.len() <= FEW_WAYS {
        blocks.push(table(&ways));
    } else {
        blocks.push(folded("The roll-up", &table(&ways)));
    }
    blocks.push(found(record));
    blocks.extend(baseline.map(unchanged));
    blocks.push(folded("How long every phase took", &table(&all)));
    blocks.push(folded("What client and service counted", &table(&reconciliation(record))));
    blocks.push(format!("{}\n", plain(&origin(record))));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n")
}

/// The verdict, beside a baseline that of the comparison, too, and what was run.
fn title(record: &Record, baseline: Option<&Comparison>) -> String {
    let alone = headline(record);
    let word = verdict(record);
    let (Some(comparison), Some(rest)) = (baseline, alone.strip_prefix(word)) else { return alone };
    match (comparison.doubtful, comparison.regressed, record.verdict.kind) {
        (true, ..) => alone,
        (false, true, VerdictKind::Good) => format!("REGRESSION{rest}"),
        (false, true, _) => format!("{word}, and worse than the baseline{rest}"),
        (false, false, _) => format!("{word}, and no worse than the baseline{rest}"),
    }
}

/// What else was found, a line each.
fn found(record: &Record) -> String {
    let mut all = findings(record);
    all.push(("generator", generator(record)));
    all.extend(record.generator.findings.iter().map(|finding| ("generator", finding.clone())));
    lines(&all)
}

fn lines(lines: &[(&str, String)]) -> String {
    let lines = lines.iter().map(|(name, text)| format!("- **{}**: {}\n", plain(name), plain(text)));
    fitting(lines, "- ")
}

fn list(texts: &[String]) -> String {
    fitting(texts.iter().map(|text| format!("- {}\n", plain(text))), "- ")
}

fn is_clock(row: &[String]) -> bool {
    row.first().is_some_and(|name| name == "service time" || name == "response time")
}

/// Why devices did not get what they wanted; what nobody expected comes first.
fn reasons(record: &Record) -> String {
    let row = |reason: &&Reason| {
        let code = reason.code.map(|code| format!(" {code}")).unwrap_or_default();
        let phase = reason.phase.as_ref().map(|phase| format!(" at {phase}")).unwrap_or_default();
        let defect = reason.defect.as_ref().map(|defect| format!(" [{defect}]")).unwrap_or_default();
        vec![
            format!("{}{code}{phase}: {}{defect}", reason.outcome.as_str(), reason.message),
            judged(record, reason).to_owned(),
            reason.explanation.clone(),
            reason.repair.clone(),
            grouped(reason.count),
        ]
    };
    let rows: Vec<Vec<String>> = sorted_reasons(record).iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let title = format!("Not {}", wanted(record));
    laid_out(&title, "", &["outcome", "", "why", "repair", "devices"], 4, &rows)
}

/// The run beside its baseline: what changed, and what a reader has to know.
fn compared(rows: &Comparison) -> String {
    let [changed, _] = by_change(rows);
    let (table, warnings) = (table(&changed), list(&rows.warnings));
    if warnings.is_empty() { table } else { format!("{table}\n{warnings}") }
}

/// The metrics that did not change, and those that are only shown, folded away.
fn unchanged(rows: &Comparison) -> String {
    let [_, rest] = by_change(rows);
    if rest.rows.is_empty() {
        String::new()
    } else {
        folded("What is the same as in the baseline", &table(&rest))
    }
}

/// The rows of a comparison that changed, and the others.
fn by_change(rows: &Comparison) -> [Table; 2] {
    let all = comparison(rows);
    let is_same =
        |row: &Vec<String>| row.get(1).is_some_and(|word| matches!(&**word, "same" | "noisy" | "-"));
    let (same, changed) = all.rows.into_iter().partition(is_same);
    let same = Table {
        title: "Unchanged",
        note: String::new(),
        rows: same,
        head: all.head.clone(),
        words: all.words,
    };
    [Table { rows: changed, ..all }, same]
}

/// Where the numbers are from.
fn origin(record: &Record) -> String {
    let started = record.started_utc.split('.').next().unwrap_or_default();
    format!(
        "rollcall {}, scenario {}, seed {}, {started}",
        record.program_version, record.scenario.name, record.seed
    )
}

fn folded(summary: &str, block: &str) -> String {
    if block.is_empty() {
        return String::new();
    }
    format!("<details><summary>{summary}</summary>\n\n{block}\n</details>\n")
}

fn table(table: &Table) -> String {
    let head: Vec<&str> = table.head.iter().map(|cell| &**cell).collect();
    laid_out(table.title, &table.note, &head, table.words, &table.rows)
}

/// A table under its title; nothing where it has no rows and nothing to say.
fn laid_out(title: &str, note: &str, head: &[&str], words: usize, rows: &[Vec<String>]) -> String {
    let note = if note.is_empty() { String::new() } else { format!(" ({})", plain(note)) };
    let titled = format!("**{}**{note}\n", plain(title));
    if rows.is_empty() {
        return titled;
    }
    let line = |cells: &mut dyn Iterator<Item = String>| {
        let cells: Vec<String> = cells.collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = |at: usize| if at < words { "---" } else { "---:" }.to_owned();
    let mut out = format!("{titled}\n{}", line(&mut head.iter().map(|cell| plain(cell))));
    out.push_str(&line(&mut (0..head.len()).map(rule)));
    let cell = |(at, cell): (usize, &String)| if at == 0 { named(cell) } else { plain(cell) };
    let rows = rows.iter().map(|row| line(&mut row.iter().enumerate().map(cell)));
    out.push_str(&fitting(rows, "\n"));
    out
}

/// The lines there is room for, and how many there would be more.
fn fitting(lines: impl Iterator<Item = String>, lead: &str) -> String {
    let (mut out, mut more) = (String::new(), 0);
    for line in lines {
        match more == 0 && out.len() + line.len() <= MOST_ROWS {
            true => out.push_str(&line),
            false => more += 1,
        }
    }
    if more > 0 {
        out.push_str(&format!("{lead}and {} more in the report\n", grouped(more)));
    }
    out
}

/// A name as it is typed: a metric, a path, an id. What could end the code or the cell is escaped as other text is.
fn named(text: &str) -> String {
    let tame = |c: char| !(c.is_control() || is_direction(c) || matches!(c, '`' | '\\' | '|'));
    let is_name = text.contains(['_', '.', '>', '-', '/']) && text.trim() == text;
    match is_name && text.chars().all(tame) && text.len() <= MOST_TEXT {
        true => format!("`{text}`"),
        false => plain(text),
    }
}

/// A text as Markdown that shows it and does nothing else. GitHub looks for mentions and references once escapes are
/// resolved: a space without width keeps `@` and `#` from what they would name.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut chars = text.trim().chars().enumerate().peekable();
    while let Some((at, c)) = chars.next() {
        let after = chars.peek().map_or(' ', |(_, after)| *after);
        match c {
            _ if at == MOST_TEXT => {
                out.push('\u{2026}');
                break;
            }
            // Neither a tag nor a quotation nor emphasis can begin or end there.
            '<' if matches!(after, '=' | ' ') => out.push(c),
            '>' if at > 0 && before == ' ' && matches!(after, '=' | ' ') => out.push(c),
            '_' if before.is_alphanumeric() && after.is_alphanumeric() => out.push(c),
            '@' | '#' => out.extend(['\\', c, '\u{200b}']),
            '&' | '<' | '>' | '|' => out.push_str(&format!("&#{};", u32::from(c))),
            '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '$' | '!' => out.extend(['\\', c]),
            // What would begin a list, or a heading of the line above.
            '-' | '+' | '=' if at == 0 => out.extend(['\\', c]),
            c if c.is_control() || is_direction(c) => out.push(' '),
            c => out.push(c),
        }
        before = c;
    }
    out.replace("://", ":\u{200b}//").replace("www.", "www\u{200b}.")
}

/// Whether a character changes the direction in which others are read.
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Compared;
    use crate::compare::Judgement;
    use crate::record::{Check, GateResult, OutcomeKind, RollUp};
    use crate::view::tests::{demo, gate};

    /// The cells of every row of the tables, as a reader sees them.
    fn cells(text: &str) -> Vec<Vec<String>> {
        let seen = |cell: &str| {
            cell.trim().trim_matches('`').replace("&#62;", ">").replace("&#60;", "<").replace('\\', "")
        };
        let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        rows.map(|row| row.split(" | ").map(seen).collect()).collect()
    }

    #[test]
    fn the_comment_says_what_happened() {
        let mut record = demo();
        record.gates = vec![gate("response_time.p99", "s", Some(0.0125), 0.5)];
        let text = markdown(&record, None);
        assert!(text.starts_with("### GOOD: demo\n"), "{text}");
        let rows = cells(&text);
        for row in [
            &["response_time.p99", "passed", "12.500 ms", "<= 500.0 ms"][..],
            &["Root > Line A > line-a > hub-1", "10,000", "10,000", ""],
            &["registers", "10,006", "10,006", "agrees"],
        ] {
            assert!(rows.iter().any(|found| found == row), "{row:?} in {text}");
        }
        let refusal = rows.iter().find(|row| row[0].starts_with("refused 401002")).expect("a refusal");
        assert_eq!(refusal[1..], ["expected", "expired explained", "repair expired", "1"]);
    }

    #[test]
    fn names_are_typed_as_they_are() {
        for (text, shown) in [
            ("response_time.p99", "`response_time.p99`"),
            ("Root > Line A > line-a", "`Root > Line A > line-a`"),
            ("tcp", "tcp"),
            ("a_`b", "a\\_\\`b"),
            ("a_|b", "a\\_&#124;b"),
            ("a.\\", "a.\\\\"),
        ] {
            assert_eq!(named(text), shown);
        }
        for (text, shown) in [
            ("rate_of > 3 and <= 4", "rate_of > 3 and <= 4"),
            ("> 3 _x_ <b>", "&#62; 3 \\_x\\_ &#60;b&#62;"),
            ("__a", "\\_\\_a"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn beside_a_baseline_the_title_says_how_it_went_and_what_is_the_same_is_folded() {
        let row = |metric: &str, judgement| Compared {
            metric: metric.to_owned(),
            judgement,
            ..Compared::default()
        };
        let rows = vec![
            row("rate.same", Judgement::Same),
            row("phase.slower", Judgement::Slower),
            row("time.worse", Judgement::Worse),
        ];
        let regressed = Comparison { rows, regressed: true, ..Comparison::default() };
        let same = Comparison::default();
        let doubtful = Comparison { doubtful: true, ..regressed.clone() };
        let failed = |record: &mut Record| record.verdict.kind = VerdictKind::GateFailed;
        let mut bad = demo();
        failed(&mut bad);
        for (record, comparison, title) in [
            (demo(), &regressed, "### REGRESSION: demo"),
            (demo(), &same, "### GOOD, and no worse than the baseline: demo"),
            (demo(), &doubtful, "### GOOD: demo"),
            (bad, &regressed, "### GATE FAILED, and worse than the baseline: demo"),
        ] {
            assert_eq!(markdown(&record, Some(comparison)).lines().next(), Some(title));
        }
        let text = markdown(&demo(), Some(&regressed));
        let unfolded = cells(text.split("<details>").next().expect("text"));
        let at = |name: &str| unfolded.iter().position(|row| row[0] == name);
        assert!(at("time.worse") < at("phase.slower") && at("time.worse").is_some(), "{text}");
        assert_eq!(at("rate.same"), None);
        assert!(cells(&text).iter().any(|row| row[0] == "rate.same"));
    }

    #[test]
    fn failures_stand_before_what_else_was_found() {
        let text = markdown(&demo(), None);
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no {part} in {text}"));
        assert!(at("**Not assigned**") < at("**generator**"));
    }

    #[test]
    fn both_clocks_are_shown_unfolded() {
        let text = markdown(&demo(), None);
        let unfolded = text.split("<details>").next().expect("text");
        for clock in ["service time", "response time"] {
            assert_eq!(cells(unfolded).iter().filter(|row| row[0] == clock).count(), 1, "{clock}");
        }
    }

    #[test]
    fn what_nobody_expected_comes_first() {
        let mut record = demo();
        record.reasons[4].expected = false;
        let rows = cells(&markdown(&record, None));
        let first = rows.iter().find(|row| row[0].starts_with("refused")).expect("a refusal");
        assert_eq!(first[1], "NOT expected");
    }

    /// Everything that means something in Markdown, in HTML or to GitHub.
    const HOSTILE: &str =
        "|a\\|b\r\n\n<script>@team #1 `x` [l](http://e.x) **b** ~s~ $m$ </details> \u{202e}x www.e.x ";

    fn hostile(times: usize) -> Record {
        let text = HOSTILE.repeat(times);
        let mut record = demo();
        record.scenario.name = text.clone();
        record.program_version = text.clone();
        record.verdict.reasons = vec![text.clone(); times];
        record.verdict.kind = VerdictKind::GateFailed;
        record.generator.findings = vec![text.clone(); times];
        let reason = Reason {
            outcome: OutcomeKind::Failed,
            message: text.clone(),
            explanation: text.clone(),
            ..Reason::default()
        };
        record.reasons = vec![Reason { repair: text.clone(), defect: Some(text.clone()), ..reason }; times];
        record.roll_up = vec![RollUp { root: text.clone(), group: text.clone(), ..RollUp::default() }; times];
        record.gates =
            vec![GateResult { metric: text.clone(), gate: text.clone(), ..GateResult::default() }; times];
        record.reconciliation = vec![Check::new(text.clone(), 1, 2, 0); times];
        record.phases = vec![crate::PhaseStats { phase: text, ..crate::PhaseStats::default() }; times];
        record
    }

    fn hostile_comparison(times: usize) -> Comparison {
        let text = HOSTILE.repeat(times);
        let row = Compared { metric: text.clone(), unit: text.clone(), ..Compared::default() };
        Comparison { rows: vec![row; times], warnings: vec![text; times], ..Comparison::default() }
    }

    /// What of a text has a meaning in Markdown: not what comes after a backslash.
    fn without_escapes(text: &str) -> String {
        let mut chars = text.chars();
        let mut live = String::new();
        while let Some(c) = chars.next() {
            if c == '\\' {
                chars.next();
            } else {
                live.push(c);
            }
        }
        live
    }

    #[test]
    fn whatever_the_record_says_it_stays_text_in_its_cell() {
        let text = markdown(&hostile(1), Some(&hostile_comparison(1)));
        let plain_comparison = Comparison { rows: vec![Compared::default()], ..Comparison::default() };
        let clean = markdown(&demo(), Some(&plain_comparison));
        let tags = |text: &str| text.matches('<').count();
        assert_eq!(tags(&text), tags(&clean), "{text}");
        let live = without_escapes(&text).replace("&#", "").replacen("### ", "", 1);
        for part in ["@", "#", "://", "www.", "\u{202e}", "\r", "`", "]", "**b", "$"] {
            assert!(!live.contains(part), "{part} in {text}");
        }
        for (at, line) in text.lines().enumerate() {
            let bars = line.matches('|').count();
            let wide = [0, 5, 6, 7, 8].contains(&bars);
            assert!(wide && (bars == 0 || (line.starts_with("| ") && line.ends_with(" |"))), "{at}: {line}");
        }
    }

    #[test]
    fn whatever_the_record_the_comment_is_short_enough_and_counts_what_it_leaves_out() {
        for times in [20, 500] {
            let text = markdown(&hostile(times), Some(&hostile_comparison(times)));
            assert!(text.len() < 60_000, "{times}: {}", text.len());
            assert!(text.matches("more in the report").count() >= 8, "{times}");
        }
    }
}
