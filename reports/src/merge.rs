//! One record from the records of a run's shards.
//!
//! Shards of one seed partition the fleet, so counts add up and histograms are added without loss. What cannot be
//! added is left out rather than guessed: percentiles of a second that several shards had a part in, gates, the
//! verdict, and what a service told each shard that the others were seen in, too.

use crate::record::{
    Certificates, Check, Clocks, Ended, EventDone, Expectations, GateResult, Generator, Held, Host, Issuer,
    KeyCount, Ledger, OutcomeKind, Outcomes, Reason, Record, Retries, RollUp, SCHEMA, Sample, Second, Shard,
    ShardFacts, Throughput, TlsCount, Verdict,
};
use crate::{HistogramError, PhaseStats};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Why records are not the shards of one run.
#[derive(Debug, thiserror::Error)]
pub enum MergeFault {
    /// There are none.
    #[error("there is no record to merge")]
    Nothing,
    /// A record of another version.
    #[error("a record has schema `{found}`, this program merges `{SCHEMA}`")]
    Schema {
        /// The schema it names.
        found: String,
    },
    /// A record of a whole run.
    #[error("record {place} is that of a whole run, not of a shard")]
    Unsharded {
        /// Which of the records, from 1.
        place: usize,
    },
    /// Shards of different runs.
    #[error("record {place} is of another run: {difference}")]
    OtherRun {
        /// Which of the records, from 1.
        place: usize,
        /// What tells them apart.
        difference: Difference,
    },
    /// A part that is none of the run's.
    #[error("record {place} says that it is shard {index} of {count}")]
    NoSuchShard {
        /// Which of the records, from 1.
        place: usize,
        /// The shard's index.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// One shard more than once.
    #[error("shard {index} is there twice")]
    Twice {
        /// Which.
        index: u64,
    },
    /// A shard that nobody gave.
    #[error("shard {index} of {count} is missing")]
    Missing {
        /// The first that is missing.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// Times that cannot be read.
    #[error("`{name}` of shard {index} cannot be added: {source}")]
    Times {
        /// The shard.
        index: u64,
        /// The phase or clock.
        name: String,
        /// Why.
        source: HistogramError,
    },
    /// A moment that is none.
    #[error("shard {index} started at `{text}`, which is no moment")]
    Moment {
        /// The shard.
        index: u64,
        /// The text as found.
        text: String,
    },
    /// A set of devices that is none.
    #[error("the device set `{text}` of shard {index} is no number of 128 bits")]
    DeviceSet {
        /// The shard.
        index: u64,
        /// The text as found.
        text: String,
    },
}

impl MergeFault {
    /// Which of the given records it is about, from 1, where that is not told by a shard.
    pub const fn place(&self) -> Option<usize> {
        match self {
            Self::Unsharded { place } | Self::OtherRun { place, .. } | Self::NoSuchShard { place, .. } => {
                Some(*place)
            }
            _ => None,
        }
    }
}

/// What tells two runs apart: what it is in one of them, and in the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The text of the scenario.
    Scenario,
    /// A value that was set besides the scenario.
    Setting {
        /// Its key.
        key: String,
        /// What it came to, where that is known.
        found: Option<String>,
        /// What it came to in the first.
        first: Option<String>,
    },
    /// The seed.
    Seed {
        /// That of this one.
        found: u64,
        /// That of the first.
        first: u64,
    },
    /// How many shards there are.
    Count {
        /// In this one.
        found: u64,
        /// In the first.
        first: u64,
    },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        match self {
            Self::Scenario => f.write_str("the text of its scenario is not that of the first"),
            Self::Setting { key, found, first } => {
                write!(f, "{key} {}, and {} in the first", value(found), value(first))
            }
            Self::Seed { found, first } => write!(f, "seed {found}, and {first} in the first"),
            Self::Count { found, first } => write!(f, "split in {found} shards, and in {first} in the first"),
        }
    }
}

/// Joins the records of all shards of a run, in any order.
///
/// Seconds are counted from each shard's own start and added as they are numbered, as in a run that was not split.
/// The ledgers, and the checks against them, are kept where each shard had a mock of its own: an external service
/// counted all shards in each of them. Of gates, it is only kept that a run was ended by them; what was measured, the
/// verdict and the command are left for the caller: the record has to be judged again. Of shards that did not run at
/// the same time, rates are over the time in which any of them ran, and said to be no rates of the whole.
///
/// # Errors
/// When a shard is missing or there twice, when they are not of one run, or when one cannot be read.
pub fn merge(records: &[Record]) -> Result<Record, MergeFault> {
    let shards = shards(records)?;
    let first = shards.first().copied().ok_or(MergeFault::Nothing)?;
    let Window { started_utc, wall_seconds, apart } = window(&shards)?;
    let outcomes = outcomes(&shards);
    let sum = |count: fn(&Record) -> u64| shards.iter().map(|shard| count(shard)).sum::<u64>();
    let per_second = seconds(&shards);
    let embedded = shards.iter().all(|shard| shard.ledger.is_some_and(|ledger| ledger.embedded));
    Ok(Record {
        schema: SCHEMA.to_owned(),
        program_version: first.program_version.clone(),
        started_utc,
        scenario: first.scenario.clone(),
        seed: first.seed,
        host: host(&shards),
        // Where each shard had a mock of its own, they were set up alike.
        setup: first.setup.clone(),
        notes: notes(&shards, apart),
        planned: sum(|shard| shard.planned),
        started: sum(|shard| shard.started),
        finished: sum(|shard| shard.finished),
        model: first.model.clone(),
        device_set: device_set(&shards)?,
        ended: shards.iter().map(|shard| shard.ended).max_by_key(badness).unwrap_or_default(),
        wall_seconds,
        minting_seconds: shards.iter().map(|shard| shard.minting_seconds).fold(0.0, f64::max),
        shards: shards.iter().map(|shard| facts(shard)).collect(),
        settings: first.settings.clone(),
        reasons: reasons(&shards),
        samples: samples(&shards),
        retries: retries(&shards),
        held: held(&shards, if apart { &[] } else { &per_second }),
        tls: tls(&shards),
        events: events(&shards),
        phases: phases(&shards)?,
        clocks: clocks(&shards)?,
        throughput: Throughput {
            shards_apart: apart,
            ..Throughput::of(outcomes.assigned + outcomes.connected, wall_seconds)
        },
        outcomes,
        per_second,
        roll_up: roll_up(&shards),
        allocation_policy: same(&shards, |shard| &shard.allocation_policy),
        quota_per_minute: same(&shards, |shard| &shard.quota_per_minute),
        expectations: expectations(&shards),
        ledger: embedded.then(|| ledger(&shards)),
        reconciliation: if embedded { reconciliation(&shards) } else { Vec::new() },
        gates: gates(&shards),
        generator: generator(&shards),
        certificates: certificates(&shards),
        verdict: Verdict::default(),
        ..Record::default()
    })
}

