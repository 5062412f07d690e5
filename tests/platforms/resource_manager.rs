//! Reads, submissions and polls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backout::{
    azure::resource_manager::{Limits, ResourceManager, correlated},
    domain::rollback::{OperationState, Submission},
    ports::PortErrorKind,
};
use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpListener};
use url::Url;
use uuid::Uuid;

use super::server::{FakeAzure, Reply, arm_at, identity, no_identity};

const SWAP: &str = "POST /swap";

#[tokio::test]
async fn a_submission_is_one_post_by_the_identity_that_acts() {
    let azure = FakeAzure::start().await;
    azure.on(SWAP, [Reply::empty(200)]);
    let arm = azure.arm();
    let id = Uuid::from_u128(7);
    let submission =
        correlated(id, arm.submit(Method::POST, "/swap?api-version=1", Some(&json!({"targetSlot": "production"})))).await;
    assert_eq!(submission, Submission::Done);
    let recorded = azure.recorded();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].line(), SWAP);
    assert_eq!(recorded[0].query, "api-version=1");
    assert_eq!(recorded[0].body, r#"{"targetSlot":"production"}"#);
    assert_eq!(recorded[0].header("authorization"), Some("Bearer actor-token"));
    assert_eq!(recorded[0].header("content-type"), Some("application/json"));
    assert_eq!(recorded[0].header("x-ms-correlation-request-id"), Some(id.to_string().as_str()));
    Uuid::parse_str(recorded[0].header("x-ms-client-request-id").unwrap()).unwrap();
}

#[tokio::test]
async fn each_answer_to_a_submission_means_what_it_proves() {
    let azure = FakeAzure::start().await;
    let conflict = json!({"Code": "Conflict", "Message": "another operation is in progress, OperationName: SwapSiteSlots"});
    let locked = json!({"error": {"code": "ScopeLocked", "message": "the scope is locked"}});
    let refused = json!({"error": {"code": "AuthorizationFailed", "message": "no right"}});
    let location = format!("{}operationresults/1?api-version=1", azure.url);
    let rows = [
        (Reply::empty(200), "done"),
        (Reply::empty(201), "done"),
        (Reply::empty(204), "done"),
        (Reply::empty(202).with("location", &location), "accepted"),
        (Reply::json(400, &refused), "refused: 400 AuthorizationFailed: no right"),
        (Reply::json(401, &refused), "refused: 401 AuthorizationFailed: no right"),
        (Reply::json(403, &refused), "refused: 403 AuthorizationFailed: no right"),
        (Reply::text(404, "<html>nothing</html>"), "refused: 404 Not Found"),
        (Reply::empty(405), "refused: 405"),
        (Reply::empty(412), "refused: 412"),
        (Reply::empty(422), "refused: 422"),
        (Reply::json(409, &conflict), "busy: 409 Conflict: another operation is in progress"),
        (Reply::json(409, &locked), "refused: 409 ScopeLocked: the scope is locked"),
        (Reply::empty(429).with("retry-after", "17"), "not sent, 17: 429"),
        (Reply::empty(429), "not sent: 429"),
        (Reply::empty(408), "unknown: 408"),
        (Reply::empty(500), "unknown: 500"),
        (Reply::empty(502), "unknown: 502"),
        (Reply::text(503, "busy").with("retry-after", "1"), "unknown: 503"),
        (Reply::text(504, "<html>504</html>"), "unknown: 504"),
        (Reply::empty(206), "unknown: 206"),
        (Reply::empty(418), "unknown: 418"),
        (Reply::empty(307).with("location", "/elsewhere"), "unknown: 307"),
        (Reply::empty(302).with("location", "/elsewhere"), "unknown: 302"),
        (Reply::never(), "unknown: no answer from the resource manager in time"),
    ];
    for (index, (reply, expected)) in rows.into_iter().enumerate() {
        let arm = azure.arm_for(&reply);
        azure.on(SWAP, [reply]);
        let said = in_words(arm.submit(Method::POST, "/swap", Some(&json!({}))).await);
        assert!(said.starts_with(expected), "expected `{expected}`, got `{said}`");
        assert_eq!(azure.recorded().len(), index + 1, "`{expected}` must be sent once");
    }
}

fn in_words(submission: Submission) -> String {
    match submission {
        Submission::Done => "done".to_owned(),
        Submission::Accepted { .. } => "accepted".to_owned(),
        Submission::Refused { says } => format!("refused: {says}"),
        Submission::Busy { says } => format!("busy: {says}"),
        Submission::NotSent { says, retry_after_seconds: None } => format!("not sent: {says}"),
        Submission::NotSent { says, retry_after_seconds: Some(seconds) } => format!("not sent, {seconds}: {says}"),
        Submission::Unknown { says } => format!("unknown: {says}"),
    }
}

