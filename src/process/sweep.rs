//! Finds what should have moved and did not: lost wake-ups, lost alerts, untold notices; and looks at every target, so that what is good is known.

use futures::{
    FutureExt,
    stream::{self, StreamExt},
};
use jiff::SignedDuration;
use tracing::warn;

use super::{Process, documents::keys, outcome::Outcome, saga::wake_up, trouble::Trouble};
use crate::{
    decide::history,
    domain::{policy::Policy, record::Record, rollback::Busy, service::Service, target_state::TargetState},
};

/// A step is overdue when its wake-up is this late.
const OVERDUE: SignedDuration = SignedDuration::from_mins(2);

/// Targets looked at side by side.
const SIDE_BY_SIDE: usize = 8;

const OUTBOX_MAX: usize = 100;

impl Process {
    pub async fn sweep(&self, policy: &Policy) -> Result<Outcome, Trouble> {
        let sweeps: Vec<_> = policy.services.values().map(|service| self.sweep_target(service).boxed()).collect();
        let results: Vec<Result<usize, Trouble>> = stream::iter(sweeps).buffer_unordered(SIDE_BY_SIDE).collect().await;
        let mut woken = 0;
        let mut trouble = None;
        for result in results {
            match result {
                Ok(count) => woken += count,
                Err(error) => trouble = Some(error),
            }
        }
        woken += self.carry_on(policy).await.unwrap_or_else(|error| {
            trouble = Some(error);
            0
        });
        let fetched = self.fetch_lost_alerts(policy).await.unwrap_or_else(|error| {
            trouble = Some(error);
            0
        });
        // One target's document that cannot be read must not keep notices untold.
        let told = self.send_outbox(OUTBOX_MAX).await?;
        self.forget_old_storms(policy).await?;
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        Ok(Outcome::Settled {
            says: format!(
                "looked at {} targets, woke {woken} steps, fetched {fetched} alerts, told {told} notices",
                policy.services.len()
            ),
        })
    }

    /// Looks at one target, and wakes what is overdue on it.
    async fn sweep_target(&self, service: &Service) -> Result<usize, Trouble> {
        let key = service.target.key();
        let document = keys::target(&key);
        let platform = self.ports.platforms.of(&service.target);
        let observation = platform.observe().await;
        if let Err(error) = &observation {
            warn!(service = %service.name, %error, "the sweep could not read a target");
        }
        let read = self.documents.read::<TargetState>(&document).await?;
        let woken = match &read {
            Some(state) => self.wake_overdue(&state.value).await,
            None => Ok(0),
        };
        let Ok(observation) = observation else { return woken };
        self.documents
            .update_from(
                &document,
                read.into(),
                || Some(TargetState::new(key.clone())),
                |state: &mut TargetState| history::absorb_observation(state, &observation).then_some(()),
            )
            .await?;
        woken
    }

    async fn wake_overdue(&self, state: &TargetState) -> Result<usize, Trouble> {
        let now = self.ports.clock.now();
        let mut woken = usize::from(self.wake_if_overdue(state).await?);
        for hold in state.holds.iter().filter(|hold| hold.next_step_at + OVERDUE < now) {
            let Some(record) = self.record(&hold.record).await? else { continue };
            match record.next_step_at {
                Some(due_at) if due_at + OVERDUE < now => {
                    warn!(record = %record.id, "a waiting record's next step is overdue; waking it");
                    self.wake(&Record { next_step_at: Some(now), ..record }).await?;
                    woken += 1;
                }
                Some(_) => {}
                None => self.unhold(&record, None).await?,
            }
        }
        Ok(woken)
    }

    /// Wakes the rollback of a target whose next step is overdue; whether there was one.
    pub(super) async fn wake_if_overdue(&self, state: &TargetState) -> Result<bool, Trouble> {
        let now = self.ports.clock.now();
        let overdue = |busy: &&Busy| busy.left_to_a_person.is_none() && busy.next_step_at + OVERDUE < now;
        let Some(busy) = state.busy.as_deref().filter(overdue) else { return Ok(false) };
        warn!(record = %busy.record, target = %state.target, "a rollback's next step is overdue; waking it");
        self.schedule(&wake_up(state, busy, now)).await?;
        Ok(true)
    }
}
