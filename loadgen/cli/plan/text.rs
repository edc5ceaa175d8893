//! A plan in words: at most 40 lines, and what does not fit is counted.

use super::View;
use super::plot::{Ink, plot};
use crate::cli::figures::{by, counted, cut, grouped, percent, rate, size, span};
use crate::cli::is_this_machine;
use crate::forecast::{Forecast, PORTS_PER_ADDRESS, QuotaUse, Rates};
use scenarios::{
    Action, Authority, Goal, Load, MockProfile, Retry, Scenario, Spacing, Stage, Target, WhenFull,
};
use sim_protocol::duration::written;
use std::time::Duration;

/// The longest line, in columns.
const WIDTH: usize = 100;
/// How wide the words before a line's figures are.
const LABEL: usize = 13;
/// How much of a line the names of stages, factories and defects take.
const ROOM: usize = 56;
/// How many lines gates and events have each.
const MOST_LISTED: usize = 5;

/// The plan, a line each.
pub(super) fn lines(view: &View<'_>, ink: Ink) -> Vec<String> {
    let (scenario, forecast) = (view.scenario, view.forecast);
    let mut lines = vec![cut(&headline(view), WIDTH)];
    lines.extend(item("fleet", fleet(scenario)));
    lines.extend(item("factories", factories(scenario)));
    lines.extend(item("defects", defects(scenario)));
    lines.extend(item("devices", device(scenario)));
    lines.extend(item("target", target(&scenario.target)));
    lines.extend(item("faults", faults(&scenario.target)));
    lines.extend(item("load", load(view)));
    lines.extend(item("arrivals", arrivals(view)));
    lines.extend(item("turns", turns(scenario, forecast)));
    if let Some((rates, last)) = forecast.rates.as_ref().zip(forecast.last_due_seconds) {
        lines.push(String::new());
        lines.extend(plot(rates, seconds(last), ink));
        lines.push(String::new());
    }
    lines.extend(item("in flight", in_flight(scenario, forecast)));
    lines.extend(item("ports", ports(forecast)));
    lines.extend(item("descriptors", descriptors(forecast, view.descriptors_limit)));
    lines.extend(item("memory", memory(forecast)));
    lines.extend(items("quota", quota(scenario, &forecast.quota)));
    lines.extend(item("polls", polls(forecast)));
    lines.extend(items("gates", listed(gates(scenario))));
    lines.extend(items("events", listed(events(scenario, forecast))));
    lines
}

/// A line, unless there is nothing to say.
fn item(label: &str, text: String) -> Option<String> {
    (!text.is_empty()).then(|| cut(&format!("{label:LABEL$}{text}"), WIDTH))
}

/// Lines of which the first has the label.
fn items(label: &str, texts: Vec<String>) -> impl Iterator<Item = String> {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    labels.zip(texts).filter_map(|(label, text)| item(label, text))
}

fn gates(scenario: &Scenario) -> Vec<String> {
    let said = |gate: &scenarios::Gate| {
        let abort = gate
            .abort_after
            .map(|after| format!(", ends the run when it is not met, not before {}", written(after)));
        format!("{gate}{}", abort.unwrap_or_default())
    };
    scenario.gates.iter().map(said).collect()
}

fn events(scenario: &Scenario, forecast: &Forecast) -> Vec<String> {
    let last = forecast.last_due_seconds.map(seconds);
    let said = |event: &scenarios::Event| {
        let late = last.is_some_and(|last| event.at > last);
        let late = if late { ", after the last arrival" } else { "" };
        format!("at {}: {}{late}", written(event.at), told(&event.action))
    };
    scenario.events.iter().map(said).collect()
}

fn headline(view: &View<'_>) -> String {
    let (name, forecast) = (&view.scenario.name, view.forecast);
    let arrivals = counted(forecast.arrivals, "arrival");
    match view.shard.count {
        1 => format!("{name}: {arrivals}"),
        count => format!(
            "{name}: {arrivals} of {}, shard {} of {count}",
            grouped(forecast.arrivals_of_all_shards),
            view.shard.index + 1
        ),
    }
}

