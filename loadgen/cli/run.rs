//! `rollcall run`: plays a scenario and writes its record.

use super::output::Output;
use super::secret::{Secret, SecretParser};
use super::{cores, create_dir, is_this_machine, now, read_file, read_trust_roots, server_name, write_file};
use crate::account::{self, Facts};
use crate::engine::{Progress, Run, Stop, play};
use crate::exit::{Exit, Failure};
use crate::plan::{self, Ca, Devices, ShardOf};
use crate::recorder::Recorder;
use crate::stage::{self, Stage};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use reports::{Ended, OutcomeKind, Record, ScenarioText, VerdictKind};
use scenarios::{
    Override, SHIPPED, Scenario, ServiceTarget, Target as ScenarioTarget, Tls, Transport, Verification,
    VerifyServer,
};
use sim_device::{ServerChecks, Target, TlsVersions, Trust, base_config};
use sim_dps::LedgerSnapshot;
use sim_identity::DeviceIdentity;
use sim_protocol::timestamp;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;

/// `rollcall run`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall run smoke
  rollcall run scenario.toml --set fleet.devices=500 --out results

Shipped scenarios: demo, smoke, steady, unverified-ca. A file of that name goes first.")]
pub struct RunArgs {
    /// Scenario file, or the name of a shipped scenario
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// Replace a value of the scenario, for instance fleet.devices=500; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Override>,
    /// Play part i of n; the parts of one seed partition the fleet
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub shard: ShardOf,
    /// Where run.json and run.html go [default: rollcall-results/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Allow a target that is not on this machine
    #[arg(long)]
    pub live: bool,
    /// File with the token of target.service.management; ROLLCALL_MANAGEMENT_TOKEN holds the token itself
    #[arg(long, value_name = "FILE", env = "ROLLCALL_MANAGEMENT_TOKEN", hide_env_values = true, value_parser = SecretParser)]
    pub management_token_file: Option<Secret>,
    /// Print the record as JSON
    #[arg(long)]
    pub json: bool,
}

/// Plays the scenario.
pub async fn run(args: RunArgs, output: Output) -> Result<Exit, Failure> {
    let output = Output { json: args.json, ..output };
    let script = Script::load(&args.scenario, &args.set)?;
    let out = args.out.unwrap_or_else(|| Path::new("rollcall-results").join(slug(&script.scenario.name)));
    let show = Show { output, narrate: &|line| output.talk(line) };
    let token = args.management_token_file.map(|secret| secret.read("management token")).transpose()?;
    let access = Access { live: args.live, management_token: token.flatten() };
    let record = conduct(&script, args.shard, &access, &out, &show).await?;
    match record.to_json() {
        Ok(_) if !output.json => output.line(reports::summary(&record)),
        Ok(_) => output.json(&record),
        Err(error) => return Err(Failure::unexpected(error)),
    }
    output.talk(format_args!("Record: {}", out.join("run.json").display()));
    output.talk(format_args!("Page:   {}", out.join("run.html").display()));
    Ok(exit_of(&record))
}

/// A scenario's name as that of a directory: nothing that means something in a path.
fn slug(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let slug: String = name.chars().map(plain).take(64).collect();
    if slug.trim_matches('-').is_empty() { "unnamed".to_owned() } else { slug }
}

/// The exit status that a record's verdict stands for.
pub fn exit_of(record: &Record) -> Exit {
    let nobody_answered =
        record.planned > 0 && record.outcomes.count(OutcomeKind::Unreachable) == record.planned;
    match record.verdict.kind {
        VerdictKind::GateFailed if nobody_answered => Exit::Unreachable,
        VerdictKind::Good => Exit::Good,
        VerdictKind::GateFailed => Exit::GateFailed,
        VerdictKind::Invalid => Exit::Invalid,
        VerdictKind::Interrupted => Exit::Interrupted,
    }
}

/// A scenario, checked, and where it came from.
#[derive(Debug)]
pub struct Script {
    /// As checked.
    pub scenario: Scenario,
    /// As given.
    pub text: ScenarioText,
    /// What its paths are relative to.
    base: PathBuf,
}

