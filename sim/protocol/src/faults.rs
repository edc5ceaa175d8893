//! Faults a mock is told to have: the words of its management API and of scenarios.
//!
//! Rules as data, whichever text they are read from; what they do to a request is the mock's business.

use crate::delay::{Delay, InvalidDelay, LONGEST};
use crate::duration::{InvalidDuration, parse_duration, written};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// A point of a device's conversation with the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultPoint {
    /// The connection was accepted, nothing was read.
    Tcp,
    /// Before the TLS handshake is answered.
    Tls,
    /// MQTT CONNECT; the upgrade to a WebSocket counts as part of it.
    Connect,
    /// MQTT SUBSCRIBE.
    Subscribe,
    /// A register has arrived and was not looked at.
    Register,
    /// A poll has arrived and was not looked at.
    Poll,
    /// A register was processed, its answer has not been sent.
    RegisterAnswer,
    /// A poll was processed, its answer has not been sent.
    PollAnswer,
}

impl FaultPoint {
    /// Every point, in the order a device comes by.
    pub const ALL: [FaultPoint; 8] = [
        FaultPoint::Tcp,
        FaultPoint::Tls,
        FaultPoint::Connect,
        FaultPoint::Subscribe,
        FaultPoint::Register,
        FaultPoint::Poll,
        FaultPoint::RegisterAnswer,
        FaultPoint::PollAnswer,
    ];

    /// The point as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            FaultPoint::Tcp => "tcp",
            FaultPoint::Tls => "tls",
            FaultPoint::Connect => "connect",
            FaultPoint::Subscribe => "subscribe",
            FaultPoint::Register => "register",
            FaultPoint::Poll => "poll",
            FaultPoint::RegisterAnswer => "register-answer",
            FaultPoint::PollAnswer => "poll-answer",
        }
    }

    /// Whether the device has said who it is by then.
    pub const fn knows_device(self) -> bool {
        !matches!(self, FaultPoint::Tcp | FaultPoint::Tls)
    }
}

impl fmt::Display for FaultPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "id", rename_all = "kebab-case")]
pub enum Fault {
    /// Everything takes longer.
    Latency {
        /// How much.
        delay: Delay,
    },
    /// From the rule's `from` on, every answer is held until the window ends.
    Stall {
        /// The length of the window, above zero.
        #[serde(serialize_with = "duration_text")]
        lasting: Duration,
        /// From one window's start to the next, not below `lasting`; one window alone where absent.
        #[serde(serialize_with = "some_duration_text", skip_serializing_if = "Option::is_none")]
        every: Option<Duration>,
    },
    /// Requests are worked off one after another at a fixed rate; who comes early waits for its turn.
    Pace {
        /// Requests a second, within [`RATES`].
        rate: f64,
        /// How many may be ahead of a request, the one in work included; one with more ahead is answered 429. Any
        /// number where absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        queue: Option<u32>,
    },
    /// 429.
    Throttle {
        /// What the device is asked to wait, whole seconds; the service's own choice where absent.
        #[serde(serialize_with = "some_duration_text", skip_serializing_if = "Option::is_none")]
        retry_after: Option<Duration>,
    },
    /// An error of the service's own.
    ServerError {
        /// 500 to 599.
        status: u16,
        /// What the device is asked to wait, whole seconds; not told where absent.
        #[serde(serialize_with = "some_duration_text", skip_serializing_if = "Option::is_none")]
        retry_after: Option<Duration>,
    },
    /// The connection is closed.
    Drop,
    /// The connection stays open and never says anything again.
    HalfOpen,
    /// The TLS handshake takes longer.
    SlowTls {
        /// How much.
        delay: Delay,
    },
    /// CONNACK with a code that refuses (MQTT 3.1.1 section 3.2.2.3).
    RefuseConnect {
        /// 1 to 5.
        return_code: u8,
    },
    /// The device's PUBLISH is not acknowledged.
    LostPuback,
    /// The answer is sent twice.
    DuplicateAnswer,
    /// The answer is sent before the PUBACK of its request.
    ReorderedAnswer,
    /// The answer's body is no JSON.
    MalformedBody,
    /// The device is told another hub than the one it was assigned to.
    WrongHub {
        /// Which; one that does not exist where absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        hub: Option<String>,
    },
    /// The server presents a certificate that has expired.
    ServerCertificateExpired,
    /// The server presents a certificate of another name.
    ServerCertificateWrongName,
}

/// Rates of a [`Fault::Pace`], in requests a second. `ours:` from one in a quarter of an hour to what no core gets done.
pub const RATES: RangeInclusive<f64> = 0.001..=1_000_000.0;

