//! One SQLite file that several processes share: how it is opened, and what its errors mean for a person.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::Mutex;

use crate::ports::{PortError, PortErrorKind};

/// How long a call waits for another process that is writing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks at a file that another process is opening or closing.
const OPENING_PAUSE: Duration = Duration::from_millis(20);

/// Marks a file as ours in its header (`PRAGMA application_id`): the letters `bkot`.
const APPLICATION_ID: i32 = 0x626b_6f74;

/// Of [`SCHEMA`], kept in the file's header (`PRAGMA user_version`); 0 is a file that nobody set up yet.
const SCHEMA_VERSION: i32 = 1;

/// `counters` never go back, also when rows are deleted: a version or a lock that was given once is never given again.
const SCHEMA: &str = "
    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    INSERT INTO counters (name, value) VALUES ('document version', 0), ('delivery', 0);

    CREATE TABLE documents (key TEXT PRIMARY KEY, body BLOB NOT NULL, version INTEGER NOT NULL) STRICT;

    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL,
        body BLOB NOT NULL,
        returns INTEGER NOT NULL,
        message_id TEXT,
        due_at INTEGER NOT NULL,
        delivery_count INTEGER NOT NULL DEFAULT 0,
        delivery INTEGER UNIQUE,
        locked_until INTEGER
    ) STRICT;
    CREATE INDEX messages_by_due_time ON messages (queue, due_at, id);
    CREATE INDEX messages_by_message_id ON messages (queue, message_id) WHERE message_id IS NOT NULL;

    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY,
        queue TEXT NOT NULL,
        body BLOB NOT NULL,
        returns INTEGER NOT NULL,
        message_id TEXT,
        delivery_count INTEGER NOT NULL,
        reason TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX dead_letters_by_queue ON dead_letters (queue, id);
";

/// A handle on the file; clones share its one connection. Nothing is opened before the first use.
#[derive(Debug, Clone)]
pub(super) struct SqliteFile {
    place: Arc<Place>,
    /// Waited for outside the thread that works with it, so that no more threads are started than have work.
    connection: Arc<Mutex<Option<Connection>>>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Memory,
}

impl SqliteFile {
    pub(super) fn at(path: impl Into<PathBuf>) -> Self {
        Self::in_place(Place::File(path.into()))
    }

    /// A database of its own, gone with its last handle.
    pub(super) fn in_memory() -> Self {
        Self::in_place(Place::Memory)
    }

    fn in_place(place: Place) -> Self {
        Self { place: Arc::new(place), connection: Arc::default() }
    }

    /// Sees one state of the file, and changes nothing.
    pub(super) async fn read<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, PortError> {
        self.run(operation, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            work(&transaction)
        })
        .await
    }

    /// All or nothing, alone among all processes; on disk when it returns `Ok`.
    pub(super) async fn write<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, PortError> {
        self.run(operation, |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })
        .await
    }

    async fn run<R: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<R> + Send + 'static,
    ) -> Result<R, PortError> {
        let place = Arc::clone(&self.place);
        let mut slot = Arc::clone(&self.connection).lock_owned().await;
        let finished = tokio::task::spawn_blocking(move || {
            let open = match slot.as_mut() {
                Some(open) => open,
                None => slot.insert(place.open().map_err(|trouble| trouble.tell(operation, &place))?),
            };
            work(open).map_err(|error| {
                // The file may have been put right or replaced meanwhile; what is only in memory stays.
                if matches!(*place, Place::File(_)) && is_broken(&error) {
                    *slot = None;
                }
                Trouble::Sqlite(error).tell(operation, &place)
            })
        })
        .await;
        match finished {
            Ok(result) => result,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(PortError::new(
                    operation,
                    PortErrorKind::Transient,
                    "the process is ending, and this was not tried any more; start it again",
                )),
            },
        }
    }
}

