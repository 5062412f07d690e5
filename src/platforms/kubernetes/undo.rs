//! The one step of a rollback: a patch that puts an explicit revision's template back, if the accused one is still there.
//!
//! What `kubectl rollout undo --to-revision` does, but compare-and-set: the patch tests the workload's uid and the whole
//! template that was read. So it changes nothing a second time, or after anybody else's change; a scaling in between does not
//! disturb it, as it would with `resourceVersion`. Of the annotations only the change cause follows the revision.

use serde_json::{Value, json};

use super::{
    Clusters,
    cluster::Applied,
    observe::{Readings, current, detail},
    progress::{Progress, progress},
    wire::{CHANGE_CAUSE, annotation, fingerprint},
};
use crate::{
    domain::{
        observation::WayBack,
        rollback::{OperationState, Step, StepKind, Submission},
        target::KubernetesTarget,
    },
    ports::PortError,
};

/// Who changed the template, in the object's `managedFields`.
pub const FIELD_MANAGER: &str = "backout";

pub fn step(target: &KubernetesTarget, way_back: &WayBack) -> Step {
    Step {
        says: format!("set {} `{}/{}` back to {}", target.kind, target.namespace, target.name, way_back.label),
        kind: StepKind::Convergent,
        detail: way_back.detail.clone(),
    }
}

/// Sends the patch once. It is made from the reading just before: a read here could make the call late.
pub async fn submit(clusters: &Clusters, target: &KubernetesTarget, step: &Step) -> Submission {
    let patch = match clusters.with_kept(target, |readings| patch(readings, &step.detail)) {
        Some(Ok(patch)) => patch,
        Some(Err(says)) => return Submission::Refused { says },
        None => {
            return Submission::NotSent {
                says: "the workload must be read before it is changed".to_owned(),
                retry_after_seconds: None,
            };
        }
    };
    let cluster = match clusters.cluster(&target.cluster).await {
        Ok(cluster) => cluster,
        Err(error) => return Submission::NotSent { says: error.says, retry_after_seconds: None },
    };
    let submission = cluster.patch(target, &patch).await;
    if matches!(submission, Submission::Refused { .. }) {
        // The cluster may have a new credential.
        clusters.forget(&target.cluster);
    }
    submission
}

/// What [`poll`] needs of the object that the patch gave back: `{"workload": uid, "generation": n}`.
pub fn operation(uid: Option<&str>, generation: Option<i64>) -> Value {
    json!({ detail::WORKLOAD: uid, "generation": generation })
}

/// The JSON patch (RFC 6902), or why none may be sent.
fn patch(readings: &Readings, asked: &Value) -> Result<Value, String> {
    let (text, number) = (|key: &str| asked.get(key).and_then(Value::as_str), |key: &str| asked.get(key).and_then(Value::as_i64));
    let (Some(workload), Some(revision_uid)) = (text(detail::WORKLOAD), text(detail::REVISION_UID)) else {
        return Err("the stored step names no workload and revision; nothing was sent".to_owned());
    };
    let (Some(from), Some(revision)) = (number(detail::FROM), number(detail::REVISION)) else {
        return Err("the stored step names no revision; nothing was sent".to_owned());
    };
    if readings.workload.uid() != workload {
        return Err("the workload was deleted and made again; nothing was sent".to_owned());
    }
    if progress(&readings.workload) == Progress::NotObserved {
        return Err("the controller has not seen the last change of the workload; nothing was sent".to_owned());
    }
    if readings.workload.spec().paused == Some(true) {
        return Err("the Deployment is paused; nothing was sent".to_owned());
    }
    let Some(running) = current(readings).filter(|running| running.number == from) else {
        return Err(format!("revision {from} does not run any more; nothing was sent"));
    };
    let good = readings.revisions.iter().find(|kept| kept.number == revision && kept.uid() == revision_uid);
    let Some(good) = good else { return Err(format!("revision {revision} is not kept any more; nothing was sent")) };
    if fingerprint(&good.template) == fingerprint(&running.template) {
        return Err(format!("revision {revision} holds what runs already; nothing was sent"));
    }
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": workload}),
        json!({"op": "test", "path": "/spec/template", "value": readings.workload.spec().template}),
        json!({"op": "replace", "path": "/spec/template", "value": good.template}),
    ];
    let is_deployment = matches!(readings.workload, super::wire::Reading::Deployment(_));
    let metadata = readings.workload.metadata();
    let path = format!("/metadata/annotations/{}", CHANGE_CAUSE.replace('/', "~1"));
    match (good.change_cause(), annotation(metadata, CHANGE_CAUSE)) {
        // The map is there: the controller keeps the revision's number in it.
        (Some(cause), _) if is_deployment => operations.push(json!({"op": "add", "path": path, "value": cause})),
        (None, Some(_)) if is_deployment => operations.push(json!({"op": "remove", "path": path})),
        (Some(_) | None, _) => {}
    }
    Ok(Value::Array(operations))
}

/// Asks how the rollout stands that the patch began, by the rules of `kubectl rollout status`.
pub async fn poll(clusters: &Clusters, target: &KubernetesTarget, operation: &Value) -> Result<OperationState, PortError> {
    let cluster = clusters.cluster(&target.cluster).await?;
    let operation = match cluster.applied(operation).await? {
        Applied::By(operation) => operation,
        Applied::Not(state) => return Ok(state),
    };
    let workload = clusters.ask(&target.cluster, async |cluster| cluster.read_workload(target).await).await?;
    let poll_after_seconds = cluster.poll_after_seconds();
    let metadata = workload.metadata();
    if operation.get(detail::WORKLOAD).and_then(Value::as_str) != Some(workload.uid()) {
        let says = "the workload was deleted and made again, or the answer to the patch was cut; the workload itself tells";
        return Ok(OperationState::Unknown { says: says.to_owned() });
    }
    if metadata.generation < operation.get("generation").and_then(Value::as_i64) {
        // A read from a replica of the API server that lags.
        return Ok(OperationState::Running { poll_after_seconds });
    }
    Ok(match progress(&workload) {
        Progress::NotObserved | Progress::Working { .. } => OperationState::Running { poll_after_seconds },
        Progress::Complete | Progress::ByHand => OperationState::Succeeded,
        Progress::GaveUp(says) => OperationState::Failed { says },
    })
}
