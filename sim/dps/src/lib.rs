//! A mock of the Device Provisioning Service: a strict stranger to the devices it serves.
//!
//! The core is pure: requests and the moment go in, answers come out; no socket, clock or sleep. The [`shell`]
//! puts sockets, TLS, MQTT and HTTP around it.
//!
//! What the real service does follows its documentation and what was observed of it; every guess is marked
//! `ours:` at the line that makes it, and where it matters it is one of the [`Knobs`].
//!
//! # In a test of your own
//!
//! A [`Server`] listens on free ports of loopback and ends when it is dropped. Point devices and operators at its
//! addresses, trust [`Server::trust_root`], and read what it saw.
//!
//! ```
//! use sim_dps::{Server, ServerConfig};
//! use sim_identity::Seed;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::spawn(ServerConfig::new(Seed::from_number(1))?).await?;
//! let (mqtts, https) = (server.mqtts(), server.https());
//! assert!(mqtts.ip().is_loopback() && mqtts.port() != https.port());
//!
//! // The owner's key signs tokens for the service API.
//! let owner = server.instance().policies().next().expect("every instance has an owner");
//! let token = owner.primary.token(&https.to_string(), &owner.name, 1_900_000_000);
//! assert!(token.starts_with("SharedAccessSignature "));
//!
//! // A device's connection shows in the ledger.
//! let device = tokio::net::TcpStream::connect(mqtts).await?;
//! while server.ledger().connections == 0 {
//!     tokio::task::yield_now().await;
//! }
//! drop(device);
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod allocation;
pub mod certificates;
pub mod control;
pub mod enrollments;
pub mod faults;
pub mod ids;
pub mod knobs;
pub mod ledger;
pub mod memory;
pub mod policy;
pub mod quota;
pub mod registrar;
mod registrations;
pub mod shell;
pub mod trace;

pub use allocation::Hub;
pub use knobs::Knobs;
pub use ledger::{LedgerSnapshot, RefusalTrace, RollUpCount};
pub use policy::{Policy, PolicyTerms, Right};
pub use quota::Limits;
pub use registrar::{Registrar, RegistrarConfig};
pub use shell::{Instance, Server, ServerConfig, SpawnError};
