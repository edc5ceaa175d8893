//! One call and its answer: credentials, headers, limits, and what became of it.

use crate::address::{self, Endpoint};
use crate::credential::{self, Entra};
use crate::error::{OperatorError, origin};
use crate::rehearsal::{Notebook, PlannedCall};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, IF_MATCH, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sim_protocol::resource::InstancePath;
use sim_protocol::sas::SharedKey;
use std::sync::Arc;
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
pub(crate) const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");

/// The person at the portal, with a connection pool and credentials for one instance.
#[derive(Clone)]
pub struct Operator {
    transport: Transport,
    pub(crate) resource_manager: Url,
    pub(crate) service: Url,
    pub(crate) instance: InstancePath,
    bearer: Bearer,
    signer: Signer,
}

/// What becomes of calls.
#[derive(Clone)]
enum Transport {
    /// They are made.
    Send(Client),
    /// They are written down, and a stand-in is their answer.
    Record(Notebook),
}

/// The credential for the resource manager.
#[derive(Clone)]
enum Bearer {
    Given(HeaderValue),
    Entra(Arc<Entra>),
}

/// The credential for the service API.
#[derive(Clone)]
enum Signer {
    Key { key: SharedKey, policy: String },
    Entra(Arc<Entra>),
    Nobody,
}

/// Who lets one call in: a header, or a source of tokens and what the token is to be good for.
enum Pass<'a> {
    Header(HeaderValue),
    Entra(&'a Entra, &'static str),
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
    /// The answer where calls are only written down; absent means the body comes back.
    stand_in: Option<Value>,
}

impl<'a> Call<'a> {
    /// A call with neither body nor condition.
    pub(crate) fn new(method: Method, url: String, attempted: impl Into<String>) -> Self {
        Call {
            attempted: attempted.into(),
            method,
            url,
            if_match: None,
            continuation: None,
            body: None,
            stand_in: None,
        }
    }

