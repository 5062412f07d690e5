//! A rollback takes one place in its subscription's budget, whatever dies on the way; its own place never stands in its own way.

use backout::{
    domain::{policy::Policy, rollback::RollbackState, rule::RuleId},
    process::{
        documents::{Documents, keys},
        gather::BudgetDocument,
    },
};
use jiff::SignedDuration;

use crate::support::{
    lethal::Death,
    policy::{policy, service},
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
