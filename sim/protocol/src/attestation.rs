//! Enrollment groups of the service API and how they attest.
//!
//! Source: DPS REST specification, service data plane 2021-10-01.

use serde::{Deserialize, Serialize};

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
}

/// How devices of an entry prove who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationMechanism {
    /// `x509` here; the service also knows `symmetricKey`, `tpm` and `none`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Present when the type is `x509`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<X509Attestation>,
}

/// An enrollment group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentGroup {
    /// Its name.
    pub enrollment_group_id: String,
    /// How its devices attest.
    pub attestation: AttestationMechanism,
    /// Whether it lets devices in.
    #[serde(default)]
    pub provisioning_status: ProvisioningStatus,
    /// Candidate hubs; absent means all linked hubs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iot_hubs: Option<Vec<String>>,
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

impl EnrollmentGroup {
    /// A new enabled group with the given X.509 attestation.
    pub fn x509(name: &str, x509: X509Attestation) -> Self {
        EnrollmentGroup {
            enrollment_group_id: name.to_owned(),
            attestation: AttestationMechanism { kind: "x509".into(), x509: Some(x509) },
            provisioning_status: ProvisioningStatus::Enabled,
            iot_hubs: None,
            etag: None,
            created_date_time_utc: None,
            last_updated_date_time_utc: None,
        }
    }
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
