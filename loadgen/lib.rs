//! The load generator: plans a run, lets its devices arrive, records what became of them, and the command line.
//!
//! - [`cli`], [`exit`]: the commands, what they print and how they end; the only place that knows of flags,
//!   files, the environment and the clock of the wall
//! - [`plan`]: what a scenario comes to
//! - `pkcs11`: keys that a token holds
//! - [`engine`]: the run itself
//! - [`stage`]: the mock of a run, and the operator who sets it up
//! - [`account`]: from what was measured to the record
//! - [`recorder`]: what was measured, one recorder a shard, added up without loss

pub mod account;
pub mod check;
pub mod cli;
pub mod engine;
pub mod exit;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod plan;
pub mod recorder;
pub mod stage;
