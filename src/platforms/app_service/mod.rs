//! App Service slots (web apps, Function Apps, Standard logic apps): the way back is to swap the slots again.
//!
//! A swap is its own inverse, so its one step is a toggle. The good slot is always the source of the call and the serving
//! slot its target, since the source is restarted and warmed up while the target goes on serving.

pub mod wire;
pub mod release_mark;
pub mod observe;
pub mod preflight;
pub mod swap;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::{Observation, Preflight, WayBack},
        rollback::{OperationState, Step, Submission},
        target::Target,
    },
    ports::{Clock, Platform, PortError},
};

/// The adapter. Reads with one identity and acts with the other, as [`ResourceManager`] was told.
pub struct AppService {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    sites: release_mark::SiteClient,
}

impl AppService {
    pub fn new(arm: Arc<ResourceManager>, clock: Arc<dyn Clock>) -> Self {
        Self { arm, clock, sites: release_mark::SiteClient::default() }
    }
}

#[async_trait::async_trait]
impl Platform for AppService {
    async fn observe(&self, target: &Target) -> Result<Observation, PortError> {
        let Target::AppService(target) = target;
        let readings = observe::read(&self.arm, &self.sites, target).await;
        observe::interpret(target, &readings, self.clock.now())
    }

    async fn preflight(&self, target: &Target) -> Result<Preflight, PortError> {
        let Target::AppService(target) = target;
        Ok(preflight::check(&self.arm, target).await)
    }

    fn steps(&self, target: &Target, way_back: &WayBack) -> Vec<Step> {
        let Target::AppService(target) = target;
        vec![swap::step(target, way_back)]
    }

    async fn submit(&self, target: &Target, step: &Step) -> Submission {
        let Target::AppService(target) = target;
        swap::submit(&self.arm, target, step).await
    }

    async fn poll(&self, _target: &Target, operation: &Value) -> Result<OperationState, PortError> {
        self.arm.poll(operation).await
    }

    async fn verify(&self, target: &Target, _way_back: &WayBack) -> Result<Observation, PortError> {
        let Target::AppService(target) = target;
        let readings = observe::read(&self.arm, &self.sites, target).await;
        observe::interpret(target, &readings, self.clock.now())
    }
}
