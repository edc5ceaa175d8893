//! TLS as the service does it: a client certificate is asked for, not required; the peer must hold its key; and
//! nothing else about it is judged here, because trust belongs to an id scope that is not known yet.

use super::SpawnError;
use crate::faults::ServerCertificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::crypto::{
    CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, ServerConfig,
    SignatureScheme,
};
use sim_identity::Seed;
use sim_identity::authority::ServerIdentity;
use sim_identity::certificate::subject_public_key_info;
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

/// A stream after the handshake. Boxed, for it is large and every future that it passes through would hold it again.
pub(crate) type Stream = Box<tokio_rustls::server::TlsStream<TcpStream>>;

/// What both TLS ports shake hands with: the server's certificate, and two that no device should take.
#[derive(Clone)]
pub(crate) struct Acceptors {
    good: TlsAcceptor,
    expired: TlsAcceptor,
    wrong_name: TlsAcceptor,
}

impl Acceptors {
    /// With `server`, and with certificates of the same seed's root that have expired or are of another name.
    /// `tickets`: see [`server_config`].
    pub(crate) fn new(
        server: &ServerIdentity,
        names: &[String],
        tickets: bool,
        seed: &Seed,
        now: OffsetDateTime,
    ) -> Result<Self, SpawnError> {
        let acceptor = |server: &ServerIdentity| {
            Ok::<_, SpawnError>(TlsAcceptor::from(Arc::new(server_config(server, tickets)?)))
        };
        // Reserved, so that it can be nobody's name (RFC 2606 section 2).
        let nobody = ["wrong-name.invalid".to_owned()];
        Ok(Acceptors {
            good: acceptor(server)?,
            expired: acceptor(&ServerIdentity::mint_expired(names, seed, now)?)?,
            wrong_name: acceptor(&ServerIdentity::mint(&nobody, seed, now)?)?,
        })
    }

    /// Shakes hands, with another certificate where a fault has it so.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        instead: Option<ServerCertificate>,
    ) -> std::io::Result<Stream> {
        let acceptor = match instead {
            None => &self.good,
            Some(ServerCertificate::Expired) => &self.expired,
            Some(ServerCertificate::WrongName) => &self.wrong_name,
        };
        acceptor.accept(stream).await.map(Box::new)
    }
}

/// Reads the peer's first message of the handshake and gives the stream back, nothing having been answered.
pub(crate) async fn hello(stream: TcpStream) -> std::io::Result<TcpStream> {
    let mut hello = Box::pin(LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream));
    match hello.as_mut().await {
        Ok(start) => Ok(start.io),
        Err(error) => Err(error),
    }
}

/// The configuration of both TLS ports: versions 1.2 and 1.3, without resumption unless asked for, so that each
/// simulated device costs a full handshake as on its first boot.
///
/// With `tickets` each connection is given one. Everything that a session needs is in its ticket, sealed with a key
/// that only this mock has, the chain that the peer proved its key of included: nothing is kept for it here, and at
/// register the chain is judged as ever.
pub(crate) fn server_config(server: &ServerIdentity, tickets: bool) -> Result<ServerConfig, Error> {
    let provider = Arc::new(CryptoProvider { kx_groups: GROUPS.to_vec(), ..aws_lc_rs::default_provider() });
    let verifier = Arc::new(HoldsItsKey { algorithms: provider.signature_verification_algorithms });
    let chain = server.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = server.key.to_pkcs8().map_err(|e| Error::General(e.to_string()))?;
    let mut config = builder(provider)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key)))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = usize::from(tickets);
    if tickets {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    }
    Ok(config)
}

/// Groups for the key agreement: the classic ones, and the post-quantum hybrid. The client's order decides.
static GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1, kx_group::X25519MLKEM768];

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, Error> {
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
}

/// Proves possession of the leaf's key, from its raw public key: webpki's helpers would also refuse X.509 v1 and
/// unknown critical extensions, which is the service's business at register and not TLS's.
#[derive(Debug)]
struct HoldsItsKey {
    algorithms: WebPkiSupportedAlgorithms,
}

fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
    let spki = subject_public_key_info(certificate.as_ref());
    spki.map(SubjectPublicKeyInfoDer::from).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

impl ClientCertVerifier for HoldsItsKey {
    fn offer_client_auth(&self) -> bool {
        true
    }

    // Devices with a symmetric key come to the same port without any certificate.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = public_key(certificate)?;
        let key = webpki::RawPublicKeyEntity::try_from(&spki)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let offered = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signed.scheme);
        let (_, candidates) = offered.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // In TLS 1.2 a scheme does not fix the curve: the right one of its algorithms is the one that fits.
        let fits = |a: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            key.verify_signature(*a, message, signed.signature()).is_ok()
        };
        if candidates.iter().any(fits) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadSignature))
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
