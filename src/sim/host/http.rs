//! HTTP triggers without forwarding: the caller's request becomes JSON, and the output `res` becomes the answer.
//!
//! Source: `HttpRequestExtensions.cs` (`GetRequestAsJObject`), `FunctionBinding.cs` and `HttpBinding.cs` of the host. Derived: which
//! status a wrong method gets.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Invocation, InvocationOutcome,
    app::{FunctionApp, FunctionDefinition, Trigger},
};

/// The one key that this host knows.
pub const FUNCTION_KEY: &str = "emulated-function-key";

/// A request of somebody outside.
#[derive(Debug, Clone)]
pub struct HttpCall {
    pub method: String,
    /// Path and query, such as `/api/alert-webhook/github?code=...`.
    pub path_and_query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Sent without `Content-Length`: the host then loses the body.
    pub chunked: bool,
}

impl HttpCall {
    /// A POST of JSON with the function key.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: "POST".to_owned(),
            path_and_query: format!("{path}?code={FUNCTION_KEY}"),
            headers: vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())],
            body: body.into(),
            chunked: false,
        }
    }

    /// With one header more.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With another value in place of all of that name.
    pub fn with_only(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.with(name, value)
    }

    fn url(&self) -> Option<Url> {
        Url::parse("https://emulated.example").ok()?.join(&self.path_and_query).ok()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What the caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl HttpReply {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: BTreeMap::new(), body: String::new() }
    }
}

/// The function that a call is for, and the values of its route; or the host's own answer.
pub(super) fn routed<'a>(
    app: &'a FunctionApp,
    call: &HttpCall,
) -> Result<(&'a FunctionDefinition, BTreeMap<String, String>), HttpReply> {
    let url = call.url().ok_or_else(|| HttpReply::empty(400))?;
    for function in &app.functions {
        let Trigger::Http { methods, route, key_needed, .. } = &function.trigger else { continue };
        let Some(parameters) = parameters_of(route, url.path()) else { continue };
        if !methods.is_empty() && !methods.contains(&call.method.to_ascii_lowercase()) {
            continue;
        }
        let in_query = url.query_pairs().any(|(name, value)| name == "code" && value == FUNCTION_KEY);
        if *key_needed && !in_query && call.header("x-functions-key") != Some(FUNCTION_KEY) {
            return Err(HttpReply::empty(401));
        }
        return Ok((function, parameters));
    }
    Err(HttpReply::empty(404))
}

/// Segments of `route`, where `{name}` takes any and a last `{name?}` may be absent.
fn parameters_of(route: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut segments = path.strip_prefix("/api/")?.split('/').filter(|segment| !segment.is_empty());
    let mut found = BTreeMap::new();
    for wanted in route.split('/') {
        match wanted.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            None => {
                if !segments.next()?.eq_ignore_ascii_case(wanted) {
                    return None;
                }
            }
            Some(name) => match (segments.next(), name.strip_suffix('?')) {
                (Some(value), optional) => {
                    found.insert(optional.unwrap_or(name).to_owned(), value.to_owned());
                }
                (None, Some(_)) => {}
                (None, None) => return None,
            },
        }
    }
    segments.next().is_none().then_some(found)
}

/// The envelope of one call.
pub fn http_envelope(function: &str, binding: &str, call: &HttpCall, parameters: &BTreeMap<String, String>) -> Value {
    let url = call.url();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &call.headers {
        headers.entry(name.clone()).or_default().push(value.clone());
    }
    if call.chunked {
        headers.insert("Transfer-Encoding".to_owned(), vec!["chunked".to_owned()]);
    } else if !call.body.is_empty() {
        headers.insert("Content-Length".to_owned(), vec![call.body.len().to_string()]);
    }
    let query: BTreeMap<String, String> = url.iter().flat_map(Url::query_pairs).map(|(n, v)| (n.into(), v.into())).collect();
    let mut request = Map::new();
    request.insert("Url".to_owned(), json!(url.map(|url| url.to_string()).unwrap_or_default()));
    request.insert("Method".to_owned(), json!(call.method));
    request.insert("Query".to_owned(), json!(query));
    request.insert("Headers".to_owned(), json!(headers));
    if !parameters.is_empty() {
        request.insert("Params".to_owned(), json!(parameters));
    }
    request.insert("Identities".to_owned(), json!([]));
    if !call.chunked && !call.body.is_empty() {
        request.insert("Body".to_owned(), body_value(call));
    }
    // Derived: the exact set of names.
    let metadata = json!({"Query": query, "Headers": headers, "sys": {"MethodName": function}});
    json!({"Data": {binding: request}, "Metadata": metadata})
}

/// Text, of which a reader has taken the byte order mark, and made replacement characters of what is no UTF-8.
fn body_value(call: &HttpCall) -> Value {
    let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with("application/octet-stream") || kind.starts_with("multipart/") {
        return Value::String(STANDARD.encode(&call.body));
    }
    let text = String::from_utf8_lossy(&call.body);
    Value::String(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// What the host makes of the output of a call. A failed invocation is a 500, whatever the handler meant.
pub fn http_reply(invocation: &Invocation, output: &str) -> HttpReply {
    match invocation.outcome {
        InvocationOutcome::Succeeded => {}
        InvocationOutcome::Failed { .. } => return HttpReply::empty(500),
    }
    let parsed = match invocation.outputs.get(output) {
        // Derived: no such output is 200 with an empty object.
        None => return HttpReply { body: "{}".to_owned(), ..HttpReply::empty(200) },
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(value) => value.clone(),
    };
    let Value::Object(members) = parsed else { return HttpReply::empty(500) };
    let member = |name: &str| members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let status = match member("statusCode") {
        Some(Value::Number(number)) => number.as_u64().and_then(|status| u16::try_from(status).ok()),
        Some(Value::String(text)) => text.parse().ok(),
        // `status` alone is shadowed by an empty `statusCode`.
        None | Some(_) => Some(200),
    };
    let headers = member("headers").and_then(Value::as_object).into_iter().flatten();
    let headers = headers.map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.to_ascii_lowercase(), text)
    });
    let body = match member("body") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    HttpReply { status: status.unwrap_or(500), headers: headers.collect(), body }
}
