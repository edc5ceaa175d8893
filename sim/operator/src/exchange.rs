//! One call and its answer: credentials, headers, limits, and what became of it.

use crate::address::{self, Endpoint};
use crate::error::{OperatorError, origin};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, IF_MATCH};
use reqwest::{Client, Method, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sim_protocol::resource::InstancePath;
use sim_protocol::sas::{OWNER_POLICY, SharedKey};
use std::time::Duration;
use time::OffsetDateTime;

/// How long a service token is good for; the official C# client uses the same.
const TOKEN_LIFETIME: time::Duration = time::Duration::minutes(20);
/// What is sent as bearer token when none was given; the mock takes any.
const ANY_TOKEN: &str = "rollcall";
/// Pages of registrations are the largest answers; nothing legitimate comes near this.
const LARGEST_ANSWER: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Carries the place to go on from, in both directions.
pub(crate) const CONTINUATION: &str = "x-ms-continuation";

/// The person at the portal, with a connection pool and credentials for one instance.
#[derive(Clone)]
pub struct Operator {
    client: Client,
    pub(crate) resource_manager: Url,
    pub(crate) service: Url,
    pub(crate) instance: InstancePath,
    bearer: HeaderValue,
    service_key: Option<SharedKey>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator")
            .field("resource_manager", &self.resource_manager.as_str())
            .field("service", &self.service.as_str())
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// A call before its credential.
pub(crate) struct Call<'a> {
    /// Completes "cannot …".
    pub(crate) attempted: String,
    pub(crate) method: Method,
    pub(crate) url: String,
    /// Bare, as the resource manager wants it.
    pub(crate) if_match: Option<&'a str>,
    pub(crate) continuation: Option<&'a str>,
    pub(crate) body: Option<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// A call with neither body nor condition.
    pub(crate) fn new(method: Method, url: String, attempted: impl Into<String>) -> Self {
        Call { attempted: attempted.into(), method, url, if_match: None, continuation: None, body: None }
    }

    /// Only if the thing still has this etag.
    pub(crate) fn if_match(mut self, etag: Option<&'a str>) -> Self {
        self.if_match = etag;
        self
    }

    /// With a JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, OperatorError> {
        match serde_json::to_vec(body) {
            Ok(bytes) => {
                self.body = Some(bytes);
                Ok(self)
            }
            Err(error) => Err(OperatorError::Malformed {
                attempted: self.attempted,
                url: origin(&self.url),
                reason: format!("its body cannot be written as JSON: {error}"),
            }),
        }
    }
}

/// A success, its body not yet read as anything.
pub(crate) struct Answer {
    attempted: String,
    url: String,
    body: Vec<u8>,
    /// Present while there is more.
    pub(crate) continuation: Option<String>,
}

impl Answer {
    /// Reads the body as JSON of the kind expected.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, OperatorError> {
        serde_json::from_slice(&self.body).map_err(|error| self.nonsense(error))
    }

    /// The answer is not what the specification says.
    pub(crate) fn nonsense(&self, reason: impl std::fmt::Display) -> OperatorError {
        OperatorError::Malformed {
            attempted: self.attempted.clone(),
            url: origin(&self.url),
            reason: reason.to_string(),
        }
    }
}

