//! What a promise needs beyond the ports: time, and what a queue gave up on.

use std::{sync::Arc, time::Duration};

use backout::ports::{FollowUps, Incoming, Received};
use jiff::Timestamp;

/// Queues in which nothing lies.
pub trait Stage {
    fn sender(&self) -> Arc<dyn FollowUps>;

    fn incoming(&self) -> Arc<dyn Incoming>;

    /// The bodies of the dead letters of one queue, oldest first.
    async fn dead(&self, queue: &str) -> Vec<String>;

    fn now(&self) -> Timestamp;

    async fn pass(&self, span: Duration);

    /// Whoever was handed a message does nothing with it until its lock ends.
    async fn lock_ends(&self, received: &Received) {
        self.pass_until(received.locked_until).await;
    }

    async fn pass_until(&self, moment: Timestamp) {
        self.pass(moment.duration_since(self.now()).try_into().expect("a moment to come")).await;
    }

    /// Lets a story happen in the time of this stage.
    async fn play(&self, story: impl Future<Output = ()>) {
        story.await;
    }
}
