//! Bodies of the device API: `DeviceRegistration`, `RegistrationOperationStatus`, `DeviceRegistrationResult`.
//!
//! Source: DPS REST specification, device data plane 2021-10-01, and captures in the official SDKs' tests.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Body of a register request. Clients also send nothing at all, or only a payload.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRegistration {
    /// The registration id once more; optional in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// Any JSON object, handed to a custom allocation webhook. Python always adds `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
}

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RegistrationStatus {
    /// Known, not yet being assigned.
    Unassigned,
    /// In progress; poll again.
    Assigning,
    /// Final: a hub and a device id were given.
    Assigned,
    /// Final: see `errorCode`.
    Failed,
    /// Final: the enrollment is disabled.
    Disabled,
}

/// What kind of assignment it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Substatus {
    /// First assignment.
    InitialAssignment,
    /// Moved to another hub with its twin.
    DeviceDataMigrated,
    /// Moved to another hub with the initial twin.
    DeviceDataReset,
    /// Registered again, same hub.
    ReprovisionedToInitialAssignment,
}

/// `x509` of a registration state: an empty object in practice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct X509RegistrationResult {
    /// The group that admitted the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
}

/// `symmetricKey` of a registration state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymmetricKeyRegistrationResult {
    /// The group that admitted the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
}

/// The state of one registration (`DeviceRegistrationResult` to devices, `DeviceRegistrationState` to operators).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationState {
    /// Present, and empty in practice, when the device came with X.509.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509RegistrationResult>,
    /// Who registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// First registration, RFC 3339 with seven fraction digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// Host name of the hub; present exactly when `device_id` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_hub: Option<String>,
    /// Device id at the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Where the registration stands.
    pub status: RegistrationStatus,
    /// Meaningful when assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substatus: Option<Substatus>,
    /// Six digits, on `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// Text, on `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Last change, RFC 3339 with seven fraction digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
    /// Opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// What a custom allocation webhook wants the device to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<serde_json::Value>,
    /// Present when the device came with a symmetric key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeyRegistrationResult>,
}

impl RegistrationState {
    /// The stub that a 202 to a poll carries.
    pub fn assigning(registration_id: &str) -> Self {
        Self::bare(registration_id, RegistrationStatus::Assigning)
    }

    /// A state with nothing but id and status.
    pub fn bare(registration_id: &str, status: RegistrationStatus) -> Self {
        RegistrationState {
            x509: None,
            registration_id: Some(registration_id.to_owned()),
            created_date_time_utc: None,
            assigned_hub: None,
            device_id: None,
            status,
            substatus: None,
            error_code: None,
            error_message: None,
            last_updated_date_time_utc: None,
            etag: None,
            payload: None,
            symmetric_key: None,
        }
    }
}

/// Every answer that is not an error (`RegistrationOperationStatus`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// Opaque; only characters that need no encoding are generated here.
    pub operation_id: String,
    /// Where the operation stands.
    pub status: RegistrationStatus,
    /// Absent in the 202 to a register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
}

#[cfg(test)]
mod tests {
    use super::*;

    // Captured from a live service by the embedded C SDK's tests (GUIDs illustrative there).
    const ASSIGNED: &str = r#"{"operationId":"4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d","status":"assigned","registrationState":{"x509":{},"registrationId":"dev1","createdDateTimeUtc":"2020-04-10T03:11:13.0276997Z","assignedHub":"contoso.azure-devices.net","deviceId":"dev1","status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2020-04-10T03:11:13.2096201Z","etag":"IjYxMDA4ZDQ2LTAwMDAtMDEwMC0wMDAwLTVlOGZlM2QxMDAwMCI="}}"#;

    #[test]
    fn a_captured_answer_is_read_and_written_back_byte_for_byte() {
        let status: OperationStatus = serde_json::from_str(ASSIGNED).expect("a captured body");
        let state = status.registration_state.as_ref().expect("a state");
        assert_eq!(state.assigned_hub.as_deref(), Some("contoso.azure-devices.net"));
        assert_eq!(state.substatus, Some(Substatus::InitialAssignment));
        assert_eq!(serde_json::to_string(&status).expect("serialises"), ASSIGNED);
    }

    #[test]
    fn register_bodies_of_every_client_are_read() {
        for (body, id) in [
            (r#"{"payload": null, "registrationId": "dev-001"}"#, Some("dev-001")),
            (r#"{"registrationId" : "dev-001"}"#, Some("dev-001")),
            (r#"{"payload":{"a":1}}"#, None),
            (r#"{"registrationId":"dev-001","tpm":null,"unknown":[1]}"#, Some("dev-001")),
        ] {
            let read: DeviceRegistration = serde_json::from_str(body).expect(body);
            assert_eq!(read.registration_id.as_deref(), id);
        }
    }
}
