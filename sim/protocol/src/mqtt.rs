//! The device conversation over MQTT 3.1.1: user name, filter and topics.
//!
//! Source: DPS documentation, "Communicate with DPS using the MQTT protocol", and what the official SDKs send.

use crate::names::{IdScope, RegistrationId};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::fmt::Write as _;
use std::time::Duration;

/// The only useful filter; the `#` is there because the query part of the answer topic varies.
pub const RESPONSE_FILTER: &str = "$dps/registrations/res/#";
/// The api-version that most official SDKs send over MQTT.
pub const API_VERSION: &str = "2019-03-31";
/// Documented largest message: 96 KB. `ours:` read as 96 × 1024.
pub const MAX_MESSAGE: usize = 96 * 1024;

/// What an operation id cannot hold as it is in a topic's query.
const RESERVED: &AsciiSet = &CONTROLS.add(b'%').add(b'&').add(b'#').add(b'+');

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/";
const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/";
const RESPONSE: &str = "$dps/registrations/res/";

/// The MQTT user name of a device, `{idScope}/registrations/{registrationId}/api-version={v}[&ClientVersion={c}]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName {
    /// Which DPS instance.
    pub id_scope: String,
    /// Which device, as text: the service answers for bad characters later, not at CONNECT.
    pub registration_id: String,
    /// `api-version`, if present.
    pub api_version: Option<String>,
    /// `ClientVersion`, if present, as transmitted.
    pub client_version: Option<String>,
}

impl UserName {
    /// The user name this tool's devices send.
    pub fn text(id_scope: &IdScope, registration_id: &RegistrationId, client_version: &str) -> String {
        format!(
            "{id_scope}/registrations/{registration_id}/api-version={API_VERSION}&ClientVersion={client_version}"
        )
    }

    /// Parses a user name; everything after the third `/` is an `&`-separated list whose unknown keys are
    /// ignored, because clients differ (an absent, raw or repeated `ClientVersion` all occur).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '/');
        let (id_scope, word, registration_id) = (parts.next()?, parts.next()?, parts.next()?);
        if id_scope.is_empty() || word != "registrations" || registration_id.is_empty() {
            return None;
        }
        let mut user = UserName {
            id_scope: id_scope.to_owned(),
            registration_id: registration_id.to_owned(),
            api_version: None,
            client_version: None,
        };
        for (key, value) in parts.next().unwrap_or_default().split('&').filter_map(|p| p.split_once('=')) {
            match key {
                "api-version" => user.api_version = Some(value.to_owned()),
                "ClientVersion" => user.client_version = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(user)
    }
}

/// What a device asks in a publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Register; the body is a `DeviceRegistration`.
    Register {
        /// Opaque, echoed back; neither unique nor numeric.
        rid: String,
    },
    /// Ask how an operation stands.
    Status {
        /// Opaque, echoed back.
        rid: String,
        /// The operation asked for, percent-decoded.
        operation_id: String,
    },
}

impl Request {
    /// The topic to publish to.
    pub fn topic(&self) -> String {
        match self {
            Request::Register { rid } => format!("{REGISTER}?$rid={rid}"),
            Request::Status { rid, operation_id } => {
                // Ids that need it are encoded, as the query of the topic is read.
                let operation_id = utf8_percent_encode(operation_id, RESERVED);
                format!("{STATUS}?$rid={rid}&operationId={operation_id}")
            }
        }
    }

    /// Reads a topic; `None` for a topic that is not part of the device API.
    pub fn parse(topic: &str) -> Option<Self> {
        if let Some(query) = topic.strip_prefix(REGISTER) {
            return Some(Request::Register { rid: parameter(query, "$rid")?.to_owned() });
        }
        let query = topic.strip_prefix(STATUS)?;
        // Python percent-encodes the operation id, the others send it raw.
        let operation_id = percent_decode_str(parameter(query, "operationId")?).decode_utf8().ok()?;
        Some(Request::Status {
            rid: parameter(query, "$rid")?.to_owned(),
            operation_id: operation_id.into_owned(),
        })
    }
}

