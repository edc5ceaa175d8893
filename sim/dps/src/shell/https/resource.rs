//! The resource manager's part: the instance itself, read only, and its CA certificates.

use super::{App, if_match, json_value, with_retry_after};
use crate::certificates::{CaFault, CaRecord};
use crate::control::Control;
use crate::ids::Ids;
use crate::policy::{Policies, Right};
use crate::shell::clock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sim_protocol::CaName;
use sim_protocol::attestation::AllocationPolicy;
use sim_protocol::resource::{
    CertificateList, PutCertificate, ResourceError, ResourceErrorBody, VerifyCertificate, codes,
};

const TYPE: &str = "Microsoft.Devices/provisioningServices";

pub(super) fn routes(app: &App) -> Router<App> {
    let mut router = Router::new();
    // The resource manager does not mind the case of a path's fixed words, and clients differ in this one.
    for groups in ["resourceGroups", "resourcegroups"] {
        let group = format!("/subscriptions/{{subscription}}/{groups}/{{group}}/providers/{TYPE}");
        let service = format!("{group}/{{service}}");
        let record = format!("{service}/certificates/{{name}}");
        router = router
            .route(&group, get(list_services))
            .route(&service, get(show_service))
            .route(&format!("{service}/listkeys"), post(list_keys))
            .route(&format!("{service}/keys/{{key}}/listkeys"), post(list_one_key))
            .route(&format!("{service}/certificates"), get(list))
            .route(&record, get(show).merge(write(Verb::Upload)).delete(delete))
            .route(&format!("{record}/generateVerificationCode"), write(Verb::GenerateCode))
            .route(&format!("{record}/verify"), write(Verb::Verify));
    }
    router
        .route(&format!("/subscriptions/{{subscription}}/providers/{TYPE}"), get(list_services))
        .layer(from_fn_with_state(app.clone(), admit))
}

/// A bearer token has to be there, and the rate has to allow one more call. `ours:` the token's issuer cannot be
/// asked from here, so any token passes.
async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let token = token.and_then(|t| t.strip_prefix("Bearer ")).map(str::trim);
    if !app.service.no_auth && token.is_none_or(str::is_empty) {
        let text = "this call needs an Authorization header with a bearer token";
        return problem(401, codes::UNAUTHORIZED, text);
    }
    match app.service.registrar.operation(clock::now()) {
        Ok(()) => next.run(request).await,
        Err(wait) => {
            let text = "too many operations in this minute; repeat the call after the time in Retry-After";
            with_retry_after(problem(429, codes::THROTTLED, text), Some(wait))
        }
    }
}

pub(super) fn problem(status: u16, code: &str, message: &str) -> Response {
    let error = ResourceErrorBody { code: code.to_owned(), message: format!("{message} errorcode: {code}.") };
    json_value(status, &ResourceError { error })
}

