//! Messages that backout schedules to itself.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::domain::{printable::printable_place, record::RecordId, target::TargetKey};

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

impl FollowUp {
    /// Reads a message of our own queue, which others may send to as well; the error is a sentence.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_slice(body);
        // Where it is broken, in words of our own: those of the parser quote the message.
        let read: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let (line, column) = (error.inner().line(), error.inner().column());
            let place = printable_place(error.path());
            format!("not a follow-up of ours: `{place}` makes no sense at line {line}, column {column}")
        })?;
        json.end().map_err(|error| {
            format!("not a follow-up of ours: something follows it at line {}, column {}", error.line(), error.column())
        })?;
        if read.v != 1 {
            return Err(format!("`v`: this version knows follow-ups of version 1, not {}", read.v));
        }
        Ok(read)
    }
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
    /// Where the queue detects duplicates (Standard and Premium, if switched on), a second message with the id of an earlier one
    /// is taken and dropped, for minutes or for days. So two copies share an id only if the first makes the second needless:
    /// - a wake-up is named by record, target, step, generation and due time: sent again by a retry or after a crash, it arrives
    ///   once. `sweep` gives what it wakes a due time of its own;
    /// - a wake-up that came early and is sent again for the same due time has an id of its own, since the first copy is gone;
    /// - what is put back has none: the same bytes may rightly be put back once more, also after a replay;
    /// - a replayed dead letter's comes from the old id and the letter's number: replayed twice after a crash, it arrives once;
    ///   dead again, it is another letter.
    pub message_id: Option<String>,
}

/// A queue that hands a message out no earlier than asked, at least once.
#[async_trait::async_trait]
pub trait FollowUps: Send + Sync {
    /// Sends now, to arrive after `delay`. Called twice: it may arrive twice. After an error it may arrive all the same.
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError>;
}
