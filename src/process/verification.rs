//! Watches the recovery after a rollback took effect, until it is proven or its deadline has passed (V2, V3).

use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use tracing::Instrument;

use super::{
    Process,
    documents::{Loaded, keys},
    ending::End,
    outcome::Outcome,
    saga::VERIFY_PAUSE,
    trouble::Trouble,
};
use crate::{
    decide::{
        history,
        recovery::{self, Recovery},
        who,
    },
    domain::{
        decision::{Effect, Reason},
        record::Record,
        rollback::{Busy, RollbackState, StepKind},
        rule::RuleId,
        service::Service,
        target_state::TargetState,
    },
    observability::spans,
    ports::PortError,
};

/// What was measured before the accused version began to serve, for "usual".
const BASELINE: SignedDuration = SignedDuration::from_mins(60);

/// Whether a call that undoes itself, and of which no answer told anything, may still be on its way: then what was taken for its
/// result was the doing of somebody else, and it will undo that. After the quiet time it has arrived or never will.
fn may_still_arrive(busy: &Busy, applied_at: Timestamp, now: Timestamp) -> bool {
    is_unanswered_toggle(busy) && now < applied_at + busy.service.quiet_time
}

/// What such a call began may end long after it has arrived.
fn is_unanswered_toggle(busy: &Busy) -> bool {
    let is_toggle = busy.steps.get(busy.step).is_some_and(|step| step.kind == StepKind::Toggle);
    is_toggle && busy.operation.is_none()
}

impl Process {
    /// The platform serves the good version, and the signal is back in range, with data (V2); else until the deadline (V3).
    ///
    /// `state`: of the target, as it was read just now.
    pub(super) async fn verify(&self, record: &Record, state: &Loaded<TargetState>, busy: &Busy) -> Result<Outcome, Trouble> {
        let target = &state.value.target;
        let now = self.ports.clock.now();
        let applied_at = busy.applied_at.unwrap_or(now);
        let accused_since = accused_since(record, &state.value, busy);
        let (meant, unknown) = match self.signal_services(record, busy).await {
            Ok(meant) => (meant, None),
            Err(why) => (Vec::new(), Some(format!("what is measured for the alert is not known: {why}"))),
        };
        let platform = self.ports.platforms.of(&busy.service.target);
        let from = accused_since - BASELINE - SignedDuration::from_mins(5);
        let signals: Vec<_> = meant.iter().map(|service| self.read_signals(service, from, now).boxed()).collect();
        let span = spans::verify(&busy.service);
        let reading = async { futures::join!(platform.verify(&busy.good), futures::future::join_all(signals)) };
        let (observation, signals) = reading.instrument(span.clone()).await;
        let deadline = applied_at + busy.service.verify_within;
        // While a call of ours may still arrive and undo what is seen, the target is not free (see [`may_still_arrive`]).
        let may_end = !may_still_arrive(busy, applied_at, now);
        let late = now >= deadline && may_end;
        let observation = match observation {
            Ok(observation) => observation,
            Err(error) if late => {
                let says =
                    format!("by its deadline the target could not be read, so whether the rollback helped is not known: {error}");
                return self.end(&record.id, target, busy, End { state: RollbackState::Unknown, says, rule: None }).await;
            }
            Err(error) => {
                return self.wait(record, state, busy, VERIFY_PAUSE, &format!("the target could not be read: {error}")).await;
            }
        };
        if Some(&observation.running.token) != busy.result.as_ref() && observation.under_way.is_none() {
            let label = &observation.running.label;
            if is_unanswered_toggle(busy) {
                self.mark_as_maybe_ours(record, target, busy, &observation).await?;
            }
            if !may_end {
                let says = format!(
                    "{label} runs now, and our call was never answered: it may have arrived only now, and have undone what somebody \
                     else had done"
                );
                return self.leave_to_a_person(&record.id, target, busy, &says).await;
            }
            let says = format!("{label} runs now: somebody changed the target before the recovery was verified");
            return self.end(&record.id, target, busy, End { state: RollbackState::Unknown, says, rule: None }).await;
        }
        let signals: Vec<_> = signals.into_iter().flatten().collect();
        let recovery = unknown.map_or_else(|| recovery::judge(&signals, accused_since, applied_at, now), Recovery::Unknown);
        spans::verified(&span, &recovery);
        let serving = observation.under_way.is_none() && may_end;
        match recovery {
            Recovery::Recovered(says) if serving => {
                self.end(
                    &record.id,
                    target,
                    busy,
                    End { state: RollbackState::Recovered, says: format!("{} serves, and {says}", busy.good.label), rule: None },
                )
                .await
            }
            Recovery::Recovered(_) => {
                let says = if may_end {
                    "the platform still works on it"
                } else {
                    "the call's answer never told, and it may be on its way"
                };
                self.wait_or_end(record, state, busy, late, RollbackState::Unknown, says.to_owned()).await
            }
            // No wait can make it good, and nothing more is tried: a person must know at once (V4).
            Recovery::Worse(says) if serving => {
                self.note_worse(record, &says).await?;
                self.end(&record.id, target, busy, End { state: RollbackState::NotRecovered, says, rule: None }).await
            }
            Recovery::Worse(says) | Recovery::StillBad(says) => {
                self.wait_or_end(record, state, busy, late, RollbackState::NotRecovered, says).await
            }
            Recovery::Unknown(says) => self.wait_or_end(record, state, busy, late, RollbackState::Unknown, says).await,
        }
    }

