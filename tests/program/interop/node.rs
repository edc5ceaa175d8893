//! The official Node.js SDKs, as they are installed here.

use super::{INTEROP, Site, home, output};
use crate::world::{Finished, skip};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

const PACKAGE: &str = include_str!("../../interop/node/package.json");
const LOCK: &str = include_str!("../../interop/node/package-lock.json");

/// Where the packages of all the SDKs are.
#[derive(Debug)]
pub(super) struct Node {
    modules: PathBuf,
}

impl Node {
    /// None, said aloud, where they cannot be installed.
    pub(super) fn find(test: &str) -> Option<&'static Node> {
        static NODE: OnceLock<Result<Node, String>> = OnceLock::new();
        match NODE.get_or_init(install) {
            Ok(node) => Some(node),
            Err(why) => {
                skip(test, "node", why);
                None
            }
        }
    }

    /// Runs one of the scripts, which is to trust the mock.
    pub(super) fn run(&self, at: &Site<'_>, script: &str, arguments: &[&str]) -> Finished {
        let mut command = at.world.command("node");
        command
            .env("NODE_PATH", &self.modules)
            .env("NODE_EXTRA_CA_CERTS", at.world.path(at.mock.trust_root))
            .arg(format!("{INTEROP}/node/{script}"))
            .args(arguments);
        at.world.finish(command)
    }
}

/// Installs the packages once for all runs of the tests with the same lock.
fn install() -> Result<Node, String> {
    is_new_enough()?;
    let home = home().join("node");
    let (modules, installed) = (home.join("node_modules"), home.join("installed.json"));
    if fs::read_to_string(&installed).is_ok_and(|lock| lock == LOCK) {
        return Ok(Node { modules });
    }
    let write = |name: &str, content: &str| {
        let path = home.join(name);
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))
    };
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    write("package.json", PACKAGE)?;
    write("package-lock.json", LOCK)?;
    let mut command = Command::new("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&home);
    output(command)?;
    // Last, so that an installation that was cut short is made anew.
    write("installed.json", LOCK)?;
    Ok(Node { modules })
}

/// The scripts and some of the packages need what came with Node.js 18.
fn is_new_enough() -> Result<(), String> {
    let mut command = Command::new("node");
    command.arg("--version");
    let version = output(command)?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major >= Some(18) { Ok(()) } else { Err(format!("{} is older than 18", version.trim())) }
}
