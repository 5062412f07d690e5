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
    messages: Arc<Mutex<Vec<(Timestamp, QueueMessage)>>>,
}

impl FakeQueue {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, messages: Arc::default() }
    }

    pub fn next_due(&self) -> Option<Timestamp> {
        self.messages.lock().unwrap().iter().map(|(due, _)| *due).min()
    }

    /// Takes the first message that is due.
    pub fn take(&self) -> Option<QueueMessage> {
        let now = self.clock.now();
        let mut messages = self.messages.lock().unwrap();
        let index = messages.iter().enumerate().filter(|(_, (due, _))| *due <= now).min_by_key(|(_, (due, _))| *due)?.0;
        Some(messages.remove(index).1)
    }

    /// Everything scheduled is lost.
    pub fn lose_all(&self) {
        self.messages.lock().unwrap().clear();
    }

    pub fn put(&self, message: QueueMessage) {
        self.messages.lock().unwrap().push((self.clock.now(), message));
    }
}

#[async_trait::async_trait]
impl FollowUps for FakeQueue {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        let due = self.clock.now() + SignedDuration::try_from(delay).unwrap();
        self.messages.lock().unwrap().push((due, message));
        Ok(())
    }
}
