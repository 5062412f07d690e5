//! Which change is to blame (C1 to C10, S8), and whether it is bigger than us (P1).

use backout::domain::{
    decision::{
        DecisionKind::{Hold, Page, Propose},
        Effect,
    },
    deployment::DeploymentStatus,
    known::Known,
    rule::RuleId::{A2, A5, C1, C2, C3, C6, C8, E3, P1, S5, S8},
    target::Fingerprint,
};
use jiff::SignedDuration;

use super::case::{
    TestCase, at, build, case, check, check_acts, fault_from, firing, marker, minutes, quiet, rollout, seconds, share, token,
    word_of,
};

#[test]
fn c1_a_fault_before_the_rollout_clears_it() {
    // The onset's window ends 11:52:00; the allowance is a minute.
    check_acts(&case().rolled_out_at(at("11:52:59")));
    check_acts(&case().rolled_out_at(at("11:53:00")));
    let cleared = case().rolled_out_at(at("11:53:01"));
    let decision = check(&cleared, Hold, C8);
    assert!(word_of(&decision, C1, Effect::Note).contains("which is before build 42"), "{decision:#?}");
    assert_eq!((decision.candidates[0].cleared_by, decision.candidates[0].score), (Some(C1), 0.0));
    check(&cleared.after_every_wait(), Page, C8);
}

#[test]
fn c1_a_fault_that_came_and_went_before_the_rollout_asks_a_person() {
    // Out in the windows that ended in the first and second minute of every ten.
    let every_ten = case()
        .signal(share("10:30:00", "11:56:00", |end| {
            Some(if (1..=2).contains(&(end.as_second() / 60 % 10)) { 0.31 } else { 0.002 })
        }))
        .alert(|alert| alert.fired_at = Some(at("11:52:30")))
        .with(|case| {
            case.received_at = at("11:53:00");
            case.now = at("11:57:00");
        });
    let decision = check(&every_ten, Propose, C1);
    assert_eq!(
        decision.because,
        "`Http5xx of Requests` was out of its usual range before too, from the window that ended 2026-03-10T11:41:00Z on, so the \
         fault may be older than build 42"
    );
    assert!(
        word_of(&decision, C1, Effect::Note).contains(", from the window that ended 2026-03-10T11:51:00Z on"),
        "{decision:#?}"
    );
    // The allowance is a minute: what began in the window that ended 11:49:00 may have come of the rollout.
    let also = |out: [&str; 2]| {
        let out = out.map(at);
        case().signal(share("10:30:00", "11:59:00", |end| {
            Some(if out.contains(&end) || end >= at("11:53:00") { 0.31 } else { 0.002 })
        }))
    };
    check(&also(["11:43:00", "11:44:00"]), Propose, C1);
    check(&also(["11:48:00", "11:49:00"]), Propose, C1);
    check_acts(&also(["11:49:00", "11:50:00"]));
    check_acts(&also(["11:44:00", "11:47:00"]));
    // Of whichever signal.
    let mut second = also(["11:43:00", "11:44:00"]);
    second.0.services[0].signals.insert(0, Known::Value(fault_from("11:52:00")));
    check(&second, Propose, C1);
}

#[test]
fn c1_a_fault_that_went_with_a_rollback_of_ours_was_that_of_what_was_taken_back() {
    // Out in the windows that ended 11:00:00 to 11:06:00; `bad` was taken back, and the cool-down is over.
    let taken = |claimed_at: &str, result: Option<u32>| {
        let claimed_at = at(claimed_at);
        case()
            .signal(share("10:30:00", "11:59:00", |end| {
                Some(if (at("11:00:00")..=at("11:06:00")).contains(&end) || end >= at("11:52:00") { 0.31 } else { 0.002 })
            }))
            .state(|state| {
                let mut taken = super::case::taken_back("bad", 7, claimed_at);
                taken.result = result.map(|_| token("good"));
                taken.result_fingerprint = result.and_then(build);
                state.taken_back.push(taken);
            })
    };
    check_acts(&taken("11:04:00", Some(41)));
    check_acts(&taken("11:07:00", Some(41)));
    check(&taken("11:07:01", Some(41)), Propose, C1);
    // The recovery is watched for a quarter of an hour.
    check_acts(&taken("10:51:00", Some(41)));
    check(&taken("10:50:59", Some(41)), Propose, C1);
    check(&taken("11:04:00", None), Propose, C1);
    // A window without a value may be what went on after it.
    let mut holed = taken("11:04:00", Some(41));
    let Known::Value(series) = &mut holed.0.services[0].signals[0] else { panic!("a series") };
    for point in series.points.iter_mut().filter(|point| point.end == at("11:07:00")) {
        point.weight = None;
    }
    check(&holed, Hold, E3);
}

