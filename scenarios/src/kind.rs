//! What values can be: how each kind is read, what a schema says of it, and how it is written.
//!
//! One definition for all three, so that the parser, the schema and the resolved values cannot disagree.

use crate::diagnostic::nearest;
use crate::setting::on_one_line;
use crate::template::{InvalidTemplate, Template};
use serde_json::{Value as Json, json};
use sim_protocol::delay::Delay;
use sim_protocol::duration::{InvalidDuration, parse_duration, written};
use sim_protocol::{CaName, EnrollmentGroupId, IdScope};
use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// What is wrong with a value; the key is named by the reader.
pub(crate) struct Wrong {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Where in the value, if not all of it is meant.
    pub(crate) span: Option<Range<usize>>,
}

impl Wrong {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, span: None }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// With the part of the value that is meant.
    fn at(self, span: Range<usize>) -> Self {
        Self { span: Some(span), ..self }
    }

    /// With the known word that is near to the one found, if there is one.
    pub(crate) fn near(self, word: &str, known: &[&str]) -> Self {
        match nearest(word, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }
}

/// A value as found, and as typed if it was given in place of what the file says.
#[derive(Clone, Copy)]
pub(crate) struct Found<'s> {
    pub(crate) value: &'s DeValue<'s>,
    pub(crate) typed: Option<&'s str>,
}

impl Found<'_> {
    fn what(self) -> &'static str {
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
        Wrong::new(format!("must be {wanted}, found {}", self.what()))
    }

    /// Likewise, where the value is right but for the quotes around it.
    fn unquoted_instead_of(self, wanted: &str, is_wanted: impl Fn(&DeValue<'_>) -> bool) -> Wrong {
        let wrong = self.instead_of(wanted);
        match self.value.as_str().and_then(|text| unquoted(text, is_wanted)) {
            Some(help) => wrong.help(help),
            None => wrong,
        }
    }
}

/// What repairs a text that is a value of the kind wanted once its quotes are gone; none if it is not.
pub(crate) fn unquoted(text: &str, is_wanted: impl Fn(&DeValue<'_>) -> bool) -> Option<String> {
    let text = text.trim();
    let value = DeValue::parse(text).ok()?;
    is_wanted(value.get_ref()).then(|| format!("drop the quotes: {text}"))
}

/// Whether a value is a number as keys take it that take fractions.
pub(crate) fn is_number(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Integer(number) => number.radix() == 10,
        DeValue::Float(number) => number.as_str().parse().is_ok_and(f64::is_finite),
        _ => false,
    }
}

/// What the value of a key must be.
pub(crate) trait Kind {
    /// What it is read as.
    type Value;

