//! The promises of a platform, one function each: over every fake, and over every adapter against simulated Azure.

mod azure;
mod exploration;
mod fake;
mod stage;
mod timeline;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use backout::{
    domain::{
        observation::{Observation, WayBack},
        record::RecordId,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        target::{ClusterAccess, Fingerprint, PlatformKind, TargetKey, WorkloadKind},
    },
    ports::{Platform, PortErrorKind, SendBy},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::{
    azure::{AzureStage, RevisionMode},
    exploration::ExplorationStage,
    fake::FakeStage,
    stage::Stage,
    timeline::TimelineStage,
};
use crate::simulation::explore::undisturbed::WayKind;

macro_rules! holds_for {
    ($kind:ident => $stage:expr; $($promise:ident)*) => {
        mod $kind {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let stage = $stage;
                    stage.play(super::$promise(&stage)).await;
                }
            )*
        }
    };
}

macro_rules! all_promises {
    ($($kind:ident => $stage:expr, $($more:ident)*;)*) => {
        $(holds_for! { $kind => $stage;
            a_look_changes_nothing
            what_served_before_is_a_way_back
            every_way_back_is_found_again_from_its_content_alone
            every_way_back_leads_to_its_content
            what_was_accepted_is_under_way_until_it_ends
            an_operation_that_nobody_knows_never_succeeded
            a_call_that_is_too_late_is_not_sent
            what_is_verified_is_what_a_look_shows
            a_target_that_is_not_there_is_an_error
            $($more)*
        })*
    };
}

// Which steps are toggles, who compares, and what a token is made of differs from platform to platform.
all_promises! {
    flow_fake => FakeStage::open(), every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
    timeline_app_service => TimelineStage::of(PlatformKind::AppService),
        every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
    timeline_kubernetes => TimelineStage::of(PlatformKind::Kubernetes),
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more
        a_step_takes_no_effect_once_its_version_is_gone;
    timeline_arm_deployment => TimelineStage::of(PlatformKind::ArmDeployment),
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more;
    timeline_logic_app => TimelineStage::of(PlatformKind::LogicApp),
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more
        a_step_takes_no_effect_once_its_version_is_gone;
    timeline_container_app => TimelineStage::of(PlatformKind::ContainerApp),
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more;
    timeline_pipeline => TimelineStage::of(PlatformKind::Pipeline),
        every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
    exploration_toggle => ExplorationStage::of(WayKind::Toggle),
        every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
    exploration_convergent => ExplorationStage::of(WayKind::Convergent),
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more;
    exploration_two_steps => ExplorationStage::of(WayKind::TwoSteps),
        every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
    slots => AzureStage::slots().await, every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
    // App Service does not tell when an image was set, so the token comes back with the image.
    image => AzureStage::image().await, a_convergent_step_sent_again_changes_nothing_more;
    deployment => AzureStage::workload(WorkloadKind::Deployment, ClusterAccess::Direct).await,
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more
        a_step_takes_no_effect_once_its_version_is_gone;
    stateful_set => AzureStage::workload(WorkloadKind::StatefulSet, ClusterAccess::Direct).await,
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more
        a_step_takes_no_effect_once_its_version_is_gone;
    deployment_by_commands => AzureStage::workload(WorkloadKind::Deployment, ClusterAccess::RunCommand).await,
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more
        a_step_takes_no_effect_once_its_version_is_gone;
    arm_deployment => AzureStage::arm_deployment().await,
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more;
    logic_app => AzureStage::logic_app().await,
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more
        a_step_takes_no_effect_once_its_version_is_gone;
    container_app => AzureStage::container_app(RevisionMode::Single).await,
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more;
    container_app_with_weights => AzureStage::container_app(RevisionMode::Multiple).await,
        every_rollout_has_its_own_token a_convergent_step_sent_again_changes_nothing_more;
    azure_dev_ops => AzureStage::azure_dev_ops().await, every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
    github => AzureStage::github().await, every_rollout_has_its_own_token a_toggle_sent_twice_is_two_rollouts;
}

const BAD: &str = "build-42";
const OTHER: &str = "build-43";

const SECOND: Duration = Duration::from_secs(1);

