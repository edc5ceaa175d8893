//! `[[event]]`: what the operator of the embedded mock does while devices arrive.

use super::{DAY, Names};
use crate::kind::{Wrong, duration, parsed, text};
use crate::reader::Section;
use crate::scenario::{Action, Event, Target};
use sim_protocol::EnrollmentGroupId;
use std::time::Duration;

const ACTIONS: [&str; 4] = ["disable_group", "enable_group", "delete_ca", "unlink_hub"];

/// The events, in the order of their moments; those of one moment in the order of the file. What they name is
/// checked where the names are known.
pub(super) fn events(
    sections: Vec<Section<'_>>,
    target: Option<&Target>,
    names: Option<&Names>,
) -> Option<Vec<Event>> {
    if let (Some(first), Some(Target::Service(_))) = (sections.first(), target) {
        let wrong = Wrong::new("only the embedded mock can be changed while devices arrive");
        first.tell(first.place(), wrong.help("drop `[[event]]`, or choose `[target.mock]`"));
    }
    let events: Vec<_> = sections.into_iter().map(|section| event(section, names)).collect();
    let mut events = events.into_iter().collect::<Option<Vec<_>>>()?;
    events.sort_by_key(|event| event.at);
    Some(events)
}

fn event(mut section: Section<'_>, names: Option<&Names>) -> Option<Event> {
    let at = section.required("at", duration(Duration::ZERO..=DAY));
    let disable = section.optional("disable_group", parsed::<EnrollmentGroupId>());
    let enable = section.optional("enable_group", parsed::<EnrollmentGroupId>());
    let delete = section.optional("delete_ca", text());
    let unlink = section.optional("unlink_hub", text());
    section.close();
    let written = section.one_key(&ACTIONS, "write one of them, as in `disable_group = \"line-a\"`")?;
    let action = match written {
        "disable_group" => Action::DisableGroup(disable??),
        "enable_group" => Action::EnableGroup(enable??),
        "delete_ca" => Action::DeleteCa(delete??),
        _ => Action::UnlinkHub(unlink??),
    };
    if let Some(names) = names {
        match &action {
            Action::DisableGroup(group) | Action::EnableGroup(group) => {
                names.check_group(&section, written, group.as_str());
            }
            Action::DeleteCa(root) => names.check_root(&section, written, root),
            Action::UnlinkHub(hub) => names.check_hub(&section, written, hub),
        }
    }
    Some(Event { at: at?, action, place: section.place_of(written) })
}

#[cfg(test)]
mod tests {
    use super::super::small::{SMALL, assert_told, good, with};
    use super::*;
    use crate::{Diagnostics, Scenario};

    fn group(name: &str) -> EnrollmentGroupId {
        EnrollmentGroupId::new(name).expect("a name")
    }

    #[test]
    fn events_come_in_the_order_of_their_moments() {
        let scenario = good(with(
            r#"[[event]]
at = "20s"
enable_group = "fleet"

[[event]]
at = "5s"
disable_group = "fleet"

[[event]]
at = "20s"
delete_ca = "fleet"

[[event]]
at = "0s"
unlink_hub = "hub-1.azure-devices.net"
"#,
        ));
        let events: Vec<_> =
            scenario.events.into_iter().map(|event| (event.at.as_secs(), event.action)).collect();
        let expected = [
            (0, Action::UnlinkHub("hub-1.azure-devices.net".to_owned())),
            (5, Action::DisableGroup(group("fleet"))),
            (20, Action::EnableGroup(group("fleet"))),
            (20, Action::DeleteCa("fleet".to_owned())),
        ];
        assert_eq!(events, expected);
    }

    /// The small scenario with two factories under one root, and an event.
    fn with_factories(line: &str) -> Result<Scenario, Diagnostics> {
        let factory =
            |name: &str| format!("[[fleet.factory]]\nname = \"{name}\"\nshare = 0.5\nroot = \"plant\"\n");
        let text =
            format!("{SMALL}\n[[event]]\nat = \"1s\"\n{line}\n{}{}", factory("line-a"), factory("line-b"));
        Scenario::parse("x.toml", &text, &[])
    }

    #[test]
    fn an_event_is_about_what_the_scenario_has() {
        for line in ["disable_group = \"line-b\"", "delete_ca = \"plant\""] {
            assert_eq!(good(with_factories(line)).events.len(), 1, "{line}");
        }
        let mean_b = "did you mean `line-b`?";
        for (line, message, help) in [
            ("disable_group = \"line-bb\"", "`disable_group` names no enrollment group", mean_b),
            (
                "enable_group = \"fleet\"",
                "`enable_group` names no enrollment group",
                "there is `line-a`, `line-b`",
            ),
            ("delete_ca = \"line-a\"", "`delete_ca` names no root CA", "there is `plant`"),
            ("unlink_hub = \"hub-2.azure-devices.net\"", "`unlink_hub` names no hub", "did you mean `hub-1."),
        ] {
            assert_told(line, with_factories(line), 16, message, help);
        }
    }

    #[test]
    fn an_event_that_is_none_is_told_where_it_stands() {
        let (one, at) = ("write one of them, as in", "[[event]]\nat = \"1s\"");
        for (lines, line, message, help) in [
            (at.to_owned(), 14, "`event` has none of `disable_group`, `enable_group`, `delete_ca`", one),
            (
                format!("{at}\ndelete_ca = \"fleet\"\ndisable_group = \"fleet\""),
                16,
                "`event` has both `disable_group` and `delete_ca`",
                one,
            ),
            ("[[event]]\ndelete_ca = \"fleet\"".to_owned(), 14, "`event.at` is missing", ""),
            (
                "[[event]]\nat = 1\ndelete_ca = \"fleet\"".to_owned(),
                15,
                "`at` is no duration",
                "write \"1s\"",
            ),
            (format!("{at}\ndelete_ca = 1"), 16, "`delete_ca` must be text", "put it in quotes"),
            (format!("{at}\ndisable_group = \"a b\""), 16, "`disable_group` is not right", ""),
            (
                format!("{at}\ndelete_ca = \"fleet\"\nafter = \"1s\""),
                17,
                "unknown key `event.after`",
                "known keys are `at`",
            ),
        ] {
            assert_told(&lines, with(&lines), line, message, help);
        }
    }

    #[test]
    fn nobody_elses_service_is_changed() {
        let service = "[target.service]\nhost = \"localhost\"\nid_scope = \"0ne1\"\n";
        let text = SMALL.replace("[target.mock]\n", service);
        let text = format!("{text}\n[[event]]\nat = \"1s\"\ndisable_group = \"fleet\"\n");
        let told = Scenario::parse("x.toml", &text, &[]);
        assert_told(&text, told, 16, "only the embedded mock can be changed", "drop `[[event]]`");
    }
}
