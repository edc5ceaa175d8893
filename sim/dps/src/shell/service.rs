//! One instance as the sockets see it: the pure registrar, the journal that keeps what it answers, the faults done
//! to its answers, and the webhooks it asks.

use super::Owner;
use super::clock;
use super::holds::Holds;
use super::journal::{Journal, NotKept};
use super::webhook::Webhooks;
use crate::control::Control;
use crate::faults::{Cut, Effects};
use crate::ids::Ids;
use crate::memory::{Forgotten, Touched};
use crate::policy::Policies;
use crate::registrar::{Ask, Caller, Registrar, Reply};
use crate::trace::Asked;
use sim_protocol::errors;
use sim_protocol::faults::FaultPoint;
use std::sync::Arc;
use std::time::Instant;
use time::OffsetDateTime;

/// An instance with everything it answers from.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) journal: Option<Journal>,
    pub(crate) webhooks: Webhooks,
    pub(crate) holds: Holds,
    pub(crate) policies: Policies,
    /// Operators need no credential.
    pub(crate) no_auth: bool,
    pub(crate) management_token: String,
    pub(crate) started: OffsetDateTime,
    pub(crate) owner: Owner,
}

/// What a device speaks.
#[derive(Clone, Copy)]
pub(crate) enum Over {
    /// MQTT, in a WebSocket or not.
    Mqtt,
    /// HTTP requests.
    Https,
}

/// What a device asks.
pub(crate) enum Question<'a> {
    /// To be registered, with this body.
    Register(&'a [u8]),
    /// How this operation stands.
    Status(&'a str),
}

impl Question<'_> {
    const fn points(&self) -> (FaultPoint, FaultPoint, Asked) {
        match self {
            Question::Register(_) => (FaultPoint::Register, FaultPoint::RegisterAnswer, Asked::Register),
            Question::Status(_) => (FaultPoint::Poll, FaultPoint::PollAnswer, Asked::Poll),
        }
    }
}

/// An answer, and what is done to it on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// Nobody can read it.
    pub(crate) malformed: bool,
    /// When it was asked for, if it was held: whoever sends it has [`Holds::answered`] note how long that took.
    pub(crate) held_since: Option<Instant>,
    pub(crate) lost_puback: bool,
    pub(crate) duplicate: bool,
    pub(crate) reordered: bool,
}

