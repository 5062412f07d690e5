//! Is going back safe, and to what (S1 to S10).

use backout::{
    decide::{history::absorb_observation, way_back},
    domain::{
        decision::{
            DecisionKind::{Act, Hold, Page, Propose},
            Effect,
        },
        known::Known,
        observation::{ObstacleWeight, Preflight},
        rule::RuleId::{C2, S1, S2, S3, S5, S9, S10},
        service::Reversible,
        target::Fingerprint,
        target_state::{ForgottenFirings, Rollout},
    },
};
use jiff::SignedDuration;

use super::case::{
    TestCase, at, build, case, check, check_acts, firing, marker, minutes, obstacle, rollout, seconds, taken_back, way, word_of,
};

#[test]
fn s1_a_one_way_door_is_not_walked_back() {
    check(&case().policy(|service| service.reversible = Reversible::Never), Propose, S1);
    let declared = |word| case().state(|state| state.markers.push(marker(at("11:48:00"), word)));
    check(&declared(Some(false)), Propose, S1);
    check_acts(&declared(Some(true)));
    check_acts(&declared(None));
    // A pipeline's yes does not open what the policy closed.
    check(&declared(Some(true)).policy(|service| service.reversible = Reversible::Never), Propose, S1);
}

#[test]
fn s1_one_no_outweighs_every_yes() {
    check(
        &case().state(|state| {
            state.markers =
                vec![marker(at("11:47:00"), Some(true)), marker(at("11:48:00"), Some(false)), marker(at("11:49:00"), Some(true))];
        }),
        Propose,
        S1,
    );
}

#[test]
fn s2_reversibility_must_be_declared() {
    let declared = |word: Option<bool>, at| {
        case().policy(|service| service.reversible = Reversible::Declared).state(|state| state.markers.push(marker(at, word)))
    };
    check(&case().policy(|service| service.reversible = Reversible::Declared), Propose, S2);
    check(&declared(None, at("11:48:00")), Propose, S2);
    check(&declared(Some(false), at("11:48:00")), Propose, S1);
    check_acts(&declared(Some(true), at("11:48:00")));
    // Half an hour and the allowance on either side.
    check_acts(&declared(Some(true), at("11:19:00")));
    check(&declared(Some(true), at("11:18:59")), Propose, S2);
    check_acts(&declared(Some(true), at("12:21:00")));
    check(&declared(Some(true), at("12:21:01")), Propose, S2);
}

#[test]
fn s2_the_yes_to_another_change_is_none_to_this_one() {
    // Build 41 came at this time, and build 42 at 11:50:00.
    let declared = |before: &str, said_at: &str, word| {
        let (before, said_at) = (at(before), at(said_at));
        case().policy(|service| service.reversible = Reversible::Declared).state(|state| {
            state.rollouts[0] = rollout("checkout-1", 41, before);
            state.markers.push(marker(said_at, Some(word)));
        })
    };
    check(&declared("11:15:00", "11:22:00", true), Propose, S2);
    check(&declared("11:15:00", "11:32:29", true), Propose, S2);
    check_acts(&declared("11:15:00", "11:32:30", true));
    check_acts(&declared("11:15:00", "12:00:00", true));
    check(&declared("11:19:30", "11:19:30", true), Propose, S2);
    // A no is heard from farther away.
    check(&declared("11:15:00", "11:22:00", false), Propose, S1);
    // The same content again is no other change.
    let again = declared("11:15:00", "11:42:00", true);
    check_acts(&again.state(|state| state.rollouts.insert(1, rollout("first", 42, at("11:45:00")))));
}

#[test]
fn s3_no_deployment_is_skipped() {
    // The slot holds what served before the last one.
    let skipped = case().state(|state| state.rollouts.insert(1, rollout("between", 40, at("08:00:00"))));
    let decision = check(&skipped, Propose, S3);
    assert_eq!(decision.because, "build 41 lies 2 deployments back, and what lies between may not be skipped");
    check_acts(&skipped.observed(|observation| observation.ways_back = vec![way("slot staging", 40)]));
}

#[test]
fn s3_a_build_that_shared_the_users_is_no_step() {
    let shared = Fingerprint::shared(&[build(41).unwrap(), build(42).unwrap()]);
    let ramped = case().state(|state| {
        let mix = Rollout { fingerprint: Some(shared), ..rollout("mix", 0, at("11:30:00")) };
        state.rollouts.insert(1, mix);
    });
    let decision = check_acts(&ramped);
    assert!(word_of(&decision, S5, Effect::Note).contains("to 2026-03-10T11:30:00Z"), "what it served alone: {decision:#?}");
    assert!(decision.candidates.iter().all(|candidate| !candidate.label.contains("build 0")), "{decision:#?}");
}

