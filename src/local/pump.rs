//! Takes messages from the queues and hands them over, as the Functions host does; in place of it, on one machine or in a
//! container. Embedded queue or Service Bus: the same.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tracing::{Instrument, info, warn};

use super::back_off::{ReceiveTrouble, before_return};
use crate::{
    host::{
        delivery::{Deliveries, Delivery, Function},
        reply,
    },
    observability::{self, invocation_span},
    ports::{Clock, Incoming, LockProblem, MessageLock, PortErrorKind, Received},
    process::outcome::Outcome,
};

/// What is taken from where, and handed to whom.
#[derive(Clone)]
pub struct Pump {
    pub incoming: Arc<dyn Incoming>,
    pub deliveries: Arc<dyn Deliveries>,
    pub clock: Arc<dyn Clock>,
    /// Messages of one queue that are worked on at the same time.
    pub side_by_side: NonZeroUsize,
    /// Real time that messages in work have to come to their end when the pump is asked to stop.
    pub grace: Duration,
    /// Virtual time between two sweeps; `None` where the host has a timer for them.
    pub sweep_every: Option<Duration>,
}

/// `maxConcurrentCalls` of host.json.
pub const SIDE_BY_SIDE: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Below the 10 s after which `docker stop` kills.
pub const GRACE: Duration = Duration::from_secs(7);

/// Real time of one wait for a message.
const RECEIVE_WAIT: Duration = Duration::from_secs(30);

/// Real time to give messages back at the end.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(2);

/// As the timer of `function-app/sweep`.
pub const SWEEP_EVERY: Duration = Duration::from_mins(5);

/// Real time before the first sweep.
const SWEEP_AFTER_START: Duration = Duration::from_millis(200);

/// Time between two renewals, whatever the lock's length and the clocks say.
const RENEW_EVERY_MIN: Duration = Duration::from_secs(1);
const RENEW_EVERY_MAX: Duration = Duration::from_secs(10);

/// `maxAutoLockRenewalDuration` of host.json: what takes longer comes again beside itself, as it does there.
const RENEW_UNTIL: Duration = Duration::from_mins(10);

/// Messages of one queue that wait for their return and do not count as worked on. Above that they do, which slows the queue.
const HELD_MAX: usize = 32;

/// Where the pump is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Running,
    /// Nothing new is taken.
    Stopping,
    /// What is still in work is given back.
    Over,
}

impl Pump {
    /// Runs until `stop` is done, then ends cleanly: no new message, those in work end within the grace or are given back.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (phase, seen) = watch::channel(Phase::Running);
        let mut takers = JoinSet::new();
        for function in Function::ALL.iter().copied().filter(|function| *function != Function::Sweep) {
            takers.spawn(self.clone().take(function, seen.clone()));
        }
        if let Some(every) = self.sweep_every {
            takers.spawn(self.clone().sweep(every, seen.clone()));
        }
        stop.await;
        phase.send_replace(Phase::Stopping);
        let all_ended = async { while takers.join_next().await.is_some() {} };
        if tokio::time::timeout(self.grace, all_ended).await.is_err() {
            phase.send_replace(Phase::Over);
            let all_ended = async { while takers.join_next().await.is_some() {} };
            if tokio::time::timeout(GIVE_BACK_WITHIN, all_ended).await.is_err() {
                warn!("not every message could be given back; they come again when their locks end");
            }
        }
    }

    async fn take(self, function: Function, mut phase: watch::Receiver<Phase>) {
        let queue = function.name();
        let slots = Arc::new(Semaphore::new(self.side_by_side.get()));
        let held = Arc::new(Semaphore::new(HELD_MAX));
        let mut trouble = ReceiveTrouble::default();
        let mut work = JoinSet::new();
        loop {
            while work.try_join_next().is_some() {}
            let slot = tokio::select! {
                biased;
                () = reached(&mut phase, Phase::Stopping) => break,
                slot = Arc::clone(&slots).acquire_owned() => slot,
            };
            let received = tokio::select! {
                biased;
                // First: a message that is here already is handled, or its lock would have to end by itself.
                received = self.incoming.receive(queue, RECEIVE_WAIT) => received,
                () = reached(&mut phase, Phase::Stopping) => break,
            };
            match received {
                Ok(message) => {
                    if trouble.over() {
                        info!(queue, "messages can be received again");
                    }
                    if let (Some(message), Ok(slot)) = (message, slot) {
                        let in_work = InWork { pump: self.clone(), function, phase: phase.clone(), held: Arc::clone(&held) };
                        work.spawn(in_work.handle(message, slot));
                    }
                }
                Err(error) => {
                    let (pause, news) = trouble.failed(&error);
                    if news {
                        warn!(%error, queue, "no message can be received; trying again until it works, and telling then");
                    }
                    tokio::select! {
                        biased;
                        () = reached(&mut phase, Phase::Stopping) => break,
                        () = self.clock.sleep(pause) => {}
                    }
                }
            }
        }
        while work.join_next().await.is_some() {}
    }

    async fn sweep(self, every: Duration, mut phase: watch::Receiver<Phase>) {
        // Whoever asks at start-up is answered first: a sweep may have to look for a sign-in, which holds the one thread.
        tokio::time::sleep(SWEEP_AFTER_START).await;
        loop {
            let mut over = phase.clone();
            tokio::select! {
                biased;
                () = reached(&mut over, Phase::Over) => return,
                _ = self.deliver(Function::Sweep, Vec::new(), 0, false) => {}
            }
            tokio::select! {
                biased;
                () = reached(&mut phase, Phase::Stopping) => return,
                () = self.clock.sleep(every) => {}
            }
        }
    }

    /// Dropped, it ends the delivery where it is, as a crash would.
    async fn deliver(&self, function: Function, body: Vec<u8>, returns: u32, delivered_before: bool) -> Outcome {
        let invocation_id = uuid::Uuid::new_v4().to_string();
        let span = invocation_span(&invocation_id, function.name(), None);
        let delivery =
            Delivery { function, body, returns, delivered_before, envelope_problem: None, invocation_id, trace_parent: None };
        // A task of its own: a panic in one message must not end the pump.
        let deliveries = Arc::clone(&self.deliveries);
        let mut task = JoinSet::new();
        task.spawn(async move { deliveries.deliver(delivery).await }.instrument(span.clone()));
        let outcome = match task.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None => {
                Outcome::DeliverAgain { says: "the delivery ended unexpectedly; the log has its place".to_owned() }
            }
        };
        span.in_scope(|| reply::log(&outcome));
        observability::flush().await;
        outcome
    }
}

