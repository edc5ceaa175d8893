//! Ctrl-C: no more arrivals, the record is written all the same, and it says so.

use crate::refusals::minted_under_a_verified_root;
use crate::roll_up::service_scenario;
use crate::world::{Mock, Record, Running, World, awaited};
use std::fs;

/// More looks at the service than a run needs to get its first device assigned.
const LOOKS: usize = 500;

#[test]
fn an_interrupted_run_drains_and_writes_its_partial_record() {
    let world = World::new();
    let mock = Mock::start(&world);
    prepare(&world, &mock);

    let run = Running::start(world.program("run long.toml --out out"));
    await_a_registration(&mock);
    run.interrupt();
    let stopped = run.finish().exits(130);
    let record = Record::read(&world, "out");
    assert_eq!(record.planned(), 5000, "{stopped}");
    assert!((1..5000).contains(&record.assigned()), "{} assigned: {stopped}", record.assigned());
    // Those that never came have heard nothing, and those in flight were waited for.
    record.adds_up();
}

#[test]
fn an_interrupted_search_tells_what_it_knows_and_does_not_end_well() {
    let world = World::new();
    let mock = Mock::start(&world);
    prepare(&world, &mock);

    let run = Running::start(world.program("run long.toml --find-capacity --trial 2s --out out"));
    // Until there is a rate that met the gates, after some hundred registrations: its record alone would be good.
    awaited("a trial that has ended", || {
        let ledger: serde_json::Value = serde_json::from_str(&mock.manage("GET /ledger", "").body).ok()?;
        let registers = ledger["registers"].as_u64().unwrap_or_default();
        (registers > 150).then_some(())
    });
    run.interrupt();
    let stopped = run.finish().exits(130);
    let record = Record::read(&world, "out");
    assert_eq!(record.at("/verdict/kind"), "interrupted", "{stopped}");
    assert_eq!(record.at("/ended"), "interrupted", "{stopped}");
    assert!(!record.list("/capacity/trials").is_empty(), "{stopped}");
}

/// A scenario of a hundred seconds, `long.toml`.
fn prepare(world: &World, mock: &Mock<'_>) {
    minted_under_a_verified_root(world, mock);
    for (name, file) in [("int.pem", "ca/intermediate-1.pem"), ("int.key", "ca/intermediate-1.key.pem")] {
        fs::copy(world.path(file), world.path(name)).expect("a copy");
    }
    world.write("long.toml", service_scenario(mock, 5000, "[load.open]\nrate = 50\nmax_in_flight = 50\n"));
}

fn await_a_registration(mock: &Mock<'_>) {
    let registered =
        || mock.operate("registration list --group line-1 --json").exits(0).stdout.contains("unit-");
    assert!((0..LOOKS).any(|_| registered()), "no device was registered");
}
