//! The record of a run: everything a report says, in one versioned structure.
//!
//! Fields are only ever added within a version; what a reader does not know it skips.

use crate::PhaseStats;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use std::collections::BTreeMap;

/// The version of the record this program writes and reads.
pub const SCHEMA: &str = "rollcall.run/1";

/// The record of one run, or of one shard of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Record {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The version of the program that ran.
    pub program_version: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// When the run started, RFC 3339, UTC.
    pub started_utc: String,
    /// What was run.
    pub scenario: ScenarioText,
    /// What the scenario came to: every value, the ones that nobody wrote included.
    pub settings: Vec<Setting>,
    /// The seed the fleet was made from.
    pub seed: u64,
    /// Which part of the run this is, if it is a part.
    pub shard: Option<Shard>,
    /// What each part did, where the record was merged.
    pub shards: Vec<ShardFacts>,
    /// Where it ran.
    pub host: Host,
    /// How the service was set up for the run, step by step: of a mock inside the run, before the first device came.
    pub setup: Vec<SetupStep>,
    /// What a reader should know about the set-up, one sentence each.
    pub notes: Vec<String>,
    /// Planned arrivals: each device of the fleet, or of the shard, once for each of its turns.
    pub planned: u64,
    /// Arrivals that started an attempt.
    pub started: u64,
    /// Arrivals whose attempt came to an end by itself.
    pub finished: u64,
    /// How arrivals came: `open` or `closed`.
    pub model: String,
    /// Which devices started an attempt, as a sum that does not depend on their order; equal for equal sets. 32
    /// hexadecimal digits; empty if nobody started.
    pub device_set: String,
    /// How the run ended.
    pub ended: Ended,
    /// The measured window, in seconds.
    pub wall_seconds: f64,
    /// Time spent minting certificates, in seconds, outside the measured window.
    pub minting_seconds: f64,
    /// How the planned arrivals ended, each counted once.
    pub outcomes: Outcomes,
    /// Why arrivals ended otherwise than they wanted.
    pub reasons: Vec<Reason>,
    /// The first arrival of each outcome, step by step; those that never started left out.
    pub samples: Vec<Sample>,
    /// What was tried again, and why.
    pub retries: Retries,
    /// Devices that stayed connected, where the scenario holds them.
    pub held: Option<Held>,
    /// What TLS handshakes agreed on.
    pub tls: Vec<TlsCount>,
    /// What the operator did while devices arrived.
    pub events: Vec<EventDone>,
    /// How long each phase of an attempt took.
    pub phases: Vec<PhaseStats>,
    /// How long attempts took as a whole.
    pub clocks: Clocks,
    /// How long the answers took that an embedded mock held on purpose, by its own clock: from the request being read to
    /// the answer being written; where it held any, and 65,536 at most.
    pub held_answers: Option<PhaseStats>,
    /// How long conversations over MQTT took of whose answers one was held, by the same clock: from the connection being
    /// accepted to the last answer being written; 65,536 at most.
    pub held_conversations: Option<PhaseStats>,
    /// How much was done in how long.
    pub throughput: Throughput,
    /// What happened in each second of the run.
    pub per_second: Vec<Second>,
    /// Which devices rolled up to which group, and were assigned to which hub.
    pub roll_up: Vec<RollUp>,
    /// How the service spreads devices over hubs, as its enrollments name it: `hashed`, `geoLatency`, `static`, `custom`;
    /// where that is known.
    pub allocation_policy: Option<String>,
    /// Registrations a minute that the service allows, where that is known.
    pub quota_per_minute: Option<u64>,
    /// What the scenario should lead to.
    pub expectations: Expectations,
    /// What the service says it saw, on a mock run.
    pub ledger: Option<Ledger>,
    /// The client's counts beside the service's; only what should be equal belongs here.
    pub reconciliation: Vec<Check>,
    /// What the run must have shown.
    pub gates: Vec<GateResult>,
    /// The search for the highest rate that meets the gates, if this was one.
    pub capacity: Option<Capacity>,
    /// What the run is worth.
    pub verdict: Verdict,
    /// What the load generator itself needed.
    pub generator: Generator,
    /// The certificates that were presented.
    pub certificates: Certificates,
}

