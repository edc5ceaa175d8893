//! Sets a run up, plays it while the user watches, and writes its record.

use super::scene::{Scene, Witness};
use super::script::Script;
use super::{Access, Show};
use crate::account::{self, Facts, Measured};
use crate::cli::figures::{counted, span};
use crate::cli::{cores, create_dir, instant, is_this_machine, now, write_file};
use crate::collector::{Collector, Delta, Glance};
use crate::engine::{self, Progress, Run, Stop};
use crate::events;
use crate::exit::Failure;
use crate::forecast::{Forecast, SPARE_DESCRIPTORS};
use crate::gates;
use crate::health::{self, HealthFacts};
use crate::identities::{Identities, Wanted};
use crate::journal::{self, Journal, JournalEnd};
use crate::plan::{self, Ca, ShardOf};
use indicatif::{ProgressBar, ProgressStyle};
use reports::{Comparison, Ended, EventDone, GateResult, Generator, OutcomeKind, Record};
use scenarios::{Scenario, Schedule, VerifyServer};
use sim_device::ConnectFault;
use sim_dps::LedgerSnapshot;
use sim_protocol::timestamp;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};

/// Deltas that may wait for the collector, for each worker.
const DELTAS: usize = 4;

/// Whether a record is on the disk. It is shown before it is asked: what was measured is not to be lost with the disk.
pub type Kept = Result<(), Failure>;

/// Sets up, plays, and writes `run.json` and `run.html` in `out`.
///
/// # Errors
/// When the scenario does not fit its fleet, this machine or its target. That the record cannot be written is told
/// beside it.
pub async fn conduct(
    script: &Script,
    shard: ShardOf,
    access: &Access,
    out: &Path,
    show: &Show<'_>,
) -> Result<(Record, Kept), Failure> {
    let schedule = script.schedule()?;
    let descriptors = descriptors(&script.scenario, &schedule, shard)?;
    let fresh = !out.exists();
    create_dir(out)?;
    put_aside(out, show)?;
    let journal = access.journal.then(|| out.join(JOURNAL));
    let played = play(script, schedule, shard, access, journal.as_deref(), show, descriptors).await;
    match played {
        Ok(record) => {
            let kept = write(&record, out).map_err(unwritten);
            Ok((record, kept))
        }
        Err(failure) => {
            if fresh {
                // Nothing was written: an empty directory would only look like a result.
                let _ = std::fs::remove_file(out.join(JOURNAL));
                let _ = std::fs::remove_dir(out);
            }
            Err(failure)
        }
    }
}

/// What to do when a record is not where it was to be.
pub(super) fn unwritten(failure: Failure) -> Failure {
    failure.advise(
        "Make room or write elsewhere; where there is a journal, `rollcall report DIR` makes the record again, as far \
         as that goes.",
    )
}

/// The name of a run's journal in its directory.
pub const JOURNAL: &str = "run.journal";

/// Keeps what an earlier run left: a journal without a record is all there is of a run that was killed, and a record
/// beside the journal of a later run would be taken for its result.
pub(super) fn put_aside(out: &Path, show: &Show<'_>) -> Result<(), Failure> {
    let moved = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(|error| {
            Failure::unexpected(format!("cannot rename {} to {}: {error}", from.display(), to.display()))
        })
    };
    let (record, journal) = (out.join("run.json"), out.join(JOURNAL));
    if journal.exists() && !record.exists() {
        let free = (1..).map(|n| out.join(format!("killed-{n}.journal"))).find(|path| !path.exists());
        if let Some(free) = free {
            moved(&journal, &free)?;
            show.output.talk(format_args!(
                "An earlier run into {} was killed; its outcomes are kept in {}.",
                out.display(),
                free.display()
            ));
        }
    }
    for name in ["run.json", "run.html", "comparison.json", JOURNAL] {
        let (from, to) = (out.join(name), out.join(format!("previous-{name}")));
        if from.exists() {
            moved(&from, &to)?;
        }
    }
    Ok(())
}

