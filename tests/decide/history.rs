//! What is kept of a target: bounded, without duplicates, and nothing of half a change.

use backout::{
    decide::history::{Began, absorb_event, absorb_observation, add_declined, add_firing, running_since, set_hold},
    domain::{
        deployment::{DeploymentEvent, DeploymentStatus, DeploymentSubject},
        known::Known,
        observation::Observation,
        record::RecordId,
        target::short_hash,
        target_state::{Declined, ForgottenFirings, TargetState},
    },
};
use jiff::Timestamp;

use super::case::{at, build, case, firing, marker, minutes, seconds, service, token};

fn empty() -> TargetState {
    TargetState::new(service("checkout").target.key())
}

fn observation(name: &str, number: u32, since: Option<Timestamp>, observed_at: Timestamp) -> Observation {
    let Known::Value(mut observation) = case().0.services[0].observation.clone() else { panic!("an observation") };
    observation.running.token = token(name);
    observation.running.fingerprint = build(number);
    observation.running.serving_since = since;
    observation.observed_at = observed_at;
    observation
}

fn event(id: Option<&str>, status: DeploymentStatus, at: Option<Timestamp>) -> DeploymentEvent {
    DeploymentEvent {
        id: id.map(str::to_owned),
        source: "azure-devops".to_owned(),
        resources: Vec::new(),
        operation: Some("stage completed".to_owned()),
        status,
        at,
        subject: DeploymentSubject::default(),
        version: None,
        reversible: Some(true),
        slots: None,
    }
}

fn tokens(state: &TargetState) -> Vec<&str> {
    state.rollouts.iter().map(|rollout| rollout.token.0.as_str()).collect()
}

#[test]
fn nothing_is_kept_of_half_a_swap() {
    let mut state = empty();
    let mut half = observation("swap-1", 41, Some(at("11:00:00")), at("11:00:05"));
    half.under_way = Some("a slot swap".to_owned());
    absorb_observation(&mut state, &half);
    assert_eq!(state, empty());
    // Nor of a rollout that is known.
    half.under_way = None;
    absorb_observation(&mut state, &half);
    let kept = state.clone();
    half.under_way = Some("a slot swap".to_owned());
    half.observed_at += minutes(9);
    absorb_observation(&mut state, &half);
    assert_eq!(state, kept);
}

#[test]
fn a_rollout_is_kept_once_with_when_it_was_seen() {
    let mut state = empty();
    for seen in ["11:10:00", "11:30:00", "11:20:00"] {
        absorb_observation(&mut state, &observation("swap-1", 41, Some(at("11:00:00")), at(seen)));
    }
    assert_eq!(tokens(&state), ["swap-1"]);
    assert_eq!((state.rollouts[0].first_seen_at, state.rollouts[0].last_seen_at), (at("11:10:00"), at("11:30:00")));
    assert_eq!(state.rollouts[0].serving_since, Some(at("11:00:00")));
}

#[test]
fn rollouts_are_in_order_and_bounded_and_the_oldest_go_first() {
    let mut state = empty();
    // Seen in a muddle, such as by late events.
    for index in (0..25).rev() {
        let since = at("06:00:00") + minutes(index.into());
        absorb_observation(&mut state, &observation(&format!("swap-{index}"), index, Some(since), at("12:00:00")));
        state.rollouts.sort_by_key(|rollout| std::cmp::Reverse(rollout.serving_since));
    }
    absorb_observation(&mut state, &observation("swap-25", 25, Some(at("06:25:00")), at("12:00:00")));
    assert_eq!(state.rollouts.len(), TargetState::ROLLOUTS_MAX);
    assert_eq!(tokens(&state).last(), Some(&"swap-25"));
    assert!(state.rollouts.is_sorted_by_key(|rollout| rollout.serving_since));
}

#[test]
fn a_version_without_a_start_is_not_the_first_to_be_forgotten() {
    let mut state = empty();
    for index in 0..20 {
        let since = at("06:00:00") + minutes(index.into());
        absorb_observation(&mut state, &observation(&format!("swap-{index}"), index, Some(since), since));
    }
    absorb_observation(&mut state, &observation("untold", 99, None, at("12:00:00")));
    absorb_observation(&mut state, &observation("untold", 99, None, at("12:05:00")));
    assert_eq!(state.rollouts.len(), 20);
    let kept = state.rollouts.last().expect("rollouts");
    assert_eq!((kept.token.0.as_str(), kept.first_seen_at, kept.last_seen_at), ("untold", at("12:00:00"), at("12:05:00")));
    assert_eq!(state.rollouts[0].token.0, "swap-1");
}