#[test]
fn s3_a_version_without_a_start_is_a_step_too() {
    let untold = case().state(|state| {
        let mut between = rollout("between", 40, at("11:30:00"));
        between.serving_since = None;
        state.rollouts.insert(0, between);
    });
    let decision = check(&untold, Propose, S3);
    assert!(word_of(&decision, S5, Effect::Note).contains("to 2026-03-10T11:30:20Z"), "{decision:#?}");
}

/// Build 41 served for this long before 11:50.
fn served_for(length: SignedDuration) -> TestCase {
    case().state(|state| state.rollouts[0] = rollout("checkout-1", 41, at("11:50:00") - length))
}

#[test]
fn s5_the_good_version_served_long_enough() {
    check(&served_for(minutes(30) - seconds(1)), Propose, S5);
    check_acts(&served_for(minutes(30)));
}

#[test]
fn s5_the_good_version_is_not_the_current_one() {
    let same = case().observed(|observation| observation.ways_back = vec![way("slot staging", 42)]);
    let decision = check(&same, Page, S5);
    assert_eq!(decision.because, "slot staging holds the same build that runs now");
    assert_eq!(decision.accused.expect("an accused version").way_back, None);
    check(&same.approved(), Page, S5);
}

#[test]
fn s5_the_good_version_was_not_itself_taken_back() {
    let taken = case().state(|state| state.taken_back.push(taken_back("long-ago", 41, at("02:00:00"))));
    check(&taken, Page, S5);
    check(&taken.approved(), Page, S5);
}

#[test]
fn s5_the_good_version_still_exists() {
    let gone = case().observed(|observation| observation.ways_back.clear());
    let decision = check(&gone, Page, S5);
    assert_eq!(decision.because, "no place holds an earlier version of `checkout` to go back to");
    check(&gone.approved(), Page, S5);
}

#[test]
fn s5_no_alert_fired_while_the_good_version_served() {
    let fired = |fired_at: &str, resolved_at: Option<&str>| {
        case().state(|state| {
            let mut other = firing("other", at(fired_at), resolved_at.map(at));
            other.rule = "checkout-cpu".to_owned();
            state.firings.push(other);
        })
    };
    check(&fired("11:40:00", Some("11:45:00")), Propose, S5);
    check(&fired("05:00:00", None), Propose, S5);
    // Resolved half an hour before its end: healthy since.
    check(&fired("05:00:00", Some("11:20:01")), Propose, S5);
    check_acts(&fired("05:00:00", Some("11:20:00")));
    // What fired after it is about its successor.
    check_acts(&fired("11:50:00", None));
    check(&fired("11:49:59", None), Propose, S5);
}

#[test]
fn s5_an_alert_that_was_not_over_when_the_good_version_came_is_its_trouble_too() {
    // It fired on build 40; build 41 came at 11:10.
    let over = |resolved_at: Option<&str>| {
        case().state(|state| {
            state.rollouts.insert(0, rollout("checkout-0", 40, at("05:00:00")));
            state.rollouts[1] = rollout("checkout-1", 41, at("11:10:00"));
            let mut other = firing("other", at("11:00:00"), resolved_at.map(at));
            other.rule = "checkout-cpu".to_owned();
            state.firings.push(other);
        })
    };
    let decision = check(&over(Some("11:45:00")), Propose, S5);
    assert_eq!(
        decision.because,
        "an alert that fired at 2026-03-10T11:00:00Z was not over until 2026-03-10T11:45:00Z, while build 41 served, so it is not \
         proven good"
    );
    check(&over(Some("11:20:01")), Propose, S5);
    check_acts(&over(Some("11:20:00")));
    // Many an alert is never told to be over; that says nothing of what came after.
    check_acts(&over(None));
}

#[test]
fn s5_a_version_whose_alerts_are_not_all_kept_is_not_proven() {
    // Build 41 served from 09:50 of the day before until 11:50.
    let forgotten = |last_fired_at: &str, over_at: Option<&str>| {
        let last_fired_at = last_fired_at.parse().unwrap();
        let forgotten = ForgottenFirings { last_fired_at, over_at: over_at.map(at) };
        case().alert(|alert| alert.rule = None).state(|state| state.forgotten_firings = Some(forgotten))
    };
    check(&forgotten("2026-03-10T11:40:00Z", Some("11:45:00")), Propose, S5);
    check(&forgotten("2026-03-10T05:00:00Z", None), Propose, S5);
    check(&forgotten("2026-03-09T09:50:00Z", None), Propose, S5);
    check_acts(&forgotten("2026-03-09T09:49:59Z", None));
    check(&forgotten("2026-03-09T09:49:59Z", Some("11:20:01")), Propose, S5);
    check_acts(&forgotten("2026-03-09T09:49:59Z", Some("11:20:00")));
    check(&forgotten("2026-03-10T05:00:00Z", Some("11:20:01")), Propose, S5);
    check_acts(&forgotten("2026-03-10T05:00:00Z", Some("11:20:00")));
    // Since the accused version serves, older ones may have been forgotten with them.
    let decision = check(&forgotten("2026-03-10T11:58:00Z", None), Propose, S5);
    assert!(decision.because.contains("those until 2026-03-10T11:58:00Z are not all kept"), "{}", decision.because);
    check_acts(&forgotten("2026-03-10T11:58:00Z", None).approved());
}

