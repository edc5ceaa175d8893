//! Numbers in Prometheus' text format, version 0.0.4.
//!
//! Every name starts with `rollcall_run_`; times are in seconds and say so, counters end in `_total`.

use super::numbers::{Family, Kind, Numbers, QUANTILES, Sample, Value};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The media type of what [`render`] writes.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page.
pub(super) fn render(numbers: &Numbers) -> String {
    let mut page = String::new();
    for family in &numbers.families {
        let (name, kind) = (name(family), word(family.kind));
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(page, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
        for sample in &family.samples {
            write_sample(&mut page, &name, sample);
        }
    }
    page
}

fn name(family: &Family) -> String {
    let unit = if family.unit.is_empty() { String::new() } else { format!("_{}", family.unit) };
    let total = if family.kind == Kind::Counter { "_total" } else { "" };
    format!("rollcall_run_{}{unit}{total}", family.name)
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Summary => "summary",
    }
}

fn write_sample(page: &mut String, name: &str, sample: &Sample) {
    let plain = labels(sample, None);
    match &sample.value {
        Value::Count(count) => line(page, name, &plain, count),
        Value::Level(level) => line(page, name, &plain, level),
        Value::Times { quantiles, sum, count } => {
            for (at, quantile) in QUANTILES.iter().enumerate() {
                // What nobody measured is no number, as clients for Prometheus have it.
                let value = quantiles.map_or(f64::NAN, |all| all[at]);
                line(page, name, &labels(sample, Some(*quantile)), &value);
            }
            line(page, &format!("{name}_sum"), &plain, sum);
            line(page, &format!("{name}_count"), &plain, count);
        }
    }
}

fn line(page: &mut String, name: &str, labels: &str, value: &dyn std::fmt::Display) {
    let _ = writeln!(page, "{name}{labels} {value}");
}

fn labels(sample: &Sample, quantile: Option<f64>) -> String {
    let own = sample.labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
    let all: Vec<_> = own.chain(quantile.map(|quantile| format!("quantile=\"{quantile}\""))).collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

/// A label's value between its quotes.
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::live::tests::{extreme, gate, sight};
    use crate::recorder::Recorder;
    use std::collections::{HashMap, HashSet};

    /// Every series by its name and labels, and the type of every family.
    fn read(page: &str) -> (HashMap<String, f64>, HashMap<String, String>) {
        let (mut series, mut types, mut helped) = (HashMap::new(), HashMap::new(), HashSet::new());
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("a help text");
                assert!(!text.is_empty() && helped.insert(name.to_owned()), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert!(helped.contains(name), "{line}");
                types.insert(name.to_owned(), kind.to_owned());
            } else {
                let (name, value) = line.rsplit_once(' ').expect("a sample");
                let family = name.split('{').next().unwrap_or(name);
                let base = family.strip_suffix("_sum").or_else(|| family.strip_suffix("_count"));
                let known = types.contains_key(family)
                    || base.and_then(|base| types.get(base)).is_some_and(|kind| kind == "summary");
                assert!(known, "{line}");
                let value: f64 = value.parse().expect(line);
                assert!(series.insert(name.to_owned(), value).is_none(), "a series twice: {line}");
            }
        }
        (series, types)
    }

    #[test]
    fn every_number_has_help_and_type_and_reads_back() {
        let mut sight = sight(1);
        sight.gates.push(gate("a \"b\" \\", None, false));
        let page = render(&Numbers::of(&sight.glance()));
        let (series, types) = read(&page);
        for (name, expected) in [
            ("arrivals_offered_total", 14_520.0),
            ("attempts_finished_total", 14_365.0),
            ("arrivals_ended_total{outcome=\"assigned\"}", 14_300.0),
            ("arrivals_ended_total{outcome=\"timed_out\"}", 0.0),
            ("arrivals_unexpected_total", 3.0),
            ("retries_total{cause=\"server_error\"}", 0.0),
            ("elapsed_seconds", 12.0),
            ("planned_rate", 1_200.0),
            ("in_flight", 35.0),
            ("held", 7.0),
            ("generator_busy_ratio", 0.45),
            ("gate_met{gate=\"response_time.p99 <= 500ms\"}", 1.0),
            ("gate_met{gate=\"a \\\"b\\\" \\\\\"}", 0.0),
            ("phase_seconds{phase=\"tls\",quantile=\"0.99\"}", 0.003),
            ("phase_seconds_count{phase=\"tls\"}", 1.0),
            ("service_time_seconds{quantile=\"0.5\"}", 0.002),
            ("response_time_seconds_sum", 0.009),
        ] {
            let found = series.get(&format!("rollcall_run_{name}")).copied();
            let near = found.is_some_and(|found| (found - expected).abs() <= expected * 0.001);
            assert!(near, "{name}: {found:?}\n{page}");
        }
        assert!(series["rollcall_run_phase_seconds{phase=\"dns\",quantile=\"0.5\"}"].is_nan());
        for (name, kind) in types {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn the_families_are_the_same_from_the_first_moment_on() {
        let names = |numbers: &Numbers| numbers.families.iter().map(name).collect::<Vec<_>>();
        let mut fresh = sight(1);
        let start = fresh.total.start_of_run();
        (fresh.total, fresh.last) = (Recorder::new(start), Recorder::new(start));
        let (fresh, late) = (Numbers::of(&fresh.glance()), Numbers::of(&extreme().glance()));
        assert_eq!(names(&fresh), names(&late));
        read(&render(&late));
    }
}
