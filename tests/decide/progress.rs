//! What became of our call, from the live state alone.

use backout::{
    decide::progress::{self, Happened, ReRead},
    domain::{
        known::Known,
        observation::{Observation, ObstacleWeight},
        record::RecordId,
        rollback::{Busy, Phase},
        rule::RuleId::S9,
    },
};

use super::case::{at, build, case, obstacle, service, token, way};

fn busy() -> Busy {
    Busy {
        record: RecordId("r".to_owned()),
        service: service("checkout"),
        accused: token("checkout-2"),
        accused_fingerprint: build(42),
        good: way("slot staging", 41),
        steps: Vec::new(),
        step: 0,
        phase: Phase::Submitting,
        operation: None,
        since: at("12:00:00"),
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

/// What is observed before the call, and one change of it.
fn observed(change: impl FnOnce(&mut Observation)) -> Observation {
    let Known::Value(mut observation) = case().0.services[0].observation.clone() else { panic!("an observation") };
    change(&mut observation);
    observation
}

fn runs(name: &str, number: Option<u32>) -> Observation {
    observed(|observation| {
        observation.running.token = token(name);
        observation.running.fingerprint = number.and_then(build);
        observation.running.label = format!("what {name} brought");
    })
}

fn happened(observation: &Observation) -> Happened {
    progress::what_happened(&busy(), observation)
}

#[test]
fn the_accused_version_still_runs_so_nothing_happened() {
    assert_eq!(happened(&observed(|_| ())), Happened::Nothing);
}

#[test]
fn while_something_is_under_way_nothing_else_is_concluded() {
    for mut observation in [observed(|_| ()), runs("checkout-3", Some(41)), runs("checkout-3", Some(43))] {
        observation.under_way = Some("a swap".to_owned());
        assert_eq!(happened(&observation), Happened::UnderWay("a swap".to_owned()));
    }
}

#[test]
fn another_rollout_with_the_good_content_is_ours() {
    assert_eq!(
        happened(&runs("checkout-3", Some(41))),
        Happened::Applied { token: token("checkout-3"), fingerprint: build(41).expect("a fingerprint") }
    );
}

#[test]
fn anything_else_is_a_surprise_with_a_sentence() {
    for (observation, part) in [
        (runs("checkout-3", Some(42)), "runs again after a change"),
        (runs("checkout-3", Some(43)), "neither the accused version nor the one to go back to"),
    ] {
        let Happened::Surprise(says) = happened(&observation) else { panic!("a surprise") };
        assert!(says.contains("what checkout-3 brought") && says.contains(part), "{says}");
    }
    let mut blind = busy();
    blind.good.fingerprint = None;
    assert!(matches!(progress::what_happened(&blind, &runs("checkout-3", Some(41))), Happened::Surprise(_)));
    assert!(matches!(progress::what_happened(&blind, &runs("checkout-3", None)), Happened::Surprise(_)));
}

#[test]
fn content_that_could_not_be_read_is_looked_at_again() {
    let Happened::Untold(says) = happened(&runs("checkout-3", None)) else { panic!("untold") };
    assert!(says.contains("what checkout-3 brought"), "{says}");
    let says = |observation: &Observation| match progress::re_read(&busy(), observation) {
        ReRead::Untold(says) => says,
        other => panic!("{other:?}"),
    };
    assert!(says(&observed(|o| o.running.fingerprint = None)).starts_with("what runs could not be read"));
    assert!(says(&observed(|o| o.ways_back[0].fingerprint = None)).starts_with("what slot staging holds could not be read"));
    // What is known to have changed is told all the same.
    let both = observed(|o| {
        o.running.fingerprint = None;
        o.under_way = Some("a swap".to_owned());
    });
    assert!(matches!(progress::re_read(&busy(), &both), ReRead::Changed(_)));
}

#[test]
fn a5_the_reread_before_the_call_stops_on_every_change() {
    let stops = |observation: &Observation| match progress::re_read(&busy(), observation) {
        ReRead::AsDecided => None,
        ReRead::Changed(why) => Some(why),
        ReRead::Untold(why) => panic!("untold: {why}"),
    };
    assert_eq!(stops(&observed(|_| ())), None);
    // Not even an approval's obstacle stops what was already decided.
    assert_eq!(stops(&observed(|o| o.obstacles.push(obstacle(S9, ObstacleWeight::Propose)))), None);
    for (observation, part) in [
        (observed(|o| o.under_way = Some("a swap".to_owned())), "an operation began meanwhile: a swap"),
        (runs("checkout-3", Some(41)), "does not run any more"),
        (runs("checkout-3", Some(42)), "does not run any more"),
        (observed(|o| o.running.fingerprint = build(43)), "the content that runs changed meanwhile"),
        (observed(|o| o.ways_back.clear()), "slot staging is gone"),
        (observed(|o| o.ways_back[0].name = "slot other".to_owned()), "slot staging is gone"),
        (observed(|o| o.ways_back[0].fingerprint = build(40)), "slot staging holds another build now"),
        (observed(|o| o.ways_back[0].obstacles.push(obstacle(S9, ObstacleWeight::Page))), "an obstacle of S9"),
        (observed(|o| o.obstacles.push(obstacle(S9, ObstacleWeight::Page))), "an obstacle of S9"),
    ] {
        let says = stops(&observation).unwrap_or_else(|| panic!("nothing stopped, `{part}` expected"));
        assert!(says.contains(part), "{says}");
    }
}
