//! Follows a claimed rollback to its end: resume, look, poll, verify, end. Every step may be the first after a crash.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tracing::{Instrument, info};

use super::{
    Process,
    act::{LOOK_AFTER, is_sent_again, read_claim},
    anew::Anew,
    documents::{Insert, Loaded, ReadBefore, Replace, keys},
    ending::{End, has_decided_to_act},
    outcome::Outcome,
    trouble::Trouble,
};
use crate::{
    decide::progress::{self, Happened},
    domain::{
        instant::whole_seconds,
        observation::Observation,
        record::{Record, RecordId},
        rollback::{Busy, Claim, ClaimKind, OperationState, Phase, RollbackState, StepKind},
        rule::RuleId,
        service::Resubmit,
        target::{Fingerprint, TargetKey, VersionToken},
        target_state::TargetState,
    },
    observability::spans,
    ports::{FollowUp, PortError, StepName},
};

/// How long a rollback may neither take effect nor provably fail before a person is asked.
const UNDECIDED_MAX: SignedDuration = SignedDuration::from_mins(60);

/// Between two looks while the quiet time runs.
const QUIET_LOOK: SignedDuration = SignedDuration::from_mins(1);

/// Unsent attempts of one step before the rollback is given up.
const UNSENT_TRIES_MAX: u32 = 6;

/// Between two looks at the recovery.
pub(super) const VERIFY_PAUSE: SignedDuration = SignedDuration::from_secs(60);

impl Process {
    /// A wake-up for a rollback. Stale or not ours: no effect (A3).
    pub(super) async fn rollback_step(&self, follow_up: &FollowUp) -> Result<Outcome, Trouble> {
        let Some(target) = &follow_up.target else {
            return Ok(Outcome::Settled { says: "a rollback's wake-up without a target has no effect".to_owned() });
        };
        let state = self.documents.read::<TargetState>(&keys::target(target)).await?;
        let Some((state, busy)) = state.as_ref().and_then(|state| Some((state, state.value.busy.as_ref()?))) else {
            return Ok(Outcome::Settled { says: "the rollback has ended; the wake-up has no effect".to_owned() });
        };
        if busy.record != follow_up.record || state.value.generation != follow_up.generation {
            return Ok(Outcome::Settled { says: "the wake-up is stale; it has no effect".to_owned() });
        }
        if self.ports.clock.now() < busy.next_step_at {
            // Each copy that scheduled itself anew would come again until the rollback ends, and be joined by others.
            if busy.wake_up_is_sent() && follow_up.due_at < busy.next_step_at {
                let says = "the step was taken; its next wake-up is on its way, and this one has no effect";
                return Ok(Outcome::Settled { says: says.to_owned() });
            }
            // One that is due later may be the next step's, which is about to be stored.
            self.schedule_early_one(follow_up, busy.next_step_at.max(follow_up.due_at)).await?;
            return Ok(Outcome::Settled { says: "the wake-up came early; it is scheduled again".to_owned() });
        }
        self.resume_from(state, busy).await
    }

    /// Takes the next step of a target's rollback.
    pub(super) async fn resume(&self, target: &TargetKey, record: &RecordId) -> Result<Outcome, Trouble> {
        let Some(state) = self.documents.read::<TargetState>(&keys::target(target)).await? else {
            return Ok(Outcome::Settled { says: "the target is not known any more".to_owned() });
        };
        let Some(busy) = state.value.busy.as_ref().filter(|busy| busy.record == *record) else {
            return Ok(Outcome::Settled { says: "the rollback has ended".to_owned() });
        };
        self.resume_from(&state, busy).await
    }

