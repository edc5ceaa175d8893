//! What a device does when it gets nowhere: what it tries again, how often, and what it ends as.

use crate::peer::{Peer, assigned, assigning, device, error, soon, stranger};
use sim_device::{
    ConnectFault, Flavour, Habits, Heard, Outcome, Phase, PhaseTimeouts, Retries, Retry, attempt, base_config,
};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn fixed(retries: u32) -> Habits {
    Habits { retry: Retry::Fixed { wait: MS, retries }, ..Habits::default() }
}

fn doubling(retries: u32) -> Habits {
    let retry = Retry::Exponential { first: MS, most: 4 * MS, jitter: true, retries };
    Habits { retry, ..Habits::default() }
}

fn policy(retry: Retry) -> Habits {
    Habits { retry, ..Habits::default() }
}

fn counts(throttled: u32, server_error: u32, connection: u32, timeout: u32) -> Retries {
    Retries { throttled, server_error, connection, timeout }
}

#[tokio::test]
async fn a_throttled_request_is_asked_again_on_the_same_connection() {
    let peer = Peer::listen().await;
    let target = peer.target(fixed(4));
    let service = async {
        let mut line = peer.greet().await;
        line.answer_next(429, Some(0), &error(429_001)).await;
        line.answer_next(429, None, &error(429_001)).await;
        line.answer_next(202, Some(0), &assigning()).await;
        line.answer_next(503, Some(0), &error(500_000)).await;
        line.answer_next(200, None, &assigned()).await;
        line.goodbye().await;
    };
    let device = device();
    let (made, ()) = tokio::join!(attempt(&target, &device), service);
    assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}", made.outcome);
    assert_eq!(made.retries, counts(2, 1, 0, 0));
    assert_eq!(made.heard, Heard { throttled: 2, server_errors: 1, ..Heard::default() });
    let times = |wanted| made.phases.each().filter(|(phase, _)| *phase == wanted).count();
    assert_eq!((times(Phase::Tcp), times(Phase::Register), times(Phase::Poll)), (1, 3, 2));
    assert_eq!(times(Phase::Wait), 1, "all waits are one");
}

#[tokio::test]
async fn a_connection_that_breaks_is_made_anew_and_the_conversation_starts_again() {
    let peer = Peer::listen().await;
    let target = peer.target(doubling(5));
    let service = async {
        for _ in 0..2 {
            peer.accept().await.take_connect(0).await;
        }
        let mut line = peer.greet().await;
        line.answer_next(202, Some(0), &assigning()).await;
        drop(line);
        let mut line = peer.greet().await;
        let (asked, _) = line.answer_next(200, None, &assigned()).await;
        assert!(asked.topic.contains("/PUT/"), "registers anew");
        line.goodbye().await;
    };
    let device = device();
    let (made, ()) = tokio::join!(attempt(&target, &device), service);
    assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}", made.outcome);
    assert_eq!(made.retries, counts(0, 0, 3, 0));
    let tcp = made.phases.each().filter(|(phase, _)| *phase == Phase::Tcp);
    assert_eq!(tcp.count(), 4);
}

#[tokio::test]
async fn a_service_that_is_not_available_is_tried_again_and_a_refusal_is_not() {
    for (code, again) in [(3, true), (5, false)] {
        let peer = Peer::listen().await;
        let target = peer.target(fixed(1));
        let service = async {
            peer.accept().await.take_connect(code).await;
            if again {
                let mut line = peer.greet().await;
                line.answer_next(200, None, &assigned()).await;
            }
        };
        let device = device();
        let (made, ()) = tokio::join!(attempt(&target, &device), service);
        assert_eq!(matches!(made.outcome, Outcome::Assigned(_)), again, "CONNACK {code}");
        assert_eq!(made.retries, counts(0, u32::from(again), 0, 0));
        assert_eq!(made.heard, Heard { refused: 1, ..Heard::default() });
    }
}