/// Why a text is no record.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRecord {
    /// The beginning of a record, as a full disk or a broken copy leaves it.
    #[error("the file ends in the middle, in line {line}: it was cut short")]
    CutShort {
        /// The last line there is, from 1.
        line: usize,
    },
    /// No JSON at all.
    #[error("it is not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// JSON with a value that a record cannot have there.
    #[error("it is JSON, and not a record: {0}")]
    Shape(#[source] serde_json::Error),
    /// A record of a later version.
    #[error("it was written by a newer version, with schema `{found}`; this program reads `{SCHEMA}`")]
    Newer {
        /// The schema it names.
        found: String,
    },
    /// Something else, or a record without its schema.
    #[error("it has schema `{found}`, this program reads `{SCHEMA}`")]
    Schema {
        /// The schema it names, empty if none.
        found: String,
    },
    /// A record that cannot be written as JSON.
    #[error("the record cannot be written: {0}")]
    Write(#[source] serde_json::Error),
}

impl InvalidRecord {
    /// Why a text could not be read. A number that ends in its middle at the end of the text was cut short, too.
    fn read(error: serde_json::Error, text: &str) -> Self {
        let number_goes_on =
            || text.ends_with(['.', 'e', 'E', '+', '-']) && error.line() == text.lines().count();
        match error.classify() {
            Category::Eof => Self::CutShort { line: error.line() },
            Category::Syntax if number_goes_on() => Self::CutShort { line: error.line() },
            Category::Data => Self::Shape(error),
            Category::Syntax | Category::Io => Self::Syntax(error),
        }
    }

    /// A schema that is not [`SCHEMA`].
    fn schema(found: String) -> Self {
        let version = |schema: &str| {
            let (name, version) = schema.rsplit_once('/')?;
            Some((name.to_owned(), version.parse::<u64>().ok()?))
        };
        match (version(&found), version(SCHEMA)) {
            (Some((name, theirs)), Some((own, ours))) if name == own && theirs > ours => {
                Self::Newer { found }
            }
            _ => Self::Schema { found },
        }
    }
}

impl Record {
    /// Reads a record of this version.
    ///
    /// # Errors
    /// When the text was cut short, is no JSON or no record, or is a record of another version.
    pub fn from_json(text: &str) -> Result<Self, InvalidRecord> {
        let header: Header = serde_json::from_str(text).map_err(|error| InvalidRecord::read(error, text))?;
        if header.schema != SCHEMA {
            return Err(InvalidRecord::schema(header.schema));
        }
        serde_json::from_str(text).map_err(|error| InvalidRecord::read(error, text))
    }

    /// The record as indented JSON.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn to_json(&self) -> Result<String, InvalidRecord> {
        serde_json::to_string_pretty(self).map_err(InvalidRecord::Write)
    }
}

/// What is looked at before anything else.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    schema: String,
}

/// The scenario as it was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ScenarioText {
    /// Its name.
    pub name: String,
    /// The file it was read from.
    pub file: String,
    /// The text of that file.
    pub text: String,
    /// Values given on the command line, `key=value`.
    pub overrides: Vec<String>,
}

/// A value that a scenario came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Setting {
    /// Its key from the top, dotted: `fleet.devices`.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// Where it is from: `default`, a place in a file, an environment variable, or `--set`.
    pub origin: String,
}

/// One part of a run that was split up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shard {
    /// Which part, from 1.
    pub index: u64,
    /// How many parts there are.
    pub count: u64,
}

/// What one part of a run did, beside the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShardFacts {
    /// Which part, from 1.
    pub index: u64,
    /// When it started, RFC 3339, UTC.
    pub started_utc: String,
    /// Its measured window, in seconds.
    pub wall_seconds: f64,
    /// Planned arrivals.
    pub planned: u64,
    /// How they ended.
    pub outcomes: Outcomes,
    /// Arrivals that got what they were after, a second.
    pub per_second: f64,
    /// Service time of those, in microseconds: p50, p99.
    pub service_us: [u64; 2],
    /// Response time of those, in microseconds: p50, p99.
    pub response_us: [u64; 2],
    /// As [`Generator::cpu_share`].
    pub generator_cpu: Option<f64>,
    /// Whether the generator was its limit.
    pub limited: bool,
}

