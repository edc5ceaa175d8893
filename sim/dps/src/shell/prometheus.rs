//! The ledger in Prometheus' text format, version 0.0.4, for the management port.

use crate::ledger::LedgerSnapshot;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// The media type of what [`render`] writes.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes everything there is to count. `faults` are those done on demand, by kind; `registrations` are the
/// records kept now.
pub(crate) fn render(
    ledger: &LedgerSnapshot,
    faults: &[(String, u64)],
    registrations: usize,
    uptime: Duration,
) -> String {
    let mut page = String::new();
    for (name, help, count) in counters(ledger) {
        let name = format!("rollcall_mock_{name}_total");
        head(&mut page, &name, "counter", help);
        sample(&mut page, &name, &[], count);
    }
    let name = "rollcall_mock_refusals_total";
    head(&mut page, name, "counter", "Refusals by code (0 for a device that is disabled) and verdict.");
    for ((code, verdict), count) in refusals(ledger) {
        sample(&mut page, name, &[("code", &code.to_string()), ("verdict", verdict)], count);
    }
    let name = "rollcall_mock_assignments_total";
    head(&mut page, name, "counter", "Assignments by enrollment group and hub.");
    for ((group, hub), count) in assignments(ledger) {
        sample(&mut page, name, &[("group", group), ("hub", hub)], count);
    }
    let name = "rollcall_mock_faults_by_kind_total";
    head(&mut page, name, "counter", "Faults done on demand, by kind.");
    for (kind, count) in added_up(faults.iter().map(|(kind, count)| (kind.as_str(), *count))) {
        sample(&mut page, name, &[("kind", kind)], count);
    }
    let name = "rollcall_mock_registrations";
    head(&mut page, name, "gauge", "Registration records kept.");
    sample(&mut page, name, &[], registrations);
    let name = "rollcall_mock_uptime_seconds";
    head(&mut page, name, "gauge", "Time since the start.");
    sample(&mut page, name, &[], uptime.as_secs_f64());
    page
}

/// Every plain counter: what stands between `rollcall_mock_` and `_total`, its help, its value.
#[rustfmt::skip]
fn counters(of: &LedgerSnapshot) -> Vec<(&'static str, &'static str, u64)> {
    vec![
        ("connections", "TCP connections accepted on the protocol ports.", of.connections),
        ("connections_closed", "Connections of the protocol ports that have ended.", of.connections_closed),
        ("tls_handshakes", "TLS handshakes completed.", of.tls_handshakes),
        ("tls_failures", "TLS handshakes that failed.", of.tls_failures),
        ("connects", "CONNECT packets answered with return code 0.", of.connects),
        ("registers", "Register requests.", of.registers),
        ("polls", "Operation status requests.", of.polls),
        ("assigned", "Operations answered as assigned for the first time.", of.assigned),
        ("refused", "Refused CONNECT packets, and requests answered with 4xx but for 429.", of.refused),
        ("disabled", "Operations answered as disabled for the first time.", of.disabled),
        ("failed", "Operations answered as failed for the first time.", of.failed),
        ("throttled", "Requests of devices answered with 429.", of.throttled),
        ("server_errors", "Requests of devices answered with 500 to 599.", of.server_errors),
        ("malformed_answers", "Requests carried out and answered unreadably.", of.malformed_answers),
        ("operations", "Calls of operators, to the service API and the resource manager.", of.operations),
        ("throttled_operations", "Calls of operators throttled.", of.throttled_operations),
        ("webhooks", "Webhooks asked.", of.webhooks),
        ("malformed", "Packets and requests that broke their protocol.", of.malformed),
        ("timeouts", "Connections ended because the peer took too long.", of.timeouts),
        ("faults", "Requests and connections that a fault was applied to.", of.faults),
        ("lost_answers", "Answers that a fault kept from the device.", of.lost_answers),
    ]
}

/// Refusals by code and verdict: the ledger tells them apart further, and a series may appear only once.
fn refusals(ledger: &LedgerSnapshot) -> BTreeMap<(u32, &str), u64> {
    added_up(ledger.refusals.iter().map(|r| ((r.code, r.verdict.as_str()), r.count)))
}

/// The roll-up by group and hub, whatever the path.
fn assignments(ledger: &LedgerSnapshot) -> BTreeMap<(&str, &str), u64> {
    added_up(ledger.roll_up.iter().map(|r| ((r.group.as_str(), r.hub.as_str()), r.count)))
}

