//! A bad rollout of a Deployment in an AKS cluster.

use std::time::Duration;

use jiff::Timestamp;

use super::stage::{self, BAD, GOOD, GROUP, Stage, WORKLOAD};
use crate::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, SimulatedClusterWorkload, WorkloadId},
};

pub struct Rollout {
    workload: WorkloadId,
}

impl Rollout {
    pub fn new() -> anyhow::Result<Self> {
        let cluster = ResourceId::parse(&format!("{GROUP}/providers/Microsoft.ContainerService/managedClusters/prod"))?;
        let workload =
            WorkloadId { cluster, namespace: "shop".to_owned(), kind: "Deployment".to_owned(), name: "checkout".to_owned() };
        Ok(Self { workload })
    }
}

impl Stage for Rollout {
    fn title(&self) -> &'static str {
        "a bad rollout of a Deployment"
    }

    fn target(&self) -> &'static str {
        "Deployment `shop/checkout`"
    }

    fn policy(&self, _azure: &AzureSimulation) -> anyhow::Result<String> {
        let cluster = &self.workload.cluster;
        Ok(format!(
            "    target: {{ platform: kubernetes, cluster: {cluster}, namespace: shop, kind: Deployment, name: checkout }}\n{}",
            stage::measured_by_component()?
        ))
    }

    fn set_up(&self, azure: &AzureSimulation) -> anyhow::Result<()> {
        stage::add_measured_workload(azure)?;
        azure.add_cluster(&self.workload.cluster);
        let workload = SimulatedClusterWorkload::new(self.workload.clone(), GOOD);
        azure.add_cluster_workload(&workload.serving(WORKLOAD).with_rollout_taking(Duration::from_mins(1)));
        Ok(())
    }

    fn roll_out(&self, azure: &AzureSimulation) -> anyhow::Result<&'static str> {
        azure.roll_out(&self.workload, BAD);
        Ok("applies the Deployment with the image of build-42")
    }

    fn event(&self, _at: Timestamp) -> Option<(&'static str, Vec<u8>)> {
        None
    }

    fn is_busy(&self, azure: &AzureSimulation) -> bool {
        azure.is_rolling_out(&self.workload)
    }

    fn alert(&self, fired_at: Timestamp) -> anyhow::Result<Vec<u8>> {
        stage::component_alert(fired_at)
    }

    fn call(&self) -> (&'static str, &'static str) {
        ("PATCH", "/deployments/checkout")
    }

    fn serves(&self, azure: &AzureSimulation) -> String {
        azure.serving_build(WORKLOAD)
    }

    fn changes(&self, azure: &AzureSimulation) -> u32 {
        azure.template_changes(&self.workload)
    }
}
