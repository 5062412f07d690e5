//! Alerts as Azure's Alerts Management keeps them, for 30 days, whether or not anybody was told.
//!
//! Source: `Microsoft.AlertsManagement/alerts`, api-version 2019-03-01, by subscription. That it takes every parameter below is
//! taken from later clients.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::{
    azure::{answer::time, resource_manager::ResourceManager, resource_path::encoded},
    domain::event::Event,
    inbound::{self, Understood},
    ports::{Alerts, KeptAlert, PortError},
};

pub struct AlertsManagement {
    arm: Arc<ResourceManager>,
}

const TYPE: &str = "Microsoft.AlertsManagement/alerts";

/// What the identity that reads must be allowed to do on the subscription.
pub const READING_ACTION: &str = "Microsoft.AlertsManagement/alerts/read";

/// The newest change first, so that reading can end where it gets old. Neither contexts nor texts are asked for.
const QUERY: &str = "api-version=2019-03-01&timeRange=1d&sortBy=lastModifiedDateTime&sortOrder=desc&pageCount=250";

/// A thousand alerts an hour are a storm, in which nobody misses the thousand and first.
const PAGES_MAX: usize = 4;

/// What is handed on. Not `lastModifiedUserName`, which is a person.
const ESSENTIALS: [&str; 8] = [
    "severity",
    "signalType",
    "monitorCondition",
    "monitorService",
    "targetResource",
    "alertRule",
    "startDateTime",
    "monitorConditionResolvedDateTime",
];

impl AlertsManagement {
    pub fn new(arm: Arc<ResourceManager>) -> Self {
        Self { arm }
    }
}

#[async_trait::async_trait]
impl Alerts for AlertsManagement {
    async fn changed_since(&self, subscription: &str, since: Timestamp) -> Result<Vec<KeptAlert>, PortError> {
        let path = format!("/subscriptions/{}/providers/{TYPE}?{QUERY}", encoded(subscription));
        let is_recent = |element: &Value| changed_at(element).is_none_or(|at| at >= since);
        let goes_on = |page: &[Value]| page.last().is_none_or(is_recent);
        let listed = self.arm.read_while("look for alerts", &path, PAGES_MAX, goes_on).await?;
        let told = listed.iter().filter(|element| is_recent(element) && !is_suppressed(element));
        let (kept, refused): (Vec<_>, Vec<_>) = told.map(kept).partition(Option::is_some);
        if !refused.is_empty() {
            warn!(subscription, count = refused.len(), "alerts were listed that could not be understood; they are left out");
        }
        Ok(kept.into_iter().flatten().collect())
    }
}

fn changed_at(element: &Value) -> Option<Timestamp> {
    time(element.pointer("/properties/essentials/lastModifiedDateTime")?.as_str()?)
}

/// An alert processing rule keeps it from being told: that is what somebody wants.
fn is_suppressed(element: &Value) -> bool {
    element.pointer("/properties/essentials/actionStatus/isSuppressed").and_then(Value::as_bool) == Some(true)
}

fn kept(element: &Value) -> Option<KeptAlert> {
    let essentials = element.pointer("/properties/essentials")?;
    let essentials: Map<String, Value> =
        ESSENTIALS.iter().filter_map(|key| Some(((*key).to_owned(), essentials.get(key)?.clone()))).collect();
    let message = json!({
        "id": element.get("id"),
        "type": TYPE,
        "name": element.get("name"),
        "properties": { "essentials": essentials, "customProperties": element.pointer("/properties/customProperties") },
    });
    let message = message.to_string().into_bytes();
    match inbound::recognise(&message).pop() {
        Some(Ok(Understood { event: Event::Alert(alert), .. })) => Some(KeptAlert { alert, message }),
        Some(Ok(Understood { event: Event::Deployment(_) | Event::Other(_), .. }) | Err(_)) | None => None,
    }
}
