//! The queue of one machine: hands a message out no earlier than asked, at least once, to one receiver at a time.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{
    OptionalExtension, Row, ToSql, Transaction, params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

use super::sqlite_file::SqliteFile;
use crate::ports::{
    Clock, DeadLetter, DeadLetters, Fate, FollowUps, Incoming, LockProblem, MessageLock, PortError, PortErrorKind, QueueMessage,
    Received, Walk, WalkEnd, Wanted,
};

/// How long a received message is kept from other receivers, by the clock.
pub const LOCK: Duration = Duration::from_mins(1);

/// A message that was delivered this often and not completed becomes a dead letter, as on Service Bus.
pub const DELIVERIES_MAX: u32 = 10;

/// Real time between two looks into an empty queue.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Our queues in one SQLite file (or in memory), which several processes may use at once.
#[derive(Clone)]
pub struct EmbeddedQueue {
    file: SqliteFile,
    clock: Arc<dyn Clock>,
}

/// One delivery of one message. After its lock has ended it names nothing any more.
#[derive(Clone)]
struct Lock {
    queue: EmbeddedQueue,
    delivery: i64,
}

impl EmbeddedQueue {
    /// May be the file of the store. Opens nothing yet: a file that cannot be used is told by the first call.
    pub fn in_file(path: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { file: SqliteFile::at(path), clock }
    }

    /// Shared by its clones, gone with the last of them.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self { file: SqliteFile::in_memory(), clock }
    }

    /// When some queue has something to hand out next, a lock that nobody ends counted in. All queues are empty: `None`.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, PortError> {
        let next: Option<DueTime> = self
            .file
            .read("look for the next message", |connection| {
                connection
                    .prepare_cached("SELECT min(max(due_at, ifnull(locked_until, due_at))) FROM messages")?
                    .query_row([], |row| row.get(0))
            })
            .await?;
        Ok(next.map(DueTime::timestamp))
    }

    async fn try_receive(&self, queue: &str) -> Result<Option<Received>, PortError> {
        let operation = "receive from a queue";
        let now = self.clock.now();
        let until = DueTime::after(now, LOCK, operation)?;
        let queue = queue.to_owned();
        let received = self
            .file
            .write(operation, move |transaction| {
                bury_exhausted(transaction, &queue, now)?;
                let first: Option<i64> = transaction
                    .prepare_cached(
                        "SELECT id FROM messages
                          WHERE queue = ?1 AND due_at <= ?2 AND (locked_until IS NULL OR locked_until <= ?2)
                          ORDER BY due_at, id LIMIT 1",
                    )?
                    .query_row(params![queue, Now(now)], |row| row.get(0))
                    .optional()?;
                let Some(first) = first else { return Ok(None) };
                let delivery: i64 = transaction
                    .prepare_cached("UPDATE counters SET value = value + 1 WHERE name = 'delivery' RETURNING value")?
                    .query_row([], |row| row.get(0))?;
                transaction
                    .prepare_cached(
                        "UPDATE messages SET delivery = ?1, locked_until = ?2, delivery_count = delivery_count + 1 WHERE id = ?3
                         RETURNING delivery, body, returns, message_id, delivery_count",
                    )?
                    .query_row(params![delivery, until, first], Delivered::read)
                    .map(Some)
            })
            .await?;
        Ok(received.map(|Delivered { delivery, body, returns, message_id, delivery_count }| Received {
            body,
            message_id,
            returns,
            delivery_count,
            locked_until: until.timestamp(),
            lock: Box::new(Lock { queue: self.clone(), delivery }),
        }))
    }

    async fn letters(&self, queue: &str, limit: usize) -> Result<Vec<(i64, DeadLetter)>, PortError> {
        let now = self.clock.now();
        let queue = queue.to_owned();
        self.file
            .write("list dead letters", move |transaction| {
                bury_exhausted(transaction, &queue, now)?;
                transaction
                    .prepare_cached(
                        "SELECT id, queue, body, returns, message_id, delivery_count, reason, at
                           FROM dead_letters WHERE queue = ?1 ORDER BY id LIMIT ?2",
                    )?
                    .query_map(params![queue, i64::try_from(limit).unwrap_or(i64::MAX)], dead_letter)?
                    .collect()
            })
            .await
    }

    /// Both steps in one transaction, so the message id may stay as it is.
    async fn queue_again(&self, id: i64) -> Result<(), PortError> {
        let operation = "queue a dead letter again";
        let due = DueTime::after(self.clock.now(), Duration::ZERO, operation)?;
        self.file
            .write(operation, move |transaction| {
                transaction
                    .prepare_cached(
                        "INSERT INTO messages (queue, body, returns, message_id, due_at)
                         SELECT queue, body, returns, message_id, ?1 FROM dead_letters WHERE id = ?2",
                    )?
                    .execute(params![due, id])?;
                transaction.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?.execute([id])
            })
            .await
            .map(drop)
    }
}

