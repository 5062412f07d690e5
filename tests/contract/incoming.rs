//! The promises of receiving and of dead letters, one function each: over the embedded queue in memory and in a file, and over
//! Service Bus by its real client against the simulated one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use backout::{
    azure::service_bus::ServiceBusQueues,
    local::embedded_queue::EmbeddedQueue,
    ports::{Clock, DeadLetters, Fate, FollowUps, Incoming, LockProblem, QueueMessage, Received, Walk, WalkEnd},
    sim::{AzureSimulation, clock::ManualClock},
};

use crate::support::simulated::identity;

macro_rules! holds_for {
    ($kind:ident => $scene:expr; $($promise:ident)*) => {
        mod $kind {
            use super::Scene;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    super::$promise($scene).await;
                }
            )*
        }
    };
}

macro_rules! all_promises {
    ($($kind:ident => $scene:expr;)*) => {
        $(holds_for! { $kind => $scene;
            an_empty_queue_hands_out_nothing
            a_message_arrives_as_it_was_sent
            a_message_never_arrives_early
            the_longest_due_comes_first
            queues_do_not_mix
            a_receive_waits_for_a_message
            a_locked_message_is_invisible_and_comes_again_when_its_lock_ends
            a_completed_message_is_gone
            a_lost_lock_ends_nothing_and_says_so
            a_renewed_lock_holds_its_whole_time_more
            an_abandoned_message_comes_again_at_once
            after_ten_abandoned_deliveries_a_message_is_a_dead_letter
            after_ten_lost_locks_a_message_is_a_dead_letter
            the_tenth_delivery_can_still_be_completed
            concurrent_receivers_never_share_a_message
            dead_letters_that_are_only_looked_at_stay
            wanted_dead_letters_are_queued_again_and_others_stay
            a_walk_ends_at_its_limit
        })*
    };
}

all_promises! {
    embedded_in_memory => Scene::embedded_in_memory();
    embedded_in_a_file => Scene::embedded_in_a_file();
    service_bus => Scene::service_bus().await;
}

const SECOND: Duration = Duration::from_secs(1);
const LOCK: Duration = Duration::from_mins(1);
const DELIVERIES_MAX: u32 = 10;

struct Scene {
    sender: Arc<dyn FollowUps>,
    incoming: Arc<dyn Incoming>,
    dead_letters: Arc<dyn DeadLetters>,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
    _azure: Option<AzureSimulation>,
}

impl Scene {
    fn embedded_in_memory() -> Self {
        let clock = clock();
        Self::over(Arc::new(EmbeddedQueue::in_memory(clock.clone())), clock, tempfile::tempdir().unwrap(), None)
    }

    fn embedded_in_a_file() -> Self {
        let (clock, folder) = (clock(), tempfile::tempdir().unwrap());
        let queue = EmbeddedQueue::in_file(folder.path().join("deep/state.db"), clock.clone());
        Self::over(Arc::new(queue), clock, folder, None)
    }

    async fn service_bus() -> Self {
        let clock = clock();
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let queues =
            ServiceBusQueues::with_identity(azure.namespace(), Some(azure.bus_url()), identity(&azure, None), clock.clone());
        Self::over(Arc::new(queues.unwrap()), clock, tempfile::tempdir().unwrap(), Some(azure))
    }

    fn over<Q: FollowUps + Incoming + DeadLetters + 'static>(
        queue: Arc<Q>,
        clock: Arc<ManualClock>,
        folder: tempfile::TempDir,
        azure: Option<AzureSimulation>,
    ) -> Self {
        Self { sender: queue.clone(), incoming: queue.clone(), dead_letters: queue, clock, _folder: folder, _azure: azure }
    }

    async fn send(&self, body: &str, delay: Duration) {
        self.sender.send(message("followups", body), delay).await.unwrap();
    }

    async fn received(&self) -> Received {
        self.incoming.receive("followups", Duration::ZERO).await.unwrap().expect("a message is due")
    }

    async fn nothing_due(&self) -> bool {
        self.incoming.receive("followups", Duration::ZERO).await.unwrap().is_none()
    }

    /// Delivers the only message until it is a dead letter.
    async fn bury(&self, body: &str) {
        self.send(body, Duration::ZERO).await;
        for _ in 0..DELIVERIES_MAX {
            self.received().await.lock.abandon().await.unwrap();
        }
    }

    async fn look(&self, queue: &str) -> Walk {
        self.dead_letters.walk(queue, 100, &|_| false).await
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-11-25T10:00:00Z".parse().unwrap()))
}

fn message(queue: &str, body: &str) -> QueueMessage {
    QueueMessage { queue: queue.to_owned(), body: body.as_bytes().to_vec(), returns: 0, message_id: None }
}

fn bodies(walk: &Walk) -> Vec<&str> {
    walk.letters.iter().map(|(letter, _)| str::from_utf8(&letter.body).unwrap()).collect()
}