/// Why the file could not be used.
#[derive(Debug)]
enum Trouble {
    Sqlite(rusqlite::Error),
    Folder(PathBuf, std::io::Error),
    /// The path itself is at fault: a whole sentence.
    Path(&'static str),
    OtherProgram,
    Newer(i32),
    NoWriteAheadLog(String),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Place {
    fn open(&self) -> Result<Connection, Trouble> {
        match self {
            Self::Memory => {
                let mut connection = Connection::open_in_memory()?;
                set_up(&mut connection)?;
                Ok(connection)
            }
            Self::File(path) => open_file(path),
        }
    }
}

fn open_file(path: &Path) -> Result<Connection, Trouble> {
    // SQLite takes both for a database that is gone when it is closed.
    if path.as_os_str().is_empty() || path == Path::new(":memory:") {
        return Err(Trouble::Path("this names no file; name one, such as `/var/lib/backout/state.db`"));
    }
    if path.is_dir() {
        return Err(Trouble::Path("this is a folder; name a file inside it, such as `state.db`"));
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| Trouble::Folder(folder.to_owned(), error))?;
    }
    // While the first process switches the file to its write-ahead log, or the last one leaves it, SQLite answers
    // "busy" to others without waiting for its own time-out.
    let started = Instant::now();
    loop {
        match try_open_file(path) {
            Err(Trouble::Sqlite(error)) if is_busy(&error) && started.elapsed() < BUSY_TIMEOUT => thread::sleep(OPENING_PAUSE),
            opened => return opened,
        }
    }
}

fn try_open_file(path: &Path) -> Result<Connection, Trouble> {
    // Without `SQLITE_OPEN_URI`: a path is a path, also one that begins with `file:`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let state = look(&connection)?;
    // SQLite opens what it may not write for reading only. That is enough for a history; a write says so by itself.
    if matches!(state, FileState::Ready) && connection.is_readonly("main")? {
        return Ok(connection);
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Trouble::NoWriteAheadLog(mode));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On macOS a plain sync may leave the bytes in the drive's cache; no effect elsewhere.
    connection.pragma_update(None, "fullfsync", true)?;
    set_up(&mut connection)?;
    Ok(connection)
}

enum FileState {
    Empty,
    Ready,
}

fn set_up(connection: &mut Connection) -> Result<(), Trouble> {
    if matches!(look(connection)?, FileState::Ready) {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been first.
    if matches!(look(&transaction)?, FileState::Empty) {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Changes nothing, so that a file of another program is left as it was.
fn look(connection: &Connection) -> Result<FileState, Trouble> {
    let (application, version, tables) = connection.query_row(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
           FROM pragma_application_id, pragma_user_version",
        [],
        |row| Ok((row.get::<_, i32>(0)?, row.get::<_, i32>(1)?, row.get::<_, i64>(2)?)),
    )?;
    match (application, version) {
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(FileState::Ready),
        (APPLICATION_ID, newer) if newer > SCHEMA_VERSION => Err(Trouble::Newer(newer)),
        (0, 0) if tables == 0 => Ok(FileState::Empty),
        _ => Err(Trouble::OtherProgram),
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The connection itself may be at fault, so that the next call had better open the file again.
fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
        )
    )
}

impl Trouble {
    fn tell(self, operation: &'static str, place: &Place) -> PortError {
        let file = match place {
            Place::File(path) => format!("`{}`", path.display()),
            Place::Memory => "the database in memory".to_owned(),
        };
        let (kind, says) = match self {
            Self::Sqlite(error) => sqlite_sentence(&error),
            Self::Folder(folder, error) => (
                PortErrorKind::Denied,
                format!("its folder `{}` cannot be created ({error}); create it, or name another path", folder.display()),
            ),
            Self::Path(sentence) => (PortErrorKind::Invalid, sentence.to_owned()),
            Self::OtherProgram => {
                (PortErrorKind::Invalid, "this is a database of another program; name a file of backout's own".to_owned())
            }
            Self::Newer(version) => (
                PortErrorKind::Invalid,
                format!(
                    "this file has schema version {version}, and this backout knows {SCHEMA_VERSION} only; \
                     use the newer backout that wrote it, or name another file"
                ),
            ),
            Self::NoWriteAheadLog(mode) => (
                PortErrorKind::Invalid,
                format!(
                    "SQLite cannot keep a write-ahead log here (it stays in mode `{mode}`); put the file on a local disk, \
                     not on a network share"
                ),
            ),
        };
        PortError::new(operation, kind, format!("{file}: {says}"))
    }
}

fn sqlite_sentence(error: &rusqlite::Error) -> (PortErrorKind, String) {
    let Some(code) = error.sqlite_error_code() else {
        // Not SQLite's own: a value in the file has another type or range than ours. Its text may quote the value.
        return (
            PortErrorKind::Invalid,
            "a value in it was not written by backout; restore the file from a backup, or name another one".to_owned(),
        );
    };
    let (kind, sentence) = match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            (PortErrorKind::Transient, "another process held the file locked all the time; end the one that hangs, or try again")
        }
        ErrorCode::DiskFull => (PortErrorKind::Transient, "the disk is full; free some space, then try again"),
        ErrorCode::SystemIoFailure => {
            (PortErrorKind::Transient, "the disk failed to read or write; see the system's log about the disk, then try again")
        }
        ErrorCode::OutOfMemory => (PortErrorKind::Transient, "there is not enough memory; free some, then try again"),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => (
            PortErrorKind::Denied,
            "the file is read-only for this user; give the right to write to the file and its folder, or name another path",
        ),
        ErrorCode::CannotOpen => {
            (PortErrorKind::Denied, "the file cannot be opened; check the path, and the rights on the file and its folder")
        }
        ErrorCode::NotADatabase => {
            (PortErrorKind::Invalid, "this file is not a SQLite database; name another path, or move the file away")
        }
        ErrorCode::DatabaseCorrupt => {
            (PortErrorKind::Invalid, "the database is damaged; restore the file from a backup, or move it away to start anew")
        }
        _ => return (PortErrorKind::Invalid, format!("SQLite says no ({error}); this is a bug in backout, please report it")),
    };
    (kind, sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn told(error: rusqlite::Error) -> PortError {
        Trouble::Sqlite(error).tell("try it", &Place::File("state.db".into()))
    }

    fn connection(file: &SqliteFile) -> tokio::sync::MutexGuard<'_, Option<Connection>> {
        file.connection.try_lock().unwrap()
    }

    #[tokio::test]
    async fn every_commit_waits_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::at(folder.path().join("state.db"));
        let (mode, synchronous, timeout) = file
            .read("look", |connection| {
                connection.query_row(
                    "SELECT journal_mode, synchronous, timeout FROM pragma_journal_mode, pragma_synchronous, pragma_busy_timeout",
                    [],
                    |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
                )
            })
            .await
            .unwrap();
        // 2 is FULL.
        assert_eq!((mode.as_str(), synchronous, timeout), ("wal", 2, 10_000));
    }

