//! The language of scenarios as the parser asks for it, and the JSON Schema that follows from that.

use crate::descriptions::description;
use serde_json::{Map, Value as Json, json};

/// What the parser asked for, in its order.
#[derive(Default)]
pub(crate) struct Language {
    keys: Vec<(Key, Entry)>,
    rules: Vec<(String, Rule)>,
}

struct Key {
    section: String,
    key: &'static str,
}

/// What can stand under a key.
pub(crate) enum Entry {
    /// A value.
    Value { schema: Json, required: bool, default: Option<Json> },
    /// A table; one that is not optional has to be there if anything in it has to.
    Table { optional: bool },
    /// Tables in a row.
    Tables,
}

/// What else holds of a section.
pub(crate) enum Rule {
    /// Exactly one of its tables is written.
    OneForm,
    /// Exactly one of these keys is.
    OneOf(Vec<&'static str>),
    /// At least one of these keys is.
    AnyOf(Vec<&'static str>),
    /// Whatever this schema says, too.
    Also(Json),
    /// It is what this schema says, and nothing else.
    Whole(Json),
}

impl Language {
    /// Notes a key of a section.
    pub(crate) fn key(&mut self, section: &str, key: &'static str, entry: Entry) {
        self.keys.push((Key { section: section.to_owned(), key }, entry));
    }

    /// Notes a rule of a section.
    pub(crate) fn rule(&mut self, section: &str, rule: Rule) {
        self.rules.push((section.to_owned(), rule));
    }

    /// Notes what a key comes to that is not written, where the other keys are not either.
    pub(crate) fn default(&mut self, section: &str, key: &str, value: Json) {
        let asked = self.keys.iter_mut().find(|(asked, _)| asked.section == section && asked.key == key);
        if let Some((_, Entry::Value { default, .. })) = asked {
            default.get_or_insert(value);
        }
    }

    /// The sections that have exactly one of several keys, each with those.
    pub(crate) fn choices(&self) -> Vec<(String, Vec<&'static str>)> {
        let keys = |section: &str| {
            let keys = self.keys.iter().map(|(key, _)| key).filter(|key| key.section == section);
            keys.map(|key| key.key).collect()
        };
        let choice = |(section, rule): &(String, Rule)| match rule {
            Rule::OneForm => Some((section.clone(), keys(section))),
            Rule::OneOf(keys) => Some((section.clone(), keys.clone())),
            _ => None,
        };
        self.rules.iter().filter_map(choice).collect()
    }

    /// The schema of a whole scenario.
    pub(crate) fn schema(&self) -> Json {
        let (mut schema, _) = self.table("");
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
            schema.insert("$id".into(), json!("urn:rollcall:scenario"));
            schema.insert("title".into(), json!("rollcall scenario"));
            schema.insert("description".into(), json!(description("")));
        }
        schema
    }

    /// The schema of a table, and whether it has to be there.
    fn table(&self, section: &str) -> (Json, bool) {
        let mut made = Table::default();
        for (key, entry) in self.keys.iter().filter(|(key, _)| key.section == section) {
            self.key_of(&mut made, key, entry);
        }
        for (_, rule) in self.rules.iter().filter(|(of, _)| of == section) {
            if let Rule::Whole(schema) = rule {
                return (schema.clone(), true);
            }
            made.hold_to(rule);
        }
        made.schema()
    }

    fn key_of(&self, made: &mut Table, Key { section, key }: &Key, entry: &Entry) {
        let name = if section.is_empty() { (*key).to_owned() } else { format!("{section}.{key}") };
        let (mut schema, required) = match entry {
            Entry::Value { schema, required, default } => {
                let mut schema = schema.clone();
                if let (Some(schema), Some(default)) = (schema.as_object_mut(), default) {
                    schema.insert("default".into(), default.clone());
                }
                (schema, *required)
            }
            Entry::Table { optional } => {
                let (schema, needed) = self.table(&name);
                (schema, needed && !optional)
            }
            Entry::Tables => (json!({"type": "array", "items": self.table(&name).0}), false),
        };
        if let (Some(schema), Some(description)) = (schema.as_object_mut(), description(&name)) {
            schema.insert("description".into(), json!(description));
        }
        made.properties.insert((*key).to_owned(), schema);
        if required {
            made.required.push(key);
        }
    }
}

/// The schema of a table in the making.
#[derive(Default)]
struct Table {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    one_form: bool,
    others: Vec<Json>,
    needed: bool,
}

impl Table {
    fn hold_to(&mut self, rule: &Rule) {
        let each = |keys: &[&str]| keys.iter().map(|key| json!({"required": [key]})).collect::<Json>();
        match rule {
            Rule::OneForm => self.one_form = true,
            Rule::OneOf(keys) => self.others.push(json!({"oneOf": each(keys)})),
            Rule::AnyOf(keys) => self.others.push(json!({"anyOf": each(keys)})),
            Rule::Also(schema) => return self.others.push(schema.clone()),
            Rule::Whole(_) => {}
        }
        self.needed = true;
    }

