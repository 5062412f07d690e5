//! The parts of deployment records that matter here, api-version 2026-06-01, and the paths that give them.
//!
//! Source: the generated client azure-mgmt-resource-deployments 2.0.0, and the published examples of the specification.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    azure::{
        answer::time,
        resource_path::{encoded, resource_path},
    },
    domain::target::ArmDeploymentTarget,
};

pub const API_VERSION: &str = "api-version=2026-06-01";

/// So many records a scope holds; a resource group's are pruned before, a subscription's are not.
pub const RECORDS_MAX: usize = 800;

/// Tag of our own deployments: name of the record whose content they bring back.
pub const RESTORES_TAG: &str = "backout-restores";

/// Tag of our own deployments: name of the record that they take back.
pub const TAKES_BACK_TAG: &str = "backout-takes-back";

/// Tag of our own deployments: the record that `backout show` tells about.
pub const RECORD_TAG: &str = "backout-record";

/// One deployment record (`DeploymentExtended`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Record {
    pub name: String,
    /// Given for deployments of a subscription.
    pub location: Option<String>,
    pub tags: Option<BTreeMap<String, Value>>,
    pub properties: RecordProperties,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RecordProperties {
    /// `Succeeded`, `Failed` and `Canceled` are ends; anything else goes on.
    pub provisioning_state: Option<String>,
    pub correlation_id: Option<String>,
    /// When the record last changed, which is its end once it has ended.
    pub timestamp: Option<String>,
    /// ISO 8601, such as `PT22.8356799S`.
    pub duration: Option<String>,
    /// Secure ones have a `type` and no `value`.
    pub parameters: Option<Map<String, Value>>,
    pub template_hash: Option<String>,
    pub template_link: Option<Value>,
    pub output_resources: Option<Vec<ResourceReference>>,
    pub error: Option<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResourceReference {
    pub id: Option<String>,
}

/// One entry of a deployment's operations.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Operation {
    pub properties: OperationProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OperationProperties {
    /// `Create`, `Delete`, `Action`, `Read`, `EvaluateDeploymentOutput`, ...
    pub provisioning_operation: Option<String>,
    pub target_resource: Option<ResourceReference>,
}

/// How a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Succeeded,
    /// Failed or canceled.
    Broken,
    GoesOn,
}

impl Record {
    pub fn state(&self) -> State {
        match self.properties.provisioning_state.as_deref().unwrap_or_default().to_ascii_lowercase().as_str() {
            "succeeded" => State::Succeeded,
            "failed" | "canceled" | "cancelled" => State::Broken,
            _ => State::GoesOn,
        }
    }

    pub fn correlation_id(&self) -> &str {
        self.properties.correlation_id.as_deref().unwrap_or_default()
    }

    pub fn ended_at(&self) -> Option<Timestamp> {
        time(self.properties.timestamp.as_deref()?)
    }

    /// When it began to change what serves: its end less its duration (C5); its end where the duration is not told.
    pub fn began_at(&self) -> Option<Timestamp> {
        let ended_at = self.ended_at()?;
        let duration = self.properties.duration.as_deref().and_then(|text| text.trim().parse::<SignedDuration>().ok());
        Some(duration.and_then(|duration| ended_at.checked_sub(duration).ok()).unwrap_or(ended_at))
    }

    /// A tag's value; its name compares without case.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().flatten().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str()
    }

    /// Whether its own template was fetched by link.
    pub fn is_linked(&self) -> bool {
        self.properties.template_link.as_ref().is_some_and(|link| !link.is_null())
    }

    /// Ids of what it deployed, in lower case; `None` where the record does not tell.
    pub fn resources(&self) -> Option<impl Iterator<Item = String> + '_> {
        let all = self.properties.output_resources.as_ref()?;
        Some(all.iter().filter_map(|resource| resource.id.as_deref()).map(str::to_ascii_lowercase))
    }
}

impl Operation {
    /// Id of the resource that it may have changed. Reads and the evaluation of outputs changed none; of the rest nobody knows how
    /// far they came.
    pub fn may_have_changed(&self) -> Option<&str> {
        let properties = &self.properties;
        let reads = ["Read", "EvaluateDeploymentOutput"];
        let what = properties.provisioning_operation.as_deref().unwrap_or_default();
        let resource = properties.target_resource.as_ref()?;
        let changes = !reads.iter().any(|read| read.eq_ignore_ascii_case(what));
        changes.then(|| resource.id.as_deref().unwrap_or("a resource without an id"))
    }
}

pub fn records_path(target: &ArmDeploymentTarget) -> String {
    format!("{}/providers/Microsoft.Resources/deployments", resource_path(&target.scope))
}

pub fn record_path(target: &ArmDeploymentTarget, name: &str) -> String {
    format!("{}/{}", records_path(target), encoded(name))
}

/// In a resource group the operations lie beside the provider, not below it.
pub fn operations_path(target: &ArmDeploymentTarget, name: &str) -> String {
    if target.scope.resource_group().is_some() {
        format!("{}/deployments/{}/operations", resource_path(&target.scope), encoded(name))
    } else {
        format!("{}/operations", record_path(target, name))
    }
}
