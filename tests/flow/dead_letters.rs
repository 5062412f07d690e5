//! `backout dead-letters`, the real binary, over simulated Service Bus queues and over the embedded queue.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backout::{
    domain::target::{PlatformKind, sha256_hex, short_hash},
    local::{clock::SystemClock, embedded_queue::EmbeddedQueue, sqlite_store::SqliteStore},
    ports::{FollowUps, Incoming, QueueMessage},
    process::{
        documents::{Documents, keys},
        park::Parked,
    },
    sim::{AzureSimulation, QueueOptions, SimulatedMessage},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{program::Program, scene::Scene};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn ran(environment: &BTreeMap<String, String>, arguments: &[&str]) -> Ran {
    let output = Program::new(["dead-letters"].iter().chain(arguments)).with(environment).ran().await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// A message with everything that can be on one, delivered until it is dead.
async fn bury(azure: &AzureSimulation, token: &str, queue: &str, id: &str, body: &str) {
    let sent = reqwest::Client::new()
        .request(Method::POST, format!("{}{queue}/messages", azure.bus_url()))
        .bearer_auth(token)
        .header("BrokerProperties", json!({ "MessageId": id, "Label": "composed", "CorrelationId": "c-1" }).to_string())
        .header("backout-returns", "2")
        .header("origin", "\"event grid\"")
        .header("content-type", "application/cloudevents+json")
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 201);
    while let Some(message) = azure.take(queue) {
        assert!(azure.abandon(&message.lock));
    }
}

