//! Alerts as Alerts Management lists them: what is asked, when reading ends, and what is left out.

use std::sync::Arc;

use backout::{
    domain::alert::{Condition, Severity},
    ports::{Alerts, PortErrorKind},
    telemetry::AlertsManagement,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::server::{FakeAzure, Recorded, Reply};

const SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";
const LINE: &str = "GET /subscriptions/11111111-1111-1111-1111-111111111111/providers/Microsoft.AlertsManagement/alerts";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn since() -> Timestamp {
    time("2026-11-25T09:30:00Z")
}

fn listed(id: &str, changed_at: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/{id}"),
        "type": "Microsoft.AlertsManagement/alerts",
        "name": "checkout-5xx",
        "properties": {
            "essentials": {
                "severity": "Sev1", "signalType": "Metric", "alertState": "New", "monitorCondition": "Fired", "monitorService": "Platform",
                "targetResource": format!("/subscriptions/{SUBSCRIPTION}/resourcegroups/shop/providers/microsoft.web/sites/checkout"),
                "alertRule": format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/shop/providers/microsoft.insights/metricAlerts/checkout-5xx"),
                "startDateTime": "2026-11-25T09:40:00.1234567Z", "lastModifiedDateTime": changed_at, "lastModifiedUserName": "pat@example.org",
                "actionStatus": { "isSuppressed": false }
            },
            "context": { "much": "text" },
            "customProperties": { "service": "checkout" }
        }
    })
}

#[tokio::test]
async fn pages_are_read_until_they_get_old() {
    let azure = FakeAzure::start().await;
    let next = |name: &str| format!("{}{name}", azure.url);
    let page = |elements: Vec<Value>, more: &str| Reply::json(200, &json!({ "value": elements, "nextLink": next(more) }));
    azure.on(LINE, [page(vec![listed("a1", "2026-11-25T10:00:00Z"), listed("a2", "2026-11-25T09:50:00Z")], "page2")]);
    azure.on("GET /page2", [page(vec![listed("a3", "2026-11-25T09:30:00Z"), listed("old", "2026-11-25T09:29:59Z")], "page3")]);
    let alerts = AlertsManagement::new(Arc::new(azure.arm())).changed_since(SUBSCRIPTION, since()).await.unwrap();
    let ids: Vec<&str> = alerts.iter().map(|kept| kept.alert.id.as_deref().unwrap().rsplit('/').next().unwrap()).collect();
    assert_eq!(ids, ["a1", "a2", "a3"]);
    let asked = azure.recorded();
    let lines: Vec<String> = asked.iter().map(Recorded::line).collect();
    assert_eq!(lines, [LINE, "GET /page2"]);
    assert_eq!(asked[0].query, "api-version=2019-03-01&timeRange=1d&sortBy=lastModifiedDateTime&sortOrder=desc&pageCount=250");
    assert_eq!(asked[0].header("authorization"), Some("Bearer reader-token"), "who acts has nothing to do with it");
}

#[tokio::test]
async fn an_endless_list_is_left_after_four_pages() {
    let azure = FakeAzure::start().await;
    let next = format!("{}more", azure.url);
    let page = Reply::json(200, &json!({ "value": [listed("a1", "2026-11-25T10:00:00Z")], "nextLink": next }));
    azure.on(LINE, [page.clone()]).on("GET /more", [page]);
    let alerts = AlertsManagement::new(Arc::new(azure.arm())).changed_since(SUBSCRIPTION, since()).await.unwrap();
    assert_eq!((alerts.len(), azure.recorded().len()), (4, 4), "the newest are enough; it is no error");
}

#[tokio::test]
async fn an_alert_is_understood_and_handed_on_without_people() {
    let azure = FakeAzure::start().await;
    let mut resolved = listed("a2", "2026-11-25T10:00:00Z");
    resolved["properties"]["essentials"]["monitorCondition"] = json!("Resolved");
    resolved["properties"]["essentials"]["monitorConditionResolvedDateTime"] = json!("2026-11-25T09:59:00Z");
    let mut suppressed = listed("a3", "2026-11-25T10:00:00Z");
    suppressed["properties"]["essentials"]["actionStatus"]["isSuppressed"] = json!(true);
    let mut odd = listed("a4", "2026-11-25T10:00:00Z");
    odd["properties"]["essentials"]["monitorCondition"] = json!("Perhaps");
    let mut undated = listed("a5", "no time");
    undated["properties"]["essentials"].as_object_mut().unwrap().remove("actionStatus");
    let all = json!({ "value": [listed("a1", "2026-11-25T10:00:00Z"), resolved, suppressed, odd, json!(7), undated] });
    azure.on(LINE, [Reply::json(200, &all)]);
    let alerts = AlertsManagement::new(Arc::new(azure.arm())).changed_since(SUBSCRIPTION, since()).await.unwrap();
    assert_eq!(alerts.len(), 3, "suppressed by an operator, or not understood: left out");

    let fired = &alerts[0].alert;
    assert_eq!(
        (fired.condition, fired.severity, fired.rule.as_deref()),
        (Condition::Fired, Severity::new(1), Some("checkout-5xx"))
    );
    assert_eq!(fired.fired_at, Some(time("2026-11-25T09:40:00.1234567Z")));
    assert_eq!(
        fired.resources,
        [format!("/subscriptions/{SUBSCRIPTION}/resourcegroups/shop/providers/microsoft.web/sites/checkout")]
    );
    assert_eq!(fired.properties.get("service").map(String::as_str), Some("checkout"));
    assert_eq!(
        (alerts[1].alert.condition, alerts[1].alert.resolved_at),
        (Condition::Resolved, Some(time("2026-11-25T09:59:00Z")))
    );

    let message: Value = serde_json::from_slice(&alerts[0].message).unwrap();
    assert!(!message.to_string().contains("pat@") && !message.to_string().contains("much"), "{message}");
    let read = backout::inbound::recognise(&alerts[0].message).pop().unwrap().unwrap();
    assert_eq!(read.event, backout::domain::event::Event::Alert(fired.clone()), "the queue's reader sees the same");
}

#[tokio::test]
async fn what_went_wrong_is_told_by_kind() {
    for (reply, kind) in [
        (Reply::empty(403), PortErrorKind::Denied),
        (Reply::empty(429), PortErrorKind::Throttled),
        (Reply::empty(503), PortErrorKind::Transient),
        (Reply::json(200, &json!({"properties": {}})), PortErrorKind::Invalid),
        (Reply::json(200, &json!({"value": [], "nextLink": "https://elsewhere.test/alerts"})), PortErrorKind::Invalid),
    ] {
        let azure = FakeAzure::start().await;
        // An empty page that goes on is followed: what is newer may come.
        azure.on(LINE, [reply.clone()]);
        let asked = AlertsManagement::new(Arc::new(azure.arm())).changed_since(SUBSCRIPTION, since()).await;
        match asked {
            Err(error) => assert_eq!(error.kind, kind, "{reply:?}"),
            Ok(alerts) => panic!("{reply:?}: {alerts:?}"),
        }
    }
}
