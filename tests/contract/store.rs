//! The promises of `ports::StateStore`, one function each, over any store.
//!
//! A further store joins by one line under `all_promises!`: a name, and an expression that gives a fresh, empty store
//! together with what must live as long as it (a folder, a server); `None` where it cannot run here, said aloud.

mod exploration;

use std::{collections::BTreeSet, sync::Arc};

use backout::{
    local::{memory_store::MemoryStore, sqlite_store::SqliteStore},
    ports::{Inserted, Key, Replaced, StateStore, Stored, Version},
};
use tempfile::TempDir;

use self::exploration::ExplorationStore;
use crate::support::azurite;

macro_rules! holds_for {
    ($store:ident => $factory:expr; $($promise:ident)*) => {
        mod $store {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    let Some((store, _kept)) = $factory else { return };
                    super::$promise(Arc::new(store)).await;
                }
            )*
        }
    };
}

macro_rules! promises_of_compare_and_set {
    ($($store:ident => $factory:expr, $($more:ident)*;)*) => {
        $(holds_for! { $store => $factory;
            what_was_never_written_can_not_be_read
            what_was_inserted_can_be_read
            a_second_insert_writes_nothing
            of_concurrent_inserts_exactly_one_wins
            a_replace_at_the_right_version_writes
            a_replace_at_a_stale_version_writes_nothing
            a_replace_at_a_version_that_never_was_writes_nothing
            a_replace_of_a_missing_document_writes_nothing
            of_concurrent_replaces_exactly_one_wins
            concurrent_counting_loses_nothing
            every_write_changes_the_version_also_with_the_same_body
            documents_do_not_touch_each_other
            $($more)*
        })*
    };
}

macro_rules! all_promises {
    ($($store:ident => $factory:expr;)*) => {
        promises_of_compare_and_set! { $($store => $factory,
            what_was_never_written_is_not_listed
            a_replace_of_a_deleted_document_writes_nothing
            a_delete_at_the_right_version_removes
            a_delete_at_a_stale_version_removes_nothing
            a_delete_at_a_version_that_never_was_removes_nothing
            a_delete_of_a_missing_document_is_no_error
            of_concurrent_deletes_exactly_one_wins
            a_version_does_not_return_after_a_delete
            a_list_holds_the_prefix_in_order
            a_list_leaves_out_look_alikes
            a_list_goes_on_after_a_key
            a_list_keeps_its_limit
            a_list_follows_writes_and_deletes
            bodies_may_be_any_bytes
            bodies_may_be_empty
            bodies_may_be_a_mebibyte
            keys_may_be_as_long_and_odd_as_allowed;
        )* }
    };
}

all_promises! {
    memory => Some((MemoryStore::new(), ()));
    sqlite => Some(sqlite_file());
    blobs_by_signature => azurite::signed_store().await.map(|store| (store, ()));
    blobs_by_token => azurite::token_store().map(|store| (store, ()));
}

// It knows documents of ours alone, refuses to delete them, and has none to list.
promises_of_compare_and_set! {
    small_world => Some((ExplorationStore::new(), ())),;
}

fn sqlite_file() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::new(folder.path().join("state.db")), folder)
}

type Store = Arc<dyn StateStore>;

const CONCURRENT: usize = 16;

/// What no store makes a version of.
const NEVER_VERSIONS: [&str; 9] = ["", "0", "-1", "999999", " 1", "01", "\"0x8D\"", "*", "1 OR 1=1"];

fn key(text: &str) -> Key {
    Key::new(text)
}

async fn inserted(store: &dyn StateStore, at: &str, body: &[u8]) -> Version {
    match store.insert(&key(at), body).await.unwrap() {
        Inserted::Now(version) => version,
        Inserted::AlreadyThere => panic!("`{at}` was taken"),
    }
}

async fn replaced(store: &dyn StateStore, at: &str, version: &Version, body: &[u8]) -> Version {
    match store.replace(&key(at), version, body).await.unwrap() {
        Replaced::Now(version) => version,
        Replaced::ChangedMeanwhile => panic!("`{at}` had changed"),
    }
}

async fn read(store: &dyn StateStore, at: &str) -> Option<Stored> {
    store.read(&key(at)).await.unwrap()
}

async fn listed(store: &dyn StateStore, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(key);
    store.list(prefix, after.as_ref(), limit).await.unwrap().iter().map(ToString::to_string).collect()
}

async fn what_was_never_written_can_not_be_read(store: Store) {
    assert_eq!(read(&*store, "targets/a").await, None);
    inserted(&*store, "targets/ab", b"x").await;
    assert_eq!(read(&*store, "targets/a").await, None);
}

