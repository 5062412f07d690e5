//! What an observation of a container app says, and the calls that bring an earlier revision back.

use backout::{
    domain::{
        observation::{Observation, Obstacle, ObstacleWeight, WayBack},
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        rule::RuleId,
        target::{ContainerAppTarget, Target},
    },
    ports::{Platform, PortErrorKind},
};
use serde_json::{Value, json};

use super::server::{FakeAzure, Reply};

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers";
const APP: &str =
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.App/containerApps/shop";

fn target() -> Target {
    Target::ContainerApp(ContainerAppTarget { app: ResourceId::parse(APP).unwrap() })
}

fn fence() -> Fence {
    Fence { claim: "abcdefghijklmnopqrstuvwxyz".to_owned(), record: RecordId("r".to_owned()) }
}

/// An app and its revisions; changed row by row. `a1` served before `b2`, which serves.
#[derive(Clone)]
struct App {
    app: Value,
    revisions: Value,
}

fn revision(name: &str, tag: &str, created: &str, active: bool) -> Value {
    json!({"name": name, "properties": {"active": active, "createdTime": created, "replicas": u8::from(active),
        "healthState": if active { "Healthy" } else { "None" }, "provisioningState": "Provisioned",
        "runningState": if active { "Running" } else { "Stopped" }, "template": template(tag)}})
}

fn template(tag: &str) -> Value {
    json!({"containers": [{"image": format!("r.io/shop/app:{tag}"), "env": [{"name": "DB", "secretRef": "shop-db"},
        {"name": "KEY", "value": "hunter2"}]}], "scale": {"minReplicas": 1}})
}

impl App {
    fn new(mode: &str, traffic: &Value) -> Self {
        Self {
            app: json!({"systemData": {"lastModifiedAt": "2026-11-25T10:02:31.2500000"}, "properties": {
                "provisioningState": "Succeeded", "runningStatus": "Running", "latestRevisionName": "shop--b2",
                "latestReadyRevisionName": "shop--b2", "environmentId": format!("{GROUP}/Microsoft.App/managedEnvironments/env"),
                "template": {"containers": [{"image": "r.io/shop/app:42"}], "volumes": [{"name": "v"}]},
                "configuration": {"activeRevisionsMode": mode, "secrets": [{"name": "db"}], "ingress": {"traffic": traffic},
                    "dapr": null}}}),
            revisions: json!([
                revision("shop--a1", "41", "2026-11-20T08:00:00+00:00", false),
                revision("shop--b2", "42", "2026-11-25T10:02:00+00:00", true)
            ]),
        }
    }

    fn single() -> Self {
        Self::new("Single", &json!([{"latestRevision": true, "weight": 100}]))
    }

    fn multiple() -> Self {
        Self::new("Multiple", &json!([{"revisionName": "shop--b2", "weight": 100}]))
    }

    fn with(mut self, pointer: &str, value: Value) -> Self {
        *self.app.pointer_mut(pointer).unwrap() = value;
        self
    }

    fn revised(mut self, pointer: &str, value: Value) -> Self {
        *self.revisions.pointer_mut(pointer).unwrap() = value;
        self
    }

    async fn start(&self) -> FakeAzure {
        let azure = FakeAzure::start().await;
        azure
            .on(&format!("GET {APP}"), [Reply::json(200, &self.app)])
            .on(&format!("GET {APP}/revisions"), [Reply::json(200, &json!({"value": self.revisions}))]);
        for revision in self.revisions.as_array().unwrap() {
            let name = revision["name"].as_str().unwrap();
            azure.on(&format!("GET {APP}/revisions/{name}"), [Reply::json(200, revision)]);
        }
        azure
    }

    async fn observe(&self) -> Observation {
        self.start().await.adapter(&target()).observe().await.unwrap()
    }
}

fn summary(obstacles: &[Obstacle]) -> Vec<(RuleId, ObstacleWeight)> {
    obstacles.iter().map(|obstacle| (obstacle.rule, obstacle.weight)).collect()
}