#[tokio::test]
async fn an_accepted_submission_keeps_the_url_to_ask() {
    let azure = FakeAzure::start().await;
    let submit = async |reply| {
        azure.on(SWAP, [reply]);
        match azure.arm().submit(Method::POST, "/swap", Some(&json!({}))).await {
            Submission::Accepted { operation, poll_after_seconds } => (operation, poll_after_seconds),
            other => panic!("{other:?}"),
        }
    };
    let absolute = format!("{}operationresults/1?api-version=1", azure.url);
    let accepted = || Reply::empty(202).with("location", &absolute);
    assert_eq!(submit(accepted()).await, (json!({"location": absolute}), 15));
    assert_eq!(submit(accepted().with("retry-after", "40")).await.1, 40);
    assert_eq!(submit(accepted().with("retry-after", "0")).await.1, 1);
    assert_eq!(submit(accepted().with("retry-after", "86400")).await.1, 600);
    let both = accepted().with("azure-asyncoperation", format!("{}operations/1", azure.url));
    assert_eq!(submit(both).await.0, json!({"asyncOperation": format!("{}operations/1", azure.url)}));
    let relative = Reply::empty(202).with("location", "/operationresults/2");
    assert_eq!(submit(relative).await.0, json!({"location": format!("{}operationresults/2", azure.url)}));
    assert_eq!(submit(Reply::empty(202)).await.0, json!({}));
}

#[tokio::test]
async fn what_never_left_this_machine_is_not_sent() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", closed.local_addr().unwrap())).unwrap();
    drop(closed);
    let said = in_words(arm_at(url.clone()).submit(Method::POST, "/swap", Some(&json!({}))).await);
    assert!(said.starts_with("not sent: no connection to the resource manager"), "{said}");

    let azure = FakeAzure::start().await;
    let arm = ResourceManager::new(azure.url.clone(), identity("reader-token"), no_identity());
    let said = in_words(arm.submit(Method::POST, "/swap", Some(&json!({}))).await);
    assert!(said.starts_with("not sent: no token for"), "{said}");
    let said = in_words(azure.arm().submit(Method::POST, "/slots/../slotsswap", Some(&json!({}))).await);
    assert!(said.starts_with("refused: a name in the path is no resource name"), "{said}");
    assert!(azure.recorded().is_empty());
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_call_leaves_it_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let mut bytes = [0; 16];
            let _ = stream.read(&mut bytes).await;
        }
    });
    let said = in_words(arm_at(url.clone()).submit(Method::POST, "/swap", Some(&json!({}))).await);
    assert!(said.starts_with("unknown: the connection to the resource manager broke"), "{said}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_submission_takes_a_connection_of_its_own() {
    let azure = FakeAzure::start().await;
    azure.on("GET /thing", [Reply::json(200, &json!({"a": 1}))]).on(SWAP, [Reply::empty(200)]);
    let arm = azure.arm();
    assert_eq!(arm.read("read", "/thing").await.unwrap(), json!({"a": 1}));
    assert_eq!(arm.read("read", "/thing").await.unwrap(), json!({"a": 1}));
    assert_eq!(arm.submit(Method::POST, "/swap", Some(&json!({}))).await, Submission::Done);
    assert_eq!(arm.submit(Method::POST, "/swap", Some(&json!({}))).await, Submission::Done);
    let recorded = azure.recorded();
    let connections: Vec<_> = recorded.iter().map(|r| r.connection).collect();
    assert_eq!(connections[0], connections[1], "reads share one");
    assert!(connections[1] != connections[2] && connections[2] != connections[3], "{connections:?}");
    assert_eq!(recorded[0].header("authorization"), Some("Bearer reader-token"));
    let ids: Vec<_> = recorded.iter().map(|r| r.header("x-ms-client-request-id").unwrap()).collect();
    assert!(ids[0] != ids[1] && ids[2] != ids[3], "a new id each time: {ids:?}");
    assert_eq!(recorded[0].header("x-ms-correlation-request-id"), None);
}

