use std::time::Duration;

use backout::sim::{Fault, FaultBody, FaultEffect, JournalEntry, Moment, Role, Wait};
use reqwest::Method;

use super::{Drill, answer, site};

fn swaps(drill: &Drill) -> Vec<JournalEntry> {
    drill.azure.journal().into_iter().filter(|entry| entry.path_and_query.contains("slotsswap")).collect()
}

fn on_swap(effect: FaultEffect) -> Fault {
    Fault::on("POST", "/slotsswap", effect)
}

#[tokio::test]
async fn a_throttled_call_has_no_effect() {
    let drill = Drill::new().await;
    drill.azure.inject(on_swap(FaultEffect::Throttle { retry_after_seconds: 17 }));
    let throttled = drill.swap("staging").await;
    assert_eq!((throttled.status.as_u16(), throttled.header("retry-after")), (429, "17"));
    assert_eq!(throttled.code(), "TooManyRequests");
    assert!(!drill.azure.is_busy(&site()));
    assert_eq!(drill.swap("staging").await.status, 202, "used up");
    let seen: Vec<_> = swaps(&drill).iter().map(|entry| (entry.status, entry.effects, entry.fault)).collect();
    assert_eq!(seen, [(Some(429), 0, Some("throttle")), (Some(202), 1, None)]);
}