#[async_trait::async_trait]
impl Incoming for EmbeddedQueue {
    async fn receive(&self, queue: &str, wait: Duration) -> Result<Option<Received>, PortError> {
        let started = Instant::now();
        loop {
            if let Some(received) = self.try_receive(queue).await? {
                return Ok(Some(received));
            }
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY.min(left)).await;
        }
    }
}

#[async_trait::async_trait]
impl MessageLock for Lock {
    async fn renew(&self) -> Result<(), LockProblem> {
        let operation = "renew the lock of a message";
        let (delivery, now) = (self.delivery, self.queue.clock.now());
        let until = DueTime::after(now, LOCK, operation)?;
        self.change(operation, move |transaction| {
            transaction
                .prepare_cached("UPDATE messages SET locked_until = ?1 WHERE delivery = ?2 AND locked_until > ?3")?
                .execute(params![until, delivery, Now(now)])
        })
        .await
    }

    async fn complete(&self) -> Result<(), LockProblem> {
        let (delivery, now) = (self.delivery, self.queue.clock.now());
        self.change("complete a message", move |transaction| {
            transaction
                .prepare_cached("DELETE FROM messages WHERE delivery = ?1 AND locked_until > ?2")?
                .execute(params![delivery, Now(now)])
        })
        .await
    }

    async fn abandon(&self) -> Result<(), LockProblem> {
        let operation = "give a message back to its queue";
        let (delivery, now) = (self.delivery, self.queue.clock.now());
        let due = DueTime::after(now, Duration::ZERO, operation)?;
        self.change(operation, move |transaction| {
            let queue: Option<String> = transaction
                .prepare_cached(
                    "UPDATE messages SET delivery = NULL, locked_until = NULL, due_at = ?1
                      WHERE delivery = ?2 AND locked_until > ?3 RETURNING queue",
                )?
                .query_row(params![due, delivery, Now(now)], |row| row.get(0))
                .optional()?;
            let Some(queue) = queue else { return Ok(0) };
            bury_exhausted(transaction, &queue, now)?;
            Ok(1)
        })
        .await
    }
}

