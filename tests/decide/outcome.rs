//! How the answers are weighed: the strongest effect decides.

use backout::domain::{
    alert::Condition,
    decision::{
        DecisionKind::{Hold, Ignore, Page, Propose},
        Effect,
    },
    known::Known,
    rule::RuleId::{A4, A7, E1, S2},
    service::Reversible,
};

use super::case::{at, case, check, minutes, quiet, seconds};

#[test]
fn the_more_careful_outcome_wins() {
    let asks = case().policy(|service| service.reversible = Reversible::Declared);
    check(&asks, Propose, S2);
    let waits = asks.observed(|observation| observation.under_way = Some("a slot swap".to_owned()));
    check(&waits, Hold, A4);
    let pages = waits.state(|state| state.frozen = Some("a person must look".to_owned()));
    check(&pages, Page, A7);
    let decision = check(&pages.alert(|alert| alert.condition = Condition::Resolved), Ignore, E1);
    let effects: Vec<Effect> = decision.reasons.iter().map(|reason| reason.effect).collect();
    assert!(effects.is_sorted_by(|a, b| a >= b), "the deciding one first: {effects:?}");
}

#[test]
fn a_proposal_without_a_way_back_is_a_page() {
    let nowhere = case().policy(|service| service.reversible = Reversible::Declared).facts(|facts| {
        facts.observation = Known::Unknown("503".to_owned());
    });
    assert_eq!(nowhere.after_every_wait().decide().kind, Page);
}

#[test]
fn a_hold_looks_again_soon_and_later_more_seldom() {
    let next = |tries| {
        let case = case().signal(quiet()).policy(|service| service.evidence_wait = minutes(60)).with(|case| case.tries = tries);
        case.decide().look_again_at.expect("a time to look again").duration_since(at("12:00:00"))
    };
    let pauses: Vec<i64> = [0, 1, 2, 4, 6, 7, u32::MAX].into_iter().map(|tries| next(tries).as_secs()).collect();
    assert_eq!(pauses, [30, 30, 60, 120, 300, 300, 300]);
}

#[test]
fn a_hold_ends() {
    // Whatever is unknown, follow each Hold to its end.
    let blind = case().with(|case| {
        case.paused = Known::Unknown("503".to_owned());
        let facts = &mut case.services[0];
        facts.signals = vec![Known::Unknown("403".to_owned())];
        facts.preflight = Known::Unknown("403".to_owned());
        facts.budget_used = Known::Unknown("503".to_owned());
        if let Known::Value(observation) = &mut facts.observation {
            observation.under_way = Some("a slot swap".to_owned());
        }
    });
    let unread = blind.clone().facts(|facts| facts.observation = Known::Unknown("503".to_owned()));
    for mut case in [blind, unread] {
        let mut looks = 0;
        while let Some(next) = case.decide().look_again_at {
            assert!(next > case.0.now && next <= case.0.now + seconds(300), "a look moves on");
            case.0.now = next;
            case.0.tries += 1;
            looks += 1;
            assert!(looks < 50, "a Hold without an end");
        }
        assert_eq!(case.decide().kind, Page);
        assert!(case.0.now <= at("12:21:00"), "ended at {}", case.0.now);
    }
}
