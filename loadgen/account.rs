//! From what was measured, and what the service's ledger says, to the record of the run.

use crate::exit::Failure;
use crate::plan::{Devices, Fate, ShardOf};
use crate::recorder::{Clocks, ReasonKey, Recorder};
use hdrhistogram::Histogram;
use reports::{
    Certificates, Check, Ended, Expectations, Generator, Host, Issuer, KeyCount, Ledger, OutcomeKind,
    PhaseStats, Reason, Record, RollUp, SCHEMA, ScenarioText, Shard, Throughput, Verdict, VerdictKind,
};
use scenarios::Scenario;
use sim_device::Phase;
use sim_dps::{LedgerSnapshot, RefusalTrace};
use sim_identity::{Defect, DeviceIdentity};
use std::collections::HashMap;
use std::time::Duration;

/// What a run was, apart from what was measured.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The command line.
    pub command: Vec<String>,
    /// RFC 3339.
    pub started_utc: String,
    /// The scenario as given.
    pub text: ScenarioText,
    /// The scenario as checked.
    pub scenario: &'a Scenario,
    /// Which part of the run this is.
    pub shard: ShardOf,
    /// How many devices this part has.
    pub planned: u64,
    /// Who they were.
    pub devices: &'a Devices,
    /// One good device, to count what is presented.
    pub sample: Option<&'a DeviceIdentity>,
    /// Time spent minting before the run.
    pub minting: Duration,
    /// How the run ended.
    pub ended: Ended,
    /// Whether good devices are meant to be assigned.
    pub admits: bool,
    /// The group the devices are meant to come in by, where it is known.
    pub group: Option<String>,
    /// Descriptors the run needs and may have.
    pub descriptors: (u64, u64),
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Writes the record. `ledger` holds what the service saw of this run alone.
pub fn record(
    facts: &Facts<'_>,
    measured: &Recorder,
    ledger: Option<&LedgerSnapshot>,
) -> Result<Record, Failure> {
    let wall = measured.wall();
    let assigned = expected_assigned(facts);
    let mut record = Record {
        schema: SCHEMA.to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: facts.command.clone(),
        started_utc: facts.started_utc.clone(),
        scenario: facts.text.clone(),
        seed: facts.scenario.seed,
        shard: (facts.shard.count > 1)
            .then_some(Shard { index: facts.shard.index + 1, count: facts.shard.count }),
        host: Host { cpus: crate::cli::cores() as u64, os: std::env::consts::OS.to_owned() },
        notes: facts.notes.clone(),
        planned: facts.planned,
        started: measured.started,
        finished: measured.finished,
        ended: facts.ended,
        wall_seconds: wall.as_secs_f64(),
        minting_seconds: (facts.minting + measured.minting).as_secs_f64(),
        outcomes: measured.outcomes,
        reasons: reasons(facts, measured, ledger),
        phases: phases(&measured.clocks)?,
        clocks: reports::Clocks {
            service_time: stats("service time", &measured.clocks.service)?,
            response_time: stats("response time", &measured.clocks.response)?,
            service_time_unsuccessful: stats("service time, unsuccessful", &measured.clocks.unsuccessful)?,
        },
        throughput: Throughput::of(measured.outcomes.count(OutcomeKind::Assigned), wall.as_secs_f64()),
        per_second: measured.seconds.clone(),
        roll_up: roll_up(facts, measured, ledger, assigned),
        expectations: Expectations { assigned, refused: facts.planned - assigned },
        ledger: ledger.map(ledger_of),
        reconciliation: ledger.map(|l| reconcile(measured, l)).unwrap_or_default(),
        verdict: Verdict::default(),
        generator: Generator {
            cpu_seconds_client: None,
            descriptors_needed: facts.descriptors.0,
            descriptors_limit: facts.descriptors.1,
            max_lag_us: u64::try_from(measured.max_lag.as_micros()).unwrap_or(u64::MAX),
        },
        certificates: certificates(facts),
    };
    record.verdict = verdict(&record);
    Ok(record)
}

/// How many of this part's devices are meant to be let in: the good ones, and those whose defect is none to the
/// service.
fn expected_assigned(facts: &Facts<'_>) -> u64 {
    let ours = |index: u64| index % facts.shard.count == facts.shard.index;
    let let_in = |defect| facts.devices.fate(defect, facts.admits) == Fate::Assigned;
    let (mut bad, mut admitted) = (0, 0);
    for (_, defect) in facts.devices.defects.all().filter(|&(index, _)| ours(index)) {
        bad += 1;
        admitted += u64::from(let_in(Some(defect)));
    }
    if let_in(None) { facts.planned - bad + admitted } else { admitted }
}

