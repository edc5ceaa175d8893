//! The device conversation over HTTPS: one kept-alive connection, a PUT and as many GETs as it takes.

use crate::attempt::{Answer, Ask, Run};
use crate::outcome::Outcome;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use sim_protocol::RegistrationId;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

/// The api-version that the official Node.js client sends.
const API_VERSION: &str = "2019-03-31";
/// The largest answer taken.
const MAX_ANSWER: usize = 256 * 1024;

/// An open HTTPS connection; its driver is owned here and ends with it.
pub(crate) struct HttpsChannel {
    sender: SendRequest<Full<Bytes>>,
    id: RegistrationId,
    _driver: JoinSet<()>,
}

impl HttpsChannel {
    /// Readies the connection; nothing is sent yet.
    pub(crate) async fn open(
        run: &Run<'_>,
        stream: TlsStream<TcpStream>,
        id: &RegistrationId,
    ) -> Result<Self, Outcome> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| failed(run, &e))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // Its failure is the failure of the request in flight.
            let _ = connection.await;
        });
        Ok(HttpsChannel { sender, id: id.clone(), _driver: driver })
    }

    /// Sends a request and awaits its answer.
    pub(crate) async fn exchange(&mut self, run: &Run<'_>, ask: &Ask<'_>) -> Result<Answer, Outcome> {
        let base = format!("/{}/registrations/{}", run.target.id_scope, self.id);
        let (method, path, body) = match ask {
            Ask::Register => {
                let body = format!("{{\"registrationId\":\"{}\"}}", self.id);
                (Method::PUT, format!("{base}/register?api-version={API_VERSION}"), Bytes::from(body))
            }
            Ask::Status(operation) => (
                Method::GET,
                format!("{base}/operations/{operation}?api-version={API_VERSION}"),
                Bytes::new(),
            ),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{}:{}", run.target.host, run.target.port))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(USER_AGENT, concat!("rollcall/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|_| run.nonsense("an operation id that no path can carry"))?;
        let response = self.sender.send_request(request).await.map_err(|e| failed(run, &e))?;
        let status = response.status().as_u16();
        let seconds =
            response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| run.nonsense("an answer that was cut off or too long"))?.to_bytes();
        Ok(Answer { status, retry_after: seconds.map(Duration::from_secs), body })
    }

    /// Closes the connection.
    pub(crate) fn close(self) {}
}

fn failed(run: &Run<'_>, error: &hyper::Error) -> Outcome {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return run.failed(io);
        }
        source = cause.source();
    }
    if error.is_parse() { run.nonsense("an answer that is not HTTP") } else { run.closed() }
}
