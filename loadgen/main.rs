//! The program: reads the command line, runs it, and ends with its exit status.

use clap::Parser as _;
use rollcall::cli::{self, Cli};
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cli::run(Cli::parse()) as u8)
}