const REQUESTS: &[FaultPoint] = &[FaultPoint::Register, FaultPoint::Poll];
const REGISTER: &[FaultPoint] = &[FaultPoint::Register];

impl Fault {
    /// Every id.
    pub const ALL_IDS: [&'static str; 16] = [
        "latency",
        "stall",
        "pace",
        "throttle",
        "server-error",
        "drop",
        "half-open",
        "slow-tls",
        "refuse-connect",
        "lost-puback",
        "duplicate-answer",
        "reordered-answer",
        "malformed-body",
        "wrong-hub",
        "server-certificate-expired",
        "server-certificate-wrong-name",
    ];

    /// Its name in rules.
    pub const fn id(&self) -> &'static str {
        match self {
            Fault::Latency { .. } => "latency",
            Fault::Stall { .. } => "stall",
            Fault::Pace { .. } => "pace",
            Fault::Throttle { .. } => "throttle",
            Fault::ServerError { .. } => "server-error",
            Fault::Drop => "drop",
            Fault::HalfOpen => "half-open",
            Fault::SlowTls { .. } => "slow-tls",
            Fault::RefuseConnect { .. } => "refuse-connect",
            Fault::LostPuback => "lost-puback",
            Fault::DuplicateAnswer => "duplicate-answer",
            Fault::ReorderedAnswer => "reordered-answer",
            Fault::MalformedBody => "malformed-body",
            Fault::WrongHub { .. } => "wrong-hub",
            Fault::ServerCertificateExpired => "server-certificate-expired",
            Fault::ServerCertificateWrongName => "server-certificate-wrong-name",
        }
    }

    /// Where it can happen.
    pub const fn possible_at(&self) -> &'static [FaultPoint] {
        match self {
            Fault::Latency { .. }
            | Fault::Stall { .. }
            | Fault::Pace { queue: None, .. }
            | Fault::Drop
            | Fault::HalfOpen => &FaultPoint::ALL,
            Fault::SlowTls { .. } | Fault::ServerCertificateExpired | Fault::ServerCertificateWrongName => {
                &[FaultPoint::Tls]
            }
            Fault::RefuseConnect { .. } => &[FaultPoint::Connect],
            Fault::WrongHub { .. } => REGISTER,
            // A 429 is the answer to a request.
            Fault::Pace { queue: Some(_), .. }
            | Fault::Throttle { .. }
            | Fault::ServerError { .. }
            | Fault::LostPuback
            | Fault::DuplicateAnswer
            | Fault::ReorderedAnswer
            | Fault::MalformedBody => REQUESTS,
        }
    }

    /// Where it happens unless a rule says otherwise.
    pub const fn usually_at(&self) -> &'static [FaultPoint] {
        match self {
            Fault::Latency { .. } | Fault::Stall { .. } => REQUESTS,
            Fault::Pace { .. } | Fault::Drop | Fault::HalfOpen => REGISTER,
            _ => self.possible_at(),
        }
    }

    /// The keys that a rule of this fault may have beside [`RULE_KEYS`]; `None` for an id nobody knows.
    pub fn own_keys(id: &str) -> Option<&'static [&'static str]> {
        Some(match id {
            "latency" | "slow-tls" => &["delay"],
            "stall" => &["lasting", "every"],
            "pace" => &["rate", "queue"],
            "throttle" => &["retry_after"],
            "server-error" => &["status", "retry_after"],
            "refuse-connect" => &["return_code"],
            "wrong-hub" => &["hub"],
            id if Self::ALL_IDS.contains(&id) => &[],
            _ => return None,
        })
    }

    fn read(id: &str, keys: &Keys<'_>) -> Result<Self, InvalidFault> {
        Ok(match id {
            "latency" => Fault::Latency { delay: keys.required("delay", delay)? },
            "stall" => keys.stall()?,
            "pace" => {
                Fault::Pace { rate: keys.required("rate", rate)?, queue: keys.optional("queue", count)? }
            }
            "throttle" => Fault::Throttle { retry_after: keys.optional("retry_after", whole_seconds)? },
            "server-error" => Fault::ServerError {
                status: keys.optional("status", whole(500..=599))?.unwrap_or(500),
                retry_after: keys.optional("retry_after", whole_seconds)?,
            },
            "drop" => Fault::Drop,
            "half-open" => Fault::HalfOpen,
            "slow-tls" => Fault::SlowTls { delay: keys.required("delay", delay)? },
            "refuse-connect" => {
                Fault::RefuseConnect { return_code: keys.required("return_code", whole(1..=5))? }
            }
            "lost-puback" => Fault::LostPuback,
            "duplicate-answer" => Fault::DuplicateAnswer,
            "reordered-answer" => Fault::ReorderedAnswer,
            "malformed-body" => Fault::MalformedBody,
            "wrong-hub" => Fault::WrongHub { hub: keys.optional("hub", text)? },
            "server-certificate-expired" => Fault::ServerCertificateExpired,
            "server-certificate-wrong-name" => Fault::ServerCertificateWrongName,
            _ => return Err(InvalidFault::UnknownId { id: id.to_owned() }),
        })
    }
}

