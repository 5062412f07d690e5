//! Platforms which can be taken back. Each is cut alike: observe, preflight, steps and submission, and its wire format.

mod answer;
pub mod app_service;
pub mod arm_deployment;
pub mod container_app;
pub mod kubernetes;
pub mod logic_app;
pub mod pipeline;

use std::sync::Arc;

use crate::{
    azure::{identity::Identities, resource_manager::ResourceManager},
    domain::target::Target,
    ports::{Clock, Platform, Platforms},
    settings::Source,
};

/// The adapters, and what they share. What an adapter keeps between two messages (clients, cluster credentials) is shared by
/// all its targets, and made when first used.
pub struct AzurePlatforms {
    arm: Arc<ResourceManager>,
    clock: Arc<dyn Clock>,
    sites: Arc<app_service::release_mark::SiteClient>,
    clusters: Arc<kubernetes::Clusters>,
    pipelines: Arc<pipeline::PipelineClients>,
    environments: Arc<container_app::preflight::Environments>,
}

impl AzurePlatforms {
    /// `settings` gives secrets that the policy names (tokens of a pipeline's server).
    pub fn new(
        arm: Arc<ResourceManager>,
        identities: Arc<Identities>,
        settings: Arc<dyn Source + Send + Sync>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            clusters: Arc::new(kubernetes::Clusters::new(Arc::clone(&arm), Arc::clone(&identities), Arc::clone(&clock))),
            pipelines: Arc::new(pipeline::PipelineClients::new(identities, settings)),
            sites: Arc::default(),
            environments: Arc::default(),
            arm,
            clock,
        }
    }
}

impl Platforms for AzurePlatforms {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        let (arm, clock) = (Arc::clone(&self.arm), Arc::clone(&self.clock));
        match target.clone() {
            Target::AppService(target) => Arc::new(app_service::AppService::new(arm, clock, Arc::clone(&self.sites), target)),
            Target::Kubernetes(target) => Arc::new(kubernetes::Kubernetes::new(Arc::clone(&self.clusters), clock, target)),
            Target::ArmDeployment(target) => Arc::new(arm_deployment::ArmDeployment::new(arm, clock, target)),
            Target::LogicApp(target) => Arc::new(logic_app::LogicApp::new(arm, clock, target)),
            Target::ContainerApp(target) => {
                Arc::new(container_app::ContainerApp::new(arm, clock, Arc::clone(&self.environments), target))
            }
            Target::Pipeline(target) => Arc::new(pipeline::Pipeline::new(Arc::clone(&self.pipelines), clock, target)),
        }
    }
}