    fn read(&self, found: Found<'_>) -> Result<Self::Value, Wrong>;

    /// What a JSON Schema says of it. Never refuses what [`Kind::read`] takes, but may take what that refuses.
    fn schema(&self) -> Json;

    /// A value as it is written, but as JSON.
    fn written(&self, value: &Self::Value) -> Json;
}

struct Made<T, S, R, W> {
    schema: S,
    read: R,
    written: W,
    value: PhantomData<fn() -> T>,
}

impl<T, S, R, W> Kind for Made<T, S, R, W>
where
    S: Fn() -> Json,
    R: Fn(Found<'_>) -> Result<T, Wrong>,
    W: Fn(&T) -> Json,
{
    type Value = T;

    fn read(&self, found: Found<'_>) -> Result<T, Wrong> {
        (self.read)(found)
    }

    fn schema(&self) -> Json {
        (self.schema)()
    }

    fn written(&self, value: &T) -> Json {
        (self.written)(value)
    }
}

/// A kind made of its three parts.
pub(crate) fn kind<T>(
    schema: impl Fn() -> Json,
    read: impl Fn(Found<'_>) -> Result<T, Wrong>,
    written: impl Fn(&T) -> Json,
) -> impl Kind<Value = T> {
    Made { schema, read, written, value: PhantomData }
}

/// Words as a message lists them.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Text as it is; one that was typed as a number counts as what was typed.
pub(crate) fn as_text(found: Found<'_>) -> Result<String, Wrong> {
    match (found.value, found.typed) {
        (DeValue::String(text), _) if text.trim().is_empty() => Err(Wrong::new("is empty")),
        (DeValue::String(text), _) => Ok(text.clone().into_owned()),
        (DeValue::Integer(_) | DeValue::Float(_), Some(typed)) => Ok(typed.to_owned()),
        (DeValue::Array(_) | DeValue::Table(_), _) => Err(found.instead_of("text")),
        (value, _) => {
            Err(found.instead_of("text").help(format!("put it in quotes: \"{}\"", on_one_line(value))))
        }
    }
}

/// Text that is not empty.
pub(crate) fn text() -> impl Kind<Value = String> {
    kind(|| json!({"type": "string", "pattern": r"\S"}), as_text, |text| json!(text))
}

/// A whole number within a range.
pub(crate) fn whole(range: RangeInclusive<u64>) -> impl Kind<Value = u64> {
    let (start, end) = range.into_inner();
    kind(
        move || json!({"type": "integer", "minimum": start, "maximum": end}),
        move |found| {
            let DeValue::Integer(number) = found.value else {
                return Err(found.unquoted_instead_of("a whole number", |value| value.is_integer()));
            };
            let value = u64::from_str_radix(number.as_str(), number.radix()).ok();
            let limits = || Wrong::new(format!("must be between {start} and {end}, found {number}"));
            value.filter(|value| (start..=end).contains(value)).ok_or_else(limits)
        },
        |number| json!(number),
    )
}

/// A number as it is written.
fn as_number<'s>(found: Found<'s>) -> Result<&'s str, Wrong> {
    match found.value {
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str()),
        DeValue::Float(number) => Ok(number.as_str()),
        _ => Err(found.unquoted_instead_of("a number", is_number)),
    }
}

/// What is likely to be meant by a number that is no share: its hundredth, if that is one.
pub(crate) fn as_percentage(found: Found<'_>) -> Option<f64> {
    let percent: f64 = match found.value.as_str() {
        Some(text) => text.trim().strip_suffix('%')?.trim_end().parse().ok()?,
        None => as_number(found).ok()?.parse().ok().filter(|number| *number > 1.0)?,
    };
    // Without the noise of its last binary digits.
    let share = (percent * 1e7).round() / 1e9;
    (0.0..=1.0).contains(&share).then_some(share)
}

/// `true` or `false`.
pub(crate) fn flag() -> impl Kind<Value = bool> {
    kind(
        || json!({"type": "boolean"}),
        |found| match found.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(found.unquoted_instead_of("`true` or `false`", |value| value.is_bool())),
        },
        |flag| json!(flag),
    )
}

/// A number that is good, in words `wanted`.
fn good_number(
    schema: Json,
    good: impl Fn(f64) -> bool,
    wanted: impl Fn() -> String,
) -> impl Kind<Value = f64> {
    kind(
        move || schema.clone(),
        move |found| {
            let number = as_number(found)?;
            let value = number.parse().ok().filter(|value| good(*value));
            value.ok_or_else(|| Wrong::new(format!("must be {}, found {number}", wanted())))
        },
        |number| json!(number),
    )
}

/// A finite number, 0 or above.
pub(crate) fn not_negative() -> impl Kind<Value = f64> {
    let schema = json!({"type": "number", "minimum": 0});
    good_number(schema, |value| value.is_finite() && value >= 0.0, || "0 or more and finite".to_owned())
}

/// A number within a range.
pub(crate) fn between(range: RangeInclusive<f64>) -> impl Kind<Value = f64> {
    let (start, end) = range.into_inner();
    let schema = json!({"type": "number", "minimum": start, "maximum": end});
    let wanted = move || format!("between {start} and {end}");
    good_number(schema, move |value| (start..=end).contains(&value), wanted)
}

/// A part of a whole: above 0 and at most 1.
pub(crate) fn share() -> impl Kind<Value = f64> {
    let schema = json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1});
    good_number(schema, |value| value > 0.0 && value <= 1.0, || "above 0 and at most 1".to_owned())
}

