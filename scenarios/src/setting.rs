//! What every key of a scenario comes to, and who said so.

use crate::overrides::{Source, is_bare_key};
use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeString, DeValue};

/// A key that holds, as the scenario was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// From the top, dotted, elements of arrays by their number from 0: `target.mock.fault.0.share`.
    pub key: String,
    /// On one line, as TOML. What was written keeps its spelling; a default is spelled as a user would.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it.
    Default,
    /// The scenario file.
    File {
        /// The line it starts on, from 1.
        line: usize,
    },
    /// An override.
    Override {
        /// What it was given by, as in [`Override::from_source`](crate::Override::from_source).
        given: String,
    },
}

impl Origin {
    /// In a word: `default`, a place in the scenario that is called `file`, or what the override was given by.
    pub fn shown(&self, file: &str) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File { line } => format!("{file}:{line}"),
            Self::Override { given } => given.clone(),
        }
    }
}

/// A key that was asked for, with what is known of its value by then.
pub(crate) struct Asked {
    key: String,
    holds: Option<(String, Origin)>,
}

impl Asked {
    /// A key that is not written, with its default in TOML.
    pub(crate) fn unwritten(key: String, default: Option<String>) -> Self {
        Self { key, holds: default.map(|value| (value, Origin::Default)) }
    }

    /// A key that is written; `is_text` is whether it is meant as text.
    pub(crate) fn written(
        key: String,
        value: &Spanned<DeValue<'_>>,
        source: &Source<'_>,
        is_text: bool,
    ) -> Self {
        let number = matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_));
        let spelled = match source.spelling(value.span()) {
            // Typed without quotes, as `--set device.tls=1.3`.
            Some(typed) if is_text && number => quoted(typed),
            Some(spelled) if !spelled.contains('\n') && !value.get_ref().is_table() => spelled.to_owned(),
            _ => on_one_line(value.get_ref()),
        };
        Self { key, holds: Some((spelled, source.origin_of(value.span()))) }
    }

    /// Whether it is this key.
    pub(crate) fn is(&self, key: &str) -> bool {
        self.key == key
    }

    /// What the key comes to if it is not written.
    pub(crate) fn settle(&mut self, value: String) {
        self.holds.get_or_insert((value, Origin::Default));
    }

    /// The setting, if it holds anything.
    pub(crate) fn setting(self) -> Option<Setting> {
        let (value, origin) = self.holds?;
        Some(Setting { key: self.key, value, origin })
    }
}

/// A value as one would write it in TOML.
pub(crate) fn as_toml(value: &Json) -> String {
    match value {
        Json::String(text) => quoted(text),
        Json::Array(values) => listed(values.iter().map(as_toml)),
        other => other.to_string(),
    }
}

