//! Ids of wake-ups: a queue that detects duplicates drops what is needless, and nothing else.

use backout::ports::FollowUp;

use crate::support::world::World;

/// Ids of the wake-ups that lie in the queue and are `like`.
fn ids_of(world: &World, like: &FollowUp) -> Vec<String> {
    let same = |body: &[u8]| serde_json::from_slice::<FollowUp>(body).unwrap() == *like;
    let queued = world.queue.queued().into_iter().filter(|(_, message)| same(&message.body));
    queued.map(|(_, message)| message.message_id.expect("a wake-up has an id")).collect()
}

#[tokio::test]
async fn a_repeated_wake_up_has_the_same_id_and_one_that_came_early_another() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let (_, sent) = world.queue.queued().pop().expect("the first poll of the swap is scheduled");
    let wake_up: FollowUp = serde_json::from_slice(&sent.body).unwrap();
    assert!(wake_up.due_at > world.now());

    process.alert_received(firing, &world.policy).await.unwrap();
    let first = ids_of(&world, &wake_up);
    assert_eq!(first, vec![sent.message_id.clone().unwrap(); 2], "another copy of the alert wakes it for the same time");

    // The broker's clock is ahead of ours: this copy is used up, and a new one has to get through.
    process.follow_up_received(wake_up.clone(), &world.policy).await.unwrap();
    let after = ids_of(&world, &wake_up);
    assert_eq!((after.len(), &after[..2]), (3, &first[..]));
    assert_ne!(after[2], first[0], "it would be dropped as a duplicate of the copy that is gone");

    world.advance(jiff::SignedDuration::from_secs(1));
    process.follow_up_received(wake_up.clone(), &world.policy).await.unwrap();
    let twice = ids_of(&world, &wake_up);
    assert!(twice.len() == 4 && twice[3] != twice[2] && twice[3] != twice[0], "{twice:?}");
}
