//! SARIF 2.1.0 (OASIS): findings for code scanning. One rule for each diagnostic that was found, one result for each
//! finding, at the file that holds the chain.

use serde::Serialize;
use sim_identity::preflight::{Code, Finding, Severity};
use std::collections::BTreeMap;
use std::path::Path;

/// Results that are kept; a batch may have millions.
const MOST_RESULTS: usize = 20_000;

/// A log with one run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<Outcome>,
    properties: RunProperties,
}

/// `accept` or `reject`, and what was left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunProperties {
    verdict: &'static str,
    results_left_out: u64,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    short_description: Message,
    full_description: Message,
    help: Message,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Clone, Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    rule_id: &'static str,
    rule_index: usize,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Place,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    artifact_location: Artifact,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Serialize)]
struct Artifact {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
}

/// Findings as they come.
#[derive(Default)]
pub(super) struct Collector {
    /// The place of each diagnostic among the rules.
    rules: BTreeMap<Code, usize>,
    order: Vec<Code>,
    results: Vec<Outcome>,
    left_out: u64,
    /// Where each of the presented certificates begins: file and line; empty where that is not known.
    begins: Vec<(String, u64)>,
}

impl Collector {
    /// A collector for one chain whose certificates begin at these files and lines.
    pub(super) fn at(begins: Vec<(String, u64)>) -> Self {
        Collector { begins, ..Self::default() }
    }

    /// Takes in what was found in the chain of `label`.
    pub(super) fn take(&mut self, label: &str, findings: &[Finding]) {
        for finding in findings {
            self.finding(label, finding);
        }
    }

    fn finding(&mut self, label: &str, finding: &Finding) {
        let next = self.order.len();
        let rule_index = *self.rules.entry(finding.code).or_insert(next);
        if rule_index == next {
            self.order.push(finding.code);
        }
        if self.results.len() >= MOST_RESULTS {
            self.left_out += 1;
            return;
        }
        let subject = finding.about.as_ref().map(|about| format!(" ({} `{}`)", about.role, about.subject));
        let mut text = format!("{}{}.", finding.message.trim_end_matches('.'), subject.unwrap_or_default());
        if !finding.fix.is_empty() {
            text.push_str(&format!(" To repair: {}.", finding.fix.trim_end_matches('.')));
        }
        self.results.push(Outcome {
            rule_id: finding.code.as_str(),
            rule_index,
            level: level(finding.severity),
            message: Message { text },
            locations: [Location { physical_location: self.place(label, finding) }],
        });
    }

    fn place(&self, label: &str, finding: &Finding) -> Place {
        let index = finding.about.as_ref().and_then(|about| about.index);
        match index.and_then(|index| self.begins.get(index)) {
            Some((file, line)) => at_line(file, Some(*line)),
            None => place(label),
        }
    }

    /// The log of everything that was taken in.
    pub(super) fn log(self, verdict: &'static str) -> Log {
        Log {
            schema: "https://json.schemastore.org/sarif-2.1.0.json",
            version: "2.1.0",
            runs: [Run {
                tool: Tool {
                    driver: Driver {
                        name: "rollcall",
                        version: env!("CARGO_PKG_VERSION"),
                        rules: self.order.into_iter().map(rule).collect(),
                    },
                },
                column_kind: "unicodeCodePoints",
                results: self.results,
                properties: RunProperties { verdict, results_left_out: self.left_out },
            }],
        }
    }
}

