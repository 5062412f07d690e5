//! Stores a decision that calls nothing, keeps what was learned of the targets, and tells people.

use futures::future::{FutureExt, try_join_all};
use jiff::{SignedDuration, Timestamp};

use super::{
    Process,
    documents::{Insert, Loaded, keys},
    gather::Gathered,
    outcome::Outcome,
    records::decision_in_words,
    trouble::Trouble,
};
use crate::{
    decide::history,
    domain::{
        decision::{Decision, DecisionKind, Effect},
        record::{Record, RecordId},
        rule::RuleId,
        target::TargetKey,
        target_state::{Firing, TargetState},
    },
    ports::PortError,
};

/// How long a proposal may be approved (A11).
pub const PROPOSAL_VALID: SignedDuration = SignedDuration::from_mins(60);

/// Less than this after a version was seen last, it is no news that it still serves.
const SEEN_AGAIN: SignedDuration = SignedDuration::from_secs(30);

impl Process {
    /// Stores a decision that needed no reading: the record is new, or somebody else's copy of it is there.
    pub(super) async fn settle_unread(&self, mut record: Record, decision: Decision) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        decided(&mut record, decision, now);
        let says = decision_in_words(&record, now);
        let key = keys::record(&record.id);
        let (inserted, listed) = futures::join!(self.documents.insert(&key, record.clone()), self.put_on_list(&record));
        match inserted? {
            Insert::Now(written) => {
                listed?;
                self.finish_telling_written(written).await?;
                Ok(Outcome::Settled { says })
            }
            Insert::Taken(Loaded { value: found, .. }) => self.alert_again(found).await,
        }
    }

    /// Stores a decision other than Act.
    pub(super) async fn settle(&self, record: &Record, decision: Decision, gathered: &Gathered) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        let next_step_at = next_step_at(&decision, now);
        let ((), inputs) =
            futures::try_join!(self.learn(record, gathered, next_step_at), self.keep_inputs(&record.id, &gathered.case))?;
        self.freeze_if_flapping(&decision).await?;
        let updated = self
            .update_record_from(&record.id, record.generation, gathered.record.clone(), |record| {
                decided(record, decision.clone(), now);
                record.decided_from = Some(inputs.clone());
            })
            .await?;
        match updated {
            Some(written) => {
                let says = decision_in_words(&written.value, now);
                self.finish_telling_written(written).await?;
                Ok(Outcome::Settled { says })
            }
            None => Ok(Outcome::Settled { says: format!("record {} was decided by another delivery meanwhile", record.id) }),
        }
    }

    /// Keeps in the target documents what was read, that the alert fired, and until when the record waits.
    pub(super) async fn learn(
        &self,
        record: &Record,
        gathered: &Gathered,
        next_step_at: Option<Timestamp>,
    ) -> Result<(), PortError> {
        let updates: Vec<_> = gathered
            .case
            .services
            .iter()
            .map(|facts| {
                let key = facts.service.target.key();
                async move {
                    self.documents
                        .update(
                            &keys::target(&key),
                            || Some(TargetState::new(key.clone())),
                            |state: &mut TargetState| {
                                let before = state.clone();
                                if let Some(observation) = facts.observation.value() {
                                    history::absorb_observation(state, observation);
                                }
                                if facts.distance == 0 {
                                    if let Some(firing) = firing_of(record) {
                                        history::add_firing(state, firing);
                                    }
                                    history::set_hold(state, &record.id, next_step_at);
                                }
                                is_news(before, state).then_some(())
                            },
                        )
                        .await
                }
                .boxed()
            })
            .collect();
        try_join_all(updates).await?;
        Ok(())
    }

    /// Keeps in the target documents that an alert fired which is over by now. Whether its Fired was judged, comes after this, or never,
    /// it was trouble while it lasted (C2, S5). Called twice: the same.
    pub(super) async fn learn_of_resolved(&self, record: &Record) -> Result<(), PortError> {
        let Some(firing) = firing_of(record) else { return Ok(()) };
        let fresh = |target: &TargetKey| Some(TargetState::new(target.clone()));
        self.change_targets_of(record, fresh, |state| history::add_firing(state, firing.clone())).await
    }

    /// Flapping turns automation off on the target until a person clears it (A7).
    async fn freeze_if_flapping(&self, decision: &Decision) -> Result<(), PortError> {
        let flapping = decision.reasons.iter().find(|reason| reason.rule == RuleId::A7 && reason.effect == Effect::Page);
        let (Some(reason), Some(accused)) = (flapping, &decision.accused) else { return Ok(()) };
        self.documents
            .update(
                &keys::target(&accused.target),
                || None,
                |state: &mut TargetState| state.frozen.is_none().then(|| state.frozen = Some(reason.says.clone())),
            )
            .await?;
        Ok(())
    }

    /// Puts a record that waits without having read its targets anew on their waiting lists, where the sweep and the end of a
    /// rollback find it.
    pub(super) async fn note_hold(&self, record: &Record) -> Result<(), PortError> {
        for target in &record.targets {
            self.documents
                .update(
                    &keys::target(target),
                    || Some(TargetState::new(target.clone())),
                    |state: &mut TargetState| {
                        let before = state.clone();
                        history::set_hold(state, &record.id, record.next_step_at);
                        (*state != before).then_some(())
                    },
                )
                .await?;
        }
        Ok(())
    }

    /// Takes the record off the waiting lists of its targets.
    pub(super) async fn unhold(&self, record: &Record, resolved_at: Option<Timestamp>) -> Result<(), PortError> {
        self.change_targets_of(
            record,
            |_| None,
            |state| {
                history::set_hold(state, &record.id, None);
                resolve_firing(state, &record.id, resolved_at);
            },
        )
        .await
    }

    /// Changes the documents of all that the record is about, side by side. `fresh`: where there is none yet.
    async fn change_targets_of(
        &self,
        record: &Record,
        fresh: impl Fn(&TargetKey) -> Option<TargetState> + Send + Sync,
        change: impl Fn(&mut TargetState) + Send + Sync,
    ) -> Result<(), PortError> {
        let change = |state: &mut TargetState| {
            let before = state.clone();
            change(state);
            (*state != before).then_some(())
        };
        let update = async |target: &TargetKey| self.documents.update(&keys::target(target), || fresh(target), change).await;
        try_join_all(record.targets.iter().map(|target| update(target).boxed())).await?;
        Ok(())
    }
}

