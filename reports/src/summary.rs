//! The report for a terminal: at most 60 lines of at most 80 columns, aligned, without colour.
//!
//! What does not fit is counted rather than dropped in silence; the page has all of it. Only a word that is longer than
//! a line makes a longer one.

use crate::record::{Reason, Record};
use crate::view::{
    Table, counted, expected, findings, gates, generator, grouped, headline, judged, reconciliation, roll_up,
    throughput, times, totals, wanted,
};
use std::collections::BTreeMap;

/// The longest a summary may be, in lines.
const MOST_LINES: usize = 60;
/// The longest a line may be, in columns.
const WIDTH: usize = 80;
/// The longest a paragraph may be, in lines.
const MOST_WRAPPED: usize = 5;
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
    /// Whether the service's account of a refusal is shown where the defect was made on purpose, too.
    trails: bool,
    /// Whether the repair is.
    repairs: bool,
}

/// What is tried in turn until the summary is short enough.
const MOST: [Most; 8] = [
    Most { gates: 8, refusals: 6, ways: 5, checks: 8, words: 6, trails: true, repairs: true },
    Most { gates: 8, refusals: 6, ways: 5, checks: 8, words: 6, trails: false, repairs: true },
    Most { gates: 8, refusals: 6, ways: 5, checks: 8, words: 6, trails: false, repairs: false },
    Most { gates: 8, refusals: 6, ways: 5, checks: 1, words: 6, trails: false, repairs: false },
    Most { gates: 5, refusals: 4, ways: 4, checks: 1, words: 6, trails: false, repairs: false },
    Most { gates: 4, refusals: 3, ways: 3, checks: 1, words: 4, trails: false, repairs: false },
    Most { gates: 3, refusals: 2, ways: 2, checks: 1, words: 3, trails: false, repairs: false },
    Most { gates: 2, refusals: 1, ways: 1, checks: 1, words: 2, trails: false, repairs: false },
];

/// The report as text, at most 60 lines, each ending in a line feed.
pub fn summary(record: &Record) -> String {
    let mut tries = MOST.iter().map(|most| lines(record, most));
    let short = tries.find(|lines| lines.len() <= MOST_LINES);
    let mut lines = short.or_else(|| MOST.last().map(|least| lines(record, least))).unwrap_or_default();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES - 1);
        lines.push("  and more in the report".to_owned());
    }
    lines.iter().map(|line| format!("{}\n", printable(line))).collect()
}

fn lines(record: &Record, most: &Most) -> Vec<String> {
    let named = |name: &str, text: &str| paragraph(&format!("{name:<9} "), 10, text);
    let (capacity, findings): (Vec<_>, Vec<_>) =
        findings(record).into_iter().partition(|(name, _)| *name == "capacity");
    // Who searched for it wants to know it first.
    let mut lines: Vec<String> = capacity.iter().flat_map(|(name, text)| named(name, text)).collect();
    lines.extend(paragraph("", 2, &headline(record)));
    lines.extend(cut(record.verdict.reasons.iter().map(|reason| paragraph("  ", 4, reason)), most.words));
    lines.extend(paragraph("", 2, &totals(record)));
    lines.extend(paragraph("", 2, &expected(record)));
    if !record.gates.is_empty() {
        lines.extend(table(&gates(record), most.gates));
    }
    lines.extend(refusals(record, most));
    lines.extend(ways(record, most.ways));
    lines.push(String::new());
    lines.extend(paragraph("", 2, &throughput(record)));
    lines.extend(findings.iter().flat_map(|(name, text)| named(name, text)));
    lines.extend(named("generator", &generator(record)));
    let health = record.generator.findings.iter().map(|finding| paragraph("  ", 4, finding));
    lines.extend(cut(health, most.words));
    lines.extend(table(&times(record), MOST_TIMES));
    lines.extend(table(&reconciliation(record), most.checks));
    lines
}

/// Where the devices were assigned to.
fn ways(record: &Record, most: usize) -> Vec<String> {
    if record.roll_up.is_empty() {
        return vec![String::new(), "Roll-up: nobody rolled up".to_owned()];
    }
    table(&roll_up(record), most)
}