async fn an_empty_queue_hands_out_nothing(scene: Scene) {
    assert!(scene.nothing_due().await);
    let walk = scene.look("followups").await;
    assert_eq!((walk.letters, walk.end), (Vec::new(), WalkEnd::All));
}

async fn a_message_arrives_as_it_was_sent(scene: Scene) {
    let sent = QueueMessage {
        queue: "alerts".to_owned(),
        body: b"\0\xff{}".to_vec(),
        returns: 7,
        message_id: Some("same-every-time".to_owned()),
    };
    scene.sender.send(sent, Duration::ZERO).await.unwrap();
    let received = scene.incoming.receive("alerts", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(
        (received.body.as_slice(), received.returns, received.message_id.as_deref(), received.delivery_count),
        (&b"\0\xff{}"[..], 7, Some("same-every-time"), 1)
    );
    assert_eq!(received.locked_until, scene.clock.now() + jiff::SignedDuration::from_mins(1));
}

async fn a_message_never_arrives_early(scene: Scene) {
    scene.send("a", 30 * SECOND).await;
    assert!(scene.nothing_due().await);
    scene.clock.advance(Duration::from_nanos(29_999_999_999));
    assert!(scene.nothing_due().await);
    scene.clock.advance(Duration::from_nanos(1));
    assert_eq!(scene.received().await.body, b"a");
}

async fn the_longest_due_comes_first(scene: Scene) {
    for (body, delay) in [("third", 20), ("second", 10), ("first", 0), ("fourth", 20)] {
        scene.send(body, delay * SECOND).await;
    }
    scene.clock.advance(20 * SECOND);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(String::from_utf8(scene.received().await.body).unwrap());
    }
    assert_eq!(order, ["first", "second", "third", "fourth"]);
    assert!(scene.nothing_due().await);
}

async fn queues_do_not_mix(scene: Scene) {
    scene.sender.send(message("alerts", "alert"), Duration::ZERO).await.unwrap();
    scene.sender.send(message("deployments", "deployment"), Duration::ZERO).await.unwrap();
    assert!(scene.nothing_due().await);
    for (queue, body) in [("deployments", "deployment"), ("alerts", "alert")] {
        let received = scene.incoming.receive(queue, Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(received.body, body.as_bytes());
    }
}

async fn a_receive_waits_for_a_message(scene: Scene) {
    let late = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        scene.send("late", Duration::ZERO).await;
    };
    let (received, ()) = tokio::join!(scene.incoming.receive("followups", 30 * SECOND), late);
    assert_eq!(received.unwrap().unwrap().body, b"late");
}

async fn a_locked_message_is_invisible_and_comes_again_when_its_lock_ends(scene: Scene) {
    scene.send("a", Duration::ZERO).await;
    let first = scene.received().await;
    assert_eq!(first.delivery_count, 1);
    scene.clock.advance(LOCK.checked_sub(SECOND).unwrap());
    assert!(scene.nothing_due().await);
    scene.clock.advance(SECOND);
    let second = scene.received().await;
    assert_eq!((second.body.as_slice(), second.delivery_count), (&b"a"[..], 2));
}

async fn a_completed_message_is_gone(scene: Scene) {
    scene.send("a", Duration::ZERO).await;
    let message = scene.received().await;
    message.lock.complete().await.unwrap();
    assert_eq!(message.lock.complete().await, Err(LockProblem::Lost));
    assert_eq!(message.lock.abandon().await, Err(LockProblem::Lost));
    scene.clock.advance(2 * LOCK);
    assert!(scene.nothing_due().await);
    assert_eq!(scene.look("followups").await.letters, []);
}

async fn a_lost_lock_ends_nothing_and_says_so(scene: Scene) {
    scene.send("a", Duration::ZERO).await;
    let slow = scene.received().await;
    scene.clock.advance(LOCK);
    assert_eq!(slow.lock.complete().await, Err(LockProblem::Lost));
    let quick = scene.received().await;
    assert_eq!(slow.lock.complete().await, Err(LockProblem::Lost));
    assert_eq!(slow.lock.abandon().await, Err(LockProblem::Lost));
    assert_eq!(slow.lock.renew().await, Err(LockProblem::Lost));
    assert!(scene.nothing_due().await, "the lock of another was broken");
    quick.lock.complete().await.unwrap();
}

async fn a_renewed_lock_holds_its_whole_time_more(scene: Scene) {
    scene.send("a", Duration::ZERO).await;
    let message = scene.received().await;
    scene.clock.advance(50 * SECOND);
    message.lock.renew().await.unwrap();
    scene.clock.advance(50 * SECOND);
    assert!(scene.nothing_due().await);
    message.lock.complete().await.unwrap();
}

