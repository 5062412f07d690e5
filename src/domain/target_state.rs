//! The one bounded document of a target.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    record::{DocumentRef, RecordId},
    rollback::Busy,
    target::{Fingerprint, TargetKey, VersionToken},
};

/// What we know about a target. Every list is bounded; the oldest entries go first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetState {
    pub target: TargetKey,
    /// Grows whenever `busy` is set or cleared; follow-ups carry it (A3).
    pub generation: u64,
    /// Rollouts that the platform confirmed, oldest first.
    pub rollouts: Vec<Rollout>,
    /// What pipelines said about changes, oldest first.
    pub markers: Vec<Marker>,
    /// Firings of the last days, oldest first (C2).
    pub firings: Vec<Firing>,
    /// What is left of the firings that had no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten_firings: Option<ForgottenFirings>,
    /// Records that wait, and when each is due.
    pub holds: Vec<HoldRef>,
    /// The rollback under way. In a box: the document mostly has none, and is moved through many hands.
    pub busy: Option<Box<Busy>>,
    /// Tokens that a rollback of ours was claimed for, and tokens that our rollbacks produced: a cheap copy of the claims,
    /// which remain the truth.
    pub taken_back: Vec<TakenBack>,
    /// Versions that a person said no to taking back, oldest first (A11).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declined: Vec<Declined>,
    /// Why automation is off until a person clears it (A7).
    pub frozen: Option<String>,
    /// Newest receipt of this target's chain, and how many there are.
    pub receipt_head: Option<DocumentRef>,
    pub receipt_count: u64,
    /// The newest receipts, oldest first: who tells once more what somebody else has just told finds it here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub written_receipts: Vec<WrittenReceipt>,
}

impl TargetState {
    pub const ROLLOUTS_MAX: usize = 20;
    pub const MARKERS_MAX: usize = 20;
    pub const FIRINGS_MAX: usize = 50;
    pub const HOLDS_MAX: usize = 50;
    pub const TAKEN_BACK_MAX: usize = 20;
    pub const DECLINED_MAX: usize = 20;
    /// Others that may be told of the target between two who tell the same.
    pub const WRITTEN_RECEIPTS_MAX: usize = 8;

    pub fn new(target: TargetKey) -> Self {
        Self {
            target,
            generation: 0,
            rollouts: Vec::new(),
            markers: Vec::new(),
            firings: Vec::new(),
            forgotten_firings: None,
            holds: Vec::new(),
            busy: None,
            taken_back: Vec::new(),
            declined: Vec::new(),
            frozen: None,
            receipt_head: None,
            receipt_count: 0,
            written_receipts: Vec::new(),
        }
    }

    /// Removes what stands of an attempt of `record`. Where it sent nothing, that would speak against the version for ever.
    pub fn forget_attempt(&mut self, record: &RecordId) {
        self.taken_back.retain(|taken| taken.record != *record);
    }
}

/// One version that served, as the platform told it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    pub token: VersionToken,
    pub fingerprint: Option<Fingerprint>,
    /// When it began to serve, by the platform's clock.
    pub serving_since: Option<Timestamp>,
    /// When we first and last saw it serve, by our clock; first since it came back, where the platform tells no start of it.
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// What each way back held when the rollout was first seen (S6): name and content.
    pub before: Vec<(String, Option<Fingerprint>)>,
    pub label: String,
}

/// A pipeline's word about a change: when, and whether it can be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marker {
    pub event_id: String,
    pub source: String,
    pub at: Timestamp,
    pub status: super::deployment::DeploymentStatus,
    pub version: Option<String>,
    pub reversible: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Firing {
    pub record: RecordId,
    pub rule: String,
    pub resource: String,
    pub fired_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
}

/// Enough of the firings that are kept no more to tell when one of them may have been trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForgottenFirings {
    /// All that fired after it are kept.
    pub last_fired_at: Timestamp,
    /// When the last of them was over; `None` where one never was, for all that was known.
    pub over_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldRef {
    pub record: RecordId,
    pub next_step_at: Timestamp,
}

/// One rollback of ours: what it took back, and what it produced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenBack {
    pub record: RecordId,
    pub accused: VersionToken,
    pub accused_fingerprint: Option<Fingerprint>,
    pub claimed_at: Timestamp,
    /// What came of it. Without a fingerprint: what may have come of it, for all that can be told.
    pub result: Option<VersionToken>,
    pub result_fingerprint: Option<Fingerprint>,
    /// What was still to come of a call when a person freed the target: nobody was there any more to see it come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Fingerprint>,
}

/// A person's no to taking one version back. The record that asked keeps whose it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Declined {
    pub record: RecordId,
    pub token: VersionToken,
    pub at: Timestamp,
}

/// A receipt of the target's chain, by what it tells: one state of one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenReceipt {
    pub record: RecordId,
    pub generation: u64,
    pub number: u64,
}