/// One fault, and whom and when it strikes. Made by [`FaultRule::parse`], [`FaultRule::read`] or
/// [`FaultRule::new`]; who changes the fields keeps to what they say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultRule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
    /// Where; at least one point, all of them possible for the fault.
    pub at: Vec<FaultPoint>,
    /// The share of the times that it could strike in which it does, 0 to 1.
    pub share: f64,
    /// The registration ids it concerns, with `*` for any characters, without regard to case; all where
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<String>,
    /// When it begins, counted from when the rules were set; at once where absent.
    #[serde(serialize_with = "some_duration_text", skip_serializing_if = "Option::is_none")]
    pub from: Option<Duration>,
    /// When it has ended, counted likewise, after `from`; never where absent.
    #[serde(serialize_with = "some_duration_text", skip_serializing_if = "Option::is_none")]
    pub until: Option<Duration>,
}

/// Keys that every rule may have.
pub const RULE_KEYS: [&str; 6] = ["id", "at", "share", "devices", "from", "until"];

impl FaultRule {
    /// The fault at its usual points, always, for every device.
    pub fn new(fault: Fault) -> Self {
        let at = fault.usually_at().to_vec();
        FaultRule { fault, at, share: 1.0, devices: None, from: None, until: None }
    }

    /// Parses a rule from JSON: an object with an `id` and the fields as keys; durations carry a unit
    /// (`250ms`).
    pub fn parse(value: &Value) -> Result<Self, InvalidFault> {
        let object = value.as_object().ok_or(InvalidFault::NotAnObject)?;
        Self::read(object.iter().map(|(key, value)| (key.as_str(), Written::from(value))))
    }

    /// Reads a rule from its keys and their values, whatever text they are from.
    pub fn read<'w>(keys: impl IntoIterator<Item = (&'w str, Written<'w>)>) -> Result<Self, InvalidFault> {
        let keys = Keys(keys.into_iter().collect());
        let id = keys.required("id", text)?;
        let own = Fault::own_keys(&id).ok_or_else(|| InvalidFault::UnknownId { id: id.clone() })?;
        // Before anything that is missing ends the reading: a misspelt key explains it.
        keys.all_known(own)?;
        let fault = Fault::read(&id, &keys)?;
        let at = keys.optional("at", points)?.unwrap_or_else(|| fault.usually_at().to_vec());
        let share = keys.optional("share", share)?.unwrap_or(1.0);
        let devices = keys.optional("devices", pattern)?;
        let (from, until) = (keys.optional("from", duration)?, keys.optional("until", duration)?);
        FaultRule { fault, at, share, devices, from, until }.checked()
    }

    /// What one key alone cannot tell.
    fn checked(self) -> Result<Self, InvalidFault> {
        let possible = self.fault.possible_at();
        if let Some(&point) = self.at.iter().find(|point| !possible.contains(point)) {
            return Err(InvalidFault::Impossible { id: self.fault.id(), point, possible });
        }
        if self.until.is_some_and(|until| until <= self.from.unwrap_or_default()) {
            return Err(InvalidFault::Order);
        }
        match self.at.iter().find(|point| !point.knows_device()) {
            Some(&point) if self.devices.is_some() => Err(InvalidFault::NoDeviceYet { point }),
            _ => Ok(self),
        }
    }

    /// Whether the rule concerns this device.
    pub fn concerns(&self, registration_id: &str) -> bool {
        self.devices.as_deref().is_none_or(|glob| matches(glob.as_bytes(), registration_id.as_bytes()))
    }
}

/// Whether a text is what a pattern with `*` says, without regard to ASCII case.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how much of the text it does not cover yet.
    let mut star = None;
    while let Some(found) = text.get(t) {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(wanted), _) if wanted.eq_ignore_ascii_case(found) => (p, t) = (p + 1, t + 1),
            (_, Some((at, covered))) => {
                star = Some((at, covered + 1));
                (p, t) = (at + 1, covered + 1);
            }
            _ => return false,
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|&c| c == b'*'))
}

