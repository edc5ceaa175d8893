//! How a run goes, shown while it goes: a view in place for people, plain lines where there is no terminal, JSON for
//! machines. All of it on stderr.

mod document;
mod frame;
mod line;

use super::output::Output;
use crate::collector::Glance;
use crate::recorder::Recorder;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reports::OutcomeKind;
use scenarios::{Load, Scenario, Schedule, Spacing};
use std::time::Duration;

/// How often the view is drawn at most, per second.
const DRAWS_PER_SECOND: u8 = 2;
/// How far apart plain lines are.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How far apart JSON objects are.
const OBJECT_EVERY: Duration = Duration::from_secs(1);

/// The form in which a run is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A view on a terminal, lines elsewhere, nothing with --quiet
    #[default]
    Auto,
    /// A view that is redrawn in place
    View,
    /// A line every 5 seconds
    Lines,
    /// A JSON object every second and at the end, and nothing else (schema rollcall.live/1)
    Json,
    /// Nothing
    None,
}

/// What does not change while a run goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the run is called.
    pub name: String,
    /// When the last arrival is due; unknown where the service's pace decides, or arrivals are replayed.
    pub last_due: Option<Duration>,
    /// Where its metrics are served.
    pub metrics: Option<String>,
}

impl Header {
    fn of(scenario: &Scenario, metrics: Option<String>) -> Self {
        Header { name: scenario.name.clone(), last_due: last_due(scenario), metrics }
    }
}

fn last_due(scenario: &Scenario) -> Option<Duration> {
    if scenario.load.replays().next().is_some() {
        return None;
    }
    let mut load = scenario.load.clone();
    if let Load::Open { spacing, .. } = &mut load {
        // Random spacing ends about when even spacing does, which is known without drawing it.
        *spacing = Spacing::Even;
    }
    Schedule::new(&load, scenario.most_arrivals(), scenario.seed, &[]).ok()?.last_due()
}

/// Who is shown how a run goes.
pub enum Live {
    /// People at a terminal.
    Terminal(Header, ProgressBar),
    /// Whoever reads a log.
    Lines(Header, Output, Pace),
    /// Machines.
    Json(Header, Output, Pace, Option<serde_json::Value>),
    /// Nobody.
    Silent,
}

impl Live {
    /// The form that was asked for, or else the one that suits where words go.
    pub fn new(form: Form, output: Output, scenario: &Scenario, metrics: Option<String>) -> Self {
        let header = Header::of(scenario, metrics);
        match form {
            Form::View => Self::Terminal(header, view()),
            Form::Auto if output.interactive() => Self::Terminal(header, view()),
            Form::Json => Self::Json(header, output, Pace::every(OBJECT_EVERY), None),
            Form::Lines => Self::Lines(header, output, Pace::every(LINE_EVERY)),
            Form::Auto if !output.quiet => Self::Lines(header, output, Pace::every(LINE_EVERY)),
            Form::Auto | Form::None => Self::Silent,
        }
    }

    /// Shows how it stands.
    pub fn show(&mut self, glance: &Glance<'_>) {
        match self {
            Self::Terminal(header, bar) => bar.set_message(frame::frame(header, glance).join("\n")),
            Self::Lines(header, output, pace) => {
                if pace.is_due(glance.elapsed) {
                    output.talk(line::line(header, glance));
                }
            }
            Self::Json(header, output, pace, last) => {
                let moment = document::of(header, glance);
                *last = if pace.is_due(glance.elapsed) {
                    output.signal(&moment);
                    None
                } else {
                    serde_json::to_value(&moment).ok()
                };
            }
            Self::Silent => {}
        }
    }

    /// Says something meanwhile, without spoiling the view; not to a machine, which reads objects alone.
    pub fn say(&self, output: Output, text: &str) {
        match self {
            Self::Terminal(_, bar) if !output.quiet => bar.println(text),
            Self::Json(..) => {}
            _ => output.talk(text),
        }
    }

    /// Takes the view away, or tells a machine how it stood last; what comes after is the result.
    pub fn end(&mut self) {
        match std::mem::replace(self, Self::Silent) {
            Self::Terminal(_, bar) => bar.finish_and_clear(),
            Self::Json(_, output, _, Some(last)) => output.signal(&last),
            Self::Json(..) | Self::Lines(..) | Self::Silent => {}
        }
    }
}

fn view() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

/// Lets one line through in every stretch of so many whole seconds.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    shown: u32,
}

impl Pace {
    const fn every(every: Duration) -> Self {
        Self { every, shown: 0 }
    }

    fn is_due(&mut self, elapsed: Duration) -> bool {
        let due = u32::try_from(elapsed.as_secs() / self.every.as_secs().max(1)).unwrap_or(u32::MAX);
        let shown = std::mem::replace(&mut self.shown, due);
        due > shown
    }
}

