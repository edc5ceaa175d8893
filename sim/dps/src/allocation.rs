//! Picks the hub a device is assigned to, out of the linked ones.
//!
//! Pure: hubs, terms and the device's name go in, the place of a hub in the list comes out. For the policy
//! `custom` this module has the words spoken with a webhook and judges its answer; the call itself is made in
//! the shell.
//!
//! Source: DPS documentation, "Use allocation policies" and "Understand custom allocation policies".

use crate::ids::mix;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sim_protocol::RegistrationId;
use sim_protocol::attestation::{
    AllocationPolicy, EnrollmentGroup, IndividualEnrollment, Terms, X509Attestation,
};
use sim_protocol::duration::{InvalidDuration, parse_duration};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Weights the service takes (`allocationWeight`).
pub const WEIGHTS: RangeInclusive<u32> = 1..=1000;

/// A linked hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// Host name as devices are told it.
    pub host: String,
    /// Its share under `hashed`, relative to the other hubs': within [`WEIGHTS`], 1 unless said otherwise.
    pub weight: u32,
    /// Declared latency from the devices, for `geoLatency`; undeclared is farther than any declared.
    pub latency: Option<Duration>,
    /// Whether devices are assigned to it at all (`applyAllocationPolicy`).
    pub applies: bool,
}

impl Hub {
    /// A hub of weight 1 that takes part, of unknown latency.
    pub fn new(host: impl Into<String>) -> Self {
        Hub { host: host.into(), weight: 1, latency: None, applies: true }
    }

    fn is(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }

    fn set(&mut self, setting: &str) -> Result<(), InvalidHub> {
        let given = || setting.to_owned();
        let (key, value) = setting.split_once('=').ok_or_else(|| InvalidHub::Setting { text: given() })?;
        match key.trim() {
            "weight" => self.weight = weight(value.trim())?,
            "latency" => self.latency = Some(parse_duration(value.trim())?),
            "apply" => {
                self.applies =
                    value.trim().parse().map_err(|_| InvalidHub::Apply { text: value.to_owned() })?;
            }
            _ => return Err(InvalidHub::Setting { text: given() }),
        }
        Ok(())
    }
}