/// Handles one message from its lock to its end.
struct InWork {
    pump: Pump,
    function: Function,
    phase: watch::Receiver<Phase>,
    held: Arc<Semaphore>,
}

impl InWork {
    async fn handle(mut self, message: Received, slot: OwnedSemaphorePermit) {
        let Received { body, returns, delivery_count, locked_until, lock, message_id: _ } = message;
        let mut renewal = Renewal::new(self.pump.clock.as_ref(), locked_until, self.function.name());
        let (pump, function) = (self.pump.clone(), self.function);
        let delivered_before = delivery_count > 1 || returns > 0;
        let outcome = tokio::select! {
            biased;
            () = reached(&mut self.phase, Phase::Over) => None,
            outcome = pump.deliver(function, body, returns, delivered_before) => Some(outcome),
            never = renewal.keep(pump.clock.as_ref(), lock.as_ref()) => match never {},
        };
        match outcome {
            Some(Outcome::Settled { .. } | Outcome::Parked { .. } | Outcome::PutBack { .. }) => {
                self.complete(lock.as_ref()).await;
            }
            Some(Outcome::DeliverAgain { .. }) => {
                // Given back, it would come again at once: held instead, so that ten deliveries are not over in a second.
                let _slot = Arc::clone(&self.held).try_acquire_owned().unwrap_or(slot);
                tokio::select! {
                    biased;
                    () = reached(&mut self.phase, Phase::Stopping) => {}
                    () = pump.clock.sleep(before_return(delivery_count)) => {}
                    never = renewal.keep(pump.clock.as_ref(), lock.as_ref()) => match never {},
                }
                self.give_back(lock.as_ref()).await;
            }
            None => {
                warn!(queue = function.name(), "a message was not done in time before the stop; it is given back");
                self.give_back(lock.as_ref()).await;
            }
        }
    }

    /// Its effects are stored: left uncompleted, it would come again and change nothing but a count.
    async fn complete(&self, lock: &dyn MessageLock) {
        let mut completed = lock.complete().await;
        if let Err(LockProblem::Failed(error)) = &completed
            && matches!(error.kind, PortErrorKind::Transient | PortErrorKind::Throttled)
        {
            self.pump.clock.sleep(Duration::from_secs(1)).await;
            completed = lock.complete().await;
        }
        self.told(completed, "a message is done, but could not be taken from its queue");
    }

    async fn give_back(&self, lock: &dyn MessageLock) {
        self.told(lock.abandon().await, "a message could not be given back");
    }

    fn told(&self, ended: Result<(), LockProblem>, what: &str) {
        if let Err(error) = ended {
            warn!(%error, queue = self.function.name(), "{what}");
        }
    }
}

/// Keeps one lock from ending.
struct Renewal {
    every: Duration,
    until: Duration,
    queue: &'static str,
    ended: bool,
}

enum Never {}

impl Renewal {
    /// At half of the lock, but never rarer than each 10 s: so a broker's clock that differs from ours does no harm.
    fn new(clock: &dyn Clock, locked_until: Timestamp, queue: &'static str) -> Self {
        let left = Duration::try_from(locked_until.duration_since(clock.now())).unwrap_or_default();
        let every = (left / 2).clamp(RENEW_EVERY_MIN, RENEW_EVERY_MAX);
        Self { every, until: clock.monotonic() + RENEW_UNTIL, queue, ended: false }
    }

    async fn keep(&mut self, clock: &dyn Clock, lock: &dyn MessageLock) -> Never {
        while !self.ended && clock.monotonic() < self.until {
            clock.sleep(self.every).await;
            match lock.renew().await {
                Ok(()) => {}
                Err(LockProblem::Lost) => {
                    self.ended = true;
                    warn!(queue = self.queue, "the lock on a message in work had ended; it comes a second time");
                }
                Err(LockProblem::Failed(error)) => {
                    warn!(%error, queue = self.queue, "the lock on a message in work could not be renewed; trying again");
                }
            }
        }
        std::future::pending().await
    }
}

/// Done when the pump has come to `wanted`, or is gone.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}
