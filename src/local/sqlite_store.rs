//! The store of one machine: a SQLite file that several processes may use at once.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, params};

use super::sqlite_file::SqliteFile;
use crate::ports::{Inserted, Key, PortError, Replaced, StateStore, Stored, Version};

/// Documents in the file's table `documents`. Versions come from a counter in the file, so none returns, not even after a delete.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    file: SqliteFile,
}

impl SqliteStore {
    /// Opens nothing yet: a file that cannot be used is told by the first call. Its folder is created when missing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { file: SqliteFile::at(path) }
    }
}

#[async_trait::async_trait]
impl StateStore for SqliteStore {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        let key = key.clone();
        self.file
            .read("read a document", move |connection| {
                connection
                    .prepare_cached("SELECT body, version FROM documents WHERE key = ?1")?
                    .query_row(params![key.as_str()], |row| Ok(Stored { body: row.get(0)?, version: version(row.get(1)?) }))
                    .optional()
            })
            .await
    }

    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        let (key, body) = (key.clone(), body.to_vec());
        self.file
            .write("insert a document", move |transaction| {
                let written = next_version(transaction)?;
                let rows = transaction
                    .prepare_cached(
                        "INSERT INTO documents (key, body, version) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING",
                    )?
                    .execute(params![key.as_str(), body, written])?;
                if rows == 0 {
                    return Ok(Inserted::AlreadyThere);
                }
                record_version(transaction, written)?;
                Ok(Inserted::Now(version(written)))
            })
            .await
    }

    async fn replace(&self, key: &Key, at: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        let Some(at) = number(at) else { return Ok(Replaced::ChangedMeanwhile) };
        let (key, body) = (key.clone(), body.to_vec());
        self.file
            .write("replace a document", move |transaction| {
                let written = next_version(transaction)?;
                let rows = transaction
                    .prepare_cached("UPDATE documents SET body = ?1, version = ?2 WHERE key = ?3 AND version = ?4")?
                    .execute(params![body, written, key.as_str(), at])?;
                if rows == 0 {
                    return Ok(Replaced::ChangedMeanwhile);
                }
                record_version(transaction, written)?;
                Ok(Replaced::Now(version(written)))
            })
            .await
    }

    async fn delete(&self, key: &Key, at: &Version) -> Result<bool, PortError> {
        let Some(at) = number(at) else { return Ok(false) };
        let key = key.clone();
        self.file
            .write("delete a document", move |transaction| {
                let rows = transaction
                    .prepare_cached("DELETE FROM documents WHERE key = ?1 AND version = ?2")?
                    .execute(params![key.as_str(), at])?;
                Ok(rows == 1)
            })
            .await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        let prefix = prefix.to_owned();
        let after = after.map(|key| key.as_str().to_owned());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.file
            .read("list documents", move |connection| {
                // Keys are ASCII: whatever begins with the prefix sorts before the prefix with the last character after it.
                let mut statement = connection.prepare_cached(
                    "SELECT key FROM documents
                      WHERE key >= ?1 AND key < ?1 || char(0x10FFFF) AND (?2 IS NULL OR key > ?2)
                      ORDER BY key LIMIT ?3",
                )?;
                statement.query_map(params![prefix, after, limit], |row| row.get(0).map(|key: String| Key::new(key)))?.collect()
            })
            .await
    }
}

/// What the next write will be called; given away only by [`record_version`], so that a write that did not happen costs nothing.
fn next_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT value + 1 FROM counters WHERE name = 'document version'")?.query_row([], |row| row.get(0))
}

fn record_version(connection: &Connection, written: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'document version'")?.execute([written])?;
    Ok(())
}

fn version(number: i64) -> Version {
    Version(number.to_string())
}

/// `None` for a version that this store never gave.
fn number(version: &Version) -> Option<i64> {
    version.0.parse().ok().filter(|number: &i64| number.to_string() == version.0)
}
