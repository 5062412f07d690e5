//! May we act now, and at all (A1 to A13, T3).

use backout::{
    decide::case::OBSTRUCTED_WAIT,
    domain::{
        approval::Verdict,
        decision::{
            DecisionKind::{Act, Hold, Ignore, Page, Propose},
            Effect,
        },
        known::Known,
        observation::WayBack,
        record::RecordId,
        rollback::{Busy, Phase},
        rule::RuleId::{self, A1, A4, A6, A7, A10, A11, C6, S2, S3, S5, T3},
        service::{Mode, Reversible},
        target_state::Declined,
    },
};
use jiff::SignedDuration;
use serde_json::json;

use super::case::{
    TestCase, approval, at, build, case, check, check_acts, fault_from, marker, minutes, quiet, rollout, seconds, service,
    taken_back, token, way, word_of,
};

#[test]
fn a1_one_version_is_taken_back_at_most_once() {
    let again =
        |ago: SignedDuration| case().state(|state| state.taken_back.push(taken_back("checkout-2", 1, at("12:00:00") - ago)));
    check(&again(minutes(1)), Page, A1);
    check(&again(SignedDuration::from_hours(24 * 365)), Page, A1);
    check(&again(minutes(1)).approved(), Page, A1);
}

fn busy(case: &TestCase) -> Busy {
    let facts = &case.0.services[0];
    Busy {
        record: RecordId("other".to_owned()),
        service: facts.service.clone(),
        accused: token("checkout-2"),
        accused_fingerprint: build(42),
        good: way("slot staging", 41),
        steps: Vec::new(),
        step: 0,
        phase: Phase::Claimed,
        operation: None,
        since: at("11:58:00"),
        next_step_at: at("12:00:30"),
        tries: 0,
        wake_up_sent_for: None,
        not_sent_attempt: None,
        refused: None,
        applied_at: None,
        result: None,
        left_to_a_person: None,
    }
}

#[test]
fn a4_nothing_is_decided_while_an_operation_is_under_way() {
    let under_way = case().observed(|observation| observation.under_way = Some("a slot swap".to_owned()));
    let decision = check(&under_way, Hold, A4);
    assert_eq!(decision.because, "an operation is under way on `checkout`: a slot swap");
    check(&under_way.clone().after_the_evidence_wait(), Hold, A4);
    check(&under_way.clone().approved(), Hold, A4);
    check(&under_way.clone().after_every_wait(), Page, A4);
    check(&under_way.approved().after_every_wait(), Page, A4);
}

#[test]
fn a4_nothing_is_decided_while_a_rollback_of_ours_is_under_way() {
    let rollback = busy(&case());
    let own = case().state(|state| state.busy = Some(Box::new(rollback.clone())));
    let decision = check(&own, Hold, A4);
    assert_eq!(decision.because, "a rollback of `checkout` is under way for record other");
    check(&own.clone().approved(), Hold, A4);
    check(&own.after_every_wait(), Page, A4);
    let upstream = case()
        .upstream("payments", at("05:00:00"), quiet())
        .with(|case| case.services[1].state.busy = Some(Box::new(Busy { service: service("payments"), ..rollback })));
    check(&upstream, Hold, A4);
}

#[test]
fn a4_an_obstruction_is_waited_for_until_its_deadline() {
    // Twenty minutes from the receipt; longer where the evidence wait is.
    let looked = |waited: SignedDuration, evidence_wait: SignedDuration| {
        case()
            .observed(|observation| observation.under_way = Some("a slot swap".to_owned()))
            .policy(|service| service.evidence_wait = evidence_wait)
            .with(|case| case.received_at = case.now - waited)
            .decide()
            .kind
    };
    assert_eq!(OBSTRUCTED_WAIT, minutes(20));
    assert_eq!(looked(minutes(20) - seconds(1), minutes(2)), Hold);
    assert_eq!(looked(minutes(20), minutes(2)), Page);
    assert_eq!(looked(minutes(28) - seconds(1), minutes(25)), Hold, "25 min, and a lag of 3");
    assert_eq!(looked(minutes(28), minutes(25)), Page);
}

#[test]
fn a6_the_cool_down_of_a_target() {
    let ago = |ago: SignedDuration| case().state(|state| state.taken_back.push(taken_back("earlier", 7, at("12:00:00") - ago)));
    check_acts(&ago(minutes(30)));
    let decision = check(&ago(minutes(30) - seconds(1)), Propose, A6);
    // Nothing may have come of it.
    assert_eq!(decision.because, "`checkout` was to be rolled back 29 min ago; its cool-down is 30 min");
    let done = ago(minutes(1)).state(|state| state.taken_back[0].result = Some(token("result")));
    assert_eq!(check(&done, Propose, A6).because, "`checkout` was rolled back 1 min ago; its cool-down is 30 min");
    check_acts(&ago(minutes(1)).approved());
}

