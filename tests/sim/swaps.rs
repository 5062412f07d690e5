use std::time::Duration;

use backout::sim::{Delivery, SimulatedSite};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Drill, SITE, site, to_production};

/// `build-2` was pushed to staging and swapped in, 10 minutes ago.
async fn after_a_bad_release() -> Drill {
    let drill = Drill::new().await;
    drill.azure.deploy(&site(), "staging", "build-2");
    drill.azure.swap_now(&site(), "staging", "production").unwrap();
    drill.advance_seconds(600);
    drill
}

#[tokio::test]
async fn a_swap_is_accepted_then_runs_then_is_done() {
    let drill = after_a_bad_release().await;
    assert_eq!(drill.azure.running_build(&site()), "build-2");

    let accepted = drill.swap("staging").await;
    assert_eq!(accepted.status, 202);
    assert_eq!(accepted.text, "");
    assert_eq!(accepted.header("retry-after"), "15");
    let location = accepted.header("location").to_owned();
    let expected = format!("{}{}/slots/staging/operationresults/", drill.azure.resource_manager_url(), &SITE[1..]);
    assert!(location.starts_with(&expected), "{location}");
    assert!(location.ends_with("?api-version=2025-05-01"), "{location}");
    let operation = location[expected.len()..].split('?').next().unwrap().to_owned();

    for path in ["", "/slots/staging"] {
        let busy = drill.get(path).await.json();
        assert_eq!(busy["properties"]["inProgressOperationId"], operation.as_str(), "{path}");
    }
    drill.advance_seconds(89);
    let running = drill.poll(&location).await;
    assert_eq!((running.status.as_u16(), running.header("location")), (202, location.as_str()));
    assert_eq!(drill.azure.running_build(&site()), "build-2");

    drill.advance_seconds(31);
    let done = drill.poll(&location).await;
    assert_eq!((done.status.as_u16(), done.text.as_str()), (200, ""));
    assert_eq!(drill.azure.running_build(&site()), "build-1");
    assert_eq!(drill.azure.build_in(&site(), "staging"), "build-2");
    assert_eq!(drill.azure.swap_count(&site()), 2);
    for path in ["", "/slots/staging"] {
        let properties = drill.get(path).await.json()["properties"].take();
        assert_eq!(properties["inProgressOperationId"], Value::Null);
        // Dated when it ended, though nobody looked until half a minute later.
        assert_eq!(
            properties["slotSwapStatus"],
            json!({ "timestampUtc": "2026-11-25T10:11:30.0000000Z", "sourceSlotName": "staging", "destinationSlotName": "production" })
        );
    }
}

#[tokio::test]
async fn content_moves_and_what_is_sticky_stays() {
    let drill = Drill::new().await;
    drill.azure.set_sticky_setting(&site(), "staging", "DATABASE", "test");
    drill.azure.set_sticky_setting(&site(), "production", "DATABASE", "live");
    drill.azure.set_auto_swap(&site(), "staging", None);
    drill.azure.set_ramp_up(&site(), "staging", 20.0);
    drill.azure.deploy(&site(), "staging", "build-2");
    drill.azure.swap_now(&site(), "staging", "production").unwrap();

    let settings = |path: &'static str| drill.arm(Method::POST, path, None);
    let production = settings("/config/appsettings/list").await.json()["properties"].take();
    assert_eq!(production["RELEASE_ID"], "build-2");
    assert_eq!(production["DATABASE"], "live");
    assert_eq!(production["ENVIRONMENT_NAME"], "production");
    let staging = settings("/slots/staging/config/appsettings/list").await.json()["properties"].take();
    assert_eq!(staging["RELEASE_ID"], "build-1");
    assert_eq!(staging["DATABASE"], "test");

    let log = drill.get("/deployments").await.json();
    let entries = log["value"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "the pushed build, and what was there before it");
    assert_eq!(entries[0]["properties"]["message"], "Deployed build-2");
    assert_eq!(entries[0]["properties"]["active"], true);
    assert_eq!(entries[0]["properties"]["status"], 4);
    assert_eq!(entries[0]["properties"]["end_time"], "2026-11-25T10:00:00.0000000Z");
    assert_eq!(entries[1]["properties"]["active"], false);

    let rules = drill.get("/config/web").await.json()["properties"]["experiments"]["rampUpRules"].take();
    assert_eq!(
        rules,
        json!([{ "actionHostName": "checkout-staging.azurewebsites.net", "reroutePercentage": 20.0, "name": "staging" }])
    );
    let sticky = drill.get("/config/slotConfigNames").await.json();
    assert_eq!(sticky["properties"]["appSettingNames"], json!(["ENVIRONMENT_NAME", "DATABASE"]));
}

