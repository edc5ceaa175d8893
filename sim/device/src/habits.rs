//! What devices do, beyond where they go: whose conversation they have, what they are after, how they give up.

use crate::flavour::Flavour;
use crate::phases::Phase;
use crate::retry::Retry;
use crate::sources::Sources;
use std::sync::Arc;
use std::time::Duration;

/// What the devices of a run have in common.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Whose conversation they have.
    pub flavour: Flavour,
    /// What they do when they get nowhere.
    pub retry: Retry,
    /// Whether they wait their own time, whatever the service asks for.
    pub ignore_retry_after: bool,
    /// How long a phase may take.
    pub phase_timeouts: PhaseTimeouts,
    /// What they are after.
    pub goal: Goal,
    /// What CONNECT says of how often they will be heard, in whole seconds; where zero, what their flavour says.
    pub keep_alive: Duration,
    /// The addresses they come from; the system's choice where absent.
    pub sources: Option<Arc<Sources>>,
}

/// What an attempt is after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// An assignment to a hub.
    #[default]
    Assigned,
    /// A connection: TCP, TLS and CONNECT; over HTTPS, TCP and TLS.
    Connected,
}

/// How long each phase may take, within what the attempt may; the attempt alone is limited where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseTimeouts {
    /// TCP connect; looking the name up may take as long again.
    pub tcp: Option<Duration>,
    /// TLS handshake.
    pub tls: Option<Duration>,
    /// CONNECT to CONNACK; a WebSocket's upgrade may take as long again.
    pub connect: Option<Duration>,
    /// SUBSCRIBE to SUBACK.
    pub subscribe: Option<Duration>,
    /// Register to its answer. Where absent, official clients have limits of their own, here and for polls.
    pub register: Option<Duration>,
    /// A poll to its answer.
    pub poll: Option<Duration>,
}

impl PhaseTimeouts {
    pub(crate) const fn of(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Dns | Phase::Tcp => self.tcp,
            Phase::Tls => self.tls,
            Phase::Upgrade | Phase::Connect => self.connect,
            Phase::Subscribe => self.subscribe,
            Phase::Register => self.register,
            Phase::Wait => None,
            Phase::Poll => self.poll,
        }
    }
}
