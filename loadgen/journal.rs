//! Every outcome of a run on the disk as it comes, so that a run which is killed leaves a record.
//!
//! A file starts with a magic, a version and a header in JSON that says what is run; then come blocks, each with its
//! length and its checksum, of compact entries of one worker. Workers fill blocks in memory; one thread owns the file.
//! A disk that fails or is full ends the journal and not the run: what it did not take is counted, and the end mark says
//! how much that is, over the last block where there is no other room. What is damaged ends a journal where it begins.
//!
//! Blocks are in the file, though not yet safe from a loss of power, a fraction of a second after their entries were
//! made.

mod reader;
mod wire;
mod writer;

use crate::cli::cannot_write;
use crate::cli::figures::grouped;
use crate::exit::Failure;
use crate::recorder::Recorder;
pub use reader::Line;
use reader::{Entry, walk};
use reports::{ScenarioText, Setting};
use serde::{Deserialize, Serialize};
use sim_device::Outcome;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Instant;
use wire::{FRAME, MAGIC, THE_END, VERSION};
use writer::Message;
pub use writer::Writer;

/// The version of the header.
pub const SCHEMA: &str = "rollcall.journal/1";
/// Why a record that is made from a journal does not know how an arrival ended.
pub const NOT_IN_IT: &str = "not in the journal";
/// Blocks that may wait for the disk.
const QUEUE: usize = 16;

/// What is run, as far as a record says it and entries do not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// [`SCHEMA`]; filled in when it is written.
    pub schema: String,
    /// The version of the program that runs; filled in when it is written.
    pub program_version: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// When the run started, RFC 3339, UTC.
    pub started_utc: String,
    /// What is run.
    pub scenario: ScenarioText,
    /// Every value that the scenario came to, and where that is from; none in journals of earlier programs.
    pub settings: Vec<Setting>,
    /// What the scenario's paths are relative to.
    pub base: PathBuf,
    /// Which part of the run this is, from 0, and of how many.
    pub shard: (u64, u64),
    /// Arrivals of this part.
    pub planned: u64,
    /// Time spent minting certificates before the run, in seconds.
    pub minting_seconds: f64,
    /// Descriptors the run needs and may have.
    pub descriptors: (u64, u64),
    /// Source addresses that connections are made from; 0 for the system's choice.
    pub source_addresses: u64,
    /// Whether good devices are meant to be let in.
    pub admits: bool,
    /// The group the devices are meant to come in by, where it is known.
    pub group: Option<String>,
}

/// How a journal ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalEnd {
    /// The size of the file.
    pub bytes: u64,
    /// Entries it could not take.
    pub lost: u64,
    /// Why it stopped before the run did, and where, if so.
    pub fault: Option<String>,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    channel: SyncSender<Message>,
    lost: Arc<AtomicU64>,
    fault: Arc<OnceLock<String>>,
    thread: JoinHandle<u64>,
}

impl Journal {
    /// Makes the file, over one that is there, and writes the header.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn create(path: &Path, header: &Header) -> Result<Journal, Failure> {
        let header = Header {
            schema: SCHEMA.to_owned(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..header.clone()
        };
        let text = serde_json::to_vec(&header).map_err(Failure::unexpected)?;
        let mut start = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &[0; FRAME], &text].concat();
        frame(&mut start[MAGIC.len() + 4..]);
        let created = File::create(path).and_then(|mut file| file.write_all(&start).map(|()| file));
        let file = created.map_err(|error| cannot_write(path, &error))?;
        let (channel, blocks) = sync_channel(QUEUE);
        let (lost, fault) = (Arc::new(AtomicU64::new(0)), Arc::new(OnceLock::new()));
        let mut keeper = Keeper::new(file, start.len() as u64, lost.clone(), fault.clone());
        let work = move || {
            keeper.keep(&blocks);
            if let Err(error) = keeper.disk.sync_all() {
                keeper.stop(&error);
            }
            keeper.bytes
        };
        let thread = std::thread::Builder::new().name("journal".to_owned()).spawn(work);
        let thread = thread
            .map_err(|error| Failure::unexpected(format!("cannot start the journal's thread: {error}")))?;
        Ok(Journal { channel, lost, fault, thread })
    }

    /// Why it stopped and where, once it has: it takes nothing more, and the run goes on.
    pub fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }

    /// A worker's writer; moments of its entries are told from `start`.
    pub fn writer(&self, worker: usize, start: Instant) -> Writer {
        Writer::new(worker, start, self.channel.clone(), self.lost.clone())
    }

    /// Closes the file once everything that was handed over is on the disk. Writers have to be dropped before; what
    /// they hand over afterwards is lost.
    pub fn finish(self) -> JournalEnd {
        // A thread that is gone says so when it is joined.
        let _ = self.channel.send(Message::End);
        let bytes = self.thread.join().unwrap_or_else(|_| {
            self.fault.get_or_init(|| "its thread ended badly".to_owned());
            0
        });
        JournalEnd { bytes, lost: self.lost.load(Ordering::Relaxed), fault: self.fault.get().cloned() }
    }
}

