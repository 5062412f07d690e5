//! A service as the policy describes it: one target, the alerts that speak about it, and how far automation may go.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::{alert::Severity, resource_id::ResourceId, series::EvidenceMetric, target::Target};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceName(pub String);

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One service of the policy file, every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    pub name: ServiceName,
    pub target: Target,
    /// Any of these makes an alert speak about the service; an alert on the target's own resource always does.
    pub alerts: Vec<AlertMatcher>,
    /// Any of these makes an event without a resource id speak about the service.
    pub deployments: Vec<DeploymentMatcher>,
    pub depends_on: Vec<ServiceName>,
    pub reversible: Reversible,
    pub mode: Mode,
    pub severity_at_least: Severity,
    /// How long after a rollout an alert may still accuse it (C3).
    pub correlation_window: SignedDuration,
    /// How long a Hold waits for evidence (T2).
    pub evidence_wait: SignedDuration,
    /// How long a version must have served to be proven good (S5).
    pub healthy_for: SignedDuration,
    pub cool_down: SignedDuration,
    pub budget: Budget,
    /// How long after the last write of a claim nothing may be concluded from a silent platform.
    pub quiet_time: SignedDuration,
    pub verify_within: SignedDuration,
    /// Whether a toggle that provably did not happen may be sent a second time.
    pub resubmit: Resubmit,
    /// Signals that show the fault and the recovery; never empty.
    pub evidence: Vec<EvidenceMetric>,
}

/// All keys that are given must match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertMatcher {
    /// The alert names this resource or one below it.
    pub resource: Option<ResourceId>,
    /// Rule name; `*` stands for any run of characters, case does not matter.
    pub rule: Option<String>,
    /// Custom properties or dimensions with exactly these values.
    pub property: Vec<(String, String)>,
}

/// All keys that are given must match, without case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentMatcher {
    pub project: Option<String>,
    pub pipeline: Option<String>,
    pub stage: Option<String>,
    pub repository: Option<String>,
    pub environment: Option<String>,
    pub subject: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reversible {
    /// Every change of this service can be taken back.
    Always,
    /// A change can be taken back if its pipeline said so.
    Declared,
    Never,
}

/// How far automation may go; ordered from the most careful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    Observe,
    Propose,
    Act,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Observe => "observe",
            Self::Propose => "propose",
            Self::Act => "act",
        })
    }
}

/// At most `rollbacks` in any span of length `per`, counted per subscription of the target (A6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub rollbacks: u32,
    pub per: SignedDuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Resubmit {
    Never,
    Once,
}
