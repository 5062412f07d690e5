//! The chain of receipts shows what was changed or removed afterwards, and `backout show` says so.

use std::{path::Path, sync::Arc};

use backout::{
    domain::{
        alert::{Alert, Severity},
        record::RecordId,
        rollback::RollbackState,
        target::TargetKey,
    },
    local::{memory_store::MemoryStore, sqlite_store::SqliteStore},
    ports::{Inserted, Key, Replaced, StateStore},
    process::{
        Ports,
        documents::{Documents, keys},
        receipt::{ChainCheck, verify_chain},
    },
};
use serde_json::{Value, json};

use crate::support::{policy::alert, program::Program, world::World};

/// A rollback from the decision to its end, and two firings after it that nothing is done about: the receipts of one target.
async fn told_stories(store: Arc<dyn StateStore>) -> (World, Alert) {
    let mut world = World::new();
    world.ports = Ports { store, ..world.ports };
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run_to_end(&process, &firing, 4).await;
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Recovered));
    for name in ["a2", "a3"] {
        let mut mild = alert(name, "checkout", world.now());
        mild.severity = Severity::new(4);
        process.alert_received(mild, &world.policy).await.unwrap();
    }
    (world, firing)
}

/// What somebody does who may write the store. Every try is made on a copy of its own.
struct Chain {
    store: Arc<dyn StateStore>,
    target: TargetKey,
    length: u64,
}

impl Chain {
    async fn new() -> Self {
        let (world, _) = told_stories(Arc::new(MemoryStore::new())).await;
        let (store, target) = (Arc::clone(&world.ports.store), world.target("checkout").key());
        let ChainCheck::Sound { receipts: length } = check(&store, &target).await else { panic!("nobody touched it") };
        assert!(length >= 4, "{length} receipts");
        Self { store, target, length }
    }

    async fn copy(&self) -> Arc<dyn StateStore> {
        let copy = MemoryStore::new();
        for key in self.store.list("", None, 1_000).await.unwrap() {
            let stored = self.store.read(&key).await.unwrap().unwrap();
            assert!(matches!(copy.insert(&key, &stored.body).await.unwrap(), Inserted::Now(_)), "{key}");
        }
        Arc::new(copy)
    }

    fn receipt(&self, number: u64) -> Key {
        keys::target_receipt(&self.target, number)
    }

    /// Where a change of this receipt shows: in the one behind it, and of the newest in the head, which the target's document keeps.
    fn behind(&self, number: u64) -> Key {
        if number + 1 < self.length { self.receipt(number + 1) } else { keys::target(&self.target) }
    }

    #[track_caller]
    fn is_broken_at(found: &ChainCheck, key: &Key, how: &str) {
        assert_eq!(found, &ChainCheck::Broken { key: key.to_string() }, "{how}");
    }
}

async fn check(store: &Arc<dyn StateStore>, target: &TargetKey) -> ChainCheck {
    verify_chain(&Documents::new(Arc::clone(store)), target).await.unwrap()
}

async fn value(store: &Arc<dyn StateStore>, key: &Key) -> Value {
    serde_json::from_slice(&store.read(key).await.unwrap().unwrap().body).unwrap()
}

async fn put(store: &Arc<dyn StateStore>, key: &Key, document: &Value) {
    let version = store.read(key).await.unwrap().unwrap().version;
    let replaced = store.replace(key, &version, &serde_json::to_vec(document).unwrap()).await.unwrap();
    assert!(matches!(replaced, Replaced::Now(_)), "{key}");
}

async fn remove(store: &Arc<dyn StateStore>, key: &Key) {
    let version = store.read(key).await.unwrap().unwrap().version;
    assert!(store.delete(key, &version).await.unwrap(), "{key}");
}

/// A sentence of it says something else.
async fn alter(store: &Arc<dyn StateStore>, key: &Key, member: &str) {
    let mut receipt = value(store, key).await;
    let says = receipt["value"][member].as_str().unwrap_or_else(|| panic!("{member} of {receipt}")).to_owned();
    receipt["value"][member] = json!(format!("{says} not"));
    put(store, key, &receipt).await;
}

#[tokio::test]
async fn a_word_that_was_changed_in_any_receipt_breaks_the_chain_behind_it() {
    let chain = Chain::new().await;
    for number in 0..chain.length {
        for member in ["because", "alertId", "policySha256"] {
            let store = chain.copy().await;
            alter(&store, &chain.receipt(number), member).await;
            let found = check(&store, &chain.target).await;
            Chain::is_broken_at(&found, &chain.behind(number), &format!("{member} of {number}"));
        }
    }
}

#[tokio::test]
async fn a_receipt_that_was_removed_is_missed_wherever_it_stood() {
    let chain = Chain::new().await;
    for number in 0..chain.length {
        let store = chain.copy().await;
        remove(&store, &chain.receipt(number)).await;
        let found = check(&store, &chain.target).await;
        Chain::is_broken_at(&found, &chain.receipt(number), &format!("without {number} of {}", chain.length));
    }
}

