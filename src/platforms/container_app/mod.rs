//! Container Apps: the way back is to an earlier revision.
//!
//! In multiple-revision mode the traffic is put on it by name; in single-revision mode its template is copied, which makes a
//! new revision of equal content. Both declare a state, so both may be sent again: every step is convergent.

pub mod wire;
pub mod template;
pub mod observe;
pub mod preflight;
pub mod revert;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::{Observation, Preflight, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        target::ContainerAppTarget,
    },
    ports::{Clock, Platform, PortError},
};
use preflight::Environments;

/// The adapter. Reads with one identity and acts with the other, as [`ResourceManager`] was told.
pub struct ContainerApp {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    environments: Arc<Environments>,
    target: ContainerAppTarget,
}

impl ContainerApp {
    pub fn new(
        arm: Arc<ResourceManager>,
        clock: Arc<dyn Clock>,
        environments: Arc<Environments>,
        target: ContainerAppTarget,
    ) -> Self {
        Self { arm, clock, environments, target }
    }
}

#[async_trait::async_trait]
impl Platform for ContainerApp {
    async fn observe(&self) -> Result<Observation, PortError> {
        let readings = observe::read(&self.arm, &self.target).await;
        if let Ok(app) = &readings.app {
            self.environments.note(&self.target, app);
        }
        observe::interpret(&self.target, &readings, self.clock.now())
    }

    fn rights(&self) -> Vec<NeededRight> {
        preflight::rights(&self.target)
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Ok(preflight::check(&self.arm, &self.environments, &self.target).await)
    }

    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        revert::steps(&self.target, way_back, fence)
    }

    async fn submit(&self, step: &Step) -> Submission {
        revert::submit(&self.arm, &self.target, step).await
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        revert::poll(&self.arm, &self.target, operation).await
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.observe().await
    }
}
