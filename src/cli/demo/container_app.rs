//! A bad revision of a container app in single-revision mode.

use jiff::Timestamp;

use super::stage::{self, BAD, GOOD, GROUP, Stage, WORKLOAD};
use crate::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, SimulatedContainerApp},
};

pub struct Revision {
    app: ResourceId,
}

impl Revision {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { app: ResourceId::parse(&format!("{GROUP}/providers/Microsoft.App/containerApps/search"))? })
    }
}

impl Stage for Revision {
    fn title(&self) -> &'static str {
        "a bad revision of a container app"
    }

    fn target(&self) -> &'static str {
        "container app `search`"
    }

    fn policy(&self, _azure: &AzureSimulation) -> anyhow::Result<String> {
        let app = &self.app;
        Ok(format!("    target: {{ platform: container-app, app: {app} }}\n{}", stage::measured_by_component()?))
    }

    fn set_up(&self, azure: &AzureSimulation) -> anyhow::Result<()> {
        stage::add_measured_workload(azure)?;
        azure.add_container_app(SimulatedContainerApp::new(self.app.clone(), WORKLOAD, GOOD));
        Ok(())
    }

    fn roll_out(&self, azure: &AzureSimulation) -> anyhow::Result<&'static str> {
        azure.roll_out_container_app(&self.app, BAD);
        Ok("updates the container app to build-42")
    }

    fn event(&self, _at: Timestamp) -> Option<(&'static str, Vec<u8>)> {
        None
    }

    fn is_busy(&self, azure: &AzureSimulation) -> bool {
        azure.is_container_app_busy(&self.app)
    }

    fn alert(&self, fired_at: Timestamp) -> anyhow::Result<Vec<u8>> {
        stage::component_alert(fired_at)
    }

    fn call(&self) -> (&'static str, &'static str) {
        ("PATCH", "/containerApps/search")
    }

    fn serves(&self, azure: &AzureSimulation) -> String {
        azure.serving_build(WORKLOAD)
    }

    fn changes(&self, azure: &AzureSimulation) -> u32 {
        azure.container_app_changes(&self.app)
    }
}
