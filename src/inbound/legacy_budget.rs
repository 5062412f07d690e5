//! `AIP Budget Notification`: about money, never about a fault. Source: `event-formats` 4.

use std::collections::BTreeMap;

use crate::domain::alert::{Alert, AlertSchema, AlertSignal, Condition};

use super::fields::{Object, Problem};

pub(super) fn understand(message: &Object<'_>) -> Result<Alert, Problem> {
    let data = message.required_object("data")?;
    Ok(Alert {
        id: None,
        rule: data.text("BudgetName")?,
        severity: None,
        condition: Condition::Fired,
        resources: Vec::new(),
        fired_at: None,
        resolved_at: None,
        schema: AlertSchema::Legacy,
        signal: AlertSignal::Budget,
        window: None,
        dimensions: BTreeMap::new(),
        properties: BTreeMap::new(),
    })
}
