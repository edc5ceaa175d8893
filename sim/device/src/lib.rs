//! One simulated device making one provisioning attempt.
//!
//! The device opens TCP, TLS and MQTT itself, so that each phase is timed, and ends as exactly one [`Outcome`].
//! It knows nothing of rates, fleets or reports, and nothing of the service but the wire.

mod attempt;
mod clock;
mod https;
mod mqtt;
mod outcome;
mod tls;
mod websocket;
mod wire;

pub use attempt::{Attempt, Device, Target, Transport, attempt};
pub use clock::now;
pub use outcome::{Assignment, ConnectFault, Outcome, Phase, Phases, Refused};
pub use tls::{ServerChecks, TlsFault, TlsVersions, Trust, base_config, warm_up};