    /// `state`: as it was read just now; `busy`: in it.
    async fn resume_from(&self, state: &Loaded<TargetState>, busy: &Busy) -> Result<Outcome, Trouble> {
        let (target, record) = (&state.value.target, &busy.record);
        if let Some(why) = &busy.left_to_a_person {
            return self.finish_leaving(record, &state.value, why).await;
        }
        let Some(owner) = self.record(record).await? else {
            return self.leave_to_a_person(record, target, busy, "its record is gone").await;
        };
        if let Some(ended) = owner.rollback.filter(|state| state.is_terminal()) {
            // A crash came between the record and the target's document.
            return self.release(&owner, target, busy, &format!("rollback {}", ended.words())).await;
        }
        match busy.phase {
            Phase::Claimed => self.resume_claimed(&owner, state, busy).await,
            Phase::Submitting => self.look_at_target(&owner, state, busy, None).await,
            Phase::Accepted => self.poll(&owner, state, busy).await,
            Phase::Verifying => self.verify(&owner, state, busy).await,
        }
    }

    /// Busy, and maybe nothing sent: our insert of the claim tells.
    async fn resume_claimed(&self, record: &Record, state: &Loaded<TargetState>, busy: &Busy) -> Result<Outcome, Trouble> {
        let target = &state.value.target;
        let claim = Claim {
            target: target.clone(),
            token: busy.accused.clone(),
            kind: ClaimKind::Rollback { record: record.id.clone(), attempt: 1, resubmissions: 0, closed: false },
            written_at: self.ports.clock.now(),
        };
        match self.documents.insert(&keys::claim(target, &busy.accused), claim).await? {
            // Nothing was ever sent. Time has passed, so the decision is made again before anything is.
            Insert::Now(claim) => {
                // Whoever set `busy` may only stand still, about to free the target as it was then (A6): that fails from here on.
                let next_step_at = self.ports.clock.now() + LOOK_AFTER;
                if self.update_busy(target, &record.id, |busy| busy.next_step_at = next_step_at).await?.is_none() {
                    self.close_claim(target, busy, &claim).await?;
                    return Ok(Outcome::Settled { says: "the target was freed meanwhile; nothing was sent".to_owned() });
                }
                self.decide_after_crash(record, target, busy, claim).await
            }
            Insert::Taken(claim) => match &claim.value.kind {
                ClaimKind::Rollback { record: owner, closed: false, attempt, .. } if *owner == record.id => {
                    // Of an earlier call that never told its end the target tells.
                    if busy.not_sent_attempt == Some(*attempt) && !(is_sent_again(&claim.value) && busy.tries >= UNSENT_TRIES_MAX)
                    {
                        if busy.tries >= UNSENT_TRIES_MAX {
                            let why = format!("the call could not be sent in {} tries", busy.tries);
                            return self.give_up_unsent(&record.id, target, busy, &claim, RuleId::V5, &why).await;
                        }
                        return self.send_what_was_not(record, target, busy, claim).await;
                    }
                    self.look_at_target(record, state, busy, None).await
                }
                // Closed by ourselves: a crash came between the conclusion and its record.
                ClaimKind::Rollback { record: owner, closed: true, .. } if *owner == record.id => {
                    let why = "the rollback was given up just before a restart".to_owned();
                    self.look_at_target(record, state, busy, Some(why)).await
                }
                ClaimKind::Rollback { .. } | ClaimKind::Tombstone { .. } => self.leave_to(&record.id, target, &claim.value).await,
            },
        }
    }