#[test]
fn c2_an_earlier_firing_may_be_one_that_is_not_kept() {
    let forgotten = |last_fired_at: &str| {
        let last_fired_at = last_fired_at.parse().unwrap();
        let forgotten = ForgottenFirings { last_fired_at, over_at: Some(at("11:00:00")) };
        case().state(|state| state.forgotten_firings = Some(forgotten))
    };
    let decision = check(&forgotten("2026-03-10T10:00:00Z"), Propose, C2);
    assert!(
        decision.because.contains("whether this one fired before build 42 began to serve is not known"),
        "{}",
        decision.because
    );
    check(&forgotten("2026-03-07T11:50:00Z"), Propose, C2);
    check_acts(&forgotten("2026-03-07T11:49:59Z"));
    check_acts(&forgotten("2026-03-10T10:00:00Z").approved());
}

#[test]
fn s5_a_version_that_was_never_seen_is_not_proven() {
    let unseen = case().observed(|observation| observation.ways_back = vec![way("slot staging", 7)]);
    check(&unseen, Propose, S5);
    check(&case().state(|state| state.rollouts.clear()), Propose, S5);
    let decision = unseen.approved().decide();
    assert_eq!(decision.kind, Act, "a person may know better: {decision:#?}");
}

#[test]
fn s5_content_that_cannot_be_told_apart_is_not_proven() {
    let untold = || case().observed(|observation| observation.ways_back[0].fingerprint = None);
    check(&untold(), Hold, S5);
    check(&untold().after_the_evidence_wait(), Page, S5);
    check(&case().observed(|observation| observation.running.fingerprint = None), Propose, S5);
}

#[test]
fn s5_no_approval_lifts_that_the_content_of_the_way_back_cannot_be_told() {
    let untold = || {
        case().after_the_evidence_wait().observed(|observation| {
            observation.ways_back[0].fingerprint = None;
            observation.ways_back[0].label = "unknown build".to_owned();
        })
    };
    let decision = check(&untold().approved(), Page, S5);
    assert_eq!(
        decision.because,
        "what slot staging holds (unknown build) cannot be told from other builds, so nobody could tell whether going back to it worked; name `fingerprint:` for `checkout` in the policy"
    );
    assert_eq!(decision.accused.expect("an accused version").way_back, None, "there is nothing to approve");
    // While it may still be read, neither an approval nor anything else sends a call.
    let early = case().observed(|observation| observation.ways_back[0].fingerprint = None);
    check(&early.approved(), Hold, S5);
    // Another way, whose content is told, is taken instead.
    let second = case().observed(|observation| {
        observation.ways_back[0].fingerprint = None;
        observation.ways_back.push(way("slot last-good", 41));
    });
    let decision = check_acts(&second);
    assert_eq!(decision.accused.expect("an accused version").way_back.expect("a way back").name, "slot last-good");
}

#[test]
fn s5_the_first_proven_way_is_taken() {
    let ways = |numbers: &[u32]| {
        case().observed(|observation| {
            observation.ways_back = numbers.iter().map(|number| way(&format!("slot {number}"), *number)).collect();
        })
    };
    let name = |case: &TestCase| case.decide().accused.expect("an accused version").way_back.map(|way| way.name);
    check_acts(&ways(&[42, 7, 41]));
    assert_eq!(name(&ways(&[42, 7, 41])).as_deref(), Some("slot 41"));
    check(&ways(&[42, 7, 8]), Propose, S5);
    assert_eq!(name(&ways(&[42, 7, 8])).as_deref(), Some("slot 7"));
}

#[test]
fn s6_the_state_before_is_kept_from_the_first_sight() {
    let mut case = case().state(|state| state.rollouts.pop().map_or((), drop));
    let facts = &mut case.0.services[0];
    let Known::Value(first) = facts.observation.clone() else { panic!("an observation") };
    let mut later = first.clone();
    later.observed_at += minutes(5);
    later.ways_back = vec![way("slot staging", 99)];
    absorb_observation(&mut facts.state, &first);
    absorb_observation(&mut facts.state, &later);
    let kept = &facts.state.rollouts[1];
    assert_eq!(kept.before, [("slot staging".to_owned(), build(41))]);
    assert_eq!((kept.first_seen_at, kept.last_seen_at), (first.observed_at, later.observed_at));
}

