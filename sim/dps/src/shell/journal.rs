//! Keeps what an instance must not forget in an embedded database, each write durable before it is answered.
//!
//! One thread owns the database. Writes that wait at the same time are committed together, so that durability
//! costs one flush to the disk for many devices. What is committed is the state at the time of the commit, which is
//! that of the write or a later one: of two writes at once none can overtake the other. Blocking work stays on that
//! thread.

use crate::enrollments::{Credential, Document, Individual, Record};
use crate::memory::{ControlMemory, Forgotten, IndividualMemory, Touched, pem_of, unreadable};
use crate::registrar::Registrar;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable as _,
    ReadableTableMetadata as _, StorageBackend as _, Table, TableDefinition, TableError,
};
use serde::de::DeserializeOwned;
use sim_identity::{Certificate, Seed};
use sim_protocol::attestation::{CertificatePair, CertificateSlot, EnrollmentGroup, IndividualEnrollment};
use sim_protocol::resource::{CertificateResponse, InstancePath};
use std::collections::BTreeSet;
use std::fs::OpenOptions;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

type Definition = TableDefinition<'static, &'static str, &'static str>;

const CONTROL: Definition = TableDefinition::new("control");
const INDIVIDUALS: Definition = TableDefinition::new("individuals");
const REGISTRATIONS: Definition = TableDefinition::new("registrations");
const SEED: Definition = TableDefinition::new("seed");
/// Bytes of the file kept in memory: what is asked of it is always the same few pages.
const CACHE: usize = 16 << 20;
/// The one key of [`CONTROL`] and [`SEED`].
const INSTANCE: &str = "instance";
/// Writes committed together, at most.
const MOST_AT_ONCE: usize = 4096;

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// Another process writes to it.
    #[error("cannot use the state file {path}: another mock has it open")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The database, or the file under it.
    #[error("cannot use the state file {path}: {reason}")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// What is in it makes no sense.
    #[error("cannot use the state file {path}: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Forgotten,
    },
}

/// A state file that nobody else has open.
pub(crate) struct StateFile {
    database: Database,
    path: PathBuf,
}

impl StateFile {
    /// Opens or creates it. It holds keys, so it is the owner's alone from its first moment.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalFault> {
        let fault = |reason: String| JournalFault::Database { path: path.to_owned(), reason };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(path).map_err(|e| fault(e.to_string()))?;
        let database = Database::builder().set_cache_size(CACHE).create_file(file);
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => JournalFault::Locked { path: path.to_owned() },
            other => fault(other.to_string()),
        })?;
        Ok(StateFile { database, path: path.to_owned() })
    }

    /// The seed that the file was begun with; `begin` where it begins now. A restarted mock has the same keys.
    pub(crate) fn seed(&self, begin: &Seed) -> Result<Seed, JournalFault> {
        let fault = |reason: String| JournalFault::Database { path: self.path.clone(), reason };
        let kept = seed(&self.database, begin).map_err(|e| fault(e.to_string()))?;
        let bytes = STANDARD.decode(&kept).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        bytes.map(Seed::from_bytes).ok_or_else(|| fault("the seed in it cannot be read".to_owned()))
    }
}

/// The seed in the file as text, put there first where there is none.
fn seed(database: &Database, begin: &Seed) -> Result<String, redb::Error> {
    let transaction = database.begin_write()?;
    let kept = {
        let mut table = transaction.open_table(SEED)?;
        let known = table.get(INSTANCE)?.map(|text| text.value().to_owned());
        let kept = known.unwrap_or_else(|| STANDARD.encode(begin.draw("state file", 0, 0)));
        table.insert(INSTANCE, kept.as_str())?;
        kept
    };
    transaction.commit()?;
    Ok(kept)
}

/// A write that could not be made durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotKept(String);

enum Entry {
    /// The state of this, as it is when it is written.
    Touched(Touched),
    /// The state of everything, in the place of what there is.
    All,
}

type Job = (Entry, oneshot::Sender<Result<(), NotKept>>);

/// The writing end of a state file.
#[derive(Debug)]
pub(crate) struct Journal {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Takes up what is in the file, and writes to it from now on.
    pub(crate) fn start(file: StateFile, registrar: &Arc<Registrar>) -> Result<Self, JournalFault> {
        let StateFile { database, path } = file;
        let path = path.as_path();
        let fault = |reason: redb::Error| JournalFault::Database {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let take = |touched: Touched, text: &str| registrar.restore(&touched, text);
        match read(&database, take).map_err(fault)? {
            Ok(()) => {}
            Err(source) => return Err(JournalFault::Content { path: path.to_owned(), source }),
        }
        let (jobs, waiting) = mpsc::channel(MOST_AT_ONCE);
        let registrar = registrar.clone();
        let writer = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(&database, &registrar, waiting));
        let writer =
            writer.map_err(|e| JournalFault::Database { path: path.to_owned(), reason: e.to_string() })?;
        Ok(Journal { jobs: Some(jobs), writer: Some(writer) })
    }

