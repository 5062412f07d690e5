//! `history` lists the newest records first, however many there are, whatever died when.

use backout::{
    domain::{alert::Severity, record::RecordId},
    process::documents::keys,
};
use jiff::SignedDuration;

use crate::support::{lethal::Death, policy::alert, world::World};

/// An alert below the gate: it ends at once.
fn minor(world: &World, id: &str) -> backout::domain::alert::Alert {
    let mut firing = alert(id, "checkout", world.now());
    firing.severity = Severity::new(4);
    firing
}

async fn listed(world: &World, limit: usize) -> Vec<RecordId> {
    world.process().records(limit).await.unwrap().into_iter().map(|record| record.id).collect()
}

/// Takes every record's entry away, as if it had been written before there were entries.
async fn forget_entries(world: &World) {
    for key in world.ports.store.list(keys::RECENT, None, 100).await.unwrap() {
        let stored = world.ports.store.read(&key).await.unwrap().unwrap();
        world.ports.store.delete(&key, &stored.version).await.unwrap();
    }
}

#[tokio::test]
async fn the_newest_come_first_and_beyond_the_limit_the_oldest_are_left_out() {
    let world = World::new();
    let process = world.process();
    let mut arrived = Vec::new();
    for number in 0..40 {
        let firing = minor(&world, &format!("a{number}"));
        arrived.insert(0, RecordId::of(&firing));
        process.alert_received(firing, &world.policy).await.unwrap();
        world.advance(SignedDuration::from_millis(7));
    }
    assert_eq!(listed(&world, 100).await, arrived);
    assert_eq!(listed(&world, 10).await, arrived[..10]);
    assert_eq!(listed(&world, 0).await, []);
}

#[tokio::test]
async fn a_copy_adds_no_second_entry() {
    let world = World::new();
    let process = world.process();
    let firing = minor(&world, "a");
    for _ in 0..3 {
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        world.advance(SignedDuration::from_secs(5));
    }
    assert_eq!(listed(&world, 10).await, [RecordId::of(&firing)]);
    assert_eq!(world.ports.store.list(keys::RECENT, None, 10).await.unwrap().len(), 1);
}

/// Of the record and its entry either may be missing after a death; the message comes again, and then both are there.
#[tokio::test]
async fn a_death_between_a_record_and_its_entry_is_mended_when_the_message_comes_again() {
    let calls = Box::pin(dies_and_comes_again(None, false)).await + Box::pin(dies_and_comes_again(None, true)).await;
    assert!(calls > 20, "{calls} calls are two decisions");
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            for major in [false, true] {
                Box::pin(dies_and_comes_again(Some(Death { at_call, after_effect }), major)).await;
            }
        }
    }
}

async fn dies_and_comes_again(death: Option<Death>, major: bool) -> u64 {
    let world = World::new();
    let firing = if major { world.break_it().await } else { minor(&world, "a") };
    let calls = world.takes_in(&firing, death).await;
    world.advance(SignedDuration::from_secs(2));
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    let record = world.record(&firing).await;
    assert_eq!(listed(&world, 10).await, std::slice::from_ref(&record.id), "{death:?}");
    let entries = world.ports.store.list(keys::RECENT, None, 10).await.unwrap();
    assert_eq!(entries, [keys::recent(firing.fired_at.unwrap(), &record.id)], "{death:?}");
    calls
}

#[tokio::test]
async fn an_entry_without_its_record_takes_nobodys_place() {
    let world = World::new();
    let process = world.process();
    let firing = minor(&world, "a");
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    for number in 1..=5 {
        let lost = RecordId::of(&minor(&world, &format!("lost-{number}")));
        let key = keys::recent(world.now() + SignedDuration::from_secs(number), &lost);
        world.ports.store.insert(&key, b"{}").await.unwrap();
    }
    assert_eq!(listed(&world, 2).await, [RecordId::of(&firing)]);
}

#[tokio::test]
async fn records_from_before_there_were_entries_come_last() {
    let world = World::new();
    let process = world.process();
    let mut old = Vec::new();
    for number in 0..3 {
        let firing = minor(&world, &format!("old-{number}"));
        old.insert(0, RecordId::of(&firing));
        process.alert_received(firing, &world.policy).await.unwrap();
        world.advance(SignedDuration::from_mins(1));
    }
    forget_entries(&world).await;
    let new = minor(&world, "new");
    process.alert_received(new.clone(), &world.policy).await.unwrap();
    let new = RecordId::of(&new);
    assert_eq!(listed(&world, 10).await, [vec![new.clone()], old].concat());
    assert_eq!(listed(&world, 1).await, std::slice::from_ref(&new));
    assert_eq!(listed(&world, 2).await.first(), Some(&new));
}

/// Copies of it come at other times, and it never stands above what fires later.
#[tokio::test]
async fn a_firing_that_claims_the_future_or_tells_no_time_is_listed_once_and_not_above_later_ones() {
    for claimed in [Some(SignedDuration::from_hours(24 * 365)), None] {
        let world = World::new();
        let process = world.process();
        let mut odd = minor(&world, "odd");
        odd.fired_at = claimed.map(|ahead| world.now() + ahead);
        for _ in 0..3 {
            process.alert_received(odd.clone(), &world.policy).await.unwrap();
            world.advance(SignedDuration::from_mins(1));
        }
        world.advance(SignedDuration::from_mins(1));
        let later = minor(&world, "later");
        process.alert_received(later.clone(), &world.policy).await.unwrap();
        assert_eq!(listed(&world, 10).await, [RecordId::of(&later), RecordId::of(&odd)], "{claimed:?}");
    }
}

#[tokio::test]
async fn the_order_is_that_of_the_firings_not_of_their_arrival() {
    let world = World::new();
    let process = world.process();
    let firings: Vec<_> = (0..4)
        .map(|number| {
            world.advance(SignedDuration::from_secs(10));
            minor(&world, &format!("a{number}"))
        })
        .collect();
    for number in [2, 0, 3, 1] {
        process.alert_received(firings[number].clone(), &world.policy).await.unwrap();
    }
    let newest_first: Vec<_> = firings.iter().rev().map(RecordId::of).collect();
    assert_eq!(listed(&world, 10).await, newest_first);
    assert_eq!(listed(&world, 2).await, newest_first[..2]);
}
