//! From a delivery to the story: recognise, check that the queue may say so, hand over, and turn trouble into an outcome.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use tracing::{Instrument, error, warn};

use super::{
    delivery::{Deliveries, Delivery, Function},
    http::{HttpAnswer, HttpFunction, HttpRequest},
    webhook::AlertWebhook,
};
use crate::{
    domain::{event::Event, policy::Policy, record::RecordId},
    inbound::{self, Understood},
    observability::{self, spans},
    ports::FollowUp,
    process::{PolicyTrouble, Process, follow_up::RETURNS_MAX, outcome::Outcome, trouble::Trouble},
};

/// Hands deliveries to the process, and calls over HTTP to their function.
pub struct Dispatcher {
    process: Arc<Process>,
    alert_webhook: Option<Arc<AlertWebhook>>,
}

impl Dispatcher {
    pub fn new(process: Arc<Process>) -> Self {
        Self { process, alert_webhook: None }
    }

    pub fn with_alert_webhook(mut self, alert_webhook: Arc<AlertWebhook>) -> Self {
        self.alert_webhook = Some(alert_webhook);
        self
    }

    async fn handle(&self, delivery: &Delivery) -> Result<Outcome, Trouble> {
        if delivery.delivered_before && delivery.function == Function::Alerts {
            for understood in inbound::recognise(&delivery.body).into_iter().flatten() {
                if let Event::Alert(alert) = understood.event {
                    self.process.alert_delivered_before(&alert).await?;
                }
            }
        }
        let policy = match self.process.load_policy().await {
            Ok(policy) => policy,
            // The timer carries nothing that could be lost.
            Err(trouble) if delivery.function == Function::Sweep => {
                return Ok(Outcome::Settled { says: format!("nothing to sweep: {trouble}") });
            }
            // A wake-up comes back by itself: a rollback under way must not end in the parking lot because a file is wrong.
            Err(trouble) if delivery.function == Function::FollowUps => {
                return self.return_later(delivery, &trouble.to_string()).await;
            }
            Err(trouble @ PolicyTrouble::Unreachable(_)) => return self.return_later(delivery, &trouble.to_string()).await,
            Err(PolicyTrouble::Wrong(problems)) => return self.park(delivery, &problems).await,
        };
        match delivery.function {
            Function::Sweep => self.process.sweep(&policy).boxed().await,
            Function::FollowUps => match FollowUp::read(&delivery.body) {
                Ok(follow_up) => {
                    observability::name_record(&follow_up.record);
                    let record = follow_up.record.clone();
                    in_record_trace(&record, delivery, self.process.follow_up_received(follow_up, &policy).boxed()).await
                }
                Err(why) => self.park(delivery, &why).await,
            },
            Function::Alerts | Function::Deployments | Function::Markers => self.handle_events(delivery, &policy).await,
        }
    }

    /// Every event of a body; the most demanding outcome stands for all.
    async fn handle_events(&self, delivery: &Delivery, policy: &Policy) -> Result<Outcome, Trouble> {
        let mut whole = Outcome::Settled { says: "an empty list of events".to_owned() };
        let recognised = inbound::recognise(&delivery.body);
        if let [Ok(Understood { event: Event::Alert(alert), .. })] = recognised.as_slice() {
            observability::name_record(&RecordId::of(alert));
        }
        for recognised in recognised {
            let outcome = match recognised {
                Ok(understood) => self.handle_event(delivery, understood, policy).await?,
                Err(malformed) => self.park(delivery, &malformed.to_string()).await?,
            };
            whole = more_demanding(whole, outcome);
        }
        Ok(whole)
    }

    /// Trust comes from the queue: each carries one kind of event, and only `markers` may declare a change reversible.
    async fn handle_event(&self, delivery: &Delivery, understood: Understood, policy: &Policy) -> Result<Outcome, Trouble> {
        let queue = delivery.function.name();
        match (delivery.function, understood.event) {
            (Function::Alerts, Event::Alert(alert)) => {
                let record = RecordId::of(&alert);
                in_record_trace(&record, delivery, self.process.alert_received(alert, policy).boxed()).await
            }
            (Function::Deployments, Event::Deployment(event)) => self.process.deployment_received(event, policy, false).boxed().await,
            (Function::Markers, Event::Deployment(event)) => self.process.deployment_received(event, policy, true).boxed().await,
            (_, Event::Other(other)) => {
                if let Some(warning) = other.warning {
                    warn!(queue, event = other.name, "{warning}");
                }
                Ok(Outcome::Settled { says: format!("nothing to decide about `{}`", other.name) })
            }
            (_, Event::Alert(_)) => self.park(delivery, &format!("an alert arrived on queue `{queue}`; alerts are taken from queue `alerts` only")).await,
            (_, Event::Deployment(_)) => {
                self.park(delivery, &format!("a deployment event arrived on queue `{queue}`; they are taken from queues `deployments` and `markers` only")).await
            }
        }
    }

