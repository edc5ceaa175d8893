//! A mock with one verified CA and one group on it, devices below that CA, and TLS to reach it by.

use crate::client::{Client, Tls};
use crate::https::{Answer, Headers, exchange};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use sim_dps::{Hub, Server, ServerConfig};
use sim_identity::fleet::FleetPlan;
use sim_identity::{DeviceIdentity, Fleet, Hierarchy, HierarchyPlan, KeyAlgorithm, PrivateKey, Seed, pem};
use sim_protocol::sas::{OWNER_POLICY, SharedKey};
use sim_protocol::{IdScope, RegistrationId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What a client presents, and the key it proves it with.
pub(crate) type Identity<'a> = (Vec<CertificateDer<'static>>, &'a PrivateKey);

pub(crate) async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), event).await.expect("nothing happened for 5 seconds")
}

#[expect(clippy::disallowed_methods, reason = "the mock judges our certificates by the clock")]
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

fn client_config(
    trust_root: &[u8],
    provider: CryptoProvider,
    version: &'static SupportedProtocolVersion,
    identity: Option<Identity<'_>>,
) -> ClientConfig {
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(trust_root.to_vec())).expect("a trust root");
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .expect("a version that the provider has")
        .with_root_certificates(roots);
    let Some((chain, key)) = identity else { return builder.with_no_client_auth() };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.to_pkcs8().expect("encodes")));
    let key = provider.key_provider.load_private_key(key).expect("a usable key");
    // A resolver, because `with_client_auth_cert` refuses X.509 v1 and keys of other certificates before dialling.
    let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    builder.with_client_cert_resolver(Arc::new(resolver))
}

async fn dial(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<Tls> {
    let stream = soon(TcpStream::connect(address)).await.expect("the mock listens");
    let name = ServerName::try_from("localhost").expect("a host name");
    soon(TlsConnector::from(config).connect(name, stream)).await
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) fleet: Fleet,
    /// Devices so far: one keeps its certificate, which would differ in its signature if it were minted again.
    devices: Mutex<HashMap<String, Arc<DeviceIdentity>>>,
}

pub(crate) async fn world() -> World {
    world_of(|_| {}).await
}

/// A world whose mock is configured otherwise.
pub(crate) async fn world_of(change: impl FnOnce(&mut ServerConfig)) -> World {
    let plan = HierarchyPlan { name: "wire".into(), intermediates: 1, key: KeyAlgorithm::P256 };
    let hierarchy = Hierarchy::mint(&plan, &Seed::from_number(1), now()).expect("a hierarchy");
    let issuing = hierarchy.issuing().clone();
    let fleet = Fleet::new(&FleetPlan::default(), issuing, Seed::from_number(2), now()).expect("a fleet");
    let service_key = SharedKey::from_bytes(vec![7; 32]).expect("32 bytes");
    let mut config = ServerConfig::new(Seed::from_number(3)).expect("a configuration");
    config.service_key = Some(service_key.clone());
    config.registrar.id_scope = IdScope::new("0ne00000001").expect("a good scope");
    config.registrar.retry_after = Duration::from_secs(3);
    config.registrar.hubs = vec![Hub::new("hub.example")];
    change(&mut config);
    let server = Server::spawn(config).await.expect("a mock");
    let world = World { server, fleet, devices: Mutex::default() };
    let ca = "/subscriptions/s/resourceGroups/r/providers/Microsoft.Devices/provisioningServices/p/certificates/root?api-version=2022-12-12";
    let root = pem::encode("CERTIFICATE", hierarchy.root().certificate().der());
    let body = json!({ "properties": { "certificate": root, "isVerified": true } });
    world.put(ca, "Bearer x", &body).await;
    let body = json!({
        "enrollmentGroupId": "g",
        "attestation": { "type": "x509", "x509": { "caReferences": { "primary": "root" } } },
    });
    // The first second of the year 2100.
    let token = service_key.token("localhost", OWNER_POLICY, 4_102_444_800);
    world.put("/enrollmentGroups/g?api-version=2021-10-01", &token, &body).await;
    world
}

impl World {
    /// What an operator writes.
    async fn put(&self, path: &str, authorization: &str, body: &Value) {
        let mut stream = self.reach(self.server.https(), &TLS13, None).await.expect("a handshake");
        let headers = [("Authorization", authorization), ("Content-Type", "application/json")];
        let answer = exchange(&mut stream, "PUT", path, &headers, &body.to_string()).await;
        assert_eq!(answer.status, 200, "PUT {path}: {answer:?}");
    }

    /// A TLS connection to a port of the mock.
    pub(crate) async fn reach(
        &self,
        address: SocketAddr,
        version: &'static SupportedProtocolVersion,
        identity: Option<Identity<'_>>,
    ) -> std::io::Result<Tls> {
        let provider = aws_lc_rs::default_provider();
        let config = client_config(self.server.trust_root(), provider, version, identity);
        dial(address, Arc::new(config)).await
    }

    /// What a device shakes hands with; who uses one configuration again comes back with its ticket.
    pub(crate) fn config(
        &self,
        provider: CryptoProvider,
        version: &'static SupportedProtocolVersion,
        id: &str,
    ) -> Arc<ClientConfig> {
        let device = self.identity(id);
        let identity = Some((device.chain.clone(), &*device.key));
        Arc::new(client_config(self.server.trust_root(), provider, version, identity))
    }

    /// A connection to the MQTT port.
    pub(crate) async fn dial(&self, config: &Arc<ClientConfig>) -> Client {
        Client::over_tls(dial(self.server.mqtts(), config.clone()).await.expect("a handshake"))
    }

    fn identity(&self, id: &str) -> Arc<DeviceIdentity> {
        let mint = || {
            let name = RegistrationId::new(id).expect("a good id");
            Arc::new(self.fleet.device(1, name, None).expect("mints"))
        };
        self.devices.lock().expect("no panic before").entry(id.to_owned()).or_insert_with(mint).clone()
    }

    /// A good device's connection to the HTTPS port.
    pub(crate) async fn https(&self, id: &str) -> Tls {
        let device = self.identity(id);
        let identity = Some((device.chain.clone(), &*device.key));
        self.reach(self.server.https(), &TLS13, identity).await.expect("a handshake")
    }

    /// One request of a good device.
    pub(crate) async fn ask(
        &self,
        id: &str,
        method: &str,
        path: &str,
        headers: Headers<'_>,
        body: &str,
    ) -> Answer {
        exchange(&mut self.https(id).await, method, path, headers, body).await
    }

    pub(crate) async fn shake_hands(
        &self,
        version: &'static SupportedProtocolVersion,
        identity: Option<Identity<'_>>,
    ) -> std::io::Result<Client> {
        self.reach(self.server.mqtts(), version, identity).await.map(Client::over_tls)
    }

    /// A good device after its handshake.
    pub(crate) async fn device(&self, version: &'static SupportedProtocolVersion, id: &str) -> Client {
        let device = self.identity(id);
        self.shake_hands(version, Some((device.chain.clone(), &*device.key))).await.expect("a handshake")
    }

    /// A good device after its CONNECT.
    pub(crate) async fn connected(&self, id: &str, flags: u8) -> Client {
        let mut client = self.device(&TLS13, id).await;
        client.greet(id, flags).await;
        client
    }
}
