//! What an observation of deployment records says, and what is sent to deploy one of them again.

use backout::{
    domain::{
        observation::{Observation, ObstacleWeight, Preflight},
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        rule::RuleId,
        target::{ArmDeploymentTarget, KeyVaultSecret, Lineage, Target},
    },
    ports::PortErrorKind,
};
use serde_json::{Value, json};

use super::server::{FakeAzure, Recorded, Reply};

const GROUP: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/net";
const OWN: &str = "rb-abcdefghijklmnopqrstuvwxyz";

fn deployments() -> String {
    format!("{GROUP}/providers/Microsoft.Resources/deployments")
}

fn arm_target() -> ArmDeploymentTarget {
    let vault = ResourceId::parse(&format!("{GROUP}/providers/Microsoft.KeyVault/vaults/kv")).unwrap();
    ArmDeploymentTarget {
        scope: ResourceId::parse(GROUP).unwrap(),
        lineage: Lineage::Name("hub-*".to_owned()),
        secure_parameters: [("pw".to_owned(), KeyVaultSecret { vault, secret: "admin".to_owned() })].into(),
    }
}

fn target() -> Target {
    Target::ArmDeployment(arm_target())
}

fn fence() -> Fence {
    Fence { claim: "abcdefghijklmnopqrstuvwxyz".to_owned(), record: RecordId("r1".to_owned()) }
}

