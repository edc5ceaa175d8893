//! A small scenario for tests to change, and what is said of it then.

use crate::diagnostic::{Diagnostics, Place};
use crate::{Override, Scenario};

pub(crate) const SMALL: &str = r#"name = "small"

[fleet]
devices = 10
registration_id = "dev-{index:05}"

[fleet.authority.minted]

[target.mock]

[load.closed]
in_flight = 4
"#;

/// The small scenario with these values given on the command line.
pub(super) fn set(overrides: &[&str]) -> Result<Scenario, Diagnostics> {
    let overrides: Vec<_> =
        overrides.iter().map(|text| Override::parse(text).expect("an override")).collect();
    Scenario::parse("x.toml", SMALL, &overrides)
}

/// The small scenario with these lines after its own, which are fourteen with the empty one between.
pub(super) fn with(lines: &str) -> Result<Scenario, Diagnostics> {
    Scenario::parse("x.toml", &format!("{SMALL}\n{lines}\n"), &[])
}

/// A good scenario, or the mistakes in it as the test's failure.
pub(super) fn good(scenario: Result<Scenario, Diagnostics>) -> Scenario {
    scenario.unwrap_or_else(|told| panic!("{told}"))
}

/// One mistake alone: its line, how its message starts and how its help does, none where empty.
pub(super) fn assert_told<T>(
    text: &str,
    parsed: Result<T, Diagnostics>,
    line: usize,
    message: &str,
    help: &str,
) {
    let Err(told) = parsed else { panic!("{text}\nis taken for good") };
    let [told] = told.0.as_slice() else { panic!("{text}\n{told}") };
    assert!(told.message.starts_with(message), "{text}\n{told}");
    assert!(matches!(told.place, Place::Line { line: found, .. } if found == line), "{text}\n{told}");
    let found = told.help.as_deref().unwrap_or_default();
    assert!(found.starts_with(help) && found.is_empty() == help.is_empty(), "{text}\n{told}");
}