/// Small shares of many faults at once. `ours:` which, and how often.
pub fn chaos() -> Vec<FaultRule> {
    let ms = Duration::from_millis;
    let rule = |share, fault| FaultRule { share, ..FaultRule::new(fault) };
    let latency = Delay::Uniform { from: ms(20), to: ms(400) };
    let slow = Delay::Exponential { mean: ms(100) };
    vec![
        rule(0.03, Fault::Throttle { retry_after: Some(ms(1000)) }),
        rule(0.015, Fault::ServerError { status: 500, retry_after: None }),
        rule(0.005, Fault::Drop),
        FaultRule { at: vec![FaultPoint::PollAnswer], ..rule(0.003, Fault::Drop) },
        rule(0.1, Fault::Latency { delay: latency }),
        rule(0.05, Fault::SlowTls { delay: slow }),
        rule(0.005, Fault::LostPuback),
        rule(0.01, Fault::DuplicateAnswer),
        rule(0.005, Fault::ReorderedAnswer),
        rule(0.003, Fault::MalformedBody),
        rule(0.005, Fault::RefuseConnect { return_code: 3 }),
    ]
}

/// A value of a rule as it is written, in JSON or in TOML.
#[derive(Clone, Debug, PartialEq)]
pub enum Written<'w> {
    /// Text.
    Text(Cow<'w, str>),
    /// A number of any kind.
    Number(f64),
    /// Texts in a row.
    Texts(Vec<Cow<'w, str>>),
    /// Anything else, of which no key of a rule is.
    Other,
}

impl<'w> From<&'w Value> for Written<'w> {
    fn from(value: &'w Value) -> Self {
        match value {
            Value::String(text) => Written::Text(text.into()),
            Value::Number(number) => number.as_f64().map_or(Written::Other, Written::Number),
            Value::Array(values) => {
                let texts: Option<Vec<_>> = values.iter().map(|text| text.as_str().map(Cow::from)).collect();
                texts.map_or(Written::Other, Written::Texts)
            }
            Value::Null | Value::Bool(_) | Value::Object(_) => Written::Other,
        }
    }
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidFault {
    /// It is no JSON object.
    #[error("a fault must be an object with an `id`")]
    NotAnObject,
    /// A key that has to be there is not.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key that nobody asked for.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key as given.
        key: String,
        /// The keys of this fault.
        known: Vec<&'static str>,
    },
    /// A value of another kind than the key's.
    #[error("`{key}` must be {wanted}")]
    Kind {
        /// The key.
        key: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A text without a character in it.
    #[error("`{key}` is empty")]
    Empty {
        /// The key.
        key: &'static str,
    },
    /// An id that names no fault.
    #[error("`id` must be one of {}, found `{id}`", quoted(&Fault::ALL_IDS))]
    UnknownId {
        /// The id as given.
        id: String,
    },
    /// A word that names no point.
    #[error("`at` must be of {}, found `{point}`", quoted(&FaultPoint::ALL.map(FaultPoint::as_str)))]
    UnknownPoint {
        /// The word as given.
        point: String,
    },
    /// A point that is named twice.
    #[error("`at` names `{point}` twice")]
    Twice {
        /// The point.
        point: FaultPoint,
    },
    /// A point at which this fault cannot happen.
    #[error("`{id}` cannot happen at `{point}`, only at {}", quoted(&words(possible)))]
    Impossible {
        /// The fault.
        id: &'static str,
        /// The point as given.
        point: FaultPoint,
        /// Where it can happen.
        possible: &'static [FaultPoint],
    },
    /// A number outside its range.
    #[error("`{key}` must be {wanted}, found {found}")]
    Range {
        /// The key.
        key: &'static str,
        /// What it must be.
        wanted: String,
        /// The number as given.
        found: f64,
    },
    /// A text that is no duration.
    #[error("`{key}` is no duration: {cause}")]
    Duration {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        cause: InvalidDuration,
    },
    /// A text that is no delay.
    #[error("`{key}` is no delay: {cause}")]
    Delay {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        cause: InvalidDelay,
    },
    /// A wait above [`LONGEST`].
    #[error("`{key}` must be at most {}", written(LONGEST))]
    TooLong {
        /// The key.
        key: &'static str,
    },
    /// A wait that cannot be told on the wire.
    #[error("`{key}` must be whole seconds, as it is on the wire")]
    PartOfSecond {
        /// The key.
        key: &'static str,
    },
    /// A window in which nothing can be held.
    #[error("`lasting` must be above 0s")]
    EmptyWindow,
    /// A window that begins again before it has ended.
    #[error("`every` must not be below `lasting`")]
    Overlap,
    /// A rule that ends before it begins.
    #[error("`until` must be after `from`")]
    Order,
    /// A pattern for ids that no id can have.
    #[error("`devices` may not contain {found:?}; write a registration id, with `*` for any characters")]
    Pattern {
        /// The first character that is not allowed.
        found: char,
    },
    /// Devices are chosen where none has said who it is.
    #[error("`devices` cannot be told apart at `{point}`")]
    NoDeviceYet {
        /// The point.
        point: FaultPoint,
    },
}

impl InvalidFault {
    /// The key whose value is wrong, or that is missing or unknown; none where there are no keys at all.
    pub fn key(&self) -> Option<&str> {
        Some(match self {
            Self::NotAnObject => return None,
            Self::UnknownKey { key, .. } => key,
            Self::Missing { key }
            | Self::Kind { key, .. }
            | Self::Empty { key }
            | Self::Range { key, .. }
            | Self::Duration { key, .. }
            | Self::Delay { key, .. }
            | Self::TooLong { key }
            | Self::PartOfSecond { key } => key,
            Self::UnknownId { .. } => "id",
            Self::UnknownPoint { .. } | Self::Twice { .. } | Self::Impossible { .. } => "at",
            Self::EmptyWindow => "lasting",
            Self::Overlap => "every",
            Self::Order => "until",
            Self::Pattern { .. } | Self::NoDeviceYet { .. } => "devices",
        })
    }

    /// The word nobody knows and those that are known, where that is what is wrong.
    pub fn choice(&self) -> Option<(&str, Vec<&'static str>)> {
        match self {
            Self::UnknownKey { key, known } => Some((key, known.clone())),
            Self::UnknownId { id } => Some((id, Fault::ALL_IDS.to_vec())),
            Self::UnknownPoint { point } => Some((point, words(&FaultPoint::ALL))),
            _ => None,
        }
    }
}

fn words(points: &[FaultPoint]) -> Vec<&'static str> {
    points.iter().map(|point| point.as_str()).collect()
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The keys of a rule and their values.
struct Keys<'w>(Vec<(&'w str, Written<'w>)>);

impl<'w> Keys<'w> {
    fn all_known(&self, own: &[&'static str]) -> Result<(), InvalidFault> {
        let known: Vec<_> = RULE_KEYS.iter().chain(own).copied().collect();
        match self.0.iter().find(|(key, _)| !known.contains(key)) {
            Some((key, _)) => Err(InvalidFault::UnknownKey { key: (*key).to_owned(), known }),
            None => Ok(()),
        }
    }

    fn optional<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'static str, &Written<'w>) -> Result<T, InvalidFault>,
    ) -> Result<Option<T>, InvalidFault> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| read(key, value)).transpose()
    }

    fn required<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&'static str, &Written<'w>) -> Result<T, InvalidFault>,
    ) -> Result<T, InvalidFault> {
        self.optional(key, read)?.ok_or(InvalidFault::Missing { key })
    }

    fn stall(&self) -> Result<Fault, InvalidFault> {
        let lasting = self.required("lasting", wait)?;
        let every = self.optional("every", duration)?;
        if lasting.is_zero() {
            return Err(InvalidFault::EmptyWindow);
        }
        match every {
            Some(every) if every < lasting => Err(InvalidFault::Overlap),
            every => Ok(Fault::Stall { lasting, every }),
        }
    }
}

