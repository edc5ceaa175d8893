//! How a run goes, in one line, for logs.

use super::frame::{is_final, moment};
use super::{Header, quantile};
use crate::cli::figures::{counted, grouped, latency, rate};
use crate::collector::Glance;
use reports::OutcomeKind;

/// The line, without its end.
pub(super) fn line(header: &Header, glance: &Glance<'_>) -> String {
    let (last, outcomes) = (glance.last, &glance.total.outcomes);
    let good = outcomes.count(OutcomeKind::Assigned) + outcomes.count(OutcomeKind::Connected);
    let mut words = vec![moment(header, glance)];
    if glance.rate_to_come() > 0.0 {
        words.push(format!("planned {}/s", rate(glance.rate_to_come())));
    }
    words.push(format!("offered {}/s", grouped(last.offered)));
    words.push(format!("achieved {}/s", grouped(last.finished)));
    if glance.waiting() > 0 {
        words.push(format!("waiting {}", grouped(glance.waiting())));
    }
    words.push(format!("in flight {}", grouped(glance.in_flight)));
    if glance.held > 0 {
        words.push(format!("held {}", grouped(glance.held)));
    }
    words.push(format!("good {}", grouped(good)));
    words.push(format!("other {}", grouped(outcomes.total() - good)));
    let p99 = quantile(&last.clocks.response, 0.99);
    words.extend(p99.map(|p99| format!("response p99 {}", latency(p99))));
    let open = || glance.gates.iter().filter(|gate| !gate.passed);
    let failed = open().filter(|gate| is_final(gate)).count() as u64;
    let pending = open().count() as u64 - failed;
    let gates = [(failed, "failed"), (pending, "pending")].into_iter().filter(|(count, _)| *count > 0);
    words.extend(gates.map(|(count, how)| format!("{} {how}", counted(count, "gate"))));
    words.join("  ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{header, sight};
    use super::*;

    #[test]
    fn a_line_says_what_a_log_needs() {
        let sight = sight(1);
        assert_eq!(
            line(&header(), &sight.glance()),
            "12 s, arrivals until 1 min  planned 1,200/s  offered 1,200/s  achieved 1,198/s  waiting 120  in flight 35  \
             held 7  good 14,300  other 65  response p99 9.00 ms  1 gate pending"
        );
    }

    #[test]
    fn a_line_after_the_last_arrival_plans_no_more() {
        let mut sight = sight(1);
        (sight.total.offered, sight.total.started) = (72_000, 72_000);
        let line = line(&header(), &sight.glance());
        assert!(line.starts_with("12 s, all have come  offered "), "{line}");
        assert!(!line.contains("planned") && !line.contains("waiting"), "{line}");
    }
}
