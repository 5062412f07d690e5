//! A container app, which goes back to an earlier revision.

use serde::{Deserialize, Serialize};

use crate::domain::resource_id::ResourceId;

/// A container app in multiple-revision or single-revision mode; which one, the app itself says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerAppTarget {
    pub app: ResourceId,
}