/// Where a run ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Host {
    /// Processors the program could use.
    pub cpus: u64,
    /// What they are, as they call themselves.
    pub cpu_model: String,
    /// Memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// The operating system.
    pub os: String,
    /// The release of its kernel.
    pub kernel: String,
    /// How the program was built: `release`, or `debug`, whose figures are not to be compared with others.
    pub build: String,
}

/// A step by which the service was set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SetupStep {
    /// What was done.
    pub what: String,
    /// How the service refused it, if it did: the scenario meant that, or there would be no run.
    pub refused: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Every arrival was worked off.
    Completed,
    /// It was asked to stop, and devices in flight could finish.
    Interrupted,
    /// A gate that is looked at while the run goes on ended it.
    EndedByGate,
    /// It was stopped at once; what a record says unless it knows better.
    #[default]
    Aborted,
}

/// How a device can end.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The service assigned it to a hub.
    Assigned,
    /// It was connected, which is all it was after.
    Connected,
    /// The service said no.
    Refused,
    /// The service knows it and has it disabled.
    Disabled,
    /// The service took the registration and reported that it failed.
    #[default]
    Failed,
    /// The service asked to come back later, more often than the device would.
    Throttled,
    /// The service could not be reached.
    Unreachable,
    /// It took longer than an attempt may.
    TimedOut,
    /// It was never started for want of a slot.
    Shed,
    /// The run ended first.
    Interrupted,
    /// The service said something no device understands.
    ProtocolError,
}

impl OutcomeKind {
    /// Every way to end, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::Assigned,
        Self::Connected,
        Self::Refused,
        Self::Disabled,
        Self::Failed,
        Self::Throttled,
        Self::Unreachable,
        Self::TimedOut,
        Self::Shed,
        Self::Interrupted,
        Self::ProtocolError,
    ];

    /// The outcome in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Connected => "connected",
            Self::Refused => "refused",
            Self::Disabled => "disabled",
            Self::Failed => "failed",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Shed => "shed",
            Self::Interrupted => "interrupted",
            Self::ProtocolError => "protocol error",
        }
    }
}

/// How many devices ended in each way; together the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Outcomes {
    /// See [`OutcomeKind::Assigned`].
    pub assigned: u64,
    /// See [`OutcomeKind::Connected`].
    pub connected: u64,
    /// See [`OutcomeKind::Refused`].
    pub refused: u64,
    /// See [`OutcomeKind::Disabled`].
    pub disabled: u64,
    /// See [`OutcomeKind::Failed`].
    pub failed: u64,
    /// See [`OutcomeKind::Throttled`].
    pub throttled: u64,
    /// See [`OutcomeKind::Unreachable`].
    pub unreachable: u64,
    /// See [`OutcomeKind::TimedOut`].
    pub timed_out: u64,
    /// See [`OutcomeKind::Shed`].
    pub shed: u64,
    /// See [`OutcomeKind::Interrupted`].
    pub interrupted: u64,
    /// See [`OutcomeKind::ProtocolError`].
    pub protocol_error: u64,
}

impl Outcomes {
    /// How many devices ended in this way.
    pub const fn count(&self, kind: OutcomeKind) -> u64 {
        match kind {
            OutcomeKind::Assigned => self.assigned,
            OutcomeKind::Connected => self.connected,
            OutcomeKind::Refused => self.refused,
            OutcomeKind::Disabled => self.disabled,
            OutcomeKind::Failed => self.failed,
            OutcomeKind::Throttled => self.throttled,
            OutcomeKind::Unreachable => self.unreachable,
            OutcomeKind::TimedOut => self.timed_out,
            OutcomeKind::Shed => self.shed,
            OutcomeKind::Interrupted => self.interrupted,
            OutcomeKind::ProtocolError => self.protocol_error,
        }
    }

