//! From what was measured, and what the service's ledger says, to the record of the run.

use crate::exit::Failure;
use crate::gates;
use crate::health::{self, Health};
use crate::journal::NOT_IN_IT;
use crate::plan::{self, Devices, Expected, Fate, ShardOf};
use crate::recorder::{Clocks, ReasonKey, Recorder, histogram, record as note};
use crate::stage;
use hdrhistogram::Histogram;
use reports::{
    Certificates, Check, Ended, EventDone, Expectations, Generator, Host, Issuer, KeyCount, Ledger,
    OutcomeKind, PhaseStats, Reason, Record, RollUp, SCHEMA, ScenarioText, Second, Setting, Shard,
    Throughput, TlsCount, Verdict, VerdictKind,
};
use scenarios::{
    Action, Gate, GeneratorLimit, GroupOn, MockProfile, Scenario, Schedule, Target, Unit, Verification,
};
use sim_device::Phase;
use sim_dps::{LedgerSnapshot, Limits, RefusalTrace};
use sim_identity::{Defect, DeviceIdentity};
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
    /// Every value that it came to.
    pub settings: &'a [Setting],
    /// When its arrivals are due.
    pub schedule: &'a Schedule,
    /// Which part of the run this is.
    pub shard: ShardOf,
    /// How many arrivals this part has.
    pub planned: u64,
    /// Who they were.
    pub devices: &'a Devices,
    /// One good device, to count what is presented.
    pub sample: Option<&'a DeviceIdentity>,
    /// Time spent minting, before the run and beside it.
    pub minting: Duration,
    /// How the run ended.
    pub ended: Ended,
    /// Whether good devices are meant to be assigned.
    pub admits: bool,
    /// The group the devices are meant to come in by, where it is known.
    pub group: Option<String>,
    /// Whether the service was the run's own embedded mock.
    pub embedded: bool,
    /// What the operator did meanwhile.
    pub events: Vec<EventDone>,
    /// The most devices that stayed connected at a time.
    pub most_held: u64,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// What the generator needed; [`record`] adds what was measured of it.
    pub generator: Generator,
}

/// What a run measured.
#[derive(Debug)]
pub struct Measured<'a> {
    /// Everything.
    pub total: &'a Recorder,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// What that says of the generator.
    pub health: Health,
    /// What the service saw of this run alone, where it tells.
    pub ledger: Option<&'a LedgerSnapshot>,
}

