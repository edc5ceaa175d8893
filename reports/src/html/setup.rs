//! What was run, with what, and how it stands beside other runs and the service's own account.

use super::block::{Block, Section, Sheet, clipped};
use crate::compare::{Comparison, Side};
use crate::record::Record;
use crate::view::{self, Table};

/// The most settings on the page; a scenario has some two hundred.
const MOST_SETTINGS: usize = 300;
/// The most shards on the page.
const MOST_SHARDS: usize = 64;
/// The most that either comes to, in bytes of HTML.
const MOST_BYTES: usize = 30_000;
/// The longest scenario on the page, in bytes of HTML.
const LONGEST_SCENARIO: usize = 80_000;

/// By what the page was made, and from what.
pub(super) fn footer(record: &Record) -> String {
    let facts = [
        Some(format!("rollcall {}", record.program_version)),
        Some(format!("record {}", record.schema)).filter(|_| !record.schema.is_empty()),
        Some(format!("started {}", record.started_utc)).filter(|_| !record.started_utc.is_empty()),
    ];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What TLS handshakes agreed on.
pub(super) fn tls(record: &Record) -> Section {
    let sheet = Block::sheet(view::tls(record));
    Section::or_why("tls", "TLS", sheet.into_iter().collect(), "No handshake was completed.")
}

/// The certificates that were presented.
pub(super) fn certificates(record: &Record) -> Section {
    let sheet = Block::sheet(view::certificates(record));
    let why = "No certificate was looked at.";
    Section::or_why("certificates", "Certificates", sheet.into_iter().collect(), why)
}

/// How the load generator fared.
pub(super) fn generator(record: &Record) -> Section {
    let mut blocks = vec![Block::text(&view::generator(record))];
    blocks.extend(Block::list(&record.generator.findings));
    blocks.extend(Block::facts(view::generator_facts(record)));
    Section::new("generator", "Load generator", blocks)
}

/// The shards of a merged run beside each other.
pub(super) fn shards(record: &Record) -> Section {
    let table = view::shards(record);
    let sheet = (!table.rows.is_empty()).then(|| Block::Sheet(Sheet::within(table, MOST_SHARDS, MOST_BYTES)));
    let why = match record.shard {
        Some(shard) => {
            format!(
                "This is shard {} of {}; merge them to see them beside each other.",
                shard.index, shard.count
            )
        }
        None => "The run was made in one piece.".to_owned(),
    };
    Section::or_why("shards", "Shards side by side", sheet.into_iter().collect(), &why)
}

/// The run beside its baseline.
pub(super) fn comparison(comparison: Option<&Comparison>) -> Section {
    let blocks = comparison.map(compared).unwrap_or_default();
    Section::or_why("comparison", "Comparison with the baseline", blocks, "No baseline was given.")
}

fn compared(comparison: &Comparison) -> Vec<Block> {
    let table = view::comparison(comparison);
    let mut blocks: Vec<Block> = Block::list(&comparison.warnings).into_iter().collect();
    blocks.push(match table.rows.is_empty() {
        true => Block::text("The runs have no metric in common."),
        false => Block::Sheet(Sheet::of(table)),
    });
    blocks.push(Block::Sheet(Sheet::of(sides(comparison))));
    blocks
}

fn sides(comparison: &Comparison) -> Table {
    let row = |(role, side): (&str, &Side)| {
        let Side { name, scenario, started_utc, program_version, verdict } = side.clone();
        vec![name, role.to_owned(), scenario, started_utc, program_version, verdict]
    };
    let baseline = comparison.baseline.iter().map(|side| ("baseline", side));
    let candidate = comparison.candidate.iter().map(|side| ("candidate", side));
    Table {
        title: "Runs compared",
        note: "of several the median counts".to_owned(),
        head: vec!["run", "role", "scenario", "started", "version", "verdict"],
        words: 6,
        rows: baseline.chain(candidate).map(row).collect(),
    }
}

/// What the operator did while devices arrived.
pub(super) fn events(record: &Record) -> Section {
    let sheet = Block::sheet(view::events(record));
    let why = "The operator did nothing while devices arrived.";
    Section::or_why("events", "Events", sheet.into_iter().collect(), why)
}

/// The client's account beside the service's, and the sums of the record.
pub(super) fn ledger(record: &Record) -> Section {
    let table = view::reconciliation(record);
    let note = Block::text(&table.note);
    let mut blocks = vec![Block::sheet(table).unwrap_or(note)];
    blocks.extend(Block::facts(view::ledger_facts(record)));
    blocks.extend(Block::sheet(view::sums(record)));
    Section::new("ledger", "Client and service", blocks)
}

/// The search for the highest rate that meets the gates.
pub(super) fn capacity(record: &Record) -> Section {
    let table = view::trials(record).map(|table| Block::Sheet(Sheet::of(table)));
    let evidence = record.capacity.as_ref().and_then(|capacity| Block::list(&capacity.evidence));
    let blocks = evidence.into_iter().chain(table).collect();
    Section::or_why("capacity", "Capacity", blocks, "This run was no search for the highest rate.")
}

/// The exact command, the host, and every setting.
pub(super) fn config(record: &Record) -> Section {
    let mut blocks: Vec<Block> = Block::facts(view::facts(record)).into_iter().collect();
    blocks.extend(Block::list(&record.notes));
    let settings = view::settings(record);
    blocks.push(match settings.rows.is_empty() {
        true => Block::text("The record does not have the settings that the scenario came to."),
        false => Block::Folded(Sheet::within(settings, MOST_SETTINGS, MOST_BYTES)),
    });
    blocks.push(match record.scenario.text.is_empty() {
        true => Block::text("The record does not have the text of the scenario."),
        false => Block::Source("The scenario as written", clipped(&record.scenario.text, LONGEST_SCENARIO)),
    });
    Section::new("config", "Command and configuration", blocks)
}