    /// Keeps a message for a person, with everything that is known to be wrong with it.
    async fn park(&self, delivery: &Delivery, why: &str) -> Result<Outcome, Trouble> {
        let reason = match &delivery.envelope_problem {
            Some(problem) => format!("{problem}; {why}"),
            None => why.to_owned(),
        };
        self.process.park(delivery.function.name(), &delivery.body, &reason).await
    }

    /// Puts the same bytes back with a delay; after many returns the host's own counting takes over and dead-letters them.
    async fn return_later(&self, delivery: &Delivery, why: &str) -> Result<Outcome, Trouble> {
        if delivery.function == Function::Sweep {
            return Ok(Outcome::DeliverAgain { says: why.to_owned() });
        }
        // Where the envelope hides the message, only the host has its bytes.
        if let Some(problem) = delivery.envelope_problem.as_ref().filter(|problem| problem.hides_the_message()) {
            return Ok(Outcome::DeliverAgain { says: format!("{problem}; {why}") });
        }
        if delivery.returns >= RETURNS_MAX {
            return Ok(Outcome::DeliverAgain { says: format!("after {} returns: {why}", delivery.returns) });
        }
        let delay = self.process.put_back(delivery.function.name(), &delivery.body, delivery.returns).await?;
        Ok(Outcome::PutBack { says: format!("{why}; the message comes back in {} s", delay.as_secs()) })
    }
}

#[async_trait::async_trait]
impl Deliveries for Dispatcher {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        let handled = match self.handle(&delivery).await {
            Ok(outcome) => Ok(outcome),
            Err(trouble @ (Trouble::Store(_) | Trouble::Platform(_))) => {
                warn!(%trouble, "a message could not be handled now");
                self.return_later(&delivery, &trouble.to_string()).await
            }
            Err(trouble @ Trouble::Bus(_)) => Err(trouble),
        };
        match handled {
            Ok(outcome) => outcome,
            // Nothing could be kept and nothing sent: only the host still has the message.
            Err(trouble) => {
                error!(%trouble, "a message goes back to the host");
                Outcome::DeliverAgain { says: trouble.to_string() }
            }
        }
    }

    async fn answer(&self, request: HttpRequest) -> HttpAnswer {
        match (request.function, &self.alert_webhook) {
            (HttpFunction::AlertWebhook, Some(webhook)) => webhook.answer(request).await,
            (HttpFunction::AlertWebhook, None) => HttpAnswer::later("`alert-webhook` is not set up here"),
        }
    }
}

/// Handles a message as a step of its record's trace. In a box from the start: the whole of a story takes kilobytes, which each
/// hand that it passes through would copy.
async fn in_record_trace(
    record: &RecordId,
    delivery: &Delivery,
    handling: BoxFuture<'_, Result<Outcome, Trouble>>,
) -> Result<Outcome, Trouble> {
    let span = spans::handled(record, delivery.function.name(), &delivery.invocation_id, delivery.trace_parent.as_deref());
    let handled = handling.instrument(span.clone()).await;
    match &handled {
        Ok(Outcome::Settled { .. } | Outcome::Parked { .. } | Outcome::PutBack { .. }) => {}
        Ok(Outcome::DeliverAgain { .. }) => spans::fail(&span, "deliver_again"),
        Err(Trouble::Store(_)) => spans::fail(&span, "store"),
        Err(Trouble::Platform(_)) => spans::fail(&span, "platform"),
        Err(Trouble::Bus(_)) => spans::fail(&span, "queue"),
    }
    handled
}

fn more_demanding(a: Outcome, b: Outcome) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Settled { .. } => 0,
        Outcome::Parked { .. } => 1,
        Outcome::PutBack { .. } => 2,
        Outcome::DeliverAgain { .. } => 3,
    };
    if rank(&b) >= rank(&a) { b } else { a }
}
