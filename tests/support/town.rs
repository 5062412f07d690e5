//! Several sites in one world, each with its own platform state and measurements.

use std::{collections::BTreeMap, sync::Arc};

use backout::{
    domain::{
        policy::Policy,
        resource_id::ResourceId,
        series::{EvidenceMetric, Series},
        target::Target,
    },
    ports::{Clock, Platform, Platforms, PortError, Telemetry},
};
use jiff::{SignedDuration, Timestamp};

use super::{
    fake_platform::FakePlatform,
    fake_telemetry::FakeTelemetry,
    world::{BAD, GOOD, World},
};

/// A world whose every service has a site of its own; each has run the good build since a day, and was seen to.
pub struct Town {
    pub world: World,
    sites: Arc<BTreeMap<String, Arc<FakePlatform>>>,
    signals: Arc<BTreeMap<String, FakeTelemetry>>,
}

impl Town {
    pub async fn of(policy: Policy) -> Self {
        let mut world = World::with(policy);
        let clock: Arc<dyn Clock> = world.clock.clone();
        let since = world.now() - SignedDuration::from_hours(26);
        let names = || world.policy.services.values().map(|service| site_of(&service.target).to_owned());
        let sites: Arc<BTreeMap<_, _>> =
            Arc::new(names().map(|name| (name, Arc::new(FakePlatform::new(clock.clone(), GOOD, since)))).collect());
        let signals: Arc<BTreeMap<_, _>> = Arc::new(names().map(|name| (name, FakeTelemetry::default())).collect());
        world.ports.platforms = Arc::new(Sites(Arc::clone(&sites)));
        world.ports.telemetry = Arc::new(Signals(Arc::clone(&signals)));
        let town = Self { world, sites, signals };
        town.world.process().sweep(&town.world.policy).await.unwrap();
        town.world.advance(SignedDuration::from_mins(40));
        town
    }

    pub fn site(&self, name: &str) -> &FakePlatform {
        &self.sites[name]
    }

    /// The bad build is swapped in, now.
    pub fn deploy_bad(&self, name: &str) {
        self.sites[name].team_swaps_in(BAD);
    }

    /// From now on requests fail there, whatever runs.
    pub fn requests_fail(&self, name: &str) {
        self.signals[name].from(self.world.now(), Some(0.31));
    }

    /// From now on none do.
    pub fn requests_work(&self, name: &str) {
        self.signals[name].from(self.world.now(), Some(0.001));
    }

    pub fn minutes_pass(&self, count: i64) {
        self.world.advance(SignedDuration::from_mins(count));
    }

    /// Calls that were sent, to every site.
    pub fn calls(&self) -> u32 {
        self.sites.values().map(|site| site.calls()).sum()
    }

    pub fn effects(&self) -> u32 {
        self.sites.values().map(|site| site.effects()).sum()
    }
}

struct Sites(Arc<BTreeMap<String, Arc<FakePlatform>>>);

impl Platforms for Sites {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        Arc::clone(&self.0[site_of(target)]) as Arc<dyn Platform>
    }
}

fn site_of(target: &Target) -> &str {
    target.resource().expect("a site").name()
}

struct Signals(Arc<BTreeMap<String, FakeTelemetry>>);

#[async_trait::async_trait]
impl Telemetry for Signals {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        self.0[resource.name()].series(metric, resource, from, to).await
    }
}
