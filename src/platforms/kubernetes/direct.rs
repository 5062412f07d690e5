//! A cluster by its API server: the requests, and what the answer to a patch proves.

use kube::core::{
    Request,
    params::{GetParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    connection::{As, Connection, NoAnswer},
    observe::{self, READ_WORKLOAD},
    undo::{self, FIELD_MANAGER},
    wire::{Reading, collection, plural, revisions_plural},
};
use crate::{
    domain::{rollback::Submission, target::KubernetesTarget},
    ports::{PortError, PortErrorKind},
};

pub const POLL_AFTER_SECONDS: u32 = 5;

/// The workload and its revisions: side by side once the workload's selector is known.
pub async fn read(
    connection: &Connection,
    target: &KubernetesTarget,
    known_selector: Option<String>,
) -> Result<(Reading, Vec<Value>), PortError> {
    let ahead = async {
        match &known_selector {
            Some(selector) => Some(list(connection, target, selector).await),
            None => None,
        }
    };
    let (workload, ahead) = tokio::join!(read_workload(connection, target), ahead);
    let workload = workload?;
    let selector = observe::selector(&workload)?;
    let items = match ahead {
        Some(items) if known_selector.as_ref() == Some(&selector) => items?,
        Some(_) | None => list(connection, target, &selector).await?,
    };
    Ok((workload, items))
}

async fn list(connection: &Connection, target: &KubernetesTarget, selector: &str) -> Result<Vec<Value>, PortError> {
    const OPERATION: &str = "list the revisions";
    let path = collection(target, revisions_plural(target.kind));
    let page = |token: Option<String>| {
        let mut parameters = ListParams::default().labels(selector).limit(500);
        parameters.continue_token = token;
        Request::new(path.as_str())
            .list(&parameters)
            .map_err(|_| PortError::new(OPERATION, PortErrorKind::Invalid, "the workload's selector makes no sense"))
    };
    connection.read_all(OPERATION, page).await
}

pub async fn read_workload(connection: &Connection, target: &KubernetesTarget) -> Result<Reading, PortError> {
    let request = Request::new(collection(target, plural(target.kind)))
        .get(&target.name, &GetParams::default())
        .map_err(|_| PortError::new(READ_WORKLOAD, PortErrorKind::Invalid, "the workload's name makes no sense"))?;
    Reading::parse(target.kind, connection.read(READ_WORKLOAD, &request).await?)
}

/// Whether the cluster lets one of us do something with resources of the group `apps`.
pub async fn may(
    connection: &Connection,
    target: &KubernetesTarget,
    who: As,
    verb: &str,
    resource: &str,
    name: Option<&str>,
) -> Result<bool, PortError> {
    const OPERATION: &str = "ask the cluster for our rights";
    let review = review(target, verb, resource, name);
    let request = Request::new(REVIEWS)
        .create(&PostParams::default(), review.to_string().into_bytes())
        .map_err(|_| PortError::new(OPERATION, PortErrorKind::Invalid, "the question makes no sense"))?;
    allowed(OPERATION, &connection.read_as(who, OPERATION, &request).await?)
}

/// Where a cluster is asked what whoever asks may do.
pub const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// The question to [`REVIEWS`].
pub fn review(target: &KubernetesTarget, verb: &str, resource: &str, name: Option<&str>) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "group": "apps", "resource": resource, "verb": verb, "namespace": target.namespace, "name": name,
        } },
    })
}

/// The answer of [`REVIEWS`].
pub fn allowed(operation: &'static str, answer: &Value) -> Result<bool, PortError> {
    let allowed = answer.pointer("/status/allowed").and_then(Value::as_bool);
    allowed.ok_or_else(|| PortError::new(operation, PortErrorKind::Invalid, "the answer holds no `status.allowed`"))
}

pub async fn patch(connection: &Connection, target: &KubernetesTarget, patch: &Value) -> Submission {
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch: Patch<Value> = match serde_json::from_value(patch.clone()).map(Patch::Json) {
        Ok(patch) => patch,
        Err(_) => return Submission::Refused { says: "the patch makes no sense; nothing was sent".to_owned() },
    };
    let Ok(request) = Request::new(collection(target, plural(target.kind))).patch(&target.name, &parameters, &patch) else {
        return Submission::Refused { says: "the workload's name makes no sense; nothing was sent".to_owned() };
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
    match answer.status.as_u16() {
        200 | 201 => {
            let object = answer.json();
            let uid = object.pointer("/metadata/uid").and_then(Value::as_str);
            let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
            Submission::Accepted { operation: undo::operation(uid, generation), poll_after_seconds: POLL_AFTER_SECONDS }
        }
        422 => Submission::Refused { says: format!("{says}: the workload changed meanwhile, or the cluster's rules refuse it") },
        400 | 401 | 403 | 404 | 405 | 406 | 413 | 415 => Submission::Refused { says },
        409 => Submission::Busy { says },
        429 => Submission::NotSent { says, retry_after_seconds: answer.retry_after_seconds() },
        300..=399 => Submission::Unknown { says: format!("{says}: a redirect, which is not followed") },
        _ => lost(says),
    }
}
