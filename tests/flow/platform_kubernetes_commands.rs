//! The whole story of a workload in a private cluster, which is reached by commands only.

use std::time::Duration;

use backout::{
    domain::{
        alert::Alert,
        decision::DecisionKind,
        record::Record,
        rollback::{Claim, ClaimKind, RollbackState},
        target::{ClusterAccess, WorkloadKind},
    },
    process::documents::{Documents, keys},
    sim::{Fault, FaultBody, FaultEffect, Moment, Role},
};
use serde_json::Value;

use crate::support::cluster::{BAD, ClusterScene, GOOD, cluster};

async fn broken(access: ClusterAccess, kind: WorkloadKind) -> (ClusterScene, Alert) {
    let scene = ClusterScene::reached_by(access, kind, ClusterScene::about_component).await;
    let firing = scene.break_it().await;
    assert_eq!(scene.azure.serving_build("web"), BAD);
    (scene, firing)
}

async fn private() -> (ClusterScene, Alert) {
    broken(ClusterAccess::RunCommand, WorkloadKind::Deployment).await
}

fn told(record: &Record) -> String {
    format!("{:?} {:#?} {:#?}", record.rollback, record.decision, record.timeline)
}

/// Changes of the template since the bad build was rolled out.
fn effects(scene: &ClusterScene) -> u32 {
    scene.azure.template_changes(&scene.id) - 1
}

#[tokio::test]
async fn a_bad_rollout_of_each_kind_is_taken_back_once_by_a_command() {
    for kind in [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet] {
        let (scene, firing) = broken(ClusterAccess::RunCommand, kind).await;
        let process = scene.process();
        for _ in 0..3 {
            process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        }
        scene.run(&process, 60).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(RollbackState::Recovered), "{kind}: {}", told(&record));
        assert_eq!((scene.azure.serving_build("web").as_str(), scene.patch_commands().len(), effects(&scene)), (GOOD, 1, 1));
        let journal = scene.azure.journal();
        assert!(
            !journal.iter().any(|entry| matches!(entry.role, Role::Kubernetes | Role::Stranger)),
            "only resource manager is asked"
        );
        let patches =
            |body: &[u8]| serde_json::from_slice::<Value>(body).is_ok_and(|body| body["command"].to_string().contains("patch d"));
        let posts: Vec<_> = journal.iter().filter(|entry| entry.path_and_query.contains("/runCommand")).collect();
        let reads = posts.iter().filter(|entry| entry.identity.as_deref() == Some("reader")).count();
        assert!(reads >= 4, "{reads}");
        assert!(posts.iter().filter(|entry| patches(&entry.body)).all(|entry| entry.identity.as_deref() == Some("actor")));
    }
}

/// How the POST of the patch may go wrong: commands that patch, effects, what runs, and the state that is told.
#[tokio::test]
async fn every_answer_to_the_post_ends_in_a_state_that_says_what_is_so() {
    let status = |moment, status| FaultEffect::Status { moment, status, body: FaultBody::Empty };
    let code = "KubernetesPerformanceError".to_owned();
    let body = FaultBody::Error { code, message: "the container did not start in time".to_owned() };
    let not_in_time = |moment| FaultEffect::Status { moment, status: 404, body: body.clone() };
    let rows = [
        (FaultEffect::Reset { moment: Moment::AfterEffect }, (1, 1), GOOD, RollbackState::Recovered),
        (status(Moment::AfterEffect, 504), (1, 1), GOOD, RollbackState::Recovered),
        (FaultEffect::Reset { moment: Moment::BeforeEffect }, (1, 1), GOOD, RollbackState::Recovered),
        (FaultEffect::Throttle { retry_after_seconds: 20 }, (1, 1), GOOD, RollbackState::Recovered),
        (not_in_time(Moment::AfterEffect), (1, 1), GOOD, RollbackState::Recovered),
        (not_in_time(Moment::BeforeEffect), (1, 1), GOOD, RollbackState::Recovered),
        (status(Moment::BeforeEffect, 403), (0, 0), BAD, RollbackState::Failed),
    ];
    for (effect, expected, runs, state) in rows {
        let (scene, firing) = private().await;
        let process = scene.process();
        // The look of the decision, the question for the right, and the look before the call are POSTs as well.
        scene.azure.inject(Fault::on("POST", "/runCommand", effect.clone()).after(3));
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 90).await;
        let record = scene.record(&firing).await;
        assert_eq!(record.rollback, Some(state), "{effect:?}: {}", told(&record));
        let seen = (scene.patch_commands().len(), effects(&scene));
        assert_eq!((seen, scene.azure.serving_build("web").as_str()), (expected, runs), "{effect:?}: {}", told(&record));
    }
}

#[tokio::test]
async fn a_result_that_is_gone_is_looked_for_in_the_cluster() {
    let (scene, firing) = private().await;
    let process = scene.process();
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.azure.forget_command_results(&cluster());
    scene.run(&process, 60).await;
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert_eq!((scene.patch_commands().len(), effects(&scene)), (1, 1));
}

