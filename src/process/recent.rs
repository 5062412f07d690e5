//! The newest records first. Their own keys are hashes, so each has a second, tiny document whose key descends with time.
//!
//! Both are written side by side when the alert arrives, and each copy of it leads to the same two keys. A crash in between leaves one
//! of them: an entry without its record is passed over; a record without its entry gets it when the message is delivered again, as
//! every message is whose delivery did not end. That one may be the last, so it writes the entry before it does anything else: side
//! by side again, it would leave a record that no sweep finds. Records from before there were entries come last, and beyond the limit
//! any of them.

use std::{cmp::Reverse, collections::BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tracing::warn;

use super::{Process, documents::keys, trouble::Trouble};
use crate::{
    domain::{
        alert::Alert,
        approval::Approval,
        policy::Policy,
        record::{Record, RecordId},
        rollback::RollbackState,
        target_state::TargetState,
    },
    ports::{Key, PortError},
};

/// Longer than a handler may take for a message, and the wait before its next delivery: until then nothing is lost.
const SOMEBODY_IS_AT_IT: SignedDuration = SignedDuration::from_mins(10);

/// Longer ago the dead letter has been told, and there is nothing new to be learned of the firing.
const CARRIED_ON_UNTIL: SignedDuration = SignedDuration::from_hours(6);

/// So long after an approval a sweep wakes whoever acts on it.
const APPROVAL_WOKEN_UNTIL: SignedDuration = SignedDuration::from_mins(25);

/// Of a storm a sweep looks at the newest.
const CARRIED_ON_MAX: usize = 100;

/// Of an entry; its key says it all.
const BODY: &[u8] = b"{}";

/// What tells of a record whether its firing came to its end: nearly all did, and a sweep need not take those apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    id: RecordId,
    received_at: Timestamp,
    decision: Option<IgnoredAny>,
    decided_at: Option<Timestamp>,
    generation: u64,
    told_generation: u64,
    next_step_at: Option<Timestamp>,
    approval: Option<Approval>,
    rollback: Option<RollbackState>,
}

impl Standing {
    fn acts(&self) -> bool {
        self.rollback.is_some_and(|state| !state.is_terminal())
    }

    /// Since when nothing has happened that should have.
    fn waits_since(&self, now: Timestamp) -> Option<Timestamp> {
        let decided_at = self.decided_at.unwrap_or(self.received_at);
        let untold = self.told_generation < self.generation;
        // A rollback that is under way tells at its end, unless its target does not know of it.
        if self.decision.is_none() || untold || self.acts() {
            return Some(decided_at);
        }
        // Later than that it is the proposal's own end that counts: each wake-up of an approval goes on by itself.
        let approved_at = self.approval.as_ref().filter(|approval| approval.counts()).map(|approval| approval.at);
        approved_at.filter(|at| now < *at + APPROVAL_WOKEN_UNTIL).into_iter().chain(self.next_step_at).min()
    }
}

impl Process {
    /// Puts the record on the list. Called again: no effect.
    pub(super) async fn put_on_list(&self, record: &Record) -> Result<(), PortError> {
        self.list_as(&record.alert, record.received_at, &record.id).await
    }

    /// Puts a firing on the list whose message is delivered once more, before anything else is done about it: whatever becomes of
    /// this delivery, the sweep finds what it, or an earlier one, left behind. Called again: no effect.
    pub async fn alert_delivered_before(&self, alert: &Alert) -> Result<(), Trouble> {
        Ok(self.list_as(alert, self.ports.clock.now(), &RecordId::of(alert)).await?)
    }

    async fn list_as(&self, alert: &Alert, received_at: Timestamp, id: &RecordId) -> Result<(), PortError> {
        self.documents.store().insert(&keys::recent(fired_at(alert, received_at), id), BODY).await?;
        Ok(())
    }

    /// Records, the newest first; at most `limit`.
    pub async fn records(&self, limit: usize) -> Result<Vec<Record>, PortError> {
        let store = self.documents.store();
        let mut records: Vec<Record> = Vec::new();
        let mut seen: BTreeSet<RecordId> = BTreeSet::new();
        let mut after: Option<Key> = None;
        while records.len() < limit {
            let wanted = limit - records.len();
            let keys = store.list(keys::RECENT, after.as_ref(), wanted).await?;
            // A firing that does not tell its time has an entry for each time it arrived.
            let new = keys.iter().filter_map(keys::record_of_recent).filter(|id| seen.insert(id.clone()));
            records.extend(self.read_records(new.collect()).await?);
            match keys.last() {
                Some(last) if keys.len() == wanted => after = Some(last.clone()),
                Some(_) | None => break,
            }
        }
        if records.len() < limit {
            let left = limit - records.len();
            let keys = store.list(keys::RECORDS, None, limit).await?;
            let ids = keys.iter().filter_map(|key| RecordId::parse(key.as_str().strip_prefix(keys::RECORDS)?).ok());
            records.extend(self.read_records(ids.filter(|id| !seen.contains(id)).take(left).collect()).await?);
        }
        records.sort_by_key(|record| Reverse(fired_at(&record.alert, record.received_at)));
        Ok(records)
    }

