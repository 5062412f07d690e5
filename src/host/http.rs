//! Functions that are called over HTTP: the caller's request out of the host's envelope, and the answer that the host passes on.
//!
//! The host can hand a request on as it came (`enableForwardingHttpRequest`), and this app leaves that off: it holds for the
//! whole app, brings public paths to a server that otherwise knows function names only, and loses a chunked body just the same.
//! So the request comes inside JSON, and the answer goes back inside JSON with status 200: any other status would reach the
//! caller as 500. Source: azure-functions-host, `HttpRequestExtensions.cs` and `FunctionBinding.cs`.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::envelope::{EnvelopeProblem, data_member};

/// The functions of `function-app/` with an HTTP trigger, one variant a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HttpFunction {
    AlertWebhook,
}

impl HttpFunction {
    pub const ALL: &'static [Self] = &[Self::AlertWebhook];

    /// Name of the folder, and so of the path that the host posts to.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlertWebhook => "alert-webhook",
        }
    }
}

/// Names of the bindings in `function-app/*/function.json`: the request in, the answer out.
pub const REQUEST_BINDING: &str = "req";
pub const ANSWER_BINDING: &str = "res";

/// What a caller sent. Holds keys and tokens (in `headers`), so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    pub function: HttpFunction,
    /// In capitals.
    pub method: String,
    /// Values of the route's parameters, such as `source`.
    pub route: BTreeMap<String, String>,
    /// By lower-case name; a header that was sent more than once has several values.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The bytes that the caller sent, as long as they are UTF-8 without a byte order mark: the host makes text of them, and
    /// of other bytes something else. Empty where the caller gave no `Content-Length`: then the host leaves the body out.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// Reads the body of one POST of the host.
    pub fn read(function: HttpFunction, envelope: &[u8]) -> Result<Self, EnvelopeProblem> {
        let value = data_member(REQUEST_BINDING, envelope)?;
        let told: Told<'_> = serde_json::from_str(value.get())
            .map_err(|error| EnvelopeProblem::NotARequest { line: error.line(), column: error.column() })?;
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in told.headers.unwrap_or_default() {
            headers.entry(name.to_ascii_lowercase()).or_default().extend(texts(value));
        }
        let route = told.route.unwrap_or_default();
        let route = route.into_iter().flat_map(|(name, value)| texts(value).into_iter().map(move |text| (name.clone(), text)));
        let body = match told.body {
            Some(body) => body_bytes(body, is_binary(&headers))?,
            None => Vec::new(),
        };
        Ok(Self { function, method: told.method.to_ascii_uppercase(), route: route.collect(), headers, body })
    }

    /// The value of a header that was sent exactly once.
    pub fn header(&self, lower_case_name: &str) -> Option<&str> {
        match self.headers.get(lower_case_name)?.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// What the caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: StatusCode,
    /// `Content-Type` is among them; the host sets none.
    pub headers: BTreeMap<&'static str, String>,
    pub body: String,
}

impl HttpAnswer {
    /// An answer of one sentence.
    pub fn says(status: StatusCode, sentence: impl Into<String>) -> Self {
        let headers = BTreeMap::from([("Content-Type", "text/plain; charset=utf-8".to_owned())]);
        Self { status, headers, body: sentence.into() + "\n" }
    }

    /// 503: what is wrong lies with us, and the same request may do later.
    pub fn later(sentence: impl Into<String>) -> Self {
        Self::says(StatusCode::SERVICE_UNAVAILABLE, sentence).with_header("Retry-After", RETRY_AFTER_SECONDS)
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }
}

/// Action groups try again after 5, 20, 5, 40 and 5 seconds whatever we ask for.
const RETRY_AFTER_SECONDS: &str = "10";

/// The output that the host makes an HTTP answer of. `status` alone would be ignored: it has to be `statusCode`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnswerOutput<'a> {
    status_code: u16,
    headers: &'a BTreeMap<&'static str, String>,
    body: &'a str,
}

impl<'a> From<&'a HttpAnswer> for AnswerOutput<'a> {
    fn from(answer: &'a HttpAnswer) -> Self {
        Self { status_code: answer.status.as_u16(), headers: &answer.headers, body: &answer.body }
    }
}

/// `Data.req`. What is not read (`Url`, `Query`, `Identities`) holds keys and claims.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'a> {
    method: String,
    #[serde(rename = "Params")]
    route: Option<BTreeMap<String, Value>>,
    /// Each a list of texts.
    headers: Option<BTreeMap<String, Value>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

fn texts(value: Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.into_iter().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

/// Of these the host makes base64 instead of text.
fn is_binary(headers: &BTreeMap<String, Vec<String>>) -> bool {
    let kind = headers.get("content-type").and_then(|values| values.first()).map(|kind| kind.trim().to_ascii_lowercase());
    kind.is_some_and(|kind| kind.starts_with("application/octet-stream") || kind.starts_with("multipart/"))
}

fn body_bytes(body: &RawValue, binary: bool) -> Result<Vec<u8>, EnvelopeProblem> {
    let json = body.get();
    if json == "null" {
        return Ok(Vec::new());
    }
    // The host hands text over; should it ever hand over JSON, the JSON is the body.
    if !json.starts_with('"') {
        return Ok(json.as_bytes().to_vec());
    }
    let text: String = serde_json::from_str(json).map_err(|_| EnvelopeProblem::BodyIsNoText)?;
    let decoded = if binary { STANDARD.decode(text.as_bytes()).ok() } else { None };
    Ok(decoded.unwrap_or_else(|| text.into_bytes()))
}