#[tokio::test]
async fn a_status_before_the_effect_leaves_the_world_alone_and_one_after_does_not() {
    let drill = Drill::new().await;
    let html = |moment, status| on_swap(FaultEffect::Status { moment, status, body: FaultBody::Html });
    drill.azure.inject(html(Moment::BeforeEffect, 502));
    let before = drill.swap("staging").await;
    assert_eq!((before.status.as_u16(), before.header("content-type")), (502, "text/html"));
    assert!(before.text.starts_with("<html>"));
    assert!(!drill.azure.is_busy(&site()));

    drill.azure.inject(html(Moment::AfterEffect, 504));
    let after = drill.swap("staging").await;
    assert_eq!(after.status, 504);
    assert_eq!(after.header("location"), "");
    assert!(drill.azure.is_busy(&site()));
    drill.advance_seconds(90);
    assert_eq!(drill.azure.swap_count(&site()), 1);
    assert_eq!(swaps(&drill).iter().map(|entry| entry.effects).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_reset_is_seen_as_a_broken_connection_without_a_status() {
    let drill = Drill::new().await;
    // Once on a fresh connection, and then on one that has been used: a client must not send it again by itself.
    for (round, moment) in [Moment::BeforeEffect, Moment::AfterEffect].into_iter().enumerate() {
        drill.azure.inject(on_swap(FaultEffect::Reset { moment }));
        let error = drill.try_swap("staging").await.err().expect("no answer");
        assert!(error.is_request() && !error.is_connect() && error.status().is_none(), "{error:?}");
        assert_eq!(swaps(&drill).len(), round + 1, "sent once");
        assert_eq!(drill.azure.is_busy(&site()), moment == Moment::AfterEffect);
        assert_eq!(drill.get("").await.status, 200, "the next connection works");
    }
    let seen: Vec<_> = swaps(&drill).iter().map(|entry| (entry.status, entry.effects)).collect();
    assert_eq!(seen, [(None, 0), (None, 1)]);
}

#[tokio::test]
async fn what_was_asked_for_happens_although_the_caller_has_gone() {
    let drill = Drill::new().await;
    drill.azure.inject(on_swap(FaultEffect::Delay { moment: Moment::BeforeEffect, wait: Wait::Virtual(Duration::from_secs(5)) }));
    let url =
        format!("{}{}/slots/staging/slotsswap?api-version=2025-05-01", drill.azure.resource_manager_url(), &super::SITE[1..]);
    let request = drill.http.post(url).bearer_auth(&drill.arm_token).json(&super::to_production());
    let error = request.timeout(Duration::from_millis(200)).send().await.expect_err("too late");
    assert!(error.is_timeout());
    assert!(!drill.azure.is_busy(&site()));
    drill.advance_seconds(5);
    while swaps(&drill)[0].status.is_none() {
        tokio::task::yield_now().await;
    }
    assert!(drill.azure.is_busy(&site()));
    assert_eq!(swaps(&drill)[0].effects, 1);
}

#[tokio::test]
async fn an_answer_can_be_late_in_real_time() {
    let drill = Drill::new().await;
    drill.azure.inject(on_swap(FaultEffect::Delay { moment: Moment::AfterEffect, wait: Wait::Real(Duration::from_millis(30)) }));
    assert_eq!(drill.swap("staging").await.status, 202);
}

#[tokio::test]
async fn a_redirect_leads_to_a_host_that_takes_note() {
    let drill = Drill::new().await;
    drill.azure.inject(on_swap(FaultEffect::RedirectElsewhere { status: 307 }));
    let redirected = drill.swap("staging").await;
    assert_eq!(redirected.status, 307);
    let location = redirected.header("location").to_owned();
    assert!(location.starts_with(drill.azure.stranger_url().as_str()), "{location}");
    assert!(!drill.azure.is_busy(&site()));

    assert_eq!(answer(drill.http.post(location).bearer_auth(&drill.arm_token)).await.unwrap().status, 200);
    let led_astray: Vec<_> = drill.azure.journal().into_iter().filter(|entry| entry.role == Role::Stranger).collect();
    assert_eq!(led_astray.len(), 1);
    assert!(led_astray[0].authorized);
}

#[tokio::test]
async fn an_operation_url_can_be_on_another_host() {
    let drill = Drill::new().await;
    drill.azure.inject(on_swap(FaultEffect::OperationUrlElsewhere));
    let accepted = drill.swap("staging").await;
    assert_eq!(accepted.status, 202);
    assert!(accepted.header("location").starts_with(drill.azure.stranger_url().as_str()));
    assert!(drill.azure.is_busy(&site()));
}

#[tokio::test]
async fn an_operation_can_be_made_to_fail_at_its_end() {
    let drill = Drill::new().await;
    drill.azure.inject(on_swap(FaultEffect::OperationFails { says: "the allocation of VM instances changed.".to_owned() }));
    let location = drill.swap("staging").await.header("location").to_owned();
    assert_eq!(drill.poll(&location).await.status, 202);
    drill.advance_seconds(90);
    let failed = drill.poll(&location).await;
    assert_eq!(failed.status, 400);
    assert_eq!(failed.json()["Message"], "Cannot swap slots for site 'checkout' because the allocation of VM instances changed.");
    assert_eq!(drill.azure.swap_count(&site()), 0);
    assert_eq!(drill.swap("staging").await.status, 202, "only that one fails");
}

#[tokio::test]
async fn polling_can_be_denied_or_have_expired() {
    let drill = Drill::new().await;
    let location = drill.swap("staging").await.header("location").to_owned();
    drill.azure.inject(Fault::polling_denied().times(2));
    drill.azure.inject(Fault::polling_expired().after(2));
    for (status, code) in [(403, "AuthorizationFailed"), (403, "AuthorizationFailed"), (404, "NotFound")] {
        let polled = drill.poll(&location).await;
        assert_eq!((polled.status.as_u16(), polled.code().as_str()), (status, code));
    }
    assert_eq!(drill.poll(&location).await.status, 202);
}

#[tokio::test]
async fn a_fault_waits_for_its_turn_and_ends_after_its_times() {
    let drill = Drill::new().await;
    let unavailable = FaultEffect::Status { moment: Moment::BeforeEffect, status: 503, body: FaultBody::Empty };
    drill.azure.inject(Fault::on("get", "/SITES/checkout?", unavailable.clone()).after(1).times(2));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(drill.get("").await.status.as_u16());
        assert_eq!(drill.get("/slots/staging").await.status, 200, "not meant");
    }
    assert_eq!(seen, [200, 503, 503, 200]);

    drill.azure.inject(Fault::on_role(Role::ServiceBus, unavailable).times(100));
    assert_eq!(drill.bus(Method::POST, "alerts/messages", &[], "x").await.status, 503);
    drill.azure.clear_faults();
    assert_eq!(drill.bus(Method::POST, "alerts/messages", &[], "x").await.status, 201);
}

#[tokio::test]
async fn a_stopped_simulation_answers_nobody() {
    let drill = Drill::new().await;
    assert_eq!(drill.get("").await.status, 200);
    drill.azure.stop();
    assert!(drill.try_swap("staging").await.is_err());
    assert!(!drill.azure.is_busy(&site()));
}
