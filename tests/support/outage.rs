//! Ports that are away for a while: every call fails, and the first one may have had its effect all the same.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backout::{
    ports::{Clock, FollowUps, Inserted, Key, PortError, PortErrorKind, QueueMessage, Replaced, StateStore, Stored, Version},
    process::Ports,
};
use jiff::{SignedDuration, Timestamp};

/// When a port is away.
#[derive(Clone)]
pub struct Outage {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: u64,
    /// The call at which it begins, whether that one has its effect, and how long it lasts.
    at_call: Option<(u64, bool, SignedDuration)>,
    until: Option<Timestamp>,
}

impl Outage {
    pub fn none_yet(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// From now on, for `lasts`.
    pub fn begin(&self, lasts: SignedDuration) {
        self.state.lock().unwrap().until = Some(self.clock.now() + lasts);
    }

    /// From the `number`th call after this one on; `after_effect`: that one only loses its answer.
    pub fn begin_at_call(&self, number: u64, after_effect: bool, lasts: SignedDuration) {
        let mut state = self.state.lock().unwrap();
        state.at_call = Some((state.calls + number, after_effect, lasts));
    }

    pub fn calls(&self) -> u64 {
        self.state.lock().unwrap().calls
    }

    /// The same ports, whose store is away during the outage.
    pub fn of_store(&self, ports: &Ports) -> Ports {
        Ports { store: Arc::new(Away(ports.store.clone(), self.clone())), ..ports.clone() }
    }

    /// The same ports, whose queue takes nothing during the outage.
    pub fn of_queue(&self, ports: &Ports) -> Ports {
        Ports { follow_ups: Arc::new(Away(ports.follow_ups.clone(), self.clone())), ..ports.clone() }
    }

    async fn through<T>(&self, call: impl Future<Output = Result<T, PortError>>) -> Result<T, PortError> {
        // Others get their turn, as with any store that is not in this process.
        tokio::task::yield_now().await;
        let now = self.clock.now();
        let (away, loses_the_answer) = {
            let mut state = self.state.lock().unwrap();
            state.calls += 1;
            let begins = state.at_call.filter(|(number, _, _)| *number == state.calls);
            if let Some((_, _, lasts)) = begins {
                state.until = Some(now + lasts);
            }
            (state.until.is_some_and(|until| now < until), begins.is_some_and(|(_, after_effect, _)| after_effect))
        };
        if away && !loses_the_answer {
            return Err(gone());
        }
        let answer = call.await;
        if away { Err(gone()) } else { answer }
    }
}

fn gone() -> PortError {
    PortError::new("reach it", PortErrorKind::Transient, "no connection")
}

struct Away<T: ?Sized>(Arc<T>, Outage);

#[async_trait::async_trait]
impl StateStore for Away<dyn StateStore> {
    async fn read(&self, key: &Key) -> Result<Option<Stored>, PortError> {
        self.1.through(self.0.read(key)).await
    }
    async fn insert(&self, key: &Key, body: &[u8]) -> Result<Inserted, PortError> {
        self.1.through(self.0.insert(key, body)).await
    }
    async fn replace(&self, key: &Key, version: &Version, body: &[u8]) -> Result<Replaced, PortError> {
        self.1.through(self.0.replace(key, version, body)).await
    }
    async fn delete(&self, key: &Key, version: &Version) -> Result<bool, PortError> {
        self.1.through(self.0.delete(key, version)).await
    }
    async fn list(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<Key>, PortError> {
        self.1.through(self.0.list(prefix, after, limit)).await
    }
}

#[async_trait::async_trait]
impl FollowUps for Away<dyn FollowUps> {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        self.1.through(self.0.send(message, delay)).await
    }
}
