//! What a run will come to, computed from its scenario and its schedule: arrivals, connections, memory, quota.
//!
//! Pure, and no promise: how long the service takes is not known before, so what depends on it is given as a bound.

use crate::identities::AHEAD;
use crate::plan::ShardOf;
use scenarios::{Goal, Scenario, Schedule, Target};
use serde::Serialize;
use sim_dps::Limits;
use sim_protocol::delay::Delay;
use std::time::Duration;

/// Source ports of one address to one destination: 32768 to 60999, the default range on Linux.
pub const PORTS_PER_ADDRESS: u64 = 28_232;
/// How long a port cannot be used again after its connection was closed (TIME_WAIT on Linux).
pub const TIME_WAIT: Duration = Duration::from_secs(60);
/// Descriptors a process needs beside its connections.
pub const SPARE_DESCRIPTORS: u64 = 100;
/// Share of its quota that a service which is not this machine's is asked for, unless the user says otherwise.
pub const QUOTA_CAP: f64 = 0.8;

/// Memory of the program before the first device comes, in bytes: what `smoke` takes at most, without its devices.
const BASE_BYTES: u64 = 25 << 20;
/// Memory of the client for a connected device, in bytes (loadgen/benches/README.md, P6: 7.9 KiB).
const CLIENT_BYTES: u64 = 8_090;
/// Memory of the mock for a connected device, in bytes (loadgen/benches/README.md, P6: 12.2 KiB).
const MOCK_BYTES: u64 = 12_493;
/// Memory of a registration record in the mock, in bytes (README, "Figures").
const RECORD_BYTES: u64 = 470;
/// Memory of a certificate chain and key that are made ahead of need, in bytes (see [`AHEAD`]).
const IDENTITY_BYTES: u64 = 3_072;
/// The stretch over which a service counts registrations.
const MINUTE: Duration = sim_dps::quota::MINUTE;
/// Into how many stretches a run is cut at most when its busiest moment is looked for.
const SAMPLES: u64 = 100_000;
/// Columns of the curve at most.
const COLUMNS: usize = 60;

/// What a run, or one shard of it, will come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Forecast {
    /// Arrivals of this part.
    pub arrivals: u64,
    /// Arrivals of the whole run.
    pub arrivals_of_all_shards: u64,
    /// How arrivals come: `open` or `closed`.
    pub model: &'static str,
    /// When the last arrival is due, in seconds; absent where the service's pace decides.
    pub last_due_seconds: Option<f64>,
    /// Arrivals per second of this part; absent where the service's pace decides.
    pub rates: Option<Rates>,
    /// The most attempts in flight at a time.
    pub in_flight: u64,
    /// The most devices that stay connected at a time: those that come within the time one stays (Little's law).
    pub held: u64,
    /// The most connections at a time.
    pub connections: u64,
    /// Source ports.
    pub ports: Ports,
    /// File descriptors that the process needs.
    pub descriptors_needed: u64,
    /// Memory.
    pub memory: Memory,
    /// What the whole run asks of a service's quota.
    pub quota: QuotaUse,
    /// The shortest time from one turn of a device to its next, in seconds; absent where each comes once, or the service's
    /// pace decides.
    pub turn_seconds: Option<f64>,
    /// The most polls of one device in 10 seconds, where the scenario says how long it is to wait between two.
    pub polls_per_10s: Option<u64>,
    /// Whether devices are kept waiting for their assignment and not told how long: those whose flavour has no pause of its
    /// own poll as fast as they can.
    pub polls_without_pause: bool,
}

/// Arrivals per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// On average, until the last is due.
    pub mean: f64,
    /// In the busiest second.
    pub peak: f64,
    /// How many seconds one value of the curve is about.
    pub column_seconds: f64,
    /// The busiest second of each column, in order; at most 60.
    pub curve: Vec<f64>,
}

/// Source ports to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// In use at a time.
    pub open: u64,
    /// The same and those that were closed within a minute, for destinations whose ports are not used again sooner;
    /// absent where the service's pace decides.
    pub with_time_wait: Option<u64>,
    /// Source addresses that are enough for the ports in use.
    pub addresses: u64,
    /// Source addresses that are enough with those closed within a minute.
    pub addresses_with_time_wait: Option<u64>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Of the program itself.
    pub base: u64,
    /// Of connected devices.
    pub devices: u64,
    /// Of the embedded mock for the same, and for what it keeps of each.
    pub mock: u64,
    /// Of certificates and keys made ahead of need.
    pub identities: u64,
}