fn added_up<K: Ord>(counts: impl Iterator<Item = (K, u64)>) -> BTreeMap<K, u64> {
    counts.fold(BTreeMap::new(), |mut sums, (key, count)| {
        *sums.entry(key).or_default() += count;
        sums
    })
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(page: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(page, "{name}{labels} {value}");
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
    use crate::ledger::{RefusalTrace, RollUpCount};
    use std::collections::HashMap;

    /// A name, and its labels.
    type Series = (String, Vec<(String, String)>);

    /// Reads a page as the format's description says, line by line: type by name, value by series.
    fn parse(page: &str) -> (HashMap<&str, &str>, HashMap<Series, f64>) {
        assert!(page.ends_with('\n'));
        let (mut helped, mut types, mut samples) = (None, HashMap::new(), HashMap::new());
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').expect("a help text");
                assert!(!text.is_empty() && !text.contains('\\'), "{line}");
                helped = Some(name);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert_eq!(helped, Some(name));
                assert!(types.insert(name, kind).is_none(), "{name} is there twice");
            } else {
                let name: String = line.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                assert_eq!(helped, Some(name.as_str()), "{line}");
                assert!(types.contains_key(name.as_str()), "{line}");
                let (labels, value) = labels(&line[name.len()..]);
                let value = value.strip_prefix(' ').and_then(|v| v.parse().ok()).expect(line);
                assert!(samples.insert((name, labels), value).is_none(), "a series twice: {line}");
            }
        }
        (types, samples)
    }

    /// The labels at the start of a text, and the rest of it.
    fn labels(text: &str) -> (Vec<(String, String)>, &str) {
        let (mut found, Some(mut rest)) = (Vec::new(), text.strip_prefix('{')) else {
            return (Vec::new(), text);
        };
        loop {
            let (key, quoted) = rest.split_once("=\"").expect("a label");
            let (mut value, mut chars) = (String::new(), quoted.chars());
            loop {
                match chars.next().expect("a closing quote") {
                    '"' => break,
                    '\\' => value.push(match chars.next() {
                        Some('n') => '\n',
                        Some(c @ ('\\' | '"')) => c,
                        other => panic!("unknown escape {other:?}"),
                    }),
                    c => value.push(c),
                }
            }
            found.push((key.to_owned(), value));
            rest = chars.as_str();
            match rest.split_at(1) {
                (",", more) => rest = more,
                ("}", more) => return (found, more),
                (other, _) => panic!("{other:?} after a label"),
            }
        }
    }

    fn refusal(code: u32, verdict: &str, check: Option<&str>, count: u64) -> RefusalTrace {
        RefusalTrace {
            code,
            message: "no".into(),
            verdict: verdict.into(),
            check: check.map(str::to_owned),
            count,
            sample_registration_id: "dev-1".into(),
            trail: Vec::new(),
        }
    }

    fn roll_up(path: &str, group: &str, hub: &str, count: u64) -> RollUpCount {
        RollUpCount { path: vec![path.into()], group: group.into(), hub: hub.into(), count }
    }

    #[test]
    fn every_sample_has_help_and_type_and_reads_back() {
        let ledger = LedgerSnapshot {
            connections: 7,
            polls: u64::MAX,
            refusals: vec![
                refusal(401_002, "no-anchor", None, 3),
                refusal(401_002, "no-anchor", Some("expired"), 4),
                refusal(0, "disabled", None, 1),
            ],
            roll_up: vec![
                roll_up("one", "a \"b\"\\n\n}", "hub", 5),
                roll_up("two", "a \"b\"\\n\n}", "hub", 6),
                roll_up("one", "g", "hub", 1),
            ],
            ..LedgerSnapshot::default()
        };
        let faults = [("reset".to_owned(), 2), ("429".to_owned(), 9)];
        let page = render(&ledger, &faults, 12, Duration::from_millis(1500));
        let (types, samples) = parse(&page);
        let value = |name: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            samples.get(&(format!("rollcall_mock_{name}"), labels)).copied()
        };
        for (name, labels, expected) in [
            ("connections_total", &[][..], 7.0),
            ("polls_total", &[], u64::MAX as f64),
            ("webhooks_total", &[], 0.0),
            ("refusals_total", &[("code", "401002"), ("verdict", "no-anchor")], 7.0),
            ("refusals_total", &[("code", "0"), ("verdict", "disabled")], 1.0),
            ("assignments_total", &[("group", "a \"b\"\\n\n}"), ("hub", "hub")], 11.0),
            ("assignments_total", &[("group", "g"), ("hub", "hub")], 1.0),
            ("faults_by_kind_total", &[("kind", "reset")], 2.0),
            ("faults_by_kind_total", &[("kind", "429")], 9.0),
            ("registrations", &[], 12.0),
            ("uptime_seconds", &[], 1.5),
        ] {
            assert_eq!(value(name, labels), Some(expected), "{name} {labels:?}\n{page}");
        }
        for (name, kind) in types {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        }
    }

    #[test]
    fn a_fresh_ledger_is_a_page_too() {
        let (_, samples) = parse(&render(&LedgerSnapshot::default(), &[], 0, Duration::ZERO));
        assert!(samples.len() > 10 && samples.values().all(|value| *value == 0.0));
    }
}
