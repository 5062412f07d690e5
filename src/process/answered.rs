//! What the answer to the call means, stored; and what comes next.
//!
//! An answer may come long after it was given: a process that was stopped in between holds it. Until then another one may have taken
//! over, sent again under the next attempt, or ended the rollback. So an answer by which nothing was changed is concluded only by
//! compare-and-set of the claim from the version under which the call was sent: whoever fails at that has been overtaken, and looks.

use jiff::SignedDuration;

use super::{
    Process,
    act::{LOOK_AFTER, is_sent_again},
    documents::Loaded,
    ending::{End, done_before},
    outcome::Outcome,
    trouble::Trouble,
};
use crate::domain::{
    instant::whole_seconds,
    record::RecordId,
    rollback::{Busy, Claim, ClaimKind, Phase, RollbackState, Submission},
    target::TargetKey,
};

/// The first poll is never later than this, whatever the answer asks for.
const POLL_SECONDS_MAX: u32 = 300;

impl Process {
    /// (e) Stores what the answer said, and schedules what comes next. `claim` is as it was when the call was sent.
    pub(super) async fn answered(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: Loaded<Claim>,
        submission: Submission,
    ) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        let says = busy.steps.get(busy.step).map(|step| step.says.clone()).unwrap_or_default();
        match submission {
            Submission::Done if busy.step + 1 < busy.steps.len() => Box::pin(self.advance(record, target, busy)).await,
            Submission::Done => {
                self.go_on_unless_overtaken(record, target, busy, Phase::Submitting, None, now, format!("{says}: done at once"))
                    .await
            }
            Submission::Accepted { operation, poll_after_seconds } => {
                let poll_at = now + SignedDuration::from_secs(i64::from(poll_after_seconds.clamp(1, POLL_SECONDS_MAX)));
                let what = format!("{says}: accepted");
                self.go_on_unless_overtaken(record, target, busy, Phase::Accepted, Some(operation), poll_at, what).await
            }
            // It may be refused because an earlier one took effect.
            Submission::Refused { says: why } if is_sent_again(&claim.value) => {
                let what = format!("{says}: sent once more, and refused ({why}); looking what the first one did");
                self.go_on_unless_overtaken(record, target, busy, Phase::Submitting, None, now + LOOK_AFTER, what).await
            }
            Submission::Refused { says: why } => {
                if !self.close_claim(target, busy, &claim).await? {
                    return self.look_later(target, busy).await;
                }
                let says = match done_before(busy) {
                    Some(done) => format!("{done}; nothing more was changed: {says}: refused: {why}"),
                    None => format!("nothing was changed: {says}: refused: {why}"),
                };
                self.end(record, target, busy, End { state: RollbackState::Failed, says, rule: None }).await
            }
            Submission::Busy { says: why } => {
                let what = format!("{says}: not taken, something else is under way: {why}");
                self.go_on_unless_overtaken(record, target, busy, Phase::Submitting, None, now + LOOK_AFTER * 2, what).await
            }
            Submission::NotSent { says: why, retry_after_seconds } => {
                self.not_sent(record, target, busy, &claim, &why, retry_after_seconds).await
            }
            Submission::Unknown { says: why } => {
                let what = format!("{says}: no answer that tells ({why}); looking before anything else");
                self.go_on_unless_overtaken(record, target, busy, Phase::Submitting, None, now + LOOK_AFTER, what).await
            }
        }
    }

    /// Nothing was processed, provably: the same step may be sent again under a renewed claim, a few times.
    pub(super) async fn not_sent(
        &self,
        record: &RecordId,
        target: &TargetKey,
        busy: &Busy,
        claim: &Loaded<Claim>,
        why: &str,
        retry_after_seconds: Option<u32>,
    ) -> Result<Outcome, Trouble> {
        if self.renew(target, busy, claim, false).await?.is_none() {
            return self.look_later(target, busy).await;
        }
        let attempt = match &claim.value.kind {
            ClaimKind::Rollback { attempt, .. } => Some(*attempt),
            ClaimKind::Tombstone { .. } => None,
        };
        let wait = i64::from(retry_after_seconds.unwrap_or(30).clamp(5, 900));
        let next_step_at = self.ports.clock.now() + SignedDuration::from_secs(wait);
        let what = format!(
            "{}: not sent ({why}); trying again at {}",
            busy.steps.get(busy.step).map(|step| step.says.as_str()).unwrap_or_default(),
            whole_seconds(next_step_at)
        );
        let moved = self
            .update_busy(target, record, |busy| {
                busy.phase = Phase::Claimed;
                busy.not_sent_attempt = attempt;
                busy.tries += 1;
                busy.next_step_at = next_step_at;
            })
            .await?;
        let Some(state) = moved else {
            return Ok(Outcome::Settled { says: format!("record {record}: its rollback was ended by somebody else") });
        };
        self.note_rollback(record, RollbackState::Claimed, &what).await?;
        self.schedule_rollback(&state.value).await?;
        Ok(Outcome::Settled { says: what })
    }
}
