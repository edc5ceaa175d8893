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

/// The name of what decides: of the verdict, or of what keeps the device out although its chain is good.
pub fn reason(examination: &Examination) -> &'static str {
    let verdict = &examination.judgement.verdict;
    if examination.key_is_wrong() {
        Code::KeyMismatch.as_str()
    } else if verdict.is_admitted() && examination.fails_in_window().is_some() {
        Code::ExpiresInWindow.as_str()
    } else {
        verdict.name()
    }
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
    /// Those that are let in and have a warning, and nothing worse.
    pub with_warnings: u64,
    /// Those that are let in and have an error all the same.
    pub with_errors: u64,
    /// Files of CA certificates alone, which stand for no device.
    pub left_out: u64,
    /// One of them.
    pub left_out_example: Option<String>,
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
