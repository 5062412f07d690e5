//! What a record says of a rollback that came to nothing is true: what was done before, and what may still arrive.

use backout::domain::{
    approval::Verdict,
    decision::DecisionKind,
    record::Record,
    rollback::RollbackState,
    rule::RuleId,
    service::{Resubmit, Service},
};
use jiff::SignedDuration;

use crate::support::{
    fake_platform::Answer,
    policy::{alert, policy, service},
    world::{BAD, GOOD, World},
};

fn with(change: impl FnOnce(&mut Service)) -> World {
    let mut checkout = service("checkout");
    change(&mut checkout);
    World::with(policy(vec![checkout]))
}

fn last_words(record: &Record) -> &str {
    record.timeline.last().map_or("", |entry| &entry.what)
}

#[tokio::test]
async fn a_step_that_was_done_is_named_when_the_next_one_is_refused() {
    for (answers, part) in
        [(vec![Answer::Refused], "nothing more was changed"), (vec![Answer::NotSent; 9], "nothing was sent after that")]
    {
        let world = with(|_| ());
        let firing = world.break_it().await;
        let process = world.process();
        world.platform.prepare_first();
        world.platform.answer_next(&answers);
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        world.run_to_end(&process, &firing, 3).await;
        let record = world.record(&firing).await;
        assert_eq!((record.rollback, world.platform.effects()), (Some(RollbackState::Failed), 0), "{:#?}", record.timeline);
        let says = last_words(&record);
        assert!(says.contains(part), "{says}");
        assert!(record.timeline.iter().any(|entry| entry.what.contains("done: clear the traffic rules")), "{says}");
        assert!(!says.contains("nothing was changed"), "{says}");
    }
}

#[tokio::test]
async fn a_pause_before_the_second_call_does_not_make_the_first_one_unsent() {
    let world = with(|checkout| checkout.resubmit = Resubmit::Once);
    let firing = world.break_it().await;
    let process = world.process();
    world.platform.answer_next(&[Answer::LostBeforeEffect]);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    process.set_paused(true, "ana").await.unwrap();
    world.run_to_end(&process, &firing, 3).await;
    let record = world.record(&firing).await;
    assert_eq!((record.rollback, world.platform.calls()), (Some(RollbackState::Failed), 1), "{:#?}", record.timeline);
    let says = last_words(&record);
    assert!(
        says.contains("the call was sent at most once, no answer told what became of it") && !says.contains("nothing was sent"),
        "{says}"
    );
}

/// A person did the same by hand; our own call arrived in time, and what it began ended only after the quiet time.
#[tokio::test]
async fn what_an_unanswered_call_of_ours_may_have_brought_late_is_never_taken_back() {
    let world = with(|_| ());
    let firing = world.break_it().await;
    let process = world.process();
    world.platform.answer_next(&[Answer::LostBeforeEffect]);
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.advance(SignedDuration::from_secs(10));
    world.platform.team_swaps_in(GOOD);
    // Measured late, so that it is watched for longer than the quiet time.
    world.telemetry.from(world.now(), None);
    world.telemetry.from(world.now() + SignedDuration::from_mins(7), Some(0.001));
    let after_the_quiet_time = world.now() + SignedDuration::from_mins(12);
    while world.now() < after_the_quiet_time {
        world.deliver_due(&process).await;
        world.advance(SignedDuration::from_secs(30));
    }
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Verifying));
    world.platform.team_swaps_in("build-44");
    world.telemetry.from(world.now(), Some(0.31));
    world.run_to_end(&process, &firing, 1).await;
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Unknown));
    world.advance(SignedDuration::from_mins(8));
    let next = alert("a2", "checkout", world.now() - SignedDuration::from_mins(1));
    process.alert_received(next.clone(), &world.policy).await.unwrap();
    // What was not measured is waited for first (E3).
    world.advance(SignedDuration::from_mins(6));
    world.deliver_due(&process).await;
    // The list of what we took back has room for one result; the mark on the version itself stops what a person approves.
    process.answer(&world.record(&next).await.id, Verdict::Approved, "ana").await.unwrap();
    world.run(&process, 1).await;
    let record = world.record(&next).await;
    let decision = record.decision.as_ref().unwrap();
    assert_eq!(decision.reasons.first().map(|reason| reason.rule), Some(RuleId::A2), "{:#?}", record.timeline);
    assert_eq!((decision.kind, world.platform.calls()), (DecisionKind::Page, 1), "{:#?}", record.timeline);
}

/// A person did the same by hand, and our own call, which was never answered, may still come and undo it.
#[tokio::test]
async fn nothing_has_recovered_while_our_call_may_still_arrive() {
    for arrives in [false, true] {
        let world = with(|_| ());
        let firing = world.break_it().await;
        let process = world.process();
        world.platform.answer_next(&[Answer::LostBeforeEffect]);
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        world.advance(SignedDuration::from_secs(10));
        world.platform.team_swaps_in(GOOD);
        let by_hand = world.now();
        let quiet_until = by_hand + SignedDuration::from_mins(10);
        while world.now() < quiet_until - SignedDuration::from_secs(30) {
            world.measure();
            world.deliver_due(&process).await;
            world.advance(SignedDuration::from_secs(30));
        }
        let record = world.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Verifying), "{:#?}", record.timeline);
        if arrives {
            world.platform.team_swaps_in(BAD);
        }
        world.run(&process, 1).await;
        let record = world.record(&firing).await;
        let expected = if arrives { RollbackState::Unknown } else { RollbackState::Recovered };
        assert_eq!(record.rollback, Some(expected), "{:#?}", record.timeline);
        assert_eq!(world.platform.calls(), 1);
    }
}
