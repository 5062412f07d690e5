//! What differs from platform to platform in one and the same story.

use jiff::Timestamp;

use super::messages;
use crate::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, JournalEntry},
};

pub const GOOD: &str = "build-41";
pub const BAD: &str = "build-42";

/// Names the subscription and the group in which every stage is set.
pub const GROUP: &str = "/subscriptions/0f8fad5b-d9cb-469f-a165-70867728950e/resourceGroups/shop";

/// One platform's part: its scenery, what the team does, and what counts as the rollback's call.
pub trait Stage: Send + Sync {
    /// What the story is about, such as `a bad slot swap`.
    fn title(&self) -> &'static str;

    /// The target for people, such as `site checkout`.
    fn target(&self) -> &'static str;

    /// The policy's entry of service `checkout`, each line indented by four blanks.
    fn policy(&self, azure: &AzureSimulation) -> anyhow::Result<String>;

    /// Lets [`GOOD`] serve, and tells a past in which it did for 30 days.
    fn set_up(&self, azure: &AzureSimulation) -> anyhow::Result<()>;

    /// The team brings [`BAD`] on its way; what it did, for people. It may take a while.
    fn roll_out(&self, azure: &AzureSimulation) -> anyhow::Result<&'static str>;

    /// What Azure tells about the rollout when it has ended: the queue, and the message. Some platforms tell nothing.
    fn event(&self, at: Timestamp) -> Option<(&'static str, Vec<u8>)>;

    /// Whether an operation of anybody's is under way.
    fn is_busy(&self, azure: &AzureSimulation) -> bool;

    /// The alert about it.
    fn alert(&self, fired_at: Timestamp) -> anyhow::Result<Vec<u8>>;

    /// Method and a part of the path of the one call that takes the rollout back.
    fn call(&self) -> (&'static str, &'static str);

    /// What serves users.
    fn serves(&self, azure: &AzureSimulation) -> String;

    /// Changes of what serves users so far, whoever made them.
    fn changes(&self, azure: &AzureSimulation) -> u32;

    /// Environment of the handler that this platform needs.
    fn environment(&self, _azure: &AzureSimulation) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Whether a request is the rollback's call.
    fn is_call(&self, entry: &JournalEntry) -> bool {
        let (method, path) = self.call();
        entry.method == method && entry.path_and_query.contains(path)
    }
}

/// What runs where the platform itself measures nothing that shows a fault.
pub const WORKLOAD: &str = "checkout";

/// The Application Insights component that measures [`WORKLOAD`].
fn component() -> anyhow::Result<ResourceId> {
    Ok(ResourceId::parse(&format!("{GROUP}/providers/Microsoft.Insights/components/checkout-insights"))?)
}

pub fn add_measured_workload(azure: &AzureSimulation) -> anyhow::Result<()> {
    azure.add_workload(WORKLOAD, GOOD, 300.0);
    azure.add_component(&component()?, WORKLOAD);
    Ok(())
}

/// What the policy says about alerts and evidence of [`WORKLOAD`].
pub fn measured_by_component() -> anyhow::Result<String> {
    let component = component()?;
    Ok(format!(
        "    alerts:\n      - resource: {component}\n    evidence:\n      - {{ resource: {component}, metric: requests/failed, of: requests/count }}\n"
    ))
}

pub fn component_alert(fired_at: Timestamp) -> anyhow::Result<Vec<u8>> {
    Ok(messages::alert(&component()?, "microsoft.insights/components", "requests/failed", fired_at))
}
