//! The common alert schema. Source: `event-formats` 3.

use std::collections::BTreeMap;

use crate::domain::alert::{Alert, AlertSchema, AlertSignal};

use super::{
    alert_context::Context,
    alert_parts::{monitor_condition, severity, signal},
    alert_resources,
    fields::{ENTRIES_MAX, Object, Problem},
};

pub(super) fn understand(message: &Object<'_>) -> Result<Alert, Problem> {
    let data = message.required_object("data")?;
    let essentials = data.required_object("essentials")?;
    let signal = signal(essentials.text("monitoringService")?.as_deref(), essentials.text("signalType")?.as_deref());
    let context = match signal {
        // Any object or null; nothing in it is understood.
        AlertSignal::Unknown | AlertSignal::Budget => Context::default(),
        _ => data.object("alertContext")?.map(|c| Context::read(&c, signal)).transpose()?.unwrap_or_default(),
    };
    let mut properties = BTreeMap::new();
    data.properties("customProperties", &mut properties)?;
    for (name, text) in &context.properties {
        if properties.len() < ENTRIES_MAX {
            properties.entry(name.clone()).or_insert_with(|| text.clone());
        }
    }
    let targets = essentials.identifiers("alertTargetIDs")?;
    Ok(Alert {
        id: essentials.identifier("alertId")?,
        rule: essentials.text("alertRule")?,
        severity: severity(&essentials, "severity")?,
        condition: monitor_condition(&essentials)?,
        resources: alert_resources::in_order(&context, &essentials.raw_texts("configurationItems")?, &targets),
        fired_at: essentials.time("firedDateTime")?,
        resolved_at: essentials.time("resolvedDateTime")?,
        schema: AlertSchema::Common,
        signal,
        window: context.window,
        dimensions: context.dimensions,
        properties,
    })
}
