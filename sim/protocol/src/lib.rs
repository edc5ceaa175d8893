//! The words on the wire between devices, operators and the Device Provisioning Service (DPS).
//!
//! Names, topics, paths, payloads and error codes, as types that parse once and print exactly. Nothing here
//! opens a socket, reads a clock or draws a random number; both the mock and its clients speak these words, and
//! neither learns anything else about the other from this crate.
//!
//! Facts come from the public DPS REST specification, the MQTT page of its documentation and the official
//! device SDKs. Where they are silent the choice is marked `ours:`.

pub mod attestation;
pub mod delay;
pub mod duration;
pub mod errors;
pub mod faults;
pub mod mqtt;
pub mod names;
pub mod registration;
pub mod resource;
pub mod sas;
pub mod timestamp;

pub use errors::{Refusal, ServiceError};
pub use names::{CaName, EnrollmentGroupId, IdScope, InvalidName, RegistrationId};
