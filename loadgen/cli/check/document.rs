//! `rollcall.check/1` and `rollcall.check-batch/1`: the results as JSON. Keys are stable: more may come, none changes
//! its meaning.

use super::fix;
use super::live::Canary;
use super::text::hex;
use super::view::{Element, Ending, View, date, word};
use crate::check::{Summary, Tally, reason};
use crate::exit::Exit;
use serde::Serialize;
use serde_json::Value;
use sim_identity::preflight::{About, Alternative, Change, Finding, Repair};
use sim_identity::verdict::{DeadEnd, Verdict};
use std::collections::BTreeMap;

/// One chain.
#[derive(Serialize)]
pub(super) struct Check {
    /// `rollcall.check/1`.
    pub(super) schema: &'static str,
    /// `accept` or `reject`.
    pub(super) verdict: &'static str,
    /// The name of the verdict: `accept`, `no-verified-ca` and so on, `rollcall explain verdicts` lists them; or what
    /// refuses a chain with a good verdict: `key-mismatch`, `expires-in-window`, `strict` for a warning with --strict, `live` for one real
    /// registration that was refused.
    pub(super) reason: &'static str,
    /// What it means, in a sentence or two.
    pub(super) sentence: String,
    /// Whether `verdict` is `reject`.
    pub(super) failed: bool,
    /// Where the chain came from.
    pub(super) source: String,
    /// Under which id the device would register; null where its leaf names none.
    pub(super) registration_id: Option<String>,
    /// As of when, RFC 3339.
    pub(super) at: String,
    /// The enrollment that decides; null where there is none.
    pub(super) entry: Option<Entry>,
    /// What a refused device is told; null where it is let in or disabled.
    pub(super) device_sees: Option<Told>,
    /// The way up, leaf first.
    pub(super) path: Vec<Link>,
    /// Whether `path` is the one that decided; else it is as far as signatures lead.
    pub(super) path_is_judged: bool,
    /// Ways that led nowhere, the one that got farthest first.
    pub(super) dead_ends: Vec<Dead>,
    /// The worst first.
    pub(super) findings: Vec<Found>,
    /// What is wrong with the instance, whatever the chain.
    pub(super) instance_findings: Vec<Found>,
    /// When dates next change the verdict; null if they never do.
    pub(super) next_change: Option<Next>,
    /// Other verdicts that unknown parts of the service could lead to.
    pub(super) unknowns: Vec<Unknown>,
    /// The chain as it should be sent; null where it is so already, or cannot be repaired.
    pub(super) repair: Option<Corrected>,
    /// The command that asks OpenSSL the same; null where the files are none that it reads.
    pub(super) openssl: Option<String>,
    /// Why there is no such command; null where there is.
    pub(super) openssl_left_out: Option<String>,
    /// What one real registration came to; null without --live.
    pub(super) live: Option<Live>,
}

/// The enrollment that decides.
#[derive(Serialize)]
pub(super) struct Entry {
    /// `group` or `individual`.
    kind: &'static str,
    /// The group's name, or the registration id.
    name: String,
    /// Whether it lets devices in.
    enabled: bool,
}

/// What a refused device is told.
#[derive(Serialize)]
pub(super) struct Told {
    /// Six digits.
    code: u32,
    /// The text, as seen on the wire where it was seen.
    message: &'static str,
}

/// A certificate on the way up.
#[derive(Serialize)]
pub(super) struct Link {
    /// Its place among what the device sends, from 0; null for one that only the service holds.
    index: Option<usize>,
    /// `leaf`, `intermediate` or `root`.
    role: &'static str,
    /// Subject.
    subject: String,
    /// Issuer name.
    issuer: String,
    /// Serial number, hexadecimal.
    serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    sha256: String,
    /// First second, RFC 3339.
    not_before: String,
    /// Last second, RFC 3339.
    not_after: String,
    /// What the instance knows of it: `verified`, `verified-by-name-and-key`, `unverified`, `code-pending` or
    /// `unknown`.
    state: &'static str,
    /// Groups on this certificate.
    groups: Vec<Entry>,
}

