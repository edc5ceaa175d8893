//! What a report says, in the order in which it says it, before it is text or a page.
//!
//! Both renderings are made from these sections, so they cannot say different things.

mod endings;
mod setup;
mod ways;

pub(crate) use crate::compare::told::table as comparison;
pub(crate) use endings::{
    judged, outcomes, retries_by_cause, sorted_reasons, steps, throttling, what_and_repair,
};
pub(crate) use setup::{
    certificates, facts, generator_facts, ledger_facts, purpose, set_up, settings, shards, sums,
};
pub(crate) use ways::{
    Cell, HubCount, Matrix, Place, Tree, allowed_mark, even_share, hub_counts, hubs, matrix, matrix_table,
    tree,
};

use crate::PhaseStats;
use crate::record::{Check, GateResult, OutcomeKind, Record, VerdictKind};

/// A table under a heading.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) note: String,
    pub(crate) head: Vec<&'static str>,
    /// How many columns, from the left, hold text; the others hold numbers.
    pub(crate) words: usize,
    pub(crate) rows: Vec<Vec<String>>,
}

/// A number with thousands separators.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with thousands separators and one decimal.
pub(crate) fn decimal(number: f64) -> String {
    let tenths = (number.max(0.0) * 10.0).round() as u64;
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// Microseconds as milliseconds, with as many decimals as their size leaves worth reading.
pub(crate) fn milliseconds(microseconds: u64) -> String {
    match microseconds {
        0..100_000 => format!("{}.{:03}", microseconds / 1_000, microseconds % 1_000),
        100_000..10_000_000 => decimal(microseconds as f64 / 1_000.0),
        _ => grouped(microseconds.saturating_add(500) / 1_000),
    }
}

/// One or many of a thing.
pub(crate) fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
}

/// The verdict in words.
pub(crate) fn verdict(record: &Record) -> &'static str {
    match record.verdict.kind {
        VerdictKind::Good => "GOOD",
        VerdictKind::GateFailed => "GATE FAILED",
        VerdictKind::Invalid => "INVALID",
        VerdictKind::GeneratorLimited => "GENERATOR-LIMITED",
        VerdictKind::Interrupted => "INTERRUPTED",
    }
}

/// What the verdict means for who reads the figures.
pub(crate) fn worth(record: &Record) -> &'static str {
    match record.verdict.kind {
        VerdictKind::Good if record.reasons.iter().any(|reason| !reason.expected) => {
            "The gates are met, and devices fared otherwise than the scenario means; the figures stand."
        }
        VerdictKind::Good => "Everything went as the scenario said it should; the figures stand.",
        VerdictKind::GateFailed => "The figures stand, and they are not what the scenario asked for.",
        VerdictKind::Invalid => "The sums do not add up: no figure here can be relied on.",
        VerdictKind::GeneratorLimited => {
            "The load generator was the limit: the figures say more about it than about the service."
        }
        VerdictKind::Interrupted => "The run was stopped early; this is what was measured until then.",
    }
}

/// The exit status that the verdict stands for, and what it says.
pub(crate) fn exit(record: &Record) -> (u8, &'static str) {
    let nobody_answered = record.planned > 0 && record.outcomes.unreachable == record.planned;
    match record.verdict.kind {
        VerdictKind::GateFailed if nobody_answered => (4, "the target does not answer"),
        VerdictKind::Good => (0, "it did what was asked"),
        VerdictKind::GateFailed => (99, "a gate failed"),
        VerdictKind::Invalid => (98, "the result is invalid, because sums do not add up"),
        VerdictKind::GeneratorLimited => (98, "the result is invalid, because the generator was the limit"),
        VerdictKind::Interrupted => (130, "interrupted"),
    }
}

/// The verdict and what was run; of a run that a gate ended, which and when.
pub(crate) fn headline(record: &Record) -> String {
    let ended = record.gates.iter().find_map(|gate| Some((gate.aborted_at?, &gate.gate)));
    let ended = ended.map(|(at, gate)| format!(", ended at {} s by {gate}", decimal(at)));
    format!("{}: {}{}", verdict(record), record.scenario.name, ended.unwrap_or_default())
}

/// What devices wanted, as far as the record tells.
pub(crate) fn wanted(record: &Record) -> &'static str {
    let kind = if record.outcomes.connected > 0 { OutcomeKind::Connected } else { OutcomeKind::Assigned };
    kind.as_str()
}

