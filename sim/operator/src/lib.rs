//! The person at the portal: uploads CA certificates, proves possession of their keys, creates enrollment groups
//! and reads registrations, by the REST calls that the mock and Azure both answer.
//!
//! Two planes with two credentials. CA certificates belong to the resource manager (a bearer token); groups and
//! registrations belong to the service API (a shared access signature). No clock is read here: calls that sign a
//! token or a certificate take `now`.

mod address;
mod certificates;
mod error;
mod exchange;
mod groups;
pub mod management;

pub use address::{Endpoint, is_loopback};
pub use certificates::Replacement;
pub use error::OperatorError;
pub use exchange::Operator;
pub use groups::Page;
