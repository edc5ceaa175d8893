//! A directory to work in, the program run inside it, and a mock that ends with the test.

use serde_json::Value;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// Where the Python witnesses are.
const INTEROP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// Longer than any run in here takes on a slow machine; a program that hangs is killed after it.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a mock may take to say that it is ready.
const READY: Duration = Duration::from_secs(30);

/// Looks at something that is to become so, and the time between them: half a minute on a slow machine.
const LOOKS: u32 = 1_500;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Where a test puts the user's file of settings; the developer's own means nothing in here.
pub(crate) const CONFIG_HOME: &str = "config-home";

/// Held by a test that reads times or fills the processors, so that no two of them disturb each other.
static PROCESSORS: Mutex<()> = Mutex::new(());

/// Waits for other tests that need the processors to themselves.
pub(crate) fn processors() -> MutexGuard<'static, ()> {
    PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks again and again until there is something.
#[track_caller]
pub(crate) fn awaited<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        #[expect(clippy::disallowed_methods, reason = "another process is waited for, which tells nobody")]
        std::thread::sleep(BETWEEN_LOOKS);
    }
    panic!("waited in vain: {what}")
}

/// A directory that one test owns.
pub(crate) struct World {
    dir: TempDir,
    /// What the mock that was started last asks for.
    management_token: RefCell<Option<String>>,
}

impl World {
    pub(crate) fn new() -> Self {
        World {
            dir: tempfile::tempdir().expect("a temporary directory"),
            management_token: RefCell::default(),
        }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap_or_else(|e| panic!("cannot write {name}: {e}"));
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }

    /// Runs the program with the words of `line` as its arguments.
    pub(crate) fn rollcall(&self, line: &str) -> Finished {
        self.finish(self.program(line))
    }

    /// Runs the program from a shell that has run `limits` before, in the way a user's shell would have.
    pub(crate) fn rollcall_under(&self, limits: &str, line: &str) -> Finished {
        let mut command = self.command("sh");
        command.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_rollcall")]);
        command.args(line.split_whitespace());
        self.finish(command)
    }

    pub(crate) fn program(&self, line: &str) -> Command {
        self.program_under("", line)
    }

    /// The program started by another, as in `nice -n 5 rollcall ...`: `before` is what comes before it.
    pub(crate) fn program_under(&self, before: &str, line: &str) -> Command {
        let mut words = before.split_whitespace().chain([env!("CARGO_BIN_EXE_rollcall")]);
        let mut command = self.command(words.next().expect("a program"));
        command.args(words).args(line.split_whitespace());
        command
    }

    /// A command that runs in this directory and knows nothing of the caller's settings.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in [
            "ROLLCALL_ENDPOINT",
            "ROLLCALL_TRUST_ROOT",
            "ROLLCALL_SERVICE_KEY",
            "ROLLCALL_CONNECTION_STRING",
            "ROLLCALL_TOKEN",
            "AZURE_TENANT_ID",
            "AZURE_CLIENT_ID",
            "AZURE_CLIENT_SECRET",
            "AZURE_FEDERATED_TOKEN_FILE",
        ] {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", self.path(CONFIG_HOME));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROLLCALL_SET") {
                command.env_remove(name);
            }
        }
        match &*self.management_token.borrow() {
            Some(token) => command.env("ROLLCALL_MANAGEMENT_TOKEN", token),
            None => command.env_remove("ROLLCALL_MANAGEMENT_TOKEN"),
        };
        command
    }

    /// A script of `tests/interop` that needs Python and nothing else; none, said aloud, where there is no Python.
    pub(crate) fn script(&self, test: &str, name: &str) -> Option<Command> {
        let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
        if !found.as_ref().is_ok_and(std::process::ExitStatus::success) {
            skip(test, "python3", &format!("{found:?}"));
            return None;
        }
        let mut command = self.command("python3");
        command.args(["-B", &format!("{INTEROP}/{name}")]);
        Some(command)
    }

    /// Runs a command to its end and keeps what it said.
    pub(crate) fn finish(&self, command: Command) -> Finished {
        finish_within(command, PATIENCE)
    }

    /// The names of the files in a directory, in order; none if there is no such directory.
    pub(crate) fn files(&self, dir: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(dir)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Runs a command to its end, or kills it.
pub(crate) fn finish_within(command: Command, patience: Duration) -> Finished {
    Running::start(command).finish_within(patience)
}

/// A command that has not ended yet.
pub(crate) struct Running {
    line: String,
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let line = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {line}: {e}"));
        let stdout = drain(child.stdout.take().expect("a pipe"));
        let stderr = drain(child.stderr.take().expect("a pipe"));
        Running { line, child, stdout, stderr }
    }

    /// What Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// What `kill -9` does, and a machine that loses its power.
    pub(crate) fn kill(mut self) -> Finished {
        self.child.kill().expect("killed");
        self.finish()
    }

    pub(crate) fn finish(self) -> Finished {
        self.finish_within(PATIENCE)
    }

    fn finish_within(mut self, patience: Duration) -> Finished {
        let ended = self.stdout.recv_timeout(patience);
        if ended.is_err() {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("the child's status");
        let stderr = self.stderr.recv_timeout(PATIENCE).unwrap_or_default();
        let line = self.line;
        let Ok(stdout) = ended else { panic!("{line}\nstill ran after {patience:?}; it said:\n{stderr}") };
        Finished { line, code: status.code(), stdout, stderr }
    }
}

/// Reads a pipe to its end beside the test, and hands over what came when it closes.
fn drain(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (done, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        let _ = done.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// What a finished command left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    line: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Asserts the exit status, and that whatever happened was foreseen.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit status of {self}");
        assert!(!self.stderr.contains("panicked at"), "{self}");
        self
    }

    /// Standard output as the one JSON document that it is.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON: {e}\n{self}"))
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n-- stdout\n{}\n-- stderr\n{}", self.line, self.stdout, self.stderr)
    }
}

