//! What somebody says about a change: an event, not yet a candidate.
//!
//! An event alone never makes a candidate: what it claims is confirmed on the platform.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A deployment event as it was understood. Source of the fields: `event-formats` 5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentEvent {
    /// The event's own id; repeats on redelivery.
    pub id: Option<String>,
    /// Who says so: `event-grid`, `azure-devops`, `cdevents`, `github`, `flux`, `kudu`.
    pub source: String,
    /// Resource ids as written; empty for pipelines.
    pub resources: Vec<String>,
    /// The publisher's own word for what happened, such as `Microsoft.Web.SlotSwapCompleted`.
    pub operation: Option<String>,
    pub status: DeploymentStatus,
    pub at: Option<Timestamp>,
    /// What a pipeline or a CDEvent speaks about, for the policy's `deployments:` entries.
    pub subject: DeploymentSubject,
    /// Version or commit, where the event names one.
    pub version: Option<String>,
    /// Whether the team declared that the change can be taken back (rules S1, S2).
    pub reversible: Option<bool>,
    /// Slots of a swap, as written.
    pub slots: Option<SlotPair>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeploymentStatus {
    Started,
    Succeeded,
    Failed,
    Other,
}

/// Names by which an event without a resource id can be mapped to a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSubject {
    pub project: Option<String>,
    pub pipeline: Option<String>,
    pub stage: Option<String>,
    pub repository: Option<String>,
    pub environment: Option<String>,
    /// `subject.id` of a CDEvent; `kind/namespace/name` of a Flux event; the site name of a Kudu notice.
    pub subject: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPair {
    pub source: String,
    pub target: String,
}
