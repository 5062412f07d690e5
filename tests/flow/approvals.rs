//! What a person approved is acted on, or told as too late: whatever dies or gets lost between the word and the deed.

use backout::{
    domain::{
        approval::Verdict,
        decision::DecisionKind,
        record::{Record, RecordId},
        rollback::RollbackState,
        service::Mode,
    },
    process::Process,
};
use jiff::SignedDuration;

use crate::support::{
    lethal::{Death, Switch},
    policy::{policy, service},
    world::World,
};

async fn proposed() -> (World, Process, RecordId) {
    let mut checkout = service("checkout");
    checkout.mode = Mode::Propose;
    let world = World::with(policy(vec![checkout]));
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    (world, process, RecordId::of(&firing))
}

async fn record(process: &Process, id: &RecordId) -> Record {
    process.record(id).await.unwrap().unwrap()
}

/// Returns the number of calls when nobody dies, and whether the approval was stored.
async fn dies_while_answering(death: Option<Death>) -> (u64, bool) {
    let (world, process, id) = proposed().await;
    let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
    let mortal = world.process_behind(&switch);
    tokio::select! {
        biased;
        answered = mortal.answer(&id, Verdict::Approved, "ben") => assert!(answered.is_ok(), "{answered:?}"),
        () = switch.died() => {}
    }
    let stored = record(&process, &id).await.approval.is_some();
    world.advance(SignedDuration::from_mins(1));
    world.queue.lose_all();
    world.run(&process, 3).await;
    let ended = record(&process, &id).await;
    let says = format!("{death:?}: {:#?}", ended.timeline);
    assert_eq!(ended.rollback, stored.then_some(RollbackState::Recovered), "{says}");
    assert_eq!((world.platform.effects(), ended.told_generation), (u32::from(stored), ended.generation), "{says}");
    (switch.calls(), stored)
}

#[tokio::test]
async fn an_approval_that_was_stored_is_acted_on_though_its_wake_up_is_lost() {
    let (calls, stored) = Box::pin(dies_while_answering(None)).await;
    assert!(stored);
    let mut stored = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            stored += u32::from(Box::pin(dies_while_answering(Some(Death { at_call, after_effect }))).await.1);
        }
    }
    assert!(stored > 0, "no death came between the two");
}

#[tokio::test]
async fn whoever_answers_once_more_wakes_the_handler_and_changes_nothing() {
    let (world, process, id) = proposed().await;
    process.answer(&id, Verdict::Approved, "ben").await.unwrap();
    world.queue.lose_all();
    let again = process.answer(&id, Verdict::Approved, "ben").await.unwrap_err().to_string();
    assert!(again.contains("answered already, by ben"), "{again}");
    world.deliver_due(&process).await;
    assert_eq!((world.platform.calls(), record(&process, &id).await.approval.unwrap().used), (1, true));
}

#[tokio::test]
async fn one_that_comes_into_force_too_late_is_told() {
    let (world, process, id) = proposed().await;
    process.answer(&id, Verdict::Approved, "ben").await.unwrap();
    // Nobody is there for longer than a proposal is open.
    world.queue.lose_all();
    world.advance(SignedDuration::from_mins(75));
    world.run(&process, 1).await;
    let late = record(&process, &id).await;
    let decision = late.decision.as_ref().unwrap();
    assert_eq!((decision.kind, late.told_generation), (DecisionKind::Page, late.generation), "{:#?}", late.timeline);
    assert!(decision.because.contains("too late; nothing was done"), "{}", decision.because);
    assert_eq!((world.platform.calls(), late.next_step_at, late.approval.unwrap().used), (0, None, true));
}
