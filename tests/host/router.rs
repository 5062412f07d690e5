//! The server, asked without a network.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{HeaderValue, Request, StatusCode, header},
};
use backout::{
    host::{
        delivery::{Delivery, Function},
        server::router,
        starting::Starting,
    },
    process::outcome::Outcome,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::scripted::Scripted;

const INVOCATION_ID: &str = "6f9f3c1e-0000-4000-8000-000000000001";

struct Answer {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Value,
}

async fn ask(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let content_type = response.headers().get(header::CONTENT_TYPE).cloned();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&bytes).expect("every answer is JSON");
    Answer { status, content_type, body }
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header("X-Azure-Functions-InvocationId", INVOCATION_ID).body(body.into()).unwrap()
}

fn envelope(message: impl AsRef<[u8]>) -> String {
    json!({"Data": {"message": STANDARD.encode(message)}, "Metadata": {"DeliveryCount": "1"}}).to_string()
}

#[tokio::test]
async fn the_probe_is_answered_while_nothing_is_ready() {
    let (starting, _ready) = Starting::new();
    let answer = ask(router(Arc::new(starting)), Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.content_type.unwrap(), "application/json");
}

#[tokio::test]
async fn each_outcome_has_its_reply() {
    let cases = [
        ("settle", StatusCode::OK),
        ("park", StatusCode::OK),
        ("put-back", StatusCode::OK),
        ("again", StatusCode::INTERNAL_SERVER_ERROR),
    ];
    for (command, status) in cases {
        let answer = ask(router(Arc::new(Scripted::default())), post("/alerts", envelope(command))).await;
        assert_eq!(answer.status, status, "{command}");
        assert_eq!(answer.content_type.unwrap(), "application/json");
        let expected = json!({"Outputs": {}, "Logs": [format!("did {command}")], "ReturnValue": null});
        assert_eq!(answer.body, expected, "{command}");
    }
}

#[tokio::test]
async fn control_characters_do_not_reach_the_logs() {
    let answer = ask(router(Arc::new(Scripted::default())), post("/alerts", envelope("settle\r\n\u{1b}[31mred\0"))).await;
    assert_eq!(answer.body["Logs"], json!(["did settle   [31mred "]));
}

#[tokio::test]
async fn every_function_gets_its_deliveries() {
    for function in Function::ALL.iter().copied() {
        let scripted = Arc::new(Scripted::default());
        let path = format!("/{}", function.name());
        let answer = ask(router(Arc::<Scripted>::clone(&scripted)), post(&path, envelope("settle"))).await;
        assert_eq!(answer.status, StatusCode::OK);
        let body = if function == Function::Sweep { Vec::new() } else { b"settle".to_vec() };
        let invocation_id = INVOCATION_ID.to_owned();
        assert_eq!(
            scripted.only(),
            Delivery {
                function,
                body,
                returns: 0,
                delivered_before: false,
                envelope_problem: None,
                invocation_id,
                trace_parent: None
            }
        );
    }
}

