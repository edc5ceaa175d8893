//! How the program ends: one documented exit status for each kind of ending.

use std::fmt;

/// Exit statuses, part of the contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Did what was asked.
    Good = 0,
    /// Something nobody foresaw.
    Unexpected = 1,
    /// A flag, a file or a scenario that cannot be used.
    Usage = 2,
    /// `check`, `register` or an operator's call: the service refuses.
    Refused = 3,
    /// The target does not answer, or a port cannot be had.
    Unreachable = 4,
    /// A comparison found the candidate worse than its baseline by more than noise, and was asked to fail then.
    Regression = 97,
    /// The sums do not add up, or the generator was the limit: the result is invalid.
    Invalid = 98,
    /// A gate failed.
    GateFailed = 99,
    /// Interrupted; what was measured so far is written.
    Interrupted = 130,
}

/// Why the program could not do its work: what was attempted, the cause, and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What was attempted and why it failed: lower case, no full stop.
    pub message: String,
    /// What to do next, a whole sentence.
    pub advice: Option<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Failure { exit, message: message.to_string(), advice: None }
    }

    /// A flag, file or scenario that cannot be used.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something nobody foresaw.
    pub fn unexpected(message: impl fmt::Display) -> Self {
        Self::new(Exit::Unexpected, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn advise(mut self, advice: impl fmt::Display) -> Self {
        self.advice = Some(advice.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
