//! Years of history cost a decision nothing: the same calls to the store, and as many bytes.

use std::sync::Arc;

use backout::{
    domain::{
        alert::{Alert, Severity},
        decision::DecisionKind,
        rollback::RollbackState,
        target_state::TargetState,
    },
    ports::Key,
    process::documents::{Documents, keys},
};
use jiff::SignedDuration;

use crate::support::{
    counted::{Counted, Counts},
    policy::{alert, policy, service},
    world::World,
};

/// Alerts about `of` that ended: a record, a receipt in the chain of its target and an entry of the list each.
async fn years_of_alerts(world: &World, of: &str, count: usize) {
    let process = world.process();
    for number in 0..count {
        let mut firing = alert(&format!("{of}-{number}"), of, world.now());
        firing.severity = Severity::new(4);
        process.alert_received(firing, &world.policy).await.unwrap();
    }
    let state = Documents::new(world.ports.store.clone()).read::<TargetState>(&keys::target(&world.target(of).key())).await;
    assert_eq!(state.unwrap().unwrap().value.receipt_count, count as u64);
}

/// What else remains for years.
async fn other_leftovers(world: &World, count: usize) {
    for number in 0..count {
        for kind in ["claims", "parked", "receipts/r-x", "budget", "targets"] {
            let key = Key::new(format!("{kind}/old-{number}"));
            world.ports.store.insert(&key, &[b'x'; 500]).await.unwrap();
        }
        let long_ago = world.now() - SignedDuration::from_hours(30 * 24);
        world.ports.store.insert(&keys::storm(long_ago, &number.to_string()), &[b'x'; 100]).await.unwrap();
    }
}

/// The whole story: an alert, the rollback that it leads to, a copy of it, a sweep. What each asked of the store.
async fn story(fill: impl AsyncFn(&World)) -> [Counts; 4] {
    let mut world = World::with(policy(vec![service("checkout"), service("elsewhere")]));
    fill(&world).await;
    // A sweep looks after the firings of the last hours.
    world.advance(SignedDuration::from_hours(30 * 24));
    // One fake platform stands for both, so that only one of them is swept.
    let counted = Counted::new(world.ports.store.clone());
    world.ports.store = Arc::<Counted>::clone(&counted);
    let firing: Alert = world.break_it().await;
    let process = world.process();
    counted.take();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let decision = counted.take();
    assert_eq!(world.record(&firing).await.decision.unwrap().kind, DecisionKind::Act);
    world.run_to_end(&process, &firing, 4).await;
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Recovered));
    let rollback = counted.take();
    process.alert_received(firing, &world.policy).await.unwrap();
    let copy = counted.take();
    world.advance(SignedDuration::from_mins(5));
    process.sweep(&world.policy).await.unwrap();
    [decision, rollback, copy, counted.take()]
}

fn calls(counts: &Counts) -> Vec<(&str, usize)> {
    counts.iter().map(|(what, (calls, _))| (what.as_str(), *calls)).collect()
}

#[tokio::test]
async fn what_happened_elsewhere_changes_no_call_and_no_byte() {
    let empty = story(async |_| {}).await;
    let full = story(async |world| {
        years_of_alerts(world, "elsewhere", 2_000).await;
        other_leftovers(world, 2_000).await;
        // What is old among the notes of storms goes once, in the first sweep.
        world.process().sweep(&world.policy).await.unwrap();
    })
    .await;
    // The sweep reads the document of the other target too, which has a receipt now.
    assert_eq!(empty[0], full[0], "the decision");
    assert_eq!(calls(&empty[1]), calls(&full[1]), "the rollback");
    assert_eq!(empty[2], full[2], "a copy");
    assert_eq!(calls(&empty[3]), calls(&full[3]), "a sweep");
}

#[tokio::test]
async fn what_happened_to_the_same_target_changes_no_call() {
    let empty = story(async |_| {}).await;
    // The newest receipts are known by their number, so both have as many digits.
    let one = story(async |world| years_of_alerts(world, "checkout", 1_100).await).await;
    let two = story(async |world| years_of_alerts(world, "checkout", 2_100).await).await;
    for (step, name) in ["the decision", "the rollback", "a copy", "a sweep"].iter().enumerate() {
        assert_eq!(calls(&empty[step]), calls(&one[step]), "{name}");
        assert_eq!(one[step], two[step], "{name}, to the byte");
    }
}

/// Whatever happens to a target for years, its document stays as long as this.
const TARGET_BYTES_MAX: usize = 64 * 1024;

#[tokio::test]
async fn the_document_of_a_target_stays_bounded() {
    let world = World::new();
    let process = world.process();
    let key = keys::target(&world.target("checkout").key());
    let mut lengths = Vec::new();
    for number in 0..400 {
        if number % 4 == 0 {
            world.platform.team_swaps_in(&format!("build-{number}"));
        }
        let mut firing = alert(&format!("a{number}"), "checkout", world.now());
        firing.rule = Some(format!("rule-{number}"));
        process.alert_received(firing, &world.policy).await.unwrap();
        world.advance(SignedDuration::from_secs(20));
        lengths.push(world.ports.store.read(&key).await.unwrap().unwrap().body.len());
    }
    let state = Documents::new(world.ports.store.clone()).read::<TargetState>(&key).await.unwrap().unwrap().value;
    assert_eq!((state.rollouts.len(), state.firings.len()), (TargetState::ROLLOUTS_MAX, TargetState::FIRINGS_MAX));
    assert!(state.holds.len() <= TargetState::HOLDS_MAX && state.markers.len() <= TargetState::MARKERS_MAX);
    let (before, after) = (lengths[199], lengths[399]);
    assert!(after.abs_diff(before) < 1_000, "{before} bytes after 200 alerts, {after} after 400");
    assert!(*lengths.iter().max().unwrap() < TARGET_BYTES_MAX, "{:?}", lengths.iter().max());
}
