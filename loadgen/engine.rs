//! Plays a schedule: one loop for any load, one single-threaded runtime and one recorder for each core.
//!
//! Arrivals come from the scenario's schedule and never from answers. A shard owns its attempts in a `JoinSet`;
//! nothing it starts outlives it.

use crate::plan::{Devices, ShardOf};
use crate::recorder::Recorder;
use scenarios::{Arrival, Load, WhenFull};
use sim_device::{Attempt, Device, Outcome, Phase, Target, attempt};
use sim_identity::DeviceIdentity;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Instant;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Counts for people who watch; the recorders hold the truth.
#[derive(Debug, Default)]
pub struct Progress {
    /// Arrivals that came due.
    pub offered: AtomicU64,
    /// Attempts started.
    pub started: AtomicU64,
    /// Attempts ended.
    pub finished: AtomicU64,
    /// Devices assigned.
    pub assigned: AtomicU64,
}

impl Progress {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// One counter's value.
    pub fn value(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// How a run is told to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No more arrivals; attempts in flight may finish.
    pub drain: CancellationToken,
    /// Give up what is in flight, too.
    pub abort: CancellationToken,
}

/// Everything a shard needs; shared by all.
#[derive(Debug)]
pub struct Run {
    /// Where devices go.
    pub target: Target,
    /// Who they are.
    pub devices: Devices,
    /// Devices minted before the run, by position in this process's share; the rest is minted as it comes due.
    pub minted: Vec<DeviceIdentity>,
    /// One of them, to tell what is presented.
    pub sample: Option<DeviceIdentity>,
    /// When they come.
    pub load: Load,
    /// Which part of the fleet this process plays.
    pub shard: ShardOf,
    /// How many devices this process plays.
    pub count: u64,
    /// For people who watch.
    pub progress: Arc<Progress>,
    /// How to stop.
    pub stop: Stop,
}

/// Plays the run on `workers` threads and returns their recorders, joined. Blocks.
///
/// Each thread makes one throw-away handshake's worth of cryptography first: the provider gathers entropy at its
/// first use in a thread, which takes longer than a whole attempt and belongs to no device.
pub fn play(run: &Arc<Run>, workers: usize) -> Recorder {
    // No worker without a slot or a device of its own.
    let most = usize::try_from(run.count).unwrap_or(usize::MAX).min(run.load.slots());
    let workers = workers.clamp(1, most.max(1));
    let (ready, started) = (Barrier::new(workers), OnceLock::new());
    let shard = |worker| {
        sim_device::warm_up(&run.target.tls);
        ready.wait();
        play_shard(run, worker, workers, *started.get_or_init(sim_device::now))
    };
    let shard = &shard;
    let recorders: Vec<Recorder> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|worker| scope.spawn(move || shard(worker))).collect();
        handles.into_iter().filter_map(|h| h.join().ok()).collect()
    });
    let mut joined = Recorder::new(*started.get_or_init(sim_device::now));
    for recorder in &recorders {
        joined.add(recorder);
    }
    joined.fill_in_flight();
    joined
}

fn play_shard(run: &Arc<Run>, worker: usize, workers: usize, start: Instant) -> Recorder {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut shard = Shard::new(run.clone(), worker, workers, start);
    match runtime {
        Ok(runtime) => runtime.block_on(shard.play()),
        // Without a runtime nothing starts; the arrivals are counted as never started.
        Err(_) => shard.interrupt_rest(),
    }
    shard.recorder
}

/// One worker's part.
struct Shard {
    run: Arc<Run>,
    start: Instant,
    worker: u64,
    workers: u64,
    /// Positions of this worker that were not handed out yet.
    next: u64,
    last: u64,
    slots: usize,
    attempts: JoinSet<(Ended, Attempt)>,
    /// Devices whose attempts run, so that one which is given up still has a name.
    in_flight: HashSet<u64>,
    recorder: Recorder,
}

/// What has to be known of an attempt when it ends.
struct Ended {
    index: u64,
    due: Instant,
}

/// What the loop does next.
enum Turn {
    Start(Ended),
    Shed(Ended),
    WaitForSlot,
    WaitUntil(Instant),
    Drain,
}

impl Shard {
    fn new(run: Arc<Run>, worker: usize, workers: usize, start: Instant) -> Self {
        let (worker, workers) = (worker as u64, workers as u64);
        let mine = ShardOf { index: worker, count: workers }.share(run.count);
        let slots = run.load.slots();
        // Slots are dealt out like cards, so that their sum is what the scenario says.
        let slots = slots / workers as usize + usize::from(worker < slots as u64 % workers);
        Shard {
            recorder: Recorder::new(start),
            attempts: JoinSet::new(),
            in_flight: HashSet::new(),
            next: 0,
            last: mine,
            run,
            start,
            worker,
            workers,
            slots,
        }
    }

    /// The arrival at this worker's n-th place: its position in the process's share decides when it is due.
    fn arrival(&self, place: u64) -> Arrival {
        let position = place * self.workers + self.worker;
        let index = self.run.shard.device(position);
        // The schedule is that of the whole fleet, so that shards of one seed partition it exactly.
        Arrival { index, due: self.run.load.due(index) }
    }

