//! A version that an alert fired on is not proven good, whatever came of the messages that told so, and however many fired since.

use backout::domain::{
    alert::{Alert, Condition},
    decision::{DecisionKind, Effect},
    rule::RuleId,
};
use jiff::SignedDuration;

use crate::support::{
    lethal::Death,
    policy::alert,
    world::{BAD, World},
};

fn another_rules(mut firing: Alert) -> Alert {
    firing.rule = Some("checkout-slow".to_owned());
    firing
}

/// Fired 20 min before the end of the good version's service, and resolved 10 min before it.
async fn troubled() -> (World, Alert, Alert) {
    let world = World::new();
    world.process().sweep(&world.policy).await.unwrap();
    world.advance(SignedDuration::from_mins(20));
    let fired = another_rules(alert("on-the-good-one", "checkout", world.now()));
    world.advance(SignedDuration::from_mins(10));
    let resolved = Alert { condition: Condition::Resolved, resolved_at: Some(world.now()), ..fired.clone() };
    (world, fired, resolved)
}

/// The bad version comes, and its alert.
fn accused(world: &World) -> Alert {
    world.queue.lose_all();
    world.advance(SignedDuration::from_mins(10));
    world.platform.team_swaps_in(BAD);
    world.telemetry.from(world.now(), Some(0.31));
    world.advance(SignedDuration::from_mins(8));
    alert("a1", "checkout", world.now() - SignedDuration::from_mins(1))
}

async fn is_proposed(world: &World, firing: &Alert, says: &str) {
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    let decision = world.record(firing).await.decision.unwrap();
    let unproven = decision.reasons.iter().any(|reason| reason.rule == RuleId::S5 && reason.effect == Effect::Propose);
    assert_eq!((decision.kind, unproven, world.platform.calls()), (DecisionKind::Propose, true, 0), "{says}: {decision:#?}");
}

#[tokio::test]
async fn a_firing_that_arrives_after_its_end_or_never_counts() {
    for (copies_of_the_end, arrives) in [(1, true), (2, true), (1, false)] {
        let (world, fired, resolved) = troubled().await;
        for _ in 0..copies_of_the_end {
            world.process().alert_received(resolved.clone(), &world.policy).await.unwrap();
        }
        if arrives {
            world.process().alert_received(fired, &world.policy).await.unwrap();
        }
        let firing = accused(&world);
        is_proposed(&world, &firing, &format!("{copies_of_the_end} {arrives}")).await;
    }
}

#[tokio::test]
async fn one_that_is_below_the_gate_counts_as_little_when_its_end_comes_first() {
    let (world, _, mut resolved) = troubled().await;
    resolved.severity = None;
    world.process().alert_received(resolved, &world.policy).await.unwrap();
    let firing = accused(&world);
    world.process().alert_received(firing.clone(), &world.policy).await.unwrap();
    assert_eq!(world.record(&firing).await.decision.unwrap().kind, DecisionKind::Act);
}

#[tokio::test]
async fn a_firing_whose_handler_died_counts_once_it_is_resolved() {
    let (world, fired, _) = troubled().await;
    let calls = world.takes_in(&fired, None).await;
    for at_call in 1..=calls {
        for after_effect in [false, true] {
            let (world, fired, resolved) = troubled().await;
            let death = Death { at_call, after_effect };
            world.takes_in(&fired, Some(death)).await;
            world.process().alert_received(resolved, &world.policy).await.unwrap();
            let firing = accused(&world);
            is_proposed(&world, &firing, &format!("{death:?}")).await;
        }
    }
}

/// One rule that is split by dimension fires once for each.
#[tokio::test]
async fn a_firing_counts_though_more_fired_since_than_are_kept() {
    let (world, fired, resolved) = troubled().await;
    world.process().alert_received(fired, &world.policy).await.unwrap();
    world.process().alert_received(resolved, &world.policy).await.unwrap();
    let first = accused(&world);
    for number in 0..53 {
        let firing = Alert { id: Some(format!("of-dimension-{number}")), ..first.clone() };
        is_proposed(&world, &firing, &format!("number {number}")).await;
    }
}