/// The records by their place in the run, once it is known that they are its shards, all of them and each once.
fn shards(records: &[Record]) -> Result<Vec<&Record>, MergeFault> {
    let mut found = BTreeMap::new();
    let mut run: Option<(&Record, u64)> = None;
    for (place, record) in (1..).zip(records) {
        if record.schema != SCHEMA {
            return Err(MergeFault::Schema { found: record.schema.clone() });
        }
        let Shard { index, count } = record.shard.ok_or(MergeFault::Unsharded { place })?;
        let (first, shards) = *run.get_or_insert((record, count));
        let split = (count != shards).then_some(Difference::Count { found: count, first: shards });
        let differs = split.or_else(|| difference(first, record));
        if let Some(difference) = differs {
            return Err(MergeFault::OtherRun { place, difference });
        }
        if !(1..=count).contains(&index) {
            return Err(MergeFault::NoSuchShard { place, index, count });
        }
        if found.insert(index, record).is_some() {
            return Err(MergeFault::Twice { index });
        }
    }
    let count = run.ok_or(MergeFault::Nothing)?.1;
    match (1..=count).find(|index| !found.contains_key(index)) {
        Some(index) => Err(MergeFault::Missing { index, count }),
        None => Ok(found.into_values().collect()),
    }
}

fn difference(one: &Record, other: &Record) -> Option<Difference> {
    if one.scenario.text != other.scenario.text {
        return Some(Difference::Scenario);
    }
    if one.seed != other.seed {
        return Some(Difference::Seed { found: other.seed, first: one.seed });
    }
    let (before, after) = (overrides(one), overrides(other));
    let key = before.keys().chain(after.keys()).find(|key| before.get(*key) != after.get(*key))?;
    let value = |given: &BTreeMap<&str, &str>, record: &Record| {
        let resolved = || record.settings.iter().find(|setting| setting.key == *key);
        given.get(key).map(|value| (*value).to_owned()).or_else(|| Some(resolved()?.value.clone()))
    };
    let (found, first) = (value(&after, other), value(&before, one));
    Some(Difference::Setting { key: (*key).to_owned(), found, first })
}

/// Overrides that may differ between shards: where the one service is, as seen from each of them.
const OWN: [&str; 5] = [
    "target.service.host",
    "target.service.port",
    "target.service.trust_root",
    "target.service.server_name",
    "target.service.management",
];

/// What was given on the command line and makes the run what it is; of two for one key, the last holds.
fn overrides(record: &Record) -> BTreeMap<&str, &str> {
    let given = record.scenario.overrides.iter().filter_map(|given| given.split_once('='));
    given.map(|(key, value)| (key.trim(), value.trim())).filter(|(key, _)| !OWN.contains(key)).collect()
}

fn index(shard: &Record) -> u64 {
    shard.shard.map_or(0, |shard| shard.index)
}

fn started(shard: &Record) -> Result<OffsetDateTime, MergeFault> {
    let moment = OffsetDateTime::parse(&shard.started_utc, &Rfc3339);
    moment.map_err(|_| MergeFault::Moment { index: index(shard), text: shard.started_utc.clone() })
}

/// When the shards ran.
struct Window {
    /// The earliest start, as that shard writes it.
    started_utc: String,
    /// The time in which any of them ran.
    wall_seconds: f64,
    /// Whether there was no moment at which all of them ran.
    apart: bool,
}