/// A name or message from outside may hold characters that move the cursor or break the line.
pub(crate) fn printable(line: &str) -> String {
    line.trim_end().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// A text after its lead, broken between words; its further lines are indented by `hang`.
pub(crate) fn paragraph(lead: &str, hang: usize, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = lead.to_owned();
    let mut begun = false;
    for word in printable(text).split_whitespace() {
        if begun && columns(&line) + 1 + columns(word) > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(hang)));
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    lines.push(line);
    if lines.len() > MOST_WRAPPED {
        lines.truncate(MOST_WRAPPED - 1);
        lines.push(format!("{}...", " ".repeat(hang)));
    }
    lines
}

/// The first items, of a few lines each, and how many there would be more.
fn cut(items: impl ExactSizeIterator<Item = Vec<String>>, most: usize) -> Vec<String> {
    let more = items.len().saturating_sub(most);
    let more = (more > 0).then(|| format!("  and {more} more in the report"));
    items.take(most).flatten().chain(more).collect()
}

/// Why devices did not get what they wanted; what nobody expected comes first.
fn refusals(record: &Record, most: &Most) -> Vec<String> {
    if record.reasons.is_empty() {
        return Vec::new();
    }
    let mut reasons: Vec<&Reason> = record.reasons.iter().collect();
    reasons.sort_by_key(|reason| reason.expected);
    let mut lines = vec![String::new(), format!("Not {}", wanted(record))];
    lines.extend(reasons.iter().take(most.refusals).flat_map(|reason| refusal(record, reason, most)));
    if !most.repairs && reasons.iter().any(|reason| reason.expected && reason.defect.is_some()) {
        lines.push("  the repairs of what was wrong on purpose are in the report".to_owned());
    }
    let rest = reasons.get(most.refusals..).unwrap_or_default();
    if !rest.is_empty() {
        let devices = rest.iter().map(|reason| reason.count).sum();
        let all = format!("and {} for {} more in the report", counted(devices, "device"), rest.len());
        let kinds = if rest.len() > 1 { format!(": {}", by_code(rest)) } else { String::new() };
        lines.extend(paragraph("  ", 4, &format!("{all}{kinds}")));
    }
    lines
}

/// How often each outcome and code is among these reasons, the most frequent first.
fn by_code(reasons: &[&Reason]) -> String {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for reason in reasons {
        let code = reason.code.map(|code| format!(" {code}")).unwrap_or_default();
        *kinds.entry(format!("{}{code}", reason.outcome.as_str())).or_default() += reason.count;
    }
    let mut kinds: Vec<(String, u64)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kinds = kinds.into_iter().map(|(kind, count)| format!("{} {kind}", grouped(count)));
    kinds.collect::<Vec<_>>().join(", ")
}

fn refusal(record: &Record, reason: &Reason, most: &Most) -> Vec<String> {
    let code = reason.code.map(|code| format!(" {code}")).unwrap_or_default();
    let phase = reason.phase.as_ref().map(|phase| format!(" at {phase}")).unwrap_or_default();
    let judged = judged(record, reason);
    let why = match (&reason.defect, reason.expected) {
        (Some(defect), true) => format!(" [{defect}]"),
        (Some(defect), false) => format!(" [{defect}, {judged}]"),
        (None, true) => String::new(),
        (None, false) => format!(" [{judged}]"),
    };
    let Reason { outcome, count, message, explanation, repair, trail, .. } = reason;
    let what = format!("{}{code}{phase}: {message}{why}", outcome.as_str());
    let mut lines = paragraph(&format!("{:>8} ", grouped(*count)), 9, &what);
    lines.extend(paragraph("           why: ", 16, explanation));
    // What was wrong on purpose explains itself.
    let on_purpose = reason.expected && reason.defect.is_some();
    let first = trail.first().filter(|_| most.trails || !on_purpose);
    lines.extend(first.iter().flat_map(|step| paragraph("         trail: ", 16, step)));
    if most.repairs || !on_purpose {
        lines.extend(paragraph("        repair: ", 16, repair));
    }
    lines
}

/// A table. Where it would be too wide, the longest cells of its widest words stand above their rows; where that does not
/// help, the numbers of each row have its words below.
pub(crate) fn table(table: &Table, most: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    out.extend(paragraph("", 2, &format!("{} ({})", table.title, table.note)));
    if table.rows.is_empty() {
        return out;
    }
    let whole = aligned(table, 0);
    if whole.iter().all(|line| columns(line.trim_end()) <= WIDTH) {
        out.extend(whole.first().cloned());
        out.extend(cut(whole.into_iter().skip(1).map(|line| vec![line]), most));
        return out;
    }
    if let Some((head, rows)) = broken(table) {
        out.push(head);
        out.extend(cut(rows.into_iter(), most));
        return out;
    }
    let mut numbers = aligned(table, table.words).into_iter();
    out.extend(numbers.next());
    let row = |(numbers, row): (String, &Vec<String>)| {
        let words = row.get(..table.words).unwrap_or_default().join(" ");
        std::iter::once(numbers).chain(paragraph("      ", 6, &words)).collect()
    };
    out.extend(cut(numbers.zip(&table.rows).map(row), most));
    out
}

