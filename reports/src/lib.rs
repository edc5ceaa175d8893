//! The record of a run, and its renderings.
//!
//! A pure function of the record: no file, clock or socket, so a saved run renders the same
//! wherever and whenever it is rendered.

mod chart;
mod html;
mod merge;
mod phases;
mod record;
mod summary;
mod sums;
mod view;

pub use html::{RenderError, page};
pub use merge::{Difference, MergeFault, merge};
pub use phases::{HistogramError, PhaseStats};
pub use record::{
    Capacity, Certificates, Check, Clocks, Ended, EventDone, Expectations, GateResult, Generator, Held, Host,
    InvalidRecord, Issuer, KeyCount, Ledger, OutcomeKind, Outcomes, Reason, Record, Retries, RollUp, SCHEMA,
    ScenarioText, Second, Shard, Throughput, TlsCount, Trial, Verdict, VerdictKind,
};
pub use summary::summary;
pub use sums::Sum;
pub use view::grouped;
