//! Messages as the outside sends them, composed by us after the published schemas; with secrets in places where senders have put
//! some, so that a checker can look where they end.

use std::collections::BTreeMap;

use backout::domain::{
    alert::{Alert, AlertSchema, AlertSignal, Condition, Severity},
    service::Service,
    target::Target,
};
use serde_json::json;

use super::{
    services,
    time::{Micros, timestamp},
};
use crate::support::policy::SUBSCRIPTION;

/// In everything that must not reach a log, a receipt or a page.
pub const SECRET: &str = "canary-hunter2";
/// Claims and personal data: they must not even be kept.
pub const CLAIM: &str = "canary-eyJhbGciOiJSUzI1NiJ9";

pub fn alert(seed: u64, number: usize, service: &Service, at: Micros, severe: bool, with_id: bool) -> Alert {
    let resource = service
        .target
        .resource()
        .map_or_else(|| services::signal_resource(service).as_written().to_owned(), |resource| resource.as_written().to_owned());
    Alert {
        id: with_id.then(|| alert_id(seed, number)),
        rule: Some(format!("{}-errors", service.name)),
        severity: Severity::new(if severe { 1 } else { 3 }),
        condition: Condition::Fired,
        resources: vec![resource],
        fired_at: Some(timestamp(at)),
        resolved_at: None,
        schema: AlertSchema::Common,
        signal: AlertSignal::Metric,
        window: None,
        dimensions: BTreeMap::new(),
        properties: BTreeMap::new(),
    }
}

pub fn alert_elsewhere(seed: u64, number: usize, at: Micros) -> Alert {
    let mut alert = alert(seed, number, &crate::support::policy::service("others-shop"), at, true, true);
    alert.rule = Some("others-errors".to_owned());
    alert
}

fn alert_id(seed: u64, number: usize) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/{seed:016x}-{number:04}")
}

/// The common schema, as an action group posts it.
pub fn alert_message(alert: &Alert) -> Vec<u8> {
    let condition = match alert.condition {
        Condition::Fired => "Fired",
        Condition::Resolved => "Resolved",
    };
    json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": alert.id, "alertRule": alert.rule, "severity": alert.severity, "signalType": "Metric",
                "monitorCondition": condition, "monitoringService": "Platform", "alertTargetIDs": alert.resources,
                "firedDateTime": alert.fired_at, "resolvedDateTime": alert.resolved_at, "description": SECRET,
                "essentialsVersion": "1.0", "alertContextVersion": "1.0"
            },
            "alertContext": null,
            "customProperties": { "connection": SECRET }
        }
    })
    .to_string()
    .into_bytes()
}

/// A pipeline's word, as the marker step of `docs/workflows/marker` writes it.
pub fn marker(seed: u64, number: u32, service: &Service, build: u32, at: Micros, reversible: Option<bool>) -> (String, Vec<u8>) {
    let id = format!("marker-{seed:x}-{number}");
    let body = json!({
        "context": {
            "version": "0.4.1", "id": id, "source": "/pipelines/shop", "type": "dev.cdevents.service.deployed.0.1.4",
            "timestamp": timestamp(at)
        },
        "subject": {
            "id": service.name, "source": "/pipelines/shop", "type": "service",
            "content": { "environment": { "id": "prod" }, "artifactId": format!("pkg:oci/{}@build-{build}", service.name) }
        },
        "customData": { "reversible": reversible, "version": format!("build-{build}"), "token": CLAIM }
    });
    (id, body.to_string().into_bytes())
}

/// Azure Resource Manager's word about a write, with the claims of whoever wrote.
pub fn resource_event(seed: u64, number: u32, service: &Service, at: Micros) -> (String, Vec<u8>) {
    let written = match &service.target {
        Target::ArmDeployment(target) => {
            format!("{}/providers/Microsoft.Resources/deployments/hub-{number}", target.scope.as_written())
        }
        Target::AppService(_) | Target::Kubernetes(_) | Target::LogicApp(_) | Target::ContainerApp(_) | Target::Pipeline(_) => {
            let resource = service.target.resource().map(|resource| resource.as_written().to_owned());
            resource.unwrap_or_else(|| services::signal_resource(service).as_written().to_owned())
        }
    };
    resource_write(&format!("write-{seed:x}-{number}"), &written, at)
}

pub fn event_elsewhere(seed: u64, at: Micros) -> Vec<u8> {
    let others = crate::support::policy::site("others-shop");
    resource_write(&format!("others-{seed:x}"), others.as_written(), at).1
}

fn resource_write(id: &str, resource: &str, at: Micros) -> (String, Vec<u8>) {
    let body = json!({
        "id": id, "topic": format!("/subscriptions/{SUBSCRIPTION}"), "subject": resource,
        "eventType": "Microsoft.Resources.ResourceWriteSuccess", "eventTime": timestamp(at),
        "data": {
            "resourceUri": resource, "operationName": "Microsoft.Web/sites/write", "status": "Succeeded",
            "claims": { "name": CLAIM, "ipaddr": CLAIM },
            "authorization": { "action": "Microsoft.Web/sites/write", "evidence": { "principalId": CLAIM } },
            "httpRequest": { "clientIpAddress": CLAIM }
        },
        "dataVersion": "2", "metadataVersion": "1"
    });
    (id.to_owned(), body.to_string().into_bytes())
}