/// The narrowest that a column of words is made.
const LEAST_WORDS: usize = 24;

/// The head of a table and the lines of each row, the widest column of words as narrow as the others leave it room. What
/// is longer stands above its row, whole, so that it can be searched for. Nothing where there is too little room.
fn broken(table: &Table) -> Option<(String, Vec<Vec<String>>)> {
    let widths = widths(table);
    let widest = (0..table.words).max_by_key(|&column| widths.get(column))?;
    let others: usize = widths.iter().sum::<usize>() + 2 * widths.len() - widths.get(widest)?;
    let room = WIDTH.checked_sub(others).filter(|room| *room >= LEAST_WORDS)?;
    let mut narrow = table.clone();
    let cells = narrow.rows.iter_mut().filter_map(|row| row.get_mut(widest));
    let long: Vec<String> =
        cells.map(|cell| if columns(cell) > room { std::mem::take(cell) } else { String::new() }).collect();
    let mut lines = aligned(&narrow, 0).into_iter();
    let head = lines.next()?;
    let rows = lines.zip(long).map(|(line, long)| {
        let above = if long.is_empty() { Vec::new() } else { paragraph("  ", 4, &long) };
        above.into_iter().chain([line]).collect()
    });
    Some((head, rows.collect()))
}

/// How wide each column of a table is.
fn widths(table: &Table) -> Vec<usize> {
    let of = |column: usize, head: &str| {
        let cells = table.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| columns(cell)).max().unwrap_or(0).max(columns(head))
    };
    table.head.iter().enumerate().map(|(column, head)| of(column, head)).collect()
}

