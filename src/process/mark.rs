//! A person's word on a rollback afterwards. It changes nothing that is done; receipts stay as they were written.

use super::{Process, documents::keys, trouble::Trouble};
use crate::{
    domain::record::{PersonsMark, Record, RecordId},
    observability,
    ports::PortError,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    Now,
    /// Nothing was changed.
    Before(PersonsMark),
}

/// Why a mark was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotMarked {
    #[error("no record `{0}` is known; `backout history` lists them")]
    Unknown(RecordId),
    #[error("record `{0}` took nothing back, so there is nothing to mark; `backout show {0}` says what was decided")]
    NoRollback(RecordId),
    #[error("the rollback of record `{0}` has not ended; mark it once `backout show {0}` says how it did")]
    UnderWay(RecordId),
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<PortError> for NotMarked {
    fn from(error: PortError) -> Self {
        Self::Trouble(error.into())
    }
}

impl Process {
    /// Keeps that the version which was taken back was not at fault (V8, V9). Called twice: the first one stands.
    pub async fn mark_false_revert(&self, id: &RecordId, by: &str) -> Result<Marked, NotMarked> {
        let record = self.record(id).await?.ok_or_else(|| NotMarked::Unknown(id.clone()))?;
        match record.rollback {
            Some(state) if state.is_terminal() => {}
            Some(_) => return Err(NotMarked::UnderWay(id.clone())),
            None => return Err(NotMarked::NoRollback(id.clone())),
        }
        let mark = PersonsMark { by: by.to_owned(), at: self.ports.clock.now() };
        let marked = self
            .documents
            .update(
                &keys::record(id),
                || None,
                |record: &mut Record| {
                    record.false_revert.is_none().then(|| {
                        record.false_revert = Some(mark.clone());
                        record.note(mark.at, "a person marked the rollback as false: what was taken back was not at fault");
                    })
                },
            )
            .await?;
        if let Some((marked, ())) = marked {
            observability::marked_false(&marked.value);
            return Ok(Marked::Now);
        }
        let before = self.record(id).await?.and_then(|record| record.false_revert);
        before.map(Marked::Before).ok_or_else(|| NotMarked::Unknown(id.clone()))
    }
}
