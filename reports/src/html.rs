//! The report as one page that needs nothing else: no script, no request, light or dark.
//!
//! Everything from the record is escaped by the template engine; the template marks nothing safe.

use crate::chart::{Chart, HEIGHT, WIDTH};
use crate::record::Record;
use crate::view::{
    Table, counted, events, expected, findings, gates, generator, grouped, headline, percent, reconciliation,
    roll_up, throughput, times, tls, totals, trials, wanted,
};
use askama::Template;

/// Why a page could not be rendered.
#[derive(Debug, thiserror::Error)]
#[error("the page cannot be rendered: {0}")]
pub struct RenderError(#[from] askama::Error);

/// The report as one self-contained HTML page.
pub fn page(record: &Record) -> Result<String, RenderError> {
    let page = Page {
        record,
        headline: headline(record),
        totals: totals(record),
        expected: expected(record),
        throughput: throughput(record),
        wanted: wanted(record),
        findings: findings(record),
        generator: generator(record),
        charts: charts(record),
        facts: facts(record),
        tables: tables(record),
    };
    Ok(page.render()?)
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    record: &'a Record,
    headline: String,
    totals: String,
    expected: String,
    throughput: String,
    wanted: &'static str,
    findings: Vec<(&'static str, String)>,
    generator: String,
    charts: Vec<Chart>,
    facts: Vec<(&'static str, String)>,
    tables: Vec<Table>,
}

fn charts(record: &Record) -> Vec<Chart> {
    let seconds = &record.per_second;
    let all = [
        Chart::of_devices(seconds, wanted(record)),
        Chart::of_held(seconds),
        Chart::of_response_times(seconds),
    ];
    all.into_iter().flatten().collect()
}

fn tables(record: &Record) -> Vec<Table> {
    let happened =
        [gates(record), events(record), tls(record)].into_iter().filter(|table| !table.rows.is_empty());
    let mut tables = vec![roll_up(record), times(record)];
    tables.extend(happened);
    tables.extend(trials(record));
    tables.extend([reconciliation(record), sums(record), certificates(record)]);
    tables
}

fn sums(record: &Record) -> Table {
    let row = |sum: crate::Sum| {
        let mark = if sum.agrees { "adds up" } else { "DOES NOT ADD UP" };
        vec![sum.name, grouped(sum.expected), grouped(sum.actual), mark.to_owned()]
    };
    Table {
        title: "Sums",
        note: "made anew from the record when this page was rendered".to_owned(),
        head: vec!["sum", "expected", "actual", ""],
        words: 1,
        rows: record.sums().into_iter().map(row).collect(),
    }
}

fn certificates(record: &Record) -> Table {
    let inventory = &record.certificates;
    let issuers = inventory.issuers.iter().map(|issuer| ("issuer", &issuer.subject, issuer.count));
    let keys = inventory.key_types.iter().map(|key| ("key", &key.key, key.count));
    let row = |(kind, name, count): (&str, &String, u64)| vec![kind.to_owned(), name.clone(), grouped(count)];
    Table {
        title: "Certificates",
        note: format!("a good device presents {}", counted(inventory.chain_bytes, "byte")),
        head: vec!["kind", "name", "leaves"],
        words: 2,
        rows: issuers.chain(keys).map(row).collect(),
    }
}

fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let generator = &record.generator;
    let shard = record.shard.map(|shard| format!("{} of {}", shard.index, shard.count));
    let cpu = generator.cpu_seconds_client.map(|seconds| format!("{seconds:.1} s"));
    let overrides = Some(record.scenario.overrides.join(" ")).filter(|given| !given.is_empty());
    let memory = generator.peak_memory_bytes.map(|bytes| format!("{} MiB", grouped(bytes / 1_048_576)));
    let addresses = (generator.source_addresses > 0).then(|| grouped(generator.source_addresses));
    let lost = (generator.journal_lost > 0).then(|| grouped(generator.journal_lost));
    let step = (generator.clock_step_ms != 0).then(|| format!("{} ms", generator.clock_step_ms));
    let descriptors =
        format!("{} of {}", grouped(generator.descriptors_needed), grouped(generator.descriptors_limit));
    let known = [
        ("Started", Some(record.started_utc.clone())),
        ("Command", Some(record.command.join(" "))),
        ("Program version", Some(record.program_version.clone())),
        ("Scenario file", Some(record.scenario.file.clone())),
        ("Overrides", overrides),
        ("Seed", Some(record.seed.to_string())),
        ("Shard", shard),
        ("Host", Some(format!("{}, {}", record.host.os, counted(record.host.cpus, "processor")))),
        ("Load", Some(record.model.clone()).filter(|model| !model.is_empty())),
        ("Device set", Some(record.device_set.clone()).filter(|set| !set.is_empty())),
        ("Client processor time", cpu),
        ("Load threads", (generator.workers > 0).then(|| grouped(generator.workers))),
        ("Load threads busy, busiest tenth of the seconds", generator.cpu_share.map(percent)),
        ("Load threads starved of processor time", generator.starved_share.map(percent)),
        ("Most memory", memory),
        ("Source addresses", addresses),
        ("Outcomes the journal lost", lost),
        ("Step of the wall clock", step),
        ("Descriptors needed", Some(descriptors)),
        ("Latest start after due", Some(format!("{} µs", grouped(generator.max_lag_us)))),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Capacity, EventDone, GateResult, Held, Second, TlsCount, Trial};
    use crate::view::tests::{demo, gate};

    #[test]
    fn the_page_says_what_the_summary_says() {
        let page = page(&demo()).expect("a page");
        for said in [
            "GOOD",
            "10,000 assigned + 6 refused = 10,006 planned",
            "2,500.0 devices/s, 150,000.0 devices/min",
            "<td>Root &#62; Line A &#62; line-a &#62; hub-1</td><td class=\"n\">10,000</td>",
            "<td>registers</td><td class=\"n\">10,006</td><td class=\"n\">10,006</td><td class=\"n\">agrees</td>",
            "repair leaf-only",
            "<polyline",
            "Not assigned",
        ] {
            assert!(page.contains(said), "{said} in\n{page}");
        }
    }

    #[test]
    fn names_and_messages_are_escaped() {
        let nasty = "<script>alert('\"&')</script>".to_owned();
        let mut record = demo();
        record.scenario.name.clone_from(&nasty);
        record.scenario.text.clone_from(&nasty);
        record.command = vec![nasty.clone()];
        record.notes = vec![nasty.clone()];
        record.verdict.reasons = vec![nasty.clone()];
        record.roll_up[0].group.clone_from(&nasty);
        record.certificates.issuers[0].subject.clone_from(&nasty);
        record.gates = vec![GateResult { metric: nasty.clone(), ..GateResult::default() }];
        record.events = vec![EventDone { what: nasty.clone(), failed: Some(nasty.clone()), at_seconds: 1.0 }];
        record.tls = vec![TlsCount { suite: nasty.clone(), ..TlsCount::default() }];
        record.capacity = Some(Capacity { evidence: vec![nasty.clone()], ..Capacity::default() });
        record.generator.findings = vec![nasty.clone()];
        let reason = &mut record.reasons[0];
        reason.trail = vec![nasty.clone()];
        reason.sample_registration_id.clone_from(&nasty);
        for text in [&mut reason.message, &mut reason.explanation, &mut reason.repair] {
            text.clone_from(&nasty);
        }
        let page = page(&record).expect("a page");
        assert!(!page.contains("<script") && !page.contains("('\""), "{page}");
        assert!(page.matches("&#60;script&#62;").count() >= 18, "{page}");
    }

    #[test]
    fn the_page_shows_gates_trials_events_tls_and_response_times() {
        let mut record = demo();
        record.gates = vec![gate("response_time.p99", "s", Some(0.6), 0.5)];
        record.events = vec![EventDone { at_seconds: 20.0, what: "disable line-a".to_owned(), failed: None }];
        record.tls = vec![TlsCount { version: "TLS 1.3".to_owned(), count: 10_006, ..TlsCount::default() }];
        record.held = Some(Held { devices: 40, kept: 40, ..Held::default() });
        let trial = Trial { search: 1, rate: 400.0, achieved: 399.5, passed: true, ..Trial::default() };
        record.capacity = Some(Capacity { rate: 480.0, trials: vec![trial], ..Capacity::default() });
        record.generator.findings = vec!["one core was shared".to_owned()];
        for second in &mut record.per_second {
            second.response_us = Some([1_000, 1_500, 2_000, 3_000]);
            second.held = 40;
        }
        let page = page(&record).expect("a page");
        for said in [
            "<td>response_time.p99</td><td>FAILED</td><td class=\"n\">600.0 ms</td>",
            "<td>disable line-a</td><td>done</td><td class=\"n\">20.0</td>",
            "<td>TLS 1.3</td>",
            "40 stayed connected",
            "<td class=\"n\">399.5</td>",
            "one core was shared",
            "Response time",
            "Devices connected",
        ] {
            assert!(page.contains(said), "{said} in\n{page}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
    }

    #[test]
    fn a_day_is_drawn_with_as_many_points_as_can_be_seen() {
        let mut record = demo();
        record.per_second =
            (0..86_400).map(|t| Second { t, response_us: Some([1, 2, 3, 4]), ..Second::default() }).collect();
        let page = page(&record).expect("a page");
        assert!(page.len() < 100_000, "{} bytes", page.len());
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let page = page(&demo()).expect("a page");
        assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
        for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.len() < 32_000, "{} bytes", page.len());
    }

    #[test]
    fn a_bare_record_renders_too() {
        let page = page(&Record::default()).expect("a page");
        assert!(page.contains("INVALID") && !page.contains("<polyline"));
    }
}