/// The columns of a table from one of them on, its head first.
fn aligned(table: &Table, from: usize) -> Vec<String> {
    let head: Vec<String> = table.head.iter().map(|&cell| cell.to_owned()).collect();
    let rows = || std::iter::once(&head).chain(&table.rows);
    let widths = widths(table);
    let cell = |(at, (cell, &width)): (usize, (&String, &usize))| match at < table.words {
        true => format!("  {cell:<width$}"),
        false => format!("  {cell:>width$}"),
    };
    rows().map(|row| row.iter().zip(&widths).enumerate().skip(from).map(cell).collect()).collect()
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
            ("service, unsuccessful", 2, "6", 0.006),
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
        record.reconciliation = vec![Check::new("polls", 1, 2, 0); 30];
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
        assert!(text.contains("  and 29 devices for 29 more in the report: 29 refused 401002\n"), "{text}");
        for more in [28, 29] {
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
        assert!(text.starts_with("capacity ") && text.contains("\nGENERATOR-LIMITED: demo\n"), "{text}");
    }

    /// A record whose names, messages and numbers are as long as they get.
    fn wide() -> Record {
        let mut record = demo();
        record.verdict.reasons = vec!["a sentence that goes on for longer than a line has room ".repeat(3)];
        record.roll_up[0].path =
            vec!["factory line of the second hall, intermediate 1 55e5906f".to_owned(); 2];
        record.clocks.lateness = times_of("lateness", 1_000, 90_000);
        record.clocks.service_time.count = 1_000_000;
        record.clocks.service_time.max_us = 600_000_000;
        record.gates = vec![gate("service_time_unsuccessful.p99", "s", Some(50.0), 60.0)];
        record.gates[0].at_least = Some(0.5);
        record.gates.push(gate("outcome.protocol_error.share", "share", Some(0.000_012_34), 0.05));
        record.tls = vec![TlsCount {
            suite: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned(),
            ..TlsCount::default()
        }];
        record.retries = Retries { throttled: 58_088, server_error: 5, connection: 1_000, timeout: 77 };
        record.held = Some(Held { devices: 300, kept: 10, released: 290, peak: 300, ..Held::default() });
        record.throughput.shards_apart = true;
        record.generator.findings =
            vec!["the generator's two threads could have run and were not let to".repeat(2)];
        for reason in &mut record.reasons {
            reason.trail =
                vec!["`CN=late-0843` cannot be used: it has expired, and so has the one above it".to_owned()];
            reason.explanation =
                "another generation of its CA signed its certificate: it sends that name, another key"
                    .to_owned();
        }
        record
    }

    #[test]
    fn no_line_is_wider_than_a_terminal_but_for_a_word_that_is() {
        for record in [demo(), wide(), crowded()] {
            let text = summary(&record);
            for line in text.lines().filter(|line| line.split_whitespace().count() > 1) {
                assert!(line.chars().count() <= WIDTH, "{line}\nin\n{text}");
            }
            assert!(text.lines().count() <= MOST_LINES, "{text}");
        }
    }

    #[test]
    fn a_way_that_is_too_long_for_a_row_stands_above_it_and_moves_no_other() {
        let mut record = wide();
        record.roll_up.push(demo().roll_up[0].clone());
        let text = summary(&record);
        assert_eq!(line(&text, "Root > factory line")[0], "Root");
        let ends: Vec<usize> = text.lines().filter(|line| line.ends_with("10,000")).map(columns).collect();
        assert_eq!((ends.len(), ends[0]), (2, ends[1]), "{text}");
        assert!(line(&text, "Root > Line A > line-a > hub-1").len() > 8, "{text}");
    }

    #[test]
    fn a_table_without_room_for_its_words_has_them_below_its_numbers() {
        let cells = ["a way that is longer than what is left", "1,000,000,000,000"];
        let mut row = vec![cells[0].to_owned()];
        row.extend(vec![cells[1].to_owned(); 4]);
        let head = vec!["way", "a", "b", "c", "d"];
        let lines = table(&Table { title: "T", note: String::new(), head, words: 1, rows: vec![row] }, 1);
        assert_eq!(lines.last().map(|line| line.trim()), Some(cells[0]), "{lines:?}");
    }

    #[test]
    fn where_nobody_was_measured_there_is_no_time_and_no_way() {
        let mut record = demo();
        record.clocks.service_time = crate::PhaseStats::default();
        record.roll_up.clear();
        let text = summary(&record);
        assert_eq!(line(&text, "service time  ")[2..], ["0", "-", "-", "-", "-", "-"]);
        assert!(text.contains("nobody rolled up") && !text.contains("expected  actual"), "{text}");
    }

    #[test]
    fn reasons_beyond_the_first_are_counted_by_their_code() {
        let mut record = demo();
        let one = record.reasons[0].clone();
        record.reasons = vec![one.clone(); 9];
        for (at, code) in [(7, 404_201), (8, 404_201)] {
            record.reasons[at] = Reason { code: Some(code), count: 5, ..one.clone() };
        }
        let text = summary(&record);
        assert!(text.contains("more in the report: 10 refused 404201, "), "{text}");
    }

    #[test]
    fn a_paragraph_that_does_not_end_is_cut() {
        let lines = paragraph("why: ", 5, &"word ".repeat(400));
        assert_eq!((lines.len(), lines[MOST_WRAPPED - 1].as_str()), (MOST_WRAPPED, "     ..."));
        assert_eq!(paragraph("  ", 2, &"x".repeat(200)), [format!("  {}", "x".repeat(200))]);
    }

    #[test]
    fn what_nobody_expected_is_told_first_with_the_service_s_account_of_it() {
        let mut record = demo();
        record.reasons.truncate(2);
        record.reasons[1].expected = false;
        record.reasons[1].defect = None;
        let text = summary(&record);
        let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in\n{text}"));
        assert!(place("unauthorized leaf-only [NOT expected]") < place("unauthorized expired [expired]"));
        assert_eq!(text.matches("trail: leaf > issuer").count(), 2, "{text}");
    }

    #[test]
    fn the_service_s_account_is_left_out_first_where_the_defect_explains_itself() {
        let mut record = demo();
        record.clocks.lateness = times_of("lateness", 3, 1);
        record.gates = vec![gate("response_time.p99", "s", Some(0.1), 0.2); 8];
        record.reasons[0].defect = None;
        let text = summary(&record);
        assert_eq!(text.matches("trail: ").count(), 1, "{text}");
    }

    #[test]
    fn a_message_cannot_move_the_cursor() {
        let mut record = demo();
        record.reasons[0].message = "a\u{1b}[2Jb\nc".to_owned();
        assert!(summary(&record).contains("a\u{fffd}[2Jb\u{fffd}c"));
    }
}
