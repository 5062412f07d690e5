use std::{collections::BTreeMap, time::Duration};

use backout::sim::QueueOptions;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Drill, answer, time};

fn broker(answer: &super::Answer) -> Value {
    serde_json::from_str(answer.header("brokerproperties")).unwrap()
}

#[tokio::test]
async fn a_message_is_sent_locked_and_completed() {
    let drill = Drill::new().await;
    let properties = [
        ("BrokerProperties", r#"{"MessageId":"m-1","Label":"alert"}"#),
        ("backout-returns", "\"3\""),
        ("priority", "7"),
        ("content-type", "application/json"),
    ];
    let sent = drill.bus(Method::POST, "alerts/messages", &properties, r#"{"a":1}"#).await;
    assert_eq!(sent.status, 201);
    assert_eq!(drill.azure.queue_length("alerts"), 1);

    let locked = drill.bus(Method::POST, "alerts/messages/head?timeout=0", &[], "").await;
    assert_eq!((locked.status.as_u16(), locked.text.as_str()), (201, r#"{"a":1}"#));
    assert_eq!(locked.header("content-type"), "application/json");
    assert_eq!(locked.header("backout-returns"), "\"3\"");
    assert_eq!(locked.header("priority"), "7");
    let told = broker(&locked);
    assert_eq!(told["MessageId"], "m-1");
    assert_eq!(told["Label"], "alert");
    assert_eq!(told["DeliveryCount"], 1);
    assert_eq!(told["LockedUntilUtc"], "Wed, 25 Nov 2026 10:01:00 GMT");
    let location = locked.header("location").to_owned();
    assert_eq!(location, format!("{}alerts/messages/1/{}", drill.azure.bus_url(), told["LockToken"].as_str().unwrap()));

    assert_eq!(drill.bus(Method::POST, "alerts/messages/head?timeout=0", &[], "").await.status, 204);
    let path = location.strip_prefix(drill.azure.bus_url().as_str()).unwrap();
    assert_eq!(drill.bus(Method::POST, path, &[], "").await.status, 200, "renew");
    assert_eq!(drill.bus(Method::DELETE, path, &[], "").await.status, 200);
    assert_eq!(drill.bus(Method::DELETE, path, &[], "").await.status, 404);
    assert_eq!(drill.azure.queue_length("alerts"), 0);
}

#[tokio::test]
async fn a_message_given_back_comes_again_and_ends_as_a_dead_letter() {
    let drill = Drill::new().await;
    assert_eq!(drill.bus(Method::POST, "alerts/messages", &[], "bad").await.status, 201);
    for delivery in 1..=10 {
        let locked = drill.bus(Method::POST, "alerts/messages/head?timeout=0", &[], "").await;
        assert_eq!(broker(&locked)["DeliveryCount"], delivery);
        let location = locked.header("location").to_owned();
        let path = location.strip_prefix(drill.azure.bus_url().as_str()).unwrap().to_owned();
        assert_eq!(drill.bus(Method::PUT, &path, &[], "").await.status, 200);
    }
    assert_eq!(drill.bus(Method::POST, "alerts/messages/head?timeout=0", &[], "").await.status, 204);
    let dead = drill.azure.dead_letters("alerts");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].properties["DeadLetterReason"], "MaxDeliveryCountExceeded");

    let locked = drill.bus(Method::POST, "alerts/%24DeadLetterQueue/messages/head?timeout=0", &[], "").await;
    assert_eq!((locked.status.as_u16(), locked.text.as_str()), (201, "bad"));
    let location = locked.header("location").to_owned();
    assert!(location.contains("/alerts/$DeadLetterQueue/messages/"), "{location}");
    let path = location.strip_prefix(drill.azure.bus_url().as_str()).unwrap();
    assert_eq!(drill.bus(Method::DELETE, path, &[], "").await.status, 200);
    assert_eq!(drill.azure.dead_letters("alerts"), []);
}

#[tokio::test]
async fn a_scheduled_message_shows_when_it_is_due() {
    let drill = Drill::new().await;
    for (form, minutes) in
        [("Wed, 25 Nov 2026 10:05:00 GMT", 5), ("Wed, 25 Nov 2026 10:06:00 +0000", 6), ("25 Nov 2026 12:07:00 +0200", 7)]
    {
        let properties = json!({ "ScheduledEnqueueTimeUtc": form }).to_string();
        let sent = drill
            .bus(Method::POST, "followups/messages", &[("BrokerProperties", properties.as_str())], &minutes.to_string())
            .await;
        assert_eq!(sent.status, 201, "{form}");
    }
    assert_eq!(
        drill.azure.scheduled("followups"),
        [time("2026-11-25T10:05:00Z"), time("2026-11-25T10:06:00Z"), time("2026-11-25T10:07:00Z")]
    );
    assert_eq!((drill.azure.queue_length("followups"), drill.azure.take("followups")), (0, None));
    drill.advance_seconds(299);
    assert_eq!(drill.azure.take("followups"), None);
    drill.advance_seconds(1);
    let due = drill.azure.take("followups").unwrap();
    assert_eq!((&due.body[..], due.delivery_count, due.enqueued_at), (&b"5"[..], 1, time("2026-11-25T10:05:00Z")));
    assert_eq!(drill.azure.scheduled("followups").len(), 2);

    let wrong = drill
        .bus(Method::POST, "followups/messages", &[("BrokerProperties", r#"{"ScheduledEnqueueTimeUtc":"soon"}"#)], "x")
        .await;
    assert_eq!(wrong.status, 400);
}

#[tokio::test]
async fn a_lock_that_runs_out_gives_the_message_back() {
    let drill = Drill::new().await;
    drill.azure.send("alerts", "x", BTreeMap::from([("n".to_owned(), json!(1))])).unwrap();
    let first = drill.azure.take("ALERTS").unwrap();
    assert_eq!(first.properties["n"], 1);
    drill.advance_seconds(60);
    assert!(!drill.azure.complete(&first.lock));
    let second = drill.azure.take("alerts").unwrap();
    assert_eq!((second.delivery_count, &second.message_id), (2, &first.message_id));
    assert!(drill.azure.abandon(&second.lock));
    assert!(!drill.azure.abandon(&second.lock));
    assert!(drill.azure.complete(&drill.azure.take("alerts").unwrap().lock));
    assert_eq!(drill.azure.queue_length("alerts"), 0);
}

#[tokio::test]
async fn repeats_are_dropped_only_where_the_queue_says_so() {
    let drill = Drill::new().await;
    let same = [("BrokerProperties", r#"{"MessageId":"same"}"#)];
    drill
        .azure
        .add_queue("watched", QueueOptions { duplicate_detection: Some(Duration::from_mins(10)), ..QueueOptions::default() });
    for queue in ["watched", "alerts"] {
        for _ in 0..2 {
            assert_eq!(drill.bus(Method::POST, &format!("{queue}/messages"), &same, "x").await.status, 201);
        }
    }
    assert_eq!((drill.azure.queue_length("watched"), drill.azure.queue_length("alerts")), (1, 2));
    drill.advance_seconds(601);
    drill.bus(Method::POST, "watched/messages", &same, "x").await;
    assert_eq!(drill.azure.queue_length("watched"), 2);
}

#[tokio::test]
async fn a_receive_waits_for_a_message() {
    let drill = Drill::new().await;
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drill.azure.send("alerts", "late", BTreeMap::new()).unwrap();
    };
    let (received, ()) = tokio::join!(drill.bus(Method::DELETE, "alerts/messages/head?timeout=30", &[], ""), late);
    assert_eq!((received.status.as_u16(), received.text.as_str()), (200, "late"));
    assert_eq!(drill.azure.queue_length("alerts"), 0);
}

#[tokio::test]
async fn unknown_queues_wrong_tokens_and_large_messages_are_refused() {
    let drill = Drill::new().await;
    assert_eq!(drill.bus(Method::POST, "gone/messages", &[], "x").await.status, 404);
    assert!(drill.azure.send("gone", "x", BTreeMap::new()).unwrap_err().contains("`gone`"));
    assert_eq!(drill.bus(Method::POST, "alerts/messages", &[], &"x".repeat(256 * 1024 + 1)).await.status, 413);
    assert_eq!(drill.bus(Method::POST, "alerts/messages", &[], &"x".repeat(1024 * 1024 + 1)).await.status, 413);
    assert_eq!(drill.bus(Method::POST, "alerts/messages", &[("BrokerProperties", "no JSON")], "x").await.status, 400);
    let url = format!("{}alerts/messages", drill.azure.bus_url());
    assert_eq!(answer(drill.http.post(&url).body("x")).await.unwrap().status, 401);
    let wrong = answer(drill.http.post(&url).bearer_auth(&drill.arm_token).body("x")).await.unwrap();
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("InvalidAuthenticationTokenAudience"), "{}", wrong.text);
    assert_eq!(drill.azure.queue_length("alerts"), 0);
}
