//! Arrivals, computed: a schedule is data.
//!
//! Nothing sleeps here. The n-th arrival is due where the integral of the rate reaches n, whatever happened
//! to the arrivals before it, so a stall can be charged to those that waited.
//!
//! The integral runs on from stage to stage, so a fraction of an arrival that one stage leaves is finished by
//! the next, after any pause. An arrival belongs to the stage in which the integral goes beyond its number:
//! 10 a second for 2 seconds are the arrivals 0 to 19, and number 20 comes with the next stage that has a
//! rate.

use crate::positions::Positions;
use crate::{Load, Spacing, Stage, Stair, WhenFull};
use std::sync::Arc;
use std::time::Duration;

/// Every arrival of a run: how many, and when each is due. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schedule {
    planned: u64,
    pace: Pace,
}

#[derive(Clone, Debug)]
enum Pace {
    Closed { stairs: Arc<[Step]> },
    Open { segments: Arc<[Segment]>, positions: Positions, max_in_flight: usize, when_full: WhenFull },
}

/// How many may be in flight from a moment on.
#[derive(Clone, Copy, Debug)]
struct Step {
    start: Duration,
    in_flight: usize,
}

/// A stage of an open load: when it starts, and with which arrival.
#[derive(Clone, Debug)]
struct Segment {
    start: Duration,
    first: u64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// A rate; `before` is the integral at its start, and `past` the arrivals of rates before it.
    Flow { flow: Flow, before: f64, past: u64 },
    /// All due at the start.
    AtOnce,
    /// Times from the start, sorted.
    Replay(Arc<[Duration]>),
}

/// Why a load and a fleet make no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleFault {
    /// More arrivals than devices.
    #[error("{arrivals} devices arrive, but the fleet has only {most}")]
    TooFewDevices {
        /// Arrivals of the load.
        arrivals: u64,
        /// Arrivals there are devices for.
        most: u64,
    },
    /// Nobody comes.
    #[error("no device ever arrives")]
    Nobody,
}

impl Schedule {
    /// The schedule of a load for at most `most` arrivals. `replays` holds the times of each recorded list,
    /// in the order of [`Load::replays`] and from the start of its stage; one that is missing is empty.
    /// `seed` is what random spacing is drawn from; it decides when arrivals are due and never how many there
    /// are.
    ///
    /// Stages that end make as many arrivals as they are written for, which may be fewer than `most`; a stage
    /// without an end takes all that are left, and what is written after it never comes.
    ///
    /// # Errors
    /// When the load has more arrivals than `most`, or none.
    pub fn new(load: &Load, most: u64, seed: u64, replays: &[Vec<Duration>]) -> Result<Self, ScheduleFault> {
        let (planned, pace) = match load {
            Load::Closed { stairs } => (most, Pace::Closed { stairs: steps(stairs) }),
            Load::Open { stages, spacing, max_in_flight, when_full } => {
                let layout = Layout::new(stages, most, replays)?;
                let positions = layout.positions(*spacing, seed);
                let planned = layout.planned;
                let segments = layout.numbered(&positions);
                let (max_in_flight, when_full) = (*max_in_flight, *when_full);
                (planned, Pace::Open { segments, positions, max_in_flight, when_full })
            }
        };
        if planned == 0 { Err(ScheduleFault::Nobody) } else { Ok(Self { planned, pace }) }
    }

