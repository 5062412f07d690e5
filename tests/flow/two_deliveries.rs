//! Two deliveries about one record, at the worst moment for each other.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use backout::{
    domain::{
        alert::{Alert, Severity},
        decision::DecisionKind,
        record::Record,
        rollback::RollbackState,
        target_state::TargetState,
    },
    ports::{FollowUp, Inserted, Key, PortError, Replaced, StateStore, Stored, Version},
    process::{
        Ports,
        documents::{Documents, keys},
        receipt::{ChainCheck, verify_chain},
    },
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{
    fake_platform::Answer,
    leaks::watched_process,
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
    let process = || watched_process(ports.clone(), Arc::new(FixedPolicy(Arc::clone(&world.policy))));
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

/// Once some document has been read for the first time, somebody else changes one before the reader goes on.
struct ChangedMeanwhile {
    inner: Arc<dyn StateStore>,
    /// What the key of the first begins with.
    read: &'static str,
    /// The one that is changed; `None` for the one that was read.
    changed: Option<Key>,
    change: fn(&mut Value),
    reads: AtomicU32,
}

#[async_trait::async_trait]
impl StateStore for ChangedMeanwhile {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let read = self.inner.read(key).await?;
        if read.is_some() && key.as_str().starts_with(self.read) && self.reads.fetch_add(1, Ordering::SeqCst) == 0 {
            let changed = self.changed.as_ref().unwrap_or(key);
            let stored = self.inner.read(changed).await?.unwrap();
            let mut document: Value = serde_json::from_slice(&stored.body).unwrap();
            (self.change)(&mut document["value"]);
            let body = serde_json::to_vec(&document).unwrap();
            assert!(matches!(self.inner.replace(changed, &stored.version, &body).await?, Replaced::Now(_)));
        }
        Ok(read)
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        self.inner.insert(key, body).await
    }

    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        self.inner.replace(key, version, body).await
    }

    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.inner.delete(key, version).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.inner.list(prefix, after, limit).await
    }
}

/// Otherwise an operation that was accepted would be forgotten, and its rollback given up.
#[tokio::test]
async fn a_look_that_found_nothing_does_not_undo_what_another_wake_up_stored() {
    let world = World::new();
    let firing = world.break_it().await;
    world.platform.answer_next(&[Answer::LostBeforeEffect]);
    world.process().alert_received(firing, &world.policy).await.unwrap();
    let target = keys::target(&world.target("checkout").key());
    let store = Arc::new(ChangedMeanwhile {
        inner: Arc::clone(&world.ports.store),
        read: "claims/",
        changed: Some(target.clone()),
        change: |state| {
            state["busy"]["phase"] = json!("accepted");
            state["busy"]["operation"] = json!({ "of": "the other one" });
        },
        reads: AtomicU32::new(0),
    });
    let ports = Ports { store: store.clone(), ..world.ports.clone() };
    let process = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&world.policy))));
    world.advance(SignedDuration::from_secs(20));
    world.deliver_due(&process).await;
    assert!(store.reads.load(Ordering::SeqCst) > 0, "the look came to the claim");
    let stored = world.ports.store.read(&target).await.unwrap().unwrap();
    let state: Value = serde_json::from_slice(&stored.body).unwrap();
    assert_eq!(
        (&state["value"]["busy"]["phase"], &state["value"]["busy"]["operation"]["of"]),
        (&json!("accepted"), &json!("the other one"))
    );
}

#[tokio::test]
async fn a_copy_is_counted_while_the_first_one_goes_on() {
    let world = World::new();
    let firing = world.break_it().await;
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    let store = Arc::new(ChangedMeanwhile {
        inner: Arc::clone(&world.ports.store),
        read: "records/",
        changed: None,
        change: |record| record["generation"] = json!(record["generation"].as_u64().unwrap() + 1),
        reads: AtomicU32::new(0),
    });
    let ports = Ports { store: store.clone(), ..world.ports.clone() };
    let process = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&world.policy))));
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert!(store.reads.load(Ordering::SeqCst) > 1, "the record was read, and read again to count");
    assert_eq!((world.record(&firing).await.duplicates, world.platform.calls()), (1, 1));
}

/// A firing of too little weight to act on; it is told at once.
fn mild(world: &World, name: &str) -> Alert {
    let mut firing = alert(name, "checkout", world.now());
    firing.severity = Severity::new(4);
    firing
}

/// As whoever tells the record finds it while another one is still at it.
async fn as_before_it_was_told(documents: &Documents, record: &Record) {
    let forget = |record: &mut Record| {
        record.told_generation = 0;
        record.receipt = None;
        Some(())
    };
    documents.update(&keys::record(&record.id), || None, forget).await.unwrap().unwrap();
}

/// Found under load: of two who told the same firing, the slower one came behind the receipt of another firing, and wrote a second.
#[tokio::test]
async fn two_who_tell_the_same_write_one_receipt() {
    let world = World::new();
    let process = world.process();
    let (first, documents) = (mild(&world, "a1"), Documents::new(world.ports.store.clone()));
    process.alert_received(first.clone(), &world.policy).await.unwrap();
    let told = world.record(&first).await;
    process.alert_received(mild(&world, "a2"), &world.policy).await.unwrap();
    as_before_it_was_told(&documents, &told).await;
    process.alert_received(first.clone(), &world.policy).await.unwrap();
    let again = world.record(&first).await;
    assert_eq!((again.told_generation, &again.receipt), (again.generation, &told.receipt));
    let chain = verify_chain(&documents, &world.target("checkout").key()).await.unwrap();
    assert_eq!(chain, ChainCheck::Sound { receipts: 2 });
}

/// The same, where the first one had written its receipt and not named it as the newest, and the other firing's teller went past it.
#[tokio::test]
async fn a_receipt_that_another_teller_went_past_is_not_written_again() {
    let world = World::new();
    let process = world.process();
    let (first, documents) = (mild(&world, "a1"), Documents::new(world.ports.store.clone()));
    let target = keys::target(&world.target("checkout").key());
    process.alert_received(first.clone(), &world.policy).await.unwrap();
    let told = world.record(&first).await;
    let forget_head = |state: &mut TargetState| {
        (state.receipt_count, state.receipt_head) = (0, None);
        state.written_receipts.clear();
        Some(())
    };
    documents.update(&target, || None, forget_head).await.unwrap().unwrap();
    process.alert_received(mild(&world, "a2"), &world.policy).await.unwrap();
    as_before_it_was_told(&documents, &told).await;
    process.alert_received(first.clone(), &world.policy).await.unwrap();
    assert_eq!(world.record(&first).await.receipt, told.receipt);
    let chain = verify_chain(&documents, &world.target("checkout").key()).await.unwrap();
    assert_eq!(chain, ChainCheck::Sound { receipts: 2 });
}