    /// What stands for the answer where calls are only written down.
    pub(crate) fn stands_in(mut self, answer: Value) -> Self {
        self.stand_in = Some(answer);
        self
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

    /// Every header but the credential.
    fn headers(&self) -> Vec<(HeaderName, String)> {
        let mut headers = Vec::new();
        if let Some(etag) = self.if_match {
            headers.push((IF_MATCH, etag.to_owned()));
        }
        if let Some(place) = self.continuation {
            headers.push((CONTINUATION, place.to_owned()));
        }
        if self.body.is_some() {
            headers.push((CONTENT_TYPE, "application/json; charset=utf-8".to_owned()));
        } else if self.method != Method::GET {
            // The real service answers 411 to a POST that leaves it out.
            headers.push((CONTENT_LENGTH, "0".to_owned()));
        }
        headers
    }

    /// The answer where the call is only written down.
    fn stand_in(self) -> Answer {
        let body = match (self.stand_in, self.body) {
            (Some(stand_in), _) => stand_in.to_string().into_bytes(),
            (None, Some(body)) => body,
            (None, None) => b"null".to_vec(),
        };
        Answer { attempted: self.attempted, url: self.url, body, continuation: None }
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
        let client = client(&endpoint)?;
        Self::over(Transport::Send(client), endpoint)
    }

    /// Prepares calls that are written down and never sent, not even those that only read. Answers are made up:
    /// what they would have told stands in later calls as a placeholder, and a call that only an answer would bring
    /// about, such as reading an entry's shared keys before a change, is missing. Needs no credential.
    pub fn rehearsing(endpoint: Endpoint) -> Result<Self, OperatorError> {
        Self::over(Transport::Record(Notebook::default()), endpoint)
    }

    fn over(transport: Transport, endpoint: Endpoint) -> Result<Self, OperatorError> {
        let Endpoint { resource_manager, service, instance, service_key, policy, bearer, credential, .. } =
            endpoint;
        let entra = credential.as_ref().map(|credential| Arc::new(Entra::new(credential)));
        let bearer = match (bearer, &entra) {
            (None, Some(entra)) => Bearer::Entra(entra.clone()),
            (token, _) => {
                let text = format!("Bearer {}", token.as_deref().unwrap_or(ANY_TOKEN));
                Bearer::Given(secret(&text).ok_or(OperatorError::BearerToken)?)
            }
        };
        let signer = match (service_key, entra) {
            (Some(key), _) => Signer::Key { key, policy },
            (None, Some(entra)) => Signer::Entra(entra),
            (None, None) => Signer::Nobody,
        };
        Ok(Operator {
            transport,
            resource_manager: address::base("resource manager", &resource_manager)?,
            service: address::base("service API", &service)?,
            instance,
            bearer,
            signer,
        })
    }

    /// Whether calls are only written down.
    pub fn is_rehearsal(&self) -> bool {
        matches!(self.transport, Transport::Record(_))
    }

    /// The calls written down so far; none where calls are made.
    pub fn planned(&self) -> Vec<PlannedCall> {
        match &self.transport {
            Transport::Send(_) => Vec::new(),
            Transport::Record(notebook) => notebook.calls(),
        }
    }

    /// A call to the resource manager.
    pub(crate) async fn manage(&self, call: Call<'_>) -> Result<Answer, OperatorError> {
        let pass = || {
            Ok(match &self.bearer {
                Bearer::Given(header) => Pass::Header(header.clone()),
                Bearer::Entra(entra) => Pass::Entra(entra, credential::MANAGEMENT),
            })
        };
        self.make(call, pass).await
    }

    /// A call to the service API, with a token signed for `now` and a while after.
    pub(crate) async fn serve(&self, call: Call<'_>, now: OffsetDateTime) -> Result<Answer, OperatorError> {
        let attempted = call.attempted.clone();
        let pass = || {
            let signed = match &self.signer {
                Signer::Key { key, policy } => {
                    let expiry = now.saturating_add(TOKEN_LIFETIME).unix_timestamp();
                    let resource = address::token_resource(&self.service);
                    // A policy's name can be beyond what a header carries; all else is base64 and digits.
                    secret(&key.token(&resource, policy, u64::try_from(expiry).unwrap_or(0)))
                }
                Signer::Entra(entra) => return Ok(Pass::Entra(entra, credential::SERVICE)),
                Signer::Nobody => None,
            };
            signed.map(Pass::Header).ok_or(OperatorError::NoServiceKey { attempted })
        };
        self.make(call, pass).await
    }

    /// Makes a call, or writes it down.
    async fn make<'a>(
        &self,
        call: Call<'_>,
        pass: impl FnOnce() -> Result<Pass<'a>, OperatorError>,
    ) -> Result<Answer, OperatorError> {
        let client = match &self.transport {
            Transport::Send(client) => client,
            Transport::Record(notebook) => {
                notebook.note(&call, &call.headers());
                return Ok(call.stand_in());
            }
        };
        let (entra, scope) = match pass()? {
            Pass::Header(header) => return exchange(client, &call, header).await,
            Pass::Entra(entra, scope) => (entra, scope),
        };
        let header = entra.header(scope, &call.attempted).await?;
        match exchange(client, &call, header).await {
            // A token that was kept may have run out in the midst of a long import.
            Err(OperatorError::Refused { status: 401, .. }) => {
                entra.forget(scope);
                let fresh = entra.header(scope, &call.attempted).await?;
                exchange(client, &call, fresh).await
            }
            ended => ended,
        }
    }
}

fn client(endpoint: &Endpoint) -> Result<Client, OperatorError> {
    // A redirect would carry the credential to an address nobody named.
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .https_only(true)
        .user_agent(concat!("rollcall/", env!("CARGO_PKG_VERSION")));
    if endpoint.is_local() {
        builder = builder.no_proxy();
    }
    if let Some(pem) = &endpoint.trust_root {
        let roots = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| OperatorError::TrustRoot { reason: error.to_string() })?;
        if roots.is_empty() {
            return Err(OperatorError::TrustRoot { reason: "there is no certificate in it".into() });
        }
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|source| OperatorError::Client { source })
}