    /// How many arrivals [`Schedule::new`] plans, without drawing any.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn count(load: &Load, most: u64, replays: &[Vec<Duration>]) -> Result<u64, ScheduleFault> {
        let planned = match load {
            Load::Closed { .. } => most,
            Load::Open { stages, .. } => Layout::new(stages, most, replays)?.planned,
        };
        if planned == 0 { Err(ScheduleFault::Nobody) } else { Ok(planned) }
    }

    /// How many arrivals there are.
    pub fn planned(&self) -> u64 {
        self.planned
    }

    /// When the arrival of this number (from 0) is due, from the start, to the nanosecond. Never falls as the
    /// number rises. 0 in a closed load, where a slot decides; [`Duration::MAX`], which is never, beyond the
    /// planned ones and beyond what a clock can hold.
    pub fn due(&self, arrival: u64) -> Duration {
        if arrival >= self.planned {
            return Duration::MAX;
        }
        let Pace::Open { segments, positions, .. } = &self.pace else {
            return Duration::ZERO;
        };
        let segment = segments.partition_point(|segment| segment.first <= arrival).checked_sub(1);
        let segment = segment.and_then(|at| segments.get(at));
        segment.map_or(Duration::MAX, |segment| segment.due(arrival, positions))
    }

    /// How many arrivals are due before this moment: those whose [`Schedule::due`] is earlier, not the one
    /// that is due at that very moment. In a closed load all of them.
    pub fn due_before(&self, moment: Duration) -> u64 {
        let Pace::Open { segments, positions, .. } = &self.pace else {
            return self.planned;
        };
        let started = segments.partition_point(|segment| segment.start < moment);
        let Some(segment) = started.checked_sub(1).and_then(|at| segments.get(at)) else {
            return 0;
        };
        // All of the segments before are due by the start of this one, none of those after.
        let (mut from, mut to) =
            (segment.first, segments.get(started).map_or(self.planned, |next| next.first));
        while from < to {
            let middle = from + (to - from) / 2;
            if segment.due(middle, positions) < moment { from = middle + 1 } else { to = middle }
        }
        from
    }

    /// When the last arrival is due; `None` where the service's pace decides.
    pub fn last_due(&self) -> Option<Duration> {
        self.is_open().then(|| self.due(self.planned.saturating_sub(1)))
    }

    /// Planned arrivals per second at a moment. 0 in a closed load, and where arrivals come by number and not
    /// by a rate: all at once, or replayed.
    pub fn rate(&self, moment: Duration) -> f64 {
        let Pace::Open { segments, .. } = &self.pace else {
            return 0.0;
        };
        let started = segments.partition_point(|segment| segment.start <= moment);
        match started.checked_sub(1).and_then(|at| segments.get(at)) {
            Some(Segment { start, shape: Shape::Flow { flow, .. }, .. }) => {
                flow.rate(moment.saturating_sub(*start).as_secs_f64())
            }
            _ => 0.0,
        }
    }

    /// The most arrivals that are due at one and the same moment; at least 1, and 1 in a closed load.
    pub fn largest_burst(&self) -> u64 {
        let Pace::Open { segments, .. } = &self.pace else {
            return 1;
        };
        let ends = segments.iter().skip(1).map(|next| next.first).chain([self.planned]);
        let (mut most, mut burst, mut moment) = (1, 0, Duration::ZERO);
        for (segment, end) in segments.iter().zip(ends) {
            let Segment { start, first, shape } = segment;
            match shape {
                // The last of what came before a moment may be due at that moment, and does not make a burst.
                Shape::Flow { .. } => burst = 0,
                Shape::AtOnce => {
                    burst = end - first + if *start == moment { burst } else { 0 };
                    (most, moment) = (most.max(burst), *start);
                }
                Shape::Replay(times) => {
                    let together = times.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap_or(0);
                    (most, burst) = (most.max(together as u64), 0);
                }
            }
        }
        most
    }

    /// Whether arrivals come by the clock and not by answers.
    pub const fn is_open(&self) -> bool {
        matches!(self.pace, Pace::Open { .. })
    }

    /// What happens to an arrival without a free slot. In a closed load every one waits for it.
    pub const fn when_full(&self) -> WhenFull {
        match self.pace {
            Pace::Closed { .. } => WhenFull::Wait,
            Pace::Open { when_full, .. } => when_full,
        }
    }

    /// The most devices in flight at a moment.
    pub fn slots(&self, moment: Duration) -> usize {
        match &self.pace {
            Pace::Closed { stairs } => {
                let started = stairs.partition_point(|step| step.start <= moment);
                started.checked_sub(1).and_then(|at| stairs.get(at)).map_or(1, |step| step.in_flight)
            }
            Pace::Open { max_in_flight, .. } => *max_in_flight,
        }
    }

    /// The most devices in flight at any moment.
    pub fn most_slots(&self) -> usize {
        match &self.pace {
            Pace::Closed { stairs } => stairs.iter().map(|step| step.in_flight).max().unwrap_or(1),
            Pace::Open { max_in_flight, .. } => *max_in_flight,
        }
    }

    /// The next moment after this one at which [`Schedule::slots`] changes.
    pub fn next_stair(&self, moment: Duration) -> Option<Duration> {
        let Pace::Closed { stairs } = &self.pace else {
            return None;
        };
        let started = stairs.partition_point(|step| step.start <= moment);
        stairs.get(started).map(|step| step.start)
    }
}

/// Stairs with the moment each starts at; one like the stair before it is no change.
fn steps(stairs: &[Stair]) -> Arc<[Step]> {
    let mut start = Duration::ZERO;
    let mut steps: Vec<_> = stairs
        .iter()
        .map(|stair| {
            let step = Step { start, in_flight: stair.in_flight };
            start = start.saturating_add(stair.lasts.unwrap_or_default());
            step
        })
        .collect();
    steps.dedup_by_key(|step| step.in_flight);
    steps.into()
}

