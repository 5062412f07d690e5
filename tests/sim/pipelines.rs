//! Pipelines as the simulated Azure DevOps and GitHub show them and run them.

use std::time::Duration;

use backout::sim::{Fault, FaultEffect, GITHUB_TOKEN, Moment, PipelinePlace, SimulatedPipeline};
use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Drill, answer, token};

const DEV_OPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";
const BASE: &str = "contoso/shop/_apis";
const WORKFLOW: &str = "repos/contoso/shop/actions/workflows/deploy.yml";

struct Pipelines {
    drill: Drill,
    token: String,
}

fn azure_dev_ops() -> PipelinePlace {
    PipelinePlace::AzureDevOps { organization: "contoso".to_owned(), project: "shop".to_owned(), pipeline: 12 }
}

fn github() -> PipelinePlace {
    PipelinePlace::GitHub { repository: "contoso/shop".to_owned(), workflow: "deploy.yml".to_owned() }
}

impl Pipelines {
    /// Two pipelines: one of Azure DevOps deploys `legacy`, one of GitHub deploys `modern`; a run takes four minutes.
    async fn new() -> Self {
        let drill = Drill::new().await;
        let token = token(&drill.http, &drill.azure, DEV_OPS, None).await;
        for (place, workload) in [(azure_dev_ops(), "legacy"), (github(), "modern")] {
            drill.azure.add_workload(workload, "v1", 100.0);
            drill.azure.add_pipeline(SimulatedPipeline::new(place, workload, "v1").with_runs_taking(Duration::from_mins(4)));
        }
        Self { drill, token }
    }

    async fn dev_ops(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}{BASE}/{path}{separator}api-version=7.1", self.drill.azure.azure_dev_ops_url());
        let request = self.drill.http.request(method, url).bearer_auth(&self.token);
        answer(body.into_iter().fold(request, |request, body| request.json(&body))).await.unwrap()
    }

    async fn try_github(&self, method: Method, path: &str, body: Option<Value>) -> reqwest::Result<Answer> {
        let url = format!("{}{path}", self.drill.azure.github_url());
        let request = self.drill.http.request(method, url).bearer_auth(GITHUB_TOKEN).header("user-agent", "test");
        answer(body.into_iter().fold(request, |request, body| request.json(&body))).await
    }

    async fn github(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.try_github(method, path, body).await.unwrap()
    }
}

fn ask_dev_ops() -> Value {
    json!({
        "resources": { "repositories": { "self": { "refName": "refs/heads/main" } } },
        "templateParameters": { "version": "v0", "decisionId": "d1" },
    })
}

fn ask_github() -> Value {
    json!({ "ref": "main", "inputs": { "version": "v0", "decisionId": "d1" }, "return_run_details": true })
}

#[tokio::test]
async fn a_queued_run_takes_its_time_and_then_its_version_serves() {
    let pipelines = Pipelines::new().await;
    let azure = &pipelines.drill.azure;
    let queued = pipelines.dev_ops(Method::POST, "pipelines/12/runs", Some(ask_dev_ops())).await;
    assert_eq!(queued.status, 200, "{}", queued.text);
    let id = queued.json()["id"].as_u64().unwrap();
    pipelines.drill.advance_seconds(239);
    let build = pipelines.dev_ops(Method::GET, &format!("build/builds/{id}"), None).await.json();
    assert_eq!((&build["status"], &build["result"], &build["finishTime"]), (&json!("inProgress"), &Value::Null, &Value::Null));
    assert_eq!(build["templateParameters"], json!({ "version": "v0", "decisionId": "d1" }));
    assert_eq!((azure.serving_build("legacy").as_str(), azure.is_pipeline_busy(&azure_dev_ops())), ("v1", true));

    pipelines.drill.advance_seconds(61);
    let list = pipelines.dev_ops(Method::GET, "build/builds?definitions=12&$top=1", None).await.json();
    assert_eq!((&list["count"], &list["value"][0]["id"]), (&json!(1), &json!(id)));
    assert_eq!(list["value"][0]["result"], "succeeded");
    // Dated when it ended, though nobody looked until a minute later.
    assert_eq!(list["value"][0]["finishTime"], "2026-11-25T10:04:00Z");
    assert_eq!((azure.serving_build("legacy").as_str(), azure.is_pipeline_busy(&azure_dev_ops())), ("v0", false));
    assert_eq!((azure.runs_asked_for(&azure_dev_ops()), azure.runs_asked_for(&github())), (1, 0));
    assert_eq!(azure.serving_build("modern"), "v1");
}

