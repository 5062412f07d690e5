//! A wake-up for a record that waits: for evidence, for another rollback, for a person.

use jiff::SignedDuration;

use super::{
    Process,
    documents::{Loaded, ReadBefore},
    outcome::Outcome,
    settle::decided,
    trouble::Trouble,
};
use crate::{
    domain::{
        approval::Approval,
        decision::{Decision, DecisionKind},
        instant::whole_seconds,
        policy::Policy,
        record::Record,
        rollback::RollbackState,
        rule::RuleId,
    },
    ports::{FollowUp, PortError, StepName},
};

/// Between two looks at a rollback that another record waits for.
const ATTACHED_PAUSE: SignedDuration = SignedDuration::from_secs(60);

impl Process {
    /// Takes the step that a wake-up means, if it is still due. Stale: only what a crash left untold is told (A3).
    pub async fn follow_up_received(&self, follow_up: FollowUp, policy: &Policy) -> Result<Outcome, Trouble> {
        match follow_up.step {
            StepName::Rollback => Box::pin(self.rollback_step(&follow_up)).await,
            StepName::LookAgain | StepName::Approval | StepName::Expire => self.record_step(&follow_up, policy).await,
        }
    }

    async fn record_step(&self, follow_up: &FollowUp, policy: &Policy) -> Result<Outcome, Trouble> {
        let Some(read) = self.read_record(&follow_up.record).await? else {
            return Ok(Outcome::Settled { says: format!("record {} is not known; the wake-up has no effect", follow_up.record) });
        };
        let record = &read.value;
        self.finish_telling(record, &[]).await?;
        if record.generation != follow_up.generation {
            // It may be stale because this very message led to a call, and the process died before it could go on.
            self.wake(record).await?;
            return Ok(Outcome::Settled { says: format!("record {} has gone on; the wake-up is stale", record.id) });
        }
        match follow_up.step {
            StepName::LookAgain => self.look_again(&read, follow_up, policy).await,
            StepName::Approval => self.approval_received(&read, policy).await,
            StepName::Expire => self.expire(&read, follow_up).await,
            StepName::Rollback => {
                Ok(Outcome::Settled { says: "a rollback's step belongs to its target, not to the record".to_owned() })
            }
        }
    }

    async fn look_again(&self, read: &Loaded<Record>, follow_up: &FollowUp, policy: &Policy) -> Result<Outcome, Trouble> {
        let record = &read.value;
        let waits = record.decision.as_ref().is_none_or(|decision| decision.kind == DecisionKind::Hold);
        if !waits {
            return Ok(Outcome::Settled { says: format!("record {} does not wait any more", record.id) });
        }
        let now = self.ports.clock.now();
        if let Some(attached) = &record.attached_to {
            let other = self.record(attached).await?;
            match other.as_ref().and_then(|other| other.rollback) {
                Some(RollbackState::Recovered) if other.as_ref().is_some_and(|other| watched_all_of(other, record)) => {
                    let decision =
                        super::alert::ignore(RuleId::V1, format!("the rollback of record {attached} recovered the service"));
                    return self.end_attached(read, decision).await;
                }
                Some(ended @ (RollbackState::NotRecovered | RollbackState::Failed | RollbackState::Unknown)) => {
                    let decision = super::alert::page(
                        RuleId::V3,
                        format!("the rollback of record {attached} ended as {}, and this alert waited for it", ended.words()),
                    );
                    return self.end_attached(read, decision).await;
                }
                Some(RollbackState::Claimed | RollbackState::Submitting | RollbackState::Accepted | RollbackState::Verifying) => {
                    let look_again_at = now + ATTACHED_PAUSE;
                    let because = if let Some(decision) = &record.decision {
                        decision.because.clone()
                    } else {
                        // A crash came between the attachment and its decision, and the waiting lists do not know the record.
                        self.note_hold(&Record { next_step_at: Some(look_again_at), ..record.clone() }).await?;
                        format!("a rollback is under way (record {attached}); this alert ends with it")
                    };
                    let decision = super::alert::hold(RuleId::A4, because, look_again_at);
                    if let Some(written) = self.decide_of(read, decision).await? {
                        self.finish_telling_written(written).await?;
                    }
                    return Ok(Outcome::Settled { says: format!("record {} still waits for record {attached}", record.id) });
                }
                // It never came to a rollback there, or nobody measured whether that one helped all that this alert is about: it is
                // judged on its own.
                Some(RollbackState::Recovered) | None => {
                    let alone = self
                        .update_record_from(&record.id, record.generation, ReadBefore::There(read.clone()), |record| {
                            record.attached_to = None;
                        })
                        .await?;
                    let read = alone.as_ref().unwrap_or(read);
                    return self.look(read, policy, |_| true).await;
                }
            }
        } else if let Some(due_at) = record.next_step_at.filter(|due_at| *due_at > now) {
            self.schedule_early_one(follow_up, due_at).await?;
            return Ok(Outcome::Settled {
                says: format!("the wake-up came early; record {} is looked at again at {}", record.id, whole_seconds(due_at)),
            });
        }
        self.look(read, policy, |_| true).await
    }

    /// Ends a record that waited for another one's rollback.
    async fn end_attached(&self, read: &Loaded<Record>, decision: Decision) -> Result<Outcome, Trouble> {
        let says = format!("record {}: {}", read.value.id, decision.because);
        let written = self.decide_of(read, decision).await?;
        self.unhold(&read.value, None).await?;
        if let Some(written) = written {
            self.finish_telling_written(written).await?;
        }
        Ok(Outcome::Settled { says })
    }

    /// Stores a decision that follows from what other records say; `None` when somebody else went on meanwhile.
    async fn decide_of(&self, read: &Loaded<Record>, decision: Decision) -> Result<Option<Loaded<Record>>, PortError> {
        let now = self.ports.clock.now();
        let (id, generation) = (&read.value.id, read.value.generation);
        let decide = |record: &mut Record| decided(record, decision.clone(), now);
        self.update_record_from(id, generation, ReadBefore::There(read.clone()), decide).await
    }

    /// A proposal that nobody answered: nothing is done, and the record says so.
    async fn expire(&self, read: &Loaded<Record>, follow_up: &FollowUp) -> Result<Outcome, Trouble> {
        let record = &read.value;
        let now = self.ports.clock.now();
        if record.decision.as_ref().is_none_or(|decision| decision.kind != DecisionKind::Propose) {
            return Ok(Outcome::Settled { says: format!("record {} has no open proposal", record.id) });
        }
        if let Some(due_at) = record.next_step_at.filter(|due_at| *due_at > now) {
            self.schedule_early_one(follow_up, due_at).await?;
            return Ok(Outcome::Settled {
                says: format!("the proposal of record {} is open until {}", record.id, whole_seconds(due_at)),
            });
        }
        if record.approval.as_ref().is_some_and(Approval::counts) {
            return self.approval_was_too_late(read).await;
        }
        self.update_record_from(&record.id, record.generation, ReadBefore::There(read.clone()), |record| {
            record.next_step_at = None;
            record.note(now, "the proposal expired without an answer; nothing was done");
        })
        .await?;
        self.unhold(record, None).await?;
        Ok(Outcome::Settled { says: format!("the proposal of record {} expired", record.id) })
    }
}

/// Whether the recovery of `other` was measured on every service that `record` is about, and not only on one that they depend on.
fn watched_all_of(other: &Record, record: &Record) -> bool {
    record.services.iter().all(|service| other.services.contains(service))
}