#[tokio::test]
async fn one_trip_tells_what_runs_and_what_came_before() {
    let azure = App::multiple().start().await;
    let observation = azure.adapter(&target()).observe().await.unwrap();
    assert_eq!(observation.running.token.0, "traffic|shop--b2=100|2026-11-25T10:02:31.2500000Z");
    assert_eq!(observation.running.serving_since, Some("2026-11-25T10:02:31.25Z".parse().unwrap()));
    assert_eq!(observation.running.label, "app:42 (shop--b2)");
    assert_eq!((observation.under_way.as_deref(), observation.obstacles.as_slice()), (None, [].as_slice()));
    let [way] = observation.ways_back.as_slice() else { panic!("{observation:?}") };
    assert_eq!((way.name.as_str(), way.label.as_str()), ("revision shop--a1", "app:41 (shop--a1)"));
    assert_eq!(way.obstacles, []);
    assert_ne!(way.fingerprint, observation.running.fingerprint);
    assert_eq!(way.detail, json!({"revision": "shop--a1", "active": false, "labels": []}));
    assert!(!format!("{observation:?}").contains("hunter2"));

    let mut lines: Vec<_> = azure.recorded().iter().map(|r| r.line().replace(APP, "APP")).collect();
    lines.sort();
    assert_eq!(lines, ["GET APP", "GET APP/revisions"]);
    for recorded in azure.recorded() {
        assert_eq!(
            (recorded.query.as_str(), recorded.header("authorization")),
            ("api-version=2025-07-01", Some("Bearer reader-token"))
        );
    }

    let single = App::single().observe().await;
    assert_eq!(single.running.token.0, "revision|shop--b2|2026-11-25T10:02:00.0000000Z");
    assert_eq!(single.running.serving_since, Some("2026-11-25T10:02:00Z".parse().unwrap()));
    assert_eq!(single.running.fingerprint, observation.running.fingerprint, "content is named alike in both modes");
    let detail = &single.ways_back[0].detail;
    let hash = single.ways_back[0].fingerprint.as_ref().unwrap().0.strip_prefix("template:").unwrap();
    assert_eq!(*detail, json!({"copy": "shop--a1", "hash": hash}), "no template is stored");
}

/// No call could give it traffic. The fuzzer wrote one.
#[tokio::test]
async fn a_revision_without_a_name_is_no_way_back() {
    for app in [App::single(), App::multiple()] {
        let observation = app.revised("/0/name", json!("")).observe().await;
        assert_eq!(observation.ways_back, []);
    }
}

#[tokio::test]
async fn the_running_version_is_the_set_that_serves() {
    let split = |a: u8, b: u8| {
        App::new("Multiple", &json!([{"revisionName": "shop--b2", "weight": b}, {"revisionName": "shop--a1", "weight": a}]))
            .revised("/0", revision("shop--a1", "41", "2026-11-20T08:00:00Z", true))
    };
    let canary = split(90, 10).observe().await;
    assert_eq!(canary.running.token.0, "traffic|shop--a1=90,shop--b2=10|2026-11-25T10:02:31.2500000Z");
    assert_eq!(canary.running.label, "90 % app:41 (shop--a1) and 10 % app:42 (shop--b2)");
    let names: Vec<_> = canary.ways_back.iter().map(|way| way.name.as_str()).collect();
    assert_eq!(names, ["revision shop--b2", "revision shop--a1"], "each of them could serve alone");
    let fingerprint = |observation: &Observation| observation.running.fingerprint.clone().unwrap().0;
    let mix = canary.running.fingerprint.as_ref().unwrap();
    let alone: Vec<_> = canary.ways_back.iter().map(|way| way.fingerprint.clone().unwrap()).collect();
    assert!(mix.is_shared() && alone.iter().all(|content| mix.contents().contains(content)), "{mix}");
    assert_eq!(fingerprint(&canary), fingerprint(&split(90, 10).observe().await));
    assert_ne!(fingerprint(&canary), fingerprint(&split(80, 20).observe().await));
    // Of two revisions with equal content, who holds it makes no difference.
    let equal = split(90, 10).revised("/1/properties/template", template("41")).observe().await;
    assert_eq!(equal.running.fingerprint, canary.ways_back[1].fingerprint);

    let rows = [
        (json!([{"latestRevision": true, "weight": 100}]), "shop--b2=100"),
        (
            json!([{"latestRevision": true, "weight": 0, "label": "next"}, {"revisionName": "shop--a1", "weight": 100}]),
            "shop--a1=100",
        ),
        (json!([{"latestRevision": true, "weight": 40}, {"revisionName": "shop--b2", "weight": 60}]), "shop--b2=100"),
        (json!([]), "shop--b2=100"),
        (Value::Null, "shop--b2=100"),
    ];
    for (traffic, set) in rows {
        let token = App::new("Multiple", &traffic).observe().await.running.token.0;
        assert_eq!(token, format!("traffic|{set}|2026-11-25T10:02:31.2500000Z"), "{traffic}");
    }
}