    /// Reads the target until it tells what became of the call (invariant 4). `failed` is what the platform said when it gave up.
    async fn look_at_target(
        &self,
        record: &Record,
        state: &Loaded<TargetState>,
        busy: &Busy,
        failed: Option<String>,
    ) -> Result<Outcome, Trouble> {
        let target = &state.value.target;
        let platform = self.ports.platforms.of(&busy.service.target);
        // Before the look: whoever moves it on meanwhile may send, and what is seen here says nothing of that.
        let claim = read_claim(&self.documents, target, busy).await?;
        let observation = match platform.observe().instrument(spans::look(&busy.service)).await {
            Ok(observation) => observation,
            Err(error) => return self.try_later(record, state, busy, &format!("the target could not be read: {error}")).await,
        };
        match progress::what_happened(busy, &observation) {
            Happened::UnderWay(what) => self.try_later(record, state, busy, &format!("under way: {what}")).await,
            Happened::Applied { token, fingerprint } => self.applied(record, target, busy, token, fingerprint).await,
            // Read again soon it may be told; not where the platform said itself that the operation ended half way.
            Happened::Untold(what) if failed.is_none() && !self.is_overdue(busy) => {
                self.try_later(record, state, busy, &what).await
            }
            Happened::Untold(what) | Happened::Surprise(what) => {
                let what = failed.map_or_else(|| what.clone(), |why| format!("{why}; {what}"));
                self.mark_as_maybe_ours(record, target, busy, &observation).await?;
                self.leave_to_a_person(&record.id, target, busy, &what).await
            }
            Happened::Nothing => {
                let still = still_runs(&observation);
                match failed {
                    Some(why) => self.failed(&record.id, target, busy, claim.as_ref(), format!("{why}; {still}")).await,
                    None => self.nothing_happened(record, target, busy, claim, &still).await,
                }
            }
        }
    }

    /// The platform shows nothing, and nothing under way. Only after a quiet time, and only the claim's compare-and-set,
    /// allows a conclusion: so a sender that was stalled meanwhile fails to renew.
    ///
    /// `claim`: as it was before the platform was looked at. One that was read after it may be that of a call which the look missed.
    async fn nothing_happened(
        &self,
        record: &Record,
        target: &TargetKey,
        busy: &Busy,
        claim: Option<Loaded<Claim>>,
        still: &str,
    ) -> Result<Outcome, Trouble> {
        let Some(claim) = claim else {
            let what = "no claim stands for this version, so nothing was sent; going on from there".to_owned();
            return self.go_on_as_seen(&record.id, target, busy, Phase::Claimed, self.ports.clock.now(), what).await;
        };
        let now = self.ports.clock.now();
        let quiet_until = claim.value.written_at + busy.service.quiet_time;
        if now < quiet_until {
            // It may still take effect: looked at on the way, concluded only at the end.
            let next = quiet_until.min(now + QUIET_LOOK);
            let what =
                format!("{still}; nothing is concluded before {}, when the quiet time is over", whole_seconds(quiet_until));
            return self.go_on_as_seen(&record.id, target, busy, Phase::Submitting, next, what).await;
        }
        let (resubmissions, ours) = match &claim.value.kind {
            ClaimKind::Rollback { record: owner, resubmissions, closed: false, .. } => (*resubmissions, *owner == record.id),
            // Closed by ourselves: a crash came between the conclusion and its record.
            ClaimKind::Rollback { record: owner, closed: true, .. } if *owner == record.id => {
                let says = format!("the rollback was given up just before a restart; {still}");
                return self.failed(&record.id, target, busy, Some(&claim), says).await;
            }
            ClaimKind::Rollback { .. } | ClaimKind::Tombstone { .. } => {
                return self.leave_to(&record.id, target, &claim.value).await;
            }
        };
        if !ours {
            return self.leave_to(&record.id, target, &claim.value).await;
        }
        let convergent = busy.steps.get(busy.step).is_some_and(|step| step.kind == StepKind::Convergent);
        // Nothing is sent that no stored decision explains, for the first time or again.
        let explained = has_decided_to_act(record);
        let may_be_sent_again = resubmissions == 0 && (convergent || busy.service.resubmit == Resubmit::Once);
        let mut decided = self.ports.clock.monotonic();
        let unwanted = if may_be_sent_again && explained && busy.step == 0 {
            match self.decide_anew(record, target, busy).await? {
                Anew::Act(anew) => {
                    decided = anew.began;
                    None
                }
                Anew::NotAnyMore { why, seen, .. } => {
                    // That look is newer than the one which brought us here, and may have seen the call arrive.
                    let seen = seen.as_ref().map(|seen| seen.value().map(|seen| progress::what_happened(busy, seen)));
                    match seen {
                        None | Some(Some(Happened::Nothing)) => Some(why),
                        Some(
                            None
                            | Some(Happened::UnderWay(_) | Happened::Applied { .. } | Happened::Untold(_) | Happened::Surprise(_)),
                        ) => return self.look_later(target, busy).await,
                    }
                }
            }
        } else {
            None
        };
        if may_be_sent_again && unwanted.is_none() {
            let mut next = claim.value.clone();
            if let ClaimKind::Rollback { resubmissions, .. } = &mut next.kind {
                *resubmissions += 1;
            }
            return match self.documents.replace(&keys::claim(target, &busy.accused), &claim.version, next).await? {
                Replace::Now(claim) if explained => self.renew_and_send(&record.id, target, busy, claim, true, decided).await,
                Replace::Now(claim) => self.decide_after_crash(record, target, busy, claim).await,
                Replace::ChangedMeanwhile => self.look_later(target, busy).await,
            };
        }
        if !self.close_claim(target, busy, &claim).await? {
            return self.look_later(target, busy).await;
        }
        let minutes = busy.service.quiet_time.as_mins();
        let says = if explained {
            let because = unwanted.map_or_else(String::new, |why| format!(": {why}"));
            let times = if is_sent_again(&claim.value) { "twice" } else { "once" };
            format!(
                "the call was sent at most {times}, no answer told what became of it, and after {minutes} min {still}; it was not sent \
                 again{because}"
            )
        } else {
            format!("nothing was sent: no decision to act was stored in time; after {minutes} min {still}")
        };
        self.end(&record.id, target, busy, End { state: RollbackState::Failed, says, rule: None }).await
    }

