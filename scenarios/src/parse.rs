//! From the text of a scenario to the scenario.
//!
//! Every section is read even when another has mistakes, so that one reading tells them all;
//! only a file without a mistake becomes a [`Scenario`].

use crate::diagnostic::{Diagnostics, nearest};
use crate::overrides::{Override, Source};
use crate::reader::{
    Found, Section, Wrong, delay, duration, one_of, parsed, rate, share, text, texts, whole,
};
use crate::scenario::{
    Authority, Defect, Device, Fleet, GroupOn, Limits, MockProfile, MockTarget, Scenario, ServiceTarget,
    Target, Tls, Transport, Verification, VerifyServer,
};
use crate::{Load, Template, WhenFull};
use sim_identity::KeyAlgorithm;
use sim_identity::defect::Family;
use sim_protocol::EnrollmentGroupId;
use sim_protocol::delay::Delay;
use sim_protocol::faults::chaos;
use std::cell::RefCell;
use std::time::Duration;

/// ours: more devices than any one run plans.
const MOST_DEVICES: u64 = 100_000_000;
/// ours: more than one machine has descriptors for.
const MOST_IN_FLIGHT: u64 = 1_000_000;
/// ours: deeper chains are refused by common verifiers.
const DEEPEST: u64 = 8;
/// The port of MQTT over TLS (IANA, `secure-mqtt`).
const MQTTS: u16 = 8883;

const DAY: Duration = Duration::from_secs(86_400);
const SECOND: Duration = Duration::from_secs(1);

impl Scenario {
    /// Parses the text of a scenario, with values given on the command line in place of its own.
    /// `file_name` is what diagnostics call it.
    pub fn parse(file_name: &str, text: &str, overrides: &[Override]) -> Result<Self, Diagnostics> {
        let one = |diagnostic| Diagnostics(vec![diagnostic]);
        let source = Source::new(file_name, text, overrides).map_err(one)?;
        let table = source.parsed().map_err(one)?;
        let found = RefCell::new(Vec::new());
        let read = scenario(Section::root(&source, &table, &found));
        let mistakes = found.take();
        match read {
            Some(scenario) if mistakes.is_empty() => Ok(scenario),
            _ => Err(Diagnostics::sorted(mistakes)),
        }
    }
}

fn scenario(mut root: Section<'_>) -> Option<Scenario> {
    let name = root.required("name", text);
    let seed = root.or("seed", 1, whole(0..=u64::MAX));
    let fleet = fleet(root.section("fleet"));
    let device = device(root.section("device"));
    let target = target(root.section("target"));
    let load = load(root.section("load"));
    let limits = limits(root.section("limits"));
    root.close();
    Some(Scenario {
        name: name?,
        seed: seed?,
        fleet: fleet?,
        device: device?,
        target: target?,
        load: load?,
        limits: limits?,
    })
}

fn fleet(mut section: Section<'_>) -> Option<Fleet> {
    let devices = section.required("devices", whole(1..=MOST_DEVICES));
    let registration_id = section.required("registration_id", parsed::<Template>);
    let key = section.or("key", KeyAlgorithm::P256, one_of(&keys()));
    let key_pool = section.or("key_pool", 8, whole(1..=4096));
    let validity = section.or("validity", 30 * DAY, duration(SECOND..=36_500 * DAY));
    let authority = authority(section.section("authority"));
    let defects: Vec<_> = section.sections("defect").into_iter().map(|each| defect(each, devices)).collect();
    check_names(&section, registration_id.as_ref(), devices);
    check_pool(&section, key);
    // Before anything that is missing ends the reading: a misspelt key explains it.
    section.close();
    let fleet = Fleet {
        devices: devices?,
        registration_id: registration_id?,
        key: key?,
        key_pool: key_pool?,
        validity: validity?,
        authority: authority?,
        defects: defects.into_iter().collect::<Option<_>>()?,
    };
    check_defects_fit(&section, &fleet);
    Some(fleet)
}

fn check_names(section: &Section<'_>, template: Option<&Template>, devices: Option<u64>) {
    if let (Some(template), Some(devices)) = (template, devices)
        && let Err(cause) = template.fits(devices)
    {
        section.tell(section.place_of("registration_id"), Wrong::new(cause.to_string()));
    }
}

