//! A rollback takes one place in its subscription's budget, whatever dies on the way; its own place never stands in its own way.

use backout::{
    domain::{decision::DecisionKind, policy::Policy, rollback::RollbackState, rule::RuleId, target_state::TargetState},
    process::{
        documents::{Documents, keys},
        gather::BudgetDocument,
    },
};
use jiff::SignedDuration;

use crate::support::{
    lethal::Death,
    outage::Outage,
    policy::{alert, policy, service},
    town::Town,
    world::World,
};

fn one_rollback() -> Policy {
    let mut checkout = service("checkout");
    checkout.budget.rollbacks = 1;
    policy(vec![checkout])
}

async fn places(world: &World) -> usize {
    let key = keys::budget(&world.target("checkout").budget_scope());
    let budget = Documents::new(world.ports.store.clone()).read::<BudgetDocument>(&key).await.unwrap();
    budget.map_or(0, |budget| budget.value.reservations.len())
}

/// Two targets, and both see that one place is left.
#[tokio::test]
async fn whoever_comes_too_late_for_the_last_place_has_tried_nothing() {
    let mut services = ["checkout", "search"].map(service);
    for service in &mut services {
        service.budget.rollbacks = 1;
    }
    let mut town = Town::of(policy(services.into())).await;
    // Whoever asks the store lets others go on.
    town.world.ports = Outage::none_yet(town.world.clock.clone()).of_store(&town.world.ports);
    for name in ["checkout", "search"] {
        town.deploy_bad(name);
        town.requests_fail(name);
    }
    town.minutes_pass(8);
    let firings = ["checkout", "search"].map(|name| alert(name, name, town.world.now() - SignedDuration::from_mins(1)));
    let process = town.world.process();
    let [one, other] = firings.clone().map(|firing| process.alert_received(firing, &town.world.policy));
    let (one, other) = tokio::join!(one, other);
    one.unwrap();
    other.unwrap();
    town.minutes_pass(1);
    town.world.deliver_due(&process).await;
    let mut decided = Vec::new();
    for (firing, name) in firings.iter().zip(["checkout", "search"]) {
        let decision = town.world.record(firing).await.decision.unwrap();
        let key = keys::target(&town.world.target(name).key());
        let state = Documents::new(town.world.ports.store.clone()).read::<TargetState>(&key).await.unwrap().unwrap().value;
        decided.push((decision.kind, decision.reasons[0].rule, state.taken_back.len()));
    }
    decided.sort_by_key(|decided| decided.2);
    let [(kind, rule, tried), (DecisionKind::Act, _, 1)] = decided[..] else { panic!("{decided:?}") };
    assert_eq!((kind, rule, tried), (DecisionKind::Propose, RuleId::A6, 0));
    assert_eq!((town.calls(), places(&town.world).await), (1, 1));
}

/// Returns the number of calls when nobody dies, and whether it recovered.
async fn dies_once(death: Option<Death>) -> (u64, bool) {
    let world = World::with(one_rollback());
    let firing = world.break_it().await;
    let calls = world.takes_in(&firing, death).await;
    let process = world.process();
    world.queue.unlock_all();
    world.advance(SignedDuration::from_secs(20));
    process.alert_received(firing.clone(), &world.policy).await.unwrap();
    world.run(&process, 3).await;
    let record = world.record(&firing).await;
    let says = format!("{death:?}: {:#?}", record.timeline);
    let reasons = &record.decision.as_ref().expect("decided").reasons;
    assert!(reasons.iter().all(|reason| reason.rule != RuleId::A6), "{says}");
    let recovered = record.rollback == Some(RollbackState::Recovered);
    assert_eq!(places(&world).await, usize::from(recovered), "{says}");
    (calls, recovered)
}

#[tokio::test]
async fn a_death_on_the_way_neither_loses_nor_doubles_a_place() {
    let (calls, recovered) = Box::pin(dies_once(None)).await;
    assert!(recovered);
    let mut recovered = 0;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            recovered += u32::from(Box::pin(dies_once(Some(Death { at_call, after_effect }))).await.1);
        }
    }
    assert!(recovered > 10, "{recovered} recovered");
}
