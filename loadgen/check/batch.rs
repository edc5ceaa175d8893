//! Examines a batch on every core, in order and in constant memory, and adds up.

use super::inputs::{Asking, Input, Unreadable};
use super::{Examined, Summary, Tally, reason};
use crate::exit::{Exit, Failure};
use sim_identity::Certificate;
use sim_identity::certificate::KeyKind;
use sim_identity::files::CertificatePool;
use sim_identity::preflight::{Batch, Code, Examination, Finding, Presented, Severity};
use sim_identity::verdict::Verdict;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;
use time::OffsetDateTime;

/// Devices that are handed to a worker at once.
const PORTION: usize = 64;
/// Portions that wait or are worked on, for each worker.
const AHEAD: usize = 4;
/// Different names that are counted one by one; what comes later is counted together.
const NAMES: usize = 10_000;
/// Where those are counted.
pub const OTHERS: &str = "(others)";

/// One device of a batch, done.
#[derive(Debug)]
pub enum Item {
    /// With a verdict.
    Examined(Box<Examined>),
    /// Without one: its files are of no use.
    Unreadable(Unreadable),
    /// No device: CA certificates alone, in a directory of all sorts. By its label.
    Authorities(String),
}

/// How a batch is worked off.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// Threads that examine.
    pub workers: usize,
    /// What PKCS#12 files are opened with.
    pub password: Option<&'a str>,
    /// When the work began.
    pub started: Instant,
    /// Set when the user has seen enough.
    pub stop: &'a AtomicBool,
}

/// Examines every device of `source`. `on_each` sees them in the order of the source, `progress` how many more are
/// done. What only shows in the whole batch, two devices with one serial number for instance, is in the summary alone.
///
/// # Errors
/// With [`Exit::Interrupted`] when `stop` was set meanwhile.
pub fn run(
    source: impl Iterator<Item = Result<Input, Unreadable>>,
    work: Work<'_>,
    examine: impl Fn(&Presented, &Asking) -> Examination + Sync,
    mut on_each: impl FnMut(&Item),
    mut progress: impl FnMut(u64),
) -> Result<Summary, Failure> {
    let pool = CertificatePool::new();
    let mut account = Account::default();
    let step = |input: Result<Input, Unreadable>| item(input, work.password, &pool, &examine);
    in_order(source, work.workers.max(1), step, |items: Vec<Item>| {
        if work.stop.load(Ordering::Relaxed) {
            let done = account.index;
            return Err(Failure::new(
                Exit::Interrupted,
                format!("checking was interrupted after {done} devices"),
            ));
        }
        let count = items.len() as u64;
        for item in items {
            account.note(&item);
            on_each(&item);
        }
        progress(count);
        Ok(())
    })?;
    Ok(account.summary(work.started.elapsed().as_secs_f64()))
}

fn item(
    input: Result<Input, Unreadable>,
    password: Option<&str>,
    pool: &CertificatePool,
    examine: &impl Fn(&Presented, &Asking) -> Examination,
) -> Item {
    let read = input.and_then(|input| input.read(password, pool).map(|presented| (input, presented)));
    match read {
        Ok((Input { label, mixed: true, .. }, presented))
            if presented.certificates.iter().all(|certificate| certificate.is_ca()) =>
        {
            Item::Authorities(label)
        }
        Ok((Input { label, asking, .. }, presented)) => {
            let examination = examine(&presented, &asking);
            Item::Examined(Box::new(Examined { label, presented, examination }))
        }
        Err(unreadable) => Item::Unreadable(unreadable),
    }
}

/// What a portion becomes, and where to send it.
type Job<I, O> = (Vec<I>, SyncSender<Vec<O>>);

/// Has `step` done to everything on several threads, and hands over the results in their order, a portion at a time.
/// No more than a few portions are anywhere at one time.
fn in_order<I: Send, O: Send>(
    mut source: impl Iterator<Item = I>,
    workers: usize,
    step: impl Fn(I) -> O + Sync,
    mut take: impl FnMut(Vec<O>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (jobs, waiting) = sync_channel::<Job<I, O>>(workers * AHEAD);
    let waiting = Mutex::new(waiting);
    let (step, waiting) = (&step, &waiting);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(move || {
                while let Some((portion, done)) = next(waiting) {
                    // Nobody waits any more where the work was ended early.
                    let _ = done.send(portion.into_iter().map(step).collect());
                }
            });
        }
        // Moved in here, so that the workers end with it.
        let jobs = jobs;
        let mut pending: VecDeque<Receiver<Vec<O>>> = VecDeque::new();
        loop {
            let portion: Vec<I> = source.by_ref().take(PORTION).collect();
            let ended = portion.is_empty();
            if !ended {
                let (done, result) = sync_channel(1);
                jobs.send((portion, done)).map_err(|_| died())?;
                pending.push_back(result);
            }
            while pending.len() >= workers * AHEAD || ended {
                let Some(result) = pending.pop_front() else { return Ok(()) };
                take(result.recv().map_err(|_| died())?)?;
            }
        }
    })
}

