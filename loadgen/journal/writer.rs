//! A worker's end of the journal: entries in a block of memory, which goes to the file when there is time.

use super::wire::{
    self, DEFINED, ENDING, ENTRIES, ENTRIES_AFRESH, FIRST_NAME, FRAME, GIVEN_UP, HELD, HOLD, MOST_NAMES,
    PLAIN, cause_number, has, outcome, phase_number, put, put_signed, put_text,
};
use crate::recorder::Ending;
use sim_device::{Attempt, Held, Outcome, TlsFacts};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Instant;

/// How large a block may grow before it is sent without being asked for.
const SEND_AT: usize = 256 << 10;
/// How large a block may grow that cannot be sent, before its entries are lost.
const MOST_KEPT: usize = 8 << 20;

/// What goes to the thread that owns the file.
#[derive(Debug)]
pub(super) enum Message {
    /// Entries to write.
    Block(Block),
    /// No more comes.
    End,
}

/// Entries of one worker, as they go to the file; room for the frame is in front.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: u64,
}

/// What was written of a worker last: what follows is told by how it differs. Starts anew in every block.
#[derive(Debug, Default)]
struct Last {
    arrival: u64,
    device: u64,
    due: i64,
    id: String,
}

/// One worker's writer. Writing an entry costs no allocation and never waits; dropped, it waits until its last block
/// is taken.
#[derive(Debug)]
pub struct Writer {
    worker: usize,
    start: Instant,
    channel: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    block: Block,
    last: Last,
    names: HashMap<Box<str>, u64>,
    tls: Vec<TlsFacts>,
    /// Whether a reader has the names that were numbered so far.
    afresh: bool,
}

impl Writer {
    pub(super) fn new(
        worker: usize,
        start: Instant,
        channel: SyncSender<Message>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Writer {
            worker,
            start,
            channel,
            lost,
            block: Block::default(),
            last: Last::default(),
            names: HashMap::new(),
            tls: Vec::new(),
            afresh: true,
        }
    }

    /// Keeps how an arrival ended. An attempt in it says when the arrival came due and was started; any other ending
    /// but an interruption says that it had come due.
    pub fn end(&mut self, ending: &Ending<'_>) {
        self.begin(ENDING);
        let retries = ending.attempt.map(|attempt| attempt.retries).filter(|retries| retries.total() > 0);
        let tls = ending.attempt.and_then(|attempt| attempt.tls);
        let flags = [
            (has::ATTEMPT, ending.attempt.is_some()),
            (has::LATENESS, ending.lateness.is_some()),
            (has::EXPECTED, ending.expected),
            (has::DEFECT, ending.defect.is_some()),
            (has::TLS, tls.is_some()),
            (has::RETRIES, retries.is_some()),
        ];
        let flags = flags.into_iter().filter(|(_, is)| *is).fold(0, |all, (flag, _)| all | flag);
        self.block.bytes.push(flags);
        self.whose(ending);
        if let Some(lateness) = ending.lateness {
            put(&mut self.block.bytes, nanoseconds(lateness.as_nanos()));
        }
        if let Some(defect) = ending.defect {
            self.name(defect.id());
        }
        self.outcome(ending.outcome, ending.id);
        if let Some(attempt) = ending.attempt {
            self.attempt(attempt, ending.due);
        }
        if let Some(facts) = tls {
            self.tls(facts);
        }
        if let Some(retries) = retries {
            let counts = [retries.throttled, retries.server_error, retries.connection, retries.timeout];
            counts.into_iter().for_each(|count| put(&mut self.block.bytes, u64::from(count)));
        }
        self.close();
    }

    /// Keeps that an attempt which is given up had come due and been started; its end is another entry.
    pub fn given_up(&mut self, due: Instant, started: Instant) {
        self.begin(GIVEN_UP);
        self.due(due);
        put_signed(&mut self.block.bytes, difference(due, started));
        self.close();
    }

