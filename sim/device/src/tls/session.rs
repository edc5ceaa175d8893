//! What a device remembers of its last TLS session, and what was negotiated in one.

use super::Presents;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{CipherSuite, CommonState, HandshakeKind, NamedGroup, ProtocolVersion};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device's own memory of TLS: one ticket at most, the latest. Of one service, so the name is not looked at.
#[derive(Debug, Default)]
pub struct Session {
    kept: Mutex<Kept>,
    /// rustls resumes only what the same source of certificates was used for.
    pub(super) presents: Arc<Presents>,
}

#[derive(Debug, Default)]
struct Kept {
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Option<Tls13ClientSessionValue>,
}

impl Session {
    /// A device that has not been here yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Session {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.kept().tls12 = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.kept().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.kept().tls13 = Some(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.kept().tls13.take()
    }
}

/// What was negotiated in a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite, as IANA spells it.
    pub suite: &'static str,
    /// The group of the key agreement, `x25519`, `p256`, `p384` or `x25519mlkem768`; `none` where there was none, as
    /// in a resumed session of TLS 1.2.
    pub group: &'static str,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
}

impl TlsFacts {
    pub(crate) fn of(connection: &CommonState) -> Self {
        TlsFacts {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "1.2",
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "unknown",
            },
            suite: connection.negotiated_cipher_suite().map_or("unknown", |suite| spelling(suite.suite())),
            group: match connection.negotiated_key_exchange_group().map(|group| group.name()) {
                Some(NamedGroup::X25519) => "x25519",
                Some(NamedGroup::secp256r1) => "p256",
                Some(NamedGroup::secp384r1) => "p384",
                Some(NamedGroup::X25519MLKEM768) => "x25519mlkem768",
                Some(_) => "unknown",
                None => "none",
            },
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

/// rustls spells the suites of TLS 1.3 its own way.
fn spelling(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}