    fn schema(self) -> (Json, bool) {
        let needed = self.needed || !self.required.is_empty();
        let mut schema = Map::new();
        schema.insert("type".into(), json!("object"));
        schema.insert("properties".into(), Json::Object(self.properties));
        schema.insert("additionalProperties".into(), json!(false));
        if !self.required.is_empty() {
            schema.insert("required".into(), json!(self.required));
        }
        if self.one_form {
            schema.insert("minProperties".into(), json!(1));
            schema.insert("maxProperties".into(), json!(1));
        }
        if !self.others.is_empty() {
            schema.insert("allOf".into(), json!(self.others));
        }
        (Json::Object(schema), needed)
    }
}

#[cfg(test)]
mod tests {
    use crate::descriptions::DESCRIPTIONS;
    use crate::{SHIPPED, Scenario, schema};
    use jsonschema::Validator;
    use serde_json::Value as Json;
    use std::collections::BTreeSet;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/scenario.schema.json");

    const SMALL: &str = crate::parse::SMALL;

    fn validator() -> Validator {
        jsonschema::draft202012::new(&schema()).expect("a schema")
    }

    fn json(text: &str) -> Json {
        let table: toml::Table = text.parse().unwrap_or_else(|cause| panic!("{text}: {cause}"));
        serde_json::to_value(table).expect("JSON")
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "how one asks this test to write the file anew")]
    fn the_schema_that_is_shipped_is_the_one_that_is_generated() {
        let schema = schema();
        if std::env::var_os("ROLLCALL_BLESS").is_some_and(|bless| bless == "1") {
            let text = serde_json::to_string_pretty(&schema).expect("JSON");
            std::fs::write(FILE, format!("{text}\n")).expect(FILE);
        }
        let shipped: Json = serde_json::from_str(&std::fs::read_to_string(FILE).expect(FILE)).expect("JSON");
        assert!(shipped == schema, "run the tests of scenarios once with ROLLCALL_BLESS=1");
    }

    #[test]
    fn the_schema_is_one() {
        assert!(jsonschema::meta::is_valid(&schema()));
    }

    #[test]
    fn every_shipped_scenario_is_valid() {
        let validator = validator();
        for (file, text) in SHIPPED {
            let wrong: Vec<_> = validator.iter_errors(&json(text)).map(|wrong| wrong.to_string()).collect();
            assert!(wrong.is_empty(), "{file}: {wrong:?}");
        }
    }

