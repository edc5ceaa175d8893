//! The view of a running load on a terminal: at most 22 lines of at most 80 columns of plain ASCII, so that a window of
//! 80x24 holds still.

use super::{Header, quantile};
use crate::cli::figures::{by, cut, grouped, latency, percent, rate, span};
use crate::collector::Glance;
use crate::gates;
use crate::recorder::{ReasonKey, Recorder};
use hdrhistogram::Histogram;
use reports::{GateResult, OutcomeKind};
use sim_device::Phase;

/// The widest a line may be.
const WIDTH: usize = 80;
/// How many reasons are shown.
const MOST_REASONS: usize = 3;
/// How many gates are shown.
const MOST_GATES: usize = 4;

/// The view, a line each.
pub(super) fn frame(header: &Header, glance: &Glance<'_>) -> Vec<String> {
    let mut lines = vec![headline(header, glance), rates(glance), devices(glance)];
    lines.extend(times(glance));
    lines.push(outcomes(glance.total));
    lines.extend(reasons(glance.total));
    lines.extend(gates_of(glance.gates));
    lines.push(generator(glance));
    lines.iter().map(|line| cut(line, WIDTH)).collect()
}

fn headline(header: &Header, glance: &Glance<'_>) -> String {
    let ended = glance.total.outcomes.total();
    let share = percent(ended as f64 / glance.planned.max(1) as f64);
    format!(
        "{}  {}  {} of {} arrivals ended ({share})",
        cut(&header.name, 24),
        moment(header, glance),
        grouped(ended),
        grouped(glance.planned)
    )
}

/// How long it goes, and how long arrivals are planned to come.
pub(super) fn moment(header: &Header, glance: &Glance<'_>) -> String {
    let elapsed = span(std::time::Duration::from_secs(glance.elapsed.as_secs()));
    match header.last_due {
        _ if glance.all_have_come() => format!("{elapsed}, all have come"),
        Some(last) => format!("{elapsed}, arrivals until {}", by(last)),
        None => elapsed,
    }
}

fn rates(glance: &Glance<'_>) -> String {
    let planned = if glance.rate_to_come() > 0.0 {
        format!("planned {}/s   ", rate(glance.rate_to_come()))
    } else {
        String::new()
    };
    let last = glance.last;
    format!("rate       {planned}offered {}/s   achieved {}/s", grouped(last.offered), grouped(last.finished))
}

fn devices(glance: &Glance<'_>) -> String {
    format!(
        "devices    waiting {}   in flight {}   held {}   retries {}/s",
        grouped(glance.waiting()),
        grouped(glance.in_flight),
        grouped(glance.held),
        grouped(glance.last.retries.total())
    )
}

/// Both clocks, then every phase that devices have gone through, two beside each other.
fn times(glance: &Glance<'_>) -> Vec<String> {
    let clocks = &glance.last.clocks;
    let head = cell("last second", "p50", "p99");
    let seen =
        |phase: &&Phase| glance.total.clocks.phases.get(**phase as usize).is_some_and(|all| !all.is_empty());
    let phases: Vec<String> = Phase::ALL
        .iter()
        .filter(seen)
        .filter_map(|phase| Some(timed(phase.as_str(), clocks.phases.get(*phase as usize)?)))
        .collect();
    let mut lines = vec![
        beside(&head, &cell("", "p50", "p99")),
        beside(&timed("service", &clocks.service), &timed("response", &clocks.response)),
    ];
    let left = phases.len().div_ceil(2);
    let (first, second) = phases.split_at(left);
    let second = second.iter().map(String::as_str).chain(std::iter::repeat(""));
    lines.extend(first.iter().zip(second).map(|(left, right)| beside(left, right)));
    lines
}

fn timed(name: &str, times: &Histogram<u64>) -> String {
    let shown = |at| quantile(times, at).map_or_else(|| "-".to_owned(), latency);
    cell(name, &shown(0.5), &shown(0.99))
}

fn cell(name: &str, p50: &str, p99: &str) -> String {
    format!("{name:<13}{p50:>12}{p99:>12}")
}

fn beside(left: &str, right: &str) -> String {
    format!("{left}    {right}").trim_end().to_owned()
}

fn outcomes(total: &Recorder) -> String {
    let mut line = "outcomes ".to_owned();
    let shown = OutcomeKind::ALL.iter().filter(|kind| total.outcomes.count(**kind) > 0);
    let words: Vec<String> =
        shown.map(|kind| format!("  {} {}", kind.as_str(), grouped(total.outcomes.count(*kind)))).collect();
    let more = |left: usize| format!("  +{left} kinds");
    for (at, word) in words.iter().enumerate() {
        let left = words.len() - at;
        let reserve = if left > 1 { more(left - 1).len() } else { 0 };
        if line.len() + word.len() + reserve > WIDTH {
            line.push_str(&more(left));
            break;
        }
        line.push_str(word);
    }
    line
}