/// Polls, or looks, until something has to have ended.
const TRIES_MAX: usize = 400;

/// The bad build serves, somebody has looked at it, and a way leads back to what served before.
struct Broken {
    platform: Arc<dyn Platform>,
    now: Observation,
    good: WayBack,
    steps: Vec<Step>,
}

impl Broken {
    async fn on(stage: &impl Stage) -> Self {
        let before = look(stage).await.running.fingerprint.expect("a content that is told apart");
        stage.roll_out(BAD).await;
        let platform = stage.platform();
        let now = platform.observe().await.unwrap();
        let ways = platform.ways_back(&now, std::slice::from_ref(&before));
        let good =
            ways.into_iter().find(|way| way.fingerprint.as_ref() == Some(&before)).expect("a way back to what served before");
        let steps = steps(&platform, &now, &good);
        Self { platform, now, good, steps }
    }
}

fn steps(platform: &Arc<dyn Platform>, now: &Observation, way: &WayBack) -> Vec<Step> {
    let fence = Fence::new(&TargetKey("contract".to_owned()), &now.running.token, &RecordId("a".repeat(26)));
    let steps = platform.steps(way, &fence);
    let toggles = steps.iter().filter(|step| step.kind == StepKind::Toggle).count();
    assert!(!steps.is_empty() && toggles <= 1, "{steps:#?}");
    assert_eq!(platform.steps(way, &fence), steps);
    steps
}

async fn look(stage: &impl Stage) -> Observation {
    stage.platform().observe().await.unwrap()
}

/// All of a look but when it was.
fn shown(observation: Observation) -> Observation {
    Observation { observed_at: Timestamp::UNIX_EPOCH, ..observation }
}

/// Looks, as happens before every call, and sends the step.
async fn send(platform: &Arc<dyn Platform>, step: &Step) -> Submission {
    platform.observe().await.unwrap();
    platform.submit(step).await
}

/// How a call ended that was taken. Each poll is another process's, which knows what was stored and no more.
async fn end(stage: &impl Stage, submission: &Submission) -> OperationState {
    let operation = match submission {
        Submission::Done => return OperationState::Succeeded,
        Submission::Accepted { operation, .. } => operation,
        Submission::Refused { .. } | Submission::Busy { .. } | Submission::NotSent { .. } | Submission::Unknown { .. } => {
            panic!("not taken: {submission:?}")
        }
    };
    for _ in 0..TRIES_MAX {
        let told = stage.platform().poll(operation).await.unwrap();
        match told {
            OperationState::Running { poll_after_seconds } | OperationState::WaitsForAPerson { poll_after_seconds, .. } => {
                stage.pass(SECOND * poll_after_seconds.max(1)).await;
            }
            OperationState::Succeeded | OperationState::Failed { .. } | OperationState::Unknown { .. } => {
                stage.pass(SECOND).await;
                assert_eq!(stage.platform().poll(operation).await.unwrap(), told, "asked once more");
                return told;
            }
        }
    }
    panic!("it never ends: {operation}");
}

/// Waits for the end of a call that may have been turned away.
async fn settle(stage: &impl Stage, submission: &Submission) {
    match submission {
        Submission::Accepted { .. } => {
            end(stage, submission).await;
        }
        Submission::Done | Submission::Refused { .. } | Submission::Busy { .. } | Submission::NotSent { .. } => {}
        Submission::Unknown { .. } => panic!("in good weather an answer tells: {submission:?}"),
    }
}

/// What the platform shows once it calls the version of a way back completely in service.
async fn verified(stage: &impl Stage, way: &WayBack) -> Observation {
    for _ in 0..TRIES_MAX {
        let seen = stage.platform().verify(way).await.unwrap();
        if seen.under_way.is_none() {
            return seen;
        }
        stage.pass(10 * SECOND).await;
    }
    panic!("it never settles");
}

async fn take_back(stage: &impl Stage, broken: &Broken) -> Observation {
    for step in &broken.steps {
        let submission = send(&broken.platform, step).await;
        assert_eq!(end(stage, &submission).await, OperationState::Succeeded, "{step:?}");
    }
    verified(stage, &broken.good).await
}

