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
    deliveries: u64,
}

struct Queued {
    due: Timestamp,
    /// How often it was handed out.
    deliveries: u32,
    /// The delivery that holds it.
    lock: Option<u64>,
    message: QueueMessage,
}

impl FakeQueue {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, messages: Arc::default() }
    }

    pub fn next_due(&self) -> Option<Timestamp> {
        self.messages.lock().unwrap().queued.iter().filter(|queued| queued.lock.is_none()).map(|queued| queued.due).min()
    }

    /// Locks the first message that is due, of whichever queue, and names the lock; the message stays until it is completed.
    pub fn take(&self) -> Option<(u64, QueueMessage)> {
        self.take_where(|_| true)
    }

    /// The same of one queue alone.
    pub fn take_from(&self, queue: &str) -> Option<(u64, QueueMessage)> {
        self.take_where(|message| message.queue == queue)
    }

    fn take_where(&self, is_wanted: impl Fn(&QueueMessage) -> bool) -> Option<(u64, QueueMessage)> {
        let now = self.clock.now();
        let mut messages = self.messages.lock().unwrap();
        let lock = messages.deliveries + 1;
        let due = messages.queued.iter_mut().filter(|queued| queued.lock.is_none() && queued.due <= now);
        let first = due.filter(|queued| is_wanted(&queued.message)).min_by_key(|queued| queued.due)?;
        first.lock = Some(lock);
        first.deliveries += 1;
        let message = first.message.clone();
        messages.deliveries = lock;
        Some((lock, message))
    }

    /// How often the message under a lock was handed out, this time included; `None` once the lock has ended.
    pub fn deliveries(&self, lock: u64) -> Option<u32> {
        let messages = self.messages.lock().unwrap();
        messages.queued.iter().find(|queued| queued.lock == Some(lock)).map(|queued| queued.deliveries)
    }

    /// `false`: the lock had ended, and the message stays.
    pub fn complete(&self, lock: u64) -> bool {
        let mut messages = self.messages.lock().unwrap();
        let held = messages.queued.iter().position(|queued| queued.lock == Some(lock));
        held.map(|place| messages.queued.remove(place)).is_some()
    }

    /// The lock of one message ends: it is handed out again. `false`: it had ended before.
    pub fn unlock(&self, lock: u64) -> bool {
        let mut messages = self.messages.lock().unwrap();
        let held = messages.queued.iter_mut().find(|queued| queued.lock == Some(lock));
        held.map(|queued| queued.lock = None).is_some()
    }

    /// Everything that lies in the queue, and when it is due.
    pub fn queued(&self) -> Vec<(Timestamp, QueueMessage)> {
        self.messages.lock().unwrap().queued.iter().map(|queued| (queued.due, queued.message.clone())).collect()
    }

    /// Every lock ends: whoever held one has died.
    pub fn unlock_all(&self) {
        for queued in &mut self.messages.lock().unwrap().queued {
            queued.lock = None;
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
        self.messages.lock().unwrap().queued.push(Queued { due, deliveries: 0, lock: None, message });
        Ok(())
    }
}
