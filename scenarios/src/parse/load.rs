//! How devices arrive, as a scenario writes it.
//!
//! Shapes that people know by a name (steps, a spike, shifts of a factory) become plain stages here, so that
//! nothing behind the parser knows them.

use super::{DAY, MOST_DEVICES, SHORTEST};
use crate::kind::{Found, Kind, Wrong, duration, kind, one_of, rate, rate_or_none, text, whole};
use crate::language::Rule;
use crate::reader::{Form, Section};
use crate::{Load, Spacing, Stage, Stair, WhenFull};
use serde_json::json;
use std::time::Duration;

/// ours: more than one machine has descriptors for.
const MOST_IN_FLIGHT: u64 = 1_000_000;
/// ours: arrivals a second, more than machines enough for a fleet start.
const MOST_RATE: f64 = 1_000_000.0;
/// ours: stages of one load, after shapes became plain ones.
const MOST_STAGES: u64 = 10_000;
/// ours: longer than a test of any storm.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// What a load can be, by its key.
const LOADS: [(&str, Form<Load>); 2] = [("closed", closed), ("open", open)];

pub(super) fn load(mut section: Section<'_>) -> Option<Load> {
    section.variant(&LOADS)
}

fn closed(mut section: Section<'_>) -> Option<Load> {
    let in_flight = section.optional("in_flight", slots());
    let stages = each(section.sections("stage"), stair);
    section.close();
    let stairs = if in_stages(&section, "in_flight", "64")? {
        stairs(&section, stages)?
    } else {
        vec![Stair { in_flight: in_flight??, lasts: None }]
    };
    Some(Load::Closed { stairs })
}

fn open(mut section: Section<'_>) -> Option<Load> {
    let rate = section.optional("rate", some_pace());
    let stages = each(section.sections("stage"), shape);
    let max_in_flight = section.required("max_in_flight", slots());
    let choices = [("wait", WhenFull::Wait), ("shed", WhenFull::Shed)];
    let when_full = section.or("when_full", WhenFull::Wait, one_of(&choices));
    let choices = [("even", Spacing::Even), ("poisson", Spacing::Poisson)];
    let spacing = section.or("spacing", Spacing::Even, one_of(&choices));
    section.close();
    let stages = if in_stages(&section, "rate", "200.0")? {
        self::stages(&section, stages)?
    } else {
        vec![Stage::Constant { rate: rate??, lasts: None }]
    };
    Some(Load::Open { stages, spacing: spacing?, max_in_flight: max_in_flight?, when_full: when_full? })
}

/// Whether stages are written, and not the one value under `short` that says it all.
fn in_stages(section: &Section<'_>, short: &'static str, example: &str) -> Option<bool> {
    let help = format!("write `{short} = {example}`, or stages, each under `[[{}.stage]]`", section.name());
    section.rule(|| Rule::Also(json!({"properties": {"stage": {"minItems": 1}}})));
    section.one_key(&[short, "stage"], &help).map(|key| key == "stage")
}

/// A stage that is read, and where it is written.
struct Read<'s, T> {
    section: Section<'s>,
    value: T,
}

/// Every stage read, so that the mistakes of all are told.
fn each<'s, T>(
    sections: Vec<Section<'s>>,
    read: impl Fn(&mut Section<'s>) -> Option<T>,
) -> Vec<Option<Read<'s, T>>> {
    let read = |mut section: Section<'s>| read(&mut section).map(|value| Read { section, value });
    sections.into_iter().map(read).collect()
}

/// The stages of a load that is written in stages, of which there has to be one.
fn all<'s, T>(load: &Section<'s>, stages: Vec<Option<Read<'s, T>>>) -> Option<Vec<Read<'s, T>>> {
    if stages.is_empty() {
        let help = format!("write each under `[[{}.stage]]`", load.name());
        load.tell(load.place_of("stage"), Wrong::new("`stage` must have at least one").help(help));
    }
    stages.into_iter().collect()
}

