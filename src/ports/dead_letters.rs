//! Messages that a queue gave up on, for a person.

use std::fmt;

use jiff::Timestamp;

use super::PortError;

/// The dead letters of our queues.
#[async_trait::async_trait]
pub trait DeadLetters: Send + Sync {
    /// Looks at up to `limit` dead letters of `queue`, oldest first, and queues those again that `wanted` says yes to: first the
    /// message is sent, due at once and with all its deliveries before it, then the letter is taken away. A crash in between
    /// leaves both, which is harmless: nothing of ours happens twice because a message does.
    ///
    /// Where the queue can only be looked at by receiving, each letter is kept from others until the end of the walk, and
    /// its delivery count rises. Nothing is lost by that: a dead letter has no last delivery.
    async fn walk(&self, queue: &str, limit: usize, wanted: &Wanted<'_>) -> Walk;
}

/// Whether a letter is to be queued again.
pub type Wanted<'a> = dyn Fn(&DeadLetter) -> bool + Send + Sync + 'a;

#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// `QUEUE:NUMBER`: names the letter for as long as it is there.
    pub id: String,
    pub queue: String,
    pub body: Vec<u8>,
    pub message_id: Option<String>,
    /// As in [`QueueMessage::returns`](super::QueueMessage::returns).
    pub returns: u32,
    pub delivery_count: u32,
    /// Such as `MaxDeliveryCountExceeded`, or a sentence.
    pub reason: String,
    pub description: Option<String>,
    /// When it came into its queue, where the queue tells.
    pub enqueued_at: Option<Timestamp>,
    /// When the queue gave up on it, where the queue tells.
    pub dead_since: Option<Timestamp>,
}

/// What became of one letter in a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It was not wanted, and lies where it was.
    Left,
    QueuedAgain,
    /// It lies where it was; it may be queued again all the same.
    Failed(PortError),
}

#[derive(Debug)]
pub struct Walk {
    pub letters: Vec<(DeadLetter, Fate)>,
    pub end: WalkEnd,
}

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkEnd {
    /// There are no more.
    All,
    /// There may be more: the limit was reached, or it took so long that the first letter came round again.
    Limit,
    Failed(PortError),
}

/// Without the body, which is not ours to show.
impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.id)
            .field("reason", &self.reason)
            .field("delivery_count", &self.delivery_count)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