#[tokio::test]
async fn a_read_is_tried_twice_and_says_what_went_wrong() {
    let azure = FakeAzure::start().await;
    let denied = json!({"error": {"code": "AuthorizationFailed", "message": "no right"}});
    let challenge = r#"Bearer realm="", error="insufficient_claims", claims="eyJhY2Nlc3M""#;
    let rows = [
        (Reply::empty(500), 2, PortErrorKind::Transient, None),
        (Reply::empty(502), 2, PortErrorKind::Transient, None),
        (Reply::empty(503).with("retry-after", "3"), 2, PortErrorKind::Transient, Some(3000)),
        (Reply::empty(504), 2, PortErrorKind::Transient, None),
        (Reply::empty(408), 1, PortErrorKind::Transient, None),
        (Reply::never(), 1, PortErrorKind::Transient, None),
        (Reply::empty(429).with("retry-after-ms", "1500"), 1, PortErrorKind::Throttled, Some(1500)),
        (Reply::empty(529), 1, PortErrorKind::Throttled, None),
        (Reply::json(403, &denied), 1, PortErrorKind::Denied, None),
        (Reply::empty(401), 1, PortErrorKind::Denied, None),
        (Reply::empty(401).with("www-authenticate", challenge), 1, PortErrorKind::Denied, None),
        (Reply::empty(404), 1, PortErrorKind::NotFound, None),
        (Reply::empty(400), 1, PortErrorKind::Invalid, None),
        (Reply::empty(301).with("location", "/elsewhere"), 1, PortErrorKind::Invalid, None),
        (Reply::text(200, "<html>"), 1, PortErrorKind::Invalid, None),
    ];
    let mut before = 0;
    for (reply, requests, kind, milliseconds) in rows {
        azure.on("GET /thing", [reply.clone()]);
        let error = azure.arm_for(&reply).read("read the thing", "/thing").await.unwrap_err();
        assert_eq!(error.kind, kind, "{reply:?}");
        assert_eq!(error.operation, "read the thing");
        assert_eq!(error.retry_after, milliseconds.map(Duration::from_millis), "{reply:?}");
        assert!(!error.says.contains("token\"") && !error.says.contains("eyJ"), "{}", error.says);
        let recorded = azure.recorded();
        assert_eq!(recorded.len() - before, requests, "{reply:?}");
        before = recorded.len();
    }
    azure.on("GET /thing", [Reply::empty(503), Reply::json(200, &json!({"b": 2}))]);
    assert_eq!(azure.arm().read("read", "/thing").await.unwrap(), json!({"b": 2}));
    assert!(azure.recorded().iter().all(|r| r.path == "/thing"), "no redirect is followed");
}

#[tokio::test]
async fn long_answers_are_cut() {
    let azure = FakeAzure::start().await;
    let limits = Limits { body_bytes_max: 64, error_body_bytes_max: 16, ..Limits::default() };
    let arm = ResourceManager::new(azure.url.clone(), identity("reader-token"), identity("actor-token")).with_limits(limits);
    azure.on("GET /thing", [Reply::json(200, &json!({"a": "x".repeat(64)}))]);
    let error = arm.read("read", "/thing").await.unwrap_err();
    assert!(error.kind == PortErrorKind::Invalid && error.says.contains("too long"), "asking again does not change it: {error}");
    azure.on("GET /thing", [Reply::json(403, &json!({"error": {"code": "AuthorizationFailed"}}))]);
    let error = arm.read("read", "/thing").await.unwrap_err();
    assert!(error.kind == PortErrorKind::Denied && error.says.starts_with("403 Forbidden"), "{}", error.says);
    azure.on(SWAP, [Reply::text(200, &"x".repeat(100))]);
    assert_eq!(arm.submit(Method::POST, "/swap", Some(&json!({}))).await, Submission::Done);
}

#[tokio::test]
async fn a_list_is_followed_on_this_host_only_and_not_for_ever() {
    let azure = FakeAzure::start().await;
    let next = format!("{}more?page=2", azure.url);
    azure.on("GET /list", [Reply::json(200, &json!({"value": [1, 2], "nextLink": next}))]);
    azure.on("GET /more", [Reply::json(200, &json!({"value": [3], "nextLink": ""}))]);
    assert_eq!(azure.arm().read_all("list", "/list?a=b").await.unwrap(), [1, 2, 3]);
    assert_eq!(azure.recorded()[1].query, "page=2");

    azure.on("GET /more", [Reply::json(200, &json!({"value": [3], "nextLink": next}))]);
    let error = azure.arm().read_all("list", "/list").await.unwrap_err();
    assert!(error.says.contains("too many pages"), "{}", error.says);

    let elsewhere = FakeAzure::start().await;
    azure.on("GET /list", [Reply::json(200, &json!({"value": [1], "nextLink": elsewhere.url.join("/more").unwrap().as_str()}))]);
    let error = azure.arm().read_all("list", "/list").await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert!(elsewhere.recorded().is_empty());

    azure.on("GET /list", [Reply::json(200, &json!({"properties": {}}))]);
    assert_eq!(azure.arm().read_all("list", "/list").await.unwrap_err().kind, PortErrorKind::Invalid);
}

