//! One alert that means two services: one record, the changes of both side by side, and at most one rollback.

use std::sync::{Arc, Mutex};

use backout::{
    domain::{
        alert::Alert,
        approval::Verdict,
        decision::DecisionKind,
        deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
        record::RecordId,
        rollback::RollbackState,
        rule::RuleId,
        service::{AlertMatcher, Mode, Service},
    },
    process::PolicyTrouble,
};
use jiff::SignedDuration;

use crate::support::{
    broker::ChangingPolicy,
    leaks::watched_process,
    policy::{alert, policy, service, site},
    town::Town,
};

/// A service that the rule `shop-5xx` speaks about.
fn shop_service(name: &str, mode: Mode) -> Service {
    let mut service = service(name);
    service.mode = mode;
    service.alerts = vec![AlertMatcher { resource: None, rule: Some("shop-*".to_owned()), property: Vec::new() }];
    service
}

async fn shop(search: Mode) -> Town {
    Town::of(policy(vec![shop_service("checkout", Mode::Act), shop_service("search", search)])).await
}

/// The alert is about a resource of neither.
fn shop_alert(town: &Town) -> Alert {
    let mut alert = alert("shop", "front", town.world.now() - SignedDuration::from_mins(1));
    alert.rule = Some("shop-5xx".to_owned());
    alert
}

/// Delivers what is due, with copies of the alert and the timer in between, for two hours.
async fn hours_pass(town: &Town, firing: &Alert) {
    let process = town.world.process();
    for minute in 0..120 {
        town.minutes_pass(1);
        town.world.deliver_due(&process).await;
        if minute % 5 == 0 {
            process.sweep(&town.world.policy).await.unwrap();
        }
        if minute % 30 == 7 {
            process.alert_received(firing.clone(), &town.world.policy).await.unwrap();
        }
    }
}

#[tokio::test]
async fn both_with_a_fresh_change_are_both_named_and_a_person_chooses() {
    let town = shop(Mode::Act).await;
    for name in ["checkout", "search"] {
        town.deploy_bad(name);
        town.requests_fail(name);
    }
    town.minutes_pass(8);
    let firing = shop_alert(&town);
    let process = town.world.process();
    process.alert_received(firing.clone(), &town.world.policy).await.unwrap();
    let record = town.world.record(&firing).await;
    assert_eq!(record.services.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["checkout", "search"]);
    let decision = record.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Propose, RuleId::C6), "{decision:#?}");
    let mut candidates: Vec<&str> = decision.candidates.iter().map(|candidate| candidate.service.0.as_str()).collect();
    candidates.sort_unstable();
    assert_eq!(candidates, ["checkout", "search"], "the changes of both");
    assert_eq!(town.calls(), 0);
    let accused = decision.accused.unwrap().service.0;
    process.answer(&record.id, Verdict::Approved, "ana").await.unwrap();
    hours_pass(&town, &firing).await;
    // Nothing got better, and still the other one is left alone.
    assert_eq!((town.calls(), town.site(&accused).effects()), (1, 1));
    let record = town.world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::NotRecovered), "{:#?}", record.timeline);
    assert_eq!(process.records(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_one_with_a_change_is_the_one_that_is_taken_back() {
    for (changed, other) in [("checkout", "search"), ("search", "checkout")] {
        let town = shop(Mode::Act).await;
        town.deploy_bad(changed);
        // The fault shows on both, whoever caused it.
        town.requests_fail(changed);
        town.requests_fail(other);
        town.minutes_pass(8);
        let firing = shop_alert(&town);
        let process = town.world.process();
        for _ in 0..3 {
            process.alert_received(firing.clone(), &town.world.policy).await.unwrap();
        }
        let record = town.world.record(&firing).await;
        let decision = record.decision.unwrap();
        assert_eq!((decision.kind, record.duplicates), (DecisionKind::Act, 2), "{decision:#?}");
        assert_eq!(decision.accused.unwrap().service.0, changed);
        assert_eq!((town.site(changed).calls(), town.site(other).calls()), (1, 0));
        town.minutes_pass(2);
        town.requests_work(changed);
        town.requests_work(other);
        hours_pass(&town, &firing).await;
        let record = town.world.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{:#?}", record.timeline);
        assert_eq!((town.calls(), process.records(10).await.unwrap().len()), (1, 1));
    }
}

#[tokio::test]
async fn the_winner_that_does_not_help_is_not_followed_by_the_second() {
    let town = shop(Mode::Act).await;
    town.deploy_bad("search");
    town.minutes_pass(25);
    town.deploy_bad("checkout");
    town.requests_fail("checkout");
    town.requests_fail("search");
    town.minutes_pass(8);
    let firing = shop_alert(&town);
    let process = town.world.process();
    process.alert_received(firing.clone(), &town.world.policy).await.unwrap();
    let decision = town.world.record(&firing).await.decision.unwrap();
    assert_eq!((decision.kind, decision.candidates.len()), (DecisionKind::Act, 2), "{decision:#?}");
    assert_eq!(decision.accused.unwrap().service.0, "checkout", "the change just before the fault");
    // News about the other change, while the alert goes on.
    let late = DeploymentEvent {
        id: Some("late".to_owned()),
        source: "event-grid".to_owned(),
        resources: vec![site("search").to_string()],
        operation: Some("Microsoft.Web.SlotSwapCompleted".to_owned()),
        status: DeploymentStatus::Succeeded,
        at: Some(town.world.now() - SignedDuration::from_mins(33)),
        subject: DeploymentSubject::default(),
        version: None,
        reversible: None,
        slots: None,
    };
    process.deployment_received(late, &town.world.policy, true).await.unwrap();
    hours_pass(&town, &firing).await;
    let record = town.world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::NotRecovered), "{:#?}", record.timeline);
    assert_eq!((town.site("checkout").calls(), town.site("search").calls()), (1, 0));
}

#[tokio::test]
async fn the_mode_of_the_accused_counts_not_that_of_the_other() {
    for (changed, kind, calls) in [("checkout", DecisionKind::Act, 1), ("search", DecisionKind::Propose, 0)] {
        let town = shop(Mode::Propose).await;
        town.deploy_bad(changed);
        town.requests_fail(changed);
        town.minutes_pass(8);
        let firing = shop_alert(&town);
        town.world.process().alert_received(firing.clone(), &town.world.policy).await.unwrap();
        let decision = town.world.record(&firing).await.decision.unwrap();
        assert_eq!((decision.kind, town.calls()), (kind, calls), "{changed}: {decision:#?}");
    }
}

#[tokio::test]
async fn copies_at_once_lead_to_one_record_and_one_call() {
    let town = shop(Mode::Act).await;
    town.deploy_bad("search");
    town.requests_fail("search");
    town.minutes_pass(8);
    let firing = shop_alert(&town);
    let (one, other) = (town.world.process(), town.world.process());
    let (first, second) = tokio::join!(
        one.alert_received(firing.clone(), &town.world.policy),
        other.alert_received(firing.clone(), &town.world.policy)
    );
    first.unwrap();
    second.unwrap();
    town.minutes_pass(2);
    town.requests_work("search");
    hours_pass(&town, &firing).await;
    let record = town.world.record(&firing).await;
    assert_eq!((record.id, record.rollback), (RecordId::of(&firing), Some(RollbackState::Recovered)));
    assert_eq!((town.calls(), one.records(10).await.unwrap().len()), (1, 1));
}

/// Found by the simulation: without a policy the service that was rolled back was measured, and the other one called recovered.
#[tokio::test]
async fn that_one_does_well_is_no_recovery_of_the_other_while_the_policy_cannot_be_read() {
    let town = shop(Mode::Act).await;
    town.deploy_bad("checkout");
    town.requests_fail("checkout");
    town.requests_fail("search");
    town.minutes_pass(8);
    let firing = shop_alert(&town);
    let policy = Arc::new(ChangingPolicy(Mutex::new(Ok(Arc::clone(&town.world.policy)))));
    let process = watched_process(town.world.ports.clone(), Arc::<ChangingPolicy>::clone(&policy));
    process.alert_received(firing.clone(), &town.world.policy).await.unwrap();
    town.minutes_pass(2);
    town.requests_work("checkout");
    town.world.deliver_due(&process).await;
    assert_eq!(town.world.record(&firing).await.rollback, Some(RollbackState::Verifying));
    *policy.0.lock().unwrap() = Err(PolicyTrouble::Wrong("backout.yaml:5:11: `akt` is no mode".to_owned()));
    for _ in 0..10 {
        town.minutes_pass(1);
        town.world.deliver_due(&process).await;
    }
    let record = town.world.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Verifying), "{:#?}", record.timeline);
    *policy.0.lock().unwrap() = Ok(Arc::clone(&town.world.policy));
    hours_pass(&town, &firing).await;
    let record = town.world.record(&firing).await;
    assert_eq!((record.rollback, town.calls()), (Some(RollbackState::NotRecovered), 1), "{:#?}", record.timeline);
}

