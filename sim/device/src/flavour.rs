//! What the official clients do differently on the wire, as data.
//!
//! Observed on loopback: azure-iot-device 2.14.0 (Python), azure-iot-provisioning-device 1.9.1 (Node.js) and the C
//! SDK 1.15.0. The client for C# was not observed: its rows are from its source, and what that does not say is
//! marked `ours:`. A flavour is a conversation, not a TLS stack: versions and groups are a scenario's choice.

use crate::attempt::Transport;
use crate::retry::Draws;
use bytes::Bytes;
use rumqttc::mqttbytes::QoS;
use sim_protocol::mqtt::API_VERSION;
use sim_protocol::{IdScope, RegistrationId};
use std::time::Duration;

/// Whose conversation a device has: quality of service, keep-alive, bodies, waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flavour {
    /// This program's own, as short as the protocol allows.
    #[default]
    Rollcall,
    /// That of the official client for Python.
    Python,
    /// That of the official client for C.
    C,
    /// That of the official client for C#.
    CSharp,
    /// That of the official client for Node.js.
    Node,
}

/// How a client names its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rid {
    /// 1, 2, 3 …, by request.
    Counter,
    /// The packet id of the publish.
    PacketId,
    /// A random UUID, a new one each time.
    Uuid,
}

/// The body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Empty,
    /// One space.
    Space,
    /// `{"registrationId":"…"}`.
    Registration,
    /// `{"payload": null, "registrationId": "…"}`, with Python's spaces.
    PythonRegistration,
}

impl Body {
    pub(crate) fn bytes(self, id: &RegistrationId) -> Bytes {
        match self {
            Body::Empty => Bytes::new(),
            Body::Space => Bytes::from_static(b" "),
            Body::Registration => format!("{{\"registrationId\":\"{id}\"}}").into(),
            Body::PythonRegistration => format!("{{\"payload\": null, \"registrationId\": \"{id}\"}}").into(),
        }
    }
}

/// What a client does before it closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// DISCONNECT, then close.
    Disconnect,
    /// The same, and nothing at all after a failure.
    DisconnectUnlessFailed,
    /// UNSUBSCRIBE, UNSUBACK, DISCONNECT, then close.
    Unsubscribe,
    /// DISCONNECT, and a while later close.
    Linger(Duration),
}

/// How one client talks.
#[derive(Debug)]
pub(crate) struct Manners {
    /// Seconds; 0 is off.
    pub(crate) keep_alive: u16,
    pub(crate) clean_session: bool,
    pub(crate) api_version: &'static str,
    /// As transmitted.
    pub(crate) client_version: &'static str,
    pub(crate) rid: Rid,
    /// Of both publishes.
    pub(crate) qos: QoS,
    pub(crate) register: Body,
    pub(crate) status: Body,
    /// Whether an answer is acknowledged as soon as it comes, rather than along with what is sent next.
    pub(crate) acknowledges_at_once: bool,
    pub(crate) goodbye: Goodbye,
    /// How long it waits for an answer to a request, where it gives up before the attempt does.
    pub(crate) patience: Option<Duration>,
    /// What it waits where the service does not say.
    pub(crate) wait: Duration,
    /// Path of the WebSocket.
    pub(crate) path: &'static str,
    /// The WebSocket subprotocol, as it spells it.
    pub(crate) subprotocol: &'static str,
    /// Whether the upgrade says where it comes from.
    pub(crate) origin: bool,
    /// Whether the last flight of a TLS 1.3 handshake travels with the first bytes of the conversation. Bytes and
    /// order are the same; one write and one packet fewer.
    pub(crate) coalesces: bool,
}

const WEBSOCKET_PATH: &str = "/$iothub/websocket";

const ROLLCALL: Manners = Manners {
    // Off: an attempt is short.
    keep_alive: 0,
    clean_session: true,
    api_version: API_VERSION,
    client_version: concat!("rollcall%2F", env!("CARGO_PKG_VERSION")),
    rid: Rid::Counter,
    qos: QoS::AtLeastOnce,
    register: Body::Registration,
    status: Body::Space,
    acknowledges_at_once: false,
    goodbye: Goodbye::Disconnect,
    patience: None,
    wait: Duration::from_secs(2),
    path: WEBSOCKET_PATH,
    subprotocol: "mqtt",
    origin: false,
    coalesces: true,
};

