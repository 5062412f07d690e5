//! One firing of an Azure Monitor alert rule, whatever schema told it.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An alert as it was understood. Source of the fields: `event-formats` 3 and 4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Id of the alert instance, the same in Fired and Resolved; `None` in the legacy schemas. Any text: not always a GUID or an ARM id.
    pub id: Option<String>,
    /// Name of the rule.
    pub rule: Option<String>,
    pub severity: Option<Severity>,
    pub condition: Condition,
    /// What the alert speaks about, as written, the most exact first: dimensions, configuration items that are ARM ids, target ids.
    pub resources: Vec<String>,
    pub fired_at: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    pub schema: AlertSchema,
    pub signal: AlertSignal,
    /// Time range that the rule evaluated, where the message says so.
    pub window: Option<AlertWindow>,
    /// Dimensions and labels; names as written.
    pub dimensions: BTreeMap<String, String>,
    /// The operator's custom properties; non-text values as their JSON text.
    pub properties: BTreeMap<String, String>,
}

/// `Sev0` (critical) to `Sev4` (verbose); smaller is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Severity(u8);

impl Severity {
    /// `None` above 4.
    pub fn new(level: u8) -> Option<Self> {
        (level <= 4).then_some(Self(level))
    }

    /// Accepts `Sev2` in any case and the legacy digit `2`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = if text.get(..3).is_some_and(|p| p.eq_ignore_ascii_case("sev")) { &text[3..] } else { text };
        digits.parse().ok().and_then(Self::new)
    }

    /// True if this is as bad as `gate`, or worse (rule E2).
    pub fn at_least(self, gate: Self) -> bool {
        self.0 <= gate.0
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sev{}", self.0)
    }
}

impl TryFrom<String> for Severity {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a severity; write Sev0, Sev1, Sev2, Sev3 or Sev4"))
    }
}

impl From<Severity> for String {
    fn from(severity: Severity) -> Self {
        severity.to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    Fired,
    Resolved,
}

/// Which family of schemas told the alert: only the common one carries an id that pairs Fired with Resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlertSchema {
    Common,
    Legacy,
}

/// What kind of rule fired, as far as a decision needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlertSignal {
    Metric,
    Log,
    ActivityLog,
    /// Azure's own word about its platform: a reason to hold back, never to roll back.
    ServiceHealth,
    ResourceHealth,
    SmartDetector,
    Prometheus,
    Budget,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertWindow {
    pub start: Timestamp,
    pub end: Timestamp,
}