/// Also where whoever did it gave each of the two the number and the predecessor of its new place.
#[tokio::test]
async fn two_receipts_that_changed_places_break_the_chain() {
    let chain = Chain::new().await;
    for number in 0..chain.length - 1 {
        for is_mended in [false, true] {
            let store = chain.copy().await;
            let (first, second) = (chain.receipt(number), chain.receipt(number + 1));
            let (mut one, mut other) = (value(&store, &first).await, value(&store, &second).await);
            if is_mended {
                for member in ["number", "previous"] {
                    let kept = one["value"][member].take();
                    one["value"][member] = other["value"][member].take();
                    other["value"][member] = kept;
                }
            }
            put(&store, &first, &other).await;
            put(&store, &second, &one).await;
            let expected = if is_mended { &second } else { &first };
            let found = check(&store, &chain.target).await;
            Chain::is_broken_at(&found, expected, &format!("{number} and the next, mended: {is_mended}"));
        }
    }
}

#[tokio::test]
async fn the_newest_receipt_rewritten_alone_does_not_fit_the_head() {
    let chain = Chain::new().await;
    let store = chain.copy().await;
    let (newest, other) = (chain.receipt(chain.length - 1), chain.receipt(0));
    let (was, mut forged) = (value(&store, &newest).await, value(&store, &other).await);
    for member in ["number", "previous"] {
        forged["value"][member] = was["value"][member].clone();
    }
    put(&store, &newest, &forged).await;
    Chain::is_broken_at(&check(&store, &chain.target).await, &keys::target(&chain.target), "the newest");
}

fn show(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let settings = [("BACKOUT_POLICY", "backout.yaml"), ("BACKOUT_STORE", "sqlite:state.db")];
    let output = Program::new(["show"].iter().chain(arguments)).in_folder(folder).without_environment().with(settings).run();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Shows the record after `change`, which is undone afterwards; in both formats.
async fn refused(folder: &Path, store: &Arc<dyn StateStore>, id: &RecordId, changed: &Key, to: Option<&Value>, at: &Key) {
    let before = value(store, changed).await;
    match to {
        Some(document) => put(store, changed, document).await,
        None => remove(store, changed).await,
    }
    for format in ["text", "json"] {
        let (code, out, err) = show(folder, &[&id.0, "--format", format]);
        let says = format!("error: the chain of receipts is broken at `{at}`: somebody changed or removed one\n");
        assert_eq!((code, err.as_str()), (Some(1), says.as_str()), "{out}");
        assert!(!out.contains("is unbroken"), "{out}");
    }
    match to {
        Some(_) => put(store, changed, &before).await,
        None => {
            store.insert(changed, &serde_json::to_vec(&before).unwrap()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_refuses_a_record_whose_receipts_were_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn StateStore> = Arc::new(SqliteStore::new(folder.path().join("state.db")));
    let (world, firing) = told_stories(Arc::clone(&store)).await;
    let (id, target) = (RecordId::of(&firing), world.target("checkout").key());
    let ChainCheck::Sound { receipts } = check(&store, &target).await else { panic!("nobody touched it") };
    let sound = || {
        let (code, out, err) = show(folder.path(), &[&id.0]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains(&format!("the chain of {receipts} receipts is unbroken\n")), "{out}");
    };
    sound();

    let key = |number| keys::target_receipt(&target, number);
    let mut altered = value(&store, &key(0)).await;
    altered["value"]["because"] = json!("somebody said so");
    refused(folder.path(), &store, &id, &key(0), Some(&altered), &key(1)).await;
    refused(folder.path(), &store, &id, &key(2), None, &key(2)).await;
    // The one that is shown, and the document that says how long the chain is.
    let own = Key::new(world.record(&firing).await.receipt.unwrap().key);
    refused(folder.path(), &store, &id, &own, None, &own).await;
    let head = keys::target(&target);
    refused(folder.path(), &store, &id, &head, None, &head).await;
    sound();
}

/// Its receipt stands in no chain, and the record names the hash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn show_refuses_a_record_about_no_target_whose_receipt_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn StateStore> = Arc::new(SqliteStore::new(folder.path().join("state.db")));
    let mut world = World::new();
    world.ports = Ports { store: Arc::clone(&store), ..world.ports };
    let firing = alert("a1", "another", world.now());
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    let id = RecordId::of(&firing);
    let key = Key::new(world.record(&firing).await.receipt.unwrap().key);
    assert_eq!(key, keys::record_receipt(&id, 0));
    assert_eq!(show(folder.path(), &[&id.0]).0, Some(0));
    let mut altered = value(&store, &key).await;
    altered["value"]["because"] = json!("somebody said so");
    refused(folder.path(), &store, &id, &key, Some(&altered), &key).await;
    refused(folder.path(), &store, &id, &key, None, &key).await;
}