/// A record that ended at `time` on 25 November with this state; its correlation id is made from its name.
fn record(name: &str, state: &str, time: &str, sku: &str) -> Value {
    json!({
    "id": format!("{}/{name}", deployments()), "name": name, "type": "Microsoft.Resources/deployments", "tags": {"team": "net"},
    "properties": {
        "provisioningState": state, "correlationId": format!("C-{name}"), "timestamp": format!("2026-11-25T{time}:00.5Z"),
        "duration": "PT1M0.5S", "mode": "Incremental", "templateHash": "1",
        "parameters": {"sku": {"type": "String", "value": sku}, "pw": {"type": "SecureString"}},
        "outputResources": [{"id": format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/hub")}],
    }})
}

fn with(mut record: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    record.pointer_mut(parent).unwrap()[key] = value;
    record
}

fn template() -> Value {
    json!({"$schema": "s", "contentVersion": "1.0.0.0", "resources": [{"type": "Microsoft.Network/virtualNetworks", "name": "hub"}]})
}

const HASH: &str = "POST /providers/Microsoft.Resources/calculateTemplateHash";

/// Answers the list, each record by itself, and the same template for every record, of the hash that the records name.
fn serve(azure: &FakeAzure, records: &[Value]) {
    azure.on(HASH, [Reply::json(200, &json!({"minifiedTemplate": "{}", "templateHash": "1"}))]);
    azure.on(&format!("GET {}", deployments()), [Reply::json(200, &json!({"value": records}))]);
    for record in records {
        let path = format!("{}/{}", deployments(), record["name"].as_str().unwrap());
        azure.on(&format!("GET {path}"), [Reply::json(200, record)]);
        azure.on(&format!("POST {path}/exportTemplate"), [Reply::json(200, &json!({"template": template()}))]);
    }
}

fn good() -> Value {
    record("hub-41", "Succeeded", "08:00", "P1")
}

fn bad() -> Value {
    record("hub-42", "Succeeded", "10:00", "P2")
}

async fn observe(records: &[Value]) -> Observation {
    let azure = FakeAzure::start().await;
    serve(&azure, records);
    azure.adapter(&target()).observe().await.unwrap()
}

fn ways(observation: &Observation) -> Vec<&str> {
    observation.ways_back.iter().map(|way| way.name.as_str()).collect()
}

#[tokio::test]
async fn the_newest_record_of_the_lineage_runs_and_earlier_ones_are_ways_back() {
    let azure = FakeAzure::start().await;
    serve(&azure, &[good(), record("other", "Succeeded", "11:00", "P9"), bad()]);
    let observation = azure.adapter(&target()).observe().await.unwrap();
    assert_eq!(observation.running.token.0, "deployment|hub-42|c-hub-42");
    assert_eq!(observation.running.serving_since, Some("2026-11-25T09:59:00Z".parse().unwrap()), "from its start (C5)");
    assert_eq!(observation.running.label, "hub-42 (deployed at 2026-11-25 10:00:00Z)");
    assert_eq!((observation.under_way.clone(), observation.obstacles.len()), (None, 0));
    assert_eq!(ways(&observation), ["deployment hub-41"]);
    assert_eq!(observation.ways_back[0].obstacles, []);
    assert_ne!(observation.running.fingerprint, observation.ways_back[0].fingerprint);
    assert!(observation.running.fingerprint.is_some());

    let lines: Vec<_> = azure.recorded().iter().map(|r| r.line().replace(&deployments(), "D")).collect();
    assert_eq!(lines, ["GET D"], "the list tells all");
    for recorded in azure.recorded() {
        assert_eq!(recorded.query, "api-version=2026-06-01");
        assert_eq!((recorded.header("authorization"), recorded.body.as_str()), (Some("Bearer reader-token"), ""));
    }
}

/// Which records are the last known good: name of the ways back, the newest first.
#[tokio::test]
async fn last_known_good_at_its_boundaries() {
    let own = |time| {
        let tags = json!({"backout-restores": "hub-41", "backout-takes-back": "hub-40"});
        with(record(OWN, "Succeeded", time, "P1"), "/tags", tags)
    };
    let nested = |name, time| with(record(name, "Succeeded", time, "P3"), "/properties/correlationId", json!("c-hub-42"));
    let rows: Vec<(&str, Vec<Value>, &str, Vec<&str>)> = vec![
        ("nothing earlier", vec![bad()], "hub-42", vec![]),
        (
            "two earlier",
            vec![record("hub-40", "Succeeded", "07:00", "P0"), bad(), good()],
            "hub-42",
            vec!["deployment hub-41", "deployment hub-40"],
        ),
        ("same content earlier", vec![record("hub-41", "Succeeded", "08:00", "P2"), bad()], "hub-42", vec![]),
        ("failed earlier", vec![record("hub-41", "Failed", "08:00", "P1"), bad()], "hub-42", vec![]),
        ("canceled earlier", vec![record("hub-41", "Canceled", "08:00", "P1"), bad()], "hub-42", vec![]),
        ("later is newest", vec![record("hub-41", "Succeeded", "10:01", "P1"), bad()], "hub-41", vec!["deployment hub-42"]),
        (
            "nested child",
            vec![nested("hub-vnet", "09:59"), with(bad(), "/properties/correlationId", json!("c-hub-42")), good()],
            "hub-42",
            vec!["deployment hub-41"],
        ),
        ("ours runs", vec![good(), bad(), own("10:30")], OWN, vec!["deployment hub-42"]),
        ("ours is no way back", vec![own("07:00"), bad()], "hub-42", vec![]),
        ("a stranger's rb-", vec![record(OWN, "Succeeded", "11:00", "P1"), bad(), good()], "hub-42", vec!["deployment hub-41"]),
        ("other lineage", vec![record("spoke-1", "Succeeded", "08:00", "P1"), bad()], "hub-42", vec![]),
    ];
    for (row, records, runs, back) in rows {
        let observation = observe(&records).await;
        assert!(observation.running.token.0.starts_with(&format!("deployment|{runs}|")), "{row}: {}", observation.running.token);
        assert_eq!(ways(&observation), back, "{row}");
    }
    let observation = observe(&[good(), bad(), own("10:30")]).await;
    let again = observe(&[good()]).await;
    assert_eq!(observation.running.fingerprint, again.running.fingerprint, "our redeployment has the good record's content");
}

#[tokio::test]
async fn what_goes_on_and_what_ended_half_way() {
    let observation = observe(&[good(), bad(), record("hub-43", "Accepted", "10:20", "P3")]).await;
    assert!(observation.under_way.as_deref().is_some_and(|says| says.contains("`hub-43`")), "{:?}", observation.under_way);
    assert!(observation.running.token.0.contains("hub-42"));

    for state in ["Failed", "Canceled"] {
        let observation = observe(&[good(), bad(), record("hub-43", state, "10:20", "P3")]).await;
        assert!(observation.running.token.0.contains("hub-43"), "{}", observation.running.token);
        assert_eq!(observation.running.fingerprint, None, "nobody knows what serves");
        assert!(observation.running.label.contains("ended half way"), "{}", observation.running.label);
        assert_eq!(ways(&observation), ["deployment hub-42", "deployment hub-41"]);
    }
}

#[tokio::test]
async fn content_is_told_by_the_records_own_hash_and_its_parameters() {
    let of = async |record: Value| observe(&[good(), record]).await.running.fingerprint;
    let base = of(bad()).await;
    assert!(base.is_some());
    let other_template = with(bad(), "/properties/templateHash", json!("2"));
    assert_ne!(of(other_template).await, base);
    assert_ne!(of(record("hub-42", "Succeeded", "10:00", "P3")).await, base);
    // A secret that is named instead of given is the same content: its value is nowhere to be read.
    let reference = json!({"type": "SecureString", "reference": {"keyVault": {"id": "/vault"}, "secretName": "admin"}});
    assert_eq!(of(with(bad(), "/properties/parameters/pw", reference)).await, base);
    let written_otherwise = json!({"SKU": {"type": "string", "value": "P2"}, "PW": {"type": "securestring"}});
    assert_eq!(of(with(bad(), "/properties/parameters", written_otherwise)).await, base);

    for hash in [Value::Null, json!("")] {
        let unknown = with(bad(), "/properties/templateHash", hash.clone());
        let observation = observe(&[good(), unknown]).await;
        assert_eq!(observation.running.fingerprint, None);
        assert!(observation.running.label.contains("`templateHash`"), "{}", observation.running.label);
        let observation = observe(&[with(good(), "/properties/templateHash", hash), bad()]).await;
        assert_eq!((ways(&observation), observation.ways_back[0].fingerprint.clone()), (vec!["deployment hub-41"], None));
        assert!(observation.ways_back[0].label.contains("`templateHash`"), "{}", observation.ways_back[0].label);
    }
}

#[tokio::test]
async fn what_stands_against_a_way_back_is_told() {
    let azure = FakeAzure::start().await;
    let secret = json!({"sku": {"type": "String", "value": "P1"}, "key": {"type": "secureObject"}});
    serve(&azure, &[with(good(), "/properties/parameters", secret), bad()]);
    let obstacle = azure.adapter(&target()).observe().await.unwrap().ways_back[0].obstacles[0].clone();
    assert_eq!((obstacle.rule, obstacle.weight), (RuleId::S5, ObstacleWeight::Page));
    assert!(obstacle.says.contains("`key`") && obstacle.says.contains("secureParameters"), "{}", obstacle.says);

    let full: Vec<Value> = (0..800).map(|n| record(&format!("spoke-{n}"), "Succeeded", "01:00", "P")).chain([bad()]).collect();
    let observation = observe(&full).await;
    assert_eq!((observation.obstacles[0].rule, observation.obstacles[0].weight), (RuleId::S9, ObstacleWeight::Page));
}

/// A server that lets everything be done, and these records.
async fn allowing(records: &[Value]) -> FakeAzure {
    let azure = FakeAzure::start().await;
    serve(&azure, records);
    let at = format!("GET {GROUP}/providers/Microsoft.Authorization");
    azure
        .on(&format!("{at}/permissions"), [Reply::text(200, r#"{"value": [{"actions": ["*"]}]}"#)])
        .on(&format!("{at}/locks"), [Reply::text(200, r#"{"value": []}"#)]);
    azure
}

#[tokio::test]
async fn what_only_the_templates_tell_is_asked_beside_the_observation() {
    let linked = json!({"template": {"resources": [{"type": "microsoft.resources/deployments", "properties": {"templateLink": {"uri": "https://x/t.json?sig=s3cret"}}}]}});
    let export = format!("POST {}/hub-41/exportTemplate", deployments());
    for (reply, weight) in [
        (Reply::json(200, &linked), Some(ObstacleWeight::Propose)),
        (Reply::empty(403), Some(ObstacleWeight::Page)),
        (Reply::json(200, &json!({})), Some(ObstacleWeight::Page)),
        (Reply::json(200, &json!({"template": "text"})), Some(ObstacleWeight::Page)),
        (Reply::json(200, &json!({"template": template()})), None),
    ] {
        let azure = allowing(&[good(), bad()]).await;
        azure.on(&export, [reply]);
        let found = azure.adapter(&target()).preflight().await.unwrap();
        assert_eq!(found.obstacles, []);
        let expected: Vec<_> = weight.map(|weight| ("deployment hub-41".to_owned(), RuleId::S5, weight)).into_iter().collect();
        let told: Vec<_> = found.ways_back.iter().map(|(way, o)| (way.clone(), o[0].rule, o[0].weight)).collect();
        assert_eq!(told, expected, "{found:?}");
        assert!(!format!("{found:?}").contains("s3cret"));
    }
    let itself = with(good(), "/properties/templateLink", json!({"uri": "https://x/t.json"}));
    let found = allowing(&[itself, bad()]).await.adapter(&target()).preflight().await.unwrap();
    assert_eq!(found.ways_back[0].1[0].weight, ObstacleWeight::Propose);

    let azure = allowing(&[good(), bad()]).await;
    azure.on(&export, [Reply::empty(503)]);
    assert_eq!(azure.adapter(&target()).preflight().await.unwrap_err().kind, PortErrorKind::Transient);
}

#[tokio::test]
async fn what_a_failed_deployment_changed_is_told_to_a_person() {
    let operation = |kind: &str, id: &str| json!({"properties": {"provisioningOperation": kind, "targetResource": {"id": id}}});
    let many: Vec<Value> = (0..7).map(|n| operation("Create", &format!("/x{n}"))).collect();
    for (reply, says) in [
        (Reply::json(200, &json!({"value": [operation("Read", "/x")]})), "failed before it changed any resource"),
        (Reply::json(200, &json!({"value": [operation("Read", "/x"), operation("Create", "/y")]})), "it may have changed `/y`"),
        (Reply::json(200, &json!({"value": many})), "`/x4` and 2 more"),
        (Reply::empty(403), "could not be read"),
    ] {
        let azure = allowing(&[good(), bad(), record("hub-43", "Failed", "10:20", "P3")]).await;
        azure.on(&format!("GET {GROUP}/deployments/hub-43/operations"), [reply]);
        let [obstacle] = azure.adapter(&target()).preflight().await.unwrap().obstacles.try_into().unwrap();
        assert_eq!((obstacle.rule, obstacle.weight), (RuleId::S8, ObstacleWeight::Propose));
        assert!(obstacle.says.contains("`hub-43`") && obstacle.says.contains(says), "{}", obstacle.says);
    }
}

#[tokio::test]
async fn a_scope_without_the_lineage_is_not_found_and_nonsense_is_no_guess() {
    let azure = FakeAzure::start().await;
    for (records, kind) in [
        (vec![], PortErrorKind::NotFound),
        (vec![record("spoke-1", "Succeeded", "08:00", "P")], PortErrorKind::NotFound),
        (vec![with(bad(), "/properties/timestamp", json!("soon"))], PortErrorKind::Invalid),
        (vec![with(bad(), "/properties", json!([1]))], PortErrorKind::Invalid),
    ] {
        serve(&azure, &records);
        assert_eq!(azure.adapter(&target()).observe().await.unwrap_err().kind, kind, "{records:?}");
    }
}

async fn preflight(permissions: &str, locks: Reply) -> (Preflight, Vec<Recorded>) {
    let azure = FakeAzure::start().await;
    serve(&azure, &[good(), bad()]);
    let at = format!("GET {GROUP}/providers/Microsoft.Authorization");
    azure.on(&format!("{at}/permissions"), [Reply::text(200, permissions)]).on(&format!("{at}/locks"), [locks]);
    (azure.adapter(&target()).preflight().await.unwrap(), azure.recorded())
}

#[tokio::test]
async fn rights_and_locks_are_asked_before_they_are_needed() {
    let no_locks = || Reply::text(200, r#"{"value": []}"#);
    let (open, recorded) = preflight(r#"{"value": [{"actions": ["*"], "notActions": []}]}"#, no_locks()).await;
    assert_eq!(open.obstacles, []);
    let mut tokens: Vec<_> =
        recorded.iter().filter(|r| r.path.ends_with("/permissions")).map(|r| r.header("authorization").unwrap()).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, ["Bearer actor-token", "Bearer reader-token"]);

    let (reader, _) = preflight(r#"{"value": [{"actions": ["*/read"]}]}"#, no_locks()).await;
    let says: Vec<_> = reader.obstacles.iter().map(|o| o.says.clone()).collect();
    assert!(reader.obstacles.iter().all(|o| o.rule == RuleId::S9 && o.weight == ObstacleWeight::Page));
    for action in ["deployments/write", "deployments/whatIf/action", "deployments/exportTemplate/action"] {
        assert!(says.iter().any(|says| says.contains(&format!("`Microsoft.Resources/{action}`"))), "{says:?}");
    }
    assert_eq!(says.len(), 3);

    let lock = |at: &str, level: &str| {
        let id = format!("{at}/providers/Microsoft.Authorization/locks/l");
        Reply::json(200, &json!({"value": [{"id": id, "properties": {"level": level}}]}))
    };
    let inside = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/hub");
    let subscription = GROUP.split("/resourceGroups").next().unwrap();
    for (locks, weight) in [
        (lock(GROUP, "ReadOnly"), Some(ObstacleWeight::Page)),
        (lock(subscription, "readonly"), Some(ObstacleWeight::Page)),
        (lock(&inside, "ReadOnly"), Some(ObstacleWeight::Propose)),
        (lock(GROUP, "CanNotDelete"), None),
        (Reply::empty(403), Some(ObstacleWeight::Propose)),
    ] {
        let (found, _) = preflight(r#"{"value": [{"actions": ["*"]}]}"#, locks).await;
        assert_eq!(found.obstacles.first().map(|o| o.weight), weight, "{:?}", found.obstacles);
    }
}

/// The steps of going from `hub-42` back to `hub-41`, on a server that answers the reads before them.
async fn decided() -> (FakeAzure, Vec<Step>) {
    let azure = FakeAzure::start().await;
    serve(&azure, &[good(), bad()]);
    let adapter = azure.adapter(&target());
    let observation = adapter.observe().await.unwrap();
    let steps = adapter.steps(&observation.ways_back[0], &fence());
    (azure, steps)
}

fn own(tail: &str) -> String {
    format!("{}/{OWN}{tail}", deployments())
}

#[tokio::test]
async fn the_what_if_and_the_deployment_say_the_same_and_only_the_second_is_tagged() {
    let (azure, steps) = decided().await;
    assert_eq!(steps.iter().map(|step| step.kind).collect::<Vec<_>>(), [StepKind::Convergent; 2]);
    assert_eq!(steps[1].says, format!("deploy `hub-41` again in `{GROUP}` as `{OWN}`"));
    let stored = serde_json::to_string(&steps).unwrap();
    assert!(!stored.contains("P1") && !stored.contains("virtualNetworks"), "no parameter and no template is stored: {stored}");

    azure.on(&format!("POST {}", own("/whatIf")), [Reply::empty(202).with("location", format!("{}results/1", azure.url))]);
    azure.on(
        &format!("PUT {}", own("")),
        [Reply::text(201, "{}").with("azure-asyncoperation", format!("{}status/1", azure.url)).with("retry-after", "7")],
    );
    let adapter = azure.adapter(&target());
    assert!(matches!(adapter.submit(&steps[0]).await, Submission::Accepted { .. }));
    let Submission::Accepted { poll_after_seconds, .. } = adapter.submit(&steps[1]).await else { panic!() };
    assert_eq!(poll_after_seconds, 7);
    let sent: Vec<_> = azure.recorded().into_iter().filter(|r| r.path.contains(OWN) && r.method != "GET").collect();
    assert_eq!(
        sent.iter().map(Recorded::line).collect::<Vec<_>>(),
        [format!("POST {}", own("/whatIf")), format!("PUT {}", own(""))]
    );
    let bodies: Vec<Value> = sent.iter().map(|r| serde_json::from_str(&r.body).unwrap()).collect();
    let vault = format!("{GROUP}/providers/Microsoft.KeyVault/vaults/kv");
    let parameters = json!({"sku": {"value": "P1"}, "pw": {"reference": {"keyVault": {"id": vault}, "secretName": "admin"}}});
    assert_eq!(
        bodies[1],
        json!({
        "properties": {"mode": "Incremental", "template": template(), "parameters": parameters},
        "tags": {"team": "net", "backout-restores": "hub-41", "backout-takes-back": "hub-42", "backout-record": "r1"}})
    );
    assert_eq!(
        bodies[0],
        json!({"properties": {"mode": "Incremental", "template": template(), "parameters": parameters,
        "whatIfSettings": {"resultFormat": "FullResourcePayloads"}}})
    );
    for sent in &sent {
        assert_eq!((sent.query.as_str(), sent.header("authorization")), ("api-version=2026-06-01", Some("Bearer actor-token")));
    }
}

#[tokio::test]
async fn a_subscriptions_deployment_names_its_location() {
    let scope = GROUP.split("/resourceGroups").next().unwrap();
    let below = format!("{scope}/providers/Microsoft.Resources/deployments");
    let target = Target::ArmDeployment(ArmDeploymentTarget { scope: ResourceId::parse(scope).unwrap(), ..arm_target() });
    let azure = FakeAzure::start().await;
    azure.on(HASH, [Reply::json(200, &json!({"templateHash": "1"}))]);
    let serve = |records: &[Value]| {
        azure.on(&format!("GET {below}"), [Reply::json(200, &json!({"value": records}))]);
        for record in records {
            let path = format!("{below}/{}", record["name"].as_str().unwrap());
            azure.on(&format!("GET {path}"), [Reply::json(200, record)]);
            azure.on(&format!("POST {path}/exportTemplate"), [Reply::json(200, &json!({"template": template()}))]);
        }
    };
    serve(&[good(), bad()]);
    let adapter = azure.adapter(&target);
    let [obstacle] = adapter.observe().await.unwrap().ways_back.remove(0).obstacles.try_into().unwrap();
    assert_eq!((obstacle.rule, obstacle.weight), (RuleId::S5, ObstacleWeight::Page), "{}", obstacle.says);

    let mut located = good();
    located["location"] = json!("westeurope");
    serve(&[located, bad()]);
    let way = adapter.observe().await.unwrap().ways_back.remove(0);
    assert_eq!(way.obstacles, []);
    azure.on(&format!("PUT {below}/{OWN}"), [Reply::text(200, "{}")]);
    assert_eq!(adapter.submit(&adapter.steps(&way, &fence())[1]).await, Submission::Done);
    let put = azure.recorded().into_iter().find(|r| r.method == "PUT").unwrap();
    assert_eq!(serde_json::from_str::<Value>(&put.body).unwrap()["location"], "westeurope");

    // A subscription's operations lie below the provider, unlike a group's.
    serve(&[record("hub-43", "Failed", "10:20", "P3"), bad()]);
    adapter.preflight().await.unwrap();
    assert!(azure.recorded().iter().any(|r| r.path == format!("{below}/hub-43/operations")));
}

#[tokio::test]
async fn each_answer_to_the_deployment_is_taken_for_what_it_proves() {
    let error = |status, code: &str| Reply::json(status, &json!({"error": {"code": code, "message": "m"}}));
    for (reply, expected) in [
        (Reply::text(200, "{}"), "done"),
        (Reply::text(201, "{}"), "done"),
        (error(400, "InvalidTemplate"), "refused"),
        (error(403, "LinkedAuthorizationFailed"), "refused"),
        (error(404, "ResourceGroupNotFound"), "refused"),
        (error(409, "DeploymentActive"), "busy"),
        (error(409, "DeploymentQuotaExceeded"), "refused"),
        (error(409, "ScopeLocked"), "refused"),
        (error(412, "PreconditionFailed"), "refused"),
        (error(429, "TooManyRequests").with("retry-after", "9"), "notSent"),
        (error(500, "InternalServerError"), "unknown"),
        (Reply::empty(504), "unknown"),
    ] {
        let (azure, steps) = decided().await;
        azure.on(&format!("PUT {}", own("")), [reply.clone()]);
        let submission = azure.adapter(&target()).submit(&steps[1]).await;
        let answer = serde_json::to_value(&submission).unwrap()["answer"].as_str().unwrap().to_owned();
        assert_eq!(answer, expected, "{reply:?} {submission:?}");
        assert_eq!(azure.recorded().iter().filter(|r| r.method == "PUT").count(), 1, "sent once");
    }
}

#[tokio::test]
async fn a_deployment_under_our_name_is_followed_and_never_sent_again() {
    for (state, expected) in [("Running", "accepted"), ("Succeeded", "done"), ("Failed", "unknown"), ("Canceled", "unknown")] {
        for step in 0..2 {
            let (azure, steps) = decided().await;
            azure.on(&format!("GET {}", own("")), [Reply::json(200, &record(OWN, state, "10:30", "P1"))]);
            let submission = azure.adapter(&target()).submit(&steps[step]).await;
            assert_eq!(serde_json::to_value(&submission).unwrap()["answer"], expected, "{state} {submission:?}");
            assert!(azure.recorded().iter().all(|r| r.method != "PUT" && !r.path.ends_with("/whatIf")));
            if let Submission::Accepted { operation, .. } = submission {
                let adapter = azure.adapter(&target());
                assert_eq!(adapter.poll(&operation).await.unwrap(), OperationState::Running { poll_after_seconds: 15 });
                azure.on(&format!("GET {}", own("")), [Reply::json(200, &record(OWN, "Succeeded", "10:31", "P1"))]);
                assert_eq!(adapter.poll(&operation).await.unwrap(), OperationState::Succeeded);
            }
        }
    }
}

#[tokio::test]
async fn what_changed_since_the_decision_is_refused_before_anything_is_sent() {
    let overwritten = with(good(), "/properties/correlationId", json!("c-another"));
    let other_value = record("hub-41", "Succeeded", "08:00", "P5");
    let other_bad = with(bad(), "/properties/correlationId", json!("c-another"));
    for (name, reply, expected) in [
        ("hub-41", Reply::json(200, &overwritten), "refused"),
        ("hub-41", Reply::json(200, &other_value), "refused"),
        ("hub-41", Reply::json(200, &with(good(), "/properties/templateHash", json!("2"))), "refused"),
        ("hub-41", Reply::empty(404), "refused"),
        ("hub-42", Reply::json(200, &other_bad), "refused"),
        ("hub-41", Reply::empty(503), "notSent"),
        ("hub-41", Reply::empty(429), "notSent"),
    ] {
        for step in 0..2 {
            let (azure, steps) = decided().await;
            azure.on(&format!("GET {}/{name}", deployments()), [reply.clone()]);
            let submission = azure.adapter(&target()).submit(&steps[step]).await;
            assert_eq!(serde_json::to_value(&submission).unwrap()["answer"], expected, "{submission:?}");
            assert!(azure.recorded().iter().all(|r| r.method != "PUT" && !r.path.ends_with("/whatIf")));
        }
    }
}

#[tokio::test]
async fn only_the_very_template_of_the_record_is_deployed() {
    for (reply, expected) in [
        (Reply::json(200, &json!({"templateHash": "2"})), "not the one that was deployed"),
        (Reply::json(200, &json!({"minifiedTemplate": "{}"})), "holds no `templateHash`"),
        (Reply::empty(403), "calculate the template's hash: 403"),
        (Reply::empty(503), "503"),
    ] {
        for step in 0..2 {
            let (azure, steps) = decided().await;
            azure.on(HASH, [reply.clone()]);
            let submission = azure.adapter(&target()).submit(&steps[step]).await;
            match submission {
                Submission::Refused { says } => assert!(says.contains(expected) && says.contains("nothing was sent"), "{says}"),
                Submission::NotSent { says, .. } => assert!(expected == "503" && says.contains(expected), "{says}"),
                other => panic!("{other:?}"),
            }
            assert!(azure.recorded().iter().all(|r| r.method != "PUT" && !r.path.ends_with("/whatIf")));
        }
    }

    // Letter by letter: what is hashed, and what is sent, is what was exported.
    let written =
        r#"{"resources": [ {"type":"x/y","name":"n","apiVersion":"1","properties":{"b":1.0,"a":1E2}} ],"contentVersion":"1"}"#;
    let (azure, steps) = decided().await;
    azure.on(
        &format!("POST {}/hub-41/exportTemplate", deployments()),
        [Reply::text(200, &format!(r#"{{"template":{written}}}"#))],
    );
    azure.on(&format!("PUT {}", own("")), [Reply::text(200, "{}")]);
    assert_eq!(azure.adapter(&target()).submit(&steps[1]).await, Submission::Done);
    let recorded = azure.recorded();
    let hashed = recorded.iter().find(|r| r.line() == HASH).unwrap();
    assert_eq!((hashed.body.as_str(), hashed.query.as_str()), (written, "api-version=2026-06-01"));
    assert_eq!(
        (hashed.header("authorization"), hashed.header("content-type")),
        (Some("Bearer reader-token"), Some("application/json"))
    );
    assert!(recorded.iter().any(|r| r.method == "PUT" && r.body.contains(written)));
}

#[tokio::test]
async fn the_what_ifs_result_decides_whether_anything_is_deployed() {
    let hub = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/HUB");
    let change = |id: &str, kind: &str| json!({"resourceId": id, "changeType": kind});
    let result = |changes: &[Value]| Reply::json(200, &json!({"status": "Succeeded", "properties": {"changes": changes}}));
    let fine = change(&hub, "Modify");
    let insights = format!("{GROUP}/providers/Microsoft.Insights/components/net");
    for (reply, refused) in [
        (result(std::slice::from_ref(&fine)), None),
        (result(&[fine.clone(), change("/x", "Ignore"), change("/y", "NoChange")]), None),
        (result(&[change(&hub, "Create")]), None),
        (result(&[fine.clone(), change("/x", "Delete")]), Some("it would delete `/x`")),
        (result(&[fine.clone(), change("/x", "Unsupported")]), Some("can't tell what would become of `/x`")),
        (result(&[fine.clone(), change("/x", "Replace")]), Some("`Replace`")),
        (result(&[fine.clone(), change("/x", "Create")]), Some("neither of the two deployments made")),
        (result(&[fine.clone(), change(&insights, "Modify")]), Some("belongs to monitoring")),
        (result(&[fine.clone(), change(&insights, "NoChange")]), None),
        (result(&[change(&hub, "Ignore")]), Some("did not look at")),
        (result(&[change(&hub, "NoChange")]), Some("it would change nothing")),
        (result(&[]), Some("it would change nothing")),
        (
            Reply::json(200, &json!({"status": "Failed", "error": {"code": "InvalidTemplate", "message": "no"}})),
            Some("InvalidTemplate: no"),
        ),
        (Reply::text(200, "{}"), Some("not `Succeeded`")),
        (Reply::text(200, ""), Some("not `Succeeded`")),
    ] {
        // At once, and after a while.
        let (azure, steps) = decided().await;
        azure.on(&format!("POST {}", own("/whatIf")), [reply.clone()]);
        match (azure.adapter(&target()).submit(&steps[0]).await, refused) {
            (Submission::Done, None) => {}
            (Submission::Refused { says }, Some(part)) => {
                assert!(says.contains(part) && says.contains("nothing was deployed"), "{says}");
            }
            (other, _) => panic!("{reply:?} {other:?}"),
        }
        let (azure, steps) = decided().await;
        azure.on(&format!("POST {}", own("/whatIf")), [Reply::empty(202).with("location", format!("{}results/1", azure.url))]);
        azure.on("GET /results/1", [Reply::empty(202), reply.clone()]);
        let adapter = azure.adapter(&target());
        let Submission::Accepted { operation, .. } = adapter.submit(&steps[0]).await else { panic!() };
        assert!(matches!(adapter.poll(&operation).await.unwrap(), OperationState::Running { .. }));
        match (adapter.poll(&operation).await.unwrap(), refused) {
            (OperationState::Succeeded, None) => {}
            (OperationState::Failed { says }, Some(part)) => {
                assert!(says.contains(part) && says.contains("nothing was deployed"), "{says}");
            }
            (other, _) => panic!("{reply:?} {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_is_no_permission_and_no_failure() {
    let (azure, steps) = decided().await;
    let adapter = azure.adapter(&target());
    azure.on(&format!("POST {}", own("/whatIf")), [Reply::empty(202).with("location", format!("{}results/1", azure.url))]);
    let Submission::Accepted { operation, .. } = adapter.submit(&steps[0]).await else { panic!() };
    assert!(
        matches!(adapter.poll(&operation).await.unwrap(), OperationState::Failed { .. }),
        "an expired what-if: nothing was deployed"
    );
    azure.on("GET /results/1", [Reply::empty(503)]);
    assert_eq!(adapter.poll(&operation).await.unwrap_err().kind, PortErrorKind::Transient);

    azure
        .on(&format!("PUT {}", own("")), [Reply::text(201, "{}").with("azure-asyncoperation", format!("{}status/1", azure.url))]);
    let Submission::Accepted { operation, .. } = adapter.submit(&steps[1]).await else { panic!() };
    assert!(matches!(adapter.poll(&operation).await.unwrap(), OperationState::Unknown { .. }), "neither operation nor record");
    let failed = json!({"status": "Failed", "error": {"code": "DeploymentFailed", "message": "m", "details": [{"code": "Conflict", "message": "no quota"}]}});
    azure.on("GET /status/1", [Reply::json(200, &json!({"status": "Running"})), Reply::json(200, &failed)]);
    assert!(matches!(adapter.poll(&operation).await.unwrap(), OperationState::Running { .. }));
    let OperationState::Failed { says } = adapter.poll(&operation).await.unwrap() else { panic!() };
    assert!(says.contains("DeploymentFailed") && says.contains("Conflict: no quota"), "{says}");
}
