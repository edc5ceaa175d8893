//! HTTPS: the device, service and resource-manager APIs behind one port, told apart by path.

mod device;
mod enrollment;
mod resource;
mod websocket;

use super::{Owner, accept_tls};
use crate::registrar::Reply;
use crate::shell::service::Service;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use sim_protocol::sas::SharedKey;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What handlers need.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) service: Arc<Service>,
    pub(crate) service_key: Arc<SharedKey>,
}

/// The chain the TLS peer presented, leaf first; empty when it presented none.
#[derive(Clone, Debug)]
pub(crate) struct Presented(pub(crate) Arc<Vec<CertificateDer<'static>>>);

/// Serves the HTTPS port until cancelled.
pub(crate) async fn accept(listener: TcpListener, tls: Arc<ServerConfig>, app: App, owner: Owner) {
    let router = Router::new()
        .merge(resource::routes())
        .merge(enrollment::routes())
        .merge(device::routes())
        .fallback(|request: Request| async move {
            let text = format!("no such resource: {} {}", request.method(), request.uri().path());
            (StatusCode::NOT_FOUND, text)
        })
        .with_state(app.clone());
    let (upgrades, waiting) = (owner.clone(), app.service.clone());
    let serve = move |stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>| {
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let presented = Presented(Arc::new(presented));
        let socket = websocket::Gate {
            presented: presented.clone(),
            service: waiting.clone(),
            owner: upgrades.clone(),
        };
        let router = router
            .clone()
            .layer(axum::Extension(presented))
            .layer(from_fn_with_state(socket, websocket::gate));
        async move {
            let connection = hyper::server::conn::http1::Builder::new();
            let service = TowerToHyperService::new(router);
            // A peer that breaks HTTP has hurt only itself.
            let _ = connection.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    };
    accept_tls(listener, tls, app.service, owner, serve).await;
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

/// A reply of the device API, in HTTP's clothes.
fn reply(reply: Reply) -> Response {
    let mut response = json_text(reply.status, reply.body);
    // HTTP leaves no way to say nothing: the error is sent, and the connection ends with it.
    if reply.hang_up {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(wait) = reply.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    response
}
