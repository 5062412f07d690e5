//! Nothing is lost while something is away: the same bytes go back on their queue, later and later, and are decided once.

use std::{sync::Arc, time::Duration};

use axum::http::StatusCode;
use backout::{
    domain::{decision::DecisionKind, record::RecordId, rollback::RollbackState},
    local::memory_store::MemoryStore,
    ports::{Clock, FollowUp, PortError, PortErrorKind, QueueMessage, StateStore, StepName},
    process::{PolicyTrouble, Ports, clear::Cleared, follow_up::RETURNS_MAX},
};
use jiff::SignedDuration;

use crate::support::{
    broker::Broker,
    outage::Outage,
    policy::site,
    scene,
    world::{BAD, GOOD, World},
};

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A bad build serves; the body of its alert, and the id of the record that it will have.
async fn broken() -> (World, Vec<u8>, RecordId) {
    let world = World::new();
    world.break_it().await;
    let (body, id) = scene::alert(&site("checkout"), world.now() - SignedDuration::from_mins(1));
    (world, body, id)
}

fn message(queue: &str, body: &[u8], returns: u32) -> QueueMessage {
    QueueMessage { queue: queue.to_owned(), body: body.to_vec(), returns, message_id: None }
}

fn outage(world: &World) -> Outage {
    Outage::none_yet(world.clock.clone())
}

/// What lies in the queue, and in how many seconds it is due.
fn queued(world: &World) -> Vec<(i64, QueueMessage)> {
    world.queue.queued().into_iter().map(|(due, message)| (due.duration_since(world.now()).as_secs(), message)).collect()
}

/// The wake-up of a rollback that nobody knows.
fn stray_follow_up(world: &World) -> Vec<u8> {
    let follow_up = FollowUp {
        v: 1,
        record: RecordId("a".repeat(26)),
        target: Some(world.target("checkout").key()),
        step: StepName::Rollback,
        generation: 7,
        due_at: world.now(),
    };
    serde_json::to_vec(&follow_up).unwrap()
}

#[tokio::test]
async fn an_alert_waits_out_the_stores_absence_byte_for_byte_and_is_decided_once() {
    let (world, body, id) = broken().await;
    let away = outage(&world);
    let broker = Broker::of(&world, &away.of_store(&world.ports));
    away.begin(SignedDuration::from_mins(8));
    broker.send("alerts", &body).await;
    let mut delays = Vec::new();
    for returns in 1..=5 {
        let heard = broker.deliver_one().await.unwrap();
        assert_eq!(heard.status, StatusCode::OK);
        let [(delay, back)] = queued(&world).try_into().unwrap();
        assert_eq!(back, message("alerts", &body, returns), "the very same bytes, with their count");
        assert_eq!(heard.says, format!("the store: reach it: no connection; the message comes back in {delay} s"));
        delays.push(delay);
        assert_eq!(broker.deliver_one().await, None, "nothing is due before the delay has passed");
        world.advance(SignedDuration::from_secs(delay));
    }
    assert_eq!(delays, [15, 30, 60, 120, 300]);
    assert_eq!(world.platform.calls(), 0, "nothing is done that cannot be stored");
    let heard = broker.deliver_one().await.unwrap();
    assert_eq!((heard.status, world.platform.calls()), (StatusCode::OK, 1), "{heard:?}");
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    let record = broker.process.record(&id).await.unwrap().unwrap();
    assert_eq!((record.rollback, record.duplicates), (Some(RollbackState::Recovered), 0), "{:#?}", record.timeline);
    assert_eq!((world.platform.calls(), world.platform.effects(), world.platform.running().as_str()), (1, 1, GOOD));
    assert_eq!((broker.process.records(10).await.unwrap().len(), queued(&world).len()), (1, 0));
}

#[tokio::test]
async fn after_many_returns_the_host_gets_the_message_back_to_put_it_aside() {
    for queue in ["alerts", "deployments", "markers", "followups"] {
        let (world, alert, _) = broken().await;
        let body = if queue == "followups" { stray_follow_up(&world) } else { alert };
        let away = outage(&world);
        let broker = Broker::of(&world, &away.of_store(&world.ports));
        away.begin(WEEK);
        broker.send(queue, &body).await;
        let mut delays = Vec::new();
        let mut failures = Vec::new();
        while let Some(due) = world.queue.next_due() {
            world.clock.set(due.max(world.now()));
            let heard = broker.deliver_one().await.unwrap();
            match heard.status {
                StatusCode::OK => delays.push(queued(&world)[0].0),
                status => failures.push((status, heard.says)),
            }
        }
        assert_eq!(delays, [15, 30, 60, 120, 300, 600, 900, 1800, 1800, 1800, 1800, 1800], "{queue}");
        assert_eq!(delays.len(), RETURNS_MAX as usize);
        let again = (StatusCode::INTERNAL_SERVER_ERROR, "after 12 returns: the store: reach it: no connection".to_owned());
        assert_eq!(failures, vec![again; 10], "{queue}");
        assert_eq!(*broker.dead.lock().unwrap(), [message(queue, &body, RETURNS_MAX)], "{queue}: kept by the broker");
        assert_eq!(world.platform.calls(), 0);
    }
}

