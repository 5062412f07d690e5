//! From a call to a record; and the real handler process under the host's emulator.

use std::collections::BTreeMap;

use backout::{
    domain::{alert::Alert, decision::DecisionKind, event::Event},
    inbound::{DROPPED_MEMBER, recognise},
    settings::WebhookSecrets,
    sim::host::{FunctionApp, HostOptions, HttpCall, HttpReply, call_url},
};
use data_encoding::BASE64;
use serde_json::{Value, json};
use url::Url;

use super::{
    ALERTS, fixture, serve,
    tenant::{AUDIENCE, TENANT, Tenant, claims, token},
    webhook,
};
use crate::support::{
    broker::Broker,
    policy::site,
    program::{self, Program},
    world::World,
};

/// An alert of the common schema about this site, fired just now.
fn body(world: &World, site: &str, rows: usize) -> Vec<u8> {
    let mut alert: Value = serde_json::from_slice(&fixture("common-log-v1")).unwrap();
    let essentials = &mut alert["data"]["essentials"];
    essentials["alertTargetIDs"] = json!([site]);
    essentials["severity"] = json!("Sev1");
    essentials["firedDateTime"] = json!((world.now() - jiff::SignedDuration::from_mins(1)).to_string());
    let context = &mut alert["data"]["alertContext"];
    context["AffectedConfigurationItems"] = json!([]);
    context["SearchResults"] = json!({"tables": [{
        "columns": [{"name": "Message"}],
        "rows": (0..rows).map(|row| json!([format!("{row}{}", "x".repeat(300))])).collect::<Vec<_>>(),
    }]});
    alert.to_string().into_bytes()
}

fn understood(body: &[u8]) -> Alert {
    match recognise(body).remove(0).unwrap().event {
        Event::Alert(alert) => alert,
        other => panic!("{other:?}"),
    }
}

async fn post(world: &World, body: &[u8]) -> HttpReply {
    let base: Url = serve(webhook(&world.clock, world.ports.follow_ups.clone(), None, WebhookSecrets::default())).await;
    call_url(&base, &FunctionApp::built_in().unwrap(), &HttpCall::post(ALERTS, body)).await
}

#[tokio::test]
async fn an_alert_that_came_by_http_ends_in_its_record() {
    let world = World::new();
    world.break_it().await;
    let body = body(&world, site("checkout").canonical(), 2_000);
    assert_eq!(post(&world, &body).await.status, 202);
    let broker = Broker::of(&world, &world.ports);
    assert_eq!(broker.deliver_one().await.unwrap().status, 200);
    let record = world.record(&understood(&body)).await;
    assert_eq!(record.alert.properties[DROPPED_MEMBER], "2000 result rows (their resource ids are kept)");
    assert_eq!(record.services.iter().map(|service| service.0.as_str()).collect::<Vec<_>>(), ["checkout"]);
}

#[tokio::test]
async fn an_alert_about_what_is_not_in_the_policy_ends_in_a_record_too_and_nothing_is_done() {
    let world = World::new();
    world.break_it().await;
    let foreign = "/subscriptions/99999999-8a5e-4a53-9e0c-3f1f9d6a1b20/resourceGroups/x/providers/Microsoft.Web/sites/checkout";
    let body = body(&world, foreign, 1);
    let running = world.platform.running();
    assert_eq!(post(&world, &body).await.status, 202);
    let broker = Broker::of(&world, &world.ports);
    assert_eq!(broker.deliver_one().await.unwrap().status, 200);
    let record = world.record(&understood(&body)).await;
    assert_eq!(record.decision.unwrap().kind, DecisionKind::Ignore);
    assert_eq!((record.rollback, world.platform.running()), (None, running));
}

#[tokio::test]
async fn the_real_handler_asks_for_the_token_and_keeps_every_byte() {
    let tenant = Tenant::start().await;
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("state.db").display());
    // No policy: what arrives is parked, with its body.
    let settings = BTreeMap::from([
        ("BACKOUT_STORE", store.clone()),
        ("BACKOUT_BUS", "local:".to_owned()),
        ("BACKOUT_POLICY", folder.path().join("none.yaml").display().to_string()),
        ("BACKOUT_WEBHOOK_TENANT", TENANT.to_owned()),
        ("BACKOUT_WEBHOOK_AUDIENCE", AUDIENCE.to_owned()),
        ("BACKOUT_LOGIN_ENDPOINT", tenant.login.to_string()),
    ]);
    let environment: Vec<_> = settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let options = HostOptions { environment: environment.clone(), ..HostOptions::default() };
    let host = program::handler(options).await.unwrap();
    let call = HttpCall::post(ALERTS, fixture("common-metric"));
    let refused = host.call(&call).await;
    assert_eq!((refused.status, refused.headers["www-authenticate"].as_str()), (401, "Bearer"), "{}", refused.body);
    // The real handler looks at the real clock.
    let mut lasting = claims();
    lasting["exp"] = json!(4_102_444_800_i64);
    let call = call.with("Authorization", format!("Bearer {}", token(&lasting)));
    let taken = host.call(&call).await;
    assert_eq!((taken.status, taken.body.as_str()), (202, "it is on the queue `alerts`\n"));

    let parked = async || loop {
        let list = Program::new(["dead-letters", "list", "--format", "json"]).with(environment.iter().cloned());
        let output = list.ran().await;
        let text = String::from_utf8(output.stdout).unwrap();
        if let Some(line) = text.lines().next() {
            return serde_json::from_str::<Value>(line).unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let parked = tokio::time::timeout(std::time::Duration::from_mins(1), parked()).await.unwrap();
    assert_eq!(parked["queue"], "alerts");
    assert_eq!(BASE64.decode(parked["bodyBase64"].as_str().unwrap().as_bytes()).unwrap(), fixture("common-metric"));
    let log = host.stdout_lines().join("\n");
    assert!(log.contains("there is no `Authorization: Bearer` header"), "{log}");
    assert!(!log.contains("checkout-5xx") && !log.contains("eyJ"), "{log}");
}
