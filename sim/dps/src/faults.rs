//! Faults on demand: what goes wrong with whom at which point, as rules say.
//!
//! Pure: the moment is passed in and every draw follows from the seed. What happens to a device must not
//! depend on the order in which concurrent devices come, so a draw is a hash of the seed, the rule, the
//! point, the registration id and how often this device has come by this point since the rules were set. A
//! connection whose device is not known yet is told apart by its number. Windows depend on the moment alone; a pace
//! on the moment and on who came before.
//!
//! ours: all of it; the service has no such thing.

use crate::ids::mix;
use serde::Serialize;
use sim_identity::Seed;
use sim_protocol::faults::{Fault, FaultPoint, FaultRule};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use time::OffsetDateTime;

/// What a throttled device is asked to wait where the rule does not say. ours: the service's own is unknown.
const THROTTLED: Duration = Duration::from_secs(5);
/// Where a device is sent where the rule does not say: a name that never resolves (RFC 2606 section 2).
const WRONG_HUB: &str = "wrong-hub.invalid";
const SHARDS: usize = 64;
/// Devices whose visits are counted, in all shards together.
const MAX_DEVICES: usize = 4_000_000;

/// Rules, and what is counted so that their draws can be repeated.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    active: AtomicBool,
    rules: RwLock<Arc<Rules>>,
    /// How often faults struck under rules that are gone.
    gone: Mutex<BTreeMap<&'static str, u64>>,
}

/// A rule and how often it struck since the rules were set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleState {
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// How often it struck.
    pub applied: u64,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is closed.
    Drop,
    /// It stays open and never says anything again.
    HalfOpen,
}

/// A certificate of the server's that no device should take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerCertificate {
    /// It has expired.
    Expired,
    /// It is of another name.
    WrongName,
}

/// What goes wrong at one point: nothing by default.
///
/// At most one of `cut`, `throttle`, `server_error` and `return_code` is set. With a cut there is nothing
/// else but what is to be waited before it; with another of them, no `wrong_hub`, which is told to nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// How long to wait first: latency, what is left of a stall, a slow handshake.
    pub wait: Duration,
    /// End the conversation so.
    pub cut: Option<Cut>,
    /// Answer 429 with this retry-after.
    pub throttle: Option<Duration>,
    /// Answer this status, with this retry-after.
    pub server_error: Option<(u16, Option<Duration>)>,
    /// Answer CONNECT with this code.
    pub return_code: Option<u8>,
    /// Leave the PUBACK out.
    pub lost_puback: bool,
    /// Send the answer twice.
    pub duplicate: bool,
    /// Send the answer before the PUBACK.
    pub reordered: bool,
    /// Send a body that is no JSON.
    pub malformed: bool,
    /// Tell this hub in place of the assigned one.
    pub wrong_hub: Option<String>,
    /// Present this certificate.
    pub certificate: Option<ServerCertificate>,
    /// The ids of the faults above.
    pub applied: Vec<&'static str>,
}

/// Rules from the moment they were set, with everything that counts from then.
#[derive(Debug)]
struct Rules {
    since: OffsetDateTime,
    rules: Vec<Kept>,
    visits: Vec<Mutex<HashMap<u64, Visits>>>,
    accepted: [AtomicU64; POINTS],
}

/// One rule, and what is counted of it.
#[derive(Debug)]
struct Kept {
    rule: FaultRule,
    applied: AtomicU64,
    turns: Turns,
}

impl From<FaultRule> for Kept {
    fn from(rule: FaultRule) -> Self {
        Kept { rule, applied: AtomicU64::new(0), turns: Turns::default() }
    }
}

/// A queue that is worked off at a fixed rate, as the moment at which it will be empty: nanoseconds since the rules
/// were set. 580 years fit.
#[derive(Debug, Default)]
struct Turns(AtomicU64);

/// Nobody takes a turn: too many are ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct QueueFull;

