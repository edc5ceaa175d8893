//! Many entries from one file, ten a call.

use super::consent::Consent;
use super::session::Session;
use super::table::{Table, shown};
use crate::cli::{instant, now, read_file};
use crate::exit::{Exit, Failure};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};
use sim_operator::{Collection, OperatorError, batches};
use sim_protocol::attestation::{BulkError, BulkMode, BulkResult, EnrollmentGroup, IndividualEnrollment};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is over sooner needs no progress bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a throttled call is made again before the import gives up.
const RETRIES: u32 = 10;

/// What to import, and to what end.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// A JSON array of entries as the service shows them, or one entry a line
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to do with each of them
    #[arg(long, value_enum)]
    pub mode: Mode,
    /// Whether to ask before deleting.
    #[command(flatten)]
    pub consent: Consent,
}

/// What to do with each entry of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Create it; one that exists is refused
    Create,
    /// Replace it, or create it
    Update,
    /// Replace it if its etag is still that of the file
    UpdateIfMatchEtag,
    /// Delete it
    Delete,
}

impl From<Mode> for BulkMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Create => BulkMode::Create,
            Mode::Update => BulkMode::Update,
            Mode::UpdateIfMatchEtag => BulkMode::UpdateIfMatchETag,
            Mode::Delete => BulkMode::Delete,
        }
    }
}

/// What became of an import.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    done: usize,
    refused: Vec<BulkError>,
}

/// Runs `import`.
pub(super) async fn run(session: &Session, collection: Collection, args: ImportArgs) -> Result<(), Failure> {
    let ImportArgs { file, mode, consent } = args;
    let items = read(&file, collection, mode)?;
    if mode == Mode::Delete {
        consent.obtain(&format!("{} {}s", items.len(), collection.noun()), session).await?;
    }
    let mut outcome = Outcome::default();
    let ended = send(session, collection, &items, mode, &mut outcome).await;
    // What was done before a call failed is done, and whoever repairs it must know.
    report(session, &outcome);
    let Outcome { done, refused } = outcome;
    if let Err(error) = ended {
        let failure = Failure::from(error);
        let message = format!("{}; {done} of {} were done before", failure.message, items.len());
        return Err(Failure { message, ..failure });
    }
    if refused.is_empty() {
        session.talk(format!("{done} {}s", collection.noun()));
        return Ok(());
    }
    let fault = format!("{} of {} {}s were refused", refused.len(), items.len(), collection.noun());
    Err(Failure::new(Exit::Refused, fault).advise("Repair those that are listed, and import them again."))
}

async fn send(
    session: &Session,
    collection: Collection,
    items: &[Value],
    mode: Mode,
    outcome: &mut Outcome,
) -> Result<(), OperatorError> {
    let wanted = session.results().is_some_and(|output| output.interactive());
    let mut progress = Progress::new(items.len(), wanted);
    for batch in batches(items) {
        let BulkResult { errors, .. } = patiently(session, collection, batch, mode.into()).await?;
        outcome.done += batch.len().saturating_sub(errors.len());
        outcome.refused.extend(errors);
        progress.advance(batch.len());
    }
    Ok(())
}

