//! The service API's part: enrollment groups and registration records, behind shared access signatures.

use super::{App, if_match, json_value};
use crate::groups::GroupFault;
use crate::ids::Ids;
use crate::registrar::Instance;
use crate::shell::clock;
use crate::shell::journal::NotKept;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use sim_protocol::attestation::EnrollmentGroup;
use sim_protocol::errors::{self, Refusal};
use sim_protocol::sas::{OWNER_POLICY, Token};
use sim_protocol::{EnrollmentGroupId, InvalidName};

const CONTINUATION: &str = "x-ms-continuation";
const MAX_ITEMS: &str = "x-ms-max-item-count";
/// `ours:` the service's largest page is unknown.
const PAGE: usize = 1000;

pub(super) fn routes() -> Router<App> {
    // Official clients write the first path segment in either case.
    let groups = |prefix: &str| {
        Router::new()
            .route(&format!("/{prefix}/query"), post(query_groups))
            .route(&format!("/{prefix}/{{id}}"), get(show_group).put(put_group).delete(delete_group))
    };
    Router::new()
        .merge(groups("enrollmentGroups"))
        .merge(groups("enrollmentgroups"))
        .route("/registrations/{id}", get(show_registration).delete(delete_registration))
        .route("/registrations/{id}/query", post(query_registrations))
}

/// Why a call was refused: what the wire says, and the reason in words.
struct Problem {
    refusal: Refusal,
    reason: String,
}

impl From<GroupFault> for Problem {
    fn from(GroupFault { refusal, reason }: GroupFault) -> Self {
        Problem { refusal, reason }
    }
}

impl From<NotKept> for Problem {
    fn from(fault: NotKept) -> Self {
        Problem { refusal: errors::INTERNAL, reason: fault.to_string() }
    }
}

impl From<InvalidName> for Problem {
    fn from(fault: InvalidName) -> Self {
        Problem { refusal: errors::BAD_ARGUMENT, reason: fault.to_string() }
    }
}

/// Answers a call whose token is the owner policy's; refuses all others.
async fn guarded(
    app: &App,
    headers: &HeaderMap,
    call: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let text = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let now = clock::now();
    let seconds = now.unix_timestamp().unsigned_abs();
    let checked = Token::parse(text).and_then(|token| token.verify(&app.service_key, OWNER_POLICY, seconds));
    let answered = match checked {
        Ok(()) => call.await,
        Err(fault) => Err(Problem { refusal: errors::NO_CREDENTIAL, reason: fault.to_string() }),
    };
    answered.unwrap_or_else(|Problem { refusal, reason }| {
        json_value(refusal.status(), &app.service.registrar.error_body(refusal, &reason, now))
    })
}

async fn put_group(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let put = async {
        let id = EnrollmentGroupId::new(id)?;
        let document: EnrollmentGroup = serde_json::from_slice(&body).map_err(|e| Problem {
            refusal: errors::DESERIALIZATION,
            reason: format!("{}: {e}", errors::DESERIALIZATION.message),
        })?;
        let put = |i: &mut Instance, ids: &Ids| {
            i.groups.put(id, document, if_match(&headers), &i.authorities, ids, clock::now()).cloned()
        };
        Ok(json_value(200, &app.service.write(put).await??))
    };
    guarded(&app, &headers, put).await
}

async fn show_group(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let show = async {
        let id = EnrollmentGroupId::new(id)?;
        Ok(json_value(200, &app.service.registrar.read(|i| i.groups.group(&id).cloned())?))
    };
    guarded(&app, &headers, show).await
}

async fn delete_group(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let delete = async {
        let id = EnrollmentGroupId::new(id)?;
        app.service.write(|i, _| i.groups.delete(&id, if_match(&headers))).await??;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    guarded(&app, &headers, delete).await
}

async fn query_groups(State(app): State<App>, headers: HeaderMap) -> Response {
    let query = async {
        let (after, size) = (continuation(&headers), page_size(&headers));
        let all = app.service.registrar.read(|i| i.groups.groups().cloned().collect::<Vec<_>>());
        let rest = all.into_iter().filter(|g| after.is_none_or(|a| g.enrollment_group_id.as_str() > a));
        Ok(page(rest.take(size + 1).collect(), size, |g| g.enrollment_group_id.clone()))
    };
    guarded(&app, &headers, query).await
}

async fn show_registration(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let show = async {
        let found = app.service.registrar.registration(&id, clock::now());
        Ok(json_value(200, &found.ok_or_else(|| no_registration(&id))?))
    };
    guarded(&app, &headers, show).await
}

async fn delete_registration(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let delete = async {
        let deleted = app.service.delete_registration(&id).await?;
        if deleted { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(no_registration(&id)) }
    };
    guarded(&app, &headers, delete).await
}

fn no_registration(id: &str) -> Problem {
    Problem { refusal: errors::NOT_FOUND, reason: format!("no device registered as `{id}`") }
}

async fn query_registrations(
    State(app): State<App>,
    Path(group): Path<String>,
    headers: HeaderMap,
) -> Response {
    let query = async {
        let size = page_size(&headers);
        let items =
            app.service.registrar.registrations(&group, continuation(&headers), size + 1, clock::now());
        Ok(page(items, size, |s| s.registration_id.clone().unwrap_or_default().to_ascii_lowercase()))
    };
    guarded(&app, &headers, query).await
}

fn continuation(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTINUATION)?.to_str().ok()
}

fn page_size(headers: &HeaderMap) -> usize {
    let asked = headers.get(MAX_ITEMS).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    asked.unwrap_or(PAGE).clamp(1, PAGE)
}

/// One page: a bare JSON array, and where there is more a continuation, which is the last id of the page.
fn page<T: serde::Serialize>(mut items: Vec<T>, size: usize, id: impl Fn(&T) -> String) -> Response {
    let more = items.len() > size;
    items.truncate(size);
    let last = items.last().map(id);
    let mut response = json_value(200, &items);
    if more && let Some(token) = last.and_then(|id| HeaderValue::from_str(&id).ok()) {
        response.headers_mut().insert(CONTINUATION, token);
    }
    response
}
