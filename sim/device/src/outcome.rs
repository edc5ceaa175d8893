//! How an attempt ends. A refused device is a result of the experiment, not an error of the tool.

use std::fmt;
use std::time::Duration;

/// A step of an attempt, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Looking the host name up; absent for addresses.
    Dns,
    /// TCP connect.
    Tcp,
    /// TLS handshake, as the client sees it: with TLS 1.3 the server judges the client's certificate after that.
    Tls,
    /// WebSocket upgrade; absent for other transports.
    Upgrade,
    /// CONNECT to CONNACK; absent over HTTPS.
    Connect,
    /// SUBSCRIBE to SUBACK; absent over HTTPS.
    Subscribe,
    /// Register to its first answer.
    Register,
    /// Waiting because the service asked for it.
    Wait,
    /// A poll to its answer.
    Poll,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 9] = [
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Upgrade,
        Self::Connect,
        Self::Subscribe,
        Self::Register,
        Self::Wait,
        Self::Poll,
    ];

    /// The spelling in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Connect => "connect",
            Self::Subscribe => "subscribe",
            Self::Register => "register",
            Self::Wait => "wait",
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long each phase took, as far as the attempt got.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    /// Phases that happen once, by [`Phase`] without `Wait` and `Poll`.
    once: [Option<Duration>; 7],
    /// Every poll.
    pub polls: Vec<Duration>,
    /// Time spent waiting because the service asked for it.
    pub waited: Duration,
    /// Requests that were answered with a throttle or a server error and sent again.
    pub retries: u32,
}

impl Phases {
    /// What a phase took, if it was completed; all waits together. Polls are in [`Phases::polls`].
    pub fn of(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Wait => (!self.waited.is_zero()).then_some(self.waited),
            once => self.once.get(once as usize).copied().flatten(),
        }
    }

    pub(crate) fn note(&mut self, phase: Phase, took: Duration) {
        match (phase, self.once.get_mut(phase as usize)) {
            (Phase::Wait, _) => self.waited += took,
            // A register repeated after a throttle keeps the first answer's time.
            (_, Some(slot)) => *slot = slot.or(Some(took)),
            (_, None) => self.polls.push(took),
        }
    }
}

/// Where a device belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// Host name of the hub.
    pub hub: String,
    /// Device id at the hub.
    pub device_id: String,
}

/// The service said no.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Refused {
    /// Where.
    pub phase: Phase,
    /// Six digits, where the service gave any.
    pub code: Option<u32>,
    /// Its words, for people.
    pub message: String,
}

/// Why there was no conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectFault {
    /// The name has no address.
    UnknownHost,
    /// Nobody listens.
    ConnectionRefused,
    /// The connection was reset or closed without an answer.
    Closed,
    /// No route, or another failure of the network.
    Network,
    /// This machine ran out of source ports.
    NoSourcePort,
    /// This process ran out of file descriptors.
    NoDescriptor,
    /// The server's certificate is not trusted.
    ServerNotTrusted,
    /// The server's certificate has expired, or is not valid yet.
    ServerOutOfDate,
    /// The server's certificate is another host's.
    ServerMisnamed,
    /// The two sides have no TLS version or cipher suite in common, or the server broke TLS.
    TlsBroken,
}

impl ConnectFault {
    /// What it is, in a phrase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownHost => "the host name has no address",
            Self::ConnectionRefused => "connection refused",
            Self::Closed => "the connection was closed",
            Self::Network => "the network failed",
            Self::NoSourcePort => "no source port is free",
            Self::NoDescriptor => "no file descriptor is free",
            Self::ServerNotTrusted => "the server's certificate is not trusted",
            Self::ServerOutOfDate => "the server's certificate has expired or is not valid yet",
            Self::ServerMisnamed => "the server's certificate is another host's",
            Self::TlsBroken => "the TLS handshake failed",
        }
    }

    /// Whether this machine, rather than the service, is at fault.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::NoSourcePort | Self::NoDescriptor)
    }
}

/// How one attempt ended. Every planned arrival ends as exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A hub was assigned.
    Assigned(Assignment),
    /// The service refused the device.
    Refused(Refused),
    /// The enrollment is disabled.
    Disabled,
    /// The registration failed after it had been accepted, or the service failed until the time was up.
    Failed {
        /// Six digits, where the service gave any.
        code: Option<u32>,
        /// Its words.
        message: String,
    },
    /// Throttled, and no time left to come back.
    Throttled,
    /// No conversation.
    Unreachable {
        /// Where it ended.
        phase: Phase,
        /// Why.
        cause: ConnectFault,
    },
    /// The time for an attempt was up.
    TimedOut {
        /// What it was waiting for.
        phase: Phase,
    },
    /// The service broke the protocol.
    ProtocolError {
        /// Where.
        phase: Phase,
        /// How, in a phrase.
        what: &'static str,
    },
    /// Never started: there was no free slot.
    Shed,
    /// Ended by the user.
    Interrupted,
}