async fn an_abandoned_message_comes_again_at_once(scene: Scene) {
    scene.send("a", Duration::ZERO).await;
    scene.received().await.lock.abandon().await.unwrap();
    let again = scene.received().await;
    assert_eq!((again.body.as_slice(), again.delivery_count), (&b"a"[..], 2));
}

async fn after_ten_abandoned_deliveries_a_message_is_a_dead_letter(scene: Scene) {
    let sent = QueueMessage { returns: 3, message_id: Some("id-1".to_owned()), ..message("followups", "poison") };
    scene.sender.send(sent, Duration::ZERO).await.unwrap();
    scene.sender.send(message("alerts", "other"), Duration::ZERO).await.unwrap();
    for delivery in 1..=DELIVERIES_MAX {
        assert_eq!(scene.look("followups").await.letters, []);
        let message = scene.received().await;
        assert_eq!(message.delivery_count, delivery);
        message.lock.abandon().await.unwrap();
    }
    assert!(scene.nothing_due().await);
    let walk = scene.look("followups").await;
    assert_eq!((walk.letters.len(), &walk.end), (1, &WalkEnd::All));
    let (letter, fate) = &walk.letters[0];
    assert_eq!((letter.queue.as_str(), letter.body.as_slice(), fate), ("followups", &b"poison"[..], &Fate::Left));
    assert_eq!((letter.returns, letter.message_id.as_deref()), (3, Some("id-1")));
    assert!(letter.delivery_count >= DELIVERIES_MAX);
    assert!(letter.id.starts_with("followups:"), "{}", letter.id);
    assert!(["MaxDeliveryCountExceeded", "it was delivered 10 times"].iter().any(|says| letter.reason.starts_with(says)));
    assert_eq!(letter.enqueued_at.or(letter.dead_since), Some(scene.clock.now()));
    assert_eq!(scene.look("alerts").await.letters, []);
}

async fn after_ten_lost_locks_a_message_is_a_dead_letter(scene: Scene) {
    scene.send("poison", Duration::ZERO).await;
    for _ in 0..DELIVERIES_MAX {
        scene.received().await;
        assert_eq!(scene.look("followups").await.letters, [], "dead while it is being handled");
        scene.clock.advance(LOCK);
    }
    assert!(scene.nothing_due().await);
    assert_eq!(bodies(&scene.look("followups").await), ["poison"]);
}

async fn the_tenth_delivery_can_still_be_completed(scene: Scene) {
    scene.send("a", Duration::ZERO).await;
    for _ in 1..DELIVERIES_MAX {
        scene.received().await;
        scene.clock.advance(LOCK);
    }
    let last = scene.received().await;
    assert_eq!(last.delivery_count, DELIVERIES_MAX);
    last.lock.complete().await.unwrap();
    scene.clock.advance(LOCK);
    assert_eq!(scene.look("followups").await.letters, []);
}

async fn concurrent_receivers_never_share_a_message(scene: Scene) {
    for number in 0..8 {
        scene.send(&number.to_string(), Duration::ZERO).await;
    }
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let incoming = Arc::clone(&scene.incoming);
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

async fn dead_letters_that_are_only_looked_at_stay(scene: Scene) {
    for body in ["first", "second"] {
        scene.bury(body).await;
    }
    let ids = |walk: &Walk| walk.letters.iter().map(|(letter, _)| letter.id.clone()).collect::<Vec<_>>();
    let (one, other) = (scene.look("followups").await, scene.look("followups").await);
    assert_eq!(bodies(&one), ["first", "second"]);
    assert_eq!((ids(&one), bodies(&one)), (ids(&other), bodies(&other)), "no lock is left over from the first look");
}

async fn wanted_dead_letters_are_queued_again_and_others_stay(scene: Scene) {
    for body in ["first", "second", "third"] {
        scene.bury(body).await;
    }
    let walk = scene.dead_letters.walk("followups", 100, &|letter| letter.body == b"second").await;
    let fates: Vec<_> = walk.letters.iter().map(|(_, fate)| fate.clone()).collect();
    assert_eq!(fates, [Fate::Left, Fate::QueuedAgain, Fate::Left]);
    let again = scene.received().await;
    assert_eq!((again.body.as_slice(), again.delivery_count), (&b"second"[..], 1));
    again.lock.complete().await.unwrap();
    assert!(scene.nothing_due().await);
    assert_eq!(bodies(&scene.look("followups").await), ["first", "third"]);
}

async fn a_walk_ends_at_its_limit(scene: Scene) {
    for body in ["first", "second"] {
        scene.bury(body).await;
    }
    let walk = scene.dead_letters.walk("followups", 1, &|_| false).await;
    assert_eq!((bodies(&walk), &walk.end), (vec!["first"], &WalkEnd::Limit));
    let walk = scene.dead_letters.walk("followups", 2, &|_| false).await;
    assert_eq!((bodies(&walk), &walk.end), (vec!["first", "second"], &WalkEnd::All));
}
