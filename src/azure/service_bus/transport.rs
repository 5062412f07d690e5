//! The HTTP client that the Service Bus crate is given: it knows our identity, our endpoint and our limits.

use std::{fmt, sync::Arc, time::Duration};

use azure_core::credentials::TokenCredential;
use azure_core_legacy::{
    Body, HttpClient, Request, Response, StatusCode,
    headers::{HeaderName, Headers},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use reqwest::{
    Method,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue},
};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use url::Url;

use super::problem::CallProblem;
use crate::azure::{http, identity, resource_manager::Limits};

/// How a request says who we are.
pub(super) enum Authorization {
    /// A token of this credential replaces the signature that the crate computes.
    Identity(Arc<dyn TokenCredential>),
    /// The signature that the crate computes goes out.
    Signature,
}

/// Sends what the crate asks for, and only to `endpoint`: whatever host a URL or a `Location` names, it is not contacted.
///
/// The crate takes bodies as text and fails on a received one that is none, after the broker has locked the message. So bodies
/// pass through the crate as base64 both ways ([`text_of`], [`bytes_of`]), and are turned back into the exact bytes here.
pub(super) struct Transport {
    pub endpoint: Url,
    pub authorization: Authorization,
    /// For one request, the wait of a receive not counted.
    pub request_timeout: Duration,
    /// Built at the first call, since that reads the system's certificates.
    pub http: OnceCell<reqwest::Client>,
}

/// The broker properties of a received message. The crate does not see them under their own name: it cannot read an
/// `EnqueuedSequenceNumber` above 2^31, and would give up on a message that is locked already.
pub(super) const BROKER_PROPERTIES_ASIDE: HeaderName = HeaderName::from_static("received-brokerproperties");

