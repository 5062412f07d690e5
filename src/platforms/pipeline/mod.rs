//! NOT YET

use std::sync::Arc;

use serde_json::Value;

use crate::{
    azure::identity::Identities,
    domain::{
        observation::{Observation, Preflight, WayBack},
        rollback::{Fence, OperationState, Step, Submission},
        target::PipelineTarget,
    },
    ports::{Clock, Platform, PortError, PortErrorKind},
    settings::Source,
};

/// Clients of pipeline servers; shared by all targets, and made when first used.
pub struct PipelineClients {
    identities: Arc<Identities>,
    settings: Arc<dyn Source + Send + Sync>,
}

impl PipelineClients {
    pub fn new(identities: Arc<Identities>, settings: Arc<dyn Source + Send + Sync>) -> Self {
        Self { identities, settings }
    }
}

/// The adapter.
pub struct Pipeline {
    clients: Arc<PipelineClients>,
    clock: Arc<dyn Clock>,
    target: PipelineTarget,
}

impl Pipeline {
    pub fn new(clients: Arc<PipelineClients>, clock: Arc<dyn Clock>, target: PipelineTarget) -> Self {
        Self { clients, clock, target }
    }
}

fn not_yet() -> PortError {
    PortError::new("ask the platform", PortErrorKind::Invalid, "not available in this version")
}

#[async_trait::async_trait]
impl Platform for Pipeline {
    async fn observe(&self) -> Result<Observation, PortError> {
        Err(not_yet())
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
