//! The device API over HTTPS: register, operation status and look-up.
//!
//! Source: DPS documentation, "How to use X.509 certificates over HTTPS" and the same for symmetric keys; the same
//! core as behind MQTT.

use super::{App, Peer, reply};
use crate::faults::Cut;
use crate::registrar::Caller;
use crate::shell::clock;
use crate::shell::service::{Over, Question};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use axum::routing::{get, post, put};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/{id_scope}/registrations/{registration_id}", post(look_up))
        .route("/{id_scope}/registrations/{registration_id}/register", put(register))
        .route("/{id_scope}/registrations/{registration_id}/operations/{operation_id}", get(status))
}

fn caller<'a>(
    id_scope: &'a str,
    registration_id: &'a str,
    headers: &'a HeaderMap,
    peer: &'a Peer,
) -> Caller<'a> {
    Caller {
        id_scope,
        registration_id,
        presented: peer.presented.iter().map(AsRef::as_ref).collect(),
        token: headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()),
    }
}

async fn register(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    Path((id_scope, registration_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = caller(&id_scope, &registration_id, &headers, &peer);
    let mut response = answer(&app, &peer, &caller, Question::Register(&body)).await;
    // A capture shows the register URL itself here, not the operation's.
    if response.status() == 202
        && let Ok(location) = HeaderValue::from_str(&uri.to_string())
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

async fn status(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path((id_scope, registration_id, operation_id)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let caller = caller(&id_scope, &registration_id, &headers, &peer);
    answer(&app, &peer, &caller, Question::Status(&operation_id)).await
}

async fn answer(app: &App, peer: &Peer, caller: &Caller<'_>, question: Question<'_>) -> Response {
    match app.service.answer(caller, question, Over::Https).await {
        Ok(answer) => {
            app.service.registrar.sent(caller, &answer.reply, !answer.malformed);
            answer.held_since.inspect(|&since| app.service.holds.answered(since));
            reply(answer.reply)
        }
        Err(cut) => {
            if cut == Cut::Drop {
                peer.hang_up.cancel();
            }
            // Nothing is said: the connection ends, or the peer gives up.
            std::future::pending().await
        }
    }
}

async fn look_up(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path((id_scope, registration_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let caller = caller(&id_scope, &registration_id, &headers, &peer);
    reply(app.service.registrar.look_up(&caller, clock::now()))
}
