//! What is listed in part is not forgotten: nothing stands for ever behind others, and many keys hide no few.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        policy::{Channel, NoticeKind, NotifyRule, StormRule},
        rule::RuleId,
    },
    ports::{Clock, Key, Notice, Notifier, PortError, PortErrorKind, StateStore},
    process::{
        Ports,
        documents::{Documents, keys},
    },
};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::support::{
    counted::Counted,
    leaks::watched_process,
    outage::Outage,
    policy::{FixedPolicy, alert, policy, service},
    town::Town,
    world::World,
};

/// A note of a firing as another alert leaves it. Composed by us, in the shape that the process writes.
async fn note(store: &Arc<dyn StateStore>, resource: &str, at: Timestamp, explained_by: &[&str]) {
    let document = json!({ "resource": resource, "at": at, "explained_by": explained_by });
    Documents::new(store.clone()).insert(&keys::storm(at, resource), document).await.unwrap();
}

/// `checkout` has a bad deployment which would be taken back, but for a storm.
async fn broken_checkout() -> (Town, Alert) {
    let town = Town::of(policy(vec![service("checkout")])).await;
    town.deploy_bad("checkout");
    town.requests_fail("checkout");
    town.minutes_pass(8);
    let firing = alert("a1", "checkout", town.world.now() - SignedDuration::from_mins(1));
    (town, firing)
}

async fn judged(town: &Town, firing: &Alert) -> (DecisionKind, Option<RuleId>, u32) {
    town.world.process().alert_received(firing.clone(), &town.world.policy).await.unwrap();
    let decision = town.world.record(firing).await.decision.unwrap();
    (decision.kind, decision.reasons.first().map(|reason| reason.rule), town.calls())
}

#[tokio::test]
async fn a_thousand_firings_that_are_over_do_not_hide_four_new_ones() {
    for (fresh, kind) in [(3, DecisionKind::Act), (4, DecisionKind::Page)] {
        let (town, firing) = broken_checkout().await;
        for number in 0..1_000 {
            let at = town.world.now() - SignedDuration::from_secs(302 + number % 90);
            note(&town.world.ports.store, &format!("over-{number}"), at, &[]).await;
        }
        for number in 0..fresh {
            note(&town.world.ports.store, &format!("fresh-{number}"), town.world.now() - SignedDuration::from_secs(299), &[])
                .await;
        }
        assert_eq!(judged(&town, &firing).await.0, kind, "{fresh} fresh ones");
    }
}

#[tokio::test]
async fn a_hundred_dependents_do_not_hide_four_that_the_deployment_does_not_explain() {
    for (unexplained, kind) in [(3, DecisionKind::Act), (4, DecisionKind::Page)] {
        let (town, firing) = broken_checkout().await;
        let now = town.world.now();
        for number in 0..100 {
            note(&town.world.ports.store, &format!("dependent-{number}"), now, &["checkout"]).await;
        }
        for number in 0..unexplained {
            note(&town.world.ports.store, &format!("other-{number}"), now - SignedDuration::from_secs(200), &["other"]).await;
        }
        assert_eq!(judged(&town, &firing).await.0, kind, "{unexplained} unexplained ones");
    }
}

#[tokio::test]
async fn a_resource_that_fires_again_counts_again() {
    let (town, firing) = broken_checkout().await;
    for name in ["a", "b", "c", "d"] {
        for ago in [420, 60] {
            note(&town.world.ports.store, name, town.world.now() - SignedDuration::from_secs(ago), &[]).await;
        }
    }
    assert_eq!(judged(&town, &firing).await, (DecisionKind::Page, Some(RuleId::P1), 0));
}

/// In a storm the resource manager may throttle: what cannot be read does not keep the rule from its word.
#[tokio::test]
async fn a_storm_is_one_also_where_the_platform_cannot_be_read() {
    let (town, firing) = broken_checkout().await;
    for name in ["a", "b", "c", "d"] {
        note(&town.world.ports.store, name, town.world.now(), &[]).await;
    }
    town.site("checkout").be_unreadable(10);
    assert_eq!(judged(&town, &firing).await, (DecisionKind::Page, Some(RuleId::P1), 0));
}

/// As many as make a storm are enough: what an alert reads does not grow with the storm, nor does its record.
#[tokio::test]
async fn an_alert_in_a_storm_of_a_thousand_reads_a_few_of_them() {
    let mut read = Vec::new();
    for others in [16, 1_000] {
        let (mut town, firing) = broken_checkout().await;
        for number in 0..others {
            note(&town.world.ports.store, &format!("other-{number}"), town.world.now(), &["other"]).await;
        }
        let counted = Counted::new(town.world.ports.store.clone());
        town.world.ports.store = counted.clone();
        assert_eq!(judged(&town, &firing).await, (DecisionKind::Page, Some(RuleId::P1), 0));
        let counts = counted.take();
        assert_eq!(counts["list storms"].0, 1);
        read.push((counts["read storms"].0, counts["insert records"], counts["replace records"].0));
    }
    assert_eq!(read[0].0, 16);
    assert_eq!(read[0], read[1]);
}