impl Memory {
    /// All of it.
    pub const fn total(&self) -> u64 {
        self.base + self.devices + self.mock + self.identities
    }
}

/// What a run asks of the quota on registrations. Retries are not in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct QuotaUse {
    /// Registrations a minute that the service allows.
    pub per_minute: u64,
    /// Whether that is what is documented, and not what the scenario says.
    pub documented: bool,
    /// Registrations of the run.
    pub registrations: u64,
    /// Registrations in the busiest minute; absent where the service's pace decides.
    pub peak_per_minute: Option<u64>,
    /// The same as a share of the quota.
    pub share: Option<f64>,
    /// When the first registration is throttled, in seconds; absent if none is.
    pub throttled_from_seconds: Option<f64>,
    /// Registrations that are throttled when they first ask, if those that were throttled do not ask again; absent where
    /// the service's pace decides.
    pub throttled: Option<u64>,
    /// When the last device is through at the earliest, if those that were throttled ask again; in seconds.
    pub earliest_end_seconds: f64,
}

impl QuotaUse {
    /// Whether no minute has more than [`QUOTA_CAP`] of the quota. Without a planned rate the whole run counts as one
    /// minute.
    pub fn is_within_cap(&self) -> bool {
        self.peak_per_minute.unwrap_or(self.registrations) as f64 <= self.per_minute as f64 * QUOTA_CAP
    }

    /// The constant rate that is within [`QUOTA_CAP`], per second.
    pub fn capped_rate(&self) -> f64 {
        self.per_minute as f64 * QUOTA_CAP / MINUTE.as_secs_f64()
    }
}

impl Forecast {
    /// What one part of a scenario will come to.
    pub fn of(scenario: &Scenario, schedule: &Schedule, shard: ShardOf) -> Self {
        let fleet = scenario.fleet.devices;
        let (all, devices) = (schedule.planned(), shard.share(fleet));
        let arrivals = shard.arrivals(all, fleet);
        let part = Part { schedule, share: if all == 0 { 0.0 } else { arrivals as f64 / all as f64 } };
        let most = devices.min(arrivals);
        let in_flight = most.min(schedule.most_slots() as u64);
        let held = scenario.device.hold.map_or(0, |hold| part.within(hold.lasts).unwrap_or(most).min(most));
        let connections = (in_flight + held).min(most);
        let is_mock = matches!(scenario.target, Target::Mock(_));
        Forecast {
            arrivals,
            arrivals_of_all_shards: all,
            model: if schedule.is_open() { "open" } else { "closed" },
            last_due_seconds: schedule.last_due().map(|due| due.as_secs_f64()),
            rates: schedule.is_open().then(|| part.rates()),
            in_flight,
            held,
            connections,
            ports: ports(connections, part.within(TIME_WAIT)),
            descriptors_needed: connections * if is_mock { 2 } else { 1 } + SPARE_DESCRIPTORS,
            memory: Memory {
                base: BASE_BYTES,
                devices: connections * CLIENT_BYTES,
                mock: if is_mock { connections * MOCK_BYTES + most * RECORD_BYTES } else { 0 },
                identities: most.min(AHEAD) * IDENTITY_BYTES,
            },
            quota: quota(scenario, schedule),
            turn_seconds: turn(schedule, fleet).map(|turn| turn.as_secs_f64()),
            polls_per_10s: polls(scenario),
            polls_without_pause: polls_without_pause(scenario),
        }
    }
}

/// A shard's part of a schedule. Its arrivals are spread evenly over those of the whole.
struct Part<'a> {
    schedule: &'a Schedule,
    /// 0 to 1.
    share: f64,
}

impl Part<'_> {
    /// The most arrivals within a stretch of time; `None` where the service's pace decides.
    fn within(&self, stretch: Duration) -> Option<u64> {
        self.schedule.is_open().then(|| (busiest(self.schedule, stretch) as f64 * self.share).ceil() as u64)
    }

    fn rates(&self) -> Rates {
        let last = self.schedule.last_due().unwrap_or_default();
        // The last arrival is within the last second, not at its end.
        let seconds = last.as_secs().saturating_add(1);
        let step = seconds.div_ceil(SAMPLES);
        let cells = seconds.div_ceil(step);
        let mut before = 0;
        let rate = |cell: u64| {
            let due = self.schedule.due_before(Duration::from_secs((cell + 1).saturating_mul(step)));
            let came = due - before;
            before = due;
            came as f64 * self.share / step as f64
        };
        let fine: Vec<f64> = (0..cells).map(rate).collect();
        let per_column = fine.len().div_ceil(COLUMNS).max(1);
        let busiest = |cells: &[f64]| cells.iter().copied().fold(0.0, f64::max);
        Rates {
            mean: self.schedule.planned() as f64 * self.share / last.as_secs_f64().max(1.0),
            peak: busiest(&fine),
            column_seconds: (per_column as u64).saturating_mul(step) as f64,
            curve: fine.chunks(per_column).map(busiest).collect(),
        }
    }
}

