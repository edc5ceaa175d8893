//! What one shard measured. Recorders belong to one shard each and add up without loss.

use hdrhistogram::Histogram;
use reports::{OutcomeKind, Outcomes, PhaseTime, Retries, Sample, Second};
use sim_device::{Attempt, Heard, Held, Outcome, Phase, Phases, TlsFacts};
use sim_identity::Defect;
use std::collections::{BTreeMap, HashMap};
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
    /// Whether the scenario means it so.
    pub expected: bool,
}

/// [`Heard`], of many devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described in Heard")]
pub struct HeardCounts {
    pub refused: u64,
    pub failed: u64,
    pub throttled: u64,
    pub server_errors: u64,
    pub malformed: u64,
    pub unheard: u64,
}

impl From<Heard> for HeardCounts {
    fn from(heard: Heard) -> Self {
        HeardCounts {
            refused: heard.refused.into(),
            failed: heard.failed.into(),
            throttled: heard.throttled.into(),
            server_errors: heard.server_errors.into(),
            malformed: heard.malformed.into(),
            unheard: heard.unheard.into(),
        }
    }
}

impl HeardCounts {
    const fn add(&mut self, other: &HeardCounts) {
        self.refused += other.refused;
        self.failed += other.failed;
        self.throttled += other.throttled;
        self.server_errors += other.server_errors;
        self.malformed += other.malformed;
        self.unheard += other.unheard;
    }
}

/// The histograms of a shard.
#[derive(Clone, Debug)]
pub struct Clocks {
    /// By [`Phase`].
    pub phases: Vec<Histogram<u64>>,
    /// finished - started, of devices that got what they were after.
    pub service: Histogram<u64>,
    /// finished - due, of devices that got what they were after.
    pub response: Histogram<u64>,
    /// finished - started, of all others that started.
    pub unsuccessful: Histogram<u64>,
    /// started - when the arrival could have been started; open loads alone.
    pub lateness: Histogram<u64>,
}

impl Clocks {
    fn new() -> Self {
        Clocks {
            phases: Phase::ALL.iter().map(|_| histogram()).collect(),
            service: histogram(),
            response: histogram(),
            unsuccessful: histogram(),
            lateness: histogram(),
        }
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Histogram<u64>> {
        let Clocks { phases, service, response, unsuccessful, lateness } = self;
        phases.iter_mut().chain([service, response, unsuccessful, lateness])
    }

    fn all(&self) -> impl Iterator<Item = &Histogram<u64>> {
        let Clocks { phases, service, response, unsuccessful, lateness } = self;
        phases.iter().chain([service, response, unsuccessful, lateness])
    }

    fn note(&mut self, phases: &Phases) {
        for (phase, took) in phases.each() {
            record(&mut self.phases[phase as usize], took);
        }
    }
}

/// Adds a time to a histogram of nanoseconds.
pub fn record(histogram: &mut Histogram<u64>, took: Duration) {
    // A growing histogram takes every value up to 584 years.
    let _ = histogram.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
}

/// How one arrival ended: what recorders count, and journals keep.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// Which arrival.
    pub arrival: u64,
    /// Which device of the fleet.
    pub device: u64,
    /// What it registers as.
    pub id: &'a str,
    /// When it was due.
    pub due: Instant,
    /// By how much it was started later than it could have been; open loads alone.
    pub lateness: Option<Duration>,
    /// How.
    pub outcome: &'a Outcome,
    /// The attempt, if one was started and came to an end by itself.
    pub attempt: Option<&'a Attempt>,
    /// What was wrong with the device on purpose.
    pub defect: Option<Defect>,
    /// Whether the scenario means it so.
    pub expected: bool,
    /// Which of the scenario's factories made the device; 0 where there are none.
    pub factory: usize,
}

/// Devices that stayed connected, so far.
pub type HeldCounts = reports::Held;

