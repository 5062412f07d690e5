//! What a promise needs beyond the port: the people around a target, and time.

use std::{sync::Arc, time::Duration};

use backout::ports::{Clock, Platform};

/// A target that has served one build for long.
pub trait Stage {
    /// Its platform, as a process reaches it that has just started.
    fn platform(&self) -> Arc<dyn Platform>;

    /// The same platform where no such target is.
    fn nowhere(&self) -> Arc<dyn Platform>;

    fn clock(&self) -> Arc<dyn Clock>;

    /// Somebody else rolls out a build, and it serves.
    async fn roll_out(&self, build: &str);

    async fn pass(&self, span: Duration);

    /// Lets a story happen in the time of this stage.
    async fn play(&self, story: impl Future<Output = ()>) {
        story.await;
    }
}
