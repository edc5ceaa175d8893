//! A plan in words: at most 40 lines, and what does not fit is counted.

use super::View;
use super::plot::{Ink, plot};
use crate::cli::figures::{counted, cut, grouped, percent, rate, size, span};
use crate::cli::is_this_machine;
use crate::forecast::{Forecast, PORTS_PER_ADDRESS, QuotaUse, Rates};
use scenarios::{Action, Authority, Load, Scenario, Spacing, Stage, Target, WhenFull};
use sim_protocol::duration::written;
use std::time::Duration;

/// The longest line, in columns.
const WIDTH: usize = 110;
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
    lines.extend(item("target", target(&scenario.target)));
    lines.extend(item("load", load(&scenario.load)));
    lines.extend(item("arrivals", arrivals(forecast)));
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
    lines.extend(items("events", listed(events(scenario))));
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
        let abort = gate.abort_after.map(|after| format!(", ends the run after {}", written(after)));
        format!("{gate}{}", abort.unwrap_or_default())
    };
    scenario.gates.iter().map(said).collect()
}

fn events(scenario: &Scenario) -> Vec<String> {
    let said = |event: &scenarios::Event| format!("at {}: {}", written(event.at), told(&event.action));
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
        Authority::Minted { intermediates, .. } => {
            format!(
                "{} keys, {} above the leaf, seed {}",
                fleet.key.as_str(),
                intermediates_of(*intermediates),
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
        Target::Mock(_) => "the embedded mock, on loopback".to_owned(),
        Target::Service(service) => {
            let place = if is_this_machine(&service.host) { "" } else { ", not on this machine" };
            format!("{}:{}{place}", service.host, service.port)
        }
    }
}

fn load(load: &Load) -> String {
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

fn arrivals(forecast: &Forecast) -> String {
    let all = grouped(forecast.arrivals);
    let Some((Rates { mean, peak, .. }, last)) = forecast.rates.as_ref().zip(forecast.last_due_seconds)
    else {
        return format!("{all}, as fast as the service answers");
    };
    format!(
        "{all} in {}: {}/s on average, {}/s in the busiest second",
        span(seconds(last)),
        rate(*mean),
        rate(*peak)
    )
}

fn in_flight(scenario: &Scenario, forecast: &Forecast) -> String {
    let full = match scenario.load {
        Load::Open { when_full: WhenFull::Wait, .. } => "; later ones wait for a slot",
        Load::Open { when_full: WhenFull::Shed, .. } => "; further ones are shed",
        Load::Closed { .. } => "",
    };
    let held = scenario
        .device
        .hold
        .map(|hold| format!("; about {} held for {}", grouped(forecast.held), written(hold.lasts)));
    format!("at most {}{full}{}", grouped(forecast.in_flight), held.unwrap_or_default())
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
    let mock = if memory.mock > 0 { format!(", the mock {}", size(memory.mock)) } else { String::new() };
    format!(
        "about {}: devices {}{mock}, certificates ahead of need {}",
        size(memory.total()),
        size(memory.devices),
        size(memory.identities)
    )
}

fn quota(scenario: &Scenario, quota: &QuotaUse) -> Vec<String> {
    let origin = if quota.documented { "documented" } else { "as the scenario says" };
    let real = if matches!(scenario.target, Target::Mock(_)) { "a real instance" } else { "it" };
    let allowed = format!("{} registrations a minute ({origin})", grouped(quota.per_minute));
    let Some((peak, share)) = quota.peak_per_minute.zip(quota.share) else {
        return vec![
            format!("{allowed}; how many this run asks for, the service's pace decides"),
            format!(
                "{real} lets all through after {} at the earliest",
                span(seconds(quota.earliest_end_seconds))
            ),
        ];
    };
    let mut lines = vec![format!("{allowed}; the busiest minute has {}, {}", grouped(peak), percent(share))];
    if let Some((first, throttled)) = quota.throttled_from_seconds.zip(quota.throttled) {
        lines.push(format!(
            "{real} throttles {} of {}, from {} on; with retries all are through after {}",
            grouped(throttled),
            grouped(quota.registrations),
            span(seconds(first)),
            span(seconds(quota.earliest_end_seconds))
        ));
    }
    lines
}

fn polls(forecast: &Forecast) -> String {
    let allowed = sim_dps::Limits::documented().polls_per_10s.unwrap_or(u32::MAX);
    let allowed = format!("{allowed} in 10 s are allowed to a device");
    match forecast.polls_per_10s {
        Some(polls) => format!("{allowed}; at the mock's pace it makes at most {polls}"),
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