/// One shard's counts and times.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Instant,
    /// Arrivals that came due and were dealt with.
    pub offered: u64,
    /// Arrivals that were given a device.
    pub started: u64,
    /// Attempts that came to an end by themselves.
    pub finished: u64,
    /// Each ended arrival once.
    pub outcomes: Outcomes,
    /// Arrivals that ended otherwise than the scenario means.
    pub unexpected: u64,
    /// Why arrivals ended otherwise than they wanted: how many, and the registration id of one.
    pub reasons: HashMap<ReasonKey, (u64, String)>,
    /// Assigned devices by hub.
    pub hubs: HashMap<String, u64>,
    /// Assigned devices by the factory that made them.
    pub factories: BTreeMap<usize, u64>,
    /// Times.
    pub clocks: Clocks,
    /// What was tried again.
    pub retries: Retries,
    /// What the service said besides how attempts ended.
    pub heard: HeardCounts,
    /// Devices that stayed connected.
    pub held: HeldCounts,
    /// Arrivals that were due and waited for a slot.
    pub waited: u64,
    /// The longest such wait.
    pub waited_longest: Duration,
    /// What handshakes agreed on.
    pub tls: HashMap<TlsFacts, u64>,
    /// Which devices ended an attempt: a sum of hashes of their registration ids, in which order does not matter.
    pub device_set: u128,
    /// What happened in each second since the start; what is in flight is filled in when shards are joined.
    pub seconds: BTreeMap<u64, Second>,
    /// The first arrival of each outcome.
    pub samples: BTreeMap<OutcomeKind, Sample>,
    /// When the last attempt ended.
    pub last_finish: Instant,
}

impl Recorder {
    /// An empty recorder of a run that starts at `start`.
    pub fn new(start: Instant) -> Self {
        Recorder {
            start,
            offered: 0,
            started: 0,
            finished: 0,
            outcomes: Outcomes::default(),
            unexpected: 0,
            reasons: HashMap::new(),
            hubs: HashMap::new(),
            factories: BTreeMap::new(),
            clocks: Clocks::new(),
            retries: Retries::default(),
            heard: HeardCounts::default(),
            held: HeldCounts::default(),
            waited: 0,
            waited_longest: Duration::ZERO,
            tls: HashMap::new(),
            device_set: 0,
            seconds: BTreeMap::new(),
            samples: BTreeMap::new(),
            last_finish: start,
        }
    }

    /// When the run started.
    pub const fn start_of_run(&self) -> Instant {
        self.start
    }

    /// From the start to the end of the last attempt.
    pub fn wall(&self) -> Duration {
        self.last_finish - self.start
    }

    /// Whether nothing was noted yet.
    pub fn is_empty(&self) -> bool {
        self.offered == 0 && self.outcomes.total() == 0 && self.held == HeldCounts::default()
    }

    fn second(&mut self, moment: Instant) -> &mut Second {
        let t = moment.saturating_duration_since(self.start).as_secs();
        self.seconds.entry(t).or_insert_with(|| Second { t, ..Second::default() })
    }

    /// Notes that an arrival came due.
    pub fn offered(&mut self, due: Instant) {
        self.offered += 1;
        self.second(due).offered += 1;
    }

    /// Notes that an attempt was started.
    pub fn start(&mut self, now: Instant) {
        self.started += 1;
        self.second(now).started += 1;
    }

    /// Counts how an arrival ended, and keeps why.
    pub fn end(&mut self, ending: &Ending<'_>) {
        if let Some(attempt) = ending.attempt {
            self.finish(ending, attempt);
        } else if matches!(ending.outcome, Outcome::Shed) {
            let second = self.second(ending.due);
            second.shed += 1;
            second.ended(OutcomeKind::Shed);
        }
        self.unexpected += u64::from(!ending.expected);
        self.outcomes.add(kind(ending.outcome));
        if let Outcome::Assigned(assignment) = ending.outcome {
            match self.hubs.get_mut(&assignment.hub) {
                Some(count) => *count += 1,
                None => drop(self.hubs.insert(assignment.hub.clone(), 1)),
            }
            *self.factories.entry(ending.factory).or_default() += 1;
        }
        // Devices that got what they were after need no reason, but for a bad one that got in.
        if is_success(ending.outcome) && ending.expected {
            return;
        }
        let key = reason(ending);
        match self.reasons.get_mut(&key) {
            Some((count, _)) => *count += 1,
            None => drop(self.reasons.insert(key, (1, ending.id.to_owned()))),
        }
    }