#[tokio::test]
async fn the_same_swap_twice_puts_the_bad_build_back() {
    let drill = after_a_bad_release().await;
    for (expected, seconds) in [("build-1", 100), ("build-2", 100)] {
        assert_eq!(drill.swap("staging").await.status, 202);
        drill.advance_seconds(seconds);
        assert_eq!(drill.azure.running_build(&site()), expected);
    }
}

#[tokio::test]
async fn a_second_swap_is_refused_while_one_runs() {
    let drill = after_a_bad_release().await;
    assert_eq!(drill.swap("staging").await.status, 202);
    let second = drill.swap("staging").await;
    assert_eq!(second.status, 409);
    let body = second.json();
    assert_eq!(body["Code"], "Conflict");
    let message = body["Message"].as_str().unwrap();
    assert!(message.starts_with("Cannot modify this site because another operation is in progress. Details: Id: "), "{message}");
    assert!(message.contains("OperationName: SwapSiteSlots"), "{message}");
    drill.advance_seconds(100);
    assert_eq!(drill.azure.running_build(&site()), "build-1");
    assert_eq!(drill.azure.swap_count(&site()), 2);
}

#[tokio::test]
async fn somebody_elses_swap_keeps_the_site_busy() {
    let drill = after_a_bad_release().await;
    drill.azure.begin_swap(&site(), "staging", "production", SignedDuration::from_secs(30)).unwrap();
    assert!(drill.azure.is_busy(&site()));
    assert_eq!(drill.swap("staging").await.status, 409);
    drill.advance_seconds(30);
    assert!(!drill.azure.is_busy(&site()));
    assert_eq!(drill.azure.running_build(&site()), "build-1");
}

#[tokio::test]
async fn a_failing_swap_leaves_everything_as_it_was() {
    let drill = after_a_bad_release().await;
    let before = drill.get("").await.json()["properties"]["slotSwapStatus"].take();
    drill.azure.set_swaps_fail(&site(), Some("the worker process for 'staging' slot could not be started."));
    let location = drill.swap("staging").await.header("location").to_owned();
    drill.advance_seconds(90);
    let failed = drill.poll(&location).await;
    assert_eq!(failed.status, 400);
    assert_eq!(
        failed.json()["Message"],
        "Cannot swap slots for site 'checkout' because the worker process for 'staging' slot could not be started."
    );
    assert_eq!(failed.json()["Details"][2]["ErrorEntity"]["ExtendedCode"], "51021");
    assert_eq!(drill.azure.running_build(&site()), "build-2");
    let after = drill.get("").await.json()["properties"].take();
    assert_eq!(after["slotSwapStatus"], before);
    assert_eq!(after["inProgressOperationId"], Value::Null);
    assert_eq!(drill.azure.swap_count(&site()), 1);
}

#[tokio::test]
async fn a_stopped_slot_can_not_be_swapped_in() {
    let drill = after_a_bad_release().await;
    drill.azure.set_slot_running(&site(), "staging", false);
    assert_eq!(drill.get("/slots/staging").await.json()["properties"]["state"], "Stopped");
    let location = drill.swap("staging").await.header("location").to_owned();
    drill.advance_seconds(90);
    assert_eq!(drill.poll(&location).await.status, 400);
    assert_eq!(drill.azure.running_build(&site()), "build-2");
}