    async fn poll(&self, record: &Record, state: &Loaded<TargetState>, busy: &Busy) -> Result<Outcome, Trouble> {
        let Some(operation) = &busy.operation else { return self.look_at_target(record, state, busy, None).await };
        let platform = self.ports.platforms.of(&busy.service.target);
        let pause = |poll_after_seconds: u32| SignedDuration::from_secs(i64::from(poll_after_seconds.clamp(5, 300)));
        let span = spans::poll(&busy.service);
        let polled = platform.poll(operation).instrument(span.clone()).await;
        spans::polled(&span, &polled);
        match polled {
            Ok(OperationState::Running { poll_after_seconds }) => {
                self.wait_for_an_end(record, state, busy, pause(poll_after_seconds), "the operation is running").await
            }
            Ok(OperationState::WaitsForAPerson { says, poll_after_seconds }) => {
                self.wait_for_an_end(record, state, busy, pause(poll_after_seconds), &says).await
            }
            Ok(OperationState::Succeeded) if busy.step + 1 < busy.steps.len() => {
                self.advance(&record.id, &state.value.target, busy).await
            }
            Ok(OperationState::Succeeded) => self.look_at_target(record, state, busy, None).await,
            Ok(OperationState::Failed { says }) => {
                let step = busy.steps.get(busy.step).map(|step| format!("{}: ", step.says)).unwrap_or_default();
                self.look_at_target(record, state, busy, Some(format!("{step}{says}"))).await
            }
            Ok(OperationState::Unknown { says }) => {
                info!(record = %record.id, says, "the operation can't be read; looking at the target instead");
                if busy.tries == 0 {
                    let what = format!("what became of the call can't be read ({says}); looking at the target instead");
                    self.note_rollback(&record.id, busy.phase.into(), &what).await?;
                }
                self.look_at_target(record, state, busy, None).await
            }
            Err(error) => self.try_later(record, state, busy, &format!("the operation could not be read: {error}")).await,
        }
    }

