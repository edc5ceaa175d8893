//! The record of a run, and its renderings.
//!
//! A pure function of the record: no file, clock or socket, so a saved run renders the same
//! wherever and whenever it is rendered.

mod chart;
mod html;
mod phases;
mod record;
mod summary;
mod sums;
mod view;

pub use html::{RenderError, page};
pub use phases::{HistogramError, PhaseStats};
pub use record::{
    Certificates, Check, Clocks, Ended, Expectations, Generator, Host, InvalidRecord, Issuer, KeyCount,
    Ledger, OutcomeKind, Outcomes, Reason, Record, RollUp, SCHEMA, ScenarioText, Second, Shard, Throughput,
    Verdict, VerdictKind,
};
pub use summary::summary;
pub use sums::Sum;
