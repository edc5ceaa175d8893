//! What the service says it saw, kept apart from what any client claims, so that the two can be compared.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Refusals of one kind: how many, and one of them in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalTrace {
    /// Six-digit code, or 0 for a device that is disabled.
    pub code: u32,
    /// What the wire said.
    pub message: String,
    /// The verdict's stable name.
    pub verdict: String,
    /// The diagnostic code of the dead end that got farthest, if there was one.
    pub check: Option<String>,
    /// How many.
    pub count: u64,
    /// One registration id among them.
    pub sample_registration_id: String,
    /// Its dead ends, the farthest first, in sentences.
    pub trail: Vec<String>,
}

/// Devices that came in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollUpCount {
    /// Subjects from the top of the path down to the leaf's issuer.
    pub path: Vec<String>,
    /// The group that admitted them.
    pub group: String,
    /// The hub they were assigned to.
    pub hub: String,
    /// How many.
    pub count: u64,
}

/// The ledger at one moment. Counts begin at the start of the mock. An answer is counted when it is on its way, once a
/// device can hear it: what a fault kept from it counts as lost, and as nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerSnapshot {
    /// TCP connections accepted on the MQTT port.
    pub connections: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
    /// TLS handshakes that failed.
    pub tls_failures: u64,
    /// CONNECT packets answered with return code 0.
    pub connects: u64,
    /// Register requests.
    pub registers: u64,
    /// Operation status requests.
    pub polls: u64,
    /// Operations answered as assigned for the first time.
    pub assigned: u64,
    /// CONNECT packets refused, and registers and polls answered with 400 to 499, but for 429.
    pub refused: u64,
    /// Operations answered as disabled for the first time.
    pub disabled: u64,
    /// Requests answered with 429.
    pub throttled: u64,
    /// Operations answered as failed for the first time.
    #[serde(default)]
    pub failed: u64,
    /// Requests answered with 500 to 599.
    #[serde(default)]
    pub server_errors: u64,
    /// Requests that were carried out and answered with something that nobody can read.
    #[serde(default)]
    pub malformed_answers: u64,
    /// Connections that have ended.
    #[serde(default)]
    pub connections_closed: u64,
    /// Packets and requests that broke their protocol.
    #[serde(default)]
    pub malformed: u64,
    /// Connections ended because the peer took too long.
    #[serde(default)]
    pub timeouts: u64,
    /// Calls of operators, to the service API and the resource manager.
    #[serde(default)]
    pub operations: u64,
    /// Calls of operators throttled.
    #[serde(default)]
    pub throttled_operations: u64,
    /// Requests and connections that a fault was applied to.
    #[serde(default)]
    pub faults: u64,
    /// Answers that a fault kept from the device although the request was carried out.
    #[serde(default)]
    pub lost_answers: u64,
    /// Webhooks asked.
    #[serde(default)]
    pub webhooks: u64,
    /// Refusals by kind.
    pub refusals: Vec<RefusalTrace>,
    /// Assigned devices by path, group and hub.
    pub roll_up: Vec<RollUpCount>,
}