/// Sends one call and reads its answer, as far as it is a success.
async fn exchange(
    client: &Client,
    call: &Call<'_>,
    authorization: HeaderValue,
) -> Result<Answer, OperatorError> {
    let mut request = client.request(call.method.clone(), &call.url).header(AUTHORIZATION, authorization);
    for (name, value) in call.headers() {
        request = request.header(name, value);
    }
    if let Some(body) = &call.body {
        request = request.body(body.clone());
    }
    let broken = |source| OperatorError::transport(call.attempted.clone(), &call.url, source);
    let mut response = request.send().await.map_err(broken)?;
    let status = response.status();
    let continuation = header(&response, CONTINUATION);
    let retry_after = header(&response, RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(OperatorError::Malformed {
                attempted: call.attempted.clone(),
                url: origin(&call.url),
                reason: format!("it is longer than {LARGEST_ANSWER} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        return Err(OperatorError::refused(call.attempted.clone(), status.as_u16(), retry_after, &body));
    }
    Ok(Answer { attempted: call.attempted.clone(), url: call.url.clone(), body, continuation })
}

fn header(response: &Response, name: HeaderName) -> Option<String> {
    let text = response.headers().get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// A header value that is left out of debug output.
pub(crate) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Changes, Collection, Entry};
    use sim_protocol::attestation::{BulkMode, EnrollmentGroup, ProvisioningStatus};
    use sim_protocol::{CaName, EnrollmentGroupId, RegistrationId};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// What a rehearsed call comes to: it waits for nothing.
    fn at_once<T>(call: impl Future<Output = Result<T, OperatorError>>) -> T {
        match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ended) => ended.expect("a rehearsal"),
            Poll::Pending => panic!("something was waited for"),
        }
    }

    fn rehearsing() -> Operator {
        Operator::rehearsing(Endpoint::at("https://127.0.0.1:1")).expect("an operator")
    }

    fn told(operator: &Operator) -> Vec<String> {
        let prefix = "https://127.0.0.1:1/";
        let path = |url: &str| url.strip_prefix(prefix).unwrap_or(url).split('?').next().map(str::to_owned);
        let planned = operator.planned();
        planned.iter().map(|call| format!("{} {}", call.method, path(&call.url).expect("a path"))).collect()
    }

    #[test]
    fn a_rehearsal_writes_every_call_down_and_needs_no_credential() {
        let operator = rehearsing();
        let group = EnrollmentGroupId::new("g").expect("a name");
        let device = RegistrationId::new("d").expect("a name");
        at_once(operator.create_group(&EnrollmentGroup::x509("g", Default::default()), NOW));
        at_once(operator.entry(&Entry::Group(group.clone()), NOW));
        at_once(operator.entries_page(Collection::Enrollments, "SELECT *", None, NOW));
        at_once(operator.mechanism(&Entry::Individual(device.clone()), NOW));
        at_once(operator.bulk(Collection::Groups, &[], BulkMode::Delete, NOW));
        at_once(operator.delete_entry(&Entry::Individual(device.clone()), NOW));
        at_once(operator.registrations_page(&group, None, NOW));
        at_once(operator.registration(&device, NOW));
        at_once(operator.delete_registration(&device, NOW));
        let expected = [
            "PUT enrollmentGroups/g",
            "GET enrollmentGroups/g",
            "POST enrollments/query",
            "POST enrollments/d/attestationmechanism",
            "POST enrollmentGroups",
            "DELETE enrollments/d",
            "POST registrations/g/query",
            "GET registrations/d",
            "DELETE registrations/d",
        ];
        assert_eq!(told(&operator), expected);
        assert!(operator.planned().iter().all(|call| !call.headers.contains_key("authorization")));
    }

    #[test]
    fn what_an_earlier_answer_would_have_told_stands_as_a_placeholder() {
        let operator = rehearsing();
        let entry = Entry::Group(EnrollmentGroupId::new("g").expect("a name"));
        let status = Some(ProvisioningStatus::Disabled);
        at_once(operator.change(&entry, &Changes { provisioning_status: status, ..Changes::default() }, NOW));
        at_once(operator.certificates());
        at_once(operator.delete_certificate(&CaName::new("root").expect("a name")));
        let planned = operator.planned();
        let etag = |call: usize| planned[call].headers.get("if-match").map(String::as_str);
        assert_eq!(etag(1), Some("{etag of \"g\"}"));
        assert_eq!(etag(4), Some("{etag of \"root\"}"));
        let body = planned[1].body.as_ref().expect("a body");
        assert_eq!(body["provisioningStatus"], "disabled");
    }

    #[test]
    fn a_proof_of_possession_is_rehearsed_to_its_end() {
        let operator = rehearsing();
        let name = CaName::new("root").expect("a name");
        let pending = at_once(operator.generate_code(&name));
        at_once(operator.rehearse_answer(&name, &pending));
        let last = operator.planned().pop().expect("a call");
        assert!(last.url.contains("/verify?"), "{last:?}");
        assert_eq!(
            last.body.expect("a body")["certificate"],
            "{verification certificate for the code of \"root\"}"
        );
    }

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
