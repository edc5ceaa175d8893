//! Whether runs may be laid beside each other, and what a reader has to know before believing what comes of it.
//!
//! What was changed on purpose between two runs is the target, as a rule: a slower service is what comparisons are for.
//! So differences in `target`, the name and the gates are said, and those in anything else make it another scenario.

use super::{CompareOptions, Side, Sides};
use crate::consistency::inconsistencies;
use crate::record::{Ended, Host, Record, SCHEMA, Setting, Shard, VerdictKind};
use crate::view;
use std::collections::{BTreeMap, BTreeSet};

/// Why runs are not compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareFault {
    /// A side has no run.
    #[error("there is no run to compare")]
    Nothing,
    /// A record of another version, or without one.
    #[error("the record {name} has schema `{found}`, this program compares `{SCHEMA}`")]
    Schema {
        /// The run.
        name: String,
        /// The schema it names, empty if none.
        found: String,
    },
    /// One run twice on a side: it would be a repeat that never differs.
    #[error("the run {name} is there twice")]
    Twice {
        /// The run.
        name: String,
    },
    /// A part of a run beside a whole one, or beside another part.
    #[error("{name} is {found}, and {first} is {wanted}")]
    Shard {
        /// The run.
        name: String,
        /// What it is of.
        found: String,
        /// The run it was to be compared with.
        first: String,
        /// What that is of.
        wanted: String,
    },
    /// Runs of different scenarios.
    #[error("{name} is of another scenario than {first}: they differ in {}", few(keys))]
    OtherScenario {
        /// The run.
        name: String,
        /// The run it was to be compared with.
        first: String,
        /// Settings that differ, by key.
        keys: Vec<String>,
    },
    /// A repeat that is none.
    #[error("{name} is no repeat of {first}: they differ in {}", few(keys))]
    NoRepeat {
        /// The run.
        name: String,
        /// The run that it was to repeat.
        first: String,
        /// Settings that differ, by key.
        keys: Vec<String>,
    },
    /// Runs of one scenario that planned different numbers of arrivals: a part is missing.
    #[error(
        "{name} planned {found} arrivals and {first} {wanted}, of the same scenario: a part of a run is missing"
    )]
    Planned {
        /// The run.
        name: String,
        /// What it planned.
        found: u64,
        /// The run it was to be compared with.
        first: String,
        /// What that planned.
        wanted: u64,
    },
}

/// How many differences are named.
const NAMED: usize = 5;

