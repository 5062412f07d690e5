//! Whoever may send to a queue: what a message can say, and what comes of it.

use std::{fmt::Write as _, time::Duration};

use axum::http::StatusCode;
use backout::{
    cli::demo::messages::swap,
    domain::{
        approval::{Approval, Verdict},
        decision::DecisionKind,
        policy::{Channel, NoticeKind, NotifyRule},
        record::{NotARecordId, Record, RecordId},
        service::Mode,
        target::VersionToken,
        target_state::TargetState,
    },
    inbound::BODY_BYTES_MAX,
    ports::{FollowUp, StepName},
    process::{
        documents::{Documents, keys},
        park::PARKED_BODY_BYTES_MAX,
    },
};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{
    broker::{Broker, Heard},
    policy::{policy, service, site},
    scene,
    world::World,
};

fn alert_body(world: &World) -> Value {
    serde_json::from_slice(&scene::alert(&site("checkout"), world.now()).0).unwrap()
}

async fn post(broker: &Broker, queue: &str, body: &[u8]) -> Heard {
    let message = backout::ports::QueueMessage { queue: queue.to_owned(), body: body.to_vec(), returns: 0, message_id: None };
    broker.post(&message).await
}

/// A marker of a pipeline, composed after CDEvents 0.6.
fn marker(world: &World, reversible: bool) -> Vec<u8> {
    json!({
        "context": {
            "specversion": "0.6.0-draft", "id": format!("m-{reversible}"), "source": "/ci/shop",
            "type": "dev.cdevents.service.deployed.0.3.0", "timestamp": world.now(),
        },
        "subject": { "id": site("checkout").canonical(), "content": { "environment": { "id": "prod" }, "artifactId": "pkg:oci/a@1" } },
        "customData": { "reversible": reversible },
    })
    .to_string()
    .into_bytes()
}

#[tokio::test]
async fn each_queue_takes_its_own_kind_and_keeps_the_rest_for_a_person() {
    let world = World::new();
    let broker = Broker::of(&world, &world.ports);
    let alert = alert_body(&world).to_string().into_bytes();
    let deployment = swap("SlotSwapCompleted", &site("checkout"), world.now());
    let follow_up =
        json!({"v": 1, "record": "a".repeat(26), "target": null, "step": "lookAgain", "generation": 0, "dueAt": world.now()});
    let follow_up = follow_up.to_string().into_bytes();
    for (queue, body, says) in [
        ("deployments", &alert, "an alert arrived on queue `deployments`"),
        ("markers", &alert, "an alert arrived on queue `markers`"),
        ("followups", &alert, "not a follow-up of ours"),
        ("alerts", &deployment, "a deployment event arrived on queue `alerts`"),
        ("followups", &deployment, "not a follow-up of ours"),
        ("alerts", &follow_up, "`body`"),
        ("markers", &follow_up, "`body`"),
    ] {
        let heard = post(&broker, queue, body).await;
        assert!(
            heard.status == StatusCode::OK && heard.says.contains(says) && heard.says.starts_with("parked"),
            "{queue}: {heard:?}"
        );
    }
    assert_eq!(broker.process.parked(100).await.unwrap().len(), 7);
    assert!(broker.process.records(10).await.unwrap().is_empty(), "no record came of any of them");
    assert_eq!(world.platform.calls(), 0);
}

#[tokio::test]
async fn only_the_queue_of_markers_may_declare_a_change_reversible() {
    for (queue, believed) in [("deployments", None), ("markers", Some(true))] {
        let world = World::new();
        let broker = Broker::of(&world, &world.ports);
        let heard = post(&broker, queue, &marker(&world, true)).await;
        assert!(heard.status == StatusCode::OK && heard.says.starts_with("kept a deployment event"), "{heard:?}");
        let documents = Documents::new(world.ports.store.clone());
        let state = documents.read::<TargetState>(&keys::target(&world.target("checkout").key())).await.unwrap().unwrap().value;
        assert_eq!(state.markers.iter().map(|marker| marker.reversible).collect::<Vec<_>>(), [believed], "{queue}");
    }
}

