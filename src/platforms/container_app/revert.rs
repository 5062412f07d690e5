//! The steps of a rollback: activate a revision and put the traffic on it, or copy its template.

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    observe::{ACTIVE, COPY, HASH, LABELS, REVISION},
    template::{copy, fingerprint, missing_secrets},
    wire::{App, Revision, app_path, is, revision_path},
};
use crate::{
    azure::resource_manager::ResourceManager,
    domain::{
        observation::WayBack,
        rollback::{Fence, OperationState, Step, StepKind, Submission},
        target::ContainerAppTarget,
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// What steps and operations remember. Paths are made from the policy's own id, never stored; nor is any template, as it may
/// hold secrets.
const ACTIVATE: &str = "activate";
const TRAFFIC: &str = "traffic";
const SUFFIX: &str = "suffix";

/// Between two looks at a revision that starts.
const START_POLL_SECONDS: u32 = 10;

pub fn steps(target: &ContainerAppTarget, way_back: &WayBack, fence: &Fence) -> Vec<Step> {
    let detail = &way_back.detail;
    let app = target.app.name();
    let convergent = |says: String, detail: Value| Step { says, kind: StepKind::Convergent, detail };
    if let Some(revision) = text(detail, COPY) {
        let detail = json!({ COPY: revision, HASH: detail[HASH], SUFFIX: suffix(fence) });
        return vec![convergent(format!("roll out the template of {revision} again as a new revision of `{app}`"), detail)];
    }
    let Some(revision) = text(detail, REVISION) else { return Vec::new() };
    let activate = convergent(format!("activate revision {revision}"), json!({ ACTIVATE: revision }));
    let labels = detail[LABELS].as_array().map(Vec::as_slice).unwrap_or_default();
    let move_traffic = convergent(
        format!("send all traffic of `{app}` to {revision} by name; later revisions get none until somebody gives it to them"),
        json!({ TRAFFIC: traffic(revision, labels) }),
    );
    if detail[ACTIVE] == true { vec![move_traffic] } else { vec![activate, move_traffic] }
}

/// Names the copy after what it takes back: the same for every attempt, and free of any other rollout.
fn suffix(fence: &Fence) -> String {
    format!("back-{}", fence.claim.chars().take(10).collect::<String>())
}

/// The whole array, as a PATCH replaces it: labels stay on their revisions, and nothing follows the latest one.
fn traffic(good: &str, labels: &[Value]) -> Vec<Value> {
    let named = |entry: &&Value| text(entry, "revisionName").is_some_and(|name| name.eq_ignore_ascii_case(good));
    let mut first = json!({ "revisionName": good, "weight": 100 });
    if let Some(entry) = labels.iter().find(named) {
        first["label"] = entry["label"].clone();
    }
    let others = labels.iter().filter(|entry| !named(entry)).map(|entry| {
        let mut entry = entry.clone();
        entry["weight"] = json!(0);
        entry
    });
    std::iter::once(first).chain(others).collect()
}

/// Sends one step once. A revision of another app is refused here: nothing stored can widen what is touched.
pub async fn submit(arm: &ResourceManager, target: &ContainerAppTarget, step: &Step) -> Submission {
    let detail = &step.detail;
    if let Some(revision) = text(detail, ACTIVATE) {
        return activate(arm, target, revision).await;
    }
    if let Some(entries) = detail[TRAFFIC].as_array() {
        let ours = |entry: &Value| text(entry, "revisionName").is_some_and(|name| revision_path(target, name, "").is_some());
        if entries.is_empty() || !entries.iter().all(ours) {
            return Submission::Refused { says: "the step names a revision of another app; nothing was sent".to_owned() };
        }
        let body = json!({ "properties": { "configuration": { "ingress": { "traffic": entries } } } });
        return arm.submit(Method::PATCH, &app_path(target, ""), Some(&body)).await;
    }
    match (text(detail, COPY), text(detail, HASH), text(detail, SUFFIX)) {
        (Some(revision), Some(hash), Some(suffix)) => match copied(arm, target, revision, hash, suffix).await {
            Ok(template) => {
                let body = json!({ "properties": { "template": template } });
                arm.submit(Method::PATCH, &app_path(target, ""), Some(&body)).await
            }
            Err(submission) => submission,
        },
        _ => Submission::Refused { says: "the step makes no sense for a container app; nothing was sent".to_owned() },
    }
}

/// The answer comes before the revision runs; so the call counts as accepted, and [`poll`] waits for the revision.
async fn activate(arm: &ResourceManager, target: &ContainerAppTarget, revision: &str) -> Submission {
    let Some(path) = revision_path(target, revision, "/activate") else {
        return Submission::Refused { says: format!("`{revision}` is no revision of this app; nothing was sent") };
    };
    match arm.submit(Method::POST, &path, None).await {
        Submission::Done | Submission::Accepted { .. } => {
            Submission::Accepted { operation: json!({ ACTIVATE: revision }), poll_after_seconds: START_POLL_SECONDS }
        }
        other @ (Submission::Refused { .. }
        | Submission::Busy { .. }
        | Submission::NotSent { .. }
        | Submission::Unknown { .. }) => other,
    }
}

/// The template to send: read now, since it is never stored, and proven to be the content that was decided on.
async fn copied(
    arm: &ResourceManager,
    target: &ContainerAppTarget,
    revision: &str,
    hash: &str,
    suffix: &str,
) -> Result<Value, Submission> {
    const OPERATION: &str = "read the template to copy";
    let refused = |says: String| Submission::Refused { says: format!("{says}; nothing was sent") };
    let (app_path, Some(revision_path)) = (app_path(target, ""), revision_path(target, revision, "")) else {
        return Err(refused(format!("`{revision}` is no revision of this app")));
    };
    let unread = |error: PortError| match error.kind {
        PortErrorKind::NotFound => refused(format!("revision {revision} is gone ({error})")),
        _ => Submission::NotSent {
            says: error.to_string(),
            retry_after_seconds: error.retry_after.map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)),
        },
    };
    let (app, revision) = tokio::join!(arm.read(OPERATION, &app_path), arm.read(OPERATION, &revision_path));
    let app: App = app.and_then(|answer| parse(OPERATION, answer)).map_err(&unread)?;
    let read: Revision = revision.and_then(|answer| parse(OPERATION, answer)).map_err(&unread)?;
    let (name, secrets) = (target.app.name(), app.secrets());
    let Some(template) = read.properties.template.filter(|template| fingerprint(template, name) == hash) else {
        return Err(refused(format!("revision {} does not hold the content that was decided on", read.name)));
    };
    let missing = missing_secrets(&template, name, &secrets);
    if !missing.is_empty() {
        return Err(refused(format!("the app does not have the secret `{}` any more", missing.join("`, `"))));
    }
    Ok(copy(&template, &app.properties.template.unwrap_or_default(), name, &secrets, suffix))
}

/// Asks an operation, or whether a revision that was activated is ready to serve.
pub async fn poll(arm: &ResourceManager, target: &ContainerAppTarget, operation: &Value) -> Result<OperationState, PortError> {
    const OPERATION: &str = "read the activated revision";
    let Some(name) = text(operation, ACTIVATE) else { return arm.poll(operation).await };
    let Some(path) = revision_path(target, name, "") else {
        return Ok(OperationState::Unknown { says: format!("`{name}` is no revision of this app") });
    };
    let revision: Revision = match arm.read(OPERATION, &path).await {
        Ok(answer) => parse(OPERATION, answer)?,
        Err(error) if error.kind == PortErrorKind::NotFound => {
            return Ok(OperationState::Failed { says: format!("revision {name} is gone") });
        }
        Err(error) => return Err(error),
    };
    let properties = &revision.properties;
    if is(properties.provisioning_state.as_ref(), "Failed") || is(properties.running_state.as_ref(), "Failed") {
        return Ok(OperationState::Failed { says: format!("revision {name} did not start; look at its logs") });
    }
    if revision.is_ready() {
        return Ok(OperationState::Succeeded);
    }
    Ok(OperationState::Running { poll_after_seconds: START_POLL_SECONDS })
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}
