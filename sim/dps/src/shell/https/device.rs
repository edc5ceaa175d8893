//! The device API over HTTPS: register and operation status.
//!
//! Source: DPS documentation, "How to use X.509 certificates over HTTPS"; the same core as behind MQTT.

use super::{App, Presented, reply};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::{HeaderValue, Uri, header};
use axum::response::Response;
use axum::routing::{get, put};
use sim_protocol::mqtt::MAX_MESSAGE;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/{id_scope}/registrations/{registration_id}/register", put(register))
        .route("/{id_scope}/registrations/{registration_id}/operations/{operation_id}", get(status))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
}

async fn register(
    State(app): State<App>,
    Extension(presented): Extension<Presented>,
    uri: Uri,
    Path((id_scope, registration_id)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    let answer = app.service.register(&id_scope, &registration_id, &presented.0, &body).await;
    let accepted = answer.status == 202;
    let mut response = reply(answer);
    // A capture shows the register URL itself here, not the operation's.
    if accepted && let Ok(location) = HeaderValue::from_str(&uri.to_string()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

async fn status(
    State(app): State<App>,
    Path((_, registration_id, operation_id)): Path<(String, String, String)>,
) -> Response {
    reply(app.service.status(&registration_id, &operation_id))
}