    fn finish(&mut self, ending: &Ending<'_>, attempt: &Attempt) {
        self.finished += 1;
        self.last_finish = self.last_finish.max(attempt.finished);
        self.clocks.note(&attempt.phases);
        self.heard.add(&HeardCounts::from(attempt.heard));
        let service = attempt.finished.saturating_duration_since(attempt.started);
        let success = is_success(ending.outcome);
        let response = attempt.finished.saturating_duration_since(ending.due);
        if success {
            record(&mut self.clocks.service, service);
            record(&mut self.clocks.response, response);
        } else {
            record(&mut self.clocks.unsuccessful, service);
        }
        if let Some(lateness) = ending.lateness {
            record(&mut self.clocks.lateness, lateness);
        }
        if let Some(facts) = attempt.tls {
            *self.tls.entry(facts).or_default() += 1;
        }
        self.device_set = self.device_set.wrapping_add(digest(ending.id));
        let second = self.second(attempt.finished);
        second.finished += 1;
        second.assigned += u64::from(success);
        second.refused += u64::from(!success);
        second.ended(kind(ending.outcome));
        if success {
            second.responded(u64::try_from(response.as_micros()).unwrap_or(u64::MAX));
        }
        self.keep_sample(ending, attempt);
    }

    /// Keeps the first arrival of each outcome.
    fn keep_sample(&mut self, ending: &Ending<'_>, attempt: &Attempt) {
        let outcome = kind(ending.outcome);
        if self.samples.contains_key(&outcome) {
            return;
        }
        let start = self.start;
        let seconds = |moment: Instant| moment.saturating_duration_since(start).as_secs_f64();
        let phases = attempt.phases.each().map(|(phase, took)| PhaseTime {
            phase: phase.as_str().to_owned(),
            us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        });
        let sample = Sample {
            outcome,
            registration_id: ending.id.to_owned(),
            due_seconds: seconds(ending.due),
            started_seconds: seconds(attempt.started),
            finished_seconds: seconds(attempt.finished),
            phases: phases.collect(),
            retries: u64::from(attempt.retries.total()),
            ending: in_words(ending),
        };
        self.samples.insert(outcome, sample);
    }

    /// Notes what attempts tried again up to a moment; they are not asked for it when they end.
    pub fn again(&mut self, moment: Instant, retries: &sim_device::Retries) {
        if retries.total() == 0 {
            return;
        }
        self.retries.throttled += u64::from(retries.throttled);
        self.retries.server_error += u64::from(retries.server_error);
        self.retries.connection += u64::from(retries.connection);
        self.retries.timeout += u64::from(retries.timeout);
        let second = self.second(moment);
        second.retries += u64::from(retries.total());
        second.throttled += u64::from(retries.throttled);
    }

    /// Notes how many devices stay connected at a moment.
    pub fn stay(&mut self, moment: Instant, devices: u64) {
        if devices > 0 {
            self.second(moment).held = devices;
        }
    }

    /// Notes that an arrival waited for a slot.
    pub fn waited(&mut self, lasting: Duration) {
        self.waited += 1;
        self.waited_longest = self.waited_longest.max(lasting);
    }

    /// Counts arrivals of which it is not known how they ended, and why not.
    pub fn end_unheard(&mut self, arrivals: u64, message: &str) {
        if arrivals == 0 {
            return;
        }
        self.outcomes.add_many(OutcomeKind::Interrupted, arrivals);
        self.unexpected += arrivals;
        let key = ReasonKey {
            outcome: OutcomeKind::Interrupted,
            phase: None,
            code: None,
            message: message.to_owned(),
            defect: None,
            expected: false,
        };
        self.reasons.entry(key).or_insert_with(|| (0, String::new())).0 += arrivals;
    }

    /// Notes that a device is to stay connected.
    pub const fn hold(&mut self) {
        self.held.devices += 1;
    }

    /// Notes how a device stayed connected; `None` when it was told to leave.
    pub fn held(&mut self, held: Option<&Held>) {
        match held {
            Some(held) if held.dropped.is_some() => self.held.dropped += 1,
            Some(_) => self.held.kept += 1,
            None => self.held.released += 1,
        }
        self.held.pings += held.map_or(0, |held| u64::from(held.pings));
    }