/// Sets up and plays, and makes the record.
///
/// # Errors
/// See [`conduct`]. Nothing but the journal is written.
pub(super) async fn play(
    script: &Script,
    schedule: Schedule,
    shard: ShardOf,
    access: &Access,
    journal: Option<&Path>,
    show: &Show<'_>,
    descriptors: (u64, u64),
) -> Result<Record, Failure> {
    let scenario = &script.scenario;
    let SetUp { devices, scene, identities, minting, workers } =
        set_up(script, &schedule, shard, access, show).await?;
    let before = scene.ledger().await?;
    let started = start_moment(access.start_at, show).await?;
    let planned = shard.arrivals(schedule.planned(), scenario.fleet.devices);
    let header = journal::Header {
        command: std::env::args().collect(),
        started_utc: timestamp::ticks(started),
        scenario: script.text.clone(),
        settings: script.settings.clone(),
        base: script.base.clone(),
        shard: (shard.index, shard.count),
        planned,
        minting_seconds: minting.as_secs_f64(),
        descriptors,
        source_addresses: access.sources.as_ref().map_or(0, |sources| sources.count() as u64),
        admits: scene.admits,
        group: scene.group.clone(),
        ..journal::Header::default()
    };
    let run = Arc::new(Run {
        scenario: scenario.clone(),
        targets: scene.targets.clone(),
        devices,
        identities,
        schedule,
        shard,
        count: planned,
        admits: scene.admits,
        journal: journal.map(|path| Journal::create(path, &header)).transpose()?,
        progress: Progress::default(),
        stop: Stop::default(),
        started: watch::Sender::new(None),
    });
    let performed = perform(&run, workers, &scene, show).await?;
    let step = clock_step(&performed);
    let run = Arc::into_inner(run).ok_or_else(|| Failure::unexpected("a worker outlived the run"))?;
    let seen = Seen::of(&scene, before, shard).await;
    let mut record =
        Played { script, scene: &scene, workers, header, run, performed, minting, step, seen }.account()?;
    if let Witness::Embedded(stage) = scene.witness {
        record.setup.clone_from(&stage.setup);
        let mock = stage.mock.instance();
        record.held_answers = account::by_the_mock("held answers", &mock.held_answers())?;
        record.held_conversations = account::by_the_mock("held conversations", &mock.held_conversations())?;
        stage.mock.shutdown().await;
    }
    Ok(record)
}

/// What is there before the first device comes.
struct SetUp {
    devices: Arc<plan::Devices>,
    scene: Scene,
    identities: Identities,
    /// How long minting took.
    minting: Duration,
    /// Threads that make the load.
    workers: usize,
}

async fn set_up(
    script: &Script,
    schedule: &Schedule,
    shard: ShardOf,
    access: &Access,
    show: &Show<'_>,
) -> Result<SetUp, Failure> {
    let (scenario, moment) = (&script.scenario, now());
    let ca = Ca::prepare(scenario, &script.base, moment)?;
    let devices = Arc::new(plan::devices(scenario, &ca, shard, moment)?);
    let scene = Scene::open(script, &ca, &devices, access, show.narrate).await?;
    refuse_misfits(&scene, access)?;
    let planned = shard.arrivals(schedule.planned(), scenario.fleet.devices);
    let workers = engine::workers(planned, schedule.most_slots(), cores());
    let wanted = Wanted { shard, devices: scenario.fleet.devices, arrivals: schedule.planned(), workers };
    let (identities, minting) = mint(&devices, wanted, show)?;
    Ok(SetUp { devices, scene, identities, minting, workers })
}

/// What the service says that it saw of this run.
struct Seen {
    ledger: Option<LedgerSnapshot>,
    /// Why it could not be asked after the run.
    lost: Option<String>,
    /// What a reader should know of it.
    notes: Vec<String>,
}

impl Seen {
    async fn of(scene: &Scene, before: Option<LedgerSnapshot>, shard: ShardOf) -> Self {
        // Whatever became of the service, what was measured is written.
        let (after, lost) = match Scene::ledger_of(&scene.witness).await {
            Ok(after) => (after, None),
            Err(failure) => {
                (None, Some(format!("the service's ledger could not be read after the run: {failure}")))
            }
        };
        let mut notes: Vec<String> = lost.iter().cloned().collect();
        let others = shard.count > 1 && !matches!(scene.witness, Witness::Embedded(_));
        if others {
            notes.push("The service's ledger is left out: it counts what other shards did, too.".to_owned());
        }
        let ledger = after.zip(before).map(|(after, before)| after.since(&before)).filter(|_| !others);
        notes.extend(ledger.as_ref().filter(|l| l.faults > 0).map(|l| {
            format!(
                "The mock did {} faults on purpose; {} answers never arrived because of them.",
                l.faults, l.lost_answers
            )
        }));
        Seen { ledger, lost, notes }
    }
}

