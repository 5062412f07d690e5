//! Where a call goes, what its body may be, and what the caller reads when it does not work.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::StatusCode;
use backout::{
    azure::service_bus::ServiceBusQueues,
    host::{
        delivery::{Deliveries, Delivery, Function},
        http::{HttpAnswer, HttpRequest},
        starting::Starting,
        webhook::acceptance::{Acceptance, BODY_BYTES_MAX, MESSAGE_BYTES_MAX},
    },
    ports::{FollowUps, PortError, PortErrorKind, QueueMessage},
    process::outcome::Outcome,
    sim::{
        AzureSimulation, Fault, FaultBody, FaultEffect, Moment, QueueOptions, Role,
        clock::ManualClock,
        host::{FunctionApp, HttpCall, HttpReply, call_url, http_envelope},
    },
};
use serde_json::{Value, json};

use super::{ALERTS, Door, fixture, now, secrets, serve, webhook};
use crate::support::simulated::identity;

fn alert() -> HttpCall {
    HttpCall::post(ALERTS, fixture("common-metric"))
}

#[tokio::test]
async fn alerts_come_by_no_name_or_by_their_own() {
    let door = Door::open().await;
    for path in [ALERTS, "/api/alert-webhook/", "/api/alert-webhook/azure-monitor", "/api/Alert-Webhook/Azure-Monitor"] {
        assert_eq!(door.call(&HttpCall::post(path, fixture("common-metric"))).await.status, 202, "{path}");
    }
    assert_eq!(door.queued().iter().map(|message| message.queue.as_str()).collect::<Vec<_>>(), ["alerts"; 4]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_with_a_sentence() {
    let door = Door::open().await;
    let with_type = |kind: &str| alert().with_only("Content-Type", kind);
    let untyped = HttpCall { headers: Vec::new(), ..alert() };
    let json = "send JSON in UTF-8 as `application/json`";
    let cases = [
        (HttpCall::post("/api/alert-webhook/argo", "{}"), 404, "there are `azure-monitor`, `github`, `flux`, `cdevents`"),
        (with_type("application/x-www-form-urlencoded"), 415, json),
        (with_type("application/octet-stream"), 415, json),
        (with_type("text/json"), 415, json),
        (with_type("application/json; charset=utf-16"), 415, json),
        (untyped, 415, json),
        (HttpCall::post(ALERTS, ""), 400, "the body is empty"),
        (HttpCall::post(ALERTS, " \n"), 400, "the body is empty"),
        (HttpCall::post(ALERTS, "{\"schemaId\":"), 400, "the body is not JSON: broken at line 1, column 12"),
        (HttpCall::post(ALERTS, "{} {}"), 400, "the body is not JSON"),
        (HttpCall { chunked: true, ..alert() }, 411, "send its length, not chunks"),
        (HttpCall::post(ALERTS, vec![b' '; BODY_BYTES_MAX + 1]), 413, "a body may have 1048576 bytes"),
    ];
    for (call, status, says) in cases {
        let reply = door.refuses(&call, status, says).await;
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
    }
    assert_eq!(door.call(&with_type("Application/JSON;charset=\"UTF-8\"")).await.status, 202);
}

#[tokio::test]
async fn only_post_is_a_delivery() {
    let door = Door::open().await;
    let get = HttpCall { method: "GET".to_owned(), ..alert() };
    assert_eq!(door.call(&get).await.status, 404, "the host itself knows no such function");
    // And were `function.json` to allow it:
    let envelope = http_envelope("alert-webhook", "req", &get, &BTreeMap::new());
    let reply = post(&door, &envelope.to_string()).await;
    assert_eq!((reply["statusCode"].as_u64(), reply["headers"]["Allow"].as_str()), (Some(405), Some("POST")));
    assert_eq!(door.queued(), []);
}

/// The output `res` for an envelope as it is.
async fn post(door: &Door, envelope: &str) -> Value {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let answer = http.post(door.base.join("alert-webhook").unwrap()).body(envelope.to_owned()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "anything else is 500 for the caller");
    assert_eq!(answer.headers()["content-type"], "application/json");
    answer.json::<Value>().await.unwrap()["Outputs"]["res"].clone()
}

#[tokio::test]
async fn the_envelope_is_read_as_the_host_writes_it_and_a_broken_one_is_no_500() {
    let door = Door::open().await;
    let request = json!({
        "Url": "https://x.example/api/alert-webhook?code=k", "Method": "post", "Query": {"code": "k"},
        "Headers": {"content-TYPE": ["application/json"]}, "Identities": [{"Claims": []}], "Body": "{\"a\": 1}",
    });
    let of = |request: &Value| json!({"Data": {"req": request}, "Metadata": {"a": "\"1\"", "Headers": {}}}).to_string();
    let taken = post(&door, &of(&request)).await;
    let headers = json!({"Content-Type": "text/plain; charset=utf-8"});
    assert_eq!(taken, json!({"statusCode": 202, "headers": headers, "body": "it is on the queue `alerts`\n"}));
    assert_eq!(door.queued()[0].body, b"{\"a\": 1}");
    let mut parsed = request.clone();
    parsed["Body"] = json!({"a": 1});
    assert_eq!(post(&door, &of(&parsed)).await["statusCode"], 202, "should a host ever hand JSON over");
    let lone_surrogate = of(&request).replace("{\\\"a\\\": 1}", "\\ud800");
    for (envelope, status) in [
        ("", 503),
        ("junk", 503),
        ("{}", 503),
        (r#"{"Data":{}}"#, 503),
        (r#"{"Data":{"req":"x"}}"#, 503),
        (r#"{"Data":{"req":{"Method":7}}}"#, 503),
        (lone_surrogate.as_str(), 400),
    ] {
        assert_eq!(post(&door, envelope).await["statusCode"], status, "{envelope}");
    }
    assert_eq!(door.queued().len(), 2);
}

/// A queue that fails, or never answers.
struct Failing(Option<PortErrorKind>);

#[async_trait::async_trait]
impl FollowUps for Failing {
    async fn send(&self, _: QueueMessage, _: Duration) -> Result<(), PortError> {
        match self.0 {
            Some(kind) => Err(PortError::new("send to the queue", kind, "composed trouble")),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test]
async fn every_trouble_of_the_queue_is_503_and_told_to_nobody_outside() {
    let clock = Arc::new(ManualClock::at(now()));
    for kind in [
        PortErrorKind::Transient,
        PortErrorKind::Throttled,
        PortErrorKind::NotFound,
        PortErrorKind::Denied,
        PortErrorKind::Invalid,
    ] {
        let base = serve(webhook(&clock, Arc::new(Failing(Some(kind))), None, secrets())).await;
        let reply = call_url(&base, &FunctionApp::built_in().unwrap(), &alert()).await;
        assert_eq!((reply.status, reply.headers["retry-after"].as_str()), (503, "10"), "{kind:?}");
        assert_eq!(reply.body, "the queue does not take it now; send it again\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_never_answers_is_not_waited_for() {
    let began = tokio::time::Instant::now();
    let answer = Acceptance::new(Arc::new(Failing(None))).accept(Function::Alerts, fixture("common-metric"), None).await;
    assert_eq!((answer.status, began.elapsed()), (StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(5)));
    assert_eq!(answer.headers["Retry-After"], "10");
}

#[tokio::test]
async fn what_no_queue_takes_is_not_sent_again() {
    // An alert of nothing but custom properties cannot be made smaller.
    let mut big: Value = serde_json::from_slice(&fixture("common-metric")).unwrap();
    big["data"]["customProperties"]["big"] = json!("x".repeat(MESSAGE_BYTES_MAX));
    let big = big.to_string().into_bytes();
    let refused = Acceptance::new(Arc::new(Failing(Some(PortErrorKind::Invalid))));
    assert_eq!(refused.accept(Function::Alerts, big.clone(), None).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    // A queue of a larger tier takes it as it is.
    let door = Door::open().await;
    assert_eq!(door.call(&HttpCall::post(ALERTS, big.clone())).await.status, 202);
    assert_eq!(door.queued()[0].body, big);
}

#[tokio::test]
async fn the_bytes_reach_service_bus_as_they_came_and_a_repeat_is_dropped_there() {
    let clock = Arc::new(ManualClock::at(now()));
    let azure = AzureSimulation::start(clock.clone()).await.unwrap();
    azure.add_queue("alerts", QueueOptions { duplicate_detection: Some(Duration::from_mins(10)), ..QueueOptions::default() });
    let queues =
        ServiceBusQueues::with_identity(azure.namespace(), Some(azure.bus_url()), identity(&azure, None), clock.clone()).unwrap();
    let base = serve(webhook(&clock, Arc::new(queues), None, secrets())).await;
    let app = FunctionApp::built_in().unwrap();
    let call = async || -> HttpReply { call_url(&base, &app, &alert()).await };

    // The second try of a send is part of it, so two failures are one.
    let effect = FaultEffect::Status { moment: Moment::BeforeEffect, status: 500, body: FaultBody::Html };
    azure.inject(Fault::on_role(Role::ServiceBus, effect).times(2));
    assert_eq!((call().await.status, azure.messages("alerts").len()), (503, 0));
    // Stored, but the answer is lost: whoever sends again finds it there.
    let effect = FaultEffect::Status { moment: Moment::AfterEffect, status: 503, body: FaultBody::Html };
    azure.inject(Fault::on_role(Role::ServiceBus, effect).times(1));
    assert_eq!(call().await.status, 503);
    assert_eq!(call().await.status, 202);
    let stored = azure.messages("alerts");
    assert_eq!(stored.len(), 1, "a repeat is dropped");
    assert_eq!(stored[0].body.as_ref(), fixture("common-metric"));
    assert_eq!(stored[0].content_type.as_deref(), Some("application/json"));
}

struct Panics;

#[async_trait::async_trait]
impl Deliveries for Panics {
    async fn deliver(&self, _: Delivery) -> Outcome {
        panic!("not called")
    }

    async fn answer(&self, request: HttpRequest) -> HttpAnswer {
        panic!("composed panic about {}", request.body.len())
    }
}

#[tokio::test]
async fn our_own_bugs_and_a_failed_start_are_503() {
    let app = FunctionApp::built_in().unwrap();
    let (starting, ready) = Starting::new();
    drop(ready);
    let of: [(Arc<dyn Deliveries>, &str); 3] = [
        (Arc::new(Panics), "a bug in itself"),
        (Arc::new(starting), "did not finish starting"),
        (Arc::new(super::super::scripted::Scripted::default()), "`alert-webhook` is not available at the moment"),
    ];
    for (deliveries, says) in of {
        let reply = call_url(&serve(deliveries).await, &app, &alert()).await;
        assert_eq!(reply.status, 503, "{says}");
        assert!(reply.body.contains(says), "{}", reply.body);
    }
}
