//! What is sent to a private cluster by `runCommand`, and what each answer means. All answers are composed here after the API's reference.

use std::{io::Read, sync::Arc};

use backout::{
    domain::{
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, OperationState, Step, Submission},
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget, Target, WorkloadKind},
    },
    ports::{Platform, PortErrorKind},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::server::{FakeAzure, Recorded, Reply};

const CLUSTER: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.ContainerService/managedClusters/aks1";
const UID: &str = "9d1f0000-0000-4000-8000-000000000001";

fn target() -> Target {
    Target::Kubernetes(KubernetesTarget {
        cluster: KubernetesCluster::Aks { id: ResourceId::parse(CLUSTER).unwrap(), access: ClusterAccess::RunCommand },
        namespace: "shop".to_owned(),
        kind: WorkloadKind::Deployment,
        name: "web".to_owned(),
    })
}

fn template(build: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": format!("r.io/shop/web:{build}")}]}})
}

/// Revision 5 (build-42) runs completely; 4 (build-41) is kept.
fn printed() -> String {
    let workload = json!({
        "kind": "Deployment",
        "metadata": {"name": "web", "uid": UID, "generation": 7, "annotations": {"deployment.kubernetes.io/revision": "5"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("build-42")},
        "status": {"observedGeneration": 7, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]},
    });
    let set = |revision: i64, build: &str| {
        json!({
            "metadata": {"name": format!("web-{revision}"), "uid": format!("rs-{revision}"), "creationTimestamp": "2026-11-20T09:00:00Z",
                "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": UID, "controller": true}]},
            "spec": {"template": template(build)},
        })
    };
    format!("{workload:#}\n{} {}backout:end\n", set(4, "build-41"), set(5, "build-42"))
}

fn resource(properties: &Value) -> Reply {
    Reply::json(200, &json!({ "properties": properties }))
}

fn ended(exit_code: i64, logs: &str) -> Reply {
    let properties = json!({"provisioningState": "succeeded", "exitCode": exit_code, "logs": logs});
    Reply::json(200, &json!({"id": "def7", "properties": properties}))
}

const RESULT: &str = "/commandResults/def7";

/// A cluster whose commands end in these results, one after another; the last one stays.
async fn ending(results: impl IntoIterator<Item = Reply>) -> FakeAzure {
    let azure = FakeAzure::start().await;
    let location = format!("{}{}{RESULT}?api-version=2025-05-01", azure.url.as_str().trim_end_matches('/'), CLUSTER);
    azure
        .on(&format!("GET {CLUSTER}"), [resource(&json!({"aadProfile": {"managed": true}}))])
        .on(&format!("POST {CLUSTER}/runCommand"), [Reply::empty(202).with("location", location)])
        .on(&format!("GET {CLUSTER}{RESULT}"), results);
    azure
}

fn posts(azure: &FakeAzure) -> Vec<(Recorded, Value)> {
    let all = azure.recorded().into_iter().filter(|recorded| recorded.method == "POST");
    all.map(|recorded| (recorded.clone(), serde_json::from_str(&recorded.body).unwrap())).collect()
}

async fn looked(azure: &FakeAzure) -> (Arc<dyn Platform>, Step) {
    let platform = azure.adapter(&target());
    let observation = platform.observe().await.unwrap();
    let fence = Fence { claim: "a".repeat(26), record: RecordId("r".to_owned()) };
    let step = platform.steps(&observation.ways_back[0], &fence).remove(0);
    (platform, step)
}

#[tokio::test]
async fn a_look_is_one_command_of_the_one_who_reads() {
    let running = Reply::json(200, &json!({"id": "def7", "properties": {"provisioningState": "Running"}}));
    let azure = ending([Reply::empty(202), running, ended(0, &printed())]).await;
    let observation = azure.adapter(&target()).observe().await.unwrap();
    assert_eq!(observation.running.token.0, format!("revision|{UID}|5"));
    assert_eq!(observation.ways_back[0].name, "revision 4");
    let lines: Vec<_> = azure.recorded().iter().map(Recorded::line).collect();
    let result = format!("GET {CLUSTER}{RESULT}");
    assert_eq!(lines, [format!("GET {CLUSTER}"), format!("POST {CLUSTER}/runCommand"), result.clone(), result.clone(), result]);
    let (sent, body) = &posts(&azure)[0];
    assert_eq!((sent.query.as_str(), sent.header("authorization")), ("api-version=2025-05-01", Some("Bearer reader-token")));
    assert_eq!(body["clusterToken"], "reader-token");
    assert_eq!(body["context"], "");
    assert!(body["command"].as_str().unwrap().starts_with("kubectl get deployments.apps/web -n shop -o json"), "{body}");
}

