//! The official SDKs, unmodified, against the mock: what real devices and operators run.
//!
//! Their packages come from their registries, pinned, and are installed once below `target/interop`. A script
//! in `tests/interop` makes one call and says what the SDK returned or raised; the stories are told here.

#[path = "interop/certificates.rs"]
mod certificates;
#[path = "interop/devices.rs"]
mod devices;
#[path = "interop/enrollments.rs"]
mod enrollments;
#[path = "interop/node.rs"]
mod node;
#[path = "interop/python.rs"]
mod python;

use crate::world::{Finished, Mock, World, finish_within};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the scripts and the pins are.
const INTEROP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// Downloads take their time on a slow line.
const INSTALLATION: Duration = Duration::from_secs(300);

/// Where packages are installed.
fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop")
}

/// A mock, and the directory that what is said to it comes from.
struct Site<'w> {
    world: &'w World,
    mock: Mock<'w>,
}

impl<'w> Site<'w> {
    /// A mock that keeps devices waiting for no longer than it must: whole seconds is what they understand.
    fn start(world: &'w World) -> Self {
        Site { world, mock: Mock::start_with(world, "--retry-after 1s") }
    }
}

/// What a command printed, or why it did not come to an end that can be used.
pub(crate) fn output(mut command: Command) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let found = Command::new(command.get_program()).arg("--version").output();
    found.map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    let finished = finish_within(command, INSTALLATION);
    if finished.code == Some(0) { Ok(finished.stdout) } else { Err(finished.to_string()) }
}

/// What the SDK returned.
#[track_caller]
fn returned(finished: Finished) -> Value {
    finished.exits(0).json()["result"].take()
}

/// The error that the SDK raised; its `type` is the name of its class.
#[track_caller]
fn raised(finished: Finished) -> Value {
    finished.exits(3).json()["raised"].take()
}

/// The text at `pointer`.
#[track_caller]
fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no text at {pointer}: {value}"))
}