    /// Counts one more arrival.
    pub const fn add(&mut self, kind: OutcomeKind) {
        self.add_many(kind, 1);
    }

    /// Counts so many more arrivals.
    pub const fn add_many(&mut self, kind: OutcomeKind, more: u64) {
        let count = match kind {
            OutcomeKind::Assigned => &mut self.assigned,
            OutcomeKind::Connected => &mut self.connected,
            OutcomeKind::Refused => &mut self.refused,
            OutcomeKind::Disabled => &mut self.disabled,
            OutcomeKind::Failed => &mut self.failed,
            OutcomeKind::Throttled => &mut self.throttled,
            OutcomeKind::Unreachable => &mut self.unreachable,
            OutcomeKind::TimedOut => &mut self.timed_out,
            OutcomeKind::Shed => &mut self.shed,
            OutcomeKind::Interrupted => &mut self.interrupted,
            OutcomeKind::ProtocolError => &mut self.protocol_error,
        };
        *count += more;
    }

    /// All devices.
    pub fn total(&self) -> u64 {
        OutcomeKind::ALL.iter().map(|kind| self.count(*kind)).sum()
    }
}

/// Devices that ended otherwise than assigned, all for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Reason {
    /// How they ended.
    pub outcome: OutcomeKind,
    /// In which phase of the attempt.
    pub phase: Option<String>,
    /// The service's error code, if it gave one.
    pub code: Option<u32>,
    /// What the service or the transport said.
    pub message: String,
    /// How many devices.
    pub count: u64,
    /// Whether the scenario asked for it.
    pub expected: bool,
    /// The id of the defect they were given.
    pub defect: Option<String>,
    /// One of them.
    pub sample_registration_id: String,
    /// What it means.
    pub explanation: String,
    /// What to do about it.
    pub repair: String,
    /// The steps by which the verdict on the chain was reached.
    pub trail: Vec<String>,
}

/// One arrival, step by step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sample {
    /// How it ended.
    pub outcome: OutcomeKind,
    /// The device.
    pub registration_id: String,
    /// When it was due, in seconds from the start of the run.
    pub due_seconds: f64,
    /// When it was started.
    pub started_seconds: f64,
    /// When it ended.
    pub finished_seconds: f64,
    /// The phases it went through in the order of an attempt, in microseconds; polls together.
    pub phases: Vec<PhaseTime>,
    /// What it tried again.
    pub retries: u64,
    /// How it ended, in words: the hub, or why not.
    pub ending: String,
}

/// How long one phase of one arrival took.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PhaseTime {
    /// The phase.
    pub phase: String,
    /// In microseconds.
    pub us: u64,
}

/// How long attempts took as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Clocks {
    /// From the start of the attempt to its end; assigned devices.
    pub service_time: PhaseStats,
    /// From when the device was due to the end of its attempt; assigned devices.
    pub response_time: PhaseStats,
    /// From the start of the attempt to its end; all other devices.
    pub service_time_unsuccessful: PhaseStats,
    /// From when an arrival could have been started, because it was due and a slot was free, to when it was; open
    /// loads alone.
    pub lateness: PhaseStats,
}

/// How much was done in how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Throughput {
    /// Assigned devices a second of the measured window.
    pub per_second: f64,
    /// Assigned devices a minute of the measured window.
    pub devices_per_minute: f64,
    /// Whether some shards of a merged run did not run at the same time. Then it is not what all of them together
    /// reach.
    pub shards_apart: bool,
}

impl Throughput {
    /// The throughput of a window; nothing in a window without length.
    pub fn of(assigned: u64, wall_seconds: f64) -> Self {
        if wall_seconds <= 0.0 || !wall_seconds.is_finite() {
            return Self::default();
        }
        let per_second = assigned as f64 / wall_seconds;
        Self { per_second, devices_per_minute: per_second * 60.0, shards_apart: false }
    }
}