/// The shortest time between two turns of one device.
fn turn(schedule: &Schedule, devices: u64) -> Option<Duration> {
    let pairs = schedule.planned().checked_sub(devices).filter(|pairs| *pairs > 0 && schedule.is_open())?;
    let step = usize::try_from((pairs / SAMPLES).max(1)).unwrap_or(usize::MAX);
    let between = |first: u64| schedule.due(first + devices).saturating_sub(schedule.due(first));
    (0..pairs).step_by(step).map(between).min()
}

/// The most arrivals within any stretch of this length.
fn busiest(schedule: &Schedule, stretch: Duration) -> u64 {
    let planned = schedule.planned();
    let step = usize::try_from((planned / SAMPLES).max(1)).unwrap_or(usize::MAX);
    // Due times are rounded to the nanosecond: an arrival exactly one stretch later is not within it.
    let stretch = stretch.saturating_sub(Duration::from_micros(1));
    let from =
        |first: u64| schedule.due_before(schedule.due(first).saturating_add(stretch)).saturating_sub(first);
    (0..planned).step_by(step).map(from).max().unwrap_or(0)
}

fn ports(open: u64, closed_within_a_minute: Option<u64>) -> Ports {
    let with_time_wait = closed_within_a_minute.map(|closed| open + closed);
    let addresses = |ports: u64| ports.div_ceil(PORTS_PER_ADDRESS);
    Ports {
        open,
        with_time_wait,
        addresses: addresses(open),
        addresses_with_time_wait: with_time_wait.map(addresses),
    }
}

/// What a whole run asks of its service's quota. For the embedded mock: of a real instance's in its place.
pub fn quota(scenario: &Scenario, schedule: &Schedule) -> QuotaUse {
    let told = match &scenario.target {
        Target::Service(service) => service.quota_per_minute,
        Target::Mock(_) => None,
    };
    let documented = Limits::documented().registrations_per_minute;
    let per_minute = told.or(documented).map_or(u64::MAX, u64::from).max(1);
    let registers = scenario.device.goal == Goal::Assigned;
    let registrations = if registers { schedule.planned() } else { 0 };
    let open = schedule.is_open();
    let peak_per_minute = open.then(|| if registers { busiest(schedule, MINUTE) } else { 0 });
    let (first, throttled) = if open && registers { throttled(schedule, per_minute) } else { (None, 0) };
    QuotaUse {
        per_minute,
        documented: told.is_none(),
        registrations,
        peak_per_minute,
        share: peak_per_minute.map(|peak| peak as f64 / per_minute as f64),
        throttled_from_seconds: first.map(|first| first.as_secs_f64()),
        throttled: open.then_some(throttled),
        earliest_end_seconds: if registers { earliest_end(schedule, per_minute).as_secs_f64() } else { 0.0 },
    }
}

/// The first arrival's moment that finds the quota used up, and how many do. `ours:` as in the mock, a minute starts
/// with the first registration after the one before has passed.
fn throttled(schedule: &Schedule, per_minute: u64) -> (Option<Duration>, u64) {
    let (mut first, mut throttled, mut next) = (None, 0, 0);
    while next < schedule.planned() {
        let opened = schedule.due(next);
        let after = schedule.due_before(opened.saturating_add(MINUTE)).max(next + 1);
        let over = (after - next).saturating_sub(per_minute);
        if over > 0 {
            throttled += over;
            first.get_or_insert_with(|| schedule.due(next + per_minute));
        }
        next = after;
    }
    (first, throttled)
}

/// When the last arrival gets its registration, if those that found the quota used up ask again in the next minute.
fn earliest_end(schedule: &Schedule, per_minute: u64) -> Duration {
    let planned = schedule.planned();
    let (mut opened, mut through) = (schedule.due(0), 0);
    loop {
        let arrived = schedule.due_before(opened.saturating_add(MINUTE)).max(through + 1);
        through += per_minute.min(arrived - through);
        if through >= planned {
            return opened.max(schedule.last_due().unwrap_or_default());
        }
        opened = if arrived > through { opened.saturating_add(MINUTE) } else { schedule.due(through) };
    }
}

