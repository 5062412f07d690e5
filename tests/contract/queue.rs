//! What the embedded queue promises beyond `incoming`, one function each, over a queue in memory and one in a file.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use backout::{
    local::embedded_queue::{DELIVERIES_MAX, EmbeddedQueue},
    ports::{DeadLetters, Fate, FollowUps, Incoming, PortErrorKind, QueueMessage, Received, WalkEnd},
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
            a_due_time_between_microseconds_is_not_early
            a_dead_letter_keeps_its_id_and_count_when_it_is_queued_again
            an_empty_queue_has_nothing_due
            a_message_id_that_is_being_handled_can_be_sent_anew
            a_message_id_that_is_done_can_be_sent_again
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

async fn received(queue: &EmbeddedQueue) -> Received {
    queue.receive("followups", Duration::ZERO).await.unwrap().expect("a message is due")
}

async fn nothing_due(queue: &EmbeddedQueue) -> bool {
    queue.receive("followups", Duration::ZERO).await.unwrap().is_none()
}

async fn a_due_time_between_microseconds_is_not_early(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send(follow_up("a", None), Duration::from_nanos(1_500)).await.unwrap();
    clock.advance(Duration::from_nanos(1_499));
    assert!(nothing_due(&queue).await);
    clock.advance(Duration::from_nanos(501));
    assert_eq!(received(&queue).await.body, b"a");
}

async fn a_dead_letter_keeps_its_id_and_count_when_it_is_queued_again(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    queue.send(QueueMessage { returns: 2, ..follow_up("a", Some("id-1")) }, Duration::ZERO).await.unwrap();
    for _ in 0..DELIVERIES_MAX {
        received(&queue).await.lock.abandon().await.unwrap();
    }
    let walk = queue.walk("followups", 10, &|_| true).await;
    assert_eq!((walk.letters.len(), &walk.letters[0].1), (1, &Fate::QueuedAgain));
    let after = queue.walk("followups", 10, &|_| true).await;
    assert_eq!((after.letters, after.end), (Vec::new(), WalkEnd::All));
    let again = received(&queue).await;
    assert_eq!(
        (again.body.as_slice(), again.returns, again.message_id.as_deref(), again.delivery_count),
        (&b"a"[..], 2, Some("id-1"), 1)
    );
    assert!(nothing_due(&queue).await);
}

async fn an_empty_queue_has_nothing_due(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    assert!(nothing_due(&queue).await);
    assert_eq!(queue.next_due().await.unwrap(), None);
}

async fn a_message_id_that_is_being_handled_can_be_sent_anew(queue: EmbeddedQueue, clock: Arc<ManualClock>) {
    queue.send(follow_up("early", Some("same")), Duration::ZERO).await.unwrap();
    let early = received(&queue).await;
    queue.send(follow_up("early", Some("same")), 30 * SECOND).await.unwrap();
    early.lock.complete().await.unwrap();
    assert!(nothing_due(&queue).await);
    clock.advance(30 * SECOND);
    assert_eq!(received(&queue).await.body, b"early");
}

async fn a_message_id_that_is_done_can_be_sent_again(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    for _ in 0..2 {
        queue.send(follow_up("a", Some("same")), Duration::ZERO).await.unwrap();
        received(&queue).await.lock.complete().await.unwrap();
    }
    assert!(nothing_due(&queue).await);
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
    soon.lock.complete().await.unwrap();
    assert_eq!(queue.next_due().await.unwrap(), after(300));
}

async fn a_delay_beyond_all_time_is_refused(queue: EmbeddedQueue, _: Arc<ManualClock>) {
    let error = queue.send(follow_up("a", None), Duration::MAX).await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert!(error.says.contains("give a shorter one"), "{error}");
    queue.send(follow_up("b", None), Duration::ZERO).await.unwrap();
    let message = received(&queue).await;
    message.lock.complete().await.unwrap();
}

/// Separate handles have separate connections, as separate processes do.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handles_on_one_file_never_share_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(start()));
    let handle = || EmbeddedQueue::in_file(folder.path().join("state.db"), clock.clone());
    let sender = handle();
    for number in 0..20 {
        sender.send(follow_up(&number.to_string(), None), Duration::ZERO).await.unwrap();
    }
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let queue = handle();
            tokio::spawn(async move {
                let mut bodies = Vec::new();
                while let Some(message) = queue.receive("followups", Duration::ZERO).await.unwrap() {
                    bodies.push(message.body);
                    if bodies.len() % 2 == 0 {
                        message.lock.complete().await.unwrap();
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
        received(&queue).await.lock.abandon().await.unwrap();
    }
    queue.send(follow_up("held", None), Duration::ZERO).await.unwrap();
    let held = received(&queue).await;
    queue.send(follow_up("later", Some("same")), 30 * SECOND).await.unwrap();
    drop(queue);

    let queue = open();
    assert!(nothing_due(&queue).await);
    assert_eq!(queue.walk("followups", 10, &|_| false).await.letters[0].0.body, b"poison");
    queue.send(follow_up("later", Some("same")), Duration::ZERO).await.unwrap();
    assert!(nothing_due(&queue).await, "the message id was forgotten");
    clock.advance(30 * SECOND);
    assert_eq!(received(&queue).await.body, b"later");
    held.lock.complete().await.unwrap();
}
