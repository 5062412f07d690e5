//! Consumption logic apps: the way back is to save an earlier version again.
//!
//! A save is convergent and answered at once. It makes a new version, registers webhook triggers again and resets the state of
//! triggers; runs that are under way end on their own version.

pub mod wire;
pub mod observe;
pub mod preflight;
pub mod promote;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::{Observation, Preflight, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        target::LogicAppTarget,
    },
    ports::{Clock, Platform, PortError},
};

/// The adapter. Reads with one identity and acts with the other, as [`ResourceManager`] was told.
pub struct LogicApp {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    target: LogicAppTarget,
}

impl LogicApp {
    pub fn new(arm: Arc<ResourceManager>, clock: Arc<dyn Clock>, target: LogicAppTarget) -> Self {
        Self { arm, clock, target }
    }
}

#[async_trait::async_trait]
impl Platform for LogicApp {
    async fn observe(&self) -> Result<Observation, PortError> {
        let readings = observe::read(&self.arm, &self.target, self.clock.now()).await;
        observe::interpret(&readings, self.clock.now())
    }

    fn rights(&self) -> Vec<NeededRight> {
        preflight::rights(&self.target)
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Ok(preflight::check(&self.arm, &self.target).await)
    }

    fn steps(&self, way_back: &WayBack, _fence: &Fence) -> Vec<Step> {
        vec![promote::step(&self.target, way_back)]
    }

    async fn submit(&self, step: &Step) -> Submission {
        promote::submit(&self.arm, &self.target, step).await
    }

    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.arm.poll(operation).await
    }

    /// Also waits for the triggers, which a save registers again; those of a workflow that is not enabled rest.
    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        let (readings, trigger) = tokio::join!(
            observe::read(&self.arm, &self.target, self.clock.now()),
            observe::unready_trigger(&self.arm, &self.target)
        );
        let mut observation = observe::interpret(&readings, self.clock.now())?;
        let enabled = readings.workflow.is_ok_and(|workflow| wire::is(workflow.properties.state.as_ref(), "Enabled"));
        if observation.under_way.is_none() && enabled {
            observation.under_way = trigger?;
        }
        Ok(observation)
    }
}
