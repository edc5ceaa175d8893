//! Plays a schedule: one loop for any load, one single-threaded runtime and one recorder for each core.
//!
//! Arrivals come from the schedule and never from answers. A worker owns its attempts in a `JoinSet`; nothing it
//! starts outlives it. What it measured it hands over about once a second, whole.

use crate::collector::Delta;
use crate::exit::Failure;
use crate::health::ThreadMeter;
use crate::identities::Identities;
use crate::journal;
use crate::pacer::Pacer;
use crate::plan::{Devices, Fate, ShardOf};
use crate::recorder::{Ending, Recorder, is_success, kind};
use reports::OutcomeKind;
use scenarios::{Hold, Scenario, Schedule, WhenFull};
use sim_device::{Attempt, Connection, Device, Held, Outcome, Phase, Session, Tally, Target, arrive};
use sim_identity::DeviceIdentity;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// Counts for people who watch; the recorders hold the truth.
#[derive(Debug, Default)]
pub struct Progress {
    /// Attempts started.
    pub started: AtomicU64,
    /// Attempts ended.
    pub finished: AtomicU64,
    /// Devices that stay connected.
    pub held: AtomicU64,
    /// The most devices that stayed connected at a time.
    pub most_held: AtomicU64,
}

impl Progress {
    /// One counter's value.
    pub fn value(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u64 {
        Self::value(&self.started).saturating_sub(Self::value(&self.finished))
    }

    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn hold(&self) {
        let held = self.held.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_held.fetch_max(held, Ordering::Relaxed);
    }

    fn release(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a run is told to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No more arrivals; attempts in flight may finish, devices that stay connected leave.
    pub drain: CancellationToken,
    /// Give up what is in flight, too.
    pub abort: CancellationToken,
}

/// Everything a worker needs; shared by all.
#[derive(Debug)]
pub struct Run {
    /// What is played.
    pub scenario: Scenario,
    /// Where devices go and how they talk: as `[device]` says, then each kind of the mix.
    pub targets: Vec<Target>,
    /// Who they are.
    pub devices: Arc<Devices>,
    /// Their certificates and keys, made ahead of need.
    pub identities: Identities,
    /// When they come.
    pub schedule: Schedule,
    /// Which part of the fleet this process plays.
    pub shard: ShardOf,
    /// How many arrivals this process plays.
    pub count: u64,
    /// Whether good devices are meant to be let in.
    pub admits: bool,
    /// Keeps every outcome as it comes, if wanted.
    pub journal: Option<journal::Journal>,
    /// For people who watch.
    pub progress: Progress,
    /// How to stop.
    pub stop: Stop,
    /// When the first arrival could be due; set once every worker is ready.
    pub started: watch::Sender<Option<Instant>>,
}

impl Run {
    /// How device `index` talks, and where to.
    fn target(&self, index: u64) -> &Target {
        let kind = if self.targets.len() == 1 { None } else { self.scenario.kind(index) };
        self.targets.get(kind.map_or(0, |kind| kind + 1)).unwrap_or(&self.targets[0])
    }
}

/// Whether a device ended as it was meant to; how a refusal is worded does not matter here.
pub fn is_meant(fate: Fate, outcome: OutcomeKind) -> bool {
    use OutcomeKind::{Assigned, Connected, Disabled, Failed, Refused};
    match fate {
        Fate::Assigned => outcome == Assigned,
        Fate::Connected => outcome == Connected,
        Fate::Disabled => outcome == Disabled,
        Fate::Refused => outcome == Refused,
        // A hub that is gone ends a registration as failed.
        Fate::Open => matches!(outcome, Assigned | Refused | Disabled | Failed),
    }
}

/// How many workers a run of so many arrivals has: no more than `cores`, and none without a slot or an arrival of its
/// own.
pub fn workers(count: u64, slots: usize, cores: usize) -> usize {
    let most = usize::try_from(count).unwrap_or(usize::MAX).min(slots);
    cores.clamp(1, most.max(1))
}

/// Plays the run on `workers` threads and hands over what they measure. Blocks.
///
/// Each thread makes one throw-away handshake's worth of cryptography first: the provider gathers entropy at its
/// first use in a thread, which takes longer than a whole attempt and belongs to no device.
pub fn play(run: &Arc<Run>, workers: usize, out: &mpsc::Sender<Delta>) {
    let (ready, started) = (Barrier::new(workers), OnceLock::new());
    let work = |worker| {
        for target in &run.targets {
            sim_device::warm_up(&target.tls);
        }
        ready.wait();
        let start = *started.get_or_init(sim_device::now);
        run.started.send_if_modified(|known| known.replace(start).is_none());
        let mut worker =
            Worker::new(run.clone(), ShardOf { index: worker as u64, count: workers as u64 }, start, out);
        worker.run();
        worker.hand_over_the_rest();
    };
    let work = &work;
    std::thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || work(worker));
        }
    });
}