const PYTHON: Manners = Manners {
    keep_alive: 60,
    clean_session: false,
    // ours: the operating system's part, which differs from device to device.
    client_version: "azure-iot-device-provisioning-py%2F2.14.0%283.11.7%3BLinux%20%231%20SMP%3Bx86_64%29",
    rid: Rid::Uuid,
    register: Body::PythonRegistration,
    acknowledges_at_once: true,
    goodbye: Goodbye::DisconnectUnlessFailed,
    patience: Some(Duration::from_secs(30)),
    origin: true,
    coalesces: false,
    ..ROLLCALL
};

const C: Manners = Manners {
    api_version: "2021-06-01",
    client_version: "1.15.0",
    qos: QoS::AtMostOnce,
    status: Body::Registration,
    acknowledges_at_once: true,
    wait: Duration::from_secs(1),
    subprotocol: "MQTT",
    coalesces: false,
    ..ROLLCALL
};

const CSHARP: Manners = Manners {
    // The default of its library: the client never sets it.
    keep_alive: 0,
    // ours: not told by its source alone.
    clean_session: true,
    // ours: the form of the other clients; its own user agent is longer.
    client_version: "Microsoft.Azure.Devices.Provisioning.Client%2F1.19.4",
    rid: Rid::PacketId,
    register: Body::Empty,
    status: Body::Empty,
    acknowledges_at_once: true,
    goodbye: Goodbye::Linger(Duration::from_millis(400)),
    patience: Some(Duration::from_secs(60)),
    path: "/",
    coalesces: false,
    ..ROLLCALL
};

const NODE: Manners = Manners {
    keep_alive: 180,
    client_version: "azure-iot-provisioning-device%2F1.9.1",
    rid: Rid::Uuid,
    acknowledges_at_once: true,
    goodbye: Goodbye::Unsubscribe,
    patience: Some(Duration::from_secs(30)),
    coalesces: false,
    ..ROLLCALL
};

/// The shortest wait of the client for C#.
const CSHARP_LEAST: Duration = Duration::from_secs(2);
/// How much the client for C# adds at most where the service does not say.
const CSHARP_JITTER: Duration = Duration::from_secs(5);
/// The `retry-after` that the C SDK believes, in seconds.
const C_BELIEVES: std::ops::RangeInclusive<u64> = 1..=300;

impl Flavour {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rollcall, Self::Python, Self::C, Self::CSharp, Self::Node];

    /// Whose conversation it is over this transport: only the client for Node.js was observed over HTTPS, so the
    /// others have its conversation there.
    pub(crate) const fn over(self, transport: Transport) -> Self {
        match (transport, self) {
            (_, Self::Rollcall) => Self::Rollcall,
            (Transport::Https, _) => Self::Node,
            (Transport::Mqtt | Transport::MqttWs, own) => own,
        }
    }

    pub(crate) const fn manners(self) -> &'static Manners {
        match self {
            Self::Rollcall => &ROLLCALL,
            Self::Python => &PYTHON,
            Self::C => &C,
            Self::CSharp => &CSHARP,
            Self::Node => &NODE,
        }
    }

    /// The wait before a poll. `told` is what the service asks for; the first poll follows the register's answer.
    pub(crate) fn poll_wait(self, first: bool, told: Option<Duration>, draws: &mut Draws) -> Duration {
        match self {
            Self::Python if first => PYTHON.wait,
            Self::CSharp => match told {
                Some(told) => told.max(CSHARP_LEAST),
                None => CSHARP.wait + draws.below(CSHARP_JITTER),
            },
            _ => self.wait(told),
        }
    }

    /// The wait before the same request is asked again after this status; `None` where the client gives up.
    pub(crate) fn wait_again(
        self,
        transport: Transport,
        status: u16,
        told: Option<Duration>,
    ) -> Option<Duration> {
        let asks = match (self, transport) {
            (Self::Rollcall, _) => may_pass(status),
            // Its transport reports a transient failure and leaves the rest to the application.
            (Self::CSharp, _) => false,
            (_, Transport::Https) => false,
            (_, Transport::Mqtt | Transport::MqttWs) => status >= 429,
        };
        asks.then(|| self.wait(told))
    }

    fn wait(self, told: Option<Duration>) -> Duration {
        let told = told.filter(|told| self != Self::C || C_BELIEVES.contains(&told.as_secs()));
        told.unwrap_or(self.manners().wait)
    }
}