/// What happened in one second of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Second {
    /// Which second, from 0.
    pub t: u64,
    /// Arrivals that the schedule has in it; open loads alone.
    pub planned: Option<u64>,
    /// Devices that were due and dealt with.
    pub offered: u64,
    /// Devices that started.
    pub started: u64,
    /// Devices that finished.
    pub finished: u64,
    /// Devices that got what they were after: assigned, or connected.
    pub assigned: u64,
    /// Devices that ended otherwise.
    pub refused: u64,
    /// Arrivals by how they ended; shed ones in the second in which they were due.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<OutcomeKind, u64>,
    /// Devices in flight at the end of it.
    pub in_flight: u64,
    /// Devices that stayed connected at the end of it.
    pub held: u64,
    /// Arrivals that were shed.
    pub shed: u64,
    /// Requests and connections made again.
    pub retries: u64,
    /// Those of them that the service had asked to come back later.
    pub throttled: u64,
    /// Response times of those that got what they were after: `[bucket, how many]`, see [`bucket_of`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub response_buckets: Vec<(u16, u64)>,
    /// Service times of those that got what they were after in this second, in microseconds: p50, p90, p99, max.
    pub service_us: Option<[u64; 4]>,
    /// Response times of the same, in microseconds: p50, p90, p99, max.
    pub response_us: Option<[u64; 4]>,
    /// Processor time that the generator's threads used, as a share of what they could have had; 0 to 1.
    pub generator_cpu: Option<f64>,
    /// Time that the generator's threads could have run and were not let to, as a share; 0 to 1.
    pub generator_starved: Option<f64>,
}

/// Buckets of response times in a decade.
pub const BUCKETS_PER_DECADE: u16 = 8;

/// The bucket of a time in microseconds: bucket *b* begins at 10^(*b* / [`BUCKETS_PER_DECADE`]) µs.
pub fn bucket_of(us: u64) -> u16 {
    // At most 20 decades of 8.
    (f64::from(BUCKETS_PER_DECADE) * (us.max(1) as f64).log10()) as u16
}

/// Where a bucket begins, in microseconds.
pub fn bucket_start_us(bucket: u16) -> f64 {
    10_f64.powf(f64::from(bucket) / f64::from(BUCKETS_PER_DECADE))
}

impl Second {
    /// Counts how an arrival ended in it.
    pub fn ended(&mut self, kind: OutcomeKind) {
        *self.outcomes.entry(kind).or_default() += 1;
    }

    /// Counts a response time, in microseconds.
    pub fn responded(&mut self, us: u64) {
        self.add_bucket(bucket_of(us), 1);
    }

    fn add_bucket(&mut self, bucket: u16, more: u64) {
        match self.response_buckets.binary_search_by_key(&bucket, |(known, _)| *known) {
            Ok(at) => self.response_buckets[at].1 += more,
            Err(at) => self.response_buckets.insert(at, (bucket, more)),
        }
    }

    /// Adds outcomes, throttled requests and response times of the same second of another shard.
    pub fn add_kinds(&mut self, other: &Self) {
        for (kind, more) in &other.outcomes {
            *self.outcomes.entry(*kind).or_default() += more;
        }
        for (bucket, more) in &other.response_buckets {
            self.add_bucket(*bucket, *more);
        }
        self.throttled += other.throttled;
        self.planned = match (self.planned, other.planned) {
            (None, more) => more,
            (some, more) => some.map(|some| some + more.unwrap_or_default()),
        };
    }
}

/// One way from a root to a hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RollUp {
    /// The subject of the root.
    pub root: String,
    /// The subjects of the intermediates, the root's end first.
    pub path: Vec<String>,
    /// The enrollment group.
    pub group: String,
    /// The hub.
    pub hub: String,
    /// Devices that should be assigned this way; unknown where the service spreads them over several hubs.
    pub expected: Option<u64>,
    /// Devices that were.
    pub actual: u64,
}

/// What the scenario should lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Expectations {
    /// Devices that should be assigned, or connected where that is all they are after.
    pub assigned: u64,
    /// Devices that should end otherwise.
    pub refused: u64,
    /// Devices that may end either way, because something happens on the way.
    pub open: u64,
}