#[tokio::test]
async fn a_rollout_that_goes_on_is_under_way() {
    let starting = || revision("shop--c3", "43", "2026-11-25T10:29:00Z", true);
    let third = |app: App, revision: Value| {
        let mut app = app.with("/properties/latestRevisionName", json!("shop--c3"));
        app.revisions.as_array_mut().unwrap().push(revision);
        app
    };
    let mut failed = starting();
    failed["properties"]["healthState"] = json!("Unhealthy");
    let follows = || App::new("Multiple", &json!([{"latestRevision": true, "weight": 100}]));
    let rows = [
        (App::single(), None),
        (
            App::single().with("/properties/provisioningState", json!("InProgress")),
            Some("the app's provisioning is `InProgress`"),
        ),
        (App::single().with("/properties/provisioningState", json!("failed")), None),
        (App::single().with("/properties/provisioningState", Value::Null), None),
        (third(App::single(), starting()), Some("revision `shop--c3` starts")),
        (third(App::single(), failed), None),
        (third(follows(), starting()), Some("revision `shop--c3` starts")),
        (third(App::multiple(), starting()), None),
    ];
    for (app, under_way) in rows {
        let observation = app.observe().await;
        assert_eq!(observation.under_way.as_deref(), under_way, "{}", app.app);
        assert!(observation.running.token.0.contains("shop--b2"), "what is not ready does not serve");
    }
}

#[tokio::test]
async fn the_old_revision_must_be_able_to_serve() {
    use ObstacleWeight::{Page, Propose};
    use RuleId::{S9, S10};
    let active = || App::multiple().revised("/0", revision("shop--a1", "41", "2026-11-20T08:00:00Z", true));
    let at = |app: App, key: &str, value: Value| app.revised(&format!("/0/properties/{key}"), value);
    let latest = json!({"containers": [{"image": "r.io/shop/app"}]});
    let rows: Vec<(&str, App, Vec<_>)> = vec![
        ("healthy", active(), vec![]),
        ("unhealthy", at(active(), "healthState", json!("Unhealthy")), vec![(S9, Page)]),
        ("failed", at(active(), "runningState", json!("Failed")), vec![(S9, Page)]),
        ("degraded", at(active(), "runningState", json!("Degraded")), vec![(S9, Propose)]),
        ("a word of later", at(active(), "runningState", json!("Activating")), vec![(S9, Propose)]),
        ("at its limit", at(active(), "runningState", json!("RunningAtMaxScale")), vec![]),
        ("starting", at(active(), "provisioningState", json!("Provisioning")), vec![(S9, Propose)]),
        ("without replica", at(active(), "replicas", json!(0)), vec![(S9, Propose)]),
        ("at rest", at(at(active(), "replicas", json!(0)), "template/scale/minReplicas", json!(0)), vec![]),
        ("old answer", at(at(active(), "healthState", Value::Null), "runningState", Value::Null), vec![]),
        ("never provisioned", at(App::multiple(), "provisioningState", json!("Failed")), vec![(S9, Page)]),
        ("never provisioned, single", at(App::single(), "provisioningState", json!("Failed")), vec![(S9, Page)]),
        ("secret gone", App::single().with("/properties/configuration/secrets", json!([])), vec![(S9, Page)]),
        ("floating image", at(App::single(), "template", latest), vec![(S10, Propose)]),
        ("no template", at(App::single(), "template", Value::Null), vec![]),
    ];
    for (name, app, obstacles) in rows {
        let way = app.observe().await.ways_back.remove(0);
        assert_eq!(summary(&way.obstacles), obstacles, "{name}: {:?}", way.obstacles);
        assert_eq!(way.fingerprint.is_none(), name == "no template");
    }
}