impl Turns {
    /// Takes the next free turn; how long it is until then. At most `queue` may be ahead, the one in work included.
    fn take(&self, rate: f64, queue: Option<u32>, elapsed: Duration) -> Result<Duration, QueueFull> {
        let now = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        // Rates are above a thousandth: a turn is a quarter of an hour at most.
        let turn = ((1e9 / rate).round() as u64).max(1);
        let next = |free: u64| {
            let start = free.max(now);
            let ahead = (start - now).div_ceil(turn);
            let fits = queue.is_none_or(|queue| ahead <= u64::from(queue));
            fits.then(|| start.saturating_add(turn))
        };
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map(|free| Duration::from_nanos(free.saturating_sub(now))).map_err(|_| QueueFull)
    }
}

const POINTS: usize = FaultPoint::ALL.len();

/// How often a device has come by each point. 16 bits keep 4 million devices small; a device that comes by
/// more often than that meets the same draws again.
type Visits = [u16; POINTS];

impl Rules {
    fn new(rules: Vec<FaultRule>, since: OffsetDateTime) -> Self {
        Rules {
            since,
            rules: rules.into_iter().map(Kept::from).collect(),
            visits: (0..SHARDS).map(|_| Mutex::default()).collect(),
            accepted: Default::default(),
        }
    }

    /// How often the device has come by the point before.
    ///
    /// A shard that holds its part of [`MAX_DEVICES`] begins anew with the next device it has not seen: those
    /// before count from nothing again, so that from then on draws depend on the order of arrival.
    fn visit(&self, point: FaultPoint, device: u64) -> u64 {
        let shard = &self.visits[device as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= MAX_DEVICES / SHARDS && !shard.contains_key(&device) {
            shard.clear();
        }
        let visits = &mut shard.entry(device).or_default()[point as usize];
        let before = *visits;
        *visits = before.wrapping_add(1);
        before.into()
    }
}

impl Faults {
    /// No rules yet; those to come draw from this seed.
    pub fn new(seed: &Seed) -> Self {
        let word =
            seed.draw("faults", 0, 0).iter().take(8).fold(0, |word, &byte| word << 8 | u64::from(byte));
        let rules = Rules::new(Vec::new(), OffsetDateTime::UNIX_EPOCH);
        Faults {
            seed: word,
            active: AtomicBool::new(false),
            rules: RwLock::new(Arc::new(rules)),
            gone: Mutex::default(),
        }
    }

    /// Replaces all rules. Windows, draws and counts begin anew, so that the same rules do the same again.
    pub fn set(&self, rules: Vec<FaultRule>, now: OffsetDateTime) {
        let active = !rules.is_empty();
        let mut current = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        add(&mut self.gone.lock().unwrap_or_else(PoisonError::into_inner), &current);
        *current = Arc::new(Rules::new(rules, now));
        self.active.store(active, Ordering::Release);
    }

    /// The rules in their order, and how often each struck.
    pub fn rules(&self) -> Vec<RuleState> {
        let state = |kept: &Kept| RuleState {
            rule: kept.rule.clone(),
            applied: kept.applied.load(Ordering::Relaxed),
        };
        self.current().rules.iter().map(state).collect()
    }

    /// How often each kind of fault struck so far, whatever rules there were.
    pub fn totals(&self) -> BTreeMap<&'static str, u64> {
        let current = self.current();
        let mut totals = self.gone.lock().unwrap_or_else(PoisonError::into_inner).clone();
        add(&mut totals, &current);
        totals
    }