impl Segment {
    /// When an arrival of this segment is due.
    fn due(&self, arrival: u64, positions: &Positions) -> Duration {
        let nth = arrival.saturating_sub(self.first);
        let after = match &self.shape {
            Shape::Flow { flow, before, past } => {
                let seconds = flow.reaches(positions.at(past + nth) - before);
                Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
            }
            Shape::AtOnce => Duration::ZERO,
            Shape::Replay(times) => {
                let time = usize::try_from(nth).ok().and_then(|nth| times.get(nth));
                time.copied().unwrap_or(Duration::MAX)
            }
        };
        self.start.saturating_add(after)
    }
}

/// A rate that is constant or changes evenly.
#[derive(Clone, Copy, Debug)]
struct Flow {
    from: f64,
    to: f64,
    /// Infinite where a constant rate has no end.
    seconds: f64,
}

impl Flow {
    fn is_nothing(self) -> bool {
        self.from <= 0.0 && self.to <= 0.0
    }

    /// The integral over all of it, in arrivals.
    fn area(self) -> f64 {
        if self.is_nothing() { 0.0 } else { (self.from + self.to) / 2.0 * self.seconds }
    }

    /// Arrivals per second after so many seconds.
    fn rate(self, seconds: f64) -> f64 {
        if seconds >= self.seconds {
            0.0
        } else if self.from == self.to {
            self.from
        } else {
            self.from + (self.to - self.from) * (seconds / self.seconds)
        }
    }

    /// After how many seconds the integral reaches `area`.
    fn reaches(self, area: f64) -> f64 {
        if area <= 0.0 {
            return 0.0;
        }
        if self.from == self.to {
            return (area / self.from).min(self.seconds);
        }
        // The root of `from t + slope t²/2 = area` in the form that subtracts no like numbers: a ramp that is
        // almost flat, or starts at 0, is as exact as any other. `reached` is the rate at that moment.
        let slope = (self.to - self.from) / self.seconds;
        let reached = (self.from * self.from + 2.0 * slope * area).max(0.0).sqrt();
        (2.0 * area / (self.from + reached)).min(self.seconds)
    }
}

/// Stages laid end to end, before their arrivals are numbered.
struct Layout {
    stretches: Vec<Stretch>,
    /// When the next stage starts.
    end: Duration,
    /// The integral of all rates that end.
    area: f64,
    /// Arrivals that come by number and not by a rate.
    counted: u64,
    /// Whether a rate goes on until every device has come.
    endless: bool,
    /// All arrivals.
    planned: u64,
}

/// A stage, when it starts, and the integral until then.
struct Stretch {
    start: Duration,
    before: f64,
    kind: Kind,
}

enum Kind {
    Flow(Flow),
    AtOnce(u64),
    Replay(Arc<[Duration]>),
}

impl Kind {
    fn counted(&self) -> u64 {
        match self {
            Self::Flow(_) => 0,
            Self::AtOnce(devices) => *devices,
            Self::Replay(times) => times.len() as u64,
        }
    }
}

impl Layout {
    fn new(stages: &[Stage], most: u64, replays: &[Vec<Duration>]) -> Result<Self, ScheduleFault> {
        let mut layout = Self {
            stretches: Vec::with_capacity(stages.len()),
            end: Duration::ZERO,
            area: 0.0,
            counted: 0,
            endless: false,
            planned: 0,
        };
        let mut replays = replays.iter();
        for stage in stages {
            match stage {
                Stage::Constant { rate, lasts: Some(lasts) } => layout.flow(*rate, *rate, *lasts),
                Stage::Ramp { from, to, lasts } => layout.flow(*from, *to, *lasts),
                Stage::AtOnce { devices: Some(devices) } => layout.add(Kind::AtOnce(*devices)),
                Stage::Replay { .. } => layout.replay(replays.next().map_or(&[][..], Vec::as_slice)),
                Stage::Constant { rate, lasts: None } => {
                    layout.endless = *rate > 0.0;
                    layout.add(Kind::Flow(Flow { from: *rate, to: *rate, seconds: f64::INFINITY }));
                    break;
                }
                Stage::AtOnce { devices: None } => {
                    layout.add(Kind::AtOnce(most.saturating_sub(layout.arrivals())));
                    break;
                }
            }
        }
        let arrivals = layout.arrivals();
        if arrivals > most {
            return Err(ScheduleFault::TooFewDevices { arrivals, most });
        }
        layout.planned = if layout.endless { most } else { arrivals };
        Ok(layout)
    }

    fn add(&mut self, kind: Kind) {
        self.counted = self.counted.saturating_add(kind.counted());
        self.stretches.push(Stretch { start: self.end, before: self.area, kind });
    }

