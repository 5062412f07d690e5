//! Takes messages from the embedded queue and hands them over, as the Functions host does from Service Bus.

use std::{sync::Arc, time::Duration};

use tracing::{Instrument, warn};

use super::embedded_queue::{EmbeddedMessage, EmbeddedQueue};
use crate::{
    host::{
        delivery::{Deliveries, Delivery, Function},
        reply,
    },
    observability::invocation_span,
    ports::Clock,
    process::outcome::Outcome,
};

/// Messages of one queue that are handled at the same time.
const SIDE_BY_SIDE: usize = 2;

/// Real time between two looks into an empty queue.
const IDLE_PAUSE: Duration = Duration::from_millis(200);

/// Virtual time between two sweeps; the timer of `function-app/sweep`.
const SWEEP_EVERY: Duration = Duration::from_mins(5);

/// Runs until it is dropped.
pub async fn run(queue: Arc<EmbeddedQueue>, deliveries: Arc<dyn Deliveries>, clock: Arc<dyn Clock>) {
    let functions = Function::ALL.iter().filter(|function| **function != Function::Sweep);
    let takers = functions.flat_map(|function| (0..SIDE_BY_SIDE).map(|_| take(*function, &queue, &deliveries)));
    futures::join!(futures::future::join_all(takers), sweep(&deliveries, &clock));
}

async fn take(function: Function, queue: &EmbeddedQueue, deliveries: &Arc<dyn Deliveries>) {
    loop {
        match queue.receive(function.name()).await {
            Ok(Some(message)) => hand_over(function, message, queue, deliveries).await,
            Ok(None) => tokio::time::sleep(IDLE_PAUSE).await,
            Err(error) => {
                warn!(%error, queue = function.name(), "the embedded queue could not be read; trying again");
                tokio::time::sleep(IDLE_PAUSE * 10).await;
            }
        }
    }
}

async fn hand_over(function: Function, message: EmbeddedMessage, queue: &EmbeddedQueue, deliveries: &Arc<dyn Deliveries>) {
    let outcome = deliver(function, message.body, message.returns, deliveries).await;
    let settled = match outcome {
        Outcome::Settled { .. } | Outcome::Parked { .. } | Outcome::PutBack { .. } => queue.complete(message.id).await,
        // Unlike the host, nobody here is in a hurry to count to ten.
        Outcome::DeliverAgain { .. } => {
            queue.abandon(message.id, Duration::from_secs(5 * u64::from(message.delivery_count))).await
        }
    };
    if let Err(error) = settled {
        warn!(%error, queue = function.name(), "a message could not be settled; it comes again");
    }
}

async fn sweep(deliveries: &Arc<dyn Deliveries>, clock: &Arc<dyn Clock>) {
    // Whoever asks at start-up is answered first: a sweep may have to look for a sign-in, which holds the one thread.
    tokio::time::sleep(IDLE_PAUSE).await;
    loop {
        deliver(Function::Sweep, Vec::new(), 0, deliveries).await;
        clock.sleep(SWEEP_EVERY).await;
    }
}

async fn deliver(function: Function, body: Vec<u8>, returns: u32, deliveries: &Arc<dyn Deliveries>) -> Outcome {
    let invocation_id = uuid::Uuid::new_v4().to_string();
    let span = invocation_span(&invocation_id, function.name(), None);
    let delivery = Delivery { function, body, returns, envelope_problem: None, invocation_id, trace_parent: None };
    // A panic in one message must not end the pump.
    let handed = Arc::clone(deliveries);
    let delivered = tokio::spawn(async move { handed.deliver(delivery).await }.instrument(span.clone())).await;
    let outcome =
        delivered.unwrap_or_else(|error| Outcome::DeliverAgain { says: format!("the delivery ended unexpectedly: {error}") });
    span.in_scope(|| reply::log(&outcome));
    outcome
}
