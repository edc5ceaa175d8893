//! What a run is: the scenario, its parser, its arrivals, and the scenario files that are shipped.
//!
//! Pure: a scenario is parsed from text, so there is no file, clock or socket here; a mistake in
//! the text becomes a [`Diagnostic`] that names the line and what repairs it.

mod diagnostic;
mod load;
mod overrides;
mod parse;
mod reader;
mod scenario;
mod template;

pub use diagnostic::{Diagnostic, Diagnostics, Place};
pub use load::{Arrival, Load, WhenFull};
pub use overrides::{InvalidOverride, Override};
pub use scenario::{
    Authority, Defect, Device, Fleet, GroupOn, Limits, MockProfile, MockTarget, Scenario, ServiceTarget,
    Target, Tls, Transport, Verification, VerifyServer,
};
pub use sim_protocol::duration::{InvalidDuration, parse_duration};
pub use template::{InvalidTemplate, Template};

/// The shipped scenarios: file name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("demo.toml", include_str!("../demo.toml")),
    ("smoke.toml", include_str!("../smoke.toml")),
    ("steady.toml", include_str!("../steady.toml")),
    ("unverified-ca.toml", include_str!("../unverified-ca.toml")),
];