fn stairs<'s>(load: &Section<'s>, stairs: Vec<Option<Read<'s, Stair>>>) -> Option<Vec<Stair>> {
    let stairs = all(load, stairs)?;
    let (last, before) = stairs.split_last()?;
    let endless = before.iter().find(|stair| stair.value.lasts.is_none());
    if let Some(Read { section, .. }) = endless {
        let wrong = Wrong::new(format!("`{}.lasts` is missing", section.name()));
        section.tell(section.place(), wrong.help("only the last stage goes on until every device is done"));
    }
    if last.value.lasts.is_some() {
        let wrong = Wrong::new("the last stage of a closed load goes on until every device is done");
        last.section
            .tell(last.section.place_of("lasts"), wrong.help("drop its `lasts`, or add a stage after it"));
    }
    Some(stairs.into_iter().map(|stair| stair.value).collect())
}

fn stair(section: &mut Section<'_>) -> Option<Stair> {
    let in_flight = section.required("in_flight", slots());
    let lasts = section.optional("lasts", duration(SHORTEST..=LONGEST));
    section.close();
    Some(Stair { in_flight: in_flight?, lasts: lasts? })
}

fn stages<'s>(load: &Section<'s>, shapes: Vec<Option<Read<'s, Vec<Stage>>>>) -> Option<Vec<Stage>> {
    let shapes = all(load, shapes)?;
    let (_, before) = shapes.split_last()?;
    if let Some((Read { section, .. }, help)) =
        before.iter().find_map(|shape| Some((shape, takes_the_rest(&shape.value)?)))
    {
        let wrong = Wrong::new("this stage takes all devices that are left, so none after it can have any");
        section.tell(section.place(), wrong.help(help));
    }
    let stages: Vec<_> = shapes.into_iter().flat_map(|shape| shape.value).collect();
    if stages.len() as u64 > MOST_STAGES {
        let message =
            format!("all stages come to {} plain ones, at most {MOST_STAGES} are allowed", stages.len());
        let help = "write fewer steps or shifts, or replay a list of arrivals";
        load.tell(load.place_of("stage"), Wrong::new(message).help(help));
    }
    if !stages.iter().any(arrives) {
        let help = "give a stage a rate above 0";
        load.tell(load.place_of("stage"), Wrong::new("no device ever arrives").help(help));
    }
    Some(stages)
}

/// What gives a shape an end, if it has none.
fn takes_the_rest(stages: &[Stage]) -> Option<&'static str> {
    stages.iter().find_map(|stage| match stage {
        Stage::Constant { lasts: None, .. } => Some("give it `lasts`, or move it to the end"),
        Stage::AtOnce { devices: None } => Some("give it `devices`, or move it to the end"),
        _ => None,
    })
}

/// Whether a stage can have arrivals; a recorded list is not looked into here.
fn arrives(stage: &Stage) -> bool {
    match stage {
        Stage::Constant { rate, .. } => *rate > 0.0,
        Stage::Ramp { from, to, .. } => *from > 0.0 || *to > 0.0,
        Stage::AtOnce { .. } | Stage::Replay { .. } => true,
    }
}

/// What a stage can be, by its key.
const SHAPES: [(&str, Form<Vec<Stage>>); 10] = [
    ("constant", constant),
    ("ramp", ramp),
    ("steps", steps),
    ("spike", spike),
    ("soak", soak),
    ("pause", pause),
    ("all_at_once", all_at_once),
    ("replay", replay),
    ("factory_line", factory_line),
    ("power_restore", power_restore),
];

fn shape(section: &mut Section<'_>) -> Option<Vec<Stage>> {
    let help = "write one of them under each header, such as `constant = { rate = 50.0, lasts = \"20s\" }`";
    section.inline_variant(&SHAPES, help)
}