fn check_pool(section: &Section<'_>, key: Option<KeyAlgorithm>) {
    if section.has("key_pool") && key.is_some_and(|key| key.rsa_bits().is_none()) {
        let wrong = Wrong::new("`key_pool` is for RSA keys, which are slow to make");
        section.tell(section.place_of("key_pool"), wrong.help("drop it, or choose an RSA `key`"));
    }
}

fn check_defects_fit(section: &Section<'_>, fleet: &Fleet) {
    let Some(first) = fleet.defects.first() else {
        return;
    };
    if matches!(fleet.authority, Authority::Directory { .. }) {
        let wrong = Wrong::new("a fleet read from a directory brings its own defects");
        section.tell(first.place.clone(), wrong.help("drop `[[fleet.defect]]`, or let the fleet be minted"));
    }
    let defective = fleet.defects.iter().fold(0, |sum: u64, defect| sum.saturating_add(defect.devices));
    if defective > fleet.devices {
        let devices = fleet.devices;
        let message = format!("{defective} devices are defective, but only {devices} are planned");
        let help = "`devices` counts the defective ones too";
        section.tell(section.place_of("devices"), Wrong::new(message).help(help));
    }
}

/// Key types by their spelling.
fn keys() -> [(&'static str, KeyAlgorithm); KeyAlgorithm::ALL.len()] {
    KeyAlgorithm::ALL.map(|key| (key.as_str(), key))
}

fn authority(mut section: Section<'_>) -> Option<Authority> {
    let variant = section.variant(&["minted", "files", "directory"]);
    section.close();
    match variant? {
        ("minted", section) => minted(section),
        ("files", section) => files(section),
        (_, section) => directory(section),
    }
}

fn minted(mut section: Section<'_>) -> Option<Authority> {
    let intermediates = section.or("intermediates", 1, whole(0..=DEEPEST));
    let key = section.or("key", KeyAlgorithm::P256, one_of(&keys()));
    section.close();
    Some(Authority::Minted { intermediates: u8::try_from(intermediates?).ok()?, key: key? })
}

fn files(mut section: Section<'_>) -> Option<Authority> {
    let certificate = section.required("certificate", text);
    let key = section.required("key", text);
    let chain = section.optional("chain", text);
    section.close();
    Some(Authority::Files { certificate: certificate?, key: key?, chain: chain? })
}

fn directory(mut section: Section<'_>) -> Option<Authority> {
    let path = section.required("path", text);
    section.close();
    Some(Authority::Directory { path: path? })
}

fn defect(mut section: Section<'_>, fleet: Option<u64>) -> Option<Defect> {
    let kind = section.required("id", defect_kind);
    let devices = section.optional("devices", whole(1..=MOST_DEVICES));
    let share = section.optional("share", share);
    let place = section.place_of("id");
    section.close();
    let choice = "write `devices = 10`, or `share = 0.01` of the fleet";
    let devices = match (section.has("devices"), section.has("share")) {
        (true, true) => {
            let wrong = Wrong::new(format!("`{}` has both `devices` and `share`", section.name()));
            section.tell(section.place_of("share"), wrong.help(choice));
            None
        }
        (false, false) => {
            let wrong = Wrong::new(format!("`{}.devices` is missing", section.name()));
            section.tell(section.place(), wrong.help(choice));
            None
        }
        (true, false) => devices?,
        (false, true) => share?.zip(fleet).map(|(share, fleet)| share_of(share, fleet)),
    };
    Some(Defect { kind: kind?, devices: devices?, place })
}

/// A share of the fleet in devices, at least one.
fn share_of(share: f64, fleet: u64) -> u64 {
    ((share * fleet as f64).round() as u64).max(1)
}

/// The id of a defect that a device can present at any time.
fn defect_kind(found: Found<'_>) -> Result<sim_identity::Defect, Wrong> {
    let given = text(found)?;
    let Ok(kind) = given.parse::<sim_identity::Defect>() else {
        let known: Vec<_> =
            sim_identity::Defect::all().filter(|kind| kind.is_presentable()).map(|kind| kind.id()).collect();
        let wrong = Wrong::new(format!("is no defect: `{given}`"));
        return Err(wrong.help(match nearest(&given, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`rollcall explain defects` lists them".to_owned(),
        }));
    };
    if kind.is_presentable() {
        return Ok(kind);
    }
    let why = match kind.family() {
        Family::Possession => "is about proof of possession, which is no device's business",
        Family::Service => "is a course of events, or a state that no service can be brought into",
        _ => "is nothing that a device can present to a service at any time",
    };
    let help =
        format!("`rollcall explain {kind}` tells more; `rollcall mint defect {kind}` makes what there is");
    Err(Wrong::new(format!("cannot be `{kind}`: that {why}")).help(help))
}

fn device(mut section: Section<'_>) -> Option<Device> {
    let tls = section.or("tls", Tls::Any, one_of(&[("any", Tls::Any), ("1.2", Tls::V12), ("1.3", Tls::V13)]));
    let transport = section.or("transport", Transport::Mqtt, one_of(&TRANSPORTS));
    let choices = [("once", VerifyServer::Once), ("always", VerifyServer::Always)];
    let verify_server = section.or("verify_server", VerifyServer::Once, one_of(&choices));
    section.close();
    Some(Device { tls: tls?, transport: transport?, verify_server: verify_server? })
}

const TRANSPORTS: [(&str, Transport); 3] = [
    (Transport::Mqtt.as_str(), Transport::Mqtt),
    (Transport::MqttWs.as_str(), Transport::MqttWs),
    (Transport::Https.as_str(), Transport::Https),
];

fn target(mut section: Section<'_>) -> Option<Target> {
    let variant = section.variant(&["mock", "service"]);
    section.close();
    match variant? {
        ("mock", section) => mock(section).map(Target::Mock),
        (_, section) => service(section).map(Target::Service),
    }
}

fn mock(mut section: Section<'_>) -> Option<MockTarget> {
    let verification = section.or("verification", Verification::ProofOfPossession, one_of(&VERIFICATIONS));
    let group = section.optional("group", parsed::<EnrollmentGroupId>);
    let group_on = section.or("group_on", GroupOn::Intermediate, one_of(&GROUPS_ON));
    let retry_after = section.or("retry_after", Duration::ZERO, duration(Duration::ZERO..=DAY));
    let assign_delay = section.or("assign_delay", Delay::ZERO, delay);
    let hubs = section.or("hubs", vec!["hub-1.azure-devices.net".to_owned()], texts);
    let profile = section.or("profile", MockProfile::Unlimited, one_of(&PROFILES));
    let given: Vec<_> = section.sections("fault").iter().map(Section::fault).collect();
    check_whole_seconds(&section, retry_after);
    section.close();
    let profile = profile?;
    let mut faults = if profile == MockProfile::Chaos { chaos() } else { Vec::new() };
    faults.extend(given.into_iter().collect::<Option<Vec<_>>>()?);
    Some(MockTarget {
        verification: verification?,
        group: group?.or_else(|| EnrollmentGroupId::new("fleet").ok())?,
        group_on: group_on?,
        retry_after: retry_after?,
        assign_delay: assign_delay?,
        hubs: hubs?,
        profile,
        faults,
    })
}

const VERIFICATIONS: [(&str, Verification); 3] = [
    ("proof-of-possession", Verification::ProofOfPossession),
    ("self-attested", Verification::SelfAttested),
    ("none", Verification::None),
];

const PROFILES: [(&str, MockProfile); 3] =
    [("unlimited", MockProfile::Unlimited), ("azure", MockProfile::Azure), ("chaos", MockProfile::Chaos)];

const GROUPS_ON: [(&str, GroupOn); 2] = [("intermediate", GroupOn::Intermediate), ("root", GroupOn::Root)];

fn check_whole_seconds(section: &Section<'_>, retry_after: Option<Duration>) {
    if retry_after.is_some_and(|wait| wait.subsec_nanos() != 0) {
        let wrong = Wrong::new("`retry_after` must be whole seconds, as it is on the wire");
        section.tell(section.place_of("retry_after"), wrong);
    }
}

fn service(mut section: Section<'_>) -> Option<ServiceTarget> {
    let host = section.required("host", text);
    let port = section.or("port", MQTTS.into(), whole(1..=u16::MAX.into()));
    let id_scope = section.required("id_scope", parsed);
    let trust_root = section.optional("trust_root", text);
    let server_name = section.optional("server_name", text);
    let management = section.optional("management", |found| text(found).and_then(address));
    section.close();
    Some(ServiceTarget {
        host: host?,
        port: u16::try_from(port?).ok()?,
        id_scope: id_scope?,
        trust_root: trust_root?,
        server_name: server_name?,
        management: management?,
    })
}

fn address(text: String) -> Result<String, Wrong> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(1..))) {
        return Ok(text);
    }
    Err(Wrong::new(format!("must be an address with a port, found `{text}`")).help("write `127.0.0.1:8900`"))
}

