//! A line of ARM deployment records, of which the last good one is deployed again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::resource_id::ResourceId;

/// Deployment records of one scope that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmDeploymentTarget {
    /// A resource group, or a subscription.
    pub scope: ResourceId,
    pub lineage: Lineage,
    /// Key Vault secrets that stand for secure parameters, which no record holds.
    pub secure_parameters: BTreeMap<String, KeyVaultSecret>,
}

/// Which records of the scope are versions of the same thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Lineage {
    /// Deployments with such a name; `*` stands for any run of characters.
    Name(String),
    /// Deployments that carry this tag.
    Tag { name: String, value: String },
}

/// A secret by reference; its value never passes through here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyVaultSecret {
    pub vault: ResourceId,
    pub secret: String,
}

impl ArmDeploymentTarget {
    /// What follows `|` says how records are picked inside the scope.
    pub(super) fn canonical(&self) -> String {
        match &self.lineage {
            Lineage::Name(pattern) => format!("{}|name={}", self.scope.canonical(), pattern.to_lowercase()),
            Lineage::Tag { name, value } => format!("{}|tag={}={value}", self.scope.canonical(), name.to_lowercase()),
        }
    }

    /// A deployment record of exactly this scope; a subscription's records are not those of its groups.
    pub(super) fn is_changed_by(&self, resource: &ResourceId) -> bool {
        resource
            .canonical()
            .strip_prefix(self.scope.canonical())
            .is_some_and(|below| below.starts_with("/providers/microsoft.resources/deployments/"))
    }
}
