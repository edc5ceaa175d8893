//! Calls written down instead of sent, and the answers that stand in for those nobody gave.

use crate::exchange::Call;
use reqwest::header::HeaderName;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Fields whose text is a secret wherever they stand in a body.
const SECRETS: [(&str, &str); 2] = [("primaryKey", "{primary key}"), ("secondaryKey", "{secondary key}")];

/// A call that would be made. Neither credentials nor keys are in it; what an earlier answer would have told
/// stands in it as `{etag of "root"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedCall {
    /// HTTP method.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Headers by lower-case name, but for `authorization`.
    pub headers: BTreeMap<String, String>,
    /// The JSON body, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// The calls that were written down, in order. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notebook(Arc<Mutex<Vec<PlannedCall>>>);

impl Notebook {
    /// Writes a call down.
    pub(crate) fn note(&self, call: &Call<'_>, headers: &[(HeaderName, String)]) {
        let planned = PlannedCall {
            method: call.method.to_string(),
            url: call.url.clone(),
            headers: headers.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            body: call.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()).map(redacted),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(planned);
    }

    /// What was written down so far.
    pub(crate) fn calls(&self) -> Vec<PlannedCall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What stands where an earlier answer would have told something.
pub(crate) fn placeholder(what: &str, name: &str) -> String {
    format!("{{{what} of \"{name}\"}}")
}

/// A body as it may be shown: no keys, and no query of a webhook's address, which carries its function key.
fn redacted(body: Value) -> Value {
    match body {
        Value::Object(fields) => Value::Object(fields.into_iter().map(field).collect::<Map<_, _>>()),
        Value::Array(items) => Value::Array(items.into_iter().map(redacted).collect()),
        other => other,
    }
}

fn field((name, value): (String, Value)) -> (String, Value) {
    let secret = SECRETS.iter().find(|(secret, _)| *secret == name);
    let value = match (secret, value) {
        (Some((_, shown)), Value::String(_)) => Value::String((*shown).to_owned()),
        (None, Value::String(url)) if name == "webhookUrl" => match url.split_once('?') {
            Some((address, _)) => Value::String(format!("{address}?{{query}}")),
            None => Value::String(url),
        },
        (_, value) => redacted(value),
    };
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_shown_without_its_secrets() {
        let body = json!({"enrollments": [{
            "attestation": {"symmetricKey": {"primaryKey": "hush", "secondaryKey": null}},
            "customAllocationDefinition": {"webhookUrl": "https://h/api?code=hush", "apiVersion": "v"},
        }]});
        let shown = redacted(body);
        assert_eq!(
            shown.pointer("/enrollments/0/attestation/symmetricKey/primaryKey"),
            Some(&"{primary key}".into())
        );
        assert_eq!(shown.pointer("/enrollments/0/attestation/symmetricKey/secondaryKey"), Some(&Value::Null));
        assert_eq!(
            shown.pointer("/enrollments/0/customAllocationDefinition/webhookUrl"),
            Some(&"https://h/api?{query}".into())
        );
        assert!(!shown.to_string().contains("hush"));
    }
}
