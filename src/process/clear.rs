//! A person has looked: a target that was left blocked, or frozen, is free again.

use super::{Process, documents::keys, trouble::Trouble};
use crate::domain::{
    record::{Record, RecordId},
    rollback::RollbackState,
    target::TargetKey,
    target_state::TargetState,
};

/// What a clear freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleared {
    Nothing,
    Rollback(RecordId),
    Freeze(String),
}

impl Process {
    /// Frees a target by a person's word. Claims and tombstones stay: what was tried once is never tried again.
    pub async fn clear(&self, target: &TargetKey, by: &str) -> Result<Cleared, Trouble> {
        let now = self.ports.clock.now();
        self.mark_what_runs(target).await?;
        let cleared = self
            .documents
            .update(
                &keys::target(target),
                || None,
                |state: &mut TargetState| {
                    if let Some(busy) = state.busy.take() {
                        state.generation += 1;
                        return Some(Cleared::Rollback(busy.record));
                    }
                    state.frozen.take().map(Cleared::Freeze)
                },
            )
            .await?;
        let Some((_, cleared)) = cleared else { return Ok(Cleared::Nothing) };
        if let Cleared::Rollback(record) = &cleared {
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
            if let Some(record) = self.record(record).await? {
                self.finish_telling(&record, &[]).await?;
            }
        }
        tracing::warn!(target = %target, cleared_by = by.len(), "a person cleared the target");
        Ok(cleared)
    }

    /// A call of ours may have arrived since the target was left to a person, so what runs now may be ours, and is not taken back (A2).
    /// A person may free a target that cannot be read.
    async fn mark_what_runs(&self, target: &TargetKey) -> Result<(), Trouble> {
        let Some(state) = self.documents.read::<TargetState>(&keys::target(target)).await? else { return Ok(()) };
        let Some(busy) = &state.value.busy else { return Ok(()) };
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
