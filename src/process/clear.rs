//! A person has looked: a target that was left blocked, or frozen, is free again.

use super::{
    Process,
    documents::{Insert, keys},
    trouble::Trouble,
};
use crate::{
    domain::{
        record::{Record, RecordId},
        rollback::{Busy, Claim, ClaimKind, RollbackState},
        target::TargetKey,
        target_state::TargetState,
    },
    ports::{PortError, PortErrorKind},
};

/// What a clear freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleared {
    Nothing,
    Rollback(RecordId),
    Freeze(String),
}

/// How often somebody else may move a claim on while a person waits for its end.
const TRIES: u32 = 3;

impl Process {
    /// Frees a target by a person's word. Claims and tombstones stay: what was tried once is never tried again.
    ///
    /// First nobody may send any more, then the record has ended, and only then the target is free: after a crash in between, whoever
    /// finds it busy ends it.
    pub async fn clear(&self, target: &TargetKey, by: &str) -> Result<Cleared, Trouble> {
        let state = self.documents.read::<TargetState>(&keys::target(target)).await?;
        let busy = state.and_then(|state| state.value.busy);
        if let Some(busy) = &busy {
            if self.close_for_good(target, busy).await? {
                self.expect_result(target, busy).await?;
            }
            self.mark_what_runs(target, busy).await?;
            self.end_by_a_person(&busy.record).await?;
        }
        let cleared = self
            .documents
            .update(
                &keys::target(target),
                || None,
                |state: &mut TargetState| {
                    let seen = busy.as_ref().map(|busy| &busy.record);
                    if let Some(now) = state.busy.take_if(|now| Some(&now.record) == seen) {
                        state.generation += 1;
                        return Some(Cleared::Rollback(now.record));
                    }
                    // One that began meanwhile has not been looked at.
                    if state.busy.is_some() { None } else { state.frozen.take().map(Cleared::Freeze) }
                },
            )
            .await?;
        if let Some(busy) = &busy
            && let Some(record) = self.record(&busy.record).await?
        {
            self.finish_telling(&record, &[]).await?;
        }
        let Some((_, cleared)) = cleared else { return Ok(Cleared::Nothing) };
        tracing::warn!(target = %target, cleared_by = by.len(), "a person cleared the target");
        Ok(cleared)
    }

    /// Closes the rollback's claim, or puts a closed one where there is none yet, so that whoever is about to send finds it.
    /// Returns whether a call of it may have been sent.
    async fn close_for_good(&self, target: &TargetKey, busy: &Busy) -> Result<bool, Trouble> {
        for _ in 0..TRIES {
            let closed = Claim {
                target: target.clone(),
                token: busy.accused.clone(),
                kind: ClaimKind::Rollback { record: busy.record.clone(), attempt: 1, resubmissions: 0, closed: true },
                written_at: self.ports.clock.now(),
            };
            let found = match self.documents.insert(&keys::claim(target, &busy.accused), closed).await? {
                Insert::Now(_) => return Ok(false),
                Insert::Taken(found) => found,
            };
            let is_ours = matches!(&found.value.kind, ClaimKind::Rollback { record, .. } if *record == busy.record);
            if !is_ours {
                return Ok(false);
            }
            if self.close_claim(target, busy, &found).await? {
                return Ok(true);
            }
        }
        let says = "the rollback is being worked on at this moment; run the command again in a minute";
        Err(PortError::new("clear the target", PortErrorKind::Transient, says).into())
    }

    async fn end_by_a_person(&self, record: &RecordId) -> Result<(), PortError> {
        let now = self.ports.clock.now();
        self.documents
            .update(
                &keys::record(record),
                || None,
                |record: &mut Record| {
                    if !record.rollback.is_some_and(RollbackState::is_terminal) {
                        record.rollback = Some(RollbackState::Unknown);
                    }
                    record.generation += 1;
                    record.note(now, "a person cleared the target");
                    Some(())
                },
            )
            .await?;
        Ok(())
    }

    /// A call of ours may have arrived since the target was left to a person, so what runs now may be ours, and is not taken back (A2).
    /// A person may free a target that cannot be read.
    async fn mark_what_runs(&self, target: &TargetKey, busy: &Busy) -> Result<(), Trouble> {
        let Some(record) = self.record(&busy.record).await? else { return Ok(()) };
        match self.ports.platforms.of(&busy.service.target).observe().await {
            Ok(observation) => self.mark_as_maybe_ours(&record, target, busy, &observation).await?,
            Err(error) => {
                tracing::warn!(target = %target, %error, "what runs could not be read, and is not marked as maybe ours");
            }
        }
        Ok(())
    }
}
