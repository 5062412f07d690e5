//! How a rollback ends: told first, then the target is free, then those who waited are woken.

use jiff::Timestamp;
use tracing::error;

use super::{
    Process,
    act::read_claim,
    documents::{Loaded, ReadBefore, Replace, keys},
    gather::{BudgetDocument, Reservation},
    outcome::Outcome,
    settle::decided,
    trouble::Trouble,
};
use crate::{
    domain::{
        decision::DecisionKind,
        record::{Record, RecordId},
        rollback::{Busy, Claim, ClaimKind, RollbackState},
        rule::RuleId,
        target::TargetKey,
        target_state::TargetState,
    },
    ports::{FollowUp, PortError, StepName},
};

/// How a rollback ends, and what people read about it.
pub(super) struct End {
    pub state: RollbackState,
    pub says: String,
    /// Replaces the decision where nothing was done after all.
    pub rule: Option<RuleId>,
}

impl Process {
    /// The call provably took no effect: the claim is closed, the target is free, a person is told what it was (V5).
    /// `claim`: as it was before that was seen; `None` where there was none.
    pub(super) async fn failed(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: Option<&Loaded<Claim>>,
        says: String,
    ) -> Result<Outcome, Trouble> {
        let says = done_before(busy).map_or_else(|| says.clone(), |done| format!("{done}; then {says}"));
        self.close_and_end(record, target, busy, claim, End { state: RollbackState::Failed, says, rule: None }).await
    }

    /// Nothing was sent and nothing will be: the claim is closed first, so that a stalled sender fails to renew.
    /// `claim`: the one under which nothing was sent.
    pub(super) async fn give_up_unsent(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: &Loaded<Claim>,
        rule: RuleId,
        why: &str,
    ) -> Result<Outcome, Trouble> {
        let says = match done_before(busy) {
            Some(done) => format!("{done}; nothing was sent after that: {why}"),
            None => format!("nothing was sent: {why}"),
        };
        let end = End { state: RollbackState::Failed, says, rule: Some(rule) };
        self.close_and_end(record, target, busy, Some(claim), end).await
    }

    /// Closes the claim as it was when the end was seen, then ends. One that moved on since means that somebody else may have sent, so
    /// the target is looked at instead: to read the claim only now would close theirs.
    async fn close_and_end(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: Option<&Loaded<Claim>>,
        end: End,
    ) -> Result<Outcome, Trouble> {
        if let Some(claim) = claim
            && !self.close_claim(target, busy, claim).await?
        {
            return self.look_later(target, busy).await;
        }
        self.end(record, target, busy, end).await
    }

    /// `false` when the claim moved on meanwhile. A claim that is closed already stays so.
    pub(super) async fn close_claim(&self, target: &TargetKey, busy: &Busy, claim: &Loaded<Claim>) -> Result<bool, PortError> {
        let mut closing = claim.value.clone();
        match &mut closing.kind {
            ClaimKind::Rollback { record, closed, .. } if *record == busy.record => {
                if *closed {
                    return Ok(true);
                }
                *closed = true;
            }
            ClaimKind::Rollback { .. } | ClaimKind::Tombstone { .. } => return Ok(false),
        }
        closing.written_at = self.ports.clock.now();
        Ok(match self.documents.replace(&keys::claim(target, &busy.accused), &claim.version, closing).await? {
            Replace::Now(_) => true,
            Replace::ChangedMeanwhile => false,
        })
    }

    /// What nobody but a person can judge: told once, and the target stays busy, so that nothing more is done about it.
    ///
    /// The claim is closed first: whoever stood still before its call fails to renew. Then the target is marked: a record that has
    /// ended is a reason to free its target.
    pub(super) async fn leave_to_a_person(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        why: &str,
    ) -> Result<Outcome, Trouble> {
        if let Some(claim) = read_claim(&self.documents, target, busy).await? {
            let is_ours = matches!(&claim.value.kind, ClaimKind::Rollback { record: owner, .. } if owner == record);
            if is_ours && !self.close_claim(target, busy, &claim).await? {
                return self.look_later(target, busy).await;
            }
        }
        // Whoever stood still here may find that the rollback has gone on since.
        let as_seen = |now: &Busy| now.phase == busy.phase && now.step == busy.step && now.result == busy.result;
        let marked = self
            .update_busy_from(target, record, ReadBefore::NotRead, as_seen, |busy| {
                busy.left_to_a_person.get_or_insert_with(|| why.to_owned());
            })
            .await?;
        let Some(Loaded { value: state, .. }) = marked else {
            return Ok(Outcome::Settled { says: "the rollback was taken on, or ended, by somebody else".to_owned() });
        };
        error!(record = %record, target = %target, why, "the rollback is left to a person");
        self.finish_leaving(record, &state, why).await
    }

