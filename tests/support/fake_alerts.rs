//! What the monitoring service keeps, as the test says; or why it can't be asked.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use backout::{
    domain::alert::{Alert, Condition},
    ports::{Alerts, KeptAlert, PortError},
};
use jiff::Timestamp;
use serde_json::json;

#[derive(Clone, Default)]
pub struct FakeAlerts {
    kept: Arc<Mutex<Vec<KeptAlert>>>,
    away: Arc<Mutex<BTreeMap<String, PortError>>>,
}

impl FakeAlerts {
    /// Keeps an alert from now on, in place of what was kept under its id.
    pub fn keep(&self, alert: &Alert) {
        let mut kept = self.kept.lock().unwrap();
        kept.retain(|known| known.alert.id != alert.id);
        kept.push(KeptAlert { message: message(alert), alert: alert.clone() });
    }

    /// The subscription can't be read; `None` ends that.
    pub fn fail(&self, subscription: &str, error: Option<PortError>) {
        let mut away = self.away.lock().unwrap();
        match error {
            Some(error) => away.insert(subscription.to_owned(), error),
            None => away.remove(subscription),
        };
    }
}

#[async_trait::async_trait]
impl Alerts for FakeAlerts {
    async fn changed_since(&self, subscription: &str, since: Timestamp) -> Result<Vec<KeptAlert>, PortError> {
        if let Some(error) = self.away.lock().unwrap().get(subscription) {
            return Err(error.clone());
        }
        let of_subscription = |alert: &Alert| alert.id.as_ref().is_some_and(|id| id.contains(subscription));
        let changed_at = |alert: &Alert| alert.resolved_at.max(alert.fired_at);
        let kept = self.kept.lock().unwrap();
        let wanted = kept.iter().filter(|kept| of_subscription(&kept.alert) && changed_at(&kept.alert) >= Some(since));
        let mut listed: Vec<KeptAlert> = wanted.cloned().collect();
        listed.sort_by_key(|kept| Reverse(changed_at(&kept.alert)));
        Ok(listed)
    }
}

/// The form of the Alerts API; composed by us.
pub fn message(alert: &Alert) -> Vec<u8> {
    let condition = match alert.condition {
        Condition::Fired => "Fired",
        Condition::Resolved => "Resolved",
    };
    json!({
        "id": alert.id, "type": "Microsoft.AlertsManagement/alerts", "name": alert.rule,
        "properties": { "essentials": {
            "severity": alert.severity, "signalType": "Metric", "monitorCondition": condition, "monitorService": "Platform",
            "targetResource": alert.resources.first(), "alertRule": alert.rule, "startDateTime": alert.fired_at,
            "monitorConditionResolvedDateTime": alert.resolved_at,
        } },
    })
    .to_string()
    .into_bytes()
}
