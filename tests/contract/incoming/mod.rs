//! The promises of sending, receiving and dead letters, one function each: over both fakes, over the embedded queue in memory and in
//! a file, and over Service Bus by its real client against the simulated one.

mod fake;
mod real;
mod stage;
mod timeline;

use std::{collections::BTreeSet, time::Duration};

use backout::ports::{Fate, LockProblem, QueueMessage, Received, Walk, WalkEnd};
use jiff::SignedDuration;

use self::{fake::FakeStage, real::RealStage, stage::Stage, timeline::TimelineStage};

macro_rules! holds_for {
    ($kind:ident => $stage:expr; $($promise:ident)*) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    let stage = $stage;
                    stage.play(super::$promise(&stage)).await;
                }
            )*
        }
    };
}

macro_rules! all_promises {
    ($($kind:ident => $stage:expr, $($more:ident)*;)*) => {
        $(holds_for! { $kind => $stage;
            an_empty_queue_hands_out_nothing
            a_message_arrives_as_it_was_sent
            a_message_never_arrives_early
            equal_messages_without_an_id_all_arrive
            queues_do_not_mix
            a_locked_message_is_invisible_and_comes_again_when_its_lock_ends
            a_completed_message_is_gone
            a_lost_lock_ends_nothing_and_says_so
            an_abandoned_message_comes_again_at_once
            $($more)*
        })*
    };
}

macro_rules! all_promises_of_the_real_ones {
    ($($kind:ident => $stage:expr, $($more:ident)*;)*) => {
        all_promises! { $($kind => $stage,
            a_lock_says_when_it_ends
            the_longest_due_comes_first
            a_receive_waits_for_a_message
            a_renewed_lock_holds_its_whole_time_more
            after_ten_abandoned_deliveries_a_message_is_a_dead_letter
            after_ten_lost_locks_a_message_is_a_dead_letter
            the_tenth_delivery_can_still_be_completed
            concurrent_receivers_never_share_a_message
            a_dead_letter_says_what_it_was
            dead_letters_that_are_only_looked_at_stay
            wanted_dead_letters_are_queued_again_and_others_stay
            a_walk_ends_at_its_limit
            $($more)*;
        )* }
    };
}

all_promises! {
    // Its locks have no time, and whoever takes from it makes the dead letters.
    flow_fake => FakeStage::open(), the_longest_due_comes_first concurrent_receivers_never_share_a_message;
    // It hands out in any order on purpose, and all of its world is on one thread.
    timeline_broker => TimelineStage::open(),
        a_renewed_lock_holds_its_whole_time_more after_ten_abandoned_deliveries_a_message_is_a_dead_letter
        after_ten_lost_locks_a_message_is_a_dead_letter the_tenth_delivery_can_still_be_completed;
}

all_promises_of_the_real_ones! {
    embedded_in_memory => RealStage::embedded_in_memory(), a_message_id_that_waits_is_not_queued_twice;
    embedded_in_a_file => RealStage::embedded_in_a_file(), a_message_id_that_waits_is_not_queued_twice;
    service_bus => RealStage::service_bus().await,;
}

holds_for! { timeline_broker_that_detects_duplicates => TimelineStage::that_detects_duplicates();
    a_message_id_that_waits_is_not_queued_twice
}

holds_for! { service_bus_that_detects_duplicates => RealStage::service_bus_that_detects_duplicates().await;
    a_message_id_that_waits_is_not_queued_twice
}

const SECOND: Duration = Duration::from_secs(1);
const LOCK: Duration = Duration::from_mins(1);
const DELIVERIES_MAX: u32 = 10;

fn message(queue: &str, body: &str) -> QueueMessage {
    QueueMessage { queue: queue.to_owned(), body: body.as_bytes().to_vec(), returns: 0, message_id: None }
}

async fn send(stage: &impl Stage, body: &str, delay: Duration) {
    stage.sender().send(message("followups", body), delay).await.unwrap();
}

async fn received_from(stage: &impl Stage, queue: &str) -> Option<Received> {
    // What else happens at this very moment comes first.
    stage.pass(Duration::ZERO).await;
    stage.incoming().receive(queue, Duration::ZERO).await.unwrap()
}

