//! What a platform says about a target right now, in words that hold for every platform.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    rule::RuleId,
    target::{Fingerprint, VersionToken},
};

/// One reading of a target. All times are the platform's own, except `observed_at` which is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    pub observed_at: Timestamp,
    pub running: RunningVersion,
    /// An operation of anybody's that has not ended, in words; while there is one nothing is decided (A4).
    pub under_way: Option<String>,
    /// Where an earlier version could come from, in the policy's order of preference. May be empty.
    pub ways_back: Vec<WayBack>,
    /// What stands against any rollback of this target.
    pub obstacles: Vec<Obstacle>,
}

/// What serves users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningVersion {
    pub token: VersionToken,
    /// `None` where the platform does not tell content apart: nothing can be proven then.
    pub fingerprint: Option<Fingerprint>,
    /// When this version began to serve, as the platform says; `None` if it cannot.
    pub serving_since: Option<Timestamp>,
    /// For people, such as `build-42 (swapped in from staging)`.
    pub label: String,
}

/// One place that holds a version to which the target could go back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WayBack {
    /// Unique within the target, such as `slot staging`.
    pub name: String,
    /// The content that it holds now.
    pub fingerprint: Option<Fingerprint>,
    /// For people.
    pub label: String,
    /// What stands against this way in particular.
    pub obstacles: Vec<Obstacle>,
    /// What the adapter needs to take it; opaque to everybody else.
    pub detail: Value,
}

/// A fact which forbids a rollback, or takes the decision out of our hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    pub rule: RuleId,
    pub weight: ObstacleWeight,
    /// What is in the way and what would clear it, in words for a person.
    pub says: String,
}

impl Obstacle {
    pub fn propose(rule: RuleId, says: impl Into<String>) -> Self {
        Self { rule, weight: ObstacleWeight::Propose, says: says.into() }
    }

    pub fn page(rule: RuleId, says: impl Into<String>) -> Self {
        Self { rule, weight: ObstacleWeight::Page, says: says.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObstacleWeight {
    /// A person must decide, and may: the way itself is open.
    Propose,
    /// The way is closed; not even an approval opens it.
    Page,
}

/// Whether the ways back are open to us: rights, locks, differences. Reads only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// Obstacles of any rollback, such as a missing right.
    pub obstacles: Vec<Obstacle>,
    /// Obstacles of one way back, by its name.
    pub ways_back: Vec<(String, Vec<Obstacle>)>,
}
