//! Reads a journal from its front, one block in memory at a time.

use super::wire::{
    Bytes, DEFINED, ENDING, ENTRIES, ENTRIES_AFRESH, FIRST_NAME, FRAME, GIVEN_UP, HELD, HOLD, MAGIC,
    MOST_PAYLOAD, PLAIN, THE_END, Unreadable, VERSION, cause, fixed, has, outcome, phase,
};
use super::{Header, SCHEMA};
use crate::cli::figures::grouped;
use crate::exit::Failure;
use crate::recorder::Ending;
use sim_device::{Assignment, Attempt, Heard, Held, Outcome, Phases, Refused, Retries, TlsFacts};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An entry of a journal.
#[derive(Debug)]
pub(super) enum Entry<'a> {
    /// How an arrival ended.
    Ending(Line<'a>),
    /// An attempt that was given up: when it was due and started.
    GivenUp(Instant, Instant),
    /// A device stays connected.
    Hold,
    /// A device no longer does; nothing where it was told to leave.
    Held(Option<Held>),
}

/// How one arrival ended, as the journal has it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Which worker's it was.
    pub worker: u64,
    /// The ending; its moments count from `start`.
    pub ending: Ending<'a>,
    /// What stands for the start of the run.
    pub start: Instant,
}

/// What a journal said beside its entries.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) header: Header,
    /// Whether it was closed.
    pub(super) complete: bool,
    /// Entries that whoever wrote it could not keep.
    pub(super) lost: u64,
    /// What was left out and why, if something was there that could not be read.
    pub(super) truncated: Option<String>,
}

/// What is done with each entry.
pub(super) type Visit<'v> = dyn FnMut(Entry<'_>) -> Result<(), Failure> + 'v;

/// Whether the file starts like a journal; what cannot be read does not.
pub(super) fn is_journal(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC
}

/// Shows every entry to `visit`, in the order of the file, with moments counted from `start`. It ends before what is
/// damaged: nothing in a file tells where the next block begins, and names in it may be those of the block before.
pub(super) fn walk(path: &Path, start: Instant, visit: &mut Visit<'_>) -> Result<Walked, Failure> {
    let mut source = Source::open(path)?;
    let mut walked = Walked { header: source.header()?, complete: false, lost: 0, truncated: None };
    let mut workers = HashMap::new();
    let mut block = Vec::new();
    loop {
        let offset = source.offset;
        match source.next(&mut block)? {
            Next::Nothing => return Ok(walked),
            Next::Broken(why) => {
                walked.truncated = Some(source.left_out(offset, why));
                return Ok(walked);
            }
            Next::Block => {}
        }
        let mut bytes = Bytes(&block);
        let read = read_block(&mut bytes, &mut workers, &mut walked, start, visit);
        let at = offset + (FRAME + block.len() - bytes.0.len()) as u64;
        match read {
            Ok(()) => {}
            Err(Stop::Visitor(failure)) => return Err(failure),
            Err(Stop::Unreadable(why)) => {
                walked.truncated = Some(source.left_out(at, why.as_str()));
                return Ok(walked);
            }
        }
    }
}

/// Why a block was not read to its end.
enum Stop {
    Unreadable(Unreadable),
    Visitor(Failure),
}

impl From<Unreadable> for Stop {
    fn from(why: Unreadable) -> Self {
        Self::Unreadable(why)
    }
}

/// Names a worker numbered so far.
#[derive(Default)]
struct Names {
    texts: Vec<Arc<str>>,
    tls: Vec<TlsFacts>,
}

fn read_block(
    bytes: &mut Bytes<'_>,
    workers: &mut HashMap<u64, Names>,
    walked: &mut Walked,
    start: Instant,
    visit: &mut Visit<'_>,
) -> Result<(), Stop> {
    let kind = bytes.byte()?;
    if kind == THE_END {
        (walked.complete, walked.lost) = (true, bytes.number()?);
        return Ok(());
    }
    if ![ENTRIES, ENTRIES_AFRESH].contains(&kind) {
        return Err(Unreadable::Unknown.into());
    }
    let worker = bytes.number()?;
    let names = workers.entry(worker).or_default();
    if kind == ENTRIES_AFRESH {
        *names = Names::default();
    }
    let mut entries =
        Entries { bytes, names, worker, start, arrival: 0, device: 0, due: 0, id: String::new() };
    while !entries.bytes.is_empty() {
        entries.next(visit)?;
    }
    Ok(())
}