async fn received(stage: &impl Stage) -> Received {
    received_from(stage, "followups").await.expect("a message is due")
}

async fn nothing_due(stage: &impl Stage) -> bool {
    received_from(stage, "followups").await.is_none()
}

/// Receives all that is due, in the order in which it comes.
async fn all_received(stage: &impl Stage) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(received) = received_from(stage, "followups").await {
        bodies.push(String::from_utf8(received.body).unwrap());
    }
    bodies
}

/// Delivers the only message until it is a dead letter.
async fn bury(stage: &RealStage, message: QueueMessage) {
    stage.sender().send(message, Duration::ZERO).await.unwrap();
    for _ in 0..DELIVERIES_MAX {
        received(stage).await.lock.abandon().await.unwrap();
    }
}

fn bodies(walk: &Walk) -> Vec<&str> {
    walk.letters.iter().map(|(letter, _)| str::from_utf8(&letter.body).unwrap()).collect()
}

async fn an_empty_queue_hands_out_nothing(stage: &impl Stage) {
    assert!(nothing_due(stage).await);
    assert_eq!(stage.dead("followups").await, [""; 0]);
}

async fn a_message_arrives_as_it_was_sent(stage: &impl Stage) {
    let sent = QueueMessage {
        queue: "alerts".to_owned(),
        body: b"\0\xff{}".to_vec(),
        returns: 7,
        message_id: Some("same-every-time".to_owned()),
    };
    stage.sender().send(sent, Duration::ZERO).await.unwrap();
    let received = received_from(stage, "alerts").await.unwrap();
    assert_eq!(
        (received.body.as_slice(), received.returns, received.message_id.as_deref(), received.delivery_count),
        (&b"\0\xff{}"[..], 7, Some("same-every-time"), 1)
    );
}

/// To send may take a while itself.
async fn a_message_never_arrives_early(stage: &impl Stage) {
    let before = stage.now();
    send(stage, "a", 30 * SECOND).await;
    let after = stage.now();
    assert!(nothing_due(stage).await);
    stage.pass_until(before + SignedDuration::from_nanos(29_999_999_999)).await;
    assert!(nothing_due(stage).await);
    stage.pass_until(after + SignedDuration::from_secs(30)).await;
    assert_eq!(received(stage).await.body, b"a");
}

async fn equal_messages_without_an_id_all_arrive(stage: &impl Stage) {
    for _ in 0..3 {
        send(stage, "a", SECOND).await;
    }
    stage.pass(SECOND).await;
    assert_eq!(all_received(stage).await, ["a"; 3]);
}

async fn the_longest_due_comes_first(stage: &impl Stage) {
    for (body, delay) in [("third", 20), ("second", 10), ("first", 0), ("fourth", 20)] {
        send(stage, body, delay * SECOND).await;
    }
    stage.pass(20 * SECOND).await;
    assert_eq!(all_received(stage).await, ["first", "second", "third", "fourth"]);
}

async fn queues_do_not_mix(stage: &impl Stage) {
    for (queue, body) in [("alerts", "alert"), ("deployments", "deployment")] {
        stage.sender().send(message(queue, body), Duration::ZERO).await.unwrap();
    }
    assert!(nothing_due(stage).await);
    for (queue, body) in [("deployments", "deployment"), ("alerts", "alert")] {
        assert_eq!(received_from(stage, queue).await.unwrap().body, body.as_bytes());
    }
}

async fn a_receive_waits_for_a_message(stage: &RealStage) {
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        send(stage, "late", Duration::ZERO).await;
    };
    let incoming = stage.incoming();
    let (received, ()) = tokio::join!(incoming.receive("followups", 30 * SECOND), late);
    assert_eq!(received.unwrap().unwrap().body, b"late");
}

async fn a_lock_says_when_it_ends(stage: &RealStage) {
    send(stage, "a", Duration::ZERO).await;
    assert_eq!(received(stage).await.locked_until, stage.now() + SignedDuration::from_mins(1));
}