fn window(shards: &[&Record]) -> Result<Window, MergeFault> {
    let mut windows = Vec::new();
    for shard in shards {
        let start = started(shard)?;
        let wall = Duration::try_from_secs_f64(shard.wall_seconds).unwrap_or_default();
        let end = start.checked_add(wall.try_into().unwrap_or_default()).unwrap_or(start);
        windows.push((start, end, &shard.started_utc));
    }
    windows.sort_by_key(|(start, ..)| *start);
    let &(first, _, started_utc) = windows.first().ok_or(MergeFault::Nothing)?;
    let (mut wall, mut until) = (time::Duration::ZERO, first);
    for (start, end, _) in &windows {
        wall += (*end - until.max(*start)).max(time::Duration::ZERO);
        until = until.max(*end);
    }
    // A shard in which nothing happened keeps no other from running beside the rest.
    let ran = || windows.iter().filter(|(start, end, _)| start < end);
    let (last_start, first_end) = (ran().map(|window| window.0).max(), ran().map(|window| window.1).min());
    let apart = last_start.zip(first_end).is_some_and(|(start, end)| start >= end);
    Ok(Window { started_utc: started_utc.clone(), wall_seconds: wall.as_seconds_f64(), apart })
}

/// Which ending of a shard is that of the whole.
const fn badness(ended: &Ended) -> u8 {
    match ended {
        Ended::Completed => 0,
        Ended::EndedByGate => 1,
        Ended::Interrupted => 2,
        Ended::Aborted => 3,
    }
}

/// The host, as far as it is the same; the processors are those of the largest.
fn host(shards: &[&Record]) -> Host {
    let systems: BTreeSet<&str> = shards.iter().map(|shard| shard.host.os.as_str()).collect();
    let cpus = shards.iter().map(|shard| shard.host.cpus).max().unwrap_or_default();
    let every = |of: fn(&Host) -> &str| {
        let all: BTreeSet<&str> =
            shards.iter().map(|shard| of(&shard.host)).filter(|s| !s.is_empty()).collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    };
    Host {
        cpus,
        cpu_model: every(|host| &host.cpu_model),
        memory_bytes: shards.iter().filter_map(|shard| shard.host.memory_bytes).max(),
        os: systems.into_iter().collect::<Vec<_>>().join(", "),
        kernel: every(|host| &host.kernel),
        build: every(|host| &host.build),
    }
}

/// Every note once, and what became of it.
fn notes(shards: &[&Record], apart: bool) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for note in shards.iter().flat_map(|shard| &shard.notes) {
        if !notes.contains(note) {
            notes.push(note.clone());
        }
    }
    notes.push(format!("This record is merged from those of {} shards.", shards.len()));
    let starts = || shards.iter().filter_map(|shard| started(shard).ok());
    let between = starts().max().zip(starts().min()).map(|(last, first)| (last - first).as_seconds_f64());
    notes.extend(between.filter(|between| *between >= 1.0).map(|between| {
        format!(
            "The shards started up to {between:.1} s apart; seconds are counted from each one's own start."
        )
    }));
    if apart {
        notes.push(
            "The shards did not run at the same time: rates are over the time in which any of them ran, not those of \
             the whole, and the service did not bear the load of all of them at once."
                .to_owned(),
        );
    }
    notes.extend(shards.iter().find(|shard| shard.program_version != shards[0].program_version).map(
        |shard| {
            format!("Shard {} was played by version {} of the program.", index(shard), shard.program_version)
        },
    ));
    notes
}

fn device_set(shards: &[&Record]) -> Result<String, MergeFault> {
    let mut sum = None;
    for shard in shards.iter().filter(|shard| !shard.device_set.is_empty()) {
        let text = &shard.device_set;
        let set = u128::from_str_radix(text, 16)
            .map_err(|_| MergeFault::DeviceSet { index: index(shard), text: text.clone() })?;
        sum = Some(sum.unwrap_or(0_u128).wrapping_add(set));
    }
    Ok(sum.map(|sum| format!("{sum:032x}")).unwrap_or_default())
}

fn outcomes(shards: &[&Record]) -> Outcomes {
    let mut sum = Outcomes::default();
    for shard in shards {
        OutcomeKind::ALL.iter().for_each(|kind| sum.add_many(*kind, shard.outcomes.count(*kind)));
    }
    sum
}

/// Reasons that are the same but for how many devices, the sample and the trail, which the first shard's stand for.
fn reasons(shards: &[&Record]) -> Vec<Reason> {
    let same = |a: &Reason, b: &Reason| {
        let key = |reason: &Reason| Reason {
            count: 0,
            sample_registration_id: String::new(),
            trail: Vec::new(),
            ..reason.clone()
        };
        a.message == b.message && key(a) == key(b)
    };
    let mut all: Vec<Reason> = Vec::new();
    for reason in shards.iter().flat_map(|shard| &shard.reasons) {
        match all.iter_mut().find(|known| same(known, reason)) {
            Some(known) => {
                known.count += reason.count;
                if known.trail.is_empty() {
                    known.trail.clone_from(&reason.trail);
                }
            }
            None => all.push(reason.clone()),
        }
    }
    all.sort_by(|a, b| (b.count, &a.defect, &a.message).cmp(&(a.count, &b.defect, &b.message)));
    all
}

fn retries(shards: &[&Record]) -> Retries {
    shards.iter().fold(Retries::default(), |sum, shard| sum.plus(&shard.retries))
}

/// The peak is that of the seconds, where they are of the same moments and tell more than the largest shard's own:
/// peaks of different moments do not add up.
fn held(shards: &[&Record], seconds: &[Second]) -> Option<Held> {
    let sum = shards.iter().filter_map(|shard| shard.held).reduce(|sum, more| Held {
        devices: sum.devices + more.devices,
        kept: sum.kept + more.kept,
        dropped: sum.dropped + more.dropped,
        released: sum.released + more.released,
        peak: sum.peak.max(more.peak),
        pings: sum.pings + more.pings,
    });
    let together = seconds.iter().map(|second| second.held).max().unwrap_or_default();
    sum.map(|sum| Held { peak: sum.peak.max(together), ..sum })
}