#[tokio::test]
async fn what_stands_against_any_rollback_is_told() {
    use ObstacleWeight::{Page, Propose};
    use RuleId::{S9, S10};
    let configuration = "/properties/configuration";
    let at = |key: &str, value: Value| App::multiple().with(&format!("{configuration}/{key}"), value);
    let queue = json!([{"name": "q", "azureQueue": {"queueName": "orders"}}]);
    let rows: Vec<(App, Vec<_>)> = vec![
        (at("ingress", Value::Null), vec![(S9, Page)]),
        (App::single().with(&format!("{configuration}/ingress"), Value::Null), vec![]),
        (at("activeRevisionsMode", json!("Labels")), vec![(S9, Page)]),
        (at("dapr", json!({"enabled": true})), vec![(S9, Propose)]),
        (App::multiple().revised("/1/properties/template/scale", json!({"minReplicas": 1, "rules": queue})), vec![(S9, Propose)]),
        (App::multiple().with("/systemData", Value::Null), vec![(S9, Propose)]),
        (App::single().with("/properties/runningStatus", json!("Stopped")), vec![(S9, Propose)]),
    ];
    for (app, obstacles) in rows {
        assert_eq!(summary(&app.observe().await.obstacles), obstacles, "{}", app.app);
    }
    let azure = App::multiple().start().await;
    azure.on(&format!("GET {APP}/revisions"), [Reply::empty(403)]);
    let observation = azure.adapter(&target()).observe().await.unwrap();
    assert_eq!((observation.running.fingerprint.clone(), observation.ways_back.len()), (None, 0));
    assert_eq!(summary(&observation.obstacles), [(S10, Propose)]);
    for (reply, kind) in [
        (Reply::empty(404), PortErrorKind::NotFound),
        (Reply::empty(403), PortErrorKind::Denied),
        (Reply::empty(429), PortErrorKind::Throttled),
        (Reply::json(200, &json!({"systemData": {"lastModifiedAt": "soon"}})), PortErrorKind::Invalid),
    ] {
        azure.on(&format!("GET {APP}"), [reply]);
        assert_eq!(azure.adapter(&target()).observe().await.unwrap_err().kind, kind);
    }
}

async fn steps(app: &App) -> (FakeAzure, std::sync::Arc<dyn Platform>, Vec<Step>) {
    let azure = app.start().await;
    let platform = azure.adapter(&target());
    let way = platform.observe().await.unwrap().ways_back.into_iter().find(|way| way.name == "revision shop--a1").unwrap();
    let steps = platform.steps(&way, &fence());
    assert!(steps.iter().all(|step| step.kind == StepKind::Convergent));
    (azure, platform, steps)
}

