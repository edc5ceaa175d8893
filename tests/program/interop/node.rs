//! The official Node.js SDKs, as they are installed here.

use super::{INTEROP, Site};
use crate::npm;
use crate::world::{Finished, skip};
use std::path::PathBuf;
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
        match NODE.get_or_init(|| Ok(Node { modules: npm::modules("interop/node", PACKAGE, LOCK)? })) {
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