/// The entries of a block; each tells how it differs from the one before.
struct Entries<'b, 'a> {
    bytes: &'b mut Bytes<'a>,
    names: &'b mut Names,
    worker: u64,
    start: Instant,
    arrival: u64,
    device: u64,
    due: i64,
    id: String,
}

impl Entries<'_, '_> {
    fn next(&mut self, visit: &mut Visit<'_>) -> Result<(), Stop> {
        let tag = self.bytes.byte()?;
        let visited = match tag {
            ENDING => return self.ending(visit),
            GIVEN_UP => {
                let due = self.due()?;
                let started = moved(due, self.bytes.signed()?)?;
                visit(Entry::GivenUp(due, started))
            }
            HOLD => {
                self.arrival()?;
                visit(Entry::Hold)
            }
            HELD => {
                let held = self.held()?;
                visit(Entry::Held(held))
            }
            _ => return Err(Unreadable::Unknown.into()),
        };
        visited.map_err(Stop::Visitor)
    }

    fn ending(&mut self, visit: &mut Visit<'_>) -> Result<(), Stop> {
        let flags = self.bytes.byte()?;
        let is = |flag| flags & flag != 0;
        self.arrival()?;
        self.device = self.device.wrapping_add(self.bytes.signed()? as u64);
        let factory = usize::try_from(self.bytes.number()?).map_err(|_| Unreadable::Number)?;
        self.id()?;
        let due = self.due()?;
        let lateness =
            if is(has::LATENESS) { Some(Duration::from_nanos(self.bytes.number()?)) } else { None };
        let defect = if is(has::DEFECT) { Some(self.name()?) } else { None };
        let defect = defect.map(|id| id.parse().map_err(|_| Unreadable::Unknown)).transpose()?;
        let mut outcome = Some(self.outcome()?);
        let attempt = if is(has::ATTEMPT) { Some(self.attempt(due, flags, &mut outcome)?) } else { None };
        let Some(ended) = outcome.as_ref().or(attempt.as_ref().map(|attempt| &attempt.outcome)) else {
            return Err(Unreadable::Unknown.into());
        };
        let ending = Ending {
            arrival: self.arrival,
            device: self.device,
            id: &self.id,
            due,
            lateness,
            outcome: ended,
            attempt: attempt.as_ref(),
            defect,
            expected: is(has::EXPECTED),
            factory,
        };
        let line = Line { worker: self.worker, ending, start: self.start };
        visit(Entry::Ending(line)).map_err(Stop::Visitor)
    }

    fn arrival(&mut self) -> Result<(), Unreadable> {
        self.arrival = self.arrival.wrapping_add(self.bytes.signed()? as u64);
        Ok(())
    }

    fn due(&mut self) -> Result<Instant, Unreadable> {
        self.due = self.due.wrapping_add(self.bytes.signed()?);
        moved(self.start, self.due)
    }

    fn id(&mut self) -> Result<(), Unreadable> {
        let same = usize::try_from(self.bytes.number()?).map_err(|_| Unreadable::Number)?;
        if !self.id.is_char_boundary(same) {
            return Err(Unreadable::Text);
        }
        self.id.truncate(same);
        self.id.push_str(self.bytes.text()?);
        Ok(())
    }

    fn name(&mut self) -> Result<Arc<str>, Unreadable> {
        let number = self.bytes.number()?;
        if number >= FIRST_NAME {
            let at = usize::try_from(number - FIRST_NAME).map_err(|_| Unreadable::Number)?;
            return self.names.texts.get(at).cloned().ok_or(Unreadable::Unknown);
        }
        let text: Arc<str> = self.bytes.text()?.into();
        if number == DEFINED {
            self.names.texts.push(text.clone());
        }
        Ok(text)
    }

