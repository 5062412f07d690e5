//! Log alerts without the common schema: one form wraps its fields in `data`, the other has no `schemaId`. Source: `event-formats` 4.

use std::collections::BTreeMap;

use crate::domain::alert::{Alert, AlertSchema, AlertSignal, Condition};

use super::{
    alert_context::Context,
    alert_parts::legacy_severity,
    alert_resources,
    fields::{Object, Problem},
};

/// Names only the component's application id, which is no resource id.
pub(super) fn understand_application_insights(message: &Object<'_>) -> Result<Alert, Problem> {
    understand(&message.required_object("data")?)
}

pub(super) fn understand_log_analytics(message: &Object<'_>) -> Result<Alert, Problem> {
    understand(message)
}

fn understand(fields: &Object<'_>) -> Result<Alert, Problem> {
    let mut read = Context::default();
    read.read_search(fields)?;
    let targets: Vec<String> = fields.identifier("ResourceId")?.into_iter().collect();
    Ok(Alert {
        id: None,
        rule: fields.text("AlertRuleName")?,
        severity: legacy_severity(fields, "Severity")?,
        // Only firings are sent.
        condition: Condition::Fired,
        resources: alert_resources::in_order(&read, &[], &targets),
        fired_at: fields.legacy_time("SearchIntervalEndtimeUtc")?,
        resolved_at: None,
        schema: AlertSchema::Legacy,
        signal: AlertSignal::Log,
        window: read.window,
        dimensions: read.dimensions,
        properties: BTreeMap::new(),
    })
}
