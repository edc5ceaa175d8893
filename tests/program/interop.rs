//! The official Python device SDK against the mock: the client that real devices run.

use crate::refusals::minted_under_a_verified_root;
use crate::world::{Finished, Mock, World, find, finish_within, skip};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

const INTEROP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");
const REQUIREMENTS: &str = include_str!("../interop/requirements.txt");

/// Downloads take their time on a slow line.
const INSTALLATION: Duration = Duration::from_secs(300);

#[test]
fn the_official_python_device_sdk_provisions_against_the_mock() {
    let Some(sdk) = Sdk::find("the_official_python_device_sdk_provisions_against_the_mock") else { return };
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);

    let result = sdk.provision(&world, &mock).exits(0).json();
    assert_eq!(result["status"], "assigned", "{result}");
    assert_eq!(result["deviceId"], "dev-00000", "{result}");
    assert!(result["assignedHub"].as_str().is_some_and(|hub| !hub.is_empty()), "{result}");
    let recorded = mock.operate("registration show dev-00000 --json").exits(0).json();
    let hub = find(&recorded, "assignedHub").or(find(&recorded, "assigned_hub"));
    assert_eq!(hub, Some(&result["assignedHub"]), "{recorded}");
}

#[test]
fn the_official_python_device_sdk_raises_when_the_ca_is_unverified() {
    let Some(sdk) = Sdk::find("the_official_python_device_sdk_raises_when_the_ca_is_unverified") else {
        return;
    };
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    mock.operate("ca delete root").exits(0);
    mock.operate("ca upload root --cert ca/root.pem").exits(0);

    let raised = sdk.provision(&world, &mock).exits(3).json();
    let errors = raised["raised"].as_array().expect("the errors");
    assert_eq!(errors[0]["type"], "ClientError", "{raised}");
    let told = |error: &Value| error["text"].as_str().is_some_and(|text| text.contains("401"));
    assert!(errors.iter().any(told), "{raised}");
}

/// An installed SDK: an interpreter and, where there is no virtual environment, where its packages are.
#[derive(Debug)]
struct Sdk {
    python: PathBuf,
    packages: Option<PathBuf>,
}

impl Sdk {
    /// None, said aloud, where it cannot be installed.
    fn find(test: &str) -> Option<&'static Sdk> {
        static SDK: OnceLock<Result<Sdk, String>> = OnceLock::new();
        match SDK.get_or_init(install) {
            Ok(sdk) => Some(sdk),
            Err(why) => {
                skip(test, "python3", why);
                None
            }
        }
    }

    fn provision(&self, world: &World, mock: &Mock<'_>) -> Finished {
        let mut command = world.command(&self.python);
        if let Some(packages) = &self.packages {
            command.env("PYTHONPATH", packages);
        }
        command
            .args(["-W", "ignore::DeprecationWarning", &format!("{INTEROP}/provision.py")])
            .args(["--host", "localhost", "--port", &mock.mqtts_port().to_string()])
            .args(["--id-scope", &mock.id_scope, "--registration-id", "dev-00000"])
            .args(["--cert", "fleet/dev-00000.chain.pem", "--key", "fleet/dev-00000.key.pem"])
            .args(["--trust-root", mock.trust_root]);
        world.finish(command)
    }
}

/// Installs the SDK below `target/interop`, once for all runs of the tests with the same pins.
fn install() -> Result<Sdk, String> {
    let version = python(&["-c", "import sys; print('%d.%d' % sys.version_info[:2])"])?;
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop");
    let name = format!("{}-python-{}", sdk_version(), version.trim());
    let (venv, packages) = (home.join(format!("venv-{name}")), home.join(format!("packages-{name}")));
    let made = |sdk: Sdk| is_complete(&sdk).then_some(sdk);
    if let Some(sdk) = made(in_venv(&venv)).or_else(|| made(in_packages(&packages))) {
        return Ok(sdk);
    }
    fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
    match python(&["-m", "venv", "--clear", &path(&venv)]) {
        Ok(_) => {
            pip(&in_venv(&venv).python, &[])?;
            Ok(in_venv(&venv))
        }
        Err(no_venv) => {
            pip(Path::new("python3"), &["--target", &path(&packages), "--upgrade"])
                .map_err(|no_pip| format!("{no_venv}\n{no_pip}"))?;
            Ok(in_packages(&packages))
        }
    }
}

fn sdk_version() -> &'static str {
    REQUIREMENTS.lines().find_map(|line| line.strip_prefix("azure-iot-device==")).expect("a pinned SDK")
}

fn in_venv(venv: &Path) -> Sdk {
    Sdk { python: venv.join("bin/python"), packages: None }
}

fn in_packages(packages: &Path) -> Sdk {
    Sdk { python: "python3".into(), packages: Some(packages.to_owned()) }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Whether exactly the pinned packages are importable.
fn is_complete(sdk: &Sdk) -> bool {
    const CHECK: &str = "
import sys, importlib.metadata as m, azure.iot.device
pins = (line.strip().split('==') for line in open(sys.argv[1]) if '==' in line)
sys.exit(any(m.version(name) != version for name, version in pins))
";
    let mut command = Command::new(&sdk.python);
    if let Some(packages) = &sdk.packages {
        command.env("PYTHONPATH", packages);
    }
    command.args(["-c", CHECK, &format!("{INTEROP}/requirements.txt")]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn pip(python: &Path, more: &[&str]) -> Result<String, String> {
    let requirements = format!("{INTEROP}/requirements.txt");
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", &requirements])
        .args(more);
    output(command)
}

fn python(args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("python3");
    command.args(args);
    output(command)
}

/// What a command printed, or why it did not come to an end that can be used.
fn output(mut command: Command) -> Result<String, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let found = Command::new(command.get_program()).arg("--version").output();
    found.map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))?;
    let finished = finish_within(command, INSTALLATION);
    if finished.code == Some(0) { Ok(finished.stdout) } else { Err(finished.to_string()) }
}
