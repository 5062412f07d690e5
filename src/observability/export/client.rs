//! The HTTP client of the exporters: ours, by the rules of all of them ([`http::client`]), and with a token where the receiver asks for
//! one.

use std::{sync::Arc, time::Duration};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::ExposeSecret;
use tokio::sync::OnceCell;
use url::Url;

use super::EXPORT_MAX;
use crate::{
    azure::{http, identity::TokenSource, resource_manager::Limits},
    settings::endpoint::is_loopback,
};

const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Answers of receivers are a few lines.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Of one receiver. Built with the first request, since it may load the system's certificates.
#[derive(Debug, Clone)]
pub(super) struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: OnceCell<reqwest::Client>,
    bearer: Option<TokenSource>,
    /// The receiver is on this machine and speaks plain http, whatever the exporter makes of its URL.
    plain_http: bool,
}

impl Client {
    pub fn new(bearer: Option<TokenSource>, plain_http: bool) -> Self {
        Self(Arc::new(Inner { http: OnceCell::new(), bearer, plain_http }))
    }

    async fn http(&self, receiver: &Url) -> reqwest::Result<&reqwest::Client> {
        let limits = Limits { connect_within: CONNECT_MAX, answer_within: EXPORT_MAX, ..Limits::default() };
        self.0.http.get_or_try_init(|| async { http::client(receiver, &limits).build() }).await
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        if self.0.plain_http && request.url().scheme() == "https" && is_loopback(request.url()) {
            let _ = request.url_mut().set_scheme("http");
        }
        if let Some(bearer) = &self.0.bearer {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", bearer.bearer().await?.expose_secret()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let mut answer = self.http(request.url()).await?.execute(request).await.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err("the answer is longer than any of a receiver of telemetry".into());
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}
