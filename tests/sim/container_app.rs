//! Simulated container apps over HTTP.

use backout::{
    domain::resource_id::ResourceId,
    sim::{AzureSimulation, SimulatedContainerApp, clock::ManualClock},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ARM, Answer, answer, time, token};

const APP: &str =
    "/subscriptions/8d1f7a0e-0000-4000-8000-000000000001/resourceGroups/shop/providers/Microsoft.App/containerApps/orders";

struct Drill {
    azure: AzureSimulation,
    clock: std::sync::Arc<ManualClock>,
    http: reqwest::Client,
    token: String,
    app: ResourceId,
}

impl Drill {
    async fn new(multiple: bool) -> Self {
        let clock = std::sync::Arc::new(ManualClock::at(time("2026-11-25T10:00:00Z")));
        let azure = AzureSimulation::start(clock.clone()).await.unwrap();
        let app = ResourceId::parse(APP).unwrap();
        azure.add_workload("orders", "v1", 300.0);
        let simulated = SimulatedContainerApp::new(app.clone(), "orders", "v1");
        azure.add_container_app(if multiple { simulated.with_multiple_revisions() } else { simulated });
        let http = reqwest::Client::new();
        let token = token(&http, &azure, ARM, None).await;
        Self { azure, clock, http, token, app }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let base = self.azure.resource_manager_url();
        let mut request =
            self.http.request(method, format!("{base}{}{path}?api-version=2025-07-01", &APP[1..])).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request).await.unwrap()
    }

    async fn properties(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["properties"].take()
    }

    async fn weigh(&self, traffic: Value) -> Answer {
        let body = json!({"properties": {"configuration": {"ingress": {"traffic": traffic}}}});
        self.call(Method::PATCH, "", Some(body)).await
    }

    async fn template(&self, template: Value) -> Answer {
        self.call(Method::PATCH, "", Some(json!({"properties": {"template": template}}))).await
    }

    async fn status(&self, accepted: &Answer) -> Value {
        let url = accepted.header("azure-asyncoperation");
        answer(self.http.get(url).bearer_auth(&self.token)).await.unwrap().json()
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }

    fn serves(&self) -> String {
        self.azure.serving_build("orders")
    }
}

const FIRST: &str = "orders--0000001";
const SECOND: &str = "orders--0000002";

#[tokio::test]
async fn a_template_becomes_a_revision_that_serves_when_it_is_ready() {
    let drill = Drill::new(false).await;
    let accepted = drill.template(json!({"revisionSuffix": "x", "containers": [{"image": "registry.example.com/app:v2"}]})).await;
    assert_eq!((accepted.status.as_u16(), accepted.header("retry-after")), (202, "10"));
    assert!(accepted.header("location").contains("/locations/westeurope/containerappOperationResults/"));
    assert_eq!(drill.status(&accepted).await["status"], "InProgress");
    let app = drill.properties("").await;
    assert_eq!((&app["provisioningState"], &app["latestRevisionName"]), (&json!("InProgress"), &json!("orders--x")));
    assert_eq!(app["latestReadyRevisionName"], FIRST);
    assert_eq!(drill.properties("/revisions/orders--x").await["runningState"], "Processing");
    let busy = drill.template(json!({"scale": {"minReplicas": 2}})).await;
    assert_eq!((busy.status.as_u16(), busy.code().as_str()), (409, "ContainerAppOperationInProgress"));
    assert_eq!(drill.serves(), "v1");

    drill.advance(60);
    assert_eq!(drill.status(&accepted).await["status"], "Succeeded");
    assert_eq!((drill.serves().as_str(), drill.azure.container_app_changes(&drill.app)), ("v2", 1));
    assert_eq!(drill.properties("").await["latestReadyRevisionName"], "orders--x");
    let old = drill.properties(&format!("/revisions/{FIRST}")).await;
    assert_eq!((&old["active"], &old["trafficWeight"]), (&json!(false), &json!(0)));
    assert_eq!(old["template"]["containers"][0]["env"][1]["secretRef"], "orders-database", "revisions show the app's name first");

    // The same again is no new revision; the same name for other content is refused.
    drill.template(json!({"revisionSuffix": "x"})).await;
    drill.advance(60);
    assert_eq!(drill.call(Method::GET, "/revisions", None).await.json()["value"].as_array().unwrap().len(), 2);
    assert_eq!(drill.template(json!({"scale": {"minReplicas": 3}})).await.status, 400);
    assert_eq!(drill.weigh(json!([{"revisionName": FIRST, "weight": 100}])).await.status, 400);
}

