//! A queue that hands out what is due, and may lose or repeat it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backout::ports::{Clock, FollowUps, PortError, QueueMessage};
use jiff::{SignedDuration, Timestamp};

#[derive(Clone)]
pub struct FakeQueue {
    clock: Arc<dyn Clock>,
    messages: Arc<Mutex<Messages>>,
}

#[derive(Default)]
struct Messages {
    queued: Vec<Queued>,
    next_id: u64,
}

struct Queued {
    id: u64,
    due: Timestamp,
    locked: bool,
    message: QueueMessage,
}

impl FakeQueue {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, messages: Arc::default() }
    }

    pub fn next_due(&self) -> Option<Timestamp> {
        self.messages.lock().unwrap().queued.iter().filter(|queued| !queued.locked).map(|queued| queued.due).min()
    }

    /// Locks the first message that is due; it stays until it is completed.
    pub fn take(&self) -> Option<(u64, QueueMessage)> {
        let now = self.clock.now();
        let mut messages = self.messages.lock().unwrap();
        let first =
            messages.queued.iter_mut().filter(|queued| !queued.locked && queued.due <= now).min_by_key(|queued| queued.due)?;
        first.locked = true;
        Some((first.id, first.message.clone()))
    }

    pub fn complete(&self, id: u64) {
        self.messages.lock().unwrap().queued.retain(|queued| queued.id != id);
    }

    /// The lock of one message ends: it is handed out again.
    pub fn unlock(&self, id: u64) {
        for queued in self.messages.lock().unwrap().queued.iter_mut().filter(|queued| queued.id == id) {
            queued.locked = false;
        }
    }

    /// Everything that lies in the queue, and when it is due.
    pub fn queued(&self) -> Vec<(Timestamp, QueueMessage)> {
        self.messages.lock().unwrap().queued.iter().map(|queued| (queued.due, queued.message.clone())).collect()
    }

    /// Every lock ends: whoever held one has died.
    pub fn unlock_all(&self) {
        for queued in &mut self.messages.lock().unwrap().queued {
            queued.locked = false;
        }
    }

    /// Everything scheduled is lost.
    pub fn lose_all(&self) {
        self.messages.lock().unwrap().queued.clear();
    }
}

#[async_trait::async_trait]
impl FollowUps for FakeQueue {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        let due = self.clock.now() + SignedDuration::try_from(delay).unwrap();
        let mut messages = self.messages.lock().unwrap();
        messages.next_id += 1;
        let id = messages.next_id;
        messages.queued.push(Queued { id, due, locked: false, message });
        Ok(())
    }
}
