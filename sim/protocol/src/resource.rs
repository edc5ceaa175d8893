//! CA certificates as the resource manager shows them (`…/provisioningServices/{name}/certificates`).
//!
//! Source: resource-manager specification `Microsoft.Devices` and recorded traffic of the official CLI. Bodies
//! are flat up to 2021-10-15 and nested from 2022-02-05; both are accepted whatever the version.

use serde::{Deserialize, Serialize};

/// The api-version this tool's operator sends.
pub const API_VERSION: &str = "2022-12-12";

/// Which DPS instance, in the resource manager's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstancePath {
    /// Subscription id, a GUID.
    pub subscription: String,
    /// Resource group.
    pub resource_group: String,
    /// Name of the provisioning service.
    pub service: String,
}

impl Default for InstancePath {
    /// The instance that the mock plays when nobody names another.
    fn default() -> Self {
        InstancePath {
            subscription: "00000000-0000-0000-0000-000000000000".into(),
            resource_group: "rollcall".into(),
            service: "rollcall".into(),
        }
    }
}

impl InstancePath {
    /// The path of the certificate collection, without query.
    pub fn certificates(&self) -> String {
        format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Devices/provisioningServices/{}/certificates",
            self.subscription, self.resource_group, self.service
        )
    }
}

/// Inner part of a certificate body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateBody {
    /// Base64 of the uploaded file's bytes, PEM or DER.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Ask for verification on upload, without proof of possession. Left out means false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_verified: Option<bool>,
}

/// Body of `PUT …/certificates/{name}`, flat or nested.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutCertificate {
    /// Nested form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<CertificateBody>,
    /// Flat form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Flat form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_verified: Option<bool>,
}

impl PutCertificate {
    /// The body in either form; the nested one wins.
    pub fn body(self) -> CertificateBody {
        let PutCertificate { properties, certificate, is_verified } = self;
        properties.unwrap_or(CertificateBody { certificate, is_verified })
    }
}

/// Body of `POST …/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyCertificate {
    /// Base64 of the verification certificate file's bytes, PEM or DER.
    pub certificate: String,
}

/// `properties` of a certificate answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateProperties {
    /// Common name alone, as recorded.
    pub subject: String,
    /// `notAfter`, RFC 1123.
    pub expiry: String,
    /// SHA-1, upper-case hexadecimal.
    pub thumbprint: String,
    /// Whether possession was proven or vouched for.
    pub is_verified: bool,
    /// Null except while a code is pending.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Recorded as year 1, always.
    pub created: String,
    /// Last write, RFC 1123.
    pub updated: String,
    /// 48 upper-case hexadecimal digits, while a code is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification_code: Option<String>,
}

/// One CA certificate as answered by every call (`CertificateResponse`, `VerificationCodeResponse`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateResponse {
    /// What is known of it.
    pub properties: CertificateProperties,
    /// Resource id.
    #[serde(default)]
    pub id: String,
    /// Friendly name.
    pub name: String,
    /// Resource type.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Changes with every write; goes into `If-Match`.
    pub etag: String,
}

/// Answer of the list call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateList {
    /// All of them; there is no next link.
    pub value: Vec<CertificateResponse>,
}

/// Error body of the resource manager: `{"error":{"code":…,"message":…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceError {
    /// The error.
    pub error: ResourceErrorBody,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceErrorBody {
    /// `IHnnnnnn`.
    pub code: String,
    /// Text for people.
    pub message: String,
}

/// Codes of the resource manager; those marked `ours:` have no public capture.
pub mod codes {
    /// Proof of possession failed: not signed by the uploaded CA (seen).
    pub const POP_FAILED: &str = "IH400053";
    /// `ours:` the code in the verification certificate is not the one generated.
    pub const POP_CODE_MISMATCH: &str = "IH400054";
    /// `ours:` the verification certificate is outside its validity.
    pub const POP_EXPIRED: &str = "IH400055";
    /// `ours:` the body holds no certificate that can be read.
    pub const CERTIFICATE_INVALID: &str = "IH400050";
    /// `ours:` verify without a code having been generated.
    pub const POP_NO_CODE: &str = "IH400056";
    /// `ours:` a write without If-Match.
    pub const ETAG_MISSING: &str = "IH400060";
    /// `ours:` a name with characters the service does not take.
    pub const NAME_INVALID: &str = "IH400061";
    /// `ours:` no such certificate.
    pub const NOT_FOUND: &str = "IH404001";
    /// `ours:` more than 25 CA certificates.
    pub const LIMIT: &str = "IH409001";
    /// `ours:` the service could not do its work.
    pub const INTERNAL: &str = "IH500001";
    /// Stale etag (seen).
    pub const ETAG_MISMATCH: &str = "IH412001";
    /// The api-version is missing or malformed (the resource manager's own word).
    pub const API_VERSION: &str = "InvalidApiVersionParameter";
    /// `ours:` a method that the path does not have.
    pub const METHOD: &str = "IH405001";
    /// `ours:` a body that is too long.
    pub const TOO_LARGE: &str = "IH413001";
    /// `ours:` a body that is not JSON by its own word.
    pub const MEDIA_TYPE: &str = "IH415001";
    /// `ours:` too many calls.
    pub const THROTTLED: &str = "IH429001";
    /// `ours:` no bearer token.
    pub const UNAUTHORIZED: &str = "IH401001";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_and_nested_bodies_are_the_same_body() {
        let flat: PutCertificate =
            serde_json::from_str(r#"{"certificate":"QQ==","isVerified":true}"#).expect("flat");
        let nested: PutCertificate =
            serde_json::from_str(r#"{"properties":{"certificate":"QQ==","isVerified":true}}"#)
                .expect("nested");
        assert_eq!(flat.body(), nested.body());
        let bare: PutCertificate = serde_json::from_str(r#"{"certificate":"QQ=="}"#).expect("bare");
        assert_eq!(bare.body().is_verified, None);
    }
}