    /// Whether there are rules at all; without any, nothing else is looked at.
    pub fn active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    fn current(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What goes wrong with this device at this point, now. Every call counts as a visit of the device.
    pub fn at(&self, point: FaultPoint, registration_id: &str, now: OffsetDateTime) -> Effects {
        self.at_where(point, registration_id, now, |_| true)
    }

    /// The same over HTTPS, which leaves out what only MQTT has.
    pub fn at_https(&self, point: FaultPoint, registration_id: &str, now: OffsetDateTime) -> Effects {
        let mqtt_alone =
            |f: &Fault| matches!(f, Fault::LostPuback | Fault::DuplicateAnswer | Fault::ReorderedAnswer);
        self.at_where(point, registration_id, now, |rule| !mqtt_alone(&rule.fault))
    }

    fn at_where(
        &self,
        point: FaultPoint,
        registration_id: &str,
        now: OffsetDateTime,
        possible: impl Fn(&FaultRule) -> bool,
    ) -> Effects {
        if !self.active() {
            return Effects::default();
        }
        let rules = self.current();
        let concerned =
            rules.at(point).any(|(_, kept)| possible(&kept.rule) && kept.rule.concerns(registration_id));
        if !concerned {
            return Effects::default();
        }
        let device = hash(registration_id);
        let place = Place { point, device, visit: rules.visit(point, device) };
        rules.strike(self.seed, place, now, |rule| possible(rule) && rule.concerns(registration_id))
    }

    /// What goes wrong with the next connection at [`FaultPoint::Tcp`] or [`FaultPoint::Tls`], now: who the
    /// device is is not known yet, so the draw goes by how many connections came by before.
    pub fn at_accept(&self, point: FaultPoint, now: OffsetDateTime) -> Effects {
        if !self.active() {
            return Effects::default();
        }
        let rules = self.current();
        if rules.at(point).next().is_none() {
            return Effects::default();
        }
        let visit = rules.accepted[point as usize].fetch_add(1, Ordering::Relaxed);
        rules.strike(self.seed, Place { point, device: 0, visit }, now, |rule| rule.devices.is_none())
    }
}

/// Where a draw is made.
#[derive(Clone, Copy)]
struct Place {
    point: FaultPoint,
    device: u64,
    visit: u64,
}

impl Place {
    /// The number that belongs to this seed, rule and place, and to no other.
    fn draw(self, seed: u64, rule: usize) -> u64 {
        let which = (rule as u64) << 8 | self.point as u64;
        mix(mix(mix(seed ^ self.device) ^ which) ^ self.visit)
    }
}

impl Rules {
    fn at(&self, point: FaultPoint) -> impl Iterator<Item = (usize, &Kept)> {
        self.rules.iter().enumerate().filter(move |(_, kept)| kept.rule.at.contains(&point))
    }

    fn strike(
        &self,
        seed: u64,
        place: Place,
        now: OffsetDateTime,
        concerns: impl Fn(&FaultRule) -> bool,
    ) -> Effects {
        let elapsed = Duration::try_from(now - self.since).unwrap_or_default();
        let striking = |&(at, Kept { rule, .. }): &(usize, &Kept)| {
            concerns(rule) && in_time(rule, elapsed) && unit(place.draw(seed, at)) < rule.share
        };
        let mut striking: Vec<_> = self.at(place.point).filter(striking).collect();
        // What leaves no room for the others is settled first; among equals the first rule wins.
        striking.sort_by_key(|(_, kept)| precedence(&kept.rule.fault));
        let mut effects = Effects::default();
        for (at, kept) in striking {
            // Not the draw that let the rule strike: that one is small by now.
            let draw = mix(place.draw(seed, at));
            if effects.take(kept, draw, elapsed) {
                effects.applied.push(kept.rule.fault.id());
                kept.applied.fetch_add(1, Ordering::Relaxed);
            }
        }
        effects
    }
}

fn add(totals: &mut BTreeMap<&'static str, u64>, rules: &Rules) {
    for kept in &rules.rules {
        *totals.entry(kept.rule.fault.id()).or_default() += kept.applied.load(Ordering::Relaxed);
    }
}

fn in_time(rule: &FaultRule, elapsed: Duration) -> bool {
    elapsed >= rule.from.unwrap_or_default() && rule.until.is_none_or(|until| elapsed < until)
}

fn precedence(fault: &Fault) -> u8 {
    match fault {
        Fault::Drop | Fault::HalfOpen => 0,
        Fault::Throttle { .. }
        | Fault::ServerError { .. }
        | Fault::RefuseConnect { .. }
        | Fault::Pace { .. } => 1,
        _ => 2,
    }
}

impl Effects {
    /// Takes up what a rule does; false if it changes nothing.
    fn take(&mut self, kept: &Kept, draw: u64, elapsed: Duration) -> bool {
        let rule = &kept.rule;
        match &rule.fault {
            Fault::Latency { delay } | Fault::SlowTls { delay } => self.linger(delay.sample(draw)),
            Fault::Stall { lasting, every } => self.linger(held(rule, *lasting, *every, elapsed)),
            Fault::Pace { rate, queue } => self.queue_up(kept.turns.take(*rate, *queue, elapsed)),
            _ if self.cut.is_some() => false,
            Fault::Drop => fill(&mut self.cut, Cut::Drop),
            Fault::HalfOpen => fill(&mut self.cut, Cut::HalfOpen),
            fault => self.answer(fault),
        }
    }