/// How the plan splits up: `10,000 assigned + 6 refused = 10,006 planned`.
pub(crate) fn totals(record: &Record) -> String {
    let named = OutcomeKind::ALL.iter().filter(|kind| {
        let always = kind.as_str() == wanted(record) || **kind == OutcomeKind::Refused;
        always || record.outcomes.count(**kind) > 0
    });
    let parts: Vec<_> =
        named.map(|kind| format!("{} {}", grouped(record.outcomes.count(*kind)), kind.as_str())).collect();
    let (sum, planned) = (record.outcomes.total(), grouped(record.planned));
    match sum == record.planned {
        true => format!("{} = {planned} planned", parts.join(" + ")),
        false => format!("{} = {}, NOT the {planned} planned", parts.join(" + "), grouped(sum)),
    }
}

/// What the scenario should lead to, beside what it led to.
pub(crate) fn expected(record: &Record) -> String {
    let success = record.outcomes.assigned + record.outcomes.connected;
    let others = record.outcomes.total() - success;
    let expectations = &record.expectations;
    let fits = |expected: u64, found: u64| (expected..=expected + expectations.open).contains(&found);
    let as_expected = fits(expectations.assigned, success)
        && fits(expectations.refused, others)
        && record.reasons.iter().all(|reason| reason.expected);
    let end = match (as_expected, allowed(record)) {
        (true, _) => "as expected",
        (false, true) => "it came otherwise, as the gates allow",
        (false, false) => "NOT as expected",
    };
    let either = match expectations.open {
        0 => String::new(),
        open => format!(", {} may end either way", grouped(open)),
    };
    let (assigned, refused) = (grouped(expectations.assigned), grouped(expectations.refused));
    format!("expected {assigned} {}, {refused} not{either}: {end}", wanted(record))
}

/// Whether what came otherwise than the scenario means by itself is nothing to worry about: its gates say how
/// devices should end, and all are met. The scenario has no such gates if one is implied.
pub(crate) fn allowed(record: &Record) -> bool {
    let own_gates = !record.gates.is_empty() && record.gates.iter().all(|gate| !gate.implied);
    record.verdict.kind == VerdictKind::Good && own_gates
}

/// What the run must have shown, what was not met first.
pub(crate) fn gates(record: &Record) -> Table {
    let stands = |gate: &GateResult| gate.passed && gate.aborted_at.is_none();
    let mut gates: Vec<&GateResult> = record.gates.iter().collect();
    gates.sort_by_key(|gate| stands(gate));
    let row = |gate: &&GateResult| {
        let shown = |value: f64| quantity(value, &gate.metric, &gate.unit);
        let result = match (gate.passed, gate.aborted_at) {
            (true, None) => "passed".to_owned(),
            (false, None) => "FAILED".to_owned(),
            (false, Some(moment)) => format!("FAILED at {} s", decimal(moment)),
            (true, Some(moment)) => format!("FAILED at {} s, met at the end", decimal(moment)),
        };
        let bound = match (gate.at_least, gate.at_most) {
            (Some(least), Some(most)) => format!("{} to {}", shown(least), shown(most)),
            (Some(least), None) => format!(">= {}", shown(least)),
            (None, Some(most)) => format!("<= {}", shown(most)),
            (None, None) => String::new(),
        };
        let mark = if gate.implied { " (implied)" } else { "" };
        let measured = gate.measured.map_or_else(|| "nothing".to_owned(), shown);
        vec![format!("{}{mark}", gate.metric), result, measured, bound]
    };
    let verdict = match record.gates.iter().filter(|gate| !stands(gate)).count() {
        0 if record.gates.is_empty() => "the scenario has none".to_owned(),
        0 => "all passed".to_owned(),
        failed => format!("{failed} of {} failed", record.gates.len()),
    };
    let implied = if record.gates.iter().any(|gate| gate.implied) {
        "; implied: the scenario has none on outcomes"
    } else {
        ""
    };
    Table {
        title: "Gates",
        note: format!("{verdict}{implied}"),
        head: vec!["metric", "result", "measured", "bound"],
        words: 2,
        rows: gates.iter().map(row).collect(),
    }
}

