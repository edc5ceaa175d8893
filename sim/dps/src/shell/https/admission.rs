//! What every API asks of a request before a handler sees it: an api-version, a body that is not too long, arrives in
//! time and is JSON. And what is said where no handler is.

use super::{App, error, resource};
use crate::shell::{OPENING, clock};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use sim_protocol::errors::{self, Refusal};
use sim_protocol::mqtt::MAX_MESSAGE;
use sim_protocol::resource::codes;

/// `ours:` the longest body of an operator's call; ten enrollments of long certificates fit.
const MAX_OPERATION: usize = 1 << 20;

/// Which API a path belongs to; each has its own form of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Device,
    Service,
    ResourceManager,
}

impl Api {
    fn of(path: &str) -> Api {
        let mut segments = path.trim_start_matches('/').split('/');
        let first = segments.next().unwrap_or_default();
        let is = |word: &str| first.eq_ignore_ascii_case(word);
        if is("subscriptions") {
            Api::ResourceManager
        } else if is("enrollments") || is("enrollmentGroups") || is("registrations") {
            Api::Service
        } else {
            Api::Device
        }
    }

    const fn longest(self) -> usize {
        match self {
            Api::Device => MAX_MESSAGE,
            Api::Service | Api::ResourceManager => MAX_OPERATION,
        }
    }
}

/// Lets a request through, its body read, or answers it.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let api = Api::of(request.uri().path());
    let problem = |refusal: Refusal, code: &str, reason: &str| {
        app.service.registrar.ledger.malformed.add();
        problem(&app, api, refusal, code, reason)
    };
    if !has_api_version(request.uri()) {
        let text = "this call needs api-version=YYYY-MM-DD or YYYY-MM-DD-preview in its query";
        return problem(errors::API_VERSION, codes::API_VERSION, text);
    }
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(OPENING, read(body, api.longest())).await {
        Ok(Some(body)) => body,
        Ok(None) => {
            let text = format!("the body is longer than {} bytes, or broke off", api.longest());
            return problem(errors::TOO_LARGE, codes::TOO_LARGE, &text);
        }
        Err(_) => {
            app.service.registrar.ledger.timeouts.add();
            return StatusCode::REQUEST_TIMEOUT.into_response();
        }
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    let writes = parts.method == Method::PUT || parts.method == Method::POST;
    if writes && !body.is_empty() && content_type.is_some_and(|v| !is_json(v.to_str().unwrap_or_default())) {
        return problem(errors::MEDIA_TYPE, codes::MEDIA_TYPE, "send the body as application/json");
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// The whole body, unless it is too long or breaks off. What is too long is read on for a while and thrown away: a
/// peer that is still sending would otherwise see its connection break in place of the answer.
async fn read(mut body: Body, longest: usize) -> Option<Bytes> {
    let (mut whole, mut wasted) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if wasted == 0 && whole.len() + data.len() <= longest {
            whole.extend_from_slice(&data);
            continue;
        }
        wasted += data.len();
        if wasted > MAX_OPERATION {
            break;
        }
    }
    (wasted == 0).then(|| whole.freeze())
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// `ours:` which versions the service knows is not written down in one place; a date, as all of them are.
fn has_api_version(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let version = query.split('&').filter_map(|p| p.split_once('=')).find(|(key, _)| *key == "api-version");
    version.is_some_and(|(_, value)| {
        let date = value.strip_suffix("-preview").unwrap_or(value);
        let digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
        matches!(date.split('-').collect::<Vec<_>>()[..], [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2))
    })
}

fn problem(app: &App, api: Api, refusal: Refusal, code: &str, reason: &str) -> Response {
    match api {
        Api::ResourceManager => resource::problem(refusal.status(), code, reason),
        Api::Device | Api::Service => {
            let text = format!("{} {reason}", refusal.message);
            error(refusal.status(), &app.service.registrar.error_body(refusal, &text, clock::now()))
        }
    }
}

/// The path is known, the method is not one it has.
pub(super) async fn no_such_method(State(app): State<App>, request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let reason = format!("{path} does not take {method}; see the Allow header");
    problem(&app, Api::of(path), errors::METHOD, codes::METHOD, &reason)
}

/// The path is not part of any API.
pub(super) async fn no_such_resource(State(app): State<App>, request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let reason = format!("no such resource: {method} {path}");
    problem(&app, Api::of(path), errors::NOT_FOUND, codes::NOT_FOUND, &reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_version_is_a_date() {
        for (query, good) in [
            ("api-version=2021-10-01", true),
            ("x=1&api-version=2025-07-01-preview", true),
            ("api-version=2026-11-01&y", true),
            ("api-version=", false),
            ("api-version=latest", false),
            ("api-version=2021-10", false),
            ("api-version=21-10-01", false),
            ("API-VERSION=2021-10-01", false),
        ] {
            let uri: Uri = format!("/a?{query}").parse().expect("a path");
            assert_eq!(has_api_version(&uri), good, "{query}");
        }
    }

    #[test]
    fn paths_belong_to_one_api() {
        for (path, api) in [
            ("/0ne00000001/registrations/d/register", Api::Device),
            ("/registrations/d", Api::Service),
            ("/enrollmentgroups/query", Api::Service),
            ("/enrollments", Api::Service),
            ("/subscriptions/s/resourceGroups/g", Api::ResourceManager),
            ("/", Api::Device),
        ] {
            assert_eq!(Api::of(path), api, "{path}");
        }
    }
}
