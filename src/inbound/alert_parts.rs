//! Words that several alert schemas share: severity, condition, kind of signal.

use crate::domain::alert::{AlertSignal, Condition, Severity};

use super::fields::{Object, Problem};

/// `Sev0` to `Sev4`; absent for budgets.
pub(super) fn severity(fields: &Object<'_>, key: &str) -> Result<Option<Severity>, Problem> {
    let Some(text) = fields.text(key)? else { return Ok(None) };
    match Severity::parse(&text) {
        Some(severity) => Ok(Some(severity)),
        None => Err(fields.problem(key, "is no severity; `Sev0` to `Sev4` is expected")),
    }
}

/// A digit or a word. The words follow today's names of the levels; old log alerts counted `Warning` one level worse,
/// and the milder reading is the careful one.
pub(super) fn legacy_severity(fields: &Object<'_>, key: &str) -> Result<Option<Severity>, Problem> {
    let Some(text) = fields.scalar(key)? else { return Ok(None) };
    let level = match text.to_ascii_lowercase().as_str() {
        "critical" => Severity::new(0),
        "error" => Severity::new(1),
        "warning" => Severity::new(2),
        "informational" => Severity::new(3),
        "verbose" => Severity::new(4),
        _ => Severity::parse(&text),
    };
    let reason = "is no severity; `0` to `4`, or Critical, Error, Warning, Informational or Verbose is expected";
    level.map(Some).ok_or_else(|| fields.problem(key, reason))
}

/// The only truth about the alert's state.
pub(super) fn monitor_condition(essentials: &Object<'_>) -> Result<Condition, Problem> {
    let key = "monitorCondition";
    let word = essentials.text(key)?.ok_or_else(|| essentials.problem(key, "is missing; `Fired` or `Resolved` is expected"))?;
    if word.eq_ignore_ascii_case("Fired") {
        Ok(Condition::Fired)
    } else if word.eq_ignore_ascii_case("Resolved") {
        Ok(Condition::Resolved)
    } else {
        Err(essentials.problem(key, "is neither `Fired` nor `Resolved`"))
    }
}

/// State of the legacy schemas.
pub(super) fn legacy_status(fields: &Object<'_>) -> Result<Condition, Problem> {
    let key = "status";
    let word = fields.text(key)?.ok_or_else(|| fields.problem(key, "is missing; `Activated` or `Deactivated` is expected"))?;
    match word.to_ascii_lowercase().as_str() {
        "activated" => Ok(Condition::Fired),
        "deactivated" | "resolved" => Ok(Condition::Resolved),
        _ => Err(fields.problem(key, "is none of `Activated`, `Deactivated` and `Resolved`")),
    }
}

/// By the monitoring service; `Smart Detector` and `ActivityLog Security` are spellings of the Alerts API.
/// A metric alert on a custom metric namespace carries that namespace as its service.
pub(super) fn signal(monitoring_service: Option<&str>, signal_type: Option<&str>) -> AlertSignal {
    let squeezed = |text: &str| -> String {
        text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_lowercase()).collect()
    };
    match squeezed(monitoring_service.unwrap_or_default()).as_str() {
        "platform" => AlertSignal::Metric,
        "loganalytics" | "applicationinsights" | "logalertsv2" => AlertSignal::Log,
        "servicehealth" => AlertSignal::ServiceHealth,
        "resourcehealth" => AlertSignal::ResourceHealth,
        "smartdetector" => AlertSignal::SmartDetector,
        "prometheus" => AlertSignal::Prometheus,
        "costalerts" => AlertSignal::Budget,
        service if service.starts_with("activitylog") => AlertSignal::ActivityLog,
        _ if squeezed(signal_type.unwrap_or_default()) == "metric" => AlertSignal::Metric,
        _ => AlertSignal::Unknown,
    }
}