/// A run that is over, and has yet to be accounted for.
struct Played<'a> {
    script: &'a Script,
    scene: &'a Scene,
    workers: usize,
    header: journal::Header,
    run: Run,
    performed: Performed,
    /// Before the run.
    minting: Duration,
    /// By how many milliseconds the clock was set meanwhile.
    step: i64,
    seen: Seen,
}

impl Played<'_> {
    fn account(mut self) -> Result<Record, Failure> {
        let scenario = &self.script.scenario;
        let kept = self.run.journal.take().map(Journal::finish);
        let mut notes = notes(scenario, &self.run.identities, self.header.planned);
        notes.extend(kept.as_ref().and_then(journal_note));
        notes.append(&mut self.seen.notes);
        let kept = kept.unwrap_or_default();
        let (total, seconds, samples) = &self.performed.collected;
        let health = health::judge(&self.health_facts(&kept), total, samples);
        let generator = self.generator(&kept);
        let facts = Facts {
            command: self.header.command,
            started_utc: self.header.started_utc,
            text: self.script.text.clone(),
            scenario,
            settings: &self.script.settings,
            schedule: &self.run.schedule,
            shard: self.run.shard,
            planned: self.header.planned,
            devices: &self.run.devices,
            sample: self.run.identities.sample(),
            minting: self.minting + self.run.identities.meanwhile(),
            ended: self.performed.ended,
            admits: self.scene.admits,
            group: self.scene.group.clone(),
            embedded: matches!(self.scene.witness, Witness::Embedded(_)),
            events: self.performed.events,
            most_held: Progress::value(&self.run.progress.most_held),
            notes,
            generator,
        };
        let measured =
            Measured { total, seconds: seconds.clone(), health, ledger: self.seen.ledger.as_ref() };
        let mut record = account::record(&facts, &measured)?;
        if let Some((gate, at)) = &self.performed.aborted_by {
            account::ended_by(&mut record, scenario, gate, *at);
        }
        if let Some(why) = self.seen.lost {
            account::without_ledger(&mut record, why);
        }
        Ok(record)
    }

    /// What the verdict on the generator needs to know besides the times.
    fn health_facts<'k>(&self, kept: &'k JournalEnd) -> HealthFacts<'k> {
        let (scenario, total) = (&self.script.scenario, &self.performed.collected.0);
        HealthFacts {
            open: scenario.load.is_open(),
            embedded: matches!(self.scene.witness, Witness::Embedded(_)),
            local: match &scenario.target {
                scenarios::Target::Mock(_) => true,
                scenarios::Target::Service(service) => is_this_machine(&service.host),
            },
            lateness: scenario.limits.lateness,
            burst: self.run.schedule.largest_burst().div_ceil(self.run.shard.count.max(1)),
            journal_lost: kept.lost,
            journal_fault: kept.fault.as_deref(),
            clock_step_ms: self.step,
            workers: self.workers,
            no_port: faults(total, ConnectFault::NoSourcePort),
            no_descriptor: faults(total, ConnectFault::NoDescriptor),
            descriptors: self.header.descriptors,
            source_addresses: self.header.source_addresses,
        }
    }

    /// What the generator needed.
    fn generator(&self, kept: &JournalEnd) -> Generator {
        let (total, _, samples) = &self.performed.collected;
        let cpu: Duration = samples.iter().map(|sample| sample.times.cpu).sum();
        Generator {
            cpu_seconds_client: Some(cpu.as_secs_f64()),
            workers: self.workers as u64,
            waited_for_slot: total.waited,
            waited_for_slot_max_us: u64::try_from(total.waited_longest.as_micros()).unwrap_or(u64::MAX),
            peak_memory_bytes: health::peak_memory(),
            source_addresses: self.header.source_addresses,
            journal_lost: kept.lost,
            clock_step_ms: self.step,
            descriptors_needed: self.header.descriptors.0,
            descriptors_limit: self.header.descriptors.1,
            ..Generator::default()
        }
    }
}

