//! `[device]`: how devices talk, what they are after, and what they do when it goes wrong.

use super::part::{Part, check_none_empty, ranges, surplus, wrong_sum};
use super::{DAY, SHORTEST};
use crate::kind::{self, Wrong, duration, flag, one_of, several, share, whole, whole_seconds};
use crate::reader::{Form, Section};
use crate::scenario::{
    Device, Flavour, Fleet, Goal, Hold, KeyExchange, Kind, Resumption, Retry, Talk, Target, Tls, Transport,
    VerifyServer,
};
use std::time::Duration;

/// ours: more often than any device tries.
const MOST_RETRIES: u64 = 1_000_000;
/// The longest keep-alive that a CONNECT can ask for (MQTT 3.1.1 section 3.1.2.10).
const LONGEST_KEEP_ALIVE: Duration = Duration::from_secs(u16::MAX as u64);

/// Reads `[device]`. What hangs on the fleet or the target is left unchecked where those have mistakes.
pub(super) fn device(
    mut section: Section<'_>,
    fleet: Option<&Fleet>,
    target: Option<&Target>,
) -> Option<Device> {
    let choices = [("once", VerifyServer::Once), ("always", VerifyServer::Always)];
    let verify_server = section.or("verify_server", VerifyServer::Once, one_of(&choices));
    let choices = [("off", Resumption::Off), ("tickets", Resumption::Tickets)];
    let resumption = section.or("resumption", Resumption::Off, one_of(&choices));
    let choices = [("assigned", Goal::Assigned), ("connected", Goal::Connected)];
    let goal = section.or("goal", Goal::Assigned, one_of(&choices));
    let honour_retry_after = section.or("retry_after", true, one_of(&[("honour", true), ("ignore", false)]));
    let hold = hold(section.optional_section("hold"));
    let retry = retry(section.optional_section("retry"));
    let stays = Stays::of(goal, hold.flatten());
    let way = way(&mut section, stays);
    let mix = mix(&mut section.sections("mix"), way.as_ref(), fleet, stays);
    check_resumption(&section, resumption, fleet, target);
    section.close();
    let talk = talk(&section, &way?, &Way::default());
    settle(&section, &talk);
    Some(Device {
        talk,
        mix: mix?,
        verify_server: verify_server?,
        resumption: resumption?,
        goal: goal?,
        hold: hold?,
        retry: retry?,
        honour_retry_after: honour_retry_after?,
    })
}

/// How a device talks, as far as it is written.
#[derive(Clone, Default)]
struct Way {
    tls: Option<Tls>,
    groups: Option<Vec<KeyExchange>>,
    transport: Option<Transport>,
    flavour: Option<Flavour>,
}

fn way(section: &mut Section<'_>, stays: Option<Stays>) -> Option<Way> {
    let transport = section.optional("transport", transport());
    let tls = section.optional("tls", tls());
    let groups = section.optional("groups", groups());
    if let Some(Stays { what, help }) = stays.filter(|_| transport == Some(Some(Transport::Https))) {
        let wrong = Wrong::new(format!("`transport` cannot be `https` where devices {what}"));
        section.tell(section.place_of("transport"), wrong.help(help));
    }
    let flavour = section.optional("flavour", flavour());
    Some(Way { tls: tls?, groups: groups?, transport: transport?, flavour: flavour? })
}

/// What devices do that only a connection is good for; HTTPS has requests, and its connection means nothing.
#[derive(Clone, Copy)]
struct Stays {
    what: &'static str,
    help: &'static str,
}

impl Stays {
    const fn of(goal: Option<Goal>, hold: Option<Hold>) -> Option<Self> {
        match (goal, hold) {
            (Some(Goal::Connected), _) => {
                Some(Self { what: "only connect", help: "choose `mqtt` or `mqtt-ws`, or drop `goal`" })
            }
            (_, Some(_)) => Some(Self {
                what: "stay connected",
                help: "choose `mqtt` or `mqtt-ws`, or drop `[device.hold]`",
            }),
            _ => None,
        }
    }
}

fn transport() -> impl kind::Kind<Value = Transport> {
    let all = [Transport::Mqtt, Transport::MqttWs, Transport::Https];
    one_of(&all.map(|transport| (transport.as_str(), transport)))
}

