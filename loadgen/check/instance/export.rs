//! Files that say what an instance holds, told apart by looking: JSON of the tools, our own, or a mock's state file.

use super::Builder;
use super::document::{self, Document};
use crate::check::inputs::{name, unread};
use crate::exit::Failure;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sim_dps::shell::{JournalFault, Kept, read_state};
use sim_identity::files;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Larger exports than this are not read: a million individual enrollments take some hundred MiB.
const LARGEST: u64 = 1 << 30;
/// What a state file begins with.
const STATE_FILE: &[u8] = b"redb";
/// Our own form.
const OWN: &str = "rollcall.instance/1";
/// All groups, as `rollcall group list` prints them.
const GROUPS: &str = "rollcall.group-list/1";

/// Takes in one file.
pub(super) fn read(path: &Path, builder: &mut Builder) -> Result<(), Failure> {
    let shown = name(path);
    let fault = |error: &std::io::Error| unread(&shown, error);
    let mut file = File::open(path).map_err(|error| fault(&error))?;
    let mut bytes = Vec::new();
    file.by_ref().take(STATE_FILE.len() as u64).read_to_end(&mut bytes).map_err(|error| fault(&error))?;
    if bytes == STATE_FILE {
        return state_file(path, &shown, builder);
    }
    file.take(LARGEST).read_to_end(&mut bytes).map_err(|error| fault(&error))?;
    let bytes = files::as_utf8(&bytes).into_owned();
    let text = String::from_utf8(bytes).map_err(|error| {
        let (line, column) = place(error.as_bytes(), error.utf8_error().valid_up_to());
        unknown(&shown, line, column, "it is neither JSON nor the state file of a mock")
    })?;
    let text = text.trim_start_matches('\u{feff}');
    json(text, &shown, builder)
}

/// A mock's state file; nothing is written to it.
fn state_file(path: &Path, shown: &str, builder: &mut Builder) -> Result<(), Failure> {
    let mut taken = Ok(());
    let read = read_state(path, |kept| {
        let value = value_of(kept).map_err(Failure::unexpected);
        let document = value.and_then(|value| {
            Document::of(&value).map_err(|fault| Failure::usage(format!("cannot use {shown}: {fault}")))
        });
        let took = document.and_then(|document| builder.take(document, shown));
        if taken.is_ok() {
            taken = took;
        }
    });
    let registrations = read.map_err(|fault| {
        let failure = Failure::usage(&fault);
        failure.advise(match fault {
            JournalFault::Locked { .. } => "Stop the mock, or ask it itself.",
            _ => "Give a file that `rollcall mock --state` wrote.",
        })
    })?;
    builder.known.instance.registrations = Some(registrations);
    builder.known.instance.enrollments_known = true;
    taken
}

/// A thing of a state file as the APIs show it.
fn value_of(kept: Kept) -> serde_json::Result<Value> {
    match kept {
        Kept::Authority(ca) => serde_json::to_value(ca),
        Kept::Group(group) => serde_json::to_value(group),
        Kept::Individual(individual) => serde_json::to_value(individual),
    }
}

/// One of the lists that the tools print, or one thing of it.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, borrow)]
    schema: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    value: Option<Vec<&'a RawValue>>,
    #[serde(default, borrow)]
    certificates: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    groups: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    individuals: Vec<&'a RawValue>,
}

type Reader = fn(&Value) -> Result<Document, String>;

fn json(text: &str, shown: &str, builder: &mut Builder) -> Result<(), Failure> {
    let syntax = |error: serde_json::Error| {
        unknown(
            shown,
            error.line(),
            error.column(),
            &format!("it is not JSON as the tools print it: {error}"),
        )
    };
    let whole: &RawValue = serde_json::from_str(text).map_err(syntax)?;
    let items: Vec<(&RawValue, Reader)> = if whole.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(syntax)?;
        builder.empty_list |= items.is_empty();
        items.into_iter().map(|item| (item, Document::of as Reader)).collect()
    } else if whole.get().starts_with('{') {
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(syntax)?;
        let told = envelope.schema.as_deref();
        builder.known.instance.enrollments_known |=
            told.is_some_and(|schema| [OWN, GROUPS].contains(&schema));
        of_envelope(whole, envelope)
    } else {
        return Err(unknown(shown, 1, 1, "it is neither a list nor an object"));
    };
    items.into_iter().try_for_each(|(item, reader)| {
        let document = serde_json::from_str(item.get()).map_err(|error| error.to_string());
        let document = document.and_then(|value: Value| reader(&value));
        let document = document.map_err(|fault| {
            let (line, column) = place(text.as_bytes(), offset(text, item.get()));
            unknown(shown, line, column, &fault)
        })?;
        builder.take(document, shown)
    })
}

fn of_envelope<'a>(whole: &'a RawValue, envelope: Envelope<'a>) -> Vec<(&'a RawValue, Reader)> {
    let Envelope { schema, value, certificates, groups, individuals } = envelope;
    if schema.as_deref() == Some(OWN) {
        let with =
            |items: Vec<&'a RawValue>, reader: Reader| items.into_iter().map(move |item| (item, reader));
        return with(certificates, document::own_ca)
            .chain(with(groups, document::own_group))
            .chain(with(individuals, document::own_individual))
            .collect();
    }
    value.unwrap_or_else(|| vec![whole]).into_iter().map(|item| (item, Document::of as Reader)).collect()
}

/// Where a part of a text begins.
fn offset(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())
}

/// Line and column of an offset, both from 1.
fn place(text: &[u8], offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    (line, offset - start + 1)
}

fn unknown(shown: &str, line: usize, column: usize, fault: &str) -> Failure {
    Failure::usage(format!("cannot use {shown}, line {line}, column {column}: {fault}")).advise(
        "Give what `az iot dps certificate list`, `az iot dps enrollment-group list` or `az iot dps enrollment list` \
         prints with `-o json`, what `rollcall ca list`, `group list` or `enrollment list` prints with `--json`, or the \
         state file of a mock.",
    )
}
