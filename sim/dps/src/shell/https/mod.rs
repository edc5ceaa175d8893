//! HTTPS: the device, service and resource-manager APIs behind one port, told apart by path.

mod admission;
mod device;
mod enrollment;
mod resource;
mod websocket;

use super::accept_tls;
use super::tls::{self, Acceptors};
use crate::registrar::Reply;
use crate::shell::service::Service;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use sim_protocol::ServiceError;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// `ours:` the longest head of a request, which is all that is read ahead of a body.
const LARGEST_HEAD: usize = 64 << 10;

/// What handlers need.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) service: Arc<Service>,
}

/// What is known of the peer of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The chain it presented, leaf first; empty when it presented none.
    pub(crate) presented: Arc<Vec<CertificateDer<'static>>>,
    /// When its connection was accepted.
    pub(crate) accepted: Instant,
    /// Ends the connection without an answer.
    pub(crate) hang_up: CancellationToken,
}

/// Serves the HTTPS port until cancelled.
pub(crate) async fn accept(listener: TcpListener, acceptors: Acceptors, service: Arc<Service>) {
    let app = App { service: service.clone() };
    let router = Router::new()
        .merge(resource::routes(&app))
        .merge(enrollment::routes())
        .merge(device::routes())
        .method_not_allowed_fallback(admission::no_such_method)
        .fallback(admission::no_such_resource)
        // Bodies are read, and bounded, before any handler sees them.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(app.clone(), admission::admit))
        .layer(from_fn_with_state(app.clone(), dress))
        .with_state(app);
    let serving = service.clone();
    let serve = move |stream: tls::Stream, accepted| {
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let peer = Peer { presented: Arc::new(presented), accepted, hang_up: CancellationToken::new() };
        let socket = websocket::Gate { peer: peer.clone(), service: serving.clone() };
        let hang_up = peer.hang_up.clone();
        let router =
            router.clone().layer(axum::Extension(peer)).layer(from_fn_with_state(socket, websocket::gate));
        let service = serving.clone();
        async move {
            let mut connection = hyper::server::conn::http1::Builder::new();
            connection
                .timer(TokioTimer::new())
                .header_read_timeout(super::OPENING)
                .max_buf_size(LARGEST_HEAD);
            let serving = TowerToHyperService::new(router);
            let served = connection.serve_connection(TokioIo::new(stream), serving).with_upgrades();
            if let Some(Err(error)) = hang_up.run_until_cancelled(served).await {
                // A peer that breaks HTTP has hurt only itself.
                let ledger = &service.registrar.ledger;
                if error.is_timeout() {
                    ledger.timeouts.add();
                } else if error.is_parse() || error.is_parse_too_large() {
                    ledger.malformed.add();
                }
            }
        }
    };
    accept_tls(listener, acceptors, service, serve).await;
}

fn if_match(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::IF_MATCH)?.to_str().ok()
}

fn json_text(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    (status, [(header::CONTENT_TYPE, json)], body).into_response()
}

fn json_value(status: u16, value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(body) => json_text(status, body),
        Err(error) => json_text(500, format!("{{\"message\":\"{error}\"}}")),
    }
}

fn with_retry_after(mut response: Response, wait: Option<std::time::Duration>) -> Response {
    if let Some(wait) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    response
}

/// A reply of the device API, in HTTP's clothes.
fn reply(reply: Reply) -> Response {
    let mut response = json_text(reply.status, reply.body);
    if let Some(id) = reply.tracking_id {
        response.extensions_mut().insert(TrackingId(id));
    }
    with_retry_after(response, reply.retry_after)
}

/// Headers that every captured answer carries: those of the service, and those of the resource manager beside them.
async fn dress(State(app): State<App>, request: Request, next: Next) -> Response {
    let managed = request.uri().path().starts_with("/subscriptions");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &'static str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    put("strict-transport-security", "max-age=31536000; includeSubDomains");
    if managed {
        put("cache-control", "no-cache");
        put("pragma", "no-cache");
        put("expires", "-1");
        put("x-content-type-options", "nosniff");
    }
    // An error body names the request by the same id.
    let id = response.extensions_mut().remove::<TrackingId>().map(|id| id.0);
    let id = id.unwrap_or_else(|| app.service.registrar.ids.guid());
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static("x-ms-request-id"), id);
    }
    response
}

/// The tracking id of an error body, on its way to the header.
#[derive(Clone)]
struct TrackingId(String);

/// An error of the device or service API.
fn error(status: u16, body: &ServiceError) -> Response {
    let mut response = json_value(status, body);
    response.extensions_mut().insert(TrackingId(body.tracking_id.clone()));
    response
}
