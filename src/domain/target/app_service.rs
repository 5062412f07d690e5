//! An App Service site whose slots are swapped.

use serde::{Deserialize, Serialize};

use crate::domain::resource_id::ResourceId;

/// An App Service site (web app, Function App, Standard logic app) whose slots are swapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppServiceTarget {
    pub site: ResourceId,
    /// The slot that serves users: `production` unless the policy says otherwise.
    pub serving_slot: String,
    /// Where the good build may be, in order of preference.
    pub good_slots: Vec<String>,
    pub fingerprint: FingerprintSource,
}

/// What tells one build from another in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FingerprintSource {
    /// The container image of `linuxFxVersion`, else the id of the active deployment.
    Default,
    /// A non-sticky app setting that moves with the content, such as `RELEASE_ID`.
    Setting(String),
    /// A path on each slot's own host name, such as `/version`.
    Url(String),
}

impl AppServiceTarget {
    /// True if `resource` is what serves users: other slots of the site are not.
    pub(super) fn is_spoken_of_by(&self, resource: &ResourceId) -> bool {
        let Some(below) = resource.canonical().strip_prefix(self.site.canonical()) else { return false };
        match below.strip_prefix("/slots/") {
            Some(slot) => slot.split('/').next().is_some_and(|slot| slot.eq_ignore_ascii_case(&self.serving_slot)),
            None => (below.is_empty() || below.starts_with('/')) && self.serving_slot.eq_ignore_ascii_case("production"),
        }
    }
}
