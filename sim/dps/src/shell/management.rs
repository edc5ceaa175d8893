//! Management, away from the protocol ports: what the mock saw, what it does wrong on purpose, and its state. Plain
//! HTTP on loopback, behind a token.

use super::service::Service;
use super::{clock, prometheus};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::{Value, json};
use sim_protocol::faults::{FaultRule, InvalidFault};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// `ours:` the largest snapshot that is taken, about a million registrations.
const MAX_SNAPSHOT: usize = 1 << 30;

type Shared = State<Arc<Service>>;

/// Serves the management port until cancelled.
pub(crate) async fn accept(listener: TcpListener, service: Arc<Service>) {
    let app = Router::new()
        .route("/ledger", get(ledger))
        .route("/metrics", get(metrics))
        .route("/trace/{registration_id}", get(trace))
        .route("/faults", get(faults).put(set_faults).delete(clear_faults))
        .route("/snapshot", get(snapshot).put(restore))
        .route("/hubs/unlink", post(unlink_hub))
        .route("/reset", post(reset))
        .route_layer(from_fn_with_state(service.clone(), guard))
        .route("/health", get(|| async { Json(json!({ "status": "ok" })) }))
        .method_not_allowed_fallback(|| async {
            problem(StatusCode::METHOD_NOT_ALLOWED, "see the Allow header")
        })
        .fallback(|| async {
            problem(StatusCode::NOT_FOUND, "there is no such page; `rollcall mock --help` lists them")
        })
        .layer(DefaultBodyLimit::max(MAX_SNAPSHOT))
        .with_state(service.clone());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: wait for some to come free instead of spinning.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let serving = TowerToHyperService::new(app.clone());
        service.owner.spawn(async move {
            let mut connection = hyper::server::conn::http1::Builder::new();
            connection.timer(TokioTimer::new()).header_read_timeout(super::OPENING);
            // A peer that breaks HTTP has hurt only itself.
            let _ = connection.serve_connection(TokioIo::new(stream), serving).await;
        });
    }
}

fn problem(status: StatusCode, message: impl ToString) -> Response {
    (status, Json(json!({ "error": message.to_string() }))).into_response()
}

/// Anybody on this machine can reach the port; only who was given the token gets in.
async fn guard(State(service): Shared, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let given = given.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    if !is_same(given.trim().as_bytes(), service.management_token.as_bytes()) {
        let text = "send `Authorization: Bearer TOKEN` with the management token that the mock printed when it started";
        return problem(StatusCode::UNAUTHORIZED, text);
    }
    next.run(request).await
}

/// Takes as long wherever the two differ first.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differing, (x, y)| differing | (x ^ y)) == 0
}

async fn ledger(State(service): Shared) -> Response {
    Json(service.registrar.ledger.snapshot()).into_response()
}

async fn metrics(State(service): Shared) -> Response {
    let registrar = &service.registrar;
    let faults: Vec<_> =
        registrar.faults.totals().into_iter().map(|(id, count)| (id.to_owned(), count)).collect();
    let uptime = Duration::try_from(clock::now() - service.started).unwrap_or_default();
    let page =
        prometheus::render(&registrar.ledger.snapshot(), &faults, registrar.registration_count(), uptime);
    ([(header::CONTENT_TYPE, HeaderValue::from_static(prometheus::CONTENT_TYPE))], page).into_response()
}

async fn trace(State(service): Shared, Path(id): Path<String>) -> Response {
    match service.registrar.trace(&id) {
        Some(trace) => Json(trace).into_response(),
        None => problem(StatusCode::NOT_FOUND, format!("nothing is known of `{id}`, or not any more")),
    }
}

async fn faults(State(service): Shared) -> Response {
    Json(service.registrar.faults.rules()).into_response()
}

async fn set_faults(State(service): Shared, body: Bytes) -> Response {
    let rules: Vec<Value> = match serde_json::from_slice(&body) {
        Ok(rules) => rules,
        Err(error) => {
            return problem(StatusCode::BAD_REQUEST, format!("send a JSON array of rules: {error}"));
        }
    };
    let read = |(at, rule): (usize, &Value)| {
        FaultRule::parse(rule).map_err(|error: InvalidFault| format!("rule {}: {error}", at + 1))
    };
    match rules.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>() {
        Ok(rules) => {
            service.registrar.faults.set(rules, clock::now());
            faults(State(service)).await
        }
        Err(error) => problem(StatusCode::BAD_REQUEST, error),
    }
}

async fn clear_faults(State(service): Shared) -> Response {
    service.registrar.faults.set(Vec::new(), clock::now());
    StatusCode::NO_CONTENT.into_response()
}

async fn snapshot(State(service): Shared) -> Response {
    let parts: Vec<String> = service.registrar.snapshot().collect();
    let stream = futures_util::stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>));
    let lines = HeaderValue::from_static("application/x-ndjson");
    ([(header::CONTENT_TYPE, lines)], Body::from_stream(stream)).into_response()
}

async fn restore(State(service): Shared, body: Bytes) -> Response {
    let Ok(text) = std::str::from_utf8(&body) else {
        return problem(StatusCode::BAD_REQUEST, "a snapshot is UTF-8 text");
    };
    match service.restore(text).await {
        Ok(Ok(())) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(not_kept)) => problem(StatusCode::INTERNAL_SERVER_ERROR, not_kept),
        Err(forgotten) => {
            problem(StatusCode::BAD_REQUEST, format!("{forgotten}; send what GET /snapshot gave"))
        }
    }
}

/// A linked hub, by its host name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    hub: String,
}

async fn unlink_hub(State(service): Shared, body: Bytes) -> Response {
    match serde_json::from_slice::<Named>(&body) {
        Ok(Named { hub }) if service.registrar.unlink_hub(&hub) => StatusCode::NO_CONTENT.into_response(),
        Ok(Named { hub }) => problem(StatusCode::NOT_FOUND, format!("no hub `{hub}` is linked")),
        Err(error) => {
            problem(StatusCode::BAD_REQUEST, format!("send {{\"hub\": \"hub-1.example\"}}: {error}"))
        }
    }
}

async fn reset(State(service): Shared) -> Response {
    match service.reset().await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(not_kept) => problem(StatusCode::INTERNAL_SERVER_ERROR, not_kept),
    }
}
