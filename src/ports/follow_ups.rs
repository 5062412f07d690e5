//! Messages that backout schedules to itself.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::domain::{record::RecordId, target::TargetKey};

/// A wake-up, no more: the truth is `nextStepAt` in the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FollowUp {
    /// Version of this format; 1.
    pub v: u32,
    pub record: RecordId,
    pub target: Option<TargetKey>,
    pub step: StepName,
    /// Of the record for a hold, a proposal and an approval; of the target for a rollback. Stale: done, no effect (A3).
    pub generation: u64,
    pub due_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepName {
    /// The end of an evidence wait, or of a wait for another rollback.
    LookAgain,
    /// The next step of a rollback: resume, poll or verify.
    Rollback,
    /// A person approved or declined.
    Approval,
    /// A proposal has expired.
    Expire,
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LookAgain => "look again",
            Self::Rollback => "rollback",
            Self::Approval => "approval",
            Self::Expire => "expire",
        })
    }
}

/// Bytes that go (back) on one of our own queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// `alerts`, `deployments`, `markers` or `followups`.
    pub queue: String,
    pub body: Vec<u8>,
    /// How often these bytes were put back so far; travels as the application property `backout-returns`.
    pub returns: u32,
    /// Where the queue detects duplicates, this keeps a message that was sent twice from arriving twice.
    pub message_id: Option<String>,
}

/// A queue that hands a message out no earlier than asked, at least once.
#[async_trait::async_trait]
pub trait FollowUps: Send + Sync {
    /// Sends now, to arrive after `delay`. Called twice: it may arrive twice. After an error it may arrive all the same.
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError>;
}