fn tls(shards: &[&Record]) -> Vec<TlsCount> {
    let mut all: Vec<TlsCount> = Vec::new();
    for facts in shards.iter().flat_map(|shard| &shard.tls) {
        match all.iter_mut().find(|known| TlsCount { count: facts.count, ..(*known).clone() } == *facts) {
            Some(known) => known.count += facts.count,
            None => all.push(facts.clone()),
        }
    }
    all.sort_by_key(|facts| std::cmp::Reverse(facts.count));
    all
}

/// What was done in every shard alike is told once, as the first did it; what failed is told of each.
fn events(shards: &[&Record]) -> Vec<EventDone> {
    let mut all: Vec<EventDone> = Vec::new();
    for shard in shards {
        for event in &shard.events {
            let failed = event.failed.as_ref().map(|why| format!("shard {}: {why}", index(shard)));
            match all.iter_mut().find(|known| known.what == event.what && known.failed == failed) {
                Some(known) => known.at_seconds = known.at_seconds.min(event.at_seconds),
                None => all.push(EventDone { failed, ..event.clone() }),
            }
        }
    }
    all.sort_by(|a, b| a.at_seconds.total_cmp(&b.at_seconds));
    all
}

/// Phases in the order of an attempt; others come last.
const PHASES: [&str; 9] =
    ["dns", "tcp", "tls", "upgrade", "connect", "subscribe", "register", "wait", "poll"];

fn phases(shards: &[&Record]) -> Result<Vec<PhaseStats>, MergeFault> {
    let names: BTreeSet<&str> =
        shards.iter().flat_map(|s| &s.phases).map(|phase| phase.phase.as_str()).collect();
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_by_key(|name| PHASES.iter().position(|phase| phase == name).unwrap_or(PHASES.len()));
    let of =
        |name: &str| times(shards, |shard| shard.phases.iter().filter(|phase| phase.phase == name).collect());
    names.into_iter().map(of).collect()
}

fn clocks(shards: &[&Record]) -> Result<Clocks, MergeFault> {
    let clock = |of: fn(&Clocks) -> &PhaseStats| times(shards, |shard| vec![of(&shard.clocks)]);
    Ok(Clocks {
        service_time: clock(|clocks| &clocks.service_time)?,
        response_time: clock(|clocks| &clocks.response_time)?,
        service_time_unsuccessful: clock(|clocks| &clocks.service_time_unsuccessful)?,
        lateness: clock(|clocks| &clocks.lateness)?,
    })
}

/// The times of all shards in one histogram, from which every number is made anew.
fn times(shards: &[&Record], of: impl Fn(&Record) -> Vec<&PhaseStats>) -> Result<PhaseStats, MergeFault> {
    let mut name = "";
    let mut sum = None;
    for shard in shards {
        for times in of(shard) {
            name = if name.is_empty() { &times.phase } else { name };
            let fault = |source| MergeFault::Times { index: index(shard), name: times.phase.clone(), source };
            let more = times.histogram().map_err(fault)?;
            sum = Some(crate::phases::sum(sum, &more).map_err(fault)?);
        }
    }
    let stats = sum.map_or_else(|| Ok(PhaseStats::default()), |sum| PhaseStats::from_histogram(name, &sum));
    stats.map_err(|source| MergeFault::Times { index: 0, name: name.to_owned(), source })
}

fn seconds(shards: &[&Record]) -> Vec<Second> {
    let mut all: BTreeMap<u64, Vec<&Second>> = BTreeMap::new();
    for second in shards.iter().flat_map(|shard| &shard.per_second) {
        all.entry(second.t).or_default().push(second);
    }
    all.into_iter().map(|(t, parts)| second(t, &parts)).collect()
}

/// One second of all shards. Its percentiles are those of the only shard that has any, or none.
fn second(t: u64, parts: &[&Second]) -> Second {
    let mut kinds = Second::default();
    parts.iter().for_each(|part| kinds.add_kinds(part));
    let sum = |count: fn(&Second) -> u64| parts.iter().map(|part| count(part)).sum();
    let only = |times: fn(&Second) -> Option<[u64; 4]>| {
        let mut all = parts.iter().filter_map(|part| times(part));
        all.next().filter(|_| all.next().is_none())
    };
    let most =
        |share: fn(&Second) -> Option<f64>| parts.iter().filter_map(|part| share(part)).reduce(f64::max);
    Second {
        t,
        offered: sum(|part| part.offered),
        started: sum(|part| part.started),
        finished: sum(|part| part.finished),
        assigned: sum(|part| part.assigned),
        refused: sum(|part| part.refused),
        in_flight: sum(|part| part.in_flight),
        held: sum(|part| part.held),
        shed: sum(|part| part.shed),
        retries: sum(|part| part.retries),
        service_us: only(|part| part.service_us),
        response_us: only(|part| part.response_us),
        generator_cpu: most(|part| part.generator_cpu),
        generator_starved: most(|part| part.generator_starved),
        ..kinds
    }
}