async fn a_locked_message_is_invisible_and_comes_again_when_its_lock_ends(stage: &impl Stage) {
    send(stage, "a", Duration::ZERO).await;
    let first = received(stage).await;
    assert_eq!(first.delivery_count, 1);
    stage.pass(LOCK.checked_sub(SECOND).unwrap()).await;
    assert!(nothing_due(stage).await);
    stage.lock_ends(&first).await;
    let second = received(stage).await;
    assert_eq!((second.body.as_slice(), second.delivery_count), (&b"a"[..], 2));
}

async fn a_completed_message_is_gone(stage: &impl Stage) {
    send(stage, "a", Duration::ZERO).await;
    let message = received(stage).await;
    message.lock.complete().await.unwrap();
    assert_eq!(message.lock.complete().await, Err(LockProblem::Lost));
    assert_eq!(message.lock.abandon().await, Err(LockProblem::Lost));
    stage.lock_ends(&message).await;
    assert!(nothing_due(stage).await);
    assert_eq!(stage.dead("followups").await, [""; 0]);
}

async fn a_lost_lock_ends_nothing_and_says_so(stage: &impl Stage) {
    send(stage, "a", Duration::ZERO).await;
    let slow = received(stage).await;
    stage.lock_ends(&slow).await;
    assert_eq!(slow.lock.complete().await, Err(LockProblem::Lost));
    let quick = received(stage).await;
    assert_eq!(slow.lock.complete().await, Err(LockProblem::Lost));
    assert_eq!(slow.lock.abandon().await, Err(LockProblem::Lost));
    assert_eq!(slow.lock.renew().await, Err(LockProblem::Lost));
    assert!(nothing_due(stage).await, "the lock of another was broken");
    quick.lock.complete().await.unwrap();
}

async fn a_renewed_lock_holds_its_whole_time_more(stage: &impl Stage) {
    send(stage, "a", Duration::ZERO).await;
    let message = received(stage).await;
    stage.pass(50 * SECOND).await;
    message.lock.renew().await.unwrap();
    stage.pass(50 * SECOND).await;
    assert!(nothing_due(stage).await);
    message.lock.complete().await.unwrap();
}

async fn an_abandoned_message_comes_again_at_once(stage: &impl Stage) {
    send(stage, "a", Duration::ZERO).await;
    received(stage).await.lock.abandon().await.unwrap();
    let again = received(stage).await;
    assert_eq!((again.body.as_slice(), again.delivery_count), (&b"a"[..], 2));
}

/// Where the queue detects duplicates.
async fn a_message_id_that_waits_is_not_queued_twice(stage: &impl Stage) {
    for (body, id) in
        [("first", Some("same")), ("second", Some("same")), ("other", Some("other")), ("none", None), ("none", None)]
    {
        let sent = QueueMessage { message_id: id.map(ToOwned::to_owned), ..message("followups", body) };
        stage.sender().send(sent, SECOND).await.unwrap();
    }
    stage.pass(SECOND).await;
    let mut bodies = all_received(stage).await;
    bodies.sort_unstable();
    assert_eq!(bodies, ["first", "none", "none", "other"]);
}

async fn after_ten_abandoned_deliveries_a_message_is_a_dead_letter(stage: &impl Stage) {
    send(stage, "poison", Duration::ZERO).await;
    stage.sender().send(message("alerts", "other"), Duration::ZERO).await.unwrap();
    for delivery in 1..=DELIVERIES_MAX {
        assert_eq!(stage.dead("followups").await, [""; 0]);
        let message = received(stage).await;
        assert_eq!(message.delivery_count, delivery);
        message.lock.abandon().await.unwrap();
    }
    assert!(nothing_due(stage).await);
    assert_eq!(stage.dead("followups").await, ["poison"]);
    assert_eq!(stage.dead("alerts").await, [""; 0]);
}

async fn after_ten_lost_locks_a_message_is_a_dead_letter(stage: &impl Stage) {
    send(stage, "poison", Duration::ZERO).await;
    for _ in 0..DELIVERIES_MAX {
        let message = received(stage).await;
        assert_eq!(stage.dead("followups").await, [""; 0], "dead while it is being handled");
        stage.lock_ends(&message).await;
    }
    assert!(nothing_due(stage).await);
    assert_eq!(stage.dead("followups").await, ["poison"]);
}