/// The record of a run of which only the journal is left.
///
/// # Errors
/// When what its scenario names is not there any more.
pub fn rebuild(replayed: journal::Replayed) -> Result<Record, Failure> {
    let journal::Replayed { header, mut recorder, complete, lost, truncated } = replayed;
    let script = Script::again(&header.scenario, header.base.clone())?;
    // A journal of an earlier program has none.
    let settings = if header.settings.is_empty() { &script.settings } else { &header.settings };
    let (scenario, schedule, moment) = (&script.scenario, script.schedule()?, now());
    let shard = ShardOf { index: header.shard.0, count: header.shard.1.max(1) };
    let ca = Ca::prepare(scenario, &script.base, moment)?;
    let devices = plan::devices(scenario, &ca, shard, moment)?;
    let missing = header.planned.saturating_sub(recorder.outcomes.total());
    let stopped = recorder.outcomes.interrupted > 0;
    recorder.end_unheard(missing, journal::NOT_IN_IT);
    let held = &mut recorder.held;
    let unheard = held.devices.saturating_sub(held.kept + held.dropped + held.released);
    held.released += unheard;
    let mut notes = vec![format!("Made from the journal, which has {} outcomes.", header.planned - missing)];
    notes.extend((missing > 0).then(|| {
        format!(
            "The journal ends before the run did: {missing} outcomes are not in it; {}.",
            if complete {
                "the run went on without it"
            } else {
                "those arrivals were in flight, or had not come, or had no room"
            }
        )
    }));
    notes.extend((unheard > 0).then(|| {
        format!(
            "How {unheard} connections were held to the end is not in the journal; they count as told to leave."
        )
    }));
    notes.extend(truncated.map(|why| format!("The journal is damaged: {why}.")));
    let ended = match (complete, stopped) {
        (true, false) => Ended::Completed,
        (true, true) => Ended::Interrupted,
        (false, _) => Ended::Aborted,
    };
    let facts = Facts {
        command: header.command,
        started_utc: header.started_utc,
        text: header.scenario,
        scenario,
        settings,
        schedule: &schedule,
        shard,
        planned: header.planned,
        devices: &devices,
        sample: None,
        minting: Duration::try_from_secs_f64(header.minting_seconds).unwrap_or_default(),
        ended,
        admits: header.admits,
        group: header.group,
        embedded: false,
        events: Vec::new(),
        most_held: 0,
        notes,
        generator: Generator {
            journal_lost: lost,
            descriptors_needed: header.descriptors.0,
            descriptors_limit: header.descriptors.1,
            source_addresses: header.source_addresses,
            ..Generator::default()
        },
    };
    let measured = Measured {
        seconds: recorder.series(),
        total: &recorder,
        health: health::Health::default(),
        ledger: None,
    };
    account::record(&facts, &measured)
}

/// Source addresses of another family than the target's would never be used.
fn refuse_misfits(scene: &Scene, access: &Access) -> Result<(), Failure> {
    let destinations = scene.targets.iter().filter_map(|target| target.address);
    for destination in destinations {
        let misfit = access.sources.as_ref().and_then(|sources| sources.misfit(destination));
        if let Some(misfit) = misfit {
            let fault = format!("cannot connect from {misfit} to {destination}: one is IPv4, the other IPv6");
            return Err(Failure::usage(fault).advise("Name source addresses of the target's family alone."));
        }
    }
    Ok(())
}

/// How many devices this machine, rather than the service, is to blame for.
fn faults(total: &crate::recorder::Recorder, fault: ConnectFault) -> u64 {
    let of = |key: &crate::recorder::ReasonKey| {
        key.outcome == OutcomeKind::Unreachable && key.message == fault.as_str()
    };
    total.reasons.iter().filter(|(key, _)| of(key)).map(|(_, (count, _))| count).sum()
}

fn journal_note(kept: &JournalEnd) -> Option<String> {
    let fault = kept.fault.as_ref()?;
    Some(format!("The journal lacks {} outcomes, which the record has: {fault}.", kept.lost))
}