/// A way that some shard expects nothing certain of has no expectation.
fn roll_up(shards: &[&Record]) -> Vec<RollUp> {
    let mut all: Vec<RollUp> = Vec::new();
    for way in shards.iter().flat_map(|shard| &shard.roll_up) {
        let key = |way: &RollUp| RollUp { expected: None, actual: 0, ..way.clone() };
        match all.iter_mut().find(|known| key(known) == key(way)) {
            Some(known) => {
                known.expected = known.expected.zip(way.expected).map(|(mine, theirs)| mine + theirs);
                known.actual += way.actual;
            }
            None => all.push(way.clone()),
        }
    }
    all
}

fn expectations(shards: &[&Record]) -> Expectations {
    shards.iter().map(|shard| shard.expectations).fold(Expectations::default(), |sum, more| Expectations {
        assigned: sum.assigned + more.assigned,
        refused: sum.refused + more.refused,
        open: sum.open + more.open,
    })
}

fn ledger(shards: &[&Record]) -> Ledger {
    let all = shards.iter().filter_map(|shard| shard.ledger);
    all.fold(Ledger { embedded: true, ..Ledger::default() }, |sum, more| Ledger {
        embedded: true,
        connections: sum.connections + more.connections,
        tls_handshakes: sum.tls_handshakes + more.tls_handshakes,
        connects: sum.connects + more.connects,
        registers: sum.registers + more.registers,
        polls: sum.polls + more.polls,
        assigned: sum.assigned + more.assigned,
        refused: sum.refused + more.refused,
        disabled: sum.disabled + more.disabled,
        failed: sum.failed + more.failed,
        throttled: sum.throttled + more.throttled,
        server_errors: sum.server_errors + more.server_errors,
        malformed_answers: sum.malformed_answers + more.malformed_answers,
        lost_answers: sum.lost_answers + more.lost_answers,
    })
}

/// What was compared in every shard.
fn reconciliation(shards: &[&Record]) -> Vec<Check> {
    let Some((first, others)) = shards.split_first() else { return Vec::new() };
    let sum = |check: &Check| {
        others.iter().try_fold(check.clone(), |sum, shard| {
            let more = shard.reconciliation.iter().find(|more| more.name == check.name)?;
            let (client, service) = (sum.client + more.client, sum.service + more.service);
            Some(Check::new(sum.name, client, service, sum.unheard + more.unheard))
        })
    };
    first.reconciliation.iter().filter_map(sum).collect()
}

/// The gates by their words, unmeasured; a run that was ended by one was so by the first shard that was.
fn gates(shards: &[&Record]) -> Vec<GateResult> {
    let mut all: Vec<GateResult> = Vec::new();
    for gate in shards.iter().flat_map(|shard| &shard.gates) {
        match all.iter_mut().find(|known| known.gate == gate.gate) {
            Some(known) => {
                known.aborted_at = [known.aborted_at, gate.aborted_at].into_iter().flatten().reduce(f64::min);
            }
            None => all.push(GateResult { measured: None, passed: false, ..gate.clone() }),
        }
    }
    all
}

/// What all generators needed, and the worst of what tells of their health.
fn generator(shards: &[&Record]) -> Generator {
    let all = || shards.iter().map(|shard| &shard.generator);
    let sum = |count: fn(&Generator) -> u64| all().map(count).sum();
    let most = |share: fn(&Generator) -> Option<f64>| all().filter_map(share).reduce(f64::max);
    let findings = shards.iter().flat_map(|shard| {
        shard.generator.findings.iter().map(|finding| format!("shard {}: {finding}", index(shard)))
    });
    Generator {
        cpu_seconds_client: all().map(|one| one.cpu_seconds_client).sum(),
        workers: sum(|one| one.workers),
        cpu_share: most(|one| one.cpu_share),
        starved_share: most(|one| one.starved_share),
        peak_memory_bytes: all().map(|one| one.peak_memory_bytes).sum(),
        source_addresses: sum(|one| one.source_addresses),
        waited_for_slot: sum(|one| one.waited_for_slot),
        waited_for_slot_max_us: all().map(|one| one.waited_for_slot_max_us).max().unwrap_or_default(),
        journal_lost: sum(|one| one.journal_lost),
        clock_step_ms: all()
            .map(|one| one.clock_step_ms)
            .max_by_key(|step| step.unsigned_abs())
            .unwrap_or_default(),
        limited: all().any(|one| one.limited),
        findings: findings.collect(),
        descriptors_needed: all().map(|one| one.descriptors_needed).max().unwrap_or_default(),
        descriptors_limit: all().map(|one| one.descriptors_limit).min().unwrap_or_default(),
        max_lag_us: all().map(|one| one.max_lag_us).max().unwrap_or_default(),
    }
}

fn certificates(shards: &[&Record]) -> Certificates {
    let all = || shards.iter().map(|shard| &shard.certificates);
    let (mut issuers, mut keys) = (BTreeMap::<String, Issuer>::new(), BTreeMap::new());
    for issuer in all().flat_map(|one| &one.issuers) {
        match issuers.get_mut(&issuer.subject) {
            Some(known) => known.count += issuer.count,
            None => drop(issuers.insert(issuer.subject.clone(), issuer.clone())),
        }
    }
    for key in all().flat_map(|one| &one.key_types) {
        *keys.entry(key.key.clone()).or_default() += key.count;
    }
    Certificates {
        issuers: issuers.into_values().collect(),
        key_types: keys.into_iter().map(|(key, count)| KeyCount { key, count }).collect(),
        chain_bytes: all().map(|one| one.chain_bytes).max().unwrap_or_default(),
        leaf_not_after_utc: all().find_map(|one| one.leaf_not_after_utc.clone()),
    }
}

