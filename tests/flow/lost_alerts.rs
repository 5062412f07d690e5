//! Alerts that never arrived: the sweep finds them where the monitoring service keeps them, and each is handled once.

use std::sync::Arc;

use backout::{
    domain::{
        alert::{Alert, Condition},
        decision::DecisionKind,
        policy::{Channel, NoticeKind, NotifyRule},
        record::RecordId,
        resource_id::ResourceId,
        rollback::RollbackState,
        service::{AlertMatcher, ServiceName},
    },
    ports::{PortError, PortErrorKind},
    sim::{AzureSimulation, Fault, FaultBody, FaultEffect, Moment, SimulatedAlert, clock::ManualClock},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{
    broker::Broker,
    policy::{SUBSCRIPTION, alert, policy, service, site},
    simulated,
    world::{GOOD, World},
};

const ELSEWHERE: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// What an action group sends of a firing; composed by us.
fn by_action_group(firing: &Alert) -> Vec<u8> {
    json!({
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": { "essentials": {
            "alertId": firing.id, "alertRule": firing.rule, "severity": firing.severity, "signalType": "Metric",
            "monitorCondition": "Fired", "monitoringService": "Platform", "alertTargetIDs": firing.resources,
            "firedDateTime": firing.fired_at,
        }, "alertContext": null }
    })
    .to_string()
    .into_bytes()
}

/// Messages in queue `alerts`.
fn waiting(world: &World) -> Vec<Option<String>> {
    let queued = world.queue.queued().into_iter();
    queued.filter(|(_, message)| message.queue == "alerts").map(|(_, message)| message.message_id).collect()
}

#[tokio::test]
async fn an_alert_that_never_arrived_is_handled_once_also_when_its_copy_comes_later() {
    let world = World::new();
    let firing = world.break_it().await;
    world.alerts.keep(&firing);
    let broker = Broker::of(&world, &world.ports);
    broker.tick().await;
    assert_eq!(waiting(&world), Vec::<Option<String>>::new(), "a minute after it fired it may still come by itself");

    world.advance(minutes(3));
    assert!(broker.tick().await.says.contains("fetched 1 alerts"));
    // Two sweeps before the queue is read: the broker may know the second copy by its id, and the record does in any case.
    broker.tick().await;
    let fetched = waiting(&world);
    assert_eq!(fetched.len(), 2);
    assert!(fetched[0].is_some() && fetched[0] == fetched[1]);

    broker.deliver_due().await;
    broker.send("alerts", &by_action_group(&firing)).await;
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    let record = world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered));
    assert_eq!((record.duplicates, world.platform.running().as_str()), (2, GOOD), "a copy of the sweep's, and that of the queue");
    assert_eq!((world.platform.calls(), world.platform.effects()), (1, 1));
    assert_eq!(broker.process.records(10).await.unwrap().len(), 1);
    assert_eq!(waiting(&world), Vec::<Option<String>>::new(), "what has a record is never fetched again");
}

#[tokio::test]
async fn a_firing_that_arrived_is_not_fetched() {
    let world = World::new();
    let firing = world.break_it().await;
    world.alerts.keep(&firing);
    let broker = Broker::of(&world, &world.ports);
    broker.send("alerts", &by_action_group(&firing)).await;
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    let record = world.record(&firing).await;
    assert_eq!((record.duplicates, record.rollback), (0, Some(RollbackState::Recovered)));
}

/// No message comes in at all: what fires and what is resolved is found by the sweep alone.
#[tokio::test]
async fn alerts_can_be_pulled_only() {
    let world = World::new();
    let firing = world.break_it().await;
    world.alerts.keep(&firing);
    let broker = Broker::of(&world, &world.ports);
    let fired_at = firing.fired_at.unwrap();
    broker.run(&world, world.now() + SignedDuration::from_hours(1)).await;
    let record = world.record(&firing).await;
    assert_eq!((record.rollback, record.duplicates), (Some(RollbackState::Recovered), 0));
    let waited = record.received_at.duration_since(fired_at);
    assert!(waited >= minutes(3) && waited <= minutes(9), "the price in minutes: {waited:#}");

    let resolved = Alert { condition: Condition::Resolved, resolved_at: Some(world.now()), ..firing.clone() };
    world.alerts.keep(&resolved);
    broker.run(&world, world.now() + minutes(20)).await;
    let record = world.record(&firing).await;
    assert_eq!((record.resolved_at, record.duplicates), (resolved.resolved_at, 0), "told once, and then known");
}

