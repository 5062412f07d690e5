//! One POST, once. What the client says is never repeated: its errors hold the URL, which is a secret.

use std::time::Duration;

use reqwest::header;
use serde_json::Value;
use url::Url;

use super::OPERATION;
use crate::ports::{PortError, PortErrorKind};

/// Telling people must not hold up an invocation.
pub(super) const TIME_OUT: Duration = Duration::from_secs(10);

pub(super) async fn once(client: &reqwest::Client, url: Url, body: &Value) -> Result<(), PortError> {
    let response = client.post(url).json(body).send().await.map_err(|error| {
        let says = if error.is_timeout() {
            "the channel did not answer within 10 s; it may have shown the message all the same"
        } else if error.is_connect() {
            "the channel cannot be reached: check its URL in the app setting, and the network"
        } else {
            "the connection to the channel broke; it may have shown the message all the same"
        };
        PortError::new(OPERATION, PortErrorKind::Transient, says)
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let (kind, says) = match status.as_u16() {
        300..=399 => {
            (PortErrorKind::Invalid, "the channel redirects, which is not followed: store its final URL in the app setting")
        }
        401 | 403 => (PortErrorKind::Denied, "the channel refuses the message: renew its URL in the app setting"),
        404 | 410 => (PortErrorKind::NotFound, "the channel is gone: renew its URL in the app setting"),
        408 | 500.. => (PortErrorKind::Transient, "the channel has a fault of its own"),
        429 => (PortErrorKind::Throttled, "the channel asks for a pause"),
        _ => (PortErrorKind::Invalid, "the channel does not take this message: check that its kind in the policy is right"),
    };
    let mut error = PortError::new(OPERATION, kind, format!("{says} (status {})", status.as_u16()));
    error.retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(Duration::from_secs);
    Err(error)
}
