//! Reads a table key by key, and tells every mistake in it rather than the first.
//!
//! A section knows which keys were asked for, so what is left over is unknown and is told with the
//! nearest key that exists. Where that one would be missing, nothing more is said of it. Every key that is asked for is noted, with what it comes to: the resolved values
//! are these notes. A reading that describes has no file; it visits every form and notes what could be
//! written: the schema is made of those.

use crate::diagnostic::{Diagnostic, Place, nearest};
use crate::kind::{Found, Kind, Wrong, is_number, quoted, repair, unquoted};
use crate::language::{Entry, Language, Rule};
use crate::overrides::Source;
use crate::setting::{Asked, Setting, as_toml};
use serde_json::Value as Json;
use sim_protocol::faults::{Fault, FaultRule, InvalidFault, RULE_KEYS, Written};
use std::cell::RefCell;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A mistake that there is unless one of the keys it is about was misspelt.
struct Missing {
    /// Any of them would do.
    paths: Vec<String>,
    diagnostic: Diagnostic,
}

impl Missing {
    fn is_explained_by(&self, misspelt: &[String]) -> bool {
        let is_at_or_below = |path: &str, above: &str| {
            path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.paths.iter().any(|path| misspelt.iter().any(|above| is_at_or_below(path, above)))
    }
}

/// One reading of a scenario, or of what could be one.
pub(crate) struct Reading<'s> {
    source: &'s Source<'s>,
    found: RefCell<Vec<Diagnostic>>,
    missing: RefCell<Vec<Missing>>,
    /// The paths of keys that an unknown one was probably meant for.
    misspelt: RefCell<Vec<String>>,
    asked: RefCell<Vec<Asked>>,
    /// Where the reading describes.
    language: Option<RefCell<Language>>,
}

impl<'s> Reading<'s> {
    /// Reads what the source says.
    pub(crate) fn of(source: &'s Source<'s>) -> Self {
        let (found, missing) = (RefCell::default(), RefCell::default());
        let (misspelt, asked) = (RefCell::default(), RefCell::default());
        Self { source, found, missing, misspelt, asked, language: None }
    }

    /// Notes what could be written; the source has nothing in it.
    pub(crate) fn describing(nothing: &'s Source<'s>) -> Self {
        Self { language: Some(RefCell::default()), ..Self::of(nothing) }
    }

    /// The mistakes, and every key that holds a value, in the order they were asked for.
    pub(crate) fn end(self) -> (Vec<Diagnostic>, Vec<Setting>) {
        let settings = self.asked.into_inner().into_iter().filter_map(Asked::setting);
        let misspelt = self.misspelt.into_inner();
        let missing = self.missing.into_inner().into_iter();
        let missing = missing.filter(|missing| !missing.is_explained_by(&misspelt));
        let mut found = self.found.into_inner();
        found.extend(missing.map(|missing| missing.diagnostic));
        (found, settings.collect())
    }

    /// What could be written.
    pub(crate) fn language(self) -> Language {
        self.language.map(RefCell::into_inner).unwrap_or_default()
    }
}

/// A table that is being read.
pub(crate) struct Section<'s> {
    reading: &'s Reading<'s>,
    /// As a header spells it: without the numbers of elements.
    name: String,
    /// As an override spells it: with them.
    path: String,
    table: Option<(&'s DeTable<'s>, Range<usize>)>,
    known: Vec<&'static str>,
}

