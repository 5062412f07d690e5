//! A bad save of a Consumption logic app.

use jiff::Timestamp;

use super::{
    messages,
    stage::{BAD, GOOD, GROUP, Stage},
};
use crate::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, SimulatedWorkflow},
};

pub struct WorkflowSave {
    workflow: ResourceId,
}

impl WorkflowSave {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { workflow: ResourceId::parse(&format!("{GROUP}/providers/Microsoft.Logic/workflows/invoices"))? })
    }
}

impl Stage for WorkflowSave {
    fn title(&self) -> &'static str {
        "a bad save of a logic app"
    }

    fn target(&self) -> &'static str {
        "logic app `invoices`"
    }

    fn policy(&self, _azure: &AzureSimulation) -> anyhow::Result<String> {
        Ok(format!("    target: {{ platform: logic-app, workflow: {} }}\n", self.workflow))
    }

    fn set_up(&self, azure: &AzureSimulation) -> anyhow::Result<()> {
        azure.add_workflow(SimulatedWorkflow::new(self.workflow.clone(), GOOD));
        Ok(())
    }

    fn roll_out(&self, azure: &AzureSimulation) -> anyhow::Result<&'static str> {
        azure.save_workflow(&self.workflow, BAD);
        Ok("saves the logic app as build-42")
    }

    fn event(&self, _at: Timestamp) -> Option<(&'static str, Vec<u8>)> {
        None
    }

    fn is_busy(&self, azure: &AzureSimulation) -> bool {
        azure.is_workflow_busy(&self.workflow)
    }

    fn alert(&self, fired_at: Timestamp) -> anyhow::Result<Vec<u8>> {
        Ok(messages::alert(&self.workflow, "Microsoft.Logic/workflows", "RunsFailed", fired_at))
    }

    fn call(&self) -> (&'static str, &'static str) {
        ("PUT", "/workflows/invoices")
    }

    fn serves(&self, azure: &AzureSimulation) -> String {
        azure.workflow_build(&self.workflow)
    }

    fn changes(&self, azure: &AzureSimulation) -> u32 {
        azure.workflow_save_count(&self.workflow)
    }
}