fn next<T>(waiting: &Mutex<Receiver<T>>) -> Option<T> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn died() -> Failure {
    Failure::unexpected("cannot check the batch: one of the threads that examine it has died")
}

/// What a batch has come to so far.
#[derive(Default)]
struct Account {
    summary: Summary,
    index: u64,
    /// By DER, because a name's text takes longer to make than to count.
    issuers: HashMap<Vec<u8>, (String, u64)>,
    other_issuers: u64,
    keys: HashMap<KeyKind, u64>,
    months: HashMap<(i32, u8), u64>,
    batch: Batch,
    labels: Labels,
}

impl Account {
    fn note(&mut self, item: &Item) {
        self.index += 1;
        match item {
            Item::Examined(examined) => self.examined(examined),
            Item::Unreadable(unreadable) => self.unreadable(unreadable),
            Item::Authorities(label) => {
                self.summary.left_out += 1;
                self.summary.left_out_example.get_or_insert_with(|| label.clone());
                return;
            }
        }
        self.summary.devices += 1;
    }

    fn unreadable(&mut self, unreadable: &Unreadable) {
        self.summary.unreadable += 1;
        let finding = Finding {
            code: unreadable.code,
            severity: Severity::Error,
            about: None,
            message: unreadable.message.clone(),
            fix: unreadable.advice.clone().unwrap_or_default(),
            evidence: Vec::new(),
        };
        tally(&mut self.summary.findings, &finding, &unreadable.label, true);
    }

    fn examined(&mut self, examined: &Examined) {
        if let Some(leaf) = examined.presented.certificates.first() {
            self.leaf(leaf);
            self.batch.add(leaf);
            self.labels.push(&examined.label);
        }
        let examination = &examined.examination;
        let summary = &mut self.summary;
        let accepted = examination.is_accepted();
        summary.accepted += u64::from(accepted);
        let worst = examination.worst().filter(|_| accepted);
        summary.with_warnings += u64::from(worst == Some(Severity::Warning));
        summary.with_errors += u64::from(worst == Some(Severity::Error));
        let verdict = &examination.judgement.verdict;
        *summary.verdicts.entry(reason(examination)).or_default() += 1;
        if let Some(entry) = entry(verdict).filter(|_| accepted) {
            count(&mut summary.entries, entry);
        }
        for (i, finding) in examination.findings.iter().enumerate() {
            let first = examination.findings[..i].iter().all(|earlier| earlier.code != finding.code);
            tally(&mut summary.findings, finding, &examined.label, first);
        }
        if let Some(change) = &examination.next_change {
            summary.next_change = Some(match summary.next_change {
                Some((at, devices)) if at == change.at => (at, devices + 1),
                Some((at, devices)) if at < change.at => (at, devices),
                _ => (change.at, 1),
            });
        }
    }

    fn leaf(&mut self, leaf: &Certificate) {
        let issuer = leaf.issuer_der();
        let known = self.issuers.len();
        match self.issuers.get_mut(issuer) {
            Some((_, devices)) => *devices += 1,
            None if known < NAMES => {
                self.issuers.insert(issuer.to_vec(), (leaf.issuer(), 1));
            }
            None => self.other_issuers += 1,
        }
        *self.keys.entry(leaf.key_kind()).or_default() += 1;
        let expiry: OffsetDateTime = leaf.expiry();
        *self.months.entry((expiry.year(), expiry.month().into())).or_default() += 1;
    }

