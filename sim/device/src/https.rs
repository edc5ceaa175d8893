//! The device conversation over HTTPS: one kept-alive connection, a PUT and as many GETs as it takes.

use crate::attempt::{Answer, Ask, Failure, Run};
use crate::flavour::Flavour;
use crate::retry::Draws;
use crate::tls::{TlsBytes, TlsStream};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use sim_protocol::mqtt::API_VERSION;
use std::time::Duration;
use tokio::task::JoinSet;

const AGENT: &str = concat!("rollcall/", env!("CARGO_PKG_VERSION"));
const NODE_AGENT: &str = "azure-iot-provisioning-device/1.9.1";
/// The largest answer taken.
const MAX_ANSWER: usize = 256 * 1024;

/// An open HTTPS connection; its driver is owned here and ends with it.
pub(crate) struct HttpsChannel {
    sender: SendRequest<Full<Bytes>>,
    draws: Draws,
    _driver: JoinSet<()>,
}

impl HttpsChannel {
    /// Readies the connection; nothing is sent yet.
    pub(crate) async fn open(run: &mut Run<'_>, stream: Box<TlsStream>) -> Result<Self, Failure> {
        let stream = TokioIo::new(TlsBytes::from(stream));
        let (sender, connection) = handshake(stream).await.map_err(|e| failed(run, &e))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its failure is the failure of the request in flight.
            let _ = connection.await;
        });
        Ok(HttpsChannel { sender, draws: Draws::new(run.draws.next()), _driver: driver })
    }

    /// Sends a request and awaits its answer.
    pub(crate) async fn exchange(&mut self, run: &Run<'_>, ask: &Ask<'_>) -> Result<Answer, Failure> {
        let request =
            self.request(run, ask).map_err(|_| run.nonsense("an operation id that no path can carry"))?;
        // The connection may not have noted yet that the answer before was read to its end; it refuses until then.
        self.sender.ready().await.map_err(|e| failed(run, &e))?;
        let response = self.sender.send_request(request).await.map_err(|e| failed(run, &e))?;
        let status = response.status().as_u16();
        let seconds =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| run.nonsense("an answer that was cut off or too long"))?.to_bytes();
        Ok(Answer { status, retry_after: seconds.map(Duration::from_secs), body })
    }

    /// As the client for Node.js writes it, whose GET carries a body. This program's own is the same without that.
    fn request(&mut self, run: &Run<'_>, ask: &Ask<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let node = run.flavour() != Flavour::Rollcall;
        let base = format!("/{}/registrations/{}", run.target.id_scope, run.id());
        let (method, path, body) = match ask {
            Ask::Register => (
                Method::PUT,
                format!("{base}/register?api-version={API_VERSION}"),
                run.manners().register.bytes(run.id()),
            ),
            Ask::Status(operation) => (
                Method::GET,
                format!("{base}/operations/{operation}?api-version={API_VERSION}"),
                Bytes::from_static(if node { b"{}" } else { b"" }),
            ),
        };
        let agent = if node { NODE_AGENT } else { AGENT };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{}:{}", run.target.host, run.target.port))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(USER_AGENT, agent);
        if node {
            request = request.header("Request-Id", self.draws.uuid());
        }
        request.body(Full::new(body))
    }
}

fn failed(run: &Run<'_>, error: &hyper::Error) -> Failure {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return run.failed(io);
        }
        source = cause.source();
    }
    if error.is_parse() { run.nonsense("an answer that is not HTTP") } else { run.closed() }
}