fn text(key: &'static str, value: &Written<'_>) -> Result<String, InvalidFault> {
    match value {
        Written::Text(text) if text.trim().is_empty() => Err(InvalidFault::Empty { key }),
        Written::Text(text) => Ok(text.clone().into_owned()),
        _ => Err(InvalidFault::Kind { key, wanted: "text" }),
    }
}

fn duration(key: &'static str, value: &Written<'_>) -> Result<Duration, InvalidFault> {
    let Written::Text(text) = value else {
        return Err(InvalidFault::Kind { key, wanted: "a duration in quotes, such as \"250ms\" or \"20s\"" });
    };
    parse_duration(text).map_err(|cause| InvalidFault::Duration { key, cause })
}

fn wait(key: &'static str, value: &Written<'_>) -> Result<Duration, InvalidFault> {
    let wait = duration(key, value)?;
    (wait <= LONGEST).then_some(wait).ok_or(InvalidFault::TooLong { key })
}

fn whole_seconds(key: &'static str, value: &Written<'_>) -> Result<Duration, InvalidFault> {
    let wait = wait(key, value)?;
    (wait.subsec_nanos() == 0).then_some(wait).ok_or(InvalidFault::PartOfSecond { key })
}

fn delay(key: &'static str, value: &Written<'_>) -> Result<Delay, InvalidFault> {
    let Written::Text(text) = value else {
        return Err(InvalidFault::Kind { key, wanted: "a delay in quotes, such as \"200ms\"" });
    };
    text.parse().map_err(|cause| InvalidFault::Delay { key, cause })
}

