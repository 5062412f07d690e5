//! A request as it arrived, and the answer to it, free of the web server.

use std::borrow::Cow;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, header},
};
use bytes::Bytes;
use serde_json::Value;

/// Which part of Azure was spoken to; each listens on a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    ResourceManager,
    ServiceBus,
    Identity,
    AzureDevOps,
    /// GitHub's API.
    GitHub,
    /// The API servers of all clusters.
    Kubernetes,
    /// A host which is no part of Azure. Whoever sends it a token has been led astray.
    Stranger,
}

impl Role {
    pub(super) const ALL: [Self; 7] = [
        Self::ResourceManager,
        Self::ServiceBus,
        Self::Identity,
        Self::AzureDevOps,
        Self::GitHub,
        Self::Kubernetes,
        Self::Stranger,
    ];
}

pub(super) struct Call {
    pub role: Role,
    pub method: Method,
    /// As it was sent, with the query.
    pub path_and_query: String,
    /// Segments of the path, decoded, in the case they were written in.
    pub segments: Vec<String>,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Call {
    pub fn new(role: Role, method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Self {
        let segments = uri.path().split('/').filter(|s| !s.is_empty()).map(percent_decoded).collect();
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let path_and_query = uri.path_and_query().map_or_else(String::new, ToString::to_string);
        Self { role, method, path_and_query, segments, query, headers, body }
    }

    /// The first value of a query parameter; its name compares without case, as Azure does.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn bearer_token(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }
}

/// `%2F` and its like turned back; what is no escape stays as it is.
fn percent_decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| segment.get(at + 1..at + 3)).flatten();
        if let Some(byte) = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: Vec<(Cow<'static, str>, String)>,
    pub body: Bytes,
    /// How many changes of the simulated world this answer stands for.
    pub effects: u32,
}

impl Reply {
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), effects: 0 }
    }

    pub fn json(status: StatusCode, body: &Value) -> Self {
        Self::text(status, "application/json; charset=utf-8", body.to_string())
    }

    pub fn text(status: StatusCode, content_type: &'static str, body: String) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.to_owned())], body: Bytes::from(body), effects: 0 }
    }

    /// The resource manager's error body.
    pub fn error(status: StatusCode, code: &str, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": { "code": code, "message": message } }))
    }

    pub fn with_header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn with_effects(mut self, effects: u32) -> Self {
        self.effects = effects;
        self
    }

    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            // A name or value that no header may hold can only come from what the caller sent; it is left out.
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
                response.headers_mut().append(name, value);
            }
        }
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
        response
    }
}