    fn linger(&mut self, time: Duration) -> bool {
        self.wait = self.wait.saturating_add(time);
        !time.is_zero()
    }

    fn queue_up(&mut self, turn: Result<Duration, QueueFull>) -> bool {
        match turn {
            Ok(wait) => self.linger(wait),
            Err(QueueFull) => !self.is_settled() && fill(&mut self.throttle, THROTTLED),
        }
    }

    /// Whether the connection ends, or the answer is a refusal.
    fn is_settled(&self) -> bool {
        self.cut.is_some() || self.is_refused()
    }

    fn is_refused(&self) -> bool {
        self.throttle.is_some() || self.server_error.is_some() || self.return_code.is_some()
    }

    /// What becomes of an answer, where there is one.
    fn answer(&mut self, fault: &Fault) -> bool {
        let refused = self.is_refused();
        match fault {
            Fault::Throttle { retry_after } if !refused => {
                fill(&mut self.throttle, retry_after.unwrap_or(THROTTLED))
            }
            Fault::ServerError { status, retry_after } if !refused => {
                fill(&mut self.server_error, (*status, *retry_after))
            }
            Fault::RefuseConnect { return_code } if !refused => fill(&mut self.return_code, *return_code),
            Fault::WrongHub { hub } if !refused => {
                fill(&mut self.wrong_hub, hub.clone().unwrap_or_else(|| WRONG_HUB.to_owned()))
            }
            Fault::LostPuback => !std::mem::replace(&mut self.lost_puback, true),
            Fault::DuplicateAnswer => !std::mem::replace(&mut self.duplicate, true),
            Fault::ReorderedAnswer => !std::mem::replace(&mut self.reordered, true),
            Fault::MalformedBody => !std::mem::replace(&mut self.malformed, true),
            Fault::ServerCertificateExpired => fill(&mut self.certificate, ServerCertificate::Expired),
            Fault::ServerCertificateWrongName => fill(&mut self.certificate, ServerCertificate::WrongName),
            _ => false,
        }
    }
}

/// Fills what is empty; false if it is not.
fn fill<T>(place: &mut Option<T>, value: T) -> bool {
    let empty = place.is_none();
    if empty {
        *place = Some(value);
    }
    empty
}

/// What is left of the stall window that holds this moment, or of the rule if that ends before; zero between
/// windows.
fn held(rule: &FaultRule, lasting: Duration, every: Option<Duration>, elapsed: Duration) -> Duration {
    let since = elapsed.saturating_sub(rule.from.unwrap_or_default());
    let into = match every {
        Some(every) if !every.is_zero() => Duration::from_nanos_u128(since.as_nanos() % every.as_nanos()),
        _ => since,
    };
    let left = rule.until.map_or(Duration::MAX, |until| until.saturating_sub(elapsed));
    lasting.saturating_sub(into).min(left)
}

/// 53 bits of the draw as a number from 0 to below 1.
fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

/// FNV-1a of a registration id in the form in which ids are compared, well mixed.
fn hash(registration_id: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    mix(registration_id.bytes().map(|byte| byte.to_ascii_lowercase()).fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_protocol::delay::Delay;
    use sim_protocol::faults::chaos;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
    const REGISTER: FaultPoint = FaultPoint::Register;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn with(seed: u64, rules: Vec<FaultRule>) -> Faults {
        let faults = Faults::new(&Seed::from_number(seed));
        faults.set(rules, START);
        faults
    }

    fn rule(share: f64, fault: Fault) -> FaultRule {
        FaultRule { share, ..FaultRule::new(fault) }
    }

    fn applied(faults: &Faults) -> Vec<u64> {
        faults.rules().iter().map(|state| state.applied).collect()
    }

    /// What happens to a device that comes by every point three times.
    fn life(faults: &Faults, device: u32) -> Vec<Effects> {
        let points = FaultPoint::ALL.into_iter().filter(|point| point.knows_device());
        let visits = points.flat_map(|point| [point; 3]);
        visits.map(|point| faults.at(point, &format!("dev-{device}"), START)).collect()
    }

    #[test]
    fn a_device_meets_the_same_faults_in_whatever_order_devices_come() {
        let forward = with(1, chaos());
        let lives: Vec<_> = (0..2000).map(|device| life(&forward, device)).collect();
        let backward = with(1, chaos());
        let mut again: Vec<_> = (0..2000).rev().map(|device| life(&backward, device)).collect();
        again.reverse();
        assert_eq!(lives, again);
        assert_eq!(applied(&forward), applied(&backward));
        let interleaved = with(1, chaos());
        let first = |device: u32| interleaved.at(FaultPoint::Connect, &format!("DEV-{device}"), START);
        let connects: Vec<_> = (0..2000).map(first).collect();
        assert!(connects.iter().zip(&lives).all(|(connect, life)| *connect == life[0]), "case is folded");
        assert!(connects.iter().any(|connect| connect.return_code == Some(3)));
    }

    #[test]
    fn another_seed_and_another_visit_are_other_draws() {
        let strikes = |faults: &Faults| -> Vec<bool> {
            (0..64).map(|n| faults.at(REGISTER, &format!("dev-{n}"), START).cut.is_some()).collect()
        };
        let half = || vec![rule(0.5, Fault::Drop)];
        let (one, two) = (with(1, half()), with(2, half()));
        let first = strikes(&one);
        assert_ne!(first, strikes(&two));
        assert_ne!(first, strikes(&one), "the second visit");
        one.set(half(), START);
        assert_eq!(first, strikes(&one), "rules that are set begin anew");
        let twice = with(1, vec![rule(0.5, Fault::LostPuback), rule(0.5, Fault::DuplicateAnswer)]);
        let effects = |n| twice.at(REGISTER, &format!("dev-{n}"), START);
        assert!((0..64).map(effects).any(|e| e.lost_puback != e.duplicate), "two rules are two draws");
    }

    #[test]
    fn shares_come_out_as_asked_for() {
        for share in [0.0, 0.003, 0.05, 0.5, 1.0] {
            let faults = with(7, vec![rule(share, Fault::Drop)]);
            for device in 0..10_000 {
                faults.at(REGISTER, &format!("line-a-{device:05}"), START);
            }
            let (found, wanted) = (applied(&faults)[0] as f64, share * 10_000.0);
            // Four standard deviations of a binomial; none at 0 and 1.
            let tolerance = 4.0 * (wanted * (1.0 - share)).sqrt();
            assert!((found - wanted).abs() <= tolerance, "{share}: {found}");
        }
    }

    #[test]
    fn a_latency_is_spread_over_its_distribution_whatever_the_share() {
        let delay = Delay::Uniform { from: ms(100), to: ms(300) };
        let faults = with(3, vec![rule(0.1, Fault::Latency { delay })]);
        let waits = (0..20_000).map(|n| faults.at(REGISTER, &format!("dev-{n}"), START).wait.as_secs_f64());
        let waits: Vec<_> = waits.filter(|wait| *wait > 0.0).collect();
        let mean = waits.iter().sum::<f64>() / waits.len() as f64;
        assert!((0.195..0.205).contains(&mean), "{mean}");
    }

    #[test]
    fn a_rule_strikes_from_its_beginning_to_before_its_end() {
        let windowed = |from: Option<u64>, until: Option<u64>| {
            with(1, vec![FaultRule { from: from.map(ms), until: until.map(ms), ..rule(1.0, Fault::Drop) }])
        };
        for (from, until, at, expected) in [
            (None, None, 0, true),
            (Some(1000), None, 999, false),
            (Some(1000), None, 1000, true),
            (None, Some(2000), 1999, true),
            (None, Some(2000), 2000, false),
            (Some(1000), Some(2000), 1500, true),
        ] {
            let struck = windowed(from, until).at(REGISTER, "dev", START + ms(at)).cut.is_some();
            assert_eq!(struck, expected, "{from:?} to {until:?} at {at}");
        }
        let faults = windowed(None, Some(2000));
        assert!(faults.at(REGISTER, "dev", START - ms(5)).cut.is_some(), "a clock that was set back");
    }

    #[test]
    fn a_stall_holds_every_answer_until_its_window_ends() {
        let (once, again) = (None, Some(ms(10_000)));
        for (from, every, until, at, wait) in [
            (0, once, None, 0, 2000),
            (0, once, None, 1500, 500),
            (0, once, None, 2000, 0),
            (0, once, None, 10_500, 0),
            (1000, once, None, 500, 0),
            (1000, once, None, 1500, 1500),
            (1000, again, None, 3000, 0),
            (1000, again, None, 11_000, 2000),
            (1000, again, None, 31_001, 1999),
            (1000, again, Some(11_500), 11_100, 400),
            (1000, again, Some(11_500), 11_500, 0),
        ] {
            let fault = Fault::Stall { lasting: ms(2000), every };
            let rule = FaultRule { from: Some(ms(from)), until: until.map(ms), ..FaultRule::new(fault) };
            let faults = with(1, vec![rule]);
            let effects = faults.at(REGISTER, "dev", START + ms(at));
            assert_eq!(effects.wait, ms(wait), "{from} {every:?} {until:?} at {at}");
            assert_eq!(applied(&faults), [u64::from(wait > 0)], "{at}");
        }
    }

    fn paced(rate: f64, queue: Option<u32>) -> FaultRule {
        rule(1.0, Fault::Pace { rate, queue })
    }

    #[test]
    fn a_pace_gives_each_request_the_next_free_turn() {
        let faults = with(1, vec![paced(500.0, None)]);
        for (at, wait) in [(0, 0), (0, 2), (0, 4), (1, 5), (8, 0), (100, 0), (101, 1), (102, 2), (110, 0)] {
            assert_eq!(faults.at(REGISTER, "dev", START + ms(at)).wait, ms(wait), "at {at}");
        }
        assert_eq!(applied(&faults), [5], "who does not wait is not struck");
        let (slow, quick) = (with(1, vec![paced(500.0, None)]), with(1, vec![paced(500.0, None)]));
        let last = |faults: &Faults, rate: u64| {
            let at = |n: u64| faults.at(REGISTER, "dev", START + Duration::from_micros(n * 1_000_000 / rate));
            (0..rate * 10).fold(Duration::ZERO, |_, n| at(n).wait)
        };
        assert_eq!(last(&slow, 500), ms(0), "a rate it can keep up with");
        // One in 501 too many for ten seconds: ten turns, less what the last one came later.
        let behind = last(&quick, 501);
        assert!((ms(17)..=ms(20)).contains(&behind), "{behind:?}");
    }

    #[test]
    fn who_finds_too_many_ahead_is_throttled_and_takes_no_turn() {
        for (queue, waits) in [(0, [Some(0), None, None, None]), (2, [Some(0), Some(10), Some(20), None])] {
            let faults = with(1, vec![paced(100.0, Some(queue))]);
            for wait in waits {
                let effects = faults.at(REGISTER, "dev", START);
                assert_eq!(effects.throttle, wait.is_none().then_some(THROTTLED), "{queue}");
                assert_eq!(effects.wait, ms(wait.unwrap_or_default()), "{queue}");
            }
            let later = faults.at(REGISTER, "dev", START + ms(10));
            assert_eq!((later.throttle, later.wait), (None, ms(u64::from(queue) * 10)), "{queue}");
        }
    }

    #[test]
    fn each_rule_of_a_pace_has_a_queue_of_its_own_and_one_for_all_its_points() {
        let both = FaultRule { at: vec![REGISTER, FaultPoint::Poll], ..paced(100.0, None) };
        let faults = with(1, vec![both, paced(1000.0, None)]);
        let wait = |point| faults.at(point, "dev", START).wait;
        let waits = [wait(REGISTER), wait(FaultPoint::Poll), wait(REGISTER), wait(FaultPoint::Poll)];
        assert_eq!(waits, [ms(0), ms(10), ms(20) + ms(1), ms(30)]);
        let connections = FaultRule { at: vec![FaultPoint::Tls], ..paced(100.0, None) };
        let faults = with(1, vec![connections]);
        assert_eq!([0, 1].map(|_| faults.at_accept(FaultPoint::Tls, START).wait), [ms(0), ms(10)]);
    }

    #[test]
    fn a_full_queue_and_another_refusal_are_one_refusal() {
        let error = rule(1.0, Fault::ServerError { status: 500, retry_after: None });
        let hub = rule(1.0, Fault::WrongHub { hub: None });
        let faults = with(1, vec![hub, paced(1.0, Some(0)), error]);
        let first = faults.at(REGISTER, "dev", START);
        assert_eq!(first.applied, ["server-error"], "its turn is at once");
        let second = faults.at(REGISTER, "dev", START);
        assert_eq!((second.throttle, second.server_error), (Some(THROTTLED), None));
        assert_eq!(applied(&faults), [0, 1, 1]);
    }

    #[test]
    fn only_the_devices_and_points_of_a_rule_are_struck() {
        let line_a = FaultRule { devices: Some("line-a-*".to_owned()), ..rule(1.0, Fault::Drop) };
        let faults = with(1, vec![line_a]);
        for (point, id, expected) in [
            (REGISTER, "line-a-1", true),
            (REGISTER, "Line-A-1", true),
            (REGISTER, "line-b-1", false),
            (FaultPoint::Poll, "line-a-1", false),
        ] {
            assert_eq!(faults.at(point, id, START).cut.is_some(), expected, "{point} {id}");
        }
        assert_eq!(applied(&faults), [2]);
    }

    #[test]
    fn connections_are_drawn_in_the_order_they_come() {
        let slow = || vec![rule(0.5, Fault::SlowTls { delay: Delay::Fixed(ms(300)) })];
        let waits = |faults: &Faults| -> Vec<_> {
            (0..200).map(|_| faults.at_accept(FaultPoint::Tls, START).wait).collect()
        };
        let (one, again) = (with(1, slow()), with(1, slow()));
        let first = waits(&one);
        assert_eq!(first, waits(&again));
        assert_ne!(first, waits(&with(2, slow())));
        assert!(first.contains(&ms(300)) && first.contains(&Duration::ZERO));
        assert_eq!(one.at_accept(FaultPoint::Tcp, START), Effects::default());
    }

    #[test]
    fn effects_that_exclude_each_other_are_not_counted_twice() {
        let all = |fault| rule(1.0, fault);
        let throttle = || all(Fault::Throttle { retry_after: None });
        let latency = all(Fault::Latency { delay: Delay::Fixed(ms(10)) });
        let faults =
            with(1, vec![throttle(), all(Fault::DuplicateAnswer), latency.clone(), all(Fault::HalfOpen)]);
        let expected = Effects {
            wait: ms(10),
            cut: Some(Cut::HalfOpen),
            applied: vec!["half-open", "latency"],
            ..Effects::default()
        };
        assert_eq!(faults.at(REGISTER, "dev", START), expected);
        assert_eq!(applied(&faults), [0, 0, 1, 1]);
        let error = all(Fault::ServerError { status: 503, retry_after: Some(ms(3000)) });
        let faults =
            with(1, vec![all(Fault::WrongHub { hub: None }), error, throttle(), all(Fault::MalformedBody)]);
        let expected = Effects {
            server_error: Some((503, Some(ms(3000)))),
            malformed: true,
            applied: vec!["server-error", "malformed-body"],
            ..Effects::default()
        };
        assert_eq!(faults.at(REGISTER, "dev", START), expected);
        assert_eq!(applied(&faults), [0, 1, 0, 1]);
    }

    #[test]
    fn every_fault_has_an_effect_of_its_own() {
        let delay = Delay::Fixed(ms(5));
        let none = Effects::default;
        for (fault, effects) in [
            (Fault::Latency { delay }, Effects { wait: ms(5), ..none() }),
            (Fault::Stall { lasting: ms(9), every: None }, Effects { wait: ms(9), ..none() }),
            (Fault::Pace { rate: 1.0, queue: Some(0) }, Effects { throttle: Some(THROTTLED), ..none() }),
            (Fault::Throttle { retry_after: Some(ms(1000)) }, Effects { throttle: Some(ms(1000)), ..none() }),
            (
                Fault::ServerError { status: 500, retry_after: None },
                Effects { server_error: Some((500, None)), ..none() },
            ),
            (Fault::Drop, Effects { cut: Some(Cut::Drop), ..none() }),
            (Fault::HalfOpen, Effects { cut: Some(Cut::HalfOpen), ..none() }),
            (Fault::SlowTls { delay }, Effects { wait: ms(5), ..none() }),
            (Fault::RefuseConnect { return_code: 5 }, Effects { return_code: Some(5), ..none() }),
            (Fault::LostPuback, Effects { lost_puback: true, ..none() }),
            (Fault::DuplicateAnswer, Effects { duplicate: true, ..none() }),
            (Fault::ReorderedAnswer, Effects { reordered: true, ..none() }),
            (Fault::MalformedBody, Effects { malformed: true, ..none() }),
            (
                Fault::WrongHub { hub: Some("h".to_owned()) },
                Effects { wrong_hub: Some("h".to_owned()), ..none() },
            ),
            (
                Fault::ServerCertificateExpired,
                Effects { certificate: Some(ServerCertificate::Expired), ..none() },
            ),
            (
                Fault::ServerCertificateWrongName,
                Effects { certificate: Some(ServerCertificate::WrongName), ..none() },
            ),
        ] {
            let (id, point) = (fault.id(), fault.usually_at()[0]);
            let faults = with(1, vec![FaultRule::new(fault)]);
            if id == "pace" {
                assert_eq!(faults.at(point, "ahead", START), none(), "the first one finds nobody at work");
            }
            let found = if point.knows_device() {
                faults.at(point, "dev", START)
            } else {
                faults.at_accept(point, START)
            };
            assert_eq!(found, Effects { applied: vec![id], ..effects }, "{id}");
            assert_eq!(applied(&faults), [1], "{id}");
        }
    }

    #[test]
    fn without_rules_nothing_is_touched() {
        let faults = with(1, chaos());
        assert!(faults.active());
        life(&faults, 1);
        faults.set(Vec::new(), START);
        assert!(!faults.active());
        assert!(life(&faults, 1).into_iter().all(|effects| effects == Effects::default()));
        assert_eq!(faults.rules(), []);
        assert!(faults.current().visits.iter().all(|shard| shard.lock().expect("whole").is_empty()));
    }

    #[test]
    fn visits_are_kept_of_so_many_devices_and_no_more() {
        let faults = with(1, vec![rule(0.5, Fault::Drop)]);
        let rules = faults.current();
        let limit = (MAX_DEVICES / SHARDS) as u64;
        let device = |n: u64| n * SHARDS as u64;
        for n in 0..limit {
            assert_eq!(rules.visit(REGISTER, device(n)), 0);
        }
        assert_eq!(rules.visit(REGISTER, device(0)), 1);
        assert_eq!(rules.visit(REGISTER, device(limit)), 0, "one more than there is room for");
        assert_eq!(rules.visit(REGISTER, device(0)), 0, "begun anew");
        assert_eq!(rules.visit(REGISTER, device(limit)), 1);
    }

    #[test]
    fn a_rule_is_shown_with_its_count() {
        let faults = with(1, vec![rule(1.0, Fault::Drop)]);
        faults.at(REGISTER, "dev", START);
        let shown = serde_json::to_value(faults.rules()).expect("serializes");
        let expected = serde_json::json!([{"id": "drop", "at": ["register"], "share": 1.0, "applied": 1}]);
        assert_eq!(shown, expected);
    }

    #[test]
    fn totals_outlast_their_rules_and_https_knows_no_puback() {
        let faults = Faults::new(&Seed::from_number(1));
        let now = OffsetDateTime::UNIX_EPOCH;
        faults.set(vec![FaultRule::new(Fault::LostPuback)], now);
        assert!(faults.at_https(FaultPoint::Register, "dev-1", now).applied.is_empty());
        assert!(faults.at(FaultPoint::Register, "dev-1", now).lost_puback);
        faults.set(vec![FaultRule::new(Fault::MalformedBody)], now);
        assert!(faults.at_https(FaultPoint::Register, "dev-1", now).malformed);
        assert_eq!(
            faults.totals().into_iter().collect::<Vec<_>>(),
            [("lost-puback", 1), ("malformed-body", 1)]
        );
    }
}