impl LedgerSnapshot {
    /// What was added since `earlier`, kind by kind; kinds without additions are left out.
    pub fn since(&self, earlier: &LedgerSnapshot) -> LedgerSnapshot {
        let refusals = self.refusals.iter().filter_map(|now| {
            let same = |r: &&RefusalTrace| {
                (r.code, &r.message, &r.verdict, &r.check)
                    == (now.code, &now.message, &now.verdict, &now.check)
            };
            let before = earlier.refusals.iter().find(same).map_or(0, |r| r.count);
            (now.count > before).then(|| RefusalTrace { count: now.count - before, ..now.clone() })
        });
        let roll_up = self.roll_up.iter().filter_map(|now| {
            let same = |r: &&RollUpCount| (&r.path, &r.group, &r.hub) == (&now.path, &now.group, &now.hub);
            let before = earlier.roll_up.iter().find(same).map_or(0, |r| r.count);
            (now.count > before).then(|| RollUpCount { count: now.count - before, ..now.clone() })
        });
        LedgerSnapshot {
            connections: self.connections.saturating_sub(earlier.connections),
            tls_handshakes: self.tls_handshakes.saturating_sub(earlier.tls_handshakes),
            tls_failures: self.tls_failures.saturating_sub(earlier.tls_failures),
            connects: self.connects.saturating_sub(earlier.connects),
            registers: self.registers.saturating_sub(earlier.registers),
            polls: self.polls.saturating_sub(earlier.polls),
            assigned: self.assigned.saturating_sub(earlier.assigned),
            refused: self.refused.saturating_sub(earlier.refused),
            disabled: self.disabled.saturating_sub(earlier.disabled),
            throttled: self.throttled.saturating_sub(earlier.throttled),
            failed: self.failed.saturating_sub(earlier.failed),
            server_errors: self.server_errors.saturating_sub(earlier.server_errors),
            malformed_answers: self.malformed_answers.saturating_sub(earlier.malformed_answers),
            connections_closed: self.connections_closed.saturating_sub(earlier.connections_closed),
            malformed: self.malformed.saturating_sub(earlier.malformed),
            timeouts: self.timeouts.saturating_sub(earlier.timeouts),
            operations: self.operations.saturating_sub(earlier.operations),
            throttled_operations: self.throttled_operations.saturating_sub(earlier.throttled_operations),
            faults: self.faults.saturating_sub(earlier.faults),
            lost_answers: self.lost_answers.saturating_sub(earlier.lost_answers),
            webhooks: self.webhooks.saturating_sub(earlier.webhooks),
            refusals: refusals.collect(),
            roll_up: roll_up.collect(),
        }
    }
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

type RollUpKey = ([u8; 32], String, usize);

/// The running ledger.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each counter is described in LedgerSnapshot")]
pub struct Ledger {
    pub connections: Counter,
    pub tls_handshakes: Counter,
    pub tls_failures: Counter,
    pub connects: Counter,
    pub registers: Counter,
    pub polls: Counter,
    pub assigned: Counter,
    pub refused: Counter,
    pub disabled: Counter,
    pub throttled: Counter,
    pub failed: Counter,
    pub server_errors: Counter,
    pub malformed_answers: Counter,
    pub connections_closed: Counter,
    pub malformed: Counter,
    pub timeouts: Counter,
    pub operations: Counter,
    pub throttled_operations: Counter,
    pub faults: Counter,
    pub lost_answers: Counter,
    pub webhooks: Counter,
    refusals: Mutex<Vec<RefusalTrace>>,
    roll_up: Mutex<HashMap<RollUpKey, RollUpCount>>,
}

/// Kinds of refusal kept apart; more are counted with the last.
const MAX_KINDS: usize = 64;

impl Ledger {
    /// Notes a refusal; the first of its kind is kept as the sample.
    pub(crate) fn note_refusal(&self, kind: RefusalKind<'_>, id: &str, trail: impl FnOnce() -> Vec<String>) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let full = refusals.len() >= MAX_KINDS;
        let same = |r: &RefusalTrace| {
            r.code == kind.code
                && r.message == kind.message
                && r.verdict == kind.verdict
                && r.check.as_deref() == kind.check
        };
        if let Some(known) = refusals.iter().position(same).or(full.then_some(MAX_KINDS - 1)) {
            refusals[known].count += 1;
            return;
        }
        refusals.push(RefusalTrace {
            code: kind.code,
            message: kind.message.to_owned(),
            verdict: kind.verdict.to_owned(),
            check: kind.check.map(str::to_owned),
            count: 1,
            sample_registration_id: id.to_owned(),
            trail: trail(),
        });
    }

    /// Notes an assignment by the way the device came.
    pub(crate) fn note_roll_up(&self, route: &Route, hub: usize, hub_name: &str) {
        self.assigned.add();
        let mut counts = self.roll_up.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (route.issuer, route.group.clone(), hub);
        let count = counts.entry(key).or_insert_with(|| RollUpCount {
            path: route.path.clone(),
            group: route.group.clone(),
            hub: hub_name.to_owned(),
            count: 0,
        });
        count.count += 1;
    }

    /// The ledger as of now.
    pub fn snapshot(&self) -> LedgerSnapshot {
        let counts = self.roll_up.lock().unwrap_or_else(PoisonError::into_inner);
        let mut roll_up: Vec<_> = counts.values().cloned().collect();
        roll_up.sort_by(|a, b| (&a.path, &a.group, &a.hub).cmp(&(&b.path, &b.group, &b.hub)));
        LedgerSnapshot {
            connections: self.connections.value(),
            tls_handshakes: self.tls_handshakes.value(),
            tls_failures: self.tls_failures.value(),
            connects: self.connects.value(),
            registers: self.registers.value(),
            polls: self.polls.value(),
            assigned: self.assigned.value(),
            refused: self.refused.value(),
            disabled: self.disabled.value(),
            throttled: self.throttled.value(),
            failed: self.failed.value(),
            server_errors: self.server_errors.value(),
            malformed_answers: self.malformed_answers.value(),
            connections_closed: self.connections_closed.value(),
            malformed: self.malformed.value(),
            timeouts: self.timeouts.value(),
            operations: self.operations.value(),
            throttled_operations: self.throttled_operations.value(),
            faults: self.faults.value(),
            lost_answers: self.lost_answers.value(),
            webhooks: self.webhooks.value(),
            refusals: self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            roll_up,
        }
    }
}

/// What tells refusals apart.
#[derive(Clone, Copy)]
pub(crate) struct RefusalKind<'a> {
    pub(crate) code: u32,
    pub(crate) message: &'a str,
    pub(crate) verdict: &'a str,
    pub(crate) check: Option<&'a str>,
}

/// How devices got in: the names of the CAs on their path from the top down, and the group. Shared by all that
/// came the same way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Route {
    /// SHA-256 of the certificate that issued the leaf; zeros where there is none.
    pub(crate) issuer: [u8; 32],
    pub(crate) path: Vec<String>,
    /// The group, or [`Route::INDIVIDUAL`].
    pub(crate) group: String,
    /// Whether an individual enrollment let them in.
    pub(crate) individual: bool,
    /// Whether they came with a shared key.
    pub(crate) by_key: bool,
}

impl Route {
    /// Stands in the place of a group for devices with an enrollment of their own; no group can be named so.
    pub(crate) const INDIVIDUAL: &str = "individual enrollments";
}
