//! A scenario of 400 devices, with or without factories, defects and events.

use crate::plan::Devices;
use scenarios::{Action, Event, Factory, Place, Scenario};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;

pub(crate) const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
pub(crate) const MINTED: &str = "[fleet.authority.minted]\nintermediates = 1";

/// A scenario with this authority, target and one device of each of these defects.
pub(crate) fn scenario(authority: &str, target: &str, defects: &[&str]) -> Scenario {
    let listed: String =
        defects.iter().map(|id| format!("[[fleet.defect]]\nid = \"{id}\"\ndevices = 1\n")).collect();
    let text = format!(
        "name = \"x\"\n[fleet]\ndevices = 400\nregistration_id = \"dev-{{index}}\"\n{listed}{authority}\n{target}\n\
         [load.closed]\nin_flight = 1\n"
    );
    Scenario::parse("x.toml", &text, &[]).expect("a scenario")
}

/// The same with factories `line-a` and `line-b` under the root `east` and `line-c` under its own, of 100, 100 and
/// 200 devices.
pub(crate) fn with_factories(mut scenario: Scenario) -> Scenario {
    let factory = |(name, root, members): (&str, &str, _)| Factory {
        name: name.parse().expect("a name"),
        root: root.to_owned(),
        members,
        place: Place::Set(String::new()),
    };
    let all = [("line-a", "east", 0..100), ("line-b", "east", 100..200), ("line-c", "line-c", 200..400)];
    scenario.fleet.factories = all.map(factory).to_vec();
    scenario
}

/// The same with these events, each as soon as the run starts.
pub(crate) fn with_events(mut scenario: Scenario, actions: &[Action]) -> Scenario {
    let event = |action: &Action| Event {
        at: Duration::ZERO,
        action: action.clone(),
        place: Place::Set(String::new()),
    };
    scenario.events = actions.iter().map(event).collect();
    scenario
}

/// The first good device of a factory; 0 is the only line, where there are no factories.
pub(crate) fn one_of(devices: &Devices, factory: usize) -> u64 {
    let good = |index: &u64| devices.factory(*index) == factory && devices.defects.of(*index).is_none();
    (0..400).find(good).expect("a good device")
}