#[test]
fn an_event_twice_adds_nothing() {
    let mut state = empty();
    let started = event(Some("e1"), DeploymentStatus::Started, Some(at("11:40:00")));
    absorb_event(&mut state, &started, at("11:41:00"), true);
    absorb_event(&mut state, &started, at("11:55:00"), true);
    assert_eq!(state.markers.len(), 1);
    // One id may speak of the start and of the end; another source has ids of its own.
    absorb_event(&mut state, &DeploymentEvent { status: DeploymentStatus::Succeeded, ..started.clone() }, at("11:55:00"), true);
    absorb_event(&mut state, &DeploymentEvent { source: "github".to_owned(), ..started }, at("11:55:00"), true);
    assert_eq!(state.markers.len(), 3);
    // Without an id it is known by what it says.
    let nameless = event(None, DeploymentStatus::Succeeded, Some(at("11:42:00")));
    absorb_event(&mut state, &nameless, at("11:43:00"), true);
    absorb_event(&mut state, &nameless, at("11:44:00"), true);
    assert_eq!(state.markers.len(), 4);
    assert!(state.markers.is_sorted_by_key(|marker| marker.at));
}

#[test]
fn an_event_without_a_time_is_of_its_receipt() {
    let mut state = empty();
    absorb_event(&mut state, &event(Some("e1"), DeploymentStatus::Succeeded, None), at("11:41:00"), true);
    assert_eq!(state.markers[0].at, at("11:41:00"));
}

#[test]
fn only_a_trusted_event_declares_a_change_reversible() {
    for (trusted, expect) in [(true, Some(true)), (false, None)] {
        let mut state = empty();
        absorb_event(&mut state, &event(Some("e1"), DeploymentStatus::Succeeded, None), at("11:41:00"), trusted);
        assert_eq!(state.markers[0].reversible, expect);
    }
}

#[test]
fn a_flood_of_events_does_not_push_out_what_a_pipeline_declared() {
    let mut state = empty();
    state.markers.push(marker(at("11:00:00"), Some(false)));
    for index in 0..100 {
        let mut noise = event(Some(&format!("e{index}")), DeploymentStatus::Other, Some(at("11:01:00") + seconds(index)));
        noise.reversible = None;
        absorb_event(&mut state, &noise, at("11:59:00"), false);
    }
    assert_eq!(state.markers.len(), TargetState::MARKERS_MAX);
    assert_eq!(state.markers[0].reversible, Some(false));
    assert_eq!(state.markers.last().map(|marker| marker.event_id.as_str()), Some("e99"));
    for index in 0..100 {
        let word = event(Some(&format!("w{index}")), DeploymentStatus::Other, Some(at("11:30:00") + seconds(index)));
        absorb_event(&mut state, &word, at("11:59:00"), true);
    }
    assert_eq!(state.markers.len(), TargetState::MARKERS_MAX, "words are bounded too");
}

#[test]
fn firings_are_kept_once_and_bounded() {
    let mut state = empty();
    for index in 0..60 {
        let fired_at = at("06:00:00") + minutes(index);
        add_firing(&mut state, firing(&format!("r{index}"), fired_at, None));
        add_firing(&mut state, firing(&format!("r{index}"), fired_at, Some(fired_at + seconds(30))));
        add_firing(&mut state, firing(&format!("r{index}"), fired_at, Some(fired_at + seconds(40))));
    }
    assert_eq!(state.firings.len(), TargetState::FIRINGS_MAX);
    assert_eq!(state.firings[0].record.0, short_hash(&["r10"]));
    assert!(state.firings.iter().all(|firing| firing.resolved_at == Some(firing.fired_at + seconds(30))));
}

#[test]
fn of_firings_without_room_it_is_kept_when_one_may_have_been_trouble() {
    let mut state = empty();
    let mut add = |record: &str, fired: i64, lasted: Option<i64>| {
        let fired_at = at("06:00:00") + minutes(fired);
        add_firing(&mut state, firing(record, fired_at, lasted.map(|lasted| fired_at + minutes(lasted))));
        state.forgotten_firings
    };
    let forgotten = |last_fired_at: &str, over_at: Option<&str>| {
        Some(ForgottenFirings { last_fired_at: at(last_fired_at), over_at: over_at.map(at) })
    };
    assert_eq!(add("long", 0, Some(90)), None);
    assert_eq!(add("short", 1, Some(1)), None);
    assert_eq!(add("open", 2, None), None);
    for index in 3..50 {
        assert_eq!(add(&format!("r{index}"), index, None), None);
    }
    assert_eq!(add("r50", 50, None), forgotten("06:00:00", Some("07:30:00")));
    assert_eq!(add("r51", 51, None), forgotten("06:01:00", Some("07:30:00")));
    // One that is told again has no room again.
    assert_eq!(add("long", 0, Some(90)), forgotten("06:01:00", Some("07:30:00")));
    assert_eq!(add("r52", 52, None), forgotten("06:02:00", None));
    assert_eq!(add("open", 2, Some(1)), forgotten("06:02:00", None), "it may be one of many");
    assert_eq!(state.firings.len(), TargetState::FIRINGS_MAX);
}

