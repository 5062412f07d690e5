//! Is the alert evidence (E1 to E9), and what do the measurements say.

use backout::{
    decide::{
        decide_without_reading,
        evidence::{self, SignalReading},
    },
    domain::{
        alert::{AlertSchema, AlertSignal, Condition, Severity},
        decision::{
            DecisionKind::{Hold, Ignore, Page, Propose},
            Effect,
        },
        known::Known,
        rule::RuleId::{A13, C1, C4, E1, E2, E3, E5, E8, E9},
        series::{Series, WorseWhen},
        target::Target,
    },
};

use super::case::{alert, at, case, check, check_acts, fault_from, id, minutes, quiet, seconds, service, share, site, word_of};

#[test]
fn the_case_acts() {
    let decision = check_acts(&case());
    assert_eq!(
        decision.because,
        "build 42 began to serve at 2026-03-10T11:50:00Z; `Http5xx of Requests` went from 0.2 % to 31.0 %, first in the \
         window that ended 2026-03-10T11:52:00Z; going back to build 41, held by slot staging"
    );
    assert_eq!(decision.look_again_at, None);
    let accused = decision.accused.expect("an accused version");
    assert_eq!((accused.token.0.as_str(), accused.way_back.expect("a way back").name.as_str()), ("checkout-2", "slot staging"));
}

#[test]
fn e1_only_a_firing_is_evidence() {
    check(&case().alert(|alert| alert.condition = Condition::Resolved), Ignore, E1);
    for (signal, kind) in [
        (AlertSignal::Budget, Some(Ignore)),
        (AlertSignal::ServiceHealth, Some(Page)),
        (AlertSignal::ResourceHealth, Some(Page)),
        (AlertSignal::Metric, None),
        (AlertSignal::Log, None),
        (AlertSignal::ActivityLog, None),
        (AlertSignal::SmartDetector, None),
        (AlertSignal::Prometheus, None),
        (AlertSignal::Unknown, None),
    ] {
        let case = case().alert(|alert| alert.signal = signal);
        match kind {
            Some(kind) => check(&case, kind, E1),
            None => check_acts(&case),
        };
    }
}

#[test]
fn e1_a_firing_of_long_ago_is_history() {
    let received_at = case().0.received_at;
    let day = minutes(24 * 60);
    let fired = |age| case().alert(|alert| alert.fired_at = Some(received_at - age)).decide();
    let is_history = |age| fired(age).reasons.iter().any(|r| r.rule == E1 && r.effect == Effect::Ignore);
    assert!(!is_history(day - seconds(1)));
    assert!(!is_history(day));
    assert!(is_history(day + seconds(1)));
}

#[test]
fn e1_a_legacy_schema_asks_a_person() {
    check(&case().alert(|alert| alert.schema = AlertSchema::Legacy), Propose, E1);
}

#[test]
fn e2_the_severity_reaches_the_gate() {
    for (level, acts) in [(0, true), (1, true), (2, true), (3, false), (4, false)] {
        let case = case().alert(|alert| alert.severity = Severity::new(level));
        if acts {
            check_acts(&case);
        } else {
            check(&case, Ignore, E2);
        }
    }
    check(&case().alert(|alert| alert.severity = None), Ignore, E2);
}

#[test]
fn e2_a_service_that_ignores_the_alert_does_not_silence_another() {
    let strict = {
        let mut strict = service("search");
        strict.severity_at_least = Severity::new(0).expect("a severity");
        strict
    };
    let open = service("checkout");
    let decide = |signal| {
        let mut alert = alert();
        alert.signal = signal;
        decide_without_reading(&alert, &[&strict, &open], at("11:56:00")).map(|decision| decision.kind)
    };
    assert_eq!(decide(AlertSignal::Metric), None, "one service wants to know more");
    assert_eq!(decide(AlertSignal::ServiceHealth), Some(Page), "one service wants to hear of it");
    assert_eq!(decide(AlertSignal::Budget), Some(Ignore));
}