const BROKER_PROPERTIES: &str = "brokerproperties";
const SCOPE: &str = "https://servicebus.azure.net/.default";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Far above the 1 MB that can be sent by HTTP; a dead letter may have come by AMQP.
const RECEIVED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What stands for `bytes` where the crate takes text.
pub(super) fn text_of(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes that `text` stands for.
pub(super) fn bytes_of(text: &[u8]) -> Result<Vec<u8>, CallProblem> {
    STANDARD.decode(text).map_err(|_| CallProblem::MakesNoSense("the Service Bus client changed the body"))
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("endpoint", &self.endpoint.as_str()).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> azure_core_legacy::Result<Response> {
        self.send(request).await.map_err(CallProblem::into_crate)
    }
}

impl Transport {
    /// Any answer but a success is a problem here, since the crate's receive takes every status for a message.
    async fn send(&self, request: &Request) -> Result<Response, CallProblem> {
        let sending = self.outgoing(request).await?;
        let answer = sending.send().await.map_err(|problem| not_answered(&problem))?;
        let status = answer.status().as_u16();
        if !answer.status().is_success() {
            let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
            return Err(CallProblem::Refused { status, retry_after });
        }
        let headers = headers_for_the_crate(&answer, request.url());
        let body = text_of(&bounded_body(answer).await?);
        let status = StatusCode::try_from(status)
            .map_err(|_| CallProblem::MakesNoSense("Service Bus answered with a status that nobody knows"))?;
        Ok(Response::new(status, headers, Box::pin(futures::stream::iter(vec![Ok(Bytes::from(body))]))))
    }

    /// The status of the answer and the first of its text, whatever they say.
    pub(super) async fn status_and_text(&self, request: &Request) -> Result<(u16, String), CallProblem> {
        let answer = self.outgoing(request).await?.send().await.map_err(|problem| not_answered(&problem))?;
        let status = answer.status().as_u16();
        Ok((status, String::from_utf8_lossy(&bounded_body(answer).await?).into_owned()))
    }

    async fn outgoing(&self, request: &Request) -> Result<reqwest::RequestBuilder, CallProblem> {
        let mut url = self.endpoint.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        let method = Method::from_bytes(request.method().as_ref().as_bytes())
            .map_err(|_| CallProblem::MakesNoSense("the Service Bus client uses a method that is none"))?;
        let Body::Bytes(text) = request.body() else {
            return Err(CallProblem::MakesNoSense("the Service Bus client sends a stream"));
        };
        let mut sending = self
            .http()
            .await?
            .request(method, url)
            .timeout(self.request_timeout.saturating_add(wait_asked_for(request.url())))
            .body(bytes_of(text)?);
        for (name, value) in request.headers().iter() {
            let name = name.as_str();
            // The length is of the text that stands for the body; the right one is set when it is sent.
            if name == AUTHORIZATION.as_str() || name == CONTENT_LENGTH.as_str() {
                continue;
            }
            let value =
                if name == BROKER_PROPERTIES { broker_properties_as_documented(value.as_str())? } else { value.as_str().into() };
            sending = sending.header(name, value);
        }
        Ok(sending.header(AUTHORIZATION, self.authorize(request).await?))
    }

    async fn authorize(&self, request: &Request) -> Result<HeaderValue, CallProblem> {
        let text = match &self.authorization {
            Authorization::Identity(credential) => {
                let token = credential.get_token(&[SCOPE], None).await.map_err(|problem| no_token(&problem))?;
                format!("Bearer {}", token.token.secret())
            }
            Authorization::Signature => request
                .headers()
                .get_optional_string(&azure_core_legacy::headers::AUTHORIZATION)
                .ok_or(CallProblem::MakesNoSense("the Service Bus client did not sign the request"))?,
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| CallProblem::MakesNoSense("the token for Service Bus has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn http(&self) -> Result<&reqwest::Client, CallProblem> {
        self.http
            .get_or_try_init(async || {
                let limits = Limits { connect_within: CONNECT_TIMEOUT, answer_within: self.request_timeout, ..Limits::default() };
                http::client(&self.endpoint, &limits).build().map_err(|_| {
                    CallProblem::MakesNoSense(
                        "the HTTP client cannot be built; check the system's certificates and proxy settings",
                    )
                })
            })
            .await
    }
}

/// The server-side wait of a receive, which the crate writes as `timeout` in seconds.
fn wait_asked_for(url: &Url) -> Duration {
    let seconds = url.query_pairs().find(|(name, _)| name == "timeout").and_then(|(_, seconds)| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

/// The documents write times with `GMT` where the crate writes `+0000`, and headers are ASCII.
fn broker_properties_as_documented(written: &str) -> Result<String, CallProblem> {
    let mut properties: Map<String, Value> = serde_json::from_str(written)
        .map_err(|_| CallProblem::MakesNoSense("the Service Bus client wrote broker properties that are no JSON"))?;
    if let Some(Value::String(time)) = properties.get_mut("ScheduledEnqueueTimeUtc")
        && let Some(start) = time.strip_suffix("+0000")
    {
        *time = format!("{start}GMT");
    }
    Ok(ascii_json(&Value::Object(properties).to_string()))
}

/// The same JSON in the characters that a header may have; what is not ASCII stands in a string of it.
pub(super) fn ascii_json(json: &str) -> String {
    let mut ascii = String::new();
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ b' '..=b'~') => ascii.push(char::from(byte)),
            _ => ascii.extend(format!("\\u{unit:04x}").chars()),
        }
    }
    ascii
}

/// `asked` is the URL as the crate made it. `Location` becomes one on its host: the crate can use it when it was relative, a
/// signature for it covers our namespace, and a foreign host is gone.
fn headers_for_the_crate(answer: &reqwest::Response, asked: &Url) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match name.as_str() {
            BROKER_PROPERTIES => headers.insert(BROKER_PROPERTIES_ASIDE, value),
            "location" => {
                if let Ok(location) = asked.join(&value) {
                    let mut here = asked.clone();
                    here.set_path(location.path());
                    here.set_query(location.query());
                    headers.insert("location", here.to_string());
                }
            }
            name => headers.insert(name.to_owned(), value),
        }
    }
    headers
}

async fn bounded_body(mut answer: reqwest::Response) -> Result<BytesMut, CallProblem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|problem| not_answered(&problem))? {
        if body.len() + chunk.len() > RECEIVED_BYTES_MAX {
            return Err(CallProblem::MakesNoSense("the received message is larger than 16 MiB; receive it with another tool"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn not_answered(problem: &reqwest::Error) -> CallProblem {
    if problem.is_connect() {
        CallProblem::NotReached
    } else if problem.is_timeout() {
        CallProblem::TimedOut
    } else if problem.is_builder() {
        CallProblem::MakesNoSense("the request for Service Bus cannot be written; check the message id")
    } else {
        CallProblem::Broken
    }
}

/// Whether to ask again or to give up; the text of the error may quote an answer, so it is not carried on.
fn no_token(problem: &azure_core::Error) -> CallProblem {
    if identity::passes(problem) { CallProblem::IdentityBusy } else { CallProblem::NoIdentity }
}
