//! The protocol that acts once (design section 5): busy, claim, re-read, send; each order here prevents something.
//!
//! (a) was [`super::gather`]. (b) compare-and-set the target to busy, beside the budget; keep the inputs. (c) insert the claim, read the
//! live state and the kill switch again, store the decision, side by side. (d) send, only within [`FRESH`] of our own
//! last write of the claim and of our look at the live state. (e) store what the answer said. Three sequential trips lead to
//! the call; one more where a platform's preflight asks in two.
//!
//! A look may take longer than a claim stays fresh (a command in a private cluster takes half a minute). Then the claim is
//! renewed after it, and the look still counts. That is as safe as a look after the renewal: the renewal is a compare-and-set
//! from the version that we held *before* the look began, so its success proves that nobody was authorised to send from then on;
//! who was authorised earlier is long past being fresh, or has proven that nothing was processed. Against the hands of people
//! there is no such proof, only haste: see [`Look`].

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tracing::{Instrument, info, warn};

use super::{
    Process,
    anew::{self, Decided},
    documents::{Documents, Insert, Loaded, ReadBefore, Replace, keys},
    gather::{BudgetDocument, Gathered, Reservation, known},
    outcome::Outcome,
    settle::{decided, firing_of},
    trouble::Trouble,
};
use crate::{
    decide::{
        case::ServiceFacts,
        history,
        progress::{self, ReRead},
    },
    domain::{
        decision::{Decision, DecisionKind, Effect, Reason},
        known::Known,
        observation::Observation,
        policy::Policy,
        record::{DocumentRef, Record, RecordId},
        rollback::{Busy, Claim, ClaimKind, Fence, Phase, RollbackState, Step, StepKind},
        rule::RuleId,
        target::{Fingerprint, TargetKey},
        target_state::{TakenBack, TargetState},
    },
    observability::spans,
    ports::{Key, PortError, SendBy},
};

/// A call is sent only this soon after our own last successful write of the claim, by the monotonic clock. Far below any
/// quiet time: whoever concludes after the quiet time knows that nobody is about to send.
pub const FRESH: Duration = Duration::from_secs(10);

/// And it leaves this soon after that was found, or not at all: token, connection and what the adapter itself reads included. Both
/// together, and the time-out of the call, are far below any quiet time.
pub const SENT_WITHIN: Duration = Duration::from_mins(2);

/// A toggle would turn round what a person did meanwhile, and nothing is read for it.
pub const TOGGLE_SENT_WITHIN: Duration = Duration::from_secs(20);

/// How often a claim that went stale before the call is renewed once more within one invocation.
const RENEWALS_MAX: u32 = 3;

/// A look at the live state just before the call, between two moments of the monotonic clock.
struct Look {
    observation: Known<Observation>,
    began: Duration,
    ended: Duration,
}

impl Look {
    /// Whether a person's change is as unlikely to have been missed as can be.
    ///
    /// What the look says was so at some moment between its ends. A convergent step leads to the explicit good version all the same
    /// (and where the platform compares and sets, is refused), so its end counts. A toggle would turn round what a person did during
    /// the look, so its beginning counts: a toggle whose look is slow is never sent.
    fn is_fresh(&self, busy: &Busy, now: Duration) -> bool {
        let since = match busy.steps.get(busy.step).map(|step| step.kind) {
            Some(StepKind::Convergent) => self.ended,
            Some(StepKind::Toggle) | None => self.began,
        };
        is_fresh(since, now)
    }
}

/// The port promises a step for each way back. Where one has none, no later delivery will find it, and a person must know.
fn without_a_call(decision: Decision) -> Decision {
    let says = match decision.accused.as_ref().and_then(|accused| Some((accused, accused.way_back.as_ref()?))) {
        Some((accused, way)) => {
            let (bad, good, service) = (&accused.label, &way.label, &accused.service);
            format!("{bad} is to blame, and no call leads back to {good}; take {service} back by hand")
        }
        None => "a version is to be taken back, and none is named; look at the alert by hand".to_owned(),
    };
    let mut reasons = vec![Reason { rule: RuleId::S9, effect: Effect::Page, says: says.clone() }];
    reasons.extend(decision.reasons);
    Decision { kind: DecisionKind::Page, reasons, because: says, look_again_at: None, ..decision }
}

