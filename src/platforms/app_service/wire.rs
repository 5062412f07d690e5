//! The parts of Microsoft.Web's answers that matter here, api-version 2025-05-01, and the paths that give them.
//!
//! Source: the generated client azure-mgmt-web 11.0.1; Kudu's deployment log for `deployments`.

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    azure::{
        answer::time,
        resource_path::{encoded, resource_path},
    },
    domain::target::AppServiceTarget,
};

pub const API_VERSION: &str = "api-version=2025-05-01";

/// The literal name of the slot that is the site itself.
pub const PRODUCTION: &str = "production";

/// `GET sites/{name}` and `GET sites/{name}/slots/{slot}`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Site {
    pub kind: Option<String>,
    pub properties: SiteProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SiteProperties {
    /// `Running` or `Stopped`.
    pub state: Option<String>,
    pub default_host_name: Option<String>,
    /// The last swap that succeeded; null if there was none.
    pub slot_swap_status: Option<SlotSwapStatus>,
    /// Set while the site has a pending operation.
    pub in_progress_operation_id: Option<String>,
    /// Set during a swap with preview, and during auto-swap.
    pub target_swap_slot: Option<String>,
    /// `FlexConsumption`, `Dynamic`, ...
    pub sku: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SlotSwapStatus {
    /// When the swap completed.
    pub timestamp_utc: Option<String>,
    pub source_slot_name: Option<String>,
    pub destination_slot_name: Option<String>,
}

/// `GET .../config/web`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SiteConfig {
    pub properties: SiteConfigProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SiteConfigProperties {
    pub linux_fx_version: Option<String>,
    pub auto_swap_slot_name: Option<String>,
    pub experiments: Option<Experiments>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Experiments {
    pub ramp_up_rules: Option<Vec<RampUpRule>>,
}

/// Sends a share of the slot's users to another slot.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RampUpRule {
    /// The other slot's host name.
    pub action_host_name: Option<String>,
    pub reroute_percentage: Option<f64>,
    /// Portal and CLI write the other slot's name here; anything else may stand there as well.
    pub name: Option<String>,
    /// The platform changes the percentage by itself.
    pub change_step: Option<f64>,
    pub change_decision_callback_url: Option<String>,
}

impl RampUpRule {
    /// Whether users are sent away now, or may be without anybody's doing.
    pub fn is_active(&self) -> bool {
        let moves =
            self.change_step.is_some_and(|step| step != 0.0) || given(self.change_decision_callback_url.as_ref()).is_some();
        moves || self.reroute_percentage.is_none_or(|percentage| percentage > 0.0)
    }
}

/// One entry of `GET .../deployments`. The log lies in the content and moves with it in a swap.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Deployment {
    pub id: Option<String>,
    pub name: Option<String>,
    pub properties: DeploymentProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DeploymentProperties {
    pub active: Option<bool>,
    /// Kudu's enum: 0 pending, 1 building, 2 deploying, 3 failed, 4 success.
    pub status: Option<i64>,
    pub received_time: Option<String>,
    pub start_time: Option<String>,
    pub end_time: Option<String>,
}

impl Deployment {
    /// Kudu's own id: the last segment of the ARM id, equal in whichever slot the content is.
    pub fn kudu_id(&self) -> Option<&str> {
        let text = self.id.as_deref().or(self.name.as_deref())?;
        text.rsplit('/').next().filter(|id| !id.is_empty())
    }

    /// When it ended; else when it was received or started.
    pub fn moment(&self) -> Option<Timestamp> {
        let times = &self.properties;
        [&times.end_time, &times.received_time, &times.start_time].into_iter().flatten().find_map(|text| time(text))
    }

    /// Pending, building or deploying, without an end.
    pub fn is_under_way(&self) -> bool {
        self.properties.end_time.is_none() && matches!(self.properties.status, Some(0..=2))
    }
}

/// `POST .../slotsdiffs`. The values of settings are not read: they may be secrets.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SlotDifference {
    pub properties: SlotDifferenceProperties,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SlotDifferenceProperties {
    /// `Information`, `Warning` or `Error`.
    pub level: Option<String>,
    pub setting_type: Option<String>,
    pub setting_name: Option<String>,
    pub diff_rule: Option<String>,
}

/// The one form that enters tokens: UTC, seven digits, `Z`.
pub fn normalised(moment: Timestamp) -> String {
    format!("{moment:.7}")
}

/// Whether `slot` is the site itself; names of slots are compared without case.
pub fn is_production(slot: &str) -> bool {
    slot.eq_ignore_ascii_case(PRODUCTION)
}

/// The path of a slot: the site's own for production.
pub fn slot_path(target: &AppServiceTarget, slot: &str) -> String {
    let site = resource_path(&target.site);
    if is_production(slot) { site } else { format!("{site}/slots/{}", encoded(slot)) }
}

/// A text field that is there and not blank.
pub fn given(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}