    /// Adds another shard's recorder, or what this one noted since.
    pub fn add(&mut self, other: &Recorder) {
        self.offered += other.offered;
        self.started += other.started;
        self.finished += other.finished;
        self.unexpected += other.unexpected;
        for kind in OutcomeKind::ALL {
            self.outcomes.add_many(kind, other.outcomes.count(kind));
        }
        for (key, (count, id)) in &other.reasons {
            self.reasons.entry(key.clone()).or_insert_with(|| (0, id.clone())).0 += count;
        }
        for (hub, count) in &other.hubs {
            *self.hubs.entry(hub.clone()).or_default() += count;
        }
        for (factory, count) in &other.factories {
            *self.factories.entry(*factory).or_default() += count;
        }
        for (facts, count) in &other.tls {
            *self.tls.entry(*facts).or_default() += count;
        }
        for (mine, theirs) in self.clocks.all_mut().zip(other.clocks.all()) {
            // Growing histograms of one precision always add.
            let _ = mine.add(theirs);
        }
        for (&t, second) in &other.seconds {
            let mine = self.seconds.entry(t).or_insert_with(|| Second { t, ..Second::default() });
            mine.offered += second.offered;
            mine.started += second.started;
            mine.finished += second.finished;
            mine.assigned += second.assigned;
            mine.refused += second.refused;
            mine.shed += second.shed;
            mine.held += second.held;
            mine.retries += second.retries;
            mine.add_kinds(second);
        }
        for (outcome, sample) in &other.samples {
            let earlier = |mine: &Sample| mine.finished_seconds <= sample.finished_seconds;
            if !self.samples.get(outcome).is_some_and(earlier) {
                self.samples.insert(*outcome, sample.clone());
            }
        }
        self.retries = self.retries.plus(&other.retries);
        self.heard.add(&other.heard);
        self.waited += other.waited;
        self.waited_longest = self.waited_longest.max(other.waited_longest);
        self.held.devices += other.held.devices;
        self.held.kept += other.held.kept;
        self.held.dropped += other.held.dropped;
        self.held.released += other.held.released;
        self.held.pings += other.held.pings;
        self.device_set = self.device_set.wrapping_add(other.device_set);
        self.last_finish = self.last_finish.max(other.last_finish);
    }

    /// Every second of the run in order, with how many attempts were in flight at the end of each.
    pub fn series(&self) -> Vec<Second> {
        let last = self.seconds.keys().next_back().map_or(0, |last| last + 1);
        let mut in_flight = 0_u64;
        let filled = (0..last).map(|t| {
            let mut second = self.seconds.get(&t).cloned().unwrap_or(Second { t, ..Second::default() });
            in_flight = (in_flight + second.started).saturating_sub(second.finished);
            second.in_flight = in_flight;
            second
        });
        filled.collect()
    }
}

/// Whether a device got what it was after.
pub const fn is_success(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Assigned(_) | Outcome::Connected)
}

/// A registration id as a number of 128 bits (FNV-1a), for sums in which order does not matter.
fn digest(id: &str) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    id.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// Which kind of ending an outcome is.
pub const fn kind(outcome: &Outcome) -> OutcomeKind {
    match outcome {
        Outcome::Assigned(_) => OutcomeKind::Assigned,
        Outcome::Connected => OutcomeKind::Connected,
        Outcome::Refused(_) => OutcomeKind::Refused,
        Outcome::Disabled => OutcomeKind::Disabled,
        Outcome::Failed { .. } => OutcomeKind::Failed,
        Outcome::Throttled => OutcomeKind::Throttled,
        Outcome::Unreachable { .. } => OutcomeKind::Unreachable,
        Outcome::TimedOut { .. } => OutcomeKind::TimedOut,
        Outcome::ProtocolError { .. } => OutcomeKind::ProtocolError,
        Outcome::Shed => OutcomeKind::Shed,
        Outcome::Interrupted => OutcomeKind::Interrupted,
    }
}

/// How an arrival ended, in words.
fn in_words(ending: &Ending<'_>) -> String {
    match ending.outcome {
        Outcome::Assigned(assignment) => format!("assigned to {}", assignment.hub),
        Outcome::Connected => "connected".to_owned(),
        _ => {
            let ReasonKey { phase, code, message, .. } = reason(ending);
            let at = phase.map_or_else(String::new, |phase| format!(" at {}", phase.as_str()));
            let code = code.map_or_else(String::new, |code| format!("{code} "));
            format!("{}{at}: {code}{message}", kind(ending.outcome).as_str())
        }
    }
}