#[test]
fn e2_a_service_that_ignores_the_alert_is_not_taken_back_by_it() {
    // The alert, Sev1, means `search` too, which wants to hear of it.
    let gate = |level| {
        case()
            .policy(|service| service.severity_at_least = Severity::new(level).expect("a severity"))
            .upstream("search", at("05:00:00"), quiet())
            .with(|case| case.services[1].distance = 0)
    };
    check_acts(&gate(1));
    let decision = check(&gate(0), Propose, E2);
    assert_eq!(
        decision.because,
        "the alert's severity Sev1 is below the gate Sev0 of `checkout`, so it is not taken back without a person's yes"
    );
    check_acts(&gate(0).approved());
    check_acts(&gate(1).with(|case| case.services[1].service.severity_at_least = Severity::new(0).expect("a severity")));
    // Nobody wants to hear of it.
    let nobody = gate(0).with(|case| case.services[1].service.severity_at_least = Severity::new(0).expect("a severity"));
    assert_eq!(check(&nobody, Ignore, E2).reasons.iter().filter(|reason| reason.rule == E2).count(), 2);
}

#[test]
fn c4_an_alert_that_means_no_service_is_ignored_with_a_word() {
    let decision = decide_without_reading(&alert(), &[], at("11:56:00")).expect("a decision");
    assert_eq!((decision.kind, decision.reasons[0].rule), (Ignore, C4));
    assert_eq!(decision.because, "no service in the policy is meant by this alert");
}

#[test]
fn e3_a_signal_that_could_not_be_read_waits_then_asks() {
    let unread = case().facts(|facts| facts.signals = vec![Known::Unknown("the query timed out".to_owned())]);
    let decision = check(&unread, Hold, E3);
    assert_eq!(decision.because, "the query timed out");
    check(&unread.after_the_evidence_wait(), Propose, E3);
}

#[test]
fn e3_a_service_without_signals_never_acts() {
    let blind = case().facts(|facts| facts.signals.clear());
    check(&blind, Hold, E3);
    check(&blind.after_the_evidence_wait(), Propose, E3);
}

#[test]
fn e3_a_second_signal_that_could_not_be_read_waits_then_asks() {
    let half = case().facts(|facts| facts.signals.push(Known::Unknown("403".to_owned())));
    check(&half, Hold, E3);
    check(&half.after_the_evidence_wait(), Propose, E3);
    for known in [quiet(), fault_from("11:57:00")] {
        check_acts(&case().facts(|facts| facts.signals.push(Known::Value(known))));
    }
}

#[test]
fn e3_nan_and_shares_without_a_denominator_are_unknown() {
    for spoil in [
        (|series: &mut Series| series.points.iter_mut().for_each(|p| p.value = Some(f64::NAN))) as fn(&mut Series),
        |series| series.points.iter_mut().for_each(|p| p.value = None),
        |series| series.points.iter_mut().for_each(|p| p.weight = Some(0.0)),
        |series| series.points.iter_mut().skip(1).for_each(|p| p.weight = Some(f64::NAN)),
        |series| series.points.clear(),
    ] {
        let mut series = fault_from("11:52:00");
        spoil(&mut series);
        let decision = case().signal(series).decide();
        assert_eq!(decision.kind, Hold, "{decision:#?}");
    }
}

/// The case's signal with this many requests in every window from the given end on.
fn requests(from: &str, count: f64) -> Series {
    let mut series = fault_from("11:52:00");
    for point in series.points.iter_mut().filter(|point| point.end >= at(from)) {
        point.weight = Some(count);
    }
    series
}

#[test]
fn e5_a_share_of_few_requests_is_no_evidence() {
    // Of the new version alone, and of all that is measured.
    for (from, count, acts) in [
        ("11:50:00", 1.0, false),
        ("11:50:00", 19.0, false),
        ("11:50:00", 19.999, false),
        ("11:50:00", 20.0, true),
        ("10:30:00", 19.0, false),
        ("10:30:00", 20.0, true),
    ] {
        let few = case().signal(requests(from, count));
        if acts {
            check_acts(&few);
        } else {
            let decision = check(&few, Hold, E5);
            assert!(decision.because.contains("fewer than 20"), "{}", decision.because);
            check(&few.after_the_evidence_wait(), Propose, E5);
        }
    }
}

#[test]
fn e5_says_nothing_about_what_is_no_share() {
    let mut series = fault_from("11:52:00");
    for point in &mut series.points {
        *point = backout::domain::series::Point { weight: None, value: point.value.map(|value| value * 10.0), ..*point };
    }
    check_acts(&case().signal(series));
}

