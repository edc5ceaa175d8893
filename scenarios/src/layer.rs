//! Values for scenarios from elsewhere than their file: a file of settings, or the environment.
//!
//! A file of settings has one table, `[set]`, and its keys are those of a scenario. Nothing is read in here; whoever
//! has the text, or the variable, asks.

use crate::diagnostic::{Diagnostic, Diagnostics, Place, nearest};
use crate::duplicate;
use crate::overrides::{InvalidOverride, Override, as_toml, is_bare_key};
use crate::parse::choices;
use crate::setting::on_one_line;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What the names of environment variables begin with that set a value.
pub const ENVIRONMENT: &str = "ROLLCALL_SET__";

/// A value that is given for one key of any scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The key from the top, dotted: `fleet.devices`.
    pub key: String,
    /// Its value as `--set` takes it.
    pub value: String,
    /// Where it is from: `rollcall.toml:3`, or the name of a variable.
    pub source: String,
}

impl Given {
    /// What an environment variable gives: `ROLLCALL_SET__FLEET__DEVICES` is `fleet.devices`. The name begins with
    /// [`ENVIRONMENT`].
    pub fn of_variable(name: &str, value: &str) -> Self {
        let key = name.strip_prefix(ENVIRONMENT).unwrap_or(name);
        Given {
            key: key.split("__").map(str::to_ascii_lowercase).collect::<Vec<_>>().join("."),
            value: value.to_owned(),
            source: name.to_owned(),
        }
    }

    /// `key=value`, as `--set` takes it.
    pub fn text(&self) -> String {
        format!("{}={}", self.key, self.value)
    }

    /// The value as TOML.
    pub fn toml(&self) -> String {
        as_toml(self.value.trim())
    }

    /// The value as one that takes the place of a scenario's own.
    ///
    /// # Errors
    /// When the key is none.
    pub fn as_override(&self) -> Result<Override, InvalidOverride> {
        Override::from_source(&self.source, &self.text())
    }

    /// What the scenario has in place of the variant that the key belongs to: `target.mock`, when the key is
    /// `target.service.host`. A value from elsewhere does not change which variant a scenario has.
    pub fn is_beside(&self, scenario: &str) -> Option<String> {
        let table = DeTable::parse(scenario).ok()?;
        choices().iter().find_map(|(section, variants)| {
            let below = self.key.strip_prefix(section)?.strip_prefix('.')?;
            let wanted = below.split('.').next().filter(|word| variants.contains(word))?;
            let written = section.split('.').try_fold(table.get_ref(), |table, part| {
                table.get(part).and_then(|value| value.get_ref().as_table())
            })?;
            let chosen = variants.iter().find(|variant| written.contains_key(**variant))?;
            (!written.contains_key(wanted)).then(|| format!("{section}.{chosen}"))
        })
    }
}

/// Reads a file of settings, in the order in which it is written.
///
/// # Errors
/// When it is no TOML, or has something besides `[set]`.
pub fn settings_file(file: &str, text: &str) -> Result<Vec<Given>, Diagnostics> {
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let place = Place::in_text(file, text, span.start, span.end);
        let (message, help) = (error.message().to_owned(), duplicate::help(text, &error));
        Diagnostics(vec![Diagnostic { place, message, help }])
    })?;
    let mut reading = Reading { file, text, given: Vec::new(), found: Vec::new() };
    for (key, value) in table.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("set", DeValue::Table(set)) => reading.table("", set),
            ("set", _) => reading.tell(value.span(), "`set` must be a table".to_owned(), "write `[set]`"),
            (other, _) => reading.tell_unknown(key.span(), other),
        }
    }
    let Reading { mut given, found, .. } = reading;
    given.sort_by_key(|(at, _)| *at);
    let given = given.into_iter().map(|(_, given)| given).collect();
    if found.is_empty() { Ok(given) } else { Err(Diagnostics::sorted(found)) }
}

/// A file of settings that is being read.
struct Reading<'t> {
    file: &'t str,
    text: &'t str,
    /// Each with where it stands.
    given: Vec<(usize, Given)>,
    found: Vec<Diagnostic>,
}