fn reason(ending: &Ending<'_>) -> ReasonKey {
    let (phase, code, message) = match ending.outcome {
        Outcome::Assigned(_) => (None, None, "assigned".to_owned()),
        Outcome::Connected => (None, None, "connected".to_owned()),
        Outcome::Refused(refused) => (Some(refused.phase), refused.code, refused.message.clone()),
        Outcome::Disabled => (None, None, "the enrollment is disabled".to_owned()),
        Outcome::Failed { code, message } => (None, *code, message.clone()),
        Outcome::Throttled => {
            let asked_again = ending.attempt.is_some_and(|attempt| attempt.retries.throttled > 0);
            let how = if asked_again { "asked again until it gave up" } else { "not tried again" };
            (None, None, how.to_owned())
        }
        Outcome::Unreachable { phase, cause } => (Some(*phase), None, cause.as_str().to_owned()),
        Outcome::TimedOut { phase } => (Some(*phase), None, "the time was up".to_owned()),
        Outcome::ProtocolError { phase, what } => (Some(*phase), None, (*what).to_owned()),
        Outcome::Shed => (None, None, "no slot was free when it was due".to_owned()),
        Outcome::Interrupted => (None, None, "the run was interrupted".to_owned()),
    };
    let (defect, expected) = (ending.defect, ending.expected);
    ReasonKey { outcome: kind(ending.outcome), phase, code, message, defect, expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_device::{Assignment, Refused};

    fn attempt(start: Instant, from: u64, to: u64, outcome: Outcome) -> Attempt {
        let at = |ms| start + Duration::from_millis(ms);
        Attempt {
            outcome,
            phases: Phases::default(),
            started: at(from),
            finished: at(to),
            retries: sim_device::Retries { throttled: 1, ..sim_device::Retries::default() },
            heard: Heard { throttled: 1, refused: 2, failed: 3, server_errors: 4, malformed: 5, unheard: 6 },
            tls: None,
        }
    }

    fn ending<'a>(attempt: &'a Attempt, due: Instant, id: &'a str) -> Ending<'a> {
        Ending {
            arrival: 0,
            device: 0,
            id,
            due,
            lateness: None,
            outcome: &attempt.outcome,
            attempt: Some(attempt),
            defect: None,
            expected: is_success(&attempt.outcome),
            factory: 0,
        }
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
        recorder.end(&ending(&attempt(start, 2000, 2010, assigned()), start, "dev"));
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
            let (attempt, id) = (attempt(start, from, to, outcome), format!("dev-{i}"));
            for recorder in [&mut whole, &mut parts[i % 2]] {
                recorder.offered(start);
                recorder.start(attempt.started);
                recorder.again(attempt.finished, &attempt.retries);
                recorder.end(&ending(&attempt, start, &id));
            }
        }
        let [mut joined, other] = parts;
        joined.add(&other);
        assert_eq!((joined.outcomes, joined.unexpected), (whole.outcomes, 2));
        assert_eq!((joined.retries, joined.retries.total()), (whole.retries, 4));
        let HeardCounts { throttled, refused, failed, server_errors, malformed, unheard } = joined.heard;
        assert_eq!([throttled, refused, failed, server_errors, malformed, unheard], [4, 8, 12, 16, 20, 24]);
        assert_eq!(joined.heard, whole.heard);
        assert_eq!(joined.reasons.len(), 1);
        assert_eq!(joined.series(), whole.series());
        assert_eq!(joined.clocks.service, whole.clocks.service);
        assert_eq!(joined.device_set, whole.device_set);
        assert_eq!(joined.samples, whole.samples);
        let assigned = &whole.samples[&OutcomeKind::Assigned];
        assert_eq!((assigned.registration_id.as_str(), assigned.ending.as_str()), ("dev-0", "assigned to h"));
        let first = &whole.series()[0];
        assert_eq!(first.outcomes.get(&OutcomeKind::Refused), Some(&1));
        assert_eq!(first.response_buckets, [(reports::bucket_of(5_000), 1)]);
        assert_eq!(whole.series().iter().map(|s| s.in_flight).collect::<Vec<_>>(), [2, 1, 0]);
    }

    #[test]
    fn the_set_of_devices_does_not_depend_on_their_order_and_tells_sets_apart() {
        let start = sim_device::now();
        let set = |ids: &[&str]| {
            let mut recorder = Recorder::new(start);
            ids.iter().for_each(|id| recorder.end(&ending(&attempt(start, 0, 1, assigned()), start, id)));
            recorder.device_set
        };
        assert_eq!(set(&["a", "b", "c"]), set(&["c", "a", "b"]));
        assert_ne!(set(&["a", "b", "c"]), set(&["a", "b", "d"]));
        assert_ne!(set(&["a", "b"]), set(&["a", "b", "b"]));
    }
}
