//! Deployment records of the simulation, driven from outside.

use std::sync::Arc;

use backout::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, LockLevel, SimulatedDeployment, SimulatedLineage, clock::ManualClock},
};
use jiff::SignedDuration;
use reqwest::{Method, redirect::Policy};
use serde_json::{Value, json};

use super::{ARM, Answer, answer, time, token};

const GROUP: &str = "/subscriptions/8d1f7a0e-0000-4000-8000-000000000001/resourceGroups/net";

struct Records {
    azure: AzureSimulation,
    clock: Arc<ManualClock>,
    http: reqwest::Client,
    token: String,
    scope: ResourceId,
}

impl Records {
    /// `hub-1` rolled out `build-1` a day ago.
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(time("2026-11-25T10:00:00Z")));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let scope = ResourceId::parse(GROUP).unwrap();
        azure.add_workload("network", "build-0", 300.0);
        azure.add_lineage(SimulatedLineage::new(scope.clone(), "network"));
        azure.deploy_template(&scope, SimulatedDeployment::new("hub-1", "build-1").ago(SignedDuration::from_hours(24)));
        let http = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
        let token = token(&http, &azure, ARM, None).await;
        Self { azure, clock, http, token, scope }
    }

    /// `path` below the group.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url =
            format!("{}{GROUP}{path}?api-version=2026-06-01", self.azure.resource_manager_url().as_str().trim_end_matches('/'));
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await.unwrap()
    }

    async fn deployment(&self, method: Method, tail: &str, body: Option<Value>) -> Answer {
        self.call(method, &format!("/providers/Microsoft.Resources/deployments{tail}"), body).await
    }

    async fn poll(&self, url: &str) -> Answer {
        answer(self.http.get(url).bearer_auth(&self.token)).await.unwrap()
    }

    async fn body(&self, build: &str) -> Value {
        let template = self.deployment(Method::POST, "/hub-1/exportTemplate", None).await.json()["template"].take();
        json!({"properties": {"mode": "Incremental", "template": template, "parameters": {"build": {"value": build}}}})
    }

    fn advance_seconds(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn a_deployment_is_created_then_runs_then_serves() {
    let records = Records::new().await;
    assert_eq!(records.azure.serving_build("network"), "build-1");
    let created = records.deployment(Method::PUT, "/hub-2", Some(records.body("build-2").await)).await;
    assert_eq!(created.status, 201);
    assert_eq!(created.json()["properties"]["provisioningState"], "Running");
    let status = created.header("azure-asyncoperation").to_owned();
    assert!(status.contains("/deployments/hub-2/operationStatuses/"), "{status}");
    assert_eq!(records.poll(&status).await.json()["status"], "Running");
    let active = records.deployment(Method::PUT, "/HUB-2", Some(records.body("build-3").await)).await;
    assert_eq!((active.status.as_u16(), active.code().as_str()), (409, "DeploymentActive"));
    assert!(records.azure.is_deploying(&records.scope));

    records.advance_seconds(60);
    assert_eq!(records.poll(&status).await.json()["status"], "Succeeded");
    assert_eq!((records.azure.serving_build("network").as_str(), records.azure.redeployments(&records.scope)), ("build-2", 1));
    let record = records.deployment(Method::GET, "/hub-2", None).await.json();
    assert_eq!(record["properties"]["timestamp"], "2026-11-25T10:01:00.0000000Z");
    assert_eq!(record["properties"]["duration"], "PT60S");
    assert_eq!(record["properties"]["parameters"]["build"], json!({"type": "string", "value": "build-2"}));
    assert_eq!(record["properties"]["outputResources"].as_array().unwrap().len(), 2);
    let list = records.deployment(Method::GET, "", None).await.json();
    assert_eq!(list["value"].as_array().unwrap().len(), 2);
    let operations = records.call(Method::GET, "/deployments/hub-2/operations", None).await.json();
    assert_eq!(operations["value"].as_array().unwrap().len(), 3);
    assert_eq!(
        records.deployment(Method::GET, "/hub-2/operations", None).await.status,
        404,
        "a group's operations lie elsewhere"
    );
}

#[tokio::test]
async fn a_what_if_tells_and_changes_nothing() {
    let records = Records::new().await;
    records.azure.set_further_changes(&records.scope, &[("/disk", "Delete")]);
    let asked = records.deployment(Method::POST, "/any/whatIf", Some(records.body("build-2").await)).await;
    assert_eq!((asked.status.as_u16(), asked.text.as_str()), (202, ""));
    let location = asked.header("location").to_owned();
    assert_eq!(records.poll(&location).await.status, 202);
    records.advance_seconds(20);
    let result = records.poll(&location).await.json();
    assert_eq!(result["status"], "Succeeded");
    let kinds: Vec<_> = result["properties"]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["changeType"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["Modify", "NoChange", "Delete"]);
    assert_eq!(records.azure.record_names(&records.scope), ["hub-1"]);
    assert_eq!(records.azure.serving_build("network"), "build-1");
    assert_eq!(records.azure.journal().iter().map(|entry| entry.effects).sum::<u32>(), 0);
}

#[tokio::test]
async fn a_templates_hash_is_one_of_its_letters_but_for_spaces() {
    let records = Records::new().await;
    let url = format!(
        "{}providers/Microsoft.Resources/calculateTemplateHash?api-version=2026-06-01",
        records.azure.resource_manager_url()
    );
    let hash = async |template: &str| {
        let request = records.http.post(&url).bearer_auth(&records.token).header("content-type", "application/json");
        answer(request.body(template.to_owned())).await.unwrap()
    };
    let base = hash(r#"{"b": "x \" y", "a": 1}"#).await.json();
    assert_eq!(base["minifiedTemplate"], r#"{"b":"x \" y","a":1}"#);
    assert_eq!(hash(r#"{"b":"x \" y","a":1}"#).await.json(), base);
    assert_ne!(hash(r#"{"a":1,"b":"x \" y"}"#).await.json()["templateHash"], base["templateHash"]);
    assert_eq!(hash("[]").await.status, 400);

    let exported = records.deployment(Method::POST, "/hub-1/exportTemplate", None).await.text;
    let template = exported.strip_prefix(r#"{"template":"#).and_then(|rest| rest.strip_suffix('}')).unwrap();
    let record = records.deployment(Method::GET, "/hub-1", None).await.json();
    assert_eq!(hash(template).await.json()["templateHash"], record["properties"]["templateHash"]);
    // Sent again as it is, the template has the same hash in its new record.
    let body = format!(
        r#"{{"properties": {{"mode": "Incremental", "template": {template}, "parameters": {{"build": {{"value": "build-2"}}}}}}}}"#
    );
    let put = format!(
        "{}{GROUP}/providers/Microsoft.Resources/deployments/hub-2?api-version=2026-06-01",
        records.azure.resource_manager_url().as_str().trim_end_matches('/')
    );
    let request = records.http.put(put).bearer_auth(&records.token).header("content-type", "application/json").body(body);
    assert_eq!(answer(request).await.unwrap().json()["properties"]["templateHash"], record["properties"]["templateHash"]);
    records.azure.set_template_hash(&records.scope, "hub-1", None);
    assert!(records.deployment(Method::GET, "/hub-1", None).await.json()["properties"]["templateHash"].is_null());
}

#[tokio::test]
async fn what_the_front_door_refuses() {
    let records = Records::new().await;
    let body = records.body("build-2").await;
    let refused = |change: fn(&mut Value)| {
        let mut body = body.clone();
        change(&mut body);
        records.deployment(Method::PUT, "/hub-2", Some(body))
    };
    for (answer, code) in [
        (refused(|body| body["properties"]["mode"] = Value::Null).await, "InvalidDeployment"),
        (refused(|body| body["properties"]["template"] = Value::Null).await, "InvalidTemplate"),
        (refused(|body| body["properties"]["parameters"] = json!({})).await, "InvalidTemplate"),
        (refused(|body| body["properties"]["parameters"]["stray"] = json!({"value": 1})).await, "InvalidTemplate"),
    ] {
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, code));
    }
    assert_eq!(records.deployment(Method::GET, "/gone", None).await.code(), "DeploymentNotFound");
    records.azure.set_lock(&records.scope, Some(LockLevel::ReadOnly));
    let locked = records.deployment(Method::PUT, "/hub-2", Some(body)).await;
    assert_eq!((locked.status.as_u16(), locked.code().as_str()), (409, "ScopeLocked"));
    records.azure.set_lock(&records.scope, None);
    records.azure.revoke(None, "Microsoft.Resources/deployments/exportTemplate/action");
    assert_eq!(records.deployment(Method::POST, "/hub-1/exportTemplate", None).await.status, 403);
    assert_eq!(records.azure.record_names(&records.scope), ["hub-1"]);
}

#[tokio::test]
async fn a_failing_deployment_shows_what_it_touched() {
    for (touching, operations) in [(false, 1), (true, 3)] {
        let records = Records::new().await;
        records.azure.set_deployments_fail(&records.scope, Some(("no quota", touching)));
        let status = records.deployment(Method::PUT, "/hub-2", Some(records.body("build-2").await)).await;
        let status = status.header("azure-asyncoperation").to_owned();
        records.advance_seconds(60);
        let failed = records.poll(&status).await.json();
        assert_eq!(
            (failed["status"].as_str(), failed["error"]["details"][0]["message"].as_str()),
            (Some("Failed"), Some("no quota"))
        );
        let listed = records.call(Method::GET, "/deployments/hub-2/operations", None).await.json();
        assert_eq!(listed["value"].as_array().unwrap().len(), operations);
        assert_eq!(
            (records.azure.serving_build("network").as_str(), records.azure.redeployments(&records.scope)),
            ("build-1", 0)
        );
    }
}

#[tokio::test]
async fn secrets_are_kept_nowhere_but_where_they_lie() {
    let records = Records::new().await;
    records.azure.deploy_template(&records.scope, SimulatedDeployment::new("hub-1", "build-1").with_secure_parameter("pw"));
    let shown = |record: Value| record["properties"]["parameters"]["pw"].clone();
    assert_eq!(shown(records.deployment(Method::GET, "/hub-1", None).await.json()), json!({"type": "SecureString"}));
    let mut body = records.body("build-2").await;
    let reference = json!({"keyVault": {"id": "/vault"}, "secretName": "pw"});
    body["properties"]["parameters"]["pw"] = json!({"reference": reference});
    assert_eq!(records.deployment(Method::PUT, "/hub-2", Some(body.clone())).await.status, 201);
    assert_eq!(shown(records.deployment(Method::GET, "/hub-2", None).await.json())["reference"], reference);
    body["properties"]["parameters"]["pw"] = json!({"value": "hunter2"});
    let answer = records.deployment(Method::PUT, "/hub-3", Some(body)).await;
    assert_eq!(answer.status, 201);
    assert!(!answer.text.contains("hunter2"), "{}", answer.text);
}