fn stats(name: &str, histogram: &Histogram<u64>) -> Result<PhaseStats, Failure> {
    PhaseStats::from_histogram(name, histogram).map_err(Failure::unexpected)
}

/// The phases that happened.
fn phases(clocks: &Clocks) -> Result<Vec<PhaseStats>, Failure> {
    let named = Phase::ALL.iter().map(|&p| (p.as_str(), &clocks.phases[p as usize]));
    named.filter(|(_, h)| !h.is_empty()).map(|(name, h)| stats(name, h)).collect()
}

fn ledger_of(l: &LedgerSnapshot) -> Ledger {
    Ledger {
        connections: l.connections,
        tls_handshakes: l.tls_handshakes,
        connects: l.connects,
        registers: l.registers,
        polls: l.polls,
        assigned: l.assigned,
        refused: l.refused,
        disabled: l.disabled,
        throttled: l.throttled,
    }
}

/// What both sides counted of the same things. Only complete runs have equal counts: a device that gave up does
/// not know what the service decided.
fn reconcile(measured: &Recorder, ledger: &LedgerSnapshot) -> Vec<Check> {
    let outcomes = &measured.outcomes;
    let unknown = [
        OutcomeKind::Interrupted,
        OutcomeKind::TimedOut,
        OutcomeKind::Unreachable,
        OutcomeKind::ProtocolError,
    ];
    if unknown.into_iter().any(|kind| outcomes.count(kind) > 0) {
        return Vec::new();
    }
    vec![
        Check::new("assigned", outcomes.count(OutcomeKind::Assigned), ledger.assigned),
        Check::new("refused", outcomes.count(OutcomeKind::Refused), ledger.refused),
        Check::new("disabled", outcomes.count(OutcomeKind::Disabled), ledger.disabled),
    ]
}

fn roll_up(
    facts: &Facts<'_>,
    measured: &Recorder,
    ledger: Option<&LedgerSnapshot>,
    assigned: u64,
) -> Vec<RollUp> {
    let path = facts.devices.path();
    let split = |path: &[String]| match path.split_first() {
        Some((root, rest)) => (root.clone(), rest.to_vec()),
        // An individual enrollment goes by the leaf, and no CA has a say.
        None if facts.devices.is_minted() => ("(device certificate)".to_owned(), Vec::new()),
        None => ("(chains from files)".to_owned(), Vec::new()),
    };
    if let Some(ledger) = ledger {
        let one = ledger.roll_up.len() == 1;
        let ways = ledger.roll_up.iter().map(|way| {
            let (root, rest) = split(&way.path);
            let expected = one.then_some(assigned);
            RollUp {
                root,
                path: rest,
                group: way.group.clone(),
                hub: way.hub.clone(),
                expected,
                actual: way.count,
            }
        });
        return ways.collect();
    }
    let one = measured.hubs.len() == 1;
    let mut hubs: Vec<_> = measured.hubs.iter().collect();
    hubs.sort();
    let ways = hubs.into_iter().map(|(hub, &actual)| {
        let (root, rest) = split(&path);
        // Devices are told their hub and never the group that let them in.
        let group = facts.group.clone().unwrap_or_else(|| "(group not told)".to_owned());
        RollUp { root, path: rest, group, hub: hub.clone(), expected: one.then_some(assigned), actual }
    });
    ways.collect()
}

fn certificates(facts: &Facts<'_>) -> Certificates {
    let Some(sample) = facts.sample else { return Certificates::default() };
    let leaf = sample.chain.first().and_then(|der| sim_identity::Certificate::from_der(der.as_ref()).ok());
    Certificates {
        issuers: leaf.map(|l| Issuer { subject: l.issuer(), count: facts.planned }).into_iter().collect(),
        key_types: vec![KeyCount { key: sample.key.algorithm().to_string(), count: facts.planned }],
        chain_bytes: sample.chain.iter().map(|c| c.len() as u64).sum(),
    }
}

fn reasons(facts: &Facts<'_>, measured: &Recorder, ledger: Option<&LedgerSnapshot>) -> Vec<Reason> {
    let defect_of: HashMap<String, Defect> = facts
        .devices
        .defects
        .all()
        .map(|(index, defect)| (facts.devices.registration_id(index), defect))
        .collect();
    let mut found: Vec<Reason> = measured
        .reasons
        .iter()
        .map(|(key, (count, id))| {
            reason(facts, key, *count, id, ledger.and_then(|l| trace(l, key, &defect_of)))
        })
        .collect();
    // Of those that are let in, only the ones that should not be are worth a word.
    found.retain(|r| !(r.expected && r.outcome == OutcomeKind::Assigned));
    found.sort_by(|a, b| (b.count, &a.defect, &a.message).cmp(&(a.count, &b.defect, &b.message)));
    found
}

