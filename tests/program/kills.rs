//! Twenty mocks killed under load, each at another moment: what was acknowledged is there afterwards.

use crate::semantics::mint;
use crate::world::{World, finish_within};
use std::time::Duration;

/// Twenty rounds take half a minute; a slow machine gets ten times that.
const PATIENCE: Duration = Duration::from_secs(300);

/// Writes that must have been acknowledged, of each kind.
const KINDS: &[&str] = &[
    "x509 device registered",
    "keyed device registered",
    "registration deleted",
    "enrollment created",
    "enrollment updated",
    "enrollment deleted",
    "ca uploaded",
    "code generated",
    "ca deleted",
    "group written",
    "group deleted",
    "hot group updated",
];

#[test]
fn twenty_kills_under_load_lose_no_acknowledged_write() {
    let world = World::new();
    let Some(mut rounds) =
        world.script("twenty_kills_under_load_lose_no_acknowledged_write", "kill_rounds.py")
    else {
        return;
    };
    mint(&world, 600);
    rounds.args(["--binary", env!("CARGO_BIN_EXE_rollcall"), "--state", "instance.db", "--rounds", "20"]);
    rounds.args(["--trust-root", "mock.pem", "--fleet", "fleet", "--ca", "ca/root.pem", "--seed", "20"]);
    let told = finish_within(rounds, PATIENCE).exits(0).json();

    let lost = told["lost"].as_array().expect("what was lost");
    let faults = told["faults"].as_array().expect("what went wrong");
    assert!(lost.is_empty() && faults.is_empty(), "{told:#}");
    assert!(told["acknowledged"].as_u64() >= Some(500), "too little load to lose anything: {told:#}");
    assert!(told["on_their_way"].as_u64() >= Some(20), "the kills hit idle mocks: {told:#}");
    for kind in KINDS {
        assert!(told["kinds"][*kind].as_u64() > Some(0), "no write of the kind `{kind}`: {told:#}");
    }
}