async fn what_was_never_written_is_not_listed(store: Store) {
    inserted(&*store, "targets/ab", b"x").await;
    assert_eq!(listed(&*store, "claims/", None, 10).await, Vec::<String>::new());
}

async fn what_was_inserted_can_be_read(store: Store) {
    let version = inserted(&*store, "targets/a", b"one").await;
    assert_eq!(read(&*store, "targets/a").await, Some(Stored { body: b"one".to_vec(), version }));
}

async fn a_second_insert_writes_nothing(store: Store) {
    let version = inserted(&*store, "claims/a", b"one").await;
    assert_eq!(store.insert(&key("claims/a"), b"two").await.unwrap(), Inserted::AlreadyThere);
    assert_eq!(store.insert(&key("claims/a"), b"one").await.unwrap(), Inserted::AlreadyThere);
    assert_eq!(read(&*store, "claims/a").await, Some(Stored { body: b"one".to_vec(), version }));
}

async fn of_concurrent_inserts_exactly_one_wins(store: Store) {
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move { store.insert(&key("claims/a"), writer.to_string().as_bytes()).await.unwrap() })
        })
        .collect();
    let mut winners = Vec::new();
    for (writer, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Inserted::Now(version) => winners.push(Stored { body: writer.to_string().into_bytes(), version }),
            Inserted::AlreadyThere => {}
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(read(&*store, "claims/a").await, winners.pop());
}

async fn a_replace_at_the_right_version_writes(store: Store) {
    let first = inserted(&*store, "targets/a", b"one").await;
    let second = replaced(&*store, "targets/a", &first, b"two").await;
    assert_eq!(read(&*store, "targets/a").await, Some(Stored { body: b"two".to_vec(), version: second.clone() }));
    let third = replaced(&*store, "targets/a", &second, b"three").await;
    assert_eq!(read(&*store, "targets/a").await, Some(Stored { body: b"three".to_vec(), version: third }));
}

async fn a_replace_at_a_stale_version_writes_nothing(store: Store) {
    let first = inserted(&*store, "targets/a", b"one").await;
    let second = replaced(&*store, "targets/a", &first, b"two").await;
    assert_eq!(store.replace(&key("targets/a"), &first, b"three").await.unwrap(), Replaced::ChangedMeanwhile);
    assert_eq!(read(&*store, "targets/a").await, Some(Stored { body: b"two".to_vec(), version: second }));
}

async fn a_replace_at_a_version_that_never_was_writes_nothing(store: Store) {
    let version = inserted(&*store, "targets/a", b"one").await;
    for never in NEVER_VERSIONS {
        let never = Version(never.to_owned());
        assert_eq!(store.replace(&key("targets/a"), &never, b"two").await.unwrap(), Replaced::ChangedMeanwhile, "{never:?}");
    }
    assert_eq!(read(&*store, "targets/a").await, Some(Stored { body: b"one".to_vec(), version }));
}

async fn a_replace_of_a_missing_document_writes_nothing(store: Store) {
    let version = inserted(&*store, "targets/a", b"one").await;
    assert_eq!(store.replace(&key("targets/b"), &version, b"two").await.unwrap(), Replaced::ChangedMeanwhile);
    assert_eq!(read(&*store, "targets/b").await, None);
}

async fn a_replace_of_a_deleted_document_writes_nothing(store: Store) {
    let version = inserted(&*store, "targets/a", b"one").await;
    assert!(store.delete(&key("targets/a"), &version).await.unwrap());
    assert_eq!(store.replace(&key("targets/a"), &version, b"two").await.unwrap(), Replaced::ChangedMeanwhile);
    assert_eq!(read(&*store, "targets/a").await, None);
}

async fn of_concurrent_replaces_exactly_one_wins(store: Store) {
    let first = inserted(&*store, "targets/a", b"start").await;
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|writer| {
            let (store, first) = (store.clone(), first.clone());
            tokio::spawn(async move { store.replace(&key("targets/a"), &first, writer.to_string().as_bytes()).await.unwrap() })
        })
        .collect();
    let mut winners = Vec::new();
    for (writer, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Replaced::Now(version) => winners.push(Stored { body: writer.to_string().into_bytes(), version }),
            Replaced::ChangedMeanwhile => {}
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(read(&*store, "targets/a").await, winners.pop());
}