#[test]
fn e3_five_measured_windows_make_a_baseline() {
    // Windows that end up to 11:49 count: one interval before the rollout.
    let from =
        |first: &str| case().signal(share(first, "11:59:00", |end| Some(if end >= at("11:52:00") { 0.31 } else { 0.002 })));
    check_acts(&from("11:45:00"));
    let decision = check(&from("11:46:00"), Hold, E3);
    assert!(decision.because.contains("has 4 measured windows"), "{}", decision.because);
}

#[test]
fn e3_one_window_out_of_range_is_no_fault_yet() {
    let decision = check(&case().signal(fault_from("11:57:00")), Hold, E3);
    assert!(decision.because.contains("in one window only"), "{}", decision.because);
    check_acts(&case().signal(fault_from("11:56:00")));
}

/// One letter a window up to the one that ended 11:57: `.` in range, `X` out of it, `?` no value, `0` no requests,
/// `-` not even listed. The rollout came at 11:50, so of twelve letters the fifth ended then.
fn read(letters: &str) -> SignalReading {
    let first = at("11:57:00") - minutes(i64::try_from(letters.len()).expect("a short text") - 1);
    let mut series = quiet();
    series.points.retain(|point| point.end < first);
    for (end, letter) in (0..).map(|index| first + minutes(index)).zip(letters.chars()) {
        let (value, weight) = match letter {
            '.' => (Some(0.002), Some(400.0)),
            'X' => (Some(0.31), Some(400.0)),
            '?' => (None, None),
            '0' => (None, Some(0.0)),
            '-' => continue,
            other => panic!("`{other}` is no window"),
        };
        series.points.push(backout::domain::series::Point { end, value, weight });
    }
    evidence::read_signal(&Known::Value(series), at("11:50:00"), at("12:00:00"))
}

fn kind_of(reading: &SignalReading) -> &'static str {
    match reading {
        SignalReading::Unknown { rule: E8, .. } => "stale",
        SignalReading::Unknown { .. } => "unknown",
        SignalReading::Brief { .. } => "brief",
        SignalReading::Quiet => "quiet",
        SignalReading::Fault(_) => "fault",
        SignalReading::Recovered { .. } => "recovered",
    }
}

#[test]
fn e3_missing_windows_are_neither_good_nor_bad() {
    for (letters, expect) in [
        ("............", "quiet"),
        ("......XXXXXX", "fault"),
        ("........XX..", "fault"),
        (".......XX...", "recovered"),
        // A hole in a recovery does not make it a fault again, and not a recovery either.
        (".......XX.?.", "unknown"),
        (".......XX.-.", "unknown"),
        (".......XX???", "stale"),
        // Two blips with a hole between them may be two blips.
        (".......X..XX", "fault"),
        (".......X..X.", "brief"),
        (".......X.?X.", "unknown"),
        (".......X.XX.", "fault"),
        // The fault may have begun in the hole: before the rollout, or after it.
        ("...???XXXXXX", "fault"),
        ("..????XXXXXX", "unknown"),
        ("..----XXXXXX", "unknown"),
        (".......??XXX", "fault"),
        (".XX.?..XXXXX", "fault"),
        (".XXX?.XXXXXX", "unknown"),
        // Nobody asked anything of the service: known, and no verdict.
        ("...000XXXXXX", "fault"),
        ("......X00X..", "fault"),
        ("..........??", "unknown"),
        // Noise in what is usual is no recovery of this rollout.
        (".X..........", "quiet"),
        ("XXX.........", "quiet"),
        (".....X......", "recovered"),
    ] {
        let reading = read(letters);
        assert_eq!(kind_of(&reading), expect, "{letters}: {reading:?}");
    }
}

#[test]
fn e3_the_onset_is_as_exact_as_the_hole_before_it() {
    let SignalReading::Fault(fault) = read(".......??XXX") else { panic!("a fault") };
    assert_eq!((fault.onset_earliest, fault.onset_latest), (at("11:52:00"), at("11:55:00")));
    let SignalReading::Fault(fault) = read("......XXXXXX") else { panic!("a fault") };
    assert_eq!((fault.onset_earliest, fault.onset_latest), (at("11:51:00"), at("11:52:00")));
    assert!((fault.usual - 0.002).abs() < 1e-9 && (fault.worst - 0.31).abs() < 1e-9, "{fault:?}");
}

