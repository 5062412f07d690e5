//! The fake of the exhaustive exploration, undisturbed.

use std::{sync::Arc, time::Duration};

use backout::ports::{Clock, Platform};

use super::stage::Stage;
use crate::{
    simulation::explore::undisturbed::{UndisturbedWorld, WayKind},
    support::policy::service,
};

pub struct ExplorationStage {
    world: UndisturbedWorld,
}

impl ExplorationStage {
    pub fn of(way: WayKind) -> Self {
        Self { world: UndisturbedWorld::new(way) }
    }
}

impl Stage for ExplorationStage {
    fn platform(&self) -> Arc<dyn Platform> {
        self.world.platforms().of(&self.world.target())
    }

    fn nowhere(&self) -> Arc<dyn Platform> {
        self.world.platforms().of(&service("in no world").target)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.world.clock()
    }

    async fn roll_out(&self, build: &str) {
        self.world.roll_out(build);
        self.pass(Duration::from_mins(1)).await;
    }

    async fn pass(&self, span: Duration) {
        self.world.pass(span);
    }

    async fn play(&self, story: impl Future<Output = ()>) {
        self.world.play(story);
    }
}
