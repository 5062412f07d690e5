//! The emulator against servers in this process: ours, and ones that do wrong.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use backout::{
    host::{
        delivery::{Deliveries, Delivery, Function},
        server,
    },
    sim::host::{DataType, Invocation, InvocationOutcome, ServiceBusMessage, invoke_timer_url, invoke_url, service_bus_envelope},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::scripted::Scripted;

fn message(body: &str) -> ServiceBusMessage {
    ServiceBusMessage::new(body, "m-1", "2026-01-02T03:04:05.678Z".parse().unwrap())
}

async fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    (listener, url)
}

async fn serve_ours(deliveries: Arc<dyn Deliveries>) -> Url {
    let (listener, url) = listen().await;
    tokio::spawn(server::serve(listener, deliveries, std::future::pending()));
    url
}

async fn serve_other(router: Router) -> Url {
    let (listener, url) = listen().await;
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A handler that gives one fixed answer.
async fn answering(status: StatusCode, content_type: &'static str, body: &'static str) -> Invocation {
    let answer = move || async move { (status, [(header::CONTENT_TYPE, content_type)], body) };
    let url = serve_other(Router::new().route("/alerts", post(answer))).await;
    invoke_url(&url, "alerts", &message("{}")).await
}

fn why(invocation: &Invocation) -> &str {
    match &invocation.outcome {
        InvocationOutcome::Failed { why } => why,
        InvocationOutcome::Succeeded => panic!("succeeded"),
    }
}

#[tokio::test]
async fn our_server_is_understood() {
    let scripted = Arc::new(Scripted::default());
    let url = serve_ours(Arc::<Scripted>::clone(&scripted)).await;
    let mut returned = message("settle this");
    returned.properties.insert("backout-returns".to_owned(), json!(4));
    let invocation = invoke_url(&url, "followups", &returned).await;
    assert_eq!(invocation.outcome, InvocationOutcome::Succeeded);
    assert_eq!(invocation.logs, ["did settle this"]);
    assert!(invocation.outputs.is_empty());
    let delivery = scripted.only();
    let trace_parent = delivery.trace_parent.clone();
    assert!(trace_parent.is_some(), "the emulator sends one");
    let invocation_id = invocation.invocation_id;
    let body = b"settle this".to_vec();
    let function = Function::FollowUps;
    assert_eq!(
        delivery,
        Delivery { function, body, returns: 4, delivered_before: true, envelope_problem: None, invocation_id, trace_parent }
    );
}

#[tokio::test]
async fn our_failures_are_failures_and_parked_messages_are_done() {
    let url = serve_ours(Arc::new(Scripted::default())).await;
    for command in ["park", "put-back"] {
        assert_eq!(invoke_url(&url, "alerts", &message(command)).await.outcome, InvocationOutcome::Succeeded, "{command}");
    }
    for command in ["again", "panic"] {
        let invocation = invoke_url(&url, "alerts", &message(command)).await;
        assert_eq!(why(&invocation), "Response status code does not indicate success: 500", "{command}");
        assert!(invocation.logs.is_empty(), "the host discards the logs of a failure");
    }
    assert!(why(&invoke_url(&url, "nothing", &message("settle")).await).ends_with(": 404"));
}

#[tokio::test]
async fn our_timer_ticks() {
    let scripted = Arc::new(Scripted::default());
    let url = serve_ours(Arc::<Scripted>::clone(&scripted)).await;
    assert_eq!(invoke_timer_url(&url, "sweep").await.outcome, InvocationOutcome::Succeeded);
    let delivery = scripted.only();
    assert_eq!((delivery.function, delivery.body.as_slice()), (Function::Sweep, &b""[..]));
}

#[tokio::test]
async fn a_message_of_many_chunks_arrives_whole() {
    let scripted = Arc::new(Scripted::default());
    let url = serve_ours(Arc::<Scripted>::clone(&scripted)).await;
    let body = "settle ".to_owned() + &"x".repeat(3_000_000);
    assert_eq!(invoke_url(&url, "alerts", &message(&body)).await.outcome, InvocationOutcome::Succeeded);
    assert!(scripted.only().body == body.as_bytes());
}

#[tokio::test]
async fn wrong_answers_are_judged_as_the_host_judges_them() {
    let hang = "the host waits until functionTimeout, then kills the handler with everything that it does";
    let no_content = answering(StatusCode::NO_CONTENT, "application/json", "").await;
    assert_eq!(why(&no_content), format!("the answer 204 is empty: {hang}"));
    let empty = answering(StatusCode::OK, "application/json", "").await;
    assert_eq!(why(&empty), format!("the answer 200 is empty: {hang}"));
    let null = answering(StatusCode::OK, "application/json", "null").await;
    assert_eq!(why(&null), format!("the answer 200 is `null`: {hang}"));
    let text = answering(StatusCode::OK, "text/plain", "done").await;
    assert_eq!(why(&text), "the answer's media type is `text/plain`, not `application/json`");
    let object = answering(StatusCode::OK, "application/json", r#"{"Logs":[{"level":"warn"}]}"#).await;
    assert_eq!(why(&object), "Invalid HttpResponseMessage: an entry of `Logs` is not a string");
    let fine = answering(StatusCode::CREATED, "application/json; charset=utf-8", r#"{"Logs":["a"]}"#).await;
    assert_eq!((fine.outcome, fine.logs), (InvocationOutcome::Succeeded, vec!["a".to_owned()]));
}

#[tokio::test]
async fn redirects_are_followed() {
    let router = Router::new()
        .route("/alerts", post(async || Redirect::to("/elsewhere")))
        .route("/elsewhere", get(async || ([(header::CONTENT_TYPE, "application/json")], "{}")));
    let url = serve_other(router).await;
    assert_eq!(invoke_url(&url, "alerts", &message("{}")).await.outcome, InvocationOutcome::Succeeded);
}

#[tokio::test]
async fn nobody_listening_is_a_failure() {
    let (listener, url) = listen().await;
    drop(listener);
    let refused = invoke_url(&url, "alerts", &message("{}")).await;
    assert!(why(&refused).contains("refused"), "{}", why(&refused));
}

#[tokio::test]
async fn the_request_looks_like_the_hosts() {
    type Seen = Arc<Mutex<Vec<(String, HeaderMap, Bytes)>>>;
    let seen = Seen::default();
    let seen_inside = Arc::clone(&seen);
    let record = move |request: axum::extract::Request| async move {
        let (parts, body) = request.into_parts();
        let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        seen_inside.lock().unwrap().push((format!("{} {}", parts.method, parts.uri), parts.headers, body));
        Response::new(Body::from("{}")).into_response()
    };
    let url = serve_other(Router::new().fallback(any(record))).await;
    let mut sent = message(r#"{"op":"rollback","n":2}"#);
    sent.properties.insert("env".to_owned(), json!("prod"));
    sent.delivery_count = 3;
    let invocation = invoke_url(&url, "alerts", &sent).await;
    let seen = seen.lock().unwrap();
    let [(line, headers, body)] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(line, "POST /alerts");
    assert_eq!(headers["x-azure-functions-invocationid"], invocation.invocation_id.as_str());
    assert_eq!(headers["x-azure-functions-hostversion"], "4.1037.0.23552");
    assert_eq!(headers["user-agent"], "Azure-Functions-Host/4.1037.0.23552");
    assert_eq!(headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(headers["transfer-encoding"], "chunked");
    assert!(!headers.contains_key("content-length"));
    let envelope: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(envelope["Data"], json!({"message": STANDARD.encode(&sent.body)}));
    let metadata = &envelope["Metadata"];
    assert_eq!(metadata["DeliveryCount"], "3");
    assert_eq!(metadata["MessageId"], "\"m-1\"");
    assert_eq!(metadata["EnqueuedTimeUtc"], "2026-01-02T03:04:05");
    assert_eq!(metadata["EnqueuedTime"], "2026-01-02T03:04:05+00:00");
    assert_eq!(metadata["ApplicationProperties"], json!({"env": "prod"}));
    assert_eq!(metadata["UserProperties"], json!({"env": "prod"}));
    assert_eq!(metadata["sys"]["MethodName"], "alerts");
    assert_eq!(metadata["MessageReceiver"], json!({}));
    assert!(metadata.get("op").is_none(), "a binary body is not promoted");
}

/// The composed example of the host's text encoding: quoted once more, and promoted over the metadata.
#[test]
fn a_text_body_is_quoted_and_promoted() {
    let forging = message(r#"{"op":"rollback","n":2,"messageid":"forged","DeliveryCount":{},"list":[1],"none":null,"yes":true}"#);
    let envelope = service_bus_envelope("alerts", "msg", DataType::Text, &forging);
    let body = String::from_utf8(forging.body).unwrap();
    assert_eq!(envelope["Data"], json!({"msg": serde_json::to_string(&body).unwrap()}));
    let metadata = &envelope["Metadata"];
    assert_eq!(metadata["op"], "\"rollback\"");
    assert_eq!(metadata["n"], "\"2\"");
    assert_eq!(metadata["yes"], "\"True\"");
    assert_eq!(metadata["MessageId"], "\"forged\"");
    assert_eq!(metadata["DeliveryCount"], json!({}));
    for skipped in ["list", "none", "messageid"] {
        assert!(metadata.get(skipped).is_none(), "{skipped}");
    }
}