/// Writes the record, and judges it.
///
/// # Errors
/// When a histogram cannot be written.
pub fn record(facts: &Facts<'_>, measured: &Measured<'_>) -> Result<Record, Failure> {
    let (total, ledger) = (measured.total, measured.ledger);
    let wall = total.wall();
    let expected =
        facts.devices.expected(facts.scenario, facts.shard, facts.admits, facts.schedule.planned());
    let sum = |count: fn(&Expected) -> u64| expected.iter().map(count).sum();
    let mut record = Record {
        schema: SCHEMA.to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: facts.command.clone(),
        started_utc: facts.started_utc.clone(),
        scenario: facts.text.clone(),
        settings: facts.settings.to_vec(),
        seed: facts.scenario.seed,
        shard: (facts.shard.count > 1)
            .then_some(Shard { index: facts.shard.index + 1, count: facts.shard.count }),
        shards: Vec::new(),
        host: host(),
        setup: Vec::new(),
        notes: facts.notes.clone(),
        planned: facts.planned,
        started: total.started,
        finished: total.finished,
        model: if facts.scenario.load.is_open() { "open" } else { "closed" }.to_owned(),
        device_set: if total.finished == 0 { String::new() } else { format!("{:032x}", total.device_set) },
        ended: facts.ended,
        wall_seconds: wall.as_secs_f64(),
        minting_seconds: facts.minting.as_secs_f64(),
        outcomes: total.outcomes,
        reasons: reasons(facts, total, ledger),
        samples: total.samples.values().cloned().collect(),
        retries: total.retries,
        held: facts.scenario.device.hold.map(|_| reports::Held { peak: facts.most_held, ..total.held }),
        tls: tls(total),
        events: facts.events.clone(),
        phases: phases(&total.clocks)?,
        clocks: reports::Clocks {
            service_time: stats("service time", &total.clocks.service)?,
            response_time: stats("response time", &total.clocks.response)?,
            service_time_unsuccessful: stats("service time, unsuccessful", &total.clocks.unsuccessful)?,
            lateness: stats("lateness", &total.clocks.lateness)?,
        },
        held_answers: None,
        held_conversations: None,
        throughput: Throughput::of(
            total.outcomes.count(OutcomeKind::Assigned) + total.outcomes.count(OutcomeKind::Connected),
            wall.as_secs_f64(),
        ),
        per_second: with_plan(facts, &measured.seconds),
        roll_up: roll_up(facts, total, ledger, &expected),
        // A mock of a run spreads devices as the service does by default, and its groups say nothing else.
        allocation_policy: facts.embedded.then(|| "hashed".to_owned()),
        quota_per_minute: quota(facts.scenario),
        expectations: Expectations {
            assigned: sum(|e| e.assigned + e.connected),
            refused: sum(|e| e.refused),
            open: sum(|e| e.open),
        },
        ledger: ledger.map(|l| ledger_of(l, facts.embedded)),
        reconciliation: ledger.map(|l| reconcile(total, l)).unwrap_or_default(),
        gates: Vec::new(),
        capacity: None,
        verdict: Verdict::default(),
        generator: Generator {
            cpu_share: measured.health.cpu_share,
            starved_share: measured.health.starved_share,
            limited: measured.health.limited,
            findings: measured.health.findings.clone(),
            max_lag_us: total.clocks.lateness.max() / 1_000,
            ..facts.generator.clone()
        },
        certificates: certificates(facts, &expected),
    };
    record.notes.extend(waited(&record, facts.scenario));
    judge(&mut record, facts.scenario);
    Ok(record)
}

/// Seconds beside how many arrivals the schedule has in each, where arrivals come by the clock.
fn with_plan(facts: &Facts<'_>, seconds: &[Second]) -> Vec<Second> {
    let open = facts.schedule.is_open();
    // Arrivals are numbered as they come due, so those before a moment are the first of all.
    let before = |t: u64| {
        let due = facts.schedule.due_before(Duration::from_secs(t));
        facts.shard.arrivals(due, facts.scenario.fleet.devices)
    };
    let planned = |t: u64| open.then(|| before(t + 1).saturating_sub(before(t)));
    seconds.iter().map(|second| Second { planned: planned(second.t), ..second.clone() }).collect()
}

/// Registrations a minute that the service is known to allow.
fn quota(scenario: &Scenario) -> Option<u64> {
    let per_minute = match &scenario.target {
        Target::Service(service) => service.quota_per_minute,
        Target::Mock(mock) if mock.profile == MockProfile::Azure => {
            Limits::documented().registrations_per_minute
        }
        Target::Mock(_) => None,
    };
    per_minute.map(u64::from)
}

/// Where this runs.
fn host() -> Host {
    Host {
        cpus: crate::cli::cores() as u64,
        cpu_model: health::cpu_model().unwrap_or_default(),
        memory_bytes: health::memory(),
        os: std::env::consts::OS.to_owned(),
        kernel: health::kernel().unwrap_or_default(),
        build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
    }
}

/// Whether the load was held back by its own bound.
fn waited(record: &Record, scenario: &Scenario) -> Option<String> {
    let (arrivals, longest) = record.generator.held_back()?;
    Some(format!(
        "{arrivals} arrivals waited until a slot, or their own device, was free, up to {:.1} s: {} in flight at most held \
         the load back. That is in the response time, and in neither service time nor lateness.",
        longest as f64 / 1e6,
        scenario.load.slots()
    ))
}

fn tls(total: &Recorder) -> Vec<TlsCount> {
    let counted = total.tls.iter().map(|(facts, &count)| TlsCount {
        version: facts.version.to_owned(),
        suite: facts.suite.to_owned(),
        group: facts.group.to_owned(),
        resumed: facts.resumed,
        count,
    });
    let mut counted: Vec<_> = counted.collect();
    counted.sort_by(|a, b| {
        (b.count, &a.version, &a.suite, &a.group).cmp(&(a.count, &b.version, &b.suite, &b.group))
    });
    counted
}