#[test]
fn e3_windows_without_a_value_may_hide_that_the_fault_came_and_went_before() {
    let without = |ends: &[&str], weight: Option<f64>| {
        let ends: Vec<_> = ends.iter().map(|end| at(end)).collect();
        let mut series = fault_from("11:52:00");
        for point in series.points.iter_mut().filter(|point| ends.contains(&point.end)) {
            point.weight = weight;
        }
        case().signal(series)
    };
    let decision = check(&without(&["11:40:00", "11:41:00"], None), Hold, E3);
    assert!(decision.because.contains("whether it was out of its usual range before"), "{}", decision.because);
    check(&without(&["11:40:00", "11:41:00"], None).after_the_evidence_wait(), Propose, E3);
    check(&without(&["11:40:00", "11:42:00"], None), Hold, E3);
    check_acts(&without(&["11:40:00", "11:43:00"], None));
    // Hardly any requests are no evidence of a fault, and none at all are known.
    check_acts(&without(&["11:40:00", "11:41:00"], Some(19.0)));
    check_acts(&without(&["11:40:00", "11:41:00"], Some(0.0)));
}

#[test]
fn c1_what_came_after_the_alert_did_not_cause_it() {
    // Without a measured onset the firing at 11:55:00 bounds it.
    let blind = |rolled_out_at| case().signal(quiet()).rolled_out_at(at(rolled_out_at));
    check(&blind("11:55:59"), Hold, C1);
    check(&blind("11:56:00"), Hold, C1);
    let decision = check(&blind("11:56:01"), Hold, C8);
    assert!(word_of(&decision, C1, Effect::Note).starts_with("the alert fired at"), "{decision:#?}");
}

/// No platform tells when users began to be sent to another build, only since when that build was there.
#[test]
fn c1_a_mix_began_after_another_version_was_last_seen() {
    let mix = |pushed_at: &str, last_seen_alone: &str| {
        let shared = Some(Fingerprint::shared(&[build(41).unwrap(), build(42).unwrap()]));
        case()
            .rolled_out_at(at(pushed_at))
            .observed(|observation| observation.running.fingerprint.clone_from(&shared))
            .state(|state| state.rollouts[0].last_seen_at = at(last_seen_alone))
    };
    let decision = check_acts(&mix("09:00:00", "11:49:00"));
    assert_eq!(decision.candidates[0].rolled_out_at, Some(at("11:49:00")));
    assert!(word_of(&decision, S5, Effect::Note).contains("to 2026-03-10T11:49:00Z"), "{decision:#?}");
    // The onset's window ends 11:52:00; the allowance is a minute.
    let cleared = check(&mix("09:00:00", "11:53:01"), Hold, C8);
    assert_eq!(cleared.candidates[0].cleared_by, Some(C1));
    // Nobody looked since the push: then that is all that is known.
    assert_eq!(check(&mix("09:00:00", "08:00:00"), Hold, C8).candidates[0].cleared_by, Some(C3));
    assert_eq!(check_acts(&mix("11:48:00", "11:40:00")).candidates[0].rolled_out_at, Some(at("11:48:00")));
    // What the platform tells exactly is not moved by our looks.
    let exact = case().state(|state| state.rollouts[0].last_seen_at = at("11:50:30"));
    assert_eq!(check_acts(&exact).candidates[0].rolled_out_at, Some(at("11:50:00")));
}

#[test]
fn c2_an_alert_that_fired_before_the_rollout_asks_a_person() {
    let fired = |before: SignedDuration| {
        case()
            .state(|state| state.firings.push(firing("old", at("11:50:00") - before, Some(at("11:50:00") - before + minutes(1)))))
    };
    let hours = SignedDuration::from_hours(72);
    check_acts(&fired(hours + seconds(1)));
    check(&fired(hours), Propose, C2);
    // Within the skew allowance it may well have fired after; then the good version's record tells of it, not C2.
    check(&fired(seconds(61)), Propose, C2);
    let decision = fired(seconds(60)).decide();
    assert!(decision.reasons.iter().all(|reason| reason.rule != C2), "{decision:#?}");
}

