//! TLS: what was negotiated, what is resumed, what is said when it fails, and bytes that come in pieces.

use crate::peer::{Line, Peer, assigned, device};
use rustls::crypto::aws_lc_rs::Ticketer;
use sim_device::{
    Device, Goal, Group, Habits, Handshake, Outcome, Session, Sources, Target, TlsFacts, TlsVersions,
    Transport, arrive, attempt, base_config,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn registers(peer: &Peer, target: &Target, device: &Device) -> TlsFacts {
    let service = async {
        let mut line = peer.greet().await;
        line.answer_next(200, None, &assigned()).await;
        line.goodbye().await;
    };
    let (made, ()) = tokio::join!(attempt(target, device), service);
    assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}", made.outcome);
    made.tls.expect("a handshake")
}

#[tokio::test]
async fn an_attempt_says_what_was_negotiated() {
    let peer = Peer::listen().await;
    for (versions, group, version, named) in [
        (TlsVersions::Any, Group::X25519, "1.3", "x25519"),
        (TlsVersions::V13, Group::P384, "1.3", "p384"),
        (TlsVersions::V13, Group::X25519MlKem768, "1.3", "x25519mlkem768"),
        (TlsVersions::V12, Group::P256, "1.2", "p256"),
    ] {
        let handshake = Handshake { versions, groups: vec![group], ..Handshake::default() };
        let mut target = peer.target(Habits::default());
        target.tls = base_config(&peer.trust(), &handshake).expect("a configuration");
        let facts = registers(&peer, &target, &device()).await;
        let suite = match version {
            "1.3" => "TLS_AES_128_GCM_SHA256",
            _ => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        };
        assert_eq!(facts, TlsFacts { version, suite, group: named, resumed: false });
    }
}

#[tokio::test]
async fn a_device_resumes_its_own_session_and_nothing_without_one() {
    let peer = Peer::listen_with(|config| config.ticketer = Ticketer::new().expect("a ticketer")).await;
    for versions in [TlsVersions::V13, TlsVersions::V12] {
        let handshake = Handshake { versions, resumption: true, ..Handshake::default() };
        let mut target = peer.target(Habits::default());
        target.tls = base_config(&peer.trust(), &handshake).expect("a configuration");
        let (forgetful, fresh) = (device(), Device { session: Some(Arc::default()), ..device() });
        for (again, resumed) in [(false, false), (true, true), (true, true)] {
            let facts = registers(&peer, &target, &fresh).await;
            assert_eq!(facts.resumed, resumed, "{versions:?}, again: {again}");
            assert!(!registers(&peer, &target, &forgetful).await.resumed);
            let other = Device { session: Some(Arc::new(Session::new())), ..device() };
            assert!(!registers(&peer, &target, &other).await.resumed);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_told_why() {
    let peer = Peer::listen().await;
    let mut target = peer.target(Habits::default());
    target.tls = base_config(&sim_device::Trust::Public, &Handshake::default()).expect("a configuration");
    let service = async { peer.shake_hands(peer.accept_tcp().await).await.expect_err("an alert") };
    let device = device();
    let (_, error) = tokio::join!(attempt(&target, &device), service);
    let told = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA);
    assert_eq!(told, Some(&alert));
}

#[tokio::test]
async fn connections_come_from_the_given_addresses_in_turn() {
    let sources: Vec<IpAddr> =
        ["127.0.0.2", "127.0.0.3"].map(|text| text.parse().expect("an address")).into();
    let peer = Peer::listen().await;
    let habits = Habits {
        goal: Goal::Connected,
        sources: Some(Arc::new(Sources::new(sources.clone()))),
        ..Habits::default()
    };
    let target = peer.target(habits);
    for source in sources {
        let service = async {
            let tcp = peer.accept_tcp().await;
            let from = tcp.peer_addr().expect("an address").ip();
            let mut line = Line::new(peer.shake_hands(tcp).await.expect("a handshake"));
            line.take_connect(0).await;
            line.goodbye().await;
            from
        };
        let device = device();
        let (made, from) = tokio::join!(attempt(&target, &device), service);
        assert_eq!((made.outcome, from), (Outcome::Connected, source));
    }
}

/// Carries what one side says to the other a few bytes at a time.
async fn carry(mut from: impl tokio::io::AsyncRead + Unpin, mut to: impl tokio::io::AsyncWrite + Unpin) {
    let mut piece = [0; 61];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if to.write_all(&piece[..read]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = to.shutdown().await;
}

async fn proxy(listener: &TcpListener, to: std::net::SocketAddr) {
    let (near, _) = listener.accept().await.expect("a connection");
    let far = TcpStream::connect(to).await.expect("a connection");
    for side in [&near, &far] {
        side.set_nodelay(true).expect("a socket");
    }
    let ((near_reads, near_writes), (far_reads, far_writes)) = (near.into_split(), far.into_split());
    tokio::join!(carry(near_reads, far_writes), carry(far_reads, near_writes));
}

#[tokio::test]
async fn records_that_come_in_pieces_and_answers_of_many_records_are_read() {
    let peer = Peer::listen().await;
    let proxied = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    // More than fits one record, in a field that is passed over.
    let body = assigned().replacen('{', &format!(r#"{{"padding":"{}","#, "x".repeat(60_000)), 1);
    for versions in [TlsVersions::V13, TlsVersions::V12] {
        let mut target = peer.target(Habits::default());
        target.address = proxied.local_addr().ok();
        let handshake = Handshake { versions, ..Handshake::default() };
        target.tls = base_config(&peer.trust(), &handshake).expect("a configuration");
        let service = async {
            let mut line = peer.greet().await;
            line.answer_next(200, None, &body).await;
            line.goodbye().await;
        };
        let device = device();
        let (made, (), ()) =
            tokio::join!(attempt(&target, &device), service, proxy(&proxied, peer.address()));
        assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}", made.outcome);
    }
}

#[tokio::test]
async fn a_connection_over_https_is_reached_with_the_handshake() {
    let peer = Peer::listen().await;
    let mut target = peer.target(Habits { goal: Goal::Connected, ..Habits::default() });
    target.transport = Transport::Https;
    let device = device();
    let ((made, connection), _) = tokio::join!(arrive(&target, &device), peer.accept());
    assert_eq!(made.outcome, Outcome::Connected);
    assert!(connection.is_none() && made.tls.is_some());
}

#[tokio::test]
async fn a_device_in_flight_is_small() {
    let peer = Peer::listen().await;
    let target = peer.target(Habits::default());
    let device = device();
    // What an engine holds for each device besides what the attempt puts on the heap as it goes.
    let size = size_of_val(&arrive(&target, &device));
    assert!(size <= 1024, "{size} bytes");
    let service = async {
        let mut line = peer.greet().await;
        line.answer_next(200, None, &assigned()).await;
        line
    };
    let ((_, connection), _line) = tokio::join!(arrive(&target, &device), service);
    let connection = connection.expect("an open connection");
    let size = size_of_val(&connection.hold(Duration::ZERO, Duration::ZERO));
    assert!(size <= 768, "{size} bytes");
}