/// A way that led nowhere.
#[derive(Serialize)]
pub(super) struct Dead {
    /// The diagnostic that names what failed.
    check: &'static str,
    /// Certificates on the path; the leaf alone is 1.
    depth: usize,
    /// Subject of the last certificate on the path.
    element: String,
    /// Subject of the candidate that it failed on; null where none was found.
    candidate: Option<String>,
    /// The key id that was looked for, hexadecimal; null where none is named.
    key_id: Option<String>,
    /// The whole of it, in a sentence.
    sentence: String,
}

/// A finding.
#[derive(Serialize)]
pub(super) struct Found {
    /// The diagnostic; `rollcall explain CODE` tells more.
    code: &'static str,
    /// `error`, `warning` or `info`.
    severity: &'static str,
    /// Which certificate it is about; null where it is about none.
    certificate: Option<Subject>,
    /// What was found.
    message: String,
    /// What repairs it.
    fix: String,
    /// What it is seen by.
    evidence: Vec<String>,
}

/// The certificate that a finding is about.
#[derive(Serialize)]
struct Subject {
    /// Its place among what the device sends, from 0; null for one that only the service holds.
    index: Option<usize>,
    /// `leaf`, `intermediate`, `root` or `other`.
    role: &'static str,
    /// Subject.
    subject: String,
    /// Issuer name.
    issuer: String,
    /// Serial number, hexadecimal.
    serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    sha256: String,
}

/// When the verdict changes.
#[derive(Serialize)]
pub(super) struct Next {
    /// First second of the new verdict, RFC 3339.
    at: String,
    /// `accept` or `reject` from then on.
    verdict: &'static str,
    /// The name of the verdict from then on.
    reason: &'static str,
    /// Why.
    because: String,
}

/// What an unknown part of the service could change.
#[derive(Serialize)]
pub(super) struct Unknown {
    /// The knob.
    knob: &'static str,
    /// Its other value.
    value: String,
    /// What is not known.
    question: String,
    /// `accept` or `reject` with that value.
    verdict: &'static str,
    /// The name of the verdict with that value.
    reason: &'static str,
}

/// The chain as it should be sent.
#[derive(Serialize)]
pub(super) struct Corrected {
    /// What was done.
    steps: Vec<String>,
    /// `accept` or `reject` with it.
    verdict: &'static str,
    /// The name of the verdict with it.
    reason: &'static str,
    /// The certificates, leaf first, PEM.
    pem: String,
    /// Where --fix-to wrote it; null without.
    written_to: Option<String>,
}

/// What one real registration came to.
#[derive(Serialize)]
pub(super) struct Live {
    /// What was predicted, in a phrase.
    predicted: String,
    /// What the service said, in a phrase.
    said: String,
    /// The outcome, as in `rollcall.register/1`.
    outcome: Value,
    /// Whether they agree.
    agrees: bool,
}

/// What there is beside the examination.
pub(super) struct More<'a> {
    pub(super) ending: &'a Ending,
    pub(super) instance: &'a [Finding],
    pub(super) openssl: Result<String, String>,
    pub(super) written_to: Option<String>,
    pub(super) canary: Option<&'a Canary>,
}

/// The result for one chain.
pub(super) fn one(view: View<'_>, more: More<'_>) -> Check {
    let examination = &view.examined.examination;
    let verdict = &examination.judgement.verdict;
    let path = view.path();
    let overruled = more.ending.overruled.as_ref();
    let (openssl, openssl_left_out) = match more.openssl {
        Ok(command) => (Some(command), None),
        Err(reason) => (None, Some(reason)),
    };
    Check {
        schema: "rollcall.check/1",
        verdict: more.ending.word(),
        reason: overruled.map_or_else(|| reason(examination), |(reason, _)| *reason),
        sentence: overruled.map(|(_, why)| format!("{why}. ")).unwrap_or_default() + &view.sentence(&path),
        failed: more.ending.exit != Exit::Good,
        source: view.examined.label.clone(),
        registration_id: examination.registration_id.as_ref().map(|id| id.as_str().to_owned()),
        at: date(view.question.at),
        entry: entry(view),
        device_sees: verdict.refusal().map(|r| Told { code: r.code, message: r.message }),
        path: path.iter().map(link).collect(),
        path_is_judged: view.path_is_judged(),
        dead_ends: examination.judgement.trail.iter().map(dead).collect(),
        findings: examination.findings.iter().map(found).collect(),
        instance_findings: more.instance.iter().map(found).collect(),
        next_change: examination.next_change.as_ref().map(next),
        unknowns: examination.alternatives.iter().map(unknown).collect(),
        repair: examination.repair.as_ref().map(|repair| corrected(repair, more.written_to)),
        openssl,
        openssl_left_out,
        live: more.canary.map(live),
    }
}

