//! Somebody else who changes the simulated Azure just before the process looks.

use std::sync::{Arc, Mutex};

use backout::{
    domain::{
        observation::{Observation, Preflight, WayBack},
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        target::{Fingerprint, Target},
    },
    ports::{Platform, Platforms, PortError},
    sim::AzureSimulation,
};
use serde_json::Value;

/// What somebody else does.
pub type Meddling = Box<dyn FnOnce(&AzureSimulation) + Send>;

/// How many observations come before it, and what then happens.
pub type Meddlings = Arc<Mutex<Option<(u32, Meddling)>>>;

/// The real adapters; before a certain observation something happens elsewhere.
pub struct Meddled {
    pub real: Arc<dyn Platforms>,
    pub azure: AzureSimulation,
    pub meddling: Meddlings,
}

impl Platforms for Meddled {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        Arc::new(MeddledPlatform { real: self.real.of(target), azure: self.azure.clone(), meddling: Arc::clone(&self.meddling) })
    }
}

struct MeddledPlatform {
    real: Arc<dyn Platform>,
    azure: AzureSimulation,
    meddling: Meddlings,
}

#[async_trait::async_trait]
impl Platform for MeddledPlatform {
    async fn observe(&self) -> Result<Observation, PortError> {
        let now = {
            let mut meddling = self.meddling.lock().unwrap();
            match meddling.take() {
                Some((0, act)) => Some(act),
                Some((left, act)) => {
                    *meddling = Some((left - 1, act));
                    None
                }
                None => None,
            }
        };
        if let Some(act) = now {
            act(&self.azure);
        }
        self.real.observe().await
    }
    fn ways_back(&self, observation: &Observation, proven: &[Fingerprint]) -> Vec<WayBack> {
        self.real.ways_back(observation, proven)
    }
    fn rights(&self) -> Vec<NeededRight> {
        self.real.rights()
    }
    async fn preflight(&self) -> Result<Preflight, PortError> {
        self.real.preflight().await
    }
    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        self.real.steps(way_back, fence)
    }
    async fn submit(&self, step: &Step) -> Submission {
        self.real.submit(step).await
    }
    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.real.poll(operation).await
    }
    async fn verify(&self, way_back: &WayBack) -> Result<Observation, PortError> {
        self.real.verify(way_back).await
    }
}
