//! Management, away from the protocol ports: health and ledger, read only, on loopback.

use super::Owner;
use super::service::Service;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Serves the management port until cancelled.
pub(crate) async fn accept(listener: TcpListener, service: Arc<Service>, owner: Owner) {
    let ledger =
        |State(service): State<Arc<Service>>| async move { Json(service.registrar.ledger.snapshot()) };
    let app = Router::new()
        .route("/health", get(|| async { Json(serde_json::json!({ "status": "ok" })) }))
        .route("/ledger", get(ledger))
        .with_state(service);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = TowerToHyperService::new(app.clone());
        owner.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // A peer that breaks HTTP has hurt only itself.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