fn entry(view: View<'_>) -> Option<Entry> {
    let (kind, name, enabled) = match view.verdict() {
        Verdict::Accept(group) => ("group", group.as_str().to_owned(), true),
        Verdict::Disabled(group) => ("group", group.as_str().to_owned(), false),
        Verdict::AcceptIndividual => ("individual", view.device(), true),
        Verdict::DisabledIndividual => ("individual", view.device(), false),
        _ => return None,
    };
    Some(Entry { kind, name, enabled })
}

fn link(element: &Element) -> Link {
    let certificate = &element.certificate;
    let groups = element.groups.iter().map(|(name, enabled)| Entry {
        kind: "group",
        name: name.clone(),
        enabled: *enabled,
    });
    Link {
        index: element.sent,
        role: element.role.as_str(),
        subject: certificate.subject(),
        issuer: certificate.issuer(),
        serial: hex(certificate.serial()),
        sha256: hex(certificate.sha256()),
        not_before: date(certificate.not_before()),
        not_after: date(certificate.not_after()),
        state: element.state.as_str(),
        groups: groups.collect(),
    }
}

fn dead(end: &DeadEnd) -> Dead {
    Dead {
        check: end.check.code(),
        depth: end.depth,
        element: end.element.subject(),
        candidate: end.candidate.as_ref().map(|c| c.subject()),
        key_id: end.key_id(),
        sentence: end.to_string(),
    }
}

/// A finding as a document has it.
pub(super) fn found(finding: &Finding) -> Found {
    let subject = |about: &About| Subject {
        index: about.index,
        role: about.role.as_str(),
        subject: about.subject.clone(),
        issuer: about.issuer.clone(),
        serial: about.serial.clone(),
        sha256: about.sha256.clone(),
    };
    Found {
        code: finding.code.as_str(),
        severity: finding.severity.as_str(),
        certificate: finding.about.as_ref().map(subject),
        message: finding.message.clone(),
        fix: finding.fix.clone(),
        evidence: finding.evidence.clone(),
    }
}

fn next(change: &Change) -> Next {
    Next {
        at: date(change.at),
        verdict: word(change.becomes.is_admitted()),
        reason: change.becomes.name(),
        because: change.because.clone(),
    }
}

fn unknown(other: &Alternative) -> Unknown {
    Unknown {
        knob: other.knob.name(),
        value: other.value.clone(),
        question: other.knob.question().to_owned(),
        verdict: word(other.verdict.is_admitted()),
        reason: other.verdict.name(),
    }
}

fn corrected(repair: &Repair, written_to: Option<String>) -> Corrected {
    Corrected {
        steps: repair.steps.clone(),
        verdict: word(repair.verdict.is_admitted()),
        reason: repair.verdict.name(),
        pem: fix::text(repair),
        written_to,
    }
}

fn live(canary: &Canary) -> Live {
    Live {
        predicted: canary.predicted.clone(),
        said: canary.said.clone(),
        outcome: canary.outcome.clone(),
        agrees: canary.agrees(),
    }
}

