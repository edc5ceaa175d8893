//! Reads a table key by key, and tells every mistake in it rather than the first.
//!
//! A section knows which keys were asked for, so what is left over is unknown and is told with the
//! nearest key that exists.

use crate::diagnostic::{Diagnostic, Place, nearest};
use crate::overrides::Source;
use sim_protocol::delay::Delay;
use sim_protocol::duration::{InvalidDuration, parse_duration, written};
use sim_protocol::faults::{FaultRule, InvalidFault, Written};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a value; the key is named by the reader.
pub(crate) struct Wrong {
    message: String,
    help: Option<String>,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// A value as found, and as typed if it was given on the command line.
#[derive(Clone, Copy)]
pub(crate) struct Found<'s> {
    value: &'s DeValue<'s>,
    typed: Option<&'s str>,
}

impl<'s> Found<'s> {
    fn kind(self) -> &'static str {
        match self.value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        }
    }

    /// What is said of a value of another kind than the one wanted.
    pub(crate) fn instead_of(self, wanted: &str) -> Wrong {
        Wrong::new(format!("must be {wanted}, found {}", self.kind()))
    }
}

/// A table that is being read.
pub(crate) struct Section<'s> {
    source: &'s Source<'s>,
    found: &'s RefCell<Vec<Diagnostic>>,
    name: String,
    table: Option<(&'s DeTable<'s>, Range<usize>)>,
    known: Vec<&'static str>,
}

impl<'s> Section<'s> {
    /// The table at the top.
    pub(crate) fn root(
        source: &'s Source<'s>,
        table: &'s DeTable<'s>,
        found: &'s RefCell<Vec<Diagnostic>>,
    ) -> Self {
        Self { source, found, name: String::new(), table: Some((table, 0..0)), known: Vec::new() }
    }

    fn same(&self, name: String, table: Option<(&'s DeTable<'s>, Range<usize>)>) -> Self {
        Self { source: self.source, found: self.found, name, table, known: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.as_ref().and_then(|(table, _)| table.get(key))
    }

    /// The section as its header spells it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Where the section starts: its header, or the top of the file.
    pub(crate) fn place(&self) -> Place {
        match &self.table {
            Some((_, span)) if !span.is_empty() => self.source.place(span.clone()),
            _ => self.source.top(),
        }
    }

    /// Where the value of a key stands, or the section if it has none.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        let value = self.table.as_ref().and_then(|(table, _)| table.get(key));
        value.map_or_else(|| self.place(), |value| self.source.place(value.span()))
    }

    /// Whether the section itself is written.
    pub(crate) fn written(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the key is written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.as_ref().is_some_and(|(table, _)| table.contains_key(key))
    }

    /// Notes a mistake.
    pub(crate) fn tell(&self, place: Place, wrong: Wrong) {
        let Wrong { message, help } = wrong;
        self.found.borrow_mut().push(Diagnostic { place, message, help });
    }

    fn read<T>(
        &self,
        key: &str,
        value: &'s Spanned<DeValue<'s>>,
        read: impl FnOnce(Found<'s>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let found = Found { value: value.get_ref(), typed: self.source.typed(value.span()) };
        let told = |wrong: Wrong| {
            let message = format!("`{key}` {}", wrong.message);
            self.tell(self.source.place(value.span()), Wrong { message, help: wrong.help });
        };
        read(found).map_err(told).ok()
    }

    /// The value of a key that may be left out.
    pub(crate) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Found<'s>) -> Result<T, Wrong>,
    ) -> Option<Option<T>> {
        match self.take(key) {
            None => Some(None),
            Some(value) => self.read(key, value, read).map(Some),
        }
    }

    /// The value of a key, or `default`.
    pub(crate) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(Found<'s>) -> Result<T, Wrong>,
    ) -> Option<T> {
        self.optional(key, read).map(|value| value.unwrap_or(default))
    }