    /// One of several steps is done: the next one is sent under a renewed claim.
    pub(super) async fn advance(&self, record: &RecordId, target: &TargetKey, busy: &Busy) -> Result<Outcome, Trouble> {
        let Some(claim) = read_claim(&self.documents, target, busy).await? else { return self.look_later(target, busy).await };
        let attempt = match &claim.value.kind {
            ClaimKind::Rollback { attempt, .. } => *attempt,
            ClaimKind::Tombstone { .. } => return self.leave_to(record, target, &claim.value).await,
        };
        let step = busy.step;
        // Two wake-ups may see the same end: whoever moves on sends, and the other one has nothing to send.
        let moved = self
            .update_busy_from(
                target,
                record,
                ReadBefore::NotRead,
                |busy| busy.step == step,
                |busy| {
                    busy.step += 1;
                    busy.phase = Phase::Claimed;
                    busy.operation = None;
                    busy.tries = 0;
                    // Of the new step nothing was sent under the present attempt.
                    busy.not_sent_attempt = Some(attempt);
                },
            )
            .await?;
        match moved.and_then(|state| state.value.busy) {
            Some(busy) => {
                let now = self.ports.clock.monotonic();
                self.renew_and_send(record, target, &busy, claim, true, now).await
            }
            None => Ok(Outcome::Settled { says: "the rollback was taken on by somebody else".to_owned() }),
        }
    }