#[tokio::test]
async fn a_message_put_aside_is_handled_when_somebody_sends_it_again() {
    let (world, body, id) = broken().await;
    let away = outage(&world);
    let broker = Broker::of(&world, &away.of_store(&world.ports));
    away.begin(WEEK);
    let heard = broker.post(&message("alerts", &body, RETURNS_MAX)).await;
    assert_eq!((heard.status, queued(&world).len()), (StatusCode::INTERNAL_SERVER_ERROR, 0));
    away.begin(SignedDuration::ZERO);
    let heard = broker.post(&message("alerts", &body, RETURNS_MAX)).await;
    assert_eq!(heard.status, StatusCode::OK, "the count stands against another return only: {heard:?}");
    assert_eq!(broker.process.record(&id).await.unwrap().unwrap().decision.unwrap().kind, DecisionKind::Act);
}

#[tokio::test]
async fn store_and_bus_away_the_invocation_waits_a_minute_and_gives_the_message_back() {
    for (bus_away_seconds, status, waits_seconds) in [
        (WEEK.as_secs(), StatusCode::INTERNAL_SERVER_ERROR, 60),
        (61, StatusCode::INTERNAL_SERVER_ERROR, 60),
        (60, StatusCode::OK, 60),
        (45, StatusCode::OK, 60),
        (31, StatusCode::OK, 31),
        (2, StatusCode::OK, 3),
    ] {
        let (world, body, _) = broken().await;
        let (store, bus) = (outage(&world), outage(&world));
        let broker = Broker::of(&world, &bus.of_queue(&store.of_store(&world.ports)));
        store.begin(WEEK);
        bus.begin(SignedDuration::from_secs(bus_away_seconds));
        let begun = world.clock.monotonic();
        let heard = broker.post(&message("alerts", &body, 2)).await;
        let name = format!("bus away for {bus_away_seconds} s: {heard:?}");
        assert_eq!(heard.status, status, "{name}");
        assert_eq!(world.clock.monotonic().saturating_sub(begun), Duration::from_secs(waits_seconds), "{name}");
        let expected = if status == StatusCode::OK { vec![(60, message("alerts", &body, 3))] } else { Vec::new() };
        assert_eq!(queued(&world), expected, "{name}");
    }
}