fn parameter<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    query
        .strip_prefix('?')?
        .split('&')
        .filter_map(|p| p.split_once('='))
        .find(|(k, _)| *k == key)
        .map(|(_, v)| v)
}

/// The topic of an answer: `$dps/registrations/res/{status}/?$rid={rid}[&retry-after={seconds}]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseTopic {
    /// HTTP-like status.
    pub status: u16,
    /// The request's `$rid`, byte for byte.
    pub rid: String,
    /// How long to wait before asking again, whole seconds on the wire.
    pub retry_after: Option<Duration>,
}

impl ResponseTopic {
    /// The topic to publish to. `$rid` comes first because one SDK matches that prefix literally.
    pub fn topic(&self) -> String {
        let mut topic = format!("{RESPONSE}{}/?$rid={}", self.status, self.rid);
        if let Some(wait) = self.retry_after {
            // Writing to a String cannot fail.
            let _ = write!(topic, "&retry-after={}", wait.as_secs());
        }
        topic
    }

    /// Reads an answer's topic; `None` if it is not one.
    pub fn parse(topic: &str) -> Option<Self> {
        let (status, query) = topic.strip_prefix(RESPONSE)?.split_once('/')?;
        Some(ResponseTopic {
            status: status.parse().ok()?,
            rid: parameter(query, "$rid")?.to_owned(),
            retry_after: match parameter(query, "retry-after") {
                Some(seconds) => Some(Duration::from_secs(seconds.parse().ok()?)),
                None => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Verbatim user names of four official clients, observed on loopback.
    #[test]
    fn user_names_of_the_official_clients_are_read() {
        let rows = [
            (
                "0ne00000001/registrations/dev-001/api-version=2019-03-31&ClientVersion=azure-iot-device-provisioning-py%2F2.14.0%283.11.7%3BLinux%29",
                Some("2019-03-31"),
            ),
            (
                "0ne00000001/registrations/dev-001/api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.1",
                Some("2019-03-31"),
            ),
            (
                "0ne00000001/registrations/dev-001/api-version=2021-06-01&ClientVersion=1.15.0",
                Some("2021-06-01"),
            ),
            ("0ne00000001/registrations/dev-001/api-version=2019-03-31", Some("2019-03-31")),
            ("0ne00000001/registrations/dev-001", None),
        ];
        for (text, version) in rows {
            let user = UserName::parse(text).expect(text);
            assert_eq!((user.id_scope.as_str(), user.registration_id.as_str()), ("0ne00000001", "dev-001"));
            assert_eq!(user.api_version.as_deref(), version);
        }
        for bad in
            ["", "scope", "scope/registrations", "scope/devices/dev/api-version=1", "/registrations/d/x=1"]
        {
            assert_eq!(UserName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn request_topics_are_read_as_clients_write_them() {
        let register = Request::parse("$dps/registrations/PUT/iotdps-register/?$rid=1");
        assert_eq!(register, Some(Request::Register { rid: "1".into() }));
        let status = Request::parse(
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=a-b&operationId=5%2E71cf.44-69",
        );
        assert_eq!(status, Some(Request::Status { rid: "a-b".into(), operation_id: "5.71cf.44-69".into() }));
        for bad in [
            "$dps/registrations/PUT/iotdps-register/?rid=1",
            "$dps/registrations/PUT/other/?$rid=1",
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1",
            "devices/x/messages/events/",
        ] {
            assert_eq!(Request::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn response_topics_put_rid_first_and_survive_a_round_trip() {
        let topic =
            ResponseTopic { status: 202, rid: "7f".into(), retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(topic.topic(), "$dps/registrations/res/202/?$rid=7f&retry-after=3");
        assert_eq!(ResponseTopic::parse(&topic.topic()), Some(topic));
        let swapped = ResponseTopic::parse("$dps/registrations/res/429/?retry-after=31&$rid=1");
        let wait = Some(Duration::from_secs(31));
        assert_eq!(swapped, Some(ResponseTopic { status: 429, rid: "1".into(), retry_after: wait }));
    }
}