    #[tokio::test]
    async fn a_failed_write_leaves_nothing_behind() {
        let file = SqliteFile::in_memory();
        let error = file
            .write("try it", |transaction| {
                transaction.execute("INSERT INTO documents (key, body, version) VALUES ('a', x'00', 1)", [])?;
                transaction.execute("INSERT INTO documents (key, body, version) VALUES ('b', x'00', 'text')", [])
            })
            .await
            .unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Invalid);
        let rows: i64 = file
            .read("look", |connection| connection.query_row("SELECT count(*) FROM documents", [], |row| row.get(0)))
            .await
            .unwrap();
        assert_eq!(rows, 0);
    }

    #[tokio::test]
    async fn a_file_locked_by_another_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let file = SqliteFile::at(&path);
        let write = || file.write("try it", |transaction| transaction.execute("UPDATE counters SET value = value + 1", []));
        write().await.unwrap();
        connection(&file).as_ref().unwrap().busy_timeout(Duration::ZERO).unwrap();
        let mut other = Connection::open(&path).unwrap();
        let held = other.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        let error = write().await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Transient);
        assert!(error.says.ends_with("another process held the file locked all the time; end the one that hangs, or try again"));
        drop(held);
        write().await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_says_so_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile::at(folder.path().join("state.db"));
        let insert = |key: &'static str, bytes: usize| {
            file.write("try it", move |transaction| {
                transaction.execute(
                    "INSERT INTO documents (key, body, version) VALUES (?1, ?2, 1)",
                    rusqlite::params![key, vec![0_u8; bytes]],
                )
            })
        };
        insert("a", 10).await.unwrap();
        // A bound on the file's pages ends a write as a full disk does.
        let pages: i64 = connection(&file).as_ref().unwrap().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection(&file)
            .as_ref()
            .unwrap()
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .unwrap();
        let error = insert("b", 100_000).await.unwrap_err();
        assert_eq!(error.kind, PortErrorKind::Transient);
        assert!(error.says.ends_with("the disk is full; free some space, then try again"), "{error}");
        let keys: Vec<String> = file
            .read("look", |connection| {
                connection.prepare("SELECT key FROM documents")?.query_map([], |row| row.get(0))?.collect()
            })
            .await
            .unwrap();
        assert_eq!(keys, ["a"]);
    }

    #[tokio::test]
    async fn a_read_only_file_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        SqliteFile::at(&path).write("set up", |_| Ok(())).await.unwrap();
        let read_only = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let error = told(read_only.execute("DELETE FROM documents", []).unwrap_err());
        assert_eq!(error.kind, PortErrorKind::Denied);
        assert_eq!(
            error.says,
            "`state.db`: the file is read-only for this user; give the right to write to the file and its folder, or name another path"
        );
    }

    #[test]
    fn every_code_has_the_kind_that_its_caller_acts_on() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, PortErrorKind::Transient),
            (ffi::SQLITE_FULL, PortErrorKind::Transient),
            (ffi::SQLITE_IOERR, PortErrorKind::Transient),
            (ffi::SQLITE_NOMEM, PortErrorKind::Transient),
            (ffi::SQLITE_READONLY, PortErrorKind::Denied),
            (ffi::SQLITE_CANTOPEN, PortErrorKind::Denied),
            (ffi::SQLITE_NOTADB, PortErrorKind::Invalid),
            (ffi::SQLITE_CORRUPT, PortErrorKind::Invalid),
            (ffi::SQLITE_CONSTRAINT, PortErrorKind::Invalid),
        ] {
            let error = told(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(error.kind, kind, "{error}");
            assert_eq!(error.operation, "try it");
            assert!(error.says.starts_with("`state.db`: "), "{error}");
        }
    }
}
