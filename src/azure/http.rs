//! What every HTTP client that carries a token has in common: where it may go, how much it reads, and how a failure is told.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode, header::HeaderMap, redirect};
use tokio::sync::{Semaphore, SemaphorePermit};
use tower::{BoxError, Layer, Service};
use url::Url;

use super::{answer::clean, resource_manager::Limits};
use crate::{
    ports::{PortErrorKind, SendBy},
    settings::endpoint::is_loopback,
};

/// One answer, whatever its status.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Then the status alone tells.
    pub cut: Option<Cut>,
}

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    BrokeOff,
    /// Longer than so many bytes.
    TooLong(usize),
}

impl Cut {
    /// As an error: what broke off may come whole the next time, and what is too long stays so.
    pub fn told(self) -> (PortErrorKind, String) {
        match self {
            Self::BrokeOff => (PortErrorKind::Transient, "the answer broke off".to_owned()),
            Self::TooLong(bytes_max) => (
                PortErrorKind::Invalid,
                format!("the answer is too long: more than {} KiB, which asking again does not change", bytes_max / 1024),
            ),
        }
    }
}

/// A client for `endpoint`: no redirect is followed, and no proxy knows what is on this machine. A proxy of the environment
/// (`HTTPS_PROXY`) is asked to connect to the rest, and sees no more than the host's name: TLS begins behind it.
pub fn client(endpoint: &Url, limits: &Limits) -> ClientBuilder {
    let builder = if is_loopback(endpoint) { client_without_proxy(limits) } else { client_of(limits) };
    // Plain http on loopback, and no redirect away from it: the system's certificates need not be loaded.
    if endpoint.scheme() == "http" { builder.tls_certs_only([]) } else { builder }
}

/// A client for what is not loopback by name, and still no proxy's business.
pub fn client_without_proxy(limits: &Limits) -> ClientBuilder {
    client_of(limits).no_proxy()
}

fn client_of(limits: &Limits) -> ClientBuilder {
    Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(limits.connect_within)
        .timeout(limits.answer_within)
        .user_agent(concat!("backout/", env!("CARGO_PKG_VERSION")))
}

/// [`client`] for the calls that are sent once: no retry, and a connection of its own for each, since one that was kept open may be
/// dead, and a reset on it would look like a sent call. A connection that comes too late by [`SendBy`] is not used: then not a byte
/// was sent, which is told like a connection that was never made.
pub fn client_that_sends_once(endpoint: &Url, limits: &Limits) -> ClientBuilder {
    client(endpoint, limits).pool_max_idle_per_host(0).retry(reqwest::retry::never()).connector_layer(InTime)
}

/// Requests to one address that are under way at once, and so the connections that are kept to it. An instance of App Service or
/// Functions has 128 ports for one address, and a port is free again minutes after its connection; without one there is no connection.
/// Source: "Troubleshooting intermittent outbound connection errors in Azure App Service".
pub const AT_ONCE_MAX: usize = 64;

/// How long a request waits for its turn. Then it goes without: behind a service that hangs, a look before a call would else come too
/// late for it.
const TURN_WITHIN: Duration = Duration::from_secs(2);

/// Where requests to one address wait for their turn. The call that is sent once is never in it.
pub struct Line(Semaphore);

impl Default for Line {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE_MAX))
    }
}

impl Line {
    /// To be held until the answer is read. `None` for who has waited for long enough.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(TURN_WITHIN, self.0.acquire()).await.ok()?.ok()
    }
}

/// Sends one request and reads its answer, as far as the limits let it.
pub async fn answer_of(request: RequestBuilder, limits: &Limits) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes_max = if status.is_success() { limits.body_bytes_max } else { limits.error_body_bytes_max };
    let mut body = Vec::new();
    let mut cut = None;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= bytes_max => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Ok(Some(_)) => {
                cut = Some(Cut::TooLong(bytes_max));
                break;
            }
            Err(_) => {
                cut = Some(Cut::BrokeOff);
                break;
            }
        }
    }
    Ok(Answer { status, headers, body, cut })
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

#[derive(Clone)]
struct InTime;

impl<S> Layer<S> for InTime {
    type Service = ConnectorInTime<S>;

    fn layer(&self, connector: S) -> Self::Service {
        ConnectorInTime(connector)
    }
}

#[derive(Clone)]
struct ConnectorInTime<S>(S);

#[derive(Debug, thiserror::Error)]
#[error("the call was decided too long ago, so it was not sent")]
struct TooLate;

impl<S, T> Service<T> for ConnectorInTime<S>
where
    S: Service<T, Error = BoxError>,
    S::Response: Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    /// Polled by the task that sends: there is no pool whose task could do it.
    fn call(&mut self, to: T) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move {
            let connection = connecting.await?;
            if SendBy::has_passed() { Err(TooLate.into()) } else { Ok(connection) }
        })
    }
}
