//! Deliveries that arrive while backout still starts: they wait.

use std::sync::Arc;

use tokio::sync::watch;

use super::delivery::{Deliveries, Delivery};
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
        let mut ready = self.ready.clone();
        let deliveries = match ready.wait_for(Option::is_some).await {
            Ok(deliveries) => deliveries.clone(),
            Err(_) => None,
        };
        match deliveries {
            Some(deliveries) => deliveries.deliver(delivery).await,
            None => Outcome::DeliverAgain {
                says: "backout did not finish starting; look for the first error after its start in the log".to_owned(),
            },
        }
    }
}