fn stats(name: &str, histogram: &Histogram<u64>) -> Result<PhaseStats, Failure> {
    PhaseStats::from_histogram(name, histogram).map_err(Failure::unexpected)
}

/// Times by the mock's clock, where there are any.
///
/// # Errors
/// When the histogram cannot be written.
pub fn by_the_mock(name: &str, all: &[Duration]) -> Result<Option<PhaseStats>, Failure> {
    let mut times = histogram();
    all.iter().for_each(|&time| note(&mut times, time));
    (!times.is_empty()).then(|| stats(name, &times)).transpose()
}

/// The phases that happened.
fn phases(clocks: &Clocks) -> Result<Vec<PhaseStats>, Failure> {
    let named = Phase::ALL.iter().map(|&p| (p.as_str(), &clocks.phases[p as usize]));
    named.filter(|(_, h)| !h.is_empty()).map(|(name, h)| stats(name, h)).collect()
}

fn ledger_of(l: &LedgerSnapshot, embedded: bool) -> Ledger {
    Ledger {
        embedded,
        connections: l.connections,
        tls_handshakes: l.tls_handshakes,
        connects: l.connects,
        registers: l.registers,
        polls: l.polls,
        assigned: l.assigned,
        refused: l.refused,
        disabled: l.disabled,
        failed: l.failed,
        throttled: l.throttled,
        server_errors: l.server_errors,
        malformed_answers: l.malformed_answers,
        lost_answers: l.lost_answers,
    }
}

/// What both sides counted of the same things: every answer that the service sent, and that a device heard. They are
/// equal but for answers that came when a device did not wait for them any more. What a device had heard whose attempt
/// was given up is not known: then there is nothing to compare. Arrivals that never started are no matter.
fn reconcile(measured: &Recorder, ledger: &LedgerSnapshot) -> Vec<Check> {
    let (outcomes, heard) = (&measured.outcomes, measured.heard);
    if measured.started > measured.finished {
        return Vec::new();
    }
    let counts = [
        ("assigned", outcomes.count(OutcomeKind::Assigned), ledger.assigned),
        ("refused", heard.refused, ledger.refused),
        ("disabled", outcomes.count(OutcomeKind::Disabled), ledger.disabled),
        ("failed", heard.failed, ledger.failed),
        ("throttled", heard.throttled, ledger.throttled),
        ("server errors", heard.server_errors, ledger.server_errors),
        ("unreadable answers", heard.malformed, ledger.malformed_answers),
    ];
    let check = |(name, client, service)| Check::new(name, client, service, heard.unheard);
    counts.into_iter().map(check).collect()
}

fn roll_up(
    facts: &Facts<'_>,
    measured: &Recorder,
    ledger: Option<&LedgerSnapshot>,
    expected: &[Expected],
) -> Vec<RollUp> {
    let split = |path: &[String]| split(path, facts.devices.is_minted());
    if let Some(ledger) = ledger {
        let ways = ledger.roll_up.iter().map(|way| {
            let (root, path) = split(&way.path);
            RollUp {
                root,
                path,
                group: way.group.clone(),
                hub: way.hub.clone(),
                expected: expected_by(facts, ledger, expected, &way.group)
                    .filter(|_| measured.heard.unheard == 0),
                actual: way.count,
            }
        });
        return ways.chain(nobody_came(facts, ledger, expected)).collect();
    }
    let paths = facts.devices.paths();
    let path = if paths.len() == 1 { paths[0].path.as_slice() } else { &[] };
    let one = measured.hubs.len() == 1 && paths.len() <= 1 && expected.iter().all(|e| e.open == 0);
    let assigned = expected.iter().map(|e| e.assigned).sum();
    let mut hubs: Vec<_> = measured.hubs.iter().collect();
    hubs.sort();
    let ways = hubs.into_iter().map(|(hub, &actual)| {
        let (root, rest) = split(path);
        // Which of several chains they came by is counted by the service alone.
        let root = if paths.len() > 1 { "(chain not told)".to_owned() } else { root };
        // Devices are told their hub and never the group that let them in.
        let group = facts.group.clone().unwrap_or_else(|| "(group not told)".to_owned());
        RollUp { root, path: rest, group, hub: hub.clone(), expected: one.then_some(assigned), actual }
    });
    ways.collect()
}

