//! App Service (web apps, Function Apps, Standard logic apps): the way back is to end a ramp, to swap the slots again, or to name
//! the container image or the package that served before.
//!
//! Rules that send users to a newer build in another slot are cleared, which is a convergent step and leads back by itself. A swap
//! is its own inverse, so its step is a toggle; rules that would outlive it are cleared before it. The good slot is always the source of the call and the serving
//! slot its target, since the source is restarted and warmed up while the target goes on serving. An image and a package are
//! held by nobody but their store: they are named from what backout itself saw in service, which is convergent too.

pub mod wire;
pub mod release_mark;
pub mod observe;
pub mod ramp;
pub mod preflight;
pub mod ways;
pub mod swap;
pub mod image;
pub mod package;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::{Observation, Preflight, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        target::{AppServiceTarget, Fingerprint},
    },
    ports::{Clock, Platform, PortError},
};

/// The adapter. Reads with one identity and acts with the other, as [`ResourceManager`] was told.
pub struct AppService {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    sites: Arc<release_mark::SiteClient>,
    target: AppServiceTarget,
}

impl AppService {
    pub fn new(
        arm: Arc<ResourceManager>,
        clock: Arc<dyn Clock>,
        sites: Arc<release_mark::SiteClient>,
        target: AppServiceTarget,
    ) -> Self {
        Self { arm, clock, sites, target }
    }
}

#[async_trait::async_trait]
impl Platform for AppService {
    async fn observe(&self) -> Result<Observation, PortError> {
        let readings = observe::read(&self.arm, &self.sites, &self.target).await;
        observe::interpret(&self.target, &readings, self.clock.now())
    }

    fn ways_back(&self, observation: &Observation, proven: &[Fingerprint]) -> Vec<WayBack> {
        ways::in_order(&self.target, observation, proven)
    }

    fn rights(&self) -> Vec<NeededRight> {
        preflight::rights(&self.target)
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Ok(preflight::check(&self.arm, &self.target).await)
    }

    fn steps(&self, way_back: &WayBack, _fence: &Fence) -> Vec<Step> {
        ways::steps(&self.target, way_back)
    }

    async fn submit(&self, step: &Step) -> Submission {
        ways::submit(&self.arm, &self.target, step).await
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.arm.poll(operation).await
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        let readings = observe::read(&self.arm, &self.sites, &self.target).await;
        observe::interpret(&self.target, &readings, self.clock.now())
    }
}