/// What happens so many times a second: above 0 and at most `most`.
pub(crate) fn rate(most: f64) -> impl Kind<Value = f64> {
    paced(json!({"type": "number", "exclusiveMinimum": 0, "maximum": most}), most, |rate| {
        (rate > 0.0).then_some(rate).ok_or("above 0 and finite")
    })
}

/// What happens so many times a second, or never: 0 to `most`.
pub(crate) fn rate_or_none(most: f64) -> impl Kind<Value = f64> {
    paced(json!({"type": "number", "minimum": 0, "maximum": most}), most, |rate| {
        (rate >= 0.0).then_some(rate).ok_or("0 or more and finite")
    })
}

fn paced(
    schema: Json,
    most: f64,
    least: impl Fn(f64) -> Result<f64, &'static str>,
) -> impl Kind<Value = f64> {
    kind(
        move || schema.clone(),
        move |found| {
            let number = as_number(found)?;
            let must = |wanted: &str| Wrong::new(format!("must be {wanted}, found {number}"));
            let value = number.parse::<f64>().ok().filter(|value| value.is_finite());
            let rate = least(value.unwrap_or(f64::NAN)).map_err(must)?;
            (rate <= most).then_some(rate).ok_or_else(|| must(&format!("at most {most} a second")))
        },
        |rate| json!(rate),
    )
}

/// A duration as it is written: a whole number and its unit.
const DURATION: &str = r"[0-9]+\s*(ms|s|m|h|d)";

/// A duration with its unit, within a range.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Kind<Value = Duration> {
    let (start, end) = range.into_inner();
    kind(
        || json!({"type": "string", "pattern": format!("^{DURATION}$"), "examples": ["20s"]}),
        move |found| {
            let given = match found.value {
                DeValue::String(given) => given.as_ref(),
                DeValue::Integer(number) => number.as_str(),
                _ => return Err(found.instead_of("a duration").help(UNITS)),
            };
            let value = parse_duration(given)
                .map_err(|cause| Wrong::new(format!("is no duration: {cause}")).help(repair(&cause)))?;
            let limits = || {
                let (start, end) = (written(start), written(end));
                Wrong::new(format!("must be between {start} and {end}, found {given}"))
            };
            (start..=end).contains(&value).then_some(value).ok_or_else(limits)
        },
        |duration| if duration.is_zero() { json!("0s") } else { json!(written(*duration)) },
    )
}

const UNITS: &str = "write a number with a unit, such as \"250ms\", \"20s\", \"5m\", \"2h\" or \"30d\"";

/// What makes a duration of it, with the number that was found.
pub(crate) fn repair(cause: &InvalidDuration) -> String {
    let with_unit = |number: &str| {
        format!("write \"{}s\" for seconds; units are `ms`, `s`, `m`, `h`, `d`", number.trim())
    };
    match cause {
        InvalidDuration::NoUnit { text } => with_unit(text),
        InvalidDuration::Unit { text, unit } => {
            match (in_milliseconds(text), text.strip_suffix(unit.as_str())) {
                (Some(whole), _) => format!("write \"{whole}\": the number is a whole one"),
                (None, Some(number)) if !unit.starts_with('.') => with_unit(number),
                _ => UNITS.to_owned(),
            }
        }
        InvalidDuration::Number { .. } | InvalidDuration::TooLong { .. } => UNITS.to_owned(),
    }
}

/// What was written with a fraction, to the millisecond; none if it is nothing of the kind.
fn in_milliseconds(text: &str) -> Option<String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let one = parse_duration(&format!("1{unit}")).ok()?;
    let number: f64 = number.trim().parse().ok()?;
    let milliseconds = (number * one.as_secs_f64() * 1000.0).round();
    // Above that a fraction of a millisecond is lost anyway, and nobody means it.
    let whole = (milliseconds < 1e15).then_some(Duration::from_millis(milliseconds as u64))?;
    Some(written(whole))
}

