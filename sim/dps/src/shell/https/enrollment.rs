//! The service API's part: enrollments and registration records, behind shared access signatures.

use super::{App, error, if_match, json_value, with_retry_after};
use crate::enrollments::EnrollmentFault;
use crate::memory::Touched;
use crate::policy::{Denied, Right};
use crate::shell::clock;
use crate::shell::journal::NotKept;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use sim_protocol::attestation::{
    BulkEnrollments, BulkError, BulkGroups, BulkMode, BulkResult, EnrollmentGroup, IndividualEnrollment,
    MAX_BULK, Query, Terms,
};
use sim_protocol::errors::{self, Refusal};
use sim_protocol::{EnrollmentGroupId, InvalidName, RegistrationId};
use std::time::Duration;

const CONTINUATION: &str = "x-ms-continuation";
const MAX_ITEMS: &str = "x-ms-max-item-count";
const ITEM_TYPE: &str = "x-ms-item-type";
/// `ours:` the service's largest page is unknown.
const PAGE: usize = 1000;

pub(super) fn routes() -> Router<App> {
    let mut router = Router::new()
        .route("/enrollments", post(bulk_individuals))
        // One official client ends its bulk calls' path in a slash.
        .route("/enrollments/", post(bulk_individuals))
        .route("/enrollments/query", post(query_individuals))
        .route("/enrollments/{id}", get(show_individual).put(put_individual).delete(delete_individual))
        .route("/enrollments/{id}/attestationmechanism", post(individual_attestation))
        .route("/registrations/{id}", get(show_registration).delete(delete_registration))
        .route("/registrations/{id}/query", post(query_registrations));
    // Official clients write the first path segment in either case.
    for prefix in ["enrollmentGroups", "enrollmentgroups"] {
        router = router
            .route(&format!("/{prefix}"), post(bulk_groups))
            .route(&format!("/{prefix}/"), post(bulk_groups))
            .route(&format!("/{prefix}/query"), post(query_groups))
            .route(&format!("/{prefix}/{{id}}"), get(show_group).put(put_group).delete(delete_group))
            .route(&format!("/{prefix}/{{id}}/attestationmechanism"), post(group_attestation));
    }
    router
}

/// Why a call was refused: what the wire says, and the reason in words.
struct Problem {
    refusal: Refusal,
    reason: String,
    retry_after: Option<Duration>,
}

fn refused(refusal: Refusal, reason: impl Into<String>) -> Problem {
    Problem { refusal, reason: reason.into(), retry_after: None }
}

impl From<EnrollmentFault> for Problem {
    fn from(EnrollmentFault { refusal, reason }: EnrollmentFault) -> Self {
        refused(refusal, reason)
    }
}

impl From<NotKept> for Problem {
    fn from(fault: NotKept) -> Self {
        refused(errors::INTERNAL, fault.to_string())
    }
}

impl From<InvalidName> for Problem {
    fn from(fault: InvalidName) -> Self {
        refused(errors::BAD_ARGUMENT, fault.to_string())
    }
}

impl From<Denied> for Problem {
    fn from(fault: Denied) -> Self {
        let refusal = if matches!(fault, Denied::MissingRight { .. }) {
            errors::FORBIDDEN
        } else {
            errors::NO_CREDENTIAL
        };
        refused(refusal, fault.to_string())
    }
}

/// What every handler is called with.
type Call = (State<App>, Uri, HeaderMap);

/// Answers a call whose token allows it, and for which there is still room in this minute.
async fn guarded(
    (State(app), uri, headers): &Call,
    right: Right,
    call: impl Future<Output = Result<Response, Problem>>,
) -> Response {
    let now = clock::now();
    let answered = match authorised(app, uri, headers, right) {
        Ok(()) => call.await,
        Err(problem) => Err(problem),
    };
    answered.unwrap_or_else(|Problem { refusal, reason, retry_after }| {
        let body = app.service.registrar.error_body(refusal, &reason, now);
        with_retry_after(error(refusal.status(), &body), retry_after)
    })
}