    /// Keeps that a device stays connected.
    pub fn hold(&mut self, arrival: u64) {
        self.begin(HOLD);
        self.arrival(arrival);
        self.close();
    }

    /// Keeps how a device stayed connected; `None` when it was told to leave.
    pub fn held(&mut self, held: Option<&Held>) {
        self.begin(HELD);
        self.block.bytes.push(u8::from(held.is_some()));
        if let Some(held) = held {
            put(&mut self.block.bytes, nanoseconds(held.lasted.as_nanos()));
            put(&mut self.block.bytes, u64::from(held.pings));
            self.block.bytes.push(held.dropped.map_or(0, |cause| cause_number(cause) + 1));
        }
        self.close();
    }

    /// Hands over what was kept so far, if there is room for it; to be called a few times a second and at the end.
    pub fn flush(&mut self) {
        if self.block.entries == 0 {
            return;
        }
        let next = Block { bytes: Vec::with_capacity(self.block.bytes.len()), entries: 0 };
        match self.channel.try_send(Message::Block(std::mem::replace(&mut self.block, next))) {
            Ok(()) => {}
            Err(TrySendError::Full(Message::Block(block))) => self.block = block,
            Err(TrySendError::Disconnected(Message::Block(block))) => self.lose(&block),
            Err(TrySendError::Full(Message::End) | TrySendError::Disconnected(Message::End)) => {}
        }
    }

    fn lose(&mut self, block: &Block) {
        self.lost.fetch_add(block.entries, Ordering::Relaxed);
        // Names that the block numbered are unknown to a reader.
        self.names.clear();
        self.tls.clear();
        self.afresh = true;
    }

    /// Begins an entry, and a block where there is none.
    fn begin(&mut self, tag: u8) {
        if self.block.bytes.is_empty() {
            self.block.bytes.extend([0; FRAME]);
            self.block.bytes.push(if self.afresh { ENTRIES_AFRESH } else { ENTRIES });
            put(&mut self.block.bytes, self.worker as u64);
            self.afresh = false;
            self.last.id.clear();
            (self.last.arrival, self.last.device, self.last.due) = (0, 0, 0);
        }
        self.block.bytes.push(tag);
    }

    fn close(&mut self) {
        self.block.entries += 1;
        if self.block.bytes.len() >= SEND_AT {
            self.flush();
        }
        if self.block.bytes.len() >= MOST_KEPT {
            let block = std::mem::take(&mut self.block);
            self.lose(&block);
        }
    }

    fn whose(&mut self, ending: &Ending<'_>) {
        self.arrival(ending.arrival);
        put_signed(&mut self.block.bytes, ending.device.wrapping_sub(self.last.device) as i64);
        self.last.device = ending.device;
        put(&mut self.block.bytes, ending.factory as u64);
        self.id(ending.id);
        self.due(ending.due);
    }

    fn arrival(&mut self, arrival: u64) {
        put_signed(&mut self.block.bytes, arrival.wrapping_sub(self.last.arrival) as i64);
        self.last.arrival = arrival;
    }

    fn due(&mut self, due: Instant) {
        let due = difference(self.start, due);
        put_signed(&mut self.block.bytes, due.wrapping_sub(self.last.due));
        self.last.due = due;
    }

    /// Ids of a fleet differ in a few characters at the end.
    fn id(&mut self, id: &str) {
        let last = &mut self.last.id;
        let same = last.bytes().zip(id.bytes()).take_while(|(a, b)| a == b).count();
        // A character is not cut in two.
        let same = (0..=same).rev().find(|at| id.is_char_boundary(*at)).unwrap_or(0);
        put(&mut self.block.bytes, same as u64);
        put_text(&mut self.block.bytes, &id[same..]);
        last.truncate(same);
        last.push_str(&id[same..]);
    }