/// Makes what is to be ready before the first device comes.
fn mint(
    devices: &Arc<plan::Devices>,
    wanted: Wanted,
    show: &Show<'_>,
) -> Result<(Identities, Duration), Failure> {
    let begun = instant();
    let bar = bar(wanted.shard.share(wanted.devices).min(crate::identities::AHEAD), show);
    let made = Identities::prepare(devices, wanted, &|more| bar.inc(more));
    bar.finish_and_clear();
    let (made, took) = (made?, instant() - begun);
    (show.narrate)(format!("fleet     {} devices ready in {:.2} s", made.ready(), took.as_secs_f64()));
    Ok((made, took))
}

fn bar(length: u64, show: &Show<'_>) -> ProgressBar {
    if !show.output.interactive() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} eta {eta}");
    ProgressBar::new(length)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix("minting")
}

/// Waits for the common start of several shards, and tells when the run starts.
async fn start_moment(at: Option<OffsetDateTime>, show: &Show<'_>) -> Result<OffsetDateTime, Failure> {
    let Some(at) = at else { return Ok(now()) };
    let wait = super::still_ahead(at, now())?;
    show.output.talk(format_args!("Waiting {} for the common start.", span(wait)));
    tokio::time::sleep(wait).await;
    Ok(at)
}

/// How far the wall clock moved against the monotonic one, in milliseconds.
fn clock_step(performed: &Performed) -> i64 {
    let walls = now() - performed.since.0;
    let ticks = performed.since.1.elapsed();
    i64::try_from(walls.whole_milliseconds() - ticks.as_millis() as i128).unwrap_or(i64::MAX)
}

fn notes(scenario: &Scenario, identities: &Identities, planned: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if scenario.device.resumption == scenarios::Resumption::Off {
        notes.push(
            "Every device made a full TLS handshake with a certificate of its own; no session was resumed."
                .to_owned(),
        );
    }
    notes.push("With TLS 1.3 the service judges the client's certificate after the client's handshake is done: that time shows up in `connect`.".to_owned());
    if scenario.device.verify_server == VerifyServer::Once {
        notes.push("The service's certificate chain was verified once a minute, not for every device (device.verify_server = \"once\"); its proof of possession was checked in every handshake.".to_owned());
    }
    let ready = identities.ready();
    if identities.sample().is_none() && planned > ready {
        notes.push(format!(
            "The first {ready} devices were minted before the run; the others by threads of their own, ahead of need, which took {:.1} s of processor time.",
            identities.meanwhile().as_secs_f64()
        ));
    }
    notes
}

/// Writes `run.json` and `run.html`.
///
/// # Errors
/// When one cannot be written: the failure says which of them are missing.
pub(crate) fn write(record: &Record, out: &Path) -> Result<(), Failure> {
    let json = record.to_json().map_err(Failure::unexpected)?;
    let without = |missing: &str, failure: Failure| Failure {
        message: format!("{}; {missing}", failure.message),
        ..failure
    };
    write_file(&out.join("run.json"), json.as_bytes(), false)
        .map_err(|failure| without("neither the record nor its page was written", failure))?;
    write_page(record, out).map_err(|failure| without("the record was written, its page was not", failure))
}

/// Writes `run.html`.
pub(crate) fn write_page(record: &Record, out: &Path) -> Result<(), Failure> {
    write_page_with(record, None, out)
}

/// Writes `run.html`, beside the comparison with a baseline.
pub(crate) fn write_page_with(
    record: &Record,
    comparison: Option<&Comparison>,
    out: &Path,
) -> Result<(), Failure> {
    let page = reports::page_with(record, comparison).map_err(Failure::unexpected)?;
    write_file(&out.join("run.html"), page.as_bytes(), false)
}

/// Raises the soft limit of descriptors as far as the system allows, for a server that takes whatever comes.
pub(crate) fn raise_descriptors() {
    // Where it cannot be raised, the mock serves as many as there are descriptors for.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
}

