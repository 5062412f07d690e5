//! Traffic rules of a simulated site: a ramp that is taken back, and rules that are cleared before a swap, on virtual time.

use backout::{
    domain::{
        decision::DecisionKind,
        record::{Record, RecordId},
        rollback::{Fence, RollbackState, Submission},
        rule::RuleId,
    },
    sim::{Fault, FaultBody, FaultEffect, Moment},
};

use crate::support::{
    lethal::Death,
    slots::{BAD, GOOD, SlotScene},
};

fn told(record: &Record) -> String {
    format!("{:?} {:#?} {:#?}", record.rollback, record.decision, record.timeline)
}

fn status(moment: Moment, status: u16) -> FaultEffect {
    FaultEffect::Status { moment, status, body: FaultBody::Empty }
}

#[tokio::test]
async fn a_bad_ramp_is_ended_once() {
    let scene = SlotScene::open().await;
    let before = scene.observe().await.running;
    let firing = scene.ramp_up("a1");
    let (process, other) = (scene.process(), scene.process());
    let (first, second) =
        tokio::join!(process.alert_received(firing.clone(), &scene.policy), other.alert_received(firing.clone(), &scene.policy));
    assert!(first.is_ok() && second.is_ok());
    for _ in 0..3 {
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    }
    scene.run(&process, 40).await;
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert_eq!((scene.patches(), scene.swaps()), ((1, 1), (0, 0)));
    assert_eq!(scene.builds(), (GOOD.to_owned(), BAD.to_owned()), "nothing was swapped");
    let decision = record.decision.unwrap();
    assert_eq!(decision.kind, DecisionKind::Act);
    assert!(decision.because.ends_with("held by slot production alone"), "{}", decision.because);
    let receipt = process.receipt(&record.receipt.unwrap()).await.unwrap().unwrap();
    assert_eq!(receipt.steps, ["send all users of `shop` to slot production (clear `rampUpRules`)"]);
    assert!(receipt.token.unwrap().starts_with(&format!("ramp|{}|staging:", before.token)));
    assert_eq!(scene.observe().await.running, before, "production's own rollout serves alone, as before");
    let patch = scene.azure.journal().into_iter().find(|entry| entry.method == "PATCH").unwrap();
    assert_eq!(patch.identity.as_deref(), Some("actor"));
}

#[tokio::test]
async fn a_build_that_waited_in_its_slot_is_blamed_from_the_ramp_on() {
    let scene = SlotScene::open().await;
    scene.azure.deploy(&scene.site, "staging", BAD);
    for _ in 0..24 {
        scene.minutes_pass(5);
        scene.sweep().await;
    }
    scene.azure.set_ramp_up(&scene.site, "staging", 20.0);
    scene.minutes_pass(8);
    let (firing, process) = (scene.firing("a1"), scene.process());
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 40).await;
    let record = scene.record(&firing).await;
    assert_eq!((record.rollback, scene.patches()), (Some(RollbackState::Recovered), (1, 1)), "{}", told(&record));
}

/// How a call may go wrong: the fault, requests and effects in the end, and the state that is told.
#[tokio::test]
async fn every_answer_to_the_end_of_a_ramp_ends_in_a_state_that_says_what_is_so() {
    let rows = [
        (FaultEffect::Reset { moment: Moment::AfterEffect }, (1, 1), RollbackState::Recovered),
        (status(Moment::AfterEffect, 504), (1, 1), RollbackState::Recovered),
        // Nothing happened: after the quiet time a convergent call is sent once more.
        (FaultEffect::Reset { moment: Moment::BeforeEffect }, (2, 1), RollbackState::Recovered),
        (status(Moment::BeforeEffect, 500), (2, 1), RollbackState::Recovered),
        (FaultEffect::Throttle { retry_after_seconds: 20 }, (2, 1), RollbackState::Recovered),
        (status(Moment::BeforeEffect, 403), (1, 0), RollbackState::Failed),
    ];
    for (effect, requests, state) in rows {
        let scene = SlotScene::open().await;
        let firing = scene.ramp_up("a1");
        scene.azure.inject(Fault::on("PATCH", "/config/web", effect.clone()));
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 60).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(state), "{effect:?}: {}", told(&record));
        assert_eq!((scene.patches(), scene.swaps()), (requests, (0, 0)), "{effect:?}");
    }
}