fn constant(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let rate = section.required("rate", pace());
    let lasts = section.optional("lasts", duration(SHORTEST..=LONGEST));
    section.close();
    let (rate, lasts) = (rate?, lasts?);
    if lasts.is_none() && rate == 0.0 {
        let wrong = Wrong::new("`rate` must be above 0 where the stage has no end, found 0");
        section.tell(section.place_of("rate"), wrong.help("give it `lasts`, or a rate"));
        return None;
    }
    Some(vec![Stage::Constant { rate, lasts }])
}

fn ramp(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let from = section.required("from", pace());
    let to = section.required("to", pace());
    let lasts = section.required("lasts", duration(SHORTEST..=LONGEST));
    section.close();
    Some(vec![Stage::Ramp { from: from?, to: to?, lasts: lasts? }])
}

/// One rate after the other, `by` apart, the last of them `to` even where it is nearer than that.
fn steps(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let from = section.required("from", pace());
    let to = section.required("to", pace());
    let by = section.required("by", some_pace());
    let each = section.required("each", duration(SHORTEST..=LONGEST));
    section.close();
    let (from, to, by, each) = (from?, to?, by?, each?);
    // Less a little, so that `by` in decimals divides what it divides on paper.
    let changes = ((to - from).abs() / by - 1e-9).ceil().max(0.0);
    if changes >= MOST_STAGES as f64 {
        let message = format!("`by` makes {} steps, at most {MOST_STAGES} are allowed", changes + 1.0);
        section.tell(section.place_of("by"), Wrong::new(message).help("make the steps higher"));
        return None;
    }
    let rate = |step: u64| from + (to - from).signum() * by * step as f64;
    let rates = (0..changes as u64).map(rate).chain([to]);
    Some(rates.map(|rate| Stage::Constant { rate, lasts: Some(each) }).collect())
}

/// From a base up to a peak, there for a while, and down again.
fn spike(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let base = section.required("base", pace());
    let peak = section.required("peak", pace());
    let rises = section.required("rises", duration(Duration::ZERO..=LONGEST));
    let lasts = section.required("lasts", duration(SHORTEST..=LONGEST));
    let falls = section.required("falls", duration(Duration::ZERO..=LONGEST));
    section.close();
    let (base, peak) = (base?, peak?);
    if peak <= base {
        let wrong = Wrong::new(format!("`peak` must be above `base`, which is {base}"));
        section.tell(section.place_of("peak"), wrong.help("write `steps` or `ramp` for a rate that falls"));
        return None;
    }
    let edge = |from, to, lasts: Duration| (!lasts.is_zero()).then_some(Stage::Ramp { from, to, lasts });
    let top = Stage::Constant { rate: peak, lasts: Some(lasts?) };
    Some([edge(base, peak, rises?), Some(top), edge(peak, base, falls?)].into_iter().flatten().collect())
}

/// A constant rate by the name people look for.
fn soak(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let rate = section.required("rate", some_pace());
    let lasts = section.required("lasts", duration(SHORTEST..=LONGEST));
    section.close();
    Some(vec![Stage::Constant { rate: rate?, lasts: Some(lasts?) }])
}

fn pause(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let lasts = section.required("lasts", duration(SHORTEST..=LONGEST));
    section.close();
    Some(vec![nothing(lasts?)])
}

const fn nothing(lasts: Duration) -> Stage {
    Stage::Constant { rate: 0.0, lasts: Some(lasts) }
}

fn all_at_once(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let devices = section.optional("devices", whole(1..=MOST_DEVICES));
    section.close();
    Some(vec![Stage::AtOnce { devices: devices? }])
}

fn replay(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let file = section.required("file", text());
    section.close();
    Some(vec![Stage::Replay { file: file? }])
}