/// Raises the soft limit of descriptors as far as the run needs: (needed, what the process may have now).
pub(super) fn descriptors(
    scenario: &Scenario,
    schedule: &Schedule,
    shard: ShardOf,
) -> Result<(u64, u64), Failure> {
    let Forecast { connections: most, descriptors_needed: needed, in_flight, .. } =
        Forecast::of(scenario, schedule, shard);
    // With the mock inside, both ends of a connection are this process's.
    let each = if matches!(scenario.target, scenarios::Target::Mock(_)) { 2 } else { 1 };
    let limit = rlimit::increase_nofile_limit(needed).map_err(|error| {
        Failure::unexpected(format!("cannot read the limit of file descriptors: {error}"))
    })?;
    if limit >= needed {
        return Ok((needed, limit));
    }
    let fits = limit.saturating_sub(SPARE_DESCRIPTORS) / each;
    let fault = format!(
        "too few file descriptors: {} connected at a time need {needed}, the limit is {limit}",
        counted(most, "device")
    );
    // Devices that only come in and go would fit: those that stay are too many.
    let less = match scenario.device.hold {
        Some(_) if in_flight <= fits => {
            "shorten `device.hold`, let fewer come within that time, or have fewer `fleet.devices`"
        }
        _ => "allow fewer in flight",
    };
    Err(Failure::usage(fault).advise(format!(
        "Raise the hard limit and set `ulimit -n {needed}`, or let at most {} be connected at a time: {less}.",
        counted(fits, "device")
    )))
}

/// What playing a run brought.
struct Performed {
    collected: (crate::recorder::Recorder, Vec<reports::Second>, Vec<health::Sample>),
    ended: Ended,
    events: Vec<EventDone>,
    /// The gate that ended the run, and when.
    aborted_by: Option<(String, Duration)>,
    /// When it began, by the wall clock and by the monotonic one.
    since: (OffsetDateTime, Instant),
}