fn authorised(app: &App, uri: &Uri, headers: &HeaderMap, right: Right) -> Result<(), Problem> {
    let now = clock::now();
    if !app.service.no_auth {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (token, host) = (text(header::AUTHORIZATION), text(header::HOST));
        let seconds = now.unix_timestamp().unsigned_abs();
        // `ours:` Entra tokens work here, too; their issuer cannot be asked from here, so any passes.
        if token.strip_prefix("Bearer ").is_none_or(|bearer| bearer.trim().is_empty()) {
            app.service.policies.authorize(token, host, uri.path(), right, seconds)?;
        }
    }
    let throttled =
        |wait| Problem { retry_after: Some(wait), ..refused(errors::THROTTLED, errors::THROTTLED.message) };
    app.service.registrar.operation(now).map_err(throttled)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let wrong = |e| refused(errors::DESERIALIZATION, format!("{}: {e}", errors::DESERIALIZATION.message));
    serde_json::from_slice(body).map_err(wrong)
}

fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

// ---- groups ----

async fn put_group(call: Call, Path(id): Path<String>, body: Bytes) -> Response {
    let (State(app), _, headers) = &call;
    let put = async {
        let (id, document) = (EnrollmentGroupId::new(id)?, parse::<EnrollmentGroup>(&body)?);
        let put = app.service.registrar.put_group(id, document, if_match(headers), clock::now())?;
        app.service.keep(Touched::Control).await?;
        Ok(json_value(200, &put))
    };
    guarded(&call, Right::EnrollmentWrite, put).await
}

async fn show_group(call: Call, Path(id): Path<String>) -> Response {
    let show = async {
        let id = EnrollmentGroupId::new(id)?;
        Ok(json_value(200, &call.0.service.registrar.read(|c| c.groups.group(&id).cloned())?))
    };
    guarded(&call, Right::EnrollmentRead, show).await
}

async fn group_attestation(call: Call, Path(id): Path<String>) -> Response {
    let show = async {
        let id = EnrollmentGroupId::new(id)?;
        Ok(json_value(200, &call.0.service.registrar.read(|c| c.groups.attestation(&id))?))
    };
    // It shows keys, so reading is not enough.
    guarded(&call, Right::EnrollmentWrite, show).await
}

async fn delete_group(call: Call, Path(id): Path<String>) -> Response {
    let (State(app), _, headers) = &call;
    let delete = async {
        let id = EnrollmentGroupId::new(id)?;
        app.service.write(|c, _| c.groups.delete(&id, if_match(headers))).await??;
        Ok(no_content())
    };
    guarded(&call, Right::EnrollmentWrite, delete).await
}

async fn query_groups(call: Call, body: Bytes) -> Response {
    let (State(app), _, headers) = &call;
    let query = async {
        check_query(&body, "enrollmentGroups")?;
        let (after, size) = (continuation(headers), page_size(headers)?);
        let all = app.service.registrar.read(|c| c.groups.groups().cloned().collect::<Vec<_>>());
        let rest = all.into_iter().filter(|g| after.is_none_or(|a| g.enrollment_group_id.as_str() > a));
        Ok(page(rest.take(size + 1).collect(), size, "enrollmentGroup", |g| g.enrollment_group_id.clone()))
    };
    guarded(&call, Right::EnrollmentRead, query).await
}

async fn bulk_groups(call: Call, body: Bytes) -> Response {
    let (State(app), ..) = &call;
    let bulk = async {
        let BulkGroups { enrollment_groups, mode } = parse(&body)?;
        check_bulk(enrollment_groups.len())?;
        let errors = enrollment_groups.into_iter().filter_map(|group| {
            let name = group.enrollment_group_id.clone();
            let failed = |Problem { refusal, reason, .. }| BulkError {
                enrollment_group_id: Some(name.clone()),
                error_code: refusal.code,
                error_status: reason,
                ..BulkError::default()
            };
            one_group(app, group, mode).map_err(failed).err()
        });
        let errors: Vec<_> = errors.collect();
        app.service.keep(Touched::Control).await?;
        Ok(json_value(200, &BulkResult { is_successful: errors.is_empty(), errors }))
    };
    guarded(&call, Right::EnrollmentWrite, bulk).await
}

fn one_group(app: &App, group: EnrollmentGroup, mode: BulkMode) -> Result<(), Problem> {
    let id = EnrollmentGroupId::new(group.enrollment_group_id.as_str())?;
    let registrar = &app.service.registrar;
    if mode == BulkMode::Delete {
        return Ok(registrar.write(|c, _| c.groups.delete(&id, group.terms.etag.as_deref()))?);
    }
    if mode == BulkMode::Update {
        registrar.read(|c| c.groups.group(&id).map(drop))?;
    }
    let if_match = bulk_if_match(mode, &group.terms);
    registrar.put_group(id, group, if_match.as_deref(), clock::now())?;
    Ok(())
}