#[tokio::test]
async fn a_command_that_aks_gives_up_on_is_sent_once_more_after_the_quiet_time() {
    let (scene, firing) = private().await;
    let process = scene.process();
    scene.azure.let_commands_fail(&cluster(), "kubectl patch", 9, "ImagePullBackoff");
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 9).await;
    let record = scene.record(&firing).await;
    assert!(!record.rollback.is_some_and(RollbackState::is_terminal), "its pod may still run: {}", told(&record));
    assert_eq!(scene.patch_commands().len(), 1);
    scene.run(&process, 60).await;
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Failed), "{}", told(&record));
    for says in ["ImagePullBackoff", "when the quiet time is over", "the call was sent at most twice"] {
        assert!(told(&record).contains(says), "{says}: {}", told(&record));
    }
    let patches = scene.patch_commands();
    assert!(patches.iter().all(|patch| patch.exit_code.is_none() && patch.output == "ImagePullBackoff"), "{patches:#?}");
    assert_eq!((patches.len(), effects(&scene), scene.azure.serving_build("web").as_str()), (2, 0, BAD));
}

/// What AKS says of a command is not the end of its pod: only the cluster tells, after a quiet time.
#[tokio::test]
async fn a_command_that_runs_after_it_was_given_up_is_found_and_marked_as_ours() {
    let (scene, firing) = private().await;
    let process = scene.process();
    scene.azure.let_command_run_late(&cluster(), "kubectl patch", "ImagePullBackoff", Duration::from_mins(2));
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    scene.run(&process, 60).await;
    let record = scene.record(&firing).await;
    assert_eq!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert_eq!((scene.patch_commands().len(), effects(&scene), scene.azure.serving_build("web").as_str()), (1, 1, GOOD));
    let running = scene.observe().await.running;
    let documents = Documents::new(scene.ports.store.clone());
    let claim = documents.read::<Claim>(&keys::claim(&scene.target.key(), &running.token)).await.unwrap().unwrap();
    assert!(matches!(claim.value.kind, ClaimKind::Tombstone { .. }), "{:?}", claim.value);
}

#[tokio::test]
async fn a_change_before_the_command_runs_is_not_overwritten() {
    let (scene, firing) = private().await;
    let process = scene.process();
    // The pod waits for its node, and somebody rolls out a third build meanwhile.
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    assert_eq!(scene.patch_commands()[0].exit_code, None, "it has not run yet");
    scene.azure.roll_out(&scene.id, "build-43");
    scene.run(&process, 60).await;
    let patch = &scene.patch_commands()[0];
    assert_eq!(patch.exit_code, Some(1), "{patch:?}");
    assert!(patch.output.starts_with("The request is invalid"), "{patch:?}");
    assert_eq!((scene.patch_commands().len(), scene.azure.serving_build("web").as_str()), (1, "build-43"));
    let record = scene.record(&firing).await;
    assert_ne!(record.rollback, Some(RollbackState::Recovered), "{}", told(&record));
    assert!(record.rollback.is_some_and(RollbackState::is_terminal), "{}", told(&record));
}

#[tokio::test]
async fn commands_that_never_end_send_nothing() {
    let (scene, firing) = private().await;
    let process = scene.process();
    scene.azure.set_command_times(&cluster(), Duration::from_mins(30), Duration::from_mins(31));
    process.alert_received(firing.clone(), &scene.policy).await.unwrap();
    let hold = scene.record(&firing).await.decision.unwrap();
    assert_eq!(hold.kind, DecisionKind::Hold);
    assert!(hold.because.contains("did not end within 80 s"), "{}", hold.because);
    assert_eq!(scene.patch_commands().len(), 0);
}

/// Nothing is half done where the cluster cannot be spoken to, and a person reads why.
#[tokio::test]
async fn a_cluster_that_cannot_be_spoken_to_is_paged_with_the_reason() {
    type Change = fn(&ClusterScene);
    let rows: [(ClusterAccess, Change, &str); 4] = [
        (ClusterAccess::RunCommand, |it| it.azure.set_run_command_disabled(&cluster(), true), "`disableRunCommand`"),
        (ClusterAccess::RunCommand, |it| it.azure.set_cluster_stopped(&cluster(), true), "start it with `az aks start`"),
        (ClusterAccess::Direct, |it| it.azure.set_cluster_stopped(&cluster(), true), "start it with `az aks start`"),
        (ClusterAccess::Direct, |it| it.azure.set_cluster_private(&cluster(), true), "write `access: run-command`"),
    ];
    for (access, change, says) in rows {
        let (scene, firing) = broken(access, WorkloadKind::Deployment).await;
        change(&scene);
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 40).await;
        let record = scene.record(&firing).await;
        let decision = record.decision.clone().unwrap();
        assert_eq!((decision.kind, record.rollback), (DecisionKind::Page, None), "{says}: {}", told(&record));
        assert!(decision.because.contains(says), "{}", decision.because);
        assert_eq!((scene.patch_commands().len(), scene.patches().1, effects(&scene)), (0, 0, 0), "{says}");
    }
}

#[tokio::test]
async fn a_missing_right_is_known_before_anything_is_sent() {
    for right in [
        "Microsoft.ContainerService/managedClusters/runcommand/action",
        "Microsoft.ContainerService/managedClusters/apps/deployments/write",
    ] {
        let (scene, firing) = private().await;
        scene.azure.revoke(Some("actor"), right);
        let process = scene.process();
        process.alert_received(firing.clone(), &scene.policy).await.unwrap();
        scene.run(&process, 30).await;
        let record = scene.record(&firing).await;
        let decision = record.decision.as_ref().unwrap();
        assert_eq!((decision.kind, scene.patch_commands().len()), (DecisionKind::Page, 0), "{right}: {}", told(&record));
        assert!(decision.reasons.iter().any(|reason| reason.says.contains("acting identity lacks")), "{right}: {decision:#?}");
    }
}
