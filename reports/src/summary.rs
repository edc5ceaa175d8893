//! The report for a terminal: at most 60 lines, aligned, without colour.
//!
//! What does not fit is counted rather than dropped in silence; the page has all of it.

use crate::record::{Reason, Record};
use crate::view::{
    Table, counted, expected, findings, gates, generator, grouped, reconciliation, roll_up, throughput,
    times, totals, verdict, wanted,
};

/// The longest a summary may be, in lines.
const MOST_LINES: usize = 60;
/// How many phases and clocks are shown: nine and four.
const MOST_TIMES: usize = 13;

/// How many rows are shown of what can be long.
struct Most {
    gates: usize,
    refusals: usize,
    ways: usize,
    checks: usize,
    /// Findings about the generator, and as many reasons for the verdict.
    words: usize,
}

/// What is tried in turn until the summary is short enough; the last one always is.
const MOST: [Most; 5] = [
    Most { gates: 8, refusals: 6, ways: 5, checks: 8, words: 2 },
    Most { gates: 8, refusals: 6, ways: 5, checks: 1, words: 2 },
    Most { gates: 5, refusals: 4, ways: 4, checks: 1, words: 2 },
    Most { gates: 4, refusals: 3, ways: 3, checks: 1, words: 1 },
    Most { gates: 3, refusals: 2, ways: 2, checks: 1, words: 1 },
];

/// The report as text, at most 60 lines, each ending in a line feed.
pub fn summary(record: &Record) -> String {
    let mut all = MOST.iter().map(|most| lines(record, most)).skip_while(|lines| lines.len() > MOST_LINES);
    let lines = all.next().unwrap_or_default();
    lines.iter().map(|line| format!("{}\n", printable(line))).collect()
}

fn lines(record: &Record, most: &Most) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", verdict(record), record.scenario.name)];
    let because: Vec<_> = record.verdict.reasons.iter().map(|reason| format!("  {reason}")).collect();
    lines.extend(cut(because, most.words));
    lines.push(totals(record));
    lines.push(expected(record));
    if !record.gates.is_empty() {
        lines.extend(table(gates(record), most.gates));
    }
    lines.extend(refusals(record, most.refusals));
    lines.extend(table(roll_up(record), most.ways));
    lines.push(String::new());
    lines.push(throughput(record));
    lines.extend(findings(record).into_iter().map(|(name, text)| format!("{name:<9} {text}")));
    lines.push(format!("{:<9} {}", "generator", generator(record)));
    let health = record.generator.findings.iter().map(|finding| format!("  {finding}")).collect();
    lines.extend(cut(health, most.words));
    lines.extend(table(times(record), MOST_TIMES));
    lines.extend(table(reconciliation(record), most.checks));
    lines
}

/// A name or message from outside may hold characters that move the cursor or break the line.
fn printable(line: &str) -> String {
    line.trim_end().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The first lines, and how many there would be more.
fn cut(mut lines: Vec<String>, most: usize) -> Vec<String> {
    let more = lines.len().saturating_sub(most);
    lines.truncate(most);
    if more > 0 {
        lines.push(format!("  and {more} more in the report"));
    }
    lines
}

fn refusals(record: &Record, most: usize) -> Vec<String> {
    let reasons = &record.reasons;
    if reasons.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), format!("Not {}", wanted(record))];
    lines.extend(reasons.iter().take(most).flat_map(refusal));
    let rest = reasons.get(most..).unwrap_or_default();
    if !rest.is_empty() {
        let devices = rest.iter().map(|reason| reason.count).sum();
        lines.push(format!("  and {} for {} more in the report", counted(devices, "device"), rest.len()));
    }
    lines
}

fn refusal(reason: &Reason) -> [String; 3] {
    let code = reason.code.map(|code| format!(" {code}")).unwrap_or_default();
    let phase = reason.phase.as_ref().map(|phase| format!(" at {phase}")).unwrap_or_default();
    let why = match (&reason.defect, reason.expected) {
        (Some(defect), true) => format!(" [{defect}]"),
        (Some(defect), false) => format!(" [{defect}, UNEXPECTED]"),
        (None, true) => String::new(),
        (None, false) => " [UNEXPECTED]".to_owned(),
    };
    let Reason { outcome, count, message, explanation, repair, .. } = reason;
    [
        format!("{:>8} {}{code}{phase}: {message}{why}", grouped(*count), outcome.as_str()),
        format!("           why: {explanation}"),
        format!("        repair: {repair}"),
    ]
}

fn table(table: Table, most: usize) -> Vec<String> {
    let head = table.head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(table.rows.iter().cloned()).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..table.head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut lines = rows.iter().map(|row| aligned(row, &widths, table.words));
    let heading = format!("{} ({})", table.title, table.note);
    let head = lines.next().filter(|_| !table.rows.is_empty());
    let mut out = vec![String::new(), heading];
    out.extend(head);
    out.extend(cut(lines.collect(), most));
    out
}