fn tls() -> impl kind::Kind<Value = Tls> {
    one_of(&[("any", Tls::Any), ("1.2", Tls::V12), ("1.3", Tls::V13)])
}

fn groups() -> impl kind::Kind<Value = Vec<KeyExchange>> {
    several(one_of(&KeyExchange::ALL.map(|group| (group.as_str(), group))))
}

fn flavour() -> impl kind::Kind<Value = Flavour> {
    one_of(&Flavour::ALL.map(|flavour| (flavour.as_str(), flavour)))
}

/// The groups that are offered unless a scenario says otherwise, the preferred one first.
///
/// ours: by every client. What they offer has not been seen; the TLS beneath most of them is OpenSSL's, which
/// offers these three in this order.
const GROUPS: [KeyExchange; 3] = [KeyExchange::X25519, KeyExchange::P256, KeyExchange::P384];

/// What a way comes to; what it leaves out is as in `base`.
fn talk(section: &Section<'_>, way: &Way, base: &Way) -> Talk {
    let flavour = way.flavour.or(base.flavour).unwrap_or_default();
    // The Python client offers what its own TLS does, whatever the devices beside it offer.
    let others = if way.flavour == Some(Flavour::Python) { &Way::default() } else { base };
    let talk = Talk {
        tls: way.tls.or(others.tls).unwrap_or(usual_tls(flavour)),
        groups: way.groups.as_ref().or(others.groups.as_ref()).cloned().unwrap_or_else(|| GROUPS.to_vec()),
        transport: way.transport.or(base.transport).unwrap_or(Transport::Mqtt),
        flavour,
    };
    check_groups(section, &talk);
    talk
}

/// Notes what the keys of a way come to where they are left out.
fn settle(section: &Section<'_>, talk: &Talk) {
    section.settle("transport", transport(), &talk.transport);
    section.settle("tls", tls(), &talk.tls);
    section.settle("groups", groups(), &talk.groups);
    section.settle("flavour", flavour(), &talk.flavour);
}

/// Tells of a group that the TLS version has not got, where either is written: who takes over both is not to
/// blame.
fn check_groups(section: &Section<'_>, talk: &Talk) {
    let written = ["groups", "tls"].into_iter().find(|key| section.has(key));
    if talk.tls == Tls::V12
        && talk.groups.contains(&KeyExchange::X25519MlKem768)
        && let Some(key) = written
    {
        let wrong = Wrong::new("`x25519mlkem768` is a group of TLS 1.3, and 1.2 alone is offered");
        let place = section.place_of_element(key, KeyExchange::X25519MlKem768.as_str(), 0);
        section.tell(place, wrong.help("drop it from `groups`, or choose another `tls`"));
    }
}

/// The TLS versions a client offers of itself, as they were seen to.
///
/// ours: those of the client for C#, which has not been seen.
const fn usual_tls(flavour: Flavour) -> Tls {
    match flavour {
        Flavour::Python => Tls::V12,
        Flavour::Rollcall | Flavour::C | Flavour::CSharp | Flavour::Node => Tls::Any,
    }
}