#[test]
fn e3_a_baseline_with_as_many_holes_as_values_says_nothing() {
    let holed = |every: usize| {
        let mut series = fault_from("11:52:00");
        series.points.iter_mut().enumerate().filter(|(i, p)| i % every == 0 && p.end < at("11:49:00")).for_each(|(_, p)| {
            p.value = None;
        });
        case().signal(series)
    };
    check_acts(&holed(4));
    check(&holed(2), Hold, E3);
}

#[test]
fn e3_a_range_that_missing_windows_might_widen_is_not_left_for_sure() {
    // Six bad windows, three that may have been as bad, and seven good ones: what is usual hangs on the three.
    let with_middle = |middle: Option<f64>| {
        case().signal(share("11:34:00", "11:59:00", |end| {
            if (at("11:40:00")..=at("11:42:00")).contains(&end) {
                middle
            } else {
                Some(if end < at("11:40:00") || end >= at("11:52:00") { 0.31 } else { 0.002 })
            }
        }))
    };
    let decision = check(&with_middle(Some(0.002)), Propose, C1);
    assert!(word_of(&decision, C1, Effect::Note).contains("went from 0.2 % to 31.0 %"), "surely left: {decision:#?}");
    check(&with_middle(Some(0.31)), Hold, C1);
    check(&with_middle(None), Hold, E3);
}

#[test]
fn e3_a_share_whose_requests_are_unknown_is_unknown() {
    let mut series = fault_from("11:52:00");
    for point in series.points.iter_mut().filter(|point| point.end >= at("11:52:00") && point.end < at("11:57:00")) {
        point.weight = None;
    }
    check(&case().signal(series), Hold, E3);
}

#[test]
fn a_signal_that_is_worse_when_lower_faults_downwards() {
    let mut series = fault_from("11:52:00");
    for point in &mut series.points {
        point.value = point.value.map(|value| 1.0 - value);
    }
    series.worse_when = WorseWhen::Lower;
    check_acts(&case().signal(series.clone()));
    series.worse_when = WorseWhen::Higher;
    check(&case().signal(series), Hold, C1);
}

#[test]
fn a_fault_is_more_than_the_floor_away_from_what_is_usual() {
    let share_of =
        |bad: f64| case().signal(share("10:30:00", "11:59:00", |end| Some(if end >= at("11:52:00") { bad } else { 0.002 })));
    check(&share_of(0.012), Hold, C1);
    check_acts(&share_of(0.0121));
    let plain_of = |bad: f64| {
        let mut series = share("10:30:00", "11:59:00", |end| Some(if end >= at("11:52:00") { bad } else { 100.0 }));
        series.points.iter_mut().for_each(|point| point.weight = None);
        case().signal(series)
    };
    check(&plain_of(120.0), Hold, C1);
    check_acts(&plain_of(120.1));
}

#[test]
fn e8_the_newest_window_ends_within_two_intervals_and_the_lag() {
    // Two intervals of a minute and a lag of three: 11:55 is the oldest that is fresh at 12:00.
    let until = |last: &str, now: &str| {
        let now = at(now);
        case()
            .signal(share("10:30:00", last, |end| Some(if end >= at("11:52:00") { 0.31 } else { 0.002 })))
            .with(|case| case.now = now)
    };
    check_acts(&until("11:55:00", "11:59:59"));
    check_acts(&until("11:55:00", "12:00:00"));
    let stale = until("11:55:00", "12:00:01");
    let decision = check(&stale, Hold, E8);
    assert!(decision.because.ends_with("monitoring itself may be broken"), "{}", decision.because);
    check(&stale.after_the_evidence_wait(), Page, E8);
}

