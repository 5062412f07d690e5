//! What a person approved is acted on, or told as too late: whatever dies or gets lost between the word and the deed.

use backout::{
    domain::{
        approval::Verdict,
        decision::DecisionKind,
        deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
        record::{Record, RecordId},
        rollback::RollbackState,
        rule::RuleId,
        service::{Mode, Reversible},
    },
    process::Process,
};
use jiff::SignedDuration;

use crate::support::{
    fake_platform::Answer,
    lethal::{Death, Switch},
    policy::{alert, policy, service, site},
    world::{BAD, GOOD, World},
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

#[tokio::test]
async fn a_yes_to_one_way_back_is_none_to_another() {
    let (world, process, id) = proposed().await;
    world.platform.team_deploys_to_staging("build-43");
    process.answer(&id, Verdict::Approved, "ben").await.unwrap();
    world.run(&process, 1).await;
    assert_told_that_a_yes_does_not_count(&world, &record(&process, &id).await, "ben approved going back to build-41");
}

#[tokio::test]
async fn a_yes_is_none_once_the_change_was_declared_irreversible() {
    let (world, process, id) = proposed().await;
    declare(&world, &process, false).await;
    process.answer(&id, Verdict::Approved, "ben").await.unwrap();
    world.run(&process, 1).await;
    assert_told_that_a_yes_does_not_count(&world, &record(&process, &id).await, "ben approved it before this was known");
}

fn assert_told_that_a_yes_does_not_count(world: &World, record: &Record, says: &str) {
    let decision = record.decision.as_ref().unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Page, RuleId::A11), "{:#?}", record.timeline);
    assert!(decision.because.starts_with(says), "{}", decision.because);
    assert_eq!((world.platform.calls(), world.platform.running().as_str()), (0, BAD));
    assert_eq!((record.told_generation, record.next_step_at), (record.generation, None), "{:#?}", record.timeline);
}

/// The approval was used for the call that could not leave.
#[tokio::test]
async fn a_yes_counts_when_its_call_is_decided_anew() {
    let (world, process, id) = proposed().await;
    world.platform.answer_next(&[Answer::NotSentFor(900)]);
    process.answer(&id, Verdict::Approved, "ben").await.unwrap();
    world.run(&process, 2).await;
    let record = record(&process, &id).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((world.platform.calls(), world.platform.running().as_str()), (2, GOOD));
}

/// Nobody said that the version can be taken back, so it was proposed; then its pipeline says so.
async fn proposed_and_declared_since() -> (World, Process, RecordId) {
    let mut checkout = service("checkout");
    checkout.reversible = Reversible::Declared;
    let world = World::with(policy(vec![checkout]));
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    (world, process, RecordId::of(&firing))
}

async fn declare(world: &World, process: &Process, reversible: bool) {
    let marker = DeploymentEvent {
        id: Some("m1".to_owned()),
        source: "cdevents".to_owned(),
        resources: vec![site("checkout").to_string()],
        operation: None,
        status: DeploymentStatus::Succeeded,
        at: Some(world.now() - SignedDuration::from_mins(8)),
        subject: DeploymentSubject::default(),
        version: Some(BAD.to_owned()),
        reversible: Some(reversible),
        slots: None,
    };
    process.deployment_received(marker, &world.policy, true).await.unwrap();
}

/// What another rule's alert about the same version leads to, five minutes later.
async fn another_alert(world: &World, process: &Process) -> Record {
    world.advance(SignedDuration::from_mins(5));
    let mut other = alert("a2", "checkout", world.now() - SignedDuration::from_mins(1));
    other.rule = Some("checkout-slow".to_owned());
    process.alert_received(other.clone(), &world.policy).await.unwrap();
    record(process, &RecordId::of(&other)).await
}

#[tokio::test]
async fn a_persons_no_holds_for_another_alert_about_the_same_version_until_a_persons_yes() {
    let (world, process, id) = proposed_and_declared_since().await;
    process.answer(&id, Verdict::Declined, "ana").await.unwrap();
    declare(&world, &process, true).await;
    let other = another_alert(&world, &process).await;
    let decision = other.decision.as_ref().unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Propose, RuleId::A11), "{decision:#?}");
    assert!(!serde_json::to_string(decision).unwrap().contains("ana"), "who it was stays in the record that asked");
    world.run(&process, 1).await;
    assert_eq!((world.platform.calls(), world.platform.running().as_str()), (0, BAD));
    // That proposal has expired by now; the next one gets a yes.
    let mut third = alert("a3", "checkout", world.now());
    third.rule = Some("checkout-slow".to_owned());
    process.alert_received(third.clone(), &world.policy).await.unwrap();
    let id = RecordId::of(&third);
    process.answer(&id, Verdict::Approved, "ben").await.unwrap();
    world.run(&process, 1).await;
    let third = record(&process, &id).await;
    assert_eq!((world.platform.calls(), third.rollback), (1, Some(RollbackState::Recovered)), "{:#?}", third.timeline);
}

/// Returns the number of calls when nobody dies, and whether the no was kept.
async fn dies_while_declining(death: Option<Death>) -> (u64, bool) {
    let (world, process, id) = proposed_and_declared_since().await;
    let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
    let mortal = world.process_behind(&switch);
    tokio::select! {
        biased;
        answered = mortal.answer(&id, Verdict::Declined, "ana") => assert!(answered.is_ok(), "{answered:?}"),
        () = switch.died() => {}
    }
    let said = record(&process, &id).await.approval.is_some();
    // An undecided proposal would be judged again, and take the version back itself.
    if said {
        declare(&world, &process, true).await;
        let other = another_alert(&world, &process).await;
        assert_eq!(other.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Propose), "{death:?}");
        world.run(&process, 2).await;
        let declined = record(&process, &id).await;
        assert_eq!((world.platform.calls(), declined.told_generation), (0, declined.generation), "{death:?}");
    } else {
        // Whoever got no answer says it again.
        process.answer(&id, Verdict::Declined, "ana").await.unwrap();
    }
    (switch.calls(), said)
}

#[tokio::test]
async fn a_no_that_was_stored_holds_whatever_dies_while_it_is_given() {
    let (calls, said) = Box::pin(dies_while_declining(None)).await;
    assert!(said);
    let mut unsaid = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            unsaid += u32::from(!Box::pin(dies_while_declining(Some(Death { at_call, after_effect }))).await.1);
        }
    }
    assert!(unsaid > 3, "{unsaid} deaths came before the record said it");
}