async fn a_look_changes_nothing(stage: &impl Stage) {
    let Broken { platform, now, good, steps } = Broken::on(stage).await;
    platform.preflight().await.unwrap();
    platform.verify(&good).await.unwrap();
    stage.pass(SECOND).await;
    let later = platform.observe().await.unwrap();
    assert!(later.observed_at > now.observed_at);
    assert_eq!(shown(later), shown(now.clone()));
    assert_eq!(shown(look(stage).await), shown(now.clone()), "whoever looks");
    assert_eq!(self::steps(&platform, &now, &good), steps);
}

async fn what_served_before_is_a_way_back(stage: &impl Stage) {
    let before = look(stage).await.running;
    let Broken { now, good, .. } = Broken::on(stage).await;
    assert_ne!(now.running.token, before.token);
    assert!(now.running.fingerprint.is_some());
    assert_ne!(now.running.fingerprint, before.fingerprint);
    assert_eq!(good.fingerprint, before.fingerprint);
    assert_eq!(now.under_way, None);
}

async fn every_way_back_is_found_again_from_its_content_alone(stage: &impl Stage) {
    let mut proven: Vec<Fingerprint> = Vec::new();
    for build in [OTHER, BAD] {
        proven.insert(0, look(stage).await.running.fingerprint.unwrap());
        stage.roll_out(build).await;
    }
    let platform = stage.platform();
    let now = platform.observe().await.unwrap();
    let ways = platform.ways_back(&now, &proven);
    assert_eq!(platform.ways_back(&now, &proven), ways);
    let names: BTreeSet<&str> = ways.iter().map(|way| way.name.as_str()).collect();
    assert!(!ways.is_empty() && names.len() == ways.len(), "{ways:#?}");
    for way in &ways {
        let content = way.fingerprint.as_ref().expect("a version that is told apart");
        assert_ne!(Some(content), now.running.fingerprint.as_ref(), "{} is what runs", way.name);
        assert!(platform.ways_back(&now, std::slice::from_ref(content)).contains(way), "{way:#?}");
    }
}

async fn every_way_back_leads_to_its_content(stage: &impl Stage) {
    let first = look(stage).await.running;
    let (mut tokens, mut proven) = (vec![first.token], vec![first.fingerprint.unwrap()]);
    for (round, build) in ["build-51", "build-52", "build-53"].into_iter().enumerate() {
        stage.roll_out(build).await;
        let platform = stage.platform();
        let now = platform.observe().await.unwrap();
        assert!(!tokens.contains(&now.running.token), "{} does not name {build} alone", now.running.token);
        let ways = platform.ways_back(&now, &proven);
        let good = ways[round % ways.len()].clone();
        let steps = steps(&platform, &now, &good);
        let accused = now.running.token.clone();
        tokens.push(accused.clone());
        proven.insert(0, now.running.fingerprint.clone().unwrap());
        let after = take_back(stage, &Broken { platform, now, good: good.clone(), steps }).await.running;
        assert_eq!(after.fingerprint, good.fingerprint, "{good:#?}");
        assert_ne!(after.token, accused, "our own result would be taken for what it took back");
        tokens.push(after.token);
    }
}

async fn every_rollout_has_its_own_token(stage: &impl Stage) {
    let mut tokens = vec![look(stage).await.running.token];
    for _ in 0..3 {
        let broken = Broken::on(stage).await;
        let after = take_back(stage, &broken).await;
        for token in [broken.now.running.token, after.running.token] {
            assert!(!tokens.contains(&token), "{token} was there before");
            tokens.push(token);
        }
    }
}

async fn what_was_accepted_is_under_way_until_it_ends(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    let (last, before) = broken.steps.split_last().unwrap();
    for step in before {
        let submission = send(&broken.platform, step).await;
        assert_eq!(end(stage, &submission).await, OperationState::Succeeded, "{step:?}");
    }
    let submission = send(&broken.platform, last).await;
    if matches!(submission, Submission::Accepted { .. }) {
        assert!(look(stage).await.under_way.is_some(), "nobody could tell that it was taken");
    }
    assert_eq!(end(stage, &submission).await, OperationState::Succeeded);
    verified(stage, &broken.good).await;
    assert_eq!(look(stage).await.under_way, None);
}

