//! `[fleet]`: who registers, who made them, and which are bad on purpose.

use super::part::{Part, check_none_empty, ranges, wrong_sum};
use super::{DAY, MOST_DEVICES, SECOND};
use crate::Template;
use crate::diagnostic::nearest;
use crate::kind::{Found, Kind, Wrong, as_text, duration, kind, one_of, parsed, share, text, whole};
use crate::reader::{Form, Section};
use crate::scenario::{Authority, Defect, Factory, Fleet};
use serde_json::json;
use sim_identity::KeyAlgorithm;
use sim_identity::defect::Family;
use sim_protocol::{CaName, EnrollmentGroupId};

/// ours: more often than any device comes back.
const MOST_TURNS: u64 = 1_000_000;
/// ours: deeper chains are refused by common verifiers.
const DEEPEST: u64 = 8;

pub(super) fn fleet(mut section: Section<'_>) -> Option<Fleet> {
    let devices = section.required("devices", whole(1..=MOST_DEVICES));
    let turns = section.or("turns", 1, whole(1..=MOST_TURNS));
    let registration_id = section.required("registration_id", parsed::<Template>());
    let key = section.or("key", KeyAlgorithm::P256, one_of(&keys()));
    let key_pool = section.or("key_pool", 8, whole(1..=4096));
    let validity = section.or("validity", 30 * DAY, duration(SECOND..=36_500 * DAY));
    let authority = authority(section.section("authority"));
    let factories = factories(section.sections("factory"), devices);
    let defects: Vec<_> = section.sections("defect").into_iter().map(|each| defect(each, devices)).collect();
    check_names(&section, registration_id.as_ref(), devices);
    check_pool(&section, key);
    // Before anything that is missing ends the reading: a misspelt key explains it.
    section.close();
    let fleet = Fleet {
        devices: devices?,
        turns: turns?,
        registration_id: registration_id?,
        key: key?,
        key_pool: key_pool?,
        validity: validity?,
        authority: authority?,
        factories: factories?,
        defects: defects.into_iter().collect::<Option<_>>()?,
    };
    check_factories_fit(&section, &fleet);
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

fn check_factories_fit(section: &Section<'_>, fleet: &Fleet) {
    let Some(first) = fleet.factories.first() else {
        return;
    };
    let message = match fleet.authority {
        Authority::Minted { intermediates: 1.., .. } => return,
        Authority::Minted { .. } => "factories have an issuing CA each, and there is no intermediate",
        Authority::Files { .. } => "factories have an issuing CA each, and the fleet's is given",
        Authority::Directory { .. } => "factories have an issuing CA each, and the fleet is made already",
    };
    let help = "drop `[[fleet.factory]]`, or choose `[fleet.authority.minted]` with an intermediate or more";
    section.tell(first.place.clone(), Wrong::new(message).help(help));
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

/// What an authority can be, by its key.
const AUTHORITIES: [(&str, Form<Authority>); 3] =
    [("minted", minted), ("files", files), ("directory", directory)];

fn authority(mut section: Section<'_>) -> Option<Authority> {
    section.variant(&AUTHORITIES)
}

fn minted(mut section: Section<'_>) -> Option<Authority> {
    let intermediates = section.or("intermediates", 1, whole(0..=DEEPEST));
    let key = section.or("key", KeyAlgorithm::P256, one_of(&keys()));
    let issuing_validity = section.optional("issuing_validity", duration(SECOND..=36_500 * DAY));
    if intermediates == Some(0) && section.has("issuing_validity") {
        let wrong = Wrong::new("`issuing_validity` is the issuing intermediate's, and there is none");
        section
            .tell(section.place_of("issuing_validity"), wrong.help("drop it, or have `intermediates = 1`"));
    }
    section.close();
    let intermediates = u8::try_from(intermediates?).ok()?;
    Some(Authority::Minted { intermediates, key: key?, issuing_validity: issuing_validity? })
}

fn files(mut section: Section<'_>) -> Option<Authority> {
    let certificate = section.required("certificate", text());
    let key = section.required("key", text());
    let chain = section.optional("chain", text());
    section.close();
    Some(Authority::Files { certificate: certificate?, key: key?, chain: chain? })
}

fn directory(mut section: Section<'_>) -> Option<Authority> {
    let path = section.required("path", text());
    section.close();
    Some(Authority::Directory { path: path? })
}

/// The factories, in the order of the file. Together they make every device.
fn factories(mut sections: Vec<Section<'_>>, fleet: Option<u64>) -> Option<Vec<Factory>> {
    let read: Vec<_> = sections.iter_mut().map(factory).collect();
    check_differ(&sections, &read);
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    let (fleet, parts) = (fleet?, read.iter().map(|(_, part)| *part).collect::<Vec<_>>());
    check_all_made(&sections, &parts, fleet);
    let made = read.into_iter().zip(ranges(&parts, fleet));
    Some(made.map(|((factory, _), members)| Factory { members, ..factory }).collect())
}

/// A factory and how many devices it makes. Which ones is not known before the others are.
fn factory(section: &mut Section<'_>) -> Option<(Factory, Part)> {
    let name = section.required("name", parsed::<EnrollmentGroupId>());
    let root = section.optional("root", parsed::<CaName>());
    let part = part(section);
    let place = section.place_of("name");
    section.close();
    let name = name?;
    let root = match root? {
        Some(root) => root,
        None => {
            let told = |cause| {
                let wrong = Wrong::new(format!("`name` cannot be its root's as well: {cause}"));
                section.tell(section.place_of("name"), wrong.help("give it a `root`"));
            };
            let root = CaName::new(name.as_str()).map_err(told).ok()?;
            section.settle("root", parsed(), &root);
            root
        }
    };
    let root = root.as_str().to_owned();
    Some((Factory { name, members: 0..0, root, place }, part?))
}

fn check_differ(sections: &[Section<'_>], factories: &[Option<(Factory, Part)>]) {
    let names: Vec<_> =
        factories.iter().map(|factory| factory.as_ref().map(|(factory, _)| &factory.name)).collect();
    for (at, (section, name)) in sections.iter().zip(&names).enumerate() {
        if let Some(name) = name
            && names.iter().take(at).flatten().any(|other| other == name)
        {
            section.tell(section.place_of("name"), Wrong::new(format!("two factories are called `{name}`")));
        }
    }
}

/// Tells of factories that together make more than the fleet or less, and else of each that makes none.
fn check_all_made(sections: &[Section<'_>], parts: &[Part], fleet: u64) {
    if let Some(last) = sections.last()
        && let Some(wrong) = wrong_sum("factories", parts, fleet)
    {
        let key = if last.has("share") { "share" } else { "devices" };
        return last.tell(last.place_of(key), wrong);
    }
    check_none_empty(sections, &ranges(parts, fleet), fleet);
}

/// How many devices a part of the fleet has: a number, or a share of it.
fn part(section: &mut Section<'_>) -> Option<Part> {
    let devices = section.optional("devices", whole(1..=MOST_DEVICES));
    let share = section.optional("share", share());
    let written =
        section.one_key(&["devices", "share"], "write `devices = 10`, or `share = 0.01` of the fleet")?;
    match written {
        "devices" => devices?.map(Part::Devices),
        _ => share?.map(Part::Share),
    }
}

fn defect(mut section: Section<'_>, fleet: Option<u64>) -> Option<Defect> {
    let kind = section.required("id", defect_kind());
    let part = part(&mut section);
    let place = section.place_of("id");
    section.close();
    let devices = match part? {
        Part::Devices(devices) => devices,
        Part::Share(share) => share_of(share, fleet?),
    };
    Some(Defect { kind: kind?, devices, place })
}

/// A share of the fleet in devices, at least one.
fn share_of(share: f64, fleet: u64) -> u64 {
    ((share * fleet as f64).round() as u64).max(1)
}

/// The id of a defect that a device can present at any time.
fn defect_kind() -> impl Kind<Value = sim_identity::Defect> {
    kind(|| json!({"enum": presentable()}), as_defect, |kind| json!(kind.id()))
}

fn presentable() -> Vec<&'static str> {
    sim_identity::Defect::all().filter(|kind| kind.is_presentable()).map(|kind| kind.id()).collect()
}

fn as_defect(found: Found<'_>) -> Result<sim_identity::Defect, Wrong> {
    let given = as_text(found)?;
    let Ok(kind) = given.parse::<sim_identity::Defect>() else {
        let wrong = Wrong::new(format!("is no defect: `{given}`"));
        return Err(wrong.help(match nearest(&given, &presentable()) {
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

#[cfg(test)]
mod tests {
    use super::super::small::{SMALL, assert_told, good};
    use super::*;
    use crate::{Diagnostics, Scenario};

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
            (id.to_owned(), 14, "`fleet.defect` has none of `devices`, `share`", "write `devices = 10`"),
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
            assert_told(&lines, with_defect(&lines), line, message, help);
        }
    }

    #[test]
    fn devices_come_once_unless_they_have_turns() {
        for (turns, arrivals) in
            [("", 10), ("turns = 1", 10), ("turns = 3", 30), ("turns = 1000000", 10_000_000)]
        {
            let text = SMALL.replace("devices = 10\n", &format!("devices = 10\n{turns}\n"));
            let scenario = good(Scenario::parse("x.toml", &text, &[]));
            assert_eq!(scenario.most_arrivals(), arrivals, "{turns}");
        }
        for (turns, help) in [("0", ""), ("1000001", ""), ("1.5", ""), ("\"2\"", "drop the quotes: 2")] {
            let text = SMALL.replace("devices = 10\n", &format!("devices = 10\nturns = {turns}\n"));
            assert_told(turns, Scenario::parse("x.toml", &text, &[]), 5, "`turns` must be", help);
        }
    }

    /// The small scenario with more lines under `[fleet.authority.minted]`.
    fn minted_with(lines: &str) -> Result<Authority, Diagnostics> {
        let text = SMALL.replace("minted]\n", &format!("minted]\n{lines}\n"));
        Scenario::parse("x.toml", &text, &[]).map(|scenario| scenario.fleet.authority)
    }

    #[test]
    fn the_issuing_intermediate_can_be_valid_for_less_than_the_root() {
        for (lines, expected) in [("", None), ("issuing_validity = \"20s\"", Some(20 * SECOND))] {
            let authority = minted_with(lines);
            let Ok(Authority::Minted { issuing_validity, .. }) = authority else { panic!("{authority:?}") };
            assert_eq!(issuing_validity, expected, "{lines}");
        }
        let none = "intermediates = 0\nissuing_validity = \"20s\"";
        for (lines, line, message, help) in [
            ("issuing_validity = 20", 8, "`issuing_validity` is no duration", "write \"20s\""),
            ("issuing_validity = \"999ms\"", 8, "`issuing_validity` must be between 1s and", ""),
            (none, 9, "`issuing_validity` is the issuing intermediate's", "drop it, or have"),
        ] {
            assert_told(lines, minted_with(lines), line, message, help);
        }
    }

    /// Factories of these lines each, in a small scenario of a thousand devices. The first begins on line 14.
    fn factories_of(each: &[&str]) -> Result<Vec<Factory>, Diagnostics> {
        let lines = each.iter().map(|lines| format!("[[fleet.factory]]\n{lines}\n")).collect::<String>();
        let text = SMALL.replace("devices = 10\n", "devices = 1000\n");
        Scenario::parse("x.toml", &format!("{text}\n{lines}"), &[]).map(|scenario| scenario.fleet.factories)
    }

    #[test]
    fn factories_make_the_whole_fleet_between_them() {
        let made = factories_of(&[
            "name = \"line-a\"\nshare = 0.5",
            "name = \"line-b\"\ndevices = 200\nroot = \"line-a\"",
            "name = \"line-c\"\nshare = 0.3\nroot = \"other\"",
        ]);
        let made = made.unwrap_or_else(|told| panic!("{told}"));
        let made: Vec<_> =
            made.iter().map(|made| (made.name.as_str(), made.root.as_str(), &made.members)).collect();
        assert_eq!(
            made,
            [
                ("line-a", "line-a", &(0..500)),
                ("line-b", "line-a", &(500..700)),
                ("line-c", "other", &(700..1000))
            ]
        );
    }

    #[test]
    fn a_device_is_of_one_factory_and_factories_are_mixed() {
        let made = factories_of(&["name = \"a\"\nshare = 0.7", "name = \"b\"\nshare = 0.3"]);
        let text = SMALL.replace("devices = 10\n", "devices = 1000\n");
        let fleet = good(Scenario::parse("x.toml", &text, &[])).fleet;
        let fleet = Fleet { factories: made.unwrap_or_else(|told| panic!("{told}")), ..fleet };
        let mut counts = [0; 2];
        for index in 0..1000 {
            counts[fleet.factory(index).unwrap_or_else(|| panic!("{index} has no factory"))] += 1;
        }
        assert_eq!(counts, [700, 300]);
        let early = (0..100).filter(|index| fleet.factory(*index) == Some(0)).count();
        assert!((65..=75).contains(&early), "{early} of the first hundred");
    }

    #[test]
    fn factories_that_cannot_be_are_told_where_they_stand() {
        let (a, half) = ("name = \"a\"\nshare = 0.5", "name = \"b\"\nshare = 0.5");
        for (each, line, message, help) in [
            (vec![a], 16, "the factories make 0.5 of the fleet", "0.5 is missing"),
            (
                vec![a, half, "name = \"c\"\nshare = 0.1"],
                22,
                "the factories make 1.1 of the fleet",
                "take 0.1 away",
            ),
            (
                vec!["name = \"a\"\ndevices = 900"],
                16,
                "the factories make 900 of 1000 devices",
                "100 is missing",
            ),
            (
                vec![a, "name = \"b\"\ndevices = 501"],
                19,
                "the factories make 1001 of 1000 devices",
                "take 1 away",
            ),
            (vec!["share = 1"], 14, "`fleet.factory.name` is missing", ""),
            (vec!["name = \"a b\"\nshare = 1"], 15, "`name` is not right: ", ""),
            (
                vec!["name = \"a:b\"\nshare = 1"],
                15,
                "`name` cannot be its root's as well",
                "give it a `root`",
            ),
            (vec!["name = \"a\"\nshare = 1\nroot = \"a b\""], 17, "`root` is not right: ", ""),
            (vec!["name = \"a\"\nshare = 1.5"], 16, "`share` must be above 0 and at most 1", ""),
            (
                vec!["name = \"a\"\nshare = 1\ndevices = 5"],
                16,
                "`fleet.factory` has both `devices` and `share`",
                "write `devices = 10`",
            ),
            (
                vec!["name = \"a\""],
                14,
                "`fleet.factory` has none of `devices`, `share`",
                "write `devices = 10`",
            ),
            (vec![a, "name = \"a\"\nshare = 0.5"], 18, "two factories are called `a`", ""),
            (
                vec!["name = \"a\"\ndevices = 1000", "name = \"b\"\nshare = 1e-10"],
                19,
                "`share` comes to no device of 1000",
                "",
            ),
            (
                vec!["nmae = \"x\"\nname = \"a\"\nshare = 1"],
                15,
                "unknown key `fleet.factory.nmae`",
                "did you mean",
            ),
        ] {
            assert_told(&each.join("\n\n"), factories_of(&each), line, message, help);
        }
    }

    #[test]
    fn factories_need_an_intermediate_each() {
        for (authority, message) in [
            ("[fleet.authority.minted]\nintermediates = 0\n", "there is no intermediate"),
            ("[fleet.authority.files]\ncertificate = \"c\"\nkey = \"k\"", "the fleet's is given"),
            ("[fleet.authority.directory]\npath = \"f\"\n", "the fleet is made already"),
        ] {
            let text = SMALL.replace("[fleet.authority.minted]", authority);
            let text = format!("{text}\n[[fleet.factory]]\nname = \"a\"\nshare = 1\n");
            let told = Scenario::parse("x.toml", &text, &[]);
            let message = format!("factories have an issuing CA each, and {message}");
            assert_told(authority, told, 17, &message, "drop `[[fleet.factory]]`");
        }
    }
}