#[tokio::test]
async fn a_poll_reads_the_operation_by_its_kind() {
    let azure = FakeAzure::start().await;
    let failed = json!({"Code": "BadRequest", "Message": "the worker process for 'staging' slot could not be started"});
    let status = |word: &str| Reply::json(200, &json!({"status": word, "error": {"code": "C", "message": "m"}}));
    let rows = [
        ("location", Reply::empty(202).with("retry-after", "9"), "running 9"),
        ("location", Reply::empty(202), "running 15"),
        ("location", Reply::empty(200), "succeeded"),
        ("location", Reply::empty(204), "succeeded"),
        ("location", Reply::json(400, &failed), "failed: 400 BadRequest: the worker process"),
        ("location", Reply::json(409, &failed), "failed: 409 BadRequest"),
        ("location", Reply::empty(422), "failed: 422"),
        ("location", Reply::empty(401), "unknown: no right to read the operation (401"),
        ("location", Reply::empty(403), "unknown: no right to read the operation (403"),
        ("location", Reply::empty(404), "unknown: the operation is not there any more (404"),
        ("location", Reply::empty(302).with("location", "/x"), "unknown: the operation answered 302"),
        ("location", Reply::empty(429).with("retry-after", "4"), "Throttled"),
        ("location", Reply::empty(500), "Transient"),
        ("location", Reply::empty(503), "Transient"),
        ("location", Reply::never(), "Transient"),
        ("asyncOperation", status("Succeeded"), "succeeded"),
        ("asyncOperation", status("InProgress"), "running 15"),
        ("asyncOperation", status("somethingNew"), "running 15"),
        ("asyncOperation", status("FAILED"), "failed: the operation is failed C: m"),
        ("asyncOperation", status("Canceled"), "failed: the operation is canceled C: m"),
        ("asyncOperation", Reply::json(200, &json!({})), "unknown: the operation's answer holds no status"),
        ("asyncOperation", Reply::empty(202), "running 15"),
    ];
    for (index, (kind, reply, expected)) in rows.into_iter().enumerate() {
        let arm = azure.arm_for(&reply);
        azure.on("GET /operation", [reply]);
        let operation = json!({kind: format!("{}operation?t=1", azure.url)});
        let said = match arm.poll(&operation).await {
            Ok(OperationState::Running { poll_after_seconds }) => format!("running {poll_after_seconds}"),
            Ok(OperationState::WaitsForAPerson { says, .. }) => format!("waits: {says}"),
            Ok(OperationState::Succeeded) => "succeeded".to_owned(),
            Ok(OperationState::Failed { says }) => format!("failed: {says}"),
            Ok(OperationState::Unknown { says }) => format!("unknown: {says}"),
            Err(error) => format!("{:?}", error.kind),
        };
        assert!(said.starts_with(expected), "{kind}: expected `{expected}`, got `{said}`");
        let recorded = azure.recorded();
        assert_eq!(recorded.len(), index + 1, "one poll is one request");
        assert_eq!(recorded[index].query, "t=1");
        assert_eq!(recorded[index].header("authorization"), Some("Bearer reader-token"));
    }
}

#[tokio::test]
async fn a_foreign_operation_url_is_never_contacted() {
    let (azure, elsewhere) = (FakeAzure::start().await, FakeAzure::start().await);
    elsewhere.on("GET /operation", [Reply::empty(200)]);
    azure.on(SWAP, [Reply::empty(202).with("location", elsewhere.url.join("/operation").unwrap())]);
    let arm = azure.arm();
    let Submission::Accepted { operation, .. } = arm.submit(Method::POST, "/swap", Some(&json!({}))).await else {
        panic!("not accepted")
    };
    let https = json!({"location": azure.url.as_str().replace("http://", "https://")});
    for operation in [operation, https, json!({"location": "no url"})] {
        let OperationState::Unknown { says } = arm.poll(&operation).await.unwrap() else { panic!("{operation}") };
        assert!(says.contains("not on the resource manager's host"), "{says}");
    }
    let OperationState::Unknown { says } = arm.poll(&json!({})).await.unwrap() else { panic!("{{}}") };
    assert!(says.contains("without a URL to ask"), "{says}");
    assert!(elsewhere.recorded().is_empty());
    assert_eq!(azure.recorded().len(), 1);
}