    async fn play(&mut self) {
        loop {
            match self.turn(sim_device::now()) {
                Turn::Start(ended) => self.begin(ended),
                Turn::Shed(ended) => self.shed(&ended),
                Turn::WaitForSlot => self.wait(None).await,
                Turn::WaitUntil(due) => self.wait(Some(due)).await,
                Turn::Drain => break,
            }
            // Ended attempts are noted as they come, or their slots would seem taken.
            while let Some(joined) = self.attempts.try_join_next() {
                self.note(joined);
            }
        }
        self.interrupt_rest();
        self.drain().await;
    }

    fn turn(&mut self, now: Instant) -> Turn {
        if self.next >= self.last || self.run.stop.drain.is_cancelled() {
            return Turn::Drain;
        }
        let arrival = self.arrival(self.next);
        let free = self.attempts.len() < self.slots;
        let (due, when_full) = match &self.run.load {
            // In a closed model a device is due the moment a slot is free for it.
            Load::Closed { .. } if free => (now, WhenFull::Wait),
            Load::Closed { .. } => return Turn::WaitForSlot,
            Load::Open { when_full, .. } => (self.start + arrival.due, *when_full),
        };
        if due > now {
            return Turn::WaitUntil(due);
        }
        let ended = Ended { index: arrival.index, due };
        match (free, when_full) {
            (true, _) => Turn::Start(ended),
            (false, WhenFull::Wait) => Turn::WaitForSlot,
            (false, WhenFull::Shed) => Turn::Shed(ended),
        }
    }

    fn begin(&mut self, ended: Ended) {
        let position = self.next * self.workers + self.worker;
        self.next += 1;
        self.recorder.offered(ended.due);
        Progress::add(&self.run.progress.offered);
        let identity = match self.run.minted.get(usize::try_from(position).unwrap_or(usize::MAX)) {
            Some(minted) => Ok(minted.clone()),
            None => self.mint(ended.index),
        };
        let Ok(identity) = identity else {
            let (run, index) = (self.run.clone(), ended.index);
            let outcome =
                Outcome::ProtocolError { phase: Phase::Tls, what: "the device could not be minted" };
            let defect = run.devices.defects.of(index);
            self.recorder.end(&outcome, defect, || run.devices.registration_id(index));
            return;
        };
        let now = sim_device::now();
        self.recorder.max_lag = self.recorder.max_lag.max(now.saturating_duration_since(ended.due));
        self.recorder.start(now);
        Progress::add(&self.run.progress.started);
        self.in_flight.insert(ended.index);
        let run = self.run.clone();
        self.attempts.spawn(async move {
            let device = Device { identity };
            let made = attempt(&run.target, &device).await;
            (ended, made)
        });
    }

    fn mint(&mut self, index: u64) -> Result<DeviceIdentity, crate::exit::Failure> {
        let begun = sim_device::now();
        let made = self.run.devices.device(index);
        self.recorder.minting += sim_device::now() - begun;
        made
    }

    fn shed(&mut self, ended: &Ended) {
        self.next += 1;
        self.recorder.offered(ended.due);
        Progress::add(&self.run.progress.offered);
        let (run, index) = (self.run.clone(), ended.index);
        self.recorder
            .end(&Outcome::Shed, run.devices.defects.of(index), || run.devices.registration_id(index));
    }

    /// Until an attempt ends, the moment comes or the run is stopped.
    async fn wait(&mut self, until: Option<Instant>) {
        let drain = self.run.stop.drain.clone();
        let moment = tokio::time::Instant::from_std(until.unwrap_or(self.start));
        tokio::select! {
            Some(joined) = self.attempts.join_next(), if !self.attempts.is_empty() => self.note(joined),
            () = tokio::time::sleep_until(moment), if until.is_some() => {}
            () = drain.cancelled() => {}
        }
    }

    fn note(&mut self, joined: Result<(Ended, Attempt), tokio::task::JoinError>) {
        // Attempts neither panic nor are cancelled one by one; an aborted run counts them in `drain`.
        let Ok((ended, attempt)) = joined else { return };
        self.in_flight.remove(&ended.index);
        Progress::add(&self.run.progress.finished);
        if matches!(attempt.outcome, Outcome::Assigned(_)) {
            Progress::add(&self.run.progress.assigned);
        }
        let devices = &self.run.devices;
        let defect = devices.defects.of(ended.index);
        self.recorder.finish(&attempt, ended.due, defect, || devices.registration_id(ended.index));
    }

    /// Arrivals that were never started, because the run was stopped.
    fn interrupt_rest(&mut self) {
        while self.next < self.last {
            let index = self.arrival(self.next).index;
            self.next += 1;
            let devices = &self.run.devices;
            self.recorder
                .end(&Outcome::Interrupted, devices.defects.of(index), || devices.registration_id(index));
        }
    }

    /// Lets attempts in flight finish, unless told to give up.
    async fn drain(&mut self) {
        let abort = self.run.stop.abort.clone();
        while !self.attempts.is_empty() {
            tokio::select! {
                Some(joined) = self.attempts.join_next() => self.note(joined),
                () = abort.cancelled() => break,
            }
        }
        self.attempts.shutdown().await;
        let devices = &self.run.devices;
        for index in self.in_flight.drain() {
            self.recorder
                .end(&Outcome::Interrupted, devices.defects.of(index), || devices.registration_id(index));
        }
    }
}