/// What each shard did, beside the others.
fn facts(shard: &Record) -> ShardFacts {
    ShardFacts {
        index: index(shard),
        started_utc: shard.started_utc.clone(),
        wall_seconds: shard.wall_seconds,
        planned: shard.planned,
        outcomes: shard.outcomes,
        per_second: shard.throughput.per_second,
        service_us: [shard.clocks.service_time.p50_us, shard.clocks.service_time.p99_us],
        response_us: [shard.clocks.response_time.p50_us, shard.clocks.response_time.p99_us],
        generator_cpu: shard.generator.cpu_share,
        limited: shard.generator.limited,
    }
}

/// The first arrival of each outcome, of whichever shard.
fn samples(shards: &[&Record]) -> Vec<Sample> {
    let mut all: BTreeMap<OutcomeKind, &Sample> = BTreeMap::new();
    for sample in shards.iter().flat_map(|shard| &shard.samples) {
        let first = all.entry(sample.outcome).or_insert(sample);
        if sample.finished_seconds < first.finished_seconds {
            *first = sample;
        }
    }
    all.into_values().cloned().collect()
}

/// The one value that all shards have, where they have one.
fn same<T: Clone + PartialEq>(shards: &[&Record], of: impl Fn(&Record) -> &Option<T>) -> Option<T> {
    let first = shards.first().and_then(|shard| of(shard).clone());
    first.filter(|first| shards.iter().all(|shard| of(shard).as_ref() == Some(first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::tests::demo;

    /// A record of part `index` of `count`, with nobody in it.
    fn shard(index: u64, count: u64) -> Record {
        let mut record = Record { shard: Some(Shard { index, count }), ..Record::default() };
        SCHEMA.clone_into(&mut record.schema);
        "2026-07-01T10:00:00.5000000Z".clone_into(&mut record.started_utc);
        "seed = 7".clone_into(&mut record.scenario.text);
        record
    }

    /// A number that looks drawn, and is the same every time (splitmix64).
    fn draw(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// What a meter keeps until its record is written.
    struct Meter {
        record: Record,
        service: hdrhistogram::Histogram<u64>,
        tls: hdrhistogram::Histogram<u64>,
        devices: u128,
    }

    impl Meter {
        fn new(record: Record) -> Self {
            let empty = || hdrhistogram::Histogram::new(3).expect("a histogram");
            Meter { record, service: empty(), tls: empty(), devices: 0 }
        }

        /// One arrival, all of it from the draw.
        fn end(&mut self, draw: u64) {
            let record = &mut self.record;
            let kind = OutcomeKind::ALL[(draw % 11) as usize];
            record.planned += 1;
            record.outcomes.add(kind);
            record.retries.connection += draw % 3;
            let t = draw >> 60;
            let at = record.per_second.iter().position(|second| second.t == t).unwrap_or_else(|| {
                record.per_second.push(Second { t, ..Second::default() });
                record.per_second.len() - 1
            });
            let second = &mut record.per_second[at];
            second.offered += 1;
            second.ended(kind);
            second.responded(draw >> 44);
            second.throttled += draw % 3;
            second.planned = Some(second.planned.unwrap_or_default() + draw % 2);
            let reason =
                Reason { outcome: kind, message: format!("why {}", draw % 4), count: 1, ..Reason::default() };
            match record.reasons.iter_mut().find(|r| (r.outcome, &r.message) == (kind, &reason.message)) {
                Some(known) => known.count += 1,
                None => record.reasons.push(reason),
            }
            self.devices = self.devices.wrapping_add(u128::from(draw) << 64 | u128::from(!draw));
            self.service.record(draw >> (20 + draw % 20)).expect("grows");
            self.tls.record(draw >> 40).expect("grows");
        }

        fn write(mut self) -> Record {
            self.record.clocks.service_time =
                PhaseStats::from_histogram("service time", &self.service).expect("stats");
            self.record.phases = vec![PhaseStats::from_histogram("tls", &self.tls).expect("stats")];
            self.record.device_set = format!("{:032x}", self.devices);
            self.record.per_second.sort_by_key(|second| second.t);
            let by = |r: &Reason| (std::cmp::Reverse(r.count), r.message.clone(), r.outcome);
            self.record.reasons.sort_by_key(by);
            self.record
        }
    }

    #[test]
    fn however_a_run_is_split_its_merged_shards_are_the_whole() {
        for (seed, count) in (1_u64..).zip([1, 2, 3, 8]) {
            let mut whole = Meter::new(shard(1, 1));
            let mut parts: Vec<_> = (1..=count).map(|index| Meter::new(shard(index, count))).collect();
            let mut state = seed;
            for _ in 0..2_000 {
                let ending = draw(&mut state);
                whole.end(ending);
                parts[(draw(&mut state) % count) as usize].end(ending);
            }
            let mut records: Vec<_> = parts.into_iter().map(Meter::write).collect();
            records.rotate_left((seed % count) as usize);
            let mut merged = merge(&records).expect("shards of one run");
            let mut whole = merge(&[whole.write()]).expect("one shard of one");
            for (mine, theirs) in [
                (&mut merged.clocks.service_time, &mut whole.clocks.service_time),
                (&mut merged.phases[0], &mut whole.phases[0]),
            ] {
                assert_eq!(mine.histogram().expect("times"), theirs.histogram().expect("times"));
                // The same values are written in two ways, by how far a histogram had to grow.
                (mine.histogram, theirs.histogram) = (String::new(), String::new());
            }
            assert_eq!(merged.phases[0].count, 2_000);
            let by = |r: &Reason| (r.message.clone(), r.outcome);
            merged.reasons.sort_by_key(by);
            whole.reasons.sort_by_key(by);
            (merged.notes, whole.notes) = (Vec::new(), Vec::new());
            let told = |record: &Record| {
                let planned = record.shards.iter().map(|shard| shard.planned).sum::<u64>();
                (planned, record.shards.iter().map(|shard| shard.outcomes.total()).sum::<u64>())
            };
            assert_eq!((merged.shards.len() as u64, told(&merged)), (count, told(&whole)));
            (merged.shards, whole.shards) = (Vec::new(), Vec::new());
            assert_eq!(merged, whole, "{count} shards");
        }
    }

    #[test]
    fn what_is_not_the_shards_of_one_run_is_refused() {
        type Case = (&'static str, fn(&mut Vec<Record>), fn(&MergeFault) -> bool);
        let cases: [Case; 11] = [
            ("nothing", Vec::clear, |f| matches!(f, MergeFault::Nothing)),
            (
                "a missing one",
                |r| drop(r.remove(1)),
                |f| matches!(f, MergeFault::Missing { index: 2, count: 3 }),
            ),
            ("one twice", |r| r[2] = r[0].clone(), |f| matches!(f, MergeFault::Twice { index: 1 })),
            (
                "one too many",
                |r| r[2].shard = Some(Shard { index: 4, count: 3 }),
                |f| matches!(f, MergeFault::NoSuchShard { place: 3, index: 4, .. }),
            ),
            ("a whole run", |r| r[1].shard = None, |f| matches!(f, MergeFault::Unsharded { place: 2 })),
            ("another schema", |r| r[1].schema.push('0'), |f| matches!(f, MergeFault::Schema { .. })),
            (
                "another seed",
                |r| r[2].seed = 9,
                |f| other(f, |d| matches!(d, Difference::Seed { found: 9, .. })),
            ),
            (
                "another scenario",
                |r| r[2].scenario.text.push('#'),
                |f| other(f, |d| matches!(d, Difference::Scenario)),
            ),
            (
                "another count",
                |r| r[2].shard = Some(Shard { index: 3, count: 4 }),
                |f| other(f, |d| matches!(d, Difference::Count { found: 4, first: 3 })),
            ),
            (
                "another override",
                |r| r[2].scenario.overrides.push("fleet.devices=9".into()),
                |f| {
                    other(f, |d| {
                        matches!(d, Difference::Setting { key, found: Some(found), first: None }
                            if key == "fleet.devices" && found == "9")
                    })
                },
            ),
            (
                "no set",
                |r| r[1].device_set.push('x'),
                |f| matches!(f, MergeFault::DeviceSet { index: 2, .. }),
            ),
        ];
        for (what, spoil, expected) in cases {
            let mut records: Vec<_> = (1..=3).map(|index| shard(index, 3)).collect();
            spoil(&mut records);
            let fault = merge(&records).expect_err(what);
            assert!(expected(&fault), "{what}: {fault:?}");
        }
    }

    fn other(fault: &MergeFault, expected: fn(&Difference) -> bool) -> bool {
        matches!(fault, MergeFault::OtherRun { place: 3, difference } if expected(difference))
    }

    #[test]
    fn shards_may_see_the_one_service_at_different_addresses() {
        let mut records = [shard(1, 2), shard(2, 2)];
        records[1].scenario.overrides = vec!["target.service.host=10.0.0.2".into()];
        assert!(merge(&records).is_ok());
    }

    #[test]
    fn the_window_is_from_the_first_start_to_the_last_end() {
        let mut records = [shard(1, 2), shard(2, 2)];
        "2026-07-01T10:00:02.0000000Z".clone_into(&mut records[0].started_utc);
        (records[0].wall_seconds, records[1].wall_seconds) = (10.0, 3.0);
        (records[0].outcomes.assigned, records[1].outcomes.connected) = (100, 15);
        let merged = merge(&records).expect("shards of one run");
        assert_eq!(merged.started_utc, records[1].started_utc);
        assert!((merged.wall_seconds - 11.5).abs() < 1e-9, "{}", merged.wall_seconds);
        assert!((merged.throughput.per_second - 10.0).abs() < 1e-9);
    }

    #[test]
    fn shards_that_did_not_run_at_the_same_time_are_no_whole_and_their_pauses_are_left_out() {
        for (start, wall_seconds, apart) in
            [("10:00:03", 7.0, false), ("10:00:04", 8.0, true), ("11:30:00", 8.0, true)]
        {
            let mut records = [shard(1, 2), shard(2, 2)];
            for (record, start) in records.iter_mut().zip(["10:00:00", start]) {
                record.started_utc = format!("2026-07-01T{start}Z");
                (record.wall_seconds, record.outcomes.assigned) = (4.0, 28);
                record.held = Some(Held { devices: 5, peak: 5, ..Held::default() });
                record.per_second = vec![Second { held: 5, ..Second::default() }];
            }
            records.reverse();
            let merged = merge(&records).expect("shards of one run");
            assert!((merged.wall_seconds - wall_seconds).abs() < 1e-9, "{start}: {}", merged.wall_seconds);
            assert!((merged.throughput.per_second - 56.0 / wall_seconds).abs() < 1e-9, "{start}");
            assert_eq!(merged.throughput.shards_apart, apart, "{start}");
            assert_eq!(merged.held.map(|held| held.peak), Some(if apart { 5 } else { 10 }), "{start}");
        }
    }

    #[test]
    fn shards_at_one_service_outside_add_up_without_its_ledger() {
        let way = |hub: &str, expected, actual| RollUp {
            root: "Root".to_owned(),
            group: "(group not told)".to_owned(),
            hub: hub.to_owned(),
            expected,
            actual,
            ..RollUp::default()
        };
        let mut records = [demo(), demo()];
        for (index, record) in (1..).zip(&mut records) {
            record.shard = Some(Shard { index, count: 2 });
            "2026-07-01T10:00:00Z".clone_into(&mut record.started_utc);
            (record.ledger, record.reconciliation) = (None, Vec::new());
        }
        // Devices are told their hub; one of the shards met one hub alone.
        records[0].roll_up = vec![way("hub-1", Some(10_000), 10_000)];
        records[1].roll_up = vec![way("hub-1", None, 6_000), way("hub-2", None, 4_000)];
        assert!(records.iter().all(|record| record.check().is_empty()));
        let merged = merge(&records).expect("shards of one run");
        assert_eq!(merged.check(), []);
        assert_eq!(merged.roll_up, [way("hub-1", None, 16_000), way("hub-2", None, 4_000)]);
        assert!(merged.ledger.is_none() && merged.reconciliation.is_empty());
        let mut lost = records;
        lost[1].roll_up.pop();
        let told: Vec<_> = merge(&lost).expect("shards").check().into_iter().map(|sum| sum.name).collect();
        assert_eq!(told, ["the roll-up adds up to the assigned devices"]);
    }

    #[test]
    fn ledgers_are_added_where_each_shard_had_a_mock_of_its_own_and_dropped_otherwise() {
        for embedded in [[true, true], [true, false], [false, false]] {
            let mut records = [shard(1, 2), shard(2, 2)];
            for (record, embedded) in records.iter_mut().zip(embedded) {
                record.ledger = Some(Ledger { embedded, polls: 5, ..Ledger::default() });
                record.reconciliation = vec![Check::new("assigned", 4, 4, 0)];
            }
            let merged = merge(&records).expect("shards of one run");
            let added = embedded == [true, true];
            assert_eq!(merged.ledger.map(|ledger| ledger.polls), added.then_some(10), "{embedded:?}");
            assert_eq!(
                merged.reconciliation,
                if added { vec![Check::new("assigned", 8, 8, 0)] } else { vec![] }
            );
        }
    }

    #[test]
    fn percentiles_of_a_second_are_kept_where_one_shard_alone_has_them() {
        let mut records = [shard(1, 2), shard(2, 2)];
        let second = |t, response_us| Second { t, response_us, in_flight: 2, ..Second::default() };
        records[0].per_second = vec![second(0, Some([1; 4])), second(1, Some([2; 4]))];
        records[1].per_second = vec![second(0, Some([3; 4])), second(1, None)];
        let merged = merge(&records).expect("shards of one run").per_second;
        assert_eq!(merged.iter().map(|s| s.response_us).collect::<Vec<_>>(), [None, Some([2; 4])]);
        assert_eq!(merged.iter().map(|s| s.in_flight).collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn the_worst_ending_is_that_of_the_whole_and_findings_name_their_shard() {
        let mut records = [shard(1, 2), shard(2, 2)];
        (records[0].ended, records[1].ended) = (Ended::Interrupted, Ended::Completed);
        records[1].generator =
            Generator { limited: true, findings: vec!["late".into()], ..Generator::default() };
        let merged = merge(&records).expect("shards of one run");
        assert_eq!((merged.ended, merged.generator.limited), (Ended::Interrupted, true));
        assert_eq!(merged.generator.findings, ["shard 2: late"]);
    }

    #[test]
    fn a_gate_that_ended_the_run_did_so_when_it_first_did() {
        let mut records = [shard(1, 2), shard(2, 2)];
        let gate =
            GateResult { gate: "late".into(), measured: Some(1.0), passed: true, ..GateResult::default() };
        records[0].gates = vec![GateResult { aborted_at: Some(9.0), ..gate.clone() }];
        records[1].gates = vec![GateResult { aborted_at: Some(4.0), ..gate.clone() }];
        let merged = merge(&records).expect("shards of one run").gates;
        let unjudged = GateResult { measured: None, passed: false, aborted_at: Some(4.0), ..gate };
        assert_eq!(merged, [unjudged]);
    }

    #[test]
    fn shards_that_add_up_make_a_whole_that_adds_up() {
        let mut records = [demo(), demo()];
        for (index, record) in (1..).zip(&mut records) {
            record.shard = Some(Shard { index, count: 2 });
            "2026-07-01T10:00:00Z".clone_into(&mut record.started_utc);
            record.ledger = record.ledger.map(|ledger| Ledger { embedded: true, ..ledger });
        }
        let merged = merge(&records).expect("shards of one run");
        assert_eq!((merged.check(), merged.planned), (vec![], 20_012));
        assert_eq!((merged.reasons.len(), merged.reasons[0].count), (6, 2));
        assert_eq!((merged.roll_up.len(), merged.roll_up[0].expected), (1, Some(20_000)));
        assert_eq!(merged.certificates.issuers[0].count, 20_012);
    }
}
