//! `rollcall plan`: checks a scenario and tells what its run will come to. No network.

mod document;
mod plot;
mod text;

pub(super) use text::WITHOUT_PAUSE;
pub(crate) use text::whole_load;

use super::is_this_machine;
use super::layers::ValueArgs;
use super::output::Output;
use super::run::Script;
use crate::exit::{Exit, Failure};
use crate::forecast::{self, Forecast, QUOTA_CAP, QuotaUse};
use crate::plan::ShardOf;
use clap::Args;
use reports::ScenarioText;
use scenarios::{Diagnostic, Place, Scenario, Schedule, ScheduleFault, Target};

/// `rollcall plan`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  rollcall plan steady
  rollcall plan scenario.toml --set fleet.devices=500000 --shard 1/4
  rollcall plan scenario.toml --json | jq .forecast.quota")]
pub struct PlanArgs {
    /// Scenario file, or the name of a shipped scenario
    #[arg(value_name = "SCENARIO")]
    pub scenario: String,
    /// What is set besides the scenario.
    #[command(flatten)]
    pub values: ValueArgs,
    /// Plan part i of n
    #[arg(long, value_name = "I/N", default_value = "1/1")]
    pub shard: ShardOf,
    /// Allow a target that is not on this machine, as `run --live` does
    #[arg(long)]
    pub live: bool,
    /// Allow more than 80 % of the quota of a target that is not on this machine
    #[arg(long)]
    pub over_quota: bool,
    /// Print the plan as JSON (schema rollcall.plan/1)
    #[arg(long)]
    pub json: bool,
}

/// Prints what the scenario comes to; fails like `run` would before it sends anything.
pub fn run(args: &PlanArgs, output: Output) -> Result<Exit, Failure> {
    let output = Output { json: args.json, ..output };
    let script = Script::with_settings(&args.scenario, &args.values, output)?;
    let schedule = script.schedule()?;
    let scenario = &script.scenario;
    let forecast = Forecast::of(scenario, &schedule, args.shard);
    let allowed = quota_check(scenario, &schedule, args.live, args.over_quota).map(drop);
    let view = View {
        scenario,
        text: &script.text,
        shard: args.shard,
        sorted: script.replays()?.iter().all(|times| times.is_sorted()),
        forecast: &forecast,
        descriptors_limit: descriptors_limit(),
        refused: allowed.as_ref().err(),
    };
    output.json(&document::of(&view));
    for line in text::lines(&view, plot::Ink::of_locale()) {
        output.line(line);
    }
    allowed.map(|()| Exit::Good)
}

/// What a plan is printed from.
struct View<'a> {
    scenario: &'a Scenario,
    text: &'a ScenarioText,
    shard: ShardOf,
    /// Whether recorded arrivals are in the order in which they come.
    sorted: bool,
    forecast: &'a Forecast,
    /// Descriptors that the process may have, where the system tells.
    descriptors_limit: Option<u64>,
    /// Why `run` would not send anything with these flags.
    refused: Option<&'a Failure>,
}

/// The limit that `run` can raise itself to.
fn descriptors_limit() -> Option<u64> {
    rlimit::getrlimit(rlimit::Resource::NOFILE).ok().map(|(_, hard)| hard)
}

/// Load and fleet that make no schedule, as a mistake of the scenario: with the line at which the load starts.
pub(crate) fn misfit(script: &Script, fault: &ScheduleFault) -> Diagnostic {
    let help = match fault {
        ScheduleFault::TooFewDevices { .. } => "raise `fleet.devices` or `fleet.turns`, or let fewer arrive",
        ScheduleFault::Nobody => "give a stage a rate above 0, or devices",
    };
    let place = load_place(&script.text.file, &script.text.text);
    Diagnostic { place, message: fault.to_string(), help: Some(help.to_owned()) }
}

/// Where the load section starts: its first header, or the first key that names it; the top of the file, if it does not
/// stand in there.
fn load_place(file: &str, text: &str) -> Place {
    let mut lines = text.lines().enumerate();
    let found = lines.clone().find(|(_, line)| is_load(line));
    let (at, line) = found.or_else(|| lines.next()).unwrap_or_default();
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    let meant = line.split('#').next().unwrap_or(line).trim();
    Place::Line {
        file: file.to_owned(),
        line: at + 1,
        column: indent + 1,
        width: meant.chars().count().max(1),
        source_line: line.to_owned(),
    }
}