    /// Our call took effect: its token is marked as ours at once, before anything else.
    async fn applied(
        &self,
        record: &Record,
        target: &TargetKey,
        busy: &Busy,
        token: VersionToken,
        fingerprint: Fingerprint,
    ) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        self.tombstone(record, target, &token, &fingerprint).await?;
        let moved = self
            .update_busy(target, &record.id, |busy| {
                // Two wake-ups at once see the same; the second must not begin the watch again.
                if busy.phase != Phase::Verifying || busy.result.as_ref() != Some(&token) {
                    busy.phase = Phase::Verifying;
                    busy.tries = 0;
                    busy.applied_at = Some(now);
                    busy.result = Some(token.clone());
                    busy.next_step_at = now + VERIFY_PAUSE;
                }
            })
            .await?;
        let Some(state) = moved else {
            return Ok(Outcome::Settled { says: "the rollback was ended by somebody else".to_owned() });
        };
        let says = format!("{} serves again (token {token}); watching the recovery", busy.good.label);
        self.note_rollback(&record.id, RollbackState::Verifying, &says).await?;
        self.schedule_rollback(&state.value).await?;
        Ok(Outcome::Settled { says })
    }

    /// Waits within a phase; the end of waiting is the phase's own. `state`: of the target, as it was when its step began.
    pub(super) async fn wait(
        &self,
        record: &Record,
        state: &Loaded<TargetState>,
        busy: &Busy,
        pause: SignedDuration,
        what: &str,
    ) -> Result<Outcome, Trouble> {
        let next_step_at = self.ports.clock.now() + pause;
        // Sent before it is stored: once `wake_up_sent_for` stands there, the queue has the wake-up.
        self.schedule(&wake_up(&state.value, busy, next_step_at)).await?;
        // Where somebody else has taken the step meanwhile, the time of the next one is theirs to tell.
        let as_read = |now: &Busy| now.next_step_at == busy.next_step_at && now.phase == busy.phase && now.step == busy.step;
        let moved = self
            .update_busy_from(&state.value.target, &record.id, ReadBefore::There(state.clone()), as_read, |busy| {
                busy.tries += 1;
                busy.next_step_at = next_step_at;
                busy.wake_up_sent_for = Some(next_step_at);
            })
            .await?;
        if moved.is_none() {
            return Ok(Outcome::Settled { says: "the rollback was taken on, or ended, by somebody else".to_owned() });
        }
        if busy.tries == 0 {
            self.note_rollback(&record.id, busy.phase.into(), what).await?;
        }
        Ok(Outcome::Settled { says: format!("{what}; looking again at {}", whole_seconds(next_step_at)) })
    }

    /// Waits with a growing pause while the target can't be read or something is under way; after long, a person is asked.
    async fn try_later(&self, record: &Record, state: &Loaded<TargetState>, busy: &Busy, what: &str) -> Result<Outcome, Trouble> {
        let seconds = (15_i64 << busy.tries.min(4)).min(180);
        self.wait_for_an_end(record, state, busy, SignedDuration::from_secs(seconds), what).await
    }

    async fn wait_for_an_end(
        &self,
        record: &Record,
        state: &Loaded<TargetState>,
        busy: &Busy,
        pause: SignedDuration,
        what: &str,
    ) -> Result<Outcome, Trouble> {
        if self.is_overdue(busy) {
            return self
                .leave_to_a_person(
                    &record.id,
                    &state.value.target,
                    busy,
                    &format!("after {} min there is still no end: {what}", UNDECIDED_MAX.as_mins()),
                )
                .await;
        }
        self.wait(record, state, busy, pause, what).await
    }

    /// Whether a rollback goes on for so long that a person is asked.
    fn is_overdue(&self, busy: &Busy) -> bool {
        self.ports.clock.now().duration_since(busy.since) > UNDECIDED_MAX
    }

    /// Wakes the rollback of a target, if it is `record`'s and no wake-up is known to come.
    pub(super) async fn wake_target(&self, target: &TargetKey, record: &RecordId) -> Result<(), Trouble> {
        let Some(state) = self.documents.read::<TargetState>(&keys::target(target)).await? else { return Ok(()) };
        let now = self.ports.clock.now();
        let waits = |busy: &Busy| busy.record == *record && !(busy.wake_up_is_sent() && now < busy.next_step_at);
        if state.value.busy.as_deref().is_some_and(waits) {
            self.schedule_rollback(&state.value).await?;
        }
        Ok(())
    }

    /// Sends the wake-up for a busy target's next step.
    pub(super) async fn schedule_rollback(&self, state: &TargetState) -> Result<(), Trouble> {
        match state.busy.as_ref().filter(|busy| busy.left_to_a_person.is_none()) {
            Some(busy) => self.schedule(&wake_up(state, busy, busy.next_step_at)).await,
            None => Ok(()),
        }
    }

    /// Moves a busy target to `phase` after an answer, and schedules the next step; unless somebody saw meanwhile what became of the call,
    /// or has an operation of a later one.
    pub(super) async fn go_on_unless_overtaken(
        &self,
        record: &RecordId,
        target: &TargetKey,
        sent: &Busy,
        phase: Phase,
        operation: Option<Value>,
        next_step_at: Timestamp,
        what: String,
    ) -> Result<Outcome, Trouble> {
        let not_overtaken = |busy: &Busy| {
            busy.step == sent.step
                && match busy.phase {
                    Phase::Claimed | Phase::Submitting => true,
                    Phase::Accepted => busy.operation == sent.operation,
                    Phase::Verifying => false,
                }
        };
        self.move_to(record, target, not_overtaken, phase, operation, next_step_at, what).await
    }

    /// Moves on after a look that found nothing. What another wake-up stored since then, such as an operation that was
    /// accepted, stands.
    async fn go_on_as_seen(
        &self,
        record: &RecordId,
        target: &TargetKey,
        seen: &Busy,
        phase: Phase,
        next_step_at: Timestamp,
        what: String,
    ) -> Result<Outcome, Trouble> {
        let as_seen = |busy: &Busy| busy.step == seen.step && busy.phase == seen.phase && busy.operation == seen.operation;
        self.move_to(record, target, as_seen, phase, None, next_step_at, what).await
    }

    async fn move_to(
        &self,
        record: &RecordId,
        target: &TargetKey,
        still: impl Fn(&Busy) -> bool + Send + Sync,
        phase: Phase,
        operation: Option<Value>,
        next_step_at: Timestamp,
        what: String,
    ) -> Result<Outcome, Trouble> {
        let moved = self
            .update_busy_from(target, record, ReadBefore::NotRead, still, |busy| {
                if busy.phase != phase {
                    busy.tries = 0;
                }
                busy.phase = phase;
                busy.operation.clone_from(&operation);
                busy.next_step_at = next_step_at;
            })
            .await?;
        let Some(state) = moved else {
            return Ok(Outcome::Settled { says: format!("record {record}: its rollback went on, or ended, meanwhile") });
        };
        self.note_rollback(record, phase.into(), &what).await?;
        self.schedule_rollback(&state.value).await?;
        Ok(Outcome::Settled { says: what })
    }

    /// Changes the rollback of a target while it is `record`'s; `None` when it is not any more.
    pub(super) async fn update_busy(
        &self,
        target: &TargetKey,
        record: &RecordId,
        change: impl FnMut(&mut Busy) + Send,
    ) -> Result<Option<Loaded<TargetState>>, PortError> {
        self.update_busy_from(target, record, ReadBefore::NotRead, |_| true, change).await
    }

    /// The same, unless it is not any more as `still` has it; and the first try starts from what was read before.
    pub(super) async fn update_busy_from(
        &self,
        target: &TargetKey,
        record: &RecordId,
        read_before: ReadBefore<TargetState>,
        still: impl Fn(&Busy) -> bool + Send + Sync,
        mut change: impl FnMut(&mut Busy) + Send,
    ) -> Result<Option<Loaded<TargetState>>, PortError> {
        let updated = self
            .documents
            .update_from(
                &keys::target(target),
                read_before,
                || None,
                |state: &mut TargetState| {
                    let busy = state.busy.as_mut().filter(|busy| busy.record == *record && still(busy))?;
                    change(busy);
                    Some(())
                },
            )
            .await?;
        Ok(updated.map(|(loaded, ())| loaded))
    }

    /// Frees a target that is busy with `record`; wake-ups from before are stale from here on. One that was left to a person stays
    /// as it is, also for somebody who read it before that.
    pub(super) async fn clear_busy(
        &self,
        target: &TargetKey,
        record: &RecordId,
        also: impl Fn(&mut TargetState) + Send + Sync,
    ) -> Result<Option<Loaded<TargetState>>, PortError> {
        let cleared = self
            .documents
            .update(
                &keys::target(target),
                || None,
                |state: &mut TargetState| {
                    state.busy.as_ref().filter(|busy| busy.record == *record && busy.left_to_a_person.is_none())?;
                    state.busy = None;
                    also(state);
                    state.generation += 1;
                    Some(())
                },
            )
            .await?;
        Ok(cleared.map(|(loaded, ())| loaded))
    }

    /// Adds to the record's timeline how its rollback stands; an ended one stays ended.
    pub(super) async fn note_rollback(&self, record: &RecordId, state: RollbackState, what: &str) -> Result<(), PortError> {
        let now = self.ports.clock.now();
        self.documents
            .update(
                &keys::record(record),
                || None,
                |record: &mut Record| {
                    (!record.rollback.is_some_and(RollbackState::is_terminal)).then(|| {
                        record.rollback = Some(state);
                        record.note(now, what);
                    })
                },
            )
            .await?;
        Ok(())
    }
}

/// For the next step of a target's rollback. `busy`: in `state`.
pub(super) fn wake_up(state: &TargetState, busy: &Busy, due_at: Timestamp) -> FollowUp {
    FollowUp {
        v: 1,
        record: busy.record.clone(),
        target: Some(state.target.clone()),
        step: StepName::Rollback,
        generation: state.generation,
        due_at,
    }
}

/// That the accused version runs as before, and what else may have been touched on the way there: a run that failed half way, say.
fn still_runs(observation: &Observation) -> String {
    let doubts = observation.obstacles.iter().filter(|obstacle| obstacle.rule == RuleId::S8);
    doubts.fold("the accused version still runs".to_owned(), |says, doubt| format!("{says}, but {}", doubt.says))
}
