//! The report as one page that needs nothing else: no script, no request, light or dark.
//!
//! Everything from the record is escaped by the template engine; the template marks nothing safe.

use crate::chart::{Chart, HEIGHT, WIDTH};
use crate::record::Record;
use crate::view::{
    Table, counted, expected, grouped, reconciliation, roll_up, throughput, times, totals, verdict,
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
        verdict: verdict(record),
        totals: totals(record),
        expected: expected(record),
        throughput: throughput(record),
        chart: Chart::of(&record.per_second),
        facts: facts(record),
        tables: tables(record),
    };
    Ok(page.render()?)
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    record: &'a Record,
    verdict: &'static str,
    totals: String,
    expected: String,
    throughput: String,
    chart: Option<Chart>,
    facts: Vec<(&'static str, String)>,
    tables: Vec<Table>,
}

fn tables(record: &Record) -> Vec<Table> {
    vec![roll_up(record), times(record), reconciliation(record), sums(record), certificates(record)]
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
        ("Client processor time", cpu),
        ("Descriptors needed", Some(descriptors)),
        ("Latest start after due", Some(format!("{} µs", grouped(generator.max_lag_us)))),
    ];
    known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::demo;

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
        let reason = &mut record.reasons[0];
        reason.trail = vec![nasty.clone()];
        reason.sample_registration_id.clone_from(&nasty);
        for text in [&mut reason.message, &mut reason.explanation, &mut reason.repair] {
            text.clone_from(&nasty);
        }
        let page = page(&record).expect("a page");
        assert!(!page.contains("<script") && !page.contains("('\""), "{page}");
        assert!(page.matches("&#60;script&#62;").count() >= 12, "{page}");
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
