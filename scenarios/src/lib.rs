//! What a run is: the scenario, its parser, its arrivals, and the scenario files that are shipped.
//!
//! Pure: a scenario is parsed from text, so there is no file, clock or socket here; a mistake in
//! the text becomes a [`Diagnostic`] that names the line and what repairs it.

mod about;
mod descriptions;
mod diagnostic;
mod duplicate;
mod gate;
mod kind;
mod language;
mod layer;
mod load;
mod overrides;
mod parse;
mod positions;
mod reader;
mod recording;
mod scenario;
mod schedule;
mod setting;
mod template;

pub use about::about;
pub use diagnostic::{Diagnostic, Diagnostics, Place};
pub use gate::{Amount, Clock, Gate, InvalidMetric, Metric, Rate, Statistic, Unit};
pub use layer::{ENVIRONMENT, Given, settings_file};
pub use load::{Load, Spacing, Stage, Stair, WhenFull};
pub use overrides::{InvalidOverride, Override};
pub use parse::schema;
pub use recording::{InvalidRecording, recorded};
pub use scenario::{
    Action, Authority, Defect, Device, Event, Factory, Flavour, Fleet, GeneratorLimit, Goal, GroupOn, Hold,
    KeyExchange, Kind, Limits, MockProfile, MockTarget, PhaseTimeouts, Resumption, Retry, Scenario,
    ServiceTarget, Talk, Target, Tls, Transport, Verification, VerifyServer,
};
pub use schedule::{Schedule, ScheduleFault};
pub use setting::{Origin, Setting};
pub use sim_protocol::duration::{InvalidDuration, parse_duration};
pub use template::{InvalidTemplate, Template};

/// The shipped scenarios: file name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("demo.toml", include_str!("../demo.toml")),
    ("smoke.toml", include_str!("../smoke.toml")),
    ("steady.toml", include_str!("../steady.toml")),
    ("unverified-ca.toml", include_str!("../unverified-ca.toml")),
    ("factory-line.toml", include_str!("../factory-line.toml")),
    ("power-restore.toml", include_str!("../power-restore.toml")),
    ("failover.toml", include_str!("../failover.toml")),
    ("reboot-loop.toml", include_str!("../reboot-loop.toml")),
    ("ca-rotation.toml", include_str!("../ca-rotation.toml")),
    ("ca-rollover.toml", include_str!("../ca-rollover.toml")),
    ("group-disabled.toml", include_str!("../group-disabled.toml")),
    ("intermediate-expires.toml", include_str!("../intermediate-expires.toml")),
    ("retry-storm-naive.toml", include_str!("../retry-storm-naive.toml")),
    ("retry-storm-jitter.toml", include_str!("../retry-storm-jitter.toml")),
    ("hold.toml", include_str!("../hold.toml")),
    ("sdk-mix.toml", include_str!("../sdk-mix.toml")),
    ("bad-batch.toml", include_str!("../bad-batch.toml")),
    ("three-intermediates.toml", include_str!("../three-intermediates.toml")),
    ("factory-revoked.toml", include_str!("../factory-revoked.toml")),
    ("hijack-attempt.toml", include_str!("../hijack-attempt.toml")),
    ("quota-reached.toml", include_str!("../quota-reached.toml")),
    ("throttled-at-quota.toml", include_str!("../throttled-at-quota.toml")),
    ("capacity-search.toml", include_str!("../capacity-search.toml")),
    ("hold-10000.toml", include_str!("../hold-10000.toml")),
    ("chaos-soak.toml", include_str!("../chaos-soak.toml")),
    ("canary.toml", include_str!("../canary.toml")),
];

/// Whether a shipped scenario is small, as the last line of its opening comment says: those are played in CI, and large
/// ones are planned there alone.
pub fn is_small(text: &str) -> bool {
    text.lines().take_while(|line| line.starts_with('#')).last() == Some("# Size: small")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_shipped_scenario_says_its_size_where_its_opening_comment_ends() {
        for (file, text) in SHIPPED {
            let large = text.lines().take_while(|line| line.starts_with('#')).last() == Some("# Size: large");
            assert_ne!(is_small(text), large, "{file}");
            assert_eq!(text.matches("# Size:").count(), 1, "{file}");
        }
    }

    #[test]
    fn the_bad_batch_has_every_defect_that_a_device_can_present() {
        let (file, text) = SHIPPED.iter().find(|(file, _)| *file == "bad-batch.toml").expect("shipped");
        let scenario = Scenario::parse(file, text, &[]).unwrap_or_else(|told| panic!("{told}"));
        let listed = scenario.fleet.defects.iter().map(|listed| listed.kind.id()).collect::<BTreeSet<_>>();
        let presentable = sim_identity::Defect::all().filter(|defect| defect.is_presentable());
        assert_eq!(listed, presentable.map(sim_identity::Defect::id).collect());
        assert_eq!(listed.len(), scenario.fleet.defects.len(), "each once");
    }

    #[test]
    fn every_file_beside_the_shipped_ones_is_shipped() {
        let beside = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).expect("this crate's directory");
        let beside = beside.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let files = beside.filter(|name| name.ends_with(".toml") && name != "Cargo.toml");
        let shipped: BTreeSet<String> = SHIPPED.iter().map(|(file, _)| (*file).to_owned()).collect();
        assert_eq!(files.collect::<BTreeSet<_>>(), shipped);
    }
}
