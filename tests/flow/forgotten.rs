//! What nobody would look after any more is found by the sweep: no record acts, waits or stays untold for ever.

use backout::{
    domain::{
        decision::{CandidateScore, DecisionKind},
        record::{Record, RecordId},
        rollback::{Claim, RollbackState},
        rule::RuleId,
        target_state::TargetState,
    },
    process::documents::{Documents, keys},
};
use jiff::SignedDuration;

use crate::support::{
    fake_platform::Answer,
    lethal::{Death, Switch},
    policy::{alert, policy, service},
    world::{BAD, GOOD, World},
};

fn documents(world: &World) -> Documents {
    Documents::new(world.ports.store.clone())
}

async fn change_target(world: &World, change: impl Fn(&mut TargetState) + Send + Sync) {
    let key = keys::target(&world.target("checkout").key());
    let change = |state: &mut TargetState| {
        change(state);
        Some(())
    };
    documents(world).update(&key, || None, change).await.unwrap().unwrap();
}

fn is_told(record: &Record, state: RollbackState) {
    let says = format!("{:#?}", record.timeline);
    assert_eq!((record.rollback, record.told_generation), (Some(state), record.generation), "{says}");
}

#[tokio::test]
async fn a_record_that_acts_on_a_free_target_ends_as_unknown() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    change_target(&world, |state| state.busy = None).await;
    world.queue.lose_all();
    world.run(&process, 1).await;
    let record = world.record(&firing).await;
    is_told(&record, RollbackState::Unknown);
    assert!(record.timeline.last().unwrap().what.contains("look at the target"));
    assert_eq!(world.platform.calls(), 1);
}

#[tokio::test]
async fn a_rollback_that_was_left_to_a_person_is_told_though_its_process_died_in_between() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    change_target(&world, |state| state.busy.as_mut().unwrap().left_to_a_person = Some("nobody can tell".to_owned())).await;
    world.queue.lose_all();
    world.run(&process, 1).await;
    let record = world.record(&firing).await;
    is_told(&record, RollbackState::Unknown);
    assert!(record.timeline.last().unwrap().what.contains("nobody can tell"));
}

#[tokio::test]
async fn a_hold_that_is_on_no_waiting_list_is_looked_at_again() {
    let world = World::new();
    let firing = world.break_it().await;
    world.telemetry.from(world.now() - SignedDuration::from_mins(20), None);
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(world.record(&firing).await.decision.unwrap().kind, DecisionKind::Hold);
    change_target(&world, |state| state.holds.clear()).await;
    world.queue.lose_all();
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    assert_ne!(record.decision.unwrap().kind, DecisionKind::Hold, "{:#?}", record.timeline);
    assert_eq!(record.told_generation, record.generation);
}

/// Its sweeps do not come by the target any more.
#[tokio::test]
async fn a_rollback_of_a_service_that_left_the_policy_goes_on_when_its_wake_up_is_lost() {
    let mut world = World::new();
    let firing = world.break_it().await;
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    world.policy = policy(vec![service("search")]).into();
    world.queue.lose_all();
    world.run(&world.process(), 2).await;
    let record = world.record(&firing).await;
    is_told(&record, RollbackState::Recovered);
    assert_eq!((world.platform.calls(), world.platform.running().as_str()), (1, GOOD));
}

/// Returns the number of calls when nobody dies.
async fn dies_while_clearing(death: Option<Death>) -> u64 {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let key = world.target("checkout").key();
    let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
    let mortal = world.process_behind(&switch);
    tokio::select! {
        biased;
        cleared = mortal.clear(&key, "ana") => { cleared.unwrap(); }
        () = switch.died() => {}
    }
    // The rollback is live: whoever followed it is gone as well.
    world.queue.lose_all();
    world.run(&process, 1).await;
    let record = world.record(&firing).await;
    let says = format!("{death:?}: {:#?}", record.timeline);
    assert!(record.rollback.is_some_and(RollbackState::is_terminal), "{says}");
    assert_eq!((record.told_generation, world.platform.calls()), (record.generation, 1), "{says}");
    let state = documents(&world).read::<TargetState>(&keys::target(&key)).await.unwrap().unwrap().value;
    assert!(state.busy.is_none(), "{says}");
    switch.calls()
}