#[test]
fn c2_an_alert_that_itself_fired_before_the_rollout_asks_a_person() {
    // It was long under way: it arrived at 11:56, and the fault is measured from 11:51 on.
    let fired = |time: &str| case().alert(|alert| alert.fired_at = Some(at(time)));
    let decision = check(&fired("11:40:00"), Propose, C2);
    assert_eq!(decision.because, "this very alert fired at 2026-03-10T11:40:00Z, before build 42 began to serve");
    check(&fired("11:40:00").alert(|alert| alert.rule = None), Propose, C2);
    check(&fired("11:48:59"), Propose, C2);
    // Within the skew allowance it may well have fired after; but if not, it fired on the good version.
    let decision = check(&fired("11:49:00"), Propose, S5);
    assert!(decision.reasons.iter().all(|reason| reason.rule != C2), "{decision:#?}");
    check(&fired("11:49:59"), Propose, S5);
    check_acts(&fired("11:50:00"));
}

#[test]
fn c2_only_the_same_rule_on_the_same_resource_counts() {
    let of = |rule: &str, resource: String| {
        let mut earlier = firing("old", at("05:00:00"), Some(at("05:05:00")));
        earlier.rule = rule.to_owned();
        earlier.resource = resource;
        case().state(|state| state.firings.push(earlier))
    };
    check(&of("CHECKOUT-5XX", super::case::site("Checkout") + "/"), Propose, C2);
    check_acts(&of("checkout-cpu", super::case::site("checkout")));
    check_acts(&of("checkout-5xx", super::case::site("search")));
}

#[test]
fn c3_a_rollout_outside_the_window_is_too_old() {
    // The onset's window ends 11:52:00, 62 min after 10:50:00.
    let window =
        |length: SignedDuration| case().rolled_out_at(at("10:50:00")).policy(|service| service.correlation_window = length);
    check_acts(&window(minutes(62) + seconds(1)));
    check_acts(&window(minutes(62)));
    let decision = check(&window(minutes(62) - seconds(1)), Hold, C8);
    assert_eq!(decision.candidates[0].cleared_by, Some(C3));
}

#[test]
fn c6_one_change_stands_out_at_least_twofold() {
    // Onset 11:51. Build 42 at 11:50 scores 1; an upstream change d minutes before the onset 0.5 ^ ((d - 5) / 10).
    let beside = |since: &str| case().upstream("payments", at(since), fault_from("11:52:00"));
    check(&beside("11:50:00"), Propose, C6);
    check(&beside("11:36:01"), Propose, C6);
    let decision = check_acts(&beside("11:36:00"));
    assert_eq!(decision.candidates.iter().map(|c| c.service.0.as_str()).collect::<Vec<_>>(), ["checkout", "payments"]);
    assert!((decision.candidates[1].score - 0.5).abs() < 1e-9);
}

#[test]
fn c6_an_upstream_change_with_quiet_signals_is_a_weak_suspect() {
    let decision = check_acts(&case().upstream("payments", at("11:50:00"), quiet()));
    assert!((decision.candidates[1].score - 0.25).abs() < 1e-9);
}

#[test]
fn c6_an_upstream_change_with_unknown_signals_may_be_the_one() {
    let unknown = case()
        .upstream("payments", at("11:50:00"), quiet())
        .with(|case| case.services[1].signals = vec![Known::Unknown("403".to_owned())]);
    check(&unknown, Propose, C6);
    // Nor is it accused itself, on half of what it might be, against an older change of ours.
    let older = unknown.rolled_out_at(at("11:35:00"));
    check(&older, Propose, C6);
}

#[test]
fn c6_the_upstream_change_is_taken_back_when_it_is_to_blame() {
    let decision = check_acts(&case().rolled_out_at(at("11:10:00")).upstream("payments", at("11:50:00"), fault_from("11:52:00")));
    assert_eq!(decision.accused.expect("an accused version").service.0, "payments");
}

#[test]
fn c6_two_changes_of_one_target_are_weighed_too() {
    // Build 43 followed 42 within a minute: either may be it.
    let twice = case().state(|state| {
        state.rollouts.insert(1, rollout("between", 43, at("11:49:00")));
    });
    check(&twice, Propose, C6);
}

#[test]
fn c6_two_scores_of_nothing_are_a_tie() {
    let ages = |since: &str| since.parse::<jiff::Timestamp>().expect("a time");
    let long_ago = case()
        .policy(|service| service.correlation_window = SignedDuration::from_hours(24 * 60))
        .upstream("payments", ages("2026-02-20T11:00:00Z"), fault_from("11:52:00"))
        .rolled_out_at(ages("2026-02-20T10:00:00Z"))
        .with(|case| {
            case.services[1].service.correlation_window = SignedDuration::from_hours(24 * 60);
            case.services.iter_mut().for_each(|facts| facts.state.rollouts.clear());
        });
    let decision = long_ago.decide();
    assert_eq!(decision.candidates.iter().filter(|c| c.cleared_by.is_none()).count(), 2, "{decision:#?}");
    word_of(&decision, C6, Effect::Propose);
}

