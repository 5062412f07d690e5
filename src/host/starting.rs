//! Deliveries that arrive while backout still starts: they wait.

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    delivery::{Deliveries, Delivery},
    http::{HttpAnswer, HttpRequest},
};
use crate::process::outcome::Outcome;

/// Stands in for the real [`Deliveries`] until they are there.
///
/// To the host, listening means ready: so the port is bound first, and what comes early waits here.
pub struct Starting {
    ready: watch::Receiver<Option<Arc<dyn Deliveries>>>,
}

/// Ends the wait. Dropped without [`Self::now`]: everything that waits, and all that comes later, is delivered again.
pub struct Ready {
    ready: watch::Sender<Option<Arc<dyn Deliveries>>>,
}

impl Starting {
    pub fn new() -> (Self, Ready) {
        let (sender, receiver) = watch::channel(None);
        (Self { ready: receiver }, Ready { ready: sender })
    }
}

impl Ready {
    pub fn now(self, deliveries: Arc<dyn Deliveries>) {
        // An error means that the server is gone already, and nobody waits.
        let _ = self.ready.send(Some(deliveries));
    }
}

#[async_trait::async_trait]
impl Deliveries for Starting {
    async fn deliver(&self, delivery: Delivery) -> Outcome {
        match self.started().await {
            Some(deliveries) => deliveries.deliver(delivery).await,
            None => Outcome::DeliverAgain { says: DID_NOT_START.to_owned() },
        }
    }

    async fn answer(&self, request: HttpRequest) -> HttpAnswer {
        match self.started().await {
            Some(deliveries) => deliveries.answer(request).await,
            None => HttpAnswer::later(DID_NOT_START),
        }
    }
}

impl Starting {
    async fn started(&self) -> Option<Arc<dyn Deliveries>> {
        let mut ready = self.ready.clone();
        ready.wait_for(Option::is_some).await.ok()?.clone()
    }
}

const DID_NOT_START: &str = "backout did not finish starting; look for the first error after its start in the log";