fn fleet(scenario: &Scenario) -> String {
    let fleet = &scenario.fleet;
    let turns =
        if fleet.turns > 1 { format!(", {} turns each", grouped(fleet.turns)) } else { String::new() };
    let origin = match &fleet.authority {
        Authority::Minted { intermediates, issuing_validity, .. } => {
            let expiry = issuing_validity.map(|v| format!(", issuing for {}", written(v)));
            format!(
                "{} keys, {} above the leaf{}, seed {}",
                fleet.key.as_str(),
                intermediates_of(*intermediates),
                expiry.unwrap_or_default(),
                scenario.seed
            )
        }
        Authority::Files { certificate, .. } => {
            format!("{} keys, issued by {certificate}", fleet.key.as_str())
        }
        Authority::Directory { path } => format!("read from {path}"),
    };
    format!("{}{turns}; {origin}", counted(fleet.devices, "device"))
}

fn intermediates_of(count: u8) -> String {
    match count {
        0 => "the root alone".to_owned(),
        count => counted(count.into(), "intermediate"),
    }
}

fn factories(scenario: &Scenario) -> String {
    let devices = scenario.fleet.devices.max(1) as f64;
    let share = |factory: &scenarios::Factory| {
        let made = factory.members.end.saturating_sub(factory.members.start);
        format!("{} {}", factory.name.as_str(), percent(made as f64 / devices))
    };
    let each: Vec<_> = scenario.fleet.factories.iter().map(share).collect();
    named(&each, ", ")
}

fn defects(scenario: &Scenario) -> String {
    let fleet = &scenario.fleet;
    if fleet.defects.is_empty() {
        return String::new();
    }
    let each = fleet.defects.iter().map(|defect| format!("{} {}", grouped(defect.devices), defect.kind.id()));
    format!("{}: {}", counted(fleet.defective(), "device"), named(&each.collect::<Vec<_>>(), ", "))
}

/// As many as there is room for, at least one, and how many there are more.
fn named(all: &[String], between: &str) -> String {
    let mut named = String::new();
    for (at, each) in all.iter().enumerate() {
        if at > 0 && named.len() + between.len() + each.len() > ROOM {
            return format!("{named}, and {} more", all.len() - at);
        }
        named.push_str(if at > 0 { between } else { "" });
        named.push_str(each);
    }
    named
}

/// One a line, and how many there are more.
fn listed(mut all: Vec<String>) -> Vec<String> {
    if all.len() > MOST_LISTED {
        let more = all.len() - (MOST_LISTED - 1);
        all.truncate(MOST_LISTED - 1);
        all.push(format!("and {more} more"));
    }
    all
}

fn target(target: &Target) -> String {
    match target {
        Target::Mock(mock) => {
            let profile = match mock.profile {
                MockProfile::Unlimited => "no quotas",
                MockProfile::Azure => "the documented quotas (profile azure)",
                MockProfile::Chaos => "no quotas, small shares of many faults (profile chaos)",
            };
            format!("the embedded mock, on loopback; {profile}")
        }
        Target::Service(service) => {
            let place = if is_this_machine(&service.host) { "" } else { ", not on this machine" };
            format!("{}:{}{place}", service.host, service.port)
        }
    }
}

/// What goes wrong in the mock, by the ids of the faults, each once.
fn faults(target: &Target) -> String {
    let Target::Mock(mock) = target else { return String::new() };
    let mut ids: Vec<String> = mock.faults.iter().map(|rule| rule.fault.id().to_owned()).collect();
    ids.dedup();
    named(&ids, ", ")
}

/// What devices are after, and what they do when they get nowhere.
fn device(scenario: &Scenario) -> String {
    let device = &scenario.device;
    let goal = match device.goal {
        Goal::Assigned => "register",
        Goal::Connected => "connect alone",
    };
    let asked = if device.honour_retry_after { "" } else { ", whatever the service asks" };
    let times = |retries: u32| {
        if retries == 1 { "once".to_owned() } else { format!("{} times", grouped(retries.into())) }
    };
    let retry = match device.retry {
        Retry::Flavour => format!("as their client does{asked}"),
        Retry::None => "never".to_owned(),
        Retry::Fixed { wait, retries } => {
            format!("after {}, at most {}{asked}", written(wait), times(retries))
        }
        Retry::Exponential { first, most, jitter, retries } => format!(
            "after {} doubling to {}{}, at most {}{asked}",
            written(first),
            written(most),
            if jitter { " with jitter" } else { "" },
            times(retries)
        ),
        Retry::Naive => "at once, whatever the service asks".to_owned(),
    };
    format!("{goal}; try again {retry}")
}