/// Why a text is not a linked hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHub {
    /// Nothing stands before the first comma.
    #[error("the hub has no host name")]
    NoHost,
    /// A character that no host name has.
    #[error("the hub's host name `{host}` may not contain {found:?}")]
    Host {
        /// The name as given.
        host: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// Not one of the settings of a hub.
    #[error("`{text}` is not a setting of a hub: write `weight=3`, `latency=20ms` or `apply=false`")]
    Setting {
        /// The setting as given.
        text: String,
    },
    /// Not a whole number within [`WEIGHTS`].
    #[error("a hub's weight is a whole number from 1 to 1000, not `{text}`")]
    Weight {
        /// The value as given.
        text: String,
    },
    /// Not a duration.
    #[error("a hub's latency cannot be read: {0}")]
    Latency(#[from] InvalidDuration),
    /// Neither yes nor no.
    #[error("a hub's `apply` is `true` or `false`, not `{text}`")]
    Apply {
        /// The value as given.
        text: String,
    },
}

fn weight(text: &str) -> Result<u32, InvalidHub> {
    let number = text.parse().ok().filter(|number| WEIGHTS.contains(number));
    number.ok_or_else(|| InvalidHub::Weight { text: text.to_owned() })
}

/// `hub-1.example`, or `hub-2.example,weight=3,latency=20ms,apply=false`.
impl FromStr for Hub {
    type Err = InvalidHub;

    fn from_str(text: &str) -> Result<Self, InvalidHub> {
        let mut parts = text.split(',');
        let host = parts.next().map(str::trim).filter(|host| !host.is_empty()).ok_or(InvalidHub::NoHost)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        if let Some(found) = host.chars().find(|&c| !allowed(c)) {
            return Err(InvalidHub::Host { host: host.to_owned(), found });
        }
        let mut hub = Hub::new(host);
        parts.try_for_each(|setting| hub.set(setting))?;
        Ok(hub)
    }
}

/// The places of the hubs that may take devices of an entry with these terms: the ones it names, or all.
///
/// `ours:` a hub that takes no part takes none even where an entry names it, and an empty list names no hub.
pub fn candidates(hubs: &[Hub], terms: &Terms) -> Vec<usize> {
    let named = |hub: &Hub| match (&terms.iot_hubs, &terms.iot_hub_host_name) {
        (Some(list), _) => list.iter().any(|host| hub.is(host)),
        (None, Some(host)) => hub.is(host),
        (None, None) => true,
    };
    (0..hubs.len()).filter(|&hub| hubs[hub].applies && named(&hubs[hub])).collect()
}

/// Which of the candidates takes the device. `None` where the policy does not single one out: there is no
/// candidate, `static` has several, or `custom` leaves it to the webhook.
pub fn choose(
    policy: AllocationPolicy,
    hubs: &[Hub],
    candidates: &[usize],
    registration_id: &RegistrationId,
) -> Option<usize> {
    match policy {
        AllocationPolicy::Hashed => hashed(hubs, candidates.iter().copied(), registration_id),
        AllocationPolicy::GeoLatency => {
            let latency = |hub: usize| hubs[hub].latency.unwrap_or(Duration::MAX);
            let lowest = candidates.iter().map(|&hub| latency(hub)).min()?;
            let nearest = candidates.iter().copied().filter(|&hub| latency(hub) == lowest);
            hashed(hubs, nearest, registration_id)
        }
        AllocationPolicy::Static => match candidates {
            [only] => Some(*only),
            _ => None,
        },
        AllocationPolicy::Custom => None,
    }
}

/// `ours:` the service's hash is not published. Weighted rendezvous hashing is deterministic, keeps to the
/// weights, and a hub that joins takes devices without moving any between the others.
fn hashed(hubs: &[Hub], candidates: impl Iterator<Item = usize>, id: &RegistrationId) -> Option<usize> {
    candidates.max_by(|&a, &b| score(&hubs[a], id).total_cmp(&score(&hubs[b], id)))
}

/// `-weight / ln(u)`, with u drawn evenly from between 0 and 1 by the device and the hub, both in lower case.
fn score(hub: &Hub, id: &RegistrationId) -> f64 {
    let names = id.as_str().bytes().chain([0]).chain(hub.host.bytes());
    // The upper 53 bits are what a double holds; the half keeps clear of 0 and 1.
    let drawn = (hash(names) >> 11) as f64 + 0.5;
    -f64::from(hub.weight) / (drawn / (1_u64 << 53) as f64).ln()
}

/// FNV-1a of the bytes in lower case, its bits mixed.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let step =
        |hash: u64, byte: u8| (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x100_0000_01b3);
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, step))
}

/// What a webhook is asked: where one device of an entry should go.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationRequest {
    #[serde(flatten)]
    entry: AllocationEntry,
    device_runtime_context: RuntimeContext,
    linked_hubs: Vec<String>,
}

impl AllocationRequest {
    /// Asks about a device of `entry`, offering the candidates. Shared keys stay here.
    pub fn new(
        mut entry: AllocationEntry,
        context: RuntimeContext,
        hubs: &[Hub],
        candidates: &[usize],
    ) -> Self {
        entry.terms().attestation.symmetric_key = None;
        let linked_hubs = candidates.iter().map(|&hub| hubs[hub].host.clone()).collect();
        AllocationRequest { entry, device_runtime_context: context, linked_hubs }
    }
}

/// The entry that admits the device, whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AllocationEntry {
    /// An entry of its own.
    IndividualEnrollment(Box<IndividualEnrollment>),
    /// A group's.
    EnrollmentGroup(Box<EnrollmentGroup>),
}

impl AllocationEntry {
    fn terms(&mut self) -> &mut Terms {
        match self {
            AllocationEntry::IndividualEnrollment(entry) => &mut entry.terms,
            AllocationEntry::EnrollmentGroup(entry) => &mut entry.terms,
        }
    }
}

/// What is known about the device that registers (`deviceRuntimeContext`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeContext {
    /// Its name.
    pub registration_id: RegistrationId,
    /// The hub it was assigned to before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_iot_hub_host_name: Option<String>,
    /// Its name at that hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_device_id: Option<String>,
    /// How it proved who it is.
    #[serde(flatten)]
    pub proof: Proof,
    /// What it sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

/// How a device proved who it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// By a certificate; the default value says no more than that.
    X509(Box<X509Attestation>),
    /// By a shared key, of which nothing is said.
    SymmetricKey {},
}