/// The number of a metric in the unit that gates and comparisons name: `s`, `/s`, `count` or `share`.
pub(crate) fn quantity(value: f64, metric: &str, unit: &str) -> String {
    match unit {
        "s" => format!("{} ms", milliseconds((value.max(0.0) * 1_000_000.0).round() as u64)),
        // An arrival can cause many.
        "share" if metric == "retries.share" => format!("{value:.2} per arrival"),
        "share" => {
            let percent = format!("{:.3}", value * 100.0);
            format!("{} %", percent.trim_end_matches('0').trim_end_matches('.'))
        }
        "count" if value.fract() == 0.0 => grouped(value.max(0.0) as u64),
        "/s" => format!("{} /s", decimal(value)),
        _ => format!("{value:.3}"),
    }
}

/// A share of 1 in percent: with one decimal, and where that would leave fewer than two digits of a share, or of what
/// is missing to the whole, with as many as it takes.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let small = percent.abs().min((100.0 - percent).abs());
    if !(1e-9..1.0).contains(&small) {
        return format!("{percent:.1} %");
    }
    // A tenth of a percent has its first digit in the first decimal.
    let decimals = (1.0 - small.log10().floor()).clamp(1.0, 6.0) as usize;
    let digits = format!("{percent:.decimals$}");
    let least = digits.find('.').map_or(digits.len(), |point| point + 2);
    let kept = digits.trim_end_matches('0').len().max(least);
    format!("{} %", &digits[..kept])
}

/// The figures that a reader looks for first, each under a name and in its unit.
pub(crate) fn figures(record: &Record) -> Vec<(&'static str, String)> {
    let reached = record.outcomes.assigned + record.outcomes.connected;
    let reached_what =
        if record.outcomes.connected > 0 { "connected of planned" } else { "assigned of planned" };
    let response = &record.clocks.response_time;
    let time = |time: u64| match response.count {
        0 => "none taken".to_owned(),
        _ => format!("{} ms", milliseconds(time)),
    };
    let busy = match (record.generator.limited, record.generator.cpu_share) {
        (true, _) => "it was the LIMIT".to_owned(),
        (false, Some(share)) => format!("{} busy", percent(share)),
        (false, None) => "health not known".to_owned(),
    };
    let highest = record.capacity.as_ref().map(|capacity| ("highest rate", highest_rate(capacity)));
    let figures = vec![
        (reached_what, format!("{} of {}", grouped(reached), grouped(record.planned))),
        ("throughput", format!("{} devices/min", decimal(record.throughput.devices_per_minute))),
        ("response p50", time(response.p50_us)),
        ("response p99", time(response.p99_us)),
        ("duration", format!("{} s", decimal(record.wall_seconds))),
        ("generator", busy),
    ];
    highest.into_iter().chain(figures).collect()
}

/// How the load generator fared, as one line.
pub(crate) fn generator(record: &Record) -> String {
    let generator = &record.generator;
    let threads = (generator.workers > 0).then(|| counted(generator.workers, "thread"));
    let busy = generator.cpu_share.map(|share| format!("{} busy", percent(share)));
    let starved = generator.starved_share.map(|share| format!("{} starved", percent(share)));
    let lateness = &record.clocks.lateness;
    let late = (lateness.count > 0).then(|| {
        format!(
            "arrivals late by p50 {} ms, p99 {} ms",
            milliseconds(lateness.p50_us),
            milliseconds(lateness.p99_us)
        )
    });
    let limited = generator.limited.then(|| "it was the LIMIT".to_owned());
    let parts: Vec<_> = [limited, threads, busy, starved, late].into_iter().flatten().collect();
    if parts.is_empty() { "nothing is known of its health".to_owned() } else { parts.join(", ") }
}