#[tokio::test]
async fn a_dispatched_run_tells_its_inputs_by_its_title_alone() {
    let pipelines = Pipelines::new().await;
    let told = pipelines.github(Method::POST, &format!("{WORKFLOW}/dispatches"), Some(ask_github())).await;
    assert_eq!(told.status, 200, "{}", told.text);
    let id = told.json()["workflow_run_id"].as_u64().unwrap();
    let mut plain = ask_github();
    plain.as_object_mut().unwrap().remove("return_run_details");
    let silent = pipelines.github(Method::POST, &format!("{WORKFLOW}/dispatches"), Some(plain)).await;
    assert_eq!((silent.status.as_u16(), silent.text.as_str()), (204, ""));

    pipelines.drill.advance_seconds(300);
    let run = pipelines.github(Method::GET, &format!("repos/contoso/shop/actions/runs/{id}"), None).await.json();
    assert_eq!(run["display_title"], "deploy version=v0 decisionId=d1");
    assert_eq!((&run["status"], &run["conclusion"]), (&json!("completed"), &json!("success")));
    assert_eq!((&run["updated_at"], &run["inputs"]), (&json!("2026-11-25T10:04:00Z"), &Value::Null));
    assert_eq!(pipelines.drill.azure.serving_build("modern"), "v0");
    let list = pipelines.github(Method::GET, &format!("{WORKFLOW}/runs?per_page=2"), None).await.json();
    assert_eq!((&list["total_count"], list["workflow_runs"].as_array().unwrap().len()), (&json!(3), 2));
}

#[tokio::test]
async fn a_run_may_wait_for_a_person_or_fail() {
    let pipelines = Pipelines::new().await;
    let azure = &pipelines.drill.azure;
    azure.set_approval_needed(&azure_dev_ops(), true);
    let id = pipelines.dev_ops(Method::POST, "pipelines/12/runs", Some(ask_dev_ops())).await.json()["id"].clone();
    pipelines.drill.advance_seconds(3600);
    let approval = async || {
        let timeline = pipelines.dev_ops(Method::GET, &format!("build/builds/{id}/timeline"), None).await.json();
        let records = timeline["records"].as_array().unwrap().clone();
        records.iter().find(|record| record["type"] == "Checkpoint.Approval").unwrap()["state"].clone()
    };
    assert_eq!(approval().await, "inProgress");
    azure.approve_runs(&azure_dev_ops());
    assert_eq!(approval().await, "completed");
    pipelines.drill.advance_seconds(240);
    assert_eq!(azure.serving_build("legacy"), "v0");

    azure.set_runs_fail(&github(), true);
    pipelines.github(Method::POST, &format!("{WORKFLOW}/dispatches"), Some(ask_github())).await;
    pipelines.drill.advance_seconds(240);
    let list = pipelines.github(Method::GET, &format!("{WORKFLOW}/runs"), None).await.json();
    assert_eq!(list["workflow_runs"][0]["conclusion"], "failure");
    assert_eq!(azure.serving_build("modern"), "v1");
}

#[tokio::test]
async fn refusals_change_nothing() {
    let pipelines = Pipelines::new().await;
    let azure = &pipelines.drill.azure;
    let with = |mut body: Value, pointer: &str, value: &str| {
        *body.pointer_mut(pointer).unwrap() = json!(value);
        body
    };
    let mut unknown = ask_dev_ops();
    unknown["templateParameters"]["speed"] = json!("fast");
    let elsewhere = with(ask_dev_ops(), "/resources/repositories/self/refName", "refs/heads/x");
    for (path, body, status, says) in [
        ("pipelines/12/runs", unknown, 400, "Unexpected parameter 'speed'"),
        ("pipelines/12/runs", elsewhere, 400, "Could not find the branch"),
        ("pipelines/13/runs", ask_dev_ops(), 404, "could not be found"),
    ] {
        let refused = pipelines.dev_ops(Method::POST, path, Some(body)).await;
        assert_eq!(refused.status.as_u16(), status);
        assert!(refused.json()["message"].as_str().unwrap().contains(says), "{}", refused.text);
    }
    let dispatch = format!("{WORKFLOW}/dispatches");
    let mut unknown = ask_github();
    unknown["inputs"]["speed"] = json!("fast");
    for (body, says) in [(unknown, "Unexpected inputs"), (with(ask_github(), "/ref", "x"), "No ref found for: x")] {
        let refused = pipelines.github(Method::POST, &dispatch, Some(body)).await;
        assert_eq!(refused.status, 422);
        assert!(refused.json()["message"].as_str().unwrap().contains(says), "{}", refused.text);
    }
    azure.set_dispatchable(&github(), false);
    let refused = pipelines.github(Method::POST, &dispatch, Some(ask_github())).await;
    assert!(refused.text.contains("does not have 'workflow_dispatch' trigger"), "{}", refused.text);
    azure.set_pipeline_enabled(&azure_dev_ops(), false);
    assert_eq!(pipelines.dev_ops(Method::POST, "pipelines/12/runs", Some(ask_dev_ops())).await.status, 400);
    let definition = pipelines.dev_ops(Method::GET, "build/definitions/12", None).await.json();
    assert_eq!(definition["queueStatus"], "disabled");
    azure.remove_pipeline(&github());
    assert_eq!(pipelines.github(Method::GET, WORKFLOW, None).await.status, 404);
    assert_eq!(azure.runs_asked_for(&azure_dev_ops()), 0);
}

