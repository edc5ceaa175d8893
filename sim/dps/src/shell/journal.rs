//! Keeps what an instance must not forget in an embedded database, each write durable before it is answered.
//!
//! One thread owns the database. Writes that wait at the same time are committed together, so that durability
//! costs one flush to the disk for many devices. Blocking work stays on that thread.

use crate::memory::{Change, Forgotten};
use crate::registrar::Registrar;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

const CONTROL: TableDefinition<'_, &str, &str> = TableDefinition::new("control");
const REGISTRATIONS: TableDefinition<'_, &str, &str> = TableDefinition::new("registrations");
const INSTANCE: &str = "instance";
/// Writes committed together, at most.
const MOST_AT_ONCE: usize = 4096;

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
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

/// A write that could not be made durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotKept(String);

enum Entry {
    /// With its generation: of two that were written at once, the later one counts.
    Control(u64, String),
    Registration(Change),
}

type Job = (Entry, oneshot::Sender<Result<(), NotKept>>);

/// The writing end of a state file.
#[derive(Debug)]
pub(crate) struct Journal {
    jobs: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens or creates the file, and takes up what is in it.
    pub(crate) fn open(path: &Path, registrar: &Registrar) -> Result<Self, JournalFault> {
        let fault = |reason: redb::Error| JournalFault::Database {
            path: path.to_owned(),
            reason: reason.to_string(),
        };
        let content = |source| JournalFault::Content { path: path.to_owned(), source };
        let database = Database::create(path).map_err(|e| fault(e.into()))?;
        let (control, registrations) = read(&database).map_err(fault)?;
        if let Some(text) = control {
            registrar.restore_control(&text).map_err(content)?;
        }
        for text in registrations {
            registrar.restore_registration(&text).map_err(content)?;
        }
        let (jobs, waiting) = mpsc::channel(MOST_AT_ONCE);
        let writer =
            std::thread::Builder::new().name("journal".to_owned()).spawn(move || write(&database, waiting));
        let writer =
            writer.map_err(|e| JournalFault::Database { path: path.to_owned(), reason: e.to_string() })?;
        Ok(Journal { jobs: Some(jobs), writer: Some(writer) })
    }

    /// Keeps a registration; returns when it is on the disk.
    pub(crate) async fn keep(&self, change: Change) -> Result<(), NotKept> {
        self.submit(Entry::Registration(change)).await
    }

    /// Keeps CAs and groups; returns when they, or a later generation of them, are on the disk.
    pub(crate) async fn keep_control(&self, (generation, memory): (u64, String)) -> Result<(), NotKept> {
        self.submit(Entry::Control(generation, memory)).await
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

fn read(database: &Database) -> Result<(Option<String>, Vec<String>), redb::Error> {
    let begin = database.begin_write()?;
    begin.open_table(CONTROL)?;
    begin.open_table(REGISTRATIONS)?;
    begin.commit()?;
    let transaction = database.begin_read()?;
    let control = transaction.open_table(CONTROL)?.get(INSTANCE)?.map(|text| text.value().to_owned());
    let mut registrations = Vec::new();
    for row in transaction.open_table(REGISTRATIONS)?.iter()? {
        registrations.push(row?.1.value().to_owned());
    }
    Ok((control, registrations))
}

fn write(database: &Database, mut waiting: mpsc::Receiver<Job>) {
    let mut latest = 0;
    while let Some(first) = waiting.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MOST_AT_ONCE
            && let Ok(more) = waiting.try_recv()
        {
            batch.push(more);
        }
        let kept = commit(database, &batch, &mut latest).map_err(|e| NotKept(e.to_string()));
        for (_, done) in batch {
            // A client that went away does not wait any more.
            let _ = done.send(kept.clone());
        }
    }
}

/// One transaction, on the disk when it returns: redb's default durability.
fn commit(database: &Database, batch: &[Job], latest: &mut u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut control = transaction.open_table(CONTROL)?;
        let mut registrations = transaction.open_table(REGISTRATIONS)?;
        for (entry, _) in batch {
            match entry {
                Entry::Control(generation, _) if *generation < *latest => {}
                Entry::Control(generation, text) => {
                    control.insert(INSTANCE, text.as_str())?;
                    *latest = *generation;
                }
                Entry::Registration(Change { key, record: Some(text) }) => {
                    drop(registrations.insert(key.as_str(), text.as_str())?);
                }
                Entry::Registration(Change { key, record: None }) => {
                    drop(registrations.remove(key.as_str())?)
                }
            }
        }
    }
    Ok(transaction.commit()?)
}