async fn token(azure: &AzureSimulation) -> String {
    let url = format!("{}?api-version=2019-08-01&resource=https://servicebus.azure.net", azure.identity_endpoint());
    let asked = reqwest::Client::new().get(url).header("x-identity-header", azure.identity_header()).send().await.unwrap();
    let answer: Value = asked.json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn scene() -> (Scene, String) {
    let scene = Scene::without_handlers(PlatformKind::AppService, Duration::from_hours(6)).await;
    for queue in ["alerts", "deployments", "markers", "followups"] {
        let options = QueueOptions {
            lock_duration: Duration::from_hours(6),
            max_delivery_count: 2,
            duplicate_detection: Some(Duration::from_hours(24 * 7)),
            ..QueueOptions::default()
        };
        scene.azure.add_queue(queue, options);
    }
    let token = token(&scene.azure).await;
    (scene, token)
}

fn only(messages: Vec<SimulatedMessage>) -> SimulatedMessage {
    let [message] = <[_; 1]>::try_from(messages).unwrap();
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_of_all_queues_are_listed_with_what_the_broker_says() {
    let (scene, token) = scene().await;
    bury(&scene.azure, &token, "alerts", "m-1", "one").await;
    bury(&scene.azure, &token, "followups", "m-2", "two").await;
    for look in 0..2 {
        let listed = ran(&scene.environment, &["list", "--format", "json"]).await;
        assert_eq!((listed.code, listed.err.as_str()), (Some(0), ""), "look {look}");
        let lines = lines(&listed);
        assert_eq!(lines.iter().map(|line| &line["queue"]).collect::<Vec<_>>(), ["alerts", "followups"]);
        assert_eq!(lines[0]["reason"], "MaxDeliveryCountExceeded");
        assert_eq!(lines[0]["description"], "Message could not be consumed after 2 delivery attempts.");
        assert_eq!(lines[0]["deliveryCount"], 3 + look, "looking is receiving, and counts");
        assert_eq!((&lines[0]["bodyBase64"], &lines[0]["bytes"], &lines[0]["at"]), (&json!("b25l"), &json!(3), &Value::Null));
        assert!(lines[0]["enqueuedAt"].as_str().is_some_and(|at| at.ends_with('Z')), "{}", lines[0]);
    }
    let limited = ran(&scene.environment, &["list", "--limit", "0"]).await;
    assert_eq!(limited.code, Some(0));
    assert!(limited.err.contains("`alerts` may have more dead letters"), "{}", limited.err);
    assert_eq!(scene.azure.dead_letters("alerts").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_says_what_it_would_do_and_then_does_it_once() {
    let (scene, token) = scene().await;
    for (id, body) in [("m-1", "one"), ("m-2", "two")] {
        bury(&scene.azure, &token, "alerts", id, body).await;
    }
    let ids: Vec<_> = lines(&ran(&scene.environment, &["list", "--format", "json"]).await)
        .iter()
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect();
    let dry = ran(&scene.environment, &["replay", "--all"]).await;
    assert_eq!(dry.code, Some(0));
    assert!(dry.out.contains("2 would be queued again; nothing was changed. Say `--yes` to do it"), "{}", dry.out);
    assert_eq!((scene.azure.queue_length("alerts"), scene.azure.dead_letters("alerts").len()), (0, 2));

    let done = ran(&scene.environment, &["replay", "--id", &ids[1], "--yes", "--format", "json"]).await;
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    let told = lines(&done);
    assert_eq!((told.len(), &told[0]["id"], &told[0]["outcome"]), (1, &json!(ids[1]), &json!("queuedAgain")));
    let again = only(scene.azure.messages("alerts"));
    assert_eq!((&again.body[..], again.content_type.as_deref()), (&b"two"[..], Some("application/cloudevents+json")));
    assert_eq!(
        again.properties,
        BTreeMap::from([("backout-returns".to_owned(), json!(2)), ("origin".to_owned(), json!("event grid"))])
    );
    assert_ne!(again.message_id, "m-2", "the old id would be dropped as a duplicate");
    assert_eq!(only(scene.azure.dead_letters("alerts")).body, "one");

    // Dead once more, it can be replayed once more, although the queue detects duplicates.
    while let Some(message) = scene.azure.take("alerts") {
        assert!(scene.azure.abandon(&message.lock));
    }
    let done = ran(&scene.environment, &["replay", "--reason", "maxdelivery", "--yes"]).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("2 queued again"), "{}", done.out);
    assert_eq!((scene.azure.queue_length("alerts"), scene.azure.dead_letters("alerts").len()), (2, 0));

    let gone = ran(&scene.environment, &["replay", "--id", &ids[1], "--yes"]).await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains(&format!("there is no `{}`", ids[1])), "{}", gone.err);
    assert_eq!(ran(&scene.environment, &["replay"]).await.code, Some(2), "which ones has to be said");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_queue_is_told_with_the_right_that_is_missing_and_others_are_listed() {
    let (scene, token) = scene().await;
    bury(&scene.azure, &token, "followups", "m-1", "one").await;
    let effect = backout::sim::FaultEffect::Status {
        moment: backout::sim::Moment::BeforeEffect,
        status: 403,
        body: backout::sim::FaultBody::Html,
    };
    scene.azure.inject(backout::sim::Fault::on("POST", "/alerts/", effect));
    let listed = ran(&scene.environment, &["list"]).await;
    assert_eq!(listed.code, Some(1));
    assert!(listed.err.contains("`alerts`") && listed.err.contains("`Azure Service Bus Data Receiver`"), "{}", listed.err);
    assert!(listed.out.contains("followups:"), "{}", listed.out);
}

/// Composed by us, as `process::park` keeps it.
fn parked(body: &[u8], kept_bytes: usize, reason: &str) -> Parked {
    let body_sha256 = sha256_hex(body);
    Parked {
        id: short_hash(&["alerts", &body_sha256, reason]),
        queue: "alerts".to_owned(),
        reason: reason.to_owned(),
        parked_at: "2026-11-25T10:00:00Z".parse().unwrap(),
        body_sha256,
        body_bytes: body.len(),
        body_base64: data_encoding::BASE64.encode(&body[..kept_bytes]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_message_is_put_back_on_its_queue_and_a_cut_one_is_refused() {
    let (scene, _) = scene().await;
    let file = scene.environment["BACKOUT_STORE"].strip_prefix("sqlite:").unwrap();
    let documents = Documents::new(Arc::new(SqliteStore::new(file)));
    let (whole, cut) = (parked(b"whole", 5, "not an alert"), parked(b"too long", 3, "not an alert either"));
    for message in [&whole, &cut] {
        documents.insert(&keys::parked(&message.id), message.clone()).await.unwrap();
    }
    let dry = ran(&scene.environment, &["replay", "--all"]).await;
    assert_eq!(dry.code, Some(1), "one of them cannot be replayed");
    assert!(dry.out.contains("only the first 3 of its 8 bytes were kept; let its sender send it again"), "{}", dry.out);
    assert_eq!(scene.azure.queue_length("alerts"), 0);

    let done = ran(&scene.environment, &["replay", "--reason", "NOT AN ALERT", "--yes"]).await;
    assert_eq!(done.code, Some(1));
    assert!(done.out.contains("1 queued again"), "{}", done.out);
    let again = only(scene.azure.messages("alerts"));
    assert_eq!((&again.body[..], &again.properties["backout-returns"]), (&b"whole"[..], &json!(0)));
    let listed = lines(&ran(&scene.environment, &["list", "--format", "json"]).await);
    assert_eq!(listed.iter().map(|line| &line["id"]).collect::<Vec<_>>(), [&json!(cut.id)]);

    // Parked once more for the same reason: another one, which a queue that detects duplicates must take.
    let later = Parked { parked_at: "2026-11-25T10:05:00Z".parse().unwrap(), ..whole.clone() };
    documents.insert(&keys::parked(&whole.id), later).await.unwrap();
    assert_eq!(ran(&scene.environment, &["replay", "--id", &whole.id, "--yes"]).await.code, Some(0));
    assert_eq!(scene.azure.queue_length("alerts"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_queue_s_letters_are_replayed_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let environment: BTreeMap<_, _> =
        [("BACKOUT_STORE".to_owned(), format!("sqlite:{}", file.display())), ("BACKOUT_BUS".to_owned(), "local:".to_owned())]
            .into();
    let queue = EmbeddedQueue::in_file(&file, Arc::new(SystemClock::new()));
    let message = QueueMessage { queue: "markers".to_owned(), body: b"one".to_vec(), returns: 0, message_id: None };
    queue.send(message, Duration::ZERO).await.unwrap();
    while let Some(received) = queue.receive("markers", Duration::ZERO).await.unwrap() {
        received.lock.abandon().await.unwrap();
    }
    let listed = ran(&environment, &["list"]).await;
    assert!(listed.out.starts_with("markers:1  "), "{} {}", listed.out, listed.err);
    assert!(ran(&environment, &["replay", "--id", "markers:1"]).await.out.contains("1 would be queued again"));
    assert_eq!(ran(&environment, &["replay", "--id", "markers:1", "--yes"]).await.code, Some(0));
    assert_eq!(queue.receive("markers", Duration::ZERO).await.unwrap().unwrap().body, b"one");
    assert_eq!(ran(&environment, &["list"]).await.out, "nothing is parked, and there are no dead letters\n");
}
