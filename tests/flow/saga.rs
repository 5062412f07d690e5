//! From an alert to a receipt, on fakes and virtual time: each way in which a call can go.

use std::sync::Arc;

use backout::{
    domain::{
        alert::{Alert, Condition},
        approval::Verdict,
        decision::{DecisionKind, Reason},
        deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
        rollback::RollbackState,
        rule::RuleId,
        service::{Mode, Resubmit, Reversible},
    },
    process::{
        documents::keys,
        outcome::Outcome,
        receipt::{ChainCheck, verify_chain},
    },
};
use jiff::SignedDuration;

use crate::support::{
    fake_platform::{Answer, OnePlatform},
    policy::{alert, policy, service, site},
    world::{BAD, GOOD, World},
};

#[tokio::test]
async fn an_alert_takes_a_bad_swap_back_once_and_says_why() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(world.platform.calls(), 1, "the first look is enough: the fault is measured");
    world.run(&process, 2).await;
    let record = world.record(&firing).await;
    assert_eq!((world.platform.running().as_str(), world.platform.effects()), (GOOD, 1));
    assert_eq!(record.rollback, Some(RollbackState::Recovered));
    let decision = record.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule.as_str()), (DecisionKind::Act, "C6"));
    assert!(decision.because.starts_with(&format!("{BAD} began to serve at")), "{}", decision.because);
    let receipt = process.receipt(&record.receipt.unwrap()).await.unwrap().unwrap();
    assert_eq!(receipt.steps, ["swap slot staging with production"]);
    assert!(receipt.token.unwrap().starts_with("swap|2026-03-02T03:40:00"));
    let documents = backout::process::documents::Documents::new(world.ports.store.clone());
    let key = world.target("checkout").key();
    assert_eq!(
        verify_chain(&documents, &key).await.unwrap(),
        ChainCheck::Sound { receipts: 2 },
        "one for the act, one for its end"
    );
}

/// Stored instants keep their precision; the platform's token is an id, and stays as it is.
#[tokio::test]
async fn people_read_whole_seconds() {
    for mode in [Mode::Act, Mode::Propose, Mode::Observe] {
        let mut checkout = service("checkout");
        checkout.mode = mode;
        let world = World::with(policy(vec![checkout]));
        world.clock.advance(std::time::Duration::from_nanos(123_456_789));
        let firing = world.break_it().await;
        let process = world.process();
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        let _ = process.answer(&world.record(&firing).await.id, Verdict::Approved, "ben").await;
        world.run(&process, 1).await;
        let record = world.record(&firing).await;
        let receipt = process.receipt(record.receipt.as_ref().unwrap()).await.unwrap().unwrap();
        assert_eq!(receipt.received_at.subsec_nanosecond(), 123_456_789, "stored as it was");
        let mut texts = vec![receipt.text(), record.decision.clone().unwrap().because];
        texts.extend(record.decision.unwrap().candidates.into_iter().map(|candidate| candidate.says));
        texts.extend(world.notifier.notices().iter().map(|notice| format!("{} {}", notice.title, notice.text)));
        for text in texts {
            let without_ids: Vec<&str> = text.split_whitespace().filter(|word| !word.contains("swap|")).collect();
            assert!(!without_ids.iter().any(|word| word.contains(".123456789")), "{mode}: {text}");
        }
    }
}

#[tokio::test]
async fn copies_of_the_alert_add_nothing_but_a_count() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    for _ in 0..5 {
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
    }
    world.run(&process, 2).await;
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let record = world.record(&firing).await;
    assert_eq!((record.duplicates, world.platform.calls(), world.platform.effects()), (5, 1, 1));
    assert_eq!(record.rollback, Some(RollbackState::Recovered));
}

#[tokio::test]
async fn a_second_alert_waits_for_the_rollback_and_ends_with_it() {
    let world = World::new();
    let first = world.break_it().await;
    let process = world.process();
    process.alert_received(first.clone(), &world.policy).await.unwrap();
    let second = alert("a2", "checkout", world.now());
    process.alert_received(second.clone(), &world.policy).await.unwrap();
    let waiting = world.record(&second).await;
    assert_eq!(waiting.decision.as_ref().unwrap().kind, DecisionKind::Hold);
    assert_eq!(waiting.attached_to, Some(world.record(&first).await.id));
    world.run(&process, 2).await;
    let ended = world.record(&second).await.decision.unwrap();
    assert_eq!((ended.kind, ended.reasons[0].rule.as_str()), (DecisionKind::Ignore, "V1"));
    assert_eq!((world.platform.running().as_str(), world.platform.effects()), (GOOD, 1));
}