/// What was tried again, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Retries {
    /// After an answer that asked to come back later.
    pub throttled: u64,
    /// After a server error.
    pub server_error: u64,
    /// After a connection that failed or broke.
    pub connection: u64,
    /// After a phase that took too long.
    pub timeout: u64,
}

impl Retries {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.throttled + self.server_error + self.connection + self.timeout
    }

    /// These and more.
    #[must_use]
    pub const fn plus(self, more: &Self) -> Self {
        Self {
            throttled: self.throttled + more.throttled,
            server_error: self.server_error + more.server_error,
            connection: self.connection + more.connection,
            timeout: self.timeout + more.timeout,
        }
    }
}

/// Devices that stayed connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Held {
    /// Devices that were to stay.
    pub devices: u64,
    /// Those that stayed as long as they were to.
    pub kept: u64,
    /// Those that lost the connection.
    pub dropped: u64,
    /// Those that were told to leave when the run was stopped.
    pub released: u64,
    /// The most at a time.
    pub peak: u64,
    /// Times they said that they are alive, and were answered.
    pub pings: u64,
}

/// What TLS handshakes agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsCount {
    /// Version of TLS.
    pub version: String,
    /// Cipher suite.
    pub suite: String,
    /// Group of the key agreement.
    pub group: String,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// How many attempts ended on such a connection.
    pub count: u64,
}

/// Something the operator did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventDone {
    /// When it was done, in seconds from the start.
    pub at_seconds: f64,
    /// What.
    pub what: String,
    /// Why it could not be done, if so.
    pub failed: Option<String>,
}

/// A gate, and what was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GateResult {
    /// The gate in words: `response_time.p99 <= 500ms`.
    pub gate: String,
    /// What it looks at.
    pub metric: String,
    /// The unit of the numbers: `s`, `/s`, `count` or `share`. The share of retries is per arrival and can be above 1.
    pub unit: String,
    /// What was measured; nothing where the run has no such number.
    pub measured: Option<f64>,
    /// The least it may be.
    pub at_least: Option<f64>,
    /// The most it may be.
    pub at_most: Option<f64>,
    /// Whether it was met. What was not measured meets nothing.
    pub passed: bool,
    /// When the run was ended because of it, in seconds from the start.
    pub aborted_at: Option<f64>,
    /// Whether the scenario does not name it: it has no gate on outcomes, so each is to be as it should.
    pub implied: bool,
}

/// The highest rate that meets the gates.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Capacity {
    /// Arrivals per second: the median of the searches.
    pub rate: f64,
    /// The lowest and the highest of the searches' results.
    pub interval: [f64; 2],
    /// How the interval was made, in words.
    pub method: String,
    /// What was at its limit above it: `service`, `quota`, `generator` or `none`, when no limit was met.
    pub limited_by: String,
    /// Why that is said.
    pub evidence: Vec<String>,
    /// Every rate that was tried, in order.
    pub trials: Vec<Trial>,
}

/// One rate that was tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Trial {
    /// Which search, from 1.
    pub search: u64,
    /// Arrivals per second that were planned.
    pub rate: f64,
    /// Devices that ended as they wanted, per second.
    pub achieved: f64,
    /// Whether every gate was met.
    pub passed: bool,
    /// Whether the generator was the limit.
    pub generator_limited: bool,
    /// Response time, 99th percentile, in microseconds.
    pub response_p99_us: u64,
    /// Devices that ended throttled, and requests made again because of it.
    pub throttled: u64,
    /// Gates that were not met, in words.
    pub failed: Vec<String>,
}

/// What the service says it saw, in this run alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ledger {
    /// Whether the service was the run's own embedded mock: then it saw nobody else, and the ledgers of shards add up.
    pub embedded: bool,
    /// Connections accepted.
    pub connections: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
    /// MQTT sessions opened.
    pub connects: u64,
    /// Registrations asked for.
    pub registers: u64,
    /// Polls asked for.
    pub polls: u64,
    /// Devices told that they are assigned.
    pub assigned: u64,
    /// Refused CONNECT packets, and requests answered with 400 to 499, but for 429.
    pub refused: u64,
    /// Devices told that their enrollment is disabled.
    pub disabled: u64,
    /// Devices told that their registration failed.
    pub failed: u64,
    /// Requests answered with 429; a device may be throttled more than once.
    pub throttled: u64,
    /// Requests answered with 500 to 599.
    pub server_errors: u64,
    /// Requests carried out and answered unreadably, which is a fault's doing.
    pub malformed_answers: u64,
    /// Answers that a fault kept from the device, or made unreadable.
    pub lost_answers: u64,
}