    fn outcome(&mut self) -> Result<Outcome, Unreadable> {
        Ok(match self.bytes.byte()? {
            outcome::ASSIGNED => {
                let hub = self.name()?.as_ref().to_owned();
                let device_id = match self.bytes.text()? {
                    "" => self.id.clone(),
                    other => other.to_owned(),
                };
                Outcome::Assigned(Assignment { hub, device_id })
            }
            outcome::CONNECTED => Outcome::Connected,
            outcome::REFUSED => {
                let phase = phase(self.bytes.byte()?)?;
                let (code, message) = self.said()?;
                Outcome::Refused(Refused { phase, code, message })
            }
            outcome::DISABLED => Outcome::Disabled,
            outcome::FAILED => {
                let (code, message) = self.said()?;
                Outcome::Failed { code, message }
            }
            outcome::THROTTLED => Outcome::Throttled,
            outcome::UNREACHABLE => {
                Outcome::Unreachable { phase: phase(self.bytes.byte()?)?, cause: cause(self.bytes.byte()?)? }
            }
            outcome::TIMED_OUT => Outcome::TimedOut { phase: phase(self.bytes.byte()?)? },
            outcome::PROTOCOL_ERROR => {
                let phase = phase(self.bytes.byte()?)?;
                Outcome::ProtocolError { phase, what: fixed(&self.name()?)? }
            }
            outcome::SHED => Outcome::Shed,
            outcome::INTERRUPTED => Outcome::Interrupted,
            _ => return Err(Unreadable::Unknown),
        })
    }

    fn said(&mut self) -> Result<(Option<u32>, String), Unreadable> {
        let code = self.bytes.number()?.checked_sub(1).map(u32::try_from).transpose();
        Ok((code.map_err(|_| Unreadable::Number)?, self.name()?.as_ref().to_owned()))
    }

    /// The attempt, which takes over the outcome.
    fn attempt(
        &mut self,
        due: Instant,
        flags: u8,
        outcome: &mut Option<Outcome>,
    ) -> Result<Attempt, Unreadable> {
        let started = moved(due, self.bytes.signed()?)?;
        let finished = moved(started, self.bytes.signed()?)?;
        let count = self.bytes.number()?;
        let bytes = &mut self.bytes;
        let phases = (0..count).map(|_| Ok((phase(bytes.byte()?)?, Duration::from_nanos(bytes.number()?))));
        let phases: Phases = phases.collect::<Result<_, Unreadable>>()?;
        let tls = if flags & has::TLS != 0 { Some(self.tls()?) } else { None };
        let retries = if flags & has::RETRIES != 0 { self.retries()? } else { Retries::default() };
        let outcome = outcome.take().ok_or(Unreadable::Unknown)?;
        // There is no ledger beside a journal that it could be compared with.
        let heard = Heard::default();
        Ok(Attempt { outcome, phases, started, finished, retries, heard, tls })
    }

    fn tls(&mut self) -> Result<TlsFacts, Unreadable> {
        let number = self.bytes.number()?;
        if number >= FIRST_NAME {
            let at = usize::try_from(number - FIRST_NAME).map_err(|_| Unreadable::Number)?;
            return self.names.tls.get(at).copied().ok_or(Unreadable::Unknown);
        }
        let mut text = || self.bytes.text().and_then(fixed);
        let (version, suite, group) = (text()?, text()?, text()?);
        let facts = TlsFacts { version, suite, group, resumed: self.bytes.byte()? == 1 };
        if number != PLAIN {
            self.names.tls.push(facts);
        }
        Ok(facts)
    }

    fn retries(&mut self) -> Result<Retries, Unreadable> {
        let mut count = || self.bytes.small();
        let (throttled, server_error, connection, timeout) = (count()?, count()?, count()?, count()?);
        Ok(Retries { throttled, server_error, connection, timeout })
    }

    fn held(&mut self) -> Result<Option<Held>, Unreadable> {
        if self.bytes.byte()? == 0 {
            return Ok(None);
        }
        let lasted = Duration::from_nanos(self.bytes.number()?);
        let pings = self.bytes.small()?;
        let dropped = self.bytes.byte()?.checked_sub(1).map(cause).transpose()?;
        Ok(Some(Held { lasted, pings, dropped }))
    }
}