#[tokio::test]
async fn only_the_bus_away_the_rollback_is_taken_up_when_it_is_back() {
    for minutes in [0, 5] {
        let (world, body, id) = broken().await;
        let bus = outage(&world);
        let broker = Broker::of(&world, &bus.of_queue(&world.ports));
        broker.send("alerts", &body).await;
        bus.begin(SignedDuration::from_secs(minutes * 60 + 50));
        let heard = broker.deliver_one().await.unwrap();
        let expected = if minutes == 0 { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
        assert_eq!((heard.status, world.platform.calls()), (expected, 1), "{heard:?}");
        broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
        let record = broker.process.record(&id).await.unwrap().unwrap();
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
        assert_eq!((world.platform.calls(), world.platform.running().as_str()), (1, GOOD));
        assert!(broker.dead.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn under_a_wrong_policy_wake_ups_come_back_and_the_rest_is_parked_with_the_problems() {
    let (world, body, id) = broken().await;
    let broker = Broker::of(&world, &world.ports);
    broker.send("alerts", &body).await;
    broker.deliver_one().await.unwrap();
    assert_eq!(world.platform.calls(), 1, "a rollback is under way");
    let problems = "backout.yaml:5:11: `akt` is no mode; did you mean `act`?";
    let spoil = || *broker.policy.0.lock().unwrap() = Err(PolicyTrouble::Wrong(problems.to_owned()));
    spoil();
    for queue in ["alerts", "deployments", "markers"] {
        for _ in 0..2 {
            let heard = broker.post(&message(queue, b"{\"other\": 1}", 0)).await;
            assert_eq!(heard.status, StatusCode::OK);
            assert!(heard.says.starts_with("parked as ") && heard.says.ends_with(problems), "{heard:?}");
        }
    }
    let parked = broker.process.parked(10).await.unwrap();
    assert_eq!(parked.len(), 3, "one a queue, however often it comes");
    assert!(parked.iter().all(|parked| parked.reason == problems && parked.body_bytes == 12), "{parked:?}");
    let told = world.notifier.notices().iter().filter(|notice| notice.text.contains(problems)).count();
    assert_eq!(told, 3, "each told once");
    // The rollback's wake-up is due: it comes back, byte for byte.
    let wake_up = queued(&world).pop().unwrap().1;
    world.advance(SignedDuration::from_secs(60));
    let heard = broker.deliver_one().await.unwrap();
    assert_eq!((heard.status, heard.says), (StatusCode::OK, format!("{problems}; the message comes back in 15 s")));
    assert_eq!(queued(&world), [(15, message("followups", &wake_up.body, 1))]);
    assert_eq!(broker.tick().await.status, StatusCode::OK, "the timer has nothing to lose");
    *broker.policy.0.lock().unwrap() = Ok(Arc::clone(&world.policy));
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    assert_eq!(broker.process.record(&id).await.unwrap().unwrap().rollback, Some(RollbackState::Recovered));
    assert_eq!(world.platform.calls(), 1);
}

#[tokio::test]
async fn while_the_policy_cannot_be_fetched_everything_comes_back_and_nothing_is_parked() {
    let (world, body, id) = broken().await;
    let broker = Broker::of(&world, &world.ports);
    let gone = PortError::new("read the policy", PortErrorKind::Transient, "no connection");
    *broker.policy.0.lock().unwrap() = Err(PolicyTrouble::Unreachable(gone));
    let follow_up = stray_follow_up(&world);
    for (queue, body) in [("alerts", &body), ("deployments", &body), ("markers", &body), ("followups", &follow_up)] {
        let heard = broker.post(&message(queue, body, 3)).await;
        assert_eq!(heard.status, StatusCode::OK);
        assert!(heard.says.contains("the policy could not be fetched"), "{heard:?}");
        assert!(queued(&world).contains(&(120, message(queue, body, 4))), "{queue}: {:?}", queued(&world));
    }
    assert_eq!(broker.process.parked(10).await.unwrap(), []);
    *broker.policy.0.lock().unwrap() = Ok(Arc::clone(&world.policy));
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    assert_eq!(broker.process.record(&id).await.unwrap().unwrap().rollback, Some(RollbackState::Recovered));
    let parked = broker.process.parked(10).await.unwrap();
    let mut queues: Vec<&str> = parked.iter().map(|parked| parked.queue.as_str()).collect();
    queues.sort_unstable();
    assert_eq!(queues, ["deployments", "markers"], "an alert is taken from its own queue only");
}

/// The whole story with the store away for a while from its `number`th call on. Returns how many calls the story has.
async fn story(number: u64, after_effect: bool, lasts: SignedDuration) -> u64 {
    let (world, body, id) = broken().await;
    let away = outage(&world);
    let broker = Broker::of(&world, &away.of_store(&world.ports));
    away.begin_at_call(number, after_effect, lasts);
    broker.send("alerts", &body).await;
    broker.run(&world, world.now() + SignedDuration::from_hours(2)).await;
    let calls = away.calls();
    let record = broker.process.record(&id).await.unwrap().unwrap();
    let name = format!("away from call {number} ({after_effect}) for {lasts}: {:#?}", record.timeline);
    assert!(world.platform.calls() <= 1, "at most one submit: {name}");
    match record.rollback {
        Some(RollbackState::Recovered) => {
            assert_eq!((world.platform.running().as_str(), world.platform.effects()), (GOOD, 1), "{name}");
        }
        // Whether the call was sent could not be known any more, and the target showed nothing: told, not tried again.
        Some(RollbackState::Failed) => {
            assert_eq!((world.platform.running().as_str(), world.platform.calls()), (BAD, 0), "{name}");
        }
        other => panic!("{other:?}: {name}"),
    }
    assert_eq!(record.told_generation, record.generation, "{name}");
    assert!(broker.dead.lock().unwrap().is_empty(), "{name}");
    assert!(world.queue.queued().is_empty(), "{name}: {:?}", world.queue.queued());
    assert_eq!(broker.process.clear(&world.target("checkout").key(), "test").await.unwrap(), Cleared::Nothing, "{name}");
    calls
}

#[tokio::test]
async fn the_store_away_from_any_moment_of_a_rollback_leads_to_at_most_one_call_and_a_true_end() {
    // After the claim, after the submit, and at every other call; shorter and longer than the quiet time.
    let calls = Box::pin(story(u64::MAX / 2, false, WEEK)).await;
    assert!(calls > 40, "{calls} calls are a whole story");
    // What follows the first hour is the timer alone.
    for number in 1..=calls.min(120) {
        let lasts = if number % 2 == 0 { SignedDuration::from_secs(20) } else { SignedDuration::from_mins(14) };
        for after_effect in [false, true] {
            Box::pin(story(number, after_effect, lasts)).await;
        }
    }
}

#[tokio::test]
async fn the_timer_fails_while_the_store_is_away_and_wakes_what_is_overdue_afterwards() {
    let (world, body, id) = broken().await;
    let away = outage(&world);
    let broker = Broker::of(&world, &away.of_store(&world.ports));
    broker.send("alerts", &body).await;
    broker.deliver_one().await.unwrap();
    world.queue.lose_all();
    away.begin(SignedDuration::from_mins(9));
    world.advance(SignedDuration::from_mins(5));
    let heard = broker.tick().await;
    assert_eq!(heard.status, StatusCode::INTERNAL_SERVER_ERROR, "{heard:?}");
    assert_eq!(queued(&world), [], "a tick is not put back; the next one comes by itself");
    world.advance(SignedDuration::from_mins(5));
    let heard = broker.tick().await;
    assert_eq!(
        (heard.status, heard.says.as_str()),
        (StatusCode::OK, "looked at 1 targets, woke 1 steps, fetched 0 alerts, told 0 notices")
    );
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    assert_eq!(broker.process.record(&id).await.unwrap().unwrap().rollback, Some(RollbackState::Recovered));
    assert_eq!(world.platform.calls(), 1);
}

/// One target's document is spoiled; the others are looked at, and what was not told is told.
#[tokio::test]
async fn one_unreadable_document_does_not_keep_the_timer_from_the_rest() {
    let store = Arc::new(MemoryStore::new());
    let mut world = World::new();
    world.ports = Ports { store: Arc::<MemoryStore>::clone(&store), ..world.ports };
    let broker = Broker::of(&world, &world.ports);
    let key = backout::process::documents::keys::target(&world.target("checkout").key());
    store.insert(&key, b"{}").await.unwrap();
    let old_storm = backout::process::documents::keys::storm(jiff::Timestamp::UNIX_EPOCH, "x");
    store.insert(&old_storm, b"{}").await.unwrap();
    let heard = broker.tick().await;
    assert_eq!(heard.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(heard.says.contains("is not readable"), "{heard:?}");
    assert_eq!(store.read(&old_storm).await.unwrap(), None, "the rest of the sweep was done");
}

#[tokio::test]
async fn what_was_wrong_with_the_envelope_stands_in_the_parked_reason() {
    for (envelope, reason) in [
        (
            r#"{"Data":{"message":"eyJ0ZXh0IjoiaGVsbG8ifQ=="},"Metadata":{"ApplicationProperties":{"backout-returns":"many"}}}"#,
            "`Metadata.ApplicationProperties.backout-returns` is not readable: a whole number is expected there; `body`: ",
        ),
        (
            r#"{"Data":{"message":"eyJ0ZXh0IjoiaGVsbG8ifQ=="},"Metadata":[]}"#,
            "`Metadata` is not readable: an object is expected there; `body`: ",
        ),
        (r#"{"Data":{"message":"eyJ0ZXh0IjoiaGVsbG8ifQ=="},"Metadata":{}}"#, "`body`: "),
        (r#"{"text":"hello"}"#, "the envelope has no `Data`: was the request sent by the Functions host?; `body`: "),
    ] {
        let world = World::new();
        let broker = Broker::of(&world, &world.ports);
        let heard = broker.post_envelope("alerts", envelope).await;
        assert_eq!(heard.status, StatusCode::OK, "{heard:?}");
        let [parked] = broker.process.parked(10).await.unwrap().try_into().unwrap();
        assert!(parked.reason.starts_with(reason), "{}", parked.reason);
    }
}

#[tokio::test]
async fn a_message_hidden_by_its_envelope_stays_with_the_host_while_the_store_is_away() {
    let world = World::new();
    let away = outage(&world);
    let broker = Broker::of(&world, &away.of_store(&world.ports));
    away.begin(WEEK);
    let heard = broker.post_envelope("alerts", r#"{"text":"hello"}"#).await;
    assert_eq!((heard.status, queued(&world).len()), (StatusCode::INTERNAL_SERVER_ERROR, 0), "only the host has its bytes");
    // Where only the metadata is odd, the message itself goes back.
    let odd = r#"{"Data":{"message":"eyJ0ZXh0IjoiaGVsbG8ifQ=="},"Metadata":7}"#;
    let heard = broker.post_envelope("alerts", odd).await;
    assert_eq!((heard.status, queued(&world)), (StatusCode::OK, vec![(15, message("alerts", br#"{"text":"hello"}"#, 1))]));
}
