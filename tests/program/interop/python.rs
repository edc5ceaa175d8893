//! The official Python SDKs, as they are installed here.

use super::{INTEROP, home, output};
use crate::world::{Finished, World, skip};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The device SDK.
pub(super) static DEVICE: Packages = Packages::named("device");

/// The management SDK in the line that the Azure CLI carries.
pub(super) static MANAGEMENT_1: Packages = Packages::named("management-1");

/// The management SDK of today.
pub(super) static MANAGEMENT_2: Packages = Packages::named("management-2");

/// Packages that are installed together, pinned in a file of that name.
#[derive(Debug)]
pub(super) struct Packages {
    name: &'static str,
    installed: OnceLock<Result<Python, String>>,
}

impl Packages {
    const fn named(name: &'static str) -> Self {
        Packages { name, installed: OnceLock::new() }
    }

    /// None, said aloud, where they cannot be installed.
    pub(super) fn find(&'static self, test: &str) -> Option<&'static Python> {
        match self.installed.get_or_init(|| self.install()) {
            Ok(python) => Some(python),
            Err(why) => {
                skip(test, "python3", why);
                None
            }
        }
    }

    fn requirements(&self) -> String {
        format!("{INTEROP}/python/{}.txt", self.name)
    }

    /// Installs them once for all runs of the tests with the same pins.
    fn install(&self) -> Result<Python, String> {
        let version = python(&["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])?;
        let name = format!("{}-python-{}", self.name, version.trim());
        let (venv, packages) = (home().join(format!("venv-{name}")), home().join(format!("packages-{name}")));
        let made = |python: Python| self.is_complete(&python).then_some(python);
        if let Some(python) = made(in_venv(&venv)).or_else(|| made(in_packages(&packages))) {
            return Ok(python);
        }
        fs::create_dir_all(home()).map_err(|e| format!("{}: {e}", home().display()))?;
        match python(&["-m", "venv", "--clear", &path(&venv)]) {
            Ok(_) => {
                self.pip(&in_venv(&venv).program, &[])?;
                Ok(in_venv(&venv))
            }
            Err(no_venv) => {
                self.pip(Path::new("python3"), &["--target", &path(&packages), "--upgrade"])
                    .map_err(|no_pip| format!("{no_venv}\n{no_pip}"))?;
                Ok(in_packages(&packages))
            }
        }
    }

    /// Whether exactly the pinned packages are importable.
    fn is_complete(&self, python: &Python) -> bool {
        const CHECK: &str = "
import sys, importlib.metadata as m
pins = (line.strip().split('==') for line in open(sys.argv[1]) if '==' in line)
sys.exit(any(m.version(name) != version for name, version in pins))
";
        let mut command = Command::new(&python.program);
        command.envs(python.path()).args(["-c", CHECK, &self.requirements()]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn pip(&self, program: &Path, more: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program);
        command
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
                &self.requirements(),
            ])
            .args(more);
        output(command)
    }
}

/// An interpreter with an SDK and, where there is no virtual environment, where its packages are.
#[derive(Debug)]
pub(super) struct Python {
    program: PathBuf,
    packages: Option<PathBuf>,
}

impl Python {
    /// Runs one of the scripts.
    pub(super) fn run(&self, world: &World, script: &str, arguments: &[&str]) -> Finished {
        let mut command = world.command(&self.program);
        command
            .envs(self.path())
            .args(["-W", "ignore::DeprecationWarning", &format!("{INTEROP}/python/{script}")])
            .args(arguments);
        world.finish(command)
    }

    fn path(&self) -> Option<(&'static str, &Path)> {
        self.packages.as_deref().map(|packages| ("PYTHONPATH", packages))
    }
}

fn in_venv(venv: &Path) -> Python {
    Python { program: venv.join("bin/python"), packages: None }
}

fn in_packages(packages: &Path) -> Python {
    Python { program: "python3".into(), packages: Some(packages.to_owned()) }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn python(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("python3");
    command.args(args);
    output(command)
}
