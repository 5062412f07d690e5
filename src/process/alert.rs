//! An alert arrived: one record a firing, one decision, whatever arrives twice.

use jiff::{SignedDuration, Timestamp};

use super::{
    Process,
    documents::{Insert, Loaded, keys},
    gather::Gathered,
    outcome::Outcome,
    settle::decided,
    trouble::Trouble,
};
use crate::{
    decide::{self, who},
    domain::{
        alert::{Alert, Condition},
        decision::{Decision, DecisionKind, Effect, Reason},
        policy::Policy,
        record::Record,
        rollback::Busy,
        rule::RuleId,
        service::Service,
    },
    ports::{FollowUp, StepName},
};

/// A copy that comes this soon after the first leaves the first one time to decide.
const FIRST_COPY_TIME: SignedDuration = SignedDuration::from_secs(30);

/// A rollback that an alert waits for is looked at again this long after its own next step.
const ATTACHED_PAUSE: SignedDuration = SignedDuration::from_secs(60);

impl Process {
    /// Handles one alert to a stored decision, or to the call that it leads to.
    pub async fn alert_received(&self, alert: Alert, policy: &Policy) -> Result<Outcome, Trouble> {
        if alert.condition == Condition::Resolved {
            return Box::pin(self.alert_resolved(alert, policy)).await;
        }
        let meant = who::services_meant(&alert, policy);
        let now = self.ports.clock.now();
        let record = new_record(alert, now, &meant, policy);
        if let Some(decision) = decide::decide_without_reading(&record.alert, &meant, now) {
            return self.settle_unread(record, decision).await;
        }
        let key = keys::record(&record.id);
        let (inserted, listed, gathered) = futures::join!(
            self.documents.insert(&key, record.clone()),
            self.put_on_list(&record),
            self.gather(&record, &meant, policy)
        );
        match inserted? {
            Insert::Now(loaded) => {
                listed?;
                let gathered = gathered?.about(loaded.clone());
                Box::pin(self.judge(&loaded.value, gathered)).await
            }
            Insert::Taken(Loaded { value: found, .. }) => self.alert_again(found).await,
        }
    }

    /// What would be decided about an alert now. Nothing is claimed, sent or told; the alert is kept as history only, so
    /// give this process a store of its own.
    pub async fn explain(&self, alert: Alert, policy: &Policy) -> Result<(Decision, Record), Trouble> {
        let meant = who::services_meant(&alert, policy);
        let now = self.ports.clock.now();
        let record = new_record(alert, now, &meant, policy);
        if let Some(decision) = decide::decide_without_reading(&record.alert, &meant, now) {
            return Ok((decision, record));
        }
        let gathered = self.gather(&record, &meant, policy).await?;
        let decision = super::decide(&gathered.case);
        self.learn(&record, &gathered, None).await?;
        Ok((decision, record))
    }

    /// A copy of a firing that has its record: it is counted, and whatever a crash left undone is done.
    pub(super) async fn alert_again(&self, found: Record) -> Result<Outcome, Trouble> {
        let key = keys::record(&found.id);
        // Also where the first one has decided meanwhile: the count is no decision.
        let count = |record: &mut Record| {
            record.duplicates += 1;
            Some(())
        };
        let (counted, listed) = futures::join!(self.documents.update(&key, || None, count), self.put_on_list(&found));
        listed?;
        let record = counted?.map_or(found, |(loaded, ())| loaded.value);
        self.finish_telling(&record, &[]).await?;
        self.wake(&record).await?;
        Ok(Outcome::Settled { says: format!("another copy of record {}, number {}", record.id, record.duplicates + 1) })
    }