/// When devices come more than once, and when a turn may be lost.
fn turns(scenario: &Scenario, forecast: &Forecast) -> String {
    let Some(turn) = forecast.turn_seconds.map(seconds) else { return String::new() };
    let hold = scenario.device.hold.map_or(Duration::ZERO, |hold| hold.lasts);
    let busy = hold.saturating_add(scenario.limits.attempt_timeout);
    let late = match scenario.load {
        _ if turn >= busy => "",
        Load::Open { when_full: WhenFull::Shed, .. } => "; one still busy then is shed",
        Load::Open { .. } | Load::Closed { .. } => "; one still busy then comes once it is done",
    };
    format!("each device comes again after {} or more{late}", span(turn))
}

fn load(view: &View<'_>) -> String {
    let part = match view.shard.count {
        1 => String::new(),
        count => format!("; this shard has one of {count} parts"),
    };
    format!("{}{part}", whole_load(&view.scenario.load))
}

/// A load in words.
pub(crate) fn whole_load(load: &Load) -> String {
    match load {
        Load::Closed { stairs } => {
            let stair = |stair: &scenarios::Stair| {
                let lasts = stair.lasts.map(|lasts| format!(" for {}", written(lasts)));
                format!("{}{}", grouped(stair.in_flight as u64), lasts.unwrap_or_default())
            };
            format!("closed: in flight {}", named(&stairs.iter().map(stair).collect::<Vec<_>>(), ", then "))
        }
        Load::Open { stages, spacing, .. } => {
            let poisson = if *spacing == Spacing::Poisson { ", at random" } else { "" };
            format!("open: {}{poisson}", named(&stages.iter().map(stage).collect::<Vec<_>>(), ", then "))
        }
    }
}

fn stage(stage: &Stage) -> String {
    match stage {
        Stage::Constant { rate: 0.0, lasts: Some(lasts) } => format!("nobody for {}", written(*lasts)),
        Stage::Constant { rate: each, lasts } => {
            let lasts = lasts.map(|lasts| format!(" for {}", written(lasts)));
            format!("{}/s{}", rate(*each), lasts.unwrap_or_default())
        }
        Stage::Ramp { from, to, lasts } => {
            format!("{}/s to {}/s in {}", rate(*from), rate(*to), written(*lasts))
        }
        Stage::AtOnce { devices: Some(devices) } => format!("{} at once", grouped(*devices)),
        Stage::AtOnce { devices: None } => "all at once".to_owned(),
        Stage::Replay { file } => format!("as recorded in {file}"),
    }
}

fn arrivals(view: &View<'_>) -> String {
    let forecast = view.forecast;
    let all = grouped(forecast.arrivals);
    let Some((Rates { mean, peak, .. }, last)) = forecast.rates.as_ref().zip(forecast.last_due_seconds)
    else {
        return format!("{all}, as fast as the service answers");
    };
    format!(
        "{all} in {}: {}/s on average, {}/s in the busiest second{}",
        by(seconds(last)),
        rate(*mean),
        rate(*peak),
        if view.sorted { "" } else { "; recorded times sorted" }
    )
}

fn in_flight(scenario: &Scenario, forecast: &Forecast) -> String {
    let full = match scenario.load {
        Load::Open { when_full: WhenFull::Wait, .. } => "; later ones wait for a slot",
        Load::Open { when_full: WhenFull::Shed, .. } => "; further ones are shed",
        Load::Closed { .. } => "",
    };
    let slots = slots(&scenario.load);
    let cap = match forecast.in_flight {
        fewer if fewer < slots => format!("{}, of {} slots", grouped(fewer), grouped(slots)),
        _ => counted(slots, "slot"),
    };
    let held = scenario
        .device
        .hold
        .map(|hold| format!("; about {} held for {}", grouped(forecast.held), written(hold.lasts)));
    format!("at most {cap}{full}{}", held.unwrap_or_default())
}