    fn summary(self, seconds: f64) -> Summary {
        let mut summary = self.summary;
        let others = (self.other_issuers > 0).then(|| (OTHERS.to_owned(), self.other_issuers));
        for (issuer, devices) in self.issuers.into_values().chain(others) {
            *summary.issuers.entry(issuer).or_default() += devices;
        }
        summary.keys = self.keys.into_iter().map(|(kind, devices)| (kind.to_string(), devices)).collect();
        for (twin, finding) in self.batch.twins().iter().zip(self.batch.findings(|at| self.labels.at(at))) {
            let (code, severity, example) = (twin.code, finding.severity, self.labels.at(twin.pair.1));
            summary.findings.insert(code, Tally { devices: twin.devices, severity, example, finding });
        }
        let month = |((year, month), devices)| (format!("{year:04}-{month:02}"), devices);
        summary.expiry = self.months.into_iter().map(month).collect();
        summary.seconds = seconds;
        summary
    }
}

/// The labels of a batch, each as what it has beyond the one before: those of a sorted directory take some ten bytes.
#[derive(Default)]
struct Labels {
    /// How many bytes it shares with the one before, how many follow, and those.
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Labels {
    fn push(&mut self, label: &str) {
        // What is longer than a path can be is cut.
        let label = &label.as_bytes()[..label.len().min(usize::from(u16::MAX))];
        let shared = label.iter().zip(&self.last).take_while(|(a, b)| a == b).count();
        for length in [shared, label.len() - shared] {
            self.bytes.extend((length as u16).to_le_bytes());
        }
        self.bytes.extend_from_slice(&label[shared..]);
        self.last.clear();
        self.last.extend_from_slice(label);
    }

    /// The label in a place, from 0.
    fn at(&self, place: u64) -> String {
        let (mut label, mut rest) = (Vec::new(), self.bytes.as_slice());
        for _ in 0..=place {
            let Some(([a, b, c, d], after)) = rest.split_first_chunk() else { break };
            let (shared, more) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
            let (suffix, after) = after.split_at_checked(usize::from(more)).unwrap_or_default();
            label.truncate(usize::from(shared));
            label.extend_from_slice(suffix);
            rest = after;
        }
        String::from_utf8_lossy(&label).into_owned()
    }
}

/// The enrollment that takes a device.
fn entry(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Accept(group) => Some(group.as_str()),
        Verdict::AcceptIndividual => Some("(individual enrollment)"),
        _ => None,
    }
}

fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(devices) => *devices += 1,
        None => drop(counts.insert(name.to_owned(), 1)),
    }
}