/// A duration that goes out on the wire in seconds.
pub(crate) fn whole_seconds(range: RangeInclusive<Duration>) -> impl Kind<Value = Duration> {
    let duration = duration(range);
    refined(duration, |value| {
        let whole = value.subsec_nanos() == 0;
        whole.then_some(value).ok_or_else(|| Wrong::new("must be whole seconds, as it is on the wire"))
    })
}

/// A kind of which only some values are good. The schema says no more than before.
pub(crate) fn refined<K: Kind>(
    of: K,
    check: impl Fn(K::Value) -> Result<K::Value, Wrong>,
) -> impl Kind<Value = K::Value> {
    struct Refined<K, C>(K, C);
    impl<K: Kind, C: Fn(K::Value) -> Result<K::Value, Wrong>> Kind for Refined<K, C> {
        type Value = K::Value;
        fn read(&self, found: Found<'_>) -> Result<K::Value, Wrong> {
            self.0.read(found).and_then(&self.1)
        }
        fn schema(&self) -> Json {
            self.0.schema()
        }
        fn written(&self, value: &K::Value) -> Json {
            self.0.written(value)
        }
    }
    Refined(of, check)
}

/// How long something takes, as a distribution.
pub(crate) fn delay() -> impl Kind<Value = Delay> {
    kind(
        delay_schema,
        |found| {
            let given = match found.value {
                DeValue::String(given) => given.as_ref(),
                DeValue::Integer(number) => number.as_str(),
                _ => return Err(found.instead_of("a delay")),
            };
            given.parse().map_err(|cause| Wrong::new(format!("is no delay: {cause}")))
        },
        |delay: &Delay| json!(delay.to_string()),
    )
}

fn delay_schema() -> Json {
    let d = DURATION;
    let forms = [
        d.to_owned(),
        format!(r"uniform\s+{d}\s*\.\.\s*{d}"),
        format!(r"normal\s+{d}\s*(\+-|±)\s*{d}"),
        format!(r"exponential\s+{d}"),
        format!(r"bimodal\s+{d}\s*,\s*{d}\s*,\s*[+0-9.eE-]+\s*%"),
    ];
    let examples = ["200ms", "uniform 100ms..300ms", "normal 200ms +- 50ms", "bimodal 10ms, 2s, 5%"];
    json!({"type": "string", "pattern": format!(r"^\s*({})\s*$", forms.join("|")), "examples": examples})
}