/// What a webhook answers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocationAnswer {
    /// The hub; one of those offered.
    pub iot_hub_host_name: String,
    /// The twin the device starts from, in place of the entry's.
    #[serde(default)]
    pub initial_twin: Option<Value>,
    /// Goes back to the device.
    #[serde(default)]
    pub payload: Option<Value>,
}

/// The place of the hub a webhook named, which must be one of those offered, and what it has for the device.
pub fn accept(
    answer: AllocationAnswer,
    hubs: &[Hub],
    candidates: &[usize],
) -> Result<(usize, Option<Value>), AllocationFault> {
    let named = |hub: &&usize| hubs[**hub].is(&answer.iot_hub_host_name);
    match candidates.iter().find(named) {
        Some(&hub) => Ok((hub, answer.payload)),
        None => Err(AllocationFault::unknown_hub(&answer.iot_hub_host_name)),
    }
}

/// Why a webhook allocated nothing. Each is an outcome of the registration, told to the device: the texts are
/// those for the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AllocationFault {
    /// It answered without success. The text was seen on the wire for 400 and 404.
    #[error("Custom allocation failed with status code: {0}")]
    Status(u16),
    /// It did not answer in time. `ours:` this text and those below.
    #[error("Custom allocation failed: the webhook did not answer in time")]
    Timeout,
    /// It could not be connected to, or the connection broke.
    #[error("Custom allocation failed: the webhook could not be reached")]
    Unreachable,
    /// Its answer is longer than is read.
    #[error("Custom allocation failed: the webhook's answer is too large")]
    TooLarge,
    /// Its answer is not the JSON asked for.
    #[error("Custom allocation failed: the webhook's answer could not be read")]
    NotJson,
    /// It named a hub that was not offered.
    #[error("Custom allocation failed: the webhook named a hub that was not offered: {0}")]
    UnknownHub(String),
    /// Its address is not on this machine and was not allowed, or is no web address.
    #[error("Custom allocation failed: the webhook is not on this machine, and no other may be asked")]
    Forbidden,
}

/// The longest host name there is (RFC 1035 section 2.3.4); more of a wrong one is not repeated to devices.
const LONGEST_HOST: usize = 255;

