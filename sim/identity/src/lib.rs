//! Who a device is: keys, authorities, leaves and chains. Mints them and judges them.
//!
//! Everything is a function of its arguments: a seed stands for randomness, a moment is passed in, bytes come
//! from the caller. No socket, clock, file or async here, so that a fleet can be minted anywhere and a verdict
//! can be tested as of any date.
//!
//! - [`key`], [`seed`]: private keys, derived from a seed so that device *n* is the same device everywhere;
//!   [`held`]: those in a token
//! - [`authority`]: authorities the tool makes itself (written by rcgen)
//! - [`issuer`]: issuing under any authority, its name copied byte for byte
//! - [`fleet`], [`defect`]: devices, good ones and bad ones on purpose
//! - [`certificate`], [`pem`], [`files`]: reading what others made
//! - [`verdict`]: the roll-up rule; [`possession`]: proof of possession
//! - [`preflight`]: what a verdict means, what breaks next, and what repairs it

pub mod authority;
pub mod certificate;
pub mod defect;
mod der;
pub mod files;
pub mod fleet;
pub mod held;
pub mod issuer;
pub mod key;
pub mod pem;
pub mod possession;
pub mod preflight;
pub mod seed;
mod shown;
pub mod signature;
pub mod verdict;

pub use authority::{Hierarchy, HierarchyPlan};
pub use certificate::{Certificate, CertificateFault};
pub use defect::Defect;
pub use fleet::{DeviceIdentity, Fleet};
pub use issuer::{IssueError, Issuer, IssuerFault};
pub use key::{KeyAlgorithm, KeyFault, PrivateKey, Signer};
pub use seed::Seed;
