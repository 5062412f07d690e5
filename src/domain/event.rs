//! A message once it was understood.

use serde::{Deserialize, Serialize};

use super::{alert::Alert, deployment::DeploymentEvent};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Event {
    Alert(Alert),
    Deployment(DeploymentEvent),
    /// Understood, and nothing to decide about: a build, a pushed image, a subscription notice.
    Other(OtherEvent),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherEvent {
    pub id: Option<String>,
    /// The publisher's own type name.
    pub name: String,
    /// Something an operator should hear of, such as a deleted event subscription; `None` for mere noise.
    pub warning: Option<String>,
}
