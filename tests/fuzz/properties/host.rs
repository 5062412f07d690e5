//! What the Functions host posts: the envelope of a queue's message, of an HTTP call, and the reply to either.

use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use backout::{
    host::{
        delivery::{Deliveries, Delivery, Function},
        envelope,
        http::{HttpAnswer, HttpFunction, HttpRequest},
        server,
    },
    process::outcome::Outcome,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{choose, is_sentence, run};

pub fn holds(input: &[u8]) {
    let (kind, request) = choose(&["message", "timer", "call", "body"], input);
    match kind {
        "message" => message(request),
        "timer" => assert_eq!(envelope::decode(Function::Sweep, request).body, b""),
        "call" => call(request),
        "body" => any_body_arrives(request),
        other => unreachable!("{other}"),
    }
    for path in ["/alerts", "/followups", "/sweep", "/alert-webhook"] {
        reply(path, request);
    }
}

/// Nothing is lost: the message's bytes, or the whole request with the reason.
fn message(request: &[u8]) {
    let decoded = envelope::decode(Function::Alerts, request);
    assert!(decoded.body.len() <= request.len());
    if let Some(problem) = &decoded.problem {
        is_sentence(&problem.to_string(), 300);
        assert_eq!(decoded.returns, 0);
        if problem.hides_the_message() {
            assert_eq!(decoded.body, request);
        }
    }
    assert_eq!(envelope::decode(Function::Markers, request), decoded);
}

fn call(request: &[u8]) {
    match HttpRequest::read(HttpFunction::AlertWebhook, request) {
        Ok(read) => {
            assert!(read.body.len() <= request.len());
            assert!(read.headers.keys().all(|name| !name.contains(|c: char| c.is_ascii_uppercase())));
            assert!(!read.method.contains(|c: char| c.is_ascii_lowercase()));
        }
        Err(problem) => is_sentence(&problem.to_string(), 300),
    }
}

/// Whatever bytes a message has: in the host's own form they arrive as they are.
fn any_body_arrives(bytes: &[u8]) {
    let returns = bytes.len() % 40;
    for request in [
        json!({"Data": {"message": STANDARD.encode(bytes)}, "Metadata": {"ApplicationProperties": {"backout-returns": returns}}}),
        json!({"Metadata": {"UserProperties": {"Backout-Returns": returns.to_string()}}, "Data": {"renamed": STANDARD.encode(bytes)}}),
    ] {
        let decoded = envelope::decode(Function::Alerts, request.to_string().as_bytes());
        assert_eq!((decoded.body.as_slice(), decoded.returns as usize, decoded.problem), (bytes, returns, None));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let call = json!({"Data": {"req": {"Method": "post", "Body": text, "Headers": {"A": ["b"]}}}});
        let read = HttpRequest::read(HttpFunction::AlertWebhook, call.to_string().as_bytes()).unwrap();
        assert_eq!((read.body.as_slice(), read.method.as_str(), read.header("a")), (bytes, "POST", Some("b")));
    }
}

/// 200 or 500, and always the object that the host waits for.
fn reply(path: &str, request: &[u8]) {
    let request = Request::post(path).body(Body::from(request.to_vec())).unwrap();
    let (status, body) = run(async {
        let response = server::router(Arc::new(Echo)).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/json");
        (response.status(), to_bytes(response.into_body(), usize::MAX).await.unwrap())
    });
    assert!(matches!(status, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR), "{status}");
    let result: Value = serde_json::from_slice(&body).unwrap();
    assert!(result["Outputs"].is_object() && result["ReturnValue"].is_null(), "{result}");
    let [Value::String(log)] = result["Logs"].as_array().unwrap().as_slice() else { panic!("{result}") };
    assert!(!log.contains(char::is_control) && log.chars().count() <= 4_000, "{log:?}");
    if path == "/alert-webhook" {
        assert_eq!(status, StatusCode::OK, "any other would be 500 to the caller");
        let answer = &result["Outputs"]["res"];
        assert!(answer["statusCode"].as_u64().is_some_and(|status| matches!(status, 202 | 400 | 503)), "{answer}");
    }
}

/// Says back what came, as the worst outcome that there is.
struct Echo;

#[async_trait::async_trait]
impl Deliveries for Echo {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        Outcome::DeliverAgain { says: String::from_utf8_lossy(&delivery.body).into_owned() }
    }

    async fn answer(&self, request: HttpRequest) -> HttpAnswer {
        HttpAnswer::says(StatusCode::ACCEPTED, String::from_utf8_lossy(&request.body).into_owned())
    }
}