fn is_load(line: &str) -> bool {
    let rest = line.trim_start().trim_start_matches('[').trim_start().strip_prefix("load");
    rest.is_some_and(|rest| rest.trim_start().starts_with([']', '.', '=']))
}

/// What a run asks of its target's quota; refuses what a target that is not this machine's is not to be sent unasked.
///
/// # Errors
/// Usage, when the target is not on this machine and `live` is not given, or the run asks for more than
/// [`QUOTA_CAP`] of its quota and `over_quota` is not given.
pub fn quota_check(
    scenario: &Scenario,
    schedule: &Schedule,
    live: bool,
    over_quota: bool,
) -> Result<QuotaUse, Failure> {
    let using = forecast::quota(scenario, schedule);
    let Target::Service(service) = &scenario.target else { return Ok(using) };
    let host = &service.host;
    if is_this_machine(host) {
        return Ok(using);
    }
    if !live {
        return Err(Failure::usage(format!("{host} is not on this machine, and --live was not given"))
            .advise("Add --live if you mean to send this load to it."));
    }
    if over_quota || using.is_within_cap() {
        return Ok(using);
    }
    let asked = match using.peak_per_minute {
        Some(peak) => format!("{peak} registrations in a minute"),
        None => format!("{} registrations as fast as it answers", using.registrations),
    };
    let allowed = (using.per_minute as f64 * QUOTA_CAP) as u64;
    let fault = format!(
        "{asked} are too much for {host}: {} a minute are its quota, of which a run takes {allowed}",
        using.per_minute
    );
    Err(Failure::usage(fault).advise(format!(
        "Let at most {:.1} devices a second arrive (`[load.open]`), set target.service.quota_per_minute to what the \
         service allows, or add --over-quota.",
        (using.capped_rate() * 10.0).floor() / 10.0
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::tests::{scenario, schedule as schedule_of};

    const CLOSED: &str = "[load.closed]\nin_flight = 8\n";

    fn service(host: &str, more: &str) -> String {
        format!(
            "[target.service]\nhost = \"{host}\"\nport = 8883\nid_scope = \"0ne00000001\"\ntrust_root = \"r.pem\"\n{more}"
        )
    }

    #[test]
    fn a_target_elsewhere_needs_leave_and_gets_four_fifths_of_its_quota() {
        let local = |load: &str| format!("{}{load}", service("127.0.0.1", ""));
        let azure = |load: &str| format!("{}{load}", service("dps.example.com", ""));
        let large =
            |load: &str| format!("{}{load}", service("dps.example.com", "quota_per_minute = 10000\n"));
        let fast = "[load.open]\nrate = 100.0\nmax_in_flight = 100\nwhen_full = \"wait\"\n";
        let slow = "[load.open]\nrate = 13.0\nmax_in_flight = 100\nwhen_full = \"wait\"\n";
        for (sections, live, over_quota, goes) in [
            (fast.to_owned(), false, false, true),
            (local(fast), false, false, true),
            (azure(slow), false, false, false),
            (azure(slow), false, true, false),
            (azure(slow), true, false, true),
            (azure(fast), true, false, false),
            (azure(fast), true, true, true),
            (azure(CLOSED), true, false, false),
            (large(fast), true, false, true),
        ] {
            let scenario = scenario(20_000, &sections);
            let checked = quota_check(&scenario, &schedule_of(&scenario), live, over_quota);
            let refused = checked.as_ref().err().map(|failure| failure.exit);
            assert_eq!(refused, (!goes).then_some(Exit::Usage), "{sections} {live} {over_quota}");
        }
    }

    #[test]
    fn a_load_that_makes_no_schedule_is_pointed_at() {
        for (text, expected) in [
            ("name = \"x\"\n[fleet]\n\n  [load.open] # storm\n", (4, 3, 11)),
            ("load.closed.in_flight = 5", (1, 1, 25)),
            ("[[load.open.stage]]\n", (1, 1, 19)),
            ("[ load . open ]", (1, 1, 15)),
            ("[loads]\nloaded = 1\n", (1, 1, 7)),
            ("", (1, 1, 1)),
        ] {
            let Place::Line { line, column, width, .. } = load_place("x.toml", text) else {
                panic!("{text}")
            };
            assert_eq!((line, column, width), expected, "{text}");
        }
    }

    /// The plan of a scenario in words.
    fn plan_of(scenario: &Scenario, shard: ShardOf) -> String {
        let forecast = Forecast::of(scenario, &schedule_of(scenario), shard);
        let text = ScenarioText::default();
        let view = View {
            scenario,
            text: &text,
            shard,
            sorted: false,
            forecast: &forecast,
            descriptors_limit: None,
            refused: None,
        };
        text::lines(&view, plot::Ink::Ascii).join("\n")
    }

    #[test]
    fn a_plan_tells_what_decides_how_devices_fare() {
        let load = "[load.open]\nrate = 100\nmax_in_flight = 50\nwhen_full = \"shed\"\n";
        let of = |more: &str, turns: u64| {
            let mut scenario = scenario(1_199, &format!("{load}{more}"));
            scenario.fleet.turns = turns;
            plan_of(&scenario, ShardOf { index: 1, count: 4 })
        };
        let throttle = "[target.mock]\ngroup = \"g\"\n[[target.mock.fault]]\nid = \"throttle\"\n";
        let event = "[[event]]\nat = \"200s\"\ndisable_group = \"g\"\n";
        let gate = "[[gate]]\nmetric = \"unexpected.count\"\nat_most = 0\nabort_after = \"2s\"\n";
        for (more, turns, told) in [
            ("", 1, "at most 50 slots; further ones are shed"),
            ("", 1, "300 in 12 s: 25/s on average"),
            ("", 1, "this shard has one of 4 parts"),
            ("", 1, "recorded times sorted"),
            ("", 1, "retries get all in"),
            ("[device.retry.none]\n", 1, "they do not try again"),
            ("[device.retry.naive]\n", 1, "try again at once"),
            ("[device.hold]\nlasts = \"20s\"\n", 2, "one still busy then is shed"),
            (throttle, 1, "faults       throttle"),
            (event, 1, "after the last arrival"),
            (gate, 1, "not before 2s"),
        ] {
            let plan = of(more, turns);
            assert!(plan.contains(told), "no `{told}` in\n{plan}");
        }
    }

    /// Factories, faults and events beside what the sections say.
    fn with_everything(scenario: &mut Scenario) {
        scenario.fleet.factories = crate::plan::fixture::with_factories(scenario.clone()).fleet.factories;
        if let Target::Mock(mock) = &mut scenario.target {
            mock.faults = sim_protocol::faults::chaos();
        }
        let group = scenarios::Action::DisableGroup("g".parse().expect("a name"));
        *scenario = crate::plan::fixture::with_events(scenario.clone(), &vec![group; 6]);
    }

    #[test]
    fn a_plan_of_a_hard_storm_fits_forty_lines() {
        let gates: String = ["p50", "p90", "p99", "p999", "max", "mean"]
            .map(|of| format!("[[gate]]\nmetric = \"response_time.{of}\"\nat_most = \"500ms\"\n"))
            .concat();
        let stages = "[[load.open.stage]]\nconstant = { rate = 100.0, lasts = \"10s\" }\n".repeat(30);
        let defects: String = ["time-leaf-expired", "cn-mismatch", "leaf-ca-true"]
            .iter()
            .map(|id| format!("[[fleet.defect]]\nid = \"{id}\"\ndevices = 1\n"))
            .collect();
        let load = "[load.open]\nmax_in_flight = 100\nwhen_full = \"shed\"\n";
        let mut scenario =
            scenario(15_000, &format!("{load}{stages}{gates}{defects}[device.hold]\nlasts = \"1m\"\n"));
        scenario.fleet.turns = 2;
        with_everything(&mut scenario);
        let schedule = schedule_of(&scenario);
        let forecast = Forecast::of(&scenario, &schedule, ShardOf::WHOLE);
        let name = scenario.name.clone();
        let text = ScenarioText { name, file: "x.toml".into(), ..ScenarioText::default() };
        let failure = Failure::usage("no");
        let view = View {
            scenario: &scenario,
            text: &text,
            shard: ShardOf { index: 1, count: 4 },
            sorted: false,
            forecast: &forecast,
            descriptors_limit: Some(100),
            refused: Some(&failure),
        };
        let lines = text::lines(&view, plot::Ink::Ascii);
        assert!(lines.len() <= 40, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 100 && line.is_ascii()), "{lines:#?}");
        let document = serde_json::to_value(document::of(&view)).expect("JSON");
        assert_eq!(document["schema"], "rollcall.plan/1");
        assert_eq!(document["forecast"]["arrivals"], 30_000);
        assert_eq!(document["refused"], "no");
        assert_eq!(document["descriptors_limit"], 100);
    }
}
