//! The parts of Microsoft.App's answers that matter here, api-version 2025-07-01, and the paths that give them.
//!
//! Source: the generated client azure-mgmt-appcontainers 5.1.0; the version is the one that the Azure CLI names, since newer
//! ones reach national clouds late.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    azure::resource_path::{encoded, resource_path},
    domain::target::ContainerAppTarget,
    platforms::answer::optional_time,
};

pub const API_VERSION: &str = "api-version=2025-07-01";

/// `GET containerApps/{name}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct App {
    pub system_data: Option<SystemData>,
    pub properties: AppProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SystemData {
    /// The last write of the app itself, whatever it changed.
    /// Written without a zone, as in `2022-04-08T10:38:17.4255847`; a revision's time has one. Source: answers in pull request 18660 of
    /// azure-rest-api-specs and in issue 5802 of azure-cli-extensions.
    #[serde(deserialize_with = "optional_time")]
    pub last_modified_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppProperties {
    /// `InProgress`, `Succeeded`, `Failed`, `Canceled` or `Deleting`.
    pub provisioning_state: Option<String>,
    /// `Running`, `Stopped`, ...
    pub running_status: Option<String>,
    pub latest_revision_name: Option<String>,
    /// Another one than the latest while that starts, or when it never got ready.
    pub latest_ready_revision_name: Option<String>,
    pub environment_id: Option<String>,
    pub managed_environment_id: Option<String>,
    pub configuration: Option<Configuration>,
    /// The last template that was sent, that of the latest revision.
    pub template: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Configuration {
    /// `Single` (also when left out), `Multiple`, or a newer one.
    pub active_revisions_mode: Option<String>,
    pub ingress: Option<Ingress>,
    pub dapr: Option<Dapr>,
    /// Names only: values are never in this answer.
    pub secrets: Option<Vec<SecretName>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Ingress {
    pub traffic: Option<Vec<Traffic>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Dapr {
    pub enabled: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SecretName {
    pub name: String,
}

/// One entry of the weights. It names a revision, or follows the latest one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Traffic {
    pub revision_name: Option<String>,
    pub weight: Option<u32>,
    pub latest_revision: Option<bool>,
    pub label: Option<String>,
}

/// One entry of `GET containerApps/{name}/revisions`. Health fields are missing in old answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Revision {
    pub name: String,
    pub properties: RevisionProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RevisionProperties {
    pub active: Option<bool>,
    #[serde(deserialize_with = "optional_time")]
    pub created_time: Option<Timestamp>,
    pub replicas: Option<u32>,
    /// `Healthy`, `Unhealthy` or `None`.
    pub health_state: Option<String>,
    /// `Provisioning`, `Provisioned`, `Failed`, `Deprovisioning` or `Deprovisioned`.
    pub provisioning_state: Option<String>,
    /// `Running`, `Processing`, `Stopped`, `Degraded`, `Failed` or `Unknown`.
    pub running_state: Option<String>,
    pub provisioning_error: Option<String>,
    pub template: Option<Value>,
}

impl App {
    pub fn configuration(&self) -> Configuration {
        self.properties.configuration.clone().unwrap_or_default()
    }

    /// Names of the app's secrets.
    pub fn secrets(&self) -> Vec<String> {
        self.configuration().secrets.unwrap_or_default().into_iter().map(|secret| secret.name).collect()
    }
}

impl Revision {
    pub fn is_active(&self) -> bool {
        self.properties.active == Some(true)
    }

    /// It never got as far as to serve, and will not.
    pub fn has_failed(&self) -> bool {
        let properties = &self.properties;
        is(properties.provisioning_state.as_ref(), "Failed")
            || is(properties.running_state.as_ref(), "Failed")
            || is(properties.health_state.as_ref(), "Unhealthy")
    }

    /// Active, healthy, and with a replica unless it may have none. A running state that is not known here is not ready.
    pub fn is_ready(&self) -> bool {
        let properties = &self.properties;
        let replicas_min = properties.template.as_ref().and_then(|template| template.pointer("/scale/minReplicas")?.as_u64());
        let running = match properties.running_state.as_deref().map(|state| state.trim().to_ascii_lowercase()) {
            None => true,
            Some(state) => state.is_empty() || state.starts_with("running"),
        };
        let serves = running && properties.replicas.unwrap_or_default() > 0;
        // Nobody asks for it, so it has no replica and is not called running.
        let rests = replicas_min.unwrap_or_default() == 0
            && properties.replicas.unwrap_or_default() == 0
            && !["Processing", "Degraded", "Unknown"].iter().any(|state| is(properties.running_state.as_ref(), state));
        let provisions = is(properties.provisioning_state.as_ref(), "Provisioning");
        self.is_active() && !self.has_failed() && !provisions && (serves || rests)
    }
}

/// Whether a word of the platform is this one; compared without case.
pub fn is(text: Option<&String>, word: &str) -> bool {
    text.is_some_and(|text| text.trim().eq_ignore_ascii_case(word))
}

/// `{app}?api-version=...`, or what lies below the app.
pub fn app_path(target: &ContainerAppTarget, below: &str) -> String {
    format!("{}{below}?{API_VERSION}", resource_path(&target.app))
}

/// Path of one revision and what lies below it; `None` when the name is not one of this app's revisions.
pub fn revision_path(target: &ContainerAppTarget, revision: &str, below: &str) -> Option<String> {
    let own = revision.get(..target.app.name().len()).is_some_and(|start| start.eq_ignore_ascii_case(target.app.name()));
    let plain = revision.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    (own && plain && revision.len() > target.app.name().len())
        .then(|| app_path(target, &format!("/revisions/{}{below}", encoded(revision))))
}