impl AllocationFault {
    fn unknown_hub(host: &str) -> Self {
        AllocationFault::UnknownHub(host.chars().take(LONGEST_HOST).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use sim_protocol::attestation::{AttestationMechanism, CertificatePair, CertificateSlot};
    use sim_protocol::sas::SharedKey;

    fn hubs(texts: &[&str]) -> Vec<Hub> {
        texts.iter().map(|text| text.parse().expect("a good hub")).collect()
    }

    fn id(text: &str) -> RegistrationId {
        RegistrationId::new(text).expect("a good id")
    }

    fn all(hubs: &[Hub]) -> Vec<usize> {
        (0..hubs.len()).collect()
    }

    const DEVICES: usize = 20_000;

    /// Where each of many devices goes by the hash.
    fn spread(hubs: &[Hub]) -> Vec<usize> {
        let to = |i| choose(AllocationPolicy::Hashed, hubs, &all(hubs), &id(&format!("dev-{i}")));
        (0..DEVICES).map(|i| to(i).expect("a hub")).collect()
    }

    #[test]
    fn a_hub_is_read_with_its_settings() {
        let latency = Some(Duration::from_millis(20));
        for (text, hub) in [
            ("hub-1.example", Hub::new("hub-1.example")),
            ("h,weight=1000", Hub { weight: 1000, ..Hub::new("h") }),
            (" h , latency=20ms , weight=3 ", Hub { weight: 3, latency, ..Hub::new("h") }),
            ("h,apply=false,weight=1", Hub { applies: false, ..Hub::new("h") }),
        ] {
            assert_eq!(text.parse(), Ok(hub), "{text}");
        }
        let text = |t: &str| t.to_owned();
        for (bad, why) in [
            ("", InvalidHub::NoHost),
            (",weight=3", InvalidHub::NoHost),
            ("weight=3", InvalidHub::Host { host: text("weight=3"), found: '=' }),
            ("https://h", InvalidHub::Host { host: text("https://h"), found: '/' }),
            ("h,", InvalidHub::Setting { text: text("") }),
            ("h,weight", InvalidHub::Setting { text: text("weight") }),
            ("h,Weight=1", InvalidHub::Setting { text: text("Weight=1") }),
            ("h,weight=0", InvalidHub::Weight { text: text("0") }),
            ("h,weight=1001", InvalidHub::Weight { text: text("1001") }),
            ("h,weight=-1", InvalidHub::Weight { text: text("-1") }),
            ("h,latency=20", InvalidHub::Latency(InvalidDuration::NoUnit { text: text("20") })),
            ("h,apply=no", InvalidHub::Apply { text: text("no") }),
        ] {
            assert_eq!(bad.parse::<Hub>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn an_entry_takes_the_hubs_it_names_or_all_that_take_part() {
        let hubs = hubs(&["a.example", "b.example", "c.example,apply=false"]);
        let list = |names: &[&str]| Some(names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        let one = |name: &str| Some(name.to_owned());
        for (iot_hubs, iot_hub_host_name, expected) in [
            (None, None, vec![0, 1]),
            (list(&["B.Example"]), None, vec![1]),
            (list(&["b.example", "a.example", "b.example"]), None, vec![0, 1]),
            (list(&["a.example", "c.example"]), None, vec![0]),
            (list(&["elsewhere.example"]), None, vec![]),
            (list(&[]), None, vec![]),
            (None, one("A.EXAMPLE"), vec![0]),
            (None, one("c.example"), vec![]),
            (list(&["b.example"]), one("a.example"), vec![1]),
        ] {
            let terms = Terms { iot_hubs, iot_hub_host_name, ..Terms::default() };
            assert_eq!(candidates(&hubs, &terms), expected, "{terms:?}");
        }
    }

    #[test]
    fn hashing_keeps_to_the_weights() {
        let hubs = hubs(&["a.example,weight=1", "b.example,weight=3", "c.example,weight=6"]);
        let spread = spread(&hubs);
        for (hub, share) in [(0, 0.1), (1, 0.3), (2, 0.6)] {
            let expected = share * DEVICES as f64;
            let found = spread.iter().filter(|&&to| to == hub).count() as f64;
            assert!((found / expected - 1.0).abs() < 0.05, "hub {hub} has {found} of {expected}");
        }
    }

    #[test]
    fn a_hub_that_joins_takes_its_share_and_moves_no_device_between_the_others() {
        let before = spread(&hubs(&["a.example", "b.example", "c.example"]));
        let after = spread(&hubs(&["a.example", "b.example", "c.example", "d.example"]));
        let moved: Vec<_> = before.iter().zip(&after).filter(|(from, to)| from != to).collect();
        assert!(moved.iter().all(|(_, to)| **to == 3));
        let share = moved.len() as f64 / DEVICES as f64;
        assert!((share / 0.25 - 1.0).abs() < 0.05, "{share}");
    }

    #[test]
    fn the_hash_knows_neither_case_nor_order() {
        let (there, back) = (hubs(&["a.example", "b.example"]), hubs(&["B.Example", "A.example"]));
        for i in 0..100 {
            let (lower, upper) = (id(&format!("dev-{i}")), id(&format!("DEV-{i}")));
            let chosen = |hubs, id| choose(AllocationPolicy::Hashed, hubs, &[0, 1], id);
            assert_eq!(chosen(&there, &lower), chosen(&back, &upper).map(|hub| 1 - hub));
        }
    }

    #[test]
    fn each_policy_singles_out_a_hub_in_its_own_way() {
        use AllocationPolicy::{Custom, GeoLatency, Hashed, Static};
        let hubs = hubs(&["far,latency=80ms", "near,latency=20ms", "unknown", "too-unknown"]);
        for (policy, candidates, expected) in [
            (Hashed, &[][..], None),
            (Hashed, &[2], Some(2)),
            (GeoLatency, &[], None),
            (GeoLatency, &[0, 1, 2], Some(1)),
            (GeoLatency, &[0, 2, 3], Some(0)),
            (GeoLatency, &[3], Some(3)),
            (Static, &[], None),
            (Static, &[1], Some(1)),
            (Static, &[0, 1], None),
            (Custom, &[1], None),
        ] {
            let chosen = choose(policy, &hubs, candidates, &id("dev-1"));
            assert_eq!(chosen, expected, "{policy:?} {candidates:?}");
        }
    }

    #[test]
    fn hubs_of_the_same_latency_share_by_the_hash() {
        let hubs = hubs(&["far,latency=80ms", "a,latency=20ms", "b,latency=20ms"]);
        let chosen: Vec<_> = (0..200)
            .map(|i| id(&format!("dev-{i}")))
            .map(|id| {
                let near = choose(AllocationPolicy::GeoLatency, &hubs, &[0, 1, 2], &id);
                assert_eq!(near, choose(AllocationPolicy::Hashed, &hubs, &[1, 2], &id));
                near
            })
            .collect();
        assert!([1, 2].iter().all(|hub| chosen.iter().filter(|c| **c == Some(*hub)).count() > 50));
    }

    #[test]
    fn a_webhook_is_told_the_entry_the_device_and_the_hubs() {
        let hubs = hubs(&["a.example", "b.example", "c.example"]);
        let key = SharedKey::from_bytes(vec![7; 32]).expect("32 bytes");
        let group = EnrollmentGroup::new("g", AttestationMechanism::symmetric_key(Some(&key), None));
        let context = RuntimeContext {
            registration_id: id("dev-1"),
            current_iot_hub_host_name: None,
            current_device_id: None,
            proof: Proof::SymmetricKey {},
            payload: Some(json!({"site": 4})),
        };
        let request = AllocationRequest::new(
            AllocationEntry::EnrollmentGroup(Box::new(group)),
            context.clone(),
            &hubs,
            &[0, 2],
        );
        let expected = json!({
            "enrollmentGroup": {
                "enrollmentGroupId": "g",
                "attestation": {"type": "symmetricKey"},
                "provisioningStatus": "enabled",
            },
            "deviceRuntimeContext": {"registrationId": "dev-1", "symmetricKey": {}, "payload": {"site": 4}},
            "linkedHubs": ["a.example", "c.example"],
        });
        assert_eq!(serde_json::to_value(&request).expect("serialises"), expected);

        let slot = CertificateSlot { certificate: Some("PEM".into()), info: None };
        let pair = CertificatePair { primary: Some(slot), secondary: None };
        let leaf = X509Attestation { client_certificates: Some(pair), ..X509Attestation::default() };
        let context = RuntimeContext {
            current_iot_hub_host_name: Some("a.example".into()),
            current_device_id: Some("dev-1".into()),
            proof: Proof::X509(Box::new(leaf.clone())),
            payload: None,
            ..context
        };
        let entry = IndividualEnrollment::new("dev-1", AttestationMechanism::x509(leaf));
        let entry = AllocationEntry::IndividualEnrollment(Box::new(entry));
        let value = serde_json::to_value(AllocationRequest::new(entry, context, &hubs, &[]));
        let value = value.expect("serialises");
        assert_eq!(value["individualEnrollment"]["registrationId"], "dev-1");
        let expected = json!({
            "registrationId": "dev-1",
            "currentIotHubHostName": "a.example",
            "currentDeviceId": "dev-1",
            "x509": {"clientCertificates": {"primary": {"certificate": "PEM"}}},
        });
        assert_eq!(value["deviceRuntimeContext"], expected);
    }

    #[test]
    fn a_webhook_may_name_only_a_hub_it_was_offered() {
        let hubs = hubs(&["a.example", "b.example", "c.example"]);
        let answer = |text: &str| serde_json::from_str::<AllocationAnswer>(text).expect("an answer");
        let unknown = |host: &str| AllocationFault::UnknownHub(host.to_owned());
        for (text, expected) in [
            (r#"{"iotHubHostName":"C.example"}"#, Ok((2, None))),
            (
                r#"{"iotHubHostName":"a.example","initialTwin":{"tags":{}},"payload":{"k":1},"extra":0}"#,
                Ok((0, Some(json!({"k": 1})))),
            ),
            (r#"{"iotHubHostName":"b.example"}"#, Err(unknown("b.example"))),
            (r#"{"iotHubHostName":""}"#, Err(unknown(""))),
        ] {
            assert_eq!(accept(answer(text), &hubs, &[0, 2]), expected, "{text}");
        }
        let endless = AllocationAnswer { iot_hub_host_name: "x".repeat(9000), ..AllocationAnswer::default() };
        assert_eq!(accept(endless, &hubs, &[0]), Err(unknown(&"x".repeat(LONGEST_HOST))));
    }

    // The text is the one field of the error body that carries the webhook's status.
    #[test]
    fn a_refusing_webhook_is_reported_as_seen_on_the_wire() {
        assert_eq!(
            AllocationFault::Status(400).to_string(),
            "Custom allocation failed with status code: 400"
        );
    }
}