impl Operator {
    /// Prepares calls to an instance; nothing is sent yet.
    pub fn new(endpoint: Endpoint) -> Result<Self, OperatorError> {
        let local = endpoint.is_local();
        let Endpoint { resource_manager, service, instance, trust_root, service_key, bearer } = endpoint;
        let resource_manager = address::base("resource manager", &resource_manager)?;
        let service = address::base("service API", &service)?;
        let token = bearer.as_deref().unwrap_or(ANY_TOKEN);
        let bearer = secret(&format!("Bearer {token}")).ok_or(OperatorError::BearerToken)?;
        // A redirect would carry the credential to an address nobody named.
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .https_only(true)
            .user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")));
        if local {
            builder = builder.no_proxy();
        }
        if let Some(pem) = trust_root {
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| OperatorError::TrustRoot { reason: error.to_string() })?;
            if roots.is_empty() {
                return Err(OperatorError::TrustRoot { reason: "there is no certificate in it".into() });
            }
            builder = builder.tls_certs_only(roots);
        }
        let client = builder.build().map_err(|source| OperatorError::Client { source })?;
        Ok(Operator { client, resource_manager, service, instance, bearer, service_key })
    }

    /// A call to the resource manager.
    pub(crate) async fn manage(&self, call: Call<'_>) -> Result<Answer, OperatorError> {
        self.exchange(call, self.bearer.clone()).await
    }

    /// A call to the service API, with a token signed for `now` and a while after.
    pub(crate) async fn serve(&self, call: Call<'_>, now: OffsetDateTime) -> Result<Answer, OperatorError> {
        let Some(key) = &self.service_key else {
            return Err(OperatorError::NoServiceKey { attempted: call.attempted });
        };
        let expiry = u64::try_from(now.saturating_add(TOKEN_LIFETIME).unix_timestamp()).unwrap_or(0);
        let token = key.token(&address::token_resource(&self.service), OWNER_POLICY, expiry);
        // Base64, percent encoding and digits: a header can carry any of them.
        let Some(token) = secret(&token) else {
            return Err(OperatorError::NoServiceKey { attempted: call.attempted });
        };
        self.exchange(call, token).await
    }

    async fn exchange(&self, call: Call<'_>, authorization: HeaderValue) -> Result<Answer, OperatorError> {
        let Call { attempted, method, url, if_match, continuation, body } = call;
        let bodiless_write = body.is_none() && method != Method::GET;
        let mut request = self.client.request(method, &url).header(AUTHORIZATION, authorization);
        if let Some(etag) = if_match {
            request = request.header(IF_MATCH, etag);
        }
        if let Some(place) = continuation {
            request = request.header(CONTINUATION, place);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(body);
        }
        if bodiless_write {
            // The real service answers 411 to a POST that leaves it out.
            request = request.header(CONTENT_LENGTH, "0");
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(source) => return Err(OperatorError::transport(attempted, &url, source)),
        };
        let status = response.status();
        let continuation = response
            .headers()
            .get(CONTINUATION)
            .and_then(|place| place.to_str().ok())
            .filter(|place| !place.is_empty())
            .map(str::to_owned);
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= LARGEST_ANSWER => {
                    body.extend_from_slice(&chunk)
                }
                Ok(Some(_)) => {
                    let reason = format!("it is longer than {LARGEST_ANSWER} bytes");
                    return Err(OperatorError::Malformed { attempted, url: origin(&url), reason });
                }
                Ok(None) => break,
                Err(source) => return Err(OperatorError::transport(attempted, &url, source)),
            }
        }
        if !status.is_success() {
            return Err(OperatorError::refused(attempted, status.as_u16(), &body));
        }
        Ok(Answer { attempted, url, body, continuation })
    }
}

/// A header value that is left out of debug output.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_settings_are_refused_before_anything_is_sent() {
        let good = Endpoint::at("https://127.0.0.1:1");
        let with = |trust_root: Option<&[u8]>, bearer: Option<&str>| {
            Operator::new(Endpoint {
                trust_root: trust_root.map(<[u8]>::to_vec),
                bearer: bearer.map(str::to_owned),
                ..good.clone()
            })
        };
        assert!(matches!(with(Some(&b"no PEM"[..]), None), Err(OperatorError::TrustRoot { .. })));
        assert!(matches!(with(None, Some("two\nlines")), Err(OperatorError::BearerToken)));
        assert!(matches!(
            Operator::new(Endpoint::at("http://127.0.0.1:1")),
            Err(OperatorError::Address { .. })
        ));
    }
}
