//! The part of an alert that differs by monitoring service. Source: `event-formats` 3.3.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::alert::{AlertSignal, AlertWindow};

use super::fields::{Object, Problem, keep};
use super::times::{self, Reading};

/// What a decision can use of it, whatever the service.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub dimensions: BTreeMap<String, String>,
    pub properties: BTreeMap<String, String>,
    pub window: Option<AlertWindow>,
    /// Values of the dimensions `_ResourceId` and `ResourceId`, in that order; a bare GUID is met there too.
    pub dimension_ids: Vec<String>,
    /// Values of the label `microsoft.resourceid`.
    pub label_ids: Vec<String>,
    /// Ids named elsewhere by the publisher.
    pub other_ids: Vec<String>,
    /// Values of the column `_ResourceId` in result rows.
    pub row_ids: Vec<String>,
}

/// Result rows looked at; a full-size alert holds hundreds.
const ROWS_MAX: usize = 100;

impl Context {
    pub(super) fn read(context: &Object<'_>, signal: AlertSignal) -> Result<Self, Problem> {
        let mut found = Self::default();
        match signal {
            AlertSignal::Metric | AlertSignal::Log => {
                found.read_condition(context)?;
                found.read_search(context)?;
                context.properties("properties", &mut found.properties)?;
            }
            AlertSignal::Prometheus => found.read_labels(context)?,
            AlertSignal::ActivityLog => found.read_activity(context)?,
            // The event's own words about the platform; they tell a platform outage from a fault of the team's.
            AlertSignal::ServiceHealth => found.read_named(context, &["incidentType", "stage"])?,
            AlertSignal::ResourceHealth => {
                found.read_named(context, &["cause", "currentHealthStatus", "previousHealthStatus"])?;
            }
            AlertSignal::SmartDetector | AlertSignal::Budget | AlertSignal::Unknown => {}
        }
        Ok(found)
    }

    /// Metric alerts and log alerts V2.
    pub(super) fn read_condition(&mut self, context: &Object<'_>) -> Result<(), Problem> {
        let Some(condition) = context.object("condition")? else { return Ok(()) };
        for criterion in condition.objects("allOf")? {
            self.read_dimensions(&criterion, "dimensions")?;
            if let Some(web_test) = criterion.text("webTestName")? {
                keep(&mut self.dimensions, "webTestName", &web_test);
            }
        }
        self.window = window(&condition, "windowStartTime", "windowEndTime")?;
        Ok(())
    }

    /// Log alerts V1 and legacy ones.
    pub(super) fn read_search(&mut self, context: &Object<'_>) -> Result<(), Problem> {
        self.read_dimensions(context, "Dimensions")?;
        let items = context.raw_texts("AffectedConfigurationItems")?;
        self.other_ids.extend(items.into_iter().map(str::to_owned));
        if let Some(window) = window(context, "SearchIntervalStartTimeUtc", "SearchIntervalEndtimeUtc")? {
            self.window = Some(window);
        }
        for key in ["SearchResults", "SearchResult"] {
            let Some(results) = context.object(key)? else { continue };
            self.read_rows(&results)?;
            for source in results.objects("dataSources")? {
                let id = source.identifier("resourceId")?;
                self.other_ids.extend(id.filter(|id| !is_workspace(id)));
            }
        }
        Ok(())
    }

    /// Activity-log alerts, common and legacy.
    pub(super) fn read_activity(&mut self, activity: &Object<'_>) -> Result<(), Problem> {
        // Old versions write JSON inside texts here.
        if let Some(authorization) = activity.object_or_json_text("authorization") {
            self.other_ids.extend(authorization.identifier("scope")?);
        }
        if let Some(properties) = activity.object_or_json_text("properties") {
            self.other_ids.extend(properties.identifier("entity")?);
        }
        Ok(())
    }

    pub(super) fn read_named(&mut self, activity: &Object<'_>, names: &[&str]) -> Result<(), Problem> {
        let Some(properties) = activity.object_or_json_text("properties") else { return Ok(()) };
        for name in names {
            if let Some(text) = properties.scalar(name)? {
                keep(&mut self.dimensions, name, &text);
            }
        }
        Ok(())
    }

    fn read_labels(&mut self, context: &Object<'_>) -> Result<(), Problem> {
        let Some(labels) = context.object("labels")? else { return Ok(()) };
        for (name, text) in labels.entries()? {
            keep(&mut self.dimensions, &name, &text);
            if name.eq_ignore_ascii_case("microsoft.resourceid") {
                self.label_ids.push(text);
            }
        }
        Ok(())
    }

    fn read_dimensions(&mut self, fields: &Object<'_>, key: &str) -> Result<(), Problem> {
        let mut plain = Vec::new();
        for dimension in fields.objects(key)? {
            let Some(name) = dimension.text("name")? else { continue };
            // The whole value, as an id must not be cut.
            let value = match dimension.raw_text("value") {
                Some(text) => text.to_owned(),
                None => dimension.scalar("value")?.unwrap_or_default(),
            };
            keep(&mut self.dimensions, &name, &value);
            if name.eq_ignore_ascii_case("_ResourceId") {
                self.dimension_ids.push(value);
            } else if name.eq_ignore_ascii_case("ResourceId") {
                plain.push(value);
            }
        }
        self.dimension_ids.append(&mut plain);
        Ok(())
    }

    fn read_rows(&mut self, results: &Object<'_>) -> Result<(), Problem> {
        for table in results.objects("tables")? {
            let columns = table.objects("columns")?;
            let is_resource_id =
                |column: &Object<'_>| column.raw_text("name").is_some_and(|n| n.eq_ignore_ascii_case("_ResourceId"));
            let Some(column) = columns.iter().position(is_resource_id) else { continue };
            for row in table.raw_lists("rows")?.into_iter().take(ROWS_MAX) {
                self.row_ids.extend(row.get(column).and_then(Value::as_str).map(str::to_owned));
            }
        }
        Ok(())
    }
}

/// The range that the rule evaluated. A date in a form nobody knows only means that the range is not known:
/// old log alerts write it in the sender's culture.
fn window(fields: &Object<'_>, start: &str, end: &str) -> Result<Option<AlertWindow>, Problem> {
    let time = |key: &str| -> Result<_, Problem> {
        Ok(match fields.text(key)?.as_deref().and_then(times::parse_legacy) {
            Some(Reading::At(at)) if times::is_plausible(at) => Some(at),
            Some(Reading::At(_) | Reading::Absent) | None => None,
        })
    };
    Ok(match (time(start)?, time(end)?) {
        (Some(start), Some(end)) if start <= end => Some(AlertWindow { start, end }),
        _ => None,
    })
}

/// A workspace is where the logs lie, never what is affected.
fn is_workspace(id: &str) -> bool {
    id.to_ascii_lowercase().contains("/providers/microsoft.operationalinsights/workspaces/")
}
