//! What minting costs beside its bound: one key generation and one signature.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so by panicking")]

use divan::{Bencher, counter::ItemsCount};
use sim_identity::fleet::FleetPlan;
use sim_identity::{Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, PrivateKey, Seed};
use sim_protocol::RegistrationId;
use std::cell::Cell;
use std::sync::Arc;
use time::macros::datetime;

fn main() {
    divan::main();
}

fn fleet(key: KeyAlgorithm) -> Fleet {
    let now = datetime!(2026-06-01 00:00 UTC);
    let plan = HierarchyPlan { name: "bench".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let hierarchy = Hierarchy::mint(&plan, &Seed::from_number(1), now).expect("a hierarchy");
    let plan = FleetPlan { key, ..FleetPlan::default() };
    Fleet::new(&plan, Arc::clone(hierarchy.issuing()), Seed::from_number(2), now).expect("a fleet")
}

#[divan::bench(args = [KeyAlgorithm::P256, KeyAlgorithm::P384, KeyAlgorithm::Ed25519], threads = [1, 2])]
fn leaf(bencher: Bencher<'_, '_>, key: KeyAlgorithm) {
    let fleet = fleet(key);
    let index = std::sync::atomic::AtomicU64::new(0);
    bencher.counter(ItemsCount::new(1usize)).bench(|| {
        let index = index.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = RegistrationId::new(format!("dev-{index:05}")).expect("a good id");
        fleet.device(index, id, None).expect("mints")
    });
}

#[divan::bench]
fn bound_derive_and_sign(bencher: Bencher<'_, '_>) {
    let seed = Seed::from_number(1);
    let issuer = PrivateKey::derive(&seed, "issuer", 0, KeyAlgorithm::P256).expect("derives");
    let index = Cell::new(0);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        index.set(index.get() + 1);
        let key = PrivateKey::derive(&seed, "device", index.get(), KeyAlgorithm::P256).expect("derives");
        issuer.sign(key.public_key()).expect("signs")
    });
}