/// Fills in length and checksum in front of a payload.
fn frame(block: &mut [u8]) {
    let Some((head, payload)) = block.split_at_mut_checked(FRAME) else { return };
    // A block ends long before it has 4 GiB.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
}

/// What blocks are written to.
trait Disk: Write {
    /// Goes back to the first so many bytes, and goes on from there.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Disk for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)?;
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// Who writes the file.
struct Keeper<D> {
    disk: D,
    /// What the file has: whole blocks.
    bytes: u64,
    /// Where its last block begins, and how many entries that has.
    last: Option<(u64, u64)>,
    /// Entries that are not in the file.
    lost: Arc<AtomicU64>,
    /// Why nothing more is written but the end mark.
    fault: Arc<OnceLock<String>>,
    /// Whether that is for want of room.
    full: bool,
}

impl<D: Disk> Keeper<D> {
    const fn new(disk: D, bytes: u64, lost: Arc<AtomicU64>, fault: Arc<OnceLock<String>>) -> Self {
        Keeper { disk, bytes, last: None, lost, fault, full: false }
    }

    /// Writes blocks until there are no more, and the end mark; after a fault it counts them only.
    fn keep(&mut self, blocks: &Receiver<Message>) {
        while let Ok(Message::Block(mut block)) = blocks.recv() {
            let at = self.bytes;
            if self.fault.get().is_none() && self.put(&mut block.bytes) {
                self.last = Some((at, block.entries));
            } else {
                self.lose(block.entries);
            }
        }
        // Without its mark a journal looks like that of a run that was killed. Where outcomes are missing anyway, the
        // last block makes room for it.
        if self.end() || !self.full || self.lost.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some((at, entries)) = self.last.take()
            && self.disk.cut(at).is_ok()
        {
            self.bytes = at;
            self.lose(entries);
            self.end();
        }
    }

    fn lose(&self, entries: u64) {
        self.lost.fetch_add(entries, Ordering::Relaxed);
    }

    /// Writes the end mark; whether there was room for it.
    fn end(&mut self) -> bool {
        let mut mark = [&[0; FRAME], [THE_END].as_slice()].concat();
        wire::put(&mut mark, self.lost.load(Ordering::Relaxed));
        self.put(&mut mark)
    }

    /// Writes a block, whole or not at all; whether it did.
    fn put(&mut self, block: &mut [u8]) -> bool {
        frame(block);
        let Err(error) = self.disk.write_all(block) else {
            self.bytes += block.len() as u64;
            return true;
        };
        // A block that was written in part helps nobody, and is passed over where it cannot be taken back.
        let _ = self.disk.cut(self.bytes);
        self.stop(&error);
        false
    }

    /// Keeps the first fault.
    fn stop(&mut self, error: &io::Error) {
        let kinds = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];
        self.full |= kinds.contains(&error.kind());
        let at = grouped(self.bytes);
        self.fault.get_or_init(|| format!("it stopped at {at} bytes: {error}"));
    }
}

/// A run as its journal tells it.
#[derive(Debug)]
pub struct Replayed {
    /// What was run.
    pub header: Header,
    /// What was measured; its moments count from an arbitrary start.
    pub recorder: Recorder,
    /// Whether the run came to its end: the journal was closed.
    pub complete: bool,
    /// Entries that the journal could not take, as far as it says.
    pub lost: u64,
    /// What was left out and why, if something is there that cannot be read.
    pub truncated: Option<String>,
}

