//! The numbers of a running load for whoever collects metrics: [`Metrics`] serves them in Prometheus' text format on a
//! loopback port, and with the feature `otlp` `Otlp` sends them to an OpenTelemetry collector. Both have the same
//! numbers, which [`Numbers`] takes from a glance.

mod numbers;
#[cfg(feature = "otlp")]
mod otlp;
mod prometheus;
mod server;

pub use numbers::{Family, Kind, Numbers, Sample, Value};
#[cfg(feature = "otlp")]
pub use otlp::Otlp;
pub use server::Metrics;