impl Script {
    /// Reads a scenario file, or one of the shipped.
    pub fn load(name: &str, overrides: &[Override]) -> Result<Self, Failure> {
        let path = Path::new(name);
        let shipped =
            SHIPPED.iter().find(|(file, _)| *file == name || file.strip_suffix(".toml") == Some(name));
        let (file, text, base) = match shipped {
            Some((file, text)) if !path.is_file() => ((*file).to_owned(), (*text).to_owned(), PathBuf::new()),
            _ => {
                let known =
                    SHIPPED.iter().map(|(file, _)| file.trim_end_matches(".toml")).collect::<Vec<_>>();
                let bytes = read_file(path, "scenario").map_err(|failure| {
                    failure.advise(format!(
                        "Give the path of a scenario file, or a shipped one: {}.",
                        known.join(", ")
                    ))
                })?;
                let text = String::from_utf8(bytes).map_err(|_| {
                    Failure::usage(format!("cannot read scenario {name}: it is not UTF-8 text"))
                })?;
                (name.to_owned(), text, path.parent().map(Path::to_owned).unwrap_or_default())
            }
        };
        let scenario = Scenario::parse(&file, &text, overrides).map_err(|d| invalid(&file, d))?;
        let text = ScenarioText {
            name: scenario.name.clone(),
            file,
            text,
            overrides: overrides.iter().map(ToString::to_string).collect(),
        };
        Ok(Script { scenario, text, base })
    }
}

fn invalid(file: &str, diagnostics: scenarios::Diagnostics) -> Failure {
    Failure::usage(format!("scenario {file} cannot be used\n{diagnostics}"))
}

/// What a run may do, and with which credential.
#[derive(Debug, Default)]
pub struct Access {
    /// Send to a target that is not on this machine.
    pub live: bool,
    /// Of the mock's management port.
    pub management_token: Option<String>,
}

/// How a run shows itself.
pub struct Show<'a> {
    /// Where words go.
    pub output: Output,
    /// Tells a step of the story.
    pub narrate: &'a (dyn Fn(String) + Sync),
}

/// Devices minted before a run, at most; more are minted as they come due, and that time is told apart.
const MINT_AHEAD: u64 = 200_000;
/// Descriptors a process needs beside its connections.
const SPARE_DESCRIPTORS: u64 = 100;

/// Sets up, plays, and writes `run.json` and `run.html` in `out`.
pub async fn conduct(
    script: &Script,
    shard: ShardOf,
    access: &Access,
    out: &Path,
    show: &Show<'_>,
) -> Result<Record, Failure> {
    let scenario = &script.scenario;
    let descriptors = descriptors(scenario)?;
    let fresh = !out.exists();
    create_dir(out)?;
    let played = play_script(script, shard, access, out, show, descriptors).await;
    if played.is_err() && fresh {
        // Nothing was written: an empty directory would only look like a result.
        let _ = std::fs::remove_dir(out);
    }
    played
}

async fn play_script(
    script: &Script,
    shard: ShardOf,
    access: &Access,
    out: &Path,
    show: &Show<'_>,
    descriptors: (u64, u64),
) -> Result<Record, Failure> {
    let scenario = &script.scenario;
    let moment = now();
    let ca = Ca::prepare(scenario, &script.base, moment)?;
    let devices = plan::devices(scenario, &ca, shard, moment)?;
    let scene = Scene::open(script, &ca, &devices, access, show).await?;
    let planned = shard.share(scenario.fleet.devices);
    let minting = super::instant();
    let minted = mint(&devices, shard, planned.min(MINT_AHEAD), show)?;
    let minting = super::instant() - minting;
    if !minted.is_empty() {
        (show.narrate)(format!("fleet     {} devices ready in {:.2} s", minted.len(), minting.as_secs_f64()));
    }
    let before = scene.ledger().await?;
    let run = Arc::new(Run {
        target: scene.target,
        sample: minted.first().cloned(),
        devices,
        minted,
        load: scenario.load.clone(),
        shard,
        count: planned,
        progress: Arc::new(Progress::default()),
        stop: Stop::default(),
    });
    let started_utc = timestamp::ticks(now());
    let (measured, ended) = perform(&run, scenario.limits.grace, show).await?;
    let mut notes = notes(scenario, &run);
    // Whatever became of the service, what was measured is written.
    let after = Scene::ledger_of(&scene.witness).await;
    let lost = after
        .as_ref()
        .err()
        .map(|failure| format!("the service's ledger could not be read after the run: {failure}"));
    notes.extend(lost.clone());
    let ledger = after.ok().flatten().zip(before).map(|(after, before)| after.since(&before));
    notes.extend(ledger.as_ref().filter(|l| l.faults > 0).map(|l| {
        format!(
            "The mock did {} faults on purpose; {} answers never arrived because of them.",
            l.faults, l.lost_answers
        )
    }));
    let facts = Facts {
        command: std::env::args().collect(),
        started_utc,
        text: script.text.clone(),
        scenario,
        shard,
        planned,
        devices: &run.devices,
        sample: run.sample.as_ref(),
        minting,
        ended,
        admits: scene.admits,
        group: scene.group,
        descriptors,
        notes,
    };
    let mut record = account::record(&facts, &measured, ledger.as_ref())?;
    if let Some(why) = lost {
        record.verdict.kind = VerdictKind::Invalid;
        record.verdict.reasons.insert(0, why);
    }
    write(&record, out)?;
    if let Witness::Embedded(stage) = scene.witness {
        stage.mock.shutdown().await;
    }
    Ok(record)
}