#[test]
fn a_persons_no_is_kept_once_a_version_and_bounded() {
    let mut state = empty();
    let no = |record: &str, version: String| Declined {
        record: RecordId(record.to_owned()),
        token: token(&version),
        at: at("12:00:00"),
    };
    for index in 0..25 {
        add_declined(&mut state, no("first", format!("swap-{index}")));
        add_declined(&mut state, no("second", format!("swap-{index}")));
    }
    assert_eq!(state.declined.len(), TargetState::DECLINED_MAX);
    assert_eq!(state.declined[0], no("second", "swap-5".to_owned()));
}

#[test]
fn a_record_holds_once_and_lets_go() {
    let mut state = empty();
    let record = |index: usize| RecordId(format!("r{index}"));
    set_hold(&mut state, &record(0), Some(at("12:00:30")));
    set_hold(&mut state, &record(0), Some(at("12:01:00")));
    assert_eq!(state.holds.iter().map(|hold| hold.next_step_at).collect::<Vec<_>>(), [at("12:01:00")]);
    set_hold(&mut state, &record(0), None);
    set_hold(&mut state, &record(0), None);
    assert_eq!(state.holds, []);
    for index in 0..60 {
        set_hold(&mut state, &record(index), Some(at("12:01:00")));
    }
    assert_eq!(state.holds.len(), TargetState::HOLDS_MAX);
    assert_eq!(state.holds[0].record, record(10));
}

#[test]
fn two_readings_enclose_a_start_that_the_platform_does_not_tell() {
    let exact = Some(Began { not_before: at("09:00:00"), at_the_latest: at("09:00:00") });
    let mut state = empty();
    let first = observation("a", 41, Some(at("09:00:00")), at("10:00:00"));
    assert_eq!(running_since(&state, &first.running, first.observed_at), exact, "nothing speaks against it");
    absorb_observation(&mut state, &first);
    // Told of another version, the same moment is that of the first; the second began between the two readings.
    for told in [Some(at("09:00:00")), None] {
        for (observed_at, close) in [("10:05:00", true), ("10:15:00", true), ("10:15:01", false)] {
            let second = observation("b", 42, told, at(observed_at));
            let between = Began { not_before: at("10:00:00"), at_the_latest: at(observed_at) };
            let began = running_since(&state, &second.running, second.observed_at);
            assert_eq!(began, close.then_some(between), "{told:?} {observed_at}");
        }
    }
    absorb_observation(&mut state, &observation("b", 42, Some(at("09:00:00")), at("10:05:00")));
    let second = state.rollouts.iter().find(|rollout| rollout.token == token("b")).unwrap();
    assert_eq!((second.serving_since, second.first_seen_at), (None, at("10:05:00")));
    // Seen again, the first one still began when it did.
    assert_eq!(running_since(&state, &first.running, at("10:10:00")), exact);
}

#[test]
fn a_version_without_a_start_that_comes_back_begins_anew() {
    let mut state = empty();
    for (name, number, seen) in [("a", 41, "09:00:00"), ("a", 41, "10:00:00"), ("b", 42, "10:05:00"), ("b", 42, "10:10:00")] {
        absorb_observation(&mut state, &observation(name, number, None, at(seen)));
    }
    let back = observation("a", 41, None, at("10:12:00"));
    let between = Some(Began { not_before: at("10:10:00"), at_the_latest: at("10:12:00") });
    assert_eq!(running_since(&state, &back.running, back.observed_at), between);
    // A reading from before that is told late is none of its coming back.
    let mut late = state.clone();
    absorb_observation(&mut late, &observation("a", 41, None, at("10:01:00")));
    assert_eq!((tokens(&late), late.rollouts[0].first_seen_at), (vec!["a", "b"], at("09:00:00")));
    absorb_observation(&mut state, &back);
    assert_eq!((tokens(&state), state.rollouts[1].first_seen_at), (vec!["b", "a"], at("10:12:00")));
    let later = at("10:20:00");
    absorb_observation(&mut state, &observation("a", 41, None, later));
    assert_eq!(running_since(&state, &back.running, later), between, "and stays where it is");
}
