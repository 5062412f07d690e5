//! The fake of the flow tests.

use std::{sync::Arc, time::Duration};

use backout::{
    ports::{Clock, Platform},
    sim::clock::ManualClock,
};

use super::stage::Stage;
use crate::support::{fake_platform::FakePlatform, world::GOOD};

pub struct FakeStage {
    clock: Arc<ManualClock>,
    platform: FakePlatform,
}

impl FakeStage {
    pub fn open() -> Self {
        let clock = Arc::new(ManualClock::at("2026-03-02T03:00:00Z".parse().unwrap()));
        let platform = FakePlatform::new(clock.clone(), GOOD, "2026-03-01T01:00:00Z".parse().unwrap());
        Self { clock, platform }
    }
}

impl Stage for FakeStage {
    fn platform(&self) -> Arc<dyn Platform> {
        Arc::new(self.platform.clone())
    }

    fn nowhere(&self) -> Arc<dyn Platform> {
        let gone = FakePlatform::new(self.clock.clone(), GOOD, self.clock.now());
        gone.be_deleted();
        Arc::new(gone)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    async fn roll_out(&self, build: &str) {
        self.platform.team_swaps_in(build);
        self.pass(Duration::from_mins(1)).await;
    }

    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }
}