#[tokio::test]
async fn traffic_is_given_to_an_activated_revision_by_name() {
    let traffic = json!([{"latestRevision": true, "weight": 100, "label": "next"},
        {"revisionName": "shop--a1", "weight": 0, "label": "stable"}, {"revisionName": "shop--x9", "weight": 0}]);
    let app = App::new("Multiple", &traffic);
    let (azure, platform, steps) = steps(&app).await;
    let says: Vec<_> = steps.iter().map(|step| step.says.as_str()).collect();
    assert_eq!(
        says,
        [
            "activate revision shop--a1",
            "send all traffic of `shop` to shop--a1 by name; later revisions get none until somebody gives it to them"
        ]
    );
    let activate = format!("POST {APP}/revisions/shop--a1/activate");
    azure.on(&activate, [Reply::empty(200)]);
    let Submission::Accepted { operation, poll_after_seconds: 10 } = platform.submit(&steps[0]).await else {
        panic!("not accepted")
    };
    let sent = azure.recorded().pop().unwrap();
    assert_eq!((sent.line(), sent.body.as_str(), sent.header("authorization")), (activate, "", Some("Bearer actor-token")));
    assert_eq!(sent.query, "api-version=2025-07-01");

    let mut revision = revision("shop--a1", "41", "2026-11-20T08:00:00Z", true);
    let mut look = async |key: &str, value: Value| {
        revision["properties"][key] = value;
        azure.on(&format!("GET {APP}/revisions/shop--a1"), [Reply::json(200, &revision)]);
        platform.poll(&operation).await.unwrap()
    };
    assert_eq!(look("active", json!(true)).await, OperationState::Succeeded);
    let running = OperationState::Running { poll_after_seconds: 10 };
    assert_eq!(look("replicas", json!(0)).await, running);
    look("replicas", json!(1)).await;
    assert_eq!(look("healthState", json!("Unhealthy")).await, running, "it may become healthy yet");
    assert!(matches!(look("runningState", json!("Failed")).await, OperationState::Failed { .. }));
    azure.on(&format!("GET {APP}/revisions/shop--a1"), [Reply::empty(404)]);
    assert!(matches!(platform.poll(&operation).await.unwrap(), OperationState::Failed { .. }));
    azure.on(&format!("GET {APP}/revisions/shop--a1"), [Reply::empty(503)]);
    assert_eq!(platform.poll(&operation).await.unwrap_err().kind, PortErrorKind::Transient);

    let status = format!("{}operations/1", azure.url);
    let location = format!("{}results/1", azure.url);
    azure.on(&format!("PATCH {APP}"), [Reply::empty(202).with("azure-asyncoperation", &status).with("location", location)]);
    azure.on(
        "GET /operations/1",
        [Reply::json(200, &json!({"status": "InProgress"})), Reply::json(200, &json!({"status": "Succeeded"}))],
    );
    let Submission::Accepted { operation, .. } = platform.submit(&steps[1]).await else { panic!("not accepted") };
    let sent = azure.recorded().pop().unwrap();
    assert_eq!((sent.query.as_str(), sent.header("authorization")), ("api-version=2025-07-01", Some("Bearer actor-token")));
    assert_eq!(
        serde_json::from_str::<Value>(&sent.body).unwrap(),
        json!({"properties": {"configuration": {"ingress": {"traffic": [
            {"revisionName": "shop--a1", "weight": 100, "label": "stable"},
            {"revisionName": "shop--b2", "weight": 0, "label": "next"}]}}}})
    );
    assert_eq!(operation, json!({"asyncOperation": status}));
    assert!(matches!(platform.poll(&operation).await.unwrap(), OperationState::Running { .. }));
    assert_eq!(platform.poll(&operation).await.unwrap(), OperationState::Succeeded);
}

#[tokio::test]
async fn an_active_revision_needs_no_activation() {
    let app = App::multiple().revised("/0", revision("shop--a1", "41", "2026-11-20T08:00:00Z", true));
    let (_, _, steps) = steps(&app).await;
    assert_eq!(steps.len(), 1);
    assert!(steps[0].says.starts_with("send all traffic"));
}

#[tokio::test]
async fn a_template_is_copied_under_a_name_of_its_own() {
    let (azure, platform, steps) = steps(&App::single()).await;
    assert_eq!(steps.len(), 1);
    assert!(!steps[0].detail.to_string().contains("hunter2"));
    azure.on(&format!("PATCH {APP}"), [Reply::json(200, &json!({}))]);
    assert_eq!(platform.submit(&steps[0]).await, Submission::Done);
    let sent = azure.recorded().pop().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&sent.body).unwrap(),
        json!({"properties": {"template": {"revisionSuffix": "back-abcdefghij", "volumes": null, "scale": {"minReplicas": 1},
            "containers": [{"image": "r.io/shop/app:41",
                "env": [{"name": "DB", "secretRef": "db"}, {"name": "KEY", "value": "hunter2"}]}]}}})
    );

    let patches = || azure.recorded().iter().filter(|recorded| recorded.method == "PATCH").count();
    let revision_line = format!("GET {APP}/revisions/shop--a1");
    for (reply, is_refused) in [
        (Reply::json(200, &revision("shop--a1", "40", "2026-11-20T08:00:00Z", false)), true),
        (Reply::empty(404), true),
        (Reply::empty(503), false),
        (Reply::empty(429).with("retry-after", "7"), false),
    ] {
        azure.on(&revision_line, [reply.clone()]);
        let submission = platform.submit(&steps[0]).await;
        assert_eq!(matches!(submission, Submission::Refused { .. }), is_refused, "{reply:?}: {submission:?}");
        assert_eq!(matches!(submission, Submission::NotSent { .. }), !is_refused, "{reply:?}: {submission:?}");
    }
    assert_eq!(patches(), 1, "what can't be copied is not sent");
}