fn notes(scenario: &Scenario, run: &Run) -> Vec<String> {
    let mut notes = vec![
        "Every device made a full TLS handshake with a certificate of its own; no session was resumed.".to_owned(),
        "With TLS 1.3 the service judges the client's certificate after the client's handshake is done: that time shows up in `connect`.".to_owned(),
    ];
    if scenario.device.verify_server == VerifyServer::Once {
        notes.push("The service's certificate chain was verified once a minute, not for every device (device.verify_server = \"once\"); its proof of possession was checked in every handshake.".to_owned());
    }
    if run.count > MINT_AHEAD {
        notes.push(format!(
            "The first {MINT_AHEAD} devices were minted before the run, the others as they came due."
        ));
    }
    notes
}

fn write(record: &Record, out: &Path) -> Result<(), Failure> {
    let json = record.to_json().map_err(Failure::unexpected)?;
    let page = reports::page(record).map_err(Failure::unexpected)?;
    write_file(&out.join("run.json"), json.as_bytes(), false)?;
    write_file(&out.join("run.html"), page.as_bytes(), false)
}

/// Raises the soft limit of descriptors as far as the system allows, for a server that takes whatever comes.
pub(super) fn raise_descriptors() {
    // Where it cannot be raised, the mock serves as many as there are descriptors for.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// Raises the soft limit of descriptors as far as the run needs: (needed, what the process may have now).
fn descriptors(scenario: &Scenario) -> Result<(u64, u64), Failure> {
    let most = (scenario.load.slots() as u64).min(scenario.fleet.devices);
    // With the mock inside, both ends of a connection are this process's.
    let each = if matches!(scenario.target, ScenarioTarget::Mock(_)) { 2 } else { 1 };
    let needed = most * each + SPARE_DESCRIPTORS;
    let limit = rlimit::increase_nofile_limit(needed).map_err(|error| {
        Failure::unexpected(format!("cannot read the limit of file descriptors: {error}"))
    })?;
    if limit >= needed {
        return Ok((needed, limit));
    }
    let fits = limit.saturating_sub(SPARE_DESCRIPTORS) / each;
    let fault =
        format!("too few file descriptors: {most} devices in flight need {needed}, the limit is {limit}");
    Err(Failure::usage(fault).advise(format!(
        "Raise the hard limit and set `ulimit -n {needed}`, or let at most {fits} devices be in flight."
    )))
}

/// Where the devices of a run go, and who can tell what the service saw.
struct Scene {
    target: Target,
    witness: Witness,
    admits: bool,
    group: Option<String>,
}

enum Witness {
    Embedded(Box<Stage>),
    Management(SocketAddr, Option<String>),
    Nobody,
}

impl Scene {
    async fn open(
        script: &Script,
        ca: &Ca,
        devices: &Devices,
        access: &Access,
        show: &Show<'_>,
    ) -> Result<Self, Failure> {
        match &script.scenario.target {
            ScenarioTarget::Mock(mock) => {
                let stage = stage::set(&script.scenario, mock, ca, devices, now(), show.narrate).await?;
                let trust = Trust::Roots(vec![stage.mock.trust_root().to_vec()]);
                let address = match script.scenario.device.transport {
                    Transport::Mqtt => stage.mock.mqtts(),
                    Transport::MqttWs | Transport::Https => stage.mock.https(),
                };
                let host = address.ip().to_string();
                let scope =
                    sim_protocol::IdScope::new(sim_dps::shell::ID_SCOPE).map_err(Failure::unexpected)?;
                Ok(Scene {
                    target: target(&script.scenario, &host, &host, address, scope, &trust)?,
                    admits: mock.verification != Verification::None,
                    group: Some(mock.group.to_string()),
                    witness: Witness::Embedded(Box::new(stage)),
                })
            }
            ScenarioTarget::Service(service) => Scene::at_service(script, service, access).await,
        }
    }

    async fn at_service(script: &Script, service: &ServiceTarget, access: &Access) -> Result<Self, Failure> {
        if !access.live && !is_this_machine(&service.host) {
            let fault = format!("will not send load to {}: it is not on this machine", service.host);
            return Err(
                Failure::usage(fault).advise("Add --live to allow it; mind the quota of the service.")
            );
        }
        let trust = match &service.trust_root {
            Some(path) => Trust::Roots(read_trust_roots(&script.base.join(path))?),
            None => Trust::Public,
        };
        let witness = match &service.management {
            Some(text) => Witness::Management(management(text).await?, access.management_token.clone()),
            None => Witness::Nobody,
        };
        let address = reachable(&service.host, service.port).await?;
        let name = service.server_name.as_deref().unwrap_or(&service.host);
        Ok(Scene {
            target: target(&script.scenario, &service.host, name, address, service.id_scope.clone(), &trust)?,
            witness,
            admits: true,
            group: None,
        })
    }

    async fn ledger(&self) -> Result<Option<LedgerSnapshot>, Failure> {
        Self::ledger_of(&self.witness).await
    }

    async fn ledger_of(witness: &Witness) -> Result<Option<LedgerSnapshot>, Failure> {
        match witness {
            Witness::Embedded(stage) => Ok(Some(stage.mock.ledger())),
            Witness::Management(address, token) => {
                let value = sim_operator::management::ledger(*address, token.as_deref()).await?;
                let read = serde_json::from_value(value);
                read.map(Some)
                    .map_err(|e| Failure::unexpected(format!("cannot read the ledger at {address}: {e}")))
            }
            Witness::Nobody => Ok(None),
        }
    }
}

fn target(
    scenario: &Scenario,
    host: &str,
    name: &str,
    address: SocketAddr,
    id_scope: sim_protocol::IdScope,
    trust: &Trust,
) -> Result<Target, Failure> {
    let versions = match scenario.device.tls {
        Tls::Any => TlsVersions::Any,
        Tls::V12 => TlsVersions::V12,
        Tls::V13 => TlsVersions::V13,
    };
    let checks = match scenario.device.verify_server {
        VerifyServer::Once => ServerChecks::Once,
        VerifyServer::Always => ServerChecks::Always,
    };
    let transport = match scenario.device.transport {
        Transport::Mqtt => sim_device::Transport::Mqtt,
        Transport::MqttWs => sim_device::Transport::MqttWs,
        Transport::Https => sim_device::Transport::Https,
    };
    Ok(Target {
        transport,
        host: host.to_owned(),
        port: address.port(),
        address: Some(address),
        server_name: server_name(name)?,
        id_scope,
        tls: base_config(trust, versions, checks).map_err(Failure::usage)?,
        timeout: scenario.limits.attempt_timeout,
    })
}

/// Where a mock's ledger is. Only this machine's: a mock serves it nowhere else.
async fn management(text: &str) -> Result<SocketAddr, Failure> {
    let found = tokio::net::lookup_host(text).await;
    let local =
        found.ok().and_then(|mut all| all.find(|address| address.ip().is_loopback() && address.is_ipv4()));
    local.ok_or_else(|| {
        Failure::usage(format!("target.service.management `{text}` is not an address of this machine"))
            .advise("Give what `rollcall mock` prints as its management address, or leave it out.")
    })
}

/// The first address of the host that accepts a connection. Looked up once: a fleet does not share one resolver,
/// and this machine's is not what is to be measured.
async fn reachable(host: &str, port: u16) -> Result<SocketAddr, Failure> {
    let unreachable = |why: String| {
        Failure::new(Exit::Unreachable, format!("cannot reach {host}:{port}: {why}"))
            .advise("Check host and port, and that the service is running.")
    };
    let found = tokio::net::lookup_host((host, port)).await.map_err(|e| unreachable(e.to_string()))?;
    let mut last = "the name has no address".to_owned();
    for address in found {
        match tokio::time::timeout(Duration::from_secs(5), TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer within 5 s".to_owned(),
        }
    }
    Err(unreachable(last))
}

/// Mints the first `count` devices of this part, on all cores.
fn mint(
    devices: &Devices,
    shard: ShardOf,
    count: u64,
    show: &Show<'_>,
) -> Result<Vec<DeviceIdentity>, Failure> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let bar = bar(count as u64, "minting", show.output);
    let next = AtomicUsize::new(0);
    const BATCH: usize = 64;
    let work = || {
        let mut made: Vec<(usize, DeviceIdentity)> = Vec::new();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= count {
                return Ok(made);
            }
            for position in first..(first + BATCH).min(count) {
                made.push((position, devices.device(shard.device(position as u64))?));
            }
            bar.inc((first + BATCH).min(count) as u64 - first as u64);
        }
    };
    let parts: Result<Vec<_>, Failure> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        let panicked = || Err(Failure::unexpected("a minting thread panicked"));
        handles.into_iter().map(|h| h.join().unwrap_or_else(|_| panicked())).collect()
    });
    bar.finish_and_clear();
    let mut all: Vec<_> = parts?.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(position, _)| *position);
    Ok(all.into_iter().map(|(_, identity)| identity).collect())
}