#[tokio::test]
async fn a_swap_without_duration_is_done_at_once() {
    let drill = Drill::with(SimulatedSite::new(site(), "build-1").with_swap_taking(Duration::ZERO)).await;
    drill.azure.deploy(&site(), "staging", "build-2");
    // The site's own form: the body names the other slot.
    let done = drill.arm(Method::POST, "/slotsswap", Some(json!({ "targetSlot": "Staging", "preserveVnet": true }))).await;
    assert_eq!(done.status, 200);
    assert_eq!(drill.azure.running_build(&site()), "build-2");
    let status = drill.get("").await.json()["properties"]["slotSwapStatus"].take();
    assert_eq!(status["sourceSlotName"], "staging");
    assert_eq!(status["destinationSlotName"], "production");
}

#[tokio::test]
async fn a_prepared_swap_blocks_every_other_change_until_it_is_completed_or_reset() {
    let drill = Drill::with(SimulatedSite::new(site(), "build-1").with_slots(&["staging", "last-good"])).await;
    drill.azure.deploy(&site(), "staging", "build-2");
    let prepared = drill.arm(Method::POST, "/slots/staging/applySlotConfig", Some(to_production())).await;
    assert_eq!(prepared.status, 200);
    assert_eq!(drill.get("/slots/staging").await.json()["properties"]["targetSwapSlot"], "production");

    let other = drill.swap("last-good").await;
    assert_eq!(other.status, 409);
    assert!(other.json()["Message"].as_str().unwrap().contains("prepared for swap"));
    let config = drill.arm(Method::PATCH, "/config/web", Some(json!({ "properties": { "autoSwapSlotName": "" } }))).await;
    assert_eq!(config.status, 409);

    assert_eq!(drill.arm(Method::POST, "/resetSlotConfig", None).await.status, 200);
    assert_eq!(drill.get("/slots/staging").await.json()["properties"]["targetSwapSlot"], Value::Null);
    drill.azure.prepare_swap(&site(), "staging", "production");
    assert_eq!(drill.swap("staging").await.status, 202, "the same swap completes it");
    drill.advance_seconds(90);
    assert_eq!(drill.azure.running_build(&site()), "build-2");
    assert_eq!(drill.get("/slots/staging").await.json()["properties"]["targetSwapSlot"], Value::Null);
}

#[tokio::test]
async fn an_auto_swap_brings_the_next_push_live() {
    let drill = Drill::new().await;
    drill.azure.set_auto_swap(&site(), "staging", Some("production"));
    assert_eq!(drill.get("/slots/staging/config/web").await.json()["properties"]["autoSwapSlotName"], "production");
    drill.azure.deploy(&site(), "staging", "build-2");
    assert!(drill.azure.is_busy(&site()));
    drill.advance_seconds(90);
    assert_eq!(drill.azure.running_build(&site()), "build-2");
}

#[tokio::test]
async fn a_swap_needs_both_fields_and_two_slots_that_exist() {
    let drill = Drill::new().await;
    let swap = |body: Value| drill.arm(Method::POST, "/slots/staging/slotsswap", Some(body));
    assert_eq!(swap(json!({ "targetSlot": "production" })).await.status, 400);
    assert_eq!(swap(json!({ "preserveVnet": true })).await.status, 400);
    assert_eq!(swap(json!({ "targetSlot": "staging", "preserveVnet": true })).await.status, 400);
    assert_eq!(swap(json!({ "targetSlot": "gone", "preserveVnet": true })).await.status, 404);
    assert_eq!(drill.swap("gone").await.status, 404);
    drill.advance_seconds(100);
    assert_eq!(drill.azure.swap_count(&site()), 0);
    assert_eq!(drill.azure.journal().iter().map(|entry| entry.effects).sum::<u32>(), 0);
}