#[tokio::test]
async fn a_death_while_a_person_frees_a_target_leaves_no_record_that_acts_for_ever() {
    let calls = Box::pin(dies_while_clearing(None)).await;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            Box::pin(dies_while_clearing(Some(Death { at_call, after_effect }))).await;
        }
    }
}

/// Returns the number of calls when nobody dies, and whether the target was busy when the process died, and nothing sent.
async fn dies_and_the_alert_is_resolved(death: Option<Death>) -> (u64, bool) {
    let world = World::new();
    let firing = world.break_it().await;
    let calls = world.takes_in(&firing, death).await;
    let process = world.process();
    let sent_before = world.platform.calls();
    let key = keys::target(&world.target("checkout").key());
    let state = documents(&world).read::<TargetState>(&key).await.unwrap();
    let unsent = sent_before == 0 && state.is_some_and(|state| state.value.busy.is_some());
    let mut resolved = firing.clone();
    resolved.condition = backout::domain::alert::Condition::Resolved;
    resolved.resolved_at = Some(world.now());
    process.alert_received(resolved, &world.policy).await.unwrap();
    world.queue.unlock_all();
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    assert_eq!(world.platform.calls(), sent_before, "{death:?}: {:#?}", record.timeline);
    assert!(sent_before > 0 || world.platform.running() == BAD, "{death:?}");
    assert_eq!(record.told_generation, record.generation, "{death:?}: {:#?}", record.timeline);
    (calls, unsent)
}

#[tokio::test]
async fn what_was_not_sent_before_a_death_is_not_sent_once_the_alert_is_resolved() {
    let (calls, _) = Box::pin(dies_and_the_alert_is_resolved(None)).await;
    let mut unsent = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            unsent += u32::from(Box::pin(dies_and_the_alert_is_resolved(Some(Death { at_call, after_effect }))).await.1);
        }
    }
    assert!(unsent > 2, "{unsent} deaths came between busy and the call");
}

/// Another record has given this version up, and the target's own list of that is lost: the claim alone says so. Returns the number
/// of calls when nobody dies.
async fn dies_at_a_claim_of_another(death: Option<Death>) -> u64 {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    world.platform.answer_next(&[Answer::Refused]);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Failed));
    change_target(&world, |state| state.taken_back.clear()).await;
    world.advance(SignedDuration::from_mins(2));
    let second = alert("a2", "checkout", world.now() - SignedDuration::from_secs(30));
    let calls = world.takes_in(&second, death).await;
    world.queue.lose_all();
    if process.record(&RecordId::of(&second)).await.unwrap().is_none() {
        return calls;
    }
    // As its message does, when it is delivered once more.
    process.alert_received(second.clone(), &world.policy).await.unwrap();
    world.run(&process, 2).await;
    let record = world.record(&second).await;
    let says = format!("{death:?}: {:#?}", record.timeline);
    // Ended as its rollback it would be unknown; it never had one.
    assert_eq!((record.rollback, record.told_generation), (None, record.generation), "{says}");
    assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Page), "{says}");
    let key = keys::target(&world.target("checkout").key());
    let state = documents(&world).read::<TargetState>(&key).await.unwrap().unwrap().value;
    assert!(state.busy.is_none() && world.platform.calls() == 1, "{says}");
    // It tried nothing: who judges the version later must not read that it did.
    assert!(state.taken_back.is_empty(), "{says}");
    calls
}

#[tokio::test]
async fn a_death_at_the_claim_of_another_record_leaves_no_record_that_acts() {
    let calls = Box::pin(dies_at_a_claim_of_another(None)).await;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            Box::pin(dies_at_a_claim_of_another(Some(Death { at_call, after_effect }))).await;
        }
    }
}

/// Another alert finds the target free afterwards.
#[tokio::test]
async fn a_target_that_was_cleared_in_the_middle_of_a_rollback_takes_the_next_alert() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing, &world.policy).await.unwrap();
    process.clear(&world.target("checkout").key(), "ana").await.unwrap();
    world.advance(SignedDuration::from_mins(3));
    let next = alert("a2", "checkout", world.now());
    process.alert_received(next.clone(), &world.policy).await.unwrap();
    world.run(&process, 2).await;
    let record = world.record(&next).await;
    assert!(record.decision.is_some_and(|decision| decision.kind != DecisionKind::Hold), "{:#?}", record.timeline);
    assert_eq!(world.platform.calls(), 1, "what our call brought is never taken back");
}