/// One count of the client beside the service's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Check {
    /// What was counted.
    pub name: String,
    /// The client's count.
    pub client: u64,
    /// The service's count.
    pub service: u64,
    /// So many more the service may have counted: as often the client stopped waiting, and does not know what for.
    pub unheard: u64,
    /// Whether they are equal, or differ by what the client may not have heard.
    pub agrees: bool,
}

impl Check {
    /// Puts two counts side by side.
    pub fn new(name: impl Into<String>, client: u64, service: u64, unheard: u64) -> Self {
        let check = Self { name: name.into(), client, service, unheard, agrees: false };
        Self { agrees: check.counts_agree(), ..check }
    }

    /// Whether the counts agree, whatever is said of it.
    pub fn counts_agree(&self) -> bool {
        (self.client..=self.client.saturating_add(self.unheard)).contains(&self.service)
    }
}

/// What a run is worth, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Verdict {
    /// What it is worth.
    pub kind: VerdictKind,
    /// Why, one sentence each.
    pub reasons: Vec<String>,
}

/// What a run is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    /// Everything went as the scenario said it should.
    Good,
    /// The result stands, and is not what was asked for.
    GateFailed,
    /// The result does not stand: sums do not add up. What a record says until it has been judged.
    #[default]
    Invalid,
    /// The result does not stand: the generator was the limit, not the service.
    GeneratorLimited,
    /// The run was stopped early.
    Interrupted,
}

/// What the load generator itself needed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Generator {
    /// Processor time of the client, in seconds, where it can be told from the mock's.
    pub cpu_seconds_client: Option<f64>,
    /// Threads that made the load.
    pub workers: u64,
    /// Share of the time that the busiest tenth of the seconds kept those threads busy; 0 to 1.
    pub cpu_share: Option<f64>,
    /// Share of the time that those threads could have run and were not let to, over the run; 0 to 1.
    pub starved_share: Option<f64>,
    /// The most memory the process had, in bytes; an embedded mock is part of it.
    pub peak_memory_bytes: Option<u64>,
    /// Source addresses that connections were made from; 0 for the system's choice.
    pub source_addresses: u64,
    /// Outcomes that the journal could not take.
    pub journal_lost: u64,
    /// How far the wall clock moved against the monotonic one during the run, in milliseconds.
    pub clock_step_ms: i64,
    /// Whether the generator was the limit.
    pub limited: bool,
    /// Why, or what to know about its health; one sentence each.
    pub findings: Vec<String>,
    /// File descriptors the run needs.
    pub descriptors_needed: u64,
    /// File descriptors the system allows.
    pub descriptors_limit: u64,
    /// The latest an arrival was started after it was due with a slot free, in microseconds.
    pub max_lag_us: u64,
    /// Arrivals of an open load that were due and waited until a slot was free.
    pub waited_for_slot: u64,
    /// The longest of those waits, in microseconds.
    pub waited_for_slot_max_us: u64,
}

/// ours: shorter waits for a slot are left unsaid; they are as long as those for a processor.
const WORTH_SAYING_US: u64 = 10_000;

impl Generator {
    /// Arrivals that waited for a slot and the longest of the waits, in microseconds, where the bound on devices in
    /// flight held the load back for more than a moment.
    pub fn held_back(&self) -> Option<(u64, u64)> {
        let waits = (self.waited_for_slot, self.waited_for_slot_max_us);
        (waits.0 > 0 && waits.1 >= WORTH_SAYING_US).then_some(waits)
    }
}

