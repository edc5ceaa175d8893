//! What happened over time, and how long it took.

use super::block::{Block, Section};
use crate::chart;
use crate::drawing::Drawing;
use crate::record::Record;
use crate::view::{counted, findings, grouped, milliseconds, times};

/// Offered, achieved and planned rate.
pub(super) fn rates(record: &Record) -> Section {
    let why = "The record has no seconds to draw: nothing was due, or it was made without them.";
    charts("rates", "Offered, achieved and planned rate", [chart::rates(record)], why)
}

/// In flight, and held.
pub(super) fn in_flight(record: &Record) -> Section {
    let held = findings(record).into_iter().find(|(name, _)| *name == "held");
    let drawn = [chart::in_flight(record), chart::held(record)];
    let mut blocks: Vec<Block> = drawn.into_iter().filter_map(Block::chart).collect();
    let sampled =
        "It is sampled at the end of each second: what began and ended between two samples is not in it.";
    blocks.extend((!blocks.is_empty()).then(|| Block::text(sampled)));
    blocks.extend(held.map(|(_, text)| Block::text(&text)));
    Section::or_why("in-flight", "In flight", blocks, "The record has no seconds to draw.")
}

/// Percentiles over time.
pub(super) fn percentiles(record: &Record) -> Section {
    let why = "No second of the record has times: nobody got what they wanted, or it was made without them.";
    charts("percentiles", "Percentiles over time", [chart::percentiles(record)], why)
}

/// The latency heat map.
pub(super) fn heat_map(record: &Record) -> Section {
    let why = "No second of the record has response times by size.";
    charts("heat-map", "Latency heat map", [chart::heat_map(record)], why)
}

/// The percentile curve of both clocks.
pub(super) fn curve(record: &Record) -> Section {
    let (service, response) = (&record.clocks.service_time, &record.clocks.response_time);
    let Some(drawing) = Block::chart(chart::curve(record)) else {
        let why = "Nobody got what they wanted, so no time was taken.";
        return Section::or_why("curve", "Percentile curve", Vec::new(), why);
    };
    let clocks = format!(
        "Service time runs from the start of an attempt, response time from when it was due. Of {}, the slowest took \
         {} ms by the first and {} ms by the second.",
        counted(response.count, "arrival"),
        milliseconds(service.max_us),
        milliseconds(response.max_us)
    );
    Section::new("curve", "Percentile curve", vec![Block::text(&clocks), drawing])
}

/// The phase waterfall.
pub(super) fn phases(record: &Record) -> Section {
    let mut blocks: Vec<Block> = Block::chart(chart::waterfall(record)).into_iter().collect();
    let mut table = times(record);
    // A row of zeros says nothing that its absence does not.
    table.rows.retain(|row| row.get(1).is_some_and(|count| *count != grouped(0)));
    blocks.extend(Block::sheet(table));
    Section::or_why("phases", "Phases of an attempt", blocks, "No attempt got as far as a phase.")
}

fn charts<const N: usize>(
    id: &'static str,
    title: &'static str,
    drawings: [Option<Drawing>; N],
    why: &str,
) -> Section {
    Section::or_why(id, title, drawings.into_iter().filter_map(Block::chart).collect(), why)
}