    /// Sends the wake-up of whatever the record waits for, where the first one may never have been sent or is overdue. The record has
    /// been told, or its next step is due.
    pub(super) async fn wake(&self, record: &Record) -> Result<(), Trouble> {
        let now = self.ports.clock.now();
        match &record.decision {
            None => {
                let due_at = now.max(record.received_at + FIRST_COPY_TIME);
                self.schedule(&FollowUp {
                    v: 1,
                    record: record.id.clone(),
                    target: None,
                    step: StepName::LookAgain,
                    generation: record.generation,
                    due_at,
                })
                .await
            }
            Some(decision) => {
                // Also when the record has ended: a crash may have come before the target was freed.
                if let Some(accused) = &decision.accused {
                    self.wake_target(&accused.target, &record.id).await?;
                }
                // Whoever approved it may have died before the handler was woken.
                if let (DecisionKind::Propose, Some(_)) = (decision.kind, record.approval.as_ref().filter(|given| given.counts()))
                {
                    return self.wake_for_approval(record, now).await;
                }
                // Its wake-up was sent before it was marked as told; one more for each copy would only pile up.
                if record.next_step_at.is_some_and(|due_at| due_at <= now) { self.schedule_next(record).await } else { Ok(()) }
            }
        }
    }

    /// Judges gathered facts and goes where the decision leads.
    pub(super) async fn judge(&self, record: &Record, gathered: Gathered) -> Result<Outcome, Trouble> {
        if let Some(busy) = gathered.case.services.iter().find_map(|facts| facts.state.busy.as_ref()) {
            if busy.record == record.id {
                let target = busy.service.target.key();
                return self.resume(&target, &record.id).await;
            }
            let busy = busy.clone();
            return self.attach(record, &busy, gathered).await;
        }
        let decision = super::decide(&gathered.case);
        match decision.kind {
            DecisionKind::Act => Box::pin(self.act(record, decision, gathered)).await,
            DecisionKind::Propose | DecisionKind::Hold | DecisionKind::Page | DecisionKind::Ignore => {
                self.settle(record, decision, &gathered).await
            }
        }
    }

    /// The target is busy with another record's rollback: this one waits for its end.
    async fn attach(&self, record: &Record, busy: &Busy, gathered: Gathered) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        let says =
            format!("a rollback of `{}` is under way (record {}); this alert ends with it", busy.service.name, busy.record);
        let decision = hold(RuleId::A4, says, busy.next_step_at.max(now) + ATTACHED_PAUSE);
        let to = busy.record.clone();
        let attached = self
            .update_record_from(&record.id, record.generation, gathered.record.clone(), |record| {
                record.attached_to = Some(to.clone());
            })
            .await?;
        let Some(attached) = attached else {
            return Ok(Outcome::Settled { says: format!("record {} was decided by another delivery meanwhile", record.id) });
        };
        self.settle(record, decision, &gathered.about(attached)).await
    }

    /// Resolved: it ends a hold, and never starts anything (E1). It may come before its Fired.
    async fn alert_resolved(&self, alert: Alert, policy: &Policy) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        let resolved_at = alert.resolved_at.unwrap_or(now);
        let meant = who::services_meant(&alert, policy);
        let mut record = new_record(alert, now, &meant, policy);
        record.resolved_at = Some(resolved_at);
        let decision = ignore(RuleId::E1, "the alert is resolved; a resolved alert never starts a rollback".to_owned());
        let id = record.id.clone();
        let mut fresh = record.clone();
        decided(&mut fresh, decision, now);
        let key = keys::record(&id);
        let (inserted, listed, learned) = futures::join!(self.documents.insert(&key, fresh), self.put_on_list(&record), async {
            if counts_as_fired(&record, &meant) { self.learn_of_resolved(&record).await } else { Ok(()) }
        });
        // Of each delivery: of the one before nobody knows how far it came.
        learned?;
        match inserted? {
            Insert::Now(written) => {
                listed?;
                self.finish_telling_written(written).await?;
                Ok(Outcome::Settled { says: format!("record {id}: resolved before it was seen firing") })
            }
            Insert::Taken(Loaded { value: found, .. }) => self.resolve(found, resolved_at).await,
        }
    }

    async fn resolve(&self, found: Record, resolved_at: Timestamp) -> Result<Outcome, Trouble> {
        let now = self.ports.clock.now();
        if found.resolved_at.is_some() {
            return self.alert_again(found).await;
        }
        let waits = found.decision.as_ref().is_none_or(|decision| decision.kind == DecisionKind::Hold);
        let updated = self
            .update_record(&found.id, found.generation, |record| {
                record.resolved_at = Some(resolved_at);
                record.note(now, "the alert was resolved");
                if waits {
                    decided(
                        record,
                        ignore(RuleId::A13, "the alert was resolved while backout waited for evidence".to_owned()),
                        now,
                    );
                }
            })
            .await?;
        let Some(written) = updated else {
            // Somebody decided meanwhile: take the message again, on the new state.
            return Ok(Outcome::DeliverAgain { says: format!("record {} changed while its alert was resolved", found.id) });
        };
        self.unhold(&written.value, Some(resolved_at)).await?;
        self.finish_telling_written(written).await?;
        Ok(Outcome::Settled { says: format!("record {}: resolved", found.id) })
    }

    /// Decides a record again, on what is known now. `may` says whether a new decision may take the place of the old one.
    pub(super) async fn look(
        &self,
        read: &Loaded<Record>,
        policy: &Policy,
        may: impl Fn(&Decision) -> bool + Send,
    ) -> Result<Outcome, Trouble> {
        let record = &read.value;
        let meant = match who::still_meant(&record.services, policy) {
            Ok(meant) => meant,
            // What is left would be judged as if it were all: a change that may be to blame is not weighed any more.
            Err(gone) => {
                let gathered = self.gather(record, &[], policy).await?.about(read.clone());
                let says =
                    format!("`{gone}`, which this alert is about, is not in the policy any more; look at the alert by hand");
                return self.settle(record, page(RuleId::C4, says), &gathered).await;
            }
        };
        let gathered = self.gather(record, &meant, policy).await?.about(read.clone());
        if gathered.case.services.iter().any(|facts| facts.state.busy.is_some()) {
            return Box::pin(self.judge(record, gathered)).await;
        }
        let decision = super::decide(&gathered.case);
        if !may(&decision) {
            self.learn(record, &gathered, record.next_step_at).await?;
            // What led to the decision that stands may be this very message, and the telling of it have failed.
            self.finish_telling(record, &[]).await?;
            return Ok(Outcome::Settled { says: format!("record {}: nothing new ({})", record.id, decision.kind) });
        }
        match decision.kind {
            DecisionKind::Act => Box::pin(self.act(record, decision, gathered)).await,
            DecisionKind::Propose | DecisionKind::Hold | DecisionKind::Page | DecisionKind::Ignore => {
                self.settle(record, decision, &gathered).await
            }
        }
    }
}