#[test]
fn s9_rights_and_locks_are_checked_before() {
    let checked = |weight| {
        case().facts(|facts| {
            facts.preflight = Known::Value(Preflight { obstacles: vec![obstacle(S9, weight)], ways_back: Vec::new() });
        })
    };
    check(&checked(ObstacleWeight::Page), Page, S9);
    check(&checked(ObstacleWeight::Page).approved(), Page, S9);
    check(&checked(ObstacleWeight::Propose), Propose, S9);
    let unchecked = case().facts(|facts| facts.preflight = Known::Unknown("403".to_owned()));
    check(&unchecked, Hold, S9);
    check(&unchecked.clone().after_the_evidence_wait(), Hold, S9);
    check(&unchecked.after_every_wait(), Propose, S9);
    check(&case().observed(|observation| observation.obstacles.push(obstacle(S9, ObstacleWeight::Page))), Page, S9);
}

#[test]
fn s9_a_closed_way_leaves_the_others_open() {
    let two = case().observed(|observation| observation.ways_back.push(way("slot last-good", 41)));
    let closed = two.facts(|facts| {
        facts.preflight = Known::Value(Preflight {
            obstacles: Vec::new(),
            ways_back: vec![("slot staging".to_owned(), vec![obstacle(S9, ObstacleWeight::Page)])],
        });
    });
    let decision = check_acts(&closed);
    assert_eq!(decision.accused.expect("an accused version").way_back.expect("a way back").name, "slot last-good");
    // The obstacle of a way that is not taken does not count.
    let only = closed.observed(|observation| observation.ways_back.truncate(1));
    check(&only, Page, S9);
}

#[test]
fn s10_the_slot_holds_the_expected_build() {
    let stale = case().observed(|observation| observation.ways_back[0].obstacles.push(obstacle(S10, ObstacleWeight::Propose)));
    check(&stale, Propose, S10);
    // Somebody redeployed staging: what is there now never served.
    check(&case().observed(|observation| observation.ways_back[0].fingerprint = build(43)), Propose, S5);
}

#[test]
fn s5_only_what_is_proven_may_be_named() {
    let proven = |case: &TestCase| {
        let facts = &case.0.services[0];
        way_back::proven(&facts.service, &facts.state, facts.observation.value().unwrap())
    };
    let good = build(41).unwrap();
    assert_eq!(proven(&case()), std::slice::from_ref(&good), "never what runs");
    assert_eq!(proven(&served_for(minutes(30))), std::slice::from_ref(&good));
    assert_eq!(proven(&served_for(minutes(30) - seconds(1))), []);
    let taken = case().state(|state| state.taken_back.push(taken_back("earlier", 41, at("05:00:00"))));
    assert_eq!(proven(&taken), []);
    let troubled = case().state(|state| state.firings.push(firing("r", at("11:40:00"), None)));
    assert_eq!(proven(&troubled), []);
    let unknown = case().observed(|observation| observation.running.fingerprint = None);
    assert_eq!(proven(&unknown), []);
    let mix = Fingerprint::shared(&[good.clone(), build(42).unwrap()]);
    let mixed = case().state(|state| state.rollouts[0].fingerprint = Some(mix));
    assert_eq!(proven(&mixed), [], "a mix is no version");
    // The last to serve comes first.
    let older = case()
        .state(|state| state.rollouts.insert(0, rollout("checkout-0", 40, at("09:50:00") - SignedDuration::from_hours(48))));
    assert_eq!(proven(&older), [good, build(40).unwrap()]);
}

#[test]
fn s3_a_place_that_holds_the_last_version_is_taken_before_one_that_skips_it() {
    let older = |ways: [u32; 2]| {
        case()
            .state(|state| state.rollouts.insert(0, rollout("checkout-0", 40, at("09:50:00") - SignedDuration::from_hours(48))))
            .observed(|observation| observation.ways_back = vec![way("slot a", ways[0]), way("slot b", ways[1])])
    };
    let decision = check_acts(&older([40, 41]));
    assert_eq!(decision.accused.unwrap().way_back.unwrap().name, "slot b");
    let decision = check(&older([40, 40]), Propose, S3);
    assert_eq!(decision.accused.unwrap().way_back.unwrap().name, "slot a", "then the policy's order");
}

#[test]
fn s3_what_was_taken_back_between_lies_between_no_more() {
    let back = |seen: &str| {
        case().state(|state| {
            let mut bad = rollout("bad", 39, at("10:00:00"));
            bad.last_seen_at = at("10:10:00");
            state.rollouts.insert(1, bad);
            // The good version came back under its own name.
            state.rollouts[0].last_seen_at = at(seen);
        })
    };
    check_acts(&back("11:00:00"));
    check(&back("09:55:00"), Propose, S3);
}
