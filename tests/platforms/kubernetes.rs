//! What a workload's observation says, and the one patch that takes it back. All objects are composed here.

use std::sync::Arc;

use backout::{
    domain::{
        observation::{Observation, Obstacle, ObstacleWeight, Preflight},
        record::RecordId,
        resource_id::ResourceId,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        rule::RuleId,
        target::{ClusterAccess, KubernetesCluster, KubernetesTarget, Target, WorkloadKind},
    },
    ports::{Platform, PortErrorKind},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::server::{FakeAzure, Recorded, Reply};

const CLUSTER: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/shop/providers/Microsoft.ContainerService/managedClusters/aks1";
const UID: &str = "9d1f0000-0000-4000-8000-000000000001";

fn target(kind: WorkloadKind) -> Target {
    Target::Kubernetes(KubernetesTarget {
        cluster: KubernetesCluster::Aks { id: ResourceId::parse(CLUSTER).unwrap(), access: ClusterAccess::Direct },
        namespace: "shop".to_owned(),
        kind,
        name: "web".to_owned(),
    })
}

fn template(build: &str) -> Value {
    json!({"metadata": {"creationTimestamp": null, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": format!("r.io/shop/web:{build}"), "resources": {}}]}})
}

/// Revision 5 (build-42) runs completely since 10:02; generation 7.
fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": UID, "generation": 7, "resourceVersion": "900",
            "annotations": {"deployment.kubernetes.io/revision": "5", "kubernetes.io/change-cause": "release build-42"},
            "managedFields": [
                {"manager": "kubectl-set", "operation": "Update", "time": "2026-11-25T10:02:00Z",
                    "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}},
                {"manager": "kube-controller-manager", "operation": "Update", "time": "2026-11-25T10:29:00Z",
                    "subresource": "status", "fieldsV1": {"f:status": {}}},
            ],
        },
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("build-42"),
            "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600},
        "status": {"observedGeneration": 7, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable",
                "lastUpdateTime": "2026-11-25T10:04:00Z", "lastTransitionTime": "2026-10-01T00:00:00Z"}]},
    })
}

fn replica_set(revision: i64, build: &str, made: &str) -> Value {
    let mut template = template(build);
    template["metadata"]["labels"]["pod-template-hash"] = json!(format!("h{revision}"));
    json!({
        "metadata": {"name": format!("web-h{revision}"), "uid": format!("rs-{revision}"), "creationTimestamp": made,
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string(),
                "kubernetes.io/change-cause": format!("release {build}")},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": UID, "controller": true}]},
        "spec": {"template": template},
    })
}

fn replica_sets() -> Vec<Value> {
    vec![
        replica_set(4, "build-41", "2026-11-20T09:00:00Z"),
        replica_set(5, "build-42", "2026-11-25T10:02:01Z"),
        replica_set(3, "build-40", "2026-11-10T09:00:00Z"),
    ]
}

fn kubeconfig(azure: &FakeAzure, user: &Value) -> Value {
    let text = json!({
        "current-context": "aks1",
        "clusters": [{"name": "aks1", "cluster": {"server": format!("{}k", azure.url)}}],
        "contexts": [{"name": "aks1", "context": {"cluster": "aks1", "user": "u"}}],
        "users": [{"name": "u", "user": user}],
    });
    json!({"kubeconfigs": [{"name": "clusterUser", "value": STANDARD.encode(text.to_string())}]})
}

const CREDENTIAL: &str = "/listClusterUserCredential";
const WEB: &str = "/k/apis/apps/v1/namespaces/shop/deployments/web";
const SETS: &str = "/k/apis/apps/v1/namespaces/shop/replicasets";
const REVIEWS: &str = "/k/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// A cluster that answers with these objects.
async fn serving(workload: &Value, sets: &[Value]) -> FakeAzure {
    let azure = FakeAzure::start().await;
    let credential = kubeconfig(&azure, &json!({"exec": {"command": "kubelogin"}}));
    azure
        .on(&format!("POST {CLUSTER}{CREDENTIAL}"), [Reply::json(200, &credential)])
        .on(&format!("GET {WEB}"), [Reply::json(200, workload)])
        .on(&format!("GET {SETS}"), [Reply::json(200, &json!({"metadata": {}, "items": sets}))]);
    azure
}

async fn observe_with(workload: &Value, sets: &[Value]) -> Observation {
    serving(workload, sets).await.adapter(&target(WorkloadKind::Deployment)).observe().await.unwrap()
}

