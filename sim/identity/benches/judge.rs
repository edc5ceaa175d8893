//! What a judgement costs beside its bound, one signature check, and what a hostile chain can make it cost.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so by panicking")]

use divan::{Bencher, counter::ItemsCount};
use sim_identity::fleet::FleetPlan;
use sim_identity::preflight::{
    CaState, DEFAULT_MARGIN, Group, Instance, Presented, Purpose, Question, Slot, UploadedCa, examine,
};
use sim_identity::verdict::{Asked, Entry, Goal, Rules, SignatureMemo, Trust, judge};
use sim_identity::{Certificate, Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, Seed};
use sim_protocol::{EnrollmentGroupId, RegistrationId};
use std::cell::Cell;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
const DEVICES: u64 = 256;

fn main() {
    divan::main();
}

struct World {
    trust: Trust,
    above: Vec<Arc<Certificate>>,
    leaves: Vec<(RegistrationId, Vec<u8>)>,
}

fn world(seed: u64, intermediates: u8) -> World {
    let plan = HierarchyPlan { name: "bench".into(), intermediates, key: KeyAlgorithm::P256 };
    let hierarchy = Hierarchy::mint(&plan, &Seed::from_number(seed), NOW).expect("a hierarchy");
    let issuer = hierarchy.issuing();
    let fleet =
        Fleet::new(&FleetPlan::default(), issuer.clone(), Seed::from_number(2), NOW).expect("a fleet");
    let leaf = |index: u64| {
        let id = RegistrationId::new(format!("dev-{index:05}")).expect("a good id");
        let device = fleet.device(index, id.clone(), None).expect("mints");
        (id, device.chain[0].as_ref().to_vec())
    };
    let entry = Entry {
        group: EnrollmentGroupId::new("line").expect("a good name"),
        enabled: true,
        sha256: *issuer.certificate().sha256(),
    };
    let mut above = vec![issuer.certificate().clone()];
    above.extend(issuer.above().iter().cloned());
    World {
        trust: Trust { verified: vec![hierarchy.root().certificate().clone()], entries: vec![entry] },
        above,
        leaves: (0..DEVICES).map(leaf).collect(),
    }
}

/// A leaf that is read and judged under an intermediate whose own path is known.
#[divan::bench(sample_count = 20, sample_size = 200)]
fn leaf_under_a_known_intermediate(bencher: Bencher<'_, '_>) {
    let world = world(1, 1);
    let (rules, memo) = (Rules::default(), SignatureMemo::default());
    let next = Cell::new(0);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        next.set(next.get() + 1);
        let (id, leaf) = &world.leaves[next.get() % world.leaves.len()];
        let mut chain = vec![Arc::new(Certificate::from_der(leaf.as_slice()).expect("a leaf"))];
        chain.extend(world.above.iter().cloned());
        let asked =
            Asked { registration_id: Some(id), now: NOW.unix_timestamp(), rules: &rules, goal: Goal::Entry };
        let judgement = judge(&chain, &asked, &world.trust, &memo);
        assert!(judgement.verdict.is_admitted());
    });
}

/// Everything that `rollcall check` finds out about a device of a fleet: verdict, findings, dates, knobs.
#[divan::bench(sample_count = 20, sample_size = 200)]
fn examination_under_a_known_intermediate(bencher: Bencher<'_, '_>) {
    let world = world(1, 1);
    let memo = SignatureMemo::default();
    let verified =
        UploadedCa { name: None, certificate: world.trust.verified[0].clone(), state: CaState::Verified };
    let line =
        Slot::Certificate { sha256: *world.above[0].sha256(), certificate: Some(world.above[0].clone()) };
    let group = Group {
        id: EnrollmentGroupId::new("line").expect("a good name"),
        enabled: true,
        primary: Some(line),
        secondary: None,
    };
    let instance = Instance { cas: vec![verified], groups: vec![group], ..Instance::default() };
    let trust = instance.trust();
    let question = Question {
        registration_id: None,
        at: NOW.unix_timestamp(),
        window: None,
        margin: DEFAULT_MARGIN,
        purpose: Purpose::Client,
        constrained: false,
        rules: Rules::default(),
    };
    let next = Cell::new(0);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        next.set(next.get() + 1);
        let (_, leaf) = &world.leaves[next.get() % world.leaves.len()];
        let mut certificates = vec![Arc::new(Certificate::from_der(leaf.as_slice()).expect("a leaf"))];
        certificates.extend(world.above.iter().cloned());
        let presented = Presented { certificates, ..Presented::default() };
        assert!(examine(&presented, &question, &instance, &trust, &memo).is_accepted());
    });
}

/// A judgement without anything known of the path above.
#[divan::bench(sample_count = 20, sample_size = 50)]
fn leaf_under_two_unknown_intermediates(bencher: Bencher<'_, '_>) {
    let world = world(1, 2);
    let rules = Rules::default();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let (id, leaf) = &world.leaves[0];
        let mut chain = vec![Arc::new(Certificate::from_der(leaf.as_slice()).expect("a leaf"))];
        chain.extend(world.above.iter().cloned());
        let asked =
            Asked { registration_id: Some(id), now: NOW.unix_timestamp(), rules: &rules, goal: Goal::Entry };
        judge(&chain, &asked, &world.trust, &SignatureMemo::default())
    });
}

/// The bound: the signature check that every leaf needs.
#[divan::bench(sample_count = 20, sample_size = 200)]
fn bound_one_signature_check(bencher: Bencher<'_, '_>) {
    let world = world(1, 1);
    let leaf = Certificate::from_der(world.leaves[0].1.as_slice()).expect("a leaf");
    bencher
        .counter(ItemsCount::new(1usize))
        .bench_local(|| leaf.verify_signed_by(&world.above[0]).expect("signed"));
}

/// Ten thousand CAs of the issuer's name, none of them the issuer.
#[divan::bench(sample_count = 10, sample_size = 5)]
fn ten_thousand_of_one_name(bencher: Bencher<'_, '_>) {
    let world = world(1, 1);
    let leaf = Arc::new(Certificate::from_der(world.leaves[0].1.as_slice()).expect("a leaf"));
    let name = world.above[0].display_name();
    let decoy = |_| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "rollcall");
        params.distinguished_name.push(rcgen::DnType::CommonName, name.as_str());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let made = params.self_signed(&key).expect("signs");
        Arc::new(Certificate::from_der(made.der().to_vec()).expect("reads back"))
    };
    let mut chain = vec![leaf];
    chain.extend((0..10_000).map(decoy));
    assert!(chain[1..].iter().all(|d| d.subject_der() == chain[0].issuer_der()));
    let rules = Rules::default();
    let (id, _) = &world.leaves[0];
    let asked =
        Asked { registration_id: Some(id), now: NOW.unix_timestamp(), rules: &rules, goal: Goal::Entry };
    bencher.bench_local(|| {
        assert!(!judge(&chain, &asked, &world.trust, &SignatureMemo::default()).verdict.is_admitted());
    });
}
