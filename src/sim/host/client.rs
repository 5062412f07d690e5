//! The host's side of the HTTP connection.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use reqwest::{Body, header::CONTENT_TYPE};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::{
    Invocation,
    app::{DataType, FunctionApp, Trigger},
    http::{HttpCall, HttpReply, http_envelope, http_reply, routed},
    request::{ServiceBusMessage, service_bus_envelope, timer_envelope},
    verdict::{Verdict, judge},
};

const HOST_VERSION: &str = "4.1037.0.23552";

/// Invokes a function of a server that is already there, as for a trigger with `dataType: "binary"` and the binding `message`.
///
/// Nothing is killed and nothing starts again: what would make the real host hang is a failure here.
pub async fn invoke_url(base: &Url, function: &str, message: &ServiceBusMessage) -> Invocation {
    post_once(base, function, &service_bus_envelope(function, "message", DataType::Binary, message)).await
}

/// Lets the timer of a function of a server that is already there tick.
pub async fn invoke_timer_url(base: &Url, function: &str) -> Invocation {
    post_once(base, function, &timer_envelope(function, "timer", false)).await
}

/// Calls a function of a server that is already there over HTTP, routed by the files of `app`.
pub async fn call_url(base: &Url, app: &FunctionApp, call: &HttpCall) -> HttpReply {
    let (function, parameters) = match routed(app, call) {
        Ok(routed) => routed,
        Err(refused) => return refused,
    };
    let Trigger::Http { output, .. } = &function.trigger else { return HttpReply::empty(404) };
    let envelope = http_envelope(&function.name, &function.binding, call, &parameters);
    http_reply(&post_once(base, &function.name, &envelope).await, output)
}

/// A GUID as the host writes it.
pub(super) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The host speaks to the literal address, by plain HTTP.
pub(super) fn loopback(port: u16) -> Url {
    let mut url = Url::parse("http://127.0.0.1/").unwrap_or_else(|_| unreachable!("a literal URL"));
    // Fails only for URLs that cannot have a port.
    let _ = url.set_port(Some(port));
    url
}

#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
}

impl Client {
    /// The client itself gives up a minute after `function_timeout`. Redirects are followed, as the host does.
    pub(super) fn new(function_timeout: Option<Duration>) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder().no_proxy().http1_title_case_headers();
        if let Some(limit) = function_timeout {
            builder = builder.timeout(limit + Duration::from_mins(1));
        }
        Ok(Self { http: builder.build()? })
    }

    /// Posts one envelope, chunked, with the host's headers.
    pub(super) async fn post(&self, base: &Url, function: &str, envelope: &Value, invocation_id: &str) -> Verdict {
        let Ok(url) = base.join(function) else {
            return Verdict::Failed { why: format!("`{function}` does not fit into a URL") };
        };
        let text = Bytes::from(envelope.to_string());
        let chunks: Vec<Result<Bytes, Infallible>> =
            (0..text.len()).step_by(CHUNK_BYTES).map(|at| Ok(text.slice(at..text.len().min(at + CHUNK_BYTES)))).collect();
        let sent = self
            .http
            .post(url)
            .header("X-Azure-Functions-InvocationId", invocation_id)
            .header("X-Azure-Functions-HostVersion", HOST_VERSION)
            .header("User-Agent", format!("Azure-Functions-Host/{HOST_VERSION}"))
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            // .NET's client adds it by itself; seen with the flags 00.
            .header("traceparent", trace_parent())
            .body(Body::wrap_stream(futures::stream::iter(chunks)))
            .send()
            .await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) => return unanswered(&error),
        };
        let status = answer.status().as_u16();
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match answer.bytes().await {
            Ok(body) => judge(status, content_type.as_deref(), &body),
            Err(error) => unanswered(&error),
        }
    }

    /// `GET /`: any answer, and any error but one of the socket, means that the handler is ready.
    pub(super) async fn probe(&self, base: &Url) -> bool {
        match self.http.get(base.clone()).send().await {
            Ok(_) => true,
            Err(error) => !causes(&error).any(<dyn std::error::Error>::is::<std::io::Error>),
        }
    }
}

const CHUNK_BYTES: usize = 16 * 1024;

async fn post_once(base: &Url, function: &str, envelope: &Value) -> Invocation {
    let invocation_id = new_id();
    let verdict = match Client::new(Some(Duration::from_mins(5))) {
        Ok(client) => client.post(base, function, envelope, &invocation_id).await,
        Err(error) => unanswered(&error),
    };
    verdict.into_invocation(invocation_id)
}

fn trace_parent() -> String {
    let parent = Uuid::new_v4().simple().to_string();
    format!("00-{}-{}-00", Uuid::new_v4().simple(), &parent[..16])
}

/// The innermost cause says more than the client's own sentence.
fn unanswered(error: &reqwest::Error) -> Verdict {
    let innermost = causes(error).last().map_or_else(|| error.to_string(), ToString::to_string);
    Verdict::Failed { why: format!("no answer: {innermost}") }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}
