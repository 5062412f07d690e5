//! What served when, by content: a rollout in shares is one story, and the same content again goes on with its service.

use backout::{
    decide::{
        history::absorb_observation,
        once::is_flapping,
        serving::{Period, periods},
    },
    domain::{
        decision::{
            Decision,
            DecisionKind::{Act, Hold, Page, Propose},
            Effect,
        },
        known::Known,
        rule::RuleId::{C1, C2, C3, C6, C8, S1, S3, S5},
        target::Fingerprint,
        target_state::{Rollout, TargetState},
    },
};
use jiff::{SignedDuration, Timestamp};

use super::case::{
    TestCase, at, build, case, check, check_acts, fault_from, firing, marker, minutes, quiet, rollout, taken_back, token, way,
    word_of,
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn mix(name: &str, new: u32, since: Timestamp) -> Rollout {
    let fingerprint = Fingerprint::weighted(&[(build(41).unwrap(), 100 - new), (build(42).unwrap(), new)]);
    Rollout { fingerprint: Some(fingerprint), label: format!("{new} % build 42"), ..rollout(name, 0, since) }
}

/// These served, the last of them does.
fn served(rollouts: Vec<Rollout>) -> TestCase {
    let running = rollouts.last().expect("what runs").clone();
    case().state(|state| state.rollouts = rollouts).observed(|observation| {
        observation.running.token = running.token;
        observation.running.fingerprint = running.fingerprint;
        observation.running.serving_since = running.serving_since;
        observation.running.label = running.label;
    })
}

/// Build 41 for a day, written again without another content; 10 % and 50 % of build 42, then all.
fn staged(first: Timestamp, half: Timestamp, all: Timestamp) -> Vec<Rollout> {
    vec![
        rollout("old", 41, first - HOUR * 24),
        rollout("created", 41, first - minutes(5)),
        mix("ten", 10, first),
        mix("half", 50, half),
        rollout("all", 42, all),
    ]
}

fn shape(case: &TestCase) -> Vec<Vec<String>> {
    let names = |period: Period| period.rollouts.iter().map(|rollout| rollout.token.0.clone()).collect();
    let facts = &case.0.services[0];
    periods(&facts.state, facts.observation.value()).into_iter().map(names).collect()
}

fn began(decision: &Decision) -> Vec<Option<Timestamp>> {
    decision.candidates.iter().map(|candidate| candidate.rolled_out_at).collect()
}

#[test]
fn a_rollout_in_shares_is_one_story_from_its_first_users() {
    let case = served(staged(at("11:30:00"), at("11:40:00"), at("11:50:00")));
    let decision = check_acts(&case);
    assert_eq!(began(&decision), [Some(at("11:30:00"))], "one candidate: {decision:#?}");
    let accused = decision.accused.as_ref().expect("an accused version");
    assert_eq!((accused.token.0.as_str(), &accused.fingerprint), ("all", &build(42)), "the claim names the last rollout");
    assert_eq!(accused.rolled_out_at, Some(at("11:30:00")), "whether going back helped is judged by what was before it");
    let good = word_of(&decision, S5, Effect::Note);
    assert!(good.contains("from 2026-03-09T11:30:00Z to 2026-03-10T11:30:00Z"), "what it served alone: {good}");
    assert!(decision.reasons.iter().all(|reason| reason.rule != S3), "{decision:#?}");
}

#[test]
fn an_alert_on_the_way_accuses_the_mix() {
    let mut rollouts = staged(at("11:40:00"), at("11:50:00"), at("12:00:00"));
    rollouts.truncate(4);
    let decision = check_acts(&served(rollouts));
    assert_eq!(began(&decision), [Some(at("11:40:00"))]);
    assert_eq!(decision.accused.expect("an accused version").token, token("half"));
}

#[test]
fn a_write_that_changes_nothing_that_serves_is_no_rollout() {
    let mut rollouts = staged(at("11:30:00"), at("11:40:00"), at("11:50:00"));
    rollouts.push(rollout("scaled", 42, at("11:58:00")));
    let decision = check_acts(&served(rollouts.clone()));
    assert_eq!(began(&decision), [Some(at("11:30:00"))]);
    assert_eq!(decision.accused.expect("an accused version").token, token("scaled"), "a token stays the name of one rollout");
    // Also when what runs was never seen before this alert.
    let case = served(rollouts).state(|state| state.rollouts.pop().map_or((), drop));
    assert_eq!(check_acts(&case).accused.expect("an accused version").token, token("scaled"));
}

#[test]
fn c1_a_fault_before_the_first_users_clears_the_story() {
    // The onset's window ends 11:52:00; the allowance is a minute.
    let first = |first| served(staged(at(first), at("11:55:00"), at("11:57:00")));
    check_acts(&first("11:53:00"));
    let decision = check(&first("11:53:01"), Hold, C8);
    assert_eq!(decision.candidates[0].cleared_by, Some(C1));
}

#[test]
fn c3_the_last_step_before_the_fault_counts() {
    // The onset's window ends 11:52:00; its first users came the day before.
    let step = |half: Timestamp| served(staged(at("11:52:00") - HOUR * 24, half, at("11:53:30")));
    check_acts(&step(at("10:52:00")));
    let decision = check(&step(at("10:51:59")), Hold, C8);
    assert_eq!(decision.candidates[0].cleared_by, Some(C3));
    // What the good one served alone ended a day ago.
    let good = check_acts(&step(at("10:52:00")));
    assert!(word_of(&good, S5, Effect::Note).contains("to 2026-03-09T11:52:00Z"), "{good:#?}");
}

#[test]
fn c6_suspicion_runs_from_the_last_step_before_the_fault() {
    // Onset 11:51: `payments` is half as suspicious at 11:36.
    let beside =
        |all| served(staged(at("11:00:00"), at("11:10:00"), all)).upstream("payments", at("11:36:00"), fault_from("11:52:00"));
    check_acts(&beside(at("11:50:00")));
    check(&beside(at("11:45:59")), Propose, C6);
    // A repetition makes it no more suspicious.
    let repeated = |name: &str| {
        let mut rollouts = staged(at("11:00:00"), at("11:10:00"), at("11:45:59"));
        rollouts.push(rollout(name, 42, at("11:50:00")));
        served(rollouts).upstream("payments", at("11:36:00"), fault_from("11:52:00"))
    };
    check(&repeated("all-again"), Propose, C6);
}

#[test]
fn c6_a_repetition_elsewhere_is_not_ruled_out() {
    // `payments` is a day old and was written again with the same content, as when a secret changes.
    let written_again = |again: Timestamp| {
        case().upstream("payments", at("05:00:00"), quiet()).with(|case| {
            let payments = &mut case.services[1];
            let Known::Value(observation) = &mut payments.observation else { panic!("an observation") };
            observation.running.token = token("payments-3");
            observation.running.serving_since = Some(again);
            payments.signals = vec![Known::Unknown("403".to_owned())];
        })
    };
    check(&written_again(at("11:45:00")), Propose, C6);
    check(&written_again(at("11:56:00")), Propose, C6);
    // After the alert, and the allowance, it had no part in it; nor long before.
    check_acts(&written_again(at("11:56:01")));
    check_acts(&written_again(at("10:40:00")));
}

#[test]
fn c8_an_old_content_that_was_written_again_is_not_accused() {
    let decision = check(
        &served(vec![
            rollout("a", 41, at("11:50:00") - HOUR * 48),
            rollout("b", 42, at("05:00:00")),
            rollout("c", 42, at("11:50:00")),
        ])
        .after_every_wait(),
        Page,
        C8,
    );
    assert!(word_of(&decision, C3, Effect::Note).contains("rolled out again at 2026-03-10T11:50:00Z"), "{decision:#?}");
}

#[test]
fn s5_time_in_service_counts_over_repetitions() {
    let repeated = |since: Timestamp| {
        served(vec![rollout("a", 41, since), rollout("b", 41, at("11:45:00")), rollout("c", 42, at("11:50:00"))])
    };
    check_acts(&repeated(at("11:20:00")));
    check(&repeated(at("11:20:01")), Propose, S5);
    // Something else in between ends it.
    let between = case().state(|state| {
        state
            .rollouts
            .splice(0..1, [rollout("a", 41, at("05:00:00")), rollout("x", 7, at("11:20:01")), rollout("b", 41, at("11:20:01"))]);
    });
    check(&between, Propose, S5);
    // An alert over the whole of it counts.
    let fired = repeated(at("05:00:00")).state(|state| state.firings.push(firing("old", at("05:10:00"), None)));
    assert!(fired.decide().reasons.iter().any(|reason| reason.rule == S5 && reason.effect == Effect::Propose));
}

#[test]
fn unknown_content_breaks_the_chain() {
    let blind = |fingerprint: Option<Fingerprint>| {
        let mut between = rollout("b", 41, at("11:40:00"));
        between.fingerprint = fingerprint;
        served(vec![
            rollout("a", 41, at("05:00:00")),
            between,
            rollout("c", 41, at("11:45:00")),
            rollout("d", 42, at("11:50:00")),
        ])
    };
    assert_eq!(shape(&blind(build(41))), [vec!["a", "b", "c"], vec!["d"]]);
    assert_eq!(shape(&blind(None)), [vec!["a"], vec!["b"], vec!["c"], vec!["d"]]);
    let decision = blind(None).decide();
    assert!(decision.kind != Act, "{decision:#?}");
    assert!(decision.reasons.iter().any(|reason| reason.rule == S5 && reason.effect == Effect::Propose), "{decision:#?}");
    // Two unknown contents are not the same one.
    let mut unknown = rollout("a", 41, at("05:00:00"));
    unknown.fingerprint = None;
    let twice = served(vec![unknown.clone(), Rollout { token: token("b"), ..unknown }]);
    assert_eq!(shape(&twice).len(), 2);
}

#[test]
fn a_rollback_of_ours_breaks_the_chain() {
    let again = |accused: &str| {
        served(vec![rollout("a", 41, at("05:00:00")), rollout("b", 42, at("11:10:00")), rollout("c", 42, at("11:50:00"))])
            .state(|state| state.taken_back.push(taken_back(accused, 42, at("11:20:00"))))
    };
    assert_eq!(shape(&again("b")), [vec!["a"], vec!["b"], vec!["c"]]);
    assert_eq!(shape(&again("other")), [vec!["a"], vec!["b", "c"]]);
    assert!(again("b").decide().candidates.iter().any(|candidate| candidate.rolled_out_at == Some(at("11:50:00"))));
}

#[test]
fn a_mix_that_ended_as_it_began_is_no_rollout_of_what_stayed() {
    // Build 42 got a tenth of the users and lost it again; 41 has served all along, and 40 before it.
    let aborted = served(vec![
        rollout("older", 40, at("11:50:00") - HOUR * 72),
        rollout("old", 41, at("11:50:00") - HOUR * 24),
        mix("ten", 10, at("11:50:00")),
        rollout("back", 41, at("11:54:00")),
    ])
    .observed(|observation| observation.ways_back = vec![way("revision 40", 40), way("revision 42", 42)]);
    let decision = check(&aborted.after_every_wait(), Page, C8);
    assert_eq!(decision.candidates.iter().filter(|candidate| candidate.cleared_by.is_none()).count(), 0, "{decision:#?}");
}

#[test]
fn a_second_try_begins_a_story_of_its_own() {
    let again = served(vec![
        rollout("old", 41, at("05:00:00")),
        mix("ten", 10, at("10:30:00")),
        rollout("back", 41, at("10:40:00")),
        mix("ten-again", 10, at("11:45:00")),
        rollout("all", 42, at("11:50:00")),
    ]);
    let decision = check_acts(&again);
    assert_eq!(began(&decision), [Some(at("11:45:00"))]);
    assert!(word_of(&decision, S5, Effect::Note).contains("from 2026-03-10T10:40:00Z to 2026-03-10T11:45:00Z"), "{decision:#?}");
}

#[test]
fn a_word_near_any_step_counts() {
    let said = |word, moment: &str| {
        served(staged(at("10:30:00"), at("11:10:00"), at("11:50:00")))
            .state(|state| state.markers.push(marker(at(moment), Some(word))))
    };
    check(&said(false, "10:29:00"), Propose, S1);
    // Half an hour and the allowance before the first users, and after the last step.
    check(&said(false, "09:59:00"), Propose, S1);
    check_acts(&said(false, "09:58:59"));
    check(&said(false, "12:21:00"), Propose, S1);
    check_acts(&said(false, "12:21:01"));
}

#[test]
fn c2_an_alert_at_the_first_share_is_none_before_the_rollout() {
    let fired = |moment: &str| {
        served(staged(at("11:30:00"), at("11:40:00"), at("11:50:00")))
            .state(|state| state.firings.push(firing("old", at(moment), Some(at(moment) + minutes(1)))))
    };
    check_acts(&fired("11:35:00"));
    check(&fired("11:28:59"), Propose, C2);
}

#[test]
fn the_same_content_again_is_no_turn() {
    let turns = |names: &[(&str, u32)]| {
        let mut state = TargetState::new(case().0.services[0].service.target.key());
        state.rollouts = names
            .iter()
            .zip(0..)
            .map(|((name, number), minute)| rollout(name, *number, at("11:40:00") + minutes(minute)))
            .collect();
        is_flapping(&state, minutes(30), at("12:00:00"))
    };
    assert!(turns(&[("a", 41), ("b", 42), ("c", 41), ("d", 42)]));
    assert!(turns(&[("a", 41), ("b", 42), ("b2", 42), ("c", 41), ("d", 42), ("d2", 42)]));
    assert!(!turns(&[("a", 41), ("a2", 41), ("b", 42), ("b2", 42)]));
    assert!(!turns(&[("a", 41), ("b", 42), ("c", 41), ("c2", 41)]));
}

#[test]
fn many_writes_do_not_push_out_since_when_a_content_served() {
    let mut case = case();
    let facts = &mut case.0.services[0];
    facts.state.rollouts = vec![rollout("first", 40, at("05:00:00")), rollout("old", 41, at("06:00:00"))];
    facts.state.taken_back.push(taken_back("write-3", 41, at("06:30:00")));
    let Known::Value(mut seen) = facts.observation.clone() else { panic!("an observation") };
    for index in 0..30 {
        seen.running.token = token(&format!("write-{index}"));
        seen.running.fingerprint = build(41);
        seen.running.serving_since = Some(at("06:10:00") + minutes(index));
        seen.observed_at = at("06:10:30") + minutes(index);
        absorb_observation(&mut facts.state, &seen);
    }
    let names: Vec<&str> = facts.state.rollouts.iter().map(|rollout| rollout.token.0.as_str()).collect();
    assert_eq!(names.len(), TargetState::ROLLOUTS_MAX);
    assert_eq!(&names[..4], ["first", "old", "write-3", "write-4"], "where a rollback of ours broke the chain stays told");
    assert_eq!(names.last(), Some(&"write-29"));
    assert_eq!(facts.state.rollouts[1].last_seen_at, at("06:12:30"), "it was seen to serve until then");
    assert_eq!(facts.state.rollouts[1].serving_since, Some(at("06:00:00")));
}
