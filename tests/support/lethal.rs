//! A switch between the process and its ports: at a chosen call, before or after its effect, the process dies.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;

use backout::{
    domain::{
        observation::{Observation, Preflight, WayBack},
        policy::NotifyRule,
        resource_id::ResourceId,
        right::NeededRight,
        rollback::{Fence, OperationState, Step, Submission},
        series::{EvidenceMetric, Series},
        target::{Fingerprint, Target},
    },
    ports::{
        Alerts, FollowUps, Inserted, KeptAlert, Key, Notice, Notifier, Platform, Platforms, PortError, QueueMessage, Replaced,
        StateStore, Stored, Telemetry, Version,
    },
    process::Ports,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Notify;

/// When the process dies: the number of a call, and on which side of its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    pub at_call: u64,
    pub after_effect: bool,
}

/// Counts every call through the ports; dies at most once.
#[derive(Clone, Default)]
pub struct Switch {
    calls: Arc<AtomicU64>,
    death: Option<Death>,
    died: Arc<Notify>,
}

impl Switch {
    pub fn that_never_dies() -> Self {
        Self::default()
    }

    pub fn that_dies(death: Death) -> Self {
        Self { death: Some(death), ..Self::default() }
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Returns when the process has died.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    async fn through<T>(&self, call: impl Future<Output = T>) -> T {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let dies = self.death.filter(|death| death.at_call == number);
        if dies.is_some_and(|death| !death.after_effect) {
            self.die().await;
        }
        let result = call.await;
        if dies.is_some() {
            self.die().await;
        }
        result
    }

    async fn die(&self) {
        self.died.notify_one();
        std::future::pending::<()>().await;
    }

    /// The same ports, behind the switch.
    pub fn guard(&self, ports: &Ports) -> Ports {
        Ports {
            store: Arc::new(Guarded(ports.store.clone(), self.clone())),
            follow_ups: Arc::new(Guarded(ports.follow_ups.clone(), self.clone())),
            platforms: Arc::new(Guarded(ports.platforms.clone(), self.clone())),
            telemetry: Arc::new(Guarded(ports.telemetry.clone(), self.clone())),
            alerts: Arc::new(Guarded(ports.alerts.clone(), self.clone())),
            notifier: Arc::new(Guarded(ports.notifier.clone(), self.clone())),
            clock: ports.clock.clone(),
        }
    }
}

struct Guarded<T: ?Sized>(Arc<T>, Switch);

#[async_trait::async_trait]
impl StateStore for Guarded<dyn StateStore> {
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
impl FollowUps for Guarded<dyn FollowUps> {
    async fn send(&self, message: QueueMessage, delay: Duration) -> Result<(), PortError> {
        self.1.through(self.0.send(message, delay)).await
    }
}

#[async_trait::async_trait]
impl Telemetry for Guarded<dyn Telemetry> {
    async fn series(
        &self,
        metric: &EvidenceMetric,
        resource: &ResourceId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Series, PortError> {
        self.1.through(self.0.series(metric, resource, from, to)).await
    }
}

#[async_trait::async_trait]
impl Alerts for Guarded<dyn Alerts> {
    async fn changed_since(&self, subscription: &str, since: Timestamp) -> Result<Vec<KeptAlert>, PortError> {
        self.1.through(self.0.changed_since(subscription, since)).await
    }
}

#[async_trait::async_trait]
impl Notifier for Guarded<dyn Notifier> {
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError> {
        self.1.through(self.0.tell(notice, rule)).await
    }
}

impl Platforms for Guarded<dyn Platforms> {
    fn of(&self, target: &Target) -> Arc<dyn Platform> {
        Arc::new(Guarded(self.0.of(target), self.1.clone()))
    }
}

#[async_trait::async_trait]
impl Platform for Guarded<dyn Platform> {
    async fn observe(&self) -> Result<Observation, PortError> {
        self.1.through(self.0.observe()).await
    }
    fn ways_back(&self, observation: &Observation, proven: &[Fingerprint]) -> Vec<WayBack> {
        self.0.ways_back(observation, proven)
    }
    fn rights(&self) -> Vec<NeededRight> {
        self.0.rights()
    }
    async fn preflight(&self) -> Result<Preflight, PortError> {
        self.1.through(self.0.preflight()).await
    }
    fn steps(&self, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
        self.0.steps(way_back, fence)
    }
    async fn submit(&self, step: &Step) -> Submission {
        self.1.through(self.0.submit(step)).await
    }
    async fn poll(&self, operation: &Value) -> Result<OperationState, PortError> {
        self.1.through(self.0.poll(operation)).await
    }
    async fn verify(&self, way_back: &WayBack) -> Result<Observation, PortError> {
        self.1.through(self.0.verify(way_back)).await
    }
}