/// What a journal says beside how arrivals ended.
#[derive(Debug)]
pub struct Shown {
    /// What was run.
    pub header: Header,
    /// See [`Replayed::truncated`].
    pub truncated: Option<String>,
}

/// Reads a journal into a recorder, in memory that does not grow with the file.
///
/// # Errors
/// When it is no journal of this version, or its header is damaged: the failure names the byte.
pub fn read(path: &Path) -> Result<Replayed, Failure> {
    let start = sim_device::now();
    let mut recorder = Recorder::new(start);
    let walked = walk(path, start, &mut |entry| {
        replay(&mut recorder, &entry);
        Ok(())
    })?;
    let reader::Walked { header, complete, lost, truncated } = walked;
    Ok(Replayed { header, recorder, complete, lost, truncated })
}

fn replay(recorder: &mut Recorder, entry: &Entry<'_>) {
    match entry {
        Entry::Ending(Line { ending, .. }) => {
            if let Some(attempt) = ending.attempt {
                recorder.offered(ending.due);
                recorder.start(attempt.started);
                recorder.again(attempt.finished, &attempt.retries);
            } else if !matches!(ending.outcome, Outcome::Interrupted) {
                recorder.offered(ending.due);
            }
            recorder.end(ending);
        }
        Entry::GivenUp(due, started) => {
            recorder.offered(*due);
            recorder.start(*started);
        }
        Entry::Hold => recorder.hold(),
        Entry::Held(held) => recorder.held(held.as_ref()),
    }
}