async fn the_tenth_delivery_can_still_be_completed(stage: &impl Stage) {
    send(stage, "a", Duration::ZERO).await;
    for _ in 1..DELIVERIES_MAX {
        let message = received(stage).await;
        stage.lock_ends(&message).await;
    }
    let last = received(stage).await;
    assert_eq!(last.delivery_count, DELIVERIES_MAX);
    last.lock.complete().await.unwrap();
    stage.lock_ends(&last).await;
    assert!(nothing_due(stage).await);
    assert_eq!(stage.dead("followups").await, [""; 0]);
}

async fn concurrent_receivers_never_share_a_message(stage: &impl Stage) {
    for number in 0..8 {
        send(stage, &number.to_string(), Duration::ZERO).await;
    }
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let incoming = stage.incoming();
            tokio::spawn(async move { incoming.receive("followups", Duration::ZERO).await.unwrap() })
        })
        .collect();
    let mut bodies = Vec::new();
    for task in tasks {
        bodies.extend(task.await.unwrap().map(|message| message.body));
    }
    assert_eq!(bodies.len(), 8);
    assert_eq!(bodies.iter().collect::<BTreeSet<_>>().len(), 8);
}

async fn a_dead_letter_says_what_it_was(stage: &RealStage) {
    bury(stage, QueueMessage { returns: 3, message_id: Some("id-1".to_owned()), ..message("followups", "poison") }).await;
    let walk = stage.look("followups").await;
    assert_eq!((walk.letters.len(), &walk.end), (1, &WalkEnd::All));
    let (letter, fate) = &walk.letters[0];
    assert_eq!((letter.queue.as_str(), letter.body.as_slice(), fate), ("followups", &b"poison"[..], &Fate::Left));
    assert_eq!((letter.returns, letter.message_id.as_deref()), (3, Some("id-1")));
    assert!(letter.delivery_count >= DELIVERIES_MAX);
    assert!(letter.id.starts_with("followups:"), "{}", letter.id);
    assert!(["MaxDeliveryCountExceeded", "it was delivered 10 times"].iter().any(|says| letter.reason.starts_with(says)));
    assert_eq!(letter.enqueued_at.or(letter.dead_since), Some(stage.now()));
}

async fn dead_letters_that_are_only_looked_at_stay(stage: &RealStage) {
    for body in ["first", "second"] {
        bury(stage, message("followups", body)).await;
    }
    let ids = |walk: &Walk| walk.letters.iter().map(|(letter, _)| letter.id.clone()).collect::<Vec<_>>();
    let (one, other) = (stage.look("followups").await, stage.look("followups").await);
    assert_eq!(bodies(&one), ["first", "second"]);
    assert_eq!((ids(&one), bodies(&one)), (ids(&other), bodies(&other)), "no lock is left over from the first look");
}

async fn wanted_dead_letters_are_queued_again_and_others_stay(stage: &RealStage) {
    for body in ["first", "second", "third"] {
        bury(stage, message("followups", body)).await;
    }
    let walk = stage.dead_letters.walk("followups", 100, &|letter| letter.body == b"second").await;
    let fates: Vec<_> = walk.letters.iter().map(|(_, fate)| fate.clone()).collect();
    assert_eq!(fates, [Fate::Left, Fate::QueuedAgain, Fate::Left]);
    let again = received(stage).await;
    assert_eq!((again.body.as_slice(), again.delivery_count), (&b"second"[..], 1));
    again.lock.complete().await.unwrap();
    assert!(nothing_due(stage).await);
    assert_eq!(bodies(&stage.look("followups").await), ["first", "third"]);
}

async fn a_walk_ends_at_its_limit(stage: &RealStage) {
    let walk = stage.look("followups").await;
    assert_eq!((walk.letters, walk.end), (Vec::new(), WalkEnd::All));
    for body in ["first", "second"] {
        bury(stage, message("followups", body)).await;
    }
    let walk = stage.dead_letters.walk("followups", 1, &|_| false).await;
    assert_eq!((bodies(&walk), &walk.end), (vec!["first"], &WalkEnd::Limit));
    let walk = stage.dead_letters.walk("followups", 2, &|_| false).await;
    assert_eq!((bodies(&walk), &walk.end), (vec!["first", "second"], &WalkEnd::All));
}