    /// Every key by its path, elements of arrays without a number.
    fn keys(schema: &Json, path: &str, found: &mut BTreeSet<String>) {
        let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            found.insert(under(key));
            keys(below, &under(key), found);
            keys(&below["items"], &under(key), found);
        }
    }

    fn all_keys() -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        keys(&schema(), "", &mut found);
        found
    }

    #[test]
    fn every_key_is_described_once_and_nothing_else_is() {
        let described: Vec<_> = DESCRIPTIONS.iter().map(|(path, _)| (*path).to_owned()).collect();
        let mut expected = all_keys();
        expected.insert(String::new());
        assert_eq!(described.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(described.len(), expected.len());
    }

    #[test]
    fn where_there_is_a_choice_is_known_from_the_language() {
        let choices = crate::parse::choices();
        for (section, keys) in [
            ("target", ["mock", "service"].as_slice()),
            ("fleet.authority", &["minted", "files", "directory"]),
            ("device.retry", &["none", "fixed", "exponential", "naive"]),
            ("load", &["closed", "open"]),
            ("load.open", &["rate", "stage"]),
        ] {
            let found: Vec<_> =
                choices.iter().filter(|(of, _)| of == section).map(|(_, keys)| keys).collect();
            assert_eq!(found, [keys], "{section}");
        }
        let keys = all_keys();
        let named = choices.iter().flat_map(|(of, keys)| keys.iter().map(move |key| format!("{of}.{key}")));
        assert_eq!(named.filter(|key| !keys.contains(key)).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_table_is_closed() {
        fn tables(schema: &Json, path: &str) {
            if schema["type"] == "object" {
                assert_eq!(schema["additionalProperties"], false, "{path}");
            }
            for (key, below) in schema["properties"].as_object().into_iter().flatten() {
                tables(below, &format!("{path}.{key}"));
                tables(&below["items"], &format!("{path}.{key}"));
            }
        }
        tables(&schema(), "");
    }

    #[test]
    fn defaults_are_what_the_parser_fills_in() {
        let schema = schema();
        let of = |path: &str| path.split('.').fold(&schema, |schema, key| &schema["properties"][key]);
        for (path, default) in [
            ("seed", "1"),
            ("fleet.key", "\"p256\""),
            ("fleet.validity", "\"30d\""),
            ("device.tls", "\"any\""),
            ("device.groups", "[\"x25519\",\"p256\",\"p384\"]"),
            ("device.hold.keep_alive", "\"1m\""),
            ("target.mock.group", "\"fleet\""),
            ("target.mock.tickets", "false"),
            ("target.service.port", "8883"),
            ("load.open.when_full", "\"wait\""),
        ] {
            assert_eq!(of(path)["default"].to_string(), default, "{path}");
        }
        let mix = &schema["properties"]["device"]["properties"]["mix"]["items"]["properties"];
        assert_eq!(mix["tls"]["default"], Json::Null, "a kind talks as `[device]` says");
    }

    const README: &str = include_str!("../README.md");

    /// The words in backticks, without the brackets of a header.
    fn words(cell: &str) -> impl Iterator<Item = &str> {
        cell.split('`').skip(1).step_by(2).map(|word| word.trim_matches(['[', ']', '.']))
    }

    /// The keys that a word names: itself, or what is assigned in it.
    fn named(word: &str) -> Vec<&str> {
        if !word.contains(" = ") {
            return vec![word];
        }
        word.split(" = ")
            .filter_map(|before| before.split([' ', '{', ',']).next_back())
            .filter(|key| is_key(key))
            .collect()
    }

    fn is_key(word: &str) -> bool {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.')
    }

    /// The keys that the first column of a table of keys names.
    fn keys_of_tables(part: &str) -> Vec<&str> {
        let (mut found, mut of_keys, mut before) = (Vec::new(), false, "");
        for line in part.lines() {
            let cell = line.split('|').nth(1).unwrap_or_default().trim();
            if line.starts_with('|') && !before.starts_with('|') {
                of_keys = ["top", "key", "stage", "table"].contains(&cell);
            } else if of_keys && line.starts_with('|') {
                found.extend(words(cell).flat_map(named));
            }
            before = line;
        }
        found
    }

    #[test]
    fn every_key_of_the_readme_is_one() {
        let keys = all_keys();
        let language = README.split("## Shipped").next().expect("a text");
        let named = keys_of_tables(language);
        assert!(named.len() > 80, "{named:?}");
        for name in named {
            let is = |key: &String| key == name || key.ends_with(&format!(".{name}"));
            assert!(keys.iter().any(is), "`{name}` is no key");
        }
    }

    #[test]
    fn every_key_is_in_its_part_of_the_readme() {
        for path in all_keys().iter().filter(|path| !path.starts_with("target.mock.fault.")) {
            let (top, key) = (path.split('.').next(), path.rsplit('.').next().expect("a key"));
            let headings = [format!("`[{}]`", top.expect("a key")), format!("`[[{}]]`", top.expect("a key"))];
            let is_its = |part: &&str| headings.iter().any(|heading| part.starts_with(heading));
            let part = README.split("\n## ").find(is_its).unwrap_or(README);
            let mut words = part.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            assert!(words.any(|word| word == key), "{path}");
        }
    }

    #[test]
    fn a_mistake_of_form_is_refused_by_the_schema_and_by_the_parser() {
        let service = "[target.service]\nhost = \"localhost\"\nid_scope = \"0ne1\"";
        let after = |lines: &str| format!("{SMALL}\n{lines}\n");
        let instead = |from: &str, to: &str| {
            assert_eq!(SMALL.matches(from).count(), 1, "{from}");
            SMALL.replace(from, to)
        };
        let open = |stage: &str| {
            instead("[load.closed]\nin_flight = 4", &format!("[load.open]\nmax_in_flight = 9\n{stage}"))
        };
        let validator = validator();
        for good in [
            SMALL.to_owned(),
            instead("[target.mock]", service),
            open("stage = [{ constant = { rate = 0, lasts = \"3s\" } }, { all_at_once = {} }]"),
            open("rate = 0.5"),
            after("[device.retry.naive]"),
            after("[[event]]\nat = \"5m\"\ndelete_ca = \"fleet\""),
            after("[[gate]]\nmetric = \"roll_up.fleet.count\"\nat_least = 1"),
            after("[[gate]]\nmetric = \"phase.tls.p99\"\nat_least = \"1ms\"\nat_most = \"1s\""),
        ] {
            Scenario::parse("x.toml", &good, &[]).unwrap_or_else(|told| panic!("{told}"));
            assert!(validator.is_valid(&json(&good)), "{good}");
        }
        for bad in [
            instead("devices = 10", "devcies = 10"),
            instead("devices = 10", "devices = \"10\""),
            instead("devices = 10", "devices = 0"),
            instead("devices = 10", "devices = 100000001"),
            instead("devices = 10", ""),
            instead("name = \"small\"", ""),
            instead("name = \"small\"", "name = \" \""),
            instead("dev-{index:05}", "dev"),
            instead("dev-{index:05}", "{index}-{index}"),
            instead("[fleet.authority.minted]", ""),
            instead("[fleet.authority.minted]", "[fleet.authority.minted]\nintermediates = 9"),
            instead(
                "[fleet.authority.minted]",
                "[fleet.authority.minted]\n[fleet.authority.directory]\npath = \"a\"",
            ),
            instead("[fleet.authority.minted]", "[fleet.authority.files]\nkey = \"a\""),
            instead("[target.mock]", ""),
            instead("[target.mock]", "target.mock = 3"),
            instead("[target.mock]", &format!("[target.mock]\n{service}")),
            instead("[target.mock]", &format!("{service}\nport = 0")),
            instead("[target.mock]", "[target.mock]\nverification = \"selfattested\""),
            instead("[target.mock]", "[target.mock]\nretry_after = 3"),
            instead("[target.mock]", "[target.mock]\nretry_after = \"3 weeks\""),
            instead("[target.mock]", "[target.mock]\nassign_delay = \"uniform 1s\""),
            instead("[target.mock]", "[target.mock]\nhubs = []"),
            instead("[target.mock]", "[target.mock]\nhubs = [\"a\", \"a\"]"),
            instead("[target.mock]", "[target.mock]\ntickets = \"yes\""),
            instead("[target.mock]", &format!("[target.mock]\ngroup = \"{}\"", "x".repeat(129))),
            instead("[target.mock]", "[target.mock]\ngroup = \"a.\""),
            instead("in_flight = 4", ""),
            instead("in_flight = 4", "in_flight = 4\n[load.open]\nrate = 3\nmax_in_flight = 5"),
            instead("[load.closed]\nin_flight = 4", ""),
            open(""),
            open("stage = []"),
            open("rate = 0"),
            open("rate = 1000001"),
            open("rate = 5\nstage = [{ pause = { lasts = \"3s\" } }]"),
            open("stage = [{ ramp = { from = 0, to = 9 } }]"),
            open("stage = [{ ramp = { from = 0, to = 9, lasts = \"1s\" }, pause = { lasts = \"3s\" } }]"),
            open("stage = [{}]"),
            after("[[fleet.defect]]\nid = \"none-such\"\ndevices = 1"),
            after("[[fleet.defect]]\nid = \"cn-mismatch\""),
            after("[[fleet.defect]]\nid = \"cn-mismatch\"\ndevices = 1\nshare = 0.1"),
            after("[[fleet.defect]]\nid = \"cn-mismatch\"\nshare = 1.5"),
            after("[fleet.defect]\nid = \"cn-mismatch\"\ndevices = 1"),
            after("[device]\ngroups = [\"p224\"]"),
            after("[device.hold]"),
            after("[device.retry]"),
            after("[device.retry.fixed]"),
            after("[device.retry.naive]\nretries = 3"),
            after("[[device.mix]]\nflavour = \"c\""),
            after("[[target.mock.fault]]\nid = \"dorp\""),
            after("[[target.mock.fault]]\nid = \"drop\"\ndelay = \"1s\""),
            after("[limits]\ngrace = \"soon\""),
            after("[[gate]]\nmetric = \"response_time.p99\""),
            after("[[gate]]\nmetric = \"response_time.p98\"\nat_most = \"1s\""),
            after("[[gate]]\nmetric = \"response_time.p99\"\nat_most = 500"),
            after("[[gate]]\nmetric = \"outcome.assigned.count\"\nat_least = \"1s\""),
            after("[[event]]\ndelete_ca = \"fleet\""),
            after("[[event]]\nat = \"1s\""),
            after("[[event]]\nat = \"1s\"\ndelete_ca = \"fleet\"\ndisable_group = \"fleet\""),
        ] {
            assert!(Scenario::parse("x.toml", &bad, &[]).is_err(), "the parser takes\n{bad}");
            assert!(!validator.is_valid(&json(&bad)), "the schema takes\n{bad}");
        }
    }
}