/// How many arrivals are started before attempts that are under way get a turn.
const BURST: u32 = 32;
/// How often outcomes are handed to the journal.
const JOURNAL_EVERY: Duration = Duration::from_millis(200);

/// One worker's part.
struct Worker<'a> {
    run: Arc<Run>,
    start: Instant,
    /// This worker among the workers of the process.
    me: ShardOf,
    /// This worker as a part of the whole fleet.
    part: ShardOf,
    /// Positions of this worker that were not handed out yet.
    next: u64,
    last: u64,
    attempts: JoinSet<Ended>,
    held: JoinSet<(u64, Held)>,
    /// Arrivals whose attempts run, with when they were due and started: one that is given up still has a name.
    in_flight: HashMap<u64, (Instant, Instant)>,
    /// Devices that are busy, where devices come more than once.
    busy: HashSet<u64>,
    /// Arrivals of devices that were busy with their turn before when they were due, by device.
    postponed: HashMap<u64, VecDeque<Waiting>>,
    /// Such arrivals whose device is free again.
    released: VecDeque<Waiting>,
    /// Retries of attempts that run, and of those that ended since the last second.
    tally: Arc<Tally>,
    /// What devices keep of their TLS sessions, where they resume them.
    sessions: HashMap<u64, Arc<Session>>,
    /// When a slot was freed last while all were taken: nobody who was due before could have been started before.
    freed: Instant,
    /// Positions whose arrivals have come due.
    offered: u64,
    recorder: Recorder,
    journal: Option<journal::Writer>,
    meter: ThreadMeter,
    pacer: Pacer,
    out: &'a mpsc::Sender<Delta>,
    /// The second that the recorder is about.
    second: u64,
    lapped: Instant,
    journal_due: Instant,
}

/// An attempt that came to an end, and what has to be known of it.
struct Ended {
    arrival: u64,
    due: Instant,
    /// When it could have been started; open loads alone.
    ready: Option<Instant>,
    attempt: Attempt,
    connection: Option<Connection>,
}

/// An arrival that waits for its own device.
struct Waiting {
    arrival: u64,
    due: Instant,
    identity: DeviceIdentity,
}

/// Why a wait is over.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is gone at once")]
enum Woken {
    Attempt(Result<Ended, JoinError>),
    Held(Result<(u64, Held), JoinError>),
    Otherwise,
}

/// What the loop does next.
enum Turn {
    Start { arrival: u64, due: Instant },
    Shed { arrival: u64, due: Instant },
    Postpone { arrival: u64, due: Instant },
    StartReleased,
    WaitForSlot,
    WaitUntil(Instant),
    Drain,
}