#[tokio::test]
async fn every_answer_to_a_change_is_told_apart() {
    let app = App::multiple().revised("/0", revision("shop--a1", "41", "2026-11-20T08:00:00Z", true));
    let (azure, platform, steps) = steps(&app).await;
    let error = |status: u16, code: &str| Reply::json(status, &json!({"error": {"code": code, "message": "says no"}}));
    for (reply, expected) in [
        (Reply::json(200, &json!({})), "done"),
        (Reply::empty(202).with("location", "/results/1"), "accepted"),
        (Reply::json(200, &json!({})).with("azure-asyncoperation", "/operations/1"), "accepted"),
        (error(400, "ContainerAppInvalidRequest"), "refused"),
        (error(403, "AuthorizationFailed"), "refused"),
        (error(404, "ResourceNotFound"), "refused"),
        (error(409, "ScopeLocked"), "refused"),
        (error(412, "PreconditionFailed"), "refused"),
        (error(409, "ContainerAppOperationInProgress"), "busy"),
        (error(429, "TooManyRequests"), "not sent"),
        (error(500, "InternalServerError"), "unknown"),
        (Reply::empty(504), "unknown"),
    ] {
        azure.on(&format!("PATCH {APP}"), [reply.clone()]);
        let before = azure.recorded().len();
        let found = match platform.submit(&steps[0]).await {
            Submission::Done => "done",
            Submission::Accepted { .. } => "accepted",
            Submission::Refused { .. } => "refused",
            Submission::Busy { .. } => "busy",
            Submission::NotSent { .. } => "not sent",
            Submission::Unknown { .. } => "unknown",
        };
        assert_eq!((found, azure.recorded().len() - before), (expected, 1), "{reply:?}");
    }
}

#[tokio::test]
async fn nothing_stored_leads_to_another_app() {
    let azure = FakeAzure::start().await;
    let platform = azure.adapter(&target());
    for name in ["other--a1", "shop/../x", "..", "", "shop--a1/activate", "shop"] {
        let way = |detail: Value| WayBack {
            name: String::new(),
            fingerprint: None,
            label: String::new(),
            obstacles: Vec::new(),
            detail,
        };
        for detail in [json!({"revision": name, "active": false, "labels": []}), json!({"copy": name, "hash": "h"})] {
            for step in platform.steps(&way(detail.clone()), &fence()) {
                let submission = platform.submit(&step).await;
                assert!(matches!(submission, Submission::Refused { .. }), "{detail}: {submission:?}");
            }
        }
    }
    let step = Step { says: String::new(), kind: StepKind::Convergent, detail: json!({"slot": "staging"}) };
    assert!(matches!(platform.submit(&step).await, Submission::Refused { .. }));
    assert_eq!(azure.recorded().len(), 0);
}