    /// Ends the record of a target that is marked as left to a person, and tells. Called again after a crash, it does what is missing.
    pub(super) async fn finish_leaving(&self, record: &RecordId, state: &TargetState, why: &str) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        let name = self.service_name(&state.target).await;
        let says = format!("{why}; the target stays blocked until a person has looked and runs `backout clear {name}`");
        self.store_end(record, RollbackState::Unknown, &says, None, now).await?;
        if let Some(record) = self.record(record).await? {
            let steps = state.busy.iter().flat_map(|busy| &busy.steps).map(|step| step.says.clone());
            self.finish_telling(&record, &steps.collect::<Vec<_>>()).await?;
        }
        self.wake_holds(state).await?;
        Ok(Outcome::Settled { says })
    }

    async fn service_name(&self, target: &TargetKey) -> String {
        match self.policy.load().await {
            Ok(policy) => policy
                .services
                .values()
                .find(|service| service.target.key() == *target)
                .map_or_else(|| target.to_string(), |service| service.name.to_string()),
            Err(_) => target.to_string(),
        }
    }

    /// The end: the record first, then receipt and notice, then the target is free, then those who waited are woken.
    pub(super) async fn end(&self, record: &RecordId, target: &TargetKey, busy: &Busy, end: End) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        self.store_end(record, end.state, &end.says, end.rule, now).await?;
        let Some(record) = self.record(record).await? else { return Ok(Outcome::Settled { says: end.says }) };
        self.release(&record, target, busy, &end.says).await
    }

    async fn store_end(
        &self,
        record: &RecordId,
        state: RollbackState,
        says: &str,
        rule: Option<RuleId>,
        now: Timestamp,
    ) -> Result<(), PortError> {
        self.documents
            .update(
                &keys::record(record),
                || None,
                |record: &mut Record| {
                    if record.rollback.is_some_and(RollbackState::is_terminal) {
                        return None;
                    }
                    record.rollback = Some(state);
                    record.next_step_at = None;
                    record.note(now, format!("rollback {}: {says}", state.words()));
                    // A crash came between the claim and the decision that it was for: a rollback does not end without one.
                    match rule.or_else(|| (!has_decided_to_act(record)).then_some(RuleId::V5)) {
                        // Nothing was sent: the Act did not happen, and a person is told why.
                        Some(rule) => {
                            let accused = record.decision.take().and_then(|decision| decision.accused);
                            let mut decision = super::alert::page(rule, says.to_owned());
                            decision.accused = accused;
                            decided(record, decision, now);
                        }
                        None => record.generation += 1,
                    }
                    Some(())
                },
            )
            .await?;
        Ok(())
    }

    /// Tells, frees the target, wakes those who waited. The record has ended already.
    pub(super) async fn release(&self, record: &Record, target: &TargetKey, busy: &Busy, says: &str) -> Result<Outcome, Trouble> {
        let steps: Vec<String> = busy.steps.iter().map(|step| step.says.clone()).collect();
        self.finish_telling(record, &steps).await?;
        if record.rollback == Some(RollbackState::Failed) && done_before(busy).is_none() {
            self.give_back_budget(target, busy).await?;
        }
        if let Some(state) = self.clear_busy(target, &record.id, |_| ()).await? {
            self.wake_holds(&state.value).await?;
        }
        Ok(Outcome::Settled { says: says.to_owned() })
    }

    /// A rollback that changed nothing does not count against the budget. A place that is another record's by now stays.
    pub(super) async fn give_back_budget(&self, target: &TargetKey, busy: &Busy) -> Result<(), PortError> {
        let claim = keys::claim(target, &busy.accused);
        self.documents
            .update(
                &keys::budget(&busy.service.target.budget_scope()),
                || None,
                |document: &mut BudgetDocument| {
                    let before = document.reservations.len();
                    let is_ours = |taken: &Reservation| {
                        taken.claim == claim.as_str() && taken.record.as_ref().is_none_or(|record| *record == busy.record)
                    };
                    document.reservations.retain(|taken| !is_ours(taken));
                    (document.reservations.len() != before).then_some(())
                },
            )
            .await?;
        Ok(())
    }

    /// Wakes every record that waits on the target, now.
    async fn wake_holds(&self, state: &TargetState) -> Result<(), Trouble> {
        for hold in &state.holds {
            if let Some(record) = self.record(&hold.record).await? {
                let due_at = self.ports.clock.now();
                let step = StepName::LookAgain;
                self.schedule(&FollowUp { v: 1, record: record.id, target: None, step, generation: record.generation, due_at })
                    .await?;
            }
        }
        Ok(())
    }
}

/// The steps that took effect before the present one, for people; `None` where it is the first.
pub(super) fn done_before(busy: &Busy) -> Option<String> {
    let done: Vec<&str> = busy.steps.iter().take(busy.step).map(|step| step.says.as_str()).collect();
    (!done.is_empty()).then(|| format!("done: {}", done.join(", ")))
}

/// Whether the Act that a call follows from is stored; before that nothing is sent.
pub(super) fn has_decided_to_act(record: &Record) -> bool {
    record.decision.as_ref().is_some_and(|decision| decision.kind == DecisionKind::Act)
}