    fn flow(&mut self, from: f64, to: f64, lasts: Duration) {
        let flow = Flow { from, to, seconds: lasts.as_secs_f64() };
        self.add(Kind::Flow(flow));
        self.area = settled(self.area + flow.area());
        self.end = self.end.saturating_add(lasts);
    }

    fn replay(&mut self, times: &[Duration]) {
        let times: Arc<[_]> = if times.is_sorted() {
            times.into()
        } else {
            let mut sorted = times.to_vec();
            sorted.sort_unstable();
            sorted.into()
        };
        let lasts = times.last().copied().unwrap_or_default();
        self.add(Kind::Replay(times));
        self.end = self.end.saturating_add(lasts);
    }

    /// Arrivals of all stages that end: the whole numbers, from 0, below the integral, and those that are
    /// counted.
    fn arrivals(&self) -> u64 {
        self.counted.saturating_add(self.area.ceil() as u64)
    }

    fn positions(&self, spacing: Spacing, seed: u64) -> Positions {
        let count = self.planned - self.counted;
        let total = if self.endless { f64::INFINITY } else { self.area };
        match spacing {
            Spacing::Even => Positions::even(count, total),
            Spacing::Poisson => Positions::poisson(count, total, seed),
        }
    }

    fn numbered(self, positions: &Positions) -> Arc<[Segment]> {
        let mut counted = 0;
        let number = |Stretch { start, before, kind }| {
            let past = positions.before(before);
            let first = past + counted;
            counted += Kind::counted(&kind);
            let shape = match kind {
                Kind::Flow(flow) => Shape::Flow { flow, before, past },
                Kind::AtOnce(_) => Shape::AtOnce,
                Kind::Replay(times) => Shape::Replay(times),
            };
            Segment { start, first, shape }
        };
        self.stretches.into_iter().map(number).collect()
    }
}

