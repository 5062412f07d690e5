//! A bad deployment of a template to a resource group.

use jiff::{SignedDuration, Timestamp};

use super::stage::{self, BAD, GOOD, GROUP, Stage, WORKLOAD};
use crate::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, SimulatedDeployment, SimulatedLineage},
};

pub struct TemplateDeployment {
    scope: ResourceId,
}

impl TemplateDeployment {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { scope: ResourceId::parse(GROUP)? })
    }
}

impl Stage for TemplateDeployment {
    fn title(&self) -> &'static str {
        "a bad deployment of a template"
    }

    fn target(&self) -> &'static str {
        "resource group `shop`"
    }

    fn policy(&self, _azure: &AzureSimulation) -> anyhow::Result<String> {
        let scope = &self.scope;
        Ok(format!(
            "    target: {{ platform: arm-deployment, scope: {scope}, lineage: \"hub-*\" }}\n{}",
            stage::measured_by_component()?
        ))
    }

    fn set_up(&self, azure: &AzureSimulation) -> anyhow::Result<()> {
        stage::add_measured_workload(azure)?;
        azure.add_lineage(SimulatedLineage::new(self.scope.clone(), WORKLOAD));
        azure.deploy_template(&self.scope, SimulatedDeployment::new("hub-41", GOOD).ago(SignedDuration::from_hours(30 * 24)));
        Ok(())
    }

    fn roll_out(&self, azure: &AzureSimulation) -> anyhow::Result<&'static str> {
        let deployment = SimulatedDeployment::new("hub-42", BAD).taking(SignedDuration::from_mins(1));
        azure.deploy_template(&self.scope, deployment);
        Ok("deploys the template with build-42 as `hub-42`")
    }

    fn event(&self, _at: Timestamp) -> Option<(&'static str, Vec<u8>)> {
        None
    }

    fn is_busy(&self, azure: &AzureSimulation) -> bool {
        azure.is_deploying(&self.scope)
    }

    fn alert(&self, fired_at: Timestamp) -> anyhow::Result<Vec<u8>> {
        stage::component_alert(fired_at)
    }

    fn call(&self) -> (&'static str, &'static str) {
        ("PUT", "/deployments/rb-")
    }

    fn serves(&self, azure: &AzureSimulation) -> String {
        azure.serving_build(WORKLOAD)
    }

    fn changes(&self, azure: &AzureSimulation) -> u32 {
        azure.redeployments(&self.scope)
    }
}
