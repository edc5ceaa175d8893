//! Where words go: results to stdout, talk to stderr, and neither anywhere else.
#![expect(clippy::print_stderr, reason = "the one place that prints")]

use crate::exit::Failure;
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether something for stdout was lost.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes to stdout. Whoever closed it, `head` for instance, has seen enough: what is left is not an error. Any
/// other failure is remembered, for the exit status.
fn print(text: std::fmt::Arguments<'_>) {
    let written = std::io::stdout().write_fmt(text).and_then(|()| std::io::stdout().flush());
    if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// Fails if a result could not be written to stdout.
pub(crate) fn all_was_written() -> Result<(), Failure> {
    if LOST.load(Ordering::Relaxed) {
        return Err(Failure::unexpected("cannot write the result to standard output"));
    }
    Ok(())
}

/// What the user asked to see.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    /// Results as JSON.
    pub json: bool,
    /// No talk.
    pub quiet: bool,
}

impl Output {
    /// A line of the result; not printed when JSON was asked for.
    pub fn line(&self, text: impl std::fmt::Display) {
        if !self.json {
            print(format_args!("{text}\n"));
        }
    }

    /// The result as one JSON document; only printed when JSON was asked for.
    pub fn json(&self, value: &impl Serialize) {
        if self.json {
            match serde_json::to_string(value) {
                Ok(text) => print(format_args!("{text}\n")),
                Err(error) => eprintln!("error: cannot write the result as JSON: {error}"),
            }
        }
    }

    /// Talk: progress and explanation, silenced by `--quiet`.
    pub fn talk(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// A line for machines that watch, on stderr; shown even with `--quiet`, for it was asked for. Who closed it has
    /// seen enough.
    pub fn signal(&self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// A warning, shown even with `--quiet`.
    pub fn warn(&self, text: impl std::fmt::Display) {
        eprintln!("warning: {text}");
    }

    /// Whether a progress bar makes sense.
    pub fn interactive(&self) -> bool {
        !self.quiet && !self.json && std::io::stderr().is_terminal()
    }
}

/// Reports why the program could not do its work.
pub fn failure(failure: &crate::exit::Failure) {
    eprintln!("error: {}", failure.message);
    if let Some(advice) = &failure.advice {
        eprintln!("  help: {advice}");
    }
}