fn is_fresh(since: Duration, now: Duration) -> bool {
    now.saturating_sub(since) <= FRESH
}

/// The first look after a call whose answer did not tell.
pub(super) const LOOK_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// The pause before a decision is made again because somebody else was faster.
const DECIDE_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);

/// What keeps a claimed rollback from being sent.
enum Unsent {
    /// Nothing was sent and nothing will be: why.
    GiveUp(RuleId, String),
    /// A read failed, so nothing was sent now; the same claim may send later.
    Later(String),
    /// Somebody else may have sent, or the claim moved on: look at the target.
    Look,
    /// Another record holds the claim, or it is closed.
    Theirs,
}

impl Unsent {
    /// Where an earlier call never told its end, nothing can be said of this one alone: what changed may be the earlier one's doing, and
    /// "nothing was sent" would be false. The target tells.
    fn after(self, claim: &Claim) -> Self {
        if is_sent_again(claim) { Self::Look } else { self }
    }
}

impl Process {
    /// From the decision to the call. The record is new or waits; nobody is busy on the target as far as was read.
    pub(super) async fn act(&self, record: &Record, decision: Decision, gathered: Gathered) -> Result<Outcome, Trouble> {
        let Some((facts, busy)) = self.plan(record, &decision, &gathered) else {
            return self.settle(record, without_a_call(decision), &gathered).await;
        };
        let target = facts.service.target.key();
        let claim_key = keys::claim(&target, &busy.accused);
        let state = Self::busy_state(record, facts, busy.clone());
        let approved = gathered.case.approval.is_some();
        let (set, reserved, inputs) = futures::join!(
            self.write_target(&target, gathered.version_of(&target), state),
            self.reserve(&record.id, facts, &claim_key, approved, gathered.budget_of(&target)),
            self.keep_inputs(&record.id, &gathered.case)
        );
        let (set, reserved, inputs) = (set?, reserved?, inputs?);
        let Some(state) = set else {
            // Another delivery about this very record was faster: the rollback is its own, and must find the record as it left it.
            let now = self.documents.read::<TargetState>(&keys::target(&target)).await?;
            if now.as_ref().and_then(|state| state.value.busy.as_ref()).is_some_and(|busy| busy.record == record.id) {
                let says = format!("record {}: another delivery of it is taking the version back", record.id);
                return Ok(Outcome::Settled { says });
            }
            // Somebody was faster: the target has changed, so the decision is made afresh. A place in the budget that was taken for
            // nothing would be one less for the whole subscription; unless it is that of whoever was faster, or becomes it just now.
            let is_theirs = |state: &TargetState| state.busy.as_ref().is_some_and(|theirs| theirs.accused == busy.accused);
            if !now.as_ref().is_some_and(|state| is_theirs(&state.value)) {
                self.give_back_budget(&target, &busy).await?;
            }
            return self.decide_again(record).await;
        };
        if !reserved {
            // Only as we wrote it: another delivery of this record may have taken the rollback up meanwhile.
            let mut freed = TargetState { busy: None, generation: state.value.generation + 1, ..state.value.clone() };
            freed.forget_attempt(&record.id);
            return match self.documents.replace(&keys::target(&target), &state.version, freed).await? {
                Replace::Now(_) => self.decide_again(record).await,
                Replace::ChangedMeanwhile => {
                    let says = format!("record {}: the target moved on while its budget was looked at", record.id);
                    Ok(Outcome::Settled { says })
                }
            };
        }
        let outcome = self.claim_and_send(record, &decision, inputs, &gathered, &state, &busy).await?;
        // What else was read is kept, and people are told, after the call and off the way to it.
        let after = self.record(&record.id).await?;
        // Where the claim was somebody else's, the record waits, and stays on the lists.
        self.learn(record, &gathered, after.as_ref().and_then(|record| record.next_step_at)).await?;
        if let Some(record) = after {
            let steps: Vec<String> = busy.steps.iter().map(|step| step.says.clone()).collect();
            self.finish_telling(&record, &steps).await?;
        }
        Ok(outcome)
    }

