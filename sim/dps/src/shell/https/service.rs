//! The service API's part: enrollment groups and registration records, behind shared access signatures.

use super::{App, if_match, json_value};
use crate::groups::GroupFault;
use crate::shell::clock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use sim_protocol::EnrollmentGroupId;
use sim_protocol::attestation::EnrollmentGroup;
use sim_protocol::errors::{self, Refusal};
use sim_protocol::sas::{OWNER_POLICY, Token};

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

/// Refuses a call whose token is not the owner policy's.
fn authorised(app: &App, headers: &HeaderMap) -> Result<(), Response> {
    let text = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let now = clock::now().unix_timestamp().unsigned_abs();
    let checked = Token::parse(text).and_then(|token| token.verify(&app.service_key, OWNER_POLICY, now));
    checked.map_err(|fault| problem(app, errors::NO_CREDENTIAL, &fault.to_string()))
}

fn problem(app: &App, refusal: Refusal, message: &str) -> Response {
    json_value(refusal.status(), &app.registrar.error_body(refusal, message, clock::now()))
}

fn refused(app: &App, fault: &GroupFault) -> Response {
    problem(app, fault.refusal, &fault.reason)
}

fn group_id(app: &App, text: &str) -> Result<EnrollmentGroupId, Response> {
    EnrollmentGroupId::new(text).map_err(|e| problem(app, errors::BAD_ARGUMENT, &e.to_string()))
}

fn either(result: Result<Response, Response>) -> Response {
    result.unwrap_or_else(|response| response)
}

async fn put_group(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    either((|| {
        authorised(&app, &headers)?;
        let id = group_id(&app, &id)?;
        let document: EnrollmentGroup = serde_json::from_slice(&body).map_err(|e| {
            problem(&app, errors::DESERIALIZATION, &format!("{}: {e}", errors::DESERIALIZATION.message))
        })?;
        let put = app.registrar.write(|i, ids| {
            i.groups.put(id, document, if_match(&headers), &i.authorities, ids, clock::now()).cloned()
        });
        put.map(|group| json_value(200, &group)).map_err(|fault| refused(&app, &fault))
    })())
}

async fn show_group(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    either((|| {
        authorised(&app, &headers)?;
        let id = group_id(&app, &id)?;
        let found = app.registrar.read(|i| i.groups.group(&id).cloned());
        found.map(|group| json_value(200, &group)).map_err(|fault| refused(&app, &fault))
    })())
}

async fn delete_group(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    either((|| {
        authorised(&app, &headers)?;
        let id = group_id(&app, &id)?;
        let deleted = app.registrar.write(|i, _| i.groups.delete(&id, if_match(&headers)));
        deleted.map(|()| StatusCode::NO_CONTENT.into_response()).map_err(|fault| refused(&app, &fault))
    })())
}

async fn query_groups(State(app): State<App>, headers: HeaderMap) -> Response {
    either((|| {
        authorised(&app, &headers)?;
        let after = continuation(&headers);
        let size = page_size(&headers);
        let all = app.registrar.read(|i| i.groups.groups().cloned().collect::<Vec<_>>());
        let rest = all.into_iter().filter(|g| after.is_none_or(|a| g.enrollment_group_id.as_str() > a));
        let items: Vec<_> = rest.take(size + 1).collect();
        Ok(page(items, size, |g| g.enrollment_group_id.clone()))
    })())
}

async fn show_registration(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    either((|| {
        authorised(&app, &headers)?;
        let found = app.registrar.registration(&id, clock::now());
        found.map(|state| json_value(200, &state)).ok_or_else(|| no_registration(&app, &id))
    })())
}

async fn delete_registration(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    either((|| {
        authorised(&app, &headers)?;
        let deleted = app.registrar.delete_registration(&id);
        if deleted { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(no_registration(&app, &id)) }
    })())
}

fn no_registration(app: &App, id: &str) -> Response {
    problem(app, errors::NOT_FOUND, &format!("no device registered as `{id}`"))
}

async fn query_registrations(
    State(app): State<App>,
    Path(group): Path<String>,
    headers: HeaderMap,
) -> Response {
    either((|| {
        authorised(&app, &headers)?;
        let size = page_size(&headers);
        let items = app.registrar.registrations(&group, continuation(&headers), size + 1, clock::now());
        Ok(page(items, size, |s| s.registration_id.clone().unwrap_or_default().to_ascii_lowercase()))
    })())
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
