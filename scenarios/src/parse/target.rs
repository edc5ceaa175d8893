//! `[target]`: whom the fleet registers with.

use super::DAY;
use super::fault;
use crate::kind::{Kind, Wrong, delay, flag, one_of, parsed, refined, text, texts, whole, whole_seconds};
use crate::reader::Section;
use crate::scenario::{GroupOn, MockProfile, MockTarget, ServiceTarget, Target, Verification};
use sim_protocol::EnrollmentGroupId;
use sim_protocol::delay::Delay;
use sim_protocol::faults::chaos;
use std::time::Duration;

/// The port of MQTT over TLS (IANA, `secure-mqtt`).
const MQTTS: u16 = 8883;

/// How a target is read; other than a plain function it can know of factories.
type Read<'f> = &'f dyn Fn(Section<'_>) -> Option<Target>;

/// Reads `[target]`; `factories` is whether the fleet has some.
pub(super) fn target(mut section: Section<'_>, factories: bool) -> Option<Target> {
    let mock = |section: Section<'_>| mock(section, factories).map(Target::Mock);
    let service = |section: Section<'_>| service(section).map(Target::Service);
    let forms: [(_, Read<'_>); 2] = [("mock", &mock), ("service", &service)];
    section.variant(&forms)
}

fn mock(mut section: Section<'_>, factories: bool) -> Option<MockTarget> {
    let verification = section.or("verification", Verification::ProofOfPossession, one_of(&VERIFICATIONS));
    let group = section.optional("group", parsed::<EnrollmentGroupId>());
    let group_on = section.or("group_on", GroupOn::Intermediate, one_of(&GROUPS_ON));
    let retry_after = section.or("retry_after", Duration::ZERO, whole_seconds(Duration::ZERO..=DAY));
    let assign_delay = section.or("assign_delay", Delay::ZERO, delay());
    let hubs = section.or("hubs", vec!["hub-1.azure-devices.net".to_owned()], texts());
    let profile = section.or("profile", MockProfile::Unlimited, one_of(&PROFILES));
    let tickets = section.or("tickets", false, flag());
    let given: Vec<_> = section.sections("fault").iter().map(|fault| fault.fault(fault::schema)).collect();
    if factories {
        check_no_group(&section, group_on);
    }
    section.close();
    let group = match group? {
        None if !factories => Some(EnrollmentGroupId::new("fleet").ok()?),
        group => group,
    };
    if let Some(group) = &group {
        section.settle("group", parsed(), group);
    }
    let profile = profile?;
    let mut faults = if profile == MockProfile::Chaos { chaos() } else { Vec::new() };
    faults.extend(given.into_iter().collect::<Option<Vec<_>>>()?);
    Some(MockTarget {
        verification: verification?,
        group: group.or_else(|| EnrollmentGroupId::new("fleet").ok())?,
        group_on: group_on?,
        retry_after: retry_after?,
        assign_delay: assign_delay?,
        hubs: hubs?,
        profile,
        faults,
        tickets: tickets?,
    })
}

/// Each factory has an enrollment group of its own, by its name and on its intermediate.
fn check_no_group(section: &Section<'_>, group_on: Option<GroupOn>) {
    let help = "drop it, or drop `[[fleet.factory]]`";
    if section.has("group") {
        let wrong = Wrong::new("`group` has no device: each factory has a group of its own name");
        section.tell(section.place_of("group"), wrong.help(help));
    }
    if group_on == Some(GroupOn::Root) {
        let wrong = Wrong::new("`group_on` cannot be `root`: each factory's group is on its intermediate");
        section.tell(section.place_of("group_on"), wrong.help(help));
    }
}

const VERIFICATIONS: [(&str, Verification); 4] = [
    ("proof-of-possession", Verification::ProofOfPossession),
    ("self-attested", Verification::SelfAttested),
    ("forged-proof", Verification::ForgedProof),
    ("none", Verification::None),
];

const PROFILES: [(&str, MockProfile); 3] =
    [("unlimited", MockProfile::Unlimited), ("azure", MockProfile::Azure), ("chaos", MockProfile::Chaos)];

const GROUPS_ON: [(&str, GroupOn); 2] = [("intermediate", GroupOn::Intermediate), ("root", GroupOn::Root)];

fn service(mut section: Section<'_>) -> Option<ServiceTarget> {
    let host = section.required("host", text());
    let port = section.or("port", MQTTS.into(), whole(1..=u16::MAX.into()));
    let id_scope = section.required("id_scope", parsed());
    let trust_root = section.optional("trust_root", text());
    let server_name = section.optional("server_name", text());
    let management = section.optional("management", address());
    let quota_per_minute = section.optional("quota_per_minute", whole(1..=u32::MAX.into()));
    section.close();
    let host = host?;
    section.settle("server_name", text(), &host);
    Some(ServiceTarget {
        host,
        port: u16::try_from(port?).ok()?,
        id_scope: id_scope?,
        trust_root: trust_root?,
        server_name: server_name?,
        management: management?,
        quota_per_minute: quota_per_minute?.and_then(|quota| u32::try_from(quota).ok()),
    })
}

/// An address with a port.
fn address() -> impl Kind<Value = String> {
    refined(text(), with_port)
}

fn with_port(text: String) -> Result<String, Wrong> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(1..))) {
        return Ok(text);
    }
    Err(Wrong::new(format!("must be an address with a port, found `{text}`")).help("write `127.0.0.1:8900`"))
}