    /// Adds the rule to the decision's reasons, once.
    async fn note_worse(&self, record: &Record, says: &str) -> Result<(), PortError> {
        self.documents
            .update(
                &keys::record(&record.id),
                || None,
                |record: &mut Record| {
                    let decision = record.decision.as_mut()?;
                    let told = decision.reasons.iter().any(|reason| reason.rule == RuleId::V4);
                    (!told).then(|| {
                        decision.reasons.push(Reason { rule: RuleId::V4, effect: Effect::Note, says: says.to_owned() });
                    })
                },
            )
            .await?;
        Ok(())
    }

    async fn wait_or_end(
        &self,
        record: &Record,
        state: &Loaded<TargetState>,
        busy: &Busy,
        late: bool,
        end: RollbackState,
        says: String,
    ) -> Result<Outcome, Trouble> {
        if late {
            let says = format!("{} min after the rollback took effect: {says}", busy.service.verify_within.as_mins());
            return self.end(&record.id, &state.value.target, busy, End { state: end, says, rule: None }).await;
        }
        self.wait(record, state, busy, VERIFY_PAUSE, &says).await
    }

    /// The services whose signals showed the fault: those that the alert means, else the target's own. Where the policy
    /// cannot be read, or has one of them no more, only the latter is known, and that it does well is no recovery of the others.
    async fn signal_services(&self, record: &Record, busy: &Busy) -> Result<Vec<Service>, String> {
        let meant = match self.policy.load().await {
            Ok(policy) => who::still_meant(&record.services, &policy)
                .map(|meant| meant.into_iter().cloned().collect())
                .map_err(|gone| format!("`{gone}` is not in the policy any more")),
            Err(trouble) => Err(trouble.to_string()),
        };
        // What is known of the service that was rolled back is kept with its rollback.
        let is_its_own = record.services.iter().all(|name| *name == busy.service.name);
        let meant: Vec<Service> = meant.or_else(|why| if is_its_own { Ok(Vec::new()) } else { Err(why) })?;
        Ok(if meant.is_empty() { vec![busy.service.clone()] } else { meant })
    }
}

/// When the accused version began to serve, by the earliest that is known: as it was decided, or as it is known now.
///
/// A later moment would take the fault itself for usual. The going back may have changed what is known: where the good version has its
/// old token again, nothing tells any more when the accused one came after it.
fn accused_since(record: &Record, state: &TargetState, busy: &Busy) -> Timestamp {
    let decided = record.decision.iter().filter_map(|decision| decision.accused.as_ref());
    let then =
        decided.filter(|accused| accused.token == busy.accused).flat_map(|accused| [accused.rolled_out_at, accused.onset_at]);
    let rollout = state.rollouts.iter().find(|rollout| rollout.token == busy.accused);
    let now = rollout.and_then(|rollout| history::rollout_since(state, rollout)).map(|began| began.not_before);
    then.flatten().chain(now).min().unwrap_or(busy.since)
}