#[tokio::test]
async fn an_alert_after_the_rollback_never_takes_it_back() {
    let world = World::new();
    let first = world.break_it().await;
    let process = world.process();
    process.alert_received(first, &world.policy).await.unwrap();
    world.run(&process, 1).await;
    world.telemetry.from(world.now(), Some(0.4));
    world.advance(SignedDuration::from_mins(8));
    let late = alert("a3", "checkout", world.now());
    process.alert_received(late.clone(), &world.policy).await.unwrap();
    world.advance(SignedDuration::from_mins(30));
    world.deliver_due(&process).await;
    assert_eq!((world.platform.running().as_str(), world.platform.calls()), (GOOD, 1));
    let decision = world.record(&late).await.decision.unwrap();
    assert!(decision.candidates.iter().any(|candidate| candidate.cleared_by == Some(RuleId::A2)), "{decision:?}");
    assert_ne!(decision.kind, DecisionKind::Act);
}

#[tokio::test]
async fn a_way_back_that_no_call_leads_to_is_a_page() {
    let world = World::new();
    let firing = world.break_it().await;
    world.platform.lead_nowhere();
    let process = world.process();
    let outcome = process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert!(matches!(outcome, Outcome::Settled { .. }), "{outcome:?}");
    let record = world.record(&firing).await;
    let decision = record.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Page, RuleId::S9));
    assert_eq!(decision.because, format!("{BAD} is to blame, and no call leads back to {GOOD}; take checkout back by hand"));
    assert_eq!((world.platform.calls(), record.rollback, world.notifier.notices().len()), (0, None, 1));
}

/// How each answer ends: effects, what runs, and the state that is told.
#[tokio::test]
async fn every_answer_ends_in_a_state_that_says_what_is_so() {
    for (answers, resubmit, effects, runs, state) in [
        (vec![Answer::Accepted], Resubmit::Never, 1, GOOD, RollbackState::Recovered),
        (vec![Answer::LostAfterEffect], Resubmit::Never, 1, GOOD, RollbackState::Recovered),
        (vec![Answer::LostAfterEffect], Resubmit::Once, 1, GOOD, RollbackState::Recovered),
        (vec![Answer::LostBeforeEffect], Resubmit::Never, 0, BAD, RollbackState::Failed),
        (vec![Answer::LostBeforeEffect], Resubmit::Once, 1, GOOD, RollbackState::Recovered),
        (vec![Answer::LostBeforeEffect, Answer::LostBeforeEffect], Resubmit::Once, 0, BAD, RollbackState::Failed),
        (vec![Answer::Refused], Resubmit::Once, 0, BAD, RollbackState::Failed),
        (vec![Answer::NotSent, Answer::Accepted], Resubmit::Never, 1, GOOD, RollbackState::Recovered),
        (vec![Answer::NotSent; 9], Resubmit::Never, 0, BAD, RollbackState::Failed),
        (vec![Answer::FailsLater], Resubmit::Once, 0, BAD, RollbackState::Failed),
    ] {
        let mut checkout = service("checkout");
        checkout.resubmit = resubmit;
        let world = World::with(policy(vec![checkout]));
        let firing = world.break_it().await;
        world.platform.answer_next(&answers);
        let process = world.process();
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        world.run(&process, 3).await;
        let record = world.record(&firing).await;
        let name = format!("{answers:?} {resubmit:?}: {:#?}", record.timeline);
        assert_eq!(
            (world.platform.effects(), world.platform.running().as_str(), record.rollback),
            (effects, runs, Some(state)),
            "{name}"
        );
        assert_eq!(record.told_generation, record.generation, "{name}");
    }
}

