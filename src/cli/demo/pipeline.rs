//! A bad run of an Azure DevOps pipeline, which is the only one that may deploy.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::stage::{self, BAD, GOOD, Stage, WORKLOAD};
use crate::sim::{AzureSimulation, PipelinePlace, SimulatedPipeline};

pub struct PipelineRun {
    place: PipelinePlace,
}

impl PipelineRun {
    pub fn new() -> Self {
        let place = PipelinePlace::AzureDevOps { organization: "contoso".to_owned(), project: "shop".to_owned(), pipeline: 12 };
        Self { place }
    }
}

impl Stage for PipelineRun {
    fn title(&self) -> &'static str {
        "a bad run of a pipeline"
    }

    fn target(&self) -> &'static str {
        "pipeline 12 of `contoso/shop`"
    }

    fn policy(&self, azure: &AzureSimulation) -> anyhow::Result<String> {
        let server = azure.azure_dev_ops_url();
        Ok(format!(
            "    target:\n      platform: pipeline\n      azureDevOps: {{ server: \"{server}\", organization: contoso, project: shop, pipeline: 12 }}\n{}",
            stage::measured_by_component()?
        ))
    }

    fn set_up(&self, azure: &AzureSimulation) -> anyhow::Result<()> {
        stage::add_measured_workload(azure)?;
        let pipeline = SimulatedPipeline::new(self.place.clone(), WORKLOAD, GOOD);
        azure.add_pipeline(pipeline.with_runs_taking(Duration::from_mins(2)));
        Ok(())
    }

    fn roll_out(&self, azure: &AzureSimulation) -> anyhow::Result<&'static str> {
        azure.begin_run(&self.place, BAD, SignedDuration::from_secs(60));
        Ok("runs the pipeline for build-42")
    }

    fn event(&self, _at: Timestamp) -> Option<(&'static str, Vec<u8>)> {
        None
    }

    fn is_busy(&self, azure: &AzureSimulation) -> bool {
        azure.is_pipeline_busy(&self.place)
    }

    fn alert(&self, fired_at: Timestamp) -> anyhow::Result<Vec<u8>> {
        stage::component_alert(fired_at)
    }

    fn call(&self) -> (&'static str, &'static str) {
        ("POST", "/_apis/pipelines/12/runs")
    }

    fn serves(&self, azure: &AzureSimulation) -> String {
        azure.serving_build(WORKLOAD)
    }

    fn changes(&self, azure: &AzureSimulation) -> u32 {
        azure.runs_asked_for(&self.place)
    }
}
