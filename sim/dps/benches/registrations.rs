//! What a registration costs the mock's core, without sockets and TLS: by certificate and by key, beside the one
//! signature check that a certificate needs, with few and with many registrations kept; and what a record weighs.
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so by panicking")]

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use sim_dps::faults::Effects;
use sim_dps::registrar::{Caller, Reply};
use sim_dps::{Limits, Registrar, RegistrarConfig};
use sim_identity::fleet::{DeviceIdentity, FleetPlan};
use sim_identity::{Certificate, Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, Seed, pem};
use sim_protocol::attestation::{
    AttestationMechanism, CertificatePair, CertificateSlot, EnrollmentGroup, X509Attestation,
};
use sim_protocol::registration::OperationStatus;
use sim_protocol::resource::CertificateBody;
use sim_protocol::sas::SharedKey;
use sim_protocol::{CaName, EnrollmentGroupId, IdScope, RegistrationId};
use std::cell::Cell;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);
const SCOPE: &str = "0ne00000001";
/// Kept before the measurement begins.
const KEPT: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Devices that are minted ahead and come again and again.
const DEVICES: u64 = 64;
/// New records of one measurement.
const RECORDS: usize = 10_000;

fn main() {
    divan::main();
}

struct World {
    registrar: Registrar,
    devices: Vec<DeviceIdentity>,
    issuer: Arc<Certificate>,
    group_key: SharedKey,
}

/// A verified root with a group on its intermediate, and a group with a key.
fn world() -> World {
    let plan = HierarchyPlan { name: "bench".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let made = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a hierarchy");
    let fleet = Fleet::new(&FleetPlan::default(), made.issuing().clone(), Seed::from_number(2), NOW);
    let fleet = fleet.expect("a fleet");
    let device = |i: u64| {
        let id = RegistrationId::new(format!("dev-{i:05}")).expect("a good id");
        fleet.device(i, id, None).expect("mints")
    };
    let config = RegistrarConfig::new(IdScope::new(SCOPE).expect("a good scope"));
    let registrar = Registrar::new(config, &Seed::from_number(3), &Seed::from_number(4));
    let text = |certificate: &Certificate| Some(pem::encode("CERTIFICATE", certificate.der()));
    let root = CertificateBody { certificate: text(made.root().certificate()), is_verified: Some(true) };
    let name = CaName::new("root").expect("a good name");
    registrar
        .write(|c, ids| c.authorities.put(name, root, None, &Limits::documented(), ids, NOW).map(drop))
        .expect("uploads");
    let primary = Some(CertificateSlot { certificate: text(made.issuing().certificate()), info: None });
    let signing_certificates = Some(CertificatePair { primary, secondary: None });
    let group_key = SharedKey::from_bytes(vec![7; 64]).expect("64 bytes");
    for (name, attestation) in [
        ("line", AttestationMechanism::x509(X509Attestation { signing_certificates, ..Default::default() })),
        ("keys", AttestationMechanism::symmetric_key(Some(&group_key), None)),
    ] {
        let id = EnrollmentGroupId::new(name).expect("a good name");
        registrar.put_group(id, EnrollmentGroup::new(name, attestation), None, NOW).expect("creates");
    }
    let devices = (0..DEVICES).map(device).collect();
    World { registrar, devices, issuer: made.issuing().certificate().clone(), group_key }
}

impl World {
    fn by_key(&self, name: &str) -> Reply {
        let until = NOW.unix_timestamp().unsigned_abs() + 60;
        let resource = format!("{SCOPE}/registrations/{name}");
        let token = self.group_key.derive(name).token(&resource, "registration", until);
        let caller =
            Caller { id_scope: SCOPE, registration_id: name, presented: Vec::new(), token: Some(&token) };
        let reply = self.registrar.register(&caller, b"", &Effects::default(), NOW);
        assert_eq!(reply.status, 202);
        self.registrar.sent(&caller, &reply, true);
        reply
    }

    fn keep(&self, kept: usize) {
        (0..kept).for_each(|i| drop(self.by_key(&format!("kept-{i:07}"))));
    }

    /// Register and the poll that ends it.
    fn provision(&self, device: &DeviceIdentity) {
        let caller = Caller {
            id_scope: SCOPE,
            registration_id: device.registration_id.as_str(),
            presented: device.chain.iter().map(AsRef::as_ref).collect(),
            token: None,
        };
        let begun = self.registrar.register(&caller, b"", &Effects::default(), NOW);
        let operation: OperationStatus = serde_json::from_str(&begun.body).expect("an operation");
        self.registrar.sent(&caller, &begun, true);
        let done = self.registrar.status(&caller, &operation.operation_id, &Effects::default(), NOW);
        self.registrar.sent(&caller, &done, true);
        assert_eq!((begun.status, done.status), (202, 200));
    }
}

/// Register and poll by certificate; the path above the issuer is known, as it is from the second device on.
#[divan::bench(args = KEPT, sample_count = 20, sample_size = 200)]
fn by_certificate(bencher: Bencher<'_, '_>, kept: usize) {
    let world = world();
    world.keep(kept);
    let next = Cell::new(0);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        next.set(next.get() + 1);
        world.provision(&world.devices[next.get() % world.devices.len()]);
    });
}

/// The check of a leaf's signature, which every registration by certificate needs.
#[divan::bench(sample_count = 20, sample_size = 200)]
fn bound_one_signature_check(bencher: Bencher<'_, '_>) {
    let world = world();
    let leaf = Certificate::from_der(world.devices[0].chain[0].as_ref()).expect("a leaf");
    let check = || leaf.verify_signed_by(&world.issuer).expect("signed");
    bencher.counter(ItemsCount::new(1usize)).bench_local(check);
}

/// New registrations beside those kept: the time of each, and by the growth of what is allocated its weight.
#[divan::bench(args = KEPT, sample_count = 3, sample_size = 1)]
fn ten_thousand_new_records(bencher: Bencher<'_, '_>, kept: usize) {
    let world = world();
    world.keep(kept);
    let round = Cell::new(0);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        round.set(round.get() + 1);
        (0..RECORDS).for_each(|i| drop(world.by_key(&format!("new-{}-{i:05}", round.get()))));
    });
}
