//! What one shard measured. Recorders belong to one shard each and add up without loss.

use hdrhistogram::Histogram;
use reports::{OutcomeKind, Outcomes, Second};
use sim_device::{Attempt, Outcome, Phase, Phases};
use sim_identity::Defect;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A histogram of nanoseconds at three significant digits, which grows as it must.
pub fn histogram() -> Histogram<u64> {
    // Three digits are always allowed (the crate takes 0 to 5).
    #[expect(clippy::expect_used, reason = "a constant within the documented range")]
    Histogram::new(3).expect("three significant digits")
}

/// What tells reasons apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReasonKey {
    /// Which kind of ending.
    pub outcome: OutcomeKind,
    /// Where in the attempt, if it got that far.
    pub phase: Option<Phase>,
    /// Six digits, if the service gave any.
    pub code: Option<u32>,
    /// The service's words, or ours.
    pub message: String,
    /// What was wrong with the device on purpose.
    pub defect: Option<Defect>,
}

/// The histograms of a shard.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// By [`Phase`].
    pub phases: Vec<Histogram<u64>>,
    /// finished - started, of devices that were assigned.
    pub service: Histogram<u64>,
    /// finished - due, of devices that were assigned.
    pub response: Histogram<u64>,
    /// finished - started, of all others that started.
    pub unsuccessful: Histogram<u64>,
}