    /// Takes up a rollback of which nothing was sent, after a crash or a wait: the decision was made again on what is so now.
    /// `next_attempt`: whether one was provably in vain already.
    pub(super) async fn act_after_wait(
        &self,
        record: &Record,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
        decided: &Decided,
        next_attempt: bool,
    ) -> Result<Outcome, Trouble> {
        let Decided { decision, case, began } = decided;
        // Its place may never have been taken.
        let facts = case.services.iter().find(|facts| facts.service.target.key() == *target);
        let reserved = match facts {
            Some(facts) => {
                let claim_key = keys::claim(target, &busy.accused);
                self.reserve(&record.id, facts, &claim_key, case.approval.is_some(), ReadBefore::NotRead).await?
            }
            None => false,
        };
        if !reserved {
            let why = "it could not be sent at once, and now the budget of rollbacks is used up";
            return self.give_up_unsent(&record.id, target, busy, &claim, RuleId::A6, why).await;
        }
        let inputs = self.keep_inputs(&record.id, case).await?;
        if !self.store_decision(record, decision, inputs, busy, ReadBefore::NotRead).await? {
            return self.look_later(target, busy).await;
        }
        self.renew_and_send(&record.id, target, busy, claim, next_attempt, *began).await
    }

    /// Builds the rollback that the decision means.
    fn plan<'a>(&self, record: &Record, decision: &Decision, gathered: &'a Gathered) -> Option<(&'a ServiceFacts, Busy)> {
        let accused = decision.accused.as_ref()?;
        let good = accused.way_back.clone()?;
        let facts = gathered.case.services.iter().find(|facts| facts.service.name == accused.service)?;
        let fence = Fence::new(&facts.service.target.key(), &accused.token, &record.id);
        let steps: Vec<Step> = self.ports.platforms.of(&facts.service.target).steps(&good, &fence);
        let now = self.ports.clock.now();
        (!steps.is_empty()).then(|| {
            let busy = Busy {
                record: record.id.clone(),
                service: facts.service.clone(),
                accused: accused.token.clone(),
                accused_fingerprint: accused.fingerprint.clone(),
                good,
                steps,
                step: 0,
                phase: Phase::Claimed,
                operation: None,
                since: now,
                next_step_at: now + LOOK_AFTER,
                wake_up_sent_for: None,
                tries: 0,
                not_sent_attempt: None,
                refused: None,
                applied_at: None,
                result: None,
                left_to_a_person: None,
            };
            (facts, busy)
        })
    }

    /// The target's document as it is while busy.
    fn busy_state(record: &Record, facts: &ServiceFacts, busy: Busy) -> TargetState {
        let mut state = facts.state.clone();
        if let Some(observation) = facts.observation.value() {
            history::absorb_observation(&mut state, observation);
        }
        if facts.distance == 0
            && let Some(firing) = firing_of(record)
        {
            history::add_firing(&mut state, firing);
        }
        history::set_hold(&mut state, &record.id, None);
        state.forget_attempt(&record.id);
        state.taken_back.push(TakenBack {
            record: record.id.clone(),
            accused: busy.accused.clone(),
            accused_fingerprint: busy.accused_fingerprint.clone(),
            claimed_at: busy.since,
            result: None,
            result_fingerprint: None,
            expected: None,
        });
        history::trim(&mut state.taken_back, TargetState::TAKEN_BACK_MAX);
        state.generation += 1;
        state.busy = Some(Box::new(busy));
        state
    }

    /// (b) Sets the target's document by compare-and-set; `None` when it changed meanwhile.
    async fn write_target(
        &self,
        target: &TargetKey,
        version: Option<crate::ports::Version>,
        state: TargetState,
    ) -> Result<Option<Loaded<TargetState>>, PortError> {
        let key = keys::target(target);
        match version {
            Some(version) => match self.documents.replace(&key, &version, state).await? {
                Replace::Now(loaded) => Ok(Some(loaded)),
                Replace::ChangedMeanwhile => Ok(None),
            },
            None => match self.documents.insert(&key, state).await? {
                Insert::Now(loaded) => Ok(Some(loaded)),
                Insert::Taken(_) => Ok(None),
            },
        }
    }

    /// Takes a place in the subscription's budget, once a claim; `false` when it is used up. An approval lifts the limit, not the count (A6).
    /// A place that another record took for the same version is taken over: that one has lost the race for it, and must not give it back.
    async fn reserve(
        &self,
        record: &RecordId,
        facts: &ServiceFacts,
        claim: &Key,
        approved: bool,
        read_before: ReadBefore<BudgetDocument>,
    ) -> Result<bool, PortError> {
        let key = keys::budget(&facts.service.target.budget_scope());
        let now = self.ports.clock.now();
        let budget = facts.service.budget;
        let mut over = false;
        self.documents
            .update_from(
                &key,
                read_before,
                || Some(BudgetDocument::default()),
                |document: &mut BudgetDocument| {
                    over = document.used(budget, now, Some(claim)) >= budget.rollbacks && !approved;
                    if over {
                        return None;
                    }
                    if let Some(taken) = document.reservations.iter_mut().find(|taken| taken.claim == claim.as_str()) {
                        let before = taken.record.replace(record.clone());
                        return (before.as_ref() != Some(record)).then_some(());
                    }
                    document.reservations.push(Reservation { claim: claim.to_string(), record: Some(record.clone()), at: now });
                    history::trim(&mut document.reservations, BudgetDocument::RESERVATIONS_MAX);
                    Some(())
                },
            )
            .await?;
        Ok(!over)
    }

    /// (c) and (d), and then (e).
    async fn claim_and_send(
        &self,
        record: &Record,
        decision: &Decision,
        inputs: DocumentRef,
        gathered: &Gathered,
        state: &Loaded<TargetState>,
        busy: &Busy,
    ) -> Result<Outcome, Trouble> {
        let target = &state.value.target;
        let claim = Claim {
            target: target.clone(),
            token: busy.accused.clone(),
            kind: ClaimKind::Rollback { record: record.id.clone(), attempt: 1, resubmissions: 0, closed: false },
            written_at: self.ports.clock.now(),
        };
        // The mark is taken before the write begins, so that what we call fresh is never younger than the write.
        let written = self.ports.clock.monotonic();
        let claim_key = keys::claim(target, &busy.accused);
        let claiming = async {
            futures::join!(
                self.documents.insert(&claim_key, claim),
                self.look_before_call(busy),
                self.read_paused(),
                self.store_decision(record, decision, inputs, busy, gathered.record.clone())
            )
        };
        let (inserted, look, paused, stored) = Box::pin(claiming.instrument(spans::claim())).await;
        let claim = match inserted? {
            Insert::Now(claim) => claim,
            Insert::Taken(found) => return self.claim_taken(&record.id, target, busy, &found).await,
        };
        if !stored? {
            // Another delivery of the same record went on meanwhile; it finds the claim and looks.
            return self.look_later(target, busy).await;
        }
        match may_send(busy, &look.observation, &paused) {
            Ok(()) => self.send(&record.id, target, busy, claim, written, look, gathered.began).await,
            Err(unsent) => self.unsent(&record.id, target, busy, &claim, unsent).await,
        }
    }

    /// (d) Sends the current step once claim and look are both fresh, and while its decision stands. A stale claim is renewed, the kill
    /// switch read again beside it; a stale look is repeated; a decision that has become old is made again.
    async fn send(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
        written: Duration,
        look: Look,
        decided: Duration,
    ) -> Result<Outcome, Trouble> {
        let (mut claim, mut written, mut look) = (claim, written, look);
        for renewals in 0..=RENEWALS_MAX {
            let now = self.ports.clock.monotonic();
            if !anew::stands(busy, decided, now) {
                return self.decided_long_ago(record, target, busy, claim).await;
            }
            if is_fresh(written, now) && look.is_fresh(busy, now) {
                return self.submit(record, target, busy, claim).await;
            }
            if renewals == RENEWALS_MAX {
                break;
            }
            written = now;
            let renewed;
            let paused;
            if look.is_fresh(busy, now) {
                (renewed, paused) = futures::join!(self.renew(target, busy, &claim, false), self.read_paused());
                let Some(renewed) = renewed? else { return self.look_later(target, busy).await };
                claim = renewed;
            } else {
                let Some(first) = self.renew(target, busy, &claim, false).await? else {
                    return self.look_later(target, busy).await;
                };
                claim = first;
                (look, paused) = futures::join!(self.look_before_call(busy), self.read_paused());
            }
            if let Err(unsent) = may_send(busy, &look.observation, &paused) {
                return self.unsent(record, target, busy, &claim, unsent.after(&claim.value)).await;
            }
        }
        warn!(record = %record, target = %target, "claim or look went stale before every call; trying again later");
        let why = "the claim, or the last look, went stale before the call could be sent";
        self.not_sent(record, target, busy, &claim, why, None).await
    }

    /// Renews the claim by compare-and-set, looks again, and sends. `next_attempt` authorises one more send than before.
    ///
    /// The renewal comes first, also where a slow look makes a second one necessary: whoever concludes meanwhile sees that somebody
    /// is at work.
    pub(super) async fn renew_and_send(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
        next_attempt: bool,
        decided: Duration,
    ) -> Result<Outcome, Trouble> {
        let written = self.ports.clock.monotonic();
        let Some(claim) = self.renew(target, busy, &claim, next_attempt).await? else {
            return self.look_later(target, busy).await;
        };
        let (look, paused) = futures::join!(self.look_before_call(busy), self.read_paused());
        match may_send(busy, &look.observation, &paused) {
            Ok(()) => self.send(record, target, busy, claim, written, look, decided).await,
            Err(unsent) => self.unsent(record, target, busy, &claim, unsent.after(&claim.value)).await,
        }
    }

    /// Compare-and-set of the claim; `None` when somebody else moved it, who then decides.
    pub(super) async fn renew(
        &self,
        target: &TargetKey,
        busy: &Busy,
        claim: &Loaded<Claim>,
        next_attempt: bool,
    ) -> Result<Option<Loaded<Claim>>, PortError> {
        let mut renewed = claim.value.clone();
        renewed.written_at = self.ports.clock.now();
        match &mut renewed.kind {
            ClaimKind::Rollback { record, attempt, closed: false, .. } if *record == busy.record => {
                if next_attempt {
                    *attempt += 1;
                }
            }
            ClaimKind::Rollback { .. } | ClaimKind::Tombstone { .. } => return Ok(None),
        }
        match self.documents.replace(&keys::claim(target, &busy.accused), &claim.version, renewed).await? {
            Replace::Now(loaded) => Ok(Some(loaded)),
            Replace::ChangedMeanwhile => Ok(None),
        }
    }

    /// The one place from which a mutating call leaves: soon, or not at all; and only to a target that the policy names now,
    /// whatever was stored (T3).
    async fn submit(&self, record: &RecordId, target: &TargetKey, busy: &Busy, claim: Loaded<Claim>) -> Result<Outcome, Trouble> {
        let Some(step) = busy.steps.get(busy.step) else { return self.look_later(target, busy).await };
        if !self.policy_at_hand().await.is_some_and(|policy| names(&policy, target, busy)) {
            let unsent = Unsent::GiveUp(RuleId::T3, "the policy does not name this target any more".to_owned());
            return self.unsent(record, target, busy, &claim, unsent.after(&claim.value)).await;
        }
        info!(record = %record, target = %target, token = %busy.accused, step = step.says, "sending the rollback's call");
        let platform = self.ports.platforms.of(&busy.service.target);
        let within = match step.kind {
            StepKind::Convergent => SENT_WITHIN,
            StepKind::Toggle => TOGGLE_SENT_WITHIN,
        };
        let send_by = SendBy::within(Arc::clone(&self.ports.clock), within);
        let span = spans::submit(&busy.service, busy.step);
        let submission = send_by.bound(platform.submit(step)).instrument(span.clone()).await;
        spans::submitted(&span, &submission);
        self.answered(record, target, busy, claim, submission).await
    }

    /// The insert of the claim found one: ours from before, or theirs.
    async fn claim_taken(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        found: &Loaded<Claim>,
    ) -> Result<Outcome, Trouble> {
        let unsent = match &found.value.kind {
            ClaimKind::Rollback { record: owner, closed: false, .. } if owner == record => Unsent::Look,
            ClaimKind::Rollback { .. } | ClaimKind::Tombstone { .. } => Unsent::Theirs,
        };
        self.unsent(record, target, busy, found, unsent).await
    }

    async fn unsent(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: &Loaded<Claim>,
        unsent: Unsent,
    ) -> Result<Outcome, Trouble> {
        match unsent {
            Unsent::Look => self.look_later(target, busy).await,
            Unsent::Later(why) => self.not_sent(record, target, busy, claim, &why, None).await,
            Unsent::GiveUp(rule, why) => self.give_up_unsent(record, target, busy, claim, rule, &why).await,
            Unsent::Theirs => self.leave_to(record, target, &claim.value).await,
        }
    }

    /// Another claim stands for this version, or ours is closed: never send, clear the `busy` that we set, attach.
    pub(super) async fn leave_to(&self, record: &RecordId, target: &TargetKey, claim: &Claim) -> Result<Outcome, Trouble> {
        let (rule, why, owner) = match &claim.kind {
            ClaimKind::Rollback { record: owner, closed, .. } => {
                let state = if *closed { "was tried and given up" } else { "is being taken back" };
                (RuleId::A1, format!("this version {state} by record {owner}"), owner.clone())
            }
            ClaimKind::Tombstone { record: owner, fingerprint } => {
                let is = if fingerprint.is_some() { "is" } else { "may be" };
                (RuleId::A2, format!("this version {is} the result of the rollback of record {owner}"), owner.clone())
            }
        };
        let Some(Loaded { value: found, version }) = self.read_record(record).await? else {
            self.free_from_attempt(target, record, &owner).await?;
            return Ok(Outcome::Settled { says: why });
        };
        if found.rollback.is_some_and(RollbackState::is_terminal) {
            // Ended by somebody else while we stood still: how it ended stays.
            return Ok(Outcome::Settled { says: why });
        }
        let now = self.ports.clock.now();
        let ended = owner == *record
            || self.record(&owner).await?.is_none_or(|owner| owner.rollback.is_none_or(RollbackState::is_terminal));
        let decision = if ended {
            super::alert::page(rule, why.clone())
        } else {
            let says = format!("{why}; this alert waits for that rollback and ends with it");
            super::alert::hold(rule, says, now + LOOK_AFTER * 4)
        };
        // Stored before the target is free: after a crash in between, whoever finds it busy comes here again, while of a record that
        // acts on a free target nobody would hear.
        let is_stored = found.decision.as_ref().is_some_and(|stored| stored.because == decision.because);
        let settled = if is_stored {
            Some(Loaded { value: found, version })
        } else {
            self.update_record(record, found.generation, |found| {
                found.attached_to = (owner != found.id).then(|| owner.clone());
                found.rollback = None;
                decided(found, decision.clone(), now);
            })
            .await?
        };
        self.free_from_attempt(target, record, &owner).await?;
        if let Some(settled) = settled {
            self.note_hold(&settled.value).await?;
            self.finish_telling_written(settled).await?;
        }
        Ok(Outcome::Settled { says: why })
    }

    /// Frees the target from a rollback whose version is `owner`'s by its claim: another one than `record` sent nothing.
    async fn free_from_attempt(&self, target: &TargetKey, record: &RecordId, owner: &RecordId) -> Result<(), PortError> {
        let sent_nothing = owner != record;
        self.clear_busy(target, record, |state| {
            if sent_nothing {
                state.forget_attempt(record);
            }
        })
        .await?;
        Ok(())
    }

    /// The state has to be looked at before anything else: the next step of the saga does it.
    pub(super) async fn look_later(&self, target: &TargetKey, busy: &Busy) -> Result<Outcome, Trouble> {
        let next_step_at = self.ports.clock.now() + LOOK_AFTER;
        let moved = self
            .update_busy(target, &busy.record, |busy| {
                busy.next_step_at = busy.next_step_at.max(next_step_at);
            })
            .await?;
        if let Some(state) = moved {
            self.schedule_rollback(&state.value).await?;
        }
        Ok(Outcome::Settled { says: format!("record {}: its rollback is under way; looking again later", busy.record) })
    }

    async fn look_before_call(&self, busy: &Busy) -> Look {
        let platform = self.ports.platforms.of(&busy.service.target);
        let good: Vec<Fingerprint> = busy.good.fingerprint.iter().cloned().collect();
        let began = self.ports.clock.monotonic();
        let observation = platform.observe().await.map(|mut observation| {
            observation.ways_back = platform.ways_back(&observation, &good);
            observation
        });
        Look { observation: known(observation), began, ended: self.ports.clock.monotonic() }
    }

    /// Stores the Act with its inputs, so that the call can be explained from stored data; `false` when the record went on meanwhile.
    async fn store_decision(
        &self,
        record: &Record,
        decision: &Decision,
        inputs: DocumentRef,
        busy: &Busy,
        read_before: ReadBefore<Record>,
    ) -> Result<bool, PortError> {
        let now = self.ports.clock.now();
        let stored = self
            .update_record_from(&record.id, record.generation, read_before, |record| {
                decided(record, decision.clone(), now);
                record.decided_from = Some(inputs.clone());
                record.rollback = Some(RollbackState::Claimed);
                record.note(now, format!("claimed token {} of {}", busy.accused, busy.service.target.key()));
                if let Some(approval) = record.approval.as_mut().filter(|approval| approval.counts()) {
                    approval.used = true;
                }
            })
            .await?;
        Ok(stored.is_some())
    }

    /// Somebody was faster: the decision is made again, through the queue, so that two deliveries which keep meeting do not spin.
    async fn decide_again(&self, record: &Record) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        let says = "the target changed while it was decided; deciding again".to_owned();
        let decision = super::alert::hold(RuleId::A3, says.clone(), now + DECIDE_AGAIN_AFTER);
        let updated = self.update_record(&record.id, record.generation, |record| decided(record, decision.clone(), now)).await?;
        if let Some(written) = updated {
            self.note_hold(&written.value).await?;
            self.finish_telling_written(written).await?;
        }
        Ok(Outcome::Settled { says: format!("record {}: {says}", record.id) })
    }
}

