//! People hear of each outcome, and hear of it once: two sweeps at once, a teller that died, one channel of two that fails.

use std::sync::Arc;

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        policy::{Channel, NoticeKind, NotifyRule},
        record::Record,
        rollback::{Claim, ClaimKind, RollbackState},
        rule::RuleId,
    },
    process::{
        Ports,
        documents::{Documents, keys},
    },
};
use jiff::SignedDuration;

use crate::support::{
    fake_notifier::FakeNotifier,
    outage::Outage,
    policy::{alert, policy, service},
    world::World,
};

fn rule(channel: Channel) -> NotifyRule {
    let kinds = vec![NoticeKind::Act, NoticeKind::Propose, NoticeKind::Hold, NoticeKind::Page];
    NotifyRule { channel, url_from: Some("URL".to_owned()), kinds }
}

/// A world whose store and channels take turns, so that two who do the same meet at every call.
async fn telling_world() -> (World, Arc<FakeNotifier>, Alert) {
    let mut telling = policy(vec![service("checkout")]);
    telling.notify = vec![rule(Channel::Teams), rule(Channel::Slack)];
    let mut world = World::with(telling);
    let channels = Arc::new(FakeNotifier::default());
    world.ports = Outage::none_yet(world.clock.clone()).of_store(&world.ports);
    world.ports = Ports { notifier: Arc::<FakeNotifier>::clone(&channels), ..world.ports };
    let firing = world.break_it().await;
    (world, channels, firing)
}

fn told(channels: &FakeNotifier, channel: Channel, title: &str) -> usize {
    channels.titles().iter().filter(|told| told.0 == channel && told.1 == title).count()
}

const ROLLING_BACK: &str = "checkout: rolling back";

#[tokio::test]
async fn two_sweeps_at_once_tell_what_is_left_over_once() {
    let (world, channels, firing) = telling_world().await;
    channels.only_away(&[Channel::Teams, Channel::Slack]);
    world.process().alert_received(firing, &world.policy).await.unwrap();
    assert_eq!(channels.titles(), []);
    channels.only_away(&[]);
    let (one, other) = (world.process(), world.process());
    let (first, second) = tokio::join!(one.sweep(&world.policy), other.sweep(&world.policy));
    first.unwrap();
    second.unwrap();
    assert_eq!(channels.titles(), [Channel::Teams, Channel::Slack].map(|channel| (channel, ROLLING_BACK.to_owned())));
}

#[tokio::test]
async fn the_channel_that_works_does_not_hear_again_what_the_other_missed() {
    let (world, channels, firing) = telling_world().await;
    channels.only_away(&[Channel::Slack]);
    let process = world.process();
    process.alert_received(firing, &world.policy).await.unwrap();
    for _ in 0..3 {
        process.sweep(&world.policy).await.unwrap();
    }
    assert_eq!((told(&channels, Channel::Teams, ROLLING_BACK), told(&channels, Channel::Slack, ROLLING_BACK)), (1, 0));
    channels.only_away(&[]);
    process.sweep(&world.policy).await.unwrap();
    assert_eq!((told(&channels, Channel::Teams, ROLLING_BACK), told(&channels, Channel::Slack, ROLLING_BACK)), (1, 1));
}

#[tokio::test]
async fn an_outcome_is_told_once_whoever_finds_that_it_may_be_untold() {
    let (world, channels, firing) = telling_world().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    // As after a death between the telling and its mark in the record; two copies of the message find it so at once.
    let documents = Documents::new(world.ports.store.clone());
    let id = world.record(&firing).await.id;
    documents
        .update(
            &keys::record(&id),
            || None,
            |record: &mut Record| {
                record.told_generation = 0;
                Some(())
            },
        )
        .await
        .unwrap();
    let other = world.process();
    let (first, second) =
        tokio::join!(process.alert_received(firing.clone(), &world.policy), other.alert_received(firing.clone(), &world.policy));
    first.unwrap();
    second.unwrap();
    world.run(&process, 4).await;
    for channel in [Channel::Teams, Channel::Slack] {
        assert_eq!(told(&channels, channel, ROLLING_BACK), 1, "{:?}", channels.titles());
        assert_eq!(told(&channels, channel, "checkout: rolled back, and recovered"), 1);
    }
    let left = world.ports.store.list(keys::OUTBOX, None, 10).await.unwrap();
    assert_eq!(left, [], "what was told is forgotten after a while");
}

/// Somebody else's claim stands for the version, and its rollback is under way.
#[tokio::test]
async fn a_lost_race_for_the_claim_says_for_whose_rollback_the_alert_waits() {
    let (world, channels, firing) = telling_world().await;
    let documents = Documents::new(world.ports.store.clone());
    let earlier = alert("earlier", "checkout", world.now() - SignedDuration::from_mins(2));
    let target = world.target("checkout").key();
    let mut owner = Record::new(earlier, world.now(), vec![service("checkout").name], Vec::new(), String::new());
    owner.rollback = Some(RollbackState::Submitting);
    let owner_id = owner.id.clone();
    documents.insert(&keys::record(&owner_id), owner).await.unwrap();
    let running = world.ports.platforms.of(&world.target("checkout"));
    let token = running.observe().await.unwrap().running.token;
    let kind = ClaimKind::Rollback { record: owner_id.clone(), attempt: 1, resubmissions: 0, closed: false };
    let claim = Claim { target: target.clone(), token: token.clone(), kind, written_at: world.now() };
    documents.insert(&keys::claim(&target, &token), claim).await.unwrap();
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();

    let record = world.record(&firing).await;
    let decision = record.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Hold, RuleId::A1));
    let says =
        format!("this version is being taken back by record {owner_id}; this alert waits for that rollback and ends with it");
    assert_eq!((decision.because, record.attached_to), (says, Some(owner_id.clone())));
    let title = format!("checkout: waiting for the rollback of record {owner_id}");
    assert_eq!(told(&channels, Channel::Teams, &title), 1, "{:?}", channels.titles());
    assert_eq!(world.platform.calls(), 0);

    // Its wake-up gets lost; the sweep finds it all the same.
    world.queue.lose_all();
    documents
        .update(
            &keys::record(&owner_id),
            || None,
            |record: &mut Record| {
                record.rollback = Some(RollbackState::Recovered);
                Some(())
            },
        )
        .await
        .unwrap();
    world.run(&process, 1).await;
    let decision = world.record(&firing).await.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Ignore, RuleId::V1), "{decision:?}");
    assert_eq!((world.platform.calls(), told(&channels, Channel::Teams, &title)), (0, 1));
}