/// Whether more is known than that what serves was seen once more, a moment after it was seen last: for that alone, the alerts of
/// all who depend on a service would fight for its document.
fn is_news(before: TargetState, after: &TargetState) -> bool {
    let mut seen_again = before;
    for (known, now) in seen_again.rollouts.iter_mut().zip(&after.rollouts) {
        if now.last_seen_at.duration_since(known.last_seen_at) < SEEN_AGAIN {
            known.last_seen_at = now.last_seen_at;
        }
    }
    seen_again != *after
}

fn resolve_firing(state: &mut TargetState, record: &RecordId, resolved_at: Option<Timestamp>) {
    if let Some(firing) = state.firings.iter_mut().find(|firing| firing.record == *record) {
        firing.resolved_at = firing.resolved_at.or(resolved_at);
    }
}

/// Writes a decision into the record.
pub(super) fn decided(record: &mut Record, decision: Decision, now: Timestamp) {
    record.generation += 1;
    record.tries = if decision.kind == DecisionKind::Hold { record.tries + 1 } else { 0 };
    record.next_step_at = next_step_at(&decision, now);
    record.decided_at = Some(now);
    record.decision = Some(decision);
    let words = decision_in_words(record, now);
    record.note(now, words);
}

fn next_step_at(decision: &Decision, now: Timestamp) -> Option<Timestamp> {
    match decision.kind {
        DecisionKind::Hold => Some(decision.look_again_at.unwrap_or(now + SignedDuration::from_secs(30))),
        DecisionKind::Propose => Some(now + PROPOSAL_VALID),
        DecisionKind::Act | DecisionKind::Page | DecisionKind::Ignore => None,
    }
}

pub(super) fn firing_of(record: &Record) -> Option<Firing> {
    Some(Firing {
        record: record.id.clone(),
        rule: record.alert.rule.clone()?,
        resource: record.alert.resources.first()?.clone(),
        fired_at: record.alert.fired_at.unwrap_or(record.received_at),
        resolved_at: record.resolved_at,
    })
}