/// Whether a status is a throttle or a failure of the service, so that the same request may fare better later.
pub(crate) const fn may_pass(status: u16) -> bool {
    matches!(status, 429 | 500..600)
}

impl Manners {
    /// The MQTT user name.
    pub(crate) fn user_name(&self, id_scope: &IdScope, id: &RegistrationId) -> String {
        let Manners { api_version, client_version, .. } = self;
        format!("{id_scope}/registrations/{id}/api-version={api_version}&ClientVersion={client_version}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_client_waits_its_own_way_before_a_poll() {
        let told = [None, Some(0), Some(1), Some(3), Some(301)];
        // By flavour: what each waits before the first poll and before later ones, for each `told`.
        let rows = [
            (Flavour::Rollcall, [2, 0, 1, 3, 301], [2, 0, 1, 3, 301]),
            (Flavour::Python, [2, 2, 2, 2, 2], [2, 0, 1, 3, 301]),
            (Flavour::C, [1, 1, 1, 3, 1], [1, 1, 1, 3, 1]),
            (Flavour::Node, [2, 0, 1, 3, 301], [2, 0, 1, 3, 301]),
        ];
        let mut draws = Draws::new(7);
        for (flavour, first, later) in rows {
            for (told, (first, later)) in told.into_iter().zip(first.into_iter().zip(later)) {
                let told = told.map(s);
                assert_eq!(flavour.poll_wait(true, told, &mut draws), s(first), "{flavour:?} {told:?}");
                assert_eq!(flavour.poll_wait(false, told, &mut draws), s(later), "{flavour:?} {told:?}");
            }
        }
    }

    #[test]
    fn the_client_for_c_sharp_waits_two_seconds_at_least_and_draws_where_it_is_not_told() {
        let mut draws = Draws::new(1);
        for (told, waits) in [(0, 2), (1, 2), (2, 2), (9, 9)] {
            assert_eq!(Flavour::CSharp.poll_wait(true, Some(s(told)), &mut draws), s(waits));
        }
        let drawn: Vec<_> = (0..1000).map(|_| Flavour::CSharp.poll_wait(false, None, &mut draws)).collect();
        assert!(drawn.iter().all(|wait| (s(2)..=s(7)).contains(wait)));
        assert!(drawn.iter().any(|wait| *wait < s(3)) && drawn.iter().any(|wait| *wait > s(6)));
    }

    #[test]
    fn each_client_asks_again_after_its_own_statuses() {
        let (mqtt, https) = (Transport::Mqtt, Transport::Https);
        let rows = [
            (Flavour::Rollcall, mqtt, [(429, true), (430, false), (500, true), (599, true), (401, false)]),
            (Flavour::Rollcall, https, [(429, true), (430, false), (500, true), (599, true), (401, false)]),
            (Flavour::Python, mqtt, [(428, false), (429, true), (430, true), (503, true), (404, false)]),
            (Flavour::C, mqtt, [(428, false), (429, true), (430, true), (503, true), (404, false)]),
            (Flavour::Node, mqtt, [(428, false), (429, true), (430, true), (503, true), (404, false)]),
            (Flavour::Node, https, [(428, false), (429, false), (430, false), (503, false), (404, false)]),
            (Flavour::CSharp, mqtt, [(428, false), (429, false), (430, false), (503, false), (404, false)]),
        ];
        for (flavour, transport, statuses) in rows {
            for (status, again) in statuses {
                let wait = flavour.wait_again(transport, status, None);
                assert_eq!(wait, again.then_some(flavour.manners().wait), "{flavour:?} {status}");
            }
        }
        assert_eq!(Flavour::C.wait_again(mqtt, 429, Some(s(0))), Some(s(1)));
        assert_eq!(Flavour::Node.wait_again(mqtt, 429, Some(s(0))), Some(s(0)));
        assert_eq!(Flavour::Python.wait_again(mqtt, 429, Some(s(31))), Some(s(31)));
    }

    #[test]
    fn over_https_every_official_client_is_the_one_that_was_observed_there() {
        for flavour in Flavour::ALL {
            let over = flavour.over(Transport::Https);
            let expected = if flavour == Flavour::Rollcall { flavour } else { Flavour::Node };
            assert_eq!(over, expected);
            assert_eq!(flavour.over(Transport::MqttWs), flavour);
        }
    }
}