fn rule(code: Code) -> Rule {
    Rule {
        id: code.as_str(),
        short_description: Message { text: code.meaning().to_owned() },
        full_description: Message { text: format!("{} {}", code.meaning(), code.cause()) },
        help: Message { text: format!("{} Source: {}.", code.fix(), code.source()) },
        default_configuration: Configuration { level: level(code.severity()) },
    }
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

/// The file of a label, and the line if it is one of a manifest: `fleet.csv, line 7`.
fn place(label: &str) -> Place {
    match label.rsplit_once(", line ") {
        Some((file, line)) => at_line(file, line.parse().ok().filter(|line| *line > 0)),
        None => at_line(label, None),
    }
}

fn at_line(file: &str, line: Option<u64>) -> Place {
    Place {
        artifact_location: Artifact { uri: uri(file) },
        region: line.map(|start_line| Region { start_line }),
    }
}

/// The files and lines at which PEM certificates begin, if there are as many of them as were read.
pub(super) fn begins(files: &[(String, Vec<u8>)], certificates: usize) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for (name, bytes) in files {
        let text = String::from_utf8_lossy(bytes);
        let lines = (1..).zip(text.lines());
        let begun =
            lines.filter(|(_, line)| line.starts_with("-----BEGIN") && line.contains("CERTIFICATE-----"));
        found.extend(begun.map(|(number, _)| (name.clone(), number)));
    }
    if found.len() == certificates { found } else { Vec::new() }
}

/// A path as a URI: relative as it is, absolute with its scheme; what a URI may not hold is escaped (RFC 3986).
fn uri(path: &str) -> String {
    let scheme = if Path::new(path).is_absolute() { "file://" } else { "" };
    let mut out = scheme.to_owned();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use sim_identity::preflight::{About, Role};

    #[test]
    fn each_result_names_its_rule_its_level_and_its_file() {
        let mut collector = Collector::default();
        let finding = |code| Finding::new(code, "found.", "Fix.");
        collector.take("a b.pem", &[finding(Code::Expired), finding(Code::RootSent)]);
        collector.take("/x/fleet.csv, line 7", &[finding(Code::Expired)]);
        let log = serde_json::to_value(collector.log("reject")).expect("JSON");
        let run = &log["runs"][0];
        let ids: Vec<&Value> =
            run["results"].as_array().expect("results").iter().map(|r| &r["ruleId"]).collect();
        assert_eq!(ids, ["expired", "root-sent", "expired"]);
        for result in run["results"].as_array().expect("results") {
            let index = usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("small");
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        }
        let place = |i: usize| &run["results"][i]["locations"][0]["physicalLocation"];
        assert_eq!(place(0)["artifactLocation"]["uri"], "a%20b.pem");
        assert_eq!(place(2)["artifactLocation"]["uri"], "file:///x/fleet.csv");
        assert_eq!(place(2)["region"]["startLine"], 7);
        assert_eq!(
            (&run["results"][0]["level"], &run["results"][1]["level"]),
            (&"error".into(), &"note".into())
        );
    }

    #[test]
    fn a_finding_about_a_certificate_points_at_the_line_where_it_begins() {
        let pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        let files = [("a.pem".to_owned(), format!("{pem}junk\n{pem}").into_bytes())];
        assert_eq!(begins(&files, 2), [("a.pem".to_owned(), 1), ("a.pem".to_owned(), 5)]);
        assert!(begins(&files, 3).is_empty(), "one was read from another form");
        let about = About {
            index: Some(1),
            role: Role::Root,
            subject: String::new(),
            issuer: String::new(),
            serial: String::new(),
            sha256: String::new(),
        };
        let mut collector = Collector::at(begins(&files, 2));
        let finding = Finding { about: Some(about), ..Finding::new(Code::RootSent, "found.", "Fix.") };
        collector.take("a.pem", &[finding]);
        let line = collector.results[0].locations[0].physical_location.region.as_ref().map(|r| r.start_line);
        assert_eq!(line, Some(5));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let mut collector = Collector::default();
        let finding = Finding::new(Code::Expired, "found.", "Fix.");
        (0..=MOST_RESULTS).for_each(|_| collector.take("a", std::slice::from_ref(&finding)));
        let log = collector.log("reject");
        assert_eq!((log.runs[0].results.len(), log.runs[0].properties.results_left_out), (MOST_RESULTS, 1));
    }
}