#[tokio::test]
async fn a_ramp_that_somebody_else_ended_meanwhile_is_left_alone() {
    for swapped in [false, true] {
        let scene = SlotScene::open().await;
        let firing = scene.ramp_up("a1");
        // It was decided from what was so; the last look finds it otherwise.
        let step = {
            let observation = scene.observe().await;
            let fence = Fence { claim: "a".repeat(26), record: RecordId("r".to_owned()) };
            scene.platform().steps(&observation.ways_back[0], &fence).remove(0)
        };
        scene.azure.set_ramp_up(&scene.site, "staging", 0.0);
        if swapped {
            scene.azure.swap_now(&scene.site, "staging", "production").unwrap();
        }
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 30).await;
        let record = scene.record(&firing).await;
        assert_eq!((scene.patches(), scene.swaps()), ((0, 0), (0, 0)), "{}", told(&record));
        assert_ne!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Act), "{}", told(&record));
        // Even sent too late it sends nobody to another build.
        assert_eq!(scene.platform().submit(&step).await, Submission::Done);
        assert_eq!(scene.builds().0, if swapped { BAD } else { GOOD });
    }
}

#[tokio::test]
async fn the_same_ramp_again_is_left_to_a_person() {
    let scene = SlotScene::open().await;
    let firing = scene.ramp_up("a1");
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 60).await;
    assert_eq!(scene.record(&firing).await.rollback, Some(RollbackState::Recovered));
    scene.azure.set_ramp_up(&scene.site, "staging", 50.0);
    scene.minutes_pass(8);
    let again = scene.firing("a2");
    process.alert_received(again.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 60).await;
    let decision = scene.record(&again).await.decision.unwrap();
    assert_eq!((decision.kind, scene.patches()), (DecisionKind::Page, (1, 1)), "{decision:#?}");

    // Another build in the slot is another rollout; the ramp that was taken back lies between, and holds nothing to skip.
    scene.azure.set_ramp_up(&scene.site, "staging", 0.0);
    // Longer than signals are looked at before a fault (C1).
    scene.minutes_pass(150);
    scene.sweep().await;
    scene.azure.set_error_share("build-43", 0.4);
    scene.azure.deploy(&scene.site, "staging", "build-43");
    scene.azure.set_ramp_up(&scene.site, "staging", 20.0);
    scene.minutes_pass(8);
    let next = backout::domain::alert::Alert { rule: Some("checkout-slow".to_owned()), ..scene.firing("a3") };
    process.alert_received(next.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 60).await;
    let record = scene.record(&next).await;
    assert_eq!((record.rollback, scene.patches()), (Some(RollbackState::Recovered), (2, 2)), "{}", told(&record));
}

#[tokio::test]
async fn a_ramp_before_the_swap_is_no_step_that_may_not_be_skipped() {
    let scene = SlotScene::open().await;
    scene.azure.deploy(&scene.site, "staging", BAD);
    scene.azure.set_error_share(BAD, 0.001);
    scene.azure.set_ramp_up(&scene.site, "staging", 20.0);
    scene.minutes_pass(5);
    scene.sweep().await;
    scene.azure.set_ramp_up(&scene.site, "staging", 0.0);
    scene.azure.change_error_share(BAD, 0.33);
    scene.azure.swap_now(&scene.site, "staging", "production").unwrap();
    scene.minutes_pass(8);
    let (firing, process) = (scene.firing("a1"), scene.process());
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 40).await;
    let record = scene.record(&firing).await;
    assert_eq!((record.rollback, scene.builds().0.as_str()), (Some(RollbackState::Recovered), GOOD), "{}", told(&record));
    assert_eq!((scene.patches(), scene.swaps()), ((0, 0), (1, 1)));
}

