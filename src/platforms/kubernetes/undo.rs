//! The one step of a rollback: a patch that puts an explicit revision's template back, if the accused one is still there.
//!
//! What `kubectl rollout undo --to-revision` does, but compare-and-set: the patch tests the workload's uid and the whole
//! template that was read. So it changes nothing a second time, or after anybody else's change; a scaling in between does not
//! disturb it, as it would with `resourceVersion`. Of the annotations only the change cause follows the revision.

use kube::core::{
    Request,
    params::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{
    Clusters,
    connection::NoAnswer,
    observe::{Readings, current, detail, read_workload},
    progress::{Progress, progress},
    wire::{CHANGE_CAUSE, annotation, collection, fingerprint, plural},
};
use crate::{
    domain::{
        observation::WayBack,
        rollback::{OperationState, Step, StepKind, Submission},
        target::KubernetesTarget,
    },
    ports::PortError,
};

const FIELD_MANAGER: &str = "backout";
const POLL_AFTER_SECONDS: u32 = 5;

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
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch: Patch<Value> = match serde_json::from_value(patch).map(Patch::Json) {
        Ok(patch) => patch,
        Err(_) => return Submission::Refused { says: "the patch makes no sense; nothing was sent".to_owned() },
    };
    let Ok(request) = Request::new(collection(target, plural(target.kind))).patch(&target.name, &parameters, &patch) else {
        return Submission::Refused { says: "the workload's name makes no sense; nothing was sent".to_owned() };
    };
    let connection = match clusters.connection(&target.cluster).await {
        Ok(connection) => connection,
        Err(error) => return Submission::NotSent { says: error.says, retry_after_seconds: None },
    };
    let lost = |says: String| Submission::Unknown {
        says: format!("{says}; whether the call took effect must be read from the cluster"),
    };
    let answer = match connection.send(&request).await {
        Ok(answer) => answer,
        Err(NoAnswer::NotSent(says)) => return Submission::NotSent { says, retry_after_seconds: None },
        Err(NoAnswer::Lost(says)) => return lost(says),
    };
    let says = answer.says();
    if answer.status.as_u16() == 401 {
        // The cluster may have a new credential.
        clusters.forget(&target.cluster);
    }
    match answer.status.as_u16() {
        200 | 201 => Submission::Accepted { operation: operation(&answer.json()), poll_after_seconds: POLL_AFTER_SECONDS },
        422 => Submission::Refused { says: format!("{says}: the workload changed meanwhile, or the cluster's rules refuse it") },
        400 | 401 | 403 | 404 | 405 | 406 | 413 | 415 => Submission::Refused { says },
        409 => Submission::Busy { says },
        429 => Submission::NotSent { says, retry_after_seconds: answer.retry_after_seconds() },
        300..=399 => Submission::Unknown { says: format!("{says}: a redirect, which is not followed") },
        _ => lost(says),
    }
}

/// What [`poll`] needs: `{"workload": uid, "generation": n}` of the object that the patch gave back.
fn operation(answer: &Value) -> Value {
    json!({
        detail::WORKLOAD: answer.pointer("/metadata/uid"),
        "generation": answer.pointer("/metadata/generation"),
    })
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
    let workload = read_workload(clusters, target).await?;
    let metadata = workload.metadata();
    if operation.get(detail::WORKLOAD).and_then(Value::as_str) != Some(workload.uid()) {
        let says = "the workload was deleted and made again, or the answer to the patch was cut; the workload itself tells";
        return Ok(OperationState::Unknown { says: says.to_owned() });
    }
    if metadata.generation < operation.get("generation").and_then(Value::as_i64) {
        // A read from a replica of the API server that lags.
        return Ok(OperationState::Running { poll_after_seconds: POLL_AFTER_SECONDS });
    }
    Ok(match progress(&workload) {
        Progress::NotObserved | Progress::Working { .. } => OperationState::Running { poll_after_seconds: POLL_AFTER_SECONDS },
        Progress::Complete | Progress::ByHand => OperationState::Succeeded,
        Progress::GaveUp(says) => OperationState::Failed { says },
    })
}
