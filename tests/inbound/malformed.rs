//! Every refusal names the field, and repeats nothing of the message.

use backout::inbound::Format;
use serde_json::{Value, json};

use super::{changed, fixture, one_value};

/// Fixture, what is changed, to what (`None` = removed), and the field that the refusal must name.
fn check(cases: &[(&str, &str, Option<Value>, &str)]) {
    for (name, pointer, value, field) in cases {
        let format = one_value(&fixture(name)).expect(name).format;
        let refused = match one_value(&changed(name, pointer, value.clone())) {
            Err(refused) => refused,
            Ok(understood) => panic!("{name} {pointer} = {value:?} was understood: {understood:?}"),
        };
        assert_eq!(refused.field, *field, "{name} {pointer} = {value:?}");
        assert_eq!(refused.format, Some(format), "{name} {pointer}");
        assert_eq!(refused.to_string(), format!("`{field}`: {}", refused.reason));
        assert!(!refused.reason.contains("s3cret"), "{}", refused.reason);
    }
}

#[test]
fn essentials_of_a_common_alert() {
    let cases = [
        ("monitorCondition", None, "data.essentials.monitorCondition"),
        ("monitorCondition", Some(json!(null)), "data.essentials.monitorCondition"),
        ("monitorCondition", Some(json!("s3cret")), "data.essentials.monitorCondition"),
        ("monitorCondition", Some(json!(true)), "data.essentials.monitorCondition"),
        ("alertId", Some(json!(7)), "data.essentials.alertId"),
        ("alertId", Some(json!("x".repeat(1025))), "data.essentials.alertId"),
        ("alertId", Some(json!("a\u{0}b")), "data.essentials.alertId"),
        ("alertRule", Some(json!({})), "data.essentials.alertRule"),
        ("severity", Some(json!("Sev9")), "data.essentials.severity"),
        ("severity", Some(json!(1)), "data.essentials.severity"),
        ("monitoringService", Some(json!(1)), "data.essentials.monitoringService"),
        ("signalType", Some(json!([])), "data.essentials.signalType"),
        ("alertTargetIDs", Some(json!("s3cret")), "data.essentials.alertTargetIDs"),
        ("alertTargetIDs", Some(json!(["a", 5])), "data.essentials.alertTargetIDs[1]"),
        ("configurationItems", Some(json!([{}])), "data.essentials.configurationItems[0]"),
        ("firedDateTime", Some(json!("s3cret")), "data.essentials.firedDateTime"),
        ("firedDateTime", Some(json!(1_772_590_269)), "data.essentials.firedDateTime"),
        ("resolvedDateTime", Some(json!("soon")), "data.essentials.resolvedDateTime"),
    ];
    for (key, value, field) in cases {
        check(&[("common-metric", &format!("/data/essentials/{key}"), value, field)]);
    }
}

#[test]
fn common_alert() {
    check(&[
        ("common-metric", "/data", None, "data"),
        ("common-metric", "/data", Some(json!("s3cret")), "data"),
        ("common-metric", "/data/essentials", None, "data.essentials"),
        ("common-metric", "/data/essentials", Some(json!([])), "data.essentials"),
        ("common-metric", "/data/customProperties", Some(json!("s3cret")), "data.customProperties"),
        ("common-metric", "/data/alertContext", Some(json!(5)), "data.alertContext"),
        ("common-metric", "/data/alertContext/properties", Some(json!(5)), "data.alertContext.properties"),
        ("common-metric", "/data/alertContext/condition", Some(json!("x")), "data.alertContext.condition"),
        ("common-metric", "/data/alertContext/condition/allOf", Some(json!({})), "data.alertContext.condition.allOf"),
        ("common-metric", "/data/alertContext/condition/allOf/0", Some(json!(1)), "data.alertContext.condition.allOf[0]"),
        (
            "common-metric",
            "/data/alertContext/condition/allOf/0/dimensions",
            Some(json!([{"name": "a", "value": ["s3cret"]}])),
            "data.alertContext.condition.allOf[0].dimensions[0].value",
        ),
        (
            "common-metric",
            "/data/alertContext/condition/allOf/0/dimensions",
            Some(json!([null, {"name": 1}])),
            "data.alertContext.condition.allOf[0].dimensions[1].name",
        ),
        (
            "common-metric",
            "/data/alertContext/condition/windowStartTime",
            Some(json!(1)),
            "data.alertContext.condition.windowStartTime",
        ),
        ("common-prometheus", "/data/alertContext/labels", Some(json!([])), "data.alertContext.labels"),
        ("common-prometheus", "/data/alertContext/labels/namespace", Some(json!({})), "data.alertContext.labels.namespace"),
        ("common-log-v1", "/data/alertContext/Dimensions", Some(json!("x")), "data.alertContext.Dimensions"),
        (
            "common-log-v1",
            "/data/alertContext/AffectedConfigurationItems",
            Some(json!([1])),
            "data.alertContext.AffectedConfigurationItems[0]",
        ),
        ("common-log-v1", "/data/alertContext/SearchResults", Some(json!(1)), "data.alertContext.SearchResults"),
        (
            "common-log-v1",
            "/data/alertContext/SearchResults/tables/0/rows",
            Some(json!([5])),
            "data.alertContext.SearchResults.tables[0].rows[0]",
        ),
        (
            "common-log-v1",
            "/data/alertContext/SearchResults/dataSources/0/resourceId",
            Some(json!(5)),
            "data.alertContext.SearchResults.dataSources[0].resourceId",
        ),
        (
            "common-administrative",
            "/data/alertContext/authorization",
            Some(json!({"scope": 1})),
            "data.alertContext.authorization.scope",
        ),
        ("common-administrative", "/data/alertContext/properties/entity", Some(json!([])), "data.alertContext.properties.entity"),
        ("common-resource-health", "/data/alertContext/properties/cause", Some(json!([])), "data.alertContext.properties.cause"),
    ]);
}