#[test]
fn e9_monitoring_and_this_handler_are_never_touched() {
    check(&case().with(|case| case.own_site = Some(id(&site("CHECKOUT")))), Page, E9);
    check(&case().with(|case| case.own_site = Some(id(&format!("{}/slots/next", site("checkout"))))), Page, E9);
    check_acts(&case().with(|case| case.own_site = Some(id(&site("checkout2")))));
    check_acts(&case().with(|case| case.own_site = None));
    let insights =
        "/subscriptions/5f3c1a52-9a0b-4c7e-8f3d-2d8a40c6b001/resourceGroups/shop/providers/Microsoft.Insights/components/c";
    let on_monitoring = case().policy(|service| {
        let Target::AppService(target) = &mut service.target else { panic!("not a site") };
        target.site = id(insights);
    });
    check(&on_monitoring, Page, E9);
    check(&on_monitoring.approved(), Page, E9);
}

#[test]
fn a13_a_signal_that_recovered_by_itself_ends_the_wait() {
    let back_at = |good_from: &str| {
        let good_from = at(good_from);
        case().signal(share("10:30:00", "11:59:00", |end| {
            Some(if end >= at("11:52:00") && end < good_from { 0.31 } else { 0.002 })
        }))
    };
    // Windows up to 11:57 are complete; three in range are a recovery.
    check_acts(&back_at("11:56:00"));
    check(&back_at("11:55:00"), Ignore, A13);
    check(&back_at("11:55:00").approved(), Ignore, A13);
}

#[test]
fn a13_what_was_over_long_before_the_alert_is_not_what_it_tells_of() {
    let fired = |time: &str| {
        let fired_at = at(time);
        // Out in the windows that ended 11:20 to 11:25, after a rollout at 11:18.
        case()
            .rolled_out_at(at("11:18:00"))
            .signal(share("10:30:00", "11:59:00", |end| {
                Some(if (at("11:20:00")..=at("11:25:00")).contains(&end) { 0.31 } else { 0.002 })
            }))
            .alert(|alert| alert.fired_at = Some(fired_at))
    };
    check(&fired("11:40:00"), Ignore, A13);
    check(&fired("11:40:01"), Hold, C1);
    check(&fired("11:40:01").after_the_evidence_wait(), Propose, C1);
}

#[test]
fn a13_only_what_was_measured_since_the_alert_ends_the_wait() {
    // A cold start in the window that ended 11:52:00; the fault that the alert tells of is measured from 11:57:00 on.
    let looked = |now: &str, fired_at: &str| {
        let (now, fired_at) = (at(now), at(fired_at));
        case()
            .signal(share("10:30:00", "11:59:00", |end| {
                Some(if end == at("11:52:00") || end >= at("11:57:00") { 0.31 } else { 0.002 })
            }))
            .alert(|alert| alert.fired_at = Some(fired_at))
            .with(|case| {
                case.now = now;
                case.received_at = at("11:59:00");
            })
    };
    let early = looked("11:59:30", "11:58:30");
    let decision = check(&early, Hold, C1);
    assert_eq!(
        decision.because,
        "`Http5xx of Requests` left its usual range and has been back in it since the window that ended 2026-03-10T11:53:00Z, but \
         nothing is measured yet of the time since the alert fired"
    );
    check(&early.after_the_evidence_wait(), Propose, C1);
    check_acts(&looked("12:01:00", "11:58:30"));
    // The newest window began 11:55:00.
    check(&looked("11:59:30", "11:55:00"), Ignore, A13);
    check(&looked("11:59:30", "11:55:01"), Hold, C1);
}

#[test]
fn a_quiet_signal_waits_then_asks() {
    check(&case().signal(quiet()), Hold, C1);
    check(&case().signal(quiet()).after_the_evidence_wait(), Propose, C1);
}

#[test]
fn t2_the_evidence_wait_ends_on_its_second() {
    // Received 11:56:00, two minutes of wait, three of lag.
    let looked = |now: &str| {
        let now = at(now);
        case().signal(quiet()).with(|case| case.now = now)
    };
    let decision = check(&looked("12:00:59"), Hold, C1);
    assert_eq!(decision.look_again_at, Some(at("12:01:00")), "never later than the end of the wait");
    check(&looked("12:01:00"), Propose, C1);
}

#[test]
fn a_word_without_text_still_says_its_rule() {
    let decision = check(&case().facts(|facts| facts.signals = vec![Known::Unknown(String::new())]), Hold, E3);
    assert_eq!(decision.because, E3.words());
    assert_eq!(word_of(&decision, E3, Effect::Hold), "");
}
