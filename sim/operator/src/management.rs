//! The mock's management port: plain HTTP on loopback, behind a token, and nothing that Azure has.

use crate::error::OperatorError;
use crate::exchange::CALL_TIMEOUT;
use serde_json::Value;
use std::net::SocketAddr;

/// What a mock's ledger says at this moment, as JSON.
pub async fn ledger(management: SocketAddr, token: Option<&str>) -> Result<Value, OperatorError> {
    let url = format!("http://{management}/ledger");
    let attempted = "read the mock's ledger".to_owned();
    let client = reqwest::Client::builder().no_proxy().timeout(CALL_TIMEOUT).build();
    let client = client.map_err(|source| OperatorError::Client { source })?;
    let lost = |source| OperatorError::transport(attempted.clone(), &url, source);
    let answer = client.get(&url).bearer_auth(token.unwrap_or_default()).send().await.map_err(lost)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(lost)?;
    if !status.is_success() {
        return Err(OperatorError::refused(attempted, status.as_u16(), None, &body));
    }
    serde_json::from_slice(&body).map_err(|e| OperatorError::Malformed {
        attempted,
        url,
        reason: e.to_string(),
    })
}
