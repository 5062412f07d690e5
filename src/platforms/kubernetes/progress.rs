//! How a rollout stands, by the rules of `kubectl rollout status`. Source: kubectl, `polymorphichelpers/rollout_status.go`.

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use super::wire::{Reading, Workload};

/// How the rollout of the newest template stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The controller has not seen the last change: which version is the newest is not even decided.
    NotObserved,
    /// Not all is as it should be; `was_complete` where the rollout has ended once, and replicas fell later.
    Working {
        says: String,
        was_complete: bool,
    },
    Complete,
    /// The platform's own deadline has passed. Nothing is undone by that.
    GaveUp(String),
    /// The kind's update strategy leaves it to people to replace replicas.
    ByHand,
}

pub fn progress(reading: &Reading) -> Progress {
    let generation = reading.metadata().generation.unwrap_or_default();
    match reading {
        Reading::Deployment(deployment) => of_deployment(deployment, generation),
        Reading::StatefulSet(set) => {
            let status = set.status.clone().unwrap_or_default();
            if is_on_delete(reading) {
                return Progress::ByHand;
            }
            let observed = status.observed_generation.unwrap_or_default();
            if observed == 0 || generation > observed {
                return Progress::NotObserved;
            }
            let replicas = set.spec.replicas.unwrap_or(1);
            let (ready, updated) = (status.ready_replicas.unwrap_or_default(), status.updated_replicas.unwrap_or_default());
            let partition = partition(reading);
            let done =
                if partition > 0 { updated >= replicas - partition } else { status.update_revision == status.current_revision };
            if ready < replicas {
                return Progress::Working { says: format!("{ready} of {replicas} pods are ready"), was_complete: done };
            }
            if done { Progress::Complete } else { working(format!("{updated} of {replicas} pods are of the new version")) }
        }
        Reading::DaemonSet(set) => {
            let status = set.status.clone().unwrap_or_default();
            if is_on_delete(reading) {
                return Progress::ByHand;
            }
            if generation > status.observed_generation.unwrap_or_default() {
                return Progress::NotObserved;
            }
            let desired = status.desired_number_scheduled;
            let updated = status.updated_number_scheduled.unwrap_or_default();
            let available = status.number_available.unwrap_or_default();
            if updated < desired {
                working(format!("{updated} of {desired} pods are of the new version"))
            } else if available < desired {
                // A DaemonSet does not tell whether they were available once.
                Progress::Working { says: format!("{available} of {desired} pods are available"), was_complete: true }
            } else {
                Progress::Complete
            }
        }
    }
}

fn of_deployment(deployment: &Workload<DeploymentStatus>, generation: i64) -> Progress {
    let status = deployment.status.clone().unwrap_or_default();
    if generation > status.observed_generation.unwrap_or_default() {
        return Progress::NotObserved;
    }
    let reason = progressing(&status).and_then(|condition| condition.reason.as_deref());
    if reason == Some("ProgressDeadlineExceeded") {
        return Progress::GaveUp("its progress deadline has passed".to_owned());
    }
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let (all, updated) = (status.replicas.unwrap_or_default(), status.updated_replicas.unwrap_or_default());
    let available = status.available_replicas.unwrap_or_default();
    if updated < wanted {
        working(format!("{updated} of {wanted} replicas are of the new version"))
    } else if all > updated {
        working(format!("{} replicas of the old version have not ended", all - updated))
    } else if available < updated {
        // The reason says whether these replicas were all there once: then the rollout has ended, and they fell later.
        let was_complete = reason == Some("NewReplicaSetAvailable");
        Progress::Working { says: format!("{available} of {updated} replicas are available"), was_complete }
    } else {
        Progress::Complete
    }
}

fn working(says: String) -> Progress {
    Progress::Working { says, was_complete: false }
}

/// The condition that tells how a Deployment's rollout goes.
pub fn progressing(status: &DeploymentStatus) -> Option<&DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing")
}

pub fn is_on_delete(reading: &Reading) -> bool {
    reading.spec().update_strategy.as_ref().and_then(|strategy| strategy.r#type.as_deref()) == Some("OnDelete")
}

pub fn partition(reading: &Reading) -> i32 {
    let rolling = reading.spec().update_strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.partition).unwrap_or_default()
}