/// The root and what is below it.
fn split(path: &[String], minted: bool) -> (String, Vec<String>) {
    match path.split_first() {
        Some((root, rest)) => (root.clone(), rest.to_vec()),
        // An individual enrollment goes by the leaf, and no CA has a say.
        None if minted => ("(device certificate)".to_owned(), Vec::new()),
        None => ("(chains from files)".to_owned(), Vec::new()),
    }
}

/// The group that a factory's devices are meant to come in by; of the only authority, the group of the run.
fn group_of(facts: &Facts<'_>, factory: usize) -> Option<String> {
    facts.devices.paths().get(factory).and_then(|path| path.group.clone()).or_else(|| facts.group.clone())
}

/// How many devices are meant to come by a way, where that can be told: one hub for the group, nothing that happens on
/// the way, and no bad device that other groups are to let in.
fn expected_by(
    facts: &Facts<'_>,
    ledger: &LedgerSnapshot,
    expected: &[Expected],
    group: &str,
) -> Option<u64> {
    let ways = ledger.roll_up.iter().filter(|way| way.group == group).count();
    let of_group = |e: &&Expected| group_of(facts, e.factory).as_deref() == Some(group);
    let bad_ones_come_elsewhere = ledger.roll_up.len() > 1
        && facts.devices.defects.kinds().any(|defect| defect_fate(facts, defect) == Fate::Assigned);
    let alone = ledger.roll_up.len() == 1 && expected.len() == 1;
    let found = if alone { expected.first() } else { expected.iter().find(of_group) };
    found.filter(|e| ways == 1 && e.open == 0 && !bad_ones_come_elsewhere).map(|e| e.assigned)
}

/// Factories whose devices were to come in, and none did.
fn nobody_came(facts: &Facts<'_>, ledger: &LedgerSnapshot, expected: &[Expected]) -> Vec<RollUp> {
    let paths = facts.devices.paths();
    let missing = expected.iter().filter_map(|e| {
        let group = group_of(facts, e.factory)?;
        let came = ledger.roll_up.iter().any(|way| way.group == group);
        let (root, path) = split(&paths.get(e.factory)?.path, facts.devices.is_minted());
        let expected = (e.open == 0).then_some(e.assigned);
        (!came && e.assigned + e.open > 0).then(|| RollUp {
            root,
            path,
            group,
            hub: "(none)".to_owned(),
            expected,
            actual: 0,
        })
    });
    missing.collect()
}

fn certificates(facts: &Facts<'_>, expected: &[Expected]) -> Certificates {
    let Some(sample) = facts.sample else { return Certificates::default() };
    let presented: Vec<_> =
        sample.chain.iter().map_while(|der| sim_identity::Certificate::from_der(der.as_ref()).ok()).collect();
    let leaf = presented.first();
    let paths = facts.devices.paths();
    let by_factory = expected.iter().filter_map(|e| {
        let subject = paths.get(e.factory)?.path.last()?.clone();
        Some(Issuer { subject, count: e.assigned + e.refused + e.open, not_after_utc: None })
    });
    let issuers: Vec<_> = if paths.len() > 1 {
        by_factory.collect()
    } else {
        let issuer = |leaf: &sim_identity::Certificate| Issuer {
            subject: leaf.issuer(),
            count: facts.planned,
            not_after_utc: presented.get(1).map(ends),
        };
        leaf.map(issuer).into_iter().collect()
    };
    Certificates {
        issuers,
        key_types: vec![KeyCount { key: sample.key.algorithm().to_string(), count: facts.planned }],
        chain_bytes: sample.chain.iter().map(|c| c.len() as u64).sum(),
        leaf_not_after_utc: leaf.map(ends),
    }
}

