//! The promises of the embedded queue, one function each, over a queue in memory and one in a file.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use backout::{
    local::embedded_queue::{DELIVERIES_MAX, EmbeddedMessage, EmbeddedQueue, LOCK},
    ports::{Clock, FollowUps, PortErrorKind, QueueMessage},
    sim::clock::ManualClock,
};
use jiff::Timestamp;

macro_rules! holds_for {
    ($kind:ident => $factory:expr; $($promise:ident)*) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    let clock = Arc::new(ManualClock::at(start()));
                    let folder = tempfile::tempdir().unwrap();
                    let make: fn(&Path, Arc<ManualClock>) -> EmbeddedQueue = $factory;
                    super::$promise(make(folder.path(), clock.clone()), clock).await;
                }
            )*
        }
    };
}

macro_rules! all_promises {
    ($($kind:ident => $factory:expr;)*) => {
        $(holds_for! { $kind => $factory;
            an_empty_queue_hands_out_nothing
            a_message_arrives_as_it_was_sent
            a_message_never_arrives_early
            a_due_time_between_microseconds_is_not_early
            the_longest_due_comes_first
            queues_do_not_mix
            a_received_message_is_locked_for_a_minute
            a_completed_message_is_gone
            a_lost_lock_completes_nothing
            a_renewed_lock_holds_a_minute_more
            an_abandoned_message_comes_again_after_its_delay
            after_ten_abandoned_deliveries_a_message_is_a_dead_letter
            after_ten_lost_locks_a_message_is_a_dead_letter
            the_tenth_delivery_can_still_be_completed
            a_dead_letter_can_be_queued_again
            a_message_id_that_waits_is_not_queued_twice
            a_message_id_that_is_being_handled_can_be_sent_anew
            a_message_id_that_is_done_can_be_sent_again
            concurrent_receivers_never_share_a_message
            next_due_counts_delays_and_locks
            a_delay_beyond_all_time_is_refused
        })*
    };
}

all_promises! {
    memory => |_, clock| EmbeddedQueue::in_memory(clock);
    file => |folder, clock| EmbeddedQueue::in_file(folder.join("deep/state.db"), clock);
}

const SECOND: Duration = Duration::from_secs(1);

fn start() -> Timestamp {
    "2026-11-25T10:00:00Z".parse().unwrap()
}

fn follow_up(body: &str, message_id: Option<&str>) -> QueueMessage {
    QueueMessage {
        queue: "followups".to_owned(),
        body: body.as_bytes().to_vec(),
        returns: 0,
        message_id: message_id.map(ToOwned::to_owned),
    }
}

async fn received(queue: &EmbeddedQueue) -> EmbeddedMessage {
    queue.receive("followups").await.unwrap().expect("a message is due")
}

async fn nothing_due(queue: &EmbeddedQueue) -> bool {
    queue.receive("followups").await.unwrap().is_none()
}

async fn an_empty_queue_hands_out_nothing(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    assert!(nothing_due(&queue).await);
    assert_eq!(queue.next_due().await.unwrap(), None);
    assert_eq!(queue.dead_letters("followups").await.unwrap(), []);
}

async fn a_message_arrives_as_it_was_sent(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    let sent = QueueMessage {
        queue: "alerts".to_owned(),
        body: b"\0\xff{}".to_vec(),
        returns: 7,
        message_id: Some("same-every-time".to_owned()),
    };
    queue.send(sent, Duration::ZERO).await.unwrap();
    let EmbeddedMessage { id: _, body, returns, message_id, delivery_count } = queue.receive("alerts").await.unwrap().unwrap();
    assert_eq!(
        (body.as_slice(), returns, message_id.as_deref(), delivery_count),
        (&b"\0\xff{}"[..], 7, Some("same-every-time"), 1)
    );
}

async fn a_message_never_arrives_early(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send(follow_up("a", None), 30 * SECOND).await.unwrap();
    assert!(nothing_due(&queue).await);
    clock.advance(Duration::from_nanos(29_999_999_999));
    assert!(nothing_due(&queue).await);
    clock.advance(Duration::from_nanos(1));
    assert_eq!(received(&queue).await.body, b"a");
}

