//! From the text of a scenario to the scenario.
//!
//! Every section is read even when another has mistakes, so that one reading tells them all;
//! only a file without a mistake becomes a [`Scenario`].

mod device;
mod event;
mod fault;
mod fleet;
mod gate;
mod limits;
mod load;
mod names;
mod part;
#[cfg(test)]
mod small;
mod target;

#[cfg(test)]
pub(crate) use small::SMALL;

use crate::diagnostic::Diagnostics;
use crate::kind::{text, whole};
use crate::language::Language;
use crate::overrides::{Override, Source};
use crate::reader::{Reading, Section};
use crate::scenario::Scenario;
use crate::setting::Setting;
use names::Names;
use std::sync::LazyLock;
use std::time::Duration;

/// ours: more devices than any one run plans.
const MOST_DEVICES: u64 = 100_000_000;
const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);
/// The shortest time that can be written, but for none.
const SHORTEST: Duration = Duration::from_millis(1);

impl Scenario {
    /// Parses the text of a scenario, with values given elsewhere in place of its own.
    /// `file_name` is what diagnostics call it.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file_name: &str, text: &str, overrides: &[Override]) -> Result<Self, Diagnostics> {
        Self::resolve(file_name, text, overrides).map(|(scenario, _)| scenario)
    }

    /// Like [`Scenario::parse`], and every key that holds, written or by default, in the order of the language.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn resolve(
        file_name: &str,
        text: &str,
        overrides: &[Override],
    ) -> Result<(Self, Vec<Setting>), Diagnostics> {
        let one = |diagnostic| Diagnostics(vec![diagnostic]);
        let source = Source::new(file_name, text, overrides).map_err(one)?;
        let table = source.parsed().map_err(one)?;
        let reading = Reading::of(&source);
        let read = scenario(Section::root(&reading, Some(&table)));
        let (mistakes, settings) = reading.end();
        match read {
            Some(scenario) if mistakes.is_empty() => Ok((scenario, settings)),
            _ => Err(Diagnostics::sorted(mistakes)),
        }
    }
}

/// The JSON Schema (2020-12) of a scenario as its TOML spells it, for editors. It follows from what the parser asks
/// for. What is right for the parser is right for the schema; the parser also checks what no schema can say.
pub fn schema() -> serde_json::Value {
    language().schema()
}

