//! A decision to roll back is made once more, where time has passed before its call: after a crash, after a platform's wish to wait, when
//! the process stood still, and before what may be sent once more.

use std::time::Duration;

use super::{Process, act::is_sent_again, documents::Loaded, outcome::Outcome, trouble::Trouble};
use crate::{
    decide::{case::Case, who},
    domain::{
        approval::Verdict,
        decision::{Decision, DecisionKind},
        known::Known,
        observation::Observation,
        record::{Record, RecordId},
        rollback::{Busy, Claim, RollbackState},
        rule::RuleId,
        target::TargetKey,
    },
};

/// So long after a decision its call may leave without another look at alert, signals and policy.
const DECISION_STANDS: Duration = Duration::from_mins(5);

/// Whether a call may still leave that was decided on what was read since `decided`, by the monotonic clock. After a first step there is
/// no way but on.
pub(super) fn stands(busy: &Busy, decided: Duration, now: Duration) -> bool {
    busy.step > 0 || now.saturating_sub(decided) <= DECISION_STANDS
}

/// A decision that was made once more, and what from.
pub(super) struct Decided {
    pub decision: Box<Decision>,
    pub case: Box<Case>,
    /// When the reading for it began, by the monotonic clock.
    pub began: Duration,
}

/// A decision to roll back, made once more before its call.
pub(super) enum Anew {
    Act(Decided),
    /// It would not be made now. `seen`: what the target showed when it was looked at for that.
    NotAnyMore {
        rule: RuleId,
        why: String,
        seen: Option<Known<Observation>>,
    },
}

impl Anew {
    fn without_a_look(rule: RuleId, why: String) -> Self {
        Self::NotAnyMore { rule, why, seen: None }
    }
}

impl Process {
    /// Nothing was ever sent, and time has passed since the decision.
    pub(super) async fn decide_after_crash(
        &self,
        record: &Record,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
    ) -> Result<Outcome, Trouble> {
        self.decide_and_send(record, target, busy, claim, false, "nothing was sent before a restart").await
    }

    /// A call that was provably not sent is sent now; once its decision is old, or its alert resolved, only if it is decided again.
    pub(super) async fn send_what_was_not(
        &self,
        record: &Record,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
    ) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.monotonic();
        let since = |at| Duration::try_from(self.ports.clock.now().duration_since(at)).unwrap_or_default();
        let age = record.decided_at.map_or(Duration::MAX, since);
        // After a first step there is no way but on.
        if busy.step > 0 || age <= DECISION_STANDS && record.resolved_at.is_none() {
            return self.renew_and_send(&record.id, target, busy, claim, true, now.saturating_sub(age)).await;
        }
        self.decide_and_send(record, target, busy, claim, true, "the call could not leave at once").await
    }

    /// The process stood still between the decision and its call, as may a machine that is frozen for a while. Somebody else may have
    /// ended the rollback since: then the claim has moved on, or the record has ended, and there is nothing to decide.
    pub(super) async fn decided_long_ago(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
    ) -> Result<Outcome, Trouble> {
        // Of an earlier call that never told its end the target tells.
        if is_sent_again(&claim.value) {
            return self.look_later(target, busy).await;
        }
        let Some(claim) = self.renew(target, busy, &claim, false).await? else { return self.look_later(target, busy).await };
        let still_ours = |record: &Record| !record.rollback.is_some_and(RollbackState::is_terminal);
        let Some(record) = self.record(record).await?.filter(still_ours) else { return self.look_later(target, busy).await };
        self.decide_and_send(&record, target, busy, claim, false, "the call could not leave soon after its decision").await
    }

    /// `next_attempt`: whether one was provably in vain already; `so_far`: why nothing was sent until now, for people.
    async fn decide_and_send(
        &self,
        record: &Record,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
        next_attempt: bool,
        so_far: &str,
    ) -> Result<Outcome, Trouble> {
        match self.decide_anew(record, target, busy).await? {
            Anew::Act(decided) => Box::pin(self.act_after_wait(record, target, busy, claim, &decided, next_attempt)).await,
            Anew::NotAnyMore { rule, why, .. } => {
                self.give_up_unsent(&record.id, target, busy, &claim, rule, &format!("{so_far}, and {why}")).await
            }
        }
    }

    /// Whether the rollback would be decided now as it was: time has passed, and the good version may run well, the alert be resolved, or
    /// the policy be another.
    pub(super) async fn decide_anew(&self, record: &Record, target: &TargetKey, busy: &Busy) -> Result<Anew, Trouble> {
        let policy = match self.policy.load().await {
            Ok(policy) => policy,
            Err(problems) => {
                return Ok(Anew::without_a_look(RuleId::V7, format!("the policy is not readable any more: {problems}")));
            }
        };
        // A person's yes is a yes, used or not.
        let approved = record.approval.as_ref().is_some_and(|approval| approval.verdict == Verdict::Approved);
        if record.resolved_at.is_some() && !approved {
            return Ok(Anew::without_a_look(RuleId::A13, "the alert was resolved since".to_owned()));
        }
        let meant = match who::still_meant(&record.services, &policy) {
            Ok(meant) => meant,
            Err(gone) => {
                let why = format!("`{gone}`, which the alert is about, is not in the policy any more");
                return Ok(Anew::without_a_look(RuleId::C4, why));
            }
        };
        let mut gathered = self.gather(record, &meant, &policy).await?;
        // Our own mark on the target is no reason against ourselves.
        for facts in &mut gathered.case.services {
            facts.state.busy.take_if(|busy| busy.record == record.id);
            facts.state.forget_attempt(&record.id);
            if facts.service.target.key() == *target {
                gathered.case.approval.clone_from(&record.approval);
                if let Some(approval) = &mut gathered.case.approval {
                    approval.used = false;
                }
            }
        }
        let decision = super::decide(&gathered.case);
        let same = decision.accused.as_ref().is_some_and(|accused| {
            accused.token == busy.accused
                && accused
                    .way_back
                    .as_ref()
                    .is_some_and(|way| way.name == busy.good.name && way.fingerprint == busy.good.fingerprint)
        });
        Ok(if decision.kind == DecisionKind::Act && same {
            Anew::Act(Decided { decision: Box::new(decision), case: Box::new(gathered.case), began: gathered.began })
        } else {
            let seen = gathered.case.services.iter().find(|facts| facts.service.target.key() == *target);
            Anew::NotAnyMore {
                rule: RuleId::A5,
                why: format!("now the decision is {}: {}", decision.kind, decision.because),
                seen: seen.map(|facts| facts.observation.clone()),
            }
        })
    }
}