    /// The value of a key that has to be there.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Found<'s>) -> Result<T, Wrong>,
    ) -> Option<T> {
        match self.take(key) {
            Some(value) => self.read(key, value, read),
            None => {
                self.tell(self.place(), Wrong::new(format!("`{}` is missing", self.full(key))));
                None
            }
        }
    }

    /// A table below this one; one that is not written reads as empty.
    pub(crate) fn section(&mut self, key: &'static str) -> Self {
        let table = self.take(key).and_then(|value| {
            let table = value.get_ref().as_table().map(|table| (table, value.span()));
            if table.is_none() {
                let wrong = Wrong::new(format!("`{key}` must be a table"));
                self.tell(
                    self.source.place(value.span()),
                    wrong.help(format!("write `[{}]`", self.full(key))),
                );
            }
            table
        });
        self.same(self.full(key), table)
    }

    /// The tables of an array of tables; none if it is not written.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let name = self.full(key);
        let elements = value.get_ref().as_array().into_iter().flat_map(|array| array.iter());
        let tables: Vec<_> = elements
            .filter_map(|element| element.get_ref().as_table().map(|table| (table, element.span())))
            .map(|table| self.same(name.clone(), Some(table)))
            .collect();
        if value.get_ref().as_array().is_none_or(|array| array.len() != tables.len()) {
            let wrong = Wrong::new(format!("`{key}` must be tables")).help(format!("write `[[{name}]]`"));
            self.tell(self.source.place(value.span()), wrong);
        }
        tables
    }

    /// The one table of `keys` that is written.
    pub(crate) fn variant(&mut self, keys: &[&'static str]) -> Option<(&'static str, Self)> {
        let written: Vec<_> = keys.iter().copied().filter(|key| self.has(key)).collect();
        self.known.extend(keys);
        let headers = keys.iter().map(|key| format!("`[{}]`", self.full(key))).collect::<Vec<_>>();
        let choice = format!("write one of {}", headers.join(", "));
        match written.as_slice() {
            [] => {
                self.tell(self.place(), Wrong::new(format!("`{}` is missing", self.name)).help(choice));
                None
            }
            &[key] => Some((key, self.section(key))),
            &[first, second, ..] => {
                let message = format!("`{}` is both `{first}` and `{second}`", self.name);
                let last = keys.iter().copied().filter(|key| self.has(key)).map(|key| self.place_of(key));
                let place = last.max_by_key(Place::order).unwrap_or_else(|| self.place());
                self.tell(place, Wrong::new(message).help(choice));
                None
            }
        }
    }

    /// The one key of `keys` that is written; `help` says how.
    pub(crate) fn one_key(&self, keys: &[&'static str], help: &str) -> Option<&'static str> {
        let written: Vec<_> = keys.iter().copied().filter(|key| self.has(key)).collect();
        match written.as_slice() {
            &[key] => Some(key),
            [] => {
                let wrong = Wrong::new(format!("`{}` has none of {}", self.name, quoted(keys)));
                self.tell(self.place(), wrong.help(help));
                None
            }
            &[first, second, ..] => {
                let wrong = Wrong::new(format!("`{}` has both `{first}` and `{second}`", self.name));
                self.tell(self.place_of(second), wrong.help(help));
                None
            }
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
        let help = match nearest(key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys are {}", quoted(known)),
        };
        self.tell(self.place_of_key(key), wrong.help(help));
    }

    /// Where a key itself stands, or the section if it is not written.
    fn place_of_key(&self, key: &str) -> Place {
        let written = self.table.as_ref().and_then(|(table, _)| table.get_key_value(key));
        written.map_or_else(|| self.place(), |(key, _)| self.source.place(key.span()))
    }

    /// The whole section as a fault of the mock.
    pub(crate) fn fault(&self) -> Option<FaultRule> {
        let keys = self.table.iter().flat_map(|(table, _)| table.iter());
        let written = keys.map(|(key, value)| (key.get_ref().as_ref(), as_written(value.get_ref())));
        FaultRule::read(written).map_err(|wrong| self.tell_fault(&wrong)).ok()
    }

    fn tell_fault(&self, wrong: &InvalidFault) {
        let key = wrong.key().unwrap_or_default();
        if let InvalidFault::UnknownKey { known, .. } = wrong {
            return self.tell_unknown(key, known);
        }
        let near = wrong.choice().and_then(|(found, known)| nearest(found, &known));
        let help = near.map(|near| format!("did you mean `{near}`?"));
        let message = match wrong {
            InvalidFault::Missing { .. } => format!("`{}` is missing", self.full(key)),
            wrong => wrong.to_string(),
        };
        self.tell(self.place_of(key), Wrong { message, help });
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

/// Words as a message lists them.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Text; on the command line a number counts as the text that was typed.
pub(crate) fn text(found: Found<'_>) -> Result<String, Wrong> {
    match (found.value, found.typed) {
        (DeValue::String(text), _) if text.trim().is_empty() => Err(Wrong::new("is empty")),
        (DeValue::String(text), _) => Ok(text.clone().into_owned()),
        (DeValue::Integer(_) | DeValue::Float(_), Some(typed)) => Ok(typed.to_owned()),
        _ => Err(found.instead_of("text")),
    }
}

/// A whole number within a range.
pub(crate) fn whole(range: RangeInclusive<u64>) -> impl Fn(Found<'_>) -> Result<u64, Wrong> {
    move |found| {
        let DeValue::Integer(number) = found.value else {
            return Err(found.instead_of("a whole number"));
        };
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let (start, end) = (range.start(), range.end());
        let limits = format!("must be between {start} and {end}, found {number}");
        value.filter(|value| range.contains(value)).ok_or_else(|| Wrong::new(limits))
    }
}

/// A number as it is written.
pub(crate) fn number<'s>(found: Found<'s>) -> Result<&'s str, Wrong> {
    match found.value {
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str()),
        DeValue::Float(number) => Ok(number.as_str()),
        _ => Err(found.instead_of("a number")),
    }
}

/// `true` or `false`.
pub(crate) fn flag(found: Found<'_>) -> Result<bool, Wrong> {
    match found.value {
        DeValue::Boolean(value) => Ok(*value),
        _ => Err(found.instead_of("`true` or `false`")),
    }
}

/// A finite number, 0 or above.
pub(crate) fn not_negative(found: Found<'_>) -> Result<f64, Wrong> {
    let number = number(found)?;
    let value = number.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| Wrong::new(format!("must be 0 or more and finite, found {number}")))
}

/// A number within a range.
pub(crate) fn between(range: RangeInclusive<f64>) -> impl Fn(Found<'_>) -> Result<f64, Wrong> {
    move |found| {
        let number = number(found)?;
        let value = number.parse().ok().filter(|value| range.contains(value));
        let (start, end) = (range.start(), range.end());
        value.ok_or_else(|| Wrong::new(format!("must be between {start} and {end}, found {number}")))
    }
}

/// A finite number above 0.
pub(crate) fn rate(found: Found<'_>) -> Result<f64, Wrong> {
    let number = number(found)?;
    let value = number.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| Wrong::new(format!("must be above 0 and finite, found {number}")))
}