/// Whether the Fired of a resolved alert is kept with its targets, however late this comes.
fn counts_as_fired(record: &Record, meant: &[&Service]) -> bool {
    let fired = Alert { condition: Condition::Fired, ..record.alert.clone() };
    let fired_at = fired.fired_at.unwrap_or(record.received_at);
    decide::decide_without_reading(&fired, meant, fired_at).is_none()
}

pub(super) fn ignore(rule: RuleId, says: String) -> Decision {
    simple(DecisionKind::Ignore, rule, Effect::Ignore, says)
}

pub(super) fn page(rule: RuleId, says: String) -> Decision {
    simple(DecisionKind::Page, rule, Effect::Page, says)
}

pub(super) fn hold(rule: RuleId, says: String, look_again_at: Timestamp) -> Decision {
    Decision { look_again_at: Some(look_again_at), ..simple(DecisionKind::Hold, rule, Effect::Hold, says) }
}

fn simple(kind: DecisionKind, rule: RuleId, effect: Effect, says: String) -> Decision {
    Decision {
        kind,
        reasons: vec![Reason { rule, effect, says: says.clone() }],
        accused: None,
        candidates: Vec::new(),
        because: says,
        look_again_at: None,
    }
}

fn new_record(alert: Alert, now: Timestamp, meant: &[&Service], policy: &Policy) -> Record {
    let services = meant.iter().map(|service| service.name.clone()).collect();
    let targets = meant.iter().map(|service| service.target.key()).collect();
    let mut record = Record::new(alert, now, services, targets, policy.sha256.clone());
    record.note(now, format!("alert {} arrived", record.alert.rule.as_deref().unwrap_or("without a rule name")));

    record
}