    fn outcome(&mut self, ended: &Outcome, id: &str) {
        match ended {
            Outcome::Assigned(assignment) => {
                self.block.bytes.push(outcome::ASSIGNED);
                self.name(&assignment.hub);
                // Hardly ever another than the registration id.
                let device_id = if assignment.device_id == id { "" } else { &assignment.device_id };
                put_text(&mut self.block.bytes, device_id);
            }
            Outcome::Connected => self.block.bytes.push(outcome::CONNECTED),
            Outcome::Refused(refused) => {
                self.block.bytes.extend([outcome::REFUSED, phase_number(refused.phase)]);
                self.said(refused.code, &refused.message);
            }
            Outcome::Disabled => self.block.bytes.push(outcome::DISABLED),
            Outcome::Failed { code, message } => {
                self.block.bytes.push(outcome::FAILED);
                self.said(*code, message);
            }
            Outcome::Throttled => self.block.bytes.push(outcome::THROTTLED),
            Outcome::Unreachable { phase, cause } => {
                let numbers = [outcome::UNREACHABLE, phase_number(*phase), cause_number(*cause)];
                self.block.bytes.extend(numbers);
            }
            Outcome::TimedOut { phase } => {
                self.block.bytes.extend([outcome::TIMED_OUT, phase_number(*phase)]);
            }
            Outcome::ProtocolError { phase, what } => {
                self.block.bytes.extend([outcome::PROTOCOL_ERROR, phase_number(*phase)]);
                self.name(what);
            }
            Outcome::Shed => self.block.bytes.push(outcome::SHED),
            Outcome::Interrupted => self.block.bytes.push(outcome::INTERRUPTED),
        }
    }

    fn said(&mut self, code: Option<u32>, message: &str) {
        put(&mut self.block.bytes, code.map_or(0, |code| u64::from(code) + 1));
        self.name(message);
    }

    fn attempt(&mut self, attempt: &Attempt, due: Instant) {
        let out = &mut self.block.bytes;
        put_signed(out, difference(due, attempt.started));
        put_signed(out, difference(attempt.started, attempt.finished));
        put(out, attempt.phases.each().count() as u64);
        for (phase, took) in attempt.phases.each() {
            out.push(phase_number(phase));
            put(out, nanoseconds(took.as_nanos()));
        }
    }

    fn tls(&mut self, facts: TlsFacts) {
        if let Some(at) = self.tls.iter().position(|known| *known == facts) {
            return put(&mut self.block.bytes, at as u64 + FIRST_NAME);
        }
        let known = self.tls.len() < MOST_NAMES;
        put(&mut self.block.bytes, if known { DEFINED } else { PLAIN });
        [facts.version, facts.suite, facts.group]
            .into_iter()
            .for_each(|text| put_text(&mut self.block.bytes, text));
        self.block.bytes.push(u8::from(facts.resumed));
        if known {
            self.tls.push(facts);
        }
    }

    /// A text that is likely to come again.
    fn name(&mut self, text: &str) {
        let out = &mut self.block.bytes;
        if let Some(&number) = self.names.get(text) {
            return put(out, number + FIRST_NAME);
        }
        let number = self.names.len();
        if number < MOST_NAMES {
            self.names.insert(text.into(), number as u64);
        }
        put(out, if number < MOST_NAMES { DEFINED } else { PLAIN });
        wire::put_text(out, text);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.block.entries == 0 {
            return;
        }
        let block = std::mem::take(&mut self.block);
        let entries = block.entries;
        if self.channel.send(Message::Block(block)).is_err() {
            self.lost.fetch_add(entries, Ordering::Relaxed);
        }
    }
}

/// From one moment to another, in nanoseconds; 292 years at most.
fn difference(from: Instant, to: Instant) -> i64 {
    let whole = |nanoseconds: u128| i64::try_from(nanoseconds).unwrap_or(i64::MAX);
    match to.checked_duration_since(from) {
        Some(after) => whole(after.as_nanos()),
        None => -whole(from.saturating_duration_since(to).as_nanos()),
    }
}

fn nanoseconds(nanoseconds: u128) -> u64 {
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}