/// Where a scenario has one of several keys, as the parser asks for them: each section with those.
pub(crate) fn choices() -> &'static [(String, Vec<&'static str>)] {
    static CHOICES: LazyLock<Vec<(String, Vec<&'static str>)>> = LazyLock::new(|| language().choices());
    &CHOICES
}

fn language() -> Language {
    let nothing = Source::nothing();
    let reading = Reading::describing(&nothing);
    scenario(Section::root(&reading, None));
    reading.language()
}

fn scenario(mut root: Section<'_>) -> Option<Scenario> {
    let name = root.required("name", text());
    let seed = root.or("seed", 1, whole(0..=u64::MAX));
    let fleet = root.section("fleet");
    let factories = fleet.has("factory");
    let fleet = fleet::fleet(fleet);
    let target = target::target(root.section("target"), factories);
    let device = device::device(root.section("device"), fleet.as_ref(), target.as_ref());
    let load = load::load(root.section("load"));
    let limits = limits::limits(root.section("limits"));
    let names = Names::of(fleet.as_ref(), target.as_ref());
    let gates = gate::gates(root.sections("gate"), names.as_ref());
    let events = event::events(root.sections("event"), target.as_ref(), names.as_ref());
    root.close();
    Some(Scenario {
        name: name?,
        seed: seed?,
        fleet: fleet?,
        device: device?,
        target: target?,
        load: load?,
        limits: limits?,
        gates: gates?,
        events: events?,
    })
}

#[cfg(test)]
mod tests {
    use super::small::{good, set};
    use super::*;
    use crate::{
        Authority, Device, Diagnostic, Flavour, Fleet, GeneratorLimit, Goal, GroupOn, KeyExchange, Limits,
        Load, MockProfile, MockTarget, PhaseTimeouts, Place, Resumption, Retry, SHIPPED, Schedule, Stair,
        Talk, Target, Template, Tls, Transport, Verification, VerifyServer,
    };
    use sim_identity::KeyAlgorithm;
    use sim_protocol::EnrollmentGroupId;
    use sim_protocol::delay::Delay;

    /// What is said about the small scenario after one replacement in its text.
    fn told(from: &str, to: &str) -> String {
        assert_eq!(SMALL.matches(from).count(), 1, "{from}");
        let text = SMALL.replace(from, to);
        Scenario::parse("x.toml", &text, &[]).map(|scenario| scenario.name).expect_err(to).to_string()
    }

    /// So many in flight until every device is done.
    fn closed(in_flight: usize) -> Load {
        Load::Closed { stairs: vec![Stair { in_flight, lasts: None }] }
    }

    #[test]
    fn a_small_scenario_gets_its_defaults() {
        let scenario = good(set(&[]));
        assert_eq!(
            scenario,
            Scenario {
                name: "small".to_owned(),
                seed: 1,
                fleet: Fleet {
                    devices: 10,
                    turns: 1,
                    registration_id: Template::parse("dev-{index:05}").expect("a template"),
                    key: KeyAlgorithm::P256,
                    key_pool: 8,
                    validity: 30 * DAY,
                    authority: Authority::Minted {
                        intermediates: 1,
                        key: KeyAlgorithm::P256,
                        issuing_validity: None
                    },
                    factories: vec![],
                    defects: vec![],
                },
                device: Device {
                    talk: Talk {
                        tls: Tls::Any,
                        groups: vec![KeyExchange::X25519, KeyExchange::P256, KeyExchange::P384],
                        transport: Transport::Mqtt,
                        flavour: Flavour::Rollcall,
                    },
                    mix: vec![],
                    verify_server: VerifyServer::Once,
                    resumption: Resumption::Off,
                    goal: Goal::Assigned,
                    hold: None,
                    retry: Retry::Flavour,
                    honour_retry_after: true,
                },
                target: Target::Mock(MockTarget {
                    verification: Verification::ProofOfPossession,
                    group: EnrollmentGroupId::new("fleet").expect("a name"),
                    group_on: GroupOn::Intermediate,
                    retry_after: Duration::ZERO,
                    assign_delay: Delay::ZERO,
                    hubs: vec!["hub-1.azure-devices.net".to_owned()],
                    profile: MockProfile::Unlimited,
                    faults: vec![],
                    tickets: false,
                }),
                load: closed(4),
                limits: Limits {
                    grace: 10 * SECOND,
                    attempt_timeout: 60 * SECOND,
                    phase_timeouts: PhaseTimeouts::default(),
                    lateness: 50 * SHORTEST,
                    generator: GeneratorLimit::Judge,
                },
                gates: vec![],
                events: vec![],
            }
        );
    }

    #[test]
    fn every_shipped_scenario_parses_and_says_why_one_would_run_it() {
        for (file, text) in SHIPPED {
            let scenario = Scenario::parse(file, text, &[]).unwrap_or_else(|told| panic!("{told}"));
            assert_eq!(format!("{}.toml", scenario.name), *file);
            assert!(text.starts_with("# "), "{file} opens with a comment");
        }
    }

    #[test]
    fn every_turn_of_every_device_of_a_shipped_scenario_is_an_arrival() {
        for (file, text) in SHIPPED {
            let scenario = good(Scenario::parse(file, text, &[]));
            let (most, seed) = (scenario.most_arrivals(), scenario.seed);
            let schedule = Schedule::new(&scenario.load, most, seed, &[]);
            assert_eq!(schedule.map(|schedule| schedule.planned()), Ok(most), "{file}");
        }
    }

    #[test]
    fn the_demo_has_ten_thousand_good_devices_and_six_bad_ones() {
        let (file, text) = SHIPPED[0];
        let demo = Scenario::parse(file, text, &[]).expect("the demo");
        assert_eq!((demo.fleet.devices, demo.fleet.defective()), (10_006, 6));
        assert_eq!(demo.load, closed(64));
    }

    #[test]
    fn a_mistake_in_a_list_is_underlined_where_its_element_stands() {
        let fault = |rest: &str| format!("[[target.mock.fault]]\n{rest}\n");
        for (lines, meant) in [
            ("[device]\ngroups = [\"p256\", \"p348\"]\n".to_owned(), "\"p348\""),
            ("[device]\ngroups = [\"p256\",\n  \"p256\"]\n".to_owned(), "\"p256\""),
            (
                "[device]\ntls = \"1.2\"\ngroups = [\"p256\", \"x25519mlkem768\"]\n".to_owned(),
                "\"x25519mlkem768\"",
            ),
            (fault("id = \"server-error\"\nat = [\"poll\", \"pol\"]"), "\"pol\""),
            (fault("id = \"server-error\"\nat = [\"poll\", \"register\", \"poll\"]"), "\"poll\""),
            (fault("id = \"server-error\"\nat = [\"poll\", \"tls\"]"), "\"tls\""),
            (fault("id = \"server-error\"\nshare = \"0.5\""), "\"0.5\""),
        ] {
            let told = super::small::with(&lines).expect_err(&lines);
            let [Diagnostic { place: Place::Line { column, width, source_line, .. }, .. }] =
                told.0.as_slice()
            else {
                panic!("{told}")
            };
            let marked: String = source_line.chars().skip(column - 1).take(*width).collect();
            assert_eq!(marked, meant, "{told}");
            assert_eq!(
                source_line.rfind(meant),
                Some(column - 1),
                "the last of those that are the same: {told}"
            );
        }
    }

    #[test]
    fn a_number_of_a_fault_in_quotes_is_repaired_as_any_other() {
        let told = super::small::with("[[target.mock.fault]]\nid = \"server-error\"\nshare = \"0.5\"\n");
        let told = told.expect_err("a text");
        assert_eq!(told.0[0].help.as_deref(), Some("drop the quotes: 0.5"));
    }

    #[test]
    fn a_mistake_is_shown_where_it_stands() {
        assert_eq!(
            told("devices = 10\n", "devices = 0 # none\n"),
            "error: `devices` must be between 1 and 100000000, found 0\n --> x.toml:4:11\n  |\n\
             4 | devices = 0 # none\n  |           ^"
        );
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest_known_one() {
        let told = told("in_flight = 4", "in_flight = 4\nin_flihgt = 5");
        assert_eq!(
            told,
            "error: unknown key `load.closed.in_flihgt`\n  --> x.toml:13:1\n   |\n\
             13 | in_flihgt = 5\n   | ^^^^^^^^^\n   = help: did you mean `in_flight`?"
        );
    }

    #[test]
    fn a_key_that_is_misspelt_is_not_missing_too() {
        for (from, to, unknown, missing) in [
            ("devices = 10", "devcies = 10", &["fleet.devcies"][..], &[][..]),
            ("[fleet]", "[flete]", &["flete"], &[]),
            ("in_flight = 4", "in_fligth = 4", &["load.closed.in_fligth"], &[]),
            ("[load.closed]", "[load.clsoed]", &["load.clsoed"], &[]),
            ("[load.closed]", "[laod.closed]", &["laod"], &[]),
            ("[target.mock]", "[target.moc]", &["target.moc"], &[]),
            (
                "in_flight = 4",
                "in_fligth = 4\n[[gate]]\nat_mots = 1",
                &["load.closed.in_fligth", "gate.at_mots"],
                &["`gate.metric` is missing"],
            ),
            ("devices = 10", "", &[], &["`fleet.devices` is missing"]),
            ("name = \"small\"", "colour = 1", &["colour"], &["`name` is missing"]),
        ] {
            let text = SMALL.replace(from, to);
            let told = Scenario::parse("x.toml", &text, &[]).expect_err(to);
            let messages = told.0.iter().map(|told| told.message.as_str());
            let (not_known, others): (Vec<&str>, Vec<&str>) =
                messages.partition(|message| message.starts_with("unknown key"));
            assert_eq!(others, missing, "{to}:\n{told}");
            let expected: Vec<_> = unknown.iter().map(|key| format!("unknown key `{key}`")).collect();
            assert_eq!(not_known, expected, "{to}:\n{told}");
        }
    }

    #[test]
    fn each_mistake_has_its_own_message() {
        for (from, to, line, message) in [
            ("devices = 10", "devices = \"10\"", 4, "`devices` must be a whole number, found text"),
            ("devices = 10", "devices = -1", 4, "`devices` must be between 1 and 100000000, found -1"),
            ("{index:05}", "x", 5, "`registration_id` is not right: template `dev-x` has no `{index}`"),
            (
                "dev-",
                "dev/",
                5,
                "device 0 has no registration id: registration id `dev/00000` may not contain '/'",
            ),
            ("name = \"small\"", "name = \"\"", 1, "`name` is empty"),
            ("name = \"small\"", "", 1, "`name` is missing"),
            ("in_flight = 4", "", 11, "`load.closed` has none of `in_flight`, `stage`"),
            ("[load.closed]\nin_flight = 4", "", 1, "`load` is missing"),
            ("in_flight = 4", "in_flight = 4\n[load.open]", 13, "`load` is both `closed` and `open`"),
            (
                "[target.mock]",
                "[target.mock]\nretry_after = 3",
                10,
                "`retry_after` is no duration: duration `3` has no unit",
            ),
            (
                "[target.mock]",
                "[target.mock]\nretry_after = \"1500ms\"",
                10,
                "`retry_after` must be whole seconds, as it is on the wire",
            ),
            ("[target.mock]", "[target.mock]\nhubs = []", 10, "`hubs` must name at least one"),
            ("[target.mock]", "[target.mock]\nhubs = [\"a\", \"a\"]", 10, "`hubs` names `a` twice"),
            (
                "[target.mock]",
                "[target.mock]\nverification = \"selfattested\"",
                10,
                "`verification` must be one of",
            ),
            (
                "[fleet.authority.minted]",
                "[fleet.authority.minted]\nintermediates = 9",
                8,
                "`intermediates` must be between 0 and 8",
            ),
            (
                "[fleet.authority.minted]",
                "[[fleet.defect]]\nid = \"cn-mismatch\"\ndevices = 11\n[fleet.authority.minted]",
                4,
                "11 devices are defective, but only 10 are planned",
            ),
            (
                "[fleet.authority.minted]",
                "[fleet.authority.directory]\npath = \"f\"\n[[fleet.defect]]\nid = \"cn-mismatch\"\ndevices = 1",
                10,
                "a fleet read from a directory brings its own defects",
            ),
            ("devices = 10", "devices = 10\nkey_pool = 3", 5, "`key_pool` is for RSA keys"),
            ("devices = 10", "devices = 10\ndevices = 11", 5, "duplicate key"),
            ("in_flight = 4", "in_flight = ", 12, "string values must be quoted"),
        ] {
            let told = told(from, to);
            let first = told.lines().next().unwrap_or_default();
            assert!(first.starts_with(&format!("error: {message}")), "{to}:\n{told}");
            assert!(told.contains(&format!("x.toml:{line}:")), "{to}:\n{told}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = SMALL.replace("devices = 10", "devices = 0").replace("in_flight = 4", "in_flight = 0");
        let told = Scenario::parse("x.toml", &text, &[]).expect_err("two mistakes");
        assert_eq!(told.0.len(), 2, "{told}");
    }

    #[test]
    fn a_rate_is_finite_and_above_nothing() {
        for (rate, good) in
            [("0.5", true), ("500", true), ("0", false), ("-1.0", false), ("inf", false), ("nan", false)]
        {
            let text = SMALL.replace(
                "[load.closed]\nin_flight = 4",
                &format!("[load.open]\nmax_in_flight = 9\nrate = {rate}"),
            );
            assert_eq!(Scenario::parse("x.toml", &text, &[]).is_ok(), good, "{rate}");
        }
    }

    #[test]
    fn an_override_stands_in_for_what_the_file_says() {
        let given = ["fleet.devices=500", "seed=7", "limits.grace=20s", "device.tls=1.3", "name=other"];
        let scenario = good(set(&given));
        assert_eq!((scenario.fleet.devices, scenario.seed), (500, 7));
        assert_eq!(scenario.limits.grace, 20 * SECOND);
        assert_eq!((scenario.device.talk.tls, scenario.name.as_str()), (Tls::V13, "other"));
    }

    #[test]
    fn a_mistake_in_an_override_names_it() {
        let told = set(&["seed=7", "fleet.devices=0"]).expect_err("no devices").to_string();
        assert_eq!(
            told,
            "error: `devices` must be between 1 and 100000000, found 0\n  --> --set fleet.devices=0"
        );
        let told = set(&["fleet.devcies=5"]).expect_err("unknown").to_string();
        assert!(
            told.contains("--> --set fleet.devcies=5") && told.contains("did you mean `devices`?"),
            "{told}"
        );
        let unknown = [("fleet.devises=3", "devices"), ("devise.tls=1.3", "device"), ("sead=3", "seed")];
        for text in [SMALL.to_owned(), dotted()] {
            for (given, meant) in unknown {
                let given = Override::parse(given).expect("an override");
                let told = Scenario::parse("x.toml", &text, std::slice::from_ref(&given));
                let told = told.expect_err("unknown").to_string();
                assert!(told.starts_with("error: unknown key `"), "{told}");
                let rest = format!("--> --set {given}\n  = help: did you mean `{meant}`?");
                assert!(told.contains(&rest), "{told}");
            }
        }
    }

    /// The small scenario in dotted keys.
    fn dotted() -> String {
        let head = "name = \"small\"\nfleet.devices = 10\nfleet.registration_id = \"dev-{index:05}\"\n";
        format!(
            "{head}fleet.authority.minted = {{}}\ntarget.mock = {{}}\nload.closed = {{ in_flight = 4 }}\n"
        )
    }

    #[test]
    fn a_key_that_is_not_written_can_be_set_in_every_style() {
        let given =
            ["fleet.key=p384", "device.transport=https", "load.closed.in_flight=5", "target.mock.group=g"];
        let given = given.map(|text| Override::parse(text).expect("an override"));
        for text in [SMALL.to_owned(), dotted()] {
            let scenario = Scenario::parse("x.toml", &text, &given).unwrap_or_else(|told| panic!("{told}"));
            assert_eq!(
                (scenario.fleet.key, scenario.device.talk.transport),
                (KeyAlgorithm::P384, Transport::Https)
            );
            assert_eq!(scenario.load, closed(5));
            let Target::Mock(mock) = scenario.target else { panic!("a mock") };
            assert_eq!(mock.group.as_str(), "g");
        }
    }
}
