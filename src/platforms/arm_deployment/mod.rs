//! ARM deployment records: the way back is to deploy the content of an earlier record again.
//!
//! Azure has no call for that. The template is exported from the good record and sent, with the record's parameters, as a new
//! deployment: `Incremental`, under a name made from the claim, and only after a what-if that deletes and surprises nothing.

pub mod wire;
pub mod lineage;
pub mod template;
pub mod content;
pub mod observe;
pub mod preflight;
pub mod what_if;
pub mod redeploy;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::{Observation, Preflight, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        target::ArmDeploymentTarget,
    },
    ports::{Clock, Platform, PortError},
};

/// The adapter. Reads with one identity and acts with the other, as [`ResourceManager`] was told.
pub struct ArmDeployment {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    target: ArmDeploymentTarget,
}

impl ArmDeployment {
    pub fn new(arm: Arc<ResourceManager>, clock: Arc<dyn Clock>, target: ArmDeploymentTarget) -> Self {
        Self { arm, clock, target }
    }
}

#[async_trait::async_trait]
impl Platform for ArmDeployment {
    async fn observe(&self) -> Result<Observation, PortError> {
        let records = observe::read(&self.arm, &self.target).await?;
        observe::interpret(&self.target, &records, self.clock.now())
    }

    fn rights(&self) -> Vec<NeededRight> {
        preflight::rights(&self.target)
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        preflight::check(&self.arm, &self.target).await
    }

    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        redeploy::steps(&self.target, way_back, fence)
    }

    async fn submit(&self, step: &Step) -> Submission {
        redeploy::submit(&self.arm, &self.target, step).await
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        redeploy::poll(&self.arm, &self.target, operation).await
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        self.observe().await
    }
}
