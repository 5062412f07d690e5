//! NOT YET

use std::sync::Arc;

use serde_json::Value;

use crate::{
    azure::{identity::Identities, resource_manager::ResourceManager},
    domain::{
        observation::{Observation, Preflight, WayBack},
        rollback::{Fence, OperationState, Step, Submission},
        target::KubernetesTarget,
    },
    ports::{Clock, Platform, PortError, PortErrorKind},
};

/// Connections to clusters, and the credentials that AKS gave; shared by all targets, and got when first used.
pub struct Clusters {
    arm: Arc<ResourceManager>,
    identities: Arc<Identities>,
}

impl Clusters {
    pub fn new(arm: Arc<ResourceManager>, identities: Arc<Identities>) -> Self {
        Self { arm, identities }
    }
}

/// The adapter.
pub struct Kubernetes {
    clusters: Arc<Clusters>,
    clock: Arc<dyn Clock>,
    target: KubernetesTarget,
}

impl Kubernetes {
    pub fn new(clusters: Arc<Clusters>, clock: Arc<dyn Clock>, target: KubernetesTarget) -> Self {
        Self { clusters, clock, target }
    }
}

fn not_yet() -> PortError {
    PortError::new("ask the platform", PortErrorKind::Invalid, "not available in this version")
}

#[async_trait::async_trait]
impl Platform for Kubernetes {
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
