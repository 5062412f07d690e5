//! NOT YET

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
    ports::{Clock, Platform, PortError, PortErrorKind},
};

/// The adapter.
pub struct ContainerApp {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    target: ContainerAppTarget,
}

impl ContainerApp {
    pub fn new(arm: Arc<ResourceManager>, clock: Arc<dyn Clock>, target: ContainerAppTarget) -> Self {
        Self { arm, clock, target }
    }
}

fn not_yet() -> PortError {
    PortError::new("ask the platform", PortErrorKind::Invalid, "not available in this version")
}

#[async_trait::async_trait]
impl Platform for ContainerApp {
    async fn observe(&self) -> Result<Observation, PortError> {
        Err(not_yet())
    }

    fn rights(&self) -> Vec<NeededRight> {
        Vec::new()
    }

    async fn preflight(&self) -> Result<Preflight, PortError> {
        Err(not_yet())
    }

    fn steps(&self, _way_back: &WayBack, _fence: &Fence) -> Vec<Step> {
        Vec::new()
    }

    async fn submit(&self, _step: &Step) -> Submission {
        Submission::Refused { says: not_yet().says }
    }

    async fn poll(&self, _operation: &Value) -> Result<OperationState, PortError> {
        Err(not_yet())
    }

    async fn verify(&self, _way_back: &WayBack) -> Result<Observation, PortError> {
        Err(not_yet())
    }
}