#[test]
fn legacy_alerts() {
    check(&[
        ("legacy-metric", "/data/status", Some(json!("s3cret")), "data.status"),
        ("legacy-metric", "/data/status", None, "data.status"),
        ("legacy-metric", "/data/context", None, "data.context"),
        ("legacy-metric", "/data/context/timestamp", Some(json!("s3cret")), "data.context.timestamp"),
        ("legacy-metric", "/data/context/severity", Some(json!("7")), "data.context.severity"),
        ("legacy-metric", "/data/context/resourceId", Some(json!(7)), "data.context.resourceId"),
        ("legacy-metric", "/data/properties", Some(json!(7)), "data.properties"),
        ("legacy-activity-log", "/data/context/activityLog", None, "data.context.activityLog"),
        ("legacy-activity-log", "/data/context/activityLog/eventDataId", Some(json!(1)), "data.context.activityLog.eventDataId"),
        (
            "legacy-activity-log",
            "/data/context/activityLog/eventTimestamp",
            Some(json!("3/4/2026 1:36:31 PM")),
            "data.context.activityLog.eventTimestamp",
        ),
        ("legacy-log-application-insights", "/data/Severity", Some(json!("s3cret")), "data.Severity"),
        (
            "legacy-log-application-insights",
            "/data/SearchIntervalEndtimeUtc",
            Some(json!("s3cret")),
            "data.SearchIntervalEndtimeUtc",
        ),
        ("legacy-log-log-analytics", "/AlertRuleName", Some(json!(1)), "AlertRuleName"),
        ("legacy-log-log-analytics", "/ResourceId", Some(json!(1)), "ResourceId"),
        ("legacy-budget", "/data", Some(json!(1)), "data"),
        ("legacy-budget", "/data/BudgetName", Some(json!(1)), "data.BudgetName"),
        ("classic-alert", "/context/name", Some(json!(1)), "context.name"),
        ("classic-alert", "/context/timestamp", Some(json!("13/13/2017 20:53:57")), "context.timestamp"),
        ("classic-alert", "/properties", Some(json!("s3cret")), "properties"),
        ("alerts-api", "/id", Some(json!(1)), "id"),
        ("alerts-api", "/properties/essentials/monitorCondition", None, "properties.essentials.monitorCondition"),
        ("alerts-api", "/properties/essentials/targetResource", Some(json!([])), "properties.essentials.targetResource"),
        ("alerts-api", "/properties/essentials/startDateTime", Some(json!("s3cret")), "properties.essentials.startDateTime"),
    ]);
}

