//! A bad slot swap.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{
    messages,
    stage::{BAD, GOOD, GROUP, Stage},
};
use crate::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, SimulatedSite},
};

pub struct SlotSwap {
    pub site: ResourceId,
}

impl SlotSwap {
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { site: ResourceId::parse(&format!("{GROUP}/providers/Microsoft.Web/sites/checkout"))? })
    }
}

impl Stage for SlotSwap {
    fn title(&self) -> &'static str {
        "a bad slot swap"
    }

    fn target(&self) -> &'static str {
        "site `checkout`"
    }

    fn policy(&self, _azure: &AzureSimulation) -> anyhow::Result<String> {
        let site = &self.site;
        Ok(format!(
            "    target: {{ platform: app-service, site: {site}, goodSlots: [staging] }}\n    fingerprint: {{ setting: RELEASE_ID }}\n"
        ))
    }

    fn set_up(&self, azure: &AzureSimulation) -> anyhow::Result<()> {
        azure.add_site(SimulatedSite::new(self.site.clone(), GOOD).with_swap_taking(Duration::from_mins(1)));
        Ok(())
    }

    fn roll_out(&self, azure: &AzureSimulation) -> anyhow::Result<&'static str> {
        azure.deploy(&self.site, "staging", BAD);
        azure.begin_swap(&self.site, "staging", "production", SignedDuration::from_secs(60)).map_err(anyhow::Error::msg)?;
        Ok("swaps build-42 from slot staging into production")
    }

    fn event(&self, at: Timestamp) -> Option<(&'static str, Vec<u8>)> {
        Some(("deployments", messages::swap("SlotSwapCompleted", &self.site, at)))
    }

    fn is_busy(&self, azure: &AzureSimulation) -> bool {
        azure.is_busy(&self.site)
    }

    fn alert(&self, fired_at: Timestamp) -> anyhow::Result<Vec<u8>> {
        Ok(messages::alert(&self.site, "Microsoft.Web/sites", "Http5xx", fired_at))
    }

    fn call(&self) -> (&'static str, &'static str) {
        ("POST", "/slotsswap")
    }

    fn serves(&self, azure: &AzureSimulation) -> String {
        azure.running_build(&self.site)
    }

    fn changes(&self, azure: &AzureSimulation) -> u32 {
        azure.swap_count(&self.site)
    }
}
