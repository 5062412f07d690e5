//! Bytes in, events out: every format, every refusal.

mod alerts;
mod arbitrary;
mod bodies;
mod deployments;
mod formats;
mod malformed;
mod published_samples;
mod time_forms;

use std::path::PathBuf;

use backout::{
    domain::{alert::Alert, deployment::DeploymentEvent, event::Event},
    inbound::{Format, Malformed, Understood, recognise},
};
use serde_json::Value;

const FIXTURES: &[&str] = &[
    "alerts-api",
    "azure-devops-release",
    "azure-devops-stage",
    "cdevents-bare",
    "cdevents-in-cloud-event",
    "classic-alert",
    "cloud-event-app-configuration",
    "cloud-event-arm-failure",
    "common-administrative",
    "common-log-v1",
    "common-log-v2",
    "common-metric",
    "common-prometheus",
    "common-resource-health",
    "common-unknown-service",
    "event-grid-app-settings",
    "event-grid-resource-notification",
    "event-grid-slot-swap",
    "event-grid-subscription-deleted",
    "flux",
    "github-deployment",
    "github-deployment-status",
    "github-workflow-run",
    "kudu",
    "legacy-activity-log",
    "legacy-budget",
    "legacy-log-application-insights",
    "legacy-log-log-analytics",
    "legacy-metric",
];

const SUBSCRIPTION: &str = "/subscriptions/5b1d7c8e-0f4a-4c39-9d55-3f6a2be81c07";

fn arm(rest: &str) -> String {
    format!("{SUBSCRIPTION}{rest}")
}

fn fixture_bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inbound").join(format!("{name}.json"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The fixture's one element.
fn fixture(name: &str) -> Value {
    let value: Value = serde_json::from_slice(&fixture_bytes(name)).expect("fixtures are JSON");
    match value {
        Value::Array(mut list) => list.remove(0),
        other => other,
    }
}

fn one(body: &[u8]) -> Result<Understood, Malformed> {
    let mut results = recognise(body);
    assert_eq!(results.len(), 1, "one element, one result");
    results.remove(0)
}

fn one_value(value: &Value) -> Result<Understood, Malformed> {
    one(value.to_string().as_bytes())
}

fn alert(format: Format, value: &Value) -> Alert {
    let understood = one_value(value).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(understood.format, format);
    match understood.event {
        Event::Alert(alert) => alert,
        other => panic!("no alert but {other:?}"),
    }
}

fn deployment(format: Format, value: &Value) -> DeploymentEvent {
    let understood = one_value(value).unwrap_or_else(|refused| panic!("{refused}"));
    assert_eq!(understood.format, format);
    match understood.event {
        Event::Deployment(deployment) => deployment,
        other => panic!("no deployment but {other:?}"),
    }
}

/// The fixture with the node at the JSON pointer set, or removed if `value` is `None`.
fn changed(name: &str, pointer: &str, value: Option<Value>) -> Value {
    let mut document = fixture(name);
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer begins with a slash");
    match (document.pointer_mut(parent).unwrap_or_else(|| panic!("{name} has no {parent}")), value) {
        (Value::Object(map), Some(value)) => {
            map.insert(key.to_owned(), value);
        }
        (Value::Object(map), None) => {
            map.remove(key).unwrap_or_else(|| panic!("{name} has no {pointer}"));
        }
        (Value::Array(list), Some(value)) => list[key.parse::<usize>().expect("an index")] = value,
        (other, _) => panic!("{parent} is {other}"),
    }
    document
}
