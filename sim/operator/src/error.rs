//! Why a call did not do what was asked, and what to do about it.

use crate::credential::{SourceFault, TokenSource};
use serde_json::Value;
use sim_protocol::resource::{ResourceError, codes};
use sim_protocol::{InvalidName, ServiceError};
use std::error::Error;

/// Longest text of a body that is no known error body which is quoted.
const QUOTED: usize = 200;

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// An address that cannot be used; nothing was sent.
    #[error("cannot use `{url}` as the address of the {what}: {reason}")]
    Address {
        /// Which of the two planes.
        what: &'static str,
        /// The text as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The trust root holds no certificate that can be used; nothing was sent.
    #[error("cannot use the trust root: {reason}")]
    TrustRoot {
        /// What is wrong with it.
        reason: String,
    },
    /// The bearer token cannot stand in a header; nothing was sent.
    #[error("cannot send the bearer token: it has characters that no header can carry")]
    BearerToken,
    /// The HTTPS client could not be built; nothing was sent.
    #[error("cannot prepare HTTPS calls")]
    Client {
        /// The cause.
        source: reqwest::Error,
    },
    /// A call to the service API without a key to sign for it; nothing was sent.
    #[error("cannot {attempted}: no key of a policy was given")]
    NoServiceKey {
        /// What was being done.
        attempted: String,
    },
    /// No source gave a bearer token; nothing was sent.
    #[error("cannot {attempted}: no bearer token from {}", listed(.faults))]
    NoToken {
        /// What was being done.
        attempted: String,
        /// What was wrong with each source that was asked.
        faults: Vec<SourceFault>,
    },
    /// A name the service would not take; nothing was sent.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The verification certificate could not be made; nothing was sent for it.
    #[error("cannot {attempted}: the verification certificate cannot be signed")]
    Signing {
        /// What was being done.
        attempted: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Nobody answered.
    #[error("cannot {attempted}: no answer from {url}")]
    Unreachable {
        /// What was being done.
        attempted: String,
        /// Where.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// Somebody answered whose certificate is not trusted.
    #[error("cannot {attempted}: the certificate of {url} is not trusted")]
    Untrusted {
        /// What was being done.
        attempted: String,
        /// Where.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The service said no.
    #[error(
        "cannot {attempted}: refused with status {status}{}: {message}{}",
        in_parentheses(.code),
        pause(.retry_after)
    )]
    Refused {
        /// What was being done.
        attempted: String,
        /// HTTP status.
        status: u16,
        /// `IHnnnnnn` of the resource manager, six digits of the service API.
        code: Option<String>,
        /// The service's text.
        message: String,
        /// Seconds after which to try again, where the service says.
        retry_after: Option<u64>,
    },
    /// The answer is not what the specification says.
    #[error("cannot {attempted}: the answer of {url} makes no sense: {reason}")]
    Malformed {
        /// What was being done.
        attempted: String,
        /// Where.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn in_parentheses(code: &Option<String>) -> String {
    code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default()
}

fn pause(retry_after: &Option<u64>) -> String {
    retry_after.map(|seconds| format!("; retry after {seconds} s")).unwrap_or_default()
}

fn listed(faults: &[SourceFault]) -> String {
    faults.iter().map(SourceFault::to_string).collect::<Vec<_>>().join("; ")
}

impl OperatorError {
    /// What to do next, a whole sentence.
    pub fn advice(&self) -> &'static str {
        match self {
            OperatorError::Address { .. } => "Give a whole URL such as https://127.0.0.1:8443.",
            OperatorError::TrustRoot { .. } => {
                "Give the PEM file of the root that signed the server's certificate."
            }
            OperatorError::BearerToken => "Give the token alone, on one line, without quotes.",
            OperatorError::Client { .. } => "Check the trust root, or the trust store of this machine.",
            OperatorError::NoServiceKey { .. } => {
                "Give the key of the policy `provisioningserviceowner`, which the mock prints when it starts, or a connection string."
            }
            OperatorError::NoToken { faults, .. } => advice_on_sources(faults),
            OperatorError::Name(_) => "Choose another name.",
            OperatorError::Signing { .. } => {
                "Use the key of the uploaded CA certificate, and a kind of key that can sign."
            }
            OperatorError::Unreachable { .. } => "Check that the service runs, and its address and port.",
            OperatorError::Untrusted { .. } => {
                "Give the root that signed the server's certificate as the trust root, and address the server by a name in its certificate."
            }
            OperatorError::Refused { status, code, .. } => advice_on_refusal(*status, code.as_deref()),
            OperatorError::Malformed { .. } => "Check that the address is that of a provisioning service.",
        }
    }

    /// Whether the service says that the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, OperatorError::Refused { status: 404, .. })
    }

    /// Whether the thing was changed by somebody else since its etag was read.
    pub fn is_stale(&self) -> bool {
        matches!(self, OperatorError::Refused { status: 412, .. })
    }

    /// Seconds after which to try again, where the service throttles and says.
    pub fn throttled(&self) -> Option<u64> {
        match self {
            OperatorError::Refused { status: 429, retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Makes sense of a failure below HTTP.
    pub(crate) fn transport(attempted: String, url: &str, source: reqwest::Error) -> Self {
        let (url, source) = (origin(url), source.without_url());
        if source.is_builder() {
            return OperatorError::Malformed { attempted, url, reason: source.to_string() };
        }
        match distrust(&source) {
            true => OperatorError::Untrusted { attempted, url, source },
            false => OperatorError::Unreachable { attempted, url, source },
        }
    }

    /// Makes sense of a status that is no success.
    pub(crate) fn refused(attempted: String, status: u16, retry_after: Option<u64>, body: &[u8]) -> Self {
        let (code, message) = code_and_message(body);
        OperatorError::Refused { attempted, status, code, message, retry_after }
    }
}

/// Scheme, host and port: enough to find the culprit, without ids in the path.
pub(crate) fn origin(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

fn advice_on_sources(faults: &[SourceFault]) -> &'static str {
    match faults {
        [SourceFault { source: TokenSource::Environment, .. }] => {
            "Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or AZURE_FEDERATED_TOKEN_FILE in place of the last."
        }
        [SourceFault { source: TokenSource::AzureCli, .. }] => "Install the Azure CLI and run `az login`.",
        [SourceFault { source: TokenSource::ManagedIdentity, .. }] => {
            "Run this on an Azure machine that has an identity; where it has several, set AZURE_CLIENT_ID."
        }
        _ => {
            "Run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or give a token or a key."
        }
    }
}

fn advice_on_refusal(status: u16, code: Option<&str>) -> &'static str {
    match (status, code) {
        (_, Some(codes::POP_FAILED)) => {
            "Sign the verification certificate with the key of the uploaded CA itself, not with that of a CA above or below it."
        }
        (_, Some(codes::POP_CODE_MISMATCH)) => {
            "Generate a code again and sign exactly that code, letter case included; an older code is dead."
        }
        (_, Some(codes::POP_EXPIRED)) => {
            "Make a new verification certificate; one day of validity is enough. Check the clock of this machine."
        }
        (_, Some(codes::POP_NO_CODE)) => "Generate a verification code first, then sign exactly that code.",
        (_, Some(codes::CERTIFICATE_INVALID)) => {
            "Send one certificate, as PEM or DER, without its private key."
        }
        (_, Some(codes::NAME_INVALID)) => {
            "Choose another name; letters, digits, `-`, `.` and `_` are allowed, at most 256 of them."
        }
        (_, Some(codes::ETAG_MISSING)) => "It exists already: fetch it and send its etag to replace it.",
        (_, Some(codes::LIMIT)) => "Delete a CA certificate that is no longer needed; an instance holds 25.",
        (_, Some(codes::ETAG_MISMATCH)) | (412, _) => {
            "Somebody changed it meanwhile: fetch it again and retry with its new etag."
        }
        (_, Some(codes::UNAUTHORIZED)) => "Give a bearer token for the resource manager.",
        (_, Some(codes::NOT_FOUND)) | (404, _) => "Check the name; list what there is.",
        (401, _) => {
            "Check the key, the name of its policy, and the clock of this machine; the policy needs EnrollmentRead or EnrollmentWrite for enrollments and groups, RegistrationStatusRead or RegistrationStatusWrite for registrations."
        }
        (403, _) => "The credential is good but lacks the right; ask for one that has it.",
        (409, _) => "It exists already, or is being changed: change it with `update`, or delete it first.",
        (429, _) => "Too many calls: wait as long as the service says, or a minute, and retry.",
        (300..=399, _) => "The address redirects elsewhere; give the final one.",
        (500..=599, _) => "The service is in trouble: retry later.",
        _ => "Read the service's text above.",
    }
}

/// The code and text of an error body, in any form that was seen.
fn code_and_message(body: &[u8]) -> (Option<String>, String) {
    let (code, message) = known_forms(body).unwrap_or_else(|| (None, quoted(body)));
    // The resource manager was seen to put its own code at the end of the text, behind another in the field.
    let code = match code {
        Some(code) if code.starts_with("IH") => Some(code),
        other => trailing_code(&message).or(other).filter(|code| !code.is_empty()),
    };
    let message = if message.is_empty() { "no text".to_owned() } else { message };
    (code, message)
}

fn known_forms(body: &[u8]) -> Option<(Option<String>, String)> {
    // A struct would also be read from an array of its fields, which no error body is.
    let value: Value = serde_json::from_slice(body).ok().filter(Value::is_object)?;
    if let Ok(ResourceError { error }) = serde_json::from_slice(body) {
        return Some((Some(error.code), error.message));
    }
    if let Ok(error) = serde_json::from_slice::<ServiceError>(body) {
        return Some((Some(error.error_code.to_string()), error.message));
    }
    let message = value.get("message").or_else(|| value.get("Message"))?.as_str()?.to_owned();
    let code = match value.get("code") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    Some((code, message))
}

/// `… errorcode: IHnnnnnn` somewhere in a text.
fn trailing_code(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("errorcode: ")?;
    let code: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
    code.starts_with("IH").then_some(code)
}

fn quoted(body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body).trim().chars().take(QUOTED).collect();
    text.replace(char::is_control, " ")
}

/// Whether a certificate was judged and found wanting anywhere below an error.
fn distrust(error: &(dyn Error + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref::<rustls::Error>() {
        return true;
    }
    // `io::Error::source` skips the error that an `io::Error` wraps.
    let below = match error.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    };
    below.is_some_and(distrust)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn refused(status: u16, body: &str) -> OperatorError {
        OperatorError::refused("upload CA certificate `root`".into(), status, None, body.as_bytes())
    }

    #[test]
    fn every_form_of_error_body_gives_code_and_text() {
        for (body, code, message) in [
            (r#"{"error":{"code":"IH400053","message":"m"}}"#, Some("IH400053"), "m"),
            (
                r#"{"errorCode":412001,"trackingId":"t","message":"m","timestampUtc":"x"}"#,
                Some("412001"),
                "m",
            ),
            (r#"{"code":400053,"httpStatusCode":"BadRequest","message":"m"}"#, Some("400053"), "m"),
            (
                r#"{"error":{"code":"400","message":"m. errorcode: IH400053, x"}}"#,
                Some("IH400053"),
                "m. errorcode: IH400053, x",
            ),
            (r#"{"Message":"ErrorCode:ArgumentInvalid;m"}"#, None, "ErrorCode:ArgumentInvalid;m"),
            (r#"{"error":{"code":"","message":""}}"#, None, "no text"),
            ("<html>\n", None, "<html>"),
            ("[1]", None, "[1]"),
            ("", None, "no text"),
        ] {
            let OperatorError::Refused { code: found, message: text, .. } = refused(400, body) else {
                panic!("{body} is no refusal")
            };
            assert_eq!((found.as_deref(), text.as_str()), (code, message), "{body}");
        }
    }

    #[test]
    fn each_refusal_has_its_own_advice() {
        let coded = |status: u16, code: &str| {
            refused(status, &format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#)).advice()
        };
        let table = [
            (coded(400, codes::POP_FAILED), "the key of the uploaded CA itself"),
            (coded(400, codes::POP_CODE_MISMATCH), "sign exactly that code"),
            (coded(400, codes::POP_EXPIRED), "one day of validity"),
            (coded(400, codes::POP_NO_CODE), "Generate a verification code first"),
            (coded(400, codes::CERTIFICATE_INVALID), "PEM or DER"),
            (coded(400, codes::NAME_INVALID), "another name"),
            (coded(400, codes::ETAG_MISSING), "exists already"),
            (coded(404, codes::NOT_FOUND), "Check the name"),
            (coded(409, codes::LIMIT), "25"),
            (coded(412, codes::ETAG_MISMATCH), "fetch it again"),
            (coded(401, codes::UNAUTHORIZED), "bearer token"),
            (refused(412, "").advice(), "fetch it again"),
            (refused(401, "").advice(), "the clock"),
            (refused(401, "").advice(), "EnrollmentWrite"),
            (refused(409, "").advice(), "exists already"),
            (refused(429, "").advice(), "wait"),
            (refused(503, "").advice(), "retry later"),
            (refused(302, "").advice(), "redirects"),
            (refused(400, "").advice(), "the service's text"),
        ];
        for (advice, words) in table {
            assert!(advice.contains(words) && advice.ends_with('.'), "{advice:?} should say {words:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_was_attempted_and_with_what() {
        let error = refused(412, r#"{"error":{"code":"IH412001","message":"Invalid ETag supplied."}}"#);
        let text =
            "cannot upload CA certificate `root`: refused with status 412 (IH412001): Invalid ETag supplied.";
        assert_eq!(error.to_string(), text);
        assert!(error.is_stale() && !error.is_not_found());
        assert!(refused(404, "").is_not_found());
    }

    #[test]
    fn a_throttled_call_says_how_long_to_wait() {
        let throttled = |status, wait| OperatorError::refused("x".into(), status, wait, b"");
        assert_eq!(throttled(429, Some(31)).throttled(), Some(31));
        assert!(throttled(429, Some(31)).to_string().ends_with("retry after 31 s"));
        assert_eq!(throttled(429, None).throttled(), None);
        assert_eq!(throttled(503, Some(31)).throttled(), None);
    }

    #[test]
    fn a_token_that_nobody_gave_names_every_source_and_what_to_do_about_it() {
        let fault = |source| SourceFault { source, reason: "broken".into() };
        let error = |sources: &[TokenSource]| OperatorError::NoToken {
            attempted: "x".into(),
            faults: sources.iter().copied().map(fault).collect(),
        };
        use TokenSource::{AzureCli, Environment, ManagedIdentity};
        for (sources, words) in [
            (&[AzureCli][..], "az login"),
            (&[Environment], "AZURE_CLIENT_SECRET"),
            (&[ManagedIdentity], "identity"),
            (&[Environment, AzureCli, ManagedIdentity], "az login"),
        ] {
            let error = error(sources);
            assert!(error.advice().contains(words), "{}", error.advice());
            assert!(sources.iter().all(|source| error.to_string().contains(&source.to_string())), "{error}");
        }
    }

    #[test]
    fn distrust_is_found_however_deep_it_is_wrapped() {
        let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(distrust(&io::Error::other(io::Error::other(bad))));
        assert!(!distrust(&io::Error::other(rustls::Error::DecryptError)));
        assert!(!distrust(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }

    #[test]
    fn the_address_in_an_error_is_without_its_path() {
        assert_eq!(origin("https://127.0.0.1:8443/subscriptions/x?api-version=1"), "https://127.0.0.1:8443");
        assert_eq!(origin("nonsense"), "nonsense");
    }
}