/// How a table is read.
pub(crate) type Form<T> = fn(Section<'_>) -> Option<T>;

impl<'s> Section<'s> {
    /// The table at the top; none where the reading describes.
    pub(crate) fn root(reading: &'s Reading<'s>, table: Option<&'s DeTable<'s>>) -> Self {
        let table = table.map(|table| (table, 0..0));
        Self { reading, name: String::new(), path: String::new(), table, known: Vec::new() }
    }

    fn below(&self, name: String, path: String, table: Option<(&'s DeTable<'s>, Range<usize>)>) -> Self {
        Self { reading: self.reading, name, path, table, known: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.value(key)
    }

    /// The section as its header spells it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn full(&self, key: &str) -> String {
        under(&self.name, key)
    }

    /// Where the section starts: its header, or the top of the file.
    pub(crate) fn place(&self) -> Place {
        match &self.table {
            Some((_, span)) if !span.is_empty() => self.reading.source.place(span.clone()),
            _ => self.reading.source.top(),
        }
    }

    /// Where the value of a key stands, or the section if it has none.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.value(key).map_or_else(|| self.place(), |value| self.reading.source.place(value.span()))
    }

    /// Where the `nth` (from 0) of those elements stands in the array under a key that are this text; the value as a
    /// whole where there is none.
    pub(crate) fn place_of_element(&self, key: &str, text: &str, nth: usize) -> Place {
        let value = self.value(key);
        let elements = value.and_then(|value| value.get_ref().as_array()).into_iter().flatten();
        let mut same = elements.filter(|element| element.get_ref().as_str() == Some(text));
        let element = same.nth(nth);
        element.map_or_else(|| self.place_of(key), |element| self.reading.source.place(element.span()))
    }

    fn value(&self, key: &str) -> Option<&'s Spanned<DeValue<'s>>> {
        self.table.as_ref().and_then(|(table, _)| table.get(key))
    }

    /// Whether the key is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.as_ref().is_some_and(|(table, _)| table.contains_key(key))
    }

    /// Notes a mistake.
    pub(crate) fn tell(&self, place: Place, wrong: Wrong) {
        let Wrong { message, help, .. } = wrong;
        self.reading.found.borrow_mut().push(Diagnostic { place, message, help });
    }

    /// Notes that none of these keys is written, which is no mistake of its own where one of them is misspelt.
    fn miss(&self, keys: &[&str], wrong: Wrong) {
        let Wrong { message, help, .. } = wrong;
        let paths = keys.iter().map(|key| under(&self.path, key)).collect();
        let diagnostic = Diagnostic { place: self.place(), message, help };
        self.reading.missing.borrow_mut().push(Missing { paths, diagnostic });
    }

    fn describes(&self) -> bool {
        self.reading.language.is_some()
    }

    fn describe(&self, key: &'static str, entry: impl FnOnce() -> Entry) {
        if let Some(language) = &self.reading.language {
            language.borrow_mut().key(&self.name, key, entry());
        }
    }

    /// Notes what a schema has to say of the section beside its keys.
    pub(crate) fn rule(&self, rule: impl FnOnce() -> Rule) {
        if let Some(language) = &self.reading.language {
            language.borrow_mut().rule(&self.name, rule());
        }
    }

    fn ask<K: Kind>(
        &mut self,
        key: &'static str,
        kind: &K,
        required: bool,
        default: Option<&K::Value>,
    ) -> Option<Option<K::Value>> {
        let written = |value: &K::Value| kind.written(value);
        self.describe(key, || Entry::Value {
            schema: kind.schema(),
            required,
            default: default.map(written),
        });
        let path = under(&self.path, key);
        let Some(value) = self.take(key) else {
            self.note(Asked::unwritten(path, default.map(|value| as_toml(&kind.written(value)))));
            return Some(None);
        };
        let found = Found { value: value.get_ref(), typed: self.reading.source.typed(value.span()) };
        let read = kind.read(found).map_err(|wrong| {
            let message = format!("`{key}` {}", wrong.message);
            let place = self.reading.source.place(wrong.span.clone().unwrap_or_else(|| value.span()));
            self.tell(place, Wrong { message, ..wrong });
        });
        let read = read.ok()?;
        let is_text = kind.written(&read).is_string();
        self.note(Asked::written(path, value, self.reading.source, is_text));
        Some(Some(read))
    }

    fn note(&self, asked: Asked) {
        self.reading.asked.borrow_mut().push(asked);
    }

    /// The value of a key that may be left out.
    pub(crate) fn optional<K: Kind>(&mut self, key: &'static str, kind: K) -> Option<Option<K::Value>> {
        self.ask(key, &kind, false, None)
    }

    /// The value of a key, or `default`.
    pub(crate) fn or<K: Kind>(&mut self, key: &'static str, default: K::Value, kind: K) -> Option<K::Value> {
        self.ask(key, &kind, false, Some(&default)).map(|value| value.unwrap_or(default))
    }

    /// The value of a key that has to be there.
    pub(crate) fn required<K: Kind>(&mut self, key: &'static str, kind: K) -> Option<K::Value> {
        let read = self.ask(key, &kind, true, None)?;
        if read.is_none() {
            self.miss(&[key], Wrong::new(format!("`{}` is missing", self.full(key))));
        }
        read
    }

    /// Notes what an optional key that was asked for comes to where it is not written.
    pub(crate) fn settle<K: Kind>(&self, key: &'static str, kind: K, value: &K::Value) {
        if let Some(language) = &self.reading.language {
            language.borrow_mut().default(&self.name, key, kind.written(value));
        }
        let path = under(&self.path, key);
        if let Some(asked) = self.reading.asked.borrow_mut().iter_mut().find(|asked| asked.is(&path)) {
            asked.settle(as_toml(&kind.written(value)));
        }
    }

    /// A table below this one; one that is not written reads as empty.
    pub(crate) fn section(&mut self, key: &'static str) -> Self {
        self.describe(key, || Entry::Table { optional: false });
        let table = self.table_of(key);
        self.below(self.full(key), under(&self.path, key), table)
    }

    /// A table below this one that may be left out as a whole.
    pub(crate) fn optional_section(&mut self, key: &'static str) -> Option<Self> {
        self.describe(key, || Entry::Table { optional: true });
        let table = self.table_of(key);
        let there = table.is_some() || self.describes();
        there.then(|| self.below(self.full(key), under(&self.path, key), table))
    }

    fn table_of(&mut self, key: &'static str) -> Option<(&'s DeTable<'s>, Range<usize>)> {
        let value = self.take(key)?;
        let table = value.get_ref().as_table().map(|table| (table, value.span()));
        if table.is_none() {
            let wrong = Wrong::new(format!("`{key}` must be a table"));
            let help = format!("write `[{}]`", self.full(key));
            self.tell(self.reading.source.place(value.span()), wrong.help(help));
        }
        table
    }

    /// The tables of an array of tables; none if it is not written.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        self.describe(key, || Entry::Tables);
        let (name, path) = (self.full(key), under(&self.path, key));
        if self.describes() {
            return vec![self.below(name, path, None)];
        }
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let elements = value.get_ref().as_array().into_iter().flat_map(|array| array.iter());
        let tables: Vec<_> = elements
            .filter_map(|element| element.get_ref().as_table().map(|table| (table, element.span())))
            .enumerate()
            .map(|(number, table)| self.below(name.clone(), format!("{path}.{number}"), Some(table)))
            .collect();
        if value.get_ref().as_array().is_none_or(|array| array.len() != tables.len()) {
            let wrong = Wrong::new(format!("`{key}` must be tables")).help(format!("write `[[{name}]]`"));
            self.tell(self.reading.source.place(value.span()), wrong);
        }
        tables
    }

    /// What the one table that is written is read as; nothing else is in the section.
    pub(crate) fn variant<T, F>(&mut self, forms: &[(&'static str, F)]) -> Option<T>
    where
        F: Fn(Self) -> Option<T>,
    {
        self.describe_choice(forms);
        let keys: Vec<_> = forms.iter().map(|(key, _)| *key).collect();
        let written: Vec<_> = keys.iter().copied().filter(|key| self.has(key)).collect();
        self.known.extend(&keys);
        self.close();
        let headers = keys.iter().map(|key| format!("`[{}]`", self.full(key))).collect::<Vec<_>>();
        let choice = format!("write one of {}", headers.join(", "));
        match written.as_slice() {
            [] => {
                self.miss(&keys, Wrong::new(format!("`{}` is missing", self.name)).help(choice));
                None
            }
            &[key] => self.form(key, forms),
            &[first, second, ..] => {
                let message = format!("`{}` is both `{first}` and `{second}`", self.name);
                let last = written.iter().map(|key| self.place_of(key));
                let place = last.max_by_key(Place::order).unwrap_or_else(|| self.place());
                self.tell(place, Wrong::new(message).help(choice));
                None
            }
        }
    }

    /// Like [`Section::variant`], where the tables are short enough for one line; `help` says how they are written.
    pub(crate) fn inline_variant<T, F>(&mut self, forms: &[(&'static str, F)], help: &str) -> Option<T>
    where
        F: Fn(Self) -> Option<T>,
    {
        self.describe_choice(forms);
        let keys: Vec<_> = forms.iter().map(|(key, _)| *key).collect();
        self.known.extend(&keys);
        self.close();
        let key = self.one_of_keys(&keys, help)?;
        self.form(key, forms)
    }

    /// Reads the form that is written under a key. One without any key of its own is a value itself.
    fn form<T, F>(&mut self, key: &'static str, forms: &[(&'static str, F)]) -> Option<T>
    where
        F: Fn(Self) -> Option<T>,
    {
        let (_, read) = forms.iter().find(|(known, _)| *known == key)?;
        let asked = || self.reading.asked.borrow().len();
        let (before, form) = (asked(), self.section(key));
        let value = read(form);
        if asked() == before
            && let Some(written) = self.value(key)
        {
            self.note(Asked::written(under(&self.path, key), written, self.reading.source, false));
        }
        value
    }

    fn describe_choice<T>(&self, forms: &[(&'static str, impl Fn(Self) -> Option<T>)]) {
        if !self.describes() {
            return;
        }
        for (key, read) in forms {
            self.describe(key, || Entry::Table { optional: true });
            read(self.below(self.full(key), under(&self.path, key), None));
        }
        self.rule(|| Rule::OneForm);
    }

    /// The one key of `keys` that is written; `help` says how.
    pub(crate) fn one_key(&self, keys: &[&'static str], help: &str) -> Option<&'static str> {
        self.rule(|| Rule::OneOf(keys.to_vec()));
        self.one_of_keys(keys, help)
    }

    fn one_of_keys(&self, keys: &[&'static str], help: &str) -> Option<&'static str> {
        let written: Vec<_> = keys.iter().copied().filter(|key| self.has(key)).collect();
        match written.as_slice() {
            &[key] => Some(key),
            [] => {
                let wrong = Wrong::new(format!("`{}` has none of {}", self.name, quoted(keys)));
                self.miss(keys, wrong.help(help));
                None
            }
            &[first, second, ..] => {
                let wrong = Wrong::new(format!("`{}` has both `{first}` and `{second}`", self.name));
                self.tell(self.place_of(second), wrong.help(help));
                None
            }
        }
    }

    /// Tells of a section that has neither of two keys; `help` says how one is written.
    pub(crate) fn at_least_one(&self, keys: [&'static str; 2], help: &str) {
        self.rule(|| Rule::AnyOf(keys.to_vec()));
        if !keys.iter().any(|key| self.has(key)) {
            let [one, other] = keys;
            let wrong = Wrong::new(format!("`{}` has neither `{one}` nor `{other}`", self.name));
            self.miss(&keys, wrong.help(help));
        }
    }

    /// Tells every key nobody asked for.
    pub(crate) fn close(&self) {
        let keys = self.table.iter().flat_map(|(table, _)| table.keys());
        for key in keys.filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            self.tell_unknown(key.get_ref(), &self.known);
        }
    }

    fn tell_unknown(&self, key: &str, known: &[&str]) {
        let wrong = Wrong::new(format!("unknown key `{}`", self.full(key)));
        let near = nearest(key, known);
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys are {}", quoted(known)),
        };
        // Even where that one is there too: a header below it makes a table that lacks what this one has.
        if let Some(near) = near {
            self.reading.misspelt.borrow_mut().push(under(&self.path, near));
        }
        self.tell(self.place_of_key(key), wrong.help(help));
    }

    /// Where a key itself stands, or the section if it is not written.
    fn place_of_key(&self, key: &str) -> Place {
        let written = self.table.as_ref().and_then(|(table, _)| table.get_key_value(key));
        written.map_or_else(|| self.place(), |(key, _)| self.reading.source.place(key.span()))
    }

    /// The whole section as a fault of the mock, whose keys and schema are another module's.
    pub(crate) fn fault(&self, schema: impl FnOnce() -> Json) -> Option<FaultRule> {
        self.rule(|| Rule::Whole(schema()));
        let keys = self.table.iter().flat_map(|(table, _)| table.iter());
        let written = keys.map(|(key, value)| (key.get_ref().as_ref(), as_written(value.get_ref())));
        let rule = FaultRule::read(written).map_err(|wrong| self.tell_fault(&wrong)).ok()?;
        self.note_fault(&rule);
        Some(rule)
    }

    /// Notes every key of a fault, those that hold by default too.
    fn note_fault(&self, rule: &FaultRule) {
        let Ok(Json::Object(holds)) = serde_json::to_value(rule) else {
            return;
        };
        let keys = RULE_KEYS.iter().chain(Fault::own_keys(rule.fault.id()).unwrap_or_default());
        for (key, holds) in keys.filter_map(|key| Some((*key, holds.get(*key)?))) {
            let path = under(&self.path, key);
            self.note(match self.value(key) {
                Some(value) => Asked::written(path, value, self.reading.source, holds.is_string()),
                None => Asked::unwritten(path, Some(as_toml(holds))),
            });
        }
    }

    fn tell_fault(&self, wrong: &InvalidFault) {
        let key = wrong.key().unwrap_or_default();
        if let InvalidFault::UnknownKey { known, .. } = wrong {
            return self.tell_unknown(key, known);
        }
        let near = || wrong.choice().and_then(|(found, known)| nearest(found, &known));
        let help = match wrong {
            InvalidFault::Duration { cause, .. } => Some(repair(cause)),
            InvalidFault::Kind { .. } => {
                let text = self.value(key).and_then(|value| value.get_ref().as_str());
                text.and_then(|text| unquoted(text, is_number))
            }
            _ => near().map(|near| format!("did you mean `{near}`?")),
        };
        let message = match wrong {
            InvalidFault::Missing { .. } => format!("`{}` is missing", self.full(key)),
            wrong => wrong.to_string(),
        };
        let place = match wrong {
            InvalidFault::UnknownPoint { point } => self.place_of_element(key, point, 0),
            InvalidFault::Impossible { point, .. } => self.place_of_element(key, point.as_str(), 0),
            InvalidFault::Twice { point } => self.place_of_element(key, point.as_str(), 1),
            _ => self.place_of(key),
        };
        self.tell(place, Wrong { help, ..Wrong::new(message) });
    }
}

/// A value as rules of faults are read from.
fn as_written<'s>(value: &'s DeValue<'s>) -> Written<'s> {
    match value {
        DeValue::String(text) => Written::Text(text.as_ref().into()),
        DeValue::Integer(number) if number.radix() == 10 => as_number(number.as_str()),
        DeValue::Float(number) => as_number(number.as_str()),
        DeValue::Array(values) => {
            let texts: Option<Vec<_>> =
                values.iter().map(|text| text.get_ref().as_str().map(Into::into)).collect();
            texts.map_or(Written::Other, Written::Texts)
        }
        _ => Written::Other,
    }
}

fn as_number(text: &str) -> Written<'static> {
    text.parse().map_or(Written::Other, Written::Number)
}

/// A key below a path, dotted.
fn under(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