#[tokio::test]
async fn rights_and_locks_are_looked_at_before() {
    let permissions = |scope: &str| format!("GET {scope}/providers/Microsoft.Authorization/permissions");
    let locks = format!("GET {APP}/providers/Microsoft.Authorization/locks");
    let environment = format!("{GROUP}/Microsoft.App/managedEnvironments/env");
    let granted = |actions: &[&str]| Reply::json(200, &json!({"value": [{"actions": actions, "notActions": []}]}));
    let none = Reply::json(200, &json!({"value": []}));
    let lock = |level: &str| Reply::json(200, &json!({"value": [{"id": "/locks/freeze", "properties": {"level": level}}]}));
    let rows: Vec<(App, Reply, Reply, Reply, Vec<&str>)> = vec![
        (App::multiple(), granted(&["*"]), granted(&["*"]), lock("CanNotDelete"), vec![]),
        (
            App::multiple(),
            granted(&["*/read"]),
            granted(&["*"]),
            none.clone(),
            vec!["containerApps/write", "revisions/activate/action"],
        ),
        (App::single(), granted(&["*/read"]), granted(&["*"]), none.clone(), vec!["containerApps/write"]),
        (App::single(), granted(&["*/write"]), granted(&["*"]), none.clone(), vec!["containerApps/read", "revisions/read"]),
        (App::single(), granted(&["*"]), granted(&["*/read"]), none.clone(), vec!["managedEnvironments/join/action"]),
        (App::single(), granted(&["*"]), granted(&["*"]), lock("ReadOnly"), vec!["`/locks/freeze`"]),
    ];
    for (app, on_app, on_environment, lock, missing) in rows {
        let azure = app.start().await;
        azure.on(&permissions(APP), [on_app]).on(&permissions(&environment), [on_environment]).on(&locks, [lock]);
        let obstacles = azure.adapter(&target()).preflight().await.unwrap().obstacles;
        assert_eq!(obstacles.len(), missing.len(), "{obstacles:?}");
        for part in missing {
            let found = obstacles.iter().any(|obstacle| obstacle.says.contains(part) && obstacle.weight == ObstacleWeight::Page);
            assert!(found, "{part}: {obstacles:?}");
        }
        let mut tokens: Vec<_> = azure
            .recorded()
            .iter()
            .filter(|recorded| format!("{} {}", recorded.method, recorded.path) == permissions(APP))
            .map(|recorded| recorded.header("authorization").unwrap().to_owned())
            .collect();
        tokens.sort();
        assert_eq!(tokens, ["Bearer actor-token", "Bearer reader-token"]);
    }
    let azure = App::single().start().await;
    azure
        .on(&permissions(APP), [Reply::empty(403)])
        .on(&permissions(&environment), [Reply::empty(500)])
        .on(&locks, [Reply::empty(403)]);
    let obstacles = azure.adapter(&target()).preflight().await.unwrap().obstacles;
    assert_eq!(summary(&obstacles), [(RuleId::S9, ObstacleWeight::Propose); 4]);
    assert!(obstacles.iter().all(|obstacle| obstacle.says.contains("could not be checked")), "{obstacles:?}");
}

/// Which reads must wait for another is told by which are made although the app does not answer.
#[tokio::test]
async fn once_the_environment_is_known_every_read_of_the_preflight_goes_side_by_side() {
    let permissions = |scope: &str| format!("GET {scope}/providers/Microsoft.Authorization/permissions");
    let locks = format!("GET {APP}/providers/Microsoft.Authorization/locks");
    let environment = format!("{GROUP}/Microsoft.App/managedEnvironments/env");
    let moved = format!("{GROUP}/Microsoft.App/managedEnvironments/other");
    let granted = |actions: &[&str]| Reply::json(200, &json!({"value": [{"actions": actions, "notActions": []}]}));
    for observed in [false, true] {
        let azure = App::multiple().start().await;
        azure.on(&permissions(APP), [granted(&["*"])]).on(&locks, [Reply::json(200, &json!({"value": []}))]);
        azure.on(&permissions(&environment), [granted(&["*/read"])]);
        let platform = azure.adapter(&target());
        if observed {
            platform.observe().await.unwrap();
        }
        // The app itself is not there for this look.
        azure.on(&format!("GET {APP}"), [Reply::empty(404)]);
        let obstacles = platform.preflight().await.unwrap().obstacles;
        let says = |part: &str| obstacles.iter().any(|obstacle| obstacle.says.contains(part));
        assert!(says("rights could not be checked in full"), "{obstacles:?}");
        assert_eq!(says("managedEnvironments/join/action"), observed, "{obstacles:?}");
    }
    // What the app tells now is what counts.
    let azure = App::multiple().start().await;
    azure.on(&permissions(APP), [granted(&["*"])]).on(&locks, [Reply::json(200, &json!({"value": []}))]);
    azure.on(&permissions(&environment), [granted(&["*"])]).on(&permissions(&moved), [granted(&["*/read"])]);
    let platform = azure.adapter(&target());
    assert_eq!(platform.preflight().await.unwrap().obstacles, []);
    let elsewhere = App::multiple().with("/properties/environmentId", json!(moved));
    azure.on(&format!("GET {APP}"), [Reply::json(200, &elsewhere.app)]);
    let obstacles = platform.preflight().await.unwrap().obstacles;
    assert!(matches!(obstacles.as_slice(), [one] if one.says.contains(&moved)), "{obstacles:?}");
}
