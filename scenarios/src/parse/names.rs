//! What an embedded mock is given to know by name, so that gates and events speak of what is there.

use crate::diagnostic::nearest;
use crate::kind::{Wrong, quoted};
use crate::reader::Section;
use crate::scenario::{Fleet, Target};

/// The name of the only root, where no factory names one.
const ROOT: &str = "fleet";

/// The names that a scenario with an embedded mock has.
pub(super) struct Names<'s> {
    groups: Vec<&'s str>,
    roots: Vec<&'s str>,
    hubs: Vec<&'s str>,
}

impl<'s> Names<'s> {
    /// `None` where the target is a service, whose names are its own, or where either has mistakes.
    pub(super) fn of(fleet: Option<&'s Fleet>, target: Option<&'s Target>) -> Option<Self> {
        let (factories, Target::Mock(mock)) = (&fleet?.factories, target?) else {
            return None;
        };
        let hubs = mock.hubs.iter().map(String::as_str).collect();
        if factories.is_empty() {
            return Some(Self { groups: vec![mock.group.as_str()], roots: vec![ROOT], hubs });
        }
        let groups = factories.iter().map(|factory| factory.name.as_str()).collect();
        let mut roots: Vec<_> = factories.iter().map(|factory| factory.root.as_str()).collect();
        roots.sort_unstable();
        roots.dedup();
        Some(Self { groups, roots, hubs })
    }

    /// Tells of a key that names no enrollment group.
    pub(super) fn check_group(&self, section: &Section<'_>, key: &str, name: &str) {
        check(section, key, name, "enrollment group", &self.groups);
    }

    /// Tells of a key that names no uploaded CA.
    pub(super) fn check_root(&self, section: &Section<'_>, key: &str, name: &str) {
        check(section, key, name, "root CA", &self.roots);
    }

    /// Tells of a key that names no hub.
    pub(super) fn check_hub(&self, section: &Section<'_>, key: &str, name: &str) {
        check(section, key, name, "hub", &self.hubs);
    }
}

fn check(section: &Section<'_>, key: &str, name: &str, what: &str, known: &[&str]) {
    if known.contains(&name) {
        return;
    }
    let wrong = Wrong::new(format!("`{key}` names no {what} of the scenario: `{name}`"));
    let help = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there is {}", quoted(known)),
    };
    section.tell(section.place_of(key), wrong.help(help));
}
