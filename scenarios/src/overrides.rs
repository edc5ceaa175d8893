//! Values given elsewhere than in the file: `fleet.devices=500` in place of what it says.
//!
//! An override is spliced into the text where its value stands, and every splice is remembered, so
//! a mistake found afterwards is still told by the line of the file, or by what the override came from.

use crate::diagnostic::{Diagnostic, Place};
use crate::duplicate;
use crate::setting::{Origin, on_one_line, quoted};
use std::fmt;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A value given for one key of a scenario. Of several for the same key, the last holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    path: Vec<String>,
    value: String,
    given: String,
    source: String,
}

/// Why a text is no override.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOverride {
    /// There is no `=` in it.
    #[error("`{text}` is not of the form `key=value`")]
    NoValue {
        /// The text as given.
        text: String,
    },
    /// What stands before the `=` is no dotted key.
    #[error("`{key}` is not a key such as `fleet.devices`")]
    Key {
        /// The key as given.
        key: String,
    },
}

impl Override {
    /// Parses `dotted.key=value` of the command line; a value that is no TOML is taken as text.
    pub fn parse(text: &str) -> Result<Self, InvalidOverride> {
        Self::from_source("--set", text)
    }

    /// Parses `dotted.key=value` as given by `source`, which diagnostics and [`Origin`] name: `rollcall.toml:3`, a
    /// variable of the environment, `--set`.
    pub fn from_source(source: &str, text: &str) -> Result<Self, InvalidOverride> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(InvalidOverride::NoValue { text: text.to_owned() });
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if !path.iter().all(|part| is_bare_key(part)) {
            return Err(InvalidOverride::Key { key: key.to_owned() });
        }
        let (value, given, source) = (as_toml(value.trim()), text.to_owned(), source.to_owned());
        Ok(Self { path, value, given, source })
    }
}

impl Override {
    fn place(&self) -> Place {
        Place::Set(format!("{} {self}", self.source))
    }
}

impl std::str::FromStr for Override {
    type Err = InvalidOverride;
    fn from_str(text: &str) -> Result<Self, InvalidOverride> {
        Self::parse(text)
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.given)
    }
}

pub(crate) fn is_bare_key(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// A value of TOML as it stands, or the text quoted; on one line, since that is where it is spliced into. A comment
/// after a value is no part of it, and would end what comes after it.
pub(crate) fn as_toml(value: &str) -> String {
    match DeValue::parse(value) {
        Ok(parsed) if parsed.span() != (0..value.len()) => quoted(value),
        Ok(parsed) if value.contains(['\n', '\r']) => on_one_line(parsed.get_ref()),
        Ok(_) => value.to_owned(),
        Err(_) => quoted(value),
    }
}

/// The text of a scenario with overrides spliced in, and where every byte of it came from.
pub(crate) struct Source<'a> {
    file: &'a str,
    original: &'a str,
    overrides: &'a [Override],
    text: String,
    splices: Vec<Splice>,
    /// Where the lines of the original end.
    line_ends: Vec<usize>,
}

/// `removed` bytes at `at` gave way to `inserted` bytes of the override `by`.
struct Splice {
    at: usize,
    removed: usize,
    inserted: usize,
    by: usize,
}

/// Where a value goes: in place of `range`, between `before` and `after`.
struct Slot {
    range: Range<usize>,
    before: String,
    after: &'static str,
}

impl<'a> Source<'a> {
    /// Splices the overrides into the text, in order; the text has to be TOML.
    pub(crate) fn new(
        file: &'a str,
        original: &'a str,
        overrides: &'a [Override],
    ) -> Result<Self, Diagnostic> {
        let text = original.to_owned();
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        let mut source = Self { file, original, overrides, text, splices: Vec::new(), line_ends };
        source.parsed()?;
        for (by, given) in overrides.iter().enumerate() {
            source.splice(by, given)?;
        }
        Ok(source)
    }

    /// No file, for who only asks what could be written.
    pub(crate) fn nothing() -> Self {
        let (text, splices, line_ends) = (String::new(), Vec::new(), Vec::new());
        Self { file: "", original: "", overrides: &[], text, splices, line_ends }
    }