fn load(mut section: Section<'_>) -> Option<Load> {
    let variant = section.variant(&["closed", "open"]);
    section.close();
    match variant? {
        ("closed", section) => closed(section),
        (_, section) => open(section),
    }
}

fn closed(mut section: Section<'_>) -> Option<Load> {
    let in_flight = section.required("in_flight", whole(1..=MOST_IN_FLIGHT));
    section.close();
    Some(Load::Closed { in_flight: usize::try_from(in_flight?).ok()? })
}

fn open(mut section: Section<'_>) -> Option<Load> {
    let rate = section.required("rate", rate);
    let max_in_flight = section.required("max_in_flight", whole(1..=MOST_IN_FLIGHT));
    let choices = [("wait", WhenFull::Wait), ("shed", WhenFull::Shed)];
    let when_full = section.or("when_full", WhenFull::Wait, one_of(&choices));
    section.close();
    Some(Load::Open {
        rate: rate?,
        max_in_flight: usize::try_from(max_in_flight?).ok()?,
        when_full: when_full?,
    })
}

fn limits(mut section: Section<'_>) -> Option<Limits> {
    let grace = section.or("grace", Duration::from_secs(10), duration(Duration::ZERO..=DAY));
    let shortest = Duration::from_millis(1);
    let attempt_timeout = section.or("attempt_timeout", Duration::from_secs(60), duration(shortest..=DAY));
    section.close();
    Some(Limits { grace: grace?, attempt_timeout: attempt_timeout? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SHIPPED;
    use crate::diagnostic::Place;
    use sim_protocol::faults::{Fault, FaultPoint, FaultRule};

    const SMALL: &str = r#"name = "small"

[fleet]
devices = 10
registration_id = "dev-{index:05}"

[fleet.authority.minted]

[target.mock]

[load.closed]
in_flight = 4
"#;

    /// What is said about the small scenario after one replacement in its text.
    fn told(from: &str, to: &str) -> String {
        assert_eq!(SMALL.matches(from).count(), 1, "{from}");
        let text = SMALL.replace(from, to);
        Scenario::parse("x.toml", &text, &[]).map(|scenario| scenario.name).expect_err(to).to_string()
    }

    fn set(overrides: &[&str]) -> Result<Scenario, Diagnostics> {
        let overrides: Vec<_> =
            overrides.iter().map(|text| Override::parse(text).expect("an override")).collect();
        Scenario::parse("x.toml", SMALL, &overrides)
    }

    #[test]
    fn a_small_scenario_gets_its_defaults() {
        let scenario = set(&[]).expect("a good scenario");
        assert_eq!(
            scenario,
            Scenario {
                name: "small".to_owned(),
                seed: 1,
                fleet: Fleet {
                    devices: 10,
                    registration_id: Template::parse("dev-{index:05}").expect("a template"),
                    key: KeyAlgorithm::P256,
                    key_pool: 8,
                    validity: 30 * DAY,
                    authority: Authority::Minted { intermediates: 1, key: KeyAlgorithm::P256 },
                    defects: vec![],
                },
                device: Device {
                    tls: Tls::Any,
                    transport: Transport::Mqtt,
                    verify_server: VerifyServer::Once
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
                }),
                load: Load::Closed { in_flight: 4 },
                limits: Limits { grace: 10 * SECOND, attempt_timeout: 60 * SECOND },
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
    fn the_demo_has_ten_thousand_good_devices_and_six_bad_ones() {
        let (file, text) = SHIPPED[0];
        let demo = Scenario::parse(file, text, &[]).expect("the demo");
        assert_eq!((demo.fleet.devices, demo.fleet.defective()), (10_006, 6));
        assert_eq!(demo.load, Load::Closed { in_flight: 64 });
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
            ("in_flight = 4", "", 11, "`load.closed.in_flight` is missing"),
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
    fn a_service_is_named_by_host_and_scope() {
        let text = SMALL.replace(
            "[target.mock]",
            "[target.service]\nhost = \"localhost\"\nid_scope = \"0ne1\"\nmanagement = \"127.0.0.1:8900\"",
        );
        let scenario = Scenario::parse("x.toml", &text, &[]).expect("a good scenario");
        let Target::Service(service) = scenario.target else { panic!("a service") };
        assert_eq!((service.port, service.id_scope.as_str()), (8883, "0ne1"));
        assert_eq!(service.management.as_deref(), Some("127.0.0.1:8900"));
        let told = Scenario::parse("x.toml", &text.replace(":8900", ""), &[]).expect_err("no port");
        assert!(told.to_string().contains("must be an address with a port"), "{told}");
    }

    #[test]
    fn an_override_stands_in_for_what_the_file_says() {
        let given = ["fleet.devices=500", "seed=7", "limits.grace=20s", "device.tls=1.3", "name=other"];
        let scenario = set(&given).expect("good overrides");
        assert_eq!((scenario.fleet.devices, scenario.seed), (500, 7));
        assert_eq!(scenario.limits.grace, 20 * SECOND);
        assert_eq!((scenario.device.tls, scenario.name.as_str()), (Tls::V13, "other"));
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
                (scenario.fleet.key, scenario.device.transport),
                (KeyAlgorithm::P384, Transport::Https)
            );
            assert_eq!(scenario.load, Load::Closed { in_flight: 5 });
            let Target::Mock(mock) = scenario.target else { panic!("a mock") };
            assert_eq!(mock.group.as_str(), "g");
        }
    }

    #[test]
    fn defects_are_checked_against_the_known_ones_where_they_stand() {
        let with = |id: &str| format!("{SMALL}\n[[fleet.defect]]\nid = \"{id}\"\ndevices = 1\n");
        let scenario = Scenario::parse("x.toml", &with("cn-mismatch"), &[]).expect("a good scenario");
        assert_eq!(scenario.fleet.defects[0].kind, sim_identity::Defect::CN_MISMATCH);
        let told = Scenario::parse("x.toml", &with("cn-mismatsch"), &[]).expect_err("unknown").to_string();
        assert!(told.contains("x.toml:15:6") && told.contains("did you mean `cn-mismatch`?"), "{told}");
    }

    /// The small scenario with this defect.
    fn with_defect(lines: &str) -> Result<Defect, Diagnostics> {
        let text = SMALL.replace("devices = 10\n", "devices = 1000\n");
        let scenario = Scenario::parse("x.toml", &format!("{text}\n[[fleet.defect]]\n{lines}"), &[])?;
        let mut defects = scenario.fleet.defects;
        Ok(defects.remove(0))
    }

    #[test]
    fn a_defect_is_for_a_number_of_devices_or_a_share_of_them() {
        for (lines, devices) in [
            ("devices = 7", 7),
            ("share = 0.01", 10),
            ("share = 0.0156", 16),
            ("share = 0.00001", 1),
            ("share = 1", 1000),
        ] {
            let defect = with_defect(&format!("id = \"cn-mismatch\"\n{lines}"));
            assert_eq!(defect.map(|defect| defect.devices), Ok(devices), "{lines}");
        }
    }

    #[test]
    fn a_defect_that_no_fleet_can_have_is_told_where_it_stands() {
        let id = "id = \"cn-mismatch\"";
        for (lines, line, message, help) in [
            (id.to_owned(), 14, "`fleet.defect.devices` is missing", "write `devices = 10`"),
            (
                format!("{id}\ndevices = 1\nshare = 0.5"),
                17,
                "`fleet.defect` has both `devices` and `share`",
                "write `devices = 10`",
            ),
            (format!("{id}\nshare = 0"), 16, "`share` must be above 0 and at most 1", ""),
            (format!("{id}\nshare = 1.01"), 16, "`share` must be above 0 and at most 1", ""),
            (format!("{id}\nshare = \"a\""), 16, "`share` must be a number, found text", ""),
            (
                "id = \"none such\"\ndevices = 1".to_owned(),
                15,
                "`id` is no defect",
                "`rollcall explain defects`",
            ),
            ("id = \"pop-csr\"\ndevices = 1".to_owned(), 15, "`id` cannot be `pop-csr`", "`rollcall explain"),
            (
                "id = \"svc-trust-flip\"\ndevices = 1".to_owned(),
                15,
                "`id` cannot be `svc-trust-flip`",
                "`rollcall explain",
            ),
        ] {
            let told = with_defect(&lines).expect_err(&lines);
            let [told] = told.0.as_slice() else { panic!("{lines}: {told}") };
            assert!(told.message.starts_with(message), "{lines}: {told}");
            assert!(
                matches!(told.place, Place::Line { line: found, .. } if found == line),
                "{lines}: {told}"
            );
            assert!(told.help.as_deref().unwrap_or_default().starts_with(help), "{lines}: {told}");
        }
    }

    /// The mock of the small scenario with more lines under `[target.mock]`.
    fn mock_with(lines: &str) -> Result<MockTarget, Diagnostics> {
        let text = SMALL.replace("[target.mock]", &format!("[target.mock]\n{lines}"));
        Scenario::parse("x.toml", &text, &[]).map(|scenario| match scenario.target {
            Target::Mock(mock) => mock,
            Target::Service(_) => panic!("a mock"),
        })
    }

    #[test]
    fn an_assignment_takes_a_time_or_a_distribution_of_times() {
        let ms = Duration::from_millis;
        for (text, delay) in [
            ("500ms", Delay::Fixed(ms(500))),
            ("1d", Delay::Fixed(DAY)),
            ("uniform 100ms..300ms", Delay::Uniform { from: ms(100), to: ms(300) }),
            ("bimodal 10ms, 2s, 5%", Delay::Bimodal { low: ms(10), high: ms(2000), share_high: 0.05 }),
        ] {
            let mock =
                mock_with(&format!("assign_delay = \"{text}\"")).unwrap_or_else(|told| panic!("{told}"));
            assert_eq!(mock.assign_delay, delay, "{text}");
        }
        let text = [Override::parse("target.mock.assign_delay=exponential 200ms").expect("an override")];
        let scenario = Scenario::parse("x.toml", SMALL, &text).unwrap_or_else(|told| panic!("{told}"));
        let Target::Mock(mock) = scenario.target else { panic!("a mock") };
        assert_eq!(mock.assign_delay, Delay::Exponential { mean: ms(200) });
    }

    #[test]
    fn faults_are_tables_of_the_mock() {
        let mock = mock_with(
            r#"[[target.mock.fault]]
id = "throttle"
at = "register"
share = 0.05
retry_after = "3s"
devices = "dev-*"

[[target.mock.fault]]
id = "drop"
at = ["register", "poll-answer"]
from = "5s"
until = "20s"
share = 1
"#,
        );
        let throttle = Fault::Throttle { retry_after: Some(3 * SECOND) };
        let expected = [
            FaultRule {
                at: vec![FaultPoint::Register],
                share: 0.05,
                devices: Some("dev-*".to_owned()),
                ..FaultRule::new(throttle)
            },
            FaultRule {
                at: vec![FaultPoint::Register, FaultPoint::PollAnswer],
                from: Some(5 * SECOND),
                until: Some(20 * SECOND),
                ..FaultRule::new(Fault::Drop)
            },
        ];
        assert_eq!(mock.unwrap_or_else(|told| panic!("{told}")).faults, expected);
    }

    #[test]
    fn chaos_comes_before_the_faults_of_the_file() {
        let drop = "[[target.mock.fault]]\nid = \"drop\"\n";
        let own = FaultRule::new(Fault::Drop);
        for (word, profile, faults) in [
            ("unlimited", MockProfile::Unlimited, vec![own.clone()]),
            ("azure", MockProfile::Azure, vec![own.clone()]),
            ("chaos", MockProfile::Chaos, [chaos(), vec![own]].concat()),
        ] {
            let mock =
                mock_with(&format!("profile = \"{word}\"\n{drop}")).unwrap_or_else(|told| panic!("{told}"));
            assert_eq!((mock.profile, mock.faults), (profile, faults), "{word}");
        }
    }

    #[test]
    fn a_fault_that_is_none_is_told_where_it_stands() {
        let fault = |lines: &str| format!("[[target.mock.fault]]\n{lines}");
        for (lines, line, message, help) in [
            (fault("id = \"trottle\""), 11, "`id` must be one of", Some("did you mean `throttle`?")),
            (fault("share = 0.5"), 10, "`target.mock.fault.id` is missing", None),
            (
                fault("id = \"drop\"\nshaer = 0.5"),
                12,
                "unknown key `target.mock.fault.shaer`",
                Some("did you mean `share`?"),
            ),
            (
                fault("delay = \"3s\"\nid = \"drop\""),
                11,
                "unknown key `target.mock.fault.delay`",
                Some("known keys are `id`"),
            ),
            (fault("id = \"drop\"\nshare = 1.5"), 12, "`share` must be between 0 and 1", None),
            (fault("id = \"drop\"\nshare = nan"), 12, "`share` must be between 0 and 1", None),
            (
                fault("id = \"drop\"\nat = [\"poll\", \"conect\"]"),
                12,
                "`at` must be of",
                Some("did you mean `connect`?"),
            ),
            (fault("id = \"throttle\"\nat = \"tls\""), 12, "`throttle` cannot happen at `tls`", None),
            (fault("id = \"drop\"\nat = \"tcp\"\ndevices = \"a\""), 13, "`devices` cannot be told", None),
            (fault("id = \"drop\"\nfrom = \"2s\"\nuntil = \"1s\""), 13, "`until` must be after `from`", None),
            (fault("id = \"drop\"\nfrom = 2"), 12, "`from` must be a duration in quotes", None),
            (fault("id = \"latency\"\ndelay = \"2\""), 12, "`delay` is no delay", None),
            ("profile = \"caos\"".to_owned(), 10, "`profile` must be one of", Some("did you mean `chaos`?")),
            ("assign_delay = 20".to_owned(), 10, "`assign_delay` is no delay", None),
            ("assign_delay = \"2d\"".to_owned(), 10, "`assign_delay` is no delay", None),
            ("assign_delay = true".to_owned(), 10, "`assign_delay` must be a delay, found a boolean", None),
            ("fault = 3".to_owned(), 10, "`fault` must be tables", Some("write `[[target.mock.fault]]`")),
        ] {
            let told = mock_with(&lines).expect_err(&lines);
            let [told] = told.0.as_slice() else { panic!("{lines}: {told}") };
            assert!(told.message.starts_with(message), "{lines}: {told}");
            assert!(
                matches!(told.place, Place::Line { line: found, .. } if found == line),
                "{lines}: {told}"
            );
            let found = told.help.as_deref();
            assert!(found.is_some() == help.is_some(), "{lines}: {told}");
            assert!(found.unwrap_or_default().starts_with(help.unwrap_or_default()), "{lines}: {told}");
        }
    }

    #[test]
    fn each_fault_tells_its_own_mistake() {
        let told = mock_with("[[target.mock.fault]]\nid = \"dorp\"\n[[target.mock.fault]]\nid = \"stall\"\n");
        let lines = told.expect_err("two mistakes").0.into_iter().map(|told| match told.place {
            Place::Line { line, .. } => line,
            Place::Set(_) => 0,
        });
        assert_eq!(lines.collect::<Vec<_>>(), [11, 12]);
        let given = Override::parse("target.mock.fault.0.share=2").expect("an override");
        let text = SMALL.replace("[load", "[[target.mock.fault]]\nid = \"drop\"\n[load");
        let told = Scenario::parse("x.toml", &text, std::slice::from_ref(&given)).expect_err("a share of 2");
        assert_eq!(told.0[0].place, Place::Set("target.mock.fault.0.share=2".to_owned()));
    }
}