/// `rollcall mock` on ports of its own; ends with the value.
pub(crate) struct Mock<'w> {
    world: &'w World,
    child: Child,
    pub(crate) mqtts: String,
    pub(crate) https: String,
    pub(crate) management: String,
    pub(crate) id_scope: String,
    pub(crate) service_key: String,
    /// The line that said it was ready.
    pub(crate) ready: Value,
    /// File name of the root that signed the server's certificate.
    pub(crate) trust_root: &'static str,
}

impl<'w> Mock<'w> {
    pub(crate) fn start(world: &'w World) -> Self {
        Self::start_with(world, "")
    }

    pub(crate) fn start_with(world: &'w World, more: &str) -> Self {
        Self::start_under(world, "", more)
    }

    /// A mock started by another program, as in `taskset -c 1 rollcall mock ...`.
    pub(crate) fn start_under(world: &'w World, before: &str, more: &str) -> Self {
        let trust_root = "mock-trust-root.pem";
        let talk = world.path("mock.stderr");
        let profile = if more.contains("--profile") { "" } else { "--profile unlimited" };
        let line = format!(
            "mock --listen 127.0.0.1 --mqtts-port 0 --https-port 0 --management-port 0 {profile} \
             --trust-root {trust_root} --json {more}"
        );
        let mut command = world.program_under(before, &line);
        command.stderr(File::create(&talk).expect("a file for the mock's talk"));
        // Each makes up its own.
        command.env_remove("ROLLCALL_MANAGEMENT_TOKEN");
        let mut child = command.spawn().expect("the mock starts");
        let Some(line) = first_line(child.stdout.take().expect("a pipe")) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the mock did not say that it is ready; it said:\n{}", world.read("mock.stderr"));
        };
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("no JSON: {e}\n{line}"));
        let word = |key: &str| {
            ready[key].as_str().unwrap_or_else(|| panic!("no `{key}` in the ready line {line}")).to_owned()
        };
        world.management_token.replace(Some(word("management_token")));
        Mock {
            mqtts: word("mqtts"),
            https: word("https"),
            management: word("management"),
            id_scope: word("id_scope"),
            service_key: word("service_key"),
            ready,
            world,
            child,
            trust_root,
        }
    }

    pub(crate) fn mqtts_port(&self) -> u16 {
        self.mqtts.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port after the colon")
    }

    pub(crate) fn https_port(&self) -> u16 {
        self.https.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port after the colon")
    }

    /// Runs an operator's verb against this mock.
    pub(crate) fn operate(&self, line: &str) -> Finished {
        self.world.finish(self.operation(line))
    }

    /// The program, told by its environment that this mock is the service.
    pub(crate) fn operation(&self, line: &str) -> Command {
        let mut command = self.world.program(line);
        command
            .env("ROLLCALL_ENDPOINT", format!("https://localhost:{}", self.https_port()))
            .env("ROLLCALL_TRUST_ROOT", self.world.path(self.trust_root))
            .env("ROLLCALL_SERVICE_KEY", &self.service_key);
        command
    }

    /// One device, one attempt, with `chain` and `key` as its files.
    pub(crate) fn register(&self, chain: &str, key: &str, more: &str) -> Finished {
        self.world.rollcall(&format!(
            "register --host localhost --port {} --id-scope {} --trust-root {} --cert {chain} --key {key} --json {more}",
            self.mqtts_port(),
            self.id_scope,
            self.trust_root
        ))
    }

    /// Asks the management port with its token: `line` is a method and a path.
    #[track_caller]
    pub(crate) fn manage(&self, line: &str, body: &str) -> Told {
        let token = self.ready["management_token"].as_str().expect("a token in the ready line");
        self.manage_with(&format!("Authorization: Bearer {token}\r\n"), line, body)
    }

    /// The same with headers of the caller's, each with its line end.
    #[track_caller]
    pub(crate) fn manage_with(&self, headers: &str, line: &str, body: &str) -> Told {
        // In HTTP/1.0 an answer is never chunked and ends with its connection.
        let request = format!(
            "{line} HTTP/1.0\r\nHost: {}\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.management,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.management).expect("the management port answers");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.write_all(request.as_bytes()).expect("the request is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|e| panic!("{line}: {e}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Told {
            status: status.unwrap_or_else(|| panic!("{line}: no status in {head}")),
            body: body.to_owned(),
        }
    }

    /// Uploads a CA and proves possession of its key.
    pub(crate) fn prove(&self, name: &str, certificate: &str, key: &str) {
        self.operate(&format!("ca upload {name} --cert {certificate}")).exits(0);
        self.operate(&format!("ca verify {name} --key {key}")).exits(0);
    }

    /// Whether the service holds the CA of this name for verified.
    #[track_caller]
    pub(crate) fn says_verified(&self, name: &str) -> bool {
        let shown = self.operate(&format!("ca show {name} --json")).exits(0).json();
        find(&shown, "isVerified")
            .and_then(Value::as_bool)
            .unwrap_or_else(|| panic!("no `isVerified` in {shown}"))
    }
}