    /// The table the text spells.
    pub(crate) fn parsed(&self) -> Result<DeTable<'_>, Diagnostic> {
        let table = DeTable::parse(&self.text).map_err(|error| Diagnostic {
            place: self.place(error.span().unwrap_or(0..0)),
            message: error.message().to_owned(),
            help: duplicate::help(&self.text, &error),
        })?;
        Ok(table.into_inner())
    }

    fn splice(&mut self, by: usize, given: &Override) -> Result<(), Diagnostic> {
        let refuse = |refusal: Refusal| Diagnostic {
            place: given.place(),
            message: refusal.message,
            help: Some(refusal.help),
        };
        let slots = slots(&self.parsed()?, &self.text, &given.path).map_err(refuse)?;
        for slot in slots {
            let inserted = format!("{}{}{}", slot.before, given.value, slot.after);
            let mut text = self.text.clone();
            text.replace_range(slot.range.clone(), &inserted);
            if DeTable::parse(&text).is_ok() {
                let (at, removed) = (slot.range.start, slot.range.len());
                self.text = text;
                self.splices.push(Splice { at, removed, inserted: inserted.len(), by });
                return Ok(());
            }
        }
        Err(refuse(Refusal::new(format!("`{}` cannot be set here", given.path.join(".")))))
    }

    /// The override that put the byte at `offset` there, or where it stands in the file.
    fn origin(&self, mut offset: usize) -> Result<usize, &Override> {
        for splice in self.splices.iter().rev() {
            if offset >= splice.at + splice.inserted {
                offset = offset - splice.inserted + splice.removed;
            } else if offset >= splice.at
                && let Some(given) = self.overrides.get(splice.by)
            {
                return Err(given);
            }
        }
        Ok(offset)
    }

    /// The line of the original that a byte of it is on, from 1.
    fn line(&self, offset: usize) -> usize {
        self.line_ends.partition_point(|end| *end < offset) + 1
    }

    /// The place of a range of the spliced text.
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        match self.origin(span.start) {
            Err(given) => given.place(),
            Ok(start) => {
                let end = self.origin(span.end).unwrap_or(start);
                Place::on_line(self.file, self.original, self.line(start), start, end)
            }
        }
    }

    /// The place of the file as a whole.
    pub(crate) fn top(&self) -> Place {
        Place::in_text(self.file, self.original, 0, 0)
    }

    /// How the value at `span` is spelled.
    pub(crate) fn spelling(&self, span: Range<usize>) -> Option<&str> {
        self.text.get(span)
    }

    /// Who wrote the value at `span`.
    pub(crate) fn origin_of(&self, span: Range<usize>) -> Origin {
        match self.origin(span.start) {
            Err(given) => Origin::Override { given: given.source.clone() },
            Ok(start) => Origin::File { line: self.line(start) },
        }
    }

    /// What was typed for the value at `span`, if an override gave it.
    pub(crate) fn typed(&self, span: Range<usize>) -> Option<&str> {
        self.origin(span.start).err().and_then(|_| self.text.get(span))
    }
}

/// Why a value goes nowhere.
struct Refusal {
    message: String,
    help: String,
}

impl Refusal {
    fn new(message: String) -> Self {
        Self { message, help: "write it into the scenario file".to_owned() }
    }
}

/// Where the value of `path` may go, best first: over the one that is there, into its table, into a
/// new table, or as a dotted key into the nearest table above. The first that leaves TOML is right.
fn slots(root: &DeTable<'_>, text: &str, path: &[String]) -> Result<Vec<Slot>, Refusal> {
    let Some((key, tables)) = path.split_last() else {
        return Err(Refusal::new("no key was given".to_owned()));
    };
    let mut parent = None;
    let mut in_array = false;
    let mut dotted = Slot { range: 0..0, before: format!("{} = ", path.join(".")), after: "\n" };
    for (depth, part) in path.iter().enumerate() {
        let value = match parent {
            None if depth == 0 => root.get(part.as_str()),
            None => None,
            Some(parent) => child(parent, part),
        };
        let (above, below) = path.split_at(depth + 1);
        let Some(value) = value else {
            parent = None;
            continue;
        };
        if below.is_empty() {
            return over(value.get_ref(), value.span(), text, path).map(|slot| vec![slot]);
        }
        if !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
            let (path, above) = (path.join("."), above.join("."));
            let message = format!("`{path}` is no key: `{above}` is a value, not a table");
            return Err(Refusal { message, help: format!("set `{above}` itself") });
        }
        in_array |= value.get_ref().is_array();
        dotted = within(value, text, &below.join(".")).unwrap_or(dotted);
        parent = Some(value.get_ref());
    }
    // No header can name an element: `[a.0]` would be a table `0` in the last one.
    if in_array {
        return Ok(vec![dotted]);
    }
    let header = tables.join(".");
    let end = text.len()..text.len();
    let table = Slot { range: end, before: format!("\n[{header}]\n{key} = "), after: "\n" };
    // A table of its own reads better, but the one above may be closed to it, or written in dotted keys.
    Ok(if parent.is_some() || tables.is_empty() { vec![dotted, table] } else { vec![table, dotted] })
}

