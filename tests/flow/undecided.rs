//! The process dies while it takes in an alert, and no message about it ever comes again: the sweep still leads it to a decision.

use backout::{
    domain::{record::RecordId, rollback::RollbackState},
    process::documents::keys,
};

use crate::support::{
    lethal::Death,
    world::{GOOD, World},
};

/// Returns the number of calls when nobody dies, and whether there was a record that nobody had decided.
async fn dies_and_is_lost(death: Option<Death>) -> (u64, bool) {
    let world = World::new();
    let firing = world.break_it().await;
    let calls = world.takes_in(&firing, death).await;
    let process = world.process();
    let id = RecordId::of(&firing);
    // Died before its record: the message is all there was.
    let Some(left) = process.record(&id).await.unwrap() else { return (calls, false) };
    // Died before its place on the list of recent firings: likewise.
    if world.ports.store.list(keys::RECENT, None, 1).await.unwrap().is_empty() {
        return (calls, false);
    }
    // Whatever it had scheduled is lost with it.
    while let Some((wake_up, _)) = world.queue.take() {
        world.queue.complete(wake_up);
    }
    world.run(&process, 3).await;
    let record = world.record(&firing).await;
    let says = format!("{death:?}: {:#?}", record.timeline);
    assert!(record.decision.is_some(), "{says}");
    assert_eq!(record.told_generation, record.generation, "{says}");
    assert!(record.rollback.is_none_or(RollbackState::is_terminal), "{says}");
    assert!(world.platform.effects() <= 1, "{says}");
    if left.decision.is_none() && left.rollback.is_none() {
        assert_eq!(world.platform.running() == GOOD, record.rollback == Some(RollbackState::Recovered), "{says}");
    }
    (calls, left.decision.is_none())
}

#[tokio::test]
async fn a_firing_whose_every_message_is_lost_is_decided_all_the_same() {
    let (calls, _) = Box::pin(dies_and_is_lost(None)).await;
    let mut undecided = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            let (_, was_undecided) = Box::pin(dies_and_is_lost(Some(Death { at_call, after_effect }))).await;
            undecided += u32::from(was_undecided);
        }
    }
    assert!(undecided > 5, "{undecided} deaths left a record without a decision");
}