/// A device each takt during a shift, and none between shifts: the line stands still and goes on where it
/// was.
fn factory_line(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let takt = section.required("takt", duration(SHORTEST..=DAY));
    let shift = section.required("shift", duration(SHORTEST..=LONGEST));
    let pause = section.required("pause", duration(Duration::ZERO..=LONGEST));
    let shifts = section.required("shifts", whole(1..=MOST_STAGES));
    section.close();
    let (takt, shift, pause, shifts) = (takt?, shift?, pause?, shifts?);
    if takt > shift {
        let wrong = Wrong::new("`takt` is the time a device takes, and longer than a shift");
        section.tell(section.place_of("takt"), wrong.help("make it shorter, or `shift` longer"));
        return None;
    }
    let works = Stage::Constant { rate: takt.as_secs_f64().recip(), lasts: Some(shift) };
    let rests = (!pause.is_zero()).then(|| nothing(pause));
    let line = (0..shifts).flat_map(|nth| {
        let rests = rests.clone().filter(|_| nth > 0);
        rests.into_iter().chain([works.clone()])
    });
    Some(line.collect())
}

/// Everybody back at once, and then the late ones.
fn power_restore(mut section: Section<'_>) -> Option<Vec<Stage>> {
    let devices = section.required("devices", whole(1..=MOST_DEVICES));
    let within = section.required("within", duration(Duration::from_millis(10)..=LONGEST));
    section.close();
    let (devices, within) = (devices? as f64, within?);
    // ours: half of them in the first tenth of the time, three in ten in the next two tenths, the rest until
    // the end, along a line that falls ever more slowly and ends at 0. Each rate follows from the one after
    // it, so that the integral of a ramp is its share.
    let (early, late) = (within / 10, within / 5);
    let tail = within - early - late;
    let start_of = |share: f64, lasts: Duration, end: f64| 2.0 * share * devices / lasts.as_secs_f64() - end;
    let third = start_of(0.2, tail, 0.0);
    let second = start_of(0.3, late, third);
    let first = start_of(0.5, early, second);
    let ramps = [(first, second, early), (second, third, late), (third, 0.0, tail)];
    Some(ramps.map(|(from, to, lasts)| Stage::Ramp { from, to, lasts }).into())
}

/// Devices in flight at a time.
fn slots() -> impl Kind<Value = usize> {
    let slots = || whole(1..=MOST_IN_FLIGHT);
    let read = move |found: Found<'_>| {
        let slots = slots().read(found)?;
        usize::try_from(slots).map_err(|cause| Wrong::new(format!("is not right: {cause}")))
    };
    kind(move || slots().schema(), read, |slots| json!(slots))
}

/// Arrivals a second; 0 is a pause.
fn pace() -> impl Kind<Value = f64> {
    rate_or_none(MOST_RATE)
}