#[test]
fn c8_no_known_change_is_unknown() {
    let nothing = case().rolled_out_at(at("05:00:00"));
    let decision = check(&nothing, Hold, C8);
    assert!(decision.because.starts_with("no recent change of `checkout` is known"), "{}", decision.because);
    check(&nothing.after_the_evidence_wait(), Page, C8);
}

#[test]
fn c8_a_start_that_the_platform_does_not_tell_is_unknown_not_old() {
    let untold = case().observed(|observation| observation.running.serving_since = None);
    // A start that an earlier reading told still holds.
    check_acts(&untold);
    let never_told = untold.state(|state| {
        state.rollouts[1].serving_since = None;
    });
    check(&never_told, Hold, E3);
    check(&never_told.clone().after_the_evidence_wait(), Hold, E3);
    check(&never_told.clone().after_every_wait(), Page, E3);
    // We saw it ourselves long before: then it is old.
    let seen =
        |age| never_told.clone().state(|state| state.rollouts[1].first_seen_at = at("11:55:00") - age).decide().reasons[0].rule;
    assert_eq!(seen(minutes(61)), E3);
    assert_eq!(seen(minutes(61) + seconds(1)), C8);
}

#[test]
fn c8_an_upstream_change_that_cannot_be_read_waits_then_asks() {
    let half = case()
        .upstream("payments", at("05:00:00"), quiet())
        .with(|case| case.services[1].observation = Known::Unknown("503".to_owned()));
    check(&half, Hold, E3);
    check(&half.clone().after_the_evidence_wait(), Hold, E3);
    check(&half.after_every_wait(), Propose, E3);
    let own = case().facts(|facts| facts.observation = Known::Unknown("503".to_owned()));
    check(&own, Hold, E3);
    check(&own.after_every_wait(), Page, E3);
}

#[test]
fn c10_the_allowance_is_a_minute() {
    assert_eq!(backout::domain::policy::SKEW_ALLOWANCE, seconds(60));
}

#[test]
fn p1_alerts_that_no_one_change_explains_stand_down() {
    check_acts(&case().storm(3, at("11:58:00"), &[]));
    let decision = check(&case().storm(4, at("11:58:00"), &[]), Page, P1);
    assert!(decision.because.starts_with("alerts on at least 5 resources within 9 min"), "{}", decision.because);
    check(&case().storm(4, at("11:58:00"), &[]).approved(), Page, P1);
}

#[test]
fn p1_alerts_of_long_ago_are_no_storm() {
    check(&case().storm(4, at("11:51:00"), &[]), Page, P1);
    check_acts(&case().storm(4, at("11:50:59"), &[]));
}

#[test]
fn p1_the_storm_in_which_an_alert_arrived_counts_as_long_as_late_events_do() {
    let storms = |fired_at: &str, now: &str| {
        let decision = case().storm(4, at(fired_at), &[]).with(|case| case.now = at(now)).decide();
        decision.reasons.iter().any(|reason| (reason.rule, reason.effect) == (P1, Effect::Page))
    };
    for now in ["11:56:00", "12:01:01", "12:16:00"] {
        assert!(storms("11:51:00", now) && !storms("11:50:59", now), "{now}");
    }
    // After that the newest twenty-five minutes count.
    assert!(storms("11:51:01", "12:16:01") && !storms("11:51:00", "12:16:01"));
    assert!(storms("12:36:00", "13:01:00") && !storms("12:35:59", "13:01:00"));
}

#[test]
fn p1_five_dependents_of_one_bad_deployment_are_no_storm() {
    check_acts(&case().storm(5, at("11:58:00"), &["search", "checkout"]));
    // Another change of theirs does not explain ours.
    check(&case().storm(5, at("11:58:00"), &["search"]), Page, P1);
}

#[test]
fn p1_more_alerts_on_one_resource_are_one() {
    let repeated = case().storm(1, at("11:58:00"), &[]).with(|case| {
        let one = case.storm[0].clone();
        case.storm.extend(vec![one; 9]);
    });
    check_acts(&repeated);
    let own = case().storm(4, at("11:58:00"), &[]).with(|case| {
        case.storm[0].resource = super::case::site("checkout").to_ascii_lowercase();
    });
    check_acts(&own);
}

