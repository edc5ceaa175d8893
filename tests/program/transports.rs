//! Every transport leads to the same core; faults on any of them end as outcomes, each counted once.

use crate::refusals::minted_under_a_verified_root;
use crate::world::{Mock, Record, World, find};

const CHAIN: &str = "fleet/dev-00000.chain.pem";
const KEY: &str = "fleet/dev-00000.key.pem";

#[test]
fn a_device_is_assigned_and_refused_alike_over_every_transport() {
    let world = World::new();
    let mock = Mock::start(&world);
    minted_under_a_verified_root(&world, &mock);
    let over = |transport: &str, code: i32| {
        let port = if transport == "mqtt" { mock.mqtts_port() } else { mock.https_port() };
        let told = world.rollcall(&format!(
            "register --host localhost --port {port} --id-scope {} --trust-root {} --cert {CHAIN} --key {KEY} \
             --transport {transport} --json",
            mock.id_scope, mock.trust_root
        ));
        let told = told.exits(code).json();
        let word = |key: &str| find(&told, key).cloned();
        (word("kind"), word("assigned_hub"), word("code"))
    };
    let assigned = over("mqtt", 0);
    assert!(assigned.1.is_some(), "{assigned:?}");
    assert_eq!(over("mqtt-ws", 0), assigned);
    assert_eq!(over("https", 0), assigned);
    mock.operate("ca delete root").exits(0);
    let refused = over("mqtt", 3);
    assert_eq!(refused.2, Some(401_002.into()), "{refused:?}");
    assert_eq!(over("mqtt-ws", 3), refused);
    assert_eq!(over("https", 3), refused);
}

#[test]
fn a_fleet_provisions_over_every_transport() {
    let world = World::new();
    for transport in ["mqtt", "mqtt-ws", "https"] {
        let set = format!("--set device.transport={transport} --set fleet.devices=60");
        world.rollcall(&format!("run smoke {set} --out {transport}")).exits(0);
        let record = Record::read(&world, transport);
        assert_eq!((record.planned(), record.assigned()), (60, 60), "{transport}");
        record.adds_up();
    }
}