/// One bulk call, made again after the pause that a throttling service asks for.
async fn patiently(
    session: &Session,
    collection: Collection,
    batch: &[Value],
    mode: BulkMode,
) -> Result<BulkResult, OperatorError> {
    let mut tries = 0;
    loop {
        let ended = session.operator.bulk(collection, batch, mode, now()).await;
        match ended.as_ref().err().and_then(OperatorError::throttled) {
            Some(pause) if tries < RETRIES => {
                tries += 1;
                session.talk(format!("throttled: going on in {pause} s"));
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            _ => return ended,
        }
    }
}

fn report(session: &Session, outcome: &Outcome) {
    session.document("rollcall.import/1", outcome);
    let Some(output) = session.results() else { return };
    let row = |error: &BulkError| {
        let name = error.registration_id.as_ref().or(error.enrollment_group_id.as_ref());
        vec![
            name.map_or_else(|| "-".to_owned(), Clone::clone),
            error.error_code.to_string(),
            shown(&error.error_status),
        ]
    };
    Table::new(&["NAME", "CODE", "REFUSED BECAUSE"]).rows(outcome.refused.iter().map(row).collect(), output);
}

/// Reads the entries of a file; each that could not be sent is told before anything is.
fn read(path: &Path, collection: Collection, mode: Mode) -> Result<Vec<Value>, Failure> {
    let unusable = |reason: String| {
        Failure::usage(format!("cannot import {}: {reason}", path.display())).advise(
            "Give a JSON array of entries, or one entry a line, as `list --json` shows them under `value`.",
        )
    };
    let mut items = entries(&read_file(path, "entries")?).map_err(unusable)?;
    if items.is_empty() {
        return Err(unusable("there is nothing in it".to_owned()));
    }
    for (number, item) in items.iter_mut().enumerate() {
        check(item, collection, mode)
            .map_err(|reason| unusable(format!("entry {}: {reason}", number + 1)))?;
    }
    Ok(items)
}

fn entries(bytes: &[u8]) -> Result<Vec<Value>, String> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return serde_json::from_slice(bytes).map_err(|error| error.to_string());
    }
    let values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    values.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn check(item: &mut Value, collection: Collection, mode: Mode) -> Result<(), String> {
    let Value::Object(fields) = item else { return Err("it is no JSON object".to_owned()) };
    let field = collection.id_field();
    let name = fields.get(field).and_then(Value::as_str).ok_or_else(|| format!("it has no `{field}`"))?;
    let named = match collection {
        Collection::Groups => EnrollmentGroupId::new(name).map(drop),
        Collection::Enrollments => RegistrationId::new(name).map(drop),
    };
    named.map_err(|fault| fault.to_string())?;
    match mode {
        // The specification requires it of every entry, although nothing reads it here.
        Mode::Delete => {
            fields.entry("attestation").or_insert_with(|| json!({"type": "none"}));
        }
        Mode::UpdateIfMatchEtag if fields.get("etag").and_then(Value::as_str).is_none() => {
            return Err("it has no `etag`".to_owned());
        }
        _ if !fields.contains_key("attestation") => return Err("it has no `attestation`".to_owned()),
        Mode::Create | Mode::Update | Mode::UpdateIfMatchEtag => {}
    }
    let read = match collection {
        Collection::Groups => serde_json::from_value::<EnrollmentGroup>(item.clone()).map(drop),
        Collection::Enrollments => serde_json::from_value::<IndividualEnrollment>(item.clone()).map(drop),
    };
    read.map_err(|error| error.to_string())
}

/// A progress bar that appears when something takes long.
struct Progress {
    bar: ProgressBar,
    started: Instant,
    wanted: bool,
}

impl Progress {
    fn new(length: usize, wanted: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta} left") {
            bar.set_style(style);
        }
        Progress { bar, started: instant(), wanted }
    }

    fn advance(&mut self, items: usize) {
        self.bar.inc(items as u64);
        if self.wanted && self.started.elapsed() > PATIENCE {
            self.wanted = false;
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_and_lines_hold_the_same_entries() {
        let expected = [json!({"a": 1}), json!({"b": [2]})];
        for text in [" [{\"a\":1},\n{\"b\":[2]}]", "{\"a\":1}\n{\"b\":[2]}\n", "{\"a\":1} {\"b\":\n[2]}"] {
            assert_eq!(entries(text.as_bytes()).as_deref(), Ok(&expected[..]), "{text}");
        }
        for text in ["[{]", "{\"a\":1}\n{", "x"] {
            assert!(entries(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(entries(b" \n"), Ok(Vec::new()));
    }

    #[test]
    fn an_entry_that_could_not_be_sent_is_found_before_anything_is() {
        let attestation = json!({"type": "symmetricKey"});
        for (mut item, collection, mode, good) in [
            (
                json!({"registrationId": "d", "attestation": attestation}),
                Collection::Enrollments,
                Mode::Create,
                true,
            ),
            (json!({"registrationId": "d"}), Collection::Enrollments, Mode::Create, false),
            (json!({"registrationId": "d"}), Collection::Enrollments, Mode::Delete, true),
            (json!({"registrationId": "d/e"}), Collection::Enrollments, Mode::Delete, false),
            (json!({"registrationId": "d"}), Collection::Groups, Mode::Delete, false),
            (json!({"enrollmentGroupId": "g"}), Collection::Groups, Mode::Delete, true),
            (
                json!({"registrationId": "d", "attestation": attestation}),
                Collection::Enrollments,
                Mode::UpdateIfMatchEtag,
                false,
            ),
            (json!("d"), Collection::Enrollments, Mode::Delete, false),
        ] {
            assert_eq!(check(&mut item, collection, mode).is_ok(), good, "{item} {mode:?}");
        }
    }

    #[test]
    fn fields_that_this_tool_has_no_word_for_are_sent_along() {
        let whole =
            json!({"registrationId": "d", "attestation": {"type": "tpm", "tpm": {"x": 1}}, "new": true});
        let mut item = whole.clone();
        check(&mut item, Collection::Enrollments, Mode::Update).expect("a good entry");
        assert_eq!(item, whole);
    }
}
