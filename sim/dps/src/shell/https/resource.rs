//! The resource manager's part: CA certificates of the instance.

use super::{App, if_match, json_value};
use crate::certificates::{CaFault, CaRecord, CaStore};
use crate::ids::Ids;
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

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CaFault> {
    serde_json::from_slice(body).map_err(|e| CaFault::Body(e.to_string()))
}

/// The collection's path as the caller spelled it, for the `id` of the answers.
fn collection(path: &str) -> String {
    path.split_once("/certificates").map_or(path, |(before, _)| before).to_owned() + "/certificates"
}

/// Changes a record and answers with what became of it, once that is kept.
async fn change(
    app: &App,
    uri: &Uri,
    change: impl FnOnce(&mut CaStore, &Ids) -> Result<CaRecord, CaFault>,
) -> Result<CertificateResponse, CaFault> {
    let changed = app.service.write(|instance, ids| change(&mut instance.authorities, ids)).await;
    let record = changed.map_err(|e| CaFault::NotKept(e.to_string()))??;
    Ok(record.response(&collection(uri.path())))
}

async fn list(State(app): State<App>, uri: Uri, _: Path<InstanceParts>) -> Response {
    let collection = collection(uri.path());
    let value =
        app.service.registrar.read(|i| i.authorities.records().map(|r| r.response(&collection)).collect());
    json_value(200, &CertificateList { value })
}

async fn show(State(app): State<App>, uri: Uri, Path(parts): Path<RecordParts>) -> Response {
    let shown = |r: &CaRecord| r.response(&collection(uri.path()));
    let find = |name: CaName| app.service.registrar.read(|i| i.authorities.record(&name).map(shown));
    answer(CaName::new(parts.3).map_err(CaFault::from).and_then(find))
}

async fn upload(
    State(app): State<App>,
    uri: Uri,
    Path(parts): Path<RecordParts>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let put = async {
        let name = CaName::new(parts.3)?;
        let body = parse::<PutCertificate>(&body)?.body();
        let put = |store: &mut CaStore, ids: &Ids| {
            store.put(name, body, if_match(&headers), ids, clock::now()).cloned()
        };
        change(&app, &uri, put).await
    };
    answer(put.await)
}

async fn generate_code(
    State(app): State<App>,
    uri: Uri,
    Path(parts): Path<RecordParts>,
    headers: HeaderMap,
) -> Response {
    let generated = async {
        let name = CaName::new(parts.3)?;
        let generate = |store: &mut CaStore, ids: &Ids| {
            store.generate_code(&name, if_match(&headers), ids, clock::now()).cloned()
        };
        change(&app, &uri, generate).await
    };
    answer(generated.await)
}

async fn verify(
    State(app): State<App>,
    uri: Uri,
    Path(parts): Path<RecordParts>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let verified = async {
        let name = CaName::new(parts.3)?;
        let proof = parse::<VerifyCertificate>(&body)?.certificate;
        let verify = |store: &mut CaStore, ids: &Ids| {
            store.verify(&name, &proof, if_match(&headers), ids, clock::now()).cloned()
        };
        change(&app, &uri, verify).await
    };
    answer(verified.await)
}

async fn delete(State(app): State<App>, Path(parts): Path<RecordParts>, headers: HeaderMap) -> Response {
    let deleted = async {
        let name = CaName::new(parts.3)?;
        let deleted = app.service.write(|i, _| i.authorities.delete(&name, if_match(&headers))).await;
        deleted.map_err(|e| CaFault::NotKept(e.to_string()))?
    };
    match deleted.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(fault) => refused(&fault),
    }
}
