//! The whole story of a workload in a simulated cluster: the real adapter over HTTP, on virtual time.

use std::collections::BTreeMap;

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        record::{Record, RecordId},
        rollback::{Fence, RollbackState, Submission},
        rule::RuleId,
        target::{VersionToken, WorkloadKind},
    },
    settings::names,
    sim::{
        Fault, FaultBody, FaultEffect, JournalEntry, Moment, Role,
        host::{HostOptions, InvocationOutcome},
    },
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{
    cluster::{BAD, ClusterScene, GOOD, cluster, component},
    program,
};

async fn broken(kind: WorkloadKind) -> (ClusterScene, Alert) {
    let scene = ClusterScene::with(kind, ClusterScene::about_component).await;
    let firing = scene.break_it().await;
    assert_eq!(scene.azure.serving_build("web"), BAD);
    (scene, firing)
}

fn told(record: &Record) -> String {
    format!("{:?} {:#?} {:#?}", record.rollback, record.decision, record.timeline)
}

#[tokio::test]
async fn a_bad_rollout_of_each_kind_is_taken_back_once() {
    for kind in [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet] {
        let (scene, firing) = broken(kind).await;
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        assert_eq!(scene.patches(), (1, 1), "{kind}: {}", told(&scene.record(&firing).await));
        scene.run(&process, 60).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{kind}: {}", told(&record));
        assert_eq!(record.decision.as_ref().map(|decision| decision.kind), Some(DecisionKind::Act));
        assert_eq!((scene.azure.serving_build("web").as_str(), scene.patches()), (GOOD, (1, 1)), "{kind}");
        let receipt = process.receipt(&record.receipt.unwrap()).await.unwrap().unwrap();
        assert!(
            receipt.steps[0].starts_with(&format!("set {kind} `shop/web` back to web:{GOOD} (revision 1")),
            "{:?}",
            receipt.steps
        );
        assert!(receipt.token.unwrap().ends_with("|2"));
        let actors: Vec<_> = scene.azure.journal().into_iter().filter(|entry| entry.method == "PATCH").collect();
        assert_eq!(actors[0].identity.as_deref(), Some("actor"));
        let astray = scene.azure.journal().iter().any(|entry| entry.role == Role::Stranger);
        assert!(!astray);
    }
}

#[tokio::test]
async fn copies_of_the_alert_add_nothing_but_a_count() {
    let (scene, firing) = broken(WorkloadKind::Deployment).await;
    let process = scene.process();
    for _ in 0..4 {
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    }
    scene.run(&process, 60).await;
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    let record = scene.record(&firing).await;
    assert_eq!((record.duplicates, scene.patches()), (4, (1, 1)));
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
}

#[tokio::test]
async fn two_processes_at_once_send_one_patch() {
    let (scene, firing) = broken(WorkloadKind::Deployment).await;
    let (one, other) = (scene.process(), scene.process());
    let (first, second) =
        tokio::join!(one.alert_received(firing.clone(), &scene.policy), other.alert_received(firing.clone(), &scene.policy));
    assert!(first.is_ok() && second.is_ok());
    scene.run(&one, 60).await;
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert_eq!((scene.patches(), scene.azure.serving_build("web").as_str()), ((1, 1), GOOD));
}

/// How a call may go wrong: the fault, requests and effects in the end, what runs, and the state that is told.
#[tokio::test]
async fn every_answer_ends_in_a_state_that_says_what_is_so() {
    let status = |moment, status| FaultEffect::Status { moment, status, body: FaultBody::Empty };
    let rows = [
        // An answer that was lost: the workload tells.
        (FaultEffect::Reset { moment: Moment::AfterEffect }, (1, 1), GOOD, RollbackState::Recovered),
        (status(Moment::AfterEffect, 504), (1, 1), GOOD, RollbackState::Recovered),
        // Nothing happened: after the quiet time a convergent call is sent once more.
        (FaultEffect::Reset { moment: Moment::BeforeEffect }, (2, 1), GOOD, RollbackState::Recovered),
        (status(Moment::BeforeEffect, 500), (2, 1), GOOD, RollbackState::Recovered),
        (FaultEffect::Throttle { retry_after_seconds: 20 }, (2, 1), GOOD, RollbackState::Recovered),
        (status(Moment::BeforeEffect, 403), (1, 0), BAD, RollbackState::Failed),
        (status(Moment::BeforeEffect, 422), (1, 0), BAD, RollbackState::Failed),
    ];
    for (effect, requests, runs, state) in rows {
        let (scene, firing) = broken(WorkloadKind::Deployment).await;
        let process = scene.process();
        scene.azure.inject(Fault::on("PATCH", "/deployments/web", effect.clone()));
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 90).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(state), "{effect:?}: {}", told(&record));
        assert_eq!((scene.patches(), scene.azure.serving_build("web").as_str()), (requests, runs), "{effect:?}");
    }
}

