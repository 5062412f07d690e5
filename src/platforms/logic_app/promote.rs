//! The one step of a rollback: an earlier version's definition and parameters are saved again.
//!
//! There is no call for that: a PUT replaces the whole workflow, so all that is no part of a version is sent along as it is now.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    observe::read_workflow,
    wire::{API_VERSION, Identity, Reference, Workflow, is_version_id},
};
use crate::{
    azure::{resource_manager::ResourceManager, resource_path::resource_path},
    domain::{
        observation::WayBack,
        rollback::{Step, StepKind, Submission},
        target::LogicAppTarget,
    },
    platforms::answer::parse,
    ports::{PortError, PortErrorKind},
};

/// What an observation and a step remember: `{"version": ID, "insteadOf": ID}`. The definition is read again, never stored.
pub const VERSION: &str = "version";
pub const INSTEAD_OF: &str = "insteadOf";

pub fn step(target: &LogicAppTarget, way_back: &WayBack) -> Step {
    let (version, instead_of) = (remembered(&way_back.detail, VERSION), remembered(&way_back.detail, INSTEAD_OF));
    Step {
        says: format!("save version {version} of `{}` again", target.workflow.name()),
        // Each save makes one version more, but the content stays the same.
        kind: StepKind::Convergent,
        detail: json!({ VERSION: version, INSTEAD_OF: instead_of }),
    }
}

/// Reads both versions, and saves the earlier one if the accused one still runs: there is no ETag to compare with.
pub async fn submit(arm: &ResourceManager, target: &LogicAppTarget, step: &Step) -> Submission {
    let (version, instead_of) = (remembered(&step.detail, VERSION), remembered(&step.detail, INSTEAD_OF));
    if !is_version_id(version) {
        return Submission::Refused { says: format!("`{version}` is no version of a workflow; nothing was sent") };
    }
    let path = resource_path(&target.workflow);
    let (running, earlier) = tokio::join!(read_workflow(arm, target), read_version(arm, &path, version));
    let (running, earlier) = match (running, earlier) {
        (Ok(running), Ok(earlier)) => (running, earlier),
        (Err(error), _) | (_, Err(error)) => return unread(&error),
    };
    if running.version() != Some(instead_of) {
        // A save whose answer was lost may be what runs now.
        let same = earlier.fingerprint().is_some_and(|earlier| running.fingerprint() == Some(earlier));
        return if same {
            Submission::Done
        } else {
            Submission::Refused { says: format!("version {instead_of} does not run any more; nothing was sent") }
        };
    }
    match body(&running, &earlier) {
        Ok(body) => arm.submit(Method::PUT, &format!("{path}?{API_VERSION}"), Some(&body)).await,
        Err(says) => Submission::Refused { says: format!("{says}; nothing was sent") },
    }
}

async fn read_version(arm: &ResourceManager, path: &str, version: &str) -> Result<Workflow, PortError> {
    const OPERATION: &str = "read the version";
    parse(OPERATION, arm.read(OPERATION, &format!("{path}/versions/{version}?{API_VERSION}")).await?)
}

fn unread(error: &PortError) -> Submission {
    let says = error.to_string();
    match error.kind {
        PortErrorKind::NotFound | PortErrorKind::Denied | PortErrorKind::Invalid => {
            Submission::Refused { says: format!("{says}; nothing was sent") }
        }
        PortErrorKind::Transient | PortErrorKind::Throttled => {
            let wait = error.retry_after.map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX));
            Submission::NotSent { says, retry_after_seconds: wait }
        }
    }
}

/// The workflow as it is now, with the definition and the parameters of `earlier`. The error says what would be lost.
pub fn body(running: &Workflow, earlier: &Workflow) -> Result<Value, String> {
    if let Some(name) = earlier.secure_parameters().first() {
        return Err(format!("the value of the secure parameter `{name}` cannot be read"));
    }
    if !earlier.properties.definition.is_object() {
        return Err("the version has no definition".to_owned());
    }
    let location = running.location.as_ref().ok_or("the workflow names no location")?;
    let (now, then) = (&running.properties, &earlier.properties);
    let reference = |reference: &Option<Reference>| Some(json!({ "id": reference.as_ref()?.id.as_ref()? }));
    let properties = [
        ("state", now.state.as_ref().map(|state| json!(state))),
        ("definition", Some(then.definition.clone())),
        ("parameters", then.parameters.clone().map(Value::Object)),
        ("integrationAccount", reference(&now.integration_account)),
        ("integrationServiceEnvironment", reference(&now.integration_service_environment)),
        ("accessControl", now.access_control.clone()),
        ("endpointsConfiguration", now.endpoints_configuration.clone()),
    ];
    let whole = [
        ("location", Some(json!(location))),
        ("tags", running.tags.clone()),
        ("identity", running.identity.as_ref().and_then(identity)),
        ("properties", Some(present(properties))),
    ];
    Ok(present(whole))
}

/// Type and ids only: what else an answer tells of an identity is read-only.
fn identity(identity: &Identity) -> Option<Value> {
    let kind = identity.r#type.as_ref()?;
    let assigned = identity.user_assigned_identities.as_ref().filter(|all| !all.is_empty());
    let assigned = assigned.map(|all| all.keys().map(|id| (id.clone(), json!({}))).collect::<Map<_, _>>());
    Some(present([("type", Some(json!(kind))), ("userAssignedIdentities", assigned.map(Value::Object))]))
}

fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    Value::Object(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn remembered<'a>(detail: &'a Value, key: &str) -> &'a str {
    detail.get(key).and_then(Value::as_str).unwrap_or_default()
}
