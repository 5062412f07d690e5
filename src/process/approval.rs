//! A person's answer to a proposal: stored by compare-and-set, used once, and only for the version that was proposed (A11).

use jiff::Timestamp;

use super::{
    Process,
    documents::{Loaded, ReadBefore, keys},
    outcome::Outcome,
    settle::{PROPOSAL_VALID, decided},
    trouble::Trouble,
};
use crate::{
    decide::history,
    domain::{
        approval::{Approval, Verdict},
        decision::{Decision, DecisionKind},
        instant::whole_seconds,
        policy::Policy,
        record::{Record, RecordId},
        rule::RuleId,
        target::TargetKey,
        target_state::{Declined, TargetState},
    },
    ports::{FollowUp, PortError, StepName},
};

/// Why an answer was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotAnswered {
    #[error("no record `{0}` is known; `backout history` lists them")]
    Unknown(RecordId),
    #[error("record `{record}` has no open proposal: its decision is {decision}")]
    NotProposed { record: RecordId, decision: String },
    #[error("the proposal of record `{record}` expired at {}; what fires again is proposed again", whole_seconds(*.expired_at))]
    Expired { record: RecordId, expired_at: Timestamp },
    #[error("record `{record}` was answered already, by {by}")]
    Answered { record: RecordId, by: String },
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl Process {
    /// Stores a person's answer and wakes the handler, which acts on it. Says what happens next.
    pub async fn answer(&self, id: &RecordId, verdict: Verdict, by: &str) -> Result<String, NotAnswered> {
        let now = self.ports.clock.now();
        let record = self.record(id).await.map_err(Trouble::from)?.ok_or_else(|| NotAnswered::Unknown(id.clone()))?;
        if let Some(approval) = &record.approval {
            // Whoever gave it may have died before the handler was woken.
            if approval.counts() {
                self.wake(&record).await?;
            }
            return Err(NotAnswered::Answered { record: id.clone(), by: approval.by.clone() });
        }
        let decision = record.decision.as_ref();
        let proposal = decision
            .filter(|decision| decision.kind == DecisionKind::Propose)
            .and_then(|decision| Some((decision, decision.accused.as_deref()?)));
        let (Some((proposal, accused)), Some(decided_at)) = (proposal, record.decided_at) else {
            let decision = decision.map_or_else(|| "not made yet".to_owned(), |decision| decision.kind.to_string());
            return Err(NotAnswered::NotProposed { record: id.clone(), decision });
        };
        let expired_at = decided_at + PROPOSAL_VALID;
        if now >= expired_at {
            return Err(NotAnswered::Expired { record: id.clone(), expired_at });
        }
        match verdict {
            // Before the record is closed: a no that only the record knew would not hold for the next alert about this version.
            Verdict::Declined => {
                let declined = Declined { record: id.clone(), token: accused.token.clone(), at: now };
                self.keep_declined(&accused.target, declined).await.map_err(Trouble::from)?;
            }
            Verdict::Approved => {}
        }
        let approval = Approval::new(verdict, proposal, accused, by, now);
        let updated = self
            .update_record(id, record.generation, |record| {
                record.approval = Some(approval.clone());
                match verdict {
                    Verdict::Approved => record.note(now, "a person approved the proposal"),
                    Verdict::Declined => {
                        record.note(now, "a person declined the proposal");
                        decided(record, super::alert::ignore(RuleId::A11, "a person declined the proposal".to_owned()), now);
                    }
                }
            })
            .await
            .map_err(Trouble::from)?;
        let Some(written) = updated else {
            let by = "another answer or a new decision".to_owned();
            return Err(NotAnswered::Answered { record: id.clone(), by });
        };
        match verdict {
            Verdict::Declined => {
                self.unhold(&written.value, None).await.map_err(Trouble::from)?;
                self.finish_telling_written(written).await?;
                Ok(format!(
                    "declined; record {id} is closed, nothing is done, and this version is not taken back without a person's yes"
                ))
            }
            Verdict::Approved => {
                self.wake_for_approval(&written.value, now).await?;
                Ok(format!(
                    "approved; the handler checks again that all is as it was proposed, and acts. `backout show {id}` tells how it goes"
                ))
            }
        }
    }

    async fn keep_declined(&self, target: &TargetKey, declined: Declined) -> Result<(), PortError> {
        self.documents
            .update(
                &keys::target(target),
                || Some(TargetState::new(target.clone())),
                |state: &mut TargetState| {
                    history::add_declined(state, declined.clone());
                    Some(())
                },
            )
            .await?;
        Ok(())
    }

    /// Sends the wake-up that acts on an unused approval.
    pub(super) async fn wake_for_approval(&self, record: &Record, due_at: Timestamp) -> Result<(), Trouble> {
        let (record, generation) = (record.id.clone(), record.generation);
        self.schedule(&FollowUp { v: 1, record, target: None, step: StepName::Approval, generation, due_at }).await
    }

    /// A person who said yes is told that nothing came of it.
    pub(super) async fn approval_was_too_late(&self, read: &Loaded<Record>) -> Result<Outcome, Trouble> {
        let (record, now) = (&read.value, self.ports.clock.now());
        let says = "a person approved the proposal, but the approval came into force too late; nothing was done".to_owned();
        let late = self
            .update_record_from(&record.id, record.generation, ReadBefore::There(read.clone()), |record| {
                if let Some(approval) = &mut record.approval {
                    approval.used = true;
                }
                let accused = record.decision.take().and_then(|decision| decision.accused);
                decided(record, Decision { accused, ..super::alert::page(RuleId::A11, says.clone()) }, now);
            })
            .await?;
        self.unhold(record, None).await?;
        if let Some(written) = late {
            self.finish_telling_written(written).await?;
        }
        Ok(Outcome::Settled { says: format!("the approval of record {} came too late", record.id) })
    }

    /// Decides again with the approval; the rules that no approval lifts still stand.
    pub(super) async fn approval_received(&self, read: &Loaded<Record>, policy: &Policy) -> Result<Outcome, Trouble> {
        let record = &read.value;
        if !record.approval.as_ref().is_some_and(Approval::counts) {
            return Ok(Outcome::Settled { says: format!("record {} has no unused approval", record.id) });
        }
        let now = self.ports.clock.now();
        let expired = record.decided_at.is_none_or(|decided_at| now >= decided_at + PROPOSAL_VALID);
        if expired {
            return self.approval_was_too_late(read).await;
        }
        // A Hold leaves proposal and approval as they are; the next wake-up looks again.
        let outcome = self
            .look(read, policy, |decision| match decision.kind {
                DecisionKind::Act | DecisionKind::Page | DecisionKind::Ignore => true,
                DecisionKind::Hold | DecisionKind::Propose => false,
            })
            .await?;
        let after = self.record(&record.id).await?;
        if let Some(after) =
            after.filter(|after| after.generation == record.generation && after.approval.as_ref().is_some_and(Approval::counts))
        {
            self.wake_for_approval(&after, now + jiff::SignedDuration::from_secs(30)).await?;
        }
        Ok(outcome)
    }
}
