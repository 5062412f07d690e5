//! The simulated workflows, over HTTP.

use backout::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, LockLevel, SimulatedWorkflow, clock::ManualClock},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

use super::{ARM, Answer, Drill, answer, time, token};

const WORKFLOW: &str =
    "/subscriptions/8d1f7a0e-0000-4000-8000-000000000001/resourceGroups/shop/providers/Microsoft.Logic/workflows/orders";

fn id() -> ResourceId {
    ResourceId::parse(WORKFLOW).unwrap()
}

async fn drill() -> Drill {
    let clock = Arc::new(ManualClock::at(time("2026-11-25T10:00:00Z")));
    let azure = AzureSimulation::start(clock.clone()).await.unwrap();
    azure.add_workflow(SimulatedWorkflow::new(id(), "build-1"));
    let http = reqwest::Client::new();
    let arm_token = token(&http, &azure, ARM, None).await;
    Drill { azure, clock, http, bus_token: String::new(), arm_token }
}

async fn call(drill: &Drill, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let query = if path.contains('?') { "" } else { "?api-version=2019-05-01" };
    let base = drill.azure.resource_manager_url();
    let url = format!("{}{WORKFLOW}{path}{query}", base.as_str().trim_end_matches('/'));
    let mut request = drill.http.request(method, url).bearer_auth(&drill.arm_token);
    if let Some(body) = body {
        request = request.json(body);
    }
    answer(request).await.unwrap()
}

async fn get(drill: &Drill, path: &str) -> Value {
    let answer = call(drill, Method::GET, path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn version_of(workflow: &Value) -> &str {
    workflow["properties"]["version"].as_str().unwrap()
}

#[tokio::test]
async fn every_save_makes_a_version_and_newer_ones_have_smaller_ids() {
    let drill = drill().await;
    let first = get(&drill, "").await;
    assert_eq!(first["identity"]["type"], "SystemAssigned");
    drill.advance_seconds(60);
    drill.azure.save_workflow(&id(), "build-2");
    // Two in one moment are two all the same.
    drill.azure.set_workflow_state(&id(), "Disabled");
    let running = get(&drill, "").await;
    let list = get(&drill, "/versions").await;
    let ids: Vec<&str> = list["value"].as_array().unwrap().iter().map(version_of).collect();
    assert_eq!((ids.len(), ids[0], ids[2]), (3, version_of(&running), version_of(&first)));
    assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 20), "{ids:?}");
    assert!(list["value"][0].get("identity").is_none(), "no version holds an identity");
    let one = get(&drill, &format!("/versions/{}", ids[2])).await;
    assert_eq!(one["properties"]["definition"], first["properties"]["definition"]);
    assert_eq!(get(&drill, "/versions?api-version=2019-05-01&$top=1").await["value"].as_array().unwrap().len(), 1);
    drill.azure.prune_workflow_versions(&id(), 1);
    assert_eq!(call(&drill, Method::GET, &format!("/versions/{}", ids[2]), None).await.status, 404);
    assert_eq!(get(&drill, "/triggers").await["value"][0]["properties"]["state"], "Disabled");
}

#[tokio::test]
async fn a_save_replaces_everything() {
    let drill = drill().await;
    let mut body = get(&drill, "").await;
    drill.advance_seconds(60);
    drill.azure.save_workflow(&id(), "build-2");
    let saved = call(&drill, Method::PUT, "", Some(&body)).await;
    assert_eq!(saved.status, 200, "{}", saved.text);
    assert_ne!(version_of(&saved.json()), version_of(&body), "the old content has a new version");
    assert_eq!((drill.azure.workflow_build(&id()).as_str(), drill.azure.workflow_save_count(&id())), ("build-1", 1));
    assert_eq!(drill.azure.serving_build(id().canonical()), "build-1");
    body["identity"].take();
    body["properties"]["state"].take();
    call(&drill, Method::PUT, "", Some(&body)).await;
    let now = drill.azure.workflow(&id());
    assert_eq!((&now["identity"], &now["properties"]["state"]), (&Value::Null, &json!("Enabled")), "what is left out is gone");
    let effects: u32 = drill.azure.journal().iter().filter(|entry| entry.method == "PUT").map(|entry| entry.effects).sum();
    assert_eq!(effects, 2);
}

