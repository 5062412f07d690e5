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
}
