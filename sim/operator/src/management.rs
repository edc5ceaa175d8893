//! The mock's management port: plain HTTP on loopback, read only, and nothing that Azure has.

use crate::error::OperatorError;
use crate::exchange::CALL_TIMEOUT;
use serde_json::Value;
use std::net::SocketAddr;

/// What a mock's ledger says at this moment, as JSON.
pub async fn ledger(management: SocketAddr) -> Result<Value, OperatorError> {
    let url = format!("http://{management}/ledger");
    let attempted = "read the mock's ledger".to_owned();
    let client = reqwest::Client::builder().no_proxy().timeout(CALL_TIMEOUT).build();
    let client = client.map_err(|source| OperatorError::Client { source })?;
    let answer = async { client.get(&url).send().await?.error_for_status()?.bytes().await };
    let body = answer.await.map_err(|source| OperatorError::transport(attempted.clone(), &url, source))?;
    serde_json::from_slice(&body).map_err(|e| OperatorError::Malformed {
        attempted,
        url,
        reason: e.to_string(),
    })
}