#[tokio::test]
async fn a_good_version_that_never_gets_ready_is_told() {
    let (scene, firing) = broken(WorkloadKind::Deployment).await;
    let process = scene.process();
    scene.azure.set_never_ready(&cluster(), GOOD, true);
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 120).await;
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::NotRecovered), "{}", told(&record));
    assert_eq!((scene.patches(), scene.azure.serving_build("web").as_str()), ((1, 1), BAD), "and nothing is taken forward again");
}

#[tokio::test]
async fn a_change_between_decision_and_call_is_not_overwritten() {
    let (scene, firing) = broken(WorkloadKind::Deployment).await;
    let observation = scene.observe().await;
    let step = scene.platform().steps(&observation.ways_back[0], &fence()).remove(0);
    // Somebody rolls out a third build after the last look: the patch meets another template.
    scene.azure.roll_out(&scene.id, "build-43");
    let submission = scene.platform().submit(&step).await;
    assert!(matches!(submission, Submission::Refused { .. }), "{submission:?}");
    assert_eq!((scene.patches(), scene.azure.cluster_build(&scene.id).as_str()), ((1, 0), "build-43"));
    // The process finds that the accused build is on its way out, and that the newest one came after the fault.
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    assert_eq!(scene.record(&firing).await.decision.unwrap().kind, DecisionKind::Hold);
    scene.run(&process, 60).await;
    let decision = scene.record(&firing).await.decision.unwrap();
    assert_eq!((decision.kind, scene.patches()), (DecisionKind::Page, (1, 0)), "{decision:#?}");
    assert_eq!(scene.azure.serving_build("web"), "build-43");
}

#[tokio::test]
async fn a_scaling_between_look_and_call_does_not_disturb() {
    let (scene, _) = broken(WorkloadKind::Deployment).await;
    let observation = scene.observe().await;
    let step = scene.platform().steps(&observation.ways_back[0], &fence()).remove(0);
    scene.azure.edit_cluster_object(&scene.id, |object| object["spec"]["replicas"] = json!(6));
    let submission = scene.platform().submit(&step).await;
    assert!(matches!(submission, Submission::Accepted { .. }), "{submission:?}");
    assert_eq!(scene.patches(), (1, 1));
    // Sent again it changes nothing: the accused template is not there any more.
    let again = scene.platform().submit(&step).await;
    assert!(matches!(again, Submission::Refused { .. }), "{again:?}");
    scene.advance(SignedDuration::from_mins(3));
    assert_eq!((scene.patches(), scene.azure.serving_build("web").as_str()), ((2, 1), GOOD));
}

#[tokio::test]
async fn what_somebody_else_keeps_is_left_to_them() {
    let (scene, firing) = broken(WorkloadKind::Deployment).await;
    scene.azure.edit_cluster_object(&scene.id, |object| {
        object["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/name"] = json!("apps");
    });
    scene.advance(SignedDuration::from_secs(10));
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 30).await;
    let record = scene.record(&firing).await;
    let decision = record.decision.as_ref().unwrap();
    assert_eq!((decision.kind, scene.patches()), (DecisionKind::Page, (0, 0)), "{}", told(&record));
    assert!(decision.reasons.iter().any(|reason| reason.rule == RuleId::A12), "{decision:#?}");
}

#[tokio::test]
async fn a_missing_right_is_known_before_anything_is_sent() {
    let (scene, firing) = broken(WorkloadKind::Deployment).await;
    scene.azure.revoke(Some("actor"), "Microsoft.ContainerService/managedClusters/apps/deployments/write");
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 30).await;
    let record = scene.record(&firing).await;
    let decision = record.decision.as_ref().unwrap();
    assert_eq!((decision.kind, scene.patches()), (DecisionKind::Page, (0, 0)), "{}", told(&record));
    assert!(decision.reasons.iter().any(|reason| reason.says.contains("acting identity lacks `patch`")), "{decision:#?}");
}