/// A part of a whole: above 0 and at most 1.
pub(crate) fn share(found: Found<'_>) -> Result<f64, Wrong> {
    let number = number(found)?;
    let value = number.parse().ok().filter(|value: &f64| *value > 0.0 && *value <= 1.0);
    value.ok_or_else(|| Wrong::new(format!("must be above 0 and at most 1, found {number}")))
}

/// A duration with its unit, within a range.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(Found<'_>) -> Result<Duration, Wrong> {
    move |found| {
        let example = "write a number with a unit, such as \"250ms\", \"20s\", \"5m\", \"2h\" or \"30d\"";
        let given = match found.value {
            DeValue::String(given) => given.as_ref(),
            DeValue::Integer(number) => number.as_str(),
            _ => return Err(found.instead_of("a duration").help(example)),
        };
        let wrong = |cause: InvalidDuration| Wrong::new(format!("is no duration: {cause}")).help(example);
        let value = parse_duration(given).map_err(wrong)?;
        let (start, end) = (written(*range.start()), written(*range.end()));
        let limits = format!("must be between {start} and {end}, found {given}");
        range.contains(&value).then_some(value).ok_or_else(|| Wrong::new(limits))
    }
}

/// A duration that goes out on the wire in seconds.
pub(crate) fn whole_seconds(
    range: RangeInclusive<Duration>,
) -> impl Fn(Found<'_>) -> Result<Duration, Wrong> {
    let duration = duration(range);
    move |found| {
        let value = duration(found)?;
        let whole = value.subsec_nanos() == 0;
        whole.then_some(value).ok_or_else(|| Wrong::new("must be whole seconds, as it is on the wire"))
    }
}

/// How long something takes, as a distribution.
pub(crate) fn delay(found: Found<'_>) -> Result<Delay, Wrong> {
    let given = match found.value {
        DeValue::String(given) => given.as_ref(),
        DeValue::Integer(number) => number.as_str(),
        _ => return Err(found.instead_of("a delay")),
    };
    given.parse().map_err(|cause| Wrong::new(format!("is no delay: {cause}")))
}

/// One of the words given.
pub(crate) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(Found<'_>) -> Result<T, Wrong> {
    move |found| {
        let given = text(found)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == given) {
            return Ok(*value);
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        let wrong = Wrong::new(format!("must be one of {}, found `{given}`", quoted(&words)));
        Err(match nearest(&given, &words) {
            Some(near) => wrong.help(format!("did you mean `{near}`?")),
            None => wrong,
        })
    }
}

/// A text that is parsed into something of its own.
pub(crate) fn parsed<T: FromStr<Err: Display>>(found: Found<'_>) -> Result<T, Wrong> {
    text(found)?.parse().map_err(|cause: T::Err| Wrong::new(format!("is not right: {cause}")))
}

/// Texts, at least one and no two alike.
pub(crate) fn texts(found: Found<'_>) -> Result<Vec<String>, Wrong> {
    several(text)(found)
}

/// Values, at least one and no two written alike.
pub(crate) fn several<T>(
    read: impl Fn(Found<'_>) -> Result<T, Wrong>,
) -> impl Fn(Found<'_>) -> Result<Vec<T>, Wrong> {
    move |found| {
        let DeValue::Array(array) = found.value else {
            return Err(found.instead_of("an array of text"));
        };
        let each = || array.iter().map(|element| Found { value: element.get_ref(), typed: None });
        let words = each().map(text).collect::<Result<Vec<_>, _>>()?;
        if words.is_empty() {
            return Err(Wrong::new("must name at least one"));
        }
        let twice =
            words.iter().enumerate().find(|(at, word)| words.iter().take(*at).any(|other| other == *word));
        match twice {
            Some((_, word)) => Err(Wrong::new(format!("names `{word}` twice"))),
            None => each().map(&read).collect(),
        }
    }
}
