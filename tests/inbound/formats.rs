//! The names of the formats, and which test comes first.

use backout::inbound::Format;
use serde_json::json;

use super::{FIXTURES, fixture, one_value};

#[test]
fn every_format_has_its_name_and_a_fixture() {
    let names: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
    assert_eq!(
        names,
        [
            "common alert schema",
            "legacy metric alert",
            "legacy activity-log alert",
            "legacy log alert (Application Insights)",
            "legacy budget",
            "legacy log alert (Log Analytics)",
            "classic alert",
            "alerts API",
            "CloudEvents",
            "Event Grid schema",
            "Azure DevOps service hook",
            "bare CDEvents",
            "CDEvents in CloudEvents",
            "GitHub deployment_status",
            "GitHub deployment",
            "GitHub workflow_run",
            "Flux event",
            "Kudu deployment notice",
        ]
    );
    let seen: Vec<Format> = FIXTURES.iter().map(|name| one_value(&fixture(name)).expect(name).format).collect();
    for format in Format::ALL {
        assert!(seen.contains(format), "no fixture in {format}");
    }
}

#[test]
fn a_schema_id_goes_before_everything_else() {
    let mut value = fixture("github-deployment-status");
    value["schemaId"] = json!("AIP Budget Notification");
    value["data"] = json!({});
    assert_eq!(one_value(&value).unwrap().format, Format::LegacyBudget);
}

#[test]
fn a_publisher_tells_azure_devops_from_event_grid() {
    let mut value = fixture("azure-devops-stage");
    value["eventTime"] = json!("2026-03-04T02:00:00Z");
    value["topic"] = json!("x");
    assert_eq!(one_value(&value).unwrap().format, Format::AzureDevOpsServiceHook);
}

#[test]
fn names_are_compared_without_case() {
    let value = json!({
        "SCHEMAID": "AZUREMONITORCOMMONALERTSCHEMA",
        "Data": { "Essentials": { "MonitorCondition": "resolved", "AlertID": "a-1" } }
    });
    let understood = one_value(&value).unwrap();
    assert_eq!(understood.format, Format::CommonAlert);
    assert!(format!("{:?}", understood.event).contains("\"a-1\""));
}
