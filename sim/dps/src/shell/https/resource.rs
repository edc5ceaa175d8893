//! The resource manager's part: CA certificates of the instance.

use super::{App, if_match, json_value};
use crate::certificates::{CaFault, CaRecord};
use crate::shell::clock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use sim_protocol::CaName;
use sim_protocol::resource::{
    CertificateList, CertificateResponse, PutCertificate, ResourceError, ResourceErrorBody,
    VerifyCertificate, codes,
};

type InstanceParts = (String, String, String);
type RecordParts = (String, String, String, String);

const COLLECTION: &str = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Devices/provisioningServices/{service}/certificates";

pub(super) fn routes() -> Router<App> {
    let record = format!("{COLLECTION}/{{name}}");
    Router::new()
        .route(COLLECTION, get(list))
        .route(&record, get(show).put(upload).delete(delete))
        .route(&format!("{record}/generateVerificationCode"), post(generate_code))
        .route(&format!("{record}/verify"), post(verify))
        .layer(from_fn(authorised))
}

/// A bearer token has to be there. `ours:` its issuer cannot be asked from here, so any token passes.
async fn authorised(request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    match token.and_then(|t| t.strip_prefix("Bearer ")).map(str::trim) {
        Some(token) if !token.is_empty() => next.run(request).await,
        _ => problem(401, codes::UNAUTHORIZED, "this call needs an Authorization header with a bearer token"),
    }
}

fn problem(status: u16, code: &str, message: &str) -> Response {
    let error = ResourceErrorBody { code: code.to_owned(), message: format!("{message} errorcode: {code}.") };
    json_value(status, &ResourceError { error })
}

fn refused(fault: &CaFault) -> Response {
    let (status, code) = fault.status_and_code();
    problem(status, code, &fault.to_string())
}

fn answer(result: Result<CertificateResponse, CaFault>) -> Response {
    match result {
        Ok(record) => json_value(200, &record),
        Err(fault) => refused(&fault),
    }
}

fn name(text: &str) -> Result<CaName, Response> {
    CaName::new(text).map_err(|e| problem(400, codes::NAME_INVALID, &e.to_string()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Response> {
    serde_json::from_slice(body).map_err(|e| {
        problem(400, codes::CERTIFICATE_INVALID, &format!("the body is not the JSON asked for: {e}"))
    })
}

/// The collection's path as the caller spelled it, for the `id` of the answers.
fn collection(path: &str) -> String {
    path.split_once("/certificates").map_or(path, |(before, _)| before).to_owned() + "/certificates"
}

async fn list(State(app): State<App>, uri: Uri, _: Path<InstanceParts>) -> Response {
    let collection = collection(uri.path());
    let value = app.registrar.read(|i| i.authorities.records().map(|r| r.response(&collection)).collect());
    json_value(200, &CertificateList { value })
}

async fn show(State(app): State<App>, uri: Uri, Path(parts): Path<RecordParts>) -> Response {
    let name = match name(&parts.3) {
        Ok(name) => name,
        Err(response) => return response,
    };
    let shown = |r: &CaRecord| r.response(&collection(uri.path()));
    answer(app.registrar.read(|i| i.authorities.record(&name).map(shown)))
}

async fn upload(
    State(app): State<App>,
    uri: Uri,
    Path(parts): Path<RecordParts>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (name, body) = match (name(&parts.3), parse::<PutCertificate>(&body)) {
        (Ok(name), Ok(body)) => (name, body.body()),
        (Err(response), _) | (_, Err(response)) => return response,
    };
    answer(app.registrar.write(|i, ids| {
        let put = i.authorities.put(name, body, if_match(&headers), ids, clock::now());
        put.map(|r| r.response(&collection(uri.path())))
    }))
}

async fn generate_code(
    State(app): State<App>,
    uri: Uri,
    Path(parts): Path<RecordParts>,
    headers: HeaderMap,
) -> Response {
    let name = match name(&parts.3) {
        Ok(name) => name,
        Err(response) => return response,
    };
    answer(app.registrar.write(|i, ids| {
        let made = i.authorities.generate_code(&name, if_match(&headers), ids, clock::now());
        made.map(|r| r.response(&collection(uri.path())))
    }))
}

async fn verify(
    State(app): State<App>,
    uri: Uri,
    Path(parts): Path<RecordParts>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (name, body) = match (name(&parts.3), parse::<VerifyCertificate>(&body)) {
        (Ok(name), Ok(body)) => (name, body),
        (Err(response), _) | (_, Err(response)) => return response,
    };
    answer(app.registrar.write(|i, ids| {
        let proven = i.authorities.verify(&name, &body.certificate, if_match(&headers), ids, clock::now());
        proven.map(|r| r.response(&collection(uri.path())))
    }))
}

async fn delete(State(app): State<App>, Path(parts): Path<RecordParts>, headers: HeaderMap) -> Response {
    let name = match name(&parts.3) {
        Ok(name) => name,
        Err(response) => return response,
    };
    match app.registrar.write(|i, _| i.authorities.delete(&name, if_match(&headers))) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(fault) => refused(&fault),
    }
}
