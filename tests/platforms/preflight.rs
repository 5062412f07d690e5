//! Rights and differences, asked before they are needed.

use backout::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::{Obstacle, ObstacleWeight, Preflight},
        rule::RuleId,
        target::FingerprintSource,
    },
    ports::PortError,
};
use serde_json::{Value, json};

use super::{
    app_service::target,
    server::{FakeAzure, Reply, SITE, adapter_over, identity},
};

const ALL: &str = r#"{"value": [{"actions": ["*"], "notActions": []}]}"#;

fn permissions() -> String {
    format!("GET {SITE}/providers/Microsoft.Authorization/permissions")
}

fn diffs(slot: &str) -> String {
    format!("POST {SITE}/slots/{slot}/slotsdiffs")
}

fn difference(level: &str) -> Value {
    json!({"properties": {"level": level, "settingType": "AppSetting", "settingName": "DB", "diffRule": "SlotSettingsMissing",
        "valueInCurrentSlot": "hunter2", "valueInTargetSlot": "hunter3"}})
}

async fn check(azure: &FakeAzure, slots: &[&str]) -> Result<Preflight, PortError> {
    azure.adapter(&target(slots, FingerprintSource::Default)).preflight().await
}

/// What stands against one way back.
fn against(preflight: &Preflight, way: &str) -> Vec<Obstacle> {
    preflight.ways_back.iter().find(|(name, _)| name == way).unwrap().1.clone()
}

fn summary(obstacles: &[Obstacle]) -> Vec<(RuleId, ObstacleWeight)> {
    obstacles.iter().map(|obstacle| (obstacle.rule, obstacle.weight)).collect()
}

#[tokio::test]
async fn an_open_way_has_no_obstacles() {
    let azure = FakeAzure::start().await;
    azure.on(&permissions(), [Reply::text(200, ALL)]);
    let next = format!("{}page2", azure.url);
    azure.on(&diffs("staging"), [Reply::json(200, &json!({"value": [difference("Warning")], "nextLink": next}))]);
    azure.on("GET /page2", [Reply::json(200, &json!({"value": [difference("Information")]}))]);
    let preflight = check(&azure, &["staging", "gone"]).await.unwrap();
    assert_eq!(preflight.obstacles, []);
    let open = |name: &str| (name.to_owned(), vec![]);
    let ways = ["slot staging", "slot gone", "slot production alone", "the image registry"];
    assert_eq!(preflight.ways_back, ways.map(open));

    let recorded = azure.recorded();
    let asked = |line: &str| recorded.iter().filter(|r| r.line() == line).collect::<Vec<_>>();
    let mut tokens: Vec<_> = asked(&permissions()).iter().map(|r| r.header("authorization").unwrap()).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, ["Bearer actor-token", "Bearer reader-token"]);
    assert_eq!(asked(&permissions())[0].query, "api-version=2022-04-01");
    let diff = asked(&diffs("staging"))[0];
    assert_eq!(diff.query, "api-version=2025-05-01");
    assert_eq!(serde_json::from_str::<Value>(&diff.body).unwrap(), json!({"targetSlot": "production", "preserveVnet": true}));
    assert_eq!(diff.header("authorization"), Some("Bearer reader-token"));
}

#[tokio::test]
async fn one_identity_is_asked_once() {
    let azure = FakeAzure::start().await;
    azure.on(&permissions(), [Reply::text(200, ALL)]);
    let both = identity("reader-token");
    let arm = ResourceManager::new(azure.url.clone(), both.clone(), both);
    let preflight = adapter_over(arm, &target(&[], FingerprintSource::Default)).preflight().await.unwrap();
    assert_eq!(preflight.obstacles, []);
    assert_eq!(azure.recorded().iter().filter(|r| r.line() == permissions()).count(), 1);
}