async fn a_due_time_between_microseconds_is_not_early(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send(follow_up("a", None), Duration::from_nanos(1_500)).await.unwrap();
    clock.advance(Duration::from_nanos(1_499));
    assert!(nothing_due(&queue).await);
    clock.advance(Duration::from_nanos(501));
    assert_eq!(received(&queue).await.body, b"a");
}

async fn the_longest_due_comes_first(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    for (body, delay) in [("third", 20), ("second", 10), ("first", 0), ("fourth", 20)] {
        queue.send(follow_up(body, None), delay * SECOND).await.unwrap();
    }
    clock.advance(20 * SECOND);
    let mut order = Vec::new();
    while let Some(message) = queue.receive("followups").await.unwrap() {
        order.push(String::from_utf8(message.body).unwrap());
    }
    assert_eq!(order, ["first", "second", "third", "fourth"]);
}

async fn queues_do_not_mix(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    queue.send_now("alerts", b"alert").await.unwrap();
    queue.send_now("deployments", b"deployment").await.unwrap();
    assert!(nothing_due(&queue).await);
    assert_eq!(queue.receive("deployments").await.unwrap().unwrap().body, b"deployment");
    assert_eq!(queue.receive("alerts").await.unwrap().unwrap().body, b"alert");
    let same = |queue: &str| QueueMessage { queue: queue.to_owned(), ..follow_up("x", Some("same")) };
    queue.send(same("markers"), Duration::ZERO).await.unwrap();
    queue.send(same("followups"), Duration::ZERO).await.unwrap();
    assert!(queue.receive("markers").await.unwrap().is_some());
    assert_eq!(received(&queue).await.body, b"x");
}

async fn a_received_message_is_locked_for_a_minute(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send_now("followups", b"a").await.unwrap();
    let first = received(&queue).await;
    clock.advance(LOCK.checked_sub(SECOND).unwrap());
    assert!(nothing_due(&queue).await);
    clock.advance(SECOND);
    let second = received(&queue).await;
    assert_eq!((second.body.as_slice(), second.delivery_count), (&b"a"[..], 2));
    assert_ne!(second.id, first.id);
}

async fn a_completed_message_is_gone(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send_now("followups", b"a").await.unwrap();
    let message = received(&queue).await;
    assert!(queue.complete(message.id).await.unwrap());
    assert!(!queue.complete(message.id).await.unwrap());
    assert!(!queue.abandon(message.id, Duration::ZERO).await.unwrap());
    clock.advance(2 * LOCK);
    assert!(nothing_due(&queue).await);
    assert_eq!(queue.next_due().await.unwrap(), None);
    assert_eq!(queue.dead_letters("followups").await.unwrap(), []);
}

async fn a_lost_lock_completes_nothing(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send_now("followups", b"a").await.unwrap();
    let slow = received(&queue).await;
    clock.advance(LOCK);
    assert!(!queue.complete(slow.id).await.unwrap());
    let quick = received(&queue).await;
    assert!(!queue.complete(slow.id).await.unwrap());
    assert!(!queue.abandon(slow.id, Duration::ZERO).await.unwrap());
    assert!(!queue.renew(slow.id).await.unwrap());
    assert!(nothing_due(&queue).await, "the lock of another was broken");
    assert!(queue.complete(quick.id).await.unwrap());
}

async fn a_renewed_lock_holds_a_minute_more(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send_now("followups", b"a").await.unwrap();
    let message = received(&queue).await;
    clock.advance(50 * SECOND);
    assert!(queue.renew(message.id).await.unwrap());
    clock.advance(50 * SECOND);
    assert!(nothing_due(&queue).await);
    assert!(queue.complete(message.id).await.unwrap());
}

async fn an_abandoned_message_comes_again_after_its_delay(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send_now("followups", b"a").await.unwrap();
    assert!(queue.abandon(received(&queue).await.id, 10 * SECOND).await.unwrap());
    clock.advance(9 * SECOND);
    assert!(nothing_due(&queue).await);
    clock.advance(SECOND);
    let again = received(&queue).await;
    assert_eq!((again.body.as_slice(), again.delivery_count), (&b"a"[..], 2));
}