fn aligned(row: &[String], widths: &[usize], words: usize) -> String {
    let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| match at < words {
        true => format!("  {cell:<width$}"),
        false => format!("  {cell:>width$}"),
    });
    cells.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Capacity, Check, EventDone, Held, Retries, TlsCount, VerdictKind};
    use crate::view::tests::{demo, gate, times_of};

    /// The words of the one line that starts with these words.
    fn line(text: &str, start: &str) -> Vec<String> {
        let found: Vec<_> = text.lines().filter(|line| line.trim_start().starts_with(start)).collect();
        assert_eq!(found.len(), 1, "{start} in\n{text}");
        found[0].split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_summary_says_what_happened_and_that_it_adds_up() {
        let text = summary(&demo());
        assert!(text.starts_with("GOOD: demo\n10,000 assigned + 6 refused = 10,006 planned\n"), "{text}");
        assert_eq!(line(&text, "Root > Line A > line-a > hub-1")[8..], ["10,000", "10,000"]);
        assert_eq!(line(&text, "2,500.0 devices/s")[2..4], ["150,000.0", "devices/min"]);
        assert_eq!(line(&text, "registers"), ["registers", "10,006", "10,006", "agrees"]);
    }

    #[test]
    fn every_refusal_has_its_code_its_meaning_and_its_repair() {
        let text = summary(&demo());
        for defect in ["expired", "leaf-only", "other-key", "cn", "ca", "disabled"] {
            let first = format!("1 refused 401002 at register: unauthorized {defect} [{defect}]");
            assert_eq!(line(&text, &first)[0], "1");
            assert_eq!(line(&text, &format!("why: {defect} explained")).len(), 3);
            assert_eq!(line(&text, &format!("repair: repair {defect}")).len(), 3);
        }
    }

    #[test]
    fn both_clocks_are_told_in_milliseconds() {
        let text = summary(&demo());
        for (clock, words, count, step) in [
            ("service time  ", 2, "1,000", 1.0),
            ("response time", 2, "1,000", 2.0),
            ("service time, unsuccessful", 3, "6", 0.006),
        ] {
            let line = line(&text, clock);
            assert_eq!(line[words], count);
            let times: Vec<f64> = line[words + 1..]
                .iter()
                .map(|cell| cell.replace(',', "").parse().expect("a number"))
                .collect();
            for (found, quantile) in times.iter().zip([500.0, 900.0, 990.0, 999.0, 1_000.0]) {
                let expected: f64 = quantile * step;
                assert!((found - expected).abs() <= expected * 0.001 || step < 1.0, "{clock}: {times:?}");
            }
            assert_eq!(times.len(), 5);
        }
    }

    #[test]
    fn columns_line_up() {
        let text = summary(&demo());
        let from = text.lines().skip_while(|line| !line.starts_with("Times")).skip(1);
        let ends: Vec<_> =
            from.take_while(|line| !line.is_empty()).map(|line| line.chars().count()).collect();
        assert_eq!(ends.len(), 10);
        assert!(ends.iter().all(|end| *end == ends[0]), "{text}");
    }

    /// A record with more of everything than there is room for.
    fn crowded() -> Record {
        let mut record = demo();
        record.verdict.kind = VerdictKind::GeneratorLimited;
        record.verdict.reasons = vec!["the same".to_owned(); 30];
        record.reasons = vec![record.reasons[0].clone(); 30];
        record.roll_up = vec![record.roll_up[0].clone(); 30];
        record.phases = vec![times_of("tcp", 3, 1); 9];
        record.clocks.lateness = times_of("lateness", 3, 1);
        record.reconciliation = vec![Check::new("polls", 1, 2); 30];
        record.gates = vec![gate("response_time.p99", "s", Some(0.1), 0.2); 30];
        record.generator.findings = vec!["late".to_owned(); 30];
        record.retries = Retries { throttled: 1, ..Retries::default() };
        record.held = Some(Held::default());
        record.tls = vec![TlsCount::default(); 3];
        record.events = vec![EventDone::default(); 3];
        record.capacity = Some(Capacity::default());
        record
    }

    #[test]
    fn a_long_report_is_cut_to_sixty_lines_and_says_so() {
        let text = summary(&crowded());
        assert!(text.lines().count() <= 60, "{} lines\n{text}", text.lines().count());
        assert!(text.contains("  and 28 devices for 28 more in the report\n"), "{text}");
        for more in [27, 28, 29] {
            assert!(text.contains(&format!("  and {more} more in the report\n")), "{more} in\n{text}");
        }
        assert!(text.contains("  response time") && text.contains("  lateness"), "{text}");
    }

    #[test]
    fn a_short_report_shows_all_it_has() {
        let mut record = demo();
        record.gates = vec![gate("response_time.p99", "s", Some(0.1), 0.2); 8];
        let text = summary(&record);
        assert!(!text.contains("more in the report"), "{text}");
        assert_eq!(text.matches("  passed  ").count(), 8, "{text}");
    }

    #[test]
    fn what_happened_on_the_way_has_a_line_each() {
        let text = summary(&crowded());
        for (start, words) in [
            ("retries ", "1: 1 throttled"),
            ("held ", "stayed connected"),
            ("tls ", "2 more in the report"),
            ("events ", "3 events"),
            ("capacity ", "limited by"),
            ("generator ", "p99 0.003 ms"),
        ] {
            assert!(line(&text, start).join(" ").contains(words), "{start} in\n{text}");
        }
        assert!(text.starts_with("GENERATOR-LIMITED: demo\n"), "{text}");
    }

    #[test]
    fn a_message_cannot_move_the_cursor() {
        let mut record = demo();
        record.reasons[0].message = "a\u{1b}[2Jb\nc".to_owned();
        assert!(summary(&record).contains("a\u{fffd}[2Jb\u{fffd}c"));
    }
}
