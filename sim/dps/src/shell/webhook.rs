//! Asks a custom allocation webhook: one POST on a connection of its own, under one deadline.
//!
//! Whoever writes an enrollment says where the mock calls, so it calls this machine alone unless it was
//! started with leave to call elsewhere, and then by https only. Redirects are not followed.

use crate::allocation::{AllocationAnswer, AllocationFault, AllocationRequest};
use axum::body::Bytes;
use axum::http::uri::Scheme;
use axum::http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// `ours:` the service's own limit is not known; what is asked for takes a few hundred bytes.
const LARGEST_ANSWER: usize = 64 << 10;

/// Calls webhooks.
#[derive(Clone, Debug)]
pub(crate) struct Webhooks {
    /// How long a call may take, from the look-up of the name to the end of the answer.
    pub(crate) timeout: Duration,
    /// Whether webhooks away from this machine may be called.
    pub(crate) anywhere: bool,
    /// How their servers are verified.
    pub(crate) tls: Arc<ClientConfig>,
}

impl Webhooks {
    /// Calls that verify servers by the public roots.
    pub(crate) fn new(timeout: Duration, anywhere: bool) -> Result<Self, rustls::Error> {
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Ok(Webhooks { timeout, anywhere, tls: Arc::new(verifying_by(roots)?) })
    }

    /// Asks the webhook at `url`.
    pub(crate) async fn ask(
        &self,
        url: &str,
        request: &AllocationRequest,
    ) -> Result<AllocationAnswer, AllocationFault> {
        let body = serde_json::to_vec(request).map_err(|_| AllocationFault::NotJson)?;
        let asked = tokio::time::timeout(self.timeout, self.post(url, body.into())).await;
        let answer = asked.unwrap_or(Err(AllocationFault::Timeout))?;
        serde_json::from_slice(&answer).map_err(|_| AllocationFault::NotJson)
    }