#[tokio::test]
async fn a_rollback_is_one_command_of_the_one_who_acts() {
    let azure = ending([ended(0, &printed())]).await;
    let (platform, step) = looked(&azure).await;
    let submission = platform.submit(&step).await;
    let Submission::Accepted { operation, poll_after_seconds: 15 } = submission else { panic!("{submission:?}") };
    assert!(operation["runCommand"]["location"].as_str().unwrap().contains(RESULT), "{operation}");
    let (sent, body) = &posts(&azure)[1];
    assert_eq!(sent.header("authorization"), Some("Bearer actor-token"));
    assert_eq!(body["clusterToken"], "actor-token");
    assert_eq!(
        body["command"],
        "kubectl patch deployments.apps/web -n shop --type=json --patch-file=patch.json --field-manager=backout -o \
         jsonpath='{.metadata.uid} {.metadata.generation} ' && echo backout:end"
    );
    let bytes = STANDARD.decode(body["context"].as_str().unwrap()).unwrap();
    let mut text = String::new();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    archive.by_name("patch.json").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": UID},
            {"op": "test", "path": "/spec/template", "value": template("build-42")},
            {"op": "replace", "path": "/spec/template", "value": template("build-41")},
        ])
    );
    assert_eq!(posts(&azure).len(), 2);
}

#[tokio::test]
async fn a_cluster_without_entra_gets_no_token_and_is_asked_for_no_right() {
    let azure = ending([ended(0, &printed())]).await;
    azure.on(&format!("GET {CLUSTER}"), [resource(&json!({"aadProfile": null}))]);
    let (platform, step) = looked(&azure).await;
    platform.submit(&step).await;
    assert!(posts(&azure).iter().all(|(_, body)| body.get("clusterToken").is_none()));
    platform.preflight().await.unwrap();
    assert_eq!(posts(&azure).len(), 2);
}

type Meaning = fn(&OperationState) -> bool;

#[tokio::test]
async fn every_result_of_the_patch_has_its_meaning() {
    let failed: Meaning = |it| matches!(it, OperationState::Failed { .. });
    let unknown: Meaning = |it| matches!(it, OperationState::Unknown { .. });
    let running: Meaning = |it| matches!(it, OperationState::Running { .. });
    let state =
        |state: &str| Reply::json(200, &json!({"properties": {"provisioningState": state, "reason": "ImagePullBackoff"}}));
    let rows: Vec<(Reply, Meaning)> = vec![
        (Reply::empty(202), running),
        (state("Running"), running),
        // Its pod may be there, and run later.
        (state("Failed"), unknown),
        (state("failed"), unknown),
        (ended(1, "The request is invalid: the server rejected our request due to an error in our request"), failed),
        (ended(1, "Error from server (NotFound): deployments.apps \"web\" not found"), failed),
        (ended(1, "Error from server (Forbidden): it says why"), failed),
        (ended(1, "Error from server (Conflict): the object has been modified"), unknown),
        (ended(1, "Unable to connect to the server: EOF"), unknown),
        (Reply::json(200, &json!({})), unknown),
        (Reply::empty(404), unknown),
        (Reply::empty(403), unknown),
    ];
    let azure = ending([ended(0, &printed())]).await;
    let (platform, step) = looked(&azure).await;
    let Submission::Accepted { operation, .. } = platform.submit(&step).await else { panic!("not accepted") };
    for (reply, meaning) in rows {
        azure.on(&format!("GET {CLUSTER}{RESULT}"), [reply.clone()]);
        let polled = platform.poll(&operation).await.unwrap();
        assert!(meaning(&polled), "{reply:?}: {polled:?}");
    }
    // Applied: then the workload is read, and tells how its rollout stands.
    let workload = printed().replacen("\"generation\": 7", "\"generation\": 8", 1);
    azure.on(&format!("GET {CLUSTER}{RESULT}"), [ended(0, &format!("{UID} 8 backout:end\n")), ended(0, &workload)]);
    assert_eq!(platform.poll(&operation).await.unwrap(), OperationState::Running { poll_after_seconds: 30 });
    let workload = workload.replacen("\"observedGeneration\": 7", "\"observedGeneration\": 8", 1);
    azure.on(&format!("GET {CLUSTER}{RESULT}"), [ended(0, &format!("{UID} 8 backout:end\n")), ended(0, &workload)]);
    assert_eq!(platform.poll(&operation).await.unwrap(), OperationState::Succeeded);
}

