use backout::sim::{Grant, LockLevel, SlotDifference};
use reqwest::Method;
use serde_json::json;

use super::{Drill, SITE, answer, site, to_production, token};

#[tokio::test]
async fn ids_compare_without_case_and_show_as_written() {
    let drill = Drill::new().await;
    let base = drill.azure.resource_manager_url();
    let url = format!("{}{}?API-version=2025-05-01", base.as_str().trim_end_matches('/'), SITE.to_ascii_uppercase());
    let shown = answer(drill.http.get(url).bearer_auth(&drill.arm_token)).await.unwrap();
    assert_eq!(shown.status, 200);
    assert_eq!(shown.json()["id"], SITE);
    assert_eq!(shown.json()["properties"]["state"], "Running");

    let slot = drill.get("/slots/STAGING").await.json();
    assert_eq!(slot["id"], format!("{SITE}/slots/staging"));
    assert_eq!(slot["name"], "checkout/staging");
    assert_eq!(slot["type"], "Microsoft.Web/sites/slots");
    let slots = drill.get("/slots").await.json();
    assert_eq!(slots["value"].as_array().unwrap().len(), 1);
    assert_eq!(slots["value"][0]["name"], "checkout/staging");
}

#[tokio::test]
async fn what_is_not_there_is_404_with_a_code() {
    let drill = Drill::new().await;
    let slot = drill.get("/slots/gone").await;
    assert_eq!((slot.status.as_u16(), slot.code().as_str()), (404, "ResourceNotFound"));
    let base = drill.azure.resource_manager_url();
    let url = format!("{}{}-2?api-version=2025-05-01", base.as_str().trim_end_matches('/'), SITE);
    let other = answer(drill.http.get(url).bearer_auth(&drill.arm_token)).await.unwrap();
    assert_eq!((other.status.as_u16(), other.code().as_str()), (404, "ResourceNotFound"));
    assert_eq!(drill.get("/backups").await.status, 404);
}

#[tokio::test]
async fn an_api_version_is_required_and_must_be_a_known_one() {
    let drill = Drill::new().await;
    let missing = drill.get("?x=1").await;
    assert_eq!((missing.status.as_u16(), missing.code().as_str()), (400, "MissingApiVersionParameter"));
    let unknown = drill.get("?api-version=2031-01-01").await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (400, "NoRegisteredProviderFound"));
}

#[tokio::test]
async fn differences_show_settings_that_move_and_what_was_set() {
    let drill = Drill::new().await;
    drill.azure.deploy(&site(), "staging", "build-2");
    drill.azure.set_differences(
        &site(),
        vec![SlotDifference {
            level: "Error".to_owned(),
            setting_type: "General".to_owned(),
            setting_name: "Stack".to_owned(),
            rule: "StackDiffers".to_owned(),
            description: "The stacks differ.".to_owned(),
        }],
    );
    let list = drill.arm(Method::POST, "/slots/staging/slotsdiffs", Some(to_production())).await.json();
    let seen: Vec<_> = list["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["properties"]["level"].clone(), item["properties"]["settingName"].clone()))
        .collect();
    assert_eq!(seen, [(json!("Information"), json!("RELEASE_ID")), (json!("Error"), json!("Stack"))]);
    assert_eq!(list["value"][0]["properties"]["valueInCurrentSlot"], "build-2");
    assert_eq!(list["value"][0]["properties"]["valueInTargetSlot"], "build-1");
}

const PERMISSIONS: &str = "/providers/Microsoft.Authorization/permissions?api-version=2022-04-01";

#[tokio::test]
async fn a_revoked_action_shows_in_the_listing_and_is_refused() {
    let drill = Drill::new().await;
    let all = json!({ "actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": [] });
    assert_eq!(drill.get(PERMISSIONS).await.json(), json!({ "value": [all] }));

    drill.azure.revoke(None, "Microsoft.Web/sites/slots/slotsswap/action");
    let listing = drill.get(&format!("/slots/staging{PERMISSIONS}")).await.json();
    assert_eq!(listing["value"][0]["notActions"], json!(["Microsoft.Web/sites/slots/slotsswap/action"]));
    let refused = drill.swap("staging").await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (403, "AuthorizationFailed"));
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains(&format!("over scope '{SITE}/slots/staging'")));

    drill.azure.restore(None, "Microsoft.Web/sites/slots/slotsswap/action");
    assert_eq!(drill.swap("staging").await.status, 202);
}