#[tokio::test]
async fn a_save_that_cannot_work_is_refused() {
    let drill = drill().await;
    let body = get(&drill, "").await;
    let refused = async |change: &dyn Fn(&mut Value)| {
        let mut body = body.clone();
        change(&mut body);
        let answer = call(&drill, Method::PUT, "", Some(&body)).await;
        (answer.status.as_u16(), answer.code())
    };
    let bad = |code: &str| (400, code.to_owned());
    assert_eq!(refused(&|b| b["location"] = json!("northeurope")).await, bad("InvalidResourceLocation"));
    assert_eq!(refused(&|b| b["properties"] = json!({})).await, bad("InvalidRequestContent"));
    let secure = |b: &mut Value| b["properties"]["definition"]["parameters"]["key"] = json!({"type": "SecureString"});
    assert_eq!(refused(&secure).await, bad("InvalidTemplate"));
    let office = ResourceId::parse(&WORKFLOW.replace("Microsoft.Logic/workflows/orders", "Microsoft.Web/connections/office365"));
    drill.azure.remove_connection(&office.unwrap());
    assert_eq!(refused(&|_| ()).await, bad("WorkflowConnectionNotFound"));
    drill.azure.set_lock(&id(), Some(LockLevel::ReadOnly));
    assert_eq!(refused(&|_| ()).await, (409, "ScopeLocked".to_owned()));
    drill.azure.revoke(None, "Microsoft.Logic/workflows/write");
    assert_eq!(refused(&|_| ()).await.0, 403);
    assert_eq!(drill.azure.workflow_save_count(&id()), 0);
    let wrong = call(&drill, Method::GET, "?api-version=2020-01-01", None).await;
    assert_eq!((wrong.status.as_u16(), wrong.code().as_str()), (400, "NoRegisteredProviderFound"));
}

#[tokio::test]
async fn runs_and_metrics_follow_the_build() {
    let drill = drill().await;
    let good = version_of(&get(&drill, "").await).to_owned();
    drill.azure.set_error_share("build-2", 0.5);
    drill.azure.save_workflow(&id(), "build-2");
    drill.clock.advance(Duration::from_mins(20));
    let newest = get(&drill, "/runs?api-version=2019-05-01&$top=10").await;
    let failed =
        |runs: &Value| runs["value"].as_array().unwrap().iter().filter(|r| r["properties"]["status"] == "Failed").count();
    assert_eq!((newest["value"].as_array().unwrap().len(), failed(&newest)), (10, 5));
    let before = get(&drill, "/runs?api-version=2019-05-01&$top=250&$filter=startTime%20lt%202026-11-25T10:00:00Z").await;
    let before = before["value"].as_array().unwrap();
    assert_eq!(before.len(), 250);
    assert!(
        before.iter().all(|r| r["properties"]["workflow"]["name"] == good.as_str() && r["properties"]["status"] == "Succeeded")
    );
    let odd = call(&drill, Method::GET, "/runs?api-version=2019-05-01&$filter=name%20eq%201", None).await;
    assert_eq!(odd.status, 400);

    let metrics = "/providers/Microsoft.Insights/metrics?api-version=2024-02-01&aggregation=total&metricnames=RunsFailed,RunsCompleted&timespan=2026-11-25T09:59:00Z/2026-11-25T10:01:00Z";
    let seen = get(&drill, metrics).await;
    let values = |metric: usize| {
        let data = seen["value"][metric]["timeseries"][0]["data"].as_array().unwrap();
        data.iter().map(|point| point["total"].as_f64()).collect::<Vec<_>>()
    };
    assert_eq!(seen["namespace"], "Microsoft.Logic/workflows");
    assert_eq!(values(0)[0], Some(0.0));
    assert_eq!(values(0)[1], values(1)[1].map(|completed| (completed * 0.5).round()));
    // A disabled workflow does not run.
    drill.azure.set_workflow_state(&id(), "Disabled");
    drill.clock.advance(Duration::from_mins(10));
    let idle = get(&drill, &metrics.replace("09:59", "10:21").replace("10:01", "10:23")).await;
    assert_eq!(idle["value"][1]["timeseries"][0]["data"][0]["total"], 0.0);
}