#[tokio::test]
async fn a_rollout_that_fails_leaves_the_old_revision_in_service() {
    let drill = Drill::new(false).await;
    drill.azure.set_container_app_changes_fail(&drill.app, Some("the image can't be pulled"));
    let accepted = drill.template(json!({"containers": [{"image": "registry.example.com/app:v2"}]})).await;
    drill.advance(60);
    let status = drill.status(&accepted).await;
    assert_eq!((&status["status"], &status["error"]["message"]), (&json!("Failed"), &json!("the image can't be pulled")));
    assert_eq!((drill.serves().as_str(), drill.azure.container_app_changes(&drill.app)), ("v1", 0));
    let app = drill.properties("").await;
    assert_eq!((&app["provisioningState"], &app["latestReadyRevisionName"]), (&json!("Failed"), &json!(FIRST)));
    assert_eq!(drill.properties(&format!("/revisions/{SECOND}")).await["provisioningState"], "Failed");
}

#[tokio::test]
async fn traffic_goes_to_active_revisions_only() {
    let drill = Drill::new(true).await;
    assert_eq!(drill.azure.roll_out_container_app(&drill.app, "v2"), SECOND);
    assert_eq!(drill.serves(), "v2");
    drill.azure.deactivate_container_app_revision(&drill.app, FIRST);
    let back = json!([{"revisionName": FIRST, "weight": 100}]);
    assert_eq!(drill.weigh(back.clone()).await.status, 400, "it is not active");

    let revision = format!("/revisions/{FIRST}");
    let modified = drill.call(Method::GET, "", None).await.json()["systemData"]["lastModifiedAt"].take();
    drill.advance(5);
    assert_eq!(drill.call(Method::POST, &format!("{revision}/activate"), None).await.status, 200);
    let starting = drill.properties(&revision).await;
    assert_eq!(
        (&starting["active"], &starting["runningState"], &starting["replicas"]),
        (&json!(true), &json!("Processing"), &json!(0))
    );
    drill.advance(30);
    assert_eq!(drill.properties(&revision).await["healthState"], "Healthy");
    assert_eq!(drill.call(Method::GET, "", None).await.json()["systemData"]["lastModifiedAt"], modified);

    assert_eq!(drill.weigh(json!([{"revisionName": FIRST, "weight": 90}])).await.status, 400, "weights add up to 100");
    assert_eq!(drill.weigh(back).await.status, 202);
    assert_eq!(drill.serves(), "v2");
    drill.advance(60);
    assert_eq!((drill.serves().as_str(), drill.azure.container_app_changes(&drill.app)), ("v1", 1));
    assert_eq!(drill.azure.container_app_serving(&drill.app), [(FIRST.to_owned(), 100)]);

    let staged = drill.azure.stage_container_app(&drill.app, "v3");
    assert_eq!(drill.serves(), "v1");
    drill.azure.set_container_app_traffic(&drill.app, &[(FIRST, 10), (&staged, 90)]);
    assert_eq!(drill.serves(), "v3", "telemetry follows the greatest weight");
}

#[tokio::test]
async fn rights_are_asked_for_at_the_app_its_environment_and_the_location() {
    let drill = Drill::new(true).await;
    for action in ["Microsoft.App/containerApps/write", "Microsoft.App/managedEnvironments/join/action"] {
        drill.azure.revoke(None, action);
        assert_eq!(drill.weigh(json!([{"latestRevision": true, "weight": 100}])).await.status, 403, "{action}");
        drill.azure.restore(None, action);
    }
    let accepted = drill.weigh(json!([{"latestRevision": true, "weight": 100}])).await;
    drill.azure.revoke(None, "Microsoft.App/locations/*");
    assert_eq!(drill.status(&accepted).await["error"]["code"], "AuthorizationFailed");
    drill.azure.revoke(None, "Microsoft.App/containerApps/revisions/activate/action");
    let denied = drill.call(Method::POST, &format!("/revisions/{FIRST}/activate"), None).await;
    assert_eq!(denied.status, 403);
    assert_eq!(drill.call(Method::GET, "/revisions/orders--none", None).await.code(), "RevisionNotFound");
}