/// What else is to be said of a run in a line each: a name, and what was found. What did not happen is left out.
pub(crate) fn findings(record: &Record) -> Vec<(&'static str, String)> {
    let found = [
        ("retries", retries(record)),
        ("slots", slots(record)),
        ("held", held(record)),
        ("tls", tls(record).rows.first().map(|row| common_tls(row, record.tls.len()))),
        ("events", events_in_short(record)),
        ("capacity", capacity_in_short(record)),
    ];
    found.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

fn retries(record: &Record) -> Option<String> {
    let retries = &record.retries;
    let causes = [
        ("throttled", retries.throttled),
        ("after a server error", retries.server_error),
        ("after a broken connection", retries.connection),
        ("after no answer in time", retries.timeout),
    ];
    let causes: Vec<_> = causes.into_iter().filter(|(_, count)| *count > 0).collect();
    let causes: Vec<_> =
        causes.into_iter().map(|(cause, count)| format!("{} {cause}", grouped(count))).collect();
    (retries.total() > 0).then(|| format!("{}: {}", grouped(retries.total()), causes.join(", ")))
}

fn slots(record: &Record) -> Option<String> {
    let (arrivals, longest) = record.generator.held_back()?;
    Some(format!(
        "{} waited until a slot, or their own device, was free, up to {} ms",
        counted(arrivals, "arrival"),
        milliseconds(longest)
    ))
}

fn held(record: &Record) -> Option<String> {
    let held = record.held?;
    // Who was there knows how many were connected; a journal does not, nor how the last ones left.
    let known = held.peak > 0 || held.devices == 0;
    let [devices, kept, dropped, released, peak, pings] =
        [held.devices, held.kept, held.dropped, held.released, held.peak, held.pings].map(grouped);
    let peak = if known { format!(", at most {peak} at a time") } else { String::new() };
    let others = match known {
        true => format!("{released} were released when the run ended"),
        false => format!("how it ended for {released} is not known"),
    };
    Some(format!(
        "{devices} stayed connected{peak}: {kept} as long as they were to, {dropped} lost the connection, {others}; \
         {pings} keep-alives answered"
    ))
}

fn common_tls(row: &[String], kinds: usize) -> String {
    let more = match kinds.saturating_sub(1) {
        0 => String::new(),
        more => format!("; {more} more in the report"),
    };
    format!("{}{more}", row.join(" "))
}

fn events_in_short(record: &Record) -> Option<String> {
    let failed = record.events.iter().filter(|event| event.failed.is_some()).count();
    let last = record.events.last()?;
    let failed = if failed > 0 { format!(", {failed} FAILED") } else { String::new() };
    let events = counted(record.events.len() as u64, "event");
    Some(format!("{events}{failed}; the last at {} s: {}", decimal(last.at_seconds), last.what))
}

/// The answer of a search for the highest rate.
pub(crate) fn capacity_in_short(record: &Record) -> Option<String> {
    let capacity = record.capacity.as_ref()?;
    let [low, high] = capacity.interval.map(decimal);
    let (rate, trials) = (highest_rate(capacity), counted(capacity.trials.len() as u64, "trial"));
    Some(format!("{rate} ({low} to {high}, {trials}), limited by: {}", capacity.limited_by))
}

/// The highest rate that met the gates. One that no limit was met below is the least that it can be.
fn highest_rate(capacity: &crate::Capacity) -> String {
    let least = if capacity.limited_by == "none" { "at least " } else { "" };
    format!("{least}{} arrivals/s", decimal(capacity.rate))
}

/// What TLS handshakes agreed on.
pub(crate) fn tls(record: &Record) -> Table {
    let row = |facts: &crate::TlsCount| {
        let handshake = if facts.resumed { "resumed" } else { "full" };
        vec![
            facts.version.clone(),
            facts.suite.clone(),
            facts.group.clone(),
            handshake.to_owned(),
            grouped(facts.count),
        ]
    };
    Table {
        title: "TLS",
        note: "what handshakes agreed on, by the attempts that ended on such a connection".to_owned(),
        head: vec!["version", "suite", "group", "handshake", "attempts"],
        words: 4,
        rows: record.tls.iter().map(row).collect(),
    }
}

/// What the operator did while devices arrived.
pub(crate) fn events(record: &Record) -> Table {
    let row = |event: &crate::EventDone| {
        let failed = event.failed.as_ref().map(|why| format!("FAILED: {why}"));
        vec![event.what.clone(), failed.unwrap_or_else(|| "done".to_owned()), decimal(event.at_seconds)]
    };
    Table {
        title: "Events",
        note: "what the operator did while devices arrived, in seconds from the start".to_owned(),
        head: vec!["event", "result", "at"],
        words: 2,
        rows: record.events.iter().map(row).collect(),
    }
}

/// The rates that were tried in search of the highest that meets the gates.
pub(crate) fn trials(record: &Record) -> Option<Table> {
    let capacity = record.capacity.as_ref()?;
    let row = |trial: &crate::Trial| {
        let result = match (trial.passed, trial.generator_limited) {
            (true, _) => "passed".to_owned(),
            (false, true) => "the generator was the limit".to_owned(),
            (false, false) => format!("FAILED {}", trial.failed.join("; ")),
        };
        vec![
            format!("search {}", trial.search),
            result,
            decimal(trial.rate),
            decimal(trial.achieved),
            milliseconds(trial.response_p99_us),
            grouped(trial.throttled),
        ]
    };
    Some(Table {
        title: "Capacity",
        note: format!("{}; {}", capacity_in_short(record)?, capacity.method),
        head: vec!["search", "result", "arrivals/s", "achieved/s", "response p99, ms", "throttled"],
        words: 2,
        rows: capacity.trials.iter().map(row).collect(),
    })
}

/// How fast it went.
pub(crate) fn throughput(record: &Record) -> String {
    let apart = match record.throughput.shards_apart {
        true => "; the shards did not run at the same time: throughput is not that of the whole",
        false => "",
    };
    format!(
        "{} devices/s, {} devices/min {} over {} s (minting: {} s){apart}",
        decimal(record.throughput.per_second),
        decimal(record.throughput.devices_per_minute),
        wanted(record),
        decimal(record.wall_seconds),
        decimal(record.minting_seconds),
    )
}

/// Which devices rolled up to which group, and were assigned to which hub.
pub(crate) fn roll_up(record: &Record) -> Table {
    let row = |way: &crate::RollUp| {
        let path = [std::slice::from_ref(&way.root), &way.path].concat().join(" > ");
        let differs = way.expected.is_some_and(|expected| expected != way.actual);
        let mark = if differs { allowed_mark(record, way.expected, way.actual) } else { "" };
        vec![
            format!("{path} > {} > {}", way.group, way.hub),
            way.expected.map_or_else(|| "-".to_owned(), grouped),
            grouped(way.actual),
            mark.to_owned(),
        ]
    };
    Table {
        title: "Roll-up",
        note: "root > intermediates > enrollment group > hub".to_owned(),
        head: vec!["way", "expected", "actual", ""],
        words: 1,
        rows: record.roll_up.iter().map(row).collect(),
    }
}

/// How long phases took, and attempts as a whole; no numbers where nobody was measured: 0 ms would be very fast.
pub(crate) fn times(record: &Record) -> Table {
    let row = |phase: &PhaseStats| {
        let mut row = vec![phase.phase.clone(), grouped(phase.count)];
        let times = [phase.p50_us, phase.p90_us, phase.p99_us, phase.p999_us, phase.max_us];
        row.extend(times.map(|us| if phase.count > 0 { milliseconds(us) } else { "-".to_owned() }));
        row
    };
    let clocks = [
        ("service time", &record.clocks.service_time),
        ("response time", &record.clocks.response_time),
        ("service, unsuccessful", &record.clocks.service_time_unsuccessful),
        ("lateness", &record.clocks.lateness),
    ];
    // Only open loads have it.
    let shown = clocks.into_iter().filter(|(name, clock)| *name != "lateness" || clock.count > 0);
    let named =
        |(name, clock): (&str, &PhaseStats)| row(&PhaseStats { phase: name.to_owned(), ..clock.clone() });
    Table {
        title: "Times in milliseconds",
        note: "service time from the start, response time from when due".to_owned(),
        head: vec!["phase", "count", "p50", "p90", "p99", "p99.9", "max"],
        words: 1,
        rows: record.phases.iter().map(row).chain(shown.map(named)).collect(),
    }
}

/// The client's counts beside the service's, those that differ first. What never was is left out, but for assignments,
/// which every run is about.
pub(crate) fn reconciliation(record: &Record) -> Table {
    let is_told = |check: &&Check| check.client + check.service > 0 || check.name == "assigned";
    let mut checks: Vec<&Check> = record.reconciliation.iter().filter(is_told).collect();
    checks.sort_by_key(|check| check.counts_agree());
    let row = |check: &&Check| {
        let mark = match check.counts_agree() {
            true if check.client == check.service => "agrees",
            true => "unheard",
            false => "DIFFERS",
        };
        vec![check.name.clone(), grouped(check.client), grouped(check.service), mark.to_owned()]
    };
    Table {
        title: "Client and service",
        note: compared(record),
        head: vec!["answers", "client heard", "service sent", ""],
        words: 1,
        rows: checks.iter().map(row).collect(),
    }
}

/// What the comparison with the service is worth.
fn compared(record: &Record) -> String {
    if record.ledger.is_none() {
        return "nothing to compare: the record has no ledger of the service".to_owned();
    }
    match record.reconciliation.iter().map(|check| check.unheard).max() {
        None => {
            "nothing to compare: attempts were given up, and do not know what they were answered".to_owned()
        }
        Some(0) => "counted independently on both sides".to_owned(),
        Some(unheard) => format!(
            "counted independently on both sides; devices stopped waiting {}, and may not have heard as many answers",
            counted(unheard, "time")
        ),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::*;

    /// Times of `count` devices, `step` microseconds apart.
    pub(crate) fn times_of(phase: &str, count: u64, step: u64) -> PhaseStats {
        let mut times = hdrhistogram::Histogram::<u64>::new(3).expect("a histogram");
        (1..=count).for_each(|n| times.record(n * step * 1_000).expect("in range"));
        PhaseStats::from_histogram(phase, &times).expect("stats")
    }

    fn refusal(defect: &str) -> Reason {
        Reason {
            outcome: OutcomeKind::Refused,
            phase: Some("register".to_owned()),
            code: Some(401_002),
            message: format!("unauthorized {defect}"),
            count: 1,
            expected: true,
            defect: Some(defect.to_owned()),
            sample_registration_id: "line-a-10000".to_owned(),
            explanation: format!("{defect} explained"),
            repair: format!("repair {defect}"),
            trail: vec!["leaf > issuer".to_owned()],
        }
    }

    fn second(t: u64, started: u64, assigned: u64) -> Second {
        Second { t, offered: started, started, finished: assigned, assigned, ..Second::default() }
    }

    /// The record of a good demo, made by hand: 10,000 assigned and 6 refused.
    pub(crate) fn demo() -> Record {
        let mint = |subject: &str| Issuer { subject: subject.to_owned(), count: 10_006, not_after_utc: None };
        Record {
            schema: SCHEMA.to_owned(),
            scenario: ScenarioText {
                name: "demo".to_owned(),
                file: "demo.toml".to_owned(),
                ..Default::default()
            },
            planned: 10_006,
            started: 10_006,
            finished: 10_006,
            ended: Ended::Completed,
            wall_seconds: 4.0,
            minting_seconds: 1.5,
            outcomes: Outcomes { assigned: 10_000, refused: 6, ..Outcomes::default() },
            reasons: ["expired", "leaf-only", "other-key", "cn", "ca", "disabled"].map(refusal).to_vec(),
            phases: ["tcp", "tls", "connect", "subscribe", "register", "poll"]
                .map(|phase| times_of(phase, 10, 100))
                .to_vec(),
            clocks: Clocks {
                service_time: times_of("service", 1_000, 1_000),
                response_time: times_of("response", 1_000, 2_000),
                service_time_unsuccessful: times_of("unsuccessful", 6, 1_000),
                lateness: PhaseStats::default(),
            },
            throughput: Throughput::of(10_000, 4.0),
            per_second: vec![second(0, 6_006, 5_000), Second { finished: 5_006, ..second(1, 4_000, 5_000) }],
            roll_up: vec![RollUp {
                root: "Root".to_owned(),
                path: vec!["Line A".to_owned()],
                group: "line-a".to_owned(),
                hub: "hub-1".to_owned(),
                expected: Some(10_000),
                actual: 10_000,
            }],
            expectations: Expectations { assigned: 10_000, refused: 6, open: 0 },
            ledger: Some(Ledger { assigned: 10_000, refused: 6, registers: 10_006, ..Ledger::default() }),
            reconciliation: vec![
                Check::new("assigned", 10_000, 10_000, 0),
                Check::new("registers", 10_006, 10_006, 0),
            ],
            verdict: Verdict { kind: VerdictKind::Good, reasons: vec![] },
            certificates: Certificates {
                issuers: vec![mint("Line A")],
                chain_bytes: 900,
                ..Certificates::default()
            },
            ..Record::default()
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, written) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), written);
        }
        for (share, written) in [
            (0.0, "0.0 %"),
            (1.0, "100.0 %"),
            (0.123_45, "12.3 %"),
            (0.006, "0.6 %"),
            (5.0 / 10_006.0, "0.05 %"),
            (6.0 / 10_006.0, "0.06 %"),
            (12.0 / 1_000_000.0, "0.0012 %"),
            (10_000.0 / 10_006.0, "99.94 %"),
            (f64::NAN, "NaN %"),
        ] {
            assert_eq!(percent(share), written);
        }
        assert_eq!([decimal(0.04), decimal(1_234.56), decimal(f64::NAN)], ["0.0", "1,234.6", "0.0"]);
        for (microseconds, written) in [
            (99_999, "99.999"),
            (100_049, "100.0"),
            (1_234_567, "1,234.6"),
            (9_999_949, "9,999.9"),
            (12_345_678, "12,346"),
        ] {
            assert_eq!(milliseconds(microseconds), written);
        }
    }

    #[test]
    fn totals_say_whether_they_add_up() {
        let mut record = demo();
        assert_eq!(totals(&record), "10,000 assigned + 6 refused = 10,006 planned");
        record.outcomes.shed = 2;
        assert_eq!(totals(&record), "10,000 assigned + 6 refused + 2 shed = 10,008, NOT the 10,006 planned");
    }

    #[test]
    fn a_refusal_nobody_expected_is_not_as_expected() {
        let mut record = demo();
        assert_eq!(expected(&record), "expected 10,000 assigned, 6 not: as expected");
        record.reasons[2].expected = false;
        assert_eq!(expected(&record), "expected 10,000 assigned, 6 not: NOT as expected");
    }

    #[test]
    fn devices_that_may_end_either_way_are_said_to() {
        let mut record = demo();
        record.expectations = Expectations { assigned: 9_990, refused: 0, open: 16 };
        assert_eq!(expected(&record), "expected 9,990 assigned, 0 not, 16 may end either way: as expected");
        record.expectations = Expectations { assigned: 9_980, refused: 10, open: 16 };
        assert_eq!(
            expected(&record),
            "expected 9,980 assigned, 10 not, 16 may end either way: NOT as expected"
        );
    }

    #[test]
    fn devices_that_only_connect_are_not_said_to_be_assigned() {
        let mut record = demo();
        record.outcomes = Outcomes { connected: 10_000, refused: 6, ..Outcomes::default() };
        assert_eq!(totals(&record), "10,000 connected + 6 refused = 10,006 planned");
        assert_eq!(expected(&record), "expected 10,000 connected, 6 not: as expected");
    }

    /// A gate on a metric.
    pub(crate) fn gate(metric: &str, unit: &str, measured: Option<f64>, most: f64) -> GateResult {
        GateResult {
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            measured,
            at_most: Some(most),
            passed: measured.is_some_and(|measured| measured <= most),
            ..GateResult::default()
        }
    }

    #[test]
    fn gates_show_what_was_measured_in_their_unit_and_what_failed_first() {
        let cases = [
            ("s", Some(0.0125), 0.5, ["passed", "12.500 ms", "<= 500.0 ms"]),
            ("/s", Some(1_234.56), 2_000.0, ["passed", "1,234.6 /s", "<= 2,000.0 /s"]),
            ("share", Some(0.25), 0.01, ["FAILED", "25 %", "<= 1 %"]),
            ("count", Some(1_200.0), 1_500.0, ["passed", "1,200", "<= 1,500"]),
            ("s", None, 0.5, ["FAILED", "nothing", "<= 500.0 ms"]),
        ];
        for (unit, measured, most, row) in cases {
            let record = Record { gates: vec![gate("m", unit, measured, most)], ..Record::default() };
            assert_eq!(gates(&record).rows[0][1..], row);
        }
        let two =
            GateResult { at_least: Some(0.5), aborted_at: Some(12.0), ..gate("two", "s", Some(2.0), 1.0) };
        let record = Record { gates: vec![gate("one", "s", Some(0.1), 1.0), two], ..Record::default() };
        let row = &gates(&record).rows[0];
        assert_eq!(row[1..], ["FAILED at 12.0 s", "2,000.0 ms", "500.0 ms to 1,000.0 ms"]);
    }

    #[test]
    fn retries_are_told_per_arrival_and_the_implied_gate_as_implied() {
        let record = Record {
            gates: vec![
                gate("retries.share", "share", Some(580.8801), 0.5),
                GateResult { implied: true, ..gate("unexpected.count", "count", Some(0.0), 0.0) },
            ],
            ..Record::default()
        };
        let rows = gates(&record).rows;
        assert_eq!(rows[0], ["retries.share", "FAILED", "580.88 per arrival", "<= 0.50 per arrival"]);
        assert_eq!(rows[1][0], "unexpected.count (implied)");
    }

    #[test]
    fn a_gate_that_ended_the_run_stands_first_and_in_the_headline_even_if_it_is_met_at_the_end() {
        let mut record = demo();
        let met = GateResult {
            gate: "tls.p99 <= 1s".to_owned(),
            aborted_at: Some(3.0),
            ..gate("tls.p99", "s", Some(0.1), 1.0)
        };
        record.gates = vec![gate("one", "s", Some(0.1), 1.0), met];
        let table = gates(&record);
        assert_eq!((table.note.as_str(), table.rows[0][0].as_str()), ("1 of 2 failed", "tls.p99"));
        assert_eq!(headline(&record), "GOOD: demo, ended at 3.0 s by tls.p99 <= 1s");
    }

    #[test]
    fn a_peak_that_is_not_known_is_not_said() {
        let held = |peak| {
            let held = Held { devices: 300, released: 300, peak, ..Held::default() };
            super::held(&Record { held: Some(held), ..Record::default() }).expect("a line")
        };
        assert!(held(280).contains("at most 280") && !held(280).contains("not known"), "{}", held(280));
        assert!(!held(0).contains("at most") && held(0).contains("not known"), "{}", held(0));
    }

    #[test]
    fn arrivals_that_waited_for_a_slot_are_told_unless_it_was_for_a_moment() {
        for (waited, longest, told) in [(0, 0, false), (3, 9_999, false), (3, 9_100_000, true)] {
            let mut record = demo();
            (record.generator.waited_for_slot, record.generator.waited_for_slot_max_us) = (waited, longest);
            assert_eq!(findings(&record).iter().any(|(name, _)| *name == "slots"), told, "{waited}");
        }
    }

    #[test]
    fn what_a_comparison_is_worth_is_told_beside_it_and_what_never_was_is_not() {
        let with = |checks: Vec<Check>| reconciliation(&Record { reconciliation: checks, ..demo() });
        let all = [
            with(vec![Check::new("assigned", 0, 0, 0), Check::new("throttled", 0, 0, 0)]),
            with(vec![Check::new("assigned", 0, 0, 0), Check::new("throttled", 3, 5, 2)]),
            with(Vec::new()),
            reconciliation(&Record { ledger: None, ..demo() }),
        ];
        assert_eq!(all.each_ref().map(|table| table.rows.len()), [1, 2, 0, 2]);
        assert_eq!(all[1].rows[1][1..], ["3", "5", "unheard"]);
        for (index, table) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.note != table.note), "{}", table.note);
        }
    }

    #[test]
    fn what_did_not_happen_is_not_said() {
        assert_eq!(findings(&demo()), []);
        let mut record = demo();
        record.retries = Retries { throttled: 3, timeout: 2, ..Retries::default() };
        record.held = Some(Held { devices: 9, kept: 7, dropped: 2, peak: 8, ..Held::default() });
        let found = findings(&record);
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["retries", "held"]);
        assert_eq!(found[0].1, "5: 3 throttled, 2 after no answer in time");
    }

    #[test]
    fn a_good_run_whose_devices_fared_otherwise_is_not_told_as_if_all_went_well() {
        let mut record = demo();
        let all_well = worth(&record);
        record.reasons[0].expected = false;
        assert_ne!(worth(&record), all_well);
        record.verdict.kind = VerdictKind::GateFailed;
        assert_ne!(worth(&record), all_well);
    }

    #[test]
    fn times_that_nobody_took_have_no_numbers() {
        let record = Record { phases: vec![times_of("tls", 3, 5), PhaseStats::default()], ..demo() };
        let table = times(&record);
        assert!(table.rows[0][2..].iter().all(|cell| cell != "-"), "{:?}", table.rows[0]);
        assert_eq!(table.rows[1][1..], ["0", "-", "-", "-", "-", "-"]);
    }

    #[test]
    fn counts_that_differ_come_first() {
        let mut record = demo();
        record.reconciliation[1].service = 9;
        assert_eq!(reconciliation(&record).rows[0], ["registers", "10,006", "9", "DIFFERS"]);
    }
}
