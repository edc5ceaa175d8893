//! A mock of the Device Provisioning Service: a strict stranger to the devices it serves.
//!
//! The core ([`certificates`], [`groups`], [`registrar`], [`ledger`]) is pure: requests and the moment go in,
//! answers come out; no socket, clock or sleep. The [`shell`] puts sockets, TLS, MQTT and HTTP around it.
//!
//! What the real service does follows its documentation and what was observed of it; every guess is marked
//! `ours:` at the line that makes it.

pub mod certificates;
pub mod groups;
pub mod ids;
pub mod ledger;
pub mod memory;
pub mod registrar;
pub mod shell;

pub use ledger::{LedgerSnapshot, RefusalTrace, RollUpCount};
pub use registrar::{Fault, Profile, Registrar, RegistrarConfig};
pub use shell::{Mock, MockConfig, SpawnError};
