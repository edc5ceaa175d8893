//! How each arrival ended, a row each, from a journal to CSV or JSON lines; never more than one in memory.

use crate::cli::{cannot_write, stage};
use crate::exit::Failure;
use crate::journal::{self, Line};
use crate::recorder::kind;
use reports::OutcomeKind;
use serde::Serialize;
use sim_device::{Outcome, Phase};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// One arrival. Moments count from the start of the run; what does not apply is empty.
#[derive(Serialize)]
struct Row<'a> {
    arrival: u64,
    device: u64,
    registration_id: &'a str,
    due_ms: f64,
    started_ms: Option<f64>,
    finished_ms: Option<f64>,
    service_us: Option<u64>,
    response_us: Option<u64>,
    outcome: OutcomeKind,
    expected: bool,
    defect: Option<&'static str>,
    phase: Option<&'static str>,
    code: Option<u32>,
    message: Option<&'a str>,
    hub: Option<&'a str>,
    retries_throttled: u32,
    retries_server_error: u32,
    retries_connection: u32,
    retries_timeout: u32,
    tls_version: Option<&'static str>,
}

impl<'a> Row<'a> {
    fn of(line: &Line<'a>) -> Self {
        let ending = line.ending;
        let attempt = ending.attempt;
        let (phase, code, message) = said(ending.outcome);
        let retries = attempt.map(|attempt| attempt.retries).unwrap_or_default();
        let since_start = |moment| milliseconds(line.start, moment);
        let took = |from: Instant, to: Instant| whole_microseconds(to.saturating_duration_since(from));
        Row {
            arrival: ending.arrival,
            device: ending.device,
            registration_id: ending.id,
            due_ms: since_start(ending.due),
            started_ms: attempt.map(|attempt| since_start(attempt.started)),
            finished_ms: attempt.map(|attempt| since_start(attempt.finished)),
            service_us: attempt.map(|attempt| took(attempt.started, attempt.finished)),
            response_us: attempt.map(|attempt| took(ending.due, attempt.finished)),
            outcome: kind(ending.outcome),
            expected: ending.expected,
            defect: ending.defect.map(sim_identity::Defect::id),
            phase: phase.map(Phase::as_str),
            code,
            message,
            hub: match ending.outcome {
                Outcome::Assigned(assignment) => Some(&assignment.hub),
                _ => None,
            },
            retries_throttled: retries.throttled,
            retries_server_error: retries.server_error,
            retries_connection: retries.connection,
            retries_timeout: retries.timeout,
            tls_version: attempt.and_then(|attempt| attempt.tls).map(|facts| facts.version),
        }
    }
}

/// Where an attempt got nowhere, the service's code, and what was said.
fn said(outcome: &Outcome) -> (Option<Phase>, Option<u32>, Option<&str>) {
    match outcome {
        Outcome::Refused(refused) => (Some(refused.phase), refused.code, Some(&refused.message)),
        Outcome::Failed { code, message } => (None, *code, Some(message)),
        Outcome::Unreachable { phase, cause } => (Some(*phase), None, Some(cause.as_str())),
        Outcome::TimedOut { phase } => (Some(*phase), None, None),
        Outcome::ProtocolError { phase, what } => (Some(*phase), None, Some(what)),
        Outcome::Assigned(_)
        | Outcome::Connected
        | Outcome::Disabled
        | Outcome::Throttled
        | Outcome::Shed
        | Outcome::Interrupted => (None, None, None),
    }
}

/// From one moment to another, which may lie before it; to the microsecond.
fn milliseconds(from: Instant, to: Instant) -> f64 {
    let exact = |took: Duration| whole_microseconds(took) as f64 / 1_000.0;
    to.checked_duration_since(from).map_or_else(|| -exact(from.saturating_duration_since(to)), exact)
}