#[tokio::test]
async fn an_operation_is_known_only_at_its_own_site() {
    let drill = Drill::new().await;
    let unknown = drill.get("/slots/staging/operationresults/5b0f6f0e-0000-4000-8000-000000000000").await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (404, "NotFound"));
}

#[tokio::test]
async fn a_container_shows_its_image_and_takes_another_one() {
    let drill = Drill::with(SimulatedSite::new(site(), "v1").delivered_as(Delivery::TaggedImage)).await;
    drill.azure.deploy(&site(), "production", "v2");
    let image = |answer: super::Answer| answer.json()["properties"]["linuxFxVersion"].as_str().unwrap().to_owned();
    assert_eq!(image(drill.get("/config/web").await), "DOCKER|registry.example.com/app:v2");
    let back = json!({ "properties": { "linuxFxVersion": "DOCKER|registry.example.com/app:v1" } });
    let changed = drill.arm(Method::PATCH, "/config/web", Some(back)).await;
    assert_eq!(changed.status, 200);
    assert_eq!(image(changed), "DOCKER|registry.example.com/app:v1");
    assert_eq!(drill.azure.running_build(&site()), "v1");
}

#[tokio::test]
async fn app_settings_are_replaced_all_at_once_and_name_the_package() {
    let drill = Drill::with(SimulatedSite::new(site(), "v1").delivered_as(Delivery::Package)).await;
    drill.azure.deploy(&site(), "production", "v2");
    let listed = drill.arm(Method::POST, "/config/appsettings/list", None).await.json();
    assert_eq!(listed["properties"]["WEBSITE_RUN_FROM_PACKAGE"], "https://packages.example.com/app/v2.zip");
    let settings = json!({
        "WEBSITE_RUN_FROM_PACKAGE": "https://packages.example.com/app/v1.zip", "ENVIRONMENT_NAME": "production"
    });
    let changed = drill.arm(Method::PUT, "/config/appsettings", Some(json!({ "properties": settings }))).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["properties"]), (200, &settings), "what was not named is gone");
    assert_eq!(drill.azure.running_build(&site()), "v1");
    // A sticky setting stays with its slot, the package moves.
    drill.azure.swap_now(&site(), "staging", "production").unwrap();
    let moved = drill.azure.app_settings(&site(), "staging");
    assert_eq!(moved["ENVIRONMENT_NAME"], "staging");
    assert_eq!(moved["WEBSITE_RUN_FROM_PACKAGE"], "https://packages.example.com/app/v1.zip");

    let number = json!({ "properties": { "A": 1 } });
    assert_eq!(drill.arm(Method::PUT, "/config/appsettings", Some(number)).await.status, 400);
    assert_eq!(drill.arm(Method::PUT, "/config/appsettings", Some(json!({}))).await.status, 400);
    drill.azure.prepare_swap(&site(), "staging", "production");
    assert_eq!(drill.arm(Method::PUT, "/config/appsettings", Some(json!({ "properties": {} }))).await.status, 409);
}

#[tokio::test]
async fn an_image_by_its_digest_leaves_no_deployment() {
    let drill = Drill::with(SimulatedSite::new(site(), "v1").delivered_as(Delivery::Image)).await;
    let first = drill.get("/config/web").await.json()["properties"]["linuxFxVersion"].clone();
    assert!(first.as_str().unwrap().starts_with("DOCKER|registry.example.com/app@sha256:"), "{first}");
    drill.azure.deploy(&site(), "production", "v2");
    assert_eq!(drill.get("/deployments").await.json()["value"], json!([]));
    let back = json!({ "properties": { "linuxFxVersion": first } });
    assert_eq!(drill.arm(Method::PATCH, "/config/web", Some(back)).await.status, 200);
    assert_eq!(drill.azure.running_build(&site()), "v1");
}
