//! An alert as the Alerts API and Resource Graph show it; some senders post this form to web hooks.
//!
//! Names differ from the common schema (`monitorService`, `targetResource`, `startDateTime`); the id is the same, so that both
//! forms of one firing meet in one record. `properties.context` is not read: its shape is not published.

use std::collections::BTreeMap;

use crate::domain::{
    alert::{Alert, AlertSchema},
    resource_id::ResourceId,
};

use super::{
    alert_parts::{monitor_condition, severity, signal},
    alert_resources::Resources,
    fields::{Object, Problem},
};

pub(super) fn understand(message: &Object<'_>) -> Result<Alert, Problem> {
    let outer = message.required_object("properties")?;
    let essentials = outer.required_object("essentials")?;
    let mut properties = BTreeMap::new();
    outer.properties("customProperties", &mut properties)?;
    Ok(Alert {
        id: message.identifier("id")?,
        rule: essentials.text("alertRule")?.map(rule_name),
        severity: severity(&essentials, "severity")?,
        condition: monitor_condition(&essentials)?,
        resources: Resources::default().named(essentials.identifier("targetResource")?).into_list(),
        fired_at: essentials.time("startDateTime")?,
        resolved_at: essentials.time("monitorConditionResolvedDateTime")?,
        schema: AlertSchema::Common,
        signal: signal(essentials.text("monitorService")?.as_deref(), essentials.text("signalType")?.as_deref()),
        window: None,
        dimensions: BTreeMap::new(),
        properties,
    })
}

/// The API gives the rule's id where the common schema gives its name.
fn rule_name(rule: String) -> String {
    match ResourceId::parse(&rule) {
        Ok(id) => id.name().to_owned(),
        Err(_) => rule,
    }
}