/// When a certificate ends, RFC 3339, UTC.
fn ends(certificate: &sim_identity::Certificate) -> String {
    // A certificate that was parsed ends at a moment that can be written.
    let moment = OffsetDateTime::from_unix_timestamp(certificate.not_after());
    moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
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
    let (explanation, repair) = untrusted(facts, key, trace).unwrap_or_else(|| {
        let (explanation, repair) = explain(facts, key, trace);
        (explanation.into(), repair.into())
    });
    Reason {
        outcome: key.outcome,
        phase: key.phase.map(|p| p.as_str().to_owned()),
        code: key.code,
        message: key.message.clone(),
        count,
        expected: key.expected,
        defect: key.defect.map(|d| d.id().to_owned()),
        sample_registration_id: id.to_owned(),
        explanation: explanation.into_owned(),
        repair: repair.into_owned(),
        trail: trace.map(|t| t.trail.clone()).unwrap_or_default(),
    }
}

/// What is meant to become of devices with a defect.
fn defect_fate(facts: &Facts<'_>, defect: Defect) -> Fate {
    facts.devices.fate_of_defect(defect, facts.admits)
}

/// Why a good device met no verified CA, and what repairs it, where that is the scenario's doing: its CA was deleted
/// meanwhile, or never came to be verified.
fn untrusted(
    facts: &Facts<'_>,
    key: &ReasonKey,
    trace: Option<&RefusalTrace>,
) -> Option<(Cow<'static, str>, Cow<'static, str>)> {
    let trace = trace.filter(|trace| key.defect.is_none() && trace.verdict == "no-verified-ca")?;
    let Target::Mock(mock) = &facts.scenario.target else { return None };
    let factory = factory_of(facts, &trace.sample_registration_id)?;
    let ca = |name: &str, group_on: GroupOn| {
        let path = facts.devices.paths().into_iter().nth(factory).map(|way| way.path).unwrap_or_default();
        let subject = if group_on == GroupOn::Root { path.first() } else { path.last() };
        subject.map_or_else(|| format!("the CA `{name}`"), |subject| format!("the CA `{name}` ({subject})"))
    };
    let line = facts.scenario.fleet.factories.get(factory);
    let name = line.map_or_else(|| stage::only_ca(mock.verification), |line| &line.root);
    if let Some(at) = deleted(facts, line.map_or(plan::ONLY_ROOT, |line| &line.root)) {
        return Some((
            format!("{} was deleted {at:.1} s into the run", ca(name, GroupOn::Root)).into(),
            "Upload it again with `rollcall ca upload` and verify it, or move these devices to a CA that is there.".into(),
        ));
    }
    match mock.verification {
        Verification::ForgedProof => {
            // With factories it is the roots that are uploaded.
            let on = if line.is_some() { GroupOn::Root } else { mock.group_on };
            let why = "is uploaded and Unverified: its proof of possession was signed with another key";
            let repair = "Only who holds the CA's key can verify it: that is what keeps a stranger out. If it is your CA, prove \
                          possession with its own key.";
            Some((format!("{} {why}", ca(name, on)).into(), repair.into()))
        }
        Verification::None => {
            let why = "is uploaded and Unverified: nobody proved possession of it";
            let (_, repair) = explain_verdict(&trace.verdict, None);
            Some((format!("{} {why}", ca(name, GroupOn::Root)).into(), repair.into()))
        }
        Verification::ProofOfPossession | Verification::SelfAttested => None,
    }
}

/// Which factory the device comes from; the first where there is but one.
fn factory_of(facts: &Facts<'_>, id: &str) -> Option<usize> {
    if facts.scenario.fleet.factories.len() <= 1 {
        return Some(0);
    }
    let index =
        (0..facts.scenario.fleet.devices).find(|&index| facts.devices.registration_id(index) == id)?;
    Some(facts.devices.factory(index))
}

/// When the operator deleted the CA of a root, in seconds from the start. What was done is the beginning of what was
/// to be, in the same order.
fn deleted(facts: &Facts<'_>, root: &str) -> Option<f64> {
    let done = facts.scenario.events.iter().zip(&facts.events);
    let mut of_root = done.filter(|(event, done)| {
        matches!(&event.action, Action::DeleteCa(deleted) if deleted == root) && done.failed.is_none()
    });
    of_root.next().map(|(_, done)| done.at_seconds)
}

