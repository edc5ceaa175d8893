//! The report as CSV, for spreadsheets and scripts: the seconds of a run, and its headline figures.
//!
//! Every number is as the record has it, unrounded and ungrouped.

use crate::PhaseStats;
use crate::record::{OutcomeKind, Record, RollUp, Second};

/// Why a table could not be written as CSV.
#[derive(Debug, thiserror::Error)]
#[error("the CSV cannot be written: {0}")]
pub struct CsvError(#[from] csv::Error);

/// The percentiles of a second.
const OF_A_SECOND: [&str; 4] = ["p50", "p90", "p99", "max"];

/// One row a second. A cell is empty where the record does not know: not an open load, or nobody finished.
///
/// `response_buckets` are pairs `bucket:devices`, a space between two; [`crate::bucket_start_us`] says where each begins.
///
/// # Errors
/// When it cannot be written.
pub fn series(record: &Record) -> Result<String, CsvError> {
    let rows = record.per_second.iter().map(second);
    table(std::iter::once(head_of_series()).chain(rows))
}

fn head_of_series() -> Vec<String> {
    let plain = ["second", "planned", "offered", "started", "finished", "assigned", "unsuccessful", "shed"];
    let more = ["in_flight", "held", "retries", "throttled_requests"];
    let outcomes = OutcomeKind::ALL.iter().map(|kind| format!("outcome_{}", key(*kind)));
    let times = ["service", "response"].into_iter();
    let times = times.flat_map(|clock| OF_A_SECOND.map(|at| format!("{clock}_{at}_us")));
    let last = ["response_buckets", "generator_cpu_share", "generator_starved_share"];
    let words = plain.into_iter().chain(more).map(str::to_owned);
    words.chain(outcomes).chain(times).chain(last.map(str::to_owned)).collect()
}

fn second(second: &Second) -> Vec<String> {
    let Second { t, offered, started, finished, assigned, refused, shed, in_flight, held, .. } = *second;
    let mut row = vec![t.to_string(), known(second.planned)];
    let counts = [offered, started, finished, assigned, refused, shed, in_flight, held];
    row.extend(counts.map(|count| count.to_string()));
    row.extend([second.retries, second.throttled].map(|count| count.to_string()));
    let ended = |kind: &OutcomeKind| second.outcomes.get(kind).copied().unwrap_or_default().to_string();
    row.extend(OutcomeKind::ALL.iter().map(ended));
    for times in [second.service_us, second.response_us] {
        row.extend(
            times.map_or_else(|| [const { String::new() }; 4], |times| times.map(|us| us.to_string())),
        );
    }
    let buckets = second.response_buckets.iter().map(|(bucket, count)| format!("{bucket}:{count}"));
    row.push(buckets.collect::<Vec<_>>().join(" "));
    row.extend([second.generator_cpu, second.generator_starved].map(known));
    row
}

/// The headline figures as name, value and unit, a row each.
///
/// # Errors
/// When it cannot be written.
pub fn summary_csv(record: &Record) -> Result<String, CsvError> {
    let mut rows = vec![["name", "value", "unit"].map(str::to_owned).to_vec()];
    let mut say = |name: String, value: String, unit: &str| rows.push(vec![name, value, unit.to_owned()]);
    for (name, count) in
        [("planned", record.planned), ("started", record.started), ("finished", record.finished)]
    {
        say(name.to_owned(), count.to_string(), "count");
    }
    for kind in OutcomeKind::ALL {
        say(format!("outcomes.{}", key(kind)), record.outcomes.count(kind).to_string(), "count");
    }
    say("retries".to_owned(), record.retries.total().to_string(), "count");
    say("wall".to_owned(), record.wall_seconds.to_string(), "s");
    say("minting".to_owned(), record.minting_seconds.to_string(), "s");
    say("throughput".to_owned(), record.throughput.per_second.to_string(), "/s");
    say("throughput_a_minute".to_owned(), record.throughput.devices_per_minute.to_string(), "/min");
    for (name, stats) in timed(record) {
        for (figure, value, unit) in figures(stats) {
            say(format!("{name}.{figure}"), value, unit);
        }
    }
    for gate in &record.gates {
        say(format!("gate.{}", gate.metric), known(gate.measured), &gate.unit);
    }
    for way in &record.roll_up {
        say(format!("roll_up.expected.{}", named(way)), known(way.expected), "count");
        say(format!("roll_up.actual.{}", named(way)), way.actual.to_string(), "count");
    }
    table(rows.into_iter())
}

/// Clocks and phases by the names that gates have for them.
fn timed(record: &Record) -> Vec<(String, &PhaseStats)> {
    let clocks = &record.clocks;
    let clocks = [
        ("service_time", &clocks.service_time),
        ("response_time", &clocks.response_time),
        ("service_time_unsuccessful", &clocks.service_time_unsuccessful),
        ("lateness", &clocks.lateness),
    ];
    let clocks = clocks.into_iter().map(|(name, stats)| (name.to_owned(), stats));
    let phases = record.phases.iter().map(|stats| (format!("phase.{}", stats.phase), stats));
    clocks.chain(phases).collect()
}

/// Times are empty where there were none: 0 would be the best of all.
fn figures(stats: &PhaseStats) -> [(&'static str, String, &'static str); 7] {
    let time = |us: u64| known((stats.count > 0).then_some(us));
    [
        ("count", stats.count.to_string(), "count"),
        ("p50", time(stats.p50_us), "us"),
        ("p90", time(stats.p90_us), "us"),
        ("p99", time(stats.p99_us), "us"),
        ("p999", time(stats.p999_us), "us"),
        ("max", time(stats.max_us), "us"),
        ("mean", known((stats.count > 0).then_some(stats.mean_us)), "us"),
    ]
}

fn named(way: &RollUp) -> String {
    let path = [std::slice::from_ref(&way.root), &way.path].concat().join(" > ");
    format!("{path} > {} > {}", way.group, way.hub)
}

/// An outcome as the record writes it.
fn key(kind: OutcomeKind) -> String {
    kind.as_str().replace(' ', "_")
}

fn known(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn table(rows: impl Iterator<Item = Vec<String>>) -> Result<String, CsvError> {
    let mut out = csv::Writer::from_writer(Vec::new());
    for row in rows {
        out.write_record(&row)?;
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::{demo, gate};
    use std::collections::{BTreeMap, BTreeSet};

    /// The rows of a table by the names of their columns.
    fn read(text: &str) -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.deserialize().map(|row| row.expect("a row")).collect()
    }

    #[test]
    fn every_second_has_a_row_with_everything_the_record_knows_of_it() {
        let mut record = demo();
        let mut busy = Second {
            t: 7,
            planned: Some(11),
            offered: 12,
            started: 13,
            finished: 14,
            assigned: 15,
            refused: 16,
            in_flight: 17,
            held: 18,
            shed: 19,
            retries: 20,
            throttled: 21,
            service_us: Some([22, 23, 24, 25]),
            response_us: Some([26, 27, 28, 29]),
            response_buckets: vec![(30, 31), (32, 33)],
            generator_cpu: Some(0.123_456_789_012_345_6),
            generator_starved: Some(1e-9),
            ..Second::default()
        };
        busy.outcomes = OutcomeKind::ALL.into_iter().zip(100..).collect();
        record.per_second = vec![Second::default(), busy];
        let rows = read(&series(&record).expect("CSV"));
        let row: Vec<&str> = head_of_series().iter().map(|name| rows[1][name].as_str()).collect();
        let counts = "7 11 12 13 14 15 16 19 17 18 20 21 100 101 102 103 104 105 106 107 108 109 110 22 23 24 25 26 27 28 29";
        assert_eq!(row[..31], counts.split(' ').collect::<Vec<_>>());
        assert_eq!(row[31..], ["30:31 32:33", "0.1234567890123456", "0.000000001"]);
        let unknown =
            ["planned", "service_p50_us", "response_max_us", "response_buckets", "generator_cpu_share"];
        assert!(unknown.iter().all(|name| rows[0][*name].is_empty()), "{:?}", rows[0]);
        assert_eq!((rows[0]["started"].as_str(), rows[0]["outcome_timed_out"].as_str()), ("0", "0"));
    }

    #[test]
    fn no_field_of_a_second_is_without_a_column() {
        let full = Second {
            outcomes: BTreeMap::from([(OutcomeKind::Shed, 1)]),
            response_buckets: vec![(1, 1)],
            ..Second::default()
        };
        let fields = serde_json::to_value(full).expect("JSON");
        let head: BTreeSet<String> = head_of_series().into_iter().collect();
        let column = |field: &str| match field {
            "t" => "second".to_owned(),
            "throttled" => "throttled_requests".to_owned(),
            "refused" => "unsuccessful".to_owned(),
            "outcomes" => "outcome_protocol_error".to_owned(),
            "service_us" | "response_us" => field.replace("_us", "_p99_us"),
            "generator_cpu" | "generator_starved" => format!("{field}_share"),
            field => field.to_owned(),
        };
        for field in fields.as_object().expect("an object").keys() {
            assert!(head.contains(&column(field)), "{field}");
        }
    }

    #[test]
    fn times_that_nobody_took_have_no_figure() {
        let mut record = demo();
        record.clocks.response_time = PhaseStats::default();
        let rows = read(&summary_csv(&record).expect("CSV"));
        let value = |name: &str| rows.iter().find(|row| row["name"] == name).map(|row| row["value"].as_str());
        assert_eq!(value("response_time.count"), Some("0"));
        for figure in ["p50", "p99", "max", "mean"] {
            assert_eq!(value(&format!("response_time.{figure}")), Some(""), "{figure}");
            assert_ne!(value(&format!("service_time.{figure}")), Some(""), "{figure}");
        }
    }

    #[test]
    fn figures_are_unrounded_and_have_their_unit() {
        let mut record = demo();
        record.wall_seconds = 4.000_000_1;
        record.gates =
            vec![gate("response_time.p99", "s", Some(0.012_345_678), 0.5), gate("dns.max", "s", None, 1.0)];
        record.roll_up[0].hub = "hub, \"one\"\n".to_owned();
        let rows = read(&summary_csv(&record).expect("CSV"));
        let found = |name: &str| {
            let row: Vec<_> = rows.iter().filter(|row| row["name"] == name).collect();
            assert_eq!(row.len(), 1, "{name}");
            (row[0]["value"].clone(), row[0]["unit"].clone())
        };
        for (name, value, unit) in [
            ("planned", "10006", "count"),
            ("outcomes.refused", "6", "count"),
            ("wall", "4.0000001", "s"),
            ("throughput", "2500", "/s"),
            ("response_time.p99", &record.clocks.response_time.p99_us.to_string(), "us"),
            ("phase.tls.mean", &record.phases[1].mean_us.to_string(), "us"),
            ("gate.response_time.p99", "0.012345678", "s"),
            ("gate.dns.max", "", "s"),
            ("roll_up.actual.Root > Line A > line-a > hub, \"one\"\n", "10000", "count"),
        ] {
            assert_eq!(found(name), (value.to_owned(), unit.to_owned()), "{name}");
        }
    }
}