#[tokio::test]
async fn only_a_token_for_the_server_is_taken() {
    let pipelines = Pipelines::new().await;
    let url = format!("{}{BASE}/build/builds?definitions=12&api-version=7.1", pipelines.drill.azure.azure_dev_ops_url());
    let wrong = pipelines.drill.http.get(&url).bearer_auth(&pipelines.drill.arm_token);
    let page = answer(wrong.try_clone().unwrap()).await.unwrap();
    assert_eq!((page.status.as_u16(), page.text.as_str()), (203, "<html>Sign in</html>"));
    assert_eq!(answer(wrong.header("X-TFS-FedAuthRedirect", "Suppress")).await.unwrap().status, 401);
    let url = format!("{}{WORKFLOW}", pipelines.drill.azure.github_url());
    let wrong = pipelines.drill.http.get(url).bearer_auth(&pipelines.token).header("user-agent", "test");
    assert_eq!(answer(wrong).await.unwrap().status, 401);
}

#[tokio::test]
async fn faults_meet_pipeline_servers_too() {
    let pipelines = Pipelines::new().await;
    let azure = &pipelines.drill.azure;
    let dispatch = format!("{WORKFLOW}/dispatches");
    azure.inject(Fault::on("POST", "/dispatches", FaultEffect::Reset { moment: Moment::AfterEffect }));
    assert!(pipelines.try_github(Method::POST, &dispatch, Some(ask_github())).await.is_err());
    assert_eq!(azure.runs_asked_for(&github()), 1);
    let last = azure.journal().pop().unwrap();
    assert_eq!((last.status, last.effects, last.fault.is_some()), (None, 1, true));

    azure.inject(Fault::on("POST", "/runs?", FaultEffect::OperationFails { says: "no".to_owned() }));
    let id = pipelines.dev_ops(Method::POST, "pipelines/12/runs", Some(ask_dev_ops())).await.json()["id"].clone();
    pipelines.drill.advance_seconds(240);
    let build = pipelines.dev_ops(Method::GET, &format!("build/builds/{id}"), None).await.json();
    assert_eq!(build["result"], "failed");
}

#[tokio::test]
async fn others_run_pipelines_as_well() {
    let pipelines = Pipelines::new().await;
    let azure = &pipelines.drill.azure;
    let commit = "89abcdef0123456789abcdef0123456789abcdef";
    azure.push_through(&azure_dev_ops(), "main", commit);
    assert_eq!(azure.serving_build("legacy"), commit);
    azure.begin_run(&azure_dev_ops(), "v2", SignedDuration::from_mins(1));
    assert!(azure.is_pipeline_busy(&azure_dev_ops()));
    pipelines.drill.advance_seconds(60);
    assert_eq!(azure.serving_build("legacy"), "v2");
    azure.fail_a_run(&azure_dev_ops(), "v3");
    assert_eq!(azure.serving_build("legacy"), "v2");
    let list = pipelines.dev_ops(Method::GET, "build/builds?definitions=12", None).await.json();
    let told: Vec<_> = list["value"].as_array().unwrap().iter().map(|b| (b["result"].clone(), b["reason"].clone())).collect();
    let row = |result: &str, reason: &str| (json!(result), json!(reason));
    let expected =
        [row("failed", "manual"), row("succeeded", "manual"), row("succeeded", "individualCI"), row("succeeded", "manual")];
    assert_eq!(told, expected);
    assert_eq!(azure.runs_asked_for(&azure_dev_ops()), 0);
}