fn whole_microseconds(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// A form that rows are written in.
enum Form<'f> {
    Csv(Box<csv::Writer<BufWriter<&'f File>>>),
    Lines(BufWriter<&'f File>),
}

impl<'f> Form<'f> {
    /// By the name of the file.
    fn of(to: &Path, file: &'f File) -> Result<Self, Failure> {
        let buffered = BufWriter::with_capacity(1 << 16, file);
        match to.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv(Box::new(csv::Writer::from_writer(buffered)))),
            Some("jsonl") => Ok(Self::Lines(buffered)),
            _ => Err(Failure::usage(format!("cannot tell in which form to write {}", to.display()))
                .advise("Name it .csv, or .jsonl for one JSON object a line.")),
        }
    }

    fn put(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self {
            Self::Csv(table) => table.serialize(row).map_err(io_of),
            Self::Lines(lines) => {
                serde_json::to_writer(&mut *lines, row)?;
                lines.write_all(b"\n")
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Csv(table) => table.flush(),
            Self::Lines(lines) => lines.flush(),
        }
    }
}

fn io_of(fault: csv::Error) -> io::Error {
    match fault.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Writes a row for every arrival of a journal; the file is there whole or not at all. Tells how many there were, and
/// what of the journal was left out, if it is damaged.
pub(super) fn write(journal: &Path, to: &Path) -> Result<(u64, Option<String>), Failure> {
    let staged = stage(to, b"", false)?;
    let mut form = Form::of(to, staged.file.as_file())?;
    let mut rows = 0;
    let shown = journal::entries(journal, &mut |line| {
        rows += 1;
        form.put(&Row::of(line)).map_err(|error| cannot_write(to, &error))
    })?;
    form.flush().map_err(|error| cannot_write(to, &error))?;
    drop(form);
    staged.sync()?;
    staged.commit()?;
    Ok((rows, shown.truncated))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::journal::{Header, Journal};
    use crate::recorder::Ending;
    use sim_device::{Assignment, Attempt, Heard, Phases, Refused, Retries, TlsFacts};
    use std::fs;

    fn ending<'a>(
        arrival: u64,
        due: Instant,
        outcome: &'a Outcome,
        attempt: Option<&'a Attempt>,
    ) -> Ending<'a> {
        Ending {
            arrival,
            device: arrival,
            id: "dev-1",
            due,
            lateness: None,
            outcome,
            attempt,
            defect: None,
            expected: true,
            factory: 0,
        }
    }

    /// A journal of one who is assigned, one who is refused and one who is shed.
    fn written(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("run.journal");
        let journal = Journal::create(&path, &Header::default()).expect("a journal");
        let start = sim_device::now();
        let at = |us| start + Duration::from_micros(us);
        let tls = TlsFacts { version: "1.3", suite: "s", group: "g", resumed: false };
        let attempt = |outcome| Attempt {
            outcome,
            phases: Phases::default(),
            started: at(2_500),
            finished: at(4_000),
            retries: Retries { throttled: 2, ..Retries::default() },
            heard: Heard::default(),
            tls: Some(tls),
        };
        let assigned =
            attempt(Outcome::Assigned(Assignment { hub: "hub-1".into(), device_id: "dev-1".into() }));
        let message = "no, \"not\" you".to_owned();
        let refused =
            attempt(Outcome::Refused(Refused { phase: Phase::Register, code: Some(401_002), message }));
        let mut writer = journal.writer(0, start);
        writer.end(&ending(0, at(1_000), &assigned.outcome, Some(&assigned)));
        writer.end(&ending(1, at(1_000), &refused.outcome, Some(&refused)));
        writer.end(&ending(2, at(9_000), &Outcome::Shed, None));
        drop(writer);
        assert_eq!(journal.finish().fault, None);
        path
    }

    #[test]
    fn every_arrival_is_a_row_of_csv() {
        let dir = tempfile::tempdir().expect("a directory");
        let to = dir.path().join("devices.csv");
        assert_eq!(write(&written(dir.path()), &to).expect("written"), (3, None));
        let text = fs::read_to_string(&to).expect("read");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            lines[0].starts_with("arrival,device,registration_id,due_ms,started_ms,finished_ms,service_us")
        );
        assert_eq!(lines[1], "0,0,dev-1,1.0,2.5,4.0,1500,3000,assigned,true,,,,,hub-1,2,0,0,0,1.3");
        assert_eq!(
            lines[2],
            "1,1,dev-1,1.0,2.5,4.0,1500,3000,refused,true,,register,401002,\"no, \"\"not\"\" you\",,2,0,0,0,1.3"
        );
        assert_eq!(lines[3], "2,2,dev-1,9.0,,,,,shed,true,,,,,,0,0,0,0,");
    }

    #[test]
    fn every_arrival_is_a_line_of_json() {
        let dir = tempfile::tempdir().expect("a directory");
        let to = dir.path().join("devices.jsonl");
        assert_eq!(write(&written(dir.path()), &to).expect("written"), (3, None));
        let text = fs::read_to_string(&to).expect("read");
        let rows: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(rows[1]["code"], 401_002);
        assert_eq!(rows[2]["started_ms"], serde_json::Value::Null);
        assert_eq!((rows.len(), rows[0]["response_us"].as_u64()), (3, Some(3_000)));
    }

    #[test]
    fn a_file_of_no_known_form_is_refused_and_nothing_is_left() {
        let dir = tempfile::tempdir().expect("a directory");
        let journal = written(dir.path());
        let failure = write(&journal, &dir.path().join("devices.txt")).expect_err("no such form");
        assert_eq!((failure.exit, fs::read_dir(dir.path()).expect("listed").count()), (Exit::Usage, 1));
    }
}