/// The first call was lost, and takes effect at the very moment at which it is about to be sent once more.
#[tokio::test]
async fn a_call_that_takes_effect_late_is_not_told_as_never_sent() {
    let after = async |answer: Answer| {
        let mut checkout = service("checkout");
        checkout.resubmit = Resubmit::Once;
        let world = World::with(policy(vec![checkout]));
        let firing = world.break_it().await;
        world.platform.answer_next(&[answer]);
        let process = world.process();
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        world.run(&process, 3).await;
        let record = world.record(&firing).await;
        (world, record)
    };
    let (reference, _) = after(Answer::LostBeforeEffect).await;
    let [_, looks] = reference.platform.looks_before_calls()[..] else { panic!("two calls") };
    // At the look that allows the second call, and at the one just before it.
    for look in [looks - 1, looks] {
        let (world, record) = after(Answer::LostUntilLook(look)).await;
        let says = format!("it began at look {look} of {looks}: {:#?}", record.timeline);
        assert_eq!((world.platform.calls(), world.platform.effects(), world.platform.running().as_str()), (1, 1, GOOD), "{says}");
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{says}");
    }
}

#[tokio::test]
async fn nothing_is_sent_while_paused_and_an_approval_does_not_lift_it() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.set_paused(true, "ana").await.unwrap();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let record = world.record(&firing).await;
    assert_eq!(record.decision.as_ref().unwrap().kind, DecisionKind::Propose);
    process.answer(&record.id, Verdict::Approved, "ben").await.unwrap();
    for _ in 0..3 {
        world.advance(SignedDuration::from_secs(40));
        world.deliver_due(&process).await;
    }
    assert_eq!(world.platform.calls(), 0);
    process.set_paused(false, "ana").await.unwrap();
    world.run(&process, 1).await;
    assert_eq!(
        (world.platform.running().as_str(), world.platform.effects()),
        (GOOD, 1),
        "the open approval counts once backout runs again"
    );
}

#[tokio::test]
async fn a_proposal_is_acted_on_when_approved_and_left_when_declined_or_expired() {
    for (verdict, effects) in [(Some(Verdict::Approved), 1), (Some(Verdict::Declined), 0), (None, 0)] {
        let mut checkout = service("checkout");
        checkout.mode = Mode::Propose;
        let world = World::with(policy(vec![checkout]));
        let firing = world.break_it().await;
        let process = world.process();
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        let record = world.record(&firing).await;
        assert_eq!(record.decision.as_ref().unwrap().kind, DecisionKind::Propose);
        if let Some(verdict) = verdict {
            process.answer(&record.id, verdict, "ben").await.unwrap();
            let twice = process.answer(&record.id, Verdict::Approved, "eve").await.unwrap_err().to_string();
            assert!(twice.contains("answered already, by ben"), "{twice}");
        }
        world.run(&process, 3).await;
        assert_eq!(world.platform.effects(), effects, "{verdict:?}");
        assert!(process.answer(&record.id, Verdict::Approved, "eve").await.is_err(), "used, declined or expired");
        assert_eq!(world.platform.effects(), effects);
    }
}

#[tokio::test]
async fn no_approval_sends_a_call_to_a_build_that_cannot_be_told() {
    for (mode, hidden_from_the_start) in [(Mode::Propose, false), (Mode::Propose, true), (Mode::Act, true)] {
        let mut checkout = service("checkout");
        checkout.mode = mode;
        let world = World::with(policy(vec![checkout]));
        let firing = world.break_it().await;
        let process = world.process();
        if hidden_from_the_start {
            world.platform.hide_what_staging_holds();
            process.alert_received(firing.clone(), &world.policy).await.unwrap();
            world.run(&process, 1).await;
            let id = world.record(&firing).await.id;
            let refused = process.answer(&id, Verdict::Approved, "ben").await.unwrap_err().to_string();
            assert_eq!(refused, format!("record `{id}` has no open proposal: its decision is page"));
        } else {
            process.alert_received(firing.clone(), &world.policy).await.unwrap();
            world.platform.hide_what_staging_holds();
            world.advance(SignedDuration::from_mins(6));
            process.answer(&world.record(&firing).await.id, Verdict::Approved, "ben").await.unwrap();
            world.run(&process, 1).await;
        }
        let decision = world.record(&firing).await.decision.unwrap();
        assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Page, RuleId::S5), "{decision:#?}");
        assert!(decision.because.ends_with("name `fingerprint:` for `checkout` in the policy"), "{}", decision.because);
        assert_eq!(world.platform.calls(), 0);
        let told = world.notifier.notices();
        assert!(told.iter().any(|notice| notice.text.contains("name `fingerprint:`")), "{told:?}");
    }
}