#[tokio::test]
async fn a_missing_right_is_named_with_its_cure() {
    let azure = FakeAzure::start().await;
    azure.on(&permissions(), [Reply::text(200, r#"{"value": [{"actions": ["*/read"], "notActions": []}]}"#)]);
    let preflight = check(&azure, &["staging"]).await.unwrap();
    assert_eq!(preflight.obstacles, [], "each way has rights of its own");
    let swap = against(&preflight, "slot staging");
    assert_eq!(summary(&swap), [(RuleId::S9, ObstacleWeight::Page)]);
    let image = against(&preflight, "the image registry");
    assert_eq!(summary(&image), [(RuleId::S9, ObstacleWeight::Page)]);
    assert!(image[0].says.contains("`Microsoft.Web/sites/config/write`"), "{}", image[0].says);
    let says = &swap[0].says;
    for part in ["acting identity lacks `Microsoft.Web/sites/slots/slotsswap/action`", SITE, "az role assignment create"] {
        assert!(says.contains(part), "{says}");
    }
    azure.on(&permissions(), [Reply::text(200, r#"{"value": [{"actions": ["*/action"]}]}"#)]);
    let swap = against(&check(&azure, &["staging"]).await.unwrap(), "slot staging");
    assert_eq!(swap.len(), 2);
    assert!(swap.iter().all(|o| o.weight == ObstacleWeight::Page && o.says.contains("operationresults/read")));

    azure.on(&permissions(), [Reply::text(200, r#"{"value": []}"#)]);
    assert_eq!(against(&check(&azure, &["staging"]).await.unwrap(), "slot staging").len(), 3);
    azure.on(&permissions(), [Reply::text(200, r#"{"value": [{"actions": ["*"], "condition": "@x"}]}"#)]);
    let preflight = check(&azure, &["staging"]).await.unwrap();
    assert_eq!(summary(&against(&preflight, "slot staging")), [(RuleId::S9, ObstacleWeight::Propose); 3]);
}

#[tokio::test]
async fn what_could_not_be_checked_goes_to_a_person() {
    let azure = FakeAzure::start().await;
    azure.on(&permissions(), [Reply::empty(403)]).on(&diffs("staging"), [Reply::empty(500)]);
    let preflight = check(&azure, &["staging"]).await.unwrap();
    let swap = against(&preflight, "slot staging");
    let rules = [RuleId::S10, RuleId::S9, RuleId::S9];
    assert_eq!(summary(&swap), rules.map(|rule| (rule, ObstacleWeight::Propose)));
    assert!(swap.iter().all(|o| o.says.contains("could not be checked")));
    assert_eq!(azure.recorded().iter().filter(|r| r.method == "POST").count(), 1, "a POST is not tried again");
}

#[tokio::test]
async fn a_difference_that_azure_calls_an_error_closes_the_way() {
    let azure = FakeAzure::start().await;
    azure.on(&permissions(), [Reply::text(200, ALL)]);
    let found = json!({"value": [difference("Warning"), difference("error")]});
    azure.on(&diffs("staging"), [Reply::json(200, &found)]);
    let preflight = check(&azure, &["staging"]).await.unwrap();
    assert_eq!(summary(&preflight.ways_back[0].1), [(RuleId::S10, ObstacleWeight::Page)]);
    let says = &preflight.ways_back[0].1[0].says;
    assert!(says.contains("`DB` (AppSetting)") && !says.contains("hunter"), "{says}");
}

#[tokio::test]
async fn a_read_only_lock_closes_every_way() {
    use ObstacleWeight::{Page, Propose};
    let lock = |level: &str| Reply::json(200, &json!({"value": [{"id": "x", "properties": {"level": level}}]}));
    let rows = [
        (lock("ReadOnly"), vec![(RuleId::S9, Page)]),
        (lock("CanNotDelete"), vec![]),
        (Reply::empty(403), vec![(RuleId::S9, Propose)]),
        (Reply::empty(404), vec![]),
    ];
    for (reply, expected) in rows {
        let azure = FakeAzure::start().await;
        azure.on(&permissions(), [Reply::text(200, ALL)]);
        azure.on(&format!("GET {SITE}/providers/Microsoft.Authorization/locks"), [reply]);
        assert_eq!(summary(&check(&azure, &[]).await.unwrap().obstacles), expected);
    }
}

#[tokio::test]
async fn clearing_rules_needs_a_right_of_its_own() {
    let azure = FakeAzure::start().await;
    let no_write = r#"{"value": [{"actions": ["*"], "notActions": ["Microsoft.Web/sites/config/write"]}]}"#;
    azure.on(&permissions(), [Reply::text(200, no_write)]).on(&diffs("staging"), [Reply::json(200, &json!({"value": []}))]);
    let config = format!("GET {SITE}/config/web");
    let rules = |percentage: u32| {
        let rule = json!({"actionHostName": "checkout-staging.test", "reroutePercentage": percentage});
        Reply::json(200, &json!({"properties": {"experiments": {"rampUpRules": [rule]}}}))
    };
    let lacks = |weight| vec![(RuleId::S9, weight)];
    for (rules, swap, ramp) in [
        (rules(20), lacks(ObstacleWeight::Page), lacks(ObstacleWeight::Page)),
        (rules(0), vec![], lacks(ObstacleWeight::Propose)),
    ] {
        azure.on(&config, [rules]);
        let preflight = check(&azure, &["staging"]).await.unwrap();
        assert_eq!(preflight.obstacles, []);
        assert_eq!(summary(&preflight.ways_back[0].1), swap);
        assert_eq!(summary(&preflight.ways_back[1].1), ramp);
        let says = &preflight.ways_back[1].1[0].says;
        assert!(says.contains("acting identity lacks `Microsoft.Web/sites/config/write`"), "{says}");
    }
}
