//! The whole story with no account: what `rollcall demo` promises.

use crate::world::{Record, World};

/// What the story is told for, by their ids in the fault matrix: one bad device for each.
const DEFECTS: &[&str] = &[
    "pres-leaf-only-issuer-not-verified",
    "time-leaf-expired",
    "iss-same-name-other-key",
    "cn-mismatch",
    "leaf-ca-true",
    "svc-group-disabled",
];

#[test]
fn the_demo_assigns_every_good_device_and_refuses_the_bad_ones_each_for_its_reason() {
    let world = World::new();
    let told = world.rollcall("demo --devices 500 --out told").exits(0);
    let record = Record::read(&world, "told");
    assert_eq!(record.assigned(), 500, "{told}");
    assert_eq!(record.turned_away(), DEFECTS.len() as u64, "{told}");
    assert_eq!(record.planned(), 506, "{told}");
    record.adds_up();
    for defect in DEFECTS {
        let of = |key: &str| key == *defect;
        let reason = record.reasons().iter().find(|r| r["defect"].as_str().is_some_and(of));
        let reason = reason.unwrap_or_else(|| panic!("no reason for {defect}: {:?}", record.reasons()));
        assert_eq!(reason["count"], 1, "{reason}");
    }
}

#[test]
fn the_demo_tells_of_a_ca_that_is_unverified_first_and_then_verified() {
    let world = World::new();
    let told = world.rollcall("demo --devices 20 --out told").exits(0);
    let unverified = told.stdout.find("Unverified").unwrap_or_else(|| panic!("no `Unverified` in {told}"));
    let after = &told.stdout[unverified + "Unverified".len()..];
    assert!(after.contains("Verified"), "{told}");
}

#[test]
fn the_demo_raises_the_soft_limit_of_open_files_itself() {
    let world = World::new();
    world.rollcall_under("ulimit -S -n 64", "demo --devices 300 --out told").exits(0);
    assert_eq!(Record::read(&world, "told").assigned(), 300);
}