fn bar(length: u64, what: &'static str, output: Output) -> ProgressBar {
    if !output.interactive() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg} eta {eta}");
    ProgressBar::new(length)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(what)
}

/// Plays the run while the user watches and may stop it.
async fn perform(run: &Arc<Run>, grace: Duration, show: &Show<'_>) -> Result<(Recorder, Ended), Failure> {
    let played = run.clone();
    let start = super::instant();
    let mut playing = tokio::task::spawn_blocking(move || play(&played, cores()));
    let bar = bar(run.count, "running", show.output);
    let mut ticks = tokio::time::interval(Duration::from_millis(200));
    let mut ended = Ended::Completed;
    let mut give_up = None;
    let recorder = loop {
        let patience = async {
            match give_up {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            joined = &mut playing => break joined,
            _ = ticks.tick() => watch(run, &bar, start),
            () = patience => {
                run.stop.abort.cancel();
                give_up = None;
                ended = Ended::Aborted;
            }
            asked = super::stop_signal() => {
                asked?;
                if run.stop.drain.is_cancelled() {
                    run.stop.abort.cancel();
                    ended = Ended::Aborted;
                } else {
                    run.stop.drain.cancel();
                    ended = Ended::Interrupted;
                    give_up = Some(tokio::time::Instant::from_std(super::instant() + grace));
                    show.output.talk("Stopping: no more arrivals; those in flight may finish. Once more to give up.");
                }
            }
        }
    };
    bar.finish_and_clear();
    let recorder = recorder.map_err(|e| Failure::unexpected(format!("the run ended badly: {e}")))?;
    Ok((recorder, ended))
}

fn watch(run: &Run, bar: &ProgressBar, start: std::time::Instant) {
    let progress = &run.progress;
    let seconds = (super::instant() - start).as_secs_f64().max(0.001);
    let (offered, started) = (Progress::value(&progress.offered), Progress::value(&progress.started));
    let (finished, assigned) = (Progress::value(&progress.finished), Progress::value(&progress.assigned));
    bar.set_position(finished);
    bar.set_message(format!(
        "offered {:.0}/s achieved {:.0}/s in flight {} assigned {assigned} other {}",
        offered as f64 / seconds,
        finished as f64 / seconds,
        started.saturating_sub(finished),
        finished.saturating_sub(assigned),
    ));
}