/// The service's own account of a refusal of this kind.
fn trace<'a>(
    ledger: &'a LedgerSnapshot,
    key: &ReasonKey,
    defect_of: &HashMap<String, Defect>,
) -> Option<&'a RefusalTrace> {
    let code = if key.outcome == OutcomeKind::Disabled { Some(0) } else { key.code };
    ledger
        .refusals
        .iter()
        .find(|r| Some(r.code) == code && defect_of.get(&r.sample_registration_id).copied() == key.defect)
}

fn reason(facts: &Facts<'_>, key: &ReasonKey, count: u64, id: &str, trace: Option<&RefusalTrace>) -> Reason {
    let (explanation, repair) = explain(facts, key, trace);
    Reason {
        outcome: key.outcome,
        phase: key.phase.map(|p| p.as_str().to_owned()),
        code: key.code,
        message: key.message.clone(),
        count,
        expected: is_expected(facts, key),
        defect: key.defect.map(|d| d.id().to_owned()),
        sample_registration_id: id.to_owned(),
        explanation: explanation.to_owned(),
        repair: repair.to_owned(),
        trail: trace.map(|t| t.trail.clone()).unwrap_or_default(),
    }
}

/// Whether a device ended as it was meant to; how a refusal is worded does not matter here.
fn is_expected(facts: &Facts<'_>, key: &ReasonKey) -> bool {
    match facts.devices.fate(key.defect, facts.admits) {
        Fate::Assigned => key.outcome == OutcomeKind::Assigned,
        Fate::Disabled => key.outcome == OutcomeKind::Disabled,
        Fate::Refused => key.outcome == OutcomeKind::Refused,
    }
}

/// Why, and what repairs it: from what was wrong on purpose, else from the service's verdict, else from the kind
/// of ending.
fn explain(facts: &Facts<'_>, key: &ReasonKey, trace: Option<&RefusalTrace>) -> (&'static str, &'static str) {
    // What was wrong on purpose does not explain why a device was refused that was to be let in all the same.
    if let Some(defect) = key.defect
        && facts.devices.fate(key.defect, facts.admits) != Fate::Assigned
    {
        return (defect.explanation(), defect.repair());
    }
    if let Some(trace) = trace {
        return explain_verdict(&trace.verdict, trace.check.as_deref());
    }
    match key.outcome {
        // A chain is judged at the register; a CONNECT is refused for what it says itself.
        OutcomeKind::Refused if key.phase == Some(Phase::Connect) => (
            "the service refused the connection: 3 is unavailable, 4 and 5 are a user name or client id that do not fit",
            "For 3, try again later; else compare client id, id scope and registration id.",
        ),
        OutcomeKind::Refused => (
            "the service does not trust the chain, or no enrollment wants the device",
            "Verify the CA, send the chain up to it, and check the enrollment group; the service's own log says which.",
        ),
        OutcomeKind::Disabled => (
            "the nearest enrollment is disabled",
            "Enable the group, or the individual enrollment if there is one.",
        ),
        OutcomeKind::Throttled => {
            ("more was asked than the service's quota allows", "Spread the load, or raise the quota.")
        }
        OutcomeKind::TimedOut => {
            ("no answer came in time", "Look at what the service was doing, or allow more time.")
        }
        OutcomeKind::Unreachable if matches!(key.phase, Some(Phase::Dns | Phase::Tcp | Phase::Tls)) => {
            ("there was no conversation", "Check host, port, trust root and network.")
        }
        OutcomeKind::Unreachable => (
            "the connection broke in the middle of the conversation",
            "Look at what the service and the network between were doing; a device would try again.",
        ),
        OutcomeKind::Shed => {
            ("the generator had no slot when the device was due", "Raise max_in_flight, or lower the rate.")
        }
        OutcomeKind::Interrupted => ("the run was stopped", "Run it again."),
        OutcomeKind::Assigned => ("a bad device was let in", "Find out which check the service left out."),
        OutcomeKind::Failed if key.code.is_some_and(|code| code >= 500_000) => (
            "the service answered with server errors until the time for the attempt was up",
            "Look at the service's health; a device would back off and try again.",
        ),
        OutcomeKind::Failed | OutcomeKind::ProtocolError => {
            ("the service answered otherwise than it should", "Look at its log.")
        }
    }
}