    /// Returns when the state of what was touched, or a later one, is on the disk.
    pub(crate) async fn keep(&self, touched: Touched) -> Result<(), NotKept> {
        self.submit(Entry::Touched(touched)).await
    }

    /// Returns when the state of everything is on the disk, and nothing else.
    pub(crate) async fn keep_all(&self) -> Result<(), NotKept> {
        self.submit(Entry::All).await
    }

    async fn submit(&self, entry: Entry) -> Result<(), NotKept> {
        let gone = || NotKept("the state file is closed".to_owned());
        let (done, kept) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send((entry, done)).await.map_err(|_| gone())?;
        kept.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Closing the channel lets the writer finish what it has and end.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// What the key of a table's row stands for.
type Keyed = fn(String) -> Touched;

/// Hands over every row; the first that cannot be taken ends it.
fn read(
    database: &Database,
    take: impl Fn(Touched, &str) -> Result<(), Forgotten>,
) -> Result<Result<(), Forgotten>, redb::Error> {
    let begin = database.begin_write()?;
    for table in [CONTROL, INDIVIDUALS, REGISTRATIONS] {
        begin.open_table(table)?;
    }
    begin.commit()?;
    let transaction = database.begin_read()?;
    let tables: [(Definition, Keyed); 3] = [
        (CONTROL, |_| Touched::Control),
        (INDIVIDUALS, Touched::Individual),
        (REGISTRATIONS, Touched::Registration),
    ];
    for (table, touched) in tables {
        for row in transaction.open_table(table)?.iter()? {
            let (key, text) = row?;
            if let Err(fault) = take(touched(key.value().to_owned()), text.value()) {
                return Ok(Err(fault));
            }
        }
    }
    Ok(Ok(()))
}

fn write(database: &Database, registrar: &Registrar, mut waiting: mpsc::Receiver<Job>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MOST_AT_ONCE
            && let Ok(more) = waiting.try_recv()
        {
            batch.push(more);
        }
        let mut all = false;
        let mut touched = BTreeSet::new();
        let mut waiters = Vec::with_capacity(batch.len());
        for (entry, done) in batch {
            match entry {
                Entry::All => all = true,
                Entry::Touched(one) => drop(touched.insert(one)),
            }
            waiters.push(done);
        }
        let kept = if all { rewrite(database, registrar) } else { commit(database, registrar, &touched) };
        let kept = kept.map_err(|e| NotKept(e.to_string()));
        for done in waiters {
            // A client that went away does not wait any more.
            let _ = done.send(kept.clone());
        }
    }
}

/// One thing that a state file keeps, as the APIs show it, and with the content of certificates that they leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// An uploaded CA certificate.
    Authority(Box<CertificateResponse>),
    /// An enrollment group.
    Group(Box<EnrollmentGroup>),
    /// An individual enrollment.
    Individual(Box<IndividualEnrollment>),
}

/// Reads what a mock keeps in its state file, and writes nothing: hands over its CA certificates, groups and
/// individual enrollments and says how many registrations there are.
///
/// # Errors
/// Where the file cannot be read, is no state file, or a mock has it open.
pub fn read_state(path: &Path, take: impl FnMut(Kept)) -> Result<u64, JournalFault> {
    let database = |reason: String| JournalFault::Database { path: path.to_owned(), reason };
    // The database is closed with its handle, whatever still reads from it.
    let read = match Database::builder().set_cache_size(CACHE).open_read_only(path) {
        Ok(found) => read_kept(&found, take),
        Err(DatabaseError::DatabaseAlreadyOpen) => {
            return Err(JournalFault::Locked { path: path.to_owned() });
        }
        // The mock did not end by itself. What it left is put in order in memory.
        Err(DatabaseError::RepairAborted) => repaired(path).and_then(|found| read_kept(&found, take)),
        Err(error) => Err(error.into()),
    };
    match read.map_err(|error| database(error.to_string()))? {
        Ok(registrations) => Ok(registrations),
        Err(source) => Err(JournalFault::Content { path: path.to_owned(), source }),
    }
}

fn read_kept(
    database: &impl ReadableDatabase,
    take: impl FnMut(Kept),
) -> Result<Result<u64, Forgotten>, redb::Error> {
    kept(&database.begin_read()?, take)
}

/// A copy of the file in memory.
fn repaired(path: &Path) -> Result<Database, redb::Error> {
    let bytes = std::fs::read(path)?;
    let memory = InMemoryBackend::new();
    memory.set_len(bytes.len() as u64)?;
    memory.write(0, &bytes)?;
    Ok(Database::builder().set_cache_size(CACHE).create_with_backend(memory)?)
}

