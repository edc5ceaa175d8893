//! Preflight: will these devices be let in by this instance, during this rollout, and what breaks next?
//!
//! The verdict is the judge's. What stands here explains it: findings with what repairs them, the moment at which the
//! verdict changes, what hangs on the parts of the service that nobody outside knows, and the chain as it should
//! have been sent.
//!
//! - [`examine`] asks and adds up; `case` is what is asked, with the line of CAs above the device
//! - `dead_ends`: why there is no path; `entries`: which enrollment decides
//! - `identity`, `profile`: the device's name, and each certificate by itself; `chain`: what is sent, as a whole
//! - `dates`, `alternatives`: when the verdict changes, and what it hangs on; `repair`: the chain as it should be
//! - `instance`, `state`: what an instance holds, and what is wrong with that; `batch`: many devices beside each other

mod alternatives;
mod batch;
mod case;
mod chain;
mod code;
mod dates;
mod dead_ends;
mod entries;
mod examine;
mod findings;
mod identity;
mod instance;
mod profile;
mod repair;
mod state;
mod words;

use crate::certificate::Certificate;
use crate::verdict::{Judgement, Knob, Rules, Verdict};
pub use batch::{Batch, Twin};
pub use code::{Code, Severity};
pub use examine::examine;
pub use instance::{CaState, Group, Individual, Instance, InstanceCredential, Slot, UploadedCa};
use sim_protocol::RegistrationId;
use std::fmt;
use std::sync::Arc;

/// What the chain is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// A device that authenticates: extended key usage has to allow it.
    #[default]
    Client,
    /// Anything: extended key usage is left aside.
    Any,
}

/// What is asked of a chain.
#[derive(Clone, Debug)]
pub struct Question {
    /// Under which id the device registers; none for the leaf's CN.
    pub registration_id: Option<RegistrationId>,
    /// As of when, Unix seconds.
    pub at: i64,
    /// First and last second of the rollout, Unix seconds, if one is planned.
    pub window: Option<(i64, i64)>,
    /// How long after the rollout, or after `at`, an expiry is still worth a warning. Seconds.
    pub margin: i64,
    /// What the chain is for.
    pub purpose: Purpose,
    /// The device has room for 4 KB of chain.
    pub constrained: bool,
    /// How the unknown parts of the service behave.
    pub rules: Rules,
}

/// Ninety days, the margin where none is given.
pub const DEFAULT_MARGIN: i64 = 90 * 86_400;

/// What a device sends, as found in its files.
#[derive(Clone, Debug, Default)]
pub struct Presented {
    /// Leaf first; the order of the rest is as it will be sent.
    pub certificates: Vec<Arc<Certificate>>,
    /// Whether the device's private key belongs to the first certificate; none where no key was given.
    pub key_matches: Option<bool>,
    /// What the files themselves have wrong: oddities of their form, parts that cannot be read.
    pub file_findings: Vec<Finding>,
}

/// The part a certificate plays in what was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The device's own.
    Leaf,
    /// A CA that is not self-signed.
    Intermediate,
    /// A self-signed CA.
    Root,
    /// Neither: another device's, or what no path uses.
    Other,
}

impl Role {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Leaf => "leaf",
            Role::Intermediate => "intermediate",
            Role::Root => "root",
            Role::Other => "other",
        }
    }
}

/// Which certificate a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its place in what was presented, from 0; none for one that only the instance holds.
    pub index: Option<usize>,
    /// The part it plays.
    pub role: Role,
    /// Subject.
    pub subject: String,
    /// Issuer name.
    pub issuer: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub sha256: String,
}

/// Something worth knowing about a chain or an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// How bad it is here.
    pub severity: Severity,
    /// Which certificate it is about, where it is about one.
    pub about: Option<About>,
    /// What was found, in a sentence.
    pub message: String,
    /// What repairs it, in a sentence.
    pub fix: String,
    /// What it is seen by: key ids, dates, names, sizes.
    pub evidence: Vec<String>,
}

/// When and how the verdict changes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// First second of the new verdict, Unix time.
    pub at: i64,
    /// The verdict from then on.
    pub becomes: Verdict,
    /// Why, in a phrase.
    pub because: String,
}

/// What the verdict would be if an unknown part of the service behaved otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// The knob.
    pub knob: Knob,
    /// Its other value.
    pub value: String,
    /// The verdict with it.
    pub verdict: Verdict,
}

/// The chain as it should be sent.
#[derive(Clone, Debug)]
pub struct Repair {
    /// Leaf first.
    pub chain: Vec<Arc<Certificate>>,
    /// What was done: reordered, dropped, completed; in phrases.
    pub steps: Vec<String>,
    /// The verdict on the corrected chain.
    pub verdict: Verdict,
}

/// Everything that is known about a chain before it is tried.
#[derive(Clone, Debug)]
pub struct Examination {
    /// The verdict, the path that decided and the dead ends.
    pub judgement: Judgement,
    /// Under which id the device would register.
    pub registration_id: Option<RegistrationId>,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// When the verdict changes next; none if dates never change it, or change only why the device is refused.
    pub next_change: Option<Change>,
    /// The first moment of the planned rollout at which the device is not let in, where it is at the moment asked
    /// for. The rollout begins with its first second, or with the moment asked for if that is later.
    pub window_ends_badly: Option<Change>,
    /// Other verdicts that the unknown parts of the service could lead to.
    pub alternatives: Vec<Alternative>,
    /// The chain as it should be sent, where it differs from what was given.
    pub repair: Option<Repair>,
    /// The certificate that would complete the chain, where that is what is wrong and nobody holds it, so that there
    /// is no repair: subject and key id, as in "`CN=…` (key id …)".
    pub missing: Option<String>,
}

impl Examination {
    /// Whether the device is let in: its chain is, through the whole of the planned rollout, and it holds the key
    /// that the handshake asks for.
    pub fn is_accepted(&self) -> bool {
        self.judgement.verdict.is_admitted() && self.window_ends_badly.is_none() && !self.key_is_wrong()
    }

    /// When and why the device is no longer let in during the planned rollout.
    pub fn fails_in_window(&self) -> Option<&Change> {
        self.window_ends_badly.as_ref()
    }

    /// Which of an instance's own findings ([`Instance::findings`]) are still to be told beside this examination's:
    /// those that it does not hold already.
    pub fn beside<'f>(&self, instance: &'f [Finding]) -> Vec<&'f Finding> {
        let told = |finding: &Finding| self.findings.iter().any(|known| known.is_same_as(finding));
        instance.iter().filter(|finding| !told(finding)).collect()
    }

    /// Whether the device's private key is another certificate's, so that no handshake comes about.
    pub fn key_is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.code == Code::KeyMismatch)
    }

    /// The worst severity among the findings.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