fn explain_verdict(verdict: &str, check: Option<&str>) -> (&'static str, &'static str) {
    match (verdict, check) {
        ("no-verified-ca", Some("chain-incomplete")) => (
            "an intermediate was not sent, or the CA above the last one sent is not verified",
            "Append the missing certificate to the chain file, or upload and verify the CA that issued the last one.",
        ),
        ("no-verified-ca", Some("wrong-issuer-key")) => (
            "a CA of the right name was found, but its key did not sign the certificate below it",
            "Send and verify the generation of the CA that signed it.",
        ),
        ("no-verified-ca", _) => (
            "the chain is complete, but no CA on it is verified in this instance",
            "Prove possession of the root or an intermediate: `rollcall ca code` and `rollcall ca verify`.",
        ),
        ("invalid-certificate", _) => (
            "a certificate on the path cannot stand where it stands",
            "See the trail for which one and why, and issue it again.",
        ),
        ("no-entry", _) => {
            ("the chain is trusted, but no enrollment group is on it", "Create a group on one of its CAs.")
        }
        ("group-above-verified", _) => (
            "the group's certificate lies above the highest verified one",
            "Verify the group's certificate, or move the group down.",
        ),
        ("cn-mismatch" | "cn-missing", _) => (
            "the certificate's CN is not the registration id",
            "Issue the certificate with CN = registration id, or register under the CN.",
        ),
        ("disabled", _) => (
            "the nearest enrollment is disabled",
            "Enable the group, or the individual enrollment if there is one.",
        ),
        ("individual-stale", _) => (
            "the device has an individual enrollment, and it holds another certificate",
            "Put the device's certificate into its individual enrollment, or delete that enrollment.",
        ),
        ("individual-by-key", _) => (
            "the device has an individual enrollment, and it asks for a key instead of a certificate",
            "Give the device the key, or change the attestation of its individual enrollment.",
        ),
        ("leaf-is-entry-certificate", _) => (
            "the device's own certificate is the certificate of an enrollment group",
            "Put the issuing CA into the group, or give the device an individual enrollment.",
        ),
        ("no-credential", _) => (
            "the device sent neither a certificate nor a token",
            "Give the device a certificate, or a shared access signature.",
        ),
        ("too-many-registrations", _) => (
            "the instance keeps no more registrations",
            "Delete registrations of devices that are gone, or raise the limit.",
        ),
        ("allocation-failed", _) => (
            "the device was admitted, and no hub was found for it",
            "Link a hub that its enrollment allows; with custom allocation, look at what the webhook answers.",
        ),
        ("unknown-id-scope", _) => {
            ("the id scope is another instance's", "Use the id scope of the instance that holds the CA.")
        }
        _ => ("the service refused the request", "See the message and the service's log."),
    }
}

/// What the run is worth: sums first, then whether it ended, then whether devices fared as the scenario means.
fn verdict(record: &Record) -> Verdict {
    let broken: Vec<String> = record
        .check()
        .into_iter()
        .map(|sum| format!("{}: expected {}, found {}", sum.name, sum.expected, sum.actual))
        .collect();
    if record.ended != Ended::Completed {
        return Verdict {
            kind: VerdictKind::Interrupted,
            reasons: vec!["the run was stopped early".to_owned()],
        };
    }
    if !broken.is_empty() {
        return Verdict { kind: VerdictKind::Invalid, reasons: broken };
    }
    let (wanted, found) = (record.expectations.assigned, record.outcomes.count(OutcomeKind::Assigned));
    let unexpected = record.reasons.iter().filter(|r| !r.expected);
    let mut reasons: Vec<String> =
        unexpected.map(|r| format!("{} devices: {}", r.count, r.message)).collect();
    if wanted != found {
        reasons.insert(0, format!("{wanted} devices were to be assigned, {found} were"));
    }
    let kind = if reasons.is_empty() { VerdictKind::Good } else { VerdictKind::GateFailed };
    Verdict { kind, reasons }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_judge_is_explained() {
        let unexplained = explain_verdict("none such", None);
        let refusals = sim_identity::verdict::Verdict::NAMES
            .into_iter()
            .filter(|name| !["accept", "rolls-up"].contains(name));
        for verdict in refusals {
            assert_ne!(explain_verdict(verdict, None), unexplained, "{verdict}");
        }
    }
}