/// What the re-read must show: nobody paused, and all is as it was decided (A5, A10). Unknown is no permission.
fn may_send(busy: &Busy, observation: &Known<Observation>, paused: &Known<Option<String>>) -> Result<(), Unsent> {
    match paused {
        Known::Value(None) => {}
        Known::Value(Some(by)) => {
            return Err(Unsent::GiveUp(RuleId::A10, format!("backout was paused by {by} just before the call")));
        }
        Known::Unknown(why) => {
            return Err(Unsent::Later(format!("the kill switch could not be read just before the call: {why}")));
        }
    }
    match observation {
        Known::Unknown(why) => Err(Unsent::Later(format!("the live state could not be read just before the call: {why}"))),
        Known::Value(observation) => match progress::re_read(busy, observation) {
            ReRead::AsDecided => Ok(()),
            ReRead::Untold(why) => Err(Unsent::Later(why)),
            ReRead::Changed(why) => Err(Unsent::GiveUp(RuleId::A5, why)),
        },
    }
}

/// Whether an earlier call may have been sent whose answer never told.
pub(super) fn is_sent_again(claim: &Claim) -> bool {
    match &claim.kind {
        ClaimKind::Rollback { resubmissions, .. } => *resubmissions > 0,
        ClaimKind::Tombstone { .. } => false,
    }
}

/// Whether the policy has the target; what is stored about it must agree with where it is stored.
fn names(policy: &Policy, target: &TargetKey, busy: &Busy) -> bool {
    let key = busy.service.target.key();
    key == *target && policy.services.values().any(|service| service.target.key() == key)
}

/// Reads the claim of a busy target.
pub(super) async fn read_claim(
    documents: &Documents,
    target: &TargetKey,
    busy: &Busy,
) -> Result<Option<Loaded<Claim>>, PortError> {
    documents.read::<Claim>(&keys::claim(target, &busy.accused)).await
}