/// The certificates that were presented.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Certificates {
    /// Who issued them.
    pub issuers: Vec<Issuer>,
    /// The kinds of their keys.
    pub key_types: Vec<KeyCount>,
    /// The size of a good device's chain as presented, in bytes.
    pub chain_bytes: u64,
    /// When a good device's certificate ends, RFC 3339, UTC; where it was looked at.
    pub leaf_not_after_utc: Option<String>,
}

/// How many leaf certificates an issuer issued.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issuer {
    /// The issuer's subject.
    pub subject: String,
    /// Leaf certificates.
    pub count: u64,
    /// When its own certificate ends, RFC 3339, UTC; where it was presented.
    #[serde(default)]
    pub not_after_utc: Option<String>,
}

/// How many leaf certificates have a kind of key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyCount {
    /// The kind of key.
    pub key: String,
    /// Leaf certificates.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_json() {
        let record = crate::view::tests::demo();
        let text = record.to_json().expect("JSON");
        assert_eq!(Record::from_json(&text).expect("a record"), record);
    }

    #[test]
    fn a_window_without_length_has_no_throughput() {
        let two = Throughput { per_second: 15.0, devices_per_minute: 900.0, shards_apart: false };
        assert_eq!(Throughput::of(30, 2.0), two);
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Throughput::of(30, seconds), Throughput::default());
        }
    }

    #[test]
    fn what_is_no_record_of_this_version_is_refused_each_for_its_reason() {
        type Is = fn(&InvalidRecord) -> bool;
        let table: [(&str, Is); 10] = [
            (
                r#"{"schema":"rollcall.run/2","planned":"many"}"#,
                |e| matches!(e, InvalidRecord::Newer { found } if found == "rollcall.run/2"),
            ),
            (r#"{"schema":"rollcall.run/0"}"#, |e| matches!(e, InvalidRecord::Schema { .. })),
            (r#"{"schema":"rollcall.runs/2"}"#, |e| matches!(e, InvalidRecord::Schema { .. })),
            (r#"{"schema":"rollcall.run/x"}"#, |e| matches!(e, InvalidRecord::Schema { .. })),
            ("{}", |e| matches!(e, InvalidRecord::Schema { found } if found.is_empty())),
            ("", |e| matches!(e, InvalidRecord::CutShort { .. })),
            ("{\"schema\":\"rollcall.run/1\",\n\"planned\":", |e| {
                matches!(e, InvalidRecord::CutShort { line: 2 })
            }),
            (
                "{\n\"schema\" \"rollcall.run/1\"}",
                |e| matches!(e, InvalidRecord::Syntax(e) if (e.line(), e.column()) == (2, 10)),
            ),
            (r#"{"schema":"rollcall.run/1","planned":-1}"#, |e| matches!(e, InvalidRecord::Shape(_))),
            (r#"{"schema":"rollcall.run/1","planned":1,"planned":2}"#, |e| {
                matches!(e, InvalidRecord::Shape(_))
            }),
        ];
        for (text, is) in table {
            let refused = Record::from_json(text).expect_err(text);
            assert!(is(&refused), "{text}: {refused:?}");
        }
    }

    #[test]
    fn wherever_a_record_is_cut_off_it_is_said_to_be_cut_short() {
        let text = crate::view::tests::demo().to_json().expect("JSON");
        for end in (0..text.trim_end().len()).step_by(7) {
            let refused = Record::from_json(&text[..end]);
            assert!(matches!(refused, Err(InvalidRecord::CutShort { .. })), "{end}: {refused:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_skipped() {
        let record = Record::from_json(r#"{"schema":"rollcall.run/1","planned":3,"weather":"fine"}"#);
        assert_eq!(record.expect("a record").planned, 3);
    }

    #[test]
    fn counting_and_reading_an_outcome_agree() {
        for (at, kind) in OutcomeKind::ALL.into_iter().enumerate() {
            let mut outcomes = Outcomes::default();
            (0..=at).for_each(|_| outcomes.add(kind));
            assert_eq!((outcomes.count(kind), outcomes.total()), (at as u64 + 1, at as u64 + 1), "{kind:?}");
        }
    }
}
