//! The promises of the monitoring service's list of alerts, one function each: over both fakes, and over simulated Azure.

use std::sync::Arc;

use backout::{
    domain::{
        alert::{Alert, Condition},
        event::Event,
        record::RecordId,
    },
    inbound,
    ports::{Alerts, Clock, KeptAlert},
    sim::SimulatedAlert,
};
use jiff::{SignedDuration, Timestamp};

use super::calm::CalmWorld;
use crate::{
    simulation::timeline::{around::FaultyAlerts, story::Story},
    support::{
        fake_alerts::FakeAlerts,
        policy::{SUBSCRIPTION, alert, site},
        slots::SlotScene,
    },
};

macro_rules! holds_for {
    ($kind:ident => $list:expr; $($promise:ident)*) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let list = $list;
                    list.play(super::$promise(&list)).await;
                }
            )*
        }
    };
}

macro_rules! all_promises {
    ($($kind:ident => $list:expr;)*) => {
        $(holds_for! { $kind => $list;
            the_newest_change_comes_first
            only_what_changed_since_then_is_listed
            another_subscription_is_left_out
            a_message_says_what_the_alert_says
            an_alert_is_listed_once_as_it_stands
        })*
    };
}

all_promises! {
    flow_fake => FakeList::open();
    timeline => TimelineList::open();
    alerts_management => AzureList::open().await;
}

const OTHER_SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";

/// A monitoring service, and what happens to its alerts.
trait List {
    fn alerts(&self) -> Arc<dyn Alerts>;

    /// Moments are minutes before this one.
    fn now(&self) -> Timestamp;

    /// Keeps the alert as it stands from now on.
    fn keep(&self, alert: &Alert);

    async fn play(&self, story: impl Future<Output = ()>) {
        story.await;
    }
}

fn ago(list: &impl List, minutes: i64) -> Timestamp {
    list.now() - SignedDuration::from_mins(minutes)
}

fn fired(list: &impl List, id: &str, minutes_ago: i64) -> Alert {
    alert(id, "checkout", ago(list, minutes_ago))
}

fn resolved(alert: &Alert, at: Timestamp) -> Alert {
    Alert { condition: Condition::Resolved, resolved_at: Some(at), ..alert.clone() }
}

async fn listed(list: &impl List, minutes: i64) -> Vec<KeptAlert> {
    list.alerts().changed_since(SUBSCRIPTION, ago(list, minutes)).await.unwrap()
}

fn ids(listed: &[KeptAlert]) -> Vec<&str> {
    listed.iter().map(|kept| kept.alert.id.as_deref().unwrap().rsplit('/').next().unwrap()).collect()
}

async fn the_newest_change_comes_first(list: &impl List) {
    let old = fired(list, "old", 50);
    for alert in [&old, &fired(list, "middle", 20), &fired(list, "new", 5), &fired(list, "older", 30)] {
        list.keep(alert);
    }
    assert_eq!(ids(&listed(list, 60).await), ["new", "middle", "older", "old"]);
    list.keep(&resolved(&old, ago(list, 10)));
    let seen = listed(list, 60).await;
    assert_eq!(ids(&seen), ["new", "old", "middle", "older"]);
    assert_eq!(listed(list, 60).await, seen, "asked once more");
}

async fn only_what_changed_since_then_is_listed(list: &impl List) {
    let old = fired(list, "old", 50);
    list.keep(&old);
    list.keep(&fired(list, "middle", 20));
    assert_eq!(ids(&listed(list, 19).await), [""; 0]);
    assert_eq!(ids(&listed(list, 20).await), ["middle"], "at that very moment");
    list.keep(&resolved(&old, ago(list, 10)));
    assert_eq!(ids(&listed(list, 15).await), ["old"]);
}

async fn another_subscription_is_left_out(list: &impl List) {
    list.keep(&fired(list, "a1", 5));
    assert_eq!(list.alerts().changed_since(OTHER_SUBSCRIPTION, ago(list, 60)).await.unwrap(), []);
}

async fn a_message_says_what_the_alert_says(list: &impl List) {
    let first = fired(list, "a1", 20);
    list.keep(&resolved(&first, ago(list, 5)));
    list.keep(&fired(list, "a2", 10));
    for kept in listed(list, 60).await {
        let read = inbound::recognise(&kept.message).pop().expect("a message").expect("one that is understood").event;
        let Event::Alert(read) = read else { panic!("no alert: {read:?}") };
        assert_eq!(RecordId::of(&read), RecordId::of(&kept.alert));
        let says = |alert: &Alert| (alert.id.clone(), alert.condition, alert.fired_at, alert.resolved_at, alert.severity);
        assert_eq!(says(&read), says(&kept.alert));
    }
}

async fn an_alert_is_listed_once_as_it_stands(list: &impl List) {
    let first = fired(list, "a1", 20);
    list.keep(&first);
    let conditions = |listed: Vec<KeptAlert>| -> Vec<Condition> { listed.iter().map(|kept| kept.alert.condition).collect() };
    assert_eq!(conditions(listed(list, 60).await), [Condition::Fired]);
    list.keep(&resolved(&first, ago(list, 5)));
    assert_eq!(conditions(listed(list, 60).await), [Condition::Resolved]);
}

struct FakeList {
    kept: FakeAlerts,
}

impl FakeList {
    fn open() -> Self {
        Self { kept: FakeAlerts::default() }
    }
}

fn moment() -> Timestamp {
    "2026-03-02T03:00:00Z".parse().unwrap()
}

impl List for FakeList {
    fn alerts(&self) -> Arc<dyn Alerts> {
        Arc::new(self.kept.clone())
    }

    fn now(&self) -> Timestamp {
        moment()
    }

    fn keep(&self, alert: &Alert) {
        self.kept.keep(alert);
    }
}

/// The fake of the simulation.
struct TimelineList {
    world: CalmWorld,
    kept: FakeAlerts,
}

impl TimelineList {
    fn open() -> Self {
        Self { world: CalmWorld::of(Story::of(0), 0), kept: FakeAlerts::default() }
    }
}

impl List for TimelineList {
    fn alerts(&self) -> Arc<dyn Alerts> {
        Arc::new(FaultyAlerts { kept: self.kept.clone(), handle: self.world.handle.clone() })
    }

    fn now(&self) -> Timestamp {
        moment()
    }

    fn keep(&self, alert: &Alert) {
        self.kept.keep(alert);
    }

    async fn play(&self, story: impl Future<Output = ()>) {
        self.world.play(story);
    }
}

/// The real client.
struct AzureList {
    scene: SlotScene,
}

impl AzureList {
    async fn open() -> Self {
        Self { scene: SlotScene::open().await }
    }
}

impl List for AzureList {
    fn alerts(&self) -> Arc<dyn Alerts> {
        self.scene.ports.alerts.clone()
    }

    fn now(&self) -> Timestamp {
        self.scene.clock.now()
    }

    fn keep(&self, alert: &Alert) {
        let simulated = SimulatedAlert::new(site("checkout"), "checkout-5xx", alert.fired_at.unwrap());
        let id = alert.id.clone().unwrap();
        self.scene.azure.list_alert(SimulatedAlert { id, resolved_at: alert.resolved_at, ..simulated });
    }
}

impl Drop for AzureList {
    fn drop(&mut self) {
        self.scene.azure.stop();
    }
}
