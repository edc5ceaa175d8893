//! One simulated device making one provisioning attempt, and staying connected where it is asked to.
//!
//! The device opens TCP, TLS and MQTT itself, so that each phase is timed, and ends as exactly one [`Outcome`].
//! It knows nothing of rates, fleets or reports, and nothing of the service but the wire.

mod attempt;
mod clock;
mod connection;
mod flavour;
mod habits;
mod heard;
mod https;
mod mqtt;
mod outcome;
mod phases;
mod replay;
mod retry;
mod sources;
mod tls;
mod websocket;
mod wire;

pub use attempt::{Attempt, Device, Target, Transport, arrive, attempt};
pub use clock::now;
pub use connection::{Connection, Held};
pub use flavour::Flavour;
pub use habits::{Goal, Habits, PhaseTimeouts};
pub use heard::Heard;
pub use outcome::{Assignment, ConnectFault, Outcome, Refused};
pub use phases::{Phase, Phases};
pub use retry::{Retries, Retry, Tally};
pub use sources::Sources;
pub use tls::{
    Group, Handshake, ServerChecks, Session, TlsFacts, TlsFault, TlsVersions, Trust, base_config, warm_up,
};
