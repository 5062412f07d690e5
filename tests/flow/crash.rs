//! The process dies at any call through its ports, before or after its effect; then it starts again and everything is
//! delivered once more. At most one swap, ever, and an end that says what is so.

use backout::domain::rollback::RollbackState;

use crate::support::{
    fake_platform::Answer,
    lethal::{Death, Switch},
    world::{BAD, GOOD, World},
};

/// Runs the whole story with one death; returns the number of calls when nobody dies.
async fn story(death: Option<Death>, answer: Answer) -> u64 {
    let world = World::new();
    let firing = world.break_it().await;
    world.platform.answer_next(&[answer]);
    let switch = death.map_or_else(Switch::that_never_dies, Switch::that_dies);
    let mortal = world.process_behind(&switch);
    let mut crashed = false;
    tokio::select! {
        biased;
        outcome = Box::pin(async {
            mortal.alert_received(firing.clone(), &world.policy).await.unwrap();
            for _ in 0..40 {
                world.measure();
                world.deliver_due(&mortal).await;
                world.advance(jiff::SignedDuration::from_secs(30));
            }
        }) => outcome,
        () = switch.died() => crashed = true,
    }
    drop(mortal);
    let calls = switch.calls();
    let process = world.process();
    world.queue.unlock_all();
    if crashed {
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
    }
    world.run_to_end(&process, &firing, 4).await;
    let record = world.record(&firing).await;
    let name = format!("{death:?} {answer:?}: {:#?}", record.timeline);
    assert!(world.platform.effects() <= 1, "{name}");
    assert!(record.rollback.is_some_and(RollbackState::is_terminal), "{:?} {name}", record.rollback);
    assert_eq!(record.told_generation, record.generation, "{name}");
    // Also where it died between the claim and the decision that the claim was for.
    assert!(record.decision.is_some() && record.receipt.is_some(), "a person can read how it ended: {name}");
    let runs = world.platform.running();
    match record.rollback.unwrap() {
        RollbackState::Recovered => assert_eq!(runs, GOOD, "{name}"),
        RollbackState::Failed => assert_eq!((runs.as_str(), world.platform.effects()), (BAD, 0), "{name}"),
        other => panic!("{other:?}: {name}"),
    }
    let key = world.target("checkout").key();
    assert_eq!(
        process.clear(&key, "test").await.unwrap(),
        backout::process::clear::Cleared::Nothing,
        "the target is free: {name}"
    );
    calls
}

#[tokio::test]
async fn a_death_at_any_call_leads_to_at_most_one_swap_and_an_end_that_is_true() {
    for answer in [Answer::Accepted, Answer::LostAfterEffect, Answer::Refused] {
        let calls = Box::pin(story(None, answer)).await;
        assert!(calls > 25, "{calls} calls are a whole story");
        for at_call in 1..=calls {
            for after_effect in [false, true] {
                Box::pin(story(Some(Death { at_call, after_effect }), answer)).await;
            }
        }
    }
}
