//! A mock with a state file forgets nothing that it acknowledged, however it ends.

use crate::refusals::{leaf_of, minted_under_a_verified_root};
use crate::world::{Mock, World};

const STATE: &str = "--state instance.db";

#[test]
fn a_mock_that_was_killed_serves_the_same_records_with_the_same_etags() {
    let world = World::new();
    // Dropping a mock kills it; it gets no chance to tidy up.
    let first = Mock::start_with(&world, STATE);
    minted_under_a_verified_root(&world, &first);
    first.register("fleet/dev-00000.chain.pem", "fleet/dev-00000.key.pem", "").exits(0);
    let show = |mock: &Mock<'_>, what: &str| mock.operate(&format!("{what} --json")).exits(0).json();
    let shown = ["ca show root", "group show line-1", "registration show dev-00000"];
    let before = shown.map(|what| show(&first, what));
    let key = first.service_key.clone();
    drop(first);
    for round in 0..3 {
        let again = Mock::start_with(&world, STATE);
        assert_eq!(again.service_key, key, "what was set up with one mock is reached through the next");
        let after = shown.map(|what| show(&again, what));
        assert_eq!(after, before, "after kill {round}");
        again.register("fleet/dev-00001.chain.pem", "fleet/dev-00001.key.pem", "").exits(0);
    }
    let last = Mock::start_with(&world, STATE);
    let listed = show(&last, "registration list --group line-1");
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(2), "{listed}");
    last.operate("registration delete dev-00001").exits(0);
    last.operate("ca delete root").exits(0);
    drop(last);
    let empty = Mock::start_with(&world, STATE);
    empty.operate("registration show dev-00001").exits(3);
    empty.operate("ca show root").exits(3);
}

#[test]
fn enrollments_keys_and_hubs_outlast_a_kill() {
    let world = World::new();
    let flags =
        format!("{STATE} --hub hub-a.azure-devices.net --hub hub-b.azure-devices.net --retry-after 0s");
    let first = Mock::start_with(&world, &flags);
    minted_under_a_verified_root(&world, &first);
    world.write("leaf.pem", leaf_of(&world.read("fleet/dev-00001.chain.pem")));
    first.operate("enrollment create dev-00001 --client-cert leaf.pem --disabled").exits(0);
    first.operate("group create sensors --symmetric-key").exits(0);
    first.operate("group update line-1 --iot-hub hub-b.azure-devices.net").exits(0);
    first.register("fleet/dev-00000.chain.pem", "fleet/dev-00000.key.pem", "").exits(0);
    let shown = [
        "enrollment show dev-00001",
        "group show line-1",
        "group show sensors",
        "group keys sensors",
        "registration show dev-00000",
    ];
    let show = |mock: &Mock<'_>| shown.map(|what| mock.operate(&format!("{what} --json")).exits(0).json());
    let before = show(&first);
    assert!(before[4].to_string().contains("hub-b.azure-devices.net"), "{}", before[4]);
    drop(first);
    let again = Mock::start_with(&world, &flags);
    assert_eq!(show(&again), before);
    again.register("fleet/dev-00001.chain.pem", "fleet/dev-00001.key.pem", "").exits(3);
}

#[test]
fn a_state_file_that_is_none_is_named() {
    let world = World::new();
    world.write("instance.db", "not a database");
    let refused =
        world.rollcall("mock --mqtts-port 0 --https-port 0 --management-port 0 --state instance.db").exits(2);
    assert!(refused.stderr.contains("instance.db"), "{refused}");
}
