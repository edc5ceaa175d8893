//! How arrivals ended, what was throttled and what was tried again.

use super::block::{Block, Cause, Causes, Foremost, Section, Trail, cell, clipped, fitting, more};
use crate::chart;
use crate::record::{Reason, Record, Sample};
use crate::view::{self, counted, grouped, judged, sorted_reasons, steps, what_and_repair};

/// The most reasons on the page.
const MOST_REASONS: usize = 40;
/// The most of them that are not folded away.
const MOST_SHOWN: usize = 10;
/// The most that they come to, in bytes of HTML without marks.
const MOST_BYTES: usize = 24_000;
/// The most reasons in the verdict.
const MOST_FOREMOST: usize = 3;
/// The longest text of one of those, in bytes of HTML. ours: three lines of the page.
const LONGEST_IN_SHORT: usize = 300;
/// The most steps of one trail.
const MOST_STEPS: usize = 24;

/// Outcomes over time, one arrival of each, and why arrivals did not get what they wanted.
pub(super) fn outcomes(record: &Record) -> Section {
    let mut blocks: Vec<Block> = Block::chart(chart::outcomes(record)).into_iter().collect();
    blocks.extend(Block::sheet(view::outcomes(record)));
    blocks.extend(reasons(record));
    if !record.samples.is_empty() {
        blocks.push(Block::Heading("The first arrival of each outcome, step by step"));
        blocks.push(Block::Samples(record.samples.iter().map(trail).collect()));
    }
    Section::or_why("outcomes", "Outcomes", blocks, "Nothing was planned, so nothing ended.")
}

/// The largest reasons in short, where there are any: what a reader looks for before anything else.
pub(super) fn foremost(record: &Record) -> Option<Block> {
    let reasons = sorted_reasons(record);
    let short = |reason: &&Reason| what_and_repair(reason).map(|text| clipped(&text, LONGEST_IN_SHORT));
    let first: Vec<[String; 2]> = reasons.iter().take(MOST_FOREMOST).map(short).collect();
    let others = reasons.len() - first.len();
    (!first.is_empty()).then_some(Block::Foremost(Foremost { reasons: first, others }))
}

fn trail(sample: &Sample) -> Trail {
    Trail {
        outcome: sample.outcome.as_str(),
        registration_id: cell(&sample.registration_id),
        steps: cut(&steps(sample)),
    }
}

fn cut(steps: &[String]) -> Vec<String> {
    let more = more(steps.len(), MOST_STEPS);
    steps.iter().take(MOST_STEPS).map(|step| cell(step)).chain(more).collect()
}

fn reasons(record: &Record) -> Vec<Block> {
    let reasons = sorted_reasons(record);
    if reasons.is_empty() {
        return Vec::new();
    }
    let mut shown: Vec<Cause> =
        reasons.iter().take(MOST_REASONS).map(|reason| cause(record, reason)).collect();
    shown.truncate(fitting(&shown, MOST_BYTES, Cause::bytes));
    let rest = reasons.get(shown.len()..).unwrap_or_default();
    let arrivals = counted(rest.iter().map(|reason| reason.count).sum(), "arrival");
    let more = (!rest.is_empty()).then(|| {
        Block::Text(format!("And {} in run.json, for {arrivals}.", counted(rest.len() as u64, "more reason")))
    });
    let all = shown.len();
    let folded = shown.split_off(shown.len().min(MOST_SHOWN));
    let reasons = Block::Reasons(Causes { shown, folded, all });
    [Block::Heading("Why, and what repairs it"), reasons].into_iter().chain(more).collect()
}

fn cause(record: &Record, reason: &Reason) -> Cause {
    let judged = judged(record, reason);
    let phase = reason.phase.as_ref().map(|phase| format!(" at {phase}")).unwrap_or_default();
    let code = reason.code.map(|code| format!("{code} ")).unwrap_or_default();
    Cause {
        count: grouped(reason.count),
        what: cell(&format!("{}{phase}", reason.outcome.as_str())),
        said: cell(&format!("{code}{}", reason.message)),
        judged,
        differs: judged.starts_with("NOT"),
        defect: reason.defect.as_deref().map(cell),
        sample: cell(&reason.sample_registration_id),
        explanation: cell(&reason.explanation),
        repair: cell(&reason.repair),
        trail: cut(&reason.trail),
    }
}

/// What the service throttled, beside its quota.
pub(super) fn throttling(record: &Record) -> Section {
    let mut blocks: Vec<Block> = Block::chart(chart::throttling(record)).into_iter().collect();
    let table = view::throttling(record);
    let why = table.note.clone();
    blocks.extend(Block::sheet(table));
    Section::or_why("throttling", "Throttling", blocks, &why)
}

/// What was tried again, by cause.
pub(super) fn retries(record: &Record) -> Section {
    let mut blocks: Vec<Block> = Block::chart(chart::retries(record)).into_iter().collect();
    blocks.extend(Block::sheet(view::retries_by_cause(record)));
    Section::or_why("retries", "Retries", blocks, "Nothing was tried again.")
}
