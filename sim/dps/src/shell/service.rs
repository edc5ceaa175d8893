//! One instance as the sockets see it: the pure registrar, and the journal that keeps what it answers.

use super::clock;
use super::journal::{Journal, NotKept};
use crate::ids::Ids;
use crate::registrar::{Instance, Registrar, Reply};
use sim_protocol::errors;

/// A registrar with its journal, if it has one.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) registrar: Registrar,
    pub(crate) journal: Option<Journal>,
}

impl Service {
    /// Answers a register, once what it changed is kept.
    pub(crate) async fn register(
        &self,
        id_scope: &str,
        registration_id: &str,
        presented: &[impl AsRef<[u8]>],
        body: &[u8],
    ) -> Reply {
        let mut reply = self.registrar.register(id_scope, registration_id, presented, body, clock::now());
        match (&self.journal, reply.change.take()) {
            (Some(journal), Some(change)) => match journal.keep(change).await {
                Ok(()) => reply,
                Err(NotKept { .. }) => self.registrar.error(errors::INTERNAL, clock::now()),
            },
            _ => reply,
        }
    }

    /// Answers a poll.
    pub(crate) fn status(&self, registration_id: &str, operation_id: &str) -> Reply {
        self.registrar.status(registration_id, operation_id, clock::now())
    }

    /// Writes CAs or groups; returns when the change is kept.
    pub(crate) async fn write<T>(&self, change: impl FnOnce(&mut Instance, &Ids) -> T) -> Result<T, NotKept> {
        let result = self.registrar.write(change);
        if let Some(journal) = &self.journal {
            journal.keep_control(self.registrar.control_memory()).await?;
        }
        Ok(result)
    }

    /// Forgets a registration; false if there was none.
    pub(crate) async fn delete_registration(&self, registration_id: &str) -> Result<bool, NotKept> {
        match (self.registrar.delete_registration(registration_id), &self.journal) {
            (Some(change), Some(journal)) => journal.keep(change).await.map(|()| true),
            (removed, _) => Ok(removed.is_some()),
        }
    }
}