#[tokio::test]
async fn the_bad_build_rolled_out_again_is_a_new_rollout() {
    let (scene, firing) = broken(WorkloadKind::Deployment).await;
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 60).await;
    assert_eq!(scene.record(&firing).await.rollback, Some(RollbackState::Recovered));
    let ours = scene.observe().await.running.token;
    let uid = |token: &VersionToken| token.0.split('|').nth(1).unwrap().to_owned();
    assert_eq!(ours.0, format!("revision|{}|3", uid(&ours)));

    scene.azure.roll_out(&scene.id, BAD);
    scene.advance(SignedDuration::from_mins(8));
    let again = scene.observe().await.running.token;
    assert_eq!(again.0, format!("revision|{}|4", uid(&ours)), "neither the accused token nor that of our result");
    // Another rule: one that fired before the rollout would accuse nobody by itself (C2).
    let second = Alert { rule: Some("checkout-slow".to_owned()), ..scene.firing("a2") };
    process.alert_received(second.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 60).await;
    let record = scene.record(&second).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert_eq!((scene.azure.serving_build("web").as_str(), scene.patches()), (GOOD, (2, 2)));
}

fn fence() -> Fence {
    Fence { claim: "a".repeat(26), record: RecordId("r".to_owned()) }
}

/// The handler as it is shipped: policy from a file, tokens from the platform's managed identity.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_handler_looks_at_a_workload_with_a_token_for_clusters() {
    let scene = ClusterScene::open(WorkloadKind::Deployment).await;
    let folder = tempfile::tempdir().unwrap();
    let (policy, store) = (folder.path().join("backout.yaml"), folder.path().join("state.db"));
    let written = format!(
        "version: 1\nservices:\n  web:\n    target: {{ platform: kubernetes, cluster: {}, namespace: shop, kind: Deployment, name: \
         web }}\n    evidence: [{{ metric: requests/failed, of: requests/count, resource: {} }}]\n    mode: observe\n",
        cluster(),
        component()
    );
    std::fs::write(&policy, written).unwrap();
    let azure = &scene.azure;
    let mut environment: BTreeMap<String, String> =
        names::ALL.iter().map(|setting| (setting.name.to_owned(), String::new())).collect();
    environment.extend(
        [
            (names::BACKOUT_POLICY, policy.display().to_string()),
            (names::BACKOUT_STORE, format!("sqlite:{}", store.display())),
            (names::BACKOUT_ARM_ENDPOINT, azure.resource_manager_url().to_string()),
            (names::BACKOUT_BUS_ENDPOINT, azure.bus_url().to_string()),
            (names::IDENTITY_ENDPOINT, azure.identity_endpoint()),
            (names::IDENTITY_HEADER, azure.identity_header()),
            ("ServiceBus__fullyQualifiedNamespace", azure.namespace().to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    let options = HostOptions {
        arguments: Some(vec!["serve".to_owned()]),
        environment: environment.into_iter().collect(),
        ..HostOptions::default()
    };
    let host = program::handler(options).await.unwrap();
    assert!(azure.journal().is_empty(), "nothing is asked before there is work");
    let looked = host.invoke_timer("sweep").await;
    host.kill().await;
    let journal = azure.journal();
    let asked: Vec<_> = journal.iter().filter(|entry| entry.role == Role::Kubernetes).collect();
    let lines: Vec<_> = host.lines().into_iter().map(|line| line.text).collect();
    assert_eq!(looked.outcome, InvocationOutcome::Succeeded, "{lines:?}");
    assert!(asked.len() >= 2, "{journal:?} {lines:?}");
    assert!(asked.iter().all(|entry| entry.status == Some(200) && entry.identity.as_deref() == Some("system")), "{asked:?}");
    let is_for_clusters = |entry: &&JournalEntry| entry.role == Role::Identity && entry.path_and_query.contains(AKS_APPLICATION);
    assert_eq!(journal.iter().filter(is_for_clusters).count(), 1, "one token for all requests");
}

/// The application that stands for every AKS API server.
const AKS_APPLICATION: &str = "resource=6dae42f8-4368-4678-94ff-3960e28e3630";
