//! A small world on one thread and virtual time: a site, its measurements, a store, a queue, and the process between them.

use std::sync::Arc;

use backout::{
    domain::{
        alert::Alert,
        policy::Policy,
        record::{Record, RecordId},
        rollback::RollbackState,
        target::Target,
    },
    local::memory_store::MemoryStore,
    ports::{Clock, FollowUp},
    process::{Ports, Process},
    sim::clock::ManualClock,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    fake_alerts::FakeAlerts,
    fake_notifier::FakeNotifier,
    fake_platform::{FakePlatform, OnePlatform},
    fake_queue::FakeQueue,
    fake_telemetry::FakeTelemetry,
    leaks::watched_process,
    lethal::{Death, Switch},
    policy::{FixedPolicy, alert, policy, service},
};

pub const GOOD: &str = "build-41";
pub const BAD: &str = "build-42";

pub struct World {
    pub clock: Arc<ManualClock>,
    pub platform: FakePlatform,
    pub telemetry: FakeTelemetry,
    pub alerts: FakeAlerts,
    pub queue: FakeQueue,
    pub notifier: Arc<FakeNotifier>,
    pub policy: Arc<Policy>,
    pub ports: Ports,
}

impl World {
    /// `checkout` runs the good build since a day.
    pub fn new() -> Self {
        Self::with(policy(vec![service("checkout")]))
    }

    pub fn with(policy: Policy) -> Self {
        let start: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
        let clock = Arc::new(ManualClock::that_advances_on_sleep(start));
        let as_clock: Arc<dyn Clock> = clock.clone();
        let platform = FakePlatform::new(as_clock.clone(), GOOD, start - SignedDuration::from_hours(26));
        let telemetry = FakeTelemetry::default();
        let alerts = FakeAlerts::default();
        let queue = FakeQueue::new(as_clock.clone());
        let notifier = Arc::new(FakeNotifier::default());
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
            follow_ups: Arc::new(queue.clone()),
            platforms: Arc::new(OnePlatform(Arc::new(platform.clone()))),
            telemetry: Arc::new(telemetry.clone()),
            alerts: Arc::new(alerts.clone()),
            notifier: notifier.clone(),
            clock: as_clock,
        };
        Self { clock, platform, telemetry, alerts, queue, notifier, policy: Arc::new(policy), ports }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn advance(&self, by: SignedDuration) {
        self.clock.advance(by.unsigned_abs());
    }

    /// A process over these ports, as after a start.
    pub fn process(&self) -> Process {
        self.process_behind(&Switch::that_never_dies())
    }

    pub fn process_behind(&self, switch: &Switch) -> Process {
        watched_process(switch.guard(&self.ports), Arc::new(FixedPolicy(Arc::clone(&self.policy))))
    }

    /// Takes in an alert with a process that may die; returns the number of its calls.
    pub async fn takes_in(&self, firing: &Alert, death: Option<Death>) -> u64 {
        let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
        let mortal = self.process_behind(&switch);
        tokio::select! {
            biased;
            outcome = Box::pin(mortal.alert_received(firing.clone(), &self.policy)) => { outcome.unwrap(); }
            () = switch.died() => {}
        }
        switch.calls()
    }

    /// The sweep sees the good build serve; then the bad one is swapped in, and requests fail from then on. Returns the firing.
    pub async fn break_it(&self) -> Alert {
        self.process().sweep(&self.policy).await.unwrap();
        self.advance(SignedDuration::from_mins(40));
        self.platform.team_swaps_in(BAD);
        self.telemetry.from(self.now(), Some(0.31));
        self.advance(SignedDuration::from_mins(8));
        alert("a1", "checkout", self.now() - SignedDuration::from_mins(1))
    }

    /// Recovery follows what runs: call it whenever the platform may have changed.
    pub fn measure(&self) {
        let share = if self.platform.running() == GOOD { Some(0.001) } else { Some(0.31) };
        self.telemetry.from(self.now(), share);
    }

    /// Delivers everything that is due.
    pub async fn deliver_due(&self, process: &Process) {
        while let Some((id, message)) = self.queue.take() {
            let follow_up: FollowUp = serde_json::from_slice(&message.body).unwrap();
            process.follow_up_received(follow_up, &self.policy).await.unwrap();
            self.queue.complete(id);
        }
    }

    /// Runs everything that is scheduled, and a sweep every five minutes, for `hours`.
    pub async fn run(&self, process: &Process, hours: i64) {
        self.run_while(process, hours, async || true).await;
    }

    /// Runs until the alert's rollback has ended and nothing is scheduled, for at most `hours`.
    pub async fn run_to_end(&self, process: &Process, firing: &Alert, hours: i64) {
        let id = RecordId::of(firing);
        self.run_while(process, hours, async || {
            let record = process.record(&id).await.unwrap();
            let ended = record.is_some_and(|record| record.rollback.is_some_and(RollbackState::is_terminal));
            !ended || self.queue.next_due().is_some()
        })
        .await;
    }

    async fn run_while(&self, process: &Process, hours: i64, goes_on: impl AsyncFn() -> bool) {
        let end = self.now() + SignedDuration::from_hours(hours);
        let mut next_sweep = self.now() + SignedDuration::from_mins(5);
        while self.now() < end && goes_on().await {
            self.measure();
            self.deliver_due(process).await;
            if self.now() >= next_sweep {
                process.sweep(&self.policy).await.unwrap();
                next_sweep = self.now() + SignedDuration::from_mins(5);
            }
            let next = self
                .queue
                .next_due()
                .map_or(next_sweep, |due| due.min(next_sweep))
                .max(self.now() + SignedDuration::from_secs(1));
            self.clock.set(next);
        }
    }

    pub async fn record(&self, alert: &Alert) -> Record {
        self.process().record(&RecordId::of(alert)).await.unwrap().expect("the firing has its record")
    }

    pub fn target(&self, service: &str) -> Target {
        self.policy.services.values().find(|s| s.name.0 == service).unwrap().target.clone()
    }
}