#[tokio::test]
async fn unknown_names_and_methods_are_refused_with_json() {
    for path in ["/nothing", "/Alerts", "/alerts/", "/api/alerts", "/alerts/x"] {
        let scripted = Arc::new(Scripted::default());
        let answer = ask(router(Arc::<Scripted>::clone(&scripted)), post(path, envelope("settle"))).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.body["error"], "no function has this name; names are case-sensitive");
        assert!(scripted.seen.lock().unwrap().is_empty());
    }
    let get = Request::get("/alerts").body(Body::empty()).unwrap();
    assert_eq!(ask(router(Arc::new(Scripted::default())), get).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_panic_is_a_failed_invocation_and_no_more() {
    let router = router(Arc::new(Scripted::default()));
    let answer = ask(router.clone(), post("/alerts", envelope("panic secret-word"))).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.content_type.unwrap(), "application/json");
    assert!(!answer.body.to_string().contains("secret-word"), "{}", answer.body);
    assert_eq!(ask(router, post("/alerts", envelope("settle"))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_big_chunked_message_is_taken() {
    let message = vec![b'x'; 20 * 1024 * 1024];
    let text = Bytes::from(envelope(&message));
    let chunks: Vec<Result<Bytes, std::io::Error>> =
        (0..text.len()).step_by(1 << 16).map(|at| Ok(text.slice(at..text.len().min(at + (1 << 16))))).collect();
    let scripted = Arc::new(Scripted::default());
    let body = Body::from_stream(futures::stream::iter(chunks));
    let answer = ask(router(Arc::<Scripted>::clone(&scripted)), post("/deployments", body)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(scripted.only().body == message);
}

#[tokio::test]
async fn a_request_that_breaks_off_is_delivered_again() {
    let parts: Vec<Result<Bytes, std::io::Error>> =
        vec![Ok(Bytes::from_static(b"{\"Data\"")), Err(std::io::Error::other("reset"))];
    let scripted = Arc::new(Scripted::default());
    let body = Body::from_stream(futures::stream::iter(parts));
    let answer = ask(router(Arc::<Scripted>::clone(&scripted)), post("/alerts", body)).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(scripted.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_envelope_reaches_the_deliveries_whole() {
    for request in ["", "junk", "{}", "{\"Data\":{}}", "[1]"] {
        let scripted = Arc::new(Scripted::default());
        let answer = ask(router(Arc::<Scripted>::clone(&scripted)), post("/markers", request)).await;
        assert_eq!(answer.status, StatusCode::OK, "{request}");
        assert_eq!(scripted.only().body, request.as_bytes());
    }
}

#[tokio::test]
async fn a_trace_parent_is_taken_only_if_it_is_valid() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let cases = [
        (format!("00-{TRACE}-b7ad6b7169203331-00"), true),
        (format!("01-{TRACE}-b7ad6b7169203331-01-later"), true),
        (format!("00-{TRACE}-b7ad6b7169203331-01-later"), false),
        (format!("ff-{TRACE}-b7ad6b7169203331-01"), false),
        (format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()), false),
        (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), false),
        (format!("00-{TRACE}-0000000000000000-01"), false),
        (format!("00-{TRACE}-b7ad6b7169203331"), false),
        (String::new(), false),
    ];
    for (value, valid) in cases {
        let scripted = Arc::new(Scripted::default());
        let mut request = post("/alerts", envelope("settle"));
        request.headers_mut().insert("TraceParent", HeaderValue::from_str(&value).unwrap());
        ask(router(Arc::<Scripted>::clone(&scripted)), request).await;
        assert_eq!(scripted.only().trace_parent, valid.then(|| value.clone()), "{value}");
    }
    let scripted = Arc::new(Scripted::default());
    let mut request = post("/alerts", envelope("settle"));
    for parent in ["b7ad6b7169203331", "b7ad6b7169203332"] {
        request.headers_mut().append("traceparent", HeaderValue::from_str(&format!("00-{TRACE}-{parent}-00")).unwrap());
    }
    ask(router(Arc::<Scripted>::clone(&scripted)), request).await;
    assert_eq!(scripted.only().trace_parent, None, "two headers contradict each other");
}

#[tokio::test]
async fn an_invocation_id_that_is_none_does_not_reach_the_log() {
    for forged in ["", "a b", "x\"y", &"a".repeat(65)] {
        let scripted = Arc::new(Scripted::default());
        let mut request = post("/alerts", envelope("settle"));
        request.headers_mut().insert("x-azure-functions-invocationid", HeaderValue::from_str(forged).unwrap());
        assert_eq!(ask(router(Arc::<Scripted>::clone(&scripted)), request).await.status, StatusCode::OK);
        assert_eq!(scripted.only().invocation_id, "unknown");
    }
}

#[tokio::test]
async fn what_arrives_before_the_start_is_over_waits_for_it() {
    let (starting, ready) = Starting::new();
    let scripted = Arc::new(Scripted::default());
    let waiting = tokio::spawn(ask(router(Arc::new(starting)), post("/alerts", envelope("settle"))));
    tokio::task::yield_now().await;
    assert!(scripted.seen.lock().unwrap().is_empty());
    ready.now(Arc::<Scripted>::clone(&scripted));
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    assert_eq!(scripted.only().body, b"settle");
}

#[tokio::test]
async fn a_start_that_failed_loses_no_message() {
    let (starting, ready) = Starting::new();
    drop(ready);
    let answer = ask(router(Arc::new(starting)), post("/alerts", envelope("settle"))).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn an_outcome_is_one_line_of_bounded_length() {
    let says = format!("first\nsecond\t{}", "x".repeat(10_000));
    let text = backout::host::reply::log_text(&Outcome::Settled { says });
    assert!(text.starts_with("first second xxx"));
    assert_eq!(text.chars().count(), 4_000);
}