/// Two steps, of which either may go wrong: where, how, requests and effects of both, what runs, and the state that is told.
#[tokio::test]
async fn rules_that_would_outlive_a_swap_are_cleared_first() {
    let (patch, swap) = (("PATCH", "/config/web"), ("POST", "/slotsswap"));
    let (once, twice) = ((1, 1), (2, 1));
    let rows = [
        (patch, None, once, once, RollbackState::Recovered),
        (patch, Some(FaultEffect::Reset { moment: Moment::BeforeEffect }), twice, once, RollbackState::Recovered),
        (patch, Some(FaultEffect::Reset { moment: Moment::AfterEffect }), (2, 2), once, RollbackState::Recovered),
        (patch, Some(status(Moment::BeforeEffect, 403)), (1, 0), (0, 0), RollbackState::Failed),
        (patch, Some(FaultEffect::Throttle { retry_after_seconds: 20 }), twice, once, RollbackState::Recovered),
        (swap, Some(FaultEffect::Reset { moment: Moment::AfterEffect }), once, once, RollbackState::Recovered),
        (swap, Some(FaultEffect::Reset { moment: Moment::BeforeEffect }), once, (1, 0), RollbackState::Failed),
        (swap, Some(FaultEffect::Throttle { retry_after_seconds: 20 }), once, twice, RollbackState::Recovered),
    ];
    for ((method, path), effect, patches, swaps, state) in rows {
        let scene = SlotScene::open().await;
        let firing = scene.swap_with_rules("a1");
        let accused = scene.observe().await.running.token;
        if let Some(effect) = &effect {
            scene.azure.inject(Fault::on(method, path, effect.clone()));
        }
        let process = scene.process();
        for _ in 0..2 {
            process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        }
        scene.run(&process, 60).await;
        let record = scene.record(&firing).await;
        let says = format!("{method} {effect:?}: {}", told(&record));
        assert_eq!(record.rollback, Some(state), "{says}");
        assert_eq!((scene.patches(), scene.swaps()), (patches, swaps), "{says}");
        let runs = if swaps.1 == 1 { GOOD } else { BAD };
        assert_eq!(scene.builds().0, runs, "{says}");
        if swaps.1 == 0 {
            assert_eq!(scene.observe().await.running.token, accused, "clearing rules is no rollout: {says}");
        }
    }
}

#[tokio::test]
async fn without_the_right_to_clear_rules_nothing_is_begun() {
    for ramp in [true, false] {
        let scene = SlotScene::open().await;
        scene.azure.revoke(Some("actor"), "Microsoft.Web/sites/config/write");
        let firing = if ramp { scene.ramp_up("a1") } else { scene.swap_with_rules("a1") };
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 30).await;
        let decision = scene.record(&firing).await.decision.unwrap();
        assert_eq!((decision.kind, scene.patches(), scene.swaps()), (DecisionKind::Page, (0, 0), (0, 0)), "{decision:#?}");
        let missing = |reason: &backout::domain::decision::Reason| {
            reason.rule == RuleId::S9 && reason.says.contains("acting identity lacks `Microsoft.Web/sites/config/write`")
        };
        assert!(decision.reasons.iter().any(missing), "{decision:#?}");
    }
}

/// The whole story with one death; returns the number of calls through the ports when nobody dies.
async fn story_with(swapped: bool, death: Option<Death>) -> u64 {
    let scene = Box::pin(SlotScene::open()).await;
    let firing = if swapped { scene.swap_with_rules("a1") } else { scene.ramp_up("a1") };
    let calls = Box::pin(scene.live_through(&firing, death)).await;
    let record = scene.record(&firing).await;
    let says = format!("{death:?}: {}", told(&record));
    let ((patches, _), (swaps, swapped_back)) = (scene.patches(), scene.swaps());
    assert!(patches <= 2 && swaps <= 1, "{patches} {swaps} {says}");
    match (record.rollback, swapped) {
        (Some(RollbackState::Recovered), true) => assert_eq!((scene.builds().0.as_str(), swapped_back), (GOOD, 1), "{says}"),
        (Some(RollbackState::Recovered), false) => assert_eq!((scene.builds().0.as_str(), swaps), (GOOD, 0), "{says}"),
        // The swap was not sent before the death, and a toggle is not sent on a guess.
        (Some(RollbackState::Failed), true) => assert_eq!((scene.builds().0.as_str(), swapped_back), (BAD, 0), "{says}"),
        (other, _) => panic!("{other:?} {says}"),
    }
    calls
}

/// Every few calls only: each of these stories goes over HTTP.
#[tokio::test]
async fn a_death_at_any_call_leads_to_at_most_one_swap_and_an_end_that_is_true() {
    const STRIDE: usize = 5;
    for swapped in [false, true] {
        let calls = Box::pin(story_with(swapped, None)).await;
        assert!(calls > 40, "{calls} calls are a whole story");
        for (index, at_call) in (1..=calls).step_by(STRIDE).enumerate() {
            Box::pin(story_with(swapped, Some(Death { at_call, after_effect: index % 2 == 0 }))).await;
        }
    }
}
