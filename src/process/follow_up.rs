//! Waking ourselves up later. The message is only a wake-up; the truth is in the documents.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::{Process, trouble::Trouble};
use crate::{
    domain::target::short_hash,
    host::delivery::Function,
    ports::{FollowUp, QueueMessage},
};

/// How long an invocation waits for a queue that is away before it gives the message back.
const BUS_WAIT: Duration = Duration::from_mins(1);

/// Delays of a message that is put back because the store or a platform was away.
const RETURN_DELAYS_SECONDS: &[u64] = &[15, 30, 60, 120, 300, 600, 900, 1800];

/// After this many returns the message is left to the host, which dead-letters it after its deliveries.
pub const RETURNS_MAX: u32 = 12;

impl Process {
    /// Schedules `follow_up` for its due time. Sent twice, it is harmless.
    pub(super) async fn schedule(&self, follow_up: &FollowUp) -> Result<(), Trouble> {
        self.schedule_as(follow_up, message_id(follow_up, "")).await
    }

    /// Schedules a wake-up that came before `due_at` anew. Its first copy is gone, so a queue that detects duplicates must not
    /// take this for a repeat of it.
    pub(super) async fn schedule_early_one(&self, follow_up: &FollowUp, due_at: Timestamp) -> Result<(), Trouble> {
        let follow_up = FollowUp { due_at, ..follow_up.clone() };
        self.schedule_as(&follow_up, message_id(&follow_up, &self.ports.clock.now().to_string())).await
    }

    async fn schedule_as(&self, follow_up: &FollowUp, message_id: String) -> Result<(), Trouble> {
        let body = serde_json::to_vec(follow_up).unwrap_or_default();
        let message =
            QueueMessage { queue: Function::FollowUps.name().to_owned(), body, returns: 0, message_id: Some(message_id) };
        self.send_patiently(message, until(self.ports.clock.now(), follow_up.due_at)).await
    }

    /// Puts the same bytes back on their queue with a growing delay.
    pub async fn put_back(&self, queue: &str, body: &[u8], returns: u32) -> Result<Duration, Trouble> {
        let index = (returns as usize).min(RETURN_DELAYS_SECONDS.len() - 1);
        let delay = Duration::from_secs(RETURN_DELAYS_SECONDS[index]);
        let message = QueueMessage { queue: queue.to_owned(), body: body.to_vec(), returns: returns + 1, message_id: None };
        self.send_patiently(message, delay).await?;
        Ok(delay)
    }

    /// Waits inside the invocation while the queue is away, up to [`BUS_WAIT`].
    pub(super) async fn send_patiently(&self, message: QueueMessage, delay: Duration) -> Result<(), Trouble> {
        let deadline = self.ports.clock.monotonic() + BUS_WAIT;
        let mut pause = Duration::from_secs(1);
        loop {
            match self.ports.follow_ups.send(message.clone(), delay).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // The last pause is cut to what is left, so that the whole wait is used.
                    let left = deadline.saturating_sub(self.ports.clock.monotonic());
                    if left.is_zero() {
                        return Err(Trouble::Bus(error));
                    }
                    warn!(queue = message.queue, %error, "the queue did not take a message; trying again");
                    self.ports.clock.sleep(pause.min(left)).await;
                    pause *= 2;
                }
            }
        }
    }
}

/// See [`QueueMessage::message_id`].
fn message_id(follow_up: &FollowUp, copy: &str) -> String {
    short_hash(&[
        &follow_up.record.0,
        follow_up.target.as_ref().map(|target| target.0.as_str()).unwrap_or_default(),
        &follow_up.step.to_string(),
        &follow_up.generation.to_string(),
        &follow_up.due_at.to_string(),
        copy,
    ])
}

/// Time until `due_at`; zero when it has passed.
pub fn until(now: Timestamp, due_at: Timestamp) -> Duration {
    Duration::try_from(due_at.duration_since(now)).unwrap_or(Duration::ZERO)
}