#[test]
fn s8_a_deployment_that_failed_took_no_effect() {
    let failed = case().rolled_out_at(at("05:00:00")).state(|state| {
        let mut failed = marker(at("11:50:00"), None);
        failed.status = DeploymentStatus::Failed;
        state.markers.push(failed);
    });
    let decision = check(&failed.after_the_evidence_wait(), Page, C8);
    assert!(word_of(&decision, S8, Effect::Note).contains("failed before it changed what serves"));
}

#[test]
fn a2_our_own_result_is_never_a_candidate() {
    let ours = |result: &str, content: u32| {
        case().state(|state| {
            let mut taken = super::case::taken_back("bad", 7, at("05:00:00"));
            taken.result = Some(token(result));
            taken.result_fingerprint = build(content);
            state.taken_back.push(taken);
        })
    };
    for ours in [ours("checkout-2", 9), ours("other", 42)] {
        let decision = check(&ours, Hold, C8);
        assert_eq!(decision.candidates[0].cleared_by, Some(A2));
        let decision = ours.approved().after_every_wait().decide();
        assert_eq!(decision.kind, Page, "no approval lifts A2: {decision:#?}");
    }
    check_acts(&ours("other", 9));
}

#[test]
fn a2_what_was_still_to_come_of_a_freed_target_may_be_ours_once() {
    // `bad` was accused at 11:20, and build 42 was to come of that.
    let expecting = |content: u32| {
        case().state(|state| {
            let mut taken = super::case::taken_back("bad", 7, at("11:20:00"));
            taken.expected = build(content);
            state.taken_back.push(taken);
            state.rollouts.insert(1, rollout("bad", 7, at("11:10:00")));
        })
    };
    let is_ours = |case: &TestCase| {
        let runs = case.decide().candidates.into_iter().find(|candidate| candidate.token == token("checkout-2"));
        runs.expect("what runs").cleared_by == Some(A2)
    };
    let decision = check(&expecting(42), Page, A5);
    let running = decision.candidates.iter().find(|candidate| candidate.token == token("checkout-2")).expect("what runs");
    assert!(running.cleared_by == Some(A2) && running.says.contains("may be the result of"), "{running:#?}");
    let approved = expecting(42).approved().after_every_wait().decide();
    assert_eq!(approved.kind, Page, "no approval lifts A2: {approved:#?}");
    assert!(!is_ours(&expecting(41)), "another content");
    // What cannot be read now may be it.
    let untold = |case: TestCase| {
        case.observed(|observation| observation.running.fingerprint = None).state(|state| {
            state.rollouts.last_mut().unwrap().fingerprint = None;
        })
    };
    assert!(is_ours(&untold(expecting(42))));
    // Once it was seen to come, and something else served since, it came by the team's hand.
    let came = |case: TestCase, number: u32| {
        case.state(|state| {
            state.rollouts.insert(2, rollout("came", number, at("11:22:00")));
            state.rollouts.insert(3, rollout("next", 43, at("11:30:00")));
        })
    };
    assert!(!is_ours(&came(expecting(42), 42)));
    assert!(!is_ours(&untold(came(expecting(42), 42))));
    assert!(is_ours(&came(expecting(42), 44)), "that was another one");
    // The same again, with nothing else in between, goes on with it.
    let again = expecting(42).state(|state| state.rollouts.insert(2, rollout("came", 42, at("11:45:00"))));
    assert!(is_ours(&again));
    // With the accused version forgotten, by the time of the claim and the allowance.
    let forgotten = |claimed_at: &str| {
        expecting(42).state(|state| {
            state.rollouts.remove(1);
            state.taken_back[0].claimed_at = at(claimed_at);
        })
    };
    assert!(is_ours(&forgotten("11:51:00")));
    assert!(!is_ours(&forgotten("11:51:01")));
    // What is known to have come of it is no riddle.
    let known = expecting(42).state(|state| {
        state.taken_back[0].result = Some(token("came"));
        state.taken_back[0].result_fingerprint = build(9);
    });
    assert!(!is_ours(&known));
}

#[test]
fn a5_a_version_that_does_not_run_any_more_is_not_taken_back() {
    // Build 42 came at 11:50; what runs now came after the fault.
    let replaced = case().state(|state| state.rollouts.push(rollout("checkout-3", 43, at("11:58:00")))).observed(|observation| {
        observation.running.token = token("checkout-3");
        observation.running.fingerprint = build(43);
        observation.running.serving_since = Some(at("11:58:00"));
        observation.running.label = "build 43".to_owned();
    });
    let decision = check(&replaced, Page, A5);
    assert_eq!(decision.because, "build 42 does not run any more; build 43 does");
    check(&replaced.approved(), Page, A5);
}
