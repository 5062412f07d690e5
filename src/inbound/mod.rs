//! Bytes in, events out: what a message says, or why it cannot be understood.
//!
//! A message is recognised without being told its format, by the tests of [`format::identify`]. Everything in it is
//! untrusted text: it is bounded, freed of control characters, and never repeated in a refusal. What could be personal
//! (claims, callers, authors, creators) is not read at all.

mod format;
mod body;
mod dotnet_string;
mod fields;
mod times;
mod alert_parts;
mod alert_context;
mod alert_resources;
mod common_alert;
mod alerts_api;
mod legacy_metric;
mod legacy_activity_log;
mod legacy_log;
mod legacy_budget;
mod classic_alert;
mod event_grid;
mod arm_event;
mod app_service_event;
mod azure_devops;
mod cdevents;
mod github;
mod flux;
mod kudu;

use std::fmt;

use serde_json::Value;

use crate::domain::event::Event;

pub use body::BODY_BYTES_MAX;
use fields::{Object, Problem};
pub use format::Format;

/// Member of a message in which our own receiver says what it left out to make an alert fit into a queue. It becomes a property of
/// the alert under the same name, so that the record shows it.
pub const DROPPED_MEMBER: &str = "backoutDropped";

/// A message, or one element of it, that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    pub format: Format,
    pub event: Event,
}

/// Why a message, or one element of it, was refused. Sending the same bytes again cannot help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Malformed {
    /// `None` where not even the format was recognised.
    pub format: Option<Format>,
    /// Path of the field, such as `data.essentials.firedDateTime`; `body` where the message as a whole is meant.
    pub field: String,
    /// What is wrong with it; holds nothing of the message's own text.
    pub reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.field, self.reason)
    }
}

/// Understands a message without being told its format.
///
/// One result an element where the body is an array, else exactly one; never empty. Any bytes are allowed.
pub fn recognise(body: &[u8]) -> Vec<Result<Understood, Malformed>> {
    match body::elements(body) {
        Ok(elements) => elements.iter().map(recognise_element).collect(),
        Err(problem) => vec![Err(problem.in_format(None))],
    }
}

fn recognise_element(element: &Value) -> Result<Understood, Malformed> {
    let Value::Object(map) = element else {
        return Err(Problem::body("must be a JSON object, or an array of them").in_format(None));
    };
    let message = Object::top(map);
    let format = format::identify(&message).map_err(|problem| problem.in_format(None))?;
    let mut event = understand(format, &message).map_err(|problem| problem.in_format(Some(format)))?;
    if let Event::Alert(alert) = &mut event
        && let Some(dropped) = message.raw_text(DROPPED_MEMBER).and_then(fields::clean)
    {
        alert.properties.insert(DROPPED_MEMBER.to_owned(), dropped);
    }
    Ok(Understood { format, event })
}

fn understand(format: Format, message: &Object<'_>) -> Result<Event, Problem> {
    match format {
        Format::CommonAlert => common_alert::understand(message).map(Event::Alert),
        Format::LegacyMetricAlert => legacy_metric::understand(message).map(Event::Alert),
        Format::LegacyActivityLogAlert => legacy_activity_log::understand(message).map(Event::Alert),
        Format::LegacyApplicationInsightsLogAlert => legacy_log::understand_application_insights(message).map(Event::Alert),
        Format::LegacyBudget => legacy_budget::understand(message).map(Event::Alert),
        Format::LegacyLogAnalyticsAlert => legacy_log::understand_log_analytics(message).map(Event::Alert),
        Format::ClassicAlert => classic_alert::understand(message).map(Event::Alert),
        Format::AlertsApi => alerts_api::understand(message).map(Event::Alert),
        Format::CloudEvents => event_grid::understand_cloud_event(message),
        Format::EventGridSchema => event_grid::understand_event_grid_schema(message),
        Format::AzureDevOpsServiceHook => azure_devops::understand(message),
        Format::BareCdEvents => cdevents::understand_bare(message),
        Format::CdEventsInCloudEvents => cdevents::understand_in_cloud_event(message),
        Format::GitHubDeploymentStatus => github::understand_deployment_status(message),
        Format::GitHubDeployment => github::understand_deployment(message),
        Format::GitHubWorkflowRun => github::understand_workflow_run(message),
        Format::Flux => flux::understand(message),
        Format::Kudu => kudu::understand(message),
    }
}