#[tokio::test]
async fn every_answer_to_the_post_of_the_patch_has_its_meaning() {
    type Meaning = fn(&Submission) -> bool;
    let unknown: Meaning = |it| matches!(it, Submission::Unknown { .. });
    let refused: Meaning = |it| matches!(it, Submission::Refused { .. });
    let problem = |status, code: &str| Reply::json(status, &json!({"error": {"code": code, "message": "it says why"}}));
    let rows: Vec<(Reply, Meaning)> = vec![
        (Reply::empty(202), unknown),
        (
            ended(0, &format!("{UID} 8 backout:end")),
            |it| matches!(it, Submission::Accepted { operation, .. } if *operation == json!({"workload": UID, "generation": 8})),
        ),
        (ended(1, "The request is invalid: x"), refused),
        (ended(1, "Error from server (Conflict): x"), |it| matches!(it, Submission::Busy { .. })),
        (ended(1, "Unable to connect to the server"), unknown),
        (Reply::json(200, &json!({"properties": {"provisioningState": "Running"}})), unknown),
        // A pod may wait for a node.
        (
            problem(404, "KubernetesPerformanceError"),
            |it| matches!(it, Submission::Unknown { says } if says.contains("KubernetesPerformanceError")),
        ),
        (problem(400, "KubernetesOperationError"), unknown),
        (Reply::empty(400), unknown),
        (Reply::empty(404), unknown),
        // No pod was made.
        (problem(404, "ResourceNotFound"), refused),
        (problem(400, "RunCommandDisabled"), refused),
        (problem(409, "ScopeLocked"), refused),
        (problem(409, "MissingSubscriptionRegistration"), refused),
        (Reply::empty(401), refused),
        (Reply::empty(403), refused),
        (Reply::empty(409), |it| matches!(it, Submission::Busy { .. })),
        (Reply::empty(429).with("retry-after", "7"), |it| matches!(it, Submission::NotSent { retry_after_seconds: Some(7), .. })),
        (Reply::empty(503), unknown),
    ];
    for (reply, meaning) in rows {
        let azure = ending([ended(0, &printed())]).await;
        let (platform, step) = looked(&azure).await;
        azure.on(&format!("POST {CLUSTER}/runCommand"), [reply.clone()]);
        let submission = platform.submit(&step).await;
        assert!(meaning(&submission), "{reply:?}: {submission:?}");
        assert_eq!(posts(&azure).len(), 2, "sent once: {reply:?}");
    }
}

#[tokio::test]
async fn a_look_that_tells_nothing_says_why() {
    let error = async |azure: &FakeAzure| azure.adapter(&target()).observe().await.unwrap_err();
    let big = format!("{}{}", printed().trim_end().trim_end_matches("backout:end"), " ".repeat(510_000));
    let rows = [
        (ended(1, "Error from server (NotFound): deployments.apps \"web\" not found"), PortErrorKind::NotFound, "not found"),
        (ended(1, "Error from server (Forbidden): no"), PortErrorKind::Denied, "Forbidden"),
        (ended(0, &big), PortErrorKind::Invalid, "AKS keeps 512 kB"),
        (ended(0, "hello backout:end"), PortErrorKind::Invalid, "is no JSON"),
        (ended(0, "backout:end"), PortErrorKind::Invalid, "printed no workload"),
        (
            Reply::json(200, &json!({"properties": {"provisioningState": "failed", "reason": "ImagePullBackoff"}})),
            PortErrorKind::Transient,
            "ImagePullBackoff",
        ),
        (Reply::empty(403), PortErrorKind::Transient, "commandResults/read"),
    ];
    for (reply, kind, says) in rows {
        let azure = ending([reply]).await;
        let error = error(&azure).await;
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.says.contains(says), "{error}");
    }
    let azure = ending([]).await;
    azure.on(&format!("POST {CLUSTER}/runCommand"), [Reply::empty(403)]);
    assert!(
        error(&azure)
            .await
            .says
            .contains("the reading identity needs `Microsoft.ContainerService/managedClusters/runcommand/action`")
    );
    for (properties, says) in [
        (json!({"apiServerAccessProfile": {"disableRunCommand": true}}), "az aks update --enable-run-command"),
        (json!({"powerState": {"code": "Stopped"}}), "az aks start"),
    ] {
        azure.on(&format!("GET {CLUSTER}"), [resource(&properties)]);
        assert!(error(&azure).await.says.contains(says));
    }
    assert_eq!(posts(&azure).len(), 1, "nothing is run where nothing can be");
}

#[test]
fn the_rights_for_commands_are_named() {
    let rights = tokio::runtime::Runtime::new().unwrap().block_on(async { FakeAzure::start().await.adapter(&target()).rights() });
    let named: Vec<_> = rights.iter().map(|right| format!("{} {}", right.identity, right.action)).collect();
    for expected in [
        "acting patch deployments.apps",
        "acting Microsoft.ContainerService/managedClusters/runcommand/action",
        "reading Microsoft.ContainerService/managedClusters/runcommand/action",
        "reading Microsoft.ContainerService/managedClusters/commandResults/read",
        "reading Microsoft.ContainerService/managedClusters/read",
    ] {
        assert!(named.iter().any(|name| name == expected), "{expected}: {named:?}");
    }
    assert!(!named.iter().any(|name| name.contains("listClusterUserCredential")), "{named:?}");
}