/// The kinds of the mix, in the order of the file. What they leave open talks as `base`.
fn mix(
    sections: &mut [Section<'_>],
    base: Option<&Way>,
    fleet: Option<&Fleet>,
    stays: Option<Stays>,
) -> Option<Vec<Kind>> {
    let read: Vec<_> = sections.iter_mut().map(|section| kind(section, base, stays)).collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    let parts: Vec<_> = read.iter().map(|(part, _)| *part).collect();
    let devices = fleet?.devices;
    let ranges = ranges(&parts, devices);
    match sections.last() {
        Some(last) if surplus(&parts, devices) > 0.0 => {
            let wrong = wrong_sum("kinds", &parts, devices)?;
            last.tell(last.place_of("share"), wrong);
        }
        _ => check_none_empty(sections, &ranges, devices),
    }
    Some(read.into_iter().zip(ranges).map(|((_, talk), members)| Kind { members, talk }).collect())
}

fn kind(section: &mut Section<'_>, base: Option<&Way>, stays: Option<Stays>) -> Option<(Part, Talk)> {
    let share = section.required("share", share());
    let way = way(section, stays);
    section.close();
    let talk = talk(section, &way?, base?);
    let part = Part::Share(share?);
    settle(section, &talk);
    Some((part, talk))
}

fn hold(section: Option<Section<'_>>) -> Option<Option<Hold>> {
    let Some(mut section) = section else {
        return Some(None);
    };
    let lasts = section.required("lasts", duration(SHORTEST..=DAY));
    let minute = Duration::from_secs(60);
    let keep_alive = section.or("keep_alive", minute, whole_seconds(Duration::ZERO..=LONGEST_KEEP_ALIVE));
    section.close();
    Some(Some(Hold { lasts: lasts?, keep_alive: keep_alive? }))
}

/// What a retry policy can be, by its key.
const POLICIES: [(&str, Form<Retry>); 4] = [
    ("none", |section| plain(&section, Retry::None)),
    ("fixed", fixed),
    ("exponential", exponential),
    ("naive", |section| plain(&section, Retry::Naive)),
];

fn retry(section: Option<Section<'_>>) -> Option<Retry> {
    section.map_or(Some(Retry::Flavour), |mut section| section.variant(&POLICIES))
}

/// A policy about which there is nothing more to say.
fn plain(section: &Section<'_>, retry: Retry) -> Option<Retry> {
    section.close();
    Some(retry)
}

fn fixed(mut section: Section<'_>) -> Option<Retry> {
    let wait = section.required("wait", duration(SHORTEST..=DAY));
    let retries = retries(&mut section);
    section.close();
    Some(Retry::Fixed { wait: wait?, retries: retries? })
}

fn exponential(mut section: Section<'_>) -> Option<Retry> {
    let first = section.required("first", duration(SHORTEST..=DAY));
    let most = section.required("most", duration(SHORTEST..=DAY));
    let jitter = section.or("jitter", true, flag());
    let retries = retries(&mut section);
    if first.zip(most).is_some_and(|(first, most)| first > most) {
        section.tell(section.place_of("most"), Wrong::new("`most` is shorter than `first`"));
    }
    section.close();
    Some(Retry::Exponential { first: first?, most: most?, jitter: jitter?, retries: retries? })
}

fn retries(section: &mut Section<'_>) -> Option<u32> {
    section.or("retries", 10, whole(1..=MOST_RETRIES)).and_then(|retries| u32::try_from(retries).ok())
}

/// A ticket is good for nothing unless somebody is given one and comes again.
fn check_resumption(
    section: &Section<'_>,
    resumption: Option<Resumption>,
    fleet: Option<&Fleet>,
    target: Option<&Target>,
) {
    if resumption != Some(Resumption::Tickets) {
        return;
    }
    let tell = |message: &str, help: &str| {
        section.tell(section.place_of("resumption"), Wrong::new(message).help(help));
    };
    if fleet.is_some_and(|fleet| fleet.turns == 1) {
        tell("`resumption` is for devices that come again, and none does", "set `fleet.turns` to 2 or more");
    }
    if matches!(target, Some(Target::Mock(mock)) if !mock.tickets) {
        tell("`resumption` needs tickets, and the mock hands out none", "set `target.mock.tickets` to true");
    }
}

#[cfg(test)]
mod tests {
    use super::super::small::{SMALL, assert_told, good, with};
    use super::*;
    use crate::{Diagnostics, Scenario};

    const SECOND: Duration = Duration::from_secs(1);

    fn device_of(lines: &str) -> Device {
        good(with(lines)).device
    }

    #[test]
    fn a_device_offers_what_is_written_and_else_what_its_client_does() {
        let (any, groups) = (Tls::Any, GROUPS.to_vec());
        let p256 = vec![KeyExchange::P256];
        let hybrid = vec![KeyExchange::X25519MlKem768, KeyExchange::X25519];
        for (lines, tls, groups, transport, flavour) in [
            ("", any, groups.clone(), Transport::Mqtt, Flavour::Rollcall),
            ("flavour = \"python\"", Tls::V12, groups.clone(), Transport::Mqtt, Flavour::Python),
            ("flavour = \"python\"\ntls = \"any\"", any, groups.clone(), Transport::Mqtt, Flavour::Python),
            ("flavour = \"c\"\ntransport = \"mqtt-ws\"", any, groups.clone(), Transport::MqttWs, Flavour::C),
            (
                "flavour = \"csharp\"\ntls = \"1.3\"",
                Tls::V13,
                groups.clone(),
                Transport::Mqtt,
                Flavour::CSharp,
            ),
            ("flavour = \"node\"\ntransport = \"https\"", any, groups, Transport::Https, Flavour::Node),
            ("groups = [\"p256\"]\ntls = \"1.2\"", Tls::V12, p256, Transport::Mqtt, Flavour::Rollcall),
            ("groups = [\"x25519mlkem768\", \"x25519\"]", any, hybrid, Transport::Mqtt, Flavour::Rollcall),
        ] {
            let talk = device_of(&format!("[device]\n{lines}")).talk;
            assert_eq!(talk, Talk { tls, groups, transport, flavour }, "{lines}");
        }
    }

    /// The kinds of a small scenario of a hundred devices.
    fn mix_of(lines: &str) -> Result<Vec<Kind>, Diagnostics> {
        let text = SMALL.replace("devices = 10\n", "devices = 100\n");
        Scenario::parse("x.toml", &format!("{text}\n{lines}\n"), &[]).map(|scenario| scenario.device.mix)
    }

    #[test]
    fn a_kind_talks_as_the_others_where_it_does_not_say_how() {
        let mix = mix_of(
            r#"[device]
tls = "1.3"
groups = ["p384"]
transport = "mqtt-ws"
flavour = "c"

[[device.mix]]
share = 0.25

[[device.mix]]
share = 0.5
flavour = "node"
transport = "mqtt"

[[device.mix]]
share = 0.1
flavour = "python"
"#,
        );
        let p384 = vec![KeyExchange::P384];
        let talk =
            |tls, groups: &[_], transport, flavour| Talk { tls, groups: groups.to_vec(), transport, flavour };
        let expected = [
            Kind { members: 0..25, talk: talk(Tls::V13, &p384, Transport::MqttWs, Flavour::C) },
            Kind { members: 25..75, talk: talk(Tls::V13, &p384, Transport::Mqtt, Flavour::Node) },
            Kind { members: 75..85, talk: talk(Tls::V12, &GROUPS, Transport::MqttWs, Flavour::Python) },
        ];
        assert_eq!(mix.unwrap_or_else(|told| panic!("{told}")), expected);
    }

    #[test]
    fn what_a_client_brings_along_is_no_other_clients() {
        let mix = mix_of("[device]\nflavour = \"python\"\n[[device.mix]]\nshare = 1\nflavour = \"node\"");
        assert_eq!(mix.map(|mix| mix[0].talk.tls), Ok(Tls::Any));
        let mix =
            mix_of("[device]\nflavour = \"python\"\n[[device.mix]]\nshare = 1\ntransport = \"mqtt-ws\"");
        assert_eq!(mix.map(|mix| mix[0].talk.tls), Ok(Tls::V12));
    }

    #[test]
    fn a_device_talks_as_its_kind_does() {
        let text = SMALL.replace("devices = 10\n", "devices = 100\n");
        let text = format!("{text}\n[[device.mix]]\nshare = 0.3\nflavour = \"c\"\n");
        let scenario = good(Scenario::parse("x.toml", &text, &[]));
        let of = |flavour| (0..100).filter(|&index| scenario.talk(index).flavour == flavour).count();
        assert_eq!((of(Flavour::C), of(Flavour::Rollcall)), (30, 70));
    }

    #[test]
    fn the_known_keys_are_named_once_each() {
        let told = with("[device.retry.naive]\n[device.retry]\nzzzzzzzz = 1\n");
        let Err(told) = told else { panic!("taken for good") };
        let help = told.0[0].help.clone().unwrap_or_default();
        for key in ["none", "fixed", "exponential", "naive"] {
            assert_eq!(help.matches(&format!("`{key}`")).count(), 1, "{help}");
        }
    }

    #[test]
    fn a_mix_that_is_none_is_told_where_it_stands() {
        let kind = |lines: &str| format!("[[device.mix]]\n{lines}\n");
        for (lines, line, message, help) in [
            (kind(""), 14, "`device.mix.share` is missing", ""),
            (kind("share = 0"), 15, "`share` must be above 0 and at most 1", ""),
            (kind("share = 0.001"), 15, "`share` comes to no device of 100", ""),
            (kind("share = 0.6").repeat(2), 17, "the kinds make 1.2 of the fleet", "take 0.2 away"),
            (kind("share = 0.5\nflavour = \"nod\""), 16, "`flavour` must be one of", "did you mean `node`?"),
            (
                kind("share = 0.5\ngoal = \"connected\""),
                16,
                "unknown key `device.mix.goal`",
                "known keys are",
            ),
            (
                format!("[device]\ntls = \"1.2\"\ngroups = [\"x25519mlkem768\"]\n{}", kind("share = 1")),
                16,
                "`x25519mlkem768` is a group of TLS 1.3",
                "drop it from `groups`",
            ),
            (
                format!("[device]\ngroups = [\"x25519mlkem768\"]\n{}", kind("share = 0.5\ntls = \"1.2\"")),
                18,
                "`x25519mlkem768` is a group of TLS 1.3",
                "drop it from `groups`",
            ),
        ] {
            assert_told(&lines, mix_of(&lines), line, message, help);
        }
    }

    #[test]
    fn devices_hold_their_connection_only_where_that_is_asked_for() {
        for (lines, hold) in [
            ("[device]", None),
            ("[device.hold]\nlasts = \"90s\"", Some(Hold { lasts: 90 * SECOND, keep_alive: 60 * SECOND })),
            (
                "[device.hold]\nlasts = \"10ms\"\nkeep_alive = \"0s\"",
                Some(Hold { lasts: 10 * SHORTEST, keep_alive: Duration::ZERO }),
            ),
            (
                "[device.hold]\nlasts = \"1d\"\nkeep_alive = \"65535s\"",
                Some(Hold { lasts: DAY, keep_alive: LONGEST_KEEP_ALIVE }),
            ),
        ] {
            assert_eq!(device_of(lines).hold, hold, "{lines}");
        }
    }

    #[test]
    fn a_retry_policy_is_named_by_its_table() {
        let exponential =
            |jitter, retries| Retry::Exponential { first: SECOND, most: 60 * SECOND, jitter, retries };
        let waits = "[device.retry.exponential]\nfirst = \"1s\"\nmost = \"60s\"";
        for (lines, retry) in [
            ("[device]".to_owned(), Retry::Flavour),
            ("[device.retry.none]".to_owned(), Retry::None),
            ("[device.retry.naive]".to_owned(), Retry::Naive),
            (
                "[device.retry.fixed]\nwait = \"2s\"".to_owned(),
                Retry::Fixed { wait: 2 * SECOND, retries: 10 },
            ),
            (
                "[device.retry.fixed]\nwait = \"1ms\"\nretries = 3".to_owned(),
                Retry::Fixed { wait: SHORTEST, retries: 3 },
            ),
            (waits.to_owned(), exponential(true, 10)),
            (format!("{waits}\njitter = false\nretries = 1000000"), exponential(false, 1_000_000)),
        ] {
            assert_eq!(device_of(&lines).retry, retry, "{lines}");
        }
    }

    #[test]
    fn what_devices_are_after_and_whether_they_wait_is_said_in_words() {
        let device = device_of("[device]\ngoal = \"connected\"\nretry_after = \"ignore\"");
        assert_eq!((device.goal, device.honour_retry_after), (Goal::Connected, false));
        let device = device_of("[device]\ngoal = \"assigned\"\nretry_after = \"honour\"");
        assert_eq!((device.goal, device.honour_retry_after), (Goal::Assigned, true));
    }

    #[test]
    fn a_device_that_cannot_be_is_told_where_it_stands() {
        let fixed = "[device.retry.fixed]\nwait = \"2s\"";
        let hold = "[device.hold]\nlasts = \"60s\"";
        let https = "transport = \"https\"";
        for (lines, line, message, help) in [
            ("[device]\ngroups = []".to_owned(), 15, "`groups` must name at least one", ""),
            ("[device]\ngroups = \"p256\"".to_owned(), 15, "`groups` must be an array of text", "put"),
            ("[device]\ngroups = [\"p256\", \"p256\"]".to_owned(), 15, "`groups` names `p256` twice", ""),
            (
                "[device]\ngroups = [\"p265\"]".to_owned(),
                15,
                "`groups` must be one of",
                "did you mean `p256`?",
            ),
            (
                "[device]\ntls = \"1.2\"\ngroups = [\"x25519mlkem768\"]".to_owned(),
                16,
                "`x25519mlkem768` is a group of TLS 1.3",
                "drop it from `groups`",
            ),
            (
                "[device]\nflavour = \"pyton\"".to_owned(),
                15,
                "`flavour` must be one of",
                "did you mean `python`?",
            ),
            ("[device]\nretry_after = \"3s\"".to_owned(), 15, "`retry_after` must be one of", ""),
            (
                "[device]\nresumption = \"ticket\"".to_owned(),
                15,
                "`resumption` must be one of",
                "did you mean",
            ),
            (
                format!("[device]\ngoal = \"connected\"\n{https}"),
                16,
                "`transport` cannot be `https` where devices only connect",
                "choose `mqtt`",
            ),
            (
                format!("[device]\n{https}\n{hold}"),
                15,
                "`transport` cannot be `https` where devices stay connected",
                "choose `mqtt`",
            ),
            (
                format!("{hold}\n[[device.mix]]\nshare = 0.5\n{https}"),
                18,
                "`transport` cannot be `https` where devices stay connected",
                "choose `mqtt`",
            ),
            ("[device.hold]".to_owned(), 14, "`device.hold.lasts` is missing", ""),
            ("[device.hold]\nlasts = \"0s\"".to_owned(), 15, "`lasts` must be between 1ms and 1d", ""),
            (
                format!("{hold}\nkeep_alive = \"65536s\""),
                16,
                "`keep_alive` must be between 0ms and 65535s",
                "",
            ),
            (format!("{hold}\nkeep_alive = \"1500ms\""), 16, "`keep_alive` must be whole seconds", ""),
            (
                "[device.retry]".to_owned(),
                14,
                "`device.retry` is missing",
                "write one of `[device.retry.none]`",
            ),
            (
                format!("[device.retry.naive]\n{fixed}"),
                15,
                "`device.retry` is both `fixed` and `naive`",
                "write one of",
            ),
            (
                "[device]\nretry = \"none\"".to_owned(),
                15,
                "`retry` must be a table",
                "write `[device.retry]`",
            ),
            ("[device.retry.fixed]".to_owned(), 14, "`device.retry.fixed.wait` is missing", ""),
            (
                "[device.retry.none]\nretries = 0".to_owned(),
                15,
                "unknown key `device.retry.none.retries`",
                "known",
            ),
            (format!("{fixed}\nretries = 0"), 16, "`retries` must be between 1 and 1000000", ""),
            (
                "[device.retry.exponential]\nfirst = \"2s\"\nmost = \"1s\"".to_owned(),
                16,
                "`most` is shorter than `first`",
                "",
            ),
            (
                "[device.retry.exponential]\nfirst = \"1s\"\nmost = \"2s\"\njitter = 1".to_owned(),
                17,
                "`jitter` must be `true` or `false`",
                "",
            ),
        ] {
            assert_told(&lines, with(&lines), line, message, help);
        }
    }

    #[test]
    fn a_session_is_resumed_only_by_who_has_a_ticket_and_comes_again() {
        let with = |turns: u32, tickets: bool| {
            let text = SMALL.replace("devices = 10\n", &format!("devices = 10\nturns = {turns}\n"));
            let text = text.replace("[target.mock]\n", &format!("[target.mock]\ntickets = {tickets}\n"));
            Scenario::parse("x.toml", &format!("{text}\n[device]\nresumption = \"tickets\"\n"), &[])
        };
        assert_eq!(good(with(2, true)).device.resumption, Resumption::Tickets);
        for (turns, tickets, message, help) in [
            (1, true, "`resumption` is for devices that come again", "set `fleet.turns`"),
            (2, false, "`resumption` needs tickets", "set `target.mock.tickets`"),
        ] {
            assert_told(message, with(turns, tickets), 17, message, help);
        }
    }
}