/// What the management port answered.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Told {
    /// The body as JSON, after an assertion that the call did what was asked.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON: {e}\n{}", self.body))
    }
}

impl Drop for Mock<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let talk = fs::read_to_string(self.world.path("mock.stderr")).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "-- the mock said\n{talk}");
        }
    }
}

/// The first line of a pipe, if it comes in time; what follows is read and dropped, so that the writer never blocks.
fn first_line(pipe: impl Read + Send + 'static) -> Option<String> {
    let (send, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    receiver.recv_timeout(READY).ok()
}

/// The value of `key`, however deep.
pub(crate) fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|v| find(v, key))),
        Value::Array(list) => list.iter().find_map(|v| find(v, key)),
        _ => None,
    }
}

/// The object that calls itself `name`, however deep.
pub(crate) fn named<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(map) if map.get("name").and_then(Value::as_str) == Some(name) => Some(value),
        Value::Object(map) => map.values().find_map(|v| named(v, name)),
        Value::Array(list) => list.iter().find_map(|v| named(v, name)),
        _ => None,
    }
}

/// Whether the number occurs, however deep.
pub(crate) fn mentions(value: &Value, number: u64) -> bool {
    match value {
        Value::Object(map) => map.values().any(|v| mentions(v, number)),
        Value::Array(list) => list.iter().any(|v| mentions(v, number)),
        other => other.as_u64() == Some(number),
    }
}

/// What the record of a run says became of its devices.
pub(crate) struct Record(Value);

impl Record {
    /// The record in `dir`.
    #[track_caller]
    pub(crate) fn read(world: &World, dir: &str) -> Self {
        let text = world.read(Path::new(dir).join("run.json"));
        Record(serde_json::from_str(&text).unwrap_or_else(|e| panic!("run.json is no JSON: {e}\n{text}")))
    }

    /// What stands at this place.
    #[track_caller]
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}: {}", self.0))
    }

    #[track_caller]
    pub(crate) fn number(&self, pointer: &str) -> u64 {
        self.at(pointer).as_u64().unwrap_or_else(|| panic!("no number at {pointer}: {}", self.0))
    }

    #[track_caller]
    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).as_array().unwrap_or_else(|| panic!("no list at {pointer}: {}", self.0))
    }

    pub(crate) fn planned(&self) -> u64 {
        self.number("/planned")
    }

    pub(crate) fn assigned(&self) -> u64 {
        self.number("/outcomes/assigned")
    }

    /// Devices that the service turned away: refused, or told that their group is disabled.
    pub(crate) fn turned_away(&self) -> u64 {
        self.number("/outcomes/refused") + self.number("/outcomes/disabled")
    }

    pub(crate) fn reasons(&self) -> &[Value] {
        self.0.pointer("/reasons").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Devices refused with this code of the service.
    pub(crate) fn refused_with(&self, code: u64) -> u64 {
        self.reasons().iter().filter(|r| mentions(&r["code"], code)).filter_map(|r| r["count"].as_u64()).sum()
    }

    /// Asserts that every planned device ended as one outcome, and that the service counted the same.
    #[track_caller]
    pub(crate) fn adds_up(&self) {
        let outcomes = self.0["outcomes"].as_object().expect("outcomes");
        let ended: u64 = outcomes.values().filter_map(Value::as_u64).sum();
        assert_eq!(ended, self.planned(), "outcomes against the plan: {}", self.0["outcomes"]);
        let reconciliation = self.0["reconciliation"].as_array().expect("a reconciliation");
        assert!(!reconciliation.is_empty(), "a run against the mock is reconciled with it");
        for row in reconciliation {
            assert_eq!(row["agrees"], Value::Bool(true), "{row}");
        }
    }
}

/// Says, past the test harness, that a test could not do its work; panics where the tool is required.
pub(crate) fn skip(test: &str, tool: &str, why: &str) {
    #[expect(clippy::disallowed_methods, reason = "the caller says here which tools must be there")]
    let required = std::env::var("ROLLCALL_TESTS_REQUIRE").unwrap_or_default();
    assert!(!required.split_whitespace().any(|name| tool.starts_with(name)), "{test} needs `{tool}`: {why}");
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs `{tool}`: {why}");
}
