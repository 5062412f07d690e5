//! Marks what our calls brought as ours: it is never taken back (A2).

use super::{Process, documents::keys};
use crate::{
    domain::{
        observation::Observation,
        record::{Record, RecordId},
        rollback::{Busy, Claim, ClaimKind},
        target::{Fingerprint, TargetKey, VersionToken},
        target_state::{TakenBack, TargetState},
    },
    ports::PortError,
};

impl Process {
    /// The token that our call produced is never taken back (A2). Called twice: the same tombstone.
    pub(super) async fn tombstone(
        &self,
        record: &Record,
        target: &TargetKey,
        token: &VersionToken,
        fingerprint: &Fingerprint,
    ) -> Result<(), PortError> {
        self.insert_tombstone(record, target, token, Some(fingerprint)).await?;
        self.update_taken_back(target, &record.id, |ours| {
            ours.result = Some(token.clone());
            ours.result_fingerprint = Some(fingerprint.clone());
        })
        .await
    }

    /// Marks what runs as ours where a call of ours may have been sent and something else came of it than was to be: who put it
    /// there, no read can tell. Only this rollout of it: its content may come again by the team's hand, and be at fault.
    pub(super) async fn mark_as_maybe_ours(
        &self,
        record: &Record,
        target: &TargetKey,
        busy: &Busy,
        observation: &Observation,
    ) -> Result<(), PortError> {
        let token = &observation.running.token;
        if *token == busy.accused {
            return Ok(());
        }
        self.insert_tombstone(record, target, token, None).await?;
        self.update_taken_back(target, &record.id, |ours| {
            ours.result.get_or_insert_with(|| token.clone());
        })
        .await
    }

    /// Keeps what a call of ours may still bring when nobody will look for it any more, unless it was seen to have come.
    pub(super) async fn expect_result(&self, target: &TargetKey, busy: &Busy) -> Result<(), PortError> {
        self.update_taken_back(target, &busy.record, |ours| {
            if ours.result_fingerprint.is_none() {
                ours.expected.clone_from(&busy.good.fingerprint);
            }
        })
        .await
    }

    async fn insert_tombstone(
        &self,
        record: &Record,
        target: &TargetKey,
        token: &VersionToken,
        fingerprint: Option<&Fingerprint>,
    ) -> Result<(), PortError> {
        let tombstone = Claim {
            target: target.clone(),
            token: token.clone(),
            kind: ClaimKind::Tombstone { record: record.id.clone(), fingerprint: fingerprint.cloned() },
            written_at: self.ports.clock.now(),
        };
        self.documents.insert(&keys::claim(target, token), tombstone).await?;
        Ok(())
    }

    /// Changes what the target's document says of a record's rollback.
    async fn update_taken_back(
        &self,
        target: &TargetKey,
        record: &RecordId,
        mut change: impl FnMut(&mut TakenBack) + Send,
    ) -> Result<(), PortError> {
        self.documents
            .update(
                &keys::target(target),
                || None,
                |state: &mut TargetState| {
                    change(state.taken_back.iter_mut().find(|rollback| rollback.record == *record)?);
                    Some(())
                },
            )
            .await?;
        Ok(())
    }
}