/// The slot of a new key in a table that is written with braces or under a header.
fn within(table: &toml::Spanned<DeValue<'_>>, text: &str, key: &str) -> Option<Slot> {
    let written = text.get(table.span()).filter(|_| table.get_ref().is_table())?;
    if written.starts_with('{') {
        let at = table.span().start + 1;
        return Some(Slot { range: at..at, before: format!("{key} = "), after: "," });
    }
    let header = table.span().end;
    let line = text.get(header..).and_then(|rest| rest.find('\n'));
    let at = line.map_or(text.len(), |end| header + end);
    written.starts_with('[').then(|| Slot { range: at..at, before: format!("\n{key} = "), after: "" })
}

/// A key of a table, or an element of an array by its number from 0.
fn child<'t, 'i>(value: &'t DeValue<'i>, part: &str) -> Option<&'t toml::Spanned<DeValue<'i>>> {
    match value {
        DeValue::Table(table) => table.get(part),
        DeValue::Array(array) => part.parse().ok().and_then(|number: usize| array.get(number)),
        _ => None,
    }
}

/// A value is replaced; a table written under a header is not a value.
fn over(value: &DeValue<'_>, range: Range<usize>, text: &str, path: &[String]) -> Result<Slot, Refusal> {
    let inline = match value {
        DeValue::Table(_) => text.get(range.clone()).is_some_and(|text| text.starts_with('{')),
        DeValue::Array(array) => !array.iter().any(|element| element.span() == range),
        _ => true,
    };
    let whole = Slot { range, before: String::new(), after: "" };
    inline
        .then_some(whole)
        .ok_or_else(|| Refusal::new(format!("`{}` is a table, not a value", path.join("."))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(text: &str, given: &[&str]) -> String {
        let overrides: Vec<_> =
            given.iter().map(|text| Override::parse(text).expect("an override")).collect();
        Source::new("x.toml", text, &overrides).map(|source| source.text).expect("splices")
    }

    #[test]
    fn a_value_is_replaced_where_it_stands() {
        let text = "a = 1 # one\n[b]\nc = \"x\"\nd = [1,\n2]\n";
        let expected = "a = 2 # one\n[b]\nc = \"20s\"\nd = [3]\n";
        assert_eq!(spliced(text, &["a=2", "b.c=20s", "b.d=[3]"]), expected);
        assert_eq!(spliced("[[a]]\nb = 1\n[[a]]\nb = 2\n", &["a.1.b=3"]), "[[a]]\nb = 1\n[[a]]\nb = 3\n");
    }

    #[test]
    fn a_value_of_toml_goes_in_as_it_is_and_any_other_as_text() {
        for (given, spliced_in) in [
            ("\"a#b\"", "\"a#b\""),
            ("'a#b'", "'a#b'"),
            ("[\"a#b\"]", "[\"a#b\"]"),
            ("a#b", "\"a#b\""),
            ("#", "\"#\""),
            ("5 # five", "\"5 # five\""),
            ("[1, # one\n 2]", "[1, 2]"),
            ("\"\"\"a\nb\"\"\"", "\"a\\u000Ab\""),
            ("a\nb", "\"a\\u000Ab\""),
            ("a = 1", "\"a = 1\""),
            ("{ a = [1, 2] }", "{ a = [1, 2] }"),
        ] {
            assert_eq!(
                spliced("v = 0 # why\n", &[&format!("v={given}")]),
                format!("v = {spliced_in} # why\n")
            );
        }
    }

    #[test]
    fn a_missing_key_is_added_to_its_table() {
        assert_eq!(spliced("[b]\nc = 1\n", &["a=true"]), "a = true\n[b]\nc = 1\n");
        assert_eq!(spliced("[b] # why\nc = 1\n", &["b.d=2"]), "[b] # why\nd = 2\nc = 1\n");
        assert_eq!(
            spliced("[[a]]\nb = 1\n[[a]]\nb = 2\n", &["a.0.c=3"]),
            "[[a]]\nc = 3\nb = 1\n[[a]]\nb = 2\n"
        );
        assert_eq!(spliced("[[a]]\nb = 1\n", &["a.0.c.d=3"]), "[[a]]\nc.d = 3\nb = 1\n");
        assert_eq!(spliced("a = [{ b = 1 }]\n", &["a.0.c=3"]), "a = [{c = 3, b = 1 }]\n");
        assert_eq!(spliced("[b.x]\nc = 1\n[b]\n", &["b.d=2"]), "[b.x]\nc = 1\n[b]\nd = 2\n");
        assert_eq!(spliced("b = {}\n", &["b.d=2"]), "b = {d = 2,}\n");
        assert_eq!(spliced("a = 1", &["b.c=2", "b.d=3"]), "a = 1\n[b]\nd = 3\nc = 2\n");
    }

    #[test]
    fn a_key_is_dotted_into_the_nearest_table_where_no_header_can_stand() {
        assert_eq!(spliced("b.c = 1\n", &["b.d=2"]), "b.d = 2\nb.c = 1\n");
        assert_eq!(spliced("[b]\nc.x = 1\n", &["b.c.y=2"]), "[b]\nc.y = 2\nc.x = 1\n");
        assert_eq!(spliced("b = { c = 1 }\n", &["b.d.e=2"]), "b = {d.e = 2, c = 1 }\n");
        assert_eq!(spliced("b.c = { x = 1 }\n", &["b.c.y.z=2"]), "b.c = {y.z = 2, x = 1 }\n");
        assert_eq!(spliced("[b.x]\nc = 1\n", &["b.d=2"]), "[b.x]\nc = 1\n\n[b]\nd = 2\n");
    }

    #[test]
    fn places_survive_splices_before_them() {
        let text = "a = 1\n[b]\nc = 1\nd = 2\n";
        let overrides =
            ["b.c=\"much longer\"", "x=1", "b.new=1"].map(|text| Override::parse(text).expect("an override"));
        let source = Source::new("x.toml", text, &overrides).expect("splices");
        let at = source.text.find("d = 2").expect("still there");
        assert_eq!(source.place(at..at + 1), Place::in_text("x.toml", text, 16, 17));
        assert!(matches!(source.place(at..at + 1), Place::Line { line: 4, column: 1, .. }));
        let at = source.text.find("much").expect("spliced");
        assert_eq!(source.place(at..at + 1), Place::Set("--set b.c=\"much longer\"".to_owned()));
    }

    #[test]
    fn an_override_that_is_none_is_refused() {
        let (text, key) = (|t: &str| t.to_owned(), |k: &str| InvalidOverride::Key { key: k.to_owned() });
        assert_eq!(Override::parse("a.b"), Err(InvalidOverride::NoValue { text: text("a.b") }));
        for bad in ["", "a..b", "a b", "a.[b]"] {
            assert_eq!(Override::parse(&format!("{bad}=1")), Err(key(bad)));
        }
        let table = [Override::parse("b=1").expect("an override")];
        let refused = Source::new("x.toml", "[b]\nc = 1\n", &table).map(|source| source.text);
        assert_eq!(refused.map_err(|d| d.message), Err("`b` is a table, not a value".to_owned()));
        let below = [Override::parse("b.c.d=1").expect("an override")];
        let refused = Source::new("x.toml", "[b]\nc = 1\n", &below).map(|source| source.text);
        let message = "`b.c.d` is no key: `b.c` is a value, not a table".to_owned();
        assert_eq!(refused.map_err(|d| d.message), Err(message));
        let beyond = [Override::parse("b.1.c=1").expect("an override")];
        let refused = Source::new("x.toml", "[[b]]\nc = 1\n", &beyond).map(|source| source.text);
        assert_eq!(refused.map_err(|d| d.message), Err("`b.1.c` cannot be set here".to_owned()));
    }
}
