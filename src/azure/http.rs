//! What every HTTP client that carries a token has in common: where it may go, how much it reads, and how a failure is told.

use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode, header::HeaderMap, redirect};
use url::Url;

use super::{answer::clean, resource_manager::Limits};
use crate::settings::endpoint::is_loopback;

/// One answer, whatever its status.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// False when the body broke off or is too long: then the status alone tells.
    pub complete: bool,
}

/// A client for `endpoint`: no redirect is followed, and no proxy knows what is on this machine.
pub fn client(endpoint: &Url, limits: &Limits) -> ClientBuilder {
    let builder = Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(limits.connect_within)
        .timeout(limits.answer_within)
        .user_agent(concat!("backout/", env!("CARGO_PKG_VERSION")));
    let builder = if is_loopback(endpoint) { builder.no_proxy() } else { builder };
    // Plain http on loopback, and no redirect away from it: the system's certificates need not be loaded.
    if endpoint.scheme() == "http" { builder.tls_certs_only([]) } else { builder }
}

/// [`client`] for the calls that are sent once: no retry, and a connection of its own for each, since one that was kept open may be
/// dead, and a reset on it would look like a sent call.
pub fn client_that_sends_once(endpoint: &Url, limits: &Limits) -> ClientBuilder {
    client(endpoint, limits).pool_max_idle_per_host(0).retry(reqwest::retry::never())
}

/// Sends one request and reads its answer, as far as the limits let it.
pub async fn answer_of(request: RequestBuilder, limits: &Limits) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes_max = if status.is_success() { limits.body_bytes_max } else { limits.error_body_bytes_max };
    let mut body = Vec::new();
    let mut complete = true;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= bytes_max => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => {
                complete = false;
                break;
            }
        }
    }
    Ok(Answer { status, headers, body, complete })
}

/// What became of a request to `whom` that got no answer, in words; never the URL.
pub fn reason(error: &reqwest::Error, whom: &str) -> String {
    let what = if error.is_connect() {
        format!("no connection to {whom}")
    } else if error.is_timeout() {
        format!("no answer from {whom} in time")
    } else {
        format!("the connection to {whom} broke")
    };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    match cause {
        Some(cause) => format!("{what} ({})", clean(&cause.to_string())),
        None => what,
    }
}