#[tokio::test]
async fn a_platform_that_cannot_be_read_is_asked_again_and_then_a_person_is_told() {
    for (times, calls, kind) in [(2, 1, DecisionKind::Act), (1000, 0, DecisionKind::Page)] {
        let world = World::new();
        let firing = world.break_it().await;
        world.platform.be_unreadable(times);
        let process = world.process();
        process.alert_received(firing.clone(), &world.policy).await.unwrap();
        assert_eq!(world.record(&firing).await.decision.unwrap().kind, DecisionKind::Hold);
        world.run(&process, 1).await;
        assert_eq!((world.platform.calls(), world.record(&firing).await.decision.unwrap().kind), (calls, kind));
    }
}

#[tokio::test]
async fn a_lost_wake_up_is_found_by_the_sweep() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.queue.lose_all();
    world.run(&process, 2).await;
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Recovered));
}

#[tokio::test]
async fn a_rollback_that_does_not_help_is_told_by_its_deadline_and_nothing_else_is_tried() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    // The fault was elsewhere: it goes on.
    let end = world.now() + SignedDuration::from_mins(40);
    while world.now() < end {
        world.deliver_due(&process).await;
        world.advance(SignedDuration::from_secs(30));
    }
    let record = world.record(&firing).await;
    assert_eq!((record.rollback, world.platform.effects()), (Some(RollbackState::NotRecovered), 1));
    let told = world.notifier.notices();
    assert!(told.iter().any(|notice| notice.title == "checkout: rolled back, but it did not help"), "{told:?}");
}

#[tokio::test]
async fn a_rollback_after_which_it_gets_worse_is_told_at_once_and_never_taken_back() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.advance(SignedDuration::from_mins(2));
    world.telemetry.from(world.now(), Some(0.9));
    // Told before the deadline of the recovery, and whatever fires later changes nothing.
    for minute in 0..60 {
        if minute == 12 {
            let record = world.record(&firing).await;
            assert_eq!(record.rollback, Some(RollbackState::NotRecovered), "{:#?}", record.timeline);
            process.alert_received(alert("later", "checkout", world.now()), &world.policy).await.unwrap();
        }
        world.deliver_due(&process).await;
        world.advance(SignedDuration::from_mins(1));
    }
    assert_eq!((world.platform.calls(), world.platform.running().as_str()), (1, GOOD));
    let record = world.record(&firing).await;
    assert!(record.decision.unwrap().reasons.iter().any(|reason| reason.rule == RuleId::V4));
    let told = world.notifier.notices();
    let worse = told.iter().filter(|notice| notice.title == "checkout: rolled back, and it got worse; a person must look now");
    assert_eq!(worse.count(), 1, "{told:?}");
}

#[tokio::test]
async fn recovery_without_data_is_unknown_not_good() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.telemetry.from(world.now(), None);
    let end = world.now() + SignedDuration::from_mins(40);
    while world.now() < end {
        world.deliver_due(&process).await;
        world.advance(SignedDuration::from_secs(30));
    }
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Unknown));
}

#[tokio::test]
async fn somebody_swapping_at_the_same_time_is_told_and_never_counter_acted() {
    let world = World::new();
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.advance(SignedDuration::from_secs(100));
    assert_eq!(world.platform.running(), GOOD);
    world.platform.team_swaps_in("build-43");
    world.run(&process, 3).await;
    let record = world.record(&firing).await;
    assert_eq!(
        (record.rollback, world.platform.calls(), world.platform.running().as_str()),
        (Some(RollbackState::Unknown), 1, "build-43")
    );
    let second = alert("a9", "checkout", world.now());
    process.alert_received(second.clone(), &world.policy).await.unwrap();
    assert_eq!(world.platform.calls(), 1, "the target stays blocked");
    process.clear(&world.target("checkout").key(), "ana").await.unwrap();
}

#[tokio::test]
async fn a_resolved_alert_ends_the_wait_and_comes_before_its_firing_too() {
    let world = World::new();
    let firing = world.break_it().await;
    world.telemetry.from(world.now() - SignedDuration::from_mins(9), Some(0.001));
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(world.record(&firing).await.decision.unwrap().kind, DecisionKind::Hold, "nothing is out of range");
    let resolved = Alert { condition: Condition::Resolved, resolved_at: Some(world.now()), ..firing.clone() };
    process.alert_received(resolved.clone(), &world.policy).await.unwrap();
    let decision = world.record(&firing).await.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Ignore, RuleId::A13));
    world.run(&process, 1).await;
    assert_eq!((world.platform.calls(), world.record(&firing).await.duplicates), (0, 0));

    let early = Alert { id: Some("b7".to_owned()), ..resolved };
    process.alert_received(early.clone(), &world.policy).await.unwrap();
    process
        .alert_received(Alert { condition: Condition::Fired, resolved_at: None, ..early.clone() }, &world.policy)
        .await
        .unwrap();
    let record = world.record(&early).await;
    assert_eq!((record.decision.unwrap().kind, record.duplicates, world.platform.calls()), (DecisionKind::Ignore, 1, 0));
}