async fn after_ten_abandoned_deliveries_a_message_is_a_dead_letter(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    let sent = QueueMessage { returns: 3, ..follow_up("poison", Some("id-1")) };
    queue.send(sent, Duration::ZERO).await.unwrap();
    queue.send_now("alerts", b"other").await.unwrap();
    for delivery in 1..=DELIVERIES_MAX {
        assert_eq!(queue.dead_letters("followups").await.unwrap(), []);
        let message = received(&queue).await;
        assert_eq!(message.delivery_count, delivery);
        assert!(queue.abandon(message.id, SECOND).await.unwrap());
        clock.advance(SECOND);
    }
    assert!(nothing_due(&queue).await);
    let dead = queue.dead_letters("followups").await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].queue, "followups");
    assert_eq!(dead[0].body, b"poison");
    assert_eq!((dead[0].returns, dead[0].message_id.as_deref(), dead[0].delivery_count), (3, Some("id-1"), 10));
    assert_eq!(dead[0].at, clock.now() - jiff::SignedDuration::from_secs(1));
    assert!(dead[0].reason.starts_with("it was delivered 10 times and never completed"), "{}", dead[0].reason);
    assert_eq!(queue.dead_letters("alerts").await.unwrap(), []);
    assert_eq!(queue.receive("alerts").await.unwrap().unwrap().body, b"other");
}

async fn after_ten_lost_locks_a_message_is_a_dead_letter(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send_now("followups", b"poison").await.unwrap();
    for _ in 0..DELIVERIES_MAX {
        received(&queue).await;
        assert_eq!(queue.dead_letters("followups").await.unwrap(), [], "dead while it is being handled");
        clock.advance(LOCK);
    }
    assert!(nothing_due(&queue).await);
    assert_eq!(queue.dead_letters("followups").await.unwrap()[0].body, b"poison");
    assert_eq!(queue.next_due().await.unwrap(), None);
}

async fn the_tenth_delivery_can_still_be_completed(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send_now("followups", b"a").await.unwrap();
    for _ in 1..DELIVERIES_MAX {
        received(&queue).await;
        clock.advance(LOCK);
    }
    let last = received(&queue).await;
    assert_eq!(last.delivery_count, DELIVERIES_MAX);
    assert!(queue.complete(last.id).await.unwrap());
    clock.advance(LOCK);
    assert_eq!(queue.dead_letters("followups").await.unwrap(), []);
}

async fn a_dead_letter_can_be_queued_again(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    queue.send(QueueMessage { returns: 2, ..follow_up("a", Some("id-1")) }, Duration::ZERO).await.unwrap();
    for _ in 0..DELIVERIES_MAX {
        assert!(queue.abandon(received(&queue).await.id, Duration::ZERO).await.unwrap());
    }
    let dead = queue.dead_letters("followups").await.unwrap().remove(0);
    assert!(queue.replay_dead_letter(dead.id).await.unwrap());
    assert!(!queue.replay_dead_letter(dead.id).await.unwrap());
    assert_eq!(queue.dead_letters("followups").await.unwrap(), []);
    let again = received(&queue).await;
    assert_eq!(
        (again.body.as_slice(), again.returns, again.message_id.as_deref(), again.delivery_count),
        (&b"a"[..], 2, Some("id-1"), 1)
    );
    assert!(nothing_due(&queue).await);
}

async fn a_message_id_that_waits_is_not_queued_twice(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send(follow_up("first", Some("same")), SECOND).await.unwrap();
    queue.send(follow_up("second", Some("same")), SECOND).await.unwrap();
    queue.send(follow_up("other", Some("other")), SECOND).await.unwrap();
    queue.send(follow_up("none", None), SECOND).await.unwrap();
    queue.send(follow_up("none", None), SECOND).await.unwrap();
    clock.advance(SECOND);
    let mut bodies = Vec::new();
    while let Some(message) = queue.receive("followups").await.unwrap() {
        bodies.push(String::from_utf8(message.body).unwrap());
    }
    assert_eq!(bodies, ["first", "other", "none", "none"]);
}

async fn a_message_id_that_is_being_handled_can_be_sent_anew(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send(follow_up("early", Some("same")), Duration::ZERO).await.unwrap();
    let early = received(&queue).await;
    queue.send(follow_up("early", Some("same")), 30 * SECOND).await.unwrap();
    assert!(queue.complete(early.id).await.unwrap());
    assert!(nothing_due(&queue).await);
    clock.advance(30 * SECOND);
    assert_eq!(received(&queue).await.body, b"early");
}

