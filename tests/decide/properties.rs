//! What holds over many cases: unknown never turns into an Act, a tie never acts, and a decision can be made again.

use backout::{
    decide::case::Case,
    domain::{
        alert::{AlertSchema, Condition, Severity},
        approval::Verdict,
        decision::{DecisionKind, Effect},
        known::Known,
        observation::{ObstacleWeight, Preflight},
        rule::RuleId,
        series::{Point, Series},
        service::{Mode, Reversible},
    },
};
use jiff::SignedDuration;
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    strategy::ValueTree,
    test_runner::{Config, TestRng, TestRunner},
};

use super::case::{
    TestCase, approval, at, build, case, firing, marker, minutes, obstacle, quiet, rollout, seconds, taken_back, token, way,
};

/// Windows of a series, up to the one that ended 11:57.
const WINDOWS: usize = 26;

/// What a signal is made from.
#[derive(Debug, Clone)]
struct Shape {
    /// The window in which it turns bad; past the end: never.
    bad_from: usize,
    /// Windows which are the other way round, in-between, empty or idle.
    odd: Vec<(Index, u8)>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let bad_from = prop_oneof![5 => 14_usize..26, 1 => 4_usize..30];
    (bad_from, vec((any::<Index>(), 0_u8..5), 0..5)).prop_map(|(bad_from, odd)| Shape { bad_from, odd })
}

fn series(shape: &Shape) -> Series {
    let first = at("11:57:00") - minutes(i64::try_from(WINDOWS).expect("a small number") - 1);
    let mut series = quiet();
    series.points = (0..WINDOWS)
        .zip(0..)
        .map(|(index, minute)| {
            let value = if index >= shape.bad_from { 0.31 } else { 0.002 };
            Point { end: first + minutes(minute), value: Some(value), weight: Some(400.0) }
        })
        .collect();
    for (index, kind) in &shape.odd {
        let point = index.get_mut(series.points.as_mut_slice());
        match kind {
            0 => point.value = Some(0.31),
            1 => point.value = Some(0.002),
            2 => point.value = Some(0.03),
            3 => *point = Point { value: None, weight: None, ..*point },
            _ => *point = Point { value: None, weight: Some(0.0), ..*point },
        }
    }
    series
}

/// One fact of a case that may stand in the way.
#[derive(Debug, Clone, Copy)]
enum Twist {
    Resolved,
    Severity(u8),
    Legacy,
    ProposeOnly,
    Observe,
    Declared,
    DeclaredReversible(bool),
    Obstacle(bool),
    ClosedWay,
    Budget(u32),
    Paused,
    UnderWay,
    CoolDown(i64),
    TakenBack,
    OwnResult,
    EarlierFiring(i64),
    Rival(i64),
    WrongBuild,
    NoWay,
    SecondWay,
    YoungGood(i64),
    Storm(usize),
    Declined,
    Waited(i64),
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![
        Just(Twist::Resolved),
        (0_u8..5).prop_map(Twist::Severity),
        Just(Twist::Legacy),
        Just(Twist::ProposeOnly),
        Just(Twist::Observe),
        Just(Twist::Declared),
        any::<bool>().prop_map(Twist::DeclaredReversible),
        any::<bool>().prop_map(Twist::Obstacle),
        Just(Twist::ClosedWay),
        (0_u32..5).prop_map(Twist::Budget),
        Just(Twist::Paused),
        Just(Twist::UnderWay),
        (0_i64..60).prop_map(Twist::CoolDown),
        Just(Twist::TakenBack),
        Just(Twist::OwnResult),
        (0_i64..200).prop_map(Twist::EarlierFiring),
        (1_i64..40).prop_map(Twist::Rival),
        Just(Twist::WrongBuild),
        Just(Twist::NoWay),
        Just(Twist::SecondWay),
        (1_i64..60).prop_map(Twist::YoungGood),
        (0_usize..7).prop_map(Twist::Storm),
        Just(Twist::Declined),
        (0_i64..40).prop_map(Twist::Waited),
    ]
}