/// The integral without what rounding did to it: 1.1 a second for 10 seconds is 11 arrivals, though the
/// product of the two floats is a little more and would let in a twelfth.
fn settled(area: f64) -> f64 {
    let whole = area.round();
    if (area - whole).abs() <= 64.0 * f64::EPSILON * whole.max(1.0) { whole } else { area }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: u64 = 100_000_000;

    fn open(stages: Vec<Stage>, spacing: Spacing) -> Load {
        Load::Open { stages, spacing, max_in_flight: 7, when_full: WhenFull::Shed }
    }

    /// The even schedule of stages, for as many devices as it takes.
    fn even(stages: impl Into<Vec<Stage>>) -> Schedule {
        Schedule::new(&open(stages.into(), Spacing::Even), MANY, 1, &[]).expect("a schedule")
    }

    fn constant(rate: f64, seconds: f64) -> Stage {
        Stage::Constant { rate, lasts: Some(Duration::from_secs_f64(seconds)) }
    }

    fn endless(rate: f64) -> Stage {
        Stage::Constant { rate, lasts: None }
    }

    fn ramp(from: f64, to: f64, seconds: f64) -> Stage {
        Stage::Ramp { from, to, lasts: Duration::from_secs_f64(seconds) }
    }

    fn at_once(devices: u64) -> Stage {
        Stage::AtOnce { devices: Some(devices) }
    }

    fn replay() -> Stage {
        Stage::Replay { file: "arrivals.txt".to_owned() }
    }

    fn due_ms(schedule: &Schedule) -> Vec<u128> {
        (0..schedule.planned()).map(|arrival| schedule.due(arrival).as_millis()).collect()
    }

    /// Lists of stages of every kind, with fractions left over at their borders, and a recording.
    fn mixtures() -> Vec<Vec<Stage>> {
        vec![
            vec![constant(10.0, 2.0)],
            vec![ramp(0.0, 50.0, 3.0), constant(50.0, 1.3), ramp(50.0, 0.0, 2.7)],
            vec![
                constant(0.0, 5.0),
                constant(3.3, 7.1),
                at_once(40),
                ramp(3.3, 120.0, 0.9),
                constant(0.0, 1.0),
            ],
            vec![ramp(1e-3, 1e-3 + 1e-12, 5000.0), ramp(1000.0, 1000.0001, 1.0)],
            vec![constant(0.7, 1.0), replay(), constant(0.7, 1.0), constant(0.0, 9.0), constant(0.7, 1.0)],
            vec![at_once(3), at_once(4), ramp(0.0, 0.0, 1.0), ramp(0.0, 1.0, 100.0)],
            vec![ramp(5000.0, 0.0, 0.3), constant(12_345.6, 0.2)],
        ]
    }

    fn mixed(stages: Vec<Stage>, spacing: Spacing, seed: u64) -> Schedule {
        let recorded = [2.5, 0.25, 0.25, 1.0].map(Duration::from_secs_f64).to_vec();
        Schedule::new(&open(stages, spacing), MANY, seed, &[recorded]).expect("a schedule")
    }

    /// Every mixture, evenly and at random.
    fn all_mixtures() -> impl Iterator<Item = Schedule> {
        let drawn = |(seed, stages): (u64, Vec<Stage>)| mixed(stages, Spacing::Poisson, seed);
        let even = mixtures().into_iter().map(|stages| mixed(stages, Spacing::Even, 0));
        even.chain((0..).zip(mixtures()).map(drawn))
    }

    #[test]
    fn the_nth_arrival_of_a_rate_is_due_at_n_over_the_rate() {
        let schedule = even([constant(4.0, 1.25)]);
        assert_eq!(due_ms(&schedule), [0, 250, 500, 750, 1000]);
        assert_eq!(schedule.last_due(), Some(Duration::from_secs(1)));
        assert!(schedule.is_open());
        assert_eq!((schedule.slots(Duration::ZERO), schedule.most_slots()), (7, 7));
        assert_eq!((schedule.when_full(), schedule.next_stair(Duration::ZERO)), (WhenFull::Shed, None));
    }

    #[test]
    fn a_stage_makes_the_arrivals_below_its_integral() {
        let half = |rate, seconds| vec![constant(rate, seconds)];
        for (stages, planned) in [
            (half(10.0, 2.0), 20),
            (half(1.1, 10.0), 11),
            (half(0.1, 0.5), 1),
            (half(1.0 / 3.0, 60.0), 20),
            (half(2.0, 10.25), 21),
            (vec![ramp(0.0, 50.0, 20.0)], 500),
            (vec![ramp(50.0, 0.0, 20.0)], 500),
            (vec![ramp(10.0, 20.0, 1.0), constant(20.0, 1.0)], 35),
            (vec![constant(0.3, 1.0); 10], 3),
            (vec![constant(0.5, 1.0), at_once(5), constant(0.5, 1.0)], 6),
            (vec![constant(0.1, 1.0); 1000], 100),
        ] {
            assert_eq!(even(stages.clone()).planned(), planned, "{stages:?}");
        }
    }

    #[test]
    fn arrivals_are_due_where_the_integral_reaches_their_number() {
        for (stages, expected) in [
            // t²/2 = n
            (vec![ramp(0.0, 4.0, 4.0)], vec![0, 1414, 2000, 2449, 2828, 3162, 3464, 3741]),
            // 4t - t²/2 = n
            (vec![ramp(4.0, 0.0, 4.0)], vec![0, 258, 535, 837, 1171, 1550, 2000, 2585]),
            // A pause ends with the arrival whose number the integral had reached when it began.
            (vec![constant(0.0, 3.0), constant(2.0, 1.0)], vec![3000, 3500]),
            (vec![constant(2.0, 1.0), constant(0.0, 3.0), constant(2.0, 1.0)], vec![0, 500, 4000, 4500]),
            // Three quarters of an arrival are left to the next stage, which takes a quarter of its time for
            // them.
            (vec![constant(1.0, 1.75), constant(2.0, 1.0)], vec![0, 1000, 1875, 2375]),
            (
                vec![constant(1.0, 1.75), at_once(2), constant(2.0, 1.0)],
                vec![0, 1000, 1750, 1750, 1875, 2375],
            ),
            (vec![at_once(2), constant(1.0, 2.0), at_once(1)], vec![0, 0, 0, 1000, 2000]),
        ] {
            assert_eq!(due_ms(&even(stages.clone())), expected, "{stages:?}");
        }
    }

    #[test]
    fn arrivals_do_not_drift_over_a_long_run() {
        let schedule =
            Schedule::new(&open(vec![endless(300.0)], Spacing::Even), MANY + 1, 1, &[]).expect("one");
        for arrival in [1, 999_999, 30_000_000, 33_333_333, MANY] {
            let exact = u128::from(arrival) * 1_000_000_000 / 300;
            assert!(schedule.due(arrival).as_nanos().abs_diff(exact) <= 1, "{arrival}");
        }
        // The same in 10,000 stages, whose integrals are fractions.
        let stages = vec![constant(300.0, 33.301); 10_000];
        let schedule = even(stages);
        assert_eq!(schedule.planned(), 99_903_000);
        for arrival in [0, 9_990, 9_991, 50_000_000, 77_777_777, 99_902_999] {
            let exact = u128::from(arrival) * 1_000_000_000 / 300;
            assert!(schedule.due(arrival).as_nanos().abs_diff(exact) <= 1, "{arrival}");
        }
    }

    /// How long a stage of a rate lasts; `None` where it is none.
    fn length(stage: &Stage) -> Option<Duration> {
        match stage {
            Stage::Constant { lasts, .. } => *lasts,
            Stage::Ramp { lasts, .. } => Some(*lasts),
            Stage::AtOnce { .. } | Stage::Replay { .. } => None,
        }
    }

    #[test]
    fn the_sum_of_the_rate_up_to_an_arrival_is_its_number() {
        const STRIPS: u64 = 20_000;
        let mut checked = 0;
        for stages in mixtures() {
            let Some(lengths) = stages.iter().map(length).collect::<Option<Vec<_>>>() else { continue };
            let schedule = mixed(stages.clone(), Spacing::Even, 0);
            let (mut start, mut integral, mut due) = (Duration::ZERO, 0.0, 0);
            // No strip of the sum lies in two stages.
            for (length, strip) in
                lengths.iter().flat_map(|length| (0..STRIPS).map(move |strip| (*length, strip)))
            {
                let seconds = length.as_secs_f64() / STRIPS as f64;
                let from = start + Duration::from_secs_f64(strip as f64 * seconds);
                let to = start + Duration::from_secs_f64((strip + 1) as f64 * seconds);
                let rate = schedule.rate(from + (to - from) / 2);
                while schedule.due(due) < to {
                    let here = integral + rate * schedule.due(due).saturating_sub(from).as_secs_f64();
                    assert!((here - due as f64).abs() < 1e-3, "{stages:?}: {due} is due at {here}");
                    due += 1;
                }
                integral += rate * seconds;
                start = if strip + 1 == STRIPS { start + length } else { start };
            }
            assert_eq!(due, schedule.planned(), "{stages:?}");
            checked += due;
        }
        assert!(checked > 3000, "{checked}");
    }

    #[test]
    fn those_due_before_a_moment_are_those_whose_time_is_earlier() {
        for schedule in all_mixtures() {
            let end = schedule.last_due().expect("an end");
            let nanosecond = Duration::from_nanos(1);
            let beside = |moment: Duration| [moment.saturating_sub(nanosecond), moment, moment + nanosecond];
            let some = (0..=schedule.planned()).step_by(schedule.planned().div_ceil(500) as usize);
            let moments = some.map(|arrival| schedule.due(arrival).min(end)).chain([end]).flat_map(beside);
            for moment in moments.chain((0..50).map(|part| end * part / 40)) {
                let before = schedule.due_before(moment);
                assert!(before == 0 || schedule.due(before - 1) < moment, "{before} before {moment:?}");
                assert!(schedule.due(before) >= moment, "{before} before {moment:?}");
            }
            assert_eq!(schedule.due_before(Duration::ZERO), 0);
            assert_eq!(schedule.due_before(end + nanosecond), schedule.planned());
            assert_eq!(schedule.due_before(Duration::MAX), schedule.planned());
        }
    }

    #[test]
    fn no_arrival_is_due_before_the_one_in_front_of_it() {
        for schedule in all_mixtures() {
            let due: Vec<_> = (0..schedule.planned()).map(|arrival| schedule.due(arrival)).collect();
            assert!(due.is_sorted());
            assert_eq!(schedule.due(schedule.planned()), Duration::MAX);
        }
    }

    #[test]
    fn shards_of_a_schedule_have_all_its_arrivals_and_no_other() {
        for (stages, spacing) in
            mixtures().into_iter().zip([Spacing::Poisson, Spacing::Even].into_iter().cycle())
        {
            let whole = mixed(stages.clone(), spacing, 5);
            for shards in [2, 3, 8] {
                let shard = |index: u64| {
                    let schedule = mixed(stages.clone(), spacing, 5);
                    let arrivals = (index..schedule.planned()).step_by(shards as usize);
                    arrivals.map(|arrival| (arrival, schedule.due(arrival))).collect::<Vec<_>>()
                };
                let mut union: Vec<_> = (0..shards).flat_map(shard).collect();
                union.sort_unstable();
                let all = (0..whole.planned()).map(|arrival| (arrival, whole.due(arrival)));
                assert!(all.eq(union), "{shards} shards");
            }
        }
    }

    #[test]
    fn random_arrivals_follow_the_seed_and_are_as_many_as_even_ones() {
        for stages in mixtures() {
            let even = mixed(stages.clone(), Spacing::Even, 1);
            let [one, again, other] = [1, 1, 2].map(|seed| mixed(stages.clone(), Spacing::Poisson, seed));
            assert_eq!((one.planned(), other.planned()), (even.planned(), even.planned()));
            assert_eq!(due_ms(&one), due_ms(&again));
            assert_ne!(due_ms(&one), due_ms(&other), "{stages:?}");
            assert_ne!(due_ms(&one), due_ms(&even), "{stages:?}");
        }
    }

    #[test]
    fn random_arrivals_thicken_with_the_rate() {
        let stages =
            vec![constant(100.0, 100.0), ramp(100.0, 300.0, 100.0), constant(0.0, 10.0), endless(50.0)];
        let load = open(stages, Spacing::Poisson);
        let schedule = Schedule::new(&load, 50_000, 9, &[]).expect("a schedule");
        let between = |from, to| {
            let [from, to] = [from, to].map(Duration::from_secs);
            (schedule.due_before(to) - schedule.due_before(from)) as f64
        };
        // Five standard deviations of a Poisson count around the integral.
        for (from, to, expected) in [(0, 100, 10_000.0f64), (100, 200, 20_000.0), (210, 310, 5_000.0)] {
            let found = between(from, to);
            assert!((found - expected).abs() < 5.0 * expected.sqrt(), "{found} in {from} to {to}");
        }
        assert_eq!(between(200, 210).to_bits(), 0.0f64.to_bits());
        assert_eq!(schedule.planned(), 50_000);
    }

    #[test]
    fn gaps_of_a_random_rate_are_exponential() {
        let load = open(vec![endless(200.0)], Spacing::Poisson);
        let schedule = Schedule::new(&load, 100_001, 3, &[]).expect("a schedule");
        let due: Vec<_> = (0..=100_000).map(|arrival| schedule.due(arrival).as_secs_f64()).collect();
        let gaps: Vec<_> = due.windows(2).map(|pair| (pair[1] - pair[0]) * 200.0).collect();
        let mean = gaps.iter().sum::<f64>() / 1e5;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01 && (variance - 1.0).abs() < 0.03, "{mean}, {variance}");
    }

    #[test]
    fn what_comes_at_once_or_from_a_list_is_not_random() {
        let stages = vec![constant(2.0, 3.0), at_once(4), replay(), at_once(1)];
        let schedule = mixed(stages, Spacing::Poisson, 1);
        assert_eq!(schedule.planned(), 15);
        assert_eq!(due_ms(&schedule)[6..], [3000, 3000, 3000, 3000, 3250, 3250, 4000, 5500, 5500]);
    }

    #[test]
    fn a_list_is_replayed_from_the_start_of_its_stage() {
        let lists = [vec![Duration::from_secs(2), Duration::from_secs(1)], vec![Duration::from_millis(10)]];
        let load = open(vec![replay(), constant(1.0, 1.0), replay()], Spacing::Even);
        let schedule = Schedule::new(&load, 4, 1, &lists).expect("a schedule");
        assert_eq!(due_ms(&schedule), [1000, 2000, 2000, 3010]);
        let missing = Schedule::new(&load, 4, 1, &lists[..1]).map(|schedule| schedule.planned());
        assert_eq!(missing, Ok(3));
    }

    #[test]
    fn only_a_stage_without_an_end_goes_by_the_number_of_devices() {
        let all = Stage::AtOnce { devices: None };
        let too_few = |arrivals, most| Err(ScheduleFault::TooFewDevices { arrivals, most });
        for (stages, most, planned) in [
            (vec![constant(10.0, 2.0)], 20, Ok(20)),
            (vec![constant(10.0, 2.0)], 1000, Ok(20)),
            (vec![constant(10.0, 2.0)], 19, too_few(20, 19)),
            (vec![endless(10.0)], 19, Ok(19)),
            (vec![constant(10.0, 2.0), endless(5.0)], 25, Ok(25)),
            (vec![constant(10.0, 2.0), endless(5.0)], 20, Ok(20)),
            (vec![constant(10.0, 2.0), endless(5.0)], 3, too_few(20, 3)),
            (vec![constant(10.0, 2.0), endless(0.0)], 30, Ok(20)),
            (vec![constant(10.0, 2.0), all.clone()], 30, Ok(30)),
            (vec![all.clone()], 30, Ok(30)),
            (vec![at_once(31)], 30, too_few(31, 30)),
            (vec![constant(10.0, 2.0), at_once(11)], 30, too_few(31, 30)),
            (vec![constant(1e300, 2.0)], 30, too_few(u64::MAX, 30)),
            (vec![constant(0.0, 2.0)], 30, Err(ScheduleFault::Nobody)),
            (vec![endless(0.0)], 30, Err(ScheduleFault::Nobody)),
            (vec![endless(1.0)], 0, Err(ScheduleFault::Nobody)),
            (vec![replay()], 30, Err(ScheduleFault::Nobody)),
        ] {
            for spacing in [Spacing::Even, Spacing::Poisson] {
                let load = open(stages.clone(), spacing);
                let found = Schedule::new(&load, most, 1, &[]).map(|schedule| schedule.planned());
                assert_eq!(found, planned, "{stages:?} for {most}");
                assert_eq!(Schedule::count(&load, most, &[]), planned, "{stages:?} for {most}");
            }
        }
    }

    #[test]
    fn a_burst_is_as_many_as_are_due_at_one_moment() {
        for (stages, most) in [
            (vec![constant(100.0, 1.0)], 1),
            (vec![at_once(7)], 7),
            (vec![constant(10.0, 1.0), at_once(3), constant(10.0, 1.0), at_once(5)], 5),
            (vec![at_once(3), at_once(4)], 7),
            (vec![at_once(3), constant(0.0, 1.0), at_once(4)], 4),
            (vec![constant(10.0, 1.0), at_once(1)], 1),
        ] {
            let schedule = even(stages.clone());
            assert_eq!(schedule.largest_burst(), most, "{stages:?}");
            // Counted one by one.
            let due: Vec<_> = (0..schedule.planned()).map(|arrival| schedule.due(arrival)).collect();
            assert_eq!(
                due.chunk_by(|a, b| a == b).map(|burst| burst.len() as u64).max(),
                Some(most),
                "{stages:?}"
            );
        }
        let seconds =
            |times: &[u64]| vec![times.iter().map(|time| Duration::from_secs(*time)).collect::<Vec<_>>()];
        let replayed = |times: &[u64]| {
            Schedule::new(&open(vec![replay()], Spacing::Even), 9, 1, &seconds(times))
                .map(|made| made.largest_burst())
        };
        assert_eq!(replayed(&[1, 2, 2, 5, 5, 5, 6]), Ok(3));
        let closed = Load::Closed { stairs: vec![Stair { in_flight: 2, lasts: None }] };
        assert_eq!(Schedule::new(&closed, 9, 1, &[]).map(|made| made.largest_burst()), Ok(1));
    }

    #[test]
    fn a_rate_too_slow_for_the_clock_is_due_never() {
        for spacing in [Spacing::Even, Spacing::Poisson] {
            let schedule =
                Schedule::new(&open(vec![endless(1e-300)], spacing), 2, 1, &[]).expect("a schedule");
            assert_eq!(schedule.last_due(), Some(Duration::MAX));
        }
    }

    #[test]
    fn the_rate_is_that_of_the_stage() {
        let schedule = even([ramp(0.0, 10.0, 10.0), at_once(5), constant(0.0, 1.0), constant(7.0, 2.0)]);
        for (seconds, rate) in
            [(0.0, 0.0), (2.5, 2.5), (10.0, 0.0), (10.5, 0.0), (11.0, 7.0), (12.9, 7.0), (13.0, 0.0)]
        {
            let found = schedule.rate(Duration::from_secs_f64(seconds));
            assert!((found - rate).abs() < 1e-9, "{found} at {seconds}");
        }
    }

    #[test]
    fn a_closed_load_is_due_at_once() {
        let load = Load::Closed { stairs: vec![Stair { in_flight: 2, lasts: None }] };
        let schedule = Schedule::new(&load, 3, 1, &[]).expect("a schedule");
        assert!((0..3).all(|arrival| schedule.due(arrival) == Duration::ZERO));
        assert_eq!((schedule.planned(), schedule.last_due(), schedule.most_slots()), (3, None, 2));
        assert_eq!((schedule.due_before(Duration::ZERO), schedule.is_open()), (3, false));
        assert_eq!(
            Schedule::new(&load, 0, 1, &[]).map(|schedule| schedule.planned()),
            Err(ScheduleFault::Nobody)
        );
    }

    #[test]
    fn stairs_change_the_slots_at_their_moments() {
        let seconds = Duration::from_secs;
        let stair = |in_flight, lasts| Stair { in_flight, lasts };
        let stairs = [(10, 20), (10, 5), (50, 5), (20, 0)]
            .map(|(in_flight, lasts)| stair(in_flight, (lasts > 0).then(|| seconds(lasts))));
        let load = Load::Closed { stairs: stairs.into() };
        let schedule = Schedule::new(&load, 3, 1, &[]).expect("a schedule");
        let nanosecond = Duration::from_nanos(1);
        for (moment, slots, next) in [
            (Duration::ZERO, 10, Some(seconds(25))),
            (seconds(25) - nanosecond, 10, Some(seconds(25))),
            (seconds(25), 50, Some(seconds(30))),
            (seconds(30), 20, None),
            (seconds(9999), 20, None),
        ] {
            assert_eq!((schedule.slots(moment), schedule.next_stair(moment)), (slots, next), "{moment:?}");
        }
        assert_eq!(schedule.most_slots(), 50);
    }
}