fn few(keys: &[String]) -> String {
    let named = keys.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match keys.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// What a comparison is worth.
pub(super) struct Belief {
    pub(super) warnings: Vec<String>,
    /// A run does not stand.
    pub(super) doubtful: bool,
    /// Nothing is better where a run does not stand, or where a part of the arrivals was never planned.
    pub(super) may_be_better: bool,
}

impl Belief {
    pub(super) fn of(sides: Sides<'_>, options: CompareOptions) -> Result<Self, CompareFault> {
        let [baseline, candidate] = sides;
        let (Some(before), Some(after)) = (baseline.first(), candidate.first()) else {
            return Err(CompareFault::Nothing);
        };
        if let Some((name, other)) = sides.into_iter().flatten().find(|(_, record)| record.schema != SCHEMA) {
            return Err(CompareFault::Schema { name: name.clone(), found: other.schema.clone() });
        }
        sides.into_iter().try_for_each(repeats)?;
        same_part(after, before)?;
        let mut warnings = scenario_warnings(before, after, options)?;
        let doubts: Vec<String> = sides.into_iter().flatten().flat_map(doubts).collect();
        let doubtful = !doubts.is_empty();
        warnings.extend(doubts);
        warnings.extend(sides.into_iter().flatten().flat_map(cautions));
        warnings.extend(differing_facts(before, after));
        let fewer = same_plan(after, before).is_err() && after.1.planned < before.1.planned;
        Ok(Self { warnings, doubtful, may_be_better: !doubtful && !fewer })
    }
}

/// A run as a comparison names it.
pub(super) fn side((name, record): &(String, Record)) -> Side {
    let edited = edited(record).is_some();
    Side {
        name: name.clone(),
        scenario: record.scenario.name.clone(),
        started_utc: record.started_utc.clone(),
        program_version: record.program_version.clone(),
        verdict: if edited { "edited".to_owned() } else { view::verdict(record).to_lowercase() },
    }
}

/// Refuses repeats that would make the band say something else than how runs of the same differ.
fn repeats(side: &[(String, Record)]) -> Result<(), CompareFault> {
    let Some((first, repeats)) = side.split_first() else { return Ok(()) };
    for (place, (name, record)) in (1..).zip(repeats) {
        if side.iter().take(place).any(|(_, known)| is_same_run(known, record)) {
            return Err(CompareFault::Twice { name: name.clone() });
        }
        same_part(&side[place], first)?;
        let Differences { target, gates, others } = Differences::between(&first.1, record);
        let keys: Vec<String> = [target, gates, others].concat();
        if !keys.is_empty() {
            return Err(CompareFault::NoRepeat { name: name.clone(), first: first.0.clone(), keys });
        }
        same_plan(&side[place], first)?;
    }
    Ok(())
}

fn is_same_run(one: &Record, other: &Record) -> bool {
    let of =
        |record: &Record| (record.started_utc.clone(), record.seed, record.device_set.clone(), record.shard);
    of(one) == of(other) && one.wall_seconds.to_bits() == other.wall_seconds.to_bits()
}

fn same_part(run: &(String, Record), first: &(String, Record)) -> Result<(), CompareFault> {
    if run.1.shard == first.1.shard {
        return Ok(());
    }
    let (found, wanted) = (part(run.1.shard), part(first.1.shard));
    Err(CompareFault::Shard { name: run.0.clone(), found, first: first.0.clone(), wanted })
}

fn part(shard: Option<Shard>) -> String {
    let shard = shard.map(|shard| format!("shard {} of {}", shard.index, shard.count));
    shard.unwrap_or_else(|| "a whole run".to_owned())
}

fn same_plan(run: &(String, Record), first: &(String, Record)) -> Result<(), CompareFault> {
    // A search plans as many as its best rate takes.
    let searched = run.1.capacity.is_some() && first.1.capacity.is_some();
    if searched || run.1.planned == first.1.planned {
        return Ok(());
    }
    Err(CompareFault::Planned {
        name: run.0.clone(),
        found: run.1.planned,
        first: first.0.clone(),
        wanted: first.1.planned,
    })
}

/// What differs in the scenario and may, or is allowed to.
fn scenario_warnings(
    before: &(String, Record),
    after: &(String, Record),
    options: CompareOptions,
) -> Result<Vec<String>, CompareFault> {
    let Differences { target, gates, others } = Differences::between(&before.1, &after.1);
    let mut warnings = Vec::new();
    if !others.is_empty() && !options.other_scenario {
        return Err(CompareFault::OtherScenario {
            name: after.0.clone(),
            first: before.0.clone(),
            keys: others,
        });
    }
    if !others.is_empty() {
        let keys = few(&others);
        warnings.push(format!(
            "The runs are of different scenarios, so no change says what caused it: they differ in {keys}."
        ));
    }
    match same_plan(after, before) {
        Err(fault) if !options.other_scenario => return Err(fault),
        Err(_) => warnings.push(format!(
            "The baseline planned {} and the candidate {}; where it planned fewer, nothing is called better.",
            view::counted(before.1.planned, "arrival"),
            view::counted(after.1.planned, "arrival")
        )),
        Ok(()) => {}
    }
    if !target.is_empty() {
        warnings.push(format!("The runs differ in what they were made against: {}.", few(&target)));
    }
    if !gates.is_empty() {
        warnings.push(format!("The runs were held to different gates: {}.", few(&gates)));
    }
    Ok(warnings)
}

/// Settings in which two runs differ, by key; the seed is told by itself.
#[derive(Default)]
struct Differences {
    /// What may: the target, and the name.
    target: Vec<String>,
    gates: Vec<String>,
    /// What makes it another scenario.
    others: Vec<String>,
}

impl Differences {
    fn between(one: &Record, other: &Record) -> Self {
        let keys = if one.settings.is_empty() || other.settings.is_empty() {
            unresolved(one, other)
        } else {
            resolved(&one.settings, &other.settings)
        };
        let mut all = Self::default();
        for key in keys {
            match key.split(['.', '[']).next().unwrap_or_default() {
                "seed" => {}
                "target" | "name" => all.target.push(key),
                "gate" | "gates" => all.gates.push(key),
                _ => all.others.push(key),
            }
        }
        all
    }
}

fn resolved(one: &[Setting], other: &[Setting]) -> BTreeSet<String> {
    let [one, other] = [one, other].map(|settings| {
        settings.iter().map(|setting| (setting.key.as_str(), setting)).collect::<BTreeMap<_, _>>()
    });
    let differ = |key: &str| match (one.get(key), other.get(key)) {
        (Some(one), Some(other)) => !is_same_value(&one.value, &other.value),
        // A version that does not know a setting yet does what its default says.
        (Some(alone), None) | (None, Some(alone)) => alone.origin != "default",
        (None, None) => false,
    };
    one.keys().chain(other.keys()).filter(|key| differ(key)).map(|key| (*key).to_owned()).collect()
}

/// Whether two values as they are spelled mean the same: numbers may be written in several ways.
fn is_same_value(one: &str, other: &str) -> bool {
    let number = |text: &str| text.replace('_', "").parse::<f64>().ok();
    one == other || number(one).is_some_and(|one| number(other) == Some(one))
}

/// What tells two runs apart where only the text of their scenarios is known.
fn unresolved(one: &Record, other: &Record) -> BTreeSet<String> {
    let given = |record: &Record| -> BTreeMap<String, String> {
        let pairs = record.scenario.overrides.iter().filter_map(|given| given.split_once('='));
        pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
    };
    let (before, after) = (given(one), given(other));
    let differ = |key: &&String| before.get(*key) != after.get(*key);
    let mut keys: BTreeSet<String> = before.keys().chain(after.keys()).filter(differ).cloned().collect();
    if one.scenario.text != other.scenario.text {
        keys.insert("the text of the scenario".to_owned());
    }
    keys
}

/// Why a run does not stand, one sentence each.
fn doubts((name, record): &(String, Record)) -> Vec<String> {
    let verdict = match record.verdict.kind {
        VerdictKind::Good | VerdictKind::GateFailed => None,
        VerdictKind::Invalid => Some("is invalid: its sums do not add up"),
        VerdictKind::GeneratorLimited => Some("was limited by the load generator, not by the service"),
        VerdictKind::Interrupted => Some("was interrupted"),
    };
    let ended = match record.ended {
        Ended::Interrupted | Ended::Aborted if record.verdict.kind != VerdictKind::Interrupted => {
            Some("was stopped early")
        }
        _ => None,
    };
    let found = verdict.into_iter().chain(ended).map(str::to_owned);
    let found = found.chain(edited(record).map(|how| format!("was edited or damaged: {how}")));
    found.map(|why| format!("{name} {why}. Its times and rates are not judged.")).collect()
}

/// How a record contradicts itself, which none does that a run wrote.
fn edited(record: &Record) -> Option<String> {
    let found = inconsistencies(record);
    let parts: u64 = record.shards.iter().map(|shard| shard.planned).sum();
    let missing = (1..).zip(&record.shards).any(|(place, shard)| shard.index != place);
    let lost = !record.shards.is_empty() && (missing || parts != record.planned);
    let first = found.first().map(ToString::to_string);
    let more = view::counted(found.len().saturating_sub(1) as u64, "more contradiction");
    let first = first.map(|first| if found.len() > 1 { format!("{first}, and {more}") } else { first });
    first.or_else(|| lost.then(|| "its shards are not all of it".to_owned()))
}

/// What to know of a run that stands.
fn cautions((name, record): &(String, Record)) -> Vec<String> {
    let debug = record.host.build == "debug";
    let limited = record.generator.limited && record.verdict.kind != VerdictKind::GeneratorLimited;
    let found = [
        debug.then_some("was made by a debug build, whose times are not those of a release"),
        limited.then_some("was limited by the load generator, which its scenario only reports"),
        record.shard.is_some().then_some("is one shard of a run, and says nothing of the others"),
        record
            .throughput
            .shards_apart
            .then_some("has shards that did not run at the same time; its rate is not judged"),
        record.capacity.is_some().then_some("is a search for the capacity; times are those of its best rate"),
    ];
    found.into_iter().flatten().map(|what| format!("{name} {what}.")).collect()
}

/// Facts about the runs that may be the cause of a change.
fn differing_facts((_, before): &(String, Record), (_, after): &(String, Record)) -> Vec<String> {
    let host = |record: &Record| {
        let Host { cpus, cpu_model, .. } = &record.host;
        format!("{cpus} processors ({cpu_model})")
    };
    let shards = |record: &Record| match record.shards.len() {
        0 => "one process".to_owned(),
        count => view::counted(count as u64, "shard"),
    };
    let facts: [(&str, String, String); 5] = [
        ("seeds", before.seed.to_string(), after.seed.to_string()),
        ("builds", before.host.build.clone(), after.host.build.clone()),
        ("hosts", host(before), host(after)),
        ("versions of the program", before.program_version.clone(), after.program_version.clone()),
        ("ways to run", shards(before), shards(after)),
    ];
    let differ = facts.into_iter().filter(|(_, before, after)| before != after);
    differ
        .map(|(what, before, after)| format!("The runs have different {what}: {before} and {after}."))
        .collect()
}