/// How often people are shown how it goes.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// Plays the run while the user watches and may stop it.
async fn perform(
    run: &Arc<Run>,
    workers: usize,
    scene: &Scene,
    show: &Show<'_>,
) -> Result<Performed, Failure> {
    let since = (now(), instant());
    let (out, mut deltas) = mpsc::channel::<Delta>(workers * DELTAS);
    let played = run.clone();
    if let (Witness::Embedded(stage), scenarios::Target::Mock(mock)) = (&scene.witness, &run.scenario.target)
    {
        stage.begin_faults(mock, now());
    }
    let playing = tokio::task::spawn_blocking(move || engine::play(&played, workers, &out));
    let start = run.started.subscribe().wait_for(Option::is_some).await.ok().and_then(|start| *start);
    let start = start.ok_or_else(|| Failure::unexpected("the run did not start"))?;
    let mut watch = Watch::new(run, start, workers);
    let mut happening = std::pin::pin!(happen(run, scene, start, show));
    let mut happened = None;
    let mut ticks = tokio::time::interval(SHOW_EVERY);
    loop {
        let patience = async {
            match watch.give_up {
                Some(moment) => tokio::time::sleep_until(moment.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            delta = deltas.recv() => match delta {
                Some(delta) => watch.take(&delta),
                None => break,
            },
            _ = ticks.tick() => {
                watch.tell_of_journal(show);
                watch.show(show);
            }
            () = patience => watch.abort(),
            done = &mut happening, if happened.is_none() => happened = Some(done),
            asked = crate::cli::stop_signal() => {
                asked?;
                watch.stop(show);
            }
        }
    }
    playing.await.map_err(|e| Failure::unexpected(format!("the run ended badly: {e}")))?;
    watch.show(show);
    show.live.lock().unwrap_or_else(PoisonError::into_inner).end();
    // Nothing more is to happen, and what did is wanted.
    run.stop.drain.cancel();
    let events = match happened {
        Some(done) => done,
        None => happening.await,
    };
    watch.tell_of_journal(show);
    let Watch { collector, ended, aborted_by, .. } = watch;
    Ok(Performed { collected: collector.finish(), ended, events, aborted_by, since })
}

/// What the operator does meanwhile; only an embedded mock is the run's to change.
async fn happen(run: &Run, scene: &Scene, start: Instant, show: &Show<'_>) -> Vec<EventDone> {
    let Witness::Embedded(stage) = &scene.witness else { return Vec::new() };
    let tell = |line: String| {
        show.live.lock().unwrap_or_else(PoisonError::into_inner).say(show.output, &line);
    };
    let done = events::play(&run.scenario.events, stage, start, &run.stop.drain, &tell).await;
    let told = |done: events::Done| EventDone {
        at_seconds: done.at.as_secs_f64(),
        what: done.what,
        failed: done.failed,
    };
    done.into_iter().map(told).collect()
}

/// What gates hold to, after so much time.
fn so_far<'a>(run: &'a Run, collector: &'a Collector, elapsed: Duration) -> gates::Running<'a> {
    gates::Running { recorder: &collector.total, planned: run.count, wall: elapsed, scenario: &run.scenario }
}

/// A run as it is watched.
struct Watch<'a> {
    run: &'a Run,
    start: Instant,
    collector: Collector,
    gates: Vec<GateResult>,
    ended: Ended,
    aborted_by: Option<(String, Duration)>,
    /// When those in flight are given up.
    give_up: Option<Instant>,
    /// Whether it was said that the journal stopped.
    told_of_journal: bool,
}

impl<'a> Watch<'a> {
    fn new(run: &'a Run, start: Instant, workers: usize) -> Self {
        let collector = Collector::new(start, workers);
        Watch {
            run,
            start,
            // Before anything is measured too: who watches sees the same gates at every moment.
            gates: gates::results(&run.scenario.gates, &so_far(run, &collector, Duration::ZERO)),
            collector,
            ended: Ended::Completed,
            aborted_by: None,
            give_up: None,
            told_of_journal: false,
        }
    }

    /// Says once that the journal stopped, when it has.
    fn tell_of_journal(&mut self, show: &Show<'_>) {
        let fault = self.run.journal.as_ref().and_then(Journal::fault);
        let Some(fault) = fault.filter(|_| !self.told_of_journal) else { return };
        self.told_of_journal = true;
        let text = format!("the journal takes nothing more: {fault}; the run goes on");
        if show.output.interactive() {
            let live = show.live.lock().unwrap_or_else(PoisonError::into_inner);
            live.say(show.output, &format!("warning: {text}"));
        } else {
            show.output.warn(text);
        }
    }

    fn take(&mut self, delta: &Delta) {
        let complete = self.collector.take(delta);
        let all = &self.run.scenario.gates;
        // What some workers have not handed over yet would look like something that did not happen.
        let Some(second) = complete.filter(|_| !all.is_empty()) else { return };
        let elapsed = Duration::from_secs(second + 1);
        self.gates = gates::results(all, &so_far(self.run, &self.collector, elapsed));
        let failed = gates::to_abort(all, &self.gates, elapsed);
        if let Some(failed) =
            failed.filter(|_| self.aborted_by.is_none() && !self.run.stop.drain.is_cancelled())
        {
            self.aborted_by = Some((self.gates[failed].gate.clone(), elapsed));
            self.ended = Ended::EndedByGate;
            self.drain();
        }
    }

    fn drain(&mut self) {
        self.run.stop.drain.cancel();
        self.give_up = Some(instant() + self.run.scenario.limits.grace);
    }

    fn stop(&mut self, show: &Show<'_>) {
        if self.run.stop.drain.is_cancelled() {
            return self.abort();
        }
        self.ended = Ended::Interrupted;
        self.drain();
        let live = show.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.say(
            show.output,
            "Stopping: no more arrivals; those in flight may finish. Once more to give up.",
        );
    }

    fn abort(&mut self) {
        self.run.stop.abort.cancel();
        self.give_up = None;
        if self.ended != Ended::EndedByGate {
            self.ended = Ended::Aborted;
        }
    }

    fn show(&self, show: &Show<'_>) {
        let elapsed = self.start.elapsed();
        let (cpu_share, starved_share) = self.collector.busy();
        let glance = Glance {
            elapsed,
            planned: self.run.count,
            planned_rate: self.run.schedule.rate(elapsed) / self.run.shard.count as f64,
            total: &self.collector.total,
            last: self.collector.last(),
            in_flight: self.run.progress.in_flight(),
            held: Progress::value(&self.run.progress.held),
            cpu_share,
            starved_share,
            gates: &self.gates,
        };
        show.live.lock().unwrap_or_else(PoisonError::into_inner).show(&glance);
        (show.watchers)(&glance);
    }
}