fn refused(fault: &CaFault) -> Response {
    let (status, code) = fault.status_and_code();
    problem(status, code, &format!("{fault}. {}", fault.advice()).replace("..", "."))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CaFault> {
    serde_json::from_slice(body).map_err(|e| CaFault::Body(e.to_string()))
}

/// The collection's path as the caller spelled it, for the `id` of the answers.
fn collection(path: &str) -> String {
    path.split_once("/certificates").map_or(path, |(before, _)| before).to_owned() + "/certificates"
}

/// The name in a record's path: its last part, or the one before the verb.
fn name(parts: Vec<(String, String)>) -> Result<CaName, CaFault> {
    let name = parts.into_iter().find(|(key, _)| key == "name").map(|(_, value)| value);
    Ok(CaName::new(name.unwrap_or_default())?)
}

type Parts = Path<Vec<(String, String)>>;

async fn list(State(app): State<App>, uri: Uri) -> Response {
    let collection = collection(uri.path());
    let value =
        app.service.registrar.read(|c| c.authorities.records().map(|r| r.response(&collection)).collect());
    json_value(200, &CertificateList { value })
}

async fn show(State(app): State<App>, uri: Uri, Path(parts): Parts) -> Response {
    let find = |name: CaName| app.service.registrar.read(|c| c.authorities.record(&name).cloned());
    answer(name(parts).and_then(find), &uri)
}

fn answer(record: Result<CaRecord, CaFault>, uri: &Uri) -> Response {
    match record {
        Ok(record) => json_value(200, &record.response(&collection(uri.path()))),
        Err(fault) => refused(&fault),
    }
}

/// The calls that change a record and answer with what became of it.
#[derive(Clone, Copy)]
enum Verb {
    Upload,
    GenerateCode,
    Verify,
}

fn write(verb: Verb) -> MethodRouter<App> {
    let handler =
        async move |State(app): State<App>, uri: Uri, Path(parts): Parts, headers: HeaderMap, body: Bytes| {
            answer(change(&app, verb, parts, &headers, &body).await, &uri)
        };
    match verb {
        Verb::Upload => axum::routing::put(handler),
        Verb::GenerateCode | Verb::Verify => post(handler),
    }
}

async fn change(
    app: &App,
    verb: Verb,
    parts: Vec<(String, String)>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<CaRecord, CaFault> {
    let name = name(parts)?;
    let upload = if let Verb::Upload = verb { Some(parse::<PutCertificate>(body)?.body()) } else { None };
    let proof =
        if let Verb::Verify = verb { parse::<VerifyCertificate>(body)?.certificate } else { String::new() };
    let config = app.service.registrar.config();
    let (limits, lifetime) = (config.limits, config.knobs.code_lifetime);
    let (if_match, now) = (if_match(headers), clock::now());
    let written = app.service.write(|control: &mut Control, ids: &Ids| {
        let store = &mut control.authorities;
        match upload {
            Some(upload) => store.put(name, upload, if_match, &limits, ids, now),
            None if matches!(verb, Verb::GenerateCode) => store.generate_code(&name, if_match, ids, now),
            None => store.verify(&name, &proof, if_match, lifetime, ids, now),
        }
        .cloned()
    });
    written.await.map_err(|e| CaFault::NotKept(e.to_string()))?
}

async fn delete(State(app): State<App>, Path(parts): Parts, headers: HeaderMap) -> Response {
    let deleted = async {
        let name = name(parts)?;
        let deleted = app.service.write(|c, _| c.authorities.delete(&name, if_match(&headers))).await;
        deleted.map_err(|e| CaFault::NotKept(e.to_string()))?
    };
    match deleted.await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(fault) => refused(&fault),
    }
}

/// The instance as the resource manager shows it, under the path it was asked for by.
fn service(app: &App, host: &str, id: &str) -> Value {
    let registrar = &app.service.registrar;
    let config = registrar.config();
    let policy = match config.allocation_policy {
        AllocationPolicy::GeoLatency => "GeoLatency",
        AllocationPolicy::Static => "Static",
        AllocationPolicy::Hashed | AllocationPolicy::Custom => "Hashed",
    };
    let hubs = config.hubs.iter().map(|hub| {
        json!({
            "name": hub.host, "location": "mock", "applyAllocationPolicy": hub.applies,
            "allocationWeight": hub.weight,
        })
    });
    json!({
        "id": id, "name": id.rsplit('/').next(), "type": TYPE, "location": "mock", "tags": {},
        "sku": { "name": "S1", "tier": "Standard", "capacity": 1 },
        "properties": {
            "state": "Active", "provisioningState": "Succeeded", "iotHubs": hubs.collect::<Vec<_>>(),
            "allocationPolicy": policy, "serviceOperationsHostName": host,
            "deviceProvisioningHostName": host, "idScope": config.id_scope, "authorizationPolicies": [],
        },
    })
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

async fn show_service(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    json_value(200, &service(&app, host(&headers), uri.path()))
}

/// `ours:` the mock plays one instance, which has whatever name it is asked for by; a list shows it by one.
async fn list_services(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let value = [service(&app, host(&headers), &format!("{}/rollcall", uri.path()))];
    json_value(200, &json!({ "value": value }))
}

fn keys(policies: &Policies) -> Vec<Value> {
    let shown = policies.iter().map(|policy| {
        let rights: Vec<&str> = policy.rights.iter().map(|right| pascal(*right)).collect();
        json!({
            "keyName": policy.name, "primaryKey": policy.primary.to_base64(),
            "secondaryKey": policy.secondary.to_base64(), "rights": rights.join(", "),
        })
    });
    shown.collect()
}

/// A right as the resource manager spells it.
const fn pascal(right: Right) -> &'static str {
    match right {
        Right::ServiceConfig => "ServiceConfig",
        Right::EnrollmentRead => "EnrollmentRead",
        Right::EnrollmentWrite => "EnrollmentWrite",
        Right::DeviceConnect => "DeviceConnect",
        Right::RegistrationStatusRead => "RegistrationStatusRead",
        Right::RegistrationStatusWrite => "RegistrationStatusWrite",
    }
}

async fn list_keys(State(app): State<App>) -> Response {
    json_value(200, &json!({ "value": keys(&app.service.policies) }))
}

async fn list_one_key(State(app): State<App>, Path(parts): Parts) -> Response {
    let wanted = parts.iter().find(|(key, _)| key == "key").map(|(_, value)| value.as_str());
    let found = keys(&app.service.policies).into_iter().find(|key| key["keyName"].as_str() == wanted);
    match found {
        Some(key) => json_value(200, &key),
        None => problem(404, codes::NOT_FOUND, "no policy has that name"),
    }
}