impl Lock {
    /// `change` says how many rows it was about: none means that the lock had ended.
    async fn change(
        &self,
        operation: &'static str,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<usize> + Send + 'static,
    ) -> Result<(), LockProblem> {
        match self.queue.file.write(operation, change).await? {
            0 => Err(LockProblem::Lost),
            _ => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl DeadLetters for EmbeddedQueue {
    async fn walk(&self, queue: &str, limit: usize, wanted: &Wanted<'_>) -> Walk {
        let found = match self.letters(queue, limit.saturating_add(1)).await {
            Ok(found) => found,
            Err(error) => return Walk { letters: Vec::new(), end: WalkEnd::Failed(error) },
        };
        let end = if found.len() > limit { WalkEnd::Limit } else { WalkEnd::All };
        let mut letters = Vec::with_capacity(found.len());
        for (id, letter) in found.into_iter().take(limit) {
            let fate = if wanted(&letter) {
                self.queue_again(id).await.map_or_else(Fate::Failed, |()| Fate::QueuedAgain)
            } else {
                Fate::Left
            };
            letters.push((letter, fate));
        }
        Walk { letters, end }
    }
}

#[async_trait::async_trait]
impl FollowUps for EmbeddedQueue {
    /// A message whose `message_id` already waits in the queue is not queued again. One that is being handled right now
    /// does not count: who handles it may send it anew, and then complete what it received.
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        let operation = "send to a queue";
        let now = self.clock.now();
        let due = DueTime::after(now, delay, operation)?;
        self.file
            .write(operation, move |transaction| {
                let QueueMessage { queue, body, returns, message_id } = message;
                transaction
                    .prepare_cached(
                        "INSERT INTO messages (queue, body, returns, message_id, due_at)
                         SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (
                             SELECT 1 FROM messages
                              WHERE queue = ?1 AND message_id = ?4 AND (locked_until IS NULL OR locked_until <= ?6))",
                    )?
                    .execute(params![queue, body, returns, message_id, due, Now(now)])?;
                Ok(())
            })
            .await
    }
}

/// Moves what had its last delivery, and is not held any more, to the dead letters.
fn bury_exhausted(transaction: &Transaction<'_>, queue: &str, now: Timestamp) -> rusqlite::Result<()> {
    let exhausted = "queue = ?1 AND delivery_count >= ?2 AND (locked_until IS NULL OR locked_until <= ?3)";
    let reason = format!(
        "it was delivered {DELIVERIES_MAX} times and never completed; see the log for the cause, then replay it with \
         `backout dead-letters replay`"
    );
    let buried = transaction
        .prepare_cached(&format!(
            "INSERT INTO dead_letters (queue, body, returns, message_id, delivery_count, reason, at)
             SELECT queue, body, returns, message_id, delivery_count, ?4, ?3 FROM messages WHERE {exhausted} ORDER BY due_at, id"
        ))?
        .execute(params![queue, DELIVERIES_MAX, Now(now), reason])?;
    if buried > 0 {
        transaction.execute(&format!("DELETE FROM messages WHERE {exhausted}"), params![queue, DELIVERIES_MAX, Now(now)])?;
    }
    Ok(())
}

struct Delivered {
    delivery: i64,
    body: Vec<u8>,
    returns: u32,
    message_id: Option<String>,
    delivery_count: u32,
}

impl Delivered {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            delivery: row.get(0)?,
            body: row.get(1)?,
            returns: row.get(2)?,
            message_id: row.get(3)?,
            delivery_count: row.get(4)?,
        })
    }
}

fn dead_letter(row: &Row<'_>) -> rusqlite::Result<(i64, DeadLetter)> {
    let (number, queue): (i64, String) = (row.get(0)?, row.get(1)?);
    let letter = DeadLetter {
        id: format!("{queue}:{number}"),
        queue,
        body: row.get(2)?,
        returns: row.get(3)?,
        message_id: row.get(4)?,
        delivery_count: row.get(5)?,
        reason: row.get(6)?,
        description: None,
        enqueued_at: None,
        dead_since: Some(row.get::<_, DueTime>(7)?.timestamp()),
    };
    Ok((number, letter))
}

/// A later moment, in whole microseconds as the file keeps it; rounded up, so that nothing comes early.
#[derive(Debug, Clone, Copy)]
struct DueTime(Timestamp);

impl DueTime {
    fn after(now: Timestamp, delay: Duration, operation: &'static str) -> Result<Self, PortError> {
        SignedDuration::try_from(delay).ok().and_then(|delay| now.checked_add(delay).ok()).map(Self).ok_or_else(|| {
            PortError::new(
                operation,
                PortErrorKind::Invalid,
                format!("a delay of {} s ends after the year 9999; give a shorter one", delay.as_secs()),
            )
        })
    }

    fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl ToSql for DueTime {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let started = i64::from(self.0.subsec_nanosecond() % 1000 > 0);
        Ok((self.0.as_microsecond() + started).into())
    }
}

impl FromSql for DueTime {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let microseconds = i64::column_result(value)?;
        Timestamp::from_microsecond(microseconds).map(Self).map_err(|_| FromSqlError::OutOfRange(microseconds))
    }
}

/// This moment, rounded down, to compare a [`DueTime`] with.
#[derive(Debug, Clone, Copy)]
struct Now(Timestamp);

impl ToSql for Now {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_microsecond().into())
    }
}
