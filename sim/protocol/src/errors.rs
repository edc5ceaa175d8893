//! Error bodies and six-digit codes.
//!
//! No complete public list of codes exists; each code here was seen on the wire by somebody, or is marked
//! `ours:`. Six digits are HTTP status × 1000 + a serial.

use serde::{Deserialize, Serialize};

/// `ProvisioningServiceErrorDetails`: the body of every refusal on the device and service APIs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceError {
    /// Six digits.
    pub error_code: u32,
    /// GUID, empty in throttle captures.
    #[serde(default)]
    pub tracking_id: String,
    /// Text for people; nothing may decide by it.
    #[serde(default)]
    pub message: String,
    /// RFC 3339 with seven fraction digits.
    #[serde(default)]
    pub timestamp_utc: String,
}

impl ServiceError {
    /// The HTTP-like status that goes with the code.
    pub fn status(&self) -> u16 {
        u16::try_from(self.error_code / 1000).unwrap_or(500)
    }
}

/// A refusal of the service: code and text, before the moment and tracking id are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// Six digits.
    pub code: u32,
    /// Text as seen on the wire where it was seen.
    pub message: &'static str,
}

impl Refusal {
    /// The HTTP-like status that goes with the code.
    pub const fn status(self) -> u16 {
        (self.code / 1000) as u16
    }
}

macro_rules! refusals {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $message:literal;)*) => {
        $($(#[$meta])* pub const $name: Refusal = Refusal { code: $code, message: $message };)*
    };
}

refusals! {
    /// A registration id with characters the service refuses.
    INVALID_REGISTRATION_ID = 400004, "Invalid RegistrationId";
    /// `ours:` the code for an argument the schema has no room for; the number is IoT Hub's "argument invalid".
    BAD_ARGUMENT = 400004, "BadRequest";
    /// A body that is not the JSON asked for.
    DESERIALIZATION = 400012, "Deserialization error";
    /// A custom allocation webhook gave no hub (asynchronous: under status `failed`, with a text of its own).
    CUSTOM_ALLOCATION = 400207, "Custom allocation failed";
    /// `ours:` an api-version that is missing or that nobody knows.
    API_VERSION = 400004, "Unknown api version.";
    /// No linked hub to assign (asynchronous: under status `failed`).
    NO_HUB = 400208, "No IoT hub is available for assignment.";
    /// Neither a client certificate nor a token.
    NO_CREDENTIAL = 401000, "Unauthorized";
    /// The leaf, or a link of its path, cannot be used.
    INVALID_CERTIFICATE = 401002, "Invalid certificate.";
    /// No verified CA on any path from the leaf.
    CA_NOT_FOUND = 401002, "CA certificate not found.";
    /// The device presented the group's own certificate as its leaf.
    SIGNING_CERTIFICATE_MISMATCH = 401002, "Signing certificate info did not match chain elements.";
    /// A good path that no enrollment wants, or a CN that is not the registration id.
    UNAUTHORIZED = 401002, "Unauthorized";
    /// `ours:` more registrations than an instance keeps; the number is IoT Hub's "quota exceeded".
    QUOTA = 403002, "The limit of registrations is reached.";
    /// `ours:` a policy without the right to this call; the number is in the style of the others.
    FORBIDDEN = 401003, "Unauthorized";
    /// `ours:` a method that the path does not have.
    METHOD = 405001, "Method not allowed.";
    /// `ours:` a body longer than the documented largest message; the number is IoT Hub's.
    TOO_LARGE = 413001, "Message too large.";
    /// `ours:` a body of another type than JSON.
    MEDIA_TYPE = 415001, "Unsupported media type.";
    /// An enrollment, CA or registration that does not exist.
    NOT_FOUND = 404201, "Not found.";
    /// `ours:` text; the code was seen for a concurrent registration.
    CONFLICT = 409203, "Precondition failed.";
    /// `ours:` the number is IoT Hub's "precondition failed".
    ETAG_MISMATCH = 412001, "Invalid ETag supplied.";
    /// Too many operations.
    THROTTLED = 429001, "Operations are being throttled for this tenant.";
    /// `ours:` the number is IoT Hub's "server error".
    INTERNAL = 500001, "Internal server error.";
}

#[cfg(test)]
mod tests {
    use super::*;

    // 156 bytes is what two device logs show for this refusal.
    #[test]
    fn the_body_of_ca_not_found_has_the_length_seen_in_device_logs() {
        let body = ServiceError {
            error_code: CA_NOT_FOUND.code,
            tracking_id: "8ad0463c-6427-4479-9dfa-3e8bb7003e9b".into(),
            message: CA_NOT_FOUND.message.into(),
            timestamp_utc: "2021-03-16T23:08:40.1234567Z".into(),
        };
        assert_eq!(serde_json::to_string(&body).expect("serialises").len(), 156);
        assert_eq!(body.status(), 401);
    }

    #[test]
    fn an_info_field_and_a_missing_tracking_id_are_tolerated() {
        let text = r#"{"errorCode":429001,"message":"slow","timestampUtc":"x","info":null}"#;
        let body: ServiceError = serde_json::from_str(text).expect("reads");
        assert_eq!((body.status(), body.tracking_id.as_str()), (429, ""));
    }
}