// ---- individual enrollments ----

async fn put_individual(call: Call, Path(id): Path<String>, body: Bytes) -> Response {
    let (State(app), _, headers) = &call;
    let put = async {
        let (id, document) = (RegistrationId::new(id)?, parse::<IndividualEnrollment>(&body)?);
        let put = app.service.registrar.put_individual(&id, document, if_match(headers), clock::now())?;
        app.service.keep(Touched::Individual(id.key())).await?;
        Ok(json_value(200, &put))
    };
    guarded(&call, Right::EnrollmentWrite, put).await
}

async fn show_individual(call: Call, Path(id): Path<String>) -> Response {
    let show = async {
        let id = RegistrationId::new(id)?;
        Ok(json_value(200, &call.0.service.registrar.individual(&id, clock::now())?))
    };
    guarded(&call, Right::EnrollmentRead, show).await
}

async fn individual_attestation(call: Call, Path(id): Path<String>) -> Response {
    let show = async {
        let id = RegistrationId::new(id)?;
        Ok(json_value(200, &call.0.service.registrar.individual_attestation(&id)?))
    };
    guarded(&call, Right::EnrollmentWrite, show).await
}

async fn delete_individual(call: Call, Path(id): Path<String>) -> Response {
    let (State(app), _, headers) = &call;
    let delete = async {
        let id = RegistrationId::new(id)?;
        app.service.registrar.delete_individual(&id, if_match(headers))?;
        app.service.keep(Touched::Individual(id.key())).await?;
        Ok(no_content())
    };
    guarded(&call, Right::EnrollmentWrite, delete).await
}

async fn query_individuals(call: Call, body: Bytes) -> Response {
    let (State(app), _, headers) = &call;
    let query = async {
        check_query(&body, "enrollments")?;
        let size = page_size(headers)?;
        let items = app.service.registrar.individuals_after(continuation(headers), size + 1, clock::now());
        Ok(page(items, size, "enrollment", |one| one.registration_id.to_ascii_lowercase()))
    };
    guarded(&call, Right::EnrollmentRead, query).await
}

async fn bulk_individuals(call: Call, body: Bytes) -> Response {
    let (State(app), ..) = &call;
    let bulk = async {
        let BulkEnrollments { enrollments, mode } = parse(&body)?;
        check_bulk(enrollments.len())?;
        let mut errors = Vec::new();
        for one in enrollments {
            let name = one.registration_id.clone();
            match one_individual(app, one, mode) {
                Ok(id) => app.service.keep(Touched::Individual(id.key())).await?,
                Err(Problem { refusal, reason, .. }) => errors.push(BulkError {
                    registration_id: Some(name),
                    error_code: refusal.code,
                    error_status: reason,
                    ..BulkError::default()
                }),
            }
        }
        Ok(json_value(200, &BulkResult { is_successful: errors.is_empty(), errors }))
    };
    guarded(&call, Right::EnrollmentWrite, bulk).await
}

fn one_individual(app: &App, one: IndividualEnrollment, mode: BulkMode) -> Result<RegistrationId, Problem> {
    let id = RegistrationId::new(one.registration_id.as_str())?;
    let registrar = &app.service.registrar;
    if mode == BulkMode::Delete {
        registrar.delete_individual(&id, one.terms.etag.as_deref())?;
        return Ok(id);
    }
    if mode == BulkMode::Update {
        registrar.individual(&id, clock::now())?;
    }
    let if_match = bulk_if_match(mode, &one.terms);
    registrar.put_individual(&id, one, if_match.as_deref(), clock::now())?;
    Ok(id)
}

/// `ours:` an update without an etag to compare changes whatever is there.
fn bulk_if_match(mode: BulkMode, terms: &Terms) -> Option<String> {
    match mode {
        BulkMode::Create | BulkMode::Delete => None,
        BulkMode::Update => Some("*".to_owned()),
        BulkMode::UpdateIfMatchETag => Some(terms.etag.clone().unwrap_or_default()),
    }
}

fn check_bulk(items: usize) -> Result<(), Problem> {
    if (1..=MAX_BULK).contains(&items) {
        return Ok(());
    }
    Err(refused(errors::BAD_ARGUMENT, format!("a bulk call takes 1 to {MAX_BULK} items, not {items}")))
}

// ---- registrations ----