#[tokio::test]
async fn only_what_is_recent_and_meant_is_fetched() {
    let world = World::new();
    let broker = Broker::of(&world, &world.ports);
    let now = world.now();
    let ended = |id: &str, fired: i64, resolved: i64| Alert {
        condition: Condition::Resolved,
        resolved_at: Some(now - minutes(resolved)),
        ..alert(id, "checkout", now - minutes(fired))
    };
    for (kept, fetched) in [
        (alert("fresh", "checkout", now - minutes(2)), false),
        (alert("due", "checkout", now - minutes(3)), true),
        (alert("last", "checkout", now - minutes(60)), true),
        (alert("old", "checkout", now - minutes(61)), false),
        (alert("future", "checkout", now + minutes(5)), false),
        (alert("stranger", "billing", now - minutes(10)), false),
        (Alert { fired_at: None, resolved_at: Some(now), ..alert("timeless", "checkout", now) }, false),
        (ended("ended", 30, 10), true),
        (ended("just-ended", 30, 1), false),
        (ended("ended-unseen", 300, 10), false),
    ] {
        world.queue.lose_all();
        world.alerts.keep(&Alert { id: Some(format!("/subscriptions/{SUBSCRIPTION}/x")), ..kept.clone() });
        broker.tick().await;
        assert_eq!(waiting(&world).len(), usize::from(fetched), "{:?}", kept.id);
    }
}

/// Schemas without alert ids name the record otherwise, and times may be cut differently.
#[tokio::test]
async fn a_firing_that_came_in_another_form_is_known() {
    let world = World::new();
    let firing = world.break_it().await;
    let broker = Broker::of(&world, &world.ports);
    let came = Alert { id: None, ..firing.clone() };
    broker.process.alert_received(came.clone(), &world.policy).await.unwrap();
    assert_ne!(RecordId::of(&came), RecordId::of(&firing));
    let listed = Alert { fired_at: firing.fired_at.map(|at| at + SignedDuration::from_millis(371)), ..firing.clone() };
    world.alerts.keep(&listed);
    world.advance(minutes(5));
    broker.tick().await;
    assert_eq!(waiting(&world), Vec::<Option<String>>::new());
    world.alerts.keep(&Alert { fired_at: listed.fired_at.map(|at| at + SignedDuration::from_secs(2)), ..listed });
    broker.tick().await;
    assert_eq!(waiting(&world).len(), 1, "another firing of the rule");
}

/// Of two subscriptions one can't be read: people hear of it once, and of the other everything is found.
#[tokio::test]
async fn a_subscription_that_cannot_be_read_is_told_once_and_stops_nothing() {
    let mut checkout = service("checkout");
    let elsewhere = format!("/subscriptions/{ELSEWHERE}/resourceGroups/shop/providers/Microsoft.Insights/components/checkout");
    let resource = Some(ResourceId::parse(&elsewhere).unwrap());
    checkout.alerts = vec![AlertMatcher { resource, rule: None, property: Vec::new() }];
    let mut policy = policy(vec![checkout]);
    let kinds = vec![NoticeKind::Page];
    policy.notify = vec![NotifyRule { channel: Channel::Slack, url_from: Some("URL".to_owned()), kinds }];
    assert_eq!(policy.subscriptions().into_iter().collect::<Vec<_>>(), [ELSEWHERE, SUBSCRIPTION]);
    let world = World::with(policy);
    let broker = Broker::of(&world, &world.ports);
    let told = || world.notifier.notices().iter().map(|notice| notice.title.clone()).collect::<Vec<_>>();
    let denied = || Some(PortError::new("look for alerts", PortErrorKind::Denied, "403: no right"));

    world.alerts.fail(ELSEWHERE, denied());
    world.alerts.keep(&alert("a1", "checkout", world.now() - minutes(5)));
    for _ in 0..20 {
        assert_eq!(broker.tick().await.status, 200);
        world.advance(minutes(5));
    }
    let title = format!("lost alerts of subscription {ELSEWHERE} can't be looked for");
    assert_eq!(told(), [title.as_str()]);
    assert!(world.notifier.notices()[0].text.contains("403: no right"));
    assert!(!waiting(&world).is_empty(), "the other subscription is read");

    world.alerts.fail(ELSEWHERE, None);
    broker.tick().await;
    let away = || Some(PortError::new("look for alerts", PortErrorKind::Transient, "503"));
    world.alerts.fail(ELSEWHERE, away());
    broker.tick().await;
    world.advance(minutes(29));
    broker.tick().await;
    assert_eq!(told().len(), 1, "half an hour may pass by itself");
    world.advance(minutes(1));
    broker.tick().await;
    assert_eq!(told(), [title.as_str(), title.as_str()], "a new outage is new");
}