async fn concurrent_counting_loses_nothing(store: Store) {
    inserted(&*store, "targets/a", b"0").await;
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let stored = read(&*store, "targets/a").await.unwrap();
                    let count: usize = String::from_utf8(stored.body).unwrap().parse().unwrap();
                    let more = (count + 1).to_string();
                    match store.replace(&key("targets/a"), &stored.version, more.as_bytes()).await.unwrap() {
                        Replaced::Now(_) => return,
                        Replaced::ChangedMeanwhile => {}
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(read(&*store, "targets/a").await.unwrap().body, CONCURRENT.to_string().as_bytes());
}

async fn a_delete_at_the_right_version_removes(store: Store) {
    let version = inserted(&*store, "outbox/a", b"one").await;
    assert!(store.delete(&key("outbox/a"), &version).await.unwrap());
    assert_eq!(read(&*store, "outbox/a").await, None);
    inserted(&*store, "outbox/a", b"two").await;
    assert_eq!(read(&*store, "outbox/a").await.unwrap().body, b"two");
}

async fn a_delete_at_a_stale_version_removes_nothing(store: Store) {
    let first = inserted(&*store, "outbox/a", b"one").await;
    let second = replaced(&*store, "outbox/a", &first, b"two").await;
    assert!(!store.delete(&key("outbox/a"), &first).await.unwrap());
    assert_eq!(read(&*store, "outbox/a").await, Some(Stored { body: b"two".to_vec(), version: second }));
}

async fn a_delete_at_a_version_that_never_was_removes_nothing(store: Store) {
    let version = inserted(&*store, "outbox/a", b"one").await;
    for never in NEVER_VERSIONS {
        assert!(!store.delete(&key("outbox/a"), &Version(never.to_owned())).await.unwrap(), "{never:?}");
    }
    assert_eq!(read(&*store, "outbox/a").await, Some(Stored { body: b"one".to_vec(), version }));
}

async fn a_delete_of_a_missing_document_is_no_error(store: Store) {
    let version = inserted(&*store, "outbox/a", b"one").await;
    assert!(!store.delete(&key("outbox/b"), &version).await.unwrap());
    assert!(store.delete(&key("outbox/a"), &version).await.unwrap());
    assert!(!store.delete(&key("outbox/a"), &version).await.unwrap());
}

async fn of_concurrent_deletes_exactly_one_wins(store: Store) {
    let version = inserted(&*store, "outbox/a", b"one").await;
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|_| {
            let (store, version) = (store.clone(), version.clone());
            tokio::spawn(async move { store.delete(&key("outbox/a"), &version).await.unwrap() })
        })
        .collect();
    let mut removed = 0;
    for task in tasks {
        removed += usize::from(task.await.unwrap());
    }
    assert_eq!(removed, 1);
    assert_eq!(read(&*store, "outbox/a").await, None);
}

async fn every_write_changes_the_version_also_with_the_same_body(store: Store) {
    let mut versions = vec![inserted(&*store, "targets/a", b"same").await];
    for _ in 0..4 {
        let next = replaced(&*store, "targets/a", versions.last().unwrap(), b"same").await;
        assert_eq!(read(&*store, "targets/a").await.unwrap().version, next);
        versions.push(next);
    }
    let different: BTreeSet<_> = versions.iter().map(|version| version.0.as_str()).collect();
    assert_eq!(different.len(), 5);
}

async fn a_version_does_not_return_after_a_delete(store: Store) {
    let first = inserted(&*store, "outbox/a", b"same").await;
    assert!(store.delete(&key("outbox/a"), &first).await.unwrap());
    let second = inserted(&*store, "outbox/a", b"same").await;
    assert_ne!(first, second);
    assert_eq!(store.replace(&key("outbox/a"), &first, b"late").await.unwrap(), Replaced::ChangedMeanwhile);
    assert!(!store.delete(&key("outbox/a"), &first).await.unwrap());
    assert_eq!(read(&*store, "outbox/a").await, Some(Stored { body: b"same".to_vec(), version: second }));
}

async fn documents_do_not_touch_each_other(store: Store) {
    let a = inserted(&*store, "targets/a", b"a").await;
    let b = inserted(&*store, "targets/b", b"b").await;
    replaced(&*store, "targets/a", &a, b"a2").await;
    assert_eq!(read(&*store, "targets/b").await, Some(Stored { body: b"b".to_vec(), version: b }));
    assert_eq!(read(&*store, "targets/a").await.unwrap().body, b"a2");
}

/// Written in an order that is not theirs.
async fn filled(store: &dyn StateStore) {
    for at in ["ab/1", "a/2", "a/10", "b/1", "a/1", "a-b/1", "a.b/1", "a_b/1", "a/1/x", "a0/1", "a"] {
        inserted(store, at, at.as_bytes()).await;
    }
}