/// A person frees the target while our call is on its way; returns the target's document, and what the next alert comes to.
async fn freed_while_under_way(answer: Answer, lands: bool) -> (World, TargetState, Record) {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    world.platform.answer_next(&[answer]);
    process.alert_received(firing, &world.policy).await.unwrap();
    world.advance(SignedDuration::from_secs(20));
    assert_eq!(world.platform.running(), BAD, "nothing of ours runs yet");
    let key = world.target("checkout").key();
    process.clear(&key, "ana").await.unwrap();
    world.queue.lose_all();
    if lands {
        world.advance(SignedDuration::from_mins(2));
    } else {
        world.platform.team_swaps_in("build-43");
    }
    assert_ne!(world.platform.running(), BAD);
    world.telemetry.from(world.now() - SignedDuration::from_mins(40), Some(0.001));
    world.telemetry.from(world.now(), Some(0.31));
    // The slot holds what has never served, so that nothing closes the way back but whose doing it is.
    world.platform.team_deploys_to_staging("build-44");
    world.advance(SignedDuration::from_mins(8));
    let next = alert("a2", "checkout", world.now() - SignedDuration::from_mins(1));
    process.alert_received(next.clone(), &world.policy).await.unwrap();
    let state = documents(&world).read::<TargetState>(&keys::target(&key)).await.unwrap().unwrap().value;
    world.run(&process, 1).await;
    let record = world.record(&next).await;
    (world, state, record)
}

#[tokio::test]
async fn what_our_call_brings_after_a_person_has_freed_the_target_is_not_taken_back() {
    for answer in [Answer::Accepted, Answer::LostAfterEffect] {
        let (world, state, record) = freed_while_under_way(answer, true).await;
        assert!(state.taken_back[0].result.is_none() && state.taken_back[0].expected.is_some(), "{state:#?}");
        let decision = record.decision.as_ref().unwrap();
        let is_ours = |it: &CandidateScore| it.cleared_by == Some(RuleId::A2) && it.says.contains("may be the result of");
        assert_eq!(decision.kind, DecisionKind::Page, "{decision:#?}");
        assert!(decision.candidates.iter().any(is_ours), "{decision:#?}");
        assert_eq!(world.platform.calls(), 1, "{:#?}", record.timeline);
    }
}

#[tokio::test]
async fn what_the_team_brings_after_a_person_has_freed_the_target_is_judged_as_ever() {
    let (_, _, record) = freed_while_under_way(Answer::LostBeforeEffect, false).await;
    assert_eq!(record.decision.as_ref().unwrap().kind, DecisionKind::Propose, "{:#?}", record.timeline);
}

/// A target that is freed before anything was sent: nothing of ours is to come.
#[tokio::test]
async fn nothing_is_expected_of_a_rollback_that_was_never_sent() {
    let mut seen = (false, false);
    for at_call in 1.. {
        let world = World::new();
        let firing = world.break_it().await;
        let calls = world.takes_in(&firing, Some(Death { at_call, after_effect: true })).await;
        if calls < at_call {
            break;
        }
        let key = world.target("checkout").key();
        let state = documents(&world).read::<TargetState>(&keys::target(&key)).await.unwrap().map(|state| state.value);
        let Some(busy) = state.and_then(|state| state.busy) else { continue };
        let claimed = documents(&world).read::<Claim>(&keys::claim(&key, &busy.accused)).await.unwrap().is_some();
        world.process().clear(&key, "ana").await.unwrap();
        let state = documents(&world).read::<TargetState>(&keys::target(&key)).await.unwrap().unwrap().value;
        assert_eq!(state.taken_back[0].expected.is_some(), claimed, "{at_call}: {state:#?}");
        seen = (seen.0 || claimed, seen.1 || !claimed);
    }
    assert_eq!(seen, (true, true));
}