async fn show_registration(call: Call, Path(id): Path<String>) -> Response {
    let show = async {
        let found = call.0.service.registrar.registration(&id, clock::now());
        Ok(json_value(200, &found.ok_or_else(|| no_registration(errors::NOT_FOUND, &id))?))
    };
    guarded(&call, Right::RegistrationStatusRead, show).await
}

async fn delete_registration(call: Call, Path(id): Path<String>) -> Response {
    let (State(app), _, headers) = &call;
    let delete = async {
        let deleted = app.service.registrar.delete_registration(&id, if_match(headers));
        app.service.keep(deleted.map_err(|refusal| no_registration(refusal, &id))?).await?;
        Ok(no_content())
    };
    guarded(&call, Right::RegistrationStatusWrite, delete).await
}

fn no_registration(refusal: Refusal, id: &str) -> Problem {
    let why =
        if refusal == errors::NOT_FOUND { "there is none" } else { "it has changed since; read it again" };
    refused(refusal, format!("{} Registration `{id}`: {why}", refusal.message))
}

async fn query_registrations(call: Call, Path(group): Path<String>) -> Response {
    let (State(app), _, headers) = &call;
    let query = async {
        let size = page_size(headers)?;
        let items =
            app.service.registrar.registrations(&group, continuation(headers), size + 1, clock::now());
        Ok(page(items, size, "deviceRegistration", |s| {
            s.registration_id.clone().unwrap_or_default().to_ascii_lowercase()
        }))
    };
    guarded(&call, Right::RegistrationStatusRead, query).await
}

// ---- pages ----

/// `ours:` what the service's query language takes beyond `SELECT *` is unknown, so nothing else is taken here.
fn check_query(body: &[u8], collection: &str) -> Result<(), Problem> {
    if body.is_empty() {
        return Ok(());
    }
    let Query { query } = parse(body)?;
    let words: Vec<&str> = query.split_whitespace().collect();
    let is = |word: &str, expected: &str| word.eq_ignore_ascii_case(expected);
    match words[..] {
        [] => Ok(()),
        [select, "*"] if is(select, "SELECT") => Ok(()),
        [select, "*", from, what] if is(select, "SELECT") && is(from, "FROM") && is(what, collection) => {
            Ok(())
        }
        _ => Err(refused(
            errors::BAD_ARGUMENT,
            format!("this query is not understood; send `SELECT * FROM {collection}`"),
        )),
    }
}

fn continuation(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTINUATION)?.to_str().ok().filter(|token| !token.is_empty())
}

fn page_size(headers: &HeaderMap) -> Result<usize, Problem> {
    let Some(asked) = headers.get(MAX_ITEMS) else { return Ok(PAGE) };
    let number = asked.to_str().ok().and_then(|text| text.trim().parse::<usize>().ok()).filter(|n| *n > 0);
    let wrong = || refused(errors::BAD_ARGUMENT, format!("{MAX_ITEMS} is a whole number above 0"));
    Ok(number.ok_or_else(wrong)?.min(PAGE))
}

/// One page: a bare JSON array, and where there is more a continuation, which is the last id of the page.
fn page<T: serde::Serialize>(
    mut items: Vec<T>,
    size: usize,
    kind: &'static str,
    id: impl Fn(&T) -> String,
) -> Response {
    let more = items.len() > size;
    items.truncate(size);
    let last = items.last().map(id);
    let mut response = json_value(200, &items);
    let headers = response.headers_mut();
    headers.insert(ITEM_TYPE, HeaderValue::from_static(kind));
    headers.insert(MAX_ITEMS, HeaderValue::from(size));
    if more && let Some(token) = last.and_then(|id| HeaderValue::from_str(&id).ok()) {
        headers.insert(CONTINUATION, token);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_the_official_clients_are_taken_and_no_others() {
        for (query, taken) in [
            ("", true),
            (r#"{"query":"SELECT *"}"#, true),
            (r#"{"query":"select * from enrollmentGroups"}"#, true),
            (r#"{"query":""}"#, true),
            (r#"{"query":"SELECT * FROM enrollments"}"#, false),
            (r#"{"query":"SELECT * FROM enrollmentGroups WHERE x = 1"}"#, false),
            (r#"{"query":"DROP TABLE"}"#, false),
        ] {
            assert_eq!(check_query(query.as_bytes(), "enrollmentGroups").is_ok(), taken, "{query}");
        }
    }
}
