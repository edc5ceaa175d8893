//! What a run is: the scenario, its parser, its arrivals, and the scenario files that are shipped.
//!
//! Pure: a scenario is parsed from text, so there is no file, clock or socket here; a mistake in
//! the text becomes a [`Diagnostic`] that names the line and what repairs it.

mod diagnostic;
mod gate;
mod load;
mod overrides;
mod parse;
mod positions;
mod reader;
mod recording;
mod scenario;
mod schedule;
mod template;

pub use diagnostic::{Diagnostic, Diagnostics, Place};
pub use gate::{Amount, Clock, Gate, InvalidMetric, Metric, Rate, Statistic, Unit};
pub use load::{Load, Spacing, Stage, Stair, WhenFull};
pub use overrides::{InvalidOverride, Override};
pub use recording::{InvalidRecording, recorded};
pub use scenario::{
    Action, Authority, Defect, Device, Event, Factory, Flavour, Fleet, GeneratorLimit, Goal, GroupOn, Hold,
    KeyExchange, Kind, Limits, MockProfile, MockTarget, PhaseTimeouts, Resumption, Retry, Scenario,
    ServiceTarget, Talk, Target, Tls, Transport, Verification, VerifyServer,
};
pub use schedule::{Schedule, ScheduleFault};
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
    ("group-disabled.toml", include_str!("../group-disabled.toml")),
    ("intermediate-expires.toml", include_str!("../intermediate-expires.toml")),
    ("retry-storm-naive.toml", include_str!("../retry-storm-naive.toml")),
    ("retry-storm-jitter.toml", include_str!("../retry-storm-jitter.toml")),
    ("hold.toml", include_str!("../hold.toml")),
    ("sdk-mix.toml", include_str!("../sdk-mix.toml")),
];