fn apply(twist: Twist, case: TestCase) -> TestCase {
    match twist {
        Twist::Resolved => case.alert(|alert| alert.condition = Condition::Resolved),
        Twist::Severity(level) => case.alert(|alert| alert.severity = Severity::new(level)),
        Twist::Legacy => case.alert(|alert| alert.schema = AlertSchema::Legacy),
        Twist::ProposeOnly => case.policy(|service| service.mode = Mode::Propose),
        Twist::Observe => case.with(|case| case.mode_ceiling = Some(Mode::Observe)),
        Twist::Declared => case.policy(|service| service.reversible = Reversible::Declared),
        Twist::DeclaredReversible(word) => case.state(|state| state.markers.push(marker(at("11:45:00"), Some(word)))),
        Twist::Obstacle(page) => {
            let weight = if page { ObstacleWeight::Page } else { ObstacleWeight::Propose };
            case.observed(|observation| observation.obstacles.push(obstacle(RuleId::S9, weight)))
        }
        Twist::ClosedWay => case.facts(|facts| {
            facts.preflight = Known::Value(Preflight {
                obstacles: Vec::new(),
                ways_back: vec![("slot staging".to_owned(), vec![obstacle(RuleId::S9, ObstacleWeight::Page)])],
            });
        }),
        Twist::Budget(used) => case.facts(|facts| facts.budget_used = Known::Value(used)),
        Twist::Paused => case.with(|case| case.paused = Known::Value(Some("Ada".to_owned()))),
        Twist::UnderWay => case.observed(|observation| observation.under_way = Some("a slot swap".to_owned())),
        Twist::CoolDown(ago) => case.state(|state| state.taken_back.push(taken_back("x", 7, at("12:00:00") - minutes(ago)))),
        Twist::TakenBack => case.state(|state| state.taken_back.push(taken_back("checkout-2", 42, at("02:00:00")))),
        Twist::OwnResult => case.state(|state| {
            let mut taken = taken_back("x", 7, at("02:00:00"));
            taken.result_fingerprint = build(42);
            state.taken_back.push(taken);
        }),
        Twist::EarlierFiring(hours) => case.state(|state| {
            let fired_at = at("11:40:00") - SignedDuration::from_hours(hours);
            state.firings.push(firing("old", fired_at, Some(fired_at + minutes(1))));
        }),
        Twist::Rival(before) => case.state(|state| {
            let since = state.rollouts[1].serving_since.expect("a start") - minutes(before);
            state.rollouts.insert(1, rollout("rival", 41, since));
        }),
        Twist::WrongBuild => case.observed(|observation| observation.ways_back[0].fingerprint = build(7)),
        Twist::NoWay => case.observed(|observation| observation.ways_back.truncate(0)),
        Twist::SecondWay => case.observed(|observation| observation.ways_back.push(way("slot last-good", 41))),
        Twist::YoungGood(length) => case.state(|state| {
            let index = state.rollouts.len() - 2;
            let until = state.rollouts[index + 1].serving_since.expect("a start");
            state.rollouts[index].serving_since = Some(until - minutes(length));
        }),
        Twist::Storm(count) => case.storm(count, at("11:58:00"), &[]),
        Twist::Declined => case.with(|case| case.approval = Some(approval(Verdict::Declined, "checkout-2"))),
        Twist::Waited(length) => case.with(|case| case.received_at -= minutes(length)),
    }
}

/// Cases near the one that acts: other signals, other times, an upstream service, and up to two facts in the way.
fn cases() -> impl Strategy<Value = TestCase> {
    let upstream = proptest::option::weighted(0.4, (60_i64..2400, shape()));
    (60_i64..1200, vec(shape(), 1..3), upstream, vec(twist(), 0..3)).prop_map(|(age, shapes, upstream, twists)| {
        let now = at("11:57:00");
        let mut varied = case()
            .rolled_out_at(now - seconds(age))
            .facts(|facts| facts.signals = shapes.iter().map(|shape| Known::Value(series(shape))).collect());
        for twist in twists {
            // Two twists may want what the other took away.
            let no_way = matches!(&varied.0.services[0].observation, Known::Value(o) if o.ways_back.is_empty());
            if !(no_way && matches!(twist, Twist::WrongBuild)) {
                varied = apply(twist, varied);
            }
        }
        match upstream {
            Some((age, shape)) => varied.upstream("payments", now - seconds(age), series(&shape)),
            None => varied,
        }
    })
}

