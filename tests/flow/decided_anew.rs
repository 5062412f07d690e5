//! A call that could not leave at once leaves only if it would be decided again.

use backout::domain::{
    alert::{Alert, Condition},
    decision::DecisionKind,
    record::Record,
    rollback::RollbackState,
    rule::RuleId,
    service::{Mode, Resubmit, Service},
};
use jiff::SignedDuration;

use crate::support::{
    fake_platform::Answer,
    lethal::{Death, Switch},
    policy::{policy, service},
    world::{BAD, GOOD, World},
};

fn with(change: impl FnOnce(&mut Service)) -> World {
    let mut checkout = service("checkout");
    change(&mut checkout);
    World::with(policy(vec![checkout]))
}

/// The first call gets `answer`.
async fn begun(world: &World, answer: Answer) -> Alert {
    let firing = world.break_it().await;
    world.platform.answer_next(&[answer]);
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!((world.platform.calls(), world.platform.effects()), (1, 0));
    firing
}

async fn resolve(world: &World, firing: &Alert) {
    let resolved = Alert { condition: Condition::Resolved, resolved_at: Some(world.now()), ..firing.clone() };
    world.process().alert_received(resolved, &world.policy).await.unwrap();
}

fn assert_given_up(world: &World, record: &Record, rule: RuleId, says: &str) {
    let timeline = &record.timeline;
    assert_eq!((record.rollback, world.platform.calls()), (Some(RollbackState::Failed), 1), "{timeline:#?}");
    assert_eq!(world.platform.running(), BAD, "{timeline:#?}");
    let decision = record.decision.as_ref().unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Page, rule), "{timeline:#?}");
    assert!(decision.because.contains(says), "{decision:#?}");
    assert_eq!(record.told_generation, record.generation);
    let told = world.notifier.notices();
    assert!(told.is_empty() || told.iter().any(|notice| notice.title.ends_with("the rollback was not sent; a person must look")));
}

const A_QUARTER: Answer = Answer::NotSentFor(900);

#[tokio::test]
async fn what_is_as_it_was_is_sent_after_a_long_wait() {
    let world = World::new();
    let firing = begun(&world, A_QUARTER).await;
    world.run_to_end(&world.process(), &firing, 3).await;
    let record = world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
    assert_eq!((world.platform.calls(), world.platform.effects(), world.platform.running().as_str()), (2, 1, GOOD));
}

#[tokio::test]
async fn an_alert_that_was_resolved_meanwhile_sends_nothing() {
    for answer in [A_QUARTER, Answer::NotSent] {
        let world = World::new();
        let firing = begun(&world, answer).await;
        resolve(&world, &firing).await;
        world.run_to_end(&world.process(), &firing, 3).await;
        assert_given_up(&world, &world.record(&firing).await, RuleId::A13, "the alert was resolved since");
    }
}

/// Its rule may be one that never says when it is over.
#[tokio::test]
async fn signals_that_are_back_send_nothing() {
    let world = World::new();
    let firing = begun(&world, A_QUARTER).await;
    world.telemetry.from(world.now(), Some(0.001));
    let process = world.process();
    for _ in 0..20 {
        world.advance(SignedDuration::from_mins(1));
        world.deliver_due(&process).await;
    }
    assert_given_up(&world, &world.record(&firing).await, RuleId::A5, "now the decision is ");
}

#[tokio::test]
async fn a_policy_that_lets_it_only_propose_by_now_sends_nothing() {
    let mut world = World::new();
    let firing = begun(&world, A_QUARTER).await;
    let mut careful = service("checkout");
    careful.mode = Mode::Propose;
    world.policy = policy(vec![careful]).into();
    world.run_to_end(&world.process(), &firing, 3).await;
    assert_given_up(&world, &world.record(&firing).await, RuleId::A5, "now the decision is propose");
}

/// Returns the number of calls when nobody dies.
async fn dies_at_the_second_try(death: Option<Death>) -> u64 {
    let world = World::new();
    let firing = begun(&world, A_QUARTER).await;
    world.advance(SignedDuration::from_mins(15));
    let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
    let mortal = world.process_behind(&switch);
    tokio::select! {
        biased;
        () = Box::pin(world.deliver_due(&mortal)) => {}
        () = switch.died() => {}
    }
    world.queue.unlock_all();
    world.run(&world.process(), 3).await;
    let record = world.record(&firing).await;
    let effects = world.platform.effects();
    let true_end = match record.rollback {
        Some(RollbackState::Recovered) => (1, GOOD),
        // A toggle whose sender died is not sent once more.
        Some(RollbackState::Failed) => (0, BAD),
        Some(_) | None => panic!("{death:?}: {:#?}", record.timeline),
    };
    assert_eq!((effects, world.platform.running().as_str()), true_end, "{death:?}: {:#?}", record.timeline);
    assert!(world.platform.calls() <= 2 && record.told_generation == record.generation, "{death:?}: {:#?}", record.timeline);
    switch.calls()
}

#[tokio::test]
async fn a_death_at_the_second_try_sends_it_at_most_once_more() {
    let calls = Box::pin(dies_at_the_second_try(None)).await;
    assert!(calls > 10, "{calls} calls");
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            Box::pin(dies_at_the_second_try(Some(Death { at_call, after_effect }))).await;
        }
    }
}

#[tokio::test]
async fn what_may_be_sent_once_more_after_the_quiet_time_is_not_once_the_alert_is_resolved() {
    let once_more = |checkout: &mut Service| checkout.resubmit = Resubmit::Once;
    for resolved in [false, true] {
        let world = with(once_more);
        let firing = begun(&world, Answer::LostBeforeEffect).await;
        if resolved {
            resolve(&world, &firing).await;
        }
        world.run_to_end(&world.process(), &firing, 3).await;
        let record = world.record(&firing).await;
        let expected = if resolved { (RollbackState::Failed, 1) } else { (RollbackState::Recovered, 2) };
        assert_eq!((record.rollback, world.platform.calls()), (Some(expected.0), expected.1), "{:#?}", record.timeline);
        let says = record.timeline.iter().any(|entry| entry.what.contains("it was not sent again: the alert was resolved since"));
        assert_eq!(says, resolved, "{:#?}", record.timeline);
    }
}
