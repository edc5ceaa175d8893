//! A small hierarchy with one device, and a directory for its files.

use sim_identity::fleet::FleetPlan;
use sim_identity::{Certificate, Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, Seed, pem};
use sim_protocol::RegistrationId;
use std::path::PathBuf;
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-06-01 00:00 UTC);

/// A root, a line below it, a fleet below that, and a directory.
pub(super) struct World {
    dir: tempfile::TempDir,
    hierarchy: Hierarchy,
    fleet: Fleet,
    device: sim_identity::DeviceIdentity,
}

pub(super) fn pem(certificate: &Certificate) -> String {
    pem::encode("CERTIFICATE", certificate.der())
}

impl World {
    pub(super) fn new() -> Self {
        let plan = HierarchyPlan { name: "test".into(), intermediates: 1, key: KeyAlgorithm::P256 };
        let hierarchy = Hierarchy::mint(&plan, &Seed::from_number(1), NOW).expect("a hierarchy");
        let fleet = Fleet::new(&FleetPlan::default(), hierarchy.issuing().clone(), Seed::from_number(2), NOW);
        let fleet = fleet.expect("a fleet");
        let device = fleet.device(1, id("dev-1"), None).expect("mints");
        World { dir: tempfile::tempdir().expect("a directory"), hierarchy, fleet, device }
    }

    pub(super) fn root(&self) -> Arc<Certificate> {
        self.hierarchy.root().certificate().clone()
    }

    pub(super) fn line(&self) -> Arc<Certificate> {
        self.hierarchy.issuing().certificate().clone()
    }

    pub(super) fn leaf(&self) -> Arc<Certificate> {
        self.chain().swap_remove(0)
    }

    /// The first device's chain, leaf first.
    pub(super) fn chain(&self) -> Vec<Arc<Certificate>> {
        let read = |der: &rustls_pki_types::CertificateDer<'_>| Certificate::from_der(der.as_ref());
        self.device.chain.iter().map(|der| Arc::new(read(der).expect("reads back"))).collect()
    }

    pub(super) fn key_pem(&self) -> String {
        pem::encode("PRIVATE KEY", &self.device.key.to_pkcs8().expect("encodes"))
    }

    /// A device's chain and key, each as PEM.
    pub(super) fn device(&self, index: u64) -> (String, String) {
        let device = self.fleet.device(index, id(&format!("dev-{index}")), None).expect("mints");
        let chain = device.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        (chain, pem::encode("PRIVATE KEY", &device.key.to_pkcs8().expect("encodes")))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }
}

pub(super) fn id(text: &str) -> RegistrationId {
    RegistrationId::new(text).expect("a good id")
}