/// Each came to a panic, and with it to ten deliveries and the dead letters, before ids were read at the edge.
#[tokio::test]
async fn a_forged_follow_up_is_parked_or_has_no_effect() {
    let world = World::new();
    world.break_it().await;
    let broker = Broker::of(&world, &world.ports);
    let good = json!({
        "v": 1, "record": "a".repeat(26), "target": world.target("checkout").key(), "step": "rollback", "generation": 1,
        "dueAt": "2026-03-02T04:00:00Z",
    });
    let with = |key: &str, value: Value| {
        let mut forged = good.clone();
        forged[key] = value;
        forged
    };
    let parked = [
        with("record", json!("")),
        with("record", json!("../../control")),
        with("record", json!("A".repeat(26))),
        with("record", json!("a".repeat(25))),
        with("record", json!("1".repeat(26))),
        with("record", json!("a\u{0}b/%2e%2e")),
        with("record", json!("ä".repeat(13))),
        with("record", json!("a".repeat(100_000))),
        with("v", json!(2)),
        with("v", json!("1")),
        with("step", json!("approve")),
        with("generation", json!(-1)),
        with("dueAt", json!("soon")),
    ];
    for forged in parked {
        let shown: String = forged.to_string().chars().take(120).collect();
        let heard = post(&broker, "followups", forged.to_string().as_bytes()).await;
        assert!(heard.status == StatusCode::OK && heard.says.starts_with("parked"), "{shown}: {heard:?}");
        assert!(!heard.says.contains("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "the message is not repeated: {heard:?}");
    }
    let harmless = [
        good.clone(),
        with("target", json!("x".repeat(100_000))),
        with("target", json!("/subscriptions/../../control")),
        with("target", Value::Null),
        with("generation", json!(u64::MAX)),
        with("dueAt", json!("-009999-01-02T01:59:59Z")),
        with("dueAt", json!("9999-12-30T22:00:00.999999999Z")),
        with("step", json!("approval")),
        with("step", json!("expire")),
        with("step", json!("lookAgain")),
    ];
    for forged in harmless {
        let shown: String = forged.to_string().chars().take(120).collect();
        let heard = post(&broker, "followups", forged.to_string().as_bytes()).await;
        assert!(heard.status == StatusCode::OK && !heard.says.starts_with("parked"), "{shown}: {heard:?}");
    }
    assert_eq!((world.platform.calls(), world.queue.next_due()), (0, None), "nothing was sent, and nothing scheduled");
}

/// A proposal is open; the record and its world.
async fn proposed() -> (World, Broker, Record) {
    let mut checkout = service("checkout");
    checkout.mode = Mode::Propose;
    let world = World::with(policy(vec![checkout]));
    let firing = world.break_it().await;
    let broker = Broker::of(&world, &world.ports);
    broker.process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let record = world.record(&firing).await;
    assert_eq!(record.decision.as_ref().unwrap().kind, DecisionKind::Propose);
    (world, broker, record)
}

fn wake_up(record: &Record, step: StepName, world: &World) -> Vec<u8> {
    let target = Some(world.target("checkout").key());
    let follow_up =
        FollowUp { v: 1, record: record.id.clone(), target, step, generation: record.generation, due_at: world.now() };
    serde_json::to_vec(&follow_up).unwrap()
}

#[tokio::test]
async fn no_message_is_an_approval() {
    let (world, broker, record) = proposed().await;
    for step in [StepName::Approval, StepName::LookAgain, StepName::Rollback, StepName::Expire] {
        let heard = post(&broker, "followups", &wake_up(&record, step, &world)).await;
        assert_eq!(heard.status, StatusCode::OK, "{heard:?}");
    }
    // Nor does anything that a sender adds to it count.
    let mut dressed_up: Value = serde_json::from_slice(&wake_up(&record, StepName::Approval, &world)).unwrap();
    dressed_up["approval"] = json!({"verdict": "approved", "token": "x", "by": "eve", "at": world.now(), "used": false});
    dressed_up["verdict"] = json!("approved");
    post(&broker, "followups", dressed_up.to_string().as_bytes()).await;
    world.advance(SignedDuration::from_mins(1));
    broker.deliver_due().await;
    let after = world.ports.clone();
    let after = Documents::new(after.store).read::<Record>(&keys::record(&record.id)).await.unwrap().unwrap().value;
    assert_eq!((after.approval, after.decision.unwrap().kind), (None, DecisionKind::Propose));
    assert_eq!(world.platform.calls(), 0);
    // The real one still counts.
    broker.process.answer(&record.id, Verdict::Approved, "ben").await.unwrap();
    world.run(&world.process(), 1).await;
    assert_eq!(world.platform.effects(), 1);
}

#[tokio::test]
async fn a_replayed_approval_acts_once() {
    let (world, broker, record) = proposed().await;
    broker.process.answer(&record.id, Verdict::Approved, "ben").await.unwrap();
    let (_, genuine) = world.queue.queued().into_iter().find(|(_, message)| message.queue == "followups").unwrap();
    for _ in 0..5 {
        post(&broker, "followups", &genuine.body).await;
    }
    world.run(&world.process(), 2).await;
    for _ in 0..5 {
        let heard = post(&broker, "followups", &genuine.body).await;
        assert_eq!(heard.status, StatusCode::OK, "{heard:?}");
    }
    world.run(&world.process(), 2).await;
    assert_eq!((world.platform.calls(), world.platform.effects()), (1, 1));
}

#[tokio::test]
async fn an_approval_of_another_version_is_none() {
    // The accused version changes between the approval and the call.
    let (world, broker, record) = proposed().await;
    broker.process.answer(&record.id, Verdict::Approved, "ben").await.unwrap();
    world.platform.team_swaps_in("build-43");
    world.run(&world.process(), 2).await;
    assert_eq!(world.platform.calls(), 0);

    // Somebody writes an approval of something else into the record.
    let (world, broker, record) = proposed().await;
    let documents = Documents::new(world.ports.store.clone());
    let forged = Approval {
        verdict: Verdict::Approved,
        token: VersionToken("swap|2020-01-01T00:00:00Z".to_owned()),
        proposal: None,
        by: "eve".to_owned(),
        at: world.now(),
        used: false,
    };
    let changed = |record: &mut Record| {
        record.approval = Some(forged.clone());
        Some(())
    };
    documents.update(&keys::record(&record.id), || None, changed).await.unwrap().unwrap();
    post(&broker, "followups", &wake_up(&record, StepName::Approval, &world)).await;
    world.run(&world.process(), 2).await;
    assert_eq!(world.platform.calls(), 0);
}

/// Bounded work, a sentence, a bounded part of the body kept.
#[tokio::test]
async fn bodies_that_are_made_to_hurt_are_parked_with_a_sentence() {
    let world = World::new();
    let broker = Broker::of(&world, &world.ports);
    let alert = alert_body(&world);
    let with = |pointer: &str, value: Value| {
        let mut alert = alert.clone();
        *alert.pointer_mut(pointer).unwrap() = value;
        alert.to_string()
    };
    let nested = |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let rows = [
        ("deep lists", nested("[", "]", 100_000), "is nested too deeply"),
        ("deep objects", nested("{\"a\":", "}", 100_000), "is nested too deeply"),
        ("lists without an end", "[".repeat(1_000_000), "`body`"),
        ("a number beyond all numbers", alert.to_string().replacen("\"Sev1\"", "1e999999999", 1), "is not JSON"),
        ("a long number", alert.to_string().replacen("\"Sev1\"", &"9".repeat(500_000), 1), "is not JSON"),
        ("many parts", format!("[{}1]", "{\"\":0},".repeat(140_000)), "holds more than 100 events"),
        ("more than is parsed", format!("[{}1]", "{\"\":0},".repeat(2_000_000)), "has more than 1048576 bytes"),
        ("one long text", json!("x".repeat(5_000_000)).to_string(), "has more than 1048576 bytes"),
        ("a long id", with("/data/essentials/alertId", json!("/a".repeat(100_000))), "is longer than 1024 characters"),
        ("an id with a line break", with("/data/essentials/alertId", json!("/a\nb")), "holds a control character"),
        ("an id that reads from right to left", with("/data/essentials/alertId", json!("/a\u{202e}b")), "one that shows nothing"),
        ("a text for a list", with("/data/essentials/alertTargetIDs", json!("all")), "must be a list"),
    ];
    for (name, body, says) in rows {
        let heard = post(&broker, "alerts", body.as_bytes()).await;
        assert!(heard.status == StatusCode::OK && heard.says.starts_with("parked"), "{name}: {heard:?}");
        assert!(heard.says.contains(says), "{name}: {heard:?}");
        assert!(heard.says.chars().count() < 400, "{name}: the sentence has {} characters", heard.says.chars().count());
    }
    let parked = broker.process.parked(100).await.unwrap();
    assert_eq!(parked.len(), 12);
    for message in parked {
        assert!(message.body_base64.len() <= PARKED_BODY_BYTES_MAX.div_ceil(3) * 4, "{}", message.body_base64.len());
    }
}

#[tokio::test]
async fn an_alert_as_large_as_may_be_makes_a_record_of_bounded_size() {
    let world = World::new();
    let broker = Broker::of(&world, &world.ports);
    let mut alert = alert_body(&world);
    let ids: Vec<String> = (0..2_500).map(|n| format!("{}-{n}", site("checkout"))).collect();
    alert["data"]["essentials"]["alertTargetIDs"] = json!(ids);
    alert["data"]["essentials"]["alertRule"] = json!("r".repeat(100_000));
    alert["data"]["customProperties"] =
        (0..2_000).map(|n| (format!("property-{n}"), json!("p".repeat(200)))).collect::<serde_json::Map<_, _>>().into();
    let body = alert.to_string();
    assert!(body.len() < BODY_BYTES_MAX, "{}", body.len());
    let heard = post(&broker, "alerts", body.as_bytes()).await;
    assert_eq!(heard.status, StatusCode::OK, "{heard:?}");
    let [record] = broker.process.records(10).await.unwrap().try_into().unwrap();
    assert_eq!((record.alert.resources.len(), record.alert.properties.len()), (64, 64));
    assert_eq!(record.alert.rule.as_ref().unwrap().len(), 1024);
    let stored = world.ports.store.read(&keys::record(&record.id)).await.unwrap().unwrap();
    assert!(stored.body.len() < 512 * 1024, "{} bytes", stored.body.len());
}

/// Of two members of one name the last counts, wherever the message is read.
#[tokio::test]
async fn a_member_that_stands_twice_is_read_alike_everywhere() {
    let world = World::new();
    let (body, id) = scene::alert(&site("checkout"), world.now());
    let text = String::from_utf8(body).unwrap();
    let twice = text.replacen("\"severity\":\"Sev1\"", "\"severity\":\"Sev0\",\"severity\":\"Sev1\"", 1);
    assert_ne!(twice, text);
    let padding = format!("\"padding\":\"{}\",", "x".repeat(300_000));
    let padded = twice.replacen("\"alertContext\":{", &format!("\"alertContext\":{{{padding}"), 1);
    let shrunk = backout::host::webhook::shrink::to_fit(padded.clone().into_bytes(), 240 * 1024);
    assert!(shrunk.dropped.is_some());
    for body in [twice.into_bytes(), padded.into_bytes(), shrunk.body] {
        let world = World::new();
        let broker = Broker::of(&world, &world.ports);
        post(&broker, "alerts", &body).await;
        let record = broker.process.record(&id).await.unwrap().expect("the alert has its record");
        assert_eq!(record.alert.severity.map(|severity| severity.to_string()).as_deref(), Some("Sev1"));
    }
}

/// Near the ends of time a window would have no date; what cannot be so is refused with the field's name.
#[tokio::test]
async fn times_from_the_ends_of_time_are_refused_and_the_oldest_and_newest_are_handled() {
    for (at, parked) in [
        ("0001-01-02T00:00:00Z", true),
        ("1900-01-01T00:00:00Z", true),
        ("1999-12-31T23:59:59Z", true),
        ("2000-01-01T00:00:00Z", false),
        ("2099-12-31T23:59:59Z", false),
        ("2100-01-01T00:00:00Z", true),
        ("9999-12-30T21:59:59Z", true),
    ] {
        let world = World::new();
        world.break_it().await;
        let broker = Broker::of(&world, &world.ports);
        let mut alert = alert_body(&world);
        alert["data"]["essentials"]["firedDateTime"] = json!(at);
        let mut resolved = alert.clone();
        resolved["data"]["essentials"]["monitorCondition"] = json!("Resolved");
        resolved["data"]["essentials"]["resolvedDateTime"] = json!(at);
        let mut event: Value = serde_json::from_slice(&swap("SlotSwapCompleted", &site("checkout"), world.now())).unwrap();
        event["eventTime"] = json!(at);
        let mut declared: Value = serde_json::from_slice(&marker(&world, true)).unwrap();
        declared["context"]["timestamp"] = json!(at);
        for (queue, body) in [("alerts", alert), ("alerts", resolved), ("deployments", event), ("markers", declared)] {
            let heard = post(&broker, queue, body.to_string().as_bytes()).await;
            assert_eq!((heard.status, heard.says.starts_with("parked")), (StatusCode::OK, parked), "{at} on {queue}: {heard:?}");
            if parked {
                assert!(heard.says.contains("is a time before the year 2000, or after 2099"), "{heard:?}");
            }
        }
        broker.run(&world, world.now() + SignedDuration::from_mins(30)).await;
        assert!(broker.dead.lock().unwrap().is_empty(), "{at}: nothing was given up");
    }
}

#[tokio::test]
async fn a_flood_of_broken_messages_is_kept_whole_and_told_once_an_hour() {
    let mut with_channel = policy(vec![service("checkout")]);
    with_channel.notify =
        vec![NotifyRule { channel: Channel::Teams, url_from: Some("HOOK".to_owned()), kinds: vec![NoticeKind::Page] }];
    let world = World::with(with_channel);
    let broker = Broker::of(&world, &world.ports);
    let told = || world.notifier.notices().len();
    for n in 0..300 {
        let mut body = String::new();
        let _ = write!(body, "{{\"labels\":{n}}}");
        post(&broker, "alerts", body.as_bytes()).await;
    }
    assert_eq!((broker.process.parked(1_000).await.unwrap().len(), told()), (300, 1));
    let says = world.notifier.notices()[0].text.clone();
    assert!(says.contains("whatever else is parked from this queue within the hour"), "{says}");
    post(&broker, "markers", b"{\"broken\":true}").await;
    assert_eq!(told(), 2, "another queue is another matter");
    world.clock.advance(Duration::from_mins(61));
    post(&broker, "alerts", b"{\"later\":true}").await;
    assert_eq!(told(), 3);
}

#[test]
fn only_an_id_is_an_id() {
    let of_an_alert = RecordId::of(&crate::support::policy::alert("a1", "checkout", "2026-03-02T03:00:00Z".parse().unwrap()));
    assert_eq!(RecordId::parse(&of_an_alert.0), Ok(of_an_alert));
    for text in ["", "a", "../control", "aaaaaaaaaaaaaaaaaaaaaaaaa!", "AAAAAAAAAAAAAAAAAAAAAAAAAA", "01189998819991197253aaaaaa"]
    {
        assert_eq!(RecordId::parse(text), Err(NotARecordId), "{text}");
    }
}
