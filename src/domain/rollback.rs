//! The saga which follows a claim, as it is stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    observation::WayBack,
    record::RecordId,
    service::Service,
    target::{Fingerprint, TargetKey, VersionToken, short_hash},
};

/// One mutating call of a rollback. A rollback has one or more, at most one of them a toggle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// For people, such as `swap slot staging with production`.
    pub says: String,
    pub kind: StepKind,
    /// What the adapter needs to submit it; opaque to everybody else.
    pub detail: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepKind {
    /// Sending it again changes nothing more.
    Convergent,
    /// Sending it again undoes it.
    Toggle,
}

/// Names one rollback towards a platform which takes a name from the caller. The same for every attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// One bad version of one target: 26 characters of `a-z` and `2-7`.
    pub claim: String,
    /// What a person looks up with `backout show`.
    pub record: RecordId,
}

impl Fence {
    pub fn new(target: &TargetKey, accused: &VersionToken, record: &RecordId) -> Self {
        Self { claim: short_hash(&[target.claimed(), &accused.0]), record: record.clone() }
    }
}

/// What became of a submission, as far as the answer told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub enum Submission {
    /// It is done.
    Done,
    /// It was accepted and goes on; `operation` is what [`crate::ports::Platform::poll`] needs.
    Accepted { operation: Value, poll_after_seconds: u32 },
    /// The platform said no: it provably did not happen and will not.
    Refused { says: String },
    /// Something else is under way on the target; ours was not taken.
    Busy { says: String },
    /// Not a byte left this machine, or the platform turned it away unprocessed (429).
    NotSent { says: String, retry_after_seconds: Option<u32> },
    /// Sent, and no answer that tells. Look before anything else (invariant 4).
    Unknown { says: String },
}

/// How an accepted operation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum OperationState {
    Running {
        poll_after_seconds: u32,
    },
    /// It goes on once a person lets it, as an approval gate of a pipeline asks for; `says` where.
    WaitsForAPerson {
        says: String,
        poll_after_seconds: u32,
    },
    Succeeded,
    /// The platform gave up; what runs now must be read.
    Failed {
        says: String,
    },
    /// The operation can't be read (403, expired): look at the target itself.
    Unknown {
        says: String,
    },
}

/// A claimed rollback, kept in the target's document from the claim until it is ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Busy {
    pub record: RecordId,
    /// The service's policy as it was when the rollback was decided; later edits of the file do not reach it.
    pub service: Service,
    pub accused: VersionToken,
    pub accused_fingerprint: Option<Fingerprint>,
    /// The explicit version to go back to.
    pub good: WayBack,
    pub steps: Vec<Step>,
    /// Index of the step to submit, or under way.
    pub step: usize,
    pub phase: Phase,
    /// Operation of the current step, once accepted.
    pub operation: Option<Value>,
    pub since: Timestamp,
    pub next_step_at: Timestamp,
    /// The `next_step_at` whose wake-up the queue had taken before that time was stored here. While both are equal, a wake-up that
    /// is due earlier needs no successor.
    pub wake_up_sent_for: Option<Timestamp>,
    /// Follow-ups so far in this phase; the back-off grows with it.
    pub tries: u32,
    /// The claim's attempt of which the answer proved that nothing was processed (429, no connection); only that very
    /// attempt may be followed by another send without a quiet time.
    pub not_sent_attempt: Option<u32>,
    /// What the platform said when it refused or gave up, which proves that the call took no effect.
    pub refused: Option<String>,
    /// When our own call was seen to have taken effect.
    pub applied_at: Option<Timestamp>,
    /// The token that our own call produced.
    pub result: Option<VersionToken>,
    /// Set when only a person can end this (`backout clear`); says why.
    pub left_to_a_person: Option<String>,
}

impl Busy {
    /// Whether the queue has the wake-up for the next step, or had it.
    pub fn wake_up_is_sent(&self) -> bool {
        self.wake_up_sent_for == Some(self.next_step_at)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The target is ours; whether the claim was inserted, and so whether anything was sent, the claim itself tells.
    Claimed,
    /// The call may have been sent; its answer is not stored.
    Submitting,
    /// The platform accepted it; the operation is polled.
    Accepted,
    /// It took effect; recovery is being watched.
    Verifying,
}

/// The stored right to take one version token back. Inserted once, never deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    pub target: TargetKey,
    pub token: VersionToken,
    #[serde(flatten)]
    pub kind: ClaimKind,
    pub written_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "kind")]
pub enum ClaimKind {
    /// Whoever holds it may send, once an attempt.
    ///
    /// `attempt` grows with every authorised send; `resubmissions` counts those after an answer that never told.
    Rollback { record: RecordId, attempt: u32, resubmissions: u32, closed: bool },
    /// The token is the result of our own call; it is never taken back. `fingerprint` is `None` where it only may be.
    Tombstone { record: RecordId, fingerprint: Option<Fingerprint> },
}

/// How a rollback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RollbackState {
    Claimed,
    Submitting,
    Accepted,
    Verifying,
    Recovered,
    NotRecovered,
    Failed,
    Unknown,
}

impl RollbackState {
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Recovered | Self::NotRecovered | Self::Failed | Self::Unknown => true,
            Self::Claimed | Self::Submitting | Self::Accepted | Self::Verifying => false,
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Submitting => "submitting",
            Self::Accepted => "accepted",
            Self::Verifying => "verifying",
            Self::Recovered => "recovered",
            Self::NotRecovered => "not recovered",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Phase> for RollbackState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Claimed => Self::Claimed,
            Phase::Submitting => Self::Submitting,
            Phase::Accepted => Self::Accepted,
            Phase::Verifying => Self::Verifying,
        }
    }
}
