//! The fake of the simulation, in calm weather.

use std::{sync::Arc, time::Duration};

use backout::{
    domain::target::{PlatformKind, Target},
    ports::{Clock, Platform, Platforms},
};

use super::stage::Stage;
use crate::{
    contract::calm::CalmWorld,
    simulation::timeline::{around::SkewedClock, platform::FaultyPlatforms, story::Story, time::MINUTE},
    support::policy::service,
};

/// One target of a story.
pub struct TimelineStage {
    world: CalmWorld,
    site: usize,
    target: Target,
}

impl TimelineStage {
    /// In the first story that has a target of this kind.
    pub fn of(kind: PlatformKind) -> Self {
        let with_one = |seed: u64| {
            let story = Story::of(seed);
            let site = story.services.iter().position(|service| service.target.platform() == kind)?;
            Some((seed, site, story))
        };
        let (seed, site, story) = (0..).find_map(with_one).expect("a story with such a target");
        let target = story.services[site].target.clone();
        Self { world: CalmWorld::of(story, seed), site, target }
    }

    fn of_target(&self, target: &Target) -> Arc<dyn Platform> {
        FaultyPlatforms(self.world.handle.clone()).of(target)
    }
}

impl Stage for TimelineStage {
    fn platform(&self) -> Arc<dyn Platform> {
        self.of_target(&self.target)
    }

    fn nowhere(&self) -> Arc<dyn Platform> {
        self.of_target(&service("in no story").target)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SkewedClock(self.world.handle.clone()))
    }

    async fn roll_out(&self, build: &str) {
        let number = build.trim_start_matches("build-").parse().expect("a build with a number");
        self.world.handle.with(|world| world.team_deploys(self.site, number, MINUTE));
        self.pass(Duration::from_mins(2)).await;
    }

    async fn pass(&self, span: Duration) {
        self.world.pass(span).await;
    }

    async fn play(&self, story: impl Future<Output = ()>) {
        self.world.play(story);
    }
}