fn moved(moment: Instant, by: i64) -> Result<Instant, Unreadable> {
    let far = Duration::from_nanos(by.unsigned_abs());
    let moved = if by < 0 { moment.checked_sub(far) } else { moment.checked_add(far) };
    moved.ok_or(Unreadable::Number)
}

/// What comes next in a file.
enum Next {
    Block,
    Nothing,
    /// What is no whole block, and why not.
    Broken(&'static str),
}

/// The file, up to where it ended when it was opened: it may still be written to.
struct Source {
    name: String,
    file: BufReader<File>,
    offset: u64,
    length: u64,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) =
            opened.map_err(|error| Failure::usage(format!("cannot read journal {name}: {error}")))?;
        Ok(Source { name, file: BufReader::with_capacity(1 << 20, file), offset: 0, length })
    }

    /// The journal cannot be used; where, and why.
    fn fault(&self, offset: u64, why: &str) -> Failure {
        Failure::usage(format!("cannot read journal {} at byte {offset}: {why}", self.name))
            .advise("Without what stands there nothing in the file can be read.")
    }

    /// What is not read from a byte on, and why.
    fn left_out(&self, from: u64, why: &str) -> String {
        let bytes = grouped(self.length.saturating_sub(from));
        format!("what follows byte {from} cannot be read: {bytes} bytes are left out ({why})")
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), Failure> {
        self.file.read_exact(into).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => self.fault(self.offset, "it ends there"),
            _ => Failure::unexpected(format!("cannot read journal {}: {error}", self.name)),
        })?;
        self.offset += into.len() as u64;
        Ok(())
    }

    fn header(&mut self) -> Result<Header, Failure> {
        let not_ours = || {
            Failure::usage(format!("cannot read {}: it is no journal of this program", self.name))
                .advise("Name the journal that a run has written.")
        };
        let mut start = [0; MAGIC.len() + 4];
        if self.file.read_exact(&mut start).is_err() || start[..MAGIC.len()] != MAGIC {
            return Err(not_ours());
        }
        self.offset = start.len() as u64;
        if start[MAGIC.len()..] != VERSION.to_le_bytes() {
            return Err(self.other_version());
        }
        let mut text = Vec::new();
        match self.next(&mut text)? {
            Next::Block => {}
            Next::Nothing => return Err(self.fault(self.offset, "it ends before the run began")),
            Next::Broken(why) => return Err(self.fault(start.len() as u64, why)),
        }
        let header: Header = serde_json::from_slice(&text).map_err(|error| {
            self.fault(start.len() as u64, &format!("its header cannot be read: {error}"))
        })?;
        if header.schema == SCHEMA { Ok(header) } else { Err(self.other_version()) }
    }

    fn other_version(&self) -> Failure {
        Failure::usage(format!("cannot read journal {}: it is of another version", self.name))
            .advise("Read it with the version of the program that wrote it.")
    }

    /// Reads the next payload.
    fn next(&mut self, payload: &mut Vec<u8>) -> Result<Next, Failure> {
        let left = self.length.saturating_sub(self.offset);
        if left == 0 {
            return Ok(Next::Nothing);
        }
        const CUT: Next = Next::Broken("a block is cut short");
        if left < FRAME as u64 {
            return Ok(CUT);
        }
        let mut frame = [0; FRAME];
        self.read(&mut frame)?;
        let [a, b, c, d, sum @ ..] = frame;
        let length = u32::from_le_bytes([a, b, c, d]);
        if length == 0 || length as usize > MOST_PAYLOAD {
            return Ok(Next::Broken("a block cannot have that length"));
        }
        if left - (FRAME as u64) < u64::from(length) {
            return Ok(CUT);
        }
        payload.resize(length as usize, 0);
        self.read(payload)?;
        let sound = crc32fast::hash(payload) == u32::from_le_bytes(sum);
        Ok(if sound { Next::Block } else { Next::Broken("the checksum of a block does not fit") })
    }
}
