//! Each alert schema, field by field.

use backout::{
    domain::alert::{AlertSchema, AlertSignal, AlertWindow, Condition, Severity},
    inbound::Format,
};
use serde_json::json;

use super::{alert, arm, changed, fixture};

fn pairs(map: &std::collections::BTreeMap<String, String>) -> Vec<(&str, &str)> {
    map.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect()
}

#[test]
fn common_metric_alert() {
    let alert = alert(Format::CommonAlert, &fixture("common-metric"));
    assert_eq!(alert.id, Some(arm("/providers/Microsoft.AlertsManagement/alerts/9a41c0de-1b1f-4b52-8f0a-c1f9d2ab0001")));
    assert_eq!(alert.rule.as_deref(), Some("checkout-5xx"));
    assert_eq!(alert.severity, Severity::new(1));
    assert_eq!(alert.condition, Condition::Fired);
    // The short name and the bare GUID in the dimension `ResourceId` are no resources.
    assert_eq!(alert.resources, [arm("/resourcegroups/rg-shop/providers/microsoft.web/sites/checkout")]);
    assert_eq!(alert.fired_at, Some("2026-03-04T02:11:09.1234567Z".parse().unwrap()));
    assert_eq!(alert.resolved_at, None);
    assert_eq!(alert.schema, AlertSchema::Common);
    assert_eq!(alert.signal, AlertSignal::Metric);
    assert_eq!(
        alert.window,
        Some(AlertWindow { start: "2026-03-04T02:05:00Z".parse().unwrap(), end: "2026-03-04T02:10:00Z".parse().unwrap() })
    );
    assert_eq!(
        pairs(&alert.dimensions),
        [("Instance", "pd1sdwk0001"), ("ResourceId", "0d3f0e8c-55f2-4a0e-8a53-3d1d8f3c9e11"), ("Slot", "")]
    );
    // The operator's own properties win over the context's copy.
    assert_eq!(
        pairs(&alert.properties),
        [("extra", "kept"), ("route", r#"{"team":"shop"}"#), ("service", "checkout"), ("tier", "1")]
    );
}

#[test]
fn log_alert_v2_prefers_the_dimension_of_the_same_subscription() {
    let alert = alert(Format::CommonAlert, &fixture("common-log-v2"));
    assert_eq!(alert.condition, Condition::Resolved);
    assert_eq!(
        alert.resources,
        [
            arm("/resourcegroups/rg-shop/providers/microsoft.app/containerapps/search"),
            arm("/resourceGroups/rg-shop/providers/Microsoft.App/containerApps/indexer"),
            arm("/resourcegroups/rg-logs/providers/microsoft.operationalinsights/workspaces/logs"),
        ]
    );
    assert_eq!(alert.signal, AlertSignal::Log);
    assert_eq!(alert.fired_at, Some("2026-03-04T02:00:00Z".parse().unwrap()));
    assert_eq!(alert.resolved_at, Some("2026-03-04T02:45:12.5Z".parse().unwrap()));
    assert_eq!(pairs(&alert.properties), [("service", "search")]);
    assert_eq!(alert.dimensions["UserPrincipalName"], "(address removed)");
}

#[test]
fn the_dimension_with_the_underscore_goes_first_and_subscriptions_compare_without_case() {
    let upper = arm("/resourceGroups/rg-shop/providers/Microsoft.App/containerApps/second").to_uppercase();
    let exact = arm("/resourceGroups/rg-shop/providers/Microsoft.App/containerApps/first");
    let dimensions = json!([{ "name": "resourceid", "value": upper }, { "name": "_ResourceId", "value": exact }]);
    let value = changed("common-log-v2", "/data/alertContext/condition/allOf/0/dimensions", Some(dimensions));
    assert_eq!(alert(Format::CommonAlert, &value).resources[..2], [exact, upper]);
}

#[test]
fn a_dimension_counts_for_nothing_where_no_target_tells_the_subscription() {
    let alert = alert(Format::CommonAlert, &changed("common-log-v2", "/data/essentials/alertTargetIDs", Some(json!([]))));
    assert_eq!(
        alert.resources,
        [
            arm("/resourceGroups/rg-shop/providers/Microsoft.App/containerApps/search"),
            arm("/resourceGroups/rg-shop/providers/Microsoft.App/containerApps/indexer"),
        ]
    );
}

#[test]
fn log_alert_v1_names_affected_items_and_rows_but_no_further_workspace() {
    let alert = alert(Format::CommonAlert, &fixture("common-log-v1"));
    assert_eq!(
        alert.resources,
        [
            arm("/resourcegroups/rg-logs/providers/microsoft.operationalinsights/workspaces/logs"),
            arm("/resourceGroups/rg-shop/providers/Microsoft.Web/sites/orders"),
            arm("/resourcegroups/rg-shop/providers/microsoft.insights/components/orders-insights"),
            arm("/resourcegroups/rg-shop/providers/microsoft.web/sites/billing"),
        ]
    );
    assert_eq!(pairs(&alert.dimensions), [("cloud_RoleName", "orders")]);
    assert_eq!(alert.window.map(|w| w.start), Some("2026-03-04T03:45:00Z".parse().unwrap()));
    assert_eq!(alert.signal, AlertSignal::Log);
}

#[test]
fn prometheus_alert_names_the_cluster_by_its_label() {
    let alert = alert(Format::CommonAlert, &fixture("common-prometheus"));
    assert_eq!(alert.rule.as_deref(), Some("shop-rules/PaymentsCrashLoop"));
    assert_eq!(alert.signal, AlertSignal::Prometheus);
    assert_eq!(
        alert.resources,
        [
            arm("/resourceGroups/rg-aks/providers/Microsoft.ContainerService/managedClusters/prod"),
            arm("/resourcegroups/rg-mon/providers/microsoft.monitor/accounts/prom"),
        ]
    );
    assert_eq!(alert.dimensions["namespace"], "shop");
    assert_eq!(alert.dimensions["deployment"], "payments");
}

#[test]
fn administrative_alert_adds_scope_and_entity_and_no_person() {
    let alert = alert(Format::CommonAlert, &fixture("common-administrative"));
    assert_eq!(alert.signal, AlertSignal::ActivityLog);
    assert_eq!(
        alert.resources,
        [
            arm("/resourcegroups/rg-net/providers/microsoft.network/applicationgateways/edge"),
            arm("/resourceGroups/rg-net/providers/Microsoft.Network/publicIPAddresses/edge-ip"),
        ]
    );
}

#[test]
fn the_state_of_the_event_is_not_the_state_of_the_alert() {
    let alert = alert(Format::CommonAlert, &fixture("common-resource-health"));
    assert_eq!(alert.condition, Condition::Fired);
    assert_eq!(alert.signal, AlertSignal::ResourceHealth);
    assert_eq!(
        pairs(&alert.dimensions),
        [("cause", "PlatformInitiated"), ("currentHealthStatus", "Degraded"), ("previousHealthStatus", "Available")]
    );
}

#[test]
fn an_unknown_service_is_still_an_alert() {
    let alert = alert(Format::CommonAlert, &fixture("common-unknown-service"));
    assert_eq!(alert.signal, AlertSignal::Unknown);
    assert_eq!(alert.id.as_deref(), Some("made-up-alert"));
    assert_eq!((alert.rule, alert.severity, alert.fired_at), (None, None, None));
    assert!(alert.resources.is_empty() && alert.dimensions.is_empty() && alert.properties.is_empty());
}

#[test]
fn signals_by_service_and_type() {
    let cases = [
        (json!("Platform"), json!("Metric"), AlertSignal::Metric),
        (json!("Platform"), json!("Log"), AlertSignal::Metric),
        (json!("Azure.ApplicationInsights"), json!("Metric"), AlertSignal::Metric),
        (json!("Azure.ApplicationInsights"), json!("Log"), AlertSignal::Unknown),
        (json!(null), json!("Metric"), AlertSignal::Metric),
        (json!("Application Insights"), json!("Log"), AlertSignal::Log),
        (json!("Log Analytics"), json!("Log"), AlertSignal::Log),
        (json!("Log Alerts V2"), json!(null), AlertSignal::Log),
        (json!("Activity Log - Policy"), json!("ActivityLog"), AlertSignal::ActivityLog),
        (json!("ServiceHealth"), json!("Activity Log"), AlertSignal::ServiceHealth),
        (json!("ResourceHealth"), json!("Activity Log"), AlertSignal::ResourceHealth),
        (json!("SmartDetector"), json!("Log"), AlertSignal::SmartDetector),
        (json!("Smart Detector"), json!("Log"), AlertSignal::SmartDetector),
        (json!("Prometheus"), json!("Metric"), AlertSignal::Prometheus),
        (json!("CostAlerts"), json!(null), AlertSignal::Budget),
        (json!("Something new"), json!("Unknown"), AlertSignal::Unknown),
    ];
    for (service, signal_type, expected) in cases {
        let mut value = fixture("common-metric");
        value["data"]["essentials"]["monitoringService"] = service.clone();
        value["data"]["essentials"]["signalType"] = signal_type;
        value["data"]["alertContext"] = json!({});
        assert_eq!(alert(Format::CommonAlert, &value).signal, expected, "{service}");
    }
}

#[test]
fn legacy_metric_alert_has_the_rule_for_an_id_and_so_none() {
    let alert = alert(Format::LegacyMetricAlert, &fixture("legacy-metric"));
    assert_eq!(alert.id, None);
    assert_eq!(alert.rule.as_deref(), Some("invoice-failures"));
    assert_eq!(alert.severity, Severity::new(2));
    assert_eq!(alert.condition, Condition::Resolved);
    assert_eq!(alert.resources, [arm("/resourceGroups/rg-fin/providers/Microsoft.Logic/workflows/invoices")]);
    assert_eq!((alert.fired_at, alert.resolved_at), (None, Some("2026-03-04T08:00:00.5Z".parse().unwrap())));
    assert_eq!(alert.schema, AlertSchema::Legacy);
    assert_eq!(pairs(&alert.dimensions), [("Trigger", "manual")]);
    assert_eq!(pairs(&alert.properties), [("service", "invoices")]);
}

#[test]
fn legacy_activity_log_alert() {
    let alert = alert(Format::LegacyActivityLogAlert, &fixture("legacy-activity-log"));
    assert_eq!(alert.id.as_deref(), Some("4f8d3f5a-0000-4000-8000-0123456789ab"));
    assert_eq!((alert.rule, alert.severity), (None, None));
    assert_eq!(alert.condition, Condition::Fired);
    // As written, and without a repeat in another case.
    assert_eq!(
        alert.resources,
        [
            arm("/RESOURCEGROUPS/RG-SHOP/PROVIDERS/MICROSOFT.WEB/SITES/CHECKOUT"),
            arm("/resourceGroups/rg-shop/providers/Microsoft.Web/sites/checkout/slots/staging"),
        ]
    );
    assert_eq!(alert.fired_at, Some("2026-03-04T09:00:00.1234567Z".parse().unwrap()));
    assert_eq!(alert.signal, AlertSignal::ActivityLog);
    assert_eq!(pairs(&alert.properties), [("room", "ops")]);
}

#[test]
fn legacy_log_alerts() {
    let insights = alert(Format::LegacyApplicationInsightsLogAlert, &fixture("legacy-log-application-insights"));
    assert_eq!(insights.rule.as_deref(), Some("orders-exceptions"));
    assert_eq!(insights.severity, Severity::new(2));
    assert_eq!(insights.condition, Condition::Fired);
    assert!(insights.resources.is_empty());
    assert_eq!(insights.fired_at, Some("2026-03-04T13:36:31Z".parse().unwrap()));

    let analytics = alert(Format::LegacyLogAnalyticsAlert, &fixture("legacy-log-log-analytics"));
    assert_eq!(analytics.rule.as_deref(), Some("disk-full"));
    assert_eq!(analytics.severity, Severity::new(3));
    assert_eq!(analytics.resources, [arm("/resourceGroups/rg-logs/providers/Microsoft.OperationalInsights/workspaces/logs")]);
    assert_eq!(pairs(&analytics.dimensions), [("Computer", "disk-host")]);
    assert_eq!(analytics.fired_at, Some("2026-03-04T10:05:00Z".parse().unwrap()));
    assert_eq!(analytics.schema, AlertSchema::Legacy);
}

#[test]
fn legacy_budget_is_an_alert_about_money() {
    let alert = alert(Format::LegacyBudget, &fixture("legacy-budget"));
    assert_eq!(alert.signal, AlertSignal::Budget);
    assert_eq!(alert.rule.as_deref(), Some("shop-monthly"));
    assert_eq!(alert.condition, Condition::Fired);
}

#[test]
fn classic_alert() {
    let alert = alert(Format::ClassicAlert, &fixture("classic-alert"));
    assert_eq!(alert.id, None);
    assert_eq!(alert.rule.as_deref(), Some("old-cpu"));
    assert_eq!(alert.resources, [arm("/resourceGroups/rg-shop/providers/Microsoft.Web/sites/attic")]);
    assert_eq!(alert.fired_at, Some("2026-03-04T20:53:57Z".parse().unwrap()));
    assert_eq!(pairs(&alert.properties), [("room", "attic")]);
}

#[test]
fn a_classic_event_alert_speaks_about_the_activity_log() {
    let mut value = fixture("classic-alert");
    value["context"]["conditionType"] = json!("Event");
    value["context"]["timestamp"] = json!("Friday, March 11, 2016 9:13:23 PM");
    value["status"] = json!("Resolved");
    let alert = alert(Format::ClassicAlert, &value);
    assert_eq!(alert.signal, AlertSignal::ActivityLog);
    assert_eq!((alert.fired_at, alert.resolved_at), (None, Some("2016-03-11T21:13:23Z".parse().unwrap())));
}

#[test]
fn alerts_api_form_has_the_id_and_the_rule_name_of_the_common_schema() {
    let alert = alert(Format::AlertsApi, &fixture("alerts-api"));
    assert_eq!(alert.id, Some(arm("/providers/Microsoft.AlertsManagement/alerts/9a41c0de-1b1f-4b52-8f0a-c1f9d2ab0007")));
    assert_eq!(alert.rule.as_deref(), Some("failure anomalies - shop"));
    assert_eq!(alert.schema, AlertSchema::Common);
    assert_eq!(alert.signal, AlertSignal::SmartDetector);
    assert_eq!(alert.condition, Condition::Resolved);
    assert_eq!(alert.resources, [arm("/resourcegroups/rg-shop/providers/microsoft.insights/components/shop-insights")]);
    assert_eq!(alert.fired_at, Some("2026-03-04T11:00:00.123Z".parse().unwrap()));
    assert_eq!(alert.resolved_at, Some("2026-03-04T11:30:00Z".parse().unwrap()));
    assert_eq!(pairs(&alert.properties), [("service", "shop")]);
}

#[test]
fn text_and_counts_are_bounded() {
    let mut value = fixture("common-metric");
    value["data"]["essentials"]["alertRule"] = json!(format!("\u{7}a\nb{}", "é".repeat(3000)));
    value["data"]["customProperties"] = (0..500).map(|n| (format!("p{n}"), json!("x".repeat(1500)))).collect();
    value["data"]["essentials"]["alertTargetIDs"] = (0..500).map(|n| json!(arm(&format!("/resourceGroups/g{n}")))).collect();
    value["data"]["alertContext"]["condition"]["allOf"][0]["dimensions"] =
        (0..500).map(|n| json!({ "name": format!("d{n}"), "value": n })).collect();
    let alert = alert(Format::CommonAlert, &value);
    let rule = alert.rule.unwrap();
    assert!(rule.starts_with("abé"), "{rule}");
    assert_eq!(rule.chars().count(), 1024);
    assert_eq!((alert.properties.len(), alert.dimensions.len(), alert.resources.len()), (64, 64, 64));
    assert!(alert.properties.values().all(|text| text.len() == 1024));
}

#[test]
fn a_window_in_an_unknown_date_form_is_no_reason_to_refuse_the_alert() {
    let alert = alert(
        Format::CommonAlert,
        &changed("common-log-v1", "/data/alertContext/SearchIntervalEndtimeUtc", Some(json!("4. März"))),
    );
    assert_eq!(alert.window, None);
}
