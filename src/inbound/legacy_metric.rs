//! `AzureMonitorMetricAlert`, what a receiver without the common schema gets for metric alerts. Source: `event-formats` 4.

use std::collections::BTreeMap;

use crate::domain::alert::{Alert, AlertSchema, AlertSignal, Condition};

use super::{
    alert_context::Context,
    alert_parts::{legacy_severity, legacy_status},
    alert_resources,
    fields::{Object, Problem},
};

pub(super) fn understand(message: &Object<'_>) -> Result<Alert, Problem> {
    let data = message.required_object("data")?;
    let context = data.required_object("context")?;
    let mut read = Context::default();
    read.read_condition(&context)?;
    let mut properties = BTreeMap::new();
    data.properties("properties", &mut properties)?;
    let condition = legacy_status(&data)?;
    let at = context.legacy_time("timestamp")?;
    let targets: Vec<String> = context.identifier("resourceId")?.into_iter().collect();
    Ok(Alert {
        // `data.context.id` is the rule's.
        id: None,
        rule: context.text("name")?,
        severity: legacy_severity(&context, "severity")?,
        condition,
        resources: alert_resources::in_order(&read, &[], &targets),
        fired_at: at.filter(|_| condition == Condition::Fired),
        resolved_at: at.filter(|_| condition == Condition::Resolved),
        schema: AlertSchema::Legacy,
        signal: AlertSignal::Metric,
        window: read.window,
        dimensions: read.dimensions,
        properties,
    })
}