/// Fresh ones in front of old ones, old ones that were written under another rule: one sweep finds what is old, and nothing else.
#[tokio::test]
async fn old_storms_are_forgotten_however_many_fresh_ones_there_are() {
    let mut world = World::new();
    for number in 0..700 {
        let resource = format!("r{number}");
        note(&world.ports.store, &resource, world.now() - SignedDuration::from_secs(number % 500 * 3), &[]).await;
        note(&world.ports.store, &resource, world.now() - SignedDuration::from_mins(31), &[]).await;
        note(&world.ports.store, &resource, world.now() - SignedDuration::from_hours(48), &[]).await;
    }
    world.process().sweep(&world.policy).await.unwrap();
    let left = world.ports.store.list(keys::STORM, None, 10_000).await.unwrap();
    assert_eq!(left.len(), 700);
    assert_eq!(left.last().map(|key| key < &keys::storm_before(world.now() - SignedDuration::from_mins(30))), Some(true));
    // A shorter rule makes more of them old.
    let mut policy = (*world.policy).clone();
    policy.storm = StormRule { resources: 5, within: SignedDuration::from_mins(1) };
    world.policy = Arc::new(policy);
    world.process().sweep(&world.policy).await.unwrap();
    let left = world.ports.store.list(keys::STORM, None, 10_000).await.unwrap();
    assert!((1..700).contains(&left.len()), "{}", left.len());
    assert_eq!(left.last().map(|key| key < &keys::storm_before(world.now() - SignedDuration::from_mins(22))), Some(true));
}

/// Posts of some notices end by a time-out, the others do well.
struct Slow {
    clock: Arc<dyn Clock>,
    told: Mutex<Vec<String>>,
    away: Channel,
}

#[async_trait::async_trait]
impl Notifier for Slow {
    async fn tell(&self, notice: &Notice, rule: &NotifyRule) -> Result<(), PortError> {
        if rule.channel == self.away {
            self.clock.sleep(Duration::from_secs(10)).await;
            return Err(PortError::new("post a notice", PortErrorKind::Transient, "no answer within 10 s"));
        }
        self.told.lock().unwrap().push(notice.title.clone());
        Ok(())
    }
}

#[tokio::test]
async fn notices_for_a_channel_that_is_away_do_not_keep_the_others_untold_nor_a_sweep_from_its_end() {
    let mut telling = policy(vec![service("checkout")]);
    let rule = |channel, kind| NotifyRule { channel, url_from: Some("URL".to_owned()), kinds: vec![kind] };
    telling.notify = vec![rule(Channel::Teams, NoticeKind::Page), rule(Channel::Slack, NoticeKind::Ignore)];
    let mut world = World::with(telling);
    let slow = Arc::new(Slow { clock: world.clock.clone(), told: Mutex::default(), away: Channel::Teams });
    world.ports.notifier = Arc::<Slow>::clone(&slow);
    // As after a death before the first post. Composed by us, in the shape that the process writes.
    let documents = Documents::new(world.ports.store.clone());
    for number in 0..300 {
        let kind = if number % 60 == 0 { "ignore" } else { "page" };
        let notice = json!({ "kind": kind, "title": format!("{kind} {number}"), "text": "", "record": null });
        documents.insert(&keys::outbox(&number.to_string()), json!({ "notice": notice, "tries": 0 })).await.unwrap();
    }
    let begun = world.now();
    world.process().sweep(&world.policy).await.unwrap();
    assert!(world.now().duration_since(begun) <= SignedDuration::from_mins(2), "it ended at {}", world.now());
    let mut told = slow.told.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, ["ignore 0", "ignore 120", "ignore 180", "ignore 240", "ignore 60"]);
}

/// Sixteen at once are what the host hands over; a plain race for the document would end for the last of them without a turn.
#[tokio::test]
async fn of_many_who_change_one_document_at_once_each_gets_its_turn() {
    for count in [2, 16, 64] {
        let world = World::new();
        // Others get their turn at every call, as with any store that is not in this process.
        let store = Outage::none_yet(world.clock.clone()).of_store(&world.ports).store;
        let documents = Documents::new(store);
        let key = Key::new("targets/hot");
        let count_up = || {
            documents.update(
                &key,
                || Some(0_u64),
                |value: &mut u64| {
                    *value += 1;
                    Some(())
                },
            )
        };
        for done in join_all((0..count).map(|_| count_up())).await {
            done.unwrap();
        }
        assert_eq!(documents.read::<u64>(&key).await.unwrap().unwrap().value, count);
    }
}

#[tokio::test]
async fn sixteen_alerts_about_one_service_at_once_are_each_decided_at_the_first_delivery() {
    let world = World::new();
    world.process().sweep(&world.policy).await.unwrap();
    let ports = Ports { ..Outage::none_yet(world.clock.clone()).of_store(&world.ports) };
    let process = watched_process(ports, Arc::new(FixedPolicy(Arc::clone(&world.policy))));
    let firings: Vec<Alert> = (0..16)
        .map(|number| {
            let mut firing = alert(&format!("a{number}"), "checkout", world.now());
            firing.rule = Some(format!("rule-{number}"));
            firing
        })
        .collect();
    let handled = join_all(firings.iter().map(|firing| process.alert_received(firing.clone(), &world.policy))).await;
    for (firing, outcome) in firings.iter().zip(handled) {
        outcome.unwrap();
        let record = world.record(firing).await;
        assert_eq!((record.decision.is_some(), record.duplicates), (true, 0), "{:?}", record.timeline);
    }
    assert_eq!(process.records(100).await.unwrap().len(), 16);
}
