//! Packages of Node.js, pinned, and installed once below `target`.

use crate::interop::output;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the modules are that a lock pins, below the directory of that name in `target`; without a registry where they
/// are installed already.
pub(crate) fn modules(directory: &str, package: &str, lock: &str) -> Result<PathBuf, String> {
    is_new_enough()?;
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(directory);
    let (modules, installed) = (home.join("node_modules"), home.join("installed.json"));
    if fs::read_to_string(&installed).is_ok_and(|known| known == lock) {
        return Ok(modules);
    }
    let write = |name: &str, content: &str| {
        let path = home.join(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))
    };
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    write("package.json", package)?;
    write("package-lock.json", lock)?;
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&home);
    output(command)?;
    // Last, so that an installation that was cut short is made anew.
    write("installed.json", lock)?;
    Ok(modules)
}

/// The scripts and some of the packages need what came with Node.js 18.
fn is_new_enough() -> Result<(), String> {
    let mut command = Command::new("node");
    command.arg("--version");
    let version = output(command)?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major >= Some(18) { Ok(()) } else { Err(format!("{} is older than 18", version.trim())) }
}