/// One of the words given.
pub(crate) fn one_of<T: Copy + PartialEq>(choices: &[(&'static str, T)]) -> impl Kind<Value = T> + use<T> {
    struct OneOf<T>(Vec<(&'static str, T)>);
    impl<T> OneOf<T> {
        fn words(&self) -> Vec<&'static str> {
            self.0.iter().map(|(word, _)| *word).collect()
        }
    }
    impl<T: Copy + PartialEq> Kind for OneOf<T> {
        type Value = T;
        fn read(&self, found: Found<'_>) -> Result<T, Wrong> {
            let given = as_text(found)?;
            let choice = self.0.iter().find(|(word, _)| *word == given);
            choice.map(|(_, value)| *value).ok_or_else(|| {
                let wrong = Wrong::new(format!("must be one of {}, found `{given}`", quoted(&self.words())));
                wrong.near(&given, &self.words())
            })
        }
        fn schema(&self) -> Json {
            json!({"enum": self.words()})
        }
        fn written(&self, value: &T) -> Json {
            json!(self.0.iter().find(|(_, choice)| choice == value).map(|(word, _)| *word))
        }
    }
    OneOf(choices.to_vec())
}

/// A text that is parsed into something of its own, whose spelling a pattern can tell.
pub(crate) trait Spelled: FromStr<Err: Display> + Display {
    /// What the texts look like, as a JSON Schema.
    fn schema() -> Json;

    /// What repairs a text that is none, where that is known.
    fn repair(_text: &str, _cause: &Self::Err) -> Option<String> {
        None
    }
}

/// A name as `sim-protocol` has it: letters, digits and `extra`; it ends in a letter, a digit or a dash.
fn name_schema(limit: usize, extra: &str) -> Json {
    let before_last = limit - 1;
    json!({"type": "string", "pattern": format!("^[A-Za-z0-9{extra}-]{{0,{before_last}}}[A-Za-z0-9-]$")})
}

impl Spelled for EnrollmentGroupId {
    fn schema() -> Json {
        name_schema(128, "._:")
    }
}

impl Spelled for CaName {
    fn schema() -> Json {
        name_schema(256, "._")
    }
}

impl Spelled for IdScope {
    fn schema() -> Json {
        name_schema(64, "")
    }
}

impl Spelled for Template {
    fn schema() -> Json {
        let pattern = r"^[^{}]*\{index(:0[0-9]+)?\}[^{}]*$";
        json!({"type": "string", "pattern": pattern, "examples": ["dev-{index:05}"]})
    }

    fn repair(text: &str, cause: &InvalidTemplate) -> Option<String> {
        let dash = if text.ends_with('-') { "" } else { "-" };
        let is_short = matches!(cause, InvalidTemplate::NoIndex { .. });
        is_short
            .then(|| format!("write \"{text}{dash}{{index}}\", so that each device has a name of its own"))
    }
}

/// A text that is parsed into something of its own.
pub(crate) fn parsed<T: Spelled>() -> impl Kind<Value = T> {
    kind(
        T::schema,
        |found| {
            let given = as_text(found)?;
            given.parse().map_err(|cause: T::Err| {
                let help = T::repair(&given, &cause);
                Wrong { help, ..Wrong::new(format!("is not right: {cause}")) }
            })
        },
        |value: &T| json!(value.to_string()),
    )
}

/// Texts, at least one and no two alike.
pub(crate) fn texts() -> impl Kind<Value = Vec<String>> {
    several(text())
}

/// Values, at least one and no two written alike.
pub(crate) fn several<K: Kind>(each: K) -> impl Kind<Value = Vec<K::Value>> {
    struct Several<K>(K);
    impl<K: Kind> Kind for Several<K> {
        type Value = Vec<K::Value>;
        fn read(&self, found: Found<'_>) -> Result<Self::Value, Wrong> {
            let DeValue::Array(array) = found.value else {
                return Err(in_brackets(found));
            };
            let texts = array.iter().map(|element| in_array(element, as_text));
            check_differ(&texts.collect::<Result<Vec<_>, _>>()?)?;
            array
                .iter()
                .map(|element| in_array(element, |found| self.0.read(found)).map(|(_, value)| value))
                .collect()
        }
        fn schema(&self) -> Json {
            json!({"type": "array", "items": self.0.schema(), "minItems": 1, "uniqueItems": true})
        }
        fn written(&self, values: &Self::Value) -> Json {
            values.iter().map(|value| self.0.written(value)).collect()
        }
    }
    Several(each)
}

/// What an element of an array is read as, and where it stands; a mistake is the element's.
fn in_array<T>(
    element: &Spanned<DeValue<'_>>,
    read: impl FnOnce(Found<'_>) -> Result<T, Wrong>,
) -> Result<(Range<usize>, T), Wrong> {
    let read = read(Found { value: element.get_ref(), typed: None });
    read.map(|value| (element.span(), value)).map_err(|wrong| wrong.at(element.span()))
}

/// What is said of a value that is no array; a text alone lacks its brackets.
fn in_brackets(found: Found<'_>) -> Wrong {
    let wrong = found.instead_of("an array of text");
    match found.value {
        DeValue::String(_) => wrong.help(format!("put it in brackets: [{}]", on_one_line(found.value))),
        _ => wrong,
    }
}

fn check_differ(words: &[(Range<usize>, String)]) -> Result<(), Wrong> {
    if words.is_empty() {
        return Err(Wrong::new("must name at least one"));
    }
    let named = |at: usize, word: &String| words.iter().take(at).any(|(_, other)| other == word);
    match words.iter().enumerate().find(|(at, (_, word))| named(*at, word)) {
        None => Ok(()),
        Some((_, (span, word))) => Err(Wrong::new(format!("names `{word}` twice")).at(span.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_repaired_with_the_number_that_was_found() {
        for (text, written) in [
            ("20", "\"20s\""),
            ("20 ", "\"20s\""),
            ("20 sec", "\"20s\""),
            ("3 weeks", "\"3s\""),
            ("1.5s", "\"1500ms\""),
            ("0.5 h", "\"30m\""),
            ("0.25d", "\"6h\""),
            ("1.5", "a number with a unit"),
            ("soon", "a number with a unit"),
        ] {
            let repair = repair(&parse_duration(text).expect_err(text));
            assert!(repair.starts_with(&format!("write {written}")), "{text}: {repair}");
            let quoted = repair.split('"').nth(1).expect("an example");
            assert!(parse_duration(quoted).is_ok(), "{text}: {repair}");
        }
    }

    #[test]
    fn a_word_that_is_none_of_several_is_told_with_the_nearest() {
        let kind = several(one_of(&[("p256", 1), ("p384", 2)]));
        let array = DeValue::parse("[\"p256\", \"p348\"]").expect("TOML");
        let wrong = kind.read(Found { value: array.get_ref(), typed: None }).err();
        assert_eq!(wrong.and_then(|wrong| wrong.help).as_deref(), Some("did you mean `p384`?"));
    }

    /// What is said of a value.
    fn told<K: Kind>(kind: &K, value: &str) -> Wrong {
        let value = DeValue::parse(value).expect("TOML");
        kind.read(Found { value: value.get_ref(), typed: None }).err().expect("a mistake")
    }

    #[test]
    fn a_value_with_quotes_too_many_or_too_few_is_repaired() {
        let (whole, number, flag, text, list) = (whole(0..=9), share(), flag(), text(), texts());
        for (wrong, help) in [
            (told(&whole, "\"10\""), Some("drop the quotes: 10")),
            (told(&whole, "\" 10 \""), Some("drop the quotes: 10")),
            (told(&whole, "\"1.5\""), None),
            (told(&whole, "\"many\""), None),
            (told(&whole, "true"), None),
            (told(&number, "\"0.5\""), Some("drop the quotes: 0.5")),
            (told(&number, "\"1\""), Some("drop the quotes: 1")),
            (told(&number, "\"nan\""), None),
            (told(&flag, "\"true\""), Some("drop the quotes: true")),
            (told(&flag, "\"yes\""), None),
            (told(&text, "1.3"), Some("put it in quotes: \"1.3\"")),
            (told(&text, "true"), Some("put it in quotes: \"true\"")),
            (told(&text, "[1]"), None),
            (told(&list, "\"one.net\""), Some("put it in brackets: [\"one.net\"]")),
            (told(&list, "3"), None),
        ] {
            assert_eq!(wrong.help.as_deref(), help, "{}", wrong.message);
        }
    }

    #[test]
    fn a_mistake_in_an_array_is_that_of_its_element() {
        let kind = several(one_of(&[("p256", 1), ("p384", 2)]));
        for (array, element) in [
            ("[\"p256\", \"p348\"]", Some("\"p348\"")),
            ("[\"p256\", 384]", Some("384")),
            ("[ \"\" ]", Some("\"\"")),
            ("[]", None),
            ("3", None),
        ] {
            assert_eq!(told(&kind, array).span.and_then(|span| array.get(span)), element, "{array}");
        }
        let twice = "[\"p256\", \"p384\", \"p256\"]";
        assert_eq!(told(&kind, twice).span, Some(17..23));
    }

    #[test]
    fn a_default_is_written_as_its_key_takes_it() {
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        assert_eq!(whole_seconds(Duration::ZERO..=day).written(&Duration::ZERO), json!("0s"));
        assert_eq!(duration(second..=day).written(&(90 * second)), json!("90s"));
        assert_eq!(one_of(&[("a", 1), ("b", 2)]).written(&2), json!("b"));
        assert_eq!(several(text()).written(&vec!["a".to_owned()]), json!(["a"]));
        assert_eq!(delay().written(&Delay::ZERO), json!("0ms"));
    }
}