/// Why, and what repairs it: from what was wrong on purpose, else from the service's verdict, else from the kind
/// of ending.
fn explain(facts: &Facts<'_>, key: &ReasonKey, trace: Option<&RefusalTrace>) -> (&'static str, &'static str) {
    // What was wrong on purpose does not explain why a device was refused that was to be let in all the same.
    if let Some(defect) = key.defect
        && defect_fate(facts, defect) != Fate::Assigned
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
        OutcomeKind::Shed => (
            "no slot was free when the device was due, or the device was still busy with its turn before",
            "Raise max_in_flight, or lower the rate.",
        ),
        OutcomeKind::Interrupted if key.message == NOT_IN_IT => (
            "the journal ends before the run did: whether these came, and how they ended, nobody knows",
            "Look for the run.json of the run, or run it again.",
        ),
        OutcomeKind::Interrupted if facts.ended == Ended::EndedByGate => {
            ("a gate ended the run first", "See the gate that ended it.")
        }
        OutcomeKind::Interrupted => ("the run was stopped", "Run it again."),
        OutcomeKind::Assigned => ("a bad device was let in", "Find out which check the service left out."),
        OutcomeKind::Connected => {
            ("the device was connected, which it was not to be", "Find out who let it in.")
        }
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
        ("invalid-certificate", Some("expired")) => (
            "a certificate on the path has expired, as the trail names it",
            "Renew it. A leaf made to end with its CA, as none is valid beyond it, needs a renewed CA first.",
        ),
        ("invalid-certificate", Some("not-yet-valid")) => (
            "a certificate on the path is not valid yet, as the trail names it",
            "Look at the clock of the machine that issued it, or wait.",
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

/// Holds a record to its scenario's gates, and says what it is worth.
pub fn judge(record: &mut Record, scenario: &Scenario) {
    // What is to be counted is meant for the whole fleet: only the merged record can be held to it.
    let is_whole = record.shard.is_none();
    let is_for = |gate: &&Gate| is_whole || gate.metric.unit() != Unit::Count || gate.at_most == Some(0.0);
    let mut all: Vec<Gate> = scenario.gates.iter().filter(is_for).cloned().collect();
    let implied = gates::implied(&scenario.gates);
    all.extend(implied.clone());
    let aborted: HashMap<String, Option<f64>> =
        record.gates.drain(..).map(|gate| (gate.gate, gate.aborted_at)).collect();
    record.gates = gates::results(&all, &*record);
    for gate in &mut record.gates {
        gate.aborted_at = aborted.get(&gate.gate).copied().flatten();
    }
    if let Some(last) = record.gates.last_mut().filter(|_| implied.is_some()) {
        last.implied = true;
    }
    record.verdict = verdict(record, scenario.limits.generator);
}

/// Judges again, once it is known which gate ended the run, and when.
pub fn ended_by(record: &mut Record, scenario: &Scenario, name: &str, at: Duration) {
    let ended = record.gates.iter_mut().filter(|gate| gate.gate == name);
    ended.for_each(|gate| gate.aborted_at = Some(at.as_secs_f64()));
    judge(record, scenario);
}

/// A record that was to be compared with a ledger, and is not: nothing stands for it. What became of the service is
/// said first, if the record tells.
pub fn without_ledger(record: &mut Record, why: String) {
    record.verdict.kind = VerdictKind::Invalid;
    let gone = vanished(record);
    record.verdict.reasons.retain(|reason| Some(reason) != gone.as_ref());
    record.verdict.reasons.splice(..0, gone.into_iter().chain([why]));
}

/// Whether the service was there and stopped answering, or never was: most devices that nobody meant to fail could not
/// reach it, and since some second nobody got what it wanted.
fn vanished(record: &Record) -> Option<String> {
    let unexpected = || record.reasons.iter().filter(|reason| !reason.expected);
    let failed: u64 = unexpected().map(|reason| reason.count).sum();
    let unreachable = unexpected().filter(|reason| reason.outcome == OutcomeKind::Unreachable);
    let unreachable: u64 = unreachable.map(|reason| reason.count).sum();
    if unreachable == 0 || unreachable * 2 <= failed {
        return None;
    }
    let answered = record.per_second.iter().rev().find(|second| second.assigned > 0).map(|second| second.t);
    let Some(last) = answered else {
        return Some(format!("the service did not answer: {unreachable} devices unreachable"));
    };
    let since = record.per_second.iter().filter(|second| second.t > last);
    let since: u64 = since.map(|second| second.refused).sum();
    // A second is as exactly as that is known.
    (since * 2 > unreachable).then(|| {
        format!(
            "the service stopped answering about {} s after the start: {unreachable} devices unreachable",
            last + 1
        )
    })
}

/// What the run is worth: whether it ended, then sums, then the generator, then the gates.
fn verdict(record: &Record, limit: GeneratorLimit) -> Verdict {
    let of = |kind, reasons| Verdict { kind, reasons };
    let stopped = matches!(record.ended, Ended::Interrupted | Ended::Aborted);
    let missing: u64 = record.reasons.iter().filter(|r| r.message == NOT_IN_IT).map(|r| r.count).sum();
    if missing > 0 {
        let why = format!("the journal ends before the run did: {missing} outcomes are not in it");
        return of(if stopped { VerdictKind::Interrupted } else { VerdictKind::Invalid }, vec![why]);
    }
    if stopped {
        return of(VerdictKind::Interrupted, vec!["the run was stopped early".to_owned()]);
    }
    let told = |sum: reports::Sum| format!("{}: expected {}, found {}", sum.name, sum.expected, sum.actual);
    let broken: Vec<String> = record.check().into_iter().map(told).collect();
    if !broken.is_empty() {
        return of(VerdictKind::Invalid, vanished(record).into_iter().chain(broken).collect());
    }
    if record.generator.limited && limit == GeneratorLimit::Judge {
        return of(VerdictKind::GeneratorLimited, record.generator.findings.clone());
    }
    let reasons = unmet(record);
    let kind = if reasons.is_empty() { VerdictKind::Good } else { VerdictKind::GateFailed };
    of(kind, reasons)
}

/// Why the run did not show what it was to, what says most first: a gate that ended it, a service that went away, how
/// devices fared otherwise than the scenario means, and which gates were not met. Nothing if all were.
fn unmet(record: &Record) -> Vec<String> {
    let failed = || record.gates.iter().filter(|gate| !gate.passed && gate.aborted_at.is_none());
    let mut reasons: Vec<String> = record.gates.iter().filter_map(gates::told_end).collect();
    if reasons.is_empty() && failed().next().is_none() {
        return reasons;
    }
    reasons.extend(vanished(record));
    let mut unexpected: Vec<_> = record.reasons.iter().filter(|reason| !reason.expected).collect();
    // Who was in flight when the run was ended says nothing of the service.
    unexpected.sort_by_key(|reason| reason.outcome == OutcomeKind::Interrupted);
    reasons.extend(unexpected.iter().map(|reason| match reason.message.as_str() {
        "" => format!("{} devices {}: {}", reason.count, reason.outcome.as_str(), reason.explanation),
        message => format!("{} devices {}: {message}", reason.count, reason.outcome.as_str()),
    }));
    let (wanted, open) = (record.expectations.assigned, record.expectations.open);
    let found = record.outcomes.count(OutcomeKind::Assigned) + record.outcomes.count(OutcomeKind::Connected);
    if open == 0 && wanted != found {
        reasons.push(format!("{wanted} devices were to get in, {found} did"));
    }
    reasons.extend(failed().map(gates::told));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use reports::GateResult;

    #[test]
    fn every_refusal_of_the_judge_is_explained() {
        let unexplained = explain_verdict("none such", None);
        let refusals = sim_identity::verdict::Verdict::NAMES
            .into_iter()
            .filter(|name| !["accept", "rolls-up"].contains(name));
        for verdict in refusals {
            assert_ne!(explain_verdict(verdict, None), unexplained, "{verdict}");
        }
        let general = explain_verdict("invalid-certificate", None);
        for check in [sim_identity::verdict::Check::Expired, sim_identity::verdict::Check::NotYetValid] {
            assert_ne!(explain_verdict("invalid-certificate", Some(check.code())), general, "{check:?}");
        }
    }

    /// 10 planned, of which 4 were assigned in the first seconds and the rest met nobody.
    fn cut_off() -> Record {
        let second = |t, assigned, refused| Second { t, assigned, refused, ..Second::default() };
        Record {
            planned: 10,
            ended: Ended::Completed,
            outcomes: reports::Outcomes { assigned: 4, unreachable: 6, ..reports::Outcomes::default() },
            expectations: Expectations { assigned: 10, ..Expectations::default() },
            reasons: vec![Reason { outcome: OutcomeKind::Unreachable, count: 6, ..Reason::default() }],
            per_second: vec![second(0, 2, 0), second(1, 2, 1), second(2, 0, 3), second(3, 0, 2)],
            ..Record::default()
        }
    }

    #[test]
    fn a_service_that_went_away_is_told_and_one_that_merely_loses_devices_is_not() {
        type Change = fn(&mut Record);
        let cases: [(&str, Change, bool); 5] = [
            ("it went away", |_| {}, true),
            ("it never was there", |r| r.per_second.iter_mut().for_each(|s| s.assigned = 0), true),
            ("it answered to the end", |r| r.per_second[3].assigned = 1, false),
            ("it was meant to be away", |r| r.reasons[0].expected = true, false),
            (
                "most fared otherwise",
                |r| {
                    r.reasons.push(Reason { outcome: OutcomeKind::Refused, count: 7, ..Reason::default() });
                },
                false,
            ),
        ];
        for (what, change, told) in cases {
            let mut record = cut_off();
            change(&mut record);
            assert_eq!(vanished(&record).is_some(), told, "{what}");
        }
    }

    #[test]
    fn why_there_is_no_ledger_is_told_after_what_became_of_the_service() {
        let mut record = cut_off();
        record.gates = vec![GateResult { implied: true, ..GateResult::default() }];
        record.verdict = Verdict { kind: VerdictKind::GateFailed, reasons: unmet(&record) };
        let (gone, others) = (vanished(&record).expect("it went away"), record.verdict.reasons.len());
        without_ledger(&mut record, "no ledger".to_owned());
        assert_eq!(record.verdict.kind, VerdictKind::Invalid);
        assert_eq!(record.verdict.reasons[..2], [gone, "no ledger".to_owned()]);
        assert_eq!(record.verdict.reasons.len(), others + 1);
    }

    fn demo() -> Scenario {
        Scenario::parse("smoke.toml", scenarios::SHIPPED[0].1, &[]).expect("a scenario")
    }

    #[test]
    fn a_run_that_a_gate_ended_is_not_good_even_if_the_gate_is_met_at_the_end() {
        let mut scenario = demo();
        let metric: scenarios::Metric = "unexpected.count".parse().expect("a metric");
        let place = scenarios::Place::Set(metric.to_string());
        let gate = Gate { metric, at_least: None, at_most: Some(9.0), abort_after: None, place };
        scenario.gates = vec![gate.clone()];
        let mut record = Record { ended: Ended::EndedByGate, ..Record::default() };
        judge(&mut record, &scenario);
        assert_eq!(record.verdict, Verdict { kind: VerdictKind::Good, reasons: vec![] });
        ended_by(&mut record, &scenario, &gate.to_string(), Duration::from_secs(3));
        assert_eq!((record.verdict.kind, record.verdict.reasons.len()), (VerdictKind::GateFailed, 1));
        assert_eq!(record.gates[0].aborted_at, Some(3.0));
        assert!(record.gates[0].passed && !record.gates[0].implied);
    }

    #[test]
    fn the_gate_that_no_scenario_names_is_marked_and_comes_last() {
        let mut scenario = demo();
        scenario.gates.clear();
        let mut record = cut_off();
        (record.per_second, record.expectations) = (Vec::new(), Expectations::default());
        record.expectations.assigned = 10;
        record.roll_up = vec![RollUp { actual: 4, ..RollUp::default() }];
        record.reasons.push(Reason { outcome: OutcomeKind::Unreachable, count: 0, ..Reason::default() });
        judge(&mut record, &scenario);
        assert_eq!(record.gates.iter().map(|gate| gate.implied).collect::<Vec<_>>(), [true]);
        assert_eq!(record.verdict.reasons.last(), Some(&gates::told(&record.gates[0])));
        assert!(record.verdict.reasons.len() > 2, "{:?}", record.verdict.reasons);
    }
}
