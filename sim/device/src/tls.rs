//! The device's TLS: its own leaf and chain as given, versions 1.2 and 1.3; full handshakes, unless it has a session.

mod session;
mod stream;

pub use session::{Session, TlsFacts};
pub(crate) use stream::{TlsBytes, TlsStream};

use crate::attempt::Device;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs as provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureAlgorithm, SignatureScheme,
    SupportedProtocolVersion,
};
use sim_identity::{DeviceIdentity, KeyAlgorithm, PrivateKey, Seed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Which servers are trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Only servers under these roots, DER.
    Roots(Vec<Vec<u8>>),
    /// Servers under the public roots that browsers trust.
    Public,
}

/// Which TLS versions are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// 1.3 and 1.2.
    #[default]
    Any,
    /// 1.2 alone.
    V12,
    /// 1.3 alone.
    V13,
}

impl TlsVersions {
    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Any => vec![&rustls::version::TLS13, &rustls::version::TLS12],
            Self::V12 => vec![&rustls::version::TLS12],
            Self::V13 => vec![&rustls::version::TLS13],
        }
    }
}

/// How often the server's certificate chain is verified. Its proof of possession is checked in every handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerChecks {
    /// In every handshake, as a device does.
    #[default]
    Always,
    /// Once a minute for one and the same chain and name: the signatures in it would only come out the same, and
    /// a generator that repeats them for every device measures itself.
    Once,
}

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// A trust root is not a usable certificate.
    #[error("cannot use the trust root: {0}")]
    TrustRoot(Error),
    /// Nothing to check servers with.
    #[error("cannot use the trust root: {0}")]
    Verifier(VerifierBuilderError),
    /// The versions or groups asked for cannot be offered.
    #[error("cannot configure TLS: {0}")]
    Versions(Error),
}

/// A group for key agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Curve25519.
    X25519,
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// X25519 and ML-KEM-768 together, the post-quantum hybrid; TLS 1.3 alone.
    X25519MlKem768,
}

impl Group {
    fn provided(self) -> &'static dyn SupportedKxGroup {
        match self {
            Self::X25519 => provider::kx_group::X25519,
            Self::P256 => provider::kx_group::SECP256R1,
            Self::P384 => provider::kx_group::SECP384R1,
            Self::X25519MlKem768 => provider::kx_group::X25519MLKEM768,
        }
    }
}

/// How a device shakes hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The versions it offers.
    pub versions: TlsVersions,
    /// The groups it offers, the preferred one first, of which it sends a key share along.
    pub groups: Vec<Group>,
    /// How often it verifies the server's chain.
    pub checks: ServerChecks,
    /// Whether it asks for tickets of TLS 1.2. A device keeps them in its own [`Session`] and resumes nothing
    /// without one; with one, it asks anyway.
    pub resumption: bool,
}

impl Default for Handshake {
    /// Both versions, the classic groups, every chain verified, nothing resumed.
    fn default() -> Self {
        Handshake {
            versions: TlsVersions::Any,
            groups: vec![Group::X25519, Group::P256, Group::P384],
            checks: ServerChecks::Always,
            resumption: false,
        }
    }
}

/// What all devices of a run share: provider, trust roots, versions, groups. Each device adds its own certificate
/// to a cheap clone.
///
/// AES-128-GCM comes first, which is what the embedded stacks in the field prefer and what costs least.
///
/// # Errors
/// When a trust root cannot be used, or no group goes with the versions.
pub fn base_config(trust: &Trust, handshake: &Handshake) -> Result<Arc<ClientConfig>, TlsFault> {
    let mut roots = RootCertStore::empty();
    match trust {
        Trust::Roots(given) => {
            for der in given {
                roots.add(CertificateDer::from(der.as_slice())).map_err(TlsFault::TrustRoot)?;
            }
        }
        Trust::Public => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(crypto(&handshake.groups));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let verifier = verifier.map_err(TlsFault::Verifier)?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&handshake.versions.list())
        .map_err(TlsFault::Versions)?;
    let config = match handshake.checks {
        ServerChecks::Always => config.with_webpki_verifier(verifier),
        ServerChecks::Once => {
            config.dangerous().with_custom_certificate_verifier(Arc::new(ChainOnce::new(verifier)))
        }
    };
    let mut config = config.with_no_client_auth();
    config.resumption = match handshake.resumption {
        // Tickets are asked for and forgotten: what one device is given is not for another to use.
        true => Resumption::in_memory_sessions(0),
        false => Resumption::disabled(),
    };
    Ok(Arc::new(config))
}