/// The most frequent reasons, those that were not meant first.
fn reasons(total: &Recorder) -> Vec<String> {
    let mut all: Vec<(&ReasonKey, u64)> =
        total.reasons.iter().map(|(key, (count, _))| (key, *count)).collect();
    // Every part that a line shows is in the order, so that equal counts do not change places.
    all.sort_by(|(a, m), (b, n)| {
        (a.expected, n, &a.message, a.code, a.phase.map(|p| p as u8)).cmp(&(
            b.expected,
            m,
            &b.message,
            b.code,
            b.phase.map(|p| p as u8),
        ))
    });
    let mut lines: Vec<String> =
        all.iter().take(MOST_REASONS).map(|(key, count)| reason(key, *count)).collect();
    if all.len() > MOST_REASONS {
        lines.push(format!("{:>13}  more reasons", format!("+{}", all.len() - MOST_REASONS)));
    }
    lines
}

fn reason(key: &ReasonKey, count: u64) -> String {
    let phase = key.phase.map(|phase| format!(" at {}", phase.as_str())).unwrap_or_default();
    let code = key.code.map(|code| format!(" {code}")).unwrap_or_default();
    let meant = if key.expected { "" } else { "unexpected, " };
    format!("{:>13}  {meant}{}{phase}{code}: {}", grouped(count), key.outcome.as_str(), key.message)
}

/// How many gates are met, and some of them: those that are not first.
fn gates_of(all: &[GateResult]) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let met = all.iter().filter(|gate| gate.passed).count();
    let mut lines = vec![format!("gates      {met} of {} met", all.len())];
    let mut order: Vec<&GateResult> = all.iter().collect();
    order.sort_by_key(|gate| gate.passed);
    let shown = order.iter().take(MOST_GATES);
    lines.extend(shown.map(|gate| format!("{:>13}  {}", state(gate), gates::told(gate))));
    if all.len() > MOST_GATES {
        lines.push(format!("{:>13}  more gates", format!("+{}", all.len() - MOST_GATES)));
    }
    lines
}

fn state(gate: &GateResult) -> &'static str {
    match (gate.passed, is_final(gate)) {
        (true, _) => "met",
        (false, true) => "failed",
        (false, false) => "pending",
    }
}

/// Whether a gate cannot be met any more: counts only grow, everything else may get better until the end.
pub(super) fn is_final(gate: &GateResult) -> bool {
    let above = gate.measured.zip(gate.at_most).is_some_and(|(measured, most)| measured > most);
    !gate.passed && above && gate.unit == "count"
}

fn generator(glance: &Glance<'_>) -> String {
    let late =
        quantile(&glance.last.clocks.lateness, 0.99).map(|late| format!("   late p99 {}", latency(late)));
    format!(
        "generator  busy {}   starved {}{}",
        percent(glance.cpu_share),
        percent(glance.starved_share),
        late.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::{extreme, header, sight};
    use super::*;

    #[test]
    fn a_view_tells_rates_times_outcomes_gates_and_the_generators_health() {
        let sight = sight(1);
        let drawn = frame(&header(), &sight.glance()).join("\n");
        let expected = "\
steady  12 s, arrivals until 1 min  14,365 of 72,000 arrivals ended (20 %)
rate       planned 1,200/s   offered 1,200/s   achieved 1,198/s
devices    waiting 120   in flight 35   held 7   retries 4/s
last second           p50         p99                          p50         p99
service           2.00 ms     2.00 ms    response          9.00 ms     9.00 ms
tcp               1.00 ms     1.00 ms    register           250 ms      250 ms
tls               3.00 ms     3.00 ms
outcomes   assigned 14,300  refused 65
            3  unexpected, refused at register 401002: Unauthorized
           62  refused at register 401002: CA certificate not found.
gates      1 of 2 met
      pending  lateness.p99 <= 100us: measured 200.0 ms
          met  response_time.p99 <= 500ms: measured 412.0 ms
generator  busy 45 %   starved 0 %   late p99 0.20 ms";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn only_a_count_that_is_too_high_has_failed_before_the_end() {
        for (unit, measured, at_least, at_most, expected) in [
            ("count", Some(3.0), None, Some(2.0), "failed"),
            ("count", Some(3.0), Some(9.0), None, "pending"),
            ("share", Some(3.0), None, Some(2.0), "pending"),
            ("s", None, None, Some(2.0), "pending"),
        ] {
            let gate =
                GateResult { unit: unit.to_owned(), measured, at_least, at_most, ..GateResult::default() };
            assert_eq!(state(&gate), expected, "{gate:?}");
            assert_eq!(state(&GateResult { passed: true, ..gate }), "met");
        }
    }

    #[test]
    fn nothing_makes_a_view_larger_than_a_small_terminal() {
        let sight = extreme();
        let mut header = header();
        header.name = "ü".repeat(300);
        let drawn = frame(&header, &sight.glance());
        assert_eq!(drawn.len(), 22, "{drawn:#?}");
        for line in &drawn {
            let columns: usize = line.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
            assert!(columns <= WIDTH && !line.contains(char::is_control), "{line}");
        }
    }

    #[test]
    fn a_run_that_has_just_begun_has_a_view_too() {
        let mut sight = sight(1);
        let start = sight.total.start_of_run();
        (sight.total, sight.last) = (Recorder::new(start), Recorder::new(start));
        sight.gates.clear();
        let drawn = frame(&Header { name: "x".into(), last_due: None, metrics: None }, &sight.glance());
        assert_eq!(drawn.len(), 7, "{drawn:#?}");
        assert!(drawn[4].contains('-'), "{drawn:#?}");
    }
}