/// Hands over what is kept; the first that makes no sense ends it.
fn kept(
    transaction: &ReadTransaction,
    mut take: impl FnMut(Kept),
) -> Result<Result<u64, Forgotten>, redb::Error> {
    // A mock makes its tables when it starts: none of them is there in a file that is begun.
    let opened = |table: Definition| match transaction.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        opened => opened.map(Some),
    };
    if let Some(row) = opened(CONTROL)?.map(|table| table.get(INSTANCE)).transpose()?.flatten()
        && let Err(fault) = control(row.value(), &mut take)
    {
        return Ok(Err(fault));
    }
    if let Some(table) = opened(INDIVIDUALS)? {
        for row in table.iter()? {
            match individual(row?.1.value()) {
                Ok(individual) => take(individual),
                Err(fault) => return Ok(Err(fault)),
            }
        }
    }
    Ok(Ok(opened(REGISTRATIONS)?.map(|table| table.len()).transpose()?.unwrap_or_default()))
}

fn parse<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, Forgotten> {
    serde_json::from_str(text).map_err(|error| unreadable(what, error))
}

fn control(text: &str, take: &mut impl FnMut(Kept)) -> Result<(), Forgotten> {
    let control = parse::<ControlMemory>("CAs and groups", text)?.control()?;
    let collection = InstancePath::default().certificates();
    for record in control.authorities.records() {
        let mut response = record.response(&collection);
        response.properties.certificate = Some(record.uploaded.clone());
        take(Kept::Authority(Box::new(response)));
    }
    control.groups.records().values().for_each(|group| take(Kept::Group(Box::new(whole(group)))));
    Ok(())
}

fn individual(text: &str) -> Result<Kept, Forgotten> {
    let memory: IndividualMemory = parse("individual enrollment", text)?;
    Individual::remember(memory).map(|individual| Kept::Individual(Box::new(whole(&individual))))
}

/// An enrollment's document with the certificates that answers leave out.
fn whole<D: Document>(record: &Record<D>) -> D {
    let mut document = record.document.clone();
    let slot = |held: &Option<Arc<Certificate>>| {
        held.as_ref().map(|c| CertificateSlot { certificate: Some(pem_of(c)), info: None })
    };
    let pair = |held: &[Option<Arc<Certificate>>; 2]| {
        Some(CertificatePair { primary: slot(&held[0]), secondary: slot(&held[1]) })
    };
    let x509 = document.terms_mut().attestation.x509.get_or_insert_default();
    match &record.credential {
        Credential::Signers(held) => x509.signing_certificates = pair(held),
        Credential::Leaves(held) => x509.client_certificates = pair(held),
        Credential::References(_) => {}
        Credential::Keys(_) => document.terms_mut().attestation.x509 = None,
    }
    document
}

type Rows<'t> = Table<'t, &'static str, &'static str>;

/// The tables of one transaction.
struct Tables<'t> {
    control: Rows<'t>,
    individuals: Rows<'t>,
    registrations: Rows<'t>,
}

impl Tables<'_> {
    fn put(&mut self, touched: &Touched, text: Option<&str>) -> Result<(), redb::Error> {
        let (table, key) = match touched {
            Touched::Control => (&mut self.control, INSTANCE),
            Touched::Individual(key) => (&mut self.individuals, key.as_str()),
            Touched::Registration(key) => (&mut self.registrations, key.as_str()),
        };
        match text {
            Some(text) => drop(table.insert(key, text)?),
            None => drop(table.remove(key)?),
        }
        Ok(())
    }
}

/// One transaction, on the disk when it returns: redb's default durability.
fn transact(
    database: &Database,
    fill: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables = Tables {
            control: transaction.open_table(CONTROL)?,
            individuals: transaction.open_table(INDIVIDUALS)?,
            registrations: transaction.open_table(REGISTRATIONS)?,
        };
        fill(&mut tables)?;
    }
    Ok(transaction.commit()?)
}

fn commit(
    database: &Database,
    registrar: &Registrar,
    touched: &BTreeSet<Touched>,
) -> Result<(), redb::Error> {
    transact(database, |tables| {
        touched.iter().try_for_each(|one| tables.put(one, registrar.memory(one).as_deref()))
    })
}

fn rewrite(database: &Database, registrar: &Registrar) -> Result<(), redb::Error> {
    transact(database, |tables| {
        for table in [&mut tables.control, &mut tables.individuals, &mut tables.registrations] {
            table.retain(|_, _| false)?;
        }
        registrar.everything().iter().try_for_each(|(touched, text)| tables.put(touched, Some(text)))
    })
}
