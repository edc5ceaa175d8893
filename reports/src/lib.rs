//! The record of a run, and its renderings.
//!
//! A pure function of the record: no file, clock or socket, so a saved run renders the same
//! wherever and whenever it is rendered.

mod chart;
mod compare;
mod consistency;
mod drawing;
mod html;
mod junit;
mod markdown;
mod merge;
mod phases;
mod record;
mod schema;
mod series;
mod summary;
mod sums;
mod svg;
mod view;

pub use compare::{
    COMPARISON_SCHEMA, CompareFault, CompareOptions, Compared, Comparison, Judgement, Side, compare,
    comparison_text,
};
pub use consistency::{Inconsistency, inconsistencies, labelled};
pub use html::{RenderError, page, page_with};
pub use junit::{JunitError, junit};
pub use markdown::markdown;
pub use merge::{Difference, MergeFault, merge};
pub use phases::{HistogramError, PhaseStats};
pub use record::{
    BUCKETS_PER_DECADE, Capacity, Certificates, Check, Clocks, Ended, EventDone, Expectations, GateResult,
    Generator, Held, Host, InvalidRecord, Issuer, KeyCount, Ledger, OutcomeKind, Outcomes, PhaseTime, Reason,
    Record, Retries, RollUp, SCHEMA, Sample, ScenarioText, Second, Setting, SetupStep, Shard, ShardFacts,
    Throughput, TlsCount, Trial, Verdict, VerdictKind, bucket_of, bucket_start_us,
};
pub use schema::{comparison_schema, record_schema};
pub use series::{CsvError, series, summary_csv};
pub use summary::summary;
pub use sums::Sum;
pub use svg::charts as svg_charts;
pub use view::grouped;