impl<'a> Worker<'a> {
    fn new(run: Arc<Run>, me: ShardOf, start: Instant, out: &'a mpsc::Sender<Delta>) -> Self {
        let part = run.shard.part(me);
        let number = usize::try_from(me.index).unwrap_or(usize::MAX);
        Worker {
            recorder: Recorder::new(start),
            journal: run.journal.as_ref().map(|journal| journal.writer(number, start)),
            meter: ThreadMeter::new(),
            pacer: Pacer::start(),
            attempts: JoinSet::new(),
            held: JoinSet::new(),
            in_flight: HashMap::new(),
            busy: HashSet::new(),
            postponed: HashMap::new(),
            released: VecDeque::new(),
            tally: Arc::default(),
            offered: 0,
            sessions: HashMap::new(),
            freed: start,
            next: 0,
            last: part.arrivals(run.schedule.planned(), run.scenario.fleet.devices),
            run,
            start,
            me,
            part,
            out,
            second: 0,
            lapped: start,
            journal_due: start + JOURNAL_EVERY,
        }
    }

    fn run(&mut self) {
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(self.play()),
            // Without a runtime nothing starts; the arrivals are counted as never started.
            Err(_) => self.interrupt_rest(),
        }
    }

    fn device(&self, arrival: u64) -> u64 {
        arrival % self.run.scenario.fleet.devices
    }

    /// This worker's slots at a moment. They are dealt out like cards, so that their sum is what the scenario says.
    fn slots(&self, now: Instant) -> usize {
        let all = self.run.schedule.slots(now.saturating_duration_since(self.start)) as u64;
        usize::try_from(self.me.share(all)).unwrap_or(usize::MAX)
    }

    async fn play(&mut self) {
        let mut burst = 0;
        loop {
            let now = sim_device::now();
            self.hand_over(now);
            match self.turn(now) {
                Turn::Start { arrival, due } => self.begin(arrival, due),
                Turn::Shed { arrival, due } => self.shed(arrival, due),
                Turn::Postpone { arrival, due } => self.postpone(arrival, due),
                Turn::StartReleased => self.begin_released(),
                Turn::WaitForSlot => self.wait(None).await,
                Turn::WaitUntil(due) => self.wait(Some(due)).await,
                Turn::Drain => break,
            }
            burst += 1;
            if burst == BURST {
                burst = 0;
                tokio::task::yield_now().await;
            }
            // Ended attempts are noted as they come, or their slots would seem taken.
            while let Some(joined) = self.attempts.try_join_next() {
                self.note(joined);
            }
        }
        self.interrupt_rest();
        self.drain().await;
    }

    fn turn(&self, now: Instant) -> Turn {
        if self.run.stop.drain.is_cancelled() {
            return Turn::Drain;
        }
        let free = self.attempts.len() < self.slots(now);
        if free && !self.released.is_empty() {
            return Turn::StartReleased;
        }
        if self.next >= self.last {
            let nobody_waits = self.released.is_empty() && self.postponed.is_empty();
            return if nobody_waits { Turn::Drain } else { Turn::WaitForSlot };
        }
        let arrival = self.arrival(self.next);
        let is_busy = self.busy.contains(&self.device(arrival));
        let schedule = &self.run.schedule;
        if !schedule.is_open() {
            // In a closed model a device is due the moment a slot is free for it.
            return match (free, is_busy) {
                (true, true) => Turn::Postpone { arrival, due: now },
                (true, false) => Turn::Start { arrival, due: now },
                (false, _) => Turn::WaitForSlot,
            };
        }
        let due = self.due(arrival);
        if due > now {
            return Turn::WaitUntil(due);
        }
        match (free, is_busy, schedule.when_full()) {
            (true, false, _) => Turn::Start { arrival, due },
            (_, _, WhenFull::Shed) => Turn::Shed { arrival, due },
            // Others must not wait for one device that is still busy with its turn before.
            (_, true, WhenFull::Wait) => Turn::Postpone { arrival, due },
            (false, false, WhenFull::Wait) => Turn::WaitForSlot,
        }
    }

    fn arrival(&self, position: u64) -> u64 {
        self.part.arrival(position, self.run.scenario.fleet.devices)
    }

    /// When an arrival of an open load is due; in a day where it never is.
    fn due(&self, arrival: u64) -> Instant {
        let due = self.start.checked_add(self.run.schedule.due(arrival));
        due.unwrap_or_else(|| self.start + Duration::from_secs(86_400))
    }

    fn identity(&self, arrival: u64) -> Result<DeviceIdentity, Failure> {
        self.run.identities.take(&self.run.devices, self.me, self.device(arrival), self.run.shard)
    }

    fn begin(&mut self, arrival: u64, due: Instant) {
        self.next += 1;
        match self.identity(arrival) {
            Ok(identity) => {
                // Whoever was due while all slots were taken could be started when one was freed.
                let ready = due.max(self.freed);
                if self.run.schedule.is_open() && ready > due {
                    self.recorder.waited(ready - due);
                }
                self.launch(Waiting { arrival, due, identity }, ready);
            }
            Err(_) => self.unminted(arrival, due),
        }
    }

    fn unminted(&mut self, arrival: u64, due: Instant) {
        let outcome = Outcome::ProtocolError { phase: Phase::Tls, what: "the device could not be minted" };
        self.end(arrival, due, None, &outcome, None);
    }

    fn postpone(&mut self, arrival: u64, due: Instant) {
        self.next += 1;
        match self.identity(arrival) {
            Ok(identity) => {
                let device = self.device(arrival);
                self.postponed.entry(device).or_default().push_back(Waiting { arrival, due, identity });
            }
            Err(_) => self.unminted(arrival, due),
        }
    }

    fn begin_released(&mut self) {
        if let Some(waiting) = self.released.pop_front() {
            let now = sim_device::now();
            self.recorder.waited(now.saturating_duration_since(waiting.due));
            self.launch(waiting, now);
        }
    }

    /// Starts an attempt that could have been started at `ready`.
    fn launch(&mut self, waiting: Waiting, ready: Instant) {
        let Waiting { arrival, due, identity } = waiting;
        let index = self.device(arrival);
        let now = sim_device::now();
        let ready = self.run.schedule.is_open().then_some(ready);
        if ready.is_none() {
            self.recorder.offered(due);
        }
        self.recorder.start(now);
        Progress::add(&self.run.progress.started);
        self.in_flight.insert(arrival, (due, now));
        if self.run.scenario.fleet.turns > 1 {
            self.busy.insert(index);
        }
        let (session, tally) = (self.session(index), Some(self.tally.clone()));
        let run = self.run.clone();
        self.attempts.spawn(async move {
            let device = Device { identity, session, draws: draws(run.scenario.seed, arrival), tally };
            let (attempt, connection) = arrive(run.target(index), &device).await;
            let connection = match (connection, run.scenario.device.hold) {
                (Some(connection), None) => {
                    connection.close().await;
                    None
                }
                (connection, _) => connection,
            };
            Ended { arrival, due, ready, attempt, connection }
        });
    }

    /// A device is free for its next turn.
    fn free(&mut self, index: u64) {
        if !self.busy.remove(&index) {
            return;
        }
        if let Some(waiting) = self.postponed.get_mut(&index).and_then(VecDeque::pop_front) {
            // Busy again, so that only one of its turns is under way.
            self.busy.insert(index);
            self.released.push_back(waiting);
        }
        if self.postponed.get(&index).is_some_and(VecDeque::is_empty) {
            self.postponed.remove(&index);
        }
    }

    fn session(&mut self, index: u64) -> Option<Arc<Session>> {
        let resumes = self.run.scenario.device.resumption == scenarios::Resumption::Tickets;
        resumes.then(|| self.sessions.entry(index).or_insert_with(|| Arc::new(Session::new())).clone())
    }

    fn shed(&mut self, arrival: u64, due: Instant) {
        self.next += 1;
        self.run.identities.skip(self.me);
        self.end(arrival, due, None, &Outcome::Shed, None);
    }

    /// Counts how an arrival ended, and keeps it.
    fn end(
        &mut self,
        arrival: u64,
        due: Instant,
        lateness: Option<Duration>,
        outcome: &Outcome,
        attempt: Option<&Attempt>,
    ) {
        let device = self.device(arrival);
        let devices = &self.run.devices;
        let defect = devices.defects.of(device);
        // What happens on the way concerns an attempt by when it ended.
        let ended = attempt.map_or_else(sim_device::now, |attempt| attempt.finished);
        let moment = ended.saturating_duration_since(self.start);
        let ending = Ending {
            arrival,
            device,
            id: &devices.registration_id(device),
            due,
            lateness,
            outcome,
            attempt,
            defect,
            expected: is_meant(devices.fate_at(device, defect, self.run.admits, moment), kind(outcome)),
            factory: devices.factory(device),
        };
        self.recorder.end(&ending);
        if let Some(journal) = &mut self.journal {
            journal.end(&ending);
        }
    }

    /// Until an attempt ends, the moment comes, something is to be handed over, or the run is stopped.
    async fn wait(&mut self, until: Option<Instant>) {
        let drain = self.run.stop.drain.clone();
        let next = self.start + Duration::from_secs(self.second + 1);
        let next = if self.journal.is_some() { next.min(self.journal_due) } else { next };
        let next = self.next_stair().map_or(next, |stair| stair.min(next));
        let due = async {
            match until {
                Some(due) => self.pacer.until(due).await,
                None => std::future::pending().await,
            }
        };
        let what = tokio::select! {
            Some(joined) = self.attempts.join_next(), if !self.attempts.is_empty() => Woken::Attempt(joined),
            Some(joined) = self.held.join_next(), if !self.held.is_empty() => Woken::Held(joined),
            () = due => Woken::Otherwise,
            () = tokio::time::sleep_until(next.into()) => Woken::Otherwise,
            () = drain.cancelled() => Woken::Otherwise,
        };
        match what {
            Woken::Attempt(joined) => self.note(joined),
            Woken::Held(joined) => self.note_held(joined),
            Woken::Otherwise => {}
        }
    }

    fn next_stair(&self) -> Option<Instant> {
        let since = sim_device::now().saturating_duration_since(self.start);
        self.run.schedule.next_stair(since).map(|moment| self.start + moment)
    }

    fn note(&mut self, joined: Result<Ended, JoinError>) {
        // Attempts neither panic nor are cancelled one by one; an aborted run counts them in `drain`.
        let Ok(ended) = joined else { return };
        let Ended { arrival, due, ready, attempt, connection } = ended;
        self.in_flight.remove(&arrival);
        Progress::add(&self.run.progress.finished);
        if self.attempts.len() + 1 >= self.slots(attempt.finished) {
            self.freed = attempt.finished;
        }
        let lateness = ready.map(|ready| attempt.started.saturating_duration_since(ready));
        self.end(arrival, due, lateness, &attempt.outcome, Some(&attempt));
        let index = self.device(arrival);
        match (connection, self.run.scenario.device.hold) {
            (Some(connection), Some(hold)) if is_success(&attempt.outcome) => {
                self.hold(arrival, index, connection, hold);
            }
            _ => self.free(index),
        }
    }

    /// Keeps a device connected. It needs no slot: a slot is for one who wants something.
    fn hold(&mut self, arrival: u64, index: u64, connection: Connection, hold: Hold) {
        self.recorder.hold();
        if let Some(journal) = &mut self.journal {
            journal.hold(arrival);
        }
        self.run.progress.hold();
        let _: AbortHandle =
            self.held.spawn(async move { (index, connection.hold(hold.lasts, hold.keep_alive).await) });
    }

    fn note_held(&mut self, joined: Result<(u64, Held), JoinError>) {
        self.run.progress.release();
        let held = joined.ok();
        if let Some((index, _)) = held {
            self.free(index);
        }
        let held = held.as_ref().map(|(_, held)| held);
        self.recorder.held(held);
        if let Some(journal) = &mut self.journal {
            journal.held(held);
        }
    }

    /// Arrivals that were never started, because the run was stopped.
    fn interrupt_rest(&mut self) {
        let postponed = std::mem::take(&mut self.postponed).into_values().flatten();
        let waiting: Vec<_> = postponed.chain(std::mem::take(&mut self.released)).collect();
        for Waiting { arrival, due, .. } in waiting {
            self.end(arrival, due, None, &Outcome::Interrupted, None);
        }
        while self.next < self.last {
            let arrival = self.arrival(self.next);
            self.next += 1;
            self.end(arrival, self.due(arrival), None, &Outcome::Interrupted, None);
        }
    }

    /// Lets attempts in flight finish and devices that stay connected stay, unless told to give up.
    async fn drain(&mut self) {
        let stop = self.run.stop.clone();
        while !self.attempts.is_empty() || !self.held.is_empty() {
            self.hand_over(sim_device::now());
            if stop.abort.is_cancelled() {
                break;
            }
            if stop.drain.is_cancelled() {
                self.held.abort_all();
            }
            self.wait_in_drain(&stop).await;
        }
        self.attempts.shutdown().await;
        for (arrival, (due, started)) in std::mem::take(&mut self.in_flight) {
            if let Some(journal) = &mut self.journal {
                journal.given_up(due, started);
            }
            self.end(arrival, due, None, &Outcome::Interrupted, None);
        }
        self.held.abort_all();
        while let Some(joined) = self.held.join_next().await {
            self.note_held(joined);
        }
    }

    async fn wait_in_drain(&mut self, stop: &Stop) {
        let next = self.start + Duration::from_secs(self.second + 1);
        let draining = stop.drain.is_cancelled();
        tokio::select! {
            Some(joined) = self.attempts.join_next(), if !self.attempts.is_empty() => self.note(joined),
            Some(joined) = self.held.join_next(), if !self.held.is_empty() => self.note_held(joined),
            () = tokio::time::sleep_until(next.into()) => {}
            () = stop.drain.cancelled(), if !draining => {}
            () = stop.abort.cancelled() => {}
        }
    }

    /// Hands over what was noted, when a second is over. What finds no room is handed over with the next.
    fn hand_over(&mut self, now: Instant) {
        if now >= self.journal_due {
            self.journal_due = now + JOURNAL_EVERY;
            if let Some(journal) = &mut self.journal {
                journal.flush();
            }
        }
        let second = now.saturating_duration_since(self.start).as_secs();
        if second <= self.second {
            return self.offer(now);
        }
        // Arrivals of the second that begins belong to the next delta, or would look as if they waited.
        self.offer(self.start + Duration::from_secs(second) - Duration::from_nanos(1));
        self.recorder.stay(self.start + Duration::from_secs(self.second), self.held.len() as u64);
        self.count_retries();
        if let Ok(room) = self.out.try_reserve() {
            let delta = self.delta(now);
            room.send(delta);
        }
        self.second = second;
    }

    /// Counts arrivals that have come due, whether or not there was a slot for them.
    fn offer(&mut self, now: Instant) {
        while self.run.schedule.is_open() && self.offered < self.last {
            let due = self.due(self.arrival(self.offered));
            if due > now {
                return;
            }
            self.offered += 1;
            self.recorder.offered(due);
        }
    }

    fn count_retries(&mut self) {
        let moment = self.start + Duration::from_secs(self.second);
        self.recorder.again(moment, &self.tally.take());
    }

    fn delta(&mut self, now: Instant) -> Delta {
        let recorder = std::mem::replace(&mut self.recorder, Recorder::new(self.start));
        let times = self.meter.lap(now.saturating_duration_since(self.lapped));
        self.lapped = now;
        let worker = usize::try_from(self.me.index).unwrap_or(usize::MAX);
        Delta { worker, second: self.second, recorder, times }
    }

    /// Outside of any runtime: waits for room.
    fn hand_over_the_rest(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.flush();
        }
        let now = sim_device::now();
        self.offer(now);
        self.count_retries();
        let delta = self.delta(now);
        // Without a receiver nobody wants to know.
        let _ = self.out.blocking_send(delta);
    }
}

/// Where an arrival's random waits are drawn from.
const fn draws(seed: u64, arrival: u64) -> u64 {
    // Two arrivals, or two seeds, must not draw the same waits (the increment of splitmix64).
    seed ^ arrival.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
