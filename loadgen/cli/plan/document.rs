//! A plan as JSON, schema `rollcall.plan/1`. Fields are only ever added within a version.

use super::View;
use crate::forecast::Forecast;
use scenarios::{Defect, Event, Factory, Gate};
use serde::Serialize;

/// The version of the document.
const SCHEMA: &str = "rollcall.plan/1";

/// What a scenario comes to.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    /// Always `rollcall.plan/1`.
    schema: &'static str,
    /// What the run is called.
    name: &'a str,
    /// The file it was read from.
    file: &'a str,
    /// Values given on the command line, `key=value`.
    overrides: &'a [String],
    /// Which part is planned, from 1, and of how many.
    shard: [u64; 2],
    /// The seed.
    seed: u64,
    /// Devices of the fleet.
    devices: u64,
    /// How often each comes.
    turns: u64,
    /// Factories, with how many devices each makes.
    factories: Vec<Part<'a>>,
    /// Devices that are bad on purpose, by the id of their defect.
    defects: Vec<Part<'a>>,
    /// What the run comes to.
    forecast: &'a Forecast,
    /// File descriptors that the process may have; absent where the system does not tell.
    descriptors_limit: Option<u64>,
    /// What the run must have shown.
    gates: Vec<String>,
    /// What the operator does meanwhile.
    events: Vec<Moment>,
    /// Why `run` with the same flags would send nothing.
    refused: Option<String>,
}

/// A part of the fleet.
#[derive(Serialize)]
struct Part<'a> {
    name: &'a str,
    devices: u64,
}

/// Something that happens at a moment.
#[derive(Serialize)]
struct Moment {
    at_seconds: f64,
    what: String,
}

/// The document of a plan.
pub(super) fn of<'a>(view: &View<'a>) -> Document<'a> {
    let (scenario, text) = (view.scenario, view.text);
    let fleet = &scenario.fleet;
    Document {
        schema: SCHEMA,
        name: &scenario.name,
        file: &text.file,
        overrides: &text.overrides,
        shard: [view.shard.index + 1, view.shard.count],
        seed: scenario.seed,
        devices: fleet.devices,
        turns: fleet.turns,
        factories: fleet.factories.iter().map(made).collect(),
        defects: fleet.defects.iter().map(bad).collect(),
        forecast: view.forecast,
        descriptors_limit: view.descriptors_limit,
        gates: scenario.gates.iter().map(Gate::to_string).collect(),
        events: scenario.events.iter().map(moment).collect(),
        refused: view.refused.map(|failure| failure.message.clone()),
    }
}

fn made(factory: &Factory) -> Part<'_> {
    let Factory { name, members, .. } = factory;
    Part { name: name.as_str(), devices: members.end.saturating_sub(members.start) }
}

fn bad(defect: &Defect) -> Part<'_> {
    Part { name: defect.kind.id(), devices: defect.devices }
}

fn moment(event: &Event) -> Moment {
    Moment { at_seconds: event.at.as_secs_f64(), what: super::text::told(&event.action) }
}