#[test]
fn a6_the_budget_of_a_subscription() {
    let used = |used| case().facts(|facts| facts.budget_used = Known::Value(used));
    check_acts(&used(2));
    check(&used(3), Propose, A6);
    check(&used(4), Propose, A6);
    check_acts(&used(3).approved());
    check(&case().policy(|service| service.budget.rollbacks = 0), Propose, A6);
    let unread = case().facts(|facts| facts.budget_used = Known::Unknown("503".to_owned()));
    check(&unread, Hold, A6);
    check(&unread.after_every_wait(), Propose, A6);
}

#[test]
fn a7_a_flapping_target_is_left_to_a_person() {
    let turns = |first: &str| {
        case().state(|state| {
            state.rollouts = vec![
                rollout("t1", 41, at(first)),
                rollout("t2", 42, at("11:35:00")),
                rollout("t3", 41, at("11:40:00")),
                rollout("checkout-2", 42, at("11:50:00")),
            ];
        })
    };
    check(&turns("11:30:00"), Page, A7);
    check(&turns("11:30:00").approved(), Page, A7);
    let outside = turns("11:29:59").decide();
    assert!(outside.reasons.iter().all(|reason| reason.rule != A7), "{outside:#?}");
    let other = turns("11:30:00").state(|state| state.rollouts[0].fingerprint = build(40)).decide();
    assert!(other.reasons.iter().all(|reason| reason.rule != A7), "{other:#?}");
    let frozen = case().state(|state| state.frozen = Some("its last rollback ended in doubt".to_owned()));
    check(&frozen, Page, A7);
    check(&frozen.approved(), Page, A7);
}

#[test]
fn a10_the_kill_switch() {
    let paused = case().with(|case| case.paused = Known::Value(Some("Ada".to_owned())));
    check(&paused, Propose, A10);
    check(&paused.clone().approved(), Propose, A10);
    let unread = case().with(|case| case.paused = Known::Unknown("503".to_owned()));
    check(&unread, Hold, A10);
    check(&unread.clone().approved(), Hold, A10);
    check(&unread.clone().after_every_wait(), Page, A10);
    check(&unread.approved().after_every_wait(), Page, A10);
}

#[test]
fn a11_an_approval_lifts_what_asks_for_a_person() {
    for asks in [
        case().policy(|service| service.mode = Mode::Propose),
        case().policy(|service| service.reversible = Reversible::Declared),
        case().policy(|service| service.reversible = Reversible::Never),
        case().facts(|facts| facts.budget_used = Known::Value(9)),
        case().upstream("payments", at("11:50:00"), fault_from("11:53:00")),
        case().signal(quiet()).after_the_evidence_wait(),
    ] {
        assert_eq!(asks.decide().kind, Propose);
        let decision = asks.approved().decide();
        assert_eq!(decision.kind, Act, "{decision:#?}");
        assert_eq!(word_of(&decision, A11, Effect::Note), "Ada approved it at 2026-03-10T11:59:00Z");
        assert!(decision.reasons.iter().any(|reason| reason.says.ends_with("(approved by Ada)")));
    }
}

#[test]
fn a11_an_approval_ends_the_wait_for_evidence() {
    check(&case().signal(quiet()), Hold, RuleId::C1);
    assert_eq!(case().signal(quiet()).approved().decide().kind, Act);
}

#[test]
fn a11_an_approval_of_another_version_is_none() {
    let other = case().with(|case| case.approval = Some(approval(Verdict::Approved, "checkout-1")));
    check(&other, Page, A11);
    let nobody = case().rolled_out_at(at("05:00:00")).approved();
    check(&nobody, Page, A11);
}

#[test]
fn a11_an_approval_is_one_of_the_way_back_that_was_proposed() {
    let approved = case().policy(|service| service.mode = Mode::Propose).approved();
    assert_eq!(approved.decide().kind, Act);
    let holds = |ways_back: Vec<WayBack>| approved.clone().observed(|observation| observation.ways_back = ways_back);
    let decision = check(&holds(vec![way("slot staging", 43)]), Page, A11);
    assert_eq!(
        decision.because,
        "Ada approved going back to build 41, held by slot staging; now the way back is build 43, held by slot staging, so the \
         approval does not count; decide by hand"
    );
    // The same build from elsewhere is another call.
    check(&holds(vec![way("slot last-good", 41)]), Page, A11);
    let older = holds(vec![way("slot staging", 40)])
        .state(|state| state.rollouts.insert(0, rollout("checkout-0", 40, at("02:00:00") - SignedDuration::from_hours(48))));
    assert!(word_of(&check(&older, Page, A11), S3, Effect::Propose).contains("2 deployments back"));
    assert_eq!(holds(vec![way("slot older", 7), way("slot staging", 41)]).decide().kind, Act);
}

