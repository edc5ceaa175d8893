//! The built program, looked at from outside.
//!
//! Every test starts the real binary in a directory of its own, with ports chosen by the system, and
//! believes only what a user can see: exit statuses, standard output and error, and files. Certificates
//! are made and judged by `openssl`, and the mock is spoken to by the official Python SDK, so that the
//! program is never its own witness. Nothing in here uses the project's libraries.
//!
//! A test that needs a tool which isn't installed says so on standard error and passes; with the tool's
//! name in `ROLLCALL_TESTS_REQUIRE` it fails instead.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so by panicking")]

#[path = "program/npm.rs"]
mod npm;
#[path = "program/openssl.rs"]
mod openssl;
#[path = "program/played.rs"]
mod played;
#[path = "program/world.rs"]
mod world;

#[path = "program/bad_input.rs"]
mod bad_input;
#[path = "program/behaviour.rs"]
mod behaviour;
#[path = "program/browser.rs"]
mod browser;
#[path = "program/capacity.rs"]
mod capacity;
#[path = "program/check.rs"]
mod check;
#[path = "program/compare.rs"]
mod compare;
#[path = "program/config.rs"]
mod config;
#[path = "program/contract.rs"]
mod contract;
#[path = "program/demo.rs"]
mod demo;
#[path = "program/enrollments.rs"]
mod enrollments;
#[path = "program/explain.rs"]
mod explain;
#[path = "program/faults.rs"]
mod faults;
#[path = "program/handshake.rs"]
mod handshake;
#[path = "program/health.rs"]
mod health;
#[path = "program/hostile.rs"]
mod hostile;
#[path = "program/interop.rs"]
mod interop;
#[path = "program/journal.rs"]
mod journal;
#[path = "program/kills.rs"]
mod kills;
#[path = "program/load.rs"]
mod load;
#[path = "program/management.rs"]
mod management;
#[path = "program/meter.rs"]
mod meter;
#[path = "program/minted.rs"]
mod minted;
#[path = "program/mistakes.rs"]
mod mistakes;
#[path = "program/pkcs11.rs"]
mod pkcs11;
#[path = "program/planning.rs"]
mod planning;
#[path = "program/possession.rs"]
mod possession;
#[path = "program/proofs.rs"]
mod proofs;
#[path = "program/refusals.rs"]
mod refusals;
#[path = "program/renderings.rs"]
mod renderings;
#[path = "program/roll_up.rs"]
mod roll_up;
#[path = "program/sample.rs"]
mod sample;
#[path = "program/scenario_command.rs"]
mod scenario_command;
#[path = "program/semantics.rs"]
mod semantics;
#[path = "program/shards.rs"]
mod shards;
#[path = "program/state.rs"]
mod state;
#[path = "program/stop.rs"]
mod stop;
#[path = "program/stories.rs"]
mod stories;
#[path = "program/transports.rs"]
mod transports;
