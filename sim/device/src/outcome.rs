//! How an attempt ends. A refused device is a result of the experiment, not an error of the tool.

use crate::phases::Phase;

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
    /// The service no longer answers: a PINGREQ of a held connection came to nothing.
    Silent,
    /// On a held connection came what is not MQTT.
    Garbled,
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
            Self::Silent => "the service no longer answers",
            Self::Garbled => "what came is not MQTT",
        }
    }

    /// Whether this machine, rather than the service, is at fault.
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::NoSourcePort | Self::NoDescriptor)
    }

    /// Whether it may be gone the next time, so that a device that retries tries again: whatever is wrong with the
    /// server's certificate, or with TLS itself, stays.
    pub const fn may_pass(self) -> bool {
        !matches!(
            self,
            Self::ServerNotTrusted | Self::ServerOutOfDate | Self::ServerMisnamed | Self::TlsBroken
        )
    }
}

/// How one attempt ended. Every planned arrival ends as exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A hub was assigned.
    Assigned(Assignment),
    /// The service took the connection, and nothing else was wanted.
    Connected,
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
    /// The time for an attempt was up, or that for one of its phases.
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
