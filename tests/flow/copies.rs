//! Copies of a wake-up, as a queue makes them that loses answers, and as copies of an alert used to: they end with the step that
//! they were sent for. Each one that scheduled itself anew would come back until the rollback ends, and be joined by others.

use backout::{domain::rollback::RollbackState, ports::FollowUp, process::Process};
use jiff::SignedDuration;

use crate::support::{policy::alert, world::World};

/// Everything in the queue is there three times more.
async fn copy_what_is_queued(world: &World) {
    let now = world.now();
    for (due, message) in world.queue.queued() {
        for _ in 0..3 {
            let delay = due.duration_since(now).unsigned_abs();
            world.ports.follow_ups.send(message.clone(), delay).await.unwrap();
        }
    }
}

/// Everything is delivered when it is due, for so long; there is no sweep.
async fn minutes_pass(world: &World, process: &Process, minutes: i64) {
    let end = world.now() + SignedDuration::from_mins(minutes);
    while let Some(due) = world.queue.next_due().filter(|due| *due <= end) {
        world.clock.set(due.max(world.now() + SignedDuration::from_secs(1)));
        world.deliver_due(process).await;
    }
    world.clock.set(end);
}

fn queued(world: &World) -> Vec<FollowUp> {
    world.queue.queued().into_iter().map(|(_, message)| FollowUp::read(&message.body).unwrap()).collect()
}

#[tokio::test]
async fn copies_of_a_wake_up_end_with_its_step() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    for _ in 0..3 {
        copy_what_is_queued(&world).await;
        minutes_pass(&world, &process, 2).await;
    }
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Verifying), "it is under way all the time");
    copy_what_is_queued(&world).await;
    minutes_pass(&world, &process, 2).await;
    assert_eq!(queued(&world).len(), 1, "{:?}", queued(&world));
    world.run(&process, 1).await;
    assert_eq!((world.record(&firing).await.rollback, world.platform.calls()), (Some(RollbackState::Recovered), 1));
}

#[tokio::test]
async fn copies_of_an_alert_add_no_wake_up_where_one_is_on_its_way() {
    let world = World::new();
    let first = world.break_it().await;
    let process = world.process();
    process.alert_received(first.clone(), &world.policy).await.unwrap();
    minutes_pass(&world, &process, 4).await;
    let second = alert("a2", "checkout", world.now());
    process.alert_received(second.clone(), &world.policy).await.unwrap();
    minutes_pass(&world, &process, 2).await;
    let before = queued(&world).len();
    for _ in 0..5 {
        process.alert_received(first.clone(), &world.policy).await.unwrap();
        process.alert_received(second.clone(), &world.policy).await.unwrap();
    }
    assert_eq!((before, queued(&world).len()), (2, 2), "one of the rollback, one of the record that waits for it");
    world.run(&process, 1).await;
    assert_eq!(
        (world.record(&first).await.rollback, world.record(&second).await.duplicates),
        (Some(RollbackState::Recovered), 5)
    );
}

/// What a copy of the alert is for after a crash: a wake-up that should have come by now is sent once more.
#[tokio::test]
async fn a_copy_of_an_alert_sends_an_overdue_wake_up_again() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    minutes_pass(&world, &process, 4).await;
    world.queue.lose_all();
    world.advance(SignedDuration::from_mins(2));
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(queued(&world).len(), 1);
    world.measure();
    minutes_pass(&world, &process, 30).await;
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Recovered));
}

/// Sent before its time is stored, the next wake-up can come to an instance whose clock is behind before that: it waits for its own
/// time, and the one of the step before does not replace it.
#[tokio::test]
async fn the_next_wake_up_that_comes_before_it_is_stored_is_not_lost() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    minutes_pass(&world, &process, 4).await;
    let [now] = queued(&world).try_into().unwrap();
    world.queue.lose_all();
    // The instance that took the step has sent the next wake-up, and stands still before it stores when.
    let next = FollowUp { due_at: now.due_at + SignedDuration::from_secs(60), ..now.clone() };
    world.clock.set(now.due_at - SignedDuration::from_secs(20));
    process.follow_up_received(next.clone(), &world.policy).await.unwrap();
    assert_eq!(queued(&world), [next]);
}
