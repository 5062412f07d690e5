//! Two deliveries about one record, at the worst moment for each other.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use backout::{
    domain::{decision::DecisionKind, rollback::RollbackState},
    ports::{FollowUp, Inserted, Key, PortError, Replaced, StateStore, Stored, Version},
    process::{Ports, Process},
};
use jiff::SignedDuration;
use tokio::sync::Semaphore;

use crate::support::{
    policy::{FixedPolicy, alert},
    world::{BAD, GOOD, World},
};

/// Lets the first writer of `busy` lose to the second, and the winner's stored decision wait until the loser has ended.
struct Meeting {
    inner: Arc<dyn StateStore>,
    writers: AtomicU32,
    second_wrote: Semaphore,
    first_ended: Semaphore,
}

#[async_trait::async_trait]
impl StateStore for Meeting {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        self.inner.read(key).await
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        self.inner.insert(key, body).await
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        let stores_the_act = key.as_str().starts_with("records/") && String::from_utf8_lossy(body).contains("claimed token");
        if stores_the_act {
            self.first_ended.acquire().await.unwrap().forget();
        }
        let sets_busy = key.as_str().starts_with("targets/") && String::from_utf8_lossy(body).contains(r#""busy":{"#);
        let writer = if sets_busy { self.writers.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
        if writer == 1 {
            self.second_wrote.acquire().await.unwrap().forget();
        }
        let replaced = self.inner.replace(key, version, body).await;
        if writer == 2 {
            self.second_wrote.add_permits(1);
        }
        replaced
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.inner.delete(key, version).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.inner.list(prefix, after, limit).await
    }
}

#[tokio::test]
async fn the_loser_leaves_the_record_to_the_winner() {
    let world = World::new();
    world.process().sweep(&world.policy).await.unwrap();
    world.advance(SignedDuration::from_mins(40));
    world.platform.team_swaps_in(BAD);
    world.telemetry.from(world.now(), Some(0.31));
    world.advance(SignedDuration::from_secs(90));
    let firing = alert("a1", "checkout", world.now());
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    let held = world.record(&firing).await;
    assert_eq!(held.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Hold), "{:?}", held.timeline);
    world.advance(SignedDuration::from_mins(8));
    let (_, message) = world.queue.take().expect("the wake-up of the hold");
    let wake_up: FollowUp = serde_json::from_slice(&message.body).unwrap();

    let meeting = Arc::new(Meeting {
        inner: world.ports.store.clone(),
        writers: AtomicU32::new(0),
        second_wrote: Semaphore::new(0),
        first_ended: Semaphore::new(0),
    });
    let ports = Ports { store: meeting.clone(), ..world.ports.clone() };
    let process = || Process::new(ports.clone(), Arc::new(FixedPolicy(Arc::clone(&world.policy))), None, None);
    let (one, other) = (process(), process());
    let loser = async {
        let outcome = one.follow_up_received(wake_up.clone(), &world.policy).await;
        // Later writes of the record need not wait.
        meeting.first_ended.add_permits(100);
        outcome
    };
    let (lost, won) = tokio::join!(loser, other.follow_up_received(wake_up.clone(), &world.policy));
    lost.unwrap();
    won.unwrap();
    assert!(meeting.writers.load(Ordering::SeqCst) >= 2, "both meant to act");
    assert_eq!(world.platform.calls(), 1, "{:?}", world.record(&firing).await.timeline);

    world.run_to_end(&process(), &firing, 4).await;
    let record = world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:?}", record.timeline);
    assert_eq!((world.platform.calls(), world.platform.running().as_str()), (1, GOOD));
}