/// Arrivals a second, some.
fn some_pace() -> impl Kind<Value = f64> {
    rate(MOST_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Diagnostics, Scenario, Schedule, ScheduleFault};

    const HEAD: &str = "name = \"small\"\n[fleet]\ndevices = 10\nregistration_id = \"dev-{index:05}\"\n\
                        [fleet.authority.minted]\n[target.mock]\n";

    fn parsed(load: &str) -> Result<Load, Diagnostics> {
        Scenario::parse("x.toml", &format!("{HEAD}{load}"), &[]).map(|scenario| scenario.load)
    }

    fn open(stage: &str) -> String {
        format!("[load.open]\nmax_in_flight = 9\n[[load.open.stage]]\n{stage}")
    }

    /// The stages of one `[[load.open.stage]]`.
    fn stages_of(stage: &str) -> Vec<Stage> {
        match parsed(&open(stage)) {
            Ok(Load::Open { stages, .. }) => stages,
            other => panic!("{stage}: {other:?}"),
        }
    }

    fn constant(rate: f64, lasts: u64) -> Stage {
        Stage::Constant { rate, lasts: Some(Duration::from_secs(lasts)) }
    }

    fn ramp(from: f64, to: f64, lasts: u64) -> Stage {
        Stage::Ramp { from, to, lasts: Duration::from_secs(lasts) }
    }

    #[test]
    fn a_load_can_be_one_value() {
        for (text, load) in [
            (
                "[load.closed]\nin_flight = 64",
                Load::Closed { stairs: vec![Stair { in_flight: 64, lasts: None }] },
            ),
            (
                "[load.open]\nrate = 200\nmax_in_flight = 9",
                Load::Open {
                    stages: vec![Stage::Constant { rate: 200.0, lasts: None }],
                    spacing: Spacing::Even,
                    max_in_flight: 9,
                    when_full: WhenFull::Wait,
                },
            ),
            (
                "[load.open]\nrate = 0.5\nmax_in_flight = 9\nspacing = \"poisson\"\nwhen_full = \"shed\"",
                Load::Open {
                    stages: vec![Stage::Constant { rate: 0.5, lasts: None }],
                    spacing: Spacing::Poisson,
                    max_in_flight: 9,
                    when_full: WhenFull::Shed,
                },
            ),
        ] {
            assert_eq!(parsed(text), Ok(load), "{text}");
        }
    }

    #[test]
    fn stairs_are_written_one_by_one() {
        let text =
            "[[load.closed.stage]]\nin_flight = 10\nlasts = \"20s\"\n[[load.closed.stage]]\nin_flight = 50";
        let lasts = Some(Duration::from_secs(20));
        let stairs = vec![Stair { in_flight: 10, lasts }, Stair { in_flight: 50, lasts: None }];
        assert_eq!(parsed(text), Ok(Load::Closed { stairs }));
    }

    #[test]
    fn every_shape_becomes_plain_stages() {
        for (text, stages) in [
            ("constant = { rate = 50.0, lasts = \"20s\" }", vec![constant(50.0, 20)]),
            ("constant = { rate = 50 }", vec![Stage::Constant { rate: 50.0, lasts: None }]),
            ("ramp = { from = 0.0, to = 50.0, lasts = \"20s\" }", vec![ramp(0.0, 50.0, 20)]),
            (
                "steps = { from = 10.0, to = 30.0, by = 10.0, each = \"10s\" }",
                vec![constant(10.0, 10), constant(20.0, 10), constant(30.0, 10)],
            ),
            (
                "steps = { from = 0.5, to = 0.0, by = 0.2, each = \"10s\" }",
                vec![constant(0.5, 10), constant(0.3, 10), constant(0.5 - 0.2 * 2.0, 10), constant(0.0, 10)],
            ),
            ("steps = { from = 10, to = 10, by = 3, each = \"10s\" }", vec![constant(10.0, 10)]),
            (
                "spike = { base = 10.0, peak = 500.0, rises = \"1s\", lasts = \"5s\", falls = \"2s\" }",
                vec![ramp(10.0, 500.0, 1), constant(500.0, 5), ramp(500.0, 10.0, 2)],
            ),
            (
                "spike = { base = 0.0, peak = 500.0, rises = \"0s\", lasts = \"5s\", falls = \"0s\" }",
                vec![constant(500.0, 5)],
            ),
            ("soak = { rate = 20.0, lasts = \"2h\" }", vec![constant(20.0, 7200)]),
            ("all_at_once = { devices = 1000 }", vec![Stage::AtOnce { devices: Some(1000) }]),
            ("all_at_once = {}", vec![Stage::AtOnce { devices: None }]),
            ("replay = { file = \"a.txt\" }", vec![Stage::Replay { file: "a.txt".to_owned() }]),
            (
                "factory_line = { takt = \"500ms\", shift = \"60s\", pause = \"10s\", shifts = 3 }",
                vec![
                    constant(2.0, 60),
                    constant(0.0, 10),
                    constant(2.0, 60),
                    constant(0.0, 10),
                    constant(2.0, 60),
                ],
            ),
            (
                "factory_line = { takt = \"1s\", shift = \"60s\", pause = \"0s\", shifts = 2 }",
                vec![constant(1.0, 60), constant(1.0, 60)],
            ),
        ] {
            assert_eq!(stages_of(text), stages, "{text}");
        }
    }

    #[test]
    fn stages_compose_in_the_order_of_the_file() {
        let text = open(
            "pause = { lasts = \"3s\" }\n[[load.open.stage]]\nsoak = { rate = 1, lasts = \"2s\" }\n\
             [[load.open.stage]]\n[load.open.stage.ramp]\nfrom = 1\nto = 5\nlasts = \"9s\"\n\
             [[load.open.stage]]\nconstant.rate = 5",
        );
        let Ok(Load::Open { stages, .. }) = parsed(&text) else { panic!("{text}") };
        let last = Stage::Constant { rate: 5.0, lasts: None };
        assert_eq!(stages, [constant(0.0, 3), constant(1.0, 2), ramp(1.0, 5.0, 9), last]);
    }

    #[test]
    fn a_factory_makes_a_device_each_takt_of_a_shift() {
        let stages = "factory_line = { takt = \"7s\", shift = \"60s\", pause = \"10s\", shifts = 2 }";
        let load = parsed(&open(stages)).expect("a load");
        let schedule = Schedule::new(&load, 100, 1, &[]).expect("a schedule");
        // The ninth has 4 of its 7 seconds before the pause, and the other 3 after it.
        let expected = [0, 7, 14, 21, 28, 35, 42, 49, 56, 73, 80, 87, 94, 101, 108, 115, 122, 129];
        let due: Vec<_> =
            (0..schedule.planned()).map(|nth| schedule.due(nth).as_secs_f64().round() as u64).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn a_restored_power_brings_exactly_its_devices_most_of_them_early() {
        for (devices, within) in
            [(1, "10ms"), (7, "3s"), (1000, "10s"), (999_983, "1s"), (54_321, "13ms"), (100_000_000, "77s")]
        {
            let stage = format!("power_restore = {{ devices = {devices}, within = \"{within}\" }}");
            let load = parsed(&open(&stage)).expect("a load");
            assert_eq!(Schedule::count(&load, devices, &[]), Ok(devices), "{stage}");
        }
        let load = parsed(&open("power_restore = { devices = 1000, within = \"10s\" }")).expect("a load");
        let schedule = Schedule::new(&load, 1000, 1, &[]).expect("a schedule");
        let by = |seconds| schedule.due_before(Duration::from_secs(seconds));
        assert_eq!([by(1), by(3), by(10)], [500, 800, 1000]);
        let rates: Vec<_> = (0..100).map(|tenth| schedule.rate(Duration::from_millis(tenth * 100))).collect();
        assert!(rates.is_sorted_by(|one, next| one > next), "{rates:?}");
    }

    #[test]
    fn a_load_is_one_value_or_stages() {
        let closed = "[load.closed]\nin_flight = 4\n[[load.closed.stage]]\nin_flight = 5";
        for (text, line) in [
            (closed, 9),
            ("[load.closed]", 7),
            ("[load.closed]\nstage = []", 8),
            ("[load.open]\nmax_in_flight = 9", 7),
            ("[load.open]\nmax_in_flight = 9\nrate = 3\n[[load.open.stage]]\npause.lasts = \"1s\"", 10),
            ("[load.open]\nmax_in_flight = 9\nstage = []", 9),
        ] {
            assert_eq!(lines_of(text), [line], "{text}");
        }
    }

    /// The lines of everything that is wrong.
    fn lines_of(load: &str) -> Vec<usize> {
        let wrong = parsed(load).expect_err(load);
        wrong.0.iter().map(|diagnostic| diagnostic.place.order().0).collect()
    }

    #[test]
    fn a_stage_that_is_none_is_told_where_it_stands() {
        for stage in [
            "",
            "constant = { rate = -1.0, lasts = \"20s\" }",
            "constant = { rate = inf, lasts = \"20s\" }",
            "constant = { rate = nan, lasts = \"20s\" }",
            "constant = { rate = 1000001, lasts = \"20s\" }",
            "constant = { rate = \"5\", lasts = \"20s\" }",
            "constant = { rate = 5, lasts = \"0s\" }",
            "constant = { rate = 5, lasts = \"31d\" }",
            "constant = { rate = 5, lasts = 20 }",
            "constant = { rate = 5, last = \"20s\" }",
            "constant = { rate = 0 }",
            "constant = { lasts = \"20s\" }",
            "constant = { rate = 5, lasts = \"2s\" }\nramp = { from = 1, to = 5, lasts = \"2s\" }",
            "constnat = { rate = 5, lasts = \"2s\" }\nsoak = { rate = 5, lasts = \"2s\" }",
            "ramp = { from = -3, to = 50.0, lasts = \"20s\" }",
            "ramp = { from = 1, to = 50.0 }",
            "steps = { from = 10.0, to = 30.0, by = 0.0, each = \"10s\" }",
            "steps = { from = 10.0, to = 30.0, by = 0.000001, each = \"10s\" }",
            "spike = { base = 10.0, peak = 10.0, rises = \"1s\", lasts = \"5s\", falls = \"2s\" }",
            "spike = { base = 10.0, peak = 20.0, rises = \"1s\", lasts = \"0s\", falls = \"2s\" }",
            "soak = { rate = 0, lasts = \"2s\" }",
            "soak = { rate = 5 }",
            "all_at_once = { devices = 0 }",
            "all_at_once = { share = 0.5 }",
            "replay = { file = \"\" }",
            "replay = {}",
            "factory_line = { takt = \"70s\", shift = \"60s\", pause = \"10s\", shifts = 3 }",
            "factory_line = { takt = \"7s\", shift = \"60s\", pause = \"10s\", shifts = 0 }",
            "factory_line = { takt = \"7s\", shift = \"60s\", pause = \"10s\", shifts = 6000 }",
            "power_restore = { devices = 0, within = \"10s\" }",
            "power_restore = { devices = 9, within = \"1ms\" }",
            "pause = { lasts = \"20s\" }",
            "ramp = { from = 0, to = 0.0, lasts = \"20s\" }",
        ] {
            let lines = lines_of(&open(stage));
            let of_stage = 9..=9 + stage.lines().count();
            assert!(lines.iter().all(|line| of_stage.contains(line)), "{stage}: {lines:?}");
        }
    }

    #[test]
    fn only_the_last_stage_may_have_no_end() {
        let soak = "[[load.open.stage]]\nsoak = { rate = 5, lasts = \"2s\" }\n";
        for (stage, line) in [("constant = { rate = 5 }", 9), ("all_at_once = {}", 9)] {
            assert_eq!(lines_of(&format!("{}\n{soak}", open(stage))), [line], "{stage}");
            let text = format!("[load.open]\nmax_in_flight = 9\n{soak}[[load.open.stage]]\n{stage}");
            assert!(parsed(&text).is_ok(), "{stage}");
        }
        let stair = |lasts: &str| format!("[[load.closed.stage]]\nin_flight = 5\n{lasts}\n");
        let (endless, ends) = (stair(""), stair("lasts = \"2s\""));
        assert_eq!(lines_of(&format!("{endless}{endless}")), [7]);
        assert_eq!(lines_of(&format!("{ends}{ends}")), [12]);
        assert_eq!(lines_of(&ends), [9]);
    }

    #[test]
    fn mistakes_of_every_stage_are_told() {
        let text =
            open("pause = { lasts = \"0s\" }\n[[load.open.stage]]\nsoak = { rate = -1, lasts = \"2s\" }");
        assert_eq!(lines_of(&text), [10, 12]);
        assert_eq!(lines_of("[load.open]\nmax_in_flight = 0\nrate = 0\nspacing = \"odd\""), [8, 9, 10]);
    }

    #[test]
    fn what_parses_as_stages_has_arrivals() {
        let slow = parsed(&open("ramp = { from = 0, to = 0.001, lasts = \"1s\" }")).expect("a load");
        assert_eq!(Schedule::count(&slow, 5, &[]), Ok(1));
        let many = parsed(&open("soak = { rate = 10, lasts = \"2s\" }")).expect("a load");
        let too_few = ScheduleFault::TooFewDevices { arrivals: 20, most: 19 };
        assert_eq!(Schedule::count(&many, 19, &[]), Err(too_few));
    }
}