/// A service was renamed, say. What is left would be judged as if it were all that the alert is about.
#[tokio::test]
async fn an_alert_that_waits_is_a_page_once_the_policy_has_one_of_its_services_no_more() {
    let mut town = shop(Mode::Act).await;
    town.deploy_bad("checkout");
    town.deploy_bad("search");
    town.minutes_pass(1);
    let firing = shop_alert(&town);
    town.world.process().alert_received(firing.clone(), &town.world.policy).await.unwrap();
    assert_eq!(town.world.record(&firing).await.decision.unwrap().kind, DecisionKind::Hold);
    town.requests_fail("checkout");
    town.requests_fail("search");
    town.world.policy = Arc::new(policy(vec![shop_service("search", Mode::Act)]));
    hours_pass(&town, &firing).await;
    let record = town.world.record(&firing).await;
    let decision = record.decision.unwrap();
    assert_eq!((decision.kind, decision.reasons[0].rule), (DecisionKind::Page, RuleId::C4), "{:#?}", record.timeline);
    assert!(decision.because.contains("`checkout`, which this alert is about, is not in the policy any more"), "{decision:#?}");
    assert_eq!(town.calls(), 0);
}

#[tokio::test]
async fn that_one_does_well_is_no_recovery_of_another_that_the_policy_has_no_more() {
    let mut town = shop(Mode::Act).await;
    town.deploy_bad("checkout");
    town.requests_fail("checkout");
    town.requests_fail("search");
    town.minutes_pass(8);
    let firing = shop_alert(&town);
    town.world.process().alert_received(firing.clone(), &town.world.policy).await.unwrap();
    town.minutes_pass(2);
    town.requests_work("checkout");
    town.world.policy = Arc::new(policy(vec![shop_service("checkout", Mode::Act)]));
    hours_pass(&town, &firing).await;
    let record = town.world.record(&firing).await;
    assert_eq!((record.rollback, town.calls()), (Some(RollbackState::Unknown), 1), "{:#?}", record.timeline);
    let why = "`search` is not in the policy any more";
    assert!(record.timeline.iter().any(|entry| entry.what.contains(why)), "{:#?}", record.timeline);
}