impl Service {
    /// Answers a device, once what its question changed is kept; or says how its connection is to end. Whoever sends the
    /// answer has [`Registrar::sent`] count it.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        question: Question<'_>,
        over: Over,
    ) -> Result<Answer, Cut> {
        let (point, answer_point, asked) = question.points();
        let since = self.registrar.faults.active().then(clock::instant);
        let before = self.undergo(point, caller.registration_id, asked, over).await?;
        let now = clock::now();
        let mut reply = match question {
            Question::Register(body) => self.registrar.register(caller, body, &before, now),
            Question::Status(operation_id) => self.registrar.status(caller, operation_id, &before, now),
        };
        if let Some(touched) = reply.touched.take()
            && self.keep(touched).await.is_err()
        {
            reply = self.registrar.error(errors::INTERNAL, clock::now());
        }
        if let Some(ask) = reply.ask.take() {
            self.ask(ask);
        }
        let after = self.undergo(answer_point, caller.registration_id, asked, over).await;
        if after.is_err() || before.malformed {
            self.registrar.ledger.lost_answers.add();
        }
        let held = !before.wait.is_zero() || !after?.wait.is_zero();
        if before.malformed {
            // Half a body: neither a character nor a value ends where it does.
            let half = reply.body.len() / 2;
            reply.body.truncate((0..=half).rev().find(|&at| reply.body.is_char_boundary(at)).unwrap_or(0));
        }
        let Effects { malformed, lost_puback, duplicate, reordered, .. } = before;
        let held_since = since.filter(|_| held);
        Ok(Answer { reply, malformed, held_since, lost_puback, duplicate, reordered })
    }

    /// Whether an answer may have to wait for a fault or for the disk, and those before it had better leave first.
    pub(crate) fn may_wait(&self) -> bool {
        self.journal.is_some() || self.registrar.faults.active()
    }

    /// Draws the faults of a point, and waits as long as they say, counted from the call: what is asked has been
    /// read by then, and nothing else was done with it.
    pub(crate) async fn undergo(
        &self,
        point: FaultPoint,
        registration_id: &str,
        asked: Asked,
        over: Over,
    ) -> Result<Effects, Cut> {
        let registrar = &self.registrar;
        if !registrar.faults.active() {
            return Ok(Effects::default());
        }
        let since = clock::instant();
        let effects = match over {
            Over::Mqtt => registrar.faults.at(point, registration_id, clock::now()),
            Over::Https => registrar.faults.at_https(point, registration_id, clock::now()),
        };
        if !effects.applied.is_empty() {
            registrar.ledger.faults.add();
        }
        let is_request = matches!(point, FaultPoint::Register | FaultPoint::Poll);
        if !effects.wait.is_zero() {
            self.holds.hold(since, effects.wait).await;
            // What an answer takes is noted when it is sent.
            if !is_request && !matches!(point, FaultPoint::RegisterAnswer | FaultPoint::PollAnswer) {
                self.holds.answered(since);
            }
        }
        // A request that is answered tells its own faults.
        let silent = !is_request || effects.cut.is_some();
        if silent {
            registrar.trace_fault(registration_id, asked, &effects, clock::now());
        }
        effects.cut.map_or(Ok(effects), Err)
    }

    /// Draws the faults of a connection whose device is not known yet, and waits as long as they say.
    pub(crate) async fn undergo_accepted(&self, point: FaultPoint) -> Result<Effects, Cut> {
        if !self.registrar.faults.active() {
            return Ok(Effects::default());
        }
        let since = clock::instant();
        let effects = self.registrar.faults.at_accept(point, clock::now());
        if !effects.applied.is_empty() {
            self.registrar.ledger.faults.add();
        }
        if !effects.wait.is_zero() {
            self.holds.hold(since, effects.wait).await;
            self.holds.answered(since);
        }
        effects.cut.map_or(Ok(effects), Err)
    }

    /// Asks a webhook in a task of the mock's; what it says becomes the outcome of the operation.
    fn ask(self: &Arc<Self>, ask: Box<Ask>) {
        self.registrar.ledger.webhooks.add();
        let service = self.clone();
        self.owner.spawn(async move {
            let answer = service.webhooks.ask(&ask.url, &ask.request).await;
            if let Some(touched) = service.registrar.allocated(&ask, answer, clock::now()) {
                // Nothing was promised yet: where it cannot be kept, a restarted mock asks again.
                let _ = service.keep(touched).await;
            }
        });
    }

    /// Returns when what was touched is kept, or at once where nothing is.
    pub(crate) async fn keep(&self, touched: Touched) -> Result<(), NotKept> {
        match &self.journal {
            Some(journal) => journal.keep(touched).await,
            None => Ok(()),
        }
    }

    /// Writes CAs or groups; returns when the change is kept.
    pub(crate) async fn write<T>(&self, change: impl FnOnce(&mut Control, &Ids) -> T) -> Result<T, NotKept> {
        let result = self.registrar.write(change);
        self.keep(Touched::Control).await.map(|()| result)
    }

    /// Forgets everything; returns when that is kept.
    pub(crate) async fn reset(&self) -> Result<(), NotKept> {
        self.registrar.forget();
        self.keep_all().await
    }

    /// Takes up a snapshot in the place of everything; returns when that is kept.
    pub(crate) async fn restore(&self, text: &str) -> Result<Result<(), NotKept>, Forgotten> {
        self.registrar.restore_snapshot(text)?;
        Ok(self.keep_all().await)
    }

    async fn keep_all(&self) -> Result<(), NotKept> {
        match &self.journal {
            Some(journal) => journal.keep_all().await,
            None => Ok(()),
        }
    }
}
