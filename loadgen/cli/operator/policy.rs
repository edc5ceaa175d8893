//! The terms of an entry that say what becomes of its devices: which hub, again, and with which twin.

use crate::cli::read_file;
use crate::exit::Failure;
use clap::{Args, ValueEnum};
use serde_json::Value;
use sim_operator::Changes;
use sim_protocol::attestation::{AllocationPolicy, CustomAllocation, ReprovisionPolicy};
use std::path::{Path, PathBuf};

/// What becomes of the devices of an entry.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Policy {
    /// What becomes of a device that registers again
    #[arg(long, value_enum, help_heading = "Policy")]
    pub reprovision: Option<Reprovision>,
    /// How devices are spread over hubs [default: as the instance does]
    #[arg(long, value_enum, help_heading = "Policy")]
    pub allocation: Option<Allocation>,
    /// A hub that devices may be assigned to, once for each [default: all linked hubs]
    #[arg(long, value_name = "HOST", help_heading = "Policy")]
    pub iot_hub: Vec<String>,
    /// Who is asked under the allocation `custom`
    #[arg(long, value_name = "URL", help_heading = "Policy")]
    pub webhook: Option<String>,
    /// Which form of request is posted there
    #[arg(
        long,
        value_name = "V",
        default_value = "2021-10-01",
        requires = "webhook",
        help_heading = "Policy"
    )]
    pub webhook_api_version: String,
    /// The twin a device starts from, `{"tags":{…},"properties":{"desired":{…}}}`
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub initial_twin: Option<PathBuf>,
}

/// What becomes of a device that registers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reprovision {
    /// It may move to another hub, and its data with it
    Migrate,
    /// It may move to another hub, and starts afresh there
    Reset,
    /// It stays where it is
    Never,
}

impl From<Reprovision> for ReprovisionPolicy {
    fn from(policy: Reprovision) -> Self {
        let (update_hub_assignment, migrate_device_data) = match policy {
            Reprovision::Migrate => (true, true),
            Reprovision::Reset => (true, false),
            Reprovision::Never => (false, false),
        };
        ReprovisionPolicy { update_hub_assignment, migrate_device_data }
    }
}

/// How devices are spread over hubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Allocation {
    /// By a hash, in proportion to the hubs' weights
    Hashed,
    /// The hub with the lowest latency
    GeoLatency,
    /// The one hub that --iot-hub names
    Static,
    /// As the webhook says
    Custom,
}

impl From<Allocation> for AllocationPolicy {
    fn from(policy: Allocation) -> Self {
        match policy {
            Allocation::Hashed => AllocationPolicy::Hashed,
            Allocation::GeoLatency => AllocationPolicy::GeoLatency,
            Allocation::Static => AllocationPolicy::Static,
            Allocation::Custom => AllocationPolicy::Custom,
        }
    }
}

impl Policy {
    /// What the flags come to for an entry that is there already.
    pub(super) fn changes(self) -> Result<Changes, Failure> {
        let api_version = self.webhook_api_version;
        let custom = self.webhook.map(|webhook_url| CustomAllocation { webhook_url, api_version });
        Ok(Changes {
            reprovision_policy: self.reprovision.map(ReprovisionPolicy::from),
            allocation_policy: self.allocation.map(AllocationPolicy::from),
            iot_hubs: Some(self.iot_hub).filter(|hubs| !hubs.is_empty()),
            custom_allocation_definition: custom,
            initial_twin: self.initial_twin.as_deref().map(twin).transpose()?,
            ..Changes::default()
        })
    }

    /// What the flags come to for a new entry, which has nothing to fall back on.
    pub(super) fn whole(self) -> Result<Changes, Failure> {
        let fault = match (self.allocation, self.iot_hub.len(), self.webhook.is_some()) {
            (Some(Allocation::Custom), _, false) => "the allocation `custom` needs --webhook",
            (Some(Allocation::Custom), _, true) => return self.changes(),
            (_, _, true) => "--webhook needs --allocation custom",
            (Some(Allocation::Static), hubs, _) if hubs != 1 => {
                "the allocation `static` needs exactly one --iot-hub"
            }
            _ => return self.changes(),
        };
        Err(Failure::usage(fault))
    }
}

fn twin(path: &Path) -> Result<Value, Failure> {
    let text = read_file(path, "initial twin")?;
    let unusable = |reason: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot use {} as initial twin: {reason}", path.display()))
            .advise("Give a JSON object with `tags`, and `properties` with `desired`.")
    };
    let twin: Value = serde_json::from_slice(&text).map_err(|error| unusable(&error))?;
    let Value::Object(fields) = &twin else { return Err(unusable(&"it is no JSON object")) };
    match fields.keys().find(|key| !["tags", "properties"].contains(&key.as_str())) {
        Some(key) => Err(unusable(&format!("`{key}` is no part of a twin"))),
        None => Ok(twin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;
    use clap::Parser;
    use serde_json::json;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        policy: Policy,
    }

    fn policy(line: &str) -> Policy {
        let words = ["rollcall"].into_iter().chain(line.split_whitespace());
        Program::try_parse_from(words).expect(line).policy
    }

    #[test]
    fn flags_are_written_as_the_service_spells_them() {
        for (line, document) in [
            ("", json!({})),
            (
                "--reprovision reset",
                json!({"reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": false}}),
            ),
            ("--allocation static --iot-hub h", json!({"allocationPolicy": "static", "iotHubs": ["h"]})),
            (
                "--allocation custom --webhook https://w",
                json!({
                    "allocationPolicy": "custom",
                    "customAllocationDefinition": {"webhookUrl": "https://w", "apiVersion": "2021-10-01"},
                }),
            ),
        ] {
            let changes = policy(line).whole().expect(line);
            assert_eq!(serde_json::to_value(changes).expect("JSON"), document, "{line}");
        }
    }

    #[test]
    fn a_new_entry_needs_what_its_allocation_works_with() {
        for line in [
            "--allocation custom",
            "--webhook https://w",
            "--allocation hashed --webhook https://w",
            "--allocation static",
            "--allocation static --iot-hub a --iot-hub b",
        ] {
            assert_eq!(policy(line).whole().map_err(|failure| failure.exit), Err(Exit::Usage), "{line}");
        }
        policy("--webhook https://w").changes().expect("an entry that is custom already");
    }

    #[test]
    fn a_twin_that_is_none_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("twin.json");
        for (text, good) in [
            (r#"{"tags":{"line":7},"properties":{"desired":{}}}"#, true),
            ("[]", false),
            (r#"{"desired":{}}"#, false),
            ("{", false),
        ] {
            std::fs::write(&path, text).expect("written");
            assert_eq!(twin(&path).is_ok(), good, "{text}");
        }
    }
}