    /// Carries on with the firings of the last hours that were never decided, or decided and never told, or whose next step is overdue:
    /// the message that should have done it, or the wake-up that a copy of it left behind, has become a dead letter. No target's
    /// document knows of them.
    pub(super) async fn carry_on(&self, policy: &Policy) -> Result<usize, Trouble> {
        let now = self.ports.clock.now();
        let (newest, oldest) = (keys::recent_before(now - SOMEBODY_IS_AT_IT), keys::recent_before(now - CARRIED_ON_UNTIL));
        let listed = self.documents.store().list(keys::RECENT, Some(&newest), CARRIED_ON_MAX).await?;
        let ids = listed.iter().take_while(|key| **key < oldest).filter_map(keys::record_of_recent).collect();
        let mut carried_on = 0;
        for stands in self.read_records::<Standing>(ids).await? {
            if stands.waits_since(now).is_none_or(|since| since + SOMEBODY_IS_AT_IT > now) {
                continue;
            }
            let read = self.record(&stands.id).await?;
            // Where it has gone on since, somebody is at it.
            let Some(record) = read.filter(|record| record.generation == stands.generation) else { continue };
            if stands.acts() {
                carried_on += usize::from(self.end_forgotten(&record, policy).await?);
                continue;
            }
            if record.decision.is_some() && record.told_generation < record.generation {
                warn!(record = %record.id, "a decision was never told; telling it");
                self.finish_telling(&record, &[]).await?;
            } else {
                warn!(record = %record.id, "a firing was never decided, or its next step is overdue; waking it");
                self.wake(&record).await?;
            }
            carried_on += 1;
        }
        Ok(carried_on)
    }

    /// Ends a record that acts, where its target's document does not know of it any more, or is left to a person; and wakes it, where no
    /// sweep looks at its target, since the policy does not name that any more. Nobody else will.
    async fn end_forgotten(&self, record: &Record, policy: &Policy) -> Result<bool, Trouble> {
        let Some(accused) = record.decision.as_ref().and_then(|decision| decision.accused.as_ref()) else { return Ok(false) };
        let state = self.documents.read::<TargetState>(&keys::target(&accused.target)).await?;
        let busy = state.as_ref().and_then(|state| Some((state, state.value.busy.as_ref()?)));
        if let Some((state, busy)) = busy.filter(|(_, busy)| busy.record == record.id) {
            let Some(why) = &busy.left_to_a_person else {
                let is_swept = policy.services.values().any(|service| service.target.key() == accused.target);
                return Ok(!is_swept && self.wake_if_overdue(&state.value).await?);
            };
            warn!(record = %record.id, "a rollback that was left to a person was never told; telling it");
            self.finish_leaving(&record.id, &state.value, why).await?;
        } else {
            warn!(record = %record.id, "a record acts, and its target is free of it; ending it");
            let says = "what became of the rollback is not known: its target was freed before it ended; look at the target";
            self.forgotten(record, says).await?;
        }
        Ok(true)
    }

    async fn forgotten(&self, record: &Record, says: &str) -> Result<(), Trouble> {
        let now = self.ports.clock.now();
        let ended = self
            .update_record(&record.id, record.generation, |record| {
                record.rollback = Some(RollbackState::Unknown);
                record.next_step_at = None;
                record.generation += 1;
                record.note(now, says);
            })
            .await?;
        if let Some(written) = ended {
            self.finish_telling_written(written).await?;
        }
        Ok(())
    }

    async fn read_records<T: DeserializeOwned + Send>(&self, ids: Vec<RecordId>) -> Result<Vec<T>, PortError> {
        let keys: Vec<Key> = ids.iter().map(keys::record).collect();
        self.documents.read_each(&keys).await
    }
}

/// The same for every copy of a firing. One that claims the future has no place above those to come.
fn fired_at(alert: &Alert, received_at: Timestamp) -> Timestamp {
    alert.fired_at.map_or(received_at, |at| at.min(received_at))
}