/// Lets the cryptographic provider gather its entropy in this thread, which it does at its first use there and
/// which takes tens of milliseconds. A failure shows again in the first attempt.
pub fn warm_up(config: &ClientConfig) {
    let provider = config.crypto_provider();
    let _ = provider.secure_random.fill(&mut [0; 32]);
    for group in &provider.kx_groups {
        let _ = group.start();
    }
    // Signing draws from the same source, and builds tables once.
    if let Ok(key) = PrivateKey::derive(&Seed::from_number(0), "warm-up", 0, KeyAlgorithm::P256) {
        let _ = key.sign(b"warm-up");
    }
}

/// Remembers the last server chain that was found good.
#[derive(Debug)]
struct ChainOnce {
    inner: Arc<WebPkiServerVerifier>,
    good: RwLock<Option<GoodChain>>,
}

#[derive(Debug)]
struct GoodChain {
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
    checked: UnixTime,
}

/// How long a verified chain counts as verified, in seconds.
const GOOD_FOR: u64 = 60;

impl ChainOnce {
    fn new(inner: Arc<WebPkiServerVerifier>) -> Self {
        ChainOnce { inner, good: RwLock::default() }
    }

    fn knows(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        let good = self.good.read().unwrap_or_else(PoisonError::into_inner);
        good.as_ref().is_some_and(|good| {
            let age = now.as_secs().checked_sub(good.checked.as_secs());
            age.is_some_and(|age| age < GOOD_FOR)
                && good.name == *name
                && good.chain.split_first().is_some_and(|(first, rest)| first == leaf && rest == above)
        })
    }
}

impl ServerCertVerifier for ChainOnce {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.knows(leaf, above, name, now) {
            return Ok(ServerCertVerified::assertion());
        }
        let verified = self.inner.verify_server_cert(leaf, above, name, ocsp, now)?;
        let chain = std::iter::once(leaf).chain(above).map(|c| c.clone().into_owned()).collect();
        let good = GoodChain { chain, name: name.to_owned(), checked: now };
        *self.good.write().unwrap_or_else(PoisonError::into_inner) = Some(good);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn crypto(groups: &[Group]) -> CryptoProvider {
    use provider::cipher_suite as suite;
    CryptoProvider {
        kx_groups: groups.iter().map(|group| group.provided()).collect(),
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        ..provider::default_provider()
    }
}

/// The shared configuration with one device's certificate, and its session where it has one.
pub(crate) fn device_config(base: &ClientConfig, device: &Device) -> Arc<ClientConfig> {
    let mut config = base.clone();
    let presents = match &device.session {
        Some(session) => {
            config.resumption = Resumption::store(session.clone());
            session.presents.clone()
        }
        None => Arc::default(),
    };
    presents.load(&device.identity);
    config.client_auth_cert_resolver = presents;
    Arc::new(config)
}

/// What the device presents. Given away when it is asked for, which is once a handshake: an open connection keeps
/// its configuration, and need not keep the device's chain with it.
#[derive(Debug, Default)]
pub(super) struct Presents(Mutex<Option<Arc<CertifiedKey>>>);

impl Presents {
    fn load(&self, identity: &DeviceIdentity) {
        let key = Arc::new(DeviceKey(identity.key.clone()));
        // CertifiedKey::new checks nothing: a scenario may present what it likes, in the order it likes.
        let certified = Arc::new(CertifiedKey::new(identity.chain.clone(), key));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(certified);
    }
}

impl ResolvesClientCert for Presents {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A device's key as rustls asks for it, without parsing it again for every handshake.
#[derive(Debug)]
struct DeviceKey(Arc<PrivateKey>);

impl DeviceKey {
    fn schemes(&self) -> &'static [SignatureScheme] {
        match self.0.algorithm() {
            KeyAlgorithm::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            KeyAlgorithm::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            KeyAlgorithm::P521 => &[SignatureScheme::ECDSA_NISTP521_SHA512],
            KeyAlgorithm::Ed25519 => &[SignatureScheme::ED25519],
            // TLS 1.3 takes PSS only.
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
                &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256]
            }
            KeyAlgorithm::Other => &[],
        }
    }
}

impl SigningKey for DeviceKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = self.schemes().iter().copied().find(|s| offered.contains(s))?;
        Some(Box::new(DeviceSigner { key: self.0.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.algorithm() {
            KeyAlgorithm::P256 | KeyAlgorithm::P384 | KeyAlgorithm::P521 => SignatureAlgorithm::ECDSA,
            KeyAlgorithm::Ed25519 => SignatureAlgorithm::ED25519,
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => SignatureAlgorithm::RSA,
            KeyAlgorithm::Other => SignatureAlgorithm::Anonymous,
        }
    }
}

#[derive(Debug)]
struct DeviceSigner {
    key: Arc<PrivateKey>,
    scheme: SignatureScheme,
}

impl Signer for DeviceSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signed = match self.scheme {
            SignatureScheme::RSA_PSS_SHA256 => self.key.sign_rsa(&RSA_PSS_SHA256, message),
            _ => self.key.sign(message),
        };
        signed.map_err(|e| Error::General(e.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
