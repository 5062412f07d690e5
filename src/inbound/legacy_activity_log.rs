//! `Microsoft.Insights/activityLogs`: names no rule, and is always activated. Source: `event-formats` 4.

use std::collections::BTreeMap;

use crate::domain::alert::{Alert, AlertSchema, AlertSignal};

use super::{
    alert_context::Context,
    alert_parts::legacy_status,
    alert_resources,
    fields::{Object, Problem},
};

pub(super) fn understand(message: &Object<'_>) -> Result<Alert, Problem> {
    let data = message.required_object("data")?;
    let context = data.required_object("context")?;
    let activity = context.required_object("activityLog")?;
    let signal = match activity.scalar("eventSource")?.as_deref() {
        Some("ServiceHealth") => AlertSignal::ServiceHealth,
        Some("ResourceHealth") => AlertSignal::ResourceHealth,
        _ => AlertSignal::ActivityLog,
    };
    let read = Context::read(&activity, signal)?;
    let mut properties = BTreeMap::new();
    data.properties("properties", &mut properties)?;
    let targets: Vec<String> = activity.identifier("resourceId")?.into_iter().collect();
    Ok(Alert {
        id: activity.identifier("eventDataId")?,
        rule: None,
        severity: None,
        condition: legacy_status(&data)?,
        resources: alert_resources::in_order(&read, &[], &targets),
        fired_at: activity.time("eventTimestamp")?,
        resolved_at: None,
        schema: AlertSchema::Legacy,
        signal,
        window: None,
        dimensions: read.dimensions,
        properties,
    })
}