/// A storm of alerts does not make one sweep last: the next one goes on.
#[tokio::test]
async fn one_sweep_fetches_a_bounded_number() {
    let world = World::new();
    let broker = Broker::of(&world, &world.ports);
    for number in 0..130 {
        let mut kept = alert(&format!("a{number}"), "checkout", world.now() - minutes(10));
        kept.severity = backout::domain::alert::Severity::new(4);
        kept.fired_at = kept.fired_at.map(|at| at - SignedDuration::from_secs(3 * number));
        kept.rule = Some(format!("rule-{number}"));
        world.alerts.keep(&kept);
    }
    broker.tick().await;
    assert_eq!(waiting(&world).len(), 100);
    broker.deliver_due().await;
    broker.tick().await;
    assert_eq!(waiting(&world).len(), 30);
}

/// The queue is away: the sweep says so, and the next one brings the alert.
#[tokio::test]
async fn a_queue_that_is_away_loses_nothing() {
    let world = World::new();
    let outage = crate::support::outage::Outage::none_yet(world.clock.clone());
    let ports = outage.of_queue(&world.ports);
    let broker = Broker::of(&world, &ports);
    world.alerts.keep(&alert("a1", "checkout", world.now() - minutes(5)));
    outage.begin(SignedDuration::from_hours(1));
    assert_eq!(broker.tick().await.status, 500, "the host counts it, and the timer comes again");
    outage.begin(SignedDuration::ZERO);
    broker.tick().await;
    assert_eq!(waiting(&world).len(), 1);
}

/// The real adapters over the simulated Azure: the list over HTTP, a fault on the way, and the record at the end.
#[tokio::test]
async fn over_http_a_listed_alert_becomes_a_record() {
    let now: Timestamp = "2026-03-02T03:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::that_advances_on_sleep(now));
    let azure = AzureSimulation::start(clock.clone()).await.unwrap();
    let id = site("checkout");
    azure.add_site(backout::sim::SimulatedSite::new(id.clone(), "build-41"));
    let mut listed = SimulatedAlert::new(id.clone(), "checkout-5xx", now - minutes(5));
    // As lists may write it.
    let plain = listed.id.clone();
    listed.id = plain.replace("/providers/", "/resourceGroups/shop-prod/providers/Microsoft.Web/sites/checkout/providers/");
    azure.list_alert(listed);
    azure.list_alert(SimulatedAlert { suppressed: true, ..SimulatedAlert::new(id, "planned-work", now - minutes(5)) });
    let away = FaultEffect::Status { moment: Moment::BeforeEffect, status: 503, body: FaultBody::Html };
    azure.inject(Fault::on("GET", "/Microsoft.AlertsManagement/alerts", away));

    let reader = simulated::identity(&azure, None);
    let (ports, queue) =
        simulated::ports(&azure, clock.clone(), reader.clone(), reader, backout::settings::MapSource::new([("", "")]));
    let mut world = World::new();
    world.ports = ports;
    world.queue = queue;
    let broker = Broker::of(&world, &world.ports);
    assert!(broker.tick().await.says.contains("fetched 1 alerts"));
    let (_, message) = world.queue.queued().into_iter().find(|(_, message)| message.queue == "alerts").unwrap();
    assert!(!String::from_utf8(message.body).unwrap().contains("UserName"), "a person's name stays where it is");
    world.queue.lose_all();
    broker.tick().await;
    broker.deliver_due().await;
    let firing = Alert { id: Some(plain), ..alert("", "checkout", now - minutes(5)) };
    let record =
        broker.process.record(&RecordId::of(&firing)).await.unwrap().expect("the id of the message and of the list are one");
    assert_eq!(
        (record.alert.rule.as_deref(), record.services.clone()),
        (Some("checkout-5xx"), vec![ServiceName("checkout".to_owned())])
    );
    assert!(record.decision.is_some_and(|decision| decision.kind != DecisionKind::Act), "nothing was proven here");
    broker.tick().await;
    assert_eq!(waiting(&world), Vec::<Option<String>>::new());
}