fn number(key: &'static str, value: &Written<'_>) -> Result<f64, InvalidFault> {
    match value {
        Written::Number(number) => Ok(*number),
        _ => Err(InvalidFault::Kind { key, wanted: "a number" }),
    }
}

fn share(key: &'static str, value: &Written<'_>) -> Result<f64, InvalidFault> {
    let found = number(key, value)?;
    let wanted = || "between 0 and 1".to_owned();
    let good = (0.0..=1.0).contains(&found);
    good.then_some(found).ok_or_else(|| InvalidFault::Range { key, wanted: wanted(), found })
}

fn rate(key: &'static str, value: &Written<'_>) -> Result<f64, InvalidFault> {
    let found = number(key, value)?;
    let wanted = || format!("between {} and {} a second", RATES.start(), RATES.end());
    RATES.contains(&found).then_some(found).ok_or_else(|| InvalidFault::Range {
        key,
        wanted: wanted(),
        found,
    })
}

fn count(key: &'static str, value: &Written<'_>) -> Result<u32, InvalidFault> {
    let found = number(key, value)?;
    let wanted = || format!("a whole number between 0 and {}", u32::MAX);
    let good = found.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&found);
    // Whole and within its range: nothing is cut off.
    good.then_some(found as u32).ok_or_else(|| InvalidFault::Range { key, wanted: wanted(), found })
}

fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&'static str, &Written<'_>) -> Result<T, InvalidFault>
where
    T: Copy + fmt::Display + Into<f64>,
    RangeInclusive<T>: Iterator<Item = T>,
{
    move |key, value| {
        let found = number(key, value)?;
        let wanted = || format!("a whole number between {} and {}", range.start(), range.end());
        let good = range.clone().find(|&whole| whole.into() == found);
        good.ok_or_else(|| InvalidFault::Range { key, wanted: wanted(), found })
    }
}

fn points(key: &'static str, value: &Written<'_>) -> Result<Vec<FaultPoint>, InvalidFault> {
    let written = match value {
        Written::Text(text) => std::slice::from_ref(text),
        Written::Texts(texts) => texts,
        _ => return Err(InvalidFault::Kind { key, wanted: "a point or an array of points" }),
    };
    let mut points = Vec::with_capacity(written.len());
    for text in written {
        let point = FaultPoint::ALL.into_iter().find(|point| point.as_str() == text);
        let point = point.ok_or_else(|| InvalidFault::UnknownPoint { point: text.to_string() })?;
        if points.contains(&point) {
            return Err(InvalidFault::Twice { point });
        }
        points.push(point);
    }
    if points.is_empty() { Err(InvalidFault::Empty { key }) } else { Ok(points) }
}

fn pattern(key: &'static str, value: &Written<'_>) -> Result<String, InvalidFault> {
    let pattern = text(key, value)?;
    let possible = |c: char| c.is_ascii_alphanumeric() || "-._:*".contains(c);
    match pattern.chars().find(|&c| !possible(c)) {
        Some(found) => Err(InvalidFault::Pattern { found }),
        None => Ok(pattern),
    }
}

fn duration_text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&written(*duration))
}