/// Counts a finding, once a device; the example is the first of the worst.
fn tally(findings: &mut BTreeMap<Code, Tally>, finding: &Finding, label: &str, first: bool) {
    let devices = u64::from(first);
    let new =
        || Tally { devices, severity: finding.severity, example: label.to_owned(), finding: finding.clone() };
    match findings.get_mut(&finding.code) {
        None => drop(findings.insert(finding.code, new())),
        Some(tally) if tally.severity < finding.severity => {
            *tally = Tally { devices: tally.devices + devices, ..new() };
        }
        Some(tally) => tally.devices += devices,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::fixture::World;
    use crate::check::inputs::Source;
    use sim_identity::preflight::Change;
    use sim_identity::verdict::Judgement;
    use std::io::Cursor;
    use std::sync::atomic::AtomicU64;

    /// Lets devices in whose number is even; the odd ones have something to say.
    fn examine(presented: &Presented, _: &Asking) -> Examination {
        let leaf = &presented.certificates[0];
        let number: u64 = leaf.display_name().trim_start_matches("dev-").parse().expect("a number");
        let even = number.is_multiple_of(2);
        let verdict = if even { Verdict::RollsUp } else { Verdict::NoVerifiedCa };
        let finding = |severity| Finding { severity, ..Finding::new(Code::ChainOrder, "said", "do") };
        let findings = match number % 3 {
            0 => vec![finding(Severity::Warning), finding(Severity::Warning)],
            1 => vec![finding(Severity::Error)],
            _ => Vec::new(),
        };
        let next = |at| Change { at, becomes: Verdict::NoVerifiedCa, because: "a date".into() };
        Examination {
            judgement: Judgement::plain(verdict),
            registration_id: None,
            findings,
            next_change: even.then(|| next(if number < 10 { 100 } else { 200 })),
            window_ends_badly: None,
            alternatives: Vec::new(),
            repair: None,
            missing: None,
        }
    }

    fn stream(world: &World, devices: impl Iterator<Item = u64>) -> Source {
        let text: String =
            devices.map(|index| world.device(index)).map(|(chain, key)| chain + &key).collect();
        Source::stream("s", Box::new(Cursor::new(text.into_bytes())))
    }

    fn work(workers: usize, stop: &AtomicBool) -> Work<'_> {
        Work { workers, password: None, started: crate::cli::instant(), stop }
    }

    #[test]
    fn a_batch_is_worked_off_in_order_and_adds_up() {
        let (world, stop) = (World::new(), AtomicBool::new(false));
        for workers in [1, 3] {
            let (mut seen, mut done) = (Vec::new(), 0);
            let see = |item: &Item| match item {
                Item::Examined(examined) => seen.push(examined.presented.certificates[0].display_name()),
                Item::Unreadable(unreadable) => seen.push(unreadable.label.clone()),
                Item::Authorities(label) => seen.push(label.clone()),
            };
            let broken = Source::files(vec!["none.pem".into()]);
            let source = stream(&world, 0..200).chain(broken);
            let summary = run(source, work(workers, &stop), examine, see, |n| done += n).expect("a summary");
            let mut expected: Vec<String> = (0..200).map(|i| format!("dev-{i}")).collect();
            expected.push("none.pem".into());
            assert_eq!(seen, expected);
            assert_eq!((summary.devices, done, summary.unreadable), (201, 201, 1));
            assert_eq!((summary.accepted, summary.with_warnings, summary.with_errors), (100, 34, 33));
            assert_eq!(summary.verdicts, [("rolls-up", 100), ("no-verified-ca", 100)].into());
            assert_eq!(summary.next_change, Some((100, 5)));
            let tally = &summary.findings[&Code::ChainOrder];
            assert_eq!((tally.devices, tally.severity), (134, Severity::Error));
            assert!(tally.example.starts_with("s, line "), "{}", tally.example);
            assert_eq!(summary.findings[&Code::FileUnreadable].devices, 1);
            assert_eq!(summary.keys, [("P-256".to_owned(), 200)].into());
            assert_eq!(summary.issuers, [(world.line().subject(), 200)].into());
            assert_eq!(summary.expiry.values().sum::<u64>(), 200);
        }
    }

    #[test]
    fn what_two_devices_share_is_in_the_summary_with_both_their_labels() {
        let (world, stop) = (World::new(), AtomicBool::new(false));
        let source = stream(&world, (0..100).chain([7]));
        let mut labels = Vec::new();
        let see = |item: &Item| {
            if let Item::Examined(examined) = item {
                labels.push(examined.label.clone());
            }
        };
        let summary = run(source, work(2, &stop), examine, see, |_| ()).expect("a summary");
        for code in [Code::SerialDuplicate, Code::KeyDuplicate, Code::CnCollision] {
            let tally = &summary.findings[&code];
            assert_eq!((tally.devices, tally.example.as_str()), (2, labels[100].as_str()));
            assert!(
                [7, 100].iter().all(|i: &usize| tally.finding.message.contains(&labels[*i])),
                "{tally:?}"
            );
        }
    }

    #[test]
    fn no_more_than_a_few_portions_are_read_ahead() {
        let (read, taken) = (AtomicU64::new(0), AtomicU64::new(0));
        let furthest = AtomicU64::new(0);
        let source = (0..10_000_u64).inspect(|_| {
            let ahead = read.fetch_add(1, Ordering::Relaxed) + 1 - taken.load(Ordering::Relaxed);
            furthest.fetch_max(ahead, Ordering::Relaxed);
        });
        let mut all = Vec::new();
        let ended = in_order(
            source,
            2,
            |n| n * 2,
            |items| {
                taken.fetch_add(items.len() as u64, Ordering::Relaxed);
                all.extend(items);
                Ok(())
            },
        );
        assert!(ended.is_ok());
        assert_eq!(all, (0..10_000).map(|n| n * 2).collect::<Vec<u64>>());
        assert!(furthest.into_inner() <= (2 * AHEAD * PORTION) as u64);
    }

    #[test]
    fn a_batch_ends_when_it_is_told_to() {
        let (world, stop) = (World::new(), AtomicBool::new(true));
        let ended = run(stream(&world, 0..3), work(2, &stop), examine, |_| (), |_| ());
        assert_eq!(ended.err().map(|failure| failure.exit), Some(Exit::Interrupted));
    }

    #[test]
    fn labels_come_back_as_they_went_in() {
        let given = ["fleet/dev-1.pem", "fleet/dev-10.pem", "fleet/dev-2.pem", "", "ä", "ö", "ö"];
        let mut labels = Labels::default();
        given.iter().for_each(|label| labels.push(label));
        for (place, label) in given.iter().enumerate() {
            assert_eq!(labels.at(place as u64), *label);
        }
    }
}