async fn an_operation_that_nobody_knows_never_succeeded(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    let unknown = async |operation: Value| {
        let polled = stage.platform().poll(&operation).await;
        assert!(matches!(polled, Ok(OperationState::Unknown { .. }) | Err(_)), "{operation}: {polled:?}");
    };
    let nobodys = [Value::Null, json!({}), json!("theirs"), json!({ "run": 4_711, "number": 4_711, "until": "then" })];
    for operation in nobodys.clone() {
        unknown(operation).await;
    }
    // Not even once something of ours has succeeded.
    take_back(stage, &broken).await;
    for operation in nobodys {
        unknown(operation).await;
    }
}

async fn a_call_that_is_too_late_is_not_sent(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    let send_by = SendBy::within(stage.clock(), Duration::ZERO);
    stage.pass(SECOND).await;
    let submission = send_by.bound(send(&broken.platform, &broken.steps[0])).await;
    assert!(matches!(submission, Submission::NotSent { .. }), "{submission:?}");
    stage.pass(60 * SECOND).await;
    assert_eq!(look(stage).await.running, broken.now.running);
}

async fn what_is_verified_is_what_a_look_shows(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    let after = take_back(stage, &broken).await;
    assert_eq!(after.running.fingerprint, broken.good.fingerprint);
    assert_eq!(shown(look(stage).await), shown(after));
}

async fn a_target_that_is_not_there_is_an_error(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    let nowhere = stage.nowhere();
    assert_eq!(nowhere.observe().await.unwrap_err().kind, PortErrorKind::NotFound);
    assert_eq!(nowhere.verify(&broken.good).await.unwrap_err().kind, PortErrorKind::NotFound);
}

async fn a_convergent_step_sent_again_changes_nothing_more(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    assert!(broken.steps.iter().all(|step| step.kind == StepKind::Convergent), "{:#?}", broken.steps);
    for step in &broken.steps {
        let first = send(&broken.platform, step).await;
        let again = broken.platform.submit(step).await;
        assert_eq!(end(stage, &first).await, OperationState::Succeeded, "{step:?}");
        settle(stage, &again).await;
    }
    let after = verified(stage, &broken.good).await;
    assert_eq!(after.running.fingerprint, broken.good.fingerprint);
    for step in &broken.steps {
        stage.pass(60 * SECOND).await;
        let again = send(&broken.platform, step).await;
        settle(stage, &again).await;
    }
    // Where the platform tells a rollout by the last write alone, the token may be another one.
    assert_eq!(verified(stage, &broken.good).await.running.fingerprint, broken.good.fingerprint);
}

/// A fake that dropped the second call would hide that somebody sent it.
async fn a_toggle_sent_twice_is_two_rollouts(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    let after = take_back(stage, &broken).await;
    let toggle = broken.steps.iter().find(|step| step.kind == StepKind::Toggle).expect("a toggle");
    stage.pass(60 * SECOND).await;
    let again = send(&broken.platform, toggle).await;
    assert_eq!(end(stage, &again).await, OperationState::Succeeded);
    assert_ne!(verified(stage, &broken.good).await.running.token, after.running.token);
}

async fn a_step_takes_no_effect_once_its_version_is_gone(stage: &impl Stage) {
    let broken = Broken::on(stage).await;
    stage.roll_out(OTHER).await;
    let theirs = shown(look(stage).await);
    // First by the look of before, as when it happens right before the call; then after one that shows it.
    for _ in 0..2 {
        let submission = broken.platform.submit(&broken.steps[0]).await;
        match &submission {
            Submission::Refused { .. } => {}
            // What compares is not what takes the call.
            Submission::Accepted { .. } => {
                let ended = end(stage, &submission).await;
                assert!(matches!(ended, OperationState::Failed { .. }), "{ended:?}");
            }
            Submission::Done | Submission::Busy { .. } | Submission::NotSent { .. } | Submission::Unknown { .. } => {
                panic!("not refused: {submission:?}")
            }
        }
        stage.pass(SECOND).await;
        assert_eq!(shown(broken.platform.observe().await.unwrap()), theirs);
    }
}
