//! Devices' certificates and keys, made ahead of need on every core.
//!
//! A fleet that fits is made before the run, once. Of a larger one so many are made before, and the others while it runs,
//! by threads that stay that far ahead of the arrivals: never inside an attempt, and told apart in the record.

use crate::exit::Failure;
use crate::plan::{Devices, ShardOf};
use sim_identity::DeviceIdentity;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Devices made ahead of need: about 3 KB each, so a run of any size keeps within 150 MB for them.
pub const AHEAD: u64 = 50_000;

/// Where an arrival's certificate and key come from.
#[derive(Debug)]
pub struct Identities {
    made: Made,
    /// Processor time spent on devices since the run was ready to start, in nanoseconds.
    meanwhile: Arc<AtomicU64>,
    makers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
enum Made {
    /// Every device of this process, in the order of their indices.
    All(Vec<DeviceIdentity>),
    /// Each worker's next devices, in the order of its arrivals.
    Next(Vec<Mutex<Receiver<Result<DeviceIdentity, Failure>>>>),
}

/// Who is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The part of the fleet that this process plays.
    pub shard: ShardOf,
    /// Devices of the whole fleet.
    pub devices: u64,
    /// Arrivals of the whole fleet.
    pub arrivals: u64,
    /// Workers of this process.
    pub workers: usize,
}

impl Wanted {
    /// Devices of this process that arrive at all.
    fn here(&self) -> u64 {
        self.shard.share(self.devices.min(self.arrivals))
    }

    fn part(&self, worker: usize) -> ShardOf {
        self.shard.part(ShardOf { index: worker as u64, count: self.workers.max(1) as u64 })
    }
}

impl Identities {
    /// Makes what is to be ready before the first arrival. `tell` hears of every few devices.
    ///
    /// # Errors
    /// When a device cannot be made, or was to be read and cannot be.
    pub fn prepare(
        devices: &Arc<Devices>,
        wanted: Wanted,
        tell: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, Failure> {
        if wanted.here() <= AHEAD {
            let made = Made::All(every(devices, wanted, tell)?);
            return Ok(Identities { made, meanwhile: Arc::default(), makers: Vec::new() });
        }
        Ok(Self::stream(devices, wanted, tell))
    }

    fn stream(devices: &Arc<Devices>, wanted: Wanted, tell: &(dyn Fn(u64) + Sync)) -> Self {
        let workers = wanted.workers.max(1);
        let ahead = usize::try_from(AHEAD).unwrap_or(usize::MAX) / workers;
        let meanwhile = Arc::new(AtomicU64::new(0));
        let (full, is_full) = sync_channel(workers);
        let (mut next, mut makers) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let (out, receiver) = sync_channel(ahead);
            let maker =
                Maker { devices: devices.clone(), wanted, worker, ahead, meanwhile: meanwhile.clone() };
            let full = full.clone();
            makers.push(std::thread::spawn(move || maker.make(&out, full)));
            next.push(Mutex::new(receiver));
        }
        drop(full);
        for _ in 0..workers {
            // A maker that has nothing to make is done without a word.
            if is_full.recv().is_ok() {
                tell(ahead as u64);
            }
        }
        Identities { made: Made::Next(next), meanwhile, makers }
    }

    /// The identity of a worker's next arrival. Waits for it where it is not ready.
    ///
    /// # Errors
    /// When it could not be made.
    pub fn take(
        &self,
        devices: &Devices,
        worker: ShardOf,
        index: u64,
        shard: ShardOf,
    ) -> Result<DeviceIdentity, Failure> {
        match &self.made {
            Made::All(all) => {
                let place = usize::try_from((index - shard.index) / shard.count).unwrap_or(usize::MAX);
                all.get(place).cloned().map_or_else(|| devices.device(index), Ok)
            }
            Made::Next(next) => {
                let mine = usize::try_from(worker.index).ok().and_then(|worker| next.get(worker));
                let made =
                    mine.and_then(|next| next.lock().unwrap_or_else(PoisonError::into_inner).recv().ok());
                made.unwrap_or_else(|| devices.device(index))
            }
        }
    }

    /// Lets a worker's next arrival go that has no use for its identity.
    pub fn skip(&self, worker: ShardOf) {
        if let Made::Next(next) = &self.made
            && let Some(next) = usize::try_from(worker.index).ok().and_then(|worker| next.get(worker))
        {
            let _ = next.lock().unwrap_or_else(PoisonError::into_inner).recv();
        }
    }

    /// One that is ready, to tell what is presented.
    pub fn sample(&self) -> Option<&DeviceIdentity> {
        match &self.made {
            Made::All(all) => all.first(),
            Made::Next(_) => None,
        }
    }

    /// How many were ready before the run.
    pub fn ready(&self) -> u64 {
        match &self.made {
            Made::All(all) => all.len() as u64,
            Made::Next(_) => AHEAD,
        }
    }

    /// Time that threads spent on devices while the run went on.
    pub fn meanwhile(&self) -> Duration {
        Duration::from_nanos(self.meanwhile.load(Ordering::Relaxed))
    }
}

impl Drop for Identities {
    fn drop(&mut self) {
        // Without receivers the makers have nobody to make for.
        self.made = Made::All(Vec::new());
        for maker in self.makers.drain(..) {
            let _ = maker.join();
        }
    }
}

/// Makes one worker's devices, in the order of its arrivals.
struct Maker {
    devices: Arc<Devices>,
    wanted: Wanted,
    worker: usize,
    ahead: usize,
    meanwhile: Arc<AtomicU64>,
}

impl Maker {
    fn make(self, out: &SyncSender<Result<DeviceIdentity, Failure>>, full: SyncSender<()>) {
        let part = self.wanted.part(self.worker);
        let count = part.arrivals(self.wanted.arrivals, self.wanted.devices);
        let mut full = Some(full);
        for position in 0..count {
            let index = part.arrival(position, self.wanted.devices) % self.wanted.devices;
            let begun = crate::cli::instant();
            let made = self.devices.device(index);
            if full.is_none() {
                self.count(begun);
            }
            if out.send(made).is_err() {
                return;
            }
            if position + 1 >= self.ahead as u64
                && let Some(full) = full.take()
            {
                let _ = full.send(());
            }
        }
    }

    fn count(&self, begun: Instant) {
        let took = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.meanwhile.fetch_add(took, Ordering::Relaxed);
    }
}

/// Every device of this process, on all cores.
fn every(
    devices: &Devices,
    wanted: Wanted,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<Vec<DeviceIdentity>, Failure> {
    const BATCH: usize = 64;
    let count = usize::try_from(wanted.here()).unwrap_or(usize::MAX);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut made: Vec<(usize, DeviceIdentity)> = Vec::new();
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= count || failed.load(Ordering::Relaxed) {
                return Ok(made);
            }
            let last = (first + BATCH).min(count);
            for position in first..last {
                let device = devices.device(wanted.shard.device(position as u64));
                let device = device.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                made.push((position, device));
            }
            tell((last - first) as u64);
        }
    };
    let parts: Result<Vec<_>, Failure> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..crate::cli::cores()).map(|_| scope.spawn(work)).collect();
        let panicked = || Err(Failure::unexpected("a minting thread panicked"));
        handles.into_iter().map(|h| h.join().unwrap_or_else(|_| panicked())).collect()
    });
    let mut all: Vec<_> = parts?.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(position, _)| *position);
    Ok(all.into_iter().map(|(_, identity)| identity).collect())
}