async fn a_list_holds_the_prefix_in_order(store: Store) {
    filled(&*store).await;
    assert_eq!(listed(&*store, "a/", None, 100).await, ["a/1", "a/1/x", "a/10", "a/2"]);
    assert_eq!(
        listed(&*store, "", None, 100).await,
        ["a", "a-b/1", "a.b/1", "a/1", "a/1/x", "a/10", "a/2", "a0/1", "a_b/1", "ab/1", "b/1"]
    );
}

async fn a_list_leaves_out_look_alikes(store: Store) {
    filled(&*store).await;
    assert_eq!(listed(&*store, "a/1", None, 100).await, ["a/1", "a/1/x", "a/10"]);
    assert_eq!(listed(&*store, "ab/", None, 100).await, ["ab/1"]);
    assert_eq!(listed(&*store, "a_b", None, 100).await, ["a_b/1"]);
    assert_eq!(listed(&*store, "a.b", None, 100).await, ["a.b/1"]);
    for nothing in ["a%", "a*", "A/", "a//", "c"] {
        assert_eq!(listed(&*store, nothing, None, 100).await, Vec::<String>::new(), "{nothing}");
    }
}

async fn a_list_goes_on_after_a_key(store: Store) {
    filled(&*store).await;
    assert_eq!(listed(&*store, "a/", Some("a/1"), 100).await, ["a/1/x", "a/10", "a/2"]);
    // The key to go on after may be gone meanwhile, or lie outside the prefix.
    assert_eq!(listed(&*store, "a/", Some("a/11"), 100).await, ["a/2"]);
    assert_eq!(listed(&*store, "a/", Some("a"), 100).await, ["a/1", "a/1/x", "a/10", "a/2"]);
    assert_eq!(listed(&*store, "a/", Some("a/2"), 100).await, Vec::<String>::new());
    assert_eq!(listed(&*store, "a/", Some("b/1"), 100).await, Vec::<String>::new());
}

async fn a_list_keeps_its_limit(store: Store) {
    filled(&*store).await;
    assert_eq!(listed(&*store, "a/", None, 2).await, ["a/1", "a/1/x"]);
    assert_eq!(listed(&*store, "a/", Some("a/1/x"), 2).await, ["a/10", "a/2"]);
    assert_eq!(listed(&*store, "a/", None, 0).await, Vec::<String>::new());
    assert_eq!(listed(&*store, "a/", None, usize::MAX).await.len(), 4);
}

async fn a_list_follows_writes_and_deletes(store: Store) {
    let version = inserted(&*store, "parked/a", b"a").await;
    assert_eq!(listed(&*store, "parked/", None, 10).await, ["parked/a"]);
    inserted(&*store, "parked/b", b"b").await;
    assert_eq!(listed(&*store, "parked/", None, 10).await, ["parked/a", "parked/b"]);
    assert!(store.delete(&key("parked/a"), &version).await.unwrap());
    assert_eq!(listed(&*store, "parked/", None, 10).await, ["parked/b"]);
}

async fn bodies_may_be_any_bytes(store: Store) {
    let every: Vec<u8> = (0..=255).rev().collect();
    let version = inserted(&*store, "parked/a", &every).await;
    assert_eq!(read(&*store, "parked/a").await.unwrap().body, every);
    replaced(&*store, "parked/a", &version, b"\0\xff\xfe\r\n").await;
    assert_eq!(read(&*store, "parked/a").await.unwrap().body, b"\0\xff\xfe\r\n");
}

async fn bodies_may_be_empty(store: Store) {
    let version = inserted(&*store, "parked/a", b"").await;
    assert_eq!(read(&*store, "parked/a").await, Some(Stored { body: Vec::new(), version }));
}

async fn bodies_may_be_a_mebibyte(store: Store) {
    let large: Vec<u8> = (0..1024 * 1024_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let version = inserted(&*store, "parked/a", &large).await;
    assert!(read(&*store, "parked/a").await.unwrap().body == large);
    let reversed: Vec<u8> = large.iter().rev().copied().collect();
    replaced(&*store, "parked/a", &version, &reversed).await;
    assert!(read(&*store, "parked/a").await.unwrap().body == reversed);
}

async fn keys_may_be_as_long_and_odd_as_allowed(store: Store) {
    let long = format!("records/{}", "x".repeat(192));
    for at in [long.as_str(), "0", "a-b_c.d/e/f/g", ".a", "a..b"] {
        inserted(&*store, at, at.as_bytes()).await;
        assert_eq!(read(&*store, at).await.unwrap().body, at.as_bytes());
    }
    assert_eq!(listed(&*store, "records/", None, 10).await, [long]);
}
