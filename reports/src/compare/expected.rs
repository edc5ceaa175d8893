//! What a run was meant to show: its roll-up, way by way, and its gates. Neither has noise of its own.

use super::{Compared, Judgement, Sides, change, noise};
use crate::record::{GateResult, Record, RollUp};

/// Every way from a root to a hub that either side knows. It is worse where devices went it as expected, and do no
/// longer.
pub(super) fn roll_up(sides: Sides<'_>) -> Vec<Compared> {
    let mut ways: Vec<&RollUp> = Vec::new();
    for way in sides.into_iter().flatten().flat_map(|(_, record)| &record.roll_up) {
        if !ways.iter().any(|known| is_same_way(known, way)) {
            ways.push(way);
        }
    }
    let alone = |way: &RollUp| ways.iter().filter(|other| other.group == way.group).count() == 1;
    ways.iter().map(|way| way_row(way, alone(way), sides)).collect()
}

fn is_same_way(one: &RollUp, other: &RollUp) -> bool {
    let of = |way: &RollUp| (way.root.clone(), way.path.clone(), way.group.clone(), way.hub.clone());
    of(one) == of(other)
}

fn way_row(way: &RollUp, alone: bool, sides: Sides<'_>) -> Compared {
    let fares = sides.map(|side| side.iter().map(|(_, record)| fare(record, way)).collect::<Vec<_>>());
    let [baseline, candidate] =
        fares.each_ref().map(|fares| noise::median(fares.iter().map(|fare| fare.actual as f64).collect()));
    let known = fares.iter().flatten().any(|fare| fare.off.is_some());
    let [before, after] = fares.each_ref().map(|fares| fares.iter().any(|fare| fare.off == Some(true)));
    let metric = match alone {
        true => format!("roll_up.{}.count", way.group),
        false => format!("roll_up.{}.count, {} > {}", way.group, way.path.join(" > "), way.hub),
    };
    let judgement = if known { turned(before, after) } else { Judgement::Shown };
    Compared { change: change(baseline, candidate), judgement, ..row(metric, "count", baseline, candidate) }
}

/// How a way fared in a run.
struct Fare {
    actual: u64,
    /// Whether other devices went it than should have; unknown where nobody said how many should.
    off: Option<bool>,
}

fn fare(record: &Record, way: &RollUp) -> Fare {
    let of = || record.roll_up.iter().filter(|other| is_same_way(other, way));
    // A way that a run does not have, and should: nobody went it.
    let expected = of().find_map(|way| way.expected).or(way.expected);
    let actual = of().map(|way| way.actual).sum();
    Fare { actual, off: expected.map(|expected| expected != actual) }
}

/// Gates that were met on one side and not on the other.
pub(super) fn gates(sides: Sides<'_>) -> Vec<Compared> {
    let [baseline, candidate] = sides;
    let gates = baseline.first().map(|(_, record)| record.gates.as_slice()).unwrap_or_default();
    gates.iter().filter_map(|gate| gate_row(&gate.gate, [baseline, candidate])).collect()
}

fn gate_row(gate: &str, sides: Sides<'_>) -> Option<Compared> {
    let results =
        sides.map(|side| side.iter().filter_map(|(_, record)| result(record, gate)).collect::<Vec<_>>());
    if results.iter().any(Vec::is_empty) {
        return None;
    }
    // Of repeats, most of them.
    let [before, after] = results.each_ref().map(|results| {
        let failed = results.iter().filter(|gate| !gate.passed || gate.aborted_at.is_some()).count();
        failed * 2 > results.len()
    });
    let [baseline, candidate] = results
        .each_ref()
        .map(|results| noise::median(results.iter().filter_map(|gate| gate.measured).collect()));
    let unit = results.iter().flatten().next().map(|gate| gate.unit.clone()).unwrap_or_default();
    let row = row(format!("gate {gate}"), &unit, baseline, candidate);
    (before != after).then(|| Compared {
        change: change(baseline, candidate),
        judgement: turned(before, after),
        ..row
    })
}

fn result<'a>(record: &'a Record, gate: &str) -> Option<&'a GateResult> {
    record.gates.iter().find(|result| result.gate == gate)
}

fn row(metric: String, unit: &str, baseline: f64, candidate: f64) -> Compared {
    Compared { metric, unit: unit.to_owned(), baseline, candidate, ..Compared::default() }
}

/// What it comes to that something is not as it should be before, and after.
const fn turned(before: bool, after: bool) -> Judgement {
    match (before, after) {
        (false, true) => Judgement::Worse,
        (true, false) => Judgement::Better,
        _ => Judgement::Same,
    }
}