/// One reading that gets lost. Indices are taken modulo what is there.
#[derive(Debug, Clone)]
enum Loss {
    Observation(Index),
    ServingSince(Index),
    RunningFingerprint(Index),
    Preflight(Index),
    Budget(Index),
    Control,
    Signal(Index, Index),
    Points(Index, Index, Vec<Index>),
    Denominators(Index, Index, Vec<Index>),
    PointsNotListed(Index, Index, Vec<Index>),
}

fn loss() -> impl Strategy<Value = Loss> {
    let points = || (any::<Index>(), any::<Index>(), vec(any::<Index>(), 1..8));
    prop_oneof![
        1 => any::<Index>().prop_map(Loss::Observation),
        1 => any::<Index>().prop_map(Loss::ServingSince),
        1 => any::<Index>().prop_map(Loss::RunningFingerprint),
        1 => any::<Index>().prop_map(Loss::Preflight),
        1 => any::<Index>().prop_map(Loss::Budget),
        1 => Just(Loss::Control),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(service, signal)| Loss::Signal(service, signal)),
        8 => points().prop_map(|(service, signal, points)| Loss::Points(service, signal, points)),
        2 => points().prop_map(|(service, signal, points)| Loss::Denominators(service, signal, points)),
        3 => points().prop_map(|(service, signal, points)| Loss::PointsNotListed(service, signal, points)),
    ]
}

fn lose(loss: &Loss, case: &mut Case) {
    fn with_series(case: &mut Case, service: Index, signal: Index, change: impl FnOnce(&mut Series)) {
        let signals = &mut service.get_mut(case.services.as_mut_slice()).signals;
        if let Known::Value(series) = signal.get_mut(signals.as_mut_slice()) {
            change(series);
        }
    }
    fn unknown<T>() -> Known<T> {
        Known::Unknown("it was lost".to_owned())
    }
    let services = case.services.as_mut_slice();
    match loss {
        Loss::Observation(service) => service.get_mut(services).observation = unknown(),
        Loss::ServingSince(service) => {
            if let Known::Value(observation) = &mut service.get_mut(services).observation {
                observation.running.serving_since = None;
            }
        }
        Loss::RunningFingerprint(service) => {
            if let Known::Value(observation) = &mut service.get_mut(services).observation {
                observation.running.fingerprint = None;
            }
        }
        Loss::Preflight(service) => service.get_mut(services).preflight = unknown(),
        Loss::Budget(service) => service.get_mut(services).budget_used = unknown(),
        Loss::Control => case.paused = unknown(),
        Loss::Signal(service, signal) => {
            let signals = &mut service.get_mut(services).signals;
            *signal.get_mut(signals.as_mut_slice()) = unknown();
        }
        Loss::Points(service, signal, points) => with_series(case, *service, *signal, |series| {
            for index in points {
                let point = index.get_mut(series.points.as_mut_slice());
                *point = Point { value: None, weight: None, ..*point };
            }
        }),
        Loss::Denominators(service, signal, points) => with_series(case, *service, *signal, |series| {
            for index in points {
                index.get_mut(series.points.as_mut_slice()).weight = None;
            }
        }),
        // The first one stays: what a series does not reach back to was never asked for.
        Loss::PointsNotListed(service, signal, points) => with_series(case, *service, *signal, |series| {
            for index in points {
                if series.points.len() > 1 {
                    let index = 1 + index.index(series.points.len() - 1);
                    series.points.remove(index);
                }
            }
        }),
    }
}

fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn e3_unknown_never_turns_into_an_act(before in cases(), losses in vec(loss(), 1..4)) {
        let mut after = before.clone();
        for loss in &losses {
            lose(loss, &mut after.0);
        }
        let (before, after) = (before.decide(), after.decide());
        prop_assert!(
            before.kind == DecisionKind::Act || after.kind != DecisionKind::Act,
            "{} became an Act.\nbefore: {before:#?}\nafter: {after:#?}", before.kind
        );
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn the_same_case_gives_the_same_decision_also_from_its_stored_form(case in cases(), losses in vec(loss(), 0..2)) {
        let mut case = case;
        for loss in &losses {
            lose(loss, &mut case.0);
        }
        let decision = case.decide();
        prop_assert_eq!(&decision, &case.decide());
        let stored = serde_json::to_string(&case.0).expect("a case is JSON");
        let read: Case = serde_json::from_str(&stored).expect("the stored case");
        prop_assert_eq!(&read, &case.0);
        prop_assert_eq!(&decision, &TestCase(read).decide());
    }

    #[test]
    fn a_decision_says_why(case in cases(), losses in vec(loss(), 0..3), approved in any::<bool>()) {
        let mut case = if approved { case.approved() } else { case };
        for loss in &losses {
            lose(loss, &mut case.0);
        }
        let decision = case.decide();
        prop_assert!(!decision.reasons.is_empty() && !decision.because.trim().is_empty());
        prop_assert_eq!(decision.kind == DecisionKind::Hold, decision.look_again_at.is_some());
        prop_assert!(decision.look_again_at.is_none_or(|next| next > case.0.now));
        let effects: Vec<Effect> = decision.reasons.iter().map(|reason| reason.effect).collect();
        prop_assert!(effects.is_sorted_by(|a, b| a >= b));
        if decision.kind == DecisionKind::Act {
            prop_assert!(effects.iter().all(|effect| *effect == Effect::Note));
            let accused = decision.accused.expect("an Act accuses a version");
            let way = accused.way_back.expect("an Act knows where to");
            prop_assert!(accused.fingerprint.is_none() || way.fingerprint != accused.fingerprint);
            if !approved {
                prop_assert!(way.fingerprint.is_some() && accused.fingerprint.is_some());
                for rule in [RuleId::C1, RuleId::C6, RuleId::S5, RuleId::S2] {
                    prop_assert!(decision.reasons.iter().any(|reason| reason.rule == rule), "no word of {}", rule);
                }
            }
        }
    }

    #[test]
    fn no_approval_lifts_a_veto(before in cases()) {
        let decided = before.decide();
        let after = before.approved().decide();
        if matches!(decided.kind, DecisionKind::Page | DecisionKind::Ignore) {
            prop_assert_eq!(after.kind, decided.kind);
        }
        let vetoed = decided.reasons.iter().any(|reason| {
            reason.effect > Effect::Note && matches!(reason.rule, RuleId::E9 | RuleId::A1 | RuleId::A4 | RuleId::A10)
        });
        prop_assert!(!vetoed || after.kind != DecisionKind::Act);
    }

    #[test]
    fn c6_two_equal_candidates_never_act(case in cases(), upstream in any::<bool>()) {
        let facts = &case.0.services[0];
        let Known::Value(observation) = &facts.observation else { unreachable!("nothing was lost") };
        let since = observation.running.serving_since.expect("a start");
        let twin = if upstream {
            let signals = facts.signals.clone();
            let mut twin = case.upstream("twin", since, quiet());
            let twin_facts = twin.0.services.last_mut().expect("the twin");
            twin_facts.signals = signals;
            twin
        } else {
            case.state(|state| state.rollouts.push(rollout("twin", 43, since)))
        };
        let decision = twin.decide();
        // A fact may clear the one and not the other; then they are not equal.
        let alive = decision.candidates.iter().filter(|candidate| {
            candidate.cleared_by.is_none() && candidate.rolled_out_at == Some(since)
        });
        let equal = alive.count() == 2;
        // A third change may stand out against both.
        let accuses_one = decision.accused.as_ref().is_some_and(|accused| accused.service.0 != "payments");
        prop_assert!(decision.kind != DecisionKind::Act || !accuses_one || !equal, "{decision:#?}");
    }
}

/// Without this the properties could hold because nothing ever acts.
#[test]
fn the_cases_cover_every_kind() {
    let mut runner = TestRunner::new_with_rng(config(1), TestRng::deterministic_rng(Config::default().rng_algorithm));
    let strategy = cases();
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..1000 {
        let case = strategy.new_tree(&mut runner).expect("a case").current();
        *counts.entry(case.decide().kind.as_str()).or_insert(0) += 1;
    }
    for kind in ["act", "propose", "hold", "page", "ignore"] {
        assert!(counts.get(kind).is_some_and(|count| *count >= 50), "{counts:?}");
    }
}

/// The accused of an Act is what runs.
#[test]
fn an_act_accuses_what_runs() {
    assert_eq!(case().decide().accused.map(|accused| accused.token), Some(token("checkout-2")));
}