impl Reading<'_> {
    /// A table is its keys, wherever it is written.
    fn table(&mut self, above: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let full = if above.is_empty() { name.to_owned() } else { format!("{above}.{name}") };
            match value.get_ref() {
                _ if !is_bare_key(name) => {
                    let message = format!("`{full}` is no key of a scenario");
                    self.tell(key.span(), message, "write keys without quotes, with dots between them");
                }
                DeValue::Table(below) => self.table(&full, below),
                _ => self.value(full, value),
            }
        }
    }

    fn value(&mut self, key: String, value: &Spanned<DeValue<'_>>) {
        let source = match self.place(value.span()) {
            Place::Line { line, .. } => format!("{}:{line}", self.file),
            _ => self.file.to_owned(),
        };
        self.given.push((value.span().start, Given { key, value: on_one_line(value.get_ref()), source }));
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::in_text(self.file, self.text, span.start, span.end)
    }

    fn tell(&mut self, span: Range<usize>, message: String, help: &str) {
        let diagnostic = Diagnostic { place: self.place(span), message, help: Some(help.to_owned()) };
        self.found.push(diagnostic);
    }

    fn tell_unknown(&mut self, span: Range<usize>, key: &str) {
        let help = match nearest(key, &["set"]) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "only `[set]` is known here, with the keys of a scenario".to_owned(),
        };
        self.tell(span, format!("unknown key `{key}`"), &help);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    fn read(text: &str) -> Vec<(String, String)> {
        let given = settings_file("rollcall.toml", text).unwrap_or_else(|told| panic!("{told}"));
        given.iter().map(|given| (given.text(), given.source.clone())).collect()
    }

    #[test]
    fn keys_of_a_scenario_are_read_nested_or_dotted_in_the_order_of_the_file() {
        let text = "# why\n[set]\nseed = 7\nlimits.grace = \"20s\"\nload = { open = { rate = 0x10 } }\n\n\
                    [set.fleet]\ndevices = 500\ndefect.0.share = 0.5\n";
        let expected = [
            ("seed=7", "rollcall.toml:3"),
            ("limits.grace=\"20s\"", "rollcall.toml:4"),
            ("load.open.rate=0x10", "rollcall.toml:5"),
            ("fleet.devices=500", "rollcall.toml:8"),
            ("fleet.defect.0.share=0.5", "rollcall.toml:9"),
        ];
        assert_eq!(read(text), expected.map(|(text, source)| (text.to_owned(), source.to_owned())));
        assert_eq!(read("[set]\n"), []);
        assert_eq!(read(""), []);
    }

    #[test]
    fn a_value_of_several_lines_or_with_any_character_arrives_as_it_is() {
        let text = "set.name = \"a#b \\\"c\\\" \\\\ \\u0007\"\n[set.target.mock]\nhubs = [\n  \"one.net\", # first\n  \"two.net\",\n]\n";
        let small = "name = \"small\"\n[fleet]\ndevices = 10\nregistration_id = \"d-{index}\"\n\
                     [fleet.authority.minted]\n[target.mock]\n[load.closed]\nin_flight = 4\n";
        let given = settings_file("rollcall.toml", text).expect("settings");
        assert!(given.iter().all(|given| given.toml() == given.value), "{given:?}");
        let overrides: Vec<_> = given.iter().map(|given| given.as_override().expect("an override")).collect();
        let scenario = Scenario::parse("x.toml", small, &overrides).unwrap_or_else(|told| panic!("{told}"));
        assert_eq!(scenario.name, "a#b \"c\" \\ \u{7}");
        let crate::Target::Mock(mock) = scenario.target else { panic!("a mock") };
        assert_eq!(mock.hubs, ["one.net", "two.net"]);
    }

    #[test]
    fn what_is_no_setting_is_told_where_it_stands() {
        for (text, line, column) in [
            ("[set]\nseed = 1\n[sett]\n", 3, 2),
            ("fleet.devices = 5\n", 1, 1),
            ("set = 3\n", 1, 7),
            ("[set]\n\"fleet.devices\" = 3\n", 2, 1),
            ("[set]\n\nseed = \n", 3, 8),
        ] {
            let told = settings_file("rollcall.toml", text).expect_err(text);
            let places = told.0.iter().map(|told| match &told.place {
                Place::Line { file, line, column, .. } => (file.as_str(), *line, *column),
                other => panic!("{other:?}"),
            });
            assert_eq!(places.collect::<Vec<_>>(), [("rollcall.toml", line, column)], "{told}");
        }
    }

    #[test]
    fn a_variable_names_a_key() {
        for (name, text) in [
            ("ROLLCALL_SET__SEED", "seed=7"),
            ("ROLLCALL_SET__LOAD__OPEN__MAX_IN_FLIGHT", "load.open.max_in_flight=7"),
            ("ROLLCALL_SET__FLEET__DEFECT__0__DEVICES", "fleet.defect.0.devices=7"),
        ] {
            let given = Given::of_variable(name, "7");
            assert_eq!((given.text().as_str(), given.source.as_str()), (text, name));
            assert!(given.as_override().is_ok(), "{name}");
        }
        for name in ["ROLLCALL_SET__", "ROLLCALL_SET__FLEET__", "ROLLCALL_SET____DEVICES"] {
            assert!(Given::of_variable(name, "7").as_override().is_err(), "{name}");
        }
    }

    #[test]
    fn a_value_of_a_variant_that_the_scenario_does_not_have_is_beside_it() {
        let text = "[target.mock]\n[load.open]\nstage = []\n[fleet]\nauthority.minted = {}\n";
        for (key, chosen) in [
            ("target.service.host", Some("target.mock")),
            ("target.mock.group", None),
            ("target.servcie.host", None),
            ("load.closed.in_flight", Some("load.open")),
            ("load.open.rate", Some("load.open.stage")),
            ("load.open.max_in_flight", None),
            ("load.open.stage.0.constant.rate", None),
            ("fleet.factory.0.share", None),
            ("fleet.authority.files.key", Some("fleet.authority.minted")),
            ("fleet.devices", None),
            ("device.retry.naive.x", None),
        ] {
            let given = Given { key: key.to_owned(), value: "1".to_owned(), source: "x".to_owned() };
            assert_eq!(given.is_beside(text).as_deref(), chosen, "{key}");
        }
    }
}