#[tokio::test]
async fn grants_hold_for_one_identity_at_one_scope() {
    let drill = Drill::new().await;
    let actor = token(&drill.http, &drill.azure, super::ARM, Some("actor")).await;
    drill.azure.clear_grants();
    let grant = |identity: &str, actions: &[&str]| Grant {
        identity: Some(identity.to_owned()),
        scope: SITE.to_ascii_lowercase(),
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        not_actions: Vec::new(),
    };
    drill.azure.grant(grant("system", &["*/read"]));
    drill.azure.grant(grant("actor", &["Microsoft.Web/sites/slots/slotsswap/action"]));

    assert_eq!(drill.get("").await.status, 200);
    assert_eq!(drill.swap("staging").await.status, 403);
    assert_eq!(drill.arm(Method::POST, "/config/appsettings/list", None).await.status, 403);
    let acting = Drill { arm_token: actor, ..drill };
    assert_eq!(acting.get("").await.status, 403);
    assert_eq!(acting.swap("staging").await.status, 202);
    let group = format!(
        "{}{}",
        acting.azure.resource_manager_url(),
        "subscriptions/8d1f7a0e-0000-4000-8000-000000000001/resourceGroups/shop"
    );
    let listing = answer(acting.http.get(format!("{group}{PERMISSIONS}")).bearer_auth(&acting.arm_token)).await.unwrap();
    assert_eq!((listing.status.as_u16(), listing.json()), (200, json!({ "value": [] })));
}

#[tokio::test]
async fn clearing_ramp_up_rules_can_be_repeated() {
    let drill = Drill::new().await;
    drill.azure.set_ramp_up(&site(), "staging", 20.0);
    let clear = json!({ "properties": { "experiments": { "rampUpRules": [] } } });
    for _ in 0..2 {
        let changed = drill.arm(Method::PATCH, "/config/web", Some(clear.clone())).await;
        assert_eq!(changed.status, 200);
        assert_eq!(changed.json()["properties"]["experiments"]["rampUpRules"], json!([]));
    }
}

#[tokio::test]
async fn a_read_only_lock_refuses_even_posts_that_only_read() {
    let drill = Drill::new().await;
    let locks = "/providers/Microsoft.Authorization/locks?api-version=2020-05-01";
    assert_eq!(drill.get(locks).await.json(), json!({ "value": [] }));
    drill.azure.set_lock(&site(), Some(LockLevel::CanNotDelete));
    assert_eq!(drill.get(&format!("/slots/staging{locks}")).await.json()["value"][0]["properties"]["level"], "CanNotDelete");
    let differences = || drill.arm(Method::POST, "/slots/staging/slotsdiffs", Some(to_production()));
    assert_eq!(differences().await.status, 200);
    drill.azure.set_lock(&site(), Some(LockLevel::ReadOnly));
    for refused in [differences().await, drill.swap("staging").await] {
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (409, "ScopeLocked"));
    }
    assert_eq!(drill.get("").await.status, 200);
    assert!(!drill.azure.is_busy(&site()));
}

#[tokio::test]
async fn a_correlation_id_comes_back() {
    let drill = Drill::new().await;
    let url = format!("{}{}?api-version=2025-05-01", drill.azure.resource_manager_url(), &SITE[1..]);
    let request = drill.http.get(url).bearer_auth(&drill.arm_token).header("x-ms-correlation-request-id", "our-decision");
    let shown = answer(request).await.unwrap();
    assert_eq!(shown.header("x-ms-correlation-request-id"), "our-decision");
    assert_ne!(shown.header("x-ms-request-id"), "");
    assert_eq!(drill.azure.journal().last().unwrap().header("x-ms-correlation-request-id"), Some("our-decision"));
}
