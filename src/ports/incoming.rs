//! Messages that arrive on our own queues, for whoever takes them without a Functions host.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::PortError;

/// Our queues as a receiver sees them: each message at least once, to one receiver at a time.
#[async_trait::async_trait]
pub trait Incoming: Send + Sync {
    /// Locks the message that has been due longest; nobody else is handed it while its lock holds. None is due: waits for one
    /// up to `wait` of real time, then `None`. Dropped while it waits, or after an error: a message may be locked all the same,
    /// and comes again when that lock ends.
    async fn receive(&self, queue: &str, wait: Duration) -> Result<Option<Received>, PortError>;
}

/// One delivery of one message.
pub struct Received {
    pub body: Vec<u8>,
    pub message_id: Option<String>,
    /// As in [`QueueMessage::returns`](super::QueueMessage::returns); 0 if absent or unreadable.
    pub returns: u32,
    /// This delivery included: the first is 1.
    pub delivery_count: u32,
    /// When the lock ends unless it is renewed, by the queue's clock.
    pub locked_until: Timestamp,
    pub lock: Box<dyn MessageLock>,
}

/// The right to end one delivery.
///
/// A lock that is not renewed ends by itself. The message then comes again with a delivery count that is one higher; after
/// its last delivery (10, unless the queue says otherwise) it becomes a dead letter. Letting go of this value ends nothing.
#[async_trait::async_trait]
pub trait MessageLock: Send + Sync {
    /// Holds the message for the queue's whole lock duration from now on.
    async fn renew(&self) -> Result<(), LockProblem>;

    /// Takes the message out of its queue for good.
    async fn complete(&self) -> Result<(), LockProblem>;

    /// Gives the message back: it can be received again at once, or is a dead letter after its last delivery.
    async fn abandon(&self) -> Result<(), LockProblem>;
}

/// Why a delivery could not be ended or held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockProblem {
    /// The lock had ended, and nothing was changed: the message comes (or came) again.
    #[error("the lock had ended; the message comes again")]
    Lost,
    /// Whether it was done is not known.
    #[error(transparent)]
    Failed(#[from] PortError),
}

/// Without the body, which is not ours to show.
impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("message_id", &self.message_id)
            .field("returns", &self.returns)
            .field("delivery_count", &self.delivery_count)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