#[test]
fn a11_an_approval_lifts_no_word_against_going_back_that_came_after_it() {
    let asks = || case().policy(|service| service.mode = Mode::Propose);
    let declared = |case: TestCase| case.state(|state| state.markers.push(marker(at("11:50:00"), Some(false))));
    let decision = check(&declared(asks().approved()), Page, A11);
    assert_eq!(
        decision.because,
        "Ada approved it before this was known, so the approval does not count: the pipeline declared build 42 irreversible; stop \
         further rollouts and decide by hand"
    );
    assert_eq!(declared(asks()).approved().decide().kind, Act, "whoever approved knew it");
}

#[test]
fn a11_an_approval_of_an_earlier_version_tells_no_way_back_and_is_none() {
    let stored =
        json!({ "verdict": "approved", "token": "checkout-2", "by": "Ada", "at": "2026-03-10T11:59:00Z", "used": false });
    let read = serde_json::from_value(stored).expect("an approval as earlier versions kept it");
    check(&case().with(|case| case.approval = Some(read)), Page, A11);
}

#[test]
fn a11_a_used_approval_lifts_nothing() {
    let used = case().policy(|service| service.mode = Mode::Propose).approved().with(|case| {
        if let Some(approval) = &mut case.approval {
            approval.used = true;
        }
    });
    check(&used, Propose, T3);
}

#[test]
fn a11_after_a_persons_no_nothing_acts_by_itself() {
    let declined = |of: &str| case().with(|case| case.approval = Some(approval(Verdict::Declined, of)));
    let decision = check(&declined("checkout-2"), Propose, A11);
    assert_eq!(decision.because, "Ada declined it at 2026-03-10T11:59:00Z");
    check_acts(&declined("checkout-1"));
}

#[test]
fn a11_a_persons_no_holds_for_every_other_alert_about_that_version() {
    let declined = |of: &str| {
        case().state(|state| {
            let no = Declined { record: RecordId("other".to_owned()), token: token(of), at: at("11:58:00") };
            state.declined.push(no);
        })
    };
    let decision = check(&declined("checkout-2"), Propose, A11);
    let because = "a person declined taking build 42 back at 2026-03-10T11:58:00Z (record other), so it is not done without a \
                   person's yes";
    assert_eq!(decision.because, because);
    check_acts(&declined("checkout-2").approved());
    check_acts(&declined("checkout-1"));
}

#[test]
fn t3_the_lowest_mode_counts() {
    for (mode, ceiling, kind) in [
        (Mode::Act, None, Act),
        (Mode::Act, Some(Mode::Act), Act),
        (Mode::Act, Some(Mode::Propose), Propose),
        (Mode::Act, Some(Mode::Observe), Ignore),
        (Mode::Propose, None, Propose),
        (Mode::Propose, Some(Mode::Act), Propose),
        (Mode::Propose, Some(Mode::Observe), Ignore),
        (Mode::Observe, None, Ignore),
        (Mode::Observe, Some(Mode::Act), Ignore),
    ] {
        let case = case().policy(|service| service.mode = mode).with(|case| case.mode_ceiling = ceiling);
        check(&case, kind, if kind == Act { C6 } else { T3 });
    }
}

#[test]
fn t3_observe_only_records() {
    let observed = |case: TestCase| case.policy(|service| service.mode = Mode::Observe);
    let decision = check(&observed(case()), Ignore, T3);
    assert!(
        decision.because.starts_with("the mode is `observe` (its policy): backout would have rolled back: build 42"),
        "{}",
        decision.because
    );
    assert!(decision.accused.is_some_and(|accused| accused.way_back.is_some()), "the record says what would have been");
    let asked = observed(case().policy(|service| service.reversible = Reversible::Declared));
    assert!(check(&asked, Ignore, T3).because.contains("would have proposed a rollback"));
    word_of(&asked.decide(), S2, Effect::Propose);
    let paged = observed(case().observed(|observation| observation.ways_back.clear()));
    assert!(check(&paged, Ignore, T3).because.contains("would have told a person"));
    word_of(&paged.decide(), S5, Effect::Page);
    check(&observed(case().signal(quiet())), Hold, RuleId::C1);
    check(&observed(case()).approved(), Ignore, T3);
    // Where no change stands out, the most careful of the services meant speaks.
    check(&observed(case().rolled_out_at(at("05:00:00"))).after_every_wait(), Ignore, T3);
}