/// Shows how every arrival ended, in the order of the file.
///
/// # Errors
/// As for [`read`], and what `visit` says.
pub fn entries(
    path: &Path,
    visit: &mut dyn FnMut(&Line<'_>) -> Result<(), Failure>,
) -> Result<Shown, Failure> {
    let start = sim_device::now();
    let walked = walk(path, start, &mut |entry| match &entry {
        Entry::Ending(line) => visit(line),
        Entry::GivenUp(..) | Entry::Hold | Entry::Held(_) => Ok(()),
    })?;
    Ok(Shown { header: walked.header, truncated: walked.truncated })
}

/// Whether a file is a journal, by what it starts with.
pub fn is_journal(path: &Path) -> bool {
    reader::is_journal(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use crate::recorder::Ending;
    use sim_device::{Assignment, Attempt, ConnectFault, Heard, Held, Phase, Refused, Retries, TlsFacts};
    use sim_identity::Defect;
    use std::fs;
    use std::time::Duration;

    fn refusal(phase: Phase, code: Option<u32>, message: &str) -> Outcome {
        Outcome::Refused(Refused { phase, code, message: message.to_owned() })
    }

    /// One of every outcome, and some that differ in what they hold.
    fn outcomes(index: u64) -> Outcome {
        let assigned =
            |hub: &str, device_id: String| Outcome::Assigned(Assignment { hub: hub.to_owned(), device_id });
        match index % 14 {
            0 => assigned("hub-1", format!("dev-\u{e9}{index:05}")),
            1 => assigned("hub-2", "another".to_owned()),
            2 => Outcome::Connected,
            3 => refusal(Phase::Register, Some(401_002), "unauthorized"),
            4 => refusal(Phase::Connect, None, &format!("tracking id {index}")),
            5 => Outcome::Disabled,
            6 => Outcome::Failed { code: Some(0), message: String::new() },
            7 => Outcome::Throttled,
            8 => Outcome::Unreachable { phase: Phase::Tcp, cause: ConnectFault::NoSourcePort },
            9 => Outcome::TimedOut { phase: Phase::Poll },
            10 => Outcome::ProtocolError { phase: Phase::Tls, what: "nonsense" },
            11 => Outcome::Shed,
            12 => Outcome::Interrupted,
            _ => Outcome::Failed { code: Some(u32::MAX), message: "500".to_owned() },
        }
    }

    fn tls(index: u64) -> Option<TlsFacts> {
        let facts =
            TlsFacts { version: "1.3", suite: "TLS_AES_128_GCM_SHA256", group: "x25519", resumed: false };
        match index % 5 {
            0 => None,
            1 => Some(TlsFacts { resumed: true, version: "1.2", ..facts }),
            _ => Some(facts),
        }
    }

    /// An arrival of a made-up run, told to a recorder and a writer as a worker would.
    fn arrive(index: u64, start: Instant, recorder: &mut Recorder, writer: &mut Writer) {
        let at = |ms: u64| start + Duration::from_millis(ms);
        let outcome = outcomes(index);
        let due = at(index * 7);
        let started = due + Duration::from_micros(index % 900);
        let none = matches!(outcome, Outcome::Shed | Outcome::Interrupted);
        let phases = [
            (Phase::Tcp, 3_u64),
            (Phase::Tls, 900),
            (Phase::Wait, 1 << 40),
            (Phase::Tcp, 5),
            (Phase::Poll, 0),
        ];
        let phases = phases.into_iter().take((index % 6) as usize);
        let retries =
            Retries { throttled: (index % 3) as u32, timeout: (index % 2) as u32, ..Retries::default() };
        let attempt = (!none).then(|| Attempt {
            outcome: outcome.clone(),
            phases: phases.map(|(phase, took)| (phase, Duration::from_nanos(took))).collect(),
            started,
            finished: started + Duration::from_nanos(index * 1_234_567),
            retries,
            heard: Heard::default(),
            tls: tls(index),
        });
        let ending = Ending {
            arrival: index,
            device: index % 1_000,
            id: &format!("dev-\u{e9}{:05}", index % 1_000),
            due,
            lateness: (index.is_multiple_of(2) && !none).then(|| Duration::from_micros(index)),
            outcome: &outcome,
            attempt: attempt.as_ref(),
            defect: index.is_multiple_of(4).then_some(Defect::LEAF_CA_TRUE),
            expected: !index.is_multiple_of(3),
            factory: (index % 2) as usize,
        };
        if !matches!(outcome, Outcome::Interrupted) {
            recorder.offered(due);
        } else if index % 28 == 12 {
            recorder.offered(due);
            recorder.start(started);
            writer.given_up(due, started);
        }
        if let Some(attempt) = &attempt {
            recorder.start(attempt.started);
            recorder.again(attempt.finished, &attempt.retries);
        }
        recorder.end(&ending);
        writer.end(&ending);
        if index % 14 == 2 {
            recorder.hold();
            writer.hold(index);
            let dropped = (index % 28 == 2).then_some(ConnectFault::Silent);
            let held = Held { lasted: Duration::from_secs(60), pings: 3, dropped };
            let held = (index % 42 > 2).then_some(&held);
            recorder.held(held);
            writer.held(held);
        }
    }

    fn setting() -> Setting {
        let [key, value, origin] = ["fleet.devices", "500", "rollcall.toml:3"].map(str::to_owned);
        Setting { key, value, origin }
    }

    /// A journal of two workers in `dir`, and what they recorded.
    fn journal_of(dir: &Path, arrivals: u64, flush_every: u64) -> (PathBuf, Recorder, JournalEnd) {
        let path = dir.join("run.journal");
        let header =
            Header { planned: arrivals, shard: (1, 3), settings: vec![setting()], ..Header::default() };
        let journal = Journal::create(&path, &header).expect("a journal");
        let start = sim_device::now();
        let mut recorder = Recorder::new(start);
        let mut writers = [journal.writer(0, start), journal.writer(1, start)];
        for index in 0..arrivals {
            let writer = &mut writers[(index % 2) as usize];
            arrive(index, start, &mut recorder, writer);
            if index % flush_every == flush_every - 1 {
                writer.flush();
            }
        }
        drop(writers);
        (path, recorder, journal.finish())
    }

    /// Everything a recorder knows but for its start, as text.
    fn told(recorder: &Recorder) -> Vec<String> {
        let sorted = |mut all: Vec<String>| {
            all.sort();
            all.join("\n")
        };
        let reasons = recorder.reasons.iter().map(|(key, (count, _))| format!("{key:?} {count}")).collect();
        vec![
            format!("{} {} {}", recorder.offered, recorder.started, recorder.finished),
            format!("{:?} {} {:?}", recorder.outcomes, recorder.unexpected, recorder.retries),
            sorted(reasons),
            sorted(recorder.hubs.iter().map(|hub| format!("{hub:?}")).collect()),
            sorted(recorder.tls.iter().map(|facts| format!("{facts:?}")).collect()),
            format!("{:?} {:?} {:x}", recorder.factories, recorder.held, recorder.device_set),
            format!("{:?}", recorder.seconds),
            format!("{:?}", recorder.wall()),
        ]
    }

    #[test]
    fn a_journal_is_read_back_to_what_was_recorded() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, recorder, end) = journal_of(dir.path(), 5_000, 100);
        assert_eq!((end.lost, end.fault), (0, None));
        assert_eq!(end.bytes, fs::metadata(&path).expect("there").len());
        let read = read(&path).expect("a journal");
        assert_eq!((read.complete, read.lost, read.truncated), (true, 0, None));
        assert_eq!((read.header.planned, read.header.shard), (5_000, (1, 3)));
        assert_eq!(told(&read.recorder), told(&recorder));
        let (mine, theirs) = (&read.recorder.clocks, &recorder.clocks);
        assert_eq!(mine.phases, theirs.phases);
        assert_eq!((&mine.service, &mine.response), (&theirs.service, &theirs.response));
        assert_eq!((&mine.unsuccessful, &mine.lateness), (&theirs.unsuccessful, &theirs.lateness));
    }

    #[test]
    fn what_was_set_is_in_the_header_but_for_journals_of_earlier_programs() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, ..) = journal_of(dir.path(), 5, 5);
        let header = read(&path).expect("a journal").header;
        assert_eq!(header.settings, [setting()]);
        let mut earlier = serde_json::to_value(&header).expect("JSON");
        earlier.as_object_mut().and_then(|header| header.remove("settings")).expect("settings");
        let text = serde_json::to_vec(&earlier).expect("JSON");
        let mut start = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &[0; FRAME], &text].concat();
        frame(&mut start[MAGIC.len() + 4..]);
        fs::write(&path, start).expect("written");
        assert_eq!(read(&path).expect("a journal").header, Header { settings: Vec::new(), ..header });
    }

    #[test]
    fn an_arrival_takes_few_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        let (_, _, end) = journal_of(dir.path(), 5_000, 500);
        assert!(end.bytes < 5_000 * 60, "{} bytes", end.bytes);
    }

    #[test]
    fn entries_are_shown_in_order_and_as_they_were() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, ..) = journal_of(dir.path(), 300, 10);
        let mut last = [None, None];
        let mut count = 0;
        let seen = entries(&path, &mut |line| {
            let Ending { arrival, outcome, due, expected, defect, .. } = line.ending;
            assert_eq!((outcome, expected), (&outcomes(arrival), arrival % 3 > 0));
            assert_eq!(due.duration_since(line.start), Duration::from_millis(arrival * 7));
            assert_eq!(defect.is_some(), arrival % 4 == 0);
            assert!(last[line.worker as usize].replace(arrival) < Some(arrival));
            count += 1;
            Ok(())
        });
        let seen = seen.expect("a journal");
        assert_eq!((seen.header.schema.as_str(), seen.truncated, count), (SCHEMA, None, 300));
    }

    #[test]
    fn wherever_a_journal_is_cut_off_what_came_before_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, ..) = journal_of(dir.path(), 60, 5);
        let whole = fs::read(&path).expect("read");
        let cut = dir.path().join("cut.journal");
        let mut most = 0;
        let header = header_of(&path);
        for length in 0..whole.len() {
            fs::write(&cut, &whole[..length]).expect("written");
            let found = read(&cut);
            if length < header {
                assert_eq!(found.expect_err("no header").exit, Exit::Usage, "{length}");
                continue;
            }
            let found = found.expect("what came before");
            let total = found.recorder.outcomes.total();
            assert!(!found.complete && total >= most, "{length}");
            most = total;
        }
        assert_eq!(most, 60);
    }

    /// How long the header is, and what is in front of it.
    fn header_of(path: &Path) -> usize {
        let header = read(path).expect("whole").header;
        MAGIC.len() + 4 + FRAME + serde_json::to_vec(&header).expect("JSON").len()
    }

    #[test]
    fn what_comes_before_damage_is_read_and_what_is_left_out_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, ..) = journal_of(dir.path(), 200, 10);
        let (whole, header) = (fs::read(&path).expect("read"), header_of(&path));
        let file = dir.path().join("spoilt.journal");
        let read = |bytes: &[u8]| {
            fs::write(&file, bytes).expect("written");
            read(&file)
        };
        let mut most = 0;
        for at in (header..whole.len()).step_by(37) {
            let mut bytes = whole.clone();
            let end = bytes.len().min(at + 20);
            bytes[at..end].fill(0xff);
            let found = read(&bytes).expect("what comes before");
            let total = found.recorder.outcomes.total();
            assert!(found.truncated.is_some() && !found.complete && (most..=200).contains(&total), "{at}");
            most = total;
        }
        assert!(most > 150, "{most}");
        for at in [0, MAGIC.len(), MAGIC.len() + 4 + FRAME + 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            assert_eq!(read(&bytes).expect_err("no journal").exit, Exit::Usage, "{at}");
        }
    }

    #[test]
    fn zeros_after_a_loss_of_power_are_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, ..) = journal_of(dir.path(), 100, 10);
        let mut bytes = fs::read(&path).expect("read");
        bytes.truncate(bytes.len() - FRAME - 2);
        let entries_of = |bytes: &[u8]| {
            fs::write(&path, bytes).expect("written");
            let mut count = 0;
            let shown = entries(&path, &mut |_| {
                count += 1;
                Ok(())
            });
            (count, shown.expect("a journal").truncated.is_some())
        };
        assert_eq!(entries_of(&bytes), (100, false));
        bytes.extend([0; 4_096]);
        assert_eq!(entries_of(&bytes), (100, true));
        let read = read(&path).expect("a journal");
        assert_eq!((read.complete, read.recorder.outcomes.total()), (false, 100));
        assert!(read.truncated.is_some_and(|why| why.contains("4,096")));
    }

    #[test]
    fn whatever_a_block_holds_it_is_read_or_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, ..) = journal_of(dir.path(), 40, 50);
        let whole = fs::read(&path).expect("read");
        let first = header_of(&path);
        let length = u32::from_le_bytes(whole[first..first + 4].try_into().expect("four")) as usize;
        let file = dir.path().join("odd.journal");
        for at in first + FRAME..first + FRAME + length {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut odd = whole.clone();
                odd[at] = byte;
                frame(&mut odd[first..first + FRAME + length]);
                fs::write(&file, odd).expect("written");
                assert!(read(&file).is_ok(), "{at}");
            }
        }
    }

    /// Has room for so many bytes, and takes what fits of the rest before it says that it is full.
    struct SmallDisk {
        room: usize,
        kept: Vec<u8>,
        full: ErrorKind,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room - self.kept.len());
            if fits == 0 {
                return Err(self.full.into());
            }
            self.kept.extend(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Disk for SmallDisk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.kept.truncate(length as usize);
            Ok(())
        }
    }

    /// A journal of 100 arrivals in blocks of ten on such a disk: what is in it, its keeper's word, and what is read.
    fn on_a_disk(room: usize, full: ErrorKind) -> (SmallDisk, u64, bool, Replayed) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run.journal");
        Journal::create(&path, &Header { planned: 100, ..Header::default() }).expect("a header").finish();
        let mut kept = fs::read(&path).expect("read");
        // Without its end mark: a frame, a kind and a count.
        kept.truncate(kept.len() - FRAME - 2);
        let header = kept.len();
        let (channel, blocks) = sync_channel(64);
        let (lost, fault) = (Arc::new(AtomicU64::new(0)), Arc::new(OnceLock::new()));
        let start = sim_device::now();
        let mut writer = Writer::new(0, start, channel.clone(), lost.clone());
        for index in 0..100 {
            arrive(index * 14 + 5, start, &mut Recorder::new(start), &mut writer);
            if index % 10 == 9 {
                writer.flush();
            }
        }
        channel.send(Message::End).expect("room");
        let disk = SmallDisk { room: header + room, kept, full };
        let mut keeper = Keeper::new(disk, header as u64, lost.clone(), fault.clone());
        keeper.keep(&blocks);
        assert_eq!(keeper.bytes, keeper.disk.kept.len() as u64);
        fs::write(&path, &keeper.disk.kept).expect("written");
        (keeper.disk, lost.load(Ordering::Relaxed), fault.get().is_some(), read(&path).expect("a journal"))
    }

    #[test]
    fn a_full_disk_ends_the_journal_and_the_end_mark_says_what_is_lost() {
        let (ample, lost, fault, read) = on_a_disk(1 << 20, ErrorKind::StorageFull);
        assert_eq!((lost, fault, read.complete, read.lost), (0, false, true, 0));
        let whole = ample.kept.len() - (ample.room - (1 << 20));
        let mark = FRAME + 2;
        for room in (mark..whole).step_by(19) {
            for full in [ErrorKind::StorageFull, ErrorKind::FileTooLarge, ErrorKind::QuotaExceeded] {
                let (_, lost, fault, read) = on_a_disk(room, full);
                let kept = read.recorder.outcomes.total();
                assert_eq!((fault, read.truncated.as_deref(), kept + lost), (true, None, 100), "{room}");
                // Where all blocks found room and the mark did not, none is given up for it.
                assert_eq!((read.complete, read.lost), (lost > 0, lost), "{room}");
            }
        }
    }

    #[test]
    fn a_broken_disk_costs_no_block_that_is_on_it() {
        let (_, full_lost, ..) = on_a_disk(300, ErrorKind::StorageFull);
        let (_, lost, fault, read) = on_a_disk(300, ErrorKind::Other);
        assert!(fault && lost <= full_lost, "{lost}");
        assert_eq!(read.recorder.outcomes.total() + lost, 100);
    }

    #[test]
    fn what_finds_no_room_is_kept_then_lost_and_counted_and_the_rest_can_be_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("run.journal");
        let (channel, blocks) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(0));
        let start = sim_device::now();
        let mut recorder = Recorder::new(start);
        let mut writer = Writer::new(0, start, channel.clone(), lost.clone());
        let mut index = 0;
        // The first block takes the only place, and nobody reads.
        while lost.load(Ordering::Relaxed) == 0 {
            arrive(index, start, &mut recorder, &mut writer);
            index += 1;
        }
        let gone = lost.load(Ordering::Relaxed);
        assert!(gone > 50_000, "{gone}");
        let Message::Block(first) = blocks.recv().expect("the first block") else { panic!("no block") };
        arrive(index, start, &mut recorder, &mut writer);
        drop(writer);
        let Message::Block(last) = blocks.recv().expect("the last block") else { panic!("no block") };
        Journal::create(&path, &Header::default()).expect("a header").finish();
        let mut bytes = fs::read(&path).expect("read");
        let entries = first.entries + last.entries;
        for mut block in [first, last] {
            frame(&mut block.bytes);
            bytes.extend(block.bytes);
        }
        fs::write(&path, bytes).expect("written");
        let read = read(&path).expect("a journal");
        assert_eq!((read.truncated, read.recorder.offered > 1_000), (None, true));
        let of_each = |index: u64| 1 + u64::from(index % 28 == 12) + if index % 14 == 2 { 2 } else { 0 };
        assert_eq!(entries + gone, (0..=index).map(of_each).sum::<u64>());
    }

    #[test]
    fn a_journal_that_cannot_be_made_is_a_failure_and_no_other_file_is_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let nowhere = dir.path().join("nowhere/run.journal");
        assert_eq!(
            Journal::create(&nowhere, &Header::default()).expect_err("no directory").exit,
            Exit::Usage
        );
        let other = dir.path().join("other");
        fs::write(&other, "rollcall").expect("written");
        for path in [&nowhere, &other] {
            assert!(!is_journal(path));
            assert_eq!(read(path).expect_err("no journal").exit, Exit::Usage);
        }
    }
}