#[tokio::test]
async fn a_deployment_event_after_its_alert_has_the_alert_judged_again() {
    let mut checkout = service("checkout");
    checkout.reversible = Reversible::Declared;
    let world = World::with(policy(vec![checkout]));
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    let decision = world.record(&firing).await.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Propose, RuleId::S2), "nobody declared it reversible");
    let marker = |id: &str| DeploymentEvent {
        id: Some(id.to_owned()),
        source: "cdevents".to_owned(),
        resources: vec![site("checkout").to_string()],
        operation: Some("dev.cdevents.service.deployed".to_owned()),
        status: DeploymentStatus::Succeeded,
        at: Some(world.now() - SignedDuration::from_mins(8)),
        subject: DeploymentSubject::default(),
        version: Some(BAD.to_owned()),
        reversible: Some(true),
        slots: None,
    };
    // A queue whose senders may not declare anything changes nothing; the trusted one does.
    process.deployment_received(marker("m1"), &world.policy, false).await.unwrap();
    assert_eq!(world.platform.calls(), 0);
    process.deployment_received(marker("m2"), &world.policy, true).await.unwrap();
    world.run(&process, 1).await;
    assert_eq!((world.platform.effects(), world.record(&firing).await.rollback), (1, Some(RollbackState::Recovered)));
}

/// Found by the simulation: a person did the same as our call, which undid it; once the target was free, what our call had left there
/// was taken back like any other version.
#[tokio::test]
async fn what_may_be_our_own_doing_is_not_taken_back_when_a_person_has_freed_the_target() {
    let mut world = World::new();
    // So long that what the person did is seen to help.
    world.platform.operation_takes = SignedDuration::from_mins(30);
    world.ports.platforms = Arc::new(OnePlatform(Arc::new(world.platform.clone())));
    let firing = world.break_it().await;
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.advance(SignedDuration::from_secs(20));
    world.platform.team_swaps_in(GOOD);
    world.run(&process, 1).await;
    let record = world.record(&firing).await;
    assert_eq!((world.platform.running().as_str(), world.platform.effects()), (BAD, 1));
    assert_eq!(record.rollback, Some(RollbackState::Unknown), "{:#?}", record.timeline);
    process.clear(&world.target("checkout").key(), "ann").await.unwrap();
    let again = alert("a2", "checkout", world.now() - SignedDuration::from_secs(20));
    process.alert_received(again.clone(), &world.policy).await.unwrap();
    world.run(&process, 1).await;
    let decision = world.record(&again).await.decision.unwrap();
    assert_eq!((world.platform.calls(), decision.kind), (1, DecisionKind::Page), "{decision:#?}");
    let may_be_ours = |reason: &Reason| reason.rule == RuleId::A2 && reason.says.contains("may be the result of");
    assert!(decision.reasons.iter().any(may_be_ours), "{decision:#?}");
}

/// Found by the simulation: a call of ours arrived after the last look, and what runs was freed with nothing that says so.
#[tokio::test]
async fn what_runs_when_a_person_frees_a_target_is_marked_as_maybe_ours() {
    let world = World::new();
    let firing = world.break_it().await;
    world.platform.answer_next(&[Answer::LostBeforeEffect]);
    let process = world.process();
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.platform.team_swaps_in("build-43");
    world.run(&process, 1).await;
    assert_eq!(world.record(&firing).await.rollback, Some(RollbackState::Unknown));
    world.platform.team_swaps_in("build-44");
    let target = world.target("checkout");
    process.clear(&target.key(), "ann").await.unwrap();
    let runs = world.ports.platforms.of(&target).observe().await.unwrap().running;
    let claim = world.ports.store.read(&keys::claim(&target.key(), &runs.token)).await.unwrap().unwrap();
    assert!(String::from_utf8(claim.body).unwrap().contains("\"tombstone\""), "{} may be ours", runs.label);
}
