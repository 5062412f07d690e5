//! What Azure would send, composed after the published schemas: Event Grid's App Service events, the common alert schema.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::domain::resource_id::ResourceId;

/// `Microsoft.Web.SlotSwap...` of a site's system topic.
pub fn swap(kind: &str, site: &ResourceId, at: Timestamp) -> Vec<u8> {
    json!({
        "id": Uuid::new_v4(),
        "topic": site.as_written(),
        "subject": format!("/Microsoft.Web/sites/{}", site.name()),
        "eventType": format!("Microsoft.Web.{kind}"),
        "eventTime": at,
        "data": {
            "name": site.name(), "sourceSlot": "staging", "targetSlot": "production",
            "clientRequestId": Uuid::new_v4(), "correlationRequestId": Uuid::new_v4(), "requestId": Uuid::new_v4(),
            "address": "None", "verb": "None"
        },
        "dataVersion": "2", "metaDataVersion": "1"
    })
    .to_string()
    .into_bytes()
}

/// A static metric alert on a resource, as an action group posts it.
pub fn alert(resource: &ResourceId, namespace: &str, metric: &str, fired_at: Timestamp) -> Vec<u8> {
    let minute = SignedDuration::from_mins(1);
    json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": format!("/subscriptions/{}/providers/Microsoft.AlertsManagement/alerts/{}", resource.subscription(), Uuid::new_v4()),
                "alertRule": "checkout-errors",
                "severity": "Sev1",
                "signalType": "Metric",
                "monitorCondition": "Fired",
                "monitoringService": "Platform",
                "alertTargetIDs": [resource.canonical()],
                "configurationItems": [resource.name()],
                "firedDateTime": fired_at,
                "description": "more than 5 % of requests fail",
                "essentialsVersion": "1.0", "alertContextVersion": "1.0"
            },
            "alertContext": {
                "properties": null,
                "conditionType": "SingleResourceMultipleMetricCriteria",
                "condition": {
                    "windowSize": "PT5M",
                    "allOf": [{
                        "metricName": metric, "metricNamespace": namespace, "operator": "GreaterThan",
                        "threshold": "20", "timeAggregation": "Total", "dimensions": [], "metricValue": 280, "webTestName": null
                    }],
                    "windowStartTime": fired_at - minute * 6, "windowEndTime": fired_at - minute
                }
            },
            "customProperties": null
        }
    })
    .to_string()
    .into_bytes()
}
