//! A Consumption logic app, of which an earlier version is promoted.

use serde::{Deserialize, Serialize};

use crate::domain::resource_id::ResourceId;

/// A workflow of the Consumption plan. Standard logic apps are sites: see [`super::AppServiceTarget`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogicAppTarget {
    pub workflow: ResourceId,
}
