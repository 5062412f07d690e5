//! The classic alert, retired in Azure and still sent by old tools. Source: `event-formats` 4.

use std::collections::BTreeMap;

use crate::domain::alert::{Alert, AlertSchema, AlertSignal, Condition};

use super::{
    alert_parts::legacy_status,
    alert_resources::Resources,
    fields::{Object, Problem},
};

pub(super) fn understand(message: &Object<'_>) -> Result<Alert, Problem> {
    let context = message.required_object("context")?;
    let condition = legacy_status(message)?;
    let at = context.legacy_time("timestamp")?;
    let mut properties = BTreeMap::new();
    message.properties("properties", &mut properties)?;
    let is_event = context.text("conditionType")?.is_some_and(|kind| kind.eq_ignore_ascii_case("Event"));
    Ok(Alert {
        // `context.id` is the rule's.
        id: None,
        rule: context.text("name")?,
        severity: None,
        condition,
        resources: Resources::default().named(context.identifier("resourceId")?).into_list(),
        fired_at: at.filter(|_| condition == Condition::Fired),
        resolved_at: at.filter(|_| condition == Condition::Resolved),
        schema: AlertSchema::Legacy,
        signal: if is_event { AlertSignal::ActivityLog } else { AlertSignal::Metric },
        window: None,
        dimensions: BTreeMap::new(),
        properties,
    })
}
