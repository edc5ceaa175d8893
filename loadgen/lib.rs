//! The load generator: plans a run, lets its devices arrive, records what became of them, and the command line.
//!
//! - [`cli`], [`exit`]: the commands, what they print and how they end; the only place that knows of flags,
//!   files, the environment and the clock of the wall
//! - [`plan`]: what a scenario comes to
//! - `pkcs11`: keys that a token holds
//! - [`engine`], [`pacer`]: the run itself; waking for an arrival on time
//! - [`stage`]: the mock of a run, and the operator who sets it up
//! - [`identities`]: devices' certificates and keys, made ahead of need
//! - [`events`]: what the operator does while devices arrive
//! - [`recorder`], [`collector`]: what was measured, one recorder a worker, added up without loss, second by second
//! - [`journal`]: every outcome on disk as it comes
//! - [`gates`], [`health`], [`capacity`]: what a run must show, whether the generator was the limit, the highest rate
//! - [`account`]: from what was measured to the record
//! - [`forecast`]: what a scenario comes to before it is run
//! - [`telemetry`]: metrics of the running load

pub mod account;
pub mod capacity;
pub mod check;
pub mod cli;
pub mod collector;
pub mod engine;
pub mod events;
pub mod exit;
pub mod forecast;
pub mod gates;
pub mod health;
pub mod identities;
pub mod journal;
pub mod pacer;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod plan;
pub mod recorder;
pub mod stage;
pub mod telemetry;