/// A batch.
#[derive(Serialize)]
pub(super) struct Batch<'a> {
    /// `rollcall.check-batch/1`.
    schema: &'static str,
    /// `accept` if every device is let in, and with --strict none has a warning; else `reject`.
    verdict: &'static str,
    /// `strict` where only --strict rejects; null where the devices decide.
    reason: Option<&'static str>,
    /// Whether `verdict` is `reject`.
    failed: bool,
    /// As of when, RFC 3339.
    at: String,
    /// Devices, those that could not be read included.
    devices: u64,
    /// Those that are let in.
    accepted: u64,
    /// Those that are not, and could be read.
    refused: u64,
    /// Those that are let in and have a warning, and nothing worse.
    with_warnings: u64,
    /// Those that are let in and have an error all the same.
    with_errors: u64,
    /// Those whose files could not be read.
    unreadable: u64,
    /// Files of a directory that hold CA certificates alone; they are not among the devices.
    left_out: u64,
    /// Devices by the name of their verdict.
    verdicts: &'a BTreeMap<&'static str, u64>,
    /// Devices by the enrollment that takes them.
    entries: &'a BTreeMap<String, u64>,
    /// Devices by the issuer of their leaf.
    issuers: &'a BTreeMap<String, u64>,
    /// Devices by the kind of their key.
    keys: &'a BTreeMap<String, u64>,
    /// Devices by the month in which their leaf expires.
    expiry: &'a BTreeMap<String, u64>,
    /// What was found, the worst first, then the most frequent.
    findings: Vec<Common<'a>>,
    /// What is wrong with the instance, whatever the chains.
    instance_findings: Vec<Found>,
    /// The first moment at which dates change some device's verdict; null if they never do.
    next_change: Option<BatchNext>,
    /// Refused devices, as many as --list asks for.
    listed: &'a [Refused],
    /// How long it took.
    seconds: f64,
    /// How many a second.
    devices_per_second: f64,
}

/// A refused device of a batch.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Refused {
    /// Where its chain came from.
    pub(super) source: String,
    /// The name of the verdict, or `unreadable`.
    pub(super) reason: &'static str,
    /// Why, in a sentence.
    pub(super) message: String,
}

/// A finding of a batch.
#[derive(Serialize)]
struct Common<'a> {
    /// Devices that have it.
    devices: u64,
    /// A device that has it, by where its chain came from.
    example: &'a str,
    /// The finding there.
    #[serde(flatten)]
    finding: Found,
}

/// When the verdict of a device changes.
#[derive(Serialize)]
struct BatchNext {
    /// First second, RFC 3339.
    at: String,
    /// How many devices change then.
    devices: u64,
}

/// The result for a batch.
pub(super) fn batch<'a>(
    summary: &'a Summary,
    listed: &'a [Refused],
    instance: &[Finding],
    at: i64,
    ending: &Ending,
) -> Batch<'a> {
    Batch {
        schema: "rollcall.check-batch/1",
        verdict: ending.word(),
        reason: ending.overruled.as_ref().map(|(reason, _)| *reason),
        failed: ending.exit != Exit::Good,
        at: date(at),
        devices: summary.devices,
        accepted: summary.accepted,
        refused: refused(summary),
        with_warnings: summary.with_warnings,
        with_errors: summary.with_errors,
        unreadable: summary.unreadable,
        left_out: summary.left_out,
        verdicts: &summary.verdicts,
        entries: &summary.entries,
        issuers: &summary.issuers,
        keys: &summary.keys,
        expiry: &summary.expiry,
        findings: commonest(summary).into_iter().map(common).collect(),
        instance_findings: instance.iter().map(found).collect(),
        next_change: summary.next_change.map(|(at, devices)| BatchNext { at: date(at), devices }),
        listed,
        seconds: summary.seconds,
        devices_per_second: rate(summary),
    }
}

fn common(tally: &Tally) -> Common<'_> {
    let finding = Found { severity: tally.severity.as_str(), ..found(&tally.finding) };
    Common { devices: tally.devices, example: &tally.example, finding }
}

/// What was found, the worst first, then the most frequent: one error must not drown among warnings.
pub(super) fn commonest(summary: &Summary) -> Vec<&Tally> {
    let mut tallies: Vec<&Tally> = summary.findings.values().collect();
    tallies.sort_by_key(|tally| std::cmp::Reverse((tally.severity, tally.devices)));
    tallies
}

/// Whether every device of a batch is let in.
pub(super) const fn all_accepted(summary: &Summary) -> bool {
    summary.accepted == summary.devices
}

/// Devices that could be read and are not let in.
pub(super) const fn refused(summary: &Summary) -> u64 {
    summary.devices.saturating_sub(summary.accepted).saturating_sub(summary.unreadable)
}

/// Devices a second.
#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
pub(super) fn rate(summary: &Summary) -> f64 {
    if summary.seconds > 0.0 { summary.devices as f64 / summary.seconds } else { 0.0 }
}
