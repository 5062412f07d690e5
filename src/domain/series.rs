//! Measurements over time. A point carries the *end* of its window; null is "asked, no value".

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::resource_id::ResourceId;

/// A signal that the policy names as evidence: a metric, or the share of one metric in another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceMetric {
    /// Name of the metric, or of the numerator.
    pub metric: String,
    /// Name of the denominator; the value is then a share between 0 and 1.
    pub of: Option<String>,
    pub worse_when: WorseWhen,
    /// What a missing value of a counting metric means while its denominator is there (E4).
    pub no_data: NoData,
    /// Where the signal lives; `None` is the target's own resource.
    pub resource: Option<ResourceId>,
}

impl EvidenceMetric {
    /// The signal's name for people, such as `Http5xx of Requests`.
    pub fn name(&self) -> String {
        match &self.of {
            Some(of) => format!("{} of {of}", self.metric),
            None => self.metric.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum WorseWhen {
    Higher,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoData {
    Unknown,
    Zero,
}

/// One signal of one resource, in order of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    pub name: String,
    pub worse_when: WorseWhen,
    /// What one point covers.
    pub interval: SignedDuration,
    /// How long the source needs until a bin is complete.
    pub source_lag: SignedDuration,
    pub points: Vec<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// End of the window: the first moment at which the value can be known.
    pub end: Timestamp,
    /// The value to judge; `None` is unknown.
    pub value: Option<f64>,
    /// The denominator (requests, say) that stands behind the value; `None` is unknown. Freshness goes by it (E8).
    pub weight: Option<f64>,
}
