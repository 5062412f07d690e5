//! The process dies while it takes in an alert, and no message about it ever comes again: the sweep still leads it to a decision.

use std::sync::Arc;

use backout::{
    domain::{decision::DecisionKind, record::RecordId, rollback::RollbackState},
    host::{
        delivery::{Deliveries, Delivery, Function},
        dispatch::Dispatcher,
    },
    process::{documents::keys, outcome::Outcome},
};
use jiff::SignedDuration;

use crate::support::{
    lethal::{Death, Switch},
    policy::{alert, site},
    scene,
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
    // Died before its place on the list of recent firings, in a first delivery: the message comes again.
    if world.ports.store.list(keys::RECENT, None, 1).await.unwrap().is_empty() {
        return (calls, false);
    }
    // Whatever it had scheduled is lost with it.
    world.queue.lose_all();
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

/// Hands a message to a process that dies; no other delivery of it comes. Returns the number of calls when nobody dies, and whether
/// a record was left that nobody had decided.
async fn dies_in_the_last_delivery(death: Option<Death>) -> (u64, bool) {
    let world = World::new();
    world.break_it().await;
    let (body, id) = scene::alert(&site("checkout"), world.now() - SignedDuration::from_mins(1));
    let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
    let last = Delivery {
        function: Function::Alerts,
        body,
        returns: 0,
        delivered_before: true,
        envelope_problem: None,
        invocation_id: "the tenth".to_owned(),
        trace_parent: None,
    };
    let mortal = Dispatcher::new(Arc::new(world.process_behind(&switch)));
    tokio::select! {
        biased;
        outcome = mortal.deliver(last) => assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}"),
        () = switch.died() => {}
    }
    let process = world.process();
    let Some(left) = process.record(&id).await.unwrap() else { return (switch.calls(), false) };
    world.queue.lose_all();
    world.run(&process, 3).await;
    let record = process.record(&id).await.unwrap().unwrap();
    let says = format!("{death:?}: {:#?}", record.timeline);
    assert!(record.decision.is_some(), "{says}");
    assert_eq!(record.told_generation, record.generation, "{says}");
    (switch.calls(), left.decision.is_none())
}

/// Found by a million timelines of the simulation: the record was there, and its entry in the list was not.
#[tokio::test]
async fn a_record_that_the_last_delivery_left_behind_is_found_by_the_sweep() {
    let (calls, _) = Box::pin(dies_in_the_last_delivery(None)).await;
    let mut undecided = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            let (_, was_undecided) = Box::pin(dies_in_the_last_delivery(Some(Death { at_call, after_effect }))).await;
            undecided += u32::from(was_undecided);
        }
    }
    assert!(undecided > 5, "{undecided} deaths left a record without a decision");
}

/// Returns the number of calls when nobody dies, and whether the second firing was attached to the first one's rollback and undecided.
async fn dies_attached_and_is_lost(death: Option<Death>) -> (u64, bool) {
    let world = World::new();
    let (first, process) = (world.break_it().await, world.process());
    process.alert_received(first, &world.policy).await.unwrap();
    world.advance(SignedDuration::from_secs(10));
    let second = alert("a2", "checkout", world.now() - SignedDuration::from_secs(5));
    let calls = world.takes_in(&second, death).await;
    let Some(left) = process.record(&RecordId::of(&second)).await.unwrap() else { return (calls, false) };
    // A copy wakes it, and what it then waits for gets lost.
    process.alert_received(second.clone(), &world.policy).await.unwrap();
    world.advance(SignedDuration::from_secs(35));
    world.deliver_due(&process).await;
    world.advance(SignedDuration::from_mins(10));
    world.queue.lose_all();
    world.run(&process, 3).await;
    let record = world.record(&second).await;
    let says = format!("{death:?}: {:#?}", record.timeline);
    let decision = record.decision.as_ref().unwrap_or_else(|| panic!("undecided, {says}"));
    assert!(decision.kind != DecisionKind::Hold && !decision.because.is_empty(), "{says}");
    assert_eq!((record.told_generation, world.platform.effects()), (record.generation, 1), "{says}");
    (calls, left.attached_to.is_some() && left.decision.is_none())
}

/// Found by the simulation: it was on no waiting list.
#[tokio::test]
async fn a_firing_that_waits_for_the_rollback_of_another_is_decided_whatever_got_lost() {
    let (calls, _) = Box::pin(dies_attached_and_is_lost(None)).await;
    let mut attached = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            let (_, was_attached) = Box::pin(dies_attached_and_is_lost(Some(Death { at_call, after_effect }))).await;
            attached += u32::from(was_attached);
        }
    }
    assert!(attached > 0, "no death came between the two");
}