/// The cap on attempts at a time, where there are several the highest.
fn slots(load: &Load) -> u64 {
    let most = match load {
        Load::Closed { stairs } => stairs.iter().map(|stair| stair.in_flight).max().unwrap_or_default(),
        Load::Open { max_in_flight, .. } => *max_in_flight,
    };
    most as u64
}

fn ports(forecast: &Forecast) -> String {
    let ports = &forecast.ports;
    let of = format!("of {} that one source address has for one destination", grouped(PORTS_PER_ADDRESS));
    let addresses = |needed: u64| match needed {
        0 | 1 => String::new(),
        needed => format!(" ({} addresses)", grouped(needed)),
    };
    let waiting = match ports.with_time_wait {
        Some(all) => format!(
            "; {} with TIME_WAIT{}",
            grouped(all),
            addresses(ports.addresses_with_time_wait.unwrap_or(0))
        ),
        None => String::new(),
    };
    format!("{} {of}{}{waiting}", grouped(ports.open), addresses(ports.addresses))
}

fn descriptors(forecast: &Forecast, limit: Option<u64>) -> String {
    let needed = forecast.descriptors_needed;
    let allowed = match limit {
        Some(limit) if limit < needed => format!(", only {} allowed: too few", grouped(limit)),
        Some(limit) => format!(", {} allowed", grouped(limit)),
        None => String::new(),
    };
    format!("{} needed{allowed}", grouped(needed))
}

fn memory(forecast: &Forecast) -> String {
    let memory = &forecast.memory;
    let mock = if memory.mock > 0 { format!(", mock {}", size(memory.mock)) } else { String::new() };
    format!(
        "about {}: program {}, devices {}{mock}, certificates {}",
        size(memory.total()),
        size(memory.base),
        size(memory.devices),
        size(memory.identities)
    )
}

fn quota(scenario: &Scenario, quota: &QuotaUse) -> Vec<String> {
    let origin = if quota.documented { "documented" } else { "as the scenario says" };
    let real = if matches!(scenario.target, Target::Mock(_)) { "a real DPS" } else { "it" };
    let allowed = format!("{} registrations a minute ({origin})", grouped(quota.per_minute));
    let Some((peak, share)) = quota.peak_per_minute.zip(quota.share) else {
        return vec![
            format!("{allowed}; the service's pace decides how many are used"),
            format!(
                "{real} lets all through after {} at the earliest",
                span(seconds(quota.earliest_end_seconds))
            ),
        ];
    };
    let mut lines = vec![format!("{allowed}; the busiest minute has {}, {}", grouped(peak), percent(share))];
    if let Some((first, throttled)) = quota.throttled_from_seconds.zip(quota.throttled) {
        lines.push(format!(
            "{real} throttles {} of {} from {} on; {}",
            grouped(throttled),
            grouped(quota.registrations),
            span(seconds(first)),
            match scenario.device.retry {
                Retry::None => "they do not try again (device.retry.none)".to_owned(),
                _ => {
                    format!("retries get all in, not before {}", span(seconds(quota.earliest_end_seconds)))
                }
            }
        ));
    }
    lines
}

/// What comes of an `assign_delay` without `retry_after`.
pub(crate) const WITHOUT_PAUSE: &str = "for as long as `assign_delay` lasts it polls as fast as it can, as target.mock.retry_after is 0s: most of \
     the load is polls";

fn polls(forecast: &Forecast) -> String {
    let allowed = sim_dps::Limits::documented().polls_per_10s.unwrap_or(u32::MAX);
    let allowed = format!("{allowed} in 10 s are allowed to a device");
    match forecast.polls_per_10s {
        Some(polls) => format!("{allowed}; at the mock's pace it makes at most {polls}"),
        None if forecast.polls_without_pause => format!("{allowed}; {WITHOUT_PAUSE}"),
        None => allowed,
    }
}

/// An event in words.
pub(super) fn told(action: &Action) -> String {
    match action {
        Action::DisableGroup(name) => format!("disable group {name}"),
        Action::EnableGroup(name) => format!("enable group {name}"),
        Action::DeleteCa(root) => format!("delete the CA certificate of {root}"),
        Action::UnlinkHub(hub) => format!("unlink hub {hub}"),
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