#[tokio::test]
async fn answers_are_heard_as_what_they_are_whether_they_end_the_attempt_or_not() {
    let none = Heard::default();
    let failed = r#"{"operationId":"4.op","status":"failed","registrationState":{"status":"failed"}}"#;
    for (status, body, heard) in [
        (200, assigned(), none),
        (401, error(401_002), Heard { refused: 1, ..none }),
        (429, error(429_001), Heard { throttled: 1, ..none }),
        (500, error(500_000), Heard { server_errors: 1, ..none }),
        (200, failed.to_owned(), Heard { failed: 1, ..none }),
        (200, "{".to_owned(), Heard { malformed: 1, ..none }),
        (404, "{".to_owned(), Heard { refused: 1, ..none }),
    ] {
        let peer = Peer::listen().await;
        let target = peer.target(policy(Retry::None));
        let service = async {
            let mut line = peer.greet().await;
            line.answer_next(status, None, &body).await;
        };
        let device = device();
        let (made, ()) = tokio::join!(attempt(&target, &device), service);
        assert_eq!(made.heard, heard, "{status} {body}: {:?}", made.outcome);
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_tried_as_often_as_the_policy_has_it() {
    let peer = Peer::listen().await;
    let mut targets = Vec::new();
    for (habits, tried_again) in
        [(fixed(3), 3), (doubling(2), 2), (policy(Retry::None), 0), (policy(Retry::Flavour), 0)]
    {
        targets.push((peer.target(habits), tried_again));
    }
    drop(peer);
    for (target, tried_again) in targets {
        let made = soon(attempt(&target, &device())).await;
        let cause = ConnectFault::ConnectionRefused;
        assert_eq!(made.outcome, Outcome::Unreachable { phase: Phase::Tcp, cause });
        assert_eq!(made.retries, counts(0, 0, tried_again, 0));
    }
}

#[tokio::test]
async fn what_will_not_change_is_not_tried_again() {
    let peer = Peer::listen().await;
    let device = device();
    // A refusal.
    let target = peer.target(fixed(9));
    let service = async {
        let mut line = peer.greet().await;
        line.answer_next(401, None, &error(401_002)).await;
        line.goodbye().await;
    };
    let (made, ()) = tokio::join!(attempt(&target, &device), service);
    assert!(matches!(made.outcome, Outcome::Refused(_)), "{:?}", made.outcome);
    assert_eq!((made.retries.total(), made.heard.refused), (0, 1));
    // A server that is not trusted.
    let mut target = peer.target(fixed(9));
    let trust = sim_device::Trust::Public;
    target.tls = base_config(&trust, &sim_device::Handshake::default()).expect("a configuration");
    let service = async { peer.shake_hands(peer.accept_tcp().await).await.expect_err("an alert") };
    let (made, _) = tokio::join!(attempt(&target, &device), service);
    let cause = ConnectFault::ServerNotTrusted;
    assert_eq!(made.outcome, Outcome::Unreachable { phase: Phase::Tls, cause });
    assert_eq!(made.retries.total(), 0);
    // A device that is not, which TLS 1.3 says after the handshake.
    let target = peer.target(fixed(9));
    let service =
        async { peer.shake_hands(peer.accept_tcp().await).await.map(drop).expect_err("a stranger") };
    let stranger = stranger();
    let (made, _) = tokio::join!(attempt(&target, &stranger), service);
    assert!(
        matches!(&made.outcome, Outcome::Refused(no) if no.phase == Phase::Connect),
        "{:?}",
        made.outcome
    );
    assert_eq!(made.retries.total(), 0);
}

#[tokio::test]
async fn who_gives_up_ends_as_what_the_service_said_last() {
    let failed = Outcome::Failed { code: Some(500_000), message: "no".into() };
    let csharp = Habits { flavour: Flavour::CSharp, ..Habits::default() };
    for (habits, status, requests, outcome) in [
        (policy(Retry::None), 429, 1, Outcome::Throttled),
        (policy(Retry::None), 500, 1, failed.clone()),
        (csharp, 429, 1, Outcome::Throttled),
        (fixed(2), 429, 3, Outcome::Throttled),
        (doubling(2), 503, 3, failed),
    ] {
        let peer = Peer::listen().await;
        let target = peer.target(habits);
        let service = async {
            let mut line = peer.greet().await;
            for _ in 0..requests {
                line.answer_next(status, Some(0), &error(500_000)).await;
            }
            line.goodbye().await;
        };
        let device = device();
        let (made, ()) = tokio::join!(attempt(&target, &device), service);
        assert_eq!((made.outcome, made.retries.total()), (outcome, requests - 1));
    }
}

#[tokio::test]
async fn a_naive_device_asks_until_its_time_is_up_and_ends_as_throttled() {
    let peer = Peer::listen().await;
    let mut target = peer.target(policy(Retry::Naive));
    target.timeout = Duration::from_millis(300);
    let service = async {
        let mut line = peer.greet().await;
        loop {
            line.answer_next(429, Some(60), &error(429_001)).await;
        }
    };
    let device = device();
    let made = tokio::select! {
        made = attempt(&target, &device) => made,
        () = service => unreachable!("it never ends"),
    };
    assert_eq!(made.outcome, Outcome::Throttled);
    assert!(made.retries.throttled > 10, "{:?}", made.retries);
    assert_eq!(made.phases.of(Phase::Wait), None);
}

#[tokio::test]
async fn a_wait_that_leads_past_the_end_of_the_attempt_is_not_begun() {
    for (status, after, outcome) in
        [(429, Some(60), Outcome::Throttled), (202, Some(60), Outcome::TimedOut { phase: Phase::Wait })]
    {
        let peer = Peer::listen().await;
        let target = peer.target(Habits::default());
        let body = if status == 202 { assigning() } else { error(429_001) };
        let service = async {
            let mut line = peer.greet().await;
            line.answer_next(status, after, &body).await;
            line.goodbye().await;
        };
        let device = device();
        let (made, ()) = tokio::join!(attempt(&target, &device), service);
        assert_eq!((made.outcome, made.retries.total()), (outcome, 0));
        assert!(made.finished - made.started < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn a_device_may_ignore_what_the_service_asks_for() {
    let peer = Peer::listen().await;
    let mut target = peer.target(fixed(1));
    target.habits.ignore_retry_after = true;
    target.habits.flavour = Flavour::C;
    let service = async {
        let mut line = peer.greet().await;
        line.answer_next(429, Some(300), &error(429_001)).await;
        line.answer_next(202, Some(300), &assigning()).await;
        line.answer_next(200, None, &assigned()).await;
        line.goodbye().await;
    };
    let device = device();
    let (made, ()) = tokio::join!(attempt(&target, &device), service);
    assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}", made.outcome);
    let waited = made.phases.of(Phase::Wait).expect("its own second before the poll");
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
}

/// Goes along until this phase, and then says nothing.
async fn silent_at(peer: &Peer, phase: Phase) {
    let tcp = peer.accept_tcp().await;
    if phase == Phase::Tls {
        return std::future::pending().await;
    }
    let mut line = crate::peer::Line::new(peer.shake_hands(tcp).await.expect("a handshake"));
    if phase != Phase::Connect {
        line.take_connect(0).await;
    }
    if !matches!(phase, Phase::Connect | Phase::Subscribe) {
        line.take_subscribe().await;
    }
    if phase == Phase::Poll {
        line.answer_next(202, Some(0), &assigning()).await;
    }
    std::future::pending().await
}

#[tokio::test]
async fn each_phase_has_its_own_limit_and_the_attempt_has_one_for_all() {
    const SHORT: Option<Duration> = Some(Duration::from_millis(100));
    let none = PhaseTimeouts::default();
    for (phase, timeouts) in [
        (Phase::Tls, PhaseTimeouts { tls: SHORT, ..none }),
        (Phase::Connect, PhaseTimeouts { connect: SHORT, ..none }),
        (Phase::Subscribe, PhaseTimeouts { subscribe: SHORT, ..none }),
        (Phase::Register, PhaseTimeouts { register: SHORT, ..none }),
        (Phase::Poll, PhaseTimeouts { poll: SHORT, ..none }),
        (Phase::Register, none),
    ] {
        let peer = Peer::listen().await;
        let mut target = peer.target(fixed(1));
        target.habits.phase_timeouts = timeouts;
        if timeouts == none {
            target.timeout = Duration::from_millis(300);
        }
        let service = async {
            tokio::join!(silent_at(&peer, phase), async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                silent_at(&peer, phase).await
            })
        };
        let device = device();
        let made = tokio::select! {
            made = attempt(&target, &device) => made,
            _ = service => unreachable!("it never ends"),
        };
        assert_eq!(made.outcome, Outcome::TimedOut { phase });
        let again = u32::from(timeouts != none);
        assert_eq!(made.retries, counts(0, 0, 0, again), "{phase}");
        assert_eq!(made.heard, Heard { unheard: 1 + again, ..Heard::default() }, "{phase}");
    }
}