async fn a_message_id_that_is_done_can_be_sent_again(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    for _ in 0..2 {
        queue.send(follow_up("a", Some("same")), Duration::ZERO).await.unwrap();
        assert!(queue.complete(received(&queue).await.id).await.unwrap());
    }
    assert!(nothing_due(&queue).await);
}

async fn concurrent_receivers_never_share_a_message(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    for number in 0..8 {
        queue.send_now("followups", number.to_string().as_bytes()).await.unwrap();
    }
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.receive("followups").await.unwrap() })
        })
        .collect();
    let mut bodies = Vec::new();
    for task in tasks {
        bodies.extend(task.await.unwrap().map(|message| message.body));
    }
    assert_eq!(bodies.len(), 8);
    assert_eq!(bodies.iter().collect::<BTreeSet<_>>().len(), 8);
}

async fn next_due_counts_delays_and_locks(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    let after = |seconds: i64| Some(start() + jiff::SignedDuration::from_secs(seconds));
    queue.send(follow_up("late", None), 300 * SECOND).await.unwrap();
    queue.send(follow_up("soon", None), 10 * SECOND).await.unwrap();
    assert_eq!(queue.next_due().await.unwrap(), after(10));
    clock.advance(15 * SECOND);
    assert_eq!(queue.next_due().await.unwrap(), after(10));
    let soon = received(&queue).await;
    assert_eq!(queue.next_due().await.unwrap(), after(75));
    assert!(queue.complete(soon.id).await.unwrap());
    assert_eq!(queue.next_due().await.unwrap(), after(300));
}

async fn a_delay_beyond_all_time_is_refused(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    let error = queue.send(follow_up("a", None), Duration::MAX).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert!(error.says.contains("give a shorter one"), "{error}");
    queue.send_now("followups", b"b").await.unwrap();
    let message = received(&queue).await;
    assert_eq!(queue.abandon(message.id, Duration::MAX).await.unwrap_err().kind, PortErrorKind::Invalid);
    assert!(queue.complete(message.id).await.unwrap());
}

/// Separate handles have separate connections, as separate processes do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handles_on_one_file_never_share_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(start()));
    let handle = || EmbeddedQueue::in_file(folder.path().join("state.db"), clock.clone());
    let sender = handle();
    for number in 0..20 {
        sender.send_now("followups", number.to_string().as_bytes()).await.unwrap();
    }
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let queue = handle();
            tokio::spawn(async move {
                let mut bodies = Vec::new();
                while let Some(message) = queue.receive("followups").await.unwrap() {
                    bodies.push(message.body);
                    if bodies.len() % 2 == 0 {
                        assert!(queue.complete(message.id).await.unwrap());
                    }
                }
                bodies
            })
        })
        .collect();
    let mut bodies = Vec::new();
    for task in tasks {
        bodies.extend(task.await.unwrap());
    }
    assert_eq!(bodies.len(), 20);
    assert_eq!(bodies.iter().collect::<BTreeSet<_>>().len(), 20);
}

#[tokio::test]
async fn a_file_keeps_messages_locks_and_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(start()));
    let open = || EmbeddedQueue::in_file(folder.path().join("state.db"), clock.clone());
    let queue = open();
    queue.send(follow_up("poison", None), Duration::ZERO).await.unwrap();
    for _ in 0..DELIVERIES_MAX {
        assert!(queue.abandon(received(&queue).await.id, Duration::ZERO).await.unwrap());
    }
    queue.send(follow_up("held", None), Duration::ZERO).await.unwrap();
    let held = received(&queue).await;
    queue.send(follow_up("later", Some("same")), 30 * SECOND).await.unwrap();
    drop(queue);

    let queue = open();
    assert!(nothing_due(&queue).await);
    assert_eq!(queue.dead_letters("followups").await.unwrap()[0].body, b"poison");
    queue.send(follow_up("later", Some("same")), Duration::ZERO).await.unwrap();
    assert!(nothing_due(&queue).await, "the message id was forgotten");
    clock.advance(30 * SECOND);
    assert_eq!(received(&queue).await.body, b"later");
    assert!(queue.complete(held.id).await.unwrap());
}
