//! What `decide` and `history` print: one object a decision, with the same keys.

use serde_json::{Value, json};

use crate::domain::{
    alert::Alert, decision::Decision, deployment::DeploymentEvent, event::Event, instant::whole_seconds, printable::printable,
    record::Record,
};

/// An event as `decide` shows it: what was understood, not the whole message.
pub fn event(event: &Event) -> Value {
    match event {
        Event::Alert(alert) => alert_json(alert),
        Event::Deployment(deployment) => deployment_json(deployment),
        Event::Other(other) => json!({ "kind": "other", "id": other.id, "operation": other.name }),
    }
}

fn alert_json(alert: &Alert) -> Value {
    json!({
        "kind": "alert",
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "condition": alert.condition,
        "resources": alert.resources,
        "firedAt": alert.fired_at,
        "resolvedAt": alert.resolved_at,
    })
}

fn deployment_json(deployment: &DeploymentEvent) -> Value {
    json!({
        "kind": "deployment",
        "id": deployment.id,
        "resources": deployment.resources,
        "operation": deployment.operation,
        "status": deployment.status,
        "at": deployment.at,
        "source": deployment.source,
    })
}

/// The keys of a decision; all of them null without one.
pub fn decision(decision: Option<&Decision>, record: Option<&Record>) -> Value {
    let accused = decision.and_then(|decision| decision.accused.as_ref());
    let service = accused.map(|accused| &accused.service).or_else(|| record.and_then(|record| record.services.first()));
    let target = accused.map(|accused| &accused.target).or_else(|| record.and_then(|record| record.targets.first()));
    json!({
        "decision": decision.map(|decision| decision.kind.as_str()),
        "service": service,
        "target": target,
        "rules": decision.map(rules).unwrap_or_default(),
        "because": decision.map(|decision| decision.because.clone()),
    })
}

/// Ids of the rules that shaped a decision, the deciding one first, each once.
pub fn rules(decision: &Decision) -> Vec<&'static str> {
    let mut ids = Vec::new();
    for reason in &decision.reasons {
        if !ids.contains(&reason.rule.as_str()) {
            ids.push(reason.rule.as_str());
        }
    }
    ids
}

/// A record as `history` shows it.
pub fn record(record: &Record) -> Value {
    let mut line = json!({
        "id": record.id,
        "at": record.decided_at.unwrap_or(record.received_at),
        "input": null,
        "format": null,
        "event": alert_json(&record.alert),
        "rollback": record.rollback.map(crate::domain::rollback::RollbackState::words),
        "receipt": record.receipt.as_ref().map(|receipt| receipt.sha256.clone()),
    });
    merge(&mut line, decision(record.decision.as_ref(), Some(record)));
    line
}

/// A record on one line of text.
pub fn record_text(record: &Record) -> String {
    let decision = record.decision.as_ref();
    let kind = decision.map_or("undecided", |decision| decision.kind.as_str());
    let rollback = record.rollback.map(|state| format!(", rollback {}", state.words())).unwrap_or_default();
    let service = record.services.first().map_or("-", |service| service.0.as_str());
    let because = decision.map(|decision| decision.because.as_str()).unwrap_or_default();
    let rules = decision.map(rules).unwrap_or_default().join(" ");
    printable(&format!(
        "{}  {}  {service}  {kind}{rollback}  [{rules}]  {because}",
        record.id,
        whole_seconds(record.decided_at.unwrap_or(record.received_at))
    ))
}

/// Adds the members of `more` to `object`.
pub fn merge(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}
