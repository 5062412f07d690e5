//! Which format a message is in. Source: `event-formats` 2, whose order and names are kept.

use std::fmt;

use super::fields::{Object, Problem};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    CommonAlert,
    LegacyMetricAlert,
    LegacyActivityLogAlert,
    LegacyApplicationInsightsLogAlert,
    LegacyBudget,
    /// Has no `schemaId` at all.
    LegacyLogAnalyticsAlert,
    ClassicAlert,
    /// An alert as the Alerts API and Resource Graph show it.
    AlertsApi,
    CloudEvents,
    EventGridSchema,
    AzureDevOpsServiceHook,
    BareCdEvents,
    CdEventsInCloudEvents,
    GitHubDeploymentStatus,
    GitHubDeployment,
    GitHubWorkflowRun,
    Flux,
    Kudu,
}

impl Format {
    pub const ALL: &'static [Self] = &[
        Self::CommonAlert,
        Self::LegacyMetricAlert,
        Self::LegacyActivityLogAlert,
        Self::LegacyApplicationInsightsLogAlert,
        Self::LegacyBudget,
        Self::LegacyLogAnalyticsAlert,
        Self::ClassicAlert,
        Self::AlertsApi,
        Self::CloudEvents,
        Self::EventGridSchema,
        Self::AzureDevOpsServiceHook,
        Self::BareCdEvents,
        Self::CdEventsInCloudEvents,
        Self::GitHubDeploymentStatus,
        Self::GitHubDeployment,
        Self::GitHubWorkflowRun,
        Self::Flux,
        Self::Kudu,
    ];

    /// The name that people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CommonAlert => "common alert schema",
            Self::LegacyMetricAlert => "legacy metric alert",
            Self::LegacyActivityLogAlert => "legacy activity-log alert",
            Self::LegacyApplicationInsightsLogAlert => "legacy log alert (Application Insights)",
            Self::LegacyBudget => "legacy budget",
            Self::LegacyLogAnalyticsAlert => "legacy log alert (Log Analytics)",
            Self::ClassicAlert => "classic alert",
            Self::AlertsApi => "alerts API",
            Self::CloudEvents => "CloudEvents",
            Self::EventGridSchema => "Event Grid schema",
            Self::AzureDevOpsServiceHook => "Azure DevOps service hook",
            Self::BareCdEvents => "bare CDEvents",
            Self::CdEventsInCloudEvents => "CDEvents in CloudEvents",
            Self::GitHubDeploymentStatus => "GitHub deployment_status",
            Self::GitHubDeployment => "GitHub deployment",
            Self::GitHubWorkflowRun => "GitHub workflow_run",
            Self::Flux => "Flux event",
            Self::Kudu => "Kudu deployment notice",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Values of `schemaId`, compared without case.
const SCHEMA_IDS: &[(&str, Format)] = &[
    ("azureMonitorCommonAlertSchema", Format::CommonAlert),
    ("AzureMonitorMetricAlert", Format::LegacyMetricAlert),
    ("Microsoft.Insights/activityLogs", Format::LegacyActivityLogAlert),
    ("Microsoft.Insights/LogAlert", Format::LegacyApplicationInsightsLogAlert),
    ("AIP Budget Notification", Format::LegacyBudget),
];

/// Names the format, looking at as little as tells it: what the fields hold is for the format's own file to judge.
pub(super) fn identify(message: &Object<'_>) -> Result<Format, Problem> {
    let has = |keys: &[&str]| keys.iter().all(|key| message.has(key));
    let word = |key: &str| message.raw_text(key).unwrap_or_default();

    if message.has("schemaId") {
        let Some(schema_id) = message.raw_text("schemaId") else {
            return Err(message.problem("schemaId", "must be text"));
        };
        let known = SCHEMA_IDS.iter().find(|(id, _)| id.eq_ignore_ascii_case(schema_id.trim()));
        return known.map(|(_, format)| *format).ok_or_else(|| {
            message.problem("schemaId", "is none that is known; switch the action group's receiver to the common alert schema")
        });
    }
    if has(&["SearchQuery", "SearchIntervalStartTimeUtc", "AlertRuleName"]) {
        return Ok(Format::LegacyLogAnalyticsAlert);
    }
    if matches!(word("status"), "Activated" | "Resolved") && message.inner_has("context", "conditionType") {
        return Ok(Format::ClassicAlert);
    }
    if word("type").eq_ignore_ascii_case("Microsoft.AlertsManagement/alerts") && message.inner_has("properties", "essentials") {
        return Ok(Format::AlertsApi);
    }
    // `specVersion` is met as well: names are compared without case.
    if has(&["specversion", "type", "source"]) {
        let is_cdevent = word("type").starts_with("dev.cdevents.");
        return Ok(if is_cdevent { Format::CdEventsInCloudEvents } else { Format::CloudEvents });
    }
    if has(&["eventType", "eventTime"]) && (message.has("topic") || message.has("subject")) && !message.has("publisherId") {
        return Ok(Format::EventGridSchema);
    }
    if has(&["publisherId", "eventType", "resource"]) {
        return Ok(Format::AzureDevOpsServiceHook);
    }
    if message.inner_text("context", "type").is_some_and(|t| t.starts_with("dev.cdevents."))
        && message.inner_has("subject", "content")
    {
        return Ok(Format::BareCdEvents);
    }
    if has(&["deployment_status", "deployment", "repository"]) {
        return Ok(Format::GitHubDeploymentStatus);
    }
    if has(&["deployment", "repository"]) && word("action") == "created" {
        return Ok(Format::GitHubDeployment);
    }
    if message.has("workflow_run") {
        return Ok(Format::GitHubWorkflowRun);
    }
    if has(&["involvedObject", "reportingController"]) {
        return Ok(Format::Flux);
    }
    if has(&["siteName", "deployer", "complete"]) {
        return Ok(Format::Kudu);
    }
    Err(Problem::body(if message.has("alertContext") {
        "holds only a part of an alert; send the whole message of the common alert schema"
    } else {
        "is in no format that is known; send the common alert schema, Event Grid or CloudEvents, an Azure DevOps service hook, \
         a GitHub web hook, a CDEvent, a Flux event or a Kudu notice, unchanged"
    }))
}
