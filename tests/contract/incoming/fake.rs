//! The fake of the flow tests, whose receivers take from it without this port.

use std::{sync::Arc, time::Duration};

use backout::{
    ports::{Clock, FollowUps, Incoming, LockProblem, MessageLock, PortError, Received},
    sim::clock::ManualClock,
};
use jiff::Timestamp;

use super::stage::Stage;
use crate::support::fake_queue::FakeQueue;

pub struct FakeStage {
    clock: Arc<ManualClock>,
    queue: FakeQueue,
}

impl FakeStage {
    pub fn open() -> Self {
        let clock = Arc::new(ManualClock::at("2026-03-02T03:00:00Z".parse().unwrap()));
        let queue = FakeQueue::new(clock.clone());
        Self { clock, queue }
    }
}

impl Stage for FakeStage {
    fn sender(&self) -> Arc<dyn FollowUps> {
        Arc::new(self.queue.clone())
    }

    fn incoming(&self) -> Arc<dyn Incoming> {
        Arc::new(Receiver(self.queue.clone()))
    }

    /// It gives up on nothing: whoever takes from it counts the deliveries.
    async fn dead(&self, _queue: &str) -> Vec<String> {
        Vec::new()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// Its locks end when their holder has died.
    async fn lock_ends(&self, _received: &Received) {
        self.queue.unlock_all();
    }
}

struct Receiver(FakeQueue);

#[async_trait::async_trait]
impl Incoming for Receiver {
    async fn receive(&self, queue: &str, _wait: Duration) -> Result<Option<Received>, PortError> {
        let Some((lock, message)) = self.0.take_from(queue) else { return Ok(None) };
        Ok(Some(Received {
            body: message.body,
            message_id: message.message_id,
            returns: message.returns,
            delivery_count: self.0.deliveries(lock).expect("it was locked just now"),
            locked_until: Timestamp::MAX,
            lock: Box::new(Lock { queue: self.0.clone(), lock }),
        }))
    }
}

struct Lock {
    queue: FakeQueue,
    lock: u64,
}

fn held(held: bool) -> Result<(), LockProblem> {
    if held { Ok(()) } else { Err(LockProblem::Lost) }
}

#[async_trait::async_trait]
impl MessageLock for Lock {
    /// No time ends it.
    async fn renew(&self) -> Result<(), LockProblem> {
        held(self.queue.deliveries(self.lock).is_some())
    }

    async fn complete(&self) -> Result<(), LockProblem> {
        held(self.queue.complete(self.lock))
    }

    async fn abandon(&self) -> Result<(), LockProblem> {
        held(self.queue.unlock(self.lock))
    }
}
