//! Enrollments of the service API, groups and individual ones, and how they attest.
//!
//! Source: DPS REST specification, service data plane 2021-10-01.

use crate::registration::RegistrationState;
use crate::sas::SharedKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The api-version this tool's operator sends to the service API.
pub const API_VERSION: &str = "2021-10-01";

/// Whether an entry lets devices in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProvisioningStatus {
    /// Devices are admitted.
    #[default]
    Enabled,
    /// Devices are denied, even where a farther entry would admit them.
    Disabled,
}

/// Names of uploaded CA certificates, primary and secondary; either admits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaReferences {
    /// Name of an uploaded CA.
    #[serde(default)]
    pub primary: Option<String>,
    /// Name of another, for a roll-over.
    #[serde(default)]
    pub secondary: Option<String>,
}

/// What the service read in a certificate (`X509CertificateInfo`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateInfo {
    /// Subject in text form.
    pub subject_name: String,
    /// SHA-1, upper-case hexadecimal.
    pub sha1_thumbprint: String,
    /// SHA-256, upper-case hexadecimal.
    pub sha256_thumbprint: String,
    /// Issuer in text form.
    pub issuer_name: String,
    /// RFC 3339.
    pub not_before_utc: String,
    /// RFC 3339.
    pub not_after_utc: String,
    /// Hexadecimal.
    pub serial_number: String,
    /// 1 to 3.
    pub version: u32,
}

/// One slot of a certificate pair: the text on the way in, what was read in it on the way out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSlot {
    /// PEM, base64 of DER, or base64 of PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Filled in by the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<CertificateInfo>,
}

/// Certificates by value, primary and secondary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatePair {
    /// The certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<CertificateSlot>,
    /// Another, for a roll-over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary: Option<CertificateSlot>,
}

/// `x509` of an attestation; exactly one kind is meant to be present.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct X509Attestation {
    /// By the names of uploaded CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_references: Option<CaReferences>,
    /// By value: the CA that signs the leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_certificates: Option<CertificatePair>,
    /// By value: the leaf itself, for an individual enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<CertificatePair>,
}

/// `symmetricKey` of an attestation. Answers carry the keys only where they are asked for
/// (`attestationmechanism`).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SymmetricKeys {
    /// Base64; the service makes one up where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<String>,
    /// Base64; either of the two admits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary_key: Option<String>,
}

impl std::fmt::Debug for SymmetricKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SymmetricKeys(..)")
    }
}

/// The kinds of attestation (`AttestationMechanismType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttestationKind {
    /// None given.
    #[default]
    None,
    /// A trusted platform module; not offered over MQTT.
    Tpm,
    /// A certificate.
    X509,
    /// A shared key.
    SymmetricKey,
}

/// How devices of an entry prove who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttestationMechanism {
    /// Which of the kinds below it is.
    #[serde(rename = "type")]
    pub kind: AttestationKind,
    /// Present when the type is `x509`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509Attestation>,
    /// Present when the type is `symmetricKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<SymmetricKeys>,
    /// Present when the type is `tpm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Value>,
}

impl AttestationMechanism {
    /// Attestation by certificate.
    pub fn x509(x509: X509Attestation) -> Self {
        AttestationMechanism { kind: AttestationKind::X509, x509: Some(x509), ..Self::default() }
    }

    /// Attestation by shared key; keys left out are made up by the service.
    pub fn symmetric_key(primary: Option<&SharedKey>, secondary: Option<&SharedKey>) -> Self {
        let text = |key: Option<&SharedKey>| key.map(SharedKey::to_base64);
        let keys = SymmetricKeys { primary_key: text(primary), secondary_key: text(secondary) };
        AttestationMechanism {
            kind: AttestationKind::SymmetricKey,
            symmetric_key: Some(keys),
            ..Self::default()
        }
    }
}

/// How devices are spread over the linked hubs. `custom` is possible on an enrollment only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AllocationPolicy {
    /// By a hash, in proportion to the hubs' weights.
    #[default]
    Hashed,
    /// The hub with the lowest latency.
    GeoLatency,
    /// The one hub the enrollment names.
    Static,
    /// As a webhook says.
    Custom,
}

/// Who is asked under [`AllocationPolicy::Custom`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomAllocation {
    /// Where the request is posted.
    pub webhook_url: String,
    /// Which shape of request; at least `2018-09-01-preview`.
    pub api_version: String,
}

/// What becomes of a device that registers again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReprovisionPolicy {
    /// Whether it may be assigned to another hub.
    pub update_hub_assignment: bool,
    /// Whether its twin moves along, instead of starting from the initial twin.
    pub migrate_device_data: bool,
}

