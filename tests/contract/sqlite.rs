//! What the SQLite store promises beyond the port: a file that lasts, is shared, and is refused with a sentence.

use std::{path::Path, sync::Arc};

use backout::{
    local::{embedded_queue::EmbeddedQueue, sqlite_store::SqliteStore},
    ports::{FollowUps, Incoming, Inserted, Key, PortError, PortErrorKind, QueueMessage, Replaced, StateStore, Stored},
    sim::clock::ManualClock,
};
use rusqlite::Connection;

fn key(text: &str) -> Key {
    Key::new(text)
}

async fn refusal(path: &Path) -> PortError {
    SqliteStore::new(path).insert(&key("targets/a"), b"x").await.unwrap_err()
}

#[tokio::test]
async fn a_file_that_is_opened_again_has_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/state.db");
    let store = SqliteStore::new(&path);
    assert!(!path.exists(), "opened before the first use");
    let Inserted::Now(first) = store.insert(&key("targets/a"), b"one").await.unwrap() else { panic!("taken") };
    let Inserted::Now(gone) = store.insert(&key("targets/b"), b"gone").await.unwrap() else { panic!("taken") };
    assert!(store.delete(&key("targets/b"), &gone).await.unwrap());
    drop(store);

    let store = SqliteStore::new(&path);
    assert_eq!(store.read(&key("targets/a")).await.unwrap(), Some(Stored { body: b"one".to_vec(), version: first.clone() }));
    assert_eq!(store.list("", None, 10).await.unwrap(), [key("targets/a")]);
    let Inserted::Now(again) = store.insert(&key("targets/b"), b"gone").await.unwrap() else { panic!("taken") };
    assert_ne!(again, gone, "a version returned after the file was opened again");
    assert_eq!(store.insert(&key("targets/a"), b"two").await.unwrap(), Inserted::AlreadyThere);
}

#[tokio::test]
async fn two_handles_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let (one, other) = (SqliteStore::new(&path), SqliteStore::new(&path));
    let Inserted::Now(first) = one.insert(&key("targets/a"), b"one").await.unwrap() else { panic!("taken") };
    assert_eq!(other.insert(&key("targets/a"), b"two").await.unwrap(), Inserted::AlreadyThere);
    let Replaced::Now(second) = other.replace(&key("targets/a"), &first, b"two").await.unwrap() else { panic!("changed") };
    assert_eq!(one.replace(&key("targets/a"), &first, b"three").await.unwrap(), Replaced::ChangedMeanwhile);
    assert_eq!(one.read(&key("targets/a")).await.unwrap(), Some(Stored { body: b"two".to_vec(), version: second }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn handles_that_create_the_file_at_once_agree() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let path = folder.path().join(format!("{round}.db"));
        let tasks: Vec<_> = (0..8)
            .map(|writer| {
                let store = SqliteStore::new(&path);
                tokio::spawn(async move {
                    let mine = store.insert(&key(&format!("records/{writer}")), b"x").await.unwrap();
                    assert!(matches!(mine, Inserted::Now(_)));
                    store.insert(&key("claims/a"), writer.to_string().as_bytes()).await.unwrap()
                })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            won += usize::from(matches!(task.await.unwrap(), Inserted::Now(_)));
        }
        assert_eq!(won, 1);
        assert_eq!(SqliteStore::new(&path).list("records/", None, 100).await.unwrap().len(), 8);
    }
}

#[tokio::test]
async fn the_file_has_a_write_ahead_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    SqliteStore::new(&path).insert(&key("targets/a"), b"x").await.unwrap();
    let mode: String = Connection::open(&path).unwrap().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_store_and_a_queue_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let clock = Arc::new(ManualClock::at("2026-11-25T10:00:00Z".parse().unwrap()));
    let (store, queue) = (SqliteStore::new(&path), EmbeddedQueue::in_file(&path, clock));
    let message = QueueMessage { queue: "alerts".to_owned(), body: b"message".to_vec(), returns: 0, message_id: None };
    queue.send(message, std::time::Duration::ZERO).await.unwrap();
    store.insert(&key("targets/a"), b"document").await.unwrap();
    assert_eq!(queue.receive("alerts", std::time::Duration::ZERO).await.unwrap().unwrap().body, b"message");
    assert_eq!(store.list("", None, 10).await.unwrap(), [key("targets/a")]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let text = "version: 1\n".repeat(200);
    std::fs::write(&path, &text).unwrap();
    let error = refusal(&path).await;
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert_eq!(
        error.says,
        format!("`{}`: this file is not a SQLite database; name another path, or move the file away", path.display())
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    // Put right meanwhile: the same handle goes on.
    let store = SqliteStore::new(&path);
    assert_eq!(store.read(&key("targets/a")).await.unwrap_err().kind, PortErrorKind::Invalid);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(store.read(&key("targets/a")).await.unwrap(), None);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    SqliteStore::new(&path).insert(&key("targets/a"), b"x").await.unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let error = refusal(&path).await;
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert_eq!(
        error.says,
        format!(
            "`{}`: this file has schema version 2, and this backout knows 1 only; use the newer backout that wrote it, or name another file",
            path.display()
        )
    );
    let rows: i64 = Connection::open(&path).unwrap().query_row("SELECT count(*) FROM documents", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE orders (id INTEGER)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = refusal(&path).await;
    assert_eq!(error.kind, PortErrorKind::Invalid);
    assert!(error.says.contains("another program"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn paths_that_name_no_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "x").unwrap();
    for (path, part) in [
        (Path::new("").to_owned(), "names no file"),
        (Path::new(":memory:").to_owned(), "names no file"),
        (folder.path().to_owned(), "this is a folder"),
        (folder.path().join("file/state.db"), "cannot be created"),
    ] {
        let error = refusal(&path).await;
        assert!(error.says.contains(part), "{error}");
        assert_ne!(error.kind, PortErrorKind::Transient, "{error}");
    }
}
