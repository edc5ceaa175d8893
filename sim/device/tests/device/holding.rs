//! Connections that outlive their attempt.

use crate::peer::{DISCONNECT, Line, Peer, assigned, device, publish, soon};
use sim_device::{ConnectFault, Connection, Goal, Habits, Outcome, Phase, arrive};
use std::time::Duration;

const PINGREQ: (u8, Vec<u8>) = (0xc0, Vec::new());
const PINGRESP: [u8; 2] = [0xd0, 0];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A device that is connected and wants nothing else, and the service's end of it.
async fn connected(peer: &Peer) -> (Connection, Line) {
    let target = peer.target(Habits { goal: Goal::Connected, ..Habits::default() });
    let service = async {
        let mut line = peer.accept().await;
        line.take_connect(0).await;
        line
    };
    let device = device();
    let ((made, connection), line) = tokio::join!(arrive(&target, &device), service);
    assert_eq!(made.outcome, Outcome::Connected);
    assert_eq!(made.phases.of(Phase::Subscribe), None);
    (connection.expect("an open connection"), line)
}

#[tokio::test]
async fn a_held_connection_says_that_it_is_alive_and_then_goodbye() {
    let peer = Peer::listen().await;
    let (connection, mut line) = connected(&peer).await;
    let service = async {
        let mut answered = 0;
        loop {
            match line.next().await.expect("a packet") {
                packet if packet == PINGREQ => {
                    line.send(&PINGRESP).await;
                    answered += 1;
                }
                last => break assert_eq!(last, DISCONNECT),
            }
        }
        assert_eq!(line.next().await, None, "closed");
        answered
    };
    let (held, answered) = tokio::join!(connection.hold(ms(500), ms(100)), service);
    assert_eq!(held.dropped, None);
    assert!(held.lasted >= ms(500) && held.lasted < ms(2_000), "{held:?}");
    assert!((2..=5).contains(&held.pings), "{held:?}");
    // The last ping may have been answered when the time was up.
    assert!(answered - held.pings <= 1, "{answered} answered, {held:?}");
}

#[tokio::test]
async fn a_connection_is_dropped_when_nobody_answers_or_it_breaks() {
    let peer = Peer::listen().await;
    for (close, fault) in [(false, ConnectFault::Silent), (true, ConnectFault::Closed)] {
        let (connection, mut line) = connected(&peer).await;
        let service = async {
            assert_eq!(line.next().await, Some(PINGREQ));
            if !close {
                assert_eq!(line.next().await, None, "closed without a word");
            }
            drop(line);
        };
        let (held, ()) = tokio::join!(connection.hold(Duration::from_secs(60), ms(50)), service);
        assert_eq!((held.dropped, held.pings), (Some(fault), 0));
        assert!(held.lasted < Duration::from_secs(10), "{held:?}");
    }
}

#[tokio::test]
async fn what_is_not_mqtt_ends_a_held_connection() {
    let peer = Peer::listen().await;
    let (connection, mut line) = connected(&peer).await;
    let (held, ()) =
        tokio::join!(connection.hold(Duration::from_secs(60), Duration::ZERO), line.send(&[0xf0, 0]));
    assert_eq!(held.dropped, Some(ConnectFault::Garbled));
}

#[tokio::test]
async fn a_publish_to_a_held_device_is_acknowledged() {
    let peer = Peer::listen().await;
    let (connection, mut line) = connected(&peer).await;
    let service = async {
        line.send(&publish("$dps/registrations/res/200/?$rid=9", 0x0203, "{}")).await;
        line.acknowledged(0x0203).await;
        line.goodbye().await;
    };
    let (held, ()) = tokio::join!(connection.hold(ms(200), Duration::ZERO), service);
    assert_eq!((held.dropped, held.pings), (None, 0));
}

#[tokio::test]
async fn connect_announces_the_keep_alive_and_pings_come_as_often_without_being_told() {
    for (keep_alive, announced) in
        [(ms(1), [0, 1]), (Duration::from_secs(0x0203), [2, 3]), (Duration::MAX, [255; 2])]
    {
        let peer = Peer::listen().await;
        let target = peer.target(Habits { keep_alive, ..Habits::default() });
        let service = async {
            let mut line = peer.accept().await;
            assert_eq!(line.take_connect(0).await[8..10], announced);
            line.take_subscribe().await;
            let (_, answered) = line.answer_next(200, None, &assigned()).await;
            // The acknowledgement of the last answer does not wait for company that never comes.
            line.acknowledged(answered).await;
            if announced == [0, 1] {
                assert_eq!(line.next().await, Some(PINGREQ));
                line.send(&PINGRESP).await;
            }
            line.goodbye().await;
        };
        let device = device();
        let held = async {
            let (made, connection) = arrive(&target, &device).await;
            assert!(matches!(made.outcome, Outcome::Assigned(_)), "{:?}", made.outcome);
            let lasts = if announced == [0, 1] { ms(1_500) } else { ms(20) };
            connection.expect("an open connection").hold(lasts, Duration::ZERO).await
        };
        let (held, ()) = soon(async { tokio::join!(held, service) }).await;
        assert_eq!((held.dropped, held.pings), (None, u32::from(announced == [0, 1])));
    }
}