impl Clocks {
    fn new() -> Self {
        Clocks {
            phases: Phase::ALL.iter().map(|_| histogram()).collect(),
            service: histogram(),
            response: histogram(),
            unsuccessful: histogram(),
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Histogram<u64>> {
        let Clocks { phases, service, response, unsuccessful } = self;
        phases.iter_mut().chain([service, response, unsuccessful])
    }

    fn all(&self) -> impl Iterator<Item = &Histogram<u64>> {
        let Clocks { phases, service, response, unsuccessful } = self;
        phases.iter().chain([service, response, unsuccessful])
    }

    fn note(&mut self, phases: &Phases) {
        for phase in Phase::ALL {
            if let Some(took) = phases.of(phase) {
                record(&mut self.phases[phase as usize], took);
            }
        }
        for &took in &phases.polls {
            record(&mut self.phases[Phase::Poll as usize], took);
        }
    }
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    // A growing histogram takes every value up to 584 years.
    let _ = histogram.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// One shard's counts and times.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Instant,
    /// Arrivals that were given a device.
    pub started: u64,
    /// Attempts that came to an end by themselves.
    pub finished: u64,
    /// Each ended arrival once.
    pub outcomes: Outcomes,
    /// Why arrivals ended otherwise than assigned: how many, and the registration id of one.
    pub reasons: HashMap<ReasonKey, (u64, String)>,
    /// Assigned devices by hub.
    pub hubs: HashMap<String, u64>,
    /// Times.
    pub clocks: Clocks,
    /// What happened in each second since the start; `in_flight` is filled in when shards are joined.
    pub seconds: Vec<Second>,
    /// The latest an arrival was started after it was due, though a slot was free.
    pub max_lag: Duration,
    /// Time spent minting devices during the run, because the fleet was too large to mint before.
    pub minting: Duration,
    /// When the last attempt ended.
    pub last_finish: Instant,
}

impl Recorder {
    /// An empty recorder of a run that starts at `start`.
    pub fn new(start: Instant) -> Self {
        Recorder {
            start,
            started: 0,
            finished: 0,
            outcomes: Outcomes::default(),
            reasons: HashMap::new(),
            hubs: HashMap::new(),
            clocks: Clocks::new(),
            seconds: Vec::new(),
            max_lag: Duration::ZERO,
            minting: Duration::ZERO,
            last_finish: start,
        }
    }

    /// From the start to the end of the last attempt.
    pub fn wall(&self) -> Duration {
        self.last_finish - self.start
    }

    fn second(&mut self, moment: Instant) -> &mut Second {
        let t = usize::try_from(moment.saturating_duration_since(self.start).as_secs()).unwrap_or(0);
        while self.seconds.len() <= t {
            self.seconds.push(Second { t: self.seconds.len() as u64, ..Second::default() });
        }
        &mut self.seconds[t]
    }

    /// Notes that an arrival came due.
    pub fn offered(&mut self, due: Instant) {
        self.second(due).offered += 1;
    }

    /// Notes that an attempt was started.
    pub fn start(&mut self, now: Instant) {
        self.started += 1;
        self.second(now).started += 1;
    }

    /// Notes how an attempt ended.
    pub fn finish(
        &mut self,
        attempt: &Attempt,
        due: Instant,
        defect: Option<Defect>,
        id: impl FnOnce() -> String,
    ) {
        self.finished += 1;
        self.last_finish = self.last_finish.max(attempt.finished);
        self.clocks.note(&attempt.phases);
        let service = attempt.finished - attempt.started;
        let assigned = matches!(attempt.outcome, Outcome::Assigned(_));
        if assigned {
            record(&mut self.clocks.service, service);
            record(&mut self.clocks.response, attempt.finished.saturating_duration_since(due));
        } else {
            record(&mut self.clocks.unsuccessful, service);
        }
        let second = self.second(attempt.finished);
        second.finished += 1;
        second.assigned += u64::from(assigned);
        second.refused += u64::from(!assigned);
        self.end(&attempt.outcome, defect, id);
    }

    /// Counts an ending, and keeps why.
    pub fn end(&mut self, outcome: &Outcome, defect: Option<Defect>, id: impl FnOnce() -> String) {
        let key = reason(outcome, defect);
        self.outcomes.add(key.outcome);
        if let Outcome::Assigned(assignment) = outcome {
            match self.hubs.get_mut(&assignment.hub) {
                Some(count) => *count += 1,
                None => drop(self.hubs.insert(assignment.hub.clone(), 1)),
            }
            // A bad device that got in is worth a line of its own.
            if defect.is_none() {
                return;
            }
        }
        self.reasons.entry(key).or_insert_with(|| (0, id())).0 += 1;
    }

    /// Adds another shard's recorder.
    pub fn add(&mut self, other: &Recorder) {
        self.started += other.started;
        self.finished += other.finished;
        for kind in OutcomeKind::ALL {
            for _ in 0..other.outcomes.count(kind) {
                self.outcomes.add(kind);
            }
        }
        for (key, (count, id)) in &other.reasons {
            self.reasons.entry(key.clone()).or_insert_with(|| (0, id.clone())).0 += count;
        }
        for (hub, count) in &other.hubs {
            *self.hubs.entry(hub.clone()).or_default() += count;
        }
        for (mine, theirs) in self.clocks.all_mut().zip(other.clocks.all()) {
            // Growing histograms of one precision always add.
            let _ = mine.add(theirs);
        }
        for second in &other.seconds {
            let mine = self.second(self.start + Duration::from_secs(second.t));
            mine.offered += second.offered;
            mine.started += second.started;
            mine.finished += second.finished;
            mine.assigned += second.assigned;
            mine.refused += second.refused;
        }
        self.max_lag = self.max_lag.max(other.max_lag);
        self.minting += other.minting;
        self.last_finish = self.last_finish.max(other.last_finish);
    }

    /// Fills in how many attempts were in flight at the end of each second.
    pub fn fill_in_flight(&mut self) {
        let mut in_flight = 0u64;
        for second in &mut self.seconds {
            in_flight = (in_flight + second.started).saturating_sub(second.finished);
            second.in_flight = in_flight;
        }
    }
}

fn reason(outcome: &Outcome, defect: Option<Defect>) -> ReasonKey {
    let key = |outcome, phase, code, message: String| ReasonKey { outcome, phase, code, message, defect };
    match outcome {
        Outcome::Assigned(_) => key(OutcomeKind::Assigned, None, None, "assigned".to_owned()),
        Outcome::Refused(refused) => {
            key(OutcomeKind::Refused, Some(refused.phase), refused.code, refused.message.clone())
        }
        Outcome::Disabled => key(OutcomeKind::Disabled, None, None, "the enrollment is disabled".to_owned()),
        Outcome::Failed { code, message } => key(OutcomeKind::Failed, None, *code, message.clone()),
        Outcome::Throttled => {
            key(OutcomeKind::Throttled, None, None, "throttled until the time was up".to_owned())
        }
        Outcome::Unreachable { phase, cause } => {
            key(OutcomeKind::Unreachable, Some(*phase), None, cause.as_str().to_owned())
        }
        Outcome::TimedOut { phase } => {
            key(OutcomeKind::TimedOut, Some(*phase), None, "the time for an attempt was up".to_owned())
        }
        Outcome::ProtocolError { phase, what } => {
            key(OutcomeKind::ProtocolError, Some(*phase), None, (*what).to_owned())
        }
        Outcome::Shed => key(OutcomeKind::Shed, None, None, "no slot was free when it was due".to_owned()),
        Outcome::Interrupted => {
            key(OutcomeKind::Interrupted, None, None, "the run was interrupted".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_device::{Assignment, Refused};

    fn attempt(start: Instant, from: u64, to: u64, outcome: Outcome) -> Attempt {
        let at = |ms| start + Duration::from_millis(ms);
        Attempt { outcome, phases: Phases::default(), started: at(from), finished: at(to) }
    }

    fn assigned() -> Outcome {
        Outcome::Assigned(Assignment { hub: "h".into(), device_id: "d".into() })
    }

    fn refused() -> Outcome {
        Outcome::Refused(Refused { phase: Phase::Register, code: Some(401_002), message: "no".into() })
    }

    #[test]
    fn response_time_counts_from_when_the_device_was_due() {
        let start = sim_device::now();
        let mut recorder = Recorder::new(start);
        recorder.finish(&attempt(start, 2000, 2010, assigned()), start, None, String::new);
        let within = |h: &Histogram<u64>, ms: u64| h.max().abs_diff(ms * 1_000_000) <= ms * 1_000;
        assert!(within(&recorder.clocks.service, 10));
        assert!(within(&recorder.clocks.response, 2010));
    }

    #[test]
    fn shards_add_up_to_what_one_recorder_would_have_seen() {
        let start = sim_device::now();
        let all = [(0, 5, assigned()), (900, 1100, refused()), (10, 2500, assigned()), (20, 30, refused())];
        let mut whole = Recorder::new(start);
        let mut parts = [Recorder::new(start), Recorder::new(start)];
        for (i, (from, to, outcome)) in all.into_iter().enumerate() {
            let attempt = attempt(start, from, to, outcome);
            for recorder in [&mut whole, &mut parts[i % 2]] {
                recorder.start(attempt.started);
                recorder.finish(&attempt, start, None, || "dev".into());
            }
        }
        let [mut joined, other] = parts;
        joined.add(&other);
        joined.fill_in_flight();
        whole.fill_in_flight();
        assert_eq!(joined.outcomes, whole.outcomes);
        assert_eq!(joined.reasons.len(), 1);
        assert_eq!(joined.seconds, whole.seconds);
        assert_eq!(joined.clocks.service, whole.clocks.service);
        assert_eq!(whole.seconds.iter().map(|s| s.in_flight).collect::<Vec<_>>(), [2, 1, 0]);
    }
}