#[test]
fn deployments() {
    check(&[
        ("event-grid-slot-swap", "/eventType", Some(json!(1)), "eventType"),
        ("event-grid-slot-swap", "/eventTime", Some(json!("s3cret")), "eventTime"),
        ("event-grid-slot-swap", "/id", Some(json!([])), "id"),
        ("event-grid-slot-swap", "/topic", None, "topic"),
        ("event-grid-slot-swap", "/data", Some(json!("s3cret")), "data"),
        ("event-grid-slot-swap", "/data/sourceSlot", Some(json!(1)), "data.sourceSlot"),
        ("event-grid-slot-swap", "/data/siteName", Some(json!(1)), "data.siteName"),
        ("event-grid-app-settings", "/data/appEventTypeDetail", Some(json!("x")), "data.appEventTypeDetail"),
        ("event-grid-resource-notification", "/data/resourceInfo", None, "data.resourceInfo"),
        ("event-grid-resource-notification", "/data/resourceInfo/id", Some(json!(1)), "data.resourceInfo.id"),
        ("event-grid-subscription-deleted", "/data/eventSubscriptionId", Some(json!(1)), "data.eventSubscriptionId"),
        ("cloud-event-arm-failure", "/type", Some(json!({})), "type"),
        ("cloud-event-arm-failure", "/time", Some(json!(5)), "time"),
        ("cloud-event-arm-failure", "/data", None, "data"),
        ("cloud-event-arm-failure", "/data/operationName", Some(json!(5)), "data.operationName"),
        ("cloud-event-arm-failure", "/data/resourceUri", Some(json!("x".repeat(2000))), "data.resourceUri"),
        ("cloud-event-app-configuration", "/source", Some(json!({})), "source"),
        ("azure-devops-stage", "/resource", Some(json!("s3cret")), "resource"),
        ("azure-devops-stage", "/resource/stage", None, "resource.stage"),
        ("azure-devops-stage", "/resource/stage/state", None, "resource.stage.state"),
        ("azure-devops-stage", "/resource/run/name", Some(json!([])), "resource.run.name"),
        (
            "azure-devops-stage",
            "/resource/run/templateParameters/reversible",
            Some(json!("s3cret")),
            "resource.run.templateParameters.reversible",
        ),
        ("azure-devops-stage", "/createdDate", Some(json!("s3cret")), "createdDate"),
        ("azure-devops-release", "/resource/environment", None, "resource.environment"),
        ("azure-devops-release", "/resource/environment/status", Some(json!(5)), "resource.environment.status"),
        ("cdevents-bare", "/context/id", Some(json!(5)), "context.id"),
        ("cdevents-bare", "/context/timestamp", Some(json!("s3cret")), "context.timestamp"),
        ("cdevents-bare", "/subject/content", Some(json!(5)), "subject.content"),
        ("cdevents-bare", "/subject/content/environment", Some(json!(5)), "subject.content.environment"),
        ("cdevents-bare", "/customData", Some(json!("{\"reversible\": \"perhaps\"}")), "customData.reversible"),
        ("cdevents-in-cloud-event", "/data", None, "data"),
        ("cdevents-in-cloud-event", "/data/context/type", None, "data.context.type"),
        ("cdevents-in-cloud-event", "/data/customData/reversible", Some(json!(1)), "data.customData.reversible"),
        ("github-deployment-status", "/deployment_status/state", None, "deployment_status.state"),
        ("github-deployment-status", "/deployment_status", Some(json!("s3cret")), "deployment_status"),
        ("github-deployment-status", "/deployment/sha", Some(json!(1)), "deployment.sha"),
        ("github-deployment-status", "/deployment/payload", Some(json!({"reversible": []})), "deployment.payload.reversible"),
        ("github-deployment", "/repository/full_name", Some(json!(1)), "repository.full_name"),
        ("github-workflow-run", "/workflow_run", Some(json!("s3cret")), "workflow_run"),
        ("flux", "/involvedObject/kind", None, "involvedObject.kind"),
        ("flux", "/metadata", Some(json!({"a": []})), "metadata.a"),
        ("flux", "/timestamp", Some(json!("s3cret")), "timestamp"),
        ("kudu", "/complete", Some(json!("s3cret")), "complete"),
        ("kudu", "/status", None, "status"),
        ("kudu", "/endTime", Some(json!(1)), "endTime"),
    ]);
}

#[test]
fn what_no_format_claims() {
    let cases = [
        (json!({}), "body"),
        (json!({ "text": "s3cret" }), "body"),
        (json!({ "alertContext": {} }), "body"),
        (json!({ "schemaId": "s3cret", "data": {} }), "schemaId"),
        (json!({ "schemaId": 5 }), "schemaId"),
        (json!({ "data": { "essentials": {} } }), "body"),
        (json!({ "action": "deleted", "deployment": {}, "repository": {} }), "body"),
    ];
    for (value, field) in cases {
        let refused = one_value(&value).expect_err("in no format");
        assert_eq!((refused.format, refused.field.as_str()), (None, field), "{value}");
        assert!(!refused.to_string().contains("s3cret"));
    }
    let part = one_value(&json!({ "alertContext": {} })).unwrap_err();
    assert!(part.reason.contains("only a part of an alert"), "{part}");
}

#[test]
fn a_missing_field_is_called_missing() {
    let refused = one_value(&changed("kudu", "/status", None)).unwrap_err();
    assert_eq!(refused.to_string(), "`status`: is missing");
    assert_eq!(refused.format, Some(Format::Kudu));
    let refused = one_value(&changed("kudu", "/status", Some(json!(5)))).unwrap_err();
    assert_eq!(refused.to_string(), "`status`: must be text, but is a number");
}
