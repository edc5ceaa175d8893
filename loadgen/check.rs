//! Preflight for one chain or a million: reads what devices would send and what the instance holds, has each chain
//! examined, and adds up what was found.
//!
//! - [`inputs`]: where the chains come from: files, directories; [`manifest`]: lists of them; [`stream`]: many devices
//!   one after the other
//! - [`batch`]: examines them on every core and adds up
//! - [`instance`]: what the instance holds, from files, from exports, or asked

pub mod batch;
#[cfg(test)]
mod fixture;
pub mod inputs;
pub mod instance;
pub mod manifest;
pub mod stream;

use sim_identity::preflight::{Code, Examination, Finding, Presented, Severity};
use std::collections::BTreeMap;

/// One chain with everything that is known about it.
#[derive(Debug)]
pub struct Examined {
    /// Where it came from: a file, a line of a manifest.
    pub label: String,
    /// What the device sends.
    pub presented: Presented,
    /// The verdict and the findings.
    pub examination: Examination,
}

/// How often something was found in a batch.
#[derive(Clone, Debug)]
pub struct Tally {
    /// How many devices have it.
    pub devices: u64,
    /// The worst severity it had.
    pub severity: Severity,
    /// A device that has it, by its label.
    pub example: String,
    /// The finding there.
    pub finding: Finding,
}

/// What a batch came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Chains examined.
    pub devices: u64,
    /// Those that are let in.
    pub accepted: u64,
    /// Those that are let in and have a warning.
    pub with_warnings: u64,
    /// Files that could not be read: neither accepted nor refused, and errors.
    pub unreadable: u64,
    /// Devices by verdict.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Devices by the enrollment that takes them.
    pub entries: BTreeMap<String, u64>,
    /// Devices by the issuer of their leaf.
    pub issuers: BTreeMap<String, u64>,
    /// Devices by the kind of their key.
    pub keys: BTreeMap<String, u64>,
    /// Devices by the month in which their leaf expires, `2026-06`.
    pub expiry: BTreeMap<String, u64>,
    /// Findings by code.
    pub findings: BTreeMap<Code, Tally>,
    /// The first moment at which some device's verdict changes, Unix seconds, and how many change then.
    pub next_change: Option<(i64, u64)>,
    /// How long it took.
    pub seconds: f64,
}