/// How often a device polls within 10 seconds, if the mock asks it to wait.
fn polls(scenario: &Scenario) -> Option<u64> {
    match &scenario.target {
        Target::Mock(mock) => sim_dps::quota::POLL_WINDOW.as_secs().checked_div(mock.retry_after.as_secs()),
        Target::Service(_) => None,
    }
}

/// See [`Forecast::polls_without_pause`].
pub fn polls_without_pause(scenario: &Scenario) -> bool {
    let Target::Mock(mock) = &scenario.target else { return false };
    mock.retry_after.is_zero() && mock.assign_delay != Delay::Fixed(Duration::ZERO)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A scenario of this fleet, load and whatever else its sections say.
    pub(crate) fn scenario(devices: u64, sections: &str) -> Scenario {
        let target = if sections.contains("[target") { "" } else { "[target.mock]\ngroup = \"g\"\n" };
        let text = format!(
            "name = \"x\"\n[fleet]\ndevices = {devices}\nregistration_id = \"d-{{index:09}}\"\n\
             [fleet.authority.minted]\nintermediates = 1\n{target}{sections}"
        );
        Scenario::parse("x.toml", &text, &[]).unwrap_or_else(|fault| panic!("{fault}"))
    }

    pub(crate) fn schedule(scenario: &Scenario) -> Schedule {
        Schedule::new(&scenario.load, scenario.most_arrivals(), scenario.seed, &[]).expect("a schedule")
    }

    fn forecast(devices: u64, sections: &str) -> Forecast {
        let scenario = scenario(devices, sections);
        Forecast::of(&scenario, &schedule(&scenario), ShardOf::WHOLE)
    }

    const CLOSED: &str = "[load.closed]\nin_flight = 64\n";

    fn open(rate: f64) -> String {
        format!("[load.open]\nrate = {rate:?}\nmax_in_flight = 500\nwhen_full = \"wait\"\n")
    }

    #[test]
    fn a_constant_rate_is_forecast_to_the_arrival() {
        let forecast = forecast(2_000, &open(200.0));
        let rates = forecast.rates.expect("an open load");
        assert_eq!(rates.curve, [200.0; 10]);
        assert_eq!((rates.peak, rates.column_seconds), (200.0, 1.0));
        assert_eq!((forecast.arrivals, forecast.in_flight, forecast.held), (2_000, 500, 0));
        assert_eq!(forecast.descriptors_needed, 2 * 500 + SPARE_DESCRIPTORS);
        assert!(forecast.last_due_seconds.is_some_and(|due| (9.9..10.0).contains(&due)));
        assert_eq!(
            forecast.ports,
            Ports { open: 500, with_time_wait: Some(2_500), addresses: 1, addresses_with_time_wait: Some(1) }
        );
    }

    #[test]
    fn long_runs_are_drawn_by_the_busiest_second_of_each_column() {
        let forecast = forecast(10_000, &open(1.0));
        let rates = forecast.rates.expect("an open load");
        assert!(rates.curve.len() <= COLUMNS, "{}", rates.curve.len());
        assert_eq!(rates.column_seconds, 167.0);
        assert!(rates.curve.iter().all(|rate| *rate == 1.0), "{:?}", rates.curve);
    }

    #[test]
    fn what_the_pace_of_the_service_decides_is_left_open() {
        let forecast = forecast(5_000, CLOSED);
        assert_eq!((forecast.model, forecast.rates, forecast.last_due_seconds), ("closed", None, None));
        assert_eq!((forecast.quota.peak_per_minute, forecast.quota.throttled), (None, None));
        assert_eq!(forecast.ports.with_time_wait, None);
        assert_eq!((forecast.in_flight, forecast.connections), (64, 64));
    }

    #[test]
    fn devices_that_stay_connected_are_those_that_come_while_one_stays() {
        let hold = "[device.hold]\nlasts = \"30s\"\n";
        for (sections, held) in [
            (format!("{}{hold}", open(10.0)), 300),
            (format!("{}{hold}", open(1_000.0)), 2_000),
            (format!("{CLOSED}{hold}"), 2_000),
            (CLOSED.to_owned(), 0),
        ] {
            assert_eq!(forecast(2_000, &sections).held, held, "{sections}");
        }
    }

    #[test]
    fn a_quota_is_used_minute_by_minute() {
        // The rate, the devices: in the busiest minute, throttled from when on and how many, through at the earliest.
        for (rate, devices, peak, from, throttled, end) in [
            (10.0, 3_000, 600, None, 0, 299.9),
            (20.0, 1_200, 1_200, Some(50.0), 200, 60.0),
            (20.0, 2_400, 1_200, Some(50.0), 400, 120.0),
            (100.0, 6_000, 6_000, Some(10.0), 5_000, 300.0),
        ] {
            let quota = forecast(devices, &open(rate)).quota;
            assert_eq!((quota.per_minute, quota.documented), (1_000, true));
            assert_eq!(quota.peak_per_minute, Some(peak), "{rate}");
            assert_eq!(quota.throttled, Some(throttled), "{rate}");
            let near = |a: f64, b: f64| (a - b).abs() < 0.2;
            assert!(near(quota.earliest_end_seconds, end), "{rate}: {}", quota.earliest_end_seconds);
            match (quota.throttled_from_seconds, from) {
                (Some(found), Some(meant)) => assert!(near(found, meant), "{rate}: {found}"),
                (found, meant) => assert_eq!(found, meant, "{rate}"),
            }
        }
        let closed = forecast(2_500, CLOSED).quota;
        assert_eq!((closed.registrations, closed.earliest_end_seconds), (2_500, 120.0));
    }

    #[test]
    fn four_fifths_of_a_quota_are_within_the_cap_and_one_more_is_not() {
        let within = |devices, sections: &str| forecast(devices, sections).quota.is_within_cap();
        for (devices, sections, expected) in [
            (10_000, open(800.0 / 60.0), true),
            (10_000, open(810.0 / 60.0), false),
            (800, open(10_000.0), true),
            (801, open(10_000.0), false),
            (800, CLOSED.to_owned(), true),
            (801, CLOSED.to_owned(), false),
            (100_000, format!("{CLOSED}[device]\ngoal = \"connected\"\n"), true),
        ] {
            assert_eq!(within(devices, &sections), expected, "{devices} {sections}");
        }
    }

    #[test]
    fn shards_share_arrivals_and_rates_and_each_may_have_all_slots() {
        let scenario = scenario(1_001, &open(100.0));
        let schedule = schedule(&scenario);
        let parts: Vec<_> =
            (0..4).map(|index| Forecast::of(&scenario, &schedule, ShardOf { index, count: 4 })).collect();
        assert_eq!(parts.iter().map(|part| part.arrivals).sum::<u64>(), 1_001);
        let peak: f64 = parts.iter().filter_map(|part| part.rates.as_ref()).map(|rates| rates.peak).sum();
        assert!((99.0..102.0).contains(&peak), "{peak}");
        assert!(parts.iter().all(|part| part.quota == parts[0].quota && part.in_flight <= 251));
    }

    #[test]
    fn devices_come_again_after_the_time_that_the_whole_fleet_takes() {
        for (turns, load, seconds) in
            [(1, open(10.0), None), (3, open(10.0), Some(2.0)), (3, CLOSED.to_owned(), None)]
        {
            let mut scenario = scenario(20, &load);
            scenario.fleet.turns = turns;
            let found = Forecast::of(&scenario, &schedule(&scenario), ShardOf::WHOLE).turn_seconds;
            let near = |(a, b): (f64, f64)| (a - b).abs() < 1e-6;
            assert!(found.zip(seconds).map_or(found == seconds, near), "{turns} turns, {load}: {found:?}");
        }
    }

    #[test]
    fn polls_are_counted_where_the_mock_says_how_long_to_wait() {
        for (wait, polls) in [("0s", None), ("1s", Some(10)), ("3s", Some(3)), ("20s", Some(0))] {
            let target = format!("[target.mock]\ngroup = \"g\"\nretry_after = \"{wait}\"\n{CLOSED}");
            assert_eq!(forecast(10, &target).polls_per_10s, polls, "{wait}");
        }
    }

    #[test]
    fn devices_poll_without_a_pause_where_they_are_kept_waiting_and_not_told_how_long() {
        for (mock, without) in [
            ("", false),
            ("assign_delay = \"1s\"\n", true),
            ("assign_delay = \"1s\"\nretry_after = \"1s\"\n", false),
            ("assign_delay = \"bimodal 1ms, 900ms, 5%\"\n", true),
        ] {
            let target = format!("[target.mock]\ngroup = \"g\"\n{mock}{CLOSED}");
            assert_eq!(forecast(10, &target).polls_without_pause, without, "{mock}");
        }
    }
}
