//! The person at the portal: uploads CA certificates, proves possession of their keys, creates enrollment groups
//! and individual enrollments and reads registrations, by the REST calls that the mock and Azure both answer.
//!
//! Two planes with two credentials. CA certificates belong to the resource manager (a bearer token); groups,
//! enrollments and registrations belong to the service API (a shared access signature, or a bearer token too). No
//! clock is read here: calls that sign a token or a certificate take `now`. Calls can be written down in place of
//! being made, see [`Operator::rehearsing`].

mod address;
mod certificates;
mod connection_string;
mod credential;
mod entries;
mod error;
mod exchange;
pub mod management;
mod registrations;
mod rehearsal;

pub use address::{Endpoint, is_loopback};
pub use certificates::Replacement;
pub use connection_string::{ConnectionString, InvalidConnectionString};
pub use credential::{Credential, Identity, SourceFault, TokenSource};
pub use entries::{Changes, Collection, Entry, Page, batches};
pub use error::OperatorError;
pub use exchange::Operator;
pub use rehearsal::PlannedCall;
