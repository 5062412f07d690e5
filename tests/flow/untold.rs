//! For a moment the platform does not tell which builds it holds: that is no change of theirs, before the call and after it.

use backout::domain::rollback::RollbackState;
use jiff::SignedDuration;

use crate::support::world::{BAD, GOOD, World};

/// The look that leads to the decision.
const DECIDES: u32 = 1;

/// And the one just before the call.
const BEFORE_THE_CALL: u32 = 1;

#[tokio::test]
async fn before_the_call_it_is_waited_for_and_nothing_is_given_up() {
    for untold in [1, 3] {
        let world = World::new();
        let firing = world.break_it().await;
        let process = world.process();
        world.platform.tell_no_content(DECIDES, untold);
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        assert_eq!((world.platform.calls(), world.platform.running().as_str()), (0, BAD), "nothing is sent on what is not known");
        world.run_to_end(&process, &firing, 3).await;
        let record = world.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{untold}: {:#?}", record.timeline);
        assert_eq!((world.platform.calls(), world.platform.effects()), (1, 1));
    }
}

#[tokio::test]
async fn after_the_call_it_is_looked_at_again() {
    for untold in [1, 4] {
        let world = World::new();
        let firing = world.break_it().await;
        let process = world.process();
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        assert_eq!(world.platform.calls(), 1);
        world.platform.tell_no_content(0, untold);
        world.run_to_end(&process, &firing, 3).await;
        let record = world.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{untold}: {:#?}", record.timeline);
        assert_eq!((world.platform.calls(), world.platform.effects(), world.platform.running().as_str()), (1, 1, GOOD));
    }
}

#[tokio::test]
async fn what_is_never_told_is_left_to_a_person_and_marked_as_maybe_ours() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    world.platform.tell_no_content(DECIDES + BEFORE_THE_CALL, u32::MAX);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    assert_eq!((record.rollback, record.told_generation), (Some(RollbackState::Unknown), record.generation));
    let says = &record.timeline.last().unwrap().what;
    assert!(says.contains("what it is could not be read") && says.contains("backout clear checkout"), "{says}");
    process.clear(&world.target("checkout").key(), "ana").await.unwrap();
    // It is what our call brought; should it be at fault, that is for a person.
    world.platform.tell_no_content(0, 0);
    world.telemetry.from(world.now(), Some(0.31));
    world.advance(SignedDuration::from_mins(9));
    let next = crate::support::policy::alert("a2", "checkout", world.now());
    process.alert_received(next.clone(), &world.policy).await.unwrap();
    assert_eq!((world.platform.calls(), world.record(&next).await.rollback), (1, None));
}