#[cfg(test)]
mod tests {
    use super::super::small::{SMALL, assert_told, good};
    use super::*;
    use crate::{Diagnostics, Override, Place, Scenario};
    use sim_protocol::faults::{Fault, FaultPoint, FaultRule};

    const SECOND: Duration = Duration::from_secs(1);

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
            (fault("id = \"drop\"\nfrom = \"2\""), 12, "`from` is no duration", Some("write \"2s\"")),
            (fault("id = \"latency\"\ndelay = \"2\""), 12, "`delay` is no delay", None),
            ("profile = \"caos\"".to_owned(), 10, "`profile` must be one of", Some("did you mean `chaos`?")),
            ("assign_delay = 20".to_owned(), 10, "`assign_delay` is no delay", None),
            ("assign_delay = \"2d\"".to_owned(), 10, "`assign_delay` is no delay", None),
            ("assign_delay = true".to_owned(), 10, "`assign_delay` must be a delay, found a boolean", None),
            ("fault = 3".to_owned(), 10, "`fault` must be tables", Some("write `[[target.mock.fault]]`")),
        ] {
            assert_told(&lines, mock_with(&lines), line, message, help.unwrap_or_default());
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
        assert_eq!(told.0[0].place, Place::Set("--set target.mock.fault.0.share=2".to_owned()));
        assert!(told.0[0].message.starts_with("`share` must be between 0 and 1"), "{told}");
    }

    #[test]
    fn tickets_are_handed_out_where_that_is_asked_for() {
        for (lines, tickets) in [("", false), ("tickets = false", false), ("tickets = true", true)] {
            assert_eq!(mock_with(lines).map(|mock| mock.tickets), Ok(tickets), "{lines}");
        }
        for wrong in ["\"yes\"", "1"] {
            let lines = format!("tickets = {wrong}");
            assert_told(&lines, mock_with(&lines), 10, "`tickets` must be `true` or `false`", "");
        }
    }

    #[test]
    fn the_groups_of_factories_are_their_own() {
        let factory = "[[fleet.factory]]\nname = \"line-a\"\nshare = 1\n";
        let with = |line: &str| {
            let text = SMALL.replace("[target.mock]\n", &format!("{factory}\n[target.mock]\n{line}\n"));
            Scenario::parse("x.toml", &text, &[])
        };
        good(with("group_on = \"intermediate\""));
        for (line, message) in [
            ("group = \"line-a\"", "`group` has no device"),
            ("group_on = \"root\"", "`group_on` cannot be `root`"),
        ] {
            assert_told(line, with(line), 14, message, "drop it, or drop `[[fleet.factory]]`");
        }
    }

    #[test]
    fn a_service_may_be_said_to_allow_more_than_is_documented() {
        let with = |line: &str| {
            let service = format!("[target.service]\nhost = \"localhost\"\nid_scope = \"0ne1\"\n{line}\n");
            Scenario::parse("x.toml", &SMALL.replace("[target.mock]\n", &service), &[])
        };
        for (line, quota) in [("", None), ("quota_per_minute = 1000", Some(1000))] {
            let Target::Service(service) = good(with(line)).target else { panic!("a service") };
            assert_eq!(service.quota_per_minute, quota, "{line}");
        }
        for line in ["quota_per_minute = 0", "quota_per_minute = 4294967296", "quota_per_minute = \"1000/m\""]
        {
            assert_told(line, with(line), 12, "`quota_per_minute` must be", "");
        }
    }
}
