//! A deployment event arrived: what it claims is confirmed on the platform, kept, and alerts that came before it are judged again.

use futures::future::{FutureExt, join_all};
use tracing::{Instrument, info, warn};

use super::{Process, documents::keys, gather::known, outcome::Outcome, trouble::Trouble};
use crate::{
    decide::{case::LATE_WINDOW, history, who},
    domain::{
        decision::{Decision, DecisionKind},
        deployment::{DeploymentEvent, DeploymentStatus},
        observation::ObstacleWeight,
        policy::Policy,
        record::{Record, RecordId},
        service::Service,
        target_state::TargetState,
    },
    observability::spans,
    ports::{PortError, PortErrorKind},
};

impl Process {
    /// Keeps what an event says of the services that it means. `trusted`: it came by the queue whose senders may declare
    /// a change reversible.
    pub async fn deployment_received(&self, event: DeploymentEvent, policy: &Policy, trusted: bool) -> Result<Outcome, Trouble> {
        let services = who::services_changed(&event, policy);
        if services.is_empty() {
            return Ok(Outcome::Settled { says: "a deployment event about nothing in the policy".to_owned() });
        }
        let learning: Vec<_> =
            services.iter().map(|service| self.learn_of_deployment(service, &event, trusted).boxed()).collect();
        let results = join_all(learning).await;
        let mut unread = None;
        for result in results {
            if let Err(error) = result? {
                unread = Some(error);
            }
        }
        if let Some(error) = unread {
            // Back on the queue: the state before the alert is worth another try (S6).
            return match error.kind {
                PortErrorKind::Transient | PortErrorKind::Throttled => Err(Trouble::Platform(error)),
                PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => {
                    warn!(%error, "a deployment event could not be confirmed on the platform");
                    Ok(Outcome::Settled { says: format!("the event is kept, but its platform could not be read: {error}") })
                }
            };
        }
        let again = self.judge_again(&services, policy).await?;
        Ok(Outcome::Settled {
            says: format!("kept a deployment event of {} services; {again} alerts judged again", services.len()),
        })
    }

    /// The outer error is the store's; the inner one the platform's, after the event itself was kept.
    async fn learn_of_deployment(
        &self,
        service: &Service,
        event: &DeploymentEvent,
        trusted: bool,
    ) -> Result<Result<(), PortError>, PortError> {
        let target = &service.target;
        let now = self.ports.clock.now();
        let platform = self.ports.platforms.of(target);
        // A rollout that has only begun is not looked at for its way back yet.
        let (observation, preflight) = futures::join!(platform.observe(), async {
            match event.status {
                DeploymentStatus::Succeeded => Some(platform.preflight().await),
                DeploymentStatus::Started | DeploymentStatus::Failed | DeploymentStatus::Other => None,
            }
        });
        let key = target.key();
        self.documents
            .update(
                &keys::target(&key),
                || Some(TargetState::new(key.clone())),
                |state: &mut TargetState| {
                    let before = state.clone();
                    history::absorb_event(state, event, now, trusted);
                    if let Ok(observation) = &observation {
                        history::absorb_observation(state, observation);
                    }
                    (*state != before).then_some(())
                },
            )
            .await?;
        let name = &service.name;
        match preflight.map(known) {
            Some(crate::domain::known::Known::Value(preflight)) => {
                for obstacle in preflight.obstacles.iter().filter(|obstacle| obstacle.weight == ObstacleWeight::Page) {
                    warn!(service = %name, rule = %obstacle.rule, "the way back is closed before it is needed: {}", obstacle.says);
                }
            }
            Some(crate::domain::known::Known::Unknown(why)) => info!(service = %name, why, "the way back could not be checked"),
            None => {}
        }
        Ok(observation.map(|_| ()))
    }

    /// Alerts of these services, and of those downstream, which fired a short while ago and may be decided anew.
    async fn judge_again(&self, services: &[&Service], policy: &Policy) -> Result<usize, Trouble> {
        let now = self.ports.clock.now();
        let mut records: Vec<RecordId> = Vec::new();
        for downstream in services.iter().flat_map(|service| who::services_downstream(&service.name, policy)) {
            let key = keys::target(&downstream.target.key());
            if let Some(state) = self.documents.read::<TargetState>(&key).await? {
                let recent =
                    state.value.firings.iter().filter(|firing| firing.resolved_at.is_none()).map(|firing| &firing.record);
                for record in recent {
                    if !records.contains(record) {
                        records.push(record.clone());
                    }
                }
            }
        }
        let mut again = 0;
        for id in records {
            if let Some(read) = self.read_record(&id).await?
                && now.duration_since(read.value.received_at) <= LATE_WINDOW
                && is_open(&read.value)
            {
                again += 1;
                let before = read.value.decision.clone();
                let span = spans::judged_again(&id);
                self.look(&read, policy, move |decision| raises(before.as_ref(), decision)).instrument(span).await?;
            }
        }
        Ok(again)
    }
}

/// Still undecided, or decided without doing anything, while the alert goes on.
fn is_open(record: &Record) -> bool {
    let open = record.decision.as_ref().is_none_or(|decision| match decision.kind {
        DecisionKind::Hold | DecisionKind::Propose | DecisionKind::Page | DecisionKind::Ignore => true,
        DecisionKind::Act => false,
    });
    open && record.resolved_at.is_none() && record.approval.is_none() && record.attached_to.is_none() && record.rollback.is_none()
}

/// A late event may end a hold, and raise Ignore, Page and Propose; it never lowers them.
fn raises(before: Option<&Decision>, after: &Decision) -> bool {
    let rank = |kind: DecisionKind| match kind {
        DecisionKind::Ignore => 0,
        DecisionKind::Hold => 1,
        DecisionKind::Page => 2,
        DecisionKind::Propose => 3,
        DecisionKind::Act => 4,
    };
    before.is_none_or(|before| before.kind == DecisionKind::Hold || rank(after.kind) > rank(before.kind))
}