/// Text as TOML on one line, as one would write it.
pub(crate) fn quoted(text: &str) -> String {
    if !text.contains(char::is_control) {
        return toml::Value::String(text.to_owned()).to_string();
    }
    let escaped = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

fn listed(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

/// A value, however many lines it is written on, as TOML on one.
pub(crate) fn on_one_line(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::Array(values) => listed(values.iter().map(|value| on_one_line(value.get_ref()))),
        DeValue::Table(table) if table.is_empty() => "{}".to_owned(),
        DeValue::Table(table) => {
            let pair = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
                let key = key.get_ref();
                let key = if is_bare_key(key) { key.to_string() } else { quoted(key) };
                format!("{key} = {}", on_one_line(value.get_ref()))
            };
            format!("{{ {} }}", table.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::SMALL;
    use crate::{Override, SHIPPED, Scenario};

    fn file(line: usize) -> Origin {
        Origin::File { line }
    }

    /// What the small scenario and these lines come to.
    fn resolved(lines: &str, overrides: &[Override]) -> Vec<Setting> {
        let text = format!("{SMALL}\n{lines}\n");
        Scenario::resolve("x.toml", &text, overrides).unwrap_or_else(|told| panic!("{told}")).1
    }

    fn of<'s>(settings: &'s [Setting], key: &str) -> Option<(&'s str, Origin)> {
        let mut found = settings.iter().filter(|setting| setting.key == key);
        let setting = found.next().map(|setting| (setting.value.as_str(), setting.origin.clone()));
        assert_eq!(found.count(), 0, "{key}");
        setting
    }

    #[test]
    fn every_key_that_holds_is_told_with_who_said_so() {
        let lines = r#"[device]
flavour = "python"
groups = [
  "p256",   # the old one
  "p384",
]
[[device.mix]]
share = 0.50
[[target.mock.fault]]
id = "server-error"
at = "poll"
[device.retry.naive]
[limits]
lateness = "0120s"
"#;
        let settings = resolved(lines, &[]);
        for (key, value, origin) in [
            ("name", "\"small\"", file(1)),
            ("seed", "1", Origin::Default),
            ("fleet.devices", "10", file(4)),
            ("fleet.validity", "\"30d\"", Origin::Default),
            ("fleet.authority.minted.intermediates", "1", Origin::Default),
            ("target.mock.group", "\"fleet\"", Origin::Default),
            ("target.mock.hubs", "[\"hub-1.azure-devices.net\"]", Origin::Default),
            ("target.mock.fault.0.id", "\"server-error\"", file(23)),
            ("target.mock.fault.0.at", "\"poll\"", file(24)),
            ("target.mock.fault.0.share", "1.0", Origin::Default),
            ("target.mock.fault.0.status", "500", Origin::Default),
            ("device.retry.naive", "{}", file(25)),
            ("device.tls", "\"1.2\"", Origin::Default),
            ("device.groups", "[\"p256\", \"p384\"]", file(16)),
            ("device.mix.0.share", "0.50", file(21)),
            ("device.mix.0.flavour", "\"python\"", Origin::Default),
            ("load.closed.in_flight", "4", file(12)),
            ("limits.grace", "\"10s\"", Origin::Default),
            ("limits.lateness", "\"0120s\"", file(27)),
        ] {
            assert_eq!(of(&settings, key), Some((value, origin)), "{key}");
        }
        for key in
            ["device.hold.lasts", "limits.phase_timeouts.tcp", "load.open.rate", "target.mock.fault.0.from"]
        {
            assert_eq!(of(&settings, key), None, "{key}");
        }
    }

    #[test]
    fn an_override_is_named_by_what_it_came_from_and_the_last_one_holds() {
        let given = [
            ("rollcall.toml:3", "fleet.devices=500"),
            ("ROLLCALL_SET__DEVICE__TLS", "device.tls=1.3"),
            ("ROLLCALL_SET__FLEET__DEVICES", "fleet.devices=600"),
            ("--set", "limits.grace=20s"),
            ("user.toml:1", "load.closed.in_flight=5"),
            ("--set", "load.closed={ in_flight = 6 }"),
            ("--set", "limits.grace=30s"),
        ];
        let given = given.map(|(source, text)| Override::from_source(source, text).expect("an override"));
        let text = SMALL.replace("[load.closed]\nin_flight = 4", "");
        let text = format!("load = {{ closed = {{ in_flight = 4 }} }}\n{text}");
        let (scenario, settings) =
            Scenario::resolve("x.toml", &text, &given).unwrap_or_else(|told| panic!("{told}"));
        assert_eq!(scenario.fleet.devices, 600);
        let by = |source: &str| Origin::Override { given: source.to_owned() };
        for (key, value, origin) in [
            ("fleet.devices", "600", by("ROLLCALL_SET__FLEET__DEVICES")),
            ("device.tls", "\"1.3\"", by("ROLLCALL_SET__DEVICE__TLS")),
            ("limits.grace", "\"30s\"", by("--set")),
            ("load.closed.in_flight", "6", by("--set")),
            ("name", "\"small\"", file(2)),
        ] {
            assert_eq!(of(&settings, key), Some((value, origin)), "{key}");
        }
    }

    #[test]
    fn a_value_of_several_lines_is_shown_whole_on_one() {
        for (value, line) in [
            ("[\n  { a = 1, b = [\"x\"] }, # one\n  {},\n]", "[{ a = 1, b = [\"x\"] }, {}]"),
            ("{ a.b = { c = 0x10 }, \"d e\" = 1.50 }", "{ a = { b = { c = 0x10 } }, \"d e\" = 1.50 }"),
            ("\"\"\"\none\n\"two\"\"\"\"", "\"one\\u000A\\\"two\\\"\""),
            ("[\"a#b\", true, 1979-05-27]", "[\"a#b\", true, 1979-05-27]"),
        ] {
            let parsed = DeValue::parse(value).expect(value);
            assert_eq!(on_one_line(parsed.get_ref()), line);
            let same = |text: &str| toml::de::DeValue::parse(text).map(|value| on_one_line(value.get_ref()));
            assert_eq!(same(line).as_deref(), Ok(line));
        }
    }

    #[test]
    fn an_origin_is_shown_in_a_word() {
        for (origin, shown) in [
            (Origin::Default, "default"),
            (file(3), "x.toml:3"),
            (Origin::Override { given: "--set".to_owned() }, "--set"),
        ] {
            assert_eq!(origin.shown("x.toml"), shown);
        }
    }

    #[test]
    fn a_mistake_in_an_override_names_what_it_came_from() {
        let given = [Override::from_source("rollcall.toml:3", "fleet.devices=0").expect("an override")];
        let told = Scenario::parse("x.toml", SMALL, &given).expect_err("no devices").to_string();
        assert!(told.ends_with("\n  --> rollcall.toml:3 fleet.devices=0"), "{told}");
    }

    #[test]
    fn what_was_resolved_is_the_same_scenario_again() {
        for (file, text) in SHIPPED {
            let (mut scenario, settings) =
                Scenario::resolve(file, text, &[]).unwrap_or_else(|told| panic!("{told}"));
            let written: String = settings
                .iter()
                // What may not be written where it means nothing, or follows from another.
                .filter(|setting| {
                    !["fleet.key_pool", "target.service.server_name"].contains(&setting.key.as_str())
                })
                .filter(|setting| !setting.key.split('.').any(|part| part.parse::<usize>().is_ok()))
                .map(|setting| format!("{} = {}\n", setting.key, setting.value))
                .collect();
            let mut again = written + &arrays(&settings);
            again.push('\n');
            let mut again =
                Scenario::parse(file, &again, &[]).unwrap_or_else(|told| panic!("{again}\n{told}"));
            for scenario in [&mut scenario, &mut again] {
                // Where things stand is another matter.
                scenario.fleet.factories.iter_mut().for_each(|factory| factory.place = PLACE);
                scenario.fleet.defects.iter_mut().for_each(|defect| defect.place = PLACE);
                scenario.gates.iter_mut().for_each(|gate| gate.place = PLACE);
                scenario.events.iter_mut().for_each(|event| event.place = PLACE);
            }
            assert_eq!(scenario, again, "{file}");
        }
    }

    const PLACE: crate::Place = crate::Place::Set(String::new());

    /// Elements of arrays, each under its header.
    fn arrays(settings: &[Setting]) -> String {
        let mut text = String::new();
        let mut header = String::new();
        for Setting { key, value, .. } in settings {
            let parts: Vec<_> = key.split('.').collect();
            let Some(number) = parts.iter().position(|part| part.parse::<usize>().is_ok()) else { continue };
            let (array, element) = (parts[..number].join("."), parts[..=number].join("."));
            if header != element {
                text += &format!("[[{array}]]\n");
                header = element;
            }
            text += &format!("{} = {value}\n", parts[number + 1..].join("."));
        }
        text
    }
}
