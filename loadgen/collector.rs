//! Puts together what the workers measured, second by second, while they go on.
//!
//! A worker keeps a recorder for about a second and then hands it over whole; nothing is shared and nothing waits. What
//! watches a run (the view, the gates that may end it, metrics) looks at the sum and at the last second.

use crate::health::Sample;
use crate::recorder::Recorder;
use hdrhistogram::Histogram;
use reports::{GateResult, Second};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a worker hands over, about once a second and when it ends.
#[derive(Clone, Debug)]
pub struct Delta {
    /// Which worker, from 0.
    pub worker: usize,
    /// Which second of the run it is about, from 0.
    pub second: u64,
    /// What it noted since the last one.
    pub recorder: Recorder,
    /// What it needed for that.
    pub times: WorkerTimes,
}

/// What a worker's thread needed over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerTimes {
    /// The stretch.
    pub wall: Duration,
    /// Processor time of the thread.
    pub cpu: Duration,
    /// Time in which the thread could have run, and the system let others; where the system tells.
    pub starved: Option<Duration>,
}

/// What somebody who watches is shown, once a second.
#[derive(Debug)]
pub struct Glance<'a> {
    /// Since the start.
    pub elapsed: Duration,
    /// Arrivals of this process.
    pub planned: u64,
    /// Arrivals a second that the schedule has at this moment; 0 in a closed load.
    pub planned_rate: f64,
    /// Everything so far.
    pub total: &'a Recorder,
    /// The last whole second.
    pub last: &'a Recorder,
    /// Attempts in flight.
    pub in_flight: u64,
    /// Devices that stay connected.
    pub held: u64,
    /// Share of the last second that the workers were busy, 0 to 1.
    pub cpu_share: f64,
    /// Share of the last second that they could have run and were not let to, 0 to 1.
    pub starved_share: f64,
    /// Gates as they stand.
    pub gates: &'a [GateResult],
}

/// Seconds that may still get something from a worker that is late.
const OPEN_SECONDS: usize = 3;

/// The sum of what workers handed over.
#[derive(Debug)]
pub struct Collector {
    workers: usize,
    /// Everything so far.
    pub total: Recorder,
    /// What each worker needed, second by second.
    pub samples: Vec<Sample>,
    /// The last seconds, each with how many workers have handed over theirs.
    open: BTreeMap<u64, (usize, Recorder)>,
    /// What is known of seconds that are over.
    closed: BTreeMap<u64, Percentiles>,
    /// The last second that every worker has handed over, or the one before.
    last: Recorder,
}

/// Service and response times of one second: p50, p90, p99 and the longest, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Percentiles {
    service: Option<[u64; 4]>,
    response: Option<[u64; 4]>,
}

impl Collector {
    /// Nothing yet, of a run that started at `start`.
    pub fn new(start: Instant, workers: usize) -> Self {
        Collector {
            workers,
            total: Recorder::new(start),
            samples: Vec::new(),
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            last: Recorder::new(start),
        }
    }

    /// Takes what a worker hands over. Tells the second that every worker has handed over with it, if one has become so.
    pub fn take(&mut self, delta: &Delta) -> Option<u64> {
        self.total.add(&delta.recorder);
        self.samples.push(Sample { second: delta.second, times: delta.times });
        let start = self.total.start_of_run();
        let (count, recorder) = self.open.entry(delta.second).or_insert_with(|| (0, Recorder::new(start)));
        *count += 1;
        recorder.add(&delta.recorder);
        let complete = *count == self.workers;
        if complete {
            self.last.clone_from(recorder);
        }
        while self.open.len() > OPEN_SECONDS {
            self.close_one();
        }
        complete.then_some(delta.second)
    }

    fn close_one(&mut self) {
        if let Some((second, (_, recorder))) = self.open.pop_first() {
            let clocks = &recorder.clocks;
            let times = Percentiles {
                service: percentiles(&clocks.service),
                response: percentiles(&clocks.response),
            };
            self.closed.insert(second, times);
        }
    }

    /// The last whole second.
    pub const fn last(&self) -> &Recorder {
        &self.last
    }

    /// The share of the last second in which the workers were busy, and that in which they were not let to.
    pub fn busy(&self) -> (f64, f64) {
        let newest = self.samples.last().map_or(0, |sample| sample.second);
        let times = self.samples.iter().rev().take_while(|sample| sample.second + 1 >= newest);
        shares(times.filter(|sample| sample.second == newest).map(|sample| sample.times)).unwrap_or_default()
    }

    /// Ends the collection: everything, and every second of the run with what is known of it.
    pub fn finish(mut self) -> (Recorder, Vec<Second>, Vec<Sample>) {
        while !self.open.is_empty() {
            self.close_one();
        }
        let mut seconds = self.total.series();
        let mut times: BTreeMap<u64, Vec<WorkerTimes>> = BTreeMap::new();
        for sample in &self.samples {
            times.entry(sample.second).or_default().push(sample.times);
        }
        for second in &mut seconds {
            if let Some(known) = self.closed.get(&second.t) {
                (second.service_us, second.response_us) = (known.service, known.response);
            }
            let shares = times.get(&second.t).and_then(|all| shares(all.iter().copied()));
            second.generator_cpu = shares.map(|(busy, _)| busy);
            second.generator_starved = shares.map(|(_, starved)| starved);
        }
        (self.total, seconds, self.samples)
    }
}

/// Busy and starved time as shares of the wall time, over several threads; at most 1 each.
fn shares(times: impl Iterator<Item = WorkerTimes>) -> Option<(f64, f64)> {
    let sum = times.fold(WorkerTimes::default(), |sum, times| WorkerTimes {
        wall: sum.wall + times.wall,
        cpu: sum.cpu + times.cpu,
        starved: Some(sum.starved.unwrap_or_default() + times.starved.unwrap_or_default()),
    });
    let share = |part: Duration| (part.as_secs_f64() / sum.wall.as_secs_f64()).min(1.0);
    (!sum.wall.is_zero()).then(|| (share(sum.cpu), share(sum.starved.unwrap_or_default())))
}

fn percentiles(times: &Histogram<u64>) -> Option<[u64; 4]> {
    let at = |quantile| times.value_at_quantile(quantile).min(times.max()) / 1_000;
    (!times.is_empty()).then(|| [at(0.5), at(0.9), at(0.99), times.max() / 1_000])
}