fn some_duration_text<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => duration_text(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A rule of every fault with nothing but what it needs.
    fn smallest() -> Vec<Value> {
        let needs = |id: &str| match id {
            "latency" | "slow-tls" => json!({"id": id, "delay": "200ms"}),
            "stall" => json!({"id": id, "lasting": "2s"}),
            "pace" => json!({"id": id, "rate": 500.0}),
            "refuse-connect" => json!({"id": id, "return_code": 3}),
            _ => json!({"id": id}),
        };
        Fault::ALL_IDS.into_iter().map(needs).collect()
    }

    fn with(mut rule: Value, keys: Value) -> Value {
        let (into, more) = (rule.as_object_mut().expect("an object"), keys.as_object().expect("an object"));
        into.extend(more.clone());
        rule
    }

    #[test]
    fn every_fault_is_read_with_its_defaults_and_written_back() {
        for value in smallest() {
            let rule = FaultRule::parse(&value).unwrap_or_else(|told| panic!("{value}: {told}"));
            assert_eq!(value["id"], rule.fault.id());
            assert_eq!((rule.share, rule.at.as_slice()), (1.0, rule.fault.usually_at()), "{value}");
            assert!(rule.at.iter().all(|point| rule.fault.possible_at().contains(point)), "{value}");
            assert_eq!(rule, FaultRule::new(rule.fault.clone()));
            let written = serde_json::to_value(&rule).expect("serializes");
            assert_eq!(FaultRule::parse(&written), Ok(rule), "{written}");
        }
    }

    #[test]
    fn every_key_is_read_and_written_back() {
        let common = json!({"at": ["register", "poll"], "share": 0.25, "devices": "line-a-*", "from": "10s",
            "until": "1m"});
        let register = with(common.clone(), json!({"at": ["register"]}));
        for (own, common) in [
            (json!({"id": "latency", "delay": "uniform 20ms..400ms"}), &common),
            (json!({"id": "stall", "lasting": "1500ms", "every": "10s"}), &common),
            (json!({"id": "pace", "rate": 500.0, "queue": 1000}), &common),
            (json!({"id": "throttle", "retry_after": "3s"}), &common),
            (json!({"id": "server-error", "status": 503, "retry_after": "2s"}), &common),
            (json!({"id": "wrong-hub", "hub": "other.azure-devices.net"}), &register),
        ] {
            let value = with(own, common.clone());
            let rule = FaultRule::parse(&value).unwrap_or_else(|told| panic!("{value}: {told}"));
            assert_eq!(serde_json::to_value(&rule).expect("serializes"), value);
            assert_eq!((rule.share, rule.from, rule.until), (0.25, Some(secs(10)), Some(secs(60))));
            assert_eq!(rule.devices.as_deref(), Some("line-a-*"));
        }
        let one = FaultRule::parse(&json!({"id": "drop", "at": "poll-answer"})).expect("a rule");
        assert_eq!(one.at, [FaultPoint::PollAnswer]);
        for (point, word) in FaultPoint::ALL.map(|point| (point, point.as_str())) {
            assert_eq!(serde_json::to_value(point).expect("serializes"), word);
        }
    }

    #[test]
    fn a_fault_happens_only_where_it_can() {
        for value in smallest() {
            for point in FaultPoint::ALL {
                let rule = FaultRule::parse(&with(value.clone(), json!({"at": point.as_str()})));
                let possible = FaultRule::parse(&value).expect("a rule").fault.possible_at();
                match rule {
                    Ok(rule) => assert!(possible.contains(&point) && rule.at == [point], "{value} {point}"),
                    Err(InvalidFault::Impossible { point: told, .. }) => {
                        assert!(told == point && !possible.contains(&point), "{value} {point}");
                    }
                    Err(other) => panic!("{value} {point}: {other}"),
                }
            }
        }
    }

    #[test]
    fn anything_else_is_refused_for_its_own_reason_at_its_key() {
        use InvalidFault as I;
        let drop = |keys| with(json!({"id": "drop"}), keys);
        let stall = |keys| with(json!({"id": "stall"}), keys);
        let pace = |keys| with(json!({"id": "pace"}), keys);
        let queue = |queue: Value| pace(json!({"rate": 1.0, "queue": queue}));
        const RATE: &str = "between 0.001 and 1000000 a second";
        let no_unit = || InvalidDuration::NoUnit { text: "3".to_owned() };
        let known = || vec!["id", "at", "share", "devices", "from", "until"];
        let found = |key, wanted: &str, found| I::Range { key, wanted: wanted.to_owned(), found };
        let text = |t: &str| t.to_owned();
        for (value, key, why) in [
            (json!({}), "id", I::Missing { key: "id" }),
            (json!({"id": 3}), "id", I::Kind { key: "id", wanted: "text" }),
            (json!({"id": "trottle"}), "id", I::UnknownId { id: text("trottle") }),
            (json!({"id": "latency"}), "delay", I::Missing { key: "delay" }),
            (json!({"id": "refuse-connect"}), "return_code", I::Missing { key: "return_code" }),
            (
                json!({"id": "refuse-connect", "return_code": 6}),
                "return_code",
                found("return_code", "a whole number between 1 and 5", 6.0),
            ),
            (
                json!({"id": "server-error", "status": 500.5}),
                "status",
                found("status", "a whole number between 500 and 599", 500.5),
            ),
            (drop(json!({"delay": "3s"})), "delay", I::UnknownKey { key: text("delay"), known: known() }),
            (drop(json!({"share": 1.5})), "share", found("share", "between 0 and 1", 1.5)),
            (drop(json!({"share": -0.1})), "share", found("share", "between 0 and 1", -0.1)),
            (drop(json!({"share": null})), "share", I::Kind { key: "share", wanted: "a number" }),
            (drop(json!({"at": []})), "at", I::Empty { key: "at" }),
            (drop(json!({"at": "conect"})), "at", I::UnknownPoint { point: text("conect") }),
            (drop(json!({"at": ["tls", "tls"]})), "at", I::Twice { point: FaultPoint::Tls }),
            (drop(json!({"devices": ""})), "devices", I::Empty { key: "devices" }),
            (drop(json!({"devices": "a?"})), "devices", I::Pattern { found: '?' }),
            (
                drop(json!({"devices": "a", "at": ["register", "tcp"]})),
                "devices",
                I::NoDeviceYet { point: FaultPoint::Tcp },
            ),
            (drop(json!({"from": "3"})), "from", I::Duration { key: "from", cause: no_unit() }),
            (drop(json!({"from": "2s", "until": "1s"})), "until", I::Order),
            (drop(json!({"until": "0s"})), "until", I::Order),
            (stall(json!({"lasting": "0s"})), "lasting", I::EmptyWindow),
            (stall(json!({"lasting": "2d"})), "lasting", I::TooLong { key: "lasting" }),
            (stall(json!({"lasting": "2s", "every": "1s"})), "every", I::Overlap),
            (pace(json!({})), "rate", I::Missing { key: "rate" }),
            (pace(json!({"rate": "500"})), "rate", I::Kind { key: "rate", wanted: "a number" }),
            (pace(json!({"rate": 0})), "rate", found("rate", RATE, 0.0)),
            (pace(json!({"rate": -1})), "rate", found("rate", RATE, -1.0)),
            (pace(json!({"rate": 1e7})), "rate", found("rate", RATE, 1e7)),
            (queue(json!(-1)), "queue", found("queue", "a whole number between 0 and 4294967295", -1.0)),
            (queue(json!(0.5)), "queue", found("queue", "a whole number between 0 and 4294967295", 0.5)),
            (
                with(queue(json!(9)), json!({"at": "connect"})),
                "at",
                I::Impossible { id: "pace", point: FaultPoint::Connect, possible: REQUESTS },
            ),
            (
                json!({"id": "throttle", "retry_after": "1500ms"}),
                "retry_after",
                I::PartOfSecond { key: "retry_after" },
            ),
            (
                json!({"id": "slow-tls", "delay": "3"}),
                "delay",
                I::Delay { key: "delay", cause: InvalidDelay::Duration { cause: no_unit() } },
            ),
        ] {
            let told = FaultRule::parse(&value).expect_err(key);
            assert_eq!(told.key(), Some(key), "{value}");
            assert_eq!(told, why, "{value}");
        }
        assert_eq!(FaultRule::parse(&json!("drop")), Err(I::NotAnObject));
        let nan = [("id", Written::Text("drop".into())), ("share", Written::Number(f64::NAN))];
        assert!(matches!(FaultRule::read(nan), Err(I::Range { key: "share", .. })));
    }

    #[test]
    fn a_pattern_is_matched_as_a_whole_and_without_regard_to_case() {
        for (pattern, id, expected) in [
            ("line-a-1", "line-a-1", true),
            ("line-a-1", "LINE-A-1", true),
            ("LINE-a-*", "line-A-17", true),
            ("line-a-1", "line-a-10", false),
            ("line-a-1", "line-a-", false),
            ("*", "anything", true),
            ("**", "x", true),
            ("a*", "a", true),
            ("*-7", "a-7-7", true),
            ("*-7", "a-7-8", false),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXcYb", false),
            ("*ab", "aab", true),
            ("a*a", "a", false),
        ] {
            let rule = FaultRule { devices: Some(pattern.to_owned()), ..FaultRule::new(Fault::Drop) };
            assert_eq!(rule.concerns(id), expected, "{pattern} {id}");
        }
        assert!(FaultRule::new(Fault::Drop).concerns("anything"));
    }

    #[test]
    fn chaos_is_made_of_rules_that_could_be_written() {
        for rule in chaos() {
            assert!((0.0..=0.1).contains(&rule.share) && rule.share > 0.0, "{rule:?}");
            let written = serde_json::to_value(&rule).expect("serializes");
            assert_eq!(FaultRule::parse(&written), Ok(rule), "{written}");
        }
    }
}