fn changed(pointer: &str, value: Value) -> Value {
    let mut object = deployment();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
    object
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn summary(obstacles: &[Obstacle]) -> Vec<(RuleId, ObstacleWeight)> {
    obstacles.iter().map(|obstacle| (obstacle.rule, obstacle.weight)).collect()
}

#[tokio::test]
async fn a_rollout_is_named_by_its_revision() {
    let azure = serving(&deployment(), &replica_sets()).await;
    let platform = azure.adapter(&target(WorkloadKind::Deployment));
    let observation = platform.observe().await.unwrap();
    assert_eq!(observation.running.token.0, format!("revision|{UID}|5"));
    assert_eq!(observation.running.serving_since, Some(moment("2026-11-25T10:02:01Z")));
    assert_eq!(observation.running.label, "web:build-42 (revision 5: release build-42)");
    assert_eq!((observation.under_way.as_ref(), observation.obstacles.as_slice()), (None, [].as_slice()));
    let ways: Vec<_> = observation.ways_back.iter().map(|way| (way.name.as_str(), way.obstacles.len())).collect();
    assert_eq!(ways, [("revision 4", 0), ("revision 3", 0)]);
    assert_eq!(
        observation.ways_back[0].detail,
        json!({"workload": UID, "from": 5, "revision": 4, "revisionUid": "rs-4"}),
        "no part of a template is stored"
    );
    let lines: Vec<_> = azure.recorded().iter().map(Recorded::line).collect();
    assert_eq!(lines, [format!("POST {CLUSTER}{CREDENTIAL}"), format!("GET {WEB}"), format!("GET {SETS}")]);
    let queries: Vec<_> = azure.recorded().iter().map(|recorded| recorded.query.clone()).collect();
    assert_eq!(queries[0], "api-version=2025-05-01&format=exec");
    assert!(queries[2].contains("labelSelector=app%3Dweb") && queries[2].contains("limit=500"), "{queries:?}");
    assert!(azure.recorded().iter().all(|recorded| recorded.header("authorization") == Some("Bearer reader-token")));

    platform.observe().await.unwrap();
    let again: Vec<_> = azure.recorded()[3..].iter().map(Recorded::line).collect();
    assert_eq!(again.len(), 2, "address and selector are known: one trip, side by side: {again:?}");
}

#[tokio::test]
async fn a_recorded_command_line_is_not_told() {
    let mut sets = replica_sets();
    sets[1]["metadata"]["annotations"]["kubernetes.io/change-cause"] =
        json!("kubectl set env deploy/web KEY=hunter2 --record=true");
    let observation = observe_with(&deployment(), &sets).await;
    assert_eq!(observation.running.label, "web:build-42 (revision 5)");
}

#[tokio::test]
async fn whoever_comes_first_gets_the_address_for_all() {
    let azure = serving(&deployment(), &replica_sets()).await;
    azure.on(&format!("POST {REVIEWS}"), [Reply::json(201, &json!({"status": {"allowed": true}}))]);
    let platform = azure.adapter(&target(WorkloadKind::Deployment));
    let (observation, preflight) = tokio::join!(platform.observe(), platform.preflight());
    assert!(observation.is_ok() && preflight.is_ok());
    assert_eq!(azure.recorded().iter().filter(|recorded| recorded.path.ends_with(CREDENTIAL)).count(), 1);
}

#[tokio::test]
async fn the_same_content_has_the_same_name_before_and_after() {
    let before = observe_with(&deployment(), &replica_sets()).await;
    let mut after = changed("/spec/template", template("build-41"));
    after["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("6");
    let mut sets = replica_sets();
    sets[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("6");
    sets[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] = json!("4");
    let after = observe_with(&after, &sets).await;
    assert_eq!(after.running.fingerprint, before.ways_back[0].fingerprint);
    assert_ne!(after.running.fingerprint, before.running.fingerprint);
    assert_eq!(after.running.token.0, format!("revision|{UID}|6"));
    assert_eq!(after.running.serving_since, Some(moment("2026-11-25T10:02:00Z")), "a used ReplicaSet is older than its rollout");
    let ways: Vec<_> = after.ways_back.iter().map(|way| way.name.as_str()).collect();
    assert_eq!(ways, ["revision 5", "revision 3"]);
}

#[tokio::test]
async fn a_used_revision_began_when_its_template_was_put_back() {
    let rows = [
        (json!("2026-11-25T10:02:00Z"), json!("2026-11-25T10:04:00Z"), Some("2026-11-25T10:02:00Z")),
        // The manager has changed something else since: the rollout's own progress is nearer.
        (json!("2026-11-25T10:20:00Z"), json!("2026-11-25T10:04:00Z"), Some("2026-11-25T10:04:00Z")),
        (Value::Null, json!("2026-11-25T10:04:00Z"), Some("2026-11-25T10:04:00Z")),
        (Value::Null, Value::Null, None),
    ];
    let mut sets = replica_sets();
    sets[1]["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] = json!("2");
    for (changed_at, progressed, since) in rows {
        let mut object = changed("/metadata/managedFields/0/time", changed_at);
        object["status"]["conditions"][0]["lastUpdateTime"] = progressed;
        let observation = observe_with(&object, &sets).await;
        assert_eq!(observation.running.serving_since, since.map(moment), "{object}");
    }
}

#[tokio::test]
async fn nothing_is_decided_while_a_rollout_is_under_way() {
    let status = |replicas, updated, available, reason: &str| {
        let mut object = deployment();
        object["status"]["replicas"] = json!(replicas);
        object["status"]["updatedReplicas"] = json!(updated);
        object["status"]["availableReplicas"] = json!(available);
        object["status"]["conditions"][0]["reason"] = json!(reason);
        object
    };
    let rows = [
        (deployment(), None),
        (changed("/metadata/generation", json!(8)), Some("its controller has not seen the last change yet")),
        (status(4, 2, 4, "ReplicaSetUpdated"), Some("the rollout of revision 5: 2 of 3 replicas are of the new version")),
        (status(4, 3, 4, "ReplicaSetUpdated"), Some("the rollout of revision 5: 1 replicas of the old version have not ended")),
        (status(3, 3, 2, "ReplicaSetUpdated"), Some("the rollout of revision 5: 2 of 3 replicas are available")),
        // The reason stays from the rollout before until something moves.
        (status(3, 0, 3, "NewReplicaSetAvailable"), Some("the rollout of revision 5: 0 of 3 replicas are of the new version")),
        // Replicas that fell after a complete rollout are the fault, not a rollout.
        (status(3, 3, 0, "NewReplicaSetAvailable"), None),
        (status(4, 1, 3, "ProgressDeadlineExceeded"), None),
        // The two reads may show two moments: the revisions are those from before.
        (
            changed("/metadata/annotations/deployment.kubernetes.io~1revision", json!("6")),
            Some("its controller has not made a revision of the last change yet"),
        ),
        (changed("/spec/template", template("build-50")), Some("its controller has not made a revision of the last change yet")),
    ];
    for (object, under_way) in rows {
        let observation = observe_with(&object, &replica_sets()).await;
        assert_eq!(observation.under_way.as_deref(), under_way, "{object}");
    }
}

#[tokio::test]
async fn what_is_no_version_is_no_way_back() {
    let mut stranger = replica_set(9, "build-9", "2026-11-25T10:00:00Z");
    stranger["metadata"]["ownerReferences"][0]["uid"] = json!("somebody else");
    let mut unnumbered = replica_set(2, "build-2", "2026-11-01T00:00:00Z");
    unnumbered["metadata"]["annotations"] = json!({});
    let mut nonsense = replica_set(1, "build-1", "2026-11-01T00:00:00Z");
    nonsense["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("one");
    let mut restarted = replica_set(6, "build-42", "2026-11-25T10:20:00Z");
    let restart = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-25T10:20:00Z"});
    restarted["spec"]["template"]["metadata"]["annotations"] = restart.clone();
    let mut object = changed("/spec/template/metadata/annotations", restart);
    object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("6");
    let mut sets = replica_sets();
    sets.extend([stranger, unnumbered, nonsense, restarted]);
    let observation = observe_with(&object, &sets).await;
    assert_eq!(observation.running.token.0, format!("revision|{UID}|6"));
    let ways: Vec<_> = observation.ways_back.iter().map(|way| way.name.as_str()).collect();
    assert_eq!(ways, ["revision 4", "revision 3"], "revision 5 holds what runs: a restart changes no content");
}

#[tokio::test]
async fn a_tag_that_moves_needs_a_person() {
    let mut sets = replica_sets();
    sets[0]["spec"]["template"]["spec"]["containers"][0]["image"] = json!("r.io/shop/web:latest");
    let observation = observe_with(&deployment(), &sets).await;
    assert_eq!(summary(&observation.ways_back[0].obstacles), [(RuleId::S5, ObstacleWeight::Propose)]);
    assert!(observation.ways_back[0].obstacles[0].says.contains("r.io/shop/web:latest"));
    assert_eq!(observation.ways_back[1].obstacles, []);
}

type Expected = Vec<(RuleId, ObstacleWeight)>;

#[tokio::test]
async fn what_stands_against_a_rollback_becomes_an_obstacle() {
    use ObstacleWeight::{Page, Propose};
    use RuleId::{A12, S5, S8, S9, S11};
    let annotated = |name: &str, value: &str| {
        let mut object = deployment();
        object["metadata"]["annotations"][name] = json!(value);
        object
    };
    let labelled = |name: &str, value: &str| changed("/metadata/labels", json!({ name: value }));
    let mut told_off = labelled("kustomize.toolkit.fluxcd.io/name", "apps");
    told_off["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/reconcile"] = json!("disabled");
    let applied_by = |manager: &str| {
        let mut object = changed("/metadata/managedFields/0/manager", json!(manager));
        object["metadata"]["managedFields"][0]["operation"] = json!("Apply");
        object
    };
    let owned = json!([{"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "web", "uid": "c", "controller": true}]);
    let rows: Vec<(Value, Expected, &str)> = vec![
        (changed("/spec/paused", json!(true)), vec![(S9, Page)], "kubectl rollout resume deployment/web -n shop"),
        (changed("/spec/revisionHistoryLimit", json!(0)), vec![(S5, Page)], "revisionHistoryLimit"),
        (changed("/spec/replicas", json!(0)), vec![(S8, Propose)], "scaled to zero"),
        (changed("/metadata/ownerReferences", owned), vec![(A12, Page)], "Canary `web`"),
        (annotated("rollout.argoproj.io/workload-generation", "3"), vec![(A12, Page)], "Argo Rollout"),
        (annotated("keel.sh/policy", "force"), vec![(A12, Page)], "keel"),
        (labelled("kustomize.toolkit.fluxcd.io/name", "apps"), vec![(A12, Page)], "Kustomization `apps`"),
        (told_off, vec![(S11, Propose)], "its source still names the bad version"),
        (labelled("helm.toolkit.fluxcd.io/name", "shop"), vec![(S11, Propose)], "HelmRelease `shop`"),
        (annotated("meta.helm.sh/release-name", "shop"), vec![(S11, Propose)], "helm rollback"),
        (
            annotated("argocd.argoproj.io/tracking-id", "shop:apps/Deployment:shop/web"),
            vec![(S11, Propose)],
            "application `shop`",
        ),
        (labelled("argocd.argoproj.io/instance", "shop"), vec![(S11, Propose)], "application `shop`"),
        (labelled("app.kubernetes.io/instance", "shop"), vec![], ""),
        (applied_by("kubectl"), vec![], ""),
        (applied_by("operator-x"), vec![(S11, Propose)], "`operator-x`"),
    ];
    for (object, expected, says) in rows {
        let observation = observe_with(&object, &replica_sets()).await;
        assert_eq!(summary(&observation.obstacles), expected, "{object}");
        if let Some(obstacle) = observation.obstacles.first() {
            assert!(obstacle.says.contains(says), "{}", obstacle.says);
        }
        assert_eq!(observation.ways_back.len(), 2);
    }
}

fn fence() -> Fence {
    Fence { claim: "abcdefghijklmnopqrstuvwxyz".to_owned(), record: RecordId("r".to_owned()) }
}

/// The step to revision 4, after a look at the cluster.
async fn looked(azure: &FakeAzure) -> (Arc<dyn Platform>, Step) {
    let platform = azure.adapter(&target(WorkloadKind::Deployment));
    let observation = platform.observe().await.unwrap();
    let steps = platform.steps(&observation.ways_back[0], &fence());
    assert_eq!(steps.len(), 1);
    (platform, steps.into_iter().next().unwrap())
}

fn patches(azure: &FakeAzure) -> Vec<Recorded> {
    azure.recorded().into_iter().filter(|recorded| recorded.method == "PATCH").collect()
}

#[tokio::test]
async fn a_rollback_is_one_patch_that_tests_what_it_replaces() {
    let azure = serving(&deployment(), &replica_sets()).await;
    let done = json!({"metadata": {"uid": UID, "generation": 8}});
    azure.on(&format!("PATCH {WEB}"), [Reply::json(200, &done)]);
    let (platform, step) = looked(&azure).await;
    assert_eq!(
        (step.kind, step.says.as_str()),
        (StepKind::Convergent, "set Deployment `shop/web` back to web:build-41 (revision 4: release build-41)")
    );
    let submission = platform.submit(&step).await;
    let operation = json!({"workload": UID, "generation": 8});
    assert_eq!(submission, Submission::Accepted { operation, poll_after_seconds: 5 });
    let sent = &patches(&azure)[0];
    assert_eq!((sent.path.as_str(), sent.query.as_str()), (WEB, "&fieldManager=backout"));
    assert_eq!(sent.header("authorization"), Some("Bearer actor-token"));
    assert_eq!(sent.header("content-type"), Some("application/json-patch+json"));
    assert_eq!(
        serde_json::from_str::<Value>(&sent.body).unwrap(),
        json!([
            {"op": "test", "path": "/metadata/uid", "value": UID},
            {"op": "test", "path": "/spec/template", "value": template("build-42")},
            {"op": "replace", "path": "/spec/template", "value": template("build-41")},
            {"op": "add", "path": "/metadata/annotations/kubernetes.io~1change-cause", "value": "release build-41"},
        ])
    );
    let connections: Vec<_> = azure.recorded().iter().map(|recorded| recorded.connection).collect();
    assert!(connections[..3].iter().all(|connection| *connection != sent.connection), "a connection of its own");
}

#[tokio::test]
async fn a_change_cause_that_the_good_revision_lacks_is_removed() {
    let mut sets = replica_sets();
    sets[0]["metadata"]["annotations"].as_object_mut().unwrap().remove("kubernetes.io/change-cause");
    let azure = serving(&deployment(), &sets).await;
    let (platform, step) = looked(&azure).await;
    platform.submit(&step).await;
    let body: Value = serde_json::from_str(&patches(&azure)[0].body).unwrap();
    assert_eq!(body[3], json!({"op": "remove", "path": "/metadata/annotations/kubernetes.io~1change-cause"}));
}

type Meaning = fn(&Submission) -> bool;

#[tokio::test]
async fn every_answer_to_the_patch_has_its_meaning() {
    let status = |code: u16, reason: &str| {
        let body = json!({"kind": "Status", "status": "Failure", "reason": reason, "message": "it says why", "code": code});
        Reply::json(code, &body)
    };
    let refused: Meaning = |it| matches!(it, Submission::Refused { says } if says.contains("it says why"));
    let busy: Meaning = |it| matches!(it, Submission::Busy { .. });
    let unknown: Meaning = |it| matches!(it, Submission::Unknown { .. });
    let throttled: Meaning = |it| matches!(it, Submission::NotSent { retry_after_seconds: Some(7), .. });
    let accepted: Meaning = |it| matches!(it, Submission::Accepted { .. });
    let rows: Vec<(Reply, Meaning)> = vec![
        (Reply::text(200, ""), accepted),
        (status(400, "BadRequest"), refused),
        (status(401, "Unauthorized"), refused),
        (status(403, "Forbidden"), refused),
        (status(404, "NotFound"), refused),
        (status(409, "Conflict"), busy),
        (status(422, "Invalid"), refused),
        (status(429, "TooManyRequests").with("retry-after", "7"), throttled),
        (status(500, "InternalError"), unknown),
        (status(503, "ServiceUnavailable"), unknown),
        (status(504, "Timeout"), unknown),
        (Reply::empty(307).with("location", "http://127.0.0.1:1/"), unknown),
    ];
    for (reply, meaning) in rows {
        let azure = serving(&deployment(), &replica_sets()).await;
        azure.on(&format!("PATCH {WEB}"), [reply.clone()]);
        let (platform, step) = looked(&azure).await;
        let submission = platform.submit(&step).await;
        assert!(meaning(&submission), "{reply:?}: {submission:?}");
        assert_eq!(patches(&azure).len(), 1, "sent once: {reply:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_that_the_last_look_does_not_bear_out() {
    let azure = serving(&deployment(), &replica_sets()).await;
    let (_, step) = looked(&azure).await;
    let blind = azure.adapter(&target(WorkloadKind::Deployment));
    assert!(matches!(blind.submit(&step).await, Submission::NotSent { .. }), "nobody has looked");

    let mut newer = replica_sets();
    newer[0]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("6");
    let gone = vec![replica_sets().remove(1)];
    let rows = [
        (changed("/metadata/uid", json!("another")), replica_sets(), "made again"),
        (changed("/metadata/generation", json!(9)), replica_sets(), "has not seen the last change"),
        (changed("/spec/paused", json!(true)), replica_sets(), "paused"),
        (changed("/spec/template", template("build-41")), newer.clone(), "revision 5 does not run any more"),
        (deployment(), newer, "revision 4 is not kept any more"),
        (deployment(), gone, "revision 4 is not kept any more"),
    ];
    for (object, sets, why) in rows {
        let azure = serving(&object, &sets).await;
        let platform = azure.adapter(&target(WorkloadKind::Deployment));
        platform.observe().await.unwrap();
        let submission = platform.submit(&step).await;
        assert!(matches!(&submission, Submission::Refused { says } if says.contains(why)), "{why}: {submission:?}");
        assert_eq!(patches(&azure).len(), 0, "{why}");
    }
    for detail in [json!({}), json!({"workload": UID, "revisionUid": "rs-4"})] {
        let (platform, step) = looked(&azure).await;
        let submission = platform.submit(&Step { detail, ..step }).await;
        assert!(matches!(submission, Submission::Refused { .. }), "{submission:?}");
    }
    assert_eq!(patches(&azure).len(), 0);
}

#[tokio::test]
async fn a_rollout_is_polled_by_kubectls_rules() {
    let status = |pointer: &str, value: Value| changed(pointer, value);
    let rows = [
        (deployment(), OperationState::Succeeded),
        (status("/metadata/generation", json!(8)), OperationState::Running { poll_after_seconds: 5 }),
        (status("/status/updatedReplicas", json!(1)), OperationState::Running { poll_after_seconds: 5 }),
        (status("/status/availableReplicas", json!(2)), OperationState::Running { poll_after_seconds: 5 }),
        (
            status("/status/conditions/0/reason", json!("ProgressDeadlineExceeded")),
            OperationState::Failed { says: "its progress deadline has passed".to_owned() },
        ),
    ];
    let operation = json!({"workload": UID, "generation": 7});
    for (object, expected) in rows {
        let azure = serving(&object, &[]).await;
        let platform = azure.adapter(&target(WorkloadKind::Deployment));
        assert_eq!(platform.poll(&operation).await.unwrap(), expected, "{object}");
    }
    let azure = serving(&deployment(), &[]).await;
    let platform = azure.adapter(&target(WorkloadKind::Deployment));
    let lagging = platform.poll(&json!({"workload": UID, "generation": 8})).await.unwrap();
    assert_eq!(lagging, OperationState::Running { poll_after_seconds: 5 });
    for operation in [json!({}), json!({"workload": "another", "generation": 7})] {
        assert!(matches!(platform.poll(&operation).await.unwrap(), OperationState::Unknown { .. }));
    }
    azure.on(&format!("GET {WEB}"), [Reply::empty(404)]);
    assert_eq!(platform.poll(&operation).await.unwrap_err().kind, PortErrorKind::NotFound);
}

#[tokio::test]
async fn the_cluster_is_asked_for_our_rights() {
    let azure = serving(&deployment(), &[]).await;
    let allowed = |allowed: bool| Reply::json(201, &json!({"status": {"allowed": allowed}}));
    let check = async || -> Preflight { azure.adapter(&target(WorkloadKind::Deployment)).preflight().await.unwrap() };
    azure.on(&format!("POST {REVIEWS}"), [allowed(true)]);
    assert_eq!(check().await, Preflight { obstacles: Vec::new(), ways_back: Vec::new() });
    let asked: Vec<_> = azure.recorded().into_iter().filter(|recorded| recorded.path == REVIEWS).collect();
    let questions: Vec<_> = asked
        .iter()
        .map(|recorded| {
            let body: Value = serde_json::from_str(&recorded.body).unwrap();
            (recorded.header("authorization").unwrap().to_owned(), body["spec"]["resourceAttributes"].clone())
        })
        .collect();
    let patch = json!({"group": "apps", "resource": "deployments", "verb": "patch", "namespace": "shop", "name": "web"});
    let list = json!({"group": "apps", "resource": "replicasets", "verb": "list", "namespace": "shop", "name": null});
    assert!(questions.contains(&("Bearer actor-token".to_owned(), patch)), "{questions:?}");
    assert!(questions.contains(&("Bearer reader-token".to_owned(), list)), "{questions:?}");

    azure.on(&format!("POST {REVIEWS}"), [allowed(false)]);
    let preflight = check().await;
    assert_eq!(summary(&preflight.obstacles), [(RuleId::S9, ObstacleWeight::Page); 2]);
    let says = &preflight.obstacles[0].says;
    for part in ["acting identity lacks `patch` on `deployments`", "namespace `shop`", "Azure Kubernetes Service RBAC Writer"] {
        assert!(says.contains(part), "{says}");
    }
    azure.on(&format!("POST {REVIEWS}"), [Reply::empty(403)]);
    assert_eq!(summary(&check().await.obstacles), [(RuleId::S9, ObstacleWeight::Propose); 2]);
}

#[tokio::test]
async fn how_the_cluster_is_reached() {
    let credential = format!("POST {CLUSTER}{CREDENTIAL}");
    let error = async |azure: &FakeAzure| azure.adapter(&target(WorkloadKind::Deployment)).observe().await.unwrap_err();
    let azure = FakeAzure::start().await;
    azure.on(&credential, [Reply::empty(403)]);
    let denied = error(&azure).await;
    assert_eq!(denied.kind, PortErrorKind::Denied);
    assert!(denied.says.contains("managedClusters/listClusterUserCredential/action"), "{denied}");
    azure.on(&credential, [Reply::json(200, &json!({"kubeconfigs": []}))]);
    assert_eq!(error(&azure).await.kind, PortErrorKind::Invalid);
    azure.on(&credential, [Reply::json(200, &kubeconfig(&azure, &json!({"username": "a"})))]);
    assert!(error(&azure).await.says.contains("a user name and a password"));

    // A cluster without Entra has a credential of its own.
    let azure = serving(&deployment(), &replica_sets()).await;
    azure.on(&credential, [Reply::json(200, &kubeconfig(&azure, &json!({"token": "cluster-token"})))]);
    azure.adapter(&target(WorkloadKind::Deployment)).observe().await.unwrap();
    assert!(azure.recorded()[1..].iter().all(|recorded| recorded.header("authorization") == Some("Bearer cluster-token")));

    for (status, kind) in [
        (401, PortErrorKind::Denied),
        (403, PortErrorKind::Denied),
        (404, PortErrorKind::NotFound),
        (429, PortErrorKind::Throttled),
    ] {
        let azure = serving(&deployment(), &[]).await;
        azure.on(&format!("GET {WEB}"), [Reply::empty(status)]);
        assert_eq!(error(&azure).await.kind, kind);
    }
    // After a refusal the address is got afresh.
    let azure = serving(&deployment(), &replica_sets()).await;
    azure.on(&format!("GET {WEB}"), [Reply::empty(401), Reply::json(200, &deployment())]);
    let platform = azure.adapter(&target(WorkloadKind::Deployment));
    assert_eq!(platform.observe().await.unwrap_err().kind, PortErrorKind::Denied);
    platform.observe().await.unwrap();
    assert_eq!(azure.recorded().iter().filter(|recorded| recorded.line() == credential).count(), 2);
}

/// Revision 5 of a StatefulSet or a DaemonSet runs completely.
fn set_workload(kind: &str) -> Value {
    let mut object = deployment();
    object["kind"] = json!(kind);
    object["metadata"]["annotations"] = json!({});
    object["spec"]["podManagementPolicy"] = json!("Parallel");
    object["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    object["status"] = if kind == "StatefulSet" {
        json!({"observedGeneration": 7, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "currentRevision": "web-h5",
            "updateRevision": "web-h5"})
    } else {
        json!({"observedGeneration": 7, "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberMisscheduled": 0,
            "numberReady": 3, "updatedNumberScheduled": 3, "numberAvailable": 3})
    };
    object
}

fn controller_revisions() -> Vec<Value> {
    let kept = |number: i64, build: &str, made: &str| {
        let mut template = template(build);
        template["$patch"] = json!("replace");
        json!({
            "metadata": {"name": format!("web-h{number}"), "uid": format!("cr-{number}"), "creationTimestamp": made,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "X", "name": "web", "uid": UID, "controller": true}]},
            "data": {"spec": {"template": template}},
            "revision": number,
        })
    };
    vec![kept(5, "build-42", "2026-11-25T10:02:01Z"), kept(4, "build-41", "2026-11-20T09:00:00Z")]
}

#[tokio::test]
async fn the_other_kinds_go_back_to_a_controller_revision() {
    for (kind, word) in [(WorkloadKind::StatefulSet, "StatefulSet"), (WorkloadKind::DaemonSet, "DaemonSet")] {
        let base = format!("/k/apis/apps/v1/namespaces/shop/{}s/web", word.to_ascii_lowercase());
        let serve = async |object: &Value, revisions: &[Value]| {
            let azure = serving(&deployment(), &[]).await;
            azure
                .on(&format!("GET {base}"), [Reply::json(200, object)])
                .on("GET /k/apis/apps/v1/namespaces/shop/controllerrevisions", [Reply::json(200, &json!({"items": revisions}))]);
            azure
        };
        let azure = serve(&set_workload(word), &controller_revisions()).await;
        let platform = azure.adapter(&target(kind));
        let observation = platform.observe().await.unwrap();
        assert_eq!(observation.running.token.0, format!("revision|{UID}|5"), "{word}");
        assert_eq!(observation.running.serving_since, Some(moment("2026-11-25T10:02:01Z")));
        assert_eq!((observation.under_way.as_deref(), observation.obstacles.len(), observation.ways_back.len()), (None, 0, 1));
        azure.on(&format!("PATCH {base}"), [Reply::json(200, &json!({"metadata": {"uid": UID, "generation": 8}}))]);
        let step = platform.steps(&observation.ways_back[0], &fence()).remove(0);
        assert!(matches!(platform.submit(&step).await, Submission::Accepted { .. }));
        assert_eq!(
            serde_json::from_str::<Value>(&patches(&azure)[0].body).unwrap(),
            json!([
                {"op": "test", "path": "/metadata/uid", "value": UID},
                {"op": "test", "path": "/spec/template", "value": template("build-42")},
                {"op": "replace", "path": "/spec/template", "value": template("build-41")},
            ]),
            "{word}: `$patch` is no part of the template"
        );

        // Used again: the highest number, and not the youngest.
        let mut used = controller_revisions();
        used[0]["metadata"]["creationTimestamp"] = json!("2026-11-01T00:00:00Z");
        let observation = serve(&set_workload(word), &used).await.adapter(&target(kind)).observe().await.unwrap();
        assert_eq!(observation.running.serving_since, Some(moment("2026-11-25T10:02:00Z")), "{word}");

        // The youngest may have been used before too: its number's own time tells.
        let mut numbered = controller_revisions();
        numbered[0]["metadata"]["managedFields"] = json!([{"manager": "kube-controller-manager", "operation": "Update",
            "time": "2026-11-25T10:03:07Z", "fieldsV1": {"f:data": {}, "f:revision": {}}}]);
        let observation = serve(&set_workload(word), &numbered).await.adapter(&target(kind)).observe().await.unwrap();
        assert_eq!(observation.running.serving_since, Some(moment("2026-11-25T10:03:07Z")), "{word}");

        let mut by_hand = set_workload(word);
        by_hand["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        let observation = serve(&by_hand, &controller_revisions()).await.adapter(&target(kind)).observe().await.unwrap();
        assert_eq!(summary(&observation.obstacles), [(RuleId::S9, ObstacleWeight::Page)], "{word}");

        let mut working = set_workload(word);
        working["status"]["updatedReplicas"] = json!(1);
        working["status"]["updatedNumberScheduled"] = json!(1);
        working["status"]["currentRevision"] = json!("web-h4");
        // The controller has renumbered revision 4, and the list is from before.
        let mut torn = set_workload(word);
        torn["spec"]["template"] = template("build-41");
        torn["status"]["updateRevision"] = json!("web-h4");
        let observation = serve(&torn, &controller_revisions()).await.adapter(&target(kind)).observe().await.unwrap();
        let not_yet = "its controller has not made a revision of the last change yet";
        assert_eq!(observation.under_way.as_deref(), Some(not_yet), "{word}");

        let observation = serve(&working, &controller_revisions()).await.adapter(&target(kind)).observe().await.unwrap();
        let under_way = "the rollout of revision 5: 1 of 3 pods are of the new version";
        assert_eq!(observation.under_way.as_deref(), Some(under_way), "{word}");
        let mut long_since = controller_revisions();
        long_since[0]["metadata"]["creationTimestamp"] = json!("2026-11-25T09:59:00Z");
        let observation = serve(&working, &long_since).await.adapter(&target(kind)).observe().await.unwrap();
        assert_eq!((observation.under_way, summary(&observation.obstacles)), (None, vec![(RuleId::S9, ObstacleWeight::Propose)]));
    }
}

#[tokio::test]
async fn a_stateful_set_may_roll_out_in_part_or_stop_at_one_pod() {
    let observe = async |object: Value| {
        let azure = serving(&deployment(), &[]).await;
        azure.on("GET /k/apis/apps/v1/namespaces/shop/statefulsets/web", [Reply::json(200, &object)]).on(
            "GET /k/apis/apps/v1/namespaces/shop/controllerrevisions",
            [Reply::json(200, &json!({"items": controller_revisions()}))],
        );
        azure.adapter(&target(WorkloadKind::StatefulSet)).observe().await.unwrap()
    };
    let mut parted = set_workload("StatefulSet");
    parted["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
    parted["status"]["updatedReplicas"] = json!(1);
    parted["status"]["currentRevision"] = json!("web-h4");
    let observation = observe(parted).await;
    assert_eq!((observation.under_way, summary(&observation.obstacles)), (None, vec![(RuleId::S9, ObstacleWeight::Propose)]));
    assert!(observation.obstacles[0].says.contains("`partition` is 2"));

    let mut fell = set_workload("StatefulSet");
    fell["spec"].as_object_mut().unwrap().remove("podManagementPolicy");
    fell["status"]["readyReplicas"] = json!(1);
    let observation = observe(fell).await;
    assert_eq!((observation.under_way, summary(&observation.obstacles)), (None, vec![(RuleId::S9, ObstacleWeight::Propose)]));
    assert!(observation.obstacles[0].says.contains("delete it by hand"));
}
