use std::{sync::Arc, time::Duration};

use backout::{
    ports::Clock,
    sim::clock::{ManualClock, ScaledClock},
};

use super::time;

#[test]
fn a_scaled_clock_runs_from_its_origin() {
    let clock = ScaledClock::from_setting(" 60@2026-11-25T10:00:00Z ").unwrap();
    assert_eq!(clock.at(time("2026-11-25T10:00:00Z")), time("2026-11-25T10:00:00Z"));
    assert_eq!(clock.at(time("2026-11-25T10:01:30Z")), time("2026-11-25T11:30:00Z"));
    assert_eq!(clock.at(time("2026-11-25T09:59:59Z")), time("2026-11-25T09:59:00Z"));
    assert_eq!(clock.setting(), "60@2026-11-25T10:00:00Z");
    let other = ScaledClock::from_setting(&clock.setting()).unwrap();
    assert_eq!(other.at(time("2026-11-25T12:34:56.789Z")), clock.at(time("2026-11-25T12:34:56.789Z")));
}

#[test]
fn a_scaled_clock_stays_within_what_a_time_can_be() {
    let clock = ScaledClock::from_setting("100000@2026-11-25T10:00:00Z").unwrap();
    assert_eq!(clock.at(time("2126-11-25T10:00:00Z")), jiff::Timestamp::MAX);
    assert_eq!(clock.at(time("1926-11-25T10:00:00Z")), jiff::Timestamp::MIN);
}

#[test]
fn a_wrong_setting_is_told_in_a_sentence() {
    let problem = |text: &str| ScaledClock::from_setting(text).unwrap_err().to_string();
    assert_eq!(
        problem("fast"),
        "`fast` is not a number of virtual seconds per real second; write for example `60` or `60@2026-11-25T10:00:00Z`"
    );
    for outside in ["0", "-1", "1e9", "NaN", "inf"] {
        assert_eq!(problem(outside), format!("the scale `{outside}` is not between 0.01 and 100000"));
    }
    assert_eq!(
        problem("60@yesterday"),
        "`yesterday` after the `@` is not a time in UTC; write for example `2026-11-25T10:00:00Z`"
    );
    assert!(problem("").starts_with("`` is not a number"));
}

#[tokio::test]
async fn a_scaled_sleep_lets_the_virtual_time_pass() {
    let clock = ScaledClock::from_setting("10000").unwrap();
    let (wall, monotonic) = (clock.now(), clock.monotonic());
    clock.sleep(Duration::from_secs(100)).await;
    assert!(clock.now().duration_since(wall) >= jiff::SignedDuration::from_secs(99));
    assert!(clock.monotonic() >= monotonic + Duration::from_secs(99));
}

#[tokio::test]
async fn a_manual_sleep_ends_when_the_clock_was_advanced_far_enough() {
    let clock = Arc::new(ManualClock::at(time("2026-11-25T10:00:00Z")));
    let sleeping = tokio::spawn({
        let clock = Arc::clone(&clock);
        async move {
            clock.sleep(Duration::from_secs(10)).await;
            clock.now()
        }
    });
    tokio::task::yield_now().await;
    clock.advance(Duration::from_secs(9));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!sleeping.is_finished());
    clock.set(time("2026-11-25T10:00:10Z"));
    assert_eq!(sleeping.await.unwrap(), time("2026-11-25T10:00:10Z"));
}

#[tokio::test]
async fn a_self_advancing_clock_does_not_wait() {
    let clock = ManualClock::that_advances_on_sleep(time("2026-11-25T10:00:00Z"));
    clock.sleep(Duration::from_hours(1)).await;
    assert_eq!((clock.now(), clock.monotonic()), (time("2026-11-25T11:00:00Z"), Duration::from_hours(1)));
}

#[test]
fn setting_the_wall_clock_back_leaves_monotonic_time() {
    let clock = ManualClock::at(time("2026-11-25T10:00:00Z"));
    clock.set(time("2026-11-25T10:00:30Z"));
    clock.set(time("2026-11-25T09:00:00Z"));
    assert_eq!((clock.now(), clock.monotonic()), (time("2026-11-25T09:00:00Z"), Duration::from_secs(30)));
}