impl Glance<'_> {
    /// Arrivals that came due and wait for a slot: neither started nor shed. Those that were given up when the run was
    /// stopped do not wait any more.
    pub(crate) fn waiting(&self) -> u64 {
        let Recorder { offered, started, outcomes, .. } = self.total;
        let dealt_with = started + outcomes.count(OutcomeKind::Shed);
        offered.saturating_sub(dealt_with.max(outcomes.total()))
    }

    /// Whether no more arrivals will come due: all have, or the run was stopped and the others were given up.
    pub(crate) fn all_have_come(&self) -> bool {
        let Recorder { offered, outcomes, .. } = self.total;
        self.planned > 0 && (*offered).max(outcomes.total()) >= self.planned
    }

    /// Arrivals a second that are planned at this moment; 0 in a closed load, and once all have come.
    pub(crate) fn rate_to_come(&self) -> f64 {
        if self.all_have_come() { 0.0 } else { self.planned_rate }
    }
}

/// A quantile of a histogram of nanoseconds; nothing where nobody was measured.
fn quantile(times: &hdrhistogram::Histogram<u64>, quantile: f64) -> Option<Duration> {
    (!times.is_empty()).then(|| Duration::from_nanos(times.value_at_quantile(quantile).min(times.max())))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::recorder::{ReasonKey, record};
    use reports::GateResult;
    use sim_device::Phase;
    use std::time::Duration;

    /// What a glance is at.
    pub(crate) struct Sight {
        pub(crate) total: Recorder,
        pub(crate) last: Recorder,
        pub(crate) gates: Vec<GateResult>,
        pub(crate) scale: u64,
    }

    impl Sight {
        pub(crate) fn glance(&self) -> Glance<'_> {
            Glance {
                elapsed: Duration::from_secs(12),
                planned: 72_000 * self.scale,
                planned_rate: (1_200 * self.scale) as f64,
                total: &self.total,
                last: &self.last,
                in_flight: 35 * self.scale,
                held: 7 * self.scale,
                cpu_share: 0.45,
                starved_share: 0.0,
                gates: &self.gates,
            }
        }
    }

    pub(crate) fn header() -> Header {
        Header { name: "steady".into(), last_due: Some(Duration::from_secs(60)), metrics: None }
    }

    pub(crate) fn gate(gate: &str, measured: Option<f64>, passed: bool) -> GateResult {
        GateResult { gate: gate.into(), unit: "s".into(), measured, passed, ..GateResult::default() }
    }

    fn reason(message: &str, expected: bool) -> ReasonKey {
        ReasonKey {
            outcome: OutcomeKind::Refused,
            phase: Some(Phase::Register),
            code: Some(401_002),
            message: message.into(),
            defect: None,
            expected,
        }
    }

    /// A run in its twelfth second, everything times `scale`.
    pub(crate) fn sight(scale: u64) -> Sight {
        let start = sim_device::now();
        let (mut total, mut last) = (Recorder::new(start), Recorder::new(start));
        (total.offered, total.started, total.finished) = (14_520 * scale, 14_400 * scale, 14_365 * scale);
        total.outcomes.add_many(OutcomeKind::Assigned, 14_300 * scale);
        total.outcomes.add_many(OutcomeKind::Refused, 65 * scale);
        total.unexpected = 3 * scale;
        total.reasons.insert(reason("CA certificate not found.", true), (62 * scale, "dev-1".into()));
        total.reasons.insert(reason("Unauthorized", false), (3 * scale, "dev-2".into()));
        (last.offered, last.started, last.finished) = (1_200 * scale, 1_200 * scale, 1_198 * scale);
        last.retries.throttled = 4 * scale;
        let ms = |ms: u64| Duration::from_millis(ms);
        for recorder in [&mut total, &mut last] {
            record(&mut recorder.clocks.service, ms(2));
            record(&mut recorder.clocks.response, ms(9));
            record(&mut recorder.clocks.lateness, Duration::from_micros(200));
            for (phase, took) in [(Phase::Tcp, 1), (Phase::Tls, 3), (Phase::Register, 250)] {
                record(&mut recorder.clocks.phases[phase as usize], ms(took));
            }
        }
        let gates = vec![
            gate("response_time.p99 <= 500ms", Some(0.412), true),
            gate("lateness.p99 <= 100us", Some(0.2), false),
        ];
        Sight { total, last, gates, scale }
    }

    /// The widest and tallest there can be.
    pub(crate) fn extreme() -> Sight {
        let mut sight = sight(10_000_000_000);
        for kind in OutcomeKind::ALL {
            sight.total.outcomes.add_many(kind, 10_000_000_000);
        }
        for number in 0..9 {
            let message = format!("\u{1b}[2J{number}{}", "ü".repeat(200));
            sight.total.reasons.insert(reason(&message, false), (10_000_000_000, "dev".into()));
        }
        for recorder in [&mut sight.total, &mut sight.last] {
            for phase in Phase::ALL {
                record(&mut recorder.clocks.phases[phase as usize], Duration::from_secs(1_000_000));
            }
        }
        sight.gates =
            (0..12).map(|at| gate(&format!("{at}{}", "x".repeat(100)), Some(1e12), at % 2 == 0)).collect();
        sight
    }

    #[test]
    fn lines_come_every_five_seconds_however_often_there_is_something_to_show() {
        let mut pace = Pace::every(LINE_EVERY);
        let shown: Vec<u64> =
            (0..24).filter(|half| pace.is_due(Duration::from_millis(half * 500 + 17))).collect();
        assert_eq!(shown, [10, 20]);
        assert!(pace.is_due(Duration::from_secs(40)) && !pace.is_due(Duration::from_secs(44)));
    }

    #[test]
    fn machines_get_an_object_a_second_and_how_it_stood_last() {
        let mut sight = sight(1);
        let mut live = Live::Json(header(), Output::default(), Pace::every(OBJECT_EVERY), None);
        let mut show = |live: &mut Live, millis, finished| {
            sight.total.finished = finished;
            let glance = Glance { elapsed: Duration::from_millis(millis), ..sight.glance() };
            live.show(&glance);
            match live {
                Live::Json(_, _, _, last) => last.as_ref().map(|last| last["finished"].clone()),
                _ => None,
            }
        };
        assert_eq!(show(&mut live, 503, 1), Some(1.into()), "not yet told");
        assert_eq!(show(&mut live, 1_004, 2), None, "told");
        assert_eq!(show(&mut live, 1_504, 3), Some(3.into()));
        assert_eq!(show(&mut live, 1_900, 4), Some(4.into()), "told at the end");
        live.end();
        assert!(matches!(live, Live::Silent));
    }

    #[test]
    fn arrivals_wait_that_were_neither_started_nor_shed_nor_given_up() {
        // Offered, started, shed, interrupted: waiting, and whether all 300 have come.
        for (offered, started, shed, interrupted, waiting, all) in [
            (0, 0, 0, 0, 0, false),
            (100, 10, 0, 0, 90, false),
            (100, 10, 90, 0, 0, false),
            (300, 10, 0, 0, 290, true),
            (300, 300, 0, 0, 0, true),
            // Stopped: nobody else comes, whether due already or not.
            (100, 10, 0, 290, 0, true),
        ] {
            let mut total = Recorder::new(sim_device::now());
            (total.offered, total.started) = (offered, started);
            total.outcomes.add_many(OutcomeKind::Shed, shed);
            total.outcomes.add_many(OutcomeKind::Interrupted, interrupted);
            total.outcomes.add_many(OutcomeKind::Assigned, started);
            let base = sight(1);
            let glance = Glance { total: &total, planned: 300, ..base.glance() };
            let found = (glance.waiting(), glance.all_have_come(), glance.rate_to_come() == 0.0);
            assert_eq!(found, (waiting, all, all), "{offered} {started} {shed} {interrupted}");
        }
    }

    #[test]
    fn the_form_suits_where_words_go() {
        let scenario = crate::forecast::tests::scenario(10, "[load.closed]\nin_flight = 1\n");
        let loud = Output::default();
        let quiet = Output { quiet: true, ..loud };
        for (form, output, expected) in [
            (Form::Auto, quiet, "silent"),
            (Form::None, loud, "silent"),
            (Form::Json, quiet, "json"),
            (Form::Lines, loud, "lines"),
            (Form::View, loud, "terminal"),
        ] {
            let name = match Live::new(form, output, &scenario, None) {
                Live::Terminal(..) => "terminal",
                Live::Lines(..) => "lines",
                Live::Json(..) => "json",
                Live::Silent => "silent",
            };
            assert_eq!(name, expected, "{form:?}");
        }
    }

    #[test]
    fn the_end_of_arrivals_is_known_where_a_clock_decides() {
        let open =
            |more: &str| format!("[load.open]\nrate = 10.0\nmax_in_flight = 5\nwhen_full = \"wait\"\n{more}");
        for (load, known) in [
            (open(""), true),
            (open("spacing = \"poisson\"\n"), true),
            ("[load.closed]\nin_flight = 1\n".to_owned(), false),
        ] {
            let header = Header::of(&crate::forecast::tests::scenario(100, &load), None);
            assert_eq!(header.last_due.map(|due| due.as_secs()), known.then_some(9), "{load}");
        }
    }
}