impl Default for ReprovisionPolicy {
    fn default() -> Self {
        ReprovisionPolicy { update_hub_assignment: true, migrate_device_data: true }
    }
}

/// What groups and individual enrollments have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// How its devices attest. A bulk deletion may leave it out.
    #[serde(default)]
    pub attestation: AttestationMechanism,
    /// Whether it lets devices in.
    #[serde(default)]
    pub provisioning_status: ProvisioningStatus,
    /// `{"iotEdge":false}` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Value>,
    /// What happens at a registration after the first; the default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// Overrides the instance's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_policy: Option<AllocationPolicy>,
    /// Candidate hubs; absent means all linked hubs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iot_hubs: Option<Vec<String>>,
    /// The older way to name one candidate hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iot_hub_host_name: Option<String>,
    /// Who is asked under the policy `custom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_allocation_definition: Option<CustomAllocation>,
    /// The twin a device starts from: `{"tags":{…},"properties":{"desired":{…}}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<Value>,
    /// Name of a certificate issuance policy (2025-07-01-preview and later).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_policy_name: Option<String>,
    /// Changes with every write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<String>,
    /// Read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<String>,
}

/// An enrollment group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentGroup {
    /// Its name.
    pub enrollment_group_id: String,
    /// Everything else.
    #[serde(flatten)]
    pub terms: Terms,
}

impl EnrollmentGroup {
    /// A new enabled group.
    pub fn new(name: &str, attestation: AttestationMechanism) -> Self {
        let terms = Terms { attestation, ..Terms::default() };
        EnrollmentGroup { enrollment_group_id: name.to_owned(), terms }
    }

    /// A new enabled group with the given X.509 attestation.
    pub fn x509(name: &str, x509: X509Attestation) -> Self {
        Self::new(name, AttestationMechanism::x509(x509))
    }
}

/// An individual enrollment: one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndividualEnrollment {
    /// The device it is for.
    pub registration_id: String,
    /// Device id at the hub; the registration id where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// How its registration stands. Read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<RegistrationState>,
    /// Whatever the operator wants to keep with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional_device_information: Option<Value>,
    /// Everything else.
    #[serde(flatten)]
    pub terms: Terms,
}

impl IndividualEnrollment {
    /// A new enabled enrollment of one device.
    pub fn new(registration_id: &str, attestation: AttestationMechanism) -> Self {
        IndividualEnrollment {
            registration_id: registration_id.to_owned(),
            device_id: None,
            registration_state: None,
            optional_device_information: None,
            terms: Terms { attestation, ..Terms::default() },
        }
    }
}

/// What a bulk call does with its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BulkMode {
    /// Create; one that exists is an error.
    Create,
    /// Replace, or create, whatever the etag.
    Update,
    /// Replace where the item's etag is the current one.
    UpdateIfMatchETag,
    /// Delete.
    Delete,
}

/// Most items of one bulk call.
pub const MAX_BULK: usize = 10;

/// Body of `POST /enrollments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkEnrollments {
    /// One to ten of them.
    pub enrollments: Vec<IndividualEnrollment>,
    /// What to do with each.
    pub mode: BulkMode,
}

/// Body of `POST /enrollmentGroups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkGroups {
    /// One to ten of them.
    pub enrollment_groups: Vec<EnrollmentGroup>,
    /// What to do with each.
    pub mode: BulkMode,
}

/// Answer of a bulk call: some items may be done and others not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkResult {
    /// Whether every item was done.
    pub is_successful: bool,
    /// What was wrong with each that was not.
    #[serde(default)]
    pub errors: Vec<BulkError>,
}

/// Why one item of a bulk call was not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkError {
    /// Which individual enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// Which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// Six digits.
    pub error_code: u32,
    /// Text.
    pub error_status: String,
}

/// Body of the query calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// `SELECT * …`.
    #[serde(default)]
    pub query: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    // What the Node.js service client was observed to send.
    #[test]
    fn a_group_by_reference_is_read_as_the_official_client_sends_it() {
        let text = r#"{"enrollmentGroupId":"g","attestation":{"type":"x509","x509":{"caReferences":{"primary":"my-root"}}},"provisioningStatus":"enabled"}"#;
        let group: EnrollmentGroup = serde_json::from_str(text).expect("observed body");
        let references = CaReferences { primary: Some("my-root".into()), secondary: None };
        let expected = EnrollmentGroup::x509(
            "g",
            X509Attestation { ca_references: Some(references), ..Default::default() },
        );
        assert_eq!(group, expected);
    }
}