    async fn post(&self, url: &str, body: Bytes) -> Result<Bytes, AllocationFault> {
        let target = Target::parse(url).ok_or(AllocationFault::Forbidden)?;
        let addresses = self.allowed(&target).await?;
        let stream = TcpStream::connect(&addresses[..]).await.map_err(unreachable)?;
        let request = target.request(body).ok_or(AllocationFault::Forbidden)?;
        if !target.tls {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(target.bare_host().to_owned()).map_err(unreachable)?;
        let connector = TlsConnector::from(self.tls.clone());
        let stream = connector.connect(name, stream).await.map_err(unreachable)?;
        exchange(stream, request).await
    }

    /// The addresses of the target; all of them have to be allowed, for any may be the one connected to.
    async fn allowed(&self, target: &Target) -> Result<Vec<SocketAddr>, AllocationFault> {
        let found = tokio::net::lookup_host((target.bare_host(), target.port)).await;
        let addresses: Vec<_> = found.map_err(unreachable)?.collect();
        // Plain http would show the enrollment to everyone on the way.
        let away_is_fine = self.anywhere && target.tls;
        let here = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        if away_is_fine || addresses.iter().all(here) {
            Ok(addresses)
        } else {
            Err(AllocationFault::Forbidden)
        }
    }
}

fn verifying_by(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn unreachable<E>(_: E) -> AllocationFault {
    AllocationFault::Unreachable
}

/// Where a webhook is.
struct Target {
    tls: bool,
    /// As in the URL: an IPv6 address has its brackets.
    host: String,
    port: u16,
    /// Path and query.
    path: String,
}

impl Target {
    /// Reads an `http` or `https` URL.
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let tls = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Target { tls, host, port, path })
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn request(&self, body: Bytes) -> Option<Request<Full<Bytes>>> {
        Request::post(&self.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::USER_AGENT, concat!("rollcall/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"))
            .header(header::CONNECTION, HeaderValue::from_static("close"))
            .body(Full::new(body))
            .ok()
    }
}

/// Sends the request and reads the answer, driving the connection meanwhile: no task is left behind.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Bytes, AllocationFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable)?;
    let mut answer = pin!(async move {
        let response = sender.send_request(request).await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(AllocationFault::Status(response.status().as_u16()));
        }
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        body.map(|body| body.to_bytes()).map_err(|error| match error.is::<LengthLimitError>() {
            true => AllocationFault::TooLarge,
            false => AllocationFault::Unreachable,
        })
    });
    tokio::select! {
        answer = &mut answer => answer,
        // The connection ends as soon as the last of the answer is handed over; it may not be read yet.
        _ = connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::{AllocationEntry, Hub, Proof, RuntimeContext};
    use crate::shell::{clock, tls::server_config};
    use axum::http::{HeaderMap, StatusCode};
    use axum::response::{IntoResponse as _, Redirect};
    use axum::routing::post;
    use axum::{Json, Router};
    use hyper_util::service::TowerToHyperService;
    use serde_json::{Value, json};
    use sim_identity::{Seed, authority::ServerIdentity};
    use sim_protocol::RegistrationId;
    use sim_protocol::attestation::{AttestationMechanism, EnrollmentGroup};
    use std::net::Ipv4Addr;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    const PATIENT: Duration = Duration::from_secs(10);

    fn request() -> AllocationRequest {
        let group = EnrollmentGroup::new("g", AttestationMechanism::default());
        let context = RuntimeContext {
            registration_id: RegistrationId::new("dev-1").expect("a good id"),
            current_iot_hub_host_name: None,
            current_device_id: None,
            proof: Proof::SymmetricKey {},
            payload: None,
        };
        AllocationRequest::new(
            AllocationEntry::EnrollmentGroup(Box::new(group)),
            context,
            &[Hub::new("a.example")],
            &[0],
        )
    }

    fn webhooks(timeout: Duration, anywhere: bool) -> Webhooks {
        Webhooks::new(timeout, anywhere).expect("the public roots")
    }

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        (listener, port)
    }

    /// Asks a webhook at `path` of a plain server with these routes.
    async fn ask_by(scheme: &str, routes: Router, path: &str) -> Result<AllocationAnswer, AllocationFault> {
        let (listener, port) = listener().await;
        let url = format!("{scheme}://127.0.0.1:{port}{path}");
        let (webhooks, request) = (webhooks(PATIENT, false), request());
        tokio::select! {
            answer = webhooks.ask(&url, &request) => answer,
            end = async { axum::serve(listener, routes).await } => panic!("the server ended: {end:?}"),
        }
    }

    async fn ask(routes: Router, path: &str) -> Result<AllocationAnswer, AllocationFault> {
        ask_by("http", routes, path).await
    }

    /// The same, of a server that answers everything alike.
    async fn ask_one(
        status: StatusCode,
        body: impl Into<String>,
    ) -> Result<AllocationAnswer, AllocationFault> {
        let body = body.into();
        ask(Router::new().fallback(move || async move { (status, body) }), "/").await
    }

    #[tokio::test]
    async fn a_webhook_gets_the_request_as_json_and_its_answer_comes_back() {
        // Says what it was sent, so that the test can look.
        let handler = |headers: HeaderMap, uri: Uri, Json(asked): Json<Value>| async move {
            let names = ["host", "content-type", "connection", "user-agent"];
            let headers =
                names.map(|name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned));
            let payload = json!({"uri": uri.to_string(), "headers": headers, "asked": asked});
            Json(json!({"iotHubHostName": "a.example", "payload": payload}))
        };
        let answer = ask(Router::new().route("/api/allocate", post(handler)), "/api/allocate?code=x").await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.iot_hub_host_name.as_str(), answer.initial_twin), ("a.example", None));
        let payload = answer.payload.expect("a payload");
        assert_eq!(payload["uri"], "/api/allocate?code=x");
        assert_eq!(payload["asked"], serde_json::to_value(request()).expect("serialises"));
        let [host, kind, connection, agent] =
            [0, 1, 2, 3].map(|header| payload["headers"][header].as_str().unwrap_or_default());
        assert!(host.starts_with("127.0.0.1:") && agent.starts_with("rollcall/"), "{host} {agent}");
        assert_eq!((kind, connection), ("application/json; charset=utf-8", "close"));
    }

    #[tokio::test]
    async fn whatever_a_webhook_answers_has_a_name() {
        let good = r#"{"iotHubHostName":"a.example"}"#;
        let answer =
            AllocationAnswer { iot_hub_host_name: "a.example".into(), ..AllocationAnswer::default() };
        let filled = |length: usize| format!("{}{good}", " ".repeat(length - good.len()));
        for (status, body, expected) in [
            (200, good.to_owned(), Ok(answer.clone())),
            (201, good.to_owned(), Ok(answer.clone())),
            (500, good.to_owned(), Err(AllocationFault::Status(500))),
            (404, String::new(), Err(AllocationFault::Status(404))),
            (200, String::new(), Err(AllocationFault::NotJson)),
            (200, "<html>".to_owned(), Err(AllocationFault::NotJson)),
            (200, r#"{"hub":"a.example"}"#.to_owned(), Err(AllocationFault::NotJson)),
            (200, filled(LARGEST_ANSWER), Ok(answer)),
            (200, filled(LARGEST_ANSWER + 1), Err(AllocationFault::TooLarge)),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let shown: String = body.trim_start().chars().take(40).collect();
            assert_eq!(ask_one(status, body).await, expected, "{status} {shown}");
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let routes = Router::new()
            .route("/", post(|| async { Redirect::temporary("/there").into_response() }))
            .route("/there", post(|| async { Json(json!({"iotHubHostName": "a.example"})) }));
        assert!(ask(routes.clone(), "/there").await.is_ok());
        assert_eq!(ask(routes, "/").await, Err(AllocationFault::Status(307)));
    }

    #[tokio::test]
    async fn a_webhook_that_says_nothing_is_given_up() {
        // Connections wait in the listener's queue, accepted by nobody.
        let (_listener, port) = listener().await;
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://127.0.0.1:{port}/");
            let answer = webhooks(Duration::from_millis(50), false).ask(&url, &request()).await;
            assert_eq!(answer, Err(AllocationFault::Timeout), "{scheme}");
        }
    }

    #[tokio::test]
    async fn a_webhook_that_is_not_there_or_hangs_up_is_unreachable() {
        let (listener, port) = listener().await;
        let url = format!("http://127.0.0.1:{port}/");
        let hang_up = async {
            let (stream, _) = listener.accept().await.expect("a connection");
            drop(stream);
        };
        let (webhooks, request) = (webhooks(PATIENT, false), request());
        let (answer, ()) = tokio::join!(webhooks.ask(&url, &request), hang_up);
        assert_eq!(answer, Err(AllocationFault::Unreachable));
        drop(listener);
        assert_eq!(webhooks.ask(&url, &request).await, Err(AllocationFault::Unreachable));
    }

    #[tokio::test]
    async fn a_server_that_does_not_speak_tls_is_unreachable_by_https() {
        let routes = Router::new().fallback(|| async { Json(json!({"iotHubHostName": "a.example"})) });
        assert!(ask_by("http", routes.clone(), "/").await.is_ok());
        assert_eq!(ask_by("https", routes, "/").await, Err(AllocationFault::Unreachable));
    }

    #[tokio::test]
    async fn over_https_the_server_must_be_the_one_that_was_asked() {
        // The client verifies by the clock, so the server's certificate has to be of today.
        let now = clock::now();
        for (name, expected) in
            [("127.0.0.1", Ok("a.example")), ("127.0.0.2", Err(AllocationFault::Unreachable))]
        {
            let server =
                ServerIdentity::mint(&[name.to_owned()], &Seed::from_number(1), now).expect("an identity");
            let mut roots = RootCertStore::empty();
            roots.add(server.trust_root.clone().into()).expect("a root");
            let mut webhooks = webhooks(PATIENT, false);
            webhooks.tls = verifying_by(roots).expect("a configuration").into();
            let (listener, port) = listener().await;
            let acceptor =
                TlsAcceptor::from(Arc::new(server_config(&server, false).expect("a configuration")));
            let serve = async {
                let (stream, _) = listener.accept().await.expect("a connection");
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let routes =
                    Router::new().fallback(|| async { Json(json!({"iotHubHostName": "a.example"})) });
                let service = TowerToHyperService::new(routes);
                let served = hyper::server::conn::http1::Builder::new();
                served.serve_connection(TokioIo::new(stream), service).await.expect("an exchange");
            };
            let (url, request) = (format!("https://127.0.0.1:{port}/"), request());
            let (answer, ()) = tokio::join!(webhooks.ask(&url, &request), serve);
            assert_eq!(answer.map(|a| a.iot_hub_host_name), expected.map(str::to_owned), "{name}");
        }
    }

    #[tokio::test]
    async fn addresses_away_from_this_machine_take_leave_and_https() {
        // Addresses of documentation (RFC 5737, RFC 3849), and only looked at: nothing is sent to them.
        for (url, anywhere, allowed) in [
            ("http://127.0.0.1/", false, true),
            ("http://127.9.9.9:7071/", false, true),
            ("http://[::1]:7071/x", false, true),
            ("http://[::ffff:127.0.0.1]/", false, true),
            ("http://localhost/", false, true),
            ("https://localhost/", false, true),
            ("http://192.0.2.1/", false, false),
            ("https://192.0.2.1/", false, false),
            ("https://[2001:db8::1]/", false, false),
            ("http://0.0.0.0/", false, false),
            ("http://127.0.0.1@192.0.2.1/", false, false),
            ("http://192.0.2.1/", true, false),
            ("http://127.0.0.1/", true, true),
            ("https://192.0.2.1/", true, true),
        ] {
            let target = Target::parse(url).expect(url);
            let found = webhooks(PATIENT, anywhere).allowed(&target).await;
            assert_eq!(found.is_ok(), allowed, "{url} {found:?}");
            assert!(found.is_ok() || found == Err(AllocationFault::Forbidden), "{url}");
        }
        for bad in
            ["", "127.0.0.1", "127.0.0.1:80", "/path", "ftp://127.0.0.1/", "file:///etc/passwd", "http://"]
        {
            let answer = webhooks(PATIENT, true).ask(bad, &request()).await;
            assert_eq!(answer, Err(AllocationFault::Forbidden), "{bad}");
        }
        let answer = webhooks(PATIENT, false).ask("http://192.0.2.1/", &request()).await;
        assert_eq!(answer, Err(AllocationFault::Forbidden));
    }
}
